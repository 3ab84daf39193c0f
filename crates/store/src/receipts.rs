//! Receipts: what a destination holds, and how that was proven.

use crate::alarms::{self, AlarmKind, Subject};
use crate::checksum::BoundChecksum;
use crate::db::Cached;
use crate::destination::Probed;
use crate::error::{Result, StoreError};
use crate::ids::{ContentId, DestinationId, RunId, Timestamp, VolumeId, text_enum};
use crate::policy::Method;
use crate::proof::Proven;
use crate::runs::{EvidenceChange, Kind, Offload, Restore, Run, Sync, Tx, Verify};
use crate::store::Store;
use lastcopy_fs::{Content, ContentHash};
use rusqlite::Transaction;

text_enum! {
    /// How much a receipt says.
    pub enum ReceiptLevel {
        /// It was accepted there; at most presence and size are known.
        Stored = "stored",
        /// The bytes held there were checked.
        Verified = "verified",
    }
}

/// Where in a destination a content lies. Empty is the content's own address, as the destination's format defines it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Location(pub Vec<u8>);

/// A receipt as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The destination.
    pub destination: DestinationId,
    /// Row of the content.
    pub content_id: ContentId,
    /// The content.
    pub content: Content,
    /// Where it lies.
    pub location: Location,
    /// How much is known.
    pub level: ReceiptLevel,
    /// How it was learnt.
    pub method: Method,
    /// Who said so.
    pub incarnation: String,
    /// The provider's checksum that proved it, as long as the receipt stands: it may be compared again.
    pub fingerprint: Option<BoundChecksum>,
    /// When the bytes, or a fingerprint bound to them, were last checked.
    pub verified_at: Option<Timestamp>,
    /// When it was last looked at by any means.
    pub checked_at: Timestamp,
    /// When it was found lost.
    pub lost_at: Option<Timestamp>,
}

/// What is to be checked, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VerifyOrder {
    /// By content, which is the cheapest order.
    Content,
    /// The longest unchecked first.
    LongestUnchecked,
}

/// Records what was proven, and gives the places in the list of what was not: a doubt came up, in this command or in another one, after it
/// had been proven.
fn record_proven(tx: &Tx<'_>, probed: &Probed, proofs: &[ProvenAt]) -> Result<Vec<usize>> {
    probed.require_of(tx.run)?;
    let rolled_back = "SELECT max(at) FROM evidence_log WHERE destination = ? AND event = 'rollback' AND at <= ?";
    let rolled_back: Option<Timestamp> = tx.sql.row(rolled_back, (probed.destination, tx.now), |row| row.get(0))?;
    let mut overtaken = Vec::new();
    for (place, proof) in proofs.iter().enumerate() {
        if rolled_back.is_some_and(|at| at > proof.at) || found_lost_since(tx, probed, proof)? {
            overtaken.push(place);
        } else {
            record_one(tx, probed, proof)?;
        }
    }
    Ok(overtaken)
}

/// Whether it was found lost after this proof. A clock that was put back since then tells nothing of what came first; then the proof counts.
fn found_lost_since(tx: &Tx<'_>, probed: &Probed, proof: &ProvenAt) -> Result<bool> {
    let lost = "SELECT EXISTS (SELECT 1 FROM receipt WHERE destination = ? AND content = ? AND location = ? AND incarnation = ?
         AND lost_at IS NOT NULL AND checked_at > ? AND checked_at <= ?)";
    let who = probed.incarnation.as_str();
    let values = (probed.destination, proof.content, &proof.location.0, who, proof.at, tx.now);
    Ok(tx.sql.prepare_cached(lost)?.query_row(values, |row| row.get(0))?)
}

fn record_one(tx: &Tx<'_>, probed: &Probed, proof: &ProvenAt) -> Result<()> {
    let ProvenAt { content, location, proven, at } = proof;
    let upsert = "INSERT INTO receipt (destination, content, location, level, method, incarnation, verified_at, checked_at, run,
            fingerprint)
         SELECT ?1, id, ?3, 'verified', ?4, ?5, ?11, ?6, ?7, ?10 FROM content WHERE id = ?2 AND blake3 = ?8 AND size = ?9
         ON CONFLICT DO UPDATE SET level = 'verified', method = ?4, incarnation = ?5, verified_at = ?11, checked_at = ?6,
            lost_at = NULL, moved_to = NULL, source = NULL, run = ?7, fingerprint = ?10";
    let rows = tx.sql.prepare_cached(upsert)?.execute((
        probed.destination,
        content,
        &location.0,
        proven.method(),
        probed.incarnation.as_str(),
        tx.now,
        tx.run,
        proven.content().hash.0,
        proven.content().size,
        proven.fingerprint().map(|checksum| checksum.to_string()),
        (*at).min(tx.now),
    ))?;
    if rows != 1 {
        return Err(StoreError::Refused(format!("a proof of {} is no proof of content {content}", proven.content().hash)));
    }
    displaced(tx, probed, (*content, location))?;
    // What was lost is there again.
    alarms::end(tx, AlarmKind::LostObject, Subject::content_there(probed.destination, *content))
}

/// A place by its path holds one content. What else was proven to lie there is elsewhere, or nowhere: a push that was killed between a move and
/// its record moved it, or somebody exchanged the file. It counts no more until it is proven again.
fn displaced(tx: &Tx<'_>, probed: &Probed, (content, location): (ContentId, &Location)) -> Result<()> {
    let lower = "UPDATE receipt SET level = 'stored', checked_at = ?
         WHERE destination = ? AND location = ? AND length(location) > 0 AND content <> ? AND incarnation = ?
         AND level = 'verified' AND lost_at IS NULL";
    let values = (tx.now, probed.destination, &location.0, content, probed.incarnation.as_str());
    tx.sql.prepare_cached(lower)?.execute(values)?;
    Ok(())
}

/// Says whether the content is lost with that: the destination may hold it at another place.
fn record_lost(
    tx: &Tx<'_>,
    probed: &Probed,
    (content, location): (ContentId, &Location),
    detail: &str,
    at: Timestamp,
) -> Result<bool> {
    probed.require_of(tx.run)?;
    let update = "UPDATE receipt SET lost_at = ifnull(lost_at, ?1), checked_at = ?1
         WHERE destination = ?2 AND content = ?3 AND location = ?4 AND incarnation = ?5";
    let values = (at, probed.destination, content, &location.0, probed.incarnation.as_str());
    if tx.sql.prepare_cached(update)?.execute(values)? == 0 {
        // Another repository promised it, and this one did not.
        return Ok(true);
    }
    // Where files lie by their paths, several places may hold a content; while another one is proven to, nothing is lost.
    let elsewhere = "UPDATE receipt SET moved_to = o.location FROM
            (SELECT location FROM receipt WHERE destination = ?1 AND content = ?2 AND location <> ?3 AND incarnation = ?4
             AND level = 'verified' AND lost_at IS NULL LIMIT 1) o
         WHERE destination = ?1 AND content = ?2 AND receipt.location = ?3 AND incarnation = ?4";
    if !location.0.is_empty()
        && tx.sql.prepare_cached(elsewhere)?.execute((probed.destination, content, &location.0, probed.incarnation.as_str()))? > 0
    {
        is_told_again(tx, content)?;
        return Ok(false);
    }
    let subject = Subject::content_there(probed.destination, content);
    alarms::raise(tx, AlarmKind::LostObject, subject, detail).map(|_| true)
}

/// A content lies somewhere else at a destination. What is gone from here was told there once, with the place where it lay; the next segment
/// tells it again, or nobody would find it by that destination alone. What is present is told with its own place; and of a path, only the
/// last word is told, which is not what a recovery told of earlier times.
fn is_told_again(tx: &Tx<'_>, content: ContentId) -> Result<()> {
    let again = "UPDATE file SET changed_seq = ?1
         WHERE volume IN (SELECT id FROM volume) AND content = ?2 AND until_seq IS NOT NULL AND (status <> 'superseded'
            OR NOT EXISTS (SELECT 1 FROM file later WHERE later.directory = file.directory AND later.name = file.name
                AND later.status <> 'superseded')
            AND NOT EXISTS (SELECT 1 FROM file later WHERE later.directory = file.directory AND later.name = file.name
                AND later.status = 'superseded'
                AND (later.changed_seq > later.since_seq, later.id) > (file.changed_seq > file.since_seq, file.id)))";
    tx.sql.change(again, (tx.seq()?, content))?;
    Ok(())
}

/// What was found where a content was moved to, if it was not that content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missed {
    /// Other bytes, and what they are: then it was not at its old place, either.
    Other(String),
    /// Nothing. A place may show late what was moved to it, so each verify looks there again.
    Nothing,
}

/// A content that is being moved within a destination, because its place is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moving {
    /// Row of the content.
    pub content_id: ContentId,
    /// The content that a receipt says lay there.
    pub content: Content,
    /// The provider's checksum that proved it.
    pub fingerprint: Option<BoundChecksum>,
}

/// A content that was proven to be held somewhere.
#[derive(Debug, Clone)]
pub struct ProvenAt {
    /// Row of the content.
    pub content: ContentId,
    /// Where.
    pub location: Location,
    /// The proof.
    pub proven: Proven,
    /// When it was proven, by the index's clock: while a proof waits to be recorded, somebody else may find that it was lost since.
    pub at: Timestamp,
}

impl Run<Sync> {
    /// Records what was proven, in one transaction. Gives the places in the list of what was found lost since, and stays so.
    pub fn record(&self, probed: &Probed, proofs: &[ProvenAt]) -> Result<Vec<usize>> {
        self.write(|tx| record_proven(tx, probed, proofs))
    }

    /// Records that what a receipt counted on is not held there.
    pub fn lost(&self, probed: &Probed, content: ContentId, location: &Location, detail: &str) -> Result<()> {
        self.write(|tx| record_lost(tx, probed, (content, location), detail, tx.now).map(drop))
    }

    /// Before something is moved within the destination: whatever counts on the old place may be at either from now on. Gives what does, and
    /// what an earlier move left without proof: if another disk was there then, it never left.
    pub fn moving(&self, probed: &Probed, from: &Location, to: &Location) -> Result<Vec<Moving>> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let who = probed.incarnation.as_str();
            let counting = format!(
                "SELECT r.content, c.blake3, c.size, {BOUND} FROM receipt r JOIN content c ON c.id = r.content
                 WHERE r.destination = ? AND r.location = ? AND length(r.location) > 0 AND r.incarnation = ?
                 AND (r.moved_to IS NULL OR r.moved_to <> r.location AND NOT EXISTS (SELECT 1 FROM receipt there
                     WHERE there.destination = r.destination AND there.content = r.content AND there.location = r.moved_to
                     AND there.incarnation = r.incarnation AND there.verified_at IS NOT NULL))"
            );
            let mut counting = tx.sql.prepare_cached(&counting)?;
            let moving = counting.query_map((probed.destination, &from.0, who), |row| {
                let content = Content { hash: ContentHash(row.get(1)?), size: row.get(2)? };
                Ok(Moving { content_id: row.get(0)?, content, fingerprint: bound(row, 3, content)? })
            })?;
            let moving = moving.collect::<rusqlite::Result<Vec<_>>>()?;
            let insert = "INSERT INTO receipt (destination, content, location, level, method, incarnation, checked_at, run)
                 VALUES (?, ?, ?, 'stored', 'presence', ?, ?, ?) ON CONFLICT DO NOTHING";
            let mut insert = tx.sql.prepare_cached(insert)?;
            for moved in &moving {
                insert.execute((probed.destination, moved.content_id, &to.0, who, tx.now, tx.run))?;
            }
            Ok(moving)
        })
    }

    /// After the move, which ended `at`: nothing counts on the old place any more. What was found at the new one is recorded like any proof.
    /// If that was not the content, it is lost.
    pub fn moved(
        &self,
        probed: &Probed,
        content: ContentId,
        from: &Location,
        to: &Location,
        found: std::result::Result<(), &Missed>,
        at: Timestamp,
    ) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let forget = "UPDATE receipt SET lost_at = ifnull(lost_at, ?1), checked_at = ?1, moved_to = ?2
                 WHERE destination = ?3 AND content = ?4 AND location = ?5 AND incarnation = ?6";
            let mut forget = tx.sql.prepare_cached(forget)?;
            let who = probed.incarnation.as_str();
            let detail = match found {
                Ok(()) => {
                    forget.execute((at, &to.0, probed.destination, content, &from.0, who))?;
                    return is_told_again(tx, content);
                }
                Err(Missed::Other(detail)) => {
                    forget.execute((at, &from.0, probed.destination, content, &to.0, who))?;
                    detail
                }
                Err(Missed::Nothing) => "it was replaced there, and is not in the history",
            };
            record_lost(tx, probed, (content, from), detail, at).map(drop)
        })
    }
}

impl Run<Verify> {
    /// Records what was proven again, in one transaction. Gives the places in the list of what was found lost since, and stays so.
    pub fn record(&self, probed: &Probed, proofs: &[ProvenAt]) -> Result<Vec<usize>> {
        self.write(|tx| record_proven(tx, probed, proofs))
    }

    /// Records what is there with its size, and no more: that moves no `verified_at` (I8).
    pub fn seen(&self, seen: &[(ContentId, Location)], probed: &Probed) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let update = "UPDATE receipt SET checked_at = ?
                 WHERE destination = ? AND content = ? AND location = ? AND incarnation = ? AND lost_at IS NULL";
            let (mut update, who) = (tx.sql.prepare_cached(update)?, probed.incarnation.as_str());
            seen.iter().try_for_each(|(content, location)| {
                update.execute((tx.now, probed.destination, content, &location.0, who)).map(drop)
            })?;
            Ok(())
        })
    }

    /// Records that bytes could not be read, though the destination answers: their proof counts no more, until they are proven again.
    pub fn doubted(&self, doubted: &[(ContentId, Location)], probed: &Probed) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let lower = "UPDATE receipt SET level = 'stored', checked_at = ?
                 WHERE destination = ? AND content = ? AND location = ? AND incarnation = ? AND lost_at IS NULL";
            let (mut lower, who) = (tx.sql.prepare_cached(lower)?, probed.incarnation.as_str());
            doubted.iter().try_for_each(|(content, location)| {
                lower.execute((tx.now, probed.destination, content, &location.0, who)).map(drop)
            })?;
            Ok(())
        })
    }

    /// Records that what a receipt counted on is not held there. Says whether the content is lost with that: where files lie by their
    /// paths, another place may be proven to hold it.
    pub fn lost(&self, probed: &Probed, content: ContentId, location: &Location, detail: &str) -> Result<bool> {
        self.write(|tx| record_lost(tx, probed, (content, location), detail, tx.now))
    }

    /// Whether another place of the destination may hold the content: one that was not found to have lost it, or any, if this one was, too.
    pub fn may_be_elsewhere(&self, probed: &Probed, content: ContentId, location: &Location) -> Result<bool> {
        let other = "SELECT EXISTS (SELECT 1 FROM receipt other JOIN receipt here USING (destination, content, incarnation)
             WHERE destination = ? AND content = ? AND incarnation = ? AND here.location = ? AND other.location <> here.location
             AND other.moved_to IS NULL AND (other.lost_at IS NULL OR here.lost_at IS NOT NULL))";
        let who = probed.incarnation.as_str();
        self.store().read(|tx| Ok(tx.row(other, (probed.destination, content, who, &location.0), |row| row.get(0))?))
    }
}

impl Run<Offload> {
    /// Records that what a receipt counted on is not held there.
    pub fn lost(&self, probed: &Probed, content: ContentId, location: &Location, detail: &str) -> Result<()> {
        self.write(|tx| record_lost(tx, probed, (content, location), detail, tx.now).map(drop))
    }
}

impl Run<Restore> {
    /// Records that what a receipt counted on is not held there: whoever else had the bytes, this destination has not.
    pub fn lost(&self, probed: &Probed, content: ContentId, location: &Location, detail: &str) -> Result<()> {
        self.write(|tx| record_lost(tx, probed, (content, location), detail, tx.now).map(drop))
    }
}

impl<K: Kind> Run<K> {
    /// The time by the index's clock.
    pub fn now(&self) -> Timestamp {
        self.store().now()
    }
}

impl Run<EvidenceChange> {
    /// Records what a repair stored again and proved, in one transaction. Gives the places in the list of what was found lost since, and
    /// stays so.
    pub fn repaired(&self, probed: &Probed, proofs: &[ProvenAt]) -> Result<Vec<usize>> {
        self.write(|tx| {
            let overtaken = record_proven(tx, probed, proofs)?;
            for (_, at) in proofs.iter().enumerate().filter(|(place, _)| !overtaken.contains(place)) {
                // Where it was lost, something else may have its place by now.
                let elsewhere = tx.sql.change(
                    "UPDATE receipt SET moved_to = ?1 WHERE destination = ?2 AND content = ?3 AND location <> ?1 AND incarnation = ?4
                     AND lost_at IS NOT NULL AND moved_to IS NULL",
                    (&at.location.0, probed.destination, at.content, probed.incarnation.as_str()),
                )?;
                if elsewhere > 0 {
                    is_told_again(tx, at.content)?;
                }
                tx.sql.change(
                    "INSERT INTO evidence_log (at, run, event, destination, reason) VALUES (?, ?, 'repair', ?, ?)",
                    (tx.now, tx.run, probed.destination, at.proven.content().hash.to_string()),
                )?;
            }
            Ok(overtaken)
        })
    }

    /// Records, without proof, that a destination says it holds some contents: what `recover` learns from it. Contents that the index
    /// never saw are left out; says how many it knew. What was proven of another incarnation, or released, is to be proven again: a
    /// listing is no proof. What was found lost stays so until it is.
    pub fn record_stored(&self, probed: &Probed, stored: &[(Content, Location)]) -> Result<u64> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            let insert = "INSERT INTO receipt (destination, content, location, level, method, incarnation, checked_at, run)
                 SELECT ?1, id, ?2, 'stored', 'presence', ?3, ?4, ?5 FROM content WHERE blake3 = ?6 AND size = ?7
                 ON CONFLICT DO UPDATE SET incarnation = ?3, checked_at = ?4,
                    lost_at = CASE WHEN incarnation = ?3 AND moved_to IS NOT location THEN lost_at END,
                    moved_to = CASE WHEN incarnation = ?3 AND moved_to IS NOT location THEN moved_to END,
                    level = CASE WHEN lost_at IS NULL AND incarnation = ?3 THEN level ELSE 'stored' END";
            let mut insert = tx.sql.prepare_cached(insert)?;
            let mut known = 0;
            for (content, location) in stored {
                let who = probed.incarnation.as_str();
                known +=
                    insert.execute((probed.destination, &location.0, who, tx.now, tx.run, content.hash.0, content.size))? as u64;
            }
            Ok(known)
        })
    }
}

/// The fingerprint of a receipt that stands. Once lost, it counts no more: a provider whose checksum stayed the same while other bytes came
/// back is asked for the bytes.
const BOUND: &str = "iif(r.level = 'verified' AND r.method = 'fingerprint' AND r.lost_at IS NULL, r.fingerprint, NULL)";

fn bound(row: &rusqlite::Row<'_>, column: usize, content: Content) -> rusqlite::Result<Option<BoundChecksum>> {
    Ok(BoundChecksum::recorded(content, row.get_ref(column)?.as_str_or_null()?))
}

/// Every receipt, but of what was moved on.
fn select() -> String {
    format!(
        "SELECT r.destination, r.content, c.blake3, c.size, r.location, r.level, r.method, r.incarnation, r.verified_at,
         r.checked_at, r.lost_at, {BOUND} FROM receipt r JOIN content c ON c.id = r.content AND r.moved_to IS NULL"
    )
}

/// Who is accepted at a receipt's destination.
pub(crate) const ACCEPTED: &str = "(SELECT d.incarnation FROM destination d WHERE d.id = r.destination)";

fn record(row: &rusqlite::Row<'_>) -> rusqlite::Result<Receipt> {
    let content = Content { hash: ContentHash(row.get(2)?), size: row.get(3)? };
    Ok(Receipt {
        destination: row.get(0)?,
        content_id: row.get(1)?,
        content,
        location: Location(row.get(4)?),
        level: row.get(5)?,
        method: row.get(6)?,
        incarnation: row.get(7)?,
        fingerprint: bound(row, 11, content)?,
        verified_at: row.get(8)?,
        checked_at: row.get(9)?,
        lost_at: row.get(10)?,
    })
}

fn collect(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Receipt>> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(values, record)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Store {
    /// Every receipt of a content, live or not.
    pub fn receipts_of(&self, content: ContentId) -> Result<Vec<Receipt>> {
        let sql =
            format!("{} WHERE r.destination IN (SELECT id FROM destination) AND r.content = ? ORDER BY r.destination", select());
        self.read(|tx| collect(tx, &sql, [content]))
    }

    /// The receipts of some contents at one destination, in the incarnation that was accepted last, lost ones included, in the order
    /// given.
    pub fn receipts_at(&self, destination: DestinationId, contents: &[ContentId]) -> Result<Vec<Receipt>> {
        let sql = format!("{} WHERE r.destination = ? AND r.content = ? AND r.incarnation = {ACCEPTED}", select());
        self.read(|tx| {
            let mut found = Vec::with_capacity(contents.len());
            for content in contents {
                found.extend(collect(tx, &sql, (destination, content))?);
            }
            Ok(found)
        })
    }

    /// Whether something else that counts lies at a place of a destination, below it, or where it would need a directory.
    pub fn place_is_taken(&self, destination: DestinationId, content: ContentId, place: &Location) -> Result<bool> {
        let counts = format!("r.content <> ?2 AND r.lost_at IS NULL AND r.moved_to IS NULL AND r.incarnation = {ACCEPTED}");
        let taken = format!(
            "SELECT EXISTS (SELECT 1 FROM receipt r WHERE r.destination = ?1 AND r.location = ?3 AND length(r.location) > 0 AND {counts})
             OR EXISTS (SELECT 1 FROM receipt r WHERE r.destination = ?1 AND r.location > ?4 AND r.location < ?5
                AND length(r.location) > 0 AND {counts})"
        );
        self.read(|tx| {
            let mut taken = tx.prepare_cached(&taken)?;
            let mut is_taken = |at: &[u8], from: &[u8], to: &[u8]| -> Result<bool> {
                Ok(taken.query_row((destination, content, at, from, to), |row| row.get(0))?)
            };
            let place = &place.0[..];
            let ends = place.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
            for end in ends {
                if is_taken(&place[..end], &[], &[])? {
                    return Ok(true);
                }
            }
            is_taken(place, &[place, b"/"].concat(), &[place, b"0"].concat())
        })
    }

    /// The contents that a destination was found not to hold any more.
    pub fn lost_at(&self, destination: DestinationId) -> Result<Vec<Receipt>> {
        let sql = format!("{} WHERE r.destination = ? AND r.lost_at IS NOT NULL ORDER BY r.content", select());
        self.read(|tx| collect(tx, &sql, [destination]))
    }

    /// Whether anything is known that a destination lost, and did not get again.
    pub fn has_lost(&self, destination: DestinationId) -> Result<bool> {
        let lost = "SELECT EXISTS (SELECT 1 FROM receipt WHERE destination = ? AND lost_at IS NOT NULL)";
        self.read(|tx| Ok(tx.row(lost, [destination], |row| row.get(0))?))
    }

    /// The contents for which a destination has receipts in the incarnation that was accepted last, in the order in which they are to be checked, with their sizes. Scoped to
    /// the contents of a volume's files where one is given.
    pub fn to_verify(
        &self,
        destination: DestinationId,
        volume: Option<VolumeId>,
        order: VerifyOrder,
        each: &mut dyn FnMut(ContentId, u64) -> Result<()>,
    ) -> Result<()> {
        let order = match order {
            VerifyOrder::Content => "r.content",
            VerifyOrder::LongestUnchecked => "ifnull(r.verified_at, 0), r.content",
        };
        let sql = format!(
            "SELECT r.content, c.size FROM receipt r JOIN content c ON c.id = r.content
             WHERE r.destination = ?1 AND r.incarnation = {ACCEPTED} AND r.moved_to IS NULL
             AND (?2 IS NULL OR EXISTS (SELECT 1 FROM file f WHERE f.volume = ?2 AND f.content = r.content))
             ORDER BY {order}"
        );
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query((destination, volume))?;
            while let Some(row) = rows.next()? {
                each(row.get(0)?, row.get(1)?)?;
            }
            Ok(())
        })
    }

    /// How many live receipts a destination has, by level: stored, verified; and how many are lost.
    pub fn count_receipts(&self, destination: DestinationId) -> Result<(u64, u64, u64)> {
        self.read(|tx| {
            let count = "SELECT count(*) FILTER (WHERE lost_at IS NULL AND level = 'stored'),
                count(*) FILTER (WHERE lost_at IS NULL AND level = 'verified'), count(*) FILTER (WHERE lost_at IS NOT NULL)
                FROM receipt WHERE destination = ? AND moved_to IS NULL";
            Ok(tx.row(count, [destination], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?)
        })
    }

    /// The run that last pushed a volume to a destination and was not refused, with its end.
    pub fn last_push(&self, volume: VolumeId, destination: DestinationId) -> Result<Option<(RunId, Option<Timestamp>)>> {
        use rusqlite::OptionalExtension;
        self.read(|tx| {
            let last = "SELECT id, ended_at FROM run WHERE kind = 'sync' AND volume = ? AND destination = ?
                AND status IN ('success', 'partial') ORDER BY id DESC LIMIT 1";
            Ok(tx.row(last, (volume, destination), |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
        })
    }
}
