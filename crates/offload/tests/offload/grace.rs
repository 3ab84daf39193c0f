//! Grace: what was offloaded lies aside until it is over, and until then everything can be put back.

use crate::support::{Answers, Circumstances, World, rel, tree};
use lastcopy_fs::RelPath;
use lastcopy_offload::{Counts, FileOutcome, SettleReport, Verdict, released_by_grace, undo};
use lastcopy_store::{FileStatus, Outcome, RunId, Timestamp};
use std::fs;

const GRACE: i64 = 1000;

fn quarantined() -> (World, RunId) {
    let world = World::new(&[("a", "one"), ("dir/b", "two")]).with_grace(GRACE);
    let nobody = Answers::by(|_, _| panic!("nobody is asked before the grace is over"));
    let done = world.offload_with(&nobody);
    assert_eq!(done.counts(), Counts { selected: 2, quarantined: 2, ..Counts::default() });
    (world, done.run)
}

fn undo_all(world: &World, run: RunId) -> SettleReport {
    let restore = world.begin_restore();
    let report = undo(&restore, &world.volume(), run).unwrap();
    restore.finish(&Outcome::Success, None).unwrap();
    report
}

#[test]
fn until_the_grace_is_over_everything_lies_aside() {
    let (world, run) = quarantined();
    assert_eq!(fs::read_to_string(world.aside(run, "dir/b")).unwrap(), "two");
    assert_eq!([world.status("a"), world.status("dir/b")], [FileStatus::Quarantined; 2]);
    let ends = world.store.now().0 + GRACE;
    assert_eq!(world.store.held(world.volume().id()).unwrap(), (2, Some(Timestamp(ends))));
    world.pass(GRACE - 1);
    assert_eq!(released_by_grace(&world.store, &world.volume()).unwrap(), []);
    assert_eq!(world.finish_held(&Answers::holding()).counts(), Counts::default());
    world.pass(1);
    assert_eq!(released_by_grace(&world.store, &world.volume()).unwrap().len(), 2);
    let confirm = Answers::holding();
    let done = world.finish_held(&confirm);
    assert_eq!(done.counts(), Counts { selected: 2, offloaded: 2, bytes_freed: 6, ..Counts::default() });
    assert_eq!(confirm.asked.borrow().len(), 2);
    assert_eq!([world.status("a"), world.status("dir/b")], [FileStatus::Offloaded; 2]);
    assert!(!world.aside(run, "a").exists());
    assert_eq!(world.store.held(world.volume().id()).unwrap(), (0, None));
    world.assert_nothing_aside();
}

/// A dry run says what would wait, and what would go now that the grace is over, and changes nothing.
#[test]
fn a_rehearsal_knows_of_the_grace() {
    let world = World::new(&[("a", "one"), ("dir/b", "two")]).with_grace(GRACE);
    let plan = world.plan();
    let rehearsed = world.offloading(&Answers::holding(), &Circumstances::default(), |offloading| {
        offloading.rehearse(&world.store, &plan, &mut |report| assert_eq!(report.outcome, FileOutcome::WouldOffload))
    });
    assert_eq!(rehearsed.unwrap(), Counts { selected: 2, quarantined: 2, ..Counts::default() });

    let run = world.offload().run;
    world.pass(GRACE);
    fs::write(world.aside(run, "a"), "2ne").unwrap();
    let mut said = Vec::new();
    let rehearsed = world.offloading(&Answers::holding(), &Circumstances::default(), |offloading| {
        offloading.rehearse_held(&world.store, &mut |report| said.push((report.path, report.outcome)))
    });
    let rehearsed = rehearsed.unwrap();
    assert_eq!(rehearsed, Counts { selected: 2, offloaded: 1, drift: 1, bytes_freed: 3, ..Counts::default() });
    said.sort_by(|left: &(RelPath, _), right| left.0.cmp(&right.0));
    assert_eq!(said, [(rel("a"), FileOutcome::Drift), (rel("dir/b"), FileOutcome::WouldOffload)]);
    assert_eq!(fs::read_to_string(world.aside(run, "dir/b")).unwrap(), "two");
    assert_eq!([world.status("a"), world.status("dir/b")], [FileStatus::Quarantined; 2]);
    assert_eq!(world.finish_held(&Answers::holding()).counts(), rehearsed);
}

#[test]
fn within_the_grace_everything_can_be_put_back() {
    let world = World::new(&[("a", "one"), ("dir/b", "two")]).with_grace(GRACE);
    let before = tree(&world.root());
    let run = world.offload().run;
    assert_eq!(undo_all(&world, RunId::from_user(run.get() + 1)), SettleReport::default(), "another run's");
    let report = undo_all(&world, run);
    assert_eq!(report.put_back, [rel("a"), rel("dir/b")]);
    assert_eq!(tree(&world.root()), before);
    assert!(world.record("a").present_since > run, "present since the undo: what was claimed before covers it no more");
    assert_eq!(undo_all(&world, run), SettleReport::default());
    world.assert_nothing_aside();
    world.pass(GRACE);
    assert_eq!(world.finish_held(&Answers::holding()).counts(), Counts::default());
}

/// The disk died on which it waited: the next run on the volume finds that out, so that a restore knows what to bring back. What still waits
/// goes on waiting.
#[test]
fn what_does_not_wait_any_more_is_missing() {
    let (world, run) = quarantined();
    fs::remove_file(world.aside(run, "a")).unwrap();
    let settling = world.store.begin_restore(Some(&world.volume())).unwrap();
    let report = lastcopy_offload::settle(&settling, &world.volume()).unwrap();
    settling.finish(&lastcopy_store::Outcome::Success, None).unwrap();
    assert_eq!((report.gone, report.put_back.len(), report.kept.len()), (vec![rel("a")], 0, 0));
    assert_eq!([world.status("a"), world.status("dir/b")], [FileStatus::Missing, FileStatus::Quarantined]);
    assert_eq!(fs::read_to_string(world.aside(run, "dir/b")).unwrap(), "two");
}

/// A name that was taken meanwhile is not taken back.
#[test]
fn an_undo_replaces_nothing() {
    let (world, run) = quarantined();
    world.write("a", "brand new");
    let report = undo_all(&world, run);
    assert_eq!((report.put_back, report.kept), (vec![rel("dir/b")], vec![rel("a")]));
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "brand new");
    assert_eq!(fs::read_to_string(world.kept(run, "a")).unwrap(), "one");
}

/// On the disk that came in place of the one that died, another file has its number: that is not the one that waited.
#[test]
fn another_file_of_its_number_is_not_it() {
    let (world, run) = quarantined();
    fs::rename(world.aside(run, "a"), world.path("a")).unwrap();
    world.write("a", "brand new");
    assert_eq!(undo_all(&world, run).gone, [rel("a")]);
    assert_eq!(world.status("a"), FileStatus::Missing);
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "brand new");
}

/// Somebody put it back by hand, or took it away: there is nothing to put back, and nothing is made up.
#[test]
fn an_undo_finds_what_people_did() {
    let (world, run) = quarantined();
    fs::rename(world.aside(run, "a"), world.path("a")).unwrap();
    fs::remove_file(world.aside(run, "dir/b")).unwrap();
    let report = undo_all(&world, run);
    assert_eq!((report.put_back, report.gone), (vec![rel("a")], vec![rel("dir/b")]));
    assert_eq!([world.status("a"), world.status("dir/b")], [FileStatus::Present, FileStatus::Missing]);
    world.assert_nothing_aside();
}

/// What changed while it lay aside is not what was proven: back it goes.
#[test]
fn what_changed_in_quarantine_goes_back() {
    let (world, run) = quarantined();
    fs::write(world.aside(run, "a"), "0ne").unwrap();
    // The same bytes and times, and yet another file: somebody put it there.
    let new = world.temp.path().join("new");
    fs::write(&new, "two").unwrap();
    let times = fs::metadata(world.aside(run, "dir/b")).unwrap().modified().unwrap();
    fs::File::options().write(true).open(&new).unwrap().set_modified(times).unwrap();
    fs::rename(&new, world.aside(run, "dir/b")).unwrap();
    world.pass(GRACE);
    let done = world.finish_held(&Answers::holding());
    assert_eq!([done.of("a").0, done.of("dir/b").0], [FileOutcome::Drift; 2]);
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "0ne");
    assert_eq!(fs::read_to_string(world.path("dir/b")).unwrap(), "two");
    world.assert_nothing_aside();
}

/// An object lost during the grace is noticed, because the destinations are asked when it is over.
#[test]
fn what_was_lost_during_the_grace_goes_back() {
    let (world, _) = quarantined();
    world.pass(GRACE);
    let lost = lastcopy_fs::hash_bytes(b"two");
    let confirm = Answers::by(|_, contents| {
        let verdict = |content| if content == lost { Verdict::NotHeld("gone".into()) } else { Verdict::Held };
        Ok(contents.iter().map(|(_, content)| verdict(*content)).collect())
    });
    let done = world.finish_held(&confirm);
    assert_eq!([done.of("a").0, done.of("dir/b").0], [FileOutcome::Offloaded, FileOutcome::Blocked]);
    assert_eq!(fs::read_to_string(world.path("dir/b")).unwrap(), "two");
    assert_eq!(world.status("dir/b"), FileStatus::Present);
    world.assert_nothing_aside();
}

/// Evidence that grew too old while it lay aside does not open the gate at the end.
#[test]
fn evidence_that_grew_old_during_the_grace_stops_a_file() {
    let (mut world, _) = quarantined();
    world.policy.max_evidence_age_ms = GRACE - 1;
    world.pass(GRACE);
    let done = world.finish_held(&Answers::holding());
    assert_eq!(done.counts().blocked, 2);
    assert!(done.of("a").1.contains("stale"));
    assert_eq!(fs::read_to_string(world.path("a")).unwrap(), "one");
    world.assert_nothing_aside();
}
