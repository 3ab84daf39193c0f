//! A home of its own for a workload: directories, environment, configuration, and the program run in it.

use crate::repository;
use crate::workload::Second;
use crate::{ProofError, Result};
use lastcopy_scene::installed;
use lastcopy_scene::node::{Kind, alone, configuration};
use lastcopy_stepper::{Call, Plan, Report, Surroundings};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The destinations of every workload. The offload policy requires both.
pub const DESTINATIONS: [&str; 2] = ["usb", "nas"];

/// A directory that is HOME and everything else to the program.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    binary: PathBuf,
}

/// One command line, words divided by blanks, and the exit statuses that are right for it.
///
/// `{home}` is the home's directory. A line with `{aside}` is run once for each run that has files aside, with that run's number in its
/// place; if there is none, not at all.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// What follows the program's name.
    pub line: &'static str,
    /// What it may exit with.
    pub exits: &'static [i32],
}

/// A command that ended by itself.
#[derive(Debug, Clone)]
pub struct Ran {
    /// What was run.
    pub line: String,
    /// Its exit status; a signal is below zero.
    pub exit: i32,
    /// What it said, on stdout and then on stderr.
    pub said: String,
}

impl Home {
    /// A home at a path, for a built program.
    pub fn new(root: &Path, binary: &Path) -> Self {
        Self { root: root.to_owned(), binary: binary.to_owned() }
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The volume of every workload.
    pub fn volume(&self) -> PathBuf {
        self.root.join("volumes/photos")
    }

    /// A destination's directory.
    pub fn destination(&self, name: &str) -> PathBuf {
        self.root.join("destinations").join(name)
    }

    /// Where the index and what goes with it lie.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The index itself.
    pub fn index(&self) -> PathBuf {
        self.data().join("lastcopy/index.db")
    }

    /// Makes the directories and writes a configuration with these further lines for the offload policy, and with the second destination
    /// of a kind.
    pub fn make(&self, policy: &str, second: Second) -> Result<()> {
        let (config, password) = (self.config(), self.root.join("config/password"));
        let mut dirs =
            vec![self.volume(), self.root.join("destinations"), self.temporary(), self.runtime(), self.root.join("config")];
        // kopia is asked to make a repository only in a directory that is there.
        dirs.extend((second == Second::Kopia).then(|| self.destination(DESTINATIONS[1])));
        for dir in &dirs {
            fs::create_dir_all(dir).map_err(ProofError::at(dir))?;
        }
        let program = second.program().and_then(installed);
        let kind = match (second, &program) {
            (Second::Mirror, Some(program)) => Kind::Mirror { program },
            (Second::Kopia, Some(program)) => Kind::Kopia { program, password: &password },
            _ => Kind::Store,
        };
        let [first, last] = DESTINATIONS.map(|name| self.destination(name));
        let both = [(DESTINATIONS[0], first.as_path(), Kind::Store), (DESTINATIONS[1], last.as_path(), kind)];
        fs::write(&password, repository::PASSWORD).map_err(ProofError::at(&password))?;
        fs::write(&config, configuration(&self.volume(), &both, policy)).map_err(ProofError::at(&config))
    }

    /// Its configuration.
    pub fn config(&self) -> PathBuf {
        self.root.join("config/config.toml")
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Where sockets and secrets of whoever was killed stay.
    fn runtime(&self) -> PathBuf {
        self.root.join("run")
    }

    /// Whether a call is to files alone that are looked at by nobody once the program has ended.
    pub fn is_passing(&self, call: &Call) -> bool {
        let passing = [self.runtime(), self.temporary()];
        !call.targets.is_empty() && call.targets.iter().all(|target| passing.iter().any(|dir| target.path.starts_with(dir)))
    }

    /// The words of the command lines that a step stands for here, now.
    pub fn lines(&self, step: &Step) -> Result<Vec<Vec<OsString>>> {
        let root = self.root.display().to_string();
        let words = |aside: &str| -> Vec<OsString> {
            let word = |word: &str| word.replace("{home}", &root).replace("{aside}", aside).into();
            step.line.split_whitespace().map(word).collect()
        };
        if step.line.contains("{aside}") {
            return Ok(self.runs_aside()?.iter().map(|run| words(run)).collect());
        }
        Ok(vec![words("")])
    }

    /// Runs that have a directory in quarantine.
    fn runs_aside(&self) -> Result<Vec<String>> {
        let area = self.volume().join(".lastcopy/offload");
        let Ok(entries) = fs::read_dir(&area) else { return Ok(Vec::new()) };
        let mut runs = Vec::new();
        for entry in entries {
            let name = entry.map_err(ProofError::at(&area))?.file_name();
            runs.extend(name.into_string().ok());
        }
        runs.sort();
        Ok(runs)
    }

    /// The program, not started yet, with nothing of the surroundings.
    pub fn command(&self, words: &[OsString]) -> Command {
        let mut command = alone(&self.binary, &self.root, &self.temporary());
        command.args(words).current_dir(&self.root).env("LASTCOPY_CONFIG", self.config());
        for (variable, dir) in [("CONFIG", "config"), ("DATA", "data"), ("STATE", "state"), ("CACHE", "cache")] {
            command.env(format!("XDG_{variable}_HOME"), self.root.join(dir));
        }
        command.env("XDG_RUNTIME_DIR", self.runtime());
        command
    }

    /// Runs what a step stands for, undisturbed. The first command that does not end as it should is the error.
    pub fn run(&self, step: &Step) -> Result<std::result::Result<(), Ran>> {
        for words in self.lines(step)? {
            let ran = self.run_words(&words)?;
            if !step.exits.contains(&ran.exit) {
                return Ok(Err(ran));
            }
        }
        Ok(Ok(()))
    }

    /// Runs one command line, undisturbed.
    pub fn run_words(&self, words: &[OsString]) -> Result<Ran> {
        let output = self.command(words).output().map_err(ProofError::at(&self.binary))?;
        let exit =
            output.status.code().unwrap_or_else(|| -std::os::unix::process::ExitStatusExt::signal(&output.status).unwrap_or(0));
        Ok(Ran { line: line_of(words), exit, said: said(&output.stdout, &output.stderr) })
    }

    /// Runs the one command line of a step under the stepper.
    pub fn step(&self, step: &Step, plan: Plan) -> Result<Report> {
        self.step_among(step, plan, Surroundings::default())
    }

    /// The same, with something around it.
    pub fn step_among(&self, step: &Step, plan: Plan, surroundings: Surroundings<'_>) -> Result<Report> {
        let lines = self.lines(step)?;
        let [words] = lines.as_slice() else {
            return Err(ProofError::Preparation(format!("`{}` stands for {} commands here", step.line, lines.len())));
        };
        Ok(lastcopy_stepper::run_among(self.command(words), plan, surroundings)?)
    }
}

/// What a command said, for people.
pub fn said(stdout: &[u8], stderr: &[u8]) -> String {
    format!("{}{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))
}

fn line_of(words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.display().to_string()).collect();
    format!("lastcopy {}", words.join(" "))
}
