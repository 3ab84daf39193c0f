//! What must stay at a destination whatever else is released there, and taking back the evidence of what goes.

use crate::db::Cached;
use crate::destination::Probed;
use crate::error::Result;
use crate::files::joined;
use crate::ids::{ContentId, DestinationId};
use crate::receipts::{ACCEPTED, Location};
use crate::runs::{EvidenceChange, Run};
use crate::store::{Store, current_epoch};
use lastcopy_fs::{Content, ContentHash, Id128, RelPath};
use rusqlite::Transaction;

/// A content at a destination, and whether it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// Row of the content.
    pub content_id: ContentId,
    /// The content.
    pub content: Content,
    /// Where it lies.
    pub location: Location,
    /// The files that have it, in any state but superseded.
    pub files: Vec<RetainedFile>,
    /// It must stay. Otherwise it is a version that a person replaced, and that no file has any more.
    pub counts: bool,
}

/// A file of a content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetainedFile {
    /// The volume's id.
    pub volume: Id128,
    /// Its path.
    pub path: RelPath,
    /// Modification time, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
}

/// A content may go if all that is known of it are files which an index run saw, which a person replaced, and which no offload ever touched:
/// what lastcopy deleted here stays there (I1), also after its path got a new file. What came by a recovery tells nothing of offloads, and
/// stays; so does what was the last that is known of its path, because what followed never held still; so does what other bytes followed with
/// the same size and time, which may have decayed; and so does what an earlier life of the index saw: an index that was put back from a backup
/// knows nothing of offloads since.
const REPLACED: &str = "EXISTS (SELECT 1 FROM file f WHERE f.volume IN (SELECT id FROM volume) AND f.content = r.content)
    AND NOT EXISTS (SELECT 1 FROM file f WHERE f.volume IN (SELECT id FROM volume) AND f.content = r.content
        AND (f.status <> 'superseded' OR NOT EXISTS (SELECT 1 FROM file n
                WHERE n.directory = f.directory AND n.name = f.name AND n.status <> 'superseded'
                    AND (n.content = f.content OR (n.size, n.mtime_ns) IS NOT (f.size, f.mtime_ns)))
            OR EXISTS (SELECT 1 FROM intent i WHERE i.file = f.id)
            OR (SELECT kind <> 'index' OR epoch <> ?2 FROM run WHERE run.id = f.present_since)))";

impl Store {
    /// Everything that receipts, live or lost, say a destination holds, in the incarnation that was accepted last.
    pub fn retained_at(&self, destination: DestinationId, each: &mut dyn FnMut(Retained) -> Result<()>) -> Result<()> {
        let sql = format!(
            "SELECT r.content, c.blake3, c.size, r.location, NOT ({REPLACED}) FROM receipt r JOIN content c ON c.id = r.content
             WHERE r.destination = ?1 AND r.moved_to IS NULL AND r.incarnation = {ACCEPTED}"
        );
        self.read(|tx| {
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query((destination, current_epoch(tx)?.0))?;
            while let Some(row) = rows.next()? {
                let content_id = row.get(0)?;
                let content = Content { hash: ContentHash(row.get(1)?), size: row.get(2)? };
                let (location, files) = (Location(row.get(3)?), files(tx, content_id)?);
                each(Retained { content_id, content, location, files, counts: row.get(4)? })?;
            }
            Ok(())
        })
    }
}

fn files(tx: &Transaction<'_>, content: ContentId) -> Result<Vec<RetainedFile>> {
    let mut statement = tx.prepare_cached(
        "SELECT v.uuid, d.path, f.name, f.mtime_ns, f.mode FROM volume v JOIN file f ON f.volume = v.id JOIN directory d ON d.id = f.directory
         WHERE f.content = ? AND f.status <> 'superseded'",
    )?;
    let mut rows = statement.query([content])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        let path = joined(row.get(1)?, row.get(2)?)?;
        files.push(RetainedFile { volume: Id128(row.get(0)?), path, mtime_ns: row.get(3)?, mode: row.get(4)? });
    }
    Ok(files)
}

impl Run<EvidenceChange> {
    /// Takes back what was known of contents that are about to be released: should one come again, it is sent again. Raises no alarm, because
    /// nobody counts on them.
    pub fn release(&self, probed: &Probed, released: &[(ContentId, Location)]) -> Result<()> {
        self.write(|tx| {
            probed.require_of(tx.run)?;
            // What is about another place is history; this one is about none.
            let update = "UPDATE receipt SET lost_at = ifnull(lost_at, ?1), checked_at = ?1, moved_to = location
                 WHERE destination = ?2 AND content = ?3 AND location = ?4";
            for (content, location) in released {
                tx.sql.change(update, (tx.now, probed.destination(), content, &location.0))?;
            }
            Ok(())
        })
    }
}
