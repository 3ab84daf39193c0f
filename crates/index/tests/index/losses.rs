//! When files are recorded as gone, and when an index run does not believe its eyes.

use crate::support::{When, World, rel};
use lastcopy_fs::Progress;
use lastcopy_index::{IndexError, LeaveOut};
use lastcopy_store::{FileStatus, RunStatus, VolumeError};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

fn many(count: usize) -> World {
    let files: Vec<_> = (0..count).map(|number| (format!("file {number}"), format!("text {number}"))).collect();
    let world = World::new(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
    world.index();
    world
}

/// Half of twenty is believed; one more is not, until a person says so. The numbers are told, and nothing is recorded.
#[test]
fn the_loss_of_most_files_is_not_believed() {
    let world = many(20);
    (0..10).for_each(|number| world.remove(format!("file {number}")));
    assert_eq!(world.index().missing, 10);

    let mut world_of_more = many(21);
    (0..11).for_each(|number| world_of_more.remove(format!("file {number}")));
    match world_of_more.try_index(&lastcopy_fs::NoProgress) {
        Err(IndexError::ImplausibleLoss { known: 21, missing: 11, covered: 0, empty: false }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!((world_of_more.newest_run().status, world_of_more.present()), (RunStatus::Refused, 21));
    world_of_more.options.accept_loss = true;
    assert_eq!(world_of_more.index().missing, 11);
    assert_eq!(world_of_more.present(), 10);

    // What is left is fewer than twenty: it is for a person to notice.
    (10..19).for_each(|number| world.remove(format!("file {number}")));
    assert_eq!(world.index().missing, 9);
}

/// A stray marker in the directory with most of the files takes it for another volume or a destination. That is no loss of a few
/// files: it was recorded as one of all of them, without a word.
#[test]
fn files_where_something_else_lies_now_are_lost() {
    for marker in [".lastcopy-destination.json", ".lastcopy/volume.toml"] {
        let mut world = many(3);
        (0..20).for_each(|number| world.write(format!("dir/deep/{number}"), "text"));
        (0..8).for_each(|number| world.write(format!("dir/{number}"), "text"));
        world.index();
        world.write(format!("dir/deep/{marker}"), "");
        match world.try_index(&lastcopy_fs::NoProgress) {
            Err(IndexError::ImplausibleLoss { known: 31, missing: 20, covered: 20, empty: false }) => {}
            other => panic!("{marker}: {other:?}"),
        }
        assert_eq!((world.newest_run().status, world.present()), (RunStatus::Refused, 31), "{marker}");
        // By device and inode, too.
        fs::remove_file(world.path(format!("dir/deep/{marker}"))).unwrap();
        let stat = fs::metadata(world.path("dir")).unwrap();
        let known = LeaveOut { device: stat.dev(), inode: stat.ino(), kind: "destination" };
        world.options.walk.leave_out.push(known);
        let refused = world.try_index(&lastcopy_fs::NoProgress);
        assert!(matches!(refused, Err(IndexError::ImplausibleLoss { missing: 28, covered: 28, .. })), "{marker}: {refused:?}");
        // What a rule leaves out was left out by somebody.
        world.options.walk.leave_out.clear();
        world.options.walk.exclude = vec!["/dir/".into()];
        assert_eq!(world.index().newly_excluded, 28, "{marker}");
        world.options.walk.exclude.clear();
        assert_eq!(world.index().reappeared, 28, "{marker}");
        world.write(format!("dir/deep/{marker}"), "");
        world.options.accept_loss = true;
        assert_eq!(world.index().newly_excluded, 20, "{marker}");
    }
}

/// A volume that is suddenly empty is perhaps not there, however few its files were.
#[test]
fn a_volume_that_is_suddenly_empty_is_not_believed() {
    let mut world = World::new(&[("only", "one")]);
    world.index();
    world.remove("only");
    fs::create_dir(world.path("an empty directory")).unwrap();
    let refused = world.try_index(&lastcopy_fs::NoProgress);
    assert!(matches!(refused, Err(IndexError::ImplausibleLoss { known: 1, missing: 1, covered: 0, empty: true })), "{refused:?}");
    assert_eq!(world.status("only"), FileStatus::Present);
    world.options.accept_loss = true;
    assert_eq!(world.index().missing, 1);
    world.options.accept_loss = false;
    assert_eq!(world.index().missing, 0, "an empty volume that was empty before is plausible");
}

/// The marker is read again before anything is recorded as missing: on a disk that was unmounted meanwhile, nothing is.
#[test]
fn nothing_is_missing_on_a_disk_that_is_gone() {
    let world = World::new(&[("a", "one"), ("b", "two")]);
    world.index();
    world.remove("a");
    world.write("c", "three");
    let marker = world.path(".lastcopy/volume.toml");
    let kept = fs::read(&marker).unwrap();
    for when in ["walking", "hashing"] {
        let result = world.try_index(&When::phase(when, || fs::remove_file(&marker).unwrap()));
        assert!(matches!(result, Err(IndexError::Volume(VolumeError::MarkerMissing { .. }))), "{when}: {result:?}");
        fs::write(&marker, &kept).unwrap();
        assert_eq!((world.newest_run().status, world.status("a")), (RunStatus::Refused, FileStatus::Present), "{when}");
    }
    assert_eq!(world.index().missing, 1);
}

/// Below a directory that cannot be read nothing is missing; beside it, everything is as always.
#[test]
fn nothing_is_missing_below_what_cannot_be_read() {
    let world = World::new(&[("dir/a", "one"), ("dir/deep/b", "two"), ("c", "three"), ("d", "four"), ("e", "five")]);
    world.index();
    world.remove("c");
    world.remove("dir/a");
    fs::set_permissions(world.path("dir"), Permissions::from_mode(0o000)).unwrap();
    fs::set_permissions(world.path("d"), Permissions::from_mode(0o000)).unwrap();
    let result = as_anybody(|| world.try_index(&lastcopy_fs::NoProgress));
    fs::set_permissions(world.path("dir"), Permissions::from_mode(0o755)).unwrap();
    let report = result.unwrap();
    assert_eq!((report.missing, report.errors.count()), (1, 2), "{:?}", report.errors);
    let named: Vec<_> = report.errors.first().iter().map(|(path, _)| path.clone()).collect();
    assert!(named.contains(&rel("dir")) && named.contains(&rel("d")), "{named:?}");
    assert_eq!(world.newest_run().status, RunStatus::Partial);
    for (path, status) in [
        ("dir/a", FileStatus::Present),
        ("dir/deep/b", FileStatus::Present),
        ("c", FileStatus::Missing),
        ("d", FileStatus::Present),
    ] {
        assert_eq!(world.status(path), status, "{path}");
    }
    assert_eq!(world.index().missing, 1, "now that it can be read");
}

/// A directory whose names were read, and then nothing at them could be looked at: a file at such a name stayed present, while
/// everything below a directory at such a name was recorded as missing.
#[test]
fn nothing_is_missing_below_what_cannot_be_looked_at() {
    let world = World::new(&[("top/z/a", "one"), ("top/z/deep/b", "two"), ("d", "three"), ("e", "four")]);
    // Progress is told in steps of 1024 files: here, in the middle of this directory.
    (0..1030).for_each(|number| world.write(format!("top/{number}"), ""));
    world.index();
    world.remove("d");
    let top = world.path("top");
    let result = as_anybody(|| world.try_index(&InTheMiddle(&|| set_mode(&top, 0o000))));
    set_mode(&top, 0o755);
    let report = result.unwrap();
    assert_eq!(report.missing, 1);
    let named: Vec<_> = report.errors.first().iter().map(|(path, _)| path.clone()).collect();
    assert!(named.contains(&rel("top/z")), "{named:?}");
    for path in ["top/z/a", "top/z/deep/b", "top/1029"] {
        assert_eq!(world.status(path), FileStatus::Present, "{path}");
    }
    assert_eq!(world.status("d"), FileStatus::Missing);
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Something that happens while a directory is compared with the index.
struct InTheMiddle<'a>(&'a (dyn Fn() + Sync));

impl Progress for InTheMiddle<'_> {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}

    fn advance(&self, _files: u64, bytes: u64) {
        if bytes == 0 {
            (self.0)();
        }
    }

    fn note(&self, _line: &str) {}
}

/// On a thread that may read only what it is allowed to, also for root.
fn as_anybody<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut own = capabilities(None).unwrap();
            own.effective.remove(CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH);
            set_capabilities(None, own).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}
