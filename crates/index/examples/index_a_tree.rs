//! Indexes a directory twice, into an index that goes away, and says what each walk found:
//!
//! ```text
//! cargo run -p lastcopy-index --example index_a_tree -- DIRECTORY
//! ```
//!
//! A marker is written into the directory. Without one, a temporary tree is taken, and a file in it edited between the walks.

use lastcopy_fs::{Cancel, NoProgress};
use lastcopy_index::{IndexOptions, index};
use lastcopy_store::{Outcome, Store, StoreOptions, VolumeClaim, system_clock};
use std::io::Write;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let temporary = tempfile::tempdir()?;
    let base = temporary.path().canonicalize()?;
    let given = std::env::args_os().nth(1);
    let tree = match &given {
        Some(directory) => std::fs::canonicalize(directory)?,
        None => {
            std::fs::create_dir(base.join("tree"))?;
            std::fs::write(base.join("tree/letter.txt"), "a draft")?;
            std::fs::write(base.join("tree/photo.jpg"), "the only one")?;
            base.join("tree")
        }
    };
    let options = StoreOptions { path: base.join("index.db"), node_name: "example".into(), clock: system_clock(), create: true };
    let (store, _) = Store::open(options)?;
    let (volume, run) = store.add_volume("tree", &tree, VolumeClaim { take_over: true, id: None })?;
    run.finish(&Outcome::Success, None)?;
    let mut out = std::io::stdout().lock();
    for walk in ["first", "second"] {
        let run = store.begin_index(&volume)?;
        let report = index(run, &IndexOptions::default(), &Cancel::new(), &NoProgress, |report| format!("{report:?}"))?;
        writeln!(
            out,
            "{walk} walk: {} files; {} new, {} changed, {} as before; {} bytes hashed",
            report.files, report.added, report.changed, report.unchanged, report.bytes_hashed
        )?;
        if given.is_none() {
            std::fs::write(tree.join("letter.txt"), "the letter")?;
        }
    }
    Ok(())
}
