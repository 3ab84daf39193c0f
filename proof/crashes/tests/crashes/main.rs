//! The oracle over homes that were broken by hand: every rule that it checks is able to fail.

#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod oracle;
mod repository;
mod sweep;
