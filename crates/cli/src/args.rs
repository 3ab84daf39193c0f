//! The command line as written: parsed without looking at anything.

use crate::progress::Show;
use crate::units::{Age, Size};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use std::ffi::OsString;
use std::path::PathBuf;

/// Free a disk without ever losing a file.
///
/// lastcopy indexes directory trees ("volumes") by BLAKE3 content hash, pushes them to destinations, keeps evidence of what is durable
/// where, and offloads: it deletes a local file only when every destination that the policy requires provably holds those very bytes.
/// And it brings them back.
#[derive(Debug, Parser)]
#[command(name = "lastcopy", version, max_term_width = 100, propagate_version = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Configuration file [default: $LASTCOPY_CONFIG, else config.toml in the XDG configuration directory]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath, help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object per line on stdout
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// How to show progress on stderr
    #[arg(long, global = true, value_name = "HOW", value_enum, default_value = "auto", help_heading = "Global options")]
    pub(crate) progress: Show,
    /// When to use colours; NO_COLOR is honoured
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value = "auto", help_heading = "Global options")]
    pub(crate) color: Color,
    /// Wait for a run that stands in the way, instead of refusing
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) wait: bool,
    /// Do it without asking
    #[arg(long, short = 'y', global = true, help_heading = "Global options")]
    pub(crate) yes: bool,
}

/// A path at or below a volume's root. An empty one is a variable of a script that was never set, and would stand for everything.
fn not_empty() -> impl TypedValueParser<Value = OsString> {
    OsStringValueParser::new()
        .try_map(|path| if path.is_empty() { Err("the path is empty; a whole volume is named by a dot: `.`") } else { Ok(path) })
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The whole story on a generated tree in a temporary directory: index, push, verify, offload, restore
    ///
    /// Touches nothing of yours.
    Demo {
        /// Keep the temporary directory, and say where it is
        #[arg(long)]
        keep: bool,
    },
    /// Write a commented configuration
    ///
    /// Asks on a terminal; takes the options otherwise. Never writes over an existing file.
    Init(Init),
    /// Look at the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Add, list and move volumes: the directory trees under care
    Volume {
        #[command(subcommand)]
        command: VolumeCommand,
    },
    /// Make, list, ask and repair destinations: the places that keep copies
    Destination {
        #[command(subcommand)]
        command: DestinationCommand,
    },
    /// Walk volumes, hash what changed, and record it
    Index {
        /// Volumes [default: all]
        #[arg(value_name = "VOLUME")]
        volumes: Vec<String>,
        /// Believe a volume that is suddenly empty, or has lost most of its files
        #[arg(long)]
        accept_loss: bool,
    },
    /// Compare disk and index without changing the index
    Audit {
        /// Volumes [default: all]
        #[arg(value_name = "VOLUME")]
        volumes: Vec<String>,
        /// Read every byte again, to find bit rot
        #[arg(long)]
        deep: bool,
    },
    /// Push volumes to their destinations, verify what landed, and advance the evidence
    Sync {
        /// Volumes [default: all]
        #[arg(value_name = "VOLUME")]
        volumes: Vec<String>,
        /// Only to this destination; may be given several times
        #[arg(long, value_name = "DEST")]
        to: Vec<String>,
    },
    /// Check again what destinations hold
    ///
    /// Reads every byte, and the segments that name the files, unless told otherwise; with a budget, what was unchecked the longest.
    /// What a provider's own checksum proved is compared with that instead, for as long as it stays the same.
    Verify {
        /// Destinations [default: all]
        #[arg(value_name = "DEST")]
        destinations: Vec<String>,
        /// Only that everything is there, with its size
        #[arg(long, conflicts_with_all = ["all", "budget"])]
        quick: bool,
        /// Every byte of everything (the default)
        #[arg(long, conflicts_with = "budget")]
        all: bool,
        /// Read about so much, the longest unchecked first
        #[arg(long, value_name = "SIZE")]
        budget: Option<Size>,
        /// Only the contents of this volume's files
        #[arg(long, value_name = "VOLUME")]
        volume: Option<String>,
    },
    /// Am I safe, and what can I free?
    Status {
        /// Volume [default: all]
        #[arg(value_name = "VOLUME")]
        volume: Option<String>,
    },
    /// Every lock of the offload gate for some files, and what would open it
    ///
    /// Of each destination that counts: `incarnation` (who answers there is who was accepted), `alarm` (none stands), `coverage` (a push
    /// there was complete), `freshness` (after the file came), `receipt` (it holds the content), `method` (by an accepted proof), `age` (a
    /// young enough one). ✓ is open, ✗ closed; · has nothing to judge.
    Explain {
        /// Files or directories
        #[arg(value_name = "PATH", required = true, value_parser = not_empty(), value_hint = ValueHint::AnyPath)]
        paths: Vec<OsString>,
    },
    /// Delete local copies that the gate passes
    ///
    /// A whole volume needs an explicit `.`. Without paths, goes on with what lies in quarantine since an earlier offload.
    Offload(OffloadArgs),
    /// Offload policies: the one in force against the one configured
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
    /// Bring bytes back
    ///
    /// Offloaded files return to their places; a missing one if it is named itself. Nothing existing is overwritten.
    Restore(RestoreArgs),
    /// What is known of a content or a path, its history, and where its copies are
    Query(QueryArgs),
    /// Vectors, receipts, and the log of every change to them
    Evidence {
        #[command(subcommand)]
        command: EvidenceCommand,
    },
    /// Standing alarms
    Alarms {
        #[command(subcommand)]
        command: Option<AlarmsCommand>,
    },
    /// The audit trail of runs
    Runs {
        /// One run, in detail
        #[arg(value_name = "ID")]
        id: Option<i64>,
        /// How many, newest first
        #[arg(long, value_name = "COUNT", default_value_t = 30)]
        limit: usize,
        #[command(subcommand)]
        command: Option<RunsCommand>,
    },
    /// Runs of the volumes' hooks
    Hooks {
        /// How many, newest first
        #[arg(long, value_name = "COUNT", default_value_t = 30)]
        limit: usize,
    },
    /// The index itself: integrity, backups, schema
    Db {
        #[command(subcommand)]
        command: DbCommand,
    },
    /// Rebuild the index of a machine from a destination alone
    Recover(RecoverArgs),
    /// Print completions for a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man {
        /// That of a command, like `offload` or `destination init` [default: that of lastcopy]
        #[arg(value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Print a generated reference of the documentation
    #[command(hide = true)]
    Reference {
        #[arg(value_enum)]
        which: crate::reference::Which,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The node's name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    /// The first volume's name
    #[arg(long, value_name = "NAME")]
    pub(crate) volume: Option<String>,
    /// The first volume's directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) path: Option<PathBuf>,
    /// The first destination's name
    #[arg(long, value_name = "NAME")]
    pub(crate) destination: Option<String>,
    /// The first destination's URL, like file:///media/usb/lastcopy
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Load, resolve and probe everything; name what is wrong, and what shares a volume's device
    Check,
}

#[derive(Debug, Subcommand)]
pub(crate) enum VolumeCommand {
    /// Register a tree and write its marker
    Add {
        /// Its name
        name: String,
        /// Its directory
        #[arg(value_hint = ValueHint::DirPath)]
        path: PathBuf,
    },
    /// List the volumes
    List,
    /// Follow a tree that was moved, where its marker proves that it is the same
    Move {
        /// Its name
        name: String,
        /// Where it is now
        #[arg(value_hint = ValueHint::DirPath)]
        path: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DestinationCommand {
    /// Create the repository: the only command that may
    Init {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
    },
    /// List the destinations
    List,
    /// Ask one who it is and what it can do
    Probe {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
    },
    /// Accept who answers: changed, another node's, or known under another name; all its evidence counts as unproven
    Adopt {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Say what it would leave without proof, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Take all evidence of a destination for unproven
    Reset {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Say what it would leave without proof, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Store again, from here or from another destination, what was found lost or damaged
    Repair {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
        /// Say what could be repaired from where, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Release what no receipt needs any more
    Compact {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
        /// Change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Run the conformance suite against one, in a scratch prefix that is removed again
    Test {
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct OffloadArgs {
    /// Volume
    #[arg(value_name = "VOLUME", required_unless_present = "undo", conflicts_with = "undo")]
    pub(crate) volume: Option<String>,
    /// Files and directories of the volume, relative to its root or absolute
    #[arg(value_name = "PATH", value_parser = not_empty(), value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
    /// Only files last modified longer ago than this, like 90d
    #[arg(long, value_name = "AGE")]
    pub(crate) older_than: Option<Age>,
    /// Only files larger than this, like 500MB
    #[arg(long, value_name = "SIZE")]
    pub(crate) larger_than: Option<Size>,
    /// The longest unmodified first, until so much is freed
    #[arg(long, value_name = "SIZE")]
    pub(crate) free: Option<Size>,
    /// Make every required destination prove each file again, now, by reading it
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Say what would happen, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Within the policy's grace: put back everything that this run has quarantined
    #[arg(long, value_name = "RUN", conflicts_with_all = ["older_than", "larger_than", "free", "confirm"])]
    pub(crate) undo: Option<i64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy in force against the one configured
    Show {
        /// Volume [default: all]
        #[arg(value_name = "VOLUME")]
        volume: Option<String>,
    },
    /// Accept the configured policy, weaker or not
    Accept {
        /// Volume
        #[arg(value_name = "VOLUME")]
        volume: String,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// Volume
    #[arg(value_name = "VOLUME")]
    pub(crate) volume: String,
    /// Files and directories of the volume [default: all that was offloaded]
    #[arg(value_name = "PATH", value_parser = not_empty(), value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
    /// Only from this destination
    #[arg(long, value_name = "DEST")]
    pub(crate) from: Option<String>,
    /// To this directory instead of the volume: everything that the index knows below the paths
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to: Option<PathBuf>,
    /// The content with this digest: to the offloaded and missing paths that held it last, or with --to whatever became of its paths
    #[arg(long, value_name = "HASH", conflicts_with_all = ["paths", "in_place"])]
    pub(crate) content: Option<String>,
    /// Also replace what differs from the index; it is kept in .lastcopy/kept
    #[arg(long, conflicts_with = "to")]
    pub(crate) in_place: bool,
}

#[derive(Debug, Args)]
#[group(id = "question", required = true, multiple = false)]
pub(crate) struct QueryArgs {
    /// A content's digest, or a path
    #[arg(value_name = "HASH | PATH", group = "question", value_parser = not_empty(), value_hint = ValueHint::AnyPath)]
    pub(crate) what: Option<OsString>,
    /// Contents that several files hold
    #[arg(long, group = "question")]
    pub(crate) duplicates: bool,
    /// Files that are gone, reason unknown
    #[arg(long, group = "question")]
    pub(crate) missing: bool,
    /// Files that were offloaded
    #[arg(long, group = "question")]
    pub(crate) offloaded: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Vectors and receipts of volumes at destinations
    Show {
        /// Volume [default: all]
        #[arg(value_name = "VOLUME")]
        volume: Option<String>,
        /// Destination [default: all]
        #[arg(value_name = "DEST")]
        destination: Option<String>,
    },
    /// Every advance, rewind and reset
    Log,
    /// Lower a vector; what was proven since counts as unproven
    Rewind {
        /// Volume
        #[arg(value_name = "VOLUME")]
        volume: String,
        /// Destination
        #[arg(value_name = "DEST")]
        destination: String,
        /// The run to go back to; 0 for nothing
        #[arg(long, value_name = "RUN")]
        to: i64,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Say what would happen, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmsCommand {
    /// Acknowledge one
    Ack {
        /// The alarm
        #[arg(value_name = "ID")]
        id: i64,
        /// Why, for the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Say what would be forgotten, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Close a run that hangs; it then can record nothing more
    Abort {
        /// The run
        #[arg(value_name = "ID")]
        id: i64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum DbCommand {
    /// Check the index for damage
    Check,
    /// Write a copy of the index to a new file, while others go on working
    Backup {
        /// The new file
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Put a copy of the index in its place; what was there is kept, and a new epoch begins
    Restore {
        /// The copy
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Check the copy, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the schema
    Schema,
}

#[derive(Debug, Args)]
pub(crate) struct RecoverArgs {
    /// The destination: its URL, or its name if the configuration has a section for it, as what takes a password or options needs one, like every
    /// repository of kopia's
    #[arg(long, value_name = "URL | NAME")]
    pub(crate) from: String,
    /// Only these volumes, by name or id; may be given several times
    #[arg(long, value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,
    /// Put volumes that the configuration does not know below this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to: Option<PathBuf>,
    /// The name that the destination gets, if the configuration does not know it
    #[arg(long, value_name = "NAME", default_value = "recovered")]
    pub(crate) name: String,
    /// Say what could be recovered, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    /// `query` crashed: its argument and its group had one name, which nothing notices before the command is used.
    #[test]
    fn every_command_is_well_formed() {
        super::Cli::command().debug_assert();
    }
}
