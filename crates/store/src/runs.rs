//! Runs: begun if clear, in one transaction; alive as long as their lock is held; closed once.

mod begin;
mod records;

pub use begin::BeginError;
pub use records::RunRecord;

use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::ids::{EpochId, RunId, Timestamp, text_enum};
use crate::store::{Store, next_seq};
use crate::volume::Volume;
use lastcopy_fs::{LockFile, LockState};
use rusqlite::{OptionalExtension, Transaction};
use std::cell::OnceCell;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};

text_enum! {
    /// How a run stands. The first terminal status that is written stays.
    pub enum RunStatus {
        /// Not terminal: somebody works on it, or died.
        Running = "running",
        /// All that was asked was done.
        Success = "success",
        /// Done, but something needs attention.
        Partial = "partial",
        /// An error ended it.
        Failed = "failed",
        /// A guard refused it.
        Refused = "refused",
        /// It was interrupted, or its process died.
        Aborted = "aborted",
    }
}

/// How the owner of a run ends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was done.
    Success,
    /// Done, but this needs attention.
    Partial(String),
    /// This error ended it.
    Failed(String),
    /// This guard refused to go on; nothing was changed.
    Refused(String),
    /// Stopped on request.
    Aborted,
}

impl Outcome {
    /// The terminal status it leads to.
    pub fn status(&self) -> RunStatus {
        match self {
            Self::Success => RunStatus::Success,
            Self::Partial(_) => RunStatus::Partial,
            Self::Failed(_) => RunStatus::Failed,
            Self::Refused(_) => RunStatus::Refused,
            Self::Aborted => RunStatus::Aborted,
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Self::Success => None,
            Self::Partial(text) | Self::Failed(text) | Self::Refused(text) => Some(text),
            Self::Aborted => Some("interrupted"),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A kind of run, as a type: what a run may record depends on what it is.
pub trait Kind: sealed::Sealed + Send + 'static {}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Kind for $name {}
    )*};
}

kinds! {
    /// Records what a walk found.
    Index,
    /// Compares, and raises alarms.
    Audit,
    /// Pushes one volume to one destination.
    Sync,
    /// Re-checks receipts.
    Verify,
    /// Makes files present.
    Restore,
    /// Moves files aside and deletes them.
    Offload,
    /// Changes what is believed of a destination.
    EvidenceChange,
}

/// A run in progress: the right to record what its kind may record. Dropped without being finished, it is closed as `aborted`.
///
/// Nothing writes on behalf of a run but through it, and each such transaction begins by checking that its row is still `running`.
#[derive(Debug)]
#[must_use = "a run that is dropped is recorded as aborted"]
pub struct Run<K: Kind> {
    store: Store,
    id: RunId,
    epoch: EpochId,
    volume: Option<Volume>,
    lock: Option<LockFile>,
    kind: PhantomData<fn() -> K>,
}

/// A transaction on behalf of a run that is still running.
pub(crate) struct Tx<'a> {
    pub(crate) sql: &'a Transaction<'a>,
    pub(crate) run: RunId,
    pub(crate) epoch: EpochId,
    pub(crate) now: Timestamp,
    seq: OnceCell<i64>,
}

impl Tx<'_> {
    /// This transaction's place in the order of changes, taken when first asked for.
    pub(crate) fn seq(&self) -> Result<i64> {
        if let Some(seq) = self.seq.get() {
            return Ok(*seq);
        }
        let seq = next_seq(self.sql)?;
        Ok(*self.seq.get_or_init(|| seq))
    }
}

impl Store {
    /// Closes a run from outside, on a person's word. Its owner, if it lives, can record nothing more.
    pub fn abort_run(&self, id: RunId) -> Result<RunRecord> {
        let lock = self.write(|tx| {
            let running = "SELECT liveness FROM run WHERE id = ? AND status = 'running'";
            let lock: Option<String> = tx.row(running, [id], |row| row.get(0)).optional()?;
            if lock.is_some() {
                close(tx, id, RunStatus::Aborted, Some("closed by hand"), None, self.now())?;
            }
            Ok(lock)
        })?;
        let record = self.run_record(id)?;
        match lock {
            // A live owner still holds the lock of its file, and removes it itself.
            Some(lock) => {
                let path = self.runs_dir().join(lock);
                if let LockState::Free(lock) = LockFile::try_take(&path).map_err(StoreError::io(&path))? {
                    lock.remove().map_err(StoreError::io(&path))?;
                }
                Ok(record)
            }
            None => Err(StoreError::Refused(format!("run {id} is not running: it ended as `{}`", record.status))),
        }
    }
}

impl<K: Kind> Run<K> {
    /// Its id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// The index it belongs to.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The volume it touches.
    pub fn volume(&self) -> Option<&Volume> {
        self.volume.as_ref()
    }

    /// The lock by which others know that it lives. A child that transfers must inherit it; a hook must not.
    pub fn liveness(&self) -> Option<BorrowedFd<'_>> {
        self.lock.as_ref().map(AsFd::as_fd)
    }

    /// One transaction on behalf of this run: refused once the run was closed, by whomever.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.store.write(|sql| {
            require_running(sql, self.id)?;
            work(&Tx { sql, run: self.id, epoch: self.epoch, now: self.store.now(), seq: OnceCell::new() })
        })
    }

    /// Whether the run still may record anything; for long work that is between two transactions.
    pub fn still_running(&self) -> Result<()> {
        self.store.read(|sql| require_running(sql, self.id))
    }

    /// Closes the run. `summary` is what the command tells of it, as JSON.
    pub fn finish(self, outcome: &Outcome, summary: Option<&str>) -> Result<()> {
        self.finish_with(outcome, summary, |_| Ok(()))
    }

    /// Closes the run together with a last change, in one transaction.
    pub(crate) fn finish_with<T>(
        self,
        outcome: &Outcome,
        summary: Option<&str>,
        last: impl FnOnce(&Tx<'_>) -> Result<T>,
    ) -> Result<T> {
        self.finish_summed(outcome, last, |_| summary.map(str::to_owned))
    }

    /// The same, where the summary tells of that last change.
    pub(crate) fn finish_summed<T>(
        mut self,
        outcome: &Outcome,
        last: impl FnOnce(&Tx<'_>) -> Result<T>,
        summary: impl FnOnce(&T) -> Option<String>,
    ) -> Result<T> {
        let value = self.write(|tx| {
            let value = last(tx)?;
            tx.seq()?;
            close(tx.sql, self.id, outcome.status(), outcome.error(), summary(&value).as_deref(), tx.now)?;
            Ok(value)
        })?;
        self.leave()?;
        Ok(value)
    }

    /// After the row is terminal: removes the lock, and mirrors how far the index has come.
    fn leave(&mut self) -> Result<()> {
        let removed = self.lock.take().map_or(Ok(()), LockFile::remove);
        let witness = self.store.write_own_witness()?;
        self.mirror(&witness);
        removed.map_err(StoreError::io(self.store.runs_dir()))
    }

    fn mirror(&self, witness: &crate::witness::Witness) {
        if let Some(volume) = &self.volume {
            // The same fact was just made durable beside the index; a full or read-only volume must not stop an offload.
            drop(self.store.mirror_own(witness, volume));
        }
        drop(self.store.mirror_elsewhere(witness, self.volume.as_ref().map(Volume::id)));
    }
}

impl<K: Kind> Drop for Run<K> {
    fn drop(&mut self) {
        if self.lock.is_none() {
            return;
        }
        let id = self.id;
        let closed = self.write(|tx| {
            tx.seq()?;
            close(tx.sql, id, RunStatus::Aborted, Some("interrupted"), None, tx.now)
        });
        // If even that fails, the lock goes with this process, and the next begin reaps the run.
        if closed.is_ok() {
            drop(self.leave());
        }
    }
}

fn require_running(sql: &Transaction<'_>, run: RunId) -> Result<()> {
    let status: RunStatus = sql.prepare_cached("SELECT status FROM run WHERE id = ?")?.query_row([run], |row| row.get(0))?;
    match status {
        RunStatus::Running => Ok(()),
        other => Err(StoreError::RunEnded { run, status: other.name().to_owned() }),
    }
}

fn close(
    sql: &Transaction<'_>,
    run: RunId,
    status: RunStatus,
    error: Option<&str>,
    summary: Option<&str>,
    now: Timestamp,
) -> Result<()> {
    // What a run noted together with what it recorded stays, however it ends.
    let update =
        "UPDATE run SET status = ?, ended_at = ?, error = ?, summary = ifnull(?, summary) WHERE id = ? AND status = 'running'";
    match sql.change(update, (status, now, error, summary, run))? {
        1 => Ok(()),
        _ => require_running(sql, run),
    }
}

/// Closes, as aborted, every run whose lock can be taken: whoever held it is dead, and every child that inherited it, too.
///
/// The locks are handed out: their files go once the transaction is durable, so that no row is left without one.
fn reap(store: &Store, sql: &Transaction<'_>, now: Timestamp, dead: &mut Vec<LockFile>) -> Result<()> {
    let mut statement = sql.prepare_cached("SELECT id, liveness FROM run WHERE status = 'running'")?;
    let running = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for (id, liveness) in running.collect::<rusqlite::Result<Vec<(RunId, String)>>>()? {
        let path = store.runs_dir().join(&liveness);
        // A missing file proves nothing: it may have been deleted under a live owner. `runs abort` is for that.
        if let LockState::Free(lock) = LockFile::try_take(&path).map_err(StoreError::io(&path))? {
            close(sql, id, RunStatus::Aborted, Some("its process ended without closing it"), None, now)?;
            dead.push(lock);
        }
    }
    Ok(())
}

fn remove_locks(dead: Vec<LockFile>) -> Result<()> {
    dead.into_iter().try_for_each(LockFile::remove).map_err(StoreError::io("the lock file of a run that ended"))
}
