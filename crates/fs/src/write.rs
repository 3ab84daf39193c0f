//! Making changes durable, and replacing our own small files.

use crate::dir::Dir;
use crate::random::Id128;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};

/// From so many directories on, one `syncfs` replaces an fsync of each (each waits for the device), and they are no longer kept open.
const MANY: usize = 8;

/// Directories whose entries changed, to be made durable all at once: each by itself while they are few, with all that was written to
/// their file system where they are many.
#[derive(Debug, Default)]
pub struct DirSync {
    /// By device.
    changed: HashMap<u64, Changed>,
}

#[derive(Debug)]
enum Changed {
    /// By inode.
    Few(HashMap<u64, Dir>),
    /// Any of them.
    Many(Dir),
}

impl DirSync {
    /// Nothing to sync yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers a directory in which an entry was made, moved or removed.
    pub fn changed(&mut self, dir: &Dir) -> io::Result<()> {
        let stat = dir.own_stat()?;
        let there = self.changed.entry(stat.device).or_insert_with(|| Changed::Few(HashMap::new()));
        let Changed::Few(dirs) = there else { return Ok(()) };
        if dirs.contains_key(&stat.inode) {
            return Ok(());
        }
        let dir = dir.try_clone()?;
        if dirs.len() < MANY {
            dirs.insert(stat.inode, dir);
        } else {
            *there = Changed::Many(dir);
        }
        Ok(())
    }

    /// Makes all of them durable. After an error the state on disk is unknown, and nothing may be concluded from it.
    pub fn sync(self) -> io::Result<()> {
        self.changed.values().try_for_each(|changed| match changed {
            Changed::Few(dirs) => dirs.values().try_for_each(Dir::sync),
            Changed::Many(dir) => sync_filesystem(dir),
        })
    }
}

/// Makes everything written so far to the file system of `fd` durable: data, sizes and names. An error means that some earlier
/// write to it failed (Linux 5.8 and newer report this).
pub fn sync_filesystem(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(fd)?)
}

/// Makes everything written so far to any file system of this machine durable: data, sizes and names. Linux waits until it is; what could
/// not be written is not told.
pub fn sync_everything() {
    rustix::fs::sync();
}

/// Asks the kernel to begin writing a part of a file to the device, without waiting for it: so that a later sync finds little to do.
/// Advice; where it is not understood, nothing is lost.
pub fn start_writeback(file: &File, offset: u64, len: u64) {
    let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
    #[expect(unsafe_code, reason = "sync_file_range(2) takes integers and touches no memory of ours")]
    let _advice_only = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Asks the kernel to forget the cached pages of a file, so that the next read comes from the device. Only clean pages go: sync
/// first. Advice, not a promise: tmpfs has no device, and pages that others mapped stay.
pub fn drop_from_cache(fd: impl AsFd) -> io::Result<()> {
    Ok(rustix::fs::fadvise(fd, 0, None, rustix::fs::Advice::DontNeed)?)
}

/// Replaces a small file of our own atomically: after a power cut it holds either the old or the new bytes, whole.
pub fn replace_file(dir: &Dir, name: &[u8], bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut temporary = name.to_vec();
    temporary.extend_from_slice(format!(".{}.tmp", Id128::random()?).as_bytes());
    let written = (|| {
        let mut file = dir.create_new(&temporary, mode)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        dir.rename_over(&temporary, name)
    })();
    if let Err(error) = written {
        // The write's error is the one to report; a leftover temporary is harmless.
        drop(dir.unlink(&temporary));
        return Err(error);
    }
    dir.sync()
}
