//! `evidence show`, `log`, `rewind`.

use crate::app::App;
use crate::args::EvidenceCommand;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::words::{grouped, local_time, rfc3339};
use lastcopy_store::{Outcome, RunId};

pub(crate) fn run(app: &App, command: EvidenceCommand) -> Result<Exit> {
    match command {
        EvidenceCommand::Show { volume, destination } => show(app, volume.as_deref(), destination.as_deref()),
        EvidenceCommand::Log => log(app),
        EvidenceCommand::Rewind { volume, destination, to, reason, dry_run } => {
            rewind(app, &volume, &destination, to, reason.as_deref(), dry_run)
        }
    }
}

fn show(app: &App, volume: Option<&str>, destination: Option<&str>) -> Result<Exit> {
    volume.map_or(Ok(()), |name| app.volume_config(name).map(drop))?;
    destination.map_or(Ok(()), |name| app.destination_config(name).map(drop))?;
    let store = app.store()?;
    let mut vectors = 0u64;
    for record in store.volumes()?.iter().filter(|record| volume.is_none_or(|name| name == record.name)) {
        for at in store.destinations()?.iter().filter(|at| destination.is_none_or(|name| name == at.name)) {
            vectors += 1;
            let vector = store.vector(record.id, at.id)?;
            let (stored, verified, lost) = store.count_receipts(at.id)?;
            let components: Vec<_> = vector.iter().map(|(node, run)| format!("{node} → {run}")).collect();
            let shown = if components.is_empty() { "nothing claimed".into() } else { components.join(", ") };
            app.output.line(&format!(
                "{} at {}: {shown}; at the destination: {} proven, {} unproven, {} lost",
                record.name,
                at.name,
                grouped(verified),
                grouped(stored),
                grouped(lost)
            ));
            let vector: serde_json::Map<_, _> = vector.iter().map(|(node, run)| (node.clone(), run.get().into())).collect();
            let fields = Fields::new()
                .with("volume", record.name.as_str())
                .with("destination", at.name.as_str())
                .with("incarnation", at.incarnation.as_ref().map(|incarnation| incarnation.as_str().to_owned()))
                .with("generation", at.generation)
                .with("vector", vector)
                .with("verified", verified)
                .with("stored", stored)
                .with("lost", lost);
            app.output.json("evidence", &fields);
        }
    }
    app.output.summary("evidence", None, "success", Fields::new().with("vectors", vectors));
    Ok(Exit::Done)
}

fn log(app: &App) -> Result<Exit> {
    let entries = app.store()?.evidence_log()?;
    let fields = Fields::new().with("events", entries.len());
    for entry in entries {
        let about: Vec<_> = [entry.volume.clone(), entry.destination.clone()].into_iter().flatten().collect();
        let moved = match (entry.before, entry.after) {
            (None, None) => String::new(),
            (before, after) => {
                let text = |run: Option<RunId>| run.map_or_else(|| "nothing".into(), |run| run.to_string());
                format!(" {} → {}", text(before), text(after))
            }
        };
        let run = entry.run.map_or_else(String::new, |run| format!(" by run {run}"));
        let why = entry.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
        app.output.line(&format!("{}  {}  {}{moved}{run}{why}", local_time(entry.at), entry.event, about.join(" at ")));
        let fields = Fields::new()
            .with("at", rfc3339(entry.at))
            .with("event", entry.event.name())
            .with("volume", entry.volume)
            .with("destination", entry.destination)
            .with("run", entry.run.map(RunId::get))
            .with("before", entry.before.map(RunId::get))
            .with("after", entry.after.map(RunId::get))
            .with("generation", entry.generation)
            .with("reason", entry.reason);
        app.output.json("evidence", &fields);
    }
    app.output.summary("evidence", None, "success", fields);
    Ok(Exit::Done)
}

fn rewind(app: &App, volume: &str, destination: &str, to: i64, reason: Option<&str>, dry_run: bool) -> Result<Exit> {
    if to < 0 {
        return Err(CliError::new(Code::Usage, format!("{to} is no run")).hint("give a run's number, or 0 for nothing"));
    }
    app.volume_config(volume)?;
    let record = app.destination_record(destination)?;
    let Some(of) = app.store()?.volume_record(volume)? else {
        return Err(app.not_added(volume));
    };
    let before = app.store()?.own_component(of.id, record.id)?;
    let fields = Fields::new()
        .with("volume", volume)
        .with("destination", destination)
        .with("before", before.map(RunId::get))
        .with("after", to)
        .with("dry_run", dry_run);
    let shown = before.map_or_else(|| "nothing".into(), |run| format!("run {run}"));
    if dry_run {
        app.output.line(&format!("{volume} at {destination}: would go from {shown} to run {to}"));
        app.output.summary("evidence", None, "success", fields);
        return Ok(Exit::Done);
    }
    let reason = app.reason(reason)?;
    app.confirm(&format!("Rewind the evidence of `{volume}` at `{destination}` from {shown} to run {to}?"))?;
    let run = app.waiting(|| Ok(app.store()?.begin_evidence_change(Some(record.id), None)?))?;
    let id = run.id().get();
    if let Err(error) = run.rewind(of.id, record.id, RunId::from_user(to), &reason) {
        run.finish(&Outcome::Refused(error.to_string()), None)?;
        return Err(error.into());
    }
    run.finish(&Outcome::Success, None)?;
    app.output.line(&format!(
        "{volume} at {destination}: went from {shown} to run {to}; sync proves again what is here, and verify what was offloaded"
    ));
    app.output.summary("evidence", Some(id), "success", fields);
    Ok(Exit::Done)
}
