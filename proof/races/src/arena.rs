//! Where races are held: a node with one volume and one destination, and a place outside of both.

use anyhow::{Context, Result, ensure};
use lastcopy_scene::tree;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// Directories of the volume, and files in each.
pub(crate) const DIRECTORIES: u64 = 16;
pub(crate) const FILES_EACH: u64 = 25;
/// Files of the volume.
pub(crate) const FILES: u64 = DIRECTORIES * FILES_EACH;
/// Bytes of each file.
pub(crate) const SIZE: usize = 4096;

/// The directory of a race and what lies in it.
#[derive(Debug, Clone)]
pub(crate) struct Arena {
    root: PathBuf,
}

impl Arena {
    /// What an earlier process made.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Makes the node.
    pub(crate) fn new(root: &Path) -> Result<Self> {
        let arena = Self::at(root);
        for dir in [arena.volume(), arena.outside(), arena.decoys()] {
            fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        }
        let text = format!(
            "[node]\nname = \"racer\"\ndb = {0:?}\n\n[volumes.tree]\npath = {1:?}\nsync_to = [\"disk\"]\n\n\
             [volumes.tree.offload]\nrequire = [\"disk\"]\n\n[destinations.disk]\nkind = \"cas\"\nurl = \"file://{2}\"\n",
            root.join("index.db"),
            arena.volume(),
            arena.destination().display()
        );
        fs::write(arena.config(), text)?;
        arena.run(&["volume", "add", "tree", arena.volume().to_str().context("a path that is no text")?])?.expect(&[0])?;
        arena.run(&["destination", "init", "disk"])?.expect(&[0])?;
        Ok(arena)
    }

    fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn volume(&self) -> PathBuf {
        self.root.join("tree")
    }

    pub(crate) fn destination(&self) -> PathBuf {
        self.root.join("disk")
    }

    /// What is not lastcopy's business, on the same file system.
    pub(crate) fn outside(&self) -> PathBuf {
        self.root.join("outside")
    }

    /// Directories that look like those of the volume.
    pub(crate) fn decoys(&self) -> PathBuf {
        self.root.join("decoys")
    }

    /// Where a file is in the volume, or among the decoys: two directories deep, because only the last name has guards of its own.
    pub(crate) fn file(number: u64) -> PathBuf {
        format!("{}/inner/file-{number}", Self::directory(number / FILES_EACH)).into()
    }

    pub(crate) fn directory(number: u64) -> String {
        format!("directory-{number}")
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Ran> {
        self.start(words)?.wait()
    }

    /// Starts the program.
    pub(crate) fn start(&self, words: &[&str]) -> Result<Running> {
        let program = lastcopy_scene::beside()?;
        let mut command = Command::new(&program);
        command.arg("--config").arg(self.config()).args(["--progress", "never", "--yes", "--json"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Running { words: words.join(" "), child })
    }
}

/// The program, at work.
pub(crate) struct Running {
    words: String,
    child: Child,
}

impl Running {
    pub(crate) fn wait(self) -> Result<Ran> {
        Ok(Ran { words: self.words, output: self.child.wait_with_output()? })
    }
}

/// What the program said.
pub(crate) struct Ran {
    words: String,
    output: Output,
}

impl Ran {
    /// That it ended with one of these exit statuses.
    pub(crate) fn expect(self, exits: &[i32]) -> Result<Self> {
        let Self { words, output } = &self;
        ensure!(
            output.status.code().is_some_and(|code| exits.contains(&code)),
            "`lastcopy {words}` ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(self)
    }

    /// A count of its summary.
    pub(crate) fn count(&self, field: &str) -> Result<u64> {
        let text = String::from_utf8_lossy(&self.output.stdout);
        let last = text.lines().last().context("it said nothing")?;
        let summary: Value = serde_json::from_str(last).with_context(|| last.to_owned())?;
        summary[field].as_u64().with_context(|| format!("no `{field}` in {last}"))
    }
}

/// The content that a name stands for, which no other name has.
pub(crate) fn content(name: &str) -> Vec<u8> {
    tree::noise(name.as_bytes(), SIZE)
}
