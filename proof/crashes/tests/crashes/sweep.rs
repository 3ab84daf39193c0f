//! How points are shared among workers, and how a home speaks to the program.

use lastcopy_crashes::ProofError;
use lastcopy_crashes::home::{Home, Step};
use lastcopy_crashes::sweep::Workers;
use lastcopy_crashes::workload::{WORKLOADS, named};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn every_task_is_done_once_and_answers_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let workers = Workers::new(dir.path(), Path::new("none"), 3).unwrap();
    let tasks: Vec<_> = (0..100).collect();
    let done = AtomicU64::new(0);
    let answers = workers.spread(&tasks, &|place, task| {
        done.fetch_add(1, Ordering::Relaxed);
        Ok((*task, place.home().root().to_owned()))
    });
    let (numbers, homes): (Vec<i32>, HashSet<_>) = answers.unwrap().into_iter().unzip();
    assert_eq!(numbers, tasks);
    assert!((1..=3).contains(&homes.len()));
    assert_eq!(done.into_inner(), 100);
}

#[test]
fn an_error_ends_a_sweep() {
    let dir = tempfile::tempdir().unwrap();
    let workers = Workers::new(dir.path(), Path::new("none"), 2).unwrap();
    let tasks: Vec<_> = (0..100).collect();
    let error = workers.spread(&tasks, &|_, task| match task {
        7 => Err(ProofError::Preparation("seven".into())),
        _ => Ok(()),
    });
    assert_eq!(error.unwrap_err().to_string(), "seven");
}

#[test]
fn workloads_are_called_by_their_names() {
    let names: HashSet<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
    assert_eq!(names.len(), WORKLOADS.len());
    assert_eq!(named("offload-one").unwrap().name, "offload-one");
    assert!(named("").is_none());
}

#[test]
fn a_line_is_run_for_each_run_that_has_files_aside() {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::new(dir.path(), Path::new("none"));
    let words = |line| home.lines(&Step { line, exits: &[0] }).unwrap();
    assert_eq!(words("db backup {home}/copy"), [vec!["db".into(), "backup".into(), dir.path().join("copy").into_os_string()]]);
    assert!(words("offload --undo {aside}").is_empty());
    for run in ["4", "17"] {
        fs::create_dir_all(home.volume().join(".lastcopy/offload").join(run)).unwrap();
    }
    assert_eq!(words("offload --undo {aside}"), [["offload", "--undo", "17"], ["offload", "--undo", "4"]]);
}
