//! What the tool is told to do: the same calls in the same order as the commands of the binary make.

use crate::confirm::Confirmer;
use crate::error::{Broken, Result};
use crate::ledger::Offloading;
use crate::moments::Told;
use crate::op::Op;
use crate::policy::{Asking, Spec};
use crate::way::{Confirming, Way};
use crate::word::{Dest, Moment, Terms, Vol};
use crate::world::World;
use lastcopy_fs::{Cancel, Dir, Mounts, RelPath};
use lastcopy_index::{IndexError, IndexOptions, LeaveOut, WalkOptions};
use lastcopy_offload::{
    Counts, FileOutcome, FileReport, OffloadError, Offloading as Carrying, PlanOptions, SettleReport, plan, released_by_grace,
};
use lastcopy_restore::{RestoreError, Restoring, Target, wanted_below};
use lastcopy_store::{
    AlarmKind, AtLeast, BeginError, Confirm, DestinationKind, IdentityError, Method, Offload, Outcome, Policy, Run, RunId,
    Selection, StoreError, Volume, VolumeClaim, VolumeError,
};
use lastcopy_sync::{
    Context, DestinationError, Extent, InitError, Other, Push, Repair, SyncError, Verification, adopt, init, reset,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A command that was refused or failed: that is an answer, and what it left behind is the oracle's to judge.
pub(crate) type Answer<T> = std::result::Result<T, ()>;

/// A product error that became a situation.
macro_rules! told {
    ($world:expr, $result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => {
                $world.tell_error(&error.into());
                return Ok(());
            }
        }
    };
}
pub(crate) use told;

/// Any error that a command can end with.
pub(crate) enum Ended {
    Sync(SyncError),
    Begin(BeginError),
    Volume(VolumeError),
    Store(StoreError),
    Index(IndexError),
    Offload(OffloadError),
    Restore(RestoreError),
    Destination(DestinationError),
    Init(InitError),
}

macro_rules! ended {
    ($($variant:ident($error:ty))*) => {$(
        impl From<$error> for Ended {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        }
    )*};
}

ended! {
    Sync(SyncError) Begin(BeginError) Volume(VolumeError) Store(StoreError) Index(IndexError) Offload(OffloadError)
    Restore(RestoreError) Destination(DestinationError) Init(InitError)
}

impl World {
    /// Counts what a command ended with.
    pub(crate) fn tell_error(&self, error: &Ended) {
        let what = match error {
            Ended::Begin(error) | Ended::Offload(OffloadError::Begin(error)) => return self.tell_begin(error),
            Ended::Sync(SyncError::Begin(error)) | Ended::Init(InitError::Sync(SyncError::Begin(error))) => {
                return self.tell_begin(error);
            }
            Ended::Volume(error) => return self.tell_volume(error),
            Ended::Sync(SyncError::Identity(IdentityError::Changed { .. })) => "a push met another repository",
            Ended::Sync(SyncError::Identity(IdentityError::Gone { .. })) => "a push met no repository",
            Ended::Sync(SyncError::Identity(_)) => "a destination was never initialised",
            Ended::Sync(SyncError::RolledBack(_)) => "a rollback was noticed",
            Ended::Sync(SyncError::NewEpoch(news)) => {
                self.tell_news(Some(news));
                return;
            }
            Ended::Sync(SyncError::Volume(error)) => return self.tell_volume(error),
            Ended::Sync(SyncError::Destination(DestinationError::Full { .. }))
            | Ended::Destination(DestinationError::Full { .. }) => "a destination was full",
            Ended::Sync(_) | Ended::Destination(_) => "a destination could not be used",
            Ended::Store(StoreError::RunEnded { .. }) => "a run was closed by somebody else",
            Ended::Store(_) => "the index refused",
            Ended::Index(IndexError::ImplausibleLoss { .. }) => "an index run did not believe a loss",
            Ended::Index(_) => "an index run failed",
            Ended::Offload(_) => "an offload failed",
            Ended::Restore(RestoreError::Unrecoverable(_)) => "nothing could be recovered",
            Ended::Restore(_) => "a restore failed",
            Ended::Init(_) => "an init was refused",
        };
        self.reach(what);
    }

    fn tell_begin(&self, error: &BeginError) {
        self.reach(match error {
            BeginError::Blocked { .. } => "a run was refused because of another",
            BeginError::PolicyWeaker { .. } => "a weaker policy was refused",
            BeginError::NoPolicy { .. } => "an offload without a policy was refused",
            _ => "a run could not begin",
        });
    }

    fn tell_volume(&self, error: &VolumeError) {
        match error {
            VolumeError::NewEpoch(news) => self.tell_news(Some(news)),
            VolumeError::Begin(error) => self.tell_begin(error),
            VolumeError::MarkerMismatch { .. } => self.reach("a volume was another node's"),
            _ => self.reach("a volume could not be opened"),
        }
    }

    pub(crate) fn context(&self) -> Context {
        Context::new(self.runtime.clone(), Cancel::new(), Arc::new(Told::new(self.moments.clone())))
    }

    /// What the index knows of a destination, and the way to it.
    pub(crate) fn destination(self: &Arc<Self>, dest: Dest, confirming: Option<Vol>) -> std::result::Result<Other, StoreError> {
        let store = self.store().map_err(|error| StoreError::Refused(error.to_string()))?;
        let record = store.register_destination(dest.name(), DestinationKind::Cas)?;
        let address = self.address(dest);
        let (armed, accepted) = {
            let state = self.state();
            (state.armed[&state.places[&dest]].clone(), state.accepted.destinations.get(&dest).cloned())
        };
        let confirming = confirming.map(|volume| Confirming { volume, destination: dest, accepted });
        Ok((record, Arc::new(Way::new(self, &address, armed, confirming))))
    }

    fn policy(&self, spec: &Spec) -> std::result::Result<Policy, StoreError> {
        let store = self.store().map_err(|error| StoreError::Refused(error.to_string()))?;
        let id = |dest: &Dest| store.register_destination(dest.name(), DestinationKind::Cas).map(|record| record.id);
        let ids = |dests: &[Dest]| -> std::result::Result<Vec<_>, StoreError> {
            let mut ids = dests.iter().map(id).collect::<std::result::Result<Vec<_>, _>>()?;
            ids.sort_unstable();
            Ok(ids)
        };
        let at_least = match &spec.at_least {
            Some((count, of)) => Some(AtLeast { count: *count, of: ids(of)? }),
            None => None,
        };
        let mut domains: BTreeMap<_, _> = match &at_least {
            Some(at_least) => at_least.of.iter().map(|id| (*id, format!("place {id}"))).collect(),
            None => BTreeMap::new(),
        };
        // Under one label, those that stand in one place.
        let together = ids(&spec.together)?;
        if let Some(label) = together.first().and_then(|first| domains.get(first)).cloned() {
            together.iter().for_each(|id| drop(domains.insert(*id, label.clone())));
        }
        Ok(Policy {
            require: ids(&spec.require)?,
            at_least,
            max_evidence_age_ms: spec.age_ms,
            confirm: match spec.asking {
                Asking::Offline => Confirm::Offline,
                Asking::Quick => Confirm::Quick,
                Asking::Full => Confirm::Full,
            },
            grace_ms: spec.grace_ms,
            methods: vec![Method::ReadBack],
            any_filesystem: false,
            domains,
            same_device: Vec::new(),
            unknown_device: Vec::new(),
        })
    }

    /// Opens a volume under its configured policy, a second time where the index found out that it is an old copy.
    pub(crate) fn volume(&self, volume: Vol) -> Answer<Volume> {
        let opened = (|| -> std::result::Result<Volume, VolumeError> {
            let store = self.store().map_err(|error| StoreError::Refused(error.to_string()))?;
            let policy = self.spec(volume).map(|spec| self.policy(&spec)).transpose()?;
            let open = || store.open_volume(volume.name(), &self.root(volume), policy.clone());
            open().or_else(|error| match error {
                VolumeError::NewEpoch(news) => {
                    self.tell_news(Some(&news));
                    open()
                }
                error => Err(error),
            })
        })();
        opened.map_err(|error| self.tell_error(&error.into()))
    }

    fn walk_options(&self, volume: Vol) -> WalkOptions {
        let mut leave_out = Vec::new();
        let mut add = |path: &std::path::Path, kind| {
            if let Ok(stat) = std::fs::canonicalize(path).and_then(|path| Dir::open(&path)?.own_stat()) {
                leave_out.push(LeaveOut { device: stat.device, inode: stat.inode, kind });
            }
        };
        Vol::ALL.iter().filter(|other| **other != volume).for_each(|other| add(&self.root(*other), "volume"));
        Dest::ALL.iter().for_each(|dest| add(&self.address(*dest), "destination"));
        WalkOptions { leave_out, ..WalkOptions::default() }
    }

    /// Files may come back into this volume in this step.
    pub(crate) fn moves(&self, volume: Vol) {
        self.state().step.movers.insert(volume);
    }

    /// A run with this volume began: a stricter policy is in force from now on.
    pub(crate) fn began(&self, volume: Vol) {
        self.accepts(volume, self.spec(volume));
    }

    fn accepts(&self, volume: Vol, configured: Option<Spec>) {
        let Some(spec) = configured else { return };
        let mut state = self.state();
        if state.crashed {
            return;
        }
        if state.accepted.policies.get(&volume).is_none_or(|accepted| spec.weaker_than(accepted).is_none()) {
            state.accepted.policies.insert(volume, spec);
        }
    }

    fn tell_settled(&self, settled: &SettleReport) {
        for (count, what) in [
            (settled.put_back.len(), "a broken offload was settled: put back"),
            (settled.kept.len(), "a broken offload was settled: kept"),
            (settled.gone.len(), "a broken offload was settled: gone"),
            (settled.stuck.len(), "a broken offload could not be settled"),
        ] {
            if count > 0 {
                self.reach(what);
            }
        }
    }

    /// Carries out a command, or another use of the index.
    pub(crate) fn command(self: &Arc<Self>, op: &Op) -> Result<()> {
        match op {
            Op::Index { volume, accept_loss } => self.index(*volume, *accept_loss),
            Op::Sync { volume, to } => self.sync(*volume, *to),
            Op::Verify { at, quick } => self.verify(*at, *quick),
            Op::Offload { volume, full } => self.offload(*volume, *full),
            Op::Undo { volume } => self.undo(*volume),
            Op::Restore { volume, in_place } => self.restore(*volume, &[RelPath::root()], *in_place),
            Op::Audit { volume, deep } => self.audit(*volume, *deep),
            Op::Acknowledge => self.acknowledge(),
            Op::Repair { at } => self.repair(*at),
            Op::Init { at } => self.init(*at),
            Op::Adopt { at } => self.adopt(*at),
            Op::Reset { at } => self.reset_destination(*at),
            Op::Rewind { volume, at, by } => self.rewind(*volume, *at, *by),
            other => self.administer(other),
        }
    }

    /// Adds the volumes and makes the destinations.
    pub(crate) fn set_up(self: &Arc<Self>) -> Result<()> {
        let store = self.store()?;
        for volume in Vol::ALL {
            let added = store.add_volume(volume.name(), &self.root(*volume), VolumeClaim::default());
            let (_, run) = added.map_err(|error| Broken::Other(error.to_string()))?;
            run.finish(&Outcome::Success, None)?;
        }
        for dest in Dest::ALL {
            let (record, way) = self.destination(*dest, None)?;
            drop(init(&store, &record, way.as_ref(), &self.context()).map_err(|error| Broken::Other(error.to_string()))?);
        }
        Ok(())
    }

    pub(crate) fn index(self: &Arc<Self>, volume: Vol, accept_loss: bool) -> Result<()> {
        let Ok(open) = self.volume(volume) else { return Ok(()) };
        let options = IndexOptions { walk: self.walk_options(volume), accept_loss };
        let run = told!(self, self.store()?.begin_index(&open));
        self.began(volume);
        self.moves(volume);
        let settled = match lastcopy_offload::settle(&run, &open) {
            Ok(settled) => settled,
            Err(error) => {
                run.finish(&Outcome::Failed(error.to_string()), None)?;
                self.tell_error(&error.into());
                return Ok(());
            }
        };
        self.tell_settled(&settled);
        let context = self.context();
        let indexed = lastcopy_index::index(run, &options, &context.cancel, context.progress.as_ref(), |_| String::new());
        let report = told!(self, indexed);
        for (count, what) in [
            (report.added, "an index run found new files"),
            (report.changed, "an index run found changed files"),
            (report.missing, "an index run found files missing"),
            (report.reappeared, "an index run found files again"),
        ] {
            if count > 0 {
                self.reach(what);
            }
        }
        self.nothing_aside(&open, volume, &settled)
    }

    fn sync(self: &Arc<Self>, volume: Vol, to: Dest) -> Result<()> {
        let mut pushed = self.push(volume, to)?;
        if let Some(Err(SyncError::NewEpoch(news) | SyncError::Volume(VolumeError::NewEpoch(news)))) = &pushed {
            self.tell_news(Some(news));
            pushed = self.push(volume, to)?;
        }
        let Some(pushed) = pushed else { return Ok(()) };
        self.began(volume);
        let report = told!(self, pushed);
        for (count, what) in [
            (report.verified, "a push proved files"),
            (report.drift.count, "a push met drift"),
            (report.failed.count, "a push failed with some files"),
            (u64::from(report.planned == 0), "a push had nothing to send"),
            (u64::from(report.advance.is_some_and(|advance| advance.advanced)), "a vector advanced"),
        ] {
            if count > 0 {
                self.reach(what);
            }
        }
        Ok(())
    }

    fn push(self: &Arc<Self>, volume: Vol, to: Dest) -> Result<Option<std::result::Result<lastcopy_sync::PushReport, SyncError>>> {
        let Ok(open) = self.volume(volume) else { return Ok(None) };
        let (record, destination) = self.destination(to, None)?;
        let store = self.store()?;
        let push = Push { store, volume: open, record, destination, mounts: Mounts::Stay, context: self.context() };
        Ok(Some(push.run(|_| String::new())))
    }

    fn verify(self: &Arc<Self>, at: Dest, quick: bool) -> Result<()> {
        let (record, destination) = self.destination(at, None)?;
        let extent = if quick { Extent::Quick } else { Extent::All };
        let verification =
            Verification { store: self.store()?, volume: None, record, destination, extent, context: self.context() };
        let report = told!(self, verification.run(|_| String::new()));
        for (item, _) in &report.first {
            self.told_lost(at, item.content.hash.0);
        }
        for (count, what) in [(report.verified, "a verify proved objects"), (report.lost, "a verify found a loss")] {
            if count > 0 {
                self.reach(what);
            }
        }
        Ok(())
    }

    /// The tool knows now that a destination does not hold a content.
    pub(crate) fn told_lost(&self, at: Dest, hash: [u8; 32]) {
        let mut state = self.state();
        if state.crashed {
            return;
        }
        let disk = state.places[&at];
        if let Some(lost) = state.ledger.disks.entry(disk).or_default().lost.get_mut(&hash) {
            lost.told = true;
        }
    }

    fn offload(self: &Arc<Self>, volume: Vol, full: bool) -> Result<()> {
        // What is configured from here on is the next command's.
        let (configured, terms) = (self.spec(volume), self.terms(volume));
        let Ok(open) = self.volume(volume) else { return Ok(()) };
        let Some(policy) = open.configured_policy().cloned() else {
            self.reach("an offload without a policy was refused");
            return Ok(());
        };
        let store = self.store()?;
        let held = told!(self, released_by_grace(&store, &open));
        let needed = store.own_files()?.iter().map(|stat| (stat.device, stat.inode)).collect::<HashSet<_>>();
        let confirmer = Confirmer::new(self, &open, volume)?;
        let context = self.context();
        let carrying = Carrying {
            volume: &open,
            policy: &policy,
            depth: if full { Confirm::Full } else { policy.confirm },
            confirm: &confirmer,
            needed: &needed,
            cancel: &context.cancel,
            progress: context.progress.as_ref(),
        };
        let selection = Selection { below: vec![RelPath::root()], ..Selection::default() };
        let options = PlanOptions { selection, free: None };
        let plan = told!(self, plan(&store, &open, &policy, &options, &mut |report| self.tell_file(&report)));
        if plan.files == 0 && held.is_empty() {
            return Ok(());
        }
        self.moments.at(Moment::Planned);
        self.note_offload(volume, terms, full, &confirmer);
        let run = told!(self, store.begin_offload(&open));
        self.accepts(volume, configured);
        self.moves(volume);
        let mut each = |report: FileReport| {
            self.tell_file(&report);
            self.moments.at(Moment::Told);
        };
        let mut settled = SettleReport::default();
        let done = carry_out(&run, &carrying, &plan, &mut settled, &mut each);
        self.tell_settled(&settled);
        match done {
            Ok(counts) => {
                let bad = counts.blocked + counts.drift + counts.errors > 0;
                let outcome = if bad { Outcome::Partial("some stay here".into()) } else { Outcome::Success };
                if let Err(error) = run.finish(&outcome, None) {
                    self.tell_error(&error.into());
                    return Ok(());
                }
                self.nothing_aside(&open, volume, &settled)
            }
            Err(error) => {
                drop(run.finish(&Outcome::Failed(error.to_string()), None));
                self.tell_error(&error.into());
                Ok(())
            }
        }
    }

    /// Writes down under which circumstances an offload begins.
    fn note_offload(&self, volume: Vol, terms: Terms, full: bool, confirmer: &Confirmer) {
        let Some(mut spec) = terms.spec() else { return };
        let before = self.state().accepted.policies.get(&volume).cloned();
        let weaker = before.and_then(|before| spec.weaker_than(&before));
        if full {
            spec.asking = Asking::Full;
        }
        let now_ms = self.state().step.now_ms;
        self.offload_begins(Offloading { volume, terms, spec, weaker, accepted: confirmer.accepted(), now_ms });
    }

    fn tell_file(&self, report: &FileReport) {
        self.reach(match report.outcome {
            FileOutcome::Offloaded => "a file was offloaded",
            FileOutcome::Quarantined => "a file waits for its grace",
            FileOutcome::Drift => "an offload met drift",
            FileOutcome::Error => "an offload met an error",
            FileOutcome::Blocked | FileOutcome::WouldOffload => "a file was blocked",
        });
        if report.detail.as_ref().is_some_and(|detail| detail.contains("kept")) {
            self.reach("an offload kept a file whose place was taken");
        }
        for refusal in &report.refusals {
            self.reach(match refusal.cause.name() {
                "identity" => "refused: identity",
                "alarm" => "refused: alarm",
                "no-evidence" => "refused: no-evidence",
                "behind" => "refused: behind",
                "no-receipt" => "refused: no-receipt",
                "unverified" => "refused: unverified",
                "stale" => "refused: stale",
                "unreachable" => "refused: unreachable",
                "not-held" => "refused: not-held",
                "in-use" => "refused: in-use",
                _ => "refused: something else",
            });
        }
    }

    /// After a run that settled: only what waits for its grace lies aside.
    fn nothing_aside(&self, open: &Volume, volume: Vol, settled: &SettleReport) -> Result<()> {
        if self.state().crashed || !settled.stuck.is_empty() {
            return Ok(());
        }
        let waiting = self.store()?.open_intents(open.id())?;
        let aside = crate::look::tree(&self.root(volume))?.aside;
        for (run, path) in aside.keys() {
            let waits = |intent: &lastcopy_store::Intent| {
                intent.held_until.is_some() && intent.run.to_string().as_bytes() == run && intent.file.path.as_bytes() == path
            };
            if !waiting.iter().any(waits) {
                let path = crate::word::escape(path);
                self.state().violated(format!("`{path}` lies aside after a run that settled, and waits for nothing"));
            }
        }
        Ok(())
    }

    fn undo(self: &Arc<Self>, volume: Vol) -> Result<()> {
        let store = self.store()?;
        let Ok(open) = self.volume(volume) else { return Ok(()) };
        let Some(of) = store.open_intents(open.id())?.last().map(|intent| intent.run) else { return Ok(()) };
        let run = told!(self, store.begin_restore(Some(&open)));
        self.began(volume);
        self.moves(volume);
        match lastcopy_offload::undo(&run, &open, of) {
            Ok(report) => {
                if !report.put_back.is_empty() {
                    self.reach("an offload was undone");
                }
                if !report.kept.is_empty() {
                    self.reach("an undo kept a file whose place was taken");
                }
                run.finish(&Outcome::Success, None)?;
            }
            Err(error) => {
                run.finish(&Outcome::Failed(error.to_string()), None)?;
                self.tell_error(&error.into());
            }
        }
        Ok(())
    }

    /// `restore` of all of a volume, or of what lies at and below some paths.
    pub(crate) fn restore(self: &Arc<Self>, volume: Vol, below: &[RelPath], in_place: bool) -> Result<()> {
        let store = self.store()?;
        let sources = self.all_destinations()?;
        let Ok(open) = self.volume(volume) else { return Ok(()) };
        let run = told!(self, store.begin_restore(Some(&open)));
        self.began(volume);
        self.moves(volume);
        if in_place {
            self.state().step.in_place.insert(volume);
        }
        let settled = match lastcopy_offload::settle(&run, &open) {
            Ok(settled) => settled,
            Err(error) => {
                run.finish(&Outcome::Failed(error.to_string()), None)?;
                self.tell_error(&error.into());
                return Ok(());
            }
        };
        self.tell_settled(&settled);
        let wanted = told!(self, wanted_below(&store, open.id(), below, in_place));
        let target = Target::Home(open.clone());
        let restoring = Restoring { store: &store, target, in_place, sources, context: self.context() };
        let report = told!(self, restoring.run(run, &wanted, |_| String::new()));
        self.tell_restored(&report);
        self.nothing_aside(&open, volume, &settled)
    }

    pub(crate) fn tell_restored(&self, report: &lastcopy_restore::RestoreReport) {
        for (count, what) in [
            (report.restored, "a file was restored"),
            (report.refused, "a restore found a place taken"),
            (report.failed, "a restore could not bring a file back"),
            (report.lost, "a restore found a loss"),
        ] {
            if count > 0 {
                self.reach(what);
            }
        }
    }

    pub(crate) fn all_destinations(self: &Arc<Self>) -> std::result::Result<Vec<Other>, StoreError> {
        Dest::ALL.iter().map(|dest| self.destination(*dest, None)).collect()
    }

    fn audit(self: &Arc<Self>, volume: Vol, deep: bool) -> Result<()> {
        let Ok(open) = self.volume(volume) else { return Ok(()) };
        let run = told!(self, self.store()?.begin_audit(&open));
        self.began(volume);
        let (options, context) = (self.walk_options(volume), self.context());
        let audited = lastcopy_index::audit(run, &options, deep, &context.cancel, context.progress.as_ref(), |_| String::new());
        let report = told!(self, audited);
        if report.damaged.count() > 0 {
            self.reach("an audit found bytes changed silently");
        }
        Ok(())
    }

    fn acknowledge(self: &Arc<Self>) -> Result<()> {
        let store = self.store()?;
        for alarm in store.alarms(true)? {
            let Ok(destination) = store.standing_alarm(alarm.id) else { continue };
            let run = told!(self, store.begin_evidence_change(destination, None));
            match run.acknowledge(alarm.id, "seen") {
                Ok(()) => {
                    self.reach(match alarm.kind {
                        AlarmKind::ContentChanged => "acknowledged: content-changed",
                        AlarmKind::LostObject => "acknowledged: lost-object",
                        AlarmKind::IdentityChanged => "acknowledged: identity-changed",
                        AlarmKind::RolledBack => "acknowledged: rolled-back",
                    });
                    run.finish(&Outcome::Success, None)?;
                }
                Err(error) => run.finish(&Outcome::Failed(error.to_string()), None)?,
            }
        }
        Ok(())
    }

    fn repair(self: &Arc<Self>, at: Dest) -> Result<()> {
        let store = self.store()?;
        let (record, destination) = self.destination(at, None)?;
        let others = self.all_destinations()?.into_iter().filter(|(other, _)| other.id != record.id).collect();
        let volumes = Vol::ALL.iter().filter_map(|volume| self.volume(*volume).ok()).collect();
        let repair = Repair { store: &store, record, destination, volumes, others, context: self.context() };
        let report = told!(self, repair.run(|_| String::new()));
        if report.repaired > 0 {
            self.reach("a loss was repaired");
        }
        Ok(())
    }

    fn init(self: &Arc<Self>, at: Dest) -> Result<()> {
        self.state().step.accepting.insert(at);
        let (record, destination) = self.destination(at, None)?;
        let done = init(&self.store()?, &record, destination.as_ref(), &self.context());
        self.accept_what_was_told()?;
        drop(told!(self, done));
        self.reach("a destination was initialised");
        Ok(())
    }

    pub(crate) fn adopt(self: &Arc<Self>, at: Dest) -> Result<()> {
        let lying = self.state().armed.values().any(|armed| armed.pretends());
        if lying {
            // Nobody takes a stranger for his own that is not even there.
            return Ok(());
        }
        self.state().step.accepting.insert(at);
        let (record, destination) = self.destination(at, None)?;
        let done = adopt(&self.store()?, &record, destination.as_ref(), None, "adopted", &self.context());
        self.accept_what_was_told()?;
        drop(told!(self, done));
        self.reach("a destination was adopted");
        Ok(())
    }

    fn reset_destination(self: &Arc<Self>, at: Dest) -> Result<()> {
        self.state().step.accepting.insert(at);
        let (record, destination) = self.destination(at, None)?;
        let done = reset(&self.store()?, &record, destination.as_ref(), "reset", &self.context());
        self.accept_what_was_told()?;
        let gone = told!(self, done);
        self.reach(if gone { "a destination that is gone was reset" } else { "a destination was reset" });
        Ok(())
    }

    fn rewind(self: &Arc<Self>, volume: Vol, at: Dest, by: u8) -> Result<()> {
        let store = self.store()?;
        let (record, _) = self.destination(at, None)?;
        let Some(of) = store.volume_record(volume.name())? else { return Ok(()) };
        let Some(before) = store.own_component(of.id, record.id)? else { return Ok(()) };
        let run = told!(self, store.begin_evidence_change(Some(record.id), None));
        let to = RunId::from_user((before.get() - i64::from(by) - 1).max(0));
        match run.rewind(of.id, record.id, to, "rewound") {
            Ok(()) => {
                self.reach("evidence was rewound");
                run.finish(&Outcome::Success, None)?;
            }
            Err(error) => run.finish(&Outcome::Failed(error.to_string()), None)?,
        }
        Ok(())
    }

    /// `policy accept`.
    pub(crate) fn accept_policy(&self, volume: Vol) -> Result<()> {
        let Some(spec) = self.state().terms.get(&volume).copied().and_then(Terms::spec) else { return Ok(()) };
        let store = self.store()?;
        let Some(of) = store.volume_record(volume.name())? else { return Ok(()) };
        store.accept_policy(of.id, &self.policy(&spec)?, "meant")?;
        let mut state = self.state();
        if !state.crashed {
            state.accepted.policies.insert(volume, spec);
        }
        drop(state);
        self.reach("a policy was accepted");
        Ok(())
    }
}

fn carry_out(
    run: &Run<Offload>,
    carrying: &Carrying<'_>,
    plan: &lastcopy_offload::Plan,
    settled: &mut SettleReport,
    each: &mut dyn FnMut(FileReport),
) -> std::result::Result<Counts, OffloadError> {
    *settled = lastcopy_offload::settle(run, carrying.volume)?;
    let held = carrying.finish_held(run, each)?;
    Ok(held + carrying.apply(run, plan, each)?)
}
