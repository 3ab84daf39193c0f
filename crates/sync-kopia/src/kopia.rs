//! The destination kind `kopia`.

use crate::compact;
use crate::connection::Connections;
use crate::fetch;
use crate::options::Options;
use crate::program::{self, Input, Watch};
use crate::push;
use crate::repair;
use crate::seal;
use crate::session::{Session, lock};
use crate::verify;
use async_trait::async_trait;
use lastcopy_fs::{Content, Id128, lies_in};
use lastcopy_store::{DestinationKind, Incarnation, Location, Method, Volume};
use lastcopy_sync::segment::{Place, PlacedHead};
use lastcopy_sync::{
    Capabilities, CompactSink, Compaction, Context, Depth, Destination, DestinationError, FetchSink, HeldItem, InitPermit,
    PlanItem, Probe, PushSink, Retained, Scratch, VerifySink, WorkList,
};
use serde_json::Value;
use std::fs::File;
use std::sync::{Arc, Mutex, OnceLock};

/// Blobs that are removed by one command: of a scratch part.
const AT_A_TIME: usize = 200;

/// A repository of kopia's.
#[derive(Clone)]
pub struct Kopia(Arc<Inner>);

struct Inner {
    options: Options,
    connections: Mutex<Option<Arc<Connections>>>,
    /// Since the last look who is there.
    session: Mutex<Option<Arc<Session>>>,
    version: OnceLock<String>,
}

/// How a repository is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The version of the program, as it says; builds of one's own may say nothing that can be compared.
    pub version: String,
    /// It is a release, and not a build that names none.
    pub is_release: bool,
    /// Where the repository is, for people.
    pub address: String,
}

impl Kopia {
    /// A repository at a place. Nothing is started or looked at yet.
    pub fn new(options: Options) -> Self {
        let (connections, session) = Default::default();
        Self(Arc::new(Inner { options, connections, session, version: OnceLock::new() }))
    }

    /// Asks which kopia there is, and whether it can do what is needed.
    pub async fn standing(&self) -> Result<Standing, DestinationError> {
        let inner = self.0.clone();
        blocking(move |_| {
            inner.connections()?;
            let version = inner.version.get().cloned().unwrap_or_default();
            let is_release = program::release(&version).is_some();
            Ok(Standing { version, is_release, address: inner.options.storage.address() })
        })
        .await
    }

    /// Ends what kopia runs for it; the next operation starts anew.
    pub fn end(&self) {
        *lock(&self.0.session) = None;
    }

    /// Runs blocking work in the repository that answered last; in whichever is there, if none was asked yet.
    async fn in_repository<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Session) -> Result<T, DestinationError> + Send + 'static,
    ) -> Result<T, DestinationError> {
        let inner = self.0.clone();
        blocking(move |runtime| {
            let session = lock(&inner.session).clone().filter(|session| session.is_there());
            let session = match session {
                Some(session) => session,
                None => inner.found(runtime)?,
            };
            work(&session)
        })
        .await
    }
}

/// Runs blocking work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&tokio::runtime::Handle) -> Result<T, DestinationError> + Send + 'static,
) -> Result<T, DestinationError> {
    let runtime = tokio::runtime::Handle::current();
    let done = tokio::task::spawn_blocking(move || work(&runtime));
    // A panic is a bug of ours; it must not pass for an answer of the destination.
    done.await.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic()))
}

impl Inner {
    fn connections(&self) -> Result<Arc<Connections>, DestinationError> {
        let mut connections = lock(&self.connections);
        if let Some(connections) = connections.as_ref() {
            return Ok(connections.clone());
        }
        let version = program::probe(&self.options)?;
        self.version.get_or_init(|| version);
        Ok(connections.insert(Arc::new(Connections::new(self.options.clone())?)).clone())
    }

    /// Looks who is there, and begins anew with whoever it is.
    fn probe(&self, runtime: &tokio::runtime::Handle) -> Result<Probe, DestinationError> {
        let connections = self.connections()?;
        let before = lock(&self.session).take().map(|session| session.incarnation.clone());
        let answer = connections.probe()?;
        if let Probe::Found(found) = &answer {
            if before.is_some_and(|before| before != *found) {
                connections.forget()?;
            }
            *lock(&self.session) = Some(Arc::new(Session::new(connections, found.clone(), runtime.clone())));
        }
        Ok(answer)
    }

    /// The repository that is there; where another one answered before, it is an error.
    fn found(&self, runtime: &tokio::runtime::Handle) -> Result<Arc<Session>, DestinationError> {
        let before = lock(&self.session).as_ref().map(|session| session.incarnation.clone());
        let reason = match self.probe(runtime)? {
            Probe::Found(found) if before.as_ref().is_none_or(|before| *before == found) => {
                if let Some(session) = lock(&self.session).clone() {
                    return Ok(session);
                }
                "it is not there any more".into()
            }
            Probe::Found(found) => format!("the repository {found} is there now, and another one was before"),
            Probe::Nothing | Probe::NoPlace => "nothing is there; is it mounted?".into(),
            Probe::CannotTell(reason) => reason,
        };
        Err(DestinationError::Unreachable { address: self.options.storage.address(), reason })
    }
}

#[async_trait]
impl Destination for Kopia {
    fn kind(&self) -> DestinationKind {
        DestinationKind::Kopia
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { methods: vec![Method::ReadBack], address: self.0.options.storage.address(), any_name: false }
    }

    fn accept_volume(&self, volume: &Volume) -> Result<(), DestinationError> {
        let Some(root) = self.0.options.storage.local_path() else { return Ok(()) };
        match lies_in(volume.path(), &root) {
            Ok(false) => Ok(()),
            Ok(true) => Err(DestinationError::Unsupported(format!(
                "volume `{}` lies in the repository at {}: its files would be offloaded on their own word",
                volume.name(),
                root.display()
            ))),
            Err(source) => Err(DestinationError::Io { address: root.display().to_string(), source }),
        }
    }

    async fn probe(&self) -> Result<Probe, DestinationError> {
        let inner = self.0.clone();
        blocking(move |runtime| inner.probe(runtime)).await
    }

    /// Leaves alone what is going on: its server, its cache, what was listed.
    async fn probe_again(&self) -> Result<Probe, DestinationError> {
        let inner = self.0.clone();
        blocking(move |_| inner.connections()?.probe_again()).await
    }

    /// kopia gives its repositories an identity of their own: one that was made by an init that could not say so any more is adopted.
    async fn init(&self, _permit: &InitPermit) -> Result<Incarnation, DestinationError> {
        let inner = self.0.clone();
        blocking(move |runtime| {
            inner.connections()?.create()?;
            Ok(inner.found(runtime)?.incarnation.clone())
        })
        .await
    }

    async fn push(
        &self,
        place: &Place,
        plan: WorkList<PlanItem>,
        sink: Arc<dyn PushSink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        let (place, context) = (*place, context.clone());
        self.in_repository(move |session| push::push(session, &place, plan, sink.as_ref(), &context)).await
    }

    async fn verify(
        &self,
        held: WorkList<HeldItem>,
        depth: Depth,
        sink: Arc<dyn VerifySink>,
        context: &Context,
    ) -> Result<(), DestinationError> {
        let context = context.clone();
        self.in_repository(move |session| verify::verify(session, held, depth, sink.as_ref(), &context)).await
    }

    async fn fetch(&self, wanted: WorkList<HeldItem>, sink: Arc<dyn FetchSink>, context: &Context) -> Result<(), DestinationError> {
        let context = context.clone();
        self.in_repository(move |session| fetch::fetch(session, wanted, sink.as_ref(), &context)).await
    }

    async fn heads(&self, volume: Id128) -> Result<Vec<PlacedHead>, DestinationError> {
        self.in_repository(move |session| seal::heads(session, Some(volume))).await
    }

    async fn places(&self) -> Result<Vec<PlacedHead>, DestinationError> {
        self.in_repository(|session| seal::heads(session, None)).await
    }

    async fn seal(&self, at: &Place, sequence: i64, segment: File, head: &[u8], context: &Context) -> Result<(), DestinationError> {
        let (at, head, context) = (*at, head.to_vec(), context.clone());
        self.in_repository(move |session| seal::seal(session, at, sequence, segment, &head, &context)).await
    }

    async fn segment(&self, at: &Place, sequence: i64) -> Result<File, DestinationError> {
        let at = *at;
        self.in_repository(move |session| seal::segment(session, at, sequence)).await
    }

    async fn segments(&self, at: &Place) -> Result<Vec<i64>, DestinationError> {
        let at = *at;
        self.in_repository(move |session| seal::segments(session, at)).await
    }

    async fn list(&self, each: &mut (dyn FnMut(Content, Location) + Send)) -> Result<(), DestinationError> {
        let (give, mut take) = tokio::sync::mpsc::channel(1000);
        let listing = self.in_repository(move |session| fetch::list(session, &give));
        let (listed, ()) = tokio::join!(listing, async {
            while let Some((content, location)) = take.recv().await {
                each(content, location);
            }
        });
        listed
    }

    async fn compact(
        &self,
        retained: WorkList<Retained>,
        epoch: Id128,
        sink: Option<Arc<dyn CompactSink>>,
        context: &Context,
    ) -> Result<Compaction, DestinationError> {
        let context = context.clone();
        self.in_repository(move |session| compact::compact(session, retained, epoch, sink, &context)).await
    }

    async fn make_way(&self, lost: Vec<HeldItem>, volumes: &[Id128], context: &Context) -> Result<u64, DestinationError> {
        let (volumes, context) = (volumes.to_vec(), context.clone());
        self.in_repository(move |session| repair::make_way(session, &lost, &volumes, &context)).await
    }

    /// A repository of its own beside this one.
    async fn scratch(&self) -> Result<Scratch, DestinationError> {
        let failed = |source| DestinationError::Io { address: "random numbers".into(), source };
        let name = format!(".lastcopy-test-{}", Id128::random().map_err(failed)?);
        let storage = self.0.options.storage.beside(&name).ok_or_else(|| {
            DestinationError::Unsupported(
                "beside a repository that is given by a configuration file of kopia's, nothing is made".into(),
            )
        })?;
        let root = storage.local_path();
        if let Some(root) = &root {
            std::fs::create_dir(root).map_err(|source| DestinationError::Io { address: root.display().to_string(), source })?;
        }
        let part = Self::new(Options { storage, ..self.0.options.clone() });
        let removed = part.clone();
        let remove = move || match root {
            Some(root) => {
                let gone = std::fs::remove_dir_all(&root);
                gone.map_err(|source| DestinationError::Io { address: root.display().to_string(), source })
            }
            None => removed.0.purge(),
        };
        Ok(Scratch { destination: Arc::new(part), remove: Box::new(remove) })
    }
}

impl Inner {
    /// Removes every blob: of a scratch part. The format goes last, because without it kopia lists nothing.
    fn purge(&self) -> Result<(), DestinationError> {
        let connections = self.connections()?;
        let (Ok(()), Ok(writer)) = (connections.connect()?, connections.writer()?) else {
            // It was never made.
            return Ok(());
        };
        let listed = connections.read(&Watch::default(), |command| {
            command.args(["blob", "list", "--json"]);
        })?;
        let blobs: Vec<Value> = serde_json::from_slice(&listed.well(&self.options.storage.address())?.stdout).unwrap_or_default();
        let ids = blobs.iter().filter_map(|blob| blob["id"].as_str());
        let (format, others): (Vec<_>, Vec<_>) = ids.partition(|id| id.starts_with("kopia."));
        for some in others.chunks(AT_A_TIME).chain(format.chunks(AT_A_TIME)) {
            let removed = connections.write(&writer, Input::Nothing, &Watch::default(), |command| {
                command.args(["blob", "delete", "--dangerous-commands=enabled"]).args(some);
            })?;
            removed.well(&self.options.storage.address())?;
        }
        Ok(())
    }
}
