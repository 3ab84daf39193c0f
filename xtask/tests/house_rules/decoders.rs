//! What comes from others is decoded where a fuzzer looks.

use crate::workspace::{Source, members, root};

/// Who invents bytes for what a file decodes.
#[derive(Debug, Clone, Copy)]
enum By {
    /// Fuzz targets.
    Targets(&'static [&'static str]),
    /// Nobody, for this reason.
    Nobody(&'static str),
}
use By::{Nobody, Targets};

/// Every file below `crates` that decodes JSON or TOML, outside of its tests.
const DECODES: &[(&str, By)] = &[
    (
        "crates/cli/src/commands/recover.rs",
        Nobody("one word of a marker, compared with those that are known; `identity` reads the whole"),
    ),
    ("crates/cli/src/config/check.rs", Targets(&["config"])),
    ("crates/cli/src/demo.rs", Nobody("lines that the program itself has just written")),
    ("crates/restore/src/recover.rs", Nobody("notes of earlier recoveries, from the index; `row` invents those")),
    ("crates/store/src/policy.rs", Targets(&["policy"])),
    ("crates/store/src/volume.rs", Targets(&["marker"])),
    ("crates/store/src/witness.rs", Targets(&["marker"])),
    ("crates/sync-cas/src/cas.rs", Targets(&["identity"])),
    ("crates/sync-kopia/src/connection.rs", Nobody("values of any shape, asked for single fields, from a kopia of this machine")),
    ("crates/sync-kopia/src/kopia.rs", Nobody("names of blobs in what a test made, from a kopia of this machine")),
    ("crates/sync-kopia/src/server.rs", Nobody("values of any shape; what of them comes from a repository is read by `wire`")),
    ("crates/sync-kopia/src/storage.rs", Nobody("a value of any shape, from a configuration that a person names")),
    ("crates/sync-kopia/src/wire.rs", Targets(&["kopia"])),
    ("crates/sync-mirror/src/rc.rs", Nobody("values of any shape; what of them comes from a mirror is read by `wire`")),
    ("crates/sync-mirror/src/wire.rs", Targets(&["identity", "rclone"])),
    ("crates/sync/src/segment.rs", Targets(&["head", "segment"])),
];

/// How decoding looks in code.
const CALLS: &[&str] = &["serde_json::from_", "toml::from_"];

fn decodes(source: &Source) -> bool {
    let code = source.code.split("#[cfg(test)]").next().unwrap_or_default();
    CALLS.iter().any(|call| code.contains(call))
}

fn check(sources: &[Source], known: &[(&str, By)], has_corpus: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| decodes(source)) {
        if known.iter().all(|(path, _)| *path != source.path) {
            findings.push(format!("{} decodes something", source.path));
        }
    }
    for (path, by) in known {
        if !sources.iter().any(|source| source.path == *path && decodes(source)) {
            findings.push(format!("{path} decodes nothing any more"));
        }
        match by {
            Targets(targets) => {
                let missing = targets.iter().filter(|target| !has_corpus(target));
                findings.extend(missing.map(|target| format!("{path}: there is no target {target}")));
            }
            Nobody(why) => assert!(!why.is_empty()),
        }
    }
    findings
}

#[test]
fn what_comes_from_others_is_fuzzed() {
    let all = members().into_iter().flat_map(|package| package.sources("src"));
    let sources: Vec<_> = all.filter(|source| source.path.starts_with("crates/")).collect();
    let has_corpus = |target: &str| root().join("fuzz/corpus").join(target).is_dir();
    let findings = check(&sources, DECODES, &has_corpus);
    crate::hold(&findings, "decode it where a fuzz target looks (proof/decoders), or say in this list why nobody has to");
}

#[test]
fn the_rule_can_fail() {
    let source = |path: &str, code: &str| Source { path: path.into(), text: code.into(), code: code.into() };
    let sources = [
        source("a.rs", "let x: X = serde_json::from_slice(b)?;"),
        source("b.rs", "fn f() {} #[cfg(test)] mod tests { toml::from_str(x) }"),
        source("c.rs", "toml::from_str(x)"),
    ];
    let known: &[(&str, By)] = &[("b.rs", Nobody("it is a test")), ("c.rs", Targets(&["c", "d"]))];
    let findings = check(&sources, known, &|target| target == "c");
    assert_eq!(findings, ["a.rs decodes something", "b.rs decodes nothing any more", "c.rs: there is no target d"]);
}
