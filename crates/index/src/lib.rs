//! Walks and hashes a volume, and finds where disk and index differ.
//!
//! This crate owns the walk: on directory descriptors, without following any symbolic link, across no mount unless asked, past what is
//! not a person's data and says so. It decides what must be read again, reads it, and hands what held still to the index. It knows
//! no destination and deletes nothing.
//!
//! It is separate because it is the only part that looks at everything: what it leaves out, or takes for unchanged, is never pushed.

mod audit;
mod error;
mod hash;
mod index;
mod report;
mod rules;
mod spool;
mod walk;

pub use audit::{AuditReport, audit};
pub use error::IndexError;
pub use index::{IndexOptions, IndexReport, index};
pub use report::{Skipped, Trouble};
pub use rules::{Rules, check_pattern};
pub use walk::{LeaveOut, WalkOptions};
