//! Volumes that are not what they are said to be: each is refused with its name, its path and the way out, and nothing changes.

use crate::home::{Home, Setup};
use crate::mounts::{Mounted, NO_MOUNTS};
use crate::ran::Json;
use crate::skip::skipped;
use crate::tree::{assert_same_tree, copy_tree, read_tree};
use std::fs::{self, File};
use std::os::unix::fs::symlink;

/// A home with two files, indexed and pushed.
fn pushed() -> Home {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes of a");
    home.write("photos", "b", b"bytes of b");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

/// That a command is refused with this exit status and code, names some things, helps, and changes nothing.
#[track_caller]
fn refused(home: &Home, arguments: &[&str], exit: i32, code: &str, names: &[&str]) -> Json {
    let before = home.still();
    let json = home.json(arguments).expect(exit);
    assert_eq!(json.error_code(), code, "{}", json.ran);
    let message = json.error()["message"].as_str().unwrap();
    names.iter().for_each(|name| assert!(message.contains(name), "`{name}` is not named: {message}"));
    assert!(json.error()["hint"].is_string(), "nothing is said to help:\n{}", json.ran);
    home.assert_still(&before);
    json
}

/// The same for everything that works on a volume.
#[track_caller]
fn refused_by_all(home: &Home, exit: i32, code: &str, names: &[&str]) {
    for command in [
        &["index", "photos"] as &[&str],
        &["audit", "photos"],
        &["sync", "photos"],
        &["offload", "photos", ".", "--yes"],
        &["offload", "photos", ".", "--dry-run"],
        &["restore", "photos"],
    ] {
        refused(home, command, exit, code, names);
    }
}

#[test]
fn a_path_that_is_not_there_or_no_directory_is_not_added() {
    let home = pushed();
    let missing = home.path("nothing");
    refused(&home, &["volume", "add", "new", missing.to_str().unwrap()], 2, "usage", &[missing.to_str().unwrap()]);
    let file = home.volume("photos").join("a");
    refused(&home, &["volume", "add", "new", file.to_str().unwrap()], 2, "usage", &[file.to_str().unwrap()]);
    refused(&home, &["volume", "add", "new", "relative"], 2, "usage", &["relative"]);
    refused(&home, &["volume", "move", "photos", file.to_str().unwrap()], 2, "usage", &[file.to_str().unwrap()]);
}

#[test]
fn a_name_that_no_configuration_could_hold_is_not_added() {
    let home = pushed();
    let place = home.path("place");
    fs::create_dir(&place).unwrap();
    for name in ["", "a/b", "a b", "a\nb", &"x".repeat(65)] {
        refused(&home, &["volume", "add", name, place.to_str().unwrap()], 2, "usage", &[]);
        assert!(!place.join(".lastcopy").exists(), "`{name}` got a marker");
    }
}

/// It was moved first, and then no command took the configuration any more.
#[test]
fn a_tree_is_not_moved_into_another() {
    let home = pushed();
    let (inner, before) = (home.path("destinations/usb/inner"), fs::read(home.config()).unwrap());
    fs::rename(home.volume("photos"), &inner).unwrap();
    refused(&home, &["volume", "move", "photos", inner.to_str().unwrap()], 2, "config", &[inner.to_str().unwrap(), "overlap"]);
    assert_eq!(fs::read(home.config()).unwrap(), before);
    fs::rename(&inner, home.volume("photos")).unwrap();
    home.run(&["index"]).expect(0);
}

#[test]
fn a_tree_that_overlaps_another_is_not_added() {
    let home = pushed();
    for dir in ["volumes/photos/inner", "destinations/usb/inner"] {
        fs::create_dir(home.path(dir)).unwrap();
    }
    symlink(home.volume("photos"), home.path("link")).unwrap();
    for (dir, other) in [
        ("volumes/photos", "photos"),
        ("volumes/photos/inner", "photos"),
        ("link", "photos"),
        ("link/inner", "photos"),
        ("volumes", "photos"),
        ("destinations/usb", "usb"),
        ("destinations/usb/inner", "usb"),
        ("destinations", "usb"),
    ] {
        let path = home.path(dir);
        let path = path.to_str().unwrap();
        refused(&home, &["volume", "add", "new", path], 2, "config", &["volume `new`", other]);
    }
    for dir in ["volumes/photos/inner", "volumes", "destinations/usb/inner", "destinations/usb", "destinations"] {
        assert!(!home.path(dir).join(".lastcopy").exists(), "{dir} got a marker");
    }
}

/// A destination that the configuration does not name is known by its marker, also from within.
#[test]
fn a_destination_nobody_configured_is_not_added() {
    let home = pushed();
    home.configure(&Setup::default().volume("photos", &[]));
    for tree in [home.destination("usb"), home.destination("usb").join("objects")] {
        let usb = home.destination("usb");
        let add = ["volume", "add", "new", tree.to_str().unwrap(), "--yes"];
        refused(&home, &add, 3, "refused", &["new", usb.to_str().unwrap()]);
    }
}

/// A file system mounted over the directory with most of the files: that was recorded as the loss of them all, with exit status 0.
#[test]
fn a_mount_over_most_files_is_not_believed() {
    let home = Home::new(&Setup::usual());
    (0..30).for_each(|number| home.write("photos", &format!("dir/{number}"), b"bytes"));
    home.write("photos", "beside", b"bytes");
    home.run(&["index"]).expect(0);
    let Some(_mounted) = Mounted::small(&home.volume("photos").join("dir")) else {
        return skipped("bad_volume::a_mount_over_most_files_is_not_believed", NO_MOUNTS);
    };
    let index = home.json(&["index"]).expect(3);
    assert_eq!(index.error_code(), "implausible-loss");
    assert!(index.error()["message"].as_str().unwrap().contains("30 of 31 files are gone"), "{}", index.ran);
    // Of this volume alone.
    assert!(index.error()["hint"].as_str().unwrap().contains("`lastcopy index photos --accept-loss`"), "{}", index.ran);
    let index = home.json(&["index", "--accept-loss"]).expect(0);
    assert_eq!((index.count("files"), index.count("excluded")), (1, 30));
}

#[test]
fn a_configured_path_that_leads_nowhere() {
    let home = pushed();
    fs::rename(home.volume("photos"), home.path("aside")).unwrap();
    let path = home.volume("photos").display().to_string();
    refused_by_all(&home, 3, "marker-missing", &["photos", &path]);
    File::create(home.volume("photos")).unwrap();
    refused_by_all(&home, 3, "marker-missing", &["photos", &path]);
    fs::remove_file(home.volume("photos")).unwrap();
    fs::rename(home.path("aside"), home.volume("photos")).unwrap();
    home.json(&["index"]).expect(0);
}

#[test]
fn a_configuration_that_names_another_tree_than_the_index() {
    let home = pushed();
    copy_tree(&home.volume("photos"), &home.volume("copy"));
    home.configure(&Setup::usual().volume_at("photos", &home.volume("copy")));
    let (copy, photos) = (home.volume("copy").display().to_string(), home.volume("photos").display().to_string());
    refused_by_all(&home, 3, "path-mismatch", &["photos", &copy, &photos]);
    // A copy carries the marker, too, but it is another tree while the first is still there.
    refused(&home, &["volume", "add", "photos", &photos], 3, "path-mismatch", &[&copy, &photos]);
}

#[test]
fn a_tree_without_a_marker_or_with_that_of_another_volume() {
    let setup = Setup::usual().volume("music", &["usb"]).policy("music", "require = [\"usb\"]");
    let home = Home::new(&setup);
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let path = home.volume("photos").display().to_string();
    let marker = home.volume("photos").join(".lastcopy/volume.toml");
    let own = fs::read(&marker).unwrap();
    for bytes in [fs::read(home.volume("music").join(".lastcopy/volume.toml")).unwrap(), b"no = \"marker\"\n".to_vec(), Vec::new()]
    {
        fs::write(&marker, bytes).unwrap();
        refused_by_all(&home, 3, "marker-mismatch", &["photos", &path]);
    }
    fs::remove_file(&marker).unwrap();
    refused_by_all(&home, 3, "marker-missing", &["photos", &path]);
    fs::write(&marker, own).unwrap();
    home.json(&["index"]).expect(0);
}

/// A tree on a share that another machine cares for would be offloaded from two sides, each counting on its own view.
#[test]
fn another_nodes_tree_is_taken_over_only_by_a_persons_word() {
    let theirs = pushed();
    let ours = Home::new(&Setup::usual().destination_at("usb", &theirs.path("usb2")).volume_at("photos", &theirs.path("other")));
    ours.configure(&Setup::default().volume_at("photos", &theirs.volume("photos")));
    let path = theirs.volume("photos").display().to_string();
    let before = theirs.still();
    let json = ours.json(&["volume", "add", "shared", &path]).expect(2);
    assert_eq!(json.error_code(), "config", "it is configured under another name");
    ours.write_config("");
    let json = ours.json(&["volume", "add", "shared", &path]).expect(3);
    assert_eq!(json.error_code(), "marker-mismatch");
    assert!(json.error()["hint"].as_str().unwrap().contains("--yes"));
    theirs.assert_still(&before);
    ours.json(&["volume", "add", "shared", &path, "--yes"]).expect(0);
    assert_eq!(theirs.json(&["index"]).expect(3).error_code(), "marker-mismatch");
}

#[test]
fn names_that_nobody_configured() {
    let home = pushed();
    for command in [&["index", "music"] as &[&str], &["sync", "music"], &["status", "music"], &["policy", "show", "music"]] {
        refused(&home, command, 2, "not-found", &["music"]);
    }
    for command in [
        &["sync", "--to", "nas"] as &[&str],
        &["verify", "nas"],
        &["destination", "probe", "nas"],
        &["restore", "photos", "--from", "nas"],
    ] {
        refused(&home, command, 2, "not-found", &["nas"]);
    }
    refused(&home, &["runs", "9999"], 2, "not-found", &["9999"]);
    // Once, and not by each destination.
    home.configure(&Setup::two_destinations());
    refused(&home, &["verify", "--volume", "music"], 2, "not-found", &["music"]);
    home.configure(&Setup::usual());
    refused(&home, &["offload", "--undo", "9999"], 2, "not-found", &["9999"]);
    refused(&home, &["alarms", "ack", "9999"], 2, "not-found", &["9999"]);
}

/// What never is in an index is not recorded by the next one, and what it never saw comes back from nowhere.
#[test]
fn what_no_index_ever_knows() {
    let home = pushed();
    let (volume, digest) = (home.volume("photos"), crate::tree::digest(b"never seen"));
    symlink("a", volume.join("link")).unwrap();
    let hint = |command: &[&str], exit: i32| {
        let refused = home.json(command).expect(exit);
        refused.error()["hint"].as_str().unwrap().to_owned()
    };
    let link = volume.join("link");
    for command in [["explain", link.to_str().unwrap()], ["query", link.to_str().unwrap()]] {
        assert!(hint(&command, 2).contains("is a symbolic link: only files are under care"), "{command:?}");
    }
    assert!(hint(&["query", volume.to_str().unwrap()], 2).contains("name a file in it"));
    assert!(!hint(&["restore", "photos", "--content", &digest], 2).contains("--to"));
    assert!(hint(&["recover", "--from", "usb", "--volume", "music", "--yes"], 2).contains("there are: `photos`"));
}

#[test]
fn paths_that_lie_nowhere() {
    let home = pushed();
    refused(&home, &["offload", "photos", "nothing", "--yes"], 2, "not-found", &["nothing"]);
    refused(&home, &["offload", "photos", "../photos/a", "--yes"], 2, "usage", &["../photos/a"]);
    refused(&home, &["offload", "photos", "/etc/passwd", "--yes"], 2, "usage", &["/etc/passwd"]);
    refused(&home, &["offload", "photos", "--yes"], 2, "usage", &["photos"]);
    refused(&home, &["restore", "photos", "nothing"], 2, "not-found", &["nothing"]);
    refused(&home, &["explain", "/etc/passwd"], 2, "not-found", &["/etc/passwd"]);
    refused(&home, &["query", "/etc/passwd"], 2, "not-found", &["/etc/passwd"]);
    let unknown = "0".repeat(64);
    refused(&home, &["query", &unknown], 2, "not-found", &[&unknown]);
}

/// The directory was made first, and then it was said that the volume's marker is missing.
#[test]
fn a_restore_of_a_volume_that_nobody_knows_makes_nothing() {
    let home = pushed();
    let to = home.path("elsewhere");
    let restore = |name: &str| home.json(&["restore", name, "--to", to.to_str().unwrap()]);
    let unknown = restore("nope").expect(2);
    assert_eq!(unknown.error_code(), "not-found");
    assert!(unknown.error()["message"].as_str().unwrap().contains("`nope`"), "{}", unknown.ran);
    assert!(!to.exists());
    // One that only the index knows comes back.
    home.configure(&Setup::default().destination("usb"));
    restore("photos").expect(0);
    assert_same_tree(&read_tree(&to), &home.tree("photos"));
    // Without an index, nothing is known of any.
    fs::remove_dir_all(&to).unwrap();
    fs::remove_dir_all(home.index().parent().unwrap()).unwrap();
    home.configure(&Setup::usual());
    assert_eq!(restore("photos").expect(2).error_code(), "not-found");
    assert!(!to.exists() && !home.index().exists());
}
