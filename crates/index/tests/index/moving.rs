//! Files that do not hold still while they are walked and read.

use crate::support::{When, World};
use lastcopy_index::IndexError;
use lastcopy_store::{FileStatus, RunStatus};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::symlink;

/// A file that changes each time it is read has no content that could be recorded; what the index knew of it is over.
#[test]
fn a_file_that_changes_while_it_is_read_is_unstable() {
    let world = World::new(&[("log", "line\n"), ("a", "one")]);
    world.index();
    world.settle();
    let mut log = File::options().append(true).open(world.path("log")).unwrap();
    log.write_all(b"another line\n").unwrap();
    let report = world.try_index(&When::hashed(|| log.write_all(b"and one more\n").unwrap())).unwrap();
    assert_eq!((report.unstable.count(), report.changed, report.unchanged), (1, 0, 1));
    assert_eq!(world.newest_run().status, RunStatus::Partial);
    assert!(world.file("log").is_none(), "what it held before is not there any more, and what it holds nobody knows");
    let history = world.store.file_history(world.volume().id(), &crate::support::rel("log")).unwrap();
    assert_eq!(history.iter().map(|file| file.status).collect::<Vec<_>>(), [FileStatus::Superseded]);
    assert_eq!(world.index().added, 1, "once it holds still");
}

/// It holds still at the second look: then that is what it holds.
#[test]
fn a_file_that_changes_once_is_read_again() {
    let world = World::new(&[("a", "one")]);
    let mut first = true;
    let path = world.path("a");
    let report = world
        .try_index(&When::hashed(|| {
            if std::mem::take(&mut first) {
                fs::write(&path, "a second version").unwrap();
            }
        }))
        .unwrap();
    assert_eq!((report.added, report.unstable.count()), (1, 0));
    world.assert_holds("a", "a second version");
}

/// Seen by the walk, and something else when it is read: gone, not followed, not an error.
#[test]
fn a_file_that_becomes_something_else_is_gone() {
    let world = World::new(&[("link", "one"), ("dir", "two"), ("nothing", "three"), ("pipe", "four"), ("known", "five")]);
    let replace = |name: &str, with: &dyn Fn()| {
        fs::remove_file(world.path(name)).unwrap();
        with();
    };
    fs::write(world.temp.path().join("outside"), "outside").unwrap();
    let report = world
        .try_index(&When::phase("hashing", || {
            replace("link", &|| symlink(world.temp.path().join("outside"), world.path("link")).unwrap());
            replace("dir", &|| fs::create_dir(world.path("dir")).unwrap());
            replace("nothing", &|| {});
            replace("pipe", &|| {
                assert!(std::process::Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
            });
        }))
        .unwrap();
    assert_eq!((report.files, report.added, report.errors.count(), report.unstable.count()), (1, 1, 0, 0));
    assert_eq!(world.present(), 1);

    // And one that the index knew.
    world.write("known", "5ive");
    world.write("other", "six");
    let report = world.try_index(&When::phase("hashing", || world.remove("known"))).unwrap();
    assert_eq!((report.added, report.missing), (1, 1));
    assert_eq!(world.status("known"), FileStatus::Missing);
}

/// A directory above it was swapped for a link to the same names outside: nothing is read through it.
#[test]
fn nothing_is_read_through_a_link() {
    let world = World::new(&[("dir/a", "one")]);
    let report = world
        .try_index(&When::phase("hashing", || {
            fs::rename(world.path("dir"), world.temp.path().join("outside")).unwrap();
            symlink(world.temp.path().join("outside"), world.path("dir")).unwrap();
        }))
        .unwrap();
    assert_eq!((report.added, world.present()), (0, 0));
}

/// Stopped at any point, what was read stays, nothing is missing, and the next run goes on.
#[test]
fn a_cancelled_index_loses_nothing() {
    let files: Vec<_> = (0..200).map(|number| (format!("file {number}"), format!("text {number}"))).collect();
    let mut world = World::new(&[("gone", "one")]);
    world.index();
    world.remove("gone");
    for (path, text) in &files {
        world.write(path, text);
    }
    let cancel = world.cancel.clone();
    let mut hashed = 0;
    let stopped = world.try_index(&When::hashed(|| {
        hashed += 1;
        if hashed == 50 {
            cancel.cancel();
        }
    }));
    assert!(matches!(stopped, Err(IndexError::Cancelled(_))), "{stopped:?}");
    assert_eq!((world.newest_run().status, world.status("gone")), (RunStatus::Aborted, FileStatus::Present));
    let kept = world.present() - 1;
    assert!(kept >= 40, "only {kept} of what was read stayed");
    world.cancel = lastcopy_fs::Cancel::new();
    let report = world.index();
    assert_eq!((report.added, report.missing), (200 - kept, 1));

    world.cancel.cancel();
    assert!(matches!(world.try_index(&lastcopy_fs::NoProgress), Err(IndexError::Cancelled(_))));
    assert_eq!(world.present(), 200);
}
