//! A node with a volume, and stores that hold what it pushed.

use lastcopy_fs::{Cancel, Content, Dir, Mounts, NoProgress, Progress, RelPath, hash_bytes};
use lastcopy_index::{IndexOptions, index};
use lastcopy_restore::{
    Found, RecoverReport, Recoverable, Recovering, RestoreError, RestoreReport, Restoring, Target, WantedList, recover_volume,
    recoverable, wanted_below,
};
use lastcopy_store::{
    Confirm, DestinationKind, DestinationRecord, FileRecord, FileStatus, Leaving, Outcome, Policy, Restore, Run, RunId, Store,
    StoreOptions, Volume, VolumeClaim, system_clock,
};
use lastcopy_sync::{Context, Destination, Push, PushReport, SyncError, init};
use lastcopy_sync_cas::Cas;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) temp: TempDir,
    pub(crate) store: Store,
    pub(crate) runtime: tokio::runtime::Runtime,
    pub(crate) cancel: Cancel,
    pub(crate) progress: Arc<dyn Progress>,
}

impl World {
    pub(crate) fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let temp = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let store = open_index(&temp.path().join("state"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        fs::create_dir(temp.path().join("photos")).unwrap();
        let (_, run) = store.add_volume("photos", &temp.path().join("photos"), VolumeClaim::default()).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        Self { temp, store, runtime, cancel: Cancel::new(), progress: Arc::new(NoProgress) }
    }

    /// With these files in the volume, indexed and pushed to stores of these names.
    pub(crate) fn holding(files: &[(&str, &str)], stores: &[&str]) -> Self {
        let world = Self::new();
        for (path, text) in files {
            world.write(path, text);
        }
        world.index();
        for name in stores {
            world.init(name);
            world.push(name);
        }
        world
    }

    pub(crate) fn context(&self) -> Context {
        Context::new(self.runtime.handle().clone(), self.cancel.clone(), self.progress.clone())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.temp.path().join("photos")
    }

    pub(crate) fn path(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.root().join(OsStr::from_bytes(path.as_ref()))
    }

    pub(crate) fn write(&self, path: impl AsRef<[u8]>, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, path: impl AsRef<[u8]>) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub(crate) fn volume(&self) -> Volume {
        self.store.open_volume("photos", &self.root(), None).unwrap()
    }

    pub(crate) fn index(&self) {
        let run = self.store.begin_index(&self.volume()).unwrap();
        index(run, &IndexOptions::default(), &self.cancel, &NoProgress, |_| String::new()).unwrap();
    }

    pub(crate) fn cas(&self, name: &str) -> Arc<dyn Destination> {
        Arc::new(Cas::local(&self.temp.path().join(name)))
    }

    fn init(&self, name: &str) {
        fs::create_dir(self.temp.path().join(name)).unwrap();
        let record = self.store.register_destination(name, DestinationKind::Cas).unwrap();
        init(&self.store, &record, self.cas(name).as_ref(), &self.context()).unwrap();
    }

    pub(crate) fn record(&self, name: &str) -> DestinationRecord {
        self.store.destination_record(name).unwrap().unwrap()
    }

    pub(crate) fn push(&self, name: &str) -> PushReport {
        self.push_volume(&self.volume(), name)
    }

    pub(crate) fn push_volume(&self, volume: &Volume, name: &str) -> PushReport {
        self.try_push(volume, name).unwrap()
    }

    pub(crate) fn try_push(&self, volume: &Volume, name: &str) -> Result<PushReport, SyncError> {
        let push = Push {
            store: self.store.clone(),
            volume: volume.clone(),
            record: self.record(name),
            destination: self.cas(name),
            mounts: Mounts::Stay,
            context: self.context(),
        };
        push.run(|_| String::new())
    }

    pub(crate) fn file(&self, path: impl AsRef<[u8]>) -> FileRecord {
        self.store.file_at(self.volume().id(), &rel(path)).unwrap().unwrap()
    }

    pub(crate) fn status(&self, path: impl AsRef<[u8]>) -> FileStatus {
        self.file(path).status
    }

    /// Removes files, and records them as offloaded.
    pub(crate) fn offload(&self, paths: &[&[u8]]) {
        let destinations = self.store.destinations().unwrap();
        let policy = Policy::requiring(destinations.iter().map(|record| record.id).collect(), i64::MAX, Confirm::Offline);
        let volume = self.store.open_volume("photos", &self.root(), Some(policy)).unwrap();
        let run = self.store.begin_offload(&volume).unwrap();
        let yes = |_: &_, _: &[_]| Some("[]".to_owned());
        for path in paths {
            let stat = fs::metadata(self.path(path)).unwrap();
            let leaving = [Leaving { file: self.file(path).id, device: stat.dev(), inode: stat.ino() }];
            let intent = run.quarantine(&leaving, &[], &yes).unwrap()[0].unwrap();
            assert_eq!(run.begin_deletion(&[intent], &[], &yes).unwrap(), [true]);
            fs::remove_file(self.path(path)).unwrap();
            run.offloaded(&[intent]).unwrap();
        }
        run.finish(&Outcome::Success, None).unwrap();
    }

    /// Restores what is offloaded below the root, from these stores, the preferred one first.
    pub(crate) fn restore(&self, stores: &[&str]) -> (RestoreReport, RunId) {
        let wanted = wanted_below(&self.store, self.volume().id(), &[RelPath::root()], false).unwrap();
        let (report, run) = self.restore_with(&wanted, Target::Home(self.volume()), false, stores);
        (report.unwrap(), run)
    }

    pub(crate) fn restore_with(
        &self,
        wanted: &WantedList,
        target: Target,
        in_place: bool,
        stores: &[&str],
    ) -> (Result<RestoreReport, RestoreError>, RunId) {
        let sources = stores.iter().map(|name| (self.record(name), self.cas(name))).collect();
        self.restore_from(wanted, target, in_place, sources)
    }

    pub(crate) fn restore_from(
        &self,
        wanted: &WantedList,
        target: Target,
        in_place: bool,
        sources: Vec<(DestinationRecord, Arc<dyn Destination>)>,
    ) -> (Result<RestoreReport, RestoreError>, RunId) {
        let volume = if let Target::Home(volume) = &target { Some(volume.clone()) } else { None };
        let run = self.store.begin_restore(volume.as_ref()).unwrap();
        let id = run.id();
        let restoring = Restoring { store: &self.store, target, in_place, sources, context: self.context() };
        (restoring.run(run, wanted, |_| String::new()), id)
    }

    pub(crate) fn recoverable(&self, name: &str) -> Result<Recoverable, RestoreError> {
        let met = self.record(name).incarnation.unwrap();
        recoverable(Recovering { destination: self.cas(name).as_ref(), met: &met, context: &self.context() })
    }

    pub(crate) fn recover_volume(&self, run: Run<Restore>, name: &str, found: &Found) -> Result<RecoverReport, RestoreError> {
        self.recover_from(run, self.cas(name).as_ref(), name, found)
    }

    pub(crate) fn recover_from(
        &self,
        run: Run<Restore>,
        destination: &dyn Destination,
        name: &str,
        found: &Found,
    ) -> Result<RecoverReport, RestoreError> {
        let met = self.record(name).incarnation.unwrap();
        recover_volume(run, Recovering { destination, met: &met, context: &self.context() }, found)
    }

    /// A directory that is none of the volume's.
    pub(crate) fn elsewhere(&self) -> Target {
        let path = self.temp.path().join("elsewhere");
        fs::create_dir_all(&path).unwrap();
        Target::Elsewhere(Dir::open(&path).unwrap())
    }

    /// Where a store keeps the bytes of a text.
    pub(crate) fn object(&self, name: &str, text: &str) -> PathBuf {
        let hash = hash_bytes(text.as_bytes()).hash.to_string();
        self.temp.path().join(name).join("objects").join(&hash[..2]).join(hash)
    }

    /// Flips a bit of what a store keeps.
    pub(crate) fn damage(&self, name: &str, text: &str) {
        damage(&self.object(name, text));
    }
}

/// Flips a bit in the middle of a file that nobody may write.
pub(crate) fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(crate) fn open_index(state: &Path) -> Store {
    let options = StoreOptions { path: state.join("index.db"), node_name: "desk".into(), clock: system_clock(), create: true };
    Store::open(options).unwrap().0
}

pub(crate) fn rel(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path.as_ref()).unwrap()
}

pub(crate) fn content(text: &str) -> Content {
    hash_bytes(text.as_bytes())
}
