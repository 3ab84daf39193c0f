//! A snapshot that was brought up to date from the live tables after the transfer makes no claim (I2).
//! Its companion in `compile_pass` differs in nothing but that.

use lastcopy_store::{Claim, Probed, Result, RunId, Snapshot};

fn claim(snapshot: Snapshot, newest_now: RunId, probed: Probed) -> Result<Claim> {
    let later = Snapshot { run: newest_now, ..snapshot };
    later.claim(probed)
}

fn main() {}
