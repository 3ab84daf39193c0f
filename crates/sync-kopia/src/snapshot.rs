//! Making snapshots of kopia's that are ours: pinned, whole as the reader lists them, and cut off from other people's policies.

use crate::place::{Source, is_pin_of, owner, push_pin};
use crate::program::{Finished, Input, Watch, flag};
use crate::session::Session;
use crate::wire::Snapshot;
use lastcopy_fs::{Cancelled, Id128, Mounts};
use lastcopy_store::VOLUME_DIR;
use lastcopy_sync::{Context, DestinationError};
use std::path::Path;

/// How often kopia keeps what it stored of a snapshot that is not finished.
const CHECKPOINT: &str = "5m";
/// Snapshots that are named in one command.
const AT_A_TIME: usize = 100;

/// Makes and deletes snapshots of an epoch's own.
#[derive(Clone, Copy)]
pub(crate) struct Snapshots<'a> {
    pub(crate) session: &'a Session,
    pub(crate) epoch: Id128,
    pub(crate) context: &'a Context,
}

impl Snapshots<'_> {
    pub(crate) fn address(&self) -> String {
        self.session.connections.options.storage.address()
    }

    fn watch(&self) -> Watch {
        Watch::of(self.context)
    }

    /// Sees to it that no policy of anybody else's expires, or leaves out, what is ours, and that our own files are left out. What else a policy
    /// says that is there already stays as it is.
    pub(crate) fn cut_off(&self, volume: Id128, root: &Path, mounts: Mounts) -> Result<(), DestinationError> {
        let mut ignored = vec![format!("/{VOLUME_DIR}/")];
        ignored.extend(self.repository_in(root).map(|inside| format!("/{}/", escaped(&inside))));
        self.set_policy(volume, ignored, mounts == Mounts::Stay)
    }

    /// The same for what comes from no file of the volume.
    pub(crate) fn cut_off_contents(&self, volume: Id128) -> Result<(), DestinationError> {
        if self.session.server()?.policy(volume)?.is_some() {
            return Ok(());
        }
        self.set_policy(volume, vec![format!("/{VOLUME_DIR}/")], true)
    }

    fn set_policy(&self, volume: Id128, mut ignored: Vec<String>, stay: bool) -> Result<(), DestinationError> {
        let there = self.session.server()?.policy(volume)?;
        if let Some(policy) = &there {
            // A repository may have come into the volume since.
            ignored.retain(|rule| !policy["files"]["ignore"].as_array().into_iter().flatten().any(|known| known == rule));
            if ignored.is_empty() && policy["files"]["oneFileSystem"].as_bool() == Some(stay) {
                return Ok(());
            }
        }
        let finished = self.session.write(Input::Nothing, &self.watch(), |command| {
            command.args(["policy", "set"]).arg(owner(volume)).arg(flag("one-file-system", stay.to_string()));
            command.args(ignored.iter().map(|rule| flag("add-ignore", rule)));
            if there.is_none() {
                command.args(["--inherit=false", "--ignore-cache-dirs=false"]);
            }
        })?;
        finished.well(&self.address())?;
        Ok(())
    }

    /// Where in the volume the repository itself lies, if it does. The root of a volume is named without links, and a repository as a person
    /// did.
    fn repository_in(&self, root: &Path) -> Option<String> {
        let own = self.session.connections.options.storage.local_path()?.canonicalize().ok()?;
        Some(own.strip_prefix(root).ok()?.to_str()?.to_owned())
    }

    /// Makes a snapshot of a directory, pinned, and gives it as the reader lists it.
    pub(crate) fn create(&self, source: Source, dir: &Path, description: &str, force: bool) -> Result<Snapshot, DestinationError> {
        let pin = push_pin(self.epoch).map_err(|source| DestinationError::Io { address: "random numbers".into(), source })?;
        let options = &self.session.connections.options;
        let finished = self.session.write(Input::Nothing, &self.watch(), |command| {
            command.args(["--progress", "snapshot", "create"]).arg(dir);
            command.arg(flag("override-source", source.name())).arg(flag("pin", &pin)).arg(flag("description", description));
            command.arg(format!("--tags=lastcopy-epoch:{}", self.epoch)).arg("--no-send-snapshot-report");
            command.arg(flag("checkpoint-interval", CHECKPOINT)).arg(flag("parallel", options.parallel.to_string()));
            if force {
                command.arg("--force-hash=100");
            }
        })?;
        self.session.settle()?;
        let snapshots = self.session.server()?.snapshots(source)?;
        let made = snapshots.iter().find(|snapshot| snapshot.pins().contains(&pin));
        // What it says, and how it ends, decides nothing: some endings are well without a snapshot, and some are not with a whole one.
        let made = made.ok_or_else(|| self.refusal(&finished))?;
        if !made.is_whole() {
            let reason = format!("kopia left its snapshot incomplete ({}): {}", made.incomplete, finished.words);
            return Err(DestinationError::Unreachable { address: self.address(), reason });
        }
        self.remove_leftovers(&snapshots);
        Ok(made.clone())
    }

    fn refusal(&self, finished: &Finished) -> DestinationError {
        if self.context.cancel.is_cancelled() {
            return Cancelled.into();
        }
        let words = format!("kopia made no snapshot: {}", finished.words);
        self.session.connections.meaning(&words)
    }

    /// Whether a snapshot was made by this epoch: what others made is theirs to delete.
    pub(crate) fn is_own(&self, snapshot: &Snapshot) -> bool {
        snapshot.pins().iter().any(|pin| is_pin_of(pin, self.epoch))
    }

    /// What pushes of ours left that were cut short: as long as no whole snapshot came after it, it spares the next one the sending. A
    /// pinned one would stay for ever.
    fn remove_leftovers(&self, snapshots: &[Snapshot]) {
        let left: Vec<_> = snapshots.iter().filter(|snapshot| !snapshot.is_whole() && self.is_own(snapshot)).collect();
        // The next push tries again.
        if let Err(error) = self.delete(&left) {
            self.context.progress.note(&format!("a snapshot that was cut short is still there: {error}"));
        }
    }

    /// Deletes snapshots, pins and all. What only they held is freed by kopia's maintenance.
    pub(crate) fn delete(&self, snapshots: &[&Snapshot]) -> Result<(), DestinationError> {
        for some in snapshots.chunks(AT_A_TIME) {
            let deleted = self.session.write(Input::Nothing, &self.watch(), |command| {
                command.args(["snapshot", "delete", "--delete"]).args(some.iter().map(|snapshot| &snapshot.id));
            })?;
            deleted.well(&self.address())?;
        }
        Ok(())
    }
}

/// A path in an ignore rule that means this path alone.
fn escaped(path: &str) -> String {
    let special = |letter: char| matches!(letter, '*' | '?' | '[' | ']' | '\\' | '!' | '#');
    path.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}
