//! Proofs: the only way to a `verified` receipt.
//!
//! A proof is typed by its method, and its constructor does the checking itself: there is no way to say "verified" without having
//! compared a digest of stored bytes.

use crate::checksum::{Algorithm, BoundChecksum, Checksum};
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

/// The checksum that the provider computed of what it stores is the one that was computed here over the very bytes.
#[derive(Debug)]
pub enum Fingerprint {}
impl sealed::Sealed for Fingerprint {}
impl ProofMethod for Fingerprint {
    const METHOD: Method = Method::Fingerprint;
}

/// That stored bytes hash to a content, by the method `M`.
#[derive(Debug)]
#[must_use = "a proof that is not recorded proves nothing tomorrow"]
pub struct Proof<M: ProofMethod> {
    content: Content,
    /// What the method may compare again later.
    fingerprint: Option<Checksum>,
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
    /// What was read here is not the content: its checksum says nothing about what is held.
    #[error("what was read here hashes to {} ({} bytes)", found.hash, found.size)]
    Source {
        /// What was read instead.
        found: Content,
    },
    /// The provider gives another checksum.
    #[error("its checksum there is {found}, and should be {expected}")]
    Checksum {
        /// What it should be.
        expected: Checksum,
        /// What the provider says.
        found: Checksum,
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
        let proof = Self { content: expected, fingerprint: None, method: PhantomData };
        if found == expected { Ok(proof) } else { Err(ProofError::Differs { found }) }
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

impl Proof<Fingerprint> {
    /// Reads the bytes that were sent, once, from a reader at their beginning: they are the content, and their checksum is the one that the
    /// provider computed, in hex. Whether the provider computes it from what it stores is for the caller to know; that it is no
    /// blank, and no other checksum, is looked at here. No more than the content's size, and a byte, is read.
    pub fn of_source(expected: Content, source: impl Read, algorithm: Algorithm, reported: &str) -> Result<Self, ProofError> {
        let reported = Checksum::from_hex(algorithm, reported).map_err(io::Error::other)?;
        let (content, checksum) = Checksum::read(source.take(expected.size.saturating_add(1)), algorithm)?;
        if content != expected {
            return Err(ProofError::Source { found: content });
        }
        Self::equal(expected, checksum, reported)
    }

    /// The provider's checksum is still the one that an earlier proof bound to the content.
    pub fn unchanged(bound: &BoundChecksum, reported: &str) -> Result<Self, ProofError> {
        let reported = Checksum::from_hex(bound.checksum().algorithm(), reported).map_err(io::Error::other)?;
        Self::equal(bound.content(), bound.checksum(), reported)
    }

    fn equal(content: Content, expected: Checksum, found: Checksum) -> Result<Self, ProofError> {
        if found == expected {
            Ok(Self { content, fingerprint: Some(expected), method: PhantomData })
        } else {
            Err(ProofError::Checksum { expected, found })
        }
    }
}

/// A proof whose method is no longer a type; what a receipt is recorded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proven {
    content: Content,
    method: Method,
    fingerprint: Option<Checksum>,
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

    /// The checksum that may be compared again later, where that is the method.
    pub fn fingerprint(&self) -> Option<Checksum> {
        self.fingerprint
    }
}

impl<M: ProofMethod> From<Proof<M>> for Proven {
    fn from(proof: Proof<M>) -> Self {
        Self { content: proof.content, method: M::METHOD, fingerprint: proof.fingerprint }
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

    const SHA1_OF_ABC: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";

    #[test]
    fn a_checksum_proves_only_the_bytes_that_were_read_here() {
        let expected = hash_bytes(b"abc");
        let proof = Proof::of_source(expected, &b"abc"[..], Algorithm::Sha1, SHA1_OF_ABC).expect("the very bytes");
        assert_eq!(Proven::from(proof).fingerprint().map(|sum| sum.to_string()), Some(format!("sha1:{SHA1_OF_ABC}")));
        // Other bytes here: even where the provider has the same other ones, they are not the content.
        for other in [&b"abd"[..], b"abcd", b"ab", b""] {
            let (_, theirs) = Checksum::read(other, Algorithm::Sha1).expect("memory");
            let theirs = theirs.to_string()["sha1:".len()..].to_owned();
            let found = Proof::of_source(expected, other, Algorithm::Sha1, &theirs);
            assert!(matches!(found, Err(ProofError::Source { .. })), "{found:?}");
            let found = Proof::of_source(expected, &b"abc"[..], Algorithm::Sha1, &theirs);
            assert!(matches!(found, Err(ProofError::Checksum { .. })), "{found:?}");
        }
        // A blank says nothing, nor does what is no such checksum.
        for blank in ["", " ", "UNSUPPORTED", "0", &SHA1_OF_ABC[1..], &expected.hash.to_string()] {
            let found = Proof::of_source(expected, &b"abc"[..], Algorithm::Sha1, blank);
            assert!(matches!(found, Err(ProofError::Io(_))), "{found:?}");
        }
    }

    #[test]
    fn a_recorded_checksum_proves_as_long_as_it_stays_the_same() {
        let content = hash_bytes(b"abc");
        let bound = BoundChecksum::recorded(content, Some(&format!("sha1:{SHA1_OF_ABC}"))).expect("a checksum");
        assert_eq!(Proof::unchanged(&bound, SHA1_OF_ABC).expect("the same").content(), content);
        let other = SHA1_OF_ABC.replace('a', "b");
        assert!(matches!(Proof::unchanged(&bound, &other), Err(ProofError::Checksum { .. })));
        for blank in ["", &SHA1_OF_ABC[1..]] {
            assert!(matches!(Proof::unchanged(&bound, blank), Err(ProofError::Io(_))));
        }
        for unreadable in [None, Some(""), Some("sha1:"), Some(SHA1_OF_ABC), Some("crc32:00000000")] {
            assert_eq!(BoundChecksum::recorded(content, unreadable), None);
        }
    }

    /// A stream that never ends is not read for ever.
    #[test]
    fn no_more_is_read_than_the_content_has() {
        let expected = hash_bytes(b"abc");
        let found = Proof::of_source(expected, io::repeat(b'a'), Algorithm::Sha1, SHA1_OF_ABC);
        assert!(matches!(found, Err(ProofError::Source { found }) if found.size == 4));
    }
}
