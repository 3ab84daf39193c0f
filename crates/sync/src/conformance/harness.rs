//! Driving a destination without an index: contents from temporary files, answers collected in memory.

use crate::destination::{Arrival, Context, Depth, Destination, FetchSink, HeldItem, PlanItem, PushSink, VerifySink};
use crate::error::DestinationError;
use crate::segment::Place;
use crate::source::{Drift, Source};
use lastcopy_fs::{Content, Id128, hash_bytes};
use lastcopy_store::{ContentId, Location, Missed, Proven};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A volume that no node has.
pub(super) const VOLUME: Id128 = Id128(*b"conformance-test");
pub(super) const EPOCH: Id128 = Id128(*b"conformance-life");

/// Bytes that are to be stored.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) id: ContentId,
    pub(super) content: Content,
    pub(super) bytes: Arc<Vec<u8>>,
}

impl Sample {
    /// `size` bytes that no other sample has.
    pub(super) fn new(number: i64, size: usize) -> Self {
        let mut bytes = vec![0; size];
        let mut reader = blake3::Hasher::new().update(&number.to_le_bytes()).finalize_xof();
        reader.fill(&mut bytes);
        Self { id: ContentId::spooled(number + 1), content: hash_bytes(&bytes), bytes: Arc::new(bytes) }
    }

    /// To be pushed, from a file that holds `bytes`, which may be others than they should be.
    pub(super) fn item_from(&self, bytes: &[u8]) -> io::Result<PlanItem> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        let source = Source::Temporary(Arc::new(file));
        Ok(PlanItem { content_id: self.id, content: self.content, location: Location::default(), files: 1, source })
    }

    pub(super) fn held(&self, location: &Location) -> HeldItem {
        HeldItem { content_id: self.id, content: self.content, location: location.clone(), fingerprint: None }
    }
}

/// What a push told of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pushed {
    Proven(Location, Proven),
    Drift(Drift),
    Excluded(String),
    Failed(String),
}

/// What a check told of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Verified(Proven),
    Seen,
    Lost(String),
    Unverifiable(String),
}

/// What tells one item from another: a content may lie at several places.
type Key = (ContentId, Location);

/// Answers by item; each may come once.
struct Answers<T>(Mutex<BTreeMap<Key, Vec<T>>>);

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T> Answers<T> {
    fn add(&self, id: ContentId, at: &Location, answer: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry((id, at.clone())).or_default().push(answer);
    }

    fn take(&self) -> BTreeMap<Key, Vec<T>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Every answer, where each item has exactly one; otherwise what is wrong.
fn one_each<T>(wanted: &[Key], mut answers: BTreeMap<Key, Vec<T>>) -> Result<Vec<T>, String> {
    let mut single = Vec::with_capacity(wanted.len());
    for id in wanted {
        let mut given = answers.remove(id).unwrap_or_default();
        match (given.pop(), given.len()) {
            (Some(answer), 0) => single.push(answer),
            (None, _) => return Err(format!("item {} got no answer", id.0)),
            (Some(_), more) => return Err(format!("item {} got {} answers", id.0, more + 1)),
        }
    }
    if answers.is_empty() { Ok(single) } else { Err("there were answers about items that nobody asked for".into()) }
}

struct PushAnswers(Answers<Pushed>);

impl PushSink for PushAnswers {
    fn stored(&self, _item: &PlanItem) {}

    fn proven(&self, item: PlanItem, location: Location, proof: Proven) {
        self.0.add(item.content_id, &item.location, Pushed::Proven(location, proof));
    }

    fn drift(&self, item: PlanItem, drift: Drift) {
        self.0.add(item.content_id, &item.location, Pushed::Drift(drift));
    }

    fn excluded(&self, item: PlanItem, reason: String) {
        self.0.add(item.content_id, &item.location, Pushed::Excluded(reason));
    }

    fn failed(&self, item: PlanItem, reason: String) {
        self.0.add(item.content_id, &item.location, Pushed::Failed(reason));
    }

    fn moving(&self, _from: &Location, _to: &Location) -> Result<Vec<HeldItem>, DestinationError> {
        Ok(Vec::new())
    }

    fn moved(&self, _item: HeldItem, _from: &Location, _found: Result<Proven, Missed>) {}
}

struct VerifyAnswers(Answers<Found>);

impl VerifySink for VerifyAnswers {
    fn verified(&self, item: HeldItem, proof: Proven) {
        self.0.add(item.content_id, &item.location, Found::Verified(proof));
    }

    fn seen(&self, item: HeldItem) {
        self.0.add(item.content_id, &item.location, Found::Seen);
    }

    fn lost(&self, item: HeldItem, detail: String) {
        self.0.add(item.content_id, &item.location, Found::Lost(detail));
    }

    fn unverifiable(&self, item: HeldItem, reason: String) {
        self.0.add(item.content_id, &item.location, Found::Unverifiable(reason));
    }
}

struct FetchAnswers(Answers<Result<Vec<u8>, String>>);

struct Collecting {
    id: Key,
    bytes: Vec<u8>,
    sink: Arc<FetchAnswers>,
}

struct FetchHandle(Arc<FetchAnswers>);

impl FetchSink for FetchHandle {
    fn begin(&self, item: &HeldItem) -> io::Result<Box<dyn Arrival>> {
        Ok(Box::new(Collecting { id: (item.content_id, item.location.clone()), bytes: Vec::new(), sink: self.0.clone() }))
    }

    fn failed(&self, item: &HeldItem, reason: String) {
        self.0.0.add(item.content_id, &item.location, Err(reason));
    }
}

impl Write for Collecting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Arrival for Collecting {
    fn finish(self: Box<Self>) {
        self.sink.0.add(self.id.0, &self.id.1, Ok(self.bytes));
    }
}

/// Pushes items in one group.
pub(super) fn push(destination: &dyn Destination, items: Vec<PlanItem>, context: &Context) -> Result<Vec<Pushed>, String> {
    let ids: Vec<_> = items.iter().map(|item| (item.content_id, item.location.clone())).collect();
    let sink = Arc::new(PushAnswers(Answers::default()));
    let pushed = context.runtime.block_on(async {
        let (give, take) = tokio::sync::mpsc::channel(1);
        let place = Place { volume: VOLUME, epoch: EPOCH };
        let (given, pushed) =
            tokio::join!(async move { give.send(items).await }, destination.push(&place, take, sink.clone(), context));
        pushed.map(|()| drop(given))
    });
    pushed.map_err(|error| error.to_string())?;
    one_each(&ids, sink.0.take())
}

/// Looks at held items in one group.
pub(super) fn verify(
    destination: &dyn Destination,
    items: Vec<HeldItem>,
    depth: Depth,
    context: &Context,
) -> Result<Vec<Found>, String> {
    let ids: Vec<_> = items.iter().map(|item| (item.content_id, item.location.clone())).collect();
    let sink = Arc::new(VerifyAnswers(Answers::default()));
    let verified = context.runtime.block_on(async {
        let (give, take) = tokio::sync::mpsc::channel(1);
        let (given, verified) =
            tokio::join!(async move { give.send(items).await }, destination.verify(take, depth, sink.clone(), context));
        verified.map(|()| drop(given))
    });
    verified.map_err(|error| error.to_string())?;
    one_each(&ids, sink.0.take())
}

/// Brings items back in one group.
pub(super) fn fetch(
    destination: &dyn Destination,
    items: Vec<HeldItem>,
    context: &Context,
) -> Result<Vec<Result<Vec<u8>, String>>, String> {
    let ids: Vec<_> = items.iter().map(|item| (item.content_id, item.location.clone())).collect();
    let sink = Arc::new(FetchAnswers(Answers::default()));
    let fetched: Result<(), DestinationError> = context.runtime.block_on(async {
        let (give, take) = tokio::sync::mpsc::channel(1);
        let handle = Arc::new(FetchHandle(sink.clone()));
        let (given, fetched) = tokio::join!(async move { give.send(items).await }, destination.fetch(take, handle, context));
        fetched.map(|()| drop(given))
    });
    fetched.map_err(|error| error.to_string())?;
    one_each(&ids, sink.0.take())
}
