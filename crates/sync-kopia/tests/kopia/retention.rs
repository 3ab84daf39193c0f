//! kopia's own retention and maintenance, and people who tidy up.

use crate::node::Node;
use crate::skip::no_kopia;
use crate::subject::MadeRepository;
use lastcopy_store::AlarmKind;
use lastcopy_sync::{Answer, Asking, Depth, Destination, Extent, HeadsOf, Repair};
use std::sync::Arc;

/// Files that were offloaded are in no newer snapshot. The strictest retention and a maintenance without its safety take nothing of them.
#[test]
fn neither_retention_nor_maintenance_frees_what_was_offloaded() {
    if no_kopia("retention::neither_retention_nor_maintenance_frees_what_was_offloaded") {
        return;
    }
    let node = Node::new();
    let nothing = ["hourly", "daily", "weekly", "monthly", "annual"].map(|what| format!("--keep-{what}=0"));
    for target in ["--global".to_owned(), node.source()] {
        let mut arguments = vec!["policy", "set", &target, "--keep-latest=1"];
        arguments.extend(nothing.iter().map(String::as_str));
        node.somebody(&arguments);
    }
    let offloaded: Vec<_> = (0..5).map(|number| vec![number; 2000]).collect();
    for (number, bytes) in offloaded.iter().enumerate() {
        node.write(&format!("old/{number}"), bytes);
    }
    node.push();
    for number in 0..offloaded.len() {
        node.rig.remove(format!("old/{number}").as_bytes()).unwrap();
    }
    for push in 0..10 {
        node.write("new", format!("push {push}").as_bytes());
        node.push();
    }
    node.somebody(&["maintenance", "set", "--owner=me"]);
    node.somebody(&["maintenance", "run", "--full", "--safety=none"]);
    let report = node.verify(Extent::All);
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, 15));
    for bytes in &offloaded {
        assert!(node.held(bytes));
    }
}

/// Each push makes a snapshot of everything; one whose every file lies in a newer one, too, is released, and one that holds a single
/// file alone is not.
#[test]
fn a_snapshot_that_holds_nothing_alone_is_released() {
    if no_kopia("retention::a_snapshot_that_holds_nothing_alone_is_released") {
        return;
    }
    let node = Node::new();
    node.write("dir/a", b"one");
    node.push();
    let first = node.snapshots();
    node.write("dir/b", b"two");
    node.push();
    let second = node.snapshots();
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first[0].0, second[0].0);
    node.write("dir/a", b"one, changed");
    node.push();
    assert_eq!(node.snapshots().len(), 2, "the old version lies only in the second");
    node.write("dir/c", b"three");
    node.push();
    let last = node.snapshots();
    assert!(last.len() == 2 && last[0] == second[0], "the third holds nothing that the fourth does not: {last:?}");
    let report = node.verify(Extent::All);
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, 4));
}

/// A snapshot that somebody else's node pinned is not ours to release.
#[test]
fn a_snapshot_of_another_epoch_stays() {
    if no_kopia("retention::a_snapshot_of_another_epoch_stays") {
        return;
    }
    let node = Node::new();
    node.write("a", b"one");
    node.push();
    let (id, pins) = &node.snapshots()[0];
    let theirs = "lastcopy-00000000000000000000000000000001-push-00000000000000000000000000000002";
    node.somebody(&["snapshot", "pin", id, &format!("--remove={}", pins[0]), &format!("--add={theirs}")]);
    node.write("b", b"two");
    node.push();
    assert_eq!(node.snapshots().len(), 2);
    assert_eq!(node.compact().plan().unwrap().snapshots, 0);
}

/// Versions that a person replaced go, what is missing or was offloaded stays, and of many snapshots one is left beside the newest. kopia's
/// maintenance then frees what nothing needs, and only that.
#[test]
fn compacting_gathers_what_counts_and_releases_the_rest() {
    if no_kopia("retention::compacting_gathers_what_counts_and_releases_the_rest") {
        return;
    }
    let node = Node::new();
    let (old, large) = ([b"first".to_vec(), b"second".to_vec()], vec![7; 9 << 20]);
    for (number, gone) in [&b"gone"[..], &large].iter().enumerate() {
        node.write(&format!("gone/in a directory/{number}"), gone);
        node.write("edited", &old[number]);
        node.push();
        node.rig.remove(format!("gone/in a directory/{number}").as_bytes()).unwrap();
    }
    node.write("edited", b"third");
    node.push();
    assert_eq!(node.snapshots().len(), 3);
    let plan = node.compact().plan().unwrap();
    let expected = (2, 2, 4 + large.len() as u64, 2, 11, 0);
    assert_eq!((plan.snapshots, plan.gathered, plan.gathered_bytes, plan.freed, plan.freed_bytes, plan.kept), expected);
    assert_eq!(node.snapshots().len(), 3, "a plan changes nothing");

    let done = node.compact().run(|_| String::new()).unwrap();
    assert_eq!((done.released, done.unproven), (2, 0));
    assert_eq!(node.snapshots().len(), 1);
    // By hand, the files come back under their names.
    let contents = format!("lastcopy@{}:/contents", node.rig.volume.uuid());
    let gathered = node.made.inside.json(&["snapshot", "list", &contents, "--json"]).unwrap();
    let root = gathered[0]["rootEntry"]["obj"].as_str().unwrap();
    let back = tempfile::tempdir().unwrap();
    node.somebody(&["snapshot", "restore", root, back.path().to_str().unwrap()]);
    assert_eq!(std::fs::read(back.path().join("gone/in a directory/0")).unwrap(), b"gone");
    assert_eq!(std::fs::read(back.path().join("gone/in a directory/1")).unwrap(), large);

    node.somebody(&["maintenance", "set", "--owner=me"]);
    for _ in 0..2 {
        node.somebody(&["maintenance", "run", "--full", "--safety=none"]);
    }
    let report = node.verify(Extent::All);
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, 3));
    assert!(node.rig.alarms().unwrap().is_empty() && node.rig.store.lost_at(node.site.id).unwrap().is_empty());
    assert!(node.held(b"gone") && node.held(&large) && node.held(b"third"));
    let again = node.compact().plan().unwrap();
    assert_eq!((again.snapshots, again.gathered), (0, 0));

    // What was released is not believed to be there, should it come again.
    node.write("edited", &old[0]);
    assert_eq!(node.push().planned, 1);
    assert!(node.held(&old[0]) && node.gate("edited"));
}

/// What nothing is known of is nothing that may go: a file that came and went between two index runs is in a snapshot, and in no receipt.
#[test]
fn compacting_leaves_what_it_does_not_know() {
    if no_kopia("retention::compacting_leaves_what_it_does_not_know") {
        return;
    }
    let node = Node::new();
    node.write("known", b"first");
    node.rig.index().unwrap();
    node.write("unknown", b"nobody indexed this");
    node.rig.push(&node.site).unwrap();
    std::fs::remove_file(node.rig.tree().join("unknown")).unwrap();
    node.write("known", b"second");
    node.push();
    let plan = node.compact().plan().unwrap();
    assert_eq!((plan.snapshots, plan.kept, plan.freed), (0, 1, 0));
    assert_eq!(node.compact().run(|_| String::new()).unwrap().released, 0);
    assert!(node.held(b"nobody indexed this") && node.held(b"first"));
}

/// What cannot be read back now is in the snapshot that holds it, and nowhere else: that one stays.
#[test]
fn compacting_releases_nothing_that_it_could_not_prove() {
    if no_kopia("retention::compacting_releases_nothing_that_it_could_not_prove") {
        return;
    }
    let node = Node::new();
    let (gone, version) = (vec![1; 5000], vec![2; 6000]);
    node.write("gone", &gone);
    node.write("edited", &version);
    node.push();
    node.rig.remove(b"gone").unwrap();
    node.write("edited", &[3; 7000]);
    node.push();
    let (pack, _) =
        node.packs().into_iter().find(|(_, held)| held.iter().any(|(held, _)| *held == lastcopy_fs::hash_bytes(&gone))).unwrap();
    let bytes = std::fs::read(&pack).unwrap();
    std::fs::write(&pack, vec![0; bytes.len()]).unwrap();
    let done = node.compact().run(|_| String::new()).unwrap();
    assert_eq!((done.unproven, done.released), (1, 0));
    assert_eq!(node.snapshots().len(), 2);
    // Whoever brings the pack back brings the file back.
    std::fs::write(&pack, bytes).unwrap();
    assert!(node.held(&gone));
}

/// What holds two files in its first snapshot, one of them in the second, too.
fn two_snapshots() -> (Node, Vec<(String, Vec<String>)>) {
    let node = Node::new();
    node.write("goes", b"only in the first snapshot");
    node.write("stays", b"in both");
    node.push();
    node.rig.remove(b"goes").unwrap();
    node.write("comes", b"only in the second snapshot");
    node.push();
    let snapshots = node.snapshots();
    assert_eq!(snapshots.len(), 2);
    assert!(snapshots.iter().all(|(_, pins)| pins.len() == 1));
    (node, snapshots)
}

/// After a person took the first snapshot from us, that file alone is lost, before kopia frees it.
#[track_caller]
fn only_the_first_is_lost(node: &Node) {
    let quick = node.rig.verify_only(&node.site, Extent::Quick).unwrap().unwrap();
    let report = node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((quick.lost, report.lost, report.verified, report.unverifiable), (1, 1, 2, 0));
    let lost = node.rig.store.lost_at(node.site.id).unwrap();
    assert_eq!(lost[0].content, lastcopy_fs::hash_bytes(b"only in the first snapshot"));
    assert_eq!(node.rig.alarms().unwrap()[0].kind, AlarmKind::LostObject);
    assert!(node.gate("stays") && node.gate("comes"));
}

#[test]
fn a_pin_is_taken_away_by_hand() {
    if no_kopia("retention::a_pin_is_taken_away_by_hand") {
        return;
    }
    let (node, snapshots) = two_snapshots();
    let (id, pins) = &snapshots[0];
    node.somebody(&["snapshot", "pin", id, &format!("--remove={}", pins[0])]);
    only_the_first_is_lost(&node);
}

#[test]
fn a_snapshot_is_deleted_by_hand() {
    if no_kopia("retention::a_snapshot_is_deleted_by_hand") {
        return;
    }
    let (node, snapshots) = two_snapshots();
    node.somebody(&["snapshot", "delete", &snapshots[0].0, "--delete"]);
    only_the_first_is_lost(&node);
}

/// Snapshots, pins and policies of others in the same repository stay as they are.
#[test]
fn what_is_others_stays_as_it_is() {
    if no_kopia("retention::what_is_others_stays_as_it_is") {
        return;
    }
    let node = Node::new();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("x"), "somebody's").unwrap();
    let theirs = "me@here:/home/me";
    let directory = dir.path().to_str().unwrap();
    node.somebody(&["snapshot", "create", directory, "--override-source", theirs, "--pin=mine"]);
    node.somebody(&["policy", "set", theirs, "--keep-latest=3"]);
    let look = || {
        let snapshots = node.made.inside.json(&["snapshot", "list", theirs, "--json"]).unwrap();
        let policies = node.made.inside.json(&["policy", "show", theirs, "--json"]).unwrap();
        (snapshots, policies)
    };
    let before = look();
    node.write("a", b"ours");
    node.push();
    node.verify(Extent::All);
    assert_eq!(look(), before);
    let everybodys = node.made.inside.json(&["policy", "list", "--json"]).unwrap();
    let of_others = everybodys.as_array().unwrap().iter().filter(|policy| policy["target"]["userName"] != "lastcopy");
    assert_eq!(of_others.count(), 2, "the global one, and theirs");
}

/// Two nodes with volumes of one name in one repository: each sees its own heads and contents, and disturbs nothing of the other's.
#[test]
fn two_nodes_share_a_repository() {
    if no_kopia("retention::two_nodes_share_a_repository") {
        return;
    }
    let one = Node::new();
    let other = Node::at(&one);
    for (node, bytes) in [(&one, b"one's"), (&other, b"other")] {
        node.write("a", bytes);
        node.write("shared", b"the same for both");
        node.push();
    }
    one.write("b", b"more of one's");
    one.push();
    for (node, count) in [(&one, 3), (&other, 2)] {
        let report = node.verify(Extent::All);
        assert_eq!((report.lost, report.verified), (0, count));
        assert!(node.gate("a") && node.gate("shared"));
    }
    let places = one.rig.context.runtime.block_on(one.site.liar.places()).unwrap();
    assert_eq!(places.iter().flatten().count(), 2);
}

/// kopia stores the same bytes once for both nodes. Once somebody deleted all snapshots of one, its content is still in the other's, and could
/// be read: had that one replaced it, a compaction there would release it as a version that nothing counts on, and kopia's maintenance free
/// it, after this node had offloaded it. Only its own snapshots count, however hard it looks and whoever asks; a push makes a new one.
#[test]
fn a_snapshot_of_another_node_counts_for_nobody_else() {
    if no_kopia("retention::a_snapshot_of_another_node_counts_for_nobody_else") {
        return;
    }
    let (one, bytes) = (Node::new(), b"the same for both");
    let other = Node::at(&one);
    for node in [&one, &other] {
        node.write("shared", bytes);
        node.push();
    }
    one.somebody(&["snapshot", "delete", &one.snapshots()[0].0, "--delete"]);
    for depth in [Depth::Presence, Depth::Bytes] {
        assert!(matches!(&confirmed(&one, bytes, depth)[..], [Answer::NotHeld(_)]), "{depth:?}");
        assert_eq!(confirmed(&other, bytes, depth), [Answer::Held], "{depth:?}");
    }
    for extent in [Extent::Quick, Extent::All] {
        let report = one.rig.verify_only(&one.site, extent).unwrap().unwrap();
        assert_eq!((report.lost, report.verified, report.unverifiable), (1, 0, 0), "{extent:?}: {report:?}");
        assert!(!one.gate("shared"));
    }
    assert_eq!(other.verify(Extent::All).lost, 0);
    assert!(other.gate("shared") && one.held(bytes));
    one.push();
    assert_eq!((one.verify(Extent::All).lost, one.gate("shared")), (0, true));
}

/// What an offload of a node's only file would hear.
fn confirmed(node: &Node, bytes: &[u8], depth: Depth) -> Vec<Answer> {
    let (store, context, destination) = (&node.rig.store, &node.rig.context, node.site.liar.as_ref());
    let (record, volume) = (node.rig.record(&node.site).unwrap(), &node.rig.volume);
    let volume = HeadsOf::from(volume);
    let file = (node.rig.present().unwrap()[0], lastcopy_fs::hash_bytes(bytes));
    Asking { store, volume: &volume, record: &record, destination, context }.ask(None, &[file], depth).unwrap()
}

/// A node that repaired what no volume has any more, from another destination.
fn repaired_from_elsewhere() -> Node {
    let (node, elsewhere) = (Node::new(), Arc::new(MadeRepository::new()));
    let second = node.rig.site_of(elsewhere, "elsewhere").unwrap();
    node.write("goes", b"only in the first snapshot");
    node.push();
    node.rig.push(&second).unwrap().outcome.unwrap();
    node.rig.remove(b"goes").unwrap();
    node.push_as_it_goes();
    node.somebody(&["snapshot", "delete", &node.snapshots()[0].0, "--delete"]);
    assert_eq!(node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap().lost, 1);
    let others = vec![(node.rig.record(&second).unwrap(), second.liar.clone() as Arc<dyn Destination>)];
    let repaired = Repair { others, ..node.repair() }.run(|_| String::new()).unwrap();
    assert_eq!((repaired.lost, repaired.repaired), (1, 1), "{repaired:?}");
    node
}

/// What a repair had from another destination is stored for no volume, and counts all the same.
#[test]
fn what_a_repair_had_from_elsewhere_counts() {
    if !no_kopia("retention::what_a_repair_had_from_elsewhere_counts") {
        let node = repaired_from_elsewhere();
        for extent in [Extent::Quick, Extent::All] {
            assert_eq!(node.verify(extent).lost, 0, "{extent:?}");
        }
    }
}

/// Bytes of files are laid out for kopia among temporary files. A kill left them there for ever; the next one who lays some out removes them.
#[test]
fn bytes_that_the_dead_laid_out_are_removed() {
    if no_kopia("retention::bytes_that_the_dead_laid_out_are_removed") {
        return;
    }
    let left = tempfile::Builder::new().prefix("lastcopy-contents-").tempdir().unwrap();
    std::fs::write(left.path().join("bytes"), "somebody's").unwrap();
    repaired_from_elsewhere();
    assert!(!left.path().exists());
}
