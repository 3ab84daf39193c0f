//! What a destination tells while it works.

use crate::destination::{Destination, Probe};
use crate::error::DestinationError;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long it listens before it looks whether a question was answered.
const EAR: Duration = Duration::from_millis(5);

/// The events of a piece of work, in their order.
pub(crate) struct Inbox<T> {
    events: Receiver<T>,
    /// What came while something else was waited for.
    came: VecDeque<T>,
}

impl<T: Send> Inbox<T> {
    pub(crate) fn new(events: Receiver<T>) -> Self {
        Self { events, came: VecDeque::new() }
    }

    /// The next event.
    pub(crate) fn next(&mut self, within: Duration) -> Result<T, RecvTimeoutError> {
        self.came.pop_front().map_or_else(|| self.events.recv_timeout(within), Ok)
    }

    /// Who is there by now. Events are taken in meanwhile: the threads that answer may be waiting for that.
    pub(crate) fn probe(&mut self, destination: &dyn Destination, runtime: &Handle) -> Result<Probe, DestinationError> {
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| runtime.block_on(destination.probe()));
            while !asked.is_finished() {
                match self.events.recv_timeout(EAR) {
                    Ok(event) => self.came.push_back(event),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}
