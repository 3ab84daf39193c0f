//! `cargo xtask bench`: what lastcopy needs, as ratios against named tools in the same run.
//!
//! Both sides of a ratio are run one after the other, again and again, on the same data in the same directory; the median of each
//! side counts. Files are in the page cache beforehand unless a row says otherwise, and everything that is written is made durable
//! inside the measured time. What was done is checked afterwards: a fast wrong answer is an error. No test depends on these numbers.

mod child;
mod decisions;
mod home;
mod kopia;
mod large_small;
mod machine;
mod many;
mod mirror;
mod offload;
mod table;
mod trees;

use crate::cargo::{cargo, line, target};
use crate::tools::Tools;
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use table::Row;

/// What is measured, and on how much.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// A tenth of everything or less, once
    #[arg(long)]
    quick: bool,
    /// Only these groups; may be given several times
    #[arg(long, value_name = "GROUP", value_enum)]
    only: Vec<Group>,
    /// Where to put the trees and the copies [default: the directory for temporary files]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Write the table to docs/benchmarks.md
    #[arg(long)]
    write: bool,
    /// Large files [default: 4, quick: 2]
    #[arg(long, value_name = "COUNT")]
    large_files: Option<u64>,
    /// MiB of each large file [default: 1024, quick: 128]
    #[arg(long, value_name = "MIB")]
    large_mib: Option<u64>,
    /// Small files [default: 100000, quick: 10000]
    #[arg(long, value_name = "COUNT")]
    small_files: Option<u64>,
    /// Files of the volume that stays as it is [default: 1000000, quick: 100000]
    #[arg(long, value_name = "COUNT")]
    many_files: Option<u64>,
    /// Files to offload beside git annex [default: 10000, quick: 1000]
    #[arg(long, value_name = "COUNT")]
    offload_files: Option<u64>,
    /// Small files to push to a mirror [default: 10000, quick: 1000]
    #[arg(long, value_name = "COUNT")]
    mirror_files: Option<u64>,
    /// Small files to push to a repository of kopia's [default: 20000, quick: 2000]
    #[arg(long, value_name = "COUNT")]
    kopia_files: Option<u64>,
    /// Repetitions of each side [default: 3, quick: 1]
    #[arg(long, value_name = "COUNT")]
    repeat: Option<usize>,
}

/// Rows that share a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Group {
    /// Hash, push, verify and restore large files
    Large,
    /// Hash, push, verify and restore small files
    Small,
    /// Nothing to do on many files, and the memory that they need
    Many,
    /// The whole protocol of an offload
    Offload,
    /// Push to a mirror, small files and large ones
    Mirror,
    /// Push to a repository of kopia's, small files and large ones, and nothing new
    Kopia,
    /// The offload gate alone
    Decisions,
}

/// What every group needs.
struct Bench {
    /// Trees, copies and indexes; removed at the end.
    dir: PathBuf,
    tools: Tools,
    lastcopy: PathBuf,
    hash_tree: PathBuf,
    decisions: PathBuf,
    repeat: usize,
    rows: Vec<Row>,
}

pub(crate) fn run(args: &BenchArgs) -> Result<ExitCode> {
    let tools = Tools::install()?;
    ensure!(tools.which("b3sum").is_some(), "b3sum is what most rows compare with, and it is not there: {:?}", tools.missing);
    let wanted = |group| args.only.is_empty() || args.only.contains(&group);
    if wanted(Group::Offload) {
        offload::prepare(&tools);
    }
    build()?;
    let release = target()?.join("release");
    let parent = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let dir =
        tempfile::Builder::new().prefix("lastcopy-bench-").tempdir_in(&parent).with_context(|| parent.display().to_string())?;
    let mut bench = Bench {
        dir: std::fs::canonicalize(dir.path())?,
        tools,
        lastcopy: release.join("lastcopy"),
        hash_tree: release.join("examples/hash_tree"),
        decisions: release.join("examples/decisions"),
        repeat: args.repeat.unwrap_or(if args.quick { 1 } else { 3 }),
        rows: Vec::new(),
    };
    let pick = |given: Option<u64>, full, quick| given.unwrap_or(if args.quick { quick } else { full });
    let machine = machine::describe(&bench)?;
    say!("{machine}");
    if wanted(Group::Decisions) {
        decisions::measure(&mut bench)?;
    }
    if wanted(Group::Large) {
        let size = trees::Size::Exactly(pick(args.large_mib, 1024, 128) << 20);
        large_small::measure(&mut bench, &large_small::LARGE, pick(args.large_files, 4, 2), size)?;
    }
    if wanted(Group::Small) {
        large_small::measure(&mut bench, &large_small::SMALL, pick(args.small_files, 100_000, 10_000), trees::Size::UpTo(8192))?;
    }
    if wanted(Group::Offload) {
        offload::measure(&mut bench, pick(args.offload_files, 10_000, 1000))?;
    }
    if wanted(Group::Mirror) {
        mirror::measure(&mut bench, pick(args.mirror_files, 10_000, 1000), trees::Size::UpTo(8192))?;
        let size = trees::Size::Exactly(pick(args.large_mib, 1024, 128) << 20);
        mirror::measure(&mut bench, pick(args.large_files, 4, 2), size)?;
    }
    if wanted(Group::Kopia) {
        kopia::measure(&mut bench, pick(args.kopia_files, 20_000, 2000), trees::Size::UpTo(20_000))?;
        let size = trees::Size::Exactly(pick(args.large_mib, 1024, 128) << 20);
        kopia::measure(&mut bench, pick(args.large_files, 4, 2), size)?;
    }
    if wanted(Group::Many) {
        many::measure(&mut bench, pick(args.many_files, 1_000_000, 100_000))?;
    }
    let table = table::render(&bench.rows);
    say!("\n{table}");
    if args.write {
        let path = crate::cargo::root().join("docs/benchmarks.md");
        std::fs::write(&path, table::document(&machine, &table)).with_context(|| path.display().to_string())?;
        say!("wrote docs/benchmarks.md");
    }
    Ok(ExitCode::SUCCESS)
}

fn build() -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--release", "--bins"]);
    build.args(["--package", "lastcopy", "--package", "lastcopy-fs", "--package", "lastcopy-offload"]);
    build.args(["--example", "hash_tree", "--example", "decisions"]);
    ensure!(build.status()?.success(), "{} failed", line(&build));
    Ok(())
}

impl Bench {
    /// Runs both sides one after the other, as often as asked, and returns the median seconds of each.
    fn side_by_side(&self, mut ours: impl FnMut() -> Result<f64>, mut theirs: impl FnMut() -> Result<f64>) -> Result<(f64, f64)> {
        let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
        for _ in 0..self.repeat {
            their_times.push(theirs()?);
            our_times.push(ours()?);
        }
        Ok((median(our_times), median(their_times)))
    }

    /// A script for bash in which a failing part of a pipe fails; its arguments are `$1`, `$2`, …
    fn shell(&self, script: &str, arguments: &[&Path]) -> Result<std::process::Command> {
        let mut command = child::quiet("bash");
        command.args(["-euo", "pipefail", "-c", script, "bench"]).args(arguments).env("PATH", self.tools.path()?);
        Ok(command)
    }

    /// Keeps a row for the table, and prints it, so that a run that is broken off has told what it knew.
    fn record(&mut self, row: Row) {
        say!("{}", row.line());
        self.rows.push(row);
    }

    /// What somebody has to know to make sense of a row, while it is measured.
    fn say(&self, what: &str) {
        say!("… {what}");
    }
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { f64::midpoint(times[middle - 1], times[middle]) }
}

#[test]
fn the_median_is_in_the_middle() {
    assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
}
