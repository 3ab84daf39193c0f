//! `offload`, with its rehearsal and its undo.

use crate::app::App;
use crate::args::OffloadArgs;
use crate::commands::index::tell_settled;
use crate::commands::quarantine::Quarantine;
use crate::commands::runs::known;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::{Fields, bold};
use crate::units::{Age, Size};
use crate::words::{self, Names, files, files_that, grouped};
use lastcopy_fs::{Content, NoProgress};
use lastcopy_offload::{
    Cause, Confirm, Counts, FileOutcome, FileReport, OffloadError, Offloading, PlanOptions, Verdict, plan, released_by_grace,
};
use lastcopy_store::{
    BeginError, Confirm as Depth, DestinationId, DestinationRecord, FileId, Offload, Outcome, Policy, Run, RunId, Selection, Volume,
};
use lastcopy_sync::{Answer, Asking, Context, Depth as LookDepth, HeadsOf, SyncError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn run(app: &App, args: &OffloadArgs) -> Result<Exit> {
    if let Some(run) = args.undo {
        return undo(app, run, args.dry_run);
    }
    // The parser wants a volume where there is no run to undo.
    let name = args.volume.as_deref().unwrap_or_default();
    // What was done until an error stays done, and is told.
    let mut counts = Counts::default();
    let result = offload(app, name, args, &mut counts);
    if let Err(error) = &result {
        tell_ended(app, name, &counts);
        let run = error.run.map(RunId::get);
        app.output.summary("offload", run, error.status(), fields(name, args.dry_run, &counts));
    }
    result.map_err(|error| CliError { run: None, ..error })
}

/// How far an offload came that ended early.
fn tell_ended(app: &App, name: &str, counts: &Counts) {
    if counts.offloaded + counts.quarantined > 0 {
        let (gone, freed) = (files(counts.offloaded), Size(counts.bytes_freed));
        let aside = files(counts.quarantined);
        app.output
            .line(&bold(&format!("{name}: until it ended early: {gone} deleted, {freed} freed, {aside} moved to quarantine")));
    }
}

fn offload(app: &App, name: &str, args: &OffloadArgs, counts: &mut Counts) -> Result<Exit> {
    let volume = app.volume(name)?;
    let Some(policy) = volume.configured_policy().cloned() else {
        return Err(BeginError::NoPolicy { volume: name.to_owned() }.into());
    };
    app.satisfiable(name, &policy)?;
    let held = released_by_grace(app.store()?, &volume)?;
    if args.paths.is_empty() && held.is_empty() {
        let chooses = args.older_than.is_some() || args.larger_than.is_some() || args.free.is_some();
        let quarantine = Quarantine::of(app.store()?, volume.id(), |_| true)?;
        if !chooses && quarantine.waiting() > 0 {
            quarantine.lines(name).iter().for_each(|line| app.output.line(&format!("{name}: {line}")));
            let fields = fields(name, args.dry_run, counts).with("waiting", quarantine.waiting());
            app.output.summary("offload", None, "success", fields);
            return Ok(Exit::Done);
        }
        return Err(CliError::new(Code::Usage, format!("nothing of volume `{name}` is named"))
            .hint(format!("name files or directories, or the whole volume by a dot: `lastcopy offload {name} .`")));
    }
    let needed = app.needed()?.into_iter().collect();
    let confirmer = Confirmer::new(app, &volume)?;
    let offloading = Offloading {
        volume: &volume,
        policy: &policy,
        depth: if args.confirm { Depth::Full } else { policy.confirm },
        confirm: &confirmer,
        needed: &needed,
        cancel: &app.cancel,
        progress: app.progress.as_ref(),
    };
    let mut teller = Teller::new(app, name)?;
    let options = options(app, &volume, args)?;
    let plan = plan(app.store()?, &volume, &policy, &options, &mut |report| teller.tell(&report))?;
    if plan.files == 0 && held.is_empty() {
        let counts = Counts { selected: plan.selected, blocked: plan.blocked, ..Counts::default() };
        return Ok(teller.finish(None, args.dry_run, &counts));
    }
    // Passwords are had before anything is set aside: whoever is asked for one may be away, and files would be missing meanwhile.
    let nothing_can_go = !args.dry_run && offloading.depth != Depth::Offline && !confirmer.makes_ways(&policy);
    if args.dry_run || nothing_can_go {
        let weaker = app.weakenings(volume.id(), &policy)?;
        if !weaker.is_empty() {
            return Err(CliError::policy_weaker(name, &weaker, &app.names()?));
        }
        let held = offloading.rehearse_held(app.store()?, &mut |report| teller.tell(&report))?;
        let counts = held + offloading.rehearse(app.store()?, &plan, &mut |report| teller.tell(&report))?;
        if args.dry_run {
            app.output.note("dry run: nothing was changed");
        }
        return Ok(teller.finish(None, args.dry_run, &counts));
    }
    let held: (u64, u64) = held.iter().fold((0, 0), |(count, bytes), intent| (count + 1, bytes + intent.file.content.size));
    app.confirm(&question(name, (plan.files, plan.bytes), held, Age { ms: policy.grace_ms }))?;
    let run = app.waiting(|| match app.store()?.begin_offload(&volume) {
        Err(BeginError::PolicyWeaker { weakenings, refused, .. }) => {
            Err(CliError { run: Some(refused), ..CliError::policy_weaker(name, &weakenings, &app.names()?) })
        }
        begun => Ok(begun?),
    })?;
    let id = run.id();
    match carry_out(app, &run, &offloading, &plan, &mut teller, counts) {
        Ok(()) => {
            let bad = counts.blocked + counts.drift + counts.errors > 0;
            let outcome = if bad {
                Outcome::Partial(format!("{} here", files_that(counts.blocked + counts.drift + counts.errors, "stays", "stay")))
            } else {
                Outcome::Success
            };
            run.finish(&outcome, Some(&fields(name, false, counts).to_json()))?;
            Ok(teller.finish(Some(id), false, counts))
        }
        Err(error) => {
            let error = CliError::from(error);
            let outcome = if error.code == Code::Interrupted { Outcome::Aborted } else { Outcome::Failed(error.message.clone()) };
            let finished = run.finish(&outcome, Some(&fields(name, false, counts).to_json()));
            Err(CliError { run: Some(id), ..finished.map_or_else(CliError::from, |()| error) })
        }
    }
}

/// What a person is asked: the files that go now, and under a grace those that only wait for it; each a count and bytes.
fn question(volume: &str, planned: (u64, u64), held: (u64, u64), grace: Age) -> String {
    let show = |(count, bytes)| format!("{} ({})", files(count), Size(bytes));
    let aside = format!("{} aside for {grace}", show(planned));
    match (planned.0 > 0, held.0 > 0, grace.ms > 0) {
        (_, false, false) => format!("Delete {} of volume `{volume}` here?", show(planned)),
        (_, false, true) => format!("Move {aside} in volume `{volume}`, to be deleted then?"),
        (false, true, _) => format!("Delete {} in quarantine of volume `{volume}` here?", show(held)),
        (true, true, false) => format!("Delete {} and {} in quarantine of volume `{volume}` here?", show(planned), show(held)),
        (true, true, true) => format!("Delete {} in quarantine of volume `{volume}` here, and move {aside}?", show(held)),
    }
}

fn carry_out(
    app: &App,
    run: &Run<Offload>,
    offloading: &Offloading<'_>,
    plan: &lastcopy_offload::Plan,
    teller: &mut Teller<'_>,
    counts: &mut Counts,
) -> Result<(), OffloadError> {
    let settled = lastcopy_offload::settle(run, offloading.volume)?;
    tell_settled(app, offloading.volume, &settled);
    let held = released_by_grace(run.store(), offloading.volume)?.len() as u64;
    *counts = Counts { selected: plan.selected + held, blocked: plan.blocked, ..Counts::default() };
    let mut each = |report: FileReport| {
        counts.take(&report);
        teller.tell(&report);
    };
    let held = offloading.finish_held(run, &mut each)?;
    let planned = offloading.apply(run, plan, &mut each)?;
    *counts = held + planned;
    Ok(())
}

fn options(app: &App, volume: &Volume, args: &OffloadArgs) -> Result<PlanOptions> {
    let mut below = Vec::new();
    for given in &args.paths {
        let path = app.path_in(volume.path(), given)?;
        // `./$DIR` names all of it where nobody set the variable.
        if path.is_root() && given != "." {
            let (given, name) = (given.display(), volume.name());
            return Err(CliError::new(Code::Usage, format!("`{given}` is the whole of volume `{name}`"))
                .hint(format!("if that is meant, a dot says so: `lastcopy offload {name} .`")));
        }
        below.push(path);
    }
    for path in &below {
        if !path.is_root() && app.store()?.count_below(volume.id(), path)? == 0 {
            return Err(CliError::new(
                Code::NotFound,
                format!("the index knows nothing at `{path}` in volume `{}`", volume.name()),
            )
            .hint("paths are relative to the volume's root; `lastcopy index` records new files"));
        }
    }
    let now_ns = app.store()?.now().0.saturating_mul(1_000_000);
    let modified_before_ns = args.older_than.map(|age| now_ns.saturating_sub(age.ms.saturating_mul(1_000_000)));
    let at_least_bytes = args.larger_than.map(|size| size.0.saturating_add(1));
    let selection = Selection { below, modified_before_ns, at_least_bytes, oldest_first: args.free.is_some() };
    Ok(PlanOptions { selection, free: args.free.map(|size| size.0) })
}

fn undo(app: &App, run: i64, dry_run: bool) -> Result<Exit> {
    let of = RunId::from_user(run);
    let record = known(app.store()?.run_record(of))?;
    let Some(name) = record.volume.filter(|_| record.kind == lastcopy_store::RunKind::Offload) else {
        return Err(CliError::new(Code::NotFound, format!("run {run} is no offload")).hint("`lastcopy runs` shows them"));
    };
    let volume = app.volume(&name)?;
    let held = app.store()?.open_intents(volume.id())?.iter().filter(|intent| intent.run == of).count() as u64;
    let fields = |put_back: u64, kept: u64| {
        Fields::new()
            .with("volume", name.as_str())
            .with("undo", run)
            .with("put_back", put_back)
            .with("kept", kept)
            .with("dry_run", dry_run)
    };
    if dry_run {
        app.output.line(&format!("{name}: {} of run {run} would be put back", files(held)));
        app.output.summary("offload", None, "success", fields(held, 0));
        return Ok(Exit::Done);
    }
    let undoing = app.waiting(|| Ok(app.store()?.begin_restore(Some(&volume))?))?;
    let id = undoing.id().get();
    let report = match lastcopy_offload::undo(&undoing, &volume, of) {
        Ok(report) => report,
        Err(error) => {
            let error = CliError::from(error);
            undoing.finish(&Outcome::Failed(error.message.clone()), None)?;
            return Err(error);
        }
    };
    let (put_back, kept) = (report.put_back.len() as u64, report.kept.len() as u64);
    let attention = kept > 0 || !report.gone.is_empty() || !report.stuck.is_empty();
    crate::commands::index::tell_stuck(app, &report);
    let outcome = if attention { Outcome::Partial(format!("{kept} kept in .lastcopy/kept")) } else { Outcome::Success };
    undoing.finish(&outcome, Some(&fields(put_back, kept).to_json()))?;
    app.output.line(&format!(
        "{name}: {} put back, {} kept in .lastcopy/kept because their places are taken",
        files(put_back),
        grouped(kept)
    ));
    app.output.summary("offload", Some(id), if attention { "partial" } else { "success" }, fields(put_back, kept));
    Ok(if attention { Exit::Attention } else { Exit::Done })
}

fn fields(volume: &str, dry_run: bool, counts: &Counts) -> Fields {
    counted(Fields::new().with("volume", volume).with("dry_run", dry_run), counts)
}

pub(crate) fn counted(fields: Fields, counts: &Counts) -> Fields {
    fields
        .with("selected", counts.selected)
        .with("offloaded", counts.offloaded)
        .with("quarantined", counts.quarantined)
        .with("blocked", counts.blocked)
        .with("drift", counts.drift)
        .with("errors", counts.errors)
        .with("bytes_freed", counts.bytes_freed)
}

/// Tells of files: each in JSON; grouped by cause for people.
pub(crate) struct Teller<'a> {
    app: &'a App,
    volume: &'a str,
    names: Names,
    /// Cause, destination, and whether it cannot have them → how many files and bytes, an example, and what clears it.
    groups: BTreeMap<(Cause, Option<DestinationId>, bool), Group>,
    others: Vec<(FileOutcome, String)>,
}

struct Group {
    files: u64,
    bytes: u64,
    detail: String,
    fix: String,
    example: String,
}

impl<'a> Teller<'a> {
    pub(crate) fn new(app: &'a App, volume: &'a str) -> Result<Self> {
        Ok(Self { app, volume, names: app.names_for(volume)?, groups: BTreeMap::new(), others: Vec::new() })
    }

    pub(crate) fn tell(&mut self, report: &FileReport) {
        if self.app.output.is_json() {
            self.app.output.json("file", &file_fields(self.volume, report, &self.names));
        }
        for refusal in &report.refusals {
            let excluded = words::excluded(refusal, &report.path, &self.names).is_some();
            let group = self.groups.entry((refusal.cause, refusal.destination, excluded)).or_insert_with(|| Group {
                files: 0,
                bytes: 0,
                detail: words::detail(refusal, &report.path, &self.names),
                fix: words::fix(refusal, &report.path, &self.names, self.volume),
                example: report.path.to_string(),
            });
            group.files += 1;
            group.bytes += report.content.size;
        }
        match (report.outcome, &report.detail) {
            (FileOutcome::Drift | FileOutcome::Error, Some(detail)) if self.others.len() < 20 => {
                self.others.push((report.outcome, format!("`{}` {detail}", report.path)));
            }
            _ => {}
        }
    }

    fn finish(self, run: Option<RunId>, dry_run: bool, counts: &Counts) -> Exit {
        let out = &self.app.output;
        let bad = counts.blocked + counts.drift + counts.errors > 0;
        let verb = if dry_run { "would be deleted" } else { "deleted" };
        out.line(&bold(&format!(
            "{}: {} {verb}, {} freed{}",
            self.volume,
            files(counts.offloaded),
            Size(counts.bytes_freed),
            if dry_run { ", if nothing changes" } else { "" }
        )));
        if counts.quarantined > 0 {
            let undo = run.map_or_else(String::new, |run| format!("; `lastcopy offload --undo {run}` undoes it"));
            let (one, many) = if dry_run { ("would wait", "would wait") } else { ("waits", "wait") };
            let waiting = files_that(counts.quarantined, one, many);
            out.line(&format!("{waiting} in quarantine for the policy's grace{undo}"));
        }
        if counts.blocked > 0 {
            out.line(&format!("{} here, because:", files_that(counts.blocked, "stays", "stay")));
        }
        for ((cause, ..), group) in &self.groups {
            out.line(&format!("  {} ({}) {}: {}", files(group.files), Size(group.bytes), cause.name(), group.detail));
            out.line(&format!("      for example `{}`; to clear it: {}", group.example, group.fix));
        }
        if counts.drift > 0 {
            out.line(&format!(
                "{} not what the index says; `lastcopy index {}` records what is there",
                files_that(counts.drift, "is", "are"),
                self.volume
            ));
        }
        if counts.errors > 0 {
            out.line(&format!("{} could not be dealt with", files(counts.errors)));
        }
        for (_, text) in &self.others {
            out.line(&format!("  {text}"));
        }
        let status = if bad { "partial" } else { "success" };
        out.summary("offload", run.map(RunId::get), status, fields(self.volume, dry_run, counts));
        if bad { Exit::Attention } else { Exit::Done }
    }
}

/// One file, as `offload` and `explain` tell of it in JSON.
pub(crate) fn file_fields(volume: &str, report: &FileReport, names: &Names) -> Fields {
    let causes: Vec<_> = report
        .refusals
        .iter()
        .map(|refusal| {
            serde_json::json!({
                "destination": refusal.destination.and_then(|id| names.get(id)),
                "cause": refusal.cause.name(),
                "detail": words::detail(refusal, &report.path, names),
                "fix": words::fix(refusal, &report.path, names, volume),
            })
        })
        .collect();
    let fields = Fields::new()
        .with("volume", volume)
        .path(&report.path)
        .with("content", report.content.hash.to_string())
        .with("size", report.content.size)
        .with("outcome", report.outcome.name())
        .with("causes", causes);
    match &report.detail {
        Some(detail) => fields.with("detail", detail.as_str()),
        None => fields,
    }
}

/// Asks the destinations of the configuration at the moment of deletion; the way to each is made when it is asked first.
pub(crate) struct Confirmer<'a> {
    app: &'a App,
    destinations: Vec<DestinationRecord>,
    store: &'a lastcopy_store::Store,
    volume: HeadsOf,
    context: Context,
    /// Why a destination could not be asked before; it is not asked again for every batch.
    silent: RefCell<BTreeMap<DestinationId, String>>,
}

impl<'a> Confirmer<'a> {
    pub(crate) fn new(app: &'a App, volume: &Volume) -> Result<Self> {
        let (config, store) = (app.config()?, app.store()?);
        let mut destinations = store.destinations()?;
        destinations.retain(|record| config.destinations.contains_key(&record.name));
        Ok(Self {
            app,
            destinations,
            store,
            volume: HeadsOf::from(volume),
            // The files are counted where they are offloaded; asking about them is not counted again.
            context: Context { progress: Arc::new(NoProgress), ..app.context() },
            silent: RefCell::default(),
        })
    }

    /// Makes the way to every destination that counts. Says whether there is one to all that are required.
    fn makes_ways(&self, policy: &Policy) -> bool {
        let counted = policy.counted();
        for record in self.destinations.iter().filter(|record| counted.contains(&record.id)) {
            if let Err(error) = self.app.destination(&record.name) {
                self.silent.borrow_mut().insert(record.id, error.message);
            }
        }
        policy.require.iter().all(|id| !self.silent.borrow().contains_key(id))
    }

    fn ask(
        &self,
        run: Option<&Run<Offload>>,
        record: &DestinationRecord,
        contents: &[(FileId, Content)],
        depth: LookDepth,
    ) -> Result<Vec<Answer>, Silence> {
        let (_, way) = self.app.destination(&record.name).map_err(|error| Silence::Unreachable(error.message))?;
        let asking = Asking { store: self.store, volume: &self.volume, record, destination: way.as_ref(), context: &self.context };
        asking.ask(run, contents, depth).map_err(|error| match error {
            SyncError::Store(error) => Silence::Ended(error.into()),
            error if error.is_cancelled() => Silence::Ended(lastcopy_fs::Cancelled.into()),
            error => Silence::Unreachable(error.to_string()),
        })
    }
}

/// Why a destination did not answer.
enum Silence {
    /// It could not be asked, and nor will it be again.
    Unreachable(String),
    /// The offload ends here.
    Ended(OffloadError),
}

impl Confirm for Confirmer<'_> {
    fn confirm(
        &self,
        run: Option<&Run<Offload>>,
        destination: DestinationId,
        contents: &[(FileId, Content)],
        depth: Depth,
    ) -> Result<Vec<Verdict>, OffloadError> {
        let unreachable = |why: &str| Ok(vec![Verdict::Unreachable(why.to_owned()); contents.len()]);
        let Some(record) = self.destinations.iter().find(|record| record.id == destination) else {
            return unreachable("it is not in the configuration");
        };
        if let Some(why) = self.silent.borrow().get(&destination) {
            return unreachable(why);
        }
        let depth = if depth == Depth::Full { LookDepth::Bytes } else { LookDepth::Presence };
        match self.ask(run, record, contents, depth) {
            Ok(answers) => Ok(answers.into_iter().map(verdict).collect()),
            Err(Silence::Ended(error)) => Err(error),
            Err(Silence::Unreachable(why)) => {
                self.silent.borrow_mut().insert(destination, why.clone());
                unreachable(&why)
            }
        }
    }
}

fn verdict(answer: Answer) -> Verdict {
    match answer {
        Answer::Held => Verdict::Held,
        Answer::NotHeld(why) => Verdict::NotHeld(why),
        Answer::Unknown(why) => Verdict::Unreachable(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_names_all_that_goes() {
        let (none, three, two) = ((0, 0), (3, 3072), (2, 200));
        for (planned, held, grace, expected) in [
            (three, none, 0, "Delete 3 files (3KiB) of volume `photos` here?"),
            (none, two, 0, "Delete 2 files (200B) in quarantine of volume `photos` here?"),
            (none, two, 3_600_000, "Delete 2 files (200B) in quarantine of volume `photos` here?"),
            (three, two, 0, "Delete 3 files (3KiB) and 2 files (200B) in quarantine of volume `photos` here?"),
            (three, none, 3_600_000, "Move 3 files (3KiB) aside for 1h in volume `photos`, to be deleted then?"),
            (
                three,
                two,
                3_600_000,
                "Delete 2 files (200B) in quarantine of volume `photos` here, and move 3 files (3KiB) aside for 1h?",
            ),
        ] {
            assert_eq!(question("photos", planned, held, Age { ms: grace }), expected);
        }
    }
}
