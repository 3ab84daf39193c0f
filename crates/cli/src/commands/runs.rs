//! `runs`, `runs abort`, `hooks`.

use crate::app::App;
use crate::args::RunsCommand;
use crate::error::{CliError, Exit, Result};
use crate::output::Fields;
use crate::words::{local_time, rfc3339};
use lastcopy_store::{RunId, RunRecord, StoreError};

pub(crate) fn run(app: &App, id: Option<i64>, limit: usize, command: Option<RunsCommand>) -> Result<Exit> {
    if let Some(RunsCommand::Abort { id }) = command {
        return abort(app, id);
    }
    let runs = match id {
        Some(id) => vec![known(app.store()?.run_record(RunId::from_user(id)))?],
        None => app.store()?.runs(limit)?,
    };
    for run in &runs {
        tell(app, run, id.is_some());
    }
    if runs.is_empty() {
        app.output.line("nothing has run yet");
    }
    app.output.summary("runs", None, "success", Fields::new().with("runs", runs.len()));
    Ok(Exit::Done)
}

/// A run that a person named by its id.
pub(crate) fn known<T>(run: Result<T, StoreError>) -> Result<T> {
    run.map_err(|error| CliError::from(error).or_hint("`lastcopy runs` shows them"))
}

fn tell(app: &App, run: &RunRecord, whole: bool) {
    let about: Vec<_> = [run.volume.as_deref(), run.destination.as_deref()].into_iter().flatten().collect();
    let why = run.error.as_deref().map_or_else(String::new, |error| format!(": {error}"));
    let times = if run.attempts > 1 { format!(" ({} times)", run.attempts) } else { String::new() };
    app.output.line(&format!(
        "{:>6}  {}  {:<15} {:<24} {}{times}{why}",
        run.id.get(),
        local_time(run.started),
        run.kind.name(),
        about.join(" → "),
        run.status
    ));
    if whole {
        app.output.line(&format!("        by {}", run.owner));
        if let Some(by) = run.blocked_by {
            app.output.line(&format!("        run {by} stood in its way"));
        }
        if let Some(summary) = &run.summary {
            app.output.line(&format!("        {summary}"));
        }
    }
    let fields = Fields::new()
        .with("id", run.id.get())
        .with("kind", run.kind.name())
        .with("volume", run.volume.clone())
        .with("destination", run.destination.clone())
        .with("status", run.status.name())
        .with("started", rfc3339(run.started))
        .with("ended", run.ended.map(rfc3339))
        .with("error", run.error.clone())
        .with("owner", run.owner.as_str())
        .with("blocked_by", run.blocked_by.map(RunId::get))
        .with("attempts", run.attempts);
    app.output.json("run", &fields);
}

fn abort(app: &App, id: i64) -> Result<Exit> {
    let run = known(app.store()?.abort_run(RunId::from_user(id)))?;
    app.output
        .line(&format!("run {id} ({}) is closed; its process, if it lives ({}), can record nothing more", run.kind, run.owner));
    app.output.summary("runs", Some(id), "success", Fields::new().with("id", id));
    Ok(Exit::Done)
}

pub(crate) fn hooks(app: &App, limit: usize) -> Result<Exit> {
    let runs = app.store()?.hook_runs(limit)?;
    for run in &runs {
        let detail = run.detail.as_deref().unwrap_or_default();
        app.output.line(&format!(
            "{:>6}  {}  {:<15} {} after run {}  {detail}",
            run.id.get(),
            local_time(run.started),
            run.volume,
            run.status,
            run.run
        ));
        let fields = Fields::new()
            .with("id", run.id.get())
            .with("run", run.run.get())
            .with("volume", run.volume.as_str())
            .with("status", run.status.name())
            .with("started", rfc3339(run.started))
            .with("ended", run.ended.map(rfc3339))
            .with("detail", run.detail.clone());
        app.output.json("hook", &fields);
    }
    if runs.is_empty() {
        app.output.line("no hook has run yet");
    }
    app.output.summary("hooks", None, "success", Fields::new().with("hooks", runs.len()));
    Ok(Exit::Done)
}
