//! An index that cannot be used: damaged, of a newer version, not ours, locked, full, read-only. It is named, what helps is said, and
//! neither it nor anybody's file changes.

use crate::home::{Home, Setup};
use crate::mounts::{Mounted, NO_MOUNTS, fill};
use crate::ran::Json;
use crate::skip::skipped;
use crate::tree::{assert_same_tree, noise, read_tree};
use rustix::fs::FlockOperation;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A home with files, indexed and pushed; so every one could be offloaded.
fn pushed() -> Home {
    let home = Home::new(&Setup::usual());
    for number in 0..50 {
        home.write("photos", &format!("dir/{number}"), &noise(&number.to_string(), 500));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

/// Commands that need the index.
const COMMANDS: [&[&str]; 8] = [
    &["index"],
    &["sync"],
    &["verify"],
    &["offload", "photos", ".", "--yes"],
    &["restore", "photos"],
    &["status"],
    &["db", "check"],
    &["volume", "list"],
];

/// That a command ends with an error that names the index and helps.
#[track_caller]
fn failed(home: &Home, arguments: &[&str], exit: i32, code: &str) -> Json {
    let json = home.json(arguments).expect(exit);
    assert_eq!(json.error_code(), code, "{}", json.ran);
    let (message, index) = (json.error()["message"].as_str().unwrap(), home.index().display().to_string());
    assert!(message.contains(&index), "the index is not named: {message}");
    assert!(json.error()["hint"].is_string(), "nothing is said to help:\n{}", json.ran);
    json
}

/// That every command fails on the index as it is, and that it, the files and the destination stay as they are.
#[track_caller]
fn refused_by_all(home: &Home, exit: i32, code: &str) {
    let bytes = || (fs::read(home.index()).unwrap(), fs::read(home.beside_index(".newest-run")).unwrap());
    let (index, photos, usb) = (bytes(), home.tree("photos"), read_tree(&home.destination("usb")));
    for command in COMMANDS {
        failed(home, command, exit, code);
    }
    assert!(bytes() == index, "the index changed");
    assert_same_tree(&home.tree("photos"), &photos);
    assert_same_tree(&read_tree(&home.destination("usb")), &usb);
}

fn cut(home: &Home, size: u64) {
    File::options().write(true).open(home.index()).unwrap().set_len(size).unwrap();
}

fn overwrite(home: &Home, offset: u64, bytes: &[u8]) {
    File::options().write(true).open(home.index()).unwrap().write_all_at(bytes, offset).unwrap();
}

#[test]
fn garbage_instead_of_an_index() {
    let home = pushed();
    let whole = fs::read(home.index()).unwrap();
    overwrite(&home, 0, &noise("garbage", 100));
    refused_by_all(&home, 4, "corrupt");
    // It is what it was, once the damage is undone.
    fs::write(home.index(), whole).unwrap();
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
}

#[test]
fn an_index_that_was_cut_off() {
    for part in [100, 5000, 60_000] {
        let home = pushed();
        assert!(fs::metadata(home.index()).unwrap().len() > part);
        cut(&home, part);
        refused_by_all(&home, 4, "corrupt");
    }
}

/// An index that was emptied looked like none: a new one was made in its place, of another node, that knew nothing.
#[test]
fn an_index_that_was_emptied_is_not_taken_for_a_new_one() {
    let home = pushed();
    cut(&home, 0);
    refused_by_all(&home, 4, "corrupt");
}

/// SQLite cannot notice every damaged page when it opens the file. Whoever comes by one says so; `db check` finds each.
#[test]
fn a_damaged_page() {
    for table in ["file", "content", "receipt", "run", "volume", "directory"] {
        let home = pushed();
        let (page, size): (u64, u64) = {
            let database = home.database();
            let root = database.query_row("SELECT rootpage FROM sqlite_schema WHERE name = ?", [table], |row| row.get(0)).unwrap();
            (root, database.query_row("PRAGMA page_size", [], |row| row.get(0)).unwrap())
        };
        overwrite(&home, (page - 1) * size, &noise(table, usize::try_from(size).unwrap()));
        let (photos, usb) = (home.tree("photos"), read_tree(&home.destination("usb")));
        failed(&home, &["db", "check"], 4, "corrupt");
        let mut noticed = 0;
        for command in COMMANDS {
            let json = home.json(command);
            if json.ran.code() == Some(4) {
                failed(&home, command, 4, "corrupt");
                noticed += 1;
            }
        }
        assert!(noticed >= 2, "a damaged page of table {table} was noticed by {noticed} commands");
        assert_same_tree(&read_tree(&home.destination("usb")), &usb);
        // What a command deleted on evidence that it could read whole, the destination has.
        let left = home.tree("photos");
        for (path, entry) in &photos {
            assert!(left.get(path).is_some_and(|now| now == entry) || home.object("usb", &entry.bytes).exists());
        }
    }
}

#[test]
fn an_index_of_a_newer_version() {
    let home = pushed();
    home.database()
        .execute("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (99, 'later', '', '1')", [])
        .unwrap();
    refused_by_all(&home, 3, "unsupported");
}

#[test]
fn an_index_whose_past_is_not_ours() {
    let home = pushed();
    let past =
        "DELETE FROM refinery_schema_history WHERE version > 1; UPDATE refinery_schema_history SET checksum = '1', version = 0";
    home.database().execute_batch(past).unwrap();
    refused_by_all(&home, 4, "corrupt");
}

/// That a command is refused because of a tree that another index knows, and leads to that one.
#[track_caller]
fn leads_to_the_other(home: &Home, command: &[&str]) {
    let refused = home.json(command).expect(3);
    assert_eq!(refused.error_code(), "marker-mismatch", "{}", refused.ran);
    let (message, hint) = (refused.error()["message"].as_str().unwrap(), refused.error()["hint"].as_str().unwrap());
    assert!(message.contains("was added to an index that is not here"), "{message}");
    for way in ["lastcopy recover --from URL", "lastcopy db restore FILE", "lastcopy volume add photos /"] {
        assert!(hint.contains(way), "`{way}` is not named: {hint}");
    }
}

/// A command that was refused made an empty index in the place of the one that was lost: whoever asked then heard of a volume that was
/// only never added, and not of what was offloaded from it.
#[test]
fn no_index_is_made_beside_a_tree_that_another_one_knows() {
    let home = pushed();
    let (volume, backup, data) = (home.volume("photos"), home.path("backup"), home.index().parent().unwrap().to_owned());
    home.json(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    home.json(&["offload", "photos", "dir/1", "--yes"]).expect(0);
    fs::remove_dir_all(&data).unwrap();
    let before = home.still();
    for command in [
        &["index"] as &[&str],
        &["audit"],
        &["sync"],
        &["verify"],
        &["offload", "photos", ".", "--yes"],
        &["destination", "init", "usb"],
        &["destination", "adopt", "usb", "--yes"],
        &["runs", "abort", "1"],
        &["alarms", "ack", "1", "--yes"],
        &["policy", "accept", "photos", "--reason", "why not"],
        &["volume", "add", "photos", volume.to_str().unwrap()],
        &["volume", "move", "photos", volume.to_str().unwrap()],
    ] {
        leads_to_the_other(&home, command);
        assert!(!data.exists(), "{command:?} made something");
    }
    home.assert_still(&before);
    // It is one error, however many volumes it is in the way of.
    home.configure(&Setup::usual().volume("music", &["usb"]));
    leads_to_the_other(&home, &["index"]);
    home.configure(&Setup::usual());
    home.json(&["db", "restore", backup.to_str().unwrap(), "--yes"]).expect(0);
    home.json(&["index"]).expect(0);
}

/// One that was made before anybody looked at the tree hides nothing either.
#[test]
fn an_empty_index_beside_a_tree_that_another_one_knows() {
    let home = pushed();
    home.json(&["offload", "photos", "dir/1", "--yes"]).expect(0);
    fs::remove_dir_all(home.index().parent().unwrap()).unwrap();
    let (own, aside) = (home.volume("photos").join(".lastcopy"), home.path("aside"));
    fs::rename(&own, &aside).unwrap();
    home.json(&["runs", "abort", "1"]).expect(2);
    assert!(home.index().exists());
    fs::rename(&aside, &own).unwrap();
    for command in [&["index"] as &[&str], &["sync"], &["offload", "photos", ".", "--yes"], &["restore", "photos"]] {
        leads_to_the_other(&home, command);
    }
    let status = home.json(&["status"]).expect(1);
    let line = status.of("status").next().unwrap();
    assert_eq!((&line["level"], &line["next"]), (&"red".into(), &"lastcopy recover --from URL".into()));
    assert!(status.ran.stderr.contains("lastcopy db restore FILE"), "{}", status.ran);
    assert!(home.run(&["volume", "list"]).expect(0).stdout.contains("lastcopy recover --from URL"));
    home.json(&["recover", "--from", &home.url("usb"), "--yes"]).expect(0);
    home.json(&["restore", "photos"]).expect(0);
    assert!(home.volume("photos").join("dir/1").exists());
}

#[test]
fn a_database_of_another_program() {
    let home = pushed();
    fs::remove_file(home.index()).unwrap();
    home.database().execute("CREATE TABLE bookmarks (url TEXT)", []).unwrap();
    refused_by_all(&home, 4, "corrupt");
}

#[test]
fn an_index_that_is_a_directory_or_lies_in_a_file() {
    for inside in ["", "/index.db"] {
        let home = Home::empty();
        let place = home.path("place");
        let db = format!("{}{inside}", place.display());
        if inside.is_empty() {
            fs::create_dir(&place).unwrap();
        } else {
            fs::write(&place, b"a file").unwrap();
        }
        home.write_config(&format!("[node]\ndb = {db:?}\n"));
        let json = home.json(&["status"]).expect(4);
        assert_eq!(json.error_code(), "io");
        assert!(json.error()["message"].as_str().unwrap().contains(place.to_str().unwrap()), "{}", json.ran);
    }
}

/// A process that holds the index for longer than any transaction takes. Questions are answered meanwhile; what wants to write says
/// who is in the way after half a minute, as does one that cannot even open it.
#[test]
fn an_index_that_another_process_holds() {
    let (written, opened) = (pushed(), pushed());
    let mut database = written.database();
    let transaction = database.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let opening = File::options().write(true).open(opened.beside_index(".lock")).unwrap();
    rustix::fs::flock(&opening, FlockOperation::LockExclusive).unwrap();
    let index = written.spawn(&["--json", "index"]);
    let offload = written.spawn(&["--json", "offload", "photos", ".", "--yes"]);
    let waiting = opened.spawn(&["--json", "index"]);
    written.json(&["status"]).expect(0);
    written.json(&["runs"]).expect(0);
    for (home, background) in [(&written, index), (&written, offload), (&opened, waiting)] {
        let json = background.wait().into_json().expect(3);
        assert_eq!(json.error_code(), "busy");
        assert!(json.error()["message"].as_str().unwrap().contains(home.index().to_str().unwrap()), "{}", json.ran);
        assert!(json.error()["hint"].is_string());
    }
    transaction.rollback().unwrap();
    drop(opening);
    assert_eq!(written.json(&["index"]).expect(0).count("unchanged"), 50);
    assert_eq!(opened.json(&["index"]).expect(0).count("unchanged"), 50);
}

#[test]
fn an_index_on_a_full_disk() {
    let home = pushed();
    let data = home.index().parent().unwrap().to_owned();
    let aside = home.path("aside");
    fs::rename(&data, &aside).unwrap();
    let Some(_small) = Mounted::small(&data) else {
        return skipped("bad_index::an_index_on_a_full_disk", NO_MOUNTS);
    };
    let copied = std::process::Command::new("cp").arg("-a").arg(aside.join(".")).arg(&data).status().unwrap();
    assert!(copied.success());
    for number in 0..200 {
        home.write("photos", &format!("new/{number}"), &noise(&number.to_string(), 700));
    }
    let photos = home.tree("photos");
    fill(&data.join("filling"));
    for command in [&["index"] as &[&str], &["offload", "photos", ".", "--yes"]] {
        failed(&home, command, 4, "io");
    }
    assert_same_tree(&home.tree("photos"), &photos);
    // With space again, everything goes on where it was.
    fs::remove_file(data.join("filling")).unwrap();
    home.json(&["db", "check"]).expect(0);
    let index = home.json(&["index"]).expect(0);
    assert_eq!((index.count("unchanged") + index.count("added"), index.count("missing")), (250, 0));
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    home.json(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &photos);
}

#[test]
fn an_index_that_cannot_be_written() {
    let home = pushed();
    let Some(read_only) = Mounted::read_only(home.index().parent().unwrap()) else {
        return skipped("bad_index::an_index_that_cannot_be_written", NO_MOUNTS);
    };
    refused_by_all(&home, 4, "io");
    drop(read_only);
    home.json(&["index"]).expect(0);
}

#[test]
fn a_copy_that_is_no_index_is_not_put_in_its_place() {
    let home = pushed();
    home.write("", "copy", &noise("garbage", 5000));
    let copy = home.path("volumes/copy");
    let before = home.still();
    for arguments in [&["db", "restore", "--yes"] as &[&str], &["db", "restore", "--dry-run"]] {
        let json = home.json(&[arguments, &[copy.to_str().unwrap()]].concat()).expect(4);
        assert_eq!(json.error_code(), "corrupt");
        assert!(json.error()["message"].as_str().unwrap().contains(copy.to_str().unwrap()), "{}", json.ran);
    }
    let missing = home.path("nothing");
    let json = home.json(&["db", "restore", "--yes", missing.to_str().unwrap()]);
    assert!(matches!(json.ran.code(), Some(2 | 4)), "{}", json.ran);
    assert!(json.error()["message"].as_str().unwrap().contains(missing.to_str().unwrap()), "{}", json.ran);
    let json = home.json(&["db", "backup", copy.to_str().unwrap()]).expect(2);
    assert_eq!(json.error_code(), "usage", "a backup wrote over a file");
    home.assert_still(&before);
}
