//! A node of its own for a measurement: configuration, index, one volume, one destination.

use super::Bench;
use super::child::{Ran, quiet, timed};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct Home {
    dir: PathBuf,
    program: PathBuf,
    config: PathBuf,
}

/// The kind of the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cas,
    Mirror,
    Kopia,
}

impl Home {
    /// Makes one for a tree, which forgets the node that had it before.
    pub(crate) fn new(bench: &Bench, volume: &Path) -> Result<Self> {
        Self::with(bench, volume, Kind::Cas)
    }

    /// The same, with another kind of destination.
    pub(crate) fn with(bench: &Bench, volume: &Path, kind: Kind) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("home-").tempdir_in(&bench.dir)?.keep();
        let config = dir.join("config.toml");
        let place = match kind {
            Kind::Cas => format!("kind = \"cas\"\nurl = \"file://{}/disk\"", dir.display()),
            Kind::Mirror => {
                let program = bench.tools.which("rclone").context("rclone is not installed")?;
                format!("kind = \"mirror\"\nremote = \"{}/disk\"\nprogram = \"{}\"", dir.display(), program.display())
            }
            Kind::Kopia => {
                let program = bench.tools.which("kopia").context("kopia is not installed")?;
                std::fs::create_dir(dir.join("disk"))?;
                let password = dir.join("password");
                std::fs::write(&password, "bench\n")?;
                format!(
                    "kind = \"kopia\"\nrepository = \"filesystem\"\noptions = {{ path = \"{}/disk\" }}\nprogram = \"{}\"\n\
                     password = {{ file = \"{}\" }}",
                    dir.display(),
                    program.display(),
                    password.display()
                )
            }
        };
        let text = format!(
            "[node]\nname = \"bench\"\ndb = \"{0}/index.db\"\n\n[volumes.tree]\npath = \"{1}\"\nsync_to = [\"disk\"]\n\n\
             [volumes.tree.offload]\nrequire = [\"disk\"]\n\n[destinations.disk]\n{place}\n",
            dir.display(),
            volume.display()
        );
        std::fs::write(&config, text).with_context(|| config.display().to_string())?;
        let marker = volume.join(".lastcopy");
        if marker.exists() {
            std::fs::remove_dir_all(&marker).with_context(|| marker.display().to_string())?;
        }
        let home = Self { dir, program: bench.lastcopy.clone(), config };
        timed(home.command(&["volume", "add", "tree"]).arg(volume))?;
        home.run(&["destination", "init", "disk"])?;
        Ok(home)
    }

    /// The program, on this node.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = quiet(&self.program);
        command.arg("--config").arg(&self.config).args(["--progress", "never", "--yes"]).args(words);
        command
    }

    /// Runs a command that has to end without anything that needs attention.
    pub(crate) fn run(&self, words: &[&str]) -> Result<Ran> {
        timed(&mut self.command(words))
    }

    /// Where the destination keeps its objects.
    pub(crate) fn objects(&self) -> PathBuf {
        self.dir.join("disk/objects")
    }

    /// Removes everything but the volume.
    pub(crate) fn remove(self) -> Result<()> {
        super::trees::remove(&self.dir)
    }
}
