//! Repositories behind servers on this machine, each over a local directory.

use crate::broken::program;
use crate::context;
use crate::inside::PASSWORD;
use crate::node::Node;
use crate::skip::{no_kopia, skipped};
use crate::subject::MadeRepository;
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_sync::conformance::{self, CheckResult, Made, Subject, Tamper};
use lastcopy_sync::{Destination, Extent, Probe};
use lastcopy_sync_kopia::{Kopia, Options, Storage};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What serves it.
#[derive(Debug, Clone, Copy)]
enum Place {
    S3,
    Sftp,
    Webdav,
}

/// One of rclone's own servers over a directory.
struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn no_server(test: &str) -> bool {
    let asked = Command::new("rclone").arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let missing = !asked.is_ok_and(|status| status.success());
    if missing {
        skipped(test, "rclone, whose servers are needed, is not installed");
    }
    missing || no_kopia(test)
}

/// A key of the server's, and how a client knows it.
fn host_key(dir: &Path, port: u16) -> Option<(OsString, OsString)> {
    let key = dir.join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    made.is_ok_and(|status| status.success()).then(|| {
        let public = std::fs::read_to_string(dir.join("key.pub")).unwrap();
        let known = dir.join("known");
        std::fs::write(&known, format!("[127.0.0.1]:{port} {public}")).unwrap();
        (key.into(), known.into())
    })
}

impl Place {
    fn serve(self) -> Option<(Server, Storage)> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("served/store")).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (protocol, mut arguments, kind, mut settings) = match self {
            Self::S3 => (
                "s3",
                vec![OsString::from("--auth-key=TESTACCESSKEY,TESTSECRETKEY")],
                "s3",
                vec![
                    ("bucket", OsString::from("store")),
                    ("endpoint", format!("127.0.0.1:{port}").into()),
                    ("disable-tls", "true".into()),
                    ("access-key", "TESTACCESSKEY".into()),
                    ("secret-access-key", "TESTSECRETKEY".into()),
                ],
            ),
            Self::Sftp => (
                "sftp",
                vec!["--user=me".into(), "--pass=secret".into()],
                "sftp",
                vec![
                    ("host", "127.0.0.1".into()),
                    ("port", port.to_string().into()),
                    ("path", "/store/repository".into()),
                    ("username", "me".into()),
                    ("sftp-password", "secret".into()),
                ],
            ),
            Self::Webdav => (
                "webdav",
                vec!["--user=me".into(), "--pass=secret".into()],
                "webdav",
                vec![
                    ("url", format!("http://127.0.0.1:{port}/store").into()),
                    ("webdav-username", "me".into()),
                    ("webdav-password", "secret".into()),
                ],
            ),
        };
        if let Self::Sftp = self {
            let (key, known) = host_key(dir.path(), port)?;
            arguments.extend(["--key".into(), key]);
            settings.push(("known-hosts", known));
        }
        let mut command = Command::new("rclone");
        command.args(["serve", protocol, "--config", "/dev/null", "--vfs-cache-mode", "off", "--dir-cache-time", "10ms"]);
        command.arg("--addr").arg(format!("127.0.0.1:{port}")).args(arguments).arg(dir.path().join("served"));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        // Its log must go somewhere, or it stops.
        std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).for_each(drop));
        let server = Server { child, port, dir };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", server.port)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{command:?} did not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        let settings: BTreeMap<_, _> = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Some((server, Storage::new(kind, settings).unwrap()))
    }
}

/// Repositories behind one sort of server.
struct Served(Place);

struct MadeServed {
    _server: Server,
    destination: Arc<Kopia>,
}

impl Subject for Served {
    fn make(&self) -> Result<Box<dyn Made>, String> {
        let (server, storage) = self.0.serve().ok_or("no server")?;
        let mut options = Options::at(storage, PASSWORD);
        options.stall = Duration::from_secs(60);
        Ok(Box::new(MadeServed { _server: server, destination: Arc::new(Kopia::new(options)) }))
    }

    fn keeps_apart(&self) -> bool {
        false
    }
}

impl Made for MadeServed {
    fn destination(&self) -> Arc<dyn Destination> {
        self.destination.clone()
    }

    /// As the destination itself tells, by reading everything: what lies beneath is only kopia's to read.
    fn held(&self) -> Result<HashSet<Content>, String> {
        let (runtime, _context) = context();
        let mut held = HashSet::new();
        let mut each = |content, _| {
            held.insert(content);
        };
        runtime.block_on(self.destination.list(&mut each)).map_err(|error| error.to_string())?;
        Ok(held)
    }

    fn tamper(&self, tamper: Tamper) -> Result<(), String> {
        Err(format!("nothing is tampered with behind a server: {tamper:?}"))
    }
}

fn honest(test: &str, place: Place) {
    if no_server(test) {
        return;
    }
    if place.serve().is_none() {
        return skipped(test, "ssh-keygen is not installed");
    }
    let (_runtime, context) = context();
    let results: Vec<CheckResult> = conformance::honest(&Served(place), &context);
    let failed: Vec<_> = results.iter().filter(|result| result.outcome.is_err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(results.len() >= 16);
}

#[test]
fn s3() {
    honest("servers::s3", Place::S3);
}

#[test]
fn sftp() {
    honest("servers::sftp", Place::Sftp);
}

#[test]
fn webdav() {
    honest("servers::webdav", Place::Webdav);
}

/// Set for the process whose rclone is told by its environment to keep what passes through it.
const CACHED: &str = "servers::what_rclone_keeps_here_proves_nothing";

/// kopia starts rclone for its storage of that kind. Told by a person's environment to keep a cache, rclone gave back from this machine what had
/// rotted there, and every verify proved the cache.
#[test]
fn what_rclone_keeps_here_proves_nothing() {
    if no_server(CACHED) {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    if std::env::var_os("RCLONE_CACHE_DIR").is_some() {
        return rots_behind_rclone();
    }
    let mut with_cache = Command::new(std::env::current_exe().unwrap());
    with_cache.args(["--exact", CACHED]).env("RCLONE_CACHE_DIR", cache.path()).env("RCLONE_CONFIG", "/dev/null");
    with_cache.env("RCLONE_VFS_CACHE_MODE", "full").env("RCLONE_VFS_FAST_FINGERPRINT", "true");
    // rclone 1.75 keeps a file open for a while after it is read, and notes what is in the cache only then: kopia has ended it before.
    with_cache.env("RCLONE_VFS_HANDLE_CACHING", "0");
    let ended = with_cache.output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
}

/// Starts kopia, whose rclone keeps nothing until the file `later` is there: a push through such a cache may fail by itself.
const KEEPS_LATER: &str = r#"#!/bin/sh
[ -e "$(dirname "$0")/later" ] || export RCLONE_VFS_CACHE_MODE=off
exec kopia "$@"
"#;

/// Turns a byte of the pack round that holds a content, with size and time as they were, after it passed through once: it has to be lost.
fn rots_behind_rclone() {
    let programs = tempfile::tempdir().unwrap();
    let program = program(programs.path(), KEEPS_LATER);
    let made = MadeRepository::with(|options| {
        options.program = program;
        let Some(root) = options.storage.local_path() else { return };
        let remote = BTreeMap::from([("remote-path".to_owned(), root.into())]);
        options.storage = Storage::new("rclone", remote).unwrap();
    });
    let node = Node::of(made);
    let bytes = vec![7; 5000];
    node.write("a", &bytes);
    node.push();
    std::fs::write(programs.path().join("later"), "").unwrap();
    assert_eq!(node.verify(Extent::All).lost, 0);
    let content = hash_bytes(&bytes);
    let pack = node.made.inside.piece(&node.made.object(content).unwrap()).unwrap().0;
    let time = std::fs::metadata(&pack).unwrap().modified().unwrap();
    node.made.tamper(Tamper::Flip(content)).unwrap();
    std::fs::File::options().write(true).open(&pack).unwrap().set_modified(time).unwrap();
    assert_eq!(node.rig.verify_only(&node.site, Extent::All).unwrap().unwrap().lost, 1);
}

/// A server that is away, a bucket that is not there, a key that is not let in: none of them is ever an empty place, and all are told.
#[test]
fn who_cannot_be_asked_is_not_nobody() {
    if no_server("servers::who_cannot_be_asked_is_not_nobody") {
        return;
    }
    let (runtime, _context) = context();
    let probe = |storage: Storage| {
        let mut options = Options::at(storage, PASSWORD);
        options.stall = Duration::from_secs(30);
        runtime.block_on(Kopia::new(options).probe())
    };
    let (server, storage) = Place::Webdav.serve().unwrap();
    assert_eq!(probe(storage.clone()).unwrap(), Probe::NoPlace);
    assert!(server.dir.path().join("served/store").exists());
    drop(server);
    let away = probe(storage);
    assert!(!matches!(away, Ok(Probe::Found(_) | Probe::Nothing | Probe::NoPlace)), "{away:?}");
}
