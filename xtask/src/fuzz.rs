//! `cargo xtask fuzz`: every decoder with bytes that a fuzzer invents, for some minutes each.
//!
//! The targets are one-liners over lastcopy-decoders, whose tests run the committed corpora; so this finds new inputs, and no check
//! of a change depends on it. What is found to be interesting on the way stays below `target`, what breaks something below
//! `fuzz/artifacts`.

use crate::cargo::{cargo, line, root, target};
use crate::tools::Tools;
use crate::totals::Totals;
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::process::ExitCode;

/// What to fuzz.
#[derive(Debug, Args)]
pub(crate) struct FuzzArgs {
    /// How long each target runs
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    minutes: u64,
    /// Only these
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

pub(crate) fn run(args: &FuzzArgs) -> Result<ExitCode> {
    let mut totals = Totals::default();
    let tools = Tools::find()?;
    if let Err(why) = tools.add_cargo_fuzz() {
        say!("skipped: fuzz: cargo-fuzz is missing: {why:#}");
        totals += Totals::SKIPPED;
        say!("{totals}");
        return Ok(ExitCode::SUCCESS);
    }
    for name in chosen(args)? {
        say!("== {name}");
        totals += if fuzz(&tools, &name, args.minutes)? { Totals::PASSED } else { Totals::FAILED };
    }
    say!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The targets that are named, or all.
fn chosen(args: &FuzzArgs) -> Result<Vec<String>> {
    let dir = root().join("fuzz/corpus");
    let entries = std::fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
    let mut all = entries.map(|entry| Ok(entry?.file_name().display().to_string())).collect::<Result<Vec<_>>>()?;
    all.sort();
    for name in &args.targets {
        ensure!(all.contains(name), "there is no target {name}; there are {}", all.join(", "));
    }
    Ok(if args.targets.is_empty() { all } else { args.targets.clone() })
}

/// One target. The flags that make the compiler count what was reached are unstable ones: a stable compiler is told to take them.
fn fuzz(tools: &Tools, name: &str, minutes: u64) -> Result<bool> {
    let target = target()?;
    let found = target.join("fuzz-corpus").join(name);
    std::fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let mut command = cargo(&["fuzz", "run", "--sanitizer", "none", name]);
    command.arg(&found).arg(root().join("fuzz/corpus").join(name)).arg("--");
    command.arg(format!("-max_total_time={}", minutes * 60)).args(["-rss_limit_mb=1024", "-timeout=20", "-print_final_stats=1"]);
    command.env("PATH", tools.path()?).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", target.join("fuzz"));
    let status = command.status().with_context(|| format!("cannot run {}", line(&command)))?;
    Ok(status.success())
}
