//! What must not change when something is refused: every byte of volumes and destinations, the configuration, and what the index says.

use crate::home::Home;
use crate::tree::{Tree, read_tree};
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every table that says something, but runs and their order: a refused run is recorded, so that the audit trail shows the attempt.
const TABLES: [&str; 17] = [
    "epoch",
    "volume",
    "content",
    "file",
    "snapshot",
    "snapshot_horizon",
    "horizon",
    "exclusion",
    "vector",
    "receipt",
    "evidence_log",
    "head",
    "withheld",
    "policy",
    "alarm",
    "hook_run",
    "intent",
];

/// Everything that a test can see of a home.
#[derive(PartialEq, Eq)]
pub(crate) struct Still {
    volumes: Tree,
    destinations: Tree,
    config: Vec<u8>,
    index: BTreeMap<&'static str, Vec<String>>,
}

impl Home {
    /// The home as it is now.
    pub(crate) fn still(&self) -> Still {
        Still {
            volumes: read_tree(&self.path("volumes")),
            destinations: read_tree(&self.path("destinations")),
            config: fs::read(self.config()).unwrap_or_default(),
            index: rows(&self.index()),
        }
    }

    /// That the home is as it was.
    #[track_caller]
    pub(crate) fn assert_still(&self, before: &Still) {
        let now = self.still();
        for (what, now, before) in
            [("volumes", &now.volumes, &before.volumes), ("destinations", &now.destinations, &before.destinations)]
        {
            // Two files of a volume are ours, and tell how far the index has come.
            let theirs = |tree: &Tree| -> Tree {
                let ours = |path: &Path| path.ends_with(".lastcopy/newest-run.json");
                tree.iter().filter(|(path, _)| !ours(path)).map(|(path, entry)| (path.clone(), entry.clone())).collect()
            };
            let (now, before) = (theirs(now), theirs(before));
            let changed = |path: &&std::path::PathBuf| now.get(*path) != before.get(*path);
            let mut changes: Vec<_> = now.keys().filter(changed).chain(before.keys().filter(changed)).collect();
            changes.dedup();
            assert!(changes.is_empty(), "changed in the {what}: {changes:?}");
        }
        assert!(now.config == before.config, "the configuration changed");
        for table in TABLES {
            assert_eq!(now.index.get(table), before.index.get(table), "the index changed in table {table}");
        }
    }

    /// The index, to be changed behind the program's back.
    pub(crate) fn database(&self) -> Connection {
        Connection::open(self.index()).unwrap()
    }
}

fn rows(index: &Path) -> BTreeMap<&'static str, Vec<String>> {
    if !index.exists() {
        return BTreeMap::new();
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(index, flags).unwrap();
    let all = |table: &'static str| {
        let mut statement = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns = statement.column_count();
        let text = |row: &rusqlite::Row<'_>| (0..columns).map(|column| row.get::<_, Value>(column)).collect::<Result<Vec<_>, _>>();
        let rows = statement.query_map([], |row| text(row).map(|values| format!("{values:?}"))).unwrap();
        (table, rows.map(Result::unwrap).collect())
    };
    TABLES.into_iter().map(all).collect()
}
