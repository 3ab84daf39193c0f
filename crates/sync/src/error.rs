//! What can go wrong between here and a destination.

use lastcopy_fs::Cancelled;
use lastcopy_store::{BeginError, IdentityError, NewEpoch, StoreError, VolumeError};
use std::io;

/// An error of a destination as a whole; what is wrong with one item goes to the sink.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// It cannot be asked.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where it should be.
        address: String,
        /// Why.
        reason: String,
    },
    /// It refuses us.
    #[error("{address} refuses access: {reason}")]
    Auth {
        /// Where it is.
        address: String,
        /// What it said.
        reason: String,
    },
    /// What is there is in the way.
    #[error("{address}: {reason}")]
    Occupied {
        /// Where.
        address: String,
        /// By what.
        reason: String,
    },
    /// It has no space left.
    #[error("no space left at {address}")]
    Full {
        /// Where.
        address: String,
    },
    /// It cannot do what is asked of it.
    #[error("{0}")]
    Unsupported(String),
    /// The program that serves it is not installed here, or does not start; says which one is needed, and where it is to be had.
    #[error("{0}")]
    ToolMissing(String),
    /// The program that serves it is older than what is needed; says the same.
    #[error("{0}")]
    ToolTooOld(String),
    /// Something of ours there is damaged.
    #[error("{what} at {address} is damaged: {detail}")]
    Damaged {
        /// What.
        what: String,
        /// Where.
        address: String,
        /// How.
        detail: String,
    },
    /// Reading or writing there failed.
    #[error("{address}: {source}")]
    Io {
        /// Which object or directory.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl DestinationError {
    /// An error of a place in this machine's tree of files: that it cannot be a destination at all, or of one operation.
    pub fn of_disk(address: String, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::Unsupported => Self::Unsupported(format!("{address}: {source}")),
            _ => Self::Io { address, source },
        }
    }
}

/// Why a push, a verify or a repair ended early. What was recorded before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SyncError {
    /// A contradicting run.
    #[error(transparent)]
    Begin(#[from] BeginError),
    /// The volume is not what it should be.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Another repository answers, or none.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The destination went back to an earlier state.
    #[error("the destination went back to an earlier state: {0}")]
    RolledBack(String),
    /// This index is an old or a second copy; a new epoch has begun, and the operation may be begun again.
    #[error("the index is an old or a second copy: {}", .0.reason)]
    NewEpoch(NewEpoch),
    /// The destination.
    #[error(transparent)]
    Destination(#[from] DestinationError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A temporary file of ours.
    #[error("a temporary file: {0}")]
    Temporary(#[source] io::Error),
}

impl From<Cancelled> for SyncError {
    fn from(cancelled: Cancelled) -> Self {
        Self::Destination(cancelled.into())
    }
}

impl SyncError {
    /// Whether this is only that somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Destination(DestinationError::Cancelled(_)))
    }
}
