//! The index: a copy of one that is damaged, or that somebody changed, is refused, or it is whole and everything in it can be read.

use crate::arena::{directory, index_below, options};
use lastcopy_fs::{Cancel, NoProgress, RelPath};
use lastcopy_index::IndexOptions;
use lastcopy_store::{
    AtLeast, Confirm, DestinationKind, FileStatus, Incarnation, Method, Outcome, Policy, Store, StoreError, Timestamp, VolumeClaim,
    check_copy, restore_index,
};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

/// Damage to the file of an index: pieces of seven bytes, each an offset, what to do there, and with what.
pub fn index(bytes: &[u8]) {
    let mut copy = image().to_vec();
    for piece in bytes.chunks_exact(7) {
        let place = u32::from_le_bytes([piece[0], piece[1], piece[2], piece[3]]) as usize % copy.len().max(1);
        match piece[4] % 4 {
            0 => copy.iter_mut().skip(place).zip(&piece[5..]).for_each(|(byte, new)| *byte = *new),
            1 => copy.iter_mut().skip(place).take(usize::from(piece[6])).for_each(|byte| *byte = piece[5]),
            2 => copy.truncate(place),
            _ => copy.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= 1 << (piece[5] % 8)),
        }
    }
    let temp = directory();
    let file = temp.path().join("copy.db");
    std::fs::write(&file, copy).expect("a new file");
    refused_or_whole(temp.path(), &file);
}

/// Values that somebody wrote into rows: pieces of a column, a row, a kind, a length, and so many bytes.
pub fn row(bytes: &[u8]) {
    let temp = directory();
    let file = temp.path().join("copy.db");
    std::fs::write(&file, image()).expect("a new file");
    rewrite(&file, bytes).expect("SQLite takes what its own checks do not stop");
    refused_or_whole(temp.path(), &file);
}

/// A copy of an index in which there is something of everything, made by the code itself.
pub fn image() -> &'static [u8] {
    static IMAGE: OnceLock<Vec<u8>> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let temp = directory();
        let store = index_below(&temp.path().join("state"));
        let tree = temp.path().join("tree");
        std::fs::create_dir_all(tree.join("below")).expect("a new directory");
        for name in ["a", "b", "below/c"] {
            std::fs::write(tree.join(name), name).expect("a new file");
        }
        let volume = fill(&store, &tree);
        std::fs::remove_file(tree.join("b")).expect("it is there");
        let run = store.begin_index(&volume).expect("nothing else runs");
        lastcopy_index::index(run, &IndexOptions::default(), &Cancel::new(), &NoProgress, |_| "{}".into()).expect("an index run");
        let copy = temp.path().join("copy.db");
        store.backup(&copy).expect("a copy");
        std::fs::read(copy).expect("a copy")
    })
}

fn fill(store: &Store, tree: &Path) -> lastcopy_store::Volume {
    let (volume, run) = store.add_volume("tree", tree, VolumeClaim::default()).expect("a new volume");
    run.finish(&Outcome::Success, None).expect("a run that ends");
    let run = store.begin_index(&volume).expect("nothing else runs");
    let run_id = run.id();
    lastcopy_index::index(run, &IndexOptions::default(), &Cancel::new(), &NoProgress, |_| "{}".into()).expect("an index run");
    let hook = store.begin_hook(run_id, volume.id()).expect("a hook").expect("none is alive");
    hook.finish(lastcopy_store::HookStatus::Success, "succeeded").expect("a hook that ends");
    let record = store.register_destination("usb", DestinationKind::Cas).expect("a new destination");
    let incarnation = Incarnation::new("44444444444444444444444444444444");
    let run = store.begin_evidence_change(Some(record.id), None).expect("nothing else runs");
    run.initialised(record.id, &incarnation).expect("a first time");
    let probed = run.probed(record.id, Some(&incarnation)).expect("who was accepted");
    let ids = store.select_files(volume.id(), &[RelPath::root()], FileStatus::ALL).expect("a list");
    let files = store.files(&ids).expect("rows");
    let contents: Vec<_> = files.iter().map(|file| (file.content, lastcopy_store::Location::default())).collect();
    run.record_stored(&probed, &contents).expect("receipts");
    run.rolled_back(&probed, volume.id(), "for an alarm").expect("an alarm");
    run.finish(&Outcome::Success, None).expect("a run that ends");
    let policy = Policy {
        require: vec![record.id],
        at_least: Some(AtLeast { count: 1, of: vec![record.id] }),
        max_evidence_age_ms: 1000,
        confirm: Confirm::Quick,
        grace_ms: 0,
        methods: vec![Method::ReadBack],
        any_filesystem: false,
        domains: BTreeMap::from([(record.id, "desk".into())]),
        same_device: Vec::new(),
        unknown_device: Vec::new(),
    };
    store.accept_policy(volume.id(), &policy, "because").expect("a policy");
    volume
}

/// Writes values into rows with every guard of the schema away, and puts the guards back.
fn rewrite(file: &Path, bytes: &[u8]) -> rusqlite::Result<()> {
    let connection = Connection::open(file)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON;")?;
    let list = |sql: &str| -> rusqlite::Result<Vec<(String, String)>> {
        connection.prepare(sql)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let triggers = list("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY name")?;
    let columns = list(
        "SELECT t.name, c.name FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY t.name, c.cid",
    )?;
    triggers.iter().try_for_each(|(name, _)| connection.execute_batch(&format!("DROP TRIGGER {name}")))?;
    let mut rest = bytes;
    while let [column_low, column_high, row, kind, length, after @ ..] = rest {
        let (value, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let (table, column) = &columns[usize::from(u16::from_le_bytes([*column_low, *column_high])) % columns.len()];
        let number = value.iter().rev().fold(0_i64, |number, byte| number << 8 | i64::from(*byte));
        let value = match kind % 4 {
            0 => Value::Integer(number),
            1 => Value::Text(String::from_utf8_lossy(value).into_owned()),
            2 => Value::Blob(value.to_vec()),
            _ => Value::Null,
        };
        // Every row has a number, or a first column that is none; a value of another type than the column's is no value there.
        let sql = format!("UPDATE {table} SET {column} = ?1 WHERE ({column}) IN (SELECT {column} FROM {table} LIMIT 1 OFFSET ?2)");
        drop(connection.execute(&sql, params_from_iter([value, Value::Integer(i64::from(row % 8))])));
    }
    triggers.iter().try_for_each(|(_, sql)| connection.execute_batch(sql))
}

/// That a copy is refused, or is restored and read from end to end; and that looking at it leaves it alone.
fn refused_or_whole(dir: &Path, file: &Path) {
    let before = std::fs::read(file).expect("it was written just now");
    let answer = check_copy(file);
    assert!(std::fs::read(file).expect("it is still there") == before, "looking changed the copy");
    let left = || std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    assert_eq!(left().collect::<Vec<_>>(), [file.file_name().expect("a name")], "looking left something beside the copy");
    if answer.is_ok() {
        match restore_index(options(&dir.join("state/index.db")), file) {
            Ok((store, ..)) => read_everything(&store).unwrap_or_else(|error| assert!(is_refusal(&error), "{error:?}")),
            Err(error) => assert!(is_refusal(&error), "{error:?}"),
        }
    }
}

/// An index that is whole and says what it cannot say is damaged, and never anything else.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::Corrupt { .. } | StoreError::Newer { .. } | StoreError::Refused(_) | StoreError::NotFound(_))
}

fn read_everything(store: &Store) -> Result<(), StoreError> {
    let now = Timestamp(0);
    store.check()?;
    store.runs(100)?;
    store.running()?;
    store.hook_runs(100)?;
    store.alarms(false)?;
    store.evidence_log()?;
    store.duplicates()?;
    store.previous_epoch()?;
    for status in FileStatus::ALL {
        store.files_with_status(*status)?;
    }
    for destination in store.destinations()? {
        store.is_rolled_back(destination.id)?;
        store.count_receipts(destination.id)?;
        store.lost_at(destination.id)?;
        store.offloaded_depending_on(destination.id)?;
    }
    for volume in store.volumes()? {
        if let Some(accepted) = store.accepted_policy(volume.id)? {
            assert_eq!(accepted.policy.weaker_than(&accepted.policy), []);
        }
        store.followed_epoch(volume.id)?;
        store.survey_volume(volume.id)?;
        store.open_intents(volume.id)?;
        store.held(volume.id)?;
        let files = store.files(&store.select_files(volume.id, &[RelPath::root()], FileStatus::ALL)?)?;
        for file in files {
            store.file_history(volume.id, &file.path)?;
            store.files_with_content(file.content.hash)?;
            store.receipts_of(file.content_id)?;
        }
        for destination in store.destinations()? {
            store.known_heads(volume.id, destination.id)?;
            store.vector(volume.id, destination.id)?;
            store.survey_pair(volume.id, destination.id, now)?;
            store.last_push(volume.id, destination.id)?;
        }
    }
    Ok(())
}
