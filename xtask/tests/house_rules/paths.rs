//! Paths are bytes: a lossy conversion is for showing, and libraries show nothing.

use crate::source::lines_with;
use crate::workspace::{Source, library_sources};

fn check(source: &Source) -> Vec<String> {
    lines_with(&source.code, "to_string_lossy").into_iter().map(|line| format!("{}:{line}", source.path)).collect()
}

#[test]
fn paths_are_bytes() {
    let findings: Vec<_> = library_sources().iter().flat_map(check).collect();
    crate::hold(&findings, "a path that was made text is another path; keep the bytes, or use `display` in an error");
}

#[test]
fn the_rule_can_fail() {
    let code = "let name = path.to_string_lossy();";
    let source = Source { path: "a.rs".into(), text: code.into(), code: code.into() };
    assert_eq!(check(&source), ["a.rs:1"]);
}
