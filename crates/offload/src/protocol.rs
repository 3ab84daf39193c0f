//! The removal protocol: one batch of files, step by step as in the model.
//!
//! Every file of a batch is leased from before it is hashed until it is gone or back. Whatever fails on the way, it is put back.

use crate::decide::{Cause, Confirmation, Decision, Known, Refusal, decide};
use crate::offload::{Counts, FileOutcome, FileReport, Heard, Offloading, Verdict, own_refusal};
use crate::quarantine::{Returned, fits, move_aside, quarantine_path, stat_aside};
use crate::settle::{OffloadError, SettleReport, is_that_of, put_back, settle_one, unread};
use lastcopy_fs::{Cancelled, DirSync, FileKind, FileStat, HashBuffer, LeaseError, LeasedFile, Mounts, RelPath, filesystem_of};
use lastcopy_store::{
    Confirm as Depth, DestinationId, Evidence, FileFacts, FileId, FileRecord, Intent, IntentId, Leaving, Offload, Run, Settled,
    Store, Timestamp, foreign,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::time::Duration;

/// Between the two looks of the weaker protocol.
const PAUSE: Duration = Duration::from_secs(1);

/// A file of the volume, open, and guarded as well as its file system allows.
enum Guard {
    /// Nobody can write it unnoticed.
    Lease(LeasedFile),
    /// No lease to be had: it is hashed twice, with a pause between.
    Weak(File),
}

impl Guard {
    fn file(&self) -> &File {
        match self {
            Self::Lease(lease) => lease.file(),
            Self::Weak(file) => file,
        }
    }

    fn stands(&self) -> bool {
        match self {
            Self::Lease(lease) => lease.stands(),
            Self::Weak(_) => true,
        }
    }
}

/// A file that was hashed and may go.
struct Ready {
    facts: FileFacts,
    evidence: Vec<Evidence>,
    guard: Guard,
    /// As it was before and after it was hashed.
    stat: FileStat,
}

/// A file that is aside.
struct Aside {
    intent: Intent,
    guard: Guard,
    stat: FileStat,
}

/// Why a file does not go.
enum Stop {
    Blocked(Cause, String),
    Drift(String),
    Error(String),
}

pub(crate) struct Protocol<'a> {
    offloading: &'a Offloading<'a>,
    buffer: HashBuffer,
    pub(crate) counts: Counts,
    counted: Vec<DestinationId>,
    /// What this run has aside at the moment: to be put back when anything fails.
    out: HashMap<IntentId, Intent>,
    /// In a rehearsal: how many names of an inode would be gone by now.
    names_gone: HashMap<(u64, u64), u32>,
}

type Each<'a> = &'a mut dyn FnMut(FileReport);

impl<'a> Protocol<'a> {
    pub(crate) fn new(offloading: &'a Offloading<'a>) -> Self {
        let counted = offloading.policy.counted();
        Self {
            offloading,
            buffer: HashBuffer::new(),
            counts: Counts::default(),
            counted,
            out: HashMap::new(),
            names_gone: HashMap::new(),
        }
    }

    /// Every file of a batch ends here, once.
    fn tell(&mut self, report: FileReport, each: Each<'_>) {
        self.counts.take(&report);
        self.offloading.progress.advance(1, 0);
        each(report);
    }

    fn report(&mut self, file: &FileRecord, outcome: FileOutcome, detail: Option<String>, each: Each<'_>) {
        let (path, content) = (file.path.clone(), file.content);
        self.tell(FileReport { path, content, outcome, refusals: Vec::new(), detail, freed: 0 }, each);
    }

    fn stop(&mut self, file: &FileRecord, stop: Stop, each: Each<'_>) {
        match stop {
            Stop::Blocked(cause, heard) => self.block(file, own_refusal(cause, heard), each),
            Stop::Drift(detail) => self.report(file, FileOutcome::Drift, Some(detail), each),
            Stop::Error(detail) => self.report(file, FileOutcome::Error, Some(detail), each),
        }
    }

    fn block(&mut self, file: &FileRecord, refusals: Vec<Refusal>, each: Each<'_>) {
        let (path, content, outcome) = (file.path.clone(), file.content, FileOutcome::Blocked);
        self.tell(FileReport { path, content, outcome, refusals, detail: None, freed: 0 }, each);
    }

    fn known<'k>(&self, now: Timestamp, confirmations: &'k [Confirmation]) -> Known<'k> {
        // Needed files were stopped when they were opened, by their inode.
        Known { now, needed: false, confirmations }
    }

    /// Everything up to the first step that changes anything, and the confirmation.
    pub(crate) fn rehearse(
        &mut self,
        store: &Store,
        batch: Vec<(FileFacts, Vec<Evidence>)>,
        each: Each<'_>,
    ) -> Result<(), OffloadError> {
        let mut ready = Vec::new();
        let mut looked_at = HashMap::new();
        for (facts, evidence) in batch {
            let path = &facts.file.path;
            let opened = self.is_in_the_volume(path, &mut looked_at).and_then(|()| self.open(path));
            match opened.and_then(|(guard, stat)| self.unchanged(&facts.file, &stat).map(|()| (guard, stat))) {
                Ok((guard, stat)) => ready.push(Ready { facts, evidence, guard, stat }),
                Err(stop) => self.stop(&facts.file, stop, each),
            }
        }
        let outcome = if self.offloading.policy.grace_ms > 0 { FileOutcome::Quarantined } else { FileOutcome::Offloaded };
        self.rehearse_ready(store, ready, outcome, each)
    }

    /// The same for files whose grace is over: they would be deleted.
    pub(crate) fn rehearse_held(&mut self, store: &Store, held: &[Intent], each: Each<'_>) -> Result<(), OffloadError> {
        let ids: Vec<_> = held.iter().map(|intent| intent.file.id).collect();
        let loaded = store.evidence(self.offloading.volume.id(), &ids, &self.counted)?;
        let mut ready = Vec::new();
        for (intent, (facts, evidence)) in held.iter().zip(loaded) {
            let opened = self.open_held(intent);
            match opened.and_then(|(guard, stat)| self.unchanged(&facts.file, &stat).map(|()| (guard, stat))) {
                Ok((guard, stat)) => ready.push(Ready { facts, evidence, guard, stat }),
                Err(stop) => self.stop(&facts.file, stop, each),
            }
        }
        self.rehearse_ready(store, ready, FileOutcome::Offloaded, each)
    }

    /// `outcome` is what the real run would come to.
    fn rehearse_ready(
        &mut self,
        store: &Store,
        ready: Vec<Ready>,
        outcome: FileOutcome,
        each: Each<'_>,
    ) -> Result<(), OffloadError> {
        let contents: Vec<_> = ready.iter().map(|ready| (ready.facts.file.id, ready.facts.file.content)).collect();
        let heard = self.ask(None, &contents)?;
        for (ready, heard) in ready.into_iter().zip(heard) {
            let decision = decide(&ready.facts, &ready.evidence, self.offloading.policy, &self.known(store.now(), &heard));
            let FileRecord { path, content, .. } = ready.facts.file.clone();
            if decision.passes() {
                self.counts.count(outcome);
                self.offloading.progress.advance(1, 0);
                let freed = if outcome == FileOutcome::Offloaded { self.would_free(&ready.stat) } else { 0 };
                self.counts.bytes_freed += freed;
                each(FileReport { path, content, outcome: FileOutcome::WouldOffload, refusals: Vec::new(), detail: None, freed });
            } else {
                self.block(&ready.facts.file, decision.refusals, each);
            }
            self.offloading.progress.advance(0, content.size);
        }
        Ok(())
    }

    fn would_free(&mut self, stat: &FileStat) -> u64 {
        let gone = self.names_gone.entry((stat.device, stat.inode)).or_default();
        *gone += 1;
        if *gone >= stat.links { stat.size } else { 0 }
    }

    /// The whole protocol for one batch.
    pub(crate) fn offload(
        &mut self,
        run: &Run<Offload>,
        batch: Vec<(FileFacts, Vec<Evidence>)>,
        each: Each<'_>,
    ) -> Result<(), OffloadError> {
        let done = self.prepare(batch, each).and_then(|ready| self.set_aside(run, ready, each)).and_then(|aside| {
            if self.offloading.policy.grace_ms > 0 { self.hold(run, aside, each) } else { self.delete(run, aside, each) }
        });
        self.or_home(run, done)
    }

    /// Whatever ended a batch, nothing of it stays aside. Each file is moved before that is recorded: it may be the index that failed, or
    /// the run that was closed, and then the next run on the volume records what it finds.
    fn or_home(&mut self, run: &Run<Offload>, done: Result<(), OffloadError>) -> Result<(), OffloadError> {
        for intent in self.out.drain().map(|(_, intent)| intent) {
            // The batch's own error is the one to report.
            drop(settle_one(run, self.offloading.volume, &intent, &mut SettleReport::default()));
        }
        done
    }

    /// Steps 1 to 3: open, lease, compare, hash.
    fn prepare(&mut self, batch: Vec<(FileFacts, Vec<Evidence>)>, each: Each<'_>) -> Result<Vec<Ready>, OffloadError> {
        let mut ready = Vec::new();
        let mut looked_at = HashMap::new();
        for (facts, evidence) in batch {
            self.offloading.cancel.check()?;
            let path = facts.file.path.clone();
            match self
                .is_in_the_volume(&path, &mut looked_at)
                .and_then(|()| self.open(&path))
                .and_then(|(guard, stat)| self.is_indexed_content(&facts.file, &guard, &stat).map(|()| (guard, stat)))
            {
                Ok((guard, stat)) => ready.push(Ready { facts, evidence, guard, stat }),
                Err(stop) => self.stop(&facts.file, stop, each),
            }
        }
        self.offloading.cancel.check()?;
        Ok(ready)
    }

    /// A tree above the file may have become another volume, or a destination, since it was indexed: then whoever cares for that one decides
    /// about it. Directories that were looked at in this batch are not looked at again.
    fn is_in_the_volume(&self, path: &RelPath, looked_at: &mut HashMap<RelPath, Option<&'static str>>) -> Result<(), Stop> {
        let root = self.offloading.volume.root();
        let mut above = path.split().map(|(parent, _)| parent);
        while let Some(dir) = above.filter(|dir| !dir.is_root()) {
            // What cannot be opened, the file is not opened through either.
            let look = || root.open_dir(&dir, Mounts::Stay).ok().and_then(|dir| foreign(&dir));
            if let Some(what) = *looked_at.entry(dir.clone()).or_insert_with(look) {
                return Err(Stop::Drift(format!("lies in a {what} with a marker of its own now")));
            }
            above = dir.split().map(|(parent, _)| parent);
        }
        Ok(())
    }

    /// Steps 1 and 2, at the file's own path or where it is aside.
    fn open(&self, path: &RelPath) -> Result<(Guard, FileStat), Stop> {
        if !fits(path) {
            return Err(Stop::Blocked(Cause::Filesystem, "its path is too long for a place to set it aside".into()));
        }
        let is_needed = |stat: &FileStat| self.offloading.needed.contains(&(stat.device, stat.inode));
        let needed = || Stop::Blocked(Cause::Needed, "this node needs it to reach its destinations or its index".into());
        // Not even opened: closing a file of the index's gives up the locks that this process has on it.
        if self.offloading.volume.root().stat(path).is_ok_and(|stat| stat.as_ref().is_some_and(is_needed)) {
            return Err(needed());
        }
        let file = self.offloading.volume.root().open_file(path, Mounts::Stay).map_err(|error| match error.raw_os_error() {
            Some(XDEV) => Stop::Blocked(Cause::Filesystem, "it lies on another mount than the volume".into()),
            Some(LOOP) => Stop::Drift("a symbolic link is in its place".into()),
            _ if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::NotADirectory => {
                Stop::Drift("is gone since it was indexed".into())
            }
            _ => Stop::Error(format!("cannot be opened: {error}")),
        })?;
        let failed = |error: io::Error| Stop::Error(format!("cannot be looked at: {error}"));
        let stat = FileStat::of_fd(&file).map_err(failed)?;
        if stat.kind != FileKind::Regular {
            return Err(Stop::Drift(format!("is a {} now", stat.kind.name())));
        }
        if is_needed(&stat) {
            return Err(needed());
        }
        let filesystem = filesystem_of(&file).map_err(failed)?;
        let any = self.offloading.policy.any_filesystem;
        if !filesystem.is_trusted() {
            let name = filesystem.name();
            return if any { Ok((Guard::Weak(file), stat)) } else { Err(Stop::Blocked(Cause::Filesystem, name)) };
        }
        match LeasedFile::take(file) {
            Ok(lease) => Ok((Guard::Lease(lease), stat)),
            Err(LeaseError::InUse) => Err(Stop::Blocked(Cause::InUse, "somebody has it open for writing".into())),
            Err(LeaseError::Unsupported(error)) if any => {
                let again = self.offloading.volume.root().open_file(path, Mounts::Stay);
                let again = again.map_err(|_| Stop::Error(format!("no lease to be had: {error}")))?;
                let same = FileStat::of_fd(&again).is_ok_and(|now| now.same_bytes_likely(&stat));
                if same { Ok((Guard::Weak(again), stat)) } else { Err(Stop::Drift("changed while it was opened".into())) }
            }
            Err(LeaseError::Unsupported(error)) => {
                Err(Stop::Blocked(Cause::Filesystem, format!("no lease to be had on it: {error}")))
            }
        }
    }

    /// Steps 1 and 2 where it is aside: the very file that was moved there.
    fn open_held(&self, intent: &Intent) -> Result<(Guard, FileStat), Stop> {
        let path = quarantine_path(intent.run, &intent.file.path);
        let failed = |error: io::Error| Stop::Error(error.to_string());
        let (guard, stat) = self.open(&path.map_err(failed)?)?;
        let device = self.offloading.volume.root().own_stat().map_err(failed)?.device;
        if is_that_of(intent, &stat, device) {
            Ok((guard, stat))
        } else {
            Err(Stop::Drift("is another file than the one that was moved aside".into()))
        }
    }

    /// Size, modification time and permissions are what the index says, so that a restore brings back what is deleted here.
    fn unchanged(&self, file: &FileRecord, stat: &FileStat) -> Result<(), Stop> {
        if (stat.size, stat.mtime_ns) != (file.content.size, file.seen.mtime_ns) {
            Err(Stop::Drift("was changed since it was indexed".into()))
        } else if stat.mode != file.seen.mode {
            Err(Stop::Drift("has other permissions than when it was indexed".into()))
        } else {
            Ok(())
        }
    }

    /// Step 3: the metadata is what the index says, and so are the bytes, read through this very descriptor.
    fn is_indexed_content(&mut self, file: &FileRecord, guard: &Guard, stat: &FileStat) -> Result<(), Stop> {
        self.unchanged(file, stat)?;
        self.hash(file, guard)?;
        let after = FileStat::of_fd(guard.file()).map_err(|error| Stop::Error(format!("cannot be looked at: {error}")))?;
        if !guard.stands() {
            return Err(Stop::Blocked(Cause::InUse, "somebody opened it for writing".into()));
        }
        self.unchanged(file, &after)
    }

    fn hash(&mut self, file: &FileRecord, guard: &Guard) -> Result<(), Stop> {
        let Offloading { cancel, progress, .. } = self.offloading;
        match self.buffer.hash_file(guard.file(), file.content.size, cancel, *progress) {
            Ok(found) if found == file.content => Ok(()),
            Ok(found) => Err(Stop::Drift(format!("holds other bytes ({}) than the index says", found.hash))),
            Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof) => Err(Stop::Drift("became shorter".into())),
            // The batch ends before anything is moved; what is said of this file does not matter any more.
            Err(error) if Cancelled::caused(&error) => Err(Stop::Error("interrupted".into())),
            Err(error) => Err(Stop::Error(format!("cannot be read: {error}"))),
        }
    }

    /// Steps 4 to 6: decide again and record the intents, move aside, look at what was moved.
    fn set_aside(&mut self, run: &Run<Offload>, ready: Vec<Ready>, each: Each<'_>) -> Result<Vec<Aside>, OffloadError> {
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let policy = self.offloading.policy;
        let leaving: Vec<_> = ready
            .iter()
            .map(|ready| Leaving { file: ready.facts.file.id, device: ready.stat.device, inode: ready.stat.inode })
            .collect();
        let now = run.now();
        let refused = RefCell::new(HashMap::new());
        let intents = run.quarantine(&leaving, &self.counted, &|facts, evidence| {
            let decision = decide(facts, evidence, policy, &self.known(now, &[]));
            vouchers_or(decision, facts.file.id, &refused)
        })?;
        let mut moved = Vec::new();
        let mut changed = DirSync::new();
        for (ready, intent) in ready.into_iter().zip(intents) {
            let Some(id) = intent else {
                let decision = refused.borrow_mut().remove(&ready.facts.file.id).unwrap_or_default();
                self.block(&ready.facts.file, decision.refusals, each);
                continue;
            };
            let aside = Aside { intent: intent_of(run, id, &ready), guard: ready.guard, stat: ready.stat };
            // A run that somebody closed moves nothing any more.
            run.still_running()?;
            self.out.insert(id, aside.intent.clone());
            match move_aside(self.offloading.volume, run.id(), &aside.intent.file.path, &mut changed) {
                Ok(()) => moved.push(aside),
                Err(error) => self.not_moved(run, &aside, &error, each)?,
            }
        }
        let synced = changed.sync();
        if moved.iter().any(|aside| matches!(aside.guard, Guard::Weak(_))) {
            std::thread::sleep(PAUSE);
        }
        let mut kept = Vec::new();
        for aside in moved {
            let verdict = match &synced {
                Ok(()) => self.moved_is_hashed(run, &aside),
                Err(error) => Err(Stop::Error(format!("moving it aside could not be made durable: {error}"))),
            };
            match verdict {
                Ok(()) => kept.push(aside),
                Err(stop) => self.put_back(run, &aside, stop, each)?,
            }
        }
        Ok(kept)
    }

    /// An intent whose file could not be moved: it is where it was, or whatever is there now is none of ours; or it was moved, and only
    /// what comes after that failed.
    fn not_moved(&mut self, run: &Run<Offload>, aside: &Aside, error: &io::Error, each: Each<'_>) -> Result<(), OffloadError> {
        let path = &aside.intent.file.path;
        let stop = Stop::Error(format!("cannot be moved aside: {error}"));
        if stat_aside(self.offloading.volume, run.id(), path).map_err(OffloadError::at(path))?.is_some() {
            return self.put_back(run, aside, stop, each);
        }
        let there = self.offloading.volume.root().stat(path).map_err(OffloadError::at(path))?;
        let settled = match there {
            Some(stat) if stat.same_inode(&aside.stat) => Settled::PutBack(unread(&stat)),
            _ => Settled::Gone,
        };
        run.settle(aside.intent.id, settled)?;
        self.out.remove(&aside.intent.id);
        self.stop(&aside.intent.file, stop, each);
        Ok(())
    }

    /// Step 6: what is aside is the inode that was hashed, as it was when it was hashed.
    fn moved_is_hashed(&mut self, run: &Run<Offload>, aside: &Aside) -> Result<(), Stop> {
        let failed = |error: io::Error| Stop::Error(format!("cannot be looked at: {error}"));
        let path = &aside.intent.file.path;
        let moved = stat_aside(self.offloading.volume, run.id(), path).map_err(failed)?;
        if !moved.is_some_and(|moved| moved.same_inode(&aside.stat)) {
            return Err(Stop::Drift("was replaced while it was moved aside".into()));
        }
        let now = FileStat::of_fd(aside.guard.file()).map_err(failed)?;
        if (now.size, now.mtime_ns) != (aside.stat.size, aside.stat.mtime_ns) {
            return Err(Stop::Drift("was changed while it was moved aside".into()));
        }
        if let Guard::Weak(_) = aside.guard {
            self.hash(&aside.intent.file, &aside.guard)?;
        }
        if aside.guard.stands() { Ok(()) } else { Err(Stop::Blocked(Cause::InUse, "somebody opened it for writing".into())) }
    }

    /// Step 7, where the policy has a grace: the run ends here.
    fn hold(&mut self, run: &Run<Offload>, aside: Vec<Aside>, each: Each<'_>) -> Result<(), OffloadError> {
        let until = Timestamp(run.now().0.saturating_add(self.offloading.policy.grace_ms));
        let ids: Vec<_> = aside.iter().map(|aside| aside.intent.id).collect();
        run.hold(&ids, until)?;
        for aside in aside {
            self.out.remove(&aside.intent.id);
            self.report(&aside.intent.file, FileOutcome::Quarantined, None, each);
        }
        Ok(())
    }

    /// Goes on with files whose grace is over: steps 2 and 3 on the file that is aside, then as always.
    pub(crate) fn finish_held(&mut self, run: &Run<Offload>, held: Vec<Intent>, each: Each<'_>) -> Result<(), OffloadError> {
        let mut aside = Vec::new();
        for intent in held {
            self.offloading.cancel.check()?;
            let opened = self.open_held(&intent);
            let ready =
                opened.and_then(|(guard, stat)| self.is_indexed_content(&intent.file, &guard, &stat).map(|()| (guard, stat)));
            match ready {
                Ok((guard, stat)) => aside.push(Aside { intent, guard, stat }),
                Err(stop) => {
                    // One that was being read when somebody asked to stop goes on waiting.
                    self.offloading.cancel.check()?;
                    put_back(run, self.offloading.volume, &intent)?;
                    self.stop(&intent.file, stop, each);
                }
            }
        }
        let done = self.delete(run, aside, each);
        self.or_home(run, done)
    }

    /// Steps 8 and 9: confirm, decide once more, delete.
    fn delete(&mut self, run: &Run<Offload>, aside: Vec<Aside>, each: Each<'_>) -> Result<(), OffloadError> {
        if aside.is_empty() {
            return Ok(());
        }
        // What was held is this batch's to put back from here on, too.
        self.out.extend(aside.iter().map(|aside| (aside.intent.id, aside.intent.clone())));
        let contents: Vec<_> = aside.iter().map(|aside| (aside.intent.file.id, aside.intent.file.content)).collect();
        let heard = match self.ask(Some(run), &contents) {
            Ok(heard) => heard,
            Err(error) => {
                // Whatever it is, nothing was confirmed: everything goes back before the run ends.
                for aside in &aside {
                    self.put_back(run, aside, Stop::Error(format!("could not be confirmed: {error}")), each)?;
                }
                return Err(error);
            }
        };
        let by_file: HashMap<_, _> = contents.iter().map(|(file, _)| *file).zip(heard).collect();
        let ids: Vec<_> = aside.iter().map(|aside| aside.intent.id).collect();
        let (policy, now) = (self.offloading.policy, run.now());
        let refused = RefCell::new(HashMap::new());
        let begun = run.begin_deletion(&ids, &self.counted, &|facts, evidence| {
            let heard = by_file.get(&facts.file.id).map_or(&[][..], Vec::as_slice);
            let decision = decide(facts, evidence, policy, &self.known(now, heard));
            vouchers_or(decision, facts.file.id, &refused)
        })?;
        let mut deleted = Vec::new();
        let ended = self.delete_begun(run, aside.into_iter().zip(begun), &refused, &mut deleted, each);
        // Whatever ended it: these are gone, and a person has to hear which.
        for (aside, freed) in deleted {
            let FileRecord { path, content, .. } = aside.intent.file;
            let outcome = FileOutcome::Offloaded;
            self.tell(FileReport { path, content, outcome, refusals: Vec::new(), detail: None, freed }, each);
        }
        ended
    }

    /// Deletes what the index has begun to delete, and puts the rest back. `deleted` is what went, also where an error ends it.
    fn delete_begun(
        &mut self,
        run: &Run<Offload>,
        aside: impl Iterator<Item = (Aside, bool)>,
        refused: &RefCell<HashMap<FileId, Decision>>,
        deleted: &mut Vec<(Aside, u64)>,
        each: Each<'_>,
    ) -> Result<(), OffloadError> {
        let mut changed = DirSync::new();
        for (aside, begun) in aside {
            if !begun {
                let decision = refused.borrow_mut().remove(&aside.intent.file.id);
                self.put_back_refused(run, &aside, decision, each)?;
                continue;
            }
            // A run that somebody closed deletes nothing any more.
            run.still_running()?;
            match self.unlink(&aside, &mut changed) {
                Ok(freed) => {
                    self.out.remove(&aside.intent.id);
                    deleted.push((aside, freed));
                }
                Err(stop) => self.put_back(run, &aside, stop, each)?,
            }
        }
        // If this fails, the names may come back after a power cut: then they are found aside, and put back.
        changed.sync().map_err(OffloadError::at(&RelPath::root()))?;
        let gone: Vec<_> = deleted.iter().map(|(aside, _)| aside.intent.id).collect();
        run.offloaded(&gone)?;
        Ok(())
    }

    /// Step 9: the only place in lastcopy where a person's file is deleted. Says how many bytes that frees: none while the file has
    /// other names.
    fn unlink(&mut self, aside: &Aside, changed: &mut DirSync) -> Result<u64, Stop> {
        let failed = |error: io::Error| Stop::Error(format!("cannot be deleted: {error}"));
        let path = quarantine_path(aside.intent.run, &aside.intent.file.path).map_err(failed)?;
        let Some((parent, name)) = path.split() else { return Err(Stop::Error("has no name".into())) };
        let dir = self.offloading.volume.root().open_dir(&parent, Mounts::Stay).map_err(failed)?;
        let there = dir.entry(name).map_err(failed)?;
        if !there.is_some_and(|stat| stat.same_inode(&aside.stat)) {
            return Err(Stop::Drift("was replaced while it was aside".into()));
        }
        // Destinations were asked while the path was empty; a new file at it could have answered for one that is this very tree.
        let home = self.offloading.volume.root().stat(&aside.intent.file.path).map_err(failed)?;
        if home.is_some() {
            return Err(Stop::Drift("its path holds another file now".into()));
        }
        if let Guard::Weak(_) = aside.guard {
            self.hash(&aside.intent.file, &aside.guard)?;
        }
        changed.changed(&dir).map_err(failed)?;
        let now = FileStat::of_fd(aside.guard.file()).map_err(failed)?;
        self.unchanged(&aside.intent.file, &now)?;
        if !aside.guard.stands() {
            return Err(Stop::Blocked(Cause::InUse, "somebody opened it for writing".into()));
        }
        let last = now.links <= 1;
        dir.unlink(name).map_err(failed)?;
        Ok(if last { aside.stat.size } else { 0 })
    }

    fn put_back(&mut self, run: &Run<Offload>, aside: &Aside, stop: Stop, each: Each<'_>) -> Result<(), OffloadError> {
        let returned = put_back(run, self.offloading.volume, &aside.intent)?;
        self.out.remove(&aside.intent.id);
        self.stop(&aside.intent.file, with_place(stop, returned, &aside.intent), each);
        Ok(())
    }

    fn put_back_refused(
        &mut self,
        run: &Run<Offload>,
        aside: &Aside,
        decision: Option<Decision>,
        each: Each<'_>,
    ) -> Result<(), OffloadError> {
        let Some(decision) = decision else {
            let stop = Stop::Drift("its path holds another file now".into());
            return self.put_back(run, aside, stop, each);
        };
        put_back(run, self.offloading.volume, &aside.intent)?;
        self.out.remove(&aside.intent.id);
        self.block(&aside.intent.file, decision.refusals, each);
        Ok(())
    }

    /// Asks every destination that counts about every file; nobody under `offline`.
    fn ask(&self, run: Option<&Run<Offload>>, contents: &[(FileId, lastcopy_fs::Content)]) -> Result<Heard, OffloadError> {
        let mut heard: Heard = contents.iter().map(|_| Vec::with_capacity(self.counted.len())).collect();
        for destination in &self.counted {
            if self.offloading.depth == Depth::Offline || contents.is_empty() {
                heard.iter_mut().for_each(|heard| heard.push(Confirmation::NotAsked));
                continue;
            }
            let verdicts = self.offloading.confirm.confirm(run, *destination, contents, self.offloading.depth)?;
            for (place, heard) in heard.iter_mut().enumerate() {
                heard.push(match verdicts.get(place) {
                    Some(Verdict::Held) => Confirmation::Confirmed,
                    Some(Verdict::NotHeld(detail)) => Confirmation::NotHeld(detail.clone()),
                    Some(Verdict::Unreachable(reason)) => Confirmation::Unreachable(reason.clone()),
                    None => Confirmation::Unreachable("it gave no answer".into()),
                });
            }
        }
        Ok(heard)
    }
}

const XDEV: i32 = 18;
const LOOP: i32 = 40;

/// The names of the destinations that vouch, for the audit trail; or the decision, remembered for the report.
fn vouchers_or(decision: Decision, file: FileId, refused: &RefCell<HashMap<FileId, Decision>>) -> Option<String> {
    if decision.passes() {
        let vouching: Vec<_> = decision.vouching.iter().map(|id| id.get()).collect();
        return serde_json::to_string(&vouching).ok();
    }
    refused.borrow_mut().insert(file, decision);
    None
}

fn intent_of(run: &Run<Offload>, id: IntentId, ready: &Ready) -> Intent {
    let mut file = ready.facts.file.clone();
    file.status = lastcopy_store::FileStatus::Quarantined;
    Intent {
        id,
        run: run.id(),
        file,
        device: ready.stat.device,
        inode: ready.stat.inode,
        state: lastcopy_store::IntentState::Moving,
        held_until: None,
        current_epoch: true,
    }
}

fn with_place(stop: Stop, returned: Returned, intent: &Intent) -> Stop {
    let place = match returned {
        Returned::Home => return stop,
        Returned::Kept => format!("; its place is taken, so it is in .lastcopy/kept/{} now", intent.run),
        Returned::Gone => "; it is gone from where it lay aside".to_owned(),
    };
    match stop {
        Stop::Blocked(cause, heard) => Stop::Blocked(cause, heard + &place),
        Stop::Drift(detail) => Stop::Drift(detail + &place),
        Stop::Error(detail) => Stop::Error(detail + &place),
    }
}
