//! The oracle: what must hold whatever happened, looked at from outside.

use crate::Result;
use crate::home::{DESTINATIONS, Home};
use crate::repository;
use crate::workload::Second;
use lastcopy_scene::tree::{self, Tree};
use lastcopy_scene::{Claims, Proven};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// lastcopy's own directory in a volume.
const OWN: &str = ".lastcopy";
/// What says whose a destination is, while it is written, too.
const MARKER: &str = ".lastcopy-destination.json";

/// What a person had, and what destinations held, before the command ran.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Every file of the volume, those that are away at the beginning included.
    pub originals: Tree,
    /// Those that may be held by destinations alone.
    pub leaving: BTreeSet<PathBuf>,
    /// What the second destination is.
    second: Second,
    /// Objects that each destination holds intact.
    held: BTreeMap<&'static str, BTreeSet<String>>,
    /// Others that were there, and may go.
    dispensable: BTreeSet<String>,
    /// Objects there that do not hash to their names.
    damaged: BTreeMap<&'static str, BTreeSet<String>>,
    /// What the index claims although it is not so: nobody has looked since it was damaged.
    unfounded: BTreeSet<Proven>,
    /// Other bytes at these paths that must be kept like the originals, but need not be in their places: somebody wrote them there, or
    /// something else where they belong.
    besides: Vec<(PathBuf, blake3::Hash)>,
    /// Bytes that a person replaced or removed. They may come up again, and need not.
    given_up: Vec<(PathBuf, blake3::Hash)>,
}

/// What a person did to a file.
#[derive(Debug, Clone)]
pub struct Edited {
    /// Which.
    pub path: PathBuf,
    /// What was there, and is given up.
    pub replaced: Option<blake3::Hash>,
    /// What was written there.
    pub written: Option<blake3::Hash>,
}

/// What a volume holds of the files, by where it is.
struct Disk {
    /// In their places.
    places: Tree,
    /// Set aside by offloads, without the run's number.
    aside: Vec<(PathBuf, tree::Seen)>,
    /// Kept for a person.
    kept: Vec<(PathBuf, tree::Seen)>,
}

impl Disk {
    fn read(home: &Home) -> Result<Self> {
        let own = home.volume().join(OWN);
        let of_runs = |area: &str| -> Result<Vec<(PathBuf, tree::Seen)>> {
            let found = tree::read(&own.join(area), None)?;
            Ok(found.into_iter().map(|(path, seen)| (path.iter().skip(1).collect(), seen)).collect())
        };
        Ok(Self { places: tree::read(&home.volume(), Some(OWN))?, aside: of_runs("offload")?, kept: of_runs("kept")? })
    }

    fn holds(&self, path: &Path, hash: blake3::Hash) -> bool {
        let elsewhere = || self.aside.iter().chain(&self.kept).any(|(there, seen)| there == path && seen.hash == hash);
        self.places.get(path).is_some_and(|seen| seen.hash == hash) || elsewhere()
    }
}

/// Contents that a destination holds, by their hashes: those that lie where they should, and those that do not.
fn objects(home: &Home, destination: &str, second: Second) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    match kind_of(destination, second) {
        Second::Cas => {}
        Second::Mirror => return Ok((mirrored(home, destination)?, BTreeSet::new())),
        Second::Kopia => {
            let repository::Held { contents, damaged } = repository::held(home, &home.destination(destination))?;
            return Ok((contents, damaged));
        }
    }
    let (mut intact, mut damaged) = (BTreeSet::new(), BTreeSet::new());
    let root = home.destination(destination).join("objects");
    for (path, _) in tree::files(&root)? {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let hash = tree::hash_file(&path)?.to_hex().to_string();
        let fan = path.parent().and_then(Path::file_name).is_some_and(|fan| fan == &hash[..2]);
        if fan && name == hash {
            intact.insert(name);
        } else {
            damaged.insert(name);
        }
    }
    Ok((intact, damaged))
}

/// What a destination is, where the second one is of a kind.
fn kind_of(destination: &str, second: Second) -> Second {
    if destination == DESTINATIONS[1] { second } else { Second::Cas }
}

/// Whether something of this name may lie at the root of a destination.
fn belongs(kind: Second, name: &str) -> bool {
    match kind {
        Second::Cas => ["objects", "volumes", "incoming", "damaged"].contains(&name) || name.starts_with(MARKER),
        Second::Mirror => ["photos", OWN].contains(&name) || name.starts_with(MARKER),
        // Its blobs, by the first letters of their names, and what it says of itself. Nothing of ours lies beside them.
        Second::Kopia => name.len() <= 3 || name.starts_with("kopia.") || name.starts_with(".shards"),
    }
}

/// The volume's part of a mirror, its history included.
fn part(home: &Home, destination: &str) -> PathBuf {
    home.destination(destination).join("photos")
}

/// What a mirror holds at any place. Whose part it is, and what rclone had not finished, is nobody's content.
fn mirrored(home: &Home, destination: &str) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let owner = part(home, destination).join(OWN).join("owner.json");
    for (path, _) in tree::files(&part(home, destination))? {
        if path != owner && path.extension().is_none_or(|extension| extension != "partial") {
            found.insert(tree::hash_file(&path)?.to_hex().to_string());
        }
    }
    Ok(found)
}

impl Expected {
    /// What a prepared home must keep. `originals` are the files that were there at any time and are to be kept.
    pub fn of(home: &Home, originals: Tree, leaving: &dyn Fn(&Path) -> bool, second: Second) -> Result<Self> {
        let leaving = originals.keys().filter(|path| leaving(path)).cloned().collect();
        let mut expected = Self {
            originals,
            leaving,
            second,
            held: BTreeMap::new(),
            dispensable: BTreeSet::new(),
            damaged: BTreeMap::new(),
            unfounded: BTreeSet::new(),
            besides: Vec::new(),
            given_up: Vec::new(),
        };
        for destination in DESTINATIONS {
            let (intact, damaged) = objects(home, destination, second)?;
            expected.held.insert(destination, intact);
            expected.damaged.insert(destination, damaged);
        }
        let claimed = Claims::read(&home.index(), home.root())?.proven.into_iter();
        let unfounded =
            claimed.filter(|(destination, object)| !expected.held.get(&**destination).is_some_and(|held| held.contains(object)));
        expected.unfounded = unfounded.collect();
        Ok(expected)
    }

    /// From now on destinations may forget everything else, and still hold it.
    pub fn keep_originals_alone(&mut self) {
        let kept: BTreeSet<_> = self.originals.values().map(|original| original.hash.to_hex().to_string()).collect();
        for held in self.held.values_mut() {
            let (kept, others) = std::mem::take(held).into_iter().partition(|object| kept.contains(object));
            *held = kept;
            self.dispensable.extend::<BTreeSet<_>>(others);
        }
    }

    /// These bytes, too, are to be kept, wherever below their paths.
    pub fn keep_besides(&mut self, besides: Vec<(PathBuf, blake3::Hash)>) {
        self.besides.extend(besides);
    }

    /// What must be kept after a person did something to a file.
    #[must_use]
    pub fn edited(mut self, Edited { path, replaced, written }: Edited) -> Self {
        self.besides.extend(self.originals.remove(&path).map(|original| (path.clone(), original.hash)));
        if let Some(replaced) = replaced {
            self.besides.retain(|(place, hash)| (place, *hash) != (&path, replaced));
            self.given_up.push((path.clone(), replaced));
        }
        self.besides.extend(written.map(|written| (path, written)));
        self
    }

    /// What must be kept after a directory was somewhere else for a while: its files need not find back to their places.
    #[must_use]
    pub fn moved_about(mut self, dir: &Path) -> Self {
        let originals = std::mem::take(&mut self.originals);
        let (below, others): (Tree, Tree) = originals.into_iter().partition(|(path, _)| path.starts_with(dir));
        self.originals = others;
        self.besides.extend(below.into_iter().map(|(path, original)| (path, original.hash)));
        self
    }

    /// What else was at some place at any time.
    fn others(&self) -> impl Iterator<Item = &(PathBuf, blake3::Hash)> {
        self.besides.iter().chain(&self.given_up)
    }

    /// Whether these bytes were at that place at any time.
    fn was_there(&self, path: &Path, hash: blake3::Hash) -> bool {
        let original = self.originals.get(path).is_some_and(|original| original.hash == hash);
        original || self.others().any(|(place, other)| place == path && *other == hash)
    }

    /// Looks at everything. What is said is wrong.
    pub fn check(&self, home: &Home) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        let disk = Disk::read(home)?;
        let held: Vec<_> = DESTINATIONS.iter().map(|name| objects(home, name, self.second)).collect::<Result<_>>()?;
        let originals = self.originals.iter().map(|(path, original)| (path, original.hash));
        for (path, hash) in originals.chain(self.besides.iter().map(|(path, hash)| (path, *hash))) {
            let name = hash.to_hex();
            let at_all = held.iter().all(|(intact, _)| intact.contains(name.as_str()));
            let held_elsewhere = self.leaving.contains(path) && at_all;
            if !disk.holds(path, hash) && !held_elsewhere {
                wrong.push(format!("{}: its content is lost, or held by too few", path.display()));
            }
        }
        for (path, seen) in &disk.places {
            if !self.was_there(path, seen.hash) {
                wrong.push(format!("{}: holds bytes that nobody wrote there", path.display()));
            }
        }
        for (path, seen) in disk.aside.iter().chain(&disk.kept) {
            if !self.was_there(path, seen.hash) {
                wrong.push(format!("{}: is aside or kept with bytes that were never there", path.display()));
            }
        }
        for (destination, (intact, damaged)) in DESTINATIONS.into_iter().zip(&held) {
            self.check_destination(home, destination, intact, damaged, &mut wrong)?;
        }
        let Claims { proven, unsound } = Claims::read(&home.index(), home.root())?;
        wrong.extend(unsound.map(|why| format!("the index cannot be believed: {why}")));
        for claim in proven.difference(&self.unfounded) {
            let (destination, object) = claim;
            let place = DESTINATIONS.iter().position(|name| name == destination);
            if !place.is_some_and(|place| held[place].0.contains(object)) {
                wrong.push(format!("the index takes object {object} for proven at {destination}, where it is not"));
            }
        }
        Ok(wrong)
    }

    fn check_destination(
        &self,
        home: &Home,
        destination: &'static str,
        intact: &BTreeSet<String>,
        damaged: &BTreeSet<String>,
        wrong: &mut Vec<String>,
    ) -> Result<()> {
        for object in self.held.get(destination).into_iter().flatten().filter(|object| !intact.contains(*object)) {
            wrong.push(format!("{destination}: object {object} was intact, and is not any more"));
        }
        let kind = kind_of(destination, self.second);
        let what = if kind == Second::Kopia { "cannot be restored whole" } else { "does not hash to its name" };
        let known = |object: &String| match (kind, self.damaged.get(destination)) {
            // A new snapshot has the same hole.
            (Second::Kopia, Some(known)) if !known.is_empty() => true,
            (_, known) => known.is_some_and(|known| known.contains(object)),
        };
        for object in damaged.iter().filter(|object| !known(object)) {
            wrong.push(format!("{destination}: object {object} {what}"));
        }
        // A store names its objects by their bytes.
        if kind != Second::Cas {
            let all = || self.originals.values().map(|original| original.hash).chain(self.others().map(|(_, hash)| *hash));
            let written = |object: &str| all().any(|hash| hash.to_hex().as_str() == object);
            let before = |object: &str| {
                self.dispensable.contains(object) || self.held.get(destination).is_some_and(|held| held.contains(object))
            };
            let nobodys = intact.iter().filter(|object| !written(object) && !before(object));
            wrong.extend(nobodys.map(|object| format!("{destination}: {object} are bytes that nobody wrote")));
        }
        let root = home.destination(destination);
        for (path, _) in tree::files(&root)? {
            let relative = path.strip_prefix(&root).unwrap_or(&path);
            let first = relative.iter().next().unwrap_or_default().display().to_string();
            if !belongs(kind, &first) {
                wrong.push(format!("{destination}: {} does not belong there", relative.display()));
            }
        }
        Ok(())
    }

    /// That nothing is aside or arriving, and nothing kept but where something else has its place.
    pub fn check_settled(&self, home: &Home) -> Result<Vec<String>> {
        let disk = Disk::read(home)?;
        let names = |files: &[(PathBuf, tree::Seen)], what: &str| -> Vec<String> {
            files.iter().map(|(path, _)| format!("{} is still {what}", path.display())).collect()
        };
        let mut wrong = names(&disk.aside, "aside");
        let contested = |path: &Path| self.others().any(|(place, _)| place == path);
        let kept: Vec<_> = disk.kept.into_iter().filter(|(path, _)| !contested(path)).collect();
        wrong.extend(names(&kept, "among the kept files"));
        Ok(wrong)
    }

    /// That these files are in their places, as they were.
    pub fn check_home(&self, home: &Home, as_it_was: bool) -> Result<Vec<String>> {
        let found = tree::read(&home.volume(), Some(OWN))?;
        let mut wrong = Vec::new();
        for (path, original) in &self.originals {
            match found.get(path) {
                None => wrong.push(format!("{}: is not in its place", path.display())),
                Some(seen) if seen.hash != original.hash => wrong.push(format!("{}: holds other bytes", path.display())),
                Some(seen) if as_it_was && seen != original => {
                    wrong.push(format!(
                        "{}: mode {:o} and time {}, were {:o} and {}",
                        path.display(),
                        seen.mode,
                        seen.mtime_ns,
                        original.mode,
                        original.mtime_ns
                    ));
                }
                Some(_) => {}
            }
        }
        Ok(wrong)
    }

    /// That the files that leave have left their places.
    pub fn check_left(&self, home: &Home) -> Result<Vec<String>> {
        let found = tree::read(&home.volume(), Some(OWN))?;
        Ok(self
            .leaving
            .iter()
            .filter(|path| found.contains_key(*path))
            .map(|path| format!("{}: is still there", path.display()))
            .collect())
    }

    /// That every file is aside, and none in its place.
    pub fn check_aside(&self, home: &Home) -> Result<Vec<String>> {
        let disk = Disk::read(home)?;
        let aside = |path: &Path, hash| disk.aside.iter().any(|(there, seen)| there == path && seen.hash == hash);
        let mut wrong: Vec<_> = disk.places.keys().map(|path| format!("{}: is still in its place", path.display())).collect();
        let missing = self.originals.iter().filter(|(path, original)| !aside(path, original.hash));
        wrong.extend(missing.map(|(path, _)| format!("{}: is not aside", path.display())));
        Ok(wrong)
    }

    /// That every destination holds every content.
    pub fn check_pushed(&self, home: &Home) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for destination in DESTINATIONS {
            let (intact, damaged) = objects(home, destination, self.second)?;
            // What a person gave up, nobody has to heal it with.
            let given_up = |object: &str| self.given_up.iter().any(|(_, hash)| hash.to_hex().as_str() == object);
            let damaged = damaged.iter().filter(|object| !given_up(object));
            wrong.extend(damaged.map(|object| format!("{destination}: object {object} is damaged")));
            // A mirror holds each file at its own place.
            let mirror = kind_of(destination, self.second) == Second::Mirror;
            let places = if mirror { tree::read(&part(home, destination), Some(OWN))? } else { Tree::new() };
            for (path, original) in &self.originals {
                let held = match mirror {
                    true => places.get(path).is_some_and(|seen| seen.hash == original.hash),
                    false => intact.contains(original.hash.to_hex().as_str()),
                };
                if !held {
                    wrong.push(format!("{destination}: does not hold {}", path.display()));
                }
            }
        }
        Ok(wrong)
    }
}
