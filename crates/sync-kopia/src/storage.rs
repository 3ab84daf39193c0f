//! The storages that a repository may lie in, and their options by the names that kopia's command line has for them.
//!
//! kopia is given them as one token on stdin: its arguments are for everybody to read, and some options are secrets.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What an option of kopia's takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Text,
    Number,
    /// `true` or `false`.
    Choice,
}

/// An option of a storage.
#[derive(Debug)]
struct Known {
    /// By its name on kopia's command line.
    flag: &'static str,
    /// By its name in kopia's configuration.
    field: &'static str,
    takes: Takes,
    /// What kopia's command line has for it, where nobody gave it, if its configuration would have something else.
    default: Option<&'static str>,
    needed: bool,
}

/// A kind of storage.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    options: &'static [Known],
    /// The option that tells one repository from another in the same storage, and what a part beside it is called.
    place: (&'static str, Beside),
}

/// How a part of the same storage is named.
#[derive(Debug, Clone, Copy)]
enum Beside {
    /// It lies in the same directory.
    Sibling,
    /// Its names begin with more.
    Prefix,
}

const fn text(flag: &'static str, field: &'static str) -> Known {
    Known { flag, field, takes: Takes::Text, default: None, needed: false }
}

const fn needed(flag: &'static str, field: &'static str) -> Known {
    Known { needed: true, ..text(flag, field) }
}

const fn choice(flag: &'static str, field: &'static str) -> Known {
    Known { takes: Takes::Choice, ..text(flag, field) }
}

const KINDS: &[Kind] = &[
    Kind { name: "filesystem", options: &[needed("path", "path")], place: ("path", Beside::Sibling) },
    Kind {
        name: "s3",
        options: &[
            needed("bucket", "bucket"),
            Known { default: Some("s3.amazonaws.com"), ..text("endpoint", "endpoint") },
            text("region", "region"),
            needed("access-key", "accessKeyID"),
            needed("secret-access-key", "secretAccessKey"),
            text("session-token", "sessionToken"),
            text("prefix", "prefix"),
            choice("disable-tls", "doNotUseTLS"),
            choice("disable-tls-verification", "doNotVerifyTLS"),
        ],
        place: ("prefix", Beside::Prefix),
    },
    Kind {
        name: "sftp",
        options: &[
            needed("path", "path"),
            needed("host", "host"),
            Known { takes: Takes::Number, default: Some("22"), ..text("port", "port") },
            needed("username", "username"),
            text("sftp-password", "password"),
            text("keyfile", "keyfile"),
            text("key-data", "keyData"),
            text("known-hosts", "knownHostsFile"),
            text("known-hosts-data", "knownHostsData"),
            choice("external", "externalSSH"),
            text("ssh-command", "sshCommand"),
            text("ssh-args", "sshArguments"),
        ],
        place: ("path", Beside::Sibling),
    },
    Kind {
        name: "webdav",
        options: &[
            needed("url", "url"),
            text("webdav-username", "username"),
            text("webdav-password", "password"),
            choice("atomic-writes", "atomicWrites"),
        ],
        place: ("url", Beside::Sibling),
    },
    Kind {
        name: "rclone",
        options: &[
            needed("remote-path", "remotePath"),
            text("rclone-exe", "rcloneExe"),
            Known { default: Some("true"), ..choice("atomic-writes", "atomicWrites") },
        ],
        place: ("remote-path", Beside::Sibling),
    },
    Kind {
        name: "b2",
        options: &[needed("bucket", "bucket"), needed("key-id", "keyID"), needed("key", "key"), text("prefix", "prefix")],
        place: ("prefix", Beside::Prefix),
    },
    Kind {
        name: "gcs",
        options: &[needed("bucket", "bucket"), text("credentials-file", "credentialsFile"), text("prefix", "prefix")],
        place: ("prefix", Beside::Prefix),
    },
    Kind {
        name: "azure",
        options: &[
            needed("container", "container"),
            needed("storage-account", "storageAccount"),
            text("storage-key", "storageKey"),
            text("storage-domain", "storageDomain"),
            text("sas-token", "sasToken"),
            text("tenant-id", "TenantID"),
            text("client-id", "ClientID"),
            text("client-secret", "ClientSecret"),
            text("prefix", "prefix"),
        ],
        place: ("prefix", Beside::Prefix),
    },
];

/// kopia's own name for the kind, where it is another one than on its command line.
fn configured(kind: &str) -> &str {
    if kind == "azure" { "azureBlob" } else { kind }
}

/// Why a storage is none that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// kopia has no such storage, or none that is known here.
    #[error("kopia has no storage `{kind}`; there are {known}", known = known_kinds())]
    Kind {
        /// As it was given.
        kind: String,
    },
    /// It has no such option.
    #[error("kopia's storage `{kind}` has no option `{option}`; it has {known}")]
    Option {
        /// The storage.
        kind: String,
        /// As it was given.
        option: String,
        /// What it has.
        known: String,
    },
    /// It cannot do without an option.
    #[error("kopia's storage `{kind}` needs the option `{option}`")]
    Missing {
        /// The storage.
        kind: String,
        /// The option.
        option: &'static str,
    },
    /// An option has a value that it cannot have.
    #[error("the option `{option}` takes {takes}")]
    Value {
        /// The option.
        option: String,
        /// What it takes.
        takes: &'static str,
    },
    /// The path of a repository has to be absolute.
    #[error("the path of a repository must be absolute")]
    Relative,
}

fn known_kinds() -> String {
    KINDS.iter().map(|kind| format!("`{}`", kind.name)).collect::<Vec<_>>().join(", ")
}

/// Where a repository lies. Holds secrets: it is never printed.
#[derive(Clone)]
pub struct Storage(Where);

#[derive(Clone)]
enum Where {
    Known { kind: &'static Kind, options: BTreeMap<String, OsString> },
    File(PathBuf),
}

/// The storage of a connection, as kopia's own configuration file describes it.
fn stored_by(file: &Path) -> Option<Value> {
    let mut config: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    Some(config["storage"].take())
}

impl Storage {
    /// A storage by the name of its kind, and its options, by the names that kopia's command line has for both.
    pub fn new(kind: &str, options: BTreeMap<String, OsString>) -> Result<Self, StorageError> {
        let found = KINDS.iter().find(|known| known.name == kind);
        let found = found.ok_or_else(|| StorageError::Kind { kind: kind.to_owned() })?;
        for option in options.keys() {
            if found.options.iter().all(|known| known.flag != option) {
                let known = found.options.iter().map(|known| format!("`{}`", known.flag)).collect::<Vec<_>>().join(", ");
                return Err(StorageError::Option { kind: kind.to_owned(), option: option.clone(), known });
            }
        }
        for known in found.options {
            let given = options.get(known.flag);
            if known.needed && given.is_none_or(|value| value.is_empty()) {
                return Err(StorageError::Missing { kind: kind.to_owned(), option: known.flag });
            }
            given.map_or(Ok(Value::Null), |value| known.value(value))?;
        }
        let storage = Self(Where::Known { kind: found, options });
        if storage.directory().is_some_and(|path| !path.is_absolute()) { Err(StorageError::Relative) } else { Ok(storage) }
    }

    /// The storage of a connection that a person has, by kopia's own configuration file. It is only read.
    pub fn of_file(file: PathBuf) -> Self {
        Self(Where::File(file))
    }

    /// A directory of this machine.
    pub fn directory_at(path: impl Into<OsString>) -> Result<Self, StorageError> {
        Self::new("filesystem", BTreeMap::from([("path".into(), path.into())]))
    }

    fn directory(&self) -> Option<PathBuf> {
        match &self.0 {
            Where::Known { kind, options } => options.get("path").filter(|_| kind.name == "filesystem").map(PathBuf::from),
            Where::File(_) => None,
        }
    }

    /// The directory, if it is one of this machine's.
    pub fn local_path(&self) -> Option<PathBuf> {
        let Where::File(file) = &self.0 else { return self.directory() };
        let storage = stored_by(file)?;
        let local = storage["type"].as_str() == Some("filesystem");
        storage["config"]["path"].as_str().filter(|_| local).map(PathBuf::from)
    }

    /// Whether rclone stores for kopia: where that puts it, nobody here knows.
    pub(crate) fn is_rclone(&self) -> bool {
        match &self.0 {
            Where::Known { kind, .. } => kind.name == "rclone",
            Where::File(file) => stored_by(file).is_some_and(|storage| storage["type"].as_str() == Some("rclone")),
        }
    }

    /// Whether a person's own connection has rclone keep what passes through it on this machine: that would answer for what has rotted.
    pub(crate) fn has_cache(&self) -> bool {
        let Some(storage) = self.file().and_then(stored_by).filter(|_| self.is_rclone()) else { return false };
        let words =
            ["rcloneArgs", "rcloneEnv"].into_iter().flat_map(|given| storage["config"][given].as_array().into_iter().flatten());
        let mut words = words.filter_map(Value::as_str).map(|word| word.to_ascii_lowercase().replace('-', "_"));
        words.any(|word| word.contains("vfs_cache_mode"))
    }

    /// The configuration file of a person's own connection, if it is given by that.
    pub(crate) fn file(&self) -> Option<&Path> {
        if let Where::File(file) = &self.0 { Some(file) } else { None }
    }

    /// Where it is, for people: without its secrets.
    pub fn address(&self) -> String {
        match &self.0 {
            Where::File(file) => {
                self.local_path().map_or_else(|| format!("the repository of {}", file.display()), |path| path.display().to_string())
            }
            Where::Known { kind, options } => {
                let shown = |name: &str| options.get(name).map(|value| Path::new(value).display().to_string()).unwrap_or_default();
                match kind.name {
                    "filesystem" => shown("path"),
                    "sftp" => format!("sftp://{}@{}{}", shown("username"), shown("host"), shown("path")),
                    "webdav" => shown("url"),
                    "rclone" => format!("rclone:{}", shown("remote-path")),
                    name => format!("{name}:{}{}/{}", shown("bucket"), shown("container"), shown("prefix")),
                }
            }
        }
    }

    /// As kopia is told where it is; nothing where a configuration file says it.
    pub(crate) fn token(&self) -> Option<String> {
        let Where::Known { kind, options } = &self.0 else { return None };
        let mut config = Map::new();
        for known in kind.options {
            // Every value was looked at when it was given.
            let value = match (options.get(known.flag), known.default) {
                (Some(value), _) => known.value(value).ok(),
                (None, Some(default)) => known.value(default.as_ref()).ok(),
                (None, None) => None,
            };
            config.extend(value.map(|value| (known.field.to_owned(), value)));
        }
        let token = json!({ "version": "1", "storage": { "type": configured(kind.name), "config": config } });
        Some(URL_SAFE_NO_PAD.encode(token.to_string()))
    }

    /// A part of the same storage by another name.
    pub(crate) fn beside(&self, name: &str) -> Option<Self> {
        let Where::Known { kind, options } = &self.0 else { return None };
        let (option, beside) = kind.place;
        let there = options.get(option).map_or(Some(""), |value| value.to_str())?;
        let part = match beside {
            Beside::Prefix => format!("{there}{name}/"),
            Beside::Sibling => {
                let whole = there.trim_end_matches('/');
                let parent = whole.rfind(['/', ':']).map_or("", |end| &whole[..=end]);
                format!("{parent}{name}")
            }
        };
        let mut options = options.clone();
        options.insert(option.to_owned(), part.into());
        Some(Self(Where::Known { kind, options }))
    }
}

impl Known {
    fn value(&self, given: &std::ffi::OsStr) -> Result<Value, StorageError> {
        let wrong = |takes| StorageError::Value { option: self.flag.to_owned(), takes };
        let text = std::str::from_utf8(given.as_bytes()).map_err(|_| wrong("text in UTF-8"))?;
        match self.takes {
            Takes::Text => Ok(text.into()),
            Takes::Number => text.parse::<u32>().map(Value::from).map_err(|_| wrong("a number")),
            Takes::Choice => text.parse::<bool>().map(Value::from).map_err(|_| wrong("`true` or `false`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(all: &[(&str, &str)]) -> BTreeMap<String, OsString> {
        all.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    }

    fn decoded(storage: &Storage) -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(storage.token().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn what_kopia_does_not_know_is_refused() {
        let refused = |kind: &str, all: &[(&str, &str)]| Storage::new(kind, options(all)).err();
        assert!(matches!(refused("ftp", &[]), Some(StorageError::Kind { .. })));
        assert!(matches!(refused("filesystem", &[("path", "/a"), ("pth", "/b")]), Some(StorageError::Option { .. })));
        assert!(matches!(refused("filesystem", &[]), Some(StorageError::Missing { option: "path", .. })));
        assert_eq!(refused("filesystem", &[("path", "a/b")]), Some(StorageError::Relative));
        let sftp = [("path", "/a"), ("host", "h"), ("username", "u")];
        assert_eq!(refused("sftp", &sftp), None);
        assert!(matches!(refused("sftp", &[&sftp[..], &[("port", "x")]].concat()), Some(StorageError::Value { .. })));
        assert!(matches!(refused("sftp", &[&sftp[..], &[("external", "yes")]].concat()), Some(StorageError::Value { .. })));
    }

    #[test]
    fn what_the_command_line_would_fill_in_is_filled_in() {
        let sftp =
            Storage::new("sftp", options(&[("path", "/a"), ("host", "h"), ("username", "u"), ("external", "true")])).unwrap();
        let config = &decoded(&sftp)["storage"]["config"];
        assert_eq!((config["port"].as_u64(), config["externalSSH"].as_bool()), (Some(22), Some(true)));
        let keys = [("bucket", "b"), ("access-key", "k"), ("secret-access-key", "s")];
        let bucket = Storage::new("s3", options(&keys)).unwrap();
        assert_eq!(decoded(&bucket)["storage"]["config"]["endpoint"], "s3.amazonaws.com");
    }

    #[test]
    fn a_cache_of_rclones_is_seen() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let has_cache = |kind: &str, config: Value| {
            std::fs::write(file.path(), json!({ "storage": { "type": kind, "config": config } }).to_string()).unwrap();
            Storage::of_file(file.path().to_owned()).has_cache()
        };
        assert!(has_cache("rclone", json!({ "rcloneArgs": ["--vfs-cache-mode", "full"] })));
        assert!(has_cache("rclone", json!({ "rcloneArgs": ["--vfs-cache-mode=writes"] })));
        assert!(has_cache("rclone", json!({ "rcloneEnv": ["RCLONE_VFS_CACHE_MODE=full"] })));
        assert!(!has_cache("rclone", json!({ "remotePath": "box:x", "rcloneArgs": ["--bwlimit", "8M"] })));
        assert!(!has_cache("filesystem", json!({ "path": "/x" })));
        assert!(!Storage::directory_at("/x").unwrap().has_cache());
    }

    #[test]
    fn an_address_tells_no_secret() {
        let keys = [("bucket", "b"), ("prefix", "p/"), ("access-key", "KEY"), ("secret-access-key", "SECRET")];
        let address = Storage::new("s3", options(&keys)).unwrap().address();
        assert_eq!(address, "s3:b/p/");
    }

    #[test]
    fn a_part_beside_lies_beside() {
        let place = |storage: Storage, field: &str| decoded(&storage.beside("part").unwrap())["storage"]["config"][field].clone();
        assert_eq!(place(Storage::directory_at("/mnt/repository/").unwrap(), "path"), "/mnt/part");
        let rclone = |path: &str| Storage::new("rclone", options(&[("remote-path", path)])).unwrap();
        assert_eq!(place(rclone("box:a/b"), "remotePath"), "box:a/part");
        assert_eq!(place(rclone("box:b"), "remotePath"), "box:part");
        let keys = [("bucket", "b"), ("prefix", "p/"), ("access-key", "k"), ("secret-access-key", "s")];
        assert_eq!(place(Storage::new("s3", options(&keys)).unwrap(), "prefix"), "p/part/");
    }
}
