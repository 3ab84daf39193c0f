//! A snapshot makes one claim: it is used up by it.
//! Its companion in `compile_pass` differs in nothing but that.

use lastcopy_store::{Claim, Probed, Result, Snapshot};

fn claims(snapshot: Snapshot, probed: Probed) -> [Result<Claim>; 2] {
    [snapshot.claim(probed.clone()), snapshot.claim(probed)]
}

fn main() {}
