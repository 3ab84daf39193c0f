//! A destination that lies or breaks, around one that does not.
//!
//! What it can say is bounded by the types: a proof is made only by reading stored bytes, so it can hold proofs back, or hand them out
//! for the wrong object, but not invent one. Lies of the storage itself are told beneath a destination, by the
//! [`Subject`](super::Subject) of its kind.

use crate::destination::{
    Arrival, Capabilities, CompactSink, Compaction, Context, Depth, Destination, FetchSink, HeldItem, InitPermit, PlanItem, Probe,
    PushSink, Retained, Scratch, VerifySink, WorkList,
};
use crate::error::DestinationError;
use crate::segment::{Place, PlacedHead};
use crate::source::Drift;
use async_trait::async_trait;
use lastcopy_fs::{Content, Id128};
use lastcopy_store::{ContentId, DestinationKind, Incarnation, Location, Missed, Proven, Volume};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// In what a destination lies, or how it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    /// In nothing.
    None,
    /// Nothing is there any more.
    Gone,
    /// Another repository answers.
    Replaced,
    /// Another repository answers, from the second question on.
    ReplacedMidway,
    /// Something hides what is there.
    CannotTell,
    /// Its heads are those of an earlier push.
    OlderHead,
    /// The same, but only when asked for the first time: it lists late.
    OlderHeadOnce,
    /// It knows no head.
    NoHead,
    /// It holds a head that another life of the same index wrote.
    HeadOfAnotherLife,
    /// It answers for one object with the proof of another.
    ProofsSwapped,
    /// It gives no answer about every third object.
    Silent,
    /// It says of each object that it failed, and that it is proven.
    SaysTwice,
    /// It says of one object that it can never store it.
    Excludes,
    /// It stores and proves everything, says nothing of it, and reports that it cannot be reached.
    TimesOutAfterStoring,
    /// It never comes to an end by itself.
    Hangs,
    /// It is full after the first object.
    Full,
    /// It seals, and reports that it cannot be reached.
    TimesOutAfterSealing,
    /// It says that it sealed, and did not.
    SealsNothing,
    /// It says that everything is there, with its size.
    SeesEverything,
    /// It cannot read what it holds: the disk gives an error.
    ReadsNothing,
    /// The same, but only when it is asked for the first time.
    ReadsNothingOnce,
    /// It ends in the midst of a look, after it told what it does not hold.
    EndsMidway,
    /// It lists what it once held.
    StaleListing,
    /// What it sends back ends early.
    FetchTruncates,
    /// What it sends back has a changed bit.
    FetchFlips,
    /// What it sends back goes on after its end.
    FetchAppends,
    /// It sends back another object.
    FetchSwaps,
    /// The call with this number fails, counted from one.
    FailsCall(u64),
    /// The call with this number fails, and every later one.
    FailsFrom(u64),
}

impl Lie {
    /// Every lie but the truth; failing calls by one example.
    pub const ALL: [Self; 27] = [
        Self::Gone,
        Self::Replaced,
        Self::ReplacedMidway,
        Self::CannotTell,
        Self::OlderHead,
        Self::OlderHeadOnce,
        Self::NoHead,
        Self::HeadOfAnotherLife,
        Self::ProofsSwapped,
        Self::Silent,
        Self::SaysTwice,
        Self::Excludes,
        Self::TimesOutAfterStoring,
        Self::Hangs,
        Self::Full,
        Self::TimesOutAfterSealing,
        Self::SealsNothing,
        Self::SeesEverything,
        Self::ReadsNothing,
        Self::ReadsNothingOnce,
        Self::EndsMidway,
        Self::StaleListing,
        Self::FetchTruncates,
        Self::FetchFlips,
        Self::FetchAppends,
        Self::FetchSwaps,
        Self::FailsCall(2),
    ];
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "honest",
            Self::Gone => "nothing is there any more",
            Self::Replaced => "another repository answers",
            Self::ReplacedMidway => "another repository answers in the middle",
            Self::CannotTell => "something hides what is there",
            Self::OlderHead => "an older head",
            Self::OlderHeadOnce => "an older head, once",
            Self::NoHead => "no head",
            Self::HeadOfAnotherLife => "a head of another life of the index",
            Self::ProofsSwapped => "proofs of other objects",
            Self::Silent => "no answer about some objects",
            Self::SaysTwice => "two answers about each object",
            Self::Excludes => "an object that could never be stored",
            Self::TimesOutAfterStoring => "unreachable after everything was stored",
            Self::Hangs => "no end",
            Self::Full => "full after one object",
            Self::TimesOutAfterSealing => "unreachable after the head was written",
            Self::SealsNothing => "no head was written",
            Self::SeesEverything => "everything seems to be there",
            Self::ReadsNothing => "nothing can be read",
            Self::ReadsNothingOnce => "nothing can be read, once",
            Self::EndsMidway => "it ends in the midst of a look",
            Self::StaleListing => "a stale listing",
            Self::FetchTruncates => "bytes are missing",
            Self::FetchFlips => "bytes are changed",
            Self::FetchAppends => "bytes are added",
            Self::FetchSwaps => "bytes of another object",
            Self::FailsCall(number) => return write!(f, "call {number} fails"),
            Self::FailsFrom(number) => return write!(f, "calls fail from the {number}. on"),
        })
    }
}

/// Done once, in the next push.
type Once = Mutex<Option<Box<dyn FnOnce() + Send>>>;

/// A destination that lies in one thing, and is honest in all else.
pub struct Liar {
    honest: Arc<dyn Destination>,
    lie: Mutex<Lie>,
    /// How often it lied since the lie was set.
    told: AtomicU64,
    calls: AtomicU64,
    probes: AtomicU64,
    /// The first heads that it ever told of each volume.
    first_heads: Mutex<BTreeMap<Id128, Vec<PlacedHead>>>,
    /// Everything that it ever listed.
    listed: Mutex<Vec<(Content, Location)>>,
    midway: Once,
    afterwards: Once,
    sealing: Once,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn once(act: &Once) {
    let act = lock(act).take();
    if let Some(act) = act {
        act();
    }
}

impl Liar {
    /// Around an honest destination; honest itself until told otherwise.
    pub fn new(honest: Arc<dyn Destination>) -> Self {
        Self {
            honest,
            lie: Mutex::new(Lie::None),
            told: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            probes: AtomicU64::new(0),
            first_heads: Mutex::default(),
            listed: Mutex::default(),
            midway: Once::default(),
            afterwards: Once::default(),
            sealing: Once::default(),
        }
    }

    /// Begins to lie in this, and counts anew how often.
    pub fn lie(&self, lie: Lie) {
        *lock(&self.lie) = lie;
        for counter in [&self.told, &self.calls, &self.probes] {
            counter.store(0, Ordering::SeqCst);
        }
    }

    /// How often it lied since it began to. A trial in which nobody lied shows nothing.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// Does this once the next push sends: when it hangs, because it does; else before it stores anything.
    pub fn midway(&self, act: impl FnOnce() + Send + 'static) {
        *lock(&self.midway) = Some(Box::new(act));
    }

    /// Does this once the next push has sent everything.
    pub fn afterwards(&self, act: impl FnOnce() + Send + 'static) {
        *lock(&self.afterwards) = Some(Box::new(act));
    }

    /// Does this once the next push seals, before that.
    pub fn sealing(&self, act: impl FnOnce() + Send + 'static) {
        *lock(&self.sealing) = Some(Box::new(act));
    }

    fn tells(&self, lie: Lie) -> bool {
        let tells = *lock(&self.lie) == lie;
        if tells {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        tells
    }

    /// What it says when it is asked who it is, if that is a lie.
    fn probed(&self) -> Result<Option<Probe>, DestinationError> {
        self.call()?;
        let earlier = self.probes.fetch_add(1, Ordering::SeqCst);
        Ok(if self.tells(Lie::Gone) {
            Some(Probe::Nothing)
        } else if self.tells(Lie::Replaced) || earlier > 0 && self.tells(Lie::ReplacedMidway) {
            Some(Probe::Found(stranger()))
        } else if self.tells(Lie::CannotTell) {
            Some(Probe::CannotTell("something is mounted over it".into()))
        } else {
            None
        })
    }

    fn unreachable(&self) -> DestinationError {
        DestinationError::Unreachable { address: self.honest.capabilities().address, reason: "the connection timed out".into() }
    }

    /// Counts a call, and fails if it is this one's turn.
    fn call(&self) -> Result<(), DestinationError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let lie = *lock(&self.lie);
        let fails = match lie {
            Lie::FailsCall(only) => only == number,
            Lie::FailsFrom(first) => first <= number,
            _ => false,
        };
        if fails && self.tells(lie) { Err(self.unreachable()) } else { Ok(()) }
    }

    fn sink(&self, sink: Arc<dyn PushSink>) -> Arc<LyingSink> {
        Arc::new(LyingSink {
            known: Mutex::default(),
            honest: sink,
            lie: *lock(&self.lie),
            answers: AtomicU64::new(0),
            waiting: Mutex::default(),
        })
    }
}

/// Another repository than any that was ever made.
fn stranger() -> Incarnation {
    Incarnation::new("00000000000000000000000000000000")
}

#[async_trait]
impl Destination for Liar {
    fn kind(&self) -> DestinationKind {
        self.honest.kind()
    }

    fn layout(&self, volume: &str) -> lastcopy_store::Layout {
        self.honest.layout(volume)
    }

    fn capabilities(&self) -> Capabilities {
        self.honest.capabilities()
    }

    fn accept_volume(&self, volume: &Volume) -> Result<(), DestinationError> {
        self.honest.accept_volume(volume)
    }

    async fn probe(&self) -> Result<Probe, DestinationError> {
        match self.probed()? {
            Some(lie) => Ok(lie),
            None => self.honest.probe().await,
        }
    }

    async fn probe_again(&self) -> Result<Probe, DestinationError> {
        match self.probed()? {
            Some(lie) => Ok(lie),
            None => self.honest.probe_again().await,
        }
    }

    async fn init(&self, permit: &InitPermit) -> Result<Incarnation, DestinationError> {
        self.call()?;
        self.honest.init(permit).await
    }

    async fn push(
        &self,
        place: &Place,
        mut plan: WorkList<PlanItem>,
        sink: Arc<dyn PushSink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        self.call()?;
        once(&self.midway);
        if self.tells(Lie::Hangs) {
            while !context.cancel.is_cancelled() {
                tokio::task::yield_now().await;
            }
            return Err(lastcopy_fs::Cancelled.into());
        }
        let lying = self.sink(sink);
        if self.tells(Lie::Full) {
            let (give, first) = tokio::sync::mpsc::channel(1);
            if let Some(item) = plan.recv().await.and_then(|group| group.into_iter().next()) {
                // The channel has room for it, and its end is here.
                drop(give.try_send(vec![item]));
            }
            drop(give);
            self.honest.push(place, first, lying, context).await?;
            return Err(DestinationError::Full { address: self.honest.capabilities().address });
        }
        let pushed = self.honest.push(place, plan, lying.clone(), context).await;
        once(&self.afterwards);
        if lying.end() > 0 {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        pushed?;
        if self.tells(Lie::TimesOutAfterStoring) { Err(self.unreachable()) } else { Ok(()) }
    }

    async fn verify(
        &self,
        mut held: WorkList<HeldItem>,
        depth: Depth,
        sink: Arc<dyn VerifySink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        self.call()?;
        if depth == Depth::Presence && self.tells(Lie::SeesEverything) {
            while let Some(group) = held.recv().await {
                group.into_iter().for_each(|item| sink.seen(item));
            }
            return Ok(());
        }
        let lie = match *lock(&self.lie) {
            Lie::ReadsNothing | Lie::ReadsNothingOnce if depth == Depth::Presence => Lie::None,
            Lie::ReadsNothingOnce if self.told() > 0 => Lie::None,
            lie => lie,
        };
        let lying = Arc::new(LyingVerifySink { honest: sink, lie, answers: AtomicU64::new(0), waiting: Mutex::default() });
        let verified = self.honest.verify(held, depth, lying.clone(), context).await;
        if lying.end() > 0 {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        if self.tells(Lie::EndsMidway) { Err(self.unreachable()) } else { verified }
    }

    async fn fetch(&self, wanted: WorkList<HeldItem>, sink: Arc<dyn FetchSink>, context: &Context) -> Result<(), DestinationError> {
        self.call()?;
        let lie = *lock(&self.lie);
        if matches!(lie, Lie::FetchTruncates | Lie::FetchFlips | Lie::FetchAppends | Lie::FetchSwaps) {
            self.told.fetch_add(1, Ordering::SeqCst);
        }
        self.honest.fetch(wanted, Arc::new(LyingFetchSink { honest: sink, lie }), context).await
    }

    async fn compact(
        &self,
        retained: WorkList<Retained>,
        epoch: Id128,
        sink: Option<Arc<dyn CompactSink>>,
        context: &Context,
    ) -> Result<Compaction, DestinationError> {
        self.call()?;
        self.honest.compact(retained, epoch, sink, context).await
    }

    async fn make_way(&self, lost: Vec<HeldItem>, volumes: &[Id128], context: &Context) -> Result<u64, DestinationError> {
        self.call()?;
        self.honest.make_way(lost, volumes, context).await
    }

    async fn heads(&self, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError> {
        self.call()?;
        let mut heads = self.honest.heads(volume).await?;
        if !heads.is_empty() {
            lock(&self.first_heads).entry(volume).or_insert_with(|| heads.clone());
        }
        let first = lock(&self.first_heads).get(&volume).cloned().unwrap_or_default();
        if self.tells(Lie::NoHead) {
            return Ok(Vec::new());
        }
        let late = *lock(&self.lie) == Lie::OlderHeadOnce && self.told() == 0 && self.tells(Lie::OlderHeadOnce);
        if late || self.tells(Lie::OlderHead) {
            return Ok(first);
        }
        if self.tells(Lie::HeadOfAnotherLife)
            && let Some(Ok(head)) = heads.first()
        {
            let mut other = head.clone();
            other.place.epoch = Id128(*b"another-lifetime");
            other.document.epoch = other.place.epoch.to_string();
            other.document.run += 1000;
            other.digest = *blake3::hash(b"another head").as_bytes();
            heads.push(Ok(other));
        }
        Ok(heads)
    }

    async fn places(&self) -> Result<Vec<PlacedHead>, DestinationError> {
        self.call()?;
        self.honest.places().await
    }

    async fn seal(
        &self,
        place: &Place,
        sequence: i64,
        segment: File,
        head: &[u8],
        context: &Context,
    ) -> Result<(), DestinationError> {
        once(&self.sealing);
        self.call()?;
        if self.tells(Lie::SealsNothing) {
            return Ok(());
        }
        self.honest.seal(place, sequence, segment, head, context).await?;
        if self.tells(Lie::TimesOutAfterSealing) { Err(self.unreachable()) } else { Ok(()) }
    }

    async fn segment(&self, place: &Place, sequence: i64) -> Result<File, DestinationError> {
        self.call()?;
        self.honest.segment(place, sequence).await
    }

    async fn segments(&self, place: &Place) -> Result<Vec<i64>, DestinationError> {
        self.call()?;
        self.honest.segments(place).await
    }

    async fn list(&self, each: &mut (dyn FnMut(Content, Location) + Send)) -> Result<(), DestinationError> {
        self.call()?;
        let mut found = Vec::new();
        self.honest.list(&mut |content, location| found.push((content, location))).await?;
        if self.tells(Lie::StaleListing) {
            found.clone_from(&lock(&self.listed));
        } else {
            lock(&self.listed).clone_from(&found);
        }
        found.into_iter().for_each(|(content, location)| each(content, location));
        Ok(())
    }

    async fn scratch(&self) -> Result<Scratch, DestinationError> {
        self.honest.scratch().await
    }
}

/// Whether this answer is one of those that a silent destination owes.
fn owed(answers: &AtomicU64) -> bool {
    answers.fetch_add(1, Ordering::SeqCst).is_multiple_of(3)
}

struct LyingSink {
    honest: Arc<dyn PushSink>,
    lie: Lie,
    answers: AtomicU64,
    /// A proof that waits for another one, to be exchanged with it.
    waiting: Mutex<Option<(PlanItem, Location, Proven)>>,
    /// Contents that were answered for: another item of the same one is another file.
    known: Mutex<HashSet<ContentId>>,
}

impl LyingSink {
    /// After the last answer: gives what waited in vain, and says how many answers there were, if they were lies.
    fn end(&self) -> u64 {
        if let Some((item, location, proof)) = lock(&self.waiting).take() {
            self.honest.proven(item, location, proof);
        }
        self.answers.load(Ordering::SeqCst)
    }
}

impl PushSink for LyingSink {
    fn stored(&self, item: &PlanItem) {
        self.honest.stored(item);
    }

    fn proven(&self, item: PlanItem, location: Location, proof: Proven) {
        match self.lie {
            Lie::Silent if owed(&self.answers) => {}
            Lie::TimesOutAfterStoring => {}
            Lie::SaysTwice => {
                self.answers.fetch_add(1, Ordering::SeqCst);
                self.honest.failed(item.clone(), "it is broken".into());
                self.honest.proven(item, location, proof);
            }
            Lie::Excludes
                if (item.files > 1 || !lock(&self.known).insert(item.content_id))
                    && self.answers.fetch_add(1, Ordering::SeqCst) == 0 =>
            {
                self.honest.excluded(item, "no name for it".into());
            }
            Lie::ProofsSwapped => {
                let other = lock(&self.waiting).take();
                match other {
                    Some((other, at, of_other)) => {
                        self.answers.fetch_add(1, Ordering::SeqCst);
                        self.honest.proven(other, at, proof);
                        self.honest.proven(item, location, of_other);
                    }
                    None => *lock(&self.waiting) = Some((item, location, proof)),
                }
            }
            _ => self.honest.proven(item, location, proof),
        }
    }

    fn drift(&self, item: PlanItem, drift: Drift) {
        self.honest.drift(item, drift);
    }

    fn excluded(&self, item: PlanItem, reason: String) {
        self.honest.excluded(item, reason);
    }

    fn failed(&self, item: PlanItem, reason: String) {
        self.honest.failed(item, reason);
    }

    fn moving(&self, from: &Location, to: &Location) -> Result<Vec<HeldItem>, DestinationError> {
        self.honest.moving(from, to)
    }

    fn moved(&self, item: HeldItem, from: &Location, found: Result<Proven, Missed>) {
        self.honest.moved(item, from, found);
    }
}

struct LyingVerifySink {
    honest: Arc<dyn VerifySink>,
    lie: Lie,
    answers: AtomicU64,
    waiting: Mutex<Option<(HeldItem, Proven)>>,
}

impl LyingVerifySink {
    fn end(&self) -> u64 {
        if let Some((item, proof)) = lock(&self.waiting).take() {
            self.honest.verified(item, proof);
        }
        self.answers.load(Ordering::SeqCst)
    }
}

impl VerifySink for LyingVerifySink {
    fn verified(&self, item: HeldItem, proof: Proven) {
        match self.lie {
            Lie::Silent if owed(&self.answers) => {}
            Lie::EndsMidway => {}
            Lie::ReadsNothing | Lie::ReadsNothingOnce => {
                self.answers.fetch_add(1, Ordering::SeqCst);
                self.honest.unverifiable(item, "the disk gives an error".into());
            }
            Lie::ProofsSwapped => {
                let other = lock(&self.waiting).take();
                match other {
                    Some((other, of_other)) => {
                        self.answers.fetch_add(1, Ordering::SeqCst);
                        self.honest.verified(other, proof);
                        self.honest.verified(item, of_other);
                    }
                    None => *lock(&self.waiting) = Some((item, proof)),
                }
            }
            _ => self.honest.verified(item, proof),
        }
    }

    fn seen(&self, item: HeldItem) {
        if self.lie != Lie::EndsMidway {
            self.honest.seen(item);
        }
    }

    fn lost(&self, item: HeldItem, detail: String) {
        self.honest.lost(item, detail);
    }

    fn unverifiable(&self, item: HeldItem, reason: String) {
        self.honest.unverifiable(item, reason);
    }
}

struct LyingFetchSink {
    honest: Arc<dyn FetchSink>,
    lie: Lie,
}

impl FetchSink for LyingFetchSink {
    fn begin(&self, item: &HeldItem) -> io::Result<Box<dyn Arrival>> {
        Ok(Box::new(Falsified { honest: self.honest.begin(item)?, lie: self.lie, bytes: Vec::new() }))
    }

    fn failed(&self, item: &HeldItem, reason: String) {
        self.honest.failed(item, reason);
    }
}

/// Bytes that are passed on when they are whole, and false.
struct Falsified {
    honest: Box<dyn Arrival>,
    lie: Lie,
    bytes: Vec<u8>,
}

impl Write for Falsified {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Arrival for Falsified {
    fn finish(mut self: Box<Self>) {
        match self.lie {
            Lie::FetchTruncates => self.bytes.truncate(self.bytes.len().saturating_sub(1)),
            Lie::FetchFlips => self.bytes.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            Lie::FetchAppends => self.bytes.push(0),
            Lie::FetchSwaps => self.bytes = b"the bytes of another object".to_vec(),
            _ => {}
        }
        // Without `finish`, what was written is thrown away.
        if self.honest.write_all(&self.bytes).is_ok() {
            self.honest.finish();
        }
    }
}
