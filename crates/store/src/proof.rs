//! Proofs: the only way to a `verified` receipt.
//!
//! A proof is typed by its method, and its constructor does the checking itself: there is no way to say "verified" without having
//! compared a digest of stored bytes.

use crate::policy::Method;
use lastcopy_fs::{Cancel, Content, HashBuffer, Progress};
use std::fs::File;
use std::io::{self, Read};
use std::marker::PhantomData;

mod sealed {
    pub trait Sealed {}
}

/// A method of proof, as a type.
pub trait ProofMethod: sealed::Sealed {
    /// Its name.
    const METHOD: Method;
}

/// We read the stored bytes and hashed them.
#[derive(Debug)]
pub enum ReadBack {}
impl sealed::Sealed for ReadBack {}
impl ProofMethod for ReadBack {
    const METHOD: Method = Method::ReadBack;
}

/// The far side read the stored bytes and hashed them with BLAKE3, now, because we asked.
#[derive(Debug)]
pub enum RemoteHash {}
impl sealed::Sealed for RemoteHash {}
impl ProofMethod for RemoteHash {
    const METHOD: Method = Method::RemoteHash;
}

/// That stored bytes hash to a content, by the method `M`.
#[derive(Debug)]
#[must_use = "a proof that is not recorded proves nothing tomorrow"]
pub struct Proof<M: ProofMethod> {
    content: Content,
    method: PhantomData<fn() -> M>,
}

/// Why stored bytes are no proof.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// They are other bytes.
    #[error("the bytes held there hash to {} ({} bytes)", found.hash, found.size)]
    Differs {
        /// What is held instead.
        found: Content,
    },
    /// They could not be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<M: ProofMethod> Proof<M> {
    /// What was proven to be held.
    pub fn content(&self) -> Content {
        self.content
    }

    fn compared(expected: Content, found: Content) -> Result<Self, ProofError> {
        if found == expected { Ok(Self { content: expected, method: PhantomData }) } else { Err(ProofError::Differs { found }) }
    }
}

impl Proof<ReadBack> {
    /// Reads a stored file, all of it, and compares. Give a descriptor whose pages were dropped from the cache, where that can be.
    pub fn read_file(
        expected: Content,
        stored: &File,
        buffer: &mut HashBuffer,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Self, ProofError> {
        match buffer.hash_file(stored, expected.size, cancel, progress) {
            Ok(found) => Self::compared(expected, found),
            // It is shorter than it should be: say what it is.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::compared(expected, buffer.hash_file(stored, 0, cancel, progress)?)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reads a stored object from a stream, to its end, and compares.
    pub fn read_stream(expected: Content, stored: impl Read) -> Result<Self, ProofError> {
        let mut reader = lastcopy_fs::HashingReader::new(stored);
        io::copy(&mut reader, &mut io::sink())?;
        Self::compared(expected, reader.content())
    }
}

impl Proof<RemoteHash> {
    /// Compares what the far side computed, in hex. A blank answer, or one that is no BLAKE3 digest, is no proof.
    pub fn reported(expected: Content, digest: &str) -> Result<Self, ProofError> {
        let hash = digest.parse().map_err(|error: lastcopy_fs::ParseHashError| io::Error::other(error.to_string()))?;
        // The digest binds the size, too.
        Self::compared(expected, Content { hash, size: expected.size })
    }
}

/// A proof whose method is no longer a type; what a receipt is recorded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    content: Content,
    method: Method,
}

impl Proven {
    /// What was proven to be held.
    pub fn content(&self) -> Content {
        self.content
    }

    /// How.
    pub fn method(&self) -> Method {
        self.method
    }
}

impl<M: ProofMethod> From<Proof<M>> for Proven {
    fn from(proof: Proof<M>) -> Self {
        Self { content: proof.content, method: M::METHOD }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lastcopy_fs::hash_bytes;

    #[test]
    fn only_the_very_bytes_are_a_proof() {
        let expected = hash_bytes(b"the bytes");
        assert!(Proof::read_stream(expected, &b"the bytes"[..]).is_ok());
        for other in [&b"the byteS"[..], b"the bytes ", b"the byte", b""] {
            let error = Proof::read_stream(expected, other).expect_err("other bytes");
            assert!(matches!(error, ProofError::Differs { found } if found == hash_bytes(other)));
        }
    }

    #[test]
    fn only_the_very_digest_is_a_proof() {
        let expected = hash_bytes(b"the bytes");
        assert!(Proof::reported(expected, &expected.hash.to_string()).is_ok());
        let cut = expected.hash.to_string()[1..].to_owned();
        for other in ["", " ", "UNSUPPORTED", &cut, &hash_bytes(b"").hash.to_string()] {
            assert!(Proof::reported(expected, other).is_err(), "{other}");
        }
    }
}
