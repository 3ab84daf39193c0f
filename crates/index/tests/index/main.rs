//! Index runs and audits over real trees.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod auditing;
mod losses;
mod moving;
mod support;
mod walking;
