//! What a `cas` destination needs of the place that holds it.

use lastcopy_fs::{Cancel, Content, ContentHash, HashBuffer, Progress};
use lastcopy_store::{Proof, ProofError, ReadBack};
use lastcopy_sync::segment::Place;
use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::Arc;

/// An object that was written, but not yet published.
#[derive(Debug)]
pub struct Staged {
    /// Its content, as expected.
    pub content: Content,
    /// Written now, and to be published; or there already, and only to be made durable.
    pub(crate) temporary: Option<StagedFile>,
}

#[derive(Debug)]
pub(crate) struct StagedFile {
    pub(crate) file: File,
    pub(crate) place: Place,
}

impl Staged {
    /// An object that was found there already, with the right size.
    pub fn existing(content: Content) -> Self {
        Self { content, temporary: None }
    }

    /// Whether it was sent now.
    pub fn is_new(&self) -> bool {
        self.temporary.is_some()
    }
}

/// A place that holds objects and small files, all named relative to its root. Everything blocks.
pub trait Medium: Send + Sync + 'static {
    /// Where it is, for people.
    fn address(&self) -> String;

    /// The same place for one operation, with nothing opened yet: something else may be mounted, or have been moved, there since. The
    /// first call of the operation opens it, and every later one must stay in what was opened then.
    fn look_again(&self) -> Arc<dyn Medium>;

    /// Whether `path` lies in it.
    fn contains(&self, path: &std::path::Path) -> io::Result<bool>;

    /// Whether the root is there and empty; `None` if there is no root, though the directory that would hold it is there.
    fn is_empty(&self) -> io::Result<Option<bool>>;

    /// Makes the root, if it is missing.
    fn create_root(&self) -> io::Result<()>;

    /// A small file, whole; `None` if it is not there, or the root is not.
    fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>>;

    /// Writes a small file where none is. Durable before it returns.
    fn create_small(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes or replaces a small file atomically. Durable before it returns.
    fn replace_small(&self, path: &str, bytes: &[u8]) -> io::Result<()>;

    /// Writes a file from a stream where none is, and reads it back: its digest is the answer. Durable before it returns.
    fn create_file(&self, path: &str, bytes: &mut dyn Read) -> io::Result<[u8; 32]>;

    /// Opens a file for reading.
    fn open_file(&self, path: &str) -> io::Result<File>;

    /// The names in a directory, sorted; none if it is not there.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// The size of an object, if it is there.
    fn object_size(&self, hash: ContentHash) -> io::Result<Option<u64>>;

    /// Writes an object under a temporary name, from a stream. A part that an interrupted attempt left is used again: as many bytes are
    /// read from the stream, and not written. No more is read than the content has bytes.
    fn stage(&self, place: Place, content: Content, bytes: &mut dyn Read) -> io::Result<Staged>;

    /// Throws a staged object away: its bytes were not what they should be.
    fn discard(&self, staged: Staged);

    /// Makes staged objects durable, publishes them without replacing anything, and makes that durable.
    fn publish(&self, staged: &[Staged]) -> io::Result<()>;

    /// Makes everything durable that lies there, whoever wrote it: a person may have copied objects here a moment ago, and what is read
    /// or seen then may be in this machine's memory alone.
    fn settle(&self) -> io::Result<()>;

    /// Reads an object from the device, all of it, and compares.
    fn prove(
        &self,
        content: Content,
        buffer: &mut HashBuffer,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Proof<ReadBack>, ProofError>;

    /// Copies an object out.
    fn copy_out(&self, hash: ContentHash, to: &mut dyn Write, cancel: &Cancel) -> io::Result<()>;

    /// Moves an object that does not hash to its name out of the way, to where it can be looked at.
    fn set_aside(&self, hash: ContentHash) -> io::Result<()>;

    /// Removes what interrupted pushes of a volume in an epoch left under temporary names. Only while nobody else pushes it.
    fn sweep(&self, place: Place) -> io::Result<()>;

    /// Every object, by name and size.
    fn objects(&self, each: &mut dyn FnMut(Content)) -> io::Result<()>;

    /// A part of the same place, and how to remove it with all that is in it.
    fn scratch(&self) -> io::Result<(Box<dyn Medium>, ScratchRemoval)>;
}

/// Removes a scratch part.
pub type ScratchRemoval = Box<dyn FnOnce() -> io::Result<()> + Send>;
