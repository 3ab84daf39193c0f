//! What kopia wrote into a repository, and what its server answers.

use lastcopy_sync_kopia::wire::{directory, parts, repository_id, snapshots};
use serde_json::Value;

/// The bytes of a directory, of a list of parts, of the object that names a repository, or of an answer.
pub fn kopia(bytes: &[u8]) {
    match directory(bytes) {
        Ok(entries) => {
            entries.iter().for_each(|entry| assert_plain(&entry.object));
            assert!(entries.iter().all(|entry| !(entry.is_file() && entry.is_dir())), "an entry is two things");
        }
        Err(why) => crate::assert_harmless(&why),
    }
    parts(bytes).into_iter().flatten().for_each(|part| assert_plain(&part));
    if let Some(id) = repository_id(bytes) {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(id.len() >= 2 && id.len() % 2 == 0 && id.bytes().all(hex), "{id:?} is no id of a repository");
    }
    let answer = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    for snapshot in snapshots(&answer).into_iter().flatten() {
        assert_plain(&snapshot.id);
        assert!(snapshot.pins().len() <= bytes.len(), "pins come from nowhere");
        if snapshot.is_whole() {
            assert_plain(&snapshot.root);
        }
    }
}

/// That an id stays one wherever it is put: in an address, or on a command line.
#[track_caller]
fn assert_plain(id: &str) {
    let plain = id.chars().all(|one| matches!(one, '0'..='9' | 'a'..='z' | 'A'..='Z'));
    assert!(plain && (1..=200).contains(&id.len()), "{id:?} is no id of kopia's");
}
