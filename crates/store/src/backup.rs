//! The index as a file: checking it, copying it, and putting a copy back.

use crate::db::{self, Use};
use crate::error::{Result, StoreError};
use crate::ids::RunId;
use crate::store::{NewEpoch, Store, StoreOptions, make_private_dir, resolved, sibling};
use lastcopy_fs::{Dir, Id128, LockFile, LockState};
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

impl Store {
    /// Checks the index: SQLite's structures, references, and what the model says of its rows. Empty when nothing is wrong.
    pub fn check(&self) -> Result<Vec<String>> {
        self.read(|tx| check(tx))
    }

    /// Writes a copy of the index to a new file, whole and durable, while others go on working. Refuses an existing file.
    ///
    /// The copy gets its name last. Until then it lies in the same directory under a name of ours, which is harmless if it stays.
    pub fn backup(&self, to: &Path) -> Result<()> {
        let exists = || StoreError::Refused(format!("{} exists already", to.display()));
        if to.exists() {
            return Err(exists());
        }
        let io = || StoreError::io(to);
        let to = std::path::absolute(to).map_err(io())?;
        let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else { return Err(exists()) };
        let parent = std::fs::canonicalize(parent).map_err(io())?;
        let temporary = format!(".lastcopy-backup-{}.tmp", Id128::random().map_err(io())?);
        let written = self.copy_to(&parent.join(&temporary)).and_then(|()| {
            let dir = Dir::open(&parent).map_err(io())?;
            match dir.rename_new(temporary.as_bytes(), &dir, name.as_bytes()) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists()),
                moved => moved.and_then(|()| dir.sync()).map_err(io())?,
            }
            Ok(())
        });
        if written.is_err() {
            // The first error is the one to report.
            drop(std::fs::remove_file(parent.join(&temporary)));
        }
        written
    }

    fn copy_to(&self, to: &Path) -> Result<()> {
        // Not a reader: `query_only` refuses to write the copy, too.
        let connection = db::connect(self.path(), Use::Write)?;
        // `VACUUM INTO` syncs the file and its directory under synchronous=FULL.
        connection.execute("VACUUM INTO ?", [to.as_os_str().as_bytes()]).or_else(|_| {
            let text = to.to_str().ok_or_else(|| StoreError::Refused(format!("{} is not UTF-8", to.display())))?;
            Ok::<_, StoreError>(connection.execute("VACUUM INTO ?", [text])?)
        })?;
        Ok(())
    }

    /// The schema, as SQL.
    pub fn schema(&self) -> Result<String> {
        self.read(|tx| {
            let mut statement = tx.prepare(
                "SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL AND name NOT LIKE 'refinery%' ORDER BY type DESC, name",
            )?;
            let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
            Ok(rows.collect::<rusqlite::Result<Vec<_>>>()?.join("\n"))
        })
    }
}

fn check(connection: &Connection) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut statement = connection.prepare("PRAGMA integrity_check(100)")?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in rows {
        let line = line?;
        if line != "ok" {
            wrong.push(line);
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    for row in rows {
        let (table, id) = row?;
        wrong.push(format!("row {} of {table} refers to nothing", id.unwrap_or_default()));
    }
    wrong.extend(db::schema_changes(connection)?);
    let rules = [
        ("present files whose interval has ended", "SELECT count(*) FROM file WHERE (until_seq IS NULL) <> (status = 'present')"),
        ("files newer than the newest run", "SELECT count(*) FROM file WHERE present_since > (SELECT max(id) FROM run)"),
        (
            "files whose size is not their content's",
            "SELECT count(*) FROM file f JOIN content c ON c.id = f.content WHERE c.size <> f.size",
        ),
        ("vectors above the newest run", "SELECT count(*) FROM vector WHERE component > (SELECT max(id) FROM run)"),
        (
            "quarantined files that no open intent knows",
            "SELECT count(*) FROM file f WHERE f.status = 'quarantined' AND NOT EXISTS
             (SELECT 1 FROM intent i WHERE i.file = f.id AND i.state IN ('moving', 'held', 'deleting'))",
        ),
    ];
    for (what, sql) in rules {
        let count: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        if count > 0 {
            wrong.push(format!("{count} {what}"));
        }
    }
    Ok(wrong)
}

/// Opens a copy of an index and checks it, without changing anything: neither the copy nor what lies beside it.
fn open_copy(backup: &Path) -> Result<Connection> {
    if !backup.is_file() {
        return Err(StoreError::NotFound(format!("{} is no file", backup.display())));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    // Without a log beside it, the file is all there is. SQLite would make a log there and leave it, if the index was copied as it lay.
    let backup = &std::fs::canonicalize(backup).map_err(StoreError::io(backup))?;
    let copy = if ["-wal", "-journal"].iter().any(|suffix| sibling(backup, suffix).exists()) {
        Connection::open_with_flags(backup, flags)?
    } else {
        let path: String = backup.as_os_str().as_bytes().iter().map(|byte| format!("%{byte:02x}")).collect();
        Connection::open_with_flags(format!("file:{path}?immutable=1"), flags | OpenFlags::SQLITE_OPEN_URI)?
    };
    let (found, known) = (db::found_version(&copy)?, db::known_version());
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found == 0 {
        return Err(StoreError::Corrupt { detail: format!("{} is no index", backup.display()) });
    }
    db::require_own_schema(&copy)?;
    match check(&copy)?.into_iter().next() {
        Some(wrong) => Err(StoreError::Corrupt { detail: wrong }),
        None => Ok(copy),
    }
}

/// Whether a file is a whole index that could take the place of this one.
pub fn check_copy(backup: &Path) -> Result<()> {
    open_copy(backup).map(drop)
}

/// Puts a copy of the index in its place, and begins a new epoch: the copy believes in what was lost since it was made.
///
/// Refused while anything runs. The index that was there stays beside it, under the name that is returned. The copy is checked
/// before anything is touched; after a power cut there is the old index or the new one.
pub fn restore_index(options: StoreOptions, backup: &Path) -> Result<(Store, NewEpoch, Option<PathBuf>)> {
    let copy = open_copy(backup)?;
    let parent = options.path.parent().unwrap_or(Path::new("/"));
    make_private_dir(parent)?;
    // As opening does: what goes with the index lies beside the file itself, not beside a link to it.
    let aside = put_in_place(&resolved(&options.path, parent)?, &copy)?;
    let (store, news) = Store::open(options)?;
    let news = match news {
        Some(news) => news,
        None => store.begin_epoch("the index was restored from a copy", None)?,
    };
    Ok((store, news, aside))
}

fn put_in_place(path: &Path, copy: &Connection) -> Result<Option<PathBuf>> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let opening = sibling(path, ".lock");
    let _opening = LockFile::wait(&opening, db::BUSY_TIMEOUT).map_err(|source| match source.kind() {
        std::io::ErrorKind::WouldBlock => StoreError::Locked,
        _ => StoreError::Io { path: opening.clone(), source },
    })?;
    refuse_while_running(path)?;
    let incoming = sibling(path, ".incoming");
    if incoming.exists() {
        std::fs::remove_file(&incoming).map_err(StoreError::io(&incoming))?;
    }
    let text = incoming.to_str().ok_or_else(|| StoreError::Refused(format!("{} is not UTF-8", incoming.display())))?;
    copy.execute("VACUUM INTO ?", [text])?;
    // SQLite leaves out the constraints of columns where it may only read: this file is ours, and so they are looked at here.
    if let Some(wrong) = check(&db::open(&incoming, false)?)?.into_iter().next() {
        std::fs::remove_file(&incoming).map_err(StoreError::io(&incoming))?;
        return Err(StoreError::Corrupt { detail: wrong });
    }
    let aside = path.exists().then(|| keep_aside(path)).transpose()?;
    let sync = || File::open(parent).and_then(|dir| dir.sync_all()).map_err(StoreError::io(parent));
    sync()?;
    std::fs::rename(&incoming, path).map_err(StoreError::io(path))?;
    sync()?;
    Ok(aside)
}

/// By their locks, not by the index, which may be damaged.
fn refuse_while_running(path: &Path) -> Result<()> {
    let runs = sibling(path, ".runs");
    if !runs.exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(&runs).map_err(StoreError::io(&runs))? {
        let lock = entry.map_err(StoreError::io(&runs))?.path();
        if matches!(LockFile::try_take(&lock).map_err(StoreError::io(&lock))?, LockState::Held) {
            return Err(StoreError::Running { run: lock.file_name().and_then(|lock| run_with(path, lock)) });
        }
    }
    Ok(())
}

/// The run that holds a lock, if the index can tell.
fn run_with(path: &Path, lock: &OsStr) -> Option<RunId> {
    let index = db::connect(path, Use::Read).ok()?;
    index.query_row("SELECT id FROM run WHERE liveness = ?", [lock.to_str()?], |row| row.get(0)).ok()
}

/// Gives the index that is there a second name. It keeps its own until the new one takes it: a crash leaves one of the two.
fn keep_aside(path: &Path) -> Result<PathBuf> {
    let aside = (1..)
        .map(|number| sibling(path, &format!(".before-restore-{number}")))
        .find(|candidate| !candidate.exists())
        .ok_or_else(|| StoreError::Refused("no name is left for the index that was here".into()))?;
    fold_log(path)?;
    std::fs::hard_link(path, &aside).map_err(StoreError::io(&aside))?;
    // Only a damaged index still has a log: beside another database it would be replayed into it.
    for suffix in ["-wal", "-shm"] {
        let (from, to) = (sibling(path, suffix), sibling(&aside, suffix));
        if from.exists() {
            std::fs::rename(&from, &to).map_err(StoreError::io(&from))?;
        }
    }
    Ok(aside)
}

/// Brings what the write-ahead log holds into the index, and ends the log. A damaged index may keep its log.
fn fold_log(path: &Path) -> Result<()> {
    let Ok(connection) = db::open(path, false) else { return Ok(()) };
    match connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0)) {
        Ok(busy) if busy != 0 => Err(StoreError::Locked),
        _ => Ok(()),
    }
}
