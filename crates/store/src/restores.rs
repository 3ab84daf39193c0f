//! Restores as the index sees them: what can come back, and paths that became present again.

use crate::alarms::{self, AlarmKind, Subject};
use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::files::{
    self, DirectoryCache, FileRecord, FileStatus, NewRow, Seen, close_row, content_id, insert_present, is_of_another_size,
};
use crate::ids::{ContentId, DestinationId, DirectoryId, FileId, VolumeId};
use crate::runs::{Restore, Run, RunStatus, Tx};
use crate::store::{Store, current_epoch};
use crate::volume::Volume;
use lastcopy_fs::{Content, Id128, RelPath};
use rusqlite::{OptionalExtension, Transaction};

/// A file that was brought back to its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Where it is now.
    pub path: RelPath,
    /// What it holds.
    pub content: ContentId,
    /// How it looks, after everything that a restore does to it.
    pub seen: Seen,
}

/// A path that a destination remembers, and the index does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The path.
    pub path: RelPath,
    /// What it held.
    pub content: Content,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
    /// `offloaded` or `missing`: what is on the disk is for an index run to find. Or `superseded`, by whatever else is known of the path.
    pub status: FileStatus,
    /// Whether it says nothing of a path that is known already.
    pub yields: bool,
    /// Whether it says nothing of a path that was known before this run in any way. Else only a recovery's word gives way.
    pub index_first: bool,
}

impl Run<Restore> {
    /// Records files that are back in their places, in one transaction. They are present since this run.
    pub fn restored(&self, files: &[Restored]) -> Result<()> {
        let volume = self.own_volume()?;
        self.write(|tx| {
            let mut directories = DirectoryCache::new(volume);
            for file in files {
                let (directory, name) = split(&file.path)?;
                let directory = directories.id(tx.sql, &directory)?;
                if let Some(old) = files::at_path(tx.sql, volume, &file.path)? {
                    close_row(tx, old.id, FileStatus::Superseded)?;
                    // The file that is there now was hashed as it arrived; that of the old row is not there any more.
                    alarms::end(tx, AlarmKind::ContentChanged, Subject::file(old.id))?;
                }
                let (content, seen) = (file.content, &file.seen);
                insert_present(tx, &NewRow { volume, directory, name, content, seen, present_since: tx.run })?;
            }
            Ok(())
        })
    }

    /// Records what a destination says of a volume, all of it in one transaction: the words of older lives and segments come first, and who is
    /// stopped among them leaves none of those behind as if they were the last. `note` says what was recovered, and stays with the run
    /// however that ends.
    pub fn recovering<T, E: From<StoreError>>(
        &self,
        note: Option<&str>,
        work: impl FnOnce(&mut Recording<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let volume = self.own_volume()?;
        let mut failed = None;
        let recorded = self.write(|tx| {
            let mut recording = Recording { store: self.store(), tx, volume, directories: DirectoryCache::new(volume) };
            let value = work(&mut recording).map_err(|error| {
                failed = Some(error);
                StoreError::impossible("a recovery that ended early")
            })?;
            tx.sql.change("UPDATE run SET summary = ? WHERE id = ?", (note, tx.run))?;
            Ok(value)
        });
        recorded.map_err(|error| failed.unwrap_or_else(|| error.into()))
    }

    /// What this index knows of the volume already.
    pub fn known_before(&self) -> Result<KnownBefore> {
        let volume = self.own_volume()?;
        self.store().read(|tx| {
            let otherwise = format!(
                "SELECT EXISTS (SELECT 1 FROM file f JOIN run r ON r.id = f.present_since
                 WHERE f.volume = ? AND (r.kind <> 'restore' OR f.status <> 'superseded' AND NOT {ONLY_TOLD}))"
            );
            let otherwise = tx.row(&otherwise, [volume], |row| row.get(0))?;
            Ok(KnownBefore { otherwise, noted: noted(tx, volume)? })
        })
    }

    /// How many paths stand as this run recorded them.
    pub fn count_recorded(&self) -> Result<u64> {
        let volume = self.own_volume()?;
        self.store().read(|tx| {
            let count = "SELECT count(*) FROM file WHERE volume = ? AND present_since = ? AND status <> 'superseded'";
            Ok(tx.row(count, (volume, self.id()), |row| row.get(0))?)
        })
    }

    fn own_volume(&self) -> Result<VolumeId> {
        let volume = self.volume().map(Volume::id);
        volume.ok_or_else(|| StoreError::impossible("a restore that changes a volume, without one"))
    }
}

/// What an index knew of a volume before a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownBefore {
    /// Whether it knows any path by anything else than recoveries.
    pub otherwise: bool,
    /// What earlier recoveries, and other restores, noted, and how they ended.
    pub noted: Vec<(String, RunStatus)>,
}

/// Under this condition a row `f` stands by the word of a recovery alone: no walk saw the file, and nothing happened to it here.
const ONLY_TOLD: &str = "(f.status IN ('offloaded', 'missing') AND f.status_run = f.present_since
    AND EXISTS (SELECT 1 FROM run r WHERE r.id = f.present_since AND r.kind = 'restore'))";

/// What the restores of a volume that ended noted. One that was stopped noted something only if its words are recorded.
fn noted(tx: &Transaction<'_>, volume: VolumeId) -> Result<Vec<(String, RunStatus)>> {
    let ended = "SELECT summary, status FROM run
         WHERE volume = ? AND kind = 'restore' AND status <> 'running' AND summary IS NOT NULL ORDER BY id";
    let mut ended = tx.prepare_cached(ended)?;
    let summaries = ended.query_map([volume], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(summaries.collect::<rusqlite::Result<_>>()?)
}

/// What a recovery records, in its one transaction.
pub struct Recording<'a> {
    store: &'a Store,
    tx: &'a Tx<'a>,
    volume: VolumeId,
    directories: DirectoryCache,
}

impl std::fmt::Debug for Recording<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl Recording<'_> {
    /// Records what a destination says of some paths, in the order in which it says it: a later word supersedes an earlier one.
    ///
    /// The answer is those that were left out, because the index knows their content with another number of bytes.
    pub fn say<'a>(&mut self, files: &'a [Recovered]) -> Result<Vec<&'a RelPath>> {
        let mut left_out = Vec::new();
        for file in files {
            if file.status == FileStatus::Present {
                return Err(StoreError::Refused("only a walk can find a file present".into()));
            }
            if is_of_another_size(self.tx.sql, file.content)? {
                left_out.push(&file.path);
            } else {
                self.say_one(file)?;
            }
        }
        Ok(left_out)
    }

    fn say_one(&mut self, file: &Recovered) -> Result<()> {
        let (tx, volume) = (self.tx, self.volume);
        let content = content_id(tx.sql, file.content)?;
        let (directory, name) = split(&file.path)?;
        let directory = self.directories.id(tx.sql, &directory)?;
        let mut status = file.status;
        if status != FileStatus::Superseded {
            let known = files::at_path(tx.sql, volume, &file.path)?;
            let yields = match &known {
                Some(known) => file.yields || known.present_since != tx.run && (file.index_first || !only_told(tx, known.id)?),
                // What was seen there last may not have held still, and is the better word all the same.
                None => (file.yields || file.index_first) && was_seen(tx, directory, name)?,
            };
            let says_the_same = known.as_ref().is_some_and(|known| {
                (known.content_id, known.status, known.seen.mtime_ns, known.seen.mode)
                    == (content, status, file.mtime_ns, file.mode)
            });
            if says_the_same {
                return Ok(());
            }
            match known {
                // It is no news of the path, but that somebody had this content there.
                _ if yields => status = FileStatus::Superseded,
                Some(known) => close_row(tx, known.id, FileStatus::Superseded)?,
                None => {}
            }
        }
        if status == FileStatus::Superseded {
            // By the path: many files may have this content.
            let had =
                "SELECT EXISTS (SELECT 1 FROM file WHERE directory = ?1 AND name = ?2 AND status = 'superseded' AND content = ?3)
                OR EXISTS (SELECT 1 FROM file WHERE directory = ?1 AND name = ?2 AND status <> 'superseded' AND content = ?3)";
            if tx.sql.row(had, (directory, name, content), |row| row.get(0))? {
                return Ok(());
            }
        }
        let seen = Seen { size: file.content.size, mtime_ns: file.mtime_ns, ctime_ns: 0, inode: 0, mode: file.mode, racy: true };
        files::insert(tx, &NewRow { volume, directory, name, content, seen: &seen, present_since: tx.run }, status).map(drop)
    }

    /// Remembers which life of which index the volume is recovered from: what is pushed from now on continues that one.
    pub fn continues(&mut self, node: Id128, node_name: &str, epoch: Id128) -> Result<()> {
        let (tx, own_node) = (self.tx, self.store.node());
        let current = current_epoch(tx.sql)?.1;
        let known = tx.sql.row("SELECT 1 FROM epoch WHERE uuid = ?", [epoch.0], |_| Ok(())).optional()?.is_some();
        // Another life of this very node ends the current one as soon as its head is met; a row for it would end it here.
        if epoch == current || (node == own_node && !known) {
            return Ok(());
        }
        if !known {
            tx.sql.change("INSERT OR IGNORE INTO node (uuid, name, is_self) VALUES (?, ?, 0)", (node.0, node_name))?;
            tx.sql.change(
                "INSERT INTO epoch (uuid, node, began_at, reason) SELECT ?, id, ?, 'a volume was recovered from it' FROM node
                 WHERE uuid = ?",
                (epoch.0, tx.now, node.0),
            )?;
        }
        tx.sql.change(
            "INSERT INTO evidence_log (at, run, event, volume, epoch, reason)
             SELECT ?, ?, 'epoch', ?, id, 'the volume was recovered from it' FROM epoch WHERE uuid = ?",
            (tx.now, tx.run, self.volume, epoch.0),
        )?;
        Ok(())
    }
}

/// Whether anything but what recoveries told of earlier times was at a path before this run.
fn was_seen(tx: &Tx<'_>, directory: DirectoryId, name: &[u8]) -> Result<bool> {
    let seen = "SELECT EXISTS (SELECT 1 FROM file WHERE directory = ? AND name = ? AND status = 'superseded'
         AND changed_seq > since_seq AND status_run <> ?)";
    Ok(tx.sql.row(seen, (directory, name, tx.run), |row| row.get(0))?)
}

fn only_told(tx: &Tx<'_>, file: FileId) -> Result<bool> {
    Ok(tx.sql.row(&format!("SELECT {ONLY_TOLD} FROM file f WHERE f.id = ?"), [file], |row| row.get(0))?)
}

fn split(path: &RelPath) -> Result<(RelPath, &[u8])> {
    path.split().ok_or_else(|| StoreError::Refused("the root of a volume is no file".into()))
}

impl Store {
    /// The newest rows of a volume at or below some paths, with one of these statuses, by path. Eight bytes each. What followed the last known
    /// content of a path may never have held still; then that content is missing.
    pub fn select_files(&self, volume: VolumeId, below: &[RelPath], statuses: &[FileStatus]) -> Result<Vec<FileId>> {
        let sql = "SELECT f.id, d.path, f.name, CASE f.status WHEN 'superseded' THEN 'missing' ELSE f.status END
             FROM file f JOIN directory d ON d.id = f.directory
             WHERE f.volume = ?1 AND (f.status <> 'superseded' OR
                f.id IN (SELECT coalesce(max(CASE WHEN o.changed_seq > o.since_seq THEN o.id END), max(o.id))
                    FROM file o WHERE o.volume = ?1 AND o.status = 'superseded' AND NOT EXISTS
                    (SELECT 1 FROM file n WHERE n.directory = o.directory AND n.name = o.name AND n.status <> 'superseded')
                    GROUP BY o.directory, o.name))
             ORDER BY d.path, f.name";
        self.read(|tx| {
            let mut statement = tx.prepare_cached(sql)?;
            let mut rows = statement.query([volume])?;
            let mut selected = Vec::new();
            while let Some(row) = rows.next()? {
                if statuses.contains(&row.get(3)?) {
                    let everything = below.iter().any(RelPath::is_root);
                    let path = files::joined(row.get(1)?, row.get(2)?)?;
                    if everything || below.iter().any(|ancestor| path.is_within(ancestor)) {
                        selected.push(row.get(0)?);
                    }
                }
            }
            Ok(selected)
        })
    }

    /// What the restores of a volume that ended noted, and how they ended: recoveries among them.
    pub fn noted_by_restores(&self, volume: VolumeId) -> Result<Vec<(String, RunStatus)>> {
        self.read(|tx| noted(tx, volume))
    }

    /// Whether an offloaded file of a volume has no receipt at a destination, in the incarnation that was accepted there last.
    pub fn lacks_receipts(&self, volume: VolumeId, destination: DestinationId) -> Result<bool> {
        let lacks = "SELECT EXISTS (SELECT 1 FROM file f WHERE f.volume = ?1 AND f.status = 'offloaded' AND NOT EXISTS
            (SELECT 1 FROM receipt r JOIN destination d ON d.id = r.destination
             WHERE d.id = ?2 AND r.content = f.content AND r.incarnation = d.incarnation))";
        self.read(|tx| Ok(tx.row(lacks, (volume, destination), |row| row.get(0))?))
    }

    /// How many paths at or below one are known, whatever became of them.
    pub fn count_below(&self, volume: VolumeId, path: &RelPath) -> Result<u64> {
        let statuses = [FileStatus::Present, FileStatus::Quarantined, FileStatus::Missing, FileStatus::Offloaded];
        if self.last_known_at(volume, path)?.is_some() {
            return Ok(1);
        }
        Ok(self.select_files(volume, std::slice::from_ref(path), &statuses)?.len() as u64)
    }

    /// Whether a file that is gone stands where it cannot be together with what is known later: above or below a path that is on the disk or
    /// offloaded, or that went missing after it.
    pub fn gives_way(&self, file: &FileRecord) -> Result<bool> {
        let (volume, counts) =
            (file.volume, "n.status IN ('present', 'quarantined', 'offloaded') OR n.status = 'missing' AND n.id > ?");
        if self.is_above(volume, &file.path, counts, file.id)? {
            return Ok(true);
        }
        let is_later = |found: FileRecord| found.status != FileStatus::Missing || found.id > file.id;
        let mut above = file.path.split().map(|(parent, _)| parent);
        while let Some(path) = above {
            if self.file_at(volume, &path)?.is_some_and(is_later) {
                return Ok(true);
            }
            above = path.split().map(|(parent, _)| parent);
        }
        Ok(false)
    }

    /// Whether the index takes a file for present below a path.
    pub fn has_present_below(&self, volume: VolumeId, path: &RelPath) -> Result<bool> {
        self.is_above(volume, path, "n.status = 'present' AND n.id > ?", FileId(0))
    }

    fn is_above(&self, volume: VolumeId, path: &RelPath, counts: &str, than: FileId) -> Result<bool> {
        let below = format!(
            "SELECT EXISTS (SELECT 1 FROM directory d JOIN file n ON n.directory = d.id
             WHERE d.volume = ? AND (d.path = ? OR d.path > ? AND d.path < ?) AND ({counts}))"
        );
        let path = path.as_bytes();
        let (from, to) = ([path, b"/"].concat(), [path, b"0"].concat());
        self.read(|tx| Ok(tx.row(&below, (volume, path, from, to, than), |row| row.get(0))?))
    }

    /// Some rows, in the order given.
    pub fn files(&self, ids: &[FileId]) -> Result<Vec<FileRecord>> {
        self.read(|tx| ids.iter().map(|id| files::by_id(tx, *id)).collect())
    }
}
