//! Opening an index that is not as it should be: refused with what is wrong, and left as it was.

use crate::support::{Node, observe};
use lastcopy_store::{DestinationKind, Outcome, Store, StoreError, StoreOptions};
use rusqlite::ffi;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A closed index, and the bytes of its file.
fn closed() -> (Node, Vec<u8>) {
    let mut node = Node::new();
    let volume = node.volume("photos");
    let files: Vec<_> = (0..2000).map(|number| (format!("file {number}"), format!("text {number}"))).collect();
    let run = node.store.begin_index(&volume).unwrap();
    observe(&run, &files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
    run.finish(&Outcome::Success, None).unwrap();
    node.raw().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    let elsewhere = StoreOptions { path: node.path("elsewhere/index.db"), ..node.options() };
    drop(volume);
    node.store = Store::open(elsewhere).unwrap().0;
    let bytes = std::fs::read(node.index_file()).unwrap();
    (node, bytes)
}

#[track_caller]
fn assert_corrupt(node: &Node, name: &str) {
    match Store::open(node.options()) {
        Err(StoreError::Corrupt { .. }) => {}
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn what_is_no_index_is_refused_and_left_alone() {
    let (node, _) = closed();
    let file = node.index_file();
    std::fs::write(
        &file,
        "this is a letter, not a database; it is long enough to have a header of its own, and it must be left as it is",
    )
    .unwrap();
    let text = std::fs::read(&file).unwrap();
    assert_corrupt(&node, "text");
    assert_eq!(std::fs::read(&file).unwrap(), text);

    std::fs::remove_file(&file).unwrap();
    rusqlite::Connection::open(&file).unwrap().execute_batch("CREATE TABLE song (title TEXT)").unwrap();
    assert_corrupt(&node, "another program's database");
    let titles: i64 =
        rusqlite::Connection::open(&file).unwrap().query_row("SELECT count(*) FROM song", [], |row| row.get(0)).unwrap();
    assert_eq!(titles, 0, "still the other program's");
}

/// Damage in the middle of the file is not seen at once; `db check` finds it, and what stumbles over it says so.
#[test]
fn damage_is_found_by_a_check() {
    let (node, bytes) = closed();
    let mut damaged = bytes.clone();
    for page in (bytes.len() / 3 / 4096)..(bytes.len() / 2 / 4096) {
        damaged[page * 4096..][..4096].fill(0xa5);
    }
    std::fs::write(node.index_file(), &damaged).unwrap();
    let checked = Store::open(node.options()).and_then(|(store, _)| store.check());
    match checked {
        Ok(wrong) => assert!(!wrong.is_empty(), "a third of its pages is rubbish"),
        Err(StoreError::Corrupt { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
    std::fs::write(node.index_file(), &bytes[..bytes.len() / 2]).unwrap();
    let checked = Store::open(node.options()).and_then(|(store, _)| store.check());
    assert!(checked.is_err() || checked.is_ok_and(|wrong| !wrong.is_empty()), "half of it is gone");
    std::fs::write(node.index_file(), &bytes).unwrap();
    assert_eq!(node.again().0.check().unwrap(), Vec::<String>::new());
}

/// What SQLite cannot see, because each row by itself is legal, the check knows from the model.
#[test]
fn a_check_knows_what_the_rows_must_say() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    assert_eq!(node.store.check().unwrap(), Vec::<String>::new());
    let raw = node.raw();
    raw.pragma_update(None, "foreign_keys", "OFF").unwrap();
    raw.execute("UPDATE vector SET component = 1000", []).unwrap();
    raw.execute("UPDATE file SET status = 'quarantined', until_seq = 99", []).unwrap();
    raw.execute("INSERT INTO reliance (volume, node, given_at) VALUES (77, 77, 0)", []).unwrap();
    let wrong = node.store.check().unwrap().join("\n");
    for expected in ["vectors above the newest run", "quarantined files that no open intent knows", "of reliance refers to nothing"]
    {
        assert!(wrong.contains(expected), "{expected} in:\n{wrong}");
    }
}

/// Only the history of migrations was compared: a copy from which the guards of the history were taken, or to which something was added,
/// passed for a whole one.
#[test]
fn a_changed_schema_is_damage() {
    for change in ["DROP TRIGGER file_stays", "DROP INDEX intent_path", "CREATE TRIGGER x AFTER INSERT ON run BEGIN SELECT 1; END"]
    {
        let node = Node::new();
        let copy = node.path("copy.db");
        node.store.backup(&copy).unwrap();
        lastcopy_store::check_copy(&copy).unwrap();
        rusqlite::Connection::open(&copy).unwrap().execute_batch(change).unwrap();
        let error = lastcopy_store::check_copy(&copy).unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt { detail } if detail.contains("is not as it was made")), "{change}: {error}");
        node.raw().execute_batch(change).unwrap();
        assert_eq!(node.store.check().unwrap().len(), 1, "{change}");
    }
}

/// An index that was copied as it lay is no copy that `VACUUM INTO` made: to look at it, SQLite began a log beside it, and left that there.
/// Where its log was copied with it, the log is a part of it.
#[test]
fn a_copy_of_the_files_is_looked_at_and_left_alone() {
    let node = Node::new();
    let dir = node.path("copies");
    std::fs::create_dir(&dir).unwrap();
    let (alone, linked) = (dir.join(OsStr::from_bytes(b"alone ?%41#\xff.db")), dir.join("link"));
    std::os::unix::fs::symlink(&alone, &linked).unwrap();
    let left = || std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect::<BTreeSet<_>>();
    node.raw().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    std::fs::copy(node.index_file(), &alone).unwrap();
    let before = left();
    lastcopy_store::check_copy(&alone).unwrap();
    lastcopy_store::check_copy(&linked).unwrap();
    assert_eq!(left(), before);

    node.store.register_destination("only the log knows", DestinationKind::Cas).unwrap();
    let mut log = node.index_file().into_os_string();
    log.push("-wal");
    std::fs::copy(log, dir.join(OsStr::from_bytes(b"alone ?%41#\xff.db-wal"))).unwrap();
    let options = StoreOptions { path: node.path("elsewhere/index.db"), ..node.options() };
    let (store, ..) = lastcopy_store::restore_index(options, &linked).unwrap();
    assert!(store.destination_record("only the log knows").unwrap().is_some());
}

/// SQLite does not look at the constraints of columns in a file that it may only read, as a copy is: one with a row that broke them took the
/// place of the index.
#[test]
fn a_copy_whose_rows_break_the_constraints_is_not_restored() {
    let node = Node::new();
    let copy = node.path("copy.db");
    node.store.backup(&copy).unwrap();
    let raw = rusqlite::Connection::open(&copy).unwrap();
    let broken = "PRAGMA ignore_check_constraints = ON; INSERT INTO evidence_log (at, event) VALUES (0, 'miracle');";
    raw.execute_batch(broken).unwrap();
    drop(raw);
    let path = node.path("elsewhere/index.db");
    let options =
        StoreOptions { path: path.clone(), node_name: "desk".into(), clock: lastcopy_store::system_clock(), create: true };
    let error = lastcopy_store::restore_index(options, &copy).unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { detail } if detail.contains("evidence_log")), "{error}");
    assert!(!path.exists(), "it was put in place");
}

#[test]
fn an_index_of_a_newer_version_is_refused() {
    let (node, bytes) = closed();
    let raw = rusqlite::Connection::open(node.index_file()).unwrap();
    let insert = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (999, 'later', '', '1')";
    raw.execute(insert, []).unwrap();
    drop(raw);
    let newer = std::fs::read(node.index_file()).unwrap();
    assert_ne!(newer, bytes);
    match Store::open(node.options()) {
        Err(StoreError::Newer { found: 999, known }) => assert!(known < 999),
        other => panic!("{other:?}"),
    }
    assert!(matches!(lastcopy_store::check_copy(&node.index_file()), Err(StoreError::Newer { .. })));
    assert_eq!(std::fs::read(node.index_file()).unwrap(), newer);
}

/// A migration that was edited after an index had been made by it means another schema under the same number. Comparing the numbers
/// alone took such an index for an up-to-date one.
#[test]
fn an_index_made_by_another_migration_of_the_same_number_is_refused() {
    let (node, _) = closed();
    let raw = rusqlite::Connection::open(node.index_file()).unwrap();
    assert_eq!(raw.execute("UPDATE refinery_schema_history SET checksum = '1' WHERE version = 1", []).unwrap(), 1);
    drop(raw);
    assert_corrupt(&node, "another migration");
    assert!(matches!(lastcopy_store::check_copy(&node.index_file()), Err(StoreError::Corrupt { .. })));
}

#[test]
fn without_create_nothing_is_made() {
    let node = Node::new();
    let options = StoreOptions { path: node.path("nowhere/index.db"), create: false, ..node.options() };
    assert!(matches!(Store::open(options), Err(StoreError::NotFound(_))));
    assert!(!node.path("nowhere").exists());
}

/// Two that find no index at the same moment make one node together.
#[test]
fn two_that_make_an_index_at_once_make_one() {
    let node = Node::new();
    for round in 0..10 {
        let options = || StoreOptions { path: node.path(&format!("{round}/index.db")), ..node.options() };
        let line = std::sync::Barrier::new(2);
        let open = || {
            line.wait();
            Store::open(options()).unwrap().0.node()
        };
        let nodes = std::thread::scope(|scope| {
            let other = scope.spawn(open);
            [open(), other.join().unwrap()]
        });
        assert_eq!(nodes[0], nodes[1]);
    }
}

/// Every failure of SQLite that a person can do something about has a name of its own.
#[test]
fn failures_of_sqlite_have_names() {
    let named = |code| match StoreError::from(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)) {
        StoreError::Corrupt { .. } => "corrupt",
        StoreError::Locked => "locked",
        StoreError::Full => "full",
        StoreError::ReadOnly { .. } => "read-only",
        StoreError::Failing { .. } => "failing",
        StoreError::Sqlite(_) => "other",
        _ => "unexpected",
    };
    let cases = [
        (ffi::SQLITE_CORRUPT, "corrupt"),
        (ffi::SQLITE_NOTADB, "corrupt"),
        (ffi::SQLITE_BUSY, "locked"),
        (ffi::SQLITE_BUSY_SNAPSHOT, "locked"),
        (ffi::SQLITE_LOCKED, "locked"),
        (ffi::SQLITE_FULL, "full"),
        (ffi::SQLITE_READONLY, "read-only"),
        (ffi::SQLITE_CANTOPEN, "read-only"),
        (ffi::SQLITE_PERM, "read-only"),
        (ffi::SQLITE_IOERR, "failing"),
        (ffi::SQLITE_CONSTRAINT, "other"),
    ];
    for (code, expected) in cases {
        assert_eq!(named(code), expected, "code {code}");
    }
}

/// A walk must not open our own files: closing a descriptor of the database drops SQLite's locks.
#[test]
fn own_files_are_named_for_the_walk() {
    let node = Node::new();
    let volume = node.volume("photos");
    let _running = node.store.begin_index(&volume).unwrap();
    let own = node.store.own_files().unwrap();
    let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(node.path(name)).unwrap());
    for name in ["state/index.db", "state/index.db-wal", "state/index.db-shm", "state/index.db.lock", "state/index.db.runs"] {
        assert!(own.iter().any(|stat| stat.inode == inode(name)), "{name}");
    }
}

/// The schema is a reference of its own: every table is strict.
#[test]
fn every_table_is_strict() {
    let schema = Node::new().store.schema().unwrap();
    let tables = schema.matches("CREATE TABLE").count();
    assert!(tables > 15);
    assert_eq!(schema.matches("STRICT").count(), tables, "a table is not strict");
}
