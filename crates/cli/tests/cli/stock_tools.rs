//! Everything back without lastcopy: a shell script of a few dozen lines, `zstd`, `jq` and `b3sum`, and the trees are compared.

use crate::home::{Home, Setup};
use crate::ran::Json;
use crate::skip::{missing_program, skipped};
use crate::tree::{Tree, assert_same_tree, flip_bit, noise, read_tree, set_mode};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What the script needs besides a shell.
const PROGRAMS: [&str; 3] = ["zstd", "jq", "b3sum"];

/// Runs the script of the documentation.
fn recover(from: &Path, to: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/recover.sh");
    Command::new("sh").arg(script).arg(from).arg(to).stdin(Stdio::null()).output().unwrap()
}

/// Runs it, and returns what it brought back of one volume.
#[track_caller]
fn recovered(home: &Home, volume: &str) -> Tree {
    let target = home.path("target");
    if target.exists() {
        fs::remove_dir_all(&target).unwrap();
    }
    let output = recover(&home.destination("usb"), &target);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the script failed: {said}");
    assert_eq!(said, "");
    for entry in fs::read_dir(&target).unwrap() {
        assert!(entry.unwrap().path().is_dir(), "the script left something behind");
    }
    read_tree(&target.join(volume))
}

fn offload(home: &Home, path: &str) -> Json {
    home.json(&["offload", "photos", path, "--yes"]).expect(0)
}

/// Odd names, modes and times; files that were changed, deleted and offloaded since; two volumes; two lives of the index. After each
/// push, the destination alone gives back what was there, and what had been offloaded.
#[test]
fn a_shell_brings_everything_back() {
    if let Some(program) = missing_program(&PROGRAMS) {
        return skipped("stock_tools::a_shell_brings_everything_back", &format!("{program} is not installed"));
    }
    let setup = Setup::usual().volume("music", &["usb"]).policy("music", "require = [\"usb\"]");
    let home = Home::new(&setup);
    home.write_odd_tree("photos");
    home.write("music", "song", b"la la la");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    let mut expected = home.tree("photos");
    assert_same_tree(&recovered(&home, "photos"), &expected);
    assert_same_tree(&read_tree(&home.path("target/music")), &home.tree("music"));

    // Deleted files are not brought back, changed ones as they are now; a directory where a file was.
    let root = home.volume("photos");
    fs::remove_file(root.join("twin 1")).unwrap();
    fs::remove_file(root.join("empty")).unwrap();
    home.write("photos", "empty/no more", b"");
    home.write("photos", "large", &noise("larger", 310_000));
    set_mode(&root.join("of 2100"), 0o640);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    expected = home.tree("photos");

    // What was offloaded comes back, whether or not a push said so meanwhile.
    offload(&home, "in a directory");
    home.write("photos", "new", b"new");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    expected.extend(home.tree("photos"));
    offload(&home, "large");
    assert_same_tree(&recovered(&home, "photos"), &expected);

    // Back home again, and changed: the newer word counts.
    home.run(&["restore", "photos"]).expect(0);
    home.write("photos", "large", &noise("large again", 290_000));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    expected = home.tree("photos");
    assert_same_tree(&recovered(&home, "photos"), &expected);

    // The index is put back as it was at first: its new life has a head of its own, and what was offloaded since only the old one knows.
    home.write("photos", "since", b"since");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    expected = home.tree("photos");
    offload(&home, "since");
    home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_same_tree(&recovered(&home, "photos"), &expected);
    let volumes = home.destination("usb").join("volumes");
    let heads = read_tree(&volumes).into_keys().filter(|path| path.ends_with("head.json")).count();
    assert!(heads > 2, "there was no second epoch to choose from");
}

/// Two lives of an index may differ in what a name is. The script ended at the first such name.
#[test]
fn what_is_a_file_and_a_directory_stops_nothing() {
    if let Some(program) = missing_program(&PROGRAMS) {
        return skipped("stock_tools::what_is_a_file_and_a_directory_stops_nothing", &format!("{program} is not installed"));
    }
    let home = Home::new(&Setup::usual());
    let push = || {
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
    };
    home.write("photos", "other", b"other");
    push();
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    for name in ["a", "b", "c", "d"] {
        home.write("photos", name, name.as_bytes());
    }
    push();
    for name in ["a", "b", "c", "d"] {
        offload(&home, name);
    }
    home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    for name in ["a/in", "b/in", "c/in", "d/in"] {
        home.write("photos", name, name.as_bytes());
    }
    push();
    let target = home.path("target");
    let output = recover(&home.destination("usb"), &target);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let found = read_tree(&target.join("photos"));
    assert!(found.contains_key(Path::new("other")), "{said}");
    for name in ["a", "b", "c", "d"] {
        let inside = Path::new(name).join("in");
        assert_ne!(
            found.get(Path::new(name)).is_some_and(|entry| entry.bytes == name.as_bytes()),
            found.contains_key(&inside),
            "{name}"
        );
        assert!(said.contains(&format!("photos/{name}")), "{said}");
    }
    assert!(!target.join(".part").exists());
}

/// The only segment that says something of a volume, or the newest of several.
fn newest_segment(home: &Home) -> PathBuf {
    let volumes = home.destination("usb").join("volumes");
    let mut segments: Vec<_> = read_tree(&volumes).into_keys().filter(|path| path.to_string_lossy().ends_with(".zst")).collect();
    segments.sort();
    volumes.join(segments.pop().unwrap())
}

#[test]
fn damage_is_named_and_the_rest_comes_back() {
    if let Some(program) = missing_program(&PROGRAMS) {
        return skipped("stock_tools::damage_is_named_and_the_rest_comes_back", &format!("{program} is not installed"));
    }
    let home = Home::new(&Setup::usual());
    for name in ["good", "damaged", "missing", "in the way"] {
        home.write("photos", name, &noise(name, 2000));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    flip_bit(&home.object("usb", &noise("damaged", 2000)));
    fs::remove_file(home.object("usb", &noise("missing", 2000))).unwrap();
    let target = home.path("target");
    let output = recover(&home.destination("usb"), &target);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("photos/damaged: its object") && said.contains("photos/missing: its object"), "{said}");
    let mut expected = home.tree("photos");
    expected.retain(|path, _| path.ends_with("good") || path.ends_with("in the way"));
    assert_same_tree(&read_tree(&target.join("photos")), &expected);

    // A second time into the same place, nothing is touched.
    let other = home.path("other");
    fs::create_dir_all(other.join("photos")).unwrap();
    fs::write(other.join("photos/in the way"), b"mine").unwrap();
    let output = recover(&home.destination("usb"), &other);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read(other.join("photos/in the way")).unwrap(), b"mine");

    // A segment that is not what its head says is not believed.
    flip_bit(&newest_segment(&home));
    let third = home.path("third");
    let output = recover(&home.destination("usb"), &third);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(".jsonl.zst: damaged or missing"));
    assert!(read_tree(&third).is_empty());

    // Nor is a head that is none.
    let volumes = home.destination("usb").join("volumes");
    let head = read_tree(&volumes).into_keys().find(|path| path.ends_with("head.json")).unwrap();
    fs::write(volumes.join(head), "{").unwrap();
    let output = recover(&home.destination("usb"), &third);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("head.json: damaged"));
}

#[test]
fn what_is_no_destination_is_refused() {
    if let Some(program) = missing_program(&PROGRAMS) {
        return skipped("stock_tools::what_is_no_destination_is_refused", &format!("{program} is not installed"));
    }
    let home = Home::empty();
    let mirror = home.path("mirror");
    fs::create_dir(&mirror).unwrap();
    fs::write(mirror.join(".lastcopy-destination.json"), r#"{"format": 1, "kind": "mirror"}"#).unwrap();
    for place in [home.path("nothing"), home.path("volumes"), mirror] {
        let output = recover(&place, &home.path("target"));
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("no destination of kind cas"), "{output:?}");
        assert!(!home.path("target").exists());
    }
}
