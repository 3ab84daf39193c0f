//! The oracle after a power cut: it opens files, destinations and the index itself, and asks the program nothing.

use crate::home::{DESTINATIONS, Home};
use anyhow::Result;
use lastcopy_scene::Claims;
use lastcopy_scene::tree::{self, Tree};
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
    /// Whether there may be no index yet.
    pub(crate) may_lack_index: bool,
}

/// A volume and its destinations, as they are.
struct Seen {
    places: Tree,
    /// What is aside or kept, without the run's number.
    aside: Vec<(PathBuf, tree::Seen)>,
    /// The objects of each destination, by name.
    objects: Vec<Tree>,
}

impl Seen {
    fn read(home: &Home) -> Result<Self> {
        let places = tree::read(&home.volume(), Some(".lastcopy"))?;
        let mut aside = Vec::new();
        for area in ["offload", "kept"] {
            let found = tree::read(&home.own().join(area), None)?;
            aside.extend(found.into_iter().map(|(path, seen)| (path.iter().skip(1).collect(), seen)));
        }
        let objects = |name| tree::read(&home.destinations().join(name).join("objects"), None);
        Ok(Self { places, aside, objects: DESTINATIONS.into_iter().map(objects).collect::<Result<_, _>>()? })
    }

    fn is_here(&self, path: &Path, original: &tree::Seen) -> bool {
        self.places.get(path) == Some(original) || self.aside.iter().any(|(there, found)| there == path && found == original)
    }

    fn is_at_all(&self, hash: blake3::Hash) -> bool {
        (0..DESTINATIONS.len()).all(|place| self.is_at(place, hash.to_hex().as_str()))
    }

    fn is_at(&self, place: usize, name: &str) -> bool {
        let object = Path::new(&name[..2]).join(name);
        self.objects[place].get(&object).is_some_and(|seen| seen.hash.to_hex().as_str() == name)
    }
}

impl Originals {
    /// What is wrong, whatever ran and wherever it was cut short.
    pub(crate) fn check(&self, home: &Home, scratch: &Path) -> Result<Vec<String>> {
        let seen = Seen::read(home)?;
        let mut wrong = Vec::new();
        for (path, original) in &self.files {
            let kept = seen.is_here(path, original) || self.may_leave && seen.is_at_all(original.hash);
            if !kept {
                wrong.push(format!("{} is lost, or held by too few", path.display()));
            }
        }
        for (path, found) in seen.places.iter().chain(seen.aside.iter().map(|(path, found)| (path, found))) {
            if self.files.get(path) != Some(found) {
                wrong.push(format!("{} has bytes, times or permissions that nobody gave it", path.display()));
            }
        }
        for (name, objects) in DESTINATIONS.into_iter().zip(&seen.objects) {
            let damaged = objects.iter().filter(|(path, seen)| !path.ends_with(seen.hash.to_hex().as_str()));
            wrong.extend(damaged.map(|(path, _)| format!("{name}: {} does not hash to its name", path.display())));
        }
        if !self.may_lack_index && !home.index().is_file() {
            wrong.push("the index is gone".to_owned());
        }
        let Claims { proven, unsound } = Claims::read(&home.index(), scratch)?;
        wrong.extend(unsound.map(|why| format!("the index cannot be believed: {why}")));
        for (destination, object) in proven {
            let place = DESTINATIONS.iter().position(|name| *name == destination);
            if !place.is_some_and(|place| seen.is_at(place, &object)) {
                wrong.push(format!("the index takes object {object} for proven at {destination}, where it is not"));
            }
        }
        Ok(wrong)
    }

    /// What of a goal is not reached.
    pub(crate) fn check_goal(&self, goal: Goal, home: &Home) -> Result<Vec<String>> {
        let seen = Seen::read(home)?;
        let mut wrong: Vec<_> = seen.aside.iter().map(|(path, _)| format!("{} is still aside or kept", path.display())).collect();
        for (path, original) in &self.files {
            let in_place = seen.places.contains_key(path);
            if in_place == (goal == Goal::Left) {
                wrong.push(format!("{} is {}in its place", path.display(), if in_place { "" } else { "not " }));
            }
            if goal != Goal::Home && !seen.is_at_all(original.hash) {
                wrong.push(format!("{} is not at every destination", path.display()));
            }
        }
        Ok(wrong)
    }
}
