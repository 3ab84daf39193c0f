//! Lock files that live exactly as long as somebody holds them: `flock`, which children inherit with the descriptor.

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A locked file of our own. The lock is free once every process that has the descriptor closed it or died.
#[derive(Debug)]
pub struct LockFile {
    fd: OwnedFd,
    path: PathBuf,
}

/// What trying to take somebody else's lock tells.
#[derive(Debug)]
pub enum LockState {
    /// Nobody held it; it is ours now, until this is dropped.
    Free(LockFile),
    /// Somebody alive holds it.
    Held,
    /// There is no such file. That is no proof of anything: it may have been deleted under a live holder.
    Missing,
}

/// Takes the lock of an open file, for as long as it is open. False, if somebody has it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Between two attempts to take a lock.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

const OPEN: OFlags = OFlags::RDWR.union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

impl LockFile {
    /// Makes a new lock file and takes its lock.
    pub fn create(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OPEN | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o600))?;
        rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Makes the file if it is missing, and waits for its lock, but not for ever: its holder may have been stopped. After that long,
    /// an error of kind [`WouldBlock`](io::ErrorKind::WouldBlock).
    pub fn wait(path: &Path, limit: Duration) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OPEN | OFlags::CREATE, Mode::from_raw_mode(0o600))?;
        let begun = Instant::now();
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if begun.elapsed() < limit => std::thread::sleep(LOOK_AGAIN),
                Err(Errno::INTR) => {}
                answer => break answer?,
            }
        }
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Tries to take the lock of an existing file.
    pub fn try_take(path: &Path) -> io::Result<LockState> {
        let fd = match rustix::fs::open(path, OPEN, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(LockState::Missing),
            Err(errno) => return Err(errno.into()),
        };
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(LockState::Free(Self { fd, path: path.to_owned() })),
            Err(Errno::WOULDBLOCK) => Ok(LockState::Held),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes the file, once nobody needs to look at it any more. The lock goes with the descriptor.
    pub fn remove(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }
}

/// For handing to a child that must keep the lock alive.
impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn held_free_missing() {
        let temp = tempfile::tempdir().expect("temp");
        let path = temp.path().join("run.lock");
        assert!(matches!(LockFile::try_take(&path), Ok(LockState::Missing)));
        let lock = LockFile::create(&path).expect("create");
        assert!(LockFile::create(&path).is_err(), "a lock file is never shared");
        assert!(matches!(LockFile::try_take(&path), Ok(LockState::Held)));
        let child = lock.as_fd().try_clone_to_owned().expect("dup");
        drop(lock);
        assert!(matches!(LockFile::try_take(&path), Ok(LockState::Held)), "an inherited descriptor keeps it");
        drop(child);
        assert!(matches!(LockFile::try_take(&path), Ok(LockState::Free(_))));
    }
}
