//! kopia's own retention and maintenance, and people who tidy up.

use crate::node::Node;
use crate::skip::no_kopia;
use lastcopy_store::AlarmKind;
use lastcopy_sync::Destination;
use lastcopy_sync::Extent;

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
