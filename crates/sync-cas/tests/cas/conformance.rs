//! The suite, run over local directories.

use crate::context;
use crate::subject::{LocalCas, MadeCas};
use lastcopy_sync::Destination;
use lastcopy_sync::conformance::{self, CheckResult, Liar, Lie, Made};
use std::sync::Arc;

#[track_caller]
fn all_hold(results: &[CheckResult], at_least: usize) {
    let failed: Vec<_> = results.iter().filter_map(|result| Some((&result.name, result.outcome.as_ref().err()?))).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.len() >= at_least, "only {} checks", results.len());
}

#[test]
fn it_does_what_every_kind_has_to() {
    let (_runtime, context) = context();
    all_hold(&conformance::honest(&LocalCas, &context), 16);
}

#[test]
fn nothing_is_believed_when_it_lies_or_breaks() {
    let (_runtime, context) = context();
    all_hold(&conformance::lying(&LocalCas, &context), 54);
}

/// What a person runs against an own destination leaves nothing behind, and makes no repository of a place that is none.
#[test]
fn the_checks_against_an_own_destination_leave_nothing_behind() {
    let (_runtime, context) = context();
    let made = MadeCas::new();
    std::fs::create_dir(made.root()).unwrap();
    all_hold(&conformance::against_own(made.destination().as_ref(), &context).unwrap(), 19);
    assert_eq!(std::fs::read_dir(made.root()).unwrap().count(), 0);
}

/// A suite that an invented kind could pass while it lies would protect nobody: each lie that a kind can tell by itself is noticed
/// by the checks that a person runs, too.
#[test]
fn the_checks_notice_every_lie() {
    let (_runtime, context) = context();
    // The heads of another push or life are true heads; only who remembers the pushes can tell. These checks push no volume twice, ask
    // no listing of what is gone, and wait for no one who hangs.
    // The exclusion concerns one of several files.
    let not_by_themselves =
        [Lie::OlderHead, Lie::OlderHeadOnce, Lie::HeadOfAnotherLife, Lie::Hangs, Lie::StaleListing, Lie::Excludes];
    std::thread::scope(|scope| {
        for lie in Lie::ALL.into_iter().filter(|lie| !not_by_themselves.contains(lie)) {
            let context = &context;
            scope.spawn(move || {
                let made = MadeCas::new();
                let liar = Arc::new(Liar::new(made.destination()));
                liar.lie(lie);
                let destination: Arc<dyn Destination> = liar.clone();
                let results = conformance::alone(&destination, context);
                assert!(liar.told() > 0, "nobody lied: {lie}");
                assert!(results.iter().any(|result| result.outcome.is_err()), "nobody noticed: {lie}");
            });
        }
    });
}
