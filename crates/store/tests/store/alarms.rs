//! Alarms: they stand until a person acknowledges them, or a run proves the opposite.

use crate::support::{Node, Push, proof, rel, seen};
use lastcopy_fs::{RelPath, hash_bytes};
use lastcopy_store::{
    Alarm, AlarmId, AlarmKind, DestinationRecord, FileStatus, Incarnation, Location, Observation, Observed, Outcome, Probed,
    ProvenAt, Run, Seen, StoreError, Verify, Volume,
};

fn pushed() -> (Node, Volume, DestinationRecord) {
    let node = Node::new();
    let (volume, vault) = (node.volume("photos"), node.destination("vault"));
    node.index(&volume, &[("a", "one")]);
    node.push(&volume, &vault);
    (node, volume, vault)
}

fn standing(node: &Node) -> Vec<AlarmKind> {
    node.store.alarms(true).unwrap().iter().map(|alarm| alarm.kind).collect()
}

fn verify(node: &Node, vault: &DestinationRecord) -> (Run<Verify>, Probed) {
    let run = node.store.begin_verify(vault.id, None).unwrap();
    let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    (run, probed)
}

/// Raised again, the same alarm is still one.
#[test]
fn an_alarm_is_raised_once_and_latches() {
    let (node, _, vault) = pushed();
    for _ in 0..3 {
        let (run, probed) = verify(&node, &vault);
        run.lost(&probed, node.content("one"), &Location::default(), "not there").unwrap();
        run.finish(&Outcome::Success, None).unwrap();
    }
    let alarms = node.store.alarms(false).unwrap();
    assert_eq!(alarms.len(), 1);
    let Alarm { kind, destination, content, file, ended, .. } = alarms[0].clone();
    assert_eq!((kind, destination.as_deref(), file, ended), (AlarmKind::LostObject, Some("vault"), None, None));
    assert_eq!(content, Some(lastcopy_fs::hash_bytes(b"one").hash));
    // Neither another opener nor the passing of time ends it.
    node.pass(1_000_000_000);
    assert_eq!(node.again().0.alarms(true).unwrap().len(), 1);
}

#[test]
fn a_proof_ends_the_alarm_about_a_lost_object() {
    let (node, volume, vault) = pushed();
    node.index(&volume, &[("b", "two")]);
    let push = Push::begin(&node.store, &volume, &vault);
    push.run.lost(&push.probed, node.content("one"), &Location::default(), "not there").unwrap();
    let of = |word: &str| ProvenAt {
        content: node.content(word),
        location: Location::default(),
        proven: proof(word),
        at: node.store.now(),
    };
    push.run.record(&push.probed, &[of("two")]).unwrap();
    assert_eq!(standing(&node), [AlarmKind::LostObject], "another content proves nothing of this one");
    push.run.record(&push.probed, &[of("one")]).unwrap();
    assert_eq!(standing(&node), []);
    let alarm = node.store.alarms(false).unwrap().remove(0);
    assert_eq!((alarm.ended.is_some(), alarm.acknowledged), (true, None));
}

/// A repair that stored it again and proved it ends it, too, and says so in the log.
#[test]
fn a_repair_ends_the_alarm_about_a_lost_object() {
    let (node, _, vault) = pushed();
    let (run, probed) = verify(&node, &vault);
    run.lost(&probed, node.content("one"), &Location::default(), "not there").unwrap();
    drop(run);
    node.change_evidence(&vault, |run| {
        let probed = run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
        run.repaired(
            &probed,
            &[ProvenAt { content: node.content("one"), location: Location::default(), proven: proof("one"), at: node.store.now() }],
        )
    });
    assert_eq!(standing(&node), []);
    assert!(node.store.evidence_log().unwrap().iter().any(|entry| entry.event == lastcopy_store::EvidenceEvent::Repair));
}

/// Another repository, or none: the alarm stands until the accepted one answers again, or is replaced on a person's word.
#[test]
fn an_alarm_about_an_identity_ends_when_the_accepted_one_answers() {
    let (node, _, vault) = pushed();
    for answer in [Some(Incarnation::new("a stranger")), None] {
        let run = node.store.begin_verify(vault.id, None).unwrap();
        assert!(run.probed(vault.id, answer.as_ref()).is_err());
        assert_eq!(standing(&node), [AlarmKind::IdentityChanged]);
        run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
        assert_eq!(standing(&node), []);
        drop(run);
    }
    let run = node.store.begin_verify(vault.id, None).unwrap();
    assert!(run.probed(vault.id, None).is_err());
    drop(run);
    node.change_evidence(&vault, |run| run.adopt(vault.id, &Incarnation::new("a stranger"), None, "that is mine"));
    assert_eq!(standing(&node), []);
}

/// A rollback that was none: the head was listed late. Nothing else but a person's word ends it.
#[test]
fn an_alarm_about_a_rollback_ends_when_the_head_is_back() {
    let (node, volume, vault) = pushed();
    let push = Push::begin(&node.store, &volume, &vault);
    push.run.rolled_back(&push.probed, volume.id(), "push 1 is gone").unwrap();
    push.finish();
    assert_eq!(standing(&node), [AlarmKind::RolledBack]);
    let (run, probed) = verify(&node, &vault);
    run.head_is_back(&probed).unwrap();
    drop(run);
    assert_eq!(standing(&node), []);
}

/// A destination that goes back twice: what was proven between the two is not there any more. The second was not noticed while the
/// alarm about the first one stood. One and the same observation, repeated, lowers nothing again.
#[test]
fn a_second_rollback_lowers_what_was_proven_since_the_first() {
    let (node, volume, vault) = pushed();
    let observe = |detail: &str| {
        let push = Push::begin(&node.store, &volume, &vault);
        push.run.rolled_back(&push.probed, volume.id(), detail).unwrap();
        drop(push);
    };
    let prove = || {
        let push = Push::begin(&node.store, &volume, &vault);
        let of = |word: &str| ProvenAt {
            content: node.content(word),
            location: Location::default(),
            proven: proof(word),
            at: node.store.now(),
        };
        push.run.record(&push.probed, &[of("one")]).unwrap();
        drop(push);
    };
    observe("push 1 is gone");
    assert_eq!(node.store.count_receipts(vault.id).unwrap(), (1, 0, 0));
    prove();
    observe("push 1 is gone");
    assert_eq!(node.store.count_receipts(vault.id).unwrap(), (0, 1, 0), "nothing new was observed");
    observe("push 2 is gone");
    assert_eq!(node.store.count_receipts(vault.id).unwrap(), (1, 0, 0));
    assert_eq!(standing(&node), [AlarmKind::RolledBack]);
    // An acknowledgement has the heads of all volumes forgotten: what they would have told must be proven again, too.
    prove();
    let alarm = node.store.alarms(true).unwrap().remove(0);
    assert!(node.component(&volume, &vault).is_some());
    node.change_evidence(&vault, |run| run.acknowledge(alarm.id, "a test says so"));
    assert_eq!(node.store.count_receipts(vault.id).unwrap(), (1, 0, 0));
    // Nor is anything told there, until a push lists everything anew: a verify alone opens no gate.
    assert_eq!(node.component(&volume, &vault), None);
}

/// Bytes that changed under unchanged metadata: the alarm ends when the file is found to be what it was, or recorded as what it is.
#[test]
fn an_alarm_about_a_file_ends_when_its_bytes_are_explained() {
    // Damage is not explained by a change of permissions, after which the file is read again.
    for (bytes, mtime_ns, stands) in [("one", 1, false), ("two", 2, false), ("2", 1, false), ("two", 1, true)] {
        let (node, volume, _) = pushed();
        let file = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
        let audit = node.store.begin_audit(&volume).unwrap();
        audit.content_changed(file.id, "holds other bytes").unwrap();
        audit.finish(&Outcome::Success, None).unwrap();
        let alarm = node.store.alarms(true).unwrap().remove(0);
        assert_eq!((alarm.kind, alarm.file), (AlarmKind::ContentChanged, Some(("photos".to_owned(), rel("a")))));
        let (facts, _) = node.store.evidence(volume.id(), &[file.id], &[]).unwrap().remove(0);
        assert!(facts.alarm);
        let index = node.store.begin_index(&volume).unwrap();
        let content = hash_bytes(bytes.as_bytes());
        let seen = Seen { mtime_ns, mode: 0o600, ..seen(content.size) };
        let found = Observation { directory: RelPath::root(), name: b"a".to_vec(), seen, content };
        let observed = index.observe(&[found]).unwrap();
        index.finish(&Outcome::Success, None).unwrap();
        assert_eq!(!standing(&node).is_empty(), stands, "{bytes} {mtime_ns}");
        assert_eq!(observed == [Observed::Doubted], stands);
        let now = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
        assert_eq!(now.content == content, !stands, "{bytes} {mtime_ns}");
    }
    let (node, volume, _) = pushed();
    let file = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
    let audit = node.store.begin_audit(&volume).unwrap();
    audit.content_changed(file.id, "holds other bytes").unwrap();
    audit.content_as_indexed(file.id).unwrap();
    assert_eq!(standing(&node), []);
}

/// What a person puts back in place of a damaged file that was deleted is another file: it is believed.
#[test]
fn what_is_put_back_for_a_damaged_file_is_not_doubted() {
    let (node, volume, _) = pushed();
    let file = node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap();
    let audit = node.store.begin_audit(&volume).unwrap();
    audit.content_changed(file.id, "holds other bytes").unwrap();
    audit.finish(&Outcome::Success, None).unwrap();
    node.index_gone(&volume, "a");
    assert_eq!(node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap().status, FileStatus::Missing);
    let index = node.store.begin_index(&volume).unwrap();
    let content = hash_bytes(b"one");
    let found = Observation { directory: RelPath::root(), name: b"a".to_vec(), seen: seen(content.size), content };
    assert_eq!(index.observe(&[found]).unwrap(), [Observed::Reappeared]);
    index.finish(&Outcome::Success, None).unwrap();
    assert_eq!(standing(&node), []);
}

/// On a person's word, with a reason, once. A file is read again afterwards, whatever it looks like.
#[test]
fn an_acknowledgement_ends_one_alarm_and_is_kept() {
    let (node, volume, _) = pushed();
    node.index(&volume, &[("b", "two")]);
    let audit = node.store.begin_audit(&volume).unwrap();
    for path in ["a", "b"] {
        let file = node.store.file_at(volume.id(), &rel(path)).unwrap().unwrap();
        audit.content_changed(file.id, "holds other bytes").unwrap();
    }
    drop(audit);
    let first = node.store.alarms(true).unwrap().remove(0);
    let acknowledge = |id: AlarmId| {
        let destination = node.store.standing_alarm(id)?;
        let run = node.store.begin_evidence_change(destination, None).unwrap();
        let done = run.acknowledge(id, "I edited it with a strange tool");
        run.finish(&Outcome::Success, None)?;
        done
    };
    acknowledge(first.id).unwrap();
    assert_eq!(node.store.alarms(true).unwrap().len(), 1, "the other one stands");
    let kept = node.store.alarms(false).unwrap().remove(0);
    assert_eq!(kept.acknowledged.as_deref(), Some("I edited it with a strange tool"));
    assert!(node.store.file_at(volume.id(), &rel("a")).unwrap().unwrap().seen.racy, "it is to be read again");
    assert!(!node.store.file_at(volume.id(), &rel("b")).unwrap().unwrap().seen.racy);
    for unknown in [first.id, AlarmId::from_user(77)] {
        assert!(matches!(acknowledge(unknown), Err(StoreError::NotFound(_))));
    }
}

/// An alarm that ended is history: neither reopened nor deleted.
#[test]
fn an_alarm_that_ended_stays_ended() {
    let (node, _, vault) = pushed();
    let run = node.store.begin_verify(vault.id, None).unwrap();
    assert!(run.probed(vault.id, None).is_err());
    run.probed(vault.id, vault.incarnation.as_ref()).unwrap();
    assert!(run.probed(vault.id, None).is_err());
    assert_eq!(node.store.alarms(false).unwrap().len(), 2, "a new one beside the old one");
    let raw = node.raw();
    assert!(raw.execute("UPDATE alarm SET ended_at = NULL WHERE id = 1", []).is_err());
    assert!(raw.execute("DELETE FROM alarm", []).is_err());
}
