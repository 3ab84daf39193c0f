//! Whether what lastcopy counts on is durable before it deletes anything.
//!
//! A program that is killed loses nothing that it wrote; a machine that loses power does. So no test that kills can see a sync that is
//! missing. Two that can are here, both over the built program and with nothing of its code:
//!
//! - [`order`] follows every call that changes or syncs files, and judges their order: *when a person's data is deleted, no file and no
//!   name below the index or a local destination may be unsynced; when a file gets the name by which it is counted on, its bytes must be
//!   durable; when the index records anything, nothing of a person's that was moved
//!   may be; and when a command has ended, nothing of all that may be.* One run finds every missing sync, whatever the file system makes of
//!   it.
//! - [`power`] takes the power from a real file system at some call of a run, and looks at what is left.

/// Prints a line on stdout; that nobody reads on is no reason to crash.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        drop(writeln!(std::io::stdout().lock(), $($part)*));
    }};
}

mod areas;
mod audit;
mod ground;
mod home;
mod ledger;
mod oracle;
pub mod order;
pub mod power;
mod report;

pub use ground::mounts_of_our_own;
pub use report::Totals;

use std::path::PathBuf;

/// What all proofs here need.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The built program.
    pub binary: PathBuf,
    /// Whether file systems can be mounted; if not, why.
    pub may_mount: Result<(), String>,
}
