//! Which of our snapshots are still needed. One whose every file lies in another one that stays holds nothing alone, and is released:
//! otherwise each push would leave one for ever. A snapshot that holds a single file alone stays, whether a receipt counts on it or not,
//! because what counts on what is not known here; that is for `compact`.

use crate::listing::{Key, key, walk};
use crate::place::Source;
use crate::session::{Session, lock};
use crate::snapshot::Snapshots;
use crate::wire::{Entry, Snapshot};
use lastcopy_fs::{Cancel, Id128};
use lastcopy_sync::DestinationError;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// From so many on, a person is told what they cost.
const MANY: usize = 50;

/// A snapshot that is not the newest of its volume.
pub(crate) struct Older {
    pub(crate) volume: Id128,
    pub(crate) snapshot: Snapshot,
}

/// What the snapshots that stay hold: 16 bytes for each object.
#[derive(Default)]
pub(crate) struct Covered {
    dirs: HashSet<Key>,
    files: HashSet<Key>,
}

/// What was found in a snapshot below directories that no other one has.
#[derive(Default)]
pub(crate) struct Beyond {
    dirs: HashSet<Key>,
    files: HashSet<Key>,
    /// Some directory could not be read: it may hold anything.
    is_partial: bool,
}

impl Covered {
    /// Whether an object of a file is held.
    pub(crate) fn has(&self, object: &str) -> bool {
        self.files.contains(&key(object.as_bytes()))
    }

    /// From now on, it is.
    pub(crate) fn insert(&mut self, object: &str) {
        self.files.insert(key(object.as_bytes()));
    }

    /// Goes through the files of a snapshot that lie below a directory which no snapshot that stays has: `each` is told of those whose
    /// object none has either.
    pub(crate) fn beyond(
        &self,
        session: &Session,
        snapshot: &Snapshot,
        cancel: &Cancel,
        each: &(dyn Fn(&Entry) + Sync),
    ) -> Result<Beyond, DestinationError> {
        let found = Mutex::new(Beyond::default());
        let enter = |object: &str| {
            let object = key(object.as_bytes());
            !self.dirs.contains(&object) && lock(&found).dirs.insert(object)
        };
        let file = |_: &str, entry: Entry| {
            if entry.is_file() && !self.has(&entry.object) {
                each(&entry);
                lock(&found).files.insert(key(entry.object.as_bytes()));
            }
        };
        if enter(&snapshot.root) {
            walk(session, &snapshot.root, cancel, &enter, &file, &|_, _, _| lock(&found).is_partial = true)?;
        }
        Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&mut self, found: Beyond) {
        self.dirs.extend(found.dirs);
        self.files.extend(found.files);
    }

    /// This snapshot stays.
    pub(crate) fn add(&mut self, session: &Session, snapshot: &Snapshot, cancel: &Cancel) -> Result<(), DestinationError> {
        let found = self.beyond(session, snapshot, cancel, &|_| {})?;
        self.take(found);
        Ok(())
    }

    /// Whether a snapshot can go, because of all its files those that `matters` says yes to are held besides. Where that cannot be told, it
    /// cannot.
    pub(crate) fn spares(
        &self,
        session: &Session,
        snapshot: &Snapshot,
        cancel: &Cancel,
        matters: &(dyn Fn(&Entry) -> bool + Sync),
    ) -> Result<bool, DestinationError> {
        let needed = Mutex::new(false);
        let found = self.beyond(session, snapshot, cancel, &|entry| {
            if matters(entry) {
                *lock(&needed) = true;
            }
        })?;
        Ok(!found.is_partial && !*lock(&needed))
    }
}

/// The whole snapshots of an epoch that hold contents of a source, newest first.
pub(crate) fn own(snapshots: &Snapshots<'_>, source: Source) -> Result<Vec<Snapshot>, DestinationError> {
    let mut own = snapshots.session.server()?.snapshots(source)?;
    own.retain(|snapshot| snapshot.is_whole() && snapshots.is_own(snapshot));
    own.reverse();
    Ok(own)
}

/// Releases the older snapshots of a volume that hold nothing alone any more.
pub(crate) fn release(snapshots: &Snapshots<'_>, volume: Id128, newest: &Snapshot) -> Result<(), DestinationError> {
    let (session, cancel) = (snapshots.session, &snapshots.context.cancel);
    let mut older = own(snapshots, Source::Files(volume))?;
    older.extend(own(snapshots, Source::Contents(volume))?);
    older.retain(|snapshot| snapshot.id != newest.id);
    if older.is_empty() {
        return Ok(());
    }
    let mut covered = Covered::default();
    covered.add(session, newest, cancel)?;
    let (mut released, mut kept) = (Vec::new(), 0);
    for snapshot in &older {
        let found = covered.beyond(session, snapshot, cancel, &|_| {})?;
        if found.files.is_empty() && !found.is_partial {
            released.push(snapshot);
        } else {
            kept += 1;
            covered.take(found);
        }
    }
    if kept >= MANY {
        snapshots.context.progress.note(&format!(
            "{kept} older snapshots there hold what the newest does not; `lastcopy destination compact --dry-run` says what they cost"
        ));
    }
    snapshots.delete(&released)
}
