//! The head object of a destination.

use lastcopy_fs::Id128;
use lastcopy_sync::segment::{Place, parse_head};
use serde_json::Value;

/// The bytes of a head object. It is looked for where it says that it belongs, and elsewhere.
pub fn head(bytes: &[u8]) {
    let nowhere = Place { volume: Id128([0; 16]), epoch: Id128([0; 16]) };
    let claimed = claimed(bytes).unwrap_or(nowhere);
    if claimed != nowhere {
        parse_head(nowhere, bytes).expect_err("the head of another place was taken");
    }
    let found = match parse_head(claimed, bytes) {
        Ok(found) => found,
        Err(why) => return crate::assert_harmless(&why),
    };
    let document = &found.document;
    assert_eq!((document.volume.clone(), document.epoch.clone()), (claimed.volume.to_string(), claimed.epoch.to_string()));
    assert!(document.sequence >= 1 && document.segment.sequence >= 1, "{document:?} is before the first push");
    let head = found.head();
    assert_eq!((head.sequence, head.run.get(), head.digest), (document.sequence, document.run, found.digest));
    assert_eq!(lastcopy_sync::segment::hex(&head.segment_digest), document.segment.digest);
    let text = serde_json::to_vec(document).expect("what was read can be written");
    assert_eq!(parse_head(claimed, &text).map(|again| again.document).as_ref(), Ok(document));
}

fn claimed(bytes: &[u8]) -> Option<Place> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let id = |key: &str| document[key].as_str()?.parse().ok();
    Some(Place { volume: id("volume")?, epoch: id("epoch")? })
}
