//! A restore: which files, from which destination, to which place.

use crate::error::RestoreError;
use crate::landing::{Arriving, Landed, Landing, Placed};
use lastcopy_fs::{Cancel, Content, ContentHash, Dir, FileKind, FileStat, HashBuffer, Mounts, NoProgress, RelPath};
use lastcopy_store::{
    ContentId, DestinationRecord, FileId, FileRecord, FileStatus, IdentityError, Outcome, Probed, Receipt, ReceiptLevel, Restore,
    Restored, Run, Seen, Store, StoreError, Volume, VolumeId,
};
use lastcopy_sync::{Arrival, Context, Depth, Destination, DestinationError, FetchSink, Finding, HeldItem, Probe, check_held};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Files that are looked at together; each content of them comes once.
const GROUP: usize = 20_000;
/// Files that share syncs and a transaction.
const BATCH_FILES: usize = 1000;
const BATCH_BYTES: u64 = 256 << 20;
/// Arrivals that wait to be placed; each is an open file.
const WAITING: usize = 64;
/// How many refused or failed files are remembered for people; all are counted.
const EXAMPLES: usize = 100;

/// A file that is to come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where, below the target.
    pub path: RelPath,
    /// Row of its content.
    pub content_id: ContentId,
    /// What it shall hold.
    pub content: Content,
    /// Modification time, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Permission bits.
    pub mode: u32,
}

impl From<FileRecord> for Wanted {
    fn from(file: FileRecord) -> Self {
        Self {
            path: file.path,
            content_id: file.content_id,
            content: file.content,
            mtime_ns: file.seen.mtime_ns,
            mode: file.seen.mode,
        }
    }
}

/// Which files come back: known by their rows, so that a million cost little, or one by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WantedList {
    /// Files of the index.
    Files(Vec<FileId>),
    /// One content under a name.
    One(Box<Wanted>),
}

/// Which files of a volume come back for some paths: offloaded ones at and below them, missing ones only if they are named
/// themselves. `everything` takes all that the index knows: for replacing what differs, and for restoring elsewhere.
pub fn wanted_below(store: &Store, volume: VolumeId, below: &[RelPath], everything: bool) -> Result<WantedList, RestoreError> {
    if everything {
        let statuses = [FileStatus::Present, FileStatus::Offloaded, FileStatus::Missing];
        return Ok(WantedList::Files(store.select_files(volume, below, &statuses)?));
    }
    let mut files = store.select_files(volume, below, &[FileStatus::Offloaded])?;
    for path in below {
        // One that the index takes for present may be gone since; if it is there, nothing happens to it.
        let named = |file: &FileRecord| matches!(file.status, FileStatus::Missing | FileStatus::Present);
        files.extend(store.file_at(volume, path)?.filter(named).map(|file| file.id));
    }
    Ok(WantedList::Files(files))
}

/// The paths of a volume that hold a content and lack their file: offloaded and missing ones.
pub fn wanted_with(store: &Store, volume: VolumeId, hash: ContentHash) -> Result<WantedList, RestoreError> {
    let lacks = |file: &FileRecord| file.volume == volume && matches!(file.status, FileStatus::Offloaded | FileStatus::Missing);
    Ok(WantedList::Files(store.files_with_content(hash)?.into_iter().filter(lacks).map(|file| file.id).collect()))
}

/// A content, whatever became of the paths that held it, under the name that it had last.
pub fn wanted_content(store: &Store, hash: ContentHash) -> Result<Option<Wanted>, RestoreError> {
    let Some((content_id, content)) = store.content_by_hash(hash)? else { return Ok(None) };
    let newest = store.files_with_content(hash)?.into_iter().next();
    let name = newest.as_ref().and_then(|file| file.path.split().map(|(_, name)| name.to_vec()));
    let named = |bytes: Vec<u8>| RelPath::new(bytes).map_err(|error| StoreError::Refused(error.to_string()));
    let path = named(name.unwrap_or_else(|| hash.to_string().into_bytes()))?;
    let (mtime_ns, mode) = newest.map_or((0, 0o644), |file| (file.seen.mtime_ns, file.seen.mode));
    Ok(Some(Wanted { path, content_id, content, mtime_ns, mode }))
}

/// Where files come back to.
#[derive(Debug)]
pub enum Target {
    /// Their places in the volume.
    Home(Volume),
    /// A directory that is none of ours, with their paths below it.
    Elsewhere(Dir),
}

/// How to restore.
pub struct Restoring<'a> {
    /// The index.
    pub store: &'a Store,
    /// Where to.
    pub target: Target,
    /// Also replace what differs; it is kept.
    pub in_place: bool,
    /// The destinations to ask, the preferred ones first.
    pub sources: Vec<(DestinationRecord, Arc<dyn Destination>)>,
    /// Cancellation, progress, and the runtime.
    pub context: Context,
}

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files that came back.
    pub restored: u64,
    /// Files that were there already.
    pub already: u64,
    /// Files whose place is taken by something else.
    pub refused: u64,
    /// Files that no destination could give back.
    pub failed: u64,
    /// Bytes that came back.
    pub bytes: u64,
    /// The destinations that gave them, by name.
    pub from: BTreeSet<String>,
    /// Objects that a destination was found not to hold any more, or not with their bytes: their receipts are lost now.
    pub lost: u64,
    /// Objects that a destination did not give, and that are not surely lost.
    pub unread: u64,
    /// The first refused and failed ones.
    pub first: Vec<(RelPath, String)>,
    /// The first that came back although a destination that should have them could not give them, and what it gave instead.
    pub amiss: Vec<(RelPath, String)>,
}

impl RestoreReport {
    fn outcome(&self) -> Outcome {
        if self.is_whole() {
            return Outcome::Success;
        }
        let Self { refused, failed, lost, unread, .. } = self;
        Outcome::Partial(format!("{refused} refused, {failed} could not be brought back, {lost} objects lost, {unread} unread"))
    }

    /// Whether everything came back, and every destination that was asked had what it should have.
    pub fn is_whole(&self) -> bool {
        self.refused + self.failed + self.lost + self.unread == 0
    }

    fn refuse(&mut self, path: &RelPath, why: String) {
        self.refused += 1;
        self.name(path, why);
    }

    fn fail(&mut self, path: &RelPath, why: String) {
        self.failed += 1;
        self.name(path, why);
    }

    /// What came back, and could not be had from everyone who should have it.
    fn amiss(&mut self, trouble: &Trouble) {
        if self.amiss.len() < EXAMPLES {
            self.amiss.push((trouble.path.clone(), trouble.why.clone()));
        }
    }

    fn name(&mut self, path: &RelPath, why: String) {
        if self.first.len() < EXAMPLES {
            self.first.push((path.clone(), why));
        }
    }
}

impl Restoring<'_> {
    /// Restores and ends the run. `summary` makes of the report what is recorded with the run.
    pub fn run(
        &self,
        run: Run<Restore>,
        wanted: &WantedList,
        summary: impl FnOnce(&RestoreReport) -> String,
    ) -> Result<RestoreReport, RestoreError> {
        match self.restore(&run, wanted) {
            Ok(report) => {
                run.finish(&report.outcome(), Some(&summary(&report)))?;
                Ok(report)
            }
            Err(error) => {
                let outcome = if error.is_cancelled() { Outcome::Aborted } else { Outcome::Failed(error.to_string()) };
                match run.finish(&outcome, None) {
                    Ok(()) | Err(StoreError::RunEnded { .. }) => Err(error),
                    Err(store) => Err(store.into()),
                }
            }
        }
    }

    fn root(&self) -> &Dir {
        match &self.target {
            Target::Home(volume) => volume.root(),
            Target::Elsewhere(dir) => dir,
        }
    }

    fn restore(&self, run: &Run<Restore>, wanted: &WantedList) -> Result<RestoreReport, RestoreError> {
        let mut report = RestoreReport::default();
        let root = RelPath::root();
        let landing = Landing::new(self.root(), run.id()).map_err(RestoreError::at(&root))?;
        if let Target::Home(_) = self.target {
            landing.sweep().map_err(RestoreError::at(&root))?;
        }
        let landed = self.land(run, &landing, wanted, &mut report);
        let tidied = landing.tidy(matches!(self.target, Target::Home(_))).map_err(RestoreError::at(&root));
        landed.and(tidied).map(|()| report)
    }

    fn land(
        &self,
        run: &Run<Restore>,
        landing: &Landing,
        wanted: &WantedList,
        report: &mut RestoreReport,
    ) -> Result<(), RestoreError> {
        match wanted {
            WantedList::One(wanted) => self.group(run, landing, vec![wanted.as_ref().clone()], report)?,
            WantedList::Files(ids) => {
                self.context.progress.phase("restoring", ids.len() as u64, 0);
                for ids in ids.chunks(GROUP) {
                    let wanted = self.store.files(ids)?.into_iter().map(Wanted::from).collect();
                    self.group(run, landing, wanted, report)?;
                }
            }
        }
        Ok(())
    }

    /// Restores some files: each content comes once, from its best destination, or from the next one that can give it.
    fn group(
        &self,
        run: &Run<Restore>,
        landing: &Landing,
        wanted: Vec<Wanted>,
        report: &mut RestoreReport,
    ) -> Result<(), RestoreError> {
        let mut absent = self.absent(run, wanted, report)?;
        let mut sources =
            absent.keys().map(|content| Ok((*content, self.ranked(*content)?))).collect::<Result<_, RestoreError>>()?;
        let mut why: HashMap<ContentId, String> = HashMap::new();
        let mut troubles = Vec::new();
        loop {
            let turn = self.next_turn(&absent, &mut sources);
            if turn.iter().all(Vec::is_empty) {
                break;
            }
            for (source, items) in self.sources.iter().zip(turn) {
                if !items.is_empty() {
                    let from = troubles.len();
                    self.fetch(run, landing, source, items, &mut absent, &mut why, &mut troubles, report)?;
                    self.look_again(run, source, &mut troubles, from, report)?;
                }
            }
        }
        // Those that nobody could give are named below, with all that was said of them.
        troubles.iter().filter(|trouble| !absent.contains_key(&trouble.item.content_id)).for_each(|trouble| report.amiss(trouble));
        for (content, wanted) in absent {
            let why = why.remove(&content).unwrap_or_else(|| "no destination that can be asked has a receipt for it".into());
            wanted.iter().for_each(|wanted| report.fail(&wanted.path, why.clone()));
        }
        Ok(())
    }

    /// Leaves out what is there already, and what is in the way of something else; groups the rest by content.
    fn absent(&self, run: &Run<Restore>, wanted: Vec<Wanted>, report: &mut RestoreReport) -> Result<Absent, RestoreError> {
        let mut buffer = HashBuffer::new();
        let mut absent = Absent::new();
        for wanted in wanted {
            self.context.cancel.check()?;
            match look(self.root(), &wanted, &mut buffer, &self.context.cancel) {
                Ok(Standing::Absent) => absent.entry(wanted.content_id).or_default().push(wanted),
                Ok(Standing::Same(stat)) => {
                    self.copied_back(run, &wanted, &stat)?;
                    report.already += 1;
                    self.context.progress.advance(1, 0);
                }
                Ok(Standing::Other) if self.in_place => absent.entry(wanted.content_id).or_default().push(wanted),
                Ok(Standing::Other) => {
                    report.refuse(&wanted.path, "something else is in its place".into());
                    self.context.progress.advance(1, 0);
                }
                Err(error) => report.fail(&wanted.path, format!("its place cannot be looked at: {error}")),
            }
        }
        Ok(absent)
    }

    /// A file that the index knows as offloaded or missing, and that is in its place with its bytes: somebody copied it back.
    fn copied_back(&self, run: &Run<Restore>, wanted: &Wanted, stat: &FileStat) -> Result<(), RestoreError> {
        if let Target::Home(volume) = &self.target {
            let known = self.store.file_at(volume.id(), &wanted.path)?;
            if known.is_none_or(|file| file.status != FileStatus::Present) {
                // Read a moment ago, but nobody knows how long before: the next index run reads it again.
                let seen = Seen { racy: true, ..Seen::from_stat(stat, stat.ctime_ns, 0) };
                run.restored(&[Restored { path: wanted.path.clone(), content: wanted.content_id, seen }])?;
            }
        }
        Ok(())
    }

    /// The destinations that may hold a content, best first: proven, then stored, then those that were found to have lost it, because
    /// only the hash decides. Among equals, the preferred one.
    fn ranked(&self, content: ContentId) -> Result<VecDeque<(usize, HeldItem)>, RestoreError> {
        let receipts = self.store.receipts_of(content)?.into_iter();
        let known = receipts.filter_map(|receipt| {
            let source = self.sources.iter().position(|(record, _)| record.id == receipt.destination)?;
            Some((rank(&receipt), source, receipt))
        });
        let mut ranked: Vec<_> = known.collect();
        ranked.sort_by_key(|(rank, source, _)| (*rank, *source));
        Ok(ranked.into_iter().map(|(_, source, receipt)| (source, HeldItem::from(receipt))).collect())
    }

    /// For each destination, what it is asked for next.
    fn next_turn(&self, absent: &Absent, sources: &mut Ranked) -> Vec<Vec<HeldItem>> {
        let mut turn: Vec<_> = self.sources.iter().map(|_| Vec::new()).collect();
        for content in absent.keys() {
            if let Some((source, item)) = sources.get_mut(content).and_then(VecDeque::pop_front) {
                turn[source].push(item);
            }
        }
        turn
    }

    /// Fetches some contents from one destination, and puts them in their places as they arrive.
    fn fetch(
        &self,
        run: &Run<Restore>,
        landing: &Landing,
        (record, destination): &(DestinationRecord, Arc<dyn Destination>),
        items: Vec<HeldItem>,
        absent: &mut Absent,
        why: &mut HashMap<ContentId, String>,
        troubles: &mut Vec<Trouble>,
        report: &mut RestoreReport,
    ) -> Result<(), RestoreError> {
        let (events, arrivals) = sync_channel(WAITING);
        let sink = Sink { landing: landing.try_clone().map_err(RestoreError::at(&RelPath::root()))?, events };
        let context = Context { cancel: self.context.cancel.child(), ..self.context.kept_by(run)? };
        let stop = context.cancel.clone();
        let before = report.restored;
        let fetched = std::thread::scope(|scope| {
            let placer = Placer {
                restoring: self,
                run,
                landing,
                absent: &mut *absent,
                why: &mut *why,
                troubles: &mut *troubles,
                report: &mut *report,
                source: &record.name,
                batch: Vec::new(),
                bytes: 0,
            };
            let placer = scope.spawn(move || {
                let placed = placer.work(&arrivals);
                if placed.is_err() {
                    stop.cancel();
                }
                placed
            });
            let fetched = context.runtime.block_on(async {
                let (give, take) = tokio::sync::mpsc::channel(1);
                let (given, fetched) =
                    tokio::join!(async move { give.send(items).await }, destination.fetch(take, Arc::new(sink), &context));
                fetched.map(|()| drop(given))
            });
            placer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok::<_, RestoreError>(fetched)
        })?;
        self.context.cancel.check()?;
        match fetched {
            Ok(()) => {}
            // It failed as a whole; others may have what it had.
            Err(error) => {
                for content in absent.keys() {
                    why.entry(*content).or_insert_with(|| format!("`{}`: {error}", record.name));
                }
                self.context.progress.note(&format!("destination `{}`: {error}", record.name));
            }
        }
        if report.restored > before {
            report.from.insert(record.name.clone());
        }
        Ok(())
    }

    /// Looks again at what a destination did not give. What it surely does not hold is recorded as lost, as a verify would: whoever else
    /// gave the bytes, an offload must not count on this one again. Only the accepted incarnation can lose what it was proven to hold,
    /// and one that is not there at all has lost nothing.
    fn look_again(
        &self,
        run: &Run<Restore>,
        (record, destination): &(DestinationRecord, Arc<dyn Destination>),
        troubles: &mut Vec<Trouble>,
        from: usize,
        report: &mut RestoreReport,
    ) -> Result<(), RestoreError> {
        let lost = if troubles[from..].iter().all(|trouble| trouble.look.is_none()) {
            0
        } else {
            match self.context.runtime.block_on(destination.probe()) {
                Ok(Probe::Found(incarnation)) => match run.probed(record.id, Some(&incarnation)) {
                    Ok(probed) => self.lost(run, &probed, destination.as_ref(), &troubles[from..])?,
                    Err(IdentityError::Store(error)) => return Err(error.into()),
                    Err(_) => 0,
                },
                Ok(Probe::Nothing | Probe::NoPlace | Probe::CannotTell(_)) | Err(_) => {
                    self.context.progress.note(&format!("destination `{}` is not there", record.name));
                    troubles.truncate(from);
                    0
                }
            }
        };
        report.lost += lost;
        report.unread += (troubles.len() - from) as u64 - lost;
        Ok(())
    }

    /// Records what is surely not held any more, and says how many that are.
    fn lost(
        &self,
        run: &Run<Restore>,
        probed: &Probed,
        destination: &dyn Destination,
        troubles: &[Trouble],
    ) -> Result<u64, RestoreError> {
        let mut lost = 0;
        for depth in [Depth::Presence, Depth::Bytes] {
            let doubted: Vec<_> =
                troubles.iter().filter(|trouble| trouble.look == Some(depth)).map(|trouble| &trouble.item).collect();
            for group in doubted.chunks(BATCH_FILES) {
                let group: Vec<_> = group.iter().map(|item| (*item).clone()).collect();
                let findings = match check_held(destination, &group, depth, &self.context) {
                    Ok(findings) => findings,
                    Err(DestinationError::Cancelled(cancelled)) => return Err(cancelled.into()),
                    // It went away meanwhile: then nothing more is sure.
                    Err(_) => return Ok(lost),
                };
                for (item, finding) in group.iter().zip(findings) {
                    if let Finding::Lost(detail) = finding {
                        run.lost(probed, item.content_id, &item.location, &detail)?;
                        lost += 1;
                    }
                }
            }
        }
        Ok(lost)
    }
}

/// An object that a destination did not give as it should.
struct Trouble {
    item: HeldItem,
    /// The first path that waits for it.
    path: RelPath,
    /// What happened, with the destination's name.
    why: String,
    /// How to look at it again; not at all where the trouble was here.
    look: Option<Depth>,
}

/// What is still to come, by content.
type Absent = HashMap<ContentId, Vec<Wanted>>;
/// Which destinations are still to be asked for each content.
type Ranked = HashMap<ContentId, VecDeque<(usize, HeldItem)>>;

fn rank(receipt: &Receipt) -> u8 {
    match (receipt.lost_at, receipt.level) {
        (None, ReceiptLevel::Verified) => 0,
        (None, ReceiptLevel::Stored) => 1,
        (Some(_), _) => 2,
    }
}

/// What is in the place of a file.
enum Standing {
    Absent,
    Same(FileStat),
    Other,
}

fn look(root: &Dir, wanted: &Wanted, buffer: &mut HashBuffer, cancel: &Cancel) -> io::Result<Standing> {
    let Some(stat) = root.stat(&wanted.path)? else { return Ok(Standing::Absent) };
    if stat.kind != FileKind::Regular || stat.size != wanted.content.size {
        return Ok(Standing::Other);
    }
    let file = root.open_file(&wanted.path, Mounts::Cross)?;
    let same = buffer.hash_file(&file, stat.size, cancel, &NoProgress)? == wanted.content;
    Ok(if same { Standing::Same(stat) } else { Standing::Other })
}

/// What the fetching threads tell the one that places.
enum Event {
    Arrived(HeldItem, Arriving),
    Failed(HeldItem, String),
}

/// Takes bytes on the threads that fetch.
struct Sink {
    landing: Landing,
    events: SyncSender<Event>,
}

impl FetchSink for Sink {
    fn begin(&self, item: &HeldItem) -> io::Result<Box<dyn Arrival>> {
        let arriving = self.landing.begin()?;
        Ok(Box::new(OneArrival { item: item.clone(), arriving, events: self.events.clone() }))
    }

    fn failed(&self, item: &HeldItem, reason: String) {
        tell(&self.events, Event::Failed(item.clone(), reason));
    }
}

struct OneArrival {
    item: HeldItem,
    arriving: Arriving,
    events: SyncSender<Event>,
}

impl Write for OneArrival {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arriving.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.arriving.flush()
    }
}

impl Arrival for OneArrival {
    fn finish(self: Box<Self>) {
        tell(&self.events, Event::Arrived(self.item, self.arriving));
    }
}

fn tell(events: &SyncSender<Event>, event: Event) {
    // Nobody listens any more: then the restore is ending with an error of its own.
    drop(events.send(event));
}

/// Puts what arrived in its places, on one thread.
struct Placer<'a> {
    restoring: &'a Restoring<'a>,
    run: &'a Run<Restore>,
    landing: &'a Landing,
    absent: &'a mut Absent,
    why: &'a mut HashMap<ContentId, String>,
    troubles: &'a mut Vec<Trouble>,
    report: &'a mut RestoreReport,
    source: &'a str,
    batch: Vec<(Landed, ContentId, u64)>,
    bytes: u64,
}

impl Placer<'_> {
    fn work(mut self, events: &Receiver<Event>) -> Result<(), RestoreError> {
        for event in events {
            match event {
                Event::Arrived(item, arriving) => self.arrived(item, arriving),
                Event::Failed(item, reason) => {
                    if let Some(path) = self.absent.get(&item.content_id).map(|wanted| wanted[0].path.clone()) {
                        self.failed(item, path, &reason, Some(Depth::Presence));
                    }
                }
            }
            if self.batch.len() >= BATCH_FILES || self.bytes >= BATCH_BYTES {
                self.place()?;
            }
        }
        self.place()
    }

    fn failed(&mut self, item: HeldItem, path: RelPath, reason: &str, look: Option<Depth>) {
        let text = format!("`{}`: {reason}", self.source);
        self.why.entry(item.content_id).and_modify(|why| *why = format!("{why}; {text}")).or_insert_with(|| text.clone());
        self.troubles.push(Trouble { item, path, why: text, look });
    }

    fn arrived(&mut self, item: HeldItem, arriving: Arriving) {
        let content = item.content_id;
        let Some(wanted) = self.absent.remove(&content) else { return };
        match self.land(&wanted, arriving) {
            Ok(landed) => {
                for landed in landed {
                    self.bytes += wanted[0].content.size;
                    self.batch.push((landed, content, wanted[0].content.size));
                }
            }
            Err(error) => {
                // Other bytes than expected may be there, or came to harm on the way; anything else went wrong here.
                let look = (error.kind() == io::ErrorKind::InvalidData).then_some(Depth::Bytes);
                self.failed(item, wanted[0].path.clone(), &error.to_string(), look);
                self.absent.insert(content, wanted);
            }
        }
    }

    /// One file for each path that holds the content.
    fn land(&self, wanted: &[Wanted], arriving: Arriving) -> io::Result<Vec<Landed>> {
        let mut landed: Vec<Landed> = Vec::with_capacity(wanted.len());
        let mut arriving = Some(arriving);
        for wanted in wanted {
            let Wanted { path, content, mtime_ns, mode, .. } = wanted;
            let next = match (arriving.take(), landed.first()) {
                (Some(arriving), _) => self.landing.land(arriving, *content, path, *mtime_ns, *mode)?,
                (None, Some(first)) => self.landing.copy(first, *content, path, *mtime_ns, *mode)?,
                (None, None) => break,
            };
            landed.push(next);
        }
        Ok(landed)
    }

    fn place(&mut self) -> Result<(), RestoreError> {
        self.bytes = 0;
        let batch = std::mem::take(&mut self.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let (landed, facts): (Vec<_>, Vec<_>) = batch.into_iter().map(|(landed, content, size)| (landed, (content, size))).unzip();
        let placed = self.landing.place(&landed, self.restoring.in_place).map_err(RestoreError::at(&RelPath::root()))?;
        let mut restored = Vec::new();
        for ((landed, (content, size)), placed) in landed.into_iter().zip(facts).zip(placed) {
            match placed {
                Placed::There(seen) => {
                    self.report.restored += 1;
                    self.report.bytes += size;
                    self.restoring.context.progress.advance(1, size);
                    restored.push(Restored { path: landed.path, content, seen });
                }
                Placed::Occupied => self.report.refuse(&landed.path, "something else is in its place".into()),
                Placed::Failed(error) => self.report.fail(&landed.path, format!("cannot be put in its place: {error}")),
            }
        }
        if matches!(self.restoring.target, Target::Home(_)) {
            self.run.restored(&restored)?;
        }
        Ok(())
    }
}
