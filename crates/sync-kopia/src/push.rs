//! A push: one snapshot of the whole volume, listed back; then each file that was asked for is looked up in it, read, and hashed.

use crate::listing::{Listing, Stored};
use crate::place::{PLACEHOLDER, Source as Place};
use crate::retention;
use crate::session::{Look, Session, each, lock};
use crate::snapshot::Snapshots;
use crate::wire::Snapshot;
use lastcopy_program::PrivateDir;
use lastcopy_store::Location;
use lastcopy_sync::segment::Place as At;
use lastcopy_sync::{Context, DestinationError, Drift, OpenError, PlanItem, PushSink, Sending, Source, VolumeFile, WorkList};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// How a directory is called in which a snapshot is laid out. What the dead left of these is bytes of files: the next one removes it.
pub(crate) const STAGE: &str = "lastcopy-contents-";
/// Bytes of contents without a file that are laid out for one snapshot.
const STAGED: u64 = 256 << 20;

struct Pushing<'a> {
    session: &'a Session,
    snapshots: Snapshots<'a>,
    at: &'a At,
    sink: &'a dyn PushSink,
    context: &'a Context,
    /// The newest snapshot of the volume's files, if this push made one.
    made: Mutex<Option<Snapshot>>,
    /// What kopia stored otherwise than it is here, or cannot be read back, and why: it is stored once more, every byte read anew.
    again: Mutex<Vec<(PlanItem, String)>>,
}

/// What a content is looked up as.
type PathOf = fn(&PlanItem) -> Result<String, String>;

/// Stores and proves everything of a plan. Blocks.
pub(crate) fn push(
    session: &Session,
    at: &At,
    mut plan: WorkList<PlanItem>,
    sink: &dyn PushSink,
    context: &Context,
) -> Result<(), DestinationError> {
    let snapshots = Snapshots { session, epoch: at.epoch, context };
    let pushing = Pushing { session, snapshots, at, sink, context, made: Mutex::default(), again: Mutex::default() };
    let mut some_file = None;
    // The plan goes on while it is worked on: it was made of one snapshot of the index, and waits for nobody.
    while let Some(group) = plan.blocking_recv() {
        context.cancel.check()?;
        let (files, others): (Vec<_>, Vec<_>) = group.into_iter().partition(|item| matches!(item.source, Source::File(_)));
        if let Some(file) = files.iter().find_map(file_of) {
            some_file = Some(file.clone());
            let listing = pushing.files(file).map_err(|error| explained(error, &files))?;
            pushing.prove(files, &listing, path_of_file)?;
        }
        pushing.push_contents(others)?;
    }
    pushing.push_again(some_file)?;
    pushing.release_older();
    Ok(())
}

fn file_of(item: &PlanItem) -> Option<&VolumeFile> {
    match &item.source {
        Source::File(file) => Some(file),
        Source::Temporary(_) => None,
    }
}

/// kopia makes no snapshot of a tree in which a directory is called as its own placeholders are, and does not say which.
fn explained(error: DestinationError, files: &[PlanItem]) -> DestinationError {
    let is_placeholder = |name: &[u8]| name.ends_with(PLACEHOLDER.as_bytes());
    let dirs = files.iter().filter_map(|item| Some(file_of(item)?.file.path.split()?.0));
    match dirs.into_iter().find(|dir| dir.components().any(is_placeholder)) {
        Some(dir) if matches!(error, DestinationError::Unreachable { .. }) => DestinationError::Unsupported(format!(
            "kopia takes the directory `{dir}` for a placeholder of its own, and makes no snapshot beside it: rename it ({error})"
        )),
        _ => error,
    }
}

/// The path of a file in its volume, if kopia can keep it.
fn path_of_file(item: &PlanItem) -> Result<String, String> {
    let Some(file) = file_of(item) else { return Err("it is no file of the volume".into()) };
    let text = std::str::from_utf8(file.file.path.as_bytes());
    text.map(str::to_owned).map_err(|_| "kopia stores only names in UTF-8; this one is not".into())
}

fn path_of_content(item: &PlanItem) -> Result<String, String> {
    Ok(item.content.hash.to_string())
}

/// What is to be done with one item.
enum Answer {
    Proven(Location, lastcopy_store::Proven),
    Drift(Drift),
    Excluded(String),
    /// kopia may have taken it for unchanged.
    Again(String),
}

impl Pushing<'_> {
    /// The files of the volume as kopia stored them: from an earlier round of this push, or from a new snapshot.
    fn files(&self, file: &VolumeFile) -> Result<Arc<Listing>, DestinationError> {
        let volume = file.volume.uuid();
        if let Some((of, listing)) = lock(&self.session.files).as_ref()
            && *of == volume
        {
            return Ok(listing.clone());
        }
        self.snapshot_files(file, false)
    }

    /// A new snapshot of a volume, listed. With `force`, kopia reads every byte anew, whatever it believes to be unchanged.
    fn snapshot_files(&self, file: &VolumeFile, force: bool) -> Result<Arc<Listing>, DestinationError> {
        let volume = &file.volume;
        self.snapshots.cut_off(volume.uuid(), volume.path(), file.mounts)?;
        let source = Place::Files(volume.uuid());
        let made = self.snapshots.create(source, volume.path(), volume.name(), force)?;
        let listing = Arc::new(Listing::read(self.session, &made.root, &self.context.cancel)?);
        *lock(&self.made) = Some(made);
        *lock(&self.session.files) = Some((volume.uuid(), listing.clone()));
        Ok(listing)
    }

    /// What a newer snapshot holds altogether needs no older one. That it could not be seen to is no failure of the push: the next one tries
    /// again.
    fn release_older(&self) {
        if let Some(newest) = lock(&self.made).take()
            && let Err(error) = retention::release(&self.snapshots, self.at.volume, &newest)
        {
            self.context.progress.note(&format!("older snapshots there were not looked through: {error}"));
        }
    }

    /// Contents that come from no file of the volume are laid out in a directory of our own first.
    fn push_contents(&self, items: Vec<PlanItem>) -> Result<(), DestinationError> {
        let mut items = items.into_iter().peekable();
        while items.peek().is_some() {
            let (mut some, mut bytes) = (Vec::new(), 0);
            while let Some(item) = items.next_if(|item| some.is_empty() || bytes + item.content.size <= STAGED) {
                bytes += item.content.size;
                some.push(item);
            }
            self.push_some_contents(some)?;
        }
        Ok(())
    }

    fn push_some_contents(&self, items: Vec<PlanItem>) -> Result<(), DestinationError> {
        let failed = |source| DestinationError::Io { address: "a directory for contents".into(), source };
        let stage = PrivateDir::for_much(STAGE).map_err(failed)?;
        let mut staged = Vec::new();
        for item in items {
            self.context.cancel.check()?;
            match lay_out(&item, stage.path()) {
                Ok(Ok(())) => staged.push(item),
                Ok(Err(drift)) => self.answer(item, Answer::Drift(drift)),
                Err(error) => self.answer(item, Answer::Excluded(format!("cannot be read: {error}"))),
            }
        }
        if staged.is_empty() {
            return Ok(());
        }
        let source = Place::Contents(self.at.volume);
        self.snapshots.cut_off_contents(self.at.volume)?;
        let made = self.snapshots.create(source, stage.path(), "contents", false)?;
        let listing = Listing::read(self.session, &made.root, &self.context.cancel)?;
        self.prove(staged, &listing, path_of_content)?;
        let again = std::mem::take(&mut *lock(&self.again));
        let (again, files): (Vec<_>, Vec<_>) = again.into_iter().partition(|(item, _)| file_of(item).is_none());
        lock(&self.again).extend(files);
        if again.is_empty() {
            return Ok(());
        }
        let made = self.snapshots.create(source, stage.path(), "contents", true)?;
        let listing = Listing::read(self.session, &made.root, &self.context.cancel)?;
        self.prove(again.into_iter().map(|(item, _)| item).collect(), &listing, path_of_content)?;
        self.give_up(|item| file_of(item).is_none());
        Ok(())
    }

    /// Stores once more, every byte read anew, what kopia has otherwise than it is here.
    fn push_again(&self, some_file: Option<VolumeFile>) -> Result<(), DestinationError> {
        let again = std::mem::take(&mut *lock(&self.again));
        let Some(file) = some_file.filter(|_| !again.is_empty()) else { return Ok(()) };
        let listing = self.snapshot_files(&file, true)?;
        self.prove(again.into_iter().map(|(item, _)| item).collect(), &listing, path_of_file)?;
        self.give_up(|_| true);
        Ok(())
    }

    /// After the second time: what is still otherwise stays so.
    fn give_up(&self, which: impl Fn(&PlanItem) -> bool) {
        let (hopeless, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *lock(&self.again)).into_iter().partition(|(item, _)| which(item));
        lock(&self.again).extend(others);
        for (item, why) in hopeless {
            self.sink.failed(item, format!("{why}, and stored anew, it is still so: the repository is damaged there"));
        }
    }

    /// Looks at what was stored for each of these, several at a time.
    fn prove(&self, items: Vec<PlanItem>, listing: &Listing, path_of: PathOf) -> Result<(), DestinationError> {
        each(items, self.session.connections.options.parallel, &self.context.cancel, |item| {
            let answer = self.look(&item, listing, path_of)?;
            self.answer(item, answer);
            Ok(())
        })
    }

    fn answer(&self, item: PlanItem, answer: Answer) {
        match answer {
            Answer::Proven(location, proven) => {
                self.context.progress.advance(1, 0);
                self.sink.stored(&item);
                self.sink.proven(item, location, proven);
            }
            Answer::Drift(drift) => self.sink.drift(item, drift),
            Answer::Excluded(reason) => self.sink.excluded(item, reason),
            Answer::Again(why) => lock(&self.again).push((item, why)),
        }
    }

    fn look(&self, item: &PlanItem, listing: &Listing, path_of: PathOf) -> Result<Answer, DestinationError> {
        let path = match path_of(item) {
            Ok(path) => path,
            Err(reason) => return Ok(Answer::Excluded(reason)),
        };
        let why = match listing.at(&path) {
            Stored::File { object, size } if size == item.content.size => {
                match self.session.look(object, item.content, &self.context.cancel, self.context.progress.as_ref())? {
                    Look::Proven(proven) => return Ok(Answer::Proven(Location(object.into()), proven)),
                    Look::Other(found) => format!("the bytes there hash to {}", found.hash),
                    Look::Absent => "kopia lists it, and has no bytes for it".into(),
                    Look::Damaged(reason) => format!("its bytes cannot be read there: {reason}"),
                }
            }
            Stored::File { size, .. } => format!("kopia stored {size} bytes instead of {}", item.content.size),
            Stored::Unread(reason) => reason,
            Stored::NoFile => "kopia stored it as something that is no file".into(),
            Stored::Nothing => return Ok(self.left_out(item)),
            Stored::Twice => {
                return Ok(Answer::Excluded(
                    "another name there is the same to kopia, which tells only names in UTF-8 apart".into(),
                ));
            }
        };
        Ok(drift_of(item).map_or(Answer::Again(why), Answer::Drift))
    }

    /// Why kopia's snapshot does not have a file.
    fn left_out(&self, item: &PlanItem) -> Answer {
        match item.source.open(item.content) {
            Err(OpenError::Drift(drift)) => Answer::Drift(drift),
            Err(OpenError::Unreadable(error)) => Answer::Excluded(format!("cannot be read: {error}")),
            Ok(_) => {
                Answer::Excluded("kopia left it out: by a rule or a limit of its policies, or because it could not read it".into())
            }
        }
    }
}

/// What became of the source, if it is not what it should be any more.
fn drift_of(item: &PlanItem) -> Option<Drift> {
    match item.source.open(item.content) {
        Ok(source) => Sending::finish(source).ok()?.err(),
        Err(OpenError::Drift(drift)) => Some(drift),
        Err(OpenError::Unreadable(_)) => None,
    }
}

/// Writes a content to a file by its name in a directory.
fn lay_out(item: &PlanItem, dir: &Path) -> io::Result<Result<(), Drift>> {
    let mut source = match item.source.open(item.content) {
        Ok(source) => source,
        Err(OpenError::Drift(drift)) => return Ok(Err(drift)),
        Err(OpenError::Unreadable(error)) => return Err(error),
    };
    let path = dir.join(item.content.hash.to_string());
    io::copy(&mut source, &mut File::create(&path)?)?;
    let finished = source.finish()?;
    if finished.is_err() {
        std::fs::remove_file(path)?;
    }
    Ok(finished)
}
