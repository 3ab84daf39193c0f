//! Running cargo and other programs in the workspace.

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where the workspace is: the directory above this crate's.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map_or(own.clone(), Path::to_owned)
}

/// A program that runs in the workspace and is told nothing on stdin.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(name);
    command.current_dir(root()).stdin(Stdio::null());
    command
}

/// The cargo that runs this.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = program(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Whether a program runs and succeeds, silently.
pub(crate) fn works(mut command: Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// What a program that has to succeed prints.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run {}", line(&command)))?;
    if !output.status.success() {
        bail!("{} ended with {}", line(&command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed what is no text", line(&command)))
}

/// A command line, for people.
pub(crate) fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.display().to_string()).collect::<Vec<_>>().join(" ")
}

/// Where cargo builds.
pub(crate) fn target() -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let text = output(cargo(&["metadata", "--format-version", "1", "--no-deps", "--offline"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("cargo metadata")?;
    Ok(metadata.target_directory)
}

/// The words that build programs of the workspace, for debugging.
///
/// They are built as the tests of the whole workspace are, so that nothing is built a second time: what only tests depend on asks for
/// features of libraries that they share with the programs, which cargo heeds only where a test is built, too. It is given the smallest.
pub(crate) fn building<'a>(programs: &[&'a str]) -> Vec<&'a str> {
    let workspace = ["build", "--locked", "--workspace", "--exclude", "xtask", "--test", "stepper"];
    workspace.into_iter().chain(programs.iter().flat_map(|program| ["--bin", program])).collect()
}

/// Builds programs of the workspace. Gives the directory in which they are.
pub(crate) fn build(programs: &[&str]) -> Result<PathBuf> {
    let mut build = cargo(&building(programs));
    ensure!(build.status()?.success(), "{} failed", line(&build));
    Ok(target()?.join("debug"))
}
