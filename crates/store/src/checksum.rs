//! Checksums of providers: what some of them compute of each object that they store, and what they are bound to here.

use crate::ids::text_enum;
use lastcopy_fs::{Content, HashingReader, escape};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

text_enum! {
    /// How a provider computes a checksum: only what a damaged object does not have by accident. Strongest first.
    pub enum Algorithm {
        /// SHA-256.
        Sha256 = "sha256",
        /// SHA-1.
        Sha1 = "sha1",
        /// MD5: against accidents, not against people.
        Md5 = "md5",
    }
}

/// A checksum. Written as `sha256:` and so on, with its hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// By SHA-256.
    Sha256([u8; 32]),
    /// By SHA-1.
    Sha1([u8; 20]),
    /// By MD5.
    Md5([u8; 16]),
}

/// Text is no checksum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {algorithm} checksum")]
pub struct ParseChecksumError {
    algorithm: String,
    text: String,
}

impl Checksum {
    /// Reads a checksum as providers give it: exactly its hex digits.
    pub fn from_hex(algorithm: Algorithm, digits: &str) -> Result<Self, ParseChecksumError> {
        let read = match algorithm {
            Algorithm::Sha256 => bytes_of(digits).map(Self::Sha256),
            Algorithm::Sha1 => bytes_of(digits).map(Self::Sha1),
            Algorithm::Md5 => bytes_of(digits).map(Self::Md5),
        };
        read.ok_or_else(|| ParseChecksumError { algorithm: algorithm.name().into(), text: escape(digits.as_bytes()) })
    }

    /// Reads to the end, once: what the bytes are, and their checksum.
    pub(crate) fn read(source: impl Read, algorithm: Algorithm) -> io::Result<(Content, Self)> {
        let mut source = HashingReader::new(source);
        let checksum = match algorithm {
            Algorithm::Sha256 => Self::Sha256(through::<Sha256>(&mut source)?.into()),
            Algorithm::Sha1 => Self::Sha1(through::<Sha1>(&mut source)?.into()),
            Algorithm::Md5 => Self::Md5(through::<Md5>(&mut source)?.into()),
        };
        Ok((source.content(), checksum))
    }

    /// How it was computed.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Md5(_) => Algorithm::Md5,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(bytes) => bytes,
            Self::Sha1(bytes) => bytes,
            Self::Md5(bytes) => bytes,
        }
    }
}

/// Bytes that are read at a time.
const PIECE: usize = 64 << 10;

fn through<D: Digest>(source: &mut impl Read) -> io::Result<sha2::digest::Output<D>> {
    let (mut digest, mut piece) = (D::new(), vec![0; PIECE]);
    loop {
        match source.read(&mut piece) {
            Ok(0) => return Ok(digest.finalize()),
            Ok(count) => digest.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Exactly so many bytes of hex. Some providers write them large.
fn bytes_of<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let (digits, mut bytes) = (digits.as_bytes(), [0; N]);
    if digits.len() != N * 2 {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(bytes)
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.algorithm())?;
        self.bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Checksum {
    type Err = ParseChecksumError;

    fn from_str(text: &str) -> Result<Self, ParseChecksumError> {
        let (name, digits) = text.split_once(':').unwrap_or_default();
        match Algorithm::from_name(name) {
            Some(algorithm) => Self::from_hex(algorithm, digits),
            None => Err(ParseChecksumError { algorithm: "known".into(), text: escape(text.as_bytes()) }),
        }
    }
}

/// A checksum that a proof bound to a content: once here, over the very bytes. Only a receipt has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundChecksum {
    content: Content,
    checksum: Checksum,
}

impl BoundChecksum {
    /// As a receipt says. What cannot be read binds nothing, and the object is read instead.
    pub(crate) fn recorded(content: Content, text: Option<&str>) -> Option<Self> {
        Some(Self { content, checksum: text?.parse().ok()? })
    }

    /// The content.
    pub fn content(&self) -> Content {
        self.content
    }

    /// The checksum of its bytes.
    pub fn checksum(&self) -> Checksum {
        self.checksum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published test vectors of the three, so that no two mistakes of ours agree with each other.
    #[test]
    fn checksums_are_those_of_the_standards() {
        for (bytes, expected) in [
            (&b"abc"[..], "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (b"abc", "sha1:a9993e364706816aba3e25717850c26c9cd0d89d"),
            (b"abc", "md5:900150983cd24fb0d6963f7d28e17f72"),
            (b"", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (b"", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            (b"", "md5:d41d8cd98f00b204e9800998ecf8427e"),
        ] {
            let algorithm = Algorithm::from_name(expected.split(':').next().expect("a name")).expect("a known one");
            let (content, found) = Checksum::read(bytes, algorithm).expect("memory");
            assert_eq!(found.to_string(), expected);
            assert_eq!(content, lastcopy_fs::hash_bytes(bytes));
            assert_eq!(expected.parse(), Ok(found));
        }
    }

    #[test]
    fn only_the_exact_digits_are_a_checksum() {
        let large = "900150983CD24FB0D6963F7D28E17F72";
        assert_eq!(Checksum::from_hex(Algorithm::Md5, large), Checksum::from_hex(Algorithm::Md5, &large.to_lowercase()));
        for bad in
            ["", " ", "UNSUPPORTED", &large[1..], &format!("{large}0"), &large.replace('9', "g"), &format!(" {}", &large[1..])]
        {
            assert!(Checksum::from_hex(Algorithm::Md5, bad).is_err(), "{bad}");
        }
        assert!(Checksum::from_hex(Algorithm::Sha1, large).is_err());
        for bad in ["", large, ":", &format!("crc32:{large}"), &format!("sha256:{large}"), "md5:"] {
            assert!(bad.parse::<Checksum>().is_err(), "{bad}");
        }
    }
}
