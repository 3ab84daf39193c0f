//! Files that will not hold still, cannot be read, or have odd names; too many in one place; and times that cannot be.

use crate::home::{Home, Setup};
use crate::odd_tree::{deep_path, in_json, odd_names};
use crate::ran::{Json, Ran};
use crate::skip::skipped;
use crate::tree::{Tree, assert_same_tree, copy_tree, noise, read_tree, set_mode, set_mtime};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A volume of files by number, indexed.
fn numbered(count: usize, size: usize) -> Home {
    let home = Home::new(&Setup::usual());
    for number in 0..count {
        home.write("photos", &number.to_string(), &noise(&number.to_string(), size));
    }
    home.run(&["index"]).expect(0);
    home
}

/// The paths that were told of, as the program names them in JSON.
fn told(json: &Json, outcome: &str) -> BTreeSet<(String, Option<String>)> {
    let files = json.of("file").filter(|line| line["outcome"] == outcome);
    files.map(|line| (line["path"].as_str().unwrap().to_owned(), line["path_bytes"].as_str().map(str::to_owned))).collect()
}

/// That what the destination holds under each digest is what hashes to it.
#[track_caller]
fn assert_sound(home: &Home) {
    for (path, entry) in read_tree(&home.destination("usb").join("objects")) {
        assert_eq!(path.file_name().unwrap().to_str().unwrap(), crate::tree::digest(&entry.bytes), "a damaged object");
    }
}

/// That index, push, offload and restore leave a volume as it is now, so nothing was recorded that is not so.
#[track_caller]
fn assert_round_trip(home: &Home) {
    let mut expected = home.tree("photos");
    home.json(&["index", "--accept-loss"]).expect(0);
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    let left = home.tree("photos");
    assert!(left.values().all(|entry| entry.mode == 0o777), "something but symbolic links stayed: {:?}", left.keys());
    home.json(&["restore", "photos"]).expect(0);
    // Links are no files of the program's; it leaves them alone.
    let now = home.tree("photos");
    expected.retain(|path, _| now.contains_key(path) || !left.contains_key(path));
    assert_same_tree(&now, &expected);
    assert_sound(home);
}

/// The whole way, with the index lost in between, for every name that there can be.
#[test]
fn odd_names_go_all_the_way() {
    let home = Home::new(&Setup::usual());
    home.write_odd_tree("photos");
    let before = home.tree("photos");
    let index = home.json(&["index"]).expect(0);
    assert_eq!((index.count("added"), index.count("skipped"), index.count("errors")), (before.len() as u64, 0, 0));
    assert_eq!(home.json(&["index"]).expect(0).count("unchanged"), before.len() as u64);
    let sync = home.json(&["sync"]).expect(0);
    assert_eq!((sync.count("verified"), sync.count("excluded")), (before.len() as u64, 0));
    for path in odd_names() {
        let json = home.command(&["--json", "explain"]).arg(home.volume("photos").join(&path)).output().unwrap();
        let line = String::from_utf8(json.stdout).unwrap().lines().next().unwrap().to_owned();
        let line: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (text, bytes) = in_json(&path);
        assert_eq!((line["path"].as_str(), line["path_bytes"].as_str()), (Some(text.as_str()), bytes.as_deref()));
    }
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    let paths: BTreeSet<_> = before.keys().map(|path| in_json(path)).collect();
    assert_eq!(told(&offload, "offloaded"), paths);
    assert!(home.tree("photos").is_empty());
    let query = home.json(&["query", "--offloaded"]).expect(0);
    assert_eq!(query.of("file").count(), before.len());
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &before);
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);

    // Another machine, with nothing but the destination.
    let other = Home::empty();
    copy_tree(&home.destination("usb"), &other.destination("usb"));
    let to = other.path("volumes");
    other.json(&["recover", "--yes", "--from", &other.url("usb"), "--to", to.to_str().unwrap()]).expect(0);
    other.json(&["verify"]).expect(0);
    other.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&other.tree("photos"), &before);
}

/// A path that one path component more would make too long for the kernel is no different from others.
#[test]
fn a_long_path_can_be_named() {
    let home = Home::new(&Setup::usual());
    let path = home.volume("photos").join(deep_path());
    crate::tree::write(&path, b"deep");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let ran = home.command(&["--json", "offload", "photos", "--yes"]).arg(deep_path()).output().unwrap();
    assert_eq!(ran.status.code(), Some(0), "{}", String::from_utf8_lossy(&ran.stdout));
    assert!(!path.exists());
}

/// Files that become something else between the index run and the push: none is taken for what it was, each is named, the rest goes on.
#[test]
fn files_that_changed_after_they_were_indexed() {
    let home = numbered(8, 2000);
    let root = home.volume("photos");
    fs::remove_file(root.join("0")).unwrap();
    home.write("photos", "1", &noise("grown", 5000));
    home.write("photos", "2", &noise("shrunk", 100));
    home.write("photos", "3", b"");
    fs::remove_file(root.join("4")).unwrap();
    home.write("photos", "4/inside", b"a directory now");
    fs::remove_file(root.join("5")).unwrap();
    symlink("7", root.join("5")).unwrap();
    // Of the same size, and as old as before.
    let modified = fs::metadata(root.join("6")).unwrap().modified().unwrap();
    fs::write(root.join("6"), noise("other", 2000)).unwrap();
    set_mtime(&root.join("6"), modified);
    let before = home.tree("photos");

    let sync = home.json(&["sync"]).expect(1);
    assert_eq!((sync.count("verified"), sync.count("drift"), sync.summary()["advanced"].as_bool()), (1, 7, Some(false)));
    let named: BTreeSet<_> = told(&sync, "drift").into_iter().map(|(path, _)| path).collect();
    assert_eq!(named, ["0", "1", "2", "3", "4", "5", "6"].map(str::to_owned).into());
    assert_sound(&home);
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offload.count("offloaded"), 0);
    assert_same_tree(&home.tree("photos"), &before);
    assert_round_trip(&home);
    assert_eq!(fs::read_link(root.join("5")).unwrap(), Path::new("7"));
}

/// The same between push and offload: what the destination holds is not what lies here now.
#[test]
fn files_that_changed_after_they_were_pushed() {
    let home = numbered(8, 2000);
    home.run(&["sync"]).expect(0);
    let root = home.volume("photos");
    fs::remove_file(root.join("0")).unwrap();
    home.write("photos", "1", &noise("grown", 5000));
    home.write("photos", "2", &noise("shrunk", 100));
    home.write("photos", "3", b"");
    fs::remove_file(root.join("4")).unwrap();
    home.write("photos", "4/inside", b"a directory now");
    fs::remove_file(root.join("5")).unwrap();
    symlink("7", root.join("5")).unwrap();
    let modified = fs::metadata(root.join("6")).unwrap().modified().unwrap();
    fs::write(root.join("6"), noise("other", 2000)).unwrap();
    set_mtime(&root.join("6"), modified);
    let mut before = home.tree("photos");

    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((offload.count("offloaded"), offload.count("drift")), (1, 7), "{}", offload.ran);
    assert_eq!(offload.file("7")["outcome"], "offloaded");
    before.remove(Path::new("7"));
    assert_same_tree(&home.tree("photos"), &before);
}

/// Changes every file while a run stands still: some vanish, grow, shrink, become directories, become links.
fn change_all(home: &Home, count: usize) {
    let root = home.volume("photos");
    for number in 0..count {
        let (name, path) = (number.to_string(), root.join(number.to_string()));
        match number % 6 {
            0 => fs::remove_file(path).unwrap(),
            1 => home.write("photos", &name, &noise(&format!("grown {name}"), 40_000)),
            2 => home.write("photos", &name, &noise(&format!("shrunk {name}"), 10)),
            3 => {
                fs::remove_file(path).unwrap();
                home.write("photos", &format!("{name}/inside"), name.as_bytes());
            }
            4 => {
                fs::remove_file(&path).unwrap();
                symlink("1", path).unwrap();
            }
            _ => {}
        }
    }
}

/// Whatever an index run had read, and whatever it had not, when everything changed below it.
#[test]
fn files_that_change_while_they_are_indexed() {
    let home = Home::new(&Setup::usual());
    for number in 0..300 {
        home.write("photos", &number.to_string(), &noise(&number.to_string(), 30_000));
    }
    let index = home.paused(&["--json", "index"], "index");
    change_all(&home, 300);
    let json = index.resume_json();
    assert!(matches!(json.ran.code(), Some(0 | 1)), "{}", json.ran);
    assert!(!json.ran.stderr.contains("panicked"), "{}", json.ran);
    assert_round_trip(&home);
}

#[test]
fn files_that_change_while_they_are_pushed() {
    let home = numbered(300, 30_000);
    let sync = home.paused(&["--json", "sync"], "sync");
    change_all(&home, 300);
    let json = sync.resume_json();
    assert!(matches!(json.ran.code(), Some(0 | 1)), "{}", json.ran);
    assert!(!json.ran.stderr.contains("panicked"), "{}", json.ran);
    assert_sound(&home);
    let before = home.tree("photos");
    let offload = home.json(&["offload", "photos", ".", "--dry-run"]);
    assert!(matches!(offload.ran.code(), Some(0 | 1)), "{}", offload.ran);
    assert_same_tree(&home.tree("photos"), &before);
    assert_round_trip(&home);
}

/// Somebody who may not do everything, as most people may not.
const NOBODY: u32 = 65_534;

impl Home {
    /// Gives the home to somebody without privileges; not, if that one could not even start the program there.
    fn given_away(&self) -> Option<Unprivileged<'_>> {
        give(&self.path("")).ok()?;
        let home = Unprivileged { home: self };
        let reachable = self.command(&["--version"]).uid(NOBODY).gid(NOBODY).status().is_ok_and(|status| status.success());
        reachable.then_some(home)
    }
}

struct Unprivileged<'a> {
    home: &'a Home,
}

impl Unprivileged<'_> {
    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = self.home.command(arguments);
        command.uid(NOBODY).gid(NOBODY);
        self.home.spawn_at(command, arguments, tempfile::tempfile().unwrap()).wait()
    }

    fn json(&self, arguments: &[&str]) -> Json {
        self.run(&[&["--json"], arguments].concat()).into_json()
    }
}

fn give(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path())?;
        }
    }
    chown(path, Some(NOBODY), Some(NOBODY))
}

#[test]
fn files_that_lose_their_read_permission() {
    let home = Home::new(&Setup::usual());
    for name in ["a", "b", "dir/c", "dir/d"] {
        home.write("photos", name, &noise(name, 1000));
    }
    let Some(nobody) = home.given_away() else {
        return skipped("bad_files::files_that_lose_their_read_permission", "nobody without privileges can be asked here");
    };
    assert_eq!(nobody.json(&["index"]).expect(0).count("added"), 4);
    let whole = home.tree("photos");
    let root = home.volume("photos");
    let lock = |mode| {
        set_mode(&root.join("a"), if mode == 0 { 0 } else { whole[Path::new("a")].mode });
        set_mode(&root.join("dir"), if mode == 0 { 0 } else { 0o755 });
    };
    lock(0);
    // A push cannot read them; it says so, and sends the rest.
    let sync = nobody.json(&["sync"]).expect(1);
    assert_eq!(
        (sync.count("verified"), sync.count("excluded") + sync.count("failed") + sync.count("drift")),
        (1, 3),
        "{}",
        sync.ran
    );
    let index = nobody.json(&["index"]).expect(1);
    assert_eq!((index.count("missing"), index.count("errors")), (0, 2), "{}", index.ran);
    assert_eq!(told(&index, "error").len(), 2);
    let offload = nobody.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((offload.count("offloaded"), offload.file("b")["outcome"].as_str()), (1, Some("offloaded")));
    assert!(root.join("a").exists());
    lock(1);
    nobody.json(&["index"]).expect(0);
    nobody.json(&["sync"]).expect(0);
    nobody.json(&["offload", "photos", ".", "--yes"]).expect(0);
    nobody.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &whole);
}

/// A file of somebody else's gives no lease: without one, nobody could tell that it is being written to. It stays, unless the policy says
/// otherwise.
#[test]
fn a_file_of_another_owner_stays() {
    let setup = Setup::usual();
    let home = Home::new(&setup);
    home.write("photos", "mine", b"mine");
    home.write("photos", "yours", b"yours");
    let Some(nobody) = home.given_away() else {
        return skipped("bad_files::a_file_of_another_owner_stays", "nobody without privileges can be asked here");
    };
    let yours = home.volume("photos").join("yours");
    chown(&yours, Some(0), Some(0)).unwrap();
    nobody.json(&["index"]).expect(0);
    nobody.json(&["sync"]).expect(0);
    let offload = nobody.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((offload.count("offloaded"), offload.count("blocked")), (1, 1), "{}", offload.ran);
    assert_eq!(offload.causes("yours"), ["filesystem"]);
    assert!(yours.exists());

    home.configure(&setup.policy("photos", "require = [\"usb\"]\nany_filesystem = true"));
    nobody.json(&["policy", "accept", "photos", "--reason", "root writes nothing here"]).expect(0);
    assert_eq!(nobody.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 1);
    assert!(!yours.exists());
}

/// A restore gave a file its permissions and then opened it again, to make it durable and to copy it: with some, not even its owner may.
#[test]
fn files_that_their_owner_may_not_read_come_back() {
    let home = Home::new(&Setup::usual());
    for (name, bytes, mode) in [("sealed", "one", 0), ("sealed, too", "one", 0o200), ("open", "two", 0o640)] {
        home.write("photos", name, bytes.as_bytes());
        set_mode(&home.volume("photos").join(name), mode);
    }
    let whole = home.tree("photos");
    for command in [&["index"] as &[&str], &["sync"], &["offload", "photos", ".", "--yes"]] {
        home.json(command).expect(0);
    }
    let Some(nobody) = home.given_away() else {
        return skipped("bad_files::files_that_their_owner_may_not_read_come_back", "nobody without privileges can be asked here");
    };
    assert_eq!(nobody.json(&["restore", "photos"]).expect(0).count("restored"), 3);
    assert_same_tree(&home.tree("photos"), &whole);
}

#[test]
fn a_destination_a_configuration_and_an_index_that_may_not_be_read() {
    let home = numbered(3, 1000);
    let Some(nobody) = home.given_away() else {
        return skipped(
            "bad_files::a_destination_a_configuration_and_an_index_that_may_not_be_read",
            "nobody without privileges can be asked here",
        );
    };
    let refused = |path: &Path, command: &[&str], exit: i32, code: &str| {
        let mode = fs::metadata(path).unwrap();
        set_mode(path, 0);
        let json = nobody.json(command).expect(exit);
        assert_eq!(json.error_code(), code, "{}", json.ran);
        let named = path.file_name().unwrap().to_str().unwrap();
        assert!(json.error()["message"].as_str().unwrap().contains(named), "`{named}` is not named:\n{}", json.ran);
        assert!(json.error()["hint"].is_string(), "{}", json.ran);
        fs::set_permissions(path, mode.permissions()).unwrap();
    };
    refused(&home.destination("usb"), &["sync"], 4, "auth");
    refused(&home.volume("photos"), &["index"], 4, "io");
    refused(&home.config(), &["status"], 2, "config");
    refused(&home.index(), &["status"], 4, "io");
    nobody.json(&["sync"]).expect(0);
}

/// Links are never followed: not in circles, not out of the volume, and not by an offload.
#[test]
fn loops_of_symlinks() {
    let home = numbered(1, 100);
    let root = home.volume("photos");
    fs::create_dir_all(root.join("dir/deeper")).unwrap();
    for (link, to) in [
        ("self", "self"),
        ("a", "b"),
        ("b", "a"),
        ("here", "."),
        ("dir/deeper/up", "../.."),
        ("out", "/"),
        ("dir/dangling", "nothing"),
    ] {
        symlink(to, root.join(link)).unwrap();
    }
    symlink(&root, root.join("dir/root")).unwrap();
    let links = home.tree("photos").len() - 1;
    let index = home.json(&["index"]).expect(0);
    assert_eq!((index.count("files"), index.count("unchanged"), index.count("skipped")), (1, 1, links as u64));
    assert_eq!(index.summary()["skipped_kinds"], serde_json::json!({ "symlink": links }));
    assert_round_trip(&home);
    // Nothing is reached through one.
    home.json(&["offload", "photos", "here/0", "--yes"]).expect(2);
    home.json(&["offload", "photos", "dir/root/0", "--yes"]).expect(2);
    assert!(root.join("0").exists());
}

/// A directory that was moved, and left a link to its new place behind: in the volume or out of it, by an absolute path or not. What the
/// destination holds is what one finds there; all the same, it is not the file that was indexed.
#[test]
fn a_directory_that_became_a_link() {
    for (place, link) in [("volumes/photos/inner", "inner"), ("aside", "../../aside"), ("aside", "")] {
        let home = Home::new(&Setup::usual());
        home.write("photos", "dir/file", b"bytes");
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
        let (dir, place) = (home.volume("photos").join("dir"), home.path(place));
        fs::rename(&dir, &place).unwrap();
        symlink(if link.is_empty() { place.as_path() } else { Path::new(link) }, &dir).unwrap();
        let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
        assert_eq!((offload.count("offloaded"), offload.count("drift")), (0, 1), "{}", offload.ran);
        assert_eq!(fs::read(place.join("file")).unwrap(), b"bytes", "a file was deleted through a link");
        assert_eq!(fs::read(dir.join("file")).unwrap(), b"bytes", "the link was taken away");
    }
}

/// A hundred thousand, so that it takes seconds; a million was tried by hand.
#[test]
fn very_many_entries_in_one_directory() {
    let home = Home::new(&Setup::usual());
    let dir = home.volume("photos").join("dir");
    fs::create_dir(&dir).unwrap();
    for number in 0..100_000 {
        fs::File::create(dir.join(number.to_string())).unwrap();
    }
    assert_eq!(home.json(&["index"]).expect(0).count("added"), 100_000);
    let sync = home.json(&["sync"]).expect(0);
    assert_eq!((sync.count("verified"), sync.count("stored")), (100_000, 1));
    assert_eq!(home.json(&["index"]).expect(0).count("unchanged"), 100_000);
    assert_eq!(home.json(&["sync"]).expect(0).count("already"), 100_000);
    assert_eq!(home.json(&["offload", "photos", "dir/77777", "--yes"]).expect(0).count("offloaded"), 1);
    assert!(!dir.join("77777").exists());
}

/// A clock that was a year ahead, and was put right: what was proven "next year" is no proof today, and nothing is deleted on it.
#[test]
fn a_clock_that_jumps_back_a_year() {
    let home = numbered(3, 1000);
    home.run(&["sync"]).expect(0);
    let year = 365 * 86_400_000i64;
    let moved = home.database().execute("UPDATE receipt SET verified_at = verified_at + ?1, checked_at = checked_at + ?1", [year]);
    assert_eq!(moved.unwrap(), 3);
    let before = home.tree("photos");
    for confirm in [&["offload", "photos", ".", "--yes"] as &[&str], &["offload", "photos", ".", "--yes", "--confirm"]] {
        let offload = home.json(confirm).expect(1);
        assert_eq!((offload.count("offloaded"), offload.causes("0")), (0, vec!["stale@usb".to_owned()]));
    }
    let status = home.json(&["status"]).expect(1);
    assert_eq!(status.of("status").next().unwrap()["offloadable_files"], 0);
    // A push with nothing to send, and a look, prove nothing; reading does, now.
    home.json(&["sync"]).expect(0);
    home.json(&["verify", "--quick"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(1).count("offloaded"), 0);
    assert_same_tree(&home.tree("photos"), &before);
    home.json(&["verify"]).expect(0);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 3);
}

/// Files from the future are read again each time, because their times say nothing; and they are not old.
#[test]
fn files_from_the_future() {
    let home = numbered(2, 1000);
    let (root, next_year) = (home.volume("photos"), SystemTime::now() + Duration::from_secs(365 * 86_400));
    let write = |bytes: &[u8]| {
        fs::write(root.join("0"), bytes).unwrap();
        set_mtime(&root.join("0"), next_year);
    };
    write(&noise("one", 1000));
    assert_eq!(home.json(&["index"]).expect(0).count("changed"), 1);
    write(&noise("two", 1000));
    assert_eq!(home.json(&["index"]).expect(0).count("changed"), 1);
    home.json(&["sync"]).expect(0);
    let before: Tree = home.tree("photos");
    let offload = home.json(&["offload", "photos", ".", "--older-than", "1d", "--yes"]).expect(0);
    assert_eq!(offload.count("offloaded"), 1);
    assert!(root.join("0").exists(), "a file from the future was taken for an old one");
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 1);
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &before);
}
