//! Restores as the index sees them: what can come back, and paths that became present again.

use crate::error::{Result, StoreError};
use crate::files::{self, DirectoryCache, FileRecord, FileStatus, NewRow, Seen, close_row, content_id, insert_present};
use crate::ids::{ContentId, VolumeId};
use crate::runs::{Restore, Run};
use crate::store::Store;
use crate::volume::Volume;
use lastcopy_fs::{Content, RelPath};
use rusqlite::OptionalExtension;

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
    /// `offloaded` or `missing`: what is on the disk is for an index run to find.
    pub status: FileStatus,
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
                }
                let (content, seen) = (file.content, &file.seen);
                insert_present(tx, &NewRow { volume, directory, name, content, seen, present_since: tx.run })?;
            }
            Ok(())
        })
    }

    /// Records paths that a destination remembers, in one transaction. Paths that the index knows stay as they are.
    pub fn recovered(&self, files: &[Recovered]) -> Result<usize> {
        let volume = self.own_volume()?;
        self.write(|tx| {
            let mut directories = DirectoryCache::new(volume);
            let mut count = 0;
            for file in files {
                if file.status == FileStatus::Present {
                    return Err(StoreError::Refused("only a walk can find a file present".into()));
                }
                let (directory, name) = split(&file.path)?;
                let directory = directories.id(tx.sql, &directory)?;
                let known = "SELECT 1 FROM file WHERE directory = ? AND name = ? AND status <> 'superseded'";
                if tx.sql.prepare_cached(known)?.query_row((directory, name), |_| Ok(())).optional()?.is_some() {
                    continue;
                }
                let content = content_id(tx.sql, file.content)?;
                let seen =
                    Seen { size: file.content.size, mtime_ns: file.mtime_ns, ctime_ns: 0, inode: 0, mode: file.mode, racy: true };
                let row = NewRow { volume, directory, name, content, seen: &seen, present_since: tx.run };
                let id = insert_present(tx, &row)?;
                close_row(tx, id, file.status)?;
                count += 1;
            }
            Ok(count)
        })
    }

    fn own_volume(&self) -> Result<VolumeId> {
        let volume = self.volume().map(Volume::id);
        volume.ok_or_else(|| StoreError::impossible("a restore that changes a volume, without one"))
    }
}

fn split(path: &RelPath) -> Result<(RelPath, &[u8])> {
    path.split().ok_or_else(|| StoreError::Refused("the root of a volume is no file".into()))
}

impl Store {
    /// The newest rows of a volume at or below some paths, with one of these statuses, by path.
    pub fn files_below(&self, volume: VolumeId, below: &[RelPath], statuses: &[FileStatus]) -> Result<Vec<FileRecord>> {
        let mut found = Vec::new();
        self.read(|tx| {
            let sql = format!(
                "{} WHERE f.volume = ? AND f.status = ? AND f.status <> 'superseded' ORDER BY d.path, f.name",
                files::RECORD
            );
            for status in statuses {
                let mut statement = tx.prepare_cached(&sql)?;
                let mut rows = statement.query((volume, status))?;
                while let Some(row) = rows.next()? {
                    let record = files::record(row)?;
                    if below.iter().any(|ancestor| record.path.is_within(ancestor)) {
                        found.push(record);
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }
}
