//! A restore: which files, from which destination, to which place.

use crate::error::RestoreError;
use crate::landing::Landing;
use crate::placing::{Awaited, Done, Placer, Sink, Trouble};
use crate::report::RestoreReport;
use crate::wanted::{Wanted, WantedList};
use lastcopy_fs::{Cancel, Dir, FileKind, FileStat, HashBuffer, Mounts, NoProgress, RelPath};
use lastcopy_store::{
    ContentId, DestinationRecord, FileStatus, IdentityError, Probed, Receipt, ReceiptLevel, Restore, Restored, Run, Seen, Store,
    Volume,
};
use lastcopy_sync::{Context, Depth, Destination, Finding, HeldItem, Probe, check_held};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;

/// Files that are looked at together; each content of them comes once.
const GROUP: usize = 20_000;
/// Objects that are looked at again together.
const LOOKED_AT: usize = 1000;

/// Where files come back to.
#[derive(Debug)]
pub enum Target {
    /// Their places in the volume.
    Home(Volume),
    /// A directory that is none of ours, with their paths below it.
    Elsewhere(Dir),
}

/// How to restore.
pub struct Restoring<'a> {
    /// The index.
    pub store: &'a Store,
    /// Where to.
    pub target: Target,
    /// Also replace what differs; it is kept.
    pub in_place: bool,
    /// The destinations to ask, the preferred ones first.
    pub sources: Vec<(DestinationRecord, Arc<dyn Destination>)>,
    /// Cancellation, progress, and the runtime.
    pub context: Context,
}

impl Restoring<'_> {
    /// Restores and ends the run. `summary` makes of the report what is recorded with the run.
    pub fn run(
        &self,
        run: Run<Restore>,
        wanted: &WantedList,
        summary: impl FnOnce(&RestoreReport) -> String,
    ) -> Result<RestoreReport, RestoreError> {
        match self.restore(&run, wanted) {
            Ok(report) => {
                run.finish(&report.outcome(), Some(&summary(&report)))?;
                Ok(report)
            }
            Err(error) => Err(error.ends(run)),
        }
    }

    fn root(&self) -> &Dir {
        match &self.target {
            Target::Home(volume) => volume.root(),
            Target::Elsewhere(dir) => dir,
        }
    }

    fn restore(&self, run: &Run<Restore>, wanted: &WantedList) -> Result<RestoreReport, RestoreError> {
        let mut report = RestoreReport::default();
        let root = RelPath::root();
        let landing = Landing::new(self.root(), run.id()).map_err(RestoreError::at(&root))?;
        if let Target::Home(_) = self.target {
            landing.sweep().map_err(RestoreError::at(&root))?;
        }
        let landed = self.land(run, &landing, wanted, &mut report);
        let tidied = landing.tidy(matches!(self.target, Target::Home(_))).map_err(RestoreError::at(&root));
        landed.and(tidied).map(|()| report)
    }

    fn land(
        &self,
        run: &Run<Restore>,
        landing: &Landing,
        wanted: &WantedList,
        report: &mut RestoreReport,
    ) -> Result<(), RestoreError> {
        match wanted {
            WantedList::One(wanted) => self.group(run, landing, vec![wanted.as_ref().clone()], report)?,
            WantedList::Files(ids) => {
                self.context.progress.phase("restoring", ids.len() as u64, 0);
                for ids in ids.chunks(GROUP) {
                    let wanted = self.store.files(ids)?.into_iter().map(Wanted::from).collect();
                    self.group(run, landing, wanted, report)?;
                }
            }
        }
        Ok(())
    }

    /// Restores some files: each content comes once, from its best destination, or from the next one that can give it.
    fn group(
        &self,
        run: &Run<Restore>,
        landing: &Landing,
        wanted: Vec<Wanted>,
        report: &mut RestoreReport,
    ) -> Result<(), RestoreError> {
        let mut awaited = Awaited { absent: self.absent(run, wanted, report)?, ..Awaited::default() };
        let ranked = awaited.absent.keys().map(|content| Ok((*content, self.ranked(*content)?)));
        let mut sources = ranked.collect::<Result<Ranked, RestoreError>>()?;
        let mut troubles = Vec::new();
        loop {
            let turn = self.next_turn(&awaited, &mut sources);
            if turn.iter().all(Vec::is_empty) {
                break;
            }
            for (source, items) in self.sources.iter().zip(turn) {
                if !items.is_empty() {
                    let amiss = self.fetch(run, landing, source, items, &mut awaited, report)?;
                    troubles.extend(self.look_again(run, source, amiss, report)?);
                }
            }
        }
        // Those that nobody could give are named below, with all that was said of them.
        let came = |trouble: &&Trouble| !awaited.absent.contains_key(&trouble.item.content_id);
        troubles.iter().filter(came).for_each(|trouble| report.amiss(&trouble.path, &trouble.why));
        for (content, wanted) in awaited.absent {
            let why =
                awaited.why.remove(&content).unwrap_or_else(|| "no destination that can be asked has a receipt for it".into());
            wanted.iter().for_each(|wanted| report.fail(&wanted.path, why.clone()));
        }
        Ok(())
    }

    /// Leaves out what is there already, and what is in the way of something else; groups the rest by content.
    fn absent(
        &self,
        run: &Run<Restore>,
        wanted: Vec<Wanted>,
        report: &mut RestoreReport,
    ) -> Result<HashMap<ContentId, Vec<Wanted>>, RestoreError> {
        let mut buffer = HashBuffer::new();
        let mut absent: HashMap<ContentId, Vec<Wanted>> = HashMap::new();
        for wanted in wanted {
            self.context.cancel.check()?;
            match look(self.root(), &wanted, &mut buffer, &self.context.cancel) {
                Ok(Standing::Absent) => absent.entry(wanted.content_id).or_default().push(wanted),
                Ok(Standing::Same(stat)) => {
                    self.copied_back(run, &wanted, &stat)?;
                    report.already += 1;
                    self.context.progress.advance(1, 0);
                }
                Ok(Standing::Other) if self.in_place && wanted.replaces && !self.is_above_others(&wanted)? => {
                    absent.entry(wanted.content_id).or_default().push(wanted);
                }
                Ok(Standing::Other) => {
                    report.refuse(&wanted.path, "something else is in its place".into());
                    self.context.progress.advance(1, 0);
                }
                Err(error) => report.fail(&wanted.path, format!("its place cannot be looked at: {error}")),
            }
        }
        Ok(absent)
    }

    /// Whether the directory in its place holds files that the index takes for present: they do not make room for one that was there before.
    fn is_above_others(&self, wanted: &Wanted) -> Result<bool, RestoreError> {
        match &self.target {
            Target::Home(volume) => Ok(self.store.has_present_below(volume.id(), &wanted.path)?),
            Target::Elsewhere(_) => Ok(false),
        }
    }

    /// A file that the index knows as offloaded or missing, and that is in its place with its bytes: somebody copied it back.
    fn copied_back(&self, run: &Run<Restore>, wanted: &Wanted, stat: &FileStat) -> Result<(), RestoreError> {
        if let Target::Home(volume) = &self.target {
            let known = self.store.file_at(volume.id(), &wanted.path)?;
            if known.is_none_or(|file| file.status != FileStatus::Present) {
                // Read a moment ago, but nobody knows how long before: the next index run reads it again.
                let seen = Seen { racy: true, ..Seen::from_stat(stat, stat.ctime_ns, 0) };
                run.restored(&[Restored { path: wanted.path.clone(), content: wanted.content_id, seen }])?;
            }
        }
        Ok(())
    }

    /// The destinations that may hold a content, best first: proven, then stored, then those that were found to have lost it, because
    /// only the hash decides. Among equals, the preferred one.
    fn ranked(&self, content: ContentId) -> Result<VecDeque<(usize, HeldItem)>, RestoreError> {
        let receipts = self.store.receipts_of(content)?.into_iter();
        let known = receipts.filter_map(|receipt| {
            let source = self.sources.iter().position(|(record, _)| record.id == receipt.destination)?;
            Some((rank(&receipt), source, receipt))
        });
        let mut ranked: Vec<_> = known.collect();
        ranked.sort_by_key(|(rank, source, _)| (*rank, *source));
        Ok(ranked.into_iter().map(|(_, source, receipt)| (source, HeldItem::from(receipt))).collect())
    }

    /// For each destination, what it is asked for next.
    fn next_turn(&self, awaited: &Awaited, sources: &mut Ranked) -> Vec<Vec<HeldItem>> {
        let mut turn: Vec<_> = self.sources.iter().map(|_| Vec::new()).collect();
        for content in awaited.absent.keys() {
            if let Some((source, item)) = sources.get_mut(content).and_then(VecDeque::pop_front) {
                turn[source].push(item);
            }
        }
        turn
    }

    /// Fetches some contents from one destination, and puts them in their places as they arrive. Says which it did not give.
    fn fetch(
        &self,
        run: &Run<Restore>,
        landing: &Landing,
        (record, destination): &(DestinationRecord, Arc<dyn Destination>),
        items: Vec<HeldItem>,
        awaited: &mut Awaited,
        report: &mut RestoreReport,
    ) -> Result<Vec<Trouble>, RestoreError> {
        let (sink, arrivals) = Sink::new(landing.try_clone().map_err(RestoreError::at(&RelPath::root()))?);
        let context = Context { cancel: self.context.cancel.child(), ..self.context.kept_by(run)? };
        let stop = context.cancel.clone();
        let before = report.restored;
        let (fetched, troubles) = std::thread::scope(|scope| {
            let placer = Placer {
                source: &record.name,
                run: matches!(self.target, Target::Home(_)).then_some(run),
                landing,
                in_place: self.in_place,
                progress: self.context.progress.as_ref(),
                awaited: &mut *awaited,
                report: &mut *report,
                done: Done::default(),
            };
            let placer = scope.spawn(move || {
                let placed = placer.work(&arrivals);
                if placed.is_err() {
                    stop.cancel();
                }
                placed
            });
            let fetched = context.runtime.block_on(async {
                let (give, take) = tokio::sync::mpsc::channel(1);
                let (given, fetched) =
                    tokio::join!(async move { give.send(items).await }, destination.fetch(take, Arc::new(sink), &context));
                fetched.map(|()| drop(given))
            });
            let troubles = placer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            Ok::<_, RestoreError>((fetched, troubles))
        })?;
        self.context.cancel.check()?;
        // It failed as a whole; others may have what it had.
        if let Err(error) = fetched {
            for content in awaited.absent.keys() {
                awaited.why.entry(*content).or_insert_with(|| format!("`{}`: {error}", record.name));
            }
            self.context.progress.note(&format!("destination `{}`: {error}", record.name));
        }
        if report.restored > before {
            report.from.insert(record.name.clone());
        }
        Ok(troubles)
    }

    /// Looks again at what a destination did not give. What it surely does not hold is recorded as lost, as a verify would: whoever else
    /// gave the bytes, an offload must not count on this one again. Only the accepted incarnation can lose what it was proven to hold,
    /// and one that is not there at all has lost nothing: then only of what it gave there is something to tell.
    fn look_again(
        &self,
        run: &Run<Restore>,
        (record, destination): &(DestinationRecord, Arc<dyn Destination>),
        mut troubles: Vec<Trouble>,
        report: &mut RestoreReport,
    ) -> Result<Vec<Trouble>, RestoreError> {
        let mut lost = 0;
        if troubles.iter().any(|trouble| trouble.look.is_some()) {
            match self.context.runtime.block_on(destination.probe()) {
                Ok(Probe::Found(incarnation)) => match run.probed(record.id, Some(&incarnation)) {
                    Ok(probed) => lost = self.lost(run, &probed, destination.as_ref(), &troubles)?,
                    Err(IdentityError::Store(error)) => return Err(error.into()),
                    Err(_) => {}
                },
                Ok(Probe::Nothing | Probe::NoPlace | Probe::CannotTell(_)) | Err(_) => {
                    self.context.progress.note(&format!("destination `{}` is not there", record.name));
                    // Wrong bytes did come from there.
                    troubles.retain(|trouble| trouble.look == Some(Depth::Bytes));
                }
            }
        }
        report.lost += lost;
        report.unread += troubles.len() as u64 - lost;
        Ok(troubles)
    }

    fn answers_as(&self, destination: &dyn Destination, probed: &Probed) -> bool {
        let answer = self.context.runtime.block_on(destination.probe_again());
        matches!(answer, Ok(Probe::Found(found)) if found == *probed.incarnation())
    }

    /// Records what is surely not held any more, and says how many that are.
    fn lost(
        &self,
        run: &Run<Restore>,
        probed: &Probed,
        destination: &dyn Destination,
        troubles: &[Trouble],
    ) -> Result<u64, RestoreError> {
        let mut lost = 0;
        for depth in [Depth::Presence, Depth::Bytes] {
            let doubted: Vec<_> =
                troubles.iter().filter(|trouble| trouble.look == Some(depth)).map(|trouble| &trouble.item).collect();
            for group in doubted.chunks(LOOKED_AT) {
                let group: Vec<_> = group.iter().map(|item| (*item).clone()).collect();
                let findings = check_held(destination, &group, depth, &self.context)?;
                let lacks = findings.iter().any(|finding| matches!(finding, Finding::Lost(_)));
                let silent = findings.iter().all(|finding| matches!(finding, Finding::Unverifiable(_)));
                // A disk that was unplugged meanwhile has lost nothing, and is not asked about the rest.
                if (lacks || silent) && !self.answers_as(destination, probed) {
                    return Ok(lost);
                }
                for (item, finding) in group.iter().zip(findings) {
                    if let Finding::Lost(detail) = finding {
                        run.lost(probed, item.content_id, &item.location, &detail)?;
                        lost += 1;
                    }
                }
            }
        }
        Ok(lost)
    }
}

/// Which destinations are still to be asked for each content, and for which object.
type Ranked = HashMap<ContentId, VecDeque<(usize, HeldItem)>>;

fn rank(receipt: &Receipt) -> u8 {
    match (receipt.lost_at, receipt.level) {
        (None, ReceiptLevel::Verified) => 0,
        (None, ReceiptLevel::Stored) => 1,
        (Some(_), _) => 2,
    }
}

/// What is in the place of a file.
enum Standing {
    Absent,
    Same(FileStat),
    Other,
}

fn look(root: &Dir, wanted: &Wanted, buffer: &mut HashBuffer, cancel: &Cancel) -> io::Result<Standing> {
    let Some(stat) = root.stat(&wanted.path)? else { return Ok(Standing::Absent) };
    if stat.kind != FileKind::Regular || stat.size != wanted.content.size {
        return Ok(Standing::Other);
    }
    let file = root.open_file(&wanted.path, Mounts::Cross)?;
    let same = buffer.hash_file(&file, stat.size, cancel, &NoProgress)? == wanted.content;
    Ok(if same { Standing::Same(stat) } else { Standing::Other })
}
