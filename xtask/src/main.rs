//! What the developers of lastcopy run: `cargo xtask COMMAND`.
//!
//! This crate owns the checks, the references that are generated from the code, and the benchmarks. It ships nothing: no other crate
//! knows it. The house rules are tests (`tests/house_rules`), so that `cargo test` alone finds what breaks one.
//!
//! # Tests that need a tool
//!
//! A test that needs a program looks for it on `PATH`. Where it is missing, the test appends one line, `NAME: WHY`, to the file that
//! the environment variable `LASTCOPY_SKIPPED_TESTS` names, prints `skipped: NAME: WHY`, and returns. `cargo xtask ci` and
//! `cargo xtask test` set the variable, take such a test out of those that passed, and count it as skipped.

/// Prints a line on stdout; that nobody reads on is no reason to crash.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        drop(writeln!(std::io::stdout().lock(), $($part)*));
    }};
}

mod bench;
mod cargo;
mod ci;
mod fuzz;
mod mutants;
mod patience;
mod planted;
mod proofs;
mod references;
mod tests;
mod tools;
mod totals;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "What the developers of lastcopy run", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every check, in the order of continuous integration; the test totals come last
    Ci,
    /// Only the tests; what follows is handed to `cargo test`
    Test {
        /// Arguments for `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// What lastcopy needs, against named tools in the same run
    Bench(bench::BenchArgs),
    #[command(flatten)]
    Proof(proofs::Proof),
    /// The conformance suite over every kind of destination, honest and lying
    Conformance,
    /// Takes guards away one at a time, and looks whether the tests named beside each notice
    Planted(planted::PlantedArgs),
    /// Small changes of what decides, records and removes, each of which some test has to notice
    Mutants(mutants::MutantsArgs),
    /// Every decoder with bytes that a fuzzer invents, for some minutes each
    Fuzz(fuzz::FuzzArgs),
    /// Both gate tables, from the code that decides
    Gate,
    /// Write the references under docs/ that are generated from the code
    References {
        /// Write nothing; fail if one is not what the code says
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            say!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Ci => ci::run(),
        // As they were written: a first `--` is for cargo, but parsing has dropped it.
        Command::Test { arguments: _ } => tests::command(&std::env::args().skip(2).collect::<Vec<_>>()),
        Command::Bench(args) => bench::run(&args),
        Command::Proof(proof) => proofs::command(&proof),
        Command::Conformance => tests::conformance(),
        Command::Planted(args) => planted::command(&args),
        Command::Mutants(args) => mutants::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Gate => {
            say!("{}", references::gates()?.trim_end());
            Ok(ExitCode::SUCCESS)
        }
        Command::References { check: false } => references::write().map(|()| ExitCode::SUCCESS),
        Command::References { check: true } => {
            let stale = references::check()?;
            Ok(if stale { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}
