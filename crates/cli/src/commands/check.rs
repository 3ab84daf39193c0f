//! `config check`: load, resolve, probe; name what is wrong, and what shares a device.

use crate::app::{App, connect};
use crate::args::ConfigCommand;
use crate::commands::standing::{self, Standing};
use crate::config::{Config, DestinationConfig, VolumeConfig};
use crate::error::{CliError, Exit, Result};
use crate::output::Fields;
use crate::words::plural;
use lastcopy_store::{Incarnation, Method};
use lastcopy_sync::{DestinationError, Probe};

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
    let mut problems = 0;
    for name in config.volumes.keys() {
        problems += check_volume(app, name, new)?;
    }
    for (name, configured) in &config.destinations {
        problems += check_destination(app, name, configured, new)?;
    }
    app.output.line(&if problems == 0 { "nothing is wrong".to_owned() } else { plural(problems, "problem", "problems") });
    let status = if problems == 0 { "success" } else { "partial" };
    app.output.summary("config", None, status, Fields::new().with("problems", problems));
    Ok(if problems == 0 { Exit::Done } else { Exit::Attention })
}

fn check_volume(app: &App, name: &str, new: bool) -> Result<u64> {
    let volume = app.volume_config(name)?;
    let mut wrong: Vec<String> = Vec::new();
    if new {
        wrong.push(app.not_added(name).message);
    } else {
        let opened = app.volume(name);
        let satisfiable = volume.offload.as_ref().map_or(Ok(()), |policy| app.satisfiable(name, &app.policy(policy)?));
        let weaker = weaker(app, name, volume);
        wrong.extend([opened.err(), satisfiable.err(), weaker.err()].into_iter().flatten().map(|error| error.message));
        // What keeps the policy from being read keeps the volume from being opened.
        wrong.dedup();
    }
    if volume.sync_to.is_empty() {
        wrong.push("it is pushed nowhere".into());
    }
    let device = lastcopy_fs::disk_of(&volume.path).ok().flatten();
    let sharing = sharing(app.config()?, device, None);
    app.output.line(&format!("volume {name}: {}{}", volume.path.display(), if wrong.is_empty() { ": ok" } else { "" }));
    tell(app, &wrong);
    if !sharing.is_empty() {
        app.output.line(&format!("  shares its device with {}: one broken disk takes both", sharing.join(", ")));
    }
    let required = volume.offload.iter().flat_map(|policy| &policy.require).filter(|name| sharing.contains(name));
    let required: Vec<_> = required.map(|name| format!("`{name}`")).collect();
    if !required.is_empty() {
        app.output.warn(&format!(
            "volume `{name}`: its policy requires {}, on the volume's own device: what is offloaded still takes its space there, and goes when that disk does",
            required.join(", ")
        ));
    }
    let problems = wrong.len() as u64;
    let fields = Fields::new().with("volume", name).with("path", volume.path.display().to_string());
    app.output.json("volume", &fields.with("problems", wrong).with("shares_device_with", sharing));
    Ok(problems)
}

/// That nothing in the policy is weaker than what was accepted: an offload would be refused.
fn weaker(app: &App, name: &str, volume: &VolumeConfig) -> Result<()> {
    let (Some(policy), Some(record)) = (&volume.offload, app.store()?.volume_record(name)?) else { return Ok(()) };
    let weaker = app.weakenings(record.id, &app.policy(policy)?)?;
    if weaker.is_empty() { Ok(()) } else { Err(CliError::policy_weaker(name, &weaker, &app.names()?)) }
}

fn tell(app: &App, wrong: &[String]) {
    wrong.iter().for_each(|problem| app.output.line(&format!("  problem: {problem}")));
}

/// The local destinations on a device, but for one that has it itself.
fn sharing(config: &Config, device: Option<u64>, but: Option<&str>) -> Vec<String> {
    let others = config.destinations.iter().filter(|(name, _)| Some(name.as_str()) != but);
    others.filter(|(_, other)| device.is_some() && other.device() == device).map(|(name, _)| name.clone()).collect()
}

fn check_destination(app: &App, name: &str, configured: &DestinationConfig, new: bool) -> Result<u64> {
    let record = if new { None } else { app.store()?.destination_record(name)? };
    // One that cannot even be asked is told of like any other: the rest still has to be looked at.
    let asked = ask(app, name, configured, record.and_then(|record| record.incarnation).as_ref())
        .unwrap_or_else(|error| Asked::of_none(configured, error.message));
    let Asked { address, methods, standing, mut wrong } = asked;
    if standing.is_some() {
        wrong.extend(standing::never_accepted(app.config()?, name, &methods));
    }
    let sharing = sharing(app.config()?, configured.device(), Some(name));
    let ok = if wrong.is_empty() { ": ok" } else { "" };
    app.output.line(&format!("destination {name}: {} at {address}{ok}", configured.kind()));
    tell(app, &wrong);
    if standing.is_some() {
        standing::tell(app, &standing::served(standing.as_ref()));
        standing::tell(app, &[standing::proves(&methods)]);
    }
    if !sharing.is_empty() {
        app.output.line(&format!("  shares its device with {}: they count once for `at_least`", sharing.join(", ")));
    }
    let problems = wrong.len() as u64;
    let fields = Fields::new().with("destination", name).with("kind", configured.kind().name()).with("address", address);
    let fields = fields.with("problems", wrong).with("shares_device_with", sharing);
    app.output.json("destination", &standing::fields(fields, standing.as_ref(), &methods));
    Ok(problems)
}

/// What a destination said of itself.
struct Asked {
    address: String,
    methods: Vec<Method>,
    standing: Option<Standing>,
    wrong: Vec<String>,
}

impl Asked {
    /// Of one to which there is no way, only what the configuration says.
    fn of_none(configured: &DestinationConfig, why: String) -> Self {
        Self { address: configured.url.clone(), methods: configured.methods(), standing: None, wrong: vec![why] }
    }
}

fn ask(app: &App, name: &str, configured: &DestinationConfig, accepted: Option<&Incarnation>) -> Result<Asked> {
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
    let wrong = wrong_with(name, answer, accepted).into_iter().collect();
    Ok(Asked { address: capabilities.address, methods: capabilities.methods, standing, wrong })
}

fn wrong_with(name: &str, answer: Result<Probe, DestinationError>, accepted: Option<&Incarnation>) -> Option<String> {
    match answer {
        Ok(Probe::Found(found)) if Some(&found) == accepted => None,
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
    }
}
