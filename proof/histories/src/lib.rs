//! Random histories over the real crates of lastcopy, with an oracle of its own, and a soak.
//!
//! A history is a list of operations: what a person does to files, what the tool is told, what befalls disks, index and clock, and what
//! happens within another operation. They are carried out by the very crates that ship, in this process, on a file system in memory.
//! After every step the oracle looks at all disks itself, with plain file calls and BLAKE3. It keeps a ledger of every content that a
//! person put somewhere, and of everything that each disk ever held, and shares no code with the gate.
//!
//! A history is text, one operation a line, so a failing one is made smaller by leaving lines out, and what is left is a regression.

mod administer;
mod commands;
mod confirm;
mod drive;
mod edits;
mod error;
mod faults;
mod finish;
mod generate;
mod judge;
mod ledger;
mod look;
mod moments;
mod op;
mod policy;
mod random;
mod shrink;
mod situations;
mod soak;
mod way;
mod word;
mod world;

pub use drive::{Found, Listener, Quantity, Ran, regressions, replay, run};
pub use error::{Broken, Result};
pub use generate::history;
pub use op::{Op, parse, print};
pub use random::Random;
pub use shrink::shrink;
pub use situations::{missing, required};
pub use soak::{Soaked, soak};
pub use word::{At, Dest, Lying, Moment, Storing, Terms, Vol, Word};
pub use world::World;
