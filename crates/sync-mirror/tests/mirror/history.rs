//! What is replaced, offloaded or deleted here stays there, and receipts follow it.

use crate::context;
use crate::servers::Place;
use crate::skip::no_rclone;
use crate::subject::{MadeMirror, files};
use lastcopy_fs::{Cancel, Progress, hash_bytes};
use lastcopy_store::{Location, ReceiptLevel, RunStatus, VerifyOrder};
use lastcopy_sync::conformance::{Made, Pushing, Rig, Site, Tamper, gate_is_open, holds};
use lastcopy_sync::{Context, Destination, Extent, PushReport, SyncError, Verification};
use lastcopy_sync_mirror::{Mirror, Options};
use std::fs;
use std::sync::Arc;

/// A node that pushed to a mirror.
struct Node {
    rig: Rig,
    site: Site,
    made: Arc<MadeMirror>,
    runtime: tokio::runtime::Runtime,
}

impl Node {
    fn new(place: Place) -> Self {
        Self::of(MadeMirror::at(place))
    }

    fn of(made: MadeMirror) -> Self {
        let (runtime, context) = context();
        let rig = Rig::new(&context).unwrap();
        let made = Arc::new(made);
        let site = rig.site_of(made.clone(), "there").unwrap();
        Self { rig, site, made, runtime }
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        self.rig.write(path.as_bytes(), bytes).unwrap();
    }

    #[track_caller]
    fn push(&self) -> PushReport {
        self.rig.index().unwrap();
        let Pushing { outcome, status } = self.rig.push(&self.site).unwrap();
        assert_eq!(status, RunStatus::Success, "{outcome:?}");
        outcome.unwrap()
    }

    /// Everything that lies there, by its path in the volume's part; the name of a push in the history is left out.
    fn lies(&self) -> Vec<(String, Vec<u8>)> {
        let part = self.made.root().join("things");
        let mut lies: Vec<_> = files(&part)
            .into_iter()
            .filter(|path| !path.ends_with(".lastcopy/owner.json"))
            .map(|path| {
                let name = path.strip_prefix(&part).unwrap().to_str().unwrap();
                let name = match name.strip_prefix(".lastcopy/history/") {
                    Some(rest) => format!("old {}", rest.split_once('/').unwrap().1),
                    None => name.to_owned(),
                };
                (name, fs::read(&path).unwrap())
            })
            .collect();
        lies.sort();
        lies
    }

    /// The places of the live proven receipts for some bytes.
    fn proven(&self, bytes: &[u8]) -> Vec<Location> {
        let content = hash_bytes(bytes);
        let mut rows = Vec::new();
        let mut each = |row, _| {
            rows.push(row);
            Ok(())
        };
        self.rig.store.to_verify(self.site.id, None, VerifyOrder::Content, &mut each).unwrap();
        rows.dedup();
        let receipts = self.rig.store.receipts_at(self.site.id, &rows).unwrap().into_iter();
        receipts
            .filter(|receipt| receipt.content == content && receipt.level == ReceiptLevel::Verified && receipt.lost_at.is_none())
            .map(|receipt| receipt.location)
            .collect()
    }
}

fn lies(all: &[(&str, &[u8])]) -> Vec<(String, Vec<u8>)> {
    all.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect()
}

#[test]
fn a_replaced_version_moves_to_the_history_with_its_receipt() {
    if no_rclone("history::a_replaced_version_moves_to_the_history_with_its_receipt") {
        return;
    }
    for place in [Place::Local, Place::SftpWithBlake3] {
        let node = Node::new(place);
        node.write("a/b", b"one");
        node.push();
        node.write("a/b", b"another");
        assert_eq!(node.push().verified, 1);
        assert_eq!(node.lies(), lies(&[("a/b", b"another"), ("old a/b", b"one")]), "{place:?}");
        let old = node.proven(b"one");
        assert!(old.len() == 1 && old[0].0.starts_with(b"things/.lastcopy/history/"), "{old:?}");
        assert_eq!(node.proven(b"another"), [Location(b"things/a/b".to_vec())]);
        let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
        assert_eq!((verified.verified, verified.lost), (2, 0));
        assert!(node.rig.alarms().unwrap().is_empty());
    }
}

/// Whoever stops a verify as soon as it reads.
struct Impatient(Cancel);

impl Progress for Impatient {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}
    fn advance(&self, _files: u64, bytes: u64) {
        if bytes > 0 {
            self.0.cancel();
        }
    }
    fn note(&self, _line: &str) {}
}

/// A loss waits for the other places that may hold the content. A verify that is stopped before it came to them records it all the same.
#[test]
fn a_loss_that_was_seen_is_recorded_when_a_verify_is_stopped() {
    if no_rclone("history::a_loss_that_was_seen_is_recorded_when_a_verify_is_stopped") {
        return;
    }
    let node = Node::of(MadeMirror::with(Place::Local, |options| options.transfers = 1));
    let bytes = vec![7; 16 << 20];
    node.write("a", &bytes);
    node.write("b", &bytes);
    node.push();
    assert_eq!(node.proven(&bytes).len(), 2);
    fs::remove_file(node.made.root().join("things/a")).unwrap();
    let cancel = Cancel::new();
    let verification = Verification {
        store: node.rig.store.clone(),
        volume: None,
        record: node.rig.record(&node.site).unwrap(),
        destination: node.site.liar.clone(),
        extent: Extent::All,
        context: Context::new(node.runtime.handle().clone(), cancel.clone(), Arc::new(Impatient(cancel))),
    };
    let stopped = verification.run(|_| String::new());
    assert!(stopped.as_ref().is_err_and(SyncError::is_cancelled), "{stopped:?}");
    assert_eq!(node.proven(&bytes), [Location(b"things/b".to_vec())]);
}

/// A volume that lies in the mirror would be offloaded on its own word.
#[test]
fn a_volume_within_it_is_refused() {
    let (_runtime, context) = context();
    let rig = Rig::new(&context).unwrap();
    let at = |path: &std::path::Path| Mirror::new(Options::at(path.display().to_string()));
    let around = at(rig.tree().parent().unwrap()).accept_volume(&rig.volume);
    assert!(around.unwrap_err().to_string().contains("on their own word"));
    at(&rig.tree().join("beside")).accept_volume(&rig.volume).unwrap();
}

/// Where a move is a copy and a removal, the original was removed only when the copy was proven to be what a receipt said. What is damaged
/// never is: it stayed in the way, and no push ever repaired it.
#[test]
fn what_is_damaged_in_a_bucket_makes_way() {
    if no_rclone("history::what_is_damaged_in_a_bucket_makes_way") {
        return;
    }
    let node = Node::new(Place::S3);
    node.write("a", b"right");
    node.push();
    fs::write(node.made.root().join("things/a"), b"wrong").unwrap();
    let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.verified, verified.lost), (0, 1));
    assert_eq!(node.push().verified, 1);
    assert_eq!(node.lies(), lies(&[("a", b"right"), ("old a", b"wrong")]));
    assert_eq!(node.proven(b"right"), [Location(b"things/a".to_vec())]);
    assert!(node.rig.alarms().unwrap().is_empty());
}

#[test]
fn a_file_and_a_directory_take_each_others_place() {
    if no_rclone("history::a_file_and_a_directory_take_each_others_place") {
        return;
    }
    let node = Node::new(Place::Local);
    node.write("a", b"file");
    node.write("b/c", b"below");
    node.push();
    fs::remove_file(node.rig.tree().join("a")).unwrap();
    fs::remove_dir_all(node.rig.tree().join("b")).unwrap();
    node.write("a/c", b"in a");
    node.write("b", b"now a file");
    assert_eq!(node.push().verified, 2);
    let expected: [(&str, &[u8]); 4] = [("a/c", b"in a"), ("b", b"now a file"), ("old a", b"file"), ("old b/c", b"below")];
    assert_eq!(node.lies(), lies(&expected));
    for bytes in [&b"file"[..], b"below"] {
        assert_eq!(node.proven(bytes).len(), 1);
    }
}

#[test]
fn what_is_deleted_here_stays_there() {
    if no_rclone("history::what_is_deleted_here_stays_there") {
        return;
    }
    let node = Node::new(Place::Local);
    node.write("keep", b"1");
    node.write("gone", b"2");
    node.push();
    node.rig.remove(b"gone").unwrap();
    node.push();
    assert_eq!(node.lies(), lies(&[("gone", b"2"), ("keep", b"1")]));
}

#[test]
fn each_path_has_its_own_copy_of_one_content() {
    if no_rclone("history::each_path_has_its_own_copy_of_one_content") {
        return;
    }
    let node = Node::new(Place::Local);
    node.write("one", b"same");
    node.write("two", b"same");
    assert_eq!(node.push().verified, 2);
    assert_eq!(node.proven(b"same").len(), 2);
    // One of them goes: the content is held, nothing is lost, and the next push mends the tree.
    fs::remove_file(node.made.root().join("things/two")).unwrap();
    let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.verified, verified.lost), (1, 0));
    assert!(node.rig.alarms().unwrap().is_empty(), "nothing is lost while another place holds it");
    assert_eq!(node.rig.store.count_receipts(node.site.id).unwrap(), (0, 1, 0));
    for (facts, evidence) in node.rig.evidence(&node.site).unwrap() {
        assert!(gate_is_open(&facts, &evidence));
    }
    assert_eq!(node.push().verified, 1);
    assert_eq!(node.lies(), lies(&[("one", b"same"), ("two", b"same")]));
    // Both go: now it is.
    for name in ["one", "two"] {
        fs::remove_file(node.made.root().join("things").join(name)).unwrap();
    }
    node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!(node.rig.alarms().unwrap().len(), 1);
    for (facts, evidence) in node.rig.evidence(&node.site).unwrap() {
        assert!(!gate_is_open(&facts, &evidence));
    }
}

/// A file that somebody else put where one of ours goes is moved, not overwritten.
#[test]
fn what_somebody_else_put_there_is_kept() {
    if no_rclone("history::what_somebody_else_put_there_is_kept") {
        return;
    }
    let node = Node::new(Place::Local);
    fs::create_dir_all(node.made.root().join("things")).unwrap();
    fs::write(node.made.root().join("things/mine"), b"not yours").unwrap();
    node.write("mine", b"yours");
    node.push();
    assert_eq!(node.lies(), lies(&[("mine", b"yours"), ("old mine", b"not yours")]));
}

/// What an interrupted push left whole is proven where it is, and not sent again.
#[test]
fn what_is_there_already_is_not_sent_again() {
    if no_rclone("history::what_is_there_already_is_not_sent_again") {
        return;
    }
    let node = Node::new(Place::Local);
    fs::create_dir_all(node.made.root().join("things")).unwrap();
    fs::write(node.made.root().join("things/same"), b"bytes").unwrap();
    node.write("same", b"bytes");
    let report = node.push();
    assert_eq!((report.verified, report.stored), (1, 0));
    assert!(holds(&node.site, hash_bytes(b"bytes")).unwrap());
}

/// The part of another volume that has the same name is never touched.
#[test]
fn the_part_of_another_volume_is_refused() {
    if no_rclone("history::the_part_of_another_volume_is_refused") {
        return;
    }
    let node = Node::new(Place::Local);
    let part = node.made.root().join("things/.lastcopy");
    fs::create_dir_all(&part).unwrap();
    fs::write(part.join("owner.json"), br#"{"format":1,"volume":"0123456789abcdef0123456789abcdef"}"#).unwrap();
    node.write("file", b"bytes");
    node.rig.index().unwrap();
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Failed);
    assert!(outcome.unwrap_err().to_string().contains("belongs to another volume"));
    assert_eq!(files(&node.made.root().join("things")), [part.join("owner.json")]);
}

/// Whoever answered first is the one that every later operation is with.
#[test]
fn another_repository_in_its_place_is_not_used() {
    if no_rclone("history::another_repository_in_its_place_is_not_used") {
        return;
    }
    let node = Node::new(Place::Local);
    node.write("file", b"bytes");
    node.push();
    node.made.tamper(Tamper::Replace).unwrap();
    let asked = node.rig.context.runtime.block_on(node.made.destination().heads(node.rig.volume.uuid()));
    assert!(asked.unwrap_err().to_string().contains("is there now"));
}

/// rclone follows links. What lies behind one in a mirror is not the mirror's: it was moved to the history.
#[test]
fn nothing_behind_a_link_is_moved() {
    if no_rclone("history::nothing_behind_a_link_is_moved") {
        return;
    }
    let node = Node::new(Place::Local);
    node.write("dir/a", b"the first version");
    node.push();
    let (dir, elsewhere) = (node.made.root().join("things/dir"), node.made.root().parent().unwrap().join("elsewhere"));
    fs::rename(&dir, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &dir).unwrap();
    node.write("dir/a", b"another one");
    node.rig.index().unwrap();
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Partial, "{outcome:?}");
    assert_eq!(fs::read(elsewhere.join("a")).unwrap(), b"the first version");
}

/// Nor is anything moved behind one: a history on another disk would be copied there and removed here, before anybody made the copy durable.
#[test]
fn nothing_is_moved_behind_a_link() {
    if no_rclone("history::nothing_is_moved_behind_a_link") {
        return;
    }
    let node = Node::new(Place::Local);
    node.write("a", b"the first version");
    node.push();
    let (own, elsewhere) = (node.made.root().join("things/.lastcopy"), node.made.root().parent().unwrap().join("elsewhere"));
    fs::create_dir_all(&own).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, own.join("history")).unwrap();
    node.write("a", b"another one");
    node.rig.index().unwrap();
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Partial, "{outcome:?}");
    assert_eq!(fs::read(node.made.root().join("things/a")).unwrap(), b"the first version");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}
