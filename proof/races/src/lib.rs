//! Races: programs that change files while the built `lastcopy` offloads and restores them.
//!
//! In each race, many files of a volume are offloaded (or restored) by the real program while enemies, processes of their own,
//! change them: they rename new files over them, write into them, append to them, store to them through a mapping, swap the
//! directories above them for symbolic links, or take the destination's directory away and put another there. A *round* is one
//! attack that an enemy carried out while the program ran. Afterwards an oracle looks for everything that must still be somewhere:
//!
//! - whatever an enemy wrote, in the volume;
//! - whatever was there before and nobody changed, in the volume or, whole, at the destination;
//! - whatever lies outside of the volume, as it was.
//!
//! The oracle knows nothing of lastcopy but where a volume and a destination keep their bytes.

/// Prints a line on stdout; that nobody reads on is no reason to crash.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        drop(writeln!(std::io::stdout().lock(), $($part)*));
    }};
}

pub mod adversary;
mod arena;
mod chance;
mod oracle;
mod race;

pub use adversary::Enemy;
pub use race::{Extent, prove};
