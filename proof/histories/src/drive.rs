//! Many histories, on several threads; and the text of one, again.

use crate::error::{Broken, Result};
use crate::generate::history;
use crate::op::{Op, parse, print};
use crate::random::Random;
use crate::shrink::shrink;
use crate::world::World;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How many histories, from which seed, on how many threads.
#[derive(Debug, Clone, Copy)]
pub struct Quantity {
    /// How many.
    pub histories: u64,
    /// All of them follow from this.
    pub seed: u64,
    /// The first number.
    pub first: u64,
    /// At the same time.
    pub threads: usize,
    /// After so many findings there is no use in going on.
    pub enough: usize,
}

/// A history in which something happened that must not.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its number.
    pub number: u64,
    /// What happened.
    pub what: String,
    /// The smallest text that still fails.
    pub text: String,
    /// What happens in that one.
    pub smallest: String,
}

/// What a run came to.
#[derive(Debug, Clone, Default)]
pub struct Ran {
    /// Histories that were carried out to their end.
    pub histories: u64,
    /// Operations in them.
    pub operations: u64,
    /// How often each situation was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// What was found.
    pub found: Vec<Found>,
}

/// Carries out one history. Gives what must not have happened, if it did.
pub fn replay(world: &Arc<World>, ops: &[Op]) -> Result<Option<String>> {
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| carry_out(world, ops)));
    world.moments.end();
    match done {
        Ok(done) => done,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Ok(Some(format!("a panic: {}", text.unwrap_or_default())))
        }
    }
}

fn carry_out(world: &Arc<World>, ops: &[Op]) -> Result<Option<String>> {
    world.reset()?;
    let mut within = Vec::new();
    for (place, op) in ops.iter().enumerate() {
        if let Op::During { moment, number, op } = op {
            within.push((*moment, *number, op.as_ref().clone()));
            continue;
        }
        if *op == Op::Finish {
            if let Some(what) = world.finish()? {
                return Ok(Some(what));
            }
            continue;
        }
        let taken = if op.is_command() { std::mem::take(&mut within) } else { Vec::new() };
        match world.step(op, taken) {
            Ok(None) => {}
            Ok(Some(what)) => return Ok(Some(format!("after operation {} (`{op}`): {what}", place + 1))),
            Err(broken) => return Ok(Some(format!("operation {} (`{op}`) could not be done: {broken}", place + 1))),
        }
    }
    Ok(None)
}

/// Carries out histories at random. `tell` hears how many are done, now and then.
pub fn run(base: &Path, quantity: Quantity, runtime: &tokio::runtime::Handle, tell: &(dyn Fn(u64) + Sync)) -> Result<Ran> {
    let next = AtomicU64::new(0);
    let enough = AtomicBool::new(false);
    let all: Mutex<Ran> = Mutex::default();
    let broken: Mutex<Option<Broken>> = Mutex::default();
    std::thread::scope(|scope| {
        for worker in 0..quantity.threads {
            let (next, enough, all, broken) = (&next, &enough, &all, &broken);
            scope.spawn(move || {
                let place = base.join(format!("world-{worker}"));
                let done = work(&place, quantity, runtime, next, enough, all, tell);
                if let Err(error) = done {
                    enough.store(true, Ordering::SeqCst);
                    broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    if let Some(broken) = broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(broken);
    }
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn work(
    place: &Path,
    quantity: Quantity,
    runtime: &tokio::runtime::Handle,
    next: &AtomicU64,
    enough: &AtomicBool,
    all: &Mutex<Ran>,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    let world = World::new(place, runtime.clone())?;
    loop {
        let number = next.fetch_add(1, Ordering::SeqCst);
        if number >= quantity.histories || enough.load(Ordering::SeqCst) {
            return Ok(());
        }
        let number = quantity.first + number;
        let ops = history(&mut Random::of_history(quantity.seed, number));
        let what = replay(&world, &ops)?;
        let reached = world.reached();
        let found = match what {
            None => None,
            Some(what) => {
                let small = shrink(&ops, &mut |ops| matches!(replay(&world, ops), Ok(Some(_))));
                let smallest = replay(&world, &small)?.unwrap_or_default();
                Some(Found { number, what, text: print(&small), smallest })
            }
        };
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.histories += 1;
        all.operations += ops.len() as u64;
        reached.into_iter().for_each(|(what, count)| *all.reached.entry(what).or_default() += count);
        all.found.extend(found);
        if all.found.len() >= quantity.enough {
            enough.store(true, Ordering::SeqCst);
        }
        let done = all.histories;
        drop(all);
        tell(done);
    }
}

/// Every text of a history below a directory, by name.
pub fn regressions(dir: &Path) -> Result<Vec<(PathBuf, Vec<Op>)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "txt") {
            let text = std::fs::read_to_string(&path)?;
            let ops = parse(&text).map_err(|error| Broken::Other(format!("{}: {error}", path.display())))?;
            all.push((path, ops));
        }
    }
    all.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(all)
}
