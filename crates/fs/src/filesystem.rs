//! Which file system holds a file, as far as guarantees depend on it.

use std::io;
use std::os::fd::AsFd;

/// A file system, by what is known of its leases, renames, syncs and timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filesystem {
    /// ext2, ext3 and ext4, which share one magic number.
    Ext,
    /// XFS.
    Xfs,
    /// Btrfs.
    Btrfs,
    /// tmpfs: same calls, no power cut survived.
    Tmpfs,
    /// Anything else, by its magic number (statfs(2)).
    Other(u64),
}

impl Filesystem {
    /// Whether leases, exclusive renames and inode identity hold here as the removal protocol needs them.
    pub fn is_trusted(self) -> bool {
        !matches!(self, Self::Other(_))
    }

    /// The coarsest step, in nanoseconds, in which two changes may get one timestamp: a kernel tick on the known ones, and the
    /// two seconds of FAT for all others.
    pub fn timestamp_step_ns(self) -> i64 {
        if self.is_trusted() { 10_000_000 } else { 2_000_000_000 }
    }

    /// The name for people.
    pub fn name(self) -> String {
        match self {
            Self::Ext => "ext4".into(),
            Self::Xfs => "xfs".into(),
            Self::Btrfs => "btrfs".into(),
            Self::Tmpfs => "tmpfs".into(),
            Self::Other(magic) => known_name(magic).map_or_else(|| format!("type {magic:#x}"), Into::into),
        }
    }
}

/// Magic numbers from statfs(2) and linux/magic.h.
fn known_name(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => "smb",
        0x6573_5546 => "fuse",
        0x4d44 => "vfat",
        0x2011_bab0 => "exfat",
        0x794c_7630 => "overlayfs",
        0x5346_544e | 0x7366_746e => "ntfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0xca45_1a4e => "bcachefs",
        _ => return None,
    })
}

/// The file system that holds an open file or directory.
pub fn filesystem_of(fd: impl AsFd) -> io::Result<Filesystem> {
    // The magic number is 32 bits wide whatever the platform's word is.
    #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a bit pattern")]
    let magic = u64::from(rustix::fs::fstatfs(fd)?.f_type as u32);
    Ok(match magic {
        0xef53 => Filesystem::Ext,
        0x5846_5342 => Filesystem::Xfs,
        0x9123_683e => Filesystem::Btrfs,
        0x0102_1994 => Filesystem::Tmpfs,
        other => Filesystem::Other(other),
    })
}
