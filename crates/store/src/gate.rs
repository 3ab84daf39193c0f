//! The run gate: which runs contradict each other, as data.

use crate::ids::{DestinationId, VolumeId, text_enum};

text_enum! {
    /// The kinds of destination.
    pub enum DestinationKind {
        /// Append-only content-addressed store.
        Cas = "cas",
        /// A browsable tree at any rclone backend.
        Mirror = "mirror",
        /// A kopia repository.
        Kopia = "kopia",
        /// Another node.
        Peer = "peer",
    }
}

text_enum! {
    /// The kinds of run, as they are recorded.
    pub enum RunKind {
        /// Walks and hashes a volume; also `volume add` and `volume move`.
        Index = "index",
        /// Compares disk and index.
        Audit = "audit",
        /// Pushes a volume to a destination.
        Sync = "sync",
        /// Takes a peer's push.
        Receive = "receive",
        /// Re-checks what a destination holds.
        Verify = "verify",
        /// Brings bytes back; also `offload --undo`.
        Restore = "restore",
        /// Deletes local copies.
        Offload = "offload",
        /// Destination init, reset, adopt and repair, rewind, alarm acknowledgement.
        EvidenceChange = "evidence-change",
    }
}

/// A row or a column of the gate: what a run does, as far as it can contradict another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activity {
    /// See [`RunKind::Index`].
    Index,
    /// See [`RunKind::Audit`].
    Audit,
    /// A push, by the kind of its destination.
    Sync(DestinationKind),
    /// See [`RunKind::Receive`].
    Receive,
    /// See [`RunKind::Verify`].
    Verify,
    /// See [`RunKind::Restore`].
    Restore,
    /// See [`RunKind::Offload`].
    Offload,
    /// See [`RunKind::EvidenceChange`].
    EvidenceChange,
}

/// What two runs must share for the running one to block the one that wants to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nothing: they never contradict each other.
    Never,
    /// The volume.
    Volume,
    /// The destination.
    Destination,
    /// The (volume, destination) pair.
    Pair,
    /// A destination that the offload policy of the other's volume requires or counts.
    Required,
}

impl Activity {
    /// The order of rows and columns of the table.
    pub const ALL: [Self; 11] = [
        Self::Index,
        Self::Audit,
        Self::Sync(DestinationKind::Cas),
        Self::Sync(DestinationKind::Mirror),
        Self::Sync(DestinationKind::Kopia),
        Self::Sync(DestinationKind::Peer),
        Self::Receive,
        Self::Verify,
        Self::Restore,
        Self::Offload,
        Self::EvidenceChange,
    ];

    fn position(self) -> usize {
        match self {
            Self::Index => 0,
            Self::Audit => 1,
            Self::Sync(DestinationKind::Cas) => 2,
            Self::Sync(DestinationKind::Mirror) => 3,
            Self::Sync(DestinationKind::Kopia) => 4,
            Self::Sync(DestinationKind::Peer) => 5,
            Self::Receive => 6,
            Self::Verify => 7,
            Self::Restore => 8,
            Self::Offload => 9,
            Self::EvidenceChange => 10,
        }
    }

    /// How a run of this activity is recorded.
    pub fn kind(self) -> RunKind {
        match self {
            Self::Index => RunKind::Index,
            Self::Audit => RunKind::Audit,
            Self::Sync(_) => RunKind::Sync,
            Self::Receive => RunKind::Receive,
            Self::Verify => RunKind::Verify,
            Self::Restore => RunKind::Restore,
            Self::Offload => RunKind::Offload,
            Self::EvidenceChange => RunKind::EvidenceChange,
        }
    }

    /// The activity of a recorded run.
    pub(crate) fn recorded(kind: RunKind, destination: Option<DestinationKind>) -> Option<Self> {
        Some(match kind {
            RunKind::Index => Self::Index,
            RunKind::Audit => Self::Audit,
            RunKind::Sync => Self::Sync(destination?),
            RunKind::Receive => Self::Receive,
            RunKind::Verify => Self::Verify,
            RunKind::Restore => Self::Restore,
            RunKind::Offload => Self::Offload,
            RunKind::EvidenceChange => Self::EvidenceChange,
        })
    }

    /// The label in the printed table.
    pub fn label(self) -> String {
        match self {
            Self::Sync(kind) => format!("sync {kind}"),
            Self::EvidenceChange => "evidence change".into(),
            other => other.kind().name().into(),
        }
    }
}

const N: Scope = Scope::Never;
const V: Scope = Scope::Volume;
const D: Scope = Scope::Destination;
const P: Scope = Scope::Pair;
const R: Scope = Scope::Required;

/// Rows: the run that wants to begin. Columns: a run already running. Order as in [`Activity::ALL`].
///
/// A change to a cell is a change to a reviewed file: the snapshot test prints the whole table.
const TABLE: [[Scope; 11]; 11] = [
    // index audit cas mirror kopia peer receive verify restore offload evidence
    [V, V, V, N, N, N, V, N, V, V, N], // index
    [V, V, V, N, N, N, V, N, V, V, N], // audit
    [V, V, P, N, N, N, V, P, V, V, D], // sync cas
    [N, N, N, P, N, N, N, P, V, V, D], // sync mirror
    [N, N, N, N, P, N, N, P, V, V, D], // sync kopia
    [N, N, N, N, N, P, N, P, V, V, D], // sync peer
    [V, V, V, N, N, N, V, N, V, V, N], // receive
    [N, N, P, P, P, P, N, D, N, R, D], // verify
    [V, V, V, V, V, V, V, N, V, V, N], // restore
    [V, V, V, V, V, V, V, R, V, V, R], // offload
    [N, N, D, D, D, D, N, D, N, R, D], // evidence change
];

/// What `begin` and `running` must share for the running one to block.
pub fn gate(begin: Activity, running: Activity) -> Scope {
    TABLE[begin.position()][running.position()]
}

/// What a run touches, as far as the gate looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Touches {
    pub(crate) activity: Activity,
    pub(crate) volume: Option<VolumeId>,
    pub(crate) destination: Option<DestinationId>,
    /// For an offload: the destinations that the volume's policy requires or counts.
    pub(crate) requires: Vec<DestinationId>,
}

impl Touches {
    /// Whether a running run blocks this one.
    pub(crate) fn blocked_by(&self, running: &Self) -> bool {
        let same = |left: Option<i64>, right: Option<i64>| left.is_some() && left == right;
        let volume = same(self.volume.map(VolumeId::get), running.volume.map(VolumeId::get));
        let destination = same(self.destination.map(DestinationId::get), running.destination.map(DestinationId::get));
        match gate(self.activity, running.activity) {
            Scope::Never => false,
            Scope::Volume => volume,
            Scope::Destination => destination,
            // A verify that names no volume touches every volume of its destination.
            Scope::Pair => destination && (volume || self.volume.is_none() || running.volume.is_none()),
            Scope::Required => {
                let required = |offload: &Self, other: &Self| other.destination.is_some_and(|id| offload.requires.contains(&id));
                required(self, running) || required(running, self)
            }
        }
    }
}

/// The table as text, for the snapshot test and `cargo xtask gate`.
pub fn run_gate_table() -> String {
    let cell = |scope: Scope| match scope {
        Scope::Never => "·",
        Scope::Volume => "V",
        Scope::Destination => "D",
        Scope::Pair => "P",
        Scope::Required => "R",
    };
    let mut text = String::from("| begin \\ running |");
    for column in Activity::ALL {
        text.push_str(&format!(" {} |", column.label()));
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(Activity::ALL.len()));
    for row in Activity::ALL {
        text.push_str(&format!("\n| {} |", row.label()));
        for column in Activity::ALL {
            text.push_str(&format!(" {} |", cell(gate(row, column))));
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        insta::assert_snapshot!(run_gate_table(), @r"
        | begin \ running | index | audit | sync cas | sync mirror | sync kopia | sync peer | receive | verify | restore | offload | evidence change |
        |---|---|---|---|---|---|---|---|---|---|---|---|
        | index | V | V | V | · | · | · | V | · | V | V | · |
        | audit | V | V | V | · | · | · | V | · | V | V | · |
        | sync cas | V | V | P | · | · | · | V | P | V | V | D |
        | sync mirror | · | · | · | P | · | · | · | P | V | V | D |
        | sync kopia | · | · | · | · | P | · | · | P | V | V | D |
        | sync peer | · | · | · | · | · | P | · | P | V | V | D |
        | receive | V | V | V | · | · | · | V | · | V | V | · |
        | verify | · | · | P | P | P | P | · | D | · | R | D |
        | restore | V | V | V | V | V | V | V | · | V | V | · |
        | offload | V | V | V | V | V | V | V | R | V | V | R |
        | evidence change | · | · | D | D | D | D | · | D | · | R | D |
        ");
    }

    /// A robustness audit found the gate of an earlier system one-sided: an index could begin during an offload, though not the
    /// other way round. Every contradiction must hold from both sides.
    #[test]
    fn contradictions_are_refused_both_ways() {
        for left in Activity::ALL {
            for right in Activity::ALL {
                assert_eq!(gate(left, right), gate(right, left), "{} against {}", left.label(), right.label());
            }
        }
    }

    #[test]
    fn positions_match_the_order() {
        for (index, activity) in Activity::ALL.into_iter().enumerate() {
            assert_eq!(activity.position(), index);
        }
    }
}
