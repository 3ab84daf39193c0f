//! Snapshots: what one push set out to make durable, and the claims that only they can make.
//!
//! A file row is current from one change of the index until another, and neither end ever moves; so the files that were present at
//! one instant are named by one number, and stay the same while others work. A claim is made from a snapshot, which it consumes, and
//! from the answer of the destination that was probed; nothing that borrows a live table can become one (I2).

use crate::db::Cached;
use crate::destination::Probed;
use crate::error::{Result, StoreError};
use crate::files::{FileStatus, Seen};
use crate::ids::{ContentId, DestinationId, EpochId, FileId, HeadId, RunId, VolumeId};
use crate::receipts::Location;
use crate::runs::{Outcome, Run, Sync, Tx};
use crate::store::Store;
use crate::vectors::{self, Vector};
use lastcopy_fs::{Content, ContentHash, RelPath};
use rusqlite::Transaction;

/// The present files of a volume at one instant, and the horizon at that instant. Immutable.
#[derive(Debug)]
pub struct Snapshot {
    store: Store,
    run: RunId,
    volume: VolumeId,
    destination: DestinationId,
    taken: Taken,
}

/// How a destination lays out what it holds, and so what a push of a snapshot has to send.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Layout {
    /// Each content once, at its own address: what lacks a receipt anywhere there is lacking.
    #[default]
    ByContent,
    /// Each file at its path: what lacks a receipt at that very place is lacking.
    ByPath {
        /// What stands before the path, with its last slash.
        below: Vec<u8>,
    },
}

impl Layout {
    /// Where a file of the volume belongs.
    pub fn location(&self, path: &RelPath) -> Location {
        match self {
            Self::ByContent => Location::default(),
            Self::ByPath { below } => Location([below, path.as_bytes()].concat()),
        }
    }

    /// For statements: what stands before the paths, or NULL.
    fn below(&self) -> Option<&[u8]> {
        match self {
            Self::ByContent => None,
            Self::ByPath { below } => Some(below),
        }
    }
}

/// The instant.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    seq: i64,
    epoch: EpochId,
    /// This node's own component.
    horizon: RunId,
}

/// A content of a snapshot that its destination is not proven to hold, with one file that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacking {
    /// Row of the content.
    pub content_id: ContentId,
    /// The content.
    pub content: Content,
    /// A file that has it; the oldest row.
    pub file: SnapshotFile,
    /// Where it belongs there.
    pub location: Location,
    /// How many files of the snapshot wait for it at that place.
    pub files: u64,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its row.
    pub id: FileId,
    /// Path below the volume's root.
    pub path: RelPath,
    /// How it was seen last.
    pub seen: Seen,
}

/// What a snapshot holds, and what of it lacks proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Files whose content lacks proof.
    pub lacking_files: u64,
    /// What is to be sent: distinct contents that lack proof, or files that lack it at their places.
    pub lacking_items: u64,
    /// Their bytes.
    pub lacking_bytes: u64,
}

/// A line of a segment: what a path became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Path below the volume's root.
    pub path: RelPath,
    /// What it holds, or held last.
    pub content: Content,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
    /// How it stands.
    pub status: FileStatus,
    /// The path held it before it became what another line says. Where this is `present`, it stood so before what is withheld.
    pub earlier: bool,
    /// Where its content lies there, if that is known.
    pub location: Location,
    row: FileId,
    held: bool,
}

impl Line {
    /// Whether the destination is proven to hold the content of a present file. A line that would promise bytes which are not
    /// there is not written, but kept for a later segment.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Its row, for withholding it.
    pub fn row(&self) -> FileId {
        self.row
    }
}

/// A claim: the highest run that the receipts of a snapshot carry. It is computed, and checked, in the transaction that advances.
#[derive(Debug)]
#[must_use = "a claim that is not advanced claims nothing"]
pub struct Claim {
    snapshot: Snapshot,
    probed: Probed,
}

/// What finishing a push did to the durability vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advance {
    /// Whether the own component moved.
    pub advanced: bool,
    /// The snapshot's horizon.
    pub horizon: Vector,
    /// The vector now.
    pub vector: Vector,
}

/// Takes a snapshot in the transaction that begins its run.
pub(crate) fn take(tx: &Tx<'_>, volume: VolumeId, destination: DestinationId) -> Result<Taken> {
    let horizon = own_horizon(tx.sql, volume)?;
    let seq = tx.seq()?;
    let insert = "INSERT INTO snapshot (run, volume, destination, seq) VALUES (?, ?, ?, ?)";
    tx.sql.change(insert, (tx.run, volume, destination, seq))?;
    let insert = "INSERT INTO snapshot_horizon (run, epoch, component)
         SELECT ?1, ?2, ?3 UNION ALL SELECT ?1, epoch, component FROM horizon WHERE volume = ?4 AND epoch <> ?2";
    tx.sql.change(insert, (tx.run, tx.epoch, horizon, volume))?;
    Ok(Taken { seq, epoch: tx.epoch, horizon })
}

/// The newest run that can have added present files to the volume, below every one that still may.
fn own_horizon(tx: &Transaction<'_>, volume: VolumeId) -> Result<RunId> {
    let horizon = "WITH adds AS
            (SELECT id, status FROM run WHERE volume = ? AND kind IN ('index', 'receive', 'restore', 'offload') AND status <> 'refused')
         SELECT ifnull(max(id), 0) FROM adds
         WHERE id < (SELECT ifnull(min(id), 9223372036854775807) FROM adds WHERE status = 'running')";
    Ok(tx.row(horizon, [volume], |row| row.get(0))?)
}

/// The condition on `f` under which a file row belongs to a snapshot.
const IN_SNAPSHOT: &str = "f.volume = :volume AND f.since_seq <= :seq AND (f.until_seq IS NULL OR f.until_seq > :seq)";
/// The condition on `f` under which its content lacks a live verified receipt.
const LACKS: &str = "NOT EXISTS (SELECT 1 FROM receipt r WHERE r.destination = :destination AND r.content = f.content
    AND r.level = 'verified' AND r.lost_at IS NULL AND r.incarnation = :incarnation)";
/// The condition under which a full segment tells of the superseded row `f`: the destination ever had its content. Not what a compaction
/// released; and a file that was only touched has it still.
const TOLD: &str = "f.status = 'superseded'
    AND EXISTS (SELECT 1 FROM receipt r WHERE r.destination = :destination AND r.content = f.content AND r.moved_to IS NOT r.location)
    AND NOT EXISTS (SELECT 1 FROM file n WHERE n.directory = f.directory AND n.name = f.name
        AND n.status <> 'superseded' AND n.content = f.content AND n.since_seq <= :seq)";
/// The condition on `n` under which it follows the superseded row `f` at its path: it was current in the snapshot, whatever became of it since.
/// Two, so that each finds its index.
const FOLLOWS: [&str; 2] = [
    "n.directory = f.directory AND n.name = f.name AND n.status <> 'superseded' AND n.since_seq <= :seq",
    "n.directory = f.directory AND n.name = f.name AND n.status = 'superseded' AND n.since_seq <= :seq AND n.until_seq > :seq",
];
/// Whether anything follows. What a recovery told of earlier times, all that was ever seen there follows.
fn followed() -> String {
    let [now, then] = FOLLOWS.map(|follows| format!("EXISTS (SELECT 1 FROM file n WHERE {follows})"));
    format!(
        "({now} OR {then} OR f.changed_seq = f.since_seq AND EXISTS (SELECT 1 FROM file n WHERE n.directory = f.directory
            AND n.name = f.name AND n.status = 'superseded' AND n.changed_seq > n.since_seq AND n.since_seq <= :seq))"
    )
}
/// The condition under which the superseded row `f` is how its path stands at the destination: what followed is withheld from it, and of what
/// it holds of the path this is the newest. What a recovery learned of earlier times is not newer because it was learned later.
fn newest_held() -> String {
    let [of_next, of_newer] = ["n", "o"].map(|row| LACKS.replace("f.content", &format!("{row}.content")));
    let [now, then] = FOLLOWS.map(|follows| {
        format!("EXISTS (SELECT 1 FROM file n WHERE {follows} AND (n.until_seq IS NULL OR n.until_seq > :seq) AND {of_next})")
    });
    let stands = FOLLOWS[0];
    // Where a row stands since before the snapshot, nothing that ended was current in it: then not all that ever ended is looked through.
    format!(
        "f.status = 'superseded' AND f.changed_seq > f.since_seq AND NOT ({LACKS})
         AND CASE WHEN EXISTS (SELECT 1 FROM file n WHERE {stands}) THEN {now} ELSE {then} END
         AND NOT EXISTS (SELECT 1 FROM file o WHERE o.directory = f.directory AND o.name = f.name AND o.status = 'superseded'
            AND o.changed_seq > o.since_seq AND o.id > f.id AND NOT ({of_newer}))"
    )
}
/// Where the row `f`, in the directory `d`, belongs at a destination that is laid out by path.
const BELONGS: &str = "CAST(:below || d.path || CASE length(d.path) WHEN 0 THEN '' ELSE '/' END || f.name AS BLOB)";
/// The condition under which its content lacks a live verified receipt at that very place.
fn lacks_there() -> String {
    LACKS.replace("r.content = f.content", &format!("r.content = f.content AND r.location = {BELONGS}"))
}

impl Snapshot {
    pub(crate) fn new(store: Store, run: RunId, volume: VolumeId, destination: DestinationId, taken: Taken) -> Self {
        Self { store, run, volume, destination, taken }
    }

    /// The run that took it.
    pub fn run(&self) -> RunId {
        self.run
    }

    /// This node's own component of the horizon.
    pub fn horizon(&self) -> RunId {
        self.taken.horizon
    }

    /// Counts its files, and those that lack proof at the destination that answered.
    pub fn totals(&self, probed: &Probed, layout: &Layout) -> Result<Totals> {
        let sql = match layout {
            Layout::ByContent => format!(
                "SELECT f.content, count(*) FROM file f WHERE {IN_SNAPSHOT} AND {LACKS} AND :below IS NULL
                 GROUP BY f.content ORDER BY f.content"
            ),
            Layout::ByPath { .. } => format!(
                "SELECT f.content, 1 FROM file f JOIN directory d ON d.id = f.directory WHERE {IN_SNAPSHOT} AND {}",
                lacks_there()
            ),
        };
        self.store.read(|tx| {
            let count = format!("SELECT count(*) FROM file f WHERE {IN_SNAPSHOT}");
            let files = tx.row(&count, &[(":volume", &self.volume.0), (":seq", &self.taken.seq)], |row| row.get(0))?;
            let mut totals = Totals { files, ..Totals::default() };
            let mut statement = tx.prepare_cached(&sql)?;
            let mut size = tx.prepare_cached("SELECT size FROM content WHERE id = ?")?;
            let mut rows = statement.query(rusqlite::named_params! {
                ":volume": self.volume, ":seq": self.taken.seq, ":below": layout.below(),
                ":destination": self.destination, ":incarnation": probed.incarnation.as_str(),
            })?;
            while let Some(row) = rows.next()? {
                totals.lacking_items += 1;
                totals.lacking_files += row.get::<_, u64>(1)?;
                totals.lacking_bytes += size.query_row([row.get::<_, ContentId>(0)?], |row| row.get::<_, u64>(0))?;
            }
            Ok(totals)
        })
    }

    /// What lacks proof after the item given, in the order of rows, at most `limit`.
    pub fn lacking(&self, probed: &Probed, layout: &Layout, after: Option<&Lacking>, limit: usize) -> Result<Vec<Lacking>> {
        let sql = match layout {
            Layout::ByContent => format!(
                "SELECT p.content, c.blake3, c.size, p.files, f.id, d.path, f.name, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.mode, f.racy FROM
                    (SELECT f.content AS content, min(f.id) AS file, count(*) AS files FROM file f
                     WHERE {IN_SNAPSHOT} AND f.content > :after AND {LACKS} AND :below IS NULL
                     GROUP BY f.content ORDER BY f.content LIMIT :limit) p
                 JOIN content c ON c.id = p.content JOIN file f ON f.id = p.file JOIN directory d ON d.id = f.directory
                 ORDER BY p.content"
            ),
            Layout::ByPath { .. } => format!(
                "SELECT f.content, c.blake3, c.size, 1, f.id, d.path, f.name, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.mode, f.racy
                 FROM file f JOIN directory d ON d.id = f.directory JOIN content c ON c.id = f.content
                 WHERE {IN_SNAPSHOT} AND f.id > :after AND {} ORDER BY f.id LIMIT :limit",
                lacks_there()
            ),
        };
        let after = after.map_or(0, |last| match layout {
            Layout::ByContent => last.content_id.0,
            Layout::ByPath { .. } => last.file.id.0,
        });
        self.store.read(|tx| {
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::named_params! {
                ":volume": self.volume, ":seq": self.taken.seq, ":below": layout.below(),
                ":destination": self.destination, ":incarnation": probed.incarnation.as_str(),
                ":after": after, ":limit": i64::try_from(limit).unwrap_or(i64::MAX),
            })?;
            let mut lacking = Vec::new();
            while let Some(row) = rows.next()? {
                let file = snapshot_file(row, 4)?;
                lacking.push(Lacking {
                    content_id: row.get(0)?,
                    content: Content { hash: ContentHash(row.get(1)?), size: row.get(2)? },
                    location: layout.location(&file.path),
                    files: row.get(3)?,
                    file,
                });
            }
            Ok(lacking)
        })
    }

    /// The files of the snapshot that have a content.
    pub fn files_with(&self, content: ContentId) -> Result<Vec<SnapshotFile>> {
        let sql = format!(
            "SELECT f.id, d.path, f.name, f.size, f.mtime_ns, f.ctime_ns, f.inode, f.mode, f.racy FROM file f JOIN directory d ON d.id = f.directory
             WHERE {IN_SNAPSHOT} AND f.content = :content ORDER BY f.id"
        );
        self.store.read(|tx| {
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::named_params! {
                ":volume": self.volume, ":seq": self.taken.seq, ":content": content,
            })?;
            let mut files = Vec::new();
            while let Some(row) = rows.next()? {
                files.push(snapshot_file(row, 0)?);
            }
            Ok(files)
        })
    }

    /// Goes through what the sealed segments before `since` do not say yet: every path that became something else between the two
    /// instants, and what was withheld. Without `since`, everything that the index knows of the volume; of a path that holds something else by
    /// now, also what it held before that the destination ever had. The segments that told that may be gone. Where the path holds what is
    /// withheld, the newest of these is how it stands there.
    pub fn lines(
        &self,
        probed: &Probed,
        layout: &Layout,
        since: Option<HeadId>,
        each: &mut dyn FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        self.store.read(|tx| {
            let from: i64 = match since {
                Some(head) => tx.row("SELECT seq FROM head WHERE id = ?", [head], |row| row.get(0))?,
                // The first change is number 1.
                None => 0,
            };
            // A row that changed after the snapshot was present in it, if it was current then; so look at all later changes. In the
            // order of rows, the newest row of a path speaks last.
            let (followed, newest) = (followed(), newest_held());
            let (driver, also, order, told, stands) = match since {
                Some(_) => (
                    "(SELECT id FROM file WHERE volume = :volume AND changed_seq > :from
                      UNION SELECT file FROM withheld WHERE head = :head) p JOIN file f ON f.id = p.id",
                    "",
                    "p.id",
                    "0",
                    // The segments before say how the path stood when this was present.
                    "0",
                ),
                None => ("file f NOT INDEXED", "AND f.changed_seq > :from", "f.id", TOLD, &*newest),
            };
            let sql = format!(
                "SELECT f.id, d.path, f.name, c.blake3, c.size, f.mtime_ns, f.mode, f.status, f.since_seq,
                        f.until_seq IS NULL OR f.until_seq > :seq, NOT ({LACKS}),
                        EXISTS (SELECT 1 FROM withheld w WHERE w.head = :head AND w.file = f.id),
                        CASE WHEN f.status = 'superseded' THEN {followed} ELSE 0 END,
                        {told}, {stands},
                        CASE WHEN :below IS NOT NULL THEN
                            (SELECT r.location FROM receipt r WHERE r.destination = :destination AND r.content = f.content
                             AND r.lost_at IS NULL AND r.incarnation = :incarnation
                             ORDER BY r.level = 'verified' DESC, r.location = {BELONGS} DESC, r.location LIMIT 1) END
                 FROM {driver} JOIN directory d ON d.id = f.directory JOIN content c ON c.id = f.content
                 WHERE f.volume = :volume AND f.since_seq <= :seq {also} ORDER BY {order}"
            );
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query(rusqlite::named_params! {
                ":volume": self.volume, ":seq": self.taken.seq, ":from": from, ":head": since, ":below": layout.below(),
                ":destination": self.destination, ":incarnation": probed.incarnation.as_str(),
            })?;
            while let Some(row) = rows.next()? {
                if let Some(line) = line(row, from)? {
                    each(line)?;
                }
            }
            Ok(())
        })
    }

    /// Makes the claim of this snapshot at the destination that answered. The snapshot is used up.
    pub fn claim(self, probed: Probed) -> Result<Claim> {
        if probed.destination != self.destination {
            return Err(StoreError::Refused("the destination that answered is not the one that the snapshot was taken for".into()));
        }
        probed.require_of(self.run)?;
        Ok(Claim { snapshot: self, probed })
    }
}

/// What a row has to say in a segment that follows the change `from`, if anything.
fn line(row: &rusqlite::Row<'_>, from: i64) -> Result<Option<Line>> {
    let status: FileStatus = row.get(7)?;
    let since: i64 = row.get(8)?;
    let (present, held, withheld): (bool, bool, bool) = (row.get(9)?, row.get(10)?, row.get(11)?);
    let (followed, told, stands): (bool, bool, bool) = (row.get(12)?, row.get(13)?, row.get(14)?);
    let says_something = if present {
        since > from || withheld
    } else {
        // It ended after that change: what was withheld was present. The path's newer row, if there is one, says what it became.
        !followed || told || stands
    };
    if !says_something {
        return Ok(None);
    }
    Ok(Some(Line {
        row: row.get(0)?,
        path: crate::files::joined(row.get(1)?, row.get(2)?)?,
        content: Content { hash: ContentHash(row.get(3)?), size: row.get(4)? },
        mtime_ns: row.get(5)?,
        mode: row.get(6)?,
        status: if present || stands { FileStatus::Present } else { status },
        earlier: !present && followed,
        location: Location(row.get::<_, Option<Vec<u8>>>(15)?.unwrap_or_default()),
        held: held || !present,
    }))
}

fn snapshot_file(row: &rusqlite::Row<'_>, first: usize) -> Result<SnapshotFile> {
    Ok(SnapshotFile {
        id: row.get(first)?,
        path: crate::files::joined(row.get(first + 1)?, row.get(first + 2)?)?,
        seen: crate::files::seen(row, first + 3)?,
    })
}

impl Store {
    /// What a push found that its destination cannot have, with the reasons, of the files that are present still, by path.
    pub fn excluded_by(&self, push: RunId) -> Result<Vec<(RelPath, String)>> {
        self.read(|tx| {
            let sql = "SELECT d.path, f.name, e.reason FROM exclusion e JOIN file f ON f.id = e.file JOIN directory d ON d.id = f.directory
                 WHERE e.run = ? AND f.until_seq IS NULL ORDER BY d.path, f.name";
            let mut statement = tx.prepare_cached(sql)?;
            let mut rows = statement.query([push])?;
            let mut excluded = Vec::new();
            while let Some(row) = rows.next()? {
                excluded.push((crate::files::joined(row.get(0)?, row.get(1)?)?, row.get(2)?));
            }
            Ok(excluded)
        })
    }
}

impl Run<Sync> {
    /// Records that a file cannot be stored there, or not be read here: it gets no receipt, and holds nothing back.
    pub fn exclude(&self, file: FileId, reason: &str) -> Result<()> {
        self.write(|tx| {
            let insert = "INSERT OR IGNORE INTO exclusion (run, file, reason) VALUES (?, ?, ?)";
            tx.sql.change(insert, (tx.run, file, reason))?;
            Ok(())
        })
    }

    /// Advances the durability vector as far as the receipts carry the claim (I3), seals the head that was announced, and closes
    /// the run: one transaction. `summary` tells of the advance what the command prints.
    pub fn finish_sync(
        self,
        claim: Claim,
        sealed: Option<HeadId>,
        outcome: &Outcome,
        summary: impl FnOnce(&Advance) -> String,
    ) -> Result<Advance> {
        let Claim { snapshot, probed } = claim;
        if snapshot.run != self.id() {
            return Err(StoreError::Refused(format!("a claim of run {} is not run {}'s to make", snapshot.run, self.id())));
        }
        self.finish_summed(
            outcome,
            |tx| {
                let advance = advance(tx, &snapshot, &probed)?;
                if let Some(head) = sealed {
                    crate::heads::seal(tx, head)?;
                }
                Ok(advance)
            },
            |advance| Some(summary(advance)),
        )
    }
}

/// Moves the own component up to what the receipts carry, if that is up.
fn advance(tx: &Tx<'_>, snapshot: &Snapshot, probed: &Probed) -> Result<Advance> {
    let carried = carried(tx.sql, snapshot, probed)?;
    let (volume, destination) = (snapshot.volume, snapshot.destination);
    let before = vectors::component(tx.sql, volume, destination, snapshot.taken.epoch)?;
    // Writing an equal value moves nothing, and refreshes nothing (I8).
    let advanced = carried > before && tx.epoch == snapshot.taken.epoch;
    if let (true, Some(after)) = (advanced, carried) {
        vectors::write(tx, volume, destination, snapshot.taken.epoch, before, after)?;
    }
    let horizon = vectors::of_snapshot(tx.sql, snapshot.run)?;
    let vector = vectors::of_pair(tx.sql, volume, destination)?;
    Ok(Advance { advanced, horizon, vector })
}

/// The highest run that the receipts of a snapshot carry: its horizon, or the newest `present_since` below the oldest file that
/// lacks a live verified receipt in the incarnation that answered, or none. Excluded files aside.
fn carried(tx: &Transaction<'_>, snapshot: &Snapshot, probed: &Probed) -> Result<Option<RunId>> {
    let oldest = format!(
        "SELECT min(f.present_since) FROM file f WHERE {IN_SNAPSHOT} AND f.present_since <= :horizon AND {LACKS}
         AND NOT EXISTS (SELECT 1 FROM exclusion x WHERE x.run = :run AND x.file = f.id)"
    );
    let horizon = snapshot.taken.horizon;
    let oldest: Option<RunId> = tx.row(
        &oldest,
        rusqlite::named_params! {
            ":volume": snapshot.volume, ":seq": snapshot.taken.seq, ":horizon": horizon, ":run": snapshot.run,
            ":destination": snapshot.destination, ":incarnation": probed.incarnation.as_str(),
        },
        |row| row.get(0),
    )?;
    let Some(oldest) = oldest else { return Ok((horizon > RunId(0)).then_some(horizon)) };
    let below = format!("SELECT max(f.present_since) FROM file f WHERE {IN_SNAPSHOT} AND f.present_since < :oldest");
    let values = rusqlite::named_params! { ":volume": snapshot.volume, ":seq": snapshot.taken.seq, ":oldest": oldest };
    Ok(tx.row(&below, values, |row| row.get(0))?)
}
