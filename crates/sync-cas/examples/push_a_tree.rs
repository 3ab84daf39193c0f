//! The libraries without the program: index a tree, push it to a store, and ask what is proven.
//!
//! `cargo run -p lastcopy-sync-cas --example push_a_tree -- DIRECTORY STORE` writes a marker into DIRECTORY, and makes STORE. Without
//! arguments it takes a temporary tree.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use lastcopy_fs::{Cancel, Mounts, NoProgress};
use lastcopy_index::{IndexOptions, index};
use lastcopy_store::{DestinationKind, Outcome, Store, StoreOptions, VolumeClaim, system_clock};
use lastcopy_sync::{Context, Destination, Push, init};
use lastcopy_sync_cas::Cas;
use std::path::PathBuf;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let base = temporary.path().canonicalize()?;
    let given: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let (tree, place) = match given.as_slice() {
        [tree, place] => (tree.canonicalize()?, std::path::absolute(place)?),
        _ => {
            std::fs::create_dir(base.join("tree"))?;
            std::fs::write(base.join("tree/letter.txt"), "bytes that matter")?;
            (base.join("tree"), base.join("store"))
        }
    };
    // An index of its own. A program keeps it; here it goes with the temporary directory.
    let options = StoreOptions { path: base.join("index.db"), node_name: "example".into(), clock: system_clock(), create: true };
    let (store, _) = Store::open(options)?;

    // A volume can only be had with its marker, and a run only if nothing contradicts it.
    let (volume, run) = store.add_volume("tree", &tree, VolumeClaim { take_over: true, id: None })?;
    run.finish(&Outcome::Success, None)?;
    let run = store.begin_index(&volume)?;
    let report = index(run, &IndexOptions::default(), &Cancel::new(), &NoProgress, |report| format!("{report:?}"))?;
    println!("indexed {} files, {} bytes", report.files, report.bytes_hashed);

    // The destination supplies transfer and proof; the order is the same for every kind.
    let runtime = tokio::runtime::Runtime::new()?;
    let context = Context::new(runtime.handle().clone(), Cancel::new(), Arc::new(NoProgress));
    let destination: Arc<dyn Destination> = Arc::new(Cas::local(&place));
    let record = store.register_destination("store", DestinationKind::Cas)?;
    init(&store, &record, destination.as_ref(), &context)?;
    let record = store.destination(record.id)?;
    let push = Push { store: store.clone(), volume: volume.clone(), record, destination, mounts: Mounts::Stay, context };
    let report = push.run(|report| format!("{report:?}"))?;
    println!("{} files proven at {}; the vector moved to {:?}", report.verified, place.display(), report.advance);
    Ok(())
}
