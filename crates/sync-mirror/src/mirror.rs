//! The destination kind `mirror`.

use crate::checksums;
use crate::daemon::{Options, Program, Verify};
use crate::layout::{
    FORMAT, HEAD, KIND, MARKER, SEGMENTS, VOLUMES, is_bookkeeping, is_own, path_of, place, segment_name, segment_number,
};
use crate::prove::{Against, Blind, Look, Looker, Way, open_local};
use crate::push::{self, Terms, each};
use crate::rc::RcError;
use crate::remote::{Remote, Slot, below, scratch_name};
use crate::wire::Marker;
use async_trait::async_trait;
use lastcopy_fs::{Content, HashBuffer, HashingReader, Id128, Mounts, escape, lies_in};
use lastcopy_store::{DestinationKind, Incarnation, Layout, Location, Method, Volume};
use lastcopy_sync::segment::{DamagedHead, Place, PlacedHead, digest_of, hex, parse_head};
use lastcopy_sync::{
    Capabilities, Context, Depth, Destination, DestinationError, FetchSink, HeldItem, InitPermit, PlanItem, Probe, PushSink,
    Scratch, VerifySink, WorkList,
};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes that are copied at a time.
const PIECE: usize = 1 << 17;

/// A mirror at any place that rclone reaches.
#[derive(Clone)]
pub struct Mirror(Arc<Inner>);

struct Inner {
    options: Options,
    slot: Arc<Slot>,
    /// Who answered last: every later operation is with that one, or with nobody.
    answered: Mutex<Option<Incarnation>>,
    way: OnceLock<Way>,
}

/// How a mirror stands: what its place can do, and what follows from that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The program that serves it.
    pub program: Program,
    /// The backend, as rclone describes it.
    pub backend: String,
    /// The hashes that it serves, by rclone's names.
    pub hashes: Vec<String>,
    /// How what is stored is verified, if it can be.
    pub method: Option<Method>,
    /// Why in that way.
    pub reason: String,
}

impl Mirror {
    /// A mirror at a place. Nothing is started or looked at yet.
    pub fn new(options: Options) -> Self {
        Self::on(options, Arc::default())
    }

    fn on(options: Options, slot: Arc<Slot>) -> Self {
        Self(Arc::new(Inner { options, slot, answered: Mutex::default(), way: OnceLock::new() }))
    }

    /// Asks what the place can do.
    pub async fn standing(&self) -> Result<Standing, DestinationError> {
        let verify = self.0.options.verify;
        self.blocking(move |remote| {
            let (way, reason) = Way::choose(verify, &remote.features);
            Ok(Standing {
                program: Program { version: remote.version().to_owned() },
                backend: remote.features.backend.clone(),
                hashes: remote.features.hashes.clone(),
                method: way.method(),
                reason,
            })
        })
        .await
    }

    /// Ends the rclone that serves it, if one runs; the next operation starts another one.
    pub fn end(&self) {
        self.0.slot.end();
    }

    /// Runs blocking work on a thread that may block, with the rclone that serves this place.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Remote) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let (inner, runtime) = (self.0.clone(), tokio::runtime::Handle::current());
        let done = tokio::task::spawn_blocking(move || {
            let remote = Remote::reach(&inner.slot, &inner.options, &runtime)?;
            // Capabilities are asked where nothing can be waited for.
            inner.way.get_or_init(|| Way::choose(inner.options.verify, &remote.features).0);
            work(&remote)
        });
        // A panic is a bug of ours; it must not pass for an answer of the destination.
        done.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
    }

    /// Runs blocking work in the repository that answered last; in whichever is there, if none was asked yet. A disk may go away between
    /// two operations, so each of them reads the marker first.
    async fn in_repository<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Remote) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let inner = self.0.clone();
        self.blocking(move |remote| {
            let reason = match probe(remote)? {
                Probe::Found(found) => {
                    let expected = lock(&inner.answered).get_or_insert(found.clone()).clone();
                    if found == expected {
                        return work(remote);
                    }
                    format!("the repository {found} is there now, and {expected} was before")
                }
                Probe::Nothing | Probe::NoPlace => "nothing is there; is it mounted?".into(),
                Probe::CannotTell(reason) => reason,
            };
            Err(DestinationError::Unreachable { address: remote.fs.clone(), reason })
        })
        .await
    }

    fn remember(&self, answer: &Incarnation) {
        *lock(&self.0.answered) = Some(answer.clone());
    }

    fn local_root(&self) -> Option<&Path> {
        self.0.options.local_path()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn probe(remote: &Remote) -> Result<Probe, DestinationError> {
    match remote.read_small(MARKER) {
        Ok(Some(bytes)) => read_marker(&bytes, |id| remote.sealed(id)).map_err(|error| remote.error(&error)),
        Ok(None) => match remote.list("", false) {
            // A new ext4 file system is as empty as it can be.
            Ok(entries) if entries.iter().all(|entry| entry.name == "lost+found") => Ok(Probe::Nothing),
            Ok(_) => Ok(Probe::CannotTell(format!("it holds other files, and no {MARKER}"))),
            Err(RcError::NotFound(_)) => match &remote.features.local {
                Some(root) if !root.parent().is_some_and(Path::is_dir) => {
                    Ok(Probe::CannotTell("the directory that should hold it does not exist; is it mounted?".into()))
                }
                _ => Ok(Probe::NoPlace),
            },
            Err(error @ RcError::Silent(_)) => Err(remote.error(&error)),
            Err(error) => Ok(Probe::CannotTell(error.to_string())),
        },
        Err(error) => Err(remote.error(&error)),
    }
}

fn read_marker(bytes: &[u8], seal: impl FnOnce(&str) -> Result<Option<String>, RcError>) -> Result<Probe, RcError> {
    Ok(match Marker::parse(bytes) {
        Err(error) => Probe::CannotTell(format!("its {MARKER} is damaged: {error}")),
        Ok(marker) if marker.kind != KIND => {
            Probe::CannotTell(format!("it holds a destination of kind `{}`, not `{KIND}`", escape(marker.kind.as_bytes())))
        }
        Ok(marker) if marker.format != FORMAT => {
            Probe::CannotTell(format!("it has format {}, this lastcopy knows {FORMAT}", marker.format))
        }
        Ok(marker) => match marker.id.parse::<Id128>() {
            Ok(id) => match (&marker.index, seal(&marker.id)?) {
                (there, given) if *there == given => Probe::Found(Incarnation::new(id.to_string())),
                (Some(_), None) => Probe::CannotTell("its index is encrypted: the configuration needs its `index_password`".into()),
                (None, _) => Probe::CannotTell("its index is plain, and stays so: remove `index_password`".into()),
                (Some(_), Some(_)) => Probe::CannotTell("it was initialised with another `index_password`".into()),
            },
            Err(error) => Probe::CannotTell(format!("its {MARKER} is damaged: {error}")),
        },
    })
}

fn places_of(remote: &Remote, volume: Id128) -> Result<Vec<Place>, DestinationError> {
    let names = remote.index().names(&format!("{VOLUMES}/{volume}")).map_err(|error| remote.error(&error))?;
    Ok(names.iter().filter_map(|name| name.parse().ok()).map(|epoch| Place { volume, epoch }).collect())
}

fn head_in(remote: &Remote, at: Place) -> Result<Option<PlacedHead>, DestinationError> {
    let bytes = remote.index().read_small(&format!("{}/{HEAD}", place(&at))).map_err(|error| remote.error(&error))?;
    Ok(bytes.map(|bytes| parse_head(at, &bytes).map_err(|reason| DamagedHead { place: at, reason })))
}

/// An error says that rclone is gone: then nothing is known of the item.
fn check(
    looker: &Looker<'_>,
    item: HeldItem,
    depth: Depth,
    sink: &dyn VerifySink,
    context: &Context,
) -> Result<(), DestinationError> {
    let path = match path_of(&item.location) {
        Ok(path) => path,
        Err(reason) => {
            sink.unverifiable(item, reason);
            return Ok(());
        }
    };
    let looked = match depth {
        Depth::Presence => looker.presence(&item, path),
        Depth::Bytes => {
            let (against, mut buffer) = (Against::Receipt(item.fingerprint), HashBuffer::new());
            looker.bytes(item.content, path, against, &mut buffer, context.progress.as_ref())
        }
    };
    match looked {
        Ok(Look::Proven(proven)) => {
            context.progress.advance(1, 0);
            sink.verified(item, proven);
        }
        Ok(Look::Seen) => {
            context.progress.advance(1, 0);
            sink.seen(item);
        }
        Ok(Look::Absent) => sink.lost(item, "the file is not there".into()),
        Ok(Look::Other(detail)) => sink.lost(item, format!("the file is damaged: {detail}")),
        Err(_) if context.cancel.is_cancelled() => {}
        Err(blind) => {
            if !matches!(blind, Blind::NoWay) {
                looker.remote.still_serves()?;
            }
            sink.unverifiable(item, blind.to_string());
        }
    }
    Ok(())
}

fn fetch_one(remote: &Remote, item: &HeldItem, sink: &dyn FetchSink, context: &Context) {
    let path = match path_of(&item.location) {
        Ok(path) => path,
        Err(reason) => return sink.failed(item, reason),
    };
    let opened: Result<Box<dyn Read>, String> = match &remote.features.local {
        // Its bytes decide; who moved them to another disk below this one still has them.
        Some(_) => match open_local(remote, path, Mounts::Cross) {
            Ok(Some(file)) => Ok(Box::new(file)),
            Ok(None) => Err("the file is not there".into()),
            Err(error) => Err(error.to_string()),
        },
        None => remote.read(path).map(|object| Box::new(object) as Box<dyn Read>).map_err(|error| match error {
            RcError::NotFound(_) => "the file is not there".into(),
            error => error.to_string(),
        }),
    };
    let mut from = match opened {
        Ok(from) => from,
        Err(reason) => return sink.failed(item, reason),
    };
    let mut arrival = match sink.begin(item) {
        Ok(arrival) => arrival,
        Err(error) => return sink.failed(item, error.to_string()),
    };
    match copy(from.as_mut(), &mut arrival, context) {
        Ok(()) => arrival.finish(),
        Err(error) => sink.failed(item, error.to_string()),
    }
}

fn copy(from: &mut dyn Read, to: &mut dyn Write, context: &Context) -> io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        context.cancel.check().map_err(io::Error::other)?;
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Works through a list, some items at a time; whoever waits for rclone gets an error when somebody wants to stop. Blocks.
fn each_item(
    remote: &Remote,
    mut list: WorkList<HeldItem>,
    threads: usize,
    context: &Context,
    work: impl Fn(HeldItem) -> Result<(), DestinationError> + Sync,
) -> Result<(), DestinationError> {
    let failed = Mutex::new(None);
    while let Some(group) = list.blocking_recv() {
        if context.cancel.is_cancelled() {
            remote.end();
            break;
        }
        each(group, threads, |item| {
            if !context.cancel.is_cancelled()
                && lock(&failed).is_none()
                && let Err(error) = work(item)
            {
                lock(&failed).get_or_insert(error);
            }
            None::<()>
        });
        if let Some(error) = lock(&failed).take() {
            context.cancel.check()?;
            return Err(error);
        }
    }
    Ok(context.cancel.check()?)
}

/// The digest of an object that was just written.
fn digest(remote: &Remote, path: &str) -> Result<[u8; 32], DestinationError> {
    let failed = |source| DestinationError::Io { address: format!("{}/{path}", remote.fs), source };
    let mut file = fetched(remote, path)?;
    digest_of(&mut file).map_err(failed)
}

/// An object as a file of our own.
fn fetched(remote: &Remote, path: &str) -> Result<File, DestinationError> {
    let failed = |source| DestinationError::Io { address: format!("{}/{path}", remote.fs), source };
    let mut object = remote.read(path).map_err(|error| remote.error(&error))?;
    let mut file = tempfile::tempfile().map_err(failed)?;
    io::copy(&mut object, &mut file).map_err(failed)?;
    file.rewind().map_err(failed)?;
    Ok(file)
}

#[async_trait]
impl Destination for Mirror {
    fn kind(&self) -> DestinationKind {
        DestinationKind::Mirror
    }

    fn layout(&self, volume: &str) -> Layout {
        Layout::ByPath { below: format!("{volume}/").into_bytes() }
    }

    fn capabilities(&self) -> Capabilities {
        let methods = match (self.0.way.get(), self.0.options.verify) {
            (Some(way), _) => way.method().into_iter().collect(),
            (None, Verify::None) => Vec::new(),
            (None, Verify::RemoteHash) => vec![Method::RemoteHash],
            (None, Verify::Fingerprint) => vec![Method::Fingerprint],
            (None, Verify::ReadBack) => vec![Method::ReadBack],
            (None, Verify::Auto) if self.local_root().is_some() => vec![Method::ReadBack],
            (None, Verify::Auto) => vec![Method::ReadBack, Method::RemoteHash, Method::Fingerprint],
        };
        Capabilities { methods, address: self.0.options.remote.clone(), any_name: false }
    }

    fn accept_volume(&self, volume: &Volume) -> Result<(), DestinationError> {
        let Some(root) = self.local_root() else { return Ok(()) };
        match lies_in(volume.path(), root) {
            Ok(false) => Ok(()),
            Ok(true) => Err(DestinationError::Unsupported(format!(
                "volume `{}` lies in the destination at {}: its files would be offloaded on their own word",
                volume.name(),
                root.display()
            ))),
            Err(source) => Err(DestinationError::Io { address: root.display().to_string(), source }),
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
        let (id, created) = (permit.id().to_string(), permit.created().to_owned());
        let made = self.blocking(move |remote| {
            if let Some(parent) = remote.features.local.as_deref().and_then(Path::parent)
                && !parent.is_dir()
            {
                let reason = "the directory that should hold it does not exist; is it mounted?".into();
                return Err(DestinationError::Unreachable { address: remote.fs.clone(), reason });
            }
            let index = remote.sealed(&id).map_err(|error| remote.error(&error))?;
            let marker = Marker { format: FORMAT, id, kind: KIND.into(), created, index };
            let failed = |error: serde_json::Error| DestinationError::Io { address: MARKER.into(), source: error.into() };
            let mut bytes = serde_json::to_vec(&marker).map_err(failed)?;
            bytes.push(b'\n');
            remote.put_small(MARKER, &bytes, false)?;
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
        let (place, context, inner) = (*place, context.clone(), self.0.clone());
        self.in_repository(move |remote| {
            let chosen = Way::choose(inner.options.verify, &remote.features);
            let looker = Looker::new(remote, inner.options.verify, &chosen, &context);
            let (transfers, stall) = (inner.options.transfers, inner.options.stall);
            let terms = Terms { looker, why: &chosen.1, transfers, stall, place };
            push::push(terms, plan, sink.as_ref(), &context)
        })
        .await
    }

    async fn verify(
        &self,
        held: WorkList<HeldItem>,
        depth: Depth,
        sink: Arc<dyn VerifySink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        let (context, inner) = (context.clone(), self.0.clone());
        self.in_repository(move |remote| {
            let chosen = Way::choose(inner.options.verify, &remote.features);
            let looker = Looker::new(remote, inner.options.verify, &chosen, &context);
            let threads = if depth == Depth::Presence { inner.options.checkers } else { inner.options.transfers };
            // What somebody copied there a moment ago may be in memory alone.
            remote.settle()?;
            each_item(remote, held, threads, &context, |item| check(&looker, item, depth, sink.as_ref(), &context))
        })
        .await
    }

    async fn fetch(&self, wanted: WorkList<HeldItem>, sink: Arc<dyn FetchSink>, context: &Context) -> Result<(), DestinationError> {
        let (context, threads) = (context.clone(), self.0.options.transfers);
        self.in_repository(move |remote| {
            each_item(remote, wanted, threads, &context, |item| {
                fetch_one(remote, &item, sink.as_ref(), &context);
                Ok(())
            })
        })
        .await
    }

    async fn heads(&self, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError> {
        self.in_repository(move |remote| {
            let mut found = Vec::new();
            for place in places_of(remote, volume)? {
                found.extend(head_in(remote, place)?);
            }
            Ok(found)
        })
        .await
    }

    async fn places(&self) -> Result<Vec<PlacedHead>, DestinationError> {
        self.in_repository(|remote| {
            let names = remote.index().names(VOLUMES).map_err(|error| remote.error(&error))?;
            let mut found = Vec::new();
            for volume in names.iter().filter_map(|name| name.parse().ok()) {
                for place in places_of(remote, volume)? {
                    // One that cannot be read stands in the way of no other.
                    let head = head_in(remote, place);
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
        let (dir, head) = (place(at), head.to_vec());
        self.in_repository(move |remote| {
            let (mut segment, remote) = (segment, remote.index());
            let path = format!("{dir}/{SEGMENTS}/{}", segment_name(sequence));
            let address = format!("{}/{path}", remote.fs);
            let failed = |source| DestinationError::Io { address: address.clone(), source };
            let expected = digest_of(&mut segment).map_err(failed)?;
            if remote.stat(&path).map_err(|error| remote.error(&error))?.is_some() {
                return Err(DestinationError::Occupied { address, reason: "a segment of this number is there already".into() });
            }
            remote.send(&segment, &path, true).map_err(|error| remote.error(&error))?;
            remote.settle()?;
            let found = digest(&remote, &path)?;
            if found != expected {
                return Err(DestinationError::Damaged {
                    what: "a segment that was just written".into(),
                    address,
                    detail: format!("it hashes to {} instead of {}", hex(&found), hex(&expected)),
                });
            }
            remote.put_small(&format!("{dir}/{HEAD}"), &head, true)
        })
        .await
    }

    async fn segment(&self, at: &Place, sequence: i64) -> Result<File, DestinationError> {
        let path = format!("{}/{SEGMENTS}/{}", place(at), segment_name(sequence));
        self.in_repository(move |remote| fetched(&remote.index(), &path)).await
    }

    async fn segments(&self, at: &Place) -> Result<Vec<i64>, DestinationError> {
        let path = format!("{}/{SEGMENTS}", place(at));
        self.in_repository(move |remote| {
            let names = remote.index().names(&path).map_err(|error| remote.error(&error))?;
            Ok(names.iter().filter_map(|name| segment_number(name)).collect())
        })
        .await
    }

    /// Where the far side computes no BLAKE3, everything is read to tell what it is.
    async fn list(&self, each: &mut (dyn FnMut(Content, Location) + Send)) -> Result<(), DestinationError> {
        let (give, mut take) = tokio::sync::mpsc::channel(1000);
        let listing = self.in_repository(move |remote| {
            let hashed = remote.features.local.is_some() || checksums::blake3(&remote.features);
            let listed = remote.walk("", hashed, &is_bookkeeping, &mut |entry| {
                if is_own(&entry.path) {
                    return Ok(());
                }
                let content = match entry.hash.parse() {
                    Ok(hash) => Content { hash, size: entry.size },
                    Err(_) => {
                        let mut reader = HashingReader::new(remote.read(&entry.path)?);
                        io::copy(&mut reader, &mut io::sink()).map_err(|error| RcError::Refused(error.to_string()))?;
                        reader.content()
                    }
                };
                // Nobody listens any more: then nobody misses it.
                drop(give.blocking_send((content, Location(entry.path.into_bytes()))));
                Ok(())
            });
            listed.map_err(|error| remote.error(&error))
        });
        let (listed, ()) = tokio::join!(listing, async {
            while let Some((content, location)) = take.recv().await {
                each(content, location);
            }
        });
        listed
    }

    async fn scratch(&self) -> Result<Scratch, DestinationError> {
        let options = Options { remote: below(&self.0.options.remote, &scratch_name()?), ..self.0.options.clone() };
        let part = Self::on(options, self.0.slot.clone());
        let (removed, runtime) = (part.clone(), tokio::runtime::Handle::current());
        let remove = move || {
            let remote = Remote::reach(&removed.0.slot, &removed.0.options, &runtime)?;
            remote.purge().map_err(|error| remote.error(&error))
        };
        Ok(Scratch { destination: Arc::new(part), remove: Box::new(remove) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_is_read_as_it_was_initialised() {
        let id = "0123456789abcdef0123456789abcdef";
        let probed = |there: &str, given: Option<&str>| {
            let marker = format!(r#"{{"format":1,"id":"{id}","kind":"mirror","created":"2026-01-01T00:00:00Z"{there}}}"#);
            read_marker(marker.as_bytes(), |_| Ok(given.map(str::to_owned))).unwrap()
        };
        let sealed = r#","index":"abc""#;
        let found = Probe::Found(Incarnation::new(id));
        assert_eq!((probed("", None), probed(sealed, Some("abc"))), (found.clone(), found));
        for (there, given, says) in
            [(sealed, None, "needs its `index_password`"), (sealed, Some("abd"), "another"), ("", Some("abc"), "plain")]
        {
            let answer = probed(there, given);
            assert!(matches!(&answer, Probe::CannotTell(reason) if reason.contains(says)), "{answer:?}");
        }
    }
}
