//! The end of a history: everything is mended, and what was offloaded comes back.

use crate::error::Result;
use crate::look;
use crate::op::Op;
use crate::word::{Dest, Vol, escape};
use crate::world::World;
use lastcopy_store::{DestinationKind, FileStatus, Store};
use std::sync::Arc;

impl World {
    /// Mends what is broken, restores both volumes, and looks whether everything came back that could. Gives what did not.
    pub(crate) fn finish(self: &Arc<Self>) -> Result<Option<String>> {
        let mut mended: Vec<Op> = vec![Op::Close, Op::End, Op::Abort];
        mended.extend(Dest::ALL.iter().flat_map(|at| [Op::Honest { at: *at }, Op::Plug { at: *at }]));
        mended.extend(Vol::ALL.iter().map(|volume| Op::Index { volume: *volume, accept_loss: true }));
        for op in mended {
            if let Some(what) = self.step(&op, Vec::new())? {
                return Ok(Some(format!("in the end, `{op}`: {what}")));
            }
        }
        for volume in Vol::ALL {
            let op = Op::Restore { volume: *volume, in_place: false };
            if let Some(what) = self.step(&op, Vec::new())? {
                return Ok(Some(format!("in the end, `{op}`: {what}")));
            }
        }
        let store = self.store()?;
        if let Some(wrong) = store.check()?.first() {
            return Ok(Some(format!("the index is not sound in the end: {wrong}")));
        }
        self.all_is_back(&store)
    }

    /// Every offloaded file that a destination could give back is back.
    fn all_is_back(self: &Arc<Self>, store: &Store) -> Result<Option<String>> {
        for file in store.files_with_status(FileStatus::Offloaded)? {
            let Some(volume) = store.volumes()?.into_iter().find(|volume| volume.id == file.volume) else { continue };
            let Some(volume) = Vol::ALL.iter().copied().find(|known| known.name() == volume.name) else { continue };
            let path = self.file(volume, file.path.as_bytes());
            // Something else in its place, or above it, is a person's.
            let taken = path
                .ancestors()
                .take_while(|above| **above != self.root(volume))
                .any(|above| std::fs::symlink_metadata(above).is_ok_and(|stat| above == path || !stat.is_dir()));
            if taken || self.volume(volume).is_err() {
                continue;
            }
            for dest in Dest::ALL {
                let record = store.register_destination(dest.name(), DestinationKind::Cas)?;
                let address = self.address(*dest);
                let receipt = store.receipts_of(file.content_id)?.into_iter().any(|receipt| receipt.destination == record.id);
                let intact = look::object(&address, &file.content.hash.0)?.is_some_and(|object| object.intact);
                if receipt && intact && look::marker(&address).is_some() {
                    let (path, name) = (escape(file.path.as_bytes()), dest.name());
                    return Ok(Some(format!("`{path}` was offloaded, lies at `{name}`, and did not come back")));
                }
            }
        }
        Ok(None)
    }
}
