//! First contact with a destination in a run: who is it, and does it remember what we remember?

use crate::destination::{Context, Destination, Probe};
use crate::error::{DestinationError, SyncError};
use crate::segment::{DamagedHead, FoundHead};
use lastcopy_fs::Id128;
use lastcopy_store::{
    DestinationRecord, HeadVerdict, IdentityError, Kind, Probed, Run, Store, StoreError, Sync, Volume, VolumeId, VolumeRecord,
};
use std::time::Duration;

/// How long to wait before asking a second time for a head that seems to have gone back: some storage lists late.
pub(crate) const SECOND_LOOK: Duration = Duration::from_millis(500);

/// A volume whose heads are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadsOf {
    /// Its row.
    pub id: VolumeId,
    /// Its identity.
    pub uuid: Id128,
    /// Its name, for people.
    pub name: String,
}

impl From<&Volume> for HeadsOf {
    fn from(volume: &Volume) -> Self {
        Self { id: volume.id(), uuid: volume.uuid(), name: volume.name().to_owned() }
    }
}

impl HeadsOf {
    /// Every volume of an index.
    pub(crate) fn all(store: &Store) -> Result<Vec<Self>, StoreError> {
        let of = |volume: VolumeRecord| Self { id: volume.id, uuid: volume.uuid, name: volume.name };
        Ok(store.volumes()?.into_iter().map(of).collect())
    }
}

/// Asks a destination who it is, and compares its heads with those remembered here, for some volumes. Only after this, receipts may
/// be recorded and claims be made.
///
/// Another identity or none is refused and raises an alarm; so does a head that went back, and every receipt there must be proven
/// again. A head that another life of this index wrote begins a new epoch.
pub fn contact<K: Kind>(
    run: &Run<K>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    volumes: &[HeadsOf],
    context: &Context,
) -> Result<Probed, SyncError> {
    let probed = still_there(run, record, destination, context.runtime.block_on(destination.probe()))?;
    for volume in volumes {
        compare_heads(run, record, destination, volume, &probed, context)?;
    }
    if run.store().is_rolled_back(record.id)? && all_heads_are_back(run, record, destination, context)? {
        run.head_is_back(&probed)?;
    }
    Ok(probed)
}

/// Whether every head that was sealed there is there, of whichever volume: the alarm about one is not ended by another.
fn all_heads_are_back<K: Kind>(
    run: &Run<K>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    context: &Context,
) -> Result<bool, SyncError> {
    let (store, epoch) = (run.store(), run.store().epoch()?);
    let mut any = false;
    for volume in store.volumes()? {
        let known = store.known_heads(volume.id, record.id)?;
        if known.sealed.is_none() {
            continue;
        }
        let heads = context.runtime.block_on(destination.heads(volume.uuid))?;
        let ours = heads.iter().flatten().find(|head| head.place.epoch == epoch).map(FoundHead::head);
        if !matches!(known.judge(ours.as_ref()), HeadVerdict::AsKnown | HeadVerdict::Announced(_)) {
            return Ok(false);
        }
        any = true;
    }
    Ok(any)
}

/// Whether who answers is who was accepted.
///
/// A disk or a server may be exchanged while it is worked with. So this is asked again after something was proven, and before that is
/// recorded: whoever dies between the two has recorded nothing that another one may have shown.
pub(crate) fn still_there<K: Kind>(
    run: &Run<K>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    answer: Result<Probe, DestinationError>,
) -> Result<Probed, SyncError> {
    let answer = match answer? {
        Probe::Found(incarnation) => Some(incarnation),
        Probe::Nothing => None,
        // Whatever hides there, nobody ever accepted it.
        Probe::CannotTell(_) | Probe::NoPlace if record.incarnation.is_none() => return Err(IdentityError::NeverInitialised.into()),
        Probe::CannotTell(reason) => {
            let address = destination.capabilities().address;
            return Err(DestinationError::Unreachable { address, reason }.into());
        }
        // A disk that is away has not become another one.
        Probe::NoPlace => {
            let reason = "the place that should hold it does not exist; is its disk mounted?".into();
            return Err(DestinationError::Unreachable { address: destination.capabilities().address, reason }.into());
        }
    };
    run.probed(record.id, answer.as_ref()).map_err(|error| match error {
        // The index failed; that says nothing of the destination.
        IdentityError::Store(error) => error.into(),
        error => error.into(),
    })
}

/// Asks once more who it is, in the midst of work or at its end. Another one is refused, and raises an alarm.
pub fn identify_again<K: Kind>(
    run: &Run<K>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    context: &Context,
) -> Result<Probed, SyncError> {
    still_there(run, record, destination, context.runtime.block_on(destination.probe_again()))
}

/// Asks once more, after everything was sent and sealed. If another one answers, or nobody, nothing that this push took for proven
/// counts.
pub(crate) fn still_there_after_all(
    run: &Run<Sync>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    probed: &Probed,
    context: &Context,
) -> Result<(), SyncError> {
    if let Err(error) = identify_again(run, record, destination, context) {
        run.unproven(probed)?;
        return Err(error);
    }
    Ok(())
}

fn compare_heads<K: Kind>(
    run: &Run<K>,
    record: &DestinationRecord,
    destination: &dyn Destination,
    volume: &HeadsOf,
    probed: &Probed,
    context: &Context,
) -> Result<(), SyncError> {
    let store = run.store();
    let known = store.known_heads(volume.id, record.id)?;
    let epoch = store.epoch()?;
    let mut asked_twice = false;
    loop {
        let heads = context.runtime.block_on(destination.heads(volume.uuid))?;
        for damaged in heads.iter().filter_map(|head| head.as_ref().err()).filter(|damaged| damaged.place.epoch != epoch) {
            let DamagedHead { place, reason } = damaged;
            context.progress.note(&format!("the head of epoch {} of `{}` is damaged there: {reason}", place.epoch, volume.name));
        }
        for head in heads.iter().flatten() {
            if is_ours(run, head) && !store.knows_epoch(head.place.epoch)? {
                return Err(new_epoch(run, head, &record.name)?);
            }
        }
        // A damaged one of ours is as good as none: the destination does not remember what it accepted.
        let place = heads.iter().find(|head| head.as_ref().map_or_else(|damaged| damaged.place, |head| head.place).epoch == epoch);
        let ours = place.and_then(|head| head.as_ref().ok());
        match known.judge(ours.map(FoundHead::head).as_ref()) {
            HeadVerdict::AsKnown => return Ok(()),
            HeadVerdict::Announced(id) => return Ok(run.head_was_accepted(id)?),
            HeadVerdict::RolledBack if !asked_twice => {
                asked_twice = true;
                std::thread::sleep(SECOND_LOOK);
            }
            HeadVerdict::RolledBack => {
                let expected = known.sealed.map_or(0, |(_, head)| head.sequence);
                let found = match place {
                    None => "none".into(),
                    Some(Ok(head)) => format!("push {}", head.document.sequence),
                    Some(Err(damaged)) => format!("none, its head is damaged: {}", damaged.reason),
                };
                let detail = format!("of volume `{}` it had accepted push {expected}, and now knows {found}", volume.name);
                run.rolled_back(probed, volume.id, &detail)?;
                return Err(SyncError::RolledBack(detail));
            }
            HeadVerdict::Foreign => {
                // Every foreign verdict comes from a head that was found.
                let Some(head) = ours else { return Ok(()) };
                return Err(new_epoch(run, head, &record.name)?);
            }
        }
    }
}

fn is_ours<K: Kind>(run: &Run<K>, head: &FoundHead) -> bool {
    head.document.node == run.store().node().to_string()
}

fn new_epoch<K: Kind>(run: &Run<K>, head: &FoundHead, destination: &str) -> Result<SyncError, SyncError> {
    let news = run.store().superseded_by_head(head.place.epoch, head.head().run, destination)?;
    Ok(SyncError::NewEpoch(news))
}
