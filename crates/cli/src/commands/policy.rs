//! `policy show`, `policy accept`.

use crate::app::App;
use crate::args::PolicyCommand;
use crate::commands::each;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::units::Age;
use crate::words::{self, Names};
use lastcopy_store::Policy;

pub(crate) fn run(app: &App, command: PolicyCommand) -> Result<Exit> {
    match command {
        PolicyCommand::Show { volume } => {
            let names = app.volume_names(&volume.into_iter().collect::<Vec<_>>())?;
            each(app, &names, |name| show(app, name))
        }
        PolicyCommand::Accept { volume, reason } => accept(app, &volume, &reason),
    }
}

fn recorded(app: &App, name: &str) -> Result<lastcopy_store::VolumeRecord> {
    app.volume_config(name)?;
    app.store()?.volume_record(name)?.ok_or_else(|| app.not_added(name))
}

fn show(app: &App, name: &str) -> Result<Exit> {
    let volume = recorded(app, name)?;
    let configured = app.volume_config(name)?.offload.as_ref().map(|policy| app.policy(policy)).transpose()?;
    let accepted = app.store()?.accepted_policy(volume.id)?;
    let names = app.names()?;
    let weaker = match (&configured, &accepted) {
        (Some(configured), Some(accepted)) => configured.weaker_than(&accepted.policy),
        _ => Vec::new(),
    };
    let show = |policy: Option<&Policy>| policy.map_or_else(|| "none".to_owned(), |policy| in_words(policy, &names));
    app.output.line(name);
    app.output.line(&format!("  configured: {}", show(configured.as_ref())));
    app.output.line(&format!("  in force:   {}", show(accepted.as_ref().map(|accepted| &accepted.policy))));
    if let Some(accepted) = &accepted {
        let why = accepted.reason.as_deref().unwrap_or("taken by a run, because it was not weaker");
        app.output.line(&format!("              since {}: {why}", words::local_time(accepted.accepted_at)));
    }
    let ways: Vec<_> = weaker.iter().map(|way| words::weakening(way, &names)).collect();
    if !ways.is_empty() {
        app.output.line(&format!("  the configured one is weaker: {}", ways.join(", ")));
        app.output.line(&format!("  offload is refused until: lastcopy policy accept {name} --reason TEXT"));
    }
    let fields = Fields::new()
        .with("volume", name)
        .with("configured", configured.as_ref().map(|policy| as_json(policy, &names)))
        .with("accepted", accepted.as_ref().map(|accepted| as_json(&accepted.policy, &names)))
        .with("accepted_at", accepted.as_ref().map(|accepted| words::rfc3339(accepted.accepted_at)))
        .with("reason", accepted.and_then(|accepted| accepted.reason))
        .with("weaker", ways);
    app.output.json("policy", &fields);
    Ok(if weaker.is_empty() { Exit::Done } else { Exit::Attention })
}

fn accept(app: &App, name: &str, reason: &str) -> Result<Exit> {
    let reason = app.reason(Some(reason))?;
    let volume = recorded(app, name)?;
    let Some(policy) = app.volume_config(name)?.offload.as_ref().map(|policy| app.policy(policy)).transpose()? else {
        return Err(CliError::new(Code::NoPolicy, format!("volume `{name}` has no offload policy to accept"))
            .hint(format!("configure one in [volumes.{name}.offload]")));
    };
    app.store()?.accept_policy(volume.id, &policy, &reason)?;
    app.output.line(&format!("{name}: in force from now on: {}", in_words(&policy, &app.names()?)));
    app.output.summary("policy", None, "success", Fields::new().with("volume", name));
    Ok(Exit::Done)
}

fn in_words(policy: &Policy, names: &Names) -> String {
    let name = |id| names.get(id).unwrap_or("?").to_owned();
    let mut parts = Vec::new();
    if !policy.require.is_empty() {
        parts.push(format!("require {}", policy.require.iter().map(|id| name(*id)).collect::<Vec<_>>().join(", ")));
    }
    if let Some(at_least) = &policy.at_least {
        parts.push(format!(
            "at least {} of {}",
            at_least.count,
            at_least.of.iter().map(|id| name(*id)).collect::<Vec<_>>().join(", ")
        ));
    }
    parts.push(format!("evidence up to {}", Age { ms: policy.max_evidence_age_ms }));
    parts.push(format!("confirm {}", policy.confirm));
    if policy.grace_ms > 0 {
        parts.push(format!("grace {}", Age { ms: policy.grace_ms }));
    }
    parts.push(format!("methods {}", policy.methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ")));
    if policy.any_filesystem {
        parts.push("any file system".into());
    }
    parts.join("; ")
}

fn as_json(policy: &Policy, names: &Names) -> serde_json::Value {
    let name = |id: &lastcopy_store::DestinationId| names.get(*id);
    serde_json::json!({
        "require": policy.require.iter().map(name).collect::<Vec<_>>(),
        "at_least": policy.at_least.as_ref().map(|at_least| serde_json::json!({
            "count": at_least.count, "of": at_least.of.iter().map(name).collect::<Vec<_>>(),
        })),
        "max_evidence_age": Age { ms: policy.max_evidence_age_ms }.to_string(),
        "confirm": policy.confirm.name(),
        "grace": Age { ms: policy.grace_ms }.to_string(),
        "methods": policy.methods.iter().map(|method| method.name()).collect::<Vec<_>>(),
        "any_filesystem": policy.any_filesystem,
    })
}
