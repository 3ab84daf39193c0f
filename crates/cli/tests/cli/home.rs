//! A home of its own for every test: directories, environment, configuration, and the program run in it.

use crate::ran::{Background, Json, Ran};
use crate::tree;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A temporary directory that is HOME and everything else to the program: nothing of the person's is read or written.
pub(crate) struct Home {
    root: PathBuf,
    _temporary: tempfile::TempDir,
}

/// A configuration: volumes below `volumes/`, destinations of kind `cas` below `destinations/`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Setup {
    volumes: BTreeMap<String, VolumeSetup>,
    destinations: BTreeMap<String, DestinationSetup>,
}

#[derive(Debug, Clone, Default)]
struct VolumeSetup {
    path: Option<PathBuf>,
    sync_to: Vec<String>,
    /// More lines of its section.
    lines: String,
    /// The lines of its offload policy.
    policy: Option<String>,
}

#[derive(Debug, Clone, Default)]
struct DestinationSetup {
    path: Option<PathBuf>,
    /// More lines of its section.
    lines: String,
}

impl Setup {
    /// Volume `photos`, pushed to destination `usb`, whose word an offload needs.
    pub(crate) fn usual() -> Self {
        Self::default().destination("usb").volume("photos", &["usb"]).policy("photos", "require = [\"usb\"]")
    }

    /// Volume `photos`, pushed to destinations `usb` and `nas`; an offload needs the word of both.
    pub(crate) fn two_destinations() -> Self {
        Self::usual().destination("nas").volume("photos", &["usb", "nas"]).policy("photos", "require = [\"usb\", \"nas\"]")
    }

    /// A volume; a second time, with other destinations.
    pub(crate) fn volume(mut self, name: &str, sync_to: &[&str]) -> Self {
        self.volumes.entry(name.to_owned()).or_default().sync_to = sync_to.iter().map(|&name| name.to_owned()).collect();
        self
    }

    /// Another path for a volume.
    pub(crate) fn volume_at(mut self, name: &str, path: &Path) -> Self {
        self.volumes.entry(name.to_owned()).or_default().path = Some(path.to_owned());
        self
    }

    /// More lines for a volume's section, as TOML.
    pub(crate) fn volume_lines(mut self, name: &str, lines: &str) -> Self {
        self.volumes.entry(name.to_owned()).or_default().lines = lines.to_owned();
        self
    }

    /// The lines of a volume's offload policy, as TOML, in place of those it had.
    pub(crate) fn policy(mut self, volume: &str, lines: &str) -> Self {
        self.volumes.entry(volume.to_owned()).or_default().policy = Some(lines.to_owned());
        self
    }

    /// A volume without an offload policy.
    pub(crate) fn no_policy(mut self, volume: &str) -> Self {
        self.volumes.entry(volume.to_owned()).or_default().policy = None;
        self
    }

    /// A destination.
    pub(crate) fn destination(mut self, name: &str) -> Self {
        self.destinations.entry(name.to_owned()).or_default();
        self
    }

    /// Another path for a destination.
    pub(crate) fn destination_at(mut self, name: &str, path: &Path) -> Self {
        self.destinations.entry(name.to_owned()).or_default().path = Some(path.to_owned());
        self
    }

    /// More lines for a destination's section, as TOML.
    pub(crate) fn destination_lines(mut self, name: &str, lines: &str) -> Self {
        self.destinations.entry(name.to_owned()).or_default().lines = lines.to_owned();
        self
    }

    fn render(&self, home: &Home) -> String {
        let mut text = String::from("[node]\nname = \"node\"\n");
        for (name, volume) in &self.volumes {
            let path = volume.path.clone().unwrap_or_else(|| home.volume(name));
            write!(text, "\n[volumes.{name}]\npath = {path:?}\nsync_to = {:?}\n{}\n", volume.sync_to, volume.lines).unwrap();
            if let Some(policy) = &volume.policy {
                write!(text, "[volumes.{name}.offload]\n{policy}\n").unwrap();
            }
        }
        for (name, destination) in &self.destinations {
            let path = destination.path.clone().unwrap_or_else(|| home.destination(name));
            let url = format!("file://{}", path.display());
            write!(text, "\n[destinations.{name}]\nkind = \"cas\"\nurl = {url:?}\n{}\n", destination.lines).unwrap();
        }
        text
    }
}

/// A directory for homes, on a filesystem from which files may be offloaded.
fn base() -> PathBuf {
    let candidates = [PathBuf::from(env!("CARGO_TARGET_TMPDIR")), std::env::temp_dir(), PathBuf::from("/dev/shm")];
    let trusted =
        |path: &PathBuf| File::open(path).is_ok_and(|dir| lastcopy_fs::filesystem_of(&dir).is_ok_and(|it| it.is_trusted()));
    candidates.into_iter().find(trusted).unwrap_or_else(|| panic!("no directory on ext4, xfs, btrfs or tmpfs for test homes"))
}

impl Home {
    /// An empty home, without even a configuration.
    pub(crate) fn empty() -> Self {
        let temporary = tempfile::Builder::new().prefix("home-").tempdir_in(base()).unwrap();
        let root = fs::canonicalize(temporary.path()).unwrap();
        for dir in ["volumes", "destinations", "tmp"] {
            fs::create_dir(root.join(dir)).unwrap();
        }
        Self { root, _temporary: temporary }
    }

    /// A home with a configuration; its volumes are added (empty, if nobody wrote into them) and its destinations initialised.
    pub(crate) fn new(setup: &Setup) -> Self {
        let home = Self::empty();
        home.configure(setup);
        for (name, volume) in &setup.volumes {
            let path = volume.path.clone().unwrap_or_else(|| home.volume(name));
            fs::create_dir_all(&path).unwrap();
            home.run(&["volume", "add", name, path.to_str().unwrap()]).expect(0);
        }
        for name in setup.destinations.keys() {
            home.run(&["destination", "init", name]).expect(0);
        }
        home
    }

    /// Writes the configuration, in place of the one that is there.
    pub(crate) fn configure(&self, setup: &Setup) {
        self.write_config(&setup.render(self));
    }

    /// Writes the configuration as text.
    pub(crate) fn write_config(&self, text: &str) {
        fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        fs::write(self.config(), text).unwrap();
    }

    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.root.join("config/lastcopy/config.toml")
    }

    /// The index.
    pub(crate) fn index(&self) -> PathBuf {
        self.root.join("data/lastcopy/index.db")
    }

    /// Something in the home.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A volume's directory.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name)
    }

    /// A destination's directory.
    pub(crate) fn destination(&self, name: &str) -> PathBuf {
        self.root.join("destinations").join(name)
    }

    /// A destination's URL.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("file://{}", self.destination(name).display())
    }

    /// Where a destination holds some bytes.
    pub(crate) fn object(&self, destination: &str, bytes: &[u8]) -> PathBuf {
        let digest = tree::digest(bytes);
        self.destination(destination).join("objects").join(&digest[..2]).join(digest)
    }

    /// Writes a file of a volume.
    pub(crate) fn write(&self, volume: &str, path: &str, bytes: &[u8]) {
        tree::write(&self.volume(volume).join(path), bytes);
    }

    /// Every file of a volume.
    pub(crate) fn tree(&self, volume: &str) -> tree::Tree {
        tree::read_tree(&self.volume(volume))
    }

    /// The program, not started yet, with nothing of the surroundings but PATH.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lastcopy"));
        command.args(arguments).env_clear().current_dir(&self.root).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", &self.root).env("TMPDIR", self.root.join("tmp")).env("LASTCOPY_CONFIG", self.config());
        for (variable, dir) in [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            command.env(format!("XDG_{variable}_HOME"), self.root.join(dir));
        }
        command.env("TZ", "UTC").env("LANG", "C.UTF-8").env("NO_COLOR", "1");
        command
    }

    /// Starts the program, and does not wait for it.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Background {
        self.spawn_at(self.command(arguments), arguments, tempfile::tempfile_in(&self.root).unwrap())
    }

    /// The same, prepared by the caller, with stderr at a file or terminal.
    pub(crate) fn spawn_at(&self, mut command: Command, arguments: &[&str], stderr: File) -> Background {
        let stdout = tempfile::tempfile_in(&self.root).unwrap();
        command.stdout(stdout.try_clone().unwrap()).stderr(stderr.try_clone().unwrap());
        let child = command.spawn().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        Background { arguments, child: Some(child), stdout, stderr }
    }

    /// Runs the program to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        self.spawn(arguments).wait()
    }

    /// Runs the program with `--json`, and checks its lines.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        self.run(&[&["--json"], arguments].concat()).into_json()
    }

    /// Recovers what a destination tells of, where `volume` says that volumes are.
    #[track_caller]
    pub(crate) fn recover(&self, url: &str, more: &[&str]) -> Json {
        let to = self.path("volumes");
        self.json(&[&["recover", "--from", url, "--to", to.to_str().unwrap(), "--yes"], more].concat())
    }

    /// Acknowledges the alarm that stands.
    #[track_caller]
    pub(crate) fn acknowledge(&self, reason: &str) {
        let alarm = self.json(&["alarms"]).expect(1).of("alarm").next().unwrap()["id"].to_string();
        self.run(&["alarms", "ack", &alarm, "--reason", reason, "--yes"]).expect(0);
    }
}
