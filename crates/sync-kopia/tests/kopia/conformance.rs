//! The suite.

use crate::context;
use crate::skip::no_kopia;
use crate::subject::{MadeRepository, QuickRepositories, Repositories};
use lastcopy_sync::conformance::{self, CheckResult};

#[track_caller]
fn all_hold(results: &[CheckResult], at_least: usize) {
    let failed: Vec<_> = results.iter().filter_map(|result| Some((&result.name, result.outcome.as_ref().err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.len() >= at_least, "only {} checks", results.len());
}

#[test]
fn a_directory() {
    if !no_kopia("conformance::a_directory") {
        let (_runtime, context) = context();
        all_hold(&conformance::honest(&Repositories, &context), 16);
    }
}

#[test]
fn nothing_is_believed_when_a_directory_lies() {
    if !no_kopia("conformance::nothing_is_believed_when_a_directory_lies") {
        let (_runtime, context) = context();
        all_hold(&conformance::lying(&QuickRepositories, &context), 29);
    }
}

/// What a person runs against an own destination leaves nothing behind.
#[test]
fn the_checks_against_an_own_destination_leave_nothing_behind() {
    if no_kopia("conformance::the_checks_against_an_own_destination_leave_nothing_behind") {
        return;
    }
    let (_runtime, context) = context();
    let made = MadeRepository::new();
    all_hold(&conformance::against_own(made.kopia().as_ref(), &context).unwrap(), 19);
    let beside: Vec<_> =
        std::fs::read_dir(made.root().parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(beside.iter().all(|name| !name.to_string_lossy().starts_with(".lastcopy-test-")), "{beside:?}");
    assert_eq!(std::fs::read_dir(made.root()).unwrap().count(), 0);
}
