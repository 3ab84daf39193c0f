//! The small files by which volumes are known: the marker, and how far the index had come.

use lastcopy_store::{Marker, Witness};

/// The bytes of `volume.toml`, and of `newest-run.json`.
pub fn marker(bytes: &[u8]) {
    match Marker::parse(bytes) {
        Ok(marker) => {
            assert_eq!(marker.format, 1, "a format that nobody knows was understood");
            let text = marker.text().expect("what was read can be written");
            assert_eq!(Marker::parse(text.as_bytes()), Ok(marker));
        }
        Err(why) => crate::assert_harmless(&why),
    }
    if let Ok(witness) = Witness::parse(bytes) {
        let text = witness.text().expect("what was read can be written");
        assert_eq!(Witness::parse(text.as_bytes()).ok(), Some(witness));
        assert!(text.len() < 4096, "a longer one is not read");
    }
}
