//! Read leases: the kernel's word that nobody has a file open for writing, a writable mapping included.
//!
//! fcntl(2), "Leases". A lease is refused while anybody could write, and breaks when somebody opens the file for writing; the
//! opener waits until the lease is given up or `/proc/sys/fs/lease-break-time` (45 s) has passed. Leases follow the inode, so they
//! survive a rename.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Once;

/// An open file with a read lease on it, given up on drop.
#[derive(Debug)]
pub struct LeasedFile {
    file: File,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody has the file open for writing, or mapped writable.
    #[error("somebody has the file open for writing")]
    InUse,
    /// No lease to be had on this file: another owner, or a file system without leases.
    #[error("no read lease to be had: {0}")]
    Unsupported(io::Error),
}

impl LeasedFile {
    /// Takes a read lease on a file that was opened read-only.
    pub fn take(file: File) -> Result<Self, LeaseError> {
        ignore_lease_signals();
        match set_lease(&file, libc::F_RDLCK) {
            Ok(()) => Ok(Self { file }),
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Err(LeaseError::InUse),
            Err(error) => Err(LeaseError::Unsupported(error)),
        }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether the lease stands: nobody has opened the file for writing since it was taken, nor waits to.
    pub fn stands(&self) -> bool {
        get_lease(&self.file) == libc::F_RDLCK
    }
}

impl Drop for LeasedFile {
    fn drop(&mut self) {
        // Closing the file releases the lease, too; an error here changes nothing.
        drop(set_lease(&self.file, libc::F_UNLCK));
    }
}

/// A lease that breaks raises SIGIO, which would kill the process.
fn ignore_lease_signals() {
    static ONCE: Once = Once::new();
    #[expect(unsafe_code, reason = "signal(2) with SIG_IGN installs no handler and touches no memory")]
    ONCE.call_once(|| unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    });
}

fn set_lease(file: &File, kind: libc::c_int) -> io::Result<()> {
    #[expect(unsafe_code, reason = "fcntl(F_SETLEASE) takes an integer and touches no memory of ours")]
    let answer = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn get_lease(file: &File) -> libc::c_int {
    #[expect(unsafe_code, reason = "fcntl(F_GETLEASE) takes no argument and touches no memory of ours")]
    unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_GETLEASE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_refuses_and_breaks_a_lease() {
        let temp = tempfile::tempdir().expect("temp");
        let path = temp.path().join("file");
        std::fs::write(&path, "x").expect("write");
        let writer = File::options().append(true).open(&path).expect("open");
        let refused = LeasedFile::take(File::open(&path).expect("open"));
        assert!(matches!(refused, Err(LeaseError::InUse)));
        drop(writer);
        let lease = LeasedFile::take(File::open(&path).expect("open")).expect("lease");
        assert!(lease.stands());
        std::fs::rename(&path, temp.path().join("moved")).expect("rename");
        assert!(lease.stands(), "a rename keeps it");
        use std::os::unix::fs::OpenOptionsExt;
        let late = File::options().append(true).custom_flags(libc::O_NONBLOCK).open(temp.path().join("moved"));
        assert_eq!(late.expect_err("must wait").raw_os_error(), Some(libc::EWOULDBLOCK));
        assert!(!lease.stands(), "a writer is waiting");
    }
}
