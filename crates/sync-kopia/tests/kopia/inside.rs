//! What a repository in a directory holds, asked of a kopia of the test's own that has no cache, and damaged with plain file calls.

use lastcopy_fs::{Content, hash_bytes};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The password of every repository of the tests.
pub(crate) const PASSWORD: &str = "a password";

/// A repository in a directory, and a place for a kopia of the test's own.
pub(crate) struct Inside {
    pub(crate) root: PathBuf,
    own: PathBuf,
}

/// A content, and the object in which kopia keeps it.
pub(crate) type Objects = Vec<(Content, String)>;

impl Inside {
    pub(crate) fn new(root: PathBuf, own: PathBuf) -> Self {
        fs::create_dir_all(&own).unwrap();
        Self { root, own }
    }

    /// A command of kopia's over a connection of its own, which reads, or writes.
    pub(crate) fn command(&self, readonly: bool) -> Command {
        let config = self.own.join(if readonly { "reader" } else { "writer" });
        let connection = json!({
            "storage": { "type": "filesystem", "config": { "path": self.root, "dirShards": null } },
            "caching": {},
            "hostname": "somebody",
            "username": "else",
            "readonly": readonly,
            "enableActions": false,
            "formatBlobCacheDuration": -1,
        });
        fs::write(&config, connection.to_string()).unwrap();
        let mut command = Command::new("kopia");
        command.arg(format!("--config-file={}", config.display())).arg(format!("--log-dir={}", self.own.join("log").display()));
        command.args(["--no-persist-credentials", "--no-auto-maintenance", "--file-log-level=warning"]);
        command.env("KOPIA_PASSWORD", PASSWORD).env("KOPIA_CHECK_FOR_UPDATES", "false").env("HOME", &self.own);
        command
    }

    /// Runs kopia as somebody else would, and gives what it says.
    pub(crate) fn kopia<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> io::Result<Output> {
        let mut command = self.command(false);
        let output = command.args(arguments).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(io::Error::other(format!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr))))
    }

    /// What kopia answers in JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> io::Result<Value> {
        Ok(serde_json::from_slice(&self.kopia(arguments)?.stdout)?)
    }

    /// Makes a new repository in the directory.
    pub(crate) fn create(&self) -> io::Result<()> {
        let mut command = self.command(false);
        let output = command.args(["repository", "create", "filesystem", "--path"]).arg(&self.root).output()?;
        if output.status.success() {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// The root objects of whole and pinned snapshots: of contents, or of heads and segments.
    pub(crate) fn roots(&self, of_contents: bool) -> io::Result<Vec<String>> {
        let all = self.json(&["snapshot", "list", "--all", "--json", "--incomplete"])?;
        let wanted = |snapshot: &&Value| {
            let contents = ["/files", "/contents"].iter().any(|path| snapshot["source"]["path"] == *path);
            snapshot["pins"].is_array() && snapshot["incomplete"].is_null() && contents == of_contents
        };
        let roots =
            all.as_array().into_iter().flatten().filter(wanted).filter_map(|snapshot| snapshot["rootEntry"]["obj"].as_str());
        Ok(roots.map(str::to_owned).collect())
    }

    /// Everything that pinned snapshots hold and that can be read.
    pub(crate) fn objects(&self) -> io::Result<Objects> {
        if !self.root.join("kopia.repository.f").exists() {
            return Ok(Objects::new());
        }
        let mut dirs = self.roots(true)?;
        let server = Server::start(self)?;
        let (mut seen, mut found) = (std::collections::HashSet::new(), Objects::new());
        while let Some(dir) = dirs.pop() {
            if !seen.insert(dir.clone()) {
                continue;
            }
            let Some(bytes) = server.get(&dir) else { continue };
            let listing: Value = serde_json::from_slice(&bytes)?;
            for entry in listing["entries"].as_array().into_iter().flatten() {
                let object = entry["obj"].as_str().unwrap_or_default().to_owned();
                if entry["type"] == "d" {
                    dirs.push(object);
                } else if entry["type"] == "f"
                    && seen.insert(object.clone())
                    && let Some(bytes) = server.get(&object)
                {
                    found.push((hash_bytes(&bytes), object));
                }
            }
        }
        Ok(found)
    }

    /// Where the bytes of an object lie: its pack, and its place in that. Of small objects only, which are one piece.
    pub(crate) fn piece(&self, object: &str) -> io::Result<(PathBuf, u64, u64)> {
        let pieces = self.json(&["content", "list", "--json"])?;
        let piece = pieces.as_array().into_iter().flatten().find(|piece| piece["contentID"] == object);
        let piece = piece.ok_or_else(|| io::Error::other(format!("{object} is in no pack")))?;
        let pack = piece["packFile"].as_str().unwrap_or_default();
        let path = self.blobs()?.remove(pack).ok_or_else(|| io::Error::other(format!("there is no pack {pack}")))?;
        Ok((path, piece["packOffset"].as_u64().unwrap(), piece["length"].as_u64().unwrap()))
    }

    /// Every blob by its name: kopia cuts it into directories.
    pub(crate) fn blobs(&self) -> io::Result<BTreeMap<String, PathBuf>> {
        let (mut found, mut dirs) = (BTreeMap::new(), vec![self.root.clone()]);
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if path.is_dir() {
                    dirs.push(path);
                } else if let Some(name) = path.strip_prefix(&self.root).ok().and_then(Path::to_str) {
                    found.insert(name.replace('/', "").trim_end_matches(".f").to_owned(), path);
                }
            }
        }
        Ok(found)
    }
}

/// A server of kopia's, asked with plain calls.
struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    fn start(inside: &Inside) -> io::Result<Self> {
        let socket = inside.own.join("s");
        drop(fs::remove_file(&socket));
        let mut command = inside.command(true);
        command.args([
            "server",
            "start",
            "--insecure",
            "--no-grpc",
            "--no-control-api",
            "--no-persistent-logs",
            "--without-password",
        ]);
        command.arg(format!("--address=unix:{}", socket.display()));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let server = Self { child, socket };
        if !lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("SERVER ADDRESS")) {
            return Err(io::Error::other("kopia's server did not start"));
        }
        // Its log must go somewhere, or it stops.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok(server)
    }

    /// The bytes of an object, if they come whole.
    fn get(&self, object: &str) -> Option<Vec<u8>> {
        let mut stream = UnixStream::connect(&self.socket).ok()?;
        stream.write_all(format!("GET /api/v1/objects/{object} HTTP/1.0\r\nHost: kopia\r\n\r\n").as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.trim().parse::<usize>().ok())?;
        let body = answer.split_off(end + 4);
        (head.contains(" 200 ") && body.len() == length).then_some(body)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
