//! Tests that cannot run on this machine are skipped by name, and counted.

use crate::servers::MOTO_SERVER;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

/// Whether there is an rclone to test with; if not, the test is skipped by its name.
pub(crate) fn no_rclone(test: &str) -> bool {
    missing(test, "rclone", "version", "rclone is not installed")
}

/// The same of moto's server.
pub(crate) fn no_moto(test: &str) -> bool {
    missing(test, MOTO_SERVER, "--help", "moto's server is not installed")
}

fn missing(test: &str, program: &str, question: &str, why: &str) -> bool {
    let asked = Command::new(program).arg(question).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = !asked.is_ok_and(|status| status.success());
    if missing {
        skipped(test, why);
    }
    missing
}

/// Tells that a test was skipped, and why.
pub(crate) fn skipped(name: &str, why: &str) {
    let line = format!("{name}: {why}\n");
    if let Some(path) = std::env::var_os("LASTCOPY_SKIPPED_TESTS") {
        let mut list = OpenOptions::new().create(true).append(true).open(path).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
    std::io::stderr().write_all(format!("skipped {line}").as_bytes()).unwrap();
}
