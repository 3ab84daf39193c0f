//! Storing many objects fast: some threads write, one publishes in batches that share syncs, some read back.

use crate::medium::{Medium, Staged};
use lastcopy_fs::{Cancelled, HashBuffer};
use lastcopy_store::{Location, ProofError};
use lastcopy_sync::segment::Place;
use lastcopy_sync::{Context, DestinationError, OpenError, PlanItem, PushSink, WorkList};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Objects and bytes that share a sync.
const BATCH_OBJECTS: usize = 1000;
const BATCH_BYTES: u64 = 256 << 20;
/// What was written waits at most so long for company.
const BATCH_WAIT: Duration = Duration::from_secs(2);

/// Threads that read sources and write temporary objects: they compute more than they wait.
const WRITERS: usize = 2;
/// Threads that read back from the device: they wait more than they compute.
const READERS: usize = 4;

/// An item on its way, with its object.
struct Moving {
    item: PlanItem,
    staged: Staged,
}

/// The first error that ends the whole push.
#[derive(Default)]
struct Fatal(Mutex<Option<DestinationError>>);

impl Fatal {
    fn set(&self, error: DestinationError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn is_set(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn take(&self) -> Option<DestinationError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

struct Pipeline<'a> {
    medium: &'a dyn Medium,
    place: Place,
    sink: &'a dyn PushSink,
    context: &'a Context,
    fatal: Fatal,
}

/// Stores and proves everything of a plan. Blocks.
pub(crate) fn push(
    medium: &dyn Medium,
    place: Place,
    mut plan: WorkList<PlanItem>,
    sink: &Arc<dyn PushSink>,
    context: &Context,
) -> Result<(), DestinationError> {
    let pipeline = Pipeline { medium, place, sink: sink.as_ref(), context, fatal: Fatal::default() };
    let (give, items) = crossbeam_channel::bounded::<PlanItem>(BATCH_OBJECTS);
    let (written, to_publish) = crossbeam_channel::bounded::<Moving>(BATCH_OBJECTS);
    let (published, to_read) = crossbeam_channel::bounded::<Moving>(2 * BATCH_OBJECTS);
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            let (items, written, pipeline) = (items.clone(), written.clone(), &pipeline);
            scope.spawn(move || {
                let mut buffer = HashBuffer::new();
                for item in items {
                    if let Some(moving) = pipeline.write(item, &mut buffer)
                        && written.send(moving).is_err()
                    {
                        break;
                    }
                }
            });
        }
        let publisher = &pipeline;
        scope.spawn(move || publisher.publish_all(&to_publish, &published));
        for _ in 0..READERS {
            let (to_read, pipeline) = (to_read.clone(), &pipeline);
            scope.spawn(move || {
                let mut buffer = HashBuffer::new();
                for moving in to_read {
                    pipeline.read_back(moving, &mut buffer);
                }
            });
        }
        // Only the threads' ends may stay open, or nobody would ever see the end of the work.
        drop((items, written, to_read));
        while let Some(group) = plan.blocking_recv() {
            if pipeline.is_over() || group.into_iter().any(|item| give.send(item).is_err()) {
                break;
            }
        }
        drop(give);
    });
    match pipeline.fatal.take() {
        Some(error) => Err(error),
        None => {
            context.cancel.check()?;
            // Every part that is left belongs to a content that is not wanted any more, or was stored whole.
            medium.sweep(place).map_err(|source| pipeline.error("incoming", source))
        }
    }
}

impl Pipeline<'_> {
    fn is_over(&self) -> bool {
        self.context.cancel.is_cancelled() || self.fatal.is_set()
    }

    fn error(&self, what: &str, source: io::Error) -> DestinationError {
        crate::cas::error(self.medium, what, source)
    }

    /// An error that will meet every other item, too, ends the push; any other is this item's.
    fn fail(&self, item: PlanItem, error: io::Error) {
        if Cancelled::caused(&error) {
            return;
        }
        match self.error(&item.content.hash.to_string(), error) {
            fatal @ (DestinationError::Full { .. } | DestinationError::Auth { .. } | DestinationError::Unreachable { .. }) => {
                self.fatal.set(fatal);
            }
            other => self.sink.failed(item, other.to_string()),
        }
    }

    fn write(&self, item: PlanItem, buffer: &mut HashBuffer) -> Option<Moving> {
        if self.is_over() {
            return None;
        }
        let occupied = match self.medium.object_size(item.content.hash) {
            // Never trusted by name: it is read back like one that was written now.
            Ok(Some(size)) if size == item.content.size => {
                return Some(Moving { staged: Staged::existing(item.content), item });
            }
            Ok(occupied) => occupied.is_some(),
            Err(error) => {
                self.fail(item, error);
                return None;
            }
        };
        let moving = self.stage(item)?;
        if occupied { self.clear_the_way(moving, buffer) } else { Some(moving) }
    }

    /// Moves aside what lies in the way of bytes that were staged and are right, once it was looked at again: what was misread may be
    /// the last copy, and what we cannot replace may still be the best there is.
    fn clear_the_way(&self, moving: Moving, buffer: &mut HashBuffer) -> Option<Moving> {
        let hash = moving.item.content.hash;
        let cleared = match self.medium.prove(moving.item.content, buffer, &self.context.cancel, &lastcopy_fs::NoProgress) {
            Ok(_) => {
                let Moving { item, staged } = moving;
                self.medium.discard(staged);
                return Some(Moving { staged: Staged::existing(item.content), item });
            }
            Err(ProofError::Differs { found }) => self.medium.set_aside(hash).inspect(|()| {
                self.context.progress.note(&format!("an object named {hash} hashed to {}: moved aside", found.hash));
            }),
            Err(ProofError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(ProofError::Io(error)) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        };
        match cleared {
            Ok(()) => Some(moving),
            Err(error) => {
                self.medium.discard(moving.staged);
                self.fail(moving.item, error);
                None
            }
        }
    }

    fn stage(&self, item: PlanItem) -> Option<Moving> {
        let mut sending = match item.source.open(item.content) {
            Ok(sending) => sending,
            Err(OpenError::Drift(drift)) => {
                self.sink.drift(item, drift);
                return None;
            }
            Err(OpenError::Unreadable(error)) => {
                self.sink.excluded(item, format!("cannot be read: {error}"));
                return None;
            }
        };
        let mut source = Source { sending: &mut sending, context: self.context, failed: None };
        let staged = match self.medium.stage(self.place, item.content, &mut source) {
            Ok(staged) => staged,
            Err(error) => {
                match source.failed {
                    // The source failed, not the destination.
                    Some(failed) => self.sink.failed(item, format!("cannot be read: {failed}")),
                    None => self.fail(item, error),
                }
                return None;
            }
        };
        match sending.finish() {
            Ok(Ok(())) => {
                self.sink.stored(&item);
                Some(Moving { item, staged })
            }
            Ok(Err(drift)) => {
                self.medium.discard(staged);
                self.sink.drift(item, drift);
                None
            }
            Err(error) => {
                self.medium.discard(staged);
                self.sink.failed(item, format!("cannot be read: {error}"));
                None
            }
        }
    }

    fn publish_all(&self, written: &crossbeam_channel::Receiver<Moving>, published: &crossbeam_channel::Sender<Moving>) {
        let mut batch: Vec<Moving> = Vec::new();
        let (mut bytes, mut since) = (0, Instant::now());
        loop {
            let next = written.recv_timeout(BATCH_WAIT);
            let ended = matches!(next, Err(crossbeam_channel::RecvTimeoutError::Disconnected));
            if let Ok(moving) = next {
                if batch.is_empty() {
                    since = Instant::now();
                }
                bytes += moving.item.content.size;
                batch.push(moving);
            }
            let full = batch.len() >= BATCH_OBJECTS || bytes >= BATCH_BYTES;
            if !batch.is_empty() && (full || ended || since.elapsed() >= BATCH_WAIT) {
                self.publish(std::mem::take(&mut batch), published);
                bytes = 0;
            }
            if ended {
                return;
            }
        }
    }

    fn publish(&self, batch: Vec<Moving>, published: &crossbeam_channel::Sender<Moving>) {
        let (items, staged): (Vec<_>, Vec<_>) = batch.into_iter().map(|moving| (moving.item, moving.staged)).unzip();
        match self.medium.publish(&staged) {
            Ok(()) => {
                for (item, staged) in items.into_iter().zip(staged) {
                    if published.send(Moving { item, staged }).is_err() {
                        return;
                    }
                }
            }
            // After a failed sync nobody knows which bytes are there: nothing of this batch is proven, and none of it is tried again.
            Err(error) => {
                let text = error.to_string();
                let fatal = self.error("publishing objects", error);
                if matches!(fatal, DestinationError::Full { .. } | DestinationError::Auth { .. }) {
                    self.fatal.set(fatal);
                }
                items.into_iter().for_each(|item| self.sink.failed(item, format!("could not be made durable: {text}")));
            }
        }
    }

    fn read_back(&self, moving: Moving, buffer: &mut HashBuffer) {
        let Moving { item, staged } = moving;
        // Who has it open has it locked, and some shares let nobody else read it then.
        drop(staged);
        match self.medium.prove(item.content, buffer, &self.context.cancel, &lastcopy_fs::NoProgress) {
            Ok(proof) => self.proven(item, proof.into()),
            Err(ProofError::Differs { .. }) => self.replace(item, buffer),
            Err(ProofError::Io(error)) => self.fail(item, error),
            Err(other) => self.sink.failed(item, other.to_string()),
        }
    }

    fn proven(&self, item: PlanItem, proven: lastcopy_store::Proven) {
        self.context.progress.advance(1, item.content.size);
        self.sink.proven(item, Location::default(), proven);
    }

    /// What is read back is not the content: it is stored once more from the source, whole, and what was there is moved aside.
    fn replace(&self, item: PlanItem, buffer: &mut HashBuffer) {
        let Some(Moving { item, staged }) = self.stage(item).and_then(|moving| self.clear_the_way(moving, buffer)) else { return };
        if let Err(error) = self.medium.publish(&[staged]) {
            return self.fail(item, error);
        }
        match self.medium.prove(item.content, buffer, &self.context.cancel, &lastcopy_fs::NoProgress) {
            Ok(proof) => self.proven(item, proof.into()),
            Err(ProofError::Io(error)) => self.fail(item, error),
            Err(error) => {
                // It stays out of the way of a destination that can hold it.
                let aside = self.medium.set_aside(item.content.hash);
                let aside = aside.map_or_else(|error| format!(", and cannot be moved aside: {error}"), |()| String::new());
                self.sink.failed(item, format!("stored twice, and read back wrong twice: {error}{aside}"));
            }
        }
    }
}

/// Reads a source until somebody asks to stop, and remembers whether it was the source that failed.
struct Source<'a> {
    sending: &'a mut lastcopy_sync::Sending,
    context: &'a Context,
    failed: Option<String>,
}

impl io::Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.context.cancel.check().map_err(io::Error::other)?;
        self.sending.read(buffer).inspect_err(|error| {
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed = Some(error.to_string());
            }
        })
    }
}
