//! The commented configuration that `init` writes.

/// What `init` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answers {
    pub(crate) node: String,
    pub(crate) volume: (String, String),
    pub(crate) destination: (String, String),
}

/// The file, with what was answered filled in and everything else as comments.
pub(crate) fn render(answers: &Answers) -> String {
    let text = |value: &str| toml_edit::Value::from(value).to_string();
    let key = |name: &str| toml_edit::Key::new(name).to_string();
    let (volume, path) = (key(&answers.volume.0), &answers.volume.1);
    let (destination, url) = (key(&answers.destination.0), &answers.destination.1);
    format!(
        r#"# lastcopy: what is cared for, and where copies are kept. docs/configuration.md explains every key.

[node]
name = {node}
# db = "~/.local/share/lastcopy/index.db"

[volumes.{volume}]
path    = {path}
sync_to = [{destination_text}]
# exclude = ["*.tmp", ".Trash-*/"]      # gitignore syntax; a .lastcopyignore file in the tree works, too
# cross_mounts = false                  # true: also walk what is mounted below the path

[volumes.{volume}.offload]              # without this section, nothing here is ever deleted
require = [{destination_text}]          # every one must be proven to hold a file before it is deleted here
# at_least = {{ count = 2, of = ["…", "…"] }}
# max_evidence_age = "30d"              # older proof does not count
# confirm = "quick"                     # at the moment of deletion: quick | full | offline
# grace = "24h"                         # keep what was offloaded in quarantine first
# methods = ["read-back"]               # accept only these proofs
# any_filesystem = false                # true: also where leases are not to be trusted, by a weaker protocol

# [volumes.{volume}.hook]               # runs when an index run changed the volume
# command = ["notify-send", "changed"]  # no shell; LASTCOPY_VOLUME, _PATH, _RUN, _CHANGED in its environment
# timeout = "1h"

[destinations.{destination}]
kind = "cas"                            # an append-only content-addressed store in a directory
url  = {url}
# failure_domain = "desk"               # those with one label count once for at_least
"#,
        node = text(&answers.node).trim(),
        path = text(path).trim(),
        destination_text = text(&answers.destination.0).trim(),
        url = text(url).trim(),
    )
}
