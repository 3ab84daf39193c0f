//! How what is stored is verified, and doing it.

use crate::daemon::Verify;
use crate::rc::RcError;
use crate::remote::{Features, Remote, read_failed};
use lastcopy_fs::{Cancel, Content, Dir, FileKind, FileStat, HashBuffer, Mounts, Progress, RelPath, drop_from_cache};
use lastcopy_store::{Method, Proof, ProofError, Proven};
use std::fs::File;
use std::io;

/// The way by which a place is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Reading the files of a local directory from the device.
    Local,
    /// The BLAKE3 that the far side computes when it is asked.
    RemoteHash,
    /// Reading back through rclone.
    ReadBack,
    /// None.
    Nothing,
}

impl Way {
    /// What a person chose, as far as the place allows; the reason, in words.
    pub(crate) fn choose(verify: Verify, features: &Features) -> (Self, String) {
        match verify {
            Verify::None => (Self::Nothing, "`verify = \"none\"` is configured".into()),
            _ if features.local.is_some() => {
                (Self::Local, "it is a directory of this machine, which is read back from the device".into())
            }
            Verify::ReadBack => (Self::ReadBack, "`verify = \"read-back\"` is configured".into()),
            Verify::RemoteHash | Verify::Auto if features.blake3() => (Self::RemoteHash, "it serves BLAKE3".into()),
            Verify::RemoteHash => (Self::Nothing, format!("it serves no BLAKE3, only {}", served(features))),
            Verify::Auto => (Self::ReadBack, format!("it serves no BLAKE3, only {}", served(features))),
        }
    }

    /// What its proofs are called.
    pub(crate) fn method(self) -> Option<Method> {
        match self {
            Self::Local | Self::ReadBack => Some(Method::ReadBack),
            Self::RemoteHash => Some(Method::RemoteHash),
            Self::Nothing => None,
        }
    }
}

fn served(features: &Features) -> String {
    if features.hashes.is_empty() { "no hash at all".into() } else { features.hashes.join(", ") }
}

/// What a look at a place found.
#[derive(Debug)]
pub(crate) enum Look {
    /// The very bytes.
    Proven(Proven),
    /// Something of the right size; nothing more is known.
    Seen,
    /// Nothing.
    Absent,
    /// Something else, in words.
    Other(String),
}

/// Why a look tells nothing.
#[derive(Debug)]
pub(crate) enum Blind {
    /// rclone.
    Rc(RcError),
    /// Reading.
    Io(io::Error),
    /// There is no way to verify it.
    NoWay,
}

/// Looks at every byte.
pub(crate) fn prove(
    remote: &Remote,
    way: Way,
    content: Content,
    path: &str,
    buffer: &mut HashBuffer,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Look, Blind> {
    let proof: Result<Proven, ProofError> = match way {
        Way::Nothing => return Err(Blind::NoWay),
        Way::Local => match open_local(remote, path) {
            Ok(Some(file)) => drop_from_cache(&file)
                .map_err(ProofError::Io)
                .and_then(|()| Ok(Proof::read_file(content, &file, buffer, cancel, progress)?.into())),
            Ok(None) => return Ok(Look::Absent),
            Err(error) => Err(error.into()),
        },
        Way::RemoteHash => match remote.stat_hashed(path).map_err(Blind::Rc)? {
            Some(entry) if !entry.is_dir => {
                if entry.blake3.is_empty() {
                    return Err(Blind::Io(io::Error::other("the far side gave no BLAKE3, which it said that it serves")));
                }
                Proof::reported(content, &entry.blake3).map(Proven::from)
            }
            Some(_) => return Ok(Look::Other("a directory is there".into())),
            None => return Ok(Look::Absent),
        },
        Way::ReadBack => match remote.read(path) {
            Ok(object) if object.length.is_some_and(|length| length != content.size) => {
                let size = object.length.unwrap_or_default();
                return Ok(Look::Other(format!("it has {size} bytes instead of {}", content.size)));
            }
            Ok(object) => Proof::read_stream(content, Counting { object, cancel, progress }).map(Proven::from),
            Err(error @ RcError::Silent(_)) => return Err(Blind::Rc(error)),
            Err(error) => match read_failed(error) {
                error if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Absent),
                error => Err(error.into()),
            },
        },
    };
    match proof {
        Ok(proven) => Ok(Look::Proven(proven)),
        Err(ProofError::Differs { found }) => Ok(Look::Other(format!("the bytes there hash to {}", found.hash))),
        Err(ProofError::Io(error)) => Err(Blind::Io(error)),
        Err(error) => Err(Blind::Io(io::Error::other(error.to_string()))),
    }
}

/// Looks whether it is there, with its size.
pub(crate) fn look(remote: &Remote, content: Content, path: &str) -> Result<Look, Blind> {
    let size = match &remote.features.local {
        Some(_) => {
            let file = open_local(remote, path).map_err(Blind::Io)?;
            file.map(|file| FileStat::of_fd(&file)).transpose().map_err(Blind::Io)?.map(|stat| stat.size)
        }
        None => match remote.stat(path).map_err(Blind::Rc)? {
            Some(entry) if entry.is_dir => return Ok(Look::Other("a directory is there".into())),
            entry => entry.map(|entry| entry.size),
        },
    };
    Ok(match size {
        None => Look::Absent,
        Some(size) if size == content.size => Look::Seen,
        Some(size) => Look::Other(format!("it has {size} bytes instead of {}", content.size)),
    })
}

/// Opens a file of a local mirror; none, if there is none.
pub(crate) fn open_local(remote: &Remote, path: &str) -> io::Result<Option<File>> {
    let root = remote.features.local.as_deref().ok_or(io::ErrorKind::Unsupported)?;
    let path = RelPath::new(path).map_err(io::Error::other)?;
    match Dir::open(root)?.open_file(&path, Mounts::Cross) {
        Ok(file) if FileStat::of_fd(&file)?.kind == FileKind::Regular => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Tells of what was read, and stops when asked to.
struct Counting<'a, R> {
    object: R,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl<R: io::Read> io::Read for Counting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check().map_err(io::Error::other)?;
        let count = self.object.read(buffer)?;
        self.progress.advance(0, count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_stronger_than_what_is_served() {
        let far = Features { backend: "x".into(), hashes: vec!["md5".into()], local: None, moves: true };
        let blake3 = Features { hashes: vec!["md5".into(), "blake3".into()], ..far.clone() };
        let here = Features { local: Some("/mnt".into()), ..blake3.clone() };
        let way = |verify, features: &Features| Way::choose(verify, features).0;
        assert_eq!(way(Verify::Auto, &far), Way::ReadBack);
        assert_eq!(way(Verify::Auto, &blake3), Way::RemoteHash);
        assert_eq!(way(Verify::RemoteHash, &far), Way::Nothing);
        assert_eq!(way(Verify::ReadBack, &blake3), Way::ReadBack);
        assert_eq!(way(Verify::Auto, &here), Way::Local);
        for features in [&far, &blake3, &here] {
            assert_eq!(way(Verify::None, features), Way::Nothing);
        }
    }
}
