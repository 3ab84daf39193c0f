//! The workspace as cargo and git see it.

use crate::source::code_of;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A package, ours or another's.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) repository: Option<String>,
    pub(crate) publish: Option<Vec<String>>,
    pub(crate) manifest_path: PathBuf,
    pub(crate) dependencies: Vec<Dependency>,
}

/// A dependency as declared.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) rename: Option<String>,
    /// Nothing for an ordinary one, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

impl Dependency {
    pub(crate) fn is_dev(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

impl Package {
    pub(crate) fn dir(&self) -> &Path {
        self.manifest_path.parent().expect("a manifest lies in a directory")
    }

    /// Whether it is a program of the reliability harness: it talks to people, and nobody else uses it.
    pub(crate) fn is_proof(&self) -> bool {
        self.dir().starts_with(root().join("proof"))
    }

    /// Rust files below one of its directories, with their path from the root of the workspace.
    pub(crate) fn sources(&self, below: &str) -> Vec<Source> {
        let mut files = Vec::new();
        list(&self.dir().join(below), &mut files);
        files.sort();
        files.iter().filter(|file| file.extension().is_some_and(|end| end == "rs")).map(|file| Source::read(file)).collect()
    }
}

/// A Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The same, with comments and literals blanked.
    pub(crate) code: String,
}

impl Source {
    fn read(file: &Path) -> Self {
        let text = std::fs::read_to_string(file).expect("a source file");
        let path = file.strip_prefix(root()).unwrap_or(file).display().to_string();
        Self { path, code: code_of(&text), text }
    }
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            list(&path, files);
        } else {
            files.push(path);
        }
    }
}

pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned())
}

/// What `cargo metadata` says: every package that the workspace is built from on Linux.
pub(crate) fn packages() -> &'static [Package] {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    static PACKAGES: OnceLock<Vec<Package>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
            .args(["metadata", "--locked", "--format-version", "1", "--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(root())
            .output()
            .expect("cargo metadata");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Metadata>(&output.stdout).expect("what cargo metadata prints").packages
    })
}

/// Our own packages.
pub(crate) fn members() -> Vec<&'static Package> {
    let members: Vec<_> = packages().iter().filter(|package| package.manifest_path.starts_with(root())).collect();
    assert!(members.len() >= 9, "the workspace has lost members: {members:?}");
    members
}

/// Our libraries: every crate but the binary, the reliability harness, and these checks.
pub(crate) fn libraries() -> Vec<&'static Package> {
    let program = |package: &Package| matches!(package.name.as_str(), "lastcopy" | "xtask") || package.is_proof();
    members().into_iter().filter(|package| !program(package)).collect()
}

/// Sources of all libraries.
pub(crate) fn library_sources() -> Vec<Source> {
    let sources: Vec<_> = libraries().iter().flat_map(|package| package.sources("src")).collect();
    assert!(sources.len() > 50, "only {} source files were found", sources.len());
    sources
}

/// Every text file that git tracks, with its path; nothing where this is no checkout.
pub(crate) fn tracked() -> Option<Vec<(String, String)>> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().ok();
    let listed = listed.filter(|output| output.status.success() && !output.stdout.is_empty())?;
    let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    let names = names.map(|name| std::str::from_utf8(name).expect("our own files have names in UTF-8"));
    // A file that is deleted and not committed yet is still listed; one that is no text holds no words.
    Some(names.filter_map(|name| Some((name.to_owned(), std::fs::read_to_string(root().join(name)).ok()?))).collect())
}

/// Says that a test cannot run here, in the way that `cargo xtask ci` counts.
pub(crate) fn skip(name: &str, why: &str) {
    use std::io::Write;
    drop(writeln!(std::io::stderr(), "skipped: {name}: {why}"));
    if let Some(file) = std::env::var_os("LASTCOPY_SKIPPED_TESTS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(file).expect("the list of skipped tests");
        file.write_all(format!("{name}: {why}\n").as_bytes()).expect("the list of skipped tests");
    }
}
