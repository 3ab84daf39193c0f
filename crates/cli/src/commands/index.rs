//! `index` and `audit`.

use crate::app::App;
use crate::commands::each;
use crate::error::{CliError, Exit, Result};
use crate::output::Fields;
use crate::units::Size;
use crate::words::{files, grouped, plural};
use lastcopy_index::{AuditReport, IndexOptions, IndexReport, Skipped, Trouble};
use lastcopy_offload::SettleReport;
use lastcopy_store::{Outcome, Volume};

pub(crate) fn index(app: &App, volumes: &[String], accept_loss: bool) -> Result<Exit> {
    let names = app.volume_names(volumes)?;
    each(app, &names, |name| index_one(app, name, accept_loss).inspect_err(|error| failed(app, "index", name, error)))
}

/// The summary of a part that ended with an error.
fn failed(app: &App, command: &str, volume: &str, error: &CliError) {
    let run = error.run.map(lastcopy_store::RunId::get);
    app.output.summary(command, run, error.status(), Fields::new().with("volume", volume));
}

fn index_one(app: &App, name: &str, accept_loss: bool) -> Result<Exit> {
    let volume = app.volume(name)?;
    index_volume(app, &volume, accept_loss)
}

/// Indexes an open volume, tells what was found, and runs its hook.
pub(crate) fn index_volume(app: &App, volume: &Volume, accept_loss: bool) -> Result<Exit> {
    let name = volume.name();
    let options = IndexOptions { walk: app.walk_options(name)?, accept_loss };
    let run = app.waiting(|| Ok(app.store()?.begin_index(volume)?))?;
    let id = run.id();
    let settled = match lastcopy_offload::settle(&run, volume) {
        Ok(settled) => settled,
        Err(error) => {
            let error = CliError::from(error);
            run.finish(&Outcome::Failed(error.message.clone()), None)?;
            return Err(CliError { run: Some(id), ..error });
        }
    };
    tell_settled(app, volume, &settled);
    let summarise = |report: &IndexReport| fields(name, report).to_json();
    let report = lastcopy_index::index(run, &options, &app.cancel, app.progress.as_ref(), summarise).map_err(|error| {
        let error = CliError::from(error);
        let hint = error.hint.as_ref().map(|hint| hint.replace("VOLUME", name));
        CliError { run: Some(id), hint, ..error }.about(&format!("volume `{name}`"))
    })?;
    tell(app, name, &report);
    let exit = if report.errors.count() + report.unstable.count() > 0 { Exit::Attention } else { Exit::Done };
    let status = if exit == Exit::Done { "success" } else { "partial" };
    app.output.summary("index", Some(id.get()), status, fields(name, &report));
    if report.changed_anything()
        && let Some(hook) = &app.volume_config(name)?.hook
    {
        let changed = report.added + report.changed + report.reappeared + report.missing;
        crate::hook::run(app, hook, volume, id, changed)?;
    }
    Ok(exit)
}

/// Says what a broken offload had left behind.
pub(crate) fn tell_settled(app: &App, volume: &Volume, settled: &SettleReport) {
    if settled.is_empty() {
        return;
    }
    app.output.warn(&format!(
        "an offload of volume `{}` was interrupted, or what it held is not there any more: {} put back, {} kept in .lastcopy/kept, {} gone",
        volume.name(),
        files(settled.put_back.len() as u64),
        settled.kept.len(),
        settled.gone.len()
    ));
    tell_stuck(app, settled);
}

/// Says what could not be put back, and where it is.
pub(crate) fn tell_stuck(app: &App, settled: &SettleReport) {
    for (path, why) in &settled.stuck {
        app.output.warn(&format!("`{path}` stays in .lastcopy/offload, because it cannot be put back: {why}"));
    }
}

fn fields(volume: &str, report: &IndexReport) -> Fields {
    Fields::new()
        .with("volume", volume)
        .with("files", report.files)
        .with("added", report.added)
        .with("changed", report.changed)
        .with("reappeared", report.reappeared)
        .with("missing", report.missing)
        .with("unchanged", report.unchanged)
        .with("unstable", report.unstable.count())
        .with("skipped", report.skipped.total())
        .with("errors", report.errors.count())
        .with("bytes_hashed", report.bytes_hashed)
        .with("excluded", report.newly_excluded)
        .with("skipped_kinds", kinds(&report.skipped))
}

fn kinds(skipped: &Skipped) -> serde_json::Value {
    skipped.kinds().map(|(kind, count, _)| (kind.to_owned(), count.into())).collect::<serde_json::Map<_, _>>().into()
}

fn tell(app: &App, name: &str, report: &IndexReport) {
    let out = &app.output;
    let mut parts = Vec::new();
    for (count, what) in [
        (report.added, "added"),
        (report.changed, "changed"),
        (report.reappeared, "reappeared"),
        (report.missing, "missing"),
        (report.newly_excluded, "excluded now"),
        (report.unchanged, "unchanged"),
    ] {
        if count > 0 {
            parts.push(format!("{} {what}", grouped(count)));
        }
    }
    let parts = if parts.is_empty() { "nothing there".into() } else { parts.join(", ") };
    out.line(&format!("{name}: {}: {parts}; {} hashed", files(report.files), Size(report.bytes_hashed)));
    tell_skipped(app, name, &report.skipped);
    tell_trouble(app, name, "changed each time it was read", &report.unstable);
    tell_trouble(app, name, "could not be read", &report.errors);
}

fn tell_skipped(app: &App, name: &str, skipped: &Skipped) {
    let kinds: Vec<_> = skipped
        .kinds()
        .map(|(kind, count, paths)| {
            let example = paths.first().map(|path| format!(" (`{path}`{})", if count > 1 { ", …" } else { "" }));
            let many = match kind {
                "excluded" | "own" => kind.to_owned(),
                _ => format!("{kind}s"),
            };
            format!("{}{}", plural(count, kind, &many), example.unwrap_or_default())
        })
        .collect();
    if !kinds.is_empty() {
        app.output.note(&format!("{name}: left out: {}", kinds.join(", ")));
    }
}

/// The first paths with which something was wrong; in JSON, each as a line.
fn tell_trouble(app: &App, volume: &str, what: &str, trouble: &Trouble) {
    for (path, detail) in trouble.first() {
        app.output.json(
            "file",
            &Fields::new().with("volume", volume).path(path).with("outcome", "error").with("detail", detail.as_str()),
        );
    }
    for (path, detail) in trouble.first().iter().take(10) {
        app.output.warn(&format!("{volume}: `{path}` {detail}"));
    }
    if trouble.count() > 10 {
        app.output.warn(&format!("{volume}: {} {what}, in all", files(trouble.count())));
    }
}

pub(crate) fn audit(app: &App, volumes: &[String], deep: bool) -> Result<Exit> {
    let names = app.volume_names(volumes)?;
    each(app, &names, |name| audit_one(app, name, deep).inspect_err(|error| failed(app, "audit", name, error)))
}

fn audit_one(app: &App, name: &str, deep: bool) -> Result<Exit> {
    let volume = app.volume(name)?;
    let run = app.waiting(|| Ok(app.store()?.begin_audit(&volume)?))?;
    let id = run.id();
    let options = app.walk_options(name)?;
    let summarise = |report: &AuditReport| audit_fields(name, report).to_json();
    let report = lastcopy_index::audit(run, &options, deep, &app.cancel, app.progress.as_ref(), summarise)
        .map_err(|error| CliError { run: Some(id), ..CliError::from(error) }.about(&format!("volume `{name}`")))?;
    let bad = report.needs_attention();
    app.output.line(&format!(
        "{name}: {}: {} as indexed, {} changed, {} new, {} missing, {} damaged; {} read",
        files(report.files),
        grouped(report.unchanged),
        grouped(report.changed.count()),
        grouped(report.added.count()),
        grouped(report.missing.count()),
        grouped(report.damaged.count()),
        Size(report.bytes_hashed)
    ));
    tell_skipped(app, name, &report.skipped);
    for (what, trouble) in [
        ("damaged", &report.damaged),
        ("changed", &report.changed),
        ("missing", &report.missing),
        ("new", &report.added),
        ("changing", &report.unstable),
        ("unreadable", &report.errors),
    ] {
        tell_trouble(app, name, what, trouble);
    }
    if report.damaged.count() > 0 {
        app.output.note("  their bytes changed although nothing else did. `lastcopy restore VOLUME PATH --in-place` brings the indexed bytes back;");
        app.output.note("  `lastcopy alarms ack ID` takes the new bytes for meant");
    }
    app.output.summary("audit", Some(id.get()), if bad { "partial" } else { "success" }, audit_fields(name, &report));
    Ok(if bad { Exit::Attention } else { Exit::Done })
}

fn audit_fields(volume: &str, report: &AuditReport) -> Fields {
    Fields::new()
        .with("volume", volume)
        .with("files", report.files)
        .with("added", report.added.count())
        .with("changed", report.changed.count())
        .with("missing", report.missing.count())
        .with("unchanged", report.unchanged)
        .with("damaged", report.damaged.count())
        .with("unstable", report.unstable.count())
        .with("skipped", report.skipped.total())
        .with("errors", report.errors.count())
        .with("bytes_hashed", report.bytes_hashed)
}
