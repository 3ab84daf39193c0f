//! Mirrors, driven as a person would: the whole story, the worst day, and configurations that could never work.

use crate::home::Home;
use crate::mounts::{Mounted, NO_MOUNTS};
use crate::ran::wait_for;
use crate::recovery::forge_in;
use crate::skip::{missing_program, skipped};
use crate::tree::{assert_same_tree, read_tree};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A volume that is pushed to a mirror; everything that starts rclone is counted.
fn mirrored(lines: &str) -> Home {
    let home = Home::empty();
    let program = home.path("counted");
    let count = home.path("count");
    let script = format!("#!/bin/sh\necho $$ >> '{}'\nexec rclone \"$@\"\n", count.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(home.volume("photos")).unwrap();
    let (volume, mirror) = (home.volume("photos"), home.destination("box"));
    home.write_config(&format!(
        "[volumes.photos]\npath = {volume:?}\nsync_to = [\"box\"]\n[volumes.photos.offload]\nrequire = [\"box\"]\n\
         [destinations.box]\nkind = \"mirror\"\nremote = {mirror:?}\nprogram = {program:?}\n{lines}\n"
    ));
    home
}

/// A volume of these files, pushed to two mirrors, `one` and `two`.
fn twice_mirrored(files: &[(&str, &str)]) -> Home {
    let home = Home::empty();
    fs::create_dir_all(home.volume("photos")).unwrap();
    let volume = home.volume("photos");
    let section = |name: &str| format!("[destinations.{name}]\nkind = \"mirror\"\nremote = {:?}\n", home.destination(name));
    let sections = section("one") + &section("two");
    home.write_config(&format!("[volumes.photos]\npath = {volume:?}\nsync_to = [\"one\", \"two\"]\n{sections}"));
    for (path, bytes) in files {
        home.write("photos", path, bytes.as_bytes());
    }
    home.run(&["volume", "add", "photos", volume.to_str().unwrap()]).expect(0);
    for name in ["one", "two"] {
        home.run(&["destination", "init", name]).expect(0);
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

fn starts(home: &Home) -> usize {
    fs::read_to_string(home.path("count")).map_or(0, |text| text.lines().count())
}

fn no_rclone(test: &str) -> bool {
    let missing = missing_program(&["rclone"]).is_some();
    if missing {
        skipped(test, "rclone is not installed");
    }
    missing
}

/// A file in a volume that is indexed, and a mirror that holds nothing yet.
fn with_one_file() -> Home {
    let home = mirrored("");
    home.write("photos", "a", b"bytes");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    home
}

/// A disk that is mounted in a mirror is not synced with it, and no marker tells which one it is: what lies there was proven by reading it from
/// memory.
#[test]
fn a_disk_below_the_mirror_is_none_of_it() {
    const TEST: &str = "mirror::a_disk_below_the_mirror_is_none_of_it";
    if no_rclone(TEST) {
        return;
    }
    let home = with_one_file();
    let Some(_mounted) = Mounted::small(&home.destination("box").join("photos")) else {
        return skipped(TEST, NO_MOUNTS);
    };
    let synced = home.json(&["sync"]).expect(1);
    assert_eq!((synced.count("verified"), synced.count("failed")), (0, 1), "{}", synced.ran);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
}

/// Nothing counts on it, but what somebody moved to a larger disk below the mirror is still there, and its bytes decide.
#[test]
fn what_was_moved_to_a_disk_below_the_mirror_comes_back() {
    const TEST: &str = "mirror::what_was_moved_to_a_disk_below_the_mirror_comes_back";
    if no_rclone(TEST) {
        return;
    }
    let home = with_one_file();
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    let place = home.destination("box").join("photos");
    let Some(_mounted) = Mounted::small(&place) else {
        return skipped(TEST, NO_MOUNTS);
    };
    assert!(!place.join("a").exists(), "it is below what is mounted");
    fs::write(place.join("a"), b"bytes").unwrap();
    home.run(&["restore", "photos"]).expect(0);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"bytes");
}

#[test]
fn everything_is_offloaded_restored_and_recovered() {
    if no_rclone("mirror::everything_is_offloaded_restored_and_recovered") {
        return;
    }
    let home = mirrored("");
    for number in 0..40 {
        home.write("photos", &format!("trip {}/{number}.jpg", number % 3), format!("picture {number}").as_bytes());
    }
    home.write("photos", "twin.jpg", b"picture 1");
    let before = home.tree("photos");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let looks_like: Vec<_> =
        before.keys().map(|path| fs::read(home.destination("box").join("photos").join(path)).unwrap()).collect();
    assert!(looks_like.iter().zip(before.values()).all(|(there, here)| *there == here.bytes));
    let probe = home.json(&["destination", "probe", "box"]).expect(0);
    assert!(probe.lines.iter().any(|line| line["methods"][0] == "read-back" && line["backend"].is_string()), "{probe:?}");
    let started = starts(&home);
    home.run(&["sync"]).expect(0);
    assert_eq!(starts(&home), started + 1, "a push with nothing to send needs one rclone");
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    assert!(home.tree("photos").is_empty());
    // What was offloaded makes room for something else; the old bytes stay there, and proven.
    home.write("photos", "twin.jpg", b"another picture");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["verify", "box"]).expect(0);
    fs::remove_file(home.volume("photos").join("twin.jpg")).unwrap();
    home.run(&["index", "--accept-loss"]).expect(0);
    let started = starts(&home);
    home.run(&["restore", "photos"]).expect(0);
    assert_eq!(starts(&home), started + 1, "forty files need one rclone");
    let twin = std::path::Path::new("twin.jpg");
    let without = |mut tree: crate::tree::Tree| {
        tree.remove(twin);
        tree
    };
    assert_same_tree(&without(home.tree("photos")), &without(before.clone()));

    // The worst day: only the mirror is left.
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let elsewhere = Home::empty();
    let to = elsewhere.path("recovered");
    let from = format!("file://{}", home.destination("box").display());
    elsewhere.run(&["recover", "--from", &from, "--to", to.to_str().unwrap(), "--yes"]).expect(0);
    elsewhere.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&without(read_tree(&to.join("photos"))), &without(before));
    // What was missing here lies there all the same.
    elsewhere.run(&["restore", "photos", "twin.jpg"]).expect(0);
    assert_eq!(fs::read(to.join("photos/twin.jpg")).unwrap(), b"another picture");
    elsewhere.run(&["verify", "recovered"]).expect(0);
}

/// Two lives of an index pushed, the older one under another name, and a file of the newer one lies in the history. Each is looked for where it
/// lies, and nowhere else; a file of the same bytes is at its own place.
#[test]
fn what_lies_elsewhere_is_recovered_from_there() {
    if no_rclone("mirror::what_lies_elsewhere_is_recovered_from_there") {
        return;
    }
    let home = mirrored("");
    let mirror = home.destination("box");
    let push = || {
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
    };
    home.write("photos", "moved", b"the same");
    home.write("photos", "twin", b"the same");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    home.write("photos", "since", b"since");
    push();
    let ours = mirror.join(".lastcopy");
    let heads = || -> Vec<_> { read_tree(&ours).into_keys().filter(|path| path.ends_with("head.json")).collect() };
    let older = heads();
    let before = home.tree("photos");
    home.run(&["offload", "photos", "since", "--yes"]).expect(0);
    home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    push();
    let newer = heads().into_iter().find(|head| !older.contains(head)).unwrap();

    let history = ".lastcopy/history/once";
    fs::create_dir_all(mirror.join("photos").join(history)).unwrap();
    fs::rename(mirror.join("photos/moved"), mirror.join("photos").join(history).join("moved")).unwrap();
    fs::create_dir(mirror.join("pictures")).unwrap();
    fs::rename(mirror.join("photos/since"), mirror.join("pictures/since")).unwrap();
    let lies = |path: &str| format!("\"location\":\"{path}\"");
    let moved = |text: &str| text.replace(&lies("photos/moved"), &lies(&format!("photos/{history}/moved")));
    forge_in(ours.join(newer).parent().unwrap(), moved);
    let renamed = |text: &str| text.replace(&lies("photos/since"), &lies("pictures/since"));
    forge_in(ours.join(&older[0]).parent().unwrap(), renamed);

    let machine = Home::empty();
    let to = machine.path("recovered");
    let from = format!("file://{}", mirror.display());
    let recovered = machine.json(&["recover", "--from", &from, "--to", to.to_str().unwrap(), "--yes"]).expect(0);
    assert_eq!(recovered.summary()["contents"], 3, "`moved` and `since` where they lie, `twin` at its path: {recovered:?}");
    machine.run(&["verify", "recovered"]).expect(0);
    let query = machine.json(&["query", &lastcopy_fs::hash_bytes(b"since").hash.to_string()]).expect(0);
    assert_eq!(query.of("copy").map(|copy| copy["state"].as_str().unwrap()).collect::<Vec<_>>(), ["verified"]);
    machine.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&read_tree(&to.join("photos")), &before);
    // Without that copy, the other one serves both.
    fs::remove_file(mirror.join("photos").join(history).join("moved")).unwrap();
    fs::remove_file(to.join("photos/moved")).unwrap();
    fs::remove_file(to.join("photos/twin")).unwrap();
    machine.run(&["restore", "photos", "moved", "twin"]).expect(1);
    assert_same_tree(&read_tree(&to.join("photos")), &before);
}

#[test]
fn one_that_is_not_verified_opens_no_gate() {
    if no_rclone("mirror::one_that_is_not_verified_opens_no_gate") {
        return;
    }
    let home = mirrored("verify = \"none\"");
    let refused = home.json(&["status"]).expect(2);
    assert_eq!(refused.error_code(), "config");
    assert!(refused.error()["message"].as_str().unwrap().contains("never verified"), "{refused:?}");
    // Without the policy, it stores, and says what that is worth.
    let text = fs::read_to_string(home.config()).unwrap().replace("[volumes.photos.offload]\nrequire = [\"box\"]\n", "");
    home.write_config(&text);
    home.write("photos", "a", b"bytes");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    let pushed = home.run(&["sync"]).expect(1);
    assert!(pushed.stderr.contains("nothing there proves it"), "{pushed}");
    assert_eq!(fs::read(home.destination("box").join("photos/a")).unwrap(), b"bytes");
    let probe = home.run(&["destination", "probe", "box"]).expect(0);
    assert!(probe.stdout.contains("can never pass"), "{probe}");
}

/// What a place can do is known only once it was asked: then a policy that it can never satisfy is told.
#[test]
fn a_check_says_what_a_place_can_prove() {
    if no_rclone("mirror::a_check_says_what_a_place_can_prove") {
        return;
    }
    let home = mirrored("");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    let said = home.run(&["config", "check"]).expect(0);
    assert!(said.stdout.contains("proves by: read-back; offload through it can pass"), "{said}");
    assert!(said.stdout.contains("served by: rclone v1."), "{said}");

    // Storage in the memory of rclone serves MD5 alone.
    let text = fs::read_to_string(home.config()).unwrap();
    let remote = format!("remote = {:?}", home.destination("box"));
    home.write_config(&text.replace(&remote, "remote = \"far:box\"\nrclone = { type = \"memory\" }\nverify = \"remote-hash\""));
    let checked = home.json(&["config", "check"]).expect(1);
    let line = checked.lines.iter().find(|line| line["destination"] == "box").unwrap();
    assert_eq!(line["methods"].as_array().unwrap().len(), 0);
    assert!(line["hashes"].as_array().unwrap().iter().any(|hash| hash == "md5"), "{line}");
    let problems = line["problems"].to_string();
    assert!(problems.contains("volume `photos` counts on it") && problems.contains("no file could ever pass"), "{problems}");
}

/// It was a refusal with the code `unsupported`, as if the place could not do what was asked of it.
#[test]
fn without_the_program_it_says_what_to_install() {
    // The second one is asked for a password before it serves anything.
    for more in ["", "index_password = { env = \"HOME\" }\n"] {
        let home = mirrored("");
        let text = fs::read_to_string(home.config()).unwrap();
        let (start, end) = (text.find("program = ").unwrap(), text.rfind("\"\n").unwrap());
        home.write_config(&format!("{}program = \"no-such-rclone{}{more}", &text[..start], &text[end..]));
        let ran = home.json(&["destination", "init", "box"]).expect(4);
        assert_eq!(ran.error_code(), "tool-missing");
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("no-such-rclone") && message.contains("1.75"), "{message}");
        assert!(ran.error()["hint"].as_str().unwrap().contains("install it"), "{}", ran.ran);
    }
}

#[test]
fn keys_of_one_kind_are_refused_for_the_other() {
    let home = Home::empty();
    let config = |destination: &str| format!("[destinations.box]\n{destination}\n");
    for (lines, says) in [
        ("kind = \"mirror\"", "has no `remote`"),
        ("kind = \"mirror\"\nremote = \"box\"", "no place that lastcopy can give to rclone"),
        ("kind = \"mirror\"\nremote = \"box:x\"\nurl = \"file:///x\"", "`url` is for destinations of kind `cas`"),
        ("kind = \"mirror\"\nremote = \"box:x\"\nverify = \"hope\"", "no way to verify"),
        ("kind = \"mirror\"\nremote = \"box:x\"\ntransfers = 0", "so many at a time"),
        ("kind = \"mirror\"\nremote = \"box:x\"\nrclone = { pass = { env = \"LASTCOPY_TEST_UNSET\" } }", "LASTCOPY_TEST_UNSET"),
        ("kind = \"mirror\"\nremote = \"box:x\"\nrclone = { pass = { command = [] } }", "a secret comes from one place"),
        ("kind = \"mirror\"\nremote = \"box:x\"\nindex_password = { env = \"LASTCOPY_TEST_UNSET\" }", "LASTCOPY_TEST_UNSET"),
        (
            "kind = \"cas\"\nurl = \"file:///x\"\nindex_password = { env = \"HOME\" }",
            "`index_password` is for destinations of kind",
        ),
        ("kind = \"cas\"\nurl = \"file:///x\"\nverify = \"auto\"", "`verify` is for destinations of kind `mirror`"),
    ] {
        home.write_config(&config(lines));
        let refused = home.json(&["status"]).expect(2);
        assert_eq!(refused.error_code(), "config");
        assert!(refused.error()["message"].as_str().unwrap().contains(says), "{lines}: {refused:?}");
    }
}

/// Of a mirror that is a push behind, an index learns what that one has, and nothing else.
#[test]
fn an_index_learns_of_a_second_mirror() {
    if no_rclone("mirror::an_index_learns_of_a_second_mirror") {
        return;
    }
    let home = twice_mirrored(&[("edited", "first"), ("gone", "from here"), ("same", "as ever")]);
    home.write("photos", "edited", b"newer");
    home.write("photos", "later", b"still");
    fs::remove_file(home.volume("photos").join("gone")).unwrap();
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "one"]).expect(0);

    let machine = Home::empty();
    let to = machine.path("volumes");
    for name in ["one", "two"] {
        machine.recover(&home.url(name), &["--name", name]).expect(0);
    }
    for (name, count) in [("one", 4), ("two", 3)] {
        let verified = machine.json(&["verify", name]).expect(0);
        assert_eq!((verified.count("verified"), verified.count("lost")), (count, 0), "{name}");
    }
    machine.run(&["restore", "photos"]).expect(0);
    assert_eq!(fs::read(to.join("photos/edited")).unwrap(), b"newer");
    assert!(!to.join("photos/gone").exists(), "it was deleted");
    machine.run(&["restore", "photos", "gone"]).expect(0);
}

/// Files were offloaded, and the mirror was told where they lie: at their paths. Then a push needed one place, and moved what was there to
/// the history, and a repair stored what was lost elsewhere. Nobody told the mirror, so a recovery from it alone looked in the old places.
#[test]
fn what_moved_after_it_was_offloaded_is_found_by_the_mirror_alone() {
    if no_rclone("mirror::what_moved_after_it_was_offloaded_is_found_by_the_mirror_alone") {
        return;
    }
    let home = twice_mirrored(&[("foo/x", "below foo"), ("bar/y", "below bar"), ("stays", "here")]);
    let config = fs::read_to_string(home.config()).unwrap();
    home.write_config(&format!("{config}[volumes.photos.offload]\nrequire = [\"one\", \"two\"]\n"));
    home.run(&["offload", "photos", "foo", "bar", "--yes"]).expect(0);
    home.run(&["sync"]).expect(0);
    for directory in ["foo", "bar"] {
        fs::remove_dir(home.volume("photos").join(directory)).unwrap();
        home.write("photos", directory, format!("{directory} is a file").as_bytes());
    }
    // At one of the two, what is below `bar` is lost before it could be moved.
    let one = home.destination("one");
    fs::remove_file(one.join("photos/bar/y")).unwrap();
    assert_eq!(home.json(&["verify", "one"]).expect(1).count("lost"), 1);
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "one"]).expect(0);
    assert_eq!(home.json(&["destination", "repair", "one", "--yes"]).expect(0).count("repaired"), 1);
    // There is nothing to send but that word.
    assert_eq!(home.json(&["sync", "--to", "one"]).expect(0).count("stored"), 0);

    let machine = Home::empty();
    machine.recover(&home.url("one"), &[]).expect(0);
    for path in ["foo/x", "bar/y"] {
        let elsewhere = machine.path(path);
        machine.json(&["restore", "photos", path, "--to", elsewhere.to_str().unwrap()]).expect(0);
        let found = read_tree(&elsewhere);
        let bytes = format!("below {}", &path[..3]);
        assert_eq!(found.values().map(|entry| entry.bytes.clone()).collect::<Vec<_>>(), [bytes.as_bytes()], "{path}");
    }
    assert_eq!(machine.json(&["verify"]).expect(0).count("lost"), 0);
}

/// A mirror that was told of files when they were offloaded already never had them, and its segments name no place for them. A recovery counted
/// on them at their paths all the same, and the next check called them lost. What a person has put there since is found.
#[test]
fn what_a_mirror_never_had_is_not_expected_there() {
    if no_rclone("mirror::what_a_mirror_never_had_is_not_expected_there") {
        return;
    }
    let home = twice_mirrored(&[("stays", "here")]);
    let config = fs::read_to_string(home.config()).unwrap();
    home.write_config(&format!("{config}[volumes.photos.offload]\nrequire = [\"one\"]\n"));
    home.write("photos", "apart", b"at one of them");
    home.write("photos", "by hand", b"since");
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "one"]).expect(0);
    home.run(&["offload", "photos", "apart", "by hand", "--yes"]).expect(0);
    home.run(&["sync", "--to", "two"]).expect(0);
    fs::write(home.destination("two").join("photos/by hand"), "since").unwrap();

    let knows_nothing = Home::empty();
    let knows_the_volume = Home::empty();
    knows_the_volume.recover(&home.url("one"), &["--name", "one"]).expect(0);
    for (machine, apart_is_nowhere) in [(knows_nothing, true), (knows_the_volume, false)] {
        let recovered = machine.recover(&home.url("two"), &["--name", "two"]).expect(0);
        assert_eq!(recovered.summary()["contents"], 2, "{recovered:?}");
        let warned = recovered.ran.stderr.contains("1 offloaded file that no destination is known to hold");
        assert_eq!(warned, apart_is_nowhere, "{recovered:?}");
        let verified = machine.json(&["verify", "two"]).expect(0);
        assert_eq!((verified.count("verified"), verified.count("lost")), (2, 0));
        machine.run(&["restore", "photos", "by hand"]).expect(0);
    }
}

/// The segments that told of a version are gone with a rollback that was acknowledged. The one that begins anew says where in the history it
/// lies, and the version is known by that.
#[test]
fn a_version_in_the_history_is_recovered_from_there() {
    if no_rclone("mirror::a_version_in_the_history_is_recovered_from_there") {
        return;
    }
    let home = twice_mirrored(&[("changed", "before")]);
    let one = home.destination("one");
    home.write("photos", "changed", b"newer");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    begins_anew(&home, &one);
    home.write("photos", "other", b"other");
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "one"]).expect(0);
    is_known_again(&one, b"before");
}

/// How a path stood, by the word of an index that began with an old backup, takes nothing from who knows better: not the path, and not the place
/// where its content lies.
#[test]
fn how_a_path_stood_takes_no_place() {
    if no_rclone("mirror::how_a_path_stood_takes_no_place") {
        return;
    }
    let home = twice_mirrored(&[("a", "one"), ("b", "one")]);
    let config = fs::read_to_string(home.config()).unwrap();
    home.write_config(&format!("{config}[volumes.photos.offload]\nrequire = [\"one\", \"two\"]\n"));
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    home.write("photos", "a", b"two");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "a", "--yes"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    home.run(&["verify", "--all"]);
    home.write("photos", "a", b"three");
    home.run(&["index"]).expect(0);
    home.write("photos", "a", b"would not hold still");
    home.run(&["sync", "--to", "one"]).expect(1);

    let machine = Home::empty();
    machine.recover(&home.url("one"), &[]).expect(0);
    machine.run(&["restore", "photos"]).expect(0);
    assert_eq!(fs::read(machine.volume("photos").join("a")).unwrap(), b"two");
    assert_eq!(machine.json(&["verify"]).expect(0).count("lost"), 0);
}

/// What a path held before, it may hold at the mirror still: nothing was ever sent that needed the place.
#[test]
fn what_was_never_pushed_takes_no_place() {
    if no_rclone("mirror::what_was_never_pushed_takes_no_place") {
        return;
    }
    let (_home, one) = with_an_older_version_at_a_path();
    is_known_again(&one, b"before");
}

/// Where somebody removed it there, and something else took the place, it is not looked for any more.
#[test]
fn what_was_pushed_takes_a_place() {
    if no_rclone("mirror::what_was_pushed_takes_a_place") {
        return;
    }
    let (home, one) = with_an_older_version_at_a_path();
    fs::remove_file(one.join("photos/a")).unwrap();
    home.write("photos", "a", b"newest");
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "one"]).expect(0);
    is_known_again(&one, b"newest");
}

/// A mirror that names what a path held before, at that very path. Nothing else lies there.
fn with_an_older_version_at_a_path() -> (Home, PathBuf) {
    let home = twice_mirrored(&[("a", "before"), ("stays", "here")]);
    let config = fs::read_to_string(home.config()).unwrap();
    home.write_config(&format!("{config}[volumes.photos.offload]\nrequire = [\"one\", \"two\"]\n"));
    home.run(&["offload", "photos", "a", "--yes"]).expect(0);
    home.write("photos", "a", b"never pushed");
    home.run(&["index"]).expect(0);
    fs::remove_file(home.volume("photos").join("a")).unwrap();
    home.run(&["index"]).expect(0);
    let one = home.destination("one");
    begins_anew(&home, &one);
    home.write("photos", "other", b"other");
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "one"]).expect(0);
    (home, one)
}

/// Another machine knows a content by a mirror alone, and gets it from there.
fn is_known_again(mirror: &Path, bytes: &[u8]) {
    let machine = Home::empty();
    machine.recover(&format!("file://{}", mirror.display()), &[]).expect(0);
    assert_eq!(machine.json(&["verify"]).expect(0).count("lost"), 0);
    let (content, elsewhere) = (lastcopy_fs::hash_bytes(bytes).hash.to_string(), machine.path("elsewhere"));
    machine.run(&["restore", "photos", "--content", &content, "--to", elsewhere.to_str().unwrap()]).expect(0);
    let found = read_tree(&elsewhere);
    assert_eq!(found.values().map(|entry| entry.bytes.clone()).collect::<Vec<_>>(), [bytes]);
}

/// Segments and heads of a mirror are gone, and that was acknowledged.
fn begins_anew(home: &Home, mirror: &Path) {
    let ours = mirror.join(".lastcopy");
    let heads = read_tree(&ours).into_keys().filter(|path| path.ends_with("head.json")).map(|path| ours.join(path));
    heads.for_each(|head| fs::remove_dir_all(head.parent().unwrap()).unwrap());
    home.run(&["sync", "--to", "one"]).expect(3);
    home.acknowledge("somebody cleaned up");
}

/// A version was lost, and its place has something else by now: a newer version, a directory, or a file where it needs a directory. A repair
/// brings it back, and pushes nothing out of its place.
#[test]
fn a_repair_takes_nobodys_place() {
    if no_rclone("mirror::a_repair_takes_nobodys_place") {
        return;
    }
    let home = twice_mirrored(&[("edited", "before"), ("now a directory", "was a file"), ("now a file/x", "was below")]);
    let (one, two) = (home.destination("one"), home.destination("two"));
    for lost in ["edited", "now a directory", "now a file/x"] {
        fs::remove_file(one.join("photos").join(lost)).unwrap();
    }
    assert_eq!(home.json(&["verify", "one"]).expect(1).count("lost"), 3);
    fs::remove_file(home.volume("photos").join("now a directory")).unwrap();
    fs::remove_dir_all(home.volume("photos").join("now a file")).unwrap();
    let newer = [("edited", "BEFORE"), ("now a directory/deep/y", "is below"), ("now a file", "is one")];
    for (path, bytes) in newer {
        home.write("photos", path, bytes.as_bytes());
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);

    let repaired = home.json(&["destination", "repair", "one", "--yes"]).expect(0);
    assert_eq!((repaired.count("lost"), repaired.count("repaired")), (3, 3));
    for (path, bytes) in newer {
        assert_eq!(fs::read_to_string(one.join("photos").join(path)).unwrap(), bytes, "{path}");
    }
    let verified = home.json(&["verify", "one"]).expect(0);
    assert_eq!((verified.count("lost"), verified.count("verified")), (0, 6));
    // Two versions of one place are lost together, and nothing is there: each has its own in the end. Once they were lost one after the
    // other, at the very same place, and once a repair had given the older one another place already.
    for bytes in ["first", "second"] {
        home.write("photos", "twice lost", bytes.as_bytes());
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
        fs::remove_file(one.join("photos/twice lost")).unwrap();
        home.json(&["verify", "one"]).expect(1);
    }
    assert_eq!(home.json(&["destination", "repair", "one", "--yes"]).expect(0).count("repaired"), 2);
    assert_eq!(home.json(&["verify", "one"]).expect(0).count("lost"), 0);
    fs::remove_file(one.join("photos/edited")).unwrap();
    let mut kept = vec![one.join(".lastcopy/contents")];
    while let Some(dir) = kept.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                kept.push(entry);
            } else if fs::read(&entry).unwrap() == b"before" {
                fs::remove_file(&entry).unwrap();
            }
        }
    }
    assert_eq!(home.json(&["verify", "one"]).expect(1).count("lost"), 2);
    assert_eq!(home.json(&["destination", "repair", "one", "--yes"]).expect(0).count("repaired"), 2);
    assert_eq!(home.json(&["verify", "one"]).expect(0).count("lost"), 0);
    assert_eq!(home.json(&["destination", "repair", "one", "--yes"]).expect(0).count("lost"), 0, "nothing is left to repair");
    assert_eq!(home.json(&["alarms"]).expect(0).of("alarm").count(), 0);
    fs::remove_dir_all(&two).unwrap();
    for old in ["before", "was a file", "was below"] {
        let to = home.path(&format!("old/{old}"));
        home.json(&["restore", "photos", "--content", &crate::tree::digest(old.as_bytes()), "--to", to.to_str().unwrap()])
            .expect(0);
        let found = read_tree(&to);
        assert_eq!(found.values().map(|entry| entry.bytes.clone()).collect::<Vec<_>>(), [old.as_bytes()]);
    }
}

/// What every kind can do: losses are repaired from here and from another mirror, old versions are found by their content, a mirror that
/// another node made is adopted, one that broke is replaced, and the part of another volume is nobody else's.
#[test]
fn a_mirror_is_repaired_adopted_and_replaced() {
    if no_rclone("mirror::a_mirror_is_repaired_adopted_and_replaced") {
        return;
    }
    let home = Home::empty();
    fs::create_dir_all(home.volume("photos")).unwrap();
    let configure = |home: &Home, boxes: &[(&str, &std::path::Path)]| {
        let names: Vec<_> = boxes.iter().map(|(name, _)| format!("{name:?}")).collect();
        let section = |(name, path): &(&str, &std::path::Path)| {
            format!("[destinations.{name}]\nkind = \"mirror\"\nremote = \"{}\"\n", path.display())
        };
        let (names, volume) = (names.join(", "), home.volume("photos"));
        home.write_config(&format!(
            "[volumes.photos]\npath = {volume:?}\nsync_to = [{names}]\n[volumes.photos.offload]\nrequire = [{names}]\n{}",
            boxes.iter().map(section).collect::<String>()
        ));
    };
    let (one, two) = (home.destination("one"), home.destination("two"));
    configure(&home, &[("one", &one), ("two", &two)]);
    for (path, bytes) in [("here", "stays here"), ("gone", "is offloaded"), ("edited", "before")] {
        home.write("photos", path, bytes.as_bytes());
    }
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    for name in ["one", "two"] {
        home.run(&["destination", "init", name]).expect(0);
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.write("photos", "edited", b"afterwards");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "gone", "--yes"]).expect(0);
    home.run(&["sync"]).expect(0);

    // One is damaged, one lost: a verify tells both, and a repair brings them back from here and from the other mirror.
    fs::write(one.join("photos/here"), b"stays HERE").unwrap();
    fs::remove_file(one.join("photos/gone")).unwrap();
    assert_eq!(home.json(&["verify", "one"]).expect(1).count("lost"), 2);
    let planned = home.json(&["destination", "repair", "one", "--dry-run"]).expect(0);
    let mut from: Vec<_> = planned.of("content").map(|line| line["from"].as_str().unwrap().to_owned()).collect();
    from.sort();
    assert_eq!(from, ["destination two", "photos/here"]);
    let repaired = home.json(&["destination", "repair", "one", "--yes"]).expect(0);
    assert_eq!((repaired.count("lost"), repaired.count("repaired")), (2, 2));
    assert_eq!(fs::read(one.join("photos/here")).unwrap(), b"stays here");
    assert_eq!(home.json(&["verify"]).expect(0).count("lost"), 0);

    // What was replaced is found by its content, in the history there.
    let to = home.path("old versions");
    let old = crate::tree::digest(b"before");
    home.json(&["restore", "photos", "--content", &old, "--to", to.to_str().unwrap()]).expect(0);
    let found = read_tree(&to);
    assert_eq!(found.values().map(|entry| entry.bytes.clone()).collect::<Vec<_>>(), [b"before"]);

    // One broke for good: a new one takes its name, and the other one has what is not here any more.
    fs::remove_dir_all(&two).unwrap();
    fs::create_dir(&two).unwrap();
    let rehearsed = home.json(&["destination", "reset", "two", "--dry-run"]).expect(0);
    assert_eq!(rehearsed.count("offloaded_unproven"), 1);
    home.run(&["destination", "reset", "two", "--reason", "it broke", "--yes"]).expect(0);
    home.run(&["destination", "init", "two"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).summary()["from"], "one");
    assert_eq!(fs::read(home.volume("photos").join("gone")).unwrap(), b"is offloaded");

    // Another node finds the part of a volume that is not its own, and stores nothing there.
    let other = Home::empty();
    configure(&other, &[("one", &one)]);
    other.write("photos", "here", b"of another volume");
    other.run(&["volume", "add", "photos", other.volume("photos").to_str().unwrap()]).expect(0);
    assert_eq!(other.json(&["destination", "init", "one"]).expect(3).error_code(), "already-initialised");
    other.run(&["destination", "adopt", "one", "--yes"]).expect(0);
    other.run(&["index"]).expect(0);
    let refused = other.run(&["sync"]);
    assert!(refused.code() != Some(0) && refused.stderr.contains("another volume"), "{refused}");
    assert_eq!(fs::read(one.join("photos/here")).unwrap(), b"stays here");
    assert_eq!(other.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
    assert_eq!(home.json(&["verify", "one"]).expect(0).count("lost"), 0);
}

/// Every file below a directory.
fn all_bytes(dir: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all.extend_from_slice(path.as_os_str().as_encoded_bytes());
        all.extend(if path.is_dir() { all_bytes(&path) } else { fs::read(&path).unwrap() });
    }
    all
}

/// Who has the place, but not the password, reads no segment; who has both has everything back. rclone alone reads them as well.
#[test]
fn an_encrypted_index_is_read_with_its_password_alone() {
    if no_rclone("mirror::an_encrypted_index_is_read_with_its_password_alone") {
        return;
    }
    let password = |word: &str| format!("index_password = {{ command = [\"echo\", \"{word}\"] }}");
    let home = mirrored(&password("open sesame"));
    home.write("photos", "trip/one.jpg", b"one");
    home.write("photos", "trip/two.jpg", b"two");
    let before = home.tree("photos");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["verify", "box"]).expect(0);
    let own = home.destination("box").join(".lastcopy");
    assert!(!own.join("volumes").exists());
    let all = all_bytes(&own.join("index"));
    let zstd_magic = [0x28, 0xb5, 0x2f, 0xfd];
    for tells in [b"segments".as_slice(), b"head", b"trip", b"volume", &zstd_magic] {
        assert!(!all.windows(tells.len()).any(|part| part == tells), "{}", String::from_utf8_lossy(tells));
    }

    // By hand, with nothing but rclone.
    let rclone = |arguments: &[&str]| {
        let ran = std::process::Command::new("rclone").args(["--config", "/dev/null"]).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    };
    let pass = rclone(&["obscure", "open sesame"]);
    let remote = format!(":crypt,remote={:?},password={}:", own.join("index"), pass.trim());
    let listed = rclone(&["lsf", "-R", "--files-only", &remote]);
    assert!(listed.lines().any(|line| line.ends_with("/segments/00000001.jsonl.zst")), "{listed}");

    let from = home.destination("box").display().to_string();
    let recovers = |lines: &str| {
        let elsewhere = Home::empty();
        if !lines.is_empty() {
            elsewhere.write_config(&format!("[destinations.box]\nkind = \"mirror\"\nremote = {from:?}\n{lines}\n"));
        }
        let to = elsewhere.path("recovered");
        let ran = elsewhere.run(&["recover", "--from", &format!("file://{from}"), "--to", to.to_str().unwrap(), "--yes"]);
        (elsewhere, ran)
    };
    let (_, without) = recovers("");
    assert!(without.code() != Some(0) && without.stderr.contains("its index is encrypted"), "{without}");
    let (_, wrong) = recovers(&password("another word"));
    assert!(wrong.code() != Some(0) && wrong.stderr.contains("another `index_password`"), "{wrong}");
    let (elsewhere, with) = recovers(&password("open sesame"));
    with.expect(0);
    elsewhere.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&read_tree(&elsewhere.path("recovered/photos")), &before);

    // One that is plain stays plain, and one that is encrypted is never written in plain.
    let text = fs::read_to_string(home.config()).unwrap();
    home.write_config(&text.replace(&password("open sesame"), ""));
    home.write("photos", "three.jpg", b"three");
    home.run(&["index"]).expect(0);
    let refused = home.run(&["sync"]);
    assert!(refused.code() != Some(0) && refused.stderr.contains("its index is encrypted"), "{refused}");
    assert!(!own.join("volumes").exists());
}

/// A configuration of rclone's that is encrypted is opened by its variables, and nothing waits for somebody to type a password.
#[test]
fn an_encrypted_configuration_of_rclone_is_opened_by_its_variables() {
    if no_rclone("mirror::an_encrypted_configuration_of_rclone_is_opened_by_its_variables") {
        return;
    }
    let home = Home::empty();
    let config = home.path("config/rclone/rclone.conf");
    fs::create_dir_all(config.parent().unwrap()).unwrap();
    fs::create_dir_all(home.path("beneath")).unwrap();
    fs::write(&config, format!("[far]\ntype = alias\nremote = {}\n", home.path("beneath").display())).unwrap();
    let mut rclone = std::process::Command::new("rclone");
    rclone.arg("--config").arg(&config).args(["config", "encryption", "set"]).stdin(std::process::Stdio::piped());
    let mut child = rclone.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"sesame\nsesame\n").unwrap();
    assert!(child.wait().unwrap().success());
    let encrypted = fs::read(&config).unwrap();
    assert!(!encrypted.windows(5).any(|part| part == b"alias"));

    home.write_config("[destinations.box]\nkind = \"mirror\"\nremote = \"far:store\"\n");
    let probed = |variable: Option<(&str, &str)>| {
        let arguments = ["destination", "probe", "box"];
        let mut command = home.command(&arguments);
        command.envs(variable);
        home.spawn_at(command, &arguments, tempfile::tempfile().unwrap()).wait()
    };
    for variable in [None, Some(("RCLONE_CONFIG_PASS", "another"))] {
        let refused = probed(variable).expect(4);
        assert!(refused.stderr.contains("unable to decrypt configuration"), "{refused}");
    }
    for variable in [("RCLONE_CONFIG_PASS", "sesame"), ("RCLONE_PASSWORD_COMMAND", "echo sesame")] {
        let probe = probed(Some(variable));
        assert!(probe.stdout.contains("nothing is there; `init` may make a repository"), "{probe}");
    }
    assert_eq!(fs::read(&config).unwrap(), encrypted, "a person's configuration is read, and never written");
}

/// A push that takes its time, once its rclone is at work; and that rclone's process.
fn slow_push(home: &Home) -> (crate::ran::Background, String) {
    home.write("photos", "large", &vec![7; 4 << 20]);
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    let before = starts(home);
    let push = home.spawn(&["sync"]);
    let process = || {
        let text = fs::read_to_string(home.path("count")).unwrap_or_default();
        text.lines().nth(before).map(str::to_owned)
    };
    let sends = || {
        let Ok(entries) = fs::read_dir(home.destination("box").join("photos")) else { return false };
        entries.map_while(Result::ok).any(|entry| entry.file_name().to_string_lossy().starts_with("large"))
    };
    wait_for("rclone sends", || process().is_some() && sends());
    (push, process().unwrap())
}

/// Whether a process does nothing any more; whoever has to look after it may be late.
fn is_over(process: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
}

fn goes_on(home: &Home) {
    let text = fs::read_to_string(home.config()).unwrap().replace("bandwidth = \"512k\"", "");
    home.write_config(&text);
    home.run(&["sync"]).expect(0);
    assert_eq!(fs::read(home.destination("box").join("photos/large")).unwrap(), vec![7; 4 << 20]);
    home.run(&["verify", "box"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
}

#[test]
fn rclone_dies_with_a_push_that_is_killed() {
    if no_rclone("mirror::rclone_dies_with_a_push_that_is_killed") {
        return;
    }
    let home = mirrored("bandwidth = \"512k\"");
    let (push, rclone) = slow_push(&home);
    push.kill().expect_killed();
    wait_for("rclone ends, too", || is_over(&rclone));
    goes_on(&home);
}

#[test]
fn a_push_whose_rclone_is_killed_fails_and_can_be_repeated() {
    if no_rclone("mirror::a_push_whose_rclone_is_killed_fails_and_can_be_repeated") {
        return;
    }
    let home = mirrored("bandwidth = \"512k\"");
    let (push, rclone) = slow_push(&home);
    std::process::Command::new("kill").args(["-9", &rclone]).status().unwrap();
    let ended = push.wait();
    assert!(ended.code().is_some_and(|code| code != 0), "{ended}");
    assert!(ended.stderr.contains("rclone"), "{ended}");
    goes_on(&home);
}

#[test]
fn a_push_that_is_interrupted_ends_its_rclone_and_goes_on_later() {
    if no_rclone("mirror::a_push_that_is_interrupted_ends_its_rclone_and_goes_on_later") {
        return;
    }
    let home = mirrored("bandwidth = \"512k\"");
    let (mut push, rclone) = slow_push(&home);
    push.signal(rustix::process::Signal::INT);
    let ended = push.wait();
    assert!(ended.code().is_some_and(|code| code != 0), "{ended}");
    wait_for("rclone ends, too", || is_over(&rclone));
    goes_on(&home);
}

/// One of rclone's own servers, for as long as the test lives.
struct Server(std::process::Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// An sftp server over a directory that says what it does, and its section of rclone's configuration.
fn sftp(beneath: &std::path::Path, log: &std::path::Path) -> (Server, String) {
    let rclone = || std::process::Command::new("rclone");
    let mut command = rclone();
    command.args(["serve", "sftp", "--config", "/dev/null", "--dir-cache-time", "10ms", "--user", "me", "--pass", "secret"]);
    command.arg("-vv").arg("--log-file").arg(log).args(["--addr", "127.0.0.1:0"]).arg(beneath);
    let server = Server(command.stdin(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap());
    // It chooses its port, and tells.
    let port = || {
        let said = fs::read_to_string(log).ok()?;
        let (_, rest) = said.split_once("listening on 127.0.0.1:")?;
        let (port, _) = rest.split_once('\n')?;
        port.trim().parse::<u16>().ok()
    };
    wait_for("the server listens", || port().is_some_and(|port| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()));
    let port = port().unwrap();
    let pass = String::from_utf8(rclone().args(["obscure", "secret"]).output().unwrap().stdout).unwrap();
    (server, format!("type = sftp\nhost = 127.0.0.1\nport = {port}\nuser = me\npass = {pass}hashes = sha256\n"))
}

/// A server of rclone's own configuration that computes checksums: they prove, are compared again without a download, and open the gate
/// of a policy that takes them.
#[test]
fn checksums_of_a_server_prove_without_a_download() {
    if no_rclone("mirror::checksums_of_a_server_prove_without_a_download") {
        return;
    }
    let home = Home::empty();
    let beneath = home.path("beneath");
    fs::create_dir_all(&beneath).unwrap();
    let log = home.path("served");
    let (_server, section) = sftp(&beneath, &log);
    let reads = || fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains("photos/a: Open: flags=O_RDONLY")).count();
    fs::create_dir_all(home.path("config/rclone")).unwrap();
    fs::write(home.path("config/rclone/rclone.conf"), format!("[far]\n{section}")).unwrap();
    fs::create_dir_all(home.volume("photos")).unwrap();
    let configured = |policy: &str| {
        let volume = home.volume("photos");
        home.write_config(&format!(
            "[volumes.photos]\npath = {volume:?}\nsync_to = [\"box\"]\n[volumes.photos.offload]\nrequire = [\"box\"]\n{policy}\n\
             [destinations.box]\nkind = \"mirror\"\nremote = \"far:store\"\n"
        ));
    };
    configured("");
    home.write("photos", "a", b"bytes");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let hashed = || fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains("sha256 /store/photos/a")).count();
    assert_eq!(hashed(), 1, "the server reads it once: rclone asks for nothing that is asked for here");
    let probe = home.run(&["destination", "probe", "box"]).expect(0);
    assert!(probe.stdout.contains("proves by: fingerprint; offload through it can pass"), "{probe}");
    assert!(probe.stdout.contains("because it serves sha256, which is its own"), "{probe}");
    let verified = home.json(&["verify", "box"]).expect(0);
    let summary = verified.lines.iter().find(|line| line["bytes_read"].is_u64()).unwrap();
    assert_eq!((summary["verified"].as_u64(), summary["bytes_read"].as_u64()), (Some(1), Some(0)), "{verified:?}");

    assert_eq!(reads(), 0);

    // Who takes only what was read back hears that nothing could ever pass, and nothing does.
    configured("methods = [\"read-back\"]");
    let checked = home.run(&["config", "check"]).expect(1);
    assert!(checked.stdout.contains("it proves by fingerprint: no file could ever pass"), "{checked}");
    home.run(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"bytes");

    // Who wants everything read before it leaves gets that, whatever proved it.
    configured("confirm = \"full\"\nmethods = [\"read-back\", \"fingerprint\"]");
    home.run(&["policy", "accept", "photos", "--reason", "it takes what the server computes", "--yes"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    assert_eq!(reads(), 1);
    assert!(home.tree("photos").is_empty());
    home.run(&["restore", "photos"]).expect(0);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"bytes");
}

#[test]
fn a_policy_that_leaves_out_the_only_proof_of_a_mirror_is_refused() {
    let home = Home::empty();
    let volume = home.volume("photos");
    fs::create_dir_all(&volume).unwrap();
    let config = |verify: &str| {
        home.write_config(&format!(
            "[volumes.photos]\npath = {volume:?}\nsync_to = [\"box\"]\n\
             [volumes.photos.offload]\nrequire = [\"box\"]\nmethods = [\"read-back\"]\n\
             [destinations.box]\nkind = \"mirror\"\nremote = \"far:store\"\nverify = \"{verify}\"\n"
        ));
    };
    config("fingerprint");
    let refused = home.json(&["status"]).expect(2);
    assert!(refused.error()["message"].as_str().unwrap().contains("prove by checksums of the provider"), "{refused:?}");
    config("read-back");
    // The volume is not there yet; the configuration is right.
    home.json(&["status"]).expect(1);
}

/// What a place can never have was to be cleared by one more push, for ever.
#[test]
fn what_a_place_cannot_have_is_said_to_be_excluded() {
    if no_rclone("mirror::what_a_place_cannot_have_is_said_to_be_excluded") {
        return;
    }
    let home = mirrored("");
    home.write("photos", "a", b"bytes");
    let raw = home.volume("photos").join(std::ffi::OsStr::from_bytes(b"raw \xff"));
    fs::write(&raw, b"raw").unwrap();
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "box"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(1);
    let reason = "rclone stores only names in UTF-8; this one is not";
    let status = home.json(&["status"]).expect(1);
    let at = status.of("status").find(|line| line["destination"] == "box").unwrap();
    assert_eq!((&at["level"], &at["excluded"], at["next"].is_null()), (&"amber".into(), &1.into(), true), "{at}");
    let photos = status.of("status").find(|line| line["destination"].is_null()).unwrap();
    assert_eq!(photos["next"], "lastcopy offload photos .", "the other one may go");
    let told = home.run(&["status"]).expect(1).stdout;
    assert!(told.contains("1 file excluded; to clear it: rename it") && told.contains(reason), "{told}");
    for command in [&["explain", "volumes/photos"] as &[&str], &["offload", "photos", ".", "--dry-run"]] {
        let json = home.json(command).expect(1);
        let file = json.of("file").find(|file| file["path_bytes"].is_string()).unwrap();
        let cause = &file["causes"][0];
        assert_eq!((&cause["cause"], &cause["destination"]), (&"no-receipt".into(), &"box".into()));
        assert!(cause["detail"].as_str().unwrap().contains(reason), "{cause}");
        assert!(cause["fix"].as_str().unwrap().contains("rename it"), "{cause}");
        let told = home.run(command).expect(1).stdout;
        assert!(told.contains(reason) && told.contains("rename it, or mend what the reason names, then `lastcopy index"), "{told}");
    }
    // What is new since is pushed.
    home.write("photos", "b", b"more");
    home.run(&["index"]).expect(0);
    let next = |home: &Home| {
        let status = home.json(&["status"]).expect(1);
        status.of("status").find(|line| line["destination"] == "box").unwrap()["next"].clone()
    };
    assert_eq!(next(&home), "lastcopy sync photos --to box");
    home.run(&["sync"]).expect(1);
    assert!(next(&home).is_null());
    // The way out.
    fs::rename(&raw, home.volume("photos").join("text")).unwrap();
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["status"]).expect(0);
}

/// A directory of this machine is one under whatever name rclone knows it: on the volume's disk it breaks with it.
#[test]
fn a_remote_that_is_a_local_directory_shares_its_device() {
    let home = Home::empty();
    fs::create_dir_all(home.volume("photos")).unwrap();
    let (volume, mirror) = (home.volume("photos"), home.destination("box"));
    fs::create_dir_all(&mirror).unwrap();
    fs::create_dir_all(home.path("config/rclone")).unwrap();
    fs::write(home.path("config/rclone/rclone.conf"), "[far]\ntype = sftp\n\n[disk]\ntype = local\n").unwrap();
    for (remote, options, shares) in [
        ("disk", "[destinations.box.rclone]\ntype = \"local\"\n", true),
        ("disk", "", true),
        ("far", "", false),
        ("disk", "[destinations.box.rclone]\ntype = \"sftp\"\n", false),
    ] {
        home.write_config(&format!(
            "[volumes.photos]\npath = {volume:?}\nsync_to = [\"box\"]\n[volumes.photos.offload]\nrequire = [\"box\"]\n\
             [destinations.box]\nkind = \"mirror\"\nremote = \"{remote}:{}\"\n{options}",
            mirror.display()
        ));
        let checked = home.json(&["config", "check"]).expect(1);
        let sharing = &checked.of("volume").next().unwrap()["shares_device_with"];
        let expected = if shares { serde_json::json!(["box"]) } else { serde_json::json!([]) };
        assert_eq!(*sharing, expected, "{remote}: {options}");
        assert_eq!(checked.ran.stderr.contains("its policy requires `box`, on the volume's own device"), shares, "{}", checked.ran);
    }
}
