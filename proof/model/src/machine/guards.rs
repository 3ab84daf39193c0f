//! The guards that a variant of the model goes without, one at a time.

use super::events::Fault;

/// A guard of the shipped protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// Destinations are asked at the moment of deletion.
    AskedNow,
    /// They are asked once the path is empty.
    AskedAfterRename,
    /// Who answers is compared with who was accepted.
    Identity,
    /// The head there is compared with the one remembered here.
    Head,
    /// Each writer has a head of its own.
    OwnHead,
    /// The gate needs a receipt of that very content.
    Receipt,
    /// A receipt needs the stored bytes to be read.
    ReadBack,
    /// What was proven is recorded after asking again who is there.
    AskedAgain,
    /// Evidence ages.
    Age,
    /// An index that was put back begins a new epoch.
    Epoch,
    /// A rollback or a new epoch sends what was proven back to be proven again.
    ProvenAgain,
    /// The decision is made again on live evidence before deletion.
    DecideAgain,
    /// A weaker policy needs a person's word.
    Latch,
    /// The file is hashed, and compared with the index.
    Hash,
    /// A lease is held until the file is gone.
    Lease,
    /// The file is moved aside before it is deleted.
    RenameAside,
    /// What was moved is compared with what was hashed.
    LookAtMoved,
    /// Nothing is deleted while another file is at its path.
    PathIsEmpty,
    /// What is put back replaces nothing.
    NoReplace,
    /// Settling deletes nothing.
    SettleDeletesNothing,
    /// What is gone counts as offloaded only if its deletion had begun.
    DeletionMarker,
    /// An intent of another life of the index means nothing.
    IntentEpoch,
    /// What no intent knows is put back, too.
    StraysReturn,
    /// What was held for a grace is hashed again.
    HashAfterGrace,
}

impl Guard {
    /// All of them.
    pub(crate) const ALL: [Self; 24] = [
        Self::AskedNow,
        Self::AskedAfterRename,
        Self::Identity,
        Self::Head,
        Self::OwnHead,
        Self::Receipt,
        Self::ReadBack,
        Self::AskedAgain,
        Self::Age,
        Self::Epoch,
        Self::ProvenAgain,
        Self::DecideAgain,
        Self::Latch,
        Self::Hash,
        Self::Lease,
        Self::RenameAside,
        Self::LookAtMoved,
        Self::PathIsEmpty,
        Self::NoReplace,
        Self::SettleDeletesNothing,
        Self::DeletionMarker,
        Self::IntentEpoch,
        Self::StraysReturn,
        Self::HashAfterGrace,
    ];

    /// What the variant without it does.
    pub(crate) fn without(self) -> &'static str {
        match self {
            Self::AskedNow => "deletes on cached evidence, asking nobody",
            Self::AskedAfterRename => "asks the destinations before the file is moved aside",
            Self::Identity => "never looks who answers",
            Self::Head => "never looks at the heads of destinations",
            Self::OwnHead => "takes a head of any node for a sign that nothing went back",
            Self::Receipt => "opens the gate on vectors alone",
            Self::ReadBack => "takes what was sent for stored",
            Self::AskedAgain => "records what it proved without asking who is there by then",
            Self::Age => "lets evidence never age",
            Self::Epoch => "goes on with an index that was put back",
            Self::ProvenAgain => "keeps believing in receipts after a rollback and in a new epoch",
            Self::DecideAgain => "does not decide again before it deletes",
            Self::Latch => "offloads under a weaker policy at once",
            Self::Hash => "does not hash the file",
            Self::Lease => "takes no lease",
            Self::RenameAside => "deletes the file where it is",
            Self::LookAtMoved => "does not look at what it moved aside",
            Self::PathIsEmpty => "deletes though another file is at the path by now",
            Self::NoReplace => "puts back over what is there",
            Self::SettleDeletesNothing => "finishes, after a crash, what had begun",
            Self::DeletionMarker => "takes whatever is gone for offloaded",
            Self::IntentEpoch => "believes in intents of an older life of the index",
            Self::StraysReturn => "settles only what the index knows",
            Self::HashAfterGrace => "does not hash again after a grace",
        }
    }

    /// The faults that it is there for. The variant without it is given no others; and under these the shipped model is explored to
    /// its end, too.
    pub(crate) fn against(self) -> &'static [Fault] {
        match self {
            Self::AskedNow => &[Fault::LoseObject],
            Self::Identity => &[Fault::Replace],
            Self::Head => &[Fault::TornUpload, Fault::Rollback],
            Self::OwnHead => &[Fault::TornUpload, Fault::Rollback, Fault::OthersPush],
            Self::Receipt => &[Fault::SpoilObject],
            Self::ReadBack => &[Fault::TornUpload],
            Self::AskedAgain => &[Fault::TornUpload, Fault::Exchange],
            Self::Age | Self::DecideAgain => &[Fault::RotObject],
            Self::Epoch => &[Fault::SpoilObject, Fault::RestoreIndex],
            Self::ProvenAgain => &[Fault::TornUpload, Fault::Rollback],
            Self::Latch => &[Fault::WeakenPolicy],
            Self::SettleDeletesNothing => &[Fault::Crash, Fault::LoseObject],
            Self::DeletionMarker => &[Fault::TakeAside],
            Self::IntentEpoch => &[Fault::Crash, Fault::RestoreIndex],
            Self::StraysReturn => &[Fault::LoseIndex],
            Self::AskedAfterRename
            | Self::Hash
            | Self::Lease
            | Self::RenameAside
            | Self::LookAtMoved
            | Self::PathIsEmpty
            | Self::NoReplace
            | Self::HashAfterGrace => &[],
        }
    }
}
