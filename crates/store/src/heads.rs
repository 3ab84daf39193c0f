//! Heads: what a destination says of the last push that it accepted, against what is remembered here.
//!
//! A head is announced here before it is written there, and sealed in the transaction that ends its push. So whatever a crash
//! leaves, the one found there is one of two; any other was written by another life of this index.

use crate::alarms::{self, AlarmKind, Subject};
use crate::db::Cached;
use crate::destination::{Probed, forget_vectors, lower_receipts, raise_generation};
use crate::error::{Result, StoreError};
use crate::ids::{DestinationId, EpochId, FileId, HeadId, RunId, VolumeId};
use crate::runs::{Kind, Run, Sync, Tx, Verify};
use crate::store::{NewEpoch, Store, current_epoch};
use crate::witness::Witness;
use lastcopy_fs::Id128;
use rusqlite::{OptionalExtension, Transaction};

/// What a head names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The push's place among those that the destination accepted, in this epoch and volume.
    pub sequence: i64,
    /// Its run.
    pub run: RunId,
    /// BLAKE3 of the head object's bytes.
    pub digest: [u8; 32],
    /// BLAKE3 of the segment object's bytes.
    pub segment_digest: [u8; 32],
}

/// The heads that this index remembers of a (volume, destination) pair in the current epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownHeads {
    /// The last one that was sealed, unless a person had it forgotten.
    pub sealed: Option<(HeadId, Head)>,
    /// One announced after it, that a crash may or may not have kept from being written.
    pub announced: Option<(HeadId, Head)>,
    /// The highest sequence number ever used.
    pub highest: i64,
}

/// What the head that was found there says about us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadVerdict {
    /// It is the one remembered, or there is none on either side, or a person had the old ones forgotten.
    AsKnown,
    /// It is the one announced before a crash: that push was accepted.
    Announced(HeadId),
    /// It is older, or gone: the destination went back.
    RolledBack,
    /// It is from another life of this index.
    Foreign,
}

impl KnownHeads {
    /// Compares with the head that was found at the destination, in this epoch's place for the volume.
    pub fn judge(&self, found: Option<&Head>) -> HeadVerdict {
        let is = |known: &Option<(HeadId, Head)>| {
            known.as_ref().filter(|(_, head)| found.is_some_and(|found| found.digest == head.digest)).map(|(id, _)| *id)
        };
        if is(&self.sealed).is_some() {
            return HeadVerdict::AsKnown;
        }
        if let Some(id) = is(&self.announced) {
            return HeadVerdict::Announced(id);
        }
        match (&self.sealed, found) {
            (None, None) => HeadVerdict::AsKnown,
            // Forgotten by a person's word: whatever of ours lies there, it is followed by a segment that lists everything.
            (None, Some(found)) if found.sequence <= self.highest => HeadVerdict::AsKnown,
            (None, Some(_)) => HeadVerdict::Foreign,
            (Some(_), None) => HeadVerdict::RolledBack,
            (Some((_, sealed)), Some(found)) if found.sequence < sealed.sequence => HeadVerdict::RolledBack,
            (Some(_), Some(_)) => HeadVerdict::Foreign,
        }
    }
}

fn known(tx: &Transaction<'_>, volume: VolumeId, destination: DestinationId) -> Result<KnownHeads> {
    let (epoch, _) = current_epoch(tx)?;
    let mut statement = tx.prepare_cached(
        "SELECT id, sequence, run, digest, segment_digest, sealed, forgotten FROM head
         WHERE destination = ? AND volume = ? AND epoch = ? ORDER BY sequence",
    )?;
    let mut rows = statement.query((destination, volume, epoch))?;
    let mut known = KnownHeads::default();
    while let Some(row) = rows.next()? {
        let head = Head { sequence: row.get(1)?, run: row.get(2)?, digest: row.get(3)?, segment_digest: row.get(4)? };
        let (id, sealed, forgotten): (HeadId, bool, bool) = (row.get(0)?, row.get(5)?, row.get(6)?);
        known.highest = head.sequence;
        known.announced = None;
        match (sealed, forgotten) {
            (_, true) => known.sealed = None,
            (true, false) => known.sealed = Some((id, head)),
            (false, false) => known.announced = Some((id, head)),
        }
    }
    Ok(known)
}

/// Marks a head as accepted by the destination; what earlier ones withheld is carried by it.
pub(crate) fn seal(tx: &Tx<'_>, head: HeadId) -> Result<()> {
    tx.sql.change("UPDATE head SET sealed = 1 WHERE id = ?", [head])?;
    tx.sql.change(
        "DELETE FROM withheld WHERE head IN (SELECT old.id FROM head old JOIN head new ON new.id = ?
            WHERE old.destination = new.destination AND old.volume = new.volume AND old.sequence < new.sequence)",
        [head],
    )?;
    Ok(())
}

/// The last head that a destination accepted of a volume, if there are files that its segments do not tell of.
pub(crate) fn withholding(
    tx: &Transaction<'_>,
    volume: VolumeId,
    destination: DestinationId,
    epoch: EpochId,
) -> Result<Option<HeadId>> {
    let last =
        "SELECT id FROM head WHERE destination = ? AND volume = ? AND epoch = ? AND sealed = 1 ORDER BY sequence DESC LIMIT 1";
    let last: Option<HeadId> = tx.row(last, (destination, volume, epoch), |row| row.get(0)).optional()?;
    let Some(head) = last else { return Ok(None) };
    let any = tx.row("SELECT EXISTS (SELECT 1 FROM withheld WHERE head = ?)", [head], |row| row.get(0))?;
    Ok(Some(head).filter(|_| any))
}

/// Whether a head's segments do not tell of a file, as it was then: its permissions may have changed since.
pub(crate) fn withholds(tx: &Transaction<'_>, head: HeadId, file: FileId) -> Result<bool> {
    // In this order: of a first push that sent hardly anything, nearly all files are withheld. Two, so that each finds its index.
    let at_its_path = |status: &str| {
        format!(
            "EXISTS (SELECT 1 FROM file f CROSS JOIN file was CROSS JOIN withheld w WHERE f.id = ?2 AND was.directory = f.directory
                AND was.name = f.name AND was.status {status} 'superseded' AND w.head = ?1 AND w.file = was.id)"
        )
    };
    let sql = format!("SELECT {} OR {}", at_its_path("<>"), at_its_path("="));
    Ok(tx.prepare_cached(&sql)?.query_row((head, file), |row| row.get(0))?)
}

/// Whether a rollback was recorded in the same words since the alarm that stands was raised.
fn observed_before(tx: &Tx<'_>, probed: &Probed, volume: VolumeId, detail: &str) -> Result<bool> {
    let before = "SELECT EXISTS (SELECT 1 FROM evidence_log log JOIN alarm ON alarm.destination = log.destination
        WHERE log.event = 'rollback' AND log.destination = ? AND log.volume = ? AND log.reason = ? AND log.run >= alarm.raised_by
            AND alarm.kind = ? AND alarm.ended_at IS NULL)";
    Ok(tx.sql.row(before, (probed.destination, volume, detail, AlarmKind::RolledBack), |row| row.get(0))?)
}

impl Store {
    /// Whether an alarm about a rollback of a destination stands.
    pub fn is_rolled_back(&self, destination: DestinationId) -> Result<bool> {
        let standing = "SELECT EXISTS (SELECT 1 FROM alarm WHERE destination = ? AND kind = ? AND ended_at IS NULL)";
        self.read(|tx| Ok(tx.row(standing, (destination, AlarmKind::RolledBack), |row| row.get(0))?))
    }

    /// The heads remembered of a pair in the current epoch.
    pub fn known_heads(&self, volume: VolumeId, destination: DestinationId) -> Result<KnownHeads> {
        self.read(|tx| known(tx, volume, destination))
    }

    /// The heads of a pair that were sealed in the current epoch since they were forgotten, the last one first.
    pub fn sealed_heads(&self, volume: VolumeId, destination: DestinationId) -> Result<Vec<Head>> {
        let sealed = "SELECT sequence, run, digest, segment_digest FROM head
             WHERE destination = ?1 AND volume = ?2 AND epoch = ?3 AND sealed = 1 AND sequence > ifnull(
                (SELECT max(sequence) FROM head WHERE destination = ?1 AND volume = ?2 AND epoch = ?3 AND forgotten = 1), 0)
             ORDER BY sequence DESC";
        self.read(|tx| {
            let (epoch, _) = current_epoch(tx)?;
            let mut statement = tx.prepare_cached(sealed)?;
            let head = |row: &rusqlite::Row<'_>| {
                Ok(Head { sequence: row.get(0)?, run: row.get(1)?, digest: row.get(2)?, segment_digest: row.get(3)? })
            };
            let heads = statement.query_map((destination, volume, epoch), head)?;
            Ok(heads.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Begins a new epoch because a destination holds a head that another life of this index wrote.
    pub fn superseded_by_head(&self, epoch: Id128, run: RunId, destination: &str) -> Result<NewEpoch> {
        let witness = Witness { node: self.node(), epoch, run, seq: 0, named: None };
        self.begin_epoch(&format!("destination `{destination}` holds a push of another life of this index"), Some(&witness))
    }

    /// Whether an epoch is one of this index's own lives that it remembers.
    pub fn knows_epoch(&self, epoch: Id128) -> Result<bool> {
        self.read(|tx| {
            let found = tx.row("SELECT 1 FROM epoch WHERE uuid = ?", [epoch.0], |_| Ok(())).optional()?;
            Ok(found.is_some())
        })
    }
}

impl<K: Kind> Run<K> {
    /// Records that a destination went back to an earlier state: an alarm, and every receipt there must be proven again. What was
    /// observed once already, in the same words, since the alarm was raised, is recorded no second time.
    pub fn rolled_back(&self, probed: &Probed, volume: VolumeId, detail: &str) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let subject = Subject::destination(probed.destination);
            if !alarms::raise(tx, AlarmKind::RolledBack, subject, detail)? && observed_before(tx, probed, volume, detail)? {
                return Ok(());
            }
            lower_receipts(tx, probed.destination)?;
            tx.sql.change(
                "INSERT INTO evidence_log (at, run, event, volume, destination, epoch, reason) VALUES (?, ?, 'rollback', ?, ?, ?, ?)",
                (tx.now, tx.run, volume, probed.destination, tx.epoch, detail),
            )?;
            Ok(())
        })
    }

    /// Records that the head announced before a crash was accepted after all.
    pub fn head_was_accepted(&self, head: HeadId) -> Result<()> {
        self.write(|tx| seal(tx, head))
    }

    /// Ends the alarm about a rollback: every head that had been sealed there is there again, of all volumes.
    pub fn head_is_back(&self, probed: &Probed) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            alarms::end(tx, AlarmKind::RolledBack, Subject::destination(probed.destination))
        })
    }
}

impl Run<Verify> {
    /// Records that a segment is not there as it was written: with the index lost, nobody would find by their names what it told of. So the
    /// next push lists everything anew, and until then no gate opens for the volume on this destination.
    pub fn segment_lost(&self, probed: &Probed, volume: VolumeId, detail: &str) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let generation = raise_generation(tx, probed.destination)?;
            forget_vectors(tx, "reset", probed.destination, Some(volume), generation, detail)
        })
    }
}

impl Run<Sync> {
    /// Announces the head that is about to be written, and remembers which lines its segments withhold. Durable before it returns.
    pub fn announce(&self, probed: &Probed, head: &Head, withheld: &[FileId]) -> Result<HeadId> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let id = tx.sql.row(
                "INSERT INTO head (destination, volume, epoch, sequence, run, digest, segment_digest, seq, sealed)
                 SELECT destination, volume, ?1, ?2, run, ?3, ?4, seq, 0 FROM snapshot WHERE run = ?5 AND destination = ?6
                 RETURNING id",
                (tx.epoch, head.sequence, head.digest, head.segment_digest, tx.run, probed.destination),
                |row| row.get(0),
            )?;
            if head.run != tx.run {
                return Err(StoreError::Refused(format!("a head of run {} is not run {}'s to announce", head.run, tx.run)));
            }
            let mut insert = tx.sql.prepare_cached("INSERT OR IGNORE INTO withheld (head, file) VALUES (?, ?)")?;
            withheld.iter().try_for_each(|file| insert.execute((id, file)).map(drop))?;
            Ok(id)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(sequence: i64, digest: u8) -> Head {
        Head { sequence, run: RunId(sequence), digest: [digest; 32], segment_digest: [0; 32] }
    }

    #[test]
    fn whose_head_is_it() {
        let known = KnownHeads { sealed: Some((HeadId(1), head(5, 5))), announced: Some((HeadId(2), head(6, 6))), highest: 6 };
        let fresh = KnownHeads::default();
        let forgotten = KnownHeads { highest: 6, ..KnownHeads::default() };
        let cases = [
            (&known, Some(head(5, 5)), HeadVerdict::AsKnown),
            (&known, Some(head(6, 6)), HeadVerdict::Announced(HeadId(2))),
            (&known, Some(head(4, 4)), HeadVerdict::RolledBack),
            (&known, None, HeadVerdict::RolledBack),
            (&known, Some(head(5, 9)), HeadVerdict::Foreign),
            (&known, Some(head(6, 9)), HeadVerdict::Foreign),
            (&known, Some(head(7, 7)), HeadVerdict::Foreign),
            (&fresh, None, HeadVerdict::AsKnown),
            (&fresh, Some(head(1, 1)), HeadVerdict::Foreign),
            (&forgotten, Some(head(4, 4)), HeadVerdict::AsKnown),
            (&forgotten, Some(head(7, 7)), HeadVerdict::Foreign),
        ];
        for (known, found, expected) in cases {
            assert_eq!(known.judge(found.as_ref()), expected, "{known:?} finds {found:?}");
        }
    }
}
