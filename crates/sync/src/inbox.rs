//! What a destination tells while it works, and when it is asked in the midst of that who it is.

use crate::destination::{Destination, Probe};
use crate::error::DestinationError;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// What was told waits so long for company before it is recorded.
const COMPANY: Duration = Duration::from_millis(500);
/// Asking takes at most this part of the time: some storage is far away, and some is asked by starting a program.
const PART: u32 = 20;
/// But what was told waits no longer than this.
const LONGEST: Duration = Duration::from_secs(30);
/// How long it listens before it looks whether a question was answered.
const EAR: Duration = Duration::from_millis(5);

/// The events of a piece of work, in their order.
pub(crate) struct Inbox<T> {
    events: Receiver<T>,
    /// What came while something else was waited for.
    came: VecDeque<T>,
    due: Instant,
}

impl<T: Send> Inbox<T> {
    pub(crate) fn new(events: Receiver<T>) -> Self {
        Self { events, came: VecDeque::new(), due: Instant::now() + COMPANY }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Result<T, RecvTimeoutError> {
        self.came.pop_front().map_or_else(|| self.events.recv_timeout(COMPANY), Ok)
    }

    /// Whether it is time to ask who is there, and to record what was told.
    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// Who is there by now. Events are taken in meanwhile: the threads that answer may be waiting for that.
    pub(crate) fn probe(&mut self, destination: &dyn Destination, runtime: &Handle) -> Result<Probe, DestinationError> {
        let began = Instant::now();
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| runtime.block_on(destination.probe()));
            while !asked.is_finished() {
                match self.events.recv_timeout(EAR) {
                    Ok(event) => self.came.push_back(event),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        self.due = Instant::now() + (began.elapsed() * PART).clamp(COMPANY, LONGEST);
        answer
    }
}
