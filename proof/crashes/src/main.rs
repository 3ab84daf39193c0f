//! `lastcopy-crashes`: the sweeps, for people and for continuous integration.

use clap::{Args, Parser, Subcommand};
use lastcopy_crashes::edits::{EDITS, Edit};
use lastcopy_crashes::errors::{FAULTS, Fault, Lasting};
use lastcopy_crashes::place::Place;
use lastcopy_crashes::sweep::{Totals, Workers, offset_of_commit, scratch};
use lastcopy_crashes::workload::{WORKLOADS, Workload, named};
use lastcopy_crashes::{crashes, edits, errors};
use std::error::Error;
use std::io::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(about = "Kills lastcopy at every step, makes every call fail, and looks at what is left", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    sweep: Sweep,
    /// The built program; without it, the one beside this program
    #[arg(long, global = true)]
    binary: Option<PathBuf>,
    /// Where homes are made: ext4, xfs, btrfs or tmpfs [default: in memory, if there is /dev/shm]
    #[arg(long, global = true)]
    scratch: Option<PathBuf>,
    /// How many points are tried at a time [default: as many as there are cores]
    #[arg(long, global = true)]
    workers: Option<usize>,
}

#[derive(Debug, Subcommand)]
enum Sweep {
    /// A kill before every call that changes something; of the one-file offload, a second one before every call of the recovery
    Crashes {
        #[command(flatten)]
        which: Which,
        /// Only the kill before this call
        #[arg(long, requires = "workload")]
        at: Option<u64>,
        /// With `--at`: and the next command is killed before this call
        #[arg(long, requires = "at")]
        then: Option<u64>,
    },
    /// Every call fails, once and from then on
    Errors {
        #[command(flatten)]
        which: Which,
        /// Only this call
        #[arg(long, requires = "workload", requires = "fault")]
        at: Option<u64>,
        /// Only this fault
        #[arg(long, value_parser = fault)]
        fault: Option<Fault>,
        /// With `--at`: and all that follow
        #[arg(long, requires = "at")]
        from_then_on: bool,
    },
    /// A person changes a file before every call
    Edits {
        #[command(flatten)]
        which: Which,
        /// Only before this call
        #[arg(long, requires = "workload", requires = "edit")]
        at: Option<u64>,
        /// Only this edit
        #[arg(long, value_parser = edit)]
        edit: Option<Edit>,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Every point, instead of what fits in a few minutes
    #[arg(long)]
    long: bool,
    /// Where each row of points begins, of which only some are tried [default: a number that the commit decides]
    #[arg(long, value_name = "N")]
    offset: Option<usize>,
    /// Only this workload
    #[arg(long, value_parser = workload)]
    workload: Option<&'static Workload>,
}

impl Which {
    /// Says where rows begin, so that a run can be repeated.
    fn offset(&self) -> usize {
        let offset = self.offset.unwrap_or_else(offset_of_commit);
        if !self.long {
            say(&format!("rows of points begin at --offset {offset}"));
        }
        offset
    }
}

fn workload(name: &str) -> Result<&'static Workload, String> {
    let names = || WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    named(name).ok_or_else(|| format!("there are {}", names()))
}

fn fault(name: &str) -> Result<Fault, String> {
    let names = || FAULTS.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ");
    FAULTS.iter().find(|fault| fault.name() == name).copied().ok_or_else(|| format!("there are {}", names()))
}

fn edit(name: &str) -> Result<Edit, String> {
    let names = || EDITS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    EDITS.iter().find(|(known, _)| *known == name).map(|(_, edit)| *edit).ok_or_else(|| format!("there are {}", names()))
}

/// That nobody reads on is no reason to crash.
fn say(line: &str) {
    drop(writeln!(std::io::stdout().lock(), "{line}"));
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(totals) => {
            say(&format!("{} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped));
            if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            say(&format!("error: {error}\n0 passed, 1 failed, 0 skipped"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<Totals, Box<dyn Error>> {
    if let Err(error) = lastcopy_stepper::available() {
        let name = match cli.sweep {
            Sweep::Crashes { .. } => "crashes",
            Sweep::Errors { .. } => "errors",
            Sweep::Edits { .. } => "edits",
        };
        say(&format!("skipped: {name}: {error}\n0 passed, 0 failed, 1 skipped"));
        std::process::exit(0);
    }
    let dir = scratch(cli.scratch.as_deref())?;
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let binary = match &cli.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => lastcopy_scene::beside()?,
    };
    let workers = Workers::new(dir.path(), &binary, cli.workers.unwrap_or(cores))?;
    let mut place = Place::new(&dir.path().join("again"), &binary)?;
    Ok(match &cli.sweep {
        Sweep::Crashes { which: Which { workload: Some(workload), .. }, at: Some(at), then } => {
            crashes::again(&mut place, crashes::Point { workload, at: *at, then: *then, finish: true }, &say)?
        }
        Sweep::Crashes { which, .. } => {
            let extent = if which.long { crashes::Extent::LONG } else { crashes::Extent::QUICK };
            let extent = crashes::Extent { offset: which.offset(), ..extent };
            say(&format!("{extent}"));
            crashes::sweep(&workers, extent, which.workload, &say)?
        }
        Sweep::Errors { which: Which { workload: Some(workload), .. }, at: Some(at), fault: Some(fault), from_then_on } => {
            let lasting = if *from_then_on { Lasting::FromThenOn } else { Lasting::Once };
            errors::again(&mut place, errors::Point { workload, fault: *fault, lasting, at: *at, finish: true }, &say)?
        }
        Sweep::Errors { which, fault, .. } => {
            let extent = if which.long { errors::Extent::LONG } else { errors::Extent::QUICK };
            let extent = errors::Extent { offset: which.offset(), ..extent };
            say(&format!("{extent}"));
            errors::sweep(&workers, extent, which.workload, *fault, &say)?
        }
        Sweep::Edits { which: Which { workload: Some(workload), .. }, at: Some(at), edit: Some(edit) } => {
            edits::again(&mut place, edits::Point { workload, edit: *edit, at: *at, finish: true }, &say)?
        }
        Sweep::Edits { which, edit, .. } => {
            let extent = if which.long { edits::Extent::LONG } else { edits::Extent::QUICK };
            let extent = edits::Extent { offset: which.offset(), ..extent };
            say(&format!("{extent}"));
            edits::sweep(&workers, extent, which.workload, *edit, &say)?
        }
    })
}
