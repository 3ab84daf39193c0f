//! What is where, by looking.

use anyhow::{Context, Result};
use lastcopy_scene::tree;
use std::collections::{HashMap, HashSet};
use std::fs;
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
        for (path, _) in tree::files(dir)? {
            let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
            if bytes.len() >= SIZE {
                self.ends.insert(blake3::hash(&bytes[..SIZE]));
                self.ends.insert(blake3::hash(&bytes[bytes.len() - SIZE..]));
            }
            self.whole.insert(blake3::hash(&bytes), path);
        }
        Ok(())
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
    }
}
