//! Offload policies, and the latch that lets them weaken only on purpose (I7).

use crate::db::Cached;
use crate::error::{Result, StoreError};
use crate::ids::{DestinationId, Timestamp, VolumeId, text_enum};
use crate::store::Store;
use crate::volume::Volume;
use rusqlite::{OptionalExtension, Transaction};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

text_enum! {
    /// How a receipt was proven; declared from the strongest to the weakest.
    pub enum Method {
        /// We read the stored bytes and hashed them.
        ReadBack = "read-back",
        /// The far side hashed the stored bytes, with BLAKE3.
        RemoteHash = "remote-hash",
        /// A peer hashed what it wrote and read back.
        Peer = "peer",
        /// The provider's own checksum equals the one computed over the bytes that hashed to the content.
        Fingerprint = "fingerprint",
        /// It exists and has the right size. Opens nothing.
        Presence = "presence",
    }
}

text_enum! {
    /// How evidence is confirmed at the moment of deletion; declared from the weakest to the strongest.
    pub enum Confirm {
        /// Evidence alone.
        Offline = "offline",
        /// Identity and head now, and each object still there with its size.
        Quick = "quick",
        /// Every file read back and hashed, now.
        Full = "full",
    }
}

/// Destinations of which a number must vouch, file by file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtLeast {
    /// How many, each in a failure domain of its own.
    pub count: usize,
    /// Of which.
    pub of: Vec<DestinationId>,
}

/// What must hold before a local copy may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Every one must vouch.
    pub require: Vec<DestinationId>,
    /// Besides, so many of these.
    pub at_least: Option<AtLeast>,
    /// Evidence older than this many milliseconds is stale.
    pub max_evidence_age_ms: i64,
    /// How it is confirmed at the moment of deletion.
    pub confirm: Confirm,
    /// How many milliseconds what was offloaded stays in quarantine first.
    pub grace_ms: i64,
    /// The methods of proof that count.
    pub methods: Vec<Method>,
    /// Also where leases are not to be trusted, by the weaker protocol.
    pub any_filesystem: bool,
    /// Labels of the configuration: destinations with one label count once for `at_least`.
    pub domains: BTreeMap<DestinationId, String>,
    /// Pairs that were found to share a device or a repository: they count once, too. No part of what is accepted, because device
    /// numbers change with every reboot.
    #[serde(skip)]
    pub same_device: Vec<(DestinationId, DestinationId)>,
    /// Those whose device cannot be told now: an unplugged disk. One without a label may be the disk of any other one.
    #[serde(skip)]
    pub unknown_device: Vec<DestinationId>,
}

impl Policy {
    /// Every one of these must vouch, by what was read back, and a file goes at once: what most policies are made of.
    pub fn requiring(require: Vec<DestinationId>, max_evidence_age_ms: i64, confirm: Confirm) -> Self {
        Self {
            require,
            at_least: None,
            max_evidence_age_ms,
            confirm,
            grace_ms: 0,
            methods: vec![Method::ReadBack],
            any_filesystem: false,
            domains: BTreeMap::new(),
            same_device: Vec::new(),
            unknown_device: Vec::new(),
        }
    }
}

/// One way in which a policy lets a file pass that another one stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Weakening {
    /// A destination is no longer required.
    NotRequired(DestinationId),
    /// The count of `at_least` is lower, or its list is longer.
    AtLeast,
    /// Evidence may be older.
    MaxEvidenceAge,
    /// Confirmation is weaker.
    Confirm,
    /// Quarantine is shorter.
    Grace,
    /// A method of proof more is accepted.
    Method(Method),
    /// File systems without trusted leases are accepted.
    AnyFilesystem,
    /// Two destinations that counted once count twice.
    FailureDomain(DestinationId, DestinationId),
}

impl Policy {
    /// The destinations that it requires or counts, in order, each once.
    pub fn counted(&self) -> Vec<DestinationId> {
        let mut all = self.require.clone();
        all.extend(self.at_least.iter().flat_map(|at_least| at_least.of.iter().copied()));
        all.sort_unstable();
        all.dedup();
        all
    }

    /// In how many failure domains these destinations lie, at the least.
    pub fn domains_among(&self, destinations: &[DestinationId]) -> usize {
        let (unknown, known): (Vec<_>, Vec<_>) =
            destinations.iter().copied().partition(|id| self.unknown_device.contains(id) && !self.domains.contains_key(id));
        // All of them may be one disk, and that disk may be one of the others.
        if known.is_empty() { usize::from(!unknown.is_empty()) } else { self.known_domains_among(&known) }
    }

    fn known_domains_among(&self, destinations: &[DestinationId]) -> usize {
        // A handful of destinations: the smallest member of its domain stands for each.
        let mut leader: Vec<usize> = (0..destinations.len()).collect();
        for left in 0..destinations.len() {
            for right in 0..left {
                if self.shares_domain(destinations[left], destinations[right]) {
                    let (from, to) = (leader[left].max(leader[right]), leader[left].min(leader[right]));
                    leader.iter_mut().filter(|entry| **entry == from).for_each(|entry| *entry = to);
                }
            }
        }
        leader.sort_unstable();
        leader.dedup();
        leader.len()
    }

    fn shares_domain(&self, left: DestinationId, right: DestinationId) -> bool {
        let label = |id| self.domains.get(&id);
        left == right
            || (label(left).is_some() && label(left) == label(right))
            || self.same_device.contains(&(left, right))
            || self.same_device.contains(&(right, left))
    }

    /// Every way in which a file could pass this policy that `accepted` stops. Where that cannot be told, it counts as one.
    pub fn weaker_than(&self, accepted: &Self) -> Vec<Weakening> {
        let mut found = Vec::new();
        found.extend(accepted.require.iter().filter(|id| !self.require.contains(id)).map(|id| Weakening::NotRequired(*id)));
        if let Some(old) = &accepted.at_least
            && !self.implies(old)
        {
            found.push(Weakening::AtLeast);
        }
        if self.max_evidence_age_ms > accepted.max_evidence_age_ms {
            found.push(Weakening::MaxEvidenceAge);
        }
        if self.confirm < accepted.confirm {
            found.push(Weakening::Confirm);
        }
        if self.grace_ms < accepted.grace_ms {
            found.push(Weakening::Grace);
        }
        let more = self.methods.iter().filter(|method| !accepted.methods.contains(method));
        found.extend(more.map(|method| Weakening::Method(*method)));
        if self.any_filesystem && !accepted.any_filesystem {
            found.push(Weakening::AnyFilesystem);
        }
        found.extend(self.split_domains(accepted));
        found
    }

    /// Whether whatever passes this policy has `old.count` vouchers among `old.of`.
    fn implies(&self, old: &AtLeast) -> bool {
        let required: Vec<_> = self.require.iter().copied().filter(|id| old.of.contains(id)).collect();
        let by_count =
            self.at_least.as_ref().is_some_and(|new| new.count >= old.count && new.of.iter().all(|id| old.of.contains(id)));
        by_count || self.domains_among(&required) >= old.count
    }

    /// Pairs that `accepted` counts once and this policy counts twice.
    fn split_domains(&self, accepted: &Self) -> Vec<Weakening> {
        let Some(old) = &accepted.at_least else { return Vec::new() };
        let pairs = old.of.iter().enumerate().flat_map(|(index, left)| old.of[..index].iter().map(move |right| (*left, *right)));
        pairs
            .filter(|(left, right)| {
                let label = |policy: &Self, id| policy.domains.get(id).cloned();
                let together = |policy: &Self| label(policy, left).is_some() && label(policy, left) == label(policy, right);
                together(accepted) && !together(self)
            })
            .map(|(left, right)| Weakening::FailureDomain(left, right))
            .collect()
    }

    fn terms(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| StoreError::impossible(error.to_string()))
    }
}

/// An accepted policy, with the act that accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedPolicy {
    /// The policy.
    pub policy: Policy,
    /// When.
    pub accepted_at: Timestamp,
    /// A person's reason; `None` where a run took a stricter one by itself.
    pub reason: Option<String>,
}

fn accepted(tx: &Transaction<'_>, volume: VolumeId) -> Result<Option<AcceptedPolicy>> {
    let newest = "SELECT terms, accepted_at, reason FROM policy WHERE volume = ? ORDER BY id DESC LIMIT 1";
    let row: Option<(String, Timestamp, Option<String>)> =
        tx.row(newest, [volume], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    row.map(|(terms, accepted_at, reason)| {
        let policy = serde_json::from_str(&terms).map_err(|error| StoreError::impossible(error.to_string()))?;
        Ok(AcceptedPolicy { policy, accepted_at, reason })
    })
    .transpose()
}

/// In what a policy is weaker than the one accepted last.
pub(crate) fn weakenings(tx: &Transaction<'_>, volume: VolumeId, policy: &Policy) -> Result<Vec<Weakening>> {
    Ok(accepted(tx, volume)?.map_or_else(Vec::new, |old| policy.weaker_than(&old.policy)))
}

/// Takes the configured policy as accepted if nothing in it is weaker. Part of every run's begin.
pub(crate) fn accept_stricter(tx: &Transaction<'_>, volume: &Volume, now: Timestamp) -> Result<()> {
    let Some(policy) = volume.configured_policy() else { return Ok(()) };
    match accepted(tx, volume.id())? {
        Some(old) if old.policy.terms()? == policy.terms()? || !policy.weaker_than(&old.policy).is_empty() => Ok(()),
        _ => record(tx, volume.id(), policy, None, now),
    }
}

fn record(tx: &Transaction<'_>, volume: VolumeId, policy: &Policy, reason: Option<&str>, now: Timestamp) -> Result<()> {
    tx.change(
        "INSERT INTO policy (volume, terms, accepted_at, reason) VALUES (?, ?, ?, ?)",
        (volume, policy.terms()?, now, reason),
    )?;
    Ok(())
}

impl Store {
    /// The policy accepted last for a volume.
    pub fn accepted_policy(&self, volume: VolumeId) -> Result<Option<AcceptedPolicy>> {
        self.read(|tx| accepted(tx, volume))
    }

    /// Accepts a policy on a person's word, weaker or not.
    pub fn accept_policy(&self, volume: VolumeId, policy: &Policy, reason: &str) -> Result<()> {
        self.write(|tx| record(tx, volume, policy, Some(reason), self.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USB: DestinationId = DestinationId(1);
    const CLOUD: DestinationId = DestinationId(2);
    const VAULT: DestinationId = DestinationId(3);

    fn base() -> Policy {
        Policy {
            require: vec![USB],
            at_least: Some(AtLeast { count: 2, of: vec![USB, CLOUD, VAULT] }),
            max_evidence_age_ms: 1000,
            confirm: Confirm::Quick,
            grace_ms: 10,
            methods: vec![Method::ReadBack, Method::RemoteHash],
            any_filesystem: false,
            domains: BTreeMap::from([(USB, "desk".into()), (VAULT, "desk".into())]),
            same_device: Vec::new(),
            unknown_device: Vec::new(),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Policy), expected: &[Weakening]) {
        let mut policy = base();
        change(&mut policy);
        assert_eq!(policy.weaker_than(&base()), expected);
    }

    #[test]
    fn each_way_to_be_weaker_is_noticed() {
        check(|_| {}, &[]);
        check(|policy| policy.require.clear(), &[Weakening::NotRequired(USB)]);
        check(|policy| policy.at_least = None, &[Weakening::AtLeast]);
        check(|policy| policy.at_least = Some(AtLeast { count: 1, of: vec![USB, CLOUD, VAULT] }), &[Weakening::AtLeast]);
        check(
            |policy| policy.at_least = Some(AtLeast { count: 2, of: vec![USB, CLOUD, VAULT, DestinationId(4)] }),
            &[Weakening::AtLeast],
        );
        check(|policy| policy.max_evidence_age_ms = 1001, &[Weakening::MaxEvidenceAge]);
        check(|policy| policy.confirm = Confirm::Offline, &[Weakening::Confirm]);
        check(|policy| policy.grace_ms = 9, &[Weakening::Grace]);
        check(|policy| policy.methods.push(Method::Fingerprint), &[Weakening::Method(Method::Fingerprint)]);
        check(|policy| policy.any_filesystem = true, &[Weakening::AnyFilesystem]);
        check(|policy| policy.domains.clear(), &[Weakening::FailureDomain(VAULT, USB)]);
    }

    #[test]
    fn stricter_is_not_weaker() {
        check(|policy| policy.require.push(CLOUD), &[]);
        check(|policy| policy.at_least = Some(AtLeast { count: 3, of: vec![USB, CLOUD, VAULT] }), &[]);
        check(|policy| policy.at_least = Some(AtLeast { count: 2, of: vec![USB, CLOUD] }), &[]);
        check(|policy| policy.max_evidence_age_ms = 1, &[]);
        check(|policy| policy.confirm = Confirm::Full, &[]);
        check(|policy| policy.grace_ms = 11, &[]);
        check(|policy| policy.methods = vec![Method::ReadBack], &[]);
        check(
            |policy| {
                policy.domains.insert(CLOUD, "desk".into());
            },
            &[],
        );
    }

    #[test]
    fn requiring_them_all_implies_counting_them() {
        check(
            |policy| {
                policy.require = vec![USB, CLOUD];
                policy.at_least = None;
            },
            &[],
        );
        check(
            |policy| {
                policy.require = vec![USB, VAULT];
                policy.at_least = None;
            },
            // Both lie on the desk: they count once.
            &[Weakening::AtLeast],
        );
    }

    #[test]
    fn domains_are_counted_once() {
        let mut policy = base();
        assert_eq!(policy.domains_among(&[USB, CLOUD, VAULT]), 2);
        policy.same_device.push((CLOUD, USB));
        assert_eq!(policy.domains_among(&[USB, CLOUD, VAULT]), 1);
        assert_eq!(policy.domains_among(&[]), 0);
    }

    /// An unplugged disk is perhaps the one that another destination lies on; a label says that it is not.
    #[test]
    fn what_cannot_be_told_apart_counts_once() {
        let mut policy = Policy { domains: BTreeMap::new(), unknown_device: vec![CLOUD, VAULT], ..base() };
        assert_eq!(policy.domains_among(&[USB, CLOUD]), 1);
        assert_eq!(policy.domains_among(&[CLOUD, VAULT]), 1);
        assert_eq!(policy.domains_among(&[CLOUD]), 1);
        // What is known of others is not forgotten because of it.
        assert_eq!(policy.domains_among(&[USB, DestinationId(4), CLOUD, VAULT]), 2);
        policy.domains = BTreeMap::from([(USB, "desk".into())]);
        assert_eq!(policy.domains_among(&[USB, CLOUD, VAULT]), 1);
        policy.domains.insert(CLOUD, "shelf".into());
        assert_eq!(policy.domains_among(&[USB, CLOUD, VAULT]), 2);
        policy.domains.insert(VAULT, "cellar".into());
        assert_eq!(policy.domains_among(&[USB, CLOUD, VAULT]), 3);
    }
}
