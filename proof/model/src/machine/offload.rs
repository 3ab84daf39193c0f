//! The steps of an offload, one action each, so that anything can happen between any two of them.

use super::Machine;
use super::events::{Event, Fault};
use super::evidence::Silence;
use super::guards::Guard;
use super::state::{
    Answer, File, Heard, Intent, IntentState, Object, Open, PLACES, Phase, Removal, Row, Set, State, Status, Terms, Version,
};

/// Where the bytes of a file went that was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Returned {
    Home,
    Kept,
}

impl Machine {
    /// Plan, gate, open, lease, hash. A file whose grace is over goes first.
    pub(super) fn begin_offload(&self, state: &mut State) -> Option<()> {
        if self.has(Guard::Latch)
            && let Some(accepted) = state.index.accepted_policy
            && self.is_weaker(state.configured, accepted)
        {
            return None;
        }
        self.begin_run(state);
        self.settle(state);
        if let Some(intent) = state.index.intent {
            if intent.state == (IntentState::Held { over: true }) {
                self.go_on_after_grace(state, intent);
            }
            return Some(());
        }
        let Some(row) = state.index.row.filter(|row| row.status == Status::Present) else { return Some(()) };
        if !self.passes(&state.index, row, state.configured, &[Answer::NotAsked; PLACES]) {
            return Some(());
        }
        let Some(open) = state.disk.path.and_then(|file| self.lease_and_hash(file, row.version, state.configured, Guard::Hash))
        else {
            return Some(());
        };
        state.phase = Phase::Hashed(open);
        Some(())
    }

    /// Nothing if it is in use, or not what the index says.
    fn lease_and_hash(&self, file: File, version: Version, terms: Terms, hash: Guard) -> Option<Open> {
        let in_use = file.open_for_writing && self.has(Guard::Lease);
        let drifted = file.version != version && self.has(hash);
        (!in_use && !drifted).then_some(Open { inode: file.inode, leased: true, terms })
    }

    fn go_on_after_grace(&self, state: &mut State, intent: Intent) {
        let held = state.disk.aside.filter(|file| file.inode == intent.inode);
        match held.and_then(|file| self.lease_and_hash(file, intent.version, state.configured, Guard::HashAfterGrace)) {
            Some(open) => {
                state.note(Event::GraceOver);
                state.phase = Phase::Aside(open, None);
            }
            None => {
                state.note(Event::HeldChanged);
                self.put_back(state);
            }
        }
    }

    /// Decides again and records the intent, in one transaction.
    pub(super) fn intend(&self, state: &mut State, open: Open) {
        state.phase = Phase::Idle;
        let Some(row) = state.index.row else { return };
        let early = !self.has(Guard::AskedAfterRename);
        let heard = if early { self.ask(state, row, open.terms) } else { Ok(None) };
        let Ok(heard) = heard else { return };
        if !self.passes(&state.index, row, open.terms, &[Answer::NotAsked; PLACES]) {
            return;
        }
        state.index.row = Some(Row { status: Status::Quarantined, ..row });
        state.confirmed = state.confirmed.without(row.version.0);
        let intent = Intent { inode: open.inode, version: row.version, epoch: state.index.epoch, state: IntentState::Moving };
        state.index.intent = Some(intent);
        state.phase = Phase::Intended(open, heard);
    }

    /// Moves whatever is at the path aside, and looks at what was moved.
    pub(super) fn set_aside(&self, state: &mut State, open: Open, heard: Option<Heard>) {
        state.phase = Phase::Aside(open, heard);
        if !self.has(Guard::RenameAside) {
            return;
        }
        state.disk.aside = state.disk.path.take();
        let same = state.disk.aside.is_some_and(|file| file.inode == open.inode);
        if !same && self.has(Guard::LookAtMoved) {
            state.note(Event::MovedAnother);
            self.put_back(state);
        } else if !open.leased && self.has(Guard::Lease) {
            self.put_back(state);
        } else if state.setting.grace {
            self.change_intent(state, IntentState::Held { over: false });
            state.note(Event::GraceBegan);
            state.phase = Phase::Idle;
        }
    }

    fn change_intent(&self, state: &mut State, to: IntentState) {
        state.index.intent = state.index.intent.map(|intent| Intent { state: to, ..intent });
    }

    /// Asks every destination that counts.
    pub(super) fn confirm(&self, state: &mut State, open: Open, heard: Option<Heard>) {
        let Some(row) = state.index.row else { return };
        let heard = match heard {
            Some(heard) => Ok(Some(heard)),
            None => self.ask(state, row, open.terms),
        };
        match heard {
            Ok(heard) => {
                let unasked = Heard { answers: [Answer::NotAsked; PLACES], truth: state.truth() };
                state.phase = Phase::Confirmed(open, heard.unwrap_or(unasked));
            }
            // The run was closed: its file goes back, and the next run records that.
            Err(()) => {
                self.move_back(state);
                state.phase = Phase::Idle;
            }
        }
    }

    /// What the destinations answer; an error if one of them ended this life of the index.
    fn ask(&self, state: &mut State, row: Row, terms: Terms) -> Result<Option<Heard>, ()> {
        if !self.has(Guard::AskedNow) {
            return Ok(None);
        }
        let mut answers = [Answer::NotAsked; PLACES];
        let counted: Vec<_> = self.counted(terms).collect();
        for place in counted {
            answers[place] = match self.contact(state, place) {
                Err(Silence::NewEpoch) => return Err(()),
                Err(Silence::Refused) => Answer::Unreachable,
                Ok(()) if state.index.at[place].live_receipt(row).is_none() && self.has(Guard::Receipt) => Answer::NotHeld,
                Ok(()) if state.object(place, row.version) == Object::Absent => {
                    Self::lose(state, place, row.version);
                    Answer::NotHeld
                }
                Ok(()) => Answer::Held,
            };
        }
        Ok(Some(Heard { answers, truth: state.truth() }))
    }

    /// Decides again with what was heard, and notes that deletion begins, in one transaction.
    pub(super) fn decide_again(&self, state: &mut State, open: Open, heard: Heard) {
        let Some(row) = state.index.row else { return };
        for answer in heard.answers {
            match answer {
                Answer::NotHeld => state.note(Event::SaidNotHeld),
                Answer::Unreachable => state.note(Event::SaidNothing),
                Answer::Held | Answer::NotAsked => {}
            }
        }
        let passes = if self.has(Guard::DecideAgain) {
            self.passes(&state.index, row, open.terms, &heard.answers)
        } else {
            heard.answers.iter().all(|answer| matches!(answer, Answer::Held | Answer::NotAsked))
        };
        if passes {
            self.change_intent(state, IntentState::Deleting);
            state.confirmed = state.confirmed.with(row.version.0);
            state.phase = Phase::Deleting(open, heard);
        } else {
            state.note(Event::DecidedOtherwise);
            self.put_back(state);
        }
    }

    /// Looks at the lease once more, and deletes.
    pub(super) fn unlink(&self, state: &mut State, open: Open, heard: &Heard) {
        let aside = self.has(Guard::RenameAside);
        let file = if aside { state.disk.aside } else { state.disk.path };
        let stands = open.leased || !self.has(Guard::Lease);
        let same = file.is_some_and(|file| file.inode == open.inode) || !aside || !self.has(Guard::LookAtMoved);
        let empty = state.disk.path.is_none() || !aside || !self.has(Guard::PathIsEmpty);
        let (true, true, true, Some(file)) = (stands, same, empty, file) else { return self.put_back(state) };
        *(if aside { &mut state.disk.aside } else { &mut state.disk.path }) = None;
        Self::remove(state, file.version, &heard.truth);
        state.note(Event::Unlinked);
        state.phase = Phase::Unlinked;
    }

    /// Remembers what was removed, and who held it when that was decided.
    pub(super) fn remove(state: &mut State, version: Version, truth: &[Set; PLACES]) {
        let mut held = Set::default();
        for (place, contents) in (0..).zip(truth) {
            held = if contents.contains(version.0) { held.with(place) } else { held };
        }
        state.removed = Some(Removal { version, held });
    }

    /// Records that it is gone.
    pub(super) fn record_unlinked(state: &mut State) {
        state.index.row = state.index.row.map(|row| Row { status: Status::Offloaded, ..row });
        state.index.intent = None;
        state.phase = Phase::Idle;
    }

    /// Puts the file of the running offload back, and records that.
    pub(super) fn put_back(&self, state: &mut State) {
        state.phase = Phase::Idle;
        if let Some(intent) = state.index.intent
            && state.disk.aside.is_none()
            && self.has(Guard::RenameAside)
        {
            return self.settle_intent(state, intent);
        }
        let returned = self.move_back(state);
        let held = state.index.intent.take().is_some_and(|intent| matches!(intent.state, IntentState::Held { .. }));
        let Some(row) = state.index.row else { return };
        if row.status == Status::Quarantined {
            self.row_returned(state, row, returned, held);
        }
    }

    /// The row of a file that went back: by the run that moved it, as if nothing had happened; by any other, present anew.
    pub(super) fn row_returned(&self, state: &mut State, row: Row, returned: Returned, by_another: bool) {
        state.index.row = Some(match returned {
            Returned::Home if by_another => Row { status: Status::Present, present_since: Self::next_run(state), ..row },
            Returned::Home => Row { status: Status::Present, ..row },
            Returned::Kept => Row { status: Status::Missing, ..row },
        });
    }

    /// Moves what is aside back to its place, or to the kept files if that is taken.
    pub(super) fn move_back(&self, state: &mut State) -> Returned {
        let Some(file) = state.disk.aside.take() else { return Returned::Home };
        state.confirmed = state.index.row.map_or(state.confirmed, |row| state.confirmed.without(row.version.0));
        match state.disk.path {
            Some(taken) if !self.has(Guard::NoReplace) => {
                let truth = state.truth();
                Self::remove(state, taken.version, &truth);
                state.disk.path = Some(file);
                Returned::Home
            }
            Some(_) => {
                state.disk.kept = state.disk.kept.with(file.inode);
                state.note(Event::Kept);
                Returned::Kept
            }
            None => {
                state.disk.path = Some(file);
                Returned::Home
            }
        }
    }

    /// The process dies: what it only knew is forgotten, its lease is gone.
    pub(super) fn crash(state: &mut State) -> Option<()> {
        if state.phase == Phase::Idle {
            return None;
        }
        state.phase = Phase::Idle;
        state.fault(Fault::Crash)
    }
}
