//! Directories as descriptors: everything below is reached from one, never by a path that somebody can swap meanwhile.

use crate::path::RelPath;
use crate::stat::FileStat;
use rustix::fs::{Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Whether a path below a directory may lead into another mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mounts {
    /// A mount point in the way is an error (`EXDEV`).
    Stay,
    /// Mount points are walked like directories.
    Cross,
}

/// An open directory. Paths given to its methods are resolved below it, without following any symbolic link, wherever it is moved.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
}

const OPEN_DIR: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// `NONBLOCK`: a fifo that appears in a file's place must not hang us.
const OPEN_FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Whether a path lies in a directory, if there is one.
pub fn lies_in(path: &Path, directory: &Path) -> io::Result<bool> {
    match Dir::open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        directory => directory?.holds(path),
    }
}

impl Dir {
    /// Opens a directory by its absolute path. The last component must not be a symbolic link; resolve the path first.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { fd: rustix::fs::open(path, OPEN_DIR, Mode::empty())? })
    }

    /// Opens a directory below this one.
    pub fn open_dir(&self, path: &RelPath, mounts: Mounts) -> io::Result<Self> {
        Ok(Self { fd: self.openat2(path.as_path().as_os_str().as_bytes(), OPEN_DIR, mounts)? })
    }

    /// Opens the directory of this name right here. For walks, where building whole paths would cost.
    pub fn open_child(&self, name: &CStr, mounts: Mounts) -> io::Result<Self> {
        Ok(Self { fd: self.openat2(name.to_bytes(), OPEN_DIR, mounts)? })
    }

    /// Opens a file below this directory for reading. It may be of any kind: look before reading.
    pub fn open_file(&self, path: &RelPath, mounts: Mounts) -> io::Result<File> {
        Ok(File::from(self.openat2(path.as_bytes(), OPEN_FILE, mounts)?))
    }

    /// Creates a file that does not exist here yet, for writing and reading back.
    pub fn create_new(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, component(name)?, flags, Mode::from_raw_mode(mode))?;
        Ok(File::from(fd))
    }

    /// Opens an existing file here to append to and read back, or creates it.
    pub fn open_or_create(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, component(name)?, flags, Mode::from_raw_mode(mode))?;
        Ok(File::from(fd))
    }

    fn openat2(&self, path: &[u8], flags: OFlags, mounts: Mounts) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = match mounts {
            Mounts::Stay => BENEATH | ResolveFlags::NO_XDEV,
            Mounts::Cross => BENEATH,
        };
        // EAGAIN: a rename elsewhere raced the resolution of `..` checks; the kernel asks to try again.
        loop {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                answer => return Ok(answer?),
            }
        }
    }

    /// Opens a directory below this one, making what is missing of it. Nothing is durable yet: see [`DirSync`](crate::DirSync).
    ///
    /// `made` is told of each directory in which a new entry was made.
    pub fn create_dir_all(&self, path: &RelPath, mode: u32, made: &mut dyn FnMut(&Dir) -> io::Result<()>) -> io::Result<Self> {
        if let Ok(dir) = self.open_dir(path, Mounts::Stay) {
            return Ok(dir);
        }
        let mut dir = self.try_clone()?;
        for name in path.components() {
            let name = component(name)?;
            match rustix::fs::mkdirat(&dir.fd, name.as_c_str(), Mode::from_raw_mode(mode)) {
                Ok(()) => made(&dir)?,
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
            dir = dir.open_child(&name, Mounts::Stay)?;
        }
        Ok(dir)
    }

    /// Describes an entry of this directory, or says that there is none.
    pub fn entry(&self, name: &[u8]) -> io::Result<Option<FileStat>> {
        absent_is_none(FileStat::of_entry(&self.fd, &component(name)?))
    }

    /// Describes a path below this directory, or says that there is nothing (any more): a missing parent is nothing, too.
    pub fn stat(&self, path: &RelPath) -> io::Result<Option<FileStat>> {
        match path.split() {
            None => Ok(Some(FileStat::of_fd(&self.fd)?)),
            Some((parent, name)) => match self.open_dir(&parent, Mounts::Cross) {
                Ok(dir) => dir.entry(name),
                Err(error) if is_absent(&error) => Ok(None),
                Err(error) => Err(error),
            },
        }
    }

    /// Whether a path is this directory or lies in it, by device and inode: whatever names lead to either.
    pub fn holds(&self, path: &Path) -> io::Result<bool> {
        let own = self.own_stat()?;
        for ancestor in std::fs::canonicalize(path)?.ancestors() {
            if Self::open(ancestor)?.own_stat()?.same_inode(&own) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Describes this directory itself.
    pub fn own_stat(&self) -> io::Result<FileStat> {
        FileStat::of_fd(&self.fd)
    }

    /// Moves an entry to another directory of the same file system. An existing target is `AlreadyExists`, never replaced.
    ///
    /// Where the file system has no such rename, a regular file is linked and unlinked instead; where it has no links either, the
    /// move fails with `Unsupported`: a rename that might replace is no substitute.
    pub fn rename_new(&self, name: &[u8], to: &Dir, to_name: &[u8]) -> io::Result<()> {
        let (name, to_name) = (component(name)?, component(to_name)?);
        if self.rename_unless_taken(&name, to, &to_name)? {
            return Ok(());
        }
        match rustix::fs::linkat(&self.fd, &name, &to.fd, &to_name, rustix::fs::AtFlags::empty()) {
            Ok(()) => Ok(rustix::fs::unlinkat(&self.fd, &name, rustix::fs::AtFlags::empty())?),
            Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, "this file system can neither rename without replacing nor link"))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    /// Moves whatever bears a name, atomically, to a directory of the same file system in which nobody else makes names. An existing target
    /// is `AlreadyExists`, never replaced.
    ///
    /// Where the file system has no rename that refuses to replace, it is looked whether the target is free, which it stays. Linking and
    /// unlinking would be no substitute here: whoever renames another file over this name between the two loses it.
    pub fn take(&self, name: &[u8], to: &Dir, to_name: &[u8]) -> io::Result<()> {
        if self.rename_unless_taken(&component(name)?, to, &component(to_name)?)? {
            return Ok(());
        }
        self.take_plainly(name, to, to_name)
    }

    /// Lets two entries of one file system bear each other's names, atomically: neither name is free at any moment. Says whether the file
    /// system knows that; if not, nothing happened.
    pub fn exchange(&self, name: &[u8], other: &Dir, other_name: &[u8]) -> io::Result<bool> {
        match rustix::fs::renameat_with(&self.fd, component(name)?, &other.fd, component(other_name)?, RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
            answer => Ok(answer.map(|()| true)?),
        }
    }

    /// Says whether the file system knows such a rename.
    fn rename_unless_taken(&self, name: &CStr, to: &Dir, to_name: &CStr) -> io::Result<bool> {
        match rustix::fs::renameat_with(&self.fd, name, &to.fd, to_name, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => Ok(false),
            answer => Ok(answer.map(|()| true)?),
        }
    }

    fn take_plainly(&self, name: &[u8], to: &Dir, to_name: &[u8]) -> io::Result<()> {
        if to.entry(to_name)?.is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(rustix::fs::renameat(&self.fd, component(name)?, &to.fd, component(to_name)?)?)
    }

    /// Replaces an entry of this directory atomically by another one. Only for our own bookkeeping files.
    pub fn rename_over(&self, name: &[u8], to_name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.fd, component(name)?, &self.fd, component(to_name)?)?)
    }

    /// Removes a file's name.
    pub fn unlink(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.fd, component(name)?, rustix::fs::AtFlags::empty())?)
    }

    /// Removes an empty directory; `false` if something is in it or it is gone already.
    pub fn remove_empty_dir(&self, name: &[u8]) -> io::Result<bool> {
        match rustix::fs::unlinkat(&self.fd, component(name)?, rustix::fs::AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT | Errno::BUSY) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Makes the entries of this directory durable.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }

    /// Reads all names, in the order of the directory.
    pub fn entries(&self) -> io::Result<Entries> {
        Entries::read(self)
    }

    /// A second descriptor of the same directory.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { fd: self.fd.try_clone()? })
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Turns "there is no such thing" into `None`.
pub(crate) fn absent_is_none<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn component(name: &[u8]) -> io::Result<CString> {
    if name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." {
        let text = format!("`{}` is not the name of one file", OsStr::from_bytes(name).display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    CString::new(name).map_err(io::Error::from)
}

/// The names of one directory, held compactly: a million names cost about 30 MB.
#[derive(Debug, Default)]
pub struct Entries {
    /// NUL-terminated names, one after the other.
    names: Vec<u8>,
    /// Start of each name.
    starts: Vec<u32>,
}

/// One name of a directory.
#[derive(Debug, Clone, Copy)]
pub struct EntryRef<'a> {
    name: &'a CStr,
}

impl<'a> EntryRef<'a> {
    /// For system calls.
    pub fn c_name(&self) -> &'a CStr {
        self.name
    }

    /// The bytes of the name.
    pub fn name(&self) -> &'a [u8] {
        self.name.to_bytes()
    }
}

impl Entries {
    fn read(dir: &Dir) -> io::Result<Self> {
        // A descriptor of its own: the position in a directory belongs to the open file, and others may read it, too.
        let fd = rustix::fs::openat(&dir.fd, c".", OPEN_DIR, Mode::empty())?;
        let mut entries = Self::default();
        let mut buffer = [MaybeUninit::<u8>::uninit(); 64 * 1024];
        let mut raw = rustix::fs::RawDir::new(fd, &mut buffer);
        while let Some(entry) = raw.next() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                let start = u32::try_from(entries.names.len())
                    .map_err(|_| io::Error::other("the directory holds more than 4 GiB of names"))?;
                entries.starts.push(start);
                entries.names.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        Ok(entries)
    }

    /// Sorts by the bytes of the names.
    pub fn sort(&mut self) {
        let names = &self.names;
        self.starts.sort_unstable_by(|left, right| c_str(names, *left).to_bytes().cmp(c_str(names, *right).to_bytes()));
    }

    /// Whether a name is there. The names must be sorted.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.starts.binary_search_by(|start| c_str(&self.names, *start).to_bytes().cmp(name)).is_ok()
    }

    /// How many names.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether the directory is empty.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The names, in their present order.
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.starts.iter().map(|start| EntryRef { name: c_str(&self.names, *start) })
    }
}

fn c_str(names: &[u8], start: u32) -> &CStr {
    // Every start was recorded just before a name and its NUL were appended; an empty name cannot be read from a directory.
    CStr::from_bytes_until_nul(&names[start as usize..]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect("legal")
    }

    /// By another name of either, a directory holds what it holds.
    #[test]
    fn what_lies_in_a_directory_lies_there_by_any_name() {
        let temp = tempfile::tempdir().expect("temp");
        let (root, inside) = (temp.path().join("root"), temp.path().join("root/a/b"));
        std::fs::create_dir_all(&inside).expect("mkdir");
        std::fs::create_dir(temp.path().join("root-beside")).expect("mkdir");
        symlink(&inside, temp.path().join("elsewhere")).expect("symlink");
        let holds = |path: &Path| lies_in(path, &root).expect("looked at");
        assert!(holds(&inside) && holds(&root) && holds(&temp.path().join("elsewhere")));
        assert!(!holds(&temp.path().join("root-beside")) && !holds(temp.path()));
        assert!(!lies_in(&inside, &temp.path().join("missing")).expect("looked at"));
    }

    #[test]
    fn what_is_exchanged_is_there_under_both_names() {
        let temp = tempfile::tempdir().expect("temp");
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("a"), "one").expect("write");
        std::fs::create_dir_all(at("below/b")).expect("mkdir");
        let dir = Dir::open(temp.path()).expect("open");
        let below = dir.open_dir(&path("below"), Mounts::Stay).expect("open");
        assert!(dir.exchange(b"a", &below, b"b").expect("exchanged"));
        assert_eq!((at("a").is_dir(), std::fs::read_to_string(at("below/b")).expect("read")), (true, "one".into()));
        let nothing = dir.exchange(b"missing", &below, b"b").expect_err("there is no such name");
        assert_eq!(nothing.kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_to_string(at("below/b")).expect("read"), "one");
        // A directory cannot come below itself: refused like by a file system that does not know it.
        assert!(!dir.exchange(b"below", &below, b"b").expect("asked"));
        assert!(at("below/b").is_file());
    }

    /// Also where the kernel cannot refuse to replace.
    #[test]
    fn what_is_taken_replaces_nothing() {
        let temp = tempfile::tempdir().expect("temp");
        let write = |name: &str, text: &str| std::fs::write(temp.path().join(name), text).expect("write");
        let dir = Dir::open(temp.path()).expect("open");
        for take in [Dir::take, Dir::take_plainly] {
            write("a", "new");
            write("b", "old");
            let error = take(&dir, b"a", &dir, b"b").expect_err("occupied");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            std::fs::remove_file(temp.path().join("b")).expect("remove");
            take(&dir, b"a", &dir, b"b").expect("free");
            assert_eq!(std::fs::read_to_string(temp.path().join("b")).expect("read"), "new");
            assert!(!temp.path().join("a").exists());
        }
    }

    #[test]
    fn no_symlink_is_followed_anywhere() {
        let temp = tempfile::tempdir().expect("temp");
        std::fs::create_dir(temp.path().join("real")).expect("mkdir");
        std::fs::write(temp.path().join("real/file"), "x").expect("write");
        symlink("real", temp.path().join("link")).expect("symlink");
        symlink("file", temp.path().join("real/alias")).expect("symlink");
        let dir = Dir::open(temp.path()).expect("open");
        assert!(dir.open_file(&path("real/file"), Mounts::Stay).is_ok());
        assert!(dir.open_file(&path("link/file"), Mounts::Stay).is_err());
        assert!(dir.open_file(&path("real/alias"), Mounts::Stay).is_err());
        assert!(dir.open_dir(&path("link"), Mounts::Cross).is_err());
        assert!(dir.create_dir_all(&path("link/below"), 0o700, &mut |_| Ok(())).is_err());
    }

    #[test]
    fn a_rename_replaces_nothing() {
        let temp = tempfile::tempdir().expect("temp");
        std::fs::write(temp.path().join("a"), "a").expect("write");
        std::fs::write(temp.path().join("b"), "b").expect("write");
        let dir = Dir::open(temp.path()).expect("open");
        let error = dir.rename_new(b"a", &dir, b"b").expect_err("occupied");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(temp.path().join("b")).expect("read"), b"b");
        dir.rename_new(b"a", &dir, b"c").expect("free");
    }

    #[test]
    fn names_are_bytes_and_sorted_as_bytes() {
        let temp = tempfile::tempdir().expect("temp");
        for name in [&b"b"[..], b"a\n", b"\xff", b"B"] {
            std::fs::write(temp.path().join(OsStr::from_bytes(name)), "").expect("write");
        }
        let mut entries = Dir::open(temp.path()).expect("open").entries().expect("read");
        entries.sort();
        let names: Vec<_> = entries.iter().map(|entry| entry.name().to_vec()).collect();
        assert_eq!(names, [&b"B"[..], b"a\n", b"b", b"\xff"]);
    }

    #[test]
    fn an_absent_parent_is_an_absent_file() {
        let temp = tempfile::tempdir().expect("temp");
        std::fs::write(temp.path().join("file"), "x").expect("write");
        let dir = Dir::open(temp.path()).expect("open");
        assert!(dir.stat(&path("no/such")).expect("absent").is_none());
        assert!(dir.stat(&path("file/below")).expect("absent").is_none());
        assert!(dir.stat(&path("file")).expect("there").is_some());
    }
}
