//! A kill before the n-th call leaves what the calls before it did, and no process.

use crate::shell::Shell;
use lastcopy_stepper::{Ended, Plan};
use std::fs;

#[test]
fn each_kill_leaves_exactly_the_calls_before_it() {
    let script = "echo one > a; mv a b; echo two > c; rm b";
    let states: [&[(&str, &str)]; 7] = [
        &[],
        &[("a", "")],
        &[("a", "one\n")],
        &[("b", "one\n")],
        &[("b", "one\n"), ("c", "")],
        &[("b", "one\n"), ("c", "two\n")],
        &[("c", "two\n")],
    ];
    let all = Shell::new().run(script, Plan::Count);
    assert_eq!(all.counted as usize, states.len() - 1);
    for (number, expected) in (1..).zip(states) {
        let shell = Shell::new();
        let report = shell.run(script, Plan::KillBefore(number));
        let ended = if number <= all.counted { Ended::Killed } else { Ended::Exited(0) };
        assert_eq!(report.ended, ended, "before {number}");
        let expected: Vec<_> = expected.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        assert_eq!(shell.holds(), expected, "before {number}");
        if ended == Ended::Killed {
            let last = report.calls.last().unwrap();
            assert_eq!((last.number, last.result), (Some(number), None));
            assert_eq!(last.name, all.call(number).unwrap().name);
        }
    }
}

/// Children in the background and a child that waits for them: all of them are gone, at once.
#[test]
fn nothing_is_left_running() {
    let shell = Shell::new();
    let script = "sleep 1000 & (sleep 1001 & wait) & echo $! > pid; exec sh -c 'echo a > first; sleep 1002'";
    let report = shell.run(script, Plan::KillBefore(4));
    assert_eq!(report.ended, Ended::Killed);
    let threads: Vec<_> = report.calls.iter().map(|call| call.thread).collect();
    let pid = shell.holds().into_iter().find(|(name, _)| name == "pid").unwrap().1;
    for process in threads.iter().map(ToString::to_string).chain([pid.trim().to_owned()]) {
        assert!(!is_running(&process), "{process} is left");
    }
    // A file of the directory that somebody has open, or works in, would show in their descriptors.
    let here = shell.path();
    for entry in fs::read_dir("/proc").unwrap() {
        let cwd = fs::read_link(entry.unwrap().path().join("cwd"));
        assert!(cwd.map_or(true, |cwd| cwd != here), "a process still works in {}", here.display());
    }
}

/// One that ended may still have an entry: whoever inherits orphans collects them when it likes.
fn is_running(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with(['R', 'S', 'D', 'T', 't']))
}
