//! A place of its own for targets that need files: in memory where there is some, and gone afterwards.

use lastcopy_fs::{Cancel, NoProgress};
use lastcopy_store::{Store, StoreOptions, system_clock};
use lastcopy_sync::Context;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// A directory that goes with its value.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// What asynchronous calls are driven with.
pub(crate) fn context() -> Context {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let build = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
    Context::new(RUNTIME.get_or_init(build).handle().clone(), Cancel::new(), Arc::new(NoProgress))
}

/// An index below a directory, new if there is none.
pub(crate) fn index_below(dir: &Path) -> Store {
    let options = options(&dir.join("index.db"));
    Store::open(options).expect("a new index").0
}

pub(crate) fn options(path: &Path) -> StoreOptions {
    StoreOptions { path: path.to_owned(), node_name: "fuzzed".into(), clock: system_clock(), create: true }
}

/// Every file below a directory with its bytes, every directory with none; links are not followed.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            let kind = std::fs::symlink_metadata(&path).expect("an entry").file_type();
            if kind.is_dir() {
                dirs.push(path.clone());
                found.insert(path, None);
            } else {
                let bytes = if kind.is_file() { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
                found.insert(path, Some(bytes));
            }
        }
    }
    found
}
