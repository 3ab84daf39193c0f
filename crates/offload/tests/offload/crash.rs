//! Crashes: every point at which one can separate two steps is settled by the next run, twice the same, and deletes nothing.

use crate::support::{World, rel, tree};
use lastcopy_offload::{OffloadError, SettleReport, settle};
use lastcopy_store::{FileStatus, IntentId, IntentState, Leaving, Offload, Outcome, Run, RunId, Timestamp};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::Duration;

/// How far an offload of one file had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// The intent is recorded.
    Intent,
    /// It waits for its grace to end.
    Held,
    /// Deletion was begun.
    Deleting,
}

/// An offload of `dir/a` that was cut short.
struct Broken {
    world: World,
    run: RunId,
    intent: IntentId,
}

impl Broken {
    /// Records what an offload records, and leaves its file where `moves` puts it.
    fn at(reached: Reached, moves: impl FnOnce(&World, RunId)) -> Self {
        let world = World::new(&[("dir/a", "one"), ("dir/other", "two")]);
        let (run, intent) = begin(&world, "dir/a", reached);
        let id = run.id();
        moves(&world, id);
        run.finish(&Outcome::Failed("cut short".into()), None).unwrap();
        Self { world, run: id, intent }
    }

    fn state(&self) -> IntentState {
        let intents = self.world.store.intents_of(self.run).unwrap();
        intents.into_iter().find(|intent| intent.id == self.intent).unwrap().state
    }

    /// Settles twice, by different kinds of run; the second one finds nothing to do.
    fn settle(&self) -> SettleReport {
        let index = self.world.begin_index();
        let first = settle(&index, &self.world.volume()).unwrap();
        index.finish(&Outcome::Success, None).unwrap();
        let after = (tree(&self.world.root()), self.state());
        let restore = self.world.begin_restore();
        assert!(settle(&restore, &self.world.volume()).unwrap().is_empty());
        restore.finish(&Outcome::Success, None).unwrap();
        let offload = self.world.begin();
        assert!(settle(&offload, &self.world.volume()).unwrap().is_empty());
        offload.finish(&Outcome::Success, None).unwrap();
        assert_eq!((tree(&self.world.root()), self.state()), after);
        assert_eq!(fs::read_to_string(self.world.path("dir/other")).unwrap(), "two");
        first
    }
}

fn begin(world: &World, path: &str, reached: Reached) -> (Run<Offload>, IntentId) {
    let run = world.begin();
    let stat = fs::metadata(world.path(path)).unwrap();
    let leaving = [Leaving { file: world.record(path).id, device: stat.dev(), inode: stat.ino() }];
    let destinations: Vec<_> = world.destinations.iter().map(|record| record.id).collect();
    let yes = |_: &_, _: &[_]| Some("[]".to_owned());
    let intent = run.quarantine(&leaving, &destinations, &yes).unwrap()[0].unwrap();
    match reached {
        Reached::Intent => {}
        Reached::Held => run.hold(&[intent], Timestamp(run.now().0 + 1000)).unwrap(),
        Reached::Deleting => assert_eq!(run.begin_deletion(&[intent], &destinations, &yes).unwrap(), [true]),
    }
    (run, intent)
}

fn move_aside(world: &World, run: RunId) {
    let aside = world.aside(run, "dir/a");
    fs::create_dir_all(aside.parent().unwrap()).unwrap();
    fs::rename(world.path("dir/a"), aside).unwrap();
}

fn put_back() -> SettleReport {
    SettleReport { put_back: vec![rel("dir/a")], ..SettleReport::default() }
}

fn kept() -> SettleReport {
    SettleReport { kept: vec![rel("dir/a")], ..SettleReport::default() }
}

fn gone() -> SettleReport {
    SettleReport { gone: vec![rel("dir/a")], ..SettleReport::default() }
}

/// After step 4: the intent is durable, the file was not moved yet.
#[test]
fn an_intent_without_a_move_leaves_the_file_where_it_is() {
    for reached in [Reached::Intent, Reached::Deleting] {
        let broken = Broken::at(reached, |_, _| {});
        assert_eq!(broken.settle(), put_back());
        assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::PutBack, FileStatus::Present));
        assert!(broken.world.record("dir/a").seen.racy, "it is read again, whatever it looks like");
        broken.world.assert_nothing_aside();
    }
}

/// After step 5, and after deletion had begun: the bytes are there, so they go back.
#[test]
fn what_lies_aside_is_put_back_even_if_its_deletion_had_begun() {
    for reached in [Reached::Intent, Reached::Deleting] {
        let broken = Broken::at(reached, move_aside);
        assert_eq!(broken.settle(), put_back(), "{reached:?}");
        assert_eq!(fs::read_to_string(broken.world.path("dir/a")).unwrap(), "one");
        assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::PutBack, FileStatus::Present));
        broken.world.assert_nothing_aside();
    }
}

/// What somebody cut short while it lay aside comes back short. Its row still says one content and that content's length, and is not
/// believed: the next index run reads the file.
#[test]
fn what_was_cut_short_aside_is_read_again() {
    let broken = Broken::at(Reached::Deleting, |world, run| {
        move_aside(world, run);
        fs::write(world.aside(run, "dir/a"), "o").unwrap();
    });
    assert_eq!(broken.settle(), put_back());
    let record = broken.world.record("dir/a");
    assert_eq!((record.seen.size, record.content.size, record.seen.racy), (3, 3, true));
    assert_eq!(fs::read_to_string(broken.world.path("dir/a")).unwrap(), "o");
    assert_eq!(broken.world.store.check().unwrap(), Vec::<String>::new());
}

/// After step 9: deleted as intended, and not yet written down.
#[test]
fn what_was_deleted_as_intended_is_offloaded() {
    let broken = Broken::at(Reached::Deleting, |world, _| fs::remove_file(world.path("dir/a")).unwrap());
    assert_eq!(broken.settle(), gone());
    assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::Offloaded, FileStatus::Offloaded));
    broken.world.assert_nothing_aside();
}

/// It was deleted as intended, and the next file at its path got its inode's number: that is not the file that never went, also where it has
/// its size, or its time.
#[test]
fn another_file_with_its_inode_is_not_it() {
    for (text, is_later) in [("brand new", true), ("new", true), ("brand new", false)] {
        let broken = Broken::at(Reached::Deleting, |world, _| {
            let file = File::options().write(true).open(world.path("dir/a")).unwrap();
            let mtime = file.metadata().unwrap().modified().unwrap();
            file.write_all_at(text.as_bytes(), 0).unwrap();
            file.set_modified(mtime + Duration::from_secs(u64::from(is_later))).unwrap();
        });
        assert_eq!(broken.settle(), gone());
        assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::Offloaded, FileStatus::Offloaded));
        assert_eq!(fs::read_to_string(broken.world.path("dir/a")).unwrap(), text);
    }
}

/// Gone, though nobody had begun to delete it: reported, and not called durable elsewhere.
#[test]
fn what_vanished_before_deletion_began_is_missing() {
    let broken = Broken::at(Reached::Intent, |world, _| fs::remove_file(world.path("dir/a")).unwrap());
    assert_eq!(broken.settle(), gone());
    assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::Missing, FileStatus::Missing));
    broken.world.assert_nothing_aside();
}

/// Its place was taken meanwhile: nothing is replaced.
#[test]
fn what_cannot_go_back_is_kept() {
    let broken = Broken::at(Reached::Deleting, |world, run| {
        move_aside(world, run);
        world.write("dir/a", "brand new");
    });
    assert_eq!(broken.settle(), kept());
    assert_eq!(fs::read_to_string(broken.world.path("dir/a")).unwrap(), "brand new");
    assert_eq!(fs::read_to_string(broken.world.kept(broken.run, "dir/a")).unwrap(), "one");
    assert_eq!(broken.state(), IntentState::Kept);
    broken.world.assert_nothing_aside();
}

/// A crash between keeping it and writing that down; and one between putting it back and writing that down.
#[test]
fn what_was_settled_on_disk_is_only_written_down() {
    let broken = Broken::at(Reached::Deleting, |world, run| {
        let kept = world.kept(run, "dir/a");
        fs::create_dir_all(kept.parent().unwrap()).unwrap();
        fs::rename(world.path("dir/a"), kept).unwrap();
        world.write("dir/a", "brand new");
    });
    assert_eq!(broken.settle(), kept());
    assert_eq!(broken.state(), IntentState::Kept);
    assert_eq!(fs::read_to_string(broken.world.path("dir/a")).unwrap(), "brand new");

    // A new file at its path, and its own bytes gone as intended: that is not the file coming back.
    let broken = Broken::at(Reached::Deleting, |world, run| {
        move_aside(world, run);
        world.write("dir/a", "brand new");
        fs::remove_file(world.aside(run, "dir/a")).unwrap();
    });
    assert_eq!(broken.settle(), gone());
    assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::Offloaded, FileStatus::Offloaded));
    assert_eq!(fs::read_to_string(broken.world.path("dir/a")).unwrap(), "brand new");
}

/// What waits for its grace is nobody's to settle in the life that put it there.
#[test]
fn what_is_held_stays_held() {
    let broken = Broken::at(Reached::Held, move_aside);
    let index = broken.world.begin_index();
    assert!(settle(&index, &broken.world.volume()).unwrap().is_empty());
    drop(index);
    assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::Held, FileStatus::Quarantined));
    assert_eq!(fs::read_to_string(broken.world.aside(broken.run, "dir/a")).unwrap(), "one");
}

/// In a new life of the index no intent is believed: everything goes back, held or begun, and nothing is called offloaded.
#[test]
fn in_a_new_epoch_everything_goes_back() {
    for reached in [Reached::Intent, Reached::Held, Reached::Deleting] {
        let broken = Broken::at(reached, move_aside);
        broken.world.store.superseded_by_head(lastcopy_fs::Id128([9; 16]), broken.run, "vault").unwrap();
        assert_eq!(broken.settle(), put_back(), "{reached:?}");
        assert_eq!(broken.world.status("dir/a"), FileStatus::Present);
    }
    let broken = Broken::at(Reached::Deleting, |world, _| fs::remove_file(world.path("dir/a")).unwrap());
    broken.world.store.superseded_by_head(lastcopy_fs::Id128([9; 16]), broken.run, "vault").unwrap();
    assert_eq!(broken.settle(), gone());
    assert_eq!(broken.world.status("dir/a"), FileStatus::Missing, "what it was begun on is no evidence any more");
}

/// The index was lost with files in quarantine: they are found by where they lie.
#[test]
fn what_no_intent_knows_goes_back() {
    let world = World::new(&[("dir/a", "one")]);
    let nobodys = RunId::from_user(4711);
    move_aside(&world, nobodys);
    // What a person put there is none of ours.
    fs::create_dir_all(world.path(".lastcopy/offload/notes")).unwrap();
    fs::write(world.path(".lastcopy/offload/notes/todo"), "look here").unwrap();
    let index = world.begin_index();
    assert_eq!(settle(&index, &world.volume()).unwrap(), put_back());
    assert!(settle(&index, &world.volume()).unwrap().is_empty());
    drop(index);
    assert_eq!(fs::read_to_string(world.path("dir/a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(world.path(".lastcopy/offload/notes/todo")).unwrap(), "look here");
}

/// Two lives that moved the same path aside: neither is put over the other.
#[test]
fn two_that_want_the_same_place_are_both_there() {
    let world = World::new(&[("dir/a", "one")]);
    let (first, second) = (RunId::from_user(100), RunId::from_user(200));
    move_aside(&world, first);
    world.write("dir/a", "two");
    move_aside(&world, second);
    let kept_before = world.kept(second, "dir/a");
    fs::create_dir_all(kept_before.parent().unwrap()).unwrap();
    fs::write(&kept_before, "kept long ago").unwrap();
    let index = world.begin_index();
    let report = settle(&index, &world.volume()).unwrap();
    drop(index);
    assert_eq!((report.put_back.len(), report.kept.len()), (1, 1));
    assert_eq!(fs::read_to_string(world.path("dir/a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(kept_before).unwrap(), "kept long ago", "nothing in the kept files is replaced either");
    assert_eq!(fs::read_to_string(world.kept(second, "dir/a.1")).unwrap(), "two");
}

/// One file that can go nowhere holds up no other, and waits for the next run.
#[test]
fn what_can_go_nowhere_waits() {
    let broken = Broken::at(Reached::Deleting, |world, run| {
        move_aside(world, run);
        world.write("dir/a", "brand new");
        world.write(".lastcopy/kept", "in the way");
    });
    let settle_again = || {
        let index = broken.world.begin_index();
        let report = settle(&index, &broken.world.volume()).unwrap();
        index.finish(&Outcome::Success, None).unwrap();
        report
    };
    let report = settle_again();
    assert_eq!(report.stuck.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [rel("dir/a")]);
    assert_eq!(report, SettleReport { stuck: report.stuck.clone(), ..SettleReport::default() });
    assert_eq!((broken.state(), broken.world.status("dir/a")), (IntentState::Deleting, FileStatus::Quarantined));
    fs::remove_file(broken.world.path(".lastcopy/kept")).unwrap();
    assert_eq!(settle_again(), kept());
    assert_eq!(fs::read_to_string(broken.world.kept(broken.run, "dir/a")).unwrap(), "one");
}

/// Where it cannot be seen what lies aside, it is not nothing.
#[test]
fn an_area_that_cannot_be_read_is_an_error() {
    let world = World::new(&[("a", "one")]);
    world.write(".lastcopy/offload", "in the way");
    let index = world.begin_index();
    assert!(matches!(settle(&index, &world.volume()), Err(OffloadError::Io { .. })));
    index.finish(&Outcome::Success, None).unwrap();
}
