//! What can end a restore early.

use lastcopy_fs::{Cancelled, RelPath};
use lastcopy_store::{BeginError, Kind, Outcome, Run, StoreError, VolumeError};
use lastcopy_sync::{DestinationError, SyncError};
use std::io;

/// Why a restore or a recovery ended early. What was restored by then stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A contradicting run.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The destination as a whole.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// Anything that can also go wrong in a push.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// The place to restore to.
    #[error("{path}: {source}")]
    Io {
        /// Which path in it.
        path: RelPath,
        /// Why.
        source: io::Error,
    },
    /// What a destination keeps to rebuild paths is damaged or gone.
    #[error("{0}")]
    Unrecoverable(String),
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl RestoreError {
    pub(crate) fn at(path: &RelPath) -> impl FnOnce(io::Error) -> Self {
        let path = path.clone();
        move |source| Self::Io { path, source }
    }

    /// Ends a run with this. Nothing is left to do but to say it.
    pub(crate) fn ends<K: Kind>(self, run: Run<K>) -> Self {
        let outcome = if self.is_cancelled() { Outcome::Aborted } else { Outcome::Failed(self.to_string()) };
        match run.finish(&outcome, None) {
            // What a new epoch closed cannot be closed again; its error is the news.
            Ok(()) | Err(StoreError::RunEnded { .. }) => self,
            Err(store) => store.into(),
        }
    }

    /// Whether this is only that somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        match self {
            Self::Cancelled(_) | Self::Destination(DestinationError::Cancelled(_)) => true,
            Self::Sync(error) => error.is_cancelled(),
            _ => false,
        }
    }
}
