//! `sync`.

use crate::app::App;
use crate::commands::each;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::units::Size;
use crate::words::{files, grouped};
use lastcopy_store::{RunId, RunKind, VolumeError};
use lastcopy_sync::{Named, Push, PushReport, SyncError};

pub(crate) fn run(app: &App, volumes: &[String], to: &[String]) -> Result<Exit> {
    for name in to {
        app.destination_config(name)?;
    }
    let mut pairs = Vec::new();
    for volume in app.volume_names(volumes)? {
        let config = app.volume_config(&volume)?;
        let before = pairs.len();
        pairs.extend(
            config.sync_to.iter().filter(|name| to.is_empty() || to.contains(name)).map(|name| (volume.clone(), name.clone())),
        );
        if pairs.len() == before && !volumes.is_empty() {
            let what = if to.is_empty() { "anywhere".into() } else { format!("to `{}`", to.join("`, `")) };
            return Err(CliError::new(Code::Config, format!("volume `{volume}` is not pushed {what}"))
                .hint(format!("say where in `sync_to` of [volumes.{volume}]")));
        }
    }
    if pairs.is_empty() {
        return Err(CliError::new(Code::Config, "there is nothing to push").hint("say in `sync_to` of a volume where it is kept"));
    }
    each(app, pairs, |(volume, destination)| {
        let newest =
            || app.store().ok()?.newest_run_of(RunKind::Sync, Some(&volume), Some(&destination)).ok().flatten().map(|run| run.id);
        let before = newest();
        push(app, &volume, &destination).inspect_err(|error| {
            // One that was there before is another command's.
            let run = error.run.or_else(|| newest().filter(|run| Some(*run) != before));
            let kind = app.destination_config(&destination).map(|config| config.kind().name()).unwrap_or_default();
            let fields = fields(&volume, &destination, kind, &PushReport::default());
            app.output.summary("sync", run.map(RunId::get), error.status(), fields);
        })
    })
}

fn push(app: &App, volume: &str, destination: &str) -> Result<Exit> {
    let report = app.waiting(|| {
        let pushed = match push_once(app, volume, destination)? {
            // In its new life, everything is proven again, at once.
            Err(error @ (SyncError::NewEpoch(_) | SyncError::Volume(VolumeError::NewEpoch(_)))) => {
                app.output.warn(&error.to_string());
                push_once(app, volume, destination)?
            }
            pushed => pushed,
        };
        pushed.map_err(|error| named(error, destination))
    });
    let report = report.map_err(|error| error.about(&format!("{volume} → {destination}")))?;
    Ok(tell(app, volume, destination, &report))
}

fn push_once(app: &App, volume: &str, destination: &str) -> Result<std::result::Result<PushReport, SyncError>> {
    let open = app.volume(volume)?;
    let (record, way) = app.destination(destination)?;
    let kind = record.kind.name();
    let push = Push {
        store: app.store()?.clone(),
        volume: open,
        record,
        destination: way,
        mounts: app.mounts(volume)?,
        context: app.context(),
    };
    Ok(push.run(|report| fields(volume, destination, kind, report).to_json()))
}

/// Errors about a destination name it in their hints.
pub(crate) fn named(error: SyncError, destination: &str) -> CliError {
    let mut error = CliError::from(error);
    error.hint = error.hint.map(|hint| hint.replace("DEST", destination));
    error
}

fn fields(volume: &str, destination: &str, kind: &str, report: &PushReport) -> Fields {
    let vector = |vector: &lastcopy_store::Vector| -> serde_json::Value {
        vector.iter().map(|(node, run)| (node.clone(), run.get().into())).collect::<serde_json::Map<_, _>>().into()
    };
    let none = || serde_json::Value::Object(serde_json::Map::new());
    Fields::new()
        .with("volume", volume)
        .with("destination", destination)
        .with("kind", kind)
        .with("files", report.files)
        .with("planned", report.planned)
        .with("stored", report.stored)
        .with("already", report.already)
        .with("verified", report.verified)
        .with("drift", report.drift.count)
        .with("excluded", report.excluded.count)
        .with("failed", report.failed.count)
        .with("bytes", report.bytes)
        .with("advanced", report.advance.as_ref().is_some_and(|advance| advance.advanced))
        .with("horizon", report.advance.as_ref().map_or_else(none, |advance| vector(&advance.horizon)))
        .with("vector", report.advance.as_ref().map_or_else(none, |advance| vector(&advance.vector)))
}

fn tell(app: &App, volume: &str, destination: &str, report: &PushReport) -> Exit {
    let bad = report.drift.count + report.excluded.count + report.failed.count > 0;
    if report.planned == 0 {
        app.output.line(&format!("{volume} → {destination}: nothing to send; {} proven before", files(report.already)));
    } else {
        app.output.line(&format!(
            "{volume} → {destination}: {} proven ({} sent as {}), {} proven before",
            files(report.verified),
            Size(report.bytes),
            crate::words::plural(report.stored, "object", "objects"),
            grouped(report.already)
        ));
    }
    for (what, named, hint) in [
        ("drift", &report.drift, "`lastcopy index` records what they are now, then sync again"),
        ("excluded", &report.excluded, "they cannot be read here, or not be stored there; they stay on this disk"),
        ("failed", &report.failed, "sync again tries them again"),
    ] {
        tell_named(app, volume, destination, what, named, hint);
    }
    let kind = app.destination_config(destination).map(|config| config.kind().name()).unwrap_or_default();
    let run = report.run.map(RunId::get);
    app.output.summary("sync", run, if bad { "partial" } else { "success" }, fields(volume, destination, kind, report));
    if bad { Exit::Attention } else { Exit::Done }
}

fn tell_named(app: &App, volume: &str, destination: &str, outcome: &str, named: &Named, hint: &str) {
    if named.count == 0 {
        return;
    }
    for (path, detail) in &named.first {
        let fields = Fields::new().with("volume", volume).with("destination", destination).path(path);
        app.output.json("file", &fields.with("outcome", outcome).with("detail", detail.as_str()));
    }
    app.output.warn(&format!("{volume} → {destination}: {} {outcome}: {hint}", files(named.count)));
    for (path, detail) in named.first.iter().take(10) {
        app.output.note(&format!("  `{path}` {detail}"));
    }
    if named.count > 10 {
        app.output.note(&format!("  … and {} more", grouped(named.count - 10)));
    }
}
