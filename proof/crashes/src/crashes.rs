//! A kill before every call that changes something.

use crate::Result;
use crate::home::said;
use crate::place::Place;
use crate::sweep::{Finding, Reference, Say, Totals, Workers, chosen, concluded, nth, once_more, references, strided, undisturbed};
use crate::workload::{Second, Workload};
use lastcopy_stepper::{Ended, Kind, Plan, Report};
use std::fmt;

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Where each row of points begins.
    pub offset: usize,
    /// Of the one-file offload, each so many-th call.
    pub one: usize,
    /// Of the other workloads, each so many-th call.
    pub others: usize,
    /// The same of those with a mirror, whose every command starts rclone.
    pub mirrors: usize,
    /// The same of those with a repository, whose every command starts kopia several times.
    pub repositories: usize,
    /// Whether all of those are tried, or the push alone.
    pub all_repositories: bool,
    /// Of the pairs of crashes, each so many-th first and second call.
    pub pairs: (usize, usize),
    /// After each point of the one-file offload, and each so many-th of the others, everything is pushed, verified, restored and compared.
    pub finish: usize,
    /// The same of those with a repository.
    pub finish_repositories: usize,
}

impl Extent {
    /// What fits in three minutes on two cores.
    pub const QUICK: Self = Self {
        offset: 0,
        one: 1,
        others: 3,
        mirrors: 24,
        repositories: 60,
        all_repositories: false,
        pairs: (4, 6),
        finish: 4,
        finish_repositories: 4,
    };
    /// Everything.
    pub const LONG: Self = Self {
        offset: 0,
        one: 1,
        others: 1,
        mirrors: 1,
        repositories: 1,
        all_repositories: true,
        pairs: (1, 1),
        finish: 1,
        finish_repositories: 8,
    };
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { one, others, mirrors, repositories, pairs: (first, second), finish, finish_repositories, .. } = self;
        let which = if self.all_repositories { "those with a repository" } else { REPOSITORIES };
        write!(
            f,
            "killed before each {}call of {TWICE} that changes something, each {}one of the other workloads, each {}one of those with a \
             mirror, each {}one of {which}; twice: each {}first and each {}second; everything restored and compared after each {}point, each \
             {}one of those with a repository",
            nth(*one),
            nth(*others),
            nth(*mirrors),
            nth(*repositories),
            nth(*first),
            nth(*second),
            nth(*finish),
            nth(*finish_repositories)
        )
    }
}

/// A recovery is small; one of which fewer calls are seen is not what it should be.
const FEWEST_CALLS: usize = 8;

/// The workload whose recovery is killed, too.
const TWICE: &str = "offload-one";

/// The workload with a repository that is tried where not all are.
const REPOSITORIES: &str = "kopia-push";

/// One point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// What runs.
    pub workload: &'static Workload,
    /// It is killed before this call.
    pub at: u64,
    /// The first command after that is killed before this one.
    pub then: Option<u64>,
    /// Whether everything is compared at last.
    pub finish: bool,
}

/// What a point came to.
#[derive(Debug, Clone)]
struct Tried {
    wrong: Vec<String>,
    /// Before which call it was killed; nothing if it ended before there were so many.
    killed: Option<String>,
}

impl Point {
    fn shown(&self, killed: Option<&String>) -> String {
        let then = self.then.map(|then| format!(" --then {then}")).unwrap_or_default();
        let again = format!("crashes --workload {} --at {}{then}", self.workload.name, self.at);
        format!("{} before {}; again: {again}", self.workload.name, killed.map_or("its end", String::as_str))
    }

    fn run(&self, place: &mut Place) -> Result<Tried> {
        let workload = self.workload;
        place.begin(workload)?;
        let report = place.home().step(&workload.command, Plan::KillBefore(self.at))?;
        let mut killed = last(&report);
        let mut wrong = not_killed(&report, workload.command.exits);
        wrong.extend(place.look(workload)?);
        if let (Some(then), true, Some(step)) = (self.then, wrong.is_empty(), workload.recover.first()) {
            let report = place.home().step(step, Plan::KillBefore(then))?;
            killed = killed.and(last(&report));
            wrong.extend(not_killed(&report, step.exits));
            wrong.extend(place.look(workload)?);
        }
        if wrong.is_empty() {
            wrong.extend(place.recover(workload, self.finish)?);
        }
        Ok(Tried { wrong, killed })
    }
}

fn last(report: &Report) -> Option<String> {
    (report.ended == Ended::Killed).then(|| report.calls.last().map(ToString::to_string).unwrap_or_default())
}

/// A run may end before it makes so many calls, but then as it should.
fn not_killed(report: &Report, exits: &[i32]) -> Vec<String> {
    match report.ended {
        Ended::Killed => Vec::new(),
        Ended::Exited(exit) if exits.contains(&exit) => Vec::new(),
        ended => vec![format!("ended by itself with {ended:?}: {}", said(&report.stdout, &report.stderr).trim())],
    }
}

/// Kills at all points of an extent. `only` names the one workload that is wanted.
pub fn sweep(workers: &Workers, extent: Extent, only: Option<&'static Workload>, say: Say<'_>) -> Result<Totals> {
    let wanted = |workload: &Workload| match only {
        Some(only) => only.name == workload.name,
        None => workload.second != Second::Kopia || extent.all_repositories || workload.name == REPOSITORIES,
    };
    let (workloads, mut totals) = chosen(wanted, say);
    let references = references(workers, &workloads)?;
    for reference in &references {
        totals += single(workers, extent, reference, say)?;
    }
    for reference in references.iter().filter(|reference| reference.workload.name == TWICE && reference.wrong.is_empty()) {
        totals += pairs(workers, extent, reference, say)?;
    }
    Ok(totals)
}

/// The calls before which a kill leaves something else than before the one before: what only programs of this moment look at stays out.
fn changes(reference: &Reference) -> impl Iterator<Item = u64> {
    reference.calls.iter().filter(|call| call.kind == Kind::Change && !call.passing).map(|call| call.number)
}

fn single(workers: &Workers, extent: Extent, reference: &Reference, say: Say<'_>) -> Result<Totals> {
    let workload = reference.workload;
    if let Some(totals) = undisturbed(reference, say) {
        return Ok(totals);
    }
    let all = changes(reference).count();
    let stride = match workload.second {
        Second::Mirror => extent.mirrors,
        Second::Kopia => extent.repositories,
        Second::Cas if workload.name == TWICE => extent.one,
        Second::Cas => extent.others,
    };
    let finish = if workload.second == Second::Kopia { extent.finish_repositories } else { extent.finish };
    let points: Vec<_> = strided(changes(reference), stride, extent.offset)
        .into_iter()
        .enumerate()
        .map(|(place, at)| Point { workload, at, then: None, finish: workload.name == TWICE || place.is_multiple_of(finish) })
        .collect();
    let what = format!("{}, {}: {all} calls change something", workload.name, workload.about);
    try_all(workers, &points, workload.fewest.all() / stride, &what, say)
}

/// The first command after the crash is killed at every call, too. How many it makes depends on the first crash.
fn pairs(workers: &Workers, extent: Extent, reference: &Reference, say: Say<'_>) -> Result<Totals> {
    let workload = reference.workload;
    let (first, second) = extent.pairs;
    let Some(recovery) = workload.recover.first() else { return Ok(Totals::default()) };
    let crashes = strided(changes(reference), first, extent.offset);
    let counted = workers.spread(&crashes, &|place, at| {
        place.begin(workload)?;
        place.home().step(&workload.command, Plan::KillBefore(*at))?;
        let report = place.home().step(recovery, Plan::Count)?;
        Ok(report.calls.into_iter().filter(|call| call.kind == Kind::Change).filter_map(|call| call.number).collect::<Vec<_>>())
    })?;
    let all: usize = counted.iter().map(Vec::len).sum();
    let mut points = Vec::new();
    for (number, (at, calls)) in crashes.iter().zip(counted).enumerate() {
        // Another second call for each first one, so that strides miss none for ever.
        for then in strided(calls.into_iter(), second, number + extent.offset) {
            let finish = points.len().is_multiple_of(extent.finish);
            points.push(Point { workload, at: *at, then: Some(then), finish });
        }
    }
    let what = format!("{}, and then `{}`: {all} pairs after {} crashes", workload.name, recovery.line, crashes.len());
    let fewest = workload.fewest.all() / first.max(1) * FEWEST_CALLS / second.max(1);
    try_all(workers, &points, fewest, &what, say)
}

/// Tries points, of which at least so many must be there and nearly all must kill something.
fn try_all(workers: &Workers, points: &[Point], fewest: usize, what: &str, say: Say<'_>) -> Result<Totals> {
    let began = std::time::Instant::now();
    let tried = workers.spread(points, &|place, point| point.run(place))?;
    let findings: Vec<_> = points
        .iter()
        .zip(&tried)
        .filter(|(_, tried)| !tried.wrong.is_empty())
        .map(|(point, tried)| Finding { point: point.shown(tried.killed.as_ref()), wrong: tried.wrong.clone() })
        .collect();
    let killed = tried.iter().filter(|tried| tried.killed.is_some()).count();
    let seconds = began.elapsed().as_secs_f64();
    say(&format!("{what}; tried {}, killed {killed}, {} wrong, {seconds:.1} s", points.len(), findings.len()));
    // Threads may come in another order, and a run end a few calls sooner.
    let too_few = (points.len() < fewest || killed * 10 < points.len() * 9).then(|| {
        let wrong = vec![format!("{} points were tried and {killed} killed; at least {fewest} were expected", points.len())];
        Finding { point: what.to_owned(), wrong }
    });
    Ok(concluded(points.len(), findings, too_few, say))
}

/// Tries one point again, and says everything about it.
pub fn again(place: &mut Place, point: Point, say: Say<'_>) -> Result<Totals> {
    place.begin(point.workload)?;
    let report = place.home().step(&point.workload.command, Plan::KillBefore(point.at))?;
    report.calls.iter().for_each(|call| say(&call.to_string()));
    if let (Some(then), Some(step)) = (point.then, point.workload.recover.first()) {
        say(&format!("-- {}", step.line));
        place.home().step(step, Plan::KillBefore(then))?.calls.iter().for_each(|call| say(&call.to_string()));
    }
    let tried = point.run(place)?;
    Ok(once_more(point.shown(tried.killed.as_ref()), tried.wrong, say))
}
