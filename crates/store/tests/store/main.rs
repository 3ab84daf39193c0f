//! The index through its public interface, on real files.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod types;
