//! The order audit and the power cuts, from the command line.

use anyhow::Result;
use clap::{Parser, Subcommand};
use lastcopy_durability::{Setting, Totals, mounts_of_our_own, order, power};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Whether what lastcopy counts on is durable before it deletes anything", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    proof: Proof,
    /// The built program [default: the one beside this one]
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Proof {
    /// Follow every call, and find what is not synced when something is deleted
    Order {
        /// The same: there is nothing that the quick form leaves out
        #[arg(long)]
        long: bool,
        /// Only this workload
        #[arg(long, value_name = "NAME")]
        workload: Option<String>,
    },
    /// Take the power from file systems in the middle of runs, and look at what is left
    Power {
        /// At every call
        #[arg(long)]
        long: bool,
        /// At so many calls of each workload on each file system
        #[arg(long, value_name = "COUNT", default_value_t = 4, conflicts_with = "long")]
        cuts: u64,
    },
}

fn say(line: &str) {
    // That nobody reads on is no reason to crash.
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

fn main() -> ExitCode {
    let totals = run(&Arguments::parse()).unwrap_or_else(|error| {
        say(&format!("error: {error:#}"));
        Totals { failed: 1, ..Totals::default() }
    });
    say(&format!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped));
    if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Result<Totals> {
    let may_mount = mounts_of_our_own().map_err(|error| format!("nothing can be mounted: {error}"));
    if let Err(error) = lastcopy_stepper::available() {
        let mut totals = Totals::default();
        totals.skip("everything that follows calls", &error.to_string());
        return Ok(totals);
    }
    let binary = match &arguments.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => lastcopy_scene::beside()?,
    };
    let setting = Setting { binary, may_mount };
    match &arguments.proof {
        Proof::Order { workload, .. } => order::audit(&setting, workload.as_deref()),
        Proof::Power { long, cuts } => {
            power::cut(&setting, if *long { power::Extent::EveryCall } else { power::Extent::Cuts(*cuts) })
        }
    }
}
