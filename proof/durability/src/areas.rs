//! Whose a path is, and which changes need not be durable: each exemption with its reason.

use crate::home::Home;
use crate::ledger::{Stain, What};
use std::path::{Path, PathBuf};

/// Whose a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Area {
    /// A person's: the volume, with what is aside or kept.
    Person,
    /// What deletion counts on: index, destinations, and what tells the volume from others.
    Evidence,
    /// Nobody counts on it.
    Neither,
}

/// Where everything is.
#[derive(Debug, Clone)]
pub(crate) struct Areas {
    volume: PathBuf,
    own: PathBuf,
    destinations: PathBuf,
    /// The destination that is a mirror, if one is.
    mirror: Option<PathBuf>,
    data: PathBuf,
}

impl Areas {
    pub(crate) fn of(home: &Home) -> Self {
        Self { mirror: home.mirror(), ..Self::at(home.volume(), home.destinations(), home.data()) }
    }

    pub(crate) fn at(volume: PathBuf, destinations: PathBuf, data: PathBuf) -> Self {
        Self { own: volume.join(".lastcopy"), volume, destinations, mirror: None, data }
    }

    pub(crate) fn of_path(&self, path: &Path) -> Area {
        if let Ok(below) = path.strip_prefix(&self.destinations) {
            // Objects on their way: no name leads there, and the next push throws away what it finds.
            return if below.iter().nth(1).is_some_and(|part| part == "incoming") { Area::Neither } else { Area::Evidence };
        }
        if path.starts_with(&self.data) {
            return if is_for_the_running_only(path) { Area::Neither } else { Area::Evidence };
        }
        let Ok(own) = path.strip_prefix(&self.own) else {
            return if path.starts_with(&self.volume) { Area::Person } else { Area::Neither };
        };
        match own.iter().next().and_then(|part| part.to_str()) {
            Some("offload" | "kept") => Area::Person,
            // Files on their way back: copies of what destinations hold.
            Some("incoming") => Area::Neither,
            _ => Area::Evidence,
        }
    }

    /// Whether a file counts by its name alone. What rclone writes counts by what is recorded of it: so its bytes may become durable after
    /// it was named, and before that.
    pub(crate) fn counts_by_name(&self, path: &Path) -> bool {
        self.of_path(path) != Area::Neither && !self.is_mirrored(path)
    }

    fn is_mirrored(&self, path: &Path) -> bool {
        self.mirror.as_ref().is_some_and(|mirror| path.starts_with(mirror))
    }

    /// An object that a destination holds under its name. What rclone has not finished is none.
    pub(crate) fn is_object(&self, path: &Path) -> bool {
        if let Some(below) = self.mirror.as_ref().and_then(|mirror| path.strip_prefix(mirror).ok()) {
            return below.starts_with("photos") && !ends_with(path, ".partial");
        }
        let below = path.strip_prefix(&self.destinations).ok();
        below.and_then(|below| below.iter().nth(1)).is_some_and(|part| part == "objects" || part == "damaged")
    }

    /// The log in which the index records.
    pub(crate) fn is_log(&self, path: &Path) -> bool {
        path.starts_with(&self.data) && ends_with(path, "-wal")
    }

    /// Whether it matters that a change is lost.
    pub(crate) fn matters(&self, stain: &Stain, area: Area) -> bool {
        if self.of_path(&stain.path) != area {
            return false;
        }
        match stain.what {
            // An empty directory that comes back holds nothing.
            What::RemovedDirectory => false,
            // SQLite removes its log when the last connection has copied all of it to the index and synced that. One that comes back is
            // copied again, to the same effect; the next one, with other salts, takes its place.
            What::Removed if area == Area::Evidence && ends_with(&stain.path, "-wal") => false,
            // A mode or time of an object is no evidence: its bytes and its name are.
            What::Attributes => area == Area::Person,
            _ => true,
        }
    }
}

/// SQLite makes its shared memory anew whenever nobody has the index open. Of locks only that somebody holds them counts, and nobody
/// does after a power cut; one that is there then is as good as one that is not.
fn is_for_the_running_only(path: &Path) -> bool {
    ends_with(path, "-shm") || ends_with(path, ".lock")
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.as_os_str().as_encoded_bytes().ends_with(end.as_bytes())
}
