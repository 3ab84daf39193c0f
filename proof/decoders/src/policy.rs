//! Accepted policies, as the index keeps them, and whether one of two is weaker.

use lastcopy_store::{DestinationId, Policy};
use std::collections::BTreeSet;

/// Two policies in JSON, one in a line.
pub fn policy(bytes: &[u8]) {
    let mut policies = bytes.splitn(2, |byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Policy>(line).ok());
    let Some(first) = policies.next() else { return };
    let second = policies.next().unwrap_or_else(|| first.clone());
    for policy in [&first, &second] {
        let text = serde_json::to_string(policy).expect("what was read can be written");
        assert_eq!(serde_json::from_str::<Policy>(&text).ok().as_ref(), Some(policy));
        assert_eq!(policy.weaker_than(policy), [], "a policy is weaker than itself: {policy:?}");
    }
    not_weaker(&first, &second);
    not_weaker(&second, &first);
}

/// A policy that is not weaker lets nothing pass that the other one stops.
fn not_weaker(new: &Policy, old: &Policy) {
    if !new.weaker_than(old).is_empty() {
        return;
    }
    assert!(new.max_evidence_age_ms <= old.max_evidence_age_ms && new.grace_ms >= old.grace_ms && new.confirm >= old.confirm);
    assert!(new.methods.iter().all(|method| old.methods.contains(method)) && (!new.any_filesystem || old.any_filesystem));
    let all: Vec<_> = new.counted().into_iter().chain(old.counted()).collect::<BTreeSet<_>>().into_iter().collect();
    if all.len() > 8 {
        return;
    }
    for chosen in 0..1_u32 << all.len() {
        let vouchers: Vec<_> = (0..).zip(&all).filter(|(bit, _)| chosen >> bit & 1 == 1).map(|(_, id)| *id).collect();
        assert!(!passes(new, &vouchers) || passes(old, &vouchers), "{vouchers:?} are enough for {new:?}, and not for {old:?}");
    }
}

/// Whether these vouchers are enough.
fn passes(policy: &Policy, vouchers: &[DestinationId]) -> bool {
    let vouches = |id: &&DestinationId| vouchers.contains(id);
    let counted = policy.at_least.as_ref().is_none_or(|at_least| {
        let labels = at_least.of.iter().filter(vouches).map(|id| policy.domains.get(id).ok_or(id));
        labels.collect::<BTreeSet<_>>().len() >= at_least.count
    });
    counted && policy.require.iter().filter(vouches).count() == policy.require.len()
}
