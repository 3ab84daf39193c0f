//! Destinations: who they are, who they were accepted to be, and who answered last.

use crate::alarms::{self, AlarmKind};
use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::gate::DestinationKind;
use crate::ids::{DestinationId, RunId, Timestamp, VolumeId};
use crate::runs::{EvidenceChange, Kind, Run, Sync, Tx};
use crate::store::{Store, random_id};
use lastcopy_fs::Id128;
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The identity of the actual repository behind a destination's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(String);

impl Incarnation {
    /// As the destination told it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the index records of a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationRecord {
    /// Its row.
    pub id: DestinationId,
    /// The id that `init` writes there.
    pub uuid: Id128,
    /// Its name in the configuration.
    pub name: String,
    /// Its kind.
    pub kind: DestinationKind,
    /// Who was accepted, by init or adopt.
    pub incarnation: Option<Incarnation>,
    /// Who answered last.
    pub answered: Option<Incarnation>,
    /// Raised by every rewind, reset and adopt.
    pub generation: i64,
    /// When its name was first seen.
    pub registered_at: Timestamp,
}

/// That a destination answered, during this run, as the one whose evidence is in the index. Receipts and claims need it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    pub(crate) destination: DestinationId,
    pub(crate) incarnation: Incarnation,
    pub(crate) run: RunId,
}

impl Probed {
    /// An answer that was given to another run says nothing of who answers now (I3).
    pub(crate) fn require_of(&self, run: RunId) -> Result<()> {
        if self.run == run {
            return Ok(());
        }
        Err(StoreError::Refused(format!("the destination answered run {}: run {run} has to ask it itself", self.run)))
    }

    /// The destination.
    pub fn destination(&self) -> DestinationId {
        self.destination
    }

    /// Who answered.
    pub fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }
}

/// Who answered is not who was accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Nobody was ever accepted under this name.
    #[error("the destination was never initialised")]
    NeverInitialised,
    /// Another repository answers.
    #[error("another repository answers: {answered} instead of {accepted}")]
    Changed {
        /// Who was accepted.
        accepted: Incarnation,
        /// Who answers.
        answered: Incarnation,
    },
    /// The repository is gone from where it was.
    #[error("there is no repository any more where {accepted} was")]
    Gone {
        /// Who was accepted.
        accepted: Incarnation,
    },
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The destination of a configured name, noted with an id of its own when it is first seen.
    pub fn register_destination(&self, name: &str, kind: DestinationKind) -> Result<DestinationRecord> {
        if let Some(record) = self.destination_record(name)? {
            if record.kind != kind {
                return Err(StoreError::Refused(format!(
                    "destination `{name}` is known as kind `{}`, not `{kind}`: give the new one another name",
                    record.kind
                )));
            }
            return Ok(record);
        }
        let uuid = random_id()?;
        self.write(|tx| {
            let insert = "INSERT OR IGNORE INTO destination (uuid, name, kind, registered_at) VALUES (?, ?, ?, ?)";
            tx.change(insert, (uuid.0, name, kind, self.now()))?;
            by_name(tx, name)?.ok_or_else(|| StoreError::impossible("a destination that was inserted is not there"))
        })
    }

    /// A destination by name.
    pub fn destination_record(&self, name: &str) -> Result<Option<DestinationRecord>> {
        self.read(|tx| by_name(tx, name))
    }

    /// A destination by the id that it carries.
    pub fn destination_by_uuid(&self, uuid: Id128) -> Result<Option<DestinationRecord>> {
        self.read(|tx| Ok(tx.row(&format!("{RECORD} WHERE uuid = ?"), [uuid.0], record).optional()?))
    }

    /// A destination by its row.
    pub fn destination(&self, id: DestinationId) -> Result<DestinationRecord> {
        self.read(|tx| by_id(tx, id))
    }

    /// Every destination ever seen, by name.
    pub fn destinations(&self) -> Result<Vec<DestinationRecord>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&format!("{RECORD} ORDER BY name"))?;
            let rows = statement.query_map([], record)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }
}

impl<K: Kind> Run<K> {
    /// Records who answered a probe of this run. Only the accepted one gets a [`Probed`]; anything else raises an alarm, which a
    /// later probe that finds the accepted one ends.
    pub fn probed(&self, destination: DestinationId, answer: Option<&Incarnation>) -> Result<Probed, IdentityError> {
        self.write(|tx| {
            let accepted = by_id(tx.sql, destination)?.incarnation;
            let Some(accepted) = accepted else { return Ok(Err(IdentityError::NeverInitialised)) };
            if let Some(answer) = answer {
                let update = "UPDATE destination SET answered = ?1 WHERE id = ?2 AND answered IS NOT ?1";
                tx.sql.change(update, (answer.as_str(), destination))?;
            }
            let error = match answer {
                Some(answer) if *answer == accepted => {
                    alarms::end(tx, AlarmKind::IdentityChanged, alarms::Subject::destination(destination))?;
                    return Ok(Ok(Probed { destination, incarnation: accepted, run: tx.run }));
                }
                Some(answer) => IdentityError::Changed { accepted, answered: answer.clone() },
                None => IdentityError::Gone { accepted },
            };
            let subject = alarms::Subject::destination(destination);
            alarms::raise(tx, AlarmKind::IdentityChanged, subject, &error.to_string())?;
            Ok(Err(error))
        })?
    }
}

impl Run<Sync> {
    /// Who answers at the end of a push is not who answered at its beginning, and between the two nobody knows who did: what this run
    /// took for proven is to be proven again.
    pub fn unproven(&self, probed: &Probed) -> Result<()> {
        self.write(|tx| {
            // As if they had never been: a move that one of them was to prove is counted again.
            let lower = "UPDATE receipt SET level = 'stored', verified_at = NULL
                 WHERE destination = ? AND run = ? AND level = 'verified'";
            tx.sql.change(lower, (probed.destination, tx.run))?;
            Ok(())
        })
    }
}

impl Run<EvidenceChange> {
    /// Records that `init` made this repository, or found that it had been made by an earlier, interrupted init.
    pub fn initialised(&self, destination: DestinationId, incarnation: &Incarnation) -> Result<()> {
        self.write(|tx| {
            let record = by_id(tx.sql, destination)?;
            if let Some(accepted) = record.incarnation
                && accepted != *incarnation
            {
                return Err(StoreError::Refused(format!("destination `{}` is {accepted} already", record.name)));
            }
            accept(tx, destination, incarnation)?;
            log(tx, "init", destination, record.generation, None)
        })
    }

    /// Accepts who answers, on a person's word: another incarnation, another node's repository, or one that was known under a name
    /// no longer configured. All evidence falls back to unproven.
    pub fn adopt(&self, destination: DestinationId, incarnation: &Incarnation, uuid: Option<Id128>, reason: &str) -> Result<()> {
        self.write(|tx| {
            if let Some(uuid) = uuid {
                take_identity(tx, destination, uuid)?;
            }
            let destination = match uuid {
                Some(uuid) => by_uuid(tx.sql, uuid)?.id,
                None => destination,
            };
            accept(tx, destination, incarnation)?;
            alarms::end(tx, AlarmKind::IdentityChanged, alarms::Subject::destination(destination))?;
            forget(tx, "adopt", destination, reason)
        })
    }

    /// Takes all evidence of a destination for unproven, on a person's word. One that is surely gone is forgotten: it may be
    /// initialised anew, under another id, so that nothing proven of the old one is ever taken for the new one's.
    pub fn reset(&self, destination: DestinationId, reason: &str, gone: bool) -> Result<()> {
        let uuid = random_id()?;
        self.write(|tx| {
            forget(tx, "reset", destination, reason)?;
            if gone {
                let update = "UPDATE destination SET incarnation = NULL, answered = NULL, uuid = ? WHERE id = ?";
                tx.sql.change(update, (uuid.0, destination))?;
                alarms::end(tx, AlarmKind::IdentityChanged, alarms::Subject::destination(destination))?;
            }
            Ok(())
        })
    }
}

/// Lets the row of `destination`'s name stand for the repository with this id. If another row carries that id already, that one,
/// with all its evidence, gets the name.
fn take_identity(tx: &Tx<'_>, destination: DestinationId, uuid: Id128) -> Result<()> {
    let here = by_id(tx.sql, destination)?;
    if here.uuid == uuid {
        return Ok(());
    }
    let known: Option<DestinationId> =
        tx.sql.row("SELECT id FROM destination WHERE uuid = ?", [uuid.0], |row| row.get(0)).optional()?;
    match known {
        Some(known) => {
            let retired = format!("{} (until run {})", here.name, tx.run);
            tx.sql.change("UPDATE destination SET name = ? WHERE id = ?", (retired, destination))?;
            tx.sql.change("UPDATE destination SET name = ? WHERE id = ?", (here.name, known))?;
        }
        None => {
            tx.sql.change("UPDATE destination SET uuid = ? WHERE id = ?", (uuid.0, destination))?;
        }
    }
    Ok(())
}

fn accept(tx: &Tx<'_>, destination: DestinationId, incarnation: &Incarnation) -> Result<()> {
    let update = "UPDATE destination SET incarnation = ?1, answered = ?1 WHERE id = ?2";
    tx.sql.change(update, (incarnation.as_str(), destination))?;
    Ok(())
}

/// Takes everything that is believed of a destination for unproven: receipts fall to `stored`, vectors and heads are forgotten, each
/// with an entry in the log, and the generation rises.
fn forget(tx: &Tx<'_>, event: &str, destination: DestinationId, reason: &str) -> Result<()> {
    lower_receipts(tx, destination)?;
    tx.sql.change("UPDATE head SET forgotten = 1 WHERE destination = ?", [destination])?;
    let generation = raise_generation(tx, destination)?;
    forget_vectors(tx, event, destination, None, generation, reason)?;
    alarms::end(tx, AlarmKind::RolledBack, alarms::Subject::destination(destination))?;
    log(tx, event, destination, generation, Some(reason))
}

/// Nothing is told there any more, of one volume or of all, until a push lists everything anew.
pub(crate) fn forget_vectors(
    tx: &Tx<'_>,
    event: &str,
    destination: DestinationId,
    volume: Option<VolumeId>,
    generation: i64,
    reason: &str,
) -> Result<()> {
    tx.sql.change(
        "INSERT INTO evidence_log (at, run, event, volume, destination, epoch, before, generation, reason)
         SELECT ?, ?, ?, volume, destination, epoch, component, ?, ? FROM vector WHERE destination = ? AND volume = ifnull(?, volume)",
        (tx.now, tx.run, event, generation, reason, destination, volume),
    )?;
    tx.sql.change("DELETE FROM vector WHERE destination = ? AND volume = ifnull(?, volume)", (destination, volume))?;
    Ok(())
}

/// Lowers every receipt of a destination to `stored`: to be proven again.
pub(crate) fn lower_receipts(tx: &Tx<'_>, destination: DestinationId) -> Result<usize> {
    let lower = "UPDATE receipt SET level = 'stored' WHERE destination = ? AND level = 'verified'";
    Ok(tx.sql.change(lower, [destination])?)
}

pub(crate) fn raise_generation(tx: &Tx<'_>, destination: DestinationId) -> Result<i64> {
    let raise = "UPDATE destination SET generation = generation + 1 WHERE id = ? RETURNING generation";
    Ok(tx.sql.row(raise, [destination], |row| row.get(0))?)
}

fn log(tx: &Tx<'_>, event: &str, destination: DestinationId, generation: i64, reason: Option<&str>) -> Result<()> {
    tx.sql.change(
        "INSERT INTO evidence_log (at, run, event, destination, generation, reason) VALUES (?, ?, ?, ?, ?, ?)",
        (tx.now, tx.run, event, destination, generation, reason),
    )?;
    Ok(())
}

const RECORD: &str = "SELECT id, uuid, name, kind, incarnation, answered, generation, registered_at FROM destination";

pub(crate) fn by_id(tx: &Transaction<'_>, id: DestinationId) -> Result<DestinationRecord> {
    Ok(tx.prepare_cached(&format!("{RECORD} WHERE id = ?"))?.query_row([id], record)?)
}

fn by_uuid(tx: &Transaction<'_>, uuid: Id128) -> Result<DestinationRecord> {
    Ok(tx.row(&format!("{RECORD} WHERE uuid = ?"), [uuid.0], record)?)
}

fn by_name(tx: &Transaction<'_>, name: &str) -> Result<Option<DestinationRecord>> {
    Ok(tx.row(&format!("{RECORD} WHERE name = ?"), [name], record).optional()?)
}

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<DestinationRecord> {
    Ok(DestinationRecord {
        id: row.get(0)?,
        uuid: Id128(row.get(1)?),
        name: row.get(2)?,
        kind: row.get(3)?,
        incarnation: row.get::<_, Option<String>>(4)?.map(Incarnation),
        answered: row.get::<_, Option<String>>(5)?.map(Incarnation),
        generation: row.get(6)?,
        registered_at: row.get(7)?,
    })
}
