//! A run compares who answers with who was accepted.

use lastcopy_store::{DestinationRecord, IdentityError, Incarnation, Probed, Run, Sync};

fn answer(run: &Run<Sync>, record: &DestinationRecord, found: Incarnation) -> Result<Probed, IdentityError> {
    run.probed(record.id, Some(&found))
}

fn main() {}
