//! A stepper: runs a program, with all its threads and children, and stops it at every system call that changes files.
//!
//! It owns ptrace and the seccomp filter that decides where a program stops; it knows nothing of what the program is for. A library that
//! is loaded into the program would miss system calls that are made without the C library; a filter in the kernel misses none. So
//! that none goes round it, 32-bit calls end the program, and `io_uring` is not to be had.
//!
//! What counts, with one counter over all threads and children:
//!
//! - [`Kind::Change`]: calls that change names, bytes or attributes of files and directories. A write to a pipe, a socket, a device
//!   or a terminal is none.
//! - [`Kind::Sync`]: calls that make such changes durable. They change nothing that a kill leaves behind, but they fail.
//!
//! [`Kind::Note`] is only logged: a shared writable mapping, through which bytes change without any call.
//!
//! Runs of a program with several threads may differ in order and number of calls; what was counted in one run is a good estimate for
//! the next, no promise.
//!
//! ```no_run
//! use lastcopy_stepper::{Ended, Plan, run};
//! use std::process::Command;
//!
//! let all = run(Command::new("my-program"), Plan::Count)?;
//! for number in 1..=all.counted {
//!     let report = run(Command::new("my-program"), Plan::KillBefore(number))?;
//!     assert_eq!(report.ended, Ended::Killed);
//!     // Look at what is left.
//! }
//! # Ok::<(), lastcopy_stepper::StepError>(())
//! ```

mod report;

#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod calls;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod describe;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod filter;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod program;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod sys;
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
mod tracer;

pub use report::{Call, Ended, FileType, Injected, Inode, Kind, Plan, Report, StepError, Surroundings, Target};

use std::process::Command;

/// Runs a program to its end, or to where the plan ends it. Nothing of it is left when this returns, except after an error of its start.
///
/// Its stdin is empty unless the caller sets it; stdout and stderr are read into the report.
#[cfg(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64"))]
pub fn run_among(command: Command, plan: Plan, surroundings: Surroundings<'_>) -> Result<Report, StepError> {
    tracer::run(command, plan, surroundings)
}

/// There is a stepper for Linux on x86-64 only.
#[cfg(not(all(target_os = "linux", target_arch = "x86_64", target_pointer_width = "64")))]
pub fn run_among(_command: Command, _plan: Plan, _surroundings: Surroundings<'_>) -> Result<Report, StepError> {
    Err(StepError::Unsupported)
}

/// [`run_among`] with nobody and nothing special around it.
pub fn run(command: Command, plan: Plan) -> Result<Report, StepError> {
    run_among(command, plan, Surroundings::default())
}

/// Whether programs can be stepped here, by stepping one that does nothing. Some sandboxes forbid it.
pub fn available() -> Result<(), StepError> {
    run(Command::new("true"), Plan::Count).map(drop)
}
