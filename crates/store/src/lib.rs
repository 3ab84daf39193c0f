//! The index of lastcopy: what is where, who may run, and what was proven.
//!
//! This crate owns the SQLite database of a node and every rule about it that keeps the promise *no last copy is lost*: volumes as
//! proof handles, the run gate, snapshots and the claims that only they can make, receipts that need a proof, vectors that only
//! claims advance, policies that weaken only on purpose, alarms that latch, and the intents of an offload. It looks at the disk for
//! three things only: its own files, the marker of a volume, and the locks of runs. It never reads or writes a person's file, knows
//! no network and starts no program.
//!
//! It is separate so that those rules can be read, tested and used apart from everything that moves bytes. The types make the wrong
//! order impossible: a [`Run`] is the only way to write, its kind decides what may be written, [`Run::finish`] consumes it, and a
//! [`Claim`] can be built from a [`Snapshot`] only.

mod alarms;
mod backup;
mod checksum;
mod db;
mod destination;
mod error;
mod evidence;
mod files;
mod gate;
mod heads;
mod hooks;
mod ids;
mod offloads;
mod policy;
mod proof;
mod receipts;
mod restores;
mod retention;
mod runs;
mod snapshot;
mod store;
mod survey;
mod vectors;
mod volume;
mod witness;

pub use alarms::{Alarm, AlarmKind};
pub use backup::{check_copy, restore_index};
pub use checksum::{Algorithm, BoundChecksum, Checksum, ParseChecksumError};
pub use destination::{DestinationRecord, IdentityError, Incarnation, Probed};
pub use error::{Result, StoreError};
pub use evidence::{Evidence, FileFacts, ReceiptFacts, Selection};
pub use files::{FileRecord, FileStatus, KnownFile, Observation, Observed, Seen, WalkReader};
pub use gate::{Activity, DestinationKind, RunKind, Scope, gate, run_gate_table};
pub use heads::{Head, HeadVerdict, KnownHeads};
pub use hooks::{HookRecord, HookRun, HookStatus};
pub use ids::{
    AlarmId, ContentId, DestinationId, DirectoryId, EpochId, FileId, HeadId, HookRunId, IntentId, RunId, Timestamp, VolumeId,
};
pub use offloads::{DecideAgain, Intent, IntentState, Leaving, Settled};
pub use policy::{AcceptedPolicy, AtLeast, Confirm, Method, Policy, Weakening};
pub use proof::{Fingerprint, Proof, ProofError, ProofMethod, Proven, ReadBack, RemoteHash};
pub use receipts::{Location, Missed, Moving, ProvenAt, Receipt, ReceiptLevel, VerifyOrder};
pub use restores::{KnownBefore, Recording, Recovered, Restored};
pub use retention::{Retained, RetainedFile};
pub use runs::{
    Audit, BeginError, EvidenceChange, Index, Kind, Offload, Outcome, Restore, Run, RunRecord, RunStatus, Sync, Verify,
};
pub use snapshot::{Advance, Claim, Lacking, Layout, Line, Snapshot, SnapshotFile, Totals};
pub use store::{Clock, NewEpoch, Store, StoreOptions, system_clock};
pub use survey::{Duplicate, PairSurvey, VolumeSurvey};
pub use vectors::{EvidenceEntry, EvidenceEvent, Vector};
pub use volume::{
    DESTINATION_MARKER, IGNORE_FILE, MARKERS, Marker, VOLUME_DIR, Volume, VolumeClaim, VolumeError, VolumeRecord, find_marker,
    foreign,
};
pub use witness::{NamedRun, Witness};
