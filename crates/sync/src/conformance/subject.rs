//! What a kind of destination hands to the suite: itself at a fresh place, and the storage beneath it.

use crate::destination::Destination;
use lastcopy_fs::Content;
use std::collections::HashSet;
use std::sync::Arc;

/// A kind of destination that is put to the test.
pub trait Subject: Sync {
    /// A destination at a place where nothing is yet, and a way to the storage beneath it.
    fn make(&self) -> Result<Box<dyn Made>, String>;

    /// Whether each content is an object of its own, which can be taken away or cut, and which a push stores anew. Where many lie in one
    /// pack, only their bytes can be damaged one by one, and healing that takes an act of a person's: until then a push may claim nothing.
    fn keeps_apart(&self) -> bool {
        true
    }

    /// Lies and failures of its storage that it can bring about by itself while a push goes on.
    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }
}

/// A destination that was made for a test.
pub trait Made: Send + Sync {
    /// The destination, honest.
    fn destination(&self) -> Arc<dyn Destination>;

    /// Every content of which the storage holds the very bytes, read by plain means that share nothing with the destination.
    fn held(&self) -> Result<HashSet<Content>, String>;

    /// Does this to the storage, behind the destination's back.
    fn tamper(&self, tamper: Tamper) -> Result<(), String>;

    /// Brings about one of its kind's faults from now on, or none.
    fn arm(&self, fault: Option<&'static str>) {
        let _no_fault_of_its_own = fault;
    }

    /// How often the fault that was armed last has struck.
    fn struck(&self) -> u64 {
        0
    }
}

/// What can happen to storage behind a destination's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tamper {
    /// An object disappears.
    Drop(Content),
    /// An object loses its last byte.
    Truncate(Content),
    /// A bit of an object changes.
    Flip(Content),
    /// An object becomes empty.
    Empty(Content),
    /// Two objects exchange their bytes.
    Swap(Content, Content),
    /// Everything disappears.
    Wipe,
    /// Everything disappears, and another repository is there.
    Replace,
    /// Nothing; but a copy of everything is kept for [`RollBack`](Self::RollBack).
    Keep,
    /// Everything is as it was kept.
    RollBack,
}

/// A way in which storage can lie or fail while a push goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Its name, by which it is armed.
    pub name: &'static str,
    /// What it takes to go on, once the storage is honest again.
    pub cure: Cure,
}

/// What a person has to do before a push can go on after storage lied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cure {
    /// Nothing: a push repairs all.
    Push,
    /// Acknowledge that the destination went back to an earlier state.
    Acknowledge,
}
