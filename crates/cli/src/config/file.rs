//! The configuration file as written: every value with its place, so that whatever is wrong with it can be shown.

use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) node: Node,
    #[serde(default)]
    pub(super) volumes: BTreeMap<Spanned<String>, Volume>,
    #[serde(default)]
    pub(super) destinations: BTreeMap<Spanned<String>, Destination>,
    #[serde(default)]
    pub(super) peers: BTreeMap<Spanned<String>, toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Node {
    pub(super) name: Option<Spanned<String>>,
    pub(super) db: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Volume {
    pub(super) path: Spanned<String>,
    #[serde(default)]
    pub(super) sync_to: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) exclude: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) cross_mounts: bool,
    pub(super) offload: Option<Spanned<Offload>>,
    pub(super) hook: Option<Hook>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Offload {
    #[serde(default)]
    pub(super) require: Vec<Spanned<String>>,
    pub(super) at_least: Option<Spanned<AtLeast>>,
    pub(super) max_evidence_age: Option<Spanned<String>>,
    pub(super) confirm: Option<Spanned<String>>,
    pub(super) grace: Option<Spanned<String>>,
    pub(super) methods: Option<Spanned<Vec<Spanned<String>>>>,
    #[serde(default)]
    pub(super) any_filesystem: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AtLeast {
    pub(super) count: usize,
    pub(super) of: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hook {
    pub(super) command: Spanned<Vec<String>>,
    pub(super) timeout: Option<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Destination {
    pub(super) kind: Spanned<String>,
    pub(super) url: Option<Spanned<String>>,
    pub(super) remote: Option<Spanned<String>>,
    pub(super) rclone: Option<BTreeMap<Spanned<String>, Spanned<Setting>>>,
    pub(super) verify: Option<Spanned<String>>,
    pub(super) index_password: Option<Spanned<Secret>>,
    pub(super) repository: Option<Spanned<String>>,
    pub(super) options: Option<BTreeMap<Spanned<String>, Spanned<Setting>>>,
    pub(super) config_file: Option<Spanned<String>>,
    pub(super) password: Option<Spanned<Secret>>,
    pub(super) program: Option<Spanned<String>>,
    pub(super) transfers: Option<Spanned<usize>>,
    pub(super) checkers: Option<Spanned<usize>>,
    pub(super) bandwidth: Option<Spanned<String>>,
    pub(super) stall_timeout: Option<Spanned<String>>,
    pub(super) failure_domain: Option<Spanned<String>>,
}

/// An option of a program's: as it is, or a secret that lies elsewhere.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Setting {
    Text(String),
    Number(i64),
    Flag(bool),
    Secret(Secret),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Secret {
    pub(super) env: Option<String>,
    pub(super) file: Option<String>,
    pub(super) command: Option<Vec<String>>,
}
