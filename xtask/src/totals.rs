//! Counting what passed, failed and was skipped.

use std::fmt;
use std::ops::AddAssign;

/// Counts of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Totals {
    pub(crate) const PASSED: Self = Self { passed: 1, failed: 0, skipped: 0 };
    pub(crate) const FAILED: Self = Self { passed: 0, failed: 1, skipped: 0 };
    pub(crate) const SKIPPED: Self = Self { passed: 0, failed: 0, skipped: 1 };

    /// What a test program's closing line counts, if the line is one.
    ///
    /// ```text
    /// test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s
    /// ```
    pub(crate) fn of_result_line(line: &str) -> Option<Self> {
        let (_, counts) = line.trim_end().strip_prefix("test result: ")?.split_once(". ")?;
        let mut totals = Self::default();
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => totals.passed = number.parse().ok()?,
                Some((number, "failed")) => totals.failed = number.parse().ok()?,
                Some((number, "ignored")) => totals.skipped = number.parse().ok()?,
                _ => {}
            }
        }
        Some(totals)
    }

    /// What the closing line of a program of the harness counts: the form in which totals are printed.
    pub(crate) fn of_closing_line(line: &str) -> Option<Self> {
        let mut counts = line.split(", ");
        let mut count = |word: &str| counts.next()?.strip_suffix(word)?.strip_suffix(' ')?.parse().ok();
        let totals = Self { passed: count("passed")?, failed: count("failed")?, skipped: count("skipped")? };
        counts.next().is_none().then_some(totals)
    }

    /// Takes tests that said that they were skipped out of those that passed.
    pub(crate) fn skip(&mut self, skipped: u64) {
        self.passed = self.passed.saturating_sub(skipped);
        self.skipped += skipped;
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<&str>) {
        assert_eq!(Totals::of_result_line(line).map(|totals| totals.to_string()).as_deref(), expected);
    }

    #[test]
    fn closing_lines_are_counted_and_nothing_else_is() {
        check(
            "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s\n",
            Some("5 passed, 0 failed, 1 skipped"),
        );
        check(
            "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
            Some("12 passed, 3 failed, 0 skipped"),
        );
        check("test tests::it_works ... ok", None);
        check("the test result: ok. 5 passed; 0 failed", None);
        check("test result: ok. many passed; 0 failed", None);
    }

    #[test]
    fn totals_are_read_as_they_are_printed() {
        let totals = Totals { passed: 5, failed: 1, skipped: 2 };
        assert_eq!(Totals::of_closing_line(&totals.to_string()), Some(totals));
        assert_eq!(Totals::of_closing_line("5 passed, 1 failed"), None);
        assert_eq!(Totals::of_closing_line("5 passed, 1 failed, 2 skipped, 1 lost"), None);
        assert_eq!(Totals::of_closing_line("everything passed, 0 failed, 0 skipped"), None);
    }

    #[test]
    fn a_skipped_test_has_not_passed() {
        let mut totals = Totals { passed: 5, failed: 1, skipped: 1 };
        totals.skip(2);
        assert_eq!(totals.to_string(), "3 passed, 1 failed, 3 skipped");
    }
}
