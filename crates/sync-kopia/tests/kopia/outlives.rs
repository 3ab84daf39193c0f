//! A program that outlives whoever started it.

use crate::broken::served_by;
use crate::skip::no_kopia;
use lastcopy_store::{BeginError, Store, StoreOptions, Timestamp};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Set for the process that is to be killed: where its stand-in is.
const PARENT: &str = "LASTCOPY_TEST_PARENT";
const NAME: &str = "outlives::a_child_that_outlives_its_parent_still_blocks";

/// A push is killed, and what its kopia started goes on: nobody pushes to the same place until that ended. Then the run is closed as
/// aborted, and the next one begins.
#[test]
fn a_child_that_outlives_its_parent_still_blocks() {
    if let Some(programs) = std::env::var_os(PARENT) {
        return be_killed(Path::new(&programs));
    }
    if no_kopia(NAME) {
        return;
    }
    let (programs, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for name in ["ready", "alive"] {
        assert!(Command::new("mkfifo").arg(programs.path().join(name)).status().unwrap().success());
    }
    let mut parent = Command::new(std::env::current_exe().unwrap());
    parent.args(["--exact", NAME]).env(PARENT, programs.path()).env("TMPDIR", home.path()).process_group(0);
    let mut parent = parent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Each blocks until the other side is there.
    let mut alive = File::open(programs.path().join("alive")).unwrap();
    let child = fs::read_to_string(programs.path().join("ready")).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();

    let tree = PathBuf::from(fs::read_to_string(programs.path().join("tree")).unwrap());
    let (path, now) = (tree.parent().unwrap().join("index/index.db"), Timestamp(2_000_000_000_000));
    let options = StoreOptions { path, node_name: "here".into(), clock: Arc::new(move || now), create: false };
    let (store, _) = Store::open(options).unwrap();
    let volume = store.open_volume("things", &tree, None).unwrap();
    let record = store.destinations().unwrap().remove(0);
    let blocked = store.begin_sync(&volume, &record).err();
    assert!(matches!(blocked, Some(BeginError::Blocked { .. })), "{blocked:?}");

    assert!(Command::new("kill").args(["-9", child.trim()]).status().unwrap().success());
    assert_eq!(alive.read_to_end(&mut Vec::new()).unwrap(), 0);
    // Its descriptors are closed one after the other.
    let begun = Instant::now();
    while let Err(error) = store.begin_sync(&volume, &record) {
        assert!(begun.elapsed() < Duration::from_secs(30), "{error}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Pushes with a kopia that starts something and waits.
fn be_killed(programs: &Path) {
    let node = served_by(programs);
    fs::write(programs.join("tree"), node.rig.tree().to_str().unwrap()).unwrap();
    fs::write(programs.join("how"), "leaves a child").unwrap();
    panic!("the push came to an end: {:?}", node.push_as_it_goes());
}
