//! The append-only content-addressed store: one object per content, exactly once, never rewritten.
//!
//! This crate owns the layout of a `cas` destination and how objects get there: written under a temporary name, made durable,
//! published without replacing anything, made durable again, read back past the page cache, and only then proven. No operation
//! overwrites or deletes an object; one that does not hash to its name is moved aside, where it can be looked at.
//!
//! It is separate from the sequence of a push, which it never sees: it is handed contents and returns proofs. The layout is described
//! in `docs/formats.md`, well enough to get everything back with a shell.

mod cas;
mod layout;
mod local;
mod medium;
mod pipeline;

pub use cas::Cas;
pub use local::Local;
pub use medium::{Medium, ScratchRemoval, Staged};
