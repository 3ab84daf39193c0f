//! How evidence comes to be and ceases: contact, push, verify, epochs, and a person's acts on it.

use super::Machine;
use super::events::Event;
use super::guards::Guard;
use super::state::{IntentState, Mark, Object, Phase, Receipt, STALE, Set, State, Status, Version, Writer};
use lastcopy_store::{HeadVerdict, ReceiptLevel};

/// Why a destination cannot be worked with now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// It is not who it should be, or went back.
    Refused,
    /// It told that this index is not the only one: what runs is over.
    NewEpoch,
}

impl Machine {
    /// A new life of the index: no older component counts, and every receipt must be proven again.
    fn begin_epoch(&self, state: &mut State, seen: Option<u8>) {
        let epoch = state.epochs;
        state.epochs += 1;
        let index = &mut state.index;
        index.known_epochs = index.known_epochs.with(epoch);
        if let Some(seen) = seen {
            index.known_epochs = index.known_epochs.with(seen);
        }
        index.epoch = epoch;
        index.run = index.run.max(state.witness);
        for place in 0..self.bounds.places {
            let believed = &mut state.index.at[place];
            (believed.sealed, believed.announced, believed.highest) = (None, None, 0);
            self.lower_receipts(state, place);
        }
    }

    /// What begins every run: an index that the files beside it contradict begins a new epoch; a stricter policy is accepted.
    pub(super) fn begin_run(&self, state: &mut State) {
        if std::mem::take(&mut state.behind) && self.has(Guard::Epoch) {
            let latest = state.epochs - 1;
            self.begin_epoch(state, Some(latest));
            state.note(Event::OldIndex);
        }
        let accepted = state.index.accepted_policy;
        if accepted.is_none_or(|accepted| accepted != state.configured && !self.is_weaker(state.configured, accepted)) {
            state.index.accepted_policy = Some(state.configured);
        }
    }

    /// The next run, remembered beside the index.
    pub(super) fn next_run(state: &mut State) -> u8 {
        state.index.run += 1;
        state.witness = state.witness.max(state.index.run);
        state.index.run
    }

    fn lower_receipts(&self, state: &mut State, place: usize) {
        if self.has(Guard::ProvenAgain) {
            state.index.at[place].receipts.iter_mut().flatten().for_each(|receipt| receipt.level = ReceiptLevel::Stored);
        }
    }

    /// Asks a destination who it is and whether it remembers what we remember.
    pub(super) fn contact(&self, state: &mut State, place: usize) -> Result<(), Silence> {
        self.identify(state, place)?;
        if !self.has(Guard::Head) || !self.has(Guard::OwnHead) && state.destinations[place].storage.others_pushed {
            return Ok(());
        }
        let found = state.destinations[place].storage.head;
        if let Some(mark) = found
            && !state.index.known_epochs.contains(mark.epoch)
        {
            return Err(self.foreign(state, mark));
        }
        let ours = found.filter(|mark| mark.epoch == state.index.epoch);
        let believed = &mut state.index.at[place];
        match Self::judge(believed, ours) {
            HeadVerdict::AsKnown => believed.rolled_back_alarm &= believed.sealed.is_none(),
            HeadVerdict::Announced(_) => {
                believed.sealed = believed.announced.take();
                believed.rolled_back_alarm = false;
                state.note(Event::AnnouncedHead);
            }
            HeadVerdict::RolledBack => {
                believed.rolled_back_alarm = true;
                self.lower_receipts(state, place);
                state.note(Event::RollbackNoticed);
                return Err(Silence::Refused);
            }
            HeadVerdict::Foreign => return Err(found.map_or(Silence::Refused, |mark| self.foreign(state, mark))),
        }
        Ok(())
    }

    fn foreign(&self, state: &mut State, mark: Mark) -> Silence {
        self.begin_epoch(state, Some(mark.epoch));
        state.note(Event::ForeignHead);
        Silence::NewEpoch
    }

    fn identify(&self, state: &mut State, place: usize) -> Result<(), Silence> {
        let answer = state.destinations[place].incarnation;
        let believed = &mut state.index.at[place];
        let Some(accepted) = believed.accepted else { return Err(Silence::Refused) };
        if !self.has(Guard::Identity) {
            return Ok(());
        }
        believed.answered = Some(answer);
        believed.identity_alarm = answer != accepted;
        if answer == accepted {
            return Ok(());
        }
        state.note(Event::OtherIdentity);
        Err(Silence::Refused)
    }

    fn prove(state: &mut State, place: usize, version: Version) {
        let believed = &mut state.index.at[place];
        let Some(incarnation) = believed.accepted else { return };
        let receipt = Receipt { level: ReceiptLevel::Verified, incarnation, age: 0, lost: false };
        let before = believed.receipts[version.place()].replace(receipt);
        believed.content_alarms = believed.content_alarms.without(version.0);
        if before.is_some_and(|before| before.lost) {
            state.note(Event::StoredAgain);
        }
    }

    pub(super) fn lose(state: &mut State, place: usize, version: Version) {
        let believed = &mut state.index.at[place];
        if let Some(receipt) = &mut believed.receipts[version.place()] {
            receipt.lost = true;
            believed.content_alarms = believed.content_alarms.with(version.0);
            state.note(Event::LossNoticed);
        }
    }

    /// A push, up to its receipts: contact, transfer, read back, record. A torn one leaves other bytes there.
    pub(super) fn push(&self, state: &mut State, place: usize, torn: bool) -> Option<()> {
        self.begin_run(state);
        let row = state.index.row.filter(|row| row.status == Status::Present)?;
        if self.contact(state, place).is_err() {
            return Some(());
        }
        let horizon = state.index.run;
        let lacks = state.index.at[place].lacks(row);
        if lacks {
            if state.disk.path.is_none_or(|file| file.version != row.version) {
                return Some(());
            }
            let there = &mut state.destinations[place];
            if torn {
                if there.is_the_volume || there.storage.objects[row.version.place()] == Object::Good {
                    return None;
                }
                there.storage.objects[row.version.place()] = Object::Damaged;
                if self.has(Guard::ReadBack) {
                    return Some(());
                }
            } else if !there.is_the_volume {
                there.storage.objects[row.version.place()] = Object::Good;
                there.ever_held = there.ever_held.with(row.version.0);
            }
            Self::prove(state, place, row.version);
        } else if torn || state.index.at[place].component >= Some((state.index.epoch, row.present_since)) {
            return None;
        }
        state.phase = Phase::Pushed { place: u8::try_from(place).ok()?, horizon };
        Some(())
    }

    /// A push that stores and proves on another disk than the one that it asked, and is killed before it asks again.
    pub(super) fn push_elsewhere(&self, state: &mut State, place: usize) -> Option<()> {
        self.begin_run(state);
        let row = state.index.row.filter(|row| row.status == Status::Present)?;
        let sent = state.disk.path.is_some_and(|file| file.version == row.version);
        if self.contact(state, place).is_err() || !sent || !state.index.at[place].lacks(row) {
            return None;
        }
        if !self.has(Guard::AskedAgain) {
            Self::prove(state, place, row.version);
        }
        Some(())
    }

    /// The end of a transfer: who answers is asked again, the head is announced here and written there.
    pub(super) fn seal(&self, state: &mut State, place: u8, horizon: u8) {
        state.phase = Phase::Idle;
        let at = usize::from(place);
        if self.identify(state, at).is_err() {
            self.lower_receipts(state, at);
            return;
        }
        state.phase = Phase::Sealed { place, horizon };
        let believed = &mut state.index.at[at];
        if believed.sealed.is_some() && believed.component >= Some((state.index.epoch, horizon)) {
            // There is nothing to say that the last head did not.
            return;
        }
        believed.highest += 1;
        let mark = Mark { epoch: state.index.epoch, sequence: believed.highest, writer: Writer::Own };
        believed.announced = Some(mark);
        state.destinations[at].storage.head = Some(mark);
    }

    /// The end of a push: the head is sealed, and the vector moves as far as the receipts carry it.
    pub(super) fn finish_push(state: &mut State, place: u8, horizon: u8) {
        state.phase = Phase::Idle;
        let believed = &mut state.index.at[usize::from(place)];
        believed.sealed = believed.announced.take().or(believed.sealed);
        let carried = state.index.row.is_none_or(|row| row.status != Status::Present || !believed.lacks(row));
        let claim = Some((state.index.epoch, horizon));
        if carried && believed.component < claim {
            believed.component = claim;
        }
    }

    /// Reads everything that there is a receipt for.
    pub(super) fn verify(&self, state: &mut State, place: usize) {
        self.begin_run(state);
        if self.contact(state, place).is_err() {
            return;
        }
        for number in 0..state.versions {
            let (version, believed) = (Version(number), &state.index.at[place]);
            let ours = believed.receipts[version.place()].is_some_and(|receipt| Some(receipt.incarnation) == believed.accepted);
            match (ours, state.object(place, version)) {
                (false, _) => {}
                (true, Object::Good) => Self::prove(state, place, version),
                (true, Object::Absent | Object::Damaged) => Self::lose(state, place, version),
            }
        }
    }

    /// A person accepts who answers now: everything is to be proven again.
    pub(super) fn adopt(&self, state: &mut State, place: usize) -> Option<()> {
        let answer = state.destinations[place].incarnation;
        if state.index.at[place].accepted == Some(answer) {
            return None;
        }
        self.begin_run(state);
        self.lower_receipts(state, place);
        let believed = &mut state.index.at[place];
        (believed.accepted, believed.answered) = (Some(answer), Some(answer));
        (believed.identity_alarm, believed.rolled_back_alarm) = (false, false);
        (believed.component, believed.sealed, believed.announced) = (None, None, None);
        Some(())
    }

    /// A person acknowledges what alarms stand on a destination.
    pub(super) fn acknowledge(&self, state: &mut State, place: usize) -> Option<()> {
        let believed = &mut state.index.at[place];
        if believed.content_alarms.is_empty() && !believed.rolled_back_alarm {
            return None;
        }
        believed.content_alarms = Set::default();
        if std::mem::take(&mut believed.rolled_back_alarm) {
            (believed.sealed, believed.announced) = (None, None);
            self.lower_receipts(state, place);
        }
        state.note(Event::Acknowledged);
        Some(())
    }

    /// Time passes, for every copy of the index.
    pub(super) fn time_passes(state: &mut State) {
        for index in std::iter::once(&mut state.index).chain(&mut state.backup) {
            let receipts = index.at.iter_mut().flat_map(|believed| believed.receipts.iter_mut().flatten());
            receipts.for_each(|receipt| receipt.age = (receipt.age + 1).min(STALE));
            if let Some(intent) = &mut index.intent
                && let IntentState::Held { over } = &mut intent.state
            {
                *over = true;
            }
        }
    }
}
