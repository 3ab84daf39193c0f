//! What a power cut could still take away: every change that no sync has followed yet, call by call.
//!
//! It is stricter than any file system in use. A sync of a file does not make its name durable, one of a directory nothing but its own
//! entries. A change counts from the moment its call began, and a sync covers only what had returned before it began. What was opened
//! with `O_SYNC` counts as not synced all the same, which may blame the innocent, but acquits nobody. `sync_file_range` makes nothing
//! durable.

use lastcopy_stepper::{Call, FileType, Inode};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A file, whatever its name.
type Number = (u64, u64);

/// What is not durable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// Bytes or the size of a file.
    Bytes(Number),
    /// Mode, times, attributes of a file.
    Attributes(Number),
    /// A file that is mapped for writing: bytes change without any call, and no sync says until when.
    Mapping(Number),
    /// A name in a directory.
    Name(PathBuf, OsString),
}

/// What a stain is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Bytes,
    Attributes,
    Mapping,
    /// A name that was made, or moved to.
    Made,
    /// A name that was moved away from.
    Moved,
    /// A file's name that was removed.
    Removed,
    /// An empty directory that was removed.
    RemovedDirectory,
}

/// A change that is not durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stain {
    pub(crate) what: What,
    /// Of the file, as it is called now.
    pub(crate) path: PathBuf,
    /// The last call that left it so.
    pub(crate) call: String,
    device: Option<u64>,
    /// Calls that have not returned.
    open: u32,
    /// Which of all changes it was.
    version: u64,
}

/// What is not durable at one moment of a run.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    stains: BTreeMap<Key, Stain>,
    version: u64,
    /// What each call that has not returned touched, and whether that was clean before.
    changing: BTreeMap<u64, Vec<(Key, bool)>>,
    /// What each sync that has not returned covers.
    syncing: BTreeMap<u64, Vec<(Key, u64)>>,
}

const O_TRUNC: u64 = libc::O_TRUNC as u64;
/// `O_TMPFILE` without the bit that it shares with `O_DIRECTORY`.
const O_TMPFILE: u64 = 0x40_0000;

/// What a call does, if it works.
enum Effect<'a> {
    Bytes(&'a Inode, &'a Path),
    Attributes(&'a Inode, &'a Path),
    Mapping(&'a Inode, &'a Path),
    Name(&'a Path, What),
}

impl Ledger {
    /// Everything that is not durable now.
    pub(crate) fn stains(&self) -> impl Iterator<Item = &Stain> {
        self.stains.values()
    }

    /// What of a file's bytes is not durable now, if anything.
    pub(crate) fn unsynced_bytes(&self, inode: &Inode) -> Option<&Stain> {
        self.stains.get(&Key::Bytes(number(inode)))
    }

    /// A call begins.
    pub(crate) fn begin(&mut self, call: &Call) {
        let effects = effects(call);
        let mut touched = Vec::new();
        for effect in effects {
            let (key, what, path, device) = match effect {
                Effect::Bytes(inode, path) => (Key::Bytes(number(inode)), What::Bytes, path, Some(inode.device)),
                Effect::Attributes(inode, path) => (Key::Attributes(number(inode)), What::Attributes, path, Some(inode.device)),
                Effect::Mapping(inode, path) => (Key::Mapping(number(inode)), What::Mapping, path, Some(inode.device)),
                Effect::Name(path, what) => {
                    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
                    (Key::Name(parent.to_owned(), name.to_owned()), what, path, device_of(call, path))
                }
            };
            self.version += 1;
            let before = self.stains.remove(&key);
            let open = before.as_ref().map_or(0, |stain| stain.open) + 1;
            let stain = Stain { what, path: path.to_owned(), call: call.to_string(), device, open, version: self.version };
            touched.push((key.clone(), before.is_none()));
            self.stains.insert(key, stain);
        }
        self.changing.insert(call.began, touched);
        if let Some(covered) = self.covered(call) {
            self.syncing.insert(call.began, covered);
        }
    }

    /// A call returned.
    pub(crate) fn end(&mut self, call: &Call) {
        let worked = call.succeeded();
        for (key, was_clean) in self.changing.remove(&call.began).unwrap_or_default() {
            if let Some(stain) = self.stains.get_mut(&key) {
                stain.open = stain.open.saturating_sub(1);
                if !worked && was_clean && stain.open == 0 {
                    self.stains.remove(&key);
                }
            }
        }
        let covered = self.syncing.remove(&call.began).unwrap_or_default();
        if !worked {
            return;
        }
        for (key, version) in covered {
            if self.stains.get(&key).is_some_and(|stain| stain.version == version) {
                self.stains.remove(&key);
            }
        }
        match call.name {
            "rename" | "renameat" | "renameat2" => self.renamed(call),
            "unlink" | "unlinkat" | "rmdir" => self.gone(call.targets.first().and_then(|target| target.before), call),
            _ => {}
        }
    }

    /// What a sync makes durable if it works, as it is when it begins.
    fn covered(&self, call: &Call) -> Option<Vec<(Key, u64)>> {
        let target = call.targets.first();
        let inode = target.and_then(|target| target.before);
        let covers = |key: &Key, stain: &Stain| match (call.name, inode) {
            ("sync", _) => true,
            ("syncfs", Some(inode)) => stain.device == Some(inode.device),
            ("fsync" | "fdatasync", Some(inode)) => match key {
                Key::Bytes(file) => *file == number(&inode),
                Key::Attributes(file) => *file == number(&inode) && call.name == "fsync",
                Key::Mapping(_) => false,
                Key::Name(directory, _) => target.is_some_and(|target| target.path == *directory),
            },
            _ => false,
        };
        if !["sync", "syncfs", "fsync", "fdatasync"].contains(&call.name) {
            return None;
        }
        let durable =
            self.stains.iter().filter(|(key, stain)| stain.open == 0 && !matches!(key, Key::Mapping(_)) && covers(key, stain));
        Some(durable.map(|(key, stain)| (key.clone(), stain.version)).collect())
    }

    fn renamed(&mut self, call: &Call) {
        let [old, new] = call.targets.as_slice() else { return };
        let exchanged = call.flags == Some(u64::from(libc::RENAME_EXCHANGE));
        if !exchanged && new.before.is_some_and(|replaced| Some(number(&replaced)) != old.before.map(|moved| number(&moved))) {
            self.gone(new.before, call);
        }
        // What lay below a directory is called otherwise now.
        let moved = |path: &Path| {
            path.strip_prefix(&old.path)
                .ok()
                .map(|rest| if rest.as_os_str().is_empty() { new.path.clone() } else { new.path.join(rest) })
        };
        let old_stains = std::mem::take(&mut self.stains);
        for (key, mut stain) in old_stains {
            let key = match key {
                Key::Name(directory, name) => match moved(&directory) {
                    Some(directory) => {
                        stain.path = directory.join(&name);
                        Key::Name(directory, name)
                    }
                    None => Key::Name(directory, name),
                },
                file => {
                    stain.path = moved(&stain.path).unwrap_or(stain.path);
                    file
                }
            };
            self.stains.insert(key, stain);
        }
    }

    /// A name was removed: what has no other name is gone with it.
    fn gone(&mut self, inode: Option<Inode>, call: &Call) {
        let Some(inode) = inode else { return };
        let file = number(&inode);
        match inode.kind {
            FileType::Directory => {
                let Some(target) = call.targets.last() else { return };
                self.stains.retain(|key, _| !matches!(key, Key::Name(directory, _) if *directory == target.path));
            }
            _ if inode.links <= 1 => {
                self.stains.retain(|key, _| match key {
                    Key::Bytes(other) | Key::Attributes(other) | Key::Mapping(other) => *other != file,
                    Key::Name(..) => true,
                });
            }
            _ => {}
        }
    }
}

fn number(inode: &Inode) -> Number {
    (inode.device, inode.inode)
}

/// The file system of a name: nothing else than directories and files of one lie beside each other here.
fn device_of(call: &Call, path: &Path) -> Option<u64> {
    let of_this = call.targets.iter().filter(|target| target.path == path);
    let inodes = of_this.chain(&call.targets).flat_map(|target| [target.after, target.before]).flatten();
    inodes.map(|inode| inode.device).next()
}

/// What a call changes. Files that have no name any more do not count: nothing is left of them.
fn effects(call: &Call) -> Vec<Effect<'_>> {
    let Some(first) = call.targets.first() else { return Vec::new() };
    let second = call.targets.get(1);
    let named = first.before.as_ref().filter(|inode| inode.links > 0 && inode.kind == FileType::Regular);
    let flags = call.flags.unwrap_or(0);
    match call.name {
        "open" | "openat" | "openat2" | "creat" => {
            if flags & O_TMPFILE != 0 {
                Vec::new()
            } else if first.before.is_none() {
                vec![Effect::Name(&first.path, What::Made)]
            } else if flags & O_TRUNC != 0 || call.name == "creat" {
                named.map(|inode| Effect::Bytes(inode, &first.path)).into_iter().collect()
            } else {
                Vec::new()
            }
        }
        "rename" | "renameat" | "renameat2" => {
            let made = second.map(|new| Effect::Name(&new.path, What::Made));
            std::iter::once(Effect::Name(&first.path, What::Moved)).chain(made).collect()
        }
        "link" | "linkat" => second.map(|new| Effect::Name(&new.path, What::Made)).into_iter().collect(),
        "symlink" | "symlinkat" | "mkdir" | "mkdirat" | "mknod" | "mknodat" => vec![Effect::Name(&first.path, What::Made)],
        "unlink" | "unlinkat" | "rmdir" => {
            let directory = first.before.is_some_and(|inode| inode.kind == FileType::Directory);
            vec![Effect::Name(&first.path, if directory { What::RemovedDirectory } else { What::Removed })]
        }
        "mmap" => named.map(|inode| Effect::Mapping(inode, &first.path)).into_iter().collect(),
        "fsync" | "fdatasync" | "sync" | "syncfs" | "sync_file_range" | "msync" => Vec::new(),
        name if is_of_attributes(name) => named.map(|inode| Effect::Attributes(inode, &first.path)).into_iter().collect(),
        // Whatever else the stepper stops at writes, cuts or reserves bytes.
        _ => named.map(|inode| Effect::Bytes(inode, &first.path)).into_iter().collect(),
    }
}

fn is_of_attributes(name: &str) -> bool {
    [
        "chmod",
        "chown",
        "utime",
        "utimes",
        "futimesat",
        "utimensat",
        "xattr",
        "xattrat",
        "setattr",
        "fchmodat",
        "fchmodat2",
        "fchownat",
    ]
    .iter()
    .any(|end| name.ends_with(end))
}
