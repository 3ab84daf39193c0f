//! Destinations, by kind: how each is reached, and what it may prove.

use super::super::file;
use super::Check;
use crate::units::Age;
use lastcopy_store::{DESTINATION_MARKER, DestinationKind, Method};
use lastcopy_sync_kopia::Storage;
use lastcopy_sync_kopia::wire::FORMAT_BLOB;
use lastcopy_sync_mirror::{Options, Verify};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;

/// A program that does nothing for so long is ended, unless the configuration says otherwise.
const STALL_TIMEOUT: Age = Age { ms: 300_000 };
/// Objects of a repository of kopia's that are read or stored at a time, unless the configuration says otherwise.
const PARALLEL: usize = 8;

/// A destination as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DestinationConfig {
    /// Of a local one: its directory.
    pub(crate) path: Option<PathBuf>,
    /// Where it is, for people.
    pub(crate) url: String,
    pub(crate) failure_domain: Option<String>,
    /// How it is reached.
    pub(crate) way: Way,
}

/// How a destination is reached, by its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Way {
    /// By lastcopy itself.
    Cas,
    /// By rclone.
    Mirror(MirrorConfig),
    /// By kopia.
    Kopia(KopiaConfig),
}

/// A mirror as configured; secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MirrorConfig {
    pub(crate) options: Options,
    pub(crate) secrets: BTreeMap<String, Secret>,
    pub(crate) index_password: Option<Secret>,
}

/// A repository of kopia's as configured; secrets are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KopiaConfig {
    pub(crate) place: KopiaPlace,
    pub(crate) password: Secret,
    pub(crate) program: PathBuf,
    pub(crate) parallel: usize,
    pub(crate) stall: Duration,
}

/// Where a repository of kopia's lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KopiaPlace {
    /// In a storage of one of its types.
    Storage { repository: String, options: BTreeMap<String, OsString>, secrets: BTreeMap<String, Secret> },
    /// Where a configuration file of kopia's own says.
    ConfigFile(PathBuf),
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// In a variable of the environment.
    Env(String),
    /// In a file, without the end of its last line.
    File(PathBuf),
    /// What a program prints, without the end of the line.
    Command(Vec<String>),
}

impl DestinationConfig {
    pub(crate) fn kind(&self) -> DestinationKind {
        match &self.way {
            Way::Cas => DestinationKind::Cas,
            Way::Mirror(_) => DestinationKind::Mirror,
            Way::Kopia(_) => DestinationKind::Kopia,
        }
    }

    /// The disk that holds it, if it is a directory of this machine that is there now. Nobody is asked, and no secret is read.
    pub(crate) fn device(&self) -> Option<u64> {
        lastcopy_fs::disk_of(self.path.as_ref()?).ok().flatten()
    }

    /// Whether the destination itself is seen at its place in this machine, and not only the place.
    pub(crate) fn is_seen(&self) -> bool {
        let own = [DESTINATION_MARKER, FORMAT_BLOB];
        self.path.as_ref().is_some_and(|path| own.iter().any(|name| path.join(name).exists()))
    }

    /// Whether it is here, has no label, and its file system names no disk: on a network, or on ZFS.
    pub(crate) fn never_tells_its_disk(&self) -> bool {
        let untold = |path: &PathBuf| matches!(lastcopy_fs::disk_of(path), Ok(None));
        self.failure_domain.is_none() && self.is_seen() && self.path.as_ref().is_some_and(untold)
    }

    /// Whether nothing ever tells what fails together with it: it has no label, and is no directory of this machine. Such a directory
    /// that is away now, or that kopia's own configuration names, may be seen later.
    pub(super) fn hides_its_disk(&self) -> bool {
        let may_be_seen = match &self.way {
            Way::Kopia(KopiaConfig { place: KopiaPlace::ConfigFile(_), .. }) => true,
            _ => self.path.is_some(),
        };
        self.failure_domain.is_none() && !may_be_seen
    }

    /// Its secrets, by what the configuration calls them.
    pub(crate) fn secrets(&self) -> Vec<(String, &Secret)> {
        match &self.way {
            Way::Cas => Vec::new(),
            Way::Mirror(mirror) => {
                let settings = mirror.secrets.iter().map(|(name, secret)| (format!("rclone.{name}"), secret));
                settings.chain(mirror.index_password.as_ref().map(|secret| ("index_password".into(), secret))).collect()
            }
            Way::Kopia(kopia) => {
                let options = match &kopia.place {
                    KopiaPlace::Storage { secrets, .. } => Some(secrets),
                    KopiaPlace::ConfigFile(_) => None,
                };
                let options = options.into_iter().flatten().map(|(name, secret)| (format!("options.{name}"), secret));
                options.chain([("password".into(), &kopia.password)]).collect()
            }
        }
    }

    /// The methods by which it may prove, as far as the configuration tells.
    pub(crate) fn methods(&self) -> Vec<Method> {
        let Way::Mirror(mirror) = &self.way else { return vec![Method::ReadBack] };
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

/// The directory of this machine that a remote of rclone's is, by the options given here or by rclone's own configuration.
fn directory_behind(options: &Options) -> Option<PathBuf> {
    let (name, path) = options.remote.split_once(':')?;
    let is_local = if options.settings.is_empty() {
        let own = std::fs::read_to_string(lastcopy_sync_mirror::own_configuration()?).ok()?;
        own_type(&own, name)? == "local"
    } else {
        options.settings.iter().any(|(key, value)| key.eq_ignore_ascii_case("type") && value == "local")
    };
    Some(PathBuf::from(path)).filter(|path| is_local && path.is_absolute())
}

/// The type of a remote, as rclone's configuration has it.
fn own_type<'a>(configuration: &'a str, name: &str) -> Option<&'a str> {
    let section = format!("[{name}]");
    let lines = configuration.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
    let settings = lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once('='));
    settings.map(|(key, value)| (key.trim(), value.trim())).find(|(key, _)| *key == "type").map(|(_, value)| value)
}

/// A key, the kinds that it is for, and where it stands.
type Key<'a> = (&'static str, &'a [DestinationKind], Option<Range<usize>>);

impl Check {
    pub(super) fn destination(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
        let kind = destination.kind.get_ref();
        let Some(kind) = DestinationKind::from_name(kind) else {
            self.wrong(destination.kind.span(), format!("there is no destination kind `{kind}`"), "use \"cas\"");
            return None;
        };
        if kind != DestinationKind::Peer {
            self.keys(kind, destination);
        }
        match kind {
            DestinationKind::Cas => self.cas(name, destination),
            DestinationKind::Mirror => self.mirror(name, destination),
            DestinationKind::Kopia => self.kopia(name, destination),
            other @ DestinationKind::Peer => {
                self.wrong(
                    destination.kind.span(),
                    format!("this version of lastcopy has no destinations of kind `{other}`"),
                    "use \"cas\", a content-addressed store in a directory, \"mirror\", a tree at any place that rclone reaches, or \
                     \"kopia\", a repository of kopia's",
                );
                None
            }
        }
    }

    /// Refuses keys that mean nothing for a kind.
    fn keys(&mut self, kind: DestinationKind, destination: &file::Destination) {
        fn span<T>(key: Option<&Spanned<T>>) -> Option<Range<usize>> {
            key.map(Spanned::span)
        }
        let table = |table: Option<&BTreeMap<_, _>>| table.map(|_| destination.kind.span());
        let (cas, mirror, kopia) = (DestinationKind::Cas, DestinationKind::Mirror, DestinationKind::Kopia);
        let keys: [Key<'_>; 14] = [
            ("url", &[cas], span(destination.url.as_ref())),
            ("remote", &[mirror], span(destination.remote.as_ref())),
            ("rclone", &[mirror], table(destination.rclone.as_ref())),
            ("verify", &[mirror], span(destination.verify.as_ref())),
            ("index_password", &[mirror], span(destination.index_password.as_ref())),
            ("checkers", &[mirror], span(destination.checkers.as_ref())),
            ("bandwidth", &[mirror], span(destination.bandwidth.as_ref())),
            ("repository", &[kopia], span(destination.repository.as_ref())),
            ("options", &[kopia], table(destination.options.as_ref())),
            ("config_file", &[kopia], span(destination.config_file.as_ref())),
            ("password", &[kopia], span(destination.password.as_ref())),
            ("program", &[mirror, kopia], span(destination.program.as_ref())),
            ("transfers", &[mirror, kopia], span(destination.transfers.as_ref())),
            ("stall_timeout", &[mirror, kopia], span(destination.stall_timeout.as_ref())),
        ];
        for (key, kinds, span) in keys {
            if let Some(span) = span.filter(|_| !kinds.contains(&kind)) {
                let kinds = |between: &str, quote: char| {
                    kinds.iter().map(|kind| format!("{quote}{kind}{quote}")).collect::<Vec<_>>().join(between)
                };
                let message = format!("`{key}` is for destinations of kind {}", kinds(" and ", '`'));
                self.wrong(span, message, format!("remove it, or set kind = {}", kinds(" or ", '"')));
            }
        }
    }

    fn cas(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
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
        Some(DestinationConfig { path: Some(path), url, failure_domain, way: Way::Cas })
    }

    fn mirror(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
        let Some(remote) = &destination.remote else {
            self.wrong(
                name.span(),
                format!("destination `{}` has no `remote`", name.get_ref()),
                "add one of rclone's, like remote = \"cloudbox:backup\", or an absolute path",
            );
            return None;
        };
        let mut options = Options::at(self.remote(remote));
        let mut secrets = BTreeMap::new();
        for (key, setting) in destination.rclone.iter().flatten() {
            self.setting(key, setting, &mut options.settings, &mut secrets);
        }
        let path = options.local_path().map(Path::to_owned).or_else(|| directory_behind(&options));
        if let (Some(_), Some((key, _))) = (options.local_path(), destination.rclone.iter().flatten().next()) {
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
        options.program = self.program(destination, "rclone");
        options.transfers = self.count(destination.transfers.as_ref(), options.transfers);
        options.checkers = self.count(destination.checkers.as_ref(), options.checkers);
        options.bandwidth = destination.bandwidth.as_ref().map(|limit| limit.get_ref().clone());
        options.stall = self.stall(destination);
        let failure_domain = destination.failure_domain.as_ref().map(|label| label.get_ref().clone());
        let url = options.remote.clone();
        let password = destination.index_password.as_ref();
        let index_password = password.and_then(|secret| self.secret(secret.get_ref(), secret.span()));
        let way = Way::Mirror(MirrorConfig { options, secrets, index_password });
        Some(DestinationConfig { path, url, failure_domain, way })
    }

    fn kopia(&mut self, name: &Spanned<String>, destination: &file::Destination) -> Option<DestinationConfig> {
        let place = match (&destination.repository, &destination.config_file) {
            (Some(repository), None) => self.storage(repository, destination.options.as_ref())?,
            (None, Some(file)) if destination.options.is_none() => KopiaPlace::ConfigFile(self.path(file, "kopia's configuration")),
            _ => {
                let message = format!("destination `{}` must say where its repository is, in one way", name.get_ref());
                let fix = "add repository = \"filesystem\" and options = { path = \"/mnt/backup/kopia\" }, or config_file = \"…\"";
                self.wrong(name.span(), message, fix);
                return None;
            }
        };
        let Some(password) = &destination.password else {
            let message = format!("destination `{}` has no `password`", name.get_ref());
            self.wrong(name.span(), message, "add one, like password = { env = \"KOPIA_PASSWORD\" }");
            return None;
        };
        let password = self.secret(password.get_ref(), password.span())?;
        let program = self.program(destination, "kopia");
        let parallel = self.count(destination.transfers.as_ref(), PARALLEL);
        let stall = self.stall(destination);
        let failure_domain = destination.failure_domain.as_ref().map(|label| label.get_ref().clone());
        let (path, url) = match &place {
            // With its secrets, it is checked again when it is reached.
            KopiaPlace::Storage { repository, options, secrets } => {
                let placeholders = secrets.keys().map(|name| (name.clone(), OsString::from("0")));
                let all = options.clone().into_iter().chain(placeholders).collect();
                match Storage::new(repository, all) {
                    // A directory that is a secret itself is known only where it is reached.
                    Ok(storage) => (storage.local_path().filter(|_| !secrets.contains_key("path")), storage.address()),
                    Err(error) => {
                        self.wrong(name.span(), error.to_string(), "`kopia repository create --help` tells what each option means");
                        return None;
                    }
                }
            }
            KopiaPlace::ConfigFile(file) => {
                let storage = Storage::of_file(file.clone());
                (storage.local_path(), storage.address())
            }
        };
        let way = Way::Kopia(KopiaConfig { place, password, program, parallel, stall });
        Some(DestinationConfig { path, url, failure_domain, way })
    }

    /// A storage of kopia's with its options; `~` in the path of a local one is the home directory.
    fn storage(
        &mut self,
        repository: &Spanned<String>,
        written: Option<&BTreeMap<Spanned<String>, Spanned<file::Setting>>>,
    ) -> Option<KopiaPlace> {
        let (mut options, mut secrets) = (BTreeMap::new(), BTreeMap::new());
        for (key, setting) in written.into_iter().flatten() {
            self.setting(key, setting, &mut options, &mut secrets);
        }
        if repository.get_ref() == "filesystem"
            && let Some(path) = options.get_mut("path")
            && let Some(text) = path.to_str()
        {
            *path = self.path(&Spanned::new(repository.span(), text.to_owned()), "a repository").into_os_string();
        }
        Some(KopiaPlace::Storage { repository: repository.get_ref().clone(), options, secrets })
    }

    fn program(&mut self, destination: &file::Destination, usual: &str) -> PathBuf {
        match &destination.program {
            Some(program) if program.get_ref().contains('/') => self.path(program, usual),
            Some(program) => program.get_ref().into(),
            None => usual.into(),
        }
    }

    fn count(&mut self, count: Option<&Spanned<usize>>, usual: usize) -> usize {
        match count {
            Some(count) if (1..=256).contains(count.get_ref()) => *count.get_ref(),
            Some(count) => {
                self.wrong(count.span(), "so many at a time cannot be", "use a number from 1 to 256");
                usual
            }
            None => usual,
        }
    }

    fn stall(&mut self, destination: &file::Destination) -> Duration {
        let stall = self.age(destination.stall_timeout.as_ref(), STALL_TIMEOUT);
        Duration::from_millis(stall.ms.max(1).unsigned_abs())
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
        options: &mut BTreeMap<String, OsString>,
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
        options.insert(name, text.into());
    }

    fn secret(&mut self, secret: &file::Secret, span: std::ops::Range<usize>) -> Option<Secret> {
        match (&secret.env, &secret.file, &secret.command) {
            (Some(variable), None, None) => {
                if std::env::var_os(variable).is_none() {
                    self.wrong(span, format!("the variable `{variable}` is not set"), "set it where lastcopy is started");
                }
                Some(Secret::Env(variable.clone()))
            }
            (None, Some(file), None) => Some(Secret::File(self.path(&Spanned::new(span, file.clone()), "a secret"))),
            (None, None, Some(command)) if !command.is_empty() => Some(Secret::Command(command.clone())),
            _ => {
                let fix = "write { env = \"NAME\" }, { file = \"/path\" } or { command = [\"pass\", \"show\", \"…\"] }";
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
