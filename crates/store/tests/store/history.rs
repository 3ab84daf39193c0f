//! History stays (I10): what is append-only refuses to be changed or deleted, whoever tries it.

use crate::support::{Node, Push, head, observe, rel, requiring};
use lastcopy_store::{FileStatus, IntentState, Leaving, Location, Outcome, Settled, Timestamp};

/// A node in whose index every table has a row.
fn lived_in() -> Node {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("b", "two"), ("c", "three")]);
    node.index(&volume, &[("a", "four")]);
    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|path| *path != rel("c"));
    let c = node.store.file_at(volume.id(), &rel("c")).unwrap().unwrap();
    push.run.exclude(c.id, "its name cannot be stored").unwrap();
    push.run.announce(&push.probed, &head(1, push.run.id()), &[c.id]).unwrap();
    push.run.lost(&push.probed, node.content("two"), &Location::default(), "gone").unwrap();
    push.finish();
    let volume = node.under_policy("photos", &requiring(&[&vault]));
    let offload = node.store.begin_offload(&volume).unwrap();
    let b = node.store.file_at(volume.id(), &rel("b")).unwrap().unwrap();
    let leaving = [Leaving { file: b.id, device: 1, inode: b.seen.inode }];
    let intent = offload.quarantine(&leaving, &[vault.id], &|_, _| Some("[]".into())).unwrap()[0].unwrap();
    offload.settle(intent, Settled::Gone).unwrap();
    let hook = node.store.begin_hook(offload.id(), volume.id()).unwrap().unwrap();
    hook.finish(lastcopy_store::HookStatus::Success, "").unwrap();
    offload.finish(&Outcome::Success, None).unwrap();
    let run = node.store.begin_verify(vault.id, None).unwrap();
    assert!(run.probed(vault.id, None).is_err());
    run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    node
}

/// One row of each is tried with raw SQL on a connection of its own, and the row is still there, unchanged.
#[test]
fn rows_that_say_what_was_are_neither_changed_nor_deleted() {
    let node = lived_in();
    let raw = node.raw();
    let attempts = [
        ("content", "UPDATE content SET size = size + 1"),
        ("content", "DELETE FROM content"),
        ("epoch", "UPDATE epoch SET reason = 'another'"),
        ("epoch", "DELETE FROM epoch"),
        ("volume", "DELETE FROM volume"),
        ("run", "DELETE FROM run"),
        ("run", "UPDATE run SET status = 'failed' WHERE status = 'success'"),
        ("run", "UPDATE run SET kind = 'audit'"),
        ("run", "UPDATE run SET started_at = started_at + 1"),
        ("directory", "UPDATE directory SET path = x'6162'"),
        ("directory", "DELETE FROM directory"),
        ("file", "DELETE FROM file"),
        ("file", "UPDATE file SET content = content + 1"),
        ("file", "UPDATE file SET size = size + 1"),
        ("file", "UPDATE file SET mtime_ns = 7"),
        ("file", "UPDATE file SET present_since = present_since - 1"),
        ("file", "UPDATE file SET since_seq = since_seq + 1"),
        ("file", "UPDATE file SET until_seq = until_seq + 1 WHERE until_seq IS NOT NULL"),
        ("file", "UPDATE file SET status = 'present', until_seq = NULL WHERE status = 'superseded'"),
        ("file", "UPDATE file SET status = 'present', until_seq = NULL WHERE status = 'missing'"),
        ("snapshot", "UPDATE snapshot SET seq = seq + 1"),
        ("snapshot", "DELETE FROM snapshot"),
        ("snapshot_horizon", "UPDATE snapshot_horizon SET component = component + 1"),
        ("snapshot_horizon", "DELETE FROM snapshot_horizon"),
        ("exclusion", "UPDATE exclusion SET reason = 'another'"),
        ("exclusion", "DELETE FROM exclusion"),
        ("head", "DELETE FROM head"),
        ("receipt", "DELETE FROM receipt"),
        ("evidence_log", "UPDATE evidence_log SET reason = 'another'"),
        ("evidence_log", "DELETE FROM evidence_log"),
        ("policy", "UPDATE policy SET terms = '{}'"),
        ("policy", "DELETE FROM policy"),
        ("alarm", "UPDATE alarm SET detail = 'nothing' WHERE ended_at IS NOT NULL"),
        ("alarm", "DELETE FROM alarm"),
        ("hook_run", "UPDATE hook_run SET status = 'failed'"),
        ("hook_run", "DELETE FROM hook_run"),
        ("intent", "UPDATE intent SET state = 'deleting'"),
        ("intent", "DELETE FROM intent"),
    ];
    for (table, sql) in attempts {
        let before = dump(&raw, table);
        assert!(!before.is_empty(), "{table} has no row to try it with");
        let done = raw.execute(sql, []);
        assert_eq!(dump(&raw, table), before, "{sql}: {done:?}");
        assert!(done.is_err(), "{sql} did nothing, but was not refused either");
    }
    assert_eq!(node.store.check().unwrap(), Vec::<String>::new());
}

/// All rows of a table, as text.
fn dump(raw: &rusqlite::Connection, table: &str) -> Vec<String> {
    let mut statement = raw.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = statement.column_count();
    let row = |row: &rusqlite::Row<'_>| {
        let cells = (0..columns).map(|column| format!("{:?}", row.get_ref(column).unwrap()));
        Ok(cells.collect::<Vec<_>>().join(" "))
    };
    statement.query_map([], row).unwrap().map(Result::unwrap).collect()
}

/// Types are types, and every reference refers to something.
#[test]
fn the_schema_takes_no_nonsense() {
    let node = lived_in();
    let raw = node.raw();
    for sql in [
        "INSERT INTO content (blake3, size) VALUES (x'00', 1)",
        "INSERT INTO content (blake3, size) VALUES (randomblob(32), -1)",
        "INSERT INTO content (blake3, size) VALUES (randomblob(32), 'many')",
        "INSERT INTO content (blake3, size) SELECT blake3, size FROM content",
        "UPDATE state SET seq = -1",
        "INSERT INTO state (id, seq, run_floor) VALUES (2, 0, 0)",
        "INSERT INTO node (uuid, name, is_self) VALUES (randomblob(16), 'another self', 1)",
        "INSERT INTO run (epoch, kind, status, started_at, owner, liveness) VALUES (99, 'index', 'running', 0, '', '')",
        "INSERT INTO run (epoch, kind, status, started_at, owner, liveness) VALUES (1, 'guess', 'running', 0, '', '')",
        "INSERT INTO run (epoch, kind, status, started_at, owner, liveness) VALUES (1, 'index', 'success', 0, '', '')",
        "INSERT INTO run (epoch, kind, status, started_at, ended_at, owner, liveness) VALUES (1, 'index', 'running', 0, 1, '', '')",
        "UPDATE receipt SET verified_at = NULL WHERE level = 'verified'",
        "UPDATE receipt SET level = 'certain'",
        "UPDATE file SET until_seq = NULL WHERE status = 'missing'",
        "UPDATE intent SET state = 'gone'",
    ] {
        assert!(raw.execute(sql, []).is_err(), "{sql}");
    }
}

/// Everything ever recorded at a path is still told: what it held, and since when.
#[test]
fn every_content_of_a_path_is_remembered() {
    let node = Node::new();
    let volume = node.volume("photos");
    let runs = [("one"), ("two"), ("three")].map(|word| node.index(&volume, &[("a", word)]));
    let gone = node.index_gone(&volume, "a");
    let history = node.store.file_history(volume.id(), &rel("a")).unwrap();
    let told: Vec<_> = history.iter().map(|file| (file.status, file.present_since, file.status_run)).collect();
    assert_eq!(
        told,
        [
            (FileStatus::Missing, runs[2], gone),
            (FileStatus::Superseded, runs[1], runs[2]),
            (FileStatus::Superseded, runs[0], runs[1]),
        ]
    );
    let back = node.index(&volume, &[("a", "three")]);
    let history = node.store.file_history(volume.id(), &rel("a")).unwrap();
    assert_eq!((history[0].status, history[0].present_since), (FileStatus::Present, back));
    assert_eq!((history[1].status, history.len()), (FileStatus::Superseded, 4));
}

/// What an offload left is settled once; what it does not say is not made up.
#[test]
fn an_intent_is_settled_once() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let since = node.index(&volume, &[("a", "one"), ("b", "two"), ("c", "three")]);
    let volume = node.under_policy("photos", &requiring(&[&vault]));
    let offload = node.store.begin_offload(&volume).unwrap();
    let at = |path: &str| node.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
    let leaving = ["a", "b", "c"].map(|path| Leaving { file: at(path).id, device: 1, inode: 1 });
    let intents = offload.quarantine(&leaving, &[vault.id], &|_, _| Some("[]".into())).unwrap();
    let [a, b, c] = [0, 1, 2].map(|place: usize| intents[place].unwrap());
    assert_eq!(at("a").status, FileStatus::Quarantined);
    assert_eq!(offload.begin_deletion(&[a], &[vault.id], &|_, _| None).unwrap(), [false], "refused by the decision");
    assert_eq!(offload.begin_deletion(&[a], &[vault.id], &|_, _| Some("[]".into())).unwrap(), [true]);
    offload.offloaded(&[a]).unwrap();
    offload.settle(b, Settled::PutBack(at("b").seen)).unwrap();
    // Its bytes are gone, though nobody had begun to delete it.
    offload.settle(c, Settled::Gone).unwrap();
    let states = || node.store.intents_of(offload.id()).unwrap().into_iter().map(|intent| intent.state).collect::<Vec<_>>();
    let settled = [IntentState::Offloaded, IntentState::PutBack, IntentState::Missing];
    assert_eq!(states(), settled);
    let statuses = || ["a", "b", "c"].map(|path| at(path).status);
    assert_eq!(statuses(), [FileStatus::Offloaded, FileStatus::Present, FileStatus::Missing]);
    assert_eq!(at("b").present_since, since, "put back by the run that moved it, as if nothing had happened");

    for intent in [a, b, c] {
        for again in [Settled::Gone, Settled::Kept, Settled::PutBack(at("b").seen)] {
            offload.settle(intent, again).unwrap();
        }
    }
    assert_eq!(states(), settled);
    assert_eq!(statuses(), [FileStatus::Offloaded, FileStatus::Present, FileStatus::Missing]);
    assert_eq!(node.store.open_intents(volume.id()).unwrap(), []);
}

/// A path that became something else while its file was aside is nobody's to put back over.
#[test]
fn what_was_put_back_by_another_run_is_present_anew() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let since = node.index(&volume, &[("a", "one")]);
    let volume = node.under_policy("photos", &requiring(&[&vault]));
    let offload = node.store.begin_offload(&volume).unwrap();
    let at = || node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
    let leaving = [Leaving { file: at().id, device: 1, inode: 1 }];
    let intent = offload.quarantine(&leaving, &[vault.id], &|_, _| Some("[]".into())).unwrap()[0].unwrap();
    offload.hold(&[intent], Timestamp(node.store.now().0 + 10)).unwrap();
    offload.finish(&Outcome::Success, None).unwrap();
    assert_eq!(node.store.held(volume.id()).unwrap().0, 1);

    let offload = node.store.begin_offload(&volume).unwrap();
    assert_eq!(
        offload.begin_deletion(&[intent], &[vault.id], &|_, _| Some("[]".into())).unwrap(),
        [false],
        "its grace is not over"
    );
    offload.finish(&Outcome::Success, None).unwrap();

    let restore = node.store.begin_restore(Some(&volume)).unwrap();
    restore.settle(intent, Settled::PutBack(at().seen)).unwrap();
    let back = restore.id();
    restore.finish(&Outcome::Success, None).unwrap();
    assert_eq!((at().status, at().present_since), (FileStatus::Present, back));
    assert_ne!(back, since);

    // What an index found at the path in between stays, and the row that was aside is over.
    let offload = node.store.begin_offload(&volume).unwrap();
    let leaving = [Leaving { file: at().id, device: 1, inode: 1 }];
    let intent = offload.quarantine(&leaving, &[vault.id], &|_, _| Some("[]".into())).unwrap()[0].unwrap();
    offload.finish(&Outcome::Failed("cut short".into()), None).unwrap();
    let index = node.store.begin_index(&volume).unwrap();
    observe(&index, &[("a", "two")]);
    index.settle(intent, Settled::Kept).unwrap();
    index.finish(&Outcome::Success, None).unwrap();
    assert_eq!((at().status, at().content_id), (FileStatus::Present, node.content("two")));
    assert_eq!(node.store.check().unwrap(), Vec::<String>::new());
}
