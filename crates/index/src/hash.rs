//! Reading candidates: several at once, each until it holds still or is given up.

use crate::error::IndexError;
use crate::spool::{Candidate, Candidates, Spool};
use crate::walk::threads;
use lastcopy_fs::{
    Cancel, Cancelled, Content, Dir, FileKind, FileStat, Filesystem, HashBuffer, Mounts, Progress, RelPath, file_clock_ns,
};
use lastcopy_store::Seen;
use rustix::io::Errno;
use std::io;

/// How often a file that changes while it is read is tried.
const ATTEMPTS: usize = 3;

/// How many candidates wait between the spool, the hashers and the index.
const WAITING: usize = 1024;

/// What reading a candidate came to.
#[derive(Debug)]
pub(crate) enum Read {
    /// It held still.
    Found(FileStat, Seen, Content),
    /// It is not there any more, or is no file any more.
    Vanished,
    /// It changed each time it was read.
    Unstable,
    /// It could not be read.
    Unreadable(io::Error),
}

/// Reads all candidates of some spools on several threads, and hands each to `each` on this one, in no order.
///
/// When cancelled, what is in hand is finished and handed over first.
pub(crate) fn read_all(
    root: &Dir,
    filesystem: Filesystem,
    spools: Vec<Spool>,
    mounts: Mounts,
    cancel: &Cancel,
    progress: &dyn Progress,
    each: &mut dyn FnMut(Candidate, Read) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let lists = spools.into_iter().map(Spool::into_candidates).collect::<io::Result<Vec<_>>>().map_err(spool_error)?;
    let (work, candidates) = crossbeam_channel::bounded::<Candidate>(WAITING);
    let (done, results) = crossbeam_channel::bounded::<(Candidate, Read)>(WAITING);
    std::thread::scope(|scope| {
        let feeder = scope.spawn(move || feed(lists, &work, cancel));
        for _ in 0..threads() {
            let (candidates, done) = (candidates.clone(), done.clone());
            scope.spawn(move || {
                let mut buffer = HashBuffer::new();
                for candidate in candidates {
                    let read = match read(root, filesystem, &candidate, mounts, &mut buffer, cancel, progress) {
                        Err(error) if Cancelled::caused(&error) => break,
                        Err(error) => Read::Unreadable(error),
                        Ok(read) => read,
                    };
                    progress.advance(1, 0);
                    if done.send((candidate, read)).is_err() {
                        break;
                    }
                }
            });
        }
        // Only the threads' ends may stay open, or nobody would ever see the end of the work.
        drop((candidates, done));
        let mut failed = Ok(());
        for (candidate, read) in &results {
            if failed.is_ok() {
                failed = each(candidate, read);
            }
            if failed.is_err() {
                break;
            }
        }
        drop(results);
        failed?;
        feeder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(spool_error)
    })?;
    Ok(cancel.check()?)
}

fn feed(lists: Vec<Candidates>, work: &crossbeam_channel::Sender<Candidate>, cancel: &Cancel) -> io::Result<()> {
    for candidate in lists.into_iter().flatten() {
        // Nobody listens any more: somebody else says why.
        if cancel.is_cancelled() || work.send(candidate?).is_err() {
            break;
        }
    }
    Ok(())
}

fn spool_error(source: io::Error) -> IndexError {
    IndexError::Io { what: "the list of files to read", source }
}

fn read(
    root: &Dir,
    filesystem: Filesystem,
    candidate: &Candidate,
    mounts: Mounts,
    buffer: &mut HashBuffer,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> io::Result<Read> {
    let path = candidate.path()?;
    for _ in 0..ATTEMPTS {
        let read_at_ns = file_clock_ns();
        let file = match root.open_file(&path, mounts) {
            Ok(file) => file,
            Err(error) if is_vanished(&error) => return Ok(Read::Vanished),
            Err(error) => return Err(error),
        };
        let before = FileStat::of_fd(&file)?;
        if before.kind != FileKind::Regular {
            return Ok(Read::Vanished);
        }
        let content = match buffer.hash_file(&file, before.size, cancel, progress) {
            Ok(content) => content,
            // It shrank while it was read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => continue,
            Err(error) => return Err(error),
        };
        let after = FileStat::of_fd(&file)?;
        if before.same_bytes_likely(&after) && content.size == after.size {
            let seen = Seen::from_stat(&after, read_at_ns, filesystem.timestamp_step_ns());
            return Ok(Read::Found(after, seen, content));
        }
    }
    Ok(Read::Unstable)
}

/// Gone, or replaced by something that is no regular file: a directory on its way, a symbolic link, a socket.
fn is_vanished(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NXIO];
    gone.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

impl Candidate {
    pub(crate) fn path(&self) -> io::Result<RelPath> {
        self.directory.join(&self.name).map_err(io::Error::other)
    }
}
