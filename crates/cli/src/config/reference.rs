//! Every key of the configuration, for the documentation. A test holds it against what the reader accepts.

/// One key.
pub(super) struct Key {
    /// The section.
    pub(super) section: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// What kind of value.
    pub(super) kind: &'static str,
    /// What holds without it.
    pub(super) default: &'static str,
    /// What it means.
    pub(super) meaning: &'static str,
}

const fn key(section: &'static str, name: &'static str, kind: &'static str, default: &'static str, meaning: &'static str) -> Key {
    Key { section, name, kind, default, meaning }
}

pub(super) const KEYS: [Key; 37] = [
    key("node", "name", "text", "the host name", "The node's name, for people."),
    key(
        "node",
        "db",
        "path",
        "`~/.local/share/lastcopy/index.db`",
        "The index. On a local disk, outside of every volume if you can.",
    ),
    key("volumes.NAME", "path", "path", "required", "The tree. Absolute, or from `~/`."),
    key("volumes.NAME", "sync_to", "list of destinations", "none", "Where it is pushed."),
    key(
        "volumes.NAME",
        "exclude",
        "list of patterns",
        "none",
        "What is left out, in gitignore syntax. A `.lastcopyignore` file in any directory of the tree works, too. A destination of kind `kopia` stores the whole tree all the same.",
    ),
    key("volumes.NAME", "cross_mounts", "true or false", "false", "Whether what is mounted below the path belongs to it."),
    key("volumes.NAME", "offload", "table", "none", "The offload policy. Without it, nothing of the volume is ever deleted."),
    key("volumes.NAME", "hook", "table", "none", "Runs when an index run changed the volume; never twice at a time."),
    key(
        "volumes.NAME.offload",
        "require",
        "list of destinations",
        "none",
        "Every one must be proven to hold a file before it is deleted here.",
    ),
    key(
        "volumes.NAME.offload",
        "at_least",
        "table",
        "none",
        "Besides, so many of a list must; those in one failure domain, or on one device, count once.",
    ),
    key("volumes.NAME.offload", "max_evidence_age", "age", "`30d`", "Proof older than this does not count."),
    key(
        "volumes.NAME.offload",
        "confirm",
        "`quick`, `full` or `offline`",
        "`quick`",
        "At the moment of deletion: ask each destination that counts who it is and whether the object is there; or read every byte there again; or go by evidence alone.",
    ),
    key(
        "volumes.NAME.offload",
        "grace",
        "age",
        "none",
        "Keep what was offloaded in quarantine for so long first; `offload --undo` puts it back.",
    ),
    key(
        "volumes.NAME.offload",
        "methods",
        "list of methods",
        "all",
        "Accept only these proofs: `read-back`, `remote-hash`, `peer`, `fingerprint`.",
    ),
    key(
        "volumes.NAME.offload",
        "any_filesystem",
        "true or false",
        "false",
        "Also offload from file systems whose leases are not to be trusted, by a weaker protocol that hashes twice.",
    ),
    key("volumes.NAME.offload.at_least", "count", "number", "required", "How many."),
    key("volumes.NAME.offload.at_least", "of", "list of destinations", "required", "Of which."),
    key(
        "volumes.NAME.hook",
        "command",
        "list of texts",
        "required",
        "A program and its arguments; no shell. `LASTCOPY_VOLUME`, `_PATH`, `_RUN` and `_CHANGED` are in its environment.",
    ),
    key("volumes.NAME.hook", "timeout", "age", "`1h`", "A hook that takes longer is ended."),
    key(
        "destinations.NAME",
        "kind",
        "`cas`, `mirror` or `kopia`",
        "required",
        "What kind of place: an append-only content-addressed store, a browsable tree at any place that rclone reaches, or a repository of kopia's.",
    ),
    key("destinations.NAME", "url", "URL", "required for `cas`", "Where: `file:///path`."),
    key(
        "destinations.NAME",
        "remote",
        "text",
        "required for `mirror`",
        "A remote of rclone's configuration and a path in it, like `cloudbox:backup`; or an absolute local path.",
    ),
    key(
        "destinations.NAME",
        "verify",
        "`auto`, `remote-hash`, `fingerprint`, `read-back` or `none`",
        "`auto`",
        "Of a mirror: by the far side's own BLAKE3, where it computes one, else by another checksum of its own, else by reading every byte back; `none` can never open the offload gate.",
    ),
    key(
        "destinations.NAME",
        "rclone",
        "table",
        "none",
        "Of a mirror: the options of its remote, instead of those in rclone's configuration.",
    ),
    key(
        "destinations.NAME",
        "index_password",
        "`{ env = \"NAME\" }`, `{ file = \"…\" }` or `{ command = [\"…\"] }`",
        "none",
        "Of a mirror: what its segments (paths, times, history) are encrypted with, by rclone's `crypt`; the files themselves stay as they are. It is chosen before `destination init`, for good.",
    ),
    key(
        "destinations.NAME",
        "repository",
        "`filesystem`, `s3`, `sftp`, `webdav`, `rclone`, `b2`, `gcs` or `azure`",
        "none",
        "Of a `kopia`: the type of its storage, as kopia calls it.",
    ),
    key("destinations.NAME", "options", "table", "none", "Of a `kopia`: the options of that storage."),
    key(
        "destinations.NAME",
        "config_file",
        "path",
        "none",
        "Of a `kopia`, instead of `repository`: a configuration file of kopia's own, which is only read.",
    ),
    key(
        "destinations.NAME",
        "password",
        "`{ env = \"NAME\" }`, `{ file = \"…\" }` or `{ command = [\"…\"] }`",
        "required for `kopia`",
        "Of a `kopia`: the repository's password. It is passed by environment, and written nowhere.",
    ),
    key(
        "destinations.NAME",
        "program",
        "path",
        "`rclone`, `kopia`",
        "rclone 1.75 or newer, of a mirror; kopia 0.20 or newer, of a `kopia`.",
    ),
    key("destinations.NAME", "transfers", "number", "`8`", "Of a mirror or a `kopia`: files that are sent or read back at a time."),
    key("destinations.NAME", "checkers", "number", "`16`", "Of a mirror: files that are asked after at a time."),
    key("destinations.NAME", "bandwidth", "text", "none", "Of a mirror: a limit as rclone's `--bwlimit` takes it, like `8M`."),
    key(
        "destinations.NAME",
        "stall_timeout",
        "age",
        "`5m`",
        "Of a mirror or a `kopia`: a program that does nothing for so long is ended.",
    ),
    key(
        "destinations.NAME",
        "failure_domain",
        "text",
        "none",
        "A label: destinations with one label count once for `at_least`. One that is no directory of this machine counts beside others only with a label: nobody here sees what it shares with them.",
    ),
    key(
        "destinations.NAME.rclone",
        "OPTION",
        "text, number, true or false, `{ env = \"NAME\" }`, `{ file = \"…\" }` or `{ command = [\"…\"] }`",
        "none",
        "By rclone's names, as its configuration would hold it (`rclone obscure` for passwords). It is passed to rclone by environment, and written nowhere.",
    ),
    key(
        "destinations.NAME.options",
        "OPTION",
        "text, number, true or false, or a secret as of `password`",
        "none",
        "By the names that `kopia repository create TYPE --help` has, without the dashes before them.",
    ),
];

/// The reference, as Markdown.
pub(crate) fn render() -> String {
    let mut text = String::from(
        "# Configuration reference\n\nGenerated from the program by `cargo xtask references`; do not edit.\n\n\
         TOML, at `--config`, else `$LASTCOPY_CONFIG`, else `lastcopy/config.toml` in the XDG configuration directory. `lastcopy init`\n\
         writes a commented one; `lastcopy config check` says what is wrong with it. Unknown keys, missing values and policies that could\n\
         never be satisfied are refused when it is loaded.\n\n\
         Sizes read `500MB` or `2GiB`; ages read `90d` or `12h`.\n",
    );
    let mut section = "";
    for key in KEYS {
        if key.section != section {
            section = key.section;
            text.push_str(&format!("\n## `[{section}]`\n\n| key | value | default | meaning |\n|---|---|---|---|\n"));
        }
        text.push_str(&format!("| `{}` | {} | {} | {} |\n", key.name, key.kind, key.default, key.meaning));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::file::File;
    use std::collections::BTreeSet;

    /// The names that the reader expects in a section, from its own complaint about one that it does not know.
    fn accepted(document: &str) -> BTreeSet<String> {
        let error = toml::from_str::<File>(document).expect_err("the key is unknown").message().to_owned();
        let names = error.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
        assert!(names.contains("surely_unknown"), "{error}");
        names.into_iter().filter(|name| name != "surely_unknown").collect()
    }

    #[test]
    fn the_reference_names_every_key_that_is_read() {
        for (section, document) in [
            ("node", "[node]\nsurely_unknown = 1"),
            ("volumes.NAME", "[volumes.v]\npath = '/v'\nsurely_unknown = 1"),
            ("volumes.NAME.offload", "[volumes.v]\npath = '/v'\n[volumes.v.offload]\nsurely_unknown = 1"),
            ("volumes.NAME.offload.at_least", "[volumes.v]\npath = '/v'\n[volumes.v.offload.at_least]\nsurely_unknown = 1"),
            ("volumes.NAME.hook", "[volumes.v]\npath = '/v'\n[volumes.v.hook]\ncommand = []\nsurely_unknown = 1"),
            ("destinations.NAME", "[destinations.d]\nkind = 'cas'\nsurely_unknown = 1"),
        ] {
            let documented: BTreeSet<_> = KEYS.iter().filter(|key| key.section == section).map(|key| key.name.to_owned()).collect();
            assert_eq!(accepted(document), documented, "[{section}]");
        }
    }
}
