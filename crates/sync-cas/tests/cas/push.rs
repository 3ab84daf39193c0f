//! The sequence of a push, over a real index and a local `cas` destination.

use crate::context;
use crate::subject::MadeCas;
use lastcopy_fs::{Cancel, Content, Id128, Progress, RelPath, hash_bytes};
use lastcopy_store::{AlarmKind, ContentId, FileStatus, Location, RunId, RunStatus};
use lastcopy_sync::conformance::{Lie, Made, Pushing, Rig, Site, Tamper, gate_is_open};
use lastcopy_sync::segment::{HeadDocument, Header, Place, Said, read};
use lastcopy_sync::{Context, Depth, Finding, HeldItem, PushReport, check_held};
use lastcopy_sync_cas::{Local, Medium};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A node whose one destination is within reach beneath its disguise.
struct Node {
    rig: Rig,
    site: Site,
    made: Arc<MadeCas>,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    fn new() -> Self {
        let (runtime, context) = context();
        Self::under(runtime, &context)
    }

    fn under(runtime: tokio::runtime::Runtime, context: &Context) -> Self {
        let rig = Rig::new(context).unwrap();
        let made = Arc::new(MadeCas::new());
        let site = rig.site_of(made.clone(), "there").unwrap();
        Self { rig, site, made, _runtime: runtime }
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Content {
        self.rig.write(path.as_bytes(), bytes).unwrap();
        hash_bytes(bytes)
    }

    #[track_caller]
    fn push(&self, expected: RunStatus) -> Pushing {
        let pushing = self.rig.push(&self.site).unwrap();
        assert_eq!(pushing.status, expected, "{:?}", pushing.outcome);
        pushing
    }

    #[track_caller]
    fn pushed(&self, expected: RunStatus) -> PushReport {
        self.push(expected).outcome.unwrap()
    }

    #[track_caller]
    fn converged(&self, horizon: RunId) {
        self.rig.converged(&self.site, horizon).unwrap();
    }

    fn component(&self) -> Option<RunId> {
        self.rig.store.own_component(self.rig.volume.id(), self.site.id).unwrap()
    }

    /// The paths for which the gate is open.
    fn open(&self) -> Vec<String> {
        let all = self.rig.evidence(&self.site).unwrap();
        all.into_iter().filter(|(facts, at)| gate_is_open(facts, at)).map(|(facts, _)| facts.file.path.to_string()).collect()
    }

    fn place(&self) -> PathBuf {
        let epoch = self.rig.store.epoch().unwrap().to_string();
        self.made.root().join("volumes").join(self.rig.volume.uuid().to_string()).join(epoch)
    }

    /// Where the format says that unfinished uploads lie.
    fn incoming(&self) -> PathBuf {
        let epoch = self.rig.store.epoch().unwrap().to_string();
        self.made.root().join("incoming").join(self.rig.volume.uuid().to_string()).join(epoch)
    }

    fn segment_bytes(&self, sequence: i64) -> Vec<u8> {
        fs::read(self.place().join(format!("segments/{sequence:08}.jsonl.zst"))).unwrap()
    }

    /// A segment's header, and what it says of each path.
    fn segment(&self, sequence: i64) -> (Header, Vec<Said>) {
        let mut said = Vec::new();
        let header = read(&self.segment_bytes(sequence)[..], &mut |line| {
            said.push(line);
            Ok(())
        });
        said.sort_by(|one, two| one.path.cmp(&two.path));
        (header.unwrap(), said)
    }

    /// Path and status of each line.
    fn lines(&self, sequence: i64) -> Vec<(String, FileStatus)> {
        self.segment(sequence).1.into_iter().map(|said| (said.path.to_string(), said.status)).collect()
    }

    fn head(&self) -> (HeadDocument, Vec<u8>) {
        let bytes = fs::read(self.place().join("head.json")).unwrap();
        (serde_json::from_slice(&bytes).unwrap(), bytes)
    }

    fn damaged(&self) -> Vec<Vec<u8>> {
        let dir = fs::read_dir(self.made.root().join("damaged"));
        dir.map_or_else(|_| Vec::new(), |dir| dir.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect())
    }
}

fn present(paths: &[&str]) -> Vec<(String, FileStatus)> {
    paths.iter().map(|path| ((*path).to_owned(), FileStatus::Present)).collect()
}

fn hex(bytes: &[u8]) -> String {
    hash_bytes(bytes).hash.to_string()
}

/// A file that was written to between its snapshot and its transfer is not stored as what it was, claims end below it, and no segment
/// promises it; the next index and push make it whole.
#[test]
fn a_file_that_changes_while_it_is_sent() {
    for (name, after) in [("as long as before", &b"aFter"[..]), ("longer", b"afterwards"), ("shorter", b"aft"), ("empty", b"")] {
        let node = Node::new();
        node.write("old", b"old");
        let first = node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
        let before = node.write("file", b"after");
        node.write("other", b"other");
        node.rig.index().unwrap();
        let path = node.rig.tree().join("file");
        node.site.liar.midway(move || fs::write(path, after).unwrap());
        let report = node.pushed(RunStatus::Partial);
        assert_eq!((report.drift.count, report.verified, report.failed.count), (1, 1, 0), "{name}: {report:?}");
        assert_eq!(report.drift.first[0].0, RelPath::new("file").unwrap());
        assert_eq!(node.made.bytes_at(before), None, "{name}");
        assert_eq!(node.component(), Some(first), "{name}");
        assert_eq!(node.open(), ["old"], "{name}");
        assert_eq!(node.lines(2), present(&["other"]), "{name}");
        let horizon = node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
        assert_eq!(node.lines(3), present(&["file"]), "{name}");
        node.converged(horizon);
    }
}

/// What is not there any more when its turn comes is drift, too, whatever took its place.
#[test]
fn a_file_that_goes_while_it_is_sent() {
    for replace in [false, true] {
        let node = Node::new();
        node.write("file", b"bytes");
        node.write("other", b"other");
        node.rig.index().unwrap();
        let tree = node.rig.tree().to_owned();
        node.site.liar.midway(move || {
            fs::remove_file(tree.join("file")).unwrap();
            if replace {
                std::os::unix::fs::symlink(tree.join("other"), tree.join("file")).unwrap();
            }
        });
        let report = node.pushed(RunStatus::Partial);
        assert_eq!((report.drift.count, report.verified), (1, 1), "{report:?}");
        assert_eq!(report.drift.first[0].1, "is gone since it was indexed");
        assert_eq!(node.component(), None);
        if replace {
            fs::remove_file(node.rig.tree().join("file")).unwrap();
        }
        let horizon = node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
        node.converged(horizon);
    }
}

/// A content whose file drifted is sent from another file that has it.
#[test]
fn a_content_is_sent_from_whichever_file_still_has_it() {
    let node = Node::new();
    for name in ["first", "second", "third"] {
        node.write(name, b"the same");
    }
    node.rig.index().unwrap();
    let tree = node.rig.tree().to_owned();
    node.site.liar.midway(move || {
        // Whichever of them is tried first and second; the third one still has it.
        for name in ["first", "second"] {
            fs::write(tree.join(name), b"another!").unwrap();
        }
    });
    let report = node.pushed(RunStatus::Partial);
    assert_eq!(report.verified + report.drift.count, 3, "{report:?}");
    assert_eq!(node.made.bytes_at(hash_bytes(b"the same")).unwrap(), b"the same");
    assert_eq!(node.made.bytes_at(hash_bytes(b"another!")), None);
    let horizon = node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    node.converged(horizon);
}

/// Bytes that changed under unchanged metadata raise an alarm on the file, and are not stored under any name.
#[test]
fn a_file_that_changed_silently() {
    let node = Node::new();
    node.write("file", b"rotten");
    let was = hash_bytes(b"sound!");
    let run = node.rig.store.begin_index(&node.rig.volume).unwrap();
    let stat = lastcopy_fs::FileStat::of_fd(fs::File::open(node.rig.tree().join("file")).unwrap()).unwrap();
    let seen = lastcopy_store::Seen::from_stat(&stat, i64::MAX, 1);
    let observed = lastcopy_store::Observation { directory: RelPath::root(), name: b"file".to_vec(), seen, content: was };
    run.observe(&[observed]).unwrap();
    run.finish_index(&[], &lastcopy_store::Outcome::Success, None).unwrap();
    let report = node.pushed(RunStatus::Partial);
    assert_eq!(report.drift.count, 1);
    let alarms = node.rig.alarms().unwrap();
    assert_eq!(alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::ContentChanged]);
    assert_eq!(fs::read_dir(node.made.root().join("objects")).map_or(0, Iterator::count), 0);
    assert_eq!(node.component(), None);
}

/// A file that cannot be read gets no receipt and no line, is reported each time, and holds nothing back; once it can be read, the
/// next push takes it along.
///
/// Privileged users read everything, so destinations work on threads without privileges here.
#[test]
fn a_file_that_cannot_be_read() {
    let node = unprivileged();
    node.write("readable", b"readable");
    let secret = node.write("secret", b"secret");
    let horizon = node.rig.index().unwrap();
    let path = node.rig.tree().join("secret");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
    for _ in 0..2 {
        let report = node.pushed(RunStatus::Partial);
        assert_eq!((report.excluded.count, report.drift.count, report.failed.count), (1, 0, 0), "{report:?}");
        assert!(report.excluded.first[0].1.starts_with("cannot be read: "), "{report:?}");
        assert_eq!(node.component(), Some(horizon));
        assert_eq!(node.open(), ["readable"]);
        assert_eq!(node.made.bytes_at(secret), None);
        assert_eq!(node.lines(1), present(&["readable"]));
    }
    fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    node.pushed(RunStatus::Success);
    node.converged(horizon);
    assert_eq!(node.lines(2), present(&["secret"]));
}

/// Asks to stop once so many items are done.
struct StopAfter {
    items: AtomicU64,
    cancel: Cancel,
}

impl Progress for StopAfter {
    fn phase(&self, _name: &'static str, _items: u64, _bytes: u64) {}

    fn note(&self, _line: &str) {}

    fn advance(&self, items: u64, _bytes: u64) {
        if items > 0 && self.items.fetch_sub(items, Ordering::SeqCst) == items {
            self.cancel.cancel();
        }
    }
}

/// What was proven before a push was stopped stays proven: the next one sends only the rest.
#[test]
fn a_push_that_was_stopped_goes_on() {
    let node = Node::new();
    for number in 0..3000 {
        node.write(&format!("{number}"), format!("file {number}").as_bytes());
    }
    let horizon = node.rig.index().unwrap();
    let cancel = Cancel::new();
    let progress = Arc::new(StopAfter { items: AtomicU64::new(10), cancel: cancel.clone() });
    let stopped = Context { cancel, progress, ..node.rig.context.clone() };
    let pushing = node.rig.push_under(&node.site, &stopped).unwrap();
    assert_eq!(pushing.status, RunStatus::Aborted, "{:?}", pushing.outcome);
    assert!(pushing.outcome.unwrap_err().is_cancelled());
    assert_eq!(node.component(), None);
    assert!(!node.place().join("head.json").exists());
    let (_, verified, _) = node.rig.store.count_receipts(node.site.id).unwrap();
    assert!((10..3000).contains(&verified), "{verified} were proven");
    let report = node.pushed(RunStatus::Success);
    assert_eq!((report.already, report.verified), (verified, 3000 - verified));
    node.converged(horizon);
    assert_eq!(fs::read_dir(node.incoming()).unwrap().count(), 0);
}

/// A large part that a killed push left is used again; bytes of it that are wrong are found when it is read back, and the whole
/// is stored once more.
#[test]
fn a_large_part_is_used_again() {
    const SIZE: usize = 65 << 20;
    for rotten in [false, true] {
        let node = Node::new();
        let bytes: Vec<u8> = (0..SIZE).map(|place| (place / 1000) as u8).collect();
        let content = node.write("large", &bytes);
        let horizon = node.rig.index().unwrap();
        let part = node.incoming().join(content.hash.to_string());
        fs::create_dir_all(part.parent().unwrap()).unwrap();
        fs::write(&part, &bytes[..SIZE / 2]).unwrap();
        if rotten {
            crate::subject::rewrite(&part, |bytes| bytes[0] ^= 1).unwrap();
        }
        let inode = fs::metadata(&part).unwrap().ino();
        node.pushed(RunStatus::Success);
        node.converged(horizon);
        let same = fs::metadata(node.made.object(content)).unwrap().ino() == inode;
        assert_eq!(same, !rotten);
        assert_eq!(node.damaged().len(), usize::from(rotten));
    }
}

/// A node whose destinations work on threads without privileges, in a directory that they may write.
fn unprivileged() -> Node {
    const NOBODY: u32 = 65534;
    let drop_privileges = || {
        // Whoever may not change it has no privileges to lose.
        let _none_to_lose = rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(NOBODY));
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().on_thread_start(drop_privileges).build().unwrap();
    let context = Context::new(runtime.handle().clone(), Cancel::new(), Arc::new(lastcopy_fs::NoProgress));
    let rig = Rig::new(&context).unwrap();
    let made = Arc::new(MadeCas::new());
    fs::set_permissions(made.root().parent().unwrap(), PermissionsExt::from_mode(0o777)).unwrap();
    let site = rig.site_of(made.clone(), "there").unwrap();
    Node { rig, site, made, _runtime: runtime }
}

/// A push that is killed leaves parts that nobody may write any more, whole or not. They ended every later push of that volume, for
/// whoever has no privileges to write them all the same.
#[test]
fn parts_that_nobody_may_write_stop_no_push() {
    let node = unprivileged();
    let large: Vec<u8> = (0..65 << 20).map(|place: usize| (place / 1000) as u8).collect();
    let contents = [node.write("small", b"small"), node.write("large", &large)];
    let horizon = node.rig.index().unwrap();
    fs::create_dir_all(node.incoming()).unwrap();
    for dir in node.incoming().ancestors().take(3) {
        fs::set_permissions(dir, PermissionsExt::from_mode(0o777)).unwrap();
    }
    for content in contents {
        let part = node.incoming().join(content.hash.to_string());
        fs::write(&part, if content.size > 5 { &large[..] } else { b"small" }).unwrap();
        fs::set_permissions(&part, PermissionsExt::from_mode(0o444)).unwrap();
    }
    node.pushed(RunStatus::Success);
    node.converged(horizon);
}

/// A part may be an object by another name: a kill between the link and the unlink of a publication leaves one, and so does another
/// push of the same place. Emptying it would empty the object.
#[test]
fn an_object_is_not_emptied_through_its_temporary_name() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    let local = Local::new(&root);
    local.create_root().unwrap();
    let content = hash_bytes(b"the same bytes");
    let place = Place { volume: Id128([1; 16]), epoch: Id128([2; 16]) };
    let staged = local.stage(place, content, &mut &b"the same bytes"[..]).unwrap();
    local.publish(&[staged]).unwrap();
    let object = crate::subject::object(&root, content);
    let part = root.join(format!("incoming/{}/{}/{}", place.volume, place.epoch, content.hash));
    fs::hard_link(&object, &part).unwrap();
    drop(local.stage(place, content, &mut &b"other"[..]).unwrap());
    assert_eq!(fs::read(&object).unwrap(), b"the same bytes");
}

/// Two nodes have one volume: the old one lives on, though its volume was recovered by another. Neither touches what the other one
/// has under way.
#[test]
fn another_life_of_the_volume_has_its_own_unfinished_uploads() {
    let node = Node::new();
    node.write("file", b"bytes");
    let horizon = node.rig.index().unwrap();
    let other = node.incoming().with_file_name(Id128([7; 16]).to_string());
    fs::create_dir_all(&other).unwrap();
    let part = other.join(hex(b"bytes"));
    fs::write(&part, b"by").unwrap();
    node.pushed(RunStatus::Success);
    node.converged(horizon);
    assert_eq!(fs::read(&part).unwrap(), b"by");
}

/// A second path to bytes that are held needs a line, but no object; a path that goes needs a line, too.
#[test]
fn the_delta_is_what_the_segments_do_not_say() {
    let node = Node::new();
    node.write("one", b"bytes");
    node.rig.index().unwrap();
    assert_eq!(node.pushed(RunStatus::Success).stored, 1);
    let object = fs::metadata(node.made.object(hash_bytes(b"bytes"))).unwrap();
    node.write("two", b"bytes");
    let horizon = node.rig.index().unwrap();
    let report = node.pushed(RunStatus::Success);
    assert_eq!((report.planned, report.stored, report.already), (0, 0, 2));
    assert_eq!(node.lines(2), present(&["two"]));
    assert_eq!(fs::metadata(node.made.object(hash_bytes(b"bytes"))).unwrap().ctime_nsec(), object.ctime_nsec());
    node.converged(horizon);
    node.rig.remove(b"one").unwrap();
    let horizon = node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    assert_eq!(node.lines(3), [("one".to_owned(), FileStatus::Missing)]);
    node.converged(horizon);
    // Nothing more to say: no segment, and the head stays.
    let head = node.head();
    node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    assert_eq!(node.head(), head);
}

/// A push that was cut short leaves receipts without lines: the next one writes them, and sends nothing.
#[test]
fn receipts_without_lines_get_their_lines() {
    let node = Node::new();
    node.write("file", b"bytes");
    let horizon = node.rig.index().unwrap();
    let liar = node.site.liar.clone();
    node.site.liar.sealing(move || liar.lie(Lie::FailsCall(1)));
    node.push(RunStatus::Failed);
    assert_eq!(node.site.liar.told(), 1);
    assert!(!node.place().join("segments").exists());
    node.site.liar.lie(Lie::None);
    let report = node.pushed(RunStatus::Success);
    assert_eq!((report.stored, report.already), (0, 1));
    // The number of the segment that was announced and never written is not used again.
    assert_eq!(node.lines(2), present(&["file"]));
    assert!(node.segment(2).0.full);
    node.converged(horizon);
}

/// Each segment names the one before it by its digest, and each head its segment and the head before.
#[test]
fn segments_and_heads_form_a_chain() {
    let node = Node::new();
    let mut before: Option<(Vec<u8>, Vec<u8>)> = None;
    for sequence in 1..=4 {
        node.write(&format!("file {sequence}"), format!("bytes {sequence}").as_bytes());
        let run = node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
        let (header, said) = node.segment(sequence);
        assert_eq!((header.sequence, header.full), (sequence, sequence == 1));
        assert_eq!(said.len(), 1);
        assert_eq!(header.horizon["here"], run.get());
        assert_eq!(header.follows_epoch, None);
        let (head, bytes) = node.head();
        assert_eq!((head.sequence, head.segment.sequence), (sequence, sequence));
        assert_eq!(head.segment.digest, hex(&node.segment_bytes(sequence)));
        let previous = before.map(|(segment, head)| (hex(&segment), hex(&head)));
        assert_eq!(header.previous.map(|link| link.digest), previous.as_ref().map(|(segment, _)| segment.clone()));
        assert_eq!(head.previous, previous.map(|(_, head)| head));
        before = Some((node.segment_bytes(sequence), bytes));
    }
}

/// The first segment of an epoch lists everything, missing paths too, and names the epoch before, which is this index's own and not the
/// other life that was seen; receipts are proven again, and nothing is sent again.
#[test]
fn the_first_segment_of_an_epoch_lists_everything() {
    let node = Node::new();
    for name in ["gone", "one", "two"] {
        node.write(name, name.as_bytes());
        node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
    }
    node.rig.remove(b"gone").unwrap();
    let horizon = node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    let earlier = node.rig.store.epoch().unwrap();
    node.site.liar.lie(Lie::HeadOfAnotherLife);
    node.push(RunStatus::Aborted);
    node.site.liar.lie(Lie::None);
    assert_ne!(node.rig.store.epoch().unwrap(), earlier);
    assert_eq!(node.open(), [""; 0]);
    let report = node.pushed(RunStatus::Success);
    assert_eq!((report.stored, report.verified), (0, 2));
    let (header, _) = node.segment(1);
    assert!(header.full);
    assert_eq!(header.follows_epoch, Some(earlier.to_string()));
    assert_eq!(header.previous, None);
    let mut all = present(&["one", "two"]);
    all.insert(0, ("gone".to_owned(), FileStatus::Missing));
    assert_eq!(node.lines(1), all);
    node.converged(horizon);
}

/// Bytes without end, counted.
struct Endless(u64);

impl std::io::Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        assert!(self.0 < 64 << 20, "it is read without end");
        self.0 += buffer.len() as u64;
        buffer.fill(7);
        Ok(buffer.len())
    }
}

/// A file that somebody keeps writing to, a log, filled the destination for as long as it grew.
#[test]
fn a_source_that_keeps_growing_is_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let local = Local::new(&home.path().join("store"));
    local.create_root().unwrap();
    let content = hash_bytes(&[7; 1000]);
    let place = Place { volume: Id128([1; 16]), epoch: Id128([2; 16]) };
    let mut endless = Endless(0);
    local.stage(place, content, &mut endless).unwrap();
    let part = home.path().join(format!("store/incoming/{}/{}/{}", place.volume, place.epoch, content.hash));
    assert_eq!(fs::metadata(part).unwrap().len(), 1000);
    assert_eq!(endless.0, 1000);
}

/// An object that is there already is never trusted by name: one that does not hash to it is moved to where it can be looked at, and
/// the right bytes are stored.
#[test]
fn a_damaged_object_is_set_aside_and_stored_again() {
    let node = Node::new();
    let content = hash_bytes(b"the right bytes");
    let path = node.made.object(content);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for (number, wrong) in [&b"the wrong bytes"[..], b"shorter", b"", b"longer than the right ones"].into_iter().enumerate() {
        if number > 0 {
            // Evidence from before is of no use to it.
            let record = node.rig.record(&node.site).unwrap();
            let destination = node.site.liar.as_ref();
            lastcopy_sync::reset(&node.rig.store, &record, destination, "a test says so", &node.rig.context).unwrap();
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, wrong).unwrap();
        node.write("file", b"the right bytes");
        let horizon = node.rig.index().unwrap();
        let report = node.pushed(RunStatus::Success);
        assert_eq!(report.stored, 1);
        assert_eq!(node.made.bytes_at(content).unwrap(), b"the right bytes");
        assert!(node.damaged().contains(&wrong.to_vec()), "{:?} was not kept", String::from_utf8_lossy(wrong));
        assert_eq!(node.damaged().len(), number + 1);
        node.converged(horizon);
    }
}

/// What lies under an object's name was moved aside before anybody held the right bytes: where the source turned out to have
/// changed, nothing came in its place.
#[test]
fn nothing_is_set_aside_before_the_right_bytes_are_there() {
    for wrong in [&b"the wrong bytes"[..], b"shorter"] {
        let node = Node::new();
        let content = node.write("file", b"the right bytes");
        node.rig.index().unwrap();
        fs::create_dir_all(node.made.object(content).parent().unwrap()).unwrap();
        fs::write(node.made.object(content), wrong).unwrap();
        let path = node.rig.tree().join("file");
        node.site.liar.midway(move || fs::write(path, b"newer").unwrap());
        let report = node.pushed(RunStatus::Partial);
        assert_eq!((report.drift.count, report.verified), (1, 0), "{report:?}");
        assert_eq!(node.made.bytes_at(content).unwrap(), wrong);
        assert!(node.damaged().is_empty());
    }
}

/// An object that was misread once is no damaged object: it is looked at again before it is moved.
#[test]
fn an_object_that_was_misread_stays_where_it_is() {
    let node = Node::new();
    let content = node.write("file", b"bytes");
    let horizon = node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    let inode = fs::metadata(node.made.object(content)).unwrap().ino();
    let record = node.rig.record(&node.site).unwrap();
    lastcopy_sync::reset(&node.rig.store, &record, node.site.liar.as_ref(), "a test says so", &node.rig.context).unwrap();
    node.made.arm(Some("misreads an object once"));
    node.pushed(RunStatus::Success);
    assert_eq!(node.made.struck(), 1);
    assert!(node.damaged().is_empty());
    assert_eq!(fs::metadata(node.made.object(content)).unwrap().ino(), inode);
    node.converged(horizon);
}

/// A crash between the announcement of a head and its sealing here: what the destination accepted is accepted here.
#[test]
fn a_head_that_was_announced_is_accepted() {
    let node = Node::new();
    node.write("one", b"one");
    node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    node.write("two", b"two");
    node.rig.index().unwrap();
    node.site.liar.lie(Lie::TimesOutAfterSealing);
    node.push(RunStatus::Failed);
    node.site.liar.lie(Lie::None);
    let known = node.rig.store.known_heads(node.rig.volume.id(), node.site.id).unwrap();
    assert_eq!(known.sealed.unwrap().1.sequence, 1);
    assert_eq!(known.announced.unwrap().1.sequence, 2);
    assert_eq!(node.head().0.sequence, 2);
    let segment = node.segment_bytes(2);
    node.write("three", b"three");
    let horizon = node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    let (header, _) = node.segment(3);
    assert_eq!(header.previous.unwrap().digest, hex(&segment));
    assert_eq!(node.lines(3), present(&["three"]));
    node.converged(horizon);
}

/// Storage that lists late is asked a second time before it is taken for rolled back; one that was is asked no third time.
#[test]
fn an_older_head_is_asked_for_twice() {
    let node = Node::new();
    for name in ["one", "two"] {
        node.write(name, name.as_bytes());
        node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
    }
    node.write("three", b"three");
    let horizon = node.rig.index().unwrap();
    node.site.liar.lie(Lie::OlderHead);
    node.push(RunStatus::Refused);
    assert_eq!(node.site.liar.told(), 2);
    let alarms = node.rig.alarms().unwrap();
    assert_eq!(alarms.iter().map(|alarm| alarm.kind).collect::<Vec<_>>(), [AlarmKind::RolledBack]);
    assert_eq!(node.rig.store.count_receipts(node.site.id).unwrap(), (2, 0, 0));
    // It only listed late: the alarm ends by itself, and everything is proven again.
    node.site.liar.lie(Lie::OlderHeadOnce);
    let report = node.pushed(RunStatus::Success);
    assert_eq!(node.site.liar.told(), 1);
    assert_eq!((report.stored, report.verified), (1, 3));
    node.converged(horizon);
}

/// A verify that finds a loss shuts the gate for those bytes alone, and moves no vector; the next push stores them again.
#[test]
fn a_loss_shuts_the_gate_for_those_bytes_alone() {
    let node = Node::new();
    let content = node.write("file", b"bytes");
    node.write("other", b"other");
    let horizon = node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    node.made.tamper(Tamper::Drop(content)).unwrap();
    let report = node.rig.verify(&node.site, lastcopy_sync::Extent::All).unwrap().unwrap();
    assert_eq!(report.lost, 1);
    assert_eq!(node.open(), ["other"]);
    // The vector stays: it filters, receipts decide.
    assert_eq!(node.component(), Some(horizon));
    assert_eq!(node.pushed(RunStatus::Success).stored, 1);
    node.converged(horizon);
}

/// Two pushes may store one content at the same time: the object that is there first is never replaced.
#[test]
fn an_object_is_never_replaced() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    let local = Local::new(&root);
    local.create_root().unwrap();
    let content = hash_bytes(b"the same bytes");
    let staged = [[1; 16], [2; 16]]
        .map(|id| local.stage(Place { volume: Id128(id), epoch: Id128(id) }, content, &mut &b"the same bytes"[..]).unwrap());
    let mut inodes = Vec::new();
    for one in staged {
        local.publish(&[one]).unwrap();
        inodes.push(fs::metadata(crate::subject::object(&root, content)).unwrap().ino());
    }
    assert_eq!(inodes[0], inodes[1]);
}

/// Programs that look for duplicates make links of them. Such a one has the length of its target's name, and may lead into the volume.
#[test]
fn a_link_of_the_right_length_is_no_object() {
    let node = Node::new();
    let bytes = b"bytes as long as this name";
    node.write("file", bytes);
    node.rig.index().unwrap();
    node.pushed(RunStatus::Success);
    let content = hash_bytes(bytes);
    let item = HeldItem { content_id: ContentId::spooled(1), content, location: Location::default(), fingerprint: None };
    let look = || check_held(node.site.liar.as_ref(), std::slice::from_ref(&item), Depth::Presence, &node.rig.context).unwrap();
    assert!(matches!(look()[..], [Finding::Seen]), "{:?}", look());
    let object = crate::subject::object(node.made.root(), content);
    fs::remove_file(&object).unwrap();
    std::os::unix::fs::symlink("links as long as this name", &object).unwrap();
    assert!(matches!(look()[..], [Finding::Unverifiable(_)]), "{:?}", look());
}

/// A marker that cannot be read as one hides what is there: that is no empty place, and no other repository.
#[test]
fn a_damaged_marker_is_neither_nothing_nor_another() {
    for damaged in ["", "{\"format\":1,", "{\"format\":1,\"id\":\"?\",\"kind\":\"cas\",\"created\":\"\"}"] {
        let node = Node::new();
        node.write("file", b"bytes");
        let horizon = node.rig.index().unwrap();
        node.pushed(RunStatus::Success);
        let marker = node.made.root().join(".lastcopy-destination.json");
        let right = fs::read(&marker).unwrap();
        fs::write(&marker, damaged).unwrap();
        node.push(RunStatus::Failed);
        assert!(node.rig.alarms().unwrap().is_empty());
        assert!(node.rig.init(&node.site).is_err());
        let record = node.rig.record(&node.site).unwrap();
        let destination = node.site.liar.as_ref();
        let gone = lastcopy_sync::reset(&node.rig.store, &record, destination, "a test says so", &node.rig.context);
        assert!(!gone.unwrap(), "it was taken for gone: {damaged}");
        fs::write(&marker, right).unwrap();
        node.pushed(RunStatus::Success);
        node.converged(horizon);
    }
}
