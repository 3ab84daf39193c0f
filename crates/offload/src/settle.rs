//! Settling: what a broken offload left behind is put right by the next run on the volume. Nothing is ever deleted by it.

use crate::quarantine::{Returned, all_aside, move_back, stat_aside, stat_kept, tidy};
use lastcopy_fs::{FileStat, RelPath};
use lastcopy_store::{
    BeginError, FileStatus, Index, Intent, IntentId, IntentState, Offload, Restore, Run, RunId, Seen, Settled, Store, StoreError,
    Volume,
};
use std::collections::HashSet;
use std::io;

/// Why an offload, or settling one, ended early. What was moved aside by then is put back, now or by the next run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OffloadError {
    /// It may not begin.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The volume.
    #[error("{path}: {source}")]
    Io {
        /// Which path in it.
        path: RelPath,
        /// Why.
        source: io::Error,
    },
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] lastcopy_fs::Cancelled),
}

impl OffloadError {
    pub(crate) fn at(path: &RelPath) -> impl FnOnce(io::Error) -> Self {
        let path = path.clone();
        move |source| Self::Io { path, source }
    }
}

/// A kind of run that may settle what a broken offload left: index, offload and restore.
pub trait Settles {
    /// The index.
    fn index(&self) -> &Store;
    /// Records what became of one file.
    fn settle(&self, intent: IntentId, settled: Settled) -> Result<(), StoreError>;
}

macro_rules! settles {
    ($($kind:ident)*) => {$(
        impl Settles for Run<$kind> {
            fn index(&self) -> &Store {
                self.store()
            }

            fn settle(&self, intent: IntentId, settled: Settled) -> Result<(), StoreError> {
                Run::<$kind>::settle(self, intent, settled)
            }
        }
    )*};
}

settles! { Index Offload Restore }

/// What settling did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SettleReport {
    /// Files that are back in their places.
    pub put_back: Vec<RelPath>,
    /// Files that are in the kept files now, because their places were taken.
    pub kept: Vec<RelPath>,
    /// Files that are gone: deleted as intended, or missing.
    pub gone: Vec<RelPath>,
    /// Files that could not be settled, and why. They stay `quarantined`, where they are, and the next run tries again.
    pub stuck: Vec<(RelPath, String)>,
}

impl SettleReport {
    /// Whether there was nothing to settle.
    pub fn is_empty(&self) -> bool {
        self.put_back.is_empty() && self.kept.is_empty() && self.gone.is_empty() && self.stuck.is_empty()
    }
}

/// Settles what broken offloads left on a volume. Files that are held for their grace stay where they are; one that is not there any more
/// becomes `missing`. Idempotent.
pub fn settle(run: &impl Settles, volume: &Volume) -> Result<SettleReport, OffloadError> {
    let mut report = SettleReport::default();
    let intents = run.index().open_intents(volume.id())?;
    // Looked at before anything is recorded: of an area that cannot be looked into, nothing is known.
    let area = RelPath::root();
    let aside = all_aside(volume).map_err(OffloadError::at(&area))?;
    let is_aside: HashSet<_> = aside.iter().cloned().collect();
    let mut known = HashSet::new();
    for intent in &intents {
        let moved = (intent.run, intent.file.path.clone());
        let waits = intent.state == IntentState::Held && intent.current_epoch && intent.file.status == FileStatus::Quarantined;
        // What was aside on a disk that died is not held any more: a restore has to know.
        if !(waits && is_aside.contains(&moved))
            && let Err(error) = settle_one(run, volume, intent, &mut report)
        {
            report.stick(error, &intent.file.path)?;
        }
        known.insert(moved);
    }
    // What is aside without an open intent was moved by a life of the index that is forgotten.
    for (moved_by, path) in aside.into_iter().filter(|moved| !known.contains(moved)) {
        match move_back(volume, moved_by, &path) {
            Ok(returned) => report.add(returned, path),
            Err(error) => report.stuck.push((path, error.to_string())),
        }
    }
    tidy(volume).map_err(OffloadError::at(&area))?;
    Ok(report)
}

/// Puts back, on a person's word, everything that an offload holds for its grace.
pub fn undo(run: &Run<Restore>, volume: &Volume, of: RunId) -> Result<SettleReport, OffloadError> {
    let mut report = SettleReport::default();
    for intent in run.store().open_intents(volume.id())? {
        if intent.run == of
            && let Err(error) = settle_one(run, volume, &intent, &mut report)
        {
            report.stick(error, &intent.file.path)?;
        }
    }
    tidy(volume).map_err(OffloadError::at(&RelPath::root()))?;
    Ok(report)
}

impl SettleReport {
    /// One file that cannot be dealt with must not hold up the others, nor every run on the volume. An index that cannot be written to
    /// must.
    fn stick(&mut self, error: OffloadError, path: &RelPath) -> Result<(), OffloadError> {
        match error {
            OffloadError::Io { source, .. } => self.stuck.push((path.clone(), source.to_string())),
            other => return Err(other),
        }
        Ok(())
    }

    fn add(&mut self, returned: Returned, path: RelPath) {
        match returned {
            Returned::Home => self.put_back.push(path),
            Returned::Kept => self.kept.push(path),
            Returned::Gone => self.gone.push(path),
        }
    }
}

/// Finds the bytes of one intent, wherever a crash left them, and puts them back.
pub(crate) fn settle_one(
    run: &impl Settles,
    volume: &Volume,
    intent: &Intent,
    report: &mut SettleReport,
) -> Result<(), OffloadError> {
    let path = &intent.file.path;
    let at = || OffloadError::at(path);
    if stat_aside(volume, intent.run, path).map_err(at())?.is_some() {
        let returned = put_back(run, volume, intent)?;
        report.add(returned, path.clone());
        return Ok(());
    }
    let device = volume.root().own_stat().map_err(at())?.device;
    // On another disk than the one on which it waited, an inode's number says little; nor does it once that file may be deleted.
    let seen = &intent.file.seen;
    let looks_like_it = |stat: &FileStat| stat.size == seen.size && stat.mtime_ns == seen.mtime_ns;
    let is_it = |stat: &FileStat| is_that_of(intent, stat, device) && (intent.state == IntentState::Moving || looks_like_it(stat));
    // Never moved, or moved back already: it is where it was.
    if let Some(stat) = volume.root().stat(path).map_err(at())?
        && is_it(&stat)
    {
        run.settle(intent.id, Settled::PutBack(unread(&stat)))?;
        report.put_back.push(path.clone());
    } else if stat_kept(volume, intent.run, path).map_err(at())?.is_some_and(|stat| is_it(&stat)) {
        run.settle(intent.id, Settled::Kept)?;
        report.kept.push(path.clone());
    } else {
        run.settle(intent.id, Settled::Gone)?;
        report.gone.push(path.clone());
    }
    Ok(())
}

/// Whether a file of the volume, whose device is `device` now, is the one that an intent names. Device numbers change with each boot;
/// a file that was moved by a rename is on the volume's own.
pub(crate) fn is_that_of(intent: &Intent, stat: &FileStat, device: u64) -> bool {
    stat.inode == intent.inode && stat.device == device
}

/// Moves the file of an intent back, durably, and then records it. One that somebody took away is recorded as gone: the other files of
/// its batch must not wait for it.
pub(crate) fn put_back(run: &impl Settles, volume: &Volume, intent: &Intent) -> Result<Returned, OffloadError> {
    let path = &intent.file.path;
    if stat_aside(volume, intent.run, path).map_err(OffloadError::at(path))?.is_none() {
        run.settle(intent.id, Settled::Gone)?;
        return Ok(Returned::Gone);
    }
    let returned = move_back(volume, intent.run, path).map_err(OffloadError::at(path))?;
    let settled = match returned {
        Returned::Kept => Settled::Kept,
        Returned::Gone => Settled::Gone,
        Returned::Home => match volume.root().stat(path).map_err(OffloadError::at(path))? {
            Some(stat) => Settled::PutBack(unread(&stat)),
            // Somebody moved it on at once; it is an index run's to find.
            None => Settled::Kept,
        },
    };
    run.settle(intent.id, settled)?;
    Ok(returned)
}

/// How a file that was moved back looks. It is read again by the next index run, whatever it looks like.
pub(crate) fn unread(stat: &FileStat) -> Seen {
    Seen { size: stat.size, mtime_ns: stat.mtime_ns, ctime_ns: stat.ctime_ns, inode: stat.inode, mode: stat.mode, racy: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing that was settled may pass for nothing: commands say nothing about an empty report.
    #[test]
    fn a_report_with_anything_in_it_is_not_empty() {
        let empty = SettleReport::default();
        assert!(empty.is_empty());
        let path = || vec![RelPath::root()];
        assert!(!SettleReport { put_back: path(), ..empty.clone() }.is_empty());
        assert!(!SettleReport { kept: path(), ..empty.clone() }.is_empty());
        assert!(!SettleReport { gone: path(), ..empty.clone() }.is_empty());
        assert!(!SettleReport { stuck: vec![(RelPath::root(), String::new())], ..empty }.is_empty());
    }
}
