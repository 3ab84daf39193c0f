//! Servers on this machine, started and ended by the tests, each over a local directory.

use lastcopy_sync_mirror::Options;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where a mirror may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A directory.
    Local,
    /// rclone's own sftp server.
    Sftp,
    /// The same, asked for BLAKE3.
    SftpWithBlake3,
    /// OpenSSH's sftp-server, over a pipe.
    OpenSsh,
    /// rclone's own webdav server.
    Webdav,
    /// rclone's own S3 server.
    S3,
    /// Encrypted, over a directory.
    Crypt,
    /// Cut into pieces, over a directory.
    Chunker,
}

/// A server, for as long as the test lives.
pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Where Debian keeps it.
pub(crate) const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

impl Place {
    /// Serves a directory: the server, if there is one, and the way to `store` in it.
    pub(crate) fn serve(self, beneath: &Path) -> (Option<Server>, Options) {
        let at = beneath.display().to_string();
        let set = |options: &mut Options, all: &[(&str, &str)]| {
            options.settings.extend(all.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        };
        let mut options = Options::at("far:store");
        options.stall = Duration::from_secs(60);
        match self {
            Self::Local => (None, Options { remote: format!("{at}/store"), ..options }),
            Self::Sftp | Self::SftpWithBlake3 => {
                let (server, port) = serve("sftp", beneath, &["--user", "me", "--pass", "secret"]);
                let hashes = if self == Self::Sftp { "" } else { "blake3" };
                let all = [("type", "sftp"), ("host", "127.0.0.1"), ("port", &port), ("user", "me"), ("hashes", hashes)];
                set(&mut options, &all);
                set(&mut options, &[("pass", &obscured("secret"))]);
                if self == Self::Sftp {
                    set(&mut options, &[("disable_hashcheck", "true")]);
                }
                (Some(server), options)
            }
            Self::OpenSsh => {
                // What `ssh HOST -s sftp` would start there.
                let script = beneath.parent().unwrap().join("ssh");
                std::fs::write(&script, format!("#!/bin/sh\ncd '{at}' && exec {SFTP_SERVER}\n")).unwrap();
                std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
                set(&mut options, &[("type", "sftp"), ("ssh", script.to_str().unwrap()), ("disable_hashcheck", "true")]);
                (None, options)
            }
            Self::Webdav => {
                let (server, port) = serve("webdav", beneath, &[]);
                let url = format!("http://127.0.0.1:{port}");
                set(&mut options, &[("type", "webdav"), ("url", &url), ("vendor", "other"), ("pacer_min_sleep", "1ms")]);
                (Some(server), options)
            }
            Self::S3 => {
                let (server, port) = serve("s3", beneath, &["--auth-key", "TESTACCESSKEY,TESTSECRETKEY"]);
                let endpoint = format!("http://127.0.0.1:{port}");
                set(&mut options, &[("type", "s3"), ("provider", "Rclone"), ("endpoint", &endpoint)]);
                set(&mut options, &[("access_key_id", "TESTACCESSKEY"), ("secret_access_key", "TESTSECRETKEY")]);
                set(&mut options, &[("use_multipart_etag", "false")]);
                (Some(server), options)
            }
            Self::Crypt => {
                let password = obscured("a long password");
                set(&mut options, &[("type", "crypt"), ("remote", &at), ("password", &password)]);
                (None, options)
            }
            Self::Chunker => {
                set(&mut options, &[("type", "chunker"), ("remote", &at), ("chunk_size", "1Mi")]);
                (None, options)
            }
        }
    }
}

/// As rclone's configuration holds a password.
fn obscured(password: &str) -> String {
    let output = Command::new("rclone").args(["obscure", password]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Starts one of rclone's own servers over a directory; gives its port.
fn serve(protocol: &str, beneath: &Path, more: &[&str]) -> (Server, String) {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = Command::new("rclone");
    command.args(["serve", protocol, "--config", "/dev/null", "--vfs-cache-mode", "off", "--dir-cache-time", "10ms"]);
    command.arg("--addr").arg(format!("127.0.0.1:{port}")).args(more).arg(beneath);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    // Its log must go somewhere, or it stops.
    std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).for_each(drop));
    let server = Server(child);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "rclone serve {protocol} did not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    (server, port.to_string())
}
