//! Servers on this machine, started and ended by the tests, each over a local directory or over memory of its own.

use crate::checkout::Beneath;
use lastcopy_fs::Id128;
use lastcopy_sync_mirror::Options;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where a mirror may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory.
    Local,
    /// A directory, its index encrypted.
    LocalSealed,
    /// rclone's own sftp server.
    Sftp,
    /// The same, asked for BLAKE3.
    SftpWithBlake3,
    /// The same, asked for SHA-256.
    SftpWithSha256,
    /// OpenSSH's sftp-server, over a pipe.
    OpenSsh,
    /// rclone's own webdav server.
    Webdav,
    /// rclone's own S3 server.
    S3,
    /// The same, below a directory of a remote that combines several.
    Combined,
    /// moto's S3 server, a simulation of Amazon's.
    Moto,
    /// Encrypted, over a directory.
    Crypt,
    /// Cut into pieces, over a directory.
    Chunker,
}

/// A place that is served.
pub(crate) struct Served {
    /// The server, if there is one.
    pub(crate) server: Option<Server>,
    /// The way to `store` in it.
    pub(crate) options: Options,
    /// What lies beneath that.
    pub(crate) beneath: Beneath,
}

/// A server, for as long as somebody needs it.
pub(crate) type Server = Arc<Running>;

pub(crate) struct Running {
    child: Child,
    port: u16,
}

impl Running {
    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// moto's program.
pub(crate) const MOTO_SERVER: &str = "moto_server";
/// Where Debian keeps it.
pub(crate) const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

impl Place {
    /// Serves an empty directory.
    pub(crate) fn serve(self, dir: &Path) -> Served {
        let at = dir.display().to_string();
        let set = |options: &mut Options, all: &[(&str, &str)]| {
            options.settings.extend(all.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        };
        let mut options = Options::at("far:store");
        options.stall = Duration::from_secs(60);
        let (mut server, mut beneath) = (None, Beneath::Files(dir.join("store")));
        match self {
            Self::Local => options.remote = format!("{at}/store"),
            Self::LocalSealed => {
                options.remote = format!("{at}/store");
                options.index_password = Some("a password".into());
            }
            Self::Sftp | Self::SftpWithBlake3 | Self::SftpWithSha256 => {
                let port = server.insert(serve("sftp", dir, &["--user", "me", "--pass", "secret"])).port.to_string();
                let hashes = match self {
                    Self::SftpWithBlake3 => "blake3",
                    Self::SftpWithSha256 => "sha256",
                    _ => "",
                };
                let all = [("type", "sftp"), ("host", "127.0.0.1"), ("port", &port), ("user", "me"), ("hashes", hashes)];
                set(&mut options, &all);
                set(&mut options, &[("pass", &obscured("secret"))]);
                if self == Self::Sftp {
                    set(&mut options, &[("disable_hashcheck", "true")]);
                }
            }
            Self::OpenSsh => {
                // What `ssh HOST -s sftp` would start there.
                let script = dir.parent().unwrap().join("ssh");
                std::fs::write(&script, format!("#!/bin/sh\ncd '{at}' && exec {SFTP_SERVER}\n")).unwrap();
                std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
                set(&mut options, &[("type", "sftp"), ("ssh", script.to_str().unwrap()), ("disable_hashcheck", "true")]);
            }
            Self::Webdav => {
                let url = server.insert(serve("webdav", dir, &[])).url();
                set(&mut options, &[("type", "webdav"), ("url", &url), ("vendor", "other"), ("pacer_min_sleep", "1ms")]);
            }
            Self::S3 => {
                let endpoint = server.insert(serve("s3", dir, &["--auth-key", "TESTACCESSKEY,TESTSECRETKEY"])).url();
                set(&mut options, &[("type", "s3"), ("provider", "Rclone"), ("endpoint", &endpoint)]);
                set(&mut options, &[("access_key_id", "TESTACCESSKEY"), ("secret_access_key", "TESTSECRETKEY")]);
                set(&mut options, &[("use_multipart_etag", "false")]);
            }
            Self::Combined => {
                let endpoint = server.insert(serve("s3", dir, &["--auth-key", "TESTACCESSKEY,TESTSECRETKEY"])).url();
                let keys = "access_key_id=TESTACCESSKEY,secret_access_key=TESTSECRETKEY,use_multipart_etag=false";
                let bucket = format!("store=:s3,provider=Rclone,endpoint='{endpoint}',{keys}:store");
                set(&mut options, &[("type", "combine"), ("upstreams", &bucket)]);
            }
            Self::Moto => {
                let endpoint = server.insert(moto()).url();
                set(&mut options, &[("type", "s3"), ("provider", "Other"), ("endpoint", &endpoint)]);
                set(&mut options, &[("access_key_id", "any"), ("secret_access_key", "any")]);
                // One server has many buckets.
                options.remote = format!("far:{}/store", Id128::random().unwrap());
                beneath = Beneath::Hashed;
            }
            Self::Crypt => {
                let password = obscured("a long password");
                set(&mut options, &[("type", "crypt"), ("remote", &at), ("password", &password)]);
                beneath = Beneath::Wrapped(dir.to_owned());
            }
            Self::Chunker => {
                set(&mut options, &[("type", "chunker"), ("remote", &at), ("chunk_size", "1Mi")]);
                beneath = Beneath::Wrapped(dir.to_owned());
            }
        }
        Served { server, options, beneath }
    }
}

/// As rclone's configuration holds a password.
pub(crate) fn obscured(password: &str) -> String {
    let output = Command::new("rclone").args(["obscure", password]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Starts one of rclone's own servers over a directory.
fn serve(protocol: &str, dir: &Path, more: &[&str]) -> Server {
    let mut command = Command::new("rclone");
    command.args(["serve", protocol, "--config", "/dev/null", "--vfs-cache-mode", "off", "--dir-cache-time", "10ms"]);
    // The port is its own choice, and told: one that was free a moment ago may be another server's by now.
    command.args(["--addr", "127.0.0.1:0"]).args(more).arg(dir);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let port = lines.find_map(|line| {
        let (_, rest) = line.split_once("127.0.0.1:")?;
        rest.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
    });
    let port = port.unwrap_or_else(|| panic!("{command:?} did not start"));
    // Its log must go somewhere, or it stops.
    std::thread::spawn(move || lines.for_each(drop));
    listening(Running { child, port })
}

/// moto's server: it takes long to start, so all who need one at the same time have the same.
fn moto() -> Server {
    static RUNNING: Mutex<Weak<Running>> = Mutex::new(Weak::new());
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    running.upgrade().unwrap_or_else(|| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(MOTO_SERVER);
        command.args(["-H", "127.0.0.1", "-p"]).arg(port.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = listening(Running { child, port });
        *running = Arc::downgrade(&server);
        server
    })
}

/// Waits until a server listens.
fn listening(server: Running) -> Server {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", server.port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    Arc::new(server)
}
