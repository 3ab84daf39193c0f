//! Which disk a directory lies on, as far as the kernel tells: two places on one are lost together.
//!
//! A device number alone does not tell. Partitions of one disk have each their own, and btrfs gives each subvolume one that stands for no
//! device at all, as networks and ZFS do.

use crate::dir::Dir;
use crate::filesystem::{Filesystem, filesystem_of};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Devices that stand upon others do so at most this deep.
const DEEPEST: usize = 16;

/// The device number of the disk that holds a directory. None, if nobody can tell: two such may be one.
pub fn disk_of(path: &Path) -> io::Result<Option<u64>> {
    let dir = Dir::open(path)?;
    let stat = dir.own_stat()?;
    let device = if rustix::fs::major(stat.device) != 0 {
        Some(stat.device)
    } else if filesystem_of(&dir)? == Filesystem::Tmpfs {
        return Ok(Some(stat.device));
    } else {
        let mounts = std::fs::read("/proc/self/mountinfo")?;
        source_of(stat.mount, &mounts).and_then(|source| std::fs::metadata(source).ok()).map(|source| source.rdev())
    };
    Ok(device.filter(|device| *device != 0).map(|device| whole(device, Path::new("/sys/dev/block"))))
}

/// The device file that is mounted, in the kernel's list of mounts.
fn source_of(mount: u64, mounts: &[u8]) -> Option<&Path> {
    let lines = mounts.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok());
    let mut of_mount = lines.filter(|line| line.split(' ').next().is_some_and(|id| id.parse() == Ok(mount)));
    // After a dash: the type, and the source.
    let source = of_mount.next()?.split_once(" - ")?.1.split(' ').nth(1)?;
    source.starts_with("/dev/").then(|| Path::new(source))
}

/// The whole disk below a partition, or below what stands upon one device alone, such as an encrypted one. What stands upon several is a
/// disk of its own.
fn whole(device: u64, sys: &Path) -> u64 {
    let mut device = device;
    for _ in 0..DEEPEST {
        let name = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let Ok(at) = sys.join(name).canonicalize() else { break };
        let below = if at.join("partition").exists() { at.parent().map(Path::to_owned) } else { only_one_in(&at.join("slaves")) };
        match below.and_then(|below| number_in(&below.join("dev"))) {
            Some(below) => device = below,
            None => break,
        }
    }
    device
}

fn only_one_in(dir: &Path) -> Option<std::path::PathBuf> {
    let mut entries = std::fs::read_dir(dir).ok()?;
    let only = entries.next()?.ok()?;
    entries.next().is_none().then(|| only.path())
}

fn number_in(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    Some(rustix::fs::makedev(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_mounted_is_found_by_its_mount() {
        let mounts = b"29 1 0:26 /@ / rw,relatime shared:1 - btrfs /dev/sda2 rw,space_cache\n\
                       31 29 0:26 /@home /home rw - btrfs /dev/sda2 rw\n40 29 0:50 / /net rw - nfs4 nas:/export rw\n";
        assert_eq!(source_of(29, mounts), Some(Path::new("/dev/sda2")));
        assert_eq!(source_of(31, mounts), Some(Path::new("/dev/sda2")));
        assert_eq!((source_of(40, mounts), source_of(3, mounts)), (None, None));
    }

    /// As the kernel shows it: a disk with two partitions, an encrypted device upon one of them, and an array of two disks.
    #[test]
    fn partitions_and_what_stands_upon_one_are_the_whole_disk() {
        let temp = tempfile::tempdir().expect("temp");
        let (devices, sys) = (temp.path().join("devices"), temp.path().join("block"));
        fs::create_dir(&sys).expect("mkdir");
        let make = |name: &str, number: &str, more: &dyn Fn(&Path)| {
            let dir = devices.join(name);
            fs::create_dir_all(dir.join("slaves")).expect("mkdir");
            fs::write(dir.join("dev"), format!("{number}\n")).expect("write");
            symlink(&dir, sys.join(number)).expect("symlink");
            more(&dir);
        };
        let upon = |others: &'static [&str]| {
            let devices = devices.clone();
            move |dir: &Path| {
                for other in others {
                    symlink(devices.join(other), dir.join("slaves").join(other.replace('/', "-"))).expect("symlink");
                }
            }
        };
        let partition = |dir: &Path| fs::write(dir.join("partition"), "1\n").expect("write");
        make("sda", "8:0", &|_| ());
        make("sda/sda1", "8:1", &partition);
        make("sda/sda2", "8:2", &partition);
        make("sdb", "8:16", &|_| ());
        make("dm-0", "253:0", &upon(&["sda/sda2"]));
        make("md0", "9:0", &upon(&["sda/sda1", "sdb"]));
        let disk = |major, minor| whole(rustix::fs::makedev(major, minor), &sys);
        for minor in [0, 1, 2] {
            assert_eq!(disk(8, minor), rustix::fs::makedev(8, 0));
        }
        assert_eq!(disk(253, 0), rustix::fs::makedev(8, 0));
        assert_eq!(disk(9, 0), rustix::fs::makedev(9, 0));
        assert_eq!(disk(8, 16), rustix::fs::makedev(8, 16));
        assert_eq!(disk(7, 3), rustix::fs::makedev(7, 3), "what is not listed is itself");
    }
}
