//! The offload gate and the removal protocol, on real files and a real index.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]
#![expect(clippy::panic, reason = "a test that cannot go on says where")]

mod crash;
mod decision;
mod drift;
mod grace;
mod removal;
mod support;
mod table;
