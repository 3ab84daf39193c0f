//! Where a repository is, and how kopia gets there.

use crate::storage::Storage;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Where a repository is, and how kopia gets there.
#[derive(Clone)]
pub struct Options {
    /// The storage.
    pub storage: Storage,
    /// The repository's password. It goes to kopia by environment, and is written nowhere.
    pub password: OsString,
    /// The kopia program.
    pub program: PathBuf,
    /// Without a sign of life for so long, kopia is ended.
    pub stall: Duration,
    /// Objects that are read at a time, and files that kopia stores at a time.
    pub parallel: usize,
}

impl Options {
    /// Everything at its default, at a place.
    pub fn at(storage: Storage, password: impl Into<OsString>) -> Self {
        let (program, stall) = ("kopia".into(), Duration::from_secs(300));
        Self { storage, password: password.into(), program, stall, parallel: 8 }
    }
}
