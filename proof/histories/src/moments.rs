//! The moments within a command at which something else can happen.

use crate::op::Op;
use crate::word::Moment;
use crate::world::World;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, Weak};

/// Counts moments, and does what is planned for them.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    /// Whether a command runs within which things can happen.
    active: AtomicBool,
    state: Mutex<Plan>,
    world: OnceLock<Weak<World>>,
}

#[derive(Debug, Default)]
struct Plan {
    waiting: Vec<(Moment, u16, Op)>,
    counts: BTreeMap<Moment, u16>,
    /// Something happens now: what that does is no moment of the command.
    busy: bool,
}

impl Moments {
    pub(crate) fn belongs_to(&self, world: Weak<World>) {
        drop(self.world.set(world));
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A command begins, within which these things are to happen.
    pub(crate) fn begin(&self, waiting: Vec<(Moment, u16, Op)>) {
        *self.lock() = Plan { waiting, ..Plan::default() };
        self.active.store(true, Ordering::SeqCst);
    }

    /// It ended; or it was killed, and whatever it still does is not real.
    pub(crate) fn end(&self) {
        self.active.store(false, Ordering::SeqCst);
    }

    /// This moment has come.
    pub(crate) fn at(&self, moment: Moment) {
        if !self.active.load(Ordering::SeqCst) {
            return;
        }
        let due: Vec<_> = {
            let mut plan = self.lock();
            if plan.busy {
                return;
            }
            let count = plan.counts.entry(moment).or_default();
            *count = count.saturating_add(1);
            let now = *count;
            let is_due = |waiting: &(Moment, u16, Op)| waiting.0 == moment && waiting.1 == now;
            let due = plan.waiting.iter().filter(|waiting| is_due(waiting)).map(|(.., op)| op.clone()).collect();
            plan.waiting.retain(|waiting| !is_due(waiting));
            plan.busy = !Vec::is_empty(&due);
            due
        };
        if due.is_empty() {
            return;
        }
        if let Some(world) = self.world.get().and_then(Weak::upgrade) {
            // On a thread of its own: this one may be inside of a runtime, which cannot be entered twice.
            std::thread::scope(|scope| {
                let act = scope.spawn(|| due.iter().for_each(|op| world.within(op, moment)));
                // A panic is a finding, wherever it happens.
                act.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            });
        }
        self.lock().busy = false;
    }
}

/// Tells moments of the progress of work.
#[derive(Debug)]
pub(crate) struct Told {
    moments: std::sync::Arc<Moments>,
    /// While a recovery records, other processes wait for the index. Here they are threads of this one, and it waits for them.
    recording: AtomicBool,
}

impl Told {
    pub(crate) fn new(moments: std::sync::Arc<Moments>) -> Self {
        Self { moments, recording: AtomicBool::new(false) }
    }
}

impl lastcopy_fs::Progress for Told {
    fn phase(&self, name: &'static str, _files: u64, _bytes: u64) {
        self.recording.store(name == "recovering", Ordering::SeqCst);
        self.advance(0, 0);
    }

    fn advance(&self, _files: u64, _bytes: u64) {
        if !self.recording.load(Ordering::SeqCst) {
            self.moments.at(Moment::Progress);
        }
    }

    fn note(&self, _line: &str) {}
}
