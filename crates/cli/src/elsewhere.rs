//! Trees that were added to an index which is not here: the one of this machine that is lost, or another machine's.
//!
//! An index that is made anew beside such a tree knows nothing of what was offloaded from it, and whoever looks at it afterwards sees a
//! volume that was only never added.

use crate::app::App;
use crate::error::{CliError, Code, Result};
use lastcopy_fs::Dir;
use lastcopy_store::{VolumeError, find_marker};
use std::path::Path;

impl App {
    /// Whether a tree carries a marker that names no volume of the index.
    pub(crate) fn is_from_elsewhere(&self, tree: &Path) -> Result<bool> {
        let Ok(root) = Dir::open(tree) else { return Ok(false) };
        let found = find_marker(&root);
        if !self.has_index()? {
            return Ok(!matches!(found, Ok(None)));
        }
        // Of one that cannot be read, whoever opens the volume says more.
        let Ok(Some(marker)) = found else { return Ok(false) };
        let store = self.store()?;
        Ok(marker.node != store.node() || !store.volumes()?.iter().any(|record| record.uuid == marker.volume))
    }

    /// That an index may be made where there is none.
    pub(crate) fn refuse_second_index(&self) -> Result<()> {
        for (name, volume) in &self.config()?.volumes {
            if self.is_from_elsewhere(&volume.path)? {
                return Err(self.known_elsewhere(name, &volume.path));
            }
        }
        Ok(())
    }

    /// A volume that the index does not know.
    pub(crate) fn not_added(&self, name: &str) -> CliError {
        let configured = self.config().ok().and_then(|config| config.volumes.get(name));
        match configured {
            Some(volume) if self.is_from_elsewhere(&volume.path).unwrap_or(false) => self.known_elsewhere(name, &volume.path),
            _ => VolumeError::NotAdded { name: name.to_owned() }.into(),
        }
    }

    /// An error about a volume, with the way out that its tree shows.
    pub(crate) fn of_volume(&self, error: VolumeError) -> CliError {
        match error {
            VolumeError::NotAdded { name } => self.not_added(&name),
            error => error.into(),
        }
    }

    /// A tree that was added to an index which is not here. Nobody can tell here whether that one is lost.
    pub(crate) fn known_elsewhere(&self, name: &str, tree: &Path) -> CliError {
        let tree = tree.display();
        let error = CliError::new(Code::MarkerMismatch, format!("volume `{name}`: {tree} was added to an index that is not here"));
        // Then no volume can be worked on, and each would say so.
        let about_index = matches!(self.has_index(), Ok(false));
        let (mistaken, own) = match about_index {
            true => (
                "does `db` in [node] name the right place? ",
                "; `lastcopy volume add NAME PATH --yes`, of a tree of this machine's own, makes an index first",
            ),
            false => ("", ""),
        };
        CliError { about_index, ..error }.hint(format!(
            "{mistaken}if it is lost: `lastcopy recover --from URL` rebuilds it from a destination, and `lastcopy db restore FILE` puts a \
             backup there; if another machine cares for the tree: take [volumes.{name}] out of this configuration, or, if this one shall from \
             now on: `lastcopy volume add {name} {tree} --yes`{own}"
        ))
    }
}
