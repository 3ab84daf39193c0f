//! One node: a file, an index, destinations, and everything that can happen to them.

mod events;
mod evidence;
mod gate;
mod guards;
mod offload;
mod outside;
mod properties;
mod settle;
mod state;

pub(crate) use events::Fault;
pub(crate) use gate::Asks;
pub(crate) use guards::Guard;

use lastcopy_store::Policy;
use outside::Spot;
use state::{Phase, Set, Setting, State, Terms};
use stateright::{Model, Property};

/// How far the model goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Destinations.
    pub(crate) places: usize,
    /// What the policy asks of them.
    pub(crate) asks: Asks,
    /// Contents.
    pub(crate) versions: u8,
    /// Inodes.
    pub(crate) inodes: u8,
    /// The faults that can happen, each at most once.
    pub(crate) kinds: &'static [Fault],
    /// Faults on one way.
    pub(crate) faults: u32,
    /// Runs that make something present.
    pub(crate) runs: u8,
}

/// The model: the shipped one, or a variant that goes without a guard.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    bounds: Bounds,
    without: Option<Guard>,
    strict: Policy,
    weak: Policy,
}

/// What can happen next. Each is named after the function that says what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Index,
    Push(usize),
    Seal,
    FinishPush,
    Verify(usize),
    BeginOffload,
    Intend,
    SetAside,
    Confirm,
    DecideAgain,
    Unlink,
    RecordUnlinked,
    Undo,
    Restore,
    Adopt(usize),
    Acknowledge(usize),
    AcceptPolicy,
    TimePasses,
    BackUpIndex,
    Snapshot(usize),
    WriteNew,
    OpenForWriting(Spot),
    WriteInPlace(Spot),
    Crash,
    CrashInSettle,
    RestoreIndex,
    LoseIndex,
    CopyPushes(usize),
    LoseObject(usize, u8),
    SpoilObject(usize, u8),
    RotObject(usize, u8),
    TornUpload(usize),
    PushElsewhere(usize),
    Wipe(usize),
    Replace(usize),
    RollBack(usize),
    OthersPush(usize),
    WeakenPolicy,
    TakeAside,
}

impl Machine {
    /// A model within bounds, without a guard or with all of them.
    pub(crate) fn new(bounds: Bounds, without: Option<Guard>) -> Self {
        let policy = |terms| Self::policy(bounds.places, bounds.asks, terms);
        Self { bounds, without, strict: policy(Terms::Strict), weak: policy(Terms::Weak) }
    }

    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// What this node can do when nothing of it runs.
    fn idle_actions(&self, actions: &mut Vec<Action>) {
        actions.extend([Action::Index, Action::BeginOffload, Action::Undo, Action::Restore]);
        actions.extend([Action::AcceptPolicy, Action::TimePasses]);
        for place in 0..self.bounds.places {
            actions.extend([Action::Push(place), Action::Verify(place), Action::Adopt(place), Action::Acknowledge(place)]);
        }
    }

    fn faults(&self, state: &State, actions: &mut Vec<Action>) {
        let idle = state.phase == Phase::Idle;
        actions.extend([Action::WeakenPolicy, Action::TakeAside, Action::Crash]);
        if idle {
            actions.extend([Action::RestoreIndex, Action::LoseIndex, Action::CrashInSettle]);
        }
        for place in 0..self.bounds.places {
            actions.extend([Action::Wipe(place), Action::Replace(place), Action::RollBack(place)]);
            actions.extend([Action::OthersPush(place), Action::CopyPushes(place)]);
            if idle {
                actions.extend([Action::TornUpload(place), Action::PushElsewhere(place)]);
            }
            for number in 0..state.versions {
                actions.push(Action::LoseObject(place, number));
                if idle {
                    actions.extend([Action::SpoilObject(place, number), Action::RotObject(place, number)]);
                }
            }
        }
    }

    /// Copies from which somebody could come back, as long as there are no more of them than faults that may still happen.
    fn copies(&self, state: &State, actions: &mut Vec<Action>) {
        let comes_back = |fault: Fault| self.bounds.kinds.contains(&fault) && !state.had(fault);
        let snapshots = state.destinations.iter().filter(|there| there.snapshot.is_some()).count();
        let copies = snapshots + usize::from(state.backup.is_some());
        if copies as u32 >= self.bounds.faults - state.faults.len() {
            return;
        }
        if snapshots == 0 && comes_back(Fault::Rollback) {
            actions.extend((0..self.bounds.places).map(Action::Snapshot));
        }
        if state.phase == Phase::Idle && (comes_back(Fault::RestoreIndex) || comes_back(Fault::CopyPushes)) {
            actions.push(Action::BackUpIndex);
        }
    }

    fn step(&self, state: &mut State, action: Action) -> Option<()> {
        match (action, state.phase) {
            (Action::Index, _) => self.index_run(state),
            (Action::Push(place), _) => self.push(state, place, false)?,
            (Action::TornUpload(place), _) => {
                self.push(state, place, true)?;
                state.fault(Fault::TornUpload)?;
            }
            (Action::PushElsewhere(place), _) => {
                self.push_elsewhere(state, place)?;
                state.fault(Fault::Exchange)?;
            }
            (Action::Seal, Phase::Pushed { place, horizon }) => self.seal(state, place, horizon),
            (Action::FinishPush, Phase::Sealed { place, horizon }) => Self::finish_push(state, place, horizon),
            (Action::Verify(place), _) => self.verify(state, place),
            (Action::BeginOffload, _) => self.begin_offload(state)?,
            (Action::Intend, Phase::Hashed(open)) => self.intend(state, open),
            (Action::SetAside, Phase::Intended(open, heard)) => self.set_aside(state, open, heard),
            (Action::Confirm, Phase::Aside(open, heard)) => self.confirm(state, open, heard),
            (Action::DecideAgain, Phase::Confirmed(open, heard)) => self.decide_again(state, open, heard),
            (Action::Unlink, Phase::Deleting(open, heard)) => self.unlink(state, open, &heard),
            (Action::RecordUnlinked, Phase::Unlinked) => Self::record_unlinked(state),
            (Action::Undo, _) => self.undo(state)?,
            (Action::Restore, _) => self.restore(state)?,
            (Action::Adopt(place), _) => self.adopt(state, place)?,
            (Action::Acknowledge(place), _) => self.acknowledge(state, place)?,
            (Action::AcceptPolicy, _) => Self::accept_policy(state)?,
            (Action::TimePasses, _) => Self::time_passes(state),
            (Action::BackUpIndex, _) => state.backup = Some(state.backup.map_or(state.index, |backup| backup)),
            (Action::Snapshot(place), _) => Self::snapshot(state, place)?,
            (Action::WriteNew, _) => self.write_new(state)?,
            (Action::OpenForWriting(spot), _) => self.open_for_writing(state, spot)?,
            (Action::WriteInPlace(spot), _) => self.write_in_place(state, spot)?,
            (Action::Crash, _) => Self::crash(state)?,
            (Action::CrashInSettle, _) => {
                self.settle_halfway(state)?;
                state.fault(Fault::CrashInSettle)?;
            }
            (Action::RestoreIndex, _) => Self::restore_index(state)?,
            (Action::LoseIndex, _) => Self::lose_index(state)?,
            (Action::CopyPushes(place), _) => Self::copy_pushes(state, place)?,
            (Action::LoseObject(place, number), _) => Self::lose_object(state, place, number)?,
            (Action::SpoilObject(place, number), _) => self.spoil_object(state, place, number)?,
            (Action::RotObject(place, number), _) => Self::rot_object(state, place, number)?,
            (Action::Wipe(place), _) => Self::wipe(state, place)?,
            (Action::Replace(place), _) => Self::replace(state, place)?,
            (Action::RollBack(place), _) => Self::roll_back(state, place)?,
            (Action::OthersPush(place), _) => Self::others_push(state, place)?,
            (Action::WeakenPolicy, _) => Self::weaken_policy(state)?,
            (Action::TakeAside, _) => Self::take_aside(state)?,
            _ => return None,
        }
        Some(())
    }
}

impl Model for Machine {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let last = self.bounds.places - 1;
        vec![
            State::first(Setting { grace: false }, None),
            State::first(Setting { grace: true }, None),
            State::first(Setting { grace: false }, Some(last)),
        ]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        match state.phase {
            Phase::Idle => self.idle_actions(actions),
            Phase::Pushed { .. } => actions.push(Action::Seal),
            Phase::Sealed { .. } => actions.push(Action::FinishPush),
            Phase::Hashed(_) => actions.push(Action::Intend),
            Phase::Intended(..) => actions.push(Action::SetAside),
            Phase::Aside(..) => actions.push(Action::Confirm),
            Phase::Confirmed(..) => actions.push(Action::DecideAgain),
            Phase::Deleting(..) => actions.push(Action::Unlink),
            Phase::Unlinked => actions.push(Action::RecordUnlinked),
        }
        actions.push(Action::WriteNew);
        for spot in [Spot::Path, Spot::Aside] {
            actions.extend([Action::OpenForWriting(spot), Action::WriteInPlace(spot)]);
        }
        if self.may_fail(state) {
            self.faults(state, actions);
            self.copies(state, actions);
        }
    }

    fn next_state(&self, before: &State, action: Action) -> Option<State> {
        let quiet = State { events: Set::default(), removed: None, ..*before };
        let mut state = quiet;
        self.step(&mut state, action)?;
        let known = |number| self.bounds.kinds.iter().any(|kind| *kind as u8 == number);
        if (0..Fault::ALL.len() as u8).any(|number| state.faults.contains(number) && !known(number)) {
            return None;
        }
        if !self.may_fail(&state) {
            // Nobody can come back to them any more.
            state.backup = None;
            state.destinations.iter_mut().for_each(|there| there.snapshot = None);
        }
        let nothing_happened = State { events: Set::default(), removed: None, ..state } == quiet && state.removed.is_none();
        (!nothing_happened).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(&self.bounds, self.without)
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.index.run <= self.bounds.runs
    }
}
