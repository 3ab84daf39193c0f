//! A file is pushed, deleted by mistake, and brought back from the destination:
//!
//! ```text
//! cargo run -p lastcopy-restore --example bring_back
//! ```

use lastcopy_fs::{Cancel, Mounts, NoProgress, RelPath};
use lastcopy_index::{IndexOptions, index};
use lastcopy_restore::{Restoring, Target, wanted_below};
use lastcopy_store::{DestinationKind, Outcome, Store, StoreOptions, VolumeClaim, system_clock};
use lastcopy_sync::{Context, Destination, Push, init};
use lastcopy_sync_cas::Cas;
use std::io::Write;
use std::sync::Arc;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let base = temporary.path().canonicalize()?;
    std::fs::create_dir(base.join("letters"))?;
    std::fs::write(base.join("letters/to-ada.txt"), "bytes that matter")?;
    std::fs::write(base.join("letters/to-bob.txt"), "these stay")?;

    let options = StoreOptions { path: base.join("index.db"), node_name: "example".into(), clock: system_clock(), create: true };
    let (store, _) = Store::open(options)?;
    let (volume, run) = store.add_volume("letters", &base.join("letters"), VolumeClaim::default())?;
    run.finish(&Outcome::Success, None)?;
    let look = || -> Result<_, Box<dyn std::error::Error>> {
        let run = store.begin_index(&volume)?;
        Ok(index(run, &IndexOptions::default(), &Cancel::new(), &NoProgress, |report| format!("{report:?}"))?)
    };
    look()?;

    let runtime = tokio::runtime::Runtime::new()?;
    let context = Context::new(runtime.handle().clone(), Cancel::new(), Arc::new(NoProgress));
    let shelf: Arc<dyn Destination> = Arc::new(Cas::local(&base.join("shelf")));
    let record = store.register_destination("shelf", DestinationKind::Cas)?;
    init(&store, &record, shelf.as_ref(), &context)?;
    let record = store.destination(record.id)?;
    let (store_of_push, mounts) = (store.clone(), Mounts::Stay);
    let (destination, record_of_push) = (Arc::clone(&shelf), record.clone());
    let push = Push {
        store: store_of_push,
        volume: volume.clone(),
        record: record_of_push,
        destination,
        mounts,
        context: context.clone(),
    };
    push.run(|report| format!("{report:?}"))?;

    // The mistake; the next walk notices that the file is gone.
    std::fs::remove_file(base.join("letters/to-ada.txt"))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "missing: {}", look()?.missing)?;

    // Missing files come back where they are named; of directories, only what was offloaded.
    let wanted = wanted_below(&store, volume.id(), &[RelPath::new(b"to-ada.txt")?], false)?;
    let run = store.begin_restore(Some(&volume))?;
    let target = Target::Home(volume.clone());
    let restoring = Restoring { store: &store, target, in_place: false, sources: vec![(record, shelf)], context };
    let report = restoring.run(run, &wanted, |report| format!("{report:?}"))?;
    writeln!(out, "restored: {} from {:?}", report.restored, report.from)?;
    writeln!(out, "{}", std::fs::read_to_string(base.join("letters/to-ada.txt"))?)?;
    Ok(())
}
