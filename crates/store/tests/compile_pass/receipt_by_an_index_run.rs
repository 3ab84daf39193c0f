//! A push records what it proved.

use lastcopy_store::{Index, Probed, ProvenAt, Result, Run, Sync};

fn record(_run: &Run<Index>, push: &Run<Sync>, probed: &Probed, proofs: &[ProvenAt]) -> Result<()> {
    push.record(probed, proofs).map(drop)
}

fn main() {}
