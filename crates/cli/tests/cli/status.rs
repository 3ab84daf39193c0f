//! "Am I safe?": what `status` must not call green.

use crate::home::{Home, Setup};
use crate::ran::Json;
use serde_json::Value;
use std::fs;

/// The line of a volume.
#[track_caller]
fn volume<'a>(status: &'a Json, name: &str) -> &'a Value {
    let mut lines = status.of("status").filter(|line| line["destination"].is_null());
    lines.find(|line| line["volume"] == name).unwrap_or_else(|| panic!("no line for {name}: {}", status.ran))
}

/// `volume add` is recorded as an index run, and was taken for one that had looked: with a push of nothing, all was green.
#[test]
fn a_volume_that_was_never_indexed_is_not_green() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["sync"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    let photos = volume(&status, "photos");
    assert_eq!((&photos["level"], &photos["next"]), (&"amber".into(), &"lastcopy index photos".into()));
    assert!(photos["last_index"].is_null());
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert!(volume(&home.json(&["status"]).expect(0), "photos")["last_index"].is_string());
}
