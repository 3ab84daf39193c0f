//! What is mounted where, by the kernel's list, and which mounts tell that bytes are safe while they lie on this machine alone.

use crate::dir::Dir;
use crate::filesystem::{Filesystem, filesystem_of};
use crate::write::sync_filesystem;
use std::io;
use std::path::Path;

/// The magic number of every file system that a program serves (`FUSE_SUPER_MAGIC` of the kernel).
const FUSE: Filesystem = Filesystem::Other(0x6573_5546);

/// Programs that take what is written into a cache on this machine, answer a sync, and send it later: `rclone mount` with a VFS cache five
/// seconds after a file is closed, `mount.s3ql` when its cache is flushed, `onedriver` and SeaDrive when there is time. With which options one
/// was started, the list of mounts does not tell.
const SEND_LATER: [&str; 4] = ["fuse.rclone", "fuse.s3ql", "fuse.onedriver", "fuse.seadrive"];

/// A line of the list of mounts, after the dash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mounted {
    kind: String,
    source: String,
}

impl Mounted {
    /// The device file that is mounted.
    pub(crate) fn device(&self) -> Option<&Path> {
        self.source.starts_with("/dev/").then(|| Path::new(&self.source))
    }

    /// Whether what is written there is told durable before it is where it belongs. `davfs2` has no type of its own, but mounts a URL.
    fn sends_later(&self) -> bool {
        SEND_LATER.contains(&&*self.kind)
            || self.kind == "fuse" && ["http://", "https://"].iter().any(|url| self.source.starts_with(url))
    }
}

/// The kernel's list of mounts.
pub(crate) fn listed() -> io::Result<Vec<u8>> {
    std::fs::read("/proc/self/mountinfo")
}

/// What is mounted under a number of the kernel's.
pub(crate) fn of(mount: u64, listed: &[u8]) -> Option<Mounted> {
    // Paths may hold any bytes; what follows the dash is looked at as text.
    let mut lines = listed.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
    let line = lines.find(|line| line.split(' ').next().is_some_and(|id| id.parse() == Ok(mount)))?;
    let mut fields = line.split_once(" - ")?.1.split(' ').map(str::to_owned);
    Some(Mounted { kind: fields.next()?, source: fields.next()? })
}

/// Refuses a directory in a mount that tells that bytes are durable before they have left this machine: what is read back there proves its
/// cache. The error is [`io::ErrorKind::Unsupported`], and names the way out.
pub fn require_stored_when_synced(dir: &Dir) -> io::Result<()> {
    if filesystem_of(dir)? != FUSE {
        return Ok(());
    }
    let stat = dir.own_stat()?;
    // Linux before 5.8 tells of no mount which one it is.
    let mounted = if stat.mount == 0 { None } else { Some(of(stat.mount, &listed()?)) };
    let refusal = mounted.and_then(refusal);
    refusal.map_or(Ok(()), |reason| Err(io::Error::new(io::ErrorKind::Unsupported, reason)))
}

/// Why nothing in what a program serves is proven, if it is not.
fn refusal(mounted: Option<Mounted>) -> Option<String> {
    let what = match mounted {
        Some(mounted) if !mounted.sends_later() => return None,
        Some(mounted) => format!("of {} (type {})", mounted.source, mounted.kind),
        None => "that the kernel does not list (any more)".into(),
    };
    Some(format!(
        "it lies in a mount {what}, which may keep on this machine alone what it said was stored; \
         name the place behind it instead, as a mirror"
    ))
}

/// Makes everything written so far to a directory's file system durable, and refuses where nobody could tell that it is.
pub fn sync_stored(dir: &Dir) -> io::Result<()> {
    require_stored_when_synced(dir)?;
    sync_filesystem(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_is_found_by_its_mount() {
        let listed = b"29 1 0:26 /@ / rw,relatime shared:1 - btrfs /dev/sda2 rw,space_cache\n\
                       31 29 0:26 /@home /home rw - btrfs /dev/sda2 rw\n40 29 0:50 / /net rw - nfs4 nas:/export rw\n";
        let device = |mount| of(mount, listed).and_then(|mounted| mounted.device().map(Path::to_owned));
        assert_eq!(device(29).as_deref(), Some(Path::new("/dev/sda2")));
        assert_eq!(device(31).as_deref(), Some(Path::new("/dev/sda2")));
        assert_eq!((device(40), device(3)), (None, None));
    }

    /// With types and sources as they stand in the list of a machine that mounts them.
    #[test]
    fn some_programs_send_later_what_they_take() {
        for (line, later) in [
            ("fuse.rclone cloud:photos rw,user_id=0", true),
            ("fuse.s3ql s3://bucket/prefix rw", true),
            ("fuse https://cloud.example/dav rw", true),
            ("fuse.sshfs nas:/export rw", false),
            ("fuse.mergerfs /mnt/a:/mnt/b rw", false),
            ("fuseblk /dev/sdb1 rw", false),
            ("fuse /dev/fuse rw", false),
            ("cifs //nas/https:// rw", false),
        ] {
            let listed = [b"39 29 0:49 / /a\xff rw - ext4 /dev/sdc rw\n40 29 0:50 / /n\xff rw - ", line.as_bytes(), b"\n"].concat();
            assert_eq!(refusal(of(40, &listed)).is_some(), later, "{line}");
        }
        assert!(refusal(of(41, b"40 29 0:50 / /net rw - fuse.sshfs nas:/export rw\n")).is_some(), "nobody knows what that is");
    }
}
