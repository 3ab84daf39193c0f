//! Files of a person: written the same way every time, and read back as digests.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Digests by path below some directory.
pub(crate) type Tree = BTreeMap<PathBuf, blake3::Hash>;

/// So many bytes that nothing else has, from a name.
pub(crate) fn noise(name: &str, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(name.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// Writes a file of some age, with the directories above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = || -> io::Result<()> {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, bytes)?;
        // Some other time for other bytes, as edits of a person have.
        let age = Duration::from_secs(1_600_000_000 + u64::from(blake3::hash(bytes).as_bytes()[0]));
        File::options().write(true).open(path)?.set_times(FileTimes::new().set_modified(UNIX_EPOCH + age))
    };
    written().with_context(|| path.display().to_string())
}

/// All regular files below a directory. One that is not there is empty.
pub(crate) fn read(root: &Path) -> Result<Tree> {
    let mut tree = Tree::new();
    read_below(root, root, &mut tree).with_context(|| root.display().to_string())?;
    Ok(tree)
}

fn read_below(root: &Path, dir: &Path, tree: &mut Tree) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            read_below(root, &path, tree)?;
        } else if kind.is_file() {
            let hash = blake3::hash(&fs::read(&path)?);
            tree.insert(path.strip_prefix(root).map_err(io::Error::other)?.to_owned(), hash);
        }
    }
    Ok(())
}
