//! What a restore did.

use lastcopy_fs::RelPath;
use lastcopy_store::Outcome;
use std::collections::BTreeSet;

/// How many refused or failed files are remembered for people; all are counted.
const EXAMPLES: usize = 100;

/// What a restore did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Files that came back.
    pub restored: u64,
    /// Files that were there already.
    pub already: u64,
    /// Files whose place is taken by something else.
    pub refused: u64,
    /// Files that no destination could give back.
    pub failed: u64,
    /// Bytes that came back.
    pub bytes: u64,
    /// The destinations that gave them, by name.
    pub from: BTreeSet<String>,
    /// Objects that a destination was found not to hold any more, or not with their bytes: their receipts are lost now.
    pub lost: u64,
    /// Objects that a destination did not give, and that are not surely lost.
    pub unread: u64,
    /// The first refused and failed ones.
    pub first: Vec<(RelPath, String)>,
    /// The first that came back although a destination that should have them could not give them, and what it gave instead.
    pub amiss: Vec<(RelPath, String)>,
}

impl RestoreReport {
    pub(crate) fn outcome(&self) -> Outcome {
        if self.is_whole() {
            return Outcome::Success;
        }
        let Self { refused, failed, lost, unread, .. } = self;
        Outcome::Partial(format!("{refused} refused, {failed} could not be brought back, {lost} objects lost, {unread} unread"))
    }

    /// Whether everything came back, and every destination that was asked had what it should have.
    pub fn is_whole(&self) -> bool {
        self.refused + self.failed + self.lost + self.unread == 0
    }

    pub(crate) fn refuse(&mut self, path: &RelPath, why: String) {
        self.refused += 1;
        self.name(path, why);
    }

    pub(crate) fn fail(&mut self, path: &RelPath, why: String) {
        self.failed += 1;
        self.name(path, why);
    }

    /// What came back, and could not be had from everyone who should have it.
    pub(crate) fn amiss(&mut self, path: &RelPath, why: &str) {
        if self.amiss.len() < EXAMPLES {
            self.amiss.push((path.clone(), why.to_owned()));
        }
    }

    fn name(&mut self, path: &RelPath, why: String) {
        if self.first.len() < EXAMPLES {
            self.first.push((path.clone(), why));
        }
    }
}
