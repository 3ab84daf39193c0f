//! The whole protocol of an offload, beside a tool that also asks a second place before it deletes.

use super::child::timed;
use super::home::Home;
use super::table::Work;
use super::trees::{self, Size};
use super::{Bench, Row};
use crate::tools::{Tools, apt_install};
use anyhow::Result;
use std::path::Path;

/// An annex in `$1/annex` with the files of `$2`, all of them also at a directory remote; then the clock is started.
const PREPARE: &str = r#"
export HOME="$1" GIT_CONFIG_NOSYSTEM=1
mkdir -p "$1/remote"
cp -a "$2" "$1/annex"
cd "$1/annex"
rm -rf .lastcopy
git init -q
git config user.name bench
git config user.email bench@localhost
git annex init -q
git annex initremote -q disk type=directory directory="$1/remote" encryption=none
git annex add -q .
git commit -qm files
git annex copy -q --to disk
sync -f .
"#;

const DROP: &str = r#"
export HOME="$1" GIT_CONFIG_NOSYSTEM=1
cd "$1/annex"
git annex drop -q .
"#;

/// Nothing but links to what is not here any more.
const DROPPED: &str = r#"test -z "$(find "$1/annex/.git/annex/objects" -type f)" && chmod -R u+w "$1""#;

/// Installs what the offload is compared with, where that is possible.
pub(crate) fn prepare(tools: &Tools) {
    if tools.which("git-annex").is_none()
        && let Err(why) = apt_install(&["git-annex"])
    {
        say!("git-annex: {why:#}");
    }
}

pub(crate) fn measure(bench: &mut Bench, files: u64) -> Result<()> {
    let what = format!("offload {files} files, `quick`");
    let against = "`git annex drop`, one directory remote";
    if bench.tools.which("git-annex").is_none() {
        bench.record(Row::skipped(&what, against, "git-annex is not installed, and could not be".into()));
        return Ok(());
    }
    let tree = bench.dir.join("tree");
    bench.say(&format!("making {files} files"));
    trees::make(&tree, files, Size::UpTo(8192))?;
    let before = trees::inventory(bench, &tree)?;
    let home = Home::new(bench, &tree)?;
    home.run(&["index"])?;
    home.run(&["sync"])?;
    bench.say("offloading, and dropping");
    let annex = bench.dir.join("annex");
    // The tree is copied into the annex before it is offloaded, and each time it was restored.
    let times = bench.side_by_side(
        || {
            trees::sync(&bench.dir)?;
            let took = home.run(&["offload", "tree", "."])?.seconds;
            trees::expect(&tree, 0)?;
            home.run(&["restore", "tree"])?;
            trees::compare(bench, &before, &tree)?;
            // What came back is newer than the last push, and would not go again before the next one.
            home.run(&["sync"])?;
            Ok(took)
        },
        || drop_with_annex(bench, &tree, &annex),
    )?;
    std::fs::remove_file(before)?;
    bench.record(Row::at_least(&what, against, &Work::Files(files), times, 10.0));
    home.remove()?;
    trees::remove(&tree)
}

fn drop_with_annex(bench: &Bench, tree: &Path, annex: &Path) -> Result<f64> {
    timed(&mut bench.shell(PREPARE, &[annex, tree])?)?;
    let took = timed(&mut bench.shell(DROP, &[annex])?)?.seconds;
    timed(&mut bench.shell(DROPPED, &[annex])?)?;
    trees::remove(annex)?;
    Ok(took)
}
