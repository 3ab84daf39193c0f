//! Other programs that lastcopy drives: how they are started and ended, and how one that serves a socket is asked.
//!
//! This crate owns the life of a child process: it has a process group of its own, dies with the thread of ours that started it, and its last
//! words are kept for errors. It knows nothing of any program, and decides nothing by what one says. It is separate because two kinds of
//! destination need the same, and a child that outlives what it was started for is a danger in both.

mod environment;
mod http;
mod private;
mod process;

pub use environment::environment;
pub use http::{Answer, Body, Http, Idle, Silent};
pub use private::PrivateDir;
pub use process::{Process, Started};
