//! Where bytes land: temporary files beside their final places, made durable in batches, then moved without replacing.

use lastcopy_fs::{
    Content, Dir, DirSync, FileKind, FileStat, Filesystem, Id128, Mounts, RelPath, file_clock_ns, filesystem_of, sync_filesystem,
};
use lastcopy_store::{DESTINATION_MARKER, RunId, Seen, VOLUME_DIR};
use rustix::fs::{Timespec, Timestamps};
use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;

/// Up to so many files are synced one by one; from there on, one sync of the whole file system is cheaper.
const SYNC_SINGLY: usize = 8;

/// The directory below which files come back, with a place for those that are on their way.
pub(crate) struct Landing {
    root: Dir,
    incoming: Dir,
    incoming_path: RelPath,
    run: RunId,
    filesystem: Filesystem,
}

/// A file whose bytes arrived, whole and right, under a temporary name.
#[derive(Debug)]
pub(crate) struct Landed {
    temporary: Vec<u8>,
    /// Where it is to go.
    pub(crate) path: RelPath,
    /// Set at last: with some, not even we could open it again.
    mode: u32,
}

/// What putting a landed file in its place came to.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It is there, and looks like this.
    There(Seen),
    /// Something else is there.
    Occupied,
    /// It could not be moved there.
    Failed(io::Error),
}

/// A temporary file that is being written and hashed.
pub(crate) struct Arriving {
    file: File,
    /// Boxed: it is large, and waits in queues.
    hasher: Box<blake3::Hasher>,
    temporary: Vec<u8>,
}

impl Landing {
    /// For files of a run that come back below `root`.
    pub(crate) fn new(root: &Dir, run: RunId) -> io::Result<Self> {
        let incoming_path = RelPath::new(format!("{VOLUME_DIR}/incoming/{run}")).map_err(io::Error::other)?;
        let incoming = root.create_dir_all(&incoming_path, 0o700, &mut |_| Ok(()))?;
        let filesystem = filesystem_of(root)?;
        Ok(Self { root: root.try_clone()?, incoming, incoming_path, run, filesystem })
    }

    /// The same, for threads that fetch.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            root: self.root.try_clone()?,
            incoming: self.incoming.try_clone()?,
            incoming_path: self.incoming_path.clone(),
            run: self.run,
            filesystem: self.filesystem,
        })
    }

    /// A new temporary file.
    pub(crate) fn begin(&self) -> io::Result<Arriving> {
        let temporary = Id128::random()?.to_string().into_bytes();
        let file = self.incoming.create_new(&temporary, 0o600)?;
        Ok(Arriving { file, hasher: Box::new(blake3::Hasher::new()), temporary })
    }

    /// The end of an arrival: right bytes get the times of the file that they were; others are thrown away.
    pub(crate) fn land(
        &self,
        arriving: Arriving,
        expected: Content,
        path: &RelPath,
        mtime_ns: i64,
        mode: u32,
    ) -> io::Result<Landed> {
        let found = Content { hash: arriving.hasher.finalize().into(), size: arriving.hasher.count() };
        if found != expected {
            self.discard(&arriving.temporary);
            let text = format!("what arrived hashes to {} ({} bytes)", found.hash, found.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        set_mtime(&arriving.file, mtime_ns)?;
        Ok(Landed { temporary: arriving.temporary, path: path.clone(), mode })
    }

    /// A second file with the bytes of one that landed, hashed again on the way.
    pub(crate) fn copy(&self, from: &Landed, expected: Content, path: &RelPath, mtime_ns: i64, mode: u32) -> io::Result<Landed> {
        let name = RelPath::new(&from.temporary[..]).map_err(io::Error::other)?;
        let mut source = self.incoming.open_file(&name, Mounts::Stay)?;
        let mut copy = self.begin()?;
        io::copy(&mut source, &mut copy)?;
        self.land(copy, expected, path, mtime_ns, mode)
    }

    /// Throws a temporary file away.
    pub(crate) fn discard(&self, temporary: &[u8]) {
        // What stays is below a directory of ours, and goes with it.
        drop(self.incoming.unlink(temporary));
    }

    /// Gives landed files their modes, makes them durable, moves each to its place without replacing anything, and makes that durable. With `keep`, what is in
    /// the way is moved to the kept files.
    pub(crate) fn place(&self, landed: &[Landed], keep: bool) -> io::Result<Vec<Placed>> {
        let singly = landed.len() <= SYNC_SINGLY;
        for landed in landed {
            let name = RelPath::new(&landed.temporary[..]).map_err(io::Error::other)?;
            let file = self.incoming.open_file(&name, Mounts::Stay)?;
            file.set_permissions(Permissions::from_mode(landed.mode))?;
            if singly {
                file.sync_all()?;
            }
        }
        if !singly {
            sync_filesystem(&self.root)?;
        }
        let mut changed = DirSync::new();
        let mut placed = landed.iter().map(|landed| self.place_one(landed, keep, &mut changed)).collect::<Vec<_>>();
        if singly {
            changed.changed(&self.incoming)?;
            changed.sync()?;
        } else {
            sync_filesystem(&self.root)?;
        }
        // Looked at again, now that some time has passed since the move: what was not touched since need not be read again.
        let now = file_clock_ns();
        for (placed, landed) in placed.iter_mut().zip(landed) {
            if let Placed::There(seen) = placed {
                match self.root.stat(&landed.path)? {
                    Some(stat) if seen.looks_like(&stat) => {
                        *seen = Seen::from_stat(&stat, now, self.filesystem.timestamp_step_ns());
                    }
                    Some(_) => seen.racy = true,
                    None => *placed = Placed::Failed(io::Error::other("it was moved away again, for another file or by somebody")),
                }
            }
        }
        Ok(placed)
    }

    fn place_one(&self, landed: &Landed, keep: bool, changed: &mut DirSync) -> Placed {
        let moved: io::Result<FileStat> = (|| {
            let (parent, name) = landed.path.split().ok_or(io::ErrorKind::InvalidInput)?;
            if is_ours(&landed.path) {
                let text = "only lastcopy's own files have such names; it is not put there";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            let to = self.root.create_dir_all(&parent, 0o755, &mut |dir| changed.changed(dir))?;
            if keep && to.entry(name)?.is_some() {
                self.replace(landed, &to, name, changed)?;
            } else {
                self.incoming.rename_new(&landed.temporary, &to, name)?;
            }
            changed.changed(&to)?;
            to.entry(name)?.ok_or_else(|| io::ErrorKind::NotFound.into())
        })();
        match moved {
            Ok(stat) => Placed::There(Seen::from_stat(&stat, stat.ctime_ns, self.filesystem.timestamp_step_ns())),
            Err(error) => {
                self.discard(&landed.temporary);
                if error.kind() == io::ErrorKind::AlreadyExists { Placed::Occupied } else { Placed::Failed(error) }
            }
        }
    }

    /// Puts a landed file in the place of what is in the way, which goes to the kept files. By an exchange from there, so that whoever is
    /// killed or loses power leaves one of the two in the place, and the other one where nothing is ever deleted.
    fn replace(&self, landed: &Landed, dir: &Dir, name: &[u8], changed: &mut DirSync) -> io::Result<()> {
        let kept = RelPath::new(format!("{VOLUME_DIR}/kept/{}", self.run)).map_err(io::Error::other)?.join_path(&landed.path);
        let (parent, kept_name) = kept.split().ok_or(io::ErrorKind::InvalidInput)?;
        let aside = self.root.create_dir_all(&parent, 0o700, &mut |dir| changed.changed(dir))?;
        changed.changed(&aside)?;
        self.incoming.take(&landed.temporary, &aside, kept_name)?;
        let exchanged = aside.exchange(kept_name, dir, name);
        if matches!(exchanged, Ok(true)) {
            return Ok(());
        }
        aside.take(kept_name, &self.incoming, &landed.temporary)?;
        exchanged?;
        // A file system that cannot exchange names: the place is free for a moment.
        dir.take(name, &aside, kept_name)?;
        self.incoming.rename_new(&landed.temporary, dir, name)
    }

    /// Throws away what earlier runs left on its way when they were killed: copies of what destinations hold. Only where no other run
    /// can be on its way.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        let Some((area, own)) = self.incoming_path.split() else { return Ok(()) };
        let area = self.root.open_dir(&area, Mounts::Stay)?;
        for entry in area.entries()?.iter().filter(|entry| entry.name() != own) {
            let of_a_run = std::str::from_utf8(entry.name()).is_ok_and(|name| name.parse::<i64>().is_ok());
            if of_a_run && area.entry(entry.name())?.is_some_and(|stat| stat.kind == FileKind::Directory) {
                let left = area.open_dir(&RelPath::new(entry.name()).map_err(io::Error::other)?, Mounts::Stay)?;
                left.entries()?.iter().try_for_each(|file| left.unlink(file.name()))?;
                area.remove_empty_dir(entry.name())?;
            }
        }
        Ok(())
    }

    /// Removes the directory for files on their way, with what did not come to its place; in a directory that is none of ours, also what
    /// was made to hold it, if nothing else is there.
    pub(crate) fn tidy(&self, ours: bool) -> io::Result<()> {
        for entry in self.incoming.entries()?.iter() {
            self.discard(entry.name());
        }
        let Some((parent, name)) = self.incoming_path.split() else { return Ok(()) };
        let mut emptied = self.root.open_dir(&parent, Mounts::Stay)?.remove_empty_dir(name)?;
        let mut above = Some(parent);
        while let Some((parent, name)) = above.as_ref().filter(|_| emptied && !ours).and_then(RelPath::split) {
            emptied = self.root.open_dir(&parent, Mounts::Stay)?.remove_empty_dir(name)?;
            above = Some(parent);
        }
        Ok(())
    }
}

/// Whether a file of this path would be taken for one of ours: a volume's marker, what an offload set aside, a destination's marker. No walk
/// finds such paths, but a destination may have named them.
fn is_ours(path: &RelPath) -> bool {
    let own = path.components().next() == Some(VOLUME_DIR.as_bytes());
    own || path.split().is_some_and(|(_, name)| name == DESTINATION_MARKER.as_bytes())
}

impl Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn set_mtime(file: &File, mtime_ns: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: mtime_ns.div_euclid(1_000_000_000), tv_nsec: mtime_ns.rem_euclid(1_000_000_000) };
    Ok(rustix::fs::futimens(file.as_fd(), &Timestamps { last_access: time, last_modification: time })?)
}
