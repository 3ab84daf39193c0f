//! Trees of files: written the same way every time, copied, and read back as digests.

use crate::{Result, SceneError};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// A file as one can see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// BLAKE3 of its bytes.
    pub hash: blake3::Hash,
    /// Permission bits.
    pub mode: u32,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Files by their path below some directory.
pub type Tree = BTreeMap<PathBuf, Seen>;

/// Reads every file below a directory, by relative path. A directory that is not there is empty. Symbolic links, and what `leave_out`
/// names, are left out.
pub fn read(root: &Path, leave_out: Option<&str>) -> Result<Tree> {
    let mut tree = Tree::new();
    for (path, metadata) in files(root)? {
        let relative = path.strip_prefix(root).unwrap_or(&path);
        if leave_out.is_some_and(|name| relative.starts_with(name)) {
            continue;
        }
        let hash = hash_file(&path)?;
        let mtime_ns = metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec();
        tree.insert(relative.to_owned(), Seen { hash, mode: metadata.mode() & 0o7777, mtime_ns });
    }
    Ok(tree)
}

/// BLAKE3 of a file.
pub fn hash_file(path: &Path) -> Result<blake3::Hash> {
    Ok(blake3::hash(&fs::read(path).map_err(SceneError::at(path))?))
}

/// Every regular file below a directory, which need not be there. No symbolic link is followed.
pub fn files(dir: &Path) -> Result<Vec<(PathBuf, fs::Metadata)>> {
    let mut found = Vec::new();
    find(dir, &mut found)?;
    Ok(found)
}

fn find(dir: &Path, found: &mut Vec<(PathBuf, fs::Metadata)>) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SceneError::at(dir)(error)),
    };
    for entry in entries {
        let path = entry.map_err(SceneError::at(dir))?.path();
        let metadata = fs::symlink_metadata(&path).map_err(SceneError::at(&path))?;
        if metadata.is_dir() {
            find(&path, found)?;
        } else if metadata.is_file() {
            found.push((path, metadata));
        }
    }
    Ok(())
}

/// Bytes that look like nothing, the same for the same seed.
pub fn noise(seed: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
    bytes
}

/// Writes a file, new or again, with a modification time in the past that follows from its bytes.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).map_err(SceneError::at(parent))?;
    let write = || {
        fs::write(path, bytes)?;
        let [first, second, ..] = *blake3::hash(bytes).as_bytes();
        let spread = u64::from(first) << 16 | u64::from(second);
        let past = UNIX_EPOCH + Duration::new(1_500_000_000 + spread, u32::from(first) * 1_000_000);
        File::options().write(true).open(path)?.set_times(FileTimes::new().set_modified(past))
    };
    write().map_err(SceneError::at(path))
}

/// Flips a bit in the middle of a file, as a failing disk would: neither size nor time nor mode tell.
pub fn flip_bit(path: &Path) -> Result<()> {
    let flip = || {
        let metadata = fs::metadata(path)?;
        let mut bytes = fs::read(path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::set_permissions(path, Permissions::from_mode(0o644))?;
        fs::write(path, bytes)?;
        File::options().write(true).open(path)?.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
        fs::set_permissions(path, metadata.permissions())
    };
    flip().map_err(SceneError::at(path))
}

/// Copies a tree, with modes and times of files.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to).map_err(SceneError::at(to))?;
    for entry in fs::read_dir(from).map_err(SceneError::at(from))? {
        let entry = entry.map_err(SceneError::at(from))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let metadata = fs::symlink_metadata(&source).map_err(SceneError::at(&source))?;
        if metadata.is_dir() {
            copy(&source, &target)?;
        } else {
            copy_file(&source, &target, &metadata).map_err(SceneError::at(&source))?;
        }
    }
    let mode = fs::metadata(from).map_err(SceneError::at(from))?.permissions();
    fs::set_permissions(to, mode).map_err(SceneError::at(to))
}

fn copy_file(from: &Path, to: &Path, metadata: &fs::Metadata) -> std::io::Result<()> {
    let mut target = File::create_new(to)?;
    std::io::copy(&mut File::open(from)?, &mut target)?;
    target.set_times(FileTimes::new().set_modified(metadata.modified()?))?;
    target.set_permissions(metadata.permissions())
}

/// Removes a tree; that it is not there is fine.
pub fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(SceneError::at(path)(error)),
        _ => Ok(()),
    }
}

/// A path from bytes that need not be text.
pub fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What would be overlooked here, every proof above would overlook.
    #[test]
    fn a_copy_is_the_same_and_a_byte_a_name_a_mode_or_a_time_makes_another() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, copied) = (dir.path().join("tree"), dir.path().join("copied"));
        write(&tree.join("deep/file"), &noise(b"file", 5000)).unwrap();
        write(&tree.join("own/file"), b"left out").unwrap();
        std::os::unix::fs::symlink("deep/file", tree.join("link")).unwrap();
        let before = read(&tree, None).unwrap();
        assert_eq!(before.keys().map(|path| path.to_str().unwrap()).collect::<Vec<_>>(), ["deep/file", "own/file"]);
        assert_eq!(read(&tree, Some("own")).unwrap().len(), 1);
        fs::remove_file(tree.join("link")).unwrap();
        let changes: [&dyn Fn(&Path); 4] = [
            &|file| flip_bit(file).unwrap(),
            &|file| fs::rename(file, file.with_file_name("other")).unwrap(),
            &|file| fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap(),
            &|file| File::options().write(true).open(file).unwrap().set_modified(UNIX_EPOCH).unwrap(),
        ];
        for change in changes {
            copy(&tree, &copied).unwrap();
            assert_eq!(read(&copied, None).unwrap(), before);
            change(&copied.join("deep/file"));
            assert_ne!(read(&copied, None).unwrap(), before);
            remove(&copied).unwrap();
        }
        assert!(read(&copied, None).unwrap().is_empty());
    }
}
