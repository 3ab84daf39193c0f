//! The reliability harness: programs below `proof/`, each of which shows one thing about the promise (docs/reliability.md).
//!
//! Each has a quick form, which is what it does without arguments and what continuous integration runs, and a long one. Each prints
//! what it skipped as `skipped: NAME: WHY`, and its totals as its last line.

use crate::cargo::{build, line};
use crate::tests::Outcome;
use crate::tools::Tools;
use crate::totals::Totals;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

/// A program of the harness; what follows its name is handed to it: `--long`, `--help`, …
#[derive(Debug, Subcommand)]
pub(crate) enum Proof {
    /// Every order of steps and faults in a model of the protocol; models with a guard taken out are found wrong
    Model(Arguments),
    /// Random histories of people, commands and faults over the real libraries, watched by an oracle
    Histories(Arguments),
    /// Kills before every system call that changes something
    Crashes(Arguments),
    /// Errors and short writes at every such call
    Errors(Arguments),
    /// A person changes a file before every such call
    Edits(Arguments),
    /// What is not durable yet when a file of a person's is deleted
    Order(Arguments),
    /// Power cuts, on file systems in files
    Power(Arguments),
    /// Programs that change files while they are offloaded and restored
    Races(Arguments),
    /// Everything at once, for a time: `--minutes N`
    Soak(Arguments),
}

#[derive(Debug, Args, Default)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl Proof {
    /// Its package, which is also its program's name, and its part of it.
    fn program(&self) -> (&'static str, &'static [&'static str], &[String]) {
        match self {
            Self::Model(Arguments { arguments }) => ("lastcopy-model", &[], arguments),
            Self::Histories(Arguments { arguments }) => ("lastcopy-histories", &[], arguments),
            Self::Crashes(Arguments { arguments }) => ("lastcopy-crashes", &["crashes"], arguments),
            Self::Errors(Arguments { arguments }) => ("lastcopy-crashes", &["errors"], arguments),
            Self::Edits(Arguments { arguments }) => ("lastcopy-crashes", &["edits"], arguments),
            Self::Order(Arguments { arguments }) => ("lastcopy-durability", &["order"], arguments),
            Self::Power(Arguments { arguments }) => ("lastcopy-durability", &["power"], arguments),
            Self::Races(Arguments { arguments }) => ("lastcopy-races", &[], arguments),
            Self::Soak(Arguments { arguments }) => ("lastcopy-histories", &["soak"], arguments),
        }
    }

    /// Builds it and the program that it looks at, and runs it. What does not count itself has failed.
    pub(crate) fn run(&self, tools: &Tools) -> Result<Outcome> {
        let (package, words, arguments) = self.program();
        let mut command = Command::new(build(&["lastcopy", package])?.join(package));
        command.args(words).args(arguments).env("PATH", tools.path()?).stdin(Stdio::null()).stdout(Stdio::piped());
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
        let counts = !arguments.iter().any(|word| matches!(word.as_str(), "-h" | "--help"));
        if (!status.success() && totals.failed == 0) || (counts && totals == Totals::default()) {
            say!("error: {} ended with {status}", line(&command));
            totals += Totals::FAILED;
        }
        Ok(Outcome { totals, skipped })
    }
}

/// `cargo xtask NAME`: one of them, with arguments of its own.
pub(crate) fn command(proof: &Proof) -> Result<ExitCode> {
    let outcome = proof.run(&Tools::find()?)?;
    Ok(if outcome.totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
