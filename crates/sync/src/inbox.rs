//! What a destination tells while it works, and the question in the midst of that: who is there by now?

use crate::contact::still_there;
use crate::destination::{Context, Destination, Probe};
use crate::error::{DestinationError, SyncError};
use lastcopy_fs::Cancelled;
use lastcopy_store::{DestinationRecord, Kind, Probed, Run};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What was told waits so long for company before it is recorded.
const COMPANY: Duration = Duration::from_millis(500);
/// Asking takes at most this part of the time: some storage is far away, and some is asked by starting a program.
const PART: u32 = 20;
/// But what was told waits no longer than this.
const LONGEST: Duration = Duration::from_secs(5);
/// For so long, who gives no answer may give one the next time.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long it listens before it looks whether a question was answered.
const EAR: Duration = Duration::from_millis(5);
/// Who was interrupted waits no longer for an answer.
const INTERRUPTED: Duration = Duration::from_secs(2);
/// Events that are taken in during a question; those who have more to tell wait.
const TAKEN_IN: usize = 100_000;

/// When it is time to ask who is there, and to record what was told.
pub(crate) struct Pace {
    due: Instant,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self { due: Instant::now() + COMPANY }
    }

    pub(crate) fn is_due(&self) -> bool {
        Instant::now() >= self.due
    }

    /// A question was asked, and took from then until now.
    pub(crate) fn asked(&mut self, began: Instant) {
        self.due = Instant::now() + (began.elapsed() * PART).clamp(COMPANY, LONGEST);
    }
}

/// The events of a piece of work, in their order.
pub(crate) struct Inbox<T> {
    events: Receiver<T>,
    /// What came while something else was waited for.
    came: VecDeque<T>,
    pace: Pace,
    /// Since when it gives no answer.
    silent: Option<Instant>,
}

impl<T> Inbox<T> {
    pub(crate) fn new(events: Receiver<T>) -> Self {
        Self { events, came: VecDeque::new(), pace: Pace::new(), silent: None }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Result<T, RecvTimeoutError> {
        self.came.pop_front().map_or_else(|| self.events.recv_timeout(COMPANY), Ok)
    }

    /// Whether it is time to ask who is there.
    pub(crate) fn is_due(&self) -> bool {
        self.pace.is_due()
    }

    /// Who is there by now, if it is who was accepted. Nothing where that gives no answer, and may give one the next time; it is an error
    /// where this was the last time.
    pub(crate) fn still_there<K: Kind>(
        &mut self,
        run: &Run<K>,
        record: &DestinationRecord,
        destination: &Arc<dyn Destination>,
        context: &Context,
        last: bool,
    ) -> Result<Option<Probed>, SyncError> {
        let began = Instant::now();
        let answer = self.probe(destination, context);
        self.pace.asked(began);
        match answer {
            Err(error) if !last && !matches!(error, DestinationError::Cancelled(_)) => {
                if self.silent.is_none() {
                    context.progress.note(&format!("destination `{}` does not say who it is: {error}", record.name));
                }
                let since = *self.silent.get_or_insert(began);
                if since.elapsed() < PATIENCE { Ok(None) } else { Err(error.into()) }
            }
            answer => {
                self.silent = None;
                still_there(run, record, destination.as_ref(), answer).map(Some)
            }
        }
    }

    /// Asks. Events are taken in meanwhile: the threads that answer may be waiting for that.
    fn probe(&mut self, destination: &Arc<dyn Destination>, context: &Context) -> Result<Probe, DestinationError> {
        let destination = destination.clone();
        let asked = context.runtime.spawn(async move { destination.probe_again().await });
        let mut interrupted = None;
        while !asked.is_finished() {
            let full = self.came.len() >= TAKEN_IN;
            match if full { Err(RecvTimeoutError::Disconnected) } else { self.events.recv_timeout(EAR) } {
                Ok(event) => self.came.push_back(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(EAR),
            }
            if context.cancel.is_cancelled() && interrupted.get_or_insert_with(Instant::now).elapsed() >= INTERRUPTED {
                asked.abort();
                return Err(Cancelled.into());
            }
        }
        let answer = context.runtime.block_on(asked).unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()));
        // Whoever was interrupted wants to know nothing else.
        if answer.is_err() && context.cancel.is_cancelled() { Err(Cancelled.into()) } else { answer }
    }
}
