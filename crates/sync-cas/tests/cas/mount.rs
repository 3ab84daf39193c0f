//! A disk that goes away: a mount point without its disk is an empty directory that takes every write, and lacks every object.

use crate::context;
use crate::subject::MadeCas;
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_store::{ContentId, Location, RunStatus};
use lastcopy_sync::conformance::{Lie, Made, Rig, Site};
use lastcopy_sync::segment::Place;
use lastcopy_sync::{Arrival, Depth, Destination, DestinationError, FetchSink, Finding, HeldItem, check_held};
use lastcopy_sync_cas::Cas;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Takes the disk away, and leaves the mount point.
fn unmount(root: &Path) {
    fs::rename(root, away(root)).unwrap();
    fs::create_dir(root).unwrap();
}

fn mount(root: &Path) {
    fs::remove_dir_all(root).unwrap();
    fs::rename(away(root), root).unwrap();
}

fn away(root: &Path) -> std::path::PathBuf {
    root.with_file_name("the disk")
}

fn is_bare(root: &Path) -> bool {
    fs::read_dir(root).unwrap().next().is_none()
}

/// A node that pushed one file.
fn settled() -> (tokio::runtime::Runtime, Rig, Arc<MadeCas>, Site, Content) {
    let (runtime, context) = context();
    let rig = Rig::new(&context).unwrap();
    let made = Arc::new(MadeCas::new());
    let site = rig.site_of(made.clone(), "there").unwrap();
    rig.write(b"first", b"first").unwrap();
    rig.index().unwrap();
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    (runtime, rig, made, site, hash_bytes(b"first"))
}

/// A push filled the bare mount point of a disk that had gone away since it was probed, and left receipts of bytes that the next
/// mount would hide. `confirm = "offline"` would have believed them.
#[test]
fn a_disk_that_goes_away_before_a_push_sends_leaves_no_receipt() {
    let (_runtime, rig, made, site, _) = settled();
    rig.write(b"second", b"second").unwrap();
    let horizon = rig.index().unwrap();
    let root = made.root().to_owned();
    site.liar.midway(move || unmount(&root));
    let pushing = rig.push(&site).unwrap();
    assert!(pushing.outcome.is_err(), "{pushing:?}");
    assert!(is_bare(made.root()), "the mount point was filled");
    // What the first push proved lies on the disk.
    assert_eq!(rig.store.count_receipts(site.id).unwrap(), (0, 1, 0));
    mount(made.root());
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    rig.converged(&site, horizon).unwrap();
}

/// A push that cannot ask whether the same disk is still there keeps nothing that it took for proven: it may have been another one.
#[test]
fn a_disk_that_cannot_be_asked_after_a_push_proves_nothing() {
    let (_runtime, rig, _made, site, _) = settled();
    rig.write(b"second", b"second").unwrap();
    let horizon = rig.index().unwrap();
    let liar = site.liar.clone();
    site.liar.sealing(move || liar.lie(Lie::CannotTell));
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Failed);
    assert_eq!((site.liar.told(), rig.store.count_receipts(site.id).unwrap()), (1, (1, 1, 0)));
    // From before anything was recorded.
    site.liar.lie(Lie::None);
    let liar = site.liar.clone();
    site.liar.midway(move || liar.lie(Lie::CannotTell));
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Failed);
    assert!(site.liar.told() > 0);
    assert_eq!(rig.store.count_receipts(site.id).unwrap(), (1, 1, 0));
    site.liar.lie(Lie::None);
    assert_eq!(rig.push(&site).unwrap().status, RunStatus::Success);
    rig.converged(&site, horizon).unwrap();
}

struct Failures(Mutex<Vec<String>>);

impl FetchSink for Failures {
    fn begin(&self, _item: &HeldItem) -> io::Result<Box<dyn Arrival>> {
        Err(io::Error::other("nothing should come"))
    }

    fn failed(&self, _item: &HeldItem, reason: String) {
        self.0.lock().unwrap().push(reason);
    }
}

#[track_caller]
fn unreachable<T>(answer: Result<T, DestinationError>) {
    let Err(error) = answer else { panic!("it gave an answer") };
    assert!(matches!(error, DestinationError::Unreachable { .. }), "{error:?}");
}

/// Every object seemed lost, each with an alarm of its own, when the disk went away between the first contact and the look at its
/// objects; and a restore heard of each file that it was not there.
#[test]
fn a_disk_that_went_away_lacks_no_object() {
    let (_runtime, rig, made, _site, content) = settled();
    let destination = made.destination();
    let item = HeldItem { content_id: ContentId::spooled(1), content, location: Location::default(), fingerprint: None };
    let place = Place { volume: rig.volume.uuid(), epoch: rig.store.epoch().unwrap() };
    let ask = |destination: &dyn Destination| {
        for depth in [Depth::Presence, Depth::Bytes] {
            let said = check_held(destination, std::slice::from_ref(&item), depth, &rig.context).unwrap();
            assert!(matches!(said[..], [Finding::Unverifiable(_)]), "{said:?}");
        }
        let sink = Arc::new(Failures(Mutex::default()));
        let (give, take) = tokio::sync::mpsc::channel(1);
        give.try_send(vec![item.clone()]).unwrap();
        drop(give);
        unreachable(rig.context.runtime.block_on(destination.fetch(take, sink.clone(), &rig.context)));
        assert!(sink.0.lock().unwrap().is_empty());
        unreachable(rig.context.runtime.block_on(destination.heads(place.volume)));
        unreachable(rig.context.runtime.block_on(destination.places()));
        unreachable(rig.context.runtime.block_on(destination.segment(&place, 1)));
        unreachable(rig.context.runtime.block_on(destination.seal(&place, 9, tempfile::tempfile().unwrap(), b"{}", &rig.context)));
        unreachable(rig.context.runtime.block_on(destination.list(&mut |_, _| {})));
    };
    unmount(made.root());
    ask(destination.as_ref());
    // One that nobody ever asked is not there, either.
    ask(&Cas::local(made.root()));
    assert!(is_bare(made.root()));
    // Another disk was mounted there.
    made.tamper(lastcopy_sync::conformance::Tamper::Replace).unwrap();
    ask(destination.as_ref());
    mount(made.root());
    let found = check_held(destination.as_ref(), std::slice::from_ref(&item), Depth::Bytes, &rig.context).unwrap();
    assert!(matches!(found[..], [Finding::Verified(_)]), "{found:?}");
}
