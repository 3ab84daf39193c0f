//! A `cas` destination in a local directory.
//!
//! Every file is reached from the root's descriptor, without following a symbolic link. A temporary name is the digest itself, below a
//! directory of the volume that is pushed and of the epoch that pushes it: only one such push runs at a time, so an interrupted one
//! finds its own parts again, and never another node's.

use crate::layout::{DAMAGED, INCOMING, MARKER, OBJECTS, fan, path};
use crate::medium::{Medium, ScratchRemoval, Staged, StagedFile};
use lastcopy_fs::{
    Cancel, Content, ContentHash, Dir, DirSync, FileKind, FileStat, HashBuffer, Id128, Mounts, Progress, drop_from_cache,
    replace_file, require_stored_when_synced, start_writeback, sync_stored, try_lock,
};
use lastcopy_store::{Proof, ProofError, ReadBack};
use lastcopy_sync::segment::{Place, digest_of};
use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are copied at a time. Larger writes were slower.
const PIECE: usize = 1 << 20;

/// Bytes after which the device is asked to begin writing a large file.
const WRITEBACK: u64 = 16 << 20;

/// How often an object is read that is exchanged for another one meanwhile.
const LOOKS: usize = 3;

/// From this size on, a part that an interrupted push left is worth reading again.
const RESUME_FROM: u64 = 64 << 20;

/// Up to so many objects are synced one by one; from there on, one sync of the whole file system is cheaper.
const SYNC_SINGLY: usize = 8;

/// Objects are never rewritten, so nobody may write them.
const OBJECT_MODE: u32 = 0o444;

/// A local directory.
#[derive(Debug)]
pub struct Local {
    path: PathBuf,
    /// Directories that were opened in this operation, by their path in the layout; the root by the empty one.
    dirs: Mutex<HashMap<String, Arc<Dir>>>,
}

impl Local {
    /// The directory at an absolute path. It need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), dirs: Mutex::default() }
    }

    /// The root, opened by its path once in each operation: what is mounted there may change between two, but never within one.
    fn root(&self) -> io::Result<Arc<Dir>> {
        self.opened("", || Dir::open(&std::fs::canonicalize(&self.path)?))
    }

    fn opened(&self, text: &str, open: impl FnOnce() -> io::Result<Dir>) -> io::Result<Arc<Dir>> {
        let known = self.dirs.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(dir) = known {
            return Ok(dir);
        }
        let dir = Arc::new(open()?);
        self.dirs.lock().unwrap_or_else(PoisonError::into_inner).insert(text.to_owned(), dir.clone());
        Ok(dir)
    }

    /// The root, for something that is to stay there.
    fn lasting_root(&self) -> io::Result<Arc<Dir>> {
        let root = self.root()?;
        require_stored_when_synced(&root)?;
        Ok(root)
    }

    /// The root if it exists.
    fn existing_root(&self) -> io::Result<Option<Arc<Dir>>> {
        match self.root() {
            Ok(root) => Ok(Some(root)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A directory of the layout, made durably if it is missing.
    fn make_dir(&self, text: &str) -> io::Result<Arc<Dir>> {
        self.opened(text, || self.lasting_root()?.create_dir_all(&path(text)?, 0o755, &mut Dir::sync))
    }

    /// A directory of the layout, if it exists.
    fn find_dir(&self, text: &str) -> io::Result<Option<Arc<Dir>>> {
        match self.opened(text, || self.root()?.open_dir(&path(text)?, Mounts::Stay)) {
            Ok(dir) => Ok(Some(dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open_object(&self, hash: ContentHash) -> io::Result<File> {
        let dir = self.find_dir(&fan(hash))?.ok_or(io::ErrorKind::NotFound)?;
        dir.open_file(&path(&hash.to_string())?, Mounts::Stay)
    }

    fn incoming(&self, place: Place) -> io::Result<Arc<Dir>> {
        self.make_dir(&format!("{INCOMING}/{}/{}", place.volume, place.epoch))
    }

    /// Splits a path of the layout into its directory, made if it is missing, and its name.
    fn parent(&self, text: &str) -> io::Result<(Arc<Dir>, Vec<u8>)> {
        match text.rsplit_once('/') {
            Some((dir, name)) => Ok((self.make_dir(dir)?, name.as_bytes().to_vec())),
            None => Ok((self.lasting_root()?, text.as_bytes().to_vec())),
        }
    }
}

impl Medium for Local {
    fn address(&self) -> String {
        format!("file://{}", self.path.display())
    }

    fn look_again(&self) -> Arc<dyn Medium> {
        Arc::new(Self::new(&self.path))
    }

    fn contains(&self, other: &Path) -> io::Result<bool> {
        self.existing_root()?.map_or(Ok(false), |root| root.holds(other))
    }

    fn is_empty(&self) -> io::Result<Option<bool>> {
        match self.existing_root()? {
            // A new ext4 file system is as empty as it can be; an init that was killed leaves its marker under a temporary name.
            Some(root) => {
                let ignored = |name: &[u8]| name == b"lost+found" || is_our_temporary(name);
                Ok(Some(root.entries()?.iter().all(|entry| ignored(entry.name()))))
            }
            None => {
                let parent = self.path.parent().unwrap_or(Path::new("/"));
                if parent.is_dir() { Ok(None) } else { Err(io::ErrorKind::NotFound.into()) }
            }
        }
    }

    fn create_root(&self) -> io::Result<()> {
        if let Some(root) = self.existing_root()? {
            return require_stored_when_synced(&root);
        }
        let parent = Dir::open(&std::fs::canonicalize(self.path.parent().unwrap_or(Path::new("/")))?)?;
        require_stored_when_synced(&parent)?;
        let name = self.path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let name = lastcopy_fs::RelPath::new(name.as_bytes()).map_err(io::Error::other)?;
        parent.create_dir_all(&name, 0o755, &mut Dir::sync).map(drop)
    }

    fn read_small(&self, text: &str) -> io::Result<Option<Vec<u8>>> {
        let Some(root) = self.existing_root()? else { return Ok(None) };
        let file = match root.open_file(&path(text)?, Mounts::Stay) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.take(1 << 20).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn create_small(&self, text: &str, bytes: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(text)?;
        write_new(&dir, &name, &mut &bytes[..]).map(drop)
    }

    fn replace_small(&self, text: &str, bytes: &[u8]) -> io::Result<()> {
        let (dir, name) = self.parent(text)?;
        replace_file(&dir, &name, bytes, 0o644)
    }

    fn create_file(&self, text: &str, bytes: &mut dyn Read) -> io::Result<[u8; 32]> {
        let (dir, name) = self.parent(text)?;
        let mut file = write_new(&dir, &name, bytes)?;
        drop_from_cache(&file)?;
        digest_of(&mut file)
    }

    fn open_file(&self, text: &str) -> io::Result<File> {
        self.root()?.open_file(&path(text)?, Mounts::Stay)
    }

    fn list(&self, text: &str) -> io::Result<Vec<String>> {
        let Some(dir) = self.find_dir(text)? else { return Ok(Vec::new()) };
        let mut names: Vec<_> = dir.entries()?.iter().filter_map(|entry| String::from_utf8(entry.name().to_vec()).ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn object_size(&self, hash: ContentHash) -> io::Result<Option<u64>> {
        let Some(dir) = self.find_dir(&fan(hash))? else { return Ok(None) };
        match dir.entry(hash.to_string().as_bytes())? {
            Some(stat) if stat.kind != FileKind::Regular => Err(io::Error::other(format!("{hash} is no file there"))),
            found => Ok(found.map(|stat| stat.size)),
        }
    }

    fn stage(&self, place: Place, content: Content, bytes: &mut dyn Read) -> io::Result<Staged> {
        let dir = self.incoming(place)?;
        let name = content.hash.to_string();
        let (mut file, resume) = match unfinished(&dir, name.as_bytes(), content)? {
            Some(found) => found,
            None => (create_anew(&dir, name.as_bytes(), content)?, 0),
        };
        let mut buffer = vec![0; PIECE.min(usize::try_from(content.size).unwrap_or(PIECE).max(1))];
        let written = skip(bytes, resume, &mut buffer).and_then(|()| {
            file.seek(SeekFrom::Start(resume))?;
            // A source that grows is not followed; whoever reads on finds that it did.
            copy(&mut bytes.take(content.size - resume), &mut file, resume, &mut buffer)
        });
        if let Err(error) = written {
            if content.size < RESUME_FROM {
                // Not worth going on from. The first error is the one to report.
                drop(dir.unlink(name.as_bytes()));
            }
            return Err(error);
        }
        Ok(Staged { content, temporary: Some(StagedFile { file, place }) })
    }

    fn discard(&self, staged: Staged) {
        if let Some(temporary) = staged.temporary
            && let Ok(dir) = self.incoming(temporary.place)
        {
            // What stays under a temporary name is harmless, and swept later.
            drop(dir.unlink(staged.content.hash.to_string().as_bytes()));
        }
    }

    fn publish(&self, staged: &[Staged]) -> io::Result<()> {
        let singly = staged.len() <= SYNC_SINGLY;
        if singly {
            staged.iter().filter_map(|staged| staged.temporary.as_ref()).try_for_each(|temporary| temporary.file.sync_all())?;
        } else {
            self.settle()?;
        }
        let mut changed = DirSync::new();
        for Staged { content, temporary } in staged {
            let name = content.hash.to_string();
            let to = self.make_dir(&fan(content.hash))?;
            match temporary {
                Some(temporary) => {
                    // Only now: a part that a killed push left must be one that the next push may write, whoever runs it.
                    temporary.file.set_permissions(Permissions::from_mode(OBJECT_MODE))?;
                    let from = self.incoming(temporary.place)?;
                    if !leads_to(&from, name.as_bytes(), &temporary.file)? {
                        return Err(io::Error::other("another push sends it in the name of this one"));
                    }
                    match from.rename_new(name.as_bytes(), &to, name.as_bytes()) {
                        // Somebody else stored the same content meanwhile; theirs is read back like ours.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            if singly {
                                self.open_object(content.hash)?.sync_all()?;
                            }
                            from.unlink(name.as_bytes())?;
                        }
                        answer => answer?,
                    }
                    changed.changed(&from)?;
                }
                // It was there before, but nobody knows whether it is durable.
                None if singly => self.open_object(content.hash)?.sync_all()?,
                None => {}
            }
            changed.changed(&to)?;
        }
        if singly {
            // So are the directories: a push that was killed may have made them, or a person who copied objects here.
            changed.changed(self.make_dir(OBJECTS)?.as_ref())?;
            changed.changed(self.root()?.as_ref())?;
        }
        if singly { changed.sync() } else { self.settle() }
    }

    fn settle(&self) -> io::Result<()> {
        sync_stored(self.root()?.as_ref())
    }

    fn prove(
        &self,
        content: Content,
        buffer: &mut HashBuffer,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Proof<ReadBack>, ProofError> {
        let (fan, name) = (fan(content.hash), content.hash.to_string());
        for _ in 0..LOOKS {
            let file = self.open_object(content.hash)?;
            drop_from_cache(&file)?;
            let proof = Proof::read_file(content, &file, buffer, cancel, progress)?;
            // It may have been moved aside, or replaced, while it was read.
            if let Some(dir) = self.find_dir(&fan)?
                && leads_to(&dir, name.as_bytes(), &file)?
            {
                return Ok(proof);
            }
        }
        Err(ProofError::Io(io::Error::other("it is exchanged again and again while it is read")))
    }

    fn copy_out(&self, hash: ContentHash, to: &mut dyn Write, cancel: &Cancel) -> io::Result<()> {
        let mut file = self.open_object(hash)?;
        let size = FileStat::of_fd(&file)?.size;
        let mut buffer = vec![0; PIECE.min(usize::try_from(size).unwrap_or(PIECE).max(1))];
        loop {
            cancel.check().map_err(io::Error::other)?;
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => to.write_all(&buffer[..count])?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn set_aside(&self, hash: ContentHash) -> io::Result<()> {
        let from = self.find_dir(&fan(hash))?.ok_or(io::ErrorKind::NotFound)?;
        let to = self.make_dir(DAMAGED)?;
        let name = hash.to_string();
        let aside = format!("{name}.{}", Id128::random()?);
        from.rename_new(name.as_bytes(), &to, aside.as_bytes())?;
        // Who found it damaged looked a while ago: another push may have moved that one aside since, and put the right one in its place.
        let mut moved = to.open_file(&path(&aside)?, Mounts::Stay)?;
        if digest_of(&mut moved).is_ok_and(|digest| digest == hash.0) {
            match to.rename_new(aside.as_bytes(), &from, name.as_bytes()) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        to.sync()?;
        from.sync()
    }

    fn sweep(&self, place: Place) -> io::Result<()> {
        let dir = self.incoming(place)?;
        let names: Vec<_> = dir.entries()?.iter().map(|entry| entry.name().to_vec()).collect();
        names.iter().try_for_each(|name| dir.unlink(name))
    }

    fn objects(&self, each: &mut dyn FnMut(Content)) -> io::Result<()> {
        for fan in self.list(OBJECTS)? {
            let Some(dir) = self.find_dir(&format!("{OBJECTS}/{fan}"))? else { continue };
            for entry in dir.entries()?.iter() {
                let name = std::str::from_utf8(entry.name()).ok().and_then(|name| name.parse::<ContentHash>().ok());
                let Some(hash) = name.filter(|hash| format!("{:02x}", hash.0[0]) == fan) else { continue };
                if let Some(stat) = dir.entry(entry.name())? {
                    each(Content { hash, size: stat.size });
                }
            }
        }
        Ok(())
    }

    fn scratch(&self) -> io::Result<(Box<dyn Medium>, ScratchRemoval)> {
        let path = self.path.join(format!(".lastcopy-test-{}", Id128::random()?));
        let part = Self::new(&path);
        let remove = move || match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
        Ok((Box::new(part), Box::new(remove)))
    }
}

/// Writes a file where none is, durably.
fn write_new(dir: &Dir, name: &[u8], bytes: &mut dyn Read) -> io::Result<File> {
    let mut temporary = name.to_vec();
    temporary.extend_from_slice(format!(".{}.tmp", Id128::random()?).as_bytes());
    let mut file = dir.create_new(&temporary, 0o644)?;
    let written = io::copy(bytes, &mut file).and_then(|_| file.sync_all()).and_then(|()| {
        dir.rename_new(&temporary, dir, name)?;
        dir.sync()
    });
    if let Err(error) = written {
        // The first error is the one to report; a leftover temporary is harmless.
        drop(dir.unlink(&temporary));
        return Err(error);
    }
    Ok(file)
}

/// Whether a name in the root is one that an interrupted writing of the marker leaves.
fn is_our_temporary(name: &[u8]) -> bool {
    let random = name.strip_prefix(MARKER.as_bytes()).and_then(|rest| rest.strip_prefix(b"."));
    let random = random.and_then(|rest| rest.strip_suffix(b".tmp"));
    random.is_some_and(|random| std::str::from_utf8(random).is_ok_and(|random| random.parse::<Id128>().is_ok()))
}

/// Whether a name leads to an open file, and not to another one, or none.
fn leads_to(dir: &Dir, name: &[u8], file: &File) -> io::Result<bool> {
    let (open, named) = (FileStat::of_fd(file)?, dir.entry(name)?);
    Ok(named.is_some_and(|named| (named.device, named.inode) == (open.device, open.inode)))
}

/// A part of an object that an interrupted push left, if it is worth going on from, and how much of it is there.
///
/// One that nobody may write was about to be published, and may be the object itself by another name. One that is locked is being written: a
/// push that was stopped, and whose run a person closed, may go on at any time.
fn unfinished(dir: &Dir, name: &[u8], content: Content) -> io::Result<Option<(File, u64)>> {
    let Some(found) = dir.entry(name)? else { return Ok(None) };
    if content.size < RESUME_FROM || found.size > content.size || found.links > 1 || found.mode & 0o200 == 0 {
        return Ok(None);
    }
    match dir.open_or_create(name, 0o644) {
        Ok(file) => {
            if !try_lock(&file).unwrap_or(false) {
                return Ok(None);
            }
            // Whoever had the lock before may have published it.
            let found = FileStat::of_fd(&file)?;
            Ok((found.mode & 0o200 != 0 && found.links == 1).then_some((file, found.size)))
        }
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(error),
    }
}

/// A new file, in place of one that is of no use. That one is never emptied: somebody may have published it under another name.
fn create_anew(dir: &Dir, name: &[u8], content: Content) -> io::Result<File> {
    let file = match dir.create_new(name, 0o644) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            dir.unlink(name)?;
            dir.create_new(name, 0o644)
        }
        answer => answer,
    }?;
    if content.size >= RESUME_FROM {
        // Where nothing can be locked, no part is gone on from.
        drop(try_lock(&file));
    }
    Ok(file)
}

/// Reads past bytes that are there already.
fn skip(bytes: &mut dyn Read, mut count: u64, buffer: &mut [u8]) -> io::Result<()> {
    while count > 0 {
        let piece = usize::try_from(count).unwrap_or(buffer.len()).min(buffer.len());
        bytes.read_exact(&mut buffer[..piece])?;
        count -= piece as u64;
    }
    Ok(())
}

fn copy(bytes: &mut dyn Read, file: &mut File, from: u64, buffer: &mut [u8]) -> io::Result<()> {
    let (mut written, mut begun) = (from, from);
    loop {
        let count = match bytes.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        file.write_all(&buffer[..count])?;
        written += count as u64;
        if written - begun >= WRITEBACK {
            start_writeback(file, begun, written - begun);
            begun = written;
        }
    }
}
