//! Pushing to a repository of kopia's in a local directory, every byte read back, beside kopia's own snapshot and full verify.

use super::Bench;
use super::child::{timed, timed_alone};
use super::home::{Home, Kind};
use super::table::Row;
use super::trees::{self, Size};
use anyhow::Result;
use std::path::{Path, PathBuf};

/// A repository that nobody used yet.
const CREATE: &str = "mkdir -p \"$1\"; kopia --config-file=\"$1.config\" repository create filesystem --path \"$1\" \
                      --cache-directory=\"$1.cache\" 2>/dev/null";
/// What kopia does for the same promise; it syncs no directories, so that is done for it.
const SNAPSHOT_AND_VERIFY: &str = "kopia --config-file=\"$1.config\" snapshot create --no-auto-maintenance \"$2\" 2>/dev/null; sync -f \"$1\"; \
                                   kopia --config-file=\"$1.config\" snapshot verify --verify-files-percent=100 2>/dev/null";
const SNAPSHOT: &str = "kopia --config-file=\"$1.config\" snapshot create --no-auto-maintenance \"$2\" 2>/dev/null";
/// The most memory that lastcopy itself may need, in MiB.
const MEMORY: f64 = 200.0;

pub(crate) fn measure(bench: &mut Bench, files: u64, size: Size) -> Result<()> {
    let name = format!("first push of {files} files of {size} to a repository of kopia's");
    let against = "`kopia snapshot create`, `sync -f` and `kopia snapshot verify --verify-files-percent=100`";
    if bench.tools.which("kopia").is_none() {
        bench.record(Row::skipped(&name, against, "kopia is not installed".into()));
        return Ok(());
    }
    let tree = bench.dir.join("tree");
    bench.say(&format!("making {files} files of {size}"));
    trees::make(&tree, files, size)?;
    trees::warm(bench, &tree)?;
    bench.say("pushing to a repository of kopia's");
    let (mut homes, mut theirs): (Vec<Home>, Vec<PathBuf>) = Default::default();
    let mut peak: f64 = 0.0;
    let times = bench.side_by_side(
        || {
            homes.drain(..).try_for_each(Home::remove)?;
            let home = Home::with(bench, &tree, Kind::Kopia)?;
            home.run(&["index"])?;
            trees::sync(&bench.dir)?;
            let ran = timed_alone(&mut home.command(&["sync"]))?;
            peak = peak.max(ran.peak_mib);
            homes.push(home);
            Ok(ran.seconds)
        },
        || {
            theirs.drain(..).try_for_each(|place| remove(&place))?;
            let place = bench.dir.join("theirs");
            kopia(bench, CREATE, &[&place])?;
            trees::sync(&bench.dir)?;
            let took = kopia(bench, SNAPSHOT_AND_VERIFY, &[&place, &tree])?;
            theirs.push(place);
            Ok(took)
        },
    )?;
    bench.record(Row::at_most(&name, against, times, 1.5));
    bench.record(Row::number(
        "memory of that push, kopia aside",
        format!("{peak:.0} MiB"),
        format!("at most {MEMORY} MiB"),
        peak <= MEMORY,
    ));
    if let (Some(home), Some(place)) = (homes.last(), theirs.last()) {
        let times = bench.side_by_side(|| Ok(home.run(&["sync"])?.seconds), || kopia(bench, SNAPSHOT, &[place, &tree]))?;
        let name = format!("push of nothing new, {files} files of {size}");
        bench.record(Row::at_most(&name, "`kopia snapshot create` of the unchanged tree", times, 2.0));
    }
    homes.into_iter().try_for_each(Home::remove)?;
    theirs.iter().try_for_each(|place| remove(place))?;
    trees::remove(&tree)
}

/// Seconds of a script that runs kopia.
fn kopia(bench: &Bench, script: &str, arguments: &[&Path]) -> Result<f64> {
    let mut command = bench.shell(script, arguments)?;
    command.env("KOPIA_PASSWORD", "bench").env("KOPIA_CHECK_FOR_UPDATES", "false");
    Ok(timed(&mut command)?.seconds)
}

fn remove(place: &Path) -> Result<()> {
    trees::remove(place)?;
    trees::remove(&place.with_extension("cache"))
}
