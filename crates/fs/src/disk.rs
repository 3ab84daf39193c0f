//! Which disk a directory lies on, as far as the kernel tells: two places on one are lost together.
//!
//! A device number alone does not tell. Partitions of one disk have each their own, and btrfs gives each subvolume one that stands for no
//! device at all, as networks and ZFS do.

use crate::dir::Dir;
use crate::filesystem::{Filesystem, filesystem_of};
use crate::mount;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Devices that stand upon others do so at most this deep.
const DEEPEST: usize = 16;

/// The device number of the disk that holds a directory; links on the way are followed. None, if nobody can tell: two such may be one.
pub fn disk_of(path: &Path) -> io::Result<Option<u64>> {
    let dir = Dir::open(&path.canonicalize()?)?;
    let stat = dir.own_stat()?;
    let device = if rustix::fs::major(stat.device) != 0 {
        Some(stat.device)
    } else if filesystem_of(&dir)? == Filesystem::Tmpfs {
        return Ok(Some(stat.device));
    } else {
        let source = mount::of(stat.mount, &mount::listed()?).and_then(|mounted| mounted.device().map(Path::to_owned));
        source.and_then(|source| std::fs::metadata(source).ok()).map(|source| source.rdev())
    };
    Ok(device.filter(|device| *device != 0).map(|device| whole(device, Path::new("/sys/dev/block"))))
}

/// The whole disk below a partition, below what stands upon one disk alone, such as an encrypted device or a pool of parts of it, or below the
/// file that a loop device shows. What stands upon several disks is a disk of its own.
fn whole(device: u64, sys: &Path) -> u64 {
    whole_within(device, sys, DEEPEST)
}

fn whole_within(device: u64, sys: &Path, levels: usize) -> u64 {
    let name = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let (Ok(at), Some(levels)) = (sys.join(name).canonicalize(), levels.checked_sub(1)) else { return device };
    let below = if at.join("partition").exists() {
        at.parent().and_then(|disk| number_in(&disk.join("dev"))).into_iter().collect()
    } else if let Some(file) = file_behind(&at) {
        vec![file]
    } else {
        let slaves = std::fs::read_dir(at.join("slaves")).into_iter().flatten().flatten();
        slaves.filter_map(|slave| number_in(&slave.path().join("dev"))).collect::<Vec<_>>()
    };
    let mut disks: Vec<_> = below.into_iter().map(|below| whole_within(below, sys, levels)).collect();
    disks.sort_unstable();
    disks.dedup();
    if let [disk] = disks[..] { disk } else { device }
}

/// The device with the file that a loop device shows, if it is one and the file's device is real.
fn file_behind(device: &Path) -> Option<u64> {
    let named = std::fs::read(device.join("loop/backing_file")).ok()?;
    let file = Path::new(OsStr::from_bytes(named.trim_ascii_end()));
    let device = std::fs::metadata(file).ok()?.dev();
    (rustix::fs::major(device) != 0).then_some(device)
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
        make("dm-1", "253:1", &upon(&["sda/sda1", "dm-0"]));
        let disk = |major, minor| whole(rustix::fs::makedev(major, minor), &sys);
        for minor in [0, 1, 2] {
            assert_eq!(disk(8, minor), rustix::fs::makedev(8, 0));
        }
        assert_eq!(disk(253, 0), rustix::fs::makedev(8, 0));
        assert_eq!(disk(253, 1), rustix::fs::makedev(8, 0), "all parts are of one disk");
        assert_eq!(disk(9, 0), rustix::fs::makedev(9, 0));
        assert_eq!(disk(8, 16), rustix::fs::makedev(8, 16));
        assert_eq!(disk(7, 3), rustix::fs::makedev(7, 3), "what is not listed is itself");
    }

    #[test]
    fn a_link_leads_to_the_disk_of_what_it_names() {
        let temp = tempfile::tempdir().expect("temp");
        let (real, link) = (temp.path().join("real"), temp.path().join("link"));
        fs::create_dir(&real).expect("mkdir");
        symlink(&real, &link).expect("symlink");
        assert_eq!(disk_of(&link).expect("a directory"), disk_of(&real).expect("a directory"));
        assert!(disk_of(&temp.path().join("gone")).is_err(), "that one is away is another answer than that nobody can tell");
    }

    #[test]
    fn a_loop_device_is_on_the_disk_of_its_file() {
        let temp = tempfile::tempdir().expect("temp");
        let image = temp.path().join("image");
        fs::write(&image, "").expect("write");
        let device = fs::metadata(&image).expect("stat").dev();
        let at = temp.path().join("block/7:0");
        fs::create_dir_all(at.join("loop")).expect("mkdir");
        fs::write(at.join("loop/backing_file"), format!("{}\n", image.display())).expect("write");
        let expected = if rustix::fs::major(device) == 0 { rustix::fs::makedev(7, 0) } else { device };
        assert_eq!(whole(rustix::fs::makedev(7, 0), &temp.path().join("block")), expected);
    }
}
