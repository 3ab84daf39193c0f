//! References under `docs/` that are generated from the code.

use crate::cargo::{build, output, program, root};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// A file under `docs/`, and what it has to say.
struct Reference {
    file: &'static str,
    text: String,
}

/// Writes them all.
pub(crate) fn write() -> Result<()> {
    std::fs::create_dir_all(docs())?;
    for Reference { file, text } in all()? {
        let path = docs().join(file);
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            say!("wrote docs/{file}");
        }
    }
    Ok(())
}

/// Shows how each differs from what the code says. Whether any does.
pub(crate) fn check() -> Result<bool> {
    let mut stale = false;
    for Reference { file, text } in all()? {
        let path = docs().join(file);
        if std::fs::read_to_string(&path).ok().as_ref() == Some(&text) {
            continue;
        }
        stale = true;
        let generated = tempfile::NamedTempFile::new()?;
        std::fs::write(generated.path(), text)?;
        let old = if path.exists() { path } else { "/dev/null".into() };
        let mut diff = program("diff");
        diff.args(["-u", "--label", &format!("docs/{file}"), "--label", "what the code says"]).arg(old).arg(generated.path());
        // It ends with 1 because there are differences; they are on the terminal now.
        diff.status().context("cannot run diff")?;
    }
    if stale {
        say!("generated references are out of date: run `cargo xtask references`, and commit what it writes");
    }
    Ok(stale)
}

fn docs() -> PathBuf {
    root().join("docs")
}

/// Both gate tables, as the code has them.
pub(crate) fn gates() -> Result<String> {
    of(&built()?, "gates")
}

fn all() -> Result<Vec<Reference>> {
    let lastcopy = built()?;
    let files = ["cli.md", "configuration.md", "exit-codes.md", "gates.md", "schema.sql"];
    let reference = |file: &'static str| {
        let which = file.split_once('.').map_or(file, |(name, _)| name);
        Ok(Reference { file, text: of(&lastcopy, which)? })
    };
    files.into_iter().map(reference).collect()
}

/// The binary, which knows all of them: it has the parsers, the gates and the migrations.
fn built() -> Result<PathBuf> {
    Ok(build(&["lastcopy"])?.join("lastcopy"))
}

fn of(lastcopy: &Path, which: &str) -> Result<String> {
    let mut command = program(lastcopy);
    command.args(["reference", which]);
    output(command)
}
