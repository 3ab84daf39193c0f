//! How a destination proves what it holds, and what serves it for that: for people, and in JSON.

use crate::app::App;
use crate::config::Config;
use crate::output::Fields;
use lastcopy_store::Method;
use lastcopy_sync::{Destination, DestinationError};
use lastcopy_sync_kopia::Kopia;
use lastcopy_sync_mirror::Mirror;
use std::sync::Arc;

/// A destination that another program serves.
pub(crate) enum Driven {
    Mirror(Mirror),
    Kopia(Kopia),
}

/// What serves a destination, and what it can do.
pub(super) enum Standing {
    Mirror(lastcopy_sync_mirror::Standing),
    Kopia(lastcopy_sync_kopia::Standing),
}

impl Driven {
    pub(crate) fn destination(&self) -> Arc<dyn Destination> {
        match self {
            Self::Mirror(mirror) => Arc::new(mirror.clone()),
            Self::Kopia(kopia) => Arc::new(kopia.clone()),
        }
    }

    /// Asks it.
    pub(super) fn standing(&self, app: &App) -> Result<Standing, DestinationError> {
        let runtime = app.context().runtime;
        match self {
            Self::Mirror(mirror) => runtime.block_on(mirror.standing()).map(Standing::Mirror),
            Self::Kopia(kopia) => runtime.block_on(kopia.standing()).map(Standing::Kopia),
        }
    }
}

/// How a destination whose repository is lost goes on.
pub(super) fn begin_anew(destination: &str) -> String {
    format!("`lastcopy destination reset {destination}`, then `lastcopy destination init {destination}`")
}

/// What serves a destination, and what its place can do.
pub(super) fn served(standing: Option<&Standing>) -> Vec<String> {
    let mut lines = Vec::new();
    match standing {
        Some(Standing::Mirror(lastcopy_sync_mirror::Standing { program, backend, hashes, reason, .. })) => {
            lines.push(format!("served by: rclone {}, {backend}", program.version));
            lines.push(format!("hashes there: {}", if hashes.is_empty() { "none".into() } else { hashes.join(", ") }));
            lines.push(format!("verified that way because {reason}"));
        }
        Some(Standing::Kopia(kopia)) => {
            lines.push(format!("served by: kopia {}", kopia.version));
            if !kopia.is_release {
                lines.push("warning: it names no release; it is used because it has the options that are needed".into());
            }
        }
        None => {}
    }
    lines
}

/// Whether offloads that count on a destination can pass.
pub(super) fn proves(methods: &[Method]) -> String {
    match methods {
        [] => "proves by: nothing; offload through it can never pass: set verify = \"auto\" or \"read-back\"".to_owned(),
        methods => format!("proves by: {}; offload through it can pass", names(methods)),
    }
}

/// The same for programs.
pub(super) fn fields(fields: Fields, standing: Option<&Standing>, methods: &[Method]) -> Fields {
    let fields = fields.with("methods", methods.iter().map(|method| method.name()).collect::<Vec<_>>());
    match standing {
        Some(Standing::Mirror(lastcopy_sync_mirror::Standing { program, backend, hashes, reason, .. })) => {
            let (version, backend, reason) = (program.version.as_str(), backend.as_str(), reason.as_str());
            fields.with("program", version).with("backend", backend).with("hashes", hashes.clone()).with("reason", reason)
        }
        Some(Standing::Kopia(kopia)) => fields.with("program", kopia.version.as_str()).with("release", kopia.is_release),
        None => fields,
    }
}

/// Volumes that count on a destination whose proofs they do not accept: no file of theirs could ever leave.
pub(super) fn never_accepted(config: &Config, destination: &str, methods: &[Method]) -> Vec<String> {
    let counts = |names: &[String]| names.iter().any(|name| name == destination);
    let policies = config.volumes.iter().filter_map(|(name, volume)| Some((name, volume.offload.as_ref()?)));
    policies
        .filter(|(_, policy)| counts(&policy.require) || policy.at_least.as_ref().is_some_and(|(_, of)| counts(of)))
        .filter(|(_, policy)| !methods.iter().any(|method| policy.methods.contains(method)))
        .map(|(volume, policy)| {
            let proves =
                if methods.is_empty() { "nothing can be proven there".into() } else { format!("it proves by {}", names(methods)) };
            format!("volume `{volume}` counts on it and accepts {}, but {proves}: no file could ever pass", names(&policy.methods))
        })
        .collect()
}

fn names(methods: &[Method]) -> String {
    methods.iter().map(|method| method.name()).collect::<Vec<_>>().join(", ")
}

/// Says lines below the name of a destination.
pub(super) fn tell(app: &App, lines: &[String]) {
    lines.iter().for_each(|line| app.output.line(&format!("  {line}")));
}
