//! The decision: a pure function of (file, evidence, policy, now). Nothing here asks anybody anything.

use lastcopy_store::{DestinationId, Evidence, FileFacts, Policy, ReceiptLevel, Timestamp};

/// Why a file may not go. Each is cleared by another act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The destination was never initialised, or another one answers.
    Identity,
    /// An alarm stands on the destination, on the content there, or on the file.
    Alarm,
    /// Nothing of this node was ever claimed there.
    NoEvidence,
    /// The last claim there is older than the file.
    Behind,
    /// No live receipt for this content there.
    NoReceipt,
    /// There is a receipt, but not by a proof that the policy accepts.
    Unverified,
    /// The last check is too old, in the future, or unknown.
    Stale,
    /// The destination could not be asked.
    Unreachable,
    /// The destination was asked, and does not hold the bytes.
    NotHeld,
    /// Another node counts on this copy.
    ReliedOn,
    /// The path has two versions that a person has to choose between.
    Conflict,
    /// This node needs the file to reach its destinations.
    Needed,
    /// Somebody has the file open for writing.
    InUse,
    /// The file system gives no guarantees that removal could rest on.
    Filesystem,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 14] = [
        Self::Identity,
        Self::Alarm,
        Self::NoEvidence,
        Self::Behind,
        Self::NoReceipt,
        Self::Unverified,
        Self::Stale,
        Self::Unreachable,
        Self::NotHeld,
        Self::ReliedOn,
        Self::Conflict,
        Self::Needed,
        Self::InUse,
        Self::Filesystem,
    ];

    /// The name in JSON and for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Alarm => "alarm",
            Self::NoEvidence => "no-evidence",
            Self::Behind => "behind",
            Self::NoReceipt => "no-receipt",
            Self::Unverified => "unverified",
            Self::Stale => "stale",
            Self::Unreachable => "unreachable",
            Self::NotHeld => "not-held",
            Self::ReliedOn => "relied-on",
            Self::Conflict => "conflict",
            Self::Needed => "needed",
            Self::InUse => "in-use",
            Self::Filesystem => "filesystem",
        }
    }
}

/// The seven locks of one destination, in the order of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Who answers is who was accepted.
    Incarnation,
    /// No alarm stands.
    Alarm,
    /// The vector has a component of this node.
    Coverage,
    /// The component reaches the file.
    Freshness,
    /// There is a live receipt for the content.
    Receipt,
    /// The receipt is verified, by an accepted method.
    Method,
    /// The last check is young enough.
    Age,
}

impl Lock {
    /// All of them, in order.
    pub const ALL: [Self; 7] =
        [Self::Incarnation, Self::Alarm, Self::Coverage, Self::Freshness, Self::Receipt, Self::Method, Self::Age];

    /// The name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Incarnation => "incarnation",
            Self::Alarm => "alarm",
            Self::Coverage => "coverage",
            Self::Freshness => "freshness",
            Self::Receipt => "receipt",
            Self::Method => "method",
            Self::Age => "age",
        }
    }

    /// What a closed lock refuses with.
    pub fn cause(self) -> Cause {
        match self {
            Self::Incarnation => Cause::Identity,
            Self::Alarm => Cause::Alarm,
            Self::Coverage => Cause::NoEvidence,
            Self::Freshness => Cause::Behind,
            Self::Receipt => Cause::NoReceipt,
            Self::Method => Cause::Unverified,
            Self::Age => Cause::Stale,
        }
    }
}

/// Which locks are closed. A lock about something that is not there (the age of no receipt) is not closed: the lock before it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Locks {
    closed: u8,
}

impl Locks {
    fn close(&mut self, lock: Lock, closed: bool) {
        self.closed |= u8::from(closed) << lock as u8;
    }

    /// Whether a lock is closed.
    pub fn is_closed(self, lock: Lock) -> bool {
        self.closed & 1 << lock as u8 != 0
    }
}

/// What was heard from a destination at the moment of deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// It was not asked, or not yet.
    NotAsked,
    /// It holds the bytes, as deep as was asked.
    Confirmed,
    /// It could not be asked.
    Unreachable(String),
    /// It does not hold the bytes.
    NotHeld(String),
}

/// What is known besides the index, at the moment of the decision.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// The time.
    pub now: Timestamp,
    /// Whether this node needs the file to reach its destinations.
    pub needed: bool,
    /// What was heard from each destination, in the order of the evidence; empty before anybody was asked.
    pub confirmations: &'a [Confirmation],
}

/// One reason why a file may not go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// At which destination; `None` for the file's own.
    pub destination: Option<DestinationId>,
    /// Why.
    pub cause: Cause,
    /// What was heard, where somebody was asked.
    pub heard: Option<String>,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// Every reason that applies; the file may go exactly if there is none.
    pub refusals: Vec<Refusal>,
    /// The destinations that vouch for it.
    pub vouching: Vec<DestinationId>,
}

impl Decision {
    /// Whether the file may go.
    pub fn passes(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// The locks of one destination for one file.
pub fn locks(file: &FileFacts, evidence: &Evidence, policy: &Policy, now: Timestamp) -> Locks {
    let mut locks = Locks::default();
    locks.close(Lock::Incarnation, evidence.accepted.is_none() || evidence.accepted != evidence.answered);
    locks.close(Lock::Alarm, evidence.destination_alarm || evidence.content_alarm);
    match evidence.component {
        None => locks.close(Lock::Coverage, true),
        Some(component) => locks.close(Lock::Freshness, component < file.file.present_since),
    }
    let Some(receipt) = evidence.receipt else {
        locks.close(Lock::Receipt, true);
        return locks;
    };
    let accepted = receipt.level == ReceiptLevel::Verified && policy.methods.contains(&receipt.method);
    locks.close(Lock::Method, !accepted);
    let young = receipt.verified_at.is_some_and(|at| {
        let age = now.0.saturating_sub(at.0);
        (0..=policy.max_evidence_age_ms).contains(&age)
    });
    locks.close(Lock::Age, !young);
    locks
}

/// Decides on one present file. `evidence` must hold that of every destination which the policy requires or counts; one that is not
/// there vouches for nothing.
pub fn decide(file: &FileFacts, evidence: &[Evidence], policy: &Policy, known: &Known<'_>) -> Decision {
    let mut decision = Decision::default();
    let mut own = |closed: bool, cause: Cause| {
        if closed {
            decision.refusals.push(Refusal { destination: None, cause, heard: None });
        }
    };
    own(!file.relied_on_by.is_empty(), Cause::ReliedOn);
    own(file.alarm, Cause::Alarm);
    own(file.frozen, Cause::Conflict);
    own(known.needed, Cause::Needed);
    if file.file.says_what_is_left_out() {
        let heard = "without it, what it leaves out would be indexed, sent and offloaded like everything else";
        decision.refusals.push(Refusal { destination: None, cause: Cause::Needed, heard: Some(heard.into()) });
    }

    let mut refusals_of = Vec::with_capacity(evidence.len());
    for (place, evidence) in evidence.iter().enumerate() {
        let refusals = refusals(file, evidence, policy, known.now, known.confirmations.get(place));
        if refusals.is_empty() {
            decision.vouching.push(evidence.destination);
        }
        refusals_of.push((evidence.destination, refusals));
    }
    for required in &policy.require {
        if !decision.vouching.contains(required) {
            decision.refusals.extend(why(*required, &refusals_of));
        }
    }
    if let Some(at_least) = &policy.at_least {
        let vouching: Vec<_> = at_least.of.iter().copied().filter(|id| decision.vouching.contains(id)).collect();
        if policy.domains_among(&vouching) < at_least.count {
            let missing = at_least.of.iter().filter(|id| !vouching.contains(id) && !policy.require.contains(id));
            let refusals: Vec<_> = missing.flat_map(|id| why(*id, &refusals_of)).collect();
            decision.refusals.extend(refusals);
            if decision.refusals.is_empty() {
                // Of an unplugged disk nobody can tell whether it is another one.
                let unknown = vouching.iter().filter(|id| policy.unknown_device.contains(id) && !policy.domains.contains_key(id));
                let heard = "so it may be the same disk as another one; plug it in, or give each a `failure_domain`";
                decision.refusals.extend(unknown.map(|id| Refusal {
                    destination: Some(*id),
                    cause: Cause::Unreachable,
                    heard: Some(heard.into()),
                }));
            }
            // All of them vouch, but from too few failure domains: no configuration that was accepted can come to this.
            if decision.refusals.is_empty() {
                decision.refusals.push(Refusal { destination: None, cause: Cause::NoEvidence, heard: None });
            }
        }
    }
    // A policy that asks nobody lets nothing pass.
    if policy.require.is_empty() && policy.at_least.as_ref().is_none_or(|at_least| at_least.count == 0) {
        decision.refusals.push(Refusal { destination: None, cause: Cause::NoEvidence, heard: None });
    }
    decision
}

/// Why a destination does not vouch; one of which nothing is known was never initialised.
fn why(id: DestinationId, refusals_of: &[(DestinationId, Vec<Refusal>)]) -> Vec<Refusal> {
    let known = refusals_of.iter().find(|(destination, _)| *destination == id).map(|(_, refusals)| refusals.clone());
    known.unwrap_or_else(|| vec![Refusal { destination: Some(id), cause: Cause::Identity, heard: None }])
}

fn refusals(
    file: &FileFacts,
    evidence: &Evidence,
    policy: &Policy,
    now: Timestamp,
    confirmation: Option<&Confirmation>,
) -> Vec<Refusal> {
    let locks = locks(file, evidence, policy, now);
    let heard = match confirmation {
        Some(Confirmation::Unreachable(reason)) => Some((Cause::Unreachable, reason.clone())),
        Some(Confirmation::NotHeld(detail)) => Some((Cause::NotHeld, detail.clone())),
        Some(Confirmation::Confirmed | Confirmation::NotAsked) | None => None,
    };
    let destination = Some(evidence.destination);
    let closed = Lock::ALL.into_iter().filter(|lock| locks.is_closed(*lock));
    let mut refusals: Vec<_> = closed.map(|lock| Refusal { destination, cause: lock.cause(), heard: None }).collect();
    refusals.extend(heard.map(|(cause, text)| Refusal { destination, cause, heard: Some(text) }));
    refusals
}
