//! Packs that are gone, cut or changed, while the caches of whoever wrote them are warm: a verify loses exactly what they carried.

use crate::broken::program;
use crate::inside::Inside;
use crate::node::Node;
use crate::skip::no_kopia;
use crate::subject::{MadeRepository, copy_tree};
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_store::{AlarmKind, ContentId, Location, Proven, RunStatus};
use lastcopy_sync::conformance::Made;
use lastcopy_sync::{Depth, Destination, DestinationError, Extent, Finding, HeldItem, VerifySink, check_held};
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
fn flip(inside: &Inside, piece: &serde_json::Value) {
    let pack = &inside.blobs().unwrap()[piece["packFile"].as_str().unwrap()];
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
            flip(&node.made.inside, piece);
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
    theirs.iter().for_each(|piece| flip(&node.made.inside, piece));
    let object = node.made.object(hash_bytes(b"one's")).unwrap();
    flip(&node.made.inside, before.iter().find(|piece| piece["contentID"] == *object).unwrap());
    assert_eq!(node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap().lost, 1);
    let repaired = node.repair().run(|_| String::new()).unwrap();
    assert_eq!((repaired.lost, repaired.repaired), (1, 1), "{repaired:?}");
    theirs.iter().for_each(|piece| flip(&node.made.inside, piece));
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
            flip(&node.made.inside, piece);
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
    let (runtime, context) = crate::context();
    // Its server still runs, and remembers what there was.
    let places = runtime.block_on(node.made.kopia().places());
    assert!(matches!(places, Err(DestinationError::Unreachable { .. })), "{places:?}");
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
    let checked = check_held(node.made.kopia().as_ref(), &items, Depth::Bytes, &context).unwrap();
    assert!(checked.iter().all(|finding| matches!(finding, Finding::Unverifiable(_))), "{checked:?}");
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

/// Starts kopia. Each server that is started takes a line of the file `detours`, if one is left: the path by which it reaches the repository.
const BY_DETOURS: &str = r##"#!/bin/sh
dir=$(dirname "$0")
case " $* " in
    *" --help "*) ;;
    *" server start "*)
        detour=$(head -n 1 "$dir/detours")
        if [ -n "$detour" ]; then
            sed -i 1d "$dir/detours"
            config=$(mktemp "$dir/config.XXXXXX")
            for argument; do
                shift
                case "$argument" in
                    --config-file=*)
                        sed "s|$(cat "$dir/root")|$detour|" "${argument#*=}" > "$config"
                        argument=--config-file=$config;;
                esac
                set -- "$@" "$argument"
            done
        fi;;
esac
exec kopia "$@"
"##;

/// A node whose next server reaches the repository by a link that can be taken from it.
struct Detour {
    node: Node,
    programs: tempfile::TempDir,
    context: lastcopy_sync::Context,
    runtime: tokio::runtime::Runtime,
}

impl Detour {
    fn new() -> Self {
        let programs = tempfile::tempdir().unwrap();
        let program = program(programs.path(), BY_DETOURS);
        fs::write(programs.path().join("detours"), "").unwrap();
        let node = Node::of(MadeRepository::with(|options| options.program = program));
        node.write("a", &[16; 3000]);
        node.write("b", &[17; 3001]);
        node.push();
        fs::write(programs.path().join("root"), node.made.root().to_str().unwrap()).unwrap();
        let link = programs.path().join("link");
        std::os::unix::fs::symlink(node.made.root(), &link).unwrap();
        let (runtime, context) = crate::context();
        let detour = Self { node, programs, context, runtime };
        detour.add(&link);
        detour.node.made.kopia().end();
        detour
    }

    fn add(&self, path: &Path) {
        let detours = self.programs.path().join("detours");
        let before = fs::read_to_string(&detours).unwrap();
        fs::write(detours, format!("{before}{}\n", path.display())).unwrap();
    }

    /// The server after the next one opens the repository, and can read no file and no directory in it.
    fn second_is_blind(&self) {
        let blind = self.programs.path().join("blind");
        copy_tree(self.node.made.root(), &blind).unwrap();
        let there = Inside::new(blind.clone(), self.programs.path().join("own"));
        for piece in there.json(&["content", "list", "--json"]).unwrap().as_array().unwrap() {
            // What it needs to open the repository is in manifests.
            if !piece["contentID"].as_str().unwrap().starts_with('m') {
                flip(&there, piece);
            }
        }
        self.add(&blind);
    }

    /// The server that runs does not find the repository any more; everybody else does.
    fn loses_its_way(&self) {
        fs::remove_file(self.programs.path().join("link")).unwrap();
    }

    fn items(&self) -> (HeldItem, HeldItem) {
        (item(&self.node, &[16; 3000], 1), item(&self.node, &[17; 3001], 2))
    }

    /// What a verify says of a content, after its server lost the way in the midst of it.
    fn verified_meanwhile(&self) -> &'static str {
        let (first, second) = self.items();
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
        let (give, take) = tokio::sync::mpsc::channel(1);
        let verify = self.node.made.kopia().verify(take, Depth::Bytes, Arc::new(Heard(tell)), &self.context);
        let feed = async {
            give.send(vec![first.clone()]).await.unwrap();
            assert_eq!(told.recv().await, Some((first.content_id, "verified")));
            self.loses_its_way();
            give.send(vec![second]).await.unwrap();
            drop(give);
        };
        let (verified, ()) = self.runtime.block_on(async { tokio::join!(verify, feed) });
        verified.unwrap();
        told.try_recv().unwrap().1
    }

    /// What a repair removes for contents that are whole, after its server lost the way.
    fn removed_meanwhile(&self) -> Result<u64, DestinationError> {
        let (first, second) = self.items();
        let (runtime, kopia) = (&self.runtime, self.node.made.kopia());
        assert_eq!(runtime.block_on(kopia.heads(self.node.rig.volume.uuid())).unwrap().len(), 1);
        self.loses_its_way();
        let removed = runtime.block_on(kopia.make_way(vec![first, second], &[], &self.context));
        assert!(self.node.held(&[16; 3000]) && self.node.held(&[17; 3001]));
        removed
    }
}

/// A content, where it lies.
fn item(node: &Node, bytes: &[u8], row: i64) -> HeldItem {
    let content = hash_bytes(bytes);
    let location = Location(node.made.object(content).unwrap().into_bytes());
    HeldItem { content_id: ContentId::spooled(row), content, location, fingerprint: None }
}

/// kopia reaches some storages by a child of its own. When that of the reading server was killed, every other process found the repository whole,
/// and all that the server was still to read counted as lost. What cannot be read is read once more by another server.
#[test]
fn what_one_server_cannot_reach_is_not_lost() {
    if !no_kopia("damage::what_one_server_cannot_reach_is_not_lost") {
        assert_eq!(Detour::new().verified_meanwhile(), "verified");
    }
}

/// Whatever ended that child, like a machine that runs out of memory, may end the next one.
#[test]
fn what_two_servers_cannot_reach_is_not_lost() {
    if !no_kopia("damage::what_two_servers_cannot_reach_is_not_lost") {
        let detour = Detour::new();
        detour.second_is_blind();
        assert_eq!(detour.verified_meanwhile(), "unverifiable");
    }
}

/// The same in a repair: what such a server could not read was deleted from kopia's index, whole as it was.
#[test]
fn a_repair_removes_nothing_that_one_server_cannot_reach() {
    if !no_kopia("damage::a_repair_removes_nothing_that_one_server_cannot_reach") {
        assert_eq!(Detour::new().removed_meanwhile().unwrap(), 0);
        let detour = Detour::new();
        detour.second_is_blind();
        let refused = detour.removed_meanwhile();
        assert!(matches!(&refused, Err(DestinationError::Unreachable { .. })), "{refused:?}");
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
    let (first, second) = (item(&node, &[16; 3000], 1), item(&node, &[17; 3001], 2));
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
