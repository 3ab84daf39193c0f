//! The push, once for every kind:
//!
//! open volume → begin run and snapshot → probe → plan → transfer → verify → probe again → record receipts → announce the head → write
//! segment and head → probe a last time → advance and finish.

use crate::contact::{HeadsOf, contact, still_there_after_all};
use crate::destination::{Context, Destination, HeldItem, PlanItem, PushSink};
use crate::error::{DestinationError, SyncError};
use crate::inbox::Inbox;
use crate::pending::{NO_ANSWER, Pending};
use crate::segment::{self, Author, Place};
use crate::source::{Drift, Source, VolumeFile};
use lastcopy_fs::{Mounts, RelPath};
use lastcopy_store::{
    Advance, ContentId, DestinationRecord, FileId, HeadId, Layout, Location, Missed, Moving, Outcome, Probed, Proven, ProvenAt,
    Run, RunId, Snapshot, SnapshotFile, Store, StoreError, Sync, Timestamp, Totals, Volume,
};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};

/// Items in one group of the plan, and receipts in one transaction.
const GROUP: usize = 1000;

/// How many paths of one kind are remembered for people; all are counted.
const EXAMPLES: usize = 100;

/// What to push where.
#[derive(Clone)]
pub struct Push {
    /// The index.
    pub store: Store,
    /// The volume.
    pub volume: Volume,
    /// What the index knows of the destination.
    pub record: DestinationRecord,
    /// The destination.
    pub destination: Arc<dyn Destination>,
    /// Whether files on other mounts belong to the volume.
    pub mounts: Mounts,
    /// Cancellation, progress, and the runtime.
    pub context: Context,
}

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushReport {
    /// The run.
    pub run: Option<RunId>,
    /// Files of the snapshot.
    pub files: u64,
    /// Files whose content lacked proof there.
    pub planned: u64,
    /// Contents that were sent.
    pub stored: u64,
    /// Files that were proven before, and needed nothing.
    pub already: u64,
    /// Files that were proven by this push.
    pub verified: u64,
    /// Files that were not what the snapshot says.
    pub drift: Named,
    /// Files that cannot be stored there or be read here.
    pub excluded: Named,
    /// Files that could not be stored or proven this time.
    pub failed: Named,
    /// Bytes that were sent.
    pub bytes: u64,
    /// What became of the vector.
    pub advance: Option<Advance>,
}

/// Paths, and what is to say of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub first: Vec<(RelPath, String)>,
}

impl Named {
    fn add(&mut self, source: &Source, files: u64, what: impl fmt::Display) {
        self.count += files;
        if let Source::File(file) = source
            && self.first.len() < EXAMPLES
        {
            self.first.push((file.file.path.clone(), what.to_string()));
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished => f.write_str("is gone since it was indexed"),
            Self::Changed => f.write_str("was changed since it was indexed"),
            Self::ChangedSilently(found) => {
                write!(f, "holds other bytes ({}) although its size and times are as indexed", found.hash)
            }
        }
    }
}

impl PushReport {
    fn outcome(&self) -> Outcome {
        match (self.drift.count, self.excluded.count, self.failed.count) {
            (0, 0, 0) => Outcome::Success,
            (drift, excluded, failed) => {
                Outcome::Partial(format!("{drift} changed since they were indexed, {excluded} excluded, {failed} failed"))
            }
        }
    }
}

impl Push {
    /// Pushes. `summary` makes of the report what is recorded with the run.
    pub fn run(self, summary: impl FnOnce(&PushReport) -> String) -> Result<PushReport, SyncError> {
        self.destination.accept_volume(&self.volume)?;
        let (run, snapshot) = self.store.begin_sync(&self.volume, &self.record)?;
        let transferred = self.context.kept_by(&run).and_then(|context| Self { context, ..self }.transfer(&run, &snapshot));
        match transferred {
            Ok((mut report, probed, sealed)) => {
                let claim = snapshot.claim(probed)?;
                let outcome = report.outcome();
                let advance = run.finish_sync(claim, sealed, &outcome, |advance| {
                    summary(&PushReport { advance: Some(advance.clone()), ..report.clone() })
                })?;
                report.advance = Some(advance);
                Ok(report)
            }
            Err(error) => Err(end(run, error)),
        }
    }

    fn transfer(&self, run: &Run<Sync>, snapshot: &Snapshot) -> Result<(PushReport, Probed, Option<HeadId>), SyncError> {
        let volume = HeadsOf::from(&self.volume);
        let destination = self.destination.as_ref();
        let probed = contact(run, &self.record, destination, std::slice::from_ref(&volume), &self.context)?;
        let totals = snapshot.totals(&probed, &self.layout())?;
        let mut report = PushReport {
            run: Some(run.id()),
            files: totals.files,
            planned: totals.lacking_files,
            already: totals.files - totals.lacking_files,
            ..PushReport::default()
        };
        let sealed = self.deliver(run, snapshot, &probed, totals, &mut report);
        // One that failed may have gone away, or another one may be in its place: then that is the news.
        let failed = matches!(&sealed, Err(error @ SyncError::Destination(_)) if !error.is_cancelled());
        if failed || totals.lacking_items > 0 && sealed.is_ok() || matches!(&sealed, Ok(Some(_))) {
            still_there_after_all(run, &self.record, destination, &probed, &self.context)?;
        }
        Ok((report, probed, sealed?))
    }

    /// Sends what lacks proof, then seals.
    fn deliver(
        &self,
        run: &Run<Sync>,
        snapshot: &Snapshot,
        probed: &Probed,
        totals: Totals,
        report: &mut PushReport,
    ) -> Result<Option<HeadId>, SyncError> {
        if totals.lacking_items > 0 {
            self.send(run, snapshot, probed, totals, report)?;
        }
        self.context.cancel.check()?;
        self.seal(run, snapshot, probed)
    }

    /// Sends what lacks proof. A content whose file drifted, or cannot be sent, is tried again from its other files.
    fn send(
        &self,
        run: &Run<Sync>,
        snapshot: &Snapshot,
        probed: &Probed,
        totals: Totals,
        report: &mut PushReport,
    ) -> Result<(), SyncError> {
        self.context.progress.phase("pushing", totals.lacking_items, totals.lacking_bytes);
        let (mut again, layout) = (HashMap::new(), self.layout());
        self.round(run, probed, report, &mut again, |give| {
            let mut after = None;
            loop {
                let page = snapshot.lacking(probed, &layout, after.as_ref(), GROUP)?;
                let Some(last) = page.last() else { return Ok(()) };
                after = Some(last.clone());
                let items = page.into_iter().map(|lacking| PlanItem {
                    content_id: lacking.content_id,
                    content: lacking.content,
                    location: lacking.location,
                    files: lacking.files,
                    source: self.source(lacking.file),
                });
                if !give(items.collect()) {
                    return Ok(());
                }
            }
        })?;
        let mut tried = 1;
        while !again.is_empty() {
            let items = self.others(snapshot, std::mem::take(&mut again), tried)?;
            if items.is_empty() {
                break;
            }
            tried += 1;
            self.round(run, probed, report, &mut again, |give| {
                items.chunks(GROUP).all(|group| give(group.to_vec()));
                Ok(())
            })?;
        }
        Ok(())
    }

    fn place(&self) -> Result<Place, StoreError> {
        Ok(Place { volume: self.volume.uuid(), epoch: self.store.epoch()? })
    }

    fn layout(&self) -> Layout {
        self.destination.layout(self.volume.name())
    }

    fn source(&self, file: SnapshotFile) -> Source {
        Source::File(VolumeFile { volume: self.volume.clone(), file, mounts: self.mounts })
    }

    /// The next file of each content whose file was not to be had, where there is one.
    fn others(&self, snapshot: &Snapshot, again: HashMap<ContentId, PlanItem>, tried: usize) -> Result<Vec<PlanItem>, SyncError> {
        let mut items = Vec::new();
        for (content, item) in again {
            if let Some(file) = snapshot.files_with(content)?.into_iter().nth(tried) {
                // The file that was tried was counted by itself.
                items.push(PlanItem { source: self.source(file), files: item.files - 1, ..item });
            }
        }
        Ok(items)
    }

    /// One pass over a plan: one thread plans, the destination works, one thread records.
    fn round(
        &self,
        run: &Run<Sync>,
        probed: &Probed,
        report: &mut PushReport,
        again: &mut HashMap<ContentId, PlanItem>,
        plan: impl FnOnce(&mut dyn FnMut(Vec<PlanItem>) -> bool) -> Result<(), StoreError> + Send,
    ) -> Result<(), SyncError> {
        let place = self.place()?;
        let (give, take) = tokio::sync::mpsc::channel(4);
        let (events, recorded) = sync_channel(4 * GROUP);
        // Raised when recording fails: then there is no use in sending more.
        let context = Context { cancel: self.context.cancel.child(), ..self.context.clone() };
        let stop = context.cancel.clone();
        let sink = Arc::new(Sink { events, store: self.store.clone() });
        let pending = &Pending::new();
        let counted = &mut *report;
        std::thread::scope(|scope| {
            let planner = scope.spawn(move || {
                plan(&mut |items: Vec<PlanItem>| {
                    pending.expect(items.iter().map(|item| (key(item), item.clone())));
                    let taken = give.blocking_send(items).is_ok();
                    if !taken {
                        pending.not_taken();
                    }
                    taken
                })
            });
            let recorder = scope.spawn(move || {
                let inbox = Inbox::new(recorded);
                let recorder = Recorder {
                    push: self,
                    run,
                    probed,
                    inbox,
                    report: counted,
                    again,
                    pending,
                    proofs: Vec::new(),
                    sent: Vec::new(),
                };
                let recorded = recorder.work();
                if recorded.is_err() {
                    stop.cancel();
                }
                recorded
            });
            let pushed = context.runtime.block_on(self.destination.push(&place, take, sink, &context));
            let planned = planner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let recorded = recorder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // An error of the index, or that another one answers, explains whatever else went wrong.
            recorded?;
            planned?;
            Ok::<_, SyncError>(pushed?)
        })?;
        for item in pending.forgotten()? {
            report.failed.add(&item.source, item.files, NO_ANSWER);
        }
        Ok(())
    }

    /// Writes what rebuilds the paths, then the head; both announced here before.
    fn seal(&self, run: &Run<Sync>, snapshot: &Snapshot, probed: &Probed) -> Result<Option<HeadId>, SyncError> {
        let known = self.store.known_heads(self.volume.id(), self.record.id)?;
        // Where nothing is claimed, what earlier segments say may not be there any more: it is all said again.
        let is_listed = self.store.own_component(self.volume.id(), self.record.id)?.is_some();
        let follows = known.sealed.filter(|_| is_listed);
        let place = self.place()?;
        let author = Author {
            place,
            node: self.store.node(),
            node_name: self.store.node_name().to_owned(),
            volume_name: self.volume.name().to_owned(),
            volume_path: self.volume.path().display().to_string(),
            // In every full segment: an announced one before it may never have arrived.
            follows_epoch: if follows.is_none() { self.store.followed_epoch(self.volume.id())? } else { None },
            now: self.store.now(),
        };
        let sequence = known.highest + 1;
        let Some(written) = segment::write(snapshot, probed, &self.layout(), &author, follows, sequence)? else {
            return Ok(None);
        };
        let head = run.announce(probed, &written.head, &written.withheld)?;
        let sealing = self.destination.seal(&place, sequence, written.segment, &written.head_bytes, &self.context);
        self.context.runtime.block_on(sealing)?;
        Ok(Some(head))
    }
}

/// Ends a run because of an error, with the status that the error deserves.
fn end(run: Run<Sync>, error: SyncError) -> SyncError {
    let outcome = outcome_of(&error);
    // A run that a new epoch closed cannot be closed again; its error is the news.
    match run.finish(&outcome, None) {
        Ok(()) | Err(StoreError::RunEnded { .. }) => error,
        Err(store) => store.into(),
    }
}

/// How a run ends that an error ended.
pub(crate) fn outcome_of(error: &SyncError) -> Outcome {
    match error {
        error if error.is_cancelled() => Outcome::Aborted,
        SyncError::Identity(_) | SyncError::RolledBack(_) | SyncError::Volume(_) => Outcome::Refused(error.to_string()),
        error => Outcome::Failed(error.to_string()),
    }
}

/// What tells one item from another: a content may be on its way to several places.
type Key = (ContentId, Location);

fn key(item: &PlanItem) -> Key {
    (item.content_id, item.location.clone())
}

enum Event {
    Stored(u64),
    Proven(PlanItem, Location, Proven),
    Drift(PlanItem, Drift),
    Excluded(PlanItem, String),
    Failed(PlanItem, String),
    Moving(Location, Location, SyncSender<Vec<Moving>>),
    Moved(HeldItem, Location, Result<Proven, Missed>),
}

struct Sink {
    events: SyncSender<(Event, Timestamp)>,
    store: Store,
}

impl Sink {
    fn tell(&self, event: Event) {
        // Nobody listens any more: the recorder failed, and its error is what counts.
        drop(self.events.send((event, self.store.now())));
    }
}

impl PushSink for Sink {
    fn stored(&self, item: &PlanItem) {
        self.tell(Event::Stored(item.content.size));
    }

    fn proven(&self, item: PlanItem, location: Location, proof: Proven) {
        self.tell(Event::Proven(item, location, proof));
    }

    fn drift(&self, item: PlanItem, drift: Drift) {
        self.tell(Event::Drift(item, drift));
    }

    fn excluded(&self, item: PlanItem, reason: String) {
        self.tell(Event::Excluded(item, reason));
    }

    fn failed(&self, item: PlanItem, reason: String) {
        self.tell(Event::Failed(item, reason));
    }

    fn moving(&self, from: &Location, to: &Location) -> Result<Vec<HeldItem>, DestinationError> {
        let (answer, answered) = sync_channel(1);
        self.tell(Event::Moving(from.clone(), to.clone(), answer));
        // Without an answer the index failed, which ends the push.
        let moving = answered.recv().map_err(|_| lastcopy_fs::Cancelled)?;
        let held = |moved: Moving| HeldItem {
            content_id: moved.content_id,
            content: moved.content,
            location: to.clone(),
            fingerprint: moved.fingerprint,
        };
        Ok(moving.into_iter().map(held).collect())
    }

    fn moved(&self, item: HeldItem, from: &Location, found: Result<Proven, Missed>) {
        self.tell(Event::Moved(item, from.clone(), found));
    }
}

/// Records what the destination tells, and counts it.
struct Recorder<'a> {
    push: &'a Push,
    run: &'a Run<Sync>,
    probed: &'a Probed,
    inbox: Inbox<(Event, Timestamp)>,
    report: &'a mut PushReport,
    again: &'a mut HashMap<ContentId, PlanItem>,
    pending: &'a Pending<Key, PlanItem>,
    proofs: Vec<ProvenAt>,
    /// For each proof, where its bytes came from, and how many files have them. Nothing for what was only moved.
    sent: Vec<Option<(Source, u64)>>,
}

impl Recorder<'_> {
    fn work(mut self) -> Result<(), SyncError> {
        loop {
            match self.inbox.next() {
                Ok((event, at)) => self.take(event, at)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(true).map(drop),
            }
            if self.inbox.is_due() {
                self.flush(false)?;
            }
        }
    }

    fn take(&mut self, event: Event, at: Timestamp) -> Result<(), SyncError> {
        match event {
            Event::Stored(bytes) => {
                self.report.stored += 1;
                self.report.bytes += bytes;
            }
            Event::Proven(item, ..) | Event::Drift(item, _) | Event::Excluded(item, _) | Event::Failed(item, _)
                if !self.pending.answered(&key(&item)) => {}
            Event::Proven(item, location, proven) => {
                self.report.verified += item.files;
                self.proofs.push(ProvenAt { content: item.content_id, location, proven, at });
                self.sent.push(Some((item.source, item.files)));
            }
            Event::Drift(item, drift) => {
                self.report.drift.add(&item.source, 1, &drift);
                if let Source::File(file) = &item.source
                    && matches!(drift, Drift::ChangedSilently(_))
                {
                    self.run.content_changed(file.file.id, &drift.to_string())?;
                }
                self.try_again(item);
            }
            Event::Excluded(item, reason) => {
                self.report.excluded.add(&item.source, 1, &reason);
                if let Some(file) = file_of(&item) {
                    self.run.exclude(file, &reason)?;
                }
                self.try_again(item);
            }
            Event::Failed(item, reason) => self.report.failed.add(&item.source, item.files, reason),
            Event::Moving(from, to, answer) => {
                // What waits to be recorded may count on that place; if it cannot be, nothing is moved.
                let counts = self.proofs.iter().any(|at| at.location == from);
                if !counts || self.flush(false)? {
                    // Nobody waits for it any more: then nothing is moved, either.
                    drop(answer.send(self.run.moving(self.probed, &from, &to)?));
                }
            }
            Event::Moved(item, from, found) => {
                // That it left its old place is known at once; that it is at the new one, like any proof.
                let left = found.as_ref().map(drop);
                self.run.moved(self.probed, item.content_id, &from, &item.location, left, at)?;
                if let Ok(proven) = found {
                    self.proofs.push(ProvenAt { content: item.content_id, location: item.location, proven, at });
                    self.sent.push(None);
                }
            }
        }
        Ok(())
    }

    /// A file was not to be had; its content may be, from another one.
    fn try_again(&mut self, item: PlanItem) {
        if item.files > 1 {
            self.again.insert(item.content_id, item);
        }
    }

    /// Records what was proven, on behalf of who is there now. Says whether it did: who gives no answer in the midst of it may do so later,
    /// and the proofs wait for that.
    fn flush(&mut self, last: bool) -> Result<bool, SyncError> {
        if self.proofs.is_empty() {
            return Ok(true);
        }
        let Push { record, destination, context, .. } = self.push;
        let Some(probed) = self.inbox.still_there(self.run, record, destination, context, last)? else { return Ok(false) };
        for (proofs, sent) in self.proofs.chunks(GROUP).zip(self.sent.chunks(GROUP)) {
            for overtaken in self.run.record(&probed, proofs)? {
                if let Some((source, files)) = &sent[overtaken] {
                    self.report.verified -= files;
                    self.report.failed.add(
                        source,
                        *files,
                        "was found lost there after it had been proven, or the destination rolled back",
                    );
                }
            }
        }
        self.proofs.clear();
        self.sent.clear();
        Ok(true)
    }
}

fn file_of(item: &PlanItem) -> Option<FileId> {
    match &item.source {
        Source::File(file) => Some(file.file.id),
        Source::Temporary(_) => None,
    }
}
