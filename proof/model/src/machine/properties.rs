//! What always holds, and what must be reached somewhere, so that the rest says something.

use super::events::{Event, Fault};
use super::gate::Asks;
use super::guards::Guard;
use super::state::{Answer, PLACES, Phase, State, Status, Terms};
use super::{Bounds, Machine};
use lastcopy_offload::Cause;
use stateright::Property;

/// The promise.
const PROMISE: &str = "nothing is removed that a required destination did not hold when it was asked";

/// Whether so many and such destinations are what a policy asks for. Written down here once more, not asked of the code.
fn satisfies(bounds: &Bounds, terms: Terms, held: impl Fn(u8) -> bool) -> bool {
    let fewer = usize::from(terms == Terms::Weak);
    let held: Vec<bool> = (0_u8..).take(bounds.places).map(held).collect();
    match bounds.asks {
        Asks::All => held[..bounds.places - fewer].iter().all(|held| *held),
        Asks::Some(count) => held.iter().filter(|held| **held).count() >= count - fewer,
    }
}

impl Machine {
    fn only_what_is_held_is_removed(&self, state: &State) -> bool {
        state.removed.is_none_or(|removal| satisfies(&self.bounds, state.allowed, |place| removal.held.contains(place)))
    }

    fn only_what_was_pushed_is_removed(&self, state: &State) -> bool {
        let pushed = |version: u8| move |place: u8| state.destinations[usize::from(place)].ever_held.contains(version);
        state.removed.is_none_or(|removal| satisfies(&self.bounds, state.allowed, pushed(removal.version.0)))
    }

    /// What an offload that began in this state would be refused for.
    fn refuses(&self, state: &State, cause: Cause) -> bool {
        let row = state.index.row.filter(|row| row.status == Status::Present && state.phase == Phase::Idle);
        row.is_some_and(|row| self.would_refuse(&state.index, row, state.configured, &[Answer::NotAsked; PLACES], cause))
    }

    /// What an offload that has asked is refused for.
    fn refuses_after_asking(&self, state: &State, cause: Cause) -> bool {
        match (state.phase, state.index.row) {
            (Phase::Confirmed(open, heard), Some(row)) => self.would_refuse(&state.index, row, open.terms, &heard.answers, cause),
            _ => false,
        }
    }
}

fn unlinked_after(state: &State, fault: Fault) -> bool {
    state.did(Event::Unlinked) && state.had(fault)
}

macro_rules! reached {
    ($($name:literal: $event:ident,)*) => {
        [$(Property::<Machine>::sometimes($name, |_, state: &State| state.did(Event::$event)),)*]
    };
}

macro_rules! unlinked_after {
    ($($name:literal: $fault:ident,)*) => {
        [$(Property::<Machine>::sometimes($name, |_, state: &State| unlinked_after(state, Fault::$fault)),)*]
    };
}

macro_rules! refused {
    ($($name:literal: $refuses:ident $cause:ident,)*) => {
        [$(Property::<Machine>::sometimes($name, |model, state: &State| model.$refuses(state, Cause::$cause)),)*]
    };
}

/// What must never be seen.
fn always() -> [Property<Machine>; 4] {
    [
        Property::always(PROMISE, Machine::only_what_is_held_is_removed),
        Property::always("nothing is removed that was never pushed", Machine::only_what_was_pushed_is_removed),
        Property::always("what counts as offloaded was confirmed", |_, state: &State| !state.did(Event::WronglyOffloaded)),
        Property::always("settling leaves nothing aside that nobody waits for", |_, state: &State| {
            let settled = state.phase == Phase::Idle && state.did(Event::Settled);
            !settled || state.disk.aside.is_none() || state.index.intent.is_some()
        }),
    ]
}

/// Everything that is checked. A variant is only asked what must always hold.
pub(super) fn all(bounds: &Bounds, without: Option<Guard>) -> Vec<Property<Machine>> {
    let mut all: Vec<_> = always().into();
    if without.is_some() {
        return all;
    }
    all.extend(reached! {
        "an offload deletes": Unlinked,
        "settled: never moved, or back already": SettledInPlace,
        "settled: aside, and put back": SettledAside,
        "settled: its deletion had begun, and it is put back": SettledDeleting,
        "settled: deleted, and recorded": SettledDeleted,
        "settled: gone without us": SettledMissing,
        "settled: nothing knows it, and it is put back": SettledStray,
        "settled: by another life of the index": SettledOtherEpoch,
        "its place was taken, and it is kept": Kept,
        "another file was moved aside": MovedAnother,
        "a lease is broken": LeaseBroken,
        "a destination says at the last moment that it does not hold it": SaidNotHeld,
        "a destination says nothing at the last moment": SaidNothing,
        "the decision is another one at the last moment": DecidedOtherwise,
        "a grace begins": GraceBegan,
        "a grace is over": GraceOver,
        "what was held has changed": HeldChanged,
        "undone": Undone,
        "restored": Restored,
        "a head that was announced before a crash is found": AnnouncedHead,
        "a rollback is noticed": RollbackNoticed,
        "a head of another life is noticed": ForeignHead,
        "an old index is noticed": OldIndex,
        "another identity is noticed": OtherIdentity,
        "a loss is noticed": LossNoticed,
        "what was lost is stored again": StoredAgain,
        "an alarm is acknowledged": Acknowledged,
    });
    all.extend(unlinked_after! {
        "an offload deletes after the index was put back": RestoreIndex,
        "an offload deletes after the index was lost": LoseIndex,
        "an offload deletes after a copy of the index pushed": CopyPushes,
        "an offload deletes after an object was lost": LoseObject,
        "an offload deletes after an object was spoilt": SpoilObject,
        "an offload deletes after an object rotted": RotObject,
        "an offload deletes after a torn upload": TornUpload,
        "an offload deletes after a disk was exchanged during a push": Exchange,
        "an offload deletes after a destination was wiped": Wipe,
        "an offload deletes after a destination was replaced": Replace,
        "an offload deletes after a rollback": Rollback,
        "an offload deletes after others pushed": OthersPush,
        "an offload deletes after the policy was weakened": WeakenPolicy,
        "an offload deletes after somebody took a file out of quarantine": TakeAside,
        "an offload deletes after a crash": Crash,
        "an offload deletes after a crash in settling": CrashInSettle,
    });
    all.extend(refused! {
        "refused: identity": refuses Identity,
        "refused: alarm": refuses Alarm,
        "refused: no-evidence": refuses NoEvidence,
        "refused: behind": refuses Behind,
        "refused: no-receipt": refuses NoReceipt,
        "refused: unverified": refuses Unverified,
        "refused: stale": refuses Stale,
        "refused at the last moment: not-held": refuses_after_asking NotHeld,
        "refused at the last moment: unreachable": refuses_after_asking Unreachable,
        "refused at the last moment: alarm": refuses_after_asking Alarm,
    });
    all.push(Property::sometimes("refused: a weaker policy", |model, state: &State| {
        state.phase == Phase::Idle
            && state.index.accepted_policy.is_some_and(|accepted| model.is_weaker(state.configured, accepted))
    }));
    if bounds.asks == Asks::All {
        all.push(Property::sometimes("two contents are offloaded, one after the other", |_, state: &State| {
            state.did(Event::Unlinked) && state.confirmed.len() > 1
        }));
    }
    all
}
