//! The removal of what passes, and everything that stops it without anybody having touched the file.

use crate::support::{Answers, Circumstances, World, everything, rel, tree};
use lastcopy_fs::Cancel;
use lastcopy_offload::{Counts, FileOutcome, OffloadError, PlanOptions, Verdict};
use lastcopy_store::{BeginError, Confirm, FileStatus, Selection, StoreError};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::MetadataExt;

#[test]
fn what_passes_is_deleted_and_nothing_else() {
    let world = World::new(&[("a", "one"), ("deep/er/b", "two"), ("deep/c", "three")]);
    world.write("new", "nobody has indexed this");
    let done = world.offload();
    assert_eq!(done.counts(), Counts { selected: 3, offloaded: 3, bytes_freed: 11, ..Counts::default() });
    for path in ["a", "deep/er/b", "deep/c"] {
        assert_eq!(done.of(path), (FileOutcome::Offloaded, String::new()));
        assert_eq!(world.status(path), FileStatus::Offloaded);
        assert!(!world.path(path).exists());
    }
    assert_eq!(fs::read_to_string(world.path("new")).unwrap(), "nobody has indexed this");
    assert!(world.path("deep/er").is_dir(), "directories are a person's");
    world.assert_nothing_aside();
    assert_eq!(world.plan().files, 0, "there is nothing left to offload");
}

/// Every destination that counts is asked, after the file is aside and before it is gone.
#[test]
fn destinations_are_asked_while_the_file_is_aside() {
    let world = World::new(&[("a", "one")]);
    let lay_aside = Cell::new(0);
    let run = Cell::new(0);
    let confirm = Answers::by(|_, contents| {
        let newest = world.store.runs(1).unwrap()[0].id;
        run.set(newest.get());
        let aside = fs::read_to_string(world.aside(newest, "a")).is_ok_and(|text| text == "one");
        lay_aside.set(lay_aside.get() + i32::from(aside && !world.path("a").exists()));
        Ok(vec![Verdict::Held; contents.len()])
    });
    let done = world.offload_with(&confirm);
    assert_eq!((done.only().0, done.run.get()), (FileOutcome::Offloaded, run.get()));
    assert_eq!(lay_aside.get(), 2);
    let expected: Vec<_> = world.destinations.iter().map(|record| (record.id, Confirm::Quick)).collect();
    assert_eq!(*confirm.asked.borrow(), expected);
}

/// Under `offline`, evidence alone decides, and nobody is asked.
#[test]
fn offline_asks_nobody() {
    let world = World::new(&[("a", "one")]);
    let confirm = Answers::by(|_, _| panic!("somebody was asked"));
    let done = world.offload_under(&confirm, &Circumstances { depth: Some(Confirm::Offline), ..Circumstances::default() });
    assert_eq!(done.only().0, FileOutcome::Offloaded);
}

/// Any answer but that it is held puts the file back: at any one of the destinations.
#[test]
fn an_answer_that_is_not_held_puts_the_file_back() {
    for asked in 0..2 {
        for (verdicts, expected) in [
            (vec![Verdict::Unreachable("no route".into())], "unreachable"),
            (vec![Verdict::NotHeld("not there".into())], "not-held"),
            // Whoever answers about fewer files than he was asked about has said nothing of the others.
            (Vec::new(), "unreachable"),
        ] {
            let world = World::new(&[("a", "one")]);
            let before = (tree(&world.root()), world.record("a").present_since);
            let who = world.destinations[asked].id;
            let confirm = Answers::by(|id, _| Ok(if id == who { verdicts.clone() } else { vec![Verdict::Held] }));
            let done = world.offload_with(&confirm);
            assert_eq!(done.only(), (FileOutcome::Blocked, expected.to_owned()));
            assert_eq!((tree(&world.root()), world.record("a").present_since), before);
            assert_eq!(world.status("a"), FileStatus::Present);
            world.assert_nothing_aside();
        }
    }
}

/// Of several files, the one that is not held goes back, and the others go.
#[test]
fn each_file_is_answered_for_by_itself() {
    let world = World::new(&[("a", "one"), ("b", "two"), ("c", "three")]);
    let missing = lastcopy_fs::hash_bytes(b"two");
    let confirm = Answers::by(|_, contents| {
        let verdict = |content| if content == missing { Verdict::NotHeld("gone".into()) } else { Verdict::Held };
        Ok(contents.iter().map(|(_, content)| verdict(*content)).collect())
    });
    let done = world.offload_with(&confirm);
    assert_eq!(done.counts(), Counts { selected: 3, offloaded: 2, blocked: 1, bytes_freed: 8, ..Counts::default() });
    assert_eq!(done.of("b").0, FileOutcome::Blocked);
    assert_eq!(fs::read_to_string(world.path("b")).unwrap(), "two");
    world.assert_nothing_aside();
}

/// A destination that is this very file by another way (a share, a bind mount) no longer has it once the path is empty.
#[test]
fn a_destination_that_is_the_file_itself_does_not_vouch_for_it() {
    let world = World::new(&[("a", "one")]);
    let path = world.path("a");
    let confirm = Answers::by(|_, _| {
        Ok(vec![if fs::read_to_string(&path).is_ok_and(|text| text == "one") {
            Verdict::Held
        } else {
            Verdict::NotHeld("there is no such file".into())
        }])
    });
    assert_eq!(world.offload_with(&confirm).only().0, FileOutcome::Blocked);
    assert_eq!(fs::read_to_string(&path).unwrap(), "one");
}

/// An error while asking ends the batch with everything back where it was.
#[test]
fn an_error_while_asking_puts_everything_back() {
    let world = World::new(&[("a", "one"), ("deep/b", "two")]);
    let before = tree(&world.root());
    let confirm = Answers::by(|_, _| Err(OffloadError::Store(StoreError::Locked)));
    let done = world.offload_with(&confirm);
    assert!(matches!(done.result, Err(OffloadError::Store(StoreError::Locked))));
    assert_eq!(tree(&world.root()), before);
    assert_eq!([world.status("a"), world.status("deep/b")], [FileStatus::Present; 2]);
    world.assert_nothing_aside();
}

/// What was decided when it was planned is decided again when it goes: evidence that was lost in between stops it.
#[test]
fn evidence_that_is_gone_since_the_plan_stops_a_file() {
    let world = World::new(&[("a", "one")]);
    let plan = world.plan();
    assert_eq!(plan.files, 1);
    let vault = &world.destinations[0];
    let run = world.store.begin_evidence_change(Some(vault.id), None).unwrap();
    run.reset(vault.id, "the disk was dropped", false).unwrap();
    drop(run);
    let confirm = Answers::holding();
    let done = world.apply(&plan, &confirm, &Circumstances::default());
    assert_eq!(done.only(), (FileOutcome::Blocked, "no-evidence, unverified".to_owned()));
    assert_eq!(*confirm.asked.borrow(), [], "it is stopped before it is moved, and nobody is asked");
    assert!(world.path("a").exists());
    world.assert_nothing_aside();
}

/// And once more before it is deleted: evidence that grew too old while the destinations were asked stops it, too.
#[test]
fn evidence_that_grows_too_old_while_asking_stops_a_file() {
    let world = World::new(&[("a", "one")]);
    world.pass(world.policy.max_evidence_age_ms);
    let confirm = Answers::holding_while(|| world.pass(1));
    assert_eq!(world.offload_with(&confirm).only(), (FileOutcome::Blocked, "stale, stale".to_owned()));
    assert_eq!((world.path("a").exists(), world.status("a")), (true, FileStatus::Present));
    world.assert_nothing_aside();
}

/// A run that was closed meanwhile deletes nothing, and what it had moved is put back by the next one.
#[test]
fn a_run_that_was_closed_deletes_nothing() {
    let world = World::new(&[("a", "one")]);
    let plan = world.plan();
    let run = world.begin();
    let confirm = Answers::holding_while(|| drop(world.store.abort_run(run.id()).unwrap()));
    let result = world.offloading(&confirm, &Circumstances::default(), |offloading| offloading.apply(&run, &plan, &mut |_| {}));
    assert!(matches!(result, Err(OffloadError::Store(StoreError::RunEnded { .. }))), "{result:?}");
    // It was left aside once, out of a person's sight until the next run on the volume.
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "one", "at home again, although the run can record nothing");
    let index = world.begin_index();
    let settled = lastcopy_offload::settle(&index, &world.volume()).unwrap();
    assert_eq!(settled.put_back, [rel("a")], "the index learns of it");
    drop(index);
    world.assert_nothing_aside();
}

/// A run that was closed after its deletion had begun went on deleting: a stopped process that was woken after `runs abort` took the last
/// copies of files whose destination had been given away meanwhile.
#[test]
fn a_run_that_was_closed_between_two_deletions_deletes_no_more() {
    let world = World::new(&[("a", "one"), ("b", "two")]);
    let plan = world.plan();
    let run = world.begin();
    let refused = lastcopy_fs::hash_bytes(b"one");
    let verdict = |content| if content == refused { Verdict::NotHeld("gone".into()) } else { Verdict::Held };
    let confirm = Answers::by(|_, contents| Ok(contents.iter().map(|(_, content)| verdict(*content)).collect()));
    let result = world.offloading(&confirm, &Circumstances::default(), |offloading| {
        // The first file is refused, and told of, when the deletion of the second one has begun.
        offloading.apply(&run, &plan, &mut |_| drop(world.store.abort_run(run.id()).unwrap()))
    });
    assert!(matches!(result, Err(OffloadError::Store(StoreError::RunEnded { .. }))), "{result:?}");
    for (path, bytes) in [("a", "one"), ("b", "two")] {
        assert_eq!(fs::read_to_string(world.path(path)).unwrap(), bytes, "{path}");
    }
    let index = world.begin_index();
    assert_eq!(lastcopy_offload::settle(&index, &world.volume()).unwrap().put_back, [rel("b")], "the next run learns of it");
    drop(index);
    world.assert_nothing_aside();
}

/// A dry run says what the real one does, and changes nothing.
#[test]
fn a_rehearsal_says_what_would_be_done() {
    let world = World::new(&[("a", "one"), ("b", "two"), ("c", "three")]);
    world.write("b", "2wo");
    let missing = lastcopy_fs::hash_bytes(b"three");
    let verdicts = |contents: &[(_, lastcopy_fs::Content)]| {
        let verdict = |content| if content == missing { Verdict::NotHeld("gone".into()) } else { Verdict::Held };
        contents.iter().map(|(_, content)| verdict(*content)).collect::<Vec<_>>()
    };
    let before = (tree(&world.root()), world.store.runs(100).unwrap());
    let plan = world.plan();
    let mut said = Vec::new();
    let rehearsed = world
        .offloading(&Answers::by(|_, contents| Ok(verdicts(contents))), &Circumstances::default(), |offloading| {
            offloading.rehearse(&world.store, &plan, &mut |report| said.push((report.path, report.outcome, report.refusals)))
        })
        .unwrap();
    assert_eq!((tree(&world.root()), world.store.runs(100).unwrap()), before);
    assert!(!world.path(".lastcopy/offload").exists());

    let done = world.apply(&plan, &Answers::by(|_, contents| Ok(verdicts(contents))), &Circumstances::default());
    assert_eq!(done.counts(), rehearsed);
    let mut did: Vec<_> = done.reports.into_iter().map(|report| (report.path, report.outcome, report.refusals)).collect();
    let would = |outcome| if outcome == FileOutcome::Offloaded { FileOutcome::WouldOffload } else { outcome };
    did.iter_mut().for_each(|(_, outcome, _)| *outcome = would(*outcome));
    let by_path = |left: &(lastcopy_fs::RelPath, _, _), right: &(lastcopy_fs::RelPath, _, _)| left.0.cmp(&right.0);
    said.sort_by(by_path);
    did.sort_by(by_path);
    assert_eq!(said, did);
}

/// The bytes of a file with several names are freed with the last of them.
#[test]
fn only_the_last_name_frees_bytes() {
    let world = World::new(&[("a", "one")]);
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    fs::hard_link(world.path("a"), world.temp.path().join("outside")).unwrap();
    world.index();
    world.push();
    let done = world.offload();
    assert_eq!(done.counts(), Counts { selected: 2, offloaded: 2, bytes_freed: 0, ..Counts::default() });
    assert_eq!(fs::read_to_string(world.temp.path().join("outside")).unwrap(), "one");

    let world = World::new(&[("a", "one")]);
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    world.index();
    world.push();
    assert_eq!(world.offload().counts().bytes_freed, 3);
}

/// What this node needs to reach its destinations stays, under whatever name it is found.
#[test]
fn what_this_node_needs_stays() {
    let world = World::new(&[("key", "secret")]);
    let stat = fs::metadata(world.path("key")).unwrap();
    let circumstances = Circumstances { needed: [(stat.dev(), stat.ino())].into(), ..Circumstances::default() };
    let done = world.offload_under(&Answers::holding(), &circumstances);
    assert_eq!(done.only(), (FileOutcome::Blocked, "needed".to_owned()));
    assert!(world.path("key").exists());
}

/// It may be the index: whoever closes a file gives up the locks that the process has on it.
#[test]
fn what_this_node_needs_is_not_even_opened() {
    let world = World::new(&[("index.db", "pages")]);
    let file = fs::File::open(world.path("index.db")).unwrap();
    let stat = file.metadata().unwrap();
    rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockShared).unwrap();
    let is_locked = || {
        let of_file = format!(":{} ", stat.ino());
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|lock| lock.contains("POSIX") && lock.contains(&of_file))
    };
    assert!(is_locked());
    let circumstances = Circumstances { needed: [(stat.dev(), stat.ino())].into(), ..Circumstances::default() };
    let done = world.offload_under(&Answers::holding(), &circumstances);
    assert_eq!(done.only(), (FileOutcome::Blocked, "needed".to_owned()));
    assert!(is_locked(), "it was opened, and closed");
}

/// Another node, or a destination, may have taken a tree over since it was indexed. What lies in it is theirs.
#[test]
fn what_became_another_volume_or_a_destination_stays() {
    for (marker, what) in
        [(".lastcopy/volume.toml", "volume"), (".lastcopy-destination.json", "destination"), ("kopia.repository.f", "destination")]
    {
        let world = World::new(&[("own", "ours"), ("theirs/deep/file", "bytes")]);
        let marker = world.path("theirs").join(marker);
        fs::create_dir_all(marker.parent().unwrap()).unwrap();
        fs::write(&marker, "").unwrap();
        let plan = world.plan();
        let rehearsed = world.offloading(&Answers::holding(), &Circumstances::default(), |offloading| {
            offloading.rehearse(&world.store, &plan, &mut |_| {})
        });
        let done = world.offload();
        assert_eq!(rehearsed.unwrap(), done.counts(), "{what}");
        let (outcome, why) = done.of("theirs/deep/file");
        assert!(outcome == FileOutcome::Drift && why.contains(what), "{outcome:?}: {why}");
        assert!(world.path("theirs/deep/file").exists() && !world.path("own").exists());
    }
}

/// Stopped before anything was moved, nothing is.
#[test]
fn a_cancelled_offload_moves_nothing() {
    let world = World::new(&[("a", "one"), ("b", "two")]);
    let before = tree(&world.root());
    let cancel = Cancel::new();
    cancel.cancel();
    let early = world.offload_under(&Answers::holding(), &Circumstances { cancel, ..Circumstances::default() });
    assert!(matches!(early.result, Err(OffloadError::Cancelled(_))));
    assert_eq!(tree(&world.root()), before);

    let cancel = Cancel::new();
    let raised = cancel.clone();
    let circumstances = Circumstances { cancel, ..Circumstances::when_hashed(3, move || raised.cancel()) };
    let midway = world.offload_under(&Answers::holding(), &circumstances);
    assert!(matches!(midway.result, Err(OffloadError::Cancelled(_))));
    assert_eq!(tree(&world.root()), before);
    world.assert_nothing_aside();
}

/// `--free` stops once enough is freed; the oldest, or the largest enough, are chosen by the selection.
#[test]
fn enough_is_enough() {
    let world = World::new(&[("a", "one"), ("b", "two"), ("c", "three")]);
    let (plan, _) = world.plan_with(&PlanOptions { selection: everything(), free: Some(4) });
    assert_eq!((plan.files, plan.bytes), (2, 6));
    let done = world.apply(&plan, &Answers::holding(), &Circumstances::default());
    assert_eq!((done.counts().offloaded, done.counts().bytes_freed), (2, 6));
    assert!(world.path("c").exists());

    let world = World::new(&[("a", "one"), ("deep/b", "three"), ("deep/c", "four")]);
    let larger = Selection { at_least_bytes: Some(4), below: vec![rel("deep")], ..Selection::default() };
    let (plan, _) = world.plan_with(&PlanOptions { selection: larger, free: None });
    assert_eq!((plan.selected, plan.files), (2, 2));
    let older = Selection { modified_before_ns: Some(1), ..everything() };
    assert_eq!(world.plan_with(&PlanOptions { selection: older, free: None }).0.selected, 0);
}

/// A plan counts the bytes of each name of a file once the last one goes; where that frees more than it counted on, fewer files go.
#[test]
fn what_links_free_is_counted_when_it_is_freed() {
    let files: Vec<_> = (0..300).map(|number| (format!("file {number:03}"), "1")).collect();
    let world = World::new(&files.iter().map(|(path, text)| (path.as_str(), *text)).collect::<Vec<_>>());
    world.write("a", &"two names ".repeat(40));
    fs::hard_link(world.path("a"), world.path("b")).unwrap();
    world.index();
    world.push();
    let (plan, _) = world.plan_with(&PlanOptions { selection: everything(), free: Some(300) });
    assert_eq!((plan.selected, plan.files, plan.bytes, plan.blocked), (302, 302, 300, 0));
    let done = world.apply(&plan, &Answers::holding(), &Circumstances::default());
    // One batch was enough.
    assert_eq!((done.counts().offloaded, done.counts().bytes_freed), (256, 400 + 254));
}

/// What a plan says is what is asked about: files that pass, their bytes, and those that the gate stops.
#[test]
fn a_plan_counts_what_passes_and_what_does_not() {
    let world = World::new(&[("a", "one"), ("b", "three")]);
    world.write("c", "not pushed yet");
    world.index();
    let (plan, stopped) = world.plan_with(&PlanOptions { selection: everything(), free: None });
    assert_eq!((plan.selected, plan.files, plan.bytes, plan.blocked), (3, 2, 8, 1));
    assert_eq!(stopped.iter().map(|report| report.path.to_string()).collect::<Vec<_>>(), ["c"]);
    assert_eq!(stopped[0].outcome, FileOutcome::Blocked);
    let done = world.apply(&plan, &Answers::holding(), &Circumstances::default());
    assert_eq!(done.counts(), Counts { selected: 3, offloaded: 2, blocked: 1, bytes_freed: 8, ..Counts::default() });
}

/// The exit status is made of sums: an error in what an earlier offload left must not vanish in them.
#[test]
fn counts_add_up_field_by_field() {
    let one = Counts { selected: 1, offloaded: 2, quarantined: 3, blocked: 4, drift: 5, errors: 6, bytes_freed: 7 };
    let other = Counts { selected: 10, offloaded: 20, quarantined: 30, blocked: 40, drift: 50, errors: 60, bytes_freed: 70 };
    let sum = Counts { selected: 11, offloaded: 22, quarantined: 33, blocked: 44, drift: 55, errors: 66, bytes_freed: 77 };
    assert_eq!(one + other, sum);
}

/// Programs read these names.
#[test]
fn outcomes_have_the_names_of_the_contract() {
    let names = [
        (FileOutcome::Offloaded, "offloaded"),
        (FileOutcome::Quarantined, "quarantined"),
        (FileOutcome::WouldOffload, "would-offload"),
        (FileOutcome::Blocked, "blocked"),
        (FileOutcome::Drift, "drift"),
        (FileOutcome::Error, "error"),
    ];
    assert!(names.iter().all(|(outcome, name)| outcome.name() == *name));
}

/// More files than fit a batch are all decided, moved, asked about and deleted, batch by batch.
#[test]
fn many_files_go_in_batches() {
    let files: Vec<_> = (0..700).map(|number| (format!("dir {}/file {number}", number % 7), format!("text {number}"))).collect();
    let world = World::new(&files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect::<Vec<_>>());
    let confirm = Answers::holding();
    let done = world.offload_with(&confirm);
    assert_eq!(done.counts().offloaded, 700);
    assert_eq!(confirm.asked.borrow().len(), 2 * 3, "each destination once for each batch");
    world.assert_nothing_aside();
}

/// Without a policy, or under a weaker one than was accepted, no offload even begins.
#[test]
fn an_offload_begins_under_an_accepted_policy_only() {
    let mut world = World::new(&[("a", "one")]);
    world.offload();
    world.policy.require.pop();
    assert!(matches!(world.store.begin_offload(&world.volume()), Err(BeginError::PolicyWeaker { .. })));
}
