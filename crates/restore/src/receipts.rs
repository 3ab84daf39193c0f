//! After a recovery: what a destination seems to hold.

use crate::error::RestoreError;
use crate::recover::{Found, RecoverReport};
use lastcopy_fs::RelPath;
use lastcopy_store::{DestinationRecord, EvidenceChange, FileRecord, FileStatus, Layout, Outcome, Probed, Run};
use lastcopy_sync::{Context, Destination, contact, identify_again};

/// Contents that share a transaction.
const BATCH: usize = 4096;

/// Records receipts, unproven, of every content that the index knows and the destination holds: by its listing, or, where files lie at
/// their paths, by what the segments said. Says how many.
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
    let held: Vec<_> = report.elsewhere.values().cloned().chain(earlier).collect();
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
