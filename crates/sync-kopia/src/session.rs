//! What is kept between one look who is there and the next: a server that reads, a writer with a fresh cache, and what both were asked.

use crate::connection::{Connections, Writer, local_id};
use crate::held::Held;
use crate::listing::Listing;
use crate::program::{Finished, Input, Watch};
use crate::server::{Server, Unread};
use crate::wire::Snapshot;
use lastcopy_fs::{Cancel, Content, Counting, Id128, Progress};
use lastcopy_store::{Incarnation, Proof, ProofError, Proven};
use lastcopy_sync::{DestinationError, Probe};
use std::io::{self, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Roots of snapshots that are tried before it is said that none can be read.
const ROOTS: usize = 10;

pub(crate) struct Session {
    pub(crate) connections: Arc<Connections>,
    /// Who answered.
    pub(crate) incarnation: Incarnation,
    runtime: tokio::runtime::Handle,
    server: Mutex<Option<Arc<Server>>>,
    writer: Mutex<Option<Arc<Writer>>>,
    /// The files of the volume that was pushed last, as kopia stored them.
    pub(crate) files: Mutex<Option<(Id128, Arc<Listing>)>>,
    pub(crate) held: Mutex<Option<Arc<Held>>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What reading an object found.
#[derive(Debug)]
pub(crate) enum Look {
    /// The very bytes.
    Proven(Proven),
    /// Other bytes.
    Other(Content),
    /// It is not there, in words.
    Absent,
    /// It cannot be read, in words.
    Damaged(String),
}

impl Session {
    pub(crate) fn new(connections: Arc<Connections>, incarnation: Incarnation, runtime: tokio::runtime::Handle) -> Self {
        let (server, writer, files, held) = Default::default();
        Self { connections, incarnation, runtime, server, writer, files, held }
    }

    /// Whether the repository is still where it was, as far as that can be seen without asking kopia.
    pub(crate) fn is_there(&self) -> bool {
        let local = self.connections.options.storage.local_path();
        local.is_none_or(|root| local_id(&root).as_deref() == Some(self.incarnation.as_str()))
    }

    /// The server that reads; started, if none runs.
    pub(crate) fn server(&self) -> Result<Arc<Server>, DestinationError> {
        let mut server = lock(&self.server);
        if let Some(running) = server.as_ref().filter(|running| !running.has_ended()) {
            return Ok(running.clone());
        }
        if let Err(words) = self.connections.connect()? {
            return Err(self.connections.meaning(&words));
        }
        let started = Arc::new(Server::start(&self.connections, &self.runtime)?);
        *server = Some(started.clone());
        Ok(started)
    }

    /// Runs a command that writes.
    pub(crate) fn write(&self, input: Input, watch: &Watch, add: impl FnOnce(&mut Command)) -> Result<Finished, DestinationError> {
        let writer = self.writer()?;
        if !self.is_there() {
            return Err(self.connections.meaning("the repository is not there any more; is its disk mounted?"));
        }
        self.connections.write(&writer, input, watch, add)
    }

    fn writer(&self) -> Result<Arc<Writer>, DestinationError> {
        let mut writer = lock(&self.writer);
        if let Some(writer) = writer.as_ref() {
            return Ok(writer.clone());
        }
        let connected = self.connections.writer()?.map_err(|words| self.connections.meaning(&words))?;
        Ok(writer.insert(Arc::new(connected)).clone())
    }

    /// Makes what was written durable and visible.
    pub(crate) fn settle(&self) -> Result<(), DestinationError> {
        *lock(&self.held) = None;
        self.connections.settle()?;
        self.server()?.refresh()
    }

    /// Reads an object to its end, and compares.
    pub(crate) fn look(
        &self,
        object: &str,
        content: Content,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Look, DestinationError> {
        let server = self.server()?;
        let body = match server.read(object) {
            Ok(body) => body,
            Err(Unread::NotThere) => return Ok(Look::Absent),
            Err(Unread::Damaged(reason)) => return Ok(Look::Damaged(reason)),
            Err(Unread::Gone(error)) => return Err(error),
        };
        match Proof::read_stream(content, Counting { from: body, cancel, progress }) {
            Ok(proof) => Ok(Look::Proven(proof.into())),
            Err(ProofError::Differs { found }) => Ok(Look::Other(found)),
            Err(error) => {
                cancel.check()?;
                match server.unread(&error.to_string()) {
                    Unread::Gone(error) => Err(error),
                    _ => Ok(Look::Damaged(error.to_string())),
                }
            }
        }
    }

    /// Reads an object to its end. Whatever goes wrong while it is written is taken for the object's.
    pub(crate) fn copy(&self, object: &str, into: &mut impl Write) -> Result<(), Unread> {
        let server = self.server().map_err(Unread::Gone)?;
        let copied = io::copy(&mut server.read(object)?, into);
        copied.map(drop).map_err(|error| server.unread(&error.to_string()))
    }

    /// A small object, whole.
    pub(crate) fn small(&self, object: &str) -> Result<Vec<u8>, Unread> {
        let mut bytes = Vec::new();
        self.copy(object, &mut bytes).map(|()| bytes)
    }

    /// Whether the repository is all there, as far as who it is tells; if not, why, in words.
    fn answers(&self) -> Result<(), String> {
        match self.connections.probe() {
            Ok(Probe::Found(found)) if found == self.incarnation => Ok(()),
            Ok(other) => Err(format!("the repository does not answer any more: {other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The same, before something that could not be read is read once more: by another server. The one that could not may have lost its way to
    /// the storage, with a child of its own that ended, while every other process finds it.
    pub(crate) fn answers_anew(&self) -> Result<(), String> {
        *lock(&self.server) = None;
        self.answers()
    }

    /// The same, after it: and the very server that could not read it can still read one of these snapshots' roots, if any can.
    pub(crate) fn answers_still(&self, snapshots: &[Snapshot]) -> Result<(), String> {
        let reads = || snapshots.iter().rev().take(ROOTS).any(|snapshot| self.small(&snapshot.root).is_ok());
        if !reads() {
            *lock(&self.server) = None;
            if reads() {
                return Err("kopia's server lost its way to the repository".into());
            }
        }
        self.answers()
    }
}

/// Does something with every item on several threads, until one fails or somebody stops it.
pub(crate) fn each<T: Send>(
    items: Vec<T>,
    threads: usize,
    cancel: &Cancel,
    work: impl Fn(T) -> Result<(), DestinationError> + Sync,
) -> Result<(), DestinationError> {
    let threads = threads.min(items.len()).max(1);
    let (items, failed) = (Mutex::new(items.into_iter()), Mutex::new(None));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !cancel.is_cancelled() && lock(&failed).is_none() {
                    let Some(item) = lock(&items).next() else { return };
                    if let Err(error) = work(item) {
                        lock(&failed).get_or_insert(error);
                    }
                }
            });
        }
    });
    cancel.check()?;
    lock(&failed).take().map_or(Ok(()), Err)
}
