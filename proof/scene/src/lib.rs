//! What a test of lastcopy finds on the disk: trees of files, and what a copy of the index claims.
//!
//! Looked at by somebody who shares no code with lastcopy, and asks it nothing.

mod claims;
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
