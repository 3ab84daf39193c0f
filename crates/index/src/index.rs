//! An index run: walk, then read what may have changed, then record what is gone.

use crate::error::IndexError;
use crate::hash::{self, Read};
use crate::report::{Skipped, Trouble};
use crate::spool::{Candidate, Spool};
use crate::walk::{Collector, Sighting, WalkOptions, threads, walk};
use lastcopy_fs::{Cancel, Mounts, Progress, filesystem_of};
use lastcopy_store::{FileId, FileStatus, Index, Observation, Observed, Outcome, Run, Volume};

/// How many observations go into one transaction.
const BATCH: usize = 4096;

/// How to index.
#[derive(Debug, Clone, Default)]
pub struct IndexOptions {
    /// How to walk.
    pub walk: WalkOptions,
    /// Believe a volume that is suddenly empty, or has lost most of its files.
    pub accept_loss: bool,
}

/// What an index run found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexReport {
    /// Regular files on the disk that are under care.
    pub files: u64,
    /// Paths that the index did not know.
    pub added: u64,
    /// Paths that hold other content.
    pub changed: u64,
    /// Missing or offloaded paths that hold their content again.
    pub reappeared: u64,
    /// Paths that are gone, reason unknown.
    pub missing: u64,
    /// Paths that hold what they held.
    pub unchanged: u64,
    /// Files that changed each time they were read.
    pub unstable: Trouble,
    /// Files that the index knew and that are left out now.
    pub newly_excluded: u64,
    /// What was left out.
    pub skipped: Skipped,
    /// What could not be read.
    pub errors: Trouble,
    /// Bytes that were read and hashed.
    pub bytes_hashed: u64,
}

impl IndexReport {
    /// Whether anything is different from before: then the volume's hook runs.
    pub fn changed_anything(&self) -> bool {
        self.added + self.changed + self.reappeared + self.missing + self.newly_excluded > 0
    }

    fn outcome(&self) -> Outcome {
        match (self.errors.count(), self.unstable.count()) {
            (0, 0) => Outcome::Success,
            (errors, unstable) => Outcome::Partial(format!("{errors} unreadable, {unstable} changing while read")),
        }
    }
}

/// Indexes a volume and ends the run. `summary` makes of the report what is recorded with the run.
///
/// What was read stays recorded whenever the run ends; files are recorded as missing only at its end, after the marker was read again.
pub fn index(
    run: Run<Index>,
    options: &IndexOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
    summary: impl FnOnce(&IndexReport) -> String,
) -> Result<IndexReport, IndexError> {
    match gather(&run, options, cancel, progress) {
        Ok((report, missing)) => {
            run.finish_index(&missing, &report.outcome(), Some(&summary(&report)))?;
            Ok(report)
        }
        Err(error) => {
            let outcome = match &error {
                IndexError::Cancelled(_) => Outcome::Aborted,
                IndexError::ImplausibleLoss { .. } | IndexError::Volume(_) => Outcome::Refused(error.to_string()),
                other => Outcome::Failed(other.to_string()),
            };
            run.finish(&outcome, None)?;
            Err(error)
        }
    }
}

fn gather(
    run: &Run<Index>,
    options: &IndexOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<(IndexReport, Vec<FileId>), IndexError> {
    let volume = volume_of(run.volume())?;
    let known = run.store().count_present(volume.id())?;
    progress.phase("walking", known, 0);
    let mut collectors: Vec<_> = (0..threads()).map(|_| Changes::new(progress)).collect();
    let walked = walk(run.store(), volume, &options.walk, cancel, &mut collectors)?;
    let mut report = IndexReport { skipped: walked.skipped, errors: walked.trouble, ..IndexReport::default() };
    let mut gone = Vec::new();
    let mut excluded = Vec::new();
    let mut covered = 0;
    let mut spools = Vec::new();
    for part in collectors {
        report.files += part.unchanged + part.spool.count;
        report.unchanged += part.unchanged;
        gone.extend(part.gone);
        covered += part.covered;
        excluded.extend(part.excluded);
        spools.push(part.spool);
    }
    plausible(known, gone.len() as u64, covered, report.files, options.accept_loss)?;
    volume.prove_again()?;
    let (files, bytes) = spools.iter().fold((0, 0), |(files, bytes), spool| (files + spool.count, bytes + spool.bytes));
    progress.phase("hashing", files, bytes);
    let mounts = if options.walk.cross_mounts { Mounts::Cross } else { Mounts::Stay };
    let filesystem = filesystem_of(volume.root()).map_err(|source| IndexError::Io { what: "the volume's root", source })?;
    let mut recorder = Recorder { run, report: &mut report, batch: Vec::new(), unstable: Vec::new(), gone: &mut gone };
    let read = hash::read_all(volume.root(), filesystem, spools, mounts, cancel, progress, &mut |candidate, read| {
        recorder.take(candidate, read)
    });
    // Also when cancelled: what was read stays.
    recorder.flush()?;
    read?;
    report.missing = gone.len() as u64;
    report.newly_excluded = excluded.len() as u64;
    // Nothing is recorded as missing on a disk that was unmounted meanwhile.
    volume.prove_again()?;
    gone.extend(excluded);
    Ok((report, gone))
}

/// A volume that is suddenly empty, or has lost more than half of 20 files or more, is not believed. A file is lost as well where a
/// mount, another volume or a destination lies now; not where a rule leaves it out, which somebody wrote.
fn plausible(known: u64, gone: u64, covered: u64, found: u64, accept_loss: bool) -> Result<(), IndexError> {
    let missing = gone + covered;
    let empty = known > 0 && found == 0;
    let most = known >= 20 && missing > known / 2;
    if (empty || most) && missing > 0 && !accept_loss {
        return Err(IndexError::ImplausibleLoss { known, missing, covered, empty });
    }
    Ok(())
}

/// One thread's share of what the walk saw.
struct Changes<'a> {
    unchanged: u64,
    spool: Spool,
    gone: Vec<FileId>,
    excluded: Vec<FileId>,
    /// Those of them that no rule leaves out: something else lies where they were.
    covered: u64,
    progress: &'a dyn Progress,
    /// Progress is told in steps: a call for each of a million files costs.
    untold: u64,
}

impl<'a> Changes<'a> {
    fn new(progress: &'a dyn Progress) -> Self {
        Self { unchanged: 0, spool: Spool::new(), gone: Vec::new(), excluded: Vec::new(), covered: 0, progress, untold: 0 }
    }
}

impl Collector for Changes<'_> {
    fn sight(&mut self, sighting: Sighting<'_>) -> Result<(), IndexError> {
        match sighting {
            Sighting::Gone(id) => self.gone.push(id),
            Sighting::Excluded { id, by_rule } => {
                self.covered += u64::from(!by_rule);
                self.excluded.push(id);
            }
            Sighting::File { directory, name, stat, row } => {
                self.untold += 1;
                if self.untold == 1024 {
                    self.progress.advance(self.untold, 0);
                    self.untold = 0;
                }
                let present = row.filter(|row| row.status == FileStatus::Present);
                if present.is_some_and(|row| row.seen.is_unchanged(&stat)) {
                    self.unchanged += 1;
                } else {
                    let present = present.map(|row| (row.id, row.content));
                    self.spool
                        .push(directory, name, stat.size, present)
                        .map_err(|source| IndexError::Io { what: "the list of files to read", source })?;
                }
            }
        }
        Ok(())
    }
}

/// Records what was read, in batches.
struct Recorder<'a> {
    run: &'a Run<Index>,
    report: &'a mut IndexReport,
    batch: Vec<Observation>,
    unstable: Vec<FileId>,
    gone: &'a mut Vec<FileId>,
}

impl Recorder<'_> {
    fn take(&mut self, candidate: Candidate, read: Read) -> Result<(), IndexError> {
        let path = || candidate.path().unwrap_or_default();
        match read {
            Read::Found(_, seen, content) => {
                self.report.bytes_hashed += content.size;
                self.batch.push(Observation { directory: candidate.directory, name: candidate.name, seen, content });
            }
            Read::Vanished => {
                self.report.files -= 1;
                self.gone.extend(candidate.present.map(|(file, _)| file));
            }
            Read::Unstable => {
                self.report.unstable.add(path(), "changed each time it was read");
                self.unstable.extend(candidate.present.map(|(file, _)| file));
            }
            Read::Unreadable(error) => self.report.errors.add(path(), format!("cannot be read: {error}")),
        }
        if self.batch.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), IndexError> {
        if !self.unstable.is_empty() {
            self.run.unstable(&std::mem::take(&mut self.unstable))?;
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        for (observation, observed) in self.batch.iter().zip(self.run.observe(&self.batch)?) {
            *match observed {
                Observed::Added => &mut self.report.added,
                Observed::Changed => &mut self.report.changed,
                Observed::Reappeared => &mut self.report.reappeared,
                Observed::Unchanged => &mut self.report.unchanged,
                Observed::Doubted => {
                    let what = "holds other bytes than were indexed, under the same size and time: see `lastcopy alarms`";
                    let path = observation.directory.join(&observation.name).unwrap_or_default();
                    self.report.errors.add(path, what);
                    continue;
                }
            } += 1;
        }
        self.batch.clear();
        Ok(())
    }
}

/// The volume of a run that cannot be without one.
pub(crate) fn volume_of(volume: Option<&Volume>) -> Result<&Volume, IndexError> {
    volume.ok_or(IndexError::Io { what: "the run's volume", source: std::io::ErrorKind::NotFound.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_losses_are_believed() {
        for (known, missing, found, believed) in [
            (0, 0, 0, true),
            (1, 1, 0, false),
            (1, 1, 1, true),
            (19, 18, 1, true),
            (20, 10, 10, true),
            (20, 11, 9, false),
            (20, 11, 500, false),
            (1000, 500, 500, true),
            (1000, 501, 499, false),
        ] {
            for covered in [0, missing / 2, missing] {
                let gone = missing - covered;
                let answer = plausible(known, gone, covered, found, false);
                assert_eq!(answer.is_ok(), believed, "{gone} and {covered} of {known}, {found} found");
                assert!(plausible(known, gone, covered, found, true).is_ok());
            }
        }
    }
}
