//! Runs of a volume's hook: never twice at a time, and the first terminal status stays.

use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::ids::{HookRunId, RunId, Timestamp, VolumeId, text_enum};
use crate::store::{Store, random_id};
use lastcopy_fs::{LockFile, LockState};
use rusqlite::Transaction;

text_enum! {
    /// How a hook run stands.
    pub enum HookStatus {
        /// Not terminal.
        Running = "running",
        /// Exit status 0.
        Success = "success",
        /// Another exit status, or it could not be started.
        Failed = "failed",
        /// It took too long.
        Timeout = "timeout",
        /// Another run of the hook was still going on.
        Skipped = "skipped",
        /// The process that waited for it died.
        Aborted = "aborted",
    }
}

/// A hook run as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRecord {
    /// Its id.
    pub id: HookRunId,
    /// The index run that changed something.
    pub run: RunId,
    /// The volume, by name.
    pub volume: String,
    /// How it stands.
    pub status: HookStatus,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// What there is to say about it.
    pub detail: Option<String>,
}

/// The right to run a volume's hook once. Dropped without being finished, the next one finds it dead.
#[derive(Debug)]
#[must_use = "a hook run that is not finished is found dead by the next one"]
pub struct HookRun {
    store: Store,
    id: HookRunId,
    lock: Option<LockFile>,
}

impl Store {
    /// Begins a run of a volume's hook, unless one is alive: then the attempt is recorded as skipped.
    pub fn begin_hook(&self, run: RunId, volume: VolumeId) -> Result<Option<HookRun>> {
        let name = format!("{}.hook", random_id()?);
        let path = self.runs_dir().join(&name);
        let lock = LockFile::create(&path).map_err(StoreError::io(&path))?;
        let begun = self.write(|tx| {
            let alive = reap(self, tx, volume)?;
            let (status, ended) = if alive { (HookStatus::Skipped, Some(self.now())) } else { (HookStatus::Running, None) };
            tx.change(
                "INSERT INTO hook_run (run, volume, status, started_at, ended_at, liveness) VALUES (?, ?, ?, ?, ?, ?)",
                (run, volume, status, self.now(), ended, &name),
            )?;
            Ok((!alive).then_some(HookRunId(tx.last_insert_rowid())))
        });
        match begun {
            Ok(Some(id)) => Ok(Some(HookRun { store: self.clone(), id, lock: Some(lock) })),
            not_begun => {
                lock.remove().map_err(StoreError::io(&path))?;
                not_begun.map(|_| None)
            }
        }
    }

    /// Every hook run, newest first, at most `limit`.
    pub fn hook_runs(&self, limit: usize) -> Result<Vec<HookRecord>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT h.id, h.run, volume.name, h.status, h.started_at, h.ended_at, h.detail FROM hook_run h
                 JOIN volume ON volume.id = h.volume ORDER BY h.id DESC LIMIT ?",
            )?;
            let rows = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                Ok(HookRecord {
                    id: row.get(0)?,
                    run: row.get(1)?,
                    volume: row.get(2)?,
                    status: row.get(3)?,
                    started: row.get(4)?,
                    ended: row.get(5)?,
                    detail: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

/// Closes what died, and says whether one is alive.
fn reap(store: &Store, tx: &Transaction<'_>, volume: VolumeId) -> Result<bool> {
    let mut statement = tx.prepare_cached("SELECT id, liveness FROM hook_run WHERE volume = ? AND status = 'running'")?;
    let running = statement.query_map([volume], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut alive = false;
    for (id, liveness) in running.collect::<rusqlite::Result<Vec<(HookRunId, String)>>>()? {
        let path = store.runs_dir().join(liveness);
        // A hook holds no lock that a daemon could inherit, and it deletes nothing: a missing file is taken for dead here.
        if matches!(LockFile::try_take(&path).map_err(StoreError::io(&path))?, LockState::Held) {
            alive = true;
        } else {
            let update = "UPDATE hook_run SET status = 'aborted', ended_at = ? WHERE id = ?";
            tx.change(update, (store.now(), id))?;
        }
    }
    Ok(alive)
}

impl HookRun {
    /// Records how it ended. The first terminal status stays: a second one is refused.
    pub fn finish(mut self, status: HookStatus, detail: &str) -> Result<()> {
        self.store.write(|tx| {
            let update = "UPDATE hook_run SET status = ?, ended_at = ?, detail = ? WHERE id = ? AND status = 'running'";
            match tx.change(update, (status, self.store.now(), detail, self.id))? {
                1 => Ok(()),
                _ => Err(StoreError::Refused(format!("hook run {} has ended already", self.id))),
            }
        })?;
        let removed = self.lock.take().map_or(Ok(()), LockFile::remove);
        removed.map_err(StoreError::io(self.store.runs_dir()))
    }
}
