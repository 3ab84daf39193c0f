//! What is where, by looking.

use anyhow::{Context, Result};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::arena::SIZE;

/// A content: the name that it has at a destination, too.
pub(crate) type Digest = blake3::Hash;

/// Everything below some directories.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whole files.
    whole: HashMap<Digest, PathBuf>,
    /// Their first and their last bytes: somebody wrote only those.
    ends: HashSet<Digest>,
}

impl Found {
    /// Reads every regular file below a directory, which need not exist.
    pub(crate) fn below(&mut self, dir: &Path) -> Result<()> {
        each_file(dir, &mut |path, bytes| {
            self.whole.insert(blake3::hash(bytes), path.to_owned());
            if bytes.len() >= SIZE {
                self.ends.insert(blake3::hash(&bytes[..SIZE]));
                self.ends.insert(blake3::hash(&bytes[bytes.len() - SIZE..]));
            }
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.whole.is_empty()
    }

    pub(crate) fn has(&self, content: &[u8]) -> bool {
        self.whole.contains_key(&blake3::hash(content))
    }

    /// Whether something begins or ends with a content.
    pub(crate) fn has_part(&self, content: &[u8]) -> bool {
        self.ends.contains(&blake3::hash(content))
    }
}

/// Calls back with every regular file below a directory. No symbolic link is followed.
fn each_file(dir: &Path, each: &mut dyn FnMut(&Path, &[u8])) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.with_context(|| dir.display().to_string())?,
    };
    for entry in entries {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            each_file(&path, each)?;
        } else if kind.is_file() {
            each(&path, &fs::read(&path).with_context(|| path.display().to_string())?);
        }
    }
    Ok(())
}

/// One number for a whole tree: names, and bytes.
pub(crate) fn picture(dir: &Path) -> Result<Digest> {
    let mut files = Vec::new();
    each_file(dir, &mut |path, bytes| files.push((path.as_os_str().as_bytes().to_vec(), blake3::hash(bytes))))?;
    files.sort_by(|one, other| one.0.cmp(&other.0));
    let mut hasher = blake3::Hasher::new();
    for (path, digest) in files {
        hasher.update(&path).update(&[0]).update(digest.as_bytes());
    }
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::content;

    #[test]
    fn parts_and_wholes_are_found_and_what_is_gone_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("deep/file"), [content("old"), content("new")].concat()).unwrap();
        let mut found = Found::default();
        found.below(dir.path()).unwrap();
        assert!(found.has_part(&content("new")) && found.has_part(&content("old")));
        assert!(!found.has(&content("new")) && !found.has_part(&content("other")));
        let before = picture(dir.path()).unwrap();
        fs::rename(dir.path().join("deep/file"), dir.path().join("deep/other")).unwrap();
        assert_ne!(before, picture(dir.path()).unwrap());
    }
}
