//! Where the bytes of a push come from: files that may change at any moment, hashed as they are read.

use lastcopy_fs::{Content, FileKind, FileStat, HashingReader, Mounts};
use lastcopy_store::{SnapshotFile, Volume};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

/// Where the bytes of an item come from.
#[derive(Debug, Clone)]
pub enum Source {
    /// A file of the volume's snapshot.
    File(VolumeFile),
    /// A file of our own that holds the bytes; read from its start by each opener.
    Temporary(Arc<File>),
}

/// A file of a volume's snapshot.
#[derive(Debug, Clone)]
pub struct VolumeFile {
    /// The volume.
    pub volume: Volume,
    /// The file.
    pub file: SnapshotFile,
    /// Whether it may lie on another mount.
    pub mounts: Mounts,
}

/// Why bytes were not what the snapshot says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// The file is gone, or is no file any more.
    Vanished,
    /// It was changed since it was indexed.
    Changed,
    /// It holds other bytes, although nothing suggests that it was changed: an alarm.
    ChangedSilently(Content),
}

/// Why a source cannot be read.
#[derive(Debug)]
pub enum OpenError {
    /// It is not what the snapshot says.
    Drift(Drift),
    /// It cannot be read.
    Unreadable(io::Error),
}

/// A source that is being read, to its end, once.
#[derive(Debug)]
pub struct Sending {
    reader: HashingReader<File>,
    expected: Content,
    before: Option<(FileStat, SnapshotFile)>,
}

impl Source {
    /// Opens a source that should hold `expected`.
    pub fn open(&self, expected: Content) -> Result<Sending, OpenError> {
        match self {
            Self::Temporary(file) => {
                // A descriptor of its own, because the position belongs to the open file.
                let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file.as_ref()));
                let file = File::open(path).map_err(OpenError::Unreadable)?;
                Ok(Sending { reader: HashingReader::new(file), expected, before: None })
            }
            Self::File(file) => file.open(expected),
        }
    }
}

impl VolumeFile {
    fn open(&self, expected: Content) -> Result<Sending, OpenError> {
        let file = self.volume.root().open_file(&self.file.path, self.mounts).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => OpenError::Drift(Drift::Vanished),
            _ if error.raw_os_error() == Some(ELOOP) => OpenError::Drift(Drift::Vanished),
            _ => OpenError::Unreadable(error),
        })?;
        let before = FileStat::of_fd(&file).map_err(OpenError::Unreadable)?;
        if before.kind != FileKind::Regular {
            return Err(OpenError::Drift(Drift::Vanished));
        }
        if before.size != expected.size {
            return Err(OpenError::Drift(Drift::Changed));
        }
        Ok(Sending { reader: HashingReader::new(file), expected, before: Some((before, self.file.clone())) })
    }
}

/// A symbolic link where a file or a directory was.
const ELOOP: i32 = 40;

impl Sending {
    /// The open file. Whoever reads it by itself has to compare what arrived: nothing of that is hashed here.
    pub fn file(&self) -> &File {
        self.reader.inner()
    }

    /// After the last byte: whether what was read is what the snapshot says.
    pub fn finish(mut self) -> io::Result<Result<(), Drift>> {
        // The reader may have stopped at the expected size; a byte more is another content. What grows without end has no end.
        let left = (self.expected.size + 1).saturating_sub(self.reader.content().size);
        io::copy(&mut (&mut self.reader).take(left), &mut io::sink())?;
        let found = self.reader.content();
        if found == self.expected {
            return Ok(Ok(()));
        }
        let Some((before, file)) = self.before else { return Ok(Err(Drift::Changed)) };
        let after = FileStat::of_fd(self.reader.inner())?;
        let silently = before.same_bytes_likely(&after) && file.seen.is_unchanged(&after);
        Ok(Err(if silently { Drift::ChangedSilently(found) } else { Drift::Changed }))
    }
}

impl Read for Sending {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}
