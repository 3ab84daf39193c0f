//! By what a destination is known: its marker, and the object that says whose a part of a mirror is.

use crate::arena::{context, directory};
use lastcopy_sync::{Destination, Probe};
use lastcopy_sync_cas::Cas;
use lastcopy_sync_mirror::wire::{Marker, Owner};
use serde_json::Value;

/// The bytes of `.lastcopy-destination.json`, and of `owner.json`.
pub fn identity(bytes: &[u8]) {
    let temp = directory();
    std::fs::write(temp.path().join(".lastcopy-destination.json"), bytes).expect("a new file");
    let probed = context().runtime.block_on(Cas::local(temp.path()).probe()).expect("a directory that can be read");
    let written = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    match probed {
        Probe::Found(found) => {
            assert_eq!((written["format"].as_u64(), written["kind"].as_str()), (Some(1), Some("cas")));
            assert_eq!(written["id"].as_str(), Some(found.as_str()));
        }
        Probe::CannotTell(why) => crate::assert_harmless(&why),
        other => unreachable!("a marker was taken for {other:?}"),
    }
    match Marker::parse(bytes) {
        Ok(marker) => {
            let text = serde_json::to_vec(&marker).expect("what was read can be written");
            assert_eq!(Marker::parse(&text), Ok(marker));
        }
        Err(why) => crate::assert_harmless(&why),
    }
    if let Some(owner) = Owner::parse(bytes) {
        let text = serde_json::to_vec(&owner).expect("what was read can be written");
        assert_eq!(Owner::parse(&text), Some(owner));
    }
}
