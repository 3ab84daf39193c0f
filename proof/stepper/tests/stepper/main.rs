//! The stepper over small programs whose calls are known.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something unexpected happens")]

mod counting;
mod failing;
mod killing;
mod log;
mod meeting;
mod shell;
mod threads;
