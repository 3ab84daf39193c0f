//! Files: what the index observed at each path, as history.

use crate::alarms::{self, AlarmKind, Subject};
use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::ids::{ContentId, DirectoryId, FileId, RunId, VolumeId, text_enum};
use crate::runs::{Audit, Index, Outcome, Run, Sync, Tx};
use crate::store::Store;
use crate::volume::IGNORE_FILE;
use lastcopy_fs::{Content, ContentHash, FileStat, RelPath};
use rusqlite::{Connection, OptionalExtension, Transaction};

text_enum! {
    /// How a path stands.
    pub enum FileStatus {
        /// On the disk.
        Present = "present",
        /// Moved aside by an offload, not yet deleted.
        Quarantined = "quarantined",
        /// Gone from the disk, reason unknown.
        Missing = "missing",
        /// The path holds other content now, or bytes that would not hold still.
        Superseded = "superseded",
        /// Deleted here on purpose, durable elsewhere.
        Offloaded = "offloaded",
    }
}

/// The metadata of a file as it was seen, for telling next time whether it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes.
    pub size: u64,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Change time, nanoseconds since 1970.
    pub ctime_ns: i64,
    /// Inode number.
    pub inode: u64,
    /// Permission bits.
    pub mode: u32,
    /// Whether a change right after the look could have left the same times: then it must be read again.
    pub racy: bool,
}

/// In nanoseconds.
const SECOND: i64 = 1_000_000_000;

impl Seen {
    /// From a look at the file at `read_at_ns` (nanoseconds since 1970, by the clock that stamps files), on a file system that
    /// stamps in steps of `step_ns`.
    pub fn from_stat(stat: &FileStat, read_at_ns: i64, step_ns: i64) -> Self {
        // ext2, ext3 and small ext4 look like any ext4, and stamp whole seconds. One that only happens to be whole is read once more.
        let whole = |time: i64| time.rem_euclid(SECOND) == 0;
        let step_ns = if whole(stat.ctime_ns) { step_ns.max(SECOND) } else { step_ns };
        let limit = read_at_ns.saturating_sub(step_ns);
        // A modification time far in the future was set by hand; any later change would set it back to the clock.
        let young_mtime = stat.mtime_ns >= limit && stat.mtime_ns <= read_at_ns.saturating_add(step_ns);
        Self {
            size: stat.size,
            mtime_ns: stat.mtime_ns,
            ctime_ns: stat.ctime_ns,
            inode: stat.inode,
            mode: stat.mode,
            racy: stat.ctime_ns >= limit || young_mtime,
        }
    }

    /// Whether a file that looks like `now` can be taken for unchanged: same size, times and inode, and not racy.
    pub fn is_unchanged(&self, now: &FileStat) -> bool {
        !self.racy && self.looks_like(now)
    }

    /// Whether size, times and inode are the same.
    pub fn looks_like(&self, now: &FileStat) -> bool {
        self.size == now.size && self.mtime_ns == now.mtime_ns && self.ctime_ns == now.ctime_ns && self.inode == now.inode
    }
}

/// The newest row of a path, as a walk needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownFile<'a> {
    /// Its row.
    pub id: FileId,
    /// Its name in the directory.
    pub name: &'a [u8],
    /// Its content.
    pub content: ContentId,
    /// How it stands.
    pub status: FileStatus,
    /// How it was seen.
    pub seen: Seen,
}

/// A file as recorded, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its row.
    pub id: FileId,
    /// The volume.
    pub volume: VolumeId,
    /// Path below the volume's root.
    pub path: RelPath,
    /// Row of its content.
    pub content_id: ContentId,
    /// Its content.
    pub content: Content,
    /// How it stands.
    pub status: FileStatus,
    /// How it was seen last.
    pub seen: Seen,
    /// The run in which the path last became present with this content.
    pub present_since: RunId,
    /// The run that gave it its status.
    pub status_run: RunId,
}

impl FileRecord {
    /// Whether it is an [`IGNORE_FILE`].
    pub fn says_what_is_left_out(&self) -> bool {
        self.path.split().is_some_and(|(_, name)| name == IGNORE_FILE.as_bytes())
    }
}

/// What was found at a path: bytes that held still while they were hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The directory, below the volume's root.
    pub directory: RelPath,
    /// The name in it.
    pub name: Vec<u8>,
    /// How the file looked, before and after it was read.
    pub seen: Seen,
    /// What it held.
    pub content: Content,
}

/// What an observation was to the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Observed {
    /// The path was not known.
    Added,
    /// The path held other content.
    Changed,
    /// The path was missing or offloaded, and holds the same content again.
    Reappeared,
    /// The same content; perhaps with other metadata.
    Unchanged,
    /// Other bytes under the same size and time, as an audit found before, which nobody took for meant. The index stays as it is.
    Doubted,
}

/// Reads the index for a walk, on a connection of its own, for one thread.
pub struct WalkReader<'a> {
    connection: &'a Connection,
    volume: VolumeId,
}

impl std::fmt::Debug for WalkReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WalkReader").field("volume", &self.volume).finish_non_exhaustive()
    }
}

impl WalkReader<'_> {
    /// The row of a directory, if anything in it was ever recorded.
    pub fn directory(&self, path: &RelPath) -> Result<Option<DirectoryId>> {
        let mut statement = self.connection.prepare_cached("SELECT id FROM directory WHERE volume = ? AND path = ?")?;
        Ok(statement.query_row((self.volume, path.as_bytes()), |row| row.get(0)).optional()?)
    }

    /// The newest rows of a directory's files, by name, whatever their status. Stops at the first error of `each`.
    pub fn files_in(&self, directory: DirectoryId, each: &mut dyn FnMut(KnownFile<'_>) -> Result<()>) -> Result<()> {
        let mut cursor = self.cursor()?;
        let mut rows = cursor.query([directory])?;
        while let Some(row) = rows.next()? {
            each(known_file(row)?)?;
        }
        Ok(())
    }

    fn cursor(&self) -> Result<rusqlite::CachedStatement<'_>> {
        Ok(self.connection.prepare_cached(
            "SELECT id, name, content, status, size, mtime_ns, ctime_ns, inode, mode, racy FROM file
             WHERE directory = ? AND status <> 'superseded' ORDER BY name",
        )?)
    }

    /// Every directory of the volume, in no order.
    pub fn directories(&self, each: &mut dyn FnMut(DirectoryId, RelPath) -> Result<()>) -> Result<()> {
        let mut statement = self.connection.prepare("SELECT id, path FROM directory WHERE volume = ?")?;
        let mut rows = statement.query([self.volume])?;
        while let Some(row) = rows.next()? {
            each(row.get(0)?, rel_path(row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?)?)?;
        }
        Ok(())
    }
}

fn known_file<'a>(row: &'a rusqlite::Row<'_>) -> rusqlite::Result<KnownFile<'a>> {
    Ok(KnownFile {
        id: row.get(0)?,
        name: row.get_ref(1)?.as_blob()?,
        content: row.get(2)?,
        status: row.get(3)?,
        seen: seen(row, 4)?,
    })
}

/// Six columns in the order of the struct.
pub(crate) fn seen(row: &rusqlite::Row<'_>, first: usize) -> rusqlite::Result<Seen> {
    Ok(Seen {
        size: row.get(first)?,
        mtime_ns: row.get(first + 1)?,
        ctime_ns: row.get(first + 2)?,
        inode: row.get::<_, i64>(first + 3)?.cast_unsigned(),
        mode: row.get(first + 4)?,
        racy: row.get(first + 5)?,
    })
}

impl Store {
    /// Lets one thread of a walk over a volume read the index.
    pub fn walking<T>(&self, volume: VolumeId, work: impl FnOnce(&WalkReader<'_>) -> T) -> Result<T> {
        self.on_reader(|connection| work(&WalkReader { connection, volume }))
    }

    /// How many files of a volume are present.
    pub fn count_present(&self, volume: VolumeId) -> Result<u64> {
        self.read(|tx| {
            let count = "SELECT count(*) FROM file WHERE volume = ? AND until_seq IS NULL";
            Ok(tx.row(count, [volume], |row| row.get(0))?)
        })
    }

    /// The newest row of a path, whatever its status but superseded.
    pub fn file_at(&self, volume: VolumeId, path: &RelPath) -> Result<Option<FileRecord>> {
        self.read(|tx| at_path(tx, volume, path))
    }

    /// What a path holds, or the last that is known of it: what followed may never have held still.
    pub fn last_known_at(&self, volume: VolumeId, path: &RelPath) -> Result<Option<FileRecord>> {
        let Some((directory, name)) = path.split() else { return Ok(None) };
        let sql = format!("{RECORD} WHERE d.volume = ? AND d.path = ? AND f.name = ? {NEWEST_FIRST} LIMIT 1");
        self.read(|tx| {
            if let Some(known) = at_path(tx, volume, path)? {
                return Ok(Some(known));
            }
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query((volume, directory.as_bytes(), name))?;
            rows.next()?.map(record).transpose()
        })
    }

    /// One row.
    pub fn file(&self, id: FileId) -> Result<FileRecord> {
        self.read(|tx| by_id(tx, id))
    }

    /// Everything ever recorded at a path, newest first.
    pub fn file_history(&self, volume: VolumeId, path: &RelPath) -> Result<Vec<FileRecord>> {
        let Some((directory, name)) = path.split() else { return Ok(Vec::new()) };
        self.read(|tx| {
            let sql = format!("{RECORD} WHERE d.volume = ? AND d.path = ? AND f.name = ? {NEWEST_FIRST}");
            collect(tx, &sql, (volume, directory.as_bytes(), name))
        })
    }

    /// Everything ever recorded with a content, newest first.
    pub fn files_with_content(&self, hash: ContentHash) -> Result<Vec<FileRecord>> {
        self.read(|tx| {
            let sql = format!(
                "{RECORD} WHERE f.content = (SELECT id FROM content WHERE blake3 = ?) AND f.volume IN (SELECT id FROM volume)
                 ORDER BY f.id DESC"
            );
            collect(tx, &sql, [hash.0])
        })
    }

    /// The content with this digest, if it was ever recorded.
    pub fn content_by_hash(&self, hash: ContentHash) -> Result<Option<(ContentId, Content)>> {
        self.read(|tx| {
            let find = "SELECT id, size FROM content WHERE blake3 = ?";
            let row = tx.row(find, [hash.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            Ok(row.map(|(id, size)| (id, Content { hash, size })))
        })
    }
}

impl Run<Index> {
    /// Records what was found at some paths, in one transaction.
    pub fn observe(&self, observations: &[Observation]) -> Result<Vec<Observed>> {
        let volume = self.own_volume()?;
        self.write(|tx| {
            let mut directory = DirectoryCache::new(volume);
            observations.iter().map(|seen| observe(tx, volume, &mut directory, seen)).collect()
        })
    }

    /// Records that the bytes at known paths would not hold still: the old contents are not there any more.
    pub fn unstable(&self, files: &[FileId]) -> Result<()> {
        self.write(|tx| files.iter().try_for_each(|file| close_row(tx, *file, FileStatus::Superseded)))
    }

    /// Records known files as gone from the disk, reason unknown, and ends the run, in one transaction.
    pub fn finish_index(self, missing: &[FileId], outcome: &Outcome, summary: Option<&str>) -> Result<()> {
        self.finish_with(outcome, summary, |tx| missing.iter().try_for_each(|file| close_row(tx, *file, FileStatus::Missing)))
    }

    fn own_volume(&self) -> Result<VolumeId> {
        let volume = self.volume().map(crate::volume::Volume::id);
        volume.ok_or_else(|| StoreError::impossible("an index run without a volume"))
    }
}

impl Run<Sync> {
    /// Records that a file's bytes changed while its metadata did not.
    pub fn content_changed(&self, file: FileId, detail: &str) -> Result<()> {
        self.write(|tx| alarms::raise(tx, AlarmKind::ContentChanged, Subject::file(file), detail).map(drop))
    }
}

impl Run<Audit> {
    /// Records that a file's bytes changed while its metadata did not.
    pub fn content_changed(&self, file: FileId, detail: &str) -> Result<()> {
        self.write(|tx| alarms::raise(tx, AlarmKind::ContentChanged, Subject::file(file), detail).map(drop))
    }

    /// Ends the alarm on a file whose bytes are what the index says, after all.
    pub fn content_as_indexed(&self, file: FileId) -> Result<()> {
        self.write(|tx| alarms::end(tx, AlarmKind::ContentChanged, Subject::file(file)))
    }
}

/// Directories are observed in groups: the last one is remembered.
pub(crate) struct DirectoryCache {
    volume: VolumeId,
    last: Option<(RelPath, DirectoryId)>,
}

impl DirectoryCache {
    pub(crate) fn new(volume: VolumeId) -> Self {
        Self { volume, last: None }
    }

    pub(crate) fn id(&mut self, tx: &Transaction<'_>, path: &RelPath) -> Result<DirectoryId> {
        if let Some((last, id)) = &self.last
            && last == path
        {
            return Ok(*id);
        }
        let insert = "INSERT OR IGNORE INTO directory (volume, path) VALUES (?, ?)";
        tx.prepare_cached(insert)?.execute((self.volume, path.as_bytes()))?;
        let find = "SELECT id FROM directory WHERE volume = ? AND path = ?";
        let id = tx.prepare_cached(find)?.query_row((self.volume, path.as_bytes()), |row| row.get(0))?;
        self.last = Some((path.clone(), id));
        Ok(id)
    }
}

/// The row of a content, made if it is new.
pub(crate) fn content_id(tx: &Transaction<'_>, content: Content) -> Result<ContentId> {
    let find = "SELECT id, size FROM content WHERE blake3 = ?";
    let known: Option<(ContentId, u64)> =
        tx.prepare_cached(find)?.query_row([content.hash.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    match known {
        Some((id, size)) if size == content.size => Ok(id),
        Some((_, size)) => Err(StoreError::impossible(format!(
            "content {} is recorded with {size} bytes, and was found with {}",
            content.hash, content.size
        ))),
        None => {
            let insert = "INSERT INTO content (blake3, size) VALUES (?, ?)";
            tx.prepare_cached(insert)?.execute((content.hash.0, content.size))?;
            Ok(ContentId(tx.last_insert_rowid()))
        }
    }
}

/// Whether a content is known with another number of bytes: then one of the two was never read.
pub(crate) fn is_of_another_size(tx: &Transaction<'_>, content: Content) -> Result<bool> {
    let find = "SELECT EXISTS (SELECT 1 FROM content WHERE blake3 = ? AND size <> ?)";
    Ok(tx.prepare_cached(find)?.query_row((content.hash.0, content.size), |row| row.get(0))?)
}

/// One observation. The row that it is compared with is read here, in the same transaction, whatever a walk saw before.
fn observe(tx: &Tx<'_>, volume: VolumeId, directories: &mut DirectoryCache, found: &Observation) -> Result<Observed> {
    let directory = directories.id(tx.sql, &found.directory)?;
    let content = content_id(tx.sql, found.content)?;
    let row = NewRow { volume, directory, name: &found.name, content, seen: &found.seen, present_since: tx.run };
    let Some(known) = newest_at(tx, directory, &found.name)? else {
        insert_present(tx, &row)?;
        return Ok(Observed::Added);
    };
    if known.status == FileStatus::Present && known.content == content {
        // Read, and found to be what it was, whatever its metadata says: no alarm stands on it any more.
        alarms::end(tx, AlarmKind::ContentChanged, Subject::file(known.id))?;
        if (known.mtime_ns, known.mode) == (found.seen.mtime_ns, found.seen.mode) {
            seen_again(tx, known.id, &found.seen)?;
        } else {
            close_row(tx, known.id, FileStatus::Superseded)?;
            insert_present(tx, &NewRow { present_since: known.present_since, ..row })?;
        }
        return Ok(Observed::Unchanged);
    }
    // What an audit called damaged is not meant because somebody changed its permissions since. What was gone meanwhile is another file.
    let looks_the_same =
        known.status == FileStatus::Present && (known.size, known.mtime_ns) == (found.content.size, found.seen.mtime_ns);
    if looks_the_same && alarms::stands(tx, AlarmKind::ContentChanged, Subject::file(known.id))? {
        return Ok(Observed::Doubted);
    }
    close_row(tx, known.id, FileStatus::Superseded)?;
    alarms::end(tx, AlarmKind::ContentChanged, Subject::file(known.id))?;
    insert_present(tx, &row)?;
    Ok(match known.status {
        FileStatus::Missing | FileStatus::Offloaded if known.content == content => Observed::Reappeared,
        _ => Observed::Changed,
    })
}

struct Newest {
    id: FileId,
    content: ContentId,
    status: FileStatus,
    size: u64,
    mtime_ns: i64,
    mode: u32,
    present_since: RunId,
}

fn newest_at(tx: &Tx<'_>, directory: DirectoryId, name: &[u8]) -> Result<Option<Newest>> {
    let find = "SELECT id, content, status, mtime_ns, mode, present_since, size FROM file
         WHERE directory = ? AND name = ? AND status <> 'superseded'";
    let row = tx.sql.prepare_cached(find)?.query_row((directory, name), |row| {
        Ok(Newest {
            id: row.get(0)?,
            content: row.get(1)?,
            status: row.get(2)?,
            mtime_ns: row.get(3)?,
            mode: row.get(4)?,
            present_since: row.get(5)?,
            size: row.get(6)?,
        })
    });
    Ok(row.optional()?)
}

/// A row that begins to be current.
pub(crate) struct NewRow<'a> {
    pub(crate) volume: VolumeId,
    pub(crate) directory: DirectoryId,
    pub(crate) name: &'a [u8],
    pub(crate) content: ContentId,
    pub(crate) seen: &'a Seen,
    pub(crate) present_since: RunId,
}

pub(crate) fn insert_present(tx: &Tx<'_>, row: &NewRow<'_>) -> Result<FileId> {
    insert(tx, row, FileStatus::Present)
}

/// Any other status than present was never anything else: no snapshot has the row.
pub(crate) fn insert(tx: &Tx<'_>, row: &NewRow<'_>, status: FileStatus) -> Result<FileId> {
    let seq = tx.seq()?;
    tx.sql
        .prepare_cached(
            "INSERT INTO file (volume, directory, name, content, size, mtime_ns, mode, ctime_ns, inode, racy,
                status, present_since, status_run, since_seq, until_seq, changed_seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?14, ?11, ?12, ?13, iif(?14 = 'present', NULL, ?13), ?13)",
        )?
        .execute((
            row.volume,
            row.directory,
            row.name,
            row.content,
            row.seen.size,
            row.seen.mtime_ns,
            row.seen.mode,
            row.seen.ctime_ns,
            row.seen.inode.cast_signed(),
            row.seen.racy,
            row.present_since,
            tx.run,
            seq,
            status,
        ))?;
    Ok(FileId(tx.sql.last_insert_rowid()))
}

fn seen_again(tx: &Tx<'_>, file: FileId, seen: &Seen) -> Result<()> {
    tx.sql.prepare_cached("UPDATE file SET ctime_ns = ?, inode = ?, racy = ? WHERE id = ?")?.execute((
        seen.ctime_ns,
        seen.inode.cast_signed(),
        seen.racy,
        file,
    ))?;
    Ok(())
}

/// Gives a row a status in which it is not current. Its interval ends now, if it had not ended before.
pub(crate) fn close_row(tx: &Tx<'_>, file: FileId, status: FileStatus) -> Result<()> {
    let seq = tx.seq()?;
    let update = "UPDATE file SET status = ?1, status_run = ?2, until_seq = ifnull(until_seq, ?3), changed_seq = ?3 WHERE id = ?4";
    tx.sql.prepare_cached(update)?.execute((status, tx.run, seq, file))?;
    Ok(())
}

/// What a recovery told of earlier times is not newer because it was told later.
const NEWEST_FIRST: &str = "ORDER BY f.status = 'superseded' AND f.changed_seq = f.since_seq, f.id DESC";

pub(crate) const RECORD: &str = "SELECT f.id, f.volume, d.path, f.name, f.content, c.blake3, c.size, f.status,
    f.present_since, f.status_run, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.mode, f.racy
    FROM file f JOIN directory d ON d.id = f.directory JOIN content c ON c.id = f.content";

pub(crate) fn record(row: &rusqlite::Row<'_>) -> Result<FileRecord> {
    Ok(FileRecord {
        id: row.get(0)?,
        volume: row.get(1)?,
        path: joined(row.get(2)?, row.get(3)?)?,
        content_id: row.get(4)?,
        content: Content { hash: ContentHash(row.get(5)?), size: row.get(6)? },
        status: row.get(7)?,
        present_since: row.get(8)?,
        status_run: row.get(9)?,
        seen: seen(row, 10)?,
    })
}

pub(crate) fn by_id(tx: &Transaction<'_>, id: FileId) -> Result<FileRecord> {
    let mut statement = tx.prepare_cached(&format!("{RECORD} WHERE f.id = ?"))?;
    let mut rows = statement.query([id])?;
    rows.next()?.map_or_else(|| Err(StoreError::NotFound(format!("there is no file row {id}"))), record)
}

pub(crate) fn at_path(tx: &Transaction<'_>, volume: VolumeId, path: &RelPath) -> Result<Option<FileRecord>> {
    let Some((directory, name)) = path.split() else { return Ok(None) };
    let sql = format!("{RECORD} WHERE d.volume = ? AND d.path = ? AND f.name = ? AND f.status <> 'superseded'");
    let mut statement = tx.prepare_cached(&sql)?;
    let mut rows = statement.query((volume, directory.as_bytes(), name))?;
    rows.next()?.map(record).transpose()
}

pub(crate) fn collect(tx: &Transaction<'_>, sql: &str, values: impl rusqlite::Params) -> Result<Vec<FileRecord>> {
    let mut statement = tx.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(record(row)?);
    }
    Ok(records)
}

/// A path that was written by us, and so was legal.
pub(crate) fn rel_path(bytes: &[u8]) -> Result<RelPath> {
    RelPath::new(bytes).map_err(|error| StoreError::impossible(error.to_string()))
}

pub(crate) fn joined(directory: Vec<u8>, name: Vec<u8>) -> Result<RelPath> {
    let mut bytes = directory;
    if !bytes.is_empty() {
        bytes.push(b'/');
    }
    bytes.extend(name);
    RelPath::new(bytes).map_err(|error| StoreError::impossible(error.to_string()))
}
