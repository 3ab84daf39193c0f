//! What the file system says of a file, in one `statx`.

use rustix::fs::{AtFlags, Statx, StatxFlags};
use std::ffi::CStr;
use std::io;
use std::os::fd::AsFd;

/// The kind of a directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FileKind {
    /// Bytes that can be content.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link; never followed.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A UNIX socket.
    Socket,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// Anything else.
    Other,
}

impl FileKind {
    /// The name for people and for JSON counts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Regular => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::Socket => "socket",
            Self::BlockDevice => "block-device",
            Self::CharDevice => "char-device",
            Self::Other => "other",
        }
    }

    fn from_mode(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFREG => Self::Regular,
            libc::S_IFDIR => Self::Directory,
            libc::S_IFLNK => Self::Symlink,
            libc::S_IFIFO => Self::Fifo,
            libc::S_IFSOCK => Self::Socket,
            libc::S_IFBLK => Self::BlockDevice,
            libc::S_IFCHR => Self::CharDevice,
            _ => Self::Other,
        }
    }
}

/// One file as the file system described it at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStat {
    /// Regular, directory, …
    pub kind: FileKind,
    /// Device number; with `inode`, the identity of the file.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// The mount that the file was reached through; differs across bind mounts of one device.
    pub mount: u64,
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since 1970; nobody can set it back.
    pub ctime_ns: i64,
    /// Permission bits, without the kind.
    pub mode: u32,
    /// How many names the inode has.
    pub links: u32,
    /// Bytes that deleting the last name would free.
    pub allocated: u64,
}

/// Now, by the clock with which the kernel stamps files, in nanoseconds since 1970.
pub fn file_clock_ns() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

/// `MNT_ID` comes with 5.8 kernels; older ones answer 0 for every file, and crossing is then noticed by device alone.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::MNT_ID);

impl FileStat {
    /// The open file itself.
    pub fn of_fd(fd: impl AsFd) -> io::Result<Self> {
        Self::statx(fd, c"", AtFlags::EMPTY_PATH)
    }

    /// A name in a directory; a symbolic link is described, not followed. Nothing is mounted by looking (autofs).
    pub fn of_entry(dir: impl AsFd, name: &CStr) -> io::Result<Self> {
        Self::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT)
    }

    fn statx(dir: impl AsFd, name: &CStr, flags: AtFlags) -> io::Result<Self> {
        Ok(Self::from_statx(&rustix::fs::statx(dir, name, flags, WANTED)?))
    }

    fn from_statx(statx: &Statx) -> Self {
        let nanos =
            |time: &rustix::fs::StatxTimestamp| time.tv_sec.saturating_mul(1_000_000_000).saturating_add(i64::from(time.tv_nsec));
        let mode = u32::from(statx.stx_mode);
        Self {
            kind: FileKind::from_mode(mode),
            device: rustix::fs::makedev(statx.stx_dev_major, statx.stx_dev_minor),
            inode: statx.stx_ino,
            mount: statx.stx_mnt_id,
            size: statx.stx_size,
            mtime_ns: nanos(&statx.stx_mtime),
            ctime_ns: nanos(&statx.stx_ctime),
            mode: mode & 0o7777,
            links: statx.stx_nlink,
            allocated: statx.stx_blocks * 512,
        }
    }

    /// Whether both describe one inode.
    pub fn same_inode(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether nothing suggests that the bytes changed between two looks at one inode. Not proof: see the racy timestamps.
    pub fn same_bytes_likely(&self, other: &Self) -> bool {
        self.same_inode(other) && self.size == other.size && self.mtime_ns == other.mtime_ns && self.ctime_ns == other.ctime_ns
    }
}
