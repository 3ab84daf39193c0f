//! Cancellation: one flag that long work looks at between items.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop, shared by everything that works on one command.
///
/// Work that sees it finishes the item in hand, records what is done, and returns [`Cancelled`].
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    raised: Arc<AtomicBool>,
    outer: Option<Arc<Cancel>>,
}

/// The work was stopped on request; everything recorded so far stays valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Cancelled;

impl Cancelled {
    /// Whether an I/O error is only this.
    pub fn caused(error: &std::io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Self>())
    }
}

impl Cancel {
    /// A flag that nobody has raised yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// A flag for a part of the work: raised by itself, or with this one.
    pub fn child(&self) -> Self {
        Self { raised: Arc::default(), outer: Some(Arc::new(self.clone())) }
    }

    /// Asks everything that holds this flag to stop. Safe in a signal handler: it only stores an atomic.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Whether somebody asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.raised.load(Ordering::Relaxed) || self.outer.as_ref().is_some_and(|outer| outer.is_cancelled())
    }

    /// For use with `?` between items.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.is_cancelled() { Err(Cancelled) } else { Ok(()) }
    }
}
