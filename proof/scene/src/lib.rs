//! What a test of lastcopy sets up, and finds on the disk: a node, trees of files, and what a copy of the index claims.
//!
//! Looked at by somebody who shares no code with lastcopy, and asks it nothing.

mod claims;
pub mod node;
pub mod tree;

pub use claims::{Claims, Proven};

use std::io;
use std::path::{Path, PathBuf};

/// A file or directory of a test's own that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub struct SceneError {
    /// Which.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

impl SceneError {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { path, source }
    }
}

/// What could be looked at.
pub type Result<T> = std::result::Result<T, SceneError>;

/// The lastcopy that was built beside the program that asks.
pub fn beside() -> io::Result<PathBuf> {
    let beside = std::env::current_exe()?.with_file_name("lastcopy");
    if beside.is_file() {
        Ok(beside)
    } else {
        Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {}: build it first", beside.display())))
    }
}

/// Where a program is that writes destinations; nothing if it is not installed.
pub fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}
