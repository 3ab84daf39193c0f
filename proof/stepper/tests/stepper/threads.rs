//! Threads have one counter with everything else.

use lastcopy_stepper::{Ended, Plan, Report, run};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, thread};

const THREADS: usize = 3;
const DIR: &str = "LASTCOPY_STEPPER_TEST_DIR";

/// Writes files from several threads at a time, and reads them back. The other tests here step this one.
#[test]
fn files_of_several_threads() {
    let temporary;
    let dir = match env::var_os(DIR) {
        Some(dir) => PathBuf::from(dir),
        None => {
            temporary = tempfile::tempdir().unwrap();
            temporary.path().to_owned()
        }
    };
    let write = |number: usize| fs::write(dir.join(number.to_string()), format!("thread {number}")).unwrap();
    thread::scope(|scope| {
        for number in 0..THREADS {
            let write = &write;
            scope.spawn(move || write(number));
        }
    });
    for number in 0..THREADS {
        assert_eq!(fs::read_to_string(dir.join(number.to_string())).unwrap(), format!("thread {number}"));
    }
}

fn step(dir: &Path, plan: Plan) -> Report {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "threads::files_of_several_threads"]).env(DIR, dir);
    run(command, plan).unwrap()
}

#[test]
fn calls_of_all_threads_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let here = fs::canonicalize(dir.path()).unwrap();
    let report = step(dir.path(), Plan::Count);
    assert_eq!(report.ended, Ended::Exited(0), "{}", String::from_utf8_lossy(&report.stdout));
    let calls: Vec<_> = report.calls.iter().filter(|call| call.targets[0].path.starts_with(&here)).collect();
    assert_eq!(calls.len(), THREADS * 2);
    assert_eq!(calls.iter().map(|call| call.thread).collect::<HashSet<_>>().len(), THREADS);
    assert!(calls.iter().all(|call| call.process == report.process));
}

/// Whichever threads they are of: as many calls are made as were allowed.
#[test]
fn a_kill_ends_all_threads() {
    let counted = step(tempfile::tempdir().unwrap().path(), Plan::Count).counted;
    for number in 1..=counted {
        let dir = tempfile::tempdir().unwrap();
        let report = step(dir.path(), Plan::KillBefore(number));
        assert_eq!((report.ended, report.counted), (Ended::Killed, number));
        // Calls that other threads were making at that moment may have been finished by the kernel without anybody to tell.
        let unfinished = report.calls.iter().filter(|call| call.result.is_none()).count();
        assert!((1..=THREADS).contains(&unfinished), "{unfinished}");
        assert!(!fs::exists(format!("/proc/{}", report.calls[0].thread)).unwrap());
    }
}

/// Several programs are stepped at the same time, each by a thread of its own, and none is told of another's calls.
#[test]
fn runs_do_not_disturb_each_other() {
    thread::scope(|scope| {
        let runs: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let dir = tempfile::tempdir().unwrap();
                    let report = step(dir.path(), Plan::Count);
                    (report.ended, fs::read_dir(dir.path()).unwrap().count())
                })
            })
            .collect();
        for run in runs {
            assert_eq!(run.join().unwrap(), (Ended::Exited(0), THREADS));
        }
    });
}
