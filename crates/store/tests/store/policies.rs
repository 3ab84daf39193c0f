//! The latch on offload policies: stricter ones are taken by any run, weaker ones refuse an offload until a person accepts them (I7).

use crate::support::{Node, requiring};
use lastcopy_store::{
    AtLeast, BeginError, Confirm, DestinationRecord, Method, Outcome, Policy, RunKind, RunStatus, StoreError, Weakening,
};

/// A node with four destinations, and the policy from which every case starts.
struct World {
    node: Node,
    places: [DestinationRecord; 4],
}

impl World {
    fn new() -> Self {
        let node = Node::new();
        node.volume("photos");
        let places = ["usb", "cloud", "vault", "cellar"].map(|name| node.destination(name));
        Self { node, places }
    }

    fn base(&self) -> Policy {
        let [usb, cloud, vault, _] = &self.places;
        Policy {
            at_least: Some(AtLeast { count: 2, of: vec![usb.id, cloud.id, vault.id] }),
            domains: [(usb.id, "desk".to_owned()), (vault.id, "desk".to_owned())].into(),
            methods: vec![Method::ReadBack, Method::RemoteHash],
            ..requiring(&[usb])
        }
    }

    fn offload(&self, policy: &Policy) -> Result<(), BeginError> {
        let volume = self.node.under_policy("photos", policy);
        self.node.store.begin_offload(&volume)?.finish(&Outcome::Success, None)?;
        Ok(())
    }

    fn index(&self, policy: &Policy) {
        let volume = self.node.under_policy("photos", policy);
        self.node.store.begin_index(&volume).unwrap().finish(&Outcome::Success, None).unwrap();
    }

    fn accepted(&self) -> Policy {
        let volume = self.node.store.volume_record("photos").unwrap().unwrap();
        self.node.store.accepted_policy(volume.id).unwrap().unwrap().policy
    }
}

type Change = fn(&World, &mut Policy);

/// Each way to be weaker that the model lists, with what is said of it. The other way round, each is stricter.
const WEAKENINGS: [(&str, Change, &str); 12] = [
    ("a destination fewer", |_, policy| policy.require.clear(), "NotRequired"),
    ("another destination instead", |world, policy| policy.require = vec![world.places[3].id], "NotRequired"),
    ("a count fewer", |_, policy| policy.at_least.as_mut().unwrap().count = 1, "AtLeast"),
    ("nobody counted", |_, policy| policy.at_least = None, "AtLeast"),
    ("a longer list to count from", |world, policy| policy.at_least.as_mut().unwrap().of.push(world.places[3].id), "AtLeast"),
    ("a longer age", |_, policy| policy.max_evidence_age_ms += 1, "MaxEvidenceAge"),
    ("a weaker confirmation", |_, policy| policy.confirm = Confirm::Offline, "Confirm"),
    ("a shorter grace", |_, policy| policy.grace_ms -= 1, "Grace"),
    ("a method more", |_, policy| policy.methods.push(Method::Fingerprint), "Method"),
    ("a filesystem more", |_, policy| policy.any_filesystem = true, "AnyFilesystem"),
    ("a failure domain dropped", |_, policy| policy.domains.clear(), "FailureDomain"),
    (
        "a failure domain split",
        |world, policy| {
            policy.domains.insert(world.places[0].id, "shelf".into());
        },
        "FailureDomain",
    ),
];

/// Refuses an offload, whatever else may run; until a person accepts it.
#[test]
fn a_weaker_policy_refuses_offload_until_it_is_accepted() {
    for (name, change, said) in WEAKENINGS {
        let world = World::new();
        let strict = world.base();
        let mut weak = strict.clone();
        change(&world, &mut weak);
        world.offload(&strict).unwrap();
        assert_eq!(world.accepted(), strict);

        for attempt in 1..=2 {
            let (weakenings, refused) = match world.offload(&weak) {
                Err(BeginError::PolicyWeaker { volume, weakenings, refused }) => {
                    assert_eq!(volume, "photos");
                    (weakenings, refused)
                }
                other => panic!("{name}: {other:?}"),
            };
            assert!(format!("{:?}", weakenings[0]).starts_with(said), "{name}: {weakenings:?}");
            let record = world.node.store.run_record(refused).unwrap();
            assert_eq!((record.kind, record.status, record.blocked_by), (RunKind::Offload, RunStatus::Refused, None));
            assert_eq!(record.attempts, attempt, "{name}");
        }
        world.index(&weak);
        assert_eq!(world.accepted(), strict, "{name}: an index runs under it, and accepts nothing by that");
        assert!(world.offload(&weak).is_err(), "{name}");

        let volume = world.node.store.volume_record("photos").unwrap().unwrap();
        world.node.store.accept_policy(volume.id, &weak, "I know what I do").unwrap();
        world.offload(&weak).unwrap();
        let accepted = world.node.store.accepted_policy(volume.id).unwrap().unwrap();
        assert_eq!((accepted.policy, accepted.reason.as_deref()), (weak, Some("I know what I do")), "{name}");
    }
}

/// The other way round, any run on the volume takes it as accepted, and there is no way back without a person.
#[test]
fn a_stricter_policy_is_accepted_by_any_run() {
    for (name, change, _) in WEAKENINGS {
        let world = World::new();
        let strict = world.base();
        let mut weak = strict.clone();
        change(&world, &mut weak);
        if !strict.weaker_than(&weak).is_empty() {
            // Not every pair is ordered: another destination instead of one is weaker either way.
            assert_eq!(name, "another destination instead");
            continue;
        }
        world.index(&weak);
        assert_eq!(world.accepted(), weak, "{name}");
        world.index(&strict);
        assert_eq!(world.accepted(), strict, "{name}: an index run is enough");
        assert!(matches!(world.offload(&weak), Err(BeginError::PolicyWeaker { .. })), "{name}");
        world.offload(&strict).unwrap();
    }
}

/// Weaker in one thing and stricter in another is weaker.
#[test]
fn what_is_weaker_anywhere_is_weaker() {
    let world = World::new();
    let base = world.base();
    world.index(&base);
    let traded = Policy { grace_ms: base.grace_ms - 1, max_evidence_age_ms: 1, confirm: Confirm::Full, ..base.clone() };
    assert_eq!(traded.weaker_than(&base), [Weakening::Grace]);
    world.index(&traded);
    assert_eq!(world.accepted(), base);
    assert!(world.offload(&traded).is_err());
}

/// A policy that says the same leaves no trace, however often it is taken.
#[test]
fn the_same_policy_is_recorded_once() {
    let world = World::new();
    let base = world.base();
    for _ in 0..3 {
        world.index(&base);
        world.offload(&base).unwrap();
    }
    let rows: i64 = world.node.raw().query_row("SELECT count(*) FROM policy", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

/// Without a policy in the configuration there is no offload; a volume that lost its policy there keeps what was accepted.
#[test]
fn without_a_policy_nothing_is_offloaded() {
    let world = World::new();
    let base = world.base();
    world.index(&base);
    let bare = world.node.store.open_volume("photos", &world.node.path("photos"), None).unwrap();
    assert!(matches!(world.node.store.begin_offload(&bare), Err(BeginError::NoPolicy { .. })));
    world.node.store.begin_index(&bare).unwrap().finish(&Outcome::Success, None).unwrap();
    assert_eq!(world.accepted(), base);
}

/// A run that may not begin accepts no policy either: not even a stricter one.
#[test]
fn a_refused_run_accepts_nothing() {
    let world = World::new();
    let base = world.base();
    world.index(&base);
    let stricter = Policy { grace_ms: base.grace_ms + 1, ..base.clone() };
    let volume = world.node.under_policy("photos", &stricter);
    let running = world.node.store.begin_index(&world.node.under_policy("photos", &base)).unwrap();
    assert!(matches!(world.node.store.begin_index(&volume), Err(BeginError::Blocked { .. })));
    assert_eq!(world.accepted(), base);
    drop(running);
}

/// What a damaged row says is refused, never taken for no policy.
#[test]
fn a_policy_that_cannot_be_read_refuses() {
    let world = World::new();
    let base = world.base();
    world.index(&base);
    let raw = world.node.raw();
    raw.execute("INSERT INTO policy (volume, terms, accepted_at) VALUES (1, 'no terms', 0)", []).unwrap();
    assert!(matches!(world.offload(&base), Err(BeginError::Store(StoreError::Corrupt { .. }))));
}
