//! Runs as recorded, for people and for whoever asks what runs.

use super::{RunStatus, reap, remove_locks};
use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::gate::RunKind;
use crate::ids::{RunId, Timestamp};
use crate::store::Store;
use rusqlite::OptionalExtension;

/// A run as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// What it does.
    pub kind: RunKind,
    /// The volume it touches, by name.
    pub volume: Option<String>,
    /// The destination it touches, by name.
    pub destination: Option<String>,
    /// How it stands.
    pub status: RunStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Host and process, for people.
    pub owner: String,
    /// Why it did not succeed.
    pub error: Option<String>,
    /// Its counts, as the command printed them.
    pub summary: Option<String>,
    /// The run that stood in its way.
    pub blocked_by: Option<RunId>,
    /// How often it was tried, where a refusal repeated itself.
    pub attempts: i64,
}

impl Store {
    /// One run.
    pub fn run_record(&self, id: RunId) -> Result<RunRecord> {
        self.read(|tx| {
            let row = tx.row(&format!("{RECORD} WHERE run.id = ?"), [id], run_record).optional()?;
            row.ok_or_else(|| StoreError::NotFound(format!("there is no run {id}")))
        })
    }

    /// The newest runs, newest first, at most `limit`.
    pub fn runs(&self, limit: usize) -> Result<Vec<RunRecord>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&format!("{RECORD} ORDER BY run.id DESC LIMIT ?"))?;
            let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], run_record)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The newest run of a kind on a volume and a destination.
    pub fn newest_run_of(&self, kind: RunKind, volume: Option<&str>, destination: Option<&str>) -> Result<Option<RunRecord>> {
        let sql = format!(
            "{RECORD} WHERE run.kind = ?1 AND (?2 IS NULL OR volume.name = ?2) AND (?3 IS NULL OR destination.name = ?3)
             ORDER BY run.id DESC LIMIT 1"
        );
        self.read(|tx| Ok(tx.row(&sql, (kind, volume, destination), run_record).optional()?))
    }

    /// Whether anything runs, after reaping what died.
    pub fn running(&self) -> Result<Vec<RunRecord>> {
        let mut dead = Vec::new();
        let running = self.write(|tx| {
            reap(self, tx, self.now(), &mut dead)?;
            let mut statement = tx.prepare_cached(&format!("{RECORD} WHERE run.status = 'running' ORDER BY run.id"))?;
            let rows = statement.query_map([], run_record)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })?;
        remove_locks(dead)?;
        Ok(running)
    }
}

const RECORD: &str = "SELECT run.id, run.kind, volume.name, destination.name, run.status, run.started_at, run.ended_at, run.owner,
    run.error, run.summary, run.blocked_by, run.attempts FROM run
    LEFT JOIN volume ON volume.id = run.volume LEFT JOIN destination ON destination.id = run.destination";

fn run_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRecord> {
    Ok(RunRecord {
        id: row.get(0)?,
        kind: row.get(1)?,
        volume: row.get(2)?,
        destination: row.get(3)?,
        status: row.get(4)?,
        started: row.get(5)?,
        ended: row.get(6)?,
        owner: row.get(7)?,
        error: row.get(8)?,
        summary: row.get(9)?,
        blocked_by: row.get(10)?,
        attempts: row.get(11)?,
    })
}
