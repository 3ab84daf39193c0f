//! Work that was given to a destination, and not yet answered. What stays here when it reports success was forgotten by it.

use crate::error::DestinationError;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

pub(crate) struct Pending<K, V> {
    open: Mutex<HashMap<K, V>>,
    refused: AtomicBool,
}

impl<K: Eq + Hash, V> Pending<K, V> {
    pub(crate) fn new() -> Self {
        Self { open: Mutex::default(), refused: AtomicBool::new(false) }
    }

    /// Notes a group before it is given.
    pub(crate) fn expect(&self, group: impl Iterator<Item = (K, V)>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).extend(group);
    }

    /// Notes that a group was not taken.
    pub(crate) fn not_taken(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Whether this is the first answer to something that was asked. Any other is no answer.
    pub(crate) fn answered(&self, key: &K) -> bool {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(key).is_some()
    }

    /// After the destination reported success: what got no answer.
    pub(crate) fn forgotten(&self) -> Result<Vec<V>, DestinationError> {
        if self.refused.load(Ordering::Relaxed) {
            return Err(DestinationError::Unsupported("the destination reports success before it took all its work".into()));
        }
        Ok(self.open.lock().unwrap_or_else(PoisonError::into_inner).drain().map(|(_, item)| item).collect())
    }
}

/// What is said of such an item.
pub(crate) const NO_ANSWER: &str = "the destination gave no answer";
