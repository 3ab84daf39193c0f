//! `demo`: the whole story on a generated tree, on embedded defaults. Every step is the same code that the commands run.

use crate::app::App;
use crate::config;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::{Fields, bold};
use crate::units::Size;
use crate::words::{files, plural};
use lastcopy_fs::{Content, HashBuffer, NoProgress};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every file of a tree by its path: what it holds, its mode, its time.
type Tree = BTreeMap<PathBuf, (Content, u32, i64)>;

pub(crate) fn run(app: &App, keep: bool) -> Result<Exit> {
    let temporary = tempfile::Builder::new().prefix("lastcopy-demo-").tempdir().map_err(failed)?;
    let root = std::fs::canonicalize(temporary.path()).map_err(failed)?;
    let story = Story { app, root: root.clone(), step: 0 };
    let told = story.tell();
    if keep {
        let kept = temporary.keep();
        app.output.line(&format!("\nkept in {}; use it with --config {0}/config.toml", kept.display()));
    } else {
        make_removable(&root);
    }
    told?;
    app.output.summary("demo", None, "success", Fields::new());
    Ok(Exit::Done)
}

fn failed(error: std::io::Error) -> CliError {
    CliError::new(Code::Io, format!("the demo's temporary directory: {error}"))
}

fn wrong(what: impl Into<String>) -> CliError {
    CliError::new(Code::Internal, what).hint("this is a bug of lastcopy: please report it")
}

/// Directories that were made read-only by the story would stay behind.
fn make_removable(root: &Path) {
    if let Ok(entries) = std::fs::read_dir(root) {
        for entry in entries.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                drop(std::fs::set_permissions(entry.path(), std::fs::Permissions::from_mode(0o755)));
                make_removable(&entry.path());
            }
        }
    }
}

struct Story<'a> {
    app: &'a App,
    root: PathBuf,
    step: u32,
}

impl Story<'_> {
    fn tell(mut self) -> Result<()> {
        let photos = self.root.join("photos");
        make_tree(&photos).map_err(failed)?;
        let before = read_tree(&photos).map_err(failed)?;
        let bytes: u64 = before.values().map(|(content, ..)| content.size).sum();
        self.say(&format!(
            "a tree of {} ({}): photos, a git checkout, odd names, duplicates",
            files(before.len() as u64),
            Size(bytes)
        ));
        let config = self.root.join("config.toml");
        let text = format!(
            "[node]\nname = \"demo\"\ndb = \"{0}/index.db\"\n\n[volumes.photos]\npath = \"{0}/photos\"\nsync_to = [\"usb\"]\n\n\
             [volumes.photos.offload]\nrequire = [\"usb\"]\n\n[destinations.usb]\nkind = \"cas\"\nurl = \"file://{0}/usb\"\n",
            self.root.display()
        );
        config::write_new(&config, &text)?;

        self.lastcopy(&["volume", "add", "photos", &photos.display().to_string()], 0)?;
        self.say("`volume add`: the tree carries a marker now, so that an unmounted disk is never taken for an empty volume");
        self.lastcopy(&["destination", "init", "usb"], 0)?;
        self.say("`destination init`: an append-only store in a directory; nothing else ever creates one");

        let index = self.lastcopy(&["index"], 0)?;
        self.say(&format!(
            "`index`: {} hashed with BLAKE3 ({})",
            files(number(&index, "added")),
            Size(number(&index, "bytes_hashed"))
        ));
        let refused = self.lastcopy(&["offload", "photos", ".", "--yes"], 1)?;
        expect(number(&refused, "offloaded") == 0, "an offload without evidence deleted something")?;
        self.say(&format!(
            "`offload`: refused for {}: nothing was ever proven to be anywhere else",
            files(number(&refused, "blocked"))
        ));

        let sync = self.lastcopy(&["sync"], 0)?;
        self.say(&format!(
            "`sync`: {} stored, made durable, read back from the disk and hashed: {} proven",
            plural(number(&sync, "stored"), "object", "objects"),
            files(number(&sync, "verified"))
        ));

        let victim = self.damage()?;
        self.say(&format!("an attack: one bit of one object at the destination flips (the copy of `{}`)", victim.display()));
        let verify = self.lastcopy(&["verify", "usb"], 1)?;
        expect(number(&verify, "lost") == 1, "the flipped bit was not found")?;
        self.say("`verify`: read every byte there again, and found exactly that one; its receipt is lost, an alarm stands");
        let refused = self.lastcopy(&["offload", "photos", &victim.display().to_string(), "--yes"], 1)?;
        let causes = self.causes(&victim)?;
        expect(number(&refused, "offloaded") == 0 && photos.join(&victim).exists(), "a damaged copy let its original go")?;
        self.say(&format!("`offload`: refuses that file, because: {causes}"));
        let repair = self.lastcopy(&["destination", "repair", "usb", "--yes"], 0)?;
        expect(number(&repair, "repaired") == 1, "the damaged object was not repaired")?;
        self.say("`destination repair`: stored it again from this disk, kept the damaged one aside, and proved it");

        let offload = self.lastcopy(&["offload", "photos", ".", "--yes"], 0)?;
        let left = read_tree(&photos).map_err(failed)?;
        expect(left.is_empty(), "files were left behind by an offload of everything")?;
        self.say(&format!(
            "`offload`: each file leased, hashed, moved aside, confirmed at the destination, then deleted: {} freed",
            Size(number(&offload, "bytes_freed"))
        ));

        let restore = self.lastcopy(&["restore", "photos"], 0)?;
        self.say(&format!("`restore`: {} came back, each hashed as it arrived", files(number(&restore, "restored"))));
        let after = read_tree(&photos).map_err(failed)?;
        expect(after == before, "what came back is not what was there")?;
        self.say(&format!("compared: {}, every byte, mode and time as before", files(after.len() as u64)));
        self.app.output.line(&bold("\nNothing was lost. Now on your own files: see the tour in README.md."));
        Ok(())
    }

    fn say(&mut self, text: &str) {
        self.step += 1;
        self.app.output.line(&format!("{:>2}. {text}", self.step));
        self.app.output.json("step", &Fields::new().with("number", self.step).with("text", text));
    }

    /// Runs this very program, as a person would, and returns the last summary.
    fn lastcopy(&self, arguments: &[&str], expected: i32) -> Result<serde_json::Value> {
        let program = std::env::current_exe().map_err(failed)?;
        let output = Command::new(program)
            .arg("--config")
            .arg(self.root.join("config.toml"))
            .args(["--json", "--progress", "never"])
            .args(arguments)
            .output()
            .map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or(serde_json::Value::Null);
        if output.status.code() == Some(expected) {
            return Ok(last);
        }
        let errors = String::from_utf8_lossy(&output.stderr);
        Err(wrong(format!("`lastcopy {}` ended with {}, not {expected}: {text}{errors}", arguments.join(" "), output.status)))
    }

    /// Flips one bit of one object.
    fn damage(&self) -> Result<PathBuf> {
        let victim = PathBuf::from("2024/holiday/IMG_0007.jpg");
        let bytes = std::fs::read(self.root.join("photos").join(&victim)).map_err(failed)?;
        let hash = lastcopy_fs::hash_bytes(&bytes).hash.to_string();
        let object = self.root.join("usb/objects").join(&hash[..2]).join(&hash);
        let mut held = std::fs::read(&object).map_err(failed)?;
        held[1000] ^= 1;
        std::fs::set_permissions(&object, std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
        std::fs::write(&object, held).map_err(failed)?;
        Ok(victim)
    }

    fn causes(&self, path: &Path) -> Result<String> {
        let program = std::env::current_exe().map_err(failed)?;
        let output = Command::new(program)
            .arg("--config")
            .arg(self.root.join("config.toml"))
            .args(["--json", "explain"])
            .arg(self.root.join("photos").join(path))
            .output()
            .map_err(failed)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let first: serde_json::Value = text.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
        let causes = first["causes"].as_array().cloned().unwrap_or_default();
        let each = causes
            .iter()
            .map(|cause| format!("{} ({})", cause["cause"].as_str().unwrap_or("?"), cause["detail"].as_str().unwrap_or("?")));
        Ok(each.collect::<Vec<_>>().join("; "))
    }
}

fn number(summary: &serde_json::Value, field: &str) -> u64 {
    summary[field].as_u64().unwrap_or(0)
}

fn expect(holds: bool, otherwise: &str) -> Result<()> {
    if holds { Ok(()) } else { Err(wrong(otherwise)) }
}

/// Bytes that look like nothing, the same in every demo.
fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut block = lastcopy_fs::hash_bytes(seed.as_bytes()).hash.0;
    while bytes.len() < size {
        bytes.extend_from_slice(&block);
        block = lastcopy_fs::hash_bytes(&block).hash.0;
    }
    bytes.truncate(size);
    bytes
}

fn make_tree(root: &Path) -> std::io::Result<()> {
    let write = |path: &Path, bytes: &[u8], mode: u32, age_days: u64| -> std::io::Result<()> {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(root))?;
        std::fs::write(&path, bytes)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
        let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age_days * 86_400 + 17);
        std::fs::File::options().write(true).open(&path).or_else(|_| std::fs::File::open(&path))?.set_modified(time)
    };
    for number in 0..40u64 {
        let (year, album) = if number < 25 { (2024, "holiday") } else { (2025, "birthday") };
        let path = PathBuf::from(format!("{year}/{album}/IMG_{number:04}.jpg"));
        write(
            &path,
            &noise(&path.display().to_string(), 200_000 + usize::try_from(number).unwrap_or(0) * 13_337),
            0o644,
            400 - number,
        )?;
    }
    // The same picture in an album of favourites.
    write(Path::new("favourites/sunset.jpg"), &std::fs::read(root.join("2024/holiday/IMG_0003.jpg"))?, 0o644, 10)?;
    for number in 0..120 {
        let name = lastcopy_fs::hash_bytes(format!("object {number}").as_bytes()).hash.to_string();
        let path = PathBuf::from(format!("website/.git/objects/{}/{}", &name[..2], &name[2..40]));
        write(&path, &noise(&name, 100 + number * 17), 0o444, 30)?;
    }
    write(Path::new("website/.git/HEAD"), b"ref: refs/heads/main\n", 0o644, 30)?;
    write(Path::new("website/deploy.sh"), b"#!/bin/sh\nexec rsync -a public/ web:\n", 0o755, 30)?;
    write(Path::new("empty"), b"", 0o600, 1)?;
    write(Path::new("odd names/a b\tc\nd.txt"), b"a name with a tab and a newline\n", 0o644, 2)?;
    write(Path::new("odd names/\u{1f30d} Gr\u{fc}\u{df}e.txt"), "Grüße\n".as_bytes(), 0o644, 2)?;
    write(Path::new(OsStr::from_bytes(b"odd names/not utf-8 \xff\xfe.raw")), b"bytes are bytes\n", 0o640, 2)?;
    write(&PathBuf::from(format!("odd names/{}", "long-".repeat(50))), b"250 bytes of name\n", 0o644, 2)
}

fn read_tree(root: &Path) -> std::io::Result<Tree> {
    let mut tree = Tree::new();
    read_below(root, root, &mut HashBuffer::new(), &mut tree)?;
    Ok(tree)
}

fn read_below(root: &Path, dir: &Path, buffer: &mut HashBuffer, tree: &mut Tree) -> std::io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let metadata = std::fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            if path.file_name() != Some(OsStr::new(lastcopy_store::VOLUME_DIR)) {
                read_below(root, &path, buffer, tree)?;
            }
        } else {
            let file = std::fs::File::open(&path)?;
            let content = buffer.hash_file(&file, metadata.len(), &lastcopy_fs::Cancel::new(), &NoProgress)?;
            let nanos = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_owned();
            tree.insert(relative, (content, metadata.mode() & 0o7777, nanos));
        }
    }
    Ok(())
}
