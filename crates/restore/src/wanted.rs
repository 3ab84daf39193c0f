//! Which files come back.

use crate::error::RestoreError;
use lastcopy_fs::{Content, ContentHash, RelPath};
use lastcopy_store::{ContentId, FileId, FileRecord, FileStatus, Store, StoreError, VolumeId};
use std::collections::HashSet;

/// A file that is to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where, below the target.
    pub path: RelPath,
    /// Row of its content.
    pub content_id: ContentId,
    /// What it shall hold.
    pub content: Content,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
    /// Whether it may replace what is in its place, if a person says so: not if that never held still, because somebody is writing it.
    pub replaces: bool,
}

impl From<FileRecord> for Wanted {
    fn from(file: FileRecord) -> Self {
        Self {
            path: file.path,
            content_id: file.content_id,
            content: file.content,
            mtime_ns: file.seen.mtime_ns,
            mode: file.seen.mode,
            replaces: file.status != FileStatus::Superseded,
        }
    }
}

/// Which files come back: known by their rows, so that a million cost little, or one by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedList {
    /// Files of the index.
    Files(Vec<FileId>),
    /// One content under a name.
    One(Box<Wanted>),
}

/// Which files of a volume come back for some paths: offloaded ones at and below them, missing ones only if they are named
/// themselves; or [`everything_below`] them.
pub fn wanted_below(store: &Store, volume: VolumeId, below: &[RelPath], everything: bool) -> Result<WantedList, RestoreError> {
    if everything {
        return Ok(everything_below(store, volume, below)?.0);
    }
    let mut files = store.select_files(volume, below, &[FileStatus::Offloaded])?;
    for path in below {
        // One that the index takes for present may be gone since; if it is there, nothing happens to it.
        let named = |file: &FileRecord| matches!(file.status, FileStatus::Missing | FileStatus::Present | FileStatus::Superseded);
        files.extend(store.last_known_at(volume, path)?.filter(named).map(|file| file.id));
    }
    // A path may be named twice; it comes back once.
    let mut known = HashSet::new();
    files.retain(|file| known.insert(*file));
    Ok(WantedList::Files(files))
}

/// All that the index knows below some paths, for replacing what differs and for restoring elsewhere; and the missing files that are no part of
/// it, because later ones would be in their way, or they in the way of those.
pub fn everything_below(store: &Store, volume: VolumeId, below: &[RelPath]) -> Result<(WantedList, Vec<RelPath>), RestoreError> {
    let mut files = store.select_files(volume, below, &[FileStatus::Present, FileStatus::Offloaded])?;
    let mut left_out = Vec::new();
    for id in store.select_files(volume, below, &[FileStatus::Missing])? {
        let file = store.file(id)?;
        if below.contains(&file.path) || !store.gives_way(&file)? {
            files.push(id);
        } else {
            left_out.push(file.path);
        }
    }
    Ok((WantedList::Files(files), left_out))
}

/// The paths of a volume that hold a content and lack their file: offloaded and missing ones.
pub fn wanted_with(store: &Store, volume: VolumeId, hash: ContentHash) -> Result<WantedList, RestoreError> {
    let lacks = |file: &FileRecord| file.volume == volume && matches!(file.status, FileStatus::Offloaded | FileStatus::Missing);
    Ok(WantedList::Files(store.files_with_content(hash)?.into_iter().filter(lacks).map(|file| file.id).collect()))
}

/// A content, whatever became of the paths that held it, under the name that it had last.
pub fn wanted_content(store: &Store, hash: ContentHash) -> Result<Option<Wanted>, RestoreError> {
    let Some((content_id, content)) = store.content_by_hash(hash)? else { return Ok(None) };
    let newest = store.files_with_content(hash)?.into_iter().next();
    let name = newest.as_ref().and_then(|file| file.path.split().map(|(_, name)| name.to_vec()));
    let named = |bytes: Vec<u8>| RelPath::new(bytes).map_err(|error| StoreError::Refused(error.to_string()));
    let path = named(name.unwrap_or_else(|| hash.to_string().into_bytes()))?;
    let (mtime_ns, mode) = newest.map_or((0, 0o644), |file| (file.seen.mtime_ns, file.seen.mode));
    Ok(Some(Wanted { path, content_id, content, mtime_ns, mode, replaces: true }))
}
