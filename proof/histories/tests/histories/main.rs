//! Every history that is kept holds; and the oracle is not blind.
#![allow(clippy::unwrap_used, reason = "a test that cannot make its world has failed")]

use lastcopy_histories::{Listener, Quantity, World, parse, regressions, replay, run};
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;

fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap()
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn every_kept_history_holds() {
    let (base, runtime) = (scratch(), runtime());
    let world = World::new(base.path(), runtime.handle().clone()).unwrap();
    let kept = regressions(&Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")).unwrap();
    assert!(kept.len() >= 12, "histories are missing: {}", kept.len());
    for (path, ops) in kept {
        assert_eq!(replay(&world, &ops).unwrap(), None, "{}", path.display());
    }
}

#[test]
fn a_few_histories_hold_whatever_the_seed() {
    let (base, runtime) = (scratch(), runtime());
    let quantity = Quantity { histories: 30, seed: 7, first: 0, threads: 2, enough: 1 };
    let ran = run(
        base.path(),
        quantity,
        runtime.handle(),
        Listener { done: &|_| {}, stuck: &|number| panic!("history {number} does not end") },
    )
    .unwrap();
    assert_eq!(ran.histories, 30);
    assert!(ran.found.is_empty(), "{:?}", ran.found);
    assert!(ran.reached.contains_key("a file was offloaded"), "{:?}", ran.reached);
}

/// A file that goes, an object that goes, a file that changes, one that appears, one outside that is touched: each behind the back of
/// ledger and tool, and each is told.
#[test]
fn the_oracle_sees_what_nobody_did() {
    let (base, runtime) = (scratch(), runtime());
    let world = World::new(base.path(), runtime.handle().clone()).unwrap();
    let live = base.path().join("live");
    let begun = "write photos a.txt 1\nwrite photos b.txt 2\nindex photos no\nsync photos vault\nsync photos cloud";
    let objects = |place: &str| {
        let fans = std::fs::read_dir(live.join("places").join(place).join("objects")).unwrap();
        fans.flat_map(|fan| std::fs::read_dir(fan.unwrap().path()).unwrap()).map(|entry| entry.unwrap().path()).next().unwrap()
    };
    type Deed<'a> = &'a dyn Fn();
    let deeds: [(Deed<'_>, &str); 6] = [
        (&|| std::fs::remove_file(live.join("volumes/photos/a.txt")).unwrap(), "is gone: nothing that may delete was begun"),
        (&|| std::fs::write(live.join("volumes/photos/a.txt"), "other bytes").unwrap(), "holds other bytes"),
        (&|| std::fs::write(live.join("volumes/photos/new"), "new").unwrap(), "no person ever put it there"),
        (&|| std::fs::remove_file(objects("vault")).unwrap(), "nothing had befallen it"),
        (&|| std::fs::write(base.path().join("outside/a.txt"), "other").unwrap(), "outside of the volumes was touched"),
        (
            &|| {
                let aside = live.join("volumes/photos/.lastcopy/offload/999");
                std::fs::create_dir_all(&aside).unwrap();
                std::fs::rename(live.join("volumes/photos/a.txt"), aside.join("a.txt")).unwrap();
            },
            "lies aside",
        ),
    ];
    for (deed, expected) in deeds {
        assert_eq!(replay(&world, &parse(begun).unwrap()).unwrap(), None);
        deed();
        // A command that looks at nothing of this: only the oracle can tell.
        let index = parse("audit photos no").unwrap();
        let found = world.step(&index[0], Vec::new()).unwrap();
        if expected == "lies aside" {
            assert_eq!(found, None, "a file that lies aside is not lost");
        } else {
            assert!(found.as_ref().is_some_and(|found| found.contains(expected)), "{expected}: {found:?}");
        }
    }
}
