//! Packs that are gone, cut or changed, while the caches of whoever wrote them are warm: a verify loses exactly what they carried.

use crate::node::Node;
use crate::skip::no_kopia;
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_store::{AlarmKind, ContentId, Location, Proven, RunStatus};
use lastcopy_sync::conformance::Made;
use lastcopy_sync::{Depth, Destination, Extent, HeldItem, VerifySink, check_held};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Two pushes, so that there are two packs of contents at the least.
fn pushed_twice() -> Node {
    let node = Node::new();
    for (push, size) in [(1, 3000), (2, 40_000)] {
        for number in 0..4 {
            node.write(&format!("{push}/{number}"), &vec![push * 16 + number; size + usize::from(number)]);
        }
        node.push();
    }
    node
}

/// Turns a byte of a content of kopia's round, in its pack; a second time, it is as it was.
fn flip(node: &Node, piece: &serde_json::Value) {
    let pack = &node.made.inside.blobs().unwrap()[piece["packFile"].as_str().unwrap()];
    let file = fs::File::options().read(true).write(true).open(pack).unwrap();
    let at = piece["packOffset"].as_u64().unwrap() + 5;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[!byte[0]], at).unwrap();
}

/// Damages a pack; what had to be lost by that is lost, by a quick look already if `quick` says so, and everything else is verified.
#[track_caller]
fn check(quick: bool, damage: impl Fn(&Path, &[(Content, u64)]) -> BTreeSet<Content>) {
    let node = pushed_twice();
    let packs = node.packs();
    assert!(packs.len() >= 2, "{packs:?}");
    let all: usize = packs.values().map(Vec::len).sum();
    let (pack, carried) = packs.first_key_value().unwrap();
    let expected = damage(pack, carried);
    assert!(!expected.is_empty());
    if quick {
        assert_eq!(node.rig.verify_only(&node.site, Extent::Quick).unwrap().unwrap().lost, expected.len() as u64);
    }
    let report = node.verify(Extent::All);
    let found = node.rig.store.lost_at(node.site.id).unwrap();
    let lost: BTreeSet<_> = found.iter().map(|receipt| receipt.content).collect();
    assert_eq!(lost, expected);
    assert_eq!((report.unverifiable, report.verified), (0, (all - expected.len()) as u64));
    let alarms = node.rig.alarms().unwrap();
    assert!(alarms.len() == expected.len() && alarms.iter().all(|alarm| alarm.kind == AlarmKind::LostObject), "{alarms:?}");
    // kopia takes what its index has for stored: pushing heals nothing, and claims nothing.
    let again = node.push_as_it_goes();
    assert_eq!(again.status, RunStatus::Partial);
    assert_eq!(again.outcome.unwrap().failed.count, expected.len() as u64);
    // A repair removes from the index what is dead in it, and stores it anew.
    let repaired = node.repair().run(|_| String::new()).unwrap();
    assert_eq!((repaired.lost, repaired.repaired, repaired.beyond.len()), (expected.len() as u64, expected.len() as u64, 0));
    let report = node.verify(Extent::All);
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, all as u64));
    assert!(node.rig.alarms().unwrap().is_empty());
    node.push();
}

#[test]
fn a_pack_is_removed() {
    if !no_kopia("damage::a_pack_is_removed") {
        check(true, |pack, carried| {
            fs::remove_file(pack).unwrap();
            carried.iter().map(|(content, _)| *content).collect()
        });
    }
}

#[test]
fn a_pack_is_truncated() {
    if !no_kopia("damage::a_pack_is_truncated") {
        check(true, |pack, carried| {
            let mut ends: Vec<_> = carried.iter().map(|(_, end)| *end).collect();
            ends.sort_unstable();
            // The last two contents lose something.
            let left = ends[ends.len() - 2] - 1;
            fs::File::options().write(true).open(pack).unwrap().set_len(left).unwrap();
            carried.iter().filter(|(_, end)| *end > left).map(|(content, _)| *content).collect()
        });
    }
}

#[test]
fn one_bit_of_a_pack_is_flipped() {
    if !no_kopia("damage::one_bit_of_a_pack_is_flipped") {
        check(false, |pack, carried| {
            let (content, end) = carried[0];
            let file = fs::File::options().read(true).write(true).open(pack).unwrap();
            let mut byte = [0];
            file.read_exact_at(&mut byte, end - 20).unwrap();
            file.write_all_at(&[byte[0] ^ 1], end - 20).unwrap();
            BTreeSet::from([content])
        });
    }
}

/// A file of several parts of which some are gone, and the list of its parts, too; and the directory that names it cannot be read either. What
/// the first look cannot see behind the list, the next one does.
#[test]
fn a_repair_heals_lists_of_parts_and_directories() {
    if no_kopia("damage::a_repair_heals_lists_of_parts_and_directories") {
        return;
    }
    let node = Node::new();
    let mut large = vec![0; 12 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut large);
    node.write("dir/large", &large);
    node.write("small", b"small");
    node.push();
    let heads = node.made.inside.roots(false).unwrap();
    let pieces = node.made.inside.json(&["content", "list", "--json"]).unwrap();
    let mut parts = 0;
    for piece in pieces.as_array().unwrap() {
        let id = piece["contentID"].as_str().unwrap();
        let is_part = piece["originalLength"].as_u64().unwrap() > 100_000;
        parts += usize::from(is_part);
        // One part, every list of parts, and every directory of files.
        if is_part && parts == 1 || id.starts_with('x') || id.starts_with('k') && !heads.iter().any(|head| head == id) {
            flip(&node, piece);
        }
    }
    assert!(parts > 1);
    // Whoever looks by the directories, as the judge does, sees nothing.
    assert_eq!(node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap().lost, 1);
    let repaired = node.repair().run(|_| String::new()).unwrap();
    assert_eq!((repaired.lost, repaired.repaired), (1, 1), "{repaired:?}");
    let report = node.verify(Extent::All);
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, 2));
    assert!(node.held(&large));
}

/// What nobody can store again stays in kopia's index: the pack may come back.
#[test]
fn a_repair_removes_nothing_that_is_beyond_repair() {
    if no_kopia("damage::a_repair_removes_nothing_that_is_beyond_repair") {
        return;
    }
    let node = pushed_twice();
    let (pack, _) = node.packs().into_iter().next().unwrap();
    let bytes = fs::read(&pack).unwrap();
    for number in 0..4 {
        for push in 1..3 {
            node.rig.remove(format!("{push}/{number}").as_bytes()).unwrap();
        }
    }
    node.rig.index().unwrap();
    fs::remove_file(&pack).unwrap();
    let lost = node.verify(Extent::All).lost;
    let repaired = node.repair().run(|_| String::new()).unwrap();
    assert!(lost > 0 && repaired.repaired == 0 && repaired.beyond.len() as u64 == lost, "{repaired:?}");
    // kopia reads what was deleted until it tidies up its index, and then no more.
    let deleted = node.made.inside.json(&["content", "list", "--deleted-only", "--json"]).unwrap();
    assert!(deleted.as_array().is_none_or(Vec::is_empty), "{deleted}");
    fs::write(&pack, bytes).unwrap();
    let report = node.verify(Extent::All);
    assert_eq!((report.lost, report.verified), (0, 8));
}

/// Directories of another node's, which this one cannot store again: they may come back, too.
#[test]
fn a_repair_removes_nothing_of_another_nodes() {
    if no_kopia("damage::a_repair_removes_nothing_of_another_nodes") {
        return;
    }
    let node = Node::new();
    node.write("a", b"one's");
    node.push();
    let pieces = || node.made.inside.json(&["content", "list", "--json"]).unwrap().as_array().unwrap().clone();
    let before = pieces();
    let other = Node::at(&node);
    other.write("dir/b", b"other's");
    other.push();
    let is = |piece: &serde_json::Value, letter| piece["contentID"].as_str().unwrap().starts_with(letter);
    let heads = node.made.inside.roots(false).unwrap();
    let is_head = |piece: &serde_json::Value| heads.iter().any(|head| head == piece["contentID"].as_str().unwrap());
    let theirs: Vec<_> =
        pieces().into_iter().filter(|piece| is(piece, 'k') && !before.contains(piece) && !is_head(piece)).collect();
    assert!(!theirs.is_empty());
    theirs.iter().for_each(|piece| flip(&node, piece));
    let object = node.made.object(hash_bytes(b"one's")).unwrap();
    flip(&node, before.iter().find(|piece| piece["contentID"] == *object).unwrap());
    assert_eq!(node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap().lost, 1);
    let repaired = node.repair().run(|_| String::new()).unwrap();
    assert_eq!((repaired.lost, repaired.repaired), (1, 1), "{repaired:?}");
    theirs.iter().for_each(|piece| flip(&node, piece));
    let deleted = node.made.inside.json(&["content", "list", "--deleted-only", "--json"]).unwrap();
    let deleted = deleted.as_array().into_iter().flatten().filter(|piece| is(piece, 'k')).count();
    assert_eq!(deleted, 0, "no directory was unreadable that this node could store again");
    let report = other.verify(Extent::All);
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, 1));
}

/// Somebody took a content out of kopia's index, in which it counted as stored. Then a push stores it anew: what kopia takes for unchanged is
/// read again, once it is seen not to be there.
#[test]
fn a_content_that_is_gone_from_the_index_is_stored_anew() {
    if no_kopia("damage::a_content_that_is_gone_from_the_index_is_stored_anew") {
        return;
    }
    let node = pushed_twice();
    let bytes = vec![17; 3001];
    let object = node.made.object(lastcopy_fs::hash_bytes(&bytes)).unwrap();
    node.somebody(&["content", "delete", &object, "--dangerous-commands=enabled"]);
    let drop = ["index", "optimize", "--all", "--drop-deleted-older-than=1ns", "--dangerous-commands=enabled"];
    node.somebody(&drop);
    assert!(!node.held(&bytes));
    for extent in [Extent::Quick, Extent::All] {
        let report = node.rig.verify_only(&node.site, extent).unwrap().unwrap();
        assert_eq!((report.lost, report.unverifiable), (1, 0), "{extent:?}: {report:?}");
    }
    node.push();
    assert!(node.held(&bytes) && node.gate("1/1"));
}

/// Without its directories, a snapshot cannot tell what it holds; but what it holds is there, and a listing that is not whole says of
/// nothing that it is lost.
#[test]
fn without_its_directories_contents_are_not_lost() {
    if no_kopia("damage::without_its_directories_contents_are_not_lost") {
        return;
    }
    let node = pushed_twice();
    let others = node.made.inside.roots(false).unwrap();
    let pieces = node.made.inside.json(&["content", "list", "--json"]).unwrap();
    for piece in pieces.as_array().unwrap() {
        let id = piece["contentID"].as_str().unwrap();
        // The directories of heads and segments stay.
        if id.starts_with('k') && !others.iter().any(|other| other == id) {
            flip(&node, piece);
        }
    }
    let report = node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((report.lost, report.unverifiable, report.verified), (0, 0, 8), "{report:?}");
    let quick = node.rig.verify_only(&node.site, Extent::Quick).unwrap().unwrap();
    assert_eq!((quick.lost, quick.unverifiable), (0, 0), "{quick:?}");
}

/// A repository that is away for a moment loses nothing.
#[test]
fn what_is_away_is_not_lost() {
    if no_kopia("damage::what_is_away_is_not_lost") {
        return;
    }
    let node = pushed_twice();
    let (root, away) = (node.made.root().to_owned(), node.made.root().with_extension("away"));
    let held: Vec<_> = node.made.held().unwrap().into_iter().map(|content| (content, node.made.object(content).unwrap())).collect();
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    let (_runtime, context) = crate::context();
    let items: Vec<_> = held
        .into_iter()
        .zip(1..)
        .map(|((content, object), row)| HeldItem {
            content_id: ContentId::spooled(row),
            content,
            location: Location(object.into_bytes()),
            fingerprint: None,
        })
        .collect();
    let checked = check_held(node.made.kopia().as_ref(), &items, Depth::Bytes, &context);
    assert!(checked.is_err(), "{checked:?}");
    fs::remove_dir(&root).unwrap();
    fs::rename(&away, &root).unwrap();
    assert_eq!(node.verify(Extent::All).lost, 0);
    assert!(node.held(&[16; 3000]));
}

/// What a verify says, as it says it: the item's row, and whether it is lost.
struct Heard(tokio::sync::mpsc::UnboundedSender<(ContentId, &'static str)>);

impl VerifySink for Heard {
    fn verified(&self, item: HeldItem, _: Proven) {
        self.0.send((item.content_id, "verified")).unwrap();
    }

    fn seen(&self, item: HeldItem) {
        self.0.send((item.content_id, "seen")).unwrap();
    }

    fn lost(&self, item: HeldItem, _: String) {
        self.0.send((item.content_id, "lost")).unwrap();
    }

    fn unverifiable(&self, item: HeldItem, _: String) {
        self.0.send((item.content_id, "unverifiable")).unwrap();
    }
}

/// A repository that goes away while it is verified has lost nothing, though none of its packs is where it was.
#[test]
fn what_goes_away_meanwhile_is_not_lost() {
    if no_kopia("damage::what_goes_away_meanwhile_is_not_lost") {
        return;
    }
    let node = pushed_twice();
    let (root, away) = (node.made.root().to_owned(), node.made.root().with_extension("away"));
    let item = |bytes: &[u8], row| {
        let content = lastcopy_fs::hash_bytes(bytes);
        let location = Location(node.made.object(content).unwrap().into_bytes());
        HeldItem { content_id: ContentId::spooled(row), content, location, fingerprint: None }
    };
    let (first, second) = (item(&[16; 3000], 1), item(&[17; 3001], 2));
    let (runtime, context) = crate::context();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (give, take) = tokio::sync::mpsc::channel(1);
    let verify = node.made.kopia().verify(take, Depth::Bytes, Arc::new(Heard(tell)), &context);
    let feed = async {
        give.send(vec![first.clone()]).await.unwrap();
        assert_eq!(told.recv().await, Some((first.content_id, "verified")));
        fs::rename(&root, &away).unwrap();
        fs::create_dir(&root).unwrap();
        give.send(vec![second.clone()]).await.unwrap();
        drop(give);
    };
    let (verified, ()) = runtime.block_on(async { tokio::join!(verify, feed) });
    verified.unwrap();
    assert_eq!(told.try_recv(), Ok((second.content_id, "unverifiable")));
}
