//! The offload gate, and the removal of what passes it.
//!
//! This crate owns two things: the decision whether a local copy may go, which is a pure function of what is known; and the protocol
//! by which it goes, in which no step can lose bytes that somebody writes meanwhile, and every crash is settled without deleting
//! anything. It is the only place in lastcopy that removes a person's file.
//!
//! It is separate from everything that talks to destinations: confirmation reaches it as a trait of its own. What it must never do is
//! go from *present* to *gone* in one step.

mod decide;
mod offload;
mod protocol;
mod quarantine;
mod settle;
mod table;

pub use decide::{Cause, Confirmation, Decision, Known, Lock, Locks, Refusal, decide, locks};
pub use offload::{Confirm, Counts, FileOutcome, FileReport, Offloading, Plan, PlanOptions, Verdict, plan, released_by_grace};
pub use settle::{OffloadError, SettleReport, Settles, settle, undo};
pub use table::offload_gate_table;
