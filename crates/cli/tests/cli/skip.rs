//! Tests that need more than every machine has: they say so by name, and are never counted as passed.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

/// Says that a test was not run here, and why: a line of the file named by `LASTCOPY_SKIPPED_TESTS`, and on stderr.
pub(crate) fn skipped(name: &str, why: &str) {
    let line = format!("{name}: {why}\n");
    if let Some(path) = std::env::var_os("LASTCOPY_SKIPPED_TESTS") {
        let mut list = OpenOptions::new().create(true).append(true).open(path).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
    std::io::stderr().write_all(format!("skipped {line}").as_bytes()).unwrap();
}

/// The first of some programs that is not installed.
pub(crate) fn missing_program<'a>(programs: &[&'a str]) -> Option<&'a str> {
    let installed = |program: &str| {
        let asked = Command::new("sh").args(["-c", "command -v \"$0\"", program]).stdout(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    programs.iter().copied().find(|program| !installed(program))
}
