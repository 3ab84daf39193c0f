//! Recovering: what a destination keeps is enough to know every path, content and status again.

use crate::error::RestoreError;
use lastcopy_fs::{Content, Id128, RelPath};
use lastcopy_store::{
    DestinationRecord, FileStatus, Incarnation, Layout, Location, Outcome, Recording, Recovered, Restore, Run, RunId, RunStatus,
    Store, VolumeRecord,
};
use lastcopy_sync::segment::{FoundHead, Header, Link, Place, Said, digest_of, hex, read, read_header};
use lastcopy_sync::{Context, Destination, DestinationError, Probe};
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Seek;

/// Lines that are recorded together.
const BATCH: usize = 4096;

/// A volume that can be recovered from a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its newest head.
    pub head: FoundHead,
    /// The first line of its newest segment that can be read: names, path, node.
    pub header: Header,
    /// The heads of other epochs whose pushes lie there, too, oldest first.
    pub older: Vec<FoundHead>,
    /// The epochs that these continue, also those of which nothing lies there.
    pub continues: BTreeSet<Id128>,
}

/// What a recovery notes with its run, together with what it records.
#[derive(Serialize, Deserialize)]
struct Note {
    /// The life that it took up.
    recovered: String,
    /// The run of its head.
    run: RunId,
    /// The others that were read with it. Earlier notes name none.
    #[serde(default)]
    older: Vec<(String, RunId)>,
}

impl Note {
    /// Whether it took up this head, or a later one of its life.
    fn took_up(&self, head: &FoundHead) -> bool {
        let (epoch, run) = (head.place.epoch.to_string(), head.head().run);
        let lives = self.older.iter().map(|(epoch, run)| (epoch, *run)).chain([(&self.recovered, self.run)]);
        lives.into_iter().any(|(life, at)| *life == epoch && at >= run)
    }
}

impl Found {
    fn note(&self) -> Option<String> {
        let life = |head: &FoundHead| (head.place.epoch.to_string(), head.head().run);
        let ((recovered, run), older) = (life(&self.head), self.older.iter().map(life).collect());
        serde_json::to_string(&Note { recovered, run, older }).ok()
    }

    /// Whether an index that knows the volume has something to learn here, at a destination that it accepted: it does not, if it has files of
    /// the volume on the disk, wrote each head that lies there or was recovered from it, and knows what the destination holds.
    pub fn has_news(&self, store: &Store, volume: &VolumeRecord, destination: &DestinationRecord) -> Result<bool, RestoreError> {
        let on_disk = [FileStatus::Present, FileStatus::Quarantined];
        let (own, noted) = (store.epoch()?, store.noted_by_restores(volume.id)?);
        let ended_well = noted.iter().filter(|(_, ended)| *ended == RunStatus::Success);
        let notes: Vec<Note> = ended_well.filter_map(|(note, _)| serde_json::from_str(note).ok()).collect();
        let mut heads = self.older.iter().chain([&self.head]);
        let told = heads.all(|head| head.place.epoch == own || notes.iter().any(|note| note.took_up(head)));
        Ok(!told
            || store.select_files(volume.id, &[RelPath::root()], &on_disk)?.is_empty()
            || store.count_receipts(destination.id)? == (0, 0, 0)
            || store.lacks_receipts(volume.id, destination.id)?)
    }

    /// Whether this says something later than an earlier recovery did: of the same life, or of one that knows it as an older one.
    /// One that met damage, or was stopped before its end, is heard again.
    fn is_newer_than(&self, Note { recovered, run, .. }: &Note, ended: RunStatus) -> bool {
        let head = &self.head;
        if head.place.epoch.to_string() == *recovered {
            head.head().run > *run || ended != RunStatus::Success && head.head().run == *run
        } else {
            let older = self.older.iter().map(|older| older.place.epoch);
            older.chain(self.continues.iter().copied()).any(|epoch| epoch.to_string() == *recovered)
        }
    }
}

/// What a recovery found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoverReport {
    /// Paths that the index knows by it, and did not know so before.
    pub files: u64,
    /// Segments that were read.
    pub segments: u64,
    /// Segments that are damaged or gone, and what that means.
    pub damaged: Vec<String>,
    /// Paths whose contents lie at other places than they would tell, or that are missing here, where files lie at their paths. Without a
    /// place, the destination did not hold it when that was written.
    pub elsewhere: BTreeMap<RelPath, (Content, Option<Location>)>,
    /// What paths held before, by the places where the destination has it, if not by its digest.
    pub earlier: BTreeMap<Location, Content>,
    /// `elsewhere` names every path that the destination has: the index knew the volume already, and may know others.
    pub names_all: bool,
}

/// What lies at a destination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recoverable {
    /// Each volume at its newest epoch.
    pub found: Vec<Found>,
    /// Volumes and epochs of which nothing can be read, and why.
    pub damaged: Vec<String>,
}

/// Where a recovery reads.
#[derive(Clone, Copy)]
pub struct Recovering<'a> {
    /// The destination.
    pub destination: &'a dyn Destination,
    /// Who answered there at first. What cannot be read while nobody answers, or another one, is not damaged.
    pub met: &'a Incarnation,
    /// Cancellation, progress, and the runtime.
    pub context: &'a Context,
}

impl Recovering<'_> {
    /// After something could not be read: who is there decides whether that means anything.
    fn still_there(&self, why: &dyn std::fmt::Display) -> Result<(), RestoreError> {
        match self.context.runtime.block_on(self.destination.probe_again())? {
            Probe::Found(found) if found == *self.met => Ok(()),
            Probe::Found(found) => Err(self.unreachable(format!("{why}; {found} is there now, and {} was before", self.met))),
            Probe::Nothing | Probe::NoPlace | Probe::CannotTell(_) => Err(self.unreachable(why.to_string())),
        }
    }

    fn unreachable(&self, reason: String) -> RestoreError {
        DestinationError::Unreachable { address: self.destination.capabilities().address, reason }.into()
    }
}

/// What can be recovered from a destination. What is damaged is said, and stops nothing else.
pub fn recoverable(from: Recovering<'_>) -> Result<Recoverable, RestoreError> {
    let Recovering { destination, context, .. } = from;
    let mut all = Recoverable::default();
    let mut volumes: BTreeMap<Id128, Vec<FoundHead>> = BTreeMap::new();
    for head in context.runtime.block_on(destination.places())? {
        match head {
            Ok(head) => volumes.entry(head.place.volume).or_default().push(head),
            Err(damaged) => {
                from.still_there(&damaged.reason)?;
                let Place { volume, epoch } = damaged.place;
                all.damaged.push(format!("volume {volume}: the head of epoch {epoch} is damaged: {}", damaged.reason));
            }
        }
    }
    for heads in volumes.into_values() {
        let follows = follows(from, &heads)?;
        let mut ordered = in_order(heads, &follows);
        while let Some(head) = ordered.pop() {
            if let Some(header) = newest_header(from, &head)? {
                let continues = follows.into_values().filter(|epoch| *epoch != head.place.epoch).collect();
                all.found.push(Found { head, header, older: ordered, continues });
                break;
            }
            let Place { volume, epoch } = head.place;
            all.damaged.push(format!("volume {volume}: no segment of epoch {epoch} can be read"));
        }
    }
    Ok(all)
}

/// The header of the newest segment that can be read: names hardly ever change from one to the next.
fn newest_header(from: Recovering<'_>, head: &FoundHead) -> Result<Option<Header>, RestoreError> {
    match opened(from, head.place, &head.document.segment)? {
        Ok((_, header)) => Ok(Some(header)),
        Err(_) => {
            let earlier = earlier(from, head.place, head.document.segment.sequence)?.ok().flatten();
            Ok(earlier.map(|(_, header)| header))
        }
    }
}

/// Which epoch each of these continues, as its full segment says.
fn follows(from: Recovering<'_>, heads: &[FoundHead]) -> Result<BTreeMap<Id128, Id128>, RestoreError> {
    let mut follows = BTreeMap::new();
    // Also of the only one: what it continues may lie at another destination, from which an index knows it.
    for head in heads {
        // One whose links are broken says nothing; the clock has to do for it.
        let Some(header) = full_header(from, head)? else { continue };
        let earlier = header.follows_epoch.and_then(|epoch| epoch.parse::<Id128>().ok());
        follows.extend(earlier.filter(|earlier| *earlier != head.place.epoch).map(|earlier| (head.place.epoch, earlier)));
    }
    Ok(follows)
}

/// Heads, the oldest first: none before one that it continues. Only between lives of which none continues another a node's clock decides.
fn in_order(mut heads: Vec<FoundHead>, follows: &BTreeMap<Id128, Id128>) -> Vec<FoundHead> {
    let mut newest_first = Vec::new();
    while !heads.is_empty() {
        let continued: BTreeSet<_> = heads.iter().filter_map(|head| follows.get(&head.place.epoch)).collect();
        let is_last = |head: &FoundHead| !continued.contains(&head.place.epoch);
        // A circle can only be a forgery; then nothing is older than anything.
        let newest = (0..heads.len()).max_by_key(|place| (is_last(&heads[*place]), heads[*place].document.written_at()));
        newest_first.extend(newest.map(|place| heads.remove(place)));
    }
    newest_first.reverse();
    newest_first
}

/// The header of the segment that a head's links end at.
fn full_header(from: Recovering<'_>, head: &FoundHead) -> Result<Option<Header>, RestoreError> {
    let mut next = Some(head.document.segment.clone());
    while let Some(link) = next {
        from.context.cancel.check()?;
        // A damaged one does not hide those before it.
        next = match opened(from, head.place, &link)? {
            Err(_) => earlier(from, head.place, link.sequence)?.ok().flatten().map(|(link, _)| link),
            Ok((_, header)) => match linked(&link, &header) {
                None => return Ok(Some(header)),
                previous => previous,
            },
        }
    }
    Ok(None)
}

/// The segment before one. A link that does not lead back is none.
fn linked(link: &Link, header: &Header) -> Option<Link> {
    header.previous.clone().filter(|previous| previous.sequence < link.sequence)
}

/// What a destination answers, asked twice: a call may fail once. What fails again while the destination is there, it cannot give.
fn asked<T>(
    from: Recovering<'_>,
    ask: impl AsyncFn() -> Result<T, DestinationError>,
) -> Result<Result<T, DestinationError>, RestoreError> {
    let mut asked_twice = false;
    loop {
        match from.context.runtime.block_on(ask()) {
            Ok(answer) => return Ok(Ok(answer)),
            Err(DestinationError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => {
                from.still_there(&error)?;
                if std::mem::replace(&mut asked_twice, true) {
                    return Ok(Err(error));
                }
            }
        }
    }
}

/// A segment, or why it is not given: then it is damaged.
fn given(from: Recovering<'_>, place: Place, sequence: i64) -> Result<Result<File, DestinationError>, RestoreError> {
    asked(from, async || from.destination.segment(&place, sequence).await)
}

/// A segment at its start, with its header, if its bytes are the ones that were linked; else what is wrong with it.
fn opened(from: Recovering<'_>, place: Place, link: &Link) -> Result<Result<(File, Header), String>, RestoreError> {
    let sequence = link.sequence;
    let mut file = match given(from, place, sequence)? {
        Ok(file) => file,
        Err(error) => return Ok(Err(format!("segment {sequence} cannot be read: {error}"))),
    };
    let opened = digest_of(&mut file).map_err(|error| error.to_string()).and_then(|digest| {
        if hex(&digest) != link.digest {
            return Err("it hashes to something else".into());
        }
        let header = read_header(&file)?;
        file.rewind().map_err(|error| error.to_string())?;
        Ok((file, header))
    });
    if let Err(why) = &opened {
        from.still_there(why)?;
    }
    Ok(opened.map_err(|why| format!("segment {sequence} is damaged: {why}")))
}

/// Fills the index with what the segments of a volume say. Paths that were present or offloaded become `offloaded`: what is on the
/// disk, an index run will find.
///
/// The segments of older lives come first. A life that began with an old backup of the index, or beside another copy of it, does not know
/// every path that was offloaded before or meanwhile; where it had a path itself, it has the last word.
///
/// A damaged segment does not stop the others: what it alone said is lost, and said so.
///
/// Where the index knew the volume already, it has the last word on what it saw itself: of that, only paths that it does not know are added.
/// What it knows by earlier recoveries alone follows the later head.
///
/// All of it is recorded at once. The oldest words come first: who was stopped among them would leave an index that takes them for the last.
/// Progress is told meanwhile, while nobody else can write to the index: whoever hears of it must not wait for somebody who does.
pub fn recover_volume(run: Run<Restore>, from: Recovering<'_>, found: &Found) -> Result<RecoverReport, RestoreError> {
    match fill(&run, from, found) {
        Ok(report) => {
            let outcome = match report.damaged.len() {
                0 => Outcome::Success,
                count => Outcome::Partial(format!("{count} segments are damaged or gone")),
            };
            run.finish(&outcome, None)?;
            Ok(report)
        }
        Err(error) => Err(error.ends(run)),
    }
}

fn fill(run: &Run<Restore>, from: Recovering<'_>, found: &Found) -> Result<RecoverReport, RestoreError> {
    let known = run.known_before()?;
    let mut recoveries = known.noted.iter().filter_map(|(note, ended)| Some((serde_json::from_str(note).ok()?, *ended))).peekable();
    let only_itself = known.otherwise && recoveries.peek().is_none();
    let index_first = only_itself || recoveries.any(|(note, ended)| !found.is_newer_than(&note, ended));
    let layout = from.destination.layout(&found.header.volume_name);
    let names_all = (index_first || known.otherwise) && layout != Layout::ByContent;
    let mut report = RecoverReport { names_all, ..RecoverReport::default() };
    // All of it is here before anything is recorded: nobody else writes to the index while that goes on.
    let lives =
        found.older.iter().chain([&found.head]).map(|head| chain(from, head, &mut report)).collect::<Result<Vec<_>, _>>()?;
    let mut report = run.recovering(found.note().as_deref(), |recording| {
        let mut filling = Filling { recording, from, layout, index_first, report };
        filling.fill(found, lives)?;
        Ok::<_, RestoreError>(filling.report)
    })?;
    report.files = run.count_recorded()?;
    Ok(report)
}

/// A recovery of a volume that is under way.
struct Filling<'a, 'r> {
    recording: &'a mut Recording<'r>,
    from: Recovering<'a>,
    layout: Layout,
    /// Of what the index knew before, that has the last word.
    index_first: bool,
    report: RecoverReport,
}

impl Filling<'_, '_> {
    fn fill(&mut self, found: &Found, lives: Vec<Vec<File>>) -> Result<(), RestoreError> {
        // It was checked when the head was read.
        if let (Ok(node), false) = (found.head.document.node.parse(), self.index_first) {
            self.recording.continues(node, &found.header.node_name, found.head.place.epoch)?;
        }
        for (life, segments) in lives.into_iter().enumerate() {
            // Before the first life there was none that it could contradict.
            let mut kept = (life > 0).then(Kept::default);
            self.from.context.progress.phase("recovering", segments.len() as u64, 0);
            for segment in segments {
                self.apply(segment, kept.as_mut())?;
                self.from.context.progress.advance(1, 0);
            }
        }
        Ok(())
    }

    /// Records what a segment says.
    fn apply(&mut self, segment: File, mut kept: Option<&mut Kept>) -> Result<(), RestoreError> {
        let mut batch = Vec::new();
        let (mut failed, mut left_out) = (None, LeftOut::default());
        let said = read(segment, &mut |said| {
            batch.push(self.heard(said, kept.as_deref_mut()));
            if batch.len() >= BATCH {
                failed = self.record(&std::mem::take(&mut batch), &mut left_out).err();
            }
            failed.as_ref().map_or(Ok(()), |_| Err("recording failed".into()))
        });
        if let Some(error) = failed {
            return Err(error);
        }
        self.record(&batch, &mut left_out)?;
        self.report.damaged.extend(left_out.damage());
        match said {
            Ok(_) => self.report.segments += 1,
            // Its digest was right: it was written so.
            Err(why) => self.report.damaged.push(format!("a segment is damaged: {why}")),
        }
        Ok(())
    }

    fn record(&mut self, batch: &[Recovered], left_out: &mut LeftOut) -> Result<(), RestoreError> {
        self.from.context.cancel.check()?;
        left_out.add(&self.recording.say(batch)?);
        Ok(())
    }

    /// What a line comes to, by a life that had these paths itself.
    fn heard(&mut self, said: Said, kept: Option<&mut Kept>) -> Recovered {
        let Said { path, content, mtime_ns, mode, status, earlier, location, .. } = said;
        let index_first = self.index_first;
        if earlier && status != FileStatus::Present {
            // How the path stands, another line says, of this life or of an older one.
            self.report.earlier.extend((!location.0.is_empty()).then_some((location, content)));
            return Recovered { path, content, mtime_ns, mode, status: FileStatus::Superseded, yields: false, index_first };
        }
        let is_held = status == FileStatus::Present;
        let status = match status {
            FileStatus::Present | FileStatus::Offloaded | FileStatus::Quarantined => FileStatus::Offloaded,
            FileStatus::Missing | FileStatus::Superseded => FileStatus::Missing,
        };
        let never_had = !earlier && kept.is_some_and(|kept| !kept.has_had(&path, status));
        let place = (!location.0.is_empty()).then_some(location);
        // Where files lie at their paths, each that is held has a place.
        let tells = place.is_some() || self.layout != Layout::ByContent && status == FileStatus::Offloaded;
        if earlier {
            // It counts for the path only if nobody else says anything of it, and the path tells no place for it.
            match self.report.elsewhere.entry(path.clone()) {
                Entry::Vacant(free) if tells => drop(free.insert((content, place))),
                Entry::Vacant(_) => {}
                Entry::Occupied(_) => self.report.earlier.extend(place.map(|at| (at, content))),
            }
        } else if !never_had {
            // Where the index has the last word on a path, the destination still has it on what it holds. What it holds there now, it had
            // to make room for.
            if is_held && let Some(at) = &place {
                self.report.earlier.remove(at);
            }
            self.report.elsewhere.remove(&path);
            let lies_at_its_path = status != FileStatus::Missing && place.as_ref() == Some(&self.layout.location(&path));
            if tells && (self.report.names_all || !lies_at_its_path) {
                self.report.elsewhere.insert(path.clone(), (content, place));
            }
        }
        Recovered { path, content, mtime_ns, mode, status, yields: earlier || never_had, index_first }
    }
}

/// Which paths a life had itself, by hashes of theirs.
///
/// What a life never had it may well call missing: the index that it began with was older than an offload of the life before. Nobody knows
/// then whether a person deleted the file, so it comes back.
#[derive(Default)]
struct Kept {
    paths: HashSet<u64>,
    hasher: RandomState,
}

impl Kept {
    /// Whether the life has the path, as it says now, or had it once.
    fn has_had(&mut self, path: &RelPath, status: FileStatus) -> bool {
        let path = self.hasher.hash_one(path.as_bytes());
        if status == FileStatus::Offloaded {
            self.paths.insert(path);
        }
        self.paths.contains(&path)
    }
}

/// Lines of a segment that cannot be true.
#[derive(Default)]
struct LeftOut {
    count: u64,
    first: Option<RelPath>,
}

impl LeftOut {
    fn add(&mut self, paths: &[&RelPath]) {
        self.count += paths.len() as u64;
        self.first = self.first.take().or_else(|| paths.first().map(|path| (*path).clone()));
    }

    fn damage(self) -> Option<String> {
        let Self { count, first } = self;
        first.map(|first| format!("{count} lines of a segment give a content another size than it has, that of {first} for one"))
    }
}

/// The segments from the first that needs no earlier one to the head's.
fn chain(from: Recovering<'_>, head: &FoundHead, report: &mut RecoverReport) -> Result<Vec<File>, RestoreError> {
    let place = head.place;
    let mut segments = Vec::new();
    let mut next = Some(head.document.segment.clone());
    while let Some(link) = next {
        from.context.cancel.check()?;
        match opened(from, place, &link)? {
            Ok((file, header)) => {
                next = linked(&link, &header);
                segments.push(file);
            }
            Err(damage) => {
                // Its link to the one before it is lost with it: the number says where to look on.
                report.damaged.push(damage);
                next = match earlier(from, place, link.sequence)? {
                    Ok(found) => found.map(|(link, _)| link),
                    Err(error) => {
                        report.damaged.push(format!("which segments are older than {} cannot be told: {error}", link.sequence));
                        None
                    }
                };
            }
        }
    }
    segments.reverse();
    Ok(segments)
}

/// The nearest segment before a number that can be read; or why nobody can tell which ones there are.
fn earlier(
    from: Recovering<'_>,
    place: Place,
    before: i64,
) -> Result<Result<Option<(Link, Header)>, DestinationError>, RestoreError> {
    // Of those that are there: a head may claim any number, and counting down from it could take years.
    let mut there = match asked(from, async || from.destination.segments(&place).await)? {
        Ok(there) => there,
        Err(error) => return Ok(Err(error)),
    };
    there.retain(|sequence| *sequence < before);
    there.sort_unstable_by(|left, right| right.cmp(left));
    for sequence in there {
        from.context.cancel.check()?;
        if let Ok(mut file) = given(from, place, sequence)? {
            if let Ok(digest) = digest_of(&mut file)
                && let Ok(header) = read_header(file)
            {
                return Ok(Ok(Some((Link { sequence, digest: hex(&digest) }, header))));
            }
            from.still_there(&"a segment is damaged")?;
        }
    }
    Ok(Ok(None))
}
