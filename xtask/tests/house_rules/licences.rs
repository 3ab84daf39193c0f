//! Everything that is built in may be passed on under our licence.

use crate::workspace::packages;

/// Licences that ask for no more than a notice, and so go with MIT OR Apache-2.0.
const ALLOWED: &[&str] = &["Apache-2.0", "BSD-3-Clause", "MIT", "Unicode-3.0", "Zlib"];

/// Whether an SPDX expression can be met with allowed licences alone. `/` is how old manifests write `OR`.
fn allowed(expression: &str) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<_> = spaced.split_whitespace().collect();
    let mut words = words.as_slice();
    let met = either(&mut words);
    met == Some(true) && words.is_empty()
}

/// `AND` binds more tightly than `OR`.
fn either(words: &mut &[&str]) -> Option<bool> {
    let mut met = both(words)?;
    while let Some(("OR", rest)) = first(words) {
        *words = rest;
        met |= both(words)?;
    }
    Some(met)
}

fn both(words: &mut &[&str]) -> Option<bool> {
    let mut met = one(words)?;
    while let Some(("AND", rest)) = first(words) {
        *words = rest;
        met &= one(words)?;
    }
    Some(met)
}

fn one(words: &mut &[&str]) -> Option<bool> {
    let (word, rest) = first(words)?;
    *words = rest;
    if word == "(" {
        let met = either(words)?;
        let (close, rest) = first(words)?;
        *words = rest;
        return (close == ")").then_some(met);
    }
    let mut name = word.to_owned();
    if let Some(("WITH", rest)) = first(words) {
        let (exception, rest) = first(&mut &*rest)?;
        *words = rest;
        name = format!("{word} WITH {exception}");
    }
    Some(ALLOWED.contains(&name.as_str()))
}

fn first<'a, 'b>(words: &mut &'b [&'a str]) -> Option<(&'a str, &'b [&'a str])> {
    words.split_first().map(|(word, rest)| (*word, rest))
}

#[test]
fn all_dependencies_may_be_passed_on() {
    let packages = packages();
    assert!(packages.len() > 100, "only {} packages were found", packages.len());
    let refused = packages.iter().filter(|package| !allowed(package.license.as_deref().unwrap_or_default()));
    let findings: Vec<_> = refused
        .map(|package| format!("{} {}: {}", package.name, package.version, package.license.as_deref().unwrap_or("no licence")))
        .collect();
    crate::hold(&findings, "choose another crate, or allow the licence here for a reason");
}

#[test]
fn the_rule_can_fail() {
    #[track_caller]
    fn check(expression: &str, expected: bool) {
        assert_eq!(allowed(expression), expected, "{expression}");
    }
    check("MIT", true);
    check("GPL-3.0-only", false);
    check("GPL-3.0-only OR MIT", true);
    check("MIT/Apache-2.0", true);
    check("MIT AND GPL-3.0-only", false);
    check("MIT OR GPL-3.0-only AND MPL-2.0", true);
    check("(MIT OR GPL-3.0-only) AND MPL-2.0", false);
    check("(MIT OR Apache-2.0) AND Unicode-3.0", true);
    check("Apache-2.0 WITH LLVM-exception", false);
    check("Apache-2.0 WITH LLVM-exception OR MIT", true);
    check("", false);
    check("MIT OR", false);
    check("(MIT", false);
    check("MIT Apache-2.0", false);
}
