//! What `offload` is asked for, what it takes, and how it is taken back.

use crate::home::{Home, Setup};
use crate::ran::{Json, wait_for};
use crate::tree::{assert_same_tree, noise, read_tree, set_mode, set_mtime};
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

const DAY: u64 = 86_400;

fn days_ago(days: u64) -> SystemTime {
    // Half an hour from any whole number of days.
    SystemTime::now() - Duration::from_secs(days * DAY + 1800)
}

/// Files of different ages and sizes, pushed: `old/100d` (1000 bytes), `old/90d` (2000), `young/10d` (3000), `young/1d` (4000).
fn aged(setup: &Setup) -> Home {
    let home = Home::new(setup);
    for (path, days, size) in [("old/100d", 100, 1000), ("old/90d", 90, 2000), ("young/10d", 10, 3000), ("young/1d", 1, 4000)] {
        home.write("photos", path, &noise(path, size));
        set_mtime(&home.volume("photos").join(path), days_ago(days));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

fn here(home: &Home) -> Vec<String> {
    home.tree("photos").keys().map(|path| path.to_str().unwrap().to_owned()).collect()
}

/// What is gone after an offload with these arguments, which a dry run had named before.
#[track_caller]
fn takes(arguments: &[&str], expected: &[&str]) -> Json {
    let home = aged(&Setup::usual());
    let before = here(&home);
    let all = [&["offload", "photos", "--yes"], arguments].concat();
    let rehearsed = home.json(&[&all[..], &["--dry-run"]].concat()).expect(0);
    let named: Vec<_> = rehearsed.of("file").map(|file| file["path"].as_str().unwrap()).collect();
    assert_eq!(here(&home), before);
    let real = home.json(&all).expect(0);
    let now = here(&home);
    let mut gone: Vec<_> = before.into_iter().filter(|path| !now.contains(path)).collect();
    assert_eq!(named, real.of("file").map(|file| file["path"].as_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(rehearsed.count("bytes_freed"), real.count("bytes_freed"));
    gone.sort_unstable();
    assert_eq!(gone, expected);
    real
}

/// An empty path, from a script whose variable was never set, stood for the whole volume, and everything went.
#[test]
fn an_empty_path_names_nothing() {
    let home = aged(&Setup::usual());
    let (before, to) = (home.tree("photos"), home.path("to"));
    for command in [
        &["offload", "photos", "", "--yes"] as &[&str],
        &["offload", "photos", "young/1d", "", "--yes"],
        &["restore", "photos", ""],
        &["restore", "photos", "old", "", "--in-place"],
        &["restore", "photos", "", "--to", to.to_str().unwrap()],
        &["explain", ""],
        &["query", ""],
    ] {
        let refused = home.json(command).expect(2);
        assert_eq!(refused.error_code(), "usage");
        let message = refused.error()["message"].as_str().unwrap();
        assert!(message.contains("PATH") && message.contains("the path is empty"), "{}", refused.ran);
    }
    assert_same_tree(&home.tree("photos"), &before);
    assert!(!to.exists());
}

#[test]
fn paths_select() {
    takes(&["old/90d"], &["old/90d"]);
    takes(&["young", "old/100d"], &["old/100d", "young/10d", "young/1d"]);
    takes(&["./old/", "old"], &["old/100d", "old/90d"]);
    takes(&["."], &["old/100d", "old/90d", "young/10d", "young/1d"]);
}

#[test]
fn ages_and_sizes_select() {
    takes(&[".", "--older-than", "90d"], &["old/100d", "old/90d"]);
    takes(&[".", "--older-than", "91d"], &["old/100d"]);
    takes(&["young", "--older-than", "24h"], &["young/10d", "young/1d"]);
    takes(&[".", "--larger-than", "2kB"], &["young/10d", "young/1d"]);
    takes(&[".", "--larger-than", "1999"], &["old/90d", "young/10d", "young/1d"]);
    takes(&[".", "--larger-than", "1500", "--older-than", "5d"], &["old/90d", "young/10d"]);
    takes(&[".", "--older-than", "1w", "--larger-than", "1GiB"], &[]);
}

#[test]
fn free_takes_the_longest_unmodified_until_it_is_enough() {
    assert_eq!(takes(&[".", "--free", "1"], &["old/100d"]).count("bytes_freed"), 1000);
    assert_eq!(takes(&[".", "--free", "1000"], &["old/100d"]).count("bytes_freed"), 1000);
    assert_eq!(takes(&[".", "--free", "1001"], &["old/100d", "old/90d"]).count("bytes_freed"), 3000);
    assert_eq!(takes(&["young", "--free", "2kB"], &["young/10d"]).count("bytes_freed"), 3000);
    takes(&[".", "--free", "1TB"], &["old/100d", "old/90d", "young/10d", "young/1d"]);
}

/// A file that the gate stops frees nothing: the next one is taken in its place.
#[test]
fn free_goes_on_where_the_gate_stops_a_file() {
    let home = aged(&Setup::usual());
    fs::remove_file(home.object("usb", &noise("old/100d", 1000))).unwrap();
    home.run(&["verify"]).expect(1);
    let offload = home.json(&["offload", "photos", ".", "--free", "500", "--yes"]).expect(1);
    assert_eq!((offload.count("blocked"), offload.count("offloaded"), offload.count("bytes_freed")), (1, 1, 2000));
    assert_eq!(here(&home), ["old/100d", "young/10d", "young/1d"]);
}

#[test]
fn nothing_is_taken_that_nobody_named() {
    let home = aged(&Setup::usual());
    let before = home.tree("photos");
    for (arguments, code) in [
        (&["offload", "photos", "--yes"] as &[&str], "usage"),
        (&["offload", "photos", "--free", "1GB", "--yes"], "usage"),
        (&["offload", "photos", "nowhere", "--yes"], "not-found"),
        (&["offload", "photos", "../photos", "--yes"], "usage"),
        (&["offload", "photos", "/etc", "--yes"], "usage"),
        (&["offload", "music", ".", "--yes"], "not-found"),
        (&["offload", "--yes"], "usage"),
        (&["offload", "photos", ".", "--older-than", "90", "--yes"], "usage"),
        (&["offload", "photos", ".", "--free", "much", "--yes"], "usage"),
        (&["offload", "--undo", "999"], "not-found"),
        (&["offload", "--undo", "1"], "not-found"),
    ] {
        assert_eq!(home.json(arguments).expect(2).error_code(), code, "{arguments:?}");
    }
    // Nobody is there to say yes.
    let unasked = home.json(&["offload", "photos", "."]).expect(2);
    assert_eq!(unasked.error_code(), "usage");
    assert!(unasked.error()["hint"].as_str().unwrap().contains("--yes"));
    assert_same_tree(&home.tree("photos"), &before);
    // An absolute path does as well.
    let path = home.volume("photos").join("old/90d");
    home.run(&["offload", "photos", path.to_str().unwrap(), "--yes"]).expect(0);
    assert!(!path.exists());
}

#[test]
fn what_is_offloaded_is_known_and_comes_back_as_it_was() {
    let home = aged(&Setup::usual());
    set_mode(&home.volume("photos").join("old/90d"), 0o751);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let before = home.tree("photos");
    home.run(&["offload", "photos", "old", "--yes"]).expect(0);
    let listed = home.json(&["query", "--offloaded"]).expect(0);
    assert_eq!((listed.count("files"), listed.count("bytes")), (2, 3000));
    // Neither an index run nor a push takes it for missing.
    assert_eq!(home.json(&["index"]).expect(0).count("missing"), 0);
    assert_eq!(home.json(&["sync"]).expect(0).count("files"), 2);
    let status = home.json(&["status"]).expect(0);
    let volume = status.of("status").find(|line| line["destination"].is_null()).unwrap();
    assert_eq!(
        (volume["level"].as_str(), volume["offloaded"].as_u64(), volume["total"].as_u64()),
        (Some("green"), Some(2), Some(2))
    );
    let explained = home.json(&["explain", home.volume("photos").join("old/90d").to_str().unwrap()]).expect(0);
    assert_eq!(explained.file("old/90d")["status"], "offloaded");
    assert_eq!(home.json(&["restore", "photos", "old/100d"]).expect(0).count("restored"), 1);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 1);
    assert_same_tree(&home.tree("photos"), &before);
    // What came back is younger than the last push.
    assert_eq!(home.json(&["offload", "photos", "old", "--yes"]).expect(1).causes("old/90d"), ["behind@usb"]);
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", "old", "--yes"]).expect(0).count("offloaded"), 2);
}

/// A name more or less of the same bytes on disk frees nothing: only the last one does.
#[test]
fn hard_links_free_their_bytes_once() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", &noise("a", 5000));
    fs::create_dir(home.volume("photos").join("dir")).unwrap();
    for link in ["b", "dir/c"] {
        fs::hard_link(home.volume("photos").join("a"), home.volume("photos").join(link)).unwrap();
    }
    home.run(&["index"]).expect(0);
    assert_eq!(home.json(&["sync"]).expect(0).count("stored"), 1);
    let before = home.tree("photos");
    let free = |path: &str, expected: u64| {
        let rehearsed = home.json(&["offload", "photos", path, "--dry-run"]).expect(0);
        assert_eq!(rehearsed.count("bytes_freed"), expected);
        let real = home.json(&["offload", "photos", path, "--yes"]).expect(0);
        assert_eq!(real.count("bytes_freed"), expected);
    };
    free("b", 0);
    // An inode's change time moves with its names; the others are still what they were.
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    free(".", 5000);
    assert!(home.tree("photos").is_empty());
    home.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &before);
    // One more outside of the volume keeps the bytes here.
    home.run(&["sync"]).expect(0);
    fs::hard_link(home.volume("photos").join("a"), home.path("outside")).unwrap();
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    free("a", 0);
    assert_eq!(fs::read(home.path("outside")).unwrap(), noise("a", 5000));
}

/// One content in several files is pushed once, and each file comes back.
#[test]
fn duplicates_go_and_come_back_one_by_one() {
    let home = Home::new(&Setup::usual());
    for path in ["a", "b", "c/d"] {
        home.write("photos", path, &noise("same", 3000));
    }
    home.write("photos", "empty", b"");
    home.write("photos", "empty too", b"");
    home.run(&["index"]).expect(0);
    assert_eq!(home.json(&["sync"]).expect(0).count("stored"), 2);
    let before = home.tree("photos");
    assert_eq!(home.json(&["query", "--duplicates"]).expect(0).count("contents"), 2);
    assert_eq!(home.json(&["offload", "photos", "a", "--yes"]).expect(0).count("bytes_freed"), 3000);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("bytes_freed"), 6000);
    assert_eq!(home.json(&["restore", "photos", "c"]).expect(0).count("restored"), 1);
    assert_eq!(here(&home), ["c/d"]);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 4);
    assert_same_tree(&home.tree("photos"), &before);
}

/// `./$DIR` with a variable that nobody set is the whole volume, and so is its own path: only a dot means that.
#[test]
fn a_whole_volume_is_named_by_a_dot_alone() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let root = home.volume("photos").display().to_string();
    for whole in ["./", "./.", &root, &format!("{root}/")] {
        let refused = home.json(&["offload", "photos", whole, "--yes"]).expect(2);
        assert_eq!(refused.error_code(), "usage", "{whole}");
        assert!(home.volume("photos").join("a").exists());
    }
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 1);
}

/// What is no regular file is no content: it is said what was left out, and it stays.
#[test]
fn what_is_no_file_stays() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "real", b"bytes");
    symlink("real", home.volume("photos").join("link")).unwrap();
    symlink("/", home.volume("photos").join("loop")).unwrap();
    fs::create_dir(home.volume("photos").join("empty directory")).unwrap();
    let index = home.json(&["index"]).expect(0);
    assert_eq!((index.count("files"), index.count("skipped")), (1, 2));
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    assert_eq!(here(&home), ["link", "loop"]);
    assert!(home.volume("photos").join("empty directory").is_dir());
}

#[test]
fn within_the_grace_everything_can_be_put_back() {
    let home = aged(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1h\""));
    let before = home.tree("photos");
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    assert_eq!((offload.count("quarantined"), offload.count("offloaded"), offload.count("bytes_freed")), (4, 0, 0));
    assert!(home.tree("photos").is_empty());
    // People can see it and move it back by hand, without any index.
    let aside = home.volume("photos").join(".lastcopy/offload").join(offload.run().to_string());
    assert_same_tree(&read_tree(&aside), &before);
    // Nobody takes it for missing meanwhile, and nothing is deleted before its time.
    assert_eq!(home.json(&["index"]).expect(0).count("missing"), 0);
    home.json(&["sync"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", "--yes"]).expect(0).count("waiting"), 4);
    assert_same_tree(&read_tree(&aside), &before);
    let choosing = home.json(&["offload", "photos", "--older-than", "1d", "--yes"]).expect(2);
    assert_eq!(choosing.error_code(), "usage");
    // Who asks for them is told how they come back.
    for command in [&["offload", "photos", "--yes"] as &[&str], &["restore", "photos", "old"], &["restore", "photos"]] {
        let told = home.run(command).expect(0);
        let files = if command.contains(&"old") { 2 } else { 4 };
        assert!(told.stdout.contains(&format!("photos: {files} files in quarantine until 20")), "{told}");
        assert!(told.stdout.contains(&format!("`lastcopy offload --undo {}` puts them back", offload.run())), "{told}");
    }
    // A new file in the place of one keeps it; the old one is kept for a person to look at.
    home.write("photos", "old/90d", b"new in its place");
    let run = offload.run().to_string();
    assert_eq!(home.json(&["offload", "--undo", &run, "--dry-run"]).expect(0).count("put_back"), 4);
    let undone = home.json(&["offload", "--undo", &run]).expect(1);
    assert_eq!((undone.count("put_back"), undone.count("kept")), (3, 1));
    assert_eq!(fs::read(home.volume("photos").join("old/90d")).unwrap(), b"new in its place");
    let kept = home.volume("photos").join(".lastcopy/kept").join(&run).join("old/90d");
    assert_eq!(fs::read(kept).unwrap(), noise("old/90d", 2000));
    for (path, entry) in home.tree("photos").iter().filter(|(path, _)| !path.ends_with("90d")) {
        assert!(before[path] == *entry, "{}", path.display());
    }
    // Doing it again changes nothing.
    assert_eq!(home.json(&["offload", "--undo", &run]).expect(0).count("put_back"), 0);
    home.json(&["db", "check"]).expect(0);
    // What was put back is younger than the last push, and goes again after the next one.
    assert_eq!(home.json(&["offload", "photos", "young", "--yes"]).expect(1).causes("young/1d"), ["behind@usb"]);
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", "young", "--yes"]).expect(0).count("quarantined"), 2);
}

#[test]
fn after_the_grace_the_next_offload_goes_on() {
    let home = aged(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1ms\""));
    let before = home.tree("photos");
    home.run(&["offload", "photos", "old", "--yes"]).expect(0);
    // An object is lost during the grace: that file must not go.
    fs::remove_file(home.object("usb", &noise("old/90d", 2000))).unwrap();
    let dry = ["offload", "photos", "--dry-run"];
    wait_for("the grace is over", || home.json(&dry).summary()["waiting"].is_null());
    let rehearsed = home.json(&dry).expect(1);
    assert_eq!(rehearsed.file("old/100d")["outcome"], "would-offload");
    assert_eq!(rehearsed.causes("old/90d"), ["not-held@usb"]);
    let finished = home.json(&["offload", "photos", "--yes"]).expect(1);
    for field in ["selected", "offloaded", "quarantined", "blocked", "drift", "errors", "bytes_freed"] {
        assert_eq!(rehearsed.count(field), finished.count(field), "{field}");
    }
    assert_eq!((finished.count("offloaded"), finished.count("blocked"), finished.count("bytes_freed")), (1, 1, 1000));
    assert_eq!(finished.file("old/90d")["outcome"], "blocked");
    assert_eq!(fs::read(home.volume("photos").join("old/90d")).unwrap(), noise("old/90d", 2000));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 1);
    assert_same_tree(&home.tree("photos"), &before);
}

/// The path that is offloaded is a name in the destination, too: by the time that it is confirmed, it is not there any more.
#[test]
fn a_destination_that_is_the_file_itself_does_not_vouch() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", &noise("a", 3000));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let object = home.object("usb", &noise("a", 3000));
    fs::remove_file(&object).unwrap();
    symlink(home.volume("photos").join("a"), &object).unwrap();
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.file("a")["outcome"], "blocked");
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), noise("a", 3000));
}
