//! Trees of files: written the same way every time, read back whole, compared byte for byte.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a test can see of a file.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Of a symbolic link: where it points.
    pub(crate) bytes: Vec<u8>,
    pub(crate) mode: u32,
    pub(crate) mtime_ns: i64,
}

/// Every file below a directory, by relative path. Without lastcopy's own directory.
pub(crate) type Tree = BTreeMap<PathBuf, Entry>;

/// Reads a tree.
pub(crate) fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    read_below(root, root, &mut tree);
    tree
}

fn read_below(root: &Path, dir: &Path, tree: &mut Tree) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = fs::symlink_metadata(&path).unwrap();
        if metadata.is_dir() {
            if path != root.join(".lastcopy") {
                read_below(root, &path, tree);
            }
            continue;
        }
        let bytes = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            fs::read(&path).unwrap()
        };
        let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        tree.insert(path.strip_prefix(root).unwrap().to_owned(), Entry { bytes, mode: metadata.mode() & 0o7777, mtime_ns });
    }
}

/// That two trees are the same: paths, bytes, modes and times.
#[track_caller]
pub(crate) fn assert_same_tree(found: &Tree, expected: &Tree) {
    let mut differences = Vec::new();
    for (path, entry) in expected {
        match found.get(path) {
            None => differences.push(format!("{}: is not there", path.display())),
            Some(found) if found.bytes != entry.bytes => differences.push(format!("{}: holds other bytes", path.display())),
            Some(found) if found.mode != entry.mode => {
                differences.push(format!("{}: mode {:o}, not {:o}", path.display(), found.mode, entry.mode));
            }
            Some(found) if found.mtime_ns != entry.mtime_ns => {
                differences.push(format!("{}: modified at {}, not {}", path.display(), found.mtime_ns, entry.mtime_ns));
            }
            Some(_) => {}
        }
    }
    let unexpected = found.keys().filter(|path| !expected.contains_key(*path));
    differences.extend(unexpected.map(|path| format!("{}: nobody expected it", path.display())));
    assert!(differences.is_empty(), "the trees differ:\n{}", differences.join("\n"));
}

/// Bytes that look like nothing, the same for the same seed.
pub(crate) fn noise(seed: &str, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size + 32);
    let mut block = lastcopy_fs::hash_bytes(seed.as_bytes()).hash.0;
    while bytes.len() < size {
        bytes.extend_from_slice(&block);
        block = lastcopy_fs::hash_bytes(&block).hash.0;
    }
    bytes.truncate(size);
    bytes
}

/// The digest by which the program knows some bytes.
pub(crate) fn digest(bytes: &[u8]) -> String {
    lastcopy_fs::hash_bytes(bytes).hash.to_string()
}

/// Writes a file, new or again, with a modification time in the past that follows from its path and bytes.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    let name = path.file_name().unwrap().as_bytes();
    let seed = lastcopy_fs::hash_bytes(&[name, bytes].concat()).hash.0;
    let spread = u64::from_le_bytes(seed[..8].try_into().unwrap());
    set_mtime(path, UNIX_EPOCH + Duration::new(1_500_000_000 + spread % 200_000_000, u32::from(seed[9]) * 1_000_000));
}

/// Sets a modification time.
pub(crate) fn set_mtime(path: &Path, time: SystemTime) {
    File::open(path).unwrap().set_modified(time).unwrap();
}

/// Sets a mode.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Flips one bit in the middle of a file, as a failing disk would: neither size nor time nor mode tell.
pub(crate) fn flip_bit(path: &Path) {
    let metadata = fs::metadata(path).unwrap();
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    set_mode(path, 0o644);
    fs::write(path, bytes).unwrap();
    set_mtime(path, metadata.modified().unwrap());
    set_mode(path, metadata.mode() & 0o7777);
}

/// Copies a whole directory, with modes and times, and hard links as hard links: what a backup program, or a snapshot, would keep.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(copied.success(), "cp -a {} {}", from.display(), to.display());
}
