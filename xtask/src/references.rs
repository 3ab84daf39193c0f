//! References under `docs/` that are generated from the code.

use crate::cargo::{cargo, output, program, root};
use crate::gates;
use anyhow::{Context, Result};
use lastcopy_store::{Store, StoreOptions, system_clock};
use std::path::PathBuf;

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

fn all() -> Result<Vec<Reference>> {
    let of_program = |which| output(cargo(&["run", "--locked", "--quiet", "--package", "lastcopy", "--", "reference", which]));
    Ok(vec![
        Reference { file: "cli.md", text: of_program("cli")? },
        Reference { file: "configuration.md", text: of_program("configuration")? },
        Reference { file: "exit-codes.md", text: of_program("exit-codes")? },
        Reference { file: "schema.sql", text: schema()? },
        Reference { file: "gates.md", text: gates::render() },
    ])
}

/// The schema of an index that was just made: all migrations, one after the other.
fn schema() -> Result<String> {
    let dir = tempfile::tempdir()?;
    let options =
        StoreOptions { path: dir.path().join("index.db"), node_name: "reference".into(), clock: system_clock(), create: true };
    let (store, _) = Store::open(options)?;
    Ok(format!(
        "-- The schema of the index, as `lastcopy db schema` prints it.\n\
         -- Generated from the code by `cargo xtask references`; do not edit.\n\n{}\n",
        store.schema()?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The references that need no program to be built; `cargo xtask ci` checks the others, too.
    #[test]
    fn schema_and_gates_are_what_the_code_says() {
        for (file, text) in [("schema.sql", schema().expect("an index")), ("gates.md", gates::render())] {
            let found = std::fs::read_to_string(docs().join(file)).expect(file);
            assert!(found == text, "docs/{file} is out of date: run `cargo xtask references`");
        }
    }
}
