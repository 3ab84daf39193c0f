//! The offload gate and the removal protocol, on real files and a real index.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod decision;
mod table;
