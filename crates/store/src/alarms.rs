//! Alarms: latched facts. While one stands on a destination, that one opens no gate.

use crate::db::Cached;
use crate::destination::{forget_vectors, lower_receipts, raise_generation};
use crate::error::{Result, StoreError};
use crate::ids::{AlarmId, ContentId, DestinationId, FileId, RunId, Timestamp, text_enum};
use crate::runs::{EvidenceChange, Run, Tx};
use crate::store::Store;
use lastcopy_fs::{ContentHash, RelPath};
use rusqlite::OptionalExtension;

text_enum! {
    /// What was noticed.
    pub enum AlarmKind {
        /// A file's bytes changed while its metadata did not.
        ContentChanged = "content-changed",
        /// A destination no longer holds a content that it held.
        LostObject = "lost-object",
        /// Another repository answers, or none.
        IdentityChanged = "identity-changed",
        /// A destination went back to an earlier state.
        RolledBack = "rolled-back",
    }
}

/// What an alarm stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) destination: Option<DestinationId>,
    pub(crate) content: Option<ContentId>,
    pub(crate) file: Option<FileId>,
}

impl Subject {
    pub(crate) fn destination(id: DestinationId) -> Self {
        Self { destination: Some(id), content: None, file: None }
    }

    pub(crate) fn content_there(destination: DestinationId, content: ContentId) -> Self {
        Self { destination: Some(destination), content: Some(content), file: None }
    }

    pub(crate) fn file(id: FileId) -> Self {
        Self { destination: None, content: None, file: Some(id) }
    }
}

/// An alarm as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Its id.
    pub id: AlarmId,
    /// What was noticed.
    pub kind: AlarmKind,
    /// The destination that it stands on, by name.
    pub destination: Option<String>,
    /// The content that it stands on.
    pub content: Option<ContentHash>,
    /// The file that it stands on: volume and path.
    pub file: Option<(String, RelPath)>,
    /// In words.
    pub detail: String,
    /// When it was raised, and by which run.
    pub raised: (Timestamp, RunId),
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// The person's reason, if one acknowledged it.
    pub acknowledged: Option<String>,
}

/// The alarm of a kind on a subject, while it stands.
const STANDING: &str = "ended_at IS NULL AND kind = ?
    AND ifnull(destination, 0) = ifnull(?, 0) AND ifnull(content, 0) = ifnull(?, 0) AND ifnull(file, 0) = ifnull(?, 0)";

/// Raises an alarm, unless the same one stands. Says whether it is new.
pub(crate) fn raise(tx: &Tx<'_>, kind: AlarmKind, subject: Subject, detail: &str) -> Result<bool> {
    let insert = "INSERT OR IGNORE INTO alarm (kind, destination, content, file, detail, raised_at, raised_by)
         VALUES (?, ?, ?, ?, ?, ?, ?)";
    let values = (kind, subject.destination, subject.content, subject.file, detail, tx.now, tx.run);
    Ok(tx.sql.prepare_cached(insert)?.execute(values)? == 1)
}

/// Ends an alarm because this run proved the opposite.
pub(crate) fn end(tx: &Tx<'_>, kind: AlarmKind, subject: Subject) -> Result<()> {
    let update = format!("UPDATE alarm SET ended_at = ?, ended_by = ? WHERE {STANDING}");
    tx.sql.prepare_cached(&update)?.execute((tx.now, tx.run, kind, subject.destination, subject.content, subject.file))?;
    Ok(())
}

/// Whether an alarm stands.
pub(crate) fn stands(tx: &Tx<'_>, kind: AlarmKind, subject: Subject) -> Result<bool> {
    let standing = format!("SELECT EXISTS (SELECT 1 FROM alarm WHERE {STANDING})");
    let values = (kind, subject.destination, subject.content, subject.file);
    Ok(tx.sql.prepare_cached(&standing)?.query_row(values, |row| row.get(0))?)
}

impl Store {
    /// Alarms, standing ones only or all, oldest first.
    pub fn alarms(&self, only_standing: bool) -> Result<Vec<Alarm>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT alarm.id, alarm.kind, destination.name, content.blake3, volume.name, directory.path, file.name,
                        alarm.detail, alarm.raised_at, alarm.raised_by, alarm.ended_at, alarm.acknowledged
                 FROM alarm
                 LEFT JOIN destination ON destination.id = alarm.destination
                 LEFT JOIN content ON content.id = alarm.content
                 LEFT JOIN file ON file.id = alarm.file
                 LEFT JOIN directory ON directory.id = file.directory
                 LEFT JOIN volume ON volume.id = file.volume
                 WHERE NOT ?1 OR alarm.ended_at IS NULL ORDER BY alarm.id",
            )?;
            let mut rows = statement.query([only_standing])?;
            let mut alarms = Vec::new();
            while let Some(row) = rows.next()? {
                let volume: Option<String> = row.get(4)?;
                let file = match volume {
                    Some(volume) => Some((volume, crate::files::joined(row.get(5)?, row.get(6)?)?)),
                    None => None,
                };
                alarms.push(Alarm {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    destination: row.get(2)?,
                    content: row.get::<_, Option<[u8; 32]>>(3)?.map(ContentHash),
                    file,
                    detail: row.get(7)?,
                    raised: (row.get(8)?, row.get(9)?),
                    ended: row.get(10)?,
                    acknowledged: row.get(11)?,
                });
            }
            Ok(alarms)
        })
    }

    /// The destination that a standing alarm stands on: an acknowledgement is an evidence change of that one.
    pub fn standing_alarm(&self, id: AlarmId) -> Result<Option<DestinationId>> {
        self.read(|tx| {
            let standing = "SELECT destination FROM alarm WHERE id = ? AND ended_at IS NULL";
            let row: Option<Option<DestinationId>> = tx.row(standing, [id], |row| row.get(0)).optional()?;
            row.ok_or_else(|| StoreError::NotFound(format!("no alarm {id} stands")))
        })
    }
}

impl Run<EvidenceChange> {
    /// Acknowledges an alarm on a person's word.
    ///
    /// One on a file makes the next index read that file again, so that its new bytes get a row of their own. One about a rollback
    /// makes the next push prove and list everything anew.
    pub fn acknowledge(&self, id: AlarmId, reason: &str) -> Result<()> {
        self.write(|tx| {
            let standing = "SELECT kind, destination, file FROM alarm WHERE id = ? AND ended_at IS NULL";
            let row: Option<(AlarmKind, Option<DestinationId>, Option<FileId>)> =
                tx.sql.row(standing, [id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
            let Some((kind, destination, file)) = row else {
                return Err(StoreError::NotFound(format!("no alarm {id} stands")));
            };
            let update = "UPDATE alarm SET ended_at = ?, ended_by = ?, acknowledged = ? WHERE id = ?";
            tx.sql.change(update, (tx.now, tx.run, reason, id))?;
            if let Some(file) = file {
                tx.sql.change("UPDATE file SET racy = 1 WHERE id = ?", [file])?;
            }
            if kind == AlarmKind::RolledBack {
                tx.sql.change("UPDATE head SET forgotten = 1 WHERE destination = ?", [destination])?;
                if let Some(destination) = destination {
                    // Without its heads, nobody could notice that it went back with another volume, too.
                    lower_receipts(tx, destination)?;
                    // What it told of may not be told there any more, and without its heads no verify finds that.
                    let generation = raise_generation(tx, destination)?;
                    forget_vectors(tx, "reset", destination, None, generation, reason)?;
                }
            }
            Ok(())
        })
    }
}
