//! What a walk has to tell besides files: what it left out, and what it could not read.

use lastcopy_fs::RelPath;
use std::collections::BTreeMap;

/// How many paths of one kind are remembered for people; all are counted.
const EXAMPLES: usize = 100;

/// Entries that were left out, by the name of their kind: `symlink`, `fifo`, `socket`, `block-device`, `char-device`, `excluded`,
/// `mount`, `volume`, `destination`, `own`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Skipped {
    kinds: BTreeMap<&'static str, (u64, Vec<RelPath>)>,
}

impl Skipped {
    pub(crate) fn add(&mut self, kind: &'static str, path: impl FnOnce() -> Option<RelPath>) {
        let (count, examples) = self.kinds.entry(kind).or_default();
        *count += 1;
        if examples.len() < EXAMPLES {
            examples.extend(path());
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, (count, paths)) in other.kinds {
            let (total, examples) = self.kinds.entry(kind).or_default();
            *total += count;
            examples.extend(paths);
            examples.truncate(EXAMPLES);
        }
    }

    /// How many entries, of all kinds.
    pub fn total(&self) -> u64 {
        self.kinds.values().map(|(count, _)| count).sum()
    }

    /// Kind, count, and the first paths of each.
    pub fn kinds(&self) -> impl Iterator<Item = (&'static str, u64, &[RelPath])> {
        self.kinds.iter().map(|(kind, (count, paths))| (*kind, *count, &paths[..]))
    }
}

/// Paths with which something was wrong, and what.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trouble {
    count: u64,
    first: Vec<(RelPath, String)>,
}

impl Trouble {
    pub(crate) fn add(&mut self, path: RelPath, what: impl Into<String>) {
        self.count += 1;
        if self.first.len() < EXAMPLES {
            self.first.push((path, what.into()));
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first.extend(other.first);
        self.first.truncate(EXAMPLES);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    pub fn first(&self) -> &[(RelPath, String)] {
        &self.first
    }
}
