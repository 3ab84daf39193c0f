//! Two runs that contradict each other: the second one is refused, and the audit trail shows that it tried.
//!
//! ```text
//! cargo run -p lastcopy-store --example run_gate
//! ```

use lastcopy_store::{BeginError, Outcome, Store, StoreOptions, VolumeClaim, system_clock};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let base = temporary.path().canonicalize()?;
    std::fs::create_dir(base.join("photos"))?;
    let options = StoreOptions { path: base.join("index.db"), node_name: "example".into(), clock: system_clock(), create: true };
    let (store, _) = Store::open(options)?;
    let (photos, run) = store.add_volume("photos", &base.join("photos"), VolumeClaim::default())?;
    run.finish(&Outcome::Success, None)?;

    let mut out = std::io::stdout().lock();
    let restore = store.begin_restore(Some(&photos))?;
    match store.begin_offload(&photos) {
        Err(BeginError::NoPolicy { volume }) => writeln!(out, "nothing leaves `{volume}` without a policy")?,
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("an offload began without a policy".into()),
    }
    // A volume is not walked while files come back to it.
    match store.begin_index(&photos) {
        Err(BeginError::Blocked { wanted, by, refused }) => {
            writeln!(out, "{} waits for run {} ({}); recorded as run {refused}", wanted.name(), by.id, by.kind)?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err("two runs that contradict each other went on at once".into()),
    }
    restore.finish(&Outcome::Success, None)?;
    store.begin_index(&photos)?.finish(&Outcome::Success, None)?;
    for run in store.runs(10)? {
        writeln!(out, "{} {} {:?}", run.id, run.kind, run.status)?;
    }
    Ok(())
}
