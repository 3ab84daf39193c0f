//! Destinations that are not what they should be: each is named, what helps is said, and neither a file here nor a byte there changes.

use crate::home::{Home, Setup};
use crate::mounts::{Mounted, NO_MOUNTS, fill};
use crate::ran::Json;
use crate::skip::skipped;
use crate::tree::{Tree, assert_same_tree, copy_tree, noise, read_tree};
use std::fs;

/// A home with ten files, indexed and pushed, and one more that was indexed since.
fn pushed() -> Home {
    let home = Home::new(&Setup::usual());
    for number in 0..10 {
        home.write("photos", &number.to_string(), &noise(&number.to_string(), 3000));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.write("photos", "late", b"indexed, not pushed");
    home.run(&["index"]).expect(0);
    home
}

/// That a command ends with this exit status and code, and names the destination and what helps.
#[track_caller]
fn said(home: &Home, arguments: &[&str], exit: i32, code: &str) -> Json {
    let json = home.json(arguments).expect(exit);
    assert_eq!(json.error_code(), code, "{}", json.ran);
    let message = json.error()["message"].as_str().unwrap();
    assert!(message.contains("usb"), "the destination is not named: {message}");
    assert!(json.error()["hint"].is_string(), "nothing is said to help:\n{}", json.ran);
    json
}

/// That an offload of everything deletes nothing, and that the one cause of each pushed file is this.
#[track_caller]
fn offloads_nothing(home: &Home, cause: &str) {
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((json.count("offloaded"), json.count("blocked")), (0, 11), "{}", json.ran);
    assert_eq!(json.causes("0"), [cause], "{}", json.ran);
}

#[track_caller]
fn assert_trees(home: &Home, photos: &Tree, usb: &Tree) {
    assert_same_tree(&home.tree("photos"), photos);
    assert_same_tree(&read_tree(&home.destination("usb")), usb);
}

#[test]
fn one_that_is_missing() {
    let home = pushed();
    let photos = home.tree("photos");
    fs::rename(home.destination("usb"), home.path("aside")).unwrap();
    said(&home, &["sync"], 4, "unreachable");
    said(&home, &["verify"], 4, "unreachable");
    said(&home, &["destination", "init", "usb"], 3, "already-initialised");
    // Nobody answered, and that was told as another one who had.
    let probe = said(&home, &["destination", "probe", "usb"], 4, "unreachable");
    assert_eq!(probe.of("destination").next().unwrap()["answer"], "cannot-tell");
    let probe = home.run(&["destination", "probe", "usb"]).expect(4);
    assert!(!probe.stdout.contains("identity") && !probe.stdout.contains("can pass"), "{probe}");
    offloads_nothing(&home, "unreachable@usb");
    assert_same_tree(&home.tree("photos"), &photos);
    assert!(!home.destination("usb").exists(), "somebody made it again");
    // An empty directory in its place is an answer.
    fs::create_dir(home.destination("usb")).unwrap();
    said(&home, &["sync"], 3, "not-initialised");
    said(&home, &["verify"], 3, "not-initialised");
    said(&home, &["destination", "init", "usb"], 3, "already-initialised");
    offloads_nothing(&home, "alarm@usb");
    let anew = "it is lost for good: `lastcopy destination reset usb`, then `lastcopy destination init usb`";
    let probe = home.run(&["destination", "probe", "usb"]).expect(1);
    assert!(probe.stdout.contains(anew) && !probe.stdout.contains("can pass"), "{probe}");
    assert!(!probe.stdout.contains("`init` may make"), "{probe}");
    let alarms = home.run(&["alarms"]).expect(1);
    assert!(alarms.stdout.contains(anew), "{alarms}");
    assert!(fs::read_dir(home.destination("usb")).unwrap().next().is_none(), "somebody made it again");
    fs::remove_dir(home.destination("usb")).unwrap();
    // Where even the directory above is gone, as below the mount point of a disk that is not there.
    fs::rename(home.path("destinations"), home.path("elsewhere")).unwrap();
    said(&home, &["sync"], 4, "unreachable");
    said(&home, &["verify"], 4, "unreachable");
    assert_same_tree(&home.tree("photos"), &photos);
    fs::rename(home.path("elsewhere"), home.path("destinations")).unwrap();
    fs::rename(home.path("aside"), home.destination("usb")).unwrap();
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
}

/// It was advised to give what was not there an empty directory, or none.
#[test]
fn one_whose_directory_nobody_made() {
    let home = pushed();
    let disk = home.path("mnt/disk/nas");
    home.configure(&Setup::two_destinations().destination_at("nas", &disk));
    let refused = home.json(&["destination", "init", "nas"]).expect(3);
    assert_eq!(refused.error_code(), "refused");
    assert!(refused.error()["hint"].as_str().unwrap().contains(&format!("`mkdir -p {}`", disk.display())), "{}", refused.ran);
    assert!(!home.path("mnt").exists());
    fs::create_dir_all(&disk).unwrap();
    home.json(&["destination", "init", "nas"]).expect(0);
}

#[test]
fn one_whose_place_holds_something_else() {
    let home = pushed();
    let photos = home.tree("photos");
    fs::rename(home.destination("usb"), home.path("aside")).unwrap();
    fs::create_dir(home.destination("usb")).unwrap();
    fs::write(home.destination("usb").join("thesis.odt"), b"somebody else's").unwrap();
    let foreign = read_tree(&home.destination("usb"));
    said(&home, &["sync"], 4, "unreachable");
    said(&home, &["verify"], 4, "unreachable");
    said(&home, &["destination", "init", "usb"], 3, "refused");
    said(&home, &["destination", "adopt", "usb", "--yes"], 4, "unreachable");
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(json.count("offloaded"), 0);
    assert_trees(&home, &photos, &foreign);
    // Never initialised, it is not taken either.
    home.configure(&Setup::two_destinations());
    fs::create_dir(home.destination("nas")).unwrap();
    fs::write(home.destination("nas").join("thesis.odt"), b"somebody else's").unwrap();
    let json = home.json(&["destination", "init", "nas"]).expect(3);
    assert_eq!(json.error_code(), "refused");
    assert!(json.error()["message"].as_str().unwrap().contains("nas") && json.error()["hint"].is_string());
    assert_eq!(fs::read_dir(home.destination("nas")).unwrap().count(), 1);
}

#[test]
fn one_that_is_a_file() {
    let home = pushed();
    fs::rename(home.destination("usb"), home.path("aside")).unwrap();
    fs::write(home.destination("usb"), b"a file").unwrap();
    let photos = home.tree("photos");
    for command in [&["sync"] as &[&str], &["verify"]] {
        said(&home, command, 4, "unreachable");
    }
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(json.count("offloaded"), 0);
    assert_same_tree(&home.tree("photos"), &photos);
    assert_eq!(fs::read(home.destination("usb")).unwrap(), b"a file");
}

#[test]
fn one_whose_marker_is_damaged() {
    let home = pushed();
    let marker = home.destination("usb").join(".lastcopy-destination.json");
    let photos = home.tree("photos");
    for bytes in [b"" as &[u8], b"{}", b"{\"format\":99,\"id\":\"0\",\"kind\":\"cas\",\"created\":\"\"}", b"\xff\xff"] {
        fs::write(&marker, bytes).unwrap();
        let usb = read_tree(&home.destination("usb"));
        said(&home, &["sync"], 4, "unreachable");
        said(&home, &["destination", "init", "usb"], 3, "refused");
        assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
        assert_trees(&home, &photos, &usb);
    }
}

#[test]
fn one_that_is_read_only() {
    let home = pushed();
    let (photos, usb) = (home.tree("photos"), read_tree(&home.destination("usb")));
    let Some(read_only) = Mounted::read_only(&home.destination("usb")) else {
        return skipped("bad_destination::one_that_is_read_only", NO_MOUNTS);
    };
    said(&home, &["sync"], 4, "auth");
    assert_trees(&home, &photos, &usb);
    // It still proves and gives what it has, and what it proves may go.
    home.json(&["verify"]).expect(0);
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((json.count("offloaded"), json.count("blocked")), (10, 1));
    home.json(&["restore", "photos"]).expect(0);
    assert_trees(&home, &photos, &usb);
    drop(read_only);
    home.json(&["sync"]).expect(0);
}

#[test]
fn a_new_one_that_is_read_only() {
    let home = Home::empty();
    home.configure(&Setup::usual());
    fs::create_dir(home.destination("usb")).unwrap();
    let Some(_read_only) = Mounted::read_only(&home.path("destinations")) else {
        return skipped("bad_destination::a_new_one_that_is_read_only", NO_MOUNTS);
    };
    said(&home, &["destination", "init", "usb"], 4, "auth");
    assert!(read_tree(&home.destination("usb")).is_empty());
}

#[test]
fn one_that_is_full() {
    let home = Home::empty();
    let Some(_small) = Mounted::small(&home.path("destinations")) else {
        return skipped("bad_destination::one_that_is_full", NO_MOUNTS);
    };
    home.configure(&Setup::usual());
    fs::create_dir(home.volume("photos")).unwrap();
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "usb"]).expect(0);
    home.write("photos", "first", &noise("first", 3000));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    for number in 0..20 {
        home.write("photos", &number.to_string(), &noise(&number.to_string(), 50_000));
    }
    home.run(&["index"]).expect(0);
    let photos = home.tree("photos");
    let filling = home.path("destinations/filling");
    fill(&filling);
    let json = said(&home, &["sync"], 4, "io");
    assert!(json.error()["message"].as_str().unwrap().contains("space"), "{}", json.ran);
    assert_eq!(json.summary()["advanced"], false);
    // What was proven before may go, and nothing else.
    let json = home.json(&["offload", "photos", ".", "--dry-run"]).expect(1);
    assert_eq!((json.count("offloaded"), json.count("blocked")), (1, 20));
    assert_same_tree(&home.tree("photos"), &photos);
    fs::remove_file(filling).unwrap();
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &photos);
}

/// Nothing read a segment again after it was written. One that rotted was found on the day on which the index was lost: the bytes were there,
/// and nobody knew whose. A verify finds it, no gate opens on that destination meanwhile, and the next push lists everything anew.
#[test]
fn a_segment_that_rotted_is_written_anew() {
    for damage in ["rots", "is gone"] {
        let home = pushed();
        copy_tree(&home.destination("usb"), &home.path("older"));
        home.json(&["sync"]).expect(0);
        let photos = home.tree("photos");
        let usb = home.destination("usb");
        let first = read_tree(&usb).into_keys().find(|path| path.to_str().unwrap().contains("/segments/")).unwrap();
        let first = usb.join(first);
        home.json(&["verify"]).expect(0);
        match damage {
            "rots" => {
                let mut bytes = fs::read(&first).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::remove_file(&first).unwrap();
                fs::write(&first, bytes).unwrap();
            }
            _ => fs::remove_file(&first).unwrap(),
        }
        home.json(&["verify", "--quick"]).expect(0);
        let verified = home.json(&["verify"]).expect(1);
        assert_eq!((verified.count("lost"), verified.summary()["unlisted"][0].as_str()), (0, Some("photos")), "{}", verified.ran);
        let refused = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
        assert_eq!(refused.count("offloaded"), 0);
        home.json(&["verify"]).expect(1);
        // An older copy in its place is noticed still.
        fs::rename(&usb, home.path("away")).unwrap();
        fs::rename(home.path("older"), &usb).unwrap();
        said(&home, &["sync"], 3, "rolled-back");
        fs::rename(&usb, home.path("older")).unwrap();
        fs::rename(home.path("away"), &usb).unwrap();
        home.json(&["sync"]).expect(0);
        home.json(&["verify"]).expect(0);
        home.json(&["offload", "photos", ".", "--yes"]).expect(0);
        // On the worst day, everything is found by its name.
        fs::remove_dir_all(home.path("data")).unwrap();
        home.json(&["recover", "--from", &home.url("usb"), "--name", "usb", "--yes"]).expect(0);
        home.json(&["restore", "photos"]).expect(0);
        assert_same_tree(&home.tree("photos"), &photos);
    }
}

/// An object was lost, and an older copy of the disk was mounted in its place, which has it. A repair took that one's for this one's, ended the
/// alarm, and an offload deleted on it once the disk itself was back.
#[test]
fn an_older_copy_in_its_place_repairs_nothing() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes of a");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    copy_tree(&home.destination("usb"), &home.path("older"));
    home.write("photos", "b", b"bytes of b");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    fs::remove_file(home.object("usb", b"bytes of a")).unwrap();
    assert_eq!(home.json(&["verify"]).expect(1).count("lost"), 1);
    fs::rename(home.destination("usb"), home.path("away")).unwrap();
    fs::rename(home.path("older"), home.destination("usb")).unwrap();
    said(&home, &["destination", "repair", "usb", "--yes"], 3, "rolled-back");
    fs::rename(home.destination("usb"), home.path("older")).unwrap();
    fs::rename(home.path("away"), home.destination("usb")).unwrap();
    home.run(&["offload", "photos", "a", "--yes"]).expect(1);
    assert!(home.volume("photos").join("a").exists());
    assert_eq!(home.json(&["destination", "repair", "usb", "--yes"]).expect(0).count("repaired"), 1);
}

#[test]
fn one_that_was_rolled_back() {
    let home = pushed();
    copy_tree(&home.destination("usb"), &home.path("backup"));
    home.run(&["sync"]).expect(0);
    fs::remove_dir_all(home.destination("usb")).unwrap();
    copy_tree(&home.path("backup"), &home.destination("usb"));
    let (photos, usb) = (home.tree("photos"), read_tree(&home.destination("usb")));
    said(&home, &["sync"], 3, "rolled-back");
    said(&home, &["verify"], 3, "rolled-back");
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((json.count("offloaded"), json.count("blocked")), (0, 11));
    assert_trees(&home, &photos, &usb);
}

#[test]
fn one_that_was_replaced() {
    let home = pushed();
    let other = Home::new(&Setup::usual());
    fs::remove_dir_all(home.destination("usb")).unwrap();
    copy_tree(&other.destination("usb"), &home.destination("usb"));
    let (photos, usb) = (home.tree("photos"), read_tree(&home.destination("usb")));
    said(&home, &["sync"], 3, "identity-changed");
    said(&home, &["verify"], 3, "identity-changed");
    said(&home, &["destination", "init", "usb"], 3, "already-initialised");
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((json.count("offloaded"), json.count("blocked")), (0, 11));
    assert_trees(&home, &photos, &usb);
}

/// What a recovery is told to read.
#[test]
fn a_recovery_from_nowhere() {
    let home = Home::empty();
    fs::create_dir(home.path("empty")).unwrap();
    fs::create_dir(home.path("foreign")).unwrap();
    fs::write(home.path("foreign/file"), b"bytes").unwrap();
    let url = |place: &str| format!("file://{}", home.path(place).display());
    for (from, exit, code) in [
        (url("empty"), 3, "not-initialised"),
        (url("foreign"), 4, "unreachable"),
        (url("no/where"), 4, "unreachable"),
        ("usb".to_owned(), 2, "usage"),
        ("file://usb".to_owned(), 2, "usage"),
        ("s3://bucket/prefix".to_owned(), 2, "usage"),
    ] {
        let json = home.json(&["recover", "--yes", "--from", &from]).expect(exit);
        assert_eq!(json.error_code(), code, "{}", json.ran);
        assert!(json.error()["message"].as_str().unwrap().contains(&from), "{}", json.ran);
        assert!(json.error()["hint"].is_string(), "{}", json.ran);
        assert!(!home.config().exists() && !home.index().exists(), "something was made:\n{}", json.ran);
    }
    // Its section is there, in a configuration that cannot be read.
    home.write_config("colour = \"blue\"\n[destinations.usb]\nkind = \"cas\"\nurl = \"file:///media/usb\"\n");
    let json = home.json(&["recover", "--yes", "--from", "usb"]).expect(2);
    assert!(json.error_code() == "config" && json.error()["message"].as_str().unwrap().contains("colour"), "{}", json.ran);
}
