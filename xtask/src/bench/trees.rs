//! Trees to measure on: made, compared, pushed out of the page cache, removed.

use super::Bench;
use super::child::{quiet, timed};
use anyhow::{Context, Result, ensure};
use rustix::fs::{Advice, fadvise};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Files in one directory.
const PER_DIRECTORY: u64 = 1000;

/// How large the files are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    Exactly(u64),
    /// Anything from 32 bytes on.
    UpTo(u64),
}

impl Size {
    fn of(self, number: u64) -> u64 {
        match self {
            Self::Exactly(size) => size,
            Self::UpTo(most) => 32 + scramble(number) % (most - 32),
        }
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(size) => write!(f, "{} MiB", size >> 20),
            Self::UpTo(size) => write!(f, "up to {} KiB", size >> 10),
        }
    }
}

/// Makes a tree of so many files, no two of which are the same, and makes it durable.
pub(crate) fn make(dir: &Path, files: u64, size: Size) -> Result<()> {
    let mut block: Vec<u8> = (0..1_u64 << 17).flat_map(|number| scramble(number).to_le_bytes()).collect();
    for number in 0..files {
        let directory = dir.join(format!("{:03}/{:03}", number / PER_DIRECTORY / 32, number / PER_DIRECTORY % 32));
        if number % PER_DIRECTORY == 0 {
            std::fs::create_dir_all(&directory)?;
        }
        let mut file = File::create(directory.join(format!("file-{number:07}.dat")))?;
        let mut left = size.of(number);
        while left > 0 {
            // Every piece differs from every other one.
            block[..8].copy_from_slice(&number.to_le_bytes());
            block[8..16].copy_from_slice(&left.to_le_bytes());
            let piece = block.len().min(usize::try_from(left)?);
            file.write_all(&block[..piece])?;
            left -= piece as u64;
        }
    }
    sync(dir)
}

/// A number that looks like nothing, the same in every run.
fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed ^ (mixed >> 27)
}

/// Makes everything durable that was written before, so that nobody waits for it in a measured time.
pub(crate) fn sync(dir: &Path) -> Result<()> {
    timed(quiet("sync").arg("-f").arg(dir)).map(drop)
}

/// Removes a tree, read-only directories and all, and waits until the disk has heard of it.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    timed(quiet("rm").arg("-rf").arg(dir))?;
    sync(dir.parent().unwrap_or(dir))
}

/// Brings a tree into the page cache.
pub(crate) fn warm(bench: &Bench, dir: &Path) -> Result<()> {
    timed(&mut bench.shell("find \"$1\" -type f -print0 | xargs -0 cat", &[dir])?).map(drop)
}

/// Takes the contents of a tree's files out of the page cache.
pub(crate) fn cool(dir: &Path) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            cool(&entry.path())?;
        } else {
            fadvise(File::open(entry.path())?, 0, None, Advice::DontNeed)?;
        }
    }
    Ok(())
}

/// What a tree holds: digest, mode and time of every file, in a file to compare.
pub(crate) fn inventory(bench: &Bench, tree: &Path) -> Result<PathBuf> {
    let list = tempfile::Builder::new().prefix("inventory-").tempfile_in(&bench.dir)?.into_temp_path().keep()?;
    let script =
        "{ \"$1\" \"$2\"; cd \"$2\"; find . -path ./.lastcopy -prune -o -type f -printf '%P %m %T@\\n' | LC_ALL=C sort; } > \"$3\"";
    timed(&mut bench.shell(script, &[&bench.hash_tree, tree, &list])?)?;
    Ok(list)
}

/// Fails if a tree does not hold what an inventory says.
pub(crate) fn compare(bench: &Bench, inventory_before: &Path, tree: &Path) -> Result<()> {
    let after = inventory(bench, tree)?;
    timed(quiet("cmp").arg(inventory_before).arg(&after)).context("what came back is not what was there")?;
    std::fs::remove_file(after)?;
    Ok(())
}

/// Files in a tree, without those of lastcopy.
pub(crate) fn count(tree: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in std::fs::read_dir(tree).with_context(|| tree.display().to_string())? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files += if entry.file_name() == ".lastcopy" { 0 } else { count(&entry.path())? };
        } else {
            files += 1;
        }
    }
    Ok(files)
}

/// Fails unless a tree has so many files.
pub(crate) fn expect(tree: &Path, files: u64) -> Result<()> {
    let found = count(tree)?;
    ensure!(found == files, "{} has {found} files, not {files}", tree.display());
    Ok(())
}
