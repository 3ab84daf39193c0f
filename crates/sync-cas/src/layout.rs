//! Where things lie in a `cas` destination. All names are relative to its root.

use lastcopy_fs::{ContentHash, Id128, RelPath};
use serde::{Deserialize, Serialize};

/// The marker object at the root: which repository this is.
pub(crate) const MARKER: &str = ".lastcopy-destination.json";
/// Version of the layout.
pub(crate) const FORMAT: u32 = 1;
/// The name of this kind in the marker.
pub(crate) const KIND: &str = "cas";

pub(crate) const OBJECTS: &str = "objects";
pub(crate) const INCOMING: &str = "incoming";
pub(crate) const DAMAGED: &str = "damaged";
pub(crate) const VOLUMES: &str = "volumes";
pub(crate) const SEGMENTS: &str = "segments";
pub(crate) const HEAD: &str = "head.json";

/// What the marker object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub(crate) format: u32,
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) created: String,
}

/// The directory of an object: the first byte of its digest.
pub(crate) fn fan(hash: ContentHash) -> String {
    format!("{OBJECTS}/{:02x}", hash.0[0])
}

/// The file name of a segment: its number, padded so that names sort as numbers do.
pub(crate) fn segment_name(sequence: i64) -> String {
    format!("{sequence:08}.jsonl.zst")
}

/// The number of a segment by its file name, if it is the one that this number has.
pub(crate) fn segment_number(name: &str) -> Option<i64> {
    let number = name.split('.').next()?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// The directory of one epoch's pushes of a volume.
pub(crate) fn place(volume: Id128, epoch: Id128) -> String {
    format!("{VOLUMES}/{volume}/{epoch}")
}

/// A path of the layout. None of them comes from outside.
pub(crate) fn path(text: &str) -> std::io::Result<RelPath> {
    RelPath::new(text).map_err(std::io::Error::other)
}
