//! A volume of very many files: nothing to do, and the memory that each command needs.

use super::child::{Ran, timed};
use super::home::Home;
use super::trees::{self, Size};
use super::{Bench, Row, median};
use anyhow::Result;
use std::path::Path;

const MEMORY_GOAL_MIB: f64 = 200.0;

pub(crate) fn measure(bench: &mut Bench, files: u64) -> Result<()> {
    let tree = bench.dir.join("tree");
    bench.say(&format!("making {files} files"));
    trees::make(&tree, files, Size::UpTo(128))?;
    let before = trees::inventory(bench, &tree)?;
    let home = Home::new(bench, &tree)?;
    let peak = |bench: &mut Bench, what: &str, ran: Ran| {
        bench.record(Row::number(
            &format!("peak memory of {what}, {files} files"),
            format!("{:.0} MiB ({:.1} s)", ran.peak_mib, ran.seconds),
            format!("at most {MEMORY_GOAL_MIB:.0} MiB"),
            ran.peak_mib <= MEMORY_GOAL_MIB,
        ));
    };
    bench.say("the first index");
    let ran = home.run(&["index"])?;
    peak(bench, "`index`", ran);
    bench.say("the first push");
    let ran = home.run(&["sync"])?;
    peak(bench, "`sync`", ran);
    trees::expect(&home.objects(), files)?;
    unchanged(bench, files, &tree, &home)?;
    bench.say("verify, offload, restore");
    let ran = home.run(&["verify", "--all"])?;
    peak(bench, "`verify --all`", ran);
    let ran = home.run(&["offload", "tree", "."])?;
    peak(bench, "`offload`", ran);
    trees::expect(&tree, 0)?;
    let ran = home.run(&["restore", "tree"])?;
    peak(bench, "`restore`", ran);
    trees::compare(bench, &before, &tree)?;
    std::fs::remove_file(before)?;
    home.remove()?;
    trees::remove(&tree)
}

fn unchanged(bench: &mut Bench, files: u64, tree: &Path, home: &Home) -> Result<()> {
    bench.say("nothing to do");
    let find = || Ok(timed(&mut bench.shell("find \"$1\" -printf '%s %T@\\n'", &[tree])?)?.seconds);
    // Once unmeasured: both find the same in the caches.
    find()?;
    let mut syncs = Vec::new();
    let (index, find) = bench.side_by_side(
        || {
            let index = home.run(&["index"])?.seconds;
            syncs.push(home.run(&["sync"])?.seconds);
            Ok(index)
        },
        find,
    )?;
    let against = "`find -printf '%s %T@'`";
    bench.record(Row::at_most(&format!("re-index of {files} unchanged files"), against, (index, find), 1.3));
    let both = (index + median(syncs), find);
    bench.record(Row::at_most(
        &format!("re-index of {files} unchanged files, and a push with nothing to send"),
        against,
        both,
        2.0,
    ));
    Ok(())
}
