//! Nothing is left for later without an issue: no marks in comments, no code that is not there yet, no test that does not run.

use crate::source::{code_of, lines_with};
use crate::workspace::{skip, tracked};

/// Written in two parts, so that this file is no finding.
const MARKS: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME")];
const CODE: &[&str] = &["todo!", "unimplemented!", "#[ignore", "#[should_panic"];

fn check(path: &str, text: &str) -> Vec<String> {
    let found = |text: &str, words: &[&str]| -> Vec<_> {
        words.iter().flat_map(|word| lines_with(text, word)).map(|line| format!("{path}:{line}")).collect()
    };
    let mut findings = found(text, MARKS);
    if path.ends_with(".rs") {
        findings.extend(found(&code_of(text), CODE));
    }
    findings
}

#[test]
fn nothing_is_left_for_later() {
    let Some(files) = tracked() else {
        return skip("leftovers::nothing_is_left_for_later", "git is missing, or this is no checkout");
    };
    let findings: Vec<_> = files.iter().flat_map(|(path, text)| check(path, text)).collect();
    crate::hold(&findings, "do it, or file an issue");
}

#[test]
fn the_rule_can_fail() {
    assert_eq!(check("a.md", concat!("fine\n// TO", "DO: later")), ["a.md:2"]);
    assert_eq!(check("a.rs", "fn f() {\n    unimplemented!() }\n#[ignore = \"slow\"]"), ["a.rs:2", "a.rs:3"]);
    assert_eq!(check("a.rs", "// no `todo!` in \"todo!\""), Vec::<String>::new());
}
