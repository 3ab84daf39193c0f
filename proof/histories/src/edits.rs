//! What a person does to files.

use crate::error::{Result, at};
use crate::look::{self, Found, content, hash};
use crate::op::Op;
use crate::policy::DAY;
use crate::word::{At, Vol};
use crate::world::{State, World, Writer};
use rustix::fs::{Mode, OFlags};
use rustix::mm::{MapFlags, ProtFlags};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How opening a file for writing went.
enum Opened {
    Open(File),
    /// The tool has a lease on it: a person's program waits.
    Waits,
    /// There is none, or no place for it.
    Not,
}

fn open(path: &Path, flags: OFlags) -> Result<Opened> {
    let flags = flags | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::from_raw_mode(0o644)) {
        Ok(fd) => {
            let file = File::from(fd);
            let regular = file.metadata().map_err(at(path))?.is_file();
            Ok(if regular { Opened::Open(file) } else { Opened::Not })
        }
        Err(rustix::io::Errno::AGAIN) => Ok(Opened::Waits),
        Err(
            rustix::io::Errno::NOENT
            | rustix::io::Errno::NOTDIR
            | rustix::io::Errno::ISDIR
            | rustix::io::Errno::LOOP
            | rustix::io::Errno::NXIO,
        ) => Ok(Opened::Not),
        Err(error) => Err(at(path)(error.into())),
    }
}

/// Whether every directory above a path is one, and no link.
fn is_reached_plainly(root: &Path, path: &Path) -> bool {
    let above = path.ancestors().skip(1).take_while(|dir| *dir != root);
    above.into_iter().all(|dir| fs::symlink_metadata(dir).is_ok_and(|stat| stat.is_dir()))
}

impl World {
    /// A person's file or directory.
    pub(crate) fn file(&self, volume: Vol, path: &[u8]) -> PathBuf {
        self.root(volume).join(OsStr::from_bytes(path))
    }

    /// Does what a person does. What cannot be done where things are as they are is not done.
    pub(crate) fn edit(&self, op: &Op) -> Result<()> {
        let mut state = self.state();
        if state.crashed {
            return Ok(());
        }
        let done = match op {
            Op::Write { volume, at: path, content: number } => {
                self.write(&mut state, *volume, *path, OFlags::WRONLY | OFlags::CREATE, op, |file| {
                    file.set_len(0)?;
                    file.write_all(&content(*number))
                })
            }
            Op::Append { volume, at: path } => self.write(&mut state, *volume, *path, OFlags::WRONLY, op, |file| {
                file.seek(SeekFrom::End(0))?;
                file.write_all(b"+more")
            }),
            Op::Truncate { volume, at: path } => self.write(&mut state, *volume, *path, OFlags::WRONLY, op, |file| {
                let size = file.metadata()?.len();
                file.set_len(size / 2)
            }),
            Op::Overwrite { volume, at: path } => self.write(&mut state, *volume, *path, OFlags::RDWR, op, |file| {
                let (stat, mut first) = (file.metadata()?, [0]);
                if file.read_at(&mut first, 0)? > 0 {
                    file.write_all_at(&[first[0] ^ 0x10], 0)?;
                }
                file.set_modified(stat.modified()?)
            }),
            Op::Replace { volume, at: path, content: number } => self.replace(&mut state, *volume, *path, *number),
            Op::Rename { volume, at: from, to } => self.rename(&mut state, *volume, &from.bytes(), &to.bytes()),
            Op::Delete { volume, at: path } => self.delete(&mut state, *volume, &path.bytes()),
            Op::Link { volume, at: path } => self.link(&mut state, *volume, *path),
            Op::Age { volume, at: path } => {
                let path = self.file(*volume, &path.bytes());
                if is_reached_plainly(&self.root(*volume), &path)
                    && let Ok(stat) = fs::symlink_metadata(&path)
                    && stat.is_file()
                {
                    let before = stat.modified().map_err(at(&path))? - Duration::from_millis(DAY.unsigned_abs());
                    let file = File::open(&path).map_err(at(&path))?;
                    file.set_times(fs::FileTimes::new().set_modified(before)).map_err(at(&path))?;
                    Ok(true)
                } else {
                    Ok(false)
                }
            }
            Op::Rot { volume, at: path } => self.rot(&mut state, *volume, *path, op),
            Op::Open { volume, at: path } => self.hold_open(&mut state, *volume, *path),
            Op::WriteOpen { content: number } => write_open(&mut state, *number),
            Op::Close => Ok(state.writer.take().is_some()),
            _ => Ok(false),
        };
        if done? {
            state.reach(op.done());
        }
        Ok(())
    }

    /// What a person sees at a path.
    fn there(&self, volume: Vol, path: &[u8]) -> Result<Option<Found>> {
        look::file(&self.file(volume, path))
    }

    /// Writes a file in place.
    fn write(
        &self,
        state: &mut State,
        volume: Vol,
        path: At,
        flags: OFlags,
        op: &Op,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<bool> {
        let full = self.file(volume, &path.bytes());
        if flags.contains(OFlags::CREATE)
            && let Some(parent) = full.parent()
            && fs::create_dir_all(parent).is_err()
        {
            return Ok(false);
        }
        if !is_reached_plainly(&self.root(volume), &full) {
            return Ok(false);
        }
        let before = self.there(volume, &path.bytes())?;
        let mut file = match open(&full, flags)? {
            Opened::Open(file) => file,
            Opened::Waits => {
                state.reach("a person waited for the tool");
                state.waiting.push(op.clone());
                return Ok(false);
            }
            Opened::Not => return Ok(false),
        };
        write(&mut file).map_err(at(&full))?;
        let Some(after) = look::file(&full)? else { return Ok(false) };
        wrote(state, volume, &path.bytes(), before, after);
        Ok(before.map(|found| found.hash) != Some(after.hash))
    }

    /// Writes a new file, and renames it over the old one.
    fn replace(&self, state: &mut State, volume: Vol, path: At, number: u8) -> Result<bool> {
        let full = self.file(volume, &path.bytes());
        let Some(parent) = full.parent() else { return Ok(false) };
        if fs::create_dir_all(parent).is_err() || !is_reached_plainly(&self.root(volume), &full) {
            return Ok(false);
        }
        let temporary = self.base.join("live/new");
        fs::write(&temporary, content(number)).map_err(at(&temporary))?;
        let before = self.there(volume, &path.bytes())?;
        let done = fs::rename(&temporary, &full).is_ok();
        if done {
            state.ledger.take(volume, &path.bytes(), before);
            state.ledger.put(volume, &path.bytes(), hash(&content(number)));
        }
        Ok(done)
    }

    fn rename(&self, state: &mut State, volume: Vol, from: &[u8], to: &[u8]) -> Result<bool> {
        let (source, target) = (self.file(volume, from), self.file(volume, to));
        let root = self.root(volume);
        if !is_reached_plainly(&root, &source) || fs::symlink_metadata(&source).is_err() {
            return Ok(false);
        }
        let Some(parent) = target.parent() else { return Ok(false) };
        if fs::create_dir_all(parent).is_err() || !is_reached_plainly(&root, &target) {
            return Ok(false);
        }
        let before = self.there(volume, to)?;
        if from == to || fs::rename(&source, &target).is_err() {
            return Ok(false);
        }
        state.ledger.take(volume, to, before);
        if let Some(found) = look::file(&target)? {
            state.ledger.renamed(volume, from, to, found);
        } else if fs::symlink_metadata(&target).is_ok_and(|stat| stat.is_dir()) {
            for (below, found) in look::tree(&target)?.files {
                let path = |dir: &[u8]| [dir, b"/", &below].concat();
                state.ledger.renamed(volume, &path(from), &path(to), found);
            }
        }
        Ok(true)
    }

    fn delete(&self, state: &mut State, volume: Vol, path: &[u8]) -> Result<bool> {
        let full = self.file(volume, path);
        if !is_reached_plainly(&self.root(volume), &full) {
            return Ok(false);
        }
        let Ok(stat) = fs::symlink_metadata(&full) else { return Ok(false) };
        if !stat.is_dir() {
            state.ledger.overtake(volume, path);
            let before = self.there(volume, path)?;
            fs::remove_file(&full).map_err(at(&full))?;
            state.ledger.take(volume, path, before);
            return Ok(true);
        }
        for (below, found) in look::tree(&full)?.files {
            state.ledger.take(volume, &[path, b"/", &below].concat(), Some(found));
        }
        fs::remove_dir_all(&full).map_err(at(&full)).map(|()| true)
    }

    /// A link to something outside that looks the same.
    fn link(&self, state: &mut State, volume: Vol, path: At) -> Result<bool> {
        self.delete(state, volume, &path.bytes())?;
        state.ledger.overtake(volume, &path.bytes());
        let full = self.file(volume, &path.bytes());
        let Some(parent) = full.parent() else { return Ok(false) };
        if fs::create_dir_all(parent).is_err() || !is_reached_plainly(&self.root(volume), &full) {
            return Ok(false);
        }
        let outside = self.base.join("outside");
        let path = path.bytes();
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let same = outside.join(OsStr::from_bytes(last));
        let leads = if same.exists() { same } else { outside };
        std::os::unix::fs::symlink(leads, &full).map_err(at(&full)).map(|()| true)
    }

    /// Other bytes, without a trace in the metadata.
    fn rot(&self, state: &mut State, volume: Vol, path: At, op: &Op) -> Result<bool> {
        let full = self.file(volume, &path.bytes());
        if !is_reached_plainly(&self.root(volume), &full) {
            return Ok(false);
        }
        let file = match open(&full, OFlags::RDWR)? {
            Opened::Open(file) => file,
            Opened::Waits => {
                state.waiting.push(op.clone());
                return Ok(false);
            }
            Opened::Not => return Ok(false),
        };
        let length = usize::try_from(file.metadata().map_err(at(&full))?.len()).unwrap_or(0);
        let Some(before) = look::file(&full)?.filter(|_| length > 0) else { return Ok(false) };
        #[expect(unsafe_code, reason = "a shared mapping of a file of our own, as long as it, used and given back right here")]
        // SAFETY: the mapping has `length` bytes, is used for one byte of them, and nobody cuts the file short meanwhile.
        unsafe {
            let (read_write, shared) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
            let mapped = rustix::mm::mmap(std::ptr::null_mut(), length, read_write, shared, &file, 0);
            let mapped = mapped.map_err(|error| at(&full)(error.into()))?;
            *mapped.cast::<u8>() ^= 0x20;
            rustix::mm::munmap(mapped, length).map_err(|error| at(&full)(error.into()))?;
        }
        let Some(after) = look::file(&full)? else { return Ok(false) };
        wrote(state, volume, &path.bytes(), Some(before), after);
        Ok(true)
    }

    fn hold_open(&self, state: &mut State, volume: Vol, path: At) -> Result<bool> {
        let full = self.file(volume, &path.bytes());
        if is_reached_plainly(&self.root(volume), &full)
            && let Opened::Open(file) = open(&full, OFlags::RDWR)?
        {
            state.writer = Some(Writer { file, owed: state.ledger.at(volume, &path.bytes()) });
            return Ok(true);
        }
        Ok(false)
    }
}

/// A person changed the bytes of a file where it is. It may have come back there a moment ago, seen by nobody else yet.
fn wrote(state: &mut State, volume: Vol, path: &[u8], before: Option<Found>, after: Found) {
    let owed = state
        .ledger
        .at(volume, path)
        .filter(|id| state.ledger.owed.get(id).map(|owed| owed.hash) == before.map(|found| found.hash));
    match owed {
        Some(id) => state.ledger.change(id, after.hash),
        None => {
            state.ledger.take(volume, path, before);
            state.ledger.put(volume, path, after.hash);
        }
    }
}

/// Writes through a descriptor, wherever its file is by now.
fn write_open(state: &mut State, number: u8) -> Result<bool> {
    let Some(Writer { file, owed }) = &state.writer else { return Ok(false) };
    let descriptor = Path::new("an open file");
    let bytes = content(number);
    file.set_len(0).and_then(|()| file.write_all_at(&bytes, 0)).map_err(at(descriptor))?;
    let inode = file.metadata().map_err(at(descriptor))?.ino();
    state.ledger.written.insert(inode);
    if let Some(id) = *owed {
        state.ledger.change(id, hash(&bytes));
    }
    Ok(true)
}
