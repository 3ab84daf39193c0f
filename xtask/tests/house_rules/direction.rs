//! Who may know whom. An edge that is not in these tables is refused; one that is added is a change to the architecture.

use crate::workspace::{Package, members};

/// A crate, the crates of the workspace that it may know, and those that only its tests may.
struct Edges {
    name: &'static str,
    knows: &'static [&'static str],
    tests_know: &'static [&'static str],
    why: &'static str,
}

/// From the bottom up: no crate knows one that comes after it, not even in its tests.
const EDGES: &[Edges] = &[
    Edges { name: "lastcopy-fs", knows: &[], tests_know: &[], why: "files are reached without knowing what they are for" },
    Edges {
        name: "lastcopy-store",
        knows: &["lastcopy-fs"],
        tests_know: &[],
        why: "the rules of the index hold whatever walks, pushes or deletes",
    },
    Edges {
        name: "lastcopy-index",
        knows: &["lastcopy-fs", "lastcopy-store"],
        tests_know: &[],
        why: "what is there has nothing to do with where copies go",
    },
    Edges {
        name: "lastcopy-sync",
        knows: &["lastcopy-fs", "lastcopy-store"],
        tests_know: &["lastcopy-index"],
        why: "the order of a push is the same for every kind of destination",
    },
    Edges { name: "lastcopy-program", knows: &[], tests_know: &[], why: "it drives any program" },
    Edges {
        name: "lastcopy-sync-cas",
        knows: &["lastcopy-fs", "lastcopy-store", "lastcopy-sync"],
        tests_know: &["lastcopy-index"],
        why: "a kind of destination knows no other kind",
    },
    Edges {
        name: "lastcopy-sync-kopia",
        knows: &["lastcopy-fs", "lastcopy-program", "lastcopy-store", "lastcopy-sync"],
        tests_know: &["lastcopy-index"],
        why: "a kind of destination knows no other kind",
    },
    Edges {
        name: "lastcopy-sync-mirror",
        knows: &["lastcopy-fs", "lastcopy-program", "lastcopy-store", "lastcopy-sync"],
        tests_know: &[],
        why: "a kind of destination knows no other kind",
    },
    Edges {
        name: "lastcopy-offload",
        knows: &["lastcopy-fs", "lastcopy-store"],
        tests_know: &["lastcopy-index"],
        why: "confirmation reaches it as a trait of its own: it must not depend on how copies are made",
    },
    Edges {
        name: "lastcopy-restore",
        knows: &["lastcopy-fs", "lastcopy-store", "lastcopy-sync"],
        tests_know: &["lastcopy-index", "lastcopy-sync-cas"],
        why: "any kind of destination gives bytes back through the one trait",
    },
    Edges {
        name: "lastcopy",
        knows: &[
            "lastcopy-fs",
            "lastcopy-index",
            "lastcopy-offload",
            "lastcopy-restore",
            "lastcopy-store",
            "lastcopy-sync",
            "lastcopy-sync-cas",
            "lastcopy-sync-kopia",
            "lastcopy-sync-mirror",
        ],
        tests_know: &[],
        why: "the binary stitches everything together",
    },
    Edges {
        name: "lastcopy-model",
        knows: &["lastcopy-fs", "lastcopy-offload", "lastcopy-store"],
        tests_know: &[],
        why: "the decisions in it are the shipped ones; what must always hold asks none of them",
    },
    Edges { name: "lastcopy-scene", knows: &[], tests_know: &[], why: "what lies on a disk is looked at with nobody's code" },
    Edges { name: "lastcopy-stepper", knows: &[], tests_know: &[], why: "it traces any program" },
    Edges {
        name: "lastcopy-crashes",
        knows: &["lastcopy-scene", "lastcopy-stepper"],
        tests_know: &[],
        why: "whoever looks for lost data shares no code with what might have lost it",
    },
    Edges {
        name: "lastcopy-durability",
        knows: &["lastcopy-scene", "lastcopy-stepper"],
        tests_know: &[],
        why: "what is durable is judged by system calls and by what a file system gives back",
    },
    Edges {
        name: "lastcopy-races",
        knows: &["lastcopy-scene"],
        tests_know: &[],
        why: "whoever looks for lost data shares no code with what might have lost it",
    },
    Edges {
        name: "lastcopy-histories",
        knows: &[
            "lastcopy-fs",
            "lastcopy-index",
            "lastcopy-offload",
            "lastcopy-restore",
            "lastcopy-store",
            "lastcopy-sync",
            "lastcopy-sync-cas",
        ],
        tests_know: &[],
        why: "histories are carried out by the crates that ship; its oracle asks none of them what may go",
    },
    Edges {
        name: "lastcopy-decoders",
        knows: &[
            "lastcopy-fs",
            "lastcopy-index",
            "lastcopy-restore",
            "lastcopy-store",
            "lastcopy-sync",
            "lastcopy-sync-cas",
            "lastcopy-sync-kopia",
            "lastcopy-sync-mirror",
            "lastcopy",
        ],
        tests_know: &[],
        why: "it hands bytes to every decoder, wherever that is",
    },
    Edges { name: "xtask", knows: &[], tests_know: &[], why: "whatever it wants to know of the product it asks the binary" },
];

/// Libraries that only some crates may see.
struct Reserved {
    names: &'static [&'static str],
    users: &'static [&'static str],
    /// Crates that may have them in their tests.
    tests_of: &'static [&'static str],
    /// Whether the reliability harness may have them.
    in_proofs: bool,
    why: &'static str,
}

const RESERVED: &[Reserved] = &[
    Reserved {
        names: &["rusqlite", "refinery"],
        users: &["lastcopy-store"],
        // The binary's tests damage indexes, and compare them.
        tests_of: &["lastcopy"],
        // An oracle reads the index without asking the store.
        in_proofs: true,
        why: "SQL outside of the store would go round its rules",
    },
    Reserved {
        names: &["clap", "clap_complete", "clap_mangen", "anyhow", "toml_edit", "indicatif", "dialoguer"],
        users: &["lastcopy", "xtask"],
        tests_of: &[],
        in_proofs: true,
        why: "libraries see no command line, no configuration file and no terminal, and their errors have types",
    },
    Reserved {
        names: &["annotate-snippets", "anstream", "anstyle", "etcetera"],
        users: &["lastcopy"],
        tests_of: &[],
        in_proofs: false,
        why: "only the binary shows anything or knows a home directory",
    },
    Reserved {
        names: &["tokio", "async-trait"],
        users: &[
            "lastcopy-program",
            "lastcopy-sync",
            "lastcopy-sync-cas",
            "lastcopy-sync-kopia",
            "lastcopy-sync-mirror",
            "lastcopy-restore",
            "lastcopy",
        ],
        tests_of: &[],
        in_proofs: true,
        why: "asynchronous is only what waits on the world; index, gate and removal are blocking code",
    },
];

fn check(package: &Package) -> Vec<String> {
    let Some(place) = EDGES.iter().position(|edges| edges.name == package.name) else {
        return vec![format!("{} is not in the table of edges", package.name)];
    };
    let edges = &EDGES[place];
    let mut findings = Vec::new();
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        if EDGES.iter().any(|edges| edges.name == name) {
            let allowed = edges.knows.contains(&name) || dependency.is_dev() && edges.tests_know.contains(&name);
            if !allowed {
                findings.push(format!("{} may not know {name}: {}", edges.name, edges.why));
            }
        }
        for reserved in RESERVED.iter().filter(|reserved| reserved.names.contains(&name)) {
            let in_tests = dependency.is_dev() && reserved.tests_of.contains(&edges.name);
            let in_proof = package.is_proof() && reserved.in_proofs;
            if !reserved.users.contains(&edges.name) && !in_tests && !in_proof {
                findings.push(format!("{} may not use {name}: {}", edges.name, reserved.why));
            }
        }
    }
    findings
}

#[test]
fn nobody_knows_whom_they_should_not() {
    let findings: Vec<_> = members().into_iter().flat_map(check).collect();
    crate::hold(&findings, "the direction of dependencies is the architecture: see ARCHITECTURE.md");
}

#[test]
fn the_table_has_no_edge_upwards_and_names_no_crate_that_is_gone() {
    for (place, edges) in EDGES.iter().enumerate() {
        assert!(members().iter().any(|package| package.name == edges.name), "{} is gone", edges.name);
        for known in edges.knows.iter().chain(edges.tests_know) {
            let below = EDGES[..place].iter().any(|below| below.name == *known);
            assert!(below, "{} is not below {}", known, edges.name);
        }
    }
}

#[test]
fn the_rule_can_fail() {
    use crate::workspace::Dependency;
    #[track_caller]
    fn check_one(from: &str, to: &str, kind: Option<&str>, allowed: bool) {
        let dependency = Dependency { name: to.into(), rename: None, kind: kind.map(str::to_owned) };
        let manifest_path = crate::workspace::root().join("crates/any/Cargo.toml");
        let package = Package { name: from.into(), dependencies: vec![dependency], manifest_path, ..Package::default() };
        assert_eq!(check(&package).is_empty(), allowed, "{from} to {to}");
    }
    check_one("lastcopy-offload", "lastcopy-store", None, true);
    check_one("lastcopy-offload", "lastcopy-sync", None, false);
    check_one("lastcopy-offload", "lastcopy-sync-cas", Some("dev"), false);
    check_one("lastcopy-restore", "lastcopy-sync-cas", Some("dev"), true);
    check_one("lastcopy-restore", "lastcopy-sync-cas", None, false);
    check_one("lastcopy-store", "lastcopy-index", None, false);
    check_one("lastcopy-index", "rusqlite", None, false);
    check_one("lastcopy-index", "rusqlite", Some("dev"), false);
    check_one("lastcopy-store", "rusqlite", None, true);
    check_one("lastcopy", "rusqlite", Some("dev"), true);
    check_one("lastcopy", "rusqlite", None, false);
    check_one("lastcopy-sync", "clap", None, false);
    check_one("lastcopy-newcomer", "serde", None, false);
}
