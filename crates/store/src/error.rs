//! What can go wrong with the index itself.

use crate::ids::RunId;
use rusqlite::ErrorCode;
use std::io;
use std::path::PathBuf;

/// An error of the index: its file, its content, or a use of it that its guards refuse.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A file of ours could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The index is damaged, or is no index.
    #[error("the index is damaged: {detail}")]
    Corrupt {
        /// What was noticed.
        detail: String,
    },
    /// A newer lastcopy wrote the index.
    #[error("the index has format {found}, this lastcopy knows up to {known}")]
    Newer {
        /// Format of the index.
        found: i64,
        /// Newest format known here.
        known: i64,
    },
    /// Another process held the index for longer than a short transaction takes.
    #[error("another process holds the index locked")]
    Locked,
    /// No space for the index.
    #[error("no space left for the index")]
    Full,
    /// The index or its directory cannot be written.
    #[error("the index cannot be written: {detail}")]
    ReadOnly {
        /// What SQLite said.
        detail: String,
    },
    /// The disk that holds the index does not do what it should.
    #[error("the index cannot be read or written: {detail}")]
    Failing {
        /// What SQLite said.
        detail: String,
    },
    /// The run was closed by somebody else; it can record nothing more.
    #[error("run {run} is not running any more: it was closed as `{status}`")]
    RunEnded {
        /// The run.
        run: RunId,
        /// Its terminal status.
        status: String,
    },
    /// Something runs, while nothing may. It is known by its lock, and the index, which may be damaged, does not always say which run it is.
    #[error("{} is going on", .run.map_or_else(|| "a run or a hook".to_owned(), |run| format!("run {run}")))]
    Running {
        /// The run, where the index names it.
        run: Option<RunId>,
    },
    /// A guard of the index refused.
    #[error("{0}")]
    Refused(String),
    /// A named thing is not known.
    #[error("{0}")]
    NotFound(String),
    /// Anything else that SQLite reports.
    #[error("the index: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

/// The result of working with the index.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as Sql;
        let detail = error.to_string();
        // What stands in a row is not what can stand there: nobody but the store writes rows, so somebody else did, or the disk.
        if matches!(
            error,
            Sql::InvalidColumnType(..) | Sql::FromSqlConversionFailure(..) | Sql::IntegralValueOutOfRange(..) | Sql::Utf8Error(..)
        ) {
            return Self::Corrupt { detail };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt { detail },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => Self::ReadOnly { detail },
            Some(ErrorCode::SystemIoFailure) => Self::Failing { detail },
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// A stored value that no version of this program writes.
    pub(crate) fn impossible(detail: impl Into<String>) -> Self {
        Self::Corrupt { detail: detail.into() }
    }
}
