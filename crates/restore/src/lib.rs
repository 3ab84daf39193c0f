//! Brings bytes back: to their places, to elsewhere, or to a machine that lost everything but a destination.
//!
//! This crate owns how a file comes back: hashed as it arrives, written apart, made durable, then moved into place without replacing
//! anything; what is to be replaced on a person's word is kept. It asks another destination when one fails, and never deletes a
//! person's file.
//!
//! It is separate from offload, which it undoes, and from the kinds of destination, which it knows by their trait only.

mod error;
mod landing;
mod placing;
mod receipts;
mod recover;
mod report;
mod restore;
mod wanted;

pub use error::RestoreError;
pub use receipts::recover_receipts;
pub use recover::{Found, RecoverReport, Recoverable, Recovering, recover_volume, recoverable};
pub use report::RestoreReport;
pub use restore::{Restoring, Target};
pub use wanted::{Wanted, WantedList, everything_below, wanted_below, wanted_content, wanted_with};
