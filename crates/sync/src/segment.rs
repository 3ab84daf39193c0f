//! Segments and heads: what a destination keeps to rebuild paths, contents and statuses when every index is lost.
//!
//! The formats are described, exactly enough to write another reader, in `docs/formats.md`.

use crate::error::SyncError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lastcopy_fs::{Content, ContentHash, Id128, RelPath, escape};
use lastcopy_store::{
    FileId, FileStatus, Head, HeadId, Layout, Line, Location, Probed, RunId, Snapshot, StoreError, Timestamp, VOLUME_DIR,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

/// Version of both formats.
pub const FORMAT: u32 = 1;

/// A longer line is none of ours: a path is at most 4096 bytes on Linux, six characters of JSON or base64 for each.
const MAX_LINE: u64 = 64 * 1024;

/// Fast, and within a few percent of slower levels on such text.
const COMPRESSION: i32 = 3;

/// Where the segments and the head of one epoch's pushes of a volume lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The volume.
    pub volume: Id128,
    /// The life of the index that pushed it.
    pub epoch: Id128,
}

/// A head as it was found in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundHead {
    /// Where.
    pub place: Place,
    /// What it says.
    pub document: HeadDocument,
    /// BLAKE3 of its bytes.
    pub digest: [u8; 32],
}

/// A head that is there, and cannot be read as one. It says nothing of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedHead {
    /// Where.
    pub place: Place,
    /// What is wrong with it.
    pub reason: String,
}

/// What lies where a head should be.
pub type PlacedHead = Result<FoundHead, DamagedHead>;

/// The head object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadDocument {
    /// Version of this format.
    pub format: u32,
    /// The volume.
    pub volume: String,
    /// The node that pushed.
    pub node: String,
    /// The life of its index.
    pub epoch: String,
    /// The run.
    pub run: i64,
    /// The push's place among those of this epoch and volume that the destination accepted.
    pub sequence: i64,
    /// The last segment.
    pub segment: Link,
    /// Digest of the head before this one, in hex.
    pub previous: Option<String>,
    /// When, RFC 3339.
    pub written: String,
}

impl HeadDocument {
    /// When it was written, by its node's clock, and nothing if it gives no time. To be compared instead of the text: a time ending
    /// in `.12Z` is earlier than one ending in `.123Z`, its text is not.
    pub fn written_at(&self) -> Option<Timestamp> {
        self.written.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_millisecond()))
    }
}

/// A segment, by number and digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its number.
    pub sequence: i64,
    /// BLAKE3 of its bytes as stored, in hex.
    pub digest: String,
}

/// The first line of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of this format.
    pub format: u32,
    /// The volume.
    pub volume: String,
    /// Its name, for people.
    pub volume_name: String,
    /// Where it was, for people and as a proposal to `recover`.
    pub volume_path: String,
    /// The node that pushed.
    pub node: String,
    /// Its name, for people.
    pub node_name: String,
    /// The life of its index.
    pub epoch: String,
    /// The run.
    pub run: i64,
    /// Its number.
    pub sequence: i64,
    /// Whether it lists everything, so that no earlier one is needed.
    pub full: bool,
    /// The segment before this one, unless this one is full.
    pub previous: Option<Link>,
    /// In a full segment: the epoch before.
    pub follows_epoch: Option<String>,
    /// Node name → run: what the push set out to make durable.
    pub horizon: BTreeMap<String, i64>,
    /// When, RFC 3339.
    pub created: String,
}

/// Every other line of a segment: what a path became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path: Option<String>,
    /// Instead of `path`, where that is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    path_base64: Option<String>,
    blake3: String,
    size: u64,
    mtime_ns: i64,
    mode: u32,
    status: String,
    /// Any other line says how the path stands.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    earlier: bool,
    /// Where the content lies, if not at its own address.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    location: Option<String>,
}

/// What a segment says of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The path.
    pub path: RelPath,
    /// What it holds, or held last.
    pub content: Content,
    /// Where the content lies.
    pub location: Location,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
    /// How it stands.
    pub status: FileStatus,
    /// The path held it before it became what another line says. Where this is `present`, it stood so before what is withheld.
    pub earlier: bool,
}

/// A segment that was written to a temporary file, and the head that will name it.
#[derive(Debug)]
pub struct Written {
    /// The compressed segment, at its start.
    pub segment: File,
    /// The head object's bytes.
    pub head_bytes: Vec<u8>,
    /// What the index remembers of the head.
    pub head: Head,
    /// Rows that the segment does not say, because the destination does not hold them.
    pub withheld: Vec<FileId>,
}

/// Who pushes what: the same for all segments of a run.
#[derive(Debug, Clone)]
pub struct Author {
    /// Where the segment goes.
    pub place: Place,
    /// The node.
    pub node: Id128,
    /// Its name.
    pub node_name: String,
    /// The volume's name.
    pub volume_name: String,
    /// The volume's path.
    pub volume_path: String,
    /// The epoch before, if this is a full segment.
    pub follows_epoch: Option<Id128>,
    /// The time.
    pub now: Timestamp,
}

/// Writes the segment of a push to a temporary file, unless it would say nothing.
pub fn write(
    snapshot: &Snapshot,
    probed: &Probed,
    layout: &Layout,
    author: &Author,
    sealed: Option<(HeadId, Head)>,
    sequence: i64,
) -> Result<Option<Written>, SyncError> {
    let header = header(snapshot, author, sealed.map(|(_, head)| head), sequence);
    let file = tempfile::tempfile().map_err(SyncError::Temporary)?;
    let encoder = zstd::Encoder::new(BufWriter::new(file), COMPRESSION).map_err(SyncError::Temporary)?;
    let mut lines = Lines { encoder, error: None };
    lines.put(&header);
    let (mut said, mut withheld) = (0u64, Vec::new());
    snapshot
        .lines(probed, layout, sealed.map(|(id, _)| id), &mut |line| {
            if line.is_held() {
                lines.put(&Entry::of(&line));
                said += 1;
            } else {
                withheld.push(line.row());
            }
            lines.error.as_ref().map_or(Ok(()), |_| Err(StoreError::Refused("writing the segment failed".into())))
        })
        .or_else(|error| if lines.error.is_some() { Ok(()) } else { Err(error) })?;
    let mut segment = lines.finish().map_err(SyncError::Temporary)?;
    // Nothing to say; what is withheld is looked at again from the last sealed head on. The first segment is written even when the
    // volume is empty.
    if said == 0 && sealed.is_some() {
        return Ok(None);
    }
    let segment_digest = digest_of(&mut segment).map_err(SyncError::Temporary)?;
    let head_bytes = head_bytes(snapshot.run(), author, sealed.map(|(_, head)| head), sequence, segment_digest)?;
    let head = Head { sequence, run: snapshot.run(), digest: *blake3::hash(&head_bytes).as_bytes(), segment_digest };
    Ok(Some(Written { segment, head_bytes, head, withheld }))
}

struct Lines {
    encoder: zstd::Encoder<'static, BufWriter<File>>,
    error: Option<io::Error>,
}

impl Lines {
    fn put(&mut self, line: &impl Serialize) {
        if self.error.is_none() {
            let written = serde_json::to_writer(&mut self.encoder, line).map_err(io::Error::from);
            self.error = written.and_then(|()| self.encoder.write_all(b"\n")).err();
        }
    }

    fn finish(self) -> io::Result<File> {
        match self.error {
            Some(error) => Err(error),
            None => self.encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error),
        }
    }
}

fn header(snapshot: &Snapshot, author: &Author, sealed: Option<Head>, sequence: i64) -> Header {
    Header {
        format: FORMAT,
        volume: author.place.volume.to_string(),
        volume_name: author.volume_name.clone(),
        volume_path: author.volume_path.clone(),
        node: author.node.to_string(),
        node_name: author.node_name.clone(),
        epoch: author.place.epoch.to_string(),
        run: snapshot.run().get(),
        sequence,
        full: sealed.is_none(),
        previous: sealed.map(|head| Link { sequence: head.sequence, digest: hex(&head.segment_digest) }),
        follows_epoch: author.follows_epoch.map(|epoch| epoch.to_string()),
        horizon: BTreeMap::from([(author.node_name.clone(), snapshot.horizon().get())]),
        created: rfc3339(author.now),
    }
}

fn head_bytes(
    run: RunId,
    author: &Author,
    sealed: Option<Head>,
    sequence: i64,
    segment_digest: [u8; 32],
) -> Result<Vec<u8>, SyncError> {
    let document = HeadDocument {
        format: FORMAT,
        volume: author.place.volume.to_string(),
        node: author.node.to_string(),
        epoch: author.place.epoch.to_string(),
        run: run.get(),
        sequence,
        segment: Link { sequence, digest: hex(&segment_digest) },
        previous: sealed.map(|head| hex(&head.digest)),
        written: rfc3339(author.now),
    };
    let mut bytes = serde_json::to_vec(&document).map_err(|error| SyncError::Temporary(error.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Reads a head object. Anything that is not one, or that names another place, is an error that says so.
pub fn parse_head(place: Place, bytes: &[u8]) -> Result<FoundHead, String> {
    let document: HeadDocument = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!("has format {}, this lastcopy knows {FORMAT}", document.format));
    }
    if document.volume != place.volume.to_string() || document.epoch != place.epoch.to_string() {
        return Err("is that of another volume or epoch".into());
    }
    if document.sequence < 1 || document.segment.sequence < 1 {
        return Err(format!(
            "has the number {} and names segment {}: the first is 1",
            document.sequence, document.segment.sequence
        ));
    }
    document.node.parse::<Id128>().map_err(|error| error.to_string())?;
    document.segment.digest.parse::<ContentHash>().map_err(|error| error.to_string())?;
    Ok(FoundHead { place, document, digest: *blake3::hash(bytes).as_bytes() })
}

impl FoundHead {
    /// As the index remembers heads.
    pub fn head(&self) -> Head {
        // Both digests were checked when it was parsed.
        let segment_digest = self.document.segment.digest.parse::<ContentHash>().map_or([0; 32], |hash| hash.0);
        Head { sequence: self.document.sequence, run: RunId::from_user(self.document.run), digest: self.digest, segment_digest }
    }
}

/// Reads a segment: its header, then each line to `each`.
pub fn read(segment: impl Read, each: &mut dyn FnMut(Said) -> Result<(), String>) -> Result<Header, String> {
    let decoder = zstd::Decoder::new(segment).map_err(|error| error.to_string())?;
    let mut lines = BufReader::new(decoder);
    let header = first_line(&mut lines)?;
    while let Some(line) = next_line(&mut lines)? {
        let entry: Entry = serde_json::from_slice(&line).map_err(|error| format!("a line: {error}"))?;
        each(entry.said()?)?;
    }
    Ok(header)
}

/// Reads only the header of a segment.
pub fn read_header(segment: impl Read) -> Result<Header, String> {
    let decoder = zstd::Decoder::new(segment).map_err(|error| error.to_string())?;
    first_line(&mut BufReader::new(decoder))
}

fn first_line(lines: &mut impl BufRead) -> Result<Header, String> {
    let first = next_line(lines)?.ok_or("it is empty")?;
    let header: Header = serde_json::from_slice(&first).map_err(|error| format!("header: {error}"))?;
    if header.format == FORMAT { Ok(header) } else { Err(format!("it has format {}, this lastcopy knows {FORMAT}", header.format)) }
}

fn next_line(lines: &mut impl BufRead) -> Result<Option<Vec<u8>>, String> {
    let mut line = Vec::new();
    lines.take(MAX_LINE).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) => Err("a line is cut off, or too long".into()),
    }
}

impl Entry {
    fn of(line: &Line) -> Self {
        let (path, path_base64) = match std::str::from_utf8(line.path.as_bytes()) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(line.path.as_bytes()))),
        };
        Self {
            path,
            path_base64,
            blake3: line.content.hash.to_string(),
            size: line.content.size,
            mtime_ns: line.mtime_ns,
            mode: line.mode,
            status: line.status.name().to_owned(),
            earlier: line.earlier,
            location: String::from_utf8(line.location.0.clone()).ok().filter(|location| !location.is_empty()),
        }
    }

    fn said(self) -> Result<Said, String> {
        let path = match (self.path, self.path_base64) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(coded)) => BASE64.decode(coded).map_err(|error| error.to_string())?,
            _ => return Err("a line has neither or both of `path` and `path_base64`".into()),
        };
        let path = RelPath::new(path).map_err(|error| error.to_string())?;
        if path.is_root() {
            return Err("a line names no file".into());
        }
        // No walk ever saw one: whoever wrote it wants to replace a marker, or to be taken for a file that was set aside.
        if path.components().next() == Some(VOLUME_DIR.as_bytes()) {
            return Err(format!("a line names {path}, where only lastcopy's own files lie"));
        }
        if i64::try_from(self.size).is_err() {
            return Err(format!("a line gives a file {} bytes: there are none so large", self.size));
        }
        let hash = self.blake3.parse().map_err(|error: lastcopy_fs::ParseHashError| error.to_string())?;
        Ok(Said {
            path,
            content: Content { hash, size: self.size },
            location: Location(self.location.unwrap_or_default().into_bytes()),
            mtime_ns: self.mtime_ns,
            mode: self.mode & 0o7777,
            status: FileStatus::from_name(&self.status)
                .ok_or_else(|| format!("unknown status `{}`", escape(self.status.as_bytes())))?,
            earlier: self.earlier,
        })
    }
}

/// BLAKE3 of a file from its start; leaves it there.
pub fn digest_of(file: &mut File) -> io::Result<[u8; 32]> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut *file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(*hasher.finalize().as_bytes())
}

/// Lower-case hex of a digest.
pub fn hex(digest: &[u8; 32]) -> String {
    ContentHash(*digest).to_string()
}

/// A time as RFC 3339, UTC, always with three digits of a second's fraction: so texts sort as the times do.
pub fn rfc3339(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.0).map_or_else(|_| "out of range".into(), |time| format!("{time:.3}"))
}
