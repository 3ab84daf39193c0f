//! The suite.

use crate::context;
use crate::skip::no_kopia;
use crate::subject::Repositories;
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
