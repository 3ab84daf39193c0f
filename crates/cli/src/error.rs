//! Every error on its way out: a stable code, a message that names the input, a hint, and the exit status. Decided here alone.

use crate::config::ConfigError;
use crate::words::Names;
use lastcopy_index::IndexError;
use lastcopy_offload::OffloadError;
use lastcopy_restore::RestoreError;
use lastcopy_store::{BeginError, IdentityError, RunId, StoreError, VolumeError, Weakening};
use lastcopy_sync::{DestinationError, InitError, SyncError};
use std::fmt;

/// Codes that tools rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Code {
    Usage,
    Config,
    Busy,
    PathMismatch,
    MarkerMissing,
    MarkerMismatch,
    NotInitialised,
    AlreadyInitialised,
    IdentityChanged,
    RolledBack,
    Unreachable,
    Auth,
    ToolMissing,
    ToolTooOld,
    Unsupported,
    NoPolicy,
    PolicyWeaker,
    NotFound,
    Corrupt,
    Io,
    Interrupted,
    Internal,
    /// A volume lost so much that it is not believed.
    ImplausibleLoss,
    /// A question was put, and nobody answered yes.
    Declined,
    /// A guard that has no code of its own.
    Refused,
}

impl Code {
    pub(crate) const ALL: [Self; 25] = [
        Self::Usage,
        Self::Config,
        Self::Busy,
        Self::PathMismatch,
        Self::MarkerMissing,
        Self::MarkerMismatch,
        Self::NotInitialised,
        Self::AlreadyInitialised,
        Self::IdentityChanged,
        Self::RolledBack,
        Self::Unreachable,
        Self::Auth,
        Self::ToolMissing,
        Self::ToolTooOld,
        Self::Unsupported,
        Self::NoPolicy,
        Self::PolicyWeaker,
        Self::NotFound,
        Self::Corrupt,
        Self::Io,
        Self::Interrupted,
        Self::Internal,
        Self::ImplausibleLoss,
        Self::Declined,
        Self::Refused,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Busy => "busy",
            Self::PathMismatch => "path-mismatch",
            Self::MarkerMissing => "marker-missing",
            Self::MarkerMismatch => "marker-mismatch",
            Self::NotInitialised => "not-initialised",
            Self::AlreadyInitialised => "already-initialised",
            Self::IdentityChanged => "identity-changed",
            Self::RolledBack => "rolled-back",
            Self::Unreachable => "unreachable",
            Self::Auth => "auth",
            Self::ToolMissing => "tool-missing",
            Self::ToolTooOld => "tool-too-old",
            Self::Unsupported => "unsupported",
            Self::NoPolicy => "no-policy",
            Self::PolicyWeaker => "policy-weaker",
            Self::NotFound => "not-found",
            Self::Corrupt => "corrupt",
            Self::Io => "io",
            Self::Interrupted => "interrupted",
            Self::Internal => "internal",
            Self::ImplausibleLoss => "implausible-loss",
            Self::Declined => "declined",
            Self::Refused => "refused",
        }
    }

    /// What an error with this code means for the exit status.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Usage | Self::Config | Self::NotFound => Exit::Usage,
            Self::Busy
            | Self::PathMismatch
            | Self::MarkerMissing
            | Self::MarkerMismatch
            | Self::NotInitialised
            | Self::AlreadyInitialised
            | Self::IdentityChanged
            | Self::RolledBack
            | Self::Unsupported
            | Self::NoPolicy
            | Self::PolicyWeaker
            | Self::ImplausibleLoss
            | Self::Declined
            | Self::Refused => Exit::Refused,
            Self::Unreachable
            | Self::Auth
            | Self::ToolMissing
            | Self::ToolTooOld
            | Self::Corrupt
            | Self::Io
            | Self::Interrupted
            | Self::Internal => Exit::Failed,
        }
    }
}

/// Exit statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, nothing needs attention.
    Done,
    /// Done, but something needs attention.
    Attention,
    /// The command line or the configuration is wrong.
    Usage,
    /// Refused by a guard, nothing was changed.
    Refused,
    /// Failed.
    Failed,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Attention => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Failed => 4,
        }
    }

    /// The exit status of several parts: 4 if any failed, else 3 if all were refused, else 1 if any was or needs attention. A wrong
    /// command line was noticed before any part began: what turns out to be wrong with the configuration of one has made that one fail,
    /// and says nothing of the others. Where all are alike, that is it.
    pub(crate) fn of_parts(parts: &[Self]) -> Self {
        if let [first, others @ ..] = parts
            && others.iter().all(|part| part == first)
        {
            *first
        } else if parts.iter().any(|part| matches!(part, Self::Usage | Self::Failed)) {
            Self::Failed
        } else if parts.iter().any(|part| matches!(part, Self::Refused | Self::Attention)) {
            Self::Attention
        } else {
            Self::Done
        }
    }
}

/// An error as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct CliError {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// A drawing of it, for people.
    pub(crate) drawing: Option<Box<ConfigError>>,
    /// The run that was recorded as refused.
    pub(crate) run: Option<RunId>,
    /// Whether another run is in the way, for whose end `--wait` waits.
    pub(crate) until_a_run_ends: bool,
    /// Whether it is about the index itself; then it is shown with the index's path.
    pub(crate) about_index: bool,
}

pub(crate) type Result<T, E = CliError> = std::result::Result<T, E>;

impl CliError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, drawing: None, run: None, until_a_run_ends: false, about_index: false }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// An offload policy that is weaker than the accepted one.
    pub(crate) fn policy_weaker(volume: &str, weakenings: &[Weakening], names: &Names) -> Self {
        let ways: Vec<_> = weakenings.iter().map(|way| crate::words::weakening(way, names)).collect();
        let text = format!("the offload policy of volume `{volume}` is weaker than the one accepted: {}", ways.join(", "));
        Self::weaker(volume, text)
    }

    fn weaker(volume: &str, text: String) -> Self {
        Self::new(Code::PolicyWeaker, text).hint(format!("if that is meant: `lastcopy policy accept {volume} --reason TEXT`"))
    }

    /// A hint, where the error has none of its own.
    pub(crate) fn or_hint(self, hint: impl Into<String>) -> Self {
        if self.hint.is_some() { self } else { self.hint(hint) }
    }

    /// The status of a part that this error ended, as summaries name it.
    pub(crate) fn status(&self) -> &'static str {
        match self.code.exit() {
            _ if self.code == Code::Interrupted => "aborted",
            Exit::Refused => "refused",
            _ => "failed",
        }
    }

    /// Names what the error is about, where the error itself does not.
    pub(crate) fn about(mut self, what: &str) -> Self {
        if !self.message.contains(what) {
            self.message = format!("{what}: {}", self.message);
        }
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ConfigError> for CliError {
    fn from(error: ConfigError) -> Self {
        let (message, hint) = (error.message(), error.fix());
        Self { drawing: Some(Box::new(error)), ..Self::new(Code::Config, message) }.hint(hint)
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        let index = |code| Self { about_index: true, ..Self::new(code, text.clone()) };
        match error {
            StoreError::Corrupt { .. } => index(Code::Corrupt)
                .hint("`lastcopy db restore FILE` puts a backup in its place; `lastcopy recover --from URL` rebuilds it from a destination"),
            StoreError::Newer { .. } => {
                index(Code::Unsupported).hint("use the lastcopy that wrote it, or a newer one; nothing was changed")
            }
            StoreError::Locked => index(Code::Busy).hint("wait for the other process; `lastcopy runs` shows what is running"),
            StoreError::Full => index(Code::Io).hint("free some space on the disk that holds the index"),
            StoreError::Failing { .. } => index(Code::Io).hint("is the disk that holds the index full, or failing?"),
            StoreError::ReadOnly { .. } => index(Code::Io).hint("make the directory of the index writable, or set `db` in [node]"),
            StoreError::RunEnded { .. } => {
                Self::new(Code::Interrupted, text).hint("somebody closed it, by `runs abort` or with a new epoch; run the command again")
            }
            StoreError::Running { run } => {
                let id = run.map_or_else(|| "ID".to_owned(), |run| run.to_string());
                let hint = format!("wait for it (`--wait` does), or close it if it hangs: `lastcopy runs abort {id}`");
                Self { until_a_run_ends: true, ..Self::new(Code::Busy, text) }.hint(hint)
            }
            StoreError::Refused(_) => Self::new(Code::Refused, text),
            StoreError::NotFound(_) => Self::new(Code::NotFound, text),
            StoreError::Io { .. } => Self::new(Code::Io, text),
            _ => index(Code::Internal).hint("`lastcopy db check` looks for damage"),
        }
    }
}

impl From<VolumeError> for CliError {
    fn from(error: VolumeError) -> Self {
        let text = error.to_string();
        match error {
            VolumeError::NotAdded { name } => Self::new(Code::MarkerMissing, text)
                .hint(format!("`lastcopy volume add {name} PATH` adds it, and writes its marker")),
            VolumeError::Unreachable { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound => Self::new(Code::MarkerMissing, text)
                    .hint("is its disk mounted? If the tree was moved: `lastcopy volume move NAME PATH`"),
                std::io::ErrorKind::NotADirectory => Self::new(Code::MarkerMissing, text).hint("a volume is a directory"),
                _ => Self::new(Code::Io, text).hint("check its permissions and who runs lastcopy, and whether its disk is whole"),
            },
            VolumeError::PathMismatch { name, .. } => Self::new(Code::PathMismatch, text).hint(format!(
                "if the tree was moved there: `lastcopy volume move {name} PATH`; if not, correct the configuration"
            )),
            VolumeError::MarkerMissing { name, path } => Self::new(Code::MarkerMissing, text).hint(format!(
                "is its disk mounted? If the tree is lost and shall go on here, empty: `lastcopy volume add {name} {} --yes`",
                path.display()
            )),
            VolumeError::MarkerMismatch { .. } => Self::new(Code::MarkerMismatch, text).hint(
                "is another disk mounted here? To care for this tree from this node on: `lastcopy volume add NAME PATH --yes`",
            ),
            VolumeError::InDestination { destination, .. } => Self::new(Code::Refused, text).hint(format!(
                "a volume must lie outside of every destination; if {} is none, remove that file",
                destination.display()
            )),
            VolumeError::Taken(_) => Self::new(Code::Refused, text)
                .hint("`lastcopy volume list` shows them; a moved tree is followed with `lastcopy volume move`"),
            VolumeError::NewEpoch(_) => Self::new(Code::IdentityChanged, text)
                .hint("a new epoch has begun, and everything will be proven again; run the command again"),
            VolumeError::Begin(error) => (*error).into(),
            VolumeError::Store(error) => error.into(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<BeginError> for CliError {
    fn from(error: BeginError) -> Self {
        let text = error.to_string();
        match error {
            BeginError::Blocked { wanted, by, refused } => {
                let (since, what) = (crate::words::local_time(by.started), wanted.name());
                let text = format!("{what} contradicts run {} ({}), running since {since}, by {}", by.id, by.kind, by.owner);
                Self { run: Some(refused), until_a_run_ends: true, ..Self::new(Code::Busy, text) }
                    .hint(format!("wait for it (`--wait` does), or close it if it hangs: `lastcopy runs abort {}`", by.id))
            }
            BeginError::PolicyWeaker { volume, refused, .. } => Self { run: Some(refused), ..Self::weaker(&volume, text) },
            BeginError::NoPolicy { volume } => Self::new(Code::NoPolicy, text).hint(format!(
                "say in [volumes.{volume}.offload] which destinations must hold a file before it may be deleted here"
            )),
            BeginError::Store(error) => error.into(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<IdentityError> for CliError {
    fn from(error: IdentityError) -> Self {
        let text = error.to_string();
        match error {
            IdentityError::NeverInitialised => {
                Self::new(Code::NotInitialised, text).hint("`lastcopy destination init DEST` makes it; nothing else does")
            }
            IdentityError::Changed { .. } => Self::new(Code::IdentityChanged, text).hint(
                "is another disk mounted there? If this is the one from now on: `lastcopy destination adopt DEST`; all is proven again",
            ),
            IdentityError::Gone { .. } => Self::new(Code::NotInitialised, text).hint(
                "is its disk mounted? If it is lost for good: `lastcopy destination reset DEST`, then `lastcopy destination init DEST`",
            ),
            IdentityError::Store(error) => error.into(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<DestinationError> for CliError {
    fn from(error: DestinationError) -> Self {
        let text = error.to_string();
        match error {
            DestinationError::Unreachable { .. } => {
                Self::new(Code::Unreachable, text).hint("is it mounted, or online? `lastcopy destination probe DEST` asks again")
            }
            DestinationError::Auth { .. } => {
                Self::new(Code::Auth, text).hint("check the secrets in its section, the permissions there, and who runs lastcopy")
            }
            DestinationError::Occupied { .. } => Self::new(Code::Refused, text),
            DestinationError::Full { .. } => {
                Self::new(Code::Io, text).hint("free some space there; what was stored and proven so far is kept")
            }
            DestinationError::Unsupported(_) => Self::new(Code::Unsupported, text),
            DestinationError::ToolMissing(_) => Self::new(Code::ToolMissing, text)
                .hint("install it, or say where it is with `program` in the section of the destination"),
            DestinationError::ToolTooOld(_) => Self::new(Code::ToolTooOld, text).hint(
                "install a newer one; where it is not the first on PATH, `program` in the section of the destination names it",
            ),
            DestinationError::Damaged { .. } => Self::new(Code::Corrupt, text),
            DestinationError::Io { .. } => {
                Self::new(Code::Io, text).hint("is its disk whole? `lastcopy destination probe DEST` asks again")
            }
            DestinationError::Cancelled(_) => interrupted(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<SyncError> for CliError {
    fn from(error: SyncError) -> Self {
        let text = error.to_string();
        match error {
            SyncError::Begin(error) => error.into(),
            SyncError::Volume(error) => error.into(),
            SyncError::Identity(error) => error.into(),
            SyncError::RolledBack(_) => Self::new(Code::RolledBack, text).hint(
                "was a backup of it put back? Everything there counts as unproven now. To go on with it as it is: \
                 `lastcopy alarms`, then `lastcopy alarms ack ID`, then sync",
            ),
            SyncError::NewEpoch(_) => Self::new(Code::IdentityChanged, text)
                .hint("a new epoch has begun, and everything will be proven again; run the command again"),
            SyncError::Destination(error) => error.into(),
            SyncError::Store(error) => error.into(),
            SyncError::Temporary(_) => Self::new(Code::Io, text).hint("is there space where temporary files go (TMPDIR)?"),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<InitError> for CliError {
    fn from(error: InitError) -> Self {
        let text = error.to_string();
        match error {
            InitError::Foreign { .. } => Self::new(Code::AlreadyInitialised, text)
                .hint("if it is yours, made by another node or under another name: `lastcopy destination adopt DEST`"),
            InitError::Gone { .. } => Self::new(Code::AlreadyInitialised, text).hint(
                "is its disk mounted? If it is lost for good, and its directory is there and empty: `lastcopy destination reset DEST` \
                 forgets it, then init makes a new one",
            ),
            InitError::Occupied { .. } => {
                Self::new(Code::Refused, text).hint("init wants an empty directory, or one that does not exist yet")
            }
            InitError::Sync(error) => error.into(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<IndexError> for CliError {
    fn from(error: IndexError) -> Self {
        let text = error.to_string();
        match error {
            IndexError::ImplausibleLoss { .. } => Self::new(Code::ImplausibleLoss, text).hint(
                "is the disk mounted, and whole? Nothing was recorded. If the files are really gone: `lastcopy index VOLUME --accept-loss`",
            ),
            IndexError::Pattern { .. } => Self::new(Code::Config, text),
            IndexError::Volume(error) => error.into(),
            IndexError::Store(error) => error.into(),
            IndexError::Io { .. } => Self::new(Code::Io, text),
            IndexError::Cancelled(_) => interrupted(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<OffloadError> for CliError {
    fn from(error: OffloadError) -> Self {
        let text = error.to_string();
        match error {
            OffloadError::Begin(error) => error.into(),
            OffloadError::Store(error) => error.into(),
            OffloadError::Io { .. } => {
                Self::new(Code::Io, text).hint("files that were moved aside are put back by the next index, offload or restore")
            }
            OffloadError::Cancelled(_) => interrupted(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

impl From<RestoreError> for CliError {
    fn from(error: RestoreError) -> Self {
        let text = error.to_string();
        match error {
            RestoreError::Begin(error) => error.into(),
            RestoreError::Volume(error) => error.into(),
            RestoreError::Store(error) => error.into(),
            RestoreError::Destination(error) => error.into(),
            RestoreError::Sync(error) => error.into(),
            RestoreError::Io { .. } => Self::new(Code::Io, text),
            RestoreError::Unrecoverable(_) => Self::new(Code::Corrupt, text),
            RestoreError::Cancelled(_) => interrupted(),
            _ => Self::new(Code::Internal, text),
        }
    }
}

/// Stopped on request.
pub(crate) fn interrupted() -> CliError {
    CliError::new(Code::Interrupted, "interrupted").hint("what was done stays; run the command again to go on")
}
