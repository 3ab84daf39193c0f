//! What a walk comes by: files under any name, and everything that is none.

use crate::support::{World, by_kind, rel};
use lastcopy_index::{IndexError, IndexReport, LeaveOut};
use lastcopy_store::{FileStatus, RunStatus, Seen};
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::net::UnixListener;

#[test]
fn what_is_new_changed_gone_and_back_is_counted() {
    let world = World::new(&[("a", "one"), ("dir/b", "two"), ("dir/c", "three")]);
    let report = world.index();
    assert_eq!((report.files, report.added, report.bytes_hashed), (3, 3, 11));
    let run = world.newest_run();
    assert_eq!((run.status, run.summary.as_deref()), (RunStatus::Success, Some("summed up")));
    world.settle();
    let nothing = world.index();
    assert_eq!(nothing, IndexReport { files: 3, unchanged: 3, ..IndexReport::default() });
    assert!(!nothing.changed_anything());

    let since = world.since("a");
    world.write("a", "2ne");
    world.remove("dir/b");
    world.write("d", "four");
    let report = world.index();
    assert_eq!((report.files, report.added, report.changed, report.missing, report.unchanged), (3, 1, 1, 1, 1));
    assert!(report.changed_anything());
    assert_eq!(world.status("dir/b"), FileStatus::Missing);
    world.assert_holds("a", "2ne");
    assert!(world.since("a") > since);

    world.write("dir/b", "two");
    let report = world.index();
    assert_eq!((report.reappeared, report.added, report.missing), (1, 0, 0));
    assert_eq!(world.since("dir/b"), world.newest_run().id, "fresh, whatever it was before");
}

/// Each kind that is no file is named; none is opened, and no link is followed, wherever it leads.
#[test]
fn what_is_no_file_is_said_by_kind() {
    let world = World::new(&[("file", "one"), ("dir/file", "two")]);
    symlink("file", world.path("link to a file")).unwrap();
    symlink("dir", world.path("link to a directory")).unwrap();
    symlink("..", world.path("dir/loop")).unwrap();
    symlink("dangling", world.path("dangling")).unwrap();
    symlink("/", world.path("out of here")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(world.path("pipe")).status().unwrap().success());
    let _listener = UnixListener::bind(world.path("socket")).unwrap();
    let report = world.index();
    assert_eq!((report.files, report.added), (2, 2));
    assert_eq!(by_kind(&report.skipped), [("fifo", 1), ("socket", 1), ("symlink", 5)].into());
    let (_, _, examples) = report.skipped.kinds().find(|(kind, ..)| *kind == "symlink").unwrap();
    assert!(examples.contains(&rel("dir/loop")));
}

/// Paths are bytes.
#[test]
fn names_of_any_bytes_are_names() {
    let world = World::new(&[]);
    let long = [b'n'; 255];
    let names: [&[u8]; 8] =
        [b"not \xff\xfe UTF-8", b"new\nline", b"tab\tand \x1b[31mescape", b" ", b"-rf", b"back\\slash", b"*?[", &long];
    for (place, name) in names.into_iter().enumerate() {
        world.write(name, &format!("text {place}"));
        world.write([b"dir \xf0/", name].concat(), &format!("text {place} below"));
    }
    assert_eq!(world.index().added, 16);
    for (place, name) in names.into_iter().enumerate() {
        world.assert_holds(name, &format!("text {place}"));
        world.assert_holds([b"dir \xf0/", name].concat(), &format!("text {place} below"));
    }
    world.settle();
    assert_eq!(world.index().unchanged, 16);
}

/// A path far longer than the system takes in one call is reached directory by directory.
#[test]
fn a_path_that_is_longer_than_the_system_takes_is_walked() {
    let world = World::new(&[]);
    let mut dir = lastcopy_fs::Dir::open(&world.path("")).unwrap();
    let name = rel("d".repeat(200));
    for _ in 0..30 {
        dir = dir.create_dir_all(&name, 0o755, &mut |_| Ok(())).unwrap();
    }
    std::io::Write::write_all(&mut dir.create_new(b"deep", 0o644).unwrap(), b"one").unwrap();
    let result = world.try_index(&lastcopy_fs::NoProgress).unwrap();
    assert_eq!(result.files, 1);
    // Reading it opens the whole path at once, which the system refuses: said, not lost.
    assert_eq!((result.added, result.errors.count()), (0, 1));
}

/// Our own database may lie in the volume: it is left out by its identity, under any name, before anything opens it.
#[test]
fn our_own_files_are_left_out_by_inode() {
    let world = World::with_index_at("photos/state", &[("dir/a", "one")]);
    fs::hard_link(world.path("state/index.db"), world.path("dir/looks like a photo")).unwrap();
    let report = world.index();
    let names: Vec<_> = report.skipped.kinds().find(|(kind, ..)| *kind == "own").unwrap().2.to_vec();
    for own in ["state/index.db", "state/index.db-wal", "state/index.db.runs", "dir/looks like a photo"] {
        assert!(names.contains(&rel(own)), "{own} in {names:?}");
    }
    assert_eq!(world.present(), report.files);
    assert!(world.file("state/index.db").is_none() && world.file("dir/looks like a photo").is_none());
    assert_eq!(world.store.check().unwrap(), Vec::<String>::new());
    assert!(world.file(".lastcopy/volume.toml").is_none(), "nor is the volume's own directory");
}

/// Another volume and a destination are known by their markers, also by ones that cannot be read.
#[test]
fn other_volumes_and_destinations_are_left_out() {
    let world = World::new(&[("a", "one"), ("vol/inside", "two"), ("store/objects/x", "three"), ("odd/inside", "four")]);
    world.write("vol/.lastcopy/volume.toml", &fs::read_to_string(world.path(".lastcopy/volume.toml")).unwrap());
    world.write("store/.lastcopy-destination.json", "{}");
    world.write("odd/.lastcopy/volume.toml", "no marker");
    let report = world.index();
    assert_eq!((report.added, by_kind(&report.skipped)), (1, [("destination", 1), ("volume", 2)].into()));

    // By device and inode, wherever it is.
    let mut world = World::new(&[("a", "one"), ("elsewhere/store/x", "two"), ("secret", "three")]);
    for (path, kind) in [("elsewhere/store", "destination"), ("secret", "own")] {
        let stat = fs::metadata(world.path(path)).unwrap();
        world.options.walk.leave_out.push(LeaveOut { device: stat.dev(), inode: stat.ino(), kind });
    }
    let report = world.index();
    assert_eq!(report.added, 1);
    assert_eq!(by_kind(&report.skipped)["destination"], 1);
}

/// A directory that becomes a destination later takes its files out of care, and says so.
#[test]
fn what_is_left_out_from_now_on_is_counted() {
    let mut world = World::new(&[("a", "one"), ("cache/b", "two"), ("cache/deep/c", "three"), ("d.tmp", "four")]);
    world.index();
    world.options.walk.exclude = vec!["/cache/".into(), "*.tmp".into()];
    let report = world.index();
    assert_eq!((report.files, report.newly_excluded, report.missing), (1, 3, 0));
    assert_eq!(by_kind(&report.skipped), [("excluded", 2)].into());
    for path in ["cache/b", "cache/deep/c", "d.tmp"] {
        assert_eq!(world.status(path), FileStatus::Missing);
    }
    world.options.walk.exclude.clear();
    assert_eq!(world.index().reappeared, 3);

    world.write("cache/.lastcopyignore", "deep/\n");
    let report = world.index();
    assert_eq!((report.added, report.newly_excluded), (1, 1), "the ignore file is a file");
    world.options.walk.exclude = vec!["a{b".into()];
    assert!(matches!(world.try_index(&lastcopy_fs::NoProgress), Err(IndexError::Pattern { .. })));
    assert_eq!(world.newest_run().status, RunStatus::Failed);
}

/// What an ignore file leaves out may be secret. If it cannot be read, nothing of its directory is believed to be like other files.
#[test]
fn without_its_ignore_file_nothing_is_taken_in() {
    let world = World::new(&[("a", "one"), ("deep/.lastcopyignore", "secret/\n"), ("deep/b", "two"), ("deep/secret/c", "three")]);
    assert_eq!(world.index().added, 3);
    world.remove("deep/.lastcopyignore");
    world.write("deep/.lastcopyignore/d", "a directory cannot be read as a file");
    let report = world.index();
    assert_eq!((report.added, report.missing, report.errors.count()), (0, 0, 1));
    assert_eq!(world.status("deep/b"), FileStatus::Present);
}

/// kopia's repositories have no marker of ours: somebody else's in this tree was offloaded like files.
#[test]
fn somebodys_repository_of_kopias_is_left_out() {
    let world = World::new(&[("a", "one"), ("vault/kopia.repository.f", "{}"), ("vault/p/123/456.f", "a pack")]);
    let report = world.index();
    assert_eq!((report.added, by_kind(&report.skipped)["destination"]), (1, 1));
}

/// Every name of a file is a file.
#[test]
fn hard_links_are_files_each() {
    let world = World::new(&[("a", "one")]);
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    assert_eq!(world.index().added, 2);
    assert_eq!(world.file("a").unwrap().content_id, world.file("b").unwrap().content_id);
}

/// A directory that became a link, a file, or nothing: what was below it is gone, and nothing is followed.
#[test]
fn what_was_below_a_directory_that_is_none_any_more_is_gone() {
    let world = World::new(&[("link/a", "one"), ("file/b", "two"), ("gone/deep/c", "three"), ("d", "four")]);
    world.index();
    fs::rename(world.path("link"), world.temp.path().join("moved")).unwrap();
    symlink(world.temp.path().join("moved"), world.path("link")).unwrap();
    fs::remove_dir_all(world.path("file")).unwrap();
    world.write("file", "now a file");
    fs::remove_dir_all(world.path("gone")).unwrap();
    let report = world.index();
    assert_eq!((report.missing, report.added, by_kind(&report.skipped)), (3, 1, [("symlink", 1)].into()));
    for path in ["link/a", "file/b", "gone/deep/c"] {
        assert_eq!(world.status(path), FileStatus::Missing, "{path}");
    }
    // And a file that became a directory.
    world.remove("d");
    world.write("d/inside", "five");
    let report = world.index();
    assert_eq!((report.missing, report.added), (1, 1));
}

/// A change right after a look can leave the same times: a file that is as young as the look at it is read again.
#[test]
fn what_is_as_young_as_the_look_is_racy() {
    const STEP: i64 = 10;
    const LOOKED: i64 = 1000;
    let cases = [
        ("old", LOOKED - 11, LOOKED - 11, false),
        ("changed one step ago", LOOKED - 11, LOOKED - 10, true),
        ("modified one step ago", LOOKED - 10, LOOKED - 11, true),
        ("just now", LOOKED, LOOKED, true),
        ("after the look", LOOKED + 10, LOOKED - 11, true),
        ("far in the future, set by hand", LOOKED + 11, LOOKED - 11, false),
        ("in the future, and just changed", LOOKED + 11, LOOKED, true),
    ];
    let world = World::new(&[("a", "one")]);
    let looked_at = world.volume().root().stat(&rel("a")).unwrap().unwrap();
    for (name, mtime_ns, ctime_ns, racy) in cases {
        let stat = lastcopy_fs::FileStat { mtime_ns, ctime_ns, ..looked_at };
        let seen = Seen::from_stat(&stat, LOOKED, STEP);
        assert_eq!(seen.racy, racy, "{name}");
        assert_eq!(seen.is_unchanged(&stat), !racy, "{name}");
        assert!(seen.looks_like(&stat));
    }
    // A file system that stamps whole seconds looks like one that does not.
    const SECOND: i64 = 1_000_000_000;
    for (ctime_ns, looked, racy) in [
        (5 * SECOND, 5 * SECOND + 500_000_000, true),
        (5 * SECOND, 6 * SECOND + 1, false),
        (5 * SECOND + 1, 5 * SECOND + 500_000_000, false),
    ] {
        let stat = lastcopy_fs::FileStat { mtime_ns: ctime_ns, ctime_ns, ..looked_at };
        assert_eq!(Seen::from_stat(&stat, looked, STEP).racy, racy, "{ctime_ns} {looked}");
    }
    // Anything else that differs is a change.
    let stat = lastcopy_fs::FileStat { mtime_ns: 1, ctime_ns: 1, ..looked_at };
    let seen = Seen::from_stat(&stat, LOOKED, STEP);
    for changed in [
        lastcopy_fs::FileStat { size: stat.size + 1, ..stat },
        lastcopy_fs::FileStat { mtime_ns: 2, ..stat },
        lastcopy_fs::FileStat { ctime_ns: 2, ..stat },
        lastcopy_fs::FileStat { inode: stat.inode + 1, ..stat },
    ] {
        assert!(!seen.is_unchanged(&changed));
    }
}

/// Moved aside by an offload, neither present nor missing: an index run leaves its row alone.
#[test]
fn what_lies_in_quarantine_is_left_alone() {
    let world = World::new(&[("a", "one"), ("b", "two")]);
    world.index();
    let cas = world.store.register_destination("vault", lastcopy_store::DestinationKind::Cas).unwrap();
    let policy = lastcopy_store::Policy {
        grace_ms: 1,
        ..lastcopy_store::Policy::requiring(vec![cas.id], 1, lastcopy_store::Confirm::Offline)
    };
    let volume = world.store.open_volume("photos", &world.path(""), Some(policy)).unwrap();
    let run = world.store.begin_offload(&volume).unwrap();
    let leaving = [lastcopy_store::Leaving { file: world.file("a").unwrap().id, device: 1, inode: 1 }];
    run.quarantine(&leaving, &[cas.id], &|_, _| Some("[]".into())).unwrap();
    world.write(format!(".lastcopy/offload/{}/a", run.id()), "one");
    world.remove("a");
    run.finish(&lastcopy_store::Outcome::Success, None).unwrap();
    let report = world.index();
    assert_eq!((report.missing, report.added), (0, 0));
    assert_eq!(world.status("a"), FileStatus::Quarantined);
}
