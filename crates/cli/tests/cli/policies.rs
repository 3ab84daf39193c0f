//! What an offload policy demands: which destinations must vouch, how many of them, and that nobody weakens it by accident.

use crate::home::{Home, Setup};
use crate::refusals::{content, explain, follow, opens, outcomes, pushed, refused};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

#[test]
fn no_policy_means_no_offload() {
    let home = pushed();
    home.configure(&Setup::usual().no_policy("photos"));
    for command in [
        vec!["offload", "photos", ".", "--yes"],
        vec!["offload", "photos", ".", "--dry-run"],
        vec!["explain", home.volume("photos").join("a").to_str().unwrap()],
    ] {
        let refused = home.json(&command).expect(3);
        assert_eq!(refused.error_code(), "no-policy", "{command:?}");
        assert!(refused.error()["hint"].as_str().unwrap().contains("[volumes.photos.offload]"), "{command:?}");
    }
    home.configure(&Setup::usual());
    opens(&home);
}

#[test]
fn policy_weaker_than_the_accepted_one() {
    let strict =
        "require = [\"usb\", \"nas\"]\nconfirm = \"full\"\nmax_evidence_age = \"10d\"\ngrace = \"1h\"\nmethods = [\"read-back\"]";
    let base = Setup::two_destinations().policy("photos", strict);
    let home = Home::new(&base);
    home.write("photos", "a", &content("a"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let offload = &["offload", "photos", "a", "--yes"];
    for (from, to) in [
        ("require = [\"usb\", \"nas\"]", "require = [\"usb\"]"),
        ("require = [\"usb\", \"nas\"]", "at_least = { count = 1, of = [\"usb\", \"nas\"] }"),
        ("confirm = \"full\"", "confirm = \"quick\""),
        ("confirm = \"full\"", "confirm = \"offline\""),
        ("max_evidence_age = \"10d\"", "max_evidence_age = \"11d\""),
        ("grace = \"1h\"", "grace = \"59m\""),
        ("methods = [\"read-back\"]", ""),
        ("methods = [\"read-back\"]", "methods = [\"read-back\"]\nany_filesystem = true"),
    ] {
        home.configure(&base.clone().policy("photos", &strict.replace(from, to)));
        for command in [&offload[..], &[&offload[..], &["--dry-run"]].concat()] {
            let refused = home.json(command).expect(3);
            assert_eq!(refused.error_code(), "policy-weaker", "{to}");
            let hint = refused.error()["hint"].as_str().unwrap();
            assert!(hint.contains("lastcopy policy accept photos --reason TEXT"), "{to}: {hint}");
        }
        // It answered `would-offload`, and warned beside.
        let explained = explain(&home, "a").expect(3);
        assert_eq!((explained.error_code(), explained.file("a")["outcome"].as_str()), ("policy-weaker", Some("blocked")), "{to}");
        assert_eq!((explained.count("selected"), explained.count("blocked")), (1, 1), "{to}");
        let hint = explained.error()["hint"].as_str().unwrap();
        assert!(hint.contains("lastcopy policy accept photos --reason TEXT"), "{to}: {hint}");
        let problems = home.json(&["config", "check"]).expect(1).of("volume").next().unwrap()["problems"].clone();
        assert!(problems[0].as_str().unwrap().contains("is weaker than the one accepted"), "{to}: {problems}");
        if to == "require = [\"usb\"]" {
            for said in [explained.error()["message"].as_str(), problems[0].as_str()] {
                assert!(said.unwrap().ends_with("accepted: `nas` is no longer required"), "{said:?}");
            }
        }
        let status = home.json(&["status"]).expect(1);
        let volume = status.of("status").find(|line| line["destination"].is_null()).unwrap();
        assert_eq!(volume["next"], "lastcopy policy accept photos --reason TEXT", "{to}");
        assert_eq!(volume["offloadable_files"], 0, "{to}");
        // Other runs go on, and accept nothing.
        home.run(&["index"]).expect(0);
        let shown = home.json(&["policy", "show"]).expect(1);
        assert!(!shown.of("policy").next().unwrap()["weaker"].as_array().unwrap().is_empty(), "{to}");
    }
    assert!(home.volume("photos").join("a").exists());
    let weak = base.policy("photos", "require = [\"usb\"]");
    home.configure(&weak);
    home.run(&["policy", "accept", "photos"]).expect(2);
    home.run(&["policy", "accept", "photos", "--reason", ""]).expect(2);
    home.json(offload).expect(3);
    home.run(&["policy", "accept", "photos", "--reason", "the other disk is far away"]).expect(0);
    let shown = home.json(&["policy", "show"]).expect(0);
    assert_eq!(shown.of("policy").next().unwrap()["reason"], "the other disk is far away");
    opens(&home);
}

/// A directory that goes with the test, on another device than the home; none where there is no such device.
fn other_device(home: &Home) -> Option<tempfile::TempDir> {
    let device = |path: &PathBuf| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    let here = device(&home.path("."));
    let candidates = [PathBuf::from("/dev/shm"), std::env::temp_dir(), PathBuf::from(env!("CARGO_TARGET_TMPDIR"))];
    let other = candidates.into_iter().find(|path| device(path).is_some() && device(path) != here)?;
    tempfile::tempdir_in(other).ok()
}

/// Two destinations on one device count once, whatever their names: the disk breaks for both.
#[test]
fn at_least_counts_one_device_once() {
    let setup = Setup::two_destinations().policy("photos", "at_least = { count = 2, of = [\"usb\", \"nas\"] }");
    let home = Home::new(&setup);
    home.write("photos", "a", &content("a"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_eq!(explain(&home, "a").expect(1).causes("a"), ["no-evidence"]);
    // It can never be satisfied as it is: that is said where it is asked for, and not as one more reason to wait.
    for command in [&["offload", "photos", "a", "--yes"] as &[&str], &["offload", "photos", "a", "--dry-run"]] {
        let offload = home.json(command).expect(2);
        assert_eq!(offload.error_code(), "config");
        let message = offload.error()["message"].as_str().unwrap();
        assert!(message.contains("`nas` and `usb`") || message.contains("`usb` and `nas`"), "{message}");
    }
    assert!(home.volume("photos").join("a").exists());
    let status = home.json(&["status"]).expect(1);
    let photos = status.of("status").find(|line| line["destination"].is_null()).unwrap();
    assert_eq!((&photos["level"], &photos["next"]), (&"amber".into(), &"lastcopy config check".into()));
    let checked = home.json(&["config", "check"]).expect(1);
    let problem = checked.of("volume").next().unwrap()["problems"][0].as_str().unwrap();
    assert!(problem.contains("share a device"), "{problem}");
    assert_eq!(checked.of("destination").next().unwrap()["shares_device_with"], serde_json::json!(["usb"]));

    let Some(far) = other_device(&home) else {
        return crate::skip::skipped("policies::at_least_counts_one_device_once", "there is only one device");
    };
    let setup = setup.destination("far").destination_at("far", &far.path().join("repository"));
    let setup = setup.volume("photos", &["usb", "nas", "far"]);
    let three = setup.clone().policy("photos", "at_least = { count = 2, of = [\"usb\", \"nas\", \"far\"] }");
    home.configure(&three);
    for fix in refused(&home, &["identity@far", "no-evidence@far", "no-receipt@far"]) {
        follow(&home, &fix, 0);
    }
    // A longer list is weaker: more ways to come to two.
    assert_eq!(home.json(&["offload", "photos", "a", "--yes"]).expect(3).error_code(), "policy-weaker");
    home.run(&["policy", "accept", "photos", "--reason", "a disk elsewhere"]).expect(0);
    opens(&home);
}

/// Two destinations on one disk counted as two as soon as the disk was unplugged: its device could not be told any more. Under
/// `offline`, where nobody is asked at the moment of deletion, the file went.
#[test]
fn at_least_counts_an_unplugged_disk_with_the_others() {
    let setup = Setup::two_destinations();
    let counting = |more: &str| format!("at_least = {{ count = 2, of = [\"usb\", \"nas\"] }}\nconfirm = \"offline\"{more}");
    let home = Home::new(&setup.clone().policy("photos", &counting("")));
    home.write("photos", "a", &content("a"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let unplug = |name: &str| fs::rename(home.destination(name), home.path(name)).unwrap();
    unplug("nas");
    refused(&home, &["unreachable@nas"]);
    // What is left of it is an empty directory: a mount point, on another disk than what was mounted there.
    fs::create_dir(home.destination("nas")).unwrap();
    refused(&home, &["unreachable@nas"]);
    unplug("usb");
    refused(&home, &["unreachable@nas", "unreachable@usb"]);
    // A label says what cannot be seen.
    let labelled = setup.policy("photos", &counting("")).destination_lines("usb", "failure_domain = \"desk\"");
    home.configure(&labelled);
    refused(&home, &["unreachable@nas"]);
    home.configure(&labelled.destination_lines("nas", "failure_domain = \"shelf\""));
    opens(&home);
}

/// A label says what cannot be seen: two that share it count once.
#[test]
fn at_least_counts_one_failure_domain_once() {
    let home = Home::empty();
    home.write("photos", "a", &content("a"));
    let Some(far) = other_device(&home) else {
        return crate::skip::skipped("policies::at_least_counts_one_failure_domain_once", "there is only one device");
    };
    let setup = Setup::two_destinations().destination_at("nas", &far.path().join("repository"));
    let setup = setup.policy("photos", "at_least = { count = 2, of = [\"usb\", \"nas\"] }");
    let desk = |name: &str, setup: Setup| setup.destination_lines(name, "failure_domain = \"desk\"");
    home.configure(&desk("usb", desk("nas", setup.clone())));
    // It can never be satisfied, so it is refused where it is written.
    assert_eq!(home.json(&["index"]).expect(2).error_code(), "config");
    home.configure(&setup);
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "usb"]).expect(0);
    home.run(&["destination", "init", "nas"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "usb"]).expect(0);
    let fixes = refused(&home, &["no-evidence@nas", "no-receipt@nas"]);
    follow(&home, &fixes[0], 0);
    opens(&home);
}

/// Of several required destinations, each must vouch; the one that does not is named.
#[test]
fn every_required_destination_must_vouch() {
    let home = Home::new(&Setup::two_destinations());
    home.write("photos", "a", &content("a"));
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "nas"]).expect(0);
    let fixes = refused(&home, &["no-evidence@usb", "no-receipt@usb"]);
    follow(&home, &fixes[0], 0);
    fs::remove_file(home.object("nas", &content("a"))).unwrap();
    home.run(&["verify"]).expect(1);
    refused(&home, &["alarm@nas", "no-receipt@nas"]);
    home.run(&["destination", "repair", "nas", "--yes"]).expect(0);
    opens(&home);
}

/// A rehearsal says what the real run then does, file by file and in sum.
#[test]
fn a_dry_run_says_what_the_real_run_does() {
    for grace in [false, true] {
        let policy = if grace { "require = [\"usb\"]\ngrace = \"1h\"" } else { "require = [\"usb\"]" };
        let home = Home::new(&Setup::usual().policy("photos", policy));
        for name in ["gone", "changed", "in-use", "good/1", "good/2", "hard"] {
            home.write("photos", name, &content(name));
        }
        fs::hard_link(home.volume("photos").join("hard"), home.volume("photos").join("link")).unwrap();
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
        home.write("photos", "young", &content("young"));
        home.run(&["index"]).expect(0);
        fs::remove_file(home.volume("photos").join("gone")).unwrap();
        home.write("photos", "changed", b"other");
        let _open = File::options().append(true).open(home.volume("photos").join("in-use")).unwrap();
        let before = home.tree("photos");
        let rehearsed = home.json(&["offload", "photos", ".", "--dry-run"]).expect(1);
        assert!(rehearsed.summary()["run"].is_null());
        crate::tree::assert_same_tree(&home.tree("photos"), &before);
        let real = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
        assert_eq!(outcomes(&rehearsed, grace), outcomes(&real, grace));
        for field in ["selected", "offloaded", "quarantined", "blocked", "drift", "errors", "bytes_freed"] {
            assert_eq!(rehearsed.count(field), real.count(field), "{field}, with grace: {grace}");
        }
        assert_eq!(real.count("bytes_freed"), if grace { 0 } else { 3 * 4000 });
        assert_eq!(home.tree("photos").len(), 3);
    }
}
