//! The oracle after a power cut: it opens files, destinations and the index itself, and asks the program nothing.

use crate::home::{DESTINATIONS, Home};
use crate::tree::{self, Tree};
use anyhow::{Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// What the end of a workload's work must have come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Every file is in its place, and every destination holds it.
    Pushed,
    /// No file is in its place, and every destination holds it.
    Left,
    /// Every file is in its place.
    Home,
}

/// What a person had.
#[derive(Debug, Clone)]
pub(crate) struct Originals {
    pub(crate) files: Tree,
    /// Whether destinations alone may hold them.
    pub(crate) may_leave: bool,
}

/// A volume and its destinations, as they are.
struct Seen {
    places: Tree,
    /// What is aside or kept, without the run's number.
    aside: Vec<(PathBuf, blake3::Hash)>,
    /// The objects of each destination, by name.
    objects: Vec<Tree>,
}

impl Seen {
    fn read(home: &Home) -> Result<Self> {
        let mut places = tree::read(&home.volume())?;
        places.retain(|path, _| !path.starts_with(".lastcopy"));
        let mut aside = Vec::new();
        for area in ["offload", "kept"] {
            let found = tree::read(&home.own().join(area))?;
            aside.extend(found.into_iter().map(|(path, hash)| (path.iter().skip(1).collect(), hash)));
        }
        let objects = |name| tree::read(&home.destinations().join(name).join("objects"));
        Ok(Self { places, aside, objects: DESTINATIONS.into_iter().map(objects).collect::<Result<_>>()? })
    }

    fn is_here(&self, path: &Path, hash: blake3::Hash) -> bool {
        self.places.get(path) == Some(&hash) || self.aside.iter().any(|(there, found)| there == path && *found == hash)
    }

    fn is_at_all(&self, hash: blake3::Hash) -> bool {
        let name = hash.to_hex();
        let object = Path::new(&name[..2]).join(name.as_str());
        self.objects.iter().all(|objects| objects.get(&object) == Some(&hash))
    }
}

impl Originals {
    /// What is wrong, whatever ran and wherever it was cut short.
    pub(crate) fn check(&self, home: &Home, scratch: &Path) -> Result<Vec<String>> {
        let seen = Seen::read(home)?;
        let mut wrong = Vec::new();
        for (path, hash) in &self.files {
            let kept = seen.is_here(path, *hash) || self.may_leave && seen.is_at_all(*hash);
            if !kept {
                wrong.push(format!("{} is lost, or held by too few", path.display()));
            }
        }
        for (path, hash) in seen.places.iter().chain(seen.aside.iter().map(|(path, hash)| (path, hash))) {
            if self.files.get(path) != Some(hash) {
                wrong.push(format!("{} holds bytes that nobody wrote there", path.display()));
            }
        }
        for (name, objects) in DESTINATIONS.into_iter().zip(&seen.objects) {
            let damaged = objects.iter().filter(|(path, hash)| !path.ends_with(hash.to_hex().as_str()));
            wrong.extend(damaged.map(|(path, _)| format!("{name}: {} does not hash to its name", path.display())));
        }
        wrong.extend(check_index(home, scratch)?);
        Ok(wrong)
    }

    /// What of a goal is not reached.
    pub(crate) fn check_goal(&self, goal: Goal, home: &Home) -> Result<Vec<String>> {
        let seen = Seen::read(home)?;
        let mut wrong: Vec<_> = seen.aside.iter().map(|(path, _)| format!("{} is still aside or kept", path.display())).collect();
        for (path, hash) in &self.files {
            let in_place = seen.places.contains_key(path);
            if in_place == (goal == Goal::Left) {
                wrong.push(format!("{} is {}in its place", path.display(), if in_place { "" } else { "not " }));
            }
            if goal != Goal::Home && !seen.is_at_all(*hash) {
                wrong.push(format!("{} is not at every destination", path.display()));
            }
        }
        Ok(wrong)
    }
}

/// A copy of the index must open and be whole: what a power cut left, not what the program makes of it.
fn check_index(home: &Home, scratch: &Path) -> Result<Option<String>> {
    let index = home.data().join("lastcopy/index.db");
    if !index.is_file() {
        return Ok(Some("the index is gone".to_owned()));
    }
    let copy = tempfile::tempdir_in(scratch)?;
    let mut copied = 0;
    for suffix in ["", "-wal"] {
        let from = index.with_file_name(format!("index.db{suffix}"));
        if from.is_file() {
            copied += fs::copy(&from, copy.path().join(format!("index.db{suffix}")))?;
        }
    }
    ensure!(copied > 0, "the index is empty");
    let answer = rusqlite::Connection::open(copy.path().join("index.db"))
        .and_then(|index| index.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)));
    Ok(match answer {
        Ok(ok) if ok == "ok" => None,
        Ok(wrong) => Some(format!("the index is damaged: {wrong}")),
        Err(error) => Some(format!("the index cannot be read: {error}")),
    })
}
