//! From what arrives of a destination to files in their places.

use crate::error::RestoreError;
use crate::landing::{Arriving, Landed, Landing, Placed};
use crate::report::RestoreReport;
use crate::wanted::Wanted;
use lastcopy_fs::{Progress, RelPath};
use lastcopy_store::{ContentId, Restore, Restored, Run};
use lastcopy_sync::{Arrival, Depth, FetchSink, HeldItem};
use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Arrivals that wait to be placed; each is an open file.
const WAITING: usize = 64;
/// Files that share syncs and a transaction.
const BATCH_FILES: usize = 1000;
const BATCH_BYTES: u64 = 256 << 20;

/// Files that are on their way.
#[derive(Default)]
pub(crate) struct Awaited {
    /// What is still to come, by content.
    pub(crate) absent: HashMap<ContentId, Vec<Wanted>>,
    /// What was said by those that could not give it.
    pub(crate) why: HashMap<ContentId, String>,
}

/// An object that a destination did not give as it should.
pub(crate) struct Trouble {
    pub(crate) item: HeldItem,
    /// The first path that waits for it.
    pub(crate) path: RelPath,
    /// What happened, with the destination's name.
    pub(crate) why: String,
    /// How to look at it again; not at all where the trouble was here.
    pub(crate) look: Option<Depth>,
}

/// What the fetching threads tell the one that places.
pub(crate) enum Event {
    Arrived(HeldItem, Arriving),
    Failed(HeldItem, String),
}

/// Takes bytes on the threads that fetch.
pub(crate) struct Sink {
    landing: Landing,
    events: SyncSender<Event>,
}

impl Sink {
    /// One that writes apart, and where it tells of what it took.
    pub(crate) fn new(landing: Landing) -> (Self, Receiver<Event>) {
        let (events, arrivals) = sync_channel(WAITING);
        (Self { landing, events }, arrivals)
    }
}

impl FetchSink for Sink {
    fn begin(&self, item: &HeldItem) -> io::Result<Box<dyn Arrival>> {
        let arriving = self.landing.begin()?;
        Ok(Box::new(OneArrival { item: item.clone(), arriving, events: self.events.clone() }))
    }

    fn failed(&self, item: &HeldItem, reason: String) {
        tell(&self.events, Event::Failed(item.clone(), reason));
    }
}

struct OneArrival {
    item: HeldItem,
    arriving: Arriving,
    events: SyncSender<Event>,
}

impl Write for OneArrival {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.arriving.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.arriving.flush()
    }
}

impl Arrival for OneArrival {
    fn finish(self: Box<Self>) {
        tell(&self.events, Event::Arrived(self.item, self.arriving));
    }
}

fn tell(events: &SyncSender<Event>, event: Event) {
    // Nobody listens any more: then the restore is ending with an error of its own.
    drop(events.send(event));
}

/// Puts what arrived in its places, on one thread.
pub(crate) struct Placer<'a> {
    /// The destination's name.
    pub(crate) source: &'a str,
    /// Where what came back is recorded, if the index knows the place.
    pub(crate) run: Option<&'a Run<Restore>>,
    pub(crate) landing: &'a Landing,
    pub(crate) in_place: bool,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) awaited: &'a mut Awaited,
    pub(crate) report: &'a mut RestoreReport,
    pub(crate) done: Done,
}

/// What came of it so far.
#[derive(Default)]
pub(crate) struct Done {
    /// Landed, and not in their places yet.
    batch: Vec<(Landed, ContentId, u64)>,
    bytes: u64,
    troubles: Vec<Trouble>,
}

impl Placer<'_> {
    /// Until nothing comes any more; says what could not be had.
    pub(crate) fn work(mut self, events: &Receiver<Event>) -> Result<Vec<Trouble>, RestoreError> {
        for event in events {
            match event {
                Event::Arrived(item, arriving) => self.arrived(item, arriving),
                Event::Failed(item, reason) => {
                    if let Some(path) = self.awaited.absent.get(&item.content_id).map(|wanted| wanted[0].path.clone()) {
                        self.failed(item, path, &reason, Some(Depth::Presence));
                    }
                }
            }
            if self.done.batch.len() >= BATCH_FILES || self.done.bytes >= BATCH_BYTES {
                self.place()?;
            }
        }
        self.place()?;
        Ok(self.done.troubles)
    }

    fn failed(&mut self, item: HeldItem, path: RelPath, reason: &str, look: Option<Depth>) {
        let text = format!("`{}`: {reason}", self.source);
        self.awaited.why.entry(item.content_id).and_modify(|why| *why = format!("{why}; {text}")).or_insert_with(|| text.clone());
        self.done.troubles.push(Trouble { item, path, why: text, look });
    }

    fn arrived(&mut self, item: HeldItem, arriving: Arriving) {
        let content = item.content_id;
        let Some(wanted) = self.awaited.absent.remove(&content) else { return };
        match self.land(&wanted, arriving) {
            Ok(landed) => {
                for landed in landed {
                    self.done.bytes += wanted[0].content.size;
                    self.done.batch.push((landed, content, wanted[0].content.size));
                }
            }
            Err(error) => {
                // Other bytes than expected may be there, or came to harm on the way; anything else went wrong here.
                let look = (error.kind() == io::ErrorKind::InvalidData).then_some(Depth::Bytes);
                self.failed(item, wanted[0].path.clone(), &error.to_string(), look);
                self.awaited.absent.insert(content, wanted);
            }
        }
    }

    /// One file for each path that holds the content.
    fn land(&self, wanted: &[Wanted], arriving: Arriving) -> io::Result<Vec<Landed>> {
        let mut landed: Vec<Landed> = Vec::with_capacity(wanted.len());
        let mut arriving = Some(arriving);
        for wanted in wanted {
            let Wanted { path, content, mtime_ns, mode, .. } = wanted;
            let next = match (arriving.take(), landed.first()) {
                (Some(arriving), _) => self.landing.land(arriving, *content, path, *mtime_ns, *mode)?,
                (None, Some(first)) => self.landing.copy(first, *content, path, *mtime_ns, *mode)?,
                (None, None) => break,
            };
            landed.push(next);
        }
        Ok(landed)
    }

    fn place(&mut self) -> Result<(), RestoreError> {
        self.done.bytes = 0;
        let batch = std::mem::take(&mut self.done.batch);
        if batch.is_empty() {
            return Ok(());
        }
        let (landed, facts): (Vec<_>, Vec<_>) = batch.into_iter().map(|(landed, content, size)| (landed, (content, size))).unzip();
        let placed = self.landing.place(&landed, self.in_place).map_err(RestoreError::at(&RelPath::root()))?;
        let mut restored = Vec::new();
        for ((landed, (content, size)), placed) in landed.into_iter().zip(facts).zip(placed) {
            match placed {
                Placed::There(seen) => {
                    self.report.restored += 1;
                    self.report.bytes += size;
                    self.progress.advance(1, size);
                    restored.push(Restored { path: landed.path, content, seen });
                }
                Placed::Occupied => self.report.refuse(&landed.path, "something else is in its place".into()),
                Placed::Failed(error) => self.report.fail(&landed.path, format!("cannot be put in its place: {error}")),
            }
        }
        if let Some(run) = self.run {
            run.restored(&restored)?;
        }
        Ok(())
    }
}
