//! A model of the protocol by which a local copy goes: every order of steps, edits, crashes and faults, within bounds.
//!
//! Three models are explored to their ends. One node with a file, an index and destinations; two nodes that count
//! on each other; and evidence that travels between nodes. Every decision in them is the shipped one: [`lastcopy_offload::decide`] on
//! facts and evidence that are made of the model's state, [`lastcopy_store::KnownHeads::judge`] on heads, and
//! [`lastcopy_store::Policy::weaker_than`] on policies. What must always hold is written down a second time, and asks none of them: it
//! looks at what destinations really hold. A variant of a model is the same without one guard; each must be found wrong, and the
//! situations that the properties are about must all be reached, so that nothing passes because nothing happens.
//!
//! # What is left out of one node, and why that is safe
//!
//! - *One path, one volume.* Files share no state in the protocol but transactions and syncs; what a batch of many does is put to the
//!   real code by crash sweeps and histories. Paths that become directories or links are theirs, too.
//! - *Contents are numbers, and hashes never collide.* All contents have one size, no edit moves a modification time that the protocol
//!   could see, so nothing is found by size or time: that is worse than any real file.
//! - *Runs are atomic but for the push and the offload.* An index, verify, restore or settle is one step; the run gate keeps others of
//!   this node apart from them, and is a table with a test of its own. A crash in settling is a step of its own, because what it leaves is
//!   looked at again. Index runs during a push (which the gate allows for some kinds) do not occur: what a claim may claim is the
//!   store's, and a vector alone opens no gate.
//! - *Destinations are asked in one step*, and hold or do not hold then: what they lose later, nobody can know.
//! - *Durable is durable.* Every rename and transaction survives a crash; that it really does is the order audit's and the power cuts'.
//! - *Time has three ages*: new, old, stale. The clock goes forward. A silent damage of an object either is seen by a verify, or takes
//!   longer than evidence lasts: `quick`, which all models ask with, promises no more (`full` reads every byte).
//! - *A rollback takes back a sealed push.* One that goes back no farther than the last head takes nothing away by which it could be
//!   seen; where it makes objects disappear, asking for them finds that; where it brings back an object of the same size and other
//!   bytes that a push had replaced since, only `full` does. The same holds for one in the middle of a push.
//! - *Runs are numbered only where they can make something present.* Others would make the witnesses beside the index know more, never
//!   less. That an index is behind is known by comparing it with its copy, as the counters of the real witnesses do.
//! - *One head per destination is remembered, the newest.* Heads of other nodes lie elsewhere, and are one bit.
//! - *Mirrors and shares*: a destination that is the volume itself answers for whatever is at the path, by its size.
//! - *Other locks of the file* (`conflict`, `needed`, `in-use`, `filesystem`) are not modelled but for the lease: they only stop. The
//!   weaker protocol, for file systems without leases, is not: it is for people who allowed it.
//!
//! # What is left out of two nodes
//!
//! The steps of the removal: from its decision to the end, a node that deletes is in one state. Messages are never taken away once they
//! were sent, so they come late, twice, in any order, or never. The evidence of each node about the other is complete, so only what
//! the nodes say to each other counts. That a node that has asked another one gives it nothing is left out of what is explored by
//! itself, so that the other guards have to carry the weight; the long form explores it, too.
//!
//! # What is left out of evidence that travels
//!
//! Everything but one content at one destination under `offline`, the only confirmation under which relayed evidence counts. What
//! another node withdrew is believed until the first node hears of it; that is what `offline` means.

mod check;
mod machine;
mod peers;
mod relay;

pub use check::{Report, Size, check};
