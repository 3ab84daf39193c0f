//! One rclone process: started when it is needed first, asked over a socket in a directory of our own, ended with whoever started it.

use crate::rc::{Rc, RcError};
use crate::wire::said;
use lastcopy_program::{Http, PrivateDir, Process, environment};
use lastcopy_sync::DestinationError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The oldest rclone whose behaviour is known.
const OLDEST: (u64, u64) = (1, 75);
/// How long it may take to start.
const START: Duration = Duration::from_secs(60);
/// Between two looks whether it has started.
const LOOK: Duration = Duration::from_millis(10);

/// Variables of our environment that rclone gets: where things are, and what its backends read their secrets from. Everything that would
/// change what it does is left out.
const KEPT: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "RCLONE_CONFIG_PASS",
    "RCLONE_PASSWORD_COMMAND",
    "SSL_CERT_FILE",
];
const KEPT_PREFIXES: [&str; 6] = ["RCLONE_CONFIG_", "AWS_", "AZURE_", "GOOGLE_", "OS_", "ST_"];

/// The remote that encrypts heads and segments, by rclone's name. Without a dash: shells drop variables that have one.
pub(crate) const INDEX_REMOTE: &str = "lastcopyindex";

/// How what is stored is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// The best that the place allows: its own BLAKE3, else another checksum of its own, else reading back. A local directory is
    /// always read back.
    #[default]
    Auto,
    /// By the BLAKE3 that the far side computes when it is asked.
    RemoteHash,
    /// By another checksum that the provider computes of what it stores; what has none is read back.
    Fingerprint,
    /// By reading every byte back.
    ReadBack,
    /// Not at all: what is there can never open the offload gate.
    None,
}

/// Where a mirror is, and how rclone gets there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// As rclone writes it: a remote of its configuration with a path in it, like `cloudbox:backup`, or an absolute local path.
    pub remote: String,
    /// Options of that remote, by rclone's names, instead of those in rclone's configuration. They are passed by environment.
    pub settings: BTreeMap<String, OsString>,
    /// What heads and segments are encrypted with, by rclone's `crypt`; without it they are plain. A mirror stays as it was initialised.
    pub index_password: Option<OsString>,
    /// The rclone program.
    pub program: PathBuf,
    /// How to verify.
    pub verify: Verify,
    /// Files that are sent, or read back, at a time.
    pub transfers: usize,
    /// Files that are asked after at a time.
    pub checkers: usize,
    /// As rclone's `--bwlimit` takes it.
    pub bandwidth: Option<String>,
    /// Without any progress for so long, rclone is ended.
    pub stall: Duration,
}

impl Options {
    /// Everything at its default, at a place.
    pub fn at(remote: impl Into<String>) -> Self {
        Self {
            remote: remote.into(),
            settings: BTreeMap::new(),
            index_password: None,
            program: "rclone".into(),
            verify: Verify::Auto,
            transfers: 8,
            checkers: 16,
            bandwidth: None,
            stall: Duration::from_secs(300),
        }
    }

    fn remote_name(&self) -> &str {
        self.remote.split(':').next().unwrap_or_default()
    }

    /// A setting of a remote of this name, if it is given here.
    pub(crate) fn setting(&self, remote: &str, setting: &str) -> Option<OsString> {
        let is_it = |name: &String| name.eq_ignore_ascii_case(setting);
        let of_this = self.remote_name() == remote;
        self.settings.iter().find(|(name, _)| of_this && is_it(name)).map(|(_, value)| value.clone())
    }

    /// The directory, if the place is a local path.
    pub fn local_path(&self) -> Option<&Path> {
        let path = Path::new(&self.remote);
        path.is_absolute().then_some(path)
    }
}

/// An rclone program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its version, as it says.
    pub version: String,
}

/// A running rclone.
pub(crate) struct Daemon {
    pub(crate) rc: Rc,
    pub(crate) program: Program,
    process: Process,
    /// The socket and the copy of the configuration; gone with the process.
    private: PrivateDir,
}

impl Daemon {
    /// Starts it. Blocks until it answers.
    pub(crate) fn start(options: &Options, runtime: &tokio::runtime::Handle) -> Result<Self, DestinationError> {
        let failed = |reason: String| DestinationError::Unreachable { address: options.remote.clone(), reason };
        let private =
            PrivateDir::new("lastcopy-rclone-").map_err(|error| failed(format!("no directory for rclone's socket: {error}")))?;
        let socket = private.path().join("rc");
        let command = command(options, private.path(), &socket)?;
        let started = Process::start(command, |line| Some(said(line)), None);
        let process = started.map_err(|error| not_started(&options.program, &error))?.process;
        let rc =
            Http { program: "rclone", socket, authorization: None, runtime: runtime.clone(), patience: options.stall, idle: None };
        // From here on, dropping it ends the process.
        let mut daemon = Self { rc: Rc(rc), program: Program { version: String::new() }, process, private };
        let begun = Instant::now();
        // The socket is there a moment before anybody listens on it.
        let answer = loop {
            match daemon.rc.call("core/version", &Value::Null) {
                Ok(answer) => break answer,
                Err(RcError::Silent(_)) if !daemon.has_ended() && begun.elapsed() < START => std::thread::sleep(LOOK),
                Err(error) => return Err(failed(format!("rclone did not start: {error}: {}", daemon.last_words()))),
            }
        };
        daemon.program = recent_enough(&answer)?;
        Ok(daemon)
    }

    /// A directory that nobody else can look into.
    pub(crate) fn private(&self) -> &Path {
        self.private.path()
    }

    /// Whether the process is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// The last lines of its log.
    pub(crate) fn last_words(&self) -> String {
        self.process.last_words()
    }

    /// Ends it with all that it started.
    pub(crate) fn end(&self) {
        self.process.end();
    }
}

fn not_started(program: &Path, error: &io::Error) -> DestinationError {
    let why = if error.kind() == io::ErrorKind::NotFound { "is not installed".into() } else { format!("does not start: {error}") };
    DestinationError::ToolMissing(format!(
        "`{}` {why}; destinations of kind `mirror` need rclone {}.{} or newer: https://rclone.org/install",
        program.display(),
        OLDEST.0,
        OLDEST.1
    ))
}

fn recent_enough(answer: &Value) -> Result<Program, DestinationError> {
    let version = answer["version"].as_str().unwrap_or_default().to_owned();
    let mut numbers = answer["decomposed"].as_array().into_iter().flatten().filter_map(Value::as_u64);
    if (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST {
        return Err(DestinationError::ToolTooOld(format!(
            "rclone {version} is too old: {}.{} or newer is needed; older ones have known holes: https://rclone.org/install",
            OLDEST.0, OLDEST.1
        )));
    }
    Ok(Program { version })
}

fn command(options: &Options, private: &Path, socket: &Path) -> Result<Command, DestinationError> {
    let failed = |error: io::Error| DestinationError::Unreachable { address: options.remote.clone(), reason: error.to_string() };
    let mut command = Command::new(&options.program);
    command.arg("rcd").arg("--rc-addr").arg(socket_url(socket)).args(["--rc-no-auth", "--rc-serve"]);
    command.args(["--use-json-log", "--log-level", "NOTICE", "--retries", "1", "--contimeout", "1m", "--timeout", "5m"]);
    // Nobody sits before it: an encrypted configuration is opened by a variable, or said not to be.
    command.args(["--stats", "0", "--ask-password=false"]);
    // It keeps what each call was asked and answered for a minute, in case somebody looks: half a gigabyte of small files.
    command.args(["--rc-job-expire-duration", "1s", "--rc-job-expire-interval", "1s"]);
    if let Some(limit) = &options.bandwidth {
        command.arg("--bwlimit").arg(limit);
    }
    command.arg("--config").arg(configuration(private).map_err(failed)?);
    command.env_clear();
    command.envs(environment(&KEPT, &KEPT_PREFIXES));
    command.envs(remote_settings(options));
    if let Some(password) = &options.index_password {
        command.env(variable(INDEX_REMOTE, "type"), "crypt");
        let asked = obscuring(&options.program).map_err(|error| not_started(&options.program, &error))?;
        command.env(variable(INDEX_REMOTE, "password"), obscured(asked, password).map_err(failed)?);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    Ok(command)
}

/// An rclone that waits for a password to obscure. That goes through a pipe: arguments are for everybody to read.
fn obscuring(program: &Path) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(["obscure", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()
}

/// A password as rclone wants to be given one.
fn obscured(mut child: Child, password: &OsStr) -> io::Result<OsString> {
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(password.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("`rclone obscure` ended with {}", output.status)));
    }
    Ok(OsString::from_vec(output.stdout.trim_ascii_end().to_vec()))
}

fn socket_url(socket: &Path) -> OsString {
    let mut url = OsString::from("unix://");
    url.push(socket);
    url
}

/// rclone writes what it learns about a server into its configuration, and `none` for a hash is for good. So it gets a copy; a person's
/// own is only read.
fn configuration(private: &Path) -> io::Result<PathBuf> {
    let copy = private.join("rclone.conf");
    let text = own_configuration().map_or(Ok(Vec::new()), std::fs::read)?;
    std::fs::write(&copy, text)?;
    Ok(copy)
}

/// The configuration of rclone's own that a mirror's remote is looked for in, if there is one.
pub fn own_configuration() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let xdg = std::env::var_os("XDG_CONFIG_HOME").map_or_else(|| home.join(".config"), PathBuf::from);
    let named = std::env::var_os("RCLONE_CONFIG").map(PathBuf::from);
    let places = named.into_iter().chain([xdg.join("rclone/rclone.conf"), home.join(".rclone.conf")]);
    places.into_iter().find(|place| place.is_file())
}

/// The options of the remote, by the names that rclone's environment has for them.
fn remote_settings(options: &Options) -> impl Iterator<Item = (OsString, OsString)> {
    options.settings.iter().map(|(name, value)| (variable(options.remote_name(), name).into(), value.clone()))
}

/// The variable in which rclone looks for an option of a remote. A remote's name keeps its dashes, an option's does not.
pub(crate) fn variable(remote: &str, option: &str) -> String {
    format!("RCLONE_CONFIG_{}_{}", remote.to_uppercase(), option.to_uppercase().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As rclone 1.75.2 reads them.
    #[test]
    fn dashes_are_kept_in_names_of_remotes_alone() {
        assert_eq!(variable("my-box", "key-file"), "RCLONE_CONFIG_MY-BOX_KEY_FILE");
    }
}
