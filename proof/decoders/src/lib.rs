//! Decoders: what everything that lastcopy reads from others, from disks or from people must hold for any bytes whatever.
//!
//! Each function here takes bytes, hands them to the code that decodes such bytes, and panics if something does not hold: that what was
//! read is written as it was, that one thing has one spelling, that a number claimed costs nothing, that no name leads out of a volume.
//! A fuzzer calls them with bytes that it invents (`fuzz/fuzz_targets`, one line each); an ordinary test calls them with the files of
//! `fuzz/corpus`, which hold examples made by the real code and what once was wrong.
//!
//! Nothing here decides anything: an expectation is computed in another way than the code does it.

#![expect(clippy::expect_used, reason = "what was not expected is a finding, and a panic is how one is reported")]

mod arena;
mod config;
mod head;
mod id;
mod identity;
mod index;
mod kopia;
mod layout;
mod marker;
mod path;
mod pattern;
mod policy;
mod rclone;
mod recovery;
mod segment;
mod unit;

pub use config::config;
pub use head::head;
pub use id::id;
pub use identity::identity;
pub use index::{image, index, row};
pub use kopia::kopia;
pub use layout::layout;
pub use marker::marker;
pub use path::path;
pub use pattern::pattern;
pub use policy::policy;
pub use rclone::rclone;
pub use recovery::recovery;
pub use segment::segment;
pub use unit::unit;

/// Something that decodes, and what must hold of it.
pub struct Target {
    /// Its name: that of the fuzz target and of the directory of its corpus.
    pub name: &'static str,
    /// What must hold for any bytes.
    pub holds: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "config", holds: config },
    Target { name: "head", holds: head },
    Target { name: "id", holds: id },
    Target { name: "identity", holds: identity },
    Target { name: "index", holds: index },
    Target { name: "kopia", holds: kopia },
    Target { name: "layout", holds: layout },
    Target { name: "marker", holds: marker },
    Target { name: "path", holds: path },
    Target { name: "pattern", holds: pattern },
    Target { name: "policy", holds: policy },
    Target { name: "rclone", holds: rclone },
    Target { name: "recovery", holds: recovery },
    Target { name: "row", holds: row },
    Target { name: "segment", holds: segment },
    Target { name: "unit", holds: unit },
];

/// That a text can be shown in one line of a terminal, and does nothing there.
#[track_caller]
fn assert_harmless(text: &str) {
    assert!(!text.chars().any(char::is_control), "a terminal would obey {text:?}");
}
