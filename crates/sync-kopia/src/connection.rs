//! The two connections of a destination: one that writes, and one that reads and has no cache.

use crate::options::Options;
use crate::program::{self, Input, Watch, flag, meaning};
use crate::wire::{FORMAT_BLOB, repository_id};
use lastcopy_program::PrivateDir;
use lastcopy_store::Incarnation;
use lastcopy_sync::{DestinationError, Probe};
use serde_json::Value;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What may lie in an empty directory: what a file system makes by itself, and what kopia left when somebody tried to connect there.
const NOTHING: [&str; 2] = ["lost+found", ".shards"];
/// What kopia says where it finds no repository. A disk that is away, a missing bucket and a lost format blob give the same.
const NOT_INITIALIZED: &str = "repository not initialized in the provided storage";
/// What it says where its own blobs are, and `create` was asked for.
const OCCUPIED: &str = "found existing data in storage location";
/// What of directories is kept for the next snapshot, in MiB; contents of files are not.
const METADATA_CACHE: &str = "1000";

/// How directories of connections begin, and those of caches. Neither begins with the other: where both lie in one place, whoever removes
/// what the dead left of one kind touches nothing of the other.
const PRIVATE: &str = "lastcopy-kopia-";
const CACHE: &str = "lastcopy-cache-";

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Writer,
    Reader,
}

/// The files of both connections, in a directory of our own, gone with this.
pub(crate) struct Connections {
    pub(crate) options: Options,
    private: PrivateDir,
}

/// A connection that writes, with a cache that began with it: one that is older believes in what the storage has lost since. Each session
/// has its own, so that none takes another's away.
pub(crate) struct Writer {
    /// What names the secrets of the storage: in the private directory.
    config: tempfile::TempDir,
    /// It may grow, and that one may lie in memory.
    cache: PrivateDir,
}

impl Writer {
    fn config(&self) -> PathBuf {
        self.config.path().join("config")
    }

    fn cache(&self) -> PathBuf {
        self.cache.path().join("cache")
    }
}

impl Connections {
    pub(crate) fn new(options: Options) -> Result<Self, DestinationError> {
        let failed = |source| DestinationError::Io { address: "a directory for kopia's connections".into(), source };
        let private = PrivateDir::new(PRIVATE).map_err(failed)?;
        Ok(Self { options, private })
    }

    /// The configuration of a reader, or the one that each writer's is made of.
    fn config(&self, side: Side) -> PathBuf {
        self.private.path().join(match side {
            Side::Writer => "writer.config",
            Side::Reader => "reader.config",
        })
    }

    /// Where a server may listen.
    pub(crate) fn socket(&self, number: u64) -> PathBuf {
        self.private.path().join(format!("s{number}"))
    }

    /// A command of kopia's over the connection that reads.
    pub(crate) fn command(&self) -> Command {
        self.command_over(&self.config(Side::Reader))
    }

    fn command_over(&self, config: &Path) -> Command {
        let mut command = program::command(&self.options);
        command.arg(flag("config-file", config)).arg(flag("log-dir", self.private.path().join("log")));
        command.args(["--file-log-level=warning", "--no-persist-credentials", "--no-auto-maintenance"]);
        command
    }

    /// Runs a command that reads.
    pub(crate) fn read(&self, watch: &Watch, add: impl FnOnce(&mut Command)) -> Result<program::Finished, DestinationError> {
        let mut command = self.command();
        add(&mut command);
        program::run(&self.options, command, Input::Nothing, watch)
    }

    /// Runs a command that writes.
    pub(crate) fn write(
        &self,
        writer: &Writer,
        input: Input,
        watch: &Watch,
        add: impl FnOnce(&mut Command),
    ) -> Result<program::Finished, DestinationError> {
        let mut command = self.command_over(&writer.config());
        add(&mut command);
        program::run(&self.options, command, input, watch)
    }

    /// What an error in words means here.
    pub(crate) fn meaning(&self, words: &str) -> DestinationError {
        meaning(&self.options.storage.address(), words)
    }

    fn token(&self) -> Result<(Input, &'static str), DestinationError> {
        let token = self.options.storage.token().unwrap_or_default();
        let failed = |source| DestinationError::Io { address: "a temporary file".into(), source };
        Ok((Input::bytes(token.as_bytes()).map_err(failed)?, "--token-stdin"))
    }

    /// Connects the reader, if it is not done yet. `Err` in words is kopia's refusal.
    pub(crate) fn connect(&self) -> Result<Result<(), String>, DestinationError> {
        let config = self.config(Side::Reader);
        if config.exists() {
            return Ok(Ok(()));
        }
        // A cache would answer for packs that are gone.
        self.connect_as(&config, |command| {
            command.args(["--readonly", "--content-cache-size-mb=0", "--metadata-cache-size-mb=0"]);
        })
    }

    /// A connection that writes, with a cache of its own.
    pub(crate) fn writer(&self) -> Result<Result<Writer, String>, DestinationError> {
        let failed = |source| DestinationError::Io { address: "a directory for kopia's cache".into(), source };
        let (writer, first) = (self.new_writer()?, self.config(Side::Writer));
        if let Some(config) = fs::read(&first).ok().and_then(|bytes| with_cache(&bytes, &writer.cache())) {
            write_private(&writer.config(), &config).map_err(failed)?;
            return Ok(Ok(writer));
        }
        let connected = self.connect_as(&writer.config(), |command| cache_in(command, &writer.cache()))?;
        if connected.is_ok() {
            fs::read(writer.config()).and_then(|config| write_private(&first, &config)).map_err(failed)?;
        }
        Ok(connected.map(|()| writer))
    }

    fn new_writer(&self) -> Result<Writer, DestinationError> {
        let failed = |source| DestinationError::Io { address: "a directory for kopia's cache".into(), source };
        let config = tempfile::tempdir_in(self.private.path()).map_err(failed)?;
        Ok(Writer { config, cache: PrivateDir::for_much(CACHE).map_err(failed)? })
    }

    fn connect_as(&self, config: &Path, add: impl FnOnce(&mut Command)) -> Result<Result<(), String>, DestinationError> {
        if self.options.storage.has_cache() {
            return Err(DestinationError::Unsupported(format!(
                "{} has rclone keep a cache on this machine, which would give back what has rotted there: take `--vfs-cache-mode` out of it",
                self.options.storage.address()
            )));
        }
        let (input, argument) = match self.options.storage.file() {
            Some(file) => (Input::Nothing, flag("file", file)),
            None => {
                let (input, argument) = self.token()?;
                (input, argument.into())
            }
        };
        let mut command = self.command_over(config);
        command.args(["repository", "connect", "from-config"]).arg(argument).arg("--disable-repository-format-cache");
        add(&mut command);
        let answer = program::run(&self.options, command, input, &Watch::default())?;
        Ok(if answer.ok && config.exists() { Ok(()) } else { Err(answer.words) })
    }

    /// Forgets both connections.
    pub(crate) fn forget(&self) -> Result<(), DestinationError> {
        [Side::Writer, Side::Reader].into_iter().try_for_each(|side| gone(fs::remove_file(self.config(side))))
    }

    /// Who is there. Creates nothing. What cannot be had over a connection to what was there before is asked over a new one.
    pub(crate) fn probe(&self) -> Result<Probe, DestinationError> {
        self.ask(true)
    }

    /// The same while something is going on, over the connection that there is. In a directory, the blob by which kopia knows the repository
    /// says it; to start kopia would tell no more.
    pub(crate) fn probe_again(&self) -> Result<Probe, DestinationError> {
        self.ask(false)
    }

    fn ask(&self, anew: bool) -> Result<Probe, DestinationError> {
        let local = self.options.storage.local_path();
        let blob = match &local {
            Some(root) => match look(root) {
                Ok(Local::Repository(id)) => Some(id),
                Ok(Local::Nothing) => return Ok(Probe::Nothing),
                Ok(Local::CannotTell(reason)) => return Ok(Probe::CannotTell(reason)),
                Err(error) => return Ok(Probe::CannotTell(error.to_string())),
            },
            None => None,
        };
        if let (false, Some(id)) = (anew, &blob) {
            return Ok(Probe::Found(Incarnation::new(id.as_str())));
        }
        let mut answer = self.who(blob.as_deref())?;
        if answer.is_err() && anew {
            self.forget()?;
            answer = self.who(None)?;
        }
        Ok(match answer {
            Ok(id) if blob.as_ref().is_some_and(|blob| *blob != id) => {
                Probe::CannotTell(format!("kopia says that it is {id}, and its format blob says something else"))
            }
            Ok(id) => Probe::Found(Incarnation::new(id)),
            Err(words) if words.contains(program::WRONG_PASSWORD) => return Err(self.meaning(&words)),
            Err(words) if words.contains(NOT_INITIALIZED) && local.is_none() => Probe::NoPlace,
            Err(words) => Probe::CannotTell(words),
        })
    }

    /// The repository's own id, read live; kopia's words, if there is none to be had.
    fn who(&self, blob: Option<&str>) -> Result<Result<String, String>, DestinationError> {
        let is_new = !self.config(Side::Reader).exists();
        if let Err(words) = self.connect()? {
            return Ok(Err(words));
        }
        // kopia opened it just now, and the blob by which it knows it was the same before and after: another process would say no more.
        let local = self.options.storage.local_path();
        if let (true, Some(id), Some(root)) = (is_new, blob, local)
            && local_id(&root).as_deref() == Some(id)
        {
            return Ok(Ok(id.to_owned()));
        }
        let answer = self.read(&Watch::default(), |command| {
            command.args(["repository", "status", "--json"]);
        })?;
        if !answer.ok {
            return Ok(Err(answer.words));
        }
        let status: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
        let id = status["uniqueIDHex"].as_str().filter(|id| is_hex(id));
        Ok(id.map(str::to_owned).ok_or_else(|| "kopia tells its repository's identity in other words".into()))
    }

    /// Makes a repository where nothing is. Only `init` may ask for it.
    pub(crate) fn create(&self) -> Result<(), DestinationError> {
        let address = self.options.storage.address();
        let refused = |reason: String| DestinationError::Occupied { address: address.clone(), reason };
        if self.options.storage.file().is_some() {
            return Err(DestinationError::Unsupported(
                "a repository that is given by a configuration file of kopia's is joined, not made".into(),
            ));
        }
        if let Some(root) = self.options.storage.local_path() {
            match look(&root) {
                Ok(Local::Nothing) => {}
                Ok(Local::Repository(id)) => return Err(refused(format!("it holds the repository {id} already"))),
                Ok(Local::CannotTell(reason)) => return Err(refused(reason)),
                Err(source) => return Err(DestinationError::Io { address, source }),
            }
        }
        self.forget()?;
        let (input, argument) = self.token()?;
        // What it connects to by that is not kept: the next writer has a cache of its own.
        let writer = self.new_writer()?;
        let answer = self.write(&writer, input, &Watch::default(), |command| {
            command.args(["repository", "create", "from-config", argument, "--disable-repository-format-cache"]);
            cache_in(command, &writer.cache());
        })?;
        if !answer.ok && answer.words.contains(OCCUPIED) {
            return Err(refused(answer.words));
        }
        answer.well(&address)?;
        self.settle()
    }

    /// Makes durable what lies there, where that is ours to do: kopia syncs its files, and no directory; who copies a repository, neither.
    pub(crate) fn sync(&self) -> Result<(), DestinationError> {
        match self.options.storage.local_path() {
            Some(root) => {
                let synced = lastcopy_fs::Dir::open(&root).and_then(|dir| lastcopy_fs::sync_stored(&dir));
                synced.map_err(|source| DestinationError::of_disk(self.options.storage.address(), source))
            }
            None => {
                // rclone may have put it on any disk of this machine.
                if self.options.storage.is_rclone() {
                    lastcopy_fs::sync_everything();
                }
                Ok(())
            }
        }
    }

    /// The same, and what is read from now on comes from the device.
    pub(crate) fn settle(&self) -> Result<(), DestinationError> {
        self.sync()?;
        let dropped = self.options.storage.local_path().map_or(Ok(()), |root| drop_packs(&root));
        dropped.map_err(|source| DestinationError::Io { address: self.options.storage.address(), source })
    }
}

/// Of directories, something is kept for the next snapshot; of contents of files, nothing.
fn cache_in(command: &mut Command, dir: &Path) {
    command.arg(flag("cache-directory", dir));
    command.args(["--content-cache-size-mb=0", &format!("--metadata-cache-size-mb={METADATA_CACHE}")]);
}

/// A configuration of kopia's with another cache; nothing, if it names none.
fn with_cache(config: &[u8], cache: &Path) -> Option<Vec<u8>> {
    let mut config: Value = serde_json::from_slice(config).ok()?;
    let named = config.get_mut("caching")?.get_mut("cacheDirectory")?;
    *named = cache.to_str()?.into();
    serde_json::to_vec(&config).ok()
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(bytes)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn gone(removed: io::Result<()>) -> Result<(), DestinationError> {
    match removed {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DestinationError::Io { address: "a file of our own".into(), source })
        }
        _ => Ok(()),
    }
}

/// What lies in a directory of this machine.
enum Local {
    /// A repository, by the id in its format blob.
    Repository(String),
    /// Nothing: an empty directory that is there.
    Nothing,
    CannotTell(String),
}

/// kopia starts only where a repository was seen: its `connect` writes into what it looks at.
fn look(root: &Path) -> io::Result<Local> {
    match fs::read(root.join(FORMAT_BLOB)) {
        Ok(bytes) => {
            return Ok(match repository_id(&bytes) {
                Some(id) => Local::Repository(id),
                None => Local::CannotTell(format!("its {FORMAT_BLOB} is damaged")),
            });
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Err(_) => {}
    }
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Local::CannotTell("the directory does not exist; is its disk mounted?".into()));
        }
        entries => entries?,
    };
    for entry in entries {
        if !NOTHING.iter().any(|name| entry.as_ref().is_ok_and(|entry| entry.file_name() == *name)) {
            return Ok(Local::CannotTell(format!("it holds other files, and no {FORMAT_BLOB}")));
        }
    }
    Ok(Local::Nothing)
}

/// The id of a repository in a directory, without asking kopia.
pub(crate) fn local_id(root: &Path) -> Option<String> {
    match look(root) {
        Ok(Local::Repository(id)) => Some(id),
        _ => None,
    }
}

/// Forgets the pages of all packs, so that what is read comes from the device.
fn drop_packs(root: &Path) -> io::Result<()> {
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(entry.path());
            } else {
                match fs::File::open(entry.path()) {
                    Ok(file) => lastcopy_fs::drop_from_cache(&file)?,
                    // Somebody else's kopia tidies up.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_gets_a_cache_of_its_own() {
        let config = br#"{"storage":{"type":"x"},"caching":{"cacheDirectory":"../c","maxCacheSize":1}}"#;
        let changed: Value = serde_json::from_slice(&with_cache(config, Path::new("/own")).unwrap()).unwrap();
        assert_eq!((&changed["caching"]["cacheDirectory"], &changed["storage"]["type"]), (&"/own".into(), &"x".into()));
        for other in [&b"{}"[..], b"{\"caching\":{}}", b"", b"[]"] {
            assert_eq!(with_cache(other, Path::new("/own")), None);
        }
    }

    /// All may lie in one place, where whoever makes one removes what begins like it.
    #[test]
    fn directories_of_one_kind_are_called_like_no_other() {
        let kinds = [PRIVATE, CACHE, crate::push::STAGE];
        for (number, kind) in kinds.iter().enumerate() {
            assert!(kinds.iter().enumerate().all(|(other, name)| other == number || !name.starts_with(kind)), "{kind}");
        }
    }
}
