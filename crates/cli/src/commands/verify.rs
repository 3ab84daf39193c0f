//! `verify`.

use crate::app::App;
use crate::commands::each;
use crate::commands::paths::Paths;
use crate::commands::sync::named;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::units::Size;
use crate::words::{grouped, plural};
use lastcopy_store::{RunId, RunKind};
use lastcopy_sync::{Extent, Verification, VerifyReport};

pub(crate) fn run(app: &App, destinations: &[String], quick: bool, budget: Option<Size>, volume: Option<&str>) -> Result<Exit> {
    let extent = match (quick, budget) {
        (true, _) => Extent::Quick,
        (false, Some(budget)) => Extent::Budget(budget.0),
        (false, None) => Extent::All,
    };
    let names: Vec<String> = if destinations.is_empty() {
        app.config()?.destinations.keys().cloned().collect()
    } else {
        destinations.iter().try_for_each(|name| app.destination_config(name).map(drop))?;
        destinations.to_vec()
    };
    if names.is_empty() {
        return Err(CliError::new(Code::Config, "no destination is configured").hint("add a section [destinations.NAME]"));
    }
    volume.map_or(Ok(()), |volume| app.volume_config(volume).map(drop))?;
    each(app, &names, |name| {
        let newest = || app.store().ok()?.newest_run_of(RunKind::Verify, None, Some(name)).ok().flatten().map(|run| run.id);
        let before = newest();
        verify(app, name, extent, volume).inspect_err(|error| {
            // One that was there before is another command's.
            let run = error.run.or_else(|| newest().filter(|run| Some(*run) != before));
            app.output.summary("verify", run.map(RunId::get), error.status(), fields(name, &VerifyReport::default()));
        })
    })
}

fn verify(app: &App, name: &str, extent: Extent, volume: Option<&str>) -> Result<Exit> {
    let volume = volume.map(|volume| app.volume(volume)).transpose()?;
    let report = app.waiting(|| {
        let (record, destination) = app.destination(name)?;
        let verification = Verification {
            store: app.store()?.clone(),
            volume: volume.clone(),
            record,
            destination,
            extent,
            context: app.context(),
        };
        let summarise = |report: &VerifyReport| fields(name, report).to_json();
        verification.run(summarise).map_err(|error| named(error, name).about(&format!("destination `{name}`")))
    })?;
    let run = report.run.map(RunId::get);
    let how = if extent == Extent::Quick { "there, by size" } else { "proven again" };
    let good = if extent == Extent::Quick { report.checked - report.lost - report.unverifiable } else { report.verified };
    app.output.line(&format!(
        "{name}: {} checked: {} {how}, {} lost, {} that could not be checked; {} read",
        plural(report.checked, "content", "contents"),
        grouped(good),
        grouped(report.lost),
        grouped(report.unverifiable),
        Size(report.bytes_read)
    ));
    let paths = Paths::new(app)?;
    for (item, what) in report.first.iter().filter(|_| app.output.is_json()) {
        let fields = Fields::new().with("destination", name).with("content", item.content.hash.to_string());
        let fields = fields.with("size", item.content.size).with("detail", what.as_str());
        app.output.json("content", &paths.add(fields, item.content.hash)?);
    }
    for (item, what) in report.first.iter().take(10) {
        app.output.warn(&format!("{name}: {}: {what}", paths.shown(item.content.hash)?));
    }
    if report.lost > 0 {
        app.output.note(&format!("  `lastcopy destination repair {name}` stores again what still exists elsewhere"));
    }
    for (volume, what) in &report.unlisted {
        app.output.warn(&format!("{name}: {what}; no file is deleted on its word until it is listed anew"));
        app.output.note(&format!("  `lastcopy sync {volume} --to {name}` lists it anew"));
    }
    let bad = report.lost + report.unverifiable > 0 || !report.unlisted.is_empty();
    app.output.summary("verify", run, if bad { "partial" } else { "success" }, fields(name, &report));
    Ok(if bad { Exit::Attention } else { Exit::Done })
}

fn fields(destination: &str, report: &VerifyReport) -> Fields {
    Fields::new()
        .with("destination", destination)
        .with("checked", report.checked)
        .with("verified", report.verified)
        .with("lost", report.lost)
        .with("unverifiable", report.unverifiable)
        .with("bytes_read", report.bytes_read)
        .with("unlisted", report.unlisted.iter().map(|(volume, _)| volume.as_str()).collect::<Vec<_>>())
}
