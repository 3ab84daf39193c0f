//! Volumes: handles that prove what they stand for.
//!
//! A [`Volume`] exists only where the configured path, the path recorded in the index and the marker on the disk agree (I5). So an
//! unmounted disk, a typo or a copied tree is never taken for an empty volume, and no operation can be begun on one.

use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::ids::{Timestamp, VolumeId};
use crate::policy::Policy;
use crate::runs::{BeginError, Index, Run};
use crate::store::{NewEpoch, Store, random_id};
use crate::witness::{Witness, hex_id};
use lastcopy_fs::{Dir, FileStat, Id128, Mounts, RelPath, escape, replace_file};
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The directory in a volume that is ours: marker, quarantine, incoming and kept files.
pub const VOLUME_DIR: &str = ".lastcopy";
/// The object by which a directory is known to be a destination of some lastcopy.
pub const DESTINATION_MARKER: &str = ".lastcopy-destination.json";

/// A repository of kopia's is one by this file, whoever made it.
const KOPIA_FORMAT: &str = "kopia.repository.f";
/// The file in which a tree says itself what to leave out, in gitignore syntax.
pub const IGNORE_FILE: &str = ".lastcopyignore";
const MARKER: &[u8] = b"volume.toml";
/// The version of its format.
const MARKER_FORMAT: u32 = 1;
const WITNESS: &[u8] = b"newest-run.json";

/// A volume whose place was proven. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Volume {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    id: VolumeId,
    uuid: Id128,
    node: Id128,
    name: String,
    path: PathBuf,
    root: Dir,
    root_stat: FileStat,
    configured_policy: Option<Policy>,
}

/// What the marker file of a volume says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Version of this file's format.
    pub format: u32,
    /// The volume.
    #[serde(with = "hex_id")]
    pub volume: Id128,
    /// The node that cares for this tree.
    #[serde(with = "hex_id")]
    pub node: Id128,
    /// The volume's name when it was added; for people.
    pub name: String,
}

impl Marker {
    /// Reads the bytes of a marker file. What is none is an error that says so.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "is damaged: it is not UTF-8")?;
        let marker: Self = toml::from_str(text).map_err(|error| format!("is damaged: {}", escape(error.message().as_bytes())))?;
        if marker.format == MARKER_FORMAT {
            Ok(marker)
        } else {
            Err(format!("has format {}, this lastcopy knows {MARKER_FORMAT}", marker.format))
        }
    }

    /// The text of a marker file.
    pub fn text(&self) -> Result<String, String> {
        let body = toml::to_string(self).map_err(|error| error.to_string())?;
        Ok(format!(
            "# This tree is a volume of lastcopy. The marker tells it from an unmounted disk, a typo or a copy;\n\
             # without it, lastcopy records nothing here and deletes nothing.\n{body}"
        ))
    }
}

/// What a person says about a tree that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeClaim {
    /// This node shall care for it, whatever its marker says.
    pub take_over: bool,
    /// It goes on as this volume, known from a destination.
    pub id: Option<Id128>,
}

/// What the index records of a volume, proven or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Its row.
    pub id: VolumeId,
    /// Its identity.
    pub uuid: Id128,
    /// Its name.
    pub name: String,
    /// Its recorded path.
    pub path: PathBuf,
    /// When it was added.
    pub added_at: Timestamp,
}

/// Why a volume cannot be opened, or a tree not be added as one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The name was never added.
    #[error("volume `{name}` was never added to the index")]
    NotAdded {
        /// The name.
        name: String,
    },
    /// The configured path does not lead to a directory.
    #[error("volume `{name}`: {}: {source}", path.display())]
    Unreachable {
        /// The name.
        name: String,
        /// The configured path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Configuration and index name different trees.
    #[error("volume `{name}`: the configuration says {}, the index says {}", configured.display(), recorded.display())]
    PathMismatch {
        /// The name.
        name: String,
        /// What the configuration says, without symbolic links.
        configured: PathBuf,
        /// What the index says.
        recorded: PathBuf,
    },
    /// There is no marker in the tree.
    #[error("volume `{name}`: {} holds no marker `.lastcopy/volume.toml`", path.display())]
    MarkerMissing {
        /// The name.
        name: String,
        /// The tree.
        path: PathBuf,
    },
    /// The marker is another volume's or another node's, or is damaged.
    #[error("volume `{name}`: the marker in {} {detail}", path.display())]
    MarkerMismatch {
        /// The name.
        name: String,
        /// The tree.
        path: PathBuf,
        /// What it says instead.
        detail: String,
    },
    /// The tree is a destination, or lies in one: its objects would be offloaded on their own word.
    #[error("volume `{name}`: {} is a destination: {DESTINATION_MARKER} lies there", destination.display())]
    InDestination {
        /// The name.
        name: String,
        /// The directory with the marker: the tree itself, or one above it.
        destination: PathBuf,
    },
    /// The name or the tree is taken.
    #[error("{0}")]
    Taken(String),
    /// The index is an old or a second copy; a new epoch has begun, and the operation may be begun again.
    #[error("the index is an old or a second copy: {}", .0.reason)]
    NewEpoch(NewEpoch),
    /// A contradicting run.
    #[error(transparent)]
    Begin(#[from] Box<BeginError>),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for VolumeError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Volume {
    /// Its row.
    pub fn id(&self) -> VolumeId {
        self.inner.id
    }

    /// Its identity.
    pub fn uuid(&self) -> Id128 {
        self.inner.uuid
    }

    /// Its name, for people.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The absolute path of its root, without symbolic links. For printing: operations go through [`root`](Self::root).
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// Its root directory, open.
    pub fn root(&self) -> &Dir {
        &self.inner.root
    }

    /// Its root directory, as it was when the volume was opened.
    pub fn root_stat(&self) -> &FileStat {
        &self.inner.root_stat
    }

    /// The offload policy that the configuration gives it.
    pub fn configured_policy(&self) -> Option<&Policy> {
        self.inner.configured_policy.as_ref()
    }

    /// Looks at the disk again, by path: the same directory, the same marker. Before anything is recorded as missing.
    pub fn prove_again(&self) -> Result<(), VolumeError> {
        let (dir, stat) = open_root(&self.inner.name, &self.inner.path)?;
        if !stat.same_inode(&self.inner.root_stat) {
            return Err(VolumeError::MarkerMismatch {
                name: self.inner.name.clone(),
                path: self.inner.path.clone(),
                detail: "lies in another directory than a moment ago: something was mounted, unmounted or moved".into(),
            });
        }
        let marker = read_marker(&self.inner.name, &self.inner.path, &dir)?;
        self.inner.agrees(&marker)
    }

    /// Our own directory in the volume, made if it was removed.
    pub fn own_dir(&self) -> io::Result<Dir> {
        own_dir(&self.inner.root)
    }
}

impl Inner {
    fn agrees(&self, marker: &Marker) -> Result<(), VolumeError> {
        let detail = if marker.volume != self.uuid {
            format!("is that of volume {} (`{}`), not of {}", marker.volume, marker.name, self.uuid)
        } else if marker.node != self.node {
            format!("says that node {} cares for this tree, not this node", marker.node)
        } else {
            return Ok(());
        };
        Err(VolumeError::MarkerMismatch { name: self.name.clone(), path: self.path.clone(), detail })
    }
}

fn own_dir(root: &Dir) -> io::Result<Dir> {
    let path = RelPath::new(VOLUME_DIR).map_err(io::Error::other)?;
    root.create_dir_all(&path, 0o700, &mut Dir::sync)
}

/// Opens the root by its path without symbolic links.
fn open_root(name: &str, path: &Path) -> Result<(Dir, FileStat), VolumeError> {
    let unreachable = |source| VolumeError::Unreachable { name: name.to_owned(), path: path.to_owned(), source };
    let dir = Dir::open(path).map_err(unreachable)?;
    let stat = dir.own_stat().map_err(unreachable)?;
    Ok((dir, stat))
}

/// Reads the marker of the volume in whose root `dir` is, if there is one.
pub fn find_marker(dir: &Dir) -> io::Result<Option<Marker>> {
    let own = match dir.open_dir(&RelPath::new(VOLUME_DIR).map_err(io::Error::other)?, Mounts::Stay) {
        Ok(own) => own,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if own.entry(MARKER)?.is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let path = RelPath::root().join(MARKER).map_err(io::Error::other)?;
    own.open_file(&path, Mounts::Stay)?.take(64 * 1024).read_to_end(&mut bytes)?;
    Marker::parse(&bytes).map(Some).map_err(io::Error::other)
}

/// What a directory below a volume's root is instead of a part of that volume, by a marker in it: a `volume` (also a copy of the same one), or
/// a `destination`. A marker that cannot be read is a marker, too.
pub fn foreign(dir: &Dir) -> Option<&'static str> {
    let marked = |name: &str| !matches!(dir.entry(name.as_bytes()), Ok(None));
    if [DESTINATION_MARKER, KOPIA_FORMAT].into_iter().any(marked) {
        return Some("destination");
    }
    (!matches!(find_marker(dir), Ok(None))).then_some("volume")
}

/// Names of which one is in every directory that is [`foreign`].
pub const MARKERS: [&str; 3] = [DESTINATION_MARKER, KOPIA_FORMAT, VOLUME_DIR];

fn read_marker(name: &str, path: &Path, dir: &Dir) -> Result<Marker, VolumeError> {
    match find_marker(dir) {
        Ok(Some(marker)) => Ok(marker),
        Ok(None) => Err(VolumeError::MarkerMissing { name: name.to_owned(), path: path.to_owned() }),
        Err(error) => Err(VolumeError::MarkerMismatch { name: name.to_owned(), path: path.to_owned(), detail: error.to_string() }),
    }
}

fn write_marker(dir: &Dir, marker: &Marker) -> Result<()> {
    let text = marker.text().map_err(StoreError::impossible)?;
    own_dir(dir)
        .and_then(|own| replace_file(&own, MARKER, text.as_bytes(), 0o644))
        .map_err(StoreError::io(Path::new(VOLUME_DIR).join("volume.toml")))
}

/// That neither a tree nor a directory above it is a destination. Those below are left out by every walk.
fn outside_destinations(name: &str, path: &Path) -> Result<(), VolumeError> {
    let marked = |dir: &&Path| std::fs::symlink_metadata(dir.join(DESTINATION_MARKER)).is_ok();
    match path.ancestors().find(marked) {
        Some(dir) => Err(VolumeError::InDestination { name: name.to_owned(), destination: dir.to_owned() }),
        None => Ok(()),
    }
}

fn canonical(name: &str, path: &Path) -> Result<PathBuf, VolumeError> {
    std::fs::canonicalize(path).map_err(|source| VolumeError::Unreachable { name: name.to_owned(), path: path.to_owned(), source })
}

impl Store {
    /// Every volume that was added.
    pub fn volumes(&self) -> Result<Vec<VolumeRecord>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached("SELECT id, uuid, name, path, added_at FROM volume ORDER BY name")?;
            let rows = statement.query_map([], volume_record)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// A volume by name, as recorded.
    pub fn volume_record(&self, name: &str) -> Result<Option<VolumeRecord>> {
        self.read(|tx| record_by_name(tx, name))
    }

    /// Compares what every volume that can be reached remembers with the index, and begins a new epoch if the index is behind.
    ///
    /// An index that was put back together with what lies beside it is noticed this way even by a command that opens no volume.
    pub fn heed_volumes(&self) -> Result<Option<NewEpoch>> {
        for record in self.volumes()? {
            if let Some((_, Some(witness))) = self.own_dir_of(&record)
                && let Some(news) = self.heed(&witness, &format!("volume `{}`", record.name))?
            {
                return Ok(Some(news));
            }
        }
        Ok(None)
    }

    /// Mirrors the newest run in every volume that can be reached, but one: what a run learns of a destination concerns all of them.
    /// A volume that remembers more than the index does keeps what it remembers.
    pub(crate) fn mirror_elsewhere(&self, witness: &Witness, but: Option<VolumeId>) -> Result<()> {
        for record in self.volumes()?.into_iter().filter(|record| Some(record.id) != but) {
            let Some((own, found)) = self.own_dir_of(&record) else { continue };
            self.mirror_in(&own, found, witness)?;
        }
        Ok(())
    }

    /// The same in the volume of a run.
    pub(crate) fn mirror_own(&self, witness: &Witness, volume: &Volume) -> Result<()> {
        let place = || volume.path().join(VOLUME_DIR);
        let own = volume.own_dir().map_err(|source| StoreError::Io { path: place(), source })?;
        let found = Witness::read(&own, WITNESS).map_err(|source| StoreError::Io { path: place(), source })?;
        self.mirror_in(&own, found, witness)
    }

    /// What hinders the writing (a full or read-only volume) hinders no run: the same fact lies beside the index.
    fn mirror_in(&self, own: &Dir, found: Option<Witness>, witness: &Witness) -> Result<()> {
        let keep = match found {
            Some(found) if found == *witness => true,
            Some(found) if found.node == witness.node => {
                found.run > witness.run || found.seq > witness.seq || self.contradiction(&found)?.is_some()
            }
            _ => false,
        };
        if !keep {
            drop(witness.write(own, WITNESS));
        }
        Ok(())
    }

    /// Our directory in a recorded volume, and what it remembers: if its disk is there and its marker says that it is that volume.
    fn own_dir_of(&self, record: &VolumeRecord) -> Option<(Dir, Option<Witness>)> {
        let (root, _) = open_root(&record.name, &record.path).ok()?;
        let marker = find_marker(&root).ok()??;
        if marker.volume != record.uuid || marker.node != self.node() {
            return None;
        }
        let own = own_dir(&root).ok()?;
        // A damaged one is an error of whoever opens the volume.
        let witness = Witness::read(&own, WITNESS).ok()?;
        Some((own, witness))
    }

    /// Opens a volume, if configuration, index and marker agree on what it is (I5).
    pub fn open_volume(&self, name: &str, configured: &Path, policy: Option<Policy>) -> Result<Volume, VolumeError> {
        let record = self.volume_record(name)?.ok_or_else(|| VolumeError::NotAdded { name: name.to_owned() })?;
        let path = canonical(name, configured)?;
        if path != record.path {
            return Err(VolumeError::PathMismatch { name: name.to_owned(), configured: path, recorded: record.path });
        }
        self.open_recorded(record, policy)
    }

    fn open_recorded(&self, record: VolumeRecord, configured_policy: Option<Policy>) -> Result<Volume, VolumeError> {
        let VolumeRecord { id, uuid, name, path, .. } = record;
        let (root, root_stat) = open_root(&name, &path)?;
        outside_destinations(&name, &path)?;
        let marker = read_marker(&name, &path, &root)?;
        let inner = Inner { id, uuid, node: self.node(), name, path, root, root_stat, configured_policy };
        inner.agrees(&marker)?;
        let witness_file = inner.path.join(VOLUME_DIR).join("newest-run.json");
        let witness = own_dir(&inner.root).and_then(|own| Witness::read(&own, WITNESS)).map_err(StoreError::io(witness_file))?;
        if let Some(witness) = witness
            && let Some(news) = self.heed(&witness, &format!("volume `{}`", inner.name))?
        {
            return Err(VolumeError::NewEpoch(news));
        }
        Ok(Volume { inner: Arc::new(inner) })
    }

    /// Adds a tree as a volume: records it and writes its marker. Begins, and is finished by the caller, as an index run.
    ///
    /// A tree that carries a marker already is this volume's (then it is taken up again), or somebody else's: with `take_over`, a
    /// person says that this node shall care for it from now on, or that a volume whose tree is lost goes on here.
    pub fn add_volume(&self, name: &str, path: &Path, claim: VolumeClaim) -> Result<(Volume, Run<Index>), VolumeError> {
        let path = canonical(name, path)?;
        let (root, _) = open_root(name, &path)?;
        outside_destinations(name, &path)?;
        let mismatch = |detail: String| VolumeError::MarkerMismatch { name: name.to_owned(), path: path.clone(), detail };
        let found = find_marker(&root).map_err(|error| mismatch(error.to_string()))?;
        if let Some(marker) = &found {
            let ours = marker.node == self.node() && self.record_by_uuid(marker.volume)?.is_some();
            if !ours && !claim.take_over {
                let detail = format!("says that node {} cares for this tree as volume `{}`", marker.node, marker.name);
                return Err(mismatch(detail));
            }
            if claim.id.is_some_and(|id| id != marker.volume) {
                return Err(mismatch(format!("is that of volume {} (`{}`)", marker.volume, marker.name)));
            }
        }
        let record = self.insert_volume(name, &path, &root, found.as_ref(), claim)?;
        let volume = self.open_recorded(record, None)?;
        let run = self.begin_index(&volume).map_err(Box::new)?;
        Ok((volume, run))
    }

    fn record_by_uuid(&self, uuid: Id128) -> Result<Option<VolumeRecord>> {
        self.read(|tx| {
            let query = "SELECT id, uuid, name, path, added_at FROM volume WHERE uuid = ?";
            Ok(tx.row(query, [uuid.0], volume_record).optional()?)
        })
    }

    fn insert_volume(
        &self,
        name: &str,
        path: &Path,
        root: &Dir,
        found: Option<&Marker>,
        claim: VolumeClaim,
    ) -> Result<VolumeRecord, VolumeError> {
        let now = self.now();
        let uuid = found.map(|marker| marker.volume).or(claim.id).map_or_else(random_id, Ok)?;
        let lost = match self.volume_record(name)? {
            Some(record) => self.open_recorded(record, None).is_err(),
            None => false,
        };
        // The marker is written inside the transaction: a tree that cannot carry one is not recorded.
        let mark = |uuid: Id128| {
            let marker = Marker { format: MARKER_FORMAT, volume: uuid, node: self.node(), name: name.to_owned() };
            if found == Some(&marker) { Ok(()) } else { write_marker(root, &marker) }
        };
        self.write(|tx| {
            let path_bytes = path.as_os_str().as_bytes();
            if let Some(record) = record_by_name(tx, name)? {
                let its = found.is_none_or(|marker| marker.volume == record.uuid);
                let used = "SELECT EXISTS (SELECT 1 FROM directory WHERE volume = ?)";
                let used: bool = tx.row(used, [record.id], |row| row.get(0))?;
                // Repeating an add that was cut short, or one that changes nothing, is fine; so is going on elsewhere, on a person's
                // word, when the tree is lost; anything else is not this.
                let again = record.path == path && its && (found.is_some() || !used);
                if !(again || its && lost && claim.take_over) {
                    let taken = format!("volume `{name}` is {} already", record.path.display());
                    return Ok(Err(VolumeError::Taken(taken)));
                }
                mark(record.uuid)?;
                tx.change("UPDATE volume SET path = ? WHERE id = ?", (path_bytes, record.id))?;
                return Ok(Ok(VolumeRecord { path: path.to_owned(), ..record }));
            }
            let other = "SELECT name FROM volume WHERE uuid = ?1 OR path = ?2";
            let other: Option<String> = tx.row(other, (uuid.0, path_bytes), |row| row.get(0)).optional()?;
            if let Some(other) = other {
                let taken = format!("{} is volume `{other}` already", path.display());
                return Ok(Err(VolumeError::Taken(taken)));
            }
            let insert = "INSERT INTO volume (uuid, name, path, added_at) VALUES (?, ?, ?, ?)";
            tx.change(insert, (uuid.0, name, path_bytes, now))?;
            let id = VolumeId(tx.last_insert_rowid());
            mark(uuid)?;
            Ok(Ok(VolumeRecord { id, uuid, name: name.to_owned(), path: path.to_owned(), added_at: now }))
        })?
    }

    /// Follows a volume to where its tree was moved: only where the marker proves that it is the same one, and only if its old
    /// place does not hold it any more. Begins, and is finished by the caller, as an index run.
    pub fn move_volume(&self, name: &str, to: &Path) -> Result<(Volume, Run<Index>), VolumeError> {
        let record = self.volume_record(name)?.ok_or_else(|| VolumeError::NotAdded { name: name.to_owned() })?;
        let path = canonical(name, to)?;
        let (root, _) = open_root(name, &path)?;
        let marker = read_marker(name, &path, &root)?;
        if marker.volume != record.uuid || marker.node != self.node() {
            let detail = format!("is that of volume {} (`{}`) of node {}", marker.volume, marker.name, marker.node);
            return Err(VolumeError::MarkerMismatch { name: name.to_owned(), path, detail });
        }
        if path != record.path && self.open_recorded(record.clone(), None).is_ok() {
            let taken = format!("volume `{name}` is still at {}: {} is a copy of it", record.path.display(), path.display());
            return Err(VolumeError::Taken(taken));
        }
        let moved = VolumeRecord { path: path.clone(), ..record };
        let volume = self.open_recorded(moved, None)?;
        let run = self.begin_index(&volume).map_err(Box::new)?;
        run.write(|tx| {
            tx.sql.change("UPDATE volume SET path = ? WHERE id = ?", (path.as_os_str().as_bytes(), volume.id()))?;
            Ok(())
        })?;
        Ok((volume, run))
    }
}

fn record_by_name(tx: &Transaction<'_>, name: &str) -> Result<Option<VolumeRecord>> {
    let query = "SELECT id, uuid, name, path, added_at FROM volume WHERE name = ?";
    Ok(tx.row(query, [name], volume_record).optional()?)
}

fn volume_record(row: &rusqlite::Row<'_>) -> rusqlite::Result<VolumeRecord> {
    let path: Vec<u8> = row.get(3)?;
    Ok(VolumeRecord {
        id: row.get(0)?,
        uuid: Id128(row.get(1)?),
        name: row.get(2)?,
        path: PathBuf::from(OsStr::from_bytes(&path)),
        added_at: row.get(4)?,
    })
}
