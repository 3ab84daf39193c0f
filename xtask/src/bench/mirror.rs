//! Pushing to a mirror in a local directory, every byte verified, beside rclone's own copy and check.

use super::child::timed;
use super::home::{Home, Kind};
use super::trees::{self, Size};
use super::{Bench, Row};
use anyhow::Result;
use std::path::PathBuf;

/// More files than this are many.
const MANY: u64 = 1000;

/// What rclone does for the same promise; it syncs nothing, so that is done for it.
const COPY_AND_CHECK: &str = "rclone copy --config /dev/null --exclude '/.lastcopy/**' \"$1\" \"$2\" 2>/dev/null; sync -f \"$2\"; \
                              rclone check --config /dev/null --exclude '/.lastcopy/**' --download \"$1\" \"$2\" 2>/dev/null";

pub(crate) fn measure(bench: &mut Bench, files: u64, size: Size) -> Result<()> {
    let name = format!("first push of {files} files of {size} to a mirror in a directory");
    let against = "`rclone copy`, `sync -f` and `rclone check --download`";
    if bench.tools.which("rclone").is_none() {
        bench.record(Row::skipped(&name, against, "rclone is not installed".into()));
        return Ok(());
    }
    let tree = bench.dir.join("tree");
    bench.say(&format!("making {files} files of {size}"));
    trees::make(&tree, files, size)?;
    trees::warm(bench, &tree)?;
    bench.say("pushing to a mirror");
    // Whoever makes many files right after many were removed pays for it on ext4 without a journal, which passes over inodes that were
    // in use a moment ago. So what many files were copied to stays until the end; of a few large ones, there is no room for that.
    let stays = files > MANY;
    let (mut homes, mut copies): (Vec<Home>, Vec<PathBuf>) = Default::default();
    let times = bench.side_by_side(
        || {
            if !stays {
                homes.drain(..).try_for_each(Home::remove)?;
            }
            let home = Home::with(bench, &tree, Kind::Mirror)?;
            home.run(&["index"])?;
            trees::sync(&bench.dir)?;
            let took = home.run(&["sync"])?.seconds;
            homes.push(home);
            Ok(took)
        },
        || {
            if !stays {
                copies.drain(..).try_for_each(|copy| trees::remove(&copy))?;
            }
            let copy = bench.dir.join(format!("copy-{}", copies.len()));
            trees::sync(&bench.dir)?;
            let took = timed(&mut bench.shell(COPY_AND_CHECK, &[&tree, &copy])?)?.seconds;
            copies.push(copy);
            Ok(took)
        },
    )?;
    bench.record(Row::at_most(&name, against, times, 1.3));
    homes.into_iter().try_for_each(Home::remove)?;
    copies.iter().try_for_each(|copy| trees::remove(copy))?;
    trees::remove(&tree)
}
