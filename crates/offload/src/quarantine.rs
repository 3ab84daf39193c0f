//! Moving files aside and back, without replacing anything and without ever having no name for them.
//!
//! A file of run 12 at `a/b` is aside at `.lastcopy/offload/12/a/b`, so that a person can move it back when every index is lost. One
//! whose place was taken meanwhile goes to `.lastcopy/kept/<run>/a/b`.

use lastcopy_fs::{Dir, DirSync, FileStat, Mounts, RelPath};
use lastcopy_store::{RunId, VOLUME_DIR, Volume};
use std::io;

const OFFLOAD: &str = "offload";
const KEPT: &str = "kept";
const MODE: u32 = 0o700;
const NAME_MAX: usize = 255;

/// Where a file that was moved back is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returned {
    /// In its place.
    Home,
    /// In the kept files.
    Kept,
    /// Nowhere: somebody took it from where it lay.
    Gone,
}

fn below(area: &str, run: RunId) -> io::Result<RelPath> {
    RelPath::new(format!("{VOLUME_DIR}/{area}/{run}")).map_err(io::Error::other)
}

/// Where a file is, or would be, while it is aside.
pub(crate) fn quarantine_path(run: RunId, path: &RelPath) -> io::Result<RelPath> {
    Ok(below(OFFLOAD, run)?.join_path(path))
}

/// Room for the names of our directories, a run's number, and a number behind the name.
const OURS: usize = 64;

/// Linux takes paths of up to 4,095 bytes in one call.
const LONGEST: usize = 4095;

/// Whether a path can be named while it is aside or kept. One that cannot must not be moved: nobody could reach it any more.
pub(crate) fn fits(path: &RelPath) -> bool {
    path.as_bytes().len() + OURS <= LONGEST
}

fn kept_path(run: RunId, path: &RelPath) -> io::Result<RelPath> {
    Ok(below(KEPT, run)?.join_path(path))
}

fn split(path: &RelPath) -> io::Result<(RelPath, &[u8])> {
    path.split().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Moves a file aside. The directories that changed are remembered in `changed`; nothing is durable before they are synced.
pub(crate) fn move_aside(volume: &Volume, run: RunId, path: &RelPath, changed: &mut DirSync) -> io::Result<()> {
    let (parent, name) = split(path)?;
    let from = volume.root().open_dir(&parent, Mounts::Stay)?;
    let aside = quarantine_path(run, path)?;
    let (aside_parent, _) = split(&aside)?;
    let to = volume.root().create_dir_all(&aside_parent, MODE, &mut |dir| changed.changed(dir))?;
    from.take(name, &to, name)?;
    changed.changed(&to)?;
    changed.changed(&from)
}

/// What is aside of a file, if anything.
pub(crate) fn stat_aside(volume: &Volume, run: RunId, path: &RelPath) -> io::Result<Option<FileStat>> {
    volume.root().stat(&quarantine_path(run, path)?)
}

/// What was kept of a file, if anything.
pub(crate) fn stat_kept(volume: &Volume, run: RunId, path: &RelPath) -> io::Result<Option<FileStat>> {
    volume.root().stat(&kept_path(run, path)?)
}

/// Moves a file that is aside back to its place, or, if that is taken, to the kept files. Durable before it returns.
///
/// A directory that was removed meanwhile is made again; one that is something else now counts as a place that is taken. After an error that
/// may pass, the file stays aside.
pub(crate) fn move_back(volume: &Volume, run: RunId, path: &RelPath) -> io::Result<Returned> {
    let aside = quarantine_path(run, path)?;
    let (aside_parent, name) = split(&aside)?;
    let from = volume.root().open_dir(&aside_parent, Mounts::Stay)?;
    let mut changed = DirSync::new();
    let home = (|| {
        let (parent, _) = split(path)?;
        let to = volume.root().create_dir_all(&parent, 0o755, &mut |dir| changed.changed(dir))?;
        from.rename_new(name, &to, name)?;
        changed.changed(&to)
    })();
    let returned = match home {
        Ok(()) => Returned::Home,
        // The next run finds it aside, and has better luck.
        Err(error) if may_pass(&error) => return Err(error),
        // Whatever else hinders it: the bytes must not stay where nobody looks. If even this fails, they stay aside.
        Err(_) => {
            keep(volume, run, path, &from, name, &mut changed)?;
            Returned::Kept
        }
    };
    changed.changed(&from)?;
    changed.sync()?;
    Ok(returned)
}

/// Whether an error says nothing about the place itself: a device that fails or is full, too many open files. Of such a place it is not
/// known that it is taken.
fn may_pass(error: &io::Error) -> bool {
    const EINTR: i32 = 4;
    const EIO: i32 = 5;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOSPC: i32 = 28;
    const EDQUOT: i32 = 122;
    error.raw_os_error().is_some_and(|errno| [EINTR, EIO, ENOMEM, ENFILE, EMFILE, ENOSPC, EDQUOT].contains(&errno))
}

fn keep(volume: &Volume, run: RunId, path: &RelPath, from: &Dir, name: &[u8], changed: &mut DirSync) -> io::Result<()> {
    let kept = kept_path(run, path)?;
    let (kept_parent, _) = split(&kept)?;
    let to = volume.root().create_dir_all(&kept_parent, MODE, &mut |dir| changed.changed(dir))?;
    let mut free = name.to_vec();
    for number in 1.. {
        match from.rename_new(name, &to, &free) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let suffix = format!(".{number}");
                free = [&name[..name.len().min(NAME_MAX - suffix.len())], suffix.as_bytes()].concat();
            }
            answer => {
                answer?;
                break;
            }
        }
    }
    changed.changed(&to)
}

/// Every file that is aside of any run, as (run, path). What is not a run's directory is none of ours.
pub(crate) fn all_aside(volume: &Volume) -> io::Result<Vec<(RunId, RelPath)>> {
    let area = RelPath::new(format!("{VOLUME_DIR}/{OFFLOAD}")).map_err(io::Error::other)?;
    let mut found = Vec::new();
    let Some(dir) = open_if_there(volume.root(), &area)? else { return Ok(found) };
    for entry in dir.entries()?.iter() {
        let run = std::str::from_utf8(entry.name()).ok().and_then(|name| name.parse().ok());
        if let Some(run) = run {
            let root = RelPath::root().join(entry.name()).map_err(io::Error::other)?;
            let below = dir.open_dir(&root, Mounts::Stay)?;
            files_below(&below, &RelPath::root(), &mut |path| found.push((RunId::from_user(run), path)))?;
        }
    }
    found.sort();
    Ok(found)
}

fn files_below(dir: &Dir, path: &RelPath, each: &mut dyn FnMut(RelPath)) -> io::Result<()> {
    for entry in dir.entries()?.iter() {
        let here = path.join(entry.name()).map_err(io::Error::other)?;
        match dir.entry(entry.name())? {
            Some(stat) if stat.kind == lastcopy_fs::FileKind::Directory => {
                let name = RelPath::root().join(entry.name()).map_err(io::Error::other)?;
                files_below(&dir.open_dir(&name, Mounts::Stay)?, &here, each)?;
            }
            Some(_) => each(here),
            None => {}
        }
    }
    Ok(())
}

fn open_if_there(root: &Dir, path: &RelPath) -> io::Result<Option<Dir>> {
    match root.open_dir(path, Mounts::Stay) {
        Ok(dir) => Ok(Some(dir)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the empty directories that an offload leaves in its area. Directories with anything in them stay.
pub(crate) fn tidy(volume: &Volume) -> io::Result<()> {
    let area = RelPath::new(format!("{VOLUME_DIR}/{OFFLOAD}")).map_err(io::Error::other)?;
    if let Some(dir) = open_if_there(volume.root(), &area)? {
        remove_empty_below(&dir)?;
    }
    Ok(())
}

fn remove_empty_below(dir: &Dir) -> io::Result<()> {
    for entry in dir.entries()?.iter() {
        let directory = dir.entry(entry.name())?.is_some_and(|stat| stat.kind == lastcopy_fs::FileKind::Directory);
        if directory {
            let name = RelPath::root().join(entry.name()).map_err(io::Error::other)?;
            remove_empty_below(&dir.open_dir(&name, Mounts::Stay)?)?;
            dir.remove_empty_dir(entry.name())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An undo on a full device sent a file to the kept files, as if its place were taken, and nothing ever brought it back. Found by
    /// making each of its system calls fail.
    #[test]
    fn only_an_error_about_the_place_sends_a_file_to_the_kept_files() {
        for (errno, passes) in
            [(28, true), (122, true), (5, true), (4, true), (24, true), (17, false), (20, false), (40, false), (13, false)]
        {
            assert_eq!(may_pass(&io::Error::from_raw_os_error(errno)), passes, "{}", io::Error::from_raw_os_error(errno));
        }
        assert!(!may_pass(&io::Error::other("not of the system")));
    }

    /// The longest run number there is, and a number behind the name, still fit into one path.
    #[test]
    fn a_path_that_fits_can_be_named_aside_and_kept() {
        let path =
            |bytes: usize| RelPath::new(format!("{}{}", "d/".repeat((bytes - 100) / 2), "n".repeat(100 + bytes % 2))).unwrap();
        let (longest, run) = (path(LONGEST - OURS), RunId::from_user(i64::MAX));
        assert_eq!(longest.as_bytes().len(), LONGEST - OURS);
        assert!(fits(&longest) && !fits(&path(LONGEST - OURS + 1)));
        let number = ".18446744073709551615".len();
        assert!(quarantine_path(run, &longest).unwrap().as_bytes().len() <= LONGEST);
        assert!(kept_path(run, &longest).unwrap().as_bytes().len() + number <= LONGEST);
    }
}
