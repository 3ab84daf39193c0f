//! What can go wrong with a history besides what it looks for.

use lastcopy_store::StoreError;
use std::io;
use std::path::{Path, PathBuf};

/// The history itself could not go on. That is no finding about the tool, unless the tool is why.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// A file of the history's own.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index cannot be opened, or not be asked.
    #[error("the index: {0}")]
    Store(#[from] StoreError),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The result of a part of a history.
pub type Result<T> = std::result::Result<T, Broken>;

/// Names the path of an I/O error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Broken {
    let path = path.to_owned();
    move |source| Broken::Io { path, source }
}
