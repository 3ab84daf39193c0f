//! A home for the program under test: directories, environment, configuration, and its command lines run in it.

use anyhow::{Context, Result, bail, ensure};
use lastcopy_scene::node::{Kind, alone, configuration};
use lastcopy_stepper::{Ended, Plan, Report};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The destinations. The offload policy requires both.
pub(crate) const DESTINATIONS: [&str; 2] = ["usb", "nas"];

// What was done before a workload begins.
pub(crate) const INDEXED: &[&str] = &["volume add photos {root}/photos", "destination init usb", "destination init nas", "index"];
pub(crate) const PUSHED: &[&str] =
    &["volume add photos {root}/photos", "destination init usb", "destination init nas", "index", "sync"];
pub(crate) const BACKED_UP: &[&str] = &[
    "volume add photos {root}/photos",
    "destination init usb",
    "destination init nas",
    "index",
    "sync",
    "db backup {root}/backup.db",
];
pub(crate) const OFFLOADED: &[&str] = &[
    "volume add photos {root}/photos",
    "destination init usb",
    "destination init nas",
    "index",
    "sync",
    "offload photos . --yes",
    "sync",
];

/// Directories that are everything to the program. What it counts on, index and destinations, may lie on another file system than the
/// volume.
#[derive(Debug, Clone)]
pub(crate) struct Home {
    root: PathBuf,
    apart: PathBuf,
    binary: PathBuf,
    /// rclone, where the second destination is a mirror.
    rclone: Option<PathBuf>,
}

impl Home {
    /// A home in two directories that exist, which may be the same one, by the paths that the kernel shows.
    pub(crate) fn new(root: &Path, apart: &Path, binary: &Path) -> Result<Self> {
        Ok(Self { root: root.canonicalize()?, apart: apart.canonicalize()?, binary: binary.to_owned(), rclone: None })
    }

    /// The same, where the second destination is a mirror that this rclone writes.
    pub(crate) fn with_mirror(self, rclone: &Path) -> Self {
        Self { rclone: Some(rclone.to_owned()), ..self }
    }

    /// The directory of the mirror, if there is one.
    pub(crate) fn mirror(&self) -> Option<PathBuf> {
        self.rclone.as_ref().map(|_| self.destinations().join(DESTINATIONS[1]))
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.root.join("photos")
    }

    /// The volume's own directory.
    pub(crate) fn own(&self) -> PathBuf {
        self.volume().join(".lastcopy")
    }

    /// Where the index and what goes with it lie: the program makes all of these directories.
    pub(crate) fn data(&self) -> PathBuf {
        self.apart.join("share")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.data().join("lastcopy/index.db")
    }

    pub(crate) fn destinations(&self) -> PathBuf {
        self.apart.join("destinations")
    }

    /// Makes the directories that a person would make, and a configuration with these further lines for the offload policy.
    pub(crate) fn make(&self, policy: &str) -> Result<()> {
        for dir in [self.volume(), self.destinations(), self.root.join("tmp")] {
            fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        let second = self.rclone.as_ref().map_or(Kind::Store, |program| Kind::Mirror { program });
        let [first, last] = DESTINATIONS.map(|name| self.destinations().join(name));
        let both = [(DESTINATIONS[0], first.as_path(), Kind::Store), (DESTINATIONS[1], last.as_path(), second)];
        fs::write(self.config(), configuration(&self.volume(), &both, policy)).context("the configuration cannot be written")
    }

    fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// The program with the words of a line, not started yet, with nothing of the surroundings. `{root}`, `{data}`, `{destinations}` and `{aside}`
    /// (the one run that has files aside) stand for themselves.
    fn command(&self, line: &str) -> Result<Command> {
        let aside = if line.contains("{aside}") { self.aside()? } else { String::new() };
        let [root, data, destinations] = [&self.root, &self.data(), &self.destinations()].map(|dir| dir.display().to_string());
        let fill = |word: &str| {
            word.replace("{root}", &root)
                .replace("{data}", &data)
                .replace("{destinations}", &destinations)
                .replace("{aside}", &aside)
        };
        let temporary = self.root.join("tmp");
        let mut command = alone(&self.binary, &self.root, &temporary);
        command.args(line.split_whitespace().map(fill)).current_dir("/").env("LASTCOPY_CONFIG", self.config());
        command.env("XDG_DATA_HOME", self.data()).env("XDG_STATE_HOME", self.data()).env("XDG_CACHE_HOME", temporary);
        Ok(command)
    }

    /// Whether some run has files aside.
    pub(crate) fn has_aside(&self) -> bool {
        fs::read_dir(self.own().join("offload")).is_ok_and(|mut runs| runs.next().is_some())
    }

    fn aside(&self) -> Result<String> {
        let area = self.own().join("offload");
        let mut runs = fs::read_dir(&area).with_context(|| area.display().to_string())?.map(|entry| Ok(entry?.file_name()));
        match (runs.next(), runs.next()) {
            (Some(run), None) => run.and_then(|run| run.into_string().map_err(|_| anyhow::anyhow!("odd name"))),
            _ => bail!("not one run has files aside"),
        }
    }

    /// Runs a line undisturbed. It must end with one of these statuses.
    pub(crate) fn run(&self, line: &str, exits: &[i32]) -> Result<()> {
        let output = self.command(line)?.output().context("the program cannot be started")?;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let well = output.status.code().is_some_and(|code| exits.contains(&code));
        ensure!(well, "`{line}` ended with {}, not {exits:?}: {}", output.status, said.trim());
        Ok(())
    }

    /// Copies the objects of the second destination to the first one, under the stepper, as a person does. Where the second one is a mirror,
    /// the volume's files to that one.
    pub(crate) fn copy_objects(&self) -> Result<Report> {
        let [to, from] = match self.mirror() {
            Some(mirror) => [mirror.join("photos/d0"), self.volume().join("d0")],
            None => DESTINATIONS.map(|name| self.destinations().join(name).join("objects")),
        };
        let mut command = Command::new("cp");
        command.arg("-r").arg("--").arg(from).arg(to).stdin(Stdio::null());
        let report = lastcopy_stepper::run(command, Plan::Count)?;
        ensure!(report.ended == Ended::Exited(0), "`cp` ended with {:?}", report.ended);
        Ok(report)
    }

    /// Runs a line under the stepper.
    pub(crate) fn step(&self, line: &str, plan: Plan) -> Result<Report> {
        Ok(lastcopy_stepper::run(self.command(line)?, plan)?)
    }
}
