//! Planning an offload and carrying it out.

use crate::decide::{Cause, Confirmation, Decision, Known, Refusal, decide};
use crate::protocol::Protocol;
use crate::quarantine::tidy;
use crate::settle::OffloadError;
use lastcopy_fs::{Cancel, Content, Progress, RelPath};
use lastcopy_store::{
    Confirm as Depth, DestinationId, Evidence, FileFacts, FileId, Intent, IntentState, Offload, Policy, Run, Selection, Store,
    Timestamp, Volume,
};
use std::collections::HashSet;

/// Files whose evidence is loaded at a time.
const PAGE: usize = 1000;
/// Files and bytes that share syncs, transactions and a confirmation.
const BATCH_FILES: usize = 256;
const BATCH_BYTES: u64 = 1 << 30;

/// What a destination answered about one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds the bytes, as deep as was asked.
    Held,
    /// It does not hold the bytes; the receipt was recorded as lost.
    NotHeld(String),
    /// It could not be asked.
    Unreachable(String),
}

/// Asks destinations, at the moment of deletion. Implemented by whoever knows them.
pub trait Confirm {
    /// Asks one destination about some contents: who it is now, and whether each is still there. Answers in their order. What it
    /// does not hold any more is recorded as lost through `run`; without a run, nothing is recorded.
    fn confirm(
        &self,
        run: Option<&Run<Offload>>,
        destination: DestinationId,
        contents: &[(FileId, Content)],
        depth: Depth,
    ) -> Result<Vec<Verdict>, OffloadError>;
}

/// What happened to a file, or would.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileOutcome {
    /// Deleted here.
    Offloaded,
    /// Aside for the policy's grace.
    Quarantined,
    /// It would be offloaded or quarantined.
    WouldOffload,
    /// The gate stops it.
    Blocked,
    /// It is not what the index says.
    Drift,
    /// Something failed; it is where it was, or in the kept files.
    Error,
}

impl FileOutcome {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Offloaded => "offloaded",
            Self::Quarantined => "quarantined",
            Self::WouldOffload => "would-offload",
            Self::Blocked => "blocked",
            Self::Drift => "drift",
            Self::Error => "error",
        }
    }
}

/// What there is to say of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// The file.
    pub path: RelPath,
    /// Its content.
    pub content: Content,
    /// What happened, or would.
    pub outcome: FileOutcome,
    /// Why it was blocked.
    pub refusals: Vec<Refusal>,
    /// What drifted or failed.
    pub detail: Option<String>,
    /// Bytes that this freed, or would: none while the file has other names.
    pub freed: u64,
}

/// Counts over all files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Files that were looked at.
    pub selected: u64,
    /// Files that were deleted, or, in a dry run, would be.
    pub offloaded: u64,
    /// Files that are aside for the policy's grace.
    pub quarantined: u64,
    /// Files that the gate stopped.
    pub blocked: u64,
    /// Files that are not what the index says.
    pub drift: u64,
    /// Files with which something failed.
    pub errors: u64,
    /// Bytes that were freed, or would be: those of last names.
    pub bytes_freed: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            selected: self.selected + other.selected,
            offloaded: self.offloaded + other.offloaded,
            quarantined: self.quarantined + other.quarantined,
            blocked: self.blocked + other.blocked,
            drift: self.drift + other.drift,
            errors: self.errors + other.errors,
            bytes_freed: self.bytes_freed + other.bytes_freed,
        }
    }
}

impl Counts {
    /// Counts a file by what was told of it. Whoever is told of each knows how far an offload came that ended early.
    pub fn take(&mut self, report: &FileReport) {
        self.count(report.outcome);
        self.bytes_freed += report.freed;
    }

    pub(crate) fn count(&mut self, outcome: FileOutcome) {
        *match outcome {
            FileOutcome::Offloaded | FileOutcome::WouldOffload => &mut self.offloaded,
            FileOutcome::Quarantined => &mut self.quarantined,
            FileOutcome::Blocked => &mut self.blocked,
            FileOutcome::Drift => &mut self.drift,
            FileOutcome::Error => &mut self.errors,
        } += 1;
    }
}

/// Which files to offload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// Which are looked at.
    pub selection: Selection,
    /// Stop once so many bytes are freed.
    pub free: Option<u64>,
}

/// Files that pass the gate on evidence, in the order in which they will go. Each is decided on again before it goes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    pub(crate) passing: Vec<FileId>,
    pub(crate) free: Option<u64>,
    /// Files that were looked at.
    pub selected: u64,
    /// Files that the gate stops.
    pub blocked: u64,
    /// Files that pass, and their bytes.
    pub files: u64,
    /// Bytes of the files that pass.
    pub bytes: u64,
}

/// Applies the gate to a selection. Changes nothing; tells `each` of what it stops.
pub fn plan(
    store: &Store,
    volume: &Volume,
    policy: &Policy,
    options: &PlanOptions,
    each: &mut dyn FnMut(FileReport),
) -> Result<Plan, OffloadError> {
    let selected = store.select_present(volume.id(), &options.selection)?;
    let counted = policy.counted();
    let mut plan = Plan { free: options.free, ..Plan::default() };
    for page in selected.chunks(PAGE) {
        if options.free.is_some_and(|free| plan.bytes >= free) {
            break;
        }
        for (facts, evidence) in store.evidence(volume.id(), page, &counted)? {
            if options.free.is_some_and(|free| plan.bytes >= free) {
                break;
            }
            plan.selected += 1;
            // Files that this node needs are known by their inodes, and stopped when they are opened.
            let known = Known { now: store.now(), needed: false, confirmations: &[] };
            let decision = decide(&facts, &evidence, policy, &known);
            if decision.passes() {
                plan.files += 1;
                plan.bytes += last_name_bytes(volume, &facts, options.free.is_some());
                plan.passing.push(facts.file.id);
            } else {
                plan.blocked += 1;
                each(blocked(&facts, decision));
            }
        }
    }
    Ok(plan)
}

/// What deleting the file would free. Only where it decides how many files are taken, its other names are looked for.
fn last_name_bytes(volume: &Volume, facts: &FileFacts, exactly: bool) -> u64 {
    let other_names = exactly && matches!(volume.root().stat(&facts.file.path), Ok(Some(stat)) if stat.links > 1);
    if other_names { 0 } else { facts.file.content.size }
}

pub(crate) fn blocked(facts: &FileFacts, decision: Decision) -> FileReport {
    FileReport {
        path: facts.file.path.clone(),
        content: facts.file.content,
        outcome: FileOutcome::Blocked,
        refusals: decision.refusals,
        detail: None,
        freed: 0,
    }
}

/// Everything that carrying out a plan needs.
pub struct Offloading<'a> {
    /// The volume.
    pub volume: &'a Volume,
    /// The policy.
    pub policy: &'a Policy,
    /// How deep destinations are asked: the policy's, or deeper on a person's word.
    pub depth: Depth,
    /// Who asks them.
    pub confirm: &'a dyn Confirm,
    /// Device and inode of every file that this node needs to reach its destinations.
    pub needed: &'a HashSet<(u64, u64)>,
    /// Looked at between batches.
    pub cancel: &'a Cancel,
    /// Told of what is done.
    pub progress: &'a dyn Progress,
}

impl Offloading<'_> {
    /// Says what carrying out a plan would do: everything up to the first step that changes anything, and the confirmation.
    pub fn rehearse(&self, store: &Store, plan: &Plan, each: &mut dyn FnMut(FileReport)) -> Result<Counts, OffloadError> {
        self.progress.phase("looking", plan.files, plan.bytes);
        self.batches(store, plan, each, |protocol, batch, each| protocol.rehearse(store, batch, each))
    }

    /// Says what going on with what earlier offloads hold would do.
    pub fn rehearse_held(&self, store: &Store, each: &mut dyn FnMut(FileReport)) -> Result<Counts, OffloadError> {
        self.held(store, |protocol, batch| protocol.rehearse_held(store, batch, each))
    }

    /// Carries out a plan: moves aside, confirms, deletes.
    pub fn apply(&self, run: &Run<Offload>, plan: &Plan, each: &mut dyn FnMut(FileReport)) -> Result<Counts, OffloadError> {
        self.progress.phase("offloading", plan.files, plan.bytes);
        let counts = self.batches(run.store(), plan, each, |protocol, batch, each| protocol.offload(run, batch, each));
        self.tidied(counts)
    }

    /// The quarantine's directories are shared by all batches, and go when the last one is done, however it ended.
    fn tidied(&self, counts: Result<Counts, OffloadError>) -> Result<Counts, OffloadError> {
        let tidied = tidy(self.volume).map_err(OffloadError::at(&RelPath::root()));
        counts.and_then(|counts| tidied.map(|()| counts))
    }

    fn batches(
        &self,
        store: &Store,
        plan: &Plan,
        each: &mut dyn FnMut(FileReport),
        mut work: impl FnMut(&mut Protocol<'_>, Vec<(FileFacts, Vec<Evidence>)>, &mut dyn FnMut(FileReport)) -> Result<(), OffloadError>,
    ) -> Result<Counts, OffloadError> {
        let mut protocol = Protocol::new(self);
        protocol.counts = Counts { selected: plan.selected, blocked: plan.blocked, ..Counts::default() };
        let counted = self.policy.counted();
        let mut rest = plan.passing.as_slice();
        while !rest.is_empty() && !self.is_enough(plan, &protocol.counts) {
            self.cancel.check()?;
            let (ids, later) = rest.split_at(rest.len().min(BATCH_FILES));
            rest = later;
            let mut batch = Vec::new();
            let mut bytes = 0;
            for (facts, evidence) in store.evidence(self.volume.id(), ids, &counted)? {
                bytes += facts.file.content.size;
                batch.push((facts, evidence));
                if bytes >= BATCH_BYTES {
                    work(&mut protocol, std::mem::take(&mut batch), each)?;
                    self.cancel.check()?;
                    bytes = 0;
                }
            }
            if !batch.is_empty() {
                work(&mut protocol, batch, each)?;
            }
        }
        Ok(protocol.counts)
    }

    fn is_enough(&self, plan: &Plan, counts: &Counts) -> bool {
        plan.free.is_some_and(|free| counts.bytes_freed >= free)
    }

    /// Goes on with what earlier offloads hold and whose grace is over.
    pub fn finish_held(&self, run: &Run<Offload>, each: &mut dyn FnMut(FileReport)) -> Result<Counts, OffloadError> {
        self.tidied(self.held(run.store(), |protocol, batch| protocol.finish_held(run, batch.to_vec(), each)))
    }

    fn held(
        &self,
        store: &Store,
        mut work: impl FnMut(&mut Protocol<'_>, &[Intent]) -> Result<(), OffloadError>,
    ) -> Result<Counts, OffloadError> {
        let mut protocol = Protocol::new(self);
        let held = released_by_grace(store, self.volume)?;
        protocol.counts.selected = held.len() as u64;
        for batch in held.chunks(BATCH_FILES) {
            self.cancel.check()?;
            work(&mut protocol, batch)?;
        }
        Ok(protocol.counts)
    }
}

/// What earlier offloads of this life of the index hold, and whose grace is over.
pub fn released_by_grace(store: &Store, volume: &Volume) -> Result<Vec<Intent>, OffloadError> {
    let now = store.now();
    let mut held = store.open_intents(volume.id())?;
    held.retain(|intent| {
        intent.state == IntentState::Held && intent.current_epoch && intent.held_until.is_some_and(|until: Timestamp| until <= now)
    });
    Ok(held)
}

/// The refusals of a file that was stopped by something that no destination can clear.
pub(crate) fn own_refusal(cause: Cause, heard: impl Into<String>) -> Vec<Refusal> {
    vec![Refusal { destination: None, cause, heard: Some(heard.into()) }]
}

/// What was heard from each destination about each file, in the order of the counted destinations.
pub(crate) type Heard = Vec<Vec<Confirmation>>;
