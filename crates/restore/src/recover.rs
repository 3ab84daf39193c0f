//! Recovering: what a destination keeps is enough to know every path, content and status again.

use crate::error::RestoreError;
use lastcopy_fs::{Id128, RelPath};
use lastcopy_store::{FileStatus, Outcome, Recovered, Restore, Run, StoreError};
use lastcopy_sync::segment::{FoundHead, Header, Link, Place, digest_of, hex, read};
use lastcopy_sync::{Context, Destination};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

/// Lines that share a transaction.
const BATCH: usize = 4096;

/// A volume that can be recovered from a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its newest head.
    pub head: FoundHead,
    /// The first line of the segment that the head names: names, path, node.
    pub header: Header,
    /// Other epochs whose pushes lie there, too.
    pub older: Vec<Id128>,
}

/// What a recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoverReport {
    /// Paths that the index knows again.
    pub files: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Segments that are damaged or gone, and what that means.
    pub damaged: Vec<String>,
}

/// What can be recovered from a destination: each volume at its newest epoch.
pub fn recoverable(destination: &dyn Destination, context: &Context) -> Result<Vec<Found>, RestoreError> {
    let mut volumes: BTreeMap<Id128, Vec<FoundHead>> = BTreeMap::new();
    for head in context.runtime.block_on(destination.places())? {
        let head = match head {
            Ok(head) => head,
            Err(damaged) => {
                let (volume, epoch) = (damaged.place.volume, damaged.place.epoch);
                context.progress.note(&format!("the head of volume {volume}, epoch {epoch}, is damaged: {}", damaged.reason));
                continue;
            }
        };
        volumes.entry(head.place.volume).or_default().push(head);
    }
    let mut found = Vec::new();
    for heads in volumes.into_values() {
        let older = continued(destination, &heads, context)?;
        let (mut ended, mut newest): (Vec<_>, Vec<_>) = heads.into_iter().partition(|head| older.contains(&head.place.epoch));
        // Only between epochs of which none continues another does a node's clock decide.
        newest.sort_by(|left, right| left.document.written.cmp(&right.document.written));
        let Some(head) = newest.pop() else { continue };
        ended.extend(newest);
        let segment = fetch(destination, head.place, &head.document.segment, context)?;
        let header = read(segment, &mut |_| Ok(())).map_err(|why| unreadable(&head.document.segment, &why))?;
        found.push(Found { head, header, older: ended.iter().map(|head| head.place.epoch).collect() });
    }
    Ok(found)
}

/// The epochs that another one of these continues, as its first segment says.
fn continued(destination: &dyn Destination, heads: &[FoundHead], context: &Context) -> Result<BTreeSet<Id128>, RestoreError> {
    let mut continued = BTreeSet::new();
    if heads.len() < 2 {
        return Ok(continued);
    }
    for head in heads {
        let first = context.runtime.block_on(destination.segment(&head.place, 1))?;
        // One that is damaged says nothing; the clock has to do for it.
        let Ok(header) = read(first, &mut |_| Ok(())) else { continue };
        let follows = header.follows_epoch.and_then(|epoch| epoch.parse::<Id128>().ok());
        continued.extend(follows.filter(|epoch| *epoch != head.place.epoch));
    }
    // A circle can only be a forgery; then nothing is older than anything.
    if heads.iter().all(|head| continued.contains(&head.place.epoch)) {
        continued.clear();
    }
    Ok(continued)
}

fn unreadable(link: &Link, why: &str) -> RestoreError {
    RestoreError::Unrecoverable(format!("segment {} is damaged: {why}", link.sequence))
}

/// A segment, if its bytes are the ones that were linked.
fn fetch(destination: &dyn Destination, place: Place, link: &Link, context: &Context) -> Result<File, RestoreError> {
    let mut file = context.runtime.block_on(destination.segment(&place, link.sequence))?;
    let digest = digest_of(&mut file).map_err(|error| unreadable(link, &error.to_string()))?;
    if hex(&digest) == link.digest { Ok(file) } else { Err(unreadable(link, "it hashes to something else")) }
}

/// Fills the index with what the segments of a volume say. Paths that were present or offloaded become `offloaded`: what is on the
/// disk, an index run will find.
///
/// A damaged segment does not stop the others: what it alone said is lost, and said so.
pub fn recover_volume(
    run: Run<Restore>,
    destination: &dyn Destination,
    found: &Found,
    context: &Context,
) -> Result<RecoverReport, RestoreError> {
    match fill(&run, destination, found, context) {
        Ok(report) => {
            let outcome = match report.damaged.len() {
                0 => Outcome::Success,
                count => Outcome::Partial(format!("{count} segments are damaged or gone")),
            };
            run.finish(&outcome, None)?;
            Ok(report)
        }
        Err(error) => {
            let outcome = if error.is_cancelled() { Outcome::Aborted } else { Outcome::Failed(error.to_string()) };
            match run.finish(&outcome, None) {
                Ok(()) | Err(StoreError::RunEnded { .. }) => Err(error),
                Err(store) => Err(store.into()),
            }
        }
    }
}

fn fill(
    run: &Run<Restore>,
    destination: &dyn Destination,
    found: &Found,
    context: &Context,
) -> Result<RecoverReport, RestoreError> {
    let mut report = RecoverReport::default();
    let chain = chain(destination, found, context, &mut report)?;
    context.progress.phase("recovering", chain.len() as u64, 0);
    for segment in chain.into_iter().rev() {
        context.cancel.check()?;
        let mut batch = Vec::new();
        let mut failed = None;
        let said = read(segment, &mut |said| {
            let status = match said.status {
                FileStatus::Present | FileStatus::Offloaded | FileStatus::Quarantined => FileStatus::Offloaded,
                FileStatus::Missing | FileStatus::Superseded => FileStatus::Missing,
            };
            batch.push(Recovered { path: said.path, content: said.content, mtime_ns: said.mtime_ns, mode: said.mode, status });
            if batch.len() >= BATCH {
                failed = run.recovered(&std::mem::take(&mut batch)).err();
            }
            failed.as_ref().map_or(Ok(()), |_| Err("recording failed".into()))
        });
        if let Some(error) = failed {
            return Err(error.into());
        }
        run.recovered(&batch)?;
        match said {
            Ok(_) => report.segments += 1,
            Err(why) => report.damaged.push(format!("a segment is damaged: {why}")),
        }
        context.progress.advance(1, 0);
    }
    report.files = run.store().count_known(run.volume().map(lastcopy_store::Volume::id))?;
    Ok(report)
}

/// The segments from the head's back to the first that needs no earlier one, newest first.
fn chain(
    destination: &dyn Destination,
    found: &Found,
    context: &Context,
    report: &mut RecoverReport,
) -> Result<Vec<File>, RestoreError> {
    let mut segments = Vec::new();
    let mut next = Some(found.head.document.segment.clone());
    while let Some(link) = next {
        context.cancel.check()?;
        match fetch(destination, found.head.place, &link, context) {
            Ok(file) => {
                let header = file.try_clone().map_err(RestoreError::at(&RelPath::root()));
                let header = header.and_then(|file| read(file, &mut |_| Ok(())).map_err(|why| unreadable(&link, &why)))?;
                let mut file = file;
                std::io::Seek::rewind(&mut file).map_err(RestoreError::at(&RelPath::root()))?;
                segments.push(file);
                next = header.previous;
            }
            Err(RestoreError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => {
                // Its link to the one before it is lost with it: the number says where to look on.
                report.damaged.push(error.to_string());
                next = earlier(destination, found, link.sequence - 1, context)?;
            }
        }
    }
    Ok(segments)
}

/// The nearest earlier segment that can be read, by number.
fn earlier(destination: &dyn Destination, found: &Found, from: i64, context: &Context) -> Result<Option<Link>, RestoreError> {
    for sequence in (1..=from).rev() {
        let file = context.runtime.block_on(destination.segment(&found.head.place, sequence));
        if let Ok(mut file) = file
            && let Ok(digest) = digest_of(&mut file)
        {
            return Ok(Some(Link { sequence, digest: hex(&digest) }));
        }
    }
    Ok(None)
}
