//! What there is to say, and the work on all cores.

use anyhow::Result;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What was tried, and what came of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// As it should be.
    pub passed: u64,
    /// Not as it should be.
    pub failed: u64,
    /// Could not be tried here.
    pub skipped: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// How many findings of one thing are printed.
const SHOWN: usize = 12;

impl Totals {
    /// Says why something is not tried.
    pub fn skip(&mut self, name: &str, why: &str) {
        say!("skipped: {name}: {why}");
        self.skipped += 1;
    }

    /// Says what came of one thing: its figures, and what is wrong.
    pub(crate) fn tell(&mut self, figures: &str, wrong: &[String]) {
        if wrong.is_empty() {
            say!("{figures}");
            self.passed += 1;
            return;
        }
        say!("FAILED {figures}");
        for wrong in wrong.iter().take(SHOWN) {
            say!("    {wrong}");
        }
        if wrong.len() > SHOWN {
            say!("    and {} more", wrong.len() - SHOWN);
        }
        self.failed += 1;
    }
}

/// Does tasks on all cores. The first error ends it.
pub(crate) fn spread<T: Sync, A: Send>(tasks: &[T], work: &(dyn Fn(usize, &T) -> Result<A> + Sync)) -> Result<Vec<A>> {
    let next = AtomicUsize::new(0);
    let answers = Mutex::new(Vec::new());
    let worker = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(task) = tasks.get(number) else { return Ok(()) };
            let answer = work(number, task);
            if answer.is_err() {
                next.fetch_add(tasks.len(), Ordering::Relaxed);
            }
            answers.lock().unwrap_or_else(PoisonError::into_inner).push((number, answer?));
        }
    };
    thread::scope(|scope| {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let mut answers = answers.into_inner().unwrap_or_else(PoisonError::into_inner);
    answers.sort_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}
