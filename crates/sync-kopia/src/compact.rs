//! One snapshot in place of many: what counts and only older snapshots hold is gathered into a new one and read back, then the older ones are
//! released. No byte is sent for it: in place of a file, kopia takes a placeholder that names an object which it has, as its own
//! restore leaves them for what it did not bring.

use crate::listing::{Key, Listing, Stored, key};
use crate::place::{PLACEHOLDER, Source, object_of};
use crate::push::STAGE;
use crate::retention::{Covered, Older, own};
use crate::session::{Look, Session, each, lock};
use crate::snapshot::Snapshots;
use crate::wire::Entry;
use lastcopy_fs::{Content, Id128, RelPath};
use lastcopy_program::PrivateDir;
use lastcopy_sync::{CompactSink, Compaction, Context, DestinationError, Retained, RetainedFile, WorkList};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The longest name of a file.
const LONGEST: usize = 255;

/// A content that counts, and that no snapshot holds which stays anyway.
struct Alone {
    content: Content,
    object: String,
    files: Vec<RetainedFile>,
}

struct Compacting<'a> {
    session: &'a Session,
    context: &'a Context,
    /// What the snapshots that stay hold.
    covered: Covered,
    /// The others, newest first.
    older: Vec<Older>,
    /// The objects of which it is known that nothing counts on them. What is not known stays.
    replaced: HashSet<Key>,
    alone: Vec<Alone>,
}

/// Compacts, or says what that would do. Blocks.
pub(crate) fn compact(
    session: &Session,
    retained: WorkList<Retained>,
    epoch: Id128,
    sink: Option<Arc<dyn CompactSink>>,
    context: &Context,
) -> Result<Compaction, DestinationError> {
    let (covered, older) = newest_and_older(session, epoch, context)?;
    let mut compacting = Compacting { session, context, covered, older, replaced: HashSet::new(), alone: Vec::new() };
    compacting.read(retained)?;
    let kept = compacting.keep_unknown()?;
    let mut report = Compaction {
        snapshots: compacting.older.len() as u64,
        kept,
        gathered: compacting.alone.len() as u64,
        gathered_bytes: compacting.alone.iter().map(|alone| alone.content.size).sum(),
        ..Compaction::default()
    };
    (report.freed, report.freed_bytes) = compacting.freed()?;
    let is_compact_already = report.freed == 0 && report.snapshots <= 1 && report.gathered > 0;
    if report.snapshots == 0 || is_compact_already {
        return Ok(Compaction { snapshots: 0, gathered: 0, gathered_bytes: 0, ..report });
    }
    match sink {
        Some(sink) => compacting.run(epoch, sink.as_ref(), report),
        None => Ok(Compaction { released: report.snapshots, ..report }),
    }
}

/// What the newest snapshot of each volume holds, and the other ones of the epoch.
fn newest_and_older(session: &Session, epoch: Id128, context: &Context) -> Result<(Covered, Vec<Older>), DestinationError> {
    let (mut covered, mut older) = (Covered::default(), Vec::new());
    for source in session.server()?.sources(None)? {
        let snapshots = Snapshots { session, epoch, context };
        let mut found = match source {
            Source::Files(_) | Source::Contents(_) => own(&snapshots, source)?.into_iter(),
            Source::Segments(_) | Source::Heads(_) => continue,
        };
        if matches!(source, Source::Files(_))
            && let Some(newest) = found.next()
        {
            covered.add(session, &newest, &context.cancel)?;
        }
        older.extend(found.map(|snapshot| Older { volume: source.volume(), snapshot }));
    }
    Ok((covered, older))
}

impl Compacting<'_> {
    fn read(&mut self, mut retained: WorkList<Retained>) -> Result<(), DestinationError> {
        while let Some(group) = retained.blocking_recv() {
            self.context.cancel.check()?;
            for Retained { item, files, counts } in group {
                // A place that is none of kopia's is in no snapshot either.
                let Ok(object) = object_of(&item.location) else { continue };
                if !counts {
                    self.replaced.insert(key(object.as_bytes()));
                } else if !self.covered.has(object) {
                    self.alone.push(Alone { content: item.content, object: object.to_owned(), files });
                }
            }
        }
        // Places may come from a segment that anybody wrote: what one receipt counts on goes for no other.
        for alone in &self.alone {
            self.replaced.remove(&key(alone.object.as_bytes()));
        }
        Ok(())
    }

    /// Whether it is not known that an object may go.
    fn matters(&self, object: &str) -> bool {
        !self.replaced.contains(&key(object.as_bytes()))
    }

    /// A snapshot with a file of which nothing is known, or with a directory that cannot be read, stays; says how many do.
    fn keep_unknown(&mut self) -> Result<u64, DestinationError> {
        let (session, cancel, mut kept) = (self.session, &self.context.cancel, 0);
        let alone: HashSet<_> = self.alone.iter().map(|alone| key(alone.object.as_bytes())).collect();
        for older in std::mem::take(&mut self.older) {
            let is_unknown = |entry: &Entry| self.matters(&entry.object) && !alone.contains(&key(entry.object.as_bytes()));
            if self.covered.spares(session, &older.snapshot, cancel, &is_unknown)? {
                self.older.push(older);
            } else {
                self.covered.add(session, &older.snapshot, cancel)?;
                kept += 1;
            }
        }
        self.alone.retain(|alone| !self.covered.has(&alone.object));
        Ok(kept)
    }

    /// How many objects, with how many bytes, are held only by what goes.
    fn freed(&self) -> Result<(u64, u64), DestinationError> {
        let freed = Mutex::new(BTreeMap::new());
        for older in &self.older {
            self.covered.beyond(self.session, &older.snapshot, &self.context.cancel, &|entry| {
                if !self.matters(&entry.object) {
                    lock(&freed).insert(key(entry.object.as_bytes()), entry.size);
                }
            })?;
        }
        let freed = freed.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((freed.len() as u64, freed.values().sum()))
    }

    fn run(mut self, current: Id128, sink: &dyn CompactSink, mut report: Compaction) -> Result<Compaction, DestinationError> {
        let alone = std::mem::take(&mut self.alone);
        let snapshots = Snapshots { session: self.session, epoch: current, context: self.context };
        let listed = self.gather(&snapshots, &alone)?;
        let proven = self.prove(alone, &listed)?;
        report.unproven = report.gathered - proven.len() as u64;
        proven.iter().for_each(|object| self.covered.insert(object));
        self.context.cancel.check()?;
        sink.releasing()?;
        let mut released = Vec::new();
        for older in &self.older {
            let matters = |entry: &Entry| self.matters(&entry.object);
            if self.covered.spares(self.session, &older.snapshot, &self.context.cancel, &matters)? {
                released.push(&older.snapshot);
            }
        }
        snapshots.delete(&released)?;
        self.session.settle()?;
        report.released = released.len() as u64;
        Ok(report)
    }

    /// Makes one snapshot for each volume; gives the objects that are listed there.
    fn gather(&self, snapshots: &Snapshots<'_>, alone: &[Alone]) -> Result<BTreeSet<String>, DestinationError> {
        let volumes: BTreeSet<_> = alone.iter().flat_map(|alone| self.volumes(alone)).collect();
        let mut listed = BTreeSet::new();
        for volume in volumes {
            let failed = |source| DestinationError::Io { address: "a directory for placeholders".into(), source };
            let stage = PrivateDir::for_much(STAGE).map_err(failed)?;
            let mut placed = Vec::new();
            for alone in alone.iter().filter(|alone| self.volumes(alone).contains(&volume)) {
                self.context.cancel.check()?;
                for path in placeholders(stage.path(), volume, alone).map_err(failed)? {
                    placed.push((path, alone));
                }
            }
            snapshots.cut_off_contents(volume)?;
            let made = snapshots.create(Source::Contents(volume), stage.path(), "what newer snapshots do not hold", false)?;
            let listing = Listing::read(self.session, &made.root, &self.context.cancel)?;
            listed.extend(placed.into_iter().filter_map(|(path, alone)| match listing.at(&path) {
                Stored::File { object, size } if object == alone.object && size == alone.content.size => Some(object.to_owned()),
                _ => None,
            }));
        }
        Ok(listed)
    }

    /// The volumes that a content is gathered for: one at least, whoever has it.
    fn volumes(&self, alone: &Alone) -> BTreeSet<Id128> {
        let mut volumes: BTreeSet<_> = alone.files.iter().map(|file| file.volume).collect();
        if volumes.is_empty() {
            volumes.extend(self.older.first().map(|older| older.volume));
        }
        volumes
    }

    /// The objects of those that are listed and were read to their end, and are what they should be.
    fn prove(&self, alone: Vec<Alone>, listed: &BTreeSet<String>) -> Result<Vec<String>, DestinationError> {
        let bytes = alone.iter().map(|alone| alone.content.size).sum();
        self.context.progress.phase("proving", alone.len() as u64, bytes);
        let (proven, cancel) = (Mutex::new(Vec::new()), &self.context.cancel);
        each(alone, self.session.connections.options.parallel, cancel, |alone| {
            if !listed.contains(&alone.object) {
                return Ok(());
            }
            match self.session.look(&alone.object, alone.content, cancel, self.context.progress.as_ref())? {
                Look::Proven(_) => lock(&proven).push(alone.object),
                Look::Other(_) | Look::Absent | Look::Damaged(_) => {}
            }
            Ok(())
        })?;
        Ok(proven.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Lays out a placeholder for each file of a volume that has a content; gives the paths that kopia will list. Where a path cannot be had,
/// its name is the digest.
fn placeholders(stage: &Path, volume: Id128, alone: &Alone) -> io::Result<Vec<String>> {
    let mut paths = Vec::new();
    for file in alone.files.iter().filter(|file| file.volume == volume) {
        if let Some(path) = plain(&file.path)
            && place(stage, path, alone, file.mtime_ns, file.mode).is_ok()
        {
            paths.push(path.to_owned());
        }
    }
    if paths.is_empty() {
        let path = alone.content.hash.to_string();
        place(stage, &path, alone, 0, 0o600)?;
        paths.push(path);
    }
    Ok(paths)
}

/// A path that can be a placeholder's, and that kopia takes for nothing else.
fn plain(path: &RelPath) -> Option<&str> {
    let text = std::str::from_utf8(path.as_bytes()).ok()?;
    let fits = |name: &str| !name.ends_with(PLACEHOLDER) && name.len() + PLACEHOLDER.len() <= LONGEST;
    text.split('/').all(fits).then_some(text)
}

fn place(stage: &Path, path: &str, alone: &Alone, mtime_ns: i64, mode: u32) -> io::Result<()> {
    let target = stage.join(format!("{path}{PLACEHOLDER}"));
    if let Some(above) = target.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(above)?;
    }
    let time = jiff::Timestamp::from_nanosecond(mtime_ns.into()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let entry = json!({
        "name": path.rsplit('/').next(),
        "type": "f",
        "mode": format!("{:#05o}", mode & 0o7777).replace("0o", "0"),
        "mtime": time.to_string(),
        "size": alone.content.size,
        "obj": alone.object,
    });
    std::fs::write(target, entry.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_no_placeholder_is_laid_out_by_its_digest() {
        let plain = |path: &[u8]| super::plain(&RelPath::new(path).unwrap()).map(str::to_owned);
        assert_eq!(plain(b"a/b c"), Some("a/b c".into()));
        for other in [&b"a/\xff"[..], b"x.kopia-entry", b"x.kopia-entry/y", &[b'n'; 250]] {
            assert_eq!(plain(other), None);
        }
    }
}
