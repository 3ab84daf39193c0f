//! `volume add`, `list`, `move`.

use crate::app::App;
use crate::args::VolumeCommand;
use crate::config::{add_volume, check_name, set_volume_path};
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::words::files;
use lastcopy_store::{FileStatus, Outcome, VolumeClaim};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub(crate) fn run(app: &App, command: VolumeCommand) -> Result<Exit> {
    match command {
        VolumeCommand::Add { name, path } => add(app, &name, &path),
        VolumeCommand::List => list(app),
        VolumeCommand::Move { name, path } => follow(app, &name, &path),
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    let failed = |error: std::io::Error| {
        CliError::new(Code::Usage, format!("{}: {error}", path.display())).hint("a volume is an existing directory")
    };
    let path = std::fs::canonicalize(path).map_err(failed)?;
    if path.is_dir() {
        Ok(path)
    } else {
        Err(CliError::new(Code::Usage, format!("{} is not a directory", path.display())).hint("a volume is a directory"))
    }
}

fn add(app: &App, name: &str, path: &Path) -> Result<Exit> {
    let config = app.config()?;
    check_name(name, "volume").map_err(|(message, fix)| CliError::new(Code::Usage, message).hint(fix))?;
    let path = absolute(path)?;
    if let Some(configured) = config.volumes.get(name) {
        let there = std::fs::canonicalize(&configured.path).unwrap_or_else(|_| configured.path.clone());
        if there != path {
            let message = format!("volume `{name}`: the configuration says {}, not {}", configured.path.display(), path.display());
            return Err(CliError::new(Code::PathMismatch, message)
                .hint("give the configured path, correct the configuration, or use another name"));
        }
    } else {
        refuse_overlap(app, name, &path)?;
    }
    if !app.global.yes && !app.has_index()? {
        if app.is_from_elsewhere(&path)? {
            return Err(app.known_elsewhere(name, &path));
        }
        app.refuse_second_index()?;
    }
    let claim = VolumeClaim { take_over: app.global.yes, id: None };
    let (volume, run) = app.waiting(|| Ok(app.store()?.add_volume(name, &path, claim)?))?;
    let id = run.id().get();
    run.finish(&Outcome::Success, None)?;
    app.output.line(&format!("{name}: {} is under care; its marker is .lastcopy/volume.toml", path.display()));
    if !config.volumes.contains_key(name) {
        add_volume(&config.path, name, &path, &[])?;
        app.output.note(&format!("  added [volumes.{name}] to {}; say there in `sync_to` where it is kept", config.path.display()));
    }
    app.output.note(&format!("  next: lastcopy index {name}"));
    let fields = Fields::new().with("volume", name).named_path("path", path.as_os_str().as_bytes());
    app.output.summary("volume", Some(id), "success", fields.with("id", volume.uuid().to_string()));
    Ok(Exit::Done)
}

/// The checks that the configuration makes when it is loaded, for a volume at a place that it does not know yet.
fn refuse_overlap(app: &App, name: &str, path: &Path) -> Result<()> {
    let config = app.config()?;
    let others = config.volumes.iter().filter(|(other, _)| *other != name);
    let volumes = others.map(|(other, volume)| (format!("volume `{other}`"), &volume.path));
    let destinations =
        config.destinations.iter().filter_map(|(other, to)| Some((format!("destination `{other}`"), to.path.as_ref()?)));
    for (what, other) in volumes.chain(destinations) {
        let other = std::fs::canonicalize(other).unwrap_or_else(|_| other.clone());
        if path.starts_with(&other) || other.starts_with(path) {
            let message = format!("volume `{name}` at {} and {what} at {} overlap", path.display(), other.display());
            return Err(CliError::new(Code::Config, message).hint("volumes and destinations must lie apart"));
        }
    }
    Ok(())
}

fn follow(app: &App, name: &str, path: &Path) -> Result<Exit> {
    let path = absolute(path)?;
    // Else no command would take the configuration any more.
    refuse_overlap(app, name, &std::fs::canonicalize(&path).unwrap_or_else(|_| path.clone()))?;
    let (_volume, run) = app.waiting(|| app.store()?.move_volume(name, &path).map_err(|error| app.of_volume(error)))?;
    let id = run.id().get();
    run.finish(&Outcome::Success, None)?;
    app.output.line(&format!("{name}: is at {} now", path.display()));
    let config = app.config()?;
    let configured =
        config.volumes.get(name).map(|volume| std::fs::canonicalize(&volume.path).unwrap_or_else(|_| volume.path.clone()));
    if configured.as_ref() != Some(&path) {
        set_volume_path(&config.path, name, &path)?;
        app.output.note(&format!("  changed `path` of [volumes.{name}] in {}", config.path.display()));
    }
    let fields = Fields::new().with("volume", name).named_path("path", path.as_os_str().as_bytes());
    app.output.summary("volume", Some(id), "success", fields);
    Ok(Exit::Done)
}

fn list(app: &App) -> Result<Exit> {
    let config = app.config()?;
    let recorded = app.store()?.volumes()?;
    for record in &recorded {
        let survey = app.store()?.survey_volume(record.id)?;
        let count = |status| {
            survey.by_status.iter().find(|(found, ..)| *found == status).map_or((0, 0), |(_, files, bytes)| (*files, *bytes))
        };
        let (present, bytes) = count(FileStatus::Present);
        let (offloaded, offloaded_bytes) = count(FileStatus::Offloaded);
        let state = match app.volume(&record.name) {
            Ok(_) => "ok".to_owned(),
            Err(_) if !config.volumes.contains_key(&record.name) => "not in the configuration".into(),
            Err(error) => error.code.name().into(),
        };
        app.output.line(&format!(
            "{}  {}  {} here ({}), {} offloaded ({})  {state}",
            record.name,
            record.path.display(),
            files(present),
            crate::units::Size(bytes),
            files(offloaded),
            crate::units::Size(offloaded_bytes)
        ));
        let fields = Fields::new()
            .with("volume", record.name.as_str())
            .named_path("path", record.path.as_os_str().as_bytes())
            .with("id", record.uuid.to_string())
            .with("present", present)
            .with("present_bytes", bytes)
            .with("offloaded", offloaded)
            .with("offloaded_bytes", offloaded_bytes)
            .with("state", state);
        app.output.json("volume", &fields);
    }
    let mut count = recorded.len() as u64;
    for (name, volume) in config.volumes.iter().filter(|(name, _)| !recorded.iter().any(|record| record.name == **name)) {
        count += 1;
        let state = if app.is_from_elsewhere(&volume.path)? {
            "added to an index that is not here: lastcopy recover --from URL".to_owned()
        } else {
            format!("not added: lastcopy volume add {name} {}", volume.path.display())
        };
        app.output.line(&format!("{name}  {}  {state}", volume.path.display()));
        let fields = Fields::new().with("volume", name.as_str()).named_path("path", volume.path.as_os_str().as_bytes());
        app.output.json("volume", &fields.with("state", "not-added"));
    }
    app.output.summary("volume", None, "success", Fields::new().with("volumes", count));
    Ok(Exit::Done)
}
