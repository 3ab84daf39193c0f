//! The little world of one history: a directory with volumes, destinations and an index, all real, on a file system in memory.

use crate::error::{Broken, Result, at};
use crate::ledger::{Asked, Ledger, Offloaded, Offloading, Step};
use crate::look;
use crate::moments::Moments;
use crate::op::Op;
use crate::policy::Spec;
use crate::way::Armed;
use crate::word::{Dest, Moment, Terms, Vol};
use lastcopy_store::{Clock, NewEpoch, Run, Store, StoreOptions, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// When every history begins.
const BEGINNING: i64 = 1_700_000_000_000;
/// What the clock moves by itself between two operations.
const BETWEEN: i64 = 1000;

/// A world, and the oracle that watches it.
pub struct World {
    /// The directory that everything is in.
    pub(crate) base: PathBuf,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) moments: Arc<Moments>,
    pub(crate) clock: Arc<AtomicI64>,
    store: Mutex<Option<Store>>,
    state: Mutex<State>,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A file that a person has open for writing.
pub(crate) struct Writer {
    pub(crate) file: File,
    pub(crate) owed: Option<u64>,
}

/// What goes with one copy of an index: the oracle's own memory of what a person accepted in it. It is never read from the index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accepted {
    /// The offload policy of each volume.
    pub(crate) policies: BTreeMap<Vol, Spec>,
    /// Who each destination is: the id in the marker of the repository that a person made or adopted there.
    pub(crate) destinations: BTreeMap<Dest, String>,
    /// What was offloaded with it, or before it was copied: of what another copy of it offloaded, it knows nothing.
    pub(crate) offloaded: BTreeSet<Offloaded>,
}

/// Which index a history goes on with: the one that it began with, or another one, from the one that forgets least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Index {
    /// The one that it began with.
    First,
    /// One that was recovered from a destination.
    Recovered,
    /// A backup, or another machine's, at some time.
    PutBack,
}

/// Everything that changes.
pub(crate) struct State {
    pub(crate) terms: BTreeMap<Vol, Terms>,
    pub(crate) accepted: Accepted,
    /// Which disk a destination's address leads to.
    pub(crate) places: BTreeMap<Dest, Dest>,
    /// Where a disk's directory really is.
    pub(crate) real: BTreeMap<Dest, PathBuf>,
    pub(crate) armed: BTreeMap<Dest, Arc<Armed>>,
    pub(crate) ledger: Ledger,
    pub(crate) step: Step,
    pub(crate) reached: BTreeMap<&'static str, u64>,
    pub(crate) crashed: bool,
    /// The process was killed in this step.
    pub(crate) killed: bool,
    pub(crate) violation: Option<String>,
    /// What a person's program waits for until the tool lets go of a file.
    pub(crate) waiting: Vec<Op>,
    pub(crate) writer: Option<Writer>,
    pub(crate) open_run: Option<Run<lastcopy_store::Index>>,
    pub(crate) backup: Option<Accepted>,
    pub(crate) clone: Option<Accepted>,
    pub(crate) lives: u32,
    /// Which index it is.
    pub(crate) index: Index,
    pub(crate) outside: look::Fingerprint,
}

impl State {
    /// Counts a situation.
    pub(crate) fn reach(&mut self, situation: &'static str) {
        *self.reached.entry(situation).or_insert(0) += 1;
    }

    fn new(base: &Path) -> Result<Self> {
        let live = base.join("live");
        Ok(Self {
            terms: Vol::ALL.iter().map(|volume| (*volume, Terms::Both)).collect(),
            accepted: Accepted::default(),
            places: Dest::ALL.iter().map(|dest| (*dest, *dest)).collect(),
            real: Dest::ALL.iter().map(|disk| (*disk, live.join("places").join(disk.name()))).collect(),
            armed: Dest::ALL.iter().map(|disk| (*disk, Arc::default())).collect(),
            ledger: Ledger::default(),
            step: Step::default(),
            reached: BTreeMap::new(),
            crashed: false,
            killed: false,
            violation: None,
            waiting: Vec::new(),
            writer: None,
            open_run: None,
            backup: None,
            clone: None,
            lives: 0,
            index: Index::First,
            outside: look::fingerprint(&base.join("outside"))?,
        })
    }

    /// The first one is the finding; what follows from it is none.
    pub(crate) fn violated(&mut self, what: impl Into<String>) {
        if !self.crashed && self.violation.is_none() {
            self.violation = Some(what.into());
        }
    }
}

impl World {
    /// A world in a directory of its own, where nothing has happened yet.
    pub fn new(base: &Path, runtime: tokio::runtime::Handle) -> Result<Arc<Self>> {
        let outside = base.join("outside");
        for path in ["one.jpg", "two.jpg", "a.txt", "deep/three.jpg"] {
            let path = outside.join(path);
            fs::create_dir_all(path.parent().unwrap_or(&outside)).map_err(at(&outside))?;
            // The same bytes as in the volumes: a link that is followed finds what it looks for.
            fs::write(&path, look::content(1)).map_err(at(&path))?;
        }
        let state = State::new(base)?;
        let world = Arc::new(Self {
            base: base.to_owned(),
            runtime,
            moments: Arc::default(),
            clock: Arc::new(AtomicI64::new(BEGINNING)),
            store: Mutex::new(None),
            state: Mutex::new(state),
        });
        world.moments.belongs_to(Arc::downgrade(&world));
        world.make_template()?;
        Ok(world)
    }

    /// Two volumes and three destinations, empty; set aside to begin each history with.
    fn make_template(self: &Arc<Self>) -> Result<()> {
        for volume in Vol::ALL {
            let root = self.root(*volume);
            fs::create_dir_all(&root).map_err(at(&root))?;
        }
        for area in ["places", "unplugged", "state"] {
            let area = self.live().join(area);
            fs::create_dir_all(&area).map_err(at(&area))?;
        }
        self.open()?;
        self.set_up()?;
        self.close();
        let template = self.base.join("template");
        copy_tree(&self.live(), &template)
    }

    /// As it was in the beginning.
    pub fn reset(&self) -> Result<()> {
        self.close();
        for area in ["live", "next", "saved", "elsewhere"] {
            remove_tree(&self.base.join(area))?;
        }
        copy_tree(&self.base.join("template"), &self.live())?;
        self.clock.store(BEGINNING, Ordering::SeqCst);
        *self.state() = State::new(&self.base)?;
        self.open()?;
        self.look_at_disks()?;
        // Each disk carries what the set-up made there.
        let mut state = self.state();
        let made = Dest::ALL.iter().filter_map(|dest| Some((*dest, look::marker(&state.real[dest])?))).collect();
        state.accepted.destinations = made;
        Ok(())
    }

    pub(crate) fn live(&self) -> PathBuf {
        self.base.join("live")
    }

    /// Where a volume is.
    pub(crate) fn root(&self, volume: Vol) -> PathBuf {
        self.live().join("volumes").join(volume.name())
    }

    /// Where the configuration says that a destination is.
    pub(crate) fn address(&self, dest: Dest) -> PathBuf {
        let disk = self.state().places.get(&dest).copied().unwrap_or(dest);
        self.live().join("places").join(disk.name())
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.live().join("state")
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index.
    pub(crate) fn store(&self) -> Result<Store> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).clone();
        store.ok_or_else(|| Broken::Other("the index is not open".into()))
    }

    pub(crate) fn store_options(&self) -> StoreOptions {
        let (time, moments) = (self.clock.clone(), self.moments.clone());
        let clock: Clock = Arc::new(move || {
            moments.at(Moment::Clock);
            Timestamp(time.load(Ordering::SeqCst))
        });
        StoreOptions { path: self.state_dir().join("index.db"), node_name: "desk".into(), clock, create: true }
    }

    /// Opens the index, as the tool does when it begins.
    pub(crate) fn open(&self) -> Result<()> {
        let (store, news) = Store::open(self.store_options())?;
        let news = match news {
            Some(news) => Some(news),
            None => store.heed_volumes()?,
        };
        self.put_store(store);
        self.tell_news(news.as_ref());
        Ok(())
    }

    pub(crate) fn put_store(&self, store: Store) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    pub(crate) fn tell_news(&self, news: Option<&NewEpoch>) {
        if let Some(news) = news {
            self.reach("a new epoch began");
            let reasons = [
                ("was put back without", "an index without what lies beside it was noticed"),
                ("the file beside it", "the file beside the index contradicted it"),
                ("volume `", "a volume contradicted the index"),
                ("holds a push of another life", "a head of another life was noticed"),
                ("was restored from a copy", "an index was restored"),
                ("another life of this index", "another life of the index was noticed"),
            ];
            reasons.iter().filter(|(reason, _)| news.reason.contains(reason)).for_each(|(_, what)| self.reach(what));
        }
    }

    /// Ends the tool: no run goes on, no file of the index is open.
    pub(crate) fn close(&self) {
        let run = self.state().open_run.take();
        drop(run);
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(store);
    }

    /// A situation was reached.
    pub(crate) fn reach(&self, what: &'static str) {
        let mut state = self.state();
        if !state.crashed {
            state.reach(what);
        }
    }

    /// A destination was asked at the moment of deletion.
    pub(crate) fn asked(&self, asked: Asked) {
        let mut state = self.state();
        if !state.crashed {
            state.step.asked.push(asked);
        }
    }

    /// An offload begins.
    pub(crate) fn offload_begins(&self, offloading: Offloading) {
        let mut state = self.state();
        if !state.crashed {
            state.step.offloads.push(offloading);
        }
    }

    /// Time goes on, and nothing was done yet.
    pub(crate) fn begin_step(&self) {
        let now_ms = self.clock.fetch_add(BETWEEN, Ordering::SeqCst) + BETWEEN;
        let mut state = self.state();
        state.ledger.latest_ms = state.ledger.latest_ms.max(now_ms);
        state.ledger.tick += 1;
        state.killed = false;
        state.step = Step { tick: state.ledger.tick, now_ms, ..Step::default() };
    }

    /// Whom a person told the tool in this step to take for a destination is whom the index names now. Nothing else changes who that is.
    pub(crate) fn accept_what_was_told(&self) -> Result<()> {
        if self.state().step.accepting.is_empty() {
            return Ok(());
        }
        let records = self.store()?.destinations()?;
        let mut state = self.state();
        if state.crashed {
            return Ok(());
        }
        for dest in state.step.accepting.clone() {
            let record = records.iter().find(|record| record.name == dest.name());
            state.accepted.destinations.remove(&dest);
            if let Some(incarnation) = record.and_then(|record| record.incarnation.as_ref()) {
                // A repository has one name: where a person gives it another one, the old one stands for nobody.
                state.accepted.destinations.retain(|_, accepted| accepted != incarnation.as_str());
                state.accepted.destinations.insert(dest, incarnation.as_str().to_owned());
            }
        }
        Ok(())
    }

    /// Does one operation, with what is to happen within it, and lets the oracle look. Gives what it found, if anything.
    pub fn step(self: &Arc<Self>, op: &Op, within: Vec<(Moment, u16, Op)>) -> Result<Option<String>> {
        self.begin_step();
        if op.is_command() {
            self.moments.begin(within);
            let done = self.perform(op);
            self.moments.end();
            done?;
        } else {
            self.perform(op)?;
        }
        if self.state().crashed {
            self.begin_again_after_crash()?;
        }
        if op.needs_index() {
            self.accept_what_was_told()?;
        }
        let waiting = std::mem::take(&mut self.state().waiting);
        for op in waiting {
            self.edit(&op)?;
        }
        // Between two commands nobody but people and disks does anything.
        if op.needs_index() {
            self.judge(true)?;
        }
        Ok(self.state().violation.clone())
    }

    /// Something happens within a command.
    pub(crate) fn within(self: &Arc<Self>, op: &Op, moment: Moment) {
        if self.state().crashed {
            return;
        }
        let as_a_whole = matches!(
            op,
            Op::RestoreIndex
                | Op::PutIndexBack { .. }
                | Op::Clone
                | Op::Switch
                | Op::Recover { .. }
                | Op::Restart
                | Op::RestoreTo { .. }
        );
        if as_a_whole || moment == Moment::Clock && op.needs_index() {
            // The command has the index open; and while it has a transaction open, nobody else could write.
            return;
        }
        self.reach("something happened within a command");
        let done = match op {
            Op::Crash => self.crash(),
            op => self.perform(op).and_then(|()| self.judge(false)),
        };
        if let Err(broken) = done {
            self.state().violated(format!("within a command, `{op}` could not be done: {broken}"));
        }
    }

    fn perform(self: &Arc<Self>, op: &Op) -> Result<()> {
        if matches!(op, Op::Sync { .. } | Op::Verify { .. } | Op::Repair { .. } | Op::Recover { .. }) {
            self.state().step.proves = true;
        }
        if op.needs_index() {
            self.command(op)
        } else if self.befall(op)? {
            Ok(())
        } else {
            self.edit(op)
        }
    }

    /// The process is killed now: from a copy of everything as it is, the world goes on later; what the process still does is not real.
    fn crash(&self) -> Result<()> {
        // A recovery that has not made its index yet has nothing to leave behind.
        let Ok(store) = self.store() else { return Ok(()) };
        let next = self.base.join("next");
        remove_tree(&next)?;
        let state = next.join("state");
        fs::create_dir_all(&state).map_err(at(&state))?;
        // The index first: it must not know of what was done only after the rest was copied.
        store.backup(&state.join("index.db"))?;
        let own = self.state_dir();
        for entry in fs::read_dir(&own).map_err(at(&own))? {
            let entry = entry.map_err(at(&own))?;
            let name = entry.file_name();
            let text = name.as_encoded_bytes();
            if text.ends_with(b".newest-run") {
                fs::copy(entry.path(), state.join(&name)).map_err(at(&own))?;
            } else if text.ends_with(b".runs") {
                copy_tree(&entry.path(), &state.join(&name))?;
            }
        }
        self.moments.end();
        self.reach("the process was killed");
        // Nobody edits meanwhile: what a person did is either in the copy or never happened.
        let mut state = self.state();
        for area in ["volumes", "places", "unplugged"] {
            link_tree(&self.live().join(area), &next.join(area))?;
        }
        state.crashed = true;
        Ok(())
    }

    fn begin_again_after_crash(&self) -> Result<()> {
        self.close();
        let live = self.live();
        remove_tree(&live)?;
        fs::rename(self.base.join("next"), &live).map_err(at(&live))?;
        let mut state = self.state();
        (state.crashed, state.killed) = (false, true);
        drop(state);
        self.open()
    }

    /// Looks at every disk, for the first time.
    pub(crate) fn look_at_disks(&self) -> Result<()> {
        for disk in Dest::ALL {
            let mut state = self.state();
            let real = state.real[disk].clone();
            let (marker, objects) = (look::marker(&real), look::objects(&real)?);
            state.ledger.befell(*disk, marker.as_deref(), &objects);
        }
        Ok(())
    }

    /// How often each situation was reached.
    pub fn reached(&self) -> BTreeMap<&'static str, u64> {
        self.state().reached.clone()
    }

    /// The offload policy that is configured for a volume.
    pub(crate) fn terms(&self, volume: Vol) -> Terms {
        self.state().terms.get(&volume).copied().unwrap_or(Terms::Nothing)
    }

    /// What it means.
    pub(crate) fn spec(&self, volume: Vol) -> Option<Spec> {
        self.terms(volume).spec()
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// How the files of a tree get to another place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Copy,
    Link,
}

/// Copies a tree with its times and modes.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    transfer(from, to, Way::Copy)
}

/// A second tree with the same files, for one that will be removed. What may still be written is copied.
pub(crate) fn link_tree(from: &Path, to: &Path) -> Result<()> {
    transfer(from, to, Way::Link)
}

fn transfer(from: &Path, to: &Path, way: Way) -> Result<()> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            let way = if entry.file_name() == "incoming" { Way::Copy } else { way };
            transfer(&path, &target, way)?;
        } else if kind.is_symlink() {
            let leads = fs::read_link(&path).map_err(at(&path))?;
            std::os::unix::fs::symlink(leads, &target).map_err(at(&target))?;
        } else {
            // Another thread may have moved it on a moment ago: then it is where that moved it.
            match if way == Way::Link { fs::hard_link(&path, &target) } else { copy_file(&path, &target) } {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                done => done.map_err(at(&path))?,
            }
        }
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::copy(from, to)?;
    let times = fs::FileTimes::new().set_modified(fs::metadata(from)?.modified()?);
    File::open(to)?.set_times(times)
}

/// All names of destinations that some of these stand for.
pub(crate) fn names_of(dests: &[Dest]) -> BTreeSet<&'static str> {
    dests.iter().map(|dest| dest.name()).collect()
}
