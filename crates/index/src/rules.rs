//! Exclude rules in gitignore syntax: those of the configuration, and a `.lastcopyignore` in any directory.

use crate::error::IndexError;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lastcopy_fs::{Dir, Mounts, RelPath};
use std::io::{self, Read};
use std::sync::Arc;

/// Checks that a pattern is one, without using it.
pub fn check_pattern(pattern: &str) -> Result<(), String> {
    GitignoreBuilder::new("").add_line(None, pattern).map(drop).map_err(|error| error.to_string())
}

/// The rules that hold in a directory: its own, then those of the directories above, then the configuration's.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    innermost: Option<Arc<Layer>>,
}

#[derive(Debug)]
struct Layer {
    base: RelPath,
    matcher: Gitignore,
    outer: Option<Arc<Layer>>,
}

impl Rules {
    /// The rules of the configuration, relative to the volume's root.
    pub fn configured(patterns: &[String]) -> Result<Self, IndexError> {
        if patterns.is_empty() {
            return Ok(Self::default());
        }
        let mut builder = GitignoreBuilder::new("");
        for pattern in patterns {
            builder
                .add_line(None, pattern)
                .map_err(|error| IndexError::Pattern { pattern: pattern.clone(), reason: error.to_string() })?;
        }
        let matcher =
            builder.build().map_err(|error| IndexError::Pattern { pattern: patterns.join(" "), reason: error.to_string() })?;
        Ok(Self { innermost: Some(Arc::new(Layer { base: RelPath::root(), matcher, outer: None })) })
    }

    /// With the rules that this directory's ignore file adds. Lines that are no patterns are reported, and match nothing.
    pub(crate) fn with_ignore_file(&self, dir: &Dir, base: &RelPath, complain: &mut dyn FnMut(String)) -> io::Result<Self> {
        let name = RelPath::new(lastcopy_store::IGNORE_FILE).map_err(io::Error::other)?;
        let mut text = Vec::new();
        dir.open_file(&name, Mounts::Stay)?.take(1 << 20).read_to_end(&mut text)?;
        let mut builder = GitignoreBuilder::new("");
        for line in String::from_utf8_lossy(&text).lines() {
            if let Err(error) = builder.add_line(None, line) {
                complain(format!("pattern `{line}`: {error}"));
            }
        }
        let matcher = builder.build().map_err(io::Error::other)?;
        Ok(Self { innermost: Some(Arc::new(Layer { base: base.clone(), matcher, outer: self.innermost.clone() })) })
    }

    /// Whether there is nothing to match at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.innermost.is_none()
    }

    /// Whether an entry is left out. The innermost layer that says anything decides.
    pub fn excludes(&self, path: &RelPath, is_dir: bool) -> bool {
        let mut layer = self.innermost.as_deref();
        while let Some(here) = layer {
            if let Some(relative) = path.relative_to(&here.base) {
                let verdict = here.matcher.matched(relative.as_path(), is_dir);
                if !verdict.is_none() {
                    return verdict.is_ignore();
                }
            }
            layer = here.outer.as_deref();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect("legal")
    }

    #[test]
    fn the_innermost_layer_decides() {
        let temp = tempfile::tempdir().expect("temp");
        std::fs::write(temp.path().join(".lastcopyignore"), "!keep.tmp\n/build/\n# a comment\n\n").expect("write");
        let dir = Dir::open(temp.path()).expect("open");
        let outer = Rules::configured(&["*.tmp".into(), ".Trash-*/".into()]).expect("patterns");
        let rules = outer.with_ignore_file(&dir, &path("sub"), &mut |_| {}).expect("read");
        for (text, is_dir, excluded) in [
            ("a.tmp", false, true),
            ("sub/a.tmp", false, true),
            ("sub/keep.tmp", false, false),
            ("keep.tmp", false, true),
            ("sub/build", true, true),
            ("sub/build", false, false),
            ("sub/deep/build", true, false),
            (".Trash-1000", true, true),
            (".Trash-1000", false, false),
            ("a.txt", false, false),
        ] {
            assert_eq!(rules.excludes(&path(text), is_dir), excluded, "{text}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let error = Rules::configured(&["a{b".into()]).expect_err("no pattern");
        assert!(error.to_string().contains("a{b"), "{error}");
    }
}
