//! No path of anybody's machine in what others get.

use crate::workspace::{root, skip, tracked};

/// Directories of people; the names after `/home/` that examples may use are listed beside them.
const PRIVATE: &[&str] = &["/home/", "/Users/", "/root/"];
const EXAMPLES: &[&str] = &["you", "me", "anna"];

fn check(path: &str, text: &str, checkout: &str) -> Vec<String> {
    // A checkout directly below the root, like /src, has a name that examples may use, too.
    let own = Some(checkout).filter(|checkout| checkout.matches('/').count() > 1);
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let private = PRIVATE.iter().any(|start| {
            line.match_indices(start).any(|(at, _)| {
                let name = line[at + start.len()..].split(|end: char| !end.is_alphanumeric()).next().unwrap_or_default();
                begins(line, at) && !name.is_empty() && !EXAMPLES.contains(&name)
            })
        });
        if private || own.is_some_and(|own| line.contains(own)) {
            findings.push(format!("{path}:{}: {}", number + 1, line.trim()));
        }
    }
    findings
}

/// Whether an absolute path begins at that place of a line.
fn begins(line: &str, at: usize) -> bool {
    !line[..at].ends_with(|before: char| before.is_alphanumeric() || "}._-/".contains(before)) || line[..at].ends_with("://")
}

#[test]
fn no_path_of_a_machine_is_tracked() {
    let Some(files) = tracked() else {
        return skip("machine::no_path_of_a_machine_is_tracked", "git is missing, or this is no checkout");
    };
    let checkout = root().to_str().expect("a checkout with a name in UTF-8");
    let findings: Vec<_> = files.iter().flat_map(|(path, text)| check(path, text, checkout)).collect();
    crate::hold(&findings, "a path that exists on one machine only helps nobody");
}

#[test]
fn the_rule_can_fail() {
    let home = concat!("/ho", "me/");
    assert_eq!(check("a", &format!("x\n\"{home}jane/x\""), "/src/checkout").len(), 1);
    assert_eq!(check("a", &format!("file://{home}jane"), "/src/checkout").len(), 1);
    assert_eq!(check("a", "see /src/checkout/target", "/src/checkout").len(), 1);
    assert_eq!(check("a", &format!("{home}anna/photos, {{dir}}{home}jane, /src/x"), "/src").len(), 0);
}
