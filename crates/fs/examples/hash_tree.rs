//! Hashes every file of a tree on all cores and prints what `b3sum` would, with paths from the tree's root:
//!
//! ```text
//! cargo run --release -p lastcopy-fs --example hash_tree DIR
//! ```
//!
//! No symbolic link is followed and no mount is crossed. The volume directory `.lastcopy` is left out.

use lastcopy_fs::{Cancel, Dir, FileKind, HashBuffer, Mounts, NoProgress, RelPath};
use rayon::prelude::*;
use std::io::{self, Write};

fn main() -> io::Result<()> {
    let root = std::env::args_os().nth(1).ok_or_else(|| io::Error::other("which directory?"))?;
    let root = Dir::open(&std::fs::canonicalize(root)?)?;
    let mut files = Vec::new();
    list(&root, &RelPath::root(), &mut files)?;
    let hash = |buffer: &mut HashBuffer, (path, size): (RelPath, u64)| {
        let file = root.open_file(&path, Mounts::Stay)?;
        let content = buffer.hash_file(&file, size, &Cancel::new(), &NoProgress)?;
        let mut line = format!("{}  ", content.hash).into_bytes();
        line.extend_from_slice(path.as_bytes());
        line.push(b'\n');
        Ok(line)
    };
    let lines: Vec<_> = files.into_par_iter().map_init(HashBuffer::new, hash).collect::<io::Result<_>>()?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    lines.iter().try_for_each(|line| out.write_all(line))?;
    out.flush()
}

fn list(root: &Dir, path: &RelPath, files: &mut Vec<(RelPath, u64)>) -> io::Result<()> {
    let dir = root.open_dir(path, Mounts::Stay)?;
    let mut entries = dir.entries()?;
    entries.sort();
    for entry in entries.iter() {
        let inner = path.join(entry.name()).map_err(io::Error::other)?;
        match dir.entry(entry.name())?.map(|stat| (stat.kind, stat.size)) {
            Some((FileKind::Regular, size)) => files.push((inner, size)),
            Some((FileKind::Directory, _)) if inner.as_bytes() != b".lastcopy" => list(root, &inner, files)?,
            _ => {}
        }
    }
    Ok(())
}
