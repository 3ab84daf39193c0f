//! How what is stored is verified, and doing it.

use crate::checksums::{self, Served, When};
use crate::daemon::Verify;
use crate::rc::RcError;
use crate::remote::{Features, Remote, read_failed};
use crate::wire::Entry;
use lastcopy_fs::{Content, Counting, Dir, FileKind, FileStat, HashBuffer, Mounts, Progress, RelPath, drop_from_cache};
use lastcopy_store::{BoundChecksum, Method, Proof, ProofError, Proven};
use lastcopy_sync::{Context, HeldItem, OpenError, Source};
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Bytes in a second that anybody hashes, at the least.
const SLOWEST: u64 = 10 << 20;

/// The way by which a place is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Reading the files of a local directory from the device.
    Local,
    /// The BLAKE3 that the far side computes when it is asked.
    RemoteHash,
    /// Another checksum that the provider computes; what has none, or another one, is read back.
    Fingerprint(Served),
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
            Verify::RemoteHash | Verify::Auto if checksums::blake3(features) => {
                (Self::RemoteHash, "it serves BLAKE3, which it computes when it is asked".into())
            }
            Verify::RemoteHash => (Self::Nothing, format!("it computes no BLAKE3 by itself; it serves {}", served(features))),
            Verify::Fingerprint | Verify::Auto => match (checksums::strongest(features), verify) {
                (Some(served), _) => {
                    let Served { algorithm, because, .. } = served;
                    (Self::Fingerprint(served), format!("it serves {algorithm}, which is its own: {because}"))
                }
                (None, Verify::Auto) => (Self::ReadBack, not_its_own(features)),
                (None, _) => (Self::Nothing, not_its_own(features)),
            },
        }
    }

    /// Whether the far side is asked for a hash of everything that was sent.
    pub(crate) fn hashes_there(self) -> bool {
        matches!(self, Self::RemoteHash | Self::Fingerprint(_))
    }

    /// What its proofs are called.
    pub(crate) fn method(self) -> Option<Method> {
        match self {
            Self::Local | Self::ReadBack => Some(Method::ReadBack),
            Self::RemoteHash => Some(Method::RemoteHash),
            Self::Fingerprint(_) => Some(Method::Fingerprint),
            Self::Nothing => None,
        }
    }
}

fn served(features: &Features) -> String {
    if features.hashes.is_empty() { "no hash at all".into() } else { features.hashes.join(", ") }
}

fn not_its_own(features: &Features) -> String {
    format!("it serves {}, and nothing that it is known to compute by itself of what it stores", served(features))
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

impl fmt::Display for Blind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rc(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::NoWay => f.write_str("nothing there can be verified"),
        }
    }
}

/// What a provider's checksum is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Against<'a> {
    /// The bytes from which it was sent: they are read here, once more.
    Source(&'a Source),
    /// What an earlier proof bound to the content, if one did.
    Receipt(Option<BoundChecksum>),
}

/// Looks at what lies in a place.
pub(crate) struct Looker<'a> {
    pub(crate) remote: &'a Remote,
    pub(crate) way: Way,
    context: &'a Context,
    /// Why everything is read back, where a person left the choice to us.
    why_read: Option<&'a str>,
    /// Bytes of objects of which a hash is asked for just now.
    asked: AtomicU64,
    /// Whether a person was told that a weaker or slower way is taken than was chosen.
    told: AtomicBool,
}

impl<'a> Looker<'a> {
    /// For the way that was chosen, and why.
    pub(crate) fn new(remote: &'a Remote, verify: Verify, (way, why): &'a (Way, String), context: &'a Context) -> Self {
        let why_read = (verify == Verify::Auto && *way == Way::ReadBack).then_some(why.as_str());
        Self { remote, way: *way, context, why_read, asked: AtomicU64::new(0), told: AtomicBool::new(false) }
    }

    /// Looks at every byte; `progress` is told of bytes that are read.
    pub(crate) fn bytes(
        &self,
        content: Content,
        path: &str,
        against: Against<'_>,
        buffer: &mut HashBuffer,
        progress: &dyn Progress,
    ) -> Result<Look, Blind> {
        let (remote, cancel) = (self.remote, &self.context.cancel);
        let proof: Result<Proven, ProofError> = match self.way {
            Way::Nothing => return Err(Blind::NoWay),
            Way::Local => match open_local(remote, path, Mounts::Stay) {
                Ok(Some(file)) => drop_from_cache(&file)
                    .map_err(ProofError::Io)
                    .and_then(|()| Ok(Proof::read_file(content, &file, buffer, cancel, progress)?.into())),
                Ok(None) => return Ok(Look::Absent),
                Err(error) => Err(error.into()),
            },
            Way::RemoteHash => match self.stat_hashed(content, path, "blake3").map_err(Blind::Rc)? {
                Some(entry) if !entry.is_dir => {
                    if entry.hash.is_empty() {
                        return Err(Blind::Io(io::Error::other("the far side gave no BLAKE3, which it said that it serves")));
                    }
                    Proof::reported(content, &entry.hash).map(Proven::from)
                }
                Some(_) => return Ok(Look::Other("a directory is there".into())),
                None => return Ok(Look::Absent),
            },
            Way::Fingerprint(served) => match self.fingerprint(served, content, path, against, progress)? {
                Compared::Equal(proven) => return Ok(Look::Proven(proven)),
                Compared::Nothing => return Ok(Look::Absent),
                Compared::Other(why) | Compared::NoProof(Some(why)) => {
                    self.reads_back(path, &why);
                    return self.read_back(content, path, progress);
                }
                Compared::NoProof(None) => return self.read_back(content, path, progress),
            },
            Way::ReadBack => {
                // It was possible once.
                if let (Against::Receipt(Some(_)), Some(why)) = (against, self.why_read) {
                    self.reads_back(path, why);
                }
                return self.read_back(content, path, progress);
            }
        };
        found(proof)
    }

    /// How long nothing may be heard besides: who hashes a large object on a slow disk gives no sign of life.
    pub(crate) fn quiet(&self) -> Duration {
        Duration::from_secs(self.asked.load(Ordering::Relaxed) / SLOWEST)
    }

    fn stat_hashed(&self, content: Content, path: &str, hash: &str) -> Result<Option<Entry>, RcError> {
        self.asked.fetch_add(content.size, Ordering::Relaxed);
        let answer = self.remote.stat_hashed(path, hash);
        self.asked.fetch_sub(content.size, Ordering::Relaxed);
        answer
    }

    fn read_back(&self, content: Content, path: &str, progress: &dyn Progress) -> Result<Look, Blind> {
        let cancel = &self.context.cancel;
        found(match self.remote.read(path) {
            Ok(object) if object.length.is_some_and(|length| length != content.size) => {
                let size = object.length.unwrap_or_default();
                return Ok(Look::Other(format!("it has {size} bytes instead of {}", content.size)));
            }
            Ok(object) => Proof::read_stream(content, Counting { from: object, cancel, progress }).map(Proven::from),
            Err(error @ RcError::Silent(_)) => return Err(Blind::Rc(error)),
            Err(error) => match read_failed(error) {
                error if error.kind() == io::ErrorKind::NotFound => return Ok(Look::Absent),
                error => Err(error.into()),
            },
        })
    }

    /// Asks for the provider's checksum, and compares it. What cannot be compared is no proof, and nothing worse.
    fn fingerprint(
        &self,
        served: Served,
        content: Content,
        path: &str,
        against: Against<'_>,
        progress: &dyn Progress,
    ) -> Result<Compared, Blind> {
        let algorithm = served.algorithm;
        // Another content's proves nothing of this one, nor one of another make.
        let known = match against {
            Against::Receipt(bound) => {
                let fits = |bound: &BoundChecksum| bound.content() == content && bound.checksum().algorithm() == algorithm;
                match bound.filter(fits) {
                    Some(bound) => Ok(bound),
                    None => return Ok(Compared::NoProof(None)),
                }
            }
            Against::Source(source) => Err(source),
        };
        let reported = match self.stat_hashed(content, path, algorithm.name()) {
            Ok(None) => return Ok(Compared::Nothing),
            Ok(Some(entry)) if entry.is_dir || entry.size != content.size => return Ok(Compared::NoProof(None)),
            Ok(Some(entry)) if entry.hash.is_empty() => {
                return Ok(Compared::NoProof(Some(format!("the far side gives no {algorithm}, which it said that it serves"))));
            }
            Ok(Some(entry)) => entry.hash,
            Err(error @ RcError::Silent(_)) => return Err(Blind::Rc(error)),
            Err(error) => return Ok(Compared::NoProof(Some(error.to_string()))),
        };
        let proof = match known {
            Ok(bound) => Proof::unchanged(&bound, &reported),
            Err(source) => match source.open(content) {
                Ok(source) => {
                    let object = Counting { from: source.file(), cancel: &self.context.cancel, progress };
                    Proof::of_source(content, object, algorithm, &reported)
                }
                // Whoever sent it sees to that.
                Err(OpenError::Drift(_)) => return Ok(Compared::NoProof(None)),
                Err(OpenError::Unreadable(error)) => Err(error.into()),
            },
        };
        Ok(match proof {
            Ok(proof) => Compared::Equal(proof.into()),
            Err(ProofError::Source { .. }) => Compared::NoProof(None),
            Err(why @ ProofError::Checksum { .. }) => Compared::Other(why.to_string()),
            Err(why) => Compared::NoProof(Some(why.to_string())),
        })
    }

    /// Looks whether it is there, with its size; and with its checksum, where an earlier proof bound one and asking costs nothing.
    pub(crate) fn presence(&self, item: &HeldItem, path: &str) -> Result<Look, Blind> {
        let kept = match self.way {
            Way::Fingerprint(served) if served.when == When::Stored && item.fingerprint.is_some() => served,
            _ => return look(self.remote, item.content, path),
        };
        match self.fingerprint(kept, item.content, path, Against::Receipt(item.fingerprint), self.context.progress.as_ref())? {
            Compared::Equal(proven) => Ok(Look::Proven(proven)),
            Compared::Nothing => Ok(Look::Absent),
            // Then the bytes decide.
            Compared::Other(why) => {
                self.reads_back(path, &why);
                self.read_back(item.content, path, self.context.progress.as_ref())
            }
            Compared::NoProof(_) => look(self.remote, item.content, path),
        }
    }

    /// Tells a person, once, that bytes are read where a checksum was expected to do.
    fn reads_back(&self, path: &str, why: &str) {
        // What was stopped is not read back any more.
        if !self.context.cancel.is_cancelled() && !self.told.swap(true, Ordering::Relaxed) {
            let line = format!("{path} is read back there, and so is whatever else its checksum does not prove: {why}");
            self.context.progress.note(&line);
        }
    }
}

/// What came of comparing a provider's checksum.
enum Compared {
    /// It is the one of the very bytes.
    Equal(Proven),
    /// Nothing is there.
    Nothing,
    /// It is another one, in words.
    Other(String),
    /// It proves nothing; why, if that is news.
    NoProof(Option<String>),
}

fn found(proof: Result<Proven, ProofError>) -> Result<Look, Blind> {
    match proof {
        Ok(proven) => Ok(Look::Proven(proven)),
        Err(ProofError::Differs { found }) => Ok(Look::Other(format!("the bytes there hash to {}", found.hash))),
        Err(ProofError::Io(error)) => Err(Blind::Io(error)),
        Err(error) => Err(Blind::Io(io::Error::other(error.to_string()))),
    }
}

/// Looks whether it is there, with its size.
fn look(remote: &Remote, content: Content, path: &str) -> Result<Look, Blind> {
    let size = match &remote.features.local {
        Some(_) => {
            let file = open_local(remote, path, Mounts::Stay).map_err(Blind::Io)?;
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

/// Opens a file of a local mirror; none, if there is none. What is mounted below the mirror's root is not synced with it, has no marker that
/// tells which disk it is, and is none of the mirror: nothing counts on it. With [`Mounts::Cross`], what comes back may lie there all the same.
pub(crate) fn open_local(remote: &Remote, path: &str, mounts: Mounts) -> io::Result<Option<File>> {
    let root = remote.features.local.as_deref().ok_or(io::ErrorKind::Unsupported)?;
    let path = RelPath::new(path).map_err(io::Error::other)?;
    match Dir::open(root)?.open_file(&path, mounts) {
        Ok(file) if FileStat::of_fd(&file)?.kind == FileKind::Regular => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let text = "another file system is mounted above it; give that one a destination of its own";
            Err(io::Error::new(error.kind(), text))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ladder: the far side's BLAKE3, another checksum of its own, reading back; and what was asked for, or nothing.
    #[test]
    fn nothing_stronger_than_what_is_served() {
        let hashes = |all: &[&str]| all.iter().map(|hash| (*hash).to_owned()).collect::<Vec<_>>();
        let bucket = Features {
            backend: "x".into(),
            kind: Some("s3".into()),
            hashes: hashes(&["md5"]),
            local: None,
            wraps: false,
            moves: true,
        };
        let server = Features { kind: Some("sftp".into()), hashes: hashes(&["md5", "sha256"]), ..bucket.clone() };
        let blake3 = Features { hashes: hashes(&["md5", "sha256", "blake3"]), ..server.clone() };
        let mute = Features { hashes: Vec::new(), ..server.clone() };
        // It keeps hashes of its own making on this machine, and would give an old one for new bytes.
        let hasher = Features { kind: None, ..blake3.clone() };
        // Its clients say what the BLAKE3 is.
        let told = Features { kind: Some("filen".into()), ..blake3.clone() };
        let here = Features { local: Some("/mnt".into()), ..blake3.clone() };
        let way = |verify, features: &Features| match Way::choose(verify, features).0 {
            Way::Local => "local",
            Way::RemoteHash => "remote-hash",
            Way::Fingerprint(served) => served.algorithm.name(),
            Way::ReadBack => "read-back",
            Way::Nothing => "nothing",
        };
        for (features, auto, remote_hash, fingerprint) in [
            (&bucket, "read-back", "nothing", "nothing"),
            (&server, "sha256", "nothing", "sha256"),
            (&blake3, "remote-hash", "remote-hash", "sha256"),
            (&mute, "read-back", "nothing", "nothing"),
            (&hasher, "read-back", "nothing", "nothing"),
            (&told, "read-back", "nothing", "nothing"),
            (&here, "local", "local", "local"),
        ] {
            assert_eq!(way(Verify::Auto, features), auto, "{features:?}");
            assert_eq!(way(Verify::RemoteHash, features), remote_hash, "{features:?}");
            assert_eq!(way(Verify::Fingerprint, features), fingerprint, "{features:?}");
            assert_eq!(way(Verify::None, features), "nothing", "{features:?}");
            let read = if features.local.is_some() { "local" } else { "read-back" };
            assert_eq!(way(Verify::ReadBack, features), read, "{features:?}");
        }
    }
}
