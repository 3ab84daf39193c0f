//! Hashing open files with a buffer that is used again, never through a memory map: a file that somebody truncates under a map kills
//! the process.

use crate::cancel::Cancel;
use crate::content::{Content, ContentHash};
use crate::progress::Progress;
use crate::tree_hash;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

/// Read size. What one read brings stays in the core's own cache until it is hashed: with 1 MiB, hashing from the page cache took a
/// tenth longer; with 32 KiB, the calls did. Cold disks did not tell the sizes apart, because the kernel reads ahead.
pub(crate) const PIECE: usize = 64 << 10;

/// From this size on, a file is hashed by all cores at once.
const PARALLEL_FROM: u64 = 64 << 20;

/// A buffer for hashing one file after the other.
#[derive(Debug)]
pub struct HashBuffer {
    piece: Vec<u8>,
}

impl Default for HashBuffer {
    fn default() -> Self {
        Self::new()
    }
}

impl HashBuffer {
    /// Allocates the buffer.
    pub fn new() -> Self {
        Self { piece: vec![0; PIECE] }
    }

    /// Hashes a file from its first byte to its end, wherever its read position is. `size` is what the caller believes, and only
    /// decides how: a file that turns out shorter than a large `size` is `UnexpectedEof`, because it changed; one that is longer is
    /// hashed to its true end.
    ///
    /// One that grows as fast as it is read would never end. It is read a little past the size that it had at the beginning, so that
    /// what comes back is longer than that, and the content of no file.
    ///
    /// Cancellation is an error that holds [`Cancelled`](crate::Cancelled).
    pub fn hash_file(&mut self, file: &File, size: u64, cancel: &Cancel, progress: &dyn Progress) -> io::Result<Content> {
        let length = file.metadata()?.len();
        // Of a longer one, only the beginning would be hashed: right bytes with something behind them are other bytes.
        if size >= PARALLEL_FROM && length <= size {
            let content = tree_hash::hash_range(file, size, cancel, progress)?;
            if retry(|| file.read_at(&mut self.piece[..1], size))? == 0 {
                return Ok(content);
            }
        }
        let end = length.max(size);
        let mut hasher = blake3::Hasher::new();
        let mut offset = 0;
        while offset <= end {
            interrupted(cancel)?;
            let count = retry(|| file.read_at(&mut self.piece, offset))?;
            if count == 0 {
                break;
            }
            hasher.update(&self.piece[..count]);
            offset += count as u64;
            progress.advance(0, count as u64);
            // A read that brought less than it could, and all that there was to begin with, saw the end: small files need one call.
            if count < self.piece.len() && offset == length {
                break;
            }
        }
        Ok(Content { hash: hasher.finalize().into(), size: offset })
    }
}

/// Cancellation as an I/O error, for functions that read. Not `ErrorKind::Interrupted`, upon which readers try again for ever.
pub(crate) fn interrupted(cancel: &Cancel) -> io::Result<()> {
    cancel.check().map_err(io::Error::other)
}

/// A read that a signal interrupted is tried again.
pub(crate) fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Hashes bytes in memory.
pub fn hash_bytes(bytes: &[u8]) -> Content {
    Content { hash: blake3::hash(bytes).into(), size: bytes.len() as u64 }
}

/// Hashes whatever is read through it.
#[derive(Debug)]
pub struct HashingReader<R> {
    inner: R,
    hasher: blake3::Hasher,
}

impl<R: Read> HashingReader<R> {
    /// Nothing read yet.
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: blake3::Hasher::new() }
    }

    /// What was read so far, as a content.
    pub fn content(&self) -> Content {
        Content { hash: ContentHash::from(self.hasher.finalize()), size: self.hasher.count() }
    }

    /// The reader underneath.
    pub fn inner(&self) -> &R {
        &self.inner
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::NoProgress;
    use std::io::Write;

    #[test]
    fn a_large_file_has_the_digest_of_the_standard() {
        let mut file = tempfile::tempfile().expect("temp");
        let mut expected = blake3::Hasher::new();
        let mut block = vec![0u8; 3 << 20];
        for index in 0..43u8 {
            block.fill(index);
            file.write_all(&block).expect("write");
            expected.update(&block);
        }
        file.write_all(b"tail").expect("write");
        expected.update(b"tail");
        let size = expected.count();
        assert!(size > PARALLEL_FROM, "the parallel way is taken");
        let content = HashBuffer::new().hash_file(&file, size, &Cancel::new(), &NoProgress).expect("hash");
        assert_eq!(content, Content { hash: expected.finalize().into(), size });
        let shorter = HashBuffer::new().hash_file(&file, size + 1, &Cancel::new(), &NoProgress);
        assert_eq!(shorter.expect_err("it shrank").kind(), io::ErrorKind::UnexpectedEof);
        // An object that had grown was once taken for whole, because its beginning was: a full verification and a full confirmation
        // passed, the original was deleted, and the object could not be restored.
        let longer = HashBuffer::new().hash_file(&file, size - 1, &Cancel::new(), &NoProgress).expect("hash");
        assert_eq!(longer, content);
    }

    /// A large stored object with something appended to it was taken for proven: of a size from which on all cores hash, only the
    /// expected number of bytes was read.
    #[test]
    fn what_is_longer_than_expected_is_other_bytes() {
        for size in [1000, PARALLEL_FROM] {
            let mut file = tempfile::tempfile().expect("temp");
            file.set_len(size).expect("sparse");
            let expected = HashBuffer::new().hash_file(&file, size, &Cancel::new(), &NoProgress).expect("hash");
            std::io::Seek::seek(&mut file, std::io::SeekFrom::End(0)).expect("seek");
            std::io::Write::write_all(&mut file, b"more").expect("write");
            let found = HashBuffer::new().hash_file(&file, size, &Cancel::new(), &NoProgress).expect("hash");
            assert_eq!((expected.size, found.size), (size, size + 4));
            assert_ne!(expected.hash, found.hash);
        }
    }

    /// An index run never came to the end of a log that was written as fast as it was read.
    #[test]
    fn a_file_that_grows_as_it_is_read_ends() {
        struct Growing(File);
        impl Progress for Growing {
            fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}
            fn advance(&self, _files: u64, bytes: u64) {
                let length = self.0.metadata().expect("stat").len();
                self.0.set_len(length + bytes).expect("grow");
            }
            fn note(&self, _line: &str) {}
        }
        let file = tempfile::tempfile().expect("temp");
        let size = 3 * PIECE as u64 + 1000;
        file.set_len(size).expect("sparse");
        let growing = Growing(file.try_clone().expect("dup"));
        let found = HashBuffer::new().hash_file(&file, size, &Cancel::new(), &growing).expect("hash");
        assert!(found.size > size, "it is not taken for the file that it was: {}", found.size);
    }
}
