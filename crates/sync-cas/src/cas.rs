//! The destination kind `cas`, on any medium.

use crate::layout::{FORMAT, HEAD, KIND, MARKER, Marker, SEGMENTS, VOLUMES, place, segment_name, segment_number};
use crate::local::Local;
use crate::medium::Medium;
use crate::pipeline;
use async_trait::async_trait;
use lastcopy_fs::{Cancelled, Content, HashBuffer, Id128, escape};
use lastcopy_store::{DestinationKind, Incarnation, Location, Method, ProofError, Volume};
use lastcopy_sync::segment::{DamagedHead, Place, PlacedHead, hex, parse_head};
use lastcopy_sync::{
    Capabilities, Context, Depth, Destination, DestinationError, FetchSink, HeldItem, InitPermit, PlanItem, Probe, PushSink,
    Scratch, VerifySink, WorkList,
};
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Threads that check or fetch: they wait for the device more than they compute.
const WORKERS: usize = 4;

/// A content-addressed store.
#[derive(Clone)]
pub struct Cas {
    medium: Arc<dyn Medium>,
    /// Who answered last: every later operation is with that one, or with nobody.
    answered: Arc<Mutex<Option<Incarnation>>>,
}

impl Cas {
    /// In a local directory, by its absolute path. Nothing is looked at yet.
    pub fn local(path: &Path) -> Self {
        Self::on(Box::new(Local::new(path)))
    }

    /// On any medium.
    pub fn on(medium: Box<dyn Medium>) -> Self {
        Self { medium: Arc::from(medium), answered: Arc::default() }
    }

    /// Runs blocking work on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Medium) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let medium = self.medium.look_again();
        // A panic is a bug of ours; it must not pass for an answer of the destination.
        tokio::task::spawn_blocking(move || work(medium.as_ref()))
            .await
            .unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// Runs blocking work in the repository that answered last; in whichever is there, if none was asked yet.
    ///
    /// A disk may go away between two operations, and leave an empty directory that takes every write and lacks every object. So each
    /// operation reads the marker first, and stays in the directory where it read it.
    async fn in_repository<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Medium) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let answered = self.answered.clone();
        self.blocking(move |medium| {
            let reason = match probe(medium)? {
                Probe::Found(found) => {
                    let expected = answered.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found.clone()).clone();
                    if found == expected {
                        return work(medium);
                    }
                    format!("the repository {found} is there now, and {expected} was before")
                }
                Probe::Nothing | Probe::NoPlace => "nothing is there; is it mounted?".into(),
                Probe::CannotTell(reason) => reason,
            };
            Err(DestinationError::Unreachable { address: medium.address(), reason })
        })
        .await
    }

    fn remember(&self, answer: &Incarnation) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer.clone());
    }
}

/// What an I/O error of a medium means for the destination.
pub(crate) fn error(medium: &dyn Medium, what: &str, source: io::Error) -> DestinationError {
    let address = medium.address();
    match source.kind() {
        _ if Cancelled::caused(&source) => Cancelled.into(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => DestinationError::Full { address },
        io::ErrorKind::PermissionDenied => DestinationError::Auth { address, reason: source.to_string() },
        io::ErrorKind::ReadOnlyFilesystem => DestinationError::Auth { address, reason: "it is mounted read-only".into() },
        io::ErrorKind::NotADirectory if what.is_empty() => {
            DestinationError::Unreachable { address, reason: "it is not a directory".into() }
        }
        _ if what.is_empty() => DestinationError::of_disk(address, source),
        _ => DestinationError::of_disk(format!("{address}/{what}"), source),
    }
}

fn probe(medium: &dyn Medium) -> Result<Probe, DestinationError> {
    match medium.read_small(MARKER) {
        Ok(Some(bytes)) => Ok(read_marker(&bytes)),
        Ok(None) => match medium.is_empty() {
            Ok(None) => Ok(Probe::NoPlace),
            Ok(Some(true)) => Ok(Probe::Nothing),
            Ok(Some(false)) => Ok(Probe::CannotTell(format!("it holds other files, and no {MARKER}"))),
            Err(failed) if failed.kind() == io::ErrorKind::NotFound => {
                Ok(Probe::CannotTell("the directory that should hold it does not exist; is it mounted?".into()))
            }
            Err(failed) => Err(error(medium, "", failed)),
        },
        Err(failed) => match failed.kind() {
            io::ErrorKind::NotADirectory => Ok(Probe::CannotTell("it is not a directory".into())),
            _ => Err(error(medium, MARKER, failed)),
        },
    }
}

fn read_marker(bytes: &[u8]) -> Probe {
    match serde_json::from_slice::<Marker>(bytes) {
        Err(error) => Probe::CannotTell(format!("its {MARKER} is damaged: {error}")),
        Ok(marker) if marker.kind != KIND => {
            Probe::CannotTell(format!("it holds a destination of kind `{}`, not `{KIND}`", escape(marker.kind.as_bytes())))
        }
        Ok(marker) if marker.format != FORMAT => {
            Probe::CannotTell(format!("it has format {}, this lastcopy knows {FORMAT}", marker.format))
        }
        Ok(marker) => match marker.id.parse::<Id128>() {
            Ok(id) => Probe::Found(Incarnation::new(id.to_string())),
            Err(error) => Probe::CannotTell(format!("its {MARKER} is damaged: {error}")),
        },
    }
}

/// The heads of one volume.
fn heads(medium: &dyn Medium, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError> {
    let mut found = Vec::new();
    for place in places_of(medium, volume)? {
        found.extend(head_in(medium, place)?);
    }
    Ok(found)
}

fn places_of(medium: &dyn Medium, volume: Id128) -> Result<Vec<Place>, DestinationError> {
    let dir = format!("{VOLUMES}/{volume}");
    let names = medium.list(&dir).map_err(|failed| error(medium, &dir, failed))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).map(|epoch| Place { volume, epoch }).collect())
}

fn head_in(medium: &dyn Medium, at: Place) -> Result<Option<PlacedHead>, DestinationError> {
    let path = format!("{}/{HEAD}", place(at.volume, at.epoch));
    let bytes = medium.read_small(&path).map_err(|failed| error(medium, &path, failed))?;
    Ok(bytes.map(|bytes| parse_head(at, &bytes).map_err(|reason| DamagedHead { place: at, reason })))
}

/// Works through a list on several threads. Blocks.
fn each_item(mut list: WorkList<HeldItem>, context: &Context, work: impl Fn(HeldItem, &mut HashBuffer) + Sync) {
    let (give, items) = crossbeam_channel::bounded::<HeldItem>(1000);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (items, work) = (items.clone(), &work);
            scope.spawn(move || {
                let mut buffer = HashBuffer::new();
                for item in items {
                    if !context.cancel.is_cancelled() {
                        work(item, &mut buffer);
                    }
                }
            });
        }
        drop(items);
        while let Some(group) = list.blocking_recv() {
            if context.cancel.is_cancelled() || group.into_iter().any(|item| give.send(item).is_err()) {
                break;
            }
        }
        drop(give);
    });
}

fn check(medium: &dyn Medium, item: HeldItem, depth: Depth, sink: &dyn VerifySink, context: &Context, buffer: &mut HashBuffer) {
    if item.location != Location::default() {
        return sink.unverifiable(item, "it lies in a place of a newer format".into());
    }
    match depth {
        Depth::Presence => match medium.object_size(item.content.hash) {
            Ok(Some(size)) if size == item.content.size => {
                context.progress.advance(1, 0);
                sink.seen(item);
            }
            Ok(Some(size)) => {
                let detail = format!("the object has {size} bytes instead of {}", item.content.size);
                sink.lost(item, detail);
            }
            Ok(None) => sink.lost(item, "the object is not there".into()),
            Err(failed) => sink.unverifiable(item, error(medium, "objects", failed).to_string()),
        },
        Depth::Bytes => match medium.prove(item.content, buffer, &context.cancel, context.progress.as_ref()) {
            Ok(proof) => {
                context.progress.advance(1, 0);
                sink.verified(item, proof.into());
            }
            Err(ProofError::Differs { found }) => {
                sink.lost(item, format!("the object is damaged: its {} bytes hash to {}", found.size, found.hash));
            }
            Err(ProofError::Io(failed)) if Cancelled::caused(&failed) => {}
            Err(ProofError::Io(failed)) if failed.kind() == io::ErrorKind::NotFound => {
                sink.lost(item, "the object is not there".into());
            }
            Err(failed) => sink.unverifiable(item, failed.to_string()),
        },
    }
}

fn fetch_one(medium: &dyn Medium, item: &HeldItem, sink: &dyn FetchSink, context: &Context) {
    if item.location != Location::default() {
        return sink.failed(item, "it lies in a place of a newer format".into());
    }
    let mut arrival = match sink.begin(item) {
        Ok(arrival) => arrival,
        Err(failed) => return sink.failed(item, failed.to_string()),
    };
    match medium.copy_out(item.content.hash, &mut arrival, &context.cancel) {
        Ok(()) => arrival.finish(),
        Err(failed) if failed.kind() == io::ErrorKind::NotFound => sink.failed(item, "the object is not there".into()),
        Err(failed) => sink.failed(item, failed.to_string()),
    }
}

#[async_trait]
impl Destination for Cas {
    fn kind(&self) -> DestinationKind {
        DestinationKind::Cas
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { methods: vec![Method::ReadBack], address: self.medium.address(), any_name: true }
    }

    fn accept_volume(&self, volume: &Volume) -> Result<(), DestinationError> {
        match self.medium.look_again().contains(volume.path()) {
            Ok(false) => Ok(()),
            Ok(true) => Err(DestinationError::Unsupported(format!(
                "volume `{}` lies in the destination at {}: its files would be offloaded on their own word",
                volume.name(),
                self.medium.address()
            ))),
            Err(failed) => Err(error(self.medium.as_ref(), "", failed)),
        }
    }

    async fn probe(&self) -> Result<Probe, DestinationError> {
        let answer = self.blocking(probe).await?;
        if let Probe::Found(found) = &answer {
            self.remember(found);
        }
        Ok(answer)
    }

    /// What goes on stays with whoever answered when it began.
    async fn probe_again(&self) -> Result<Probe, DestinationError> {
        self.blocking(probe).await
    }

    async fn init(&self, permit: &InitPermit) -> Result<Incarnation, DestinationError> {
        let marker = Marker { format: FORMAT, id: permit.id().to_string(), kind: KIND.into(), created: permit.created().into() };
        let made = self.blocking(move |medium| {
            let mut bytes = serde_json::to_vec(&marker).map_err(|failed| error(medium, MARKER, failed.into()))?;
            bytes.push(b'\n');
            medium.create_root().map_err(|failed| error(medium, "", failed))?;
            medium.create_small(MARKER, &bytes).map_err(|failed| error(medium, MARKER, failed))?;
            Ok(Incarnation::new(marker.id))
        });
        let made = made.await?;
        self.remember(&made);
        Ok(made)
    }

    async fn push(
        &self,
        place: &Place,
        plan: WorkList<PlanItem>,
        sink: Arc<dyn PushSink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        let (place, context) = (*place, context.clone());
        self.in_repository(move |medium| pipeline::push(medium, place, plan, &sink, &context)).await
    }

    async fn verify(
        &self,
        held: WorkList<HeldItem>,
        depth: Depth,
        sink: Arc<dyn VerifySink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        let context = context.clone();
        self.in_repository(move |medium| {
            medium.settle().map_err(|failed| error(medium, "", failed))?;
            each_item(held, &context, |item, buffer| check(medium, item, depth, sink.as_ref(), &context, buffer));
            Ok(context.cancel.check()?)
        })
        .await
    }

    async fn fetch(&self, wanted: WorkList<HeldItem>, sink: Arc<dyn FetchSink>, context: &Context) -> Result<(), DestinationError> {
        let context = context.clone();
        self.in_repository(move |medium| {
            each_item(wanted, &context, |item, _| fetch_one(medium, &item, sink.as_ref(), &context));
            Ok(context.cancel.check()?)
        })
        .await
    }

    async fn heads(&self, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError> {
        self.in_repository(move |medium| heads(medium, volume)).await
    }

    async fn places(&self) -> Result<Vec<PlacedHead>, DestinationError> {
        self.in_repository(|medium| {
            let names = medium.list(VOLUMES).map_err(|failed| error(medium, VOLUMES, failed))?;
            let mut found = Vec::new();
            for volume in names.iter().filter_map(|name| name.parse().ok()) {
                for place in places_of(medium, volume)? {
                    // One that cannot be read stands in the way of no other.
                    let head = head_in(medium, place);
                    found.extend(head.unwrap_or_else(|failed| Some(Err(DamagedHead { place, reason: failed.to_string() }))));
                }
            }
            Ok(found)
        })
        .await
    }

    async fn seal(
        &self,
        at: &Place,
        sequence: i64,
        segment: File,
        head: &[u8],
        _context: &Context,
    ) -> Result<(), DestinationError> {
        let (dir, head) = (place(at.volume, at.epoch), head.to_vec());
        self.in_repository(move |medium| {
            let mut segment = segment;
            let path = format!("{dir}/{SEGMENTS}/{}", segment_name(sequence));
            let failed = |source| error(medium, &path, source);
            let expected = lastcopy_sync::segment::digest_of(&mut segment).map_err(failed)?;
            let found = medium.create_file(&path, &mut segment).map_err(failed)?;
            if found != expected {
                return Err(DestinationError::Damaged {
                    what: "a segment that was just written".into(),
                    address: format!("{}/{path}", medium.address()),
                    detail: format!("it hashes to {} instead of {}", hex(&found), hex(&expected)),
                });
            }
            let path = format!("{dir}/{HEAD}");
            medium.replace_small(&path, &head).map_err(|source| error(medium, &path, source))
        })
        .await
    }

    async fn segment(&self, at: &Place, sequence: i64) -> Result<File, DestinationError> {
        let path = format!("{}/{SEGMENTS}/{}", place(at.volume, at.epoch), segment_name(sequence));
        self.in_repository(move |medium| medium.open_file(&path).map_err(|failed| error(medium, &path, failed))).await
    }

    async fn segments(&self, at: &Place) -> Result<Vec<i64>, DestinationError> {
        let path = format!("{}/{SEGMENTS}", place(at.volume, at.epoch));
        self.in_repository(move |medium| {
            let names = medium.list(&path).map_err(|failed| error(medium, &path, failed))?;
            Ok(names.iter().filter_map(|name| segment_number(name)).collect())
        })
        .await
    }

    async fn list(&self, each: &mut (dyn FnMut(Content, Location) + Send)) -> Result<(), DestinationError> {
        let (give, mut take) = tokio::sync::mpsc::channel(1000);
        let listing = self.in_repository(move |medium| {
            let listed = medium.objects(&mut |content| {
                // Nobody listens any more: then nobody misses it.
                if give.blocking_send(content).is_err() {}
            });
            listed.map_err(|failed| error(medium, "objects", failed))
        });
        let (listed, ()) = tokio::join!(listing, async {
            while let Some(content) = take.recv().await {
                each(content, Location::default());
            }
        });
        listed
    }

    async fn scratch(&self) -> Result<Scratch, DestinationError> {
        self.blocking(|medium| {
            let address = medium.address();
            let (part, remove) = medium.scratch().map_err(|failed| error(medium, "", failed))?;
            let remove = move || remove().map_err(|source| DestinationError::Io { address, source });
            Ok(Scratch { destination: Arc::new(Self::on(part)), remove: Box::new(remove) })
        })
        .await
    }
}
