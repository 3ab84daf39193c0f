//! A push: what is in the way goes to the history, then each file is sent, made durable, and proven.

use crate::batch::{self, may_join};
use crate::layout::{FORMAT, History, content_path, owner, path_of};
use crate::names::{Listed, storable};
use crate::prove::{Against, Blind, Look, Looker, open_local};
use crate::rc::RcError;
use crate::remote::{Remote, cancelled, in_the_way, too_long};
use crate::wire::{Entry, Owner};
use lastcopy_fs::{Content, Dir, HashBuffer, Mounts, Progress, RelPath};
use lastcopy_store::{Location, Missed};
use lastcopy_sync::segment::Place;
use lastcopy_sync::{Context, DestinationError, Drift, OpenError, PlanItem, PushSink, Sending, Source, WorkList};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// How often a push is looked at from outside.
const LOOK: Duration = Duration::from_millis(200);
/// Looks between two questions how many bytes moved.
const ASK: u32 = 5;

/// What a push needs to know.
pub(crate) struct Terms<'a> {
    pub(crate) looker: Looker<'a>,
    /// Why it looks as it does.
    pub(crate) why: &'a str,
    pub(crate) transfers: usize,
    pub(crate) stall: Duration,
    pub(crate) place: Place,
}

struct Pushing<'a> {
    terms: Terms<'a>,
    sink: &'a dyn PushSink,
    context: &'a Context,
    history: History,
    /// The first error that ends the whole push.
    fatal: Mutex<Option<DestinationError>>,
    listed: Mutex<Listed>,
    /// Volumes whose part is ours.
    owned: Mutex<HashSet<String>>,
    /// Held by whoever sends a name that may be one with another.
    alone: Mutex<()>,
    /// One thing is moved at a time: two files may have the same thing in their way.
    moving: Mutex<()>,
    /// What was there before this push is durable.
    old_is_durable: OnceLock<Result<(), String>>,
    /// Work that is being waited for, and how often something ended, or was read.
    waiting: AtomicU64,
    ended: AtomicU64,
    /// Bytes whose sending began.
    begun: AtomicU64,
}

/// A file that was sent, and is to be proven.
struct Sent {
    item: PlanItem,
    path: String,
}

/// A file whose place is free.
struct Ready {
    item: PlanItem,
    path: String,
    source: Sending,
}

/// How far a file came by itself.
enum Step {
    Sent(Sent),
    /// It may be sent together with others.
    Ready(Box<Ready>),
}

/// Stores and proves everything of a plan. Blocks.
pub(crate) fn push(
    terms: Terms<'_>,
    mut plan: WorkList<PlanItem>,
    sink: &dyn PushSink,
    context: &Context,
) -> Result<(), DestinationError> {
    let history = History::new().map_err(|source| DestinationError::Io { address: "random numbers".into(), source })?;
    let pushing = &Pushing {
        terms,
        sink,
        context,
        history,
        fatal: Mutex::default(),
        listed: Mutex::default(),
        owned: Mutex::default(),
        alone: Mutex::default(),
        moving: Mutex::default(),
        old_is_durable: OnceLock::new(),
        waiting: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        begun: AtomicU64::new(0),
    };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| pushing.watch(&done));
        // One group is proven while the next one is sent.
        let (sent, to_prove) = sync_channel::<Vec<Sent>>(1);
        let prover = scope.spawn(move || pushing.prove_groups(&to_prove));
        while let Some(group) = plan.blocking_recv() {
            if pushing.is_over() || sent.send(pushing.send_group(group)).is_err() {
                break;
            }
        }
        drop(sent);
        prover.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.store(true, Ordering::Relaxed);
        watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    context.cancel.check()?;
    lock(&pushing.fatal).take().map_or(Ok(()), Err)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does something with every item on several threads, and gives what came of it.
pub(crate) fn each<T: Send, R: Send>(items: Vec<T>, threads: usize, work: impl Fn(T) -> Option<R> + Sync) -> Vec<R> {
    let threads = threads.min(items.len()).max(1);
    let (items, results) = (Mutex::new(items.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let Some(item) = lock(&items).next() else { return };
                    if let Some(result) = work(item) {
                        lock(&results).push(result);
                    }
                }
            });
        }
    });
    results.into_inner().unwrap_or_else(PoisonError::into_inner)
}

impl Pushing<'_> {
    fn remote(&self) -> &Remote {
        self.terms.looker.remote
    }

    fn is_over(&self) -> bool {
        self.context.cancel.is_cancelled() || lock(&self.fatal).is_some()
    }

    fn end(&self, error: DestinationError) {
        lock(&self.fatal).get_or_insert(error);
    }

    /// Looks from outside whether anything moves: ends rclone when somebody wants to stop, or when nothing happens any more. Tells of
    /// what was sent.
    fn watch(&self, done: &AtomicBool) {
        let (mut told, mut ended, mut moved, mut looks) = (0, 0, 0, 0);
        let mut last_news = Instant::now();
        while !done.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK);
            if self.context.cancel.is_cancelled() {
                return self.remote().end();
            }
            looks += 1;
            if looks % ASK == 0 && !lock(&self.fatal).is_some() {
                let bytes = self.remote().moved_bytes().unwrap_or(moved);
                if bytes != moved {
                    (moved, last_news) = (bytes, Instant::now());
                }
                // rclone counts what it reads back, too.
                let sent = moved.min(self.begun.load(Ordering::Relaxed));
                self.context.progress.advance(0, sent.saturating_sub(told));
                told = told.max(sent);
            }
            let now = self.ended.load(Ordering::Relaxed);
            if now != ended || self.waiting.load(Ordering::Relaxed) == 0 {
                (ended, last_news) = (now, Instant::now());
            }
            if last_news.elapsed() > self.terms.stall + self.terms.looker.quiet() {
                let reason = format!("rclone made no progress for {} s, and was ended", self.terms.stall.as_secs());
                self.end(DestinationError::Unreachable { address: self.remote().fs.clone(), reason });
                return self.remote().end();
            }
        }
        self.context.progress.advance(0, self.begun.load(Ordering::Relaxed).saturating_sub(told));
    }

    /// Counts a piece of work as one that is waited for.
    fn waited<R>(&self, work: impl FnOnce() -> R) -> R {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let result = work();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
        result
    }

    fn send_group(&self, group: Vec<PlanItem>) -> Vec<Sent> {
        let features = &self.remote().features;
        let paths = group.iter().filter_map(|item| target(item).ok()).filter(|path| storable(path.as_bytes(), features).is_ok());
        let paths: Vec<_> = paths.collect();
        if let Err(error) = self.waited(|| lock(&self.listed).turn_to(self.remote(), &paths)) {
            self.end(self.remote().error(&error));
            return Vec::new();
        }
        let (mut group, mut sent) = (group.into_iter(), Vec::new());
        loop {
            let part: Vec<_> = group.by_ref().take(batch::FILES).collect();
            if part.is_empty() {
                return sent;
            }
            let steps =
                each(part, self.terms.transfers, |item| if self.is_over() { None } else { self.waited(|| self.step(item)) });
            let mut ready = Vec::new();
            for step in steps {
                match step {
                    Step::Sent(one) => sent.push(one),
                    Step::Ready(one) => ready.push(*one),
                }
            }
            if !self.is_over() {
                sent.extend(self.waited(|| self.send_together(ready)));
            }
        }
    }

    /// Sends what needs no attention of its own. Whatever goes wrong, each is sent by itself then, which tells what is wrong with which;
    /// what arrived meanwhile stays as it is.
    fn send_together(&self, ready: Vec<Ready>) -> Vec<Sent> {
        if ready.len() > 1 {
            let bytes: u64 = ready.iter().map(|one| one.item.content.size).sum();
            let files = ready.iter().map(|one| (one.source.file(), one.path.as_str()));
            self.begun.fetch_add(bytes, Ordering::Relaxed);
            if self.remote().send_all(files, self.compares(), self.terms.transfers).is_ok() {
                let sent = ready.into_iter().map(|Ready { item, path, .. }| Sent { item, path });
                return sent.inspect(|sent| self.sink.stored(&sent.item)).collect();
            }
            self.begun.fetch_sub(bytes, Ordering::Relaxed);
        }
        each(ready, self.terms.transfers, |one| if self.is_over() { None } else { self.waited(|| self.deliver(one, false)) })
    }

    /// Sends one file to its place, or finds that it may go with others; nothing, if it has its answer.
    fn step(&self, item: PlanItem) -> Option<Step> {
        let path = match target(&item) {
            Ok(path) => path,
            Err(reason) => return self.excluded(item, reason),
        };
        match self.accepts(&item, &path) {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => return self.excluded(item, reason),
            Err(error) => return self.refused(item, &error),
        }
        let source = match item.source.open(item.content) {
            Ok(source) => source,
            Err(OpenError::Drift(drift)) => return self.drifted(item, drift),
            Err(OpenError::Unreadable(error)) => return self.excluded(item, format!("cannot be read: {error}")),
        };
        // Only where another name folds into this one; then one after the other. The listing is let go first: whoever is alone needs it.
        let doubtful = lock(&self.listed).doubtful(&path).is_some();
        let alone = doubtful.then(|| lock(&self.alone));
        match self.clash(&path) {
            Ok(None) => {}
            Ok(Some(reason)) => return self.excluded(item, reason),
            Err(error) => return self.refused(item, &error),
        }
        match self.clear(&item, &path) {
            Ok(Clearing::Free) => {}
            Ok(Clearing::Answered) => return None,
            Err(error) => return self.refused(item, &error),
        }
        let joins = alone.is_none() && may_join(&path, item.content.size);
        let ready = Ready { item, path, source };
        if joins { Some(Step::Ready(Box::new(ready))) } else { self.deliver(ready, alone.is_some()).map(Step::Sent) }
    }

    /// Sends one file; gives it, if it was sent.
    fn deliver(&self, ready: Ready, alone: bool) -> Option<Sent> {
        let Ready { item, path, source } = ready;
        self.begun.fetch_add(item.content.size, Ordering::Relaxed);
        let send = |file: &File| self.remote().send(file, &path, self.compares());
        let sent = match send(source.file()) {
            // A file is where a directory has to be. Storage without directories has nothing in the way.
            Err(RcError::Refused(reason)) if in_the_way(&reason) => self.clear_above(&path).and_then(|()| send(source.file())),
            // It was stored, and did not show at once. By now it does, and stays; or it is sent again.
            Err(RcError::NotFound(_)) => send(source.file()),
            sent => sent,
        };
        match sent {
            Ok(()) => {
                if alone {
                    lock(&self.listed).sent(&path);
                }
                self.sink.stored(&item);
                Some(Sent { item, path })
            }
            Err(RcError::Refused(reason)) if too_long(&reason) => self.excluded(item, "its name is too long there".into()),
            Err(error) => match self.drift_of(&item) {
                Some(drift) => self.drifted(item, drift),
                None => self.refused(item, &error),
            },
        }
    }

    /// Whether rclone is to compare hashes of what it sent: not where the far side is asked for one afterwards, and not where everything is
    /// read from the device.
    fn compares(&self) -> bool {
        !self.terms.looker.way.hashes_there() && self.remote().features.local.is_none()
    }

    /// Whether this place may be used: by its name, and by whom it belongs to.
    fn accepts(&self, item: &PlanItem, path: &str) -> Result<Result<(), String>, RcError> {
        let features = &self.remote().features;
        if let Err(reason) = storable(path.as_bytes(), features) {
            return Ok(Err(reason));
        }
        if let (Source::File(file), Some((volume, _))) = (&item.source, path.split_once('/'))
            && volume == file.volume.name()
        {
            self.own(volume)?;
        }
        Ok(Ok(()))
    }

    /// Whether a part of this path would be one with another name there. Whoever may be is sent alone.
    fn clash(&self, path: &str) -> Result<Option<String>, RcError> {
        let doubtful = lock(&self.listed).doubtful(path);
        let Some((part, other)) = doubtful else { return Ok(None) };
        Ok(self.remote().stat(&part)?.map(|_| format!("it would be one with `{other}` there, where the two names are the same")))
    }

    /// Makes a volume's part ours, or finds that it is; another volume's is never touched.
    fn own(&self, volume: &str) -> Result<(), RcError> {
        let mut owned = lock(&self.owned);
        if owned.contains(volume) {
            return Ok(());
        }
        let expected = Owner { format: FORMAT, volume: self.terms.place.volume.to_string() };
        let path = owner(volume);
        let found = match self.remote().read_small(&path)? {
            Some(bytes) => Owner::parse(&bytes),
            None => {
                let mut bytes = serde_json::to_vec(&expected).map_err(|error| RcError::Refused(error.to_string()))?;
                bytes.push(b'\n');
                self.remote().put_small(&path, &bytes, false).map_err(|error| RcError::Refused(error.to_string()))?;
                Some(expected.clone())
            }
        };
        if found.as_ref() == Some(&expected) {
            owned.insert(volume.to_owned());
            return Ok(());
        }
        let reason = match found {
            Some(other) => format!("`{volume}` there belongs to another volume, {}", other.volume),
            None => format!("{path} there is damaged: it does not say whose `{volume}` is"),
        };
        let address = self.remote().fs.clone();
        self.end(DestinationError::Occupied { address, reason: format!("{reason}; give this volume another name or place") });
        Err(RcError::Refused("it is another volume's".into()))
    }

    /// Looks at what is at the place already. The right bytes are proven where they are; anything else goes to the history.
    fn clear(&self, item: &PlanItem, path: &str) -> Result<Clearing, RcError> {
        let there = lock(&self.listed).at(path).cloned();
        let Some(there) = there else { return Ok(Clearing::Free) };
        if there.is_dir || there.size != item.content.size {
            self.set_aside(&there)?;
            return Ok(Clearing::Free);
        }
        // An earlier push may have sent it, and been stopped before it was durable.
        let durable = self.old_is_durable.get_or_init(|| self.remote().settle().map_err(|error| error.to_string()));
        durable.clone().map_err(RcError::Refused)?;
        match self.look(item.content, path, Against::Source(&item.source)) {
            Ok(Look::Proven(proven)) => {
                self.context.progress.advance(1, item.content.size);
                self.sink.proven(item.clone(), Location(path.into()), proven);
                Ok(Clearing::Answered)
            }
            Ok(_) => {
                self.set_aside(&there)?;
                Ok(Clearing::Free)
            }
            Err(Blind::NoWay) => {
                self.sink.failed(item.clone(), self.no_way());
                Ok(Clearing::Answered)
            }
            Err(Blind::Rc(error)) => Err(error),
            Err(Blind::Io(error)) => Err(RcError::Refused(error.to_string())),
        }
    }

    /// Moves a file out of the way of a directory.
    fn clear_above(&self, path: &str) -> Result<(), RcError> {
        for (end, _) in path.match_indices('/') {
            if let Some(there) = self.remote().stat(&path[..end])?
                && !there.is_dir
            {
                return self.set_aside(&there);
            }
        }
        Ok(())
    }

    /// Moves what is in the way to the history, with the receipts that count on it.
    fn set_aside(&self, there: &Entry) -> Result<(), RcError> {
        let _one_at_a_time = lock(&self.moving);
        if !there.is_dir {
            return self.set_file_aside(&there.path);
        }
        let mut files = Vec::new();
        self.remote().walk(&there.path, false, &|_| false, &mut |entry| {
            files.push(entry.path);
            Ok(())
        })?;
        files.iter().try_for_each(|path| self.set_file_aside(path))?;
        self.remote().remove_empty(&there.path)
    }

    fn set_file_aside(&self, path: &str) -> Result<(), RcError> {
        let remote = self.remote();
        let to = self.place_in_history(path)?;
        if let Some(root) = &remote.features.local {
            // rclone follows links, and moves between file systems by copying and removing.
            open_local(remote, path, Mounts::Stay).map_err(|error| RcError::Refused(format!("{path}: {error}")))?;
            make_above(root, &to).map_err(|error| RcError::Refused(format!("{to}: {error}")))?;
        }
        let (from, at) = (Location(path.into()), Location(to.clone().into()));
        let counting = self.sink.moving(&from, &at).map_err(|error| RcError::Refused(error.to_string()))?;
        // Where a move is a copy and a removal, the removal waits for the proof.
        let by_copy = !remote.features.moves && !counting.is_empty();
        let moved = if by_copy { remote.duplicate(path, &to) } else { remote.rename(path, &to) };
        match moved {
            // Somebody else was faster: it is in nobody's way.
            Err(RcError::NotFound(_)) if !by_copy => {}
            moved => moved?,
        }
        remote.settle().map_err(|error| RcError::Refused(error.to_string()))?;
        let mut all_told = true;
        for item in counting {
            let found = match self.look(item.content, &to, Against::Receipt(item.fingerprint)) {
                Ok(Look::Proven(proven)) => Ok(proven),
                // Of a copy that is not what it should be, the original is if the copying went wrong. Then it stays.
                Ok(Look::Other(detail)) if !by_copy || self.is_other(item.content, path) => {
                    Err(Missed::Other(format!("when it was replaced there: {detail}")))
                }
                Ok(Look::Absent | Look::Seen) if !by_copy => Err(Missed::Nothing),
                // What cannot be told now is not proven: the next verify looks again, at both places.
                _ => {
                    all_told = false;
                    continue;
                }
            };
            self.sink.moved(item, &from, found);
        }
        if !by_copy {
            return Ok(());
        }
        if all_told {
            remote.remove_moved(path)
        } else {
            Err(RcError::Refused(format!("{path} could not be moved to the history")))
        }
    }

    /// Where nothing is: one push may replace what is at a path twice, once what it found there and once what it sent itself.
    fn place_in_history(&self, path: &str) -> Result<String, RcError> {
        let mut to = self.history.of(path);
        while self.remote().stat(&to)?.is_some() {
            to = History::new().map_err(|error| RcError::Refused(error.to_string()))?.of(path);
        }
        Ok(to)
    }

    /// Whether something else than this content surely is there: its bytes tell, whatever proved them.
    fn is_other(&self, content: Content, path: &str) -> bool {
        matches!(self.look(content, path, Against::Receipt(None)), Ok(Look::Other(_)))
    }

    fn look(&self, content: Content, path: &str, against: Against<'_>) -> Result<Look, Blind> {
        let mut buffer = HashBuffer::new();
        self.terms.looker.bytes(content, path, against, &mut buffer, &News(&self.ended))
    }

    fn prove_groups(&self, groups: &Receiver<Vec<Sent>>) {
        for group in groups {
            if self.is_over() {
                return;
            }
            if let Err(error) = self.remote().settle() {
                return self.end(error);
            }
            each(group, self.terms.transfers, |sent| if self.is_over() { None } else { self.waited(|| self.prove(sent)) });
        }
    }

    fn prove(&self, Sent { item, path }: Sent) -> Option<()> {
        let look = || self.look(item.content, &path, Against::Source(&item.source));
        // A connection that broke says nothing of what is there.
        let looked = look().or_else(|blind| if matches!(blind, Blind::Io(_)) && !self.is_over() { look() } else { Err(blind) });
        let detail = match looked {
            Ok(Look::Proven(proven)) => {
                self.context.progress.advance(1, 0);
                self.sink.proven(item, Location(path.into()), proven);
                return None;
            }
            Ok(Look::Absent | Look::Seen) => "it is not there after it was sent".into(),
            Ok(Look::Other(detail)) => {
                // Nothing stays under a name that says something else.
                let wrong = Entry { name: String::new(), path, size: 0, is_dir: false, hash: String::new() };
                match self.set_aside(&wrong) {
                    Ok(()) => detail,
                    Err(error) => format!("{detail}; and it could not be moved away: {error}"),
                }
            }
            Err(Blind::NoWay) => self.no_way(),
            Err(Blind::Rc(error)) => return self.refused(item, &error),
            Err(Blind::Io(error)) => error.to_string(),
        };
        match self.drift_of(&item) {
            Some(drift) => self.drifted(item, drift),
            None => {
                self.sink.failed(item, detail);
                None
            }
        }
    }

    fn no_way(&self) -> String {
        format!("it was stored, and nothing there proves it: {}", self.terms.why)
    }

    /// What became of the source, if it is not what it should be any more.
    fn drift_of(&self, item: &PlanItem) -> Option<Drift> {
        match item.source.open(item.content) {
            Ok(source) => Sending::finish(source).ok()?.err(),
            Err(OpenError::Drift(drift)) => Some(drift),
            Err(OpenError::Unreadable(_)) => None,
        }
    }

    fn drifted<R>(&self, item: PlanItem, drift: Drift) -> Option<R> {
        self.sink.drift(item, drift);
        None
    }

    fn excluded<R>(&self, item: PlanItem, reason: String) -> Option<R> {
        self.sink.excluded(item, reason);
        None
    }

    /// rclone does not do it: the end of everything, or of this file.
    fn refused<R>(&self, item: PlanItem, error: &RcError) -> Option<R> {
        if self.context.cancel.is_cancelled() {
            self.end(cancelled());
        } else if let Some(fatal) = self.remote().fatal(error) {
            self.end(fatal);
        } else {
            self.sink.failed(item, error.to_string());
        }
        None
    }
}

/// Bytes that are read, here or there, are news: of a large file they come for longer than anybody waits for a silent rclone. Whoever
/// counts what was sent is not told.
struct News<'a>(&'a AtomicU64);

impl Progress for News<'_> {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}

    fn advance(&self, _files: u64, _bytes: u64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn note(&self, _line: &str) {}
}

/// Whether a file may be sent to its place.
enum Clearing {
    Free,
    /// It has its answer already.
    Answered,
}

/// Where an item goes.
fn target(item: &PlanItem) -> Result<String, String> {
    if item.location == Location::default() {
        return Ok(content_path(item.content.hash));
    }
    if std::str::from_utf8(&item.location.0).is_err() {
        return Err("rclone stores only names in UTF-8; this one is not".into());
    }
    path_of(&item.location).map(str::to_owned)
}

/// The directory above a path of a mirror in a directory of this machine, on the same file system, and behind no link.
fn make_above(root: &Path, path: &str) -> io::Result<()> {
    let Some((above, _)) = path.rsplit_once('/') else { return Ok(()) };
    let above = RelPath::new(above.as_bytes()).map_err(io::Error::other)?;
    Dir::open(root)?.create_dir_all(&above, 0o777, &mut Dir::sync).map(drop)
}
