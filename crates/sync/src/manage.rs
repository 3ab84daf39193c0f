//! What a person does to a destination on purpose: init, adopt, reset, repair.

use crate::contact::{HeadsOf, contact, identify_again};
use crate::destination::{Arrival, Context, Destination, FetchSink, HeldItem, InitPermit, PlanItem, Probe, PushSink, kept_for};
use crate::error::{DestinationError, SyncError};
use crate::inbox::Pace;
use crate::push::outcome_of;
use crate::segment::{Place, rfc3339};
use crate::source::{Drift, Source, VolumeFile};
use lastcopy_fs::{Content, ContentHash, Id128, Mounts};
use lastcopy_store::{
    ContentId, DestinationRecord, EvidenceChange, FileStatus, IdentityError, Incarnation, Location, Missed, Outcome, Proven,
    ProvenAt, Receipt, Run, SnapshotFile, Store, StoreError, Volume,
};
use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// What `init` did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InitOutcome {
    /// It made the repository.
    Made(Incarnation),
    /// An earlier init had made it, and was cut short before it could say so; or this init was repeated.
    AlreadyOurs(Incarnation),
}

/// Why `init` refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InitError {
    /// Somebody else's repository is there.
    #[error("{address} holds the repository {found} already, which is not the one that this destination stands for")]
    Foreign {
        /// Where.
        address: String,
        /// Which.
        found: Incarnation,
    },
    /// This destination was initialised before, and is gone from where it should be.
    #[error("this destination was initialised before as {accepted}, and nothing is at {address} now")]
    Gone {
        /// Where.
        address: String,
        /// Who was accepted.
        accepted: Incarnation,
    },
    /// Something else is there.
    #[error("{address}: {reason}")]
    Occupied {
        /// Where.
        address: String,
        /// What.
        reason: String,
    },
    /// Anything that can also go wrong elsewhere.
    #[error(transparent)]
    Sync(#[from] SyncError),
}

impl From<StoreError> for InitError {
    fn from(error: StoreError) -> Self {
        Self::Sync(error.into())
    }
}

impl From<DestinationError> for InitError {
    fn from(error: DestinationError) -> Self {
        Self::Sync(error.into())
    }
}

/// Makes the repository of a destination. The only way to.
pub fn init(
    store: &Store,
    record: &DestinationRecord,
    destination: &dyn Destination,
    context: &Context,
) -> Result<InitOutcome, InitError> {
    let run = store.begin_evidence_change(Some(record.id), None).map_err(SyncError::from)?;
    let made = make(&run, record, destination, context);
    let outcome = match &made {
        Ok(_) => Outcome::Success,
        Err(InitError::Sync(error)) => outcome_of(error),
        Err(refused) => Outcome::Refused(refused.to_string()),
    };
    run.finish(&outcome, None)?;
    made
}

fn make(
    run: &Run<EvidenceChange>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    context: &Context,
) -> Result<InitOutcome, InitError> {
    let address = destination.capabilities().address;
    let ours = Incarnation::new(record.uuid.to_string());
    let outcome = match context.runtime.block_on(destination.probe())? {
        Probe::Found(found) if Some(&found) == record.incarnation.as_ref() || found == ours => InitOutcome::AlreadyOurs(found),
        Probe::Found(found) => return Err(InitError::Foreign { address, found }),
        Probe::CannotTell(reason) => return Err(InitError::Occupied { address, reason }),
        Probe::Nothing | Probe::NoPlace => {
            if let Some(accepted) = record.incarnation.clone() {
                return Err(InitError::Gone { address, accepted });
            }
            let permit = InitPermit { id: record.uuid, created: rfc3339(run.now()) };
            InitOutcome::Made(context.runtime.block_on(destination.init(&permit))?)
        }
    };
    let (InitOutcome::Made(incarnation) | InitOutcome::AlreadyOurs(incarnation)) = &outcome;
    run.initialised(record.id, incarnation)?;
    Ok(outcome)
}

/// Accepts who answers at a destination's address. Where somebody has been `met` there, only that one.
pub fn adopt(
    store: &Store,
    record: &DestinationRecord,
    destination: &dyn Destination,
    met: Option<&Incarnation>,
    reason: &str,
    context: &Context,
) -> Result<Incarnation, SyncError> {
    let answer = context.runtime.block_on(destination.probe())?;
    let Probe::Found(incarnation) = answer else {
        let reason = match answer {
            Probe::CannotTell(reason) => reason,
            _ => "there is no repository to adopt".into(),
        };
        return Err(DestinationError::Unreachable { address: destination.capabilities().address, reason }.into());
    };
    if let Some(met) = met.filter(|met| **met != incarnation) {
        return Err(IdentityError::Changed { accepted: met.clone(), answered: incarnation }.into());
    }
    let run = store.begin_evidence_change(Some(record.id), None)?;
    run.adopt(record.id, &incarnation, incarnation.as_str().parse().ok(), reason)?;
    run.finish(&Outcome::Success, None)?;
    Ok(incarnation)
}

/// Takes all evidence of a destination for unproven. If its repository is surely gone, the destination can be initialised anew.
pub fn reset(
    store: &Store,
    record: &DestinationRecord,
    destination: &dyn Destination,
    reason: &str,
    context: &Context,
) -> Result<bool, SyncError> {
    // One that cannot be asked can be reset all the same; but only one that is surely gone is forgotten, which one whose whole place
    // is missing is not: its disk may only be away.
    let gone = matches!(context.runtime.block_on(destination.probe()), Ok(Probe::Nothing));
    let run = store.begin_evidence_change(Some(record.id), None)?;
    run.reset(record.id, reason, gone)?;
    run.finish(&Outcome::Success, None)?;
    Ok(gone)
}

/// How often a repair looks again at what is in its way.
const ROUNDS: usize = 4;

/// Another destination, with what the index knows of it.
pub type Other = (DestinationRecord, Arc<dyn Destination>);

/// What to repair where.
pub struct Repair<'a> {
    /// The index.
    pub store: &'a Store,
    /// What the index knows of the destination.
    pub record: DestinationRecord,
    /// The destination.
    pub destination: Arc<dyn Destination>,
    /// Volumes that may still hold the bytes.
    pub volumes: Vec<Volume>,
    /// Other destinations that may still hold the bytes.
    pub others: Vec<Other>,
    /// Cancellation, progress, and the runtime.
    pub context: Context,
}

/// A lost content, and where its bytes still are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repairable {
    /// The content.
    pub item: HeldItem,
    /// A present file that has it, or another destination with a live receipt; nothing if it is beyond repair.
    pub from: Option<RepairSource>,
}

/// Where bytes still are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepairSource {
    /// A file of a volume.
    File(String, lastcopy_fs::RelPath),
    /// Another destination.
    Destination(String),
}

/// What a repair did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Contents that had been lost there.
    pub lost: u64,
    /// Contents that were stored again and proven.
    pub repaired: u64,
    /// Contents whose bytes are nowhere to be had, or could not be stored.
    pub beyond: Vec<(Content, String)>,
}

impl Repair<'_> {
    /// What could be repaired, and from where. Changes nothing.
    pub fn plan(&self) -> Result<Vec<Repairable>, SyncError> {
        let lost = self.store.lost_at(self.record.id)?;
        lost.into_iter().map(|receipt| self.repairable(receipt)).collect()
    }

    fn repairable(&self, receipt: Receipt) -> Result<Repairable, SyncError> {
        let from = match self.present_files(receipt.content.hash)?.into_iter().next() {
            Some((volume, file)) => Some(RepairSource::File(volume.name().to_owned(), file.path)),
            None => {
                let others = self.others_with(receipt.content_id)?;
                others.first().map(|((record, _), _)| RepairSource::Destination(record.name.clone()))
            }
        };
        Ok(Repairable { item: receipt.into(), from })
    }

    fn present_files(&self, hash: ContentHash) -> Result<Vec<(Volume, SnapshotFile)>, SyncError> {
        let files = self.store.files_with_content(hash)?.into_iter().filter(|file| file.status == FileStatus::Present);
        let known = files.filter_map(|file| {
            let volume = self.volumes.iter().find(|volume| volume.id() == file.volume)?;
            Some((volume.clone(), SnapshotFile { id: file.id, path: file.path, seen: file.seen }))
        });
        Ok(known.collect())
    }

    /// The other destinations with a live receipt for a content.
    fn others_with(&self, content: ContentId) -> Result<Vec<(&Other, Receipt)>, SyncError> {
        let receipts = self.store.receipts_of(content)?.into_iter();
        let live = receipts.filter(|receipt| receipt.lost_at.is_none() && receipt.destination != self.record.id);
        Ok(live
            .filter_map(|receipt| Some((self.others.iter().find(|(record, _)| record.id == receipt.destination)?, receipt)))
            .collect())
    }

    /// Stores again what was found lost or damaged, and proves it.
    pub fn run(self, summary: impl FnOnce(&RepairReport) -> String) -> Result<RepairReport, SyncError> {
        let run = self.store.begin_evidence_change(Some(self.record.id), None)?;
        let repaired = self.context.kept_by(&run).and_then(|context| Self { context, ..self }.repair(&run));
        match repaired {
            Ok(report) => {
                let outcome = match report.beyond.len() {
                    0 => Outcome::Success,
                    count => Outcome::Partial(format!("{count} not repaired")),
                };
                run.finish(&outcome, Some(&summary(&report)))?;
                Ok(report)
            }
            Err(error) => match run.finish(&outcome_of(&error), None) {
                Ok(()) | Err(StoreError::RunEnded { .. }) => Err(error),
                Err(store) => Err(store.into()),
            },
        }
    }

    fn repair(&self, run: &Run<EvidenceChange>) -> Result<RepairReport, SyncError> {
        // An older copy of the place, mounted where it was, may hold what this one lost.
        contact(run, &self.record, self.destination.as_ref(), &HeadsOf::all(self.store)?, &self.context)?;
        let lost = self.store.lost_at(self.record.id)?;
        self.context.progress.phase("repairing", lost.len() as u64, lost.iter().map(|receipt| receipt.content.size).sum());
        let mut report = RepairReport { lost: lost.len() as u64, ..RepairReport::default() };
        let mut waiting: Vec<_> = lost.into_iter().map(|receipt| (receipt, String::new())).collect();
        let (mut proven, mut overtaken, mut pace) = (Vec::<ProvenAt>::new(), Vec::new(), Pace::new());
        for round in 0..ROUNDS {
            let removed = self.make_way(&waiting)?;
            if round > 0 && removed == 0 {
                break;
            }
            for (receipt, _) in std::mem::take(&mut waiting) {
                self.context.cancel.check()?;
                // What was stored a moment ago counts, too.
                if proven.iter().any(|at| is_in_the_way(&at.location, &receipt.location)) {
                    overtaken.extend(self.record(run, &mut proven)?);
                }
                match self.store_again(&receipt)? {
                    Ok(at) => {
                        proven.push(at);
                        self.context.progress.advance(1, receipt.content.size);
                    }
                    Err(why) => waiting.push((receipt, why)),
                }
                if pace.is_due() {
                    let began = Instant::now();
                    overtaken.extend(self.record(run, &mut proven)?);
                    pace.asked(began);
                }
            }
            overtaken.extend(self.record(run, &mut proven)?);
        }
        report.beyond = waiting.into_iter().map(|(receipt, why)| (receipt.content, why)).collect();
        report.beyond.extend(
            overtaken.into_iter().map(|content| (content, "it was found lost again, or the destination rolled back".into())),
        );
        report.repaired = report.lost - report.beyond.len() as u64;
        Ok(report)
    }

    /// Records what was stored again and proven, on behalf of who is there now. Gives what was found lost again meanwhile.
    fn record(&self, run: &Run<EvidenceChange>, proven: &mut Vec<ProvenAt>) -> Result<Vec<Content>, SyncError> {
        if proven.is_empty() {
            return Ok(Vec::new());
        }
        let probed = identify_again(run, &self.record, self.destination.as_ref(), &self.context)?;
        let overtaken = run.repaired(&probed, proven)?.into_iter().map(|place| proven[place].proven.content()).collect();
        proven.clear();
        Ok(overtaken)
    }

    /// Only for what can be stored again: the rest may still be read by somebody, some day.
    fn make_way(&self, waiting: &[(Receipt, String)]) -> Result<u64, SyncError> {
        let mut items = Vec::new();
        for (receipt, _) in waiting {
            let repairable = self.repairable(receipt.clone())?;
            items.extend(repairable.from.map(|_| repairable.item));
        }
        if items.is_empty() {
            return Ok(0);
        }
        let volumes = kept_for(self.store, &self.record)?;
        Ok(self.context.runtime.block_on(self.destination.make_way(items, &volumes, &self.context))?)
    }

    /// From the first source that gives the right bytes: a file may have changed since, and another destination may have lost them, too.
    fn store_again(&self, receipt: &Receipt) -> Result<Result<ProvenAt, String>, SyncError> {
        let mut why = Vec::new();
        for (volume, file) in self.present_files(receipt.content.hash)? {
            let (uuid, path) = (volume.uuid(), format!("{}/{}", volume.name(), file.path));
            let source = Source::File(VolumeFile { volume, file, mounts: Mounts::Cross });
            match self.store_from(receipt, uuid, source)? {
                Ok(at) => return Ok(Ok(at)),
                Err(failed) => why.push(format!("`{path}`: {failed}")),
            }
        }
        for ((record, other), held) in self.others_with(receipt.content_id)? {
            let stored = match self.fetch(other.as_ref(), held)? {
                Ok(file) => self.store_from(receipt, self.record.uuid, Source::Temporary(Arc::new(file)))?,
                Err(failed) => Err(failed),
            };
            match stored {
                Ok(at) => return Ok(Ok(at)),
                Err(failed) => why.push(format!("from `{}`: {failed}", record.name)),
            }
        }
        let nowhere = "no present file and no other destination has its bytes".to_owned();
        Ok(Err(if why.is_empty() { nowhere } else { why.join("; ") }))
    }

    fn store_from(&self, receipt: &Receipt, volume: Id128, source: Source) -> Result<Result<ProvenAt, String>, SyncError> {
        // What is there instead may be all that the destination has of something else. Then the kind chooses a place.
        let taken = self.store.place_is_taken(self.record.id, receipt.content_id, &receipt.location)?;
        let location = if taken { Location::default() } else { receipt.location.clone() };
        let item = PlanItem { content_id: receipt.content_id, content: receipt.content, location, files: 1, source };
        let place = Place { volume, epoch: self.store.epoch()? };
        let sink = Arc::new(One::default());
        self.context.runtime.block_on(async {
            let (give, take) = tokio::sync::mpsc::channel(1);
            let (given, pushed) = tokio::join!(
                async move { give.send(vec![item]).await },
                self.destination.push(&place, take, sink.clone(), &self.context)
            );
            pushed.map(|()| drop(given))
        })?;
        let answer = sink.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let answer = answer.unwrap_or_else(|| Err("the destination gave no answer".into()));
        let at = self.store.now();
        Ok(answer.map(|(location, proven)| ProvenAt { content: receipt.content_id, location, proven, at }))
    }

    fn fetch(&self, other: &dyn Destination, held: Receipt) -> Result<Result<File, String>, SyncError> {
        let arriving = Arc::new(Arriving::new(held.content).map_err(SyncError::Temporary)?);
        match fetch_one(other, held.into(), arriving.clone(), &self.context) {
            Ok(()) => Ok(arriving.taken()),
            Err(DestinationError::Cancelled(cancelled)) => Err(DestinationError::Cancelled(cancelled).into()),
            Err(away) => Ok(Err(away.to_string())),
        }
    }
}

/// Whether one of two places is the other one, or lies below it.
fn is_in_the_way(one: &Location, other: &Location) -> bool {
    let is_below = |path: &[u8], above: &[u8]| path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    !one.0.is_empty() && !other.0.is_empty() && (is_below(&one.0, &other.0) || is_below(&other.0, &one.0))
}

/// Fetches one content.
pub fn fetch_one(
    destination: &dyn Destination,
    item: HeldItem,
    sink: Arc<dyn FetchSink>,
    context: &Context,
) -> Result<(), DestinationError> {
    context.runtime.block_on(async {
        let (give, take) = tokio::sync::mpsc::channel(1);
        let (given, fetched) = tokio::join!(async move { give.send(vec![item]).await }, destination.fetch(take, sink, context));
        fetched.map(|()| drop(given))
    })
}

/// Takes the answer to a push of one item.
#[derive(Default)]
struct One(Mutex<Option<Result<(Location, Proven), String>>>);

impl One {
    fn set(&self, answer: Result<(Location, Proven), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
    }
}

impl PushSink for One {
    fn stored(&self, _item: &PlanItem) {}

    fn proven(&self, _item: PlanItem, location: Location, proof: Proven) {
        self.set(Ok((location, proof)));
    }

    fn drift(&self, _item: PlanItem, drift: Drift) {
        self.set(Err(format!("the file {drift}")));
    }

    fn excluded(&self, _item: PlanItem, reason: String) {
        self.set(Err(reason));
    }

    fn failed(&self, _item: PlanItem, reason: String) {
        self.set(Err(reason));
    }

    /// Where something that counts lies, nothing is stored.
    fn moving(&self, _from: &Location, _to: &Location) -> Result<Vec<HeldItem>, DestinationError> {
        Ok(Vec::new())
    }

    fn moved(&self, _item: HeldItem, _from: &Location, _found: Result<Proven, Missed>) {}
}

/// Takes the bytes of one content into a temporary file, and hashes them on the way.
struct Arriving {
    expected: Content,
    file: File,
    outcome: Arc<Mutex<Result<(), String>>>,
}

struct ArrivingBytes {
    expected: Content,
    file: File,
    hasher: blake3::Hasher,
    outcome: Arc<Mutex<Result<(), String>>>,
}

impl Arriving {
    fn new(expected: Content) -> io::Result<Self> {
        let outcome = Arc::new(Mutex::new(Err("it sent nothing".into())));
        Ok(Self { expected, file: tempfile::tempfile()?, outcome })
    }

    /// The file, if the right bytes arrived whole.
    fn taken(&self) -> Result<File, String> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        self.file.try_clone().map_err(|error| error.to_string())
    }
}

impl FetchSink for Arriving {
    fn begin(&self, _item: &HeldItem) -> io::Result<Box<dyn Arrival>> {
        Ok(Box::new(ArrivingBytes {
            expected: self.expected,
            file: self.file.try_clone()?,
            hasher: blake3::Hasher::new(),
            outcome: self.outcome.clone(),
        }))
    }

    fn failed(&self, _item: &HeldItem, reason: String) {
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Err(reason);
    }
}

impl Write for ArrivingBytes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Arrival for ArrivingBytes {
    fn finish(self: Box<Self>) {
        let found = Content { hash: self.hasher.finalize().into(), size: self.hasher.count() };
        let outcome = if found == self.expected { Ok(()) } else { Err(format!("it sent bytes that hash to {}", found.hash)) };
        *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = outcome;
    }
}
