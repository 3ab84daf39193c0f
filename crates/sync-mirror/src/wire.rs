//! What lies in a mirror beside files, and what rclone answers, as far as it is read here.
//!
//! All of it may come from a place that somebody else wrote to: nothing is believed of its shape.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the marker object says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Version of the layout.
    pub format: u32,
    /// Which repository this is.
    pub id: String,
    /// Of which kind.
    pub kind: String,
    /// When it was made, for people.
    pub created: String,
    /// If heads and segments are encrypted: this id, encrypted as a name with the same password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
}

/// Whose part of a mirror this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Version of the layout.
    pub format: u32,
    /// The volume's id.
    pub volume: String,
}

impl Marker {
    /// Reads the marker object; in words, what it is not.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }
}

impl Owner {
    /// Reads the owner object. Nothing, if it is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From the remote's root.
    pub path: String,
    /// Its last part.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// In hex, by what was asked for; empty where nothing was, or nothing was served.
    pub hash: String,
}

impl Entry {
    /// As rclone describes it, with the hash of this name. Nothing, if it does so in other words.
    pub fn read(value: &Value, hash: &str) -> Option<Self> {
        Some(Self {
            path: value["Path"].as_str()?.to_owned(),
            name: value["Name"].as_str()?.to_owned(),
            // Where a size is unknown, it is negative: no file has that many bytes.
            size: value["Size"].as_i64().and_then(|size| size.try_into().ok()).unwrap_or(u64::MAX),
            is_dir: value["IsDir"].as_bool()?,
            hash: value["Hashes"][hash].as_str().unwrap_or_default().to_owned(),
        })
    }

    /// Each in rclone's answer to a question for a list. Nothing, if one of them is described in other words.
    pub fn list(answer: &Value, hash: &str) -> Option<Vec<Self>> {
        answer["list"].as_array()?.iter().map(|entry| Self::read(entry, hash)).collect()
    }
}

/// A line of rclone's log, for people.
pub fn said(line: String) -> String {
    let entry: Option<Value> = serde_json::from_str(&line).ok();
    let said = entry.and_then(|entry| {
        let about = entry["object"].as_str().map(|object| format!("{object}: ")).unwrap_or_default();
        Some(format!("{about}{}", entry["msg"].as_str()?.trim()))
    });
    said.unwrap_or(line)
}
