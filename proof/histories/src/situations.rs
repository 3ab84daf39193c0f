//! The situations that histories have to reach: a run that misses one has not looked where it should.

use crate::word::Terms;
use std::collections::BTreeMap;

/// What every quick run reaches. Bytes that change under unchanged metadata are not among them: kernels of today (seen with 6.18) stamp a file
/// that is stored to through a mapping, in memory, too, and nothing else that a program can do leaves no trace.
const REQUIRED: &[&str] = &[
    "a destination lied",
    "a destination that is gone was reset",
    "a destination was adopted",
    "a destination was full",
    "a destination was initialised",
    "a destination was reset",
    "a destination's call failed",
    "a file came back",
    "a file lay aside",
    "a file waits for its grace",
    "a file was blocked",
    "a file was kept",
    "a file was offloaded",
    "a file was restored",
    "a head of another life was noticed",
    "a loss was repaired",
    "a person waited for the tool",
    "a policy was accepted",
    "a push failed with some files",
    "a push had nothing to send",
    "a push met another repository",
    "a push met drift",
    "a push met no repository",
    "a push proved files",
    "a restore could not bring a file back",
    "a restore found a loss",
    "a restore found a place taken",
    "a rollback was noticed",
    "a run was closed by hand",
    "a run was closed by somebody else",
    "a run was refused because of another",
    "a vector advanced",
    "a verify found a loss",
    "a verify proved objects",
    "a volume contradicted the index",
    "a volume was another node's",
    "a weaker policy was refused",
    "acknowledged: identity-changed",
    "acknowledged: lost-object",
    "acknowledged: rolled-back",
    "an index without what lies beside it was noticed",
    "an index was recovered",
    "an index was restored",
    "an offload kept a file whose place was taken",
    "an offload met drift",
    "an offload was undone",
    "an offload without a policy was refused",
    "an undo kept a file whose place was taken",
    "a broken offload was settled: put back",
    "a broken offload was settled: kept",
    "a broken offload was settled: gone",
    "another life of the index was noticed",
    "done: age",
    "done: append",
    "done: clock",
    "done: close",
    "done: delete",
    "done: exchange",
    "done: flip",
    "done: keep",
    "done: link",
    "done: lose",
    "done: move-into",
    "done: open",
    "done: overwrite",
    "done: plug",
    "done: rename",
    "done: replace",
    "done: roll-back",
    "done: rot",
    "done: shorten",
    "done: swap",
    "done: swap-places",
    "done: truncate",
    "done: unplug",
    "done: wipe",
    "done: write",
    "done: write-open",
    "evidence was rewound",
    "files were restored elsewhere",
    "paths were recovered from a destination",
    "refused: alarm",
    "refused: behind",
    "refused: identity",
    "refused: in-use",
    "refused: no-evidence",
    "refused: no-receipt",
    "refused: not-held",
    "refused: stale",
    "refused: unreachable",
    "refused: unverified",
    "somebody went on with the clone",
    "something happened within a command",
    "the file beside the index contradicted it",
    "the process was killed",
];

/// That a deletion was found right under these terms: each of them is reached, or that one is not looked at.
pub(crate) fn deletion_under(terms: Terms) -> &'static str {
    match terms {
        Terms::Vault => "a deletion was found right: vault",
        Terms::Both => "a deletion was found right: both",
        Terms::BothFull => "a deletion was found right: both-full",
        Terms::TwoOfThree => "a deletion was found right: two-of-three",
        Terms::TwoPlaces => "a deletion was found right: two-places",
        Terms::VaultAndOne => "a deletion was found right: vault-and-one",
        Terms::Offline => "a deletion was found right: offline",
        Terms::BothGrace => "a deletion was found right: both-grace",
        Terms::VaultGrace => "a deletion was found right: vault-grace",
        Terms::VaultFresh => "a deletion was found right: vault-fresh",
        Terms::Nothing => "a deletion was found right: nothing",
    }
}

/// All that must be reached.
pub fn required() -> Vec<&'static str> {
    let terms = Terms::ALL.iter().filter(|terms| **terms != Terms::Nothing);
    REQUIRED.iter().copied().chain(terms.map(|terms| deletion_under(*terms))).collect()
}

/// Which of them were not reached.
pub fn missing(reached: &BTreeMap<&'static str, u64>) -> Vec<&'static str> {
    required().into_iter().filter(|situation| !reached.contains_key(situation)).collect()
}
