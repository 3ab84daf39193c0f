//! The index of a node: opening it, and the connections to it.

use crate::db::Cached;
use crate::db::{self, Use};
use crate::error::{Result, StoreError};
use crate::ids::{EpochId, RunId, Timestamp, VolumeId};
use crate::witness::{NamedRun, Witness};
use lastcopy_fs::{Dir, FileStat, Id128, LockFile};
use rusqlite::{Connection, OptionalExtension, Transaction};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time. Tests give their own.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The wall clock.
pub fn system_clock() -> Clock {
    Arc::new(|| {
        // A clock before 1970 is as wrong as any other; evidence from the future or of unknown age never opens a gate.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    })
}

/// How to open an index.
#[derive(Clone)]
pub struct StoreOptions {
    /// The database file, by an absolute path.
    pub path: PathBuf,
    /// The node's name, for people.
    pub node_name: String,
    /// The clock.
    pub clock: Clock,
    /// Whether to make the index if there is none.
    pub create: bool,
}

/// The index of this node. Clones share one writing connection.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    node: Id128,
    /// The database file's device and inode when it was opened.
    file: (u64, u64),
    node_name: String,
    clock: Clock,
    writer: Mutex<Connection>,
    /// Those that nobody uses at the moment.
    readers: Mutex<Vec<Connection>>,
}

/// The index found out, or was told, that it is an old or a second copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEpoch {
    /// Why.
    pub reason: String,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the index; makes it where `create` says so. Returns why a new epoch began, if one did.
    ///
    /// Refuses an index that is damaged at first sight, written by a newer version, or not ours, and leaves it as it was.
    pub fn open(options: StoreOptions) -> Result<(Self, Option<NewEpoch>)> {
        let StoreOptions { path, node_name, clock, create } = options;
        let parent = path.parent().ok_or_else(|| StoreError::Refused(format!("{} is not the path of a file", path.display())))?;
        if create {
            make_private_dir(parent)?;
        } else if !path.exists() {
            return Err(StoreError::NotFound(format!("there is no index at {}", path.display())));
        }
        let path = resolved(&path, parent)?;
        // One process at a time opens: two that found an empty file would both make a node.
        let opening = sibling(&path, ".lock");
        let _opening = LockFile::wait(&opening, db::BUSY_TIMEOUT).map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => StoreError::Locked,
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                StoreError::ReadOnly { detail: format!("{}: {source}", opening.display()) }
            }
            _ => StoreError::Io { path: opening.clone(), source },
        })?;
        // Looked at before anything is set: the guards write to the file, and it may be another program's, or what is left of ours.
        let existed = path.exists();
        let mut writer = db::open(&path, create)?;
        let (found, known) = (db::found_version(&writer)?, db::known_version());
        if found > known {
            return Err(StoreError::Newer { found, known });
        }
        if found == 0 && existed && sibling(&path, ".newest-run").exists() {
            return Err(StoreError::Corrupt { detail: "it is empty, but the file beside it remembers its runs".into() });
        }
        db::guard(&writer, Use::Write)?;
        if found < known {
            db::migrate(&mut writer)?;
        }
        db::require_own_schema(&writer)?;
        make_private_dir(&sibling(&path, ".runs"))?;
        let node = match db::reading(&mut writer, |tx| named_node(tx, &node_name))? {
            Some(node) => node,
            None => db::writing(&mut writer, |tx| own_node(tx, &node_name, (clock)()))?,
        };
        let file = identity(&path)?;
        let inner = Inner { path, node, file, node_name, clock, writer: Mutex::new(writer), readers: Mutex::new(Vec::new()) };
        let store = Self { inner: Arc::new(inner) };
        let news = store.heed_own_witness()?;
        Ok((store, news))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// This node's id.
    pub fn node(&self) -> Id128 {
        self.inner.node
    }

    /// This node's name, for people.
    pub fn node_name(&self) -> &str {
        &self.inner.node_name
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        (self.inner.clock)()
    }

    /// Our own files, by device and inode: a walk leaves them out before opening anything, because closing any descriptor of a
    /// database that this process has open drops SQLite's locks.
    pub fn own_files(&self) -> Result<Vec<FileStat>> {
        let mut own = Vec::new();
        for suffix in ["", "-wal", "-shm", "-journal", ".lock", ".runs", ".newest-run"] {
            let path = sibling(&self.inner.path, suffix);
            let dir = path.parent().unwrap_or(Path::new("/"));
            let dir = Dir::open(dir).map_err(StoreError::io(dir))?;
            let name = path.file_name().unwrap_or_default();
            own.extend(dir.entry(name.as_bytes()).map_err(StoreError::io(&path))?);
        }
        Ok(own)
    }

    /// Refuses once another index was put in the place of the one that is open: nobody will look here any more.
    pub(crate) fn require_in_place(&self) -> Result<()> {
        if identity(&self.inner.path)? == self.inner.file {
            return Ok(());
        }
        let path = self.inner.path.display();
        Err(StoreError::Refused(format!("another index was put at {path} since this command opened it: begin it again")))
    }

    /// Where runs keep the lock files that live as long as they do.
    pub(crate) fn runs_dir(&self) -> PathBuf {
        sibling(&self.inner.path, ".runs")
    }

    /// One writing transaction.
    pub(crate) fn write<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        // A panic in an earlier transaction rolled it back: the connection is as good as new.
        let mut writer = self.inner.writer.lock().unwrap_or_else(PoisonError::into_inner);
        db::writing(&mut writer, work)
    }

    /// One consistent view, on a connection that cannot write.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T>) -> Result<T> {
        self.on_reader(|connection| db::reading(connection, work))?
    }

    /// Work that reads for long, on a connection of its own that cannot write. The next one takes the same connection: opening one reads
    /// the whole schema.
    pub(crate) fn on_reader<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> Result<T> {
        let idle = self.readers().pop();
        let mut connection = idle.map_or_else(|| db::connect(&self.inner.path, Use::Read), Ok)?;
        let value = work(&mut connection);
        self.readers().push(connection);
        Ok(value)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heed_own_witness(&self) -> Result<Option<NewEpoch>> {
        let (dir, name) = self.witness_place()?;
        let witness = Witness::read(&dir, &name).map_err(StoreError::io(sibling(&self.inner.path, ".newest-run")))?;
        let newest = self.read(|tx| Ok(newest_run(tx)?))?;
        match witness {
            Some(witness) => self.heed(&witness, "the file beside it"),
            None if newest == RunId(0) => {
                self.write_own_witness()?;
                Ok(None)
            }
            // An index that came back without its companions was restored by hand.
            None => self.begin_epoch("the index was put back without the file that goes with it", None).map(Some),
        }
    }

    fn witness_place(&self) -> Result<(Dir, Vec<u8>)> {
        let path = sibling(&self.inner.path, ".newest-run");
        let parent = path.parent().unwrap_or(Path::new("/"));
        let name = path.file_name().unwrap_or_default().as_bytes().to_vec();
        Ok((Dir::open(parent).map_err(StoreError::io(parent))?, name))
    }

    /// Mirrors the newest run beside the index. Durable before it returns.
    pub(crate) fn write_own_witness(&self) -> Result<Witness> {
        let witness = self.witness()?;
        let (dir, name) = self.witness_place()?;
        witness.write(&dir, &name).map_err(StoreError::io(sibling(&self.inner.path, ".newest-run")))?;
        Ok(witness)
    }

    /// How far this index has come.
    pub(crate) fn witness(&self) -> Result<Witness> {
        self.read(|tx| {
            let seq = tx.row("SELECT seq FROM state", [], |row| row.get(0))?;
            let (_, epoch) = current_epoch(tx)?;
            // Refused runs have no name.
            let named = "SELECT id, liveness FROM run WHERE liveness <> '' ORDER BY id DESC LIMIT 1";
            let named: Option<(RunId, String)> = tx.row(named, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let named = named.and_then(|(run, lock)| Some(NamedRun { run, name: run_name(&lock)? }));
            Ok(Witness { node: self.inner.node, epoch, run: newest_run(tx)?, seq, named })
        })
    }

    /// Compares a witness with the index, and begins a new epoch if the index is behind it, or went on from a common past.
    pub fn heed(&self, witness: &Witness, who: &str) -> Result<Option<NewEpoch>> {
        match self.contradiction(witness)? {
            Some(what) => self.begin_epoch(&format!("{who} {what}"), Some(witness)).map(Some),
            None => Ok(None),
        }
    }

    /// What a witness of this node knows that the index does not, if anything.
    pub(crate) fn contradiction(&self, witness: &Witness) -> Result<Option<String>> {
        if witness.node != self.inner.node {
            return Ok(None);
        }
        self.read(|tx| {
            let known = tx.row("SELECT 1 FROM epoch WHERE uuid = ?", [witness.epoch.0], |_| Ok(())).optional()?.is_some();
            let newest = newest_run(tx)?;
            let seq: i64 = tx.row("SELECT seq FROM state", [], |row| row.get(0))?;
            Ok(if !known {
                Some("knows another life of this index".to_owned())
            } else if witness.run > newest {
                Some(format!("remembers run {}, the index only run {newest}", witness.run))
            } else if witness.seq > seq {
                Some(format!("remembers changes of run {} that the index does not", witness.run))
            } else if is_forked(tx, witness)? {
                Some(format!("remembers another run {} than the index", witness.run))
            } else {
                None
            })
        })
    }

    /// Begins a new epoch: run ids go on above what any witness saw, no older component counts, every receipt must be proven again,
    /// and what was running in the other life is over.
    pub(crate) fn begin_epoch(&self, reason: &str, witness: Option<&Witness>) -> Result<NewEpoch> {
        let now = self.now();
        self.write(|tx| {
            let (run, seq) = witness.map_or((0, 0), |witness| (witness.run.0, witness.seq));
            let newest = newest_run(tx)?.0;
            let reach = |seen: i64, own: i64| seen.min(own.saturating_add(FARTHEST));
            let own_seq = tx.row("SELECT seq FROM state", [], |row| row.get(0))?;
            let (run, seq) = (reach(run, newest), reach(seq, own_seq));
            tx.change("UPDATE state SET run_floor = max(run_floor, ?), seq = max(seq, ?)", [run, seq])?;
            if let Some(witness) = witness {
                // The other life is known from now on: what it left where it was seen must not end the new one as well.
                tx.change(
                    "INSERT OR IGNORE INTO epoch (uuid, node, began_at, reason)
                     SELECT ?, id, ?, 'another life of this index was seen' FROM node WHERE is_self = 1",
                    (witness.epoch.0, now),
                )?;
            }
            insert_epoch(tx, reason, now)?;
            tx.change("UPDATE receipt SET level = 'stored' WHERE level = 'verified'", [])?;
            tx.change(
                "UPDATE run SET status = 'aborted', ended_at = ?1, error = 'the index began a new epoch' WHERE status = 'running'",
                [now],
            )?;
            Ok(())
        })?;
        self.write_own_witness()?;
        Ok(NewEpoch { reason: reason.to_owned() })
    }

    /// The epoch before the current one, if this index had one.
    pub fn previous_epoch(&self) -> Result<Option<Id128>> {
        self.read(|tx| {
            let (current, _) = current_epoch(tx)?;
            // Lives that were only seen from outside did not begin here, and are not in the log.
            let previous = "SELECT uuid FROM epoch WHERE id < ?1 AND node = (SELECT node FROM epoch WHERE id = ?1)
                AND id IN (SELECT epoch FROM evidence_log WHERE event = 'epoch' AND volume IS NULL) ORDER BY id DESC LIMIT 1";
            Ok(tx.row(previous, [current], |row| row.get(0)).optional()?.map(Id128))
        })
    }

    /// The epoch that the current one continues for a volume: the one that it was recovered from in this epoch, else the one before.
    pub fn followed_epoch(&self, volume: VolumeId) -> Result<Option<Id128>> {
        let recovered = self.read(|tx| {
            let (current, _) = current_epoch(tx)?;
            let recovered = "SELECT epoch.uuid FROM evidence_log log JOIN epoch ON epoch.id = log.epoch
                WHERE log.event = 'epoch' AND log.volume = ?1 AND log.id >
                    (SELECT max(id) FROM evidence_log WHERE event = 'epoch' AND volume IS NULL AND epoch = ?2)
                ORDER BY log.id DESC LIMIT 1";
            Ok(tx.row(recovered, (volume, current), |row| row.get(0)).optional()?.map(Id128))
        })?;
        recovered.map_or_else(|| self.previous_epoch(), |epoch| Ok(Some(epoch)))
    }

    /// The current epoch's id.
    pub fn epoch(&self) -> Result<Id128> {
        self.read(|tx| Ok(current_epoch(tx)?.1))
    }
}

/// Makes a directory that only its owner may enter, with its parents, and makes all of their names durable.
pub(crate) fn make_private_dir(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let missing = path.ancestors().take_while(|dir| !dir.as_os_str().is_empty() && !dir.is_dir()).collect::<Vec<_>>();
    for dir in missing.into_iter().rev() {
        let made = std::fs::DirBuilder::new().mode(0o700).create(dir);
        made.or_else(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists if dir.is_dir() => Ok(()),
            std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied => {
                Err(StoreError::ReadOnly { detail: format!("{}: {source}", path.display()) })
            }
            _ => Err(StoreError::Io { path: path.to_owned(), source }),
        })?;
        let parent = dir.parent().unwrap_or(Path::new("/"));
        std::fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(StoreError::io(parent))?;
    }
    Ok(())
}

/// A file that goes with the index: its name with a suffix.
pub(crate) fn sibling(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(suffix);
    path.with_file_name(name)
}

fn identity(path: &Path) -> Result<(u64, u64)> {
    let stat = std::fs::metadata(path).map_err(StoreError::io(path))?;
    Ok((stat.dev(), stat.ino()))
}

/// The path that SQLite will use for the index and what goes with it: without symbolic links.
pub(crate) fn resolved(path: &Path, parent: &Path) -> Result<PathBuf> {
    if path.exists() {
        return std::fs::canonicalize(path).map_err(StoreError::io(path));
    }
    let parent = std::fs::canonicalize(parent).map_err(StoreError::io(parent))?;
    Ok(parent.join(path.file_name().unwrap_or_default()))
}

/// This node, if it is known under this name: the usual case, in which nothing is written.
fn named_node(tx: &Transaction<'_>, name: &str) -> Result<Option<Id128>> {
    let known = tx.row("SELECT uuid FROM node WHERE is_self = 1 AND name = ?", [name], |row| row.get(0));
    Ok(known.optional()?.map(Id128))
}

/// This node, made with its first epoch if the index is new.
fn own_node(tx: &Transaction<'_>, name: &str, now: Timestamp) -> Result<Id128> {
    let known = tx.row("SELECT uuid FROM node WHERE is_self = 1", [], |row| row.get(0)).optional()?;
    if let Some(uuid) = known {
        tx.change("UPDATE node SET name = ?1 WHERE is_self = 1 AND name <> ?1", [name])?;
        return Ok(Id128(uuid));
    }
    let node = random_id()?;
    tx.change("INSERT INTO node (uuid, name, is_self) VALUES (?, ?, 1)", (node.0, name))?;
    insert_epoch(tx, "the index was made", now)?;
    Ok(node)
}

fn insert_epoch(tx: &Transaction<'_>, reason: &str, now: Timestamp) -> Result<()> {
    tx.change(
        "INSERT INTO epoch (uuid, node, began_at, reason) SELECT ?, id, ?, ? FROM node WHERE is_self = 1",
        (random_id()?.0, now, reason),
    )?;
    tx.change(
        "INSERT INTO evidence_log (at, event, epoch, reason) VALUES (?, 'epoch', ?, ?)",
        (now, tx.last_insert_rowid(), reason),
    )?;
    Ok(())
}

pub(crate) fn random_id() -> Result<Id128> {
    Id128::random().map_err(StoreError::io("the system's random generator"))
}

/// So far ahead of an index another life of it can be. What claims to be farther was not written by one, and would use up the numbers
/// of all runs to come.
const FARTHEST: i64 = 1 << 32;

/// Whether the witness saw another run under an id of this epoch: a copy of this index went on, and so did this one, perhaps farther.
/// Once a new epoch has begun, what the other one left no longer contradicts anything.
fn is_forked(tx: &Transaction<'_>, witness: &Witness) -> Result<bool> {
    let Some(named) = witness.named else { return Ok(false) };
    if current_epoch(tx)?.1 != witness.epoch {
        return Ok(false);
    }
    let ours = tx.row("SELECT liveness FROM run WHERE id = ?", [named.run], |row| row.get::<_, String>(0)).optional()?;
    Ok(ours.is_some_and(|lock| run_name(&lock) != Some(named.name)))
}

/// The random name of a run: that of its lock file, without what every lock file ends in.
fn run_name(lock: &str) -> Option<Id128> {
    lock.strip_suffix(".lock")?.parse().ok()
}

/// The current epoch of this node.
pub(crate) fn current_epoch(tx: &Transaction<'_>) -> Result<(EpochId, Id128)> {
    let newest = "SELECT id, uuid FROM epoch WHERE node = (SELECT id FROM node WHERE is_self = 1) ORDER BY id DESC LIMIT 1";
    Ok(tx.prepare_cached(newest)?.query_row([], |row| Ok((row.get(0)?, Id128(row.get(1)?))))?)
}

/// The newest run of this index, or of an earlier life of it that is remembered.
pub(crate) fn newest_run(tx: &Transaction<'_>) -> rusqlite::Result<RunId> {
    let newest = "SELECT max((SELECT ifnull(max(id), 0) FROM run), (SELECT run_floor FROM state))";
    tx.prepare_cached(newest)?.query_row([], |row| row.get(0))
}

/// Takes the next number of the order of changes.
pub(crate) fn next_seq(tx: &Transaction<'_>) -> rusqlite::Result<i64> {
    tx.prepare_cached("UPDATE state SET seq = seq + 1 RETURNING seq")?.query_row([], |row| row.get(0))
}
