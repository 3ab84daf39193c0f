//! A snapshot as it was taken makes a claim.

use lastcopy_store::{Claim, Probed, Result, RunId, Snapshot};

fn claim(snapshot: Snapshot, _newest_now: RunId, probed: Probed) -> Result<Claim> {
    let later = snapshot;
    later.claim(probed)
}

fn main() {}
