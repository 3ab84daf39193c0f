//! The decision, against conditions that are written down here a second time, and under every change that proptest can think of.

use lastcopy_fs::{Content, ContentHash, RelPath};
use lastcopy_offload::{Cause, Confirmation, Decision, Known, decide};
use lastcopy_store::{
    AtLeast, Confirm, ContentId, DestinationId, Evidence, FileFacts, FileId, FileRecord, FileStatus, Incarnation, Method, Policy,
    ReceiptFacts, ReceiptLevel, RunId, Seen, Timestamp, VolumeId,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::RngSeed;

const NOW: i64 = 1_000_000;
const PRESENT_SINCE: i64 = 7;
/// Destinations 1 to 3; the policies may name a fourth, of which nothing is known.
const KNOWN: [i64; 3] = [1, 2, 3];

/// Everything that one decision is made from.
#[derive(Debug, Clone)]
struct Case {
    file: FileFacts,
    evidence: Vec<Evidence>,
    policy: Policy,
    needed: bool,
    heard: Vec<Confirmation>,
}

impl Case {
    fn decide(&self) -> Decision {
        let known = Known { now: Timestamp(NOW), needed: self.needed, confirmations: &self.heard };
        decide(&self.file, &self.evidence, &self.policy, &known)
    }

    /// The first row of the model's table that does not hold of a destination, written down independently of the decision.
    fn stops(&self, destination: DestinationId) -> Option<Cause> {
        let Some(place) = self.evidence.iter().position(|evidence| evidence.destination == destination) else {
            return Some(Cause::Identity);
        };
        let evidence = &self.evidence[place];
        let Some(accepted) = &evidence.accepted else { return Some(Cause::Identity) };
        if evidence.answered.as_ref() != Some(accepted) {
            return Some(Cause::Identity);
        }
        if evidence.destination_alarm || evidence.content_alarm {
            return Some(Cause::Alarm);
        }
        let Some(component) = evidence.component else { return Some(Cause::NoEvidence) };
        if component < self.file.file.present_since {
            return Some(Cause::Behind);
        }
        let Some(receipt) = &evidence.receipt else { return Some(Cause::NoReceipt) };
        if receipt.level != ReceiptLevel::Verified || !self.policy.methods.contains(&receipt.method) {
            return Some(Cause::Unverified);
        }
        let Some(Timestamp(checked)) = receipt.verified_at else { return Some(Cause::Stale) };
        if checked > NOW || i128::from(NOW) - i128::from(checked) > i128::from(self.policy.max_evidence_age_ms) {
            return Some(Cause::Stale);
        }
        match self.heard.get(place) {
            Some(Confirmation::Unreachable(_)) => Some(Cause::Unreachable),
            Some(Confirmation::NotHeld(_)) => Some(Cause::NotHeld),
            _ => None,
        }
    }

    /// Whether so many of the list vouch that no two of them share a label or a device: the largest such set, by trying them all.
    fn enough_vouch(&self, at_least: &AtLeast) -> bool {
        let vouching: Vec<_> = at_least.of.iter().copied().filter(|id| self.stops(*id).is_none()).collect();
        (0..1_u32 << vouching.len()).any(|set| {
            let chosen: Vec<_> = (0..vouching.len()).filter(|place| set >> place & 1 == 1).map(|place| vouching[place]).collect();
            let apart = |left: DestinationId, right: DestinationId| {
                let label = |id| self.policy.domains.get(&id);
                let devices = &self.policy.same_device;
                left != right
                    && (label(left).is_none() || label(left) != label(right))
                    && !devices.contains(&(left, right))
                    && !devices.contains(&(right, left))
            };
            chosen.len() >= at_least.count
                && chosen.iter().enumerate().all(|(place, left)| chosen[..place].iter().all(|right| apart(*left, *right)))
        })
    }
}

fn id(number: i64) -> DestinationId {
    DestinationId::stand_in(number)
}

fn incarnation() -> impl Strategy<Value = Option<Incarnation>> {
    // Mostly the accepted one, or hardly any case would pass.
    prop_oneof![4 => Just(Some("accepted")), 1 => Just(Some("another")), 1 => Just(None)]
        .prop_map(|text| text.map(Incarnation::new))
}

fn receipt() -> impl Strategy<Value = Option<ReceiptFacts>> {
    let level = prop_oneof![4 => Just(ReceiptLevel::Verified), 1 => Just(ReceiptLevel::Stored)];
    let method = prop_oneof![4 => Just(Method::ReadBack), 1 => select(Method::ALL)];
    let checked = prop_oneof![
        4 => (NOW - 1000..=NOW).prop_map(Some),
        1 => (NOW - 3000..=NOW + 1000).prop_map(Some),
        1 => Just(None),
        1 => select(vec![Some(i64::MIN), Some(i64::MAX)])
    ];
    let receipt = (level, method, checked).prop_map(|(level, method, checked)| ReceiptFacts {
        level,
        method,
        verified_at: checked.map(Timestamp),
    });
    option::weighted(0.9, receipt)
}

fn evidence(destination: i64) -> impl Strategy<Value = Evidence> {
    let component = option::weighted(0.9, prop_oneof![4 => PRESENT_SINCE..PRESENT_SINCE + 3, 1 => 1..PRESENT_SINCE]);
    let alarm = || prop::bool::weighted(0.1);
    let any = (incarnation(), incarnation(), alarm(), alarm(), component, receipt()).prop_map(
        move |(accepted, answered, destination_alarm, content_alarm, component, receipt)| Evidence {
            destination: id(destination),
            accepted,
            answered,
            destination_alarm,
            content_alarm,
            component: component.map(RunId::from_user),
            receipt,
        },
    );
    // Every other one vouches, or no count of several would ever be reached.
    prop_oneof![Just(open_evidence(id(destination))), any]
}

fn heard() -> impl Strategy<Value = Confirmation> {
    prop_oneof![
        4 => Just(Confirmation::Confirmed),
        2 => Just(Confirmation::NotAsked),
        1 => Just(Confirmation::Unreachable("no route".into())),
        1 => Just(Confirmation::NotHeld("gone".into())),
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    let ids = || subsequence(vec![1, 2, 3, 4], 0..=4).prop_map(|ids| ids.into_iter().map(id).collect::<Vec<_>>());
    let some = || subsequence(KNOWN.to_vec(), 0..=2).prop_map(|ids| ids.into_iter().map(id).collect::<Vec<_>>());
    let at_least = option::of((0..4_usize, ids()).prop_map(|(count, of)| AtLeast { count, of }));
    let methods = subsequence(Method::ALL.to_vec(), 0..=Method::ALL.len());
    let domains = btree_map((1..5_i64).prop_map(id), select(vec!["desk".to_owned(), "cellar".to_owned()]), 0..3);
    let same_device = vec((1..4_i64, 1..4_i64).prop_map(|(left, right)| (id(left), id(right))), 0..2);
    (prop_oneof![4 => some(), 1 => ids()], at_least, 0..3000_i64, methods, domains, same_device).prop_map(
        |(require, at_least, max_evidence_age_ms, mut methods, domains, same_device)| {
            methods.push(Method::ReadBack);
            Policy {
                require,
                at_least,
                max_evidence_age_ms,
                confirm: Confirm::Quick,
                grace_ms: 0,
                methods,
                any_filesystem: false,
                domains,
                same_device,
                unknown_device: Vec::new(),
            }
        },
    )
}

fn case() -> impl Strategy<Value = Case> {
    let rarely = || prop::bool::weighted(0.05);
    let own = (rarely(), rarely(), rarely(), rarely());
    let evidence = (evidence(KNOWN[0]), evidence(KNOWN[1]), evidence(KNOWN[2])).prop_map(|(a, b, c)| vec![a, b, c]);
    (own, evidence, policy(), vec(heard(), KNOWN.len())).prop_map(
        |((relied_on, alarm, frozen, needed), evidence, policy, heard)| {
            let relied_on_by = if relied_on { vec!["laptop".to_owned()] } else { Vec::new() };
            Case { file: FileFacts { relied_on_by, alarm, frozen, ..facts() }, evidence, policy, needed, heard }
        },
    )
}

fn facts() -> FileFacts {
    let seen = Seen { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1, mode: 0o644, racy: false };
    let file = FileRecord {
        id: FileId::spooled(1),
        volume: VolumeId::stand_in(1),
        path: RelPath::new(*b"a").unwrap(),
        content_id: ContentId::spooled(1),
        content: Content { hash: ContentHash([0; 32]), size: 1 },
        status: FileStatus::Present,
        seen,
        present_since: RunId::from_user(PRESENT_SINCE),
        status_run: RunId::from_user(PRESENT_SINCE),
    };
    FileFacts { file, relied_on_by: Vec::new(), alarm: false, frozen: false }
}

fn open_evidence(destination: DestinationId) -> Evidence {
    Evidence {
        destination,
        accepted: Some(Incarnation::new("accepted")),
        answered: Some(Incarnation::new("accepted")),
        destination_alarm: false,
        content_alarm: false,
        component: Some(RunId::from_user(PRESENT_SINCE)),
        receipt: Some(ReceiptFacts { level: ReceiptLevel::Verified, method: Method::ReadBack, verified_at: Some(Timestamp(NOW)) }),
    }
}

type Spoil<T> = fn(&mut T);

/// Each way to take one condition away, with the cause that it must bring.
const SPOILERS: [(Cause, Spoil<Evidence>); 13] = [
    (Cause::Identity, |evidence| evidence.accepted = None),
    (Cause::Identity, |evidence| evidence.answered = None),
    (Cause::Identity, |evidence| evidence.answered = Some(Incarnation::new("another"))),
    (Cause::Alarm, |evidence| evidence.destination_alarm = true),
    (Cause::Alarm, |evidence| evidence.content_alarm = true),
    (Cause::NoEvidence, |evidence| evidence.component = None),
    (Cause::Behind, |evidence| evidence.component = Some(RunId::from_user(PRESENT_SINCE - 1))),
    (Cause::NoReceipt, |evidence| evidence.receipt = None),
    (Cause::Unverified, |evidence| with_receipt(evidence, |receipt| receipt.level = ReceiptLevel::Stored)),
    (Cause::Unverified, |evidence| with_receipt(evidence, |receipt| receipt.method = Method::Presence)),
    // The strict policy takes what was read back, and nothing else.
    (Cause::Unverified, |evidence| with_receipt(evidence, |receipt| receipt.method = Method::Fingerprint)),
    (Cause::Stale, |evidence| with_receipt(evidence, |receipt| receipt.verified_at = None)),
    (Cause::Stale, |evidence| with_receipt(evidence, |receipt| receipt.verified_at = Some(Timestamp(NOW + 1)))),
];

fn with_receipt(evidence: &mut Evidence, change: fn(&mut ReceiptFacts)) {
    evidence.receipt.as_mut().map(change).unwrap();
}

/// Every required destination and one more by count.
fn strict_policy() -> Policy {
    Policy {
        at_least: Some(AtLeast { count: 3, of: KNOWN.map(id).to_vec() }),
        ..Policy::requiring(vec![id(1), id(2)], 1000, Confirm::Quick)
    }
}

fn passing_case() -> Case {
    Case {
        file: facts(),
        evidence: KNOWN.map(|number| open_evidence(id(number))).to_vec(),
        policy: strict_policy(),
        needed: false,
        heard: vec![Confirmation::Confirmed; KNOWN.len()],
    }
}

#[test]
fn taking_away_any_one_condition_blocks_with_its_cause() {
    assert!(passing_case().decide().passes(), "what is spoiled below must have passed");
    for (place, number) in KNOWN.into_iter().enumerate() {
        for (cause, spoil) in SPOILERS {
            let mut case = passing_case();
            spoil(&mut case.evidence[place]);
            let decision = case.decide();
            assert_eq!(causes(&decision), [(Some(id(number)), cause)], "destination {number}");
            assert!(!decision.vouching.contains(&id(number)));
        }
        for (cause, answer) in [
            (Cause::Unreachable, Confirmation::Unreachable("no route".into())),
            (Cause::NotHeld, Confirmation::NotHeld("gone".into())),
        ] {
            let mut case = passing_case();
            case.heard[place] = answer;
            assert_eq!(causes(&case.decide()), [(Some(id(number)), cause)], "destination {number}");
        }
    }
    let own: [(Cause, Spoil<Case>); 4] = [
        (Cause::ReliedOn, |case| case.file.relied_on_by.push("laptop".into())),
        (Cause::Alarm, |case| case.file.alarm = true),
        (Cause::Conflict, |case| case.file.frozen = true),
        (Cause::Needed, |case| case.needed = true),
    ];
    for (cause, spoil) in own {
        let mut case = passing_case();
        spoil(&mut case);
        assert_eq!(causes(&case.decide()), [(None, cause)]);
    }
}

/// A provider's checksum opens a gate that takes it, and no other.
#[test]
fn a_fingerprint_counts_where_the_policy_takes_it() {
    let mut case = passing_case();
    for evidence in &mut case.evidence {
        with_receipt(evidence, |receipt| receipt.method = Method::Fingerprint);
    }
    assert!(!case.decide().passes());
    case.policy.methods.push(Method::Fingerprint);
    assert!(case.decide().passes());
}

#[test]
fn a_destination_of_which_nothing_is_known_vouches_for_nothing() {
    let mut case = passing_case();
    case.evidence.remove(1);
    case.heard.remove(1);
    assert!(causes(&case.decide()).contains(&(Some(id(2)), Cause::Identity)));
}

fn causes(decision: &Decision) -> Vec<(Option<DestinationId>, Cause)> {
    let mut causes: Vec<_> = decision.refusals.iter().map(|refusal| (refusal.destination, refusal.cause)).collect();
    causes.dedup();
    causes
}

proptest! {
    // The same cases on every machine.
    #![proptest_config(ProptestConfig { cases: 8192, rng_seed: RngSeed::Fixed(20), failure_persistence: None, ..ProptestConfig::default() })]

    /// The decision passes exactly when every condition of the model holds, and names every required destination that lacks one.
    #[test]
    fn passes_exactly_if_every_condition_holds(case in case()) {
        let decision = case.decide();
        let stopped: Vec<_> = case.policy.require.iter().filter_map(|id| Some((*id, case.stops(*id)?))).collect();
        for (destination, cause) in &stopped {
            prop_assert!(causes(&decision).contains(&(Some(*destination), *cause)), "{destination} {cause:?} in {decision:?}");
        }
        let enough = case.policy.at_least.as_ref().is_none_or(|at_least| case.enough_vouch(at_least));
        let asks_somebody = !case.policy.require.is_empty() || case.policy.at_least.as_ref().is_some_and(|list| list.count > 0);
        let own = case.needed || case.file.alarm || case.file.frozen || !case.file.relied_on_by.is_empty();
        // Sharing is transitive in the decision and by pairs here, so that here as many may be found; never fewer.
        if decision.passes() {
            prop_assert!(stopped.is_empty() && enough && asks_somebody && !own);
        } else if case.policy.same_device.is_empty() {
            prop_assert!(!stopped.is_empty() || !enough || !asks_somebody || own, "refused without a reason: {decision:?}");
        }
    }

    /// More evidence never closes a gate that was open.
    #[test]
    fn better_evidence_never_closes(case in case(), place in 0..KNOWN.len()) {
        let mut better = case.clone();
        better.evidence[place] = open_evidence(case.evidence[place].destination);
        better.heard[place] = Confirmation::Confirmed;
        prop_assert!(better.decide().passes() || !case.decide().passes());
    }

    /// Less evidence never opens one that was closed.
    #[test]
    fn worse_evidence_never_opens(case in case(), place in 0..KNOWN.len(), spoiler in 0..SPOILERS.len()) {
        // Only what vouched can be made worse by any of them.
        if case.stops(id(KNOWN[place])).is_none() {
            let mut worse = case.clone();
            SPOILERS[spoiler].1(&mut worse.evidence[place]);
            prop_assert!(case.decide().passes() || !worse.decide().passes());
        }
    }

    /// A policy that is not weaker lets nothing pass that the accepted one stops, on the same evidence: the latch compares policies,
    /// and this is what its comparison promises.
    #[test]
    fn what_is_not_weaker_lets_nothing_more_pass(case in case(), terms in policy(), taken in 0..32_u8) {
        let accepted = &case.policy;
        // A policy that asks nobody is a configuration error, and stops everything.
        if accepted.require.is_empty() && accepted.at_least.as_ref().is_none_or(|list| list.count == 0) {
            return Ok(());
        }
        // Some terms of another policy, or hardly any two could be compared. Devices are found, not configured: they are the same.
        let mut other = accepted.clone();
        if taken & 1 != 0 { other.require = terms.require; }
        if taken & 2 != 0 { other.at_least = terms.at_least; }
        if taken & 4 != 0 { other.max_evidence_age_ms = terms.max_evidence_age_ms; }
        if taken & 8 != 0 { other.methods = terms.methods; }
        if taken & 16 != 0 { other.domains = terms.domains; }
        if other.weaker_than(accepted).is_empty() {
            let under_other = Case { policy: other, ..case.clone() };
            prop_assert!(case.decide().passes() || !under_other.decide().passes(), "{:?}", under_other.policy);
        }
    }
}
