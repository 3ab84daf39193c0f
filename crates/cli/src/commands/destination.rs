//! `destination init`, `list`, `probe`, `adopt`, `reset`, `repair`, `compact`, `test`.

use crate::app::App;
use crate::args::DestinationCommand;
use crate::commands::paths::Paths;
use crate::commands::standing;
use crate::commands::sync::named;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::units::Size;
use crate::words::{files, grouped, plural};
use lastcopy_fs::Content;
use lastcopy_store::{DestinationId, RunKind};
use lastcopy_sync::{
    Compact, Compaction, DestinationError, InitError, InitOutcome, Probe, Repair, RepairReport, RepairSource, SyncError, adopt,
    init, reset,
};

pub(crate) fn run(app: &App, command: DestinationCommand) -> Result<Exit> {
    match command {
        DestinationCommand::Init { destination } => make(app, &destination),
        DestinationCommand::List => list(app),
        DestinationCommand::Probe { destination } => probe(app, &destination),
        DestinationCommand::Adopt { destination, reason, dry_run } => accept(app, &destination, reason.as_deref(), dry_run),
        DestinationCommand::Reset { destination, reason, dry_run } => forget(app, &destination, reason.as_deref(), dry_run),
        DestinationCommand::Repair { destination, dry_run } => repair(app, &destination, dry_run),
        DestinationCommand::Compact { destination, dry_run } => compact(app, &destination, dry_run),
        DestinationCommand::Test { destination } => test(app, &destination),
    }
}

fn newest_change(app: &App, name: &str) -> Option<i64> {
    let run = app.store().ok()?.newest_run_of(RunKind::EvidenceChange, None, Some(name)).ok()??;
    Some(run.id.get())
}

fn make(app: &App, name: &str) -> Result<Exit> {
    let outcome = app.waiting(|| {
        let (record, destination) = app.destination(name)?;
        let path = app.destination_config(name)?.path.as_deref();
        init(app.store()?, &record, destination.as_ref(), &app.context()).map_err(|error| {
            let mut error = match path.filter(|_| matches!(error, InitError::Occupied { .. })) {
                // Where a disk should be mounted, no directory is made.
                Some(path) if matches!(path.try_exists(), Ok(false)) => CliError::from(error).hint(format!(
                    "mount its disk, or make the directory: `mkdir -p {}`; init makes a repository in it",
                    path.display()
                )),
                _ => CliError::from(error),
            };
            error.hint = error.hint.map(|hint| hint.replace("DEST", name));
            error.about(&format!("destination `{name}`"))
        })
    })?;
    let address = app.destination(name)?.1.capabilities().address;
    let (incarnation, made) = match outcome {
        InitOutcome::Made(incarnation) => {
            app.output.line(&format!("{name}: made a repository at {address}, {incarnation}"));
            (incarnation, true)
        }
        InitOutcome::AlreadyOurs(incarnation) => {
            app.output.line(&format!("{name}: the repository at {address} is this one already, {incarnation}"));
            (incarnation, false)
        }
    };
    let fields = Fields::new().with("destination", name).with("address", address).with("incarnation", incarnation.as_str());
    app.output.summary("destination", newest_change(app, name), "success", fields.with("made", made));
    Ok(Exit::Done)
}

fn list(app: &App) -> Result<Exit> {
    let config = app.config()?;
    let mut known = app.store()?.destinations()?;
    for (name, configured) in &config.destinations {
        if !known.iter().any(|record| record.name == *name) {
            known.push(app.store()?.register_destination(name, configured.kind())?);
        }
    }
    for record in &known {
        let (stored, verified, lost) = app.store()?.count_receipts(record.id)?;
        let url = config.destinations.get(&record.name).map(|configured| configured.url.as_str());
        let state = if record.incarnation.is_some() { "initialised" } else { "not initialised" };
        app.output.line(&format!(
            "{}  {}  {}  {state}  {} proven, {} unproven, {} lost",
            record.name,
            record.kind,
            url.unwrap_or("not in the configuration"),
            grouped(verified),
            grouped(stored),
            grouped(lost)
        ));
        let fields = Fields::new()
            .with("destination", record.name.as_str())
            .with("kind", record.kind.name())
            .with("url", url)
            .with("initialised", record.incarnation.is_some())
            .with("incarnation", record.incarnation.as_ref().map(|incarnation| incarnation.as_str().to_owned()))
            .with("generation", record.generation)
            .with("verified", verified)
            .with("stored", stored)
            .with("lost", lost);
        app.output.json("destination", &fields);
    }
    app.output.summary("destination", None, "success", Fields::new().with("destinations", known.len()));
    Ok(Exit::Done)
}

fn probe(app: &App, name: &str) -> Result<Exit> {
    let (record, destination) = app.destination(name)?;
    let standing = app.driven(name)?.map(|driven| driven.standing(app)).transpose();
    let standing = standing.map_err(|error| named(SyncError::from(error), name))?;
    let answer = app.context().runtime.block_on(destination.probe()).map_err(|error| named(SyncError::from(error), name))?;
    let known = record.incarnation.as_ref();
    let (word, detail, incarnation) = match (answer, known) {
        (Probe::Found(incarnation), _) => ("found", format!("repository {incarnation}"), Some(incarnation)),
        (Probe::Nothing | Probe::NoPlace, None) => ("nothing", "nothing is there; `init` may make a repository".into(), None),
        (Probe::Nothing, Some(known)) => ("nothing", format!("there is no repository any more where {known} was"), None),
        (Probe::NoPlace, Some(_)) => ("cannot-tell", "the directory that should hold it does not exist".into(), None),
        (Probe::CannotTell(reason), _) => ("cannot-tell", reason, None),
    };
    // A mirror knows only once it was asked.
    let capabilities = destination.capabilities();
    let address = capabilities.address;
    let accepted = incarnation.is_some() && incarnation.as_ref() == known;
    let fields = Fields::new()
        .with("destination", name)
        .with("kind", record.kind.name())
        .with("address", address.as_str())
        .with("answer", word)
        .with("detail", detail.as_str())
        .with("incarnation", incarnation.as_ref().map(|incarnation| incarnation.as_str().to_owned()))
        .with("accepted", accepted);
    app.output.line(&format!("{name}: {} at {address}", record.kind));
    app.output.json("destination", &standing::fields(fields, standing.as_ref(), &capabilities.methods));
    if word == "cannot-tell" && known.is_some() {
        let error = CliError::new(Code::Unreachable, format!("destination `{name}`: {address}: {detail}"));
        return Err(error.hint("is its disk mounted, or is it online?"));
    }
    app.output.line(&format!("  answers: {detail}"));
    app.output.line(&match (known, &incarnation) {
        (None, _) => "  identity: never initialised here".to_owned(),
        (Some(_), Some(_)) if accepted => "  identity: the one that this index knows".into(),
        (Some(known), Some(_)) => format!("  identity: not the one that this index knows, {known}"),
        (Some(_), None) => format!("  is its disk mounted? If it is lost for good: {}", standing::begin_anew(name)),
    });
    standing::tell(app, &standing::served(standing.as_ref()));
    // Through anybody else, no offload passes.
    if accepted || known.is_none() {
        standing::tell(app, &[standing::proves(&capabilities.methods)]);
    }
    Ok(if accepted { Exit::Done } else { Exit::Attention })
}

/// Says how many offloaded files an adopt or a reset leaves without proof; the summary says it, too.
fn tell_cost(app: &App, name: &str, id: DestinationId, dry_run: bool) -> Result<Fields> {
    let (alone, all) = app.store()?.offloaded_depending_on(id)?;
    let verb = if dry_run { "would leave" } else { "leaves" };
    app.output.line(&format!(
        "{name}: {verb} {} without proof, {} of them proven nowhere else; `lastcopy verify {name}` proves them again",
        plural(all, "offloaded file", "offloaded files"),
        grouped(alone)
    ));
    Ok(Fields::new()
        .with("destination", name)
        .with("dry_run", dry_run)
        .with("offloaded_unproven", all)
        .with("offloaded_unproven_elsewhere", alone))
}

fn accept(app: &App, name: &str, reason: Option<&str>, dry_run: bool) -> Result<Exit> {
    let (record, destination) = app.destination(name)?;
    let fields = tell_cost(app, name, record.id, dry_run)?;
    if dry_run {
        app.output.summary("destination", None, "success", fields);
        return Ok(Exit::Done);
    }
    app.confirm(&format!("Accept whoever answers as `{name}` from now on?"))?;
    let reason = reason.unwrap_or("adopted by hand");
    let incarnation = app.waiting(|| {
        adopt(app.store()?, &record, destination.as_ref(), None, reason, &app.context()).map_err(|error| named(error, name))
    })?;
    app.output.line(&format!("{name}: is {incarnation} from now on"));
    let fields = fields.with("incarnation", incarnation.as_str());
    app.output.summary("destination", newest_change(app, name), "success", fields);
    Ok(Exit::Done)
}

fn forget(app: &App, name: &str, reason: Option<&str>, dry_run: bool) -> Result<Exit> {
    let (record, destination) = app.destination(name)?;
    let fields = tell_cost(app, name, record.id, dry_run)?;
    if dry_run {
        app.output.summary("destination", None, "success", fields);
        return Ok(Exit::Done);
    }
    let reason = app.reason(reason)?;
    app.confirm(&format!("Take all evidence of `{name}` for unproven?"))?;
    let gone = app.waiting(|| {
        reset(app.store()?, &record, destination.as_ref(), &reason, &app.context()).map_err(|error| named(error, name))
    })?;
    let next = if gone { format!("lastcopy destination init {name}") } else { format!("lastcopy verify {name}") };
    app.output.line(&format!("{name}: everything there counts as unproven; next: {next}"));
    app.output.summary("destination", newest_change(app, name), "success", fields.with("gone", gone));
    Ok(Exit::Done)
}

fn repair(app: &App, name: &str, dry_run: bool) -> Result<Exit> {
    let (record, destination) = app.destination(name)?;
    let others = app.sources()?.into_iter().filter(|(other, _)| other.id != record.id).collect();
    // A volume that cannot be opened now has nothing to give.
    let volumes = app.config()?.volumes.keys().filter_map(|volume| app.volume(volume).ok()).collect();
    let repair = Repair { store: app.store()?, record, destination, volumes, others, context: app.context() };
    let plan = repair.plan().map_err(|error| named(error, name))?;
    let possible = plan.iter().filter(|item| item.from.is_some()).count() as u64;
    let bytes: u64 = plan.iter().filter(|item| item.from.is_some()).map(|item| item.item.content.size).sum();
    let paths = Paths::new(app)?;
    for item in &plan {
        let from = match &item.from {
            Some(RepairSource::File(volume, path)) => format!("{volume}/{path}"),
            Some(RepairSource::Destination(other)) => format!("destination {other}"),
            None => "beyond repair: no present file and no other destination has its bytes".into(),
        };
        let Content { hash, size } = item.item.content;
        app.output.note(&format!("  {}, {}: {from}", paths.shown(hash)?, Size(size)));
        let fields = Fields::new().with("destination", name).with("content", hash.to_string());
        app.output.json("content", &paths.add(fields.with("size", size).with("from", from), hash)?);
    }
    let lost = plan.len() as u64;
    let fields = |report: &RepairReport| {
        Fields::new()
            .with("destination", name)
            .with("dry_run", dry_run)
            .with("lost", report.lost)
            .with("repaired", report.repaired)
            .with("beyond", report.beyond.len())
    };
    if dry_run || lost == 0 {
        app.output.line(&format!(
            "{name}: {} lost there, {} of them can be stored again ({})",
            plural(lost, "content is", "contents are"),
            grouped(possible),
            Size(bytes)
        ));
        let fields = fields(&RepairReport { lost, ..RepairReport::default() }).with("repairable", possible);
        app.output.summary("destination", None, "success", fields);
        return Ok(if lost > possible { Exit::Attention } else { Exit::Done });
    }
    app.confirm(&format!("Store {} ({}) again at `{name}`?", plural(possible, "content", "contents"), Size(bytes)))?;
    let report = app.waiting(|| {
        let (volumes, others) = (repair.volumes.clone(), repair.others.clone());
        let (record, destination) = (repair.record.clone(), repair.destination.clone());
        let again = Repair { store: repair.store, record, destination, volumes, others, context: app.context() };
        again.run(|report| fields(report).to_json()).map_err(|error| named(error, name).about(&format!("destination `{name}`")))
    })?;
    for (content, why) in &report.beyond {
        app.output.warn(&format!("{name}: {} is not repaired: {why}", paths.shown(content.hash)?));
    }
    app.output.line(&format!("{name}: {} of {} stored again and proven", grouped(report.repaired), files(report.lost)));
    let bad = !report.beyond.is_empty();
    app.output.summary("destination", newest_change(app, name), if bad { "partial" } else { "success" }, fields(&report));
    Ok(if bad { Exit::Attention } else { Exit::Done })
}

fn compact(app: &App, name: &str, dry_run: bool) -> Result<Exit> {
    let (record, destination) = app.destination(name)?;
    let compact = Compact { store: app.store()?, record, destination, context: app.context() };
    let fields = |done: &Compaction| {
        Fields::new()
            .with("destination", name)
            .with("dry_run", dry_run)
            .with("snapshots", done.snapshots)
            .with("kept", done.kept)
            .with("released", done.released)
            .with("gathered", done.gathered)
            .with("gathered_bytes", done.gathered_bytes)
            .with("freed", done.freed)
            .with("freed_bytes", done.freed_bytes)
            .with("unproven", done.unproven)
    };
    let plan = compact.plan().map_err(|error| refused(error, name))?;
    if plan.kept > 0 {
        app.output.note(&format!(
            "  {} there stay: they hold what this index knows nothing of",
            plural(plan.kept, "snapshot", "snapshots")
        ));
    }
    if plan.snapshots == 0 {
        app.output.line(&format!("{name}: nothing to release"));
        app.output.summary("destination", None, "success", fields(&plan));
        return Ok(Exit::Done);
    }
    app.output.line(&format!(
        "{name}: {} besides the newest: {} ({}) that must stay are gathered into a new one, and {} ({}) are released",
        plural(plan.snapshots, "snapshot", "snapshots"),
        plural(plan.gathered, "content", "contents"),
        Size(plan.gathered_bytes),
        plural(plan.freed, "replaced version", "replaced versions"),
        Size(plan.freed_bytes)
    ));
    if dry_run {
        app.output.summary("destination", None, "success", fields(&plan));
        return Ok(Exit::Done);
    }
    app.confirm(&format!("Release {} at `{name}` for ever?", plural(plan.freed, "replaced version", "replaced versions")))?;
    let done = app.waiting(|| compact.run(|done| fields(done).to_json()).map_err(|error| refused(error, name)))?;
    if done.unproven > 0 {
        let contents = plural(done.unproven, "content", "contents");
        app.output.warn(&format!(
            "{name}: {contents} could not be read back, and what holds them stays; `lastcopy verify {name}` says more"
        ));
    }
    app.output.line(&format!("{name}: {} released", plural(done.released, "snapshot", "snapshots")));
    app.output.note("  kopia frees the space when it next does its full maintenance: `kopia maintenance run --full`");
    let bad = done.unproven > 0;
    app.output.summary("destination", newest_change(app, name), if bad { "partial" } else { "success" }, fields(&done));
    Ok(if bad { Exit::Attention } else { Exit::Done })
}

/// A kind that never deletes has nothing to compact.
fn refused(error: SyncError, name: &str) -> CliError {
    match error {
        SyncError::Destination(DestinationError::Unsupported(why)) => {
            CliError::new(Code::Unsupported, format!("destination `{name}`: {why}"))
                .hint("compact is for destinations of kind `kopia`")
        }
        error => named(error, name),
    }
}

fn test(app: &App, name: &str) -> Result<Exit> {
    let (_, destination) = app.destination(name)?;
    app.progress.phase("testing", 0, 0);
    let results =
        lastcopy_sync::conformance::against_own(destination.as_ref(), &app.context()).map_err(|error| named(error, name))?;
    let mut failed = 0u64;
    for result in &results {
        let word = match &result.outcome {
            Ok(()) => "ok".to_owned(),
            Err(why) => {
                failed += 1;
                format!("FAILED: {why}")
            }
        };
        app.output.line(&format!("{}: {word}", result.name));
        let fields =
            Fields::new().with("destination", name).with("name", result.name.as_str()).with("passed", result.outcome.is_ok());
        app.output.json("check", &fields.with("detail", result.outcome.as_ref().err().cloned()));
    }
    let passed = results.len() as u64 - failed;
    app.output.line(&format!("{name}: {passed} passed, {failed} failed"));
    let fields = Fields::new().with("destination", name).with("passed", passed).with("failed", failed);
    app.output.summary("destination", None, if failed > 0 { "partial" } else { "success" }, fields);
    Ok(if failed > 0 { Exit::Attention } else { Exit::Done })
}
