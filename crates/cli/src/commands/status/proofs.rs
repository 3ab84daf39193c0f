//! What live proofs there are of files one by one: of those that no completed push claims, and of those that are not here any more.

use super::stale_before;
use crate::error::Result;
use crate::excluded::Excluded;
use crate::words::{self, grouped};
use lastcopy_fs::RelPath;
use lastcopy_offload::{Known, Lock, decide, locks};
use lastcopy_store::{
    DestinationId, Evidence, FileFacts, FileRecord, FileStatus, Method, Policy, ReceiptFacts, ReceiptLevel, Store, Timestamp,
    VolumeId,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many files that a destination cannot have are named.
const EXAMPLES: usize = 3;

/// The live proofs of some files at one destination.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    /// Files that are proven.
    pub(super) proven: u64,
    /// Those of them that were last checked too long ago, or at a time to come.
    pub(super) stale: u64,
    methods: BTreeSet<Method>,
    /// When the longest unchecked one was last checked.
    pub(super) since: Option<Timestamp>,
}

impl Proofs {
    /// Takes a receipt into account; says whether it proves anything.
    fn take(&mut self, receipt: Option<ReceiptFacts>, now: Timestamp, stale_before: Timestamp) -> bool {
        let proof = receipt.filter(|receipt| receipt.level == ReceiptLevel::Verified);
        let Some((method, at)) = proof.and_then(|proof| Some((proof.method, proof.verified_at?))) else { return false };
        self.proven += 1;
        self.stale += u64::from(at < stale_before || at > now);
        self.methods.insert(method);
        self.since = Some(self.since.map_or(at, |other| other.min(at)));
        true
    }

    pub(super) fn method(&self) -> Option<String> {
        let names: Vec<_> = self.methods.iter().map(|method| method.name()).collect();
        (!names.is_empty()).then(|| names.join("+"))
    }
}

/// What is said after a count of proven files: how, since when, and how many of them too long ago.
pub(super) fn how(method: Option<&str>, since: Option<Timestamp>, stale: u64) -> String {
    let by = method.map_or_else(String::new, |method| format!(" by {method}"));
    let since = since.map_or_else(String::new, |at| format!(", all checked since {}", words::local_time(at)));
    let stale = if stale > 0 { format!(", {} too long ago, or at a time to come", grouped(stale)) } else { String::new() };
    format!("{by}{since}{stale}")
}

/// The present files, one by one.
#[derive(Debug, Default)]
pub(super) struct Here {
    /// Files and bytes that the gate would let go now, on evidence alone.
    pub(super) offloadable: (u64, u64),
    at: BTreeMap<DestinationId, HereAt>,
}

/// The present files at one destination.
#[derive(Debug, Default)]
pub(super) struct HereAt {
    pub(super) proofs: Proofs,
    /// Those that it cannot have, as the last push found.
    pub(super) excluded: u64,
    /// The first of these, with the reasons.
    pub(super) first_excluded: Vec<(RelPath, String)>,
}

impl HereAt {
    fn take(&mut self, file: &FileRecord, excluded: &Excluded) {
        let Some(reason) = excluded.reason(&file.path) else { return };
        self.excluded += 1;
        if self.first_excluded.len() < EXAMPLES {
            self.first_excluded.push((file.path.clone(), reason.to_owned()));
        }
    }
}

impl Here {
    /// Asks the gate under a policy, and what is proven at some destinations, whatever their pushes claim, and what they cannot have.
    pub(super) fn look(
        store: &Store,
        volume: VolumeId,
        policy: Option<&Policy>,
        at: &BTreeMap<DestinationId, Excluded>,
        stale: Timestamp,
    ) -> Result<Self> {
        let mut here = Self::default();
        let mut asked = policy.map_or_else(Vec::new, Policy::counted);
        asked.extend(at.keys());
        asked.sort_unstable();
        asked.dedup();
        if asked.is_empty() {
            return Ok(here);
        }
        let known = Known { now: store.now(), needed: false, confirmations: &[] };
        store.scan_evidence(volume, FileStatus::Present, &asked, &mut |facts, evidence| {
            if policy.is_some_and(|policy| decide(facts, evidence, policy, &known).passes()) {
                here.offloadable.0 += 1;
                here.offloadable.1 += facts.file.content.size;
            }
            for evidence in evidence {
                let Some(excluded) = at.get(&evidence.destination) else { continue };
                let at = here.at.entry(evidence.destination).or_default();
                if !at.proofs.take(evidence.receipt, known.now, stale) {
                    at.take(&facts.file, excluded);
                }
            }
            Ok(())
        })?;
        Ok(here)
    }

    /// What is there at a destination that was asked for.
    pub(super) fn at(&self, destination: DestinationId) -> Option<&HereAt> {
        self.at.get(&destination)
    }
}

/// The offloaded files, one by one: what the destinations hold of them is all there is.
#[derive(Debug, Default)]
pub(super) struct Away {
    /// How many there are.
    pub(super) files: u64,
    /// Those for which fewer vouch than the policy asks.
    pub(super) short: u64,
    at: BTreeMap<DestinationId, AwayAt>,
}

/// The offloaded files at one destination.
#[derive(Debug, Default)]
pub(super) struct AwayAt {
    pub(super) proofs: Proofs,
    /// Those that it is said to hold, without proof.
    pub(super) unproven: u64,
    /// Those of which it is not known to hold anything.
    pub(super) absent: u64,
    /// Those for which it does not vouch, although the policy asks it to.
    pub(super) lacking: u64,
    /// Those of them of which it is not known to hold anything, and their bytes.
    pub(super) lacking_absent: u64,
    pub(super) lacking_bytes: u64,
}

impl Away {
    /// Looks at the offloaded files of a volume at every destination that the index knows.
    pub(super) fn look(store: &Store, volume: VolumeId, policy: Option<&Policy>) -> Result<Self> {
        let mut away = Self::default();
        let destinations: Vec<_> = store.destinations()?.into_iter().map(|record| record.id).collect();
        // A disk that is unplugged now was another one when the files went.
        let policy = policy.map(|policy| Policy { unknown_device: Vec::new(), ..policy.clone() });
        let (now, stale) = (store.now(), stale_before(store, policy.as_ref()));
        store.scan_evidence(volume, FileStatus::Offloaded, &destinations, &mut |facts, evidence| {
            away.files += 1;
            for evidence in evidence {
                let at = away.at.entry(evidence.destination).or_default();
                if !at.proofs.take(evidence.receipt, now, stale) {
                    *if evidence.receipt.is_some() { &mut at.unproven } else { &mut at.absent } += 1;
                }
            }
            let lacking = policy.as_ref().map_or_else(Vec::new, |policy| lacking(facts, evidence, policy, now));
            away.short += u64::from(!lacking.is_empty());
            for id in lacking {
                let at = away.at.entry(id).or_default();
                at.lacking += 1;
                let known = evidence.iter().any(|evidence| evidence.destination == id && evidence.receipt.is_some());
                if !known {
                    at.lacking_absent += 1;
                    at.lacking_bytes += facts.file.content.size;
                }
            }
            Ok(())
        })?;
        Ok(away)
    }

    pub(super) fn at(&self, destination: DestinationId) -> Option<&AwayAt> {
        self.at.get(&destination).filter(|_| self.files > 0)
    }

    /// What is said of them at a destination.
    pub(super) fn words_at(&self, at: &AwayAt) -> String {
        let noun = if self.files == 1 { "file" } else { "files" };
        let proofs = &at.proofs;
        let mut text = format!("{} of {} offloaded {noun} proven", grouped(proofs.proven), grouped(self.files));
        text.push_str(&how(proofs.method().as_deref(), proofs.since, proofs.stale));
        if at.unproven > 0 {
            text.push_str(&format!(", {} to be proven again", grouped(at.unproven)));
        }
        if at.absent > 0 && at.proofs.proven + at.unproven > 0 {
            text.push_str(&format!(", {} not known to be there", grouped(at.absent)));
        }
        text
    }
}

/// The destinations that do not vouch for an offloaded file, where the policy wants more to vouch. How far a push came there says nothing
/// about a file that is in none any more.
fn lacking(facts: &FileFacts, evidence: &[Evidence], policy: &Policy, now: Timestamp) -> Vec<DestinationId> {
    let vouches = |id: &DestinationId| {
        let evidence = evidence.iter().find(|evidence| evidence.destination == *id);
        evidence.is_some_and(|evidence| {
            let state = locks(facts, evidence, policy, now);
            ![Lock::Incarnation, Lock::Receipt, Lock::Method, Lock::Age].into_iter().any(|lock| state.is_closed(lock))
        })
    };
    let silent = |ids: &[DestinationId]| ids.iter().copied().filter(|id| !vouches(id)).collect::<Vec<_>>();
    let mut lacking = silent(&policy.require);
    if let Some(at_least) = &policy.at_least {
        let vouching: Vec<_> = at_least.of.iter().copied().filter(vouches).collect();
        if policy.domains_among(&vouching) < at_least.count {
            lacking.extend(silent(&at_least.of));
        }
    }
    lacking.sort_unstable();
    lacking.dedup();
    lacking
}

/// How many missing files of a volume some destination is known to hold.
pub(super) fn missing_but_held(store: &Store, volume: VolumeId) -> Result<u64> {
    let destinations: Vec<_> = store.destinations()?.into_iter().map(|record| record.id).collect();
    let mut held = 0;
    store.scan_evidence(volume, FileStatus::Missing, &destinations, &mut |_, evidence| {
        held += u64::from(evidence.iter().any(|evidence| evidence.receipt.is_some()));
        Ok(())
    })?;
    Ok(held)
}
