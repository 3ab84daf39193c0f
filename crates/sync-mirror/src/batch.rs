//! Many small files in one call: a call for each costs rclone several times what moving them does.
//!
//! rclone copies trees, and what is to be sent are open files. So it is shown a tree of links to their descriptors: nobody can put another
//! file in the place of one, as when it is sent alone.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Files in one call: each is held open meanwhile.
pub(crate) const FILES: usize = 200;
/// Larger ones are sent by themselves, so that their progress is seen.
const LARGEST: u64 = 1 << 20;

/// Whether a file may be sent together with others. rclone lists what it is shown, and takes some characters in listed names for those that it
/// puts in the place of others; as the name of one file to be sent, it takes them as they are.
pub(crate) fn may_join(path: &str, size: u64) -> bool {
    let replacement = |character: char| matches!(character, '\u{2400}'..='\u{243F}' | '\u{FF00}'..='\u{FFEF}');
    size <= LARGEST && !path.chars().any(|character| replacement(character) || character.is_control())
}

/// A tree of links, for as long as this lives.
pub(crate) struct Batch(tempfile::TempDir);

impl Batch {
    /// Shows open files at their paths.
    pub(crate) fn of<'a>(private: &Path, files: impl Iterator<Item = (&'a File, &'a str)>) -> io::Result<Self> {
        let tree = tempfile::Builder::new().prefix("batch-").tempdir_in(private)?;
        let mut made = PathBuf::new();
        for (file, path) in files {
            let link = tree.path().join(path);
            if let Some(dir) = link.parent().filter(|dir| *dir != made) {
                fs::create_dir_all(dir)?;
                dir.clone_into(&mut made);
            }
            symlink(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()), link)?;
        }
        Ok(Self(tree))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_are_shown_at_their_paths() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), "1").unwrap();
        fs::write(dir.path().join("two"), "2").unwrap();
        let open = ["one", "two"].map(|name| File::open(dir.path().join(name)).unwrap());
        // Whatever takes its place meanwhile is not what is shown.
        fs::rename(dir.path().join("two"), dir.path().join("one")).unwrap();
        let batch = Batch::of(dir.path(), open.iter().zip(["v/deep/a", "v/b"])).unwrap();
        let shown = |path: &str| fs::read_to_string(batch.path().join(path)).unwrap();
        assert_eq!((shown("v/deep/a"), shown("v/b")), ("1".to_owned(), "2".to_owned()));
    }

    #[test]
    fn names_that_would_be_read_otherwise_go_alone() {
        for alone in ["a\u{FF0F}b", "a/\u{2400}", "\u{FF0E}", "new\nline"] {
            assert!(!may_join(alone, 1), "{alone}");
        }
        assert!(may_join("Bücher/ein Bild (1).jpg", 1) && !may_join("large", LARGEST + 1));
    }
}
