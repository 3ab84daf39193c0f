//! Rows, and the table that they make.

use crate::totals::Totals;

/// A measured row, or why it was not measured.
#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    against: String,
    result: Result<Measured, String>,
}

#[derive(Debug)]
struct Measured {
    ours: String,
    theirs: String,
    value: String,
    goal: String,
    holds: bool,
}

impl Row {
    /// Time against time: ours may take at most so many times theirs.
    pub(crate) fn at_most(what: &str, against: &str, (ours, theirs): (f64, f64), goal: f64) -> Self {
        let ratio = ours / theirs;
        Self::new(what, against, format!("{ours:.2} s"), format!("{theirs:.2} s"), ratio, format!("at most {goal}"), ratio <= goal)
    }

    /// The same as rates: ours must be at least so many times theirs.
    pub(crate) fn at_least(what: &str, against: &str, work: &Work, (ours, theirs): (f64, f64), goal: f64) -> Self {
        let ratio = theirs / ours;
        let goal_text = format!("at least {goal}");
        Self::new(what, against, work.rate(ours), work.rate(theirs), ratio, goal_text, ratio >= goal)
    }

    fn new(what: &str, against: &str, ours: String, theirs: String, ratio: f64, goal: String, holds: bool) -> Self {
        let measured = Measured { ours, theirs, value: format!("{ratio:.2}"), goal, holds };
        Self { what: what.into(), against: against.into(), result: Ok(measured) }
    }

    /// Something that is compared with a number.
    pub(crate) fn number(what: &str, value: String, goal: String, holds: bool) -> Self {
        let measured = Measured { ours: value, theirs: "–".into(), value: "–".into(), goal, holds };
        Self { what: what.into(), against: "–".into(), result: Ok(measured) }
    }

    /// What could not be measured here.
    pub(crate) fn skipped(what: &str, against: &str, why: String) -> Self {
        Self { what: what.into(), against: against.into(), result: Err(why) }
    }

    /// The row as Markdown.
    pub(crate) fn line(&self) -> String {
        match &self.result {
            Ok(Measured { ours, theirs, value, goal, holds }) => {
                let holds = if *holds { "yes" } else { "**no**" };
                format!("| {} | {} | {ours} | {theirs} | {value} | {goal} | {holds} |", self.what, self.against)
            }
            Err(why) => format!("| {} | {} | skipped: {why} | | | | |", self.what, self.against),
        }
    }
}

/// What was done in a measured time.
pub(crate) enum Work {
    Bytes(u64),
    Files(u64),
}

impl Work {
    fn rate(&self, seconds: f64) -> String {
        match self {
            Self::Bytes(bytes) => format!("{:.2} GB/s", *bytes as f64 / seconds / 1e9),
            Self::Files(files) => format!("{:.0} files/s", *files as f64 / seconds),
        }
    }
}

/// The rows as a Markdown table, and how many goals are met.
pub(crate) fn render(rows: &[Row]) -> String {
    let mut text = String::from("| what | against | lastcopy | the other | ratio | goal | met |\n|---|---|---|---|---|---|---|\n");
    let mut totals = Totals::default();
    for row in rows {
        text.push_str(&row.line());
        text.push('\n');
        totals += match &row.result {
            Ok(Measured { holds: true, .. }) => Totals::PASSED,
            Ok(Measured { holds: false, .. }) => Totals::FAILED,
            Err(_) => Totals::SKIPPED,
        };
    }
    let Totals { passed, failed, skipped } = totals;
    format!("{text}\n{passed} goals met, {failed} missed, {skipped} not measured.\n")
}

/// The whole document.
pub(crate) fn document(machine: &str, table: &str) -> String {
    format!(
        "# Benchmarks\n\nOne run of `cargo xtask bench --write`; run it yourself to see your machine's. Times depend on the machine, so what counts\n\
         are the ratios: each row ran lastcopy and the other program in turn, on the same data, in the same directory, and the medians\n\
         were compared. What was written was durable when the clock stopped. Trees and digests were compared afterwards.\n\n\
         A ratio of times is lastcopy's divided by the other's: smaller is better. A ratio of rates: larger is better.\n\n\
         ## The machine\n\n{machine}\n## The table\n\n{table}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_times_or_of_rates() {
        let rows = [
            Row::at_most("push", "`cp`", (3.0, 2.0), 1.4),
            Row::at_least("hash", "`b3sum`", &Work::Bytes(4_000_000_000), (1.0, 2.0), 0.95),
            Row::skipped("offload", "`git annex`", "not there".into()),
        ];
        let text = render(&rows);
        assert!(text.contains("| push | `cp` | 3.00 s | 2.00 s | 1.50 | at most 1.4 | **no** |"), "{text}");
        assert!(text.contains("| hash | `b3sum` | 4.00 GB/s | 2.00 GB/s | 2.00 | at least 0.95 | yes |"), "{text}");
        assert!(text.ends_with("1 goals met, 1 missed, 1 not measured.\n"), "{text}");
    }
}
