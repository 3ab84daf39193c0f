//! What a mirror asks of rclone, by name: each function is one of rclone's own, with its answer in types.

use crate::batch::Batch;
use crate::daemon::{Daemon, INDEX_REMOTE, Options, variable};
use crate::layout::SEALED;
use crate::rc::RcError;
use crate::wire::Entry;
use lastcopy_fs::{Cancelled, Id128};
use lastcopy_program::Body;
use lastcopy_sync::DestinationError;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// The largest object that is read into memory.
const SMALL: u64 = 1 << 20;
/// Remotes that stand before others do so at most this deep.
const DEEPEST: usize = 8;

/// The process that serves a mirror, and all its scratch parts.
#[derive(Default)]
pub(crate) struct Slot(Mutex<Option<Arc<Daemon>>>);

impl Slot {
    /// Ends the running one.
    pub(crate) fn end(&self) {
        if let Some(daemon) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            daemon.end();
        }
    }

    /// The running one, or a new one.
    fn daemon(&self, options: &Options, runtime: &tokio::runtime::Handle) -> Result<Arc<Daemon>, DestinationError> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(daemon) = slot.as_ref().filter(|daemon| !daemon.has_ended()) {
            return Ok(daemon.clone());
        }
        let daemon = Arc::new(Daemon::start(options, runtime)?);
        *slot = Some(daemon.clone());
        Ok(daemon)
    }
}

/// What a place can do, as rclone says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Features {
    /// The place, as the backend describes it.
    pub(crate) backend: String,
    /// The kind of backend, by rclone's name; none for a remote over others, and where it cannot be told.
    pub(crate) kind: Option<String>,
    /// Names of hashes that it serves, whoever computed them.
    pub(crate) hashes: Vec<String>,
    /// The directory, if it is one of this machine's.
    pub(crate) local: Option<PathBuf>,
    /// It stands before other remotes.
    pub(crate) wraps: bool,
    /// It can move an object without copying it.
    pub(crate) moves: bool,
}

/// One place, reached through one rclone.
#[derive(Clone)]
pub(crate) struct Remote {
    daemon: Arc<Daemon>,
    /// As rclone writes it.
    pub(crate) fs: String,
    pub(crate) features: Features,
    /// The same place for heads and segments, if they are encrypted.
    sealed: Option<String>,
}

impl Remote {
    /// Reaches a place; starts rclone if it does not run. Blocks.
    pub(crate) fn reach(slot: &Slot, options: &Options, runtime: &tokio::runtime::Handle) -> Result<Self, DestinationError> {
        let daemon = slot.daemon(options, runtime)?;
        let features = Features { backend: String::new(), kind: None, hashes: Vec::new(), local: None, wraps: false, moves: false };
        let sealed = options.index_password.as_ref().map(|_| sealed(&options.remote));
        let mut remote = Self { daemon, fs: options.remote.clone(), features, sealed };
        let answer = remote.daemon.rc.call("operations/fsinfo", &json!({ "fs": remote.fs }));
        let answer = answer.map_err(|error| remote.error(&error))?;
        let flag = |name: &str| answer["Features"][name].as_bool().unwrap_or(false);
        // What stands before other remotes gives hashes of theirs, of its own, or of long ago.
        let over_others = flag("Overlay") || flag("WrapFs");
        let mut types = Vec::new();
        remote.types_below(&options.remote, options, DEEPEST, &mut types);
        let is_one_of = |names: &[&str]| types.iter().any(|kind| names.contains(&kind.as_str()));
        if is_one_of(&["cache"]) {
            let reason = "what a remote of type `cache` holds may lie on this machine alone; name the remote behind it".into();
            return Err(DestinationError::Unsupported(reason));
        }
        let root = answer["Root"].as_str().map(PathBuf::from).filter(|root| root.is_absolute());
        remote.features = Features {
            backend: answer["String"].as_str().unwrap_or_default().to_owned(),
            hashes: answer["Hashes"].as_array().into_iter().flatten().filter_map(|hash| Some(hash.as_str()?.to_owned())).collect(),
            // A wrapper over a local directory is none: what lies there are other bytes.
            local: root.filter(|_| flag("IsLocal") && !over_others),
            wraps: over_others,
            kind: answer["Name"].as_str().filter(|_| !over_others).and_then(|name| remote.kind_of(name, options)),
            // These say so where they copy and remove, or move a file in pieces, and remove some if the others do not come.
            moves: flag("Move") && !is_one_of(&["union", "combine", "chunker", "compress", "filelu"]),
        };
        Ok(remote)
    }

    /// The place with heads and segments: this one, or what is encrypted in it.
    pub(crate) fn index(&self) -> Self {
        Self { fs: self.sealed.clone().unwrap_or_else(|| self.fs.clone()), ..self.clone() }
    }

    /// A text as it becomes with the password of the index; nothing without one.
    pub(crate) fn sealed(&self, text: &str) -> Result<Option<String>, RcError> {
        let Some(fs) = &self.sealed else { return Ok(None) };
        let answer = self.daemon.rc.call("backend/command", &json!({ "command": "encode", "fs": fs, "arg": [text] }))?;
        let sealed = answer["result"][0].as_str().map(str::to_owned);
        sealed.map(Some).ok_or_else(|| RcError::Refused("rclone encodes in other words".into()))
    }

    /// The kind of backend of a remote by its name, from wherever rclone takes it, in that order. An alias is not asked about: rclone
    /// names what it stands for.
    fn kind_of(&self, name: &str, options: &Options) -> Option<String> {
        // What is in braces tells apart two sets of options of one remote.
        let name = name.split('{').next().unwrap_or_default();
        name.strip_prefix(':').map(str::to_owned).or_else(|| self.setting(name, "type", options))
    }

    /// A setting of a remote: given here, in the environment, or in rclone's own configuration.
    fn setting(&self, name: &str, setting: &str, options: &Options) -> Option<String> {
        if let Some(value) = options.setting(name, setting).or_else(|| std::env::var_os(variable(name, setting))) {
            return value.into_string().ok();
        }
        let answer = self.daemon.rc.call("config/get", &json!({ "name": name })).ok()?;
        answer[setting].as_str().map(str::to_owned)
    }

    /// The types of a place's remote and of those that it stands before, as far as settings tell.
    fn types_below(&self, place: &str, options: &Options, deep: usize, found: &mut Vec<String>) {
        let Some(Connection { name, given }) = Connection::read(place).filter(|_| deep > 0) else { return };
        let own = |wanted: &str| given.iter().rev().find(|(key, _)| key == wanted).map(|(_, value)| value.clone());
        let given = own("type").filter(|_| !name.starts_with(':'));
        found.extend(given.or_else(|| self.kind_of(name, options)));
        let setting = |wanted: &str| own(wanted).or_else(|| self.setting(name, wanted, options)).unwrap_or_default();
        self.types_below(&setting("remote"), options, deep - 1, found);
        // The one before had another name.
        for other in ["upstreams", "remotes"].into_iter().flat_map(|list| spaced(&setting(list))) {
            self.types_below(&other, options, deep - 1, found);
            // Those of `combine` have a directory's name before an equals sign, which may hold anything else.
            if let Some((_, place)) = other.split_once('=') {
                self.types_below(place, options, deep - 1, found);
            }
        }
    }

    /// The version of the program that serves it.
    pub(crate) fn version(&self) -> &str {
        &self.daemon.program.version
    }

    /// What an error means for the destination as a whole.
    pub(crate) fn error(&self, error: &RcError) -> DestinationError {
        let address = self.fs.clone();
        match error {
            RcError::NotFound(reason) => DestinationError::Unreachable { address, reason: reason.clone() },
            RcError::Refused(reason) if is_full(reason) => DestinationError::Full { address },
            RcError::Refused(reason) if is_forbidden(reason) => DestinationError::Auth { address, reason: reason.clone() },
            RcError::Refused(reason) => DestinationError::Unreachable { address, reason: reason.clone() },
            RcError::Silent(reason) => {
                DestinationError::Unreachable { address, reason: format!("{reason}; its last words: {}", self.daemon.last_words()) }
            }
        }
    }

    /// An error that concerns everything, not only one file.
    pub(crate) fn fatal(&self, error: &RcError) -> Option<DestinationError> {
        match error {
            RcError::Silent(_) => Some(self.error(error)),
            RcError::Refused(reason) if is_full(reason) => Some(self.error(error)),
            RcError::NotFound(_) | RcError::Refused(_) => None,
        }
    }

    /// That rclone answers still, whatever came of a question.
    pub(crate) fn still_serves(&self) -> Result<(), DestinationError> {
        match self.daemon.rc.call("rc/noop", &json!({})) {
            Err(error @ RcError::Silent(_)) => Err(self.error(&error)),
            _ => Ok(()),
        }
    }

    /// Ends rclone: whatever waits for it gets an error.
    pub(crate) fn end(&self) {
        self.daemon.end();
    }

    /// What lies at a path; nothing, if nothing does.
    pub(crate) fn stat(&self, path: &str) -> Result<Option<Entry>, RcError> {
        self.stat_with(path, "", json!({ "noModTime": true, "noMimeType": true }))
    }

    /// The same, with a hash by this name, if there is one.
    pub(crate) fn stat_hashed(&self, path: &str, hash: &str) -> Result<Option<Entry>, RcError> {
        self.stat_with(path, hash, json!({ "noModTime": true, "noMimeType": true, "showHash": true, "hashTypes": [hash] }))
    }

    fn stat_with(&self, path: &str, hash: &str, options: Value) -> Result<Option<Entry>, RcError> {
        let answer = self.daemon.rc.call_long("operations/stat", &json!({ "fs": self.fs, "remote": path, "opt": options }))?;
        match &answer["item"] {
            Value::Null => Ok(None),
            item => Entry::read(item, hash)
                .map(Some)
                .ok_or_else(|| RcError::Refused("rclone describes an object in other words".into())),
        }
    }

    /// What lies in a directory, with BLAKE3 if that is wanted and there; [`RcError::NotFound`] if there is none.
    pub(crate) fn list(&self, dir: &str, hashed: bool) -> Result<Vec<Entry>, RcError> {
        let options = json!({ "noModTime": true, "noMimeType": true, "showHash": hashed, "hashTypes": ["blake3"] });
        let answer = self.daemon.rc.call_long("operations/list", &json!({ "fs": self.fs, "remote": dir, "opt": options }))?;
        Entry::list(&answer, "blake3").ok_or_else(|| RcError::Refused("rclone lists in other words".into()))
    }

    /// The names in a directory of ours; none if it is not there.
    pub(crate) fn names(&self, dir: &str) -> Result<Vec<String>, RcError> {
        match self.list(dir, false) {
            Ok(entries) => Ok(entries.into_iter().map(|entry| entry.name).collect()),
            Err(RcError::NotFound(_)) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Every file below a directory, by depth first; directories that `skip` names are left out.
    pub(crate) fn walk(
        &self,
        dir: &str,
        hashed: bool,
        skip: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(Entry) -> Result<(), RcError>,
    ) -> Result<(), RcError> {
        let mut dirs = vec![dir.to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in self.list(&dir, hashed)? {
                if !entry.is_dir {
                    each(entry)?;
                } else if !skip(&entry.path) {
                    dirs.push(entry.path);
                }
            }
        }
        Ok(())
    }

    /// Sends an open file to a path where nothing is; whatever is there stays, and nothing is said of it. The descriptor is what is read:
    /// nobody can put another file in its place. Without `compare`, rclone does not ask for a hash of what arrived: whoever asks by
    /// himself would have it computed twice.
    pub(crate) fn send(&self, file: &File, path: &str, compare: bool) -> Result<(), RcError> {
        self.copy_in(file, path, json!({ "IgnoreExisting": true, "IgnoreChecksum": !compare }))
    }

    /// The same with many files at once, so many at a time. After an error, some may have been sent.
    pub(crate) fn send_all<'a>(
        &self,
        files: impl Iterator<Item = (&'a File, &'a str)>,
        compare: bool,
        transfers: usize,
    ) -> Result<(), RcError> {
        let batch = Batch::of(self.daemon.private(), files).map_err(|error| RcError::Refused(error.to_string()))?;
        let input = json!({
            "srcFs": format!(":local,copy_links:{}", batch.path().display()),
            "dstFs": self.fs,
            "_config": {
                "IgnoreExisting": true,
                "IgnoreChecksum": !compare,
                // What lies there was listed; of a directory with a million files, nobody wants to list it for each batch.
                "NoTraverse": true,
                "NoUpdateDirModTime": true,
                "Transfers": transfers,
                "Checkers": transfers,
            },
        });
        self.daemon.rc.call_long("sync/copy", &input).map(drop)
    }

    fn copy_in(&self, file: &File, path: &str, config: Value) -> Result<(), RcError> {
        let input = json!({
            "srcFs": format!(":local,copy_links:/proc/{}/fd", std::process::id()),
            "srcRemote": file.as_raw_fd().to_string(),
            "dstFs": self.fs,
            "dstRemote": path,
            "_config": config,
        });
        self.daemon.rc.call_long("operations/copyfile", &input).map(drop)
    }

    /// Writes a small object of ours, in place of an older one if there is one, and reads it back.
    pub(crate) fn put_small(&self, path: &str, bytes: &[u8], replace: bool) -> Result<(), DestinationError> {
        let file = temporary(bytes).map_err(|source| DestinationError::Io { address: "a temporary file".into(), source })?;
        // The bytes decide, not what rclone would compare.
        let config = if replace { json!({ "IgnoreTimes": true }) } else { json!({ "IgnoreExisting": true }) };
        self.copy_in(&file, path, config).map_err(|error| self.error(&error))?;
        self.settle()?;
        let found = self.read_small(path).map_err(|error| self.error(&error))?;
        if found.as_deref() == Some(bytes) {
            return Ok(());
        }
        let address = format!("{}/{path}", self.fs);
        match replace {
            true => Err(DestinationError::Damaged {
                what: "an object that was just written".into(),
                address,
                detail: "other bytes come back".into(),
            }),
            false => Err(DestinationError::Occupied { address, reason: "something else is there already".into() }),
        }
    }

    /// A small object, whole; `None` if it is not there.
    pub(crate) fn read_small(&self, path: &str) -> Result<Option<Vec<u8>>, RcError> {
        let object = match self.read(path) {
            Ok(object) => object,
            Err(RcError::NotFound(_)) => return Ok(None),
            // Beneath something that is no directory, there is nothing.
            Err(RcError::Refused(reason)) if in_the_way(&reason) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        object.take(SMALL + 1).read_to_end(&mut bytes).map_err(|error| RcError::Silent(error.to_string()))?;
        if bytes.len() as u64 > SMALL { Err(RcError::Refused(format!("{path} is too large"))) } else { Ok(Some(bytes)) }
    }

    /// Opens an object for reading. That it is not there, rclone says also of one that it could not open, whatever the reason: a quota, a
    /// right, an archive. So whether it is there is asked once more.
    pub(crate) fn read(&self, path: &str) -> Result<Body, RcError> {
        match self.daemon.rc.read(&self.fs, path, None) {
            Err(error @ RcError::NotFound(_)) => match self.stat(path)? {
                None => Err(error),
                // No object has that name.
                Some(entry) if entry.is_dir => Err(error),
                Some(_) => Err(RcError::Refused(format!("{path} is there, and cannot be opened"))),
            },
            answer => answer,
        }
    }

    /// Moves an object to where nothing is.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), RcError> {
        let config = json!({ "IgnoreExisting": true });
        let input = json!({ "srcFs": self.fs, "srcRemote": from, "dstFs": self.fs, "dstRemote": to, "_config": config });
        self.daemon.rc.call_long("operations/movefile", &input).map(drop)
    }

    /// Copies an object to where nothing is.
    pub(crate) fn duplicate(&self, from: &str, to: &str) -> Result<(), RcError> {
        let config = json!({ "IgnoreExisting": true });
        let input = json!({ "srcFs": self.fs, "srcRemote": from, "dstFs": self.fs, "dstRemote": to, "_config": config });
        self.daemon.rc.call_long("operations/copyfile", &input).map(drop)
    }

    /// Removes one object: only after its bytes were proven elsewhere.
    pub(crate) fn remove_moved(&self, path: &str) -> Result<(), RcError> {
        self.daemon.rc.call("operations/deletefile", &json!({ "fs": self.fs, "remote": path })).map(drop)
    }

    /// Removes directories that hold nothing.
    pub(crate) fn remove_empty(&self, dir: &str) -> Result<(), RcError> {
        self.daemon.rc.call("operations/rmdirs", &json!({ "fs": self.fs, "remote": dir })).map(drop)
    }

    /// Removes everything: of a scratch part.
    pub(crate) fn purge(&self) -> Result<(), RcError> {
        match self.daemon.rc.call_long("operations/purge", &json!({ "fs": self.fs, "remote": "" })) {
            Err(RcError::NotFound(_)) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Bytes that rclone moved since it started.
    pub(crate) fn moved_bytes(&self) -> Result<u64, RcError> {
        let answer = self.daemon.rc.call("core/stats", &json!({}))?;
        Ok(answer["bytes"].as_u64().unwrap_or(0))
    }

    /// Makes what lies there durable, where that is ours to do: rclone syncs nothing on a local disk, nor does a person who copies.
    pub(crate) fn settle(&self) -> Result<(), DestinationError> {
        let Some(root) = &self.features.local else {
            // What stands before other remotes may have put it on any disk of this machine.
            if self.features.wraps {
                lastcopy_fs::sync_everything();
            }
            return Ok(());
        };
        let synced = lastcopy_fs::Dir::open(root).and_then(|dir| lastcopy_fs::sync_stored(&dir));
        synced.map_err(|source| DestinationError::of_disk(self.fs.clone(), source))
    }
}

/// A file with these bytes, which nobody else can open by a name.
fn temporary(bytes: &[u8]) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(bytes)?;
    Ok(file)
}

/// A place below another one, as rclone writes it.
pub(crate) fn below(fs: &str, part: &str) -> String {
    let separator = if fs.ends_with(':') || fs.ends_with('/') { "" } else { "/" };
    format!("{fs}{separator}{part}")
}

/// The remote that encrypts what it puts below a place, as rclone writes it.
fn sealed(fs: &str) -> String {
    format!("{INDEX_REMOTE},remote=\"{}\":", below(fs, SEALED).replace('"', "\"\""))
}

/// The name of a scratch part.
pub(crate) fn scratch_name() -> Result<String, DestinationError> {
    let id = Id128::random().map_err(|source| DestinationError::Io { address: "random numbers".into(), source })?;
    Ok(format!(".lastcopy-test-{id}"))
}

fn is_full(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["no space left", "quota", "insufficient storage", "disk full", "not enough space"].iter().any(|text| reason.contains(text))
}

fn is_forbidden(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    let texts = [
        "permission denied",
        "access denied",
        "accessdenied",
        "forbidden",
        "unauthorized",
        "unable to authenticate",
        "unable to decrypt configuration",
    ];
    texts.iter().any(|text| reason.contains(text))
}

/// Whether an operation failed because a file is where a directory should be, or the reverse.
pub(crate) fn in_the_way(reason: &str) -> bool {
    ["not a directory", "is a directory", "file exists"].iter().any(|text| reason.contains(text))
}

/// Whether a name has no room there.
pub(crate) fn too_long(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    ["name too long", "filename too long", "keytoolong", "key too long"].iter().any(|text| reason.contains(text))
}

/// What an error of reading means.
pub(crate) fn read_failed(error: RcError) -> io::Error {
    match error {
        RcError::NotFound(reason) => io::Error::new(io::ErrorKind::NotFound, reason),
        RcError::Refused(reason) if in_the_way(&reason) => io::Error::new(io::ErrorKind::NotFound, reason),
        other => io::Error::other(other.to_string()),
    }
}

/// Whether this is only that somebody asked to stop.
pub(crate) fn cancelled() -> DestinationError {
    Cancelled.into()
}

/// A place as rclone's documentation of connection strings has it, without its path: `name,key=value,…:path`.
#[derive(Debug, PartialEq, Eq)]
struct Connection<'a> {
    name: &'a str,
    given: Vec<(String, String)>,
}

impl<'a> Connection<'a> {
    /// None of a path on this machine.
    fn read(place: &'a str) -> Option<Self> {
        // A remote without a name begins with a colon.
        let end = place.char_indices().skip(1).find(|(_, character)| matches!(character, ':' | ',')).map(|(end, _)| end)?;
        let (name, mut rest) = place.split_at(end);
        let mut given = Vec::new();
        while let Some(setting) = rest.strip_prefix(',') {
            let end = setting.find(['=', ',', ':']).unwrap_or(setting.len());
            let (key, after) = setting.split_at(end);
            // A setting without a value is switched on.
            let (value, after) = after.strip_prefix('=').map_or_else(|| ("true".into(), after), value_of);
            given.push((key.to_owned(), value));
            rest = after;
        }
        (!name.contains('/')).then_some(Self { name, given })
    }
}

/// The value at the start of a text, and what follows it. In quotes, a doubled one stands for itself.
fn value_of(text: &str) -> (String, &str) {
    let Some(quote) = text.chars().next().filter(|first| matches!(first, '\'' | '"')) else {
        let end = text.find([',', ':']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut rest) = (String::new(), &text[1..]);
    while let Some((before, after)) = rest.split_once(quote) {
        value.push_str(before);
        let Some(after) = after.strip_prefix(quote) else { return (value, after) };
        value.push(quote);
        rest = after;
    }
    value.push_str(rest);
    (value, "")
}

/// What stands between spaces; in double quotes, with them.
fn spaced(list: &str) -> Vec<String> {
    let (mut found, mut rest) = (Vec::new(), list.trim_start());
    while !rest.is_empty() {
        let (word, after) = match rest.starts_with('"') {
            true => value_of(rest),
            false => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        found.push(word);
        rest = after.trim_start();
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of rclone's documentation, and what is inside of one.
    #[test]
    fn connection_strings_are_read_as_rclone_does() {
        let read = |place| {
            let Connection { name, given } = Connection::read(place).unwrap();
            (name, given.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>())
        };
        assert_eq!(read("box:dir"), ("box", vec![]));
        assert_eq!(read(":sftp,host=example.com,user=you:path"), (":sftp", vec!["host=example.com".into(), "user=you".into()]));
        assert_eq!(read("drive,shared_with_me:"), ("drive", vec!["shared_with_me=true".into()]));
        let inside = r#":alias,remote=":union,upstreams='box: :cache,remote=other:':":dir"#;
        assert_eq!(read(inside), (":alias", vec!["remote=:union,upstreams='box: :cache,remote=other:':".into()]));
        assert_eq!(read(r#"a,b="c""d'",e='f''g':"#), ("a", vec![r#"b=c"d'"#.into(), "e=f'g".into()]));
        assert_eq!(read("a,b='never closed").1, ["b=never closed"]);
        for none in ["/a/b:c", "relative", "", ":"] {
            assert_eq!(Connection::read(none), None, "{none}");
        }
        assert_eq!(spaced(r#" one:a  "two:b c" dir=three:"#), ["one:a", "two:b c", "dir=three:"]);
    }
}
