//! Volumes as proof: opened only where the configuration, the index and the marker on the disk agree (I5).

use crate::support::Node;
use lastcopy_fs::Dir;
use lastcopy_store::{Outcome, RunKind, Store, StoreOptions, Volume, VolumeClaim, VolumeError, find_marker};
use std::path::Path;

const MARKER: &str = ".lastcopy/volume.toml";

fn open(node: &Node, name: &str, path: &Path) -> Result<Volume, VolumeError> {
    node.store.open_volume(name, path, None)
}

/// Another node, with an index of its own.
fn another(node: &Node) -> Store {
    Store::open(StoreOptions { path: node.path("another/index.db"), ..node.options() }).unwrap().0
}

fn added(result: Result<(Volume, lastcopy_store::Run<lastcopy_store::Index>), VolumeError>) -> Volume {
    let (volume, run) = result.unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    volume
}

#[test]
fn an_added_volume_opens_and_is_marked() {
    let node = Node::new();
    let volume = node.volume("photos");
    let opened = open(&node, "photos", &node.path("photos")).unwrap();
    assert_eq!((opened.id(), opened.uuid(), opened.path()), (volume.id(), volume.uuid(), node.path("photos").as_path()));
    let marker = find_marker(opened.root()).unwrap().unwrap();
    assert_eq!((marker.volume, marker.node, marker.name.as_str()), (volume.uuid(), node.store.node(), "photos"));
    opened.prove_again().unwrap();
    let run = node.store.newest_run_of(RunKind::Index, Some("photos"), None).unwrap();
    assert!(run.is_some(), "adding is a run");
    // Reached through a symbolic link, it is the same tree.
    std::os::unix::fs::symlink(node.path("photos"), node.path("link")).unwrap();
    assert_eq!(open(&node, "photos", &node.path("link")).unwrap().id(), volume.id());
}

/// An unmounted disk leaves an empty directory: no marker, no volume.
#[test]
fn a_tree_without_its_marker_is_no_volume() {
    let node = Node::new();
    let volume = node.volume("photos");
    std::fs::remove_file(node.path("photos").join(MARKER)).unwrap();
    assert!(matches!(open(&node, "photos", &node.path("photos")), Err(VolumeError::MarkerMissing { .. })));
    assert!(matches!(volume.prove_again(), Err(VolumeError::MarkerMissing { .. })), "an open handle notices, too");
    std::fs::remove_dir_all(node.path("photos")).unwrap();
    assert!(matches!(open(&node, "photos", &node.path("photos")), Err(VolumeError::Unreachable { .. })));
    std::fs::write(node.path("photos"), "a file").unwrap();
    assert!(matches!(open(&node, "photos", &node.path("photos")), Err(VolumeError::Unreachable { .. })));
}

#[test]
fn the_marker_of_another_volume_or_node_is_refused() {
    let node = Node::new();
    let volume = node.volume("photos");
    let marker = node.path("photos").join(MARKER);
    let sound = std::fs::read_to_string(&marker).unwrap();
    let others = [
        sound.replace(&volume.uuid().to_string(), &"7".repeat(32)),
        sound.replace(&node.store.node().to_string(), &"7".repeat(32)),
        String::new(),
        "volume = 12".into(),
        sound.replace('"', ""),
    ];
    for other in others {
        assert_ne!(other, sound);
        std::fs::write(&marker, &other).unwrap();
        match open(&node, "photos", &node.path("photos")) {
            Err(VolumeError::MarkerMismatch { .. }) => {}
            refused => panic!("{other}: {refused:?}"),
        }
        assert!(matches!(volume.prove_again(), Err(VolumeError::MarkerMismatch { .. })), "{other}");
    }
    std::fs::write(&marker, &sound).unwrap();
    volume.prove_again().unwrap();
}

/// The path of the configuration and that of the index must be one: a typo that leads to a copy is not followed.
#[test]
fn a_path_that_the_index_does_not_know_is_refused() {
    let node = Node::new();
    node.volume("photos");
    std::fs::create_dir_all(node.path("copy/.lastcopy")).unwrap();
    std::fs::copy(node.path("photos").join(MARKER), node.path("copy").join(MARKER)).unwrap();
    match open(&node, "photos", &node.path("copy")) {
        Err(VolumeError::PathMismatch { configured, recorded, .. }) => {
            assert_eq!((configured, recorded), (node.path("copy"), node.path("photos")));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(open(&node, "pictures", &node.path("photos")), Err(VolumeError::NotAdded { .. })));
}

/// Something was mounted over it, or it was swapped, while a run was going on.
#[test]
fn another_directory_in_its_place_is_noticed() {
    let node = Node::new();
    let volume = node.volume("photos");
    std::fs::rename(node.path("photos"), node.path("moved away")).unwrap();
    std::fs::create_dir_all(node.path("photos/.lastcopy")).unwrap();
    std::fs::copy(node.path("moved away").join(MARKER), node.path("photos").join(MARKER)).unwrap();
    match volume.prove_again() {
        Err(VolumeError::MarkerMismatch { detail, .. }) => assert!(detail.contains("another directory"), "{detail}"),
        other => panic!("{other:?}"),
    }
}

/// A marker is read where it lies, not where a link leads.
#[test]
fn a_marker_behind_a_symbolic_link_is_none() {
    let node = Node::new();
    node.volume("photos");
    std::fs::rename(node.path("photos/.lastcopy"), node.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(node.path("elsewhere"), node.path("photos/.lastcopy")).unwrap();
    assert!(open(&node, "photos", &node.path("photos")).is_err());
}

/// Names and trees are taken once; an add that was cut short may be repeated.
/// A destination's directory, or one in it, could be added as a volume when the configuration did not name the destination: its objects
/// would have been pushed, and offloaded on their own word.
#[test]
fn a_destination_is_no_volume() {
    let node = Node::new();
    let _volume = node.volume("photos");
    let disk = node.path("disk");
    std::fs::create_dir_all(disk.join("repository/objects/ab")).unwrap();
    let marker = disk.join("repository/.lastcopy-destination.json");
    std::fs::write(&marker, "{}").unwrap();
    for tree in ["repository", "repository/objects", "repository/objects/ab"] {
        let refused = node.store.add_volume("new", &disk.join(tree), VolumeClaim { take_over: true, id: None });
        let expected = disk.join("repository");
        let Err(VolumeError::InDestination { destination, .. }) = refused else { panic!("{tree}: {refused:?}") };
        assert_eq!(destination, expected, "{tree}");
        assert!(!disk.join(tree).join(".lastcopy").exists(), "{tree}");
    }
    // Beside it, or above, is no harm: the walk leaves it out.
    let _new = added(node.store.add_volume("new", &disk, VolumeClaim::default()));
    // One that became a destination later is not opened any more.
    std::fs::copy(&marker, node.path("photos/.lastcopy-destination.json")).unwrap();
    assert!(matches!(open(&node, "photos", &node.path("photos")), Err(VolumeError::InDestination { .. })));
}

#[test]
fn a_name_and_a_tree_are_taken_once() {
    let node = Node::new();
    let volume = node.volume("photos");
    node.index(&volume, &[("a", "one")]);
    std::fs::create_dir(node.path("other")).unwrap();
    let taken = |name: &str, path: &str| match node.store.add_volume(name, &node.path(path), VolumeClaim::default()) {
        Err(VolumeError::Taken(why)) => why,
        other => panic!("{name} at {path}: {other:?}"),
    };
    assert!(taken("photos", "other").contains("photos"));
    assert!(taken("pictures", "photos").contains("photos"));
    assert!(!node.path("other/.lastcopy").exists(), "a tree that is refused carries no marker");
    assert_eq!(added(node.store.add_volume("photos", &node.path("photos"), VolumeClaim::default())).id(), volume.id());
    assert_eq!(node.store.volumes().unwrap().len(), 1);
}

/// A tree that another node cares for is taken over by a person only; then the other one notices.
#[test]
fn another_nodes_tree_is_taken_over_on_a_persons_word() {
    let node = Node::new();
    let theirs = another(&node);
    std::fs::create_dir(node.path("share")).unwrap();
    let volume = added(theirs.add_volume("share", &node.path("share"), VolumeClaim::default()));
    match node.store.add_volume("mine", &node.path("share"), VolumeClaim::default()) {
        Err(VolumeError::MarkerMismatch { detail, .. }) => assert!(detail.contains(&theirs.node().to_string()), "{detail}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(node.store.volumes().unwrap(), [], "nothing was recorded");
    volume.prove_again().unwrap();

    let claim = VolumeClaim { take_over: true, id: None };
    let mine = added(node.store.add_volume("mine", &node.path("share"), claim));
    assert_eq!(mine.uuid(), volume.uuid(), "it is the same volume, in other hands");
    assert!(matches!(volume.prove_again(), Err(VolumeError::MarkerMismatch { .. })));
    assert!(matches!(theirs.open_volume("share", &node.path("share"), None), Err(VolumeError::MarkerMismatch { .. })));
}

/// A volume that is known from a destination goes on under its own id; a tree that is marked as another one does not become it.
#[test]
fn a_recovered_volume_keeps_its_id() {
    let node = Node::new();
    let id = lastcopy_fs::Id128([5; 16]);
    std::fs::create_dir(node.path("empty")).unwrap();
    let volume = added(node.store.add_volume("photos", &node.path("empty"), VolumeClaim { take_over: true, id: Some(id) }));
    assert_eq!(volume.uuid(), id);
    node.volume("other");
    let claim = VolumeClaim { take_over: true, id: Some(lastcopy_fs::Id128([6; 16])) };
    let refused = node.store.add_volume("third", &node.path("other"), claim);
    assert!(matches!(refused, Err(VolumeError::MarkerMismatch { .. })), "{refused:?}");
}

/// A volume whose tree is lost goes on elsewhere, on a person's word; while its tree is there, it does not.
#[test]
fn a_lost_tree_goes_on_elsewhere() {
    let node = Node::new();
    let volume = node.volume("photos");
    node.index(&volume, &[("a", "one")]);
    std::fs::create_dir(node.path("new disk")).unwrap();
    let here = VolumeClaim { take_over: true, id: None };
    assert!(matches!(node.store.add_volume("photos", &node.path("new disk"), here), Err(VolumeError::Taken(_))), "it is there");
    std::fs::remove_dir_all(node.path("photos")).unwrap();
    let refused = node.store.add_volume("photos", &node.path("new disk"), VolumeClaim::default());
    assert!(matches!(refused, Err(VolumeError::Taken(_))), "nobody said so");
    let moved = added(node.store.add_volume("photos", &node.path("new disk"), here));
    assert_eq!((moved.id(), moved.uuid(), moved.path()), (volume.id(), volume.uuid(), node.path("new disk").as_path()));
}

/// Followed to where it was moved; never to a copy while the original is where it was.
#[test]
fn a_moved_volume_is_followed_and_a_copy_is_not() {
    let node = Node::new();
    let volume = node.volume("photos");
    std::fs::create_dir_all(node.path("copy/.lastcopy")).unwrap();
    std::fs::copy(node.path("photos").join(MARKER), node.path("copy").join(MARKER)).unwrap();
    match node.store.move_volume("photos", &node.path("copy")) {
        Err(VolumeError::Taken(why)) => assert!(why.contains("copy"), "{why}"),
        other => panic!("{other:?}"),
    }
    std::fs::create_dir(node.path("unmarked")).unwrap();
    assert!(matches!(node.store.move_volume("photos", &node.path("unmarked")), Err(VolumeError::MarkerMissing { .. })));
    node.volume("other");
    assert!(matches!(node.store.move_volume("photos", &node.path("other")), Err(VolumeError::MarkerMismatch { .. })));

    std::fs::rename(node.path("photos"), node.path("elsewhere")).unwrap();
    let moved = added(node.store.move_volume("photos", &node.path("elsewhere")));
    assert_eq!((moved.id(), moved.path()), (volume.id(), node.path("elsewhere").as_path()));
    assert!(open(&node, "photos", &node.path("elsewhere")).is_ok());
    assert!(matches!(open(&node, "photos", &node.path("photos")), Err(VolumeError::Unreachable { .. })));
}

/// The marker tells a tree from a directory that happens to be there; a directory without one tells nothing.
#[test]
fn no_marker_is_not_a_damaged_marker() {
    let node = Node::new();
    std::fs::create_dir_all(node.path("plain/.lastcopy")).unwrap();
    let dir = Dir::open(&node.path("plain")).unwrap();
    assert_eq!(find_marker(&dir).unwrap(), None);
    std::fs::write(node.path("plain").join(MARKER), "x = [").unwrap();
    assert!(find_marker(&dir).is_err());
}

/// The marker says the version of its format, and nobody looked: one that a newer lastcopy wrote was taken for ours.
#[test]
fn a_marker_of_a_newer_format_is_not_understood() {
    let node = Node::new();
    let volume = node.volume("photos");
    let file = volume.path().join(MARKER);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("format = 1\n"));
    std::fs::write(&file, text.replace("format = 1\n", "format = 2\n")).unwrap();
    let error = open(&node, "photos", volume.path()).unwrap_err();
    assert!(matches!(&error, VolumeError::MarkerMismatch { detail, .. } if detail.contains("format 2")), "{error}");
}
