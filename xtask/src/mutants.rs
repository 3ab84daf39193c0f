//! `cargo xtask mutants`: small changes of what decides, records and removes, each of which some test has to notice.
//!
//! A change is tried against the tests of its own crate first, which takes seconds, and against those of the crates above it only if these
//! did not notice. What nobody can notice is excluded in `.cargo/mutants.toml`, each with its reason. No check of a change depends on this.

use crate::cargo::{cargo, line, target};
use crate::tools::Tools;
use crate::totals::Totals;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::Path;
use std::process::ExitCode;

/// What to change.
#[derive(Debug, Args)]
pub(crate) struct MutantsArgs {
    /// Changes at a time, each in a copy of its own
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    jobs: usize,
    /// Only in these crates
    #[arg(value_name = "PACKAGE")]
    packages: Vec<String>,
}

/// Seconds after which tests hang, which is noticed, too. Several times what they take on a slow machine: what ended only for want of time was noticed by
/// nobody.
const PATIENCE: &str = "900";

/// Modules of a crate, and who else notices what becomes of them, in this order.
struct Modules {
    package: &'static str,
    files: &'static [&'static str],
    above: &'static [Tests<'static>],
}

/// Tests of some crates.
struct Tests<'a> {
    packages: &'a [&'a str],
    /// Only those whose names have one of these in them, if any are given.
    only: &'a [&'a str],
}

/// Gate, vector, claim, policy and intents; decision, offload and removal; recovery.
const ALL: &[Modules] = &[
    Modules {
        package: "lastcopy-store",
        files: &["gate", "vectors", "snapshot", "policy", "offloads"],
        above: &[Tests {
            packages: &["lastcopy-index", "lastcopy-sync", "lastcopy-sync-cas", "lastcopy-offload", "lastcopy-restore"],
            only: &[],
        }],
    },
    Modules {
        package: "lastcopy-offload",
        files: &["decide", "offload", "protocol", "quarantine", "settle"],
        above: &[Tests { packages: &["lastcopy-restore", "lastcopy-histories"], only: &[] }],
    },
    Modules {
        package: "lastcopy-restore",
        files: &["receipts", "recover"],
        above: &[
            Tests { packages: &["lastcopy-histories"], only: &[] },
            Tests { packages: &["lastcopy"], only: &["recover", "mirror::"] },
        ],
    },
];

pub(crate) fn run(args: &MutantsArgs) -> Result<ExitCode> {
    if let Some(unknown) = args.packages.iter().find(|name| ALL.iter().all(|modules| modules.package != **name)) {
        let known: Vec<_> = ALL.iter().map(|modules| modules.package).collect();
        bail!("nothing of {unknown} is changed here; there are {}", known.join(", "));
    }
    let mut totals = Totals::default();
    let tools = Tools::find()?;
    if let Err(why) = tools.add_cargo_mutants() {
        say!("skipped: mutants: cargo-mutants is missing: {why:#}");
        totals += Totals::SKIPPED;
        say!("{totals}");
        return Ok(ExitCode::SUCCESS);
    }
    for modules in ALL.iter().filter(|modules| args.packages.is_empty() || args.packages.iter().any(|name| name == modules.package))
    {
        say!("== {}", modules.package);
        totals += change(&tools, modules, args.jobs)?;
    }
    say!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All passes over some modules.
fn change(tools: &Tools, modules: &Modules, jobs: usize) -> Result<Totals> {
    let place = target()?.join("mutants").join(modules.package);
    if place.exists() {
        std::fs::remove_dir_all(&place).with_context(|| place.display().to_string())?;
    }
    std::fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
    let found = place.join("mutants.out");
    pass(tools, modules, jobs, &place, &Tests { packages: &[modules.package], only: &[] }, &[])?;
    let (mut caught, mut missed) = outcome(&found)?;
    for above in modules.above {
        if missed > 0 {
            pass(tools, modules, jobs, &place, above, &["--iterate"])?;
            let (noticed, left) = outcome(&found)?;
            (caught, missed) = (caught + noticed, left);
        }
    }
    if caught == 0 {
        bail!("no change was tried in {}", modules.package);
    }
    Ok(Totals { passed: caught, failed: missed, skipped: 0 })
}

/// How many changes a pass noticed, and how many it did not.
fn outcome(found: &Path) -> Result<(u64, u64)> {
    let noticed = lines(&found.join("caught.txt"))? + lines(&found.join("timeout.txt"))?;
    Ok((noticed, lines(&found.join("missed.txt"))?))
}

/// The tests run without a change first: those that fail anyway would notice every one.
fn pass(tools: &Tools, modules: &Modules, jobs: usize, place: &Path, by: &Tests<'_>, more: &[&str]) -> Result<()> {
    let mut command = cargo(&["mutants", "--package", modules.package, "--timeout", PATIENCE, "--no-shuffle"]);
    command.args(more).args(["--jobs", &jobs.to_string(), "--test-package", &by.packages.join(",")]).arg("--output").arg(place);
    for file in modules.files {
        command.args(["--file", &format!("{file}.rs")]);
    }
    // What must not compile takes a minute to show, and is no matter of these modules.
    command.args(["--", "--locked", "--", "--skip", "compile"]).args(by.only).env("PATH", tools.path()?);
    let status = command.status().with_context(|| format!("cannot run {}", line(&command)))?;
    // 2: some were missed; 3: some did not end in time. Anything else is no result.
    match status.code() {
        Some(0 | 2 | 3) => Ok(()),
        _ => bail!("{} ended with {status}", line(&command)),
    }
}

/// How many changes a list names; none if there is no list.
fn lines(list: &Path) -> Result<u64> {
    match std::fs::read_to_string(list) {
        Ok(text) => Ok(text.lines().count() as u64),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).with_context(|| list.display().to_string()),
    }
}
