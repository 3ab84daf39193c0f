//! Repositories of kopia's, as somebody sees them who has kopia alone: its own connection without a cache, every pinned snapshot restored.
//!
//! Only what lies in a whole snapshot with a pin is looked at: of everything else, kopia's retention may take the packs away.

use crate::home::Home;
use crate::{ProofError, Result};
use lastcopy_scene::{installed, tree};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

/// The password of every repository.
pub const PASSWORD: &str = "open sesame";

/// What pinned snapshots of files and contents give back.
#[derive(Debug, Clone, Default)]
pub struct Held {
    /// BLAKE3 of every file that came.
    pub contents: BTreeSet<String>,
    /// The roots of those that did not come whole.
    pub damaged: BTreeSet<String>,
}

/// What was restored, by the digest of all bytes of a repository: the same ones need not be restored again.
static SEEN: LazyLock<Mutex<HashMap<blake3::Hash, Held>>> = LazyLock::new(Mutex::default);

/// Looks at a repository in a directory. One that was not made yet holds nothing.
pub fn held(home: &Home, root: &Path) -> Result<Held> {
    if !root.join("kopia.repository.f").exists() {
        return Ok(Held::default());
    }
    let bytes = digest(root)?;
    if let Some(held) = SEEN.lock().unwrap_or_else(PoisonError::into_inner).get(&bytes) {
        return Ok(held.clone());
    }
    let reader = Reader::new(home, root)?;
    let mut held = Held::default();
    for root in reader.roots()? {
        let (whole, contents) = reader.restore(&root)?;
        held.contents.extend(contents);
        if !whole {
            held.damaged.insert(root);
        }
    }
    if digest(root)? != bytes {
        return Err(ProofError::Preparation(format!("looking at {} changed it", root.display())));
    }
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).insert(bytes, held.clone());
    Ok(held)
}

/// The pack with the most bytes of files.
pub fn largest_pack(root: &Path) -> Result<PathBuf> {
    let mut largest = (0, None);
    for (path, metadata) in tree::files(root)? {
        let first = path.strip_prefix(root).unwrap_or(&path).as_os_str().as_encoded_bytes().first();
        if first == Some(&b'p') && metadata.len() > largest.0 {
            largest = (metadata.len(), Some(path));
        }
    }
    largest.1.ok_or_else(|| ProofError::Preparation(format!("{} holds no pack", root.display())))
}

/// Of everything that lies there, under its name.
fn digest(root: &Path) -> Result<blake3::Hash> {
    let mut lines = BTreeSet::new();
    for (path, _) in tree::files(root)? {
        let hash = *tree::hash_file(&path)?.as_bytes();
        lines.insert((path, hash));
    }
    let mut hasher = blake3::Hasher::new();
    for (path, hash) in lines {
        hasher.update(blake3::hash(path.as_os_str().as_encoded_bytes()).as_bytes()).update(&hash);
    }
    Ok(hasher.finalize())
}

/// A kopia that reads.
struct Reader {
    program: PathBuf,
    /// A directory of its own, beside the home.
    own: PathBuf,
}

impl Reader {
    fn new(home: &Home, root: &Path) -> Result<Self> {
        let program = installed("kopia").ok_or_else(|| ProofError::Preparation("kopia is not installed".into()))?;
        let own = home.root().with_file_name("oracle");
        tree::remove(&own)?;
        fs::create_dir_all(&own).map_err(ProofError::at(&own))?;
        let config = own.join("config");
        // As kopia writes it when it is connected; but nobody has to connect for that.
        let text = format!(
            "{{\"storage\":{{\"type\":\"filesystem\",\"config\":{{\"path\":{root:?},\"dirShards\":null}}}},\"caching\":{{}},\
             \"hostname\":\"somebody\",\"username\":\"else\",\"readonly\":true,\"formatBlobCacheDuration\":-1}}"
        );
        fs::write(&config, text).map_err(ProofError::at(&config))?;
        Ok(Self { program, own })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(format!("--config-file={}", self.own.join("config").display()));
        command.arg(format!("--log-dir={}", self.own.join("log").display()));
        command.args(["--no-persist-credentials", "--no-auto-maintenance", "--file-log-level=warning"]);
        command.env_clear().env("HOME", &self.own).env("PATH", "/usr/bin:/bin").current_dir(&self.own).stdin(Stdio::null());
        command.env("KOPIA_PASSWORD", PASSWORD).env("KOPIA_CHECK_FOR_UPDATES", "false").env("KOPIA_DISABLE_REPOSITORY_LOG", "true");
        command
    }

    /// The root of every whole and pinned snapshot of contents, each once. Such as were cut short are not listed.
    fn roots(&self) -> Result<BTreeSet<String>> {
        let mut command = self.command();
        command.args(["snapshot", "list", "--all", "--json"]);
        let output = command.output().map_err(ProofError::at(&self.program))?;
        let failed = || {
            let said = crate::home::said(&output.stdout, &output.stderr);
            ProofError::Preparation(format!("kopia cannot list a repository: {}", said.trim()))
        };
        if !output.status.success() {
            return Err(failed());
        }
        let snapshots: serde_json::Value = serde_json::from_slice(&output.stdout).map_err(|_| failed())?;
        let snapshots = snapshots.as_array().ok_or_else(failed)?;
        let contents = |path: &serde_json::Value| ["/files", "/contents"].iter().any(|known| path == known);
        let pinned = |pins: &serde_json::Value| pins.as_array().is_some_and(|pins| !pins.is_empty());
        let counts = snapshots.iter().filter(|snapshot| {
            contents(&snapshot["source"]["path"]) && pinned(&snapshot["pins"]) && snapshot["incomplete"].is_null()
        });
        counts.map(|snapshot| snapshot["rootEntry"]["obj"].as_str().map(str::to_owned).ok_or_else(failed)).collect()
    }

    /// Restores a snapshot: whether all of it came, and what did.
    fn restore(&self, root: &str) -> Result<(bool, BTreeSet<String>)> {
        let target = self.own.join("restored");
        tree::remove(&target)?;
        let mut command = self.command();
        // What cannot be read leaves no half of it.
        command.args(["snapshot", "restore", "--ignore-errors", "--write-files-atomically", "--no-progress", root]).arg(&target);
        let output = command.output().map_err(ProofError::at(&self.program))?;
        let mut contents = BTreeSet::new();
        for (path, _) in tree::files(&target)? {
            contents.insert(tree::hash_file(&path)?.to_hex().to_string());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Ok((output.status.success() && !said.contains("ignored error"), contents))
    }
}
