//! A scratch part of a person's own destination as a subject: nothing is tampered with, and what is held is asked of the destination.

use super::harness::fetch;
use super::rig::words;
use super::subject::{Made, Subject, Tamper};
use crate::destination::{Context, Destination, HeldItem, Scratch};
use crate::error::DestinationError;
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_store::ContentId;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

type Removal = Box<dyn FnOnce() -> Result<(), DestinationError> + Send>;

/// Makes a scratch part each time, and removes them all in the end.
pub(super) struct Own<'a> {
    destination: &'a dyn Destination,
    context: &'a Context,
    removals: Mutex<Vec<Removal>>,
}

impl<'a> Own<'a> {
    pub(super) fn new(destination: &'a dyn Destination, context: &'a Context) -> Self {
        Self { destination, context, removals: Mutex::default() }
    }

    /// Removes every part that was made; says what the first of them said that could not be removed.
    pub(super) fn remove(&self) -> Result<(), DestinationError> {
        let removals = std::mem::take(&mut *self.removals.lock().unwrap_or_else(PoisonError::into_inner));
        removals.into_iter().map(|remove| remove()).fold(Ok(()), Result::and)
    }
}

impl Subject for Own<'_> {
    fn make(&self) -> Result<Box<dyn Made>, String> {
        let Scratch { destination, remove } = self.context.runtime.block_on(self.destination.scratch()).map_err(words)?;
        self.removals.lock().unwrap_or_else(PoisonError::into_inner).push(remove);
        Ok(Box::new(Part { destination, context: self.context.clone() }))
    }
}

struct Part {
    destination: Arc<dyn Destination>,
    context: Context,
}

impl Made for Part {
    fn destination(&self) -> Arc<dyn Destination> {
        self.destination.clone()
    }

    fn held(&self) -> Result<HashSet<Content>, String> {
        let mut listed = Vec::new();
        let mut each = |content, location| listed.push((content, location));
        self.context.runtime.block_on(self.destination.list(&mut each)).map_err(words)?;
        let item = |(number, (content, location))| {
            let content_id = ContentId::spooled(number);
            HeldItem { content_id, content, location, fingerprint: None }
        };
        let fetched = fetch(self.destination.as_ref(), (1..).zip(listed).map(item).collect(), &self.context)?;
        Ok(fetched.into_iter().flatten().map(|bytes| hash_bytes(&bytes)).collect())
    }

    fn tamper(&self, tamper: Tamper) -> Result<(), String> {
        Err(format!("a person's storage is not tampered with: {tamper:?}"))
    }
}
