//! Everything that reads or writes all bytes: hashing, the first push, verification, restoring; on large files and on small ones.

use super::child::{quiet, timed};
use super::home::Home;
use super::table::Work;
use super::trees::{self, Size};
use super::{Bench, Row};
use anyhow::Result;
use std::fs::File;
use std::path::Path;

/// What differs between large files and small ones.
pub(crate) struct Kind {
    name: &'static str,
    /// How b3sum is run over `$1`: over large files as it is, which uses all cores; over small ones as two processes.
    b3sum: &'static str,
    b3sum_name: &'static str,
    hash_goal: f64,
    push_goal: f64,
}

pub(crate) const LARGE: Kind = Kind {
    name: "large files",
    b3sum: "cd \"$1\"; find . -type f -printf '%P\\0' | xargs -0 -s 1000000 b3sum",
    b3sum_name: "`b3sum`",
    hash_goal: 0.95,
    push_goal: 1.4,
};

pub(crate) const SMALL: Kind = Kind {
    name: "small files",
    b3sum: "cd \"$1\"; half() { find . -type f -name \"*[$1].dat\" -printf '%P\\0' | xargs -0 -s 1000000 b3sum > \"$2\"; }; \
            half 02468 ../even & half 13579 ../odd; wait $!; cat ../even ../odd; rm ../even ../odd",
    b3sum_name: "two `b3sum` side by side",
    hash_goal: 1.0,
    push_goal: 2.5,
};

const OBJECTS: &str = "cd \"$1\"; find . -type f -print0 | xargs -0 -s 1000000 b3sum";

pub(crate) fn measure(bench: &mut Bench, kind: &Kind, files: u64, size: Size) -> Result<()> {
    let tree = bench.dir.join("tree");
    let name = format!("{files} {} of {size}", kind.name);
    bench.say(&format!("making {name}"));
    trees::make(&tree, files, size)?;
    trees::warm(bench, &tree)?;
    hash(bench, kind, &name, &tree)?;
    let home = push(bench, kind, &name, &tree)?;
    restore(bench, &name, &tree, &home)?;
    verify(bench, &name, &home)?;
    home.remove()?;
    trees::remove(&tree)
}

fn hash(bench: &mut Bench, kind: &Kind, name: &str, tree: &Path) -> Result<()> {
    bench.say(&format!("hashing {name}"));
    let (our_list, their_list) = (bench.dir.join("ours"), bench.dir.join("theirs"));
    let times = bench.side_by_side(
        || Ok(timed(quiet(&bench.hash_tree).arg(tree).stdout(File::create(&our_list)?))?.seconds),
        || Ok(timed(bench.shell(kind.b3sum, &[tree])?.stdout(File::create(&their_list)?))?.seconds),
    )?;
    timed(&mut bench.shell("cmp <(LC_ALL=C sort \"$1\") <(LC_ALL=C sort \"$2\")", &[&our_list, &their_list])?)?;
    let bytes = bytes_below(tree)?;
    let work = if kind.hash_goal < 1.0 { Work::Bytes(bytes) } else { Work::Files(trees::count(tree)?) };
    bench.record(Row::at_least(&format!("hash {name}"), kind.b3sum_name, &work, times, kind.hash_goal));
    Ok(())
}

fn bytes_below(tree: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(tree)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { bytes_below(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

/// Pushes to a new destination each time, and leaves the last one.
fn push(bench: &mut Bench, kind: &Kind, name: &str, tree: &Path) -> Result<Home> {
    bench.say(&format!("pushing {name}"));
    let copy = bench.dir.join("copy");
    let mut last: Option<Home> = None;
    let times = bench.side_by_side(
        || {
            if let Some(before) = last.take() {
                before.remove()?;
            }
            let home = Home::new(bench, tree)?;
            home.run(&["index"])?;
            trees::sync(&bench.dir)?;
            let took = home.run(&["sync"])?.seconds;
            last = Some(home);
            Ok(took)
        },
        || {
            trees::sync(&bench.dir)?;
            let script = format!("cp -a \"$2\" \"$1\"; sync -f \"$1\"; {OBJECTS}");
            let took = timed(&mut bench.shell(&script, &[&copy, tree])?)?.seconds;
            trees::remove(&copy)?;
            Ok(took)
        },
    )?;
    let against = "`cp -a` and `sync -f`, then `b3sum` over the copy";
    bench.record(Row::at_most(&format!("first push of {name}, read back from the disk"), against, times, kind.push_goal));
    last.ok_or_else(|| anyhow::anyhow!("nothing was repeated"))
}

fn restore(bench: &mut Bench, name: &str, tree: &Path, home: &Home) -> Result<()> {
    bench.say(&format!("restoring {name}"));
    let copy = bench.dir.join("copy");
    let before = trees::inventory(bench, tree)?;
    trees::warm(bench, &home.objects())?;
    let times = bench.side_by_side(
        || {
            trees::sync(&bench.dir)?;
            let took = timed(home.command(&["restore", "tree", "--to"]).arg(&copy))?.seconds;
            trees::compare(bench, &before, &copy)?;
            trees::remove(&copy)?;
            Ok(took)
        },
        || {
            trees::sync(&bench.dir)?;
            let took = timed(&mut bench.shell("cp -a \"$1\" \"$2\"; sync -f \"$2\"", &[tree, &copy])?)?.seconds;
            trees::remove(&copy)?;
            Ok(took)
        },
    )?;
    std::fs::remove_file(before)?;
    bench.record(Row::at_most(&format!("restore {name}, durable"), "`cp -a` and `sync -f`", times, 1.3));
    Ok(())
}

fn verify(bench: &mut Bench, name: &str, home: &Home) -> Result<()> {
    bench.say(&format!("verifying {name}"));
    let objects = home.objects();
    let times = bench.side_by_side(
        || {
            trees::cool(&objects)?;
            Ok(home.run(&["verify", "--all"])?.seconds)
        },
        || {
            trees::cool(&objects)?;
            Ok(timed(&mut bench.shell(OBJECTS, &[&objects])?)?.seconds)
        },
    )?;
    let against = "`b3sum` over the objects; both from the disk";
    bench.record(Row::at_most(&format!("verify {name}"), against, times, 1.3));
    Ok(())
}
