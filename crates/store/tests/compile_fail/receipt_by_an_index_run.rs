//! What a run may record depends on its kind: an index run has proven nothing at any destination.
//! Its companion in `compile_pass` differs in nothing but that.

use lastcopy_store::{Index, Probed, ProvenAt, Result, Run, Sync};

fn record(run: &Run<Index>, _push: &Run<Sync>, probed: &Probed, proofs: &[ProvenAt]) -> Result<()> {
    run.record(probed, proofs).map(drop)
}

fn main() {}
