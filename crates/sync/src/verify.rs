//! Checking again what a destination holds.

use crate::contact::{HeadsOf, SECOND_LOOK, contact, identify_again};
use crate::destination::{Context, Depth, Destination, HeldItem, VerifySink};
use crate::error::{DestinationError, SyncError};
use crate::inbox::Inbox;
use crate::pending::{NO_ANSWER, Pending};
use crate::push::outcome_of;
use crate::segment::{Header, Place as SegmentsOf, digest_of, read_header};
use lastcopy_fs::Cancelled;
use lastcopy_store::{
    ContentId, DestinationId, DestinationRecord, Head, Location, Method, Outcome, Probed, Proven, ProvenAt, Receipt, Run, RunId,
    Store, StoreError, Timestamp, Verify, VerifyOrder, Volume,
};
use std::collections::{HashMap, HashSet};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};

/// Items in one group, and receipts in one transaction.
const GROUP: usize = 1000;
/// How many lost contents are remembered for people; all are counted.
const EXAMPLES: usize = 100;

/// How much to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Every byte of everything.
    All,
    /// Everything, but only that it is there with its size.
    Quick,
    /// So many bytes, of the longest unchecked.
    Budget(u64),
}

/// What to check where.
#[derive(Clone)]
pub struct Verification {
    /// The index.
    pub store: Store,
    /// Only the contents of this volume's files.
    pub volume: Option<Volume>,
    /// What the index knows of the destination.
    pub record: DestinationRecord,
    /// The destination.
    pub destination: Arc<dyn Destination>,
    /// How much.
    pub extent: Extent,
    /// Cancellation, progress, and the runtime.
    pub context: Context,
}

/// What a verify found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The run.
    pub run: Option<RunId>,
    /// Contents that were looked at.
    pub checked: u64,
    /// Contents whose bytes were checked and are right.
    pub verified: u64,
    /// Contents that are not there, or are other bytes.
    pub lost: u64,
    /// Contents of which nothing could be said, also when they were looked at again. If the destination answers and has their bytes checked
    /// otherwise, they are not counted on until they are proven again.
    pub unverifiable: u64,
    /// Bytes that were read there.
    pub bytes_read: u64,
    /// Volumes of which a segment is not there as it was written, and which one: until their next push, no file of theirs may be deleted on
    /// this destination's word.
    pub unlisted: Vec<(String, String)>,
    /// The first lost and unverifiable ones.
    pub first: Vec<(HeldItem, String)>,
}

impl VerifyReport {
    fn name(&mut self, item: HeldItem, what: String) {
        if self.first.len() < EXAMPLES {
            self.first.push((item, what));
        }
    }

    /// Records a loss; nothing is lost if another place was proven to hold it.
    /// A content counts once, however many places it is lost at.
    fn lost(
        &mut self,
        run: &Run<Verify>,
        probed: &Probed,
        item: HeldItem,
        detail: String,
        told: &mut HashSet<ContentId>,
    ) -> Result<(), StoreError> {
        if run.lost(probed, item.content_id, &item.location, &detail)? && told.insert(item.content_id) {
            self.checked += 1;
            self.lost += 1;
            self.name(item, detail);
        }
        Ok(())
    }

    fn outcome(&self) -> Outcome {
        match (self.lost, self.unverifiable, self.unlisted.first()) {
            (0, 0, None) => Outcome::Success,
            (0, 0, Some((_, damage))) => Outcome::Partial(damage.clone()),
            (lost, unverifiable, _) => Outcome::Partial(format!("{lost} lost, {unverifiable} unverifiable")),
        }
    }
}

impl Verification {
    /// Verifies. `summary` makes of the report what is recorded with the run.
    pub fn run(self, summary: impl FnOnce(&VerifyReport) -> String) -> Result<VerifyReport, SyncError> {
        let run = self.store.begin_verify(self.record.id, self.volume.as_ref())?;
        let context = self.context.kept_by(&run).and_then(|context| Ok(context.counting_for(&self.store, &self.record)?));
        let checked = context.and_then(|context| Self { context, ..self }.check(&run));
        match checked {
            Ok(report) => {
                run.finish(&report.outcome(), Some(&summary(&report)))?;
                Ok(report)
            }
            Err(error) => match run.finish(&outcome_of(&error), None) {
                Ok(()) | Err(StoreError::RunEnded { .. }) => Err(error),
                Err(store) => Err(store.into()),
            },
        }
    }

    fn check(&self, run: &Run<Verify>) -> Result<VerifyReport, SyncError> {
        let volumes: Vec<_> = match &self.volume {
            Some(volume) => vec![HeadsOf::from(volume)],
            None => HeadsOf::all(&self.store)?,
        };
        let probed = contact(run, &self.record, self.destination.as_ref(), &volumes, &self.context)?;
        let (list, count, bytes) = self.list()?;
        let depth = if self.extent == Extent::Quick { Depth::Presence } else { Depth::Bytes };
        let mut report = VerifyReport { run: Some(run.id()), ..VerifyReport::default() };
        self.context.progress.phase("verifying", count, bytes);
        // Where nothing is ever read, nothing new would be learnt.
        let looks_again = depth == Depth::Bytes && !self.destination.capabilities().methods.is_empty();
        let mut open = Open { looks_again, ..Open::default() };
        let mut looked = self.look(run, &probed, depth, Groups::Listed(BufReader::new(list)), &mut report, &mut open);
        // What cannot be read now may be readable in a moment.
        let unread = std::mem::take(&mut open.unread);
        if looked.is_ok() && !unread.is_empty() {
            let bytes = unread.iter().map(|item| item.content.size).sum();
            self.context.progress.phase("looking again", unread.len() as u64, bytes);
            (open.looks_again, open.is_second_look) = (false, true);
            looked = self.look(run, &probed, depth, Groups::Again(unread), &mut report, &mut open);
        }
        // Every place was looked at; or the verify was cut short, and what it did not reach excuses nothing.
        let Open { elsewhere, mut lost, .. } = open;
        elsewhere.into_iter().try_for_each(|(item, detail)| report.lost(run, &probed, item, detail, &mut lost))?;
        looked?;
        // What became of the contents is known by now, whatever comes of this.
        if self.extent == Extent::All {
            volumes.iter().try_for_each(|volume| self.check_segments(run, &probed, volume, &mut report))?;
        }
        Ok(report)
    }

    /// Whether what names the files is there as it was written, from the last segment down to one that needs no earlier one. Only the first
    /// that is not is told: all are written anew.
    fn check_segments(
        &self,
        run: &Run<Verify>,
        probed: &Probed,
        volume: &HeadsOf,
        report: &mut VerifyReport,
    ) -> Result<(), SyncError> {
        let heads = self.store.sealed_heads(volume.id, self.record.id)?;
        let place = SegmentsOf { volume: volume.uuid, epoch: self.store.epoch()? };
        if !heads.is_empty() {
            self.context.progress.phase("reading segments", heads.len() as u64, 0);
        }
        for head in heads {
            match self.check_segment(&place, &head)? {
                Ok(header) if header.full => break,
                Ok(_) => self.context.progress.advance(1, 0),
                Err(wrong) => {
                    // Somebody else's, and nobody's, are none of these.
                    identify_again(run, &self.record, self.destination.as_ref(), &self.context)?;
                    let detail = format!("segment {}, which names files of `{}`, {wrong}", head.sequence, volume.name);
                    run.segment_lost(probed, volume.id, &detail)?;
                    report.unlisted.push((volume.name.clone(), detail));
                    break;
                }
            }
        }
        Ok(())
    }

    /// The header of a segment that is as it was written, or what is wrong with it: looked at twice.
    fn check_segment(&self, place: &SegmentsOf, head: &Head) -> Result<Result<Header, String>, SyncError> {
        let look = || match self.context.runtime.block_on(self.destination.segment(place, head.sequence)) {
            Ok(mut segment) => match lastcopy_fs::drop_from_cache(&segment).and_then(|()| digest_of(&mut segment)) {
                Ok(digest) if digest == head.segment_digest => Ok(read_header(&segment)),
                Ok(_) => Ok(Err("is damaged".to_owned())),
                Err(error) => Ok(Err(format!("cannot be read: {error}"))),
            },
            Err(error @ DestinationError::Cancelled(_)) => Err(error),
            Err(error) => Ok(Err(format!("cannot be read: {error}"))),
        };
        self.context.cancel.check()?;
        match look()? {
            Err(_) => {
                std::thread::sleep(SECOND_LOOK);
                Ok(look()?)
            }
            whole => Ok(whole),
        }
    }

    /// Looks at some items once, and records what is found.
    fn look(
        &self,
        run: &Run<Verify>,
        probed: &Probed,
        depth: Depth,
        groups: Groups,
        report: &mut VerifyReport,
        open: &mut Open,
    ) -> Result<(), SyncError> {
        let (give, take) = tokio::sync::mpsc::channel(4);
        let (events, findings) = sync_channel(4 * GROUP);
        let context = Context { cancel: self.context.cancel.child(), ..self.context.clone() };
        let stop = context.cancel.clone();
        let store = self.store.clone();
        let sink = Arc::new(Sink { tell: move |item, finding| drop(events.send((item, finding, store.now()))) });
        let pending = &Pending::new();
        let (proofs, seen, doubted) = Default::default();
        let inbox = Inbox::new(findings);
        let recorder =
            Recorder { verification: self, run, probed, inbox, report: &mut *report, pending, proofs, seen, doubted, open, depth };
        let (recorded, ended) = std::thread::scope(|scope| {
            let planner = scope.spawn(move || self.plan(groups, &give, pending));
            let recorder = scope.spawn(move || {
                let recorded = recorder.listen();
                if recorded.is_err() {
                    stop.cancel();
                }
                recorded
            });
            let verified = context.runtime.block_on(self.destination.verify(take, depth, sink, &context));
            let planned = planner.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let recorded = recorder.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (recorded, planned.and_then(|()| Ok(verified?)))
        });
        // An error of the index, or that another one answers, explains whatever else went wrong.
        recorded?;
        ended?;
        self.context.cancel.check()?;
        for item in pending.forgotten()? {
            report.checked += 1;
            report.unverifiable += 1;
            report.name(item, NO_ANSWER.into());
        }
        Ok(())
    }

    /// What to check, written down first: checking moves it in its order.
    fn list(&self) -> Result<(tempfile::SpooledTempFile, u64, u64), SyncError> {
        let mut list = tempfile::SpooledTempFile::new(4 << 20);
        let (mut count, mut bytes, mut failed) = (0, 0, None);
        let (order, budget) = match self.extent {
            Extent::Budget(budget) => (VerifyOrder::LongestUnchecked, budget),
            Extent::All | Extent::Quick => (VerifyOrder::Content, u64::MAX),
        };
        let volume = self.volume.as_ref().map(Volume::id);
        self.store.to_verify(self.record.id, volume, order, &mut |content, size| {
            if bytes < budget && failed.is_none() {
                failed = list.write_all(&content.get().to_le_bytes()).err();
                count += 1;
                bytes += size;
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), Err).map_err(SyncError::Temporary)?;
        list.seek(SeekFrom::Start(0)).map_err(SyncError::Temporary)?;
        Ok((list, count, bytes))
    }

    fn plan(
        &self,
        mut groups: Groups,
        give: &tokio::sync::mpsc::Sender<Vec<HeldItem>>,
        pending: &Pending<Place, HeldItem>,
    ) -> Result<(), SyncError> {
        loop {
            let items = groups.next(&self.store, self.record.id)?;
            let Some(items) = items else { return Ok(()) };
            pending.expect(items.iter().map(|item| (place(item), item.clone())));
            if give.blocking_send(items).is_err() {
                pending.not_taken();
                return Ok(());
            }
        }
    }
}

/// Where the items come from.
enum Groups {
    /// A list of contents, wherever they lie.
    Listed(BufReader<tempfile::SpooledTempFile>),
    /// What could not be read at the first look.
    Again(Vec<HeldItem>),
}

impl Groups {
    fn next(&mut self, store: &Store, destination: DestinationId) -> Result<Option<Vec<HeldItem>>, SyncError> {
        match self {
            Self::Again(items) if items.is_empty() => Ok(None),
            Self::Again(items) => Ok(Some(items.split_off(items.len().saturating_sub(GROUP)))),
            Self::Listed(list) => {
                let mut group = Vec::with_capacity(GROUP);
                let mut number = [0; 8];
                while group.len() < GROUP {
                    match list.read_exact(&mut number) {
                        Ok(()) => group.push(ContentId::spooled(i64::from_le_bytes(number))),
                        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
                        Err(error) => return Err(SyncError::Temporary(error)),
                    }
                }
                let items = || Ok(store.receipts_at(destination, &group)?.into_iter().map(HeldItem::from).collect());
                if group.is_empty() { Ok(None) } else { items().map(Some) }
            }
        }
    }
}

/// What one look leaves open.
#[derive(Default)]
struct Open {
    /// What is not at one of its places. Another one may still be found to hold it: a move that was cut short leaves two.
    elsewhere: Vec<(HeldItem, String)>,
    /// What was told to be lost.
    lost: HashSet<ContentId>,
    /// What could not be checked, and is looked at again.
    unread: Vec<HeldItem>,
    /// What cannot be checked at this look is looked at again.
    looks_again: bool,
    /// This is the second look: there is no third one.
    is_second_look: bool,
}

/// What tells one item from another.
type Place = (ContentId, Location);

fn place(item: &HeldItem) -> Place {
    (item.content_id, item.location.clone())
}

impl From<Receipt> for HeldItem {
    fn from(receipt: Receipt) -> Self {
        Self {
            content_id: receipt.content_id,
            content: receipt.content,
            location: receipt.location,
            fingerprint: receipt.fingerprint,
        }
    }
}

/// What a check found of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Its bytes were checked.
    Verified(Proven),
    /// It is there, with its size.
    Seen,
    /// It is not there, or other bytes are.
    Lost(String),
    /// Nothing can be said of it this time.
    Unverifiable(String),
}

/// Tells somebody what is found. If nobody listens any more, the recorder failed, and its error is what counts.
struct Sink<F: Fn(HeldItem, Finding)> {
    tell: F,
}

impl<F: Fn(HeldItem, Finding) + Send + Sync> VerifySink for Sink<F> {
    fn verified(&self, item: HeldItem, proof: Proven) {
        (self.tell)(item, Finding::Verified(proof));
    }

    fn seen(&self, item: HeldItem) {
        (self.tell)(item, Finding::Seen);
    }

    fn lost(&self, item: HeldItem, detail: String) {
        (self.tell)(item, Finding::Lost(detail));
    }

    fn unverifiable(&self, item: HeldItem, reason: String) {
        (self.tell)(item, Finding::Unverifiable(reason));
    }
}

struct Recorder<'a> {
    verification: &'a Verification,
    run: &'a Run<Verify>,
    probed: &'a Probed,
    inbox: Inbox<(HeldItem, Finding, Timestamp)>,
    report: &'a mut VerifyReport,
    pending: &'a Pending<Place, HeldItem>,
    proofs: Vec<ProvenAt>,
    seen: Vec<(ContentId, Location)>,
    /// What could not be read twice.
    doubted: Vec<(ContentId, Location)>,
    open: &'a mut Open,
    depth: Depth,
}

impl Recorder<'_> {
    fn listen(mut self) -> Result<(), SyncError> {
        loop {
            match self.inbox.next() {
                Ok((item, finding, at)) => self.take(item, finding, at)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(true),
            }
            if self.inbox.is_due() {
                self.flush(false)?;
            }
        }
    }

    fn take(&mut self, item: HeldItem, finding: Finding, at: Timestamp) -> Result<(), SyncError> {
        if !self.pending.answered(&place(&item)) {
            return Ok(());
        }
        if self.open.looks_again && matches!(finding, Finding::Unverifiable(_)) {
            self.open.unread.push(item);
            return Ok(());
        }
        self.report.checked += u64::from(!matches!(finding, Finding::Lost(_)));
        match finding {
            Finding::Verified(proven) => {
                self.report.verified += 1;
                // A checksum that stayed the same was compared; nothing was read.
                if self.depth == Depth::Bytes && proven.method() != Method::Fingerprint {
                    self.report.bytes_read += item.content.size;
                }
                self.proofs.push(ProvenAt { content: item.content_id, location: item.location, proven, at });
            }
            Finding::Seen => self.seen.push((item.content_id, item.location)),
            Finding::Lost(detail) => {
                let located = !item.location.0.is_empty();
                if located && self.run.may_be_elsewhere(self.probed, item.content_id, &item.location)? {
                    self.open.elsewhere.push((item, detail));
                } else {
                    // At once: whatever becomes of this verify, or of who is there, this one is not to be counted on.
                    self.report.lost(self.run, self.probed, item, detail, &mut self.open.lost)?;
                }
            }
            Finding::Unverifiable(reason) => {
                self.report.unverifiable += 1;
                if self.open.is_second_look {
                    self.doubted.push((item.content_id, item.location.clone()));
                }
                self.report.name(item, reason);
            }
        }
        Ok(())
    }

    /// Records what is there, on behalf of who is there now. Who gives no answer in the midst of it may do so later, and the findings
    /// wait for that.
    fn flush(&mut self, last: bool) -> Result<(), SyncError> {
        if self.proofs.is_empty() && self.seen.is_empty() && self.doubted.is_empty() {
            return Ok(());
        }
        let Verification { record, destination, context, .. } = self.verification;
        let Some(probed) = self.inbox.still_there(self.run, record, destination, context, last)? else { return Ok(()) };
        for proofs in self.proofs.chunks(GROUP) {
            let overtaken = self.run.record(&probed, proofs)?.len() as u64;
            self.report.verified -= overtaken;
            self.report.lost += overtaken;
        }
        for seen in self.seen.chunks(GROUP) {
            self.run.seen(seen, &probed)?;
        }
        // Who answers, and cannot give them, may have damaged bytes: they count again when they are read.
        for doubted in self.doubted.chunks(GROUP) {
            self.run.doubted(doubted, &probed)?;
        }
        self.proofs.clear();
        self.seen.clear();
        self.doubted.clear();
        Ok(())
    }
}

/// Looks at a few held items, and answers in their order: what confirms an offload.
///
/// A destination that ends in the midst of it has said what it said: what it does not hold is not forgotten because of what came after it.
/// Whoever acts on an answer asks again who is there.
pub fn check_held(
    destination: &dyn Destination,
    items: &[HeldItem],
    depth: Depth,
    context: &Context,
) -> Result<Vec<Finding>, Cancelled> {
    let mut places: HashMap<ContentId, Vec<usize>> = HashMap::new();
    for (place, item) in items.iter().enumerate() {
        places.entry(item.content_id).or_default().push(place);
    }
    // Room for every answer: nobody listens before the last one is there.
    let (events, findings) = sync_channel(items.len() + 1);
    let sink = Arc::new(Sink { tell: move |item, finding| drop(events.send((item, finding))) });
    let ended = context.runtime.block_on(async {
        let (give, take) = tokio::sync::mpsc::channel(1);
        let (given, verified) =
            tokio::join!(async move { give.send(items.to_vec()).await }, destination.verify(take, depth, sink, context));
        verified.map(|()| drop(given))
    });
    let silent = match ended {
        Ok(()) => "it gave no answer".into(),
        Err(DestinationError::Cancelled(cancelled)) => return Err(cancelled),
        Err(error) => error.to_string(),
    };
    let mut answers = vec![Finding::Unverifiable(silent); items.len()];
    for (item, finding) in findings {
        for place in places.get(&item.content_id).into_iter().flatten() {
            if items[*place] == item {
                answers[*place] = finding.clone();
            }
        }
    }
    Ok(answers)
}
