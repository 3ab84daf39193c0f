//! A volume of real files, an index of them, and destinations that answer as they are told to.

use lastcopy_fs::{Cancel, Content, FileStat, HashBuffer, NoProgress, Progress, RelPath, hash_bytes};
use lastcopy_offload::{Confirm, Counts, FileOutcome, FileReport, OffloadError, Offloading, Plan, PlanOptions, Verdict, plan};
use lastcopy_store::{
    Clock, Confirm as Depth, DestinationId, DestinationKind, DestinationRecord, FileId, FileRecord, FileStatus, Incarnation, Index,
    Location, Observation, Offload, Outcome, Policy, Proof, ProvenAt, ReadBack, Restore, Run, RunId, Seen, Selection, Store,
    StoreOptions, Timestamp, Volume, VolumeClaim,
};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// A node with one volume, whose policy requires two destinations.
pub(crate) struct World {
    pub(crate) temp: TempDir,
    time: Arc<AtomicI64>,
    pub(crate) store: Store,
    pub(crate) destinations: Vec<DestinationRecord>,
    pub(crate) policy: Policy,
}

impl World {
    /// With these files, indexed and held everywhere.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let temp = home();
        let time = Arc::new(AtomicI64::new(1_700_000_000_000));
        let told = time.clone();
        let clock: Clock = Arc::new(move || Timestamp(told.load(Ordering::SeqCst)));
        let options = StoreOptions { path: temp.path().join("state/index.db"), node_name: "desk".into(), clock, create: true };
        let (store, _) = Store::open(options).unwrap();
        fs::create_dir(temp.path().join("photos")).unwrap();
        let (_, run) = store.add_volume("photos", &temp.path().join("photos"), VolumeClaim::default()).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        let destinations: Vec<_> = ["vault", "cloud"].map(|name| destination(&store, name)).into();
        let policy = Policy::requiring(destinations.iter().map(|record| record.id).collect(), 1_000_000, Depth::Quick);
        let world = Self { temp, time, store, destinations, policy };
        for (path, text) in files {
            world.write(path, text);
        }
        world.index();
        world.push();
        world
    }

    pub(crate) fn with_grace(mut self, milliseconds: i64) -> Self {
        self.policy.grace_ms = milliseconds;
        self
    }

    pub(crate) fn pass(&self, milliseconds: i64) {
        self.time.fetch_add(milliseconds, Ordering::SeqCst);
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("photos")
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn volume(&self) -> Volume {
        self.store.open_volume("photos", &self.root(), Some(self.policy.clone())).unwrap()
    }

    /// Records every regular file that lies in the volume, as an index run would.
    pub(crate) fn index(&self) -> RunId {
        let volume = self.volume();
        let run = self.store.begin_index(&volume).unwrap();
        let observations: Vec<_> = tree(&self.root())
            .into_iter()
            .filter_map(|(path, entry)| {
                let Entry::File(text) = entry else { return None };
                let path = RelPath::new(path.into_bytes()).unwrap();
                let stat = volume.root().stat(&path).unwrap().unwrap();
                let (directory, name) = path.split().unwrap();
                Some(Observation { directory, name: name.to_vec(), seen: seen(&stat), content: hash_bytes(text.as_bytes()) })
            })
            .collect();
        run.observe(&observations).unwrap();
        let id = run.id();
        run.finish(&Outcome::Success, None).unwrap();
        id
    }

    /// Proves that every destination holds everything.
    pub(crate) fn push(&self) {
        for record in &self.destinations {
            let (run, snapshot) = self.store.begin_sync(&self.volume(), record).unwrap();
            let probed = run.probed(record.id, record.incarnation.as_ref()).unwrap();
            for lacking in snapshot.lacking(&probed, &lastcopy_store::Layout::ByContent, None, usize::MAX).unwrap() {
                let file = fs::File::open(self.root().join(lacking.file.path.as_path())).unwrap();
                let proof: Proof<ReadBack> =
                    Proof::read_file(lacking.content, &file, &mut HashBuffer::new(), &Cancel::new(), &NoProgress).unwrap();
                let at =
                    ProvenAt { content: lacking.content_id, location: Location::default(), proven: proof.into(), at: run.now() };
                run.record(&probed, &[at]).unwrap();
            }
            let claim = snapshot.claim(probed).unwrap();
            run.finish_sync(claim, None, &Outcome::Success, |_| String::new()).unwrap();
        }
    }

    pub(crate) fn record(&self, path: &str) -> FileRecord {
        self.store.file_at(self.volume().id(), &rel(path)).unwrap().unwrap()
    }

    pub(crate) fn status(&self, path: &str) -> FileStatus {
        self.record(path).status
    }

    /// Plans everything, without a word about what is stopped.
    pub(crate) fn plan(&self) -> Plan {
        self.plan_with(&PlanOptions { selection: everything(), free: None }).0
    }

    pub(crate) fn plan_with(&self, options: &PlanOptions) -> (Plan, Vec<FileReport>) {
        let mut stopped = Vec::new();
        let plan = plan(&self.store, &self.volume(), &self.policy, options, &mut |report| stopped.push(report)).unwrap();
        (plan, stopped)
    }

    pub(crate) fn begin(&self) -> Run<Offload> {
        self.store.begin_offload(&self.volume()).unwrap()
    }

    pub(crate) fn begin_restore(&self) -> Run<Restore> {
        self.store.begin_restore(Some(&self.volume())).unwrap()
    }

    pub(crate) fn begin_index(&self) -> Run<Index> {
        self.store.begin_index(&self.volume()).unwrap()
    }

    /// Offloads everything, with destinations that hold everything.
    pub(crate) fn offload(&self) -> Done {
        self.offload_with(&Answers::holding())
    }

    pub(crate) fn offload_with(&self, confirm: &Answers<'_>) -> Done {
        self.offload_under(confirm, &Circumstances::default())
    }

    pub(crate) fn offload_under(&self, confirm: &Answers<'_>, circumstances: &Circumstances) -> Done {
        let plan = self.plan();
        self.apply(&plan, confirm, circumstances)
    }

    pub(crate) fn apply(&self, plan: &Plan, confirm: &Answers<'_>, circumstances: &Circumstances) -> Done {
        let run = self.begin();
        let id = run.id();
        let mut reports = Vec::new();
        let result =
            self.offloading(confirm, circumstances, |offloading| offloading.apply(&run, plan, &mut |report| reports.push(report)));
        run.finish(&Outcome::Success, None).unwrap();
        Done { run: id, reports, result }
    }

    /// Goes on with what lies aside and whose grace is over.
    pub(crate) fn finish_held(&self, confirm: &Answers<'_>) -> Done {
        let run = self.begin();
        let id = run.id();
        let mut reports = Vec::new();
        let result = self.offloading(confirm, &Circumstances::default(), |offloading| {
            offloading.finish_held(&run, &mut |report| reports.push(report))
        });
        run.finish(&Outcome::Success, None).unwrap();
        Done { run: id, reports, result }
    }

    pub(crate) fn offloading<T>(
        &self,
        confirm: &Answers<'_>,
        circumstances: &Circumstances,
        work: impl FnOnce(&Offloading<'_>) -> T,
    ) -> T {
        let volume = self.volume();
        work(&Offloading {
            volume: &volume,
            policy: &self.policy,
            depth: circumstances.depth.unwrap_or(self.policy.confirm),
            confirm,
            needed: &circumstances.needed,
            cancel: &circumstances.cancel,
            progress: circumstances.progress.as_ref(),
        })
    }

    /// Where a file is while it is aside of a run.
    pub(crate) fn aside(&self, run: RunId, path: &str) -> PathBuf {
        self.path(&format!(".lastcopy/offload/{run}/{path}"))
    }

    pub(crate) fn kept(&self, run: RunId, path: &str) -> PathBuf {
        self.path(&format!(".lastcopy/kept/{run}/{path}"))
    }

    /// Nothing lies aside any more, not even an empty directory.
    #[track_caller]
    pub(crate) fn assert_nothing_aside(&self) {
        let area = self.path(".lastcopy/offload");
        let left: Vec<_> = fs::read_dir(area).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, Vec::<PathBuf>::new());
        assert_eq!(self.store.open_intents(self.volume().id()).unwrap(), []);
        assert_eq!(self.store.check().unwrap(), Vec::<String>::new());
    }
}

/// In memory where the system offers that: a file system that every machine has, with the guarantees that removal needs.
fn home() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn destination(store: &Store, name: &str) -> DestinationRecord {
    let record = store.register_destination(name, DestinationKind::Cas).unwrap();
    let run = store.begin_evidence_change(Some(record.id), None).unwrap();
    run.initialised(record.id, &Incarnation::new(name)).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    store.destination(record.id).unwrap()
}

pub(crate) fn seen(stat: &FileStat) -> Seen {
    Seen { size: stat.size, mtime_ns: stat.mtime_ns, ctime_ns: stat.ctime_ns, inode: stat.inode, mode: stat.mode, racy: false }
}

pub(crate) fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

pub(crate) fn everything() -> Selection {
    Selection { below: vec![RelPath::root()], ..Selection::default() }
}

/// How an offload is carried out, where that matters.
pub(crate) struct Circumstances {
    pub(crate) depth: Option<Depth>,
    pub(crate) needed: HashSet<(u64, u64)>,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Box<dyn Progress>,
}

impl Default for Circumstances {
    fn default() -> Self {
        Self { depth: None, needed: HashSet::new(), cancel: Cancel::new(), progress: Box::new(NoProgress) }
    }
}

impl Circumstances {
    /// Something that happens once, when so many bytes have been hashed.
    pub(crate) fn when_hashed(bytes: u64, happens: impl FnOnce() + Send + 'static) -> Self {
        let progress = Happening { left: Mutex::new((bytes, Some(Box::new(happens)))) };
        Self { progress: Box::new(progress), ..Self::default() }
    }
}

type Event = Box<dyn FnOnce() + Send>;

struct Happening {
    left: Mutex<(u64, Option<Event>)>,
}

impl Progress for Happening {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}

    fn advance(&self, _files: u64, bytes: u64) {
        let mut left = self.left.lock().unwrap();
        left.0 = left.0.saturating_sub(bytes);
        if left.0 == 0
            && let Some(happens) = left.1.take()
        {
            happens();
        }
    }

    fn note(&self, _line: &str) {}
}

type Answer<'a> = dyn Fn(DestinationId, &[(FileId, Content)]) -> Result<Vec<Verdict>, OffloadError> + 'a;

/// Destinations, as far as an offload asks them.
pub(crate) struct Answers<'a> {
    answer: Box<Answer<'a>>,
    /// Who was asked, how deep.
    pub(crate) asked: RefCell<Vec<(DestinationId, Depth)>>,
}

impl<'a> Answers<'a> {
    pub(crate) fn by(answer: impl Fn(DestinationId, &[(FileId, Content)]) -> Result<Vec<Verdict>, OffloadError> + 'a) -> Self {
        Self { answer: Box::new(answer), asked: RefCell::default() }
    }

    pub(crate) fn holding() -> Self {
        Self::by(|_, contents| Ok(vec![Verdict::Held; contents.len()]))
    }

    /// They hold everything; and this happens when they are asked for the first time.
    pub(crate) fn holding_while(happens: impl Fn() + 'a) -> Self {
        let first = RefCell::new(true);
        Self::by(move |_, contents| {
            if first.replace(false) {
                happens();
            }
            Ok(vec![Verdict::Held; contents.len()])
        })
    }
}

impl Confirm for Answers<'_> {
    fn confirm(
        &self,
        _run: Option<&Run<Offload>>,
        destination: DestinationId,
        contents: &[(FileId, Content)],
        depth: Depth,
    ) -> Result<Vec<Verdict>, OffloadError> {
        self.asked.borrow_mut().push((destination, depth));
        (self.answer)(destination, contents)
    }
}

/// What an offload came to.
pub(crate) struct Done {
    pub(crate) run: RunId,
    pub(crate) reports: Vec<FileReport>,
    pub(crate) result: Result<Counts, OffloadError>,
}

impl Done {
    pub(crate) fn counts(&self) -> Counts {
        *self.result.as_ref().unwrap()
    }

    /// Outcome, and why, of the only file.
    #[track_caller]
    pub(crate) fn only(&self) -> (FileOutcome, String) {
        assert_eq!(self.reports.len(), 1, "{:?}", self.reports);
        told(&self.reports[0])
    }

    #[track_caller]
    pub(crate) fn of(&self, path: &str) -> (FileOutcome, String) {
        let found: Vec<_> = self.reports.iter().filter(|report| report.path == rel(path)).collect();
        assert_eq!(found.len(), 1, "`{path}` in {:?}", self.reports);
        told(found[0])
    }
}

fn told(report: &FileReport) -> (FileOutcome, String) {
    let causes = report.refusals.iter().map(|refusal| refusal.cause.name());
    let text = causes.chain(report.detail.as_deref()).collect::<Vec<_>>().join(", ");
    (report.outcome, text)
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    File(String),
    Directory,
    Link(PathBuf),
    /// A fifo or a socket.
    Special,
}

/// Everything below a directory but our own.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, Entry> {
    let mut found = BTreeMap::new();
    below(root, "", &mut found);
    found
}

fn below(dir: &Path, prefix: &str, found: &mut BTreeMap<String, Entry>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().into_string().unwrap());
        if name == ".lastcopy" {
            continue;
        }
        let kind = entry.file_type().unwrap();
        let what = if kind.is_dir() {
            below(&entry.path(), &format!("{name}/"), found);
            Entry::Directory
        } else if kind.is_symlink() {
            Entry::Link(fs::read_link(entry.path()).unwrap())
        } else if kind.is_fifo() || kind.is_socket() {
            Entry::Special
        } else {
            Entry::File(fs::read_to_string(entry.path()).unwrap())
        };
        found.insert(name, what);
    }
}
