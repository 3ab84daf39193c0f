//! A node with an index, volumes and destinations in a directory of its own, and a clock that only moves when it is told to.

use lastcopy_fs::{Content, NoProgress, RelPath, hash_bytes};
use lastcopy_store::{
    Advance, AtLeast, Claim, Clock, Confirm, ContentId, DestinationKind, DestinationRecord, EvidenceChange, Head, Incarnation,
    Index, Location, NewEpoch, Observation, Observed, Outcome, Policy, Probed, Proof, Proven, ProvenAt, ReadBack, ReceiptLevel,
    Run, RunId, Seen, Snapshot, Store, StoreOptions, Sync, Timestamp, Volume, VolumeClaim,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tempfile::TempDir;

/// Milliseconds since 1970 when every test begins.
pub(crate) const DAWN: i64 = 1_700_000_000_000;

/// A node.
pub(crate) struct Node {
    pub(crate) temp: TempDir,
    pub(crate) time: Arc<AtomicI64>,
    pub(crate) store: Store,
}

impl Node {
    pub(crate) fn new() -> Self {
        let temp = home();
        let time = Arc::new(AtomicI64::new(DAWN));
        let (store, news) = Store::open(options(temp.path(), &time)).unwrap();
        assert_eq!(news, None, "a new index has no earlier life");
        Self { temp, time, store }
    }

    /// The same node's index, opened once more, as another process would.
    pub(crate) fn again(&self) -> (Store, Option<NewEpoch>) {
        Store::open(self.options()).unwrap()
    }

    pub(crate) fn options(&self) -> StoreOptions {
        options(self.temp.path(), &self.time)
    }

    pub(crate) fn index_file(&self) -> PathBuf {
        self.options().path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Raw SQL, past every guard of the interface; foreign keys are checked as they are for everybody.
    pub(crate) fn raw(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.index_file()).unwrap();
        connection.pragma_update(None, "foreign_keys", "ON").unwrap();
        connection
    }

    pub(crate) fn pass(&self, milliseconds: i64) {
        self.time.fetch_add(milliseconds, Ordering::SeqCst);
    }

    /// A new tree, added as a volume.
    pub(crate) fn volume(&self, name: &str) -> Volume {
        let path = self.path(name);
        std::fs::create_dir(&path).unwrap();
        let (volume, run) = self.store.add_volume(name, &path, VolumeClaim::default()).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        volume
    }

    /// A volume as the configuration names it, with a policy.
    pub(crate) fn under_policy(&self, name: &str, policy: &Policy) -> Volume {
        self.store.open_volume(name, &self.path(name), Some(policy.clone())).unwrap()
    }

    /// A destination that was never initialised.
    pub(crate) fn registered(&self, name: &str, kind: DestinationKind) -> DestinationRecord {
        self.store.register_destination(name, kind).unwrap()
    }

    /// A cas that was initialised; who answers there is called after it.
    pub(crate) fn destination(&self, name: &str) -> DestinationRecord {
        self.destination_of_kind(name, DestinationKind::Cas)
    }

    pub(crate) fn destination_of_kind(&self, name: &str, kind: DestinationKind) -> DestinationRecord {
        let record = self.registered(name, kind);
        let run = self.store.begin_evidence_change(Some(record.id), None).unwrap();
        run.initialised(record.id, &Incarnation::new(name)).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        self.store.destination(record.id).unwrap()
    }

    /// An index run that finds these files, and nothing gone.
    pub(crate) fn index(&self, volume: &Volume, files: &[(&str, &str)]) -> RunId {
        let run = self.store.begin_index(volume).unwrap();
        let id = run.id();
        observe(&run, files);
        run.finish(&Outcome::Success, None).unwrap();
        id
    }

    /// An index run that finds a file gone.
    pub(crate) fn index_gone(&self, volume: &Volume, path: &str) -> RunId {
        let gone = self.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
        let run = self.store.begin_index(volume).unwrap();
        let id = run.id();
        run.finish_index(&[gone.id], &Outcome::Success, None).unwrap();
        id
    }

    /// A push that proves all that lacks proof.
    pub(crate) fn push(&self, volume: &Volume, destination: &DestinationRecord) -> Advance {
        self.push_proving(volume, destination, |_| true)
    }

    /// A push that proves what it is told to.
    pub(crate) fn push_proving(
        &self,
        volume: &Volume,
        destination: &DestinationRecord,
        proves: impl Fn(&RelPath) -> bool,
    ) -> Advance {
        let push = Push::begin(&self.store, volume, destination);
        push.prove(proves);
        push.finish()
    }

    pub(crate) fn content(&self, text: &str) -> ContentId {
        self.store.content_by_hash(hash_bytes(text.as_bytes()).hash).unwrap().unwrap().0
    }

    pub(crate) fn component(&self, volume: &Volume, destination: &DestinationRecord) -> Option<RunId> {
        self.store.own_component(volume.id(), destination.id).unwrap()
    }

    /// What a person does to evidence: begun, done, ended.
    pub(crate) fn change_evidence<T>(
        &self,
        destination: &DestinationRecord,
        change: impl FnOnce(&Run<EvidenceChange>) -> lastcopy_store::Result<T>,
    ) -> T {
        let run = self.store.begin_evidence_change(Some(destination.id), None).unwrap();
        let value = change(&run).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        value
    }

    /// The levels of all receipts at a destination, in the order of contents.
    pub(crate) fn levels(&self, destination: &DestinationRecord) -> Vec<ReceiptLevel> {
        let raw = self.raw();
        let mut statement = raw.prepare("SELECT level FROM receipt WHERE destination = ? ORDER BY content, location").unwrap();
        statement.query_map([destination.id], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// Copies the index and all that lies beside it but the locks.
    pub(crate) fn copy_index(&self, to: &Path) {
        std::fs::create_dir(to).unwrap();
        for entry in std::fs::read_dir(self.temp.path().join("state")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
            }
        }
    }
}

/// In memory, where the system offers that: these tests sync thousands of times, and none of them pulls the plug.
fn home() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn options(home: &Path, time: &Arc<AtomicI64>) -> StoreOptions {
    let time = time.clone();
    let clock: Clock = Arc::new(move || Timestamp(time.load(Ordering::SeqCst)));
    StoreOptions { path: home.join("state/index.db"), node_name: "desk".into(), clock, create: true }
}

/// A push between its begin and its end.
pub(crate) struct Push {
    pub(crate) run: Run<Sync>,
    pub(crate) snapshot: Snapshot,
    pub(crate) probed: Probed,
}

impl Push {
    pub(crate) fn begin(store: &Store, volume: &Volume, destination: &DestinationRecord) -> Self {
        let (run, snapshot) = store.begin_sync(volume, destination).unwrap();
        let answer = destination.incarnation.clone().unwrap();
        let probed = run.probed(destination.id, Some(&answer)).unwrap();
        Self { run, snapshot, probed }
    }

    /// Records proofs of what lacks them, for the files that are to be proven.
    pub(crate) fn prove(&self, proves: impl Fn(&RelPath) -> bool) {
        let mut proofs = Vec::new();
        for lacking in self.snapshot.lacking(&self.probed, &lastcopy_store::Layout::ByContent, None, usize::MAX).unwrap() {
            if proves(&lacking.file.path) {
                proofs.push(ProvenAt {
                    content: lacking.content_id,
                    location: Location::default(),
                    proven: proven_as(lacking.content),
                    at: self.run.now(),
                });
            }
        }
        self.run.record(&self.probed, &proofs).unwrap();
    }

    pub(crate) fn finish(self) -> Advance {
        let claim: Claim = self.snapshot.claim(self.probed).unwrap();
        self.run.finish_sync(claim, None, &Outcome::Success, |_| String::new()).unwrap()
    }
}

/// Every content of these tests is one of a few words; a destination that holds it gives it back.
fn proven_as(content: Content) -> Proven {
    let word = WORDS.iter().find(|word| hash_bytes(word.as_bytes()) == content).unwrap();
    proof(word)
}

/// The contents that files of these tests have.
pub(crate) const WORDS: [&str; 8] = ["one", "two", "three", "four", "five", "six", "seven", "eight"];

/// That a word is held.
pub(crate) fn proof(word: &str) -> Proven {
    Proof::<ReadBack>::read_stream(hash_bytes(word.as_bytes()), word.as_bytes()).unwrap().into()
}

/// The same through a file.
pub(crate) fn proof_of_file(path: &Path, word: &str) -> Proven {
    let file = std::fs::File::open(path).unwrap();
    let mut buffer = lastcopy_fs::HashBuffer::new();
    let cancel = lastcopy_fs::Cancel::new();
    Proof::read_file(hash_bytes(word.as_bytes()), &file, &mut buffer, &cancel, &NoProgress).unwrap().into()
}

/// An open index run finds these files.
pub(crate) fn observe(run: &Run<Index>, files: &[(&str, &str)]) -> Vec<Observed> {
    let observations: Vec<_> = files
        .iter()
        .map(|(path, text)| {
            let path = rel(path);
            let (directory, name) = path.split().unwrap();
            let content = hash_bytes(text.as_bytes());
            Observation { directory, name: name.to_vec(), seen: seen(content.size), content }
        })
        .collect();
    run.observe(&observations).unwrap()
}

pub(crate) fn seen(size: u64) -> Seen {
    Seen { size, mtime_ns: 1, ctime_ns: 1, inode: 1, mode: 0o644, racy: false }
}

pub(crate) fn rel(path: &str) -> RelPath {
    RelPath::new(path).unwrap()
}

/// A policy that requires these destinations, and nothing else.
pub(crate) fn requiring(destinations: &[&DestinationRecord]) -> Policy {
    Policy { grace_ms: 10, ..Policy::requiring(destinations.iter().map(|record| record.id).collect(), 1000, Confirm::Quick) }
}

/// A policy that counts these destinations, and requires none.
pub(crate) fn counting(count: usize, destinations: &[&DestinationRecord]) -> Policy {
    let of = destinations.iter().map(|record| record.id).collect();
    Policy { at_least: Some(AtLeast { count, of }), ..requiring(&[]) }
}

/// A head of a push.
pub(crate) fn head(sequence: i64, run: RunId) -> Head {
    let digest = u8::try_from(sequence).unwrap();
    Head { sequence, run, digest: [digest; 32], segment_digest: [digest; 32] }
}
