//! Many points, on all the workers there are.

use crate::Result;
use crate::place::Place;
use crate::workload::{Fewest, Goal, Second, WORKLOADS, Workload};
use lastcopy_stepper::{Ended, Kind, Plan};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The workers of a sweep, each with a place of its own.
#[derive(Debug)]
pub struct Workers {
    places: Vec<Mutex<Place>>,
}

impl Workers {
    /// So many workers below a directory of ours, for a built program.
    pub fn new(scratch: &Path, binary: &Path, count: usize) -> Result<Self> {
        let place = |number: usize| Place::new(&scratch.join(format!("worker-{number}")), binary).map(Mutex::new);
        Ok(Self { places: (0..count.max(1)).map(place).collect::<Result<_>>()? })
    }

    /// Does tasks on all workers; the answers are in the order of the tasks.
    pub fn spread<T: Sync, A: Send>(&self, tasks: &[T], work: &(dyn Fn(&mut Place, &T) -> Result<A> + Sync)) -> Result<Vec<A>> {
        let next = AtomicUsize::new(0);
        let answers = Mutex::new(Vec::with_capacity(tasks.len()));
        let worker = |place: &Mutex<Place>| -> Result<()> {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(task) = tasks.get(at) else { return Ok(()) };
                let answer = work(&mut place, task);
                if answer.is_err() {
                    // Nobody begins another one.
                    next.fetch_add(tasks.len(), Ordering::Relaxed);
                }
                answers.lock().unwrap_or_else(PoisonError::into_inner).push((at, answer?));
            }
        };
        thread::scope(|scope| {
            let workers: Vec<_> = self.places.iter().map(|place| scope.spawn(|| worker(place))).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
        answers.sort_by_key(|(at, _)| *at);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// What is said to people while a sweep goes on.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: workload, call, and how to see it again.
    pub point: String,
    /// What.
    pub wrong: Vec<String>,
}

/// What a sweep came to.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Points that were as they should be.
    pub passed: u64,
    /// Points that were not.
    pub failed: u64,
    /// Workloads that cannot run here.
    pub skipped: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The workloads that are wanted and can run here. What cannot is said, and counted.
pub fn chosen(wanted: impl Fn(&Workload) -> bool, say: Say<'_>) -> (Vec<&'static Workload>, Totals) {
    let (mut chosen, mut totals) = (Vec::new(), Totals::default());
    for workload in WORKLOADS.iter().filter(|workload| wanted(workload)) {
        match workload.second.program().filter(|program| lastcopy_scene::installed(program).is_none()) {
            Some(program) => {
                say(&format!("skipped: {}: {program} is not installed", workload.name));
                totals.skipped += 1;
            }
            None => chosen.push(workload),
        }
    }
    (chosen, totals)
}

/// A call of the undisturbed run.
#[derive(Debug, Clone)]
pub struct Counted {
    /// Its number.
    pub number: u64,
    /// Whether a program makes it that lastcopy started.
    pub of_child: bool,
    /// What it is to files.
    pub kind: Kind,
    /// Whether it can write less than it is to.
    pub can_be_short: bool,
    /// Whether it is to a file that nobody looks at later: of kopia's connections, logs and caches.
    pub passing: bool,
    /// How the log shows it.
    pub shown: String,
}

/// An undisturbed run of a workload.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The workload.
    pub workload: &'static Workload,
    /// Its calls that count.
    pub calls: Vec<Counted>,
    /// What is wrong even so.
    pub wrong: Vec<String>,
}

/// Runs each workload undisturbed: it must do what it says, and be recoverable from by doing it again. Counts its calls.
pub fn references(workers: &Workers, workloads: &[&'static Workload]) -> Result<Vec<Reference>> {
    workers.spread(workloads, &|place, workload| {
        place.begin(workload)?;
        let report = place.home().step(&workload.command, Plan::Count)?;
        let mut wrong = Vec::new();
        match report.ended {
            Ended::Exited(exit) if workload.command.exits.contains(&exit) => {}
            ended => wrong.push(format!("ended with {ended:?}: {}", crate::home::said(&report.stdout, &report.stderr).trim())),
        }
        wrong.extend(place.look(workload)?);
        if wrong.is_empty() {
            wrong.extend(place.recover(workload, true)?);
        }
        if wrong.is_empty() {
            wrong.extend(reached(place, workload)?);
        }
        let calls = report.calls.iter().filter_map(|call| {
            let number = call.number?;
            let (shown, passing) = (call.to_string(), workload.second == Second::Kopia && place.home().is_passing(call));
            let (of_child, can_be_short) = (call.process != report.process, call.can_be_short());
            Some(Counted { number, of_child, kind: call.kind, can_be_short, passing, shown })
        });
        let calls: Vec<_> = calls.collect();
        wrong.extend(too_few(workload, &calls));
        Ok(Reference { workload, calls, wrong })
    })
}

/// What a workload calls changes at least so much, itself and by the program that writes its second destination: else the sweeps over its
/// calls would try next to nothing, and pass.
fn too_few(workload: &Workload, calls: &[Counted]) -> Option<String> {
    let change = calls.iter().filter(|call| call.kind == Kind::Change && !call.passing);
    let (of_child, own): (Vec<_>, Vec<_>) = change.partition(|call| call.of_child);
    let Fewest { own: fewest, of_child: fewest_of_child } = workload.fewest;
    let enough = own.len() >= fewest && of_child.len() >= fewest_of_child;
    (!enough).then(|| {
        let (own, of_child) = (own.len(), of_child.len());
        format!("{own} calls change something, and {of_child} of its child; at least {fewest} and {fewest_of_child} were expected")
    })
}

/// That what is looked for after success is there after it.
fn reached(place: &mut Place, workload: &Workload) -> Result<Vec<String>> {
    place.begin(workload)?;
    let mut wrong = place.run(&[workload.command])?;
    wrong.extend(shown(place, workload)?);
    Ok(wrong)
}

/// Whether a command that said so did its work: what is wrong, if anything.
pub fn shown(place: &Place, workload: &Workload) -> Result<Vec<String>> {
    let mut wrong = place.run(workload.shown_by)?;
    wrong.extend(place.look_for(workload, workload.done)?);
    if workload.done != Goal::Aside {
        wrong.extend(place.expected(workload)?.check_settled(place.home())?);
    }
    Ok(wrong)
}

/// Every so many of a row, from the one at which the offset begins.
pub fn strided<T>(all: impl Iterator<Item = T>, stride: usize, offset: usize) -> Vec<T> {
    let stride = stride.max(1);
    all.skip(offset % stride).step_by(stride).collect()
}

/// Where strides begin at this commit: at another point than at most others, so that no point is left out for ever; and at the same one
/// each time. Where there is no commit, at the first.
pub fn offset_of_commit() -> usize {
    let asked = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "HEAD"]).output();
    let hash = asked.ok().filter(|git| git.status.success()).and_then(|git| String::from_utf8(git.stdout).ok());
    hash.and_then(|hash| usize::from_str_radix(hash.get(..6)?, 16).ok()).unwrap_or(0)
}

/// Which of a row are taken, as in "each 7. one"; or nothing for every single one.
pub(crate) fn nth(stride: usize) -> String {
    if stride == 1 { String::new() } else { format!("{stride}. ") }
}

/// Says what was found, in full for the first few.
pub fn tell(findings: &[Finding], say: Say<'_>) {
    const MOST: usize = 20;
    for finding in findings.iter().take(MOST) {
        say(&format!("FAILED {}", finding.point));
        finding.wrong.iter().for_each(|wrong| say(&format!("    {wrong}")));
    }
    if findings.len() > MOST {
        say(&format!("… and {} more", findings.len() - MOST));
    }
}

/// What is wrong with a workload that nobody disturbed: then nothing else of it is tried.
pub fn undisturbed(reference: &Reference, say: Say<'_>) -> Option<Totals> {
    let wrong = reference.wrong.clone();
    let finding = Finding { point: format!("{} undisturbed", reference.workload.name), wrong };
    (!finding.wrong.is_empty()).then(|| concluded(1, vec![finding], None, say))
}

/// What so many points came to, told with what was found at them. That too few did what they are for fails, too.
pub fn concluded(points: usize, mut findings: Vec<Finding>, too_few: Option<Finding>, say: Say<'_>) -> Totals {
    let failed = findings.len() as u64;
    let mut totals = Totals { passed: points as u64 - failed, failed, skipped: 0 };
    totals.failed += u64::from(too_few.is_some());
    findings.extend(too_few);
    tell(&findings, say);
    totals
}

/// What one point came to that was tried again.
pub fn once_more(point: String, wrong: Vec<String>, say: Say<'_>) -> Totals {
    let finding = Finding { point, wrong };
    concluded(1, Vec::from_iter((!finding.wrong.is_empty()).then_some(finding)), None, say)
}

/// A directory of our own: in memory where there is such a place.
pub fn scratch(given: Option<&Path>) -> Result<tempfile::TempDir> {
    let base = match given {
        Some(given) => given.to_owned(),
        None if Path::new("/dev/shm").is_dir() => PathBuf::from("/dev/shm"),
        None => std::env::temp_dir(),
    };
    tempfile::Builder::new().prefix("lastcopy-crashes-").tempdir_in(&base).map_err(crate::ProofError::at(&base))
}
