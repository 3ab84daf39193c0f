//! Durability vectors: per (volume, destination), how far each node's changes are durable there. They filter; receipts decide (I6).

use crate::db::Cached;
use crate::destination::{lower_receipts, raise_generation};
use crate::error::{Result, StoreError};
use crate::ids::{DestinationId, EpochId, RunId, Timestamp, VolumeId, text_enum};
use crate::runs::{EvidenceChange, Run, Tx};
use crate::store::{Store, current_epoch};
use rusqlite::{OptionalExtension, Transaction};
use std::collections::BTreeMap;

/// A version vector as people and JSON see it: node name → run, of each node's newest epoch in it.
pub type Vector = BTreeMap<String, RunId>;

text_enum! {
    /// What happened to evidence.
    pub enum EvidenceEvent {
        /// A push moved a component up.
        Advance = "advance",
        /// A person moved a component down.
        Rewind = "rewind",
        /// A person took all evidence for unproven.
        Reset = "reset",
        /// A person accepted who answers.
        Adopt = "adopt",
        /// A destination was made.
        Init = "init",
        /// The index began a new life.
        Epoch = "epoch",
        /// A destination was found to have gone back.
        Rollback = "rollback",
        /// Lost objects were stored again.
        Repair = "repair",
    }
}

/// An entry of the append-only evidence log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidenceEntry {
    /// When.
    pub at: Timestamp,
    /// By which run.
    pub run: Option<RunId>,
    /// What.
    pub event: EvidenceEvent,
    /// Of which volume.
    pub volume: Option<String>,
    /// At which destination.
    pub destination: Option<String>,
    /// The component before.
    pub before: Option<RunId>,
    /// The component after.
    pub after: Option<RunId>,
    /// The destination's generation after.
    pub generation: Option<i64>,
    /// A person's reason, or the index's.
    pub reason: Option<String>,
}

pub(crate) fn component(
    tx: &Transaction<'_>,
    volume: VolumeId,
    destination: DestinationId,
    epoch: EpochId,
) -> Result<Option<RunId>> {
    let find = "SELECT component FROM vector WHERE volume = ? AND destination = ? AND epoch = ?";
    Ok(tx.prepare_cached(find)?.query_row((volume, destination, epoch), |row| row.get(0)).optional()?)
}

/// Moves a component up, with an entry in the log.
pub(crate) fn write(
    tx: &Tx<'_>,
    volume: VolumeId,
    destination: DestinationId,
    epoch: EpochId,
    before: Option<RunId>,
    after: RunId,
) -> Result<()> {
    tx.sql.change(
        "INSERT INTO vector (volume, destination, epoch, component, advanced_by) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET component = ?4, advanced_by = ?5",
        (volume, destination, epoch, after, tx.run),
    )?;
    log(tx, EvidenceEvent::Advance, volume, destination, epoch, before, Some(after), None, None)
}

fn log(
    tx: &Tx<'_>,
    event: EvidenceEvent,
    volume: VolumeId,
    destination: DestinationId,
    epoch: EpochId,
    before: Option<RunId>,
    after: Option<RunId>,
    generation: Option<i64>,
    reason: Option<&str>,
) -> Result<()> {
    tx.sql.change(
        "INSERT INTO evidence_log (at, run, event, volume, destination, epoch, before, after, generation, reason)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (tx.now, tx.run, event, volume, destination, epoch, before, after, generation, reason),
    )?;
    Ok(())
}

pub(crate) fn of_pair(tx: &Transaction<'_>, volume: VolumeId, destination: DestinationId) -> Result<Vector> {
    let sql =
        "SELECT node.name, vector.component FROM vector JOIN epoch ON epoch.id = vector.epoch JOIN node ON node.id = epoch.node
         WHERE volume = ? AND destination = ? ORDER BY epoch.id";
    named(tx, sql, (volume, destination))
}

pub(crate) fn of_snapshot(tx: &Transaction<'_>, run: RunId) -> Result<Vector> {
    let sql =
        "SELECT node.name, h.component FROM snapshot_horizon h JOIN epoch ON epoch.id = h.epoch JOIN node ON node.id = epoch.node
         WHERE h.run = ? ORDER BY epoch.id";
    named(tx, sql, [run])
}

fn named(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> Result<Vector> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Of several epochs of one node the newest stands last, and stays.
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Store {
    /// The vector of a pair.
    pub fn vector(&self, volume: VolumeId, destination: DestinationId) -> Result<Vector> {
        self.read(|tx| of_pair(tx, volume, destination))
    }

    /// The own component of a pair in the current epoch: what the gate reads.
    pub fn own_component(&self, volume: VolumeId, destination: DestinationId) -> Result<Option<RunId>> {
        self.read(|tx| component(tx, volume, destination, current_epoch(tx)?.0))
    }

    /// The evidence log, oldest first.
    pub fn evidence_log(&self) -> Result<Vec<EvidenceEntry>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT e.at, e.run, e.event, volume.name, destination.name, e.before, e.after, e.generation, e.reason
                 FROM evidence_log e LEFT JOIN volume ON volume.id = e.volume
                 LEFT JOIN destination ON destination.id = e.destination ORDER BY e.id",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(EvidenceEntry {
                    at: row.get(0)?,
                    run: row.get(1)?,
                    event: row.get(2)?,
                    volume: row.get(3)?,
                    destination: row.get(4)?,
                    before: row.get(5)?,
                    after: row.get(6)?,
                    generation: row.get(7)?,
                    reason: row.get(8)?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

impl Run<EvidenceChange> {
    /// Moves the own component of a pair down, on a person's word. What was proven since falls back to `stored`. Never up.
    pub fn rewind(&self, volume: VolumeId, destination: DestinationId, to: RunId, reason: &str) -> Result<()> {
        self.write(|tx| {
            let before = component(tx.sql, volume, destination, tx.epoch)?;
            let Some(current) = before else {
                return Err(StoreError::Refused("there is no evidence to rewind: the vector has no component of this node".into()));
            };
            if to >= current {
                return Err(StoreError::Refused(format!("evidence stands at run {current}: it can only be rewound below that")));
            }
            if to <= RunId(0) {
                tx.sql.change(
                    "DELETE FROM vector WHERE volume = ? AND destination = ? AND epoch = ?",
                    (volume, destination, tx.epoch),
                )?;
                lower_receipts(tx, destination)?;
            } else {
                tx.sql.change(
                    "UPDATE vector SET component = ?, advanced_by = ? WHERE volume = ? AND destination = ? AND epoch = ?",
                    (to, tx.run, volume, destination, tx.epoch),
                )?;
                let lower = "UPDATE receipt SET level = 'stored' WHERE destination = ? AND level = 'verified' AND run > ?";
                tx.sql.change(lower, (destination, to))?;
            }
            let generation = raise_generation(tx, destination)?;
            let after = (to > RunId(0)).then_some(to);
            log(tx, EvidenceEvent::Rewind, volume, destination, tx.epoch, before, after, Some(generation), Some(reason))
        })
    }
}
