//! Audits: disk against index, changing nothing but alarms.

use crate::support::{World, rel};
use lastcopy_fs::hash_bytes;
use lastcopy_store::{AlarmKind, FileStatus, Observation, Outcome, RunStatus, Seen};

/// Records that a file had held something else when it looked just as it does now: the bytes rotted under unchanged metadata.
fn rot(world: &World, path: &str, held: &str) {
    let stat = world.volume().root().stat(&rel(path)).unwrap().unwrap();
    assert_eq!(stat.size, held.len() as u64);
    let seen =
        Seen { size: stat.size, mtime_ns: stat.mtime_ns, ctime_ns: stat.ctime_ns, inode: stat.inode, mode: stat.mode, racy: false };
    let (directory, name) = rel(path).split().map(|(directory, name)| (directory, name.to_vec())).unwrap();
    let run = world.store.begin_index(&world.volume()).unwrap();
    run.observe(&[Observation { directory, name, seen, content: hash_bytes(held.as_bytes()) }]).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
}

#[test]
fn an_audit_names_differences_and_records_none() {
    let world = World::new(&[("same", "one"), ("changed", "two"), ("gone", "three")]);
    world.index();
    world.settle();
    let clean = world.audit(false);
    assert!(!clean.needs_attention());
    assert_eq!((clean.files, clean.unchanged, clean.bytes_hashed), (3, 3, 0));
    assert_eq!(world.newest_run().status, RunStatus::Success);

    world.write("changed", "2wo!");
    world.write("new", "four");
    world.remove("gone");
    for deep in [false, true] {
        let report = world.audit(deep);
        let named = |trouble: &lastcopy_index::Trouble| trouble.first().iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!(named(&report.added), [rel("new")]);
        assert_eq!(named(&report.changed), [rel("changed")]);
        assert_eq!(named(&report.missing), [rel("gone")]);
        assert_eq!((report.unchanged, report.damaged.count()), (1, 0));
        assert_eq!(world.newest_run().status, RunStatus::Partial);
    }
    assert_eq!(world.status("gone"), FileStatus::Present);
    assert!(world.file("new").is_none());
    assert_eq!(world.store.alarms(false).unwrap(), []);
}

/// Bytes that changed while size, times and inode did not are seen by reading them, and by nothing else.
#[test]
fn a_deep_audit_raises_an_alarm_on_rot() {
    let world = World::new(&[("rotten", "onE"), ("sound", "two")]);
    world.index();
    rot(&world, "rotten", "one");
    world.settle();
    assert_eq!(world.audit(false).unchanged, 2, "nothing to be seen from outside");
    assert_eq!(world.index().changed, 0, "and an index does not look");

    let report = world.audit(true);
    assert_eq!((report.damaged.count(), report.unchanged, report.changed.count()), (1, 1, 0));
    assert_eq!(report.damaged.first()[0].0, rel("rotten"));
    let alarm = world.store.alarms(true).unwrap().remove(0);
    assert_eq!((alarm.kind, alarm.file), (AlarmKind::ContentChanged, Some(("photos".to_owned(), rel("rotten")))));
    assert_eq!(world.file("rotten").unwrap().content, hash_bytes(b"one"), "the index still says what it was");
    world.audit(true);
    assert_eq!(world.store.alarms(false).unwrap().len(), 1, "the same alarm");

    // On a person's word the file is read again, and gets a row of its own.
    let run = world.store.begin_evidence_change(None, None).unwrap();
    run.acknowledge(alarm.id, "I know").unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    assert_eq!(world.index().changed, 1);
    world.assert_holds("rotten", "onE");
    assert_eq!(world.audit(true).damaged.count(), 0);
}

/// A file that looks racy is read by every index run, whatever it looks like: rot in it is found as a change.
#[test]
fn a_racy_file_is_read_again() {
    let world = World::new(&[("a", "one")]);
    world.index();
    world.settle();
    assert_eq!(world.index().bytes_hashed, 0);
    let audit = world.store.begin_audit(&world.volume()).unwrap();
    audit.content_changed(world.file("a").unwrap().id, "so it seemed").unwrap();
    drop(audit);
    let alarm = world.store.alarms(true).unwrap().remove(0);
    let run = world.store.begin_evidence_change(None, None).unwrap();
    run.acknowledge(alarm.id, "to be read again").unwrap();
    drop(run);
    assert!(world.file("a").unwrap().seen.racy);
    assert_eq!(world.index().bytes_hashed, 3);
    world.assert_holds("a", "one");
}
