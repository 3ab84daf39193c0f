//! Witnesses of how far an index had come: small files beside it and in every volume, and the heads at destinations.
//!
//! An index that is behind one of them is an old or a second copy. It believes in what was lost since, so it begins a new epoch.

use crate::ids::RunId;
use lastcopy_fs::{Dir, Id128, replace_file};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// How far the index of a node had come, as somebody other than the index remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witness {
    /// The node.
    #[serde(with = "hex_id")]
    pub node: Id128,
    /// The life of its index.
    #[serde(with = "hex_id")]
    pub epoch: Id128,
    /// Its newest run.
    pub run: RunId,
    /// Its newest change; 0 where the witness does not know.
    pub seq: i64,
    /// The newest of its runs that began, by its random name; absent where the witness does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<NamedRun>,
}

/// A run that began, told from one with the same id in another life of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedRun {
    /// Its id.
    pub run: RunId,
    /// Its name.
    #[serde(with = "hex_id")]
    pub name: Id128,
}

/// Ids as hex in files.
pub(crate) mod hex_id {
    use lastcopy_fs::Id128;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(id: &Id128, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(id)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Id128, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Witness {
    /// Reads a witness file. A damaged one is an error: it was written whole, so somebody else touched it.
    pub(crate) fn read(dir: &Dir, name: &[u8]) -> io::Result<Option<Self>> {
        if dir.entry(name)?.is_none() {
            return Ok(None);
        }
        let path = lastcopy_fs::RelPath::root().join(name).map_err(io::Error::other)?;
        let file = dir.open_file(&path, lastcopy_fs::Mounts::Stay)?;
        // Whole, then parsed: a parser that reads from a file asks for every byte by itself, and each run reads one in every volume.
        let mut bytes = Vec::new();
        file.take(4096).read_to_end(&mut bytes)?;
        Ok(Some(Self::parse(&bytes)?))
    }

    /// Reads the bytes of a witness file.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The text of a witness file.
    pub fn text(&self) -> io::Result<String> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// Writes a witness file, durably, so that it holds either the old or the new state.
    pub(crate) fn write(&self, dir: &Dir, name: &[u8]) -> io::Result<()> {
        replace_file(dir, name, self.text()?.as_bytes(), 0o600)
    }
}
