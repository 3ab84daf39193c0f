//! The way to a destination: an honest store that may be told to lie, to fail, or to lose what it was given; watched at each call.

use crate::ledger::Asked;
use crate::look;
use crate::moments::Moments;
use crate::word::{Dest, Lying, Moment, Storing, Vol};
use crate::world::World;
use async_trait::async_trait;
use lastcopy_fs::{Cancel, Content, ContentHash, HashBuffer, Id128, Progress};
use lastcopy_store::{DestinationKind, Incarnation, Location, Proof, ProofError, ReadBack, Volume};
use lastcopy_sync::conformance::{Liar, Lie};
use lastcopy_sync::segment::{Place, PlacedHead};
use lastcopy_sync::{
    Capabilities, CompactSink, Compaction, Context, Depth, Destination, DestinationError, FetchSink, HeldItem, InitPermit,
    PlanItem, Probe, PushSink, Retained, Scratch, VerifySink, WorkList,
};
use lastcopy_sync_cas::{Cas, Local, Medium, ScratchRemoval, Staged};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What a disk was told to do wrong, until it is told otherwise.
#[derive(Debug, Default)]
pub(crate) struct Armed {
    /// In what it lies.
    pub(crate) lie: Mutex<Option<Lying>>,
    /// How it treats the next object.
    pub(crate) storing: Mutex<Option<Storing>>,
    /// Calls until one fails; 0 is never.
    pub(crate) calls: AtomicI64,
    /// Every one after it fails, too.
    pub(crate) for_ever: std::sync::atomic::AtomicBool,
}

impl Armed {
    /// Honest and whole again.
    pub(crate) fn disarm(&self) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.storing.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.calls.store(0, Ordering::SeqCst);
        self.for_ever.store(false, Ordering::SeqCst);
    }

    /// Whether it says that it is another one than it is.
    pub(crate) fn pretends(&self) -> bool {
        matches!(self.lying(), Some(Lying::Replaced | Lying::ReplacedMidway))
    }

    pub(crate) fn lying(&self) -> Option<Lying> {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this call is to fail.
    fn fails(&self) -> bool {
        let left = self.calls.load(Ordering::SeqCst);
        if left == 0 {
            return false;
        }
        if left > 1 {
            self.calls.store(left - 1, Ordering::SeqCst);
            return false;
        }
        if !self.for_ever.load(Ordering::SeqCst) {
            self.calls.store(0, Ordering::SeqCst);
        }
        true
    }
}

/// The lie of the conformance suite that is meant.
fn lie(lying: Lying) -> Lie {
    match lying {
        Lying::Gone => Lie::Gone,
        Lying::Replaced => Lie::Replaced,
        Lying::ReplacedMidway => Lie::ReplacedMidway,
        Lying::CannotTell => Lie::CannotTell,
        Lying::NoHead => Lie::NoHead,
        Lying::OtherLife => Lie::HeadOfAnotherLife,
        Lying::ProofsSwapped => Lie::ProofsSwapped,
        Lying::Silent => Lie::Silent,
        Lying::SaysTwice => Lie::SaysTwice,
        Lying::TimesOut => Lie::TimesOutAfterStoring,
        Lying::Full => Lie::Full,
        Lying::SealTimesOut => Lie::TimesOutAfterSealing,
        Lying::SealsNothing => Lie::SealsNothing,
        Lying::SeesEverything => Lie::SeesEverything,
        Lying::Excludes => Lie::Excludes,
        Lying::ReadsNothing => Lie::ReadsNothing,
        Lying::ReadsNothingOnce => Lie::ReadsNothingOnce,
        Lying::SendsLess => Lie::FetchTruncates,
        Lying::SendsFlipped => Lie::FetchFlips,
        Lying::SendsMore => Lie::FetchAppends,
        Lying::SendsOther => Lie::FetchSwaps,
    }
}

/// For which offload a destination is asked at the moment of deletion.
#[derive(Debug, Clone)]
pub(crate) struct Confirming {
    pub(crate) volume: Vol,
    pub(crate) destination: Dest,
    /// Who is accepted.
    pub(crate) accepted: Option<String>,
}

/// The way of one command to one destination.
pub(crate) struct Way {
    world: Arc<World>,
    inner: Liar,
    path: PathBuf,
    armed: Arc<Armed>,
    confirming: Option<Confirming>,
}

impl Way {
    pub(crate) fn new(world: &Arc<World>, path: &Path, armed: Arc<Armed>, confirming: Option<Confirming>) -> Self {
        let storage = Storage {
            local: Arc::new(Local::new(path)),
            path: path.to_owned(),
            armed: armed.clone(),
            moments: world.moments.clone(),
        };
        let inner = Liar::new(Arc::new(Cas::on(Box::new(storage))));
        if let Some(lying) = armed.lying() {
            inner.lie(lie(lying));
        }
        Self { world: world.clone(), inner, path: path.to_owned(), armed, confirming }
    }

    /// A call begins.
    fn call(&self) -> Result<(), DestinationError> {
        self.world.moments.at(Moment::Call);
        if self.armed.fails() {
            self.world.reach("a destination's call failed");
            let reason = "the connection was reset".into();
            return Err(DestinationError::Unreachable { address: self.path.display().to_string(), reason });
        }
        Ok(())
    }

    /// It was answered.
    fn answered<T>(&self, answer: Result<T, DestinationError>) -> Result<T, DestinationError> {
        if self.inner.told() > 0 {
            self.world.reach("a destination lied");
        }
        self.world.moments.at(Moment::Call);
        answer
    }

    /// What is seen at the very moment at which a destination is asked.
    fn observe(&self, confirming: &Confirming, item: &HeldItem) {
        let hash = item.content.hash.0;
        let object = look::object(&self.path, &hash).ok().flatten();
        let identity = confirming.accepted.is_some() && look::marker(&self.path) == confirming.accepted;
        self.world.asked(Asked {
            volume: confirming.volume,
            destination: confirming.destination,
            hash,
            there: object.is_some_and(|object| object.size == item.content.size),
            intact: object.is_some_and(|object| object.intact),
            identity,
            lying: self.armed.lying() == Some(Lying::SeesEverything),
        });
    }
}

#[async_trait]
impl Destination for Way {
    fn kind(&self) -> DestinationKind {
        self.inner.kind()
    }

    fn layout(&self, volume: &str) -> lastcopy_store::Layout {
        self.inner.layout(volume)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn accept_volume(&self, volume: &Volume) -> Result<(), DestinationError> {
        self.inner.accept_volume(volume)
    }

    async fn probe(&self) -> Result<Probe, DestinationError> {
        self.call()?;
        self.answered(self.inner.probe().await)
    }

    async fn init(&self, permit: &InitPermit) -> Result<Incarnation, DestinationError> {
        self.call()?;
        self.answered(self.inner.init(permit).await)
    }

    async fn push(
        &self,
        place: &Place,
        plan: WorkList<PlanItem>,
        sink: Arc<dyn PushSink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        self.call()?;
        self.answered(self.inner.push(place, plan, sink, context).await)
    }

    async fn verify(
        &self,
        mut held: WorkList<HeldItem>,
        depth: Depth,
        sink: Arc<dyn VerifySink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        self.call()?;
        let Some(confirming) = &self.confirming else {
            return self.answered(self.inner.verify(held, depth, sink, context).await);
        };
        let mut groups = Vec::new();
        while let Some(group) = held.recv().await {
            groups.push(group);
        }
        groups.iter().flatten().for_each(|item| self.observe(confirming, item));
        let (give, take) = tokio::sync::mpsc::channel(groups.len().max(1));
        for group in groups {
            // The channel has room for all, and its end is here.
            drop(give.try_send(group));
        }
        drop(give);
        self.answered(self.inner.verify(take, depth, sink, context).await)
    }

    async fn fetch(&self, wanted: WorkList<HeldItem>, sink: Arc<dyn FetchSink>, context: &Context) -> Result<(), DestinationError> {
        self.call()?;
        self.answered(self.inner.fetch(wanted, sink, context).await)
    }

    async fn compact(
        &self,
        retained: WorkList<Retained>,
        epoch: Id128,
        sink: Option<Arc<dyn CompactSink>>,
        context: &Context,
    ) -> Result<Compaction, DestinationError> {
        self.call()?;
        self.answered(self.inner.compact(retained, epoch, sink, context).await)
    }

    async fn make_way(&self, lost: Vec<HeldItem>, volumes: &[Id128], context: &Context) -> Result<u64, DestinationError> {
        self.call()?;
        self.answered(self.inner.make_way(lost, volumes, context).await)
    }

    async fn heads(&self, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError> {
        self.call()?;
        self.answered(self.inner.heads(volume).await)
    }

    async fn places(&self) -> Result<Vec<PlacedHead>, DestinationError> {
        self.call()?;
        self.answered(self.inner.places().await)
    }

    async fn seal(
        &self,
        place: &Place,
        sequence: i64,
        segment: File,
        head: &[u8],
        context: &Context,
    ) -> Result<(), DestinationError> {
        self.call()?;
        self.answered(self.inner.seal(place, sequence, segment, head, context).await)
    }

    async fn segment(&self, place: &Place, sequence: i64) -> Result<File, DestinationError> {
        self.call()?;
        self.answered(self.inner.segment(place, sequence).await)
    }

    async fn segments(&self, place: &Place) -> Result<Vec<i64>, DestinationError> {
        self.call()?;
        self.answered(self.inner.segments(place).await)
    }

    async fn list(&self, each: &mut (dyn FnMut(Content, Location) + Send)) -> Result<(), DestinationError> {
        self.call()?;
        self.answered(self.inner.list(each).await)
    }

    async fn scratch(&self) -> Result<Scratch, DestinationError> {
        self.inner.scratch().await
    }
}

/// A local directory that may treat objects badly.
struct Storage {
    local: Arc<dyn Medium>,
    path: PathBuf,
    armed: Arc<Armed>,
    moments: Arc<Moments>,
}

impl Storage {
    /// How the next object is treated, if in no ordinary way; only once.
    fn takes(&self, wanted: impl FnOnce(Storing) -> bool) -> Option<Storing> {
        let mut armed = self.armed.storing.lock().unwrap_or_else(PoisonError::into_inner);
        if armed.is_some_and(wanted) { armed.take() } else { None }
    }

    /// Spoils an object that was published a moment ago.
    fn spoil(&self, how: Storing, content: Content) -> io::Result<()> {
        let path = self.path.join(look::object_path(&content.hash.0));
        match how {
            Storing::Nothing => std::fs::remove_file(path),
            Storing::Flipped | Storing::Less => {
                let mut bytes = std::fs::read(&path)?;
                match (how, bytes.first_mut()) {
                    (Storing::Flipped, Some(first)) => *first ^= 1,
                    _ => drop(bytes.pop()),
                }
                std::fs::remove_file(&path)?;
                std::fs::write(&path, bytes)
            }
            Storing::Fails | Storing::Full => Ok(()),
        }
    }
}

impl Medium for Storage {
    fn address(&self) -> String {
        self.local.address()
    }

    fn look_again(&self) -> Arc<dyn Medium> {
        Arc::new(Self {
            local: self.local.look_again(),
            path: self.path.clone(),
            armed: self.armed.clone(),
            moments: self.moments.clone(),
        })
    }

    fn contains(&self, path: &Path) -> io::Result<bool> {
        self.local.contains(path)
    }

    fn is_empty(&self) -> io::Result<Option<bool>> {
        self.local.is_empty()
    }

    fn create_root(&self) -> io::Result<()> {
        self.local.create_root()
    }

    fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.local.read_small(path)
    }

    fn create_small(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.local.create_small(path, bytes)
    }

    fn replace_small(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.moments.at(Moment::Call);
        self.local.replace_small(path, bytes)
    }

    fn create_file(&self, path: &str, bytes: &mut dyn Read) -> io::Result<[u8; 32]> {
        self.moments.at(Moment::Call);
        self.local.create_file(path, bytes)
    }

    fn open_file(&self, path: &str) -> io::Result<File> {
        self.local.open_file(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.local.list(path)
    }

    fn object_size(&self, hash: ContentHash) -> io::Result<Option<u64>> {
        self.local.object_size(hash)
    }

    fn stage(&self, place: Place, content: Content, bytes: &mut dyn Read) -> io::Result<Staged> {
        self.moments.at(Moment::Call);
        match self.takes(|how| matches!(how, Storing::Fails | Storing::Full)) {
            Some(Storing::Full) => Err(io::ErrorKind::StorageFull.into()),
            Some(_) => Err(io::Error::other("the device gave an error")),
            None => self.local.stage(place, content, bytes),
        }
    }

    fn discard(&self, staged: Staged) {
        self.local.discard(staged);
    }

    fn publish(&self, staged: &[Staged]) -> io::Result<()> {
        self.local.publish(staged)?;
        let new = staged.iter().find(|staged| staged.is_new());
        if let Some(staged) = new
            && let Some(how) = self.takes(|how| !matches!(how, Storing::Fails | Storing::Full))
        {
            self.spoil(how, staged.content)?;
        }
        self.moments.at(Moment::Call);
        Ok(())
    }

    fn settle(&self) -> io::Result<()> {
        self.local.settle()
    }

    fn prove(
        &self,
        content: Content,
        buffer: &mut HashBuffer,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Proof<ReadBack>, ProofError> {
        self.local.prove(content, buffer, cancel, progress)
    }

    fn copy_out(&self, hash: ContentHash, to: &mut dyn Write, cancel: &Cancel) -> io::Result<()> {
        self.local.copy_out(hash, to, cancel)
    }

    fn set_aside(&self, hash: ContentHash) -> io::Result<()> {
        self.local.set_aside(hash)
    }

    fn sweep(&self, place: Place) -> io::Result<()> {
        self.local.sweep(place)
    }

    fn objects(&self, each: &mut dyn FnMut(Content)) -> io::Result<()> {
        self.local.objects(each)
    }

    fn scratch(&self) -> io::Result<(Box<dyn Medium>, ScratchRemoval)> {
        self.local.scratch()
    }
}
