//! Two nodes that count on each other: each holds a copy, and may delete its own only because the other one has the other. In a second
//! beginning, one of them counts on a destination instead, and may delete what the first one counts on.
//!
//! Messages travel in any order, arrive late, twice or never. A node keeps its promises in its index, which can be put back as it was
//! earlier. The gate of each is the shipped decision, on the evidence that the model makes of its state.

use lastcopy_fs::{Content, ContentHash, RelPath};
use lastcopy_offload::{Cause, Confirmation, Decision, Known, decide};
use lastcopy_store::{
    Confirm, ContentId, DestinationId, Evidence, FileFacts, FileId, FileRecord, FileStatus, Incarnation, Method, Policy,
    ReceiptFacts, ReceiptLevel, RunId, Seen, Timestamp, VolumeId,
};
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// A guard of the promise between two nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// A node vouches for its copy only after it has recorded who counts on it.
    Recorded,
    /// The record survives the process.
    Durable,
    /// It has no expiry.
    NoExpiry,
    /// A node that has decided to delete its copy vouches for it no more.
    PastDecision,
    /// A node that gave its word gives up its own offload.
    GivenGivesUp,
    /// An answer counts only for the run that asked.
    AnswersToThisRun,
    /// A release is of one promise, not of all.
    ReleaseOfOne,
    /// A request that comes late does not take the place of a newer one.
    NewestAsk,
    /// What is released is nothing that an offload counts on.
    ReleaseWhenHeld,
    /// An index that was put back takes every peer for one that counts on it, until that was asked.
    AskedAfterRestore,
    /// A node vouches only for what it holds.
    Holds,
}

impl Guard {
    pub(crate) const ALL: [Self; 11] = [
        Self::Recorded,
        Self::Durable,
        Self::NoExpiry,
        Self::PastDecision,
        Self::GivenGivesUp,
        Self::AnswersToThisRun,
        Self::ReleaseOfOne,
        Self::NewestAsk,
        Self::ReleaseWhenHeld,
        Self::AskedAfterRestore,
        Self::Holds,
    ];

    pub(crate) fn without(self) -> &'static str {
        match self {
            Self::Recorded => "vouches without a record of who counts on it",
            Self::Durable => "forgets with the process who counts on it",
            Self::NoExpiry => "lets its word expire",
            Self::PastDecision => "vouches for what it has decided to delete",
            Self::GivenGivesUp => "goes on offloading what it gave its word for",
            Self::AnswersToThisRun => "counts an answer that was given to an earlier run",
            Self::ReleaseOfOne => "lets an old release end a new promise",
            Self::NewestAsk => "lets an old request take the place of a newer one",
            Self::ReleaseWhenHeld => "releases while it counts on the other copy",
            Self::AskedAfterRestore => "believes an index that was put back that nobody counts on it",
            Self::Holds => "vouches for what it does not hold",
        }
    }
}

/// How far a node is with offloading its copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Phase {
    Idle,
    Asked,
    Answered,
    Decided,
}

/// A node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// It has its copy.
    holds: bool,
    phase: Phase,
    /// Its policy requires the other node; else, a destination that has everything.
    requires_other: bool,
    /// Its newest run.
    run: u8,
    promises: Promises,
    /// What its index said when it was copied.
    backup: Option<Promises>,
    /// Since its index was put back, it has not asked who counts on it.
    in_doubt: bool,
}

/// What a node records of promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Promises {
    /// The other one counts on this copy, since it asked in that run of its own.
    given: Option<u8>,
    /// It counts on the other copy, or has asked to.
    asked: bool,
}

/// What travels between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Message {
    /// Node asks, in its run.
    Ask(u8, u8),
    /// To the node: yes, and recorded; for its run.
    Yes(u8, u8),
    /// To the node: no.
    No(u8, u8),
    /// The node does not count on it any more: of its run.
    Release(u8, u8),
}

/// Both nodes, and everything that was ever sent: it may arrive at any time, any number of times, or never.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    nodes: [Node; 2],
    sent: BTreeSet<Message>,
    restores: u8,
    crashed: bool,
    gave_up: bool,
    refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Ask(u8),
    Deliver(Message),
    Decide(u8),
    Delete(u8),
    GiveUp(u8),
    Release(u8),
    Crash(u8),
    Expire(u8),
    BackUp(u8),
    RestoreIndex(u8),
    AskWhoCounts(u8),
}

/// The model, perhaps without a guard.
#[derive(Debug, Clone)]
pub(crate) struct Peers {
    without: Option<Guard>,
    /// A node that has asked another one gives it nothing. The other guards hold without this rule, too, and are explored without.
    asked_gives_nothing: bool,
    policy: Policy,
}

/// Each node begins at most so many offloads.
const RUNS: u8 = 2;

const NOW: Timestamp = Timestamp(1_000_000);

impl Peers {
    pub(crate) fn new(without: Option<Guard>, asked_gives_nothing: bool) -> Self {
        let policy =
            Policy { methods: vec![Method::Peer], ..Policy::requiring(vec![DestinationId::stand_in(1)], 1000, Confirm::Quick) };
        Self { without, asked_gives_nothing, policy }
    }

    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Whether a node believes that the other one counts on it.
    fn is_relied_on(&self, node: &Node) -> bool {
        node.promises.given.is_some() && self.has(Guard::GivenGivesUp) || node.in_doubt && self.has(Guard::AskedAfterRestore)
    }

    /// The shipped gate of a node, whose evidence of the other copy is complete.
    fn decision(&self, node: &Node, heard: Confirmation) -> Decision {
        let relied_on_by = if self.is_relied_on(node) { vec!["the other".to_owned()] } else { Vec::new() };
        let file = FileRecord {
            id: FileId::spooled(1),
            volume: VolumeId::stand_in(1),
            path: RelPath::root(),
            content_id: ContentId::spooled(1),
            content: Content { hash: ContentHash([1; 32]), size: 1 },
            status: FileStatus::Present,
            seen: Seen { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1, mode: 0o644, racy: false },
            present_since: RunId::from_user(1),
            status_run: RunId::from_user(1),
        };
        let evidence = Evidence {
            destination: DestinationId::stand_in(1),
            accepted: Some(Incarnation::new("its key")),
            answered: Some(Incarnation::new("its key")),
            destination_alarm: false,
            content_alarm: false,
            component: Some(RunId::from_user(1)),
            receipt: Some(ReceiptFacts { level: ReceiptLevel::Verified, method: Method::Peer, verified_at: Some(NOW) }),
        };
        let facts = FileFacts { file, relied_on_by, alarm: false, frozen: false };
        decide(&facts, &[evidence], &self.policy, &Known { now: NOW, needed: false, confirmations: &[heard] })
    }

    /// A node is asked to vouch: whether it does. What it gives is recorded first.
    fn vouches(&self, node: &mut Node, run: u8) -> bool {
        let refuses = !node.holds && self.has(Guard::Holds)
            || node.phase == Phase::Decided && self.has(Guard::PastDecision)
            || node.promises.asked && self.asked_gives_nothing;
        if !refuses && self.has(Guard::Recorded) {
            let newest = if self.has(Guard::NewestAsk) { node.promises.given.max(Some(run)) } else { Some(run) };
            node.promises.given = newest;
        }
        !refuses
    }

    fn deliver(&self, state: &mut State, message: Message) {
        match message {
            Message::Ask(from, run) => {
                let yes = self.vouches(&mut state.nodes[usize::from(1 - from)], run);
                state.sent.insert(if yes { Message::Yes(from, run) } else { Message::No(from, run) });
            }
            Message::Yes(to, run) => {
                let node = &mut state.nodes[usize::from(to)];
                let this_run = run == node.run || !self.has(Guard::AnswersToThisRun);
                if node.phase == Phase::Asked && this_run {
                    node.phase = Phase::Answered;
                }
            }
            Message::No(to, run) => {
                let node = &mut state.nodes[usize::from(to)];
                if node.phase == Phase::Asked && run == node.run {
                    node.phase = Phase::Idle;
                    state.refused = true;
                }
            }
            Message::Release(from, run) => {
                let given = &mut state.nodes[usize::from(1 - from)].promises.given;
                if *given == Some(run) || !self.has(Guard::ReleaseOfOne) {
                    *given = None;
                }
            }
        }
    }

    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        let at = |number: u8| usize::from(number);
        match action {
            Action::Deliver(message) => self.deliver(state, message),
            Action::Ask(number) => {
                let node = &mut state.nodes[at(number)];
                let passes = self.decision(node, Confirmation::NotAsked).passes();
                if node.phase != Phase::Idle || !node.holds || node.promises.asked || node.run >= RUNS || !passes {
                    return None;
                }
                node.run += 1;
                if !node.requires_other {
                    node.phase = Phase::Decided;
                    return Some(());
                }
                node.promises.asked = true;
                node.phase = Phase::Asked;
                state.sent.insert(Message::Ask(number, node.run));
            }
            Action::Decide(number) => {
                let node = &mut state.nodes[at(number)];
                if node.phase != Phase::Answered {
                    return None;
                }
                let passes = self.decision(node, Confirmation::Confirmed).passes();
                node.phase = if passes { Phase::Decided } else { Phase::Idle };
                state.gave_up |= !passes;
            }
            Action::Delete(number) => {
                let node = &mut state.nodes[at(number)];
                if node.phase != Phase::Decided {
                    return None;
                }
                node.holds = false;
                node.phase = Phase::Idle;
            }
            Action::GiveUp(number) => {
                let node = &mut state.nodes[at(number)];
                if node.phase != Phase::Asked {
                    return None;
                }
                node.phase = Phase::Idle;
            }
            Action::Release(number) => {
                let node = &mut state.nodes[at(number)];
                let nothing_counts_on_it = node.holds || !self.has(Guard::ReleaseWhenHeld);
                if node.phase != Phase::Idle || !node.promises.asked || !nothing_counts_on_it {
                    return None;
                }
                node.promises.asked = false;
                state.sent.insert(Message::Release(number, node.run));
            }
            Action::Crash(number) => {
                let durable = self.has(Guard::Durable);
                let node = &mut state.nodes[at(number)];
                if node.phase == Phase::Idle && durable {
                    return None;
                }
                node.phase = Phase::Idle;
                if !durable {
                    node.promises.given = None;
                }
                state.crashed = true;
            }
            Action::Expire(number) => {
                if self.has(Guard::NoExpiry) {
                    return None;
                }
                state.nodes[at(number)].promises.given = None;
            }
            Action::BackUp(number) => {
                let node = &mut state.nodes[at(number)];
                if node.backup.is_some() || node.phase != Phase::Idle || state.restores > 0 {
                    return None;
                }
                node.backup = Some(node.promises);
            }
            Action::RestoreIndex(number) => {
                let node = &mut state.nodes[at(number)];
                if node.phase != Phase::Idle {
                    return None;
                }
                node.promises = node.backup.take()?;
                node.in_doubt = true;
                state.restores += 1;
            }
            Action::AskWhoCounts(number) => {
                if !state.nodes[at(number)].in_doubt {
                    return None;
                }
                let other = state.nodes[at(1 - number)];
                let node = &mut state.nodes[at(number)];
                // What it may have asked for and did not get is no less a promise until it is released.
                node.promises.given = (other.promises.asked || !other.holds).then_some(other.run);
                node.in_doubt = false;
            }
        }
        Some(())
    }
}

impl Model for Peers {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let node = |requires_other| {
            let promises = Promises::default();
            Node { holds: true, phase: Phase::Idle, requires_other, run: 0, promises, backup: None, in_doubt: false }
        };
        let begin = |second| State {
            nodes: [node(true), node(second)],
            sent: BTreeSet::new(),
            restores: 0,
            crashed: false,
            gave_up: false,
            refused: false,
        };
        vec![begin(true), begin(false)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for number in [0, 1] {
            actions.extend([Action::Ask(number), Action::Decide(number), Action::Delete(number), Action::GiveUp(number)]);
            actions.extend([Action::Release(number), Action::Crash(number), Action::Expire(number)]);
            actions.extend([Action::BackUp(number), Action::RestoreIndex(number), Action::AskWhoCounts(number)]);
        }
        actions.extend(state.sent.iter().copied().map(Action::Deliver));
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.step(&mut state, action)?;
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = vec![Property::always("a copy that another node counts on stays", |_, state: &State| {
            let counts = |node: &Node| node.requires_other && !node.holds;
            !counts(&state.nodes[0]) && !counts(&state.nodes[1]) || state.nodes.iter().any(|node| node.holds)
        })];
        if self.without.is_none() {
            all.extend([
                Property::sometimes("a node offloads", |_, state: &State| state.nodes.iter().any(|node| !node.holds)),
                Property::sometimes("a node offloads after the other one had tried", |_, state: &State| {
                    !state.nodes[1].holds && state.nodes[0].run > 0 && state.nodes[1].run > 0
                }),
                Property::sometimes("both ask at once", |_, state: &State| {
                    state.nodes.iter().all(|node| node.phase == Phase::Asked)
                }),
                Property::sometimes("a node refuses", |_, state: &State| state.refused),
                Property::sometimes("a node that gave its word gives up", |_, state: &State| state.gave_up),
                Property::sometimes("refused: relied-on", |model: &Self, state: &State| {
                    let relied_on = |node: &Node| {
                        let decision = model.decision(node, Confirmation::NotAsked);
                        node.holds && decision.refusals.iter().any(|refusal| refusal.cause == Cause::ReliedOn)
                    };
                    state.nodes.iter().any(relied_on)
                }),
                Property::sometimes("a node offloads after a crash", |_, state: &State| {
                    state.crashed && state.nodes.iter().any(|node| !node.holds)
                }),
                Property::sometimes("a node offloads after its index was put back", |_, state: &State| {
                    state.restores > 0 && state.nodes.iter().any(|node| !node.holds && !node.in_doubt)
                }),
            ]);
        }
        all
    }
}
