//! Calls that fail, and writes that are short.

use crate::shell::Shell;
use lastcopy_stepper::{Call, Ended, Injected, Plan, Surroundings};
use std::time::Duration;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

#[test]
fn an_error_reaches_the_program_and_nothing_is_done() {
    let shell = Shell::new();
    let report = shell.run("mkdir a; mkdir b", Plan::Fail { from: 1, calls: 1, errno: EIO });
    assert_eq!((report.ended, report.injected), (Ended::Exited(0), 1));
    assert_eq!(shell.holds(), [("b".to_owned(), String::new())]);
    assert!(String::from_utf8(report.stderr).unwrap().contains("Input/output error"));
    let failed = report.calls.iter().find(|call| call.number == Some(1)).unwrap();
    assert_eq!((failed.injected, failed.result), (Some(Injected::Errno(EIO)), Some(-i64::from(EIO))));
}

#[test]
fn errors_go_on_where_the_plan_says_so() {
    let shell = Shell::new();
    let script = "mkdir a; mkdir b; mkdir c; mkdir d";
    let report = shell.run(script, Plan::Fail { from: 2, calls: 2, errno: ENOSPC });
    assert_eq!((report.injected, shell.holds().len()), (2, 2));
    let shell = Shell::new();
    let report = shell.run(script, Plan::Fail { from: 2, calls: u64::MAX, errno: ENOSPC });
    assert_eq!((report.injected, shell.holds()), (3, vec![("a".to_owned(), String::new())]));
    assert_eq!(report.ended, Ended::Exited(1));
}

/// A program that tries again for as long as it fails would never end.
#[test]
fn a_program_that_never_gives_up_is_ended() {
    let report =
        Shell::new().run("until true > a; do true; done 2> /dev/null", Plan::Fail { from: 1, calls: u64::MAX, errno: EIO });
    assert_eq!(report.ended, Ended::Endless);
}

/// Where that is what counts, calls that read below a directory have numbers, and those that change something have none.
#[test]
fn a_read_fails_where_reads_are_what_counts() {
    let shell = Shell::new();
    std::fs::write(shell.path().join("here"), "bytes\n").unwrap();
    let dir = shell.path();
    let surroundings = Surroundings { reads_below: Some(&dir), ..Surroundings::default() };
    let script = "read line < here; echo \"$line\" > there; cat here > /dev/null; cat /etc/passwd > /dev/null";
    let counted = shell.run_among(script, Plan::Count, surroundings);
    let numbered = |report: &lastcopy_stepper::Report| {
        let counting = report.calls.iter().filter(|call| call.number.is_some());
        counting.map(|call| call.targets[0].path.file_name().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(counted.counted >= 2 && numbered(&counted).iter().all(|name| name == "here"), "{:?}", numbered(&counted));
    let failed = shell.run_among(script, Plan::Fail { from: 1, calls: u64::MAX, errno: EIO }, surroundings);
    assert!(failed.injected >= 2 && String::from_utf8_lossy(&failed.stderr).contains("Input/output error"), "{failed:?}");
    assert_eq!(std::fs::read_to_string(shell.path().join("there")).unwrap(), "\n");
}

/// One that waits for what never comes makes no call that could be counted.
#[test]
fn a_program_that_hangs_is_ended_with_its_children() {
    let shell = Shell::new();
    let surroundings = Surroundings { patience: Duration::from_millis(500), ..Surroundings::default() };
    let report = shell.run_among("echo begun; (sleep 3600; echo never) & sleep 3600", Plan::Count, surroundings);
    assert_eq!((report.ended, report.stdout.as_slice()), (Ended::Endless, b"begun\n".as_slice()));
}

#[test]
fn a_short_write_is_half_of_it_and_the_program_can_go_on() {
    let shell = Shell::new();
    let report = shell.run("echo 0123456789 > a", Plan::Short { from: 2, calls: 1 });
    let writes: Vec<_> = report.calls.iter().filter(|call| call.name == "write").collect();
    assert_eq!((writes[0].length, writes[0].result), (Some(11), Some(5)));
    assert_eq!(writes[0].injected, Some(Injected::Short(6)));
    // The shell either wrote the rest, or says that it could not.
    let whole = shell.holds() == [("a".to_owned(), "0123456789\n".to_owned())];
    assert_eq!(whole, report.ended == Ended::Exited(0));
    assert_eq!(whole, writes.len() == 2, "{:?}", writes.iter().map(ToString::to_string).collect::<Vec<_>>());
    // What cannot be short is made as it is.
    let report = Shell::new().run("mkdir a", Plan::Short { from: 1, calls: u64::MAX });
    assert_eq!((report.ended, report.injected), (Ended::Exited(0), 0));
    assert!(!report.calls.iter().any(Call::can_be_short));
}
