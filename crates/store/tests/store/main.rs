//! The index through its public interface, on real SQLite and a real volume. Where the interface leaves no way to do harm, a second
//! connection tries it with raw SQL.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::panic, reason = "a test that cannot go on says where")]

mod alarms;
mod epochs;
mod gate;
mod history;
mod opening;
mod policies;
mod receipts;
mod retention;
mod runs;
mod snapshots;
mod support;
mod types;
mod volumes;
