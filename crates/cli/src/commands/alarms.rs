//! `alarms`, `alarms ack`.

use crate::app::App;
use crate::args::AlarmsCommand;
use crate::commands::paths::Paths;
use crate::commands::standing::begin_anew;
use crate::error::{CliError, Exit, Result};
use crate::output::Fields;
use crate::words::{grouped, local_time, rfc3339};
use lastcopy_store::{Alarm, AlarmId, AlarmKind, IdentityError, Outcome};

pub(crate) fn run(app: &App, command: Option<AlarmsCommand>) -> Result<Exit> {
    match command {
        None => list(app),
        Some(AlarmsCommand::Ack { id, reason, dry_run }) => acknowledge(app, id, reason.as_deref(), dry_run),
    }
}

/// So many lost contents of one destination are shown one by one.
const SHOWN: usize = 20;

fn list(app: &App) -> Result<Exit> {
    let alarms = app.store()?.alarms(true)?;
    let paths = Paths::new(app)?;
    for (place, alarm) in alarms.iter().enumerate() {
        let about = match (&alarm.destination, &alarm.file, &alarm.content) {
            (Some(destination), _, Some(content)) if place < SHOWN => format!("{destination}: {}", paths.shown(*content)?),
            (Some(destination), ..) => destination.clone(),
            (None, Some((volume, path)), _) => format!("{volume}/{path}"),
            (None, None, _) => "?".into(),
        };
        let fix = if is_gone(app, alarm)? { gone(alarm) } else { clearing(alarm) };
        if place < SHOWN {
            app.output.line(&format!("{}  {}  {}  {about}: {}", alarm.id, local_time(alarm.raised.0), alarm.kind, alarm.detail));
            app.output.line(&format!("      to clear it: {fix}"));
        }
        let mut fields = Fields::new()
            .with("id", alarm.id.get())
            .with("kind", alarm.kind.name())
            .with("destination", alarm.destination.clone())
            .with("content", alarm.content.map(|content| content.to_string()))
            .with("detail", alarm.detail.as_str())
            .with("raised", rfc3339(alarm.raised.0))
            .with("run", alarm.raised.1.get())
            .with("fix", fix);
        match (&alarm.file, alarm.content) {
            (Some((volume, path)), _) => fields = fields.with("volume", volume.as_str()).path(path),
            (None, Some(content)) if app.output.is_json() => fields = paths.add(fields, content)?,
            _ => {}
        }
        app.output.json("alarm", &fields);
    }
    match alarms.len() {
        0 => app.output.line("no alarm stands"),
        count if count > SHOWN => app.output.line(&format!("… and {} more", grouped((count - SHOWN) as u64))),
        _ => {}
    }
    let status = if alarms.is_empty() { "success" } else { "partial" };
    app.output.summary("alarms", None, status, Fields::new().with("standing", alarms.len()));
    Ok(if alarms.is_empty() { Exit::Done } else { Exit::Attention })
}

/// The command that clears an alarm by proving the opposite, where there is one; else the one that acknowledges it.
fn clearing(alarm: &Alarm) -> String {
    match (alarm.kind, &alarm.destination, &alarm.file) {
        (AlarmKind::ContentChanged, _, Some((volume, path))) => {
            format!("lastcopy restore {volume} {} --in-place", quoted(&path.to_string()))
        }
        (AlarmKind::LostObject, Some(destination), _) => format!("lastcopy destination repair {destination}"),
        // Once the right one is there again; says how to accept the other one.
        (AlarmKind::IdentityChanged, Some(destination), _) => format!("lastcopy verify {destination}"),
        _ => format!("lastcopy alarms ack {}", alarm.id),
    }
}

/// Whether it is about a repository that is not where it was, and in whose place is none.
fn is_gone(app: &App, alarm: &Alarm) -> Result<bool> {
    let Some(name) = alarm.destination.as_ref().filter(|_| alarm.kind == AlarmKind::IdentityChanged) else { return Ok(false) };
    let accepted = app.store()?.destination_record(name)?.and_then(|record| record.incarnation);
    Ok(accepted.is_some_and(|accepted| alarm.detail == IdentityError::Gone { accepted }.to_string()))
}

/// Only an empty place that is known to be that of a lost disk is begun anew.
fn gone(alarm: &Alarm) -> String {
    let name = alarm.destination.as_deref().unwrap_or("DEST");
    format!("mount its disk, then `lastcopy verify {name}`; if it is lost for good: {}", begin_anew(name))
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+,@".contains(character);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// What an acknowledgement leaves behind.
fn forgets(kind: AlarmKind) -> &'static str {
    match kind {
        AlarmKind::ContentChanged => "the next index takes its bytes for meant",
        AlarmKind::LostObject => "nobody is reminded of the lost copy any more",
        AlarmKind::IdentityChanged => "nobody is reminded of it any more",
        AlarmKind::RolledBack => {
            "what was remembered of its pushes is forgotten, and nothing is deleted on its word before a push lists everything anew"
        }
    }
}

fn acknowledge(app: &App, id: i64, reason: Option<&str>, dry_run: bool) -> Result<Exit> {
    let alarm = AlarmId::from_user(id);
    let standing = app.store()?.standing_alarm(alarm);
    let destination = standing.map_err(|error| CliError::from(error).or_hint("`lastcopy alarms` shows those that stand"))?;
    let standing = app.store()?.alarms(true)?;
    let forgets = standing.iter().find(|standing| standing.id == alarm).map_or("", |standing| forgets(standing.kind));
    let fields = Fields::new().with("id", id).with("dry_run", dry_run);
    if dry_run {
        app.output.line(&format!("alarm {id} would be acknowledged: {forgets}"));
        app.output.summary("alarms", None, "success", fields);
        return Ok(Exit::Done);
    }
    app.confirm(&format!("Acknowledge alarm {id}? Then {forgets}."))?;
    let run = app.waiting(|| Ok(app.store()?.begin_evidence_change(destination, None)?))?;
    let run_id = run.id().get();
    if let Err(error) = run.acknowledge(alarm, reason.unwrap_or("acknowledged by hand")) {
        run.finish(&Outcome::Failed(error.to_string()), None)?;
        return Err(error.into());
    }
    run.finish(&Outcome::Success, None)?;
    app.output.line(&format!("alarm {id} is acknowledged"));
    app.output.summary("alarms", Some(run_id), "success", fields);
    Ok(Exit::Done)
}
