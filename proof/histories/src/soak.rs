//! The soak: worlds that go on and on, with people and disks that do not wait for the tool, and everything mended now and then.

use crate::error::Result;
use crate::generate::{anything, story};
use crate::op::Op;
use crate::random::Random;
use crate::word::{At, Dest, Moment, Terms, Vol};
use crate::world::World;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Files that a person of a soak has in each volume, about.
const FILES: usize = 150;

/// What a soak came to.
#[derive(Debug, Clone, Default)]
pub struct Soaked {
    /// Operations that were carried out one after another.
    pub operations: u64,
    /// Operations of people and disks meanwhile.
    pub meanwhile: u64,
    /// How often everything was mended, and compared.
    pub compared: u64,
    /// Files that were offloaded, by the end of each world.
    pub offloaded: u64,
    /// Those of them that are nowhere, because every disk that held them lost them.
    pub lost_by_disks: u64,
    /// How often each situation was reached.
    pub reached: BTreeMap<&'static str, u64>,
    /// What was found.
    pub found: Vec<String>,
}

/// Soaks for so long, in so many worlds. `tell` hears how it goes, now and then.
pub fn soak(
    base: &Path,
    lasting: Duration,
    seed: u64,
    worlds: usize,
    runtime: &tokio::runtime::Handle,
    tell: &(dyn Fn(&Soaked) + Sync),
) -> Result<Soaked> {
    let until = Instant::now() + lasting;
    let all: Mutex<Soaked> = Mutex::default();
    std::thread::scope(|scope| {
        let worlds: Vec<_> = (0..worlds)
            .map(|number| {
                let (all, place) = (&all, base.join(format!("soak-{number}")));
                scope.spawn(move || one(&place, until, Random::of_history(seed, number as u64), runtime, all, tell))
            })
            .collect();
        worlds.into_iter().try_for_each(|world| world.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn one(
    place: &Path,
    until: Instant,
    mut random: Random,
    runtime: &tokio::runtime::Handle,
    all: &Mutex<Soaked>,
    tell: &(dyn Fn(&Soaked) + Sync),
) -> Result<()> {
    let world = World::new(place, runtime.clone())?;
    world.reset()?;
    let mut trail = Vec::new();
    for number in 0..2 * FILES {
        let volume = Vol::ALL[number % 2];
        world.step(
            &Op::Write { volume, at: At::further(number), content: u8::try_from(100 + random.below(156)).unwrap_or(1) },
            Vec::new(),
        )?;
    }
    loop {
        let mut soaked = Soaked::default();
        let mut found = None;
        if Instant::now() < until {
            found = chaos(&world, &mut random, until, &mut soaked, &mut trail)?;
        }
        let last = Instant::now() >= until;
        if found.is_none() {
            found = mended(&world, last, &mut soaked)?;
        }
        let ended = last || found.is_some();
        if ended {
            soaked.reached = world.reached();
            let state = world.state();
            soaked.offloaded = state.ledger.offloaded.len() as u64;
            let held = |hash| state.ledger.disks.values().any(|disk| disk.held.contains(hash));
            soaked.lost_by_disks = state.ledger.offloaded.keys().filter(|(_, _, hash)| !held(hash)).count() as u64;
        }
        if let Some(what) = found {
            let trail: Vec<_> = trail.iter().rev().take(25).rev().map(Op::to_string).collect();
            soaked.found.push(format!("{what}\nthe last operations:\n{}", trail.join("\n")));
        }
        let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
        all.add(soaked);
        tell(&all);
        if ended {
            return Ok(());
        }
    }
}

impl Soaked {
    fn add(&mut self, other: Self) {
        self.operations += other.operations;
        self.meanwhile += other.meanwhile;
        self.compared += other.compared;
        self.offloaded += other.offloaded;
        self.lost_by_disks += other.lost_by_disks;
        other.reached.into_iter().for_each(|(what, count)| *self.reached.entry(what).or_default() += count);
        self.found.extend(other.found);
    }
}

/// Some stories, while people and disks do what they do.
fn chaos(
    world: &Arc<World>,
    random: &mut Random,
    until: Instant,
    soaked: &mut Soaked,
    trail: &mut Vec<Op>,
) -> Result<Option<String>> {
    let (over, meanwhile) = (AtomicBool::new(false), AtomicU64::new(0));
    let background = Random::of_history(random.below(usize::MAX) as u64, 1);
    let done = std::thread::scope(|scope| {
        let people = scope.spawn(|| people(world, background, &over, &meanwhile));
        let done = stories(world, random, until, soaked, trail);
        over.store(true, Ordering::SeqCst);
        let beside = people.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        beside.and(done)
    })?;
    soaked.meanwhile += meanwhile.load(Ordering::SeqCst);
    Ok(done)
}

fn stories(
    world: &Arc<World>,
    random: &mut Random,
    until: Instant,
    soaked: &mut Soaked,
    trail: &mut Vec<Op>,
) -> Result<Option<String>> {
    for _ in 0..6 {
        let mut ops = Vec::new();
        story(random, &mut ops);
        for _ in 0..2 {
            ops.push(anything(random));
        }
        let mut within: Vec<(Moment, u16, Op)> = Vec::new();
        for op in ops {
            // A soak of one world has one index, and no end but its own.
            if matches!(op, Op::Recover { .. } | Op::SwapPlaces { .. } | Op::Finish) {
                continue;
            }
            trail.push(op.clone());
            if let Op::During { moment, number, op } = op {
                within.push((moment, number, *op));
                continue;
            }
            let taken = if op.is_command() { std::mem::take(&mut within) } else { Vec::new() };
            soaked.operations += 1;
            if let Some(what) = world.step(&op, taken)? {
                return Ok(Some(format!("`{op}`: {what}")));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
        }
    }
    Ok(None)
}

/// People write, rename and delete, and disks lose an object now and then, whatever the tool is doing.
fn people(world: &Arc<World>, mut random: Random, over: &AtomicBool, meanwhile: &AtomicU64) -> Result<()> {
    while !over.load(Ordering::SeqCst) {
        let volume = random.of(Vol::ALL);
        let at = At::further(random.below(2 * FILES));
        let content = u8::try_from(100 + random.below(156)).unwrap_or(1);
        let op = match random.weighted(&[8, 6, 2, 2, 2, 1, 1]) {
            0 => Op::Write { volume, at, content },
            1 => Op::Replace { volume, at, content },
            2 => Op::Append { volume, at },
            3 => Op::Rename { volume, at, to: At::further(random.below(2 * FILES)) },
            4 => Op::Delete { volume, at },
            5 => Op::Lose { at: random.of(Dest::ALL), content },
            _ => Op::Flip { at: random.of(Dest::ALL), content },
        };
        if !world.befall(&op)? {
            world.edit(&op)?;
        }
        meanwhile.fetch_add(1, Ordering::SeqCst);
        // The pace of people, not a way to wait for anything.
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok(())
}

/// Everything is mended, pushed and offloaded; at the end, everything is restored and compared.
fn mended(world: &Arc<World>, last: bool, soaked: &mut Soaked) -> Result<Option<String>> {
    let mut ops = vec![Op::Close, Op::End, Op::Abort];
    for at in Dest::ALL.iter().copied() {
        ops.extend([Op::Honest { at }, Op::Plug { at }, Op::Init { at }, Op::Adopt { at }, Op::Reset { at }, Op::Init { at }]);
    }
    ops.push(Op::Acknowledge);
    for volume in Vol::ALL.iter().copied() {
        ops.extend([
            Op::Policy { volume, terms: Terms::Both },
            Op::AcceptPolicy { volume },
            Op::Index { volume, accept_loss: true },
        ]);
    }
    ops.extend(Dest::ALL.iter().map(|at| Op::Verify { at: *at, quick: false }));
    for volume in Vol::ALL.iter().copied() {
        ops.extend(Dest::ALL.iter().map(|to| Op::Sync { volume, to: *to }));
    }
    ops.extend(Dest::ALL.iter().map(|at| Op::Repair { at: *at }));
    if last {
        ops.push(Op::Offload { volume: Vol::Photos, full: true });
    } else {
        ops.extend(Vol::ALL.iter().map(|volume| Op::Offload { volume: *volume, full: false }));
    }
    for op in ops {
        soaked.operations += 1;
        if let Some(what) = world.step(&op, Vec::new())? {
            return Ok(Some(format!("while everything is mended, `{op}`: {what}")));
        }
    }
    if last {
        if let Some(what) = world.finish()? {
            return Ok(Some(what));
        }
        soaked.compared += 1;
    }
    Ok(None)
}
