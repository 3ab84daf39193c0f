//! Checksums that the far side computes itself: what they prove, and that bytes are read wherever they prove nothing.

use crate::broken::{STAND_IN, behave};
use crate::context;
use crate::servers::{Place, Served, obscured};
use crate::skip::no_rclone;
use crate::subject::MadeMirror;
use lastcopy_fs::{Progress, hash_bytes};
use lastcopy_store::{Method, Receipt, ReceiptLevel, RunStatus};
use lastcopy_sync::conformance::{Made, Pushing, Rig, Site, Tamper};
use lastcopy_sync::{Depth, Extent, Finding, HeldItem, VerifyReport, check_held};
use lastcopy_sync_mirror::{Mirror, Options, Standing, Verify};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

const FIRST: &[u8] = b"bytes of the first";
const SECOND: &[u8] = b"bytes of the second";
/// As `sha256sum` says.
const SHA256_OF_FIRST: &str = "sha256:4d91329839a8c38f58e0f684e44577c1ae864650b2f9ef63b933076523105945";

/// Keeps what a person is told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Progress for Told {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}
    fn advance(&self, _files: u64, _bytes: u64) {}
    fn note(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
}

/// A node with a mirror on a server that computes SHA-256. Between them stands one that keeps what is asked, and may lie.
struct Node {
    rig: Rig,
    site: Site,
    made: Arc<MadeMirror>,
    told: Arc<Told>,
    programs: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

/// How some bytes are proven, and the checksum that is kept with that.
type Proven = Option<(Method, Option<String>)>;

const READ_BACK: Proven = Some((Method::ReadBack, None));

fn by_checksum(checksum: &str) -> Proven {
    Some((Method::Fingerprint, Some(checksum.to_owned())))
}

impl Node {
    /// One file is pushed already, and another one waits.
    fn new(verify: Verify) -> Self {
        let (runtime, mut context) = context();
        let told = Arc::new(Told::default());
        context.progress = told.clone();
        let programs = tempfile::tempdir().unwrap();
        let stand_in = programs.path().join("stand-in");
        fs::write(&stand_in, STAND_IN).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        behave(programs.path(), "honest");
        let made = Arc::new(MadeMirror::with(Place::SftpWithSha256, |options| {
            options.program = stand_in;
            options.verify = verify;
        }));
        let rig = Rig::new(&context).unwrap();
        let site = rig.site_of(made.clone(), "there").unwrap();
        let node = Self { rig, site, made, told, programs, _runtime: runtime };
        node.rig.write(b"first", FIRST).unwrap();
        assert_eq!(node.push().status, RunStatus::Success);
        node.rig.write(b"second", SECOND).unwrap();
        node
    }

    /// From now on, the stand-in behaves like this.
    fn behave(&self, how: &str) {
        behave(self.programs.path(), how);
        self.made.mirror().end();
    }

    fn push(&self) -> Pushing {
        self.rig.index().unwrap();
        self.rig.push(&self.site).unwrap()
    }

    fn verify(&self, extent: Extent) -> VerifyReport {
        self.rig.verify(&self.site, extent).unwrap().unwrap()
    }

    /// The receipts of some bytes.
    fn receipts(&self, bytes: &[u8]) -> Vec<Receipt> {
        let Some((row, _)) = self.rig.store.content_by_hash(hash_bytes(bytes).hash).unwrap() else { return Vec::new() };
        self.rig.store.receipts_at(self.site.id, &[row]).unwrap()
    }

    fn proven(&self, bytes: &[u8]) -> Proven {
        let stands = |receipt: &Receipt| receipt.level == ReceiptLevel::Verified && receipt.lost_at.is_none();
        let receipt = self.receipts(bytes).into_iter().find(stands)?;
        Some((receipt.method, receipt.fingerprint.map(|bound| bound.checksum().to_string())))
    }

    /// How many objects were read back since the last question: rclone is asked for each by a request of its own.
    fn reads(&self) -> usize {
        let asked = self.programs.path().join("asked");
        let text = fs::read_to_string(&asked).unwrap_or_default();
        fs::write(asked, "").unwrap();
        text.lines().filter(|line| line.starts_with("GET ") && line.contains("/things/") && !line.contains("owner.json")).count()
    }

    /// What a person was told since the last question.
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.0.lock().unwrap())
    }

    /// That a person was told once that bytes are read, and why.
    #[track_caller]
    fn told_once(&self, why: &str) {
        let told = self.told();
        assert!(told.len() == 1 && told[0].contains("read back") && told[0].contains(why), "{told:?}");
    }
}

#[test]
fn what_a_checksum_proved_is_checked_again_without_a_download() {
    if no_rclone("fingerprint::what_a_checksum_proved_is_checked_again_without_a_download") {
        return;
    }
    let node = Node::new(Verify::Auto);
    assert_eq!(node.proven(FIRST), by_checksum(SHA256_OF_FIRST));
    assert_eq!(node.reads(), 0, "nothing was read back to prove it");
    let before = node.receipts(FIRST)[0].verified_at;
    let report = node.verify(Extent::All);
    assert_eq!((report.verified, report.lost, report.unverifiable, report.bytes_read), (1, 0, 0, 0));
    assert_eq!((node.proven(FIRST), node.reads()), (by_checksum(SHA256_OF_FIRST), 0));
    assert!(node.receipts(FIRST)[0].verified_at > before);
    assert_eq!(node.told(), Vec::<String>::new());

    // The same over the same server, read back: reads would have been seen above.
    let node = Node::new(Verify::ReadBack);
    assert_eq!((node.proven(FIRST), node.reads()), (READ_BACK, 1));
    assert_eq!((node.verify(Extent::All).bytes_read, node.reads()), (FIRST.len() as u64, 1));
    assert_eq!(node.told(), Vec::<String>::new(), "that is what was asked for");
}

/// A sound checksum is no proof of bytes that nobody compared it with: what was read back once is read back again.
#[test]
fn a_blank_checksum_of_what_was_sent_is_read_back_from_then_on() {
    if no_rclone("fingerprint::a_blank_checksum_of_what_was_sent_is_read_back_from_then_on") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.behave("blank hashes");
    assert_eq!(node.push().status, RunStatus::Success);
    assert_eq!((node.proven(SECOND), node.reads()), (READ_BACK, 1));
    node.told_once("gives no sha256");
    node.behave("honest");
    let report = node.verify(Extent::All);
    assert_eq!((report.verified, report.bytes_read), (2, SECOND.len() as u64));
    assert_eq!((node.reads(), node.proven(FIRST), node.proven(SECOND)), (1, by_checksum(SHA256_OF_FIRST), READ_BACK));
}

/// A blank is no checksum that stayed the same.
#[test]
fn a_blank_checksum_of_what_is_held_is_read_back() {
    if no_rclone("fingerprint::a_blank_checksum_of_what_is_held_is_read_back") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.behave("blank hashes");
    assert_eq!(node.verify(Extent::All).verified, 1);
    assert_eq!((node.proven(FIRST), node.reads()), (READ_BACK, 1));
    node.told_once("gives no sha256");
}

#[test]
fn another_checksum_lets_the_bytes_decide() {
    if no_rclone("fingerprint::another_checksum_lets_the_bytes_decide") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.behave("gives other hashes");
    assert_eq!(node.push().status, RunStatus::Success);
    assert_eq!((node.proven(SECOND), node.reads()), (READ_BACK, 1), "a push");
    node.told_once("its checksum there is sha256:");
    let report = node.verify(Extent::All);
    assert_eq!((report.verified, report.lost), (2, 0));
    assert_eq!((node.proven(FIRST), node.reads()), (READ_BACK, 2), "a check");
    node.told_once("its checksum there is sha256:");
}

/// Whatever replaced the bytes there has another checksum; the read that follows finds it, and they are lost.
#[test]
fn other_bytes_are_lost() {
    if no_rclone("fingerprint::other_bytes_are_lost") {
        return;
    }
    let node = Node::new(Verify::Fingerprint);
    node.made.tamper(Tamper::Flip(hash_bytes(FIRST))).unwrap();
    let report = node.verify(Extent::All);
    assert_eq!((report.verified, report.lost, node.reads()), (0, 1, 1), "{report:?}");
    assert_eq!(node.proven(FIRST), None);
    assert_eq!(node.receipts(FIRST)[0].fingerprint, None, "its checksum is believed no more");
}

/// Checksums that are served no more prove nothing any more: everything is read, and a person is told.
#[test]
fn checksums_that_are_gone_are_told_of_and_never_used_again() {
    if no_rclone("fingerprint::checksums_that_are_gone_are_told_of_and_never_used_again") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.behave("serves no hashes");
    assert_eq!(node.verify(Extent::All).verified, 1);
    assert_eq!((node.proven(FIRST), node.reads()), (READ_BACK, 1));
    node.told_once("no hash at all");
    // Who insists on them gets no other proof.
    let node = Node::new(Verify::Fingerprint);
    node.behave("serves no hashes");
    let pushed = node.push();
    assert_eq!(pushed.status, RunStatus::Partial);
    assert_eq!((node.proven(SECOND), node.reads()), (None, 0));
    let report = pushed.outcome.unwrap();
    assert!(report.failed.first[0].1.contains("no hash at all"), "{report:?}");
    assert_eq!(node.verify(Extent::All).unverifiable, 1);
}

/// The checksum of a file that was edited on the way agrees with what arrived, and neither is what the snapshot says.
#[test]
fn a_file_that_is_edited_before_it_is_sent_is_drift() {
    if no_rclone("fingerprint::a_file_that_is_edited_before_it_is_sent_is_drift") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.behave("edits the file before it is sent");
    let pushed = node.push();
    assert_eq!(pushed.status, RunStatus::Partial);
    let report = pushed.outcome.unwrap();
    assert_eq!((report.drift.count, report.verified), (1, 0), "{report:?}");
    assert_eq!(node.proven(SECOND), None);
    assert!(!node.made.root().join("things/second").exists(), "nothing stays under a name that says something else");
}

/// What arrived is right, though the file is not any more: the bytes there tell so, and no checksum of the file.
#[test]
fn a_file_that_is_edited_after_it_was_sent_is_read_back() {
    if no_rclone("fingerprint::a_file_that_is_edited_after_it_was_sent_is_read_back") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.behave("edits the file after it was sent");
    assert_eq!(node.push().status, RunStatus::Success);
    assert_eq!((node.proven(SECOND), node.reads()), (READ_BACK, 1));
}

/// A checksum that was bound to other bytes proves nothing of these, wherever it comes from.
#[test]
fn the_checksum_of_another_content_proves_nothing() {
    if no_rclone("fingerprint::the_checksum_of_another_content_proves_nothing") {
        return;
    }
    let node = Node::new(Verify::Auto);
    let other = hash_bytes(b"bytes of the thirs");
    assert_eq!(other.size, FIRST.len() as u64, "the size would tell");
    let receipt = node.receipts(FIRST).remove(0);
    let wrong = HeldItem { content: other, ..HeldItem::from(receipt) };
    assert!(wrong.fingerprint.is_some());
    for depth in [Depth::Bytes, Depth::Presence] {
        let found = check_held(node.site.liar.as_ref(), std::slice::from_ref(&wrong), depth, &node.rig.context).unwrap();
        assert!(
            matches!((depth, &found[..]), (Depth::Bytes, [Finding::Lost(_)]) | (Depth::Presence, [Finding::Seen])),
            "{found:?}"
        );
    }
}

/// A quick look compares the checksum where that costs no more than the size; a blank tells no more than the size does.
#[test]
fn a_quick_look_compares_what_a_cloud_tells_at_once() {
    if no_rclone("fingerprint::a_quick_look_compares_what_a_cloud_tells_at_once") {
        return;
    }
    let node = Node::new(Verify::Auto);
    let checked = || node.receipts(FIRST)[0].verified_at;
    let before = checked();
    assert_eq!((node.verify(Extent::Quick).checked, node.reads()), (1, 0));
    assert_eq!(checked(), before, "an sftp server would read it all");
    node.behave("is of a cloud");
    assert_eq!((node.verify(Extent::Quick).verified, node.reads()), (1, 0));
    assert!(checked() > before);
    let before = checked();
    node.behave("is of a cloud that gives blank hashes");
    assert_eq!((node.verify(Extent::Quick).lost, node.reads(), checked()), (0, 0, before));
    node.behave("is of a cloud");
    node.made.tamper(Tamper::Flip(hash_bytes(FIRST))).unwrap();
    let report = node.verify(Extent::Quick);
    assert_eq!((report.lost, node.reads()), (1, 1), "as long as before, and other bytes: {report:?}");
    node.told_once("its checksum there is sha256:");
}

/// What a push replaces moves to the history, and its checksum proves it there, too.
#[test]
fn a_checksum_follows_to_the_history() {
    if no_rclone("fingerprint::a_checksum_follows_to_the_history") {
        return;
    }
    let node = Node::new(Verify::Auto);
    node.rig.write(b"first", b"other bytes of the first").unwrap();
    assert_eq!(node.push().status, RunStatus::Success);
    assert_eq!((node.proven(FIRST), node.reads()), (by_checksum(SHA256_OF_FIRST), 0));
    assert!(node.receipts(FIRST)[0].location.0.starts_with(b"things/.lastcopy/history/"));
}

/// A mirror at a remote with these options.
fn with(remote: &str, settings: &[(&str, &str)]) -> Options {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).into()));
    Options { settings: settings.collect(), ..Options::at(remote) }
}

fn standing(options: &Options) -> Standing {
    let (runtime, _context) = context();
    runtime.block_on(Mirror::new(options.clone()).standing()).unwrap()
}

/// Which kind of backend it is decides, however it was named; what stands before others is none of them.
#[test]
fn only_the_kind_of_backend_tells_whose_checksums_they_are() {
    if no_rclone("fingerprint::only_the_kind_of_backend_tells_whose_checksums_they_are") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let Served { server: _server, options, .. } = Place::SftpWithSha256.serve(home.path());
    // All of it in one string of rclone's.
    let settings = options.settings.iter().filter(|(name, _)| *name != "type");
    let settings: Vec<_> = settings.map(|(name, value)| format!("{name}={}", value.to_str().unwrap())).collect();
    let far = format!(":sftp,{}:", settings.join(","));
    let both = format!("{far}one {far}two");
    for (options, expected) in [
        (options, Method::Fingerprint),
        (with(&far, &[]), Method::Fingerprint),
        (with("over:", &[("type", "alias"), ("remote", &far)]), Method::Fingerprint),
        (with("over:", &[("type", "crypt"), ("remote", &far), ("password", &obscured("a password"))]), Method::ReadBack),
        (with("over:", &[("type", "chunker"), ("remote", &far), ("hash_type", "sha1all")]), Method::ReadBack),
        (with("over:", &[("type", "compress"), ("remote", &far)]), Method::ReadBack),
        (with("over:", &[("type", "union"), ("upstreams", &both)]), Method::ReadBack),
    ] {
        let found = standing(&options);
        assert_eq!(found.method, Some(expected), "{options:?}: {found:?}");
    }
}

/// A `cache` answers from this machine's own disk, of what it has not even sent yet; also below another remote.
#[test]
fn what_may_lie_on_this_machine_alone_is_refused() {
    if no_rclone("fingerprint::what_may_lie_on_this_machine_alone_is_refused") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let beneath = home.path().display();
    let cache = format!(":cache,remote='{beneath}',db_path='{beneath}':");
    let over = [("type", "crypt"), ("remote", cache.as_str()), ("password", &obscured("a password"))];
    let alone = with("over:", &[("type", "cache"), ("remote", &beneath.to_string())]);
    let inside = [format!(":alias,remote=\"{cache}\":"), format!(":union,upstreams=\"{beneath} {cache}\":")];
    let inside = inside.map(|place| with(&place, &[]));
    for options in [alone, with("over:", &over)].into_iter().chain(inside) {
        let (runtime, _context) = context();
        let refused = runtime.block_on(Mirror::new(options.clone()).standing()).unwrap_err();
        assert!(refused.to_string().contains("this machine alone"), "{refused}");
    }
}

/// A union of directories gives every hash that rclone can compute, BLAKE3 among them. It was taken for a far side that computes it when it
/// is asked; and so was a `hasher`, which gives what it once saw.
#[test]
fn a_blake3_of_remotes_over_remotes_is_not_believed() {
    if no_rclone("fingerprint::a_blake3_of_remotes_over_remotes_is_not_believed") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let beneath = home.path().display();
    let (two, dir) = (format!("{beneath} {beneath}/other"), format!("dir={beneath}"));
    for settings in [[("type", "union"), ("upstreams", &two)], [("type", "combine"), ("upstreams", &dir)]] {
        let found = standing(&with("over:", &settings));
        assert!(found.hashes.iter().any(|hash| hash == "blake3"), "{found:?}");
        assert_eq!(found.method, Some(Method::ReadBack), "{found:?}");
    }
}
