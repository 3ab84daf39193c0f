//! Runs: begun if clear, in one transaction; alive as long as their lock is held; closed once.

use crate::db::Cached;
use crate::destination::DestinationRecord;
use crate::error::{Result, StoreError};
use crate::gate::{Activity, DestinationKind, RunKind, Touches};
use crate::ids::{DestinationId, EpochId, RunId, Timestamp, VolumeId, text_enum};
use crate::policy::{Policy, Weakening};
use crate::snapshot::{self, Snapshot};
use crate::store::{Store, current_epoch, newest_run, next_seq, random_id};
use crate::volume::Volume;
use lastcopy_fs::{LockFile, LockState};
use rusqlite::{OptionalExtension, Transaction};
use std::cell::OnceCell;
use std::fmt::Write as _;
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

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// Another run contradicts it; the attempt is recorded.
    #[error("{} contradicts run {} ({}), running since {}", wanted.name(), by.id, by.kind, by.owner)]
    Blocked {
        /// What wanted to begin.
        wanted: RunKind,
        /// The run in the way.
        by: Box<RunRecord>,
        /// The refused run that was recorded.
        refused: RunId,
    },
    /// The configured offload policy is weaker than the accepted one (I7); the attempt is recorded.
    #[error("the offload policy of volume `{volume}` is weaker than the one accepted")]
    PolicyWeaker {
        /// The volume.
        volume: String,
        /// In what.
        weakenings: Vec<Weakening>,
        /// The refused run that was recorded.
        refused: RunId,
    },
    /// The configuration gives the volume no offload policy.
    #[error("volume `{volume}` has no offload policy")]
    NoPolicy {
        /// The volume.
        volume: String,
    },
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for BeginError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

type Begun<T> = std::result::Result<T, BeginError>;

/// What the begin transaction decided.
enum Decision<T> {
    Begun(RunId, EpochId, T),
    Blocked(RunId, RunId),
    Weaker(RunId, Vec<Weakening>),
}

impl Store {
    /// Begins an index run.
    pub fn begin_index(&self, volume: &Volume) -> Begun<Run<Index>> {
        Ok(self.begin(&Touches::volume(Activity::Index, volume), Some(volume), None, |_| Ok(()))?.0)
    }

    /// Begins an audit.
    pub fn begin_audit(&self, volume: &Volume) -> Begun<Run<Audit>> {
        Ok(self.begin(&Touches::volume(Activity::Audit, volume), Some(volume), None, |_| Ok(()))?.0)
    }

    /// Begins a push, and takes its snapshot in the same transaction.
    pub fn begin_sync(&self, volume: &Volume, destination: &DestinationRecord) -> Begun<(Run<Sync>, Snapshot)> {
        let touches = Touches { destination: Some(destination.id), ..Touches::volume(Activity::Sync(destination.kind), volume) };
        let (run, taken) = self.begin(&touches, Some(volume), None, |tx| snapshot::take(tx, volume.id(), destination.id))?;
        let snapshot = Snapshot::new(self.clone(), run.id, volume.id(), destination.id, taken);
        Ok((run, snapshot))
    }

    /// Begins a verify of a destination, scoped to a volume where one is given.
    pub fn begin_verify(&self, destination: DestinationId, volume: Option<&Volume>) -> Begun<Run<Verify>> {
        let touches = Touches {
            activity: Activity::Verify,
            volume: volume.map(Volume::id),
            destination: Some(destination),
            requires: Vec::new(),
        };
        Ok(self.begin(&touches, volume, None, |_| Ok(()))?.0)
    }

    /// Begins a restore: into a volume, or, without one, to somewhere else.
    pub fn begin_restore(&self, volume: Option<&Volume>) -> Begun<Run<Restore>> {
        let touches =
            Touches { activity: Activity::Restore, volume: volume.map(Volume::id), destination: None, requires: Vec::new() };
        Ok(self.begin(&touches, volume, None, |_| Ok(()))?.0)
    }

    /// Begins an offload under the volume's configured policy, unless that one is weaker than the one accepted last (I7).
    pub fn begin_offload(&self, volume: &Volume) -> Begun<Run<Offload>> {
        let policy = volume.configured_policy().ok_or_else(|| BeginError::NoPolicy { volume: volume.name().to_owned() })?;
        let touches = Touches { requires: policy.counted(), ..Touches::volume(Activity::Offload, volume) };
        Ok(self.begin(&touches, Some(volume), Some(policy), |_| Ok(()))?.0)
    }

    /// Begins an evidence change, on a destination and perhaps scoped to a volume.
    pub fn begin_evidence_change(&self, destination: Option<DestinationId>, volume: Option<&Volume>) -> Begun<Run<EvidenceChange>> {
        let touches =
            Touches { activity: Activity::EvidenceChange, volume: volume.map(Volume::id), destination, requires: Vec::new() };
        Ok(self.begin(&touches, volume, None, |_| Ok(()))?.0)
    }

    /// Begins a run if nothing contradicts it. Decided and recorded in one transaction, with whatever `also` adds to it.
    fn begin<K: Kind, T>(
        &self,
        touches: &Touches,
        volume: Option<&Volume>,
        policy: Option<&Policy>,
        also: impl FnOnce(&Tx<'_>) -> Result<T>,
    ) -> Begun<(Run<K>, T)> {
        let name = format!("{}.lock", random_id()?);
        let path = self.runs_dir().join(&name);
        // Before its row is written, so that no other process ever sees the one without the other.
        let lock = LockFile::create(&path).map_err(StoreError::io(&path))?;
        let mut dead = Vec::new();
        let decision = self.write(|sql| {
            self.require_in_place()?;
            let now = self.now();
            reap(self, sql, now, &mut dead)?;
            let (epoch, _) = current_epoch(sql)?;
            if let Some(blocking) = first_blocking(sql, touches)? {
                return Ok(Decision::Blocked(record_refused(sql, epoch, touches, Some(blocking), "busy", now)?, blocking));
            }
            if let (Some(volume), Some(policy)) = (volume, policy) {
                let weakenings = crate::policy::weakenings(sql, volume.id(), policy)?;
                if !weakenings.is_empty() {
                    let why = "the offload policy is weaker than the one accepted";
                    return Ok(Decision::Weaker(record_refused(sql, epoch, touches, None, why, now)?, weakenings));
                }
            }
            let run = insert(sql, epoch, touches, RunStatus::Running, &name, now)?;
            if let Some(volume) = volume {
                crate::policy::accept_stricter(sql, volume, now)?;
            }
            let tx = Tx { sql, run, epoch, now, seq: OnceCell::new() };
            tx.seq()?;
            let added = also(&tx)?;
            Ok(Decision::Begun(run, epoch, added))
        });
        if decision.is_ok() {
            remove_locks(dead)?;
        }
        let (id, epoch, added) = match decision {
            Ok(Decision::Begun(id, epoch, added)) => (id, epoch, added),
            not_begun => {
                lock.remove().map_err(StoreError::io(&path))?;
                return Err(match not_begun? {
                    Decision::Blocked(refused, by) => {
                        let by = Box::new(self.run_record(by)?);
                        BeginError::Blocked { wanted: touches.activity.kind(), by, refused }
                    }
                    Decision::Weaker(refused, weakenings) => {
                        let volume = volume.map_or_else(String::new, |volume| volume.name().to_owned());
                        BeginError::PolicyWeaker { volume, weakenings, refused }
                    }
                    Decision::Begun(..) => StoreError::impossible("a run that began and did not").into(),
                });
            }
        };
        let run = Run { store: self.clone(), id, epoch, volume: volume.cloned(), lock: Some(lock), kind: PhantomData };
        run.store.write_own_witness().map(|witness| run.mirror(&witness))?;
        Ok((run, added))
    }

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

impl Touches {
    fn volume(activity: Activity, volume: &Volume) -> Self {
        Self { activity, volume: Some(volume.id()), destination: None, requires: Vec::new() }
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
    let update = "UPDATE run SET status = ?, ended_at = ?, error = ?, summary = ? WHERE id = ? AND status = 'running'";
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

/// The first running run that contradicts the one that wants to begin.
fn first_blocking(sql: &Transaction<'_>, wanted: &Touches) -> Result<Option<RunId>> {
    let mut statement = sql.prepare_cached(
        "SELECT run.id, run.kind, run.volume, run.destination, destination.kind FROM run
         LEFT JOIN destination ON destination.id = run.destination WHERE run.status = 'running' ORDER BY run.id",
    )?;
    type Row = (RunId, RunKind, Option<VolumeId>, Option<DestinationId>, Option<DestinationKind>);
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?;
    for (id, kind, volume, destination, destination_kind) in rows.collect::<rusqlite::Result<Vec<Row>>>()? {
        let activity = Activity::recorded(kind, destination_kind)
            .ok_or_else(|| StoreError::impossible(format!("run {id} is a sync without a destination")))?;
        let mut required = sql.prepare_cached("SELECT destination FROM run_requires WHERE run = ?")?;
        let requires = required.query_map([id], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        if wanted.blocked_by(&Touches { activity, volume, destination, requires }) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn insert(
    sql: &Transaction<'_>,
    epoch: EpochId,
    touches: &Touches,
    status: RunStatus,
    liveness: &str,
    now: Timestamp,
) -> Result<RunId> {
    let id = RunId(newest_run(sql)?.0 + 1);
    let ended = (status != RunStatus::Running).then_some(now);
    sql.change(
        "INSERT INTO run (id, epoch, kind, volume, destination, status, started_at, ended_at, owner, liveness)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (id, epoch, touches.activity.kind(), touches.volume, touches.destination, status, now, ended, owner(), liveness),
    )?;
    for destination in &touches.requires {
        sql.change("INSERT OR IGNORE INTO run_requires (run, destination) VALUES (?, ?)", (id, destination))?;
    }
    Ok(id)
}

/// Records a refused attempt. One that is refused again for the same reason, with nothing of its kind in between, is counted.
fn record_refused(
    sql: &Transaction<'_>,
    epoch: EpochId,
    touches: &Touches,
    by: Option<RunId>,
    why: &str,
    now: Timestamp,
) -> Result<RunId> {
    let repeated = "UPDATE run SET attempts = attempts + 1 WHERE status = 'refused' AND blocked_by IS ?5 AND error = ?4 AND id =
        (SELECT max(id) FROM run WHERE kind = ?1 AND volume IS ?2 AND destination IS ?3) RETURNING id";
    let same = (touches.activity.kind(), touches.volume, touches.destination, why, by);
    if let Some(id) = sql.row(repeated, same, |row| row.get(0)).optional()? {
        return Ok(id);
    }
    let id = RunId(newest_run(sql)?.0 + 1);
    sql.change(
        "INSERT INTO run (id, epoch, kind, volume, destination, status, started_at, ended_at, owner, liveness, error, blocked_by)
         VALUES (?1, ?2, ?3, ?4, ?5, 'refused', ?6, ?6, ?7, '', ?8, ?9)",
        (id, epoch, touches.activity.kind(), touches.volume, touches.destination, now, owner(), why, by),
    )?;
    Ok(id)
}

/// Host and process, for people. Decides nothing.
fn owner() -> String {
    let mut owner = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "this host".into());
    owner.truncate(owner.trim_end().len());
    // Writing to a string cannot fail.
    let _infallible = write!(owner, " pid {}", std::process::id());
    owner
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
