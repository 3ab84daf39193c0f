//! Who is there: an init that was cut short, a disk that is away, and a repository that another one took the place of.

use crate::context;
use crate::subject::MadeCas;
use lastcopy_store::RunStatus;
use lastcopy_sync::conformance::{Made, Rig, Tamper};
use lastcopy_sync::{DestinationError, Extent, InitOutcome, SyncError};
use lastcopy_sync_cas::{Local, Medium};
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

/// An init that was killed while it wrote the marker left it under a temporary name, and the directory was taken for occupied ever
/// after.
#[test]
fn an_init_that_was_killed_can_be_repeated() {
    let (_runtime, context) = context();
    let rig = Rig::new(&context).unwrap();
    let made = Arc::new(MadeCas::new());
    fs::create_dir(made.root()).unwrap();
    let part = made.root().join(".lastcopy-destination.json.00112233445566778899aabbccddeeff.tmp");
    fs::write(part, "{\"form").unwrap();
    let site = rig.site_of(made, "there").unwrap();
    rig.write(b"file", b"bytes").unwrap();
    let horizon = rig.index().unwrap();
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    rig.converged(&site, horizon).unwrap();
    assert!(matches!(rig.init(&site).unwrap(), InitOutcome::AlreadyOurs(_)));
}

/// A person's file with a name like ours is still a person's file.
#[test]
fn a_directory_that_holds_anything_else_is_not_empty() {
    let home = tempfile::tempdir().unwrap();
    for name in [".lastcopy-destination.json.tmp", ".lastcopy-destination.json.mine.tmp", "notes.txt"] {
        fs::write(home.path().join(name), "").unwrap();
        assert_eq!(Local::new(home.path()).is_empty().unwrap(), Some(false), "{name}");
        fs::remove_file(home.path().join(name)).unwrap();
    }
    assert_eq!(Local::new(home.path()).is_empty().unwrap(), Some(true));
}

/// Of two inits at the same time, the marker of one stays.
#[test]
fn a_marker_is_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    Local::new(home.path()).create_small("marker", b"first").unwrap();
    let second = Local::new(home.path()).create_small("marker", b"second").unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(home.path().join("marker")).unwrap(), b"first");
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

/// Another repository was adopted: it never held what the one before it held. A verify found each of those contents lost, with an
/// alarm of its own.
#[test]
fn an_adopted_repository_has_lost_nothing_of_the_one_before() {
    let (_runtime, context) = context();
    let rig = Rig::new(&context).unwrap();
    let made = Arc::new(MadeCas::new());
    let site = rig.site_of(made.clone(), "there").unwrap();
    for name in ["one", "two"] {
        rig.write(name.as_bytes(), name.as_bytes()).unwrap();
    }
    let horizon = rig.index().unwrap();
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    made.tamper(Tamper::Replace).unwrap();
    let record = rig.record(&site).unwrap();
    lastcopy_sync::adopt(&rig.store, &record, site.liar.as_ref(), None, "a test says so", &context).unwrap();
    for extent in [Extent::All, Extent::Quick] {
        let report = rig.verify(&site, extent).unwrap().unwrap();
        assert_eq!((report.checked, report.lost), (0, 0), "{report:?}");
    }
    assert!(rig.alarms().unwrap().is_empty());
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    rig.converged(&site, horizon).unwrap();
}

/// A stick that was pulled out takes its mount point along: `reset` forgot the destination, and every run raised an alarm about another
/// identity. It is away, and nothing else.
#[test]
fn a_disk_that_is_away_is_not_gone() {
    let (_runtime, context) = context();
    let rig = Rig::new(&context).unwrap();
    let made = Arc::new(MadeCas::new());
    let site = rig.site_of(made.clone(), "there").unwrap();
    rig.write(b"file", b"bytes").unwrap();
    let horizon = rig.index().unwrap();
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    let record = rig.record(&site).unwrap();
    let reset = || lastcopy_sync::reset(&rig.store, &record, site.liar.as_ref(), "a test says so", &context).unwrap();
    let aside = made.root().with_file_name("aside");
    fs::rename(made.root(), &aside).unwrap();
    let away = rig.verify_only(&site, Extent::All).unwrap().unwrap_err();
    assert!(matches!(away, SyncError::Destination(DestinationError::Unreachable { .. })), "{away:?}");
    assert!(rig.alarms().unwrap().is_empty());
    assert!(rig.init(&site).is_err());
    assert!(!reset(), "it was taken for gone");
    assert_eq!(rig.record(&site).unwrap().incarnation, record.incarnation);
    fs::rename(&aside, made.root()).unwrap();
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    rig.converged(&site, horizon).unwrap();
    // An empty directory in its place is an answer.
    made.tamper(Tamper::Wipe).unwrap();
    assert!(reset());
}
