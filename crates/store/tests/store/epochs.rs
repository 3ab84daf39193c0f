//! Epochs: an index that is an old or a second copy of itself notices, and believes nothing that it would have to take on trust.

use crate::support::{Node, Push};
use lastcopy_store::{
    DestinationRecord, EvidenceEvent, NewEpoch, ReceiptLevel, RunStatus, Store, StoreError, StoreOptions, Volume, VolumeError,
    Witness,
};
use std::fs;
use std::path::Path;

/// A node that pushed something, and whose index is closed.
fn pushed() -> (Node, Volume, DestinationRecord) {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    (node, volume, vault)
}

/// Puts a copy of the index where the index is, without what lies beside it.
fn put_back(node: &Node, copy: &Path) {
    for suffix in ["-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{}{suffix}", node.index_file().display())));
    }
    std::fs::copy(copy.join("index.db"), node.index_file()).unwrap();
}

/// That a new life began: nothing proven is believed, no component counts, and run ids go on.
#[track_caller]
fn assert_new_life(store: &Store, node: &Node, vault: &DestinationRecord, volume: &Volume, newest: i64) {
    assert_eq!(node.levels(vault), [ReceiptLevel::Stored]);
    assert_eq!(store.own_component(volume.id(), vault.id).unwrap(), None);
    let run = store.begin_audit(volume).unwrap();
    assert!(run.id().get() > newest, "run ids go on above {newest}: {}", run.id());
    let epochs = store.evidence_log().unwrap().into_iter().filter(|entry| entry.event == EvidenceEvent::Epoch).count();
    assert_eq!(epochs, 2);
}

#[test]
fn an_index_that_is_opened_again_is_the_same_life() {
    let (node, volume, vault) = pushed();
    let epoch = node.store.epoch().unwrap();
    let (again, news) = node.again();
    assert_eq!((news, again.epoch().unwrap()), (None, epoch));
    assert_eq!(again.own_component(volume.id(), vault.id).unwrap(), node.component(&volume, &vault));
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified]);
    assert_eq!(again.previous_epoch().unwrap(), None);
}

/// Restored from a backup by hand, with everything beside it: the volume remembers a newer run.
#[test]
fn a_backup_that_was_put_back_is_noticed_by_the_volume() {
    let (mut node, volume, vault) = pushed();
    let copy = node.path("copy");
    checkpoint(&node);
    node.copy_index(&copy);
    let newest = node.index(&volume, &[("b", "two")]);
    close(&mut node);
    put_back(&node, &copy);
    std::fs::copy(copy.join("index.db.newest-run"), node.path("state/index.db.newest-run")).unwrap();

    let (store, news) = node.again();
    assert_eq!(news, None, "what lies beside it was put back with it");
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified]);
    match store.open_volume("photos", &node.path("photos"), None) {
        Err(VolumeError::NewEpoch(NewEpoch { reason })) => assert!(reason.contains("volume `photos`"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let volume = store.open_volume("photos", &node.path("photos"), None).unwrap();
    assert_new_life(&store, &node, &vault, &volume, newest.get());
}

/// Restored without what lies beside it: that file is ahead of the index, which is noticed at once.
#[test]
fn a_backup_that_was_put_back_is_noticed_by_the_file_beside_it() {
    let (mut node, volume, vault) = pushed();
    let copy = node.path("copy");
    checkpoint(&node);
    node.copy_index(&copy);
    let newest = node.index(&volume, &[("b", "two")]);
    let before = node.store.epoch().unwrap();
    close(&mut node);
    put_back(&node, &copy);

    let (store, news) = node.again();
    assert!(news.unwrap().reason.contains("the file beside it"));
    assert_eq!(store.previous_epoch().unwrap(), Some(before));
    let volume = store.open_volume("photos", &node.path("photos"), None).unwrap();
    assert_new_life(&store, &node, &vault, &volume, newest.get());
    assert_eq!(node.again().1, None, "once is enough");
}

/// An index that came back without its companion was restored by hand, even if no newer run is known.
#[test]
fn a_missing_companion_begins_a_new_life() {
    let (mut node, _, vault) = pushed();
    let newest = node.store.runs(1).unwrap()[0].id;
    close(&mut node);
    std::fs::remove_file(node.path("state/index.db.newest-run")).unwrap();
    let (store, news) = node.again();
    assert!(news.is_some());
    let volume = store.open_volume("photos", &node.path("photos"), None).unwrap();
    assert_new_life(&store, &node, &vault, &volume, newest.get());
}

/// A witness that cannot be read is an error, never taken for one that agrees.
#[test]
fn a_damaged_witness_is_refused() {
    let (node, _, _) = pushed();
    for (file, text) in [("state/index.db.newest-run", "{\"node\":"), ("photos/.lastcopy/newest-run.json", "")] {
        let sound = std::fs::read(node.path(file)).unwrap();
        std::fs::write(node.path(file), text).unwrap();
        let opened = Store::open(node.options())
            .map_err(VolumeError::from)
            .and_then(|(store, _)| store.open_volume("photos", &node.path("photos"), None));
        match opened {
            Err(VolumeError::Store(StoreError::Io { path, .. })) => {
                assert_eq!(path.file_name(), Path::new(file).file_name());
            }
            other => panic!("{file}: {other:?}"),
        }
        std::fs::write(node.path(file), sound).unwrap();
    }
}

/// Two copies of one index, each of which went on: whoever comes second to the volume that they share begins a new life.
#[test]
fn a_clone_is_noticed_where_the_two_meet() {
    let (node, volume, vault) = pushed();
    checkpoint(&node);
    node.copy_index(&node.path("clone"));
    let options = StoreOptions { path: node.path("clone/index.db"), ..node.options() };
    let (clone, news) = Store::open(options).unwrap();
    assert_eq!(news, None, "so far it is the same");
    assert_eq!(clone.node(), node.store.node());

    let newest = node.index(&volume, &[("b", "two")]);
    assert!(matches!(clone.open_volume("photos", &node.path("photos"), None), Err(VolumeError::NewEpoch(_))));
    let seen_by_clone = clone.open_volume("photos", &node.path("photos"), None).unwrap();
    let run = clone.begin_index(&seen_by_clone).unwrap();
    assert!(run.id() > newest);
    drop(run);
    assert_eq!(clone.own_component(volume.id(), vault.id).unwrap(), None);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified], "the first one has seen nothing of that yet");

    // Now the first one meets what the second one left.
    match node.store.open_volume("photos", &node.path("photos"), None) {
        Err(VolumeError::NewEpoch(NewEpoch { reason })) => assert!(reason.contains("another life"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored]);
    assert_eq!(node.component(&volume, &vault), None);
}

/// The disk with the index was restored while the disk with the volume was unplugged. By the time they met again, the restored index had
/// come farther than the one that the volume remembered, and nobody noticed that they were two.
#[test]
fn a_fork_that_has_overtaken_the_volume_is_noticed() {
    let (mut node, volume, vault) = pushed();
    let copy = node.path("copy");
    checkpoint(&node);
    node.copy_index(&copy);
    let newest = node.index(&volume, &[("b", "two")]);
    close(&mut node);
    put_back(&node, &copy);
    std::fs::copy(copy.join("index.db.newest-run"), node.path("state/index.db.newest-run")).unwrap();

    std::fs::rename(node.path("photos"), node.path("unplugged")).unwrap();
    let (store, news) = node.again();
    assert_eq!(news, None);
    for _ in 0..10 {
        store.begin_restore(None).unwrap().finish(&lastcopy_store::Outcome::Success, None).unwrap();
    }
    assert!(store.runs(1).unwrap()[0].id > newest);
    std::fs::rename(node.path("unplugged"), node.path("photos")).unwrap();
    match store.open_volume("photos", &node.path("photos"), None) {
        Err(VolumeError::NewEpoch(NewEpoch { reason })) => assert!(reason.contains("another run"), "{reason}"),
        other => panic!("{other:?}"),
    }
    let volume = store.open_volume("photos", &node.path("photos"), None).unwrap();
    assert_new_life(&store, &node, &vault, &volume, newest.get());
    drop(volume);
    assert_eq!(node.again().0.heed_volumes().unwrap(), None, "once is enough");
}

/// A run on a volume wrote over what the other copy of the index had left there since the volume was opened.
#[test]
fn a_run_does_not_write_over_what_another_life_left() {
    let (node, volume, _) = pushed();
    checkpoint(&node);
    node.copy_index(&node.path("clone"));
    let options = StoreOptions { path: node.path("clone/index.db"), ..node.options() };
    let (clone, _) = Store::open(options).unwrap();
    let seen_by_clone = clone.open_volume("photos", &node.path("photos"), None).unwrap();
    node.index(&volume, &[("b", "two")]);
    for _ in 0..3 {
        clone.begin_index(&seen_by_clone).unwrap().finish(&lastcopy_store::Outcome::Success, None).unwrap();
    }
    assert!(matches!(clone.open_volume("photos", &node.path("photos"), None), Err(VolumeError::NewEpoch(_))));
}

/// A witness from before runs were named says as much as it did.
#[test]
fn a_witness_without_a_name_stays_valid() {
    let (node, _, _) = pushed();
    for file in ["state/index.db.newest-run", "photos/.lastcopy/newest-run.json"] {
        let text = std::fs::read_to_string(node.path(file)).unwrap();
        let (before, _) = text.split_once(",\"named\"").unwrap();
        std::fs::write(node.path(file), format!("{before}}}\n")).unwrap();
    }
    let (store, news) = node.again();
    assert_eq!((news, store.heed_volumes().unwrap()), (None, None));
    assert!(store.open_volume("photos", &node.path("photos"), None).is_ok());
}

/// Same newest run, but changes that the index does not have: a copy made in the middle of a run.
#[test]
fn a_copy_from_the_middle_of_a_run_is_noticed() {
    let (node, _, vault) = pushed();
    let newest = node.store.runs(1).unwrap()[0].id;
    let witness = |run, seq| Witness { node: node.store.node(), epoch: node.store.epoch().unwrap(), run, seq, named: None };
    assert_eq!(node.store.heed(&witness(newest, 0), "a head").unwrap(), None);
    let somebody_elses = Witness { node: lastcopy_fs::Id128([7; 16]), ..witness(newest, i64::MAX) };
    assert_eq!(node.store.heed(&somebody_elses, "a head").unwrap(), None, "what another node did is none of ours");
    let news = node.store.heed(&witness(newest, 1_000_000), "a head").unwrap().unwrap();
    assert!(news.reason.contains("changes"), "{}", news.reason);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored]);
}

/// A head knows the run that wrote it, and not how many changes the index had seen: a newer run alone is enough.
#[test]
fn a_newer_run_alone_is_noticed() {
    let (node, _, vault) = pushed();
    let newest = node.store.runs(1).unwrap()[0].id;
    let newer = lastcopy_store::RunId::from_user(newest.get() + 1);
    let witness = Witness { node: node.store.node(), epoch: node.store.epoch().unwrap(), run: newer, seq: 0, named: None };
    assert!(node.store.heed(&witness, "a head").unwrap().is_some());
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored]);
}

/// A destination holds a head of a life that this index does not remember: the same, and run ids go on above that one's.
#[test]
fn a_head_of_another_life_begins_a_new_one() {
    let (node, volume, vault) = pushed();
    let other = lastcopy_fs::Id128([9; 16]);
    assert!(!node.store.knows_epoch(other).unwrap() && node.store.knows_epoch(node.store.epoch().unwrap()).unwrap());
    let push = Push::begin(&node.store, &volume, &vault);
    let interrupted = push.run.id();
    let news = node.store.superseded_by_head(other, lastcopy_store::RunId::from_user(500), "vault").unwrap();
    assert!(news.reason.contains("vault"));
    // What was running believed in the life that is over.
    assert_eq!(node.store.run_record(interrupted).unwrap().status, RunStatus::Aborted);
    let claim = push.snapshot.claim(push.probed).unwrap();
    let late = push.run.finish_sync(claim, None, &lastcopy_store::Outcome::Success, |_| String::new());
    assert!(matches!(late, Err(StoreError::RunEnded { .. })));
    assert_new_life(&node.store, &node, &vault, &volume, 500);
}

/// Whoever may write to a destination may forge a head with the last number there is. Runs go on all the same.
#[test]
fn a_forged_head_does_not_use_up_the_numbers_of_runs() {
    let (node, volume, _) = pushed();
    let last = lastcopy_store::RunId::from_user(i64::MAX);
    node.store.superseded_by_head(lastcopy_fs::Id128([9; 16]), last, "vault").unwrap();
    let mut before = lastcopy_store::RunId::from_user(500);
    for text in ["two", "three", "four"] {
        let run = node.index(&volume, &[("a", text)]);
        assert!(run > before && run < last, "{run}");
        before = run;
    }
}

/// Nor does a forged witness use up those of changes: the one in a volume's root is anybody's to write.
#[test]
fn a_forged_witness_does_not_use_up_the_numbers_of_changes() {
    let (node, volume, vault) = pushed();
    let newest = node.store.runs(1).unwrap()[0].id;
    let (epoch, seq) = (node.store.epoch().unwrap(), i64::MAX);
    let forged = Witness { node: node.store.node(), epoch, run: newest, seq, named: None };
    assert!(node.store.heed(&forged, "a volume").unwrap().is_some());
    for text in ["two", "three"] {
        node.index(&volume, &[("a", text)]);
        assert!(node.push(&volume, &vault).advanced);
    }
}

/// In a new life a push proves everything again, and only then the gate may open; what is older stays in the log.
#[test]
fn a_new_life_earns_its_evidence_anew() {
    let (node, volume, vault) = pushed();
    let component = node.component(&volume, &vault).unwrap();
    node.store.superseded_by_head(lastcopy_fs::Id128([9; 16]), component, "vault").unwrap();
    let advance = node.push(&volume, &vault);
    assert!(advance.advanced);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified]);
    assert_eq!(node.component(&volume, &vault), Some(component), "the horizon is what it was; the component is this life's");
    let raw = node.raw();
    let rows: i64 = raw.query_row("SELECT count(*) FROM vector", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2, "the component of the life before is kept");
}

/// `db restore`: a copy made by `backup` is put in place, whole; the old index stays beside it.
#[test]
fn restoring_a_backup_begins_a_new_life() {
    let (mut node, volume, vault) = pushed();
    let backup = node.path("backup.db");
    node.store.backup(&backup).unwrap();
    assert!(matches!(node.store.backup(&backup), Err(StoreError::Refused(_))), "an existing file is not overwritten");
    lastcopy_store::check_copy(&backup).unwrap();
    let newest = node.index(&volume, &[("b", "two")]);

    let running = node.store.begin_audit(&volume).unwrap();
    let options = node.options();
    let refused = lastcopy_store::restore_index(options, &backup).unwrap_err();
    assert!(matches!(refused, StoreError::Running { run } if run == Some(running.id())), "something runs: {refused}");
    drop(running);
    let newest = newest.get() + 1;
    close(&mut node);
    let (store, _, aside) = lastcopy_store::restore_index(node.options(), &backup).unwrap();
    assert!(aside.unwrap().is_file());
    let volume = store.open_volume("photos", &node.path("photos"), None).unwrap();
    assert_new_life(&store, &node, &vault, &volume, newest);
}

/// A copy was written under its final name from the first byte on: a backup that was killed left a file there that was no index, and the
/// next one refused to write over it. One through a link that leads nowhere was written to where the link leads.
#[test]
fn a_backup_gets_its_name_last_and_leaves_nothing_else() {
    let (node, _, _) = pushed();
    let dir = node.path("backups");
    fs::create_dir(&dir).unwrap();
    node.store.backup(&dir.join("whole.db")).unwrap();
    std::os::unix::fs::symlink(dir.join("elsewhere.db"), dir.join("link.db")).unwrap();
    assert!(matches!(node.store.backup(&dir.join("link.db")), Err(StoreError::Refused(_))), "a link's name is taken, too");
    assert!(node.store.backup(&dir.join("no/such/directory.db")).is_err());
    let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["link.db", "whole.db"]);
    lastcopy_store::check_copy(&dir.join("whole.db")).unwrap();
}

/// The configuration named the index through a link. What runs was looked for beside the link, not beside the index, and not found; and
/// the index was put where the link was.
#[test]
fn an_index_behind_a_link_is_restored_where_it_is() {
    let (mut node, volume, _) = pushed();
    let backup = node.path("backup.db");
    node.store.backup(&backup).unwrap();
    let link = node.path("link.db");
    std::os::unix::fs::symlink(node.index_file(), &link).unwrap();
    let options = || StoreOptions { path: link.clone(), ..node.options() };
    let running = node.store.begin_audit(&volume).unwrap();
    assert!(
        matches!(lastcopy_store::restore_index(options(), &backup), Err(StoreError::Running { run: Some(_) })),
        "something runs"
    );
    drop((running, volume));
    let elsewhere = StoreOptions { path: node.path("elsewhere/index.db"), ..node.options() };
    node.store = Store::open(elsewhere).unwrap().0;
    let (store, _, aside) = lastcopy_store::restore_index(StoreOptions { path: link.clone(), ..node.options() }, &backup).unwrap();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(store.path(), std::fs::canonicalize(node.index_file()).unwrap());
    assert_eq!(aside.unwrap().parent(), store.path().parent());
}

/// The log was moved aside first and the index after it: a crash between left an index without its last changes, or none at all. Now
/// the log is brought in, and the index keeps its name until the new one takes it.
#[test]
fn the_index_that_was_there_stays_whole() {
    use std::os::unix::fs::MetadataExt;
    let (mut node, volume, _) = pushed();
    let backup = node.path("backup.db");
    node.store.backup(&backup).unwrap();
    let newest = node.index(&volume, &[("b", "two")]);
    let log = node.path("state/index.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0, "the newest run is in the log");
    // Somebody else has it open, so that its log stays when this process closes it.
    let open_elsewhere = node.raw();
    open_elsewhere.query_row("SELECT count(*) FROM run", [], |_| Ok(())).unwrap();
    drop(volume);
    close(&mut node);
    assert!(log.exists());
    let inode = std::fs::metadata(node.index_file()).unwrap().ino();
    let (_, _, aside) = lastcopy_store::restore_index(node.options(), &backup).unwrap();
    drop(open_elsewhere);
    let aside = aside.unwrap();
    assert_eq!(std::fs::metadata(&aside).unwrap().ino(), inode, "it is the same file, under another name");
    let alone = node.path("alone.db");
    std::fs::copy(&aside, &alone).unwrap();
    let raw = rusqlite::Connection::open(&alone).unwrap();
    assert_eq!(raw.query_row("SELECT max(id) FROM run", [], |row| row.get::<_, i64>(0)).unwrap(), newest.get());
}

/// A process that had the index open when another one was put in its place went on in the old one, where nobody looks any more.
#[test]
fn nothing_begins_in_an_index_that_was_replaced() {
    let (node, volume, _) = pushed();
    let backup = node.path("backup.db");
    node.store.backup(&backup).unwrap();
    let (new, _, _) = lastcopy_store::restore_index(node.options(), &backup).unwrap();
    match node.store.begin_audit(&volume) {
        Err(lastcopy_store::BeginError::Store(StoreError::Refused(why))) => assert!(why.contains("another index"), "{why}"),
        other => panic!("{other:?}"),
    }
    let volume = new.open_volume("photos", &node.path("photos"), None).unwrap();
    new.begin_audit(&volume).unwrap().finish(&lastcopy_store::Outcome::Success, None).unwrap();
}

/// Even the newest backup is only believed to be stored: nobody knows what was lost between.
#[test]
fn restoring_the_newest_backup_begins_a_new_life_too() {
    let (mut node, volume, vault) = pushed();
    let backup = node.path("backup.db");
    node.store.backup(&backup).unwrap();
    let newest = node.store.runs(1).unwrap()[0].id.get();
    close(&mut node);
    let (store, _, _) = lastcopy_store::restore_index(node.options(), &backup).unwrap();
    assert_new_life(&store, &node, &vault, &store.open_volume(volume.name(), volume.path(), None).unwrap(), newest);
}

/// A damaged or foreign copy is refused before anything is touched.
#[test]
fn a_copy_that_is_no_index_is_refused() {
    let (node, _, _) = pushed();
    let backup = node.path("backup.db");
    node.store.backup(&backup).unwrap();
    let sound = std::fs::read(&backup).unwrap();
    let index = std::fs::read(node.index_file()).unwrap();

    let mut damaged = sound.clone();
    let middle = damaged.len() / 2 / 4096 * 4096;
    damaged[middle..middle + 8192].fill(0xff);
    for (name, bytes) in [("damaged", &damaged[..]), ("cut", &sound[..sound.len() / 2]), ("text", b"not an index"), ("empty", b"")]
    {
        std::fs::write(&backup, bytes).unwrap();
        assert!(lastcopy_store::check_copy(&backup).is_err(), "{name}");
        assert!(lastcopy_store::restore_index(node.options(), &backup).is_err(), "{name}");
        assert_eq!(std::fs::read(node.index_file()).unwrap(), index, "{name}");
    }
    assert!(matches!(lastcopy_store::check_copy(&node.path("nowhere")), Err(StoreError::NotFound(_))));
}

/// Ends the life of the open index, as the end of its process would.
fn close(node: &mut Node) {
    let elsewhere = StoreOptions { path: node.path("elsewhere/index.db"), ..node.options() };
    node.store = Store::open(elsewhere).unwrap().0;
}

/// Moves everything from the write-ahead log into the file, so that a copy of the file alone is whole.
fn checkpoint(node: &Node) {
    node.raw().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}
