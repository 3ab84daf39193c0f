//! What a destination cannot have, for whoever tells what to do next: another push changes nothing there.

use crate::error::Result;
use lastcopy_fs::RelPath;
use lastcopy_store::{DestinationId, Store, VolumeId};
use std::collections::HashMap;

/// What the last push of a volume to a destination excluded, by path, with the reasons.
#[derive(Debug, Default)]
pub(crate) struct Excluded(HashMap<RelPath, String>);

impl Excluded {
    /// Nothing, where no push was ever complete.
    pub(crate) fn by_last_push(store: &Store, volume: VolumeId, destination: DestinationId) -> Result<Self> {
        let Some((push, _)) = store.last_push(volume, destination)? else { return Ok(Self::default()) };
        Ok(Self(store.excluded_by(push)?.into_iter().collect()))
    }

    /// Why a present file was excluded.
    pub(crate) fn reason(&self, path: &RelPath) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }
}
