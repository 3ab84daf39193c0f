//! A node with one small volume, and destinations that it pushes to: the whole sequence of a push over a real index.
//!
//! The oracle ([`Rig::judge`]) believes nobody: it compares what the index takes for proven with what lies in the storage, read by
//! plain means.

use super::harness::fetch;
use super::liar::Liar;
use super::subject::{Made, Subject};
use crate::destination::{Context, Destination};
use crate::error::SyncError;
use crate::manage::{self, InitError};
use crate::push::{Push, PushReport};
use crate::segment::{digest_of, hex, read};
use crate::verify::{Extent, Verification, VerifyReport};
use lastcopy_fs::{Content, FileStat, Mounts, RelPath, hash_bytes};
use lastcopy_store::{
    Alarm, Confirm, DestinationId, DestinationRecord, Evidence, FileFacts, FileId, FileStatus, Observation, Outcome, Policy,
    ReceiptLevel, RunId, RunStatus, Seen, Selection, Store, StoreOptions, Timestamp, Volume, VolumeClaim,
};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What is wrong, in words.
pub type Checked<T = ()> = Result<T, String>;

/// Milliseconds at which the clock of a rig begins; it moves on by one with each question.
const BEGIN: i64 = 1_000_000_000_000;

/// The words of an error, for a check.
pub(super) fn words(error: impl fmt::Display) -> String {
    error.to_string()
}

/// A node with one volume.
pub struct Rig {
    _home: tempfile::TempDir,
    tree: PathBuf,
    /// Its index.
    pub store: Store,
    /// Its volume.
    pub volume: Volume,
    /// The context of its operations.
    pub context: Context,
}

/// A destination of a rig.
pub struct Site {
    /// The storage beneath.
    pub made: Arc<dyn Made>,
    /// The destination as the node sees it.
    pub liar: Arc<Liar>,
    /// Its row in the index.
    pub id: DestinationId,
}

/// How a push ended.
#[derive(Debug)]
pub struct Pushing {
    /// Its report or error.
    pub outcome: Result<PushReport, SyncError>,
    /// The status of its run.
    pub status: RunStatus,
}

impl Rig {
    /// A node with an empty volume in a temporary directory.
    pub fn new(context: &Context) -> Checked<Self> {
        let home = tempfile::tempdir().map_err(words)?;
        let tree = home.path().join("volume");
        std::fs::create_dir(&tree).map_err(words)?;
        let now = AtomicI64::new(BEGIN);
        let options = StoreOptions {
            path: home.path().join("index/index.db"),
            node_name: "here".into(),
            clock: Arc::new(move || Timestamp(now.fetch_add(1, Ordering::SeqCst))),
            create: true,
        };
        let (store, _) = Store::open(options).map_err(words)?;
        let (volume, run) = store.add_volume("things", &tree, VolumeClaim::default()).map_err(words)?;
        run.finish(&Outcome::Success, None).map_err(words)?;
        Ok(Self { _home: home, tree, store, volume, context: context.clone() })
    }

    /// The volume's root directory.
    pub fn tree(&self) -> &Path {
        &self.tree
    }

    /// Makes a destination of the kind under test, and initialises it.
    pub fn site(&self, subject: &dyn Subject, name: &str) -> Checked<Site> {
        self.site_of(Arc::from(subject.make()?), name)
    }

    /// The volume, with a policy that lets what a destination vouches for be offloaded.
    pub(super) fn under_policy(&self, site: &Site) -> Checked<Volume> {
        let policy = Policy::requiring(vec![site.id], i64::MAX, Confirm::Full);
        self.store.open_volume(self.volume.name(), &self.tree, Some(policy)).map_err(words)
    }

    /// Initialises a destination that was made already.
    pub fn site_of(&self, made: Arc<dyn Made>, name: &str) -> Checked<Site> {
        let liar = Arc::new(Liar::new(made.destination()));
        let record = self.store.register_destination(name, liar.kind()).map_err(words)?;
        let site = Site { made, liar, id: record.id };
        self.init(&site).map_err(words)?;
        Ok(site)
    }

    /// `destination init`.
    pub fn init(&self, site: &Site) -> Result<manage::InitOutcome, InitError> {
        manage::init(&self.store, &self.record(site)?, site.liar.as_ref(), &self.context)
    }

    /// What the index knows of a destination now.
    pub fn record(&self, site: &Site) -> Result<DestinationRecord, lastcopy_store::StoreError> {
        self.store.destination(site.id)
    }

    /// Writes a file of the volume, with its directories.
    pub fn write(&self, path: &[u8], bytes: &[u8]) -> Checked {
        let path = self.tree.join(std::ffi::OsString::from_vec(path.to_vec()));
        std::fs::create_dir_all(path.parent().unwrap_or(&self.tree)).map_err(words)?;
        std::fs::write(path, bytes).map_err(words)
    }

    /// Removes a file of the volume.
    pub fn remove(&self, path: &[u8]) -> Checked {
        std::fs::remove_file(self.tree.join(std::ffi::OsString::from_vec(path.to_vec()))).map_err(words)
    }

    /// Records in the index what is in the volume now.
    pub fn index(&self) -> Checked<RunId> {
        let run = self.store.begin_index(&self.volume).map_err(words)?;
        let mut seen = Vec::new();
        observe(&self.tree, &RelPath::root(), &mut seen)?;
        run.observe(&seen).map_err(words)?;
        let gone = |file: &FileId| -> Checked<bool> {
            let path = self.store.file(*file).map_err(words)?.path;
            Ok(!seen.iter().any(|seen| seen.directory.join(&seen.name).is_ok_and(|there| there == path)))
        };
        let mut missing = Vec::new();
        for file in self.present()? {
            if gone(&file)? {
                missing.push(file);
            }
        }
        let id = run.id();
        run.finish_index(&missing, &Outcome::Success, None).map_err(words)?;
        Ok(id)
    }

    /// The present files.
    pub fn present(&self) -> Checked<Vec<FileId>> {
        let everything = Selection { below: vec![RelPath::root()], ..Selection::default() };
        self.store.select_present(self.volume.id(), &everything).map_err(words)
    }

    /// The present files, with their evidence at a destination.
    pub fn evidence(&self, site: &Site) -> Checked<Vec<(FileFacts, Evidence)>> {
        let all = self.store.evidence(self.volume.id(), &self.present()?, &[site.id]).map_err(words)?;
        all.into_iter().map(|(facts, mut evidence)| Ok((facts, evidence.pop().ok_or("a file without evidence")?))).collect()
    }

    /// Pushes the volume, and looks after it that the vector moved no farther than the storage carries.
    pub fn push(&self, site: &Site) -> Checked<Pushing> {
        self.push_under(site, &self.context)
    }

    /// The same, under another context.
    pub fn push_under(&self, site: &Site, context: &Context) -> Checked<Pushing> {
        let before = self.store.own_component(self.volume.id(), site.id).map_err(words)?;
        let push = Push {
            store: self.store.clone(),
            volume: self.volume.clone(),
            record: self.record(site).map_err(words)?,
            destination: site.liar.clone(),
            mounts: Mounts::Stay,
            context: context.clone(),
        };
        let outcome = push.run(|_| String::new());
        let newest = self.store.runs(1).map_err(words)?.into_iter().next().ok_or("a push without a run")?;
        let after = self.store.own_component(self.volume.id(), site.id).map_err(words)?;
        if let Ok(report) = &outcome {
            let counted = report.verified + report.drift.count + report.excluded.count + report.failed.count;
            expect(counted == report.planned, || format!("{} files were planned, and {counted} counted", report.planned))?;
        }
        let excluded = outcome.as_ref().map_or_else(|_| Vec::new(), |report| report.excluded.first.clone());
        let held = site.made.held()?;
        if after > before {
            self.carried(&held, newest.id, after, &excluded)?;
        }
        if newest.status == RunStatus::Success {
            self.carried(&held, newest.id, Some(RunId::from_user(i64::MAX)), &excluded)?;
        }
        self.judge_by(site, &held)?;
        Ok(Pushing { outcome, status: newest.status })
    }

    /// That the storage holds every present file up to a run.
    fn carried(&self, held: &HashSet<Content>, by: RunId, up_to: Option<RunId>, excluded: &[(RelPath, String)]) -> Checked {
        for file in self.present()? {
            let file = self.store.file(file).map_err(words)?;
            let said = excluded.iter().any(|(path, _)| *path == file.path);
            if Some(file.present_since) <= up_to && !said && !held.contains(&file.content) {
                return Err(format!("run {by} claims more than is held: {} is not there", file.path));
            }
        }
        Ok(())
    }

    /// Verifies a destination, and judges.
    pub fn verify(&self, site: &Site, extent: Extent) -> Checked<Result<VerifyReport, SyncError>> {
        let verified = self.verify_only(site, extent)?;
        self.judge(site)?;
        Ok(verified)
    }

    /// Verifies a destination.
    pub fn verify_only(&self, site: &Site, extent: Extent) -> Checked<Result<VerifyReport, SyncError>> {
        let verification = Verification {
            store: self.store.clone(),
            volume: None,
            record: self.record(site).map_err(words)?,
            destination: site.liar.clone(),
            extent,
            context: self.context.clone(),
        };
        Ok(verification.run(|_| String::new()))
    }

    /// The oracle: nothing counts as proven that the storage does not hold. What a standing alarm on the destination, or on the
    /// content there, has taken out of the count is left aside.
    pub fn judge(&self, site: &Site) -> Checked {
        self.judge_by(site, &site.made.held()?)
    }

    fn judge_by(&self, site: &Site, held: &HashSet<Content>) -> Checked {
        for (facts, evidence) in self.evidence(site)? {
            let file = &facts.file;
            let there = held.contains(&file.content);
            if gate_is_open(&facts, &evidence) && !there {
                return Err(format!("the gate is open for {}, and its bytes are not there", file.path));
            }
            if evidence.destination_alarm || evidence.content_alarm {
                continue;
            }
            let receipts = self.store.receipts_of(file.content_id).map_err(words)?;
            let counts = receipts.iter().any(|receipt| {
                receipt.destination == site.id && receipt.level == ReceiptLevel::Verified && receipt.lost_at.is_none()
            });
            if counts && !there {
                return Err(format!("{} counts as verified, and its bytes are not there", file.path));
            }
        }
        Ok(())
    }

    /// That everything is proven and held, the vector at the horizon, the gate open for every file, all bytes come back, and the
    /// segments rebuild all paths.
    pub fn converged(&self, site: &Site, horizon: RunId) -> Checked {
        let held = site.made.held()?;
        self.judge_by(site, &held)?;
        let component = self.store.own_component(self.volume.id(), site.id).map_err(words)?;
        expect(component == Some(horizon), || format!("the vector is at {component:?}, the horizon at {horizon}"))?;
        let alarms = self.alarms()?;
        expect(alarms.is_empty(), || format!("alarms stand: {alarms:?}"))?;
        let mut wanted = Vec::new();
        for (facts, evidence) in self.evidence(site)? {
            let path = &facts.file.path;
            expect(gate_is_open(&facts, &evidence), || format!("the gate is shut for {path}: {evidence:?}"))?;
            expect(held.contains(&facts.file.content), || format!("{path} is not held"))?;
            wanted.push(facts.file.content_id);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let receipts = self.store.receipts_at(site.id, &wanted).map_err(words)?;
        let contents: Vec<_> = receipts.iter().map(|receipt| receipt.content).collect();
        let items = receipts.into_iter().map(Into::into).collect();
        for (expected, bytes) in contents.into_iter().zip(fetch(site.liar.as_ref(), items, &self.context)?) {
            expect(hash_bytes(&bytes?) == expected, || format!("{} comes back as other bytes", expected.hash))?;
        }
        self.rebuilds(site)
    }

    /// That the segments, from the head's back to one that lists everything, are whole, and say of each present file what it holds.
    fn rebuilds(&self, site: &Site) -> Checked {
        let epoch = self.store.epoch().map_err(words)?;
        let heads = self.context.runtime.block_on(site.liar.heads(self.volume.uuid())).map_err(words)?;
        let head = heads.into_iter().flatten().find(|head| head.place.epoch == epoch).ok_or("there is no head")?;
        let mut said = BTreeMap::new();
        let mut next = Some(head.document.segment);
        while let Some(link) = next {
            let segment = self.context.runtime.block_on(site.liar.segment(&head.place, link.sequence));
            let mut segment = segment.map_err(words)?;
            let digest = hex(&digest_of(&mut segment).map_err(words)?);
            expect(digest == link.digest, || format!("segment {} hashes to something else", link.sequence))?;
            let header = read(segment, &mut |line| {
                // The newest word on a path comes first.
                said.entry(line.path).or_insert((line.content, line.status));
                Ok(())
            })?;
            next = header.previous;
        }
        for file in self.present()? {
            let file = self.store.file(file).map_err(words)?;
            let right = said.get(&file.path) == Some(&(file.content, FileStatus::Present));
            expect(right, || format!("the segments say of {}: {:?}", file.path, said.get(&file.path)))?;
        }
        Ok(())
    }

    /// The standing alarms.
    pub fn alarms(&self) -> Checked<Vec<Alarm>> {
        self.store.alarms(true).map_err(words)
    }

    /// Acknowledges every standing alarm, as a person would.
    pub fn acknowledge(&self) -> Checked {
        for alarm in self.alarms()? {
            let destination = self.store.standing_alarm(alarm.id).map_err(words)?;
            let run = self.store.begin_evidence_change(destination, None).map_err(words)?;
            run.acknowledge(alarm.id, "a test says so").map_err(words)?;
            run.finish(&Outcome::Success, None).map_err(words)?;
        }
        Ok(())
    }
}

/// As the offload gate would see it, without an age.
pub fn gate_is_open(facts: &FileFacts, evidence: &Evidence) -> bool {
    !facts.alarm
        && evidence.accepted.is_some()
        && evidence.accepted == evidence.answered
        && !evidence.destination_alarm
        && !evidence.content_alarm
        && evidence.component >= Some(facts.file.present_since)
        && evidence.receipt.is_some_and(|receipt| receipt.level == ReceiptLevel::Verified)
}

/// Whether the storage holds the very bytes.
pub fn holds(site: &Site, content: Content) -> Checked<bool> {
    Ok(site.made.held()?.contains(&content))
}

pub(super) fn expect(holds: bool, otherwise: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn observe(dir: &Path, below: &RelPath, seen: &mut Vec<Observation>) -> Checked {
    for entry in std::fs::read_dir(dir).map_err(words)? {
        let entry = entry.map_err(words)?;
        let name = entry.file_name().as_bytes().to_vec();
        if name == lastcopy_store::VOLUME_DIR.as_bytes() {
            continue;
        }
        if entry.file_type().map_err(words)?.is_dir() {
            observe(&entry.path(), &below.join(&name).map_err(words)?, seen)?;
            continue;
        }
        let file = std::fs::File::open(entry.path()).map_err(words)?;
        let stat = FileStat::of_fd(&file).map_err(words)?;
        let bytes = std::fs::read(entry.path()).map_err(words)?;
        // Nobody else writes here: no time is too young to be believed.
        let looked = Seen::from_stat(&stat, i64::MAX, 1);
        seen.push(Observation { directory: below.clone(), name, seen: looked, content: hash_bytes(&bytes) });
    }
    Ok(())
}
