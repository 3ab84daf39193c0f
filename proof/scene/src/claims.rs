//! What the index claims, read from a copy of it as it lies, by SQLite alone.

use crate::{Result, SceneError};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// An object that a destination is said to be proven to hold, by the destination's name and in hex.
pub type Proven = (String, String);

/// What an index claims, or what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// Live receipts of stores that count as proofs.
    pub proven: BTreeSet<Proven>,
    /// Why it cannot be believed at all.
    pub unsound: Option<String>,
}

impl Claims {
    /// Reads those of an index. Where there is none, nothing is claimed. A copy is made in `scratch`: what opens an index recovers it, and
    /// this one is to be judged as it lies.
    pub fn read(index: &Path, scratch: &Path) -> Result<Self> {
        if !index.is_file() {
            return Ok(Self::default());
        }
        let copy = tempfile::tempdir_in(scratch).map_err(SceneError::at(scratch))?;
        for suffix in ["", "-wal"] {
            let mut from = index.as_os_str().to_owned();
            from.push(suffix);
            if Path::new(&from).is_file() {
                fs::copy(&from, copy.path().join(format!("index.db{suffix}"))).map_err(SceneError::at(Path::new(&from)))?;
            }
        }
        let read = Connection::open(copy.path().join("index.db")).and_then(|index| claims(&index));
        Ok(read.unwrap_or_else(|error| Self { unsound: Some(error.to_string()), ..Self::default() }))
    }
}

fn claims(index: &Connection) -> rusqlite::Result<Claims> {
    let whole: String = index.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    let foreign: i64 = index.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0))?;
    if whole != "ok" || foreign > 0 {
        return Ok(Claims { unsound: Some(format!("{whole}, and {foreign} rows refer to none")), ..Claims::default() });
    }
    let receipts = "SELECT d.name, lower(hex(c.blake3)) FROM receipt r
        JOIN destination d ON d.id = r.destination JOIN content c ON c.id = r.content
        WHERE d.kind = 'cas' AND r.level = 'verified' AND r.lost_at IS NULL AND r.incarnation = d.incarnation";
    // One that is just being made has no tables yet.
    let made = index.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'receipt'", [], |row| row.get::<_, i64>(0))?;
    let proven = match made {
        0 => BTreeSet::new(),
        _ => index.prepare(receipts)?.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<rusqlite::Result<_>>()?,
    };
    Ok(Claims { proven, unsound: None })
}
