//! What a step can have done, for the properties that say what the model reaches.

use super::state::{Set, State};

/// Something that a step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Event {
    /// Deleted a file.
    Unlinked,
    /// Settled, whatever there was to settle.
    Settled,
    /// Settled: the file had never been moved, or was back already.
    SettledInPlace,
    /// Settled: the file was aside, and goes back.
    SettledAside,
    /// Settled: its deletion had begun, and it goes back.
    SettledDeleting,
    /// Settled: it was deleted, and that is recorded now.
    SettledDeleted,
    /// Settled: it is gone, and counts as offloaded though it was not confirmed, or was put back since.
    WronglyOffloaded,
    /// Settled: it is gone, and nobody had begun to delete it.
    SettledMissing,
    /// Settled: something of which no intent was open goes back.
    SettledStray,
    /// Settled: the intent was another life's.
    SettledOtherEpoch,
    /// A file went to the kept files, because its place was taken.
    Kept,
    /// What was moved aside was not what was hashed.
    MovedAnother,
    /// Somebody asked for the file while it was leased.
    LeaseBroken,
    /// A destination said at the moment of deletion that it does not hold the bytes.
    SaidNotHeld,
    /// A destination could not be asked at the moment of deletion.
    SaidNothing,
    /// The decision was another one than at first.
    DecidedOtherwise,
    /// A grace began.
    GraceBegan,
    /// An offload went on after a grace.
    GraceOver,
    /// What was held was not what had been moved aside.
    HeldChanged,
    /// Undone on a person's word.
    Undone,
    /// Brought back from a destination.
    Restored,
    /// A head that had been announced before a crash was found there.
    AnnouncedHead,
    /// A rollback was noticed.
    RollbackNoticed,
    /// A head of another life was noticed.
    ForeignHead,
    /// The files beside the index told that it is an old one.
    OldIndex,
    /// Another identity was noticed.
    OtherIdentity,
    /// A check found bytes missing or different.
    LossNoticed,
    /// What was lost was stored again.
    StoredAgain,
    /// An alarm was acknowledged.
    Acknowledged,
}

/// Something that goes wrong around the protocol. Each kind happens at most once on a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Fault {
    /// The index is put back as it was earlier.
    RestoreIndex,
    /// The index is lost, and a new one is made.
    LoseIndex,
    /// A copy of the index pushes on its own.
    CopyPushes,
    /// A destination loses an object.
    LoseObject,
    /// A destination damages an object, and a verify notices.
    SpoilObject,
    /// A destination damages an object, slowly: evidence ages meanwhile.
    RotObject,
    /// A transfer leaves an object of the right size and other bytes.
    TornUpload,
    /// Another disk is in a destination's place while a push stores and proves; the process dies, and the first disk is back.
    Exchange,
    /// A destination is emptied, and made anew by somebody.
    Wipe,
    /// Another repository is in a destination's place, with the same names and other bytes.
    Replace,
    /// A destination goes back to a snapshot.
    Rollback,
    /// Another node pushes to a destination.
    OthersPush,
    /// The configured policy asks less.
    WeakenPolicy,
    /// Somebody takes the file out of quarantine.
    TakeAside,
    /// The process dies.
    Crash,
    /// It dies while it settles, between moving a file back and recording that.
    CrashInSettle,
}

impl Fault {
    /// All of them.
    pub(crate) const ALL: &'static [Self] = &[
        Self::RestoreIndex,
        Self::LoseIndex,
        Self::CopyPushes,
        Self::LoseObject,
        Self::SpoilObject,
        Self::RotObject,
        Self::TornUpload,
        Self::Exchange,
        Self::Wipe,
        Self::Replace,
        Self::Rollback,
        Self::OthersPush,
        Self::WeakenPolicy,
        Self::TakeAside,
        Self::Crash,
        Self::CrashInSettle,
    ];
}

impl State {
    /// Notes that the step did something.
    pub(crate) fn note(&mut self, event: Event) {
        self.events = self.events.with(event as u8);
    }

    /// Whether the last step did something.
    pub(crate) fn did(&self, event: Event) -> bool {
        self.events.contains(event as u8)
    }

    /// Whether a fault happened on the way here.
    pub(crate) fn had(&self, fault: Fault) -> bool {
        self.faults.contains(fault as u8)
    }

    /// Notes a fault; nothing if it cannot happen again.
    pub(crate) fn fault(&mut self, fault: Fault) -> Option<()> {
        let before: Set = self.faults;
        self.faults = before.with(fault as u8);
        (before != self.faults).then_some(())
    }
}
