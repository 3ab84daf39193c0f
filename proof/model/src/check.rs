//! Exploring the models, and saying what came of it.

use crate::machine::{Asks, Bounds, Fault, Guard, Machine};
use crate::{peers, relay};
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::io::{self, Write};
use std::time::Instant;

/// The first search of the shipped model has to come as far as this at least. It is not the sum of all of them: they share states.
const AT_LEAST: usize = 700_000;

/// How much is explored, and told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Wider bounds: many minutes instead of one.
    pub long: bool,
    /// Print the steps of each counterexample.
    pub verbose: bool,
    /// Threads.
    pub threads: usize,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Properties that held, situations that were reached, variants that were found wrong.
    pub passed: u64,
    /// The others.
    pub failed: u64,
    /// States of the shipped model, in the first and widest search.
    pub states: usize,
}

/// What came of exploring one model.
struct Explored {
    states: usize,
    depth: usize,
    seconds: f64,
    always: BTreeSet<&'static str>,
    /// What must always hold and does not, and the way there.
    wrong: Vec<(&'static str, Vec<String>)>,
    situations: BTreeSet<&'static str>,
    reached: BTreeSet<&'static str>,
}

/// Explores a model to its bounds, or until something is wrong.
fn explore<M>(model: M, threads: usize) -> Explored
where
    M: Model + Send + Sync + 'static,
    M::State: Hash + Debug + Clone + PartialEq + Send + Sync + 'static,
    M::Action: Debug + Clone + PartialEq + Send + Sync + 'static,
{
    let began = Instant::now();
    let checker = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let mut explored = Explored {
        states: checker.unique_state_count(),
        depth: checker.max_depth(),
        seconds: began.elapsed().as_secs_f64(),
        always: BTreeSet::new(),
        wrong: Vec::new(),
        situations: BTreeSet::new(),
        reached: BTreeSet::new(),
    };
    for property in checker.model().properties() {
        let found = checker.discovery(property.name);
        if property.expectation.discovery_is_failure() {
            explored.always.insert(property.name);
            let steps = found.map(|way| way.into_actions().iter().map(|action| format!("{action:?}")).collect());
            explored.wrong.extend(steps.map(|steps| (property.name, steps)));
        } else {
            explored.situations.insert(property.name);
            explored.reached.extend(found.map(|_| property.name));
        }
    }
    explored
}

/// Tells what came of it as it comes.
struct Teller<'a> {
    size: Size,
    out: &'a mut dyn Write,
    report: Report,
}

impl Teller<'_> {
    fn count(&mut self, good: bool) {
        *(if good { &mut self.report.passed } else { &mut self.report.failed }) += 1;
    }

    fn steps(&mut self, steps: &[String]) -> io::Result<()> {
        steps.iter().try_for_each(|step| writeln!(self.out, "      {step}"))
    }

    /// A model with every guard: nothing may be wrong.
    fn whole(&mut self, name: &str, explored: &Explored) -> io::Result<()> {
        let Explored { states, depth, seconds, always, wrong, .. } = explored;
        writeln!(self.out, "{name}: {states} states, up to {depth} steps, {seconds:.1} s")?;
        for _ in wrong.len()..always.len() {
            self.count(true);
        }
        for (property, steps) in wrong {
            self.count(false);
            writeln!(self.out, "  FAILED: {property}, after {} steps:", steps.len())?;
            self.steps(steps)?;
        }
        Ok(())
    }

    /// Situations that some model must have come to.
    fn situations(&mut self, all: &BTreeSet<&str>, reached: &BTreeSet<&str>) -> io::Result<()> {
        for situation in all {
            self.count(reached.contains(situation));
            if !reached.contains(situation) {
                writeln!(self.out, "  FAILED: never reached: {situation}")?;
            }
        }
        writeln!(self.out, "  {} of {} situations reached", reached.len(), all.len())
    }

    /// A model without a guard: something must be wrong.
    fn variant(&mut self, does: &str, explored: &Explored) -> io::Result<()> {
        let shortest = explored.wrong.iter().min_by_key(|(_, steps)| steps.len());
        self.count(shortest.is_some());
        let Some((property, steps)) = shortest else {
            return writeln!(self.out, "  FAILED: found safe, in {} states: {does}", explored.states);
        };
        writeln!(self.out, "  wrong after {:>2} steps: {does}", steps.len())?;
        if self.size.verbose {
            writeln!(self.out, "    not true: {property}")?;
            self.steps(steps)?;
        }
        Ok(())
    }
}

/// Explores every model and every variant.
pub fn check(size: Size, out: &mut dyn Write) -> io::Result<Report> {
    let mut teller = Teller { size, out, report: Report::default() };
    machines(&mut teller)?;
    let threads = size.threads;

    writeln!(teller.out, "two nodes that count on each other")?;
    // The rule that who has asked gives nothing is one too many for safety: the others must do without it.
    let alone = explore(peers::Peers::new(None, false), threads);
    teller.whole("  without the rule that who asked gives nothing", &alone)?;
    if size.long {
        teller.whole("  with it", &explore(peers::Peers::new(None, true), threads))?;
    }
    teller.situations(&alone.situations, &alone.reached)?;
    for guard in peers::Guard::ALL {
        teller.variant(guard.without(), &explore(peers::Peers::new(Some(guard), false), 1))?;
    }

    writeln!(teller.out, "evidence that travels")?;
    let whole = explore(relay::Relay::new(None), threads);
    teller.whole("  every guard", &whole)?;
    teller.situations(&whole.situations, &whole.reached)?;
    for guard in relay::Guard::ALL {
        teller.variant(guard.without(), &explore(relay::Relay::new(Some(guard)), 1))?;
    }
    Ok(teller.report)
}

/// The bounds within which the shipped model is explored.
fn searches(long: bool) -> Vec<(String, Bounds)> {
    let base = Bounds { places: 2, asks: Asks::All, versions: 2, inodes: 3, kinds: Fault::ALL, faults: 1, runs: 2 };
    let mut searches = vec![("every fault by itself".to_owned(), base)];
    let mut sets: Vec<_> = Guard::ALL.into_iter().map(Guard::against).filter(|kinds| kinds.len() > 1).collect();
    let mut seen = BTreeSet::new();
    sets.retain(|kinds| seen.insert(kinds.iter().map(|kind| *kind as u8).collect::<Vec<_>>()));
    for kinds in sets {
        let versions = if long { 2 } else { 1 };
        let faults = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
        searches.push((format!("{kinds:?}"), Bounds { kinds, faults, versions, ..base }));
    }
    let two_of_three = Bounds { places: 3, asks: Asks::Some(2), versions: 1, ..base };
    if long {
        searches.push(("every two faults, no edits".into(), Bounds { versions: 1, faults: 2, ..base }));
        searches.push(("three contents, no faults".into(), Bounds { versions: 3, inodes: 4, runs: 3, faults: 0, ..base }));
        searches.push(("two of three destinations, every fault by itself".into(), two_of_three));
    } else {
        searches.push(("two of three destinations, no faults".into(), Bounds { faults: 0, ..two_of_three }));
    }
    searches
}

fn machines(teller: &mut Teller<'_>) -> io::Result<()> {
    writeln!(teller.out, "one node")?;
    let (mut all, mut reached, mut first) = (BTreeSet::new(), BTreeSet::new(), None);
    let searches = searches(teller.size.long);
    for (name, bounds) in &searches {
        let explored = explore(Machine::new(*bounds, None), teller.size.threads);
        teller.whole(&format!("  {name}"), &explored)?;
        first.get_or_insert(explored.states);
        all.extend(explored.situations);
        reached.extend(explored.reached);
    }
    teller.situations(&all, &reached)?;
    let states = first.unwrap_or(0);
    teller.report.states = states;
    teller.count(states >= AT_LEAST);
    writeln!(teller.out, "  {states} states of the shipped model in the first search, of {AT_LEAST} that it must be at least")?;
    for guard in Guard::ALL {
        let kinds = guard.against();
        let faults = u32::try_from(kinds.len()).unwrap_or(u32::MAX);
        let bounds = Bounds { kinds, faults, ..searches[0].1 };
        // One thread finds the same shortest way every time.
        teller.variant(guard.without(), &explore(Machine::new(bounds, Some(guard)), 1))?;
    }
    Ok(())
}
