//! Settling: what begins every index, offload and restore. And the index run itself, undo, and restore.

use super::Machine;
use super::events::Event;
use super::guards::Guard;
use super::offload::Returned;
use super::state::{File, Intent, IntentState, Object, Row, State, Status};

impl Machine {
    /// Puts right what a broken offload left. What waits for its grace stays.
    pub(super) fn settle(&self, state: &mut State) {
        if let Some(intent) = state.index.intent
            && !state.index.is_waiting()
        {
            self.settle_intent(state, intent);
        }
        if state.disk.aside.is_some() && !state.index.is_waiting() && self.has(Guard::StraysReturn) {
            self.move_back(state);
            state.note(Event::SettledStray);
        }
        state.note(Event::Settled);
    }

    pub(super) fn settle_intent(&self, state: &mut State, intent: Intent) {
        let begun = intent.state == IntentState::Deleting;
        if let Some(aside) = state.disk.aside
            && begun
            && !self.has(Guard::SettleDeletesNothing)
        {
            state.disk.aside = None;
            let truth = state.truth();
            Self::remove(state, aside.version, &truth);
        }
        let row = state.index.row.filter(|row| row.status == Status::Quarantined);
        state.index.intent = None;
        if intent.epoch != state.index.epoch {
            state.note(Event::SettledOtherEpoch);
        }
        let returned = if state.disk.aside.is_some() {
            state.note(if begun { Event::SettledDeleting } else { Event::SettledAside });
            self.move_back(state)
        } else if state.disk.path.is_some_and(|file| file.inode == intent.inode) {
            state.note(Event::SettledInPlace);
            Returned::Home
        } else if state.disk.kept.contains(intent.inode) {
            Returned::Kept
        } else {
            let current = intent.epoch == state.index.epoch || !self.has(Guard::IntentEpoch);
            let offloaded = begun && current || !self.has(Guard::DeletionMarker);
            state.note(if offloaded { Event::SettledDeleted } else { Event::SettledMissing });
            if offloaded && row.is_some_and(|row| !state.confirmed.contains(row.version.0)) {
                state.note(Event::WronglyOffloaded);
            }
            let status = if offloaded { Status::Offloaded } else { Status::Missing };
            state.index.row = row.map(|row| Row { status, ..row }).or(state.index.row);
            return;
        };
        if let Some(row) = row {
            self.row_returned(state, row, returned, true);
        }
    }

    /// The process dies while it settles: the file is back, and nothing says so yet.
    pub(super) fn settle_halfway(&self, state: &mut State) -> Option<()> {
        let intent = state.index.intent.filter(|_| !state.index.is_waiting() && state.disk.aside.is_some());
        intent.map(|_| {
            self.move_back(state);
        })
    }

    /// An index run: settles, then records what is at the path.
    pub(super) fn index_run(&self, state: &mut State) {
        self.begin_run(state);
        self.settle(state);
        let row = state.index.row;
        match (state.disk.path, row) {
            (Some(file), Some(row)) if row.version == file.version && row.status == Status::Present => {}
            (Some(file), _) => {
                let present_since = Self::next_run(state);
                state.index.row = Some(Row { version: file.version, present_since, status: Status::Present });
            }
            (None, Some(row)) if row.status == Status::Present => {
                state.index.row = Some(Row { status: Status::Missing, ..row });
            }
            (None, _) => {}
        }
    }

    /// Puts back, on a person's word, what is held for its grace.
    pub(super) fn undo(&self, state: &mut State) -> Option<()> {
        if !state.index.is_waiting() {
            return None;
        }
        self.begin_run(state);
        self.settle(state);
        if let Some(intent) = state.index.intent {
            self.settle_intent(state, intent);
        }
        state.note(Event::Undone);
        Some(())
    }

    /// Brings a content back from a destination that has it.
    pub(super) fn restore(&self, state: &mut State) -> Option<()> {
        self.begin_run(state);
        self.settle(state);
        let row = state.index.row.filter(|row| matches!(row.status, Status::Offloaded | Status::Missing))?;
        let somewhere = (0..self.bounds.places).any(|place| state.object(place, row.version) == Object::Good);
        if state.disk.path.is_some() || !somewhere || state.inodes >= self.bounds.inodes {
            return None;
        }
        state.disk.path = Some(File { inode: state.inodes, version: row.version, open_for_writing: false });
        state.inodes += 1;
        let present_since = Self::next_run(state);
        state.index.row = Some(Row { present_since, status: Status::Present, ..row });
        state.note(Event::Restored);
        Some(())
    }
}
