//! After a recovery: what a destination seems to hold.

use crate::error::RestoreError;
use crate::recover::{Found, RecoverReport};
use lastcopy_fs::{Content, RelPath};
use lastcopy_store::{DestinationRecord, EvidenceChange, FileRecord, FileStatus, Layout, Location, Outcome, Probed, Run, Store};
use lastcopy_sync::{Context, Depth, Destination, Finding, HeldItem, check_held, contact, identify_again};

/// Contents that share a transaction.
const BATCH: usize = 4096;

/// Records receipts, unproven, of every content that the index knows and the destination holds: by its listing, or, where files lie at
/// their paths, by what the segments said; of what those name no place of, by a look at its path. Says how many.
///
/// `record` is the destination as it was accepted, and `recovered` what came from it. If another one answers, nothing is recorded, also
/// if it came while this listed.
pub fn recover_receipts(
    run: Run<EvidenceChange>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    recovered: &[(&Found, RecoverReport)],
    context: &Context,
) -> Result<u64, RestoreError> {
    let recorded = contact(&run, record, destination, &[], context).map_err(RestoreError::from).and_then(|probed| {
        let mut listed = Vec::new();
        if destination.layout("") == Layout::ByContent {
            context.runtime.block_on(destination.list(&mut |content, location| listed.push((content, location))))?;
        }
        for (found, report) in recovered {
            listed.extend(there_since(run.store(), destination, &found.header.volume_name, report, context)?);
        }
        // That took a while, and another disk may be there by now.
        identify_again(&run, record, destination, context)?;
        let mut known = 0;
        for (found, report) in recovered {
            known += at_their_paths(&run, &probed, &destination.layout(&found.header.volume_name), found, report)?;
        }
        for batch in listed.chunks(BATCH) {
            known += run.record_stored(&probed, batch)?;
        }
        Ok(known)
    });
    match recorded {
        Ok(known) => {
            run.finish(&Outcome::Success, None)?;
            Ok(known)
        }
        Err(error) => Err(error.ends(run)),
    }
}

/// Receipts of what has to lie where its path, or a segment, says.
fn at_their_paths(
    run: &Run<EvidenceChange>,
    probed: &Probed,
    layout: &Layout,
    found: &Found,
    report: &RecoverReport,
) -> Result<u64, RestoreError> {
    let store = run.store();
    let volume = store.volume_record(&found.header.volume_name)?;
    let Some(volume) = volume.filter(|_| *layout != Layout::ByContent) else { return Ok(0) };
    let earlier = report.earlier.iter().map(|(location, content)| (*content, location.clone()));
    let elsewhere = report.elsewhere.values().filter_map(|(content, place)| Some((*content, place.clone()?)));
    let held: Vec<_> = elsewhere.chain(earlier).collect();
    let mut known = 0;
    for batch in held.chunks(BATCH) {
        known += run.record_stored(probed, batch)?;
    }
    if report.names_all {
        return Ok(known);
    }
    for ids in store.select_files(volume.id, &[RelPath::root()], &[FileStatus::Offloaded])?.chunks(BATCH) {
        let told = |file: &FileRecord| report.elsewhere.get(&file.path).is_some_and(|(content, _)| *content == file.content);
        let files = store.files(ids)?.into_iter().filter(|file| !told(file));
        let held: Vec<_> = files.map(|file| (file.content, layout.location(&file.path))).collect();
        known += run.record_stored(probed, &held)?;
    }
    Ok(known)
}

/// Of what the destination did not hold when its segments told of it, the part that lies at its path by now: somebody may have put it there.
fn there_since(
    store: &Store,
    destination: &dyn Destination,
    volume: &str,
    report: &RecoverReport,
    context: &Context,
) -> Result<Vec<(Content, Location)>, RestoreError> {
    let layout = destination.layout(volume);
    let mut items = Vec::new();
    for (path, (content, _)) in report.elsewhere.iter().filter(|(_, (_, place))| place.is_none()) {
        if let Some((content_id, _)) = store.content_by_hash(content.hash)? {
            items.push(HeldItem { content_id, content: *content, location: layout.location(path), fingerprint: None });
        }
    }
    if items.is_empty() {
        return Ok(Vec::new());
    }
    context.progress.phase("looking", items.len() as u64, 0);
    let mut there = Vec::new();
    for batch in items.chunks(BATCH) {
        let findings = check_held(destination, batch, Depth::Presence, context)?;
        // What gives no answer may be there; nothing is proven anyway.
        let seen = batch.iter().zip(findings).filter(|(_, finding)| !matches!(finding, Finding::Lost(_)));
        there.extend(seen.map(|(item, _)| (item.content, item.location.clone())));
    }
    Ok(there)
}
