//! The vector advances to a claim.

use lastcopy_store::{Advance, Outcome, Probed, Result, Run, Snapshot, Sync};

fn finish(run: Run<Sync>, snapshot: Snapshot, probed: Probed) -> Result<Advance> {
    run.finish_sync(snapshot.claim(probed)?, None, &Outcome::Success, |_| String::new())
}

fn main() {}
