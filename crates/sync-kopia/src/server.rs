//! A server of kopia's over the connection that has no cache, on a socket of our own: listings, and the bytes of objects.

use crate::connection::Connections;
use crate::place::{Source, USER};
use crate::program::{not_started, words};
use crate::wire::{self, Snapshot};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lastcopy_fs::Id128;
use lastcopy_program::{Body, Http, Idle, Process, Silent};
use lastcopy_sync::DestinationError;
use serde_json::Value;
use std::io::Read;
use std::process::{ChildStdin, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Between two looks whether it has started.
const LOOK: Duration = Duration::from_millis(10);
/// How a server begins to log that it could not open its repository.
const NOT_OPENED: &str = "unable to open repository: ";
const OK: u16 = 200;
const NOT_FOUND: u16 = 404;

/// A running server.
pub(crate) struct Server {
    http: Http,
    process: Process,
    address: String,
    /// It ends when this does.
    _stdin: Option<ChildStdin>,
}

/// Whether a server's status says that its repository is open.
fn is_open(status: &Value) -> bool {
    status["connected"].as_bool() == Some(true)
}

/// Why an object did not come.
#[derive(Debug)]
pub(crate) enum Unread {
    /// It is not there.
    NotThere,
    /// It is there, and cannot be read; in words.
    Damaged(String),
    /// Nothing can be read at all.
    Gone(DestinationError),
}

impl Server {
    /// Starts it. Blocks until it answers.
    pub(crate) fn start(connections: &Connections, runtime: &tokio::runtime::Handle) -> Result<Self, DestinationError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let options = &connections.options;
        let socket = connections.socket(NUMBER.fetch_add(1, Ordering::Relaxed));
        let random = || Id128::random().map_err(|source| DestinationError::Io { address: "random numbers".into(), source });
        let password = format!("{}{}", random()?, random()?);
        let mut command = connections.command();
        command.args(["server", "start", "--insecure", "--no-grpc", "--no-control-api", "--no-persistent-logs"]);
        // Nobody but us can reach the socket; the tokens are against other pages of a browser.
        command.args(["--shutdown-on-stdin", "--disable-csrf-token-checks"]);
        // Otherwise kopia looks twice a second whether it has opened the repository, and serves nobody before it noticed.
        command.arg("--async-repo-connect");
        command.arg(format!("--address=unix:{}", socket.display()));
        command.env("KOPIA_SERVER_USERNAME", USER).env("KOPIA_SERVER_PASSWORD", &password);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let started = Process::start(command, words, None).map_err(|error| not_started(&options.program, &error))?;
        let authorization = Some(format!("Basic {}", BASE64.encode(format!("{USER}:{password}"))));
        let http = Http {
            program: "kopia",
            socket,
            authorization,
            runtime: runtime.clone(),
            patience: options.stall,
            idle: Some(Idle::default()),
        };
        let address = options.storage.address();
        let server = Self { http, process: started.process, address, _stdin: started.stdin };
        let begun = Instant::now();
        loop {
            let status = server.value("repo/status").unwrap_or_default();
            if is_open(&status) {
                return Ok(server);
            }
            if let Some(why) = server.not_opened(&status) {
                return Err(server.gone(&format!("kopia's server cannot open the repository: {why}")));
            }
            if server.process.has_ended() || begun.elapsed() > options.stall {
                return Err(server.gone(&format!("kopia's server did not start: {}", server.process.last_words())));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Whether it answers, with a repository open.
    pub(crate) fn answers(&self) -> bool {
        self.value("repo/status").is_ok_and(|status| is_open(&status))
    }

    /// Why it could not open the repository, going by its status. It would try again, ever more seldom, for as long as it is let.
    fn not_opened(&self, status: &Value) -> Option<String> {
        let log = self.value(&format!("tasks/{}/logs", status["initTaskID"].as_str()?)).ok()?;
        let mut said = log["logs"].as_array()?.iter().filter_map(|line| line["msg"].as_str());
        let why = said.find_map(|line| line.strip_prefix(NOT_OPENED))?;
        Some(why.split(", will keep trying").next().unwrap_or(why).to_owned())
    }

    /// Whether it is gone.
    pub(crate) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// Reads what was written since it started.
    pub(crate) fn refresh(&self) -> Result<(), DestinationError> {
        match self.http.post("api/v1/repo/sync", "{}".into(), Some(self.http.patience)) {
            Ok((OK, _)) => Ok(()),
            Ok((status, _)) => Err(self.gone(&format!("kopia's server does not refresh: status {status}"))),
            Err(Silent(reason)) => Err(self.gone(&reason)),
        }
    }

    fn gone(&self, reason: &str) -> DestinationError {
        DestinationError::Unreachable { address: self.address.clone(), reason: reason.to_owned() }
    }

    fn answer(&self, path: &str) -> Result<(u16, Vec<u8>), Silent> {
        let mut answer = self.http.get(&format!("api/v1/{path}"), None)?;
        let mut bytes = Vec::new();
        answer.body.read_to_end(&mut bytes).map_err(|error| Silent(error.to_string()))?;
        Ok((answer.status, bytes))
    }

    fn value(&self, path: &str) -> Result<Value, DestinationError> {
        let (status, bytes) = self.answer(path).map_err(|Silent(reason)| self.gone(&reason))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        if status == OK && !value.is_null() {
            return Ok(value);
        }
        let said = value["error"].as_str().unwrap_or("nothing that can be understood");
        Err(self.gone(&format!("kopia's server answers {path} with {status}: {said}")))
    }

    /// The sources of ours, of one volume or of all.
    pub(crate) fn sources(&self, volume: Option<Id128>) -> Result<Vec<Source>, DestinationError> {
        let host = volume.map(|volume| format!("&host={volume}")).unwrap_or_default();
        let answer = self.value(&format!("sources?userName={USER}{host}"))?;
        let list = answer["sources"].as_array().ok_or_else(|| self.gone("kopia lists its sources in other words"))?;
        let sources = list.iter().map(|source| &source["source"]).filter(|source| source["userName"] == USER);
        let ours = sources.filter_map(|source| Source::read(source["host"].as_str()?, source["path"].as_str()?));
        Ok(ours.filter(|source| volume.is_none_or(|volume| source.volume() == volume)).collect())
    }

    /// The snapshots of a source, oldest first.
    pub(crate) fn snapshots(&self, source: Source) -> Result<Vec<Snapshot>, DestinationError> {
        let (volume, path) = (source.volume(), source.path());
        let answer = self.value(&format!("snapshots?userName={USER}&host={volume}&path={path}&all=1"))?;
        wire::snapshots(&answer).ok_or_else(|| self.gone("kopia lists its snapshots in other words"))
    }

    /// The policy that is set for all sources of a volume; nothing, if none is.
    pub(crate) fn policy(&self, volume: Id128) -> Result<Option<Value>, DestinationError> {
        let path = format!("policy?userName={USER}&host={volume}&path=");
        let (status, bytes) = self.answer(&path).map_err(|Silent(reason)| self.gone(&reason))?;
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match status {
            OK if !value.is_null() => Ok(Some(value)),
            _ if value["code"] == "NOT_FOUND" => Ok(None),
            _ => Err(self.gone(&format!("kopia's server tells no policies: status {status}"))),
        }
    }

    /// Opens an object.
    pub(crate) fn read(&self, object: &str) -> Result<Body, Unread> {
        // By a name that tells its type: kopia would read the beginning twice to find it out.
        match self.http.get(&format!("api/v1/objects/{object}?fname=object.json"), None) {
            Ok(answer) if answer.status == OK && answer.body.length.is_some() => Ok(answer.body),
            Ok(answer) if answer.status == NOT_FOUND => Err(Unread::NotThere),
            Ok(answer) => Err(Unread::Damaged(format!("kopia answers with status {}", answer.status))),
            Err(Silent(reason)) => Err(self.unread(&reason)),
        }
    }

    /// What it means that an object broke off. At one that cannot be decrypted, kopia drops the connection, and goes on.
    pub(crate) fn unread(&self, reason: &str) -> Unread {
        if !self.has_ended() && self.answers() {
            Unread::Damaged("kopia breaks off reading it".into())
        } else {
            Unread::Gone(self.gone(&format!("{reason}: {}", self.process.last_words())))
        }
    }
}
