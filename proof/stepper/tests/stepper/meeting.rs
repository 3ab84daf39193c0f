//! Somebody does something while a program waits, and file systems that cannot do everything.

use crate::shell::Shell;
use lastcopy_stepper::{Ended, Plan, Surroundings};
use std::fs;

#[test]
fn somebody_comes_before_the_call_that_the_plan_names() {
    let shell = Shell::new();
    let path = shell.path();
    let seen = std::sync::Mutex::new(Vec::new());
    let meanwhile = || {
        seen.lock().unwrap().extend(["a", "b", "c"].map(|name| path.join(name).exists()));
        fs::write(path.join("b"), "in the way").unwrap();
    };
    let surroundings = Surroundings { meanwhile: &meanwhile, ..Surroundings::default() };
    let report = shell.run_among("mkdir a; mkdir b; mkdir c", Plan::PauseBefore(2), surroundings);
    assert!(report.paused);
    assert_eq!((report.ended, report.injected), (Ended::Exited(0), 0));
    assert_eq!(*seen.lock().unwrap(), [true, false, false]);
    assert!(path.join("b").is_file() && path.join("c").is_dir());
    assert!(!shell.run("mkdir d", Plan::PauseBefore(2)).paused, "there was no second call");
}

#[test]
fn a_rename_that_must_not_replace_is_unknown_where_it_is_said_so() {
    let script = "echo > a; mv a b; echo > c; mv -f c b";
    let shell = Shell::new();
    let exclusive = |report: &lastcopy_stepper::Report| {
        let renames = report.calls.iter().filter(|call| call.name == "renameat2" && call.flags == Some(1));
        renames.map(|call| call.result).collect::<Vec<_>>()
    };
    let with = shell.run(script, Plan::Count);
    assert_eq!(exclusive(&with).first(), Some(&Some(0)));
    let shell = Shell::new();
    let surroundings = Surroundings { only_plain_renames: true, ..Surroundings::default() };
    let without = shell.run_among(script, Plan::Count, surroundings);
    assert_eq!(exclusive(&without).first(), Some(&Some(-22)));
    assert_eq!((without.ended, without.injected), (Ended::Exited(0), 0));
    assert_eq!(shell.holds(), [("b".to_owned(), "\n".to_owned())], "other renames are made");
}
