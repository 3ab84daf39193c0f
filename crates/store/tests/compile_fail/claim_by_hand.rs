//! A claim is made by a snapshot, which checks that the destination which answered is its own; never put together.
//! Its companion in `compile_pass` differs in nothing but that.

use lastcopy_store::{Claim, Probed, Result, Snapshot};

fn claim(snapshot: Snapshot, probed: Probed) -> Result<Claim> {
    Ok(Claim { snapshot, probed })
}

fn main() {}
