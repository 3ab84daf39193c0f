//! Asking destinations at the moment of deletion: as the binary does it, watched by the oracle.

use crate::error::Result;
use crate::look;
use crate::word::{Dest, Moment, Vol};
use crate::world::World;
use lastcopy_fs::Content;
use lastcopy_offload::{Confirm, OffloadError, Verdict};
use lastcopy_store::{Confirm as Depth, DestinationId, DestinationRecord, FileId, Offload, Run, Volume};
use lastcopy_sync::{
    Depth as LookDepth, Destination, DestinationError, Finding, HeadsOf, HeldItem, Probe, SyncError, check_held, contact,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Confirmer {
    world: Arc<World>,
    volume: Vol,
    heads: HeadsOf,
    destinations: Vec<(Dest, DestinationRecord, Arc<dyn Destination>)>,
    /// Why a destination could not be asked before.
    silent: RefCell<BTreeMap<DestinationId, String>>,
}

impl Confirmer {
    pub(crate) fn new(world: &Arc<World>, open: &Volume, volume: Vol) -> Result<Self> {
        let mut destinations = Vec::new();
        for dest in Dest::ALL {
            let (record, way) = world.destination(*dest, Some(volume))?;
            destinations.push((*dest, record, way));
        }
        let heads = HeadsOf { id: open.id(), uuid: open.uuid(), name: open.name().to_owned() };
        Ok(Self { world: world.clone(), volume, heads, destinations, silent: RefCell::default() })
    }

    /// Who is accepted as each destination.
    pub(crate) fn accepted(&self) -> BTreeMap<Dest, String> {
        let accepted = |record: &DestinationRecord| record.incarnation.as_ref().map(|incarnation| incarnation.as_str().to_owned());
        self.destinations.iter().filter_map(|(dest, record, _)| Some((*dest, accepted(record)?))).collect()
    }

    fn items(&self, contents: &[(FileId, Content)], at: DestinationId) -> std::result::Result<Vec<Option<HeldItem>>, OffloadError> {
        let store = self.world.store().map_err(|error| lastcopy_store::StoreError::Refused(error.to_string()))?;
        let mut items = Vec::with_capacity(contents.len());
        for (file, content) in contents {
            let row = store.file(*file)?;
            let held = store.receipts_at(at, &[row.content_id])?.into_iter().find(|receipt| receipt.lost_at.is_none());
            items.push(held.map(|receipt| HeldItem {
                content_id: row.content_id,
                content: *content,
                location: receipt.location,
                fingerprint: None,
            }));
        }
        Ok(items)
    }

    /// Everything that is asked about lies aside: else a destination could be this very file by another way.
    fn require_aside(&self, contents: &[(FileId, Content)]) -> std::result::Result<(), OffloadError> {
        let store = self.world.store().map_err(|error| lastcopy_store::StoreError::Refused(error.to_string()))?;
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
        self.require_aside(contents)?;
        let context = self.world.context();
        let probed = match contact(run, record, way.as_ref(), std::slice::from_ref(&self.heads), &context) {
            Ok(probed) => probed,
            Err(SyncError::Store(error)) => return Err(error.into()),
            Err(error) => {
                let why = error.to_string();
                self.world.tell_error(&error.into());
                self.silent.borrow_mut().insert(destination, why.clone());
                return unreachable(&why);
            }
        };
        let items = self.items(contents, destination)?;
        let asked: Vec<_> = items.iter().flatten().cloned().collect();
        let look = if depth == Depth::Full { LookDepth::Bytes } else { LookDepth::Presence };
        let findings = match check_held(way.as_ref(), &asked, look, &context) {
            Ok(findings) => findings,
            Err(DestinationError::Cancelled(cancelled)) => return Err(cancelled.into()),
            Err(error) => return unreachable(&error.to_string()),
        };
        let lost = findings.iter().any(|finding| matches!(finding, Finding::Lost(_)));
        let who = || context.runtime.block_on(way.probe());
        if lost && !matches!(who(), Ok(Probe::Found(found)) if Some(&found) == record.incarnation.as_ref()) {
            return unreachable("it went away, or was exchanged, while it was asked");
        }
        let mut findings = findings.into_iter();
        let mut verdicts = Vec::with_capacity(contents.len());
        for item in items {
            let Some(item) = item else {
                verdicts.push(Verdict::NotHeld("there is no live receipt for it".into()));
                continue;
            };
            verdicts.push(match findings.next() {
                Some(Finding::Verified(_) | Finding::Seen) => Verdict::Held,
                Some(Finding::Lost(detail)) => {
                    run.lost(&probed, item.content_id, &item.location, &detail)?;
                    self.world.told_lost(*dest, item.content.hash.0);
                    Verdict::NotHeld(detail)
                }
                Some(Finding::Unverifiable(reason)) => Verdict::Unreachable(reason),
                None => Verdict::Unreachable("it gave no answer".into()),
            });
        }
        Ok(verdicts)
    }
}
