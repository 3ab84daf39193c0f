//! What the heads of several volumes tell of a destination.

use crate::context;
use crate::subject::MadeCas;
use lastcopy_fs::Mounts;
use lastcopy_store::{AlarmKind, Outcome, Volume, VolumeClaim};
use lastcopy_sync::conformance::{Made, Rig, Site};
use lastcopy_sync::{Push, SyncError};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

/// A node with one destination, and two volumes that were pushed there.
struct Node {
    rig: Rig,
    site: Site,
    made: Arc<MadeCas>,
    second: Volume,
    _home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    fn new() -> Self {
        let (runtime, context) = context();
        let rig = Rig::new(&context).unwrap();
        let made = Arc::new(MadeCas::new());
        let site = rig.site_of(made.clone(), "there").unwrap();
        let home = tempfile::tempdir().unwrap();
        let (second, run) = rig.store.add_volume("second", home.path(), VolumeClaim::default()).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        rig.write(b"file", b"bytes").unwrap();
        rig.index().unwrap();
        let node = Self { rig, site, made, second, _home: home, _runtime: runtime };
        node.push(&node.rig.volume).unwrap();
        node.push(&node.second).unwrap();
        node
    }

    fn push(&self, volume: &Volume) -> Result<(), SyncError> {
        let push = Push {
            store: self.rig.store.clone(),
            volume: volume.clone(),
            record: self.rig.record(&self.site).unwrap(),
            destination: self.site.liar.clone(),
            mounts: Mounts::Stay,
            context: self.rig.context.clone(),
        };
        push.run(|_| String::new()).map(drop)
    }

    fn head(&self, volume: &Volume) -> PathBuf {
        let epoch = self.rig.store.epoch().unwrap().to_string();
        self.made.root().join("volumes").join(volume.uuid().to_string()).join(epoch).join("head.json")
    }

    fn alarms(&self) -> Vec<AlarmKind> {
        self.rig.alarms().unwrap().iter().map(|alarm| alarm.kind).collect()
    }
}

/// The destination lost a push of one volume; the next push of another volume, whose head was there all the time, ended the alarm.
#[test]
fn an_alarm_about_a_rollback_is_not_ended_by_another_volume() {
    let node = Node::new();
    let (head, aside) = (node.head(&node.rig.volume), node.made.root().with_file_name("aside"));
    fs::rename(&head, &aside).unwrap();
    assert!(matches!(node.push(&node.rig.volume), Err(SyncError::RolledBack(_))));
    assert_eq!(node.alarms(), [AlarmKind::RolledBack]);
    node.push(&node.second).unwrap();
    assert_eq!(node.alarms(), [AlarmKind::RolledBack]);
    // Once it is there again, any of them ends it.
    fs::rename(&aside, &head).unwrap();
    node.push(&node.second).unwrap();
    assert!(node.alarms().is_empty());
}

/// A head that a power cut or a bad sector damaged ended every push and verify of that volume for good, and acknowledging anything was
/// out of reach. It is a destination that does not remember: an alarm, a person's word, and all is told anew.
#[test]
fn a_damaged_head_is_a_head_that_is_gone() {
    for damaged in [&b""[..], b"{\"format\":1,", b"\xff\xfe"] {
        let node = Node::new();
        fs::write(node.head(&node.rig.volume), damaged).unwrap();
        assert!(matches!(node.push(&node.rig.volume), Err(SyncError::RolledBack(_))));
        assert_eq!(node.alarms(), [AlarmKind::RolledBack]);
        // It is no other volume's business.
        node.push(&node.second).unwrap();
        node.rig.acknowledge().unwrap();
        node.push(&node.rig.volume).unwrap();
        assert!(node.alarms().is_empty());
        let heads = node.rig.context.runtime.block_on(node.made.destination().heads(node.rig.volume.uuid())).unwrap();
        assert!(matches!(&heads[..], [Ok(_)]), "{heads:?}");
    }
}

/// Another life's damaged head stops no push, and hides no other place from a recovery.
#[test]
fn a_damaged_head_of_another_life_stops_nothing() {
    let node = Node::new();
    let ours = node.head(&node.rig.volume);
    let other = ours.parent().unwrap().with_file_name("00112233445566778899aabbccddeeff");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("head.json"), "damaged").unwrap();
    node.push(&node.rig.volume).unwrap();
    assert!(node.alarms().is_empty());
    let places = node.rig.context.runtime.block_on(node.made.destination().places()).unwrap();
    let (found, damaged): (Vec<_>, Vec<_>) = places.into_iter().partition(Result::is_ok);
    assert_eq!((found.len(), damaged.len()), (2, 1));
}
