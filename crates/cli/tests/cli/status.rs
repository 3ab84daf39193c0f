//! "Am I safe?": what `status` must not call green.

use crate::home::{Home, Setup};
use crate::ran::Json;
use crate::refusals::follow;
use serde_json::Value;
use std::fs;

/// The line of a volume.
#[track_caller]
fn volume<'a>(status: &'a Json, name: &str) -> &'a Value {
    let mut lines = status.of("status").filter(|line| line["destination"].is_null());
    lines.find(|line| line["volume"] == name).unwrap_or_else(|| panic!("no line for {name}: {}", status.ran))
}

/// `volume add` is recorded as an index run, and was taken for one that had looked: with a push of nothing, all was green.
#[test]
fn a_volume_that_was_never_indexed_is_not_green() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["sync"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    let photos = volume(&status, "photos");
    assert_eq!((&photos["level"], &photos["next"]), (&"amber".into(), &"lastcopy index photos".into()));
    assert!(photos["last_index"].is_null());
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert!(volume(&home.json(&["status"]).expect(0), "photos")["last_index"].is_string());
}

/// An alarm on a destination that no volume is pushed to any more went unseen.
#[test]
fn every_alarm_that_stands_is_red() {
    let home = pushed();
    fs::remove_file(home.object("nas", b"bytes")).unwrap();
    home.run(&["verify", "nas"]).expect(1);
    home.configure(&Setup::usual().destination("nas"));
    home.run(&["policy", "accept", "photos", "--reason", "the other disk is gone"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    assert_eq!(volume(&status, "photos")["level"], "green");
    assert_eq!((&status.summary()["level"], &status.summary()["alarms"]), (&"red".into(), &1.into()));
    home.run(&["destination", "repair", "nas", "--yes"]).expect(0);
    home.json(&["status"]).expect(0);
}

/// Files were offloaded, their volume left the configuration, and what held them broke: `status` was green.
#[test]
fn what_a_volume_outside_of_the_configuration_offloaded_is_still_owed() {
    let home = pushed();
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    home.configure(&Setup::default().destination("usb").destination("nas").volume("other", &["usb"]));
    fs::create_dir(home.volume("other")).unwrap();
    home.run(&["volume", "add", "other", home.volume("other").to_str().unwrap()]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    // What is proven to be elsewhere is no trouble.
    let status = home.json(&["status"]).expect(0);
    assert_eq!((&volume(&status, "photos")["level"], &volume(&status, "photos")["offloaded"]), (&"green".into(), &1.into()));
    assert!(told(&home, 0).contains("usb (not in sync_to): 1 of 1 offloaded file proven by read-back"));
    for name in ["usb", "nas"] {
        home.run(&["destination", "reset", name, "--yes", "--reason", "it fell down"]).expect(0);
    }
    assert_eq!(volume(&home.json(&["status"]).expect(1), "photos")["level"], "amber");
    for name in ["usb", "nas"] {
        fs::remove_file(home.object(name, b"bytes")).unwrap();
    }
    home.run(&["verify"]).expect(1);
    for alarm in home.json(&["alarms"]).expect(1).of("alarm") {
        home.run(&["alarms", "ack", &alarm["id"].to_string(), "--yes"]).expect(0);
    }
    let status = home.json(&["status"]).expect(1);
    let photos = volume(&status, "photos");
    assert_eq!((&photos["level"], &photos["offloaded_uncovered"]), (&"red".into(), &1.into()));
    follow(&home, photos["next"].as_str().unwrap(), 0);
    let status = home.json(&["status"]).expect(1);
    assert!(status.of("status").all(|line| line.get("configured").is_none()), "it is under care again");
}

/// The only copies of what was offloaded lay where nobody asked any more, and `status` was green.
#[test]
fn what_nobody_checks_any_more_is_not_green() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    let stale = |status: &Json| volume(status, "photos")["offloaded_stale"].as_u64();
    assert_eq!(stale(&home.json(&["status"]).expect(0)), Some(0));
    home.configure(&Setup::default().destination("nas").volume("photos", &["nas"]));
    home.run(&["destination", "init", "nas"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    assert_eq!((stale(&status), &volume(&status, "photos")["level"]), (Some(1), &"amber".into()));
}

/// A volume is as well kept as where it is kept worst.
#[test]
fn a_volume_tells_the_oldest_of_its_destinations() {
    let home = Home::new(&Setup::two_destinations());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "usb"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    for field in ["method", "last_push", "last_verified"] {
        assert!(volume(&status, "photos")[field].is_null(), "{field}: nothing is known of one of them");
    }
    home.run(&["sync", "--to", "nas"]).expect(0);
    let status = home.json(&["status"]).expect(0);
    let usb = status.of("status").find(|line| line["destination"] == "usb").unwrap();
    assert_eq!(volume(&status, "photos")["method"], "read-back");
    for field in ["last_push", "last_verified"] {
        assert!(usb[field].is_string());
        assert_eq!(volume(&status, "photos")[field], usb[field], "{field}");
    }
}

/// A question changes nothing: these two made an index, and registered destinations in it.
#[test]
fn a_question_makes_no_index() {
    let home = Home::empty();
    home.configure(&Setup::usual());
    fs::create_dir(home.volume("photos")).unwrap();
    let status = home.json(&["status"]).expect(1);
    assert_eq!(volume(&status, "photos")["next"], "lastcopy volume add photos PATH");
    let checked = home.json(&["config", "check"]).expect(1);
    let problem = |kind: &str| checked.of(kind).next().unwrap()["problems"][0].as_str().unwrap().to_owned();
    assert!(problem("volume").contains("was never added"), "{}", checked.ran);
    assert!(problem("destination").contains("lastcopy destination init usb"), "{}", checked.ran);
    assert!(!home.index().parent().unwrap().exists());
}

/// With an index that was lost, or a wrong place for it in the configuration, all but those two made an empty one, and `db check` found
/// nothing wrong with it.
#[test]
fn questions_are_answered_without_an_index() {
    let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1h\""));
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_dir_all(home.index().parent().unwrap()).unwrap();
    let file = home.volume("photos").join("a");
    let digest = crate::tree::digest(b"bytes");
    // To add the volume would make another one of it.
    let status = home.json(&["status"]).expect(1);
    assert_eq!(
        (&volume(&status, "photos")["level"], &volume(&status, "photos")["next"]),
        (&"red".into(), &"lastcopy recover --from URL".into())
    );
    assert!(status.ran.stderr.contains("puts a backup there"), "{}", status.ran);
    for (question, exit) in [
        (&["alarms"] as &[&str], 0),
        (&["runs"], 0),
        (&["hooks"], 0),
        (&["evidence", "show"], 0),
        (&["evidence", "log"], 0),
        (&["volume", "list"], 0),
        (&["destination", "list"], 0),
        (&["destination", "probe", "usb"], 1),
        (&["db", "schema"], 0),
        (&["query", "--missing"], 0),
        (&["query", "--duplicates"], 0),
        (&["query", &digest], 2),
        (&["query", file.to_str().unwrap()], 3),
        (&["runs", "1"], 2),
        (&["policy", "show"], 3),
        (&["explain", file.to_str().unwrap()], 3),
        (&["offload", "photos", ".", "--dry-run"], 3),
        (&["offload", "--undo", "1", "--dry-run"], 2),
        (&["destination", "reset", "usb", "--dry-run"], 0),
        (&["evidence", "rewind", "photos", "usb", "--to", "0", "--dry-run"], 3),
        (&["alarms", "ack", "1", "--dry-run"], 2),
    ] {
        let ran = home.run(question).expect(exit);
        let told = format!("there is no index at {}", home.index().display());
        assert!(ran.stderr.contains(&told), "it is not said that there is none: {ran}");
        assert!(!home.index().parent().unwrap().exists(), "an index was made by {question:?}");
    }
    for command in [&["db", "check"] as &[&str], &["db", "backup", "copy"]] {
        let json = home.json(command).expect(2);
        assert_eq!(json.error_code(), "not-found", "{command:?}");
        assert!(json.error()["message"].as_str().unwrap().contains(home.index().to_str().unwrap()));
        assert!(json.error()["hint"].as_str().unwrap().contains("lastcopy recover"));
    }
    assert!(!home.index().parent().unwrap().exists() && !home.path("copy").exists());
    assert_eq!(fs::read_dir(home.path("tmp")).unwrap().count(), 0, "something was left behind");
    // A change makes it; where a tree shows that there was one, on a person's word.
    let tree = home.volume("photos");
    let add = ["volume", "add", "photos", tree.to_str().unwrap()];
    home.run(&add).expect(3);
    assert!(!home.index().exists());
    home.run(&[&add[..], &["--yes"]].concat()).expect(0);
    assert!(home.index().exists());
}

/// A home whose one file is at `usb` and `nas`.
fn pushed() -> Home {
    let home = Home::new(&Setup::two_destinations());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

/// What people read of it.
fn told(home: &Home, exit: i32) -> String {
    home.run(&["status"]).expect(exit).stdout
}

/// Of offloaded files, the only ones that have no other copy, people saw nothing but how many there are.
#[test]
fn people_are_told_how_offloaded_files_are_kept() {
    let home = Home::new(&Setup::two_destinations());
    for name in ["a", "b", "c"] {
        home.write("photos", name, name.as_bytes());
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "a", "b", "--yes"]).expect(0);
    let text = told(&home, 0);
    assert!(text.contains("usb: 1 of 1 file proven by read-back, all checked since"), "{text}");
    assert!(text.contains("; 2 of 2 offloaded files proven by read-back, all checked since"), "{text}");

    // Proven at one place, and the policy asks two.
    home.run(&["destination", "reset", "nas", "--yes", "--reason", "it fell down"]).expect(0);
    home.run(&["sync"]).expect(0);
    let text = told(&home, 1);
    assert!(text.contains("amber  nas: 1 of 1 file proven") && text.contains("; 0 of 2 offloaded files proven"), "{text}");
    assert!(text.contains("2 to be proven again"), "{text}");
    assert!(text.contains("2 offloaded files are not proven where the policy asks"), "{text}");
    assert!(text.contains("green  usb"), "{text}");
    let status = home.json(&["status"]).expect(1);
    let photos = volume(&status, "photos");
    assert_eq!((&photos["level"], &photos["offloaded_short"]), (&"amber".into(), &2.into()));
    assert_eq!(photos["next"], "lastcopy verify nas");
    follow(&home, photos["next"].as_str().unwrap(), 0);
    let status = home.json(&["status"]).expect(0);
    let nas = status.of("status").find(|line| line["destination"] == "nas").unwrap();
    assert_eq!((&nas["offloaded_proven"], &nas["offloaded_method"]), (&2.into(), &"read-back".into()));

    // Proven nowhere.
    for name in ["usb", "nas"] {
        home.run(&["destination", "reset", name, "--yes", "--reason", "it fell down"]).expect(0);
    }
    home.run(&["sync"]).expect(0);
    let text = told(&home, 1);
    assert!(text.contains("2 offloaded files are proven nowhere"), "{text}");
    assert!(text.contains("next: lastcopy verify"), "{text}");
}

/// A destination that the policy asks only since the files went holds nothing of them, and no push takes what is not here.
#[test]
fn a_policy_that_asks_more_is_said_to_be_short() {
    let home = Home::new(&Setup::usual().destination("nas"));
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    let text = told(&home, 0);
    assert!(text.contains("pushed to one place only: usb, not to nas"), "{text}");
    home.configure(&Setup::two_destinations());
    home.run(&["sync"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    // All of it may be more than this disk takes: what comes back first, a person has to choose.
    assert!(volume(&status, "photos")["next"].is_null(), "{status:?}");
    assert!(told(&home, 1).contains("1 offloaded file (5B) that the policy asks for at nas"), "{}", told(&home, 1));
    for command in [&["restore", "photos"] as &[&str], &["index"], &["sync"], &["offload", "photos", ".", "--yes"]] {
        home.run(command).expect(0);
    }
    home.json(&["status"]).expect(0);
    // Nothing says any more where they must be.
    home.configure(&Setup::two_destinations().no_policy("photos"));
    assert!(told(&home, 0).contains("nothing says where offloaded files must be"));
}

/// After everything was proven again, what had come back counted as "0 of N proven", because no push had claimed it yet.
#[test]
fn what_is_proven_without_a_push_is_said_to_be() {
    let home = pushed();
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    home.run(&["restore", "photos"]).expect(0);
    let text = told(&home, 1);
    assert!(text.contains("usb: 1 of 1 file proven by read-back, all checked since"), "{text}");
    assert!(text.contains(", 0 of them in a push that is complete"), "{text}");
    let status = home.json(&["status"]).expect(1);
    let usb = status.of("status").find(|line| line["destination"] == "usb").unwrap();
    assert_eq!((&usb["covered"], &usb["proven"], &usb["level"]), (&0.into(), &1.into(), &"amber".into()));
    for next in ["lastcopy sync photos --to usb", "lastcopy sync photos --to nas"] {
        let status = home.json(&["status"]).expect(1);
        assert_eq!(volume(&status, "photos")["next"], next);
        follow(&home, next, 0);
    }
    assert!(!told(&home, 0).contains("in a push"));
}

/// Of a volume of which nothing is left, and whose loss was accepted, it is said what destinations hold.
#[test]
fn a_volume_of_which_nothing_is_left_says_so() {
    let home = pushed();
    home.write("photos", "b", b"more");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_file(home.volume("photos").join("a")).unwrap();
    home.run(&["index"]).expect(0);
    assert_eq!(volume(&home.json(&["status"]).expect(0), "photos")["missing"], 1, "one that is deleted is no alarm");
    fs::remove_file(home.volume("photos").join("b")).unwrap();
    home.run(&["index", "--accept-loss"]).expect(0);
    let text = told(&home, 0);
    assert!(text.contains("a destination holds 2 files: `lastcopy restore photos PATH` brings one back"), "{text}");
    home.run(&["restore", "photos", "b"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert!(!told(&home, 0).contains("nothing that was here is left"));
}

/// After the index was put back, nothing deletes what an offload set aside before: the next index run puts it back. `offload VOLUME` was advised,
/// and refused with a hint at the whole volume.
#[test]
fn what_an_earlier_life_set_aside_is_no_advice_to_offload() {
    let home = Home::new(&Setup::two_destinations().policy("photos", "require = [\"usb\", \"nas\"]\ngrace = \"1ms\""));
    for name in ["a", "b"] {
        home.write("photos", name, name.as_bytes());
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "a", "--yes"]).expect(0);
    std::thread::sleep(std::time::Duration::from_millis(10));
    assert_eq!(volume(&home.json(&["status"]).expect(0), "photos")["next"], "lastcopy offload photos");
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    home.run(&["verify", "--all"]).expect(0);
    let text = home.run(&["status"]).stdout;
    assert!(
        !text.contains("`lastcopy offload photos` deletes them") && !text.ends_with("next: lastcopy offload photos\n"),
        "{text}"
    );
}

/// What cannot be done was advised: the tree was away, and `offload` was the next thing to do. And it came with words that are no command.
#[test]
fn only_what_can_be_done_is_advised() {
    let home = pushed();
    let status = home.json(&["status"]).expect(0);
    assert_eq!(volume(&status, "photos")["next"], "lastcopy offload photos .");
    fs::rename(home.volume("photos"), home.path("away")).unwrap();
    let status = home.json(&["status"]).expect(1);
    let photos = volume(&status, "photos");
    assert_eq!((&photos["next"], &photos["offloadable_files"]), (&"lastcopy config check".into(), &0.into()));
    let text = told(&home, 1);
    assert!(text.contains("nothing can be freed") && !text.contains("lastcopy offload"), "{text}");
    follow(&home, "lastcopy config check", 1);
}

/// What waits for its grace was counted, and neither until when nor what becomes of it was said.
#[test]
fn quarantine_says_until_when() {
    let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1h\""));
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let run = home.json(&["offload", "photos", ".", "--yes"]).expect(0).summary()["run"].to_string();
    let text = told(&home, 0);
    assert!(
        text.contains("1 file in quarantine until 20") && text.contains("`lastcopy offload photos` deletes them then"),
        "{text}"
    );
    assert!(text.contains(&format!("`lastcopy offload --undo {run}` puts them back")), "{text}");
    home.run(&["offload", "--undo", &run]).expect(0);
    assert!(!told(&home, 1).contains("quarantine"));
}
