//! Releasing at a destination what nothing counts on any more: a person's act.

use crate::contact::{HeadsOf, contact};
use crate::destination::{CompactSink, Compaction, Context, Destination, HeldItem, Retained};
use crate::error::{DestinationError, SyncError};
use crate::push::outcome_of;
use lastcopy_fs::{Cancelled, Id128};
use lastcopy_store::{ContentId, DestinationRecord, EvidenceChange, Location, Outcome, Run, Store, StoreError};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// Contents that are handed over at a time.
const GROUP: usize = 1000;

/// What to compact.
pub struct Compact<'a> {
    /// The index.
    pub store: &'a Store,
    /// What the index knows of the destination.
    pub record: DestinationRecord,
    /// The destination.
    pub destination: Arc<dyn Destination>,
    /// Cancellation, progress, and the runtime.
    pub context: Context,
}

/// What receipts say is there.
type Known = (Vec<Retained>, Vec<(ContentId, Location)>);

impl Compact<'_> {
    /// What would be released. Changes nothing.
    pub fn plan(&self) -> Result<Compaction, SyncError> {
        let ((retained, _), epoch) = (self.retained()?, self.store.epoch()?);
        Ok(self.context.runtime.block_on(self.compact(retained, epoch, None, &self.context))?)
    }

    /// Releases it. What counts is held besides and proven, and evidence of the rest is taken back, before anything goes.
    pub fn run(&self, summary: impl FnOnce(&Compaction) -> String) -> Result<Compaction, SyncError> {
        let run = self.store.begin_evidence_change(Some(self.record.id), None)?;
        let compacted = self.context.kept_by(&run).and_then(|context| self.release(&run, &context));
        match compacted {
            Ok(compaction) => {
                run.finish(&Outcome::Success, Some(&summary(&compaction)))?;
                Ok(compaction)
            }
            Err(error) => match run.finish(&outcome_of(&error), None) {
                Ok(()) | Err(StoreError::RunEnded { .. }) => Err(error),
                Err(store) => Err(store.into()),
            },
        }
    }

    /// Everything that receipts say is there, and the places of what may go. Read once: what an index run finds in the meantime is sent
    /// anew, because its receipt is taken back.
    fn retained(&self) -> Result<Known, SyncError> {
        let (mut retained, mut replaced) = (Vec::new(), Vec::new());
        self.store.retained_at(self.record.id, &mut |found| {
            if !found.counts {
                replaced.push((found.content_id, found.location.clone()));
            }
            let item =
                HeldItem { content_id: found.content_id, content: found.content, location: found.location, fingerprint: None };
            retained.push(Retained { item, files: found.files, counts: found.counts });
            Ok(())
        })?;
        Ok((retained, replaced))
    }

    fn release(&self, run: &Run<EvidenceChange>, context: &Context) -> Result<Compaction, SyncError> {
        // Whether this is a copy of the index that another one left behind: what that one offloaded, this one does not know.
        let volumes = HeadsOf::all(self.store)?;
        let probed = contact(run, &self.record, self.destination.as_ref(), &volumes, context)?;
        let ((retained, replaced), epoch) = (self.retained()?, self.store.epoch()?);
        let (ask, mut asked) = mpsc::channel::<oneshot::Sender<()>>(1);
        let answering = async move {
            while let Some(go_on) = asked.recv().await {
                run.release(&probed, &replaced)?;
                // Whoever asked and went away will not release anything.
                let _gone = go_on.send(());
            }
            Ok::<_, StoreError>(())
        };
        let compacting = self.compact(retained, epoch, Some(Arc::new(Asking { ask })), context);
        let (compacted, answered) = context.runtime.block_on(async { tokio::join!(compacting, answering) });
        answered?;
        Ok(compacted?)
    }

    async fn compact(
        &self,
        retained: Vec<Retained>,
        epoch: Id128,
        sink: Option<Arc<dyn CompactSink>>,
        context: &Context,
    ) -> Result<Compaction, DestinationError> {
        let (give, take) = mpsc::channel(2);
        let giving = async move {
            let mut retained = retained.into_iter().peekable();
            while retained.peek().is_some() {
                if give.send(retained.by_ref().take(GROUP).collect()).await.is_err() {
                    return;
                }
            }
        };
        let ((), compacted) = tokio::join!(giving, self.destination.compact(take, epoch, sink, context));
        compacted
    }
}

/// Asks the sequence, which has the index.
struct Asking {
    ask: mpsc::Sender<oneshot::Sender<()>>,
}

impl CompactSink for Asking {
    fn releasing(&self) -> Result<(), DestinationError> {
        let (go_on, answer) = oneshot::channel();
        // No answer: the index could not be written, which is what the sequence ends with.
        let asked = self.ask.blocking_send(go_on).is_ok() && answer.blocking_recv().is_ok();
        asked.then_some(()).ok_or_else(|| Cancelled.into())
    }
}
