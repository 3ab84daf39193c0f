//! Races against the built program, from the command line.

use clap::{Parser, Subcommand};
use lastcopy_races::{Enemy, Extent, adversary, prove};
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "lastcopy-races", about = "Change files while lastcopy offloads and restores them; nothing new may be lost")]
struct Arguments {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds: files that were attacked while the program ran [default: 20000, long: 320000]
    #[arg(long, value_name = "COUNT")]
    rounds: Option<u64>,
    /// Sixteen times as many rounds
    #[arg(long)]
    long: bool,
    /// Where chance begins
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Where to race [default: memory, if there is some]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// One enemy, which the races start: it waits for a line on stdin, and prints what it changed
    #[command(hide = true)]
    Adversary {
        #[arg(value_enum)]
        enemy: Enemy,
        dir: PathBuf,
        seed: u64,
        /// The time over which to attack, in microseconds
        spread: u64,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(Part::Adversary { enemy, dir, seed, spread }) = arguments.part {
        return adversary::attack(enemy, &dir, seed, spread).map(|()| ExitCode::SUCCESS);
    }
    let rounds = arguments.rounds.unwrap_or(if arguments.long { 320_000 } else { 20_000 });
    prove(&Extent { rounds, seed: arguments.seed, dir: arguments.dir })
}
