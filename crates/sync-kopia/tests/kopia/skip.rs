//! Tests that cannot run on this machine are skipped by name, and counted.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::{Command, Stdio};

/// Whether there is a kopia to test with; if not, the test is skipped by its name.
pub(crate) fn no_kopia(test: &str) -> bool {
    let asked = Command::new("kopia").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = !asked.is_ok_and(|status| status.success());
    if missing {
        skipped(test, "kopia is not installed");
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
