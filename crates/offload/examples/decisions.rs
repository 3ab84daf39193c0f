//! Decides on a million files with two required destinations, on one core, and says how many it decided in a second:
//!
//! ```text
//! cargo run --release -p lastcopy-offload --example decisions
//! ```
//!
//! The evidence is in memory, as the offload has it when it decides. One file in a hundred has a receipt that is too old.

use lastcopy_fs::{Content, RelPath, hash_bytes};
use lastcopy_offload::{Known, decide};
use lastcopy_store::{
    Confirm, ContentId, DestinationId, Evidence, FileFacts, FileId, FileRecord, FileStatus, Incarnation, Method, Policy,
    ReceiptFacts, ReceiptLevel, RunId, Seen, Timestamp, VolumeId,
};
use std::hint::black_box;
use std::io::{self, Write};
use std::time::Instant;

/// Files whose evidence is loaded; they are decided on again and again.
const LOADED: i64 = 10_000;
const ROUNDS: u32 = 100;
const NOW: Timestamp = Timestamp(1_000_000_000);
const DAY_MS: i64 = 86_400_000;

fn main() -> io::Result<()> {
    let policy = Policy::requiring(vec![DestinationId::stand_in(1), DestinationId::stand_in(2)], DAY_MS, Confirm::Quick);
    let loaded: Vec<_> =
        (1..=LOADED).map(|number| file(number).map(|facts| (facts, evidence(number)))).collect::<Result<_, _>>()?;
    let known = Known { now: NOW, needed: false, confirmations: &[] };
    let began = Instant::now();
    let mut passed = 0;
    for _ in 0..ROUNDS {
        passed += black_box(&loaded).iter().filter(|(facts, evidence)| decide(facts, evidence, &policy, &known).passes()).count();
    }
    let took = began.elapsed().as_secs_f64();
    let decided = loaded.len() * ROUNDS as usize;
    if passed != decided / 100 * 99 {
        return Err(io::Error::other(format!("{passed} of {decided} passed")));
    }
    writeln!(io::stdout(), "{decided} decisions in {took:.3} s: {:.0} in a second", decided as f64 / took)
}

fn file(number: i64) -> io::Result<FileFacts> {
    let name = format!("photos/2024/IMG_{number:06}.jpg");
    let seen = Seen { size: 4096, mtime_ns: number, ctime_ns: number, inode: number.unsigned_abs(), mode: 0o644, racy: false };
    let file = FileRecord {
        id: FileId::spooled(number),
        volume: VolumeId::stand_in(1),
        path: RelPath::new(name.as_bytes()).map_err(io::Error::other)?,
        content_id: ContentId::spooled(number),
        content: Content { size: 4096, ..hash_bytes(name.as_bytes()) },
        status: FileStatus::Present,
        seen,
        present_since: RunId::from_user(7),
        status_run: RunId::from_user(7),
    };
    Ok(FileFacts { file, relied_on_by: Vec::new(), alarm: false, frozen: false })
}

fn evidence(number: i64) -> Vec<Evidence> {
    let at = |destination: i64| Evidence {
        destination: DestinationId::stand_in(destination),
        accepted: Some(Incarnation::new("0123456789abcdef0123456789abcdef")),
        answered: Some(Incarnation::new("0123456789abcdef0123456789abcdef")),
        destination_alarm: false,
        content_alarm: false,
        component: Some(RunId::from_user(9)),
        receipt: Some(ReceiptFacts {
            level: ReceiptLevel::Verified,
            method: Method::ReadBack,
            verified_at: Some(Timestamp(if number % 100 == 0 { NOW.0 - DAY_MS - 1 } else { NOW.0 - 1000 })),
        }),
    };
    vec![at(1), at(2)]
}
