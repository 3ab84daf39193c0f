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
use std::time::{Duration, Instant};

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

/// A history takes milliseconds. One that takes so long never ends.
const PATIENCE: Duration = Duration::from_secs(300);

/// Who hears of histories while they are carried out.
#[derive(Clone, Copy)]
pub struct Listener<'a> {
    /// How many are done, now and then.
    pub done: &'a (dyn Fn(u64) + Sync),
    /// That this one never ends. Nobody can stop it: the process has to be left.
    pub stuck: &'a (dyn Fn(u64) + Sync),
}

/// What each worker carries out, since when.
type Busy = [Mutex<Option<(u64, Instant)>>];

/// Carries out histories at random.
pub fn run(base: &Path, quantity: Quantity, runtime: &tokio::runtime::Handle, listener: Listener<'_>) -> Result<Ran> {
    let busy: Vec<_> = (0..quantity.threads).map(|_| Mutex::new(None)).collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&busy, &ended, listener.stuck));
        let ran = carry_out_all(base, quantity, runtime, &busy, listener.done);
        ended.store(true, Ordering::SeqCst);
        ran
    })
}

fn watch(busy: &Busy, ended: &AtomicBool, stuck: &dyn Fn(u64)) {
    while !ended.load(Ordering::SeqCst) {
        for one in busy {
            let one = *one.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((number, _)) = one.filter(|(_, since)| since.elapsed() > PATIENCE) {
                stuck(number);
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn carry_out_all(
    base: &Path,
    quantity: Quantity,
    runtime: &tokio::runtime::Handle,
    busy: &Busy,
    tell: &(dyn Fn(u64) + Sync),
) -> Result<Ran> {
    let work = Work { quantity, tell, next: AtomicU64::new(0), enough: AtomicBool::new(false), all: Mutex::default() };
    let broken: Mutex<Option<Broken>> = Mutex::default();
    std::thread::scope(|scope| {
        for (worker, busy) in busy.iter().enumerate() {
            let (work, broken) = (&work, &broken);
            scope.spawn(move || {
                let world = World::new(&base.join(format!("world-{worker}")), runtime.clone());
                if let Err(error) = world.and_then(|world| work.carry_out(&world, busy)) {
                    work.enough.store(true, Ordering::SeqCst);
                    broken.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
    });
    if let Some(broken) = broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(broken);
    }
    Ok(work.all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// What the workers share.
struct Work<'a> {
    quantity: Quantity,
    tell: &'a (dyn Fn(u64) + Sync),
    next: AtomicU64,
    enough: AtomicBool,
    all: Mutex<Ran>,
}

impl Work<'_> {
    fn carry_out(&self, world: &Arc<World>, busy: &Mutex<Option<(u64, Instant)>>) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            if number >= self.quantity.histories || self.enough.load(Ordering::SeqCst) {
                return Ok(());
            }
            let number = self.quantity.first + number;
            let set = |since| *busy.lock().unwrap_or_else(PoisonError::into_inner) = since;
            let replay = |ops: &[Op]| {
                set(Some((number, Instant::now())));
                let what = replay(world, ops);
                set(None);
                what
            };
            let ops = history(&mut Random::of_history(self.quantity.seed, number));
            let what = replay(&ops)?;
            let reached = world.reached();
            let found = match what {
                None => None,
                Some(what) => {
                    let small = shrink(&ops, &mut |ops| matches!(replay(ops), Ok(Some(_))));
                    let smallest = replay(&small)?.unwrap_or_default();
                    Some(Found { number, what, text: print(&small), smallest })
                }
            };
            let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
            all.histories += 1;
            all.operations += ops.len() as u64;
            reached.into_iter().for_each(|(what, count)| *all.reached.entry(what).or_default() += count);
            all.found.extend(found);
            if all.found.len() >= self.quantity.enough {
                self.enough.store(true, Ordering::SeqCst);
            }
            let done = all.histories;
            drop(all);
            (self.tell)(done);
        }
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
