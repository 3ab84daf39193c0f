//! What counts and what does not.

use crate::shell::Shell;
use lastcopy_stepper::{Ended, Kind, Plan, StepError, run};
use std::process::Command;

#[track_caller]
fn check(script: &str, expected: &[&str]) {
    let report = Shell::new().run(script, Plan::Count);
    assert_eq!(report.ended, Ended::Exited(0), "{script}: {}", String::from_utf8_lossy(&report.stderr));
    let counted: Vec<_> = report.calls.iter().filter(|call| call.kind != Kind::Note).map(|call| call.name).collect();
    assert_eq!(counted, expected, "{script}");
    assert_eq!(report.counted, expected.len() as u64);
    let numbers: Vec<_> = report.calls.iter().filter_map(|call| call.number).collect();
    assert_eq!(numbers, (1..=report.counted).collect::<Vec<_>>());
    assert!(report.calls.iter().all(lastcopy_stepper::Call::succeeded));
}

#[test]
fn changes_of_a_shell_and_of_its_children_count() {
    check("echo one > a", &["openat", "write"]);
    check("mkdir d; rmdir d", &["mkdir", "rmdir"]);
    check("echo one > a; mv a b; rm b", &["openat", "write", "renameat2", "unlinkat"]);
    check("echo one > a; ln a b; ln -s a c; chmod 600 a", &["openat", "write", "linkat", "symlinkat", "fchmodat"]);
    check("echo one > a; sync a; truncate -s 1 a", &["openat", "write", "fsync", "openat", "ftruncate"]);
}

#[test]
fn what_changes_no_file_does_not_count() {
    check(
        "echo to a pipe; echo to another >&2; echo none > /dev/null; echo through | cat; cat < /dev/null; test -e a || true",
        &[],
    );
}

#[test]
fn what_the_program_says_is_read_whole() {
    // More than a pipe holds.
    let report = Shell::new().run("head -c 300000 /dev/zero; echo wrong >&2; exit 3", Plan::Count);
    assert_eq!(report.ended, Ended::Exited(3));
    assert_eq!((report.stdout.len(), report.stderr.as_slice()), (300_000, &b"wrong\n"[..]));
}

#[test]
fn a_signal_ends_it_as_without_the_stepper() {
    let report = Shell::new().run("kill -TERM $$; echo not reached > a", Plan::Count);
    assert_eq!((report.ended, report.counted), (Ended::Signalled(15), 0));
    let report = Shell::new().run("trap 'echo caught > a' TERM; kill -TERM $$; exit 7", Plan::Count);
    assert_eq!((report.ended, report.counted), (Ended::Exited(7), 2));
}

#[test]
fn a_program_that_is_not_there_is_an_error() {
    let shell = Shell::new();
    std::fs::write(shell.path().join("no-program"), "neither a program nor a script").unwrap();
    for missing in ["/nowhere/at/all", "./no-program", "lastcopy-no-such-program", "/"] {
        let mut command = Command::new(missing);
        command.current_dir(shell.path());
        let error = run(command, Plan::Count).unwrap_err();
        assert!(matches!(error, StepError::NotExecuted), "{missing}: {error}");
    }
}
