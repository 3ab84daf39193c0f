//! The conformance suite: what every kind of destination has to do, and what must not happen when one lies or breaks.
//!
//! A kind's crate registers by giving its [`Subject`] to [`honest`] and [`lying`] in its tests. The first drives the kind alone, then
//! whole pushes over a real index. The second repeats those against lies of the destination ([`Liar`]), against storage that was
//! tampered with ([`Tamper`]), and against the kind's own [`Fault`]s; after each, an oracle looks at the storage by plain means, and
//! compares what lies there with what the index takes for proven. Kinds can use the [`Rig`] for further tests of their own.
//!
//! [`against_own`] runs the part that needs no tampering in scratch parts of a person's own destination.

mod checks;
mod harness;
mod liar;
mod own;
mod rig;
mod subject;
mod trials;

pub use liar::{Liar, Lie};
pub use rig::{Checked, Pushing, Rig, Site, gate_is_open, holds};
pub use subject::{Cure, Fault, Made, Subject, Tamper};

use crate::destination::{Context, Destination};
use crate::error::SyncError;
use own::Own;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use trials::{Expected, Trial};

/// Trials at a time.
const SIDE_BY_SIDE: usize = 8;

/// How one check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// What was checked, in a few words.
    pub name: String,
    /// Nothing, or what went wrong.
    pub outcome: Result<(), String>,
}

/// Runs what needs no tampering in scratch parts of a person's own destination, and removes them again: every check of the kind alone,
/// whole pushes, and pushes that are cut short.
pub fn against_own(destination: &dyn Destination, context: &Context) -> Result<Vec<CheckResult>, SyncError> {
    let own = Own::new(destination, context);
    let mut results = honest(&own, context);
    let trial = &Trial { subject: &own, context };
    let cut_short: Vec<_> = trials::PUSHES.iter().filter(|expected| expected.is_cut_short()).collect();
    results.extend(side_by_side(&cut_short.into_iter().map(|expected| lied_to(trial, expected)).collect::<Vec<_>>()));
    own.remove()?;
    Ok(results)
}

/// Runs the checks of a kind alone against any destination at a place where nothing is: also against one that lies, to see that
/// they notice.
pub fn alone(destination: &Arc<dyn Destination>, context: &Context) -> Vec<CheckResult> {
    checks::all(destination, context)
}

/// Everything that an honest destination has to do.
pub fn honest(subject: &dyn Subject, context: &Context) -> Vec<CheckResult> {
    let mut results = match subject.make() {
        Ok(made) => checks::all(&made.destination(), context),
        Err(why) => vec![CheckResult { name: "a destination is made".into(), outcome: Err(why) }],
    };
    let trial = &Trial { subject, context };
    results.extend(side_by_side(&[("whole pushes, a verify and a fetch agree".into(), Box::new(|| trial.whole()))]));
    results
}

/// Everything that must not happen when a destination lies or breaks.
pub fn lying(subject: &dyn Subject, context: &Context) -> Vec<CheckResult> {
    let trial = &Trial { subject, context };
    let mut all: Vec<Named<'_>> = trials::PUSHES.iter().map(|expected| lied_to(trial, expected)).collect();
    for (name, run) in trials::OTHERS {
        all.push((name.into(), Box::new(move || run(trial))));
    }
    for fault in subject.faults() {
        all.push((format!("the storage fails a push: {}", fault.name), Box::new(move || trial.fault(fault))));
    }
    side_by_side(&all)
}

/// A trial, and its name.
type Named<'a> = (String, Box<dyn Fn() -> Checked + Sync + 'a>);

fn lied_to<'a>(trial: &'a Trial<'a>, expected: &'static Expected) -> Named<'a> {
    (format!("nothing false is believed, and the next push goes on: {}", expected.lie()), Box::new(move || trial.push(expected)))
}

/// Trials wait for the disk more than they compute, and each has a node and a place of its own.
fn side_by_side(all: &[Named<'_>]) -> Vec<CheckResult> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<_>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some((place, (name, run))) = all.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = CheckResult { name: name.clone(), outcome: run() };
                    results.lock().unwrap_or_else(PoisonError::into_inner).push((place, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}
