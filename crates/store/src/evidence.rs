//! Evidence: everything that the offload gate looks at, loaded in one consistent view.

use crate::db::Cached;
use crate::destination::{self, DestinationRecord, Incarnation};
use crate::error::Result;
use crate::files::{self, FileRecord, FileStatus};
use crate::heads;
use crate::ids::{ContentId, DestinationId, FileId, HeadId, RunId, Timestamp, VolumeId};
use crate::policy::Method;
use crate::receipts::ReceiptLevel;
use crate::store::{Store, current_epoch};
use crate::vectors;
use lastcopy_fs::RelPath;
use rusqlite::{OptionalExtension, Transaction};
use std::collections::HashSet;

/// What the index knows of one file, for the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The file.
    pub file: FileRecord,
    /// Nodes that count on this copy, by name.
    pub relied_on_by: Vec<String>,
    /// An alarm stands on the file itself.
    pub alarm: bool,
    /// The path has two versions that a person has to choose between.
    pub frozen: bool,
}

/// What the index knows of one file at one destination, for the gate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The destination.
    pub destination: DestinationId,
    /// Who was accepted there.
    pub accepted: Option<Incarnation>,
    /// Who answered last.
    pub answered: Option<Incarnation>,
    /// An alarm stands on the destination.
    pub destination_alarm: bool,
    /// An alarm stands on this content there.
    pub content_alarm: bool,
    /// How far this node's changes are durable there; not as far as anything, for a file that no segment there tells of.
    pub component: Option<RunId>,
    /// The best live receipt for the content there.
    pub receipt: Option<ReceiptFacts>,
}

/// A live receipt, for the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptFacts {
    /// How much it says.
    pub level: ReceiptLevel,
    /// How it was learnt.
    pub method: Method,
    /// When the bytes were last checked.
    pub verified_at: Option<Timestamp>,
}

/// What is the same for every file of a volume.
pub(crate) struct Shared {
    relied_on_by: Vec<String>,
    frozen: HashSet<RelPath>,
    file_alarms: HashSet<FileId>,
    destinations: Vec<AtDestination>,
}

struct AtDestination {
    record: DestinationRecord,
    alarm: bool,
    /// Contents on which an alarm stands there; empty almost always.
    content_alarms: HashSet<ContentId>,
    component: Option<RunId>,
    /// The last head there, if its segments withhold anything.
    withholding: Option<HeadId>,
}

pub(crate) fn shared(tx: &Transaction<'_>, volume: VolumeId, destinations: &[DestinationId]) -> Result<Shared> {
    let (epoch, _) = current_epoch(tx)?;
    let names = "SELECT node.name FROM reliance JOIN node ON node.id = reliance.node WHERE reliance.volume = ? ORDER BY 1";
    let paths = "SELECT path FROM conflict WHERE volume = ? AND resolved_by IS NULL";
    let mut frozen = HashSet::new();
    for path in list::<Vec<u8>>(tx, paths, [volume])? {
        frozen.insert(files::rel_path(&path)?);
    }
    let at = |id: &DestinationId| -> Result<AtDestination> {
        let standing = "SELECT EXISTS (SELECT 1 FROM alarm WHERE destination = ? AND content IS NULL AND ended_at IS NULL)";
        let contents = "SELECT content FROM alarm WHERE destination = ? AND content IS NOT NULL AND ended_at IS NULL";
        Ok(AtDestination {
            record: destination::by_id(tx, *id)?,
            alarm: tx.row(standing, [id], |row| row.get(0))?,
            content_alarms: list(tx, contents, [id])?.into_iter().collect(),
            component: vectors::component(tx, volume, *id, epoch)?,
            withholding: heads::withholding(tx, volume, *id, epoch)?,
        })
    };
    Ok(Shared {
        relied_on_by: list(tx, names, [volume])?,
        frozen,
        file_alarms: list(tx, "SELECT file FROM alarm WHERE file IS NOT NULL AND ended_at IS NULL", [])?.into_iter().collect(),
        destinations: destinations.iter().map(at).collect::<Result<_>>()?,
    })
}

fn list<T: rusqlite::types::FromSql>(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> Result<Vec<T>> {
    let mut statement = tx.prepare_cached(sql)?;
    let rows = statement.query_map(values, |row| row.get(0))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

impl Shared {
    /// Everything about one file.
    pub(crate) fn of(&self, tx: &Transaction<'_>, file: FileRecord) -> Result<(FileFacts, Vec<Evidence>)> {
        let evidence = self.destinations.iter().map(|at| at.evidence(tx, &file)).collect::<Result<Vec<_>>>()?;
        let facts = FileFacts {
            relied_on_by: self.relied_on_by.clone(),
            alarm: self.file_alarms.contains(&file.id),
            frozen: !self.frozen.is_empty() && self.frozen.contains(&file.path),
            file,
        };
        Ok((facts, evidence))
    }
}

impl AtDestination {
    fn evidence(&self, tx: &Transaction<'_>, file: &FileRecord) -> Result<Evidence> {
        let receipt = self.live_receipt(tx, file.content_id)?;
        // What was left out of a push holds its vector not back, and its content may be proven there since, for another file. By its name
        // nobody would find it: so no push covers it.
        let told = match (self.withholding, receipt) {
            (Some(head), Some(_)) => !heads::withholds(tx, head, file.id)?,
            _ => true,
        };
        Ok(Evidence {
            destination: self.record.id,
            accepted: self.record.incarnation.clone(),
            answered: self.record.answered.clone(),
            destination_alarm: self.alarm,
            content_alarm: self.content_alarms.contains(&file.content_id),
            component: self.component.map(|component| if told { component } else { RunId(0) }),
            receipt,
        })
    }

    /// A receipt is live while it is not lost and the incarnation that gave it is who answers now. The best one counts.
    fn live_receipt(&self, tx: &Transaction<'_>, content: ContentId) -> Result<Option<ReceiptFacts>> {
        let (Some(accepted), true) = (&self.record.incarnation, self.record.incarnation == self.record.answered) else {
            return Ok(None);
        };
        let live = "SELECT level, method, verified_at FROM receipt WHERE destination = ? AND content = ? AND lost_at IS NULL
             AND incarnation = ? ORDER BY level = 'verified' DESC, verified_at DESC LIMIT 1";
        let receipt = tx.prepare_cached(live)?.query_row((self.record.id, content, accepted.as_str()), |row| {
            Ok(ReceiptFacts { level: row.get(0)?, method: row.get(1)?, verified_at: row.get(2)? })
        });
        Ok(receipt.optional()?)
    }
}

/// Which present files of a volume are looked at, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// These paths and everything below them; the root is everything.
    pub below: Vec<RelPath>,
    /// Only files last modified before this time, nanoseconds since 1970.
    pub modified_before_ns: Option<i64>,
    /// Only files of at least so many bytes.
    pub at_least_bytes: Option<u64>,
    /// The longest unmodified first, instead of by path.
    pub oldest_first: bool,
}

impl Store {
    /// The present files that a selection names. Eight bytes each, so that a million cost nothing.
    pub fn select_present(&self, volume: VolumeId, selection: &Selection) -> Result<Vec<FileId>> {
        let order = if selection.oldest_first { "f.mtime_ns, f.id" } else { "d.path, f.name" };
        let sql = format!(
            "SELECT f.id, d.path, f.name FROM file f JOIN directory d ON d.id = f.directory
             WHERE f.volume = ?1 AND f.until_seq IS NULL AND (?2 IS NULL OR f.mtime_ns < ?2) AND (?3 IS NULL OR f.size >= ?3)
             ORDER BY {order}"
        );
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query((volume, selection.modified_before_ns, selection.at_least_bytes))?;
            let mut selected = Vec::new();
            while let Some(row) = rows.next()? {
                let everything = selection.below.iter().any(RelPath::is_root);
                if everything || within_any(&selection.below, &files::joined(row.get(1)?, row.get(2)?)?) {
                    selected.push(row.get(0)?);
                }
            }
            Ok(selected)
        })
    }

    /// Loads the evidence of some files of a volume at some destinations, in one consistent view.
    pub fn evidence(
        &self,
        volume: VolumeId,
        files: &[FileId],
        destinations: &[DestinationId],
    ) -> Result<Vec<(FileFacts, Vec<Evidence>)>> {
        self.read(|tx| {
            let shared = shared(tx, volume, destinations)?;
            files.iter().map(|id| shared.of(tx, files::by_id(tx, *id)?)).collect()
        })
    }

    /// Goes through all files of a volume with a status, and their evidence, in the cheapest order.
    pub fn scan_evidence(
        &self,
        volume: VolumeId,
        status: FileStatus,
        destinations: &[DestinationId],
        each: &mut dyn FnMut(&FileFacts, &[Evidence]) -> Result<()>,
    ) -> Result<()> {
        // As the indexes have it.
        let stands = match status {
            FileStatus::Present => "f.until_seq IS NULL".to_owned(),
            other => format!("f.status = '{}'", other.name()),
        };
        let sql = format!("{} WHERE f.volume = ? AND {stands}", files::RECORD);
        self.read(|tx| {
            let shared = shared(tx, volume, destinations)?;
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query([volume])?;
            while let Some(row) = rows.next()? {
                let (facts, evidence) = shared.of(tx, files::record(row)?)?;
                each(&facts, &evidence)?;
            }
            Ok(())
        })
    }
}

fn within_any(below: &[RelPath], path: &RelPath) -> bool {
    below.iter().any(|ancestor| path.is_within(ancestor))
}
