//! `cargo xtask planted`: takes guards away, one at a time, in a scratch copy, and looks whether the tests notice.
//!
//! The list is `xtask/planted/bugs.toml`. A planted bug that does not compile, or whose tests were not found, is not caught: only a test
//! that fails catches. Before that, the same tests have to pass without it. Where the program that they need is not installed, the bug is
//! skipped by its name. The scratch copies lie below the target directory. Each is built in
//! a directory of its own, which begins with links to the dependencies that were built already: in a shared one, cargo would take a crate with a
//! bug in it for the one of the workspace.

use crate::cargo::{building, cargo, line, output, program, root, target};
use crate::patience;
use crate::tools::Tools;
use crate::totals::Totals;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const LIST: &str = "xtask/planted/bugs.toml";

/// A test that a bug keeps from ending has failed after so long.
const PATIENCE: Duration = Duration::from_secs(300);

/// A program of the harness, likewise: it is many tests.
const PATIENCE_WITH_A_PROGRAM: Duration = Duration::from_secs(1200);

/// A program of the harness looks for a bug so often before it survives: threads of what it watches take turns otherwise each time, and a
/// call that alone opens a bug is not met in each run.
const RUNS: usize = 4;

#[derive(Debug, Args)]
pub(crate) struct PlantedArgs {
    /// Only the sample that continuous integration plants
    #[arg(long)]
    quick: bool,
    /// Only the bug with this name
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Workers, each with a scratch copy; as many as there are cores, unless given
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    bug: Vec<Bug>,
}

/// A guard that is taken away.
#[derive(Debug, Clone, Deserialize)]
struct Bug {
    name: String,
    /// What it lets happen.
    opens: String,
    file: PathBuf,
    find: String,
    replace: String,
    #[serde(flatten)]
    place: Tests,
    /// The tests of which one has to fail; none where a program of the harness has to.
    #[serde(default)]
    tests: Vec<String>,
    /// A program without which these tests are skipped; so is the bug.
    needs: Option<String>,
    /// Continuous integration plants it.
    #[serde(default)]
    sample: bool,
}

/// Where tests are: in the library, or one of the integration tests of a package. Or the package is a program of the harness, which has to
/// find something.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Tests {
    package: String,
    target: Option<String>,
    /// What the program is run with.
    run: Option<Vec<String>>,
}

impl Tests {
    fn words(&self) -> Vec<&str> {
        match &self.target {
            _ if self.run.is_some() => building(&["lastcopy", &self.package]),
            // Of the whole workspace, in which such names are unique: what it was built with can be used again.
            Some(target) => vec!["test", "--locked", "--workspace", "--exclude", "xtask", "--test", target],
            None => vec!["test", "--locked", "--package", &self.package, "--lib"],
        }
    }
}

/// How a bug fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Caught,
    Survived,
    /// Its tests do not pass without it, either.
    NotPlanted,
    /// It is no bug that a test could notice.
    DoesNotCompile,
    NoSuchTest,
}

/// `cargo xtask planted`.
pub(crate) fn command(args: &PlantedArgs) -> Result<ExitCode> {
    let totals = run(args)?;
    say!("{totals}");
    Ok(if totals.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The sample, for continuous integration.
pub(crate) fn sample() -> Result<Totals> {
    run(&PlantedArgs { quick: true, only: Vec::new(), jobs: Some(1) })
}

fn run(args: &PlantedArgs) -> Result<Totals> {
    let text = std::fs::read_to_string(root().join(LIST)).context(LIST)?;
    let mut bugs = toml::from_str::<List>(&text).context(LIST)?.bug;
    let names: BTreeSet<_> = bugs.iter().map(|bug| bug.name.clone()).collect();
    ensure!(names.len() == bugs.len(), "two bugs of {LIST} have one name");
    for bug in &bugs {
        bug.fits(&root())?;
    }
    bugs.retain(|bug| (!args.quick || bug.sample) && (args.only.is_empty() || args.only.contains(&bug.name)));
    ensure!(!bugs.is_empty(), "there is no such bug in {LIST}");
    let tools = Tools::find()?;
    let (mut bugs, skipped): (Vec<_>, Vec<_>) =
        bugs.into_iter().partition(|bug| bug.needs.as_ref().is_none_or(|program| tools.which(program).is_some()));
    for Bug { name, needs, .. } in &skipped {
        say!("skipped: {name}: {} is not installed", needs.as_deref().unwrap_or_default());
    }
    let mut totals = Totals::default();
    totals.skip(skipped.len() as u64);
    if bugs.is_empty() {
        return Ok(totals);
    }
    let path = tools.path()?;
    // Those that are noticed by the same tests follow each other, so that little is built again.
    bugs.sort_by(|left, right| (&left.place, &left.file, &left.name).cmp(&(&right.place, &right.file, &right.name)));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).clamp(1, bugs.len());
    let shares: Vec<_> = bugs.chunks(bugs.len().div_ceil(jobs)).collect();
    say!("{} bugs to plant, {} at a time", bugs.len(), shares.len());
    let totals = Mutex::new(totals);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = shares
            .iter()
            .enumerate()
            .map(|(number, share)| {
                let (totals, stop, path) = (&totals, &stop, &path);
                scope.spawn(move || {
                    let worked = Scratch::new(number, path).and_then(|scratch| scratch.plant_all(share, totals, stop));
                    stop.fetch_or(worked.is_err(), Ordering::Relaxed);
                    worked
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let totals = totals.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    ensure!(totals.passed + totals.failed >= bugs.len() as u64, "not every bug was planted");
    Ok(totals)
}

impl Bug {
    /// That its text stands once in its file.
    fn fits(&self, root: &Path) -> Result<()> {
        let text =
            std::fs::read_to_string(root.join(&self.file)).with_context(|| format!("{}: {}", self.name, self.file.display()))?;
        let found = text.matches(&self.find).count();
        ensure!(found == 1, "{}: its text stands {found} times in {}", self.name, self.file.display());
        let noticed = self.place.run.is_some() == self.tests.is_empty();
        ensure!(self.find != self.replace && noticed, "{}: it changes nothing, or names no test", self.name);
        Ok(())
    }
}

/// Links everything below a directory into another one, but what is made of the workspace itself. Nobody rewrites such files: cargo and the
/// compiler put new ones in their places.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let own = |name: &str| ["lastcopy", "liblastcopy", "xtask", "libxtask"].iter().any(|own| name.starts_with(own));
        if own(&name.to_string_lossy()) {
            continue;
        }
        let (from, to) = (entry.path(), to.join(&name));
        if entry.file_type()?.is_dir() {
            link_all(&from, &to)?;
        } else {
            std::fs::hard_link(&from, &to).with_context(|| to.display().to_string())?;
        }
    }
    Ok(())
}

/// A copy of the tracked files, and where it is built.
struct Scratch {
    tree: PathBuf,
    target: PathBuf,
    /// Where programs are looked for.
    path: OsString,
}

impl Scratch {
    fn new(number: usize, path: &OsStr) -> Result<Self> {
        let shared = target()?;
        let own = shared.join("planted").join(number.to_string());
        let tree = own.join("tree");
        let scratch = Self { target: own.join("target"), tree, path: path.to_owned() };
        if !scratch.target.exists() {
            for part in ["debug/.fingerprint", "debug/build", "debug/deps"] {
                link_all(&shared.join(part), &scratch.target.join(part))?;
            }
        }
        let mut list = program("git");
        list.args(["ls-files", "-z"]);
        for name in output(list)?.split('\0').filter(|name| !name.is_empty()) {
            scratch.copy(Path::new(name))?;
        }
        Ok(scratch)
    }

    /// A file that is the same already keeps its time, so that nothing is built again because of it.
    fn copy(&self, name: &Path) -> Result<()> {
        let (from, to) = (root().join(name), self.tree.join(name));
        // A tracked file may be deleted and not committed yet.
        let Ok(bytes) = std::fs::read(&from) else { return Ok(()) };
        if std::fs::read(&to).is_ok_and(|there| there == bytes) {
            return Ok(());
        }
        if let Some(dir) = to.parent() {
            std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        std::fs::write(&to, bytes).with_context(|| to.display().to_string())
    }

    fn plant_all(&self, bugs: &[Bug], totals: &Mutex<Totals>, stop: &AtomicBool) -> Result<()> {
        let (mut place, mut ready) = (None, true);
        for bug in bugs {
            if stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if place != Some(&bug.place) {
                place = Some(&bug.place);
                // Tests that fail anyway tell nothing of these bugs; those of other places still tell of theirs.
                let passes = self.passes_without_a_bug(bugs, &bug.place);
                ready = passes.map_err(|error| say!("FAILED: {error:#}")).is_ok();
            }
            let began = Instant::now();
            let fate = if ready { self.plant(bug)? } else { Fate::NotPlanted };
            let count = if fate == Fate::Caught { Totals::PASSED } else { Totals::FAILED };
            *totals.lock().unwrap_or_else(std::sync::PoisonError::into_inner) += count;
            let seconds = began.elapsed().as_secs();
            match fate {
                Fate::Caught => say!("  caught, {seconds:>3} s: {}", bug.name),
                Fate::Survived => say!("SURVIVED, {seconds:>3} s: {}: {} ({})", bug.name, bug.opens, bug.tests.join(", ")),
                Fate::NotPlanted => say!("FAILED: {}: its tests do not pass without it", bug.name),
                Fate::DoesNotCompile => say!("FAILED: {}: it does not compile", bug.name),
                Fate::NoSuchTest => say!("FAILED: {}: there is no test {}", bug.name, bug.tests.join(", ")),
            }
        }
        Ok(())
    }

    /// Every test of a place that is named passes as long as no bug is planted; and there is one.
    fn passes_without_a_bug(&self, bugs: &[Bug], place: &Tests) -> Result<()> {
        ensure!(self.builds(place)?, "{} does not build without a bug", place.package);
        let named: BTreeSet<_> = bugs.iter().filter(|bug| bug.place == *place).flat_map(|bug| &bug.tests).collect();
        let tests: Vec<_> = named.into_iter().map(String::as_str).collect();
        let (totals, _) = self.test(place, &tests)?;
        if place.run.is_some() {
            ensure!(totals.passed > 0 && totals.failed == 0, "without a bug, {} ends with {totals}", place.package);
            return Ok(());
        }
        let expected = Totals { passed: tests.len() as u64, ..Totals::default() };
        ensure!(totals == expected, "without a bug, {} of {} tests of {} passed", totals.passed, tests.len(), place.package);
        Ok(())
    }

    fn plant(&self, bug: &Bug) -> Result<Fate> {
        let path = self.tree.join(&bug.file);
        let text = std::fs::read_to_string(&path)?;
        std::fs::write(&path, text.replacen(&bug.find, &bug.replace, 1))?;
        let fate = self.fate(bug);
        std::fs::write(&path, text)?;
        fate
    }

    fn fate(&self, bug: &Bug) -> Result<Fate> {
        if !self.builds(&bug.place)? {
            return Ok(Fate::DoesNotCompile);
        }
        let tests: Vec<_> = bug.tests.iter().map(String::as_str).collect();
        let runs = if bug.place.run.is_some() { RUNS } else { 1 };
        let mut passed = 0;
        for _ in 0..runs {
            let (totals, ended) = self.test(&bug.place, &tests)?;
            if totals.failed > 0 || ended.is_none() {
                return Ok(Fate::Caught);
            }
            passed += totals.passed;
        }
        Ok(if passed == 0 { Fate::NoSuchTest } else { Fate::Survived })
    }

    fn cargo(&self, words: &[&str]) -> Command {
        let mut command = cargo(words);
        command.current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target).env("INSTA_UPDATE", "no").env("PATH", &self.path);
        command.env_remove("CARGO_MANIFEST_DIR").stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn builds(&self, place: &Tests) -> Result<bool> {
        let no_run: &[&str] = if place.run.is_some() { &[] } else { &["--no-run"] };
        let mut build = self.cargo(&[place.words().as_slice(), no_run].concat());
        Ok(build.status().with_context(|| line(&build))?.success())
    }

    /// Runs some tests of a place. Without a status, they never ended.
    fn test(&self, place: &Tests, tests: &[&str]) -> Result<(Totals, Option<ExitStatus>)> {
        let mut command = match &place.run {
            None => self.cargo(&[place.words().as_slice(), &["--", "--exact"], tests].concat()),
            Some(arguments) => {
                let mut command = Command::new(self.target.join("debug").join(&place.package));
                command.args(arguments).current_dir(&self.tree).env("CARGO_TARGET_DIR", &self.target).env("PATH", &self.path);
                command.stdin(Stdio::null()).stderr(Stdio::null());
                command
            }
        };
        let told = tempfile::NamedTempFile::new().context("what the tests print")?;
        let stdout: File = told.reopen()?;
        let mut child = command.stdout(stdout).spawn().with_context(|| line(&command))?;
        let patience = if place.run.is_some() { PATIENCE_WITH_A_PROGRAM } else { PATIENCE.saturating_mul(tests.len().try_into()?) };
        let began = Instant::now();
        let ended = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if began.elapsed() > patience {
                patience::end(&mut child)?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let mut totals = Totals::default();
        for text in String::from_utf8_lossy(&std::fs::read(told.path())?).lines() {
            let counted = if place.run.is_some() { Totals::of_closing_line(text) } else { Totals::of_result_line(text) };
            totals += counted.unwrap_or_default();
        }
        // Tests that died before they could count themselves.
        if ended.is_some_and(|status| !status.success()) && totals == Totals::default() {
            totals = Totals::FAILED;
        }
        Ok((totals, ended))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A change to the code that a bug is planted in has to take the list along.
    #[test]
    fn every_bug_fits_the_code() -> Result<()> {
        let text = std::fs::read_to_string(root().join(LIST))?;
        let bugs = toml::from_str::<List>(&text)?.bug;
        bugs.iter().try_for_each(|bug| bug.fits(&root()))?;
        let mut planted = BTreeSet::new();
        for bug in &bugs {
            // One that is planted by two names stands in for the guard that the other was to take out.
            ensure!(planted.insert((&bug.place, &bug.file, &bug.find, &bug.replace)), "{} is planted twice", bug.name);
        }
        ensure!(bugs.len() >= 40, "only {} bugs are left", bugs.len());
        ensure!(bugs.iter().filter(|bug| bug.sample).count() == 8, "the sample is of 8");
        Ok(())
    }
}
