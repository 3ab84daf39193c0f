//! What kopia wrote and what it answers, as far as it is read here.
//!
//! All of it may come from a repository that somebody else made, or spoiled: nothing is believed of its shape, and no id that it names leads
//! anywhere but to an object, or is anything but an id on a command line.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::Value;

/// The object by which kopia knows a repository, as it lies in a directory.
pub const FORMAT_BLOB: &str = "kopia.repository.f";

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// Its name: one part of a path, as kopia writes it.
    pub name: String,
    /// `f`, `d` or `s`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// In bytes.
    #[serde(default)]
    pub size: u64,
    /// Where its bytes, or its entries, are.
    #[serde(rename = "obj")]
    pub object: String,
}

impl Entry {
    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == "f"
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind == "d"
    }
}

/// The entries of a directory, from its object.
pub fn directory(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    #[derive(Deserialize)]
    struct Directory {
        #[serde(default)]
        entries: Option<Vec<Entry>>,
    }
    let directory: Directory = serde_json::from_slice(bytes).map_err(|error| format!("it is no directory of kopia's: {error}"))?;
    let entries = directory.entries.unwrap_or_default();
    match entries.iter().find(|entry| !is_id(&entry.object)) {
        Some(odd) => Err(format!("it names an object `{}`", odd.object.escape_default())),
        None => Ok(entries),
    }
}

/// The parts of an object that has several, from their list. Nothing, if it is no such list.
pub fn parts(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Parts {
        #[serde(default)]
        entries: Vec<Part>,
    }
    #[derive(Deserialize)]
    struct Part {
        #[serde(rename = "o")]
        object: String,
    }
    let parts: Parts = serde_json::from_slice(bytes).ok()?;
    let parts: Vec<_> = parts.entries.into_iter().map(|part| part.object).collect();
    parts.iter().all(|part| is_id(part)).then_some(parts)
}

/// A snapshot, as far as it concerns us.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Snapshot {
    /// Its manifest.
    pub id: String,
    /// The object of its uppermost directory.
    #[serde(rename = "rootID")]
    pub root: String,
    /// Why it is not whole, if it is not.
    #[serde(default)]
    pub incomplete: String,
    /// What keeps it.
    #[serde(default)]
    pub pins: Option<Vec<String>>,
}

impl Snapshot {
    /// What keeps it.
    pub fn pins(&self) -> &[String] {
        self.pins.as_deref().unwrap_or_default()
    }

    /// Whether all of its source is in it.
    pub fn is_whole(&self) -> bool {
        self.incomplete.is_empty()
    }
}

/// The snapshots in an answer of the server's. Nothing, if it lists them in other words.
pub fn snapshots(answer: &Value) -> Option<Vec<Snapshot>> {
    let list = Vec::<Snapshot>::deserialize(&answer["snapshots"]).ok()?;
    // One that is not whole may have no root.
    let plain = |one: &Snapshot| is_id(&one.id) && (is_id(&one.root) || !one.is_whole());
    list.iter().all(plain).then_some(list)
}

/// The id of a repository in hex, from the object by which kopia knows it.
pub fn repository_id(bytes: &[u8]) -> Option<String> {
    let blob: Value = serde_json::from_slice(bytes).ok()?;
    let id = BASE64.decode(blob["uniqueID"].as_str()?).ok()?;
    (!id.is_empty()).then(|| id.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whether a text is an id of kopia's: of an object, or of a snapshot. It may come from a segment that anybody wrote.
pub fn is_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= MOST && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The longest id that is believed.
const MOST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_lead_nowhere_else() {
        for bad in ["", "../x", "a/b", "a?b", "--all", "ü", &"a".repeat(201)] {
            assert!(!is_id(bad), "{bad}");
            let list = json!({ "entries": [{ "name": "x", "type": "f", "obj": bad, "o": bad }] }).to_string();
            assert!(directory(list.as_bytes()).is_err() && parts(list.as_bytes()).is_none(), "{bad}");
            for (id, root) in [(bad, "k1"), ("1f", bad)] {
                assert_eq!(snapshots(&json!({ "snapshots": [{ "id": id, "rootID": root }] })), None, "{bad}");
            }
        }
        assert!(is_id("Ix365ae6169fd1ce0c86cf2f851d1a1310"));
        let one = json!({ "snapshots": [{ "id": "1f", "rootID": "", "incomplete": "canceled" }] });
        assert_eq!(snapshots(&one).map(|list| list.len()), Some(1));
    }

    #[test]
    fn an_id_is_read_from_the_format_blob() {
        let blob = br#"{"tool":"https://github.com/kopia/kopia","uniqueID":"AQL/"}"#;
        assert_eq!(repository_id(blob), Some("0102ff".into()));
        for other in [&b"{}"[..], b"", b"{\"uniqueID\":\"\"}", b"{\"uniqueID\":\"!\"}", b"\0\0\0"] {
            assert_eq!(repository_id(other), None);
        }
    }
}
