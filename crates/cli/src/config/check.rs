//! Checking a configuration as a whole: everything that can be known to be wrong is refused when it is loaded, so that a refusal of the
//! gate always means *not yet*.

mod destination;
mod policy;

pub(crate) use destination::{DestinationConfig, KopiaConfig, KopiaPlace, MirrorConfig, Secret, Way, local_path};
pub(crate) use policy::PolicyConfig;

use super::diagnostic::{ConfigError, Problem};
use super::file::{self, File};
use crate::units::Age;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// A hook that takes longer is ended, unless the configuration says otherwise.
const HOOK_TIMEOUT: Age = Age { ms: 3_600_000 };
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

/// A hook as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HookConfig {
    pub(crate) command: Vec<String>,
    pub(crate) timeout: Age,
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
            let place = destination.url.as_ref().or(destination.remote.as_ref()).or(destination.repository.as_ref());
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

    /// Volumes must not overlap, nor a volume and a destination: objects would be offloaded on their own word.
    fn overlaps(
        &mut self,
        config: &Config,
        volume_spans: &BTreeMap<String, Range<usize>>,
        destination_spans: &BTreeMap<String, Range<usize>>,
    ) {
        let span = |spans: &BTreeMap<String, Range<usize>>, name: &str| spans.get(name).cloned().unwrap_or_default();
        for (name, volume) in &config.volumes {
            let path = resolved(&volume.path);
            for (other_name, other) in &config.volumes {
                let other = resolved(&other.path);
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
                let other = resolved(path_there);
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
    // And where files lie by the volume's name, our own lie beside them.
    let is_ours = text.to_lowercase().starts_with(".lastcopy");
    if text.len() > 64 || !text.chars().all(legal) || text.chars().all(|character| character == '.') || is_ours {
        return Err((
            format!("`{text}` is no name for a {what}"),
            "use letters, digits, `-`, `_` and `.`, at most 64 of them, not dots alone, and not `.lastcopy`",
        ));
    }
    Ok(())
}

/// The path with as much of it resolved as exists.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => resolved(parent).join(name),
        _ => path.to_owned(),
    })
}

fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_str().map_or_else(|_| "node".into(), str::to_owned)
}
