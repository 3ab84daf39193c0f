//! Tests that cannot run on this machine: said by name, and counted by `cargo xtask ci` as skipped, never as passed.

use std::io::Write;

/// Says that a test cannot run here. It returns right after.
#[expect(clippy::print_stderr, reason = "whoever runs the tests by hand is told, too")]
pub(crate) fn skip(name: &str, why: &str) {
    eprintln!("skipped: {name}: {why}");
    if let Some(list) = std::env::var_os("LASTCOPY_SKIPPED_TESTS") {
        let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).unwrap();
        list.write_all(format!("{name}: {why}\n").as_bytes()).unwrap();
    }
}
