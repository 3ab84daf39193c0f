//! A snapshot makes one claim.

use lastcopy_store::{Claim, Probed, Result, Snapshot};

fn claims(snapshot: Snapshot, probed: Probed) -> [Result<Claim>; 1] {
    [snapshot.claim(probed.clone())]
}

fn main() {}
