//! The judgement: at which calls what must be durable.

use crate::areas::{Area, Areas};
use crate::ledger::{Ledger, Stain};
use lastcopy_stepper::{Call, FileType, Kind, Target};
use std::collections::BTreeMap;
use std::path::Path;

/// What an audit counts and finds, over all commands of a workload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Calls that change or sync anything.
    pub(crate) calls: u64,
    /// Those that make durable.
    pub(crate) syncs: u64,
    /// Deletions of a person's data that were judged.
    pub(crate) deletions: u64,
    /// Moves of a person's data that were judged.
    pub(crate) moves: u64,
    /// Writes to the index's log that were judged.
    pub(crate) records: u64,
    /// What is not durable where it must be, with the first such moment and the number of them.
    pub(crate) violations: BTreeMap<String, (String, u64)>,
}

/// Follows commands, one after the other; what one leaves unsynced, the next one must not count on.
#[derive(Debug)]
pub(crate) struct Audit {
    areas: Areas,
    ledger: Ledger,
    verdict: Verdict,
}

/// Something that happens in a run.
#[derive(Clone, Copy)]
enum Moment<'a> {
    Begins(&'a Call),
    Returns(&'a Call),
}

impl Audit {
    pub(crate) fn new(areas: Areas) -> Self {
        Self { areas, ledger: Ledger::default(), verdict: Verdict::default() }
    }

    /// A command that ended well.
    pub(crate) fn follow(&mut self, line: &str, calls: &[Call]) {
        self.go_through(calls, Some(line));
        let ended = format!("`{line}` ended");
        self.require(Area::Evidence, &ended);
        self.require(Area::Person, &ended);
    }

    /// What was killed, or is none of ours: nothing that it leaves need be durable, and whoever comes next must not count on it.
    pub(crate) fn follow_unjudged(&mut self, calls: &[Call]) {
        self.go_through(calls, None);
    }

    fn go_through(&mut self, calls: &[Call], judged: Option<&str>) {
        let mut moments: Vec<_> = calls
            .iter()
            .flat_map(|call| {
                let returned = call.returned.map(|returned| (returned, Moment::Returns(call)));
                std::iter::once((call.began, Moment::Begins(call))).chain(returned)
            })
            .collect();
        moments.sort_by_key(|(clock, _)| *clock);
        for (_, moment) in moments {
            match moment {
                Moment::Begins(call) => {
                    if let Some(line) = judged {
                        self.judge(line, call);
                    }
                    self.ledger.begin(call);
                }
                Moment::Returns(call) => {
                    if judged.is_some() {
                        self.count(call);
                    }
                    self.ledger.end(call);
                }
            }
        }
    }

    pub(crate) fn verdict(self) -> Verdict {
        self.verdict
    }

    fn count(&mut self, call: &Call) {
        self.verdict.calls += u64::from(call.kind != Kind::Note);
        self.verdict.syncs += u64::from(call.kind == Kind::Sync && call.name != "sync_file_range" && call.succeeded());
        if let ("rename" | "renameat" | "renameat2", [old, new]) = (call.name, call.targets.as_slice())
            && call.succeeded()
            && old.before.is_some_and(|inode| inode.kind == FileType::Regular)
            && [old, new].iter().any(|target| self.areas.of_path(&target.path) == Area::Person)
        {
            self.verdict.moves += 1;
        }
    }

    fn judge(&mut self, line: &str, call: &Call) {
        // What did not work deleted nothing. A call that never returned may have worked.
        let may_work = call.result.is_none_or(|result| result >= 0);
        if may_work && self.deletes(call) {
            self.verdict.deletions += 1;
            self.require(Area::Evidence, &format!("`{line}` deletes: {call}"));
        }
        if may_work {
            self.judge_name(line, call);
        }
        let records = call.kind == Kind::Change
            && call.length.is_some()
            && call.targets.first().is_some_and(|target| self.areas.is_log(&target.path));
        if records {
            self.verdict.records += 1;
            self.require(Area::Person, &format!("`{line}` records in the index"));
        }
    }

    /// Whether a call removes or overwrites bytes of a person, in the volume or at a destination.
    fn deletes(&self, call: &Call) -> bool {
        let theirs = |target: &Target| self.areas.of_path(&target.path) == Area::Person || self.areas.is_object(&target.path);
        let held = |target: Option<&Target>| {
            let inode = target.filter(|target| theirs(target)).and_then(|target| target.before);
            inode.is_some_and(|inode| matches!(inode.kind, FileType::Regular | FileType::Symlink))
        };
        let flags = call.flags.unwrap_or(0);
        match call.name {
            "unlink" | "unlinkat" => held(call.targets.first()),
            // With any of its flags, a rename replaces nothing.
            "rename" | "renameat" | "renameat2" => flags == 0 && held(call.targets.get(1)),
            "open" | "openat" | "openat2" | "creat" => {
                (flags & libc::O_TRUNC as u64 != 0 || call.name == "creat") && held(call.targets.first())
            }
            "truncate" | "ftruncate" | "fallocate" | "ioctl" => held(call.targets.first()),
            _ => call.length.is_some() && held(call.targets.first()),
        }
    }

    /// A file's bytes are durable before it gets a name by which anybody counts on it: or the name could outlast them.
    fn judge_name(&mut self, line: &str, call: &Call) {
        let ("rename" | "renameat" | "renameat2" | "link" | "linkat", [from, to]) = (call.name, call.targets.as_slice()) else {
            return;
        };
        if self.areas.counts_by_name(&to.path)
            && let Some(stain) = from.before.as_ref().and_then(|inode| self.ledger.unsynced_bytes(inode))
        {
            let what = told(&to.path, stain);
            self.violated(what, &format!("`{line}` gives it a name: {call}"));
        }
    }

    fn require(&mut self, area: Area, moment: &str) {
        let dirty: Vec<_> =
            self.ledger.stains().filter(|stain| self.areas.matters(stain, area)).map(|stain| told(&stain.path, stain)).collect();
        dirty.into_iter().for_each(|what| self.violated(what, moment));
    }

    fn violated(&mut self, what: String, moment: &str) {
        self.verdict.violations.entry(what).or_insert_with(|| (moment.to_owned(), 0)).1 += 1;
    }
}

fn told(path: &Path, stain: &Stain) -> String {
    format!("{}: {:?} not durable since {}", path.display(), stain.what, stain.call)
}

#[cfg(test)]
mod tests;
