//! Crashes and errors over the built program: what is left on the disk is looked at by somebody who knows nothing of the program's code.
//!
//! It owns the workloads, the places in which they run, and the oracle. The oracle opens files and destinations itself and hashes what it
//! reads; it shares no code with what decides about deletion, and asks the program nothing.
//!
//! A workload is prepared once, then copied to the same path before each point, because an index names paths. A point is one run of the
//! workload's command that is killed before its n-th call, or whose n-th call fails. Then:
//!
//! 1. the [oracle](oracle::Expected::check) looks at what is left, before anything had a chance to repair it;
//! 2. the next ordinary commands run, as a person would run them, and must end as expected;
//! 3. the oracle looks again, and the workload's [goal](workload::Goal) must be reached;
//! 4. in the long form of the crashes always, else at some points, everything is pushed, verified, restored and compared.
//!
//! The long forms try every call. The quick ones try every call of the one-file offload and a part of the others, evenly spread, as their
//! first line says. Both fail if fewer points were tried, or fewer calls killed or made to fail, than an undisturbed run lets expect. A
//! finding names the workload, the call, and the arguments with which that single point is tried again and every call of it shown.
//!
//! A kill shows what a crash of the program leaves; it cannot show what a power cut does to what was never synced.

pub mod crashes;
pub mod edits;
pub mod errors;
pub mod home;
pub mod oracle;
pub mod place;
pub mod repository;
pub mod sweep;
pub mod workload;

use std::io;
use std::path::PathBuf;

/// Why something could not be tried at all. What the program does wrong is no such error: it is a [finding](sweep::Finding).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// Our own files.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What could not be looked at.
    #[error(transparent)]
    Scene(#[from] lastcopy_scene::SceneError),
    /// The program could not be stepped.
    #[error(transparent)]
    Step(#[from] lastcopy_stepper::StepError),
    /// A workload could not be prepared.
    #[error("{0}")]
    Preparation(String),
}

impl ProofError {
    pub(crate) fn at(path: &std::path::Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// What can go wrong before anything is proven.
pub type Result<T> = std::result::Result<T, ProofError>;
