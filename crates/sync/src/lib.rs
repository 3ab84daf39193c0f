//! The one sequence for pushing, verifying and repairing, and what a kind of destination has to do for it.
//!
//! This crate owns the order of a push, the formats of segments and heads, and the conformance suite. A kind of destination
//! implements [`Destination`]: it is handed what it may use, and returns what it proved. It can begin no run, take no snapshot, record
//! no receipt and advance no vector by itself.
//!
//! It is separate because the order is where an earlier system lost data: written once for each kind, it was wrong once for each.
//!
//! The sequences block; they drive the asynchronous calls of a kind on the runtime of their [`Context`].

mod compact;
mod confirm;
pub mod conformance;
mod contact;
mod destination;
mod error;
mod inbox;
mod manage;
mod pending;
mod push;
pub mod segment;
mod source;
mod verify;

pub use compact::Compact;
pub use confirm::{Answer, Asking};
pub use contact::{HeadsOf, contact, identify_again};
pub use destination::{
    Arrival, Capabilities, CompactSink, Compaction, Context, Depth, Destination, FetchSink, HeldItem, InitPermit, PlanItem, Probe,
    PushSink, Retained, Scratch, VerifySink, WorkList,
};
pub use error::{DestinationError, SyncError};
pub use lastcopy_store::RetainedFile;
pub use manage::{InitError, InitOutcome, Other, Repair, RepairReport, RepairSource, Repairable, adopt, fetch_one, init, reset};
pub use push::{Named, Push, PushReport};
pub use source::{Drift, OpenError, Sending, Source, VolumeFile};
pub use verify::{Extent, Finding, Verification, VerifyReport, check_held};
