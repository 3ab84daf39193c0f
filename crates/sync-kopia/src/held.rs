//! What our own snapshots hold: only that is safe from kopia's retention and from the compaction of another node, and only that counts.

use crate::listing::{Key, key, walk};
use crate::place::{Source, is_pin};
use crate::program::Watch;
use crate::session::{Session, lock};
use crate::wire::Snapshot;
use lastcopy_fs::{Cancel, Id128};
use lastcopy_sync::{Context, DestinationError};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Every object of a file that a whole and pinned snapshot of ours holds.
pub(crate) struct Held {
    sizes: HashMap<Key, u64>,
    /// Some directory could not be read: what is not found here may be held all the same.
    pub(crate) is_partial: bool,
    /// The snapshots.
    pub(crate) snapshots: Vec<Snapshot>,
    /// Whose they are.
    of: Option<Arc<[Id128]>>,
}

impl Held {
    /// The size of an object, if it is held.
    pub(crate) fn size(&self, object: &str) -> Option<u64> {
        self.sizes.get(&key(object.as_bytes())).copied()
    }
}

/// The snapshots of some volumes that hold contents: whole, and with a pin of ours.
pub(crate) fn holding(session: &Session, of: &dyn Fn(Id128) -> bool) -> Result<Vec<Snapshot>, DestinationError> {
    let server = session.server()?;
    let mut holding = Vec::new();
    for source in server.sources(None)? {
        if matches!(source, Source::Files(_) | Source::Contents(_)) && of(source.volume()) {
            let snapshots = server.snapshots(source)?;
            holding.extend(
                snapshots.into_iter().filter(|snapshot| snapshot.is_whole() && snapshot.pins().iter().any(|pin| is_pin(pin))),
            );
        }
    }
    Ok(holding)
}

/// Gives every distinct object of a file that is held, with its size. Each directory is read once, in however many snapshots it is.
/// Says whether some could not be read.
pub(crate) fn objects(
    session: &Session,
    snapshots: &[Snapshot],
    cancel: &Cancel,
    each: &(dyn Fn(&str, u64) + Sync),
) -> Result<bool, DestinationError> {
    let (entered, damaged) = (Mutex::new(HashSet::new()), Mutex::new(false));
    let enter = |object: &str| lock(&entered).insert(key(object.as_bytes()));
    for snapshot in snapshots {
        if !enter(&snapshot.root) {
            continue;
        }
        let files = |_: &str, entry: crate::wire::Entry| {
            if entry.is_file() {
                each(&entry.object, entry.size);
            }
        };
        walk(session, &snapshot.root, cancel, &enter, &files, &|_, _, _| *lock(&damaged) = true)?;
    }
    Ok(*lock(&damaged))
}

/// What is held for the volumes that count, from an earlier look in this session if there was one. The same bytes in a snapshot of another
/// node's do not count: that one may be released by a compaction that knows nothing of ours.
pub(crate) fn held(session: &Session, context: &Context) -> Result<Arc<Held>, DestinationError> {
    let (of, cancel) = (&context.volumes, &context.cancel);
    let mut kept = lock(&session.held);
    if let Some(held) = kept.as_ref().filter(|held| held.of == *of) {
        return Ok(held.clone());
    }
    let snapshots = holding(session, &|volume| of.as_ref().is_none_or(|of| of.contains(&volume)))?;
    let sizes = Mutex::new(HashMap::new());
    let is_partial = objects(session, &snapshots, cancel, &|object, size| {
        lock(&sizes).insert(key(object.as_bytes()), size);
    })?;
    let sizes = sizes.into_inner().unwrap_or_else(PoisonError::into_inner);
    let held = Arc::new(Held { sizes, is_partial, snapshots, of: of.clone() });
    *kept = Some(held.clone());
    Ok(held)
}

/// Whether everything that is stored has its packs, as whole as the index says: kopia compares the listing of its packs with its index,
/// and goes through our snapshots. No byte is read. Where something is missing, every object has to be read to tell which.
pub(crate) fn has_its_packs(session: &Session, held: &Held, cancel: &Cancel) -> Result<bool, DestinationError> {
    let watch = Watch { cancel: Some(cancel.clone()), ..Watch::default() };
    let run = |arguments: &[&str]| {
        let finished = session.connections.read(&watch, |command| {
            command.args(arguments);
        })?;
        Ok::<_, DestinationError>(finished.ok)
    };
    if held.is_partial || !run(&["content", "verify"])? {
        return Ok(false);
    }
    // Without a name, all snapshots would be looked at; of an index that is lost, none, and that would be well.
    for some in held.snapshots.chunks(100) {
        let mut arguments = vec!["snapshot", "verify", "--verify-files-percent=0", "--max-errors=1"];
        arguments.extend(some.iter().map(|snapshot| snapshot.id.as_str()));
        if !run(&arguments)? {
            return Ok(false);
        }
    }
    Ok(true)
}
