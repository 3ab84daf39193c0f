//! Running tests: their output as it comes, their totals, and what they skipped.

use crate::cargo::{cargo, line};
use crate::patience;
use crate::tools::Tools;
use crate::totals::Totals;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;

/// Names the file to which a test that cannot run here adds a line.
pub(crate) const SKIPPED_TESTS: &str = "LASTCOPY_SKIPPED_TESTS";

/// Each kind of destination registers with the conformance suite in a test module `conformance` of its integration test. What needs a
/// program that is missing skips itself, by name.
const CONFORMANCE: [&str; 3] = ["cas", "mirror", "kopia"];

/// What a run of tests came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) totals: Totals,
    /// Tests that said that they cannot run here: `NAME: WHY`.
    pub(crate) skipped: Vec<String>,
}

/// `cargo xtask test`: all tests, unless the arguments choose.
pub(crate) fn command(arguments: &[String]) -> Result<ExitCode> {
    let tools = Tools::find()?;
    let chosen = arguments.iter().any(|word| word.starts_with("-p") || word.starts_with("--package") || word == "--workspace");
    let mut words = vec!["test"];
    words.extend((!chosen).then_some("--workspace"));
    words.extend(arguments.iter().map(String::as_str));
    let outcome = run(cargo(&words), &tools)?;
    outcome.skipped.iter().for_each(|skipped| say!("skipped: {skipped}"));
    say!("{}", outcome.totals);
    Ok(if outcome.totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `cargo xtask conformance`: each kind by itself, so that one that ran nothing is noticed.
pub(crate) fn conformance() -> Result<ExitCode> {
    let tools = Tools::find()?;
    let mut all = Totals::default();
    for kind in CONFORMANCE {
        // Of the whole workspace, in which such names are unique: what its tests were built with can be used again.
        let words = ["test", "--locked", "--workspace", "--exclude", "xtask", "--test", kind, "conformance"];
        let Outcome { totals, skipped } = run_some(cargo(&words), &tools)?;
        skipped.iter().for_each(|skipped| say!("skipped: {skipped}"));
        say!("{kind}: {totals}");
        all += totals;
    }
    say!("{all}");
    Ok(if all.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs tests; that there were none is a failure.
pub(crate) fn run_some(command: Command, tools: &Tools) -> Result<Outcome> {
    let mut outcome = run(command, tools)?;
    if outcome.totals == Totals::default() {
        say!("error: no test was run");
        outcome.totals = Totals::FAILED;
    }
    Ok(outcome)
}

/// Runs a `cargo test`, with the project's own tools on `PATH`.
pub(crate) fn run(mut command: Command, tools: &Tools) -> Result<Outcome> {
    let skips = tempfile::NamedTempFile::new().context("a list of skipped tests")?;
    command.env(SKIPPED_TESTS, skips.path()).env("PATH", tools.path()?);
    // Many tests wait for another program or a server most of the time.
    if std::env::var_os("RUST_TEST_THREADS").is_none()
        && let Ok(cores) = std::thread::available_parallelism()
    {
        command.env("RUST_TEST_THREADS", (2 * cores.get()).to_string());
    }
    // A snapshot that is not what the code says is a failure, never a new file.
    command.env("INSTA_UPDATE", "no");
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {}", line(&command)))?;
    let mut totals = Totals::default();
    if let Some(stdout) = child.stdout.take() {
        let (printed, seen) = channel();
        let process = child.id();
        let watch = std::thread::spawn(move || patience::watch(process, &seen));
        let mut lines = BufReader::new(stdout);
        let mut bytes = Vec::new();
        while lines.read_until(b'\n', &mut bytes)? > 0 {
            printed.send(()).ok();
            drop(std::io::stdout().write_all(&bytes));
            if let Some(result) = std::str::from_utf8(&bytes).ok().and_then(Totals::of_result_line) {
                totals += result;
            }
            bytes.clear();
        }
        drop(printed);
        watch.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    let status = child.wait()?;
    // Tests that did not compile, or died before they could count themselves.
    if !status.success() && totals.failed == 0 {
        totals += Totals::FAILED;
    }
    let skipped: Vec<_> = std::fs::read_to_string(skips.path())?.lines().map(str::to_owned).collect();
    totals.skip(skipped.len() as u64);
    Ok(Outcome { totals, skipped })
}
