//! rclones that break or lie: a stand-in starts the real one behind a proxy that changes its answers, or something else altogether. In none
//! of these a receipt is verified that should not be, and no vector moves.

use crate::context;
use crate::servers::Place;
use crate::skip::no_rclone;
use crate::subject::{MadeMirror, files};
use lastcopy_fs::hash_bytes;
use lastcopy_store::RunStatus;
use lastcopy_sync::Extent;
use lastcopy_sync::conformance::{Pushing, Rig, Site, gate_is_open, holds};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// The stand-in: started as rclone is, it starts the real one on another socket, and stands between.
pub(crate) const STAND_IN: &str = r#"#!/usr/bin/env python3
import json, os, re, signal, socket, subprocess, sys, threading, time
HOW, ARGS = open(os.path.join(os.path.dirname(sys.argv[0]), "how")).read().strip(), sys.argv[1:]
at = ARGS.index("--rc-addr") + 1
front = ARGS[at].removeprefix("unix://")
back = front + "-real"
ARGS[at] = "unix://" + back
if HOW == "never starts":
    sys.exit(3)
real = subprocess.Popen(["rclone"] + ARGS)
late = set()
signal.signal(signal.SIGTERM, lambda *_: (real.kill(), os._exit(0)))
while True:
    probe = socket.socket(socket.AF_UNIX)
    try:
        probe.connect(back); break
    except OSError:
        time.sleep(0.01)
def read_request(stream):
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = stream.recv(1)
        if not byte: return None, None
        head += byte
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    body = b""
    while length and len(body) < int(length.group(1)):
        body += stream.recv(65536)
    return head, body
def answer(stream, value):
    body = json.dumps(value).encode() if not isinstance(value, bytes) else value
    stream.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
def forward(head, body):
    head = re.sub(rb"\r\n\r\n$", b"\r\nConnection: close\r\n\r\n", head)
    real = socket.socket(socket.AF_UNIX); real.connect(back); real.sendall(head + body)
    whole = b""
    while True:
        part = real.recv(65536)
        if not part: return whole
        whole += part
def of_a_file(body):
    return b"/things/" in body or b'"things/' in body
# Whoever is connected notices a while later: by then, it can be seen that this process is gone.
def die():
    real.kill()
    if os.fork() == 0: time.sleep(0.3)
    os._exit(1)
def serve(stream):
    head, body = read_request(stream)
    if head is None: return
    line = head.split(b"\r\n")[0]
    copying = b"operations/copyfile" in line and b'"dstRemote":"things/' in body and b"owner.json" not in body
    moving = b"operations/movefile" in line and b".lastcopy/history/" in body
    path = json.loads(body)["dstFs"] + "/" + json.loads(body)["dstRemote"] if copying else ""
    together = b"sync/copy" in line
    if together:
        copying, asked = True, json.loads(body)
        link = asked["srcFs"].split(":")[-1] + "/things/second"
        path = asked["dstFs"] + "/things/second"
    if together and HOW in ("drops a file", "fails with some"):
        os.unlink(link)
        whole = forward(head, body)
        if HOW == "drops a file": return stream.sendall(whole)
        whole = json.dumps({"error": "one of them failed", "status": 500}).encode()
        return stream.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)
    if b"core/version" in line and HOW == "too old":
        return answer(stream, {"version": "v1.60.1", "decomposed": [1, 60, 1]})
    if copying and HOW == "shows late" and body not in late:
        late.add(body)
        forward(head, body)
        whole = json.dumps({"error": "Move NewObject failed: object not found", "status": 404}).encode()
        return stream.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)
    if line.startswith(b"GET") and b"things/" in line and HOW.endswith("look"):
        if HOW == "dies at a look" or line in late: die()
        late.add(line)
        return stream.sendall(b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nOops\n")
    if line.startswith(b"GET") and b"things/second" in line and HOW == "breaks off once" and line not in late:
        late.add(line)
        return stream.sendall(forward(head, body)[:-1])
    if line.startswith(b"GET") and b"things/first" in line and HOW == "opens nothing":
        return stream.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nNot Found\n")
    if copying and HOW == "drops a file":
        return answer(stream, {})
    if copying and HOW == "hangs":
        return time.sleep(3600)
    if copying and HOW == "dies midway" or moving and HOW == "dies before a move":
        real.kill(); os._exit(1)
    if copying and HOW == "prints garbage":
        return answer(stream, b"<html>certainly</html>")
    if copying and HOW == "fills the disk":
        whole = json.dumps({"error": "write: no space left on device", "status": 500}).encode()
        return stream.sendall(b"HTTP/1.1 500 Oops\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)
    with open(os.path.join(os.path.dirname(sys.argv[0]), "asked"), "ab") as asked: asked.write(line + b"\n")
    def edits():
        asked = json.loads(body)
        with open(link if together else asked["srcFs"].split(":")[-1] + "/" + asked["srcRemote"], "r+b") as file: file.write(b"B")
    if copying and HOW == "edits the file before it is sent":
        edits()
    whole = forward(head, body)
    if moving and HOW == "shows late what it moved":
        asked = json.loads(body)
        moved = asked["dstFs"].split(":")[-1] + "/" + asked["dstRemote"]
        os.rename(moved, moved + "-unseen")
        whole = json.dumps({"error": "object not found", "status": 404}).encode()
        return stream.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole)
    if copying and HOW == "edits the file after it was sent":
        edits()
    if b"operations/fsinfo" in line and (HOW == "serves no hashes" or HOW.startswith("is of a cloud")):
        value = json.loads(whole.split(b"\r\n\r\n", 1)[1])
        value.update({"Hashes": []} if HOW == "serves no hashes" else {"Name": ":drive"})
        return answer(stream, value)
    if b"operations/stat" in line and HOW == "gives other hashes":
        value = json.loads(whole.split(b"\r\n\r\n", 1)[1])
        hashes = (value.get("item") or {}).get("Hashes") or {}
        for name in hashes: hashes[name] = hashes[name][::-1]
        return answer(stream, value)
    if moving and HOW == "dies after a move":
        real.kill(); os._exit(1)
    if (copying or moving) and HOW.startswith("spoils copies in ") and b'"srcRemote":"things/' in body:
        path = HOW.removeprefix("spoils copies in ") + "/" + json.loads(body)["dstRemote"]
        data = open(path, "rb").read()
        open(path, "wb").write(bytes([data[0] ^ 1]) + data[1:])
    if copying and HOW in ("truncates", "flips a byte"):
        data = bytearray(open(path, "rb").read())
        data = data[:-1] if HOW == "truncates" else bytes([data[0] ^ 1]) + data[1:]
        open(path, "wb").write(data)
    if b"operations/stat" in line and HOW.endswith("blank hashes"):
        value = json.loads(whole.split(b"\r\n\r\n", 1)[1])
        if value.get("item"): value["item"]["Hashes"] = {"blake3": ""}
        return answer(stream, value)
    stream.sendall(whole)
def one(stream):
    try: serve(stream)
    except (OSError, ValueError): pass
    finally: stream.close()
listener = socket.socket(socket.AF_UNIX); listener.bind(front); listener.listen(64)
while True:
    stream, _ = listener.accept()
    threading.Thread(target=one, args=(stream,), daemon=True).start()
"#;

/// A node whose mirror is served by a stand-in.
struct Node {
    rig: Rig,
    site: Site,
    made: Arc<MadeMirror>,
    programs: PathBuf,
    _programs: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    /// One file is pushed already, and another one waits.
    fn new(place: Place) -> Self {
        let (runtime, context) = context();
        let programs = tempfile::tempdir().unwrap();
        let stand_in = programs.path().join("stand-in");
        fs::write(&stand_in, STAND_IN).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        behave(programs.path(), "honest");
        let made = Arc::new(MadeMirror::with(place, |options| {
            options.program = stand_in;
            options.stall = Duration::from_secs(3);
        }));
        let rig = Rig::new(&context).unwrap();
        let site = rig.site_of(made.clone(), "there").unwrap();
        let node = Self { rig, site, made, programs: programs.path().to_owned(), _programs: programs, _runtime: runtime };
        node.rig.write(b"first", b"bytes of the first").unwrap();
        node.rig.index().unwrap();
        let pushed = node.rig.push(&node.site).unwrap();
        assert_eq!(pushed.status, RunStatus::Success, "{:?}", pushed.outcome);
        node.rig.write(b"second", b"bytes of the second").unwrap();
        node
    }

    /// From the next start on, the stand-in behaves like this; the one that runs is ended.
    fn behave(&self, how: &str) {
        behave(&self.programs, how);
        self.made.mirror().end();
    }
}

/// From its next start on, the stand-in in this directory behaves like this.
pub(crate) fn behave(programs: &Path, how: &str) {
    fs::write(programs.join("how"), how).unwrap();
}

/// Once with one file, and once with two that are sent together.
fn breaks(test: &str, place: Place, how: &str, expected: RunStatus, says: &str) {
    if no_rclone(test) {
        return;
    }
    for together in [false, true] {
        let node = Node::new(place);
        if together {
            node.rig.write(b"third", b"bytes of the third").unwrap();
        }
        broken_by(&node, how, expected, says);
    }
}

fn broken_by(node: &Node, how: &str, expected: RunStatus, says: &str) {
    let horizon = node.rig.index().unwrap();
    let before = node.rig.store.own_component(node.rig.volume.id(), node.site.id).unwrap();
    node.behave(how);
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, expected, "{how}: {outcome:?}");
    let said = match &outcome {
        Ok(report) => format!("{:?}", report.failed.first),
        Err(error) => error.to_string(),
    };
    assert!(said.contains(says), "{how}: {said}");
    let after = node.rig.store.own_component(node.rig.volume.id(), node.site.id).unwrap();
    assert_eq!(before, after, "{how}: the vector moved");
    for (facts, evidence) in node.rig.evidence(&node.site).unwrap() {
        if facts.file.content == hash_bytes(b"bytes of the second") {
            assert!(!gate_is_open(&facts, &evidence), "{how}: the gate is open");
        }
    }
    node.behave("honest");
    let again = node.rig.push(&node.site).unwrap();
    assert_eq!(again.status, RunStatus::Success, "{how}, afterwards: {:?}", again.outcome);
    assert!(holds(&node.site, hash_bytes(b"bytes of the second")).unwrap());
    node.rig.converged(&node.site, horizon).unwrap();
}

/// What passes by itself costs a push nothing.
fn fails_no_push(test: &str, place: Place, how: &str) {
    if no_rclone(test) {
        return;
    }
    let node = Node::new(place);
    let horizon = node.rig.index().unwrap();
    node.behave(how);
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Success, "{how}: {outcome:?}");
    node.rig.converged(&node.site, horizon).unwrap();
}

macro_rules! broken {
    ($($name:ident: $place:ident, $how:literal, $status:ident, $says:literal;)*) => {$(
        #[test]
        fn $name() {
            breaks(concat!("broken::", stringify!($name)), Place::$place, $how, RunStatus::$status, $says);
        }
    )*};
}

broken! {
    it_drops_a_file_and_says_that_all_is_well: Local, "drops a file", Partial, "it is not there after it was sent";
    it_truncates: Local, "truncates", Partial, "hash to";
    it_flips_a_byte: Local, "flips a byte", Partial, "hash to";
    it_gives_blank_hashes: SftpWithBlake3, "blank hashes", Partial, "gave no BLAKE3";
    it_prints_garbage: Local, "prints garbage", Failed, "nonsense";
    it_hangs: Local, "hangs", Failed, "no progress";
    it_dies_midway: Local, "dies midway", Failed, "ended, or hangs";
    it_never_starts: Local, "never starts", Failed, "did not start";
    it_is_replaced_by_an_older_one: Local, "too old", Failed, "too old";
    it_fills_the_disk: Local, "fills the disk", Failed, "no space left";
}

/// Of files that are sent together, one that fails costs the others nothing, and is sent by itself.
#[test]
fn it_fails_with_one_of_several() {
    if no_rclone("broken::it_fails_with_one_of_several") {
        return;
    }
    let node = Node::new(Place::Local);
    node.rig.write(b"third", b"bytes of the third").unwrap();
    let horizon = node.rig.index().unwrap();
    node.behave("fails with some");
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Success, "{outcome:?}");
    assert_eq!(outcome.unwrap().verified, 2);
    node.rig.converged(&node.site, horizon).unwrap();
    let asked = fs::read_to_string(node.programs.join("asked")).unwrap();
    assert!(asked.lines().any(|line| line.contains("operations/copyfile")), "{asked}");
}

/// The receipts of a version that makes room count on two places while it is moved. Once everything is looked at, it is at one of them, and
/// nothing is lost; a verify that took the other place for a loss raised an alarm about a version that was there all the time.
#[test]
fn it_dies_around_a_move() {
    if no_rclone("broken::it_dies_around_a_move") {
        return;
    }
    for (how, moves) in [("dies before a move", false), ("dies after a move", true)] {
        let node = Node::new(Place::Local);
        node.rig.write(b"first", b"other bytes").unwrap();
        node.rig.index().unwrap();
        node.behave(how);
        assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Failed, "{how}");
        assert_eq!(node.made.root().join("things/first").exists(), !moves, "{how}");
        node.behave("honest");
        for pushed in [false, true] {
            if pushed {
                assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Success, "{how}");
            }
            let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
            assert_eq!((verified.lost, verified.unverifiable), (0, 0), "{how}: {verified:?}");
            assert!(verified.verified >= if pushed { 3 } else { 1 }, "{how}: {verified:?}");
            assert!(node.rig.alarms().unwrap().is_empty(), "{how}");
        }
        assert!(holds(&node.site, hash_bytes(b"bytes of the first")).unwrap(), "{how}");
    }
}

/// Where a move is a copy and a removal, and the copy goes wrong, what it was made from stays, and so does its receipt.
#[test]
fn it_spoils_what_it_copies_to_the_history() {
    if no_rclone("broken::it_spoils_what_it_copies_to_the_history") {
        return;
    }
    // What combines several remotes says that it moves, where they copy and remove.
    [Place::S3, Place::Combined].into_iter().for_each(spoils_a_copy);
}

fn spoils_a_copy(place: Place) {
    let node = Node::new(place);
    node.rig.write(b"first", b"other bytes").unwrap();
    node.rig.index().unwrap();
    node.behave(&format!("spoils copies in {}", node.made.root().display()));
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Partial, "{outcome:?}");
    assert!(format!("{:?}", outcome.unwrap().failed.first).contains("could not be moved to the history"));
    assert_eq!(fs::read(node.made.root().join("things/first")).unwrap(), b"bytes of the first");
    node.behave("honest");
    assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Success);
    assert!(holds(&node.site, hash_bytes(b"bytes of the first")).unwrap());
    let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.verified, verified.lost), (3, 0), "{verified:?}");
    assert!(node.rig.alarms().unwrap().is_empty());
}

/// rclone says "not found" of every object that it cannot open: beyond a quota, without the right, in an archive. Nothing of that is lost, and
/// nothing is moved out of its place.
#[test]
fn what_cannot_be_opened_is_not_lost() {
    if no_rclone("broken::what_cannot_be_opened_is_not_lost") {
        return;
    }
    let node = Node::new(Place::Sftp);
    node.behave("opens nothing");
    let verified = node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.unverifiable, verified.lost), (1, 0), "{verified:?}");
    assert!(node.rig.alarms().unwrap().is_empty());
    let record = node.rig.record(&node.site).unwrap();
    lastcopy_sync::reset(&node.rig.store, &record, node.site.liar.as_ref(), "a test says so", &node.rig.context).unwrap();
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Partial, "{outcome:?}");
    assert!(node.made.root().join("things/first").exists(), "it is where it was");
    node.behave("honest");
    assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Success);
}

/// What a verify did not reach because rclone ended says nothing against what is there: it counted no more, until the next verify read it.
#[test]
fn it_dies_at_a_look() {
    if no_rclone("broken::it_dies_at_a_look") {
        return;
    }
    let node = Node::new(Place::Sftp);
    node.rig.index().unwrap();
    assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Success);
    let open = || {
        let evidence = node.rig.evidence(&node.site).unwrap();
        evidence.into_iter().filter(|(facts, evidence)| gate_is_open(facts, evidence)).count()
    };
    assert_eq!(open(), 2);
    for how in ["dies at a look", "fails, and dies at the second look"] {
        node.behave(how);
        let ended = node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap_err().to_string();
        assert!(ended.contains("rclone ended"), "{how}: {ended}");
        node.behave("honest");
        assert_eq!(open(), 2, "{how}");
    }
}

/// rclone's own sftp server, under load, broke a connection off in the midst of what was read back, and the push said that it had failed.
#[test]
fn it_breaks_off_once() {
    fails_no_push("broken::it_breaks_off_once", Place::Sftp, "breaks off once");
}

/// A push moved the old version to the history, and then what it had sent itself, because it arrived damaged: onto the old version.
#[test]
fn what_arrives_damaged_replaces_no_old_version() {
    if no_rclone("broken::what_arrives_damaged_replaces_no_old_version") {
        return;
    }
    let node = Node::new(Place::Local);
    node.rig.index().unwrap();
    assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Success);
    node.rig.write(b"second", b"BYTES OF THE SECOND").unwrap();
    node.rig.index().unwrap();
    node.behave("flips a byte");
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Partial, "{outcome:?}");
    // Both are in the history. (The move itself replaces nothing, either: where its place is taken, what arrived would stay where it is.)
    assert!(!node.made.root().join("things/second").exists(), "nothing stays under a name that says something else");
    node.behave("honest");
    assert!(holds(&node.site, hash_bytes(b"bytes of the second")).unwrap());
    let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.verified, verified.lost), (2, 0), "{verified:?}");
    assert!(node.rig.alarms().unwrap().is_empty());
    assert_eq!(node.rig.push(&node.site).unwrap().status, RunStatus::Success);
    assert!(holds(&node.site, hash_bytes(b"bytes of the second")).unwrap());
}

/// rclone's own sftp server, under load, did not know a file that it had just stored, and rclone said that sending it failed.
#[test]
fn it_shows_late_what_it_stored() {
    fails_no_push("broken::it_shows_late_what_it_stored", Place::Local, "shows late");
}

/// A server moved a version to the history, answered that it had not, and showed neither place. Once it shows what it did, a verify finds it: it was
/// taken for lost for good, because nothing looked there again.
#[test]
fn it_shows_late_what_it_moved() {
    if no_rclone("broken::it_shows_late_what_it_moved") {
        return;
    }
    let node = Node::new(Place::Local);
    node.rig.write(b"first", b"other bytes in it").unwrap();
    node.rig.index().unwrap();
    node.behave("shows late what it moved");
    let Pushing { outcome, status } = node.rig.push(&node.site).unwrap();
    assert_eq!(status, RunStatus::Success, "{outcome:?}");
    node.behave("honest");
    let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.verified, verified.lost), (2, 1), "not there yet: {verified:?}");
    let unseen: Vec<_> = files(node.made.root()).into_iter().filter(|path| path.to_str().unwrap().ends_with("-unseen")).collect();
    let [unseen] = &unseen[..] else { panic!("{unseen:?}") };
    fs::rename(unseen, unseen.to_str().unwrap().strip_suffix("-unseen").unwrap()).unwrap();
    let verified = node.rig.verify(&node.site, Extent::All).unwrap().unwrap();
    assert_eq!((verified.verified, verified.lost), (3, 0), "{verified:?}");
    assert!(holds(&node.site, hash_bytes(b"bytes of the first")).unwrap());
    assert!(node.rig.alarms().unwrap().is_empty());
}
