//! What two audits of an earlier system found: each finding as a story that must end well here.
//!
//! One audit was of its gate, runs and kinds of destination ("robustness"), one of how its durability vectors advanced ("vector
//! advance"). The tests are named after the findings.

use crate::home::{Home, Setup};
use crate::ran::{Json, wait_for};
use crate::tree::{assert_same_tree, copy_tree, flip_bit, noise, read_tree};
use serde_json::Value;
use std::fs;

/// A home whose one volume holds enough that a run on it can be stopped midway.
fn busy_home() -> Home {
    let home = Home::new(&Setup::usual());
    for number in 0..300 {
        home.write("photos", &number.to_string(), &noise(&number.to_string(), 30_000));
    }
    home
}

fn vector(home: &Home, destination: &str) -> Value {
    home.json(&["evidence", "show", "photos", destination]).of("evidence").next().unwrap()["vector"].clone()
}

fn run_record(home: &Home, run: i64) -> Value {
    home.json(&["runs", &run.to_string()]).expect(0).of("run").next().unwrap().clone()
}

fn explain(home: &Home, path: &str) -> Json {
    home.json(&["explain", home.volume("photos").join(path).to_str().unwrap()])
}

/// Vector advance: the push read the live table when it advanced, after the transfer, and index runs were free to commit meanwhile. A
/// file that was indexed during a push was claimed durable although it was never sent; in a content-addressed store it never would
/// be, because the next push began above it. An offload then deleted the only copy.
///
/// Here the index run is refused while the push runs, the file that appeared is not covered, and the next push sends it.
#[test]
fn a_file_indexed_during_a_push_is_not_covered_by_it() {
    let home = busy_home();
    home.run(&["index"]).expect(0);
    let push = home.paused(&["--json", "sync"], "sync");
    let late = noise("late", 5000);
    home.write("photos", "late", &late);
    let index = home.json(&["index"]).expect(3);
    assert_eq!(index.error_code(), "busy");
    let refused = run_record(&home, index.run());
    assert_eq!((refused["status"].as_str(), refused["blocked_by"].as_i64()), (Some("refused"), Some(push.run)));
    push.resume_json().expect(0);

    home.json(&["index"]).expect(0);
    let explained = explain(&home, "late").expect(1);
    assert_eq!(explained.causes("late"), ["behind@usb", "no-receipt@usb"]);
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((offload.count("offloaded"), offload.count("blocked")), (300, 1));
    assert_eq!(fs::read(home.volume("photos").join("late")).unwrap(), late);

    // The next push does send it, and writes it down where a recovery finds it.
    assert_eq!(home.json(&["sync"]).expect(0).count("stored"), 1);
    assert_eq!(fs::read(home.object("usb", &late)).unwrap(), late);
    home.json(&["offload", "photos", "late", "--yes"]).expect(0);
    home.json(&["restore", "photos", "late"]).expect(0);
    assert_eq!(fs::read(home.volume("photos").join("late")).unwrap(), late);
}

/// Vector advance: where the gate of runs did not help (a run that hangs is closed by hand, and an index run then commits while the
/// push still transfers), the advance itself must not cover the new file, nor may the closed run record anything.
#[test]
fn a_push_that_was_closed_by_hand_advances_nothing() {
    let home = busy_home();
    home.run(&["index"]).expect(0);
    let push = home.paused(&["--json", "sync"], "sync");
    home.run(&["runs", "abort", &push.run.to_string()]).expect(0);
    home.write("photos", "late", b"indexed while the push still runs");
    home.run(&["index"]).expect(0);
    let run = push.run;
    let closed = push.resume_json().expect(4);
    assert_eq!(closed.error_code(), "interrupted");
    assert_eq!(run_record(&home, run)["status"], "aborted");
    assert_eq!(vector(&home, "usb"), serde_json::json!({}));
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
    assert_eq!(home.json(&["sync"]).expect(0).count("files"), 301);
}

/// Vector advance, the gate's part: a claim older than the file is none, even where the destination happens to hold the same bytes.
#[test]
fn a_file_that_became_present_after_the_last_push_fails_the_gate() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"the same bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.write("photos", "b", b"the same bytes");
    home.run(&["index"]).expect(0);
    assert_eq!(explain(&home, "b").expect(1).causes("b"), ["behind@usb"]);
    let offload = home.json(&["offload", "photos", "b", "--yes"]).expect(1);
    assert_eq!(offload.causes("b"), ["behind@usb"]);
    assert_eq!(fs::read(home.volume("photos").join("b")).unwrap(), b"the same bytes");
    // A push with nothing to send covers it.
    assert_eq!(home.json(&["sync"]).expect(0).count("stored"), 0);
    assert_eq!(home.json(&["offload", "photos", "b", "--yes"]).expect(0).count("offloaded"), 1);
}

/// Robustness: index and sync could begin while an offload was in flight, because only the offload's gate looked at the others. Here
/// contradicting runs refuse each other whichever comes first.
#[test]
fn the_run_gate_refuses_both_ways() {
    let home = busy_home();
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_file(home.volume("photos").join("0")).unwrap();
    home.run(&["index"]).expect(0);
    let index: &[&str] = &["index"];
    let sync = &["sync"];
    let offload = &["offload", "photos", ".", "--yes"];
    let restore = &["restore", "photos", "0"];
    let audit = &["audit"];
    let verify = &["verify", "usb"];
    let reset = &["destination", "reset", "usb", "--reason", "test", "--yes"];
    let rewind = &["evidence", "rewind", "photos", "usb", "--to", "0", "--reason", "test", "--yes"];
    let refused_during = |arguments: &[&str], kind: &str, others: &[&[&str]]| {
        let before = home.tree("photos");
        let running = home.paused(&[&["--json"], arguments].concat(), kind);
        let evidence = vector(&home, "usb");
        for other in others {
            let refused = home.json(other).expect(3);
            assert_eq!(refused.error_code(), "busy", "{other:?} during {arguments:?}");
            let hint = refused.error()["hint"].as_str().unwrap();
            assert!(hint.contains(&format!("lastcopy runs abort {}", running.run)), "{hint}");
        }
        assert_eq!(vector(&home, "usb"), evidence, "a refused run changed the evidence during {arguments:?}");
        running.kill().expect_killed();
        home.run(&["index"]).expect(0);
        assert_same_tree(&home.tree("photos"), &before);
    };
    refused_during(&["audit", "--deep"], "audit", &[index, audit, sync, restore, offload]);
    refused_during(&["verify", "usb"], "verify", &[verify, sync, offload, reset, rewind]);
    refused_during(offload, "offload", &[index, audit, sync, restore, offload, verify, reset, rewind]);
}

/// Robustness: a hook run's record had no guard, so that a second finish wrote over the first. A run that was closed by hand, and whose
/// process then comes to its own end, is the way to a double finish here.
#[test]
fn the_first_terminal_status_of_a_run_stays() {
    let home = busy_home();
    let index = home.paused(&["--json", "index"], "index");
    home.run(&["runs", "abort", &index.run.to_string()]).expect(0);
    let closed = run_record(&home, index.run);
    assert_eq!(closed["status"], "aborted");
    let run = index.run;
    index.resume_json().expect(4);
    assert_eq!(run_record(&home, run), closed);
    let again = home.json(&["runs", "abort", &run.to_string()]).expect(3);
    assert_eq!(again.error_code(), "refused");
    assert_eq!(run_record(&home, run), closed);
}

/// The same finding, for hook runs: one that is alive is not started a second time, one whose process died is closed once, and neither
/// record changes afterwards.
#[test]
fn the_first_terminal_status_of_a_hook_run_stays() {
    let home = Home::empty();
    let gate = home.path("gate");
    let made = std::process::Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    // It waits until somebody writes into the pipe.
    let hook = format!("[volumes.photos.hook]\ncommand = [\"sh\", \"-c\", \"read line < {}\"]", gate.display());
    let setup = Setup::usual().volume_lines("photos", &hook);
    home.write("photos", "a", b"a");
    home.configure(&setup.clone().no_policy("photos"));
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    let hooks = || home.json(&["hooks"]).expect(0).of("hook").map(|hook| hook["status"].clone()).collect::<Vec<_>>();

    let first = home.spawn(&["index"]);
    wait_for("the hook runs", || hooks() == ["running"]);
    home.write("photos", "b", b"b");
    let second = home.json(&["index"]).expect(0);
    assert!(second.ran.stderr.contains("still running"), "{}", second.ran);
    assert_eq!(hooks(), ["skipped", "running"]);
    fs::write(&gate, "go\n").unwrap();
    first.wait().expect(0);
    assert_eq!(hooks(), ["skipped", "success"]);

    home.write("photos", "c", b"c");
    let third = home.spawn(&["index"]);
    wait_for("the hook runs", || hooks()[0] == "running");
    third.kill().expect_killed();
    // The hook outlived its parent; now it ends, and nobody is there to say how.
    fs::write(&gate, "go\n").unwrap();
    home.write("photos", "d", b"d");
    let fourth = home.spawn(&["index"]);
    wait_for("the hook runs again", || hooks() == ["running", "aborted", "skipped", "success"]);
    fs::write(&gate, "go\n").unwrap();
    fourth.wait().expect(0);
    assert_eq!(hooks(), ["success", "aborted", "skipped", "success"]);
}

/// Robustness: a copy that was compared by size and time only was recorded as verified by hash. Here a look at presence and size is
/// no proof: it opens no gate that was shut, and refreshes nothing.
#[test]
fn a_check_that_falls_back_to_sizes_is_no_proof() {
    let home = Home::new(&Setup::usual());
    let bytes = noise("a", 3000);
    home.write("photos", "a", &bytes);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["destination", "reset", "usb", "--reason", "the disk was dropped", "--yes"]).expect(0);
    let quick = home.json(&["verify", "usb", "--quick"]).expect(0);
    assert_eq!((quick.count("checked"), quick.count("verified")), (1, 0));
    assert_eq!(explain(&home, "a").expect(1).causes("a"), ["no-evidence@usb", "unverified@usb"]);

    // Same size and time, other bytes: a look does not see it, reading does, and the next push trusts nothing that was not read.
    flip_bit(&home.object("usb", &bytes));
    assert_eq!(home.json(&["verify", "usb", "--quick"]).expect(0).count("verified"), 0);
    assert_eq!(home.json(&["verify", "usb"]).expect(1).count("lost"), 1);
    home.json(&["sync"]).expect(0);
    assert_eq!(fs::read(home.object("usb", &bytes)).unwrap(), bytes);
}

/// Robustness: the push looked its volume up by name alone. With a stale path in the database, it sent the tree of the configured path
/// while the claim covered the files of the recorded one. Here every operation wants configuration, index and marker to agree.
#[test]
fn a_path_that_configuration_and_index_disagree_about_is_refused() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let evidence = vector(&home, "usb");
    // A copy with everything in it, marker included: the same volume by its looks.
    copy_tree(&home.volume("photos"), &home.volume("elsewhere"));
    home.configure(&Setup::usual().volume_at("photos", &home.volume("elsewhere")));
    for command in [
        &["index"] as &[&str],
        &["audit"],
        &["sync"],
        &["verify", "usb", "--volume", "photos"],
        &["offload", "photos", ".", "--yes"],
        &["restore", "photos"],
    ] {
        let refused = home.json(command).expect(3);
        assert_eq!(refused.error_code(), "path-mismatch", "{command:?}");
        assert!(refused.error()["hint"].as_str().unwrap().contains("lastcopy volume move photos"), "{command:?}");
    }
    assert_eq!(explain(&home, "a").ran.code(), Some(2), "the file is in no configured volume");
    assert_eq!(vector(&home, "usb"), evidence);
    // The old place still holds it: the other one is a copy, and no move.
    let copy = home.json(&["volume", "move", "photos", home.volume("elsewhere").to_str().unwrap()]).expect(3);
    assert_eq!(copy.error_code(), "refused");
    assert_eq!(read_tree(&home.volume("photos")).len(), 1);

    fs::remove_dir_all(home.volume("photos")).unwrap();
    home.run(&["volume", "move", "photos", home.volume("elsewhere").to_str().unwrap()]).expect(0);
    home.run(&["index"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 1);
}

/// The same finding with a marker that tells: another tree at the very path, with no marker or with another volume's.
#[test]
fn a_tree_without_the_right_marker_is_refused() {
    let home = Home::new(&Setup::usual().volume("music", &["usb"]));
    home.write("photos", "a", b"photo");
    home.write("music", "a", b"music");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let aside = home.path("aside");
    fs::rename(home.volume("photos"), &aside).unwrap();
    fs::create_dir(home.volume("photos")).unwrap();
    for (command, code) in [
        (&["index", "photos"] as &[&str], "marker-missing"),
        (&["sync", "photos"], "marker-missing"),
        (&["offload", "photos", ".", "--yes"], "marker-missing"),
        (&["restore", "photos"], "marker-missing"),
    ] {
        assert_eq!(home.json(command).expect(3).error_code(), code, "{command:?}");
    }
    fs::remove_dir(home.volume("photos")).unwrap();
    copy_tree(&home.volume("music"), &home.volume("photos"));
    for command in [&["index", "photos"] as &[&str], &["sync", "photos"], &["offload", "photos", ".", "--yes"]] {
        assert_eq!(home.json(command).expect(3).error_code(), "marker-mismatch", "{command:?}");
    }
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"music");
    fs::remove_dir_all(home.volume("photos")).unwrap();
    fs::rename(&aside, home.volume("photos")).unwrap();
    // Nothing was recorded as missing meanwhile.
    assert_eq!(home.json(&["index", "photos"]).expect(0).count("unchanged"), 1);
}

/// Robustness: when a kopia repository could not be connected, it was created anew, its history gone, while the vectors that counted on it
/// stayed. Here only `init` makes a repository, never over one that was there, and what was proven of the old one counts for nothing
/// at the new one.
#[test]
fn a_destination_that_is_gone_is_never_made_again_silently() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_dir_all(home.destination("usb")).unwrap();
    fs::create_dir(home.destination("usb")).unwrap();
    let is_bare = || fs::read_dir(home.destination("usb")).unwrap().next().is_none();
    for command in [&["sync"] as &[&str], &["verify", "usb"]] {
        assert_eq!(home.json(command).expect(3).error_code(), "not-initialised", "{command:?}");
    }
    assert!(is_bare(), "a repository was made by something else than init");
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.causes("a"), ["alarm@usb"]);
    assert_eq!(home.json(&["destination", "init", "usb"]).expect(3).error_code(), "already-initialised");
    assert!(is_bare());

    let reset = ["destination", "reset", "usb", "--reason", "the disk broke"];
    assert_eq!(home.json(&reset).expect(2).error_code(), "usage", "nobody said yes");
    home.run(&[&reset[..], &["--yes"]].concat()).expect(0);
    home.run(&["destination", "init", "usb"]).expect(0);
    assert_eq!(vector(&home, "usb"), serde_json::json!({}));
    let evidence = home.json(&["evidence", "show", "photos", "usb"]).expect(0);
    let evidence = evidence.of("evidence").next().unwrap();
    assert_eq!((evidence["verified"].as_u64(), evidence["generation"].as_u64()), (Some(0), Some(1)));
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.causes("a"), ["no-evidence@usb", "no-receipt@usb"]);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"bytes");
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
}

/// Robustness: there was no way but SQL to take a vector back. Here there is one; it wants a reason, only goes down, and what was proven
/// since counts as unproven.
#[test]
fn a_vector_can_be_rewound_and_only_down() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    let sync = home.json(&["sync"]).expect(0);
    let component = sync.summary()["vector"]["node"].as_i64().unwrap();
    let rewind =
        |to: i64, more: &[&str]| home.json(&[&["evidence", "rewind", "photos", "usb", "--to", &to.to_string()], more].concat());
    assert_eq!(rewind(0, &["--yes"]).expect(2).error_code(), "usage", "without a reason");
    assert_eq!(rewind(0, &["--reason", "x"]).expect(2).error_code(), "usage", "without a yes");
    rewind(0, &["--dry-run"]).expect(0);
    rewind(component + 1, &["--reason", "x", "--yes"]).expect(3);
    assert_eq!(vector(&home, "usb")["node"], component);
    rewind(0, &["--reason", "the disk lies", "--yes"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
    let log = home.json(&["evidence", "log"]).expect(0);
    let rewound = log.of("evidence").find(|entry| entry["event"] == "rewind").unwrap();
    assert_eq!((rewound["before"].as_i64(), rewound["reason"].as_str()), (Some(component), Some("the disk lies")));
    assert_eq!(home.json(&["sync"]).expect(0).count("already"), 0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
}

/// Robustness: evidence never expired, even that of a dead destination. Here a proof is too old once `max_evidence_age` is over, and only
/// a new check makes it young.
#[test]
fn evidence_ages() {
    let setup = Setup::usual().policy("photos", "require = [\"usb\"]\nmax_evidence_age = \"2s\"");
    let home = Home::new(&setup);
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    wait_for("the proof is too old", || explain(&home, "a").ran.code() == Some(1));
    assert_eq!(explain(&home, "a").causes("a"), ["stale@usb"]);
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.causes("a"), ["stale@usb"]);
    // A push with nothing to send, and a look, prove nothing.
    home.json(&["sync"]).expect(0);
    home.json(&["verify", "--quick"]).expect(0);
    assert_eq!(explain(&home, "a").causes("a"), ["stale@usb"]);
    wait_for("a new proof is in time", || {
        home.json(&["verify"]).expect(0);
        home.json(&["offload", "photos", ".", "--yes"]).ran.code() == Some(0)
    });
    assert!(home.tree("photos").is_empty());
}

/// Robustness: advancing to an equal value refreshed the evidence's time without checking anything.
#[test]
fn an_equal_advance_moves_nothing() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    let first = home.json(&["sync"]).expect(0);
    assert_eq!(first.summary()["advanced"], true);
    let receipt = || {
        let query = home.json(&["query", home.volume("photos").join("a").to_str().unwrap()]).expect(0);
        query.lines.iter().find(|line| line["verified_at"].is_string()).unwrap()["verified_at"].clone()
    };
    let log = || home.json(&["evidence", "log"]).expect(0).of("evidence").count();
    let (verified_at, entries) = (receipt(), log());
    let again = home.json(&["sync"]).expect(0);
    assert_eq!(again.summary()["advanced"], false);
    assert_eq!(again.summary()["vector"], first.summary()["vector"]);
    assert_eq!((receipt(), log()), (verified_at.clone(), entries));
    home.json(&["verify", "--quick"]).expect(0);
    assert_eq!(receipt(), verified_at);
    // Times are told in milliseconds at least; reading the bytes moves it.
    wait_for("reading moves it", || {
        home.json(&["verify"]).expect(0);
        receipt() != verified_at
    });
}
