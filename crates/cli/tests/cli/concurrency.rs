//! Several processes at once, and processes that are stopped or killed in the middle of their work.

use crate::home::{Home, Setup};
use crate::ran::wait_for;
use crate::tree::{Tree, assert_same_tree, digest, noise, read_tree};
use rustix::fs::FlockOperation;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

const FILES: usize = 400;

/// A volume with enough in it that a run takes a while, in directories, with a duplicate and modes.
fn fill(home: &Home) -> Tree {
    for number in 0..FILES {
        home.write("photos", &format!("{}/{number}", number % 7), &noise(&number.to_string(), 15_000 + number));
    }
    home.write("photos", "again", &noise("3", 15_003));
    crate::tree::set_mode(&home.volume("photos").join("again"), 0o600);
    home.tree("photos")
}

fn filled(setup: &Setup) -> (Home, Tree) {
    let home = Home::new(setup);
    let tree = fill(&home);
    (home, tree)
}

fn pushed() -> (Home, Tree) {
    let (home, tree) = filled(&Setup::usual());
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    (home, tree)
}

/// Files below a directory, while others work on it.
fn count(dir: &Path) -> usize {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries.flatten().map(|entry| if entry.file_type().is_ok_and(|kind| kind.is_dir()) { count(&entry.path()) } else { 1 }).sum()
}

/// That a destination holds exactly what a tree does: each object's bytes hash to its name, and every content is there.
#[track_caller]
fn assert_holds(home: &Home, destination: &str, tree: &Tree) {
    let objects = read_tree(&home.destination(destination).join("objects"));
    for (path, object) in &objects {
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), digest(&object.bytes), "{} is damaged", path.display());
    }
    let held: BTreeSet<_> = objects.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let wanted: BTreeSet<_> = tree.values().map(|entry| digest(&entry.bytes)).collect();
    assert!(held == wanted, "{} objects for {} contents", held.len(), wanted.len());
}

/// That each file's bytes are at its place, aside, or at the destination: at any moment, whatever was killed.
#[track_caller]
fn assert_nothing_lost(home: &Home, destination: &str, tree: &Tree) {
    let here = home.tree("photos");
    let own = read_tree(&home.volume("photos").join(".lastcopy"));
    for (path, entry) in tree {
        let in_place = here.get(path).is_some_and(|found| found.bytes == entry.bytes);
        let aside = own.iter().any(|(at, found)| at.ends_with(path) && found.bytes == entry.bytes);
        let away = fs::read(home.object(destination, &entry.bytes)).is_ok_and(|bytes| bytes == entry.bytes);
        assert!(in_place || aside || away, "{} is nowhere", path.display());
    }
}

/// That nothing of ours is left in the volume but the marker, and what was kept on purpose.
#[track_caller]
fn assert_tidy(home: &Home) {
    let own = home.volume("photos").join(".lastcopy");
    for area in ["offload", "incoming"] {
        assert_eq!(count(&own.join(area)), 0, "files are left in {area}");
    }
}

#[test]
fn an_index_in_flight_refuses_what_contradicts_it_and_nothing_else() {
    let (home, _) = filled(&Setup::usual().volume("music", &["usb"]));
    home.write("music", "song", b"la la");
    let index = home.paused(&["--json", "index", "photos"], "index");
    for command in [
        &["index", "photos"] as &[&str],
        &["audit", "photos"],
        &["sync", "photos"],
        &["restore", "photos"],
        &["volume", "add", "photos", home.volume("photos").to_str().unwrap()],
    ] {
        let refused = home.json(command).expect(3);
        assert_eq!(refused.error_code(), "busy", "{command:?}");
        // The run in the way, by id, kind, age and owner.
        let said = refused.error()["message"].as_str().unwrap();
        let (run, since) = said.split_once(" contradicts run ").unwrap().1.split_once(" (index), running since 20").unwrap();
        assert!(run.parse::<u64>().is_ok() && since.contains(", by ") && since.contains(" pid "), "{said}");
    }
    for command in [&["index", "music"] as &[&str], &["sync", "music"], &["verify", "usb"], &["db", "check"], &["alarms"]] {
        home.json(command).expect(0);
    }
    // Over several volumes, what can be done is done, and the exit status tells of the rest.
    let both = home.json(&["index"]).expect(1);
    let statuses: Vec<_> = both.of("summary").map(|summary| summary["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["success", "refused"]);
    assert_eq!(index.resume_json().expect(0).count("added"), FILES as u64 + 1);
}

#[test]
fn a_push_in_flight_refuses_what_contradicts_it_and_nothing_else() {
    let (home, tree) = filled(&Setup::two_destinations().volume("music", &["usb"]));
    home.write("music", "song", b"la la");
    home.run(&["index"]).expect(0);
    let push = home.paused(&["--json", "sync", "photos", "--to", "usb"], "sync");
    for command in [
        &["index", "photos"] as &[&str],
        &["audit", "photos"],
        &["sync", "photos", "--to", "usb"],
        &["verify", "usb"],
        &["verify", "usb", "--volume", "photos"],
        &["restore", "photos"],
        &["destination", "reset", "usb", "--reason", "x", "--yes"],
        &["destination", "adopt", "usb", "--reason", "x", "--yes"],
        &["evidence", "rewind", "photos", "usb", "--to", "0", "--reason", "x", "--yes"],
    ] {
        assert_eq!(home.json(command).expect(3).error_code(), "busy", "{command:?}");
    }
    for command in [&["sync", "photos", "--to", "nas"] as &[&str], &["sync", "music"], &["verify", "usb", "--volume", "music"]] {
        home.json(command).expect(0);
    }
    push.resume_json().expect(0);
    assert_holds(&home, "nas", &tree);
}

#[test]
fn with_wait_a_command_waits_for_the_run_in_its_way() {
    let (home, tree) = filled(&Setup::usual());
    let index = home.paused(&["index"], "index");
    let mut sync = home.spawn(&["sync", "--wait"]);
    wait_for("it says that it waits", || sync.stderr_so_far().contains("waiting"));
    assert!(sync.is_running());
    index.resume().expect(0);
    let told = sync.wait().expect(0);
    assert!(told.stdout.contains(&format!("{} files", tree.len())), "the push came before the index was done:\n{told}");
    assert_holds(&home, "usb", &tree);
    // A refusal that repeats itself is counted in one record.
    let runs = home.json(&["runs"]).expect(0);
    assert_eq!(runs.of("run").filter(|run| run["status"] == "refused").count(), 1);
}

/// An index was not put back beside a run, which is right; but nobody said which run it was, or how to end it, and `--wait` did not wait.
#[test]
fn an_index_is_put_back_once_nothing_runs() {
    let (home, tree) = pushed();
    let copy = home.path("copy.db");
    let restore = ["db", "restore", copy.to_str().unwrap(), "--yes"];
    home.run(&["db", "backup", restore[2]]).expect(0);
    let audit = home.paused(&["audit", "--deep"], "audit");
    let refused = home.json(&restore).expect(3);
    assert_eq!(refused.error_code(), "busy");
    assert!(refused.error()["message"].as_str().unwrap().contains(&format!("run {}", audit.run)), "{}", refused.ran);
    assert!(refused.error()["hint"].as_str().unwrap().contains(&format!("runs abort {}", audit.run)), "{}", refused.ran);
    let mut waiting = home.spawn(&[&restore[..], &["--wait"]].concat());
    wait_for("it says that it waits", || waiting.stderr_so_far().contains("waiting"));
    assert!(waiting.is_running());
    audit.resume().expect(0);
    waiting.wait().expect(0);
    home.json(&["index"]).expect(0);
    home.json(&["sync"]).expect(0);
    assert_holds(&home, "usb", &tree);
}

#[test]
fn processes_that_meet_at_a_new_index_make_one_node() {
    let home = Home::empty();
    home.configure(&Setup::usual());
    fs::create_dir(home.volume("photos")).unwrap();
    let together: Vec<_> = (0..6).map(|_| home.spawn(&["--json", "destination", "list"])).collect();
    let mut said: Vec<_> = together.into_iter().map(|one| one.wait().into_json().expect(0).ran.stdout).collect();
    said.dedup();
    assert_eq!(said.len(), 1);
    let log = home.json(&["evidence", "log"]).expect(0);
    assert_eq!(log.of("evidence").filter(|entry| entry["event"] == "epoch").count(), 1);
}

#[test]
fn two_offloads_at_once_delete_each_file_once() {
    let (home, tree) = pushed();
    let offloads: Vec<_> = (0..3).map(|_| home.spawn(&["--json", "offload", "photos", ".", "--yes"])).collect();
    let mut offloaded = 0;
    for offload in offloads {
        let done = offload.wait().into_json();
        match done.ran.code() {
            Some(0 | 1) => offloaded += done.count("offloaded"),
            _ => assert_eq!(done.expect(3).error_code(), "busy"),
        }
    }
    assert_eq!(offloaded, tree.len() as u64);
    assert!(home.tree("photos").is_empty());
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), tree.len() as u64);
    assert_same_tree(&home.tree("photos"), &tree);
}

#[test]
fn a_killed_index_is_done_again() {
    let (home, tree) = filled(&Setup::usual());
    for _ in 0..3 {
        home.paused(&["index"], "index").kill().expect_killed();
    }
    let index = home.json(&["index"]).expect(0);
    assert_eq!(index.count("files"), tree.len() as u64);
    let runs = home.json(&["runs"]).expect(0);
    let statuses: Vec<_> = runs.of("run").filter(|run| run["kind"] == "index").map(|run| run["status"].as_str().unwrap()).collect();
    // `volume add` is an index run, too.
    assert_eq!(statuses, ["success", "aborted", "aborted", "aborted", "success"]);
    home.json(&["db", "check"]).expect(0);
    home.json(&["sync"]).expect(0);
    assert_holds(&home, "usb", &tree);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), tree.len() as u64);
}

#[test]
fn a_killed_push_is_resumed() {
    let (home, tree) = filled(&Setup::usual());
    home.run(&["index"]).expect(0);
    for threshold in [1, 100, 250] {
        let sync = home.spawn(&["sync"]);
        wait_for("objects arrive", || count(&home.destination("usb")) > threshold);
        sync.kill().expect_killed();
        // No claim yet: nothing goes.
        assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
    }
    let sync = home.json(&["sync"]).expect(0);
    assert_eq!(sync.count("already") + sync.count("verified"), tree.len() as u64);
    assert_holds(&home, "usb", &tree);
    home.json(&["db", "check"]).expect(0);
    home.json(&["verify"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), tree.len() as u64);
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &tree);
}

/// A kill between the head's arrival there and its record here, or before either: the next push finds one of the two heads it knows.
#[test]
fn a_push_that_is_killed_at_its_end_is_resumed() {
    let (home, tree) = filled(&Setup::usual());
    home.run(&["index"]).expect(0);
    let volumes = home.destination("usb").join("volumes");
    for _ in 0..3 {
        let files = count(&volumes);
        let mut sync = home.spawn(&["sync"]);
        wait_for("a segment or a head arrives", || count(&volumes) > files || !sync.is_running());
        sync.kill();
        home.write("photos", "more", &noise(&files.to_string(), 100));
        home.run(&["index"]).expect(0);
    }
    home.json(&["sync"]).expect(0);
    home.json(&["alarms"]).expect(0);
    let more = home.tree("photos");
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), tree.len() as u64 + 1);
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &more);
}

#[test]
fn a_killed_offload_loses_nothing() {
    let (home, tree) = pushed();
    for threshold in [1, 60, 200] {
        let offload = home.spawn(&["offload", "photos", ".", "--yes"]);
        let (here, aside) = (home.volume("photos"), home.volume("photos").join(".lastcopy/offload"));
        // Files are moved aside first, then deleted. They move while they are counted: one may be seen in both places, or in none.
        wait_for("files leave", || {
            let visible = count(&here).saturating_sub(count(&here.join(".lastcopy")));
            tree.len().saturating_sub(visible) > threshold || count(&aside) > threshold
        });
        offload.kill().expect_killed();
        assert_nothing_lost(&home, "usb", &tree);
        home.json(&["index"]).expect(0);
        assert_tidy(&home);
        assert_nothing_lost(&home, "usb", &tree);
        home.json(&["db", "check"]).expect(0);
        let status = home.json(&["status"]);
        let volume = status.of("status").find(|line| line["destination"].is_null()).unwrap();
        assert_eq!(volume["quarantined"], 0, "an intent was left open");
        // What came back has the bytes, mode and time that it had; nothing is in two places.
        for (path, found) in home.tree("photos") {
            assert!(tree[&path] == found, "{} came back changed", path.display());
        }
        home.json(&["restore", "photos"]).expect(0);
        assert_same_tree(&home.tree("photos"), &tree);
        home.json(&["index"]).expect(0);
        home.json(&["sync"]).expect(0);
    }
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), tree.len() as u64);
}

/// Between a deletion and its record: what is gone as intended is known as offloaded, and nothing else is.
#[test]
fn an_offload_that_is_killed_while_it_deletes_loses_nothing() {
    let (home, tree) = pushed();
    let offload = home.spawn(&["offload", "photos", ".", "--yes"]);
    let aside = home.volume("photos").join(".lastcopy/offload");
    let mut most = 0;
    wait_for("files that were aside are deleted", || {
        let now = count(&aside);
        most = most.max(now);
        now < most
    });
    offload.kill().expect_killed();
    assert_nothing_lost(&home, "usb", &tree);
    let settled = home.json(&["index"]).expect(0);
    assert_tidy(&home);
    let here = home.tree("photos");
    assert!(here.len() < tree.len(), "nothing had been deleted: this is no test");
    // Nothing is missing: each file that is not here was deleted on purpose, and is known to have been.
    assert_eq!(settled.count("missing"), 0);
    assert_eq!(home.json(&["query", "--missing"]).expect(0).count("files"), 0);
    let offloaded = home.json(&["query", "--offloaded"]).expect(0).count("files");
    assert_eq!(offloaded, (tree.len() - here.len()) as u64);
    home.json(&["db", "check"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), offloaded);
    assert_same_tree(&home.tree("photos"), &tree);
}

/// An offload that was interrupted said that it had deleted nothing, whatever it had deleted.
#[test]
fn an_offload_that_is_interrupted_tells_what_it_deleted() {
    let (home, tree) = pushed();
    let mut offload = home.spawn(&["--json", "offload", "photos", ".", "--yes"]);
    let aside = home.volume("photos").join(".lastcopy/offload");
    let mut most = 0;
    wait_for("files that were aside are deleted", || {
        let now = count(&aside);
        most = most.max(now);
        now < most
    });
    offload.signal(Signal::INT);
    let ended = offload.wait().into_json().expect(4);
    assert_eq!((ended.error_code(), ended.summary()["status"].as_str()), ("interrupted", Some("aborted")));
    let here = home.tree("photos");
    assert!(!here.is_empty() && here.len() < tree.len(), "it was over, or had not begun: this is no test");
    let gone = (tree.len() - here.len()) as u64;
    assert_eq!((ended.count("selected"), ended.count("offloaded")), (tree.len() as u64, gone));
    assert!(ended.count("bytes_freed") >= gone * 15_000, "{}", ended.ran);
    let recorded = home.run(&["runs", &ended.run().to_string()]).expect(0);
    assert!(recorded.stdout.contains(&format!("\"offloaded\":{gone},")), "{recorded}");
}

#[test]
fn a_killed_restore_is_done_again() {
    let (home, tree) = pushed();
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    for threshold in [1, 100, 300] {
        let restore = home.spawn(&["restore", "photos"]);
        wait_for("files arrive", || count(&home.volume("photos")) > threshold);
        restore.kill().expect_killed();
        for (path, found) in home.tree("photos") {
            assert!(tree[&path] == found, "{} came back damaged or half", path.display());
        }
        home.json(&["db", "check"]).expect(0);
    }
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &tree);
    assert_tidy(&home);
    let index = home.json(&["index"]).expect(0);
    assert_eq!((index.count("files"), index.count("missing")), (tree.len() as u64, 0));
    let missing = home.json(&["query", "--offloaded"]).expect(0);
    assert_eq!(missing.count("files"), 0);
}

#[test]
fn an_interrupt_closes_the_run_and_leaves_everything_resumable() {
    let (home, tree) = filled(&Setup::usual());
    let interrupted = |arguments: &[&str], kind: &str, signal: Signal| {
        let mut running = home.paused(&[&["--json"], arguments].concat(), kind);
        let run = running.run;
        running.signal(signal);
        let ended = running.resume_json().expect(4);
        assert_eq!(ended.error_code(), "interrupted", "{}", ended.ran);
        assert_eq!(ended.summary()["status"], "aborted", "{}", ended.ran);
        let recorded = home.json(&["runs", &run.to_string()]).expect(0);
        assert_eq!(recorded.of("run").next().unwrap()["status"], "aborted");
        assert_nothing_lost(&home, "usb", &tree);
        assert_tidy(&home);
        home.json(&["db", "check"]).expect(0);
    };
    interrupted(&["index"], "index", Signal::INT);
    home.json(&["index"]).expect(0);
    interrupted(&["sync"], "sync", Signal::TERM);
    home.json(&["sync"]).expect(0);
    assert_holds(&home, "usb", &tree);
    interrupted(&["verify"], "verify", Signal::INT);
    interrupted(&["audit", "--deep"], "audit", Signal::INT);
    interrupted(&["offload", "photos", ".", "--yes"], "offload", Signal::INT);
    home.run(&["index"]).expect(0);
    home.json(&["sync"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
    interrupted(&["restore", "photos"], "restore", Signal::INT);
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &tree);
}

/// The first interrupt lets the item in hand be finished; somebody who asks twice does not want to wait for it.
#[test]
fn a_second_interrupt_exits_at_once() {
    let home = Home::new(&Setup::usual());
    // Somebody else is opening the index, and does not get on: nothing ends this wait but that, or the second interrupt.
    let opening = File::options().write(true).open(home.beside_index(".lock")).unwrap();
    rustix::fs::flock(&opening, FlockOperation::LockExclusive).unwrap();
    let mut stuck = home.spawn(&["index"]);
    let lock = fs::canonicalize(home.beside_index(".lock")).unwrap();
    let open_files = format!("/proc/{}/fd", stuck.pid());
    wait_for("it waits for the index", || {
        fs::read_dir(&open_files).is_ok_and(|open| open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == lock)))
    });
    // Two that arrive together are one; so they are sent until it ends.
    wait_for("the second interrupt ends it", || {
        stuck.signal(Signal::INT);
        !stuck.is_running()
    });
    stuck.wait().expect(4);
    drop(opening);
    home.run(&["index"]).expect(0);
}
