//! Receipts: when they are live, when they are lost, and what makes them fall back to be proven again (I6, I8).

use crate::support::{Node, Push, proof, proof_of_file, rel, requiring};
use lastcopy_store::{
    Algorithm, BoundChecksum, DestinationRecord, Evidence, EvidenceEvent, HeadVerdict, IdentityError, Incarnation, Location,
    Method, Outcome, Proof, ProofError, ProvenAt, ReadBack, ReceiptFacts, ReceiptLevel, RunId, StoreError, Timestamp, VerifyOrder,
    Volume,
};

fn at(node: &Node, word: &str, location: &str) -> ProvenAt {
    ProvenAt { content: node.content(word), location: Location(location.into()), proven: proof(word), at: node.store.now() }
}

/// What the gate sees of one file at one destination.
fn evidence(node: &Node, volume: &Volume, path: &str, destination: &DestinationRecord) -> Evidence {
    let file = node.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
    let (_, mut evidence) = node.store.evidence(volume.id(), &[file.id], &[destination.id]).unwrap().remove(0);
    evidence.remove(0)
}

fn is_live(node: &Node, volume: &Volume, path: &str, destination: &DestinationRecord) -> bool {
    evidence(node, volume, path, destination).receipt.is_some()
}

/// Two files that were pushed to a destination.
fn pushed() -> (Node, Volume, DestinationRecord) {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("b", "two")]);
    node.push(&volume, &vault);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified; 2]);
    (node, volume, vault)
}

#[test]
fn a_receipt_says_who_proved_what_and_when() {
    let (node, volume, vault) = pushed();
    let receipt = node.store.receipts_of(node.content("one")).unwrap().remove(0);
    let now = node.store.now();
    assert_eq!((receipt.level, receipt.method, receipt.incarnation.as_str()), (ReceiptLevel::Verified, Method::ReadBack, "vault"));
    assert_eq!((receipt.verified_at, receipt.checked_at, receipt.lost_at), (Some(now), now, None));
    assert_eq!(
        evidence(&node, &volume, "a", &vault).receipt,
        Some(ReceiptFacts { level: ReceiptLevel::Verified, method: Method::ReadBack, verified_at: Some(now) })
    );
}

/// A proof waits until it is known who is there. What another command found lost meanwhile stays lost, and its alarm stands.
#[test]
fn what_was_lost_since_its_proof_stays_lost() {
    let (node, volume, vault) = pushed();
    let other = node.volume("music");
    let push = Push::begin(&node.store, &other, &vault);
    let waiting = [at(&node, "one", ""), at(&node, "two", "")];
    node.pass(10);
    let verify = node.store.begin_verify(vault.id, Some(&volume)).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.lost(&probed, node.content("one"), &Location::default(), "not there").unwrap();
    node.pass(10);
    assert_eq!(push.run.record(&push.probed, &waiting).unwrap(), [0]);
    assert_eq!([is_live(&node, &volume, "a", &vault), is_live(&node, &volume, "b", &vault)], [false, true]);
    assert_eq!(node.store.alarms(true).unwrap().len(), 1);
    // The bytes of the other one were read when they were, not when that was recorded.
    let read = evidence(&node, &volume, "b", &vault).receipt.and_then(|receipt| receipt.verified_at);
    assert_eq!(read, Some(waiting[1].at));
    // What is proven from now on counts.
    assert_eq!(push.run.record(&push.probed, &[at(&node, "one", "")]).unwrap().len(), 0);
    assert!(is_live(&node, &volume, "a", &vault));
    assert_eq!(node.store.alarms(true).unwrap(), []);
}

/// A clock that is put back tells nothing of what came first.
#[test]
fn a_loss_of_tomorrow_does_not_outlast_a_proof() {
    let (node, volume, vault) = pushed();
    node.pass(1000);
    let verify = node.store.begin_verify(vault.id, None).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.lost(&probed, node.content("one"), &Location::default(), "not there").unwrap();
    node.pass(-500);
    assert_eq!(verify.record(&probed, &[at(&node, "one", "")]).unwrap().len(), 0);
    assert!(is_live(&node, &volume, "a", &vault));
}

/// Nor does what was proven before somebody noticed that the destination went back to an earlier state.
#[test]
fn what_was_proven_before_a_rollback_is_to_be_proven_again() {
    let (node, volume, vault) = pushed();
    let other = node.volume("music");
    let push = Push::begin(&node.store, &other, &vault);
    let waiting = [at(&node, "one", "")];
    node.pass(10);
    let verify = node.store.begin_verify(vault.id, Some(&volume)).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.rolled_back(&probed, volume.id(), "it knows an earlier push").unwrap();
    node.pass(10);
    assert_eq!(push.run.record(&push.probed, &waiting).unwrap().len(), 1);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored; 2]);
    assert_eq!(push.run.record(&push.probed, &[at(&node, "one", "")]).unwrap().len(), 0);
    assert_eq!(evidence(&node, &volume, "a", &vault).receipt.map(|receipt| receipt.level), Some(ReceiptLevel::Verified));
}

/// Bytes that are other bytes are no proof, and a proof of other bytes is no receipt.
#[test]
fn a_proof_is_of_the_very_content() {
    let (node, volume, vault) = pushed();
    let path = node.path("held");
    std::fs::write(&path, "one").unwrap();
    assert_eq!(proof_of_file(&path, "one").content(), proof("one").content());
    for wrong in ["onE", "one ", "on", ""] {
        std::fs::write(&path, wrong).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        let mut buffer = lastcopy_fs::HashBuffer::new();
        let found: Result<Proof<ReadBack>, _> =
            Proof::read_file(proof("one").content(), &file, &mut buffer, &lastcopy_fs::Cancel::new(), &lastcopy_fs::NoProgress);
        assert!(
            matches!(found, Err(ProofError::Differs { found }) if found == lastcopy_fs::hash_bytes(wrong.as_bytes())),
            "{wrong}"
        );
    }
    let push = Push::begin(&node.store, &volume, &vault);
    let mixed_up = ProvenAt { proven: proof("two"), ..at(&node, "one", "") };
    assert!(matches!(push.run.record(&push.probed, &[mixed_up]), Err(StoreError::Refused(_))));
}

/// A receipt is live only while who gave it is who was accepted and who answers now.
#[test]
fn a_receipt_is_live_only_while_its_giver_answers() {
    let (node, volume, vault) = pushed();
    assert!(is_live(&node, &volume, "a", &vault));
    let run = node.store.begin_verify(vault.id, None).unwrap();
    let changed = run.probed(vault.id, Some(&Incarnation::new("somebody else")));
    assert!(matches!(changed, Err(IdentityError::Changed { .. })));
    assert!(!is_live(&node, &volume, "a", &vault), "somebody else answers");
    run.probed(vault.id, Some(&Incarnation::new("vault"))).unwrap();
    assert!(is_live(&node, &volume, "a", &vault));
    drop(run);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified; 2], "a change of who answers proves nothing wrong");

    // Accepted by a person: another repository, whose evidence begins with nothing.
    node.change_evidence(&vault, |run| run.adopt(vault.id, &Incarnation::new("somebody else"), None, "moved"));
    assert!(!is_live(&node, &volume, "a", &vault), "receipts of the one before carry over to nobody");
    let vault = node.store.destination(vault.id).unwrap();
    node.push(&volume, &vault);
    assert!(is_live(&node, &volume, "a", &vault));
}

/// Lost is noticed by whoever looks, and over when the bytes are proven again.
#[test]
fn a_lost_receipt_is_dead_until_proven_again() {
    let (node, volume, vault) = pushed();
    let verify = node.store.begin_verify(vault.id, None).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.lost(&probed, node.content("one"), &Location::default(), "its object is not there").unwrap();
    let found_lost = node.store.now();
    assert!(!is_live(&node, &volume, "a", &vault));
    assert!(is_live(&node, &volume, "b", &vault), "the other one is not concerned");
    assert!(evidence(&node, &volume, "a", &vault).content_alarm && !evidence(&node, &volume, "b", &vault).content_alarm);
    node.pass(5);
    verify.lost(&probed, node.content("one"), &Location::default(), "still not there").unwrap();
    let lost = node.store.lost_at(vault.id).unwrap();
    assert_eq!((lost.len(), lost[0].lost_at), (1, Some(found_lost)), "it was lost when that was found first");
    assert_eq!(node.store.count_receipts(vault.id).unwrap(), (0, 1, 1));

    verify.record(&probed, &[at(&node, "one", "")]).unwrap();
    assert!(is_live(&node, &volume, "a", &vault));
    assert!(!evidence(&node, &volume, "a", &vault).content_alarm);
    assert_eq!(node.store.lost_at(vault.id).unwrap(), []);
}

/// Presence is no proof: it moves the time of the last look, and never that of the last check of bytes.
#[test]
fn being_seen_makes_no_receipt_younger() {
    let (node, volume, vault) = pushed();
    let proven_at = node.store.now();
    node.pass(1000);
    let verify = node.store.begin_verify(vault.id, Some(&volume)).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.seen(&[(node.content("one"), Location::default())], &probed).unwrap();
    let receipt = node.store.receipts_of(node.content("one")).unwrap().remove(0);
    assert_eq!((receipt.verified_at, receipt.checked_at), (Some(proven_at), node.store.now()));
    // What a destination merely says it holds is stored, not verified; and it takes nothing from what was verified.
    drop(verify);
    node.index(&volume, &[("c", "three")]);
    node.change_evidence(&vault, |run| {
        let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
        let says: Vec<_> = ["one", "three", "never indexed"]
            .into_iter()
            .map(|word| (lastcopy_fs::hash_bytes(word.as_bytes()), Location::default()))
            .collect();
        assert_eq!(run.record_stored(&probed, &says)?, 2);
        Ok(())
    });
    let of = |word| node.store.receipts_of(node.content(word)).unwrap().remove(0);
    assert_eq!((of("one").level, of("one").verified_at), (ReceiptLevel::Verified, Some(proven_at)));
    assert_eq!((of("three").level, of("three").method, of("three").verified_at), (ReceiptLevel::Stored, Method::Presence, None));
}

/// Kinds that store by path have a receipt for each: one can be lost while the other holds.
#[test]
fn receipts_at_several_locations_are_lost_one_by_one() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("copy of a", "one")]);
    let push = Push::begin(&node.store, &volume, &vault);
    push.run.record(&push.probed, &[at(&node, "one", "a"), at(&node, "one", "copy of a")]).unwrap();
    push.run.lost(&push.probed, node.content("one"), &Location(b"a".to_vec()), "gone").unwrap();
    push.finish();
    // The one that is lost costs nothing: it is history.
    assert_eq!(node.store.receipts_of(node.content("one")).unwrap().len(), 1);
    assert!(is_live(&node, &volume, "a", &vault), "the bytes are still held at the other place");
    let verify = node.store.begin_verify(vault.id, None).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.lost(&probed, node.content("one"), &Location(b"copy of a".to_vec()), "gone").unwrap();
    assert!(!is_live(&node, &volume, "a", &vault));
}

/// A person takes all evidence for unproven: every receipt has to be proven again, and the vector begins anew.
#[test]
fn a_reset_lowers_everything() {
    let (node, volume, vault) = pushed();
    let before = node.component(&volume, &vault);
    node.change_evidence(&vault, |run| run.reset(vault.id, "the disk was dropped", false));
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored; 2]);
    assert_eq!(node.component(&volume, &vault), None);
    let vault = node.store.destination(vault.id).unwrap();
    assert_eq!((vault.generation, vault.incarnation.is_some()), (1, true));
    let entry = last_of(&node, EvidenceEvent::Reset, |entry| entry.volume.is_some());
    assert_eq!((entry.before, entry.after, entry.generation), (before, None, Some(1)));
    assert_eq!(entry.reason.as_deref(), Some("the disk was dropped"));

    node.push(&volume, &vault);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified; 2]);
    assert_eq!(node.component(&volume, &vault), before);
}

/// One that is surely gone may be made anew under its old name; nothing of the old one is ever taken for the new one's.
#[test]
fn a_destination_that_is_gone_is_forgotten_with_its_identity() {
    let (node, volume, vault) = pushed();
    node.change_evidence(&vault, |run| run.reset(vault.id, "it burnt", true));
    let anew = node.store.destination(vault.id).unwrap();
    assert_eq!((anew.incarnation.clone(), anew.answered.clone()), (None, None));
    assert_ne!(anew.uuid, vault.uuid);
    let run = node.store.begin_verify(vault.id, None).unwrap();
    assert!(matches!(run.probed(vault.id, Some(&Incarnation::new("vault"))), Err(IdentityError::NeverInitialised)));
    drop(run);
    node.change_evidence(&vault, |run| run.initialised(vault.id, &Incarnation::new("another vault")));
    assert!(!is_live(&node, &volume, "a", &vault));
}

/// Whoever was accepted stays until a person says otherwise: init on a destination that has an identity is refused.
#[test]
fn an_identity_is_changed_by_adopt_only() {
    let (node, _, vault) = pushed();
    let run = node.store.begin_evidence_change(Some(vault.id), None).unwrap();
    assert!(run.initialised(vault.id, &Incarnation::new("vault")).is_ok(), "an init that is repeated changes nothing");
    assert!(matches!(run.initialised(vault.id, &Incarnation::new("else")), Err(StoreError::Refused(_))));
    drop(run);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified; 2]);
    node.change_evidence(&vault, |run| run.adopt(vault.id, &Incarnation::new("vault"), None, "to be sure"));
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored; 2], "an adopt believes nothing, even of the same one");
}

/// A person takes evidence back to a run: what was proven since falls back, what was proven before stays. Never up.
#[test]
fn a_rewind_lowers_what_was_proven_since() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    let proven_by = node.component(&volume, &vault).unwrap();
    // One run lies between the first push and what comes next.
    let between = node.index(&volume, &[]);
    node.index(&volume, &[("b", "two")]);
    node.push(&volume, &vault);
    let newest = node.component(&volume, &vault).unwrap();

    let run = node.store.begin_evidence_change(Some(vault.id), None).unwrap();
    for up in [newest, RunId::from_user(newest.get() + 1)] {
        assert!(matches!(run.rewind(volume.id(), vault.id, up, "up"), Err(StoreError::Refused(_))));
    }
    run.rewind(volume.id(), vault.id, between, "the push of yesterday is doubtful").unwrap();
    drop(run);
    assert!(proven_by < between);
    assert_eq!(node.component(&volume, &vault), Some(between));
    assert_eq!(node.levels(&vault), [ReceiptLevel::Verified, ReceiptLevel::Stored]);
    let entry = last_of(&node, EvidenceEvent::Rewind, |_| true);
    assert_eq!((entry.before, entry.after, entry.generation), (Some(newest), Some(between), Some(1)));
    assert_eq!(node.store.vector(volume.id(), vault.id).unwrap(), [(node.store.node_name().to_owned(), between)].into());

    node.change_evidence(&vault, |run| run.rewind(volume.id(), vault.id, RunId::from_user(0), "all of it"));
    assert_eq!(node.component(&volume, &vault), None);
    assert_eq!(node.store.vector(volume.id(), vault.id).unwrap(), [].into());
    assert_eq!(last_of(&node, EvidenceEvent::Rewind, |_| true).after, None);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored; 2]);
    assert_eq!(node.store.destination(vault.id).unwrap().generation, 2);
    let run = node.store.begin_evidence_change(Some(vault.id), None).unwrap();
    assert!(matches!(run.rewind(volume.id(), vault.id, RunId::from_user(0), "again"), Err(StoreError::Refused(_))));
}

/// A destination that went back to an earlier state holds nobody knows what.
#[test]
fn a_rollback_lowers_everything_there() {
    let (node, volume, vault) = pushed();
    let other = node.destination("other");
    node.push(&volume, &other);
    let push = Push::begin(&node.store, &volume, &vault);
    push.run.rolled_back(&push.probed, volume.id(), "push 3 was accepted, push 2 is there").unwrap();
    drop(push);
    assert_eq!(node.levels(&vault), [ReceiptLevel::Stored; 2]);
    assert_eq!(node.levels(&other), [ReceiptLevel::Verified; 2], "the others did not go back");
    assert!(evidence(&node, &volume, "a", &vault).destination_alarm);
    assert!(!evidence(&node, &volume, "a", &other).destination_alarm);
    last_of(&node, EvidenceEvent::Rollback, |_| true);
}

/// A head is announced before it is written and sealed with the advance: a crash in between leaves one of two, and no other.
#[test]
fn a_head_that_was_announced_is_known_after_a_crash() {
    let (node, volume, vault) = pushed();
    let push = Push::begin(&node.store, &volume, &vault);
    let head = crate::support::head(1, push.run.id());
    let id = push.run.announce(&push.probed, &head, &[]).unwrap();
    let foreign = crate::support::head(2, RunId::from_user(1));
    assert!(matches!(push.run.announce(&push.probed, &foreign, &[]), Err(StoreError::Refused(_))), "another run's head");
    drop(push);
    let known = node.store.known_heads(volume.id(), vault.id).unwrap();
    assert_eq!((known.sealed, known.announced), (None, Some((id, head))));
    assert_eq!(known.judge(Some(&head)), HeadVerdict::Announced(id));

    let push = Push::begin(&node.store, &volume, &vault);
    push.run.head_was_accepted(id).unwrap();
    push.finish();
    let known = node.store.known_heads(volume.id(), vault.id).unwrap();
    assert_eq!(known.judge(Some(&head)), HeadVerdict::AsKnown);
    assert_eq!(known.judge(None), HeadVerdict::RolledBack);
    // Forgotten by a person's word, nothing of ours lying there is a surprise.
    node.change_evidence(&vault, |run| run.reset(vault.id, "begin anew", false));
    let known = node.store.known_heads(volume.id(), vault.id).unwrap();
    assert_eq!((known.judge(None), known.judge(Some(&head))), (HeadVerdict::AsKnown, HeadVerdict::AsKnown));
}

/// The longest unchecked come first, the never checked before them.
#[test]
fn what_is_longest_unchecked_is_verified_first() {
    let (node, volume, vault) = pushed();
    node.pass(10);
    let verify = node.store.begin_verify(vault.id, None).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.record(&probed, &[at(&node, "one", "")]).unwrap();
    drop(verify);
    let order = |order, volume| {
        let mut found = Vec::new();
        node.store
            .to_verify(vault.id, volume, order, &mut |content, size| {
                found.push((content, size));
                Ok(())
            })
            .unwrap();
        found
    };
    let (one, two) = ((node.content("one"), 3), (node.content("two"), 3));
    assert_eq!(order(VerifyOrder::Content, None), [one, two]);
    assert_eq!(order(VerifyOrder::LongestUnchecked, None), [two, one]);
    let empty = node.volume("empty");
    assert_eq!(order(VerifyOrder::Content, Some(empty.id())), []);
    assert_eq!(order(VerifyOrder::Content, Some(volume.id())), [one, two]);
}

/// What the survey calls covered and stale is what the receipts say.
#[test]
fn a_survey_counts_what_is_proven() {
    let (node, volume, vault) = pushed();
    node.index(&volume, &[("c", "three")]);
    let now = node.store.now();
    let survey = |before| node.store.survey_pair(volume.id(), vault.id, before).unwrap();
    assert_eq!((survey(now).total, survey(now).covered, survey(now).stale), (3, 2, 0));
    assert_eq!(survey(Timestamp(now.0 + 1)).stale, 2);
    node.change_evidence(&vault, |run| run.reset(vault.id, "doubt", false));
    assert_eq!((survey(now).total, survey(now).covered), (3, 0));
    assert_eq!(requiring(&[&vault]).counted(), [vault.id]);
}

#[track_caller]
fn last_of(
    node: &Node,
    event: EvidenceEvent,
    also: impl Fn(&lastcopy_store::EvidenceEntry) -> bool,
) -> lastcopy_store::EvidenceEntry {
    let log = node.store.evidence_log().unwrap();
    log.into_iter().rfind(|entry| entry.event == event && also(entry)).unwrap()
}

const MD5_OF_ONE: &str = "f97c5d29941bfb1b2fdab0874906ab82";

fn fingerprint_of(node: &Node, word: &str) -> Option<BoundChecksum> {
    node.store.receipts_of(node.content(word)).unwrap().remove(0).fingerprint
}

/// A receipt keeps the provider's checksum that proved it for as long as it stands: it proves again what it proved once. With any other
/// proof, after a loss, or when the receipt has to be proven anew, there is none, and bytes are read.
#[test]
fn a_checksum_lasts_as_long_as_its_receipt() {
    let (node, volume, vault) = pushed();
    assert_eq!(fingerprint_of(&node, "one"), None, "it was read back");
    let record = |at: &ProvenAt| {
        let run = node.store.begin_verify(vault.id, None).unwrap();
        let probed = run.probed(vault.id, Some(&Incarnation::new("vault"))).unwrap();
        run.record(&probed, std::slice::from_ref(at)).unwrap();
    };
    let content = proof("one").content();
    let bind = || Proof::of_source(content, &b"one"[..], Algorithm::Md5, MD5_OF_ONE).unwrap();
    let bound = ProvenAt { proven: bind().into(), ..at(&node, "one", "") };
    record(&bound);
    let receipt = node.store.receipts_of(node.content("one")).unwrap().remove(0);
    assert_eq!((receipt.level, receipt.method), (ReceiptLevel::Verified, Method::Fingerprint));
    let found = fingerprint_of(&node, "one").unwrap();
    assert_eq!((found.content(), found.checksum().to_string()), (content, format!("md5:{MD5_OF_ONE}")));
    let again: Result<Proof<lastcopy_store::Fingerprint>, _> = Proof::unchanged(&found, MD5_OF_ONE);
    record(&ProvenAt { proven: again.unwrap().into(), ..at(&node, "one", "") });
    assert_eq!(fingerprint_of(&node, "one"), Some(found));

    record(&at(&node, "one", ""));
    assert_eq!(fingerprint_of(&node, "one"), None, "what was read back needs no checksum");

    record(&bound);
    let run = node.store.begin_verify(vault.id, None).unwrap();
    let probed = run.probed(vault.id, Some(&Incarnation::new("vault"))).unwrap();
    run.lost(&probed, node.content("one"), &Location::default(), "other bytes came back").unwrap();
    drop(run);
    assert_eq!(fingerprint_of(&node, "one"), None, "a checksum that stayed the same while the bytes did not is believed no more");

    record(&bound);
    assert!(fingerprint_of(&node, "one").is_some());
    node.raw().execute("UPDATE receipt SET level = 'stored'", []).unwrap();
    assert_eq!(fingerprint_of(&node, "one"), None);
    drop(volume);
}

/// What a move leads to another place of a destination takes its checksum along.
#[test]
fn a_checksum_follows_a_move() {
    let (node, volume, vault) = pushed();
    let push = Push::begin(&node.store, &volume, &vault);
    let (from, to) = (Location(b"photos/a".into()), Location(b"old/a".into()));
    let content = proof("one").content();
    let bound: Proof<lastcopy_store::Fingerprint> = Proof::of_source(content, &b"one"[..], Algorithm::Md5, MD5_OF_ONE).unwrap();
    push.run.record(&push.probed, &[ProvenAt { proven: bound.into(), ..at(&node, "one", "photos/a") }]).unwrap();
    let moving = push.run.moving(&push.probed, &from, &to).unwrap();
    assert_eq!(moving[0].fingerprint.unwrap().checksum().to_string(), format!("md5:{MD5_OF_ONE}"));
    // A move of what was read back has none.
    push.run.record(&push.probed, &[at(&node, "one", "photos/a")]).unwrap();
    assert_eq!(push.run.moving(&push.probed, &from, &to).unwrap()[0].fingerprint, None);
}

/// A move was told of, and another repository answered before its proof was recorded: it was that one's file that was moved. The next move
/// counts on the old place once more; after one that was proven, none does.
#[test]
fn a_move_without_proof_is_counted_again() {
    let (node, volume, vault) = pushed();
    let push = Push::begin(&node.store, &volume, &vault);
    let place = |path: &str| Location(path.into());
    let (from, first, second, third) = (place("photos/a"), place("old/1/a"), place("old/2/a"), place("old/3/a"));
    push.run.record(&push.probed, &[at(&node, "one", "photos/a")]).unwrap();
    let counted =
        |to| push.run.moving(&push.probed, &from, to).unwrap().into_iter().map(|moved| moved.content_id).collect::<Vec<_>>();
    let moved = |to| push.run.moved(&push.probed, node.content("one"), &from, to, Ok(()), node.store.now()).unwrap();
    assert_eq!(counted(&first), [node.content("one")]);
    moved(&first);
    assert_eq!(counted(&second), [node.content("one")], "nobody proved that it is at the first place");
    moved(&second);
    push.run.record(&push.probed, &[at(&node, "one", "old/2/a")]).unwrap();
    assert_eq!(counted(&third), []);
    // Nor once everything has to be proven again: where it was proven to be, it is to be looked for.
    drop(push);
    node.change_evidence(&vault, |run| run.reset(vault.id, "to be sure", false));
    let push = Push::begin(&node.store, &volume, &vault);
    assert_eq!(push.run.moving(&push.probed, &from, &third).unwrap(), []);
}

/// A push was killed between a move and its record; the next one found the place free, and put something else there.
#[test]
fn a_place_holds_one_content() {
    let (node, volume, vault) = pushed();
    let push = Push::begin(&node.store, &volume, &vault);
    let record = |word| push.run.record(&push.probed, &[at(&node, word, "photos/a")]).unwrap();
    let counts = |word| {
        node.store
            .receipts_of(node.content(word))
            .unwrap()
            .iter()
            .any(|receipt| receipt.location.0 == b"photos/a" && receipt.level == ReceiptLevel::Verified)
    };
    record("one");
    assert!(counts("one"));
    record("two");
    assert!(counts("two"));
    assert!(!counts("one"), "something else lies there by now");
    // Where a content is its own address, all of them share the empty place.
    push.run.record(&push.probed, &[at(&node, "one", ""), at(&node, "two", "")]).unwrap();
    let own = |word| node.store.receipts_of(node.content(word)).unwrap().into_iter().find(|receipt| receipt.location.0.is_empty());
    assert_eq!(own("one").unwrap().level, ReceiptLevel::Verified);
}

/// What the next segment would tell of, after a head.
fn told_since(node: &Node, volume: &Volume, vault: &DestinationRecord, head: lastcopy_store::HeadId) -> Vec<lastcopy_fs::RelPath> {
    let push = Push::begin(&node.store, volume, vault);
    let mut paths = Vec::new();
    let mut each = |line: lastcopy_store::Line| {
        paths.push(line.path);
        Ok(())
    };
    push.snapshot.lines(&push.probed, &lastcopy_store::Layout::ByContent, Some(head), &mut each).unwrap();
    paths
}

/// A file that would not hold still has no row that counts after those of its versions. An old version that was moved was told last, and came
/// back in place of the newer one.
#[test]
fn of_a_path_only_the_last_version_is_told_again() {
    for (moved, told) in [("one", false), ("three", true)] {
        let (node, volume, vault) = pushed();
        node.index(&volume, &[("a", "three"), ("b", "two")]);
        let a = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
        let run = node.store.begin_index(&volume).unwrap();
        run.unstable(&[a.id]).unwrap();
        run.finish(&Outcome::Success, None).unwrap();
        let push = Push::begin(&node.store, &volume, &vault);
        let head = push.run.announce(&push.probed, &crate::support::head(1, push.run.id()), &[]).unwrap();
        let (from, to) = (Location(b"photos/a".into()), Location(b"old/a".into()));
        push.run.record(&push.probed, &[at(&node, moved, "photos/a")]).unwrap();
        assert_eq!(push.run.moving(&push.probed, &from, &to).unwrap().len(), 1);
        push.run.moved(&push.probed, node.content(moved), &from, &to, Ok(()), node.store.now()).unwrap();
        drop(push);
        let paths = told_since(&node, &volume, &vault, head);
        assert_eq!(paths.contains(&rel("a")), told, "{moved}: {paths:?}");
    }
}

/// What is gone from here, and was stored again at another place there, is told with that place, or a recovery would look at the old one. What
/// came back to where it was is told already.
#[test]
fn a_repair_is_told_again_where_it_moved_something() {
    for (stored_again, told) in [("photos/a", false), ("photos/a again", true)] {
        let node = Node::new();
        let (volume, vault) = (node.volume("photos"), node.destination("vault"));
        node.index(&volume, &[("a", "one")]);
        let push = Push::begin(&node.store, &volume, &vault);
        push.run.record(&push.probed, &[at(&node, "one", "photos/a")]).unwrap();
        drop(push);
        node.index_gone(&volume, "a");
        let push = Push::begin(&node.store, &volume, &vault);
        let head = push.run.announce(&push.probed, &crate::support::head(1, push.run.id()), &[]).unwrap();
        push.run.lost(&push.probed, node.content("one"), &Location(b"photos/a".to_vec()), "not there").unwrap();
        drop(push);
        node.change_evidence(&vault, |run| {
            let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
            run.repaired(&probed, &[at(&node, "one", stored_again)])
        });
        let telling = told_since(&node, &volume, &vault, head);
        assert_eq!(telling == [rel("a")], told, "stored again as {stored_again}: {telling:?}");
    }
}

/// That a destination lost something is known until that is proven again; a proof at another place leaves the hole where it is.
#[test]
fn what_was_lost_is_known_until_it_is_proven_again() {
    let (node, _, vault) = pushed();
    let other = node.destination("other");
    let lost = || [node.store.has_lost(vault.id).unwrap(), node.store.has_lost(other.id).unwrap()];
    assert_eq!(lost(), [false, false]);
    let verify = node.store.begin_verify(vault.id, None).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    verify.lost(&probed, node.content("one"), &Location::default(), "not there").unwrap();
    assert_eq!(lost(), [true, false]);
    verify.record(&probed, &[at(&node, "one", "another place")]).unwrap();
    assert_eq!(lost(), [true, false]);
    verify.record(&probed, &[at(&node, "one", "")]).unwrap();
    assert_eq!(lost(), [false, false]);
}

/// Where files lie by their paths, a verify that finds one gone looks at the other places of the same content before it calls that lost. Not at
/// those that were lost before, unless this one was, too: then any may be back.
#[test]
fn another_place_may_hold_what_is_gone_from_one() {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one"), ("copy of a", "one")]);
    let verify = node.store.begin_verify(vault.id, None).unwrap();
    let probed = verify.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    let places = [Location(b"photos/a".to_vec()), Location(b"photos/copy of a".to_vec())];
    let may_be_elsewhere = || places.each_ref().map(|place| verify.may_be_elsewhere(&probed, node.content("one"), place).unwrap());
    verify.record(&probed, &[at(&node, "one", "photos/a")]).unwrap();
    assert_eq!(may_be_elsewhere(), [false, false], "it was never anywhere else");
    verify.record(&probed, &[at(&node, "one", "photos/copy of a")]).unwrap();
    assert_eq!(may_be_elsewhere(), [true, true]);
    verify.doubted(&places.clone().map(|place| (node.content("one"), place)), &probed).unwrap();
    verify.lost(&probed, node.content("one"), &places[1], "not there").unwrap();
    assert_eq!(may_be_elsewhere(), [false, true], "the copy was lost before");
    verify.lost(&probed, node.content("one"), &places[0], "not there").unwrap();
    assert_eq!(may_be_elsewhere(), [true, true], "both were");
}
