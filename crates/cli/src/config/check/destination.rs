//! Destinations, by kind: how each is reached, and what it may prove.

use super::super::file;
use super::Check;
use crate::units::Age;
use lastcopy_store::{DestinationKind, Method};
use lastcopy_sync_mirror::{Options, Verify};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Spanned;

/// An rclone that does nothing for so long is ended, unless the configuration says otherwise.
const STALL_TIMEOUT: Age = Age { ms: 300_000 };

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
    pub(super) fn methods(&self) -> Vec<Method> {
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

impl Check {
    pub(super) fn destination(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
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
