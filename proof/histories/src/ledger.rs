//! The ledger: what a person put where, what became of it, and what every disk ever held. Kept by the oracle for itself.

use crate::look::{Found, Hash, Object};
use crate::policy::Spec;
use crate::word::{Dest, Terms, Vol};
use std::collections::{BTreeMap, BTreeSet};

/// A content that a person put somewhere, and neither deleted nor overwrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owed {
    /// In this volume.
    pub(crate) volume: Vol,
    /// At this path, or last there.
    pub(crate) path: Vec<u8>,
    /// The content.
    pub(crate) hash: Hash,
    /// The path is somebody else's by now: it can only lie aside, be kept, or be gone.
    pub(crate) loose: bool,
    /// Since when it is this content at this path, by the ledger's own count of such things.
    since: u64,
}

/// A file that was kept for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) hash: Hash,
    /// Since when, by the same count.
    since: u64,
}

/// When an object ceased to be intact, by something that befell its disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    /// By the ledger's own count.
    pub(crate) tick: u64,
    /// The latest that the clock ever showed until then.
    pub(crate) latest_ms: i64,
    /// The tool asked, and was told so.
    pub(crate) told: bool,
}

/// What a disk holds, and what it lost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Disk {
    /// Objects that are intact.
    pub(crate) held: BTreeSet<Hash>,
    /// Objects that were intact once, and what became of them.
    pub(crate) lost: BTreeMap<Hash, Lost>,
}

/// Who vouched for a content when it was deleted: destinations, and who each of them was then.
pub(crate) type Vouched = BTreeMap<Dest, String>;

/// A file that an offload deleted, by its path and what it held.
pub(crate) type Offloaded = (Vol, Vec<u8>, Hash);

/// What became of a file that an offload deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Away {
    /// Who vouched for it: whoever did has a receipt, and can be asked for it.
    pub(crate) vouched: Vouched,
    /// Something happened at its path since, by a person's hand or because an older version came back.
    pub(crate) overtaken: bool,
}

/// A destination was asked about a content at the moment of deletion, and this is what the oracle saw there then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The volume whose offload asked.
    pub(crate) volume: Vol,
    /// Who.
    pub(crate) destination: Dest,
    /// About what.
    pub(crate) hash: Hash,
    /// The object was there with its length.
    pub(crate) there: bool,
    /// Its bytes were right.
    pub(crate) intact: bool,
    /// Who answered was who is accepted.
    pub(crate) identity: bool,
    /// It says of everything that it is there.
    pub(crate) lying: bool,
}

/// An offload that was begun in the step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Offloading {
    /// Of which volume.
    pub(crate) volume: Vol,
    /// Under which policy.
    pub(crate) terms: Terms,
    /// What that means.
    pub(crate) spec: Spec,
    /// In what it was weaker than the one accepted.
    pub(crate) weaker: Option<String>,
    /// Who was accepted as each destination.
    pub(crate) accepted: BTreeMap<Dest, String>,
    /// When.
    pub(crate) now_ms: i64,
}

/// What was done in one step of a history, with everything that happened within.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The ledger's count when it began.
    pub(crate) tick: u64,
    /// The time when it began.
    pub(crate) now_ms: i64,
    /// Something may have been proven, and be claimed.
    pub(crate) proves: bool,
    /// Volumes into which something may have come back.
    pub(crate) movers: BTreeSet<Vol>,
    /// Volumes in which a restore was allowed to replace.
    pub(crate) in_place: BTreeSet<Vol>,
    /// Destinations of which a person said in this step who they are.
    pub(crate) accepting: BTreeSet<Dest>,
    /// Disks from which everything went.
    pub(crate) emptied: BTreeSet<Dest>,
    /// Offloads.
    pub(crate) offloads: Vec<Offloading>,
    /// Who was asked what.
    pub(crate) asked: Vec<Asked>,
}

/// Everything that the oracle remembers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// Counts what happens.
    pub(crate) tick: u64,
    /// The latest that the clock ever showed.
    pub(crate) latest_ms: i64,
    next: u64,
    /// What must not be lost.
    pub(crate) owed: BTreeMap<u64, Owed>,
    home: BTreeMap<(Vol, Vec<u8>), u64>,
    /// Every content that ever was at a path by a person's hand.
    seen: BTreeMap<(Vol, Vec<u8>), BTreeSet<Hash>>,
    /// Contents that were deleted by offloads, and are to be restored.
    pub(crate) offloaded: BTreeMap<Offloaded, Away>,
    /// Lengths of all contents that were ever seen.
    pub(crate) sizes: BTreeMap<Hash, u64>,
    /// The disks.
    pub(crate) disks: BTreeMap<Dest, Disk>,
    /// Which disk carried a repository's marker when it was seen last.
    pub(crate) disk_of: BTreeMap<String, Dest>,
    /// What each repository ever held.
    pub(crate) ever: BTreeMap<String, BTreeSet<Hash>>,
    /// Since when something lies aside.
    pub(crate) aside_since: BTreeMap<(Vol, Vec<u8>, Hash), i64>,
    /// What was kept, for good, by the path below the kept files.
    pub(crate) kept: BTreeMap<(Vol, Vec<u8>), Kept>,
    /// Inodes that a person wrote to through an open descriptor, wherever they were.
    pub(crate) written: BTreeSet<u64>,
}

impl Ledger {
    /// A person put a content at a path. What was there before was dealt with.
    pub(crate) fn put(&mut self, volume: Vol, path: &[u8], hash: Hash) -> u64 {
        self.next += 1;
        self.overtake(volume, path);
        let key = (volume, path.to_vec());
        self.owed.insert(self.next, Owed { volume, path: path.to_vec(), hash, loose: false, since: self.next });
        self.home.insert(key.clone(), self.next);
        self.seen.entry(key).or_default().insert(hash);
        self.next
    }

    /// What was offloaded at a path, or below it, is not what belongs there any more.
    pub(crate) fn overtake(&mut self, volume: Vol, path: &[u8]) {
        let at_or_below = |other: &[u8]| other.strip_prefix(path).is_some_and(|rest| rest.first().is_none_or(|byte| *byte == b'/'));
        let entries = self.offloaded.iter_mut().filter(|((of, other, _), _)| *of == volume && at_or_below(other));
        entries.for_each(|(_, away)| away.overtaken = true);
    }

    /// What is owed at a path.
    pub(crate) fn at(&self, volume: Vol, path: &[u8]) -> Option<u64> {
        self.home.get(&(volume, path.to_vec())).copied()
    }

    /// A person took a path for something else. What he saw there is his to destroy; what lay aside at that moment is not.
    pub(crate) fn take(&mut self, volume: Vol, path: &[u8], there: Option<Found>) {
        self.overtake(volume, path);
        let Some(id) = self.home.remove(&(volume, path.to_vec())) else { return };
        let Some(owed) = self.owed.get_mut(&id) else { return };
        if there.is_some_and(|there| there.hash == owed.hash) {
            self.owed.remove(&id);
        } else {
            owed.loose = true;
        }
    }

    /// A person changed the bytes of a file in place.
    pub(crate) fn change(&mut self, id: u64, hash: Hash) {
        self.next += 1;
        if let Some(owed) = self.owed.get_mut(&id) {
            (owed.hash, owed.since) = (hash, self.next);
            self.seen.entry((owed.volume, owed.path.clone())).or_default().insert(hash);
        }
    }

    /// A person renamed a file that was there.
    pub(crate) fn renamed(&mut self, volume: Vol, from: &[u8], to: &[u8], found: Found) {
        self.take(volume, to, None);
        self.overtake(volume, from);
        self.next += 1;
        let since = self.next;
        let id = self.home.remove(&(volume, from.to_vec()));
        match id.and_then(|id| self.owed.get_mut(&id).map(|owed| (id, owed))) {
            Some((id, owed)) if owed.hash == found.hash => {
                (owed.path, owed.since) = (to.to_vec(), since);
                self.home.insert((volume, to.to_vec()), id);
                self.seen.entry((volume, to.to_vec())).or_default().insert(found.hash);
            }
            Some((_, owed)) => {
                owed.loose = true;
                self.put(volume, to, found.hash);
            }
            None => {
                self.put(volume, to, found.hash);
            }
        }
    }

    /// What is owed has come home, or was replaced there on a person's word.
    pub(crate) fn loosen(&mut self, id: u64) {
        if let Some(owed) = self.owed.get_mut(&id) {
            owed.loose = true;
            let key = (owed.volume, owed.path.clone());
            if self.home.get(&key) == Some(&id) {
                self.home.remove(&key);
            }
        }
    }

    /// What is owed is gone, as it may: these vouched for it.
    pub(crate) fn gone(&mut self, id: u64, vouched: Vouched) {
        if let Some(owed) = self.owed.remove(&id) {
            let key = (owed.volume, owed.path);
            // Another file may have taken its path while it lay aside.
            let overtaken = self.home.get(&key).is_some_and(|home| *home != id) || owed.loose;
            if self.home.get(&key) == Some(&id) {
                self.home.remove(&key);
            }
            self.offloaded.insert((key.0, key.1, owed.hash), Away { vouched, overtaken });
        }
    }

    /// A file appeared that no person put there. Says whether a person ever had it there.
    pub(crate) fn came_back(&mut self, volume: Vol, path: &[u8], hash: Hash) -> bool {
        let known = self.seen.get(&(volume, path.to_vec())).is_some_and(|seen| seen.contains(&hash));
        // If it lay aside, it is the same file.
        let same =
            self.owed.iter().find(|(_, owed)| owed.loose && (owed.volume, &owed.path[..], owed.hash) == (volume, path, hash));
        if let Some(id) = same.map(|(id, _)| *id) {
            self.owed.remove(&id);
        }
        self.offloaded.remove(&(volume, path.to_vec(), hash));
        self.put(volume, path, hash);
        known
    }

    /// A file was seen among those that were kept. To one that a person wrote, the same bytes may have come anew.
    pub(crate) fn keeps(&mut self, volume: Vol, path: &[u8], found: Found) {
        let kept = Kept { hash: found.hash, since: self.next };
        let before = self.kept.entry((volume, path.to_vec())).or_insert(kept);
        if before.hash != found.hash || self.written.contains(&found.inode) {
            *before = kept;
        }
    }

    /// Whether what is owed was kept. What was kept before it came to its path is another file, even with the same bytes.
    pub(crate) fn is_kept(&self, owed: &Owed) -> bool {
        let below_run = |path: &[u8]| path.splitn(2, |byte| *byte == b'/').nth(1) == Some(&owed.path);
        let is = |(volume, path): &(Vol, Vec<u8>), kept: &Kept| {
            *volume == owed.volume && kept.hash == owed.hash && kept.since >= owed.since && below_run(path)
        };
        self.kept.iter().any(|(key, kept)| is(key, kept))
    }

    /// The disk was looked at: what is there now. Says what is not intact any more, and was before.
    pub(crate) fn looked(&mut self, disk: Dest, marker: Option<&str>, objects: &BTreeMap<Hash, Object>) -> Vec<Hash> {
        let state = self.disks.entry(disk).or_default();
        let intact: BTreeSet<Hash> = objects.iter().filter(|(_, object)| object.intact).map(|(hash, _)| *hash).collect();
        let gone: Vec<_> = state.held.difference(&intact).copied().collect();
        state.lost.retain(|hash, _| !intact.contains(hash));
        if let Some(marker) = marker {
            self.disk_of.insert(marker.to_owned(), disk);
            self.ever.entry(marker.to_owned()).or_default().extend(intact.iter().copied());
        }
        state.held = intact;
        gone
    }

    /// These were on the disk, seen or not.
    pub(crate) fn was_there(&mut self, disk: Dest, marker: Option<&str>, objects: &BTreeMap<Hash, Object>) {
        let intact = objects.iter().filter(|(_, object)| object.intact).map(|(hash, _)| *hash);
        let state = self.disks.entry(disk).or_default();
        state.held.extend(intact.clone());
        if let Some(marker) = marker {
            self.ever.entry(marker.to_owned()).or_default().extend(intact);
        }
    }

    /// The disk was looked at after something befell it: what is gone is noted as lost, by no fault of the tool.
    pub(crate) fn befell(&mut self, disk: Dest, marker: Option<&str>, objects: &BTreeMap<Hash, Object>) {
        self.tick += 1;
        let lost = Lost { tick: self.tick, latest_ms: self.latest_ms, told: false };
        for hash in self.looked(disk, marker, objects) {
            self.disks.entry(disk).or_default().lost.insert(hash, lost);
        }
    }
}
