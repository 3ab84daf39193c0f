//! The house rules: what reviewers would otherwise have to remember. One module for each, with a test that it holds and a test that
//! it is able to fail.

#![expect(clippy::expect_used, reason = "a rule that cannot look fails")]

mod decoders;
mod direction;
mod leftovers;
mod licences;
mod machine;
mod manifests;
mod paths;
mod printing;
mod source;
mod unused;
mod workspace;

/// Fails with every finding, and says what the rule is for.
#[track_caller]
fn hold(findings: &[String], why: &str) {
    assert!(findings.is_empty(), "{why}\n  {}\n", findings.join("\n  "));
}
