//! What a destination may be told to release, and that evidence of it goes first.

use crate::support::{Node, Push, rel, requiring};
use lastcopy_fs::hash_bytes;
use lastcopy_store::{DestinationRecord, FileStatus, Leaving, Location, Outcome, Recovered, Retained, Timestamp, Volume};
use std::collections::BTreeMap;

/// By the word that a content is, whether it must stay.
fn counts(node: &Node, destination: &DestinationRecord) -> BTreeMap<&'static str, bool> {
    retained(node, destination).into_iter().map(|(word, retained)| (word, retained.counts)).collect()
}

fn retained(node: &Node, destination: &DestinationRecord) -> BTreeMap<&'static str, Retained> {
    let mut all = BTreeMap::new();
    let words = crate::support::WORDS;
    let each = &mut |retained: Retained| {
        let word = words.into_iter().find(|word| hash_bytes(word.as_bytes()) == retained.content).unwrap();
        all.insert(word, retained);
        Ok(())
    };
    node.store.retained_at(destination.id, each).unwrap();
    all
}

/// Offloads a file, as far as the index is concerned.
fn offload(node: &Node, volume: &Volume, path: &str, destination: &DestinationRecord) {
    let run = node.store.begin_offload(volume).unwrap();
    let file = node.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
    let leaving = [Leaving { file: file.id, device: 1, inode: 1 }];
    let decide = |_: &_, _: &_| Some("[]".into());
    let intent = run.quarantine(&leaving, &[destination.id], &decide).unwrap()[0].unwrap();
    assert_eq!(run.begin_deletion(&[intent], &[destination.id], &decide).unwrap(), [true]);
    run.offloaded(&[intent]).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
}

/// The copy of an offloaded file is the last one: it is told when nobody looked at it for too long, or nobody asks any more where it lies.
#[test]
fn what_holds_an_offloaded_file_must_be_looked_at() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    let volume = node.under_policy("photos", &requiring(&[&vault]));
    offload(&node, &volume, "a", &vault);
    let stale = |asked: &[_], before| node.store.stale_offloaded(volume.id(), asked, before).unwrap();
    let (before, after) = (Timestamp(0), Timestamp(node.store.now().0 + 1));
    assert_eq!((stale(&[vault.id], before), stale(&[vault.id], after), stale(&[], before)), (0, 1, 1));
}

/// Only what a person replaced, and lastcopy never deleted, may go: a file that was offloaded, and whose path got another file since, has its last
/// copy there.
#[test]
fn only_what_a_person_replaced_may_go() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("replaced", "one"), ("offloaded", "two"), ("missing", "three"), ("twice", "four"), ("again", "four")]);
    node.push(&volume, &vault);
    let volume = node.under_policy("photos", &requiring(&[&vault]));
    offload(&node, &volume, "offloaded", &vault);
    node.index_gone(&volume, "missing");
    node.index(&volume, &[("replaced", "five"), ("offloaded", "seven"), ("twice", "five")]);
    node.push(&volume, &vault);
    let expected = [("one", false), ("two", true), ("three", true), ("four", true), ("five", true), ("seven", true)];
    assert_eq!(counts(&node, &vault), BTreeMap::from(expected));
    let all = retained(&node, &vault);
    let paths = |word: &str| all[word].files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
    assert_eq!((paths("four"), paths("three")), (vec![rel("again")], vec![rel("missing")]));
    assert!(paths("two").is_empty(), "no file has it any more, and it counts all the same");
}

/// Of what was recovered from a destination, nobody knows what was deleted because of it.
#[test]
fn what_was_recovered_stays() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let run = node.store.begin_restore(Some(&volume)).unwrap();
    let content = hash_bytes(b"one");
    let status = FileStatus::Offloaded;
    let said = [Recovered { path: rel("a"), content, mtime_ns: 0, mode: 0o644, status, yields: false, index_first: false }];
    run.recovering(None, |recording| recording.say(&said).map(drop)).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    node.change_evidence(&vault, |run| {
        let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
        run.record_stored(&probed, &[(content, Location::default())])
    });
    node.index(&volume, &[("a", "two")]);
    assert_eq!(counts(&node, &vault), BTreeMap::from([("one", true)]));
}

/// What a path held before is known, and stays, however the path stands; and what stands is the last word, with its times and permissions too:
/// a secret that was closed to others since came back open.
#[test]
fn what_a_path_held_before_is_known_beside_what_it_holds() {
    let node = Node::new();
    let volume = node.volume("photos");
    let say = |text: &str, mode, status| {
        let run = node.store.begin_restore(Some(&volume)).unwrap();
        let content = hash_bytes(text.as_bytes());
        let said = [Recovered { path: rel("a"), content, mtime_ns: 0, mode, status, yields: false, index_first: false }];
        run.recovering(None, |recording| recording.say(&said).map(drop)).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
    };
    say("two", 0o644, FileStatus::Offloaded);
    let history = || {
        let rows = node.store.file_history(volume.id(), &rel("a")).unwrap();
        rows.into_iter().map(|row| (row.content, row.seen.mode, row.status)).collect::<Vec<_>>()
    };
    let (one, two) = (hash_bytes(b"one"), hash_bytes(b"two"));
    for _ in 0..2 {
        say("one", 0o644, FileStatus::Superseded);
        assert_eq!(history(), [(two, 0o644, FileStatus::Offloaded), (one, 0o644, FileStatus::Superseded)]);
    }
    say("two", 0o600, FileStatus::Offloaded);
    assert_eq!(history()[0], (two, 0o600, FileStatus::Offloaded));
    assert_eq!(node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap().seen.mode, 0o600);
}

/// An index that was put back from a backup takes for replaced by a person what was offloaded since then. Nobody knows: it stays.
#[test]
fn what_an_earlier_life_saw_stays() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("b", "three")]);
    node.push(&volume, &vault);
    let before = node.store.epoch().unwrap();
    std::fs::remove_file(node.path("state/index.db.newest-run")).unwrap();
    let node = Node { store: node.again().0, ..node };
    assert_ne!(node.store.epoch().unwrap(), before);
    let volume = node.store.open_volume("photos", &node.path("photos"), None).unwrap();
    node.index(&volume, &[("a", "two"), ("b", "three")]);
    node.push(&volume, &vault);
    assert_eq!(counts(&node, &vault), BTreeMap::from([("one", true), ("two", true), ("three", true)]));
    // What this life saw itself, it knows.
    node.index(&volume, &[("a", "four"), ("b", "three")]);
    assert_eq!(counts(&node, &vault), BTreeMap::from([("one", true), ("two", false), ("three", true)]));
}

/// Bytes decayed, and the file's permissions were changed before anybody noticed: an index run takes that for an edit, and the good bytes at
/// the destinations for replaced. What kept its size and its time may not have been meant.
#[test]
fn what_decayed_bytes_replaced_stays() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("b", "four")]);
    node.push(&volume, &vault);
    node.index(&volume, &[("a", "two"), ("b", "three")]);
    node.push(&volume, &vault);
    let expected = [("one", true), ("two", true), ("three", true), ("four", false)];
    assert_eq!(counts(&node, &vault), BTreeMap::from(expected));
}

/// A file that would not hold still is known by its last content only, which nobody replaced: that stays, and comes back.
#[test]
fn the_last_known_content_of_a_path_stays() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("b", "three")]);
    node.index(&volume, &[("a", "two"), ("b", "three")]);
    node.push(&volume, &vault);
    let file = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
    let run = node.store.begin_index(&volume).unwrap();
    run.unstable(&[file.id]).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    assert_eq!(counts(&node, &vault), BTreeMap::from([("two", true), ("three", true)]));
    let missing = [lastcopy_store::FileStatus::Missing];
    assert_eq!(node.store.select_files(volume.id(), &[rel("")], &missing).unwrap(), [file.id]);
    assert_eq!(node.store.last_known_at(volume.id(), &rel("a")).unwrap().unwrap().id, file.id);
    // An older word of somewhere else is none on it: it would be the path's content, and what was seen there last a replaced version.
    for (yields, index_first) in [(true, false), (false, true)] {
        let run = node.store.begin_restore(Some(&volume)).unwrap();
        let (content, status) = (hash_bytes(b"older"), FileStatus::Offloaded);
        let said = [Recovered { path: rel("a"), content, mtime_ns: 0, mode: 0o644, status, yields, index_first }];
        run.recovering(None, |recording| recording.say(&said).map(drop)).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        assert_eq!(node.store.last_known_at(volume.id(), &rel("a")).unwrap().unwrap().id, file.id);
        assert_eq!(node.store.select_files(volume.id(), &[rel("")], &missing).unwrap(), [file.id]);
        assert_eq!(counts(&node, &vault), BTreeMap::from([("two", true), ("three", true)]));
    }
    // Once it holds still, the old content is a replaced version.
    node.index(&volume, &[("a", "four"), ("b", "three")]);
    assert_eq!(counts(&node, &vault), BTreeMap::from([("two", false), ("three", true)]));
    assert_eq!(node.store.select_files(volume.id(), &[rel("")], &missing).unwrap(), []);
}

/// Once its evidence is taken back, a content is sent again where a file has it, and nobody is alarmed.
#[test]
fn what_is_released_is_believed_no_more() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("b", "three")]);
    node.push(&volume, &vault);
    node.index(&volume, &[("a", "two")]);
    node.push(&volume, &vault);
    let released = [(node.content("one"), Location::default())];
    node.change_evidence(&vault, |run| {
        let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
        run.release(&probed, &released)
    });
    assert!(node.store.alarms(true).unwrap().is_empty());
    assert!(node.store.lost_at(vault.id).unwrap().is_empty(), "there is nothing to repair");
    assert_eq!(counts(&node, &vault), BTreeMap::from([("two", true), ("three", true)]));
    node.index(&volume, &[("a", "one")]);
    let push = Push::begin(&node.store, &volume, &vault);
    let lacking = push.snapshot.lacking(&push.probed, &lastcopy_store::Layout::ByContent, None, usize::MAX).unwrap();
    assert_eq!(lacking.iter().map(|lacking| lacking.content_id).collect::<Vec<_>>(), [node.content("one")]);
    push.prove(|_| true);
    push.finish();
    assert!(counts(&node, &vault)["one"]);
}

/// Who has nothing to say of how a path stands had a content there all the same: it can be asked for. Of a path that nobody knows, its word is
/// the only one.
#[test]
fn a_word_that_yields_is_not_forgotten() {
    let node = Node::new();
    let volume = node.volume("photos");
    let say = |path: &str, text: &str, yields| {
        let run = node.store.begin_restore(Some(&volume)).unwrap();
        let (content, status) = (hash_bytes(text.as_bytes()), FileStatus::Offloaded);
        let said = [Recovered { path: rel(path), content, mtime_ns: 0, mode: 0o644, status, yields, index_first: false }];
        run.recovering(None, |recording| recording.say(&said).map(drop)).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
    };
    say("known", "two", false);
    let (one, two) = (hash_bytes(b"one"), hash_bytes(b"two"));
    for _ in 0..2 {
        say("known", "one", true);
        say("unknown", "one", true);
        let history = node.store.file_history(volume.id(), &rel("known")).unwrap();
        let told: Vec<_> = history.into_iter().map(|row| (row.content, row.status)).collect();
        assert_eq!(told, [(two, FileStatus::Offloaded), (one, FileStatus::Superseded)]);
        let unknown = node.store.file_at(volume.id(), &rel("unknown")).unwrap().unwrap();
        assert_eq!((unknown.content, unknown.status), (one, FileStatus::Offloaded));
    }
}
