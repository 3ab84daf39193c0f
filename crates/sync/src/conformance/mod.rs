//! The conformance suite: what every kind of destination has to do, checked from outside.
//!
//! [`against_own`] runs it in a scratch part of a person's own destination.

mod checks;
mod harness;

use crate::destination::{Context, Destination};
use crate::error::SyncError;

/// How one check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckResult {
    /// What was checked, in a few words.
    pub name: &'static str,
    /// Nothing, or what went wrong.
    pub outcome: Result<(), String>,
}

/// Runs every check that needs no tampering against a scratch part of a destination, and removes it again.
pub fn against_own(destination: &dyn Destination, context: &Context) -> Result<Vec<CheckResult>, SyncError> {
    let scratch = context.runtime.block_on(destination.scratch())?;
    let results = checks::all(&scratch.destination, context);
    (scratch.remove)()?;
    Ok(results)
}
