//! Checking a configuration as a whole: everything that can be known to be wrong is refused when it is loaded, so that a refusal of the
//! gate always means *not yet*.

use super::diagnostic::{ConfigError, Problem};
use super::file::{self, File};
use crate::units::Age;
use lastcopy_store::{Confirm, DestinationKind, Method};
use lastcopy_sync_mirror::{Options, Verify};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// Evidence older than this is stale, unless the configuration says otherwise.
const MAX_EVIDENCE_AGE: Age = Age { ms: 30 * 86_400_000 };
/// A hook that takes longer is ended, unless the configuration says otherwise.
const HOOK_TIMEOUT: Age = Age { ms: 3_600_000 };
/// An rclone that does nothing for so long is ended, unless the configuration says otherwise.
const STALL_TIMEOUT: Age = Age { ms: 300_000 };

/// A configuration without anything wrong that can be told without asking anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The file.
    pub(crate) path: PathBuf,
    /// The node's name.
    pub(crate) node_name: String,
    /// The index.
    pub(crate) db: PathBuf,
    /// Volumes by name.
    pub(crate) volumes: BTreeMap<String, VolumeConfig>,
    /// Destinations by name.
    pub(crate) destinations: BTreeMap<String, DestinationConfig>,
}

/// A volume as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VolumeConfig {
    pub(crate) path: PathBuf,
    pub(crate) sync_to: Vec<String>,
    pub(crate) exclude: Vec<String>,
    pub(crate) cross_mounts: bool,
    pub(crate) offload: Option<PolicyConfig>,
    pub(crate) hook: Option<HookConfig>,
}

/// An offload policy as configured, by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PolicyConfig {
    pub(crate) require: Vec<String>,
    pub(crate) at_least: Option<(usize, Vec<String>)>,
    pub(crate) max_evidence_age: Age,
    pub(crate) confirm: Confirm,
    pub(crate) grace: Age,
    pub(crate) methods: Vec<Method>,
    pub(crate) any_filesystem: bool,
}

/// A hook as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookConfig {
    pub(crate) command: Vec<String>,
    pub(crate) timeout: Age,
}

/// A destination as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DestinationConfig {
    pub(crate) kind: DestinationKind,
    /// Of a local one: its directory.
    pub(crate) path: Option<PathBuf>,
    /// Where it is, for people.
    pub(crate) url: String,
    pub(crate) failure_domain: Option<String>,
    /// Of a mirror: how rclone gets there.
    pub(crate) mirror: Option<MirrorConfig>,
}

/// A mirror as configured; secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorConfig {
    pub(crate) options: Options,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) index_password: Option<Secret>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// What a program prints, without the end of the line.
    Command(Vec<String>),
}

impl DestinationConfig {
    /// The methods by which it may prove, as far as the configuration tells.
    fn methods(&self) -> Vec<Method> {
        let Some(mirror) = &self.mirror else { return vec![Method::ReadBack] };
        match mirror.options.verify {
            Verify::None => Vec::new(),
            _ if self.path.is_some() => vec![Method::ReadBack],
            Verify::RemoteHash => vec![Method::RemoteHash],
            Verify::Fingerprint => vec![Method::Fingerprint],
            Verify::ReadBack => vec![Method::ReadBack],
            Verify::Auto => vec![Method::ReadBack, Method::RemoteHash, Method::Fingerprint],
        }
    }
}

/// Where the configuration is looked for: the option, the variable, or the place that XDG names.
pub(crate) fn locate(option: Option<&Path>) -> Result<PathBuf, ConfigError> {
    if let Some(path) = option {
        return Ok(path.to_owned());
    }
    if let Some(path) = std::env::var_os("LASTCOPY_CONFIG").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(path));
    }
    xdg(Dirs::config_dir).map(|dir| dir.join("lastcopy").join("config.toml"))
}

use etcetera::BaseStrategy as Dirs;

fn xdg(which: impl Fn(&etcetera::base_strategy::Xdg) -> PathBuf) -> Result<PathBuf, ConfigError> {
    etcetera::base_strategy::Xdg::new().map(|dirs| which(&dirs)).map_err(|error| {
        let problem = Problem { message: error.to_string(), span: None, fix: "set HOME, or give --config".into() };
        ConfigError::new(Path::new("config.toml"), "", vec![problem])
    })
}

/// Loads and checks a configuration.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let whole = |message: String, fix: &str| {
        let problem = Problem { message, span: None, fix: fix.to_owned() };
        ConfigError::new(path, "", vec![problem])
    };
    let source = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| whole("is not UTF-8".into(), "write it in UTF-8"))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let fix = "write one with `lastcopy init`, or name yours with --config";
            return Err(whole("there is no configuration file here".into(), fix));
        }
        Err(error) => return Err(whole(format!("cannot be read: {error}"), "make it readable, or name another with --config")),
    };
    parse(path, &source)
}

/// Checks the text of a configuration that is, or will be, in a file.
pub fn parse(path: &Path, source: &str) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(source).map_err(|error| {
        let message = error.message().lines().next().unwrap_or_default().to_owned();
        let problem = Problem { fix: syntax_fix(&message), message, span: error.span() };
        ConfigError::new(path, source, vec![problem])
    })?;
    let home = xdg(|dirs| Dirs::home_dir(dirs).to_owned())?;
    let mut check = Check { home, problems: Vec::new() };
    let config = check.config(path, file)?;
    if check.problems.is_empty() { Ok(config) } else { Err(ConfigError::new(path, source, check.problems)) }
}

/// What helps against an error of the TOML reader.
fn syntax_fix(message: &str) -> String {
    if message.starts_with("unknown field") {
        "remove it, or see docs/configuration.md for the keys that there are".into()
    } else if message.starts_with("missing field") {
        "add it; docs/configuration.md says what it means".into()
    } else if message.starts_with("invalid type") {
        "docs/configuration.md says what kind of value belongs here".into()
    } else if message.contains("duplicate key") {
        "each name may stand here once".into()
    } else {
        "docs/configuration.md shows every section with an example".into()
    }
}

struct Check {
    home: PathBuf,
    problems: Vec<Problem>,
}

impl Check {
    fn wrong(&mut self, span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) {
        self.problems.push(Problem::at(span, message, fix));
    }

    fn config(&mut self, path: &Path, file: File) -> Result<Config, ConfigError> {
        let db = match &file.node.db {
            Some(db) => self.path(db, "the index"),
            None => xdg(Dirs::data_dir)?.join("lastcopy").join("index.db"),
        };
        let node_name = match &file.node.name {
            Some(name) if name.get_ref().trim().is_empty() => {
                self.wrong(name.span(), "the node's name is empty", "give it a name, or leave `name` out");
                String::new()
            }
            // It stands in the first line of every segment, which has a bound.
            Some(name) if name.get_ref().len() > 255 || name.get_ref().chars().any(char::is_control) => {
                self.wrong(
                    name.span(),
                    "the node's name is longer than 255 bytes, or holds control characters",
                    "give it a shorter one",
                );
                String::new()
            }
            Some(name) => name.get_ref().clone(),
            None => host_name(),
        };
        for name in file.peers.keys() {
            self.wrong(
                name.span(),
                "this version of lastcopy has no peers",
                "remove the section; destinations of kind `cas` work today",
            );
        }
        let mut destinations = BTreeMap::new();
        let mut destination_spans = BTreeMap::new();
        for (name, destination) in &file.destinations {
            self.name(name, "destination");
            let place = destination.url.as_ref().or(destination.remote.as_ref());
            destination_spans.insert(name.get_ref().clone(), place.map_or(name.span(), Spanned::span));
            if let Some(config) = self.destination(name, destination) {
                destinations.insert(name.get_ref().clone(), config);
            }
        }
        let mut volumes = BTreeMap::new();
        let mut volume_spans = BTreeMap::new();
        for (name, volume) in &file.volumes {
            self.name(name, "volume");
            volume_spans.insert(name.get_ref().clone(), volume.path.span());
            let config = self.volume(volume, &file, &destinations);
            volumes.insert(name.get_ref().clone(), config);
        }
        let config = Config { path: path.to_owned(), node_name, db, volumes, destinations };
        self.overlaps(&config, &volume_spans, &destination_spans);
        Ok(config)
    }

    fn name(&mut self, name: &Spanned<String>, what: &str) {
        if let Err((message, fix)) = check_name(name.get_ref(), what) {
            self.wrong(name.span(), message, fix);
        }
    }

    /// An absolute path, `~` being the home directory.
    fn path(&mut self, text: &Spanned<String>, what: &str) -> PathBuf {
        let written = text.get_ref();
        let path = match written.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(&rest[1..]),
            _ => PathBuf::from(written),
        };
        if !path.is_absolute() {
            self.wrong(
                text.span(),
                format!("`{written}`: the path of {what} is relative"),
                "write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started",
            );
        }
        path
    }

    fn age(&mut self, text: Option<&Spanned<String>>, default: Age) -> Age {
        let Some(text) = text else { return default };
        match text.get_ref().parse() {
            Ok(age) => age,
            Err(error) => {
                self.wrong(text.span(), error.to_string(), "for example \"30d\"");
                default
            }
        }
    }

    fn destination(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
        let kind = destination.kind.get_ref();
        let Some(kind) = DestinationKind::from_name(kind) else {
            self.wrong(destination.kind.span(), format!("there is no destination kind `{kind}`"), "use \"cas\"");
            return None;
        };
        match kind {
            DestinationKind::Cas => self.cas(name, destination),
            DestinationKind::Mirror => self.mirror(name, destination),
            other => {
                self.wrong(
                    destination.kind.span(),
                    format!("this version of lastcopy has no destinations of kind `{other}`"),
                    "use \"cas\", a content-addressed store in a directory, or \"mirror\", a tree at any place that rclone reaches",
                );
                None
            }
        }
    }

    fn cas(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
        let for_mirrors = [
            ("remote", destination.remote.as_ref().map(Spanned::span)),
            ("rclone", destination.rclone.as_ref().map(|_| destination.kind.span())),
            ("verify", destination.verify.as_ref().map(Spanned::span)),
            ("index_password", destination.index_password.as_ref().map(Spanned::span)),
            ("program", destination.program.as_ref().map(Spanned::span)),
            ("transfers", destination.transfers.as_ref().map(Spanned::span)),
            ("checkers", destination.checkers.as_ref().map(Spanned::span)),
            ("bandwidth", destination.bandwidth.as_ref().map(Spanned::span)),
            ("stall_timeout", destination.stall_timeout.as_ref().map(Spanned::span)),
        ];
        for (key, span) in for_mirrors {
            if let Some(span) = span {
                self.wrong(span, format!("`{key}` is for destinations of kind `mirror`"), "remove it, or set kind = \"mirror\"");
            }
        }
        let Some(url) = &destination.url else {
            self.wrong(
                name.span(),
                format!("destination `{}` has no `url`", name.get_ref()),
                "add one, like url = \"file:///media/usb/lastcopy\"",
            );
            return None;
        };
        let path = self.local_url(url)?;
        let failure_domain = destination.failure_domain.as_ref().map(|label| label.get_ref().clone());
        let url = url.get_ref().clone();
        Some(DestinationConfig { kind: DestinationKind::Cas, path: Some(path), url, failure_domain, mirror: None })
    }

    fn mirror(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
        if let Some(url) = &destination.url {
            self.wrong(url.span(), "`url` is for destinations of kind `cas`", "write remote = \"NAME:PATH\", or an absolute path");
        }
        let Some(remote) = &destination.remote else {
            self.wrong(
                name.span(),
                format!("destination `{}` has no `remote`", name.get_ref()),
                "add one of rclone's, like remote = \"cloudbox:backup\", or an absolute path",
            );
            return None;
        };
        let mut options = Options::at(self.remote(remote));
        let path = options.local_path().map(Path::to_owned);
        let mut secrets = BTreeMap::new();
        for (key, setting) in destination.rclone.iter().flatten() {
            self.setting(key, setting, &mut options, &mut secrets);
        }
        if let (Some(_), Some((key, _))) = (&path, destination.rclone.iter().flatten().next()) {
            self.wrong(key.span(), "a local path has no options of rclone's", "name a remote, like \"box:path\", or remove them");
        }
        if let Some(verify) = &destination.verify {
            options.verify = match verify.get_ref().as_str() {
                "auto" => Verify::Auto,
                "remote-hash" => Verify::RemoteHash,
                "fingerprint" => Verify::Fingerprint,
                "read-back" => Verify::ReadBack,
                "none" => Verify::None,
                other => {
                    let message = format!("`{other}` is no way to verify");
                    self.wrong(verify.span(), message, "use \"auto\", \"remote-hash\", \"fingerprint\", \"read-back\" or \"none\"");
                    Verify::Auto
                }
            };
        }
        if let Some(program) = &destination.program {
            options.program = if program.get_ref().contains('/') { self.path(program, "rclone") } else { program.get_ref().into() };
        }
        for (count, option) in [(&destination.transfers, &mut options.transfers), (&destination.checkers, &mut options.checkers)] {
            match count {
                Some(count) if (1..=256).contains(count.get_ref()) => *option = *count.get_ref(),
                Some(count) => self.wrong(count.span(), "so many at a time cannot be", "use a number from 1 to 256"),
                None => {}
            }
        }
        options.bandwidth = destination.bandwidth.as_ref().map(|limit| limit.get_ref().clone());
        let stall = self.age(destination.stall_timeout.as_ref(), STALL_TIMEOUT);
        options.stall = std::time::Duration::from_millis(stall.ms.max(1).unsigned_abs());
        let failure_domain = destination.failure_domain.as_ref().map(|label| label.get_ref().clone());
        let url = options.remote.clone();
        let password = destination.index_password.as_ref();
        let index_password = password.and_then(|secret| self.secret(secret.get_ref(), secret.span()));
        let mirror = Some(MirrorConfig { options, secrets, index_password });
        Some(DestinationConfig { kind: DestinationKind::Mirror, path, url, failure_domain, mirror })
    }

    /// A place as rclone writes it: a remote and a path in it, or a local path, `~` being the home directory.
    fn remote(&mut self, remote: &Spanned<String>) -> String {
        let written = remote.get_ref();
        if written.starts_with(['/', '~']) {
            return self.path(remote, "a mirror").display().to_string();
        }
        if !written.contains(':') || written.starts_with(':') || written.contains(']') {
            self.wrong(
                remote.span(),
                format!("`{written}` is no place that lastcopy can give to rclone"),
                "name a remote of rclone's configuration and a path in it, like \"cloudbox:backup\", or an absolute path",
            );
        }
        written.clone()
    }

    fn setting(
        &mut self,
        key: &Spanned<String>,
        setting: &Spanned<file::Setting>,
        options: &mut Options,
        secrets: &mut BTreeMap<String, Secret>,
    ) {
        let name = key.get_ref().clone();
        let text = match setting.get_ref() {
            file::Setting::Text(text) => text.clone(),
            file::Setting::Number(number) => number.to_string(),
            file::Setting::Flag(flag) => flag.to_string(),
            file::Setting::Secret(secret) => {
                if let Some(secret) = self.secret(secret, setting.span()) {
                    secrets.insert(name, secret);
                }
                return;
            }
        };
        options.settings.insert(name, text.into());
    }

    fn secret(&mut self, secret: &file::Secret, span: std::ops::Range<usize>) -> Option<Secret> {
        match (&secret.env, &secret.command) {
            (Some(variable), None) => {
                if std::env::var_os(variable).is_none() {
                    self.wrong(span, format!("the variable `{variable}` is not set"), "set it where lastcopy is started");
                }
                Some(Secret::Env(variable.clone()))
            }
            (None, Some(command)) if !command.is_empty() => Some(Secret::Command(command.clone())),
            _ => {
                let fix = "write { env = \"NAME\" } or { command = [\"pass\", \"show\", \"…\"] }";
                self.wrong(span, "a secret comes from one place", fix);
                None
            }
        }
    }

    fn local_url(&mut self, url: &Spanned<String>) -> Option<PathBuf> {
        match local_path(url.get_ref()) {
            Ok(path) => Some(path),
            Err(message) => {
                self.wrong(url.span(), message, "write an absolute path after `file://`, like \"file:///media/usb/lastcopy\"");
                None
            }
        }
    }

    fn volume(&mut self, volume: &file::Volume, file: &File, destinations: &BTreeMap<String, DestinationConfig>) -> VolumeConfig {
        let path = self.path(&volume.path, "a volume");
        let known = |name: &str| file.destinations.keys().any(|key| key.get_ref() == name);
        let mut sync_to = Vec::new();
        for name in &volume.sync_to {
            if !known(name.get_ref()) {
                self.unknown_destination(name);
            } else if sync_to.contains(name.get_ref()) {
                self.wrong(name.span(), format!("`{}` stands here twice", name.get_ref()), "name each destination once");
            } else {
                sync_to.push(name.get_ref().clone());
            }
        }
        for pattern in &volume.exclude {
            if let Err(error) = lastcopy_index::check_pattern(pattern.get_ref()) {
                self.wrong(pattern.span(), format!("`{}`: {error}", pattern.get_ref()), "patterns are in gitignore syntax");
            }
        }
        let offload = volume.offload.as_ref().map(|offload| self.policy(offload, &sync_to, file, destinations));
        let hook = volume.hook.as_ref().map(|hook| self.hook(hook));
        let exclude = volume.exclude.iter().map(|pattern| pattern.get_ref().clone()).collect();
        VolumeConfig { path, sync_to, exclude, cross_mounts: volume.cross_mounts, offload, hook }
    }

    fn unknown_destination(&mut self, name: &Spanned<String>) {
        let text = name.get_ref();
        self.wrong(
            name.span(),
            format!("there is no destination `{text}`"),
            format!("add a section [destinations.{text}], or correct the name"),
        );
    }

    fn hook(&mut self, hook: &file::Hook) -> HookConfig {
        if hook.command.get_ref().is_empty() {
            self.wrong(hook.command.span(), "the hook's command is empty", "name a program and its arguments");
        }
        HookConfig { command: hook.command.get_ref().clone(), timeout: self.age(hook.timeout.as_ref(), HOOK_TIMEOUT) }
    }

    fn policy(
        &mut self,
        offload: &Spanned<file::Offload>,
        sync_to: &[String],
        file: &File,
        destinations: &BTreeMap<String, DestinationConfig>,
    ) -> PolicyConfig {
        let written = offload.get_ref();
        let require = self.vouchers(&written.require, sync_to, file);
        let at_least = written.at_least.as_ref().map(|at_least| {
            let of = self.vouchers(&at_least.get_ref().of, sync_to, file);
            self.countable(at_least, &of, file);
            (at_least.get_ref().count, of)
        });
        let nobody = written.require.is_empty() && at_least.as_ref().is_none_or(|(count, _)| *count == 0);
        if nobody {
            self.wrong(
                offload.span(),
                "the offload policy requires nobody: every file could be deleted",
                "name at least one destination in `require`, or remove the section",
            );
        }
        let methods = self.methods(written.methods.as_ref());
        let vouchers = written.require.iter().chain(written.at_least.iter().flat_map(|at_least| &at_least.get_ref().of));
        for name in vouchers {
            if let Some(destination) = destinations.get(name.get_ref()) {
                self.can_vouch(name, destination, &methods, written.methods.as_ref());
            }
        }
        let confirm = match &written.confirm {
            None => Confirm::Quick,
            Some(confirm) => Confirm::from_name(confirm.get_ref()).unwrap_or_else(|| {
                let message = format!("`{}` is no confirmation", confirm.get_ref());
                self.wrong(confirm.span(), message, "use \"quick\", \"full\" or \"offline\"");
                Confirm::Quick
            }),
        };
        let max_evidence_age = self.age(written.max_evidence_age.as_ref(), MAX_EVIDENCE_AGE);
        if let Some(age) = &written.max_evidence_age
            && max_evidence_age.ms == 0
        {
            self.wrong(age.span(), "no evidence is as young as that: no file could ever pass", "for example \"30d\"");
        }
        PolicyConfig {
            require,
            at_least,
            max_evidence_age,
            confirm,
            grace: self.age(written.grace.as_ref(), Age { ms: 0 }),
            methods,
            any_filesystem: written.any_filesystem,
        }
    }

    /// Destinations that a policy counts on: each known, each pushed to, each named once.
    fn vouchers(&mut self, names: &[Spanned<String>], sync_to: &[String], file: &File) -> Vec<String> {
        let mut vouchers: Vec<String> = Vec::new();
        for name in names {
            let text = name.get_ref();
            if !file.destinations.keys().any(|key| key.get_ref() == text) {
                self.unknown_destination(name);
            } else if !sync_to.contains(text) {
                self.wrong(
                    name.span(),
                    format!("nothing pushes this volume to `{text}`, so it can never vouch"),
                    format!("add \"{text}\" to the volume's `sync_to`"),
                );
            } else if vouchers.contains(text) {
                self.wrong(name.span(), format!("`{text}` stands here twice"), "name each destination once");
            } else {
                vouchers.push(text.clone());
            }
        }
        vouchers
    }

    /// A count that can be reached: by destinations that do not share a label.
    fn countable(&mut self, at_least: &Spanned<file::AtLeast>, of: &[String], file: &File) {
        let label = |name: &String| {
            let found = file.destinations.iter().find(|(key, _)| key.get_ref() == name);
            found.and_then(|(_, destination)| destination.failure_domain.as_ref().map(|label| label.get_ref().clone()))
        };
        let mut domains: Vec<_> = of.iter().map(|name| label(name).unwrap_or_else(|| format!("\0{name}"))).collect();
        domains.sort_unstable();
        domains.dedup();
        let count = at_least.get_ref().count;
        if count == 0 {
            self.wrong(at_least.span(), "`at_least` counts to 0: it asks nobody", "give a count of 1 or more, or remove it");
        } else if count > domains.len() {
            self.wrong(
                at_least.span(),
                format!("`at_least` asks for {count}, of {} that can count", domains.len()),
                "name more destinations, in failure domains of their own, or lower the count",
            );
        }
    }

    fn methods(&mut self, methods: Option<&Spanned<Vec<Spanned<String>>>>) -> Vec<Method> {
        let all = [Method::ReadBack, Method::RemoteHash, Method::Peer, Method::Fingerprint];
        let Some(written) = methods else { return all.to_vec() };
        let mut accepted = Vec::new();
        for name in written.get_ref() {
            match Method::from_name(name.get_ref()) {
                Some(method) if all.contains(&method) => accepted.push(method),
                _ => self.wrong(
                    name.span(),
                    format!("`{}` is no method of proof", name.get_ref()),
                    "use \"read-back\", \"remote-hash\", \"peer\" or \"fingerprint\"",
                ),
            }
        }
        accepted.sort_unstable();
        accepted.dedup();
        accepted
    }

    /// That a destination can give evidence which the policy accepts: else the gate would be shut for ever.
    fn can_vouch(
        &mut self,
        name: &Spanned<String>,
        destination: &DestinationConfig,
        accepted: &[Method],
        written: Option<&Spanned<Vec<Spanned<String>>>>,
    ) {
        let possible = destination.methods();
        if possible.iter().any(|method| accepted.contains(method)) {
            return;
        }
        match (possible.first(), written) {
            (Some(method), Some(written)) => {
                let how = match method {
                    Method::ReadBack => "reading back",
                    Method::Fingerprint => "checksums of the provider",
                    _ => "hashes of the far side",
                };
                let kind = destination.kind;
                self.wrong(
                    written.span(),
                    format!("destinations of kind `{kind}` prove by {how}, which these methods leave out: no file could ever pass"),
                    format!("add \"{}\"", method.name()),
                );
            }
            _ => self.wrong(
                name.span(),
                format!("`{}` is never verified, so it can never vouch: no file could ever pass", name.get_ref()),
                "remove its verify = \"none\", or do not count on it here",
            ),
        }
    }

    /// Volumes must not overlap, nor a volume and a destination: objects would be offloaded on their own word.
    fn overlaps(
        &mut self,
        config: &Config,
        volume_spans: &BTreeMap<String, Range<usize>>,
        destination_spans: &BTreeMap<String, Range<usize>>,
    ) {
        let place = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| canonical_parent(path));
        let span = |spans: &BTreeMap<String, Range<usize>>, name: &str| spans.get(name).cloned().unwrap_or_default();
        for (name, volume) in &config.volumes {
            let path = place(&volume.path);
            for (other_name, other) in &config.volumes {
                let other = place(&other.path);
                if name != other_name && path.starts_with(&other) && (path != other || name > other_name) {
                    self.wrong(
                        span(volume_spans, name),
                        format!("volume `{name}` lies in volume `{other_name}`"),
                        "volumes must not overlap: move one, or give up the inner one",
                    );
                }
            }
            for (destination_name, destination) in &config.destinations {
                let Some(path_there) = &destination.path else { continue };
                let other = place(path_there);
                if other.starts_with(&path) {
                    self.wrong(
                        span(destination_spans, destination_name),
                        format!("destination `{destination_name}` lies in volume `{name}`"),
                        "put it on another disk, or at least outside of the volume",
                    );
                } else if path.starts_with(&other) {
                    self.wrong(
                        span(volume_spans, name),
                        format!("volume `{name}` lies in destination `{destination_name}`"),
                        "put the destination on another disk, or at least outside of the volume",
                    );
                }
            }
        }
    }
}

/// Whether a text may be the name of a volume or a destination; if not, why, and what to do.
pub(crate) fn check_name(text: &str, what: &str) -> Result<(), (String, &'static str)> {
    let legal = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | '.');
    // A name becomes a directory's when a volume is recovered: `..` would lead out.
    if text.len() > 64 || !text.chars().all(legal) || text.chars().all(|character| character == '.') {
        return Err((
            format!("`{text}` is no name for a {what}"),
            "use letters, digits, `-`, `_` and `.`, at most 64 of them, and not dots alone",
        ));
    }
    Ok(())
}

/// The path of a `file://` URL.
pub(crate) fn local_path(url: &str) -> Result<PathBuf, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(format!("`{url}` is no URL"));
    };
    match scheme {
        "file" if rest.starts_with('/') => Ok(PathBuf::from(rest)),
        "file" => Err(format!("`{url}` is a relative path")),
        other => Err(format!("`{url}`: this version of lastcopy stores in local directories only, not by `{other}`")),
    }
}

/// The path with as much of it resolved as exists.
fn canonical_parent(path: &Path) -> PathBuf {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => std::fs::canonicalize(parent).unwrap_or_else(|_| canonical_parent(parent)).join(name),
        _ => path.to_owned(),
    }
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().map_or_else(|_| "node".into(), str::to_owned)
}
