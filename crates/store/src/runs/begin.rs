//! How a run begins: if nothing contradicts it, and in one transaction with what it begins on.

use super::{
    Audit, EvidenceChange, Index, Kind, Offload, Restore, Run, RunRecord, RunStatus, Sync, Tx, Verify, reap, remove_locks,
};
use crate::db::Cached;
use crate::destination::DestinationRecord;
use crate::error::{Result, StoreError};
use crate::gate::{Activity, DestinationKind, RunKind, Touches};
use crate::ids::{DestinationId, EpochId, RunId, Timestamp, VolumeId};
use crate::policy::{Policy, Weakening, accept_stricter, weakenings};
use crate::snapshot::{self, Snapshot};
use crate::store::{Store, current_epoch, newest_run, random_id};
use crate::volume::Volume;
use lastcopy_fs::LockFile;
use rusqlite::{OptionalExtension, Transaction};
use std::cell::OnceCell;
use std::fmt::Write as _;
use std::marker::PhantomData;

/// Why a run cannot begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BeginError {
    /// Another run contradicts it; the attempt is recorded.
    #[error("{} contradicts run {} ({}), run by {}", wanted.name(), by.id, by.kind, by.owner)]
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
                let weakenings = weakenings(sql, volume.id(), policy)?;
                if !weakenings.is_empty() {
                    let why = "the offload policy is weaker than the one accepted";
                    return Ok(Decision::Weaker(record_refused(sql, epoch, touches, None, why, now)?, weakenings));
                }
            }
            let run = insert(sql, epoch, touches, RunStatus::Running, &name, now)?;
            if let Some(volume) = volume {
                accept_stricter(sql, volume, now)?;
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
}

impl Touches {
    fn volume(activity: Activity, volume: &Volume) -> Self {
        Self { activity, volume: Some(volume.id()), destination: None, requires: Vec::new() }
    }
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
