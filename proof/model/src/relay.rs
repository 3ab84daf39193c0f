//! Evidence that travels: a node proves what a destination holds, tells another node, and withdraws it; later it comes back.
//!
//! Only under `offline` does relayed evidence open a gate, so nobody is asked at the moment of deletion here. What is told travels in
//! any order, arrives late, twice or never.

use lastcopy_fs::{Content, ContentHash, RelPath};
use lastcopy_offload::{Confirmation, Known, decide};
use lastcopy_store::{
    Confirm, ContentId, DestinationId, Evidence, FileFacts, FileId, FileRecord, FileStatus, Incarnation, Method, Policy,
    ReceiptFacts, ReceiptLevel, RunId, Seen, Timestamp, VolumeId,
};
use stateright::{Model, Property};
use std::collections::BTreeSet;

/// A guard of relayed evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// What is told of an older generation than is known counts for nothing.
    Generation,
    /// To hear of a newer generation is to have everything to prove again.
    NewGenerationLowers,
    /// What it saw lost itself is not found again by being told.
    OwnLoss,
    /// What is told is as old as it was for who told it.
    Age,
}

impl Guard {
    pub(crate) const ALL: [Self; 4] = [Self::Generation, Self::NewGenerationLowers, Self::OwnLoss, Self::Age];

    pub(crate) fn without(self) -> &'static str {
        match self {
            Self::Generation => "takes evidence of a generation that was withdrawn",
            Self::NewGenerationLowers => "keeps what it proved before a withdrawal",
            Self::OwnLoss => "believes others against what it saw itself",
            Self::Age => "takes what it is told for new",
        }
    }
}

/// Ages at which evidence is stale.
const STALE: u8 = 2;

/// What a node believes of the one content at the one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Belief {
    /// How long ago it proved it itself.
    own: Option<u8>,
    /// How old what it was told is.
    told: Option<u8>,
    /// It saw the content missing.
    lost: bool,
    /// The generation of its evidence.
    generation: u8,
}

/// Evidence on its way: who told it, how old it is, of which generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Told {
    by: u8,
    age: u8,
    generation: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    held: bool,
    /// It was lost and stored so often.
    losses: u8,
    beliefs: [Belief; 2],
    sent: BTreeSet<Told>,
    /// The file is at its node: the first one's.
    file: bool,
    /// The first node has heard of evidence of a newer generation.
    heard_newer: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Store,
    Prove(u8),
    Tell(u8),
    Hear(u8, Told),
    LoseNoticedByFirst,
    LoseAndWithdraw(u8),
    LoseSlowly,
    TimePasses,
    Offload,
}

/// The model, perhaps without a guard.
#[derive(Debug, Clone)]
pub(crate) struct Relay {
    without: Option<Guard>,
    policy: Policy,
}

const NOW: Timestamp = Timestamp(1_000_000);
const STEP_MS: i64 = 1000;

impl Relay {
    pub(crate) fn new(without: Option<Guard>) -> Self {
        let policy = Policy::requiring(vec![DestinationId::stand_in(1)], STEP_MS * i64::from(STALE - 1), Confirm::Offline);
        Self { without, policy }
    }

    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The shipped gate of a node, on what it proved or was told.
    fn passes(&self, belief: Belief) -> bool {
        let youngest = match (belief.own, belief.told) {
            (Some(own), Some(told)) => Some(own.min(told)),
            (own, told) => own.or(told),
        };
        let usable = youngest.filter(|_| !belief.lost || !self.has(Guard::OwnLoss));
        let verified_at = |age: u8| Timestamp(NOW.0 - STEP_MS * i64::from(age));
        let receipt = usable.map(|age| ReceiptFacts {
            level: ReceiptLevel::Verified,
            method: Method::ReadBack,
            verified_at: Some(verified_at(age)),
        });
        let evidence = Evidence {
            destination: DestinationId::stand_in(1),
            accepted: Some(Incarnation::new("accepted")),
            answered: Some(Incarnation::new("accepted")),
            destination_alarm: false,
            content_alarm: false,
            component: Some(RunId::from_user(1)),
            receipt,
        };
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
        let facts = FileFacts { file, relied_on_by: Vec::new(), alarm: false, frozen: false };
        let known = Known { now: NOW, needed: false, confirmations: &[Confirmation::NotAsked] };
        decide(&facts, &[evidence], &self.policy, &known).passes()
    }

    fn hear(&self, belief: &mut Belief, told: Told) -> bool {
        if told.generation < belief.generation && self.has(Guard::Generation) {
            return false;
        }
        let newer = told.generation > belief.generation;
        if newer {
            belief.generation = told.generation;
            belief.told = None;
            if self.has(Guard::NewGenerationLowers) {
                belief.own = None;
            }
        }
        let age = if self.has(Guard::Age) { told.age } else { 0 };
        belief.told = Some(belief.told.map_or(age, |before| before.min(age)));
        newer
    }

    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match action {
            Action::Store => state.held = true,
            Action::Prove(number) if state.held => {
                let belief = &mut state.beliefs[usize::from(number)];
                (belief.own, belief.lost) = (Some(0), false);
            }
            Action::Prove(_) => return None,
            Action::Tell(number) => {
                let belief = state.beliefs[usize::from(number)];
                // What it proved itself; or, if it proved nothing, of which generation its evidence would have to be.
                state.sent.insert(Told { by: number, age: belief.own.unwrap_or(STALE), generation: belief.generation });
            }
            Action::Hear(number, told) => {
                let newer = self.hear(&mut state.beliefs[usize::from(number)], told);
                state.heard_newer |= newer && number == 0;
            }
            Action::LoseNoticedByFirst | Action::LoseAndWithdraw(_) | Action::LoseSlowly if !state.held || state.losses > 0 => {
                return None;
            }
            Action::LoseNoticedByFirst => {
                (state.held, state.losses) = (false, state.losses + 1);
                (state.beliefs[0].own, state.beliefs[0].lost) = (None, true);
            }
            Action::LoseAndWithdraw(number) => {
                (state.held, state.losses) = (false, state.losses + 1);
                let generation = state.beliefs.iter().map(|belief| belief.generation).max()? + 1;
                state.beliefs[usize::from(number)] = Belief { generation, ..Belief::default() };
            }
            Action::LoseSlowly => {
                (state.held, state.losses) = (false, state.losses + 1);
                Self::age(state);
                Self::age(state);
            }
            Action::TimePasses => Self::age(state),
            Action::Offload => {
                if !state.file || !self.passes(state.beliefs[0]) {
                    return None;
                }
                state.file = false;
            }
        }
        Some(())
    }

    /// Evidence ages wherever it is.
    fn age(state: &mut State) {
        let older = |age: u8| (age + 1).min(STALE);
        for belief in &mut state.beliefs {
            (belief.own, belief.told) = (belief.own.map(older), belief.told.map(older));
        }
        state.sent = state.sent.iter().map(|told| Told { age: older(told.age), ..*told }).collect();
    }
}

impl Model for Relay {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let beliefs = [Belief::default(); 2];
        vec![State { held: false, losses: 0, beliefs, sent: BTreeSet::new(), file: true, heard_newer: false }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.file {
            return;
        }
        actions.extend([Action::Store, Action::LoseNoticedByFirst, Action::LoseSlowly, Action::TimePasses, Action::Offload]);
        for number in [0, 1] {
            actions.extend([Action::Prove(number), Action::Tell(number), Action::LoseAndWithdraw(number)]);
            let others = state.sent.iter().filter(|told| told.by != number);
            actions.extend(others.map(|told| Action::Hear(number, *told)));
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let mut state = before.clone();
        self.step(&mut state, action)?;
        (state != *before).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all =
            vec![Property::always("nothing is deleted on evidence of whose withdrawal the node has heard", |_, state: &State| {
                // Under `offline`, what another node withdrew and did not tell yet is still believed.
                let not_heard = state.beliefs[0].generation < state.beliefs[1].generation;
                state.file || state.held || not_heard
            })];
        if self.without.is_none() {
            all.extend([
                Property::sometimes("a node deletes on what it was told", |_, state: &State| {
                    !state.file && state.beliefs[0].own.is_none() && state.beliefs[0].told.is_some()
                }),
                Property::sometimes("it deletes after a withdrawal", |_, state: &State| {
                    !state.file && state.beliefs[0].generation > 0
                }),
                Property::sometimes("it hears of a newer generation", |_, state: &State| state.heard_newer),
                Property::sometimes("withdrawn evidence is still on its way", |_, state: &State| {
                    state.sent.iter().any(|told| told.by == 1 && told.generation < state.beliefs[0].generation && told.age < STALE)
                }),
                Property::sometimes("what it saw lost is told to it", |_, state: &State| {
                    state.beliefs[0].lost && state.beliefs[0].told.is_some()
                }),
            ]);
        }
        all
    }
}
