//! Restores and recoveries, from real stores in local directories into a real volume.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod recovery;
mod restoring;
mod support;
