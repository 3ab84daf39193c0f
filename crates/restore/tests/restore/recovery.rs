//! The index is lost, and a destination alone is enough.

use crate::support::{World, damage, open_index, rel};
use lastcopy_fs::{Cancel, Id128, NoProgress, Progress};
use lastcopy_index::IndexOptions;
use lastcopy_restore::{RecoverReport, Recovering, recover_receipts, recoverable};
use lastcopy_store::{
    DestinationKind, FileStatus, IdentityError, Incarnation, Location, Outcome, Recovered, RunStatus, Store, Volume, VolumeClaim,
};
use lastcopy_sync::SyncError;
use lastcopy_sync::conformance::{Liar, Lie};
use lastcopy_sync::segment::FoundHead;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

/// A node that was lost, and a store that it had pushed to twice.
fn lost() -> World {
    let world = World::holding(&[("here", "one"), ("dir/offloaded", "two"), ("changed", "three")], &["vault"]);
    world.offload(&[b"dir/offloaded"]);
    world.write("changed", "four");
    world.write("later", "five");
    world.index();
    world.push("vault");
    world
}

/// The files of the segments, oldest first.
fn segments(world: &World) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![world.temp.path().join("vault/volumes")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.to_string_lossy().ends_with(".jsonl.zst") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn epochs(heads: &[FoundHead]) -> Vec<Id128> {
    heads.iter().map(|head| head.place.epoch).collect()
}

/// A new index takes over the volume, in an empty tree.
fn begin_anew(world: &World) -> (Store, Volume, lastcopy_restore::Found) {
    begin_anew_in(world, "new state")
}

fn begin_anew_in(world: &World, state: &str) -> (Store, Volume, lastcopy_restore::Found) {
    let store = open_index(&world.temp.path().join(state));
    let record = store.register_destination("vault", DestinationKind::Cas).unwrap();
    lastcopy_sync::adopt(&store, &record, world.cas("vault").as_ref(), None, "the old disk died", &world.context()).unwrap();
    let mut found = world.recoverable("vault").unwrap().found;
    assert_eq!(found.len(), 1);
    let found = found.remove(0);
    let disk = world.temp.path().join(format!("disk of {state}"));
    fs::create_dir(&disk).unwrap();
    let claim = VolumeClaim { take_over: true, id: Some(found.head.place.volume) };
    let (volume, run) = store.add_volume("photos", &disk, claim).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    (store, volume, found)
}

/// What a destination says of an offloaded file.
fn said(path: &str, text: &str) -> Recovered {
    let (content, status) = (crate::support::content(text), FileStatus::Offloaded);
    Recovered { path: rel(path), content, mtime_ns: 0, mode: 0o644, status, yields: false, index_first: false }
}

/// Indexes a volume of another index.
fn index(world: &World, store: &Store, volume: &Volume) {
    let run = store.begin_index(volume).unwrap();
    lastcopy_index::index(run, &IndexOptions::default(), &world.cancel, &NoProgress, |_| String::new()).unwrap();
}

#[test]
fn every_path_is_known_again() {
    let world = lost();
    assert_eq!(segments(&world).len(), 2);
    let (store, volume, found) = begin_anew(&world);
    assert_eq!(volume.uuid(), world.volume().uuid());
    let run = store.begin_restore(Some(&volume)).unwrap();
    let id = run.id();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!((report.files, report.segments, report.damaged), (4, 2, Vec::<String>::new()));
    assert_eq!(store.run_record(id).unwrap().status, RunStatus::Success);
    for (path, text) in [("here", "one"), ("dir/offloaded", "two"), ("changed", "four"), ("later", "five")] {
        let file = store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
        assert_eq!((file.status, file.content), (FileStatus::Offloaded, crate::support::content(text)), "{path}");
        let old = world.file(path);
        assert_eq!((file.seen.mtime_ns, file.seen.mode), (old.seen.mtime_ns, old.seen.mode), "{path}");
    }
    // Once more, it learns nothing new.
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!(store.file_history(volume.id(), &rel("later")).unwrap().len(), 1);
}

/// What the destination lists is known to be there, unproven; but not what another one listed that came meanwhile, and only who gave the
/// segments is accepted.
#[test]
fn what_another_one_lists_is_not_known() {
    let world = lost();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    let recovered = [(&found, report)];
    let record = store.destination_record("vault").unwrap().unwrap();
    for (lie, stored) in [(Lie::ReplacedMidway, 0), (Lie::None, 5)] {
        let vault = Liar::new(world.cas("vault"));
        vault.lie(lie);
        let run = store.begin_evidence_change(Some(record.id), None).unwrap();
        let id = run.id();
        let known = recover_receipts(run, &record, &vault, &recovered, &world.context());
        assert_eq!(known.as_ref().is_ok_and(|known| *known == stored), lie == Lie::None, "{known:?}");
        let status = if lie == Lie::None { RunStatus::Success } else { RunStatus::Failed };
        assert_eq!((store.run_record(id).unwrap().status, vault.told() > 0), (status, lie != Lie::None));
        assert_eq!(store.count_receipts(record.id).unwrap(), (stored, 0, 0), "{lie}");
    }
    let met = Incarnation::new("who was there before");
    let adopted = lastcopy_sync::adopt(&store, &record, world.cas("vault").as_ref(), Some(&met), "recovered", &world.context());
    assert!(matches!(adopted, Err(SyncError::Identity(IdentityError::Changed { .. }))), "{adopted:?}");
    assert_eq!(store.destination_record("vault").unwrap().unwrap(), record, "nobody else is accepted");
}

/// A destination that goes away while it is read has lost nothing: the recovery fails, and the next one finds everything, also what comes
/// after it had been cut short.
#[test]
fn what_cannot_be_reached_is_not_damaged() {
    let world = lost();
    let (store, volume, found) = begin_anew(&world);
    let vault = Liar::new(world.cas("vault"));
    let met = world.record("vault").incarnation.unwrap();
    // The calls: places, a segment of each head, segments.
    let mut ended = 0;
    for call in 1.. {
        vault.lie(Lie::FailsFrom(call));
        let context = world.context();
        let all = recoverable(Recovering { destination: &vault, met: &met, context: &context });
        if vault.told() == 0 {
            assert_eq!(all.unwrap().found, std::slice::from_ref(&found));
            break;
        }
        assert!(all.is_err(), "{call}: {all:?}");
        ended = call;
    }
    assert!(ended >= 2, "{ended}");
    for call in 1.. {
        vault.lie(Lie::FailsFrom(call));
        let run = store.begin_restore(Some(&volume)).unwrap();
        let recovered = world.recover_from(run, &vault, "vault", &found);
        if vault.told() == 0 {
            let report = recovered.unwrap();
            assert_eq!((report.files, report.segments, report.damaged), (4, 2, Vec::<String>::new()));
            break;
        }
        assert!(recovered.is_err(), "{call}: {recovered:?}");
        ended += 1;
    }
    assert!(ended >= 4, "{ended}");
    assert_eq!(store.file_at(volume.id(), &rel("changed")).unwrap().unwrap().content, crate::support::content("four"));
}

/// Nor is what another one does not have that came into its place.
#[test]
fn what_another_one_cannot_give_is_not_damaged() {
    let world = lost();
    segments(&world).iter().for_each(|segment| fs::remove_file(segment).unwrap());
    let (vault, context) = (world.cas("vault"), world.context());
    let there = world.record("vault").incarnation.unwrap();
    let before = Incarnation::new("who was there before");
    let look = |met| recoverable(Recovering { destination: vault.as_ref(), met, context: &context });
    assert!(!look(&there).unwrap().damaged.is_empty());
    let refused = look(&before).unwrap_err().to_string();
    assert!(refused.contains("who was there before"), "{refused}");
}

/// Nor is what one call failed to give: it is asked for again, also where a damaged segment has those before it looked for. All that they told
/// was unknown then.
#[test]
fn what_is_given_at_the_second_call_is_not_damaged() {
    for newest_is_damaged in [false, true] {
        let world = lost();
        if newest_is_damaged {
            damage(&segments(&world)[1]);
        }
        let vault = Liar::new(world.cas("vault"));
        let met = world.record("vault").incarnation.unwrap();
        let looking = |_: u64| {
            let context = world.context();
            let found = recoverable(Recovering { destination: &vault, met: &met, context: &context });
            found.map(|found| format!("{found:?}")).map_err(drop)
        };
        let reading = |call: u64| {
            vault.lie(Lie::None);
            let (store, volume, found) = begin_anew_in(&world, &format!("state {call}"));
            vault.lie(Lie::FailsCall(call));
            let run = store.begin_restore(Some(&volume)).unwrap();
            let report = world.recover_from(run, &vault, "vault", &found);
            report.map(|report| format!("{} from {}, {:?}", report.files, report.segments, report.damaged)).map_err(drop)
        };
        for look in [&looking as &dyn Fn(u64) -> Result<String, ()>, &reading] {
            // No command makes so many calls.
            vault.lie(Lie::FailsCall(u64::MAX));
            let honest = look(u64::MAX).unwrap();
            let mut failed = 0;
            for call in 1.. {
                vault.lie(Lie::FailsCall(call));
                let told = look(call);
                if vault.told() == 0 {
                    break;
                }
                assert!(told.as_ref().map_or(true, |told| *told == honest), "call {call}: {told:?} instead of {honest}");
                failed += 1;
            }
            assert!(failed >= 2, "{failed}");
        }
    }
}

/// Which segments there are cannot be told at all: what a damaged one hides is said to be unknown.
#[test]
fn segments_that_cannot_be_listed_are_told() {
    let world = lost();
    damage(&segments(&world)[1]);
    let (store, volume, found) = begin_anew(&world);
    let place = segments(&world)[0].parent().unwrap().to_owned();
    let hidden = place.with_extension("hidden");
    fs::rename(&place, &hidden).unwrap();
    fs::write(&place, "no directory").unwrap();
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!(report.segments, 0);
    assert!(report.damaged.iter().any(|damage| damage.contains("cannot be told")), "{:?}", report.damaged);
}

/// What an index knows, an older word does not change: of a destination that is a push behind it learns only paths that it does not know. But
/// a recovery that was cut short goes on, with its own newer words.
#[test]
fn an_older_word_changes_nothing() {
    let world = lost();
    let older = world.temp.path().join("older");
    let newest = segments(&world).remove(1);
    let (store, volume, found) = begin_anew(&world);
    let mut behind = found.clone();
    behind.head.document.segment = found.header.previous.clone().unwrap();
    let status = |path: &str| store.file_at(volume.id(), &rel(path)).unwrap().map(|file| (file.content, file.status));
    let four = Some((crate::support::content("four"), FileStatus::Offloaded));
    // Cut short after the first segment, whose words are older: they do not stay.
    let run = store.begin_restore(Some(&volume)).unwrap();
    run.recovering(None, |recording| recording.say(&[said("changed", "three")]).map(drop)).unwrap();
    drop(run);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!(status("changed"), four);
    // Once it came to its end, what is behind adds nothing, and changes nothing.
    fs::rename(&newest, &older).unwrap();
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &behind).unwrap();
    assert_eq!((report.segments, report.files), (1, 0), "nothing is known again");
    assert_eq!(status("changed"), four);
    assert!(status("later").is_some());
}

/// It met damage, and is heard again once that is mended; but nobody who is behind has the last word over what it said.
#[test]
fn a_recovery_that_met_damage_still_counts() {
    let world = lost();
    let first = segments(&world).remove(0);
    let bytes = fs::read(&first).unwrap();
    let (store, volume, found) = begin_anew(&world);
    let mut behind = found.clone();
    behind.head.document.segment = found.header.previous.clone().unwrap();
    behind.head.document.run = lastcopy_sync::segment::read_header(File::open(&first).unwrap()).unwrap().run;
    let holds = |path: &str| store.file_at(volume.id(), &rel(path)).unwrap().map(|file| file.content);
    damage(&first);
    let run = store.begin_restore(Some(&volume)).unwrap();
    assert_eq!(world.recover_volume(run, "vault", &found).unwrap().damaged.len(), 1);
    assert_eq!((holds("changed"), holds("here")), (Some(crate::support::content("four")), None));
    fs::remove_file(&first).unwrap();
    fs::write(&first, bytes).unwrap();
    for head in [&behind, &found] {
        let run = store.begin_restore(Some(&volume)).unwrap();
        assert_eq!(world.recover_volume(run, "vault", head).unwrap().damaged.len(), 0);
        assert_eq!(holds("changed"), Some(crate::support::content("four")));
        assert_eq!(holds("here"), Some(crate::support::content("one")), "what was new came");
    }
}

/// The other way round: what is behind comes first, and the newest words have the last word all the same, also once files are here. One file on
/// the disk made the index the last word on every path, and old versions came back. What the index saw itself stays as it is.
#[test]
fn the_newest_word_counts_whichever_comes_first() {
    let world = lost();
    world.write("later", "six");
    world.index();
    world.push("vault");
    for indexed in [false, true] {
        let (store, volume, found) = begin_anew_in(&world, &format!("state {indexed}"));
        let mut behind = found.clone();
        let all = segments(&world);
        assert_eq!(all.len(), 3);
        let header = |place: usize| lastcopy_sync::segment::read_header(File::open(&all[place]).unwrap()).unwrap();
        behind.head.document.segment = header(1).previous.unwrap();
        behind.head.document.run = header(0).run;
        let run = store.begin_restore(Some(&volume)).unwrap();
        world.recover_volume(run, "vault", &behind).unwrap();
        let holds = |path: &str| store.file_at(volume.id(), &rel(path)).unwrap().map(|file| file.content);
        assert_eq!((holds("changed"), holds("later")), (Some(crate::support::content("three")), None));
        if indexed {
            fs::write(volume.path().join("here"), "edited").unwrap();
            index(&world, &store, &volume);
        }
        let run = store.begin_restore(Some(&volume)).unwrap();
        assert_eq!(world.recover_volume(run, "vault", &found).unwrap().files, 2, "of the others, it says what is known");
        let here = if indexed { "edited" } else { "one" };
        for (path, text) in [("changed", "four"), ("later", "six"), ("here", here)] {
            assert_eq!(holds(path), Some(crate::support::content(text)), "{path}, indexed: {indexed}");
        }
    }
}

/// An index that was never recovered has the last word on every path that it knows; but of one that is new to it, it takes the newest word,
/// not the oldest.
#[test]
fn of_a_path_that_is_new_the_newest_word_counts() {
    let world = lost();
    let (store, volume, found) = begin_anew(&world);
    fs::write(volume.path().join("here"), "edited").unwrap();
    index(&world, &store, &volume);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    for (path, text) in [("changed", "four"), ("here", "edited")] {
        assert_eq!(store.file_at(volume.id(), &rel(path)).unwrap().unwrap().content, crate::support::content(text), "{path}");
    }
}

/// Asks to stop as soon as something came to an end.
struct Stopping(Cancel);

impl Progress for Stopping {
    fn phase(&self, _: &'static str, _: u64, _: u64) {}
    fn note(&self, _: &str) {}
    fn advance(&self, _: u64, _: u64) {
        self.0.cancel();
    }
}

/// The oldest words come first, and were recorded as they came: who stopped a recovery in between was left with old versions, in an index that
/// had known newer ones, and a restore brought them back as if all were well.
#[test]
fn a_recovery_that_is_stopped_leaves_no_old_words() {
    let mut world = lost();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    world.write("changed", "six");
    world.index();
    world.push("vault");
    let newer = world.recoverable("vault").unwrap().found.remove(0);
    let holds = |path: &str| store.file_at(volume.id(), &rel(path)).unwrap().map(|file| file.content);
    world.progress = Arc::new(Stopping(world.cancel.clone()));
    let run = store.begin_restore(Some(&volume)).unwrap();
    let stopped = world.recover_volume(run, "vault", &newer).unwrap_err();
    assert!(stopped.is_cancelled(), "{stopped}");
    assert_eq!(holds("changed"), Some(crate::support::content("four")));
    // It goes on as if nothing had been.
    (world.cancel, world.progress) = (Cancel::new(), Arc::new(NoProgress));
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &newer).unwrap();
    assert_eq!(holds("changed"), Some(crate::support::content("six")));
}

/// Killed after its words were recorded, and before its run was closed, a recovery counts all the same: a destination that is behind does not
/// get the last word.
#[test]
fn a_recovery_that_was_killed_at_its_end_still_counts() {
    let world = lost();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    let id = run.id();
    world.recover_volume(run, "vault", &found).unwrap();
    let note = store.run_record(id).unwrap().summary;
    let mut behind = found.clone();
    behind.head.document.segment = found.header.previous.clone().unwrap();
    behind.head.document.run -= 1;

    let (store, volume, _) = begin_anew_in(&world, "killed");
    let run = store.begin_restore(Some(&volume)).unwrap();
    run.recovering(note.as_deref(), |recording| recording.say(&[said("changed", "four")]).map(drop)).unwrap();
    drop(run);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &behind).unwrap();
    let changed = store.file_at(volume.id(), &rel("changed")).unwrap().unwrap();
    assert_eq!(changed.content, crate::support::content("four"));
}

/// A damaged segment takes only its own words with it, and is named.
#[test]
fn a_damaged_segment_does_not_stop_the_others() {
    for gone in [false, true] {
        let world = lost();
        let first = segments(&world).remove(0);
        if gone {
            fs::remove_file(first).unwrap();
        } else {
            damage(&first);
        }
        let (store, volume, found) = begin_anew(&world);
        let run = store.begin_restore(Some(&volume)).unwrap();
        let id = run.id();
        let report = world.recover_volume(run, "vault", &found).unwrap();
        assert_eq!((report.segments, report.damaged.len()), (1, 1), "{report:?}");
        assert_eq!(store.run_record(id).unwrap().status, RunStatus::Partial);
        for (path, known) in [("changed", true), ("later", true), ("here", false)] {
            assert_eq!(store.file_at(volume.id(), &rel(path)).unwrap().is_some(), known, "{path}");
        }
    }
}

/// The newest segment of one volume was damaged, and nothing of any volume could be recovered. The one before it names the volume, too,
/// and knows what it knew; a volume without any is named, and stops no other.
#[test]
fn a_damaged_newest_segment_stops_nothing() {
    let world = lost();
    let segments = segments(&world);
    damage(&segments[1]);
    let (store, volume, found) = begin_anew(&world);
    assert_eq!((&*found.header.volume_name, found.head.document.sequence), ("photos", 2));
    let run = store.begin_restore(Some(&volume)).unwrap();
    let RecoverReport { files, segments: read, damaged, .. } = world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!((files, read, damaged.len()), (3, 1, 1), "{damaged:?}");

    fs::create_dir(world.temp.path().join("music")).unwrap();
    let (music, run) = world.store.add_volume("music", &world.temp.path().join("music"), VolumeClaim::default()).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    world.push_volume(&music, "vault");
    fs::remove_file(&segments[0]).unwrap();
    let all = world.recoverable("vault").unwrap();
    assert_eq!(all.found.iter().map(|found| &*found.header.volume_name).collect::<Vec<_>>(), ["music"]);
    assert_eq!(all.damaged.len(), 1);
    assert!(all.damaged[0].contains(&world.volume().uuid().to_string()), "{}", all.damaged[0]);
}

/// The first push of a new life announced segment 1 and could not write it; the next one wrote segment 2. Recovery asked for number 1,
/// and refused everything. And whatever the clocks said: the later life says which one it continues.
#[test]
fn a_life_whose_first_push_was_cut_short_is_recovered() {
    let world = World::holding(&[("here", "one")], &["vault"]);
    let before = world.store.epoch().unwrap();
    fs::remove_file(world.temp.path().join("state/index.db.newest-run")).unwrap();
    let world = World { store: open_index(&world.temp.path().join("state")), ..world };
    let epoch = world.store.epoch().unwrap();
    assert_ne!(epoch, before);
    let lives = world.temp.path().join(format!("vault/volumes/{}", world.volume().uuid()));
    fs::create_dir(lives.join(epoch.to_string())).unwrap();
    let in_the_way = lives.join(epoch.to_string()).join("segments");
    fs::write(&in_the_way, "").unwrap();
    world.try_push(&world.volume(), "vault").unwrap_err();
    fs::remove_file(in_the_way).unwrap();
    world.push("vault");
    assert!(segments(&world).iter().any(|segment| segment.ends_with(format!("{epoch}/segments/00000002.jsonl.zst"))));
    let old_head = lives.join(before.to_string()).join("head.json");
    let text = fs::read_to_string(&old_head).unwrap();
    fs::write(&old_head, text.replace("\"written\":\"20", "\"written\":\"29")).unwrap();

    let all = world.recoverable("vault").unwrap();
    assert_eq!(all.damaged, Vec::<String>::new());
    let found: Vec<_> = all.found.iter().map(|found| (found.head.place.epoch, epochs(&found.older))).collect();
    assert_eq!(found, [(epoch, vec![before])]);
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!((report.files, report.damaged), (1, Vec::new()));
}

/// The life after a recovery named nobody that it continues, so the next recovery went by the clocks, which may say anything.
#[test]
fn the_life_after_a_recovery_continues_the_one_before() {
    let world = lost();
    let before = world.store.epoch().unwrap();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    let epoch = store.epoch().unwrap();
    assert_eq!(store.followed_epoch(volume.id()).unwrap(), Some(before));
    assert_eq!((store.previous_epoch().unwrap(), store.knows_epoch(before).unwrap()), (None, true));
    let anew = World { store, ..world };
    anew.push_volume(&volume, "vault");
    let old_head = anew.temp.path().join(format!("vault/volumes/{}/{before}/head.json", volume.uuid()));
    let text = fs::read_to_string(&old_head).unwrap();
    fs::write(&old_head, text.replace("\"written\":\"20", "\"written\":\"29")).unwrap();

    let all = anew.recoverable("vault").unwrap();
    let found: Vec<_> = all.found.iter().map(|found| (found.head.place.epoch, epochs(&found.older))).collect();
    assert_eq!(found, [(epoch, vec![before])]);
}

/// The life after a recovery pushed to another disk than the one before. Each disk knows one of the two, and only the header of the newer one
/// says that it continues the older: its words were taken for older ones, and old versions came back as if all were well.
#[test]
fn a_life_counts_over_the_one_that_it_continues_wherever_that_lies() {
    let world = lost();
    let before = world.store.epoch().unwrap();
    let (late, late_volume, found) = begin_anew_in(&world, "late");
    let run = late.begin_restore(Some(&late_volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    fs::write(volume.path().join("changed"), "six").unwrap();
    index(&world, &store, &volume);
    let world = World { store, ..world };
    world.push_volume(&volume, "vault");
    // Only its first segment says which life it continues; those between may be damaged.
    for word in ["seven", "eight"] {
        fs::write(volume.path().join("more"), word).unwrap();
        index(&world, &world.store, &volume);
        world.push_volume(&volume, "vault");
    }
    fs::remove_dir_all(world.temp.path().join(format!("vault/volumes/{}/{before}", volume.uuid()))).unwrap();
    damage(&segments(&world)[1]);

    let found = world.recoverable("vault").unwrap().found.remove(0);
    assert_eq!((epochs(&found.older), found.continues.len()), (Vec::new(), 1));
    let run = late.begin_restore(Some(&late_volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    let changed = late.file_at(late_volume.id(), &rel("changed")).unwrap().unwrap();
    assert_eq!(changed.content, crate::support::content("six"));
}

/// Two lives that continue none of each other, as after a backup that was put back twice: their clock decides. Their times were compared
/// as texts, and `.12Z` passed for later than `.123Z`: once in some hundred times the older of two lives of one second came back.
#[test]
fn between_lives_apart_the_later_time_decides() {
    let world = World::holding(&[("here", "one")], &["vault"]);
    let one = world.store.epoch().unwrap();
    let other: Id128 = "00112233445566778899aabbccddeeff".parse().unwrap();
    let lives = world.temp.path().join(format!("vault/volumes/{}", world.volume().uuid()));
    fs::create_dir_all(lives.join(other.to_string()).join("segments")).unwrap();
    for file in ["head.json", "segments/00000001.jsonl.zst"] {
        fs::copy(lives.join(one.to_string()).join(file), lives.join(other.to_string()).join(file)).unwrap();
    }
    let written = |life: Id128, time: &str| {
        let path = lives.join(life.to_string()).join("head.json");
        let mut head: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        head["epoch"] = life.to_string().into();
        head["written"] = time.into();
        fs::write(path, serde_json::to_vec(&head).unwrap()).unwrap();
    };
    for (earlier, later) in [
        ("2026-11-22T10:00:00.12Z", "2026-11-22T10:00:00.123Z"),
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00.5Z"),
        ("2026-11-22T11:00:00.9+02:00", "2026-11-22T10:00:00Z"),
        ("no time", "2026-11-22T10:00:00Z"),
    ] {
        for (first, second) in [(one, other), (other, one)] {
            written(first, earlier);
            written(second, later);
            let all = world.recoverable("vault").unwrap();
            assert_eq!(all.damaged, Vec::<String>::new());
            let found: Vec<_> = all.found.iter().map(|found| (found.head.place.epoch, epochs(&found.older))).collect();
            assert_eq!(found, [(second, vec![first])], "{earlier} is earlier than {later}");
        }
    }
}

/// What is recovered is stored, not proven: a gate stays shut until it was verified, and a restore asks the hash anyway.
#[test]
fn what_was_recovered_can_be_restored() {
    let world = lost();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    world.recover_volume(run, "vault", &found).unwrap();
    let record = store.destination_record("vault").unwrap().unwrap();
    let run = store.begin_evidence_change(Some(record.id), None).unwrap();
    let probed = run.probed(record.id, record.incarnation.as_ref()).unwrap();
    let mut listed = Vec::new();
    let cas = world.cas("vault");
    world.context().runtime.block_on(cas.list(&mut |content, location| listed.push((content, location)))).unwrap();
    assert_eq!(run.record_stored(&probed, &listed).unwrap(), 5, "also the content that `changed` had before");
    run.finish(&Outcome::Success, None).unwrap();
    assert_eq!(store.count_receipts(record.id).unwrap(), (5, 0, 0));

    let wanted = lastcopy_restore::wanted_below(&store, volume.id(), &[lastcopy_fs::RelPath::root()], false).unwrap();
    let run = store.begin_restore(Some(&volume)).unwrap();
    let restoring = lastcopy_restore::Restoring {
        store: &store,
        target: lastcopy_restore::Target::Home(volume),
        in_place: false,
        sources: vec![(record, cas)],
        context: world.context(),
    };
    assert_eq!(restoring.run(run, &wanted, |_| String::new()).unwrap().restored, 4);
    for (path, text) in [("here", "one"), ("dir/offloaded", "two"), ("changed", "four"), ("later", "five")] {
        assert_eq!(fs::read_to_string(world.temp.path().join("disk of new state").join(path)).unwrap(), text);
    }
}

/// A segment in which somebody else wrote lines of their own, named by the head as if it were whole.
fn forge(world: &World, lines: &str) {
    let segment = segments(world).pop().unwrap();
    let text = zstd::decode_all(File::open(&segment).unwrap()).unwrap();
    fs::remove_file(&segment).unwrap();
    let forged = zstd::encode_all(&[&text[..], lines.as_bytes()].concat()[..], 1).unwrap();
    fs::write(&segment, &forged).unwrap();
    let head = segment.parent().unwrap().with_file_name("head.json");
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&head).unwrap()).unwrap();
    document["segment"]["digest"] = lastcopy_fs::hash_bytes(&forged).hash.to_string().into();
    fs::write(head, document.to_string()).unwrap();
}

fn line(path: &str, text: &str, size: u64) -> String {
    let hash = crate::support::content(text).hash;
    let line = serde_json::json!({"path": path, "blake3": hash.to_string(), "size": size, "mtime_ns": 0, "mode": 420, "status": "present"});
    format!("{line}\n")
}

/// One line that gives a content another size, or a size that no file has, ended the recovery of everything; and the index was called
/// damaged.
#[test]
fn a_line_that_cannot_be_true_stops_nothing() {
    for (size, known) in [(77, true), (u64::MAX, false)] {
        let world = lost();
        forge(&world, &(line("lie", "one", size) + &line("lie, too", "two", size) + &line("after", "four", 4)));
        let (store, volume, found) = begin_anew(&world);
        let run = store.begin_restore(Some(&volume)).unwrap();
        let report = world.recover_volume(run, "vault", &found).unwrap();
        assert_eq!(report.damaged.len(), 1, "{:?}", report.damaged);
        assert_eq!(report.damaged[0].starts_with("2 lines of a segment"), known, "{:?}", report.damaged);
        for (path, known) in [("here", true), ("lie", false), ("after", known)] {
            assert_eq!(store.file_at(volume.id(), &rel(path)).unwrap().is_some(), known, "{path} beside {size}");
        }
    }
}

/// A segment that reads well, and is not the one that its head names, says nothing: not by its own digest, either.
#[test]
fn a_segment_that_was_exchanged_is_not_believed() {
    let world = lost();
    let head = segments(&world)[1].parent().unwrap().with_file_name("head.json");
    let names_the_right_one = fs::read(&head).unwrap();
    forge(&world, &line("lie", "one", 3));
    fs::write(&head, names_the_right_one).unwrap();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!((report.files, report.segments, report.damaged.len()), (3, 1, 1), "{:?}", report.damaged);
    assert!(store.file_at(volume.id(), &rel("lie")).unwrap().is_none());
}

/// A content that lies somewhere else than its path says is there under that name; nothing else would ever look for it.
#[test]
fn what_lies_elsewhere_is_told() {
    let world = lost();
    let elsewhere = |path: &str| line(path, "one", 3).replace("\"path\"", "\"location\":\"trash/moved\",\"path\"");
    let stood = |line: String| line.replace("\"path\"", "\"earlier\":true,\"path\"");
    // The last word on a path counts; how it stood, if that is all that anybody says.
    let lines = [elsewhere("moved"), elsewhere("back again"), line("back again", "one", 3)];
    forge(&world, &(lines.concat() + &stood(elsewhere("stood")) + &stood(line("stood at its digest", "one", 3))));
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    let one = (crate::support::content("one"), Some(Location(b"trash/moved".to_vec())));
    assert_eq!(report.elsewhere, BTreeMap::from([(rel("moved"), one.clone()), (rel("stood"), one)]));
    assert_eq!((report.damaged, report.files), (Vec::new(), 8));
}

/// A segment named files of ours: a marker, and a file that an offload would have set aside. A restore would have put them there.
#[test]
fn no_segment_names_our_own_files() {
    for path in [".lastcopy/volume.toml", ".lastcopy/offload/1/x", ".lastcopy"] {
        let world = lost();
        forge(&world, &line(path, "one", 3));
        let (store, volume, found) = begin_anew(&world);
        let run = store.begin_restore(Some(&volume)).unwrap();
        let report = world.recover_volume(run, "vault", &found).unwrap();
        assert!(report.damaged[0].contains("lastcopy's own"), "{:?}", report.damaged);
        assert!(store.file_at(volume.id(), &rel(path)).unwrap().is_none(), "{path}");
    }
}

/// An index that took such names over before they were refused: they are not brought back either, nor is what would make a destination of
/// the volume.
#[test]
fn our_own_files_are_not_brought_back() {
    let world = World::holding(&[("here", "one")], &["vault"]);
    let marker = world.read(".lastcopy/volume.toml");
    let paths =
        [".lastcopy/volume.toml", ".lastcopy/offload/1/x", ".lastcopy-destination.json", "below/.lastcopy-destination.json"];
    let run = world.store.begin_restore(Some(&world.volume())).unwrap();
    let said: Vec<_> = paths.iter().map(|path| said(path, "one")).collect();
    run.recovering(None, |recording| recording.say(&said).map(drop)).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    let wanted = lastcopy_restore::wanted_below(&world.store, world.volume().id(), &[rel("")], true).unwrap();
    let target = lastcopy_restore::Target::Home(world.volume());
    let report = world.restore_with(&wanted, target, true, &["vault"]).0.unwrap();
    assert_eq!((report.restored, report.already, report.failed), (0, 1, 4), "{report:?}");
    assert_eq!(world.read(".lastcopy/volume.toml"), marker);
    assert!(paths[1..].iter().all(|path| !world.path(path).exists()));
}

/// Recovery counted down from the number that a head claims, and asked for each: years, where it is forged.
#[test]
fn a_head_may_claim_any_number() {
    let world = lost();
    let head = segments(&world)[0].parent().unwrap().with_file_name("head.json");
    let mut document: serde_json::Value = serde_json::from_slice(&fs::read(&head).unwrap()).unwrap();
    document["segment"]["sequence"] = i64::MAX.into();
    fs::write(&head, document.to_string()).unwrap();
    let (store, volume, found) = begin_anew(&world);
    let run = store.begin_restore(Some(&volume)).unwrap();
    let report = world.recover_volume(run, "vault", &found).unwrap();
    assert_eq!((report.files, report.segments, report.damaged.len()), (4, 2, 1), "{:?}", report.damaged);
    document["segment"]["sequence"] = 0.into();
    fs::write(&head, document.to_string()).unwrap();
    let all = world.recoverable("vault").unwrap();
    assert_eq!((all.found.len(), all.damaged.len()), (0, 1), "there is no segment before the first");
}
