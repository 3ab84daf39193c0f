//! What a kind of destination has to do, and what it is handed for it.
//!
//! A kind never begins a run, takes a snapshot, records a receipt or advances a vector. It is given work through channels and answers
//! through sinks; the order of a push is not its business.

use crate::error::{DestinationError, SyncError};
use crate::segment::{Place, PlacedHead};
use crate::source::Source;
use async_trait::async_trait;
use lastcopy_fs::{Cancel, Content, Id128, Progress};
use lastcopy_store::{
    BoundChecksum, ContentId, DestinationKind, DestinationRecord, Incarnation, Kind, Layout, Location, Method, Missed, Proven,
    RetainedFile, Run, Store, StoreError, Volume,
};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::mpsc::Receiver;

/// Work comes in groups, so that a million small items cost little.
pub type WorkList<T> = Receiver<Vec<T>>;

/// What a kind can do with the storage that it was configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// How it will verify what it stores, strongest first; empty or `presence` alone can never open a gate.
    pub methods: Vec<Method>,
    /// Where it is, for people.
    pub address: String,
    /// Every name of a file can be kept exactly, also one that is not UTF-8. Otherwise such files are excluded.
    pub any_name: bool,
}

/// Who answers at an address. None of the others is ever taken for the first; the second allows `init`, and the third does where
/// nobody was accepted before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A destination of this kind.
    Found(Incarnation),
    /// Surely nothing: an empty place that `init` may use.
    Nothing,
    /// Not even a place, though `init` could make one: where a destination was accepted before, its disk is away.
    NoPlace,
    /// Something is there, or hides what is there.
    CannotTell(String),
}

/// What cancellation and progress a piece of work is under.
#[derive(Clone)]
pub struct Context {
    /// Drives what waits on the world. The sequences themselves block: call them from a thread that may.
    pub runtime: tokio::runtime::Handle,
    /// Looked at between items.
    pub cancel: Cancel,
    /// Told of what is done.
    pub progress: Arc<dyn Progress>,
    /// Inherited by programs that write there, so that the run counts as running until the last of them ended. The sequences fill it in.
    pub keeper: Option<Arc<OwnedFd>>,
    /// For whom it has to be kept to count, where a kind keeps each volume's contents apart and another node may release its own. Without,
    /// whatever is there counts. The sequences fill it in.
    pub volumes: Option<Arc<[Id128]>>,
}

impl Context {
    /// For work without a run of its own, until a sequence begins one.
    pub fn new(runtime: tokio::runtime::Handle, cancel: Cancel, progress: Arc<dyn Progress>) -> Self {
        Self { runtime, cancel, progress, keeper: None, volumes: None }
    }

    /// The same, on behalf of a run.
    pub fn kept_by<K: Kind>(&self, run: &Run<K>) -> Result<Self, SyncError> {
        let keeper = run.liveness().map(|lock| lock.try_clone_to_owned()).transpose().map_err(SyncError::Temporary)?;
        Ok(Self { keeper: keeper.map(Arc::new), ..self.clone() })
    }

    /// The same, where only what a destination keeps for this index counts.
    pub fn counting_for(&self, store: &Store, record: &DestinationRecord) -> Result<Self, StoreError> {
        Ok(Self { volumes: Some(kept_for(store, record)?.into()), ..self.clone() })
    }
}

/// For whom a destination keeps what this index counts on: its volumes, recovered ones, too; and the destination itself, under whose id a
/// repair stores what it had from another one.
pub(crate) fn kept_for(store: &Store, record: &DestinationRecord) -> Result<Vec<Id128>, StoreError> {
    Ok(store.volumes()?.into_iter().map(|volume| volume.uuid).chain([record.uuid]).collect())
}

/// The right to create a repository: only an `init` command has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitPermit {
    pub(crate) id: Id128,
    pub(crate) created: String,
}

impl InitPermit {
    /// For a part of the storage that a conformance test fills and empties again.
    pub(crate) fn scratch(created: String) -> io::Result<Self> {
        Ok(Self { id: Id128::random()?, created })
    }

    /// The id that the repository shall carry; recorded in the index before.
    pub fn id(&self) -> Id128 {
        self.id
    }

    /// The time of creation, RFC 3339.
    pub fn created(&self) -> &str {
        &self.created
    }
}

/// A content that is to be stored and proven.
#[derive(Debug, Clone)]
pub struct PlanItem {
    /// Row of the content.
    pub content_id: ContentId,
    /// The content.
    pub content: Content,
    /// Where it belongs there. Empty where the kind knows by the content, or finds a place of its own.
    pub location: Location,
    /// How many files count on it.
    pub files: u64,
    /// Where its bytes come from.
    pub source: Source,
}

/// A content that a receipt says is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldItem {
    /// Row of the content.
    pub content_id: ContentId,
    /// The content.
    pub content: Content,
    /// Where it lies.
    pub location: Location,
    /// The provider's checksum that proved it there, if one did: as long as that stays the same, it needs no reading. Without, it is
    /// read.
    pub fingerprint: Option<BoundChecksum>,
}

/// A content at a destination, and whether it must stay there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retained {
    /// What, and where it lies.
    pub item: HeldItem,
    /// The files that have it, if any has still.
    pub files: Vec<RetainedFile>,
    /// It must stay. Otherwise it is a version that a person replaced.
    pub counts: bool,
}

/// What a compaction did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Compaction {
    /// Snapshots of this index that can be released once others hold what counts.
    pub snapshots: u64,
    /// Those that stay, besides the newest of each volume, because they hold what nothing is known of.
    pub kept: u64,
    /// Those that were released.
    pub released: u64,
    /// Counted contents that only they held, and that lie in a new one now.
    pub gathered: u64,
    /// Their bytes.
    pub gathered_bytes: u64,
    /// Versions that nothing counts on, held by nothing that stays.
    pub freed: u64,
    /// Their bytes, as they were sent.
    pub freed_bytes: u64,
    /// Counted contents that could not be proven: whatever holds them stays.
    pub unproven: u64,
}

/// Asked by a compaction before it releases anything.
pub trait CompactSink: Send + Sync {
    /// All that counts is held besides, and was read back. What does not count may go from now on: evidence of it is taken back first.
    /// Blocks.
    fn releasing(&self) -> Result<(), DestinationError>;
}

/// How hard to look at what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// It is there, with its size and, where one exists, its fingerprint.
    Presence,
    /// Every byte; of what a fingerprint proved, that the provider's checksum is still the same.
    Bytes,
}

/// Takes what a push did with each item: each item exactly once, by `proven`, `drift`, `excluded` or `failed`.
pub trait PushSink: Send + Sync {
    /// Bytes were sent for this item.
    fn stored(&self, item: &PlanItem);
    /// The destination holds it, and here is the proof.
    fn proven(&self, item: PlanItem, location: Location, proof: Proven);
    /// What was read here is not what the snapshot says.
    fn drift(&self, item: PlanItem, drift: crate::source::Drift);
    /// It cannot be stored there, or not be read here.
    fn excluded(&self, item: PlanItem, reason: String);
    /// It could not be stored or proven this time.
    fn failed(&self, item: PlanItem, reason: String);
    /// Before what lies at a place is moved to another one because its place is needed: from now on, whatever counts on it looks at both.
    /// Gives what counts on it, at the new place. Blocks.
    fn moving(&self, from: &Location, to: &Location) -> Result<Vec<HeldItem>, DestinationError>;
    /// After the move: what was found at the new place of an item that `moving` gave.
    fn moved(&self, item: HeldItem, from: &Location, found: Result<Proven, Missed>);
}

/// Takes what a check found of each item: each item exactly once.
pub trait VerifySink: Send + Sync {
    /// Its bytes were checked.
    fn verified(&self, item: HeldItem, proof: Proven);
    /// It is there, with its size; nothing more is known.
    fn seen(&self, item: HeldItem);
    /// It is not there, or other bytes are.
    fn lost(&self, item: HeldItem, detail: String);
    /// Nothing can be said of it this time.
    fn unverifiable(&self, item: HeldItem, reason: String);
}

/// Takes bytes that come back: each item exactly once, by `begin` and the arrival's `finish`, or by `failed`.
pub trait FetchSink: Send + Sync {
    /// The bytes of an item are about to come.
    fn begin(&self, item: &HeldItem) -> io::Result<Box<dyn Arrival>>;
    /// They do not come, or not to their end.
    fn failed(&self, item: &HeldItem, reason: String);
}

/// Where the bytes of one item go, in order. Dropped without `finish`, they are thrown away.
pub trait Arrival: Write + Send {
    /// All bytes were written.
    fn finish(self: Box<Self>);
}

/// A part of the same storage that a conformance test may fill and empty.
pub struct Scratch {
    /// A destination of the same kind in that part.
    pub destination: Arc<dyn Destination>,
    /// Removes all that was put there.
    pub remove: Box<dyn FnOnce() -> Result<(), DestinationError> + Send>,
}

/// One kind of destination, at one address.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Which kind.
    fn kind(&self) -> DestinationKind;

    /// Where the files of a volume of this name belong.
    fn layout(&self, volume: &str) -> Layout {
        let _by_content = volume;
        Layout::ByContent
    }

    /// What it can do there.
    fn capabilities(&self) -> Capabilities;

    /// Refuses a volume that lies in this destination: every listing would agree with itself.
    fn accept_volume(&self, volume: &Volume) -> Result<(), DestinationError>;

    /// Who is there. Creates nothing.
    async fn probe(&self) -> Result<Probe, DestinationError>;

    /// The same in the midst of work, or at its end: what the work began with goes on.
    async fn probe_again(&self) -> Result<Probe, DestinationError> {
        self.probe().await
    }

    /// Creates the repository, or finds that an earlier, interrupted init with this permit's id did. The only call that creates.
    async fn init(&self, permit: &InitPermit) -> Result<Incarnation, DestinationError>;

    /// Stores and proves. Everything that `proven` is told of survives a power cut at the destination, as far as it can promise.
    /// Unfinished uploads belong to the place: only one push of it runs at a time.
    async fn push(
        &self,
        place: &Place,
        plan: WorkList<PlanItem>,
        sink: Arc<dyn PushSink>,
        context: &Context,
    ) -> Result<(), DestinationError>;

    /// Looks again at what is held. What is kept only for volumes that the context does not name is not held: it is another node's, who may
    /// release it.
    async fn verify(
        &self,
        held: WorkList<HeldItem>,
        depth: Depth,
        sink: Arc<dyn VerifySink>,
        context: &Context,
    ) -> Result<(), DestinationError>;

    /// Brings bytes back, in any order.
    async fn fetch(&self, wanted: WorkList<HeldItem>, sink: Arc<dyn FetchSink>, context: &Context) -> Result<(), DestinationError>;

    /// The head in each place of a volume: one for each epoch that ever pushed it here. One that is damaged hides no other.
    async fn heads(&self, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError>;

    /// Every place that holds a head: what can be recovered from here.
    async fn places(&self) -> Result<Vec<PlacedHead>, DestinationError>;

    /// Stores a segment where none of its number is, reads it back, then replaces the head. Durable, in this order.
    async fn seal(
        &self,
        place: &Place,
        sequence: i64,
        segment: File,
        head: &[u8],
        context: &Context,
    ) -> Result<(), DestinationError>;

    /// A segment's bytes, as stored.
    async fn segment(&self, place: &Place, sequence: i64) -> Result<File, DestinationError>;

    /// The numbers of the segments that lie in a place, in any order.
    async fn segments(&self, place: &Place) -> Result<Vec<i64>, DestinationError>;

    /// Releases what nothing counts on any more, of what this life of the index made: another one may have offloaded what this one does not
    /// know. Without a sink, it only looks. For kinds that keep more than they need.
    async fn compact(
        &self,
        retained: WorkList<Retained>,
        epoch: Id128,
        sink: Option<Arc<dyn CompactSink>>,
        context: &Context,
    ) -> Result<Compaction, DestinationError> {
        let (_, _, _, _) = (retained, epoch, sink, context);
        Err(DestinationError::Unsupported(format!("a destination of kind `{}` never deletes anything", self.kind())))
    }

    /// Before lost contents are stored again: removes what a kind believes to hold and does not, where that would be in the way. Says how
    /// much it removed; what that hid may be in the way next. Only what these volumes will be stored with again, or what is lost, may go.
    async fn make_way(&self, lost: Vec<HeldItem>, volumes: &[Id128], context: &Context) -> Result<u64, DestinationError> {
        let (_, _, _) = (lost, volumes, context);
        Ok(0)
    }

    /// Every content that is held, for whomever, as far as a listing tells: digests and sizes, unproven.
    async fn list(&self, each: &mut (dyn FnMut(Content, Location) + Send)) -> Result<(), DestinationError>;

    /// A part of the same storage for conformance tests.
    async fn scratch(&self) -> Result<Scratch, DestinationError>;
}
