//! The reliability harness: programs below `proof/`, each of which shows one thing about the promise (docs/reliability.md).
//!
//! Each has a quick form, which is what it does without arguments and what continuous integration runs, and a long one. Each prints
//! what it skipped as `skipped: NAME: WHY`, and its totals as its last line.

use crate::cargo::{cargo, line, target};
use crate::tests::Outcome;
use crate::tools::Tools;
use crate::totals::Totals;
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// One program of the harness, and which part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proof {
    pub(crate) name: &'static str,
    package: &'static str,
    words: &'static [&'static str],
}

/// In the order of docs/reliability.md.
pub(crate) const PROOFS: &[Proof] = &[
    Proof { name: "model", package: "lastcopy-model", words: &[] },
    Proof { name: "races", package: "lastcopy-races", words: &[] },
];

/// One of them, with arguments of its own.
pub(crate) fn command(name: &str, arguments: &[String]) -> Result<ExitCode> {
    let outcome = run(named(name)?, arguments, &Tools::find()?)?;
    Ok(if outcome.totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The one with a name.
pub(crate) fn named(name: &str) -> Result<Proof> {
    PROOFS.iter().find(|proof| proof.name == name).copied().with_context(|| format!("there is no proof {name}"))
}

/// Builds one and the program that it looks at, and runs it. What does not count itself has failed.
pub(crate) fn run(proof: Proof, arguments: &[String], tools: &Tools) -> Result<Outcome> {
    let mut build = cargo(&["build", "--locked", "--package", "lastcopy", "--package", proof.package, "--bins"]);
    ensure!(build.status()?.success(), "{} failed", line(&build));
    let mut command = Command::new(target()?.join("debug").join(proof.package));
    command.args(proof.words).args(arguments).env("PATH", tools.path()?).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", line(&command)))?;
    let mut totals = None;
    let mut skipped = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        for text in BufReader::new(stdout).lines() {
            let text = text?;
            say!("{text}");
            skipped.extend(text.strip_prefix("skipped: ").map(str::to_owned));
            totals = Totals::of_closing_line(&text);
        }
    }
    let status = child.wait()?;
    let mut totals = totals.unwrap_or_default();
    if (!status.success() && totals.failed == 0) || totals == Totals::default() {
        say!("error: {} ended with {status}", line(&command));
        totals += Totals::FAILED;
    }
    Ok(Outcome { totals, skipped })
}
