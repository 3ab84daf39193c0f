//! Files that change on their way out: whatever a person does at whatever moment, the bytes stay, and the report says so.

use crate::support::{Answers, Circumstances, Entry, World, tree};
use lastcopy_offload::FileOutcome;
use lastcopy_store::FileStatus;
use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

/// Changes after the plan and before the first step: nothing is moved, nothing is lost, and it is called what it is.
#[track_caller]
fn check_before(change: impl FnOnce(&World), expected: (FileOutcome, &str)) {
    let world = World::new(&[("dir/a", "one")]);
    let plan = world.plan();
    change(&world);
    let before = tree(&world.root());
    let done = world.apply(&plan, &Answers::holding(), &Circumstances::default());
    let (outcome, text) = done.only();
    assert_eq!(outcome, expected.0, "{text}");
    assert!(text.contains(expected.1), "{text}");
    assert_eq!(tree(&world.root()), before);
    assert_eq!(world.status("dir/a"), FileStatus::Present, "what it is now is for an index run to find");
    world.assert_nothing_aside();
}

#[test]
fn a_file_that_changed_since_it_was_indexed_stays() {
    let drift = |text| (FileOutcome::Drift, text);
    check_before(|world| world.write("dir/a", "much longer"), drift("was changed"));
    check_before(|world| world.write("dir/a", ""), drift("was changed"));
    check_before(|world| world.write("dir/a", "two"), drift("was changed"));
    check_before(|world| fs::remove_file(world.path("dir/a")).unwrap(), drift("is gone"));
    check_before(|world| fs::remove_dir_all(world.path("dir")).unwrap(), drift("is gone"));
    check_before(|world| fs::rename(world.path("dir/a"), world.path("dir/b")).unwrap(), drift("is gone"));
    // Else a restore would open to everybody what was closed since.
    let closed = |world: &World| fs::set_permissions(world.path("dir/a"), fs::Permissions::from_mode(0o600)).unwrap();
    check_before(closed, drift("permissions"));
    let a_file_now = |world: &World| {
        fs::remove_dir_all(world.path("dir")).unwrap();
        world.write("dir", "a file now");
    };
    check_before(a_file_now, drift("is gone"));
}

/// Same size, and the times set back: only the bytes tell.
#[test]
fn a_file_that_hides_its_change_stays() {
    check_before(
        |world| {
            let times = fs::metadata(world.path("dir/a")).unwrap().modified().unwrap();
            world.write("dir/a", "two");
            File::options().write(true).open(world.path("dir/a")).unwrap().set_modified(times).unwrap();
        },
        (FileOutcome::Drift, "holds other bytes"),
    );
    // The same bytes, touched: nobody knows why.
    check_before(
        |world| {
            let later = SystemTime::now() + Duration::from_secs(3600);
            File::options().write(true).open(world.path("dir/a")).unwrap().set_modified(later).unwrap();
        },
        (FileOutcome::Drift, "was changed"),
    );
}

#[test]
fn what_is_no_regular_file_any_more_stays() {
    let replace = |with: fn(&World)| {
        move |world: &World| {
            fs::remove_file(world.path("dir/a")).unwrap();
            with(world);
        }
    };
    check_before(
        replace(|world| {
            fs::write(world.temp.path().join("target"), "one").unwrap();
            symlink(world.temp.path().join("target"), world.path("dir/a")).unwrap();
        }),
        (FileOutcome::Drift, "symbolic link"),
    );
    check_before(
        replace(|world| {
            fs::create_dir(world.path("dir/a")).unwrap();
            world.write("dir/a/inside", "one");
        }),
        (FileOutcome::Drift, "directory"),
    );
    check_before(
        replace(|world| {
            let made = std::process::Command::new("mkfifo").arg(world.path("dir/a")).status().unwrap();
            assert!(made.success());
        }),
        (FileOutcome::Drift, "fifo"),
    );
    // A socket cannot even be opened; that is not gone.
    check_before(
        replace(|world| drop(std::os::unix::net::UnixListener::bind(world.path("dir/a")).unwrap())),
        (FileOutcome::Error, "cannot be opened"),
    );
}

/// A directory above it was swapped for a symbolic link to a copy: nothing is followed out of the volume.
#[test]
fn nothing_is_followed_through_a_link_above() {
    check_before(
        |world| {
            fs::rename(world.path("dir"), world.temp.path().join("moved")).unwrap();
            symlink(world.temp.path().join("moved"), world.path("dir")).unwrap();
        },
        (FileOutcome::Drift, "symbolic link"),
    );
}

/// Somebody has it open for writing, or mapped: he may write at any moment.
#[test]
fn a_file_in_use_stays() {
    let world = World::new(&[("a", "one")]);
    let writer = File::options().append(true).open(world.path("a")).unwrap();
    assert_eq!(world.offload().only(), (FileOutcome::Blocked, "in-use".to_owned()));
    drop(writer);

    let writer = File::options().read(true).write(true).open(world.path("a")).unwrap();
    let mapping = Mapping::of(&writer);
    drop(writer);
    assert_eq!(world.offload().only(), (FileOutcome::Blocked, "in-use".to_owned()), "a mapping is a writer, too");
    mapping.store(b'0');
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "0ne");
    drop(mapping);
    // It changed through the mapping, perhaps without its times: the bytes tell.
    assert_eq!(world.offload().only().0, FileOutcome::Drift);
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "0ne");

    // Who only reads is in nobody's way, and keeps what he has.
    let world = World::new(&[("a", "one")]);
    let reader = File::open(world.path("a")).unwrap();
    assert_eq!(world.offload().only().0, FileOutcome::Offloaded);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "one");
}

/// One byte of a file, mapped for writing.
struct Mapping(*mut std::ffi::c_void);

impl Mapping {
    #[expect(unsafe_code, reason = "a mapping of a file that lives as long as the test, at an address that the kernel chooses")]
    fn of(file: &File) -> Self {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Self(unsafe { mmap(std::ptr::null_mut(), 1, protection, MapFlags::SHARED, file, 0) }.unwrap())
    }

    #[expect(unsafe_code, reason = "the first byte of a mapping of one byte")]
    fn store(&self, byte: u8) {
        unsafe { self.0.cast::<u8>().write_volatile(byte) }
    }
}

impl Drop for Mapping {
    #[expect(unsafe_code, reason = "nothing refers to the mapping any more")]
    fn drop(&mut self) {
        unsafe { rustix::mm::munmap(self.0, 1) }.unwrap();
    }
}

/// Replaced after it was hashed and before it is moved: what is moved is not what was hashed. It goes back to its place.
#[test]
fn a_file_that_is_replaced_before_it_is_moved_stays() {
    let world = World::new(&[("a", "one"), ("b", "three")]);
    let (new, old) = (world.temp.path().join("new"), world.path("a"));
    fs::write(&new, "two").unwrap();
    // The second file is being hashed when the first one, hashed already, is replaced.
    let circumstances = Circumstances::when_hashed(4, move || fs::rename(&new, &old).unwrap());
    let done = world.offload_under(&Answers::holding(), &circumstances);
    let (outcome, text) = done.of("a");
    assert_eq!(outcome, FileOutcome::Drift);
    assert!(text.contains("replaced while it was moved aside"), "{text}");
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "two");
    assert_eq!(done.of("b").0, FileOutcome::Offloaded);
    world.assert_nothing_aside();
}

/// Gone after it was hashed: there is nothing to move, and nothing to put back.
#[test]
fn a_file_that_vanishes_before_it_is_moved_is_missing() {
    let world = World::new(&[("a", "one"), ("b", "three")]);
    let old = world.path("a");
    let circumstances = Circumstances::when_hashed(4, move || fs::remove_file(&old).unwrap());
    let done = world.offload_under(&Answers::holding(), &circumstances);
    assert_eq!(done.of("a").0, FileOutcome::Error);
    assert_eq!(world.status("a"), FileStatus::Missing, "deleted, but not by us");
    assert_eq!(done.of("b").0, FileOutcome::Offloaded);
    world.assert_nothing_aside();
}

/// Where it cannot be moved aside, it stays, and the index says so.
#[test]
fn a_file_that_cannot_be_moved_stays() {
    let blocked = |happens: &dyn Fn(&World) -> Circumstances| {
        let world = World::new(&[("dir/a", "one")]);
        // No directory can be made where the next run would set it aside.
        let next = world.store.runs(1).unwrap()[0].id.get() + 1;
        world.write(&format!(".lastcopy/offload/{next}/dir"), "in the way");
        let done = world.offload_under(&Answers::holding(), &happens(&world));
        let (outcome, text) = done.only();
        assert!(outcome == FileOutcome::Error && text.contains("cannot be moved aside"), "{outcome:?}: {text}");
        assert_eq!(world.store.open_intents(world.volume().id()).unwrap(), []);
        world
    };
    let world = blocked(&|_| Circumstances::default());
    assert_eq!(fs::read_to_string(world.path("dir/a")).unwrap(), "one");
    assert_eq!(world.status("dir/a"), FileStatus::Present);

    // What somebody put at its path meanwhile is not what was recorded there.
    let world = blocked(&|world| {
        let (new, old) = (world.temp.path().join("new"), world.path("dir/a"));
        fs::write(&new, "two").unwrap();
        Circumstances::when_hashed(3, move || fs::rename(&new, &old).unwrap())
    });
    assert_eq!(fs::read_to_string(world.path("dir/a")).unwrap(), "two");
    assert_eq!(world.status("dir/a"), FileStatus::Missing);
}

/// Somebody wants to write while it is hashed, or while it lies aside: he waits, is noticed, and finds his file in its place.
#[test]
fn a_writer_who_comes_late_gets_his_file_back() {
    let knock = |path: &std::path::Path| {
        // O_NONBLOCK: instead of waiting for the lease, be told that there is one. It is broken all the same.
        let refused = File::options().append(true).custom_flags(0o4000).open(path).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::WouldBlock);
    };
    let world = World::new(&[("a", "one"), ("b", "three")]);
    let path = world.path("a");
    let circumstances = Circumstances::when_hashed(4, move || knock(&path));
    let done = world.offload_under(&Answers::holding(), &circumstances);
    assert_eq!(done.of("a"), (FileOutcome::Blocked, "in-use".to_owned()));
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "one");

    // Where it would wait for its grace, too: it may be written as soon as the lease is given up.
    let world = World::new(&[("a", "one"), ("b", "three")]).with_grace(1000);
    let path = world.path("a");
    let done = world.offload_under(&Answers::holding(), &Circumstances::when_hashed(4, move || knock(&path)));
    assert_eq!((done.of("a"), done.of("b").0), ((FileOutcome::Blocked, "in-use".to_owned()), FileOutcome::Quarantined));
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "one");

    let world = World::new(&[("a", "one")]);
    let newest = || world.store.runs(1).unwrap()[0].id;
    let confirm = Answers::holding_while(|| knock(&world.aside(newest(), "a")));
    let done = world.offload_with(&confirm);
    assert_eq!(done.only(), (FileOutcome::Blocked, "in-use".to_owned()));
    assert_eq!((world.status("a"), fs::read_to_string(world.path("a")).unwrap()), (FileStatus::Present, "one".to_owned()));
    world.assert_nothing_aside();
}

/// Replaced while it lay aside: what is there now is not what was confirmed.
#[test]
fn a_file_that_is_replaced_while_it_is_aside_stays() {
    let world = World::new(&[("dir/a", "one")]);
    let newest = || world.store.runs(1).unwrap()[0].id;
    let confirm = Answers::holding_while(|| {
        let new = world.temp.path().join("new");
        fs::write(&new, "two").unwrap();
        fs::rename(new, world.aside(newest(), "dir/a")).unwrap();
    });
    let done = world.offload_with(&confirm);
    assert_eq!(done.only().0, FileOutcome::Drift);
    assert_eq!(fs::read_to_string(world.path("dir/a")).unwrap(), "two");
    world.assert_nothing_aside();
}

/// Removed by somebody while it lay aside: it is not ours to claim, and the other files of the batch go on.
#[test]
fn a_file_that_vanishes_while_it_is_aside_is_drift() {
    let world = World::new(&[("a", "one"), ("b", "three"), ("c", "four")]);
    let newest = || world.store.runs(1).unwrap()[0].id;
    let confirm = Answers::holding_while(|| fs::remove_file(world.aside(newest(), "b")).unwrap());
    let done = world.offload_with(&confirm);
    assert_eq!(done.of("b").0, FileOutcome::Drift, "{:?}", done.result);
    assert_eq!([done.of("a").0, done.of("c").0], [FileOutcome::Offloaded; 2]);
    assert_eq!([world.status("a"), world.status("c")], [FileStatus::Offloaded; 2]);
    assert!(!world.path("b").exists());
    world.assert_nothing_aside();
}

/// A new file at the path of one that lies aside is a new file: it stays. The old one is not deleted any more: a destination that is this
/// very tree by another way (a share, a bind mount) could have answered for the new file, of the same size, as if it were the old one. The
/// model found that way.
#[test]
fn a_new_file_at_the_path_is_not_touched() {
    let world = World::new(&[("a", "one")]);
    let confirm = Answers::holding_while(|| world.write("a", "new"));
    let done = world.offload_with(&confirm);
    assert_eq!(done.only().0, FileOutcome::Drift);
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "new");
    assert_eq!(fs::read_to_string(world.kept(done.run, "a")).unwrap(), "one");
    world.assert_nothing_aside();

    // The old one cannot go back over it: it is kept for a person to look at.
    let world = World::new(&[("dir/a", "one")]);
    let confirm = Answers::by(|_, contents| {
        world.write("dir/a", "brand new");
        Ok(vec![lastcopy_offload::Verdict::NotHeld("gone".into()); contents.len()])
    });
    let done = world.offload_with(&confirm);
    assert_eq!(done.only().0, FileOutcome::Blocked);
    assert_eq!(tree(&world.root())["dir/a"], Entry::File("brand new".into()));
    assert_eq!(fs::read_to_string(world.kept(done.run, "dir/a")).unwrap(), "one");
    assert_eq!(world.status("dir/a"), FileStatus::Missing, "until an index finds the new one");
    world.assert_nothing_aside();
}

/// The directory of a file that lies aside was removed, or replaced by something else.
#[test]
fn a_place_that_is_gone_is_made_again_and_one_that_is_taken_is_not() {
    let not_held = |change: &dyn Fn(&World)| {
        let world = World::new(&[("dir/a", "one")]);
        let changed = Cell::new(false);
        let confirm = Answers::by(|_, contents| {
            if !changed.replace(true) {
                change(&world);
            }
            Ok(vec![lastcopy_offload::Verdict::NotHeld("gone".into()); contents.len()])
        });
        let done = world.offload_with(&confirm);
        drop(confirm);
        world.assert_nothing_aside();
        (world, done.run)
    };
    let (world, _) = not_held(&|world| fs::remove_dir(world.path("dir")).unwrap());
    assert_eq!(fs::read_to_string(world.path("dir/a")).unwrap(), "one");

    let (world, run) = not_held(&|world| {
        fs::remove_dir(world.path("dir")).unwrap();
        world.write("dir", "a file now");
    });
    assert_eq!(fs::read_to_string(world.path("dir")).unwrap(), "a file now");
    assert_eq!(fs::read_to_string(world.kept(run, "dir/a")).unwrap(), "one");

    let (world, run) = not_held(&|world| {
        fs::remove_dir(world.path("dir")).unwrap();
        fs::create_dir(world.temp.path().join("elsewhere")).unwrap();
        symlink(world.temp.path().join("elsewhere"), world.path("dir")).unwrap();
    });
    assert_eq!(fs::read_to_string(world.kept(run, "dir/a")).unwrap(), "one");
    assert_eq!(fs::read_dir(world.temp.path().join("elsewhere")).unwrap().count(), 0, "nothing is put where a link leads");
}

/// What is kept takes nobody's place there, either: the longest of names is cut for a number.
#[test]
fn what_is_kept_replaces_nothing() {
    let name = "n".repeat(255);
    let path = format!("dir/{name}");
    let world = World::new(&[(&path, "one")]);
    let confirm = Answers::by(|_, contents| {
        let run = world.store.runs(1).unwrap()[0].id;
        if world.path("dir").is_dir() {
            fs::remove_dir(world.path("dir")).unwrap();
            world.write("dir", "a file now");
        }
        world.write(&format!(".lastcopy/kept/{run}/{path}"), "kept before");
        world.write(&format!(".lastcopy/kept/{run}/dir/{}.1", &name[2..]), "kept before, too");
        Ok(vec![lastcopy_offload::Verdict::NotHeld("gone".into()); contents.len()])
    });
    let run = world.offload_with(&confirm).run;
    let kept = |name: &str| fs::read_to_string(world.kept(run, &format!("dir/{name}"))).unwrap();
    assert_eq!((kept(&name), kept(&format!("{}.1", &name[2..]))), ("kept before".to_owned(), "kept before, too".to_owned()));
    assert_eq!(kept(&format!("{}.2", &name[2..])), "one");
}
