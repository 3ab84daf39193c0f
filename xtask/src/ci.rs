//! `cargo xtask ci`: every check, and what it came to.
//!
//! A step that fails does not stop the others, so that one run shows everything that is wrong. Each test counts as one check, and so
//! does each other step. The last line on stdout is the totals.

use crate::cargo::{cargo, line};
use crate::proofs::{Arguments, Proof};
use crate::tools::{Tools, has_subcommand};
use crate::totals::Totals;
use crate::{planted, tests};
use anyhow::{Context, Result};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A step, after the tools are there.
struct Step {
    name: &'static str,
    run: fn(&Tools) -> Result<Done>,
}

/// What a step came to.
struct Done {
    totals: Totals,
    skipped: Vec<String>,
}

const STEPS: &[Step] = &[
    Step { name: "format", run: |_| component("fmt", &["fmt", "--all", "--check"], &[]) },
    Step {
        name: "clippy",
        run: |_| component("clippy", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    },
    Step { name: "house rules", run: |tools| tested(&["test", "--locked", "--no-fail-fast", "--package", "xtask"], tools) },
    Step {
        name: "documentation",
        run: |_| plain(&["doc", "--locked", "--no-deps", "--workspace"], &[("RUSTDOCFLAGS", "-D warnings")]),
    },
    Step {
        name: "tests",
        run: |tools| tested(&["test", "--locked", "--no-fail-fast", "--workspace", "--exclude", "xtask"], tools),
    },
    Step { name: "model", run: |tools| proof(Proof::Model, tools) },
    Step { name: "random histories", run: |tools| proof(Proof::Histories, tools) },
    Step { name: "crashes", run: |tools| proof(Proof::Crashes, tools) },
    Step { name: "errors", run: |tools| proof(Proof::Errors, tools) },
    Step { name: "edits", run: |tools| proof(Proof::Edits, tools) },
    Step { name: "order of durability", run: |tools| proof(Proof::Order, tools) },
    Step { name: "power cuts", run: |tools| proof(Proof::Power, tools) },
    Step { name: "races", run: |tools| proof(Proof::Races, tools) },
    Step { name: "planted bugs", run: |_| Ok(Done { totals: planted::sample()?, skipped: Vec::new() }) },
];

/// A line of the closing table.
struct Row {
    name: &'static str,
    totals: Totals,
    took: Duration,
}

pub(crate) fn run() -> Result<ExitCode> {
    let began = Instant::now();
    say!("== tools");
    let tools = Tools::install()?;
    say!("-- tools: {}", seconds(began.elapsed()));
    let mut skipped = tools.missing.clone();
    let mut rows = Vec::new();
    for step in STEPS {
        say!("\n== {}", step.name);
        let began = Instant::now();
        let done = (step.run)(&tools).unwrap_or_else(|error| {
            say!("error: {error:#}");
            Done { totals: Totals::FAILED, skipped: Vec::new() }
        });
        let row = Row { name: step.name, totals: done.totals, took: began.elapsed() };
        say!("-- {}: {}, {}", row.name, verdict(row.totals), seconds(row.took));
        skipped.extend(done.skipped);
        rows.push(row);
    }
    say!("\n== summary");
    let mut totals = Totals::default();
    for Row { name, totals: of_step, took } in &rows {
        say!("{name:<22} {:<8} {:>8}  {of_step}", verdict(*of_step), seconds(*took));
        totals += *of_step;
    }
    say!("{:<22} {:<8} {:>8}", "everything", verdict(totals), seconds(began.elapsed()));
    skipped.iter().for_each(|skipped| say!("skipped: {skipped}"));
    say!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(totals: Totals) -> &'static str {
    match totals {
        Totals { failed: 1.., .. } => "failed",
        Totals { passed: 1.., .. } => "ok",
        _ => "skipped",
    }
}

fn seconds(took: Duration) -> String {
    format!("{:.1} s", took.as_secs_f64())
}

/// A step that passes if a command of cargo does.
fn plain(words: &[&str], environment: &[(&str, &str)]) -> Result<Done> {
    let mut command = cargo(words);
    command.envs(environment.iter().copied());
    let status = command.status().with_context(|| format!("cannot run {}", line(&command)))?;
    Ok(Done { totals: if status.success() { Totals::PASSED } else { Totals::FAILED }, skipped: Vec::new() })
}

/// One that needs a component of the toolchain.
fn component(subcommand: &str, words: &[&str], environment: &[(&str, &str)]) -> Result<Done> {
    if has_subcommand(subcommand) {
        return plain(words, environment);
    }
    let why = format!("cargo {subcommand}: not installed, and rustup could not add it");
    Ok(Done { totals: Totals::SKIPPED, skipped: vec![why] })
}

/// One that runs a program of the reliability harness, in its quick form.
fn proof(form: fn(Arguments) -> Proof, tools: &Tools) -> Result<Done> {
    let tests::Outcome { totals, skipped } = form(Arguments::default()).run(tools)?;
    Ok(Done { totals, skipped })
}

/// One that runs tests; that there were none is a failure.
fn tested(words: &[&str], tools: &Tools) -> Result<Done> {
    let tests::Outcome { totals, skipped } = tests::run_some(cargo(words), tools)?;
    Ok(Done { totals, skipped })
}
