//! What can end an index run or an audit early.

use lastcopy_fs::Cancelled;
use lastcopy_store::{StoreError, VolumeError};
use std::io;

/// Why an index run or an audit ended before its end. What it had recorded stays, and the next run goes on from there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The volume lost so much that it is not believed: it may not be mounted, or not whole.
    #[error(
        "{missing} of {known} files are gone{}{}",
        if *empty { ", and the volume is empty" } else { "" },
        if *covered > 0 { format!("; where {covered} of them were lies a mount, another volume or a destination") } else { String::new() }
    )]
    ImplausibleLoss {
        /// Files that were present.
        known: u64,
        /// Those that are gone.
        missing: u64,
        /// Those of them where a mount, another volume or a destination lies now.
        covered: u64,
        /// Whether nothing is left at all.
        empty: bool,
    },
    /// A pattern of the configuration or of an ignore file is none.
    #[error("exclude pattern `{pattern}`: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
    /// The volume is not any more what it was when it was opened.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The index.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The root, or a temporary file of ours.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Stopped on request.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}
