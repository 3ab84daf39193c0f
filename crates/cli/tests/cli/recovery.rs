//! Disks that break and backups that are put back: what is left is known, what is lost is named, and everything else comes back.

use crate::home::{Home, Setup};
use crate::ran::Json;
use crate::tree::{Tree, assert_same_tree, copy_tree, flip_bit, noise, read_tree, write};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn content(name: &str) -> Vec<u8> {
    noise(name, 3000)
}

/// A volume with some history, pushed several times: `here` and `again` (the same bytes), `changed` twice, `moved/away` and others
/// offloaded, `gone` missing, an odd name. Returns every file that was ever to be kept.
fn with_history(setup: &Setup) -> (Home, Tree) {
    let home = Home::new(setup);
    let push = || {
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
    };
    for path in ["here", "changed", "gone", "moved/away", "moved/too"] {
        home.write("photos", path, &content(path));
    }
    push();
    home.write("photos", "changed", &content("changed once"));
    home.write("photos", "again", &content("here"));
    home.write("photos", "odd \n\t\u{fc}", &content("odd"));
    fs::remove_file(home.volume("photos").join("gone")).unwrap();
    push();
    home.write("photos", "changed", &content("changed twice"));
    push();
    let everything = home.tree("photos");
    home.run(&["offload", "photos", "moved", "again", "--yes"]).expect(0);
    // What was offloaded is told to the destination by the next push.
    home.write("photos", "last", &content("last"));
    push();
    let mut tree = home.tree("photos");
    for (path, entry) in everything {
        tree.entry(path).or_insert(entry);
    }
    (home, tree)
}

/// What `status` says of the volume that must survive.
fn known(home: &Home) -> Value {
    let status = home.json(&["status"]);
    let volume = status.of("status").find(|line| line["destination"].is_null()).unwrap();
    let fields = ["total", "bytes", "offloaded", "offloaded_bytes", "missing", "quarantined", "offloaded_uncovered"];
    fields.iter().map(|field| ((*field).to_owned(), volume[*field].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn listed(home: &Home, what: &str) -> Vec<(String, String)> {
    let mut listed: Vec<_> = home
        .json(&["query", what])
        .expect(0)
        .of("file")
        .map(|file| (file["path"].as_str().unwrap().to_owned(), file["content"].as_str().unwrap().to_owned()))
        .collect();
    listed.sort();
    listed
}

fn counts(home: &Home, destination: &str) -> (u64, u64, u64) {
    let list = home.json(&["destination", "list"]).expect(0);
    let line = list.of("destination").find(|line| line["destination"] == destination).unwrap();
    let count = |field: &str| line[field].as_u64().unwrap();
    (count("verified"), count("stored"), count("lost"))
}

fn standing(home: &Home) -> Vec<String> {
    home.json(&["alarms"]).of("alarm").map(|alarm| alarm["kind"].as_str().unwrap().to_owned()).collect()
}

/// Removes everything that the machine knew: index, with what goes with it, and configuration.
fn lose_machine(home: &Home) {
    fs::remove_dir_all(home.path("data")).unwrap();
    fs::remove_dir_all(home.path("config")).unwrap();
}

/// Everything is known again, nothing is believed until it was verified, and then everything is as before.
#[track_caller]
fn assert_recovered(home: &Home, destination: &str, before: &Value, offloaded: &[(String, String)], tree: &Tree) {
    assert_eq!(known(home), *before);
    assert_eq!(listed(home, "--offloaded"), offloaded);
    let (verified, stored, lost) = counts(home, destination);
    assert_eq!((verified, lost), (0, 0), "something is believed that nobody proved");
    assert!(stored > 0);
    home.json(&["verify", destination]).expect(0);
    assert_eq!(counts(home, destination), (stored, 0, 0));
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), offloaded.len() as u64);
    assert_same_tree(&home.tree("photos"), tree);
}

#[test]
fn an_index_is_rebuilt_from_a_destination_alone() {
    let (home, tree) = with_history(&Setup::usual());
    let (before, offloaded, missing) = (known(&home), listed(&home, "--offloaded"), listed(&home, "--missing"));
    lose_machine(&home);
    assert_eq!(home.json(&["recover", "--from", &home.url("usb")]).expect(2).error_code(), "usage", "nobody said yes");
    assert!(!home.config().exists(), "nobody said yes, and a configuration was written all the same");
    let rehearsed = home.json(&["recover", "--from", &home.url("usb"), "--dry-run"]).expect(0);
    assert_eq!(rehearsed.count("volumes"), 1);
    home.json(&["recover", "--from", &home.url("usb"), "--name", "usb", "--yes"]).expect(0);
    assert_eq!(listed(&home, "--missing"), missing);
    assert_recovered(&home, "usb", &before, &offloaded, &tree);

    // Life goes on: the next push tells the destination of the new life, and the gate opens on its word again.
    home.write("photos", "new", &content("new"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert!(standing(&home).is_empty());
    let config = fs::read_to_string(home.config()).unwrap();
    home.write_config(&format!("{config}\n[volumes.photos.offload]\nrequire = [\"usb\"]\n"));
    let tree = home.tree("photos");
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
    // Also the second time.
    let (before, offloaded) = (known(&home), listed(&home, "--offloaded"));
    home.run(&["sync"]).expect(0);
    lose_machine(&home);
    home.json(&["recover", "--from", &home.url("usb"), "--name", "usb", "--yes"]).expect(0);
    assert_recovered(&home, "usb", &before, &offloaded, &tree);
}

/// The volume's disk is lost with the index: everything that was pushed comes back, somewhere else.
#[test]
fn a_machine_is_rebuilt_from_a_destination_alone() {
    let (home, tree) = with_history(&Setup::usual());
    let machine = Home::empty();
    let lost = machine.recover(&home.url("usb"), &[]).expect(0);
    assert_eq!(lost.summary()["destination"], "recovered");
    let restored = machine.json(&["restore", "photos"]).expect(0);
    assert_eq!(restored.count("restored"), tree.len() as u64);
    assert_same_tree(&machine.tree("photos"), &tree);
    // The destination itself was only read.
    assert_eq!(home.json(&["sync"]).expect(0).count("stored"), 0);
    home.json(&["alarms"]).expect(0);
}

#[test]
fn recover_refuses_what_makes_no_sense() {
    let (home, _) = with_history(&Setup::usual());
    let usb = home.url("usb");
    for (arguments, exit, code) in [
        (&["recover", "--from", "nas"] as &[&str], 2, "usage"),
        (&["recover", "--from", "s3://bucket/x"], 2, "usage"),
        (&["recover", "--from", &home.url("nowhere")], 3, "not-initialised"),
        (&["recover", "--from", &usb, "--volume", "music"], 2, "not-found"),
        (&["recover", "--from", &usb], 3, "refused"),
        (&["recover", "--from", "usb"], 3, "refused"),
    ] {
        let refused = home.json(&[arguments, &["--yes"]].concat()).expect(exit);
        assert_eq!(refused.error_code(), code, "{arguments:?}");
    }
}

/// The volume's disk is lost, the index is not: everything comes back to an empty directory, on a person's word.
#[test]
fn a_tree_is_rebuilt_by_an_index_that_survived() {
    let (home, tree) = with_history(&Setup::usual());
    fs::remove_dir_all(home.volume("photos")).unwrap();
    fs::create_dir(home.volume("photos")).unwrap();
    let path = home.volume("photos");
    let add = ["volume", "add", "photos", path.to_str().unwrap()];
    for command in [&["index"] as &[&str], &["restore", "photos"], &["restore", "photos", "--in-place"]] {
        assert_eq!(home.json(command).expect(3).error_code(), "marker-missing", "{command:?}");
    }
    home.json(&add).expect(3);
    home.json(&[&add[..], &["--yes"]].concat()).expect(0);
    // It is not believed that everything was deleted on purpose.
    assert_eq!(home.json(&["index"]).expect(3).error_code(), "implausible-loss");
    home.json(&["restore", "photos", "--in-place"]).expect(0);
    let mut found = home.tree("photos");
    assert_eq!(found.remove(Path::new("gone")).unwrap().bytes, content("gone"), "what was missing before comes, too");
    assert_same_tree(&found, &tree);
    let index = home.json(&["index"]).expect(0);
    assert_eq!((index.count("missing"), index.count("changed")), (0, 0));
    assert_eq!(home.json(&["sync"]).expect(0).count("stored"), 0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
}

/// Files that wait in quarantine when the index is lost, or goes back to a copy that knows nothing of it, are put back.
#[test]
fn a_quarantine_that_no_index_knows_is_emptied_into_the_volume() {
    for recovered in [false, true] {
        let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1h\""));
        for path in ["a", "dir/b"] {
            home.write("photos", path, &content(path));
        }
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
        let before = home.tree("photos");
        let backup = home.path("backup.db");
        home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
        let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(0);
        assert_eq!(offload.count("quarantined"), 2);
        // Also what the destination was told.
        home.run(&["sync"]).expect(0);
        assert!(home.tree("photos").is_empty());
        if recovered {
            lose_machine(&home);
            home.json(&["recover", "--from", &home.url("usb"), "--name", "usb", "--yes"]).expect(0);
        } else {
            home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
            home.run(&["index"]).expect(0);
        }
        assert_same_tree(&home.tree("photos"), &before);
        assert!(!home.volume("photos").join(".lastcopy/offload").join(offload.run().to_string()).exists());
        let index = home.json(&["index"]).expect(0);
        assert_eq!((index.count("files"), index.count("missing")), (2, 0), "recovered: {recovered}");
        assert_eq!(known(&home)["quarantined"], 0);
        home.json(&["db", "check"]).expect(0);
    }
}

#[test]
fn of_several_volumes_one_is_recovered() {
    let home = Home::new(&Setup::usual().volume("music", &["usb"]));
    home.write("photos", "a", &content("a"));
    home.write("music", "b", &content("b"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let machine = Home::empty();
    let usb = home.url("usb");
    let recover = |more: &[&str]| machine.recover(&usb, more);
    recover(&["--volume", "music"]).expect(0);
    assert!(!machine.volume("photos").exists());
    machine.json(&["restore", "music"]).expect(0);
    assert_same_tree(&machine.tree("music"), &home.tree("music"));
    // The other one later, from what is a known destination by then.
    recover(&["--volume", "photos"]).expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&machine.tree("photos"), &home.tree("photos"));
    machine.json(&["verify"]).expect(0);
    assert_eq!(counts(&machine, "recovered"), (2, 0, 0));
}

/// A recovery of all volumes met one that is known already, and ended there: the others were left with paths and without a receipt, and then
/// refused as known, for good.
#[test]
fn what_is_known_already_stops_no_other_volume() {
    let home = Home::new(&Setup::usual().volume("music", &["usb"]));
    for (volume, path) in [("photos", "a"), ("music", "b"), ("music", "c")] {
        home.write(volume, path, &content(path));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let machine = Home::empty();
    let (usb, to) = (home.url("usb"), machine.path("volumes"));
    let recover = |more: &[&str]| machine.recover(&usb, more);
    recover(&["--volume", "photos"]).expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    // Stopped when the paths of the other volume were known, and no receipt; then something comes to its disk.
    let (objects, away) = (home.destination("usb").join("objects"), home.path("objects"));
    fs::rename(&objects, &away).unwrap();
    fs::write(&objects, "").unwrap();
    recover(&[]).expect(4);
    fs::remove_file(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    write(&to.join("music/c"), &content("c"));
    machine.json(&["index", "music"]).expect(0);

    let rehearsed = recover(&["--dry-run"]).expect(0);
    assert_eq!(rehearsed.count("volumes"), 1, "of photos, there is nothing to learn");
    let recovered = recover(&[]).expect(0);
    assert_eq!(recovered.count("volumes"), 1);
    assert_eq!(machine.json(&["restore", "music"]).expect(0).count("restored"), 1);
    assert_same_tree(&machine.tree("music"), &home.tree("music"));
    for more in [&[] as &[&str], &["--dry-run"], &["--volume", "music"]] {
        assert_eq!(recover(more).expect(3).error_code(), "refused", "{more:?}");
    }
}

/// A volume of some files that was pushed, and another machine that recovered it.
fn recovered_elsewhere(paths: &[&str]) -> (Home, Home) {
    let home = Home::new(&Setup::usual());
    for path in paths {
        home.write("photos", path, &content(path));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let machine = Home::empty();
    machine.recover(&home.url("usb"), &[]).expect(0);
    (home, machine)
}

/// The machine that an index was recovered from lives, after all, and pushes on.
#[test]
fn what_a_life_tells_after_it_was_recovered_is_news() {
    let (home, _) = with_history(&Setup::usual());
    let machine = Home::empty();
    let recover = || machine.recover(&home.url("usb"), &[]);
    recover().expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    assert_eq!(recover().expect(3).error_code(), "refused");
    home.write("photos", "later", &content("later"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_eq!(recover().expect(0).count("volumes"), 1);
    machine.json(&["restore", "photos", "later"]).expect(0);
    assert_eq!(fs::read(machine.volume("photos").join("later")).unwrap(), content("later"));
    assert_eq!(recover().expect(3).error_code(), "refused");
}

/// The same, where the machine that took over has files of its own by then: what it knows by the recovery alone follows the later word.
#[test]
fn what_only_a_recovery_told_follows_the_later_one() {
    let (home, machine) = recovered_elsewhere(&["a", "b"]);
    machine.json(&["restore", "photos", "a"]).expect(0);
    machine.write("photos", "own", &content("own"));
    machine.json(&["index"]).expect(0);
    home.write("photos", "b", &content("newer"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    machine.recover(&home.url("usb"), &[]).expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    for (path, text) in [("a", "a"), ("b", "newer"), ("own", "own")] {
        assert_eq!(fs::read(machine.volume("photos").join(path)).unwrap(), content(text), "{path}");
    }
}

/// Places that `volume add` refuses were written into the configuration, and no command took it any more.
#[test]
fn a_recovery_writes_no_configuration_that_nobody_takes() {
    let (home, tree) = with_history(&Setup::usual());
    let (usb, inside) = (home.url("usb"), home.destination("usb").join("inside"));
    let machine = Home::empty();
    let docs = machine.path("docs");
    let recover = |to: &Path, more: &[&str]| {
        machine.json(&[&["recover", "--from", &usb, "--to", to.to_str().unwrap(), "--yes"], more].concat())
    };
    for more in [&["--dry-run"] as &[&str], &[]] {
        assert_eq!(recover(&inside, more).expect(2).error_code(), "config", "it would lie in the destination");
        assert!(!machine.config().exists() && !inside.exists());
    }
    machine.write_config(&format!("[volumes.docs]\npath = {docs:?}\n"));
    let before = fs::read(machine.config()).unwrap();
    for more in [&["--dry-run"] as &[&str], &[]] {
        assert_eq!(recover(&docs, more).expect(2).error_code(), "config", "it would lie in another volume");
        assert_eq!(fs::read(machine.config()).unwrap(), before);
    }
    let around = home.destination("usb").parent().unwrap().to_owned();
    machine.write_config(&format!("[volumes.docs]\npath = {around:?}\n"));
    assert_eq!(recover(&machine.path("volumes"), &[]).expect(2).error_code(), "config", "the destination lies in a volume");
    fs::remove_file(machine.config()).unwrap();
    recover(&machine.path("volumes"), &[]).expect(0);
    assert_eq!(machine.json(&["restore", "photos"]).expect(0).count("restored"), tree.len() as u64);
}

/// An index was lost, and its volume added and pushed anew. The newest head is the new index's own, and what only the old one told was called
/// known: nothing that was offloaded came back.
#[test]
fn what_an_older_life_tells_is_not_known_yet() {
    let (home, tree) = with_history(&Setup::usual());
    fs::remove_dir_all(home.path("data")).unwrap();
    home.run(&["--yes", "volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["--yes", "destination", "adopt", "usb"]).expect(0);
    home.run(&["sync"]).expect(0);
    let recover = ["recover", "--from", &home.url("usb"), "--yes"];
    home.run(&recover).expect(0);
    home.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&tree, &home.tree("photos"));
    assert_eq!(home.json(&recover).expect(3).error_code(), "refused");
}

/// The index counts on a name that the configuration has lost. Another repository took it, and what was proven of the first counted no more.
#[test]
fn a_name_that_an_index_knows_is_not_given_to_another() {
    let (home, _) = with_history(&Setup::usual());
    let (another, _) = with_history(&Setup::usual());
    home.write_config("");
    let to = home.path("elsewhere");
    let recover = |name: &str| {
        let url = another.url("usb");
        home.json(&["recover", "--from", &url, "--name", name, "--to", to.to_str().unwrap(), "--dry-run"])
    };
    let refused = recover("usb").expect(3);
    assert_eq!(refused.error_code(), "identity-changed", "{}", refused.ran);
    assert!(refused.error().to_string().contains("--name"), "{}", refused.ran);
}

/// Another disk was at the place of a destination: its identity was accepted by the way, and all that was proven of the other one counted for
/// nothing. That is a person's act, and so is giving up files that are gone.
#[test]
fn a_recovery_accepts_nothing_for_a_person() {
    let (home, _) = with_history(&Setup::two_destinations());
    let (another, _) = with_history(&Setup::usual());
    let machine = Home::empty();
    let to = machine.path("volumes");
    let recover = |from: &str, more: &[&str]| machine.recover(from, more);
    let (usb, nas) = (home.url("usb"), home.url("nas"));
    recover(&usb, &["--name", "usb"]).expect(0);
    machine.json(&["verify", "usb"]).expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    let proven = counts(&machine, "usb");
    let away = home.path("away");
    fs::rename(home.destination("usb"), &away).unwrap();
    fs::rename(another.destination("usb"), home.destination("usb")).unwrap();
    for more in [&["--dry-run"] as &[&str], &[]] {
        assert_eq!(recover(&usb, more).expect(3).error_code(), "identity-changed");
    }
    assert_eq!(counts(&machine, "usb"), proven);
    // Once a person accepted it, its volume of that name is another one still.
    machine.json(&["destination", "adopt", "usb", "--reason", "a new disk", "--yes"]).expect(0);
    let ids = [&home, &another].map(|home| {
        let marker = fs::read_to_string(home.volume("photos").join(".lastcopy/volume.toml")).unwrap();
        marker.lines().find_map(|line| line.strip_prefix("volume = \"")).unwrap().trim_end_matches('"').to_owned()
    });
    for more in [&["--dry-run"] as &[&str], &[]] {
        let refused = recover(&usb, more).expect(3);
        let error = refused.error().to_string();
        assert!(ids.iter().all(|id| error.contains(id)) && error.contains("--config"), "{error}");
    }

    // The disk of the volume is empty all of a sudden.
    for path in machine.tree("photos").into_keys() {
        fs::remove_file(to.join("photos").join(path)).unwrap();
    }
    let total = known(&machine)["total"].clone();
    let recovered = recover(&nas, &["--name", "nas"]).expect(1);
    assert!(recovered.ran.stderr.contains("files are gone"), "{}", recovered.ran);
    assert_eq!(known(&machine)["total"], total, "what is gone was given up");
}

/// A segment that is damaged takes with it only what it alone said.
#[test]
fn a_damaged_segment_does_not_stop_a_recovery() {
    let (home, tree) = with_history(&Setup::usual());
    let segments = read_tree(&home.destination("usb").join("volumes"));
    let second = segments.keys().find(|path| path.to_str().unwrap().ends_with("segments/00000002.jsonl.zst")).unwrap();
    flip_bit(&home.destination("usb").join("volumes").join(second));
    let machine = Home::empty();
    let to = machine.path("volumes");
    let arguments = ["recover", "--from", &home.url("usb"), "--to", to.to_str().unwrap(), "--yes"];
    let recovered = machine.json(&arguments).expect(1);
    assert!(recovered.ran.stderr.contains("segment 2 is damaged"), "{}", recovered.ran);
    machine.json(&["restore", "photos"]).expect(0);
    let came_back = machine.tree("photos");
    for path in ["here", "changed", "last", "moved/away", "moved/too"] {
        assert!(came_back[Path::new(path)] == tree[Path::new(path)], "{path}");
    }
}

/// One damaged head made a whole destination unreadable, for every volume in it.
#[test]
fn a_damaged_head_does_not_stop_the_recovery_of_another_volume() {
    let home = Home::new(&Setup::usual().volume("letters", &["usb"]).policy("letters", "require = [\"usb\"]"));
    home.write("photos", "here", &content("here"));
    home.run(&["index", "photos"]).expect(0);
    home.run(&["sync", "photos"]).expect(0);
    let volumes = home.destination("usb").join("volumes");
    let head = read_tree(&volumes).into_keys().find(|path| path.to_str().unwrap().ends_with("head.json")).unwrap();
    home.write("letters", "dear", &content("dear"));
    home.run(&["index", "letters"]).expect(0);
    home.run(&["sync", "letters"]).expect(0);
    fs::write(volumes.join(head), "{}").unwrap();
    let machine = Home::empty();
    let recovered = machine.recover(&home.url("usb"), &[]).expect(1);
    assert!(recovered.ran.stderr.contains("is damaged"), "{}", recovered.ran);
    machine.json(&["restore", "letters"]).expect(0);
    assert_same_tree(&machine.tree("letters"), &home.tree("letters"));
}

#[test]
fn a_backup_of_the_index_is_put_back() {
    let (home, tree) = with_history(&Setup::usual());
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    home.json(&["db", "backup", backup.to_str().unwrap()]).expect(2);
    home.json(&["offload", "photos", "here", "--yes"]).expect(0);
    home.json(&["db", "restore", backup.to_str().unwrap(), "--dry-run"]).expect(0);
    assert_eq!(home.json(&["db", "restore", backup.to_str().unwrap()]).expect(2).error_code(), "usage");
    home.json(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    let (verified, stored, _) = counts(&home, "usb");
    assert!(verified == 0 && stored > 0, "the copy believes in what may be lost since");
    // What it does not know yet as offloaded is found missing, and comes back all the same.
    assert_eq!(home.json(&["index"]).expect(0).count("missing"), 1);
    let offload = home.json(&["offload", "photos", "changed", "--yes"]).expect(1);
    assert_eq!(offload.causes("changed"), ["no-evidence@usb", "unverified@usb"]);
    home.json(&["restore", "photos"]).expect(0);
    assert_eq!(home.json(&["restore", "photos", "here"]).expect(0).count("restored"), 1);
    assert_same_tree(&home.tree("photos"), &tree);
    home.run(&["sync"]).expect(0);
    assert!(standing(&home).is_empty());
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
    home.json(&["db", "check"]).expect(0);
}

/// It was said that a push proves everything again, and `status` said `verify`: no push takes what is offloaded.
#[test]
fn what_is_said_after_a_backup_was_put_back_is_enough() {
    let (home, _) = with_history(&Setup::usual());
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    let restored = home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    let told = "next: lastcopy index, then lastcopy sync, which proves again what is here, and lastcopy verify: what is offloaded";
    assert!(restored.stderr.contains(told), "{restored}");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let status = home.json(&["status"]).expect(1);
    assert_eq!(status.of("status").next().unwrap()["next"], "lastcopy verify");
    home.run(&["verify"]).expect(0);
    home.run(&["status"]).expect(0);
}

/// The second time, volume and destination know a life that the backup does not: they must not begin new ones for ever.
#[test]
fn one_backup_is_put_back_twice() {
    let (home, tree) = with_history(&Setup::usual());
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    for round in ["once", "twice", "three times"] {
        home.json(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
        home.write("photos", "round", &content(round));
        home.json(&["index"]).expect(0);
        home.json(&["sync"]).expect(0);
        home.json(&["sync"]).expect(0);
    }
    assert!(standing(&home).is_empty());
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
    home.json(&["restore", "photos"]).expect(0);
    let mut found = home.tree("photos");
    assert_eq!(found.remove(Path::new("round")).unwrap().bytes, content("three times"));
    assert_same_tree(&found, &tree);
    home.json(&["db", "check"]).expect(0);

    // Of the lives that the destination remembers, a recovery takes up the last one.
    home.run(&["sync"]).expect(0);
    let known_before = known(&home);
    lose_machine(&home);
    home.json(&["recover", "--from", &home.url("usb"), "--yes"]).expect(0);
    assert_eq!(known(&home), known_before);
    fs::remove_file(home.volume("photos").join("round")).unwrap();
    home.json(&["restore", "photos", "round"]).expect(0);
    assert_eq!(fs::read(home.volume("photos").join("round")).unwrap(), content("three times"));
}

/// The life that began with an old backup knows nothing of what was offloaded since. Only the life before it does, and a recovery asked
/// the newest alone.
#[test]
fn what_was_offloaded_after_a_backup_comes_back() {
    let (home, mut tree) = with_history(&Setup::usual());
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    home.write("photos", "since", &content("since"));
    home.write("photos", "changed", &content("changed since"));
    fs::remove_file(home.volume("photos").join("last")).unwrap();
    home.json(&["index"]).expect(0);
    home.json(&["sync"]).expect(0);
    tree.extend(home.tree("photos"));
    tree.remove(Path::new("last"));
    home.json(&["offload", "photos", "since", "changed", "--yes"]).expect(0);

    home.json(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    home.json(&["index"]).expect(0);
    home.json(&["sync"]).expect(0);
    assert_eq!(home.json(&["restore", "photos", "since"]).expect(2).error_code(), "not-found");
    let anew = || {
        lose_machine(&home);
        fs::remove_dir_all(home.volume("photos")).unwrap();
        home.json(&["recover", "--from", &home.url("usb"), "--yes"]).expect(0);
        home.json(&["restore", "photos"]).expect(0);
        home.tree("photos")
    };
    // `changed` was missing when the later life began, and so was `last`: only one of them was deleted by a person.
    assert_same_tree(&anew(), &tree);
    home.json(&["db", "check"]).expect(0);

    // What a life had and lost, it knows best.
    home.json(&["sync"]).expect(0);
    fs::remove_file(home.volume("photos").join("since")).unwrap();
    home.json(&["index"]).expect(0);
    home.json(&["sync"]).expect(0);
    tree.remove(Path::new("since"));
    assert_same_tree(&anew(), &tree);
}

#[test]
fn a_backup_that_is_none_is_refused() {
    let (home, _) = with_history(&Setup::usual());
    let file = home.path("file");
    fs::write(&file, noise("no database", 10_000)).unwrap();
    let before = known(&home);
    assert_eq!(home.json(&["db", "restore", file.to_str().unwrap(), "--yes"]).ran.code(), Some(4));
    let nowhere = home.path("nowhere");
    assert_eq!(home.json(&["db", "restore", nowhere.to_str().unwrap(), "--yes"]).expect(2).error_code(), "not-found");
    assert_eq!(known(&home), before);
    home.run(&["sync"]).expect(0);
}

/// Somebody copies the index back by ordinary means, alone or with the files beside it: the volume, or the destination, remembers a
/// younger one. Whatever it believes was true then.
#[test]
fn an_old_copy_of_the_index_is_noticed() {
    for with_companions in [false, true] {
        let (home, _) = with_history(&Setup::usual());
        let (data, copy) = (home.path("data"), home.path("copy of data"));
        copy_tree(&data, &copy);
        // After the copy was made, an object is damaged, and that is noticed: a look at it by the next offload would not tell.
        flip_bit(&home.object("usb", &content("here")));
        home.json(&["verify"]).expect(1);
        if with_companions {
            fs::remove_dir_all(&data).unwrap();
            fs::rename(&copy, &data).unwrap();
        } else {
            for file in ["index.db", "index.db-wal", "index.db-shm"] {
                drop(fs::remove_file(data.join("lastcopy").join(file)));
                let _there = fs::copy(copy.join("lastcopy").join(file), data.join("lastcopy").join(file));
            }
        }
        // The first command that opens the index notices, whether the file beside it tells or the volume does.
        let photos = home.volume("photos");
        if !with_companions {
            fs::rename(&photos, home.path("away")).unwrap();
        }
        assert_eq!(counts(&home, "usb").0, 0, "with companions: {with_companions}");
        if !with_companions {
            fs::rename(home.path("away"), &photos).unwrap();
        }
        let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
        assert_eq!(offload.count("offloaded"), 0, "with companions: {with_companions}");
        assert_eq!(offload.causes("here"), ["no-evidence@usb", "unverified@usb"]);
        assert_eq!(fs::read(home.volume("photos").join("here")).unwrap(), content("here"));
        // Proven again, with the loss found and repaired by what is still here.
        home.run(&["index"]).expect(0);
        home.json(&["sync"]).expect(0);
        assert_eq!(fs::read(home.object("usb", &content("here"))).unwrap(), content("here"));
        assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
    }
}

/// Two machines that go on from one index: the second one finds a head at the destination that it did not write.
#[test]
fn a_second_copy_of_the_index_is_noticed() {
    let (home, tree) = with_history(&Setup::usual());
    let clone = Home::empty();
    for part in ["data", "config"] {
        copy_tree(&home.path(part), &clone.path(part));
    }
    // The clone reaches the same destination, and has a copy of the volume with its marker.
    let config = fs::read_to_string(home.config()).unwrap();
    let volumes = |home: &Home| home.path("volumes").to_str().unwrap().to_owned();
    clone.write_config(&config.replace(&volumes(&home), &volumes(&clone)));
    copy_tree(&home.volume("photos"), &clone.volume("photos"));
    assert_eq!(clone.json(&["index"]).expect(3).error_code(), "path-mismatch");
    // On another machine, nothing is at the old place.
    fs::rename(home.volume("photos"), home.path("away")).unwrap();
    clone.run(&["volume", "move", "photos", clone.volume("photos").to_str().unwrap()]).expect(0);
    fs::rename(home.path("away"), home.volume("photos")).unwrap();

    home.write("photos", "of the first", b"first");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    write(&clone.volume("photos").join("of the second"), b"second");
    clone.run(&["index"]).expect(0);
    let push = clone.json(&["sync"]).expect(0);
    assert!(push.ran.stderr.contains("the index is an old or a second copy"), "{}", push.ran);
    // Neither one's push hides the other's, and each goes on.
    assert!(home.json(&["sync"]).expect(0).ran.stderr.contains("the index is an old or a second copy"));
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    clone.json(&["sync"]).expect(0);
    clone.json(&["offload", "photos", ".", "--yes"]).expect(0);
    home.json(&["restore", "photos"]).expect(0);
    clone.json(&["restore", "photos"]).expect(0);
    let mut first = tree.clone();
    first.extend(home.tree("photos").into_iter().filter(|(path, _)| path.ends_with("of the first")));
    assert_eq!(first.len(), tree.len() + 1);
    assert_same_tree(&home.tree("photos"), &first);
    assert_eq!(clone.tree("photos").len(), tree.len() + 1);

    // Who recovers from there gets what either one had.
    let machine = Home::empty();
    machine.recover(&home.url("usb"), &[]).expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    first.extend(clone.tree("photos"));
    assert_same_tree(&machine.tree("photos"), &first);
}

/// An old copy of the destination is put in its place: what was pushed since is not there, whatever the index says.
#[test]
fn a_destination_that_was_rolled_back_is_refused() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "old", &content("old"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    copy_tree(&home.destination("usb"), &home.path("backup"));
    home.write("photos", "new", &content("new"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let put_back = |backup: &str| {
        fs::remove_dir_all(home.destination("usb")).unwrap();
        copy_tree(&home.path(backup), &home.destination("usb"));
    };
    copy_tree(&home.destination("usb"), &home.path("newer"));
    put_back("backup");
    for command in [&["sync"] as &[&str], &["verify"]] {
        let refused = home.json(command).expect(3);
        assert_eq!(refused.error_code(), "rolled-back", "{command:?}");
        assert!(refused.error()["hint"].as_str().unwrap().contains("lastcopy alarms ack"));
    }
    assert_eq!(standing(&home), ["rolled-back"]);
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.causes("new"), ["alarm@usb", "unverified@usb"]);
    assert_eq!(offload.causes("old"), ["alarm@usb", "unverified@usb"]);

    // The right one comes back: the alarm ends by itself, but what was believed must be proven again.
    put_back("newer");
    home.json(&["verify"]).expect(0);
    assert!(standing(&home).is_empty());
    home.json(&["sync"]).expect(0);
    // The old one for good, on a person's word: what it lacks is found, and sent again.
    put_back("backup");
    home.json(&["sync"]).expect(3);
    home.acknowledge("restored from a backup");
    assert_eq!(home.json(&["sync"]).expect(0).count("verified"), 2);
    assert_eq!(fs::read(home.object("usb", &content("new"))).unwrap(), content("new"));
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 2);
    // And it tells a recovery everything.
    lose_machine(&home);
    home.json(&["recover", "--from", &home.url("usb"), "--yes"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 2);
}

/// Segments begin anew after a rollback, and name a deleted file only as missing. Whoever had heard of it before hears that, too.
#[test]
fn what_was_deleted_before_segments_began_anew_is_not_recovered() {
    let (home, machine) = recovered_elsewhere(&["stays", "goes"]);
    copy_tree(&home.destination("usb"), &home.path("backup"));
    fs::remove_file(home.volume("photos").join("goes")).unwrap();
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_dir_all(home.destination("usb")).unwrap();
    copy_tree(&home.path("backup"), &home.destination("usb"));
    home.json(&["sync"]).expect(3);
    home.acknowledge("restored from a backup");
    home.run(&["sync"]).expect(0);
    machine.recover(&home.url("usb"), &[]).expect(0);
    assert_eq!(machine.json(&["restore", "photos"]).expect(0).count("restored"), 1);
    assert!(!machine.volume("photos").join("goes").exists());
}

/// Segments begin anew after a rollback, and the newest bytes of a file are not there, because it changed while they were sent. It comes back
/// as it was before.
#[test]
fn a_file_whose_newest_bytes_are_withheld_comes_back_as_it_stood() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"one");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_dir_all(home.destination("usb").join("volumes")).unwrap();
    home.json(&["sync"]).expect(3);
    home.acknowledge("somebody cleaned up");
    home.run(&["verify", "--all"]).expect(0);
    home.write("photos", "a", b"two");
    home.run(&["index"]).expect(0);
    home.write("photos", "a", b"three");
    home.json(&["sync"]).expect(1);
    lose_machine(&home);
    fs::remove_file(home.volume("photos").join("a")).unwrap();
    home.json(&["recover", "--from", &home.url("usb"), "--yes"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 1);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"one");
}

/// The same, said by an index that began with an old backup: what was offloaded after that is the better word.
#[test]
fn how_a_path_stood_overrules_nobody() {
    let home = Home::new(&Setup::usual());
    let edited = |bytes: &[u8]| {
        home.write("photos", "a", bytes);
        home.run(&["index"]).expect(0);
    };
    let backup = home.path("backup.db");
    edited(b"one");
    home.run(&["sync"]).expect(0);
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    edited(b"two");
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    home.run(&["verify", "--all"]).expect(0);
    edited(b"three");
    home.write("photos", "a", b"four");
    home.json(&["sync"]).expect(1);
    lose_machine(&home);
    fs::remove_file(home.volume("photos").join("a")).unwrap();
    home.json(&["recover", "--from", &home.url("usb"), "--yes"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 1);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"two");
}

/// A rollback that is there at the moment of deletion, and was not before.
#[test]
fn a_rollback_is_noticed_at_the_moment_of_deletion() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "old", &content("old"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    copy_tree(&home.destination("usb"), &home.path("backup"));
    home.write("photos", "new", &content("new"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_dir_all(home.destination("usb")).unwrap();
    fs::rename(home.path("backup"), home.destination("usb")).unwrap();
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.count("offloaded"), 0);
    assert_eq!(offload.causes("old"), ["alarm@usb", "unverified@usb", "unreachable@usb"]);
    assert_eq!(standing(&home), ["rolled-back"]);
    assert_eq!(home.tree("photos").len(), 2);
}

/// Its files are gone, its marker stays: each content is found lost, and what is here is sent again.
#[test]
fn a_destination_that_was_wiped_is_filled_again() {
    let (home, tree) = with_history(&Setup::usual());
    fs::remove_dir_all(home.destination("usb").join("objects")).unwrap();
    let verify = home.json(&["verify"]).expect(1);
    assert_eq!(verify.count("verified"), 0);
    let lost = verify.count("lost");
    let status = home.json(&["status"]).expect(1);
    let volume = status.of("status").find(|line| line["destination"].is_null()).unwrap();
    assert_eq!((volume["level"].as_str(), volume["offloaded_uncovered"].as_u64()), (Some("red"), Some(3)));
    // What is only offloaded is beyond repair, and said so by name; the rest is sent again.
    let repair = home.json(&["destination", "repair", "usb", "--yes"]).expect(1);
    assert_eq!(repair.count("lost"), lost);
    assert_eq!(repair.count("repaired"), 4, "the contents of the files that are here");
    let restore = home.json(&["restore", "photos"]).expect(1);
    assert_eq!((restore.count("restored"), restore.count("failed")), (1, 2));
    let mut named: Vec<_> = restore.of("file").map(|file| file["path"].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, ["moved/away", "moved/too"]);
    let mut rest = tree;
    rest.retain(|path, _| !path.starts_with("moved"));
    assert_same_tree(&home.tree("photos"), &rest);
}

/// The destination is lost for good, and a new one takes its name.
#[test]
fn a_destination_that_was_replaced_starts_anew() {
    let (home, _) = with_history(&Setup::two_destinations());
    fs::remove_dir_all(home.destination("usb")).unwrap();
    fs::create_dir(home.destination("usb")).unwrap();
    let rehearsed = home.json(&["destination", "reset", "usb", "--dry-run"]).expect(0);
    assert_eq!((rehearsed.count("offloaded_unproven"), rehearsed.count("offloaded_unproven_elsewhere")), (3, 0));
    home.run(&["destination", "reset", "usb", "--reason", "it broke", "--yes"]).expect(0);
    home.run(&["destination", "init", "usb"]).expect(0);
    home.json(&["sync"]).expect(0);
    // What is offloaded is not here to be sent; the other one still has it.
    assert_eq!(home.json(&["restore", "photos"]).expect(0).summary()["from"], "nas");
    home.json(&["sync"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("blocked"), 0);
}

/// A repository that another node made, or the same one under another name: it can be adopted, and then proven.
#[test]
fn a_repository_is_adopted() {
    let (home, tree) = with_history(&Setup::usual());
    let setup = Setup::usual().volume("photos", &["disk"]).policy("photos", "require = [\"disk\"]");
    let setup =
        setup.destination("disk").destination_at("disk", &home.destination("usb")).destination_at("usb", &home.path("nowhere"));
    home.configure(&setup);
    assert_eq!(home.json(&["destination", "init", "disk"]).expect(3).error_code(), "already-initialised");
    assert_eq!(home.json(&["sync"]).expect(3).error_code(), "not-initialised");
    assert_eq!(home.json(&["destination", "adopt", "disk"]).expect(2).error_code(), "usage");
    home.json(&["destination", "adopt", "disk", "--dry-run"]).expect(0);
    home.json(&["destination", "adopt", "disk", "--yes"]).expect(0);
    // The one that was known comes with all its evidence, unproven.
    let (verified, stored, lost) = counts(&home, "disk");
    assert!(verified == 0 && stored > 0 && lost == 0);
    assert_eq!(
        home.json(&["offload", "photos", "here", "--yes"]).expect(1).causes("here"),
        ["no-evidence@disk", "unverified@disk"]
    );
    home.json(&["verify", "disk"]).expect(0);
    home.json(&["sync"]).expect(0);
    // It is the same destination to the policy, too.
    home.json(&["offload", "photos", "here", "--yes"]).expect(0);
    assert_eq!(home.json(&["restore", "photos"]).expect(0).summary()["from"], "disk");
    assert_same_tree(&home.tree("photos"), &tree);
}

fn repaired(home: &Home, expected: u64) -> Json {
    let repair = home.json(&["destination", "repair", "usb", "--yes"]).expect(0);
    assert_eq!((repair.count("lost"), repair.count("repaired")), (expected, expected));
    repair
}

#[test]
fn a_loss_is_repaired_from_this_disk_and_from_another_destination() {
    let (home, tree) = with_history(&Setup::two_destinations());
    flip_bit(&home.object("usb", &content("here")));
    fs::remove_file(home.object("usb", &content("moved/away"))).unwrap();
    home.json(&["verify", "usb"]).expect(1);
    let planned = home.json(&["destination", "repair", "usb", "--dry-run"]).expect(0);
    let mut from: Vec<_> = planned.of("content").map(|line| line["from"].as_str().unwrap().to_owned()).collect();
    from.sort();
    assert_eq!(from, ["destination nas", "photos/here"]);
    repaired(&home, 2);
    assert!(standing(&home).is_empty());
    for path in ["here", "moved/away"] {
        assert_eq!(fs::read(home.object("usb", &content(path))).unwrap(), content(path));
    }
    // The damaged bytes were kept aside.
    let damaged = read_tree(&home.destination("usb").join("damaged"));
    assert_eq!(damaged.len(), 1);
    home.json(&["verify"]).expect(0);
    fs::remove_dir_all(home.destination("nas")).unwrap();
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 3);
    assert_same_tree(&home.tree("photos"), &tree);
}

/// A file that was changed since, or whose other copy is damaged as well, is no source: the next one is tried.
#[test]
fn a_repair_tries_every_source() {
    let setup = Setup::two_destinations().destination("vault").volume("photos", &["usb", "nas", "vault"]);
    let home = Home::new(&setup.policy("photos", "require = [\"usb\"]"));
    for path in ["a", "b"] {
        home.write("photos", path, &content("same"));
    }
    home.write("photos", "c", &content("c"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    for bytes in [&content("same"), &content("c")] {
        flip_bit(&home.object("usb", bytes));
    }
    home.json(&["verify", "usb"]).expect(1);
    // The first of the two files does not hold the bytes any more; neither does `c`, and one of the two other destinations lies.
    home.write("photos", "a", b"changed");
    home.write("photos", "c", b"changed, too");
    flip_bit(&home.object("nas", &content("c")));
    repaired(&home, 2);
    for bytes in [content("same"), content("c")] {
        assert_eq!(fs::read(home.object("usb", &bytes)).unwrap(), bytes);
    }
}

#[test]
fn a_restore_uses_the_destination_that_still_has_the_bytes() {
    let (home, tree) = with_history(&Setup::two_destinations());
    // Each of the two has lost something, and nobody knows yet.
    flip_bit(&home.object("usb", &content("moved/away")));
    fs::remove_file(home.object("nas", &content("moved/too"))).unwrap();
    let restore = home.json(&["restore", "photos"]).expect(1);
    assert_eq!((restore.count("restored"), restore.count("lost"), restore.count("unread")), (3, 1, 0));
    assert_eq!(restore.file("moved/too")["outcome"], "restored");
    assert_same_tree(&home.tree("photos"), &tree);
    assert_eq!(counts(&home, "nas").2, 1, "the first one that was asked has lost one");
    assert_eq!(standing(&home), ["lost-object"]);
    // It is sent again, and only then it counts.
    assert_eq!(home.json(&["sync", "--to", "nas"]).expect(0).count("verified"), 1);
    assert!(standing(&home).is_empty());
}

/// A destination that is away as a whole does not stand in the way either.
#[test]
fn a_restore_goes_around_a_destination_that_is_away() {
    for away in ["usb", "nas"] {
        let (home, tree) = with_history(&Setup::two_destinations());
        fs::rename(home.destination(away), home.path("away")).unwrap();
        assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 3);
        assert_same_tree(&home.tree("photos"), &tree);
    }
}

#[test]
fn what_nobody_can_give_is_named_and_the_rest_is_restored() {
    let (home, tree) = with_history(&Setup::usual());
    flip_bit(&home.object("usb", &content("moved/away")));
    let restore = home.json(&["restore", "photos"]).expect(1);
    assert_eq!((restore.count("restored"), restore.count("failed")), (2, 1));
    assert_eq!(restore.file("moved/away")["outcome"], "error");
    assert!(!home.volume("photos").join("moved/away").exists(), "wrong bytes came back");
    let mut rest = tree;
    rest.remove(Path::new("moved/away"));
    assert_same_tree(&home.tree("photos"), &rest);
    let only = home.json(&["restore", "photos", "moved/away", "--from", "usb"]).expect(1);
    assert_eq!(only.count("failed"), 1);
}

#[test]
fn a_restore_replaces_nothing_that_is_there() {
    let (home, tree) = with_history(&Setup::usual());
    home.write("photos", "moved/away", b"something else");
    let restore = home.json(&["restore", "photos"]).expect(1);
    assert_eq!((restore.count("restored"), restore.count("refused")), (2, 1));
    assert_eq!(fs::read(home.volume("photos").join("moved/away")).unwrap(), b"something else");
    assert!(restore.summary()["kept"].is_null());
    let restore = home.json(&["restore", "photos", "moved/away", "--in-place"]).expect(0);
    assert_eq!(restore.count("restored"), 1);
    let kept = Path::new(restore.summary()["kept"].as_str().unwrap());
    assert_eq!(fs::read(kept.join("moved/away")).unwrap(), b"something else");
    assert_same_tree(&home.tree("photos"), &tree);
    let kept = read_tree(&home.volume("photos").join(".lastcopy/kept"));
    assert!(kept.values().any(|entry| entry.bytes == b"something else"));
}

/// A file that became a directory of others cannot come back together with them. It was left out without a word.
#[test]
fn what_gives_way_to_later_files_is_named() {
    let home = Home::new(&Setup::usual());
    for path in ["a", "a/b"] {
        fs::remove_file(home.volume("photos").join("a")).ok();
        home.write("photos", path, path.as_bytes());
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
    }
    let to = home.path("elsewhere");
    let restored = home.run(&["restore", "photos", "--to", to.to_str().unwrap()]).expect(0);
    assert!(restored.stderr.contains("photos: `a` left out"), "{restored}");
    let told = home.json(&["restore", "photos", "--to", home.path("told").to_str().unwrap()]).expect(0);
    assert_eq!(told.file("a")["outcome"], "left-out");
    assert_eq!(fs::read(to.join("a/b")).unwrap(), b"a/b");
    let digest = crate::tree::digest(b"a");
    assert!(home.run(&["query", home.volume("photos").join("a").to_str().unwrap()]).expect(0).stdout.contains(&digest));
    home.run(&["restore", "photos", "--content", &digest, "--to", home.path("other").to_str().unwrap()]).expect(0);
    assert_eq!(fs::read(home.path("other/a")).unwrap(), b"a");
}

/// Deleted by accident a moment ago: no index run has noticed yet.
#[test]
fn a_file_that_is_gone_comes_back_when_it_is_named() {
    let (home, tree) = with_history(&Setup::usual());
    for path in ["here", "changed"] {
        fs::remove_file(home.volume("photos").join(path)).unwrap();
    }
    // Not by itself: it may have been meant.
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 3);
    assert_eq!(home.json(&["restore", "photos", "here"]).expect(0).count("restored"), 1);
    assert_eq!(home.json(&["index"]).expect(0).count("missing"), 1);
    assert_eq!(home.json(&["restore", "photos", "changed"]).expect(0).count("restored"), 1);
    assert_same_tree(&home.tree("photos"), &tree);
    // What is there stays as it is, and one that was changed is not replaced.
    assert_eq!(home.json(&["restore", "photos", "here"]).expect(0).count("already"), 1);
    home.write("photos", "here", b"changed");
    assert_eq!(home.json(&["restore", "photos", "here"]).expect(1).count("refused"), 1);
    assert_eq!(fs::read(home.volume("photos").join("here")).unwrap(), b"changed");
}

#[test]
fn elsewhere_and_by_content() {
    let (home, tree) = with_history(&Setup::usual());
    let to = home.path("elsewhere");
    let all = home.json(&["restore", "photos", "--to", to.to_str().unwrap()]).expect(0);
    let mut expected = tree.clone();
    // What is missing here comes, too.
    let mut found = read_tree(&to);
    let gone = found.remove(Path::new("gone")).unwrap();
    assert_eq!(gone.bytes, content("gone"));
    assert_same_tree(&found, &expected);
    assert_eq!(all.count("restored"), tree.len() as u64 + 1);
    // Bytes that no path holds any more.
    let old = crate::tree::digest(&content("changed once"));
    let to = home.path("by content");
    home.json(&["restore", "photos", "--content", &old, "--to", to.to_str().unwrap()]).expect(0);
    let found = read_tree(&to);
    assert_eq!(found.values().map(|entry| entry.bytes.clone()).collect::<Vec<_>>(), [content("changed once")]);
    // Home was not touched.
    expected.retain(|path, _| !path.starts_with("moved") && !path.ends_with("again"));
    assert_same_tree(&home.tree("photos"), &expected);
}

/// Two machines each had a volume `photos`, on one disk. Both were taken for the one that was asked for: the first was filled, the second
/// failed, and nothing could be recovered any more.
#[test]
fn of_two_volumes_of_one_name_one_is_chosen_by_its_id() {
    let (home, tree) = with_history(&Setup::usual());
    let other = Home::empty();
    other.configure(&Setup::usual().destination_at("usb", &home.destination("usb")));
    other.write("photos", "theirs", b"theirs");
    other.run(&["volume", "add", "photos", other.volume("photos").to_str().unwrap()]).expect(0);
    other.run(&["destination", "adopt", "usb", "--reason", "shared", "--yes"]).expect(0);
    other.run(&["index"]).expect(0);
    other.run(&["sync"]).expect(0);

    let machine = Home::empty();
    let (from, to) = (home.url("usb"), machine.path("found"));
    let recover = ["recover", "--from", &from, "--to", to.to_str().unwrap(), "--yes"];
    let id = |home: &Home| -> String {
        let marker = fs::read_to_string(home.volume("photos").join(".lastcopy/volume.toml")).unwrap();
        marker.lines().find_map(|line| line.strip_prefix("volume = \"")).unwrap().trim_end_matches('"').to_owned()
    };
    for by_name in [&[] as &[&str], &["--volume", "photos"]] {
        let refused = machine.json(&[&recover, by_name].concat()).expect(3);
        assert_eq!(refused.error_code(), "refused");
        let message = refused.error()["message"].as_str().unwrap();
        for home in [&home, &other] {
            assert!(message.contains(&id(home)) && message.contains(home.volume("photos").to_str().unwrap()), "{message}");
        }
    }
    assert!(!machine.config().exists() && !to.exists(), "nothing was changed");
    machine.json(&[&recover[..], &["--volume", &id(&home)]].concat()).expect(0);
    machine.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&read_tree(&to.join("photos")), &tree);
}

/// Stopped after the paths were known and before a receipt was recorded, it was refused for ever: the index knew the volume already.
#[test]
fn an_interrupted_recovery_goes_on() {
    let (home, tree) = with_history(&Setup::usual());
    let machine = Home::empty();
    let (from, to) = (home.url("usb"), machine.path("volumes"));
    let recover = ["recover", "--from", &from, "--to", to.to_str().unwrap(), "--yes"];
    let (objects, away) = (home.destination("usb").join("objects"), home.path("objects"));
    fs::rename(&objects, &away).unwrap();
    fs::write(&objects, "").unwrap();
    machine.json(&recover).expect(4);
    fs::remove_file(&objects).unwrap();
    fs::rename(&away, &objects).unwrap();
    machine.json(&recover).expect(0);
    assert_eq!(machine.json(&["restore", "photos"]).expect(0).count("restored"), tree.len() as u64);
    // Once something is on the disk, there is nothing to go on with.
    assert_eq!(machine.json(&recover).expect(3).error_code(), "refused");
}

/// Files wait for their grace to end, and the disk dies: they come back like the others. Elsewhere they come while they wait.
#[test]
fn what_waited_on_a_disk_that_died_comes_back() {
    let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"30d\""));
    for path in ["waits", "is here"] {
        home.write("photos", path, &content(path));
    }
    let tree = home.tree("photos");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", "waits", "--yes"]).expect(0).count("quarantined"), 1);
    let to = home.path("elsewhere");
    assert_eq!(home.json(&["restore", "photos", "--to", to.to_str().unwrap()]).expect(0).count("restored"), 2);
    fs::remove_dir_all(home.volume("photos")).unwrap();
    fs::create_dir(home.volume("photos")).unwrap();
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap(), "--yes"]).expect(0);
    assert_eq!(home.json(&["restore", "photos", "--in-place"]).expect(0).count("restored"), 2);
    assert_same_tree(&home.tree("photos"), &tree);
}

/// Two destinations, the second one a push behind: the newest words count, whichever comes first on the disk, and the index learns of the
/// copies at both. A name stands for one of them, and a destination that is accepted keeps its alarms.
#[test]
fn an_index_learns_of_a_second_destination() {
    let home = Home::new(&Setup::two_destinations());
    home.write("photos", "a", b"first");
    home.write("photos", "b", b"the same");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.write("photos", "a", b"newer");
    home.run(&["index"]).expect(0);
    home.run(&["sync", "--to", "usb"]).expect(0);

    let machine = Home::empty();
    let to = machine.path("volumes");
    let recover = |from: &str, more: &[&str]| machine.recover(from, more);
    let (usb, nas) = (home.url("usb"), home.url("nas"));
    recover(&usb, &["--name", "usb"]).expect(0);
    let refused = recover(&nas, &["--name", "usb"]).expect(3);
    assert_eq!(refused.error_code(), "refused", "that name is another one's");
    recover(&nas, &["--name", "nas"]).expect(0);
    assert_eq!(counts(&machine, "usb"), (0, 3, 0));
    assert_eq!(counts(&machine, "nas"), (0, 2, 0));
    machine.run(&["restore", "photos"]).expect(0);
    assert_eq!(fs::read(to.join("photos/a")).unwrap(), b"newer");
    // Also once files are here, where nothing is known of it yet.
    let late = Home::empty();
    let to = late.path("volumes");
    let recover = |from: &str, name: &str| late.recover(from, &["--name", name]);
    recover(&usb, "usb").expect(0);
    late.run(&["restore", "photos"]).expect(0);
    recover(&nas, "nas").expect(0);
    assert_eq!(counts(&late, "nas"), (0, 2, 0));
    assert_eq!(fs::read(to.join("photos/a")).unwrap(), b"newer");
    assert_eq!(recover(&nas, "nas").expect(3).error_code(), "refused", "there is nothing to learn");

    // Or where all that is known of it is who it is.
    let adopting = Home::empty();
    let recover = |from: &str, name: &str| adopting.recover(from, &["--name", name]);
    recover(&usb, "usb").expect(0);
    recover(&usb, "usb").expect(0);
    adopting.run(&["restore", "photos"]).expect(0);
    assert_eq!(recover(&usb, "usb").expect(3).error_code(), "refused", "files of it are here by now");
    let known = fs::read_to_string(adopting.config()).unwrap();
    adopting.write_config(&format!("{known}\n[destinations.nas]\nkind = \"cas\"\nurl = {nas:?}\n"));
    adopting.run(&["destination", "adopt", "nas", "--yes"]).expect(0);
    recover(&nas, "nas").expect(0);
    assert_eq!(counts(&adopting, "nas"), (0, 2, 0));
}

/// The reference never said that a digest needs a directory, and the program did.
#[test]
fn a_content_comes_back_to_the_paths_that_lack_it() {
    let (home, tree) = with_history(&Setup::usual());
    let digest = home.object("usb", &content("here")).file_name().unwrap().to_str().unwrap().to_owned();
    // `again` was offloaded; `here` holds the same bytes and is there.
    assert_eq!(home.json(&["restore", "photos", "--content", &digest]).expect(0).count("restored"), 1);
    assert_eq!(home.tree("photos")[Path::new("again")].bytes, tree[Path::new("again")].bytes);
    assert_eq!(home.json(&["restore", "photos", "--content", &digest]).expect(2).error_code(), "not-found");
}

/// What was refused before it began was reported under the number of the run before.
#[test]
fn a_command_that_began_nothing_names_no_run() {
    let (home, _) = with_history(&Setup::usual());
    home.json(&["verify", "usb"]).expect(0);
    fs::rename(home.volume("photos"), home.path("away")).unwrap();
    for command in [&["sync"] as &[&str], &["verify", "usb", "--volume", "photos"]] {
        let refused = home.json(command).expect(3);
        assert!(refused.summary()["run"].is_null(), "{command:?}: {}", refused.ran);
    }
}

/// A header names the volume, and its name became a directory below the one given: `..` led out of it, and the configuration that was
/// written could not be read any more. What it says is shown to a person, too, whose terminal obeyed it.
#[test]
fn a_volume_of_an_illegal_name_is_not_recovered() {
    for name in ["..", ".lastcopy", "../x", "/elsewhere", "\u{1b}[2J"] {
        let home = Home::new(&Setup::usual());
        home.write("photos", "a", b"a");
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
        let forged = |text: &str| text.replace("\"volume_name\":\"photos\"", &format!("\"volume_name\":{}", Value::from(name)));
        forge_segment(&home.destination("usb"), forged);
        let machine = Home::empty();
        let to = machine.path("volumes");
        let arguments = ["recover", "--from", &home.url("usb"), "--to", to.to_str().unwrap(), "--yes"];
        let refused = machine.json(&arguments).expect(3);
        assert_eq!(refused.error_code(), "refused", "{name:?}");
        assert!(!refused.error()["message"].as_str().unwrap().contains('\u{1b}'), "{name:?}");
        assert!(!machine.config().exists(), "{name:?}: something was written");
    }
}

/// Writes the one segment of a destination anew, and the head that names it.
fn forge_segment(destination: &Path, forge: impl Fn(&str) -> String) {
    let head = read_tree(destination).into_keys().find(|path| path.ends_with("head.json")).unwrap();
    forge_in(destination.join(head).parent().unwrap(), forge);
}

/// The same for one life of an index, in its directory.
pub(crate) fn forge_in(place: &Path, forge: impl Fn(&str) -> String) {
    let segment = place.join("segments/00000001.jsonl.zst");
    let text = String::from_utf8(zstd::decode_all(fs::File::open(&segment).unwrap()).unwrap()).unwrap();
    let forged = forge(&text);
    assert_ne!(forged, text);
    let bytes = zstd::encode_all(forged.as_bytes(), 1).unwrap();
    fs::remove_file(&segment).unwrap();
    fs::write(&segment, &bytes).unwrap();
    let mut head: Value = serde_json::from_slice(&fs::read(place.join("head.json")).unwrap()).unwrap();
    head["segment"]["digest"] = lastcopy_fs::hash_bytes(&bytes).hash.to_string().into();
    fs::write(place.join("head.json"), head.to_string()).unwrap();
}
