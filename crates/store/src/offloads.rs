//! Offloads as the index sees them: intents, from before a file is moved aside until what became of it is settled.

use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::evidence::{self, Evidence, FileFacts};
use crate::files::{self, FileRecord, FileStatus, NewRow, Seen, close_row, insert_present};
use crate::ids::{DestinationId, FileId, IntentId, RunId, Timestamp, VolumeId, text_enum};
use crate::runs::{Index, Kind, Offload, Restore, Run, Tx};
use crate::store::{Store, current_epoch};
use crate::volume::Volume;
use lastcopy_fs::RelPath;
use rusqlite::{OptionalExtension, Transaction};

text_enum! {
    /// How far a file is on its way out.
    pub enum IntentState {
        /// Moved aside, or about to be.
        Moving = "moving",
        /// Aside for the policy's grace.
        Held = "held",
        /// Confirmed where it must be; it may be gone any moment.
        Deleting = "deleting",
        /// Deleted.
        Offloaded = "offloaded",
        /// Back in its place.
        PutBack = "put-back",
        /// In the kept files, because its place was taken.
        Kept = "kept",
        /// Gone, though nobody had begun to delete it.
        Missing = "missing",
    }
}

/// A file that passed the gate and is about to be moved aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Its row.
    pub file: FileId,
    /// Device of the inode that was hashed.
    pub device: u64,
    /// The inode that was hashed.
    pub inode: u64,
}

/// An intent as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its id.
    pub id: IntentId,
    /// The offload that recorded it.
    pub run: RunId,
    /// The file.
    pub file: FileRecord,
    /// Device of the inode that was hashed.
    pub device: u64,
    /// The inode that was hashed.
    pub inode: u64,
    /// How far it is.
    pub state: IntentState,
    /// When its grace ends.
    pub held_until: Option<Timestamp>,
    /// Whether it was recorded in the current life of the index. One that was not is put back, whatever its state.
    pub current_epoch: bool,
}

/// What became of a file that had been moved aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Back in its place, looking like this.
    PutBack(Seen),
    /// In the kept files, because its place was taken.
    Kept,
    /// Its bytes are gone.
    Gone,
}

/// Decides on one file, from what the index holds at this moment; gives the names of the receipts that it counted.
pub type DecideAgain<'a> = &'a dyn Fn(&FileFacts, &[Evidence]) -> Option<String>;

impl Run<Offload> {
    /// Decides again on live evidence, and records the intents of those that pass; their rows become `quarantined`. One
    /// transaction, durable before it returns. `None` for those that do not pass any more.
    pub fn quarantine(
        &self,
        leaving: &[Leaving],
        destinations: &[DestinationId],
        decide: DecideAgain<'_>,
    ) -> Result<Vec<Option<IntentId>>> {
        let volume = volume_of(self)?;
        self.write(|tx| {
            let shared = evidence::shared(tx.sql, volume, destinations)?;
            let mut intents = Vec::with_capacity(leaving.len());
            for file in leaving {
                let (facts, evidence) = shared.of(tx.sql, files::by_id(tx.sql, file.file)?)?;
                let counted = (facts.file.status == FileStatus::Present).then(|| decide(&facts, &evidence)).flatten();
                intents.push(counted.map(|receipts| insert_intent(tx, file, &facts.file.path, &receipts)).transpose()?);
            }
            Ok(intents)
        })
    }

    /// Records that files stay aside for the policy's grace.
    pub fn hold(&self, intents: &[IntentId], until: Timestamp) -> Result<()> {
        self.write(|tx| {
            let update = "UPDATE intent SET state = 'held', held_until = ? WHERE id = ? AND state = 'moving'";
            let mut update = tx.sql.prepare_cached(update)?;
            intents.iter().try_for_each(|id| update.execute((until, id)).map(drop))?;
            Ok(())
        })
    }

    /// Decides once more on live evidence, and records for those that pass that deletion begins. One transaction, durable before
    /// it returns. `false` for those that do not pass any more: they are to be put back.
    pub fn begin_deletion(
        &self,
        intents: &[IntentId],
        destinations: &[DestinationId],
        decide: DecideAgain<'_>,
    ) -> Result<Vec<bool>> {
        let volume = volume_of(self)?;
        self.write(|tx| {
            let shared = evidence::shared(tx.sql, volume, destinations)?;
            let mut begun = Vec::with_capacity(intents.len());
            for id in intents {
                // What is held for its grace is not to go before that is over.
                let find = "SELECT file FROM intent WHERE id = ? AND (state = 'moving' OR (state = 'held' AND held_until <= ?))";
                let file: Option<FileId> = tx.sql.prepare_cached(find)?.query_row((id, tx.now), |row| row.get(0)).optional()?;
                let Some(file) = file else {
                    begun.push(false);
                    continue;
                };
                let (facts, evidence) = shared.of(tx.sql, files::by_id(tx.sql, file)?)?;
                let passes = facts.file.status == FileStatus::Quarantined && decide(&facts, &evidence).is_some();
                if passes {
                    let update = "UPDATE intent SET state = 'deleting', settled_by = NULL WHERE id = ?";
                    tx.sql.prepare_cached(update)?.execute([id])?;
                }
                begun.push(passes);
            }
            Ok(begun)
        })
    }

    /// Records that files are deleted: their rows become `offloaded`.
    pub fn offloaded(&self, intents: &[IntentId]) -> Result<()> {
        self.write(|tx| intents.iter().try_for_each(|id| settle_gone(tx, *id)))
    }
}

impl Run<Index> {
    /// Settles one intent that a broken offload left behind. Idempotent.
    pub fn settle(&self, intent: IntentId, settled: Settled) -> Result<()> {
        self.write(|tx| settle(tx, intent, settled))
    }
}

impl Run<Offload> {
    /// Settles one intent: of this run, or one that a broken offload left behind. Idempotent.
    pub fn settle(&self, intent: IntentId, settled: Settled) -> Result<()> {
        self.write(|tx| settle(tx, intent, settled))
    }
}

impl Run<Restore> {
    /// Settles one intent: put back on a person's word, or left behind by a broken offload. Idempotent.
    pub fn settle(&self, intent: IntentId, settled: Settled) -> Result<()> {
        self.write(|tx| settle(tx, intent, settled))
    }
}

fn volume_of<K: Kind>(run: &Run<K>) -> Result<VolumeId> {
    run.volume().map(Volume::id).ok_or_else(|| StoreError::impossible("an offload without a volume"))
}

fn insert_intent(tx: &Tx<'_>, leaving: &Leaving, path: &RelPath, receipts: &str) -> Result<IntentId> {
    let insert = "INSERT INTO intent (run, file, path, device, inode, receipts, state) VALUES (?, ?, ?, ?, ?, ?, 'moving')";
    let (device, inode) = (leaving.device.cast_signed(), leaving.inode.cast_signed());
    tx.sql.prepare_cached(insert)?.execute((tx.run, leaving.file, path.as_bytes(), device, inode, receipts))?;
    let id = IntentId(tx.sql.last_insert_rowid());
    close_row(tx, leaving.file, FileStatus::Quarantined)?;
    Ok(id)
}

fn settle(tx: &Tx<'_>, id: IntentId, settled: Settled) -> Result<()> {
    let Some((run, state, file)) = open_intent(tx, id)? else { return Ok(()) };
    match settled {
        Settled::Gone => return settle_gone(tx, id),
        Settled::Kept => {
            if file.status == FileStatus::Quarantined {
                close_row(tx, file.id, FileStatus::Missing)?;
            }
            end_intent(tx, id, IntentState::Kept)?;
        }
        Settled::PutBack(seen) => {
            if file.status == FileStatus::Quarantined {
                put_back(tx, run, &file, &seen)?;
            }
            end_intent(tx, id, IntentState::PutBack)?;
        }
    }
    debug_assert!(matches!(state, IntentState::Moving | IntentState::Held | IntentState::Deleting));
    Ok(())
}

/// Bytes that are gone: `offloaded` if their deletion had begun in this life of the index, else `missing`.
fn settle_gone(tx: &Tx<'_>, id: IntentId) -> Result<()> {
    let Some((run, state, file)) = open_intent(tx, id)? else { return Ok(()) };
    let current: bool =
        tx.sql.prepare_cached("SELECT epoch = ? FROM run WHERE id = ?")?.query_row((tx.epoch, run), |row| row.get(0))?;
    let begun = state == IntentState::Deleting && current;
    let (status, state) =
        if begun { (FileStatus::Offloaded, IntentState::Offloaded) } else { (FileStatus::Missing, IntentState::Missing) };
    if file.status == FileStatus::Quarantined {
        close_row(tx, file.id, status)?;
    }
    end_intent(tx, id, state)
}

fn open_intent(tx: &Tx<'_>, id: IntentId) -> Result<Option<(RunId, IntentState, FileRecord)>> {
    let find = "SELECT run, state, file FROM intent WHERE id = ? AND state IN ('moving', 'held', 'deleting')";
    let row: Option<(RunId, IntentState, FileId)> =
        tx.sql.prepare_cached(find)?.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    row.map(|(run, state, file)| Ok((run, state, files::by_id(tx.sql, file)?))).transpose()
}

fn end_intent(tx: &Tx<'_>, id: IntentId, state: IntentState) -> Result<()> {
    tx.sql.prepare_cached("UPDATE intent SET state = ?, settled_by = ? WHERE id = ?")?.execute((state, tx.run, id))?;
    Ok(())
}

/// By the run that moved it aside, the row is current again as if nothing had happened: no snapshot can have been taken since. By
/// any other run, the path becomes present anew.
fn put_back(tx: &Tx<'_>, moved_by: RunId, file: &FileRecord, seen: &Seen) -> Result<()> {
    if moved_by == tx.run {
        let seq = tx.seq()?;
        tx.sql
            .prepare_cached(
                "UPDATE file SET status = 'present', until_seq = NULL, changed_seq = ?, ctime_ns = ?, inode = ?, racy = ? WHERE id = ?",
            )?
            .execute((seq, seen.ctime_ns, seen.inode.cast_signed(), seen.racy, file.id))?;
        return Ok(());
    }
    let find = "SELECT directory, name FROM file WHERE id = ?";
    let (directory, name): (_, Vec<u8>) =
        tx.sql.prepare_cached(find)?.query_row([file.id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    close_row(tx, file.id, FileStatus::Superseded)?;
    // A row says one content, and its length. If somebody cut the file short before it was settled, the next index run reads that.
    let seen = &Seen { size: file.content.size, ..*seen };
    let row = NewRow { volume: file.volume, directory, name: &name, content: file.content_id, seen, present_since: tx.run };
    insert_present(tx, &row).map(drop)
}

impl Store {
    /// Intents of a volume that are not settled, oldest first.
    pub fn open_intents(&self, volume: VolumeId) -> Result<Vec<Intent>> {
        let open = "i.state IN ('moving', 'held', 'deleting') AND r.volume = ?";
        self.read(|tx| intents(tx, open, [volume]))
    }

    /// Every intent of an offload, settled or not.
    pub fn intents_of(&self, run: RunId) -> Result<Vec<Intent>> {
        self.read(|tx| intents(tx, "i.run = ?", [run]))
    }

    /// How many files of a volume lie in quarantine for their grace, and when the first grace ends.
    pub fn held(&self, volume: VolumeId) -> Result<(u64, Option<Timestamp>)> {
        self.read(|tx| {
            let count = "SELECT count(*), min(held_until) FROM intent JOIN run ON run.id = intent.run
                WHERE intent.state = 'held' AND run.volume = ?";
            Ok(tx.row(count, [volume], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })
    }
}

fn intents(tx: &Transaction<'_>, condition: &str, values: impl rusqlite::Params) -> Result<Vec<Intent>> {
    let (epoch, _) = current_epoch(tx)?;
    let sql = format!(
        "SELECT i.id, i.run, i.file, i.device, i.inode, i.state, i.held_until, r.epoch FROM intent i JOIN run r ON r.id = i.run
         WHERE {condition} ORDER BY i.id"
    );
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Intent {
            id: row.get(0)?,
            run: row.get(1)?,
            file: files::by_id(tx, row.get(2)?)?,
            device: row.get::<_, i64>(3)?.cast_unsigned(),
            inode: row.get::<_, i64>(4)?.cast_unsigned(),
            state: row.get(5)?,
            held_until: row.get(6)?,
            current_epoch: row.get::<_, crate::ids::EpochId>(7)? == epoch,
        });
    }
    Ok(found)
}
