//! Snapshots and claims: what a push may claim, however much happened while it was sending (I2, I3, I8).

use crate::support::{Node, Push, observe, proof, rel};
use lastcopy_fs::{Content, RelPath, hash_bytes};
use lastcopy_store::{
    DestinationKind, EvidenceEvent, FileId, FileStatus, Layout, Location, Observation, Observed, Outcome, ProvenAt, Recovered,
    RunId, Seen, StoreError, Totals, VolumeClaim,
};

fn paths(push: &Push) -> Vec<String> {
    let lacking = push.snapshot.lacking(&push.probed, &lastcopy_store::Layout::ByContent, None, usize::MAX).unwrap();
    lacking.iter().map(|lacking| lacking.file.path.to_string().trim_matches('`').to_owned()).collect()
}

/// The lines of a segment that begins anew: contents, how they stand, whether that was earlier, and whether they are held.
fn full_segment(push: &Push) -> Vec<(Content, FileStatus, bool, bool)> {
    let mut told = Vec::new();
    let mut tell = |line: lastcopy_store::Line| {
        told.push((line.content, line.status, line.earlier, line.is_held()));
        Ok(())
    };
    push.snapshot.lines(&push.probed, &Layout::ByContent, None, &mut tell).unwrap();
    told
}

/// The push of an earlier system computed its claim from the live tables, after the transfer: a file that was indexed meanwhile was
/// covered by a push that had never heard of it, and its local copy could be deleted. An index cannot even begin during a push to a
/// cas; where it was going on already, as it may be with other kinds, the horizon ends below it.
#[test]
fn an_index_that_commits_during_a_push_is_not_covered() {
    let node = Node::new();
    let volume = node.volume("photos");
    let mirror = node.destination_of_kind("mirror", DestinationKind::Mirror);

    let first = node.index(&volume, &[("old", "one")]);
    let indexing = node.store.begin_index(&volume).unwrap();
    observe(&indexing, &[("before", "two")]);
    let push = Push::begin(&node.store, &volume, &mirror);
    observe(&indexing, &[("during", "three")]);
    push.prove(|_| true);
    let during = indexing.id();
    indexing.finish(&Outcome::Success, None).unwrap();
    let after = node.index(&volume, &[("after", "four")]);
    assert_eq!(push.snapshot.horizon(), first, "the index run that was going on is not part of the horizon");
    let advance = push.finish();
    assert!(advance.advanced);
    assert_eq!(node.component(&volume, &mirror), Some(first));
    for (path, since) in [("before", during), ("during", during), ("after", after)] {
        let file = node.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
        assert_eq!(file.present_since, since);
        assert!(node.component(&volume, &mirror) < Some(file.present_since), "`{path}` must not be covered");
    }

    let advance = node.push(&volume, &mirror);
    assert_eq!((advance.advanced, node.component(&volume, &mirror)), (true, Some(after)));
}

/// What a snapshot says does not change, whatever becomes of its files.
#[test]
fn a_snapshot_stays_what_it_was() {
    let node = Node::new();
    let volume = node.volume("photos");
    let mirror = node.destination_of_kind("mirror", DestinationKind::Mirror);
    node.index(&volume, &[("changes", "one"), ("goes", "two"), ("stays", "three")]);

    let push = Push::begin(&node.store, &volume, &mirror);
    let before = paths(&push);
    assert_eq!(before, ["changes", "goes", "stays"]);
    node.index(&volume, &[("changes", "four"), ("comes", "five")]);
    node.index_gone(&volume, "goes");
    assert_eq!(paths(&push), before);
    let expected = Totals { files: 3, lacking_files: 3, lacking_items: 3, lacking_bytes: 11 };
    assert_eq!(push.snapshot.totals(&push.probed, &lastcopy_store::Layout::ByContent).unwrap(), expected);
    let mut lines = Vec::new();
    push.snapshot
        .lines(&push.probed, &lastcopy_store::Layout::ByContent, None, &mut |line| {
            lines.push((line.path.to_string(), line.status, line.is_held()));
            Ok(())
        })
        .unwrap();
    let present = |path: &str| (format!("{}", rel(path)), FileStatus::Present, false);
    assert_eq!(lines, [present("changes"), present("goes"), present("stays")], "and so does what a segment would say");
}

/// The segments that told of a content may be gone with a rollback; where its path holds another file by now, a segment that begins anew tells
/// both, and the newest last. What the destination never had is none of its business.
#[test]
fn a_full_segment_tells_what_a_path_held_before() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    node.index(&volume, &[("a", "never pushed")]);
    node.index(&volume, &[("a", "two")]);
    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|_| true);
    let told = full_segment(&push);
    let (one, two) = (hash_bytes(b"one"), hash_bytes(b"two"));
    assert_eq!(told, [(one, FileStatus::Superseded, true, true), (two, FileStatus::Present, false, true)]);
}

/// Where what a path holds by now is withheld, it stands there as it stood before: no other line says so, where segments begin anew.
#[test]
fn a_full_segment_tells_how_a_path_stood_before_what_is_withheld() {
    // As it is, or also where an index run finds something else while the push goes on.
    for changes_again in [false, true] {
        let node = Node::new();
        let (volume, vault) = (node.volume("photos"), node.destination_of_kind("vault", DestinationKind::Mirror));
        for text in ["one", "two"] {
            node.index(&volume, &[("a", text)]);
            node.push(&volume, &vault);
        }
        // That a recovery from elsewhere learned of it last makes it no newer.
        let restore = node.store.begin_restore(Some(&volume)).unwrap();
        let (content, status) = (hash_bytes(b"zero"), FileStatus::Superseded);
        let zero = [Recovered { path: rel("a"), content, mtime_ns: 0, mode: 0o644, status, yields: false, index_first: false }];
        restore.recovering(None, |recording| recording.say(&zero).map(drop)).unwrap();
        restore.finish(&Outcome::Success, None).unwrap();
        node.index(&volume, &[("a", "would not hold still")]);
        let push = Push::begin(&node.store, &volume, &vault);
        let at = node.store.now();
        let zero = ProvenAt { content: node.content("zero"), location: Location::default(), proven: proof("zero"), at };
        push.run.record(&push.probed, &[zero]).unwrap();
        if changes_again {
            node.index(&volume, &[("a", "nor would this")]);
        }
        let told = full_segment(&push);
        let [zero, one, two, withheld] = ["zero", "one", "two", "would not hold still"].map(|text| hash_bytes(text.as_bytes()));
        let expected = [
            (one, FileStatus::Superseded, true, true),
            (two, FileStatus::Present, true, true),
            (zero, FileStatus::Superseded, true, true),
            (withheld, FileStatus::Present, false, false),
        ];
        assert_eq!(told, expected, "changes again: {changes_again}");
    }
}

/// A file that could not be proven holds back what was indexed with it and after it, and nothing before.
#[test]
fn a_claim_ends_below_the_oldest_file_without_proof() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let first = node.index(&volume, &[("a", "one"), ("b", "two")]);
    let second = node.index(&volume, &[("c", "three"), ("d", "four")]);
    let third = node.index(&volume, &[("e", "five")]);

    let unproven = |names: &'static [&'static str]| move |path: &_| !names.iter().any(|name| rel(name) == *path);
    // Nothing lies below the first run: there is no claim at all.
    let advance = node.push_proving(&volume, &vault, unproven(&["a", "c", "e"]));
    assert_eq!((advance.advanced, node.component(&volume, &vault)), (false, None));
    let advance = node.push_proving(&volume, &vault, unproven(&["c", "e"]));
    assert_eq!((advance.advanced, node.component(&volume, &vault)), (true, Some(first)));
    let advance = node.push_proving(&volume, &vault, unproven(&["e"]));
    assert_eq!((advance.advanced, node.component(&volume, &vault)), (true, Some(second)));
    let advance = node.push(&volume, &vault);
    assert_eq!((advance.advanced, node.component(&volume, &vault)), (true, Some(third)));
    assert_eq!(advance.horizon, advance.vector);
}

/// Where each file has a place of its own, a content that lies at one place lacks at the others.
#[test]
fn by_path_each_file_needs_its_own_receipt() {
    let node = Node::new();
    let volume = node.volume("photos");
    let mirror = node.destination_of_kind("mirror", DestinationKind::Mirror);
    node.index(&volume, &[("a", "one"), ("b", "one"), ("dir/c", "two")]);
    let push = Push::begin(&node.store, &volume, &mirror);
    let layout = Layout::ByPath { below: b"photos/".to_vec() };
    let lacking = |limit| {
        let lacking = push.snapshot.lacking(&push.probed, &layout, None, limit).unwrap();
        lacking.into_iter().map(|lacking| String::from_utf8(lacking.location.0).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(lacking(9), ["photos/a", "photos/b", "photos/dir/c"]);
    assert_eq!(lacking(1), ["photos/a"]);
    let all = Totals { files: 3, lacking_files: 3, lacking_items: 3, lacking_bytes: 9 };
    assert_eq!(push.snapshot.totals(&push.probed, &layout).unwrap(), all);

    let prove = |word: &str, location: &str| {
        let at = ProvenAt {
            content: node.content(word),
            location: Location(location.into()),
            proven: proof(word),
            at: node.store.now(),
        };
        push.run.record(&push.probed, &[at]).unwrap();
    };
    prove("one", "photos/b");
    prove("two", "elsewhere/dir/c");
    assert_eq!(lacking(9), ["photos/a", "photos/dir/c"]);
    let some = Totals { files: 3, lacking_files: 2, lacking_items: 2, lacking_bytes: 6 };
    assert_eq!(push.snapshot.totals(&push.probed, &layout).unwrap(), some);
    prove("two", "photos/dir/c");
    assert_eq!(lacking(9), ["photos/a"]);
    // A line names the place where the content is proven to lie, the file's own if it is that one.
    let mut told = Vec::new();
    let mut tell = |line: lastcopy_store::Line| {
        told.push((String::from_utf8(line.location.0.clone()).unwrap(), line.is_held()));
        Ok(())
    };
    push.snapshot.lines(&push.probed, &layout, None, &mut tell).unwrap();
    assert_eq!(told, [("photos/b".into(), true), ("photos/b".into(), true), ("photos/dir/c".into(), true)]);
    let files = push.snapshot.files_with(node.content("one")).unwrap();
    assert_eq!(files.iter().map(|file| file.path.clone()).collect::<Vec<_>>(), [rel("a"), rel("b")]);
}

/// A receipt that another repository gave carries nothing, and neither does one that is lost or only stored.
#[test]
fn only_live_verified_receipts_carry_a_claim() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    let other = node.destination("other");
    node.push(&volume, &other);
    assert_eq!(node.component(&volume, &vault), None, "what another destination holds is no proof here");

    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|_| true);
    push.run.lost(&push.probed, node.content("one"), &Location::default(), "a hole").unwrap();
    assert!(!push.finish().advanced);

    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|_| true);
    node.raw().execute("UPDATE receipt SET level = 'stored' WHERE destination = ?", [vault.id]).unwrap();
    assert!(!push.finish().advanced);

    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|_| true);
    node.raw().execute("UPDATE receipt SET incarnation = 'another' WHERE destination = ?", [vault.id]).unwrap();
    assert!(!push.finish().advanced);
    assert!(node.push(&volume, &vault).advanced);
}

/// What a kind can never store is reported and left out; it does not hold back the rest, and its own gate stays shut for want of a
/// receipt.
#[test]
fn an_excluded_file_holds_nothing_back_and_is_never_covered_by_a_receipt() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let run = node.index(&volume, &[("fine", "one"), ("odd", "two")]);
    let odd = node.store.file_at(volume.id(), &rel("odd")).unwrap().unwrap();

    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|path| *path == rel("fine"));
    push.run.exclude(odd.id, "its name cannot be stored").unwrap();
    let excluding = push.run.id();
    assert!(push.finish().advanced);
    assert_eq!(node.store.excluded_by(excluding).unwrap(), [(rel("odd"), "its name cannot be stored".to_owned())]);
    assert_eq!(node.component(&volume, &vault), Some(run));
    assert_eq!(node.store.receipts_of(odd.content_id).unwrap(), []);

    // It was excluded by that push, not for ever.
    let later = node.index(&volume, &[("more", "three")]);
    node.push_proving(&volume, &vault, |path| *path != rel("odd"));
    assert_eq!(node.component(&volume, &vault), Some(run));
    assert!(run < later);
    // What is gone is no file to exclude.
    node.index_gone(&volume, "odd");
    assert_eq!(node.store.excluded_by(excluding).unwrap(), []);
}

/// A file was left out of a push, whose vector went past it; its content was proven there since, for another file or by a push that was cut
/// short. The gate was open, and with the index lost nobody would have found what it deleted by its name.
#[test]
fn what_no_segment_tells_of_is_not_covered() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let run = node.index(&volume, &[("fine", "one"), ("odd", "two")]);
    let component = |path: &str| {
        let file = node.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
        let (_, evidence) = node.store.evidence(volume.id(), &[file.id], &[vault.id]).unwrap().remove(0);
        evidence[0].component
    };
    let odd = node.store.file_at(volume.id(), &rel("odd")).unwrap().unwrap();
    let seal = |sequence, withheld: &[FileId]| {
        let push = Push::begin(&node.store, &volume, &vault);
        push.prove(|path| *path == rel("fine"));
        push.run.exclude(odd.id, "it cannot be read").unwrap();
        let head = push.run.announce(&push.probed, &crate::support::head(sequence, push.run.id()), withheld).unwrap();
        let claim = push.snapshot.claim(push.probed).unwrap();
        push.run.finish_sync(claim, Some(head), &Outcome::Success, |_| String::new()).unwrap();
    };
    seal(1, &[odd.id]);
    assert_eq!(node.component(&volume, &vault), Some(run));
    let push = Push::begin(&node.store, &volume, &vault);
    push.prove(|_| true);
    drop(push);
    assert_eq!(component("fine"), Some(run));
    assert!(component("odd") < Some(run));
    // Other permissions make a new row of it, present since the same run.
    let index = node.store.begin_index(&volume).unwrap();
    let found = Observation {
        directory: RelPath::root(),
        name: b"odd".to_vec(),
        seen: Seen { mode: 0o600, ..crate::support::seen(3) },
        content: hash_bytes(b"two"),
    };
    assert_eq!(index.observe(&[found]).unwrap(), [Observed::Unchanged]);
    index.finish(&Outcome::Success, None).unwrap();
    let touched = node.store.file_at(volume.id(), &rel("odd")).unwrap().unwrap();
    assert_eq!((touched.id == odd.id, touched.present_since), (false, run));
    assert!(component("odd") < Some(run));
    seal(2, &[]);
    assert!(component("odd") >= Some(run));
}

/// Writing an equal value moved evidence's age in an earlier system: a push with nothing to send made old proof look young.
#[test]
fn an_equal_advance_moves_nothing() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    assert!(node.push(&volume, &vault).advanced);
    let log = node.store.evidence_log().unwrap();
    let receipts = node.store.receipts_of(node.content("one")).unwrap();
    let advanced_by = || -> i64 { node.raw().query_row("SELECT advanced_by FROM vector", [], |row| row.get(0)).unwrap() };
    let before = advanced_by();

    node.pass(1_000_000);
    let again = node.push(&volume, &vault);
    assert!(!again.advanced);
    assert_eq!(node.store.evidence_log().unwrap(), log);
    assert_eq!(node.store.receipts_of(node.content("one")).unwrap(), receipts);
    assert_eq!(advanced_by(), before);
}

/// A lower claim moves nothing either: only a person takes evidence back.
#[test]
fn an_advance_never_moves_down() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    let second = node.index(&volume, &[("b", "two")]);
    node.push(&volume, &vault);
    let push = Push::begin(&node.store, &volume, &vault);
    push.run.lost(&push.probed, node.content("two"), &Location::default(), "a hole").unwrap();
    assert!(!push.finish().advanced);
    assert_eq!(node.component(&volume, &vault), Some(second));
}

/// An empty volume has nothing that could lack proof: the claim is its horizon. One that was never indexed claims nothing.
#[test]
fn an_empty_snapshot_claims_its_horizon() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let run = node.index(&volume, &[]);
    let advance = node.push(&volume, &vault);
    assert_eq!((advance.advanced, node.component(&volume, &vault)), (true, Some(run)));

    let path = node.path("new");
    std::fs::create_dir(&path).unwrap();
    let (new, first) = node.store.add_volume("new", &path, VolumeClaim::default()).unwrap();
    let mirror = node.destination_of_kind("mirror", DestinationKind::Mirror);
    let advance = node.push(&new, &mirror);
    assert_eq!((advance.advanced, node.component(&new, &mirror)), (false, None), "its first index run still goes on");
    first.finish(&Outcome::Success, None).unwrap();
}

/// A claim belongs to its own run, its own destination, and the answer that this run was given.
#[test]
fn a_claim_is_nobody_elses() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let other = node.destination("other");
    node.index(&volume, &[("a", "one")]);

    let wrong = Push::begin(&node.store, &volume, &vault);
    let right = Push::begin(&node.store, &volume, &other);
    let not_its_own = wrong.run.probed(other.id, other.incarnation.as_ref()).unwrap();
    assert!(matches!(wrong.snapshot.claim(not_its_own), Err(StoreError::Refused(_))), "another destination's answer");
    drop(wrong.run);

    let first = Push::begin(&node.store, &volume, &vault);
    let old_answer = first.probed.clone();
    first.finish();
    let second = Push::begin(&node.store, &volume, &vault);
    let proofs =
        [ProvenAt { content: node.content("one"), location: Location::default(), proven: proof("one"), at: node.store.now() }];
    assert!(matches!(second.run.record(&old_answer, &proofs), Err(StoreError::Refused(_))), "who answered an earlier run");
    let lost = second.run.lost(&old_answer, node.content("one"), &Location::default(), "not there");
    assert!(matches!(lost, Err(StoreError::Refused(_))), "who answered an earlier run");
    assert!(matches!(second.snapshot.claim(old_answer), Err(StoreError::Refused(_))), "who answered an earlier run");

    let claim = right.snapshot.claim(right.probed).unwrap();
    let refused = second.run.finish_sync(claim, None, &Outcome::Success, |_| String::new());
    assert!(matches!(refused, Err(StoreError::Refused(_))), "another run's claim");
    assert_eq!(node.component(&volume, &other), None);
}

/// A file that became present again is fresh, whatever its content was worth before: only a snapshot taken since covers it.
#[test]
fn what_reappears_is_present_since_then() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    node.index_gone(&volume, "a");
    let back = node.index(&volume, &[("a", "one")]);
    let file = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
    assert_eq!(file.present_since, back);
    assert!(node.component(&volume, &vault) < Some(back));
    // The same content under another mode or time did not become present again.
    let run = node.store.begin_index(&volume).unwrap();
    let observation = Observation {
        directory: RelPath::root(),
        name: b"a".to_vec(),
        seen: Seen { mode: 0o600, ..file.seen },
        content: file.content,
    };
    run.observe(&[observation]).unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    let touched = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
    assert_eq!((touched.present_since, touched.seen.mode), (back, 0o600));
    assert_ne!(touched.id, file.id, "history keeps what it was");
}

/// Each advance is logged with what was before.
#[test]
fn advances_are_logged() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    let first = node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    let second = node.index(&volume, &[("b", "two")]);
    node.push(&volume, &vault);
    let log = node.store.evidence_log().unwrap();
    let advances: Vec<(Option<RunId>, Option<RunId>)> =
        log.iter().filter(|entry| entry.event == EvidenceEvent::Advance).map(|entry| (entry.before, entry.after)).collect();
    assert_eq!(advances, [(None, Some(first)), (Some(first), Some(second))]);
}
