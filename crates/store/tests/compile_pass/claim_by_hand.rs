//! A snapshot makes its claim.

use lastcopy_store::{Claim, Probed, Result, Snapshot};

fn claim(snapshot: Snapshot, probed: Probed) -> Result<Claim> {
    snapshot.claim(probed)
}

fn main() {}
