//! Digests and random ids: one spelling each.

use lastcopy_fs::{ContentHash, Id128};

/// A digest of a content, and a random id.
pub fn id(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let digits = |count: usize| text.len() == count && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        assert_eq!(text.parse::<ContentHash>().map(|hash| hash.to_string()).ok(), digits(64).then(|| text.to_owned()));
        assert_eq!(text.parse::<Id128>().map(|id| id.to_string()).ok(), digits(32).then(|| text.to_owned()));
        if let Err(error) = text.parse::<ContentHash>() {
            crate::assert_harmless(&error.to_string());
        }
        if let Err(error) = text.parse::<Id128>() {
            crate::assert_harmless(&error.to_string());
        }
    }
    if let Some(digest) = bytes.first_chunk() {
        let hash = ContentHash(*digest);
        assert_eq!(hash.to_string().parse(), Ok(hash));
    }
    if let Some(number) = bytes.first_chunk() {
        let id = Id128(*number);
        assert_eq!(id.to_string().parse(), Ok(id));
    }
}
