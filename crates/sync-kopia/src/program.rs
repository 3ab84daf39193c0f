//! Running kopia: one command at a time, watched, and ended with whoever started it.

use crate::options::Options;
use crate::session::lock;
use lastcopy_fs::{Cancel, Progress};
use lastcopy_program::{Process, Started, environment};
use lastcopy_sync::{Context, DestinationError};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two looks whether it goes on.
const LOOK: Duration = Duration::from_millis(100);
/// Between two words to a person how far it is.
const TELL: Duration = Duration::from_secs(60);
/// The longest answer that is read.
const LONGEST: u64 = 256 << 20;

/// Variables of our environment that kopia gets: where things are, and what its storages read their secrets from. Everything that would
/// change what it does is left out, and so is all that begins with its own name. Of rclone's, which kopia starts for some storages, only
/// where its remotes are: any other one is an option of that.
const KEPT: [&str; 15] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TMPDIR",
    "SSH_AUTH_SOCK",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "B2_KEY",
    "RCLONE_CONFIG",
    "RCLONE_PASSWORD_COMMAND",
];
const KEPT_PREFIXES: [&str; 4] = ["AWS_", "AZURE_", "GOOGLE_", "RCLONE_CONFIG_"];

/// The oldest release that does what is needed; builds that name none are judged by what they can do.
const OLDEST: (u32, u32) = (0, 20);
/// Where it is to be had.
const HOME: &str = "https://kopia.io/docs/installation";

/// A command without which nothing here works, with the options that it needs, asked for its help. Builds that name no version are told by them.
const NEEDED: [&[&str]; 4] = [
    &[
        "snapshot",
        "create",
        "--override-source=a@b:/c",
        "--pin=a",
        "--tags=a:b",
        "--description=a",
        "--stdin-file=a",
        "--force-hash=1",
        "--parallel=1",
        "--checkpoint-interval=5m",
        "--no-send-snapshot-report",
        "--help",
    ],
    &[
        "server",
        "start",
        "--shutdown-on-stdin",
        "--insecure",
        "--no-grpc",
        "--no-control-api",
        "--no-persistent-logs",
        "--disable-csrf-token-checks",
        "--async-repo-connect",
        "--help",
    ],
    &["repository", "connect", "from-config", "--token-stdin", "--readonly", "--disable-repository-format-cache", "--help"],
    &["policy", "set", "--inherit=false", "--one-file-system=true", "--ignore-cache-dirs=false", "--add-ignore=a", "--help"],
];

/// What a command reads.
pub(crate) enum Input {
    Nothing,
    /// The file itself: whoever is killed leaves no half of it behind.
    File(File),
}

impl Input {
    /// Bytes in a file that nobody else can open by a name.
    pub(crate) fn bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(Self::File(file))
    }
}

/// A command that ended.
pub(crate) struct Finished {
    /// Its exit status was 0: necessary where it wrote, never sufficient.
    pub(crate) ok: bool,
    /// What it wrote to its stdout.
    pub(crate) stdout: Vec<u8>,
    /// Its last words.
    pub(crate) words: String,
}

impl Finished {
    /// The same, if it says that all went well.
    pub(crate) fn well(self, address: &str) -> Result<Self, DestinationError> {
        if self.ok { Ok(self) } else { Err(meaning(address, &self.words)) }
    }
}

/// How a command is watched.
#[derive(Clone, Default)]
pub(crate) struct Watch {
    /// Ends it, when somebody wants to stop.
    pub(crate) cancel: Option<Cancel>,
    /// Inherited, so that the run counts as running until what it started ended.
    pub(crate) keeper: Option<Arc<OwnedFd>>,
    /// Told now and then how far it is.
    pub(crate) progress: Option<Arc<dyn Progress>>,
}

impl Watch {
    /// As a context says.
    pub(crate) fn of(context: &Context) -> Self {
        Self { cancel: Some(context.cancel.clone()), keeper: context.keeper.clone(), progress: Some(context.progress.clone()) }
    }
}

/// A command of kopia's, with the environment that it gets.
pub(crate) fn command(options: &Options) -> Command {
    let mut command = Command::new(&options.program);
    command.env_clear();
    command.envs(environment(&KEPT, &KEPT_PREFIXES));
    command.env("KOPIA_PASSWORD", &options.password);
    command.env("KOPIA_CHECK_FOR_UPDATES", "false").env("KOPIA_PERSIST_CREDENTIALS_ON_CONNECT", "false");
    // Each command would leave a log among the blobs.
    command.env("KOPIA_DISABLE_REPOSITORY_LOG", "true");
    // With a cache on this machine, rclone would give back what it was given, whatever became of it there.
    command.env("RCLONE_VFS_CACHE_MODE", "off");
    command.current_dir("/");
    command
}

/// Whether there is a kopia that can do what is needed; its version, as it says.
pub(crate) fn probe(options: &Options) -> Result<String, DestinationError> {
    let ask = |words: &'static [&'static str]| {
        let mut command = command(options);
        command.args(words);
        run(options, command, Input::Nothing, &Watch::default())
    };
    // Each takes some milliseconds to start, and none of them waits for another.
    let (answers, version) = std::thread::scope(|scope| {
        let asking = NEEDED.map(|needed| scope.spawn(move || (needed, ask(needed))));
        let version = ask(&["--version"]);
        let answers = asking.map(|asked| asked.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked)));
        (answers, version)
    });
    for (needed, answer) in answers {
        let answer = answer?;
        if !answer.ok {
            let (what, program) = (needed[..2].join(" "), options.program.display());
            let reason = format!("`{program} {what}` cannot do what is needed: {}; kopia 0.20 or newer can: {HOME}", answer.words);
            return Err(DestinationError::ToolTooOld(reason));
        }
    }
    let answer = version?;
    let said = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    let said = if said.is_empty() { answer.words } else { said };
    if release(&said).is_some_and(|release| release < OLDEST) {
        let (program, (major, minor)) = (options.program.display(), OLDEST);
        return Err(DestinationError::ToolTooOld(format!(
            "`{program}` is kopia {said}; {major}.{minor} or newer is needed: {HOME}"
        )));
    }
    Ok(said)
}

/// Major and minor number of a release, by what `--version` says; nothing, if it is a build of somebody's own.
pub(crate) fn release(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.split_whitespace().next()?.trim_start_matches('v').split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Runs a command to its end. Blocks.
pub(crate) fn run(options: &Options, mut command: Command, input: Input, watch: &Watch) -> Result<Finished, DestinationError> {
    let failed = |source| DestinationError::Io { address: "a temporary file".into(), source };
    let mut stdout = tempfile::tempfile().map_err(failed)?;
    command.stdout(stdout.try_clone().map_err(failed)?).stderr(Stdio::piped());
    command.stdin(match input {
        Input::Nothing => Stdio::null(),
        Input::File(file) => file.into(),
    });
    let far = Arc::new(Mutex::new(String::new()));
    let heard = far.clone();
    let words = move |line: String| match how_far(&line) {
        Some(how_far) => {
            how_far.clone_into(&mut lock(&heard));
            None
        }
        None => words(line),
    };
    let Started { process, .. } =
        Process::start(command, words, watch.keeper.clone()).map_err(|error| not_started(&options.program, &error))?;
    let mut told = Instant::now();
    let status = loop {
        if let Some(status) = process.wait(LOOK) {
            break status;
        }
        if let Some(cancel) = &watch.cancel {
            cancel.check()?;
        }
        if let Some(progress) = watch.progress.as_ref().filter(|_| told.elapsed() > TELL) {
            told = Instant::now();
            let far = std::mem::take(&mut *lock(&far));
            if !far.is_empty() {
                progress.note(&format!("kopia stores: {far}"));
            }
        }
        if process.silent_for() > options.stall {
            let reason =
                format!("kopia gave no sign of life for {} s, and was ended: {}", options.stall.as_secs(), process.last_words());
            return Err(DestinationError::Unreachable { address: options.storage.address(), reason });
        }
    };
    let mut bytes = Vec::new();
    stdout.rewind().and_then(|()| stdout.take(LONGEST).read_to_end(&mut bytes)).map_err(failed)?;
    Ok(Finished { ok: status.is_some_and(|status| status.success()), stdout: bytes, words: process.last_words() })
}

/// A line of its log, without those that only tell how far it is.
pub(crate) fn words(line: String) -> Option<String> {
    how_far(&line).is_none().then(|| line.trim().to_owned())
}

/// How far it is, in a line that tells only that.
fn how_far(line: &str) -> Option<&str> {
    let tells = line.contains(" hashed (") || line.contains(" hashing, ");
    // Before it, something turns round.
    tells.then(|| line.trim_start_matches(|letter: char| !letter.is_ascii_digit()).trim_end())
}

pub(crate) fn not_started(program: &Path, error: &io::Error) -> DestinationError {
    let why = if error.kind() == io::ErrorKind::NotFound { "is not installed".into() } else { format!("does not start: {error}") };
    DestinationError::ToolMissing(format!(
        "`{}` {why}; destinations of kind `kopia` need kopia 0.20 or newer: {HOME}",
        program.display()
    ))
}

/// What its last words mean for the destination as a whole.
pub(crate) fn meaning(address: &str, words: &str) -> DestinationError {
    let (address, lower) = (address.to_owned(), words.to_ascii_lowercase());
    let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    if says(&["no space left", "quota exceeded", "disk full"]) {
        DestinationError::Full { address }
    } else if says(&[WRONG_PASSWORD]) {
        DestinationError::Auth { address, reason: "the password is not the one of this repository".into() }
    } else if says(&["permission denied", "access denied", "forbidden", "unauthorized", "unable to authenticate"]) {
        DestinationError::Auth { address, reason: words.to_owned() }
    } else {
        DestinationError::Unreachable { address, reason: words.to_owned() }
    }
}

/// What it says where the repository is there, and the password is another one.
pub(crate) const WRONG_PASSWORD: &str = "invalid repository password";

/// An argument `--name=value`.
pub(crate) fn flag(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_have_a_meaning() {
        assert!(matches!(meaning("x", "write p1: no space left on device"), DestinationError::Full { .. }));
        assert!(matches!(
            meaning("x", "unable to create format manager: invalid repository password"),
            DestinationError::Auth { .. }
        ));
        assert!(matches!(meaning("x", "open /r: permission denied"), DestinationError::Auth { .. }));
        assert!(matches!(meaning("x", "dial tcp: connection refused"), DestinationError::Unreachable { .. }));
    }

    #[test]
    fn rclone_is_told_where_its_remotes_are_and_nothing_else() {
        let kept = |name: &str| KEPT.contains(&name) || KEPT_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        for name in ["RCLONE_CONFIG", "RCLONE_CONFIG_PASS", "RCLONE_CONFIG_BOX_TYPE", "RCLONE_PASSWORD_COMMAND"] {
            assert!(kept(name), "{name}");
        }
        for name in ["RCLONE_VFS_CACHE_MODE", "RCLONE_CACHE_DIR", "RCLONE_DRY_RUN", "RCLONE_INCLUDE"] {
            assert!(!kept(name), "{name}");
        }
        let command = command(&Options::at(crate::Storage::of_file("/x".into()), "x"));
        let told: Vec<_> = command.get_envs().filter(|(name, _)| *name == "RCLONE_VFS_CACHE_MODE").collect();
        assert_eq!(told, [("RCLONE_VFS_CACHE_MODE".as_ref(), Some("off".as_ref()))]);
    }

    #[test]
    fn how_far_it_is_is_no_last_word() {
        let line = " | 1 hashing, 0 hashed (0 B), 0 cached (0 B), uploaded 186 B, estimating...";
        assert_eq!(words(line.into()), None);
        assert_eq!(how_far(line), Some("1 hashing, 0 hashed (0 B), 0 cached (0 B), uploaded 186 B, estimating..."));
        assert_eq!(how_far("flush error"), None);
        assert_eq!(words("  flush error ".into()), Some("flush error".into()));
    }
}
