//! Asking destinations at the moment of deletion: as the binary does it, watched by the oracle.

use crate::error::Result;
use crate::look;
use crate::word::{Dest, Moment, Vol};
use crate::world::World;
use lastcopy_fs::Content;
use lastcopy_offload::{Confirm, OffloadError, Verdict};
use lastcopy_store::{Confirm as Depth, DestinationId, DestinationRecord, FileId, Offload, Run, StoreError, Volume};
use lastcopy_sync::{Answer, Asking, Depth as LookDepth, Destination, HeadsOf, SyncError};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Confirmer {
    world: Arc<World>,
    volume: Vol,
    heads: HeadsOf,
    destinations: Vec<(Dest, DestinationRecord, Arc<dyn Destination>)>,
    /// Who was accepted as each destination when it was made.
    accepted: BTreeMap<Dest, String>,
    /// Why a destination could not be asked before.
    silent: RefCell<BTreeMap<DestinationId, String>>,
}

impl Confirmer {
    pub(crate) fn new(world: &Arc<World>, open: &Volume, volume: Vol) -> Result<Self> {
        let accepted = world.state().accepted.destinations.clone();
        let mut destinations = Vec::new();
        for dest in Dest::ALL {
            let (record, way) = world.destination(*dest, Some(volume))?;
            destinations.push((*dest, record, way));
        }
        let heads = HeadsOf { id: open.id(), uuid: open.uuid(), name: open.name().to_owned() };
        Ok(Self { world: world.clone(), volume, heads, destinations, accepted, silent: RefCell::default() })
    }

    /// Who is accepted as each destination.
    pub(crate) fn accepted(&self) -> BTreeMap<Dest, String> {
        self.accepted.clone()
    }

    /// Everything that is asked about lies aside: else a destination could be this very file by another way. But if somebody closed the
    /// run, another one may have put it back: nothing comes of the answers then.
    fn require_aside(&self, run: &Run<Offload>, contents: &[(FileId, Content)]) -> std::result::Result<(), OffloadError> {
        if run.still_running().is_err() {
            return Ok(());
        }
        let store = self.world.store().map_err(|error| StoreError::Refused(error.to_string()))?;
        let aside = look::tree(&self.world.root(self.volume)).map(|tree| tree.aside).unwrap_or_default();
        for (file, _) in contents {
            let path = store.file(*file)?.path;
            if !aside.keys().any(|(_, lies)| lies == path.as_bytes()) {
                let path = crate::word::escape(path.as_bytes());
                self.world.state().violated(format!("a destination was asked about `{path}` before that lay aside"));
            }
        }
        Ok(())
    }
}

impl Confirm for Confirmer {
    fn confirm(
        &self,
        run: Option<&Run<Offload>>,
        destination: DestinationId,
        contents: &[(FileId, Content)],
        depth: Depth,
    ) -> std::result::Result<Vec<Verdict>, OffloadError> {
        self.world.moments.at(Moment::Confirm);
        let unreachable = |why: &str| Ok(vec![Verdict::Unreachable(why.to_owned()); contents.len()]);
        let found = self.destinations.iter().find(|(_, record, _)| record.id == destination);
        let (Some((dest, record, way)), Some(run)) = (found, run) else { return unreachable("it is not in the configuration") };
        if let Some(why) = self.silent.borrow().get(&destination) {
            return unreachable(why);
        }
        self.require_aside(run, contents)?;
        let context = self.world.context();
        let store = self.world.store().map_err(|error| StoreError::Refused(error.to_string()))?;
        let asking = Asking { store: &store, volume: &self.heads, record, destination: way.as_ref(), context: &context };
        let look = if depth == Depth::Full { LookDepth::Bytes } else { LookDepth::Presence };
        let answers = match asking.ask(Some(run), contents, look) {
            Ok(answers) => answers,
            Err(SyncError::Store(error)) => return Err(error.into()),
            Err(error) => {
                let why = error.to_string();
                self.world.tell_error(&error.into());
                self.silent.borrow_mut().insert(destination, why.clone());
                return unreachable(&why);
            }
        };
        let told = |((_, content), answer): (&(FileId, Content), Answer)| match answer {
            Answer::Held => Verdict::Held,
            Answer::NotHeld(why) => {
                self.world.told_lost(*dest, content.hash.0);
                Verdict::NotHeld(why)
            }
            Answer::Unknown(why) => Verdict::Unreachable(why),
        };
        Ok(contents.iter().zip(answers).map(told).collect())
    }
}
