//! Directories of our own: for sockets, configurations and secrets, and for what may grow.

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Socket paths are short.
const LONGEST_DIR: usize = 70;
/// What only its owner looks into.
const OWN: u32 = 0o700;

/// A directory that nobody else can look into, gone when this is dropped. After a kill, or a power cut where it lay on a disk, the next one that
/// is made with the same prefix removes it.
#[derive(Debug)]
pub struct PrivateDir {
    dir: tempfile::TempDir,
    /// Its lock: held by the living.
    _lock: OwnedFd,
}

impl PrivateDir {
    /// Makes one: in memory where there is such a place, so that no secret comes to lie on a disk. Sockets can lie in it.
    pub fn new(prefix: &str) -> io::Result<Self> {
        let short = |dir: &PathBuf| dir.as_os_str().len() <= LONGEST_DIR;
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(short);
        for place in runtime.into_iter().chain([PathBuf::from("/dev/shm")]) {
            if let Ok(made) = Self::new_in(&place, prefix) {
                return Ok(made);
            }
        }
        let place = Some(std::env::temp_dir()).filter(short);
        Self::new_in(&place.unwrap_or_else(|| PathBuf::from("/tmp")), prefix)
    }

    /// Makes one among temporary files, for what may be too large for memory: caches, and bytes of files. No secret belongs there.
    pub fn for_much(prefix: &str) -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir(), prefix)
    }

    fn new_in(place: &Path, prefix: &str) -> io::Result<Self> {
        remove_abandoned(place, prefix);
        loop {
            let mut builder = tempfile::Builder::new();
            let dir = builder.prefix(prefix).permissions(std::fs::Permissions::from_mode(OWN)).tempdir_in(place)?;
            let lock = match opened(dir.path()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                lock => lock?,
            };
            flock(&lock, FlockOperation::LockExclusive)?;
            // Somebody may have taken it for abandoned just before.
            if std::fs::symlink_metadata(dir.path()).is_ok_and(|there| fstat(&lock).is_ok_and(|held| held.st_ino == there.ino())) {
                return Ok(Self { dir, _lock: lock });
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn opened(dir: &Path) -> io::Result<OwnedFd> {
    Ok(open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Removes what the dead left behind, as far as it goes: it is not what anybody asked for.
fn remove_abandoned(place: &Path, prefix: &str) {
    let begins = |name: &OsStr| name.as_bytes().starts_with(prefix.as_bytes());
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let is_own = || entry.metadata().is_ok_and(|it| it.is_dir() && it.uid() == rustix::process::geteuid().as_raw());
        if begins(&entry.file_name())
            && is_own()
            && let Ok(lock) = opened(&entry.path())
            && flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()
        {
            // What stays is tried again by the next one.
            let _gone = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_is_removed_and_what_the_living_use_is_not() {
        let place = tempfile::tempdir().unwrap();
        let living = PrivateDir::new_in(place.path(), "ours-").unwrap();
        // A kill runs no destructors.
        for name in ["ours-dead", "theirs"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
            std::fs::write(place.path().join(name).join("secret"), "x").unwrap();
        }
        std::os::unix::fs::symlink("theirs", place.path().join("ours-link")).unwrap();
        let next = PrivateDir::new_in(place.path(), "ours-").unwrap();
        assert_eq!(std::fs::metadata(next.path()).unwrap().mode() & 0o777, 0o700);
        assert!(living.path().exists() && next.path().exists() && place.path().join("theirs/secret").exists());
        assert!(!place.path().join("ours-dead").exists());
        let path = next.path().to_owned();
        drop(next);
        assert!(!path.exists());
    }
}
