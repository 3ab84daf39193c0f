//! An audit: disk against index, changing nothing but alarms. With `deep`, every byte is read again, for bit rot.

use crate::error::IndexError;
use crate::hash::{self, Read};
use crate::index::volume_of;
use crate::report::{Skipped, Trouble};
use crate::spool::Spool;
use crate::walk::{Collector, Sighting, WalkOptions, threads, walk};
use lastcopy_fs::{Cancel, Mounts, Progress, filesystem_of};
use lastcopy_store::{Audit, FileId, FileStatus, Outcome, Run};

/// What an audit found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditReport {
    /// Regular files on the disk that are under care.
    pub files: u64,
    /// Files that are what the index says, as far as was looked.
    pub unchanged: u64,
    /// Files that the index does not know.
    pub added: Trouble,
    /// Files whose metadata, and with `deep` whose bytes, are not what the index says.
    pub changed: Trouble,
    /// Files that the index says are present, and are not.
    pub missing: Trouble,
    /// Files whose bytes changed while their metadata did not: an alarm stands on each.
    pub damaged: Trouble,
    /// Files that changed each time they were read.
    pub unstable: Trouble,
    /// What was left out.
    pub skipped: Skipped,
    /// What could not be read.
    pub errors: Trouble,
    /// Bytes that were read and hashed.
    pub bytes_hashed: u64,
}

impl AuditReport {
    /// Whether a person should look.
    pub fn needs_attention(&self) -> bool {
        [&self.added, &self.changed, &self.missing, &self.damaged, &self.unstable, &self.errors]
            .iter()
            .any(|trouble| trouble.count() > 0)
    }
}

/// Audits a volume and ends the run. `summary` makes of the report what is recorded with the run.
pub fn audit(
    run: Run<Audit>,
    options: &WalkOptions,
    deep: bool,
    cancel: &Cancel,
    progress: &dyn Progress,
    summary: impl FnOnce(&AuditReport) -> String,
) -> Result<AuditReport, IndexError> {
    match gather(&run, options, deep, cancel, progress) {
        Ok(report) => {
            let outcome =
                if report.needs_attention() { Outcome::Partial("disk and index differ".into()) } else { Outcome::Success };
            run.finish(&outcome, Some(&summary(&report)))?;
            Ok(report)
        }
        Err(error) => {
            let outcome = match &error {
                IndexError::Cancelled(_) => Outcome::Aborted,
                other => Outcome::Failed(other.to_string()),
            };
            run.finish(&outcome, None)?;
            Err(error)
        }
    }
}

fn gather(
    run: &Run<Audit>,
    options: &WalkOptions,
    deep: bool,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<AuditReport, IndexError> {
    let volume = volume_of(run.volume())?;
    progress.phase("walking", run.store().count_present(volume.id())?, 0);
    let mut collectors: Vec<_> = (0..threads()).map(|_| Differences::new(deep)).collect();
    let walked = walk(run.store(), volume, options, cancel, &mut collectors)?;
    let mut report = AuditReport { skipped: walked.skipped, errors: walked.trouble, ..AuditReport::default() };
    let mut spools = Vec::new();
    for part in collectors {
        report.files += part.files;
        report.unchanged += part.unchanged;
        report.added.merge(part.added);
        report.changed.merge(part.changed);
        for id in part.gone {
            report.missing.add(run.store().file(id)?.path, "is gone");
        }
        spools.push(part.spool);
    }
    let (files, bytes) = spools.iter().fold((0, 0), |(files, bytes), spool| (files + spool.count, bytes + spool.bytes));
    progress.phase("hashing", files, bytes);
    let mounts = if options.cross_mounts { Mounts::Cross } else { Mounts::Stay };
    let filesystem = filesystem_of(volume.root()).map_err(|source| IndexError::Io { what: "the volume's root", source })?;
    hash::read_all(volume.root(), filesystem, spools, mounts, cancel, progress, &mut |candidate, read| {
        let Some((file, _)) = candidate.present else { return Ok(()) };
        let path = candidate.path().unwrap_or_default();
        match read {
            Read::Found(stat, _, content) => {
                report.bytes_hashed += content.size;
                let record = run.store().file(file)?;
                let (expected, unchanged) = (record.content, record.seen.is_unchanged(&stat));
                if content == expected {
                    report.unchanged += 1;
                    run.content_as_indexed(file)?;
                } else if unchanged {
                    let detail =
                        format!("its bytes hash to {} now, not to {}; size and times are as before", content.hash, expected.hash);
                    run.content_changed(file, &detail)?;
                    report.damaged.add(path, detail);
                } else {
                    report.changed.add(path, "holds other bytes than the index says");
                }
            }
            Read::Vanished => report.missing.add(path, "vanished during the audit"),
            Read::Unstable => report.unstable.add(path, "changed each time it was read"),
            Read::Unreadable(error) => report.errors.add(path, format!("cannot be read: {error}")),
        }
        Ok(())
    })?;
    Ok(report)
}

struct Differences {
    deep: bool,
    files: u64,
    unchanged: u64,
    added: Trouble,
    changed: Trouble,
    gone: Vec<FileId>,
    spool: Spool,
}

impl Differences {
    fn new(deep: bool) -> Self {
        Self {
            deep,
            files: 0,
            unchanged: 0,
            added: Trouble::default(),
            changed: Trouble::default(),
            gone: Vec::new(),
            spool: Spool::new(),
        }
    }
}

impl Collector for Differences {
    fn sight(&mut self, sighting: Sighting<'_>) -> Result<(), IndexError> {
        match sighting {
            Sighting::Gone(id) => self.gone.push(id),
            // It is on the disk; that it is left out now is for an index run to record.
            Sighting::Excluded { .. } => {}
            Sighting::File { directory, name, stat, row } => {
                self.files += 1;
                let path = || directory.join(name).unwrap_or_default();
                let Some(row) = row.filter(|row| row.status == FileStatus::Present) else {
                    self.added.add(path(), "is not in the index");
                    return Ok(());
                };
                if self.deep || row.seen.racy {
                    self.spool
                        .push(directory, name, stat.size, Some((row.id, row.content)))
                        .map_err(|source| IndexError::Io { what: "the list of files to read", source })?;
                } else if row.seen.is_unchanged(&stat) {
                    self.unchanged += 1;
                } else {
                    self.changed.add(path(), "looks different from what the index remembers");
                }
            }
        }
        Ok(())
    }
}
