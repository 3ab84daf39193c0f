//! A shell in a directory of its own.

use lastcopy_stepper::{Plan, Report, Surroundings, run_among};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

pub(crate) struct Shell {
    dir: TempDir,
}

impl Shell {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        // As the kernel shows it.
        fs::canonicalize(self.dir.path()).unwrap()
    }

    pub(crate) fn run(&self, script: &str, plan: Plan) -> Report {
        self.run_among(script, plan, Surroundings::default())
    }

    pub(crate) fn run_among(&self, script: &str, plan: Plan, surroundings: Surroundings<'_>) -> Report {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).current_dir(self.path()).env("LC_ALL", "C");
        run_among(command, plan, surroundings).unwrap()
    }

    /// Names and bytes of what is there; of a directory, nothing but its name.
    pub(crate) fn holds(&self) -> Vec<(String, String)> {
        let mut found: Vec<_> = fs::read_dir(self.path()).unwrap().map(|entry| entry_of(&entry.unwrap().path())).collect();
        found.sort();
        found
    }
}

fn entry_of(path: &Path) -> (String, String) {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    (name, fs::read_to_string(path).unwrap_or_default())
}
