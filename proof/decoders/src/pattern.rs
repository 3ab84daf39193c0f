//! Exclude patterns, as a person writes them into the configuration or into a tree.

use lastcopy_fs::RelPath;
use lastcopy_index::{Rules, check_pattern};

/// Patterns, one in a line; the first line is also a path that they are held against.
pub fn pattern(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut legal = Vec::new();
    for line in text.lines() {
        let rules = Rules::configured(&[line.to_owned()]);
        assert_eq!(check_pattern(line).is_ok(), rules.is_ok(), "{line:?} is a pattern when it is checked, or when it is used");
        if rules.is_ok() {
            legal.push(line.to_owned());
        }
        if let Ok(rules) = rules
            && (line.trim().is_empty() || line.starts_with('#'))
        {
            assert!(!rules.excludes(&RelPath::new("a").expect("legal"), false), "{line:?} is no pattern, and leaves something out");
        }
    }
    let rules = Rules::configured(&legal).expect("patterns that are legal one by one");
    let first = text.lines().next().and_then(|line| RelPath::new(line).ok());
    for path in first.into_iter().chain([RelPath::new("a/b c/d.tmp").expect("legal")]) {
        // What is asked twice is answered once.
        assert_eq!(rules.excludes(&path, true), rules.excludes(&path, true));
        assert!(legal.iter().any(|line| !line.starts_with(['!', '#'])) || !rules.excludes(&path, false));
    }
}
