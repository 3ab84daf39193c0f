//! `lastcopy-model`: explores the models, and fails if one of them is wrong, or if a variant without a guard is not.

use clap::Parser;
use lastcopy_model::{Size, check};
use std::io::{Write, stdout};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "lastcopy-model", about = "Every order of steps, edits, crashes and faults, within bounds")]
struct Cli {
    /// Wider bounds: many minutes, and some gigabytes of memory
    #[arg(long)]
    long: bool,
    /// Print the steps of each counterexample
    #[arg(long)]
    verbose: bool,
}

fn main() -> anyhow::Result<ExitCode> {
    let cli = Cli::parse();
    let threads = std::thread::available_parallelism()?.get();
    let mut out = stdout().lock();
    let report = check(Size { long: cli.long, verbose: cli.verbose, threads }, &mut out)?;
    writeln!(out, "{} passed, {} failed, 0 skipped", report.passed, report.failed)?;
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
