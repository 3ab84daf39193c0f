//! Every call fails, once and from then on.

use crate::home::{Home, said};
use crate::place::Place;
use crate::sweep::{
    Finding, Reference, Say, Totals, Workers, chosen, concluded, nth, once_more, references, shown, strided, undisturbed,
};
use crate::workload::{Second, Workload};
use crate::{ProofError, Result};
use lastcopy_stepper::{Ended, Kind, Plan, Report, Surroundings};
use std::fmt;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with an error that has this name.
    Errno(&'static str, i32),
    /// It writes half of what it is to.
    Short,
    /// Of the calls that read files and names of the home: it fails with `EIO`, as over a bad sector.
    Unread,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// One call.
    Once,
    /// Every call from then on; of interruptions, a long row, for to try again after one is right.
    FromThenOn,
}

/// Whatever a command does, it reads so often before and meanwhile.
const FEWEST_READS: usize = 80;

/// Interruptions in a row: more than any signal causes, and an end to them.
const STORM: u64 = 40;

/// Each fault.
pub const FAULTS: &[Fault] = &[
    Fault::Errno("EIO", libc::EIO),
    Fault::Errno("ENOSPC", libc::ENOSPC),
    Fault::Errno("EDQUOT", libc::EDQUOT),
    Fault::Errno("EINTR", libc::EINTR),
    Fault::Short,
    Fault::Unread,
];

impl Fault {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Errno(name, _) => name,
            Self::Short => "short",
            Self::Unread => "EIO-read",
        }
    }

    /// Runs the command of a workload with it.
    fn run(self, home: &Home, workload: &Workload, plan: Plan) -> Result<Report> {
        let root = std::fs::canonicalize(home.root()).map_err(ProofError::at(home.root()))?;
        let reads_below = (self == Self::Unread).then_some(root.as_path());
        home.step_among(&workload.command, plan, Surroundings { reads_below, ..Surroundings::default() })
    }

    fn plan(self, at: u64, lasting: Lasting) -> Plan {
        let calls = match lasting {
            Lasting::Once => 1,
            Lasting::FromThenOn if self == Self::Errno("EINTR", libc::EINTR) => STORM,
            Lasting::FromThenOn => u64::MAX,
        };
        match self {
            Self::Errno(_, errno) => Plan::Fail { from: at, calls, errno },
            Self::Unread => Plan::Fail { from: at, calls, errno: libc::EIO },
            Self::Short => Plan::Short { from: at, calls },
        }
    }
}

/// How much is tried: of all faults at all calls, each so many-th.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Where the row of points begins.
    pub offset: usize,
    /// The stride.
    pub stride: usize,
    /// Whether workloads are tried, too, whose second destination another program writes. Its calls fail like lastcopy's own.
    pub programs: bool,
    /// After each so many-th point, everything is pushed, verified, restored and compared.
    pub finish: usize,
}

impl Extent {
    /// What fits in two minutes on two cores.
    pub const QUICK: Self = Self { offset: 0, stride: 23, programs: false, finish: 8 };
    /// Everything.
    pub const LONG: Self = Self { offset: 0, stride: 1, programs: true, finish: 4 };
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = FAULTS.iter().map(|fault| fault.name()).collect();
        let (stride, finish) = (nth(self.stride), nth(self.finish));
        let names = names.join(", ");
        write!(
            f,
            "of {names} at each call, once and from then on, each {stride}point; everything restored and compared after each {finish}of them"
        )
    }
}

/// One point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// What runs.
    pub workload: &'static Workload,
    /// What happens.
    pub fault: Fault,
    /// How often.
    pub lasting: Lasting,
    /// To which call first.
    pub at: u64,
    /// Whether everything is compared at last.
    pub finish: bool,
}

struct Tried {
    wrong: Vec<String>,
    /// Whether anything was made to fail.
    injected: bool,
    /// Whether the program said that it did its work all the same.
    succeeded: bool,
}

impl Point {
    fn shown(&self) -> String {
        let Self { workload, at, lasting, .. } = self;
        let (on, text) = if *lasting == Lasting::Once { ("", "at") } else { (" --from-then-on", "from") };
        let fault = self.fault.name();
        format!(
            "{}, {fault} {text} call {at}; again: errors --workload {} --fault {fault} --at {at}{on}",
            workload.name, workload.name
        )
    }

    fn run(&self, place: &mut Place) -> Result<Tried> {
        let workload = self.workload;
        place.begin(workload)?;
        let report = self.fault.run(place.home(), workload, self.fault.plan(self.at, self.lasting))?;
        let config = place.home().config();
        let mut unread = report.calls.iter().filter(|call| call.kind == Kind::Read && call.injected.is_some());
        // A configuration that cannot be read is one that is wrong.
        let unusable = report.ended == Ended::Exited(2) && unread.any(|call| call.targets[0].path == config);
        let mut wrong = if unusable { Vec::new() } else { ended_well(&report) };
        let succeeded = report.ended == Ended::Exited(0);
        wrong.extend(place.look(workload)?);
        if succeeded && wrong.is_empty() {
            wrong.extend(shown(place, workload)?.into_iter().map(|wrong| format!("said that it did its work, but {wrong}")));
        }
        if wrong.is_empty() {
            wrong.extend(place.recover(workload, self.finish)?);
        }
        Ok(Tried { wrong, injected: report.injected > 0, succeeded })
    }
}

/// Whatever fails, it says so: no crash, no endless loop, no claim that the command line was wrong.
pub(crate) fn ended_well(report: &Report) -> Vec<String> {
    match report.ended {
        Ended::Exited(0 | 1 | 3 | 4) => Vec::new(),
        ended => vec![format!("ended with {ended:?}: {}", said(&report.stdout, &report.stderr).trim())],
    }
}

/// Every fault at every call that can have it.
fn points(reference: &Reference, reads: u64, fault: Option<Fault>) -> Vec<Point> {
    let mut points = Vec::new();
    for fault in FAULTS.iter().filter(|one| fault.is_none_or(|fault| fault == **one)) {
        let calls: Vec<_> = match fault {
            Fault::Errno(..) => reference.calls.iter().map(|call| call.number).collect(),
            Fault::Short => reference.calls.iter().filter(|call| call.can_be_short).map(|call| call.number).collect(),
            Fault::Unread => (1..=reads).collect(),
        };
        for lasting in [Lasting::Once, Lasting::FromThenOn] {
            let point = |at: &u64| Point { workload: reference.workload, fault: *fault, lasting, at: *at, finish: false };
            points.extend(calls.iter().map(point));
        }
    }
    points
}

/// How many calls of a workload read files and names of the home.
fn reads(workers: &Workers, workload: &'static Workload) -> Result<u64> {
    let counted = workers.spread(&[workload], &|place, workload| {
        place.begin(workload)?;
        Ok(Fault::Unread.run(place.home(), workload, Plan::Count)?.counted)
    })?;
    Ok(counted.into_iter().sum())
}

/// Makes all calls of an extent fail. `only` names the one workload that is wanted, `fault` the one fault.
pub fn sweep(
    workers: &Workers,
    extent: Extent,
    only: Option<&'static Workload>,
    fault: Option<Fault>,
    say: Say<'_>,
) -> Result<Totals> {
    let wanted = |workload: &Workload| match only {
        Some(only) => only.name == workload.name,
        None => workload.second == Second::Cas || extent.programs,
    };
    let (workloads, mut totals) = chosen(wanted, say);
    for reference in references(workers, &workloads)? {
        totals += one(workers, extent, &reference, fault, say)?;
    }
    Ok(totals)
}

fn one(workers: &Workers, extent: Extent, reference: &Reference, fault: Option<Fault>, say: Say<'_>) -> Result<Totals> {
    let workload = reference.workload;
    if let Some(totals) = undisturbed(reference, say) {
        return Ok(totals);
    }
    let began = std::time::Instant::now();
    let reads = reads(workers, workload)?;
    let all = points(reference, reads, fault);
    let mut chosen = strided(all.iter().copied(), extent.stride, extent.offset);
    chosen.iter_mut().step_by(extent.finish).for_each(|point| point.finish = true);
    let tried = workers.spread(&chosen, &|place, point| point.run(place))?;
    let findings = chosen.iter().zip(&tried).filter(|(_, tried)| !tried.wrong.is_empty());
    let findings: Vec<_> = findings.map(|(point, tried)| Finding { point: point.shown(), wrong: tried.wrong.clone() }).collect();
    let injected = tried.iter().filter(|tried| tried.injected).count();
    let succeeded = tried.iter().filter(|tried| tried.injected && tried.succeeded).count();
    let calls = reference.calls.len();
    let what = format!("{}, {}: {calls} calls, {reads} that read, {} faults", workload.name, workload.about, all.len());
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "{what}; tried {}, made to fail {injected}, done all the same {succeeded}, {} wrong, {seconds:.1} s",
        chosen.len(),
        findings.len()
    ));
    // Each call can fail with each error, once and from then on; not each can be short.
    let of =
        |wanted: fn(&Fault) -> bool| FAULTS.iter().filter(|one| wanted(one) && fault.is_none_or(|fault| fault == **one)).count();
    let (errors, unread) = (of(|one| matches!(one, Fault::Errno(..))), of(|one| *one == Fault::Unread));
    let fewest = (workload.fewest.all() * errors + FEWEST_READS * unread) * 2 / extent.stride;
    // Threads may come in another order, and a run end a few calls sooner.
    let too_few = (chosen.len() < fewest || injected * 10 < chosen.len() * 9).then(|| {
        let wrong = vec![format!("{} points were tried and {injected} failed; at least {fewest} were expected", chosen.len())];
        Finding { point: what, wrong }
    });
    Ok(concluded(chosen.len(), findings, too_few, say))
}

/// Tries one point again, and says everything about it.
pub fn again(place: &mut Place, point: Point, say: Say<'_>) -> Result<Totals> {
    place.begin(point.workload)?;
    let report = point.fault.run(place.home(), point.workload, point.fault.plan(point.at, point.lasting))?;
    report.calls.iter().for_each(|call| say(&call.to_string()));
    say(&format!("{:?}: {}", report.ended, said(&report.stdout, &report.stderr).trim()));
    let tried = point.run(place)?;
    Ok(once_more(point.shown(), tried.wrong, say))
}
