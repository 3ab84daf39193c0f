//! What rclone answers, and what it logs.

use lastcopy_sync_mirror::wire::{Entry, said};
use serde_json::Value;

/// The bytes of an answer to a question for a list, or of a line of the log.
pub fn rclone(bytes: &[u8]) {
    let answer = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let described = answer["list"].as_array().map_or(0, Vec::len);
    for hash in ["blake3", "md5"] {
        let Some(entries) = Entry::list(&answer, hash) else { continue };
        assert_eq!(entries.len(), described, "something is left out");
        for (entry, value) in entries.iter().zip(answer["list"].as_array().into_iter().flatten()) {
            assert_eq!((value["Path"].as_str(), value["Name"].as_str()), (Some(&*entry.path), Some(&*entry.name)));
            assert_eq!(value["Size"].as_u64().filter(|size| *size <= i64::MAX as u64).unwrap_or(u64::MAX), entry.size);
        }
    }
    if let Ok(line) = std::str::from_utf8(bytes) {
        let told = said(line.to_owned());
        assert!(told.len() <= line.len() + 2, "{told:?} is more than what was said");
    }
}
