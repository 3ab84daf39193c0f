//! Which system calls change files or make that durable, and where their arguments are.

use crate::report::Kind;

/// Where a call says what it is about. Numbers are places among its arguments, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A descriptor.
    Fd(usize),
    /// A path, from the working directory.
    Path(usize),
    /// A directory's descriptor and a path from there.
    At(usize, usize),
}

/// Which of these calls stop the program: decided by the filter, from the arguments alone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum When {
    Always,
    /// Each of these: some of the bits of an argument are set (`true`), or none is.
    Bits(&'static [(usize, u32, bool)]),
    /// The argument is one of these values.
    Is(usize, &'static [u32]),
}

/// How a call says how many bytes it writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    None,
    /// As an argument.
    Argument(usize),
    /// As a list of buffers: pointer and count are arguments 1 and 2. The number is that of the call that takes a single one.
    Vector(i64),
}

/// A system call.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) number: i64,
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) places: &'static [Place],
    pub(crate) when: When,
    pub(crate) flags: Option<usize>,
    pub(crate) length: Length,
}

/// Flags with which an open changes something.
pub(crate) const OPEN_CHANGES: u32 = (libc::O_CREAT | libc::O_TRUNC) as u32 | O_TMPFILE;
/// `O_TMPFILE` without the bit that it shares with `O_DIRECTORY`.
const O_TMPFILE: u32 = 0x40_0000;

const fn change(number: i64, name: &'static str, places: &'static [Place]) -> Shape {
    Shape { number, name, kind: Kind::Change, places, when: When::Always, flags: None, length: Length::None }
}

const fn read(number: i64, name: &'static str) -> Shape {
    Shape { kind: Kind::Read, ..change(number, name, &[Fd(0)]) }
}

const fn sync(number: i64, name: &'static str, places: &'static [Place]) -> Shape {
    Shape { kind: Kind::Sync, ..change(number, name, places) }
}

impl Shape {
    const fn flags(self, argument: usize) -> Self {
        Self { flags: Some(argument), ..self }
    }

    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    const fn length(self, length: Length) -> Self {
        Self { length, ..self }
    }
}

use Place::{At, Fd, Path};

// The numbers of calls that came after the library's tables.
const SYS_SETXATTRAT: i64 = 463;
const SYS_REMOVEXATTRAT: i64 = 466;
const SYS_FILE_SETATTR: i64 = 469;

/// Every call at which a program stops.
pub(crate) const SHAPES: &[Shape] = &[
    // Bytes.
    change(libc::SYS_write, "write", &[Fd(0)]).length(Length::Argument(2)),
    change(libc::SYS_pwrite64, "pwrite64", &[Fd(0)]).length(Length::Argument(2)),
    change(libc::SYS_writev, "writev", &[Fd(0)]).length(Length::Vector(libc::SYS_write)),
    change(libc::SYS_pwritev, "pwritev", &[Fd(0)]).length(Length::Vector(libc::SYS_pwrite64)),
    change(libc::SYS_pwritev2, "pwritev2", &[Fd(0)]).length(Length::Vector(libc::SYS_pwrite64)),
    change(libc::SYS_copy_file_range, "copy_file_range", &[Fd(2)]).length(Length::Argument(4)),
    change(libc::SYS_sendfile, "sendfile", &[Fd(0)]).length(Length::Argument(3)),
    change(libc::SYS_splice, "splice", &[Fd(2)]).length(Length::Argument(4)),
    change(libc::SYS_ftruncate, "ftruncate", &[Fd(0)]),
    change(libc::SYS_truncate, "truncate", &[Path(0)]),
    change(libc::SYS_fallocate, "fallocate", &[Fd(0)]).flags(1),
    change(libc::SYS_ioctl, "ioctl", &[Fd(0)]).flags(1).when(When::Is(1, &[libc::FICLONE as u32, libc::FICLONERANGE as u32])),
    // Names.
    change(libc::SYS_open, "open", &[Path(0)]).flags(1).when(When::Bits(&[(1, OPEN_CHANGES, true)])),
    change(libc::SYS_creat, "creat", &[Path(0)]),
    change(libc::SYS_openat, "openat", &[At(0, 1)]).flags(2).when(When::Bits(&[(2, OPEN_CHANGES, true)])),
    // Its flags lie in memory, where a filter cannot look.
    change(libc::SYS_openat2, "openat2", &[At(0, 1)]),
    change(libc::SYS_rename, "rename", &[Path(0), Path(1)]),
    change(libc::SYS_renameat, "renameat", &[At(0, 1), At(2, 3)]),
    change(libc::SYS_renameat2, "renameat2", &[At(0, 1), At(2, 3)]).flags(4),
    change(libc::SYS_link, "link", &[Path(0), Path(1)]),
    change(libc::SYS_linkat, "linkat", &[At(0, 1), At(2, 3)]).flags(4),
    change(libc::SYS_symlink, "symlink", &[Path(1)]),
    change(libc::SYS_symlinkat, "symlinkat", &[At(1, 2)]),
    change(libc::SYS_unlink, "unlink", &[Path(0)]),
    change(libc::SYS_unlinkat, "unlinkat", &[At(0, 1)]).flags(2),
    change(libc::SYS_rmdir, "rmdir", &[Path(0)]),
    change(libc::SYS_mkdir, "mkdir", &[Path(0)]),
    change(libc::SYS_mkdirat, "mkdirat", &[At(0, 1)]),
    change(libc::SYS_mknod, "mknod", &[Path(0)]),
    change(libc::SYS_mknodat, "mknodat", &[At(0, 1)]),
    // Attributes.
    change(libc::SYS_chmod, "chmod", &[Path(0)]),
    change(libc::SYS_fchmod, "fchmod", &[Fd(0)]),
    change(libc::SYS_fchmodat, "fchmodat", &[At(0, 1)]),
    change(libc::SYS_fchmodat2, "fchmodat2", &[At(0, 1)]).flags(3),
    change(libc::SYS_chown, "chown", &[Path(0)]),
    change(libc::SYS_lchown, "lchown", &[Path(0)]),
    change(libc::SYS_fchown, "fchown", &[Fd(0)]),
    change(libc::SYS_fchownat, "fchownat", &[At(0, 1)]).flags(4),
    change(libc::SYS_utime, "utime", &[Path(0)]),
    change(libc::SYS_utimes, "utimes", &[Path(0)]),
    change(libc::SYS_futimesat, "futimesat", &[At(0, 1)]),
    change(libc::SYS_utimensat, "utimensat", &[At(0, 1)]).flags(3),
    change(libc::SYS_setxattr, "setxattr", &[Path(0)]),
    change(libc::SYS_lsetxattr, "lsetxattr", &[Path(0)]),
    change(libc::SYS_fsetxattr, "fsetxattr", &[Fd(0)]),
    change(SYS_SETXATTRAT, "setxattrat", &[At(0, 1)]),
    change(libc::SYS_removexattr, "removexattr", &[Path(0)]),
    change(libc::SYS_lremovexattr, "lremovexattr", &[Path(0)]),
    change(libc::SYS_fremovexattr, "fremovexattr", &[Fd(0)]),
    change(SYS_REMOVEXATTRAT, "removexattrat", &[At(0, 1)]),
    change(SYS_FILE_SETATTR, "file_setattr", &[At(0, 1)]),
    // Durability.
    sync(libc::SYS_fsync, "fsync", &[Fd(0)]),
    sync(libc::SYS_fdatasync, "fdatasync", &[Fd(0)]),
    sync(libc::SYS_sync_file_range, "sync_file_range", &[Fd(0)]).flags(3),
    sync(libc::SYS_syncfs, "syncfs", &[Fd(0)]),
    sync(libc::SYS_sync, "sync", &[]),
    sync(libc::SYS_msync, "msync", &[]).flags(2),
    // Bytes that change without any call.
    Shape {
        kind: Kind::Note,
        ..change(libc::SYS_mmap, "mmap", &[Fd(4)]).flags(3).when(When::Bits(&[
            (2, libc::PROT_WRITE as u32, true),
            (3, libc::MAP_SHARED as u32, true),
            (3, libc::MAP_ANONYMOUS as u32, false),
        ]))
    },
];

/// Every call at which a program stops besides, where reading is what counts.
pub(crate) const READS: &[Shape] = &[
    read(libc::SYS_read, "read"),
    read(libc::SYS_pread64, "pread64"),
    read(libc::SYS_readv, "readv"),
    read(libc::SYS_preadv, "preadv"),
    read(libc::SYS_preadv2, "preadv2"),
    read(libc::SYS_getdents64, "getdents64"),
];

/// The call with a number.
pub(crate) fn shape(number: i64) -> Option<&'static Shape> {
    SHAPES.iter().chain(READS).find(|shape| shape.number == number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_call_is_in_the_table_twice() {
        let all = || SHAPES.iter().chain(READS);
        let numbers: HashSet<_> = all().map(|shape| shape.number).collect();
        let names: HashSet<_> = all().map(|shape| shape.name).collect();
        assert_eq!((numbers.len(), names.len()), (all().count(), all().count()));
    }

    #[test]
    fn the_filter_sees_a_nameless_file_and_not_every_open_of_a_directory() {
        assert_ne!(OPEN_CHANGES & libc::O_TMPFILE as u32, 0);
        assert_eq!(OPEN_CHANGES & (libc::O_DIRECTORY | libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW) as u32, 0);
    }
}
