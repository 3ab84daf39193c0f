//! Names: which of them a place can keep exactly, and what lies in its directories already.

use crate::rc::RcError;
use crate::remote::{Features, Remote, in_the_way};
use crate::wire::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use unicode_normalization::UnicodeNormalization;

/// Whether a place can be asked for this name at all. What it cannot keep is excluded by name; nothing is stored under another name.
pub(crate) fn storable(path: &[u8], features: &Features) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(path) else {
        return Err("rclone stores only names in UTF-8; this one is not".into());
    };
    // rclone writes characters that a place cannot hold as others, and marks real ones with this quote.
    if text.contains('\u{201B}') {
        return Err("its name holds U+201B, by which rclone marks characters that it replaced".into());
    }
    // And takes these for the control characters that they are pictures of, where a place can hold those.
    if features.local.is_some()
        && let Some(picture) = text.chars().find(|character| matches!(character, '\u{2400}'..='\u{2421}'))
    {
        return Err(format!("its name holds U+{:04X}, which rclone takes there for a control character", u32::from(picture)));
    }
    // A local directory keeps them as they are; elsewhere rclone would store a substitute.
    if features.local.is_none()
        && let Some(control) = text.chars().find(|character| character.is_control())
    {
        return Err(format!("its name holds the control character U+{:04X}, which rclone would replace there", u32::from(control)));
    }
    Ok(())
}

/// What lies in some directories: each is listed once, because asking for one file that is not there lists its directory, too.
#[derive(Default)]
pub(crate) struct Listed {
    dirs: HashMap<String, Dir>,
    /// Paths that are surely there under these very names, because they were sent.
    made: HashSet<String>,
}

struct Dir {
    entries: BTreeMap<String, Entry>,
    /// Names that are there or are to come, by how they fold.
    alike: HashMap<String, BTreeSet<String>>,
}

impl Listed {
    /// Lists what is not listed yet of the directories above these paths, and forgets all others. A file where a directory should be is
    /// listed as nothing.
    pub(crate) fn turn_to(&mut self, remote: &Remote, paths: &[String]) -> Result<(), RcError> {
        let mut known = std::mem::take(&mut self.dirs);
        for path in paths {
            for (dir, name, _) in components(path) {
                if !self.dirs.contains_key(dir) {
                    let listed = known.remove(dir).map_or_else(|| Dir::list(remote, dir), Ok)?;
                    self.dirs.insert(dir.to_owned(), listed);
                }
                if let Some(dir) = self.dirs.get_mut(dir) {
                    dir.alike.entry(fold(name)).or_default().insert(name.to_owned());
                }
            }
        }
        Ok(())
    }

    /// What was at a path.
    pub(crate) fn at(&self, path: &str) -> Option<&Entry> {
        let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
        self.dirs.get(dir)?.entries.get(name)
    }

    /// A part of a path that is not known to be there under that very name, while another name that folds into it is or may be: the two
    /// are one, if the place folds names.
    pub(crate) fn doubtful(&self, path: &str) -> Option<(String, String)> {
        components(path).find_map(|(dir, name, whole)| {
            let dir = self.dirs.get(dir)?;
            if dir.entries.contains_key(name) || self.made.contains(whole) {
                return None;
            }
            let other = dir.alike.get(&fold(name))?.iter().find(|other| *other != name)?;
            Some((whole.to_owned(), other.clone()))
        })
    }

    /// A path was sent: each part of it is there under its very name.
    pub(crate) fn sent(&mut self, path: &str) {
        self.made.extend(components(path).map(|(_, _, whole)| whole.to_owned()));
    }
}

impl Dir {
    fn list(remote: &Remote, dir: &str) -> Result<Self, RcError> {
        let entries: BTreeMap<_, _> = match remote.list(dir, false) {
            Ok(entries) => entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect(),
            Err(RcError::NotFound(_)) => BTreeMap::new(),
            Err(RcError::Refused(reason)) if in_the_way(&reason) => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        let mut alike: HashMap<String, BTreeSet<String>> = HashMap::new();
        for name in entries.keys() {
            alike.entry(fold(name)).or_default().insert(name.clone());
        }
        Ok(Self { entries, alike })
    }
}

/// Each part of a path: its directory, its name, and the path up to it.
fn components(path: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    ends.map(move |end| {
        let whole = &path[..end];
        let (dir, name) = whole.rsplit_once('/').unwrap_or(("", whole));
        (dir, name, whole)
    })
}

/// How a name looks to a place that tells neither case nor Unicode normal forms apart.
fn fold(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_be_replaced_are_refused() {
        let far = Features { backend: "sftp".into(), kind: None, hashes: Vec::new(), local: None, wraps: false, moves: true };
        let here = Features { local: Some("/mnt".into()), ..far.clone() };
        for odd in [&b"a\nb"[..], b"\x7f"] {
            assert!(storable(odd, &far).is_err(), "{odd:?}");
            assert!(storable(odd, &here).is_ok(), "{odd:?}");
        }
        for features in [&far, &here] {
            assert!(storable(b"a\xff", features).is_err());
            assert!(storable("‛x".as_bytes(), features).is_err());
            assert_eq!(storable("x␊y".as_bytes(), features).is_err(), features.local.is_some());
            assert!(storable("a b/ü. ".as_bytes(), features).is_ok());
        }
    }

    #[test]
    fn names_that_a_place_may_take_for_one_fold_alike() {
        for (one, other) in [("README", "readme"), ("\u{fc}", "u\u{308}"), ("\u{dc}", "u\u{308}")] {
            assert_eq!(fold(one), fold(other));
        }
        assert_ne!(fold("a"), fold("b"));
    }
}
