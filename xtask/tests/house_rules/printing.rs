//! Libraries print nothing: they return values, and report progress through a trait.

use crate::source::lines_with;
use crate::workspace::{Source, library_sources};

const PRINTS: &[&str] = &["print!", "println!", "eprint!", "eprintln!", "dbg!", "stdout()", "stderr()"];

fn check(source: &Source) -> Vec<String> {
    let of =
        |word: &&str| lines_with(&source.code, word).into_iter().map(|line| format!("{}:{line}: {word}", source.path)).collect();
    PRINTS.iter().flat_map(|word: &&str| -> Vec<_> { of(word) }).collect()
}

#[test]
fn libraries_print_nothing() {
    let findings: Vec<_> = library_sources().iter().flat_map(check).collect();
    crate::hold(&findings, "only the binary talks to the terminal");
}

#[test]
fn the_rule_can_fail() {
    let code = "fn f() { println!(); std::io::stderr().write_all(x) }";
    let source = Source { path: "a.rs".into(), text: code.into(), code: code.into() };
    assert_eq!(check(&source), ["a.rs:1: println!", "a.rs:1: stderr()"]);
}
