//! How long work tells what it is doing, without knowing who listens.

use crate::Cancel;
use std::io::{self, Read};

/// Receives the progress of one piece of work. Calls come from several threads.
pub trait Progress: Send + Sync {
    /// A phase begins, with as much as is known of its size (0 = unknown).
    fn phase(&self, name: &'static str, files: u64, bytes: u64);
    /// So many more files and bytes of the phase are done.
    fn advance(&self, files: u64, bytes: u64);
    /// Something that a person should read now, in one line.
    fn note(&self, line: &str);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoProgress;

impl Progress for NoProgress {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}
    fn advance(&self, _files: u64, _bytes: u64) {}
    fn note(&self, _line: &str) {}
}

/// Reads on, tells of what was read, and stops when asked to.
pub struct Counting<'a, R> {
    /// What is read.
    pub from: R,
    /// Looked at before each read.
    pub cancel: &'a Cancel,
    /// Told of the bytes.
    pub progress: &'a dyn Progress,
}

impl<R: Read> Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        let count = self.from.read(buffer)?;
        self.progress.advance(0, count as u64);
        Ok(count)
    }
}
