//! Pushing to a mirror in a local directory, every byte verified, beside rclone's own copy and check.

use super::child::timed;
use super::home::{Home, Kind};
use super::trees::{self, Size};
use super::{Bench, Row};
use anyhow::Result;

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
    let (tree, copy) = (bench.dir.join("tree"), bench.dir.join("copy"));
    bench.say(&format!("making {files} files of {size}"));
    trees::make(&tree, files, size)?;
    trees::warm(bench, &tree)?;
    bench.say("pushing to a mirror");
    let mut last: Option<Home> = None;
    let times = bench.side_by_side(
        || {
            if let Some(before) = last.take() {
                before.remove()?;
            }
            let home = Home::with(bench, &tree, Kind::Mirror)?;
            home.run(&["index"])?;
            trees::sync(&bench.dir)?;
            let took = home.run(&["sync"])?.seconds;
            last = Some(home);
            Ok(took)
        },
        || {
            trees::sync(&bench.dir)?;
            let took = timed(&mut bench.shell(COPY_AND_CHECK, &[&tree, &copy])?)?.seconds;
            trees::remove(&copy)?;
            Ok(took)
        },
    )?;
    bench.record(Row::at_most(&name, against, times, 1.3));
    if let Some(home) = last {
        home.remove()?;
    }
    trees::remove(&tree)
}
