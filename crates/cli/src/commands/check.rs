//! `config check`: load, resolve, probe; name what is wrong, and what shares a device.

use crate::app::{App, connect};
use crate::args::ConfigCommand;
use crate::commands::standing;
use crate::error::{Exit, Result};
use crate::output::Fields;
use crate::words::plural;
use lastcopy_store::VolumeError;
use lastcopy_sync::Probe;
use std::os::unix::fs::MetadataExt;

pub(crate) fn run(app: &App, command: &ConfigCommand) -> Result<Exit> {
    match command {
        ConfigCommand::Check => check(app),
    }
}

fn check(app: &App) -> Result<Exit> {
    let config = app.config()?;
    app.output.line(&format!("{}: node `{}`, index {}", config.path.display(), config.node_name, config.db.display()));
    // A question makes no index.
    let new = !app.has_index()?;
    let mut problems = 0u64;
    for (name, volume) in &config.volumes {
        let mut wrong: Vec<String> = Vec::new();
        let device = std::fs::metadata(&volume.path).map(|metadata| metadata.dev()).ok();
        if new {
            wrong.push(VolumeError::NotAdded { name: name.clone() }.to_string());
        } else {
            let opened = app.volume(name);
            let satisfiable = volume.offload.as_ref().map_or(Ok(()), |policy| app.satisfiable(name, &app.policy(policy)?));
            for error in [opened.err(), satisfiable.err()].into_iter().flatten() {
                wrong.push(error.message);
            }
        }
        if volume.sync_to.is_empty() {
            wrong.push("it is pushed nowhere".into());
        }
        let sharing: Vec<_> = config
            .destinations
            .iter()
            .filter(|(_, destination)| {
                let path = destination.path.as_ref();
                device.is_some() && path.and_then(|path| std::fs::metadata(path).ok()).map(|metadata| metadata.dev()) == device
            })
            .map(|(name, _)| name.clone())
            .collect();
        problems += wrong.len() as u64;
        app.output.line(&format!("volume {name}: {}{}", volume.path.display(), if wrong.is_empty() { ": ok" } else { "" }));
        wrong.iter().for_each(|problem| app.output.line(&format!("  problem: {problem}")));
        if !sharing.is_empty() {
            app.output.line(&format!("  shares its device with {}: one broken disk takes both", sharing.join(", ")));
        }
        let fields = Fields::new().with("volume", name.as_str()).with("path", volume.path.display().to_string());
        app.output.json("volume", &fields.with("problems", wrong).with("shares_device_with", sharing));
    }
    for (name, configured) in &config.destinations {
        let record = if new { None } else { app.store()?.destination_record(name)? };
        let accepted = record.and_then(|record| record.incarnation);
        let driven = app.driven(name)?;
        let destination = match &driven {
            Some(driven) => driven.destination(),
            None => connect(configured)?,
        };
        // A mirror knows only once it was asked.
        let answer = app.context().runtime.block_on(destination.probe());
        let standing = match (&driven, &answer) {
            (Some(driven), Ok(_)) => driven.standing(app).ok(),
            _ => None,
        };
        let capabilities = destination.capabilities();
        let (address, device) = (capabilities.address, capabilities.device);
        let others = config.destinations.iter().filter(|(other, _)| *other != name);
        let device_of = |path: &Option<std::path::PathBuf>| Some(std::fs::metadata(path.as_ref()?).ok()?.dev());
        let sharing: Vec<_> = others
            .filter(|(_, other)| device.is_some() && device_of(&other.path) == device)
            .map(|(other, _)| other.clone())
            .collect();
        let wrong = match answer {
            Ok(Probe::Found(found)) if Some(&found) == accepted.as_ref() => None,
            Ok(Probe::Found(found)) if accepted.is_some() => Some(format!("another repository answers: {found}")),
            Ok(Probe::Found(found)) => {
                Some(format!("repository {found} is there, and was never accepted: lastcopy destination adopt {name}"))
            }
            Ok(Probe::Nothing | Probe::NoPlace) if accepted.is_none() => {
                Some(format!("not initialised: lastcopy destination init {name}"))
            }
            Ok(Probe::Nothing) => Some("its repository is gone; is its disk mounted?".into()),
            Ok(Probe::NoPlace) => Some("its place is missing; is its disk mounted?".into()),
            Ok(Probe::CannotTell(reason)) => Some(reason),
            Err(error) => Some(error.to_string()),
        };
        let mut wrong: Vec<_> = wrong.into_iter().collect();
        if standing.is_some() {
            wrong.extend(standing::never_accepted(config, name, &capabilities.methods));
        }
        problems += wrong.len() as u64;
        let ok = if wrong.is_empty() { ": ok" } else { "" };
        app.output.line(&format!("destination {name}: {} at {address}{ok}", configured.kind()));
        wrong.iter().for_each(|problem| app.output.line(&format!("  problem: {problem}")));
        if standing.is_some() {
            standing::tell(app, &standing::lines(standing.as_ref(), &capabilities.methods));
        }
        if !sharing.is_empty() {
            app.output.line(&format!("  shares its device with {}: they count once for `at_least`", sharing.join(", ")));
        }
        let fields =
            Fields::new().with("destination", name.as_str()).with("kind", configured.kind().name()).with("address", address);
        let fields = fields.with("problems", wrong).with("shares_device_with", sharing);
        app.output.json("destination", &standing::fields(fields, standing, &capabilities.methods));
    }
    app.output.line(&if problems == 0 { "nothing is wrong".to_owned() } else { plural(problems, "problem", "problems") });
    let status = if problems == 0 { "success" } else { "partial" };
    app.output.summary("config", None, status, Fields::new().with("problems", problems));
    Ok(if problems == 0 { Exit::Done } else { Exit::Attention })
}
