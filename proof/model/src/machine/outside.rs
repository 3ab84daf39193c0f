//! What people and the world do: edits at any moment, and faults.

use super::Machine;
use super::events::{Event, Fault};
use super::state::{File, Index, IntentState, Mark, Object, Open, Phase, Set, State, Status, Storage, Terms, Version, Writer};

/// One of two places where a file can lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Spot {
    /// At its path.
    Path,
    /// In quarantine.
    Aside,
}

impl State {
    fn file(&mut self, spot: Spot) -> &mut Option<File> {
        match spot {
            Spot::Path => &mut self.disk.path,
            Spot::Aside => &mut self.disk.aside,
        }
    }

    fn open(&mut self) -> Option<&mut Open> {
        match &mut self.phase {
            Phase::Hashed(open)
            | Phase::Intended(open, _)
            | Phase::Aside(open, _)
            | Phase::Confirmed(open, _)
            | Phase::Deleting(open, _) => Some(open),
            Phase::Idle | Phase::Pushed { .. } | Phase::Sealed { .. } | Phase::Unlinked => None,
        }
    }
}

impl Machine {
    fn new_version(&self, state: &mut State) -> Option<Version> {
        let version = Version(state.versions);
        state.versions += 1;
        (version.0 < self.bounds.versions).then_some(version)
    }

    /// A person writes a new file over the path, or where none is.
    pub(super) fn write_new(&self, state: &mut State) -> Option<()> {
        let version = self.new_version(state)?;
        let inode = state.inodes;
        state.inodes += 1;
        state.disk.path = Some(File { inode, version, open_for_writing: false });
        (inode < self.bounds.inodes).then_some(())
    }

    /// A person opens, or maps, a file for writing: if it is leased, after the lease was broken.
    pub(super) fn open_for_writing(&self, state: &mut State, spot: Spot) -> Option<()> {
        if state.versions >= self.bounds.versions {
            return None;
        }
        let file = state.file(spot).as_mut().filter(|file| !file.open_for_writing)?;
        file.open_for_writing = true;
        let inode = file.inode;
        if let Some(open) = state.open().filter(|open| open.inode == inode) {
            open.leased = false;
            state.note(Event::LeaseBroken);
        }
        Some(())
    }

    /// A person writes through a descriptor or mapping that is open, and closes it.
    pub(super) fn write_in_place(&self, state: &mut State, spot: Spot) -> Option<()> {
        state.file(spot).filter(|file| file.open_for_writing)?;
        let version = self.new_version(state)?;
        let file = state.file(spot).as_mut()?;
        (file.version, file.open_for_writing) = (version, false);
        Some(())
    }

    /// Whether another fault may happen.
    pub(super) fn may_fail(&self, state: &State) -> bool {
        state.faults.len() < self.bounds.faults
    }

    /// A copy of the index is put back.
    pub(super) fn restore_index(state: &mut State) -> Option<()> {
        state.fault(Fault::RestoreIndex)?;
        let backup = state.backup.filter(|backup| *backup != state.index)?;
        state.index = backup;
        state.behind = true;
        Self::forget_policy(state);
        Some(())
    }

    /// What was accepted in another life of the index protects nobody any more.
    fn forget_policy(state: &mut State) {
        state.allowed = state.index.accepted_policy.unwrap_or(state.configured);
    }

    /// The index is lost; a new one knows neither destinations nor intents.
    pub(super) fn lose_index(state: &mut State) -> Option<()> {
        state.fault(Fault::LoseIndex)?;
        let epoch = state.epochs;
        state.epochs += 1;
        let known = state.index.known_epochs;
        state.index = Index::new(epoch, 0);
        // Heads of another node are no news.
        state.index.known_epochs = (0..epoch).fold(known.with(epoch), Set::with);
        state.behind = false;
        Self::forget_policy(state);
        Some(())
    }

    /// A copy of the index, made earlier, pushes on its own.
    pub(super) fn copy_pushes(state: &mut State, place: usize) -> Option<()> {
        state.fault(Fault::CopyPushes)?;
        let copy = state.backup?;
        let sequence = copy.at[place].highest + 1;
        state.destinations[place].storage.head = Some(Mark { epoch: copy.epoch, sequence, writer: Writer::Copy });
        Some(())
    }

    fn object(state: &mut State, place: usize, number: u8, to: Object) -> Option<()> {
        let object = &mut state.destinations[place].storage.objects[usize::from(number)];
        if *object != Object::Good {
            return None;
        }
        *object = to;
        Some(())
    }

    /// A destination loses an object.
    pub(super) fn lose_object(state: &mut State, place: usize, number: u8) -> Option<()> {
        Self::object(state, place, number, Object::Absent)?;
        state.fault(Fault::LoseObject)
    }

    /// A destination damages an object, and a verify that runs at once notices.
    pub(super) fn spoil_object(&self, state: &mut State, place: usize, number: u8) -> Option<()> {
        Self::object(state, place, number, Object::Damaged)?;
        self.verify(state, place);
        if !state.did(Event::LossNoticed) {
            return None;
        }
        state.fault(Fault::SpoilObject)
    }

    /// A destination damages an object so slowly that what was proven of it is stale.
    pub(super) fn rot_object(state: &mut State, place: usize, number: u8) -> Option<()> {
        Self::object(state, place, number, Object::Damaged)?;
        Self::time_passes(state);
        Self::time_passes(state);
        state.fault(Fault::RotObject)
    }

    /// A destination is emptied and made anew.
    pub(super) fn wipe(state: &mut State, place: usize) -> Option<()> {
        let there = &mut state.destinations[place];
        if there.storage == Storage::EMPTY {
            return None;
        }
        there.storage = Storage::EMPTY;
        there.incarnation = state.incarnations;
        state.incarnations += 1;
        state.fault(Fault::Wipe)
    }

    /// Another repository is in its place, which has other bytes of the same sizes.
    pub(super) fn replace(state: &mut State, place: usize) -> Option<()> {
        let there = &mut state.destinations[place];
        if there.storage.objects.iter().all(|object| *object == Object::Absent) {
            return None;
        }
        for object in &mut there.storage.objects {
            *object = if *object == Object::Absent { Object::Absent } else { Object::Damaged };
        }
        there.incarnation = state.incarnations;
        state.incarnations += 1;
        state.fault(Fault::Replace)
    }

    /// The owner of a destination makes a snapshot of it.
    pub(super) fn snapshot(state: &mut State, place: usize) -> Option<()> {
        let there = &mut state.destinations[place];
        if there.snapshot.is_some() || there.is_the_volume || there.storage == Storage::EMPTY {
            return None;
        }
        there.snapshot = Some(there.storage);
        Some(())
    }

    /// A destination goes back to its snapshot, behind the last push that this life of the index knows to be sealed. (What goes back
    /// no farther than that takes no head with it.)
    pub(super) fn roll_back(state: &mut State, place: usize) -> Option<()> {
        let there = &mut state.destinations[place];
        let snapshot = there.snapshot.filter(|snapshot| snapshot.head != there.storage.head)?;
        if state.index.at[place].sealed != there.storage.head || matches!(state.phase, Phase::Pushed { .. }) {
            return None;
        }
        there.storage = snapshot;
        state.fault(Fault::Rollback)
    }

    /// Another node pushes: it has a head of its own.
    pub(super) fn others_push(state: &mut State, place: usize) -> Option<()> {
        state.destinations[place].storage.others_pushed = true;
        state.fault(Fault::OthersPush)
    }

    /// Somebody edits the policy.
    pub(super) fn weaken_policy(state: &mut State) -> Option<()> {
        if state.configured == Terms::Weak {
            return None;
        }
        state.configured = Terms::Weak;
        if state.index.accepted_policy.is_none() {
            state.allowed = Terms::Weak;
        }
        state.fault(Fault::WeakenPolicy)
    }

    /// A person accepts the weaker policy.
    pub(super) fn accept_policy(state: &mut State) -> Option<()> {
        if state.configured == Terms::Strict || state.index.accepted_policy == Some(Terms::Weak) {
            return None;
        }
        state.index.accepted_policy = Some(Terms::Weak);
        state.allowed = Terms::Weak;
        Some(())
    }

    /// Somebody takes the file out of quarantine.
    pub(super) fn take_aside(state: &mut State) -> Option<()> {
        state.disk.aside.take()?;
        // Whoever takes it while it is confirmed for deletion deletes it in our place.
        let deleting = state.index.intent.is_some_and(|intent| intent.state == IntentState::Deleting);
        if !deleting && let Some(row) = state.index.row.filter(|row| row.status == Status::Quarantined) {
            state.confirmed = state.confirmed.without(row.version.0);
        }
        state.fault(Fault::TakeAside)
    }
}
