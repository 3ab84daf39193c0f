//! A volume in a temporary directory, with an index beside it.

use lastcopy_fs::{Cancel, NoProgress, Progress, RelPath, hash_bytes};
use lastcopy_index::{AuditReport, IndexError, IndexOptions, IndexReport, Skipped, WalkOptions, audit, index};
use lastcopy_store::{FileRecord, FileStatus, Outcome, RunId, RunRecord, Store, StoreOptions, Volume, VolumeClaim, system_clock};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) temp: TempDir,
    pub(crate) store: Store,
    pub(crate) options: IndexOptions,
    pub(crate) cancel: Cancel,
}

impl World {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        Self::with_index_at("state", files)
    }

    /// With the index at a place of its own, which may be in the volume.
    pub(crate) fn with_index_at(state: &str, files: &[(&str, &str)]) -> Self {
        let memory = Path::new("/dev/shm");
        let temp = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let path = temp.path().join("photos");
        fs::create_dir(&path).unwrap();
        let state = temp.path().join(state).join("index.db");
        let options = StoreOptions { path: state, node_name: "desk".into(), clock: system_clock(), create: true };
        let (store, _) = Store::open(options).unwrap();
        let (_, run) = store.add_volume("photos", &path, VolumeClaim::default()).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        let world = Self { temp, store, options: IndexOptions::default(), cancel: Cancel::new() };
        for (path, text) in files {
            world.write(path, text);
        }
        world
    }

    pub(crate) fn path(&self, path: impl AsRef<[u8]>) -> PathBuf {
        self.temp.path().join("photos").join(OsStr::from_bytes(path.as_ref()))
    }

    pub(crate) fn write(&self, path: impl AsRef<[u8]>, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn remove(&self, path: impl AsRef<[u8]>) {
        fs::remove_file(self.path(path)).unwrap();
    }

    pub(crate) fn volume(&self) -> Volume {
        self.store.open_volume("photos", &self.path(""), None).unwrap()
    }

    pub(crate) fn index(&self) -> IndexReport {
        self.try_index(&NoProgress).unwrap()
    }

    pub(crate) fn try_index(&self, progress: &dyn Progress) -> Result<IndexReport, IndexError> {
        let run = self.store.begin_index(&self.volume()).unwrap();
        index(run, &self.options, &self.cancel, progress, |_| "summed up".into())
    }

    /// Indexes until nothing has to be read again because it is too young.
    pub(crate) fn settle(&self) {
        while self.index().bytes_hashed > 0 {}
    }

    pub(crate) fn audit(&self, deep: bool) -> AuditReport {
        let run = self.store.begin_audit(&self.volume()).unwrap();
        audit(run, &WalkOptions::default(), deep, &self.cancel, &NoProgress, |_| "summed up".into()).unwrap()
    }

    pub(crate) fn newest_run(&self) -> RunRecord {
        self.store.runs(1).unwrap().remove(0)
    }

    pub(crate) fn file(&self, path: impl AsRef<[u8]>) -> Option<FileRecord> {
        self.store.file_at(self.volume().id(), &rel(path)).unwrap()
    }

    pub(crate) fn status(&self, path: impl AsRef<[u8]>) -> FileStatus {
        self.file(path).unwrap().status
    }

    /// That a path is present with these bytes.
    #[track_caller]
    pub(crate) fn assert_holds(&self, path: impl AsRef<[u8]>, text: &str) {
        let file = self.file(path).unwrap();
        assert_eq!((file.status, file.content), (FileStatus::Present, hash_bytes(text.as_bytes())));
    }

    pub(crate) fn present(&self) -> u64 {
        self.store.count_present(self.volume().id()).unwrap()
    }

    /// The run that gave a path its status.
    pub(crate) fn since(&self, path: &str) -> RunId {
        self.file(path).unwrap().present_since
    }
}

pub(crate) fn rel(path: impl AsRef<[u8]>) -> RelPath {
    RelPath::new(path.as_ref()).unwrap()
}

pub(crate) fn by_kind(skipped: &Skipped) -> BTreeMap<&'static str, u64> {
    skipped.kinds().map(|(kind, count, _)| (kind, count)).collect()
}

/// Something that happens when a phase begins, or each time when bytes were hashed.
pub(crate) struct When<'a> {
    phase: Option<&'static str>,
    happens: Mutex<Box<dyn FnMut() + Send + 'a>>,
}

impl<'a> When<'a> {
    pub(crate) fn phase(name: &'static str, happens: impl FnMut() + Send + 'a) -> Self {
        Self { phase: Some(name), happens: Mutex::new(Box::new(happens)) }
    }

    pub(crate) fn hashed(happens: impl FnMut() + Send + 'a) -> Self {
        Self { phase: None, happens: Mutex::new(Box::new(happens)) }
    }
}

impl Progress for When<'_> {
    fn phase(&self, name: &'static str, _files: u64, _bytes: u64) {
        if self.phase == Some(name) {
            (self.happens.lock().unwrap())();
        }
    }

    fn advance(&self, _files: u64, bytes: u64) {
        if self.phase.is_none() && bytes > 0 {
            (self.happens.lock().unwrap())();
        }
    }

    fn note(&self, _line: &str) {}
}
