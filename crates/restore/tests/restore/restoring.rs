//! Bringing files back: all of them, over nothing, from whoever has the right bytes.

use crate::support::{World, content, rel};
use lastcopy_fs::RelPath;
use lastcopy_restore::{Target, WantedList, wanted_below, wanted_content};
use lastcopy_store::{FileStatus, RunStatus};
use lastcopy_sync::conformance::{Liar, Lie};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Bytes, times, permissions and names, whatever they are; each content is fetched once, however many paths have it.
#[test]
fn everything_comes_back_as_it_was() {
    let world = World::new();
    let long = [b'n'; 255];
    let names: [&[u8]; 6] = [b"plain", b"deep/er/copy of plain", b"empty", b"not \xff UTF-8", b"new\nline", &long];
    let texts = ["one", "one", "", "two", "three", "four"];
    for (name, text) in names.into_iter().zip(texts) {
        world.write(name, text);
    }
    fs::set_permissions(world.path("plain"), Permissions::from_mode(0o751)).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH - Duration::from_nanos(1_500_000_001);
    File::open(world.path("plain")).unwrap().set_modified(long_ago).unwrap();
    world.index();
    let world = pushed(world);
    world.offload(&names);
    assert!(names.iter().all(|name| !world.path(name).exists()));
    fs::remove_dir_all(world.path("deep")).unwrap();

    let (report, run) = world.restore(&["vault"]);
    assert_eq!((report.restored, report.already, report.refused, report.failed, report.bytes), (6, 0, 0, 0, 18));
    assert_eq!(report.from.iter().collect::<Vec<_>>(), ["vault"]);
    assert_eq!(world.store.run_record(run).unwrap().status, RunStatus::Success);
    for (name, text) in names.into_iter().zip(texts) {
        assert_eq!(world.read(name), text);
        let file = world.file(name);
        assert_eq!((file.status, file.present_since), (FileStatus::Present, run));
    }
    let stat = fs::metadata(world.path("plain")).unwrap();
    assert_eq!((stat.mode() & 0o7777, stat.modified().unwrap()), (0o751, long_ago));
    assert_eq!(world.restore(&["vault"]).0, lastcopy_restore::RestoreReport::default(), "there is nothing left to restore");
    assert!(fs::read_dir(world.path(".lastcopy/incoming")).unwrap().next().is_none(), "nothing is left on its way");
    // What came back is known as it is: the next index finds nothing new.
    let before = world.file("plain").id;
    world.index();
    assert_eq!(world.file("plain").id, before);
}

/// Pushed to a store called `vault`.
fn pushed(world: World) -> World {
    fs::create_dir(world.temp.path().join("vault")).unwrap();
    let record = world.store.register_destination("vault", lastcopy_store::DestinationKind::Cas).unwrap();
    lastcopy_sync::init(&world.store, &record, world.cas("vault").as_ref(), &world.context()).unwrap();
    world.push("vault");
    world
}

/// Whatever is in the place of a file stays there, and the others come back.
#[test]
fn nothing_is_ever_overwritten() {
    let world =
        World::holding(&[("file", "one"), ("dir", "two"), ("link", "three"), ("pipe", "four"), ("free", "five")], &["vault"]);
    world.offload(&[b"file", b"dir", b"link", b"pipe", b"free"]);
    world.write("file", "brand new");
    world.write("dir/inside", "brand new");
    fs::write(world.temp.path().join("outside"), "outside").unwrap();
    symlink(world.temp.path().join("outside"), world.path("link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());

    let (report, run) = world.restore(&["vault"]);
    assert_eq!((report.restored, report.refused, report.failed), (1, 4, 0));
    assert_eq!(world.store.run_record(run).unwrap().status, RunStatus::Partial);
    assert_eq!(
        (world.read("file"), world.read("dir/inside"), world.read("free")),
        ("brand new".into(), "brand new".into(), "five".into())
    );
    assert_eq!(fs::read_to_string(world.temp.path().join("outside")).unwrap(), "outside");
    assert!(fs::symlink_metadata(world.path("pipe")).unwrap().file_type().is_fifo());
    for path in ["file", "dir", "link", "pipe"] {
        assert_eq!(world.status(path), FileStatus::Offloaded, "`{path}` is not back");
        assert!(report.first.iter().any(|(named, why)| *named == rel(path) && why.contains("something else")), "{path}");
    }
}

/// Somebody takes the place after it was looked at, while the bytes are on their way: he keeps it.
#[test]
fn a_place_that_is_taken_meanwhile_is_not_taken_back() {
    struct Taking(std::path::PathBuf);
    impl lastcopy_fs::Progress for Taking {
        fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}
        // The first store gives one file; when that is in its place, the second one is asked for the other.
        fn advance(&self, _files: u64, _bytes: u64) {
            fs::write(&self.0, "brand new").unwrap();
        }
        fn note(&self, _line: &str) {}
    }
    let world = World::holding(&[("a", "one"), ("b", "two")], &["vault", "cloud"]);
    world.offload(&[b"a", b"b"]);
    fs::remove_file(world.object("vault", "one")).unwrap();
    let progress = std::sync::Arc::new(Taking(world.path("a")));
    let world = World { progress, ..world };
    let (report, _) = world.restore(&["vault", "cloud"]);
    assert_eq!((report.restored, report.refused), (1, 1), "{report:?}");
    assert_eq!((world.read("a"), world.status("a")), ("brand new".into(), FileStatus::Offloaded));
    assert_eq!(
        fs::read_dir(world.path(".lastcopy")).unwrap().filter(|entry| entry.as_ref().unwrap().file_name() == "kept").count(),
        0
    );
}

/// On a person's word what is in the way makes room: it is kept, not deleted.
#[test]
fn in_place_keeps_what_was_in_the_way() {
    let world = World::holding(&[("dir/file", "one"), ("tree", "two"), ("link", "three")], &["vault"]);
    world.offload(&[b"dir/file", b"tree", b"link"]);
    world.write("dir/file", "brand new");
    world.write("tree/inside", "brand new");
    symlink("nowhere", world.path("link")).unwrap();
    let wanted = wanted_below(&world.store, world.volume().id(), &[RelPath::root()], true).unwrap();
    let (report, run) = world.restore_with(&wanted, Target::Home(world.volume()), true, &["vault"]);
    assert_eq!(report.unwrap().restored, 3);
    assert_eq!((world.read("dir/file"), world.read("tree"), world.read("link")), ("one".into(), "two".into(), "three".into()));
    let kept = |path: &str| world.path(format!(".lastcopy/kept/{run}/{path}"));
    assert_eq!(fs::read_to_string(kept("dir/file")).unwrap(), "brand new");
    assert_eq!(fs::read_to_string(kept("tree/inside")).unwrap(), "brand new");
    assert_eq!(fs::read_link(kept("link")).unwrap().to_str(), Some("nowhere"));
}

/// `foo` was a file once, and is a directory since. Both came back in place: the file pushed the directory aside, with what had just been put
/// into it, and everything was said to be there.
#[test]
fn what_was_there_before_makes_no_room_for_itself() {
    let world =
        World::holding(&[("foo", "a file"), ("bar/y", "below bar"), ("stays", "1"), ("here", "2"), ("too", "3")], &["vault"]);
    for old in ["foo", "bar/y"] {
        fs::remove_file(world.path(old)).unwrap();
    }
    fs::remove_dir(world.path("bar")).unwrap();
    world.index();
    world.write("foo/x", "below foo");
    world.write("bar", "a file now");
    world.index();
    world.push("vault");
    let in_place = |below: &str| {
        let wanted = wanted_below(&world.store, world.volume().id(), &[rel(below)], true).unwrap();
        world.restore_with(&wanted, Target::Home(world.volume()), true, &["vault"]).0.unwrap()
    };
    let report = in_place("");
    assert_eq!((report.restored, report.already, report.is_whole()), (0, 5, true), "{report:?}");
    // By its name it is wanted, but the files that are there since do not go.
    let report = in_place("foo");
    assert_eq!((report.restored, report.already, report.refused), (0, 1, 1), "{report:?}");
    let report = in_place("bar/y");
    assert_eq!((report.restored, report.failed), (0, 1), "{report:?}");
    fs::remove_dir_all(world.path("foo")).unwrap();
    assert_eq!(in_place("").restored, 1);
    assert_eq!((world.read("foo/x"), world.read("bar")), ("below foo".into(), "a file now".into()));
    // Also once all of them are missing, the later ones come.
    fs::remove_dir_all(world.path("foo")).unwrap();
    world.index();
    assert_eq!(in_place("").restored, 1);
    assert_eq!(world.read("foo/x"), "below foo");
}

/// What one file of a restore moved out of the way of another is not there, and not said to be.
#[test]
fn what_had_to_go_again_did_not_come_back() {
    let world = World::holding(&[("foo", "the same")], &["vault"]);
    world.offload(&[b"foo"]);
    let file = world.file("foo").id;
    world.write("foo/x", "the same");
    world.index();
    world.offload(&[b"foo/x"]);
    fs::remove_dir(world.path("foo")).unwrap();
    let wanted = WantedList::Files(vec![world.file("foo/x").id, file]);
    let report = world.restore_with(&wanted, Target::Home(world.volume()), true, &["vault"]).0.unwrap();
    assert_eq!((report.restored, report.failed), (1, 1), "{report:?}");
    assert_eq!((world.status("foo"), world.status("foo/x")), (FileStatus::Present, FileStatus::Offloaded));
    assert_eq!(world.read("foo"), "the same");
}

/// A path that is named twice comes back once, and is in nobody's way.
#[test]
fn a_path_may_be_named_twice() {
    let world = World::holding(&[("gone", "one"), ("stays", "two")], &["vault"]);
    fs::remove_file(world.path("gone")).unwrap();
    world.index();
    let wanted = wanted_below(&world.store, world.volume().id(), &[rel("gone"), rel("gone")], false).unwrap();
    let report = world.restore_with(&wanted, Target::Home(world.volume()), false, &["vault"]).0.unwrap();
    assert_eq!((report.restored, report.is_whole()), (1, true), "{report:?}");
}

/// Put back by hand with the right bytes: it is there already, and known to be.
#[test]
fn what_was_copied_back_by_hand_is_there_already() {
    let world = World::holding(&[("a", "one"), ("b", "two")], &["vault"]);
    world.offload(&[b"a", b"b"]);
    world.write("a", "one");
    world.write("b", "2wo");
    let (report, run) = world.restore(&["vault"]);
    assert_eq!((report.restored, report.already, report.refused), (0, 1, 1));
    assert_eq!((world.status("a"), world.file("a").present_since), (FileStatus::Present, run));
    assert_eq!(world.status("b"), FileStatus::Offloaded);
}

/// A damaged object is named with the store that has it; everything else comes back, and the run says that it is not whole.
#[test]
fn a_damaged_object_is_named_and_the_rest_comes_back() {
    let world = World::holding(&[("a", "one"), ("b", "two"), ("c", "three"), ("copy of b", "two")], &["vault"]);
    world.offload(&[b"a", b"b", b"c", b"copy of b"]);
    world.damage("vault", "two");
    fs::remove_file(world.object("vault", "three")).unwrap();
    let (report, run) = world.restore(&["vault"]);
    assert_eq!((report.restored, report.failed), (1, 3));
    assert_eq!(world.store.run_record(run).unwrap().status, RunStatus::Partial);
    for path in ["b", "copy of b", "c"] {
        let (_, why) = report.first.iter().find(|(named, _)| *named == rel(path)).unwrap();
        assert!(why.contains("vault"), "{path}: {why}");
        assert!(!world.path(path).exists(), "wrong bytes never arrive");
        assert_eq!(world.status(path), FileStatus::Offloaded);
    }
    assert_eq!(world.read("a"), "one");
    assert!(fs::read_dir(world.path(".lastcopy/incoming")).unwrap().next().is_none());
}

/// Another store that has the bytes is asked when the first one has not; also when the first one is gone altogether.
#[test]
fn another_store_that_has_the_bytes_is_used() {
    let world = World::holding(&[("a", "one"), ("b", "two"), ("c", "three")], &["vault", "cloud"]);
    world.offload(&[b"a", b"b", b"c"]);
    world.damage("vault", "two");
    fs::remove_file(world.object("cloud", "three")).unwrap();
    let (report, _) = world.restore(&["vault", "cloud"]);
    assert_eq!((report.restored, report.failed), (3, 0), "{report:?}");
    assert_eq!(report.from.iter().collect::<Vec<_>>(), ["cloud", "vault"]);
    assert_eq!((world.read("a"), world.read("b"), world.read("c")), ("one".into(), "two".into(), "three".into()));

    let world = World::holding(&[("a", "one")], &["vault", "cloud"]);
    world.offload(&[b"a"]);
    fs::remove_dir_all(world.temp.path().join("vault")).unwrap();
    let (report, _) = world.restore(&["vault", "cloud"]);
    assert_eq!((report.restored, world.read("a")), (1, "one".into()));
    assert_eq!(report.from.iter().collect::<Vec<_>>(), ["cloud"]);

    let world = World::holding(&[("a", "one")], &["vault"]);
    world.offload(&[b"a"]);
    let (report, _) = world.restore(&[]);
    assert_eq!((report.restored, report.failed), (0, 1));
    assert!(report.first[0].1.contains("no destination"), "{}", report.first[0].1);
}

/// A restore met a damaged object and one that was gone, got the bytes from elsewhere, and said nothing: the receipts stayed live, and
/// the next offload deleted the files again on their word.
#[test]
fn what_a_restore_finds_lost_is_known_to_be() {
    let world = World::holding(&[("a", "one"), ("b", "two"), ("c", "three")], &["vault", "cloud"]);
    world.offload(&[b"a", b"b", b"c"]);
    world.damage("vault", "one");
    fs::remove_file(world.object("vault", "two")).unwrap();
    let (report, run) = world.restore(&["vault", "cloud"]);
    assert_eq!((report.restored, report.failed, report.lost, report.unread), (3, 0, 2, 0), "{report:?}");
    assert_eq!(world.store.run_record(run).unwrap().status, RunStatus::Partial);
    let mut named: Vec<_> = report.amiss.iter().map(|(path, why)| (path.clone(), why.contains("`vault`"))).collect();
    named.sort();
    assert_eq!(named, [(rel("a"), true), (rel("b"), true)]);
    assert_eq!(world.store.count_receipts(world.record("vault").id).unwrap(), (0, 1, 2), "two are lost");
    assert_eq!(world.store.count_receipts(world.record("cloud").id).unwrap(), (0, 3, 0));
    assert_eq!(world.store.alarms(false).unwrap().len(), 2, "an alarm on each");
    // The next push sends them again.
    assert_eq!(world.push("vault").verified, 2);
    assert_eq!(world.store.count_receipts(world.record("vault").id).unwrap(), (0, 3, 0));
}

/// Whoever answers in the place of a destination cannot lose what that one was proven to hold.
#[test]
fn another_repository_loses_nothing() {
    let world = World::holding(&[("a", "one")], &["vault", "cloud", "other"]);
    world.offload(&[b"a"]);
    fs::rename(world.temp.path().join("vault"), world.temp.path().join("away")).unwrap();
    fs::rename(world.temp.path().join("other"), world.temp.path().join("vault")).unwrap();
    world.damage("vault", "one");
    let (report, _) = world.restore(&["vault", "cloud"]);
    assert_eq!((report.restored, report.lost, report.unread), (1, 0, 1), "{report:?}");
    assert_eq!(world.store.count_receipts(world.record("vault").id).unwrap(), (0, 1, 0));
}

/// Somebody is writing it: what never held still is not replaced by what was there before, but comes back where nothing is.
#[test]
fn what_never_held_still_is_not_replaced() {
    let world = World::holding(&[("a", "one"), ("b", "two")], &["vault"]);
    let run = world.store.begin_index(&world.volume()).unwrap();
    run.unstable(&[world.file("a").id, world.file("b").id]).unwrap();
    run.finish(&lastcopy_store::Outcome::Success, None).unwrap();
    world.write("a", "being written");
    fs::remove_file(world.path("b")).unwrap();
    let wanted = wanted_below(&world.store, world.volume().id(), &[RelPath::root()], true).unwrap();
    let (report, _) = world.restore_with(&wanted, Target::Home(world.volume()), true, &["vault"]);
    let report = report.unwrap();
    assert_eq!((report.restored, report.refused), (1, 1), "{report:?}");
    assert_eq!([world.read("a"), world.read("b")], ["being written", "two"]);
}

/// Nor does one that comes while it is asked what it holds: a disk that was exchanged meanwhile lacks what the other one has.
#[test]
fn another_repository_that_comes_meanwhile_loses_nothing() {
    let world = World::holding(&[("a", "one")], &["vault", "cloud"]);
    world.offload(&[b"a"]);
    fs::remove_file(world.object("vault", "one")).unwrap();
    let wanted = wanted_below(&world.store, world.volume().id(), &[RelPath::root()], false).unwrap();
    for (lie, lost) in [(Lie::ReplacedMidway, 0), (Lie::None, 1)] {
        let vault = Arc::new(Liar::new(world.cas("vault")));
        vault.lie(lie);
        let sources = vec![(world.record("vault"), vault.clone() as _), (world.record("cloud"), world.cas("cloud"))];
        let (report, _) = world.restore_from(&wanted, world.elsewhere(), true, sources);
        let report = report.unwrap();
        assert_eq!((report.restored, report.lost, report.unread), (1, lost, 1 - lost), "{lie}: {report:?}");
        assert_eq!(vault.told() > 0, lie != Lie::None);
        let live = 1 - lost;
        assert_eq!(world.store.count_receipts(world.record("vault").id).unwrap(), (0, live, lost), "{lie}");
        fs::remove_file(world.temp.path().join("elsewhere/a")).unwrap();
    }
}

/// One that gave wrong bytes, and went away before it could be asked again: nobody knows whether they are lost, and it is said.
#[test]
fn wrong_bytes_are_told_of_also_if_nobody_answers_any_more() {
    let world = World::holding(&[("a", "one")], &["vault", "cloud"]);
    world.offload(&[b"a"]);
    world.damage("vault", "one");
    for lie in [Lie::CannotTell, Lie::Gone] {
        let vault = Arc::new(Liar::new(world.cas("vault")));
        vault.lie(lie);
        let sources = vec![(world.record("vault"), vault.clone() as _), (world.record("cloud"), world.cas("cloud"))];
        let wanted = wanted_below(&world.store, world.volume().id(), &[RelPath::root()], false).unwrap();
        let (report, run) = world.restore_from(&wanted, world.elsewhere(), true, sources);
        let report = report.unwrap();
        assert_eq!((report.restored, report.lost, report.unread, report.amiss.len()), (1, 0, 1, 1), "{lie}: {report:?}");
        assert!(vault.told() > 0 && !report.is_whole());
        assert_eq!(world.store.run_record(run).unwrap().status, RunStatus::Partial);
        fs::remove_file(world.temp.path().join("elsewhere/a")).unwrap();
    }
}

/// A receipt that was found lost is asked last, but it is asked: only the hash decides.
#[test]
fn a_lost_receipt_may_still_give_the_bytes() {
    let world = World::holding(&[("a", "one")], &["vault"]);
    world.offload(&[b"a"]);
    let vault = world.record("vault");
    let run = world.store.begin_verify(vault.id, None).unwrap();
    let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    let (id, _) = world.store.content_by_hash(content("one").hash).unwrap().unwrap();
    run.lost(&probed, id, &lastcopy_store::Location::default(), "it was not listed").unwrap();
    drop(run);
    assert_eq!((world.restore(&["vault"]).0.restored, world.read("a")), (1, "one".into()));
}

/// Elsewhere: the same paths below another directory, over nothing either, and the index learns nothing from it.
#[test]
fn elsewhere_is_none_of_the_indexs_business() {
    let world = World::holding(&[("a", "one"), ("dir/b", "two"), ("c", "three")], &["vault"]);
    world.offload(&[b"a"]);
    let wanted = wanted_below(&world.store, world.volume().id(), &[RelPath::root()], true).unwrap();
    let target = world.elsewhere();
    let there = world.temp.path().join("elsewhere");
    fs::write(there.join("c"), "a person's").unwrap();
    let (report, _) = world.restore_with(&wanted, target, false, &["vault"]);
    let report = report.unwrap();
    assert_eq!((report.restored, report.refused), (2, 1));
    assert!(!there.join(".lastcopy").exists(), "nothing of ours stays there");
    assert_eq!(fs::read_to_string(there.join("a")).unwrap(), "one");
    assert_eq!(fs::read_to_string(there.join("dir/b")).unwrap(), "two");
    assert_eq!(fs::read_to_string(there.join("c")).unwrap(), "a person's");
    assert_eq!([world.status("a"), world.status("dir/b")], [FileStatus::Offloaded, FileStatus::Present]);
    assert!(!world.path("a").exists());
}

/// A directory of the volume was swapped for a link: nothing is written where it leads.
#[test]
fn nothing_is_written_through_a_link() {
    let world = World::holding(&[("dir/a", "one"), ("b", "two")], &["vault"]);
    world.offload(&[b"dir/a", b"b"]);
    fs::remove_dir(world.path("dir")).unwrap();
    let outside = world.temp.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, world.path("dir")).unwrap();
    let (report, _) = world.restore(&["vault"]);
    assert_eq!((report.restored, report.failed), (1, 1), "{report:?}");
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
    assert_eq!(world.status("dir/a"), FileStatus::Offloaded);
}

/// What is asked for by path: offloaded files at and below it; missing ones only by their own name.
#[test]
fn missing_files_come_back_by_name_only() {
    let world =
        World::holding(&[("dir/gone", "one"), ("dir/offloaded", "two"), ("dir/here", "three"), ("other", "four")], &["vault"]);
    world.offload(&[b"dir/offloaded", b"other"]);
    fs::remove_file(world.path("dir/gone")).unwrap();
    world.index();
    assert_eq!(world.status("dir/gone"), FileStatus::Missing);
    let count = |below: &[&str], everything| {
        let below: Vec<_> = below.iter().map(rel).collect();
        match wanted_below(&world.store, world.volume().id(), &below, everything).unwrap() {
            WantedList::Files(files) => files.len(),
            WantedList::One(_) => 1,
        }
    };
    assert_eq!(count(&["dir"], false), 1);
    assert_eq!(count(&["dir/gone"], false), 1);
    assert_eq!(count(&["dir", "dir/gone"], false), 2);
    assert_eq!(count(&["dir"], true), 3);
    assert_eq!(count(&["di"], true), 0, "a name is not a prefix");
    assert_eq!(count(&["other"], false), 1);
}

/// A content comes back whatever became of its paths: here, of one that holds something else now.
#[test]
fn an_old_content_comes_back_by_its_digest() {
    let world = World::holding(&[("dir/a", "one")], &["vault"]);
    world.write("dir/a", "newer");
    world.index();
    let wanted = wanted_content(&world.store, content("one").hash).unwrap().unwrap();
    assert_eq!(wanted.path, rel("a"));
    let (report, _) = world.restore_with(&WantedList::One(Box::new(wanted)), world.elsewhere(), false, &["vault"]);
    assert_eq!(report.unwrap().restored, 1);
    assert_eq!(fs::read_to_string(world.temp.path().join("elsewhere/a")).unwrap(), "one");
    assert_eq!(wanted_content(&world.store, content("never").hash).unwrap(), None);
}

/// Stopped, it leaves nothing half done, and the next one goes on.
#[test]
fn a_cancelled_restore_leaves_nothing_half_done() {
    let world = World::holding(&[("a", "one"), ("b", "two")], &["vault"]);
    world.offload(&[b"a", b"b"]);
    let wanted = wanted_below(&world.store, world.volume().id(), &[RelPath::root()], false).unwrap();
    let cancel = world.cancel.clone();
    cancel.cancel();
    let (stopped, run) = world.restore_with(&wanted, Target::Home(world.volume()), false, &["vault"]);
    assert!(stopped.unwrap_err().is_cancelled());
    assert_eq!(world.store.run_record(run).unwrap().status, RunStatus::Aborted);
    assert_eq!([world.status("a"), world.status("b")], [FileStatus::Offloaded; 2]);
    let left = fs::read_dir(world.path(format!(".lastcopy/incoming/{run}"))).map_or(0, Iterator::count);
    assert_eq!(left, 0, "nothing is left on its way");
    let world = World { cancel: lastcopy_fs::Cancel::new(), ..world };
    assert_eq!(world.restore(&["vault"]).0.restored, 2);
}
