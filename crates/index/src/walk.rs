//! The walk: a tree against the index, directory by directory, on several threads.
//!
//! Each thread takes a directory, reads its names, sorts them, and merges them with the rows that the index has for it, which come in
//! the same order; so memory does not grow with the volume. Directories are opened below their parent's descriptor, so that nothing
//! outside of the volume is ever reached, whatever is renamed or replaced meanwhile.

use crate::error::IndexError;
use crate::report::{Skipped, Trouble};
use crate::rules::Rules;
use lastcopy_fs::{Cancel, Dir, Entries, EntryRef, FileKind, FileStat, Mounts, RelPath};
use lastcopy_store::{
    ContentId, DirectoryId, FileId, FileStatus, IGNORE_FILE, MARKERS, Seen, Store, StoreError, VOLUME_DIR, Volume, WalkReader,
    foreign,
};
use std::collections::HashSet;
use std::ffi::CString;
use std::io;
use std::num::NonZero;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The kind of what a rule leaves out.
const EXCLUDED: &str = "excluded";

/// How to walk.
#[derive(Debug, Clone, Default)]
pub struct WalkOptions {
    /// What to leave out, in gitignore syntax, relative to the volume's root.
    pub exclude: Vec<String>,
    /// Whether to walk into what is mounted below the root.
    pub cross_mounts: bool,
    /// Directories and files to leave out wherever they appear, by device and inode.
    pub leave_out: Vec<LeaveOut>,
}

/// Something known by its identity that is no data of this volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaveOut {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// `own`, `volume` or `destination`.
    pub kind: &'static str,
}

/// The row of a path that was present, missing or offloaded when the walk came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: FileId,
    pub(crate) content: ContentId,
    pub(crate) status: FileStatus,
    pub(crate) seen: Seen,
}

/// What the walk saw at one path.
#[derive(Debug)]
pub(crate) enum Sighting<'a> {
    /// A regular file, with the row that the index has for its path.
    File { directory: &'a RelPath, name: &'a [u8], stat: FileStat, row: Option<Row> },
    /// A row that is present in the index, and nothing that could be it on the disk.
    Gone(FileId),
    /// A row that is present in the index, and left out of the walk now: on purpose, by a rule, or for what lies there.
    Excluded { id: FileId, by_rule: bool },
}

/// What one thread of a walk does with what it sees.
pub(crate) trait Collector: Send {
    fn sight(&mut self, sighting: Sighting<'_>) -> Result<(), IndexError>;
}

/// What a walk found besides files.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) skipped: Skipped,
    pub(crate) trouble: Trouble,
    /// Directories whose content is not known, because they could not be read to their end.
    unread: Vec<RelPath>,
    /// Directories that were left out, and whether by a rule.
    left_out: Vec<(RelPath, bool)>,
    visited: HashSet<DirectoryId>,
}

struct Pending {
    parent: Option<Arc<Dir>>,
    name: CString,
    path: RelPath,
    rules: Rules,
    mount: (u64, u64),
}

#[derive(Default)]
struct Queue {
    pending: Vec<Pending>,
    working: usize,
    failed: bool,
}

struct Shared<'a> {
    volume: &'a Volume,
    options: &'a WalkOptions,
    own: HashSet<(u64, u64)>,
    cancel: &'a Cancel,
    queue: Mutex<Queue>,
    wake: Condvar,
}

/// Walks a volume with one collector per thread, and sees to it that every present row is sighted exactly once, unless what became
/// of it cannot be told.
pub(crate) fn walk<C: Collector>(
    store: &Store,
    volume: &Volume,
    options: &WalkOptions,
    cancel: &Cancel,
    collectors: &mut [C],
) -> Result<Walked, IndexError> {
    let own = store.own_files()?.iter().map(|stat| (stat.device, stat.inode)).collect();
    let rules = Rules::configured(&options.exclude)?;
    let root_stat = volume.root_stat();
    let root = Pending {
        parent: None,
        name: CString::default(),
        path: RelPath::root(),
        rules,
        mount: (root_stat.mount, root_stat.device),
    };
    let queue = Mutex::new(Queue { pending: vec![root], ..Queue::default() });
    let shared = Shared { volume, options, own, cancel, queue, wake: Condvar::new() };
    let mut walked = Walked::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = collectors
            .iter_mut()
            .map(|collector| {
                let shared = &shared;
                scope.spawn(move || shared.work(store, collector))
            })
            .collect();
        for thread in threads {
            // A panic is a bug of ours; it must not pass for a finished walk.
            let part = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            walked.merge(part);
        }
        Ok::<_, IndexError>(())
    })?;
    cancel.check()?;
    if let Some(collector) = collectors.first_mut() {
        store.walking(volume.id(), |reader| walked.sight_unvisited(reader, collector))??;
    }
    Ok(walked)
}

/// How many threads walk or hash: those that the machine has, and at least two, so that one waits for the disk while one computes.
pub(crate) fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, NonZero::get).clamp(2, 16)
}

impl Walked {
    fn merge(&mut self, other: Self) {
        self.skipped.merge(other.skipped);
        self.trouble.merge(other.trouble);
        self.unread.extend(other.unread);
        self.left_out.extend(other.left_out);
        self.visited.extend(other.visited);
    }

    /// Directories of the index that the walk did not come by are gone with all their files, except below one that could not be
    /// read to its end, of which nothing is known, and below one that was left out.
    fn sight_unvisited(&self, reader: &WalkReader<'_>, collector: &mut impl Collector) -> Result<(), IndexError> {
        let mut gone = Vec::new();
        reader.directories(&mut |id, path| {
            if !self.visited.contains(&id) && !self.unread.iter().any(|dir| path.is_within(dir)) {
                gone.push((id, self.left_out.iter().find(|(dir, _)| path.is_within(dir)).map(|(_, by_rule)| *by_rule)));
            }
            Ok(())
        })?;
        for (directory, left_out_by_rule) in gone {
            let mut rows = Vec::new();
            reader.files_in(directory, &mut |known| {
                if known.status == FileStatus::Present {
                    rows.push(known.id);
                }
                Ok(())
            })?;
            for id in rows {
                collector.sight(left_out_by_rule.map_or(Sighting::Gone(id), |by_rule| Sighting::Excluded { id, by_rule }))?;
            }
        }
        Ok(())
    }
}

impl Shared<'_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One thread: takes directories until there are none, and nobody is left who could find more.
    fn work(&self, store: &Store, collector: &mut impl Collector) -> Result<Walked, IndexError> {
        store.walking(self.volume.id(), |reader| self.visit_all(reader, collector))?
    }

    fn visit_all(&self, reader: &WalkReader<'_>, collector: &mut impl Collector) -> Result<Walked, IndexError> {
        let mut walked = Walked::default();
        while let Some(pending) = self.take() {
            let done = Visit { shared: self, reader, walked: &mut walked }.directory(&pending, collector);
            let mut queue = self.lock();
            queue.working -= 1;
            match done {
                // Last in, first out: the walk goes deep, and few directories stay open.
                Ok(found) => queue.pending.extend(found),
                Err(error) => {
                    queue.failed = true;
                    self.wake.notify_all();
                    return Err(error);
                }
            }
            self.wake.notify_all();
        }
        Ok(walked)
    }

    fn take(&self) -> Option<Pending> {
        let mut queue = self.lock();
        loop {
            if queue.failed || self.cancel.is_cancelled() {
                self.wake.notify_all();
                return None;
            }
            if let Some(pending) = queue.pending.pop() {
                queue.working += 1;
                return Some(pending);
            }
            if queue.working == 0 {
                self.wake.notify_all();
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The visit of one directory by one thread.
struct Visit<'a> {
    shared: &'a Shared<'a>,
    reader: &'a WalkReader<'a>,
    walked: &'a mut Walked,
}

/// What the entry of a directory is to the walk.
enum Look {
    File(FileStat),
    Directory(Pending),
    /// Not a person's data, or not to be looked at: what the index knows of it is not gone.
    LeftOut {
        by_rule: bool,
    },
    /// Nothing that could be a file: what the index knows of it is gone.
    Nothing,
    /// It could not be looked at: what the index knows of it stays.
    Unknown,
}

impl Visit<'_> {
    fn directory(&mut self, pending: &Pending, collector: &mut impl Collector) -> Result<Vec<Pending>, IndexError> {
        let path = pending.path.clone();
        let (dir, entries) = match self.read(pending) {
            Ok(read) => read,
            Err(error) => {
                self.walked.trouble.add(path.clone(), format!("cannot be read: {error}"));
                self.walked.unread.push(path);
                return Ok(Vec::new());
            }
        };
        if let Some(kind) = self.foreign(&dir, &path, &entries) {
            self.walked.skipped.add(kind, || Some(path.clone()));
            self.walked.left_out.push((path, false));
            return Ok(Vec::new());
        }
        // Without its own rules, what it leaves out would be taken for files like others.
        let Some(rules) = self.rules(&pending.rules, &dir, &path, &entries) else {
            self.walked.unread.push(path);
            return Ok(Vec::new());
        };
        let known = self.reader.directory(&path)?;
        self.walked.visited.extend(known);
        let dir = Arc::new(dir);
        let mut found = Vec::new();
        let mut here = Here { visit: self, dir: &dir, path: &path, rules: &rules, mount: pending.mount, found: &mut found };
        here.merge(known, &entries, collector)?;
        Ok(found)
    }

    /// Opens a directory and reads its names to their end.
    fn read(&self, pending: &Pending) -> io::Result<(Dir, Entries)> {
        let mounts = if self.shared.options.cross_mounts { Mounts::Cross } else { Mounts::Stay };
        let dir = match &pending.parent {
            None => self.shared.volume.root().try_clone()?,
            Some(parent) => parent.open_child(&pending.name, mounts)?,
        };
        let mut entries = dir.entries()?;
        entries.sort();
        Ok((dir, entries))
    }

    /// Whether this directory is another volume, a copy of this one, or a destination: each known by its marker.
    fn foreign(&self, dir: &Dir, path: &RelPath, entries: &Entries) -> Option<&'static str> {
        let may_be = !path.is_root() && MARKERS.iter().any(|name| entries.contains(name.as_bytes()));
        if may_be { foreign(dir) } else { None }
    }

    /// The rules that hold here; none, if its own ones cannot be read.
    fn rules(&mut self, outer: &Rules, dir: &Dir, path: &RelPath, entries: &Entries) -> Option<Rules> {
        if !entries.contains(IGNORE_FILE.as_bytes()) {
            return Some(outer.clone());
        }
        let trouble = &mut self.walked.trouble;
        let file = path.join(IGNORE_FILE.as_bytes()).unwrap_or_default();
        let mut complaints = Vec::new();
        let rules = outer.with_ignore_file(dir, path, &mut |complaint| complaints.push(complaint));
        for complaint in complaints {
            trouble.add(file.clone(), complaint);
        }
        rules.map_err(|error| trouble.add(file, format!("cannot be read, so its directory is not looked at: {error}"))).ok()
    }
}

/// The merge of one directory's entries with its rows.
struct Here<'a, 'b> {
    visit: &'a mut Visit<'b>,
    dir: &'a Arc<Dir>,
    path: &'a RelPath,
    rules: &'a Rules,
    mount: (u64, u64),
    found: &'a mut Vec<Pending>,
}

impl Here<'_, '_> {
    fn merge(&mut self, known: Option<DirectoryId>, entries: &Entries, collector: &mut impl Collector) -> Result<(), IndexError> {
        let mut rest = entries.iter().peekable();
        if let Some(known) = known {
            let reader = self.visit.reader;
            let mut failed = Ok(());
            let read = reader.files_in(known, &mut |file| {
                let row = Row { id: file.id, content: file.content, status: file.status, seen: file.seen };
                let step = (|| {
                    while let Some(entry) = rest.next_if(|entry| entry.name() < file.name) {
                        self.entry(entry, None, collector)?;
                    }
                    match rest.next_if(|entry| entry.name() == file.name) {
                        Some(entry) => self.entry(entry, Some(row), collector),
                        None => gone(&row, collector),
                    }
                })();
                step.map_err(|error| {
                    failed = Err(error);
                    StoreError::Refused("the walk stopped".into())
                })
            });
            // The error that stopped it, rather than the one that carried it out of the cursor.
            failed?;
            read?;
        }
        rest.try_for_each(|entry| self.entry(entry, None, collector))
    }

    fn entry(&mut self, entry: EntryRef<'_>, row: Option<Row>, collector: &mut impl Collector) -> Result<(), IndexError> {
        match self.look(entry) {
            Look::File(stat) => collector.sight(Sighting::File { directory: self.path, name: entry.name(), stat, row }),
            Look::Directory(pending) => {
                self.found.push(pending);
                row.map_or(Ok(()), |row| gone(&row, collector))
            }
            Look::Nothing => row.map_or(Ok(()), |row| gone(&row, collector)),
            Look::LeftOut { by_rule } => match row {
                Some(row) if row.status == FileStatus::Present => collector.sight(Sighting::Excluded { id: row.id, by_rule }),
                _ => Ok(()),
            },
            Look::Unknown => Ok(()),
        }
    }

    fn look(&mut self, entry: EntryRef<'_>) -> Look {
        let stat = match FileStat::of_entry(self.dir.as_ref(), entry.c_name()) {
            Ok(stat) => stat,
            // It vanished after its name was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Look::Nothing,
            Err(error) => {
                let path = self.path.join(entry.name()).unwrap_or_default();
                self.visit.walked.trouble.add(path.clone(), format!("cannot be looked at: {error}"));
                // Perhaps a directory: of what the index knows below it, nothing can be told.
                self.visit.walked.unread.push(path);
                return Look::Unknown;
            }
        };
        if let Some(kind) = self.left_out(entry, &stat) {
            let path = self.path.join(entry.name()).ok();
            let by_rule = kind == EXCLUDED;
            if stat.kind == FileKind::Directory {
                self.visit.walked.left_out.extend(path.clone().map(|path| (path, by_rule)));
            }
            // Our own directory is no news.
            if kind != "own" || !self.path.is_root() {
                self.visit.walked.skipped.add(kind, || path);
            }
            return Look::LeftOut { by_rule };
        }
        match stat.kind {
            FileKind::Regular => Look::File(stat),
            FileKind::Directory => match self.path.join(entry.name()) {
                Ok(path) => Look::Directory(Pending {
                    parent: Some(Arc::clone(self.dir)),
                    name: entry.c_name().to_owned(),
                    path,
                    rules: self.rules.clone(),
                    mount: (stat.mount, stat.device),
                }),
                // A directory never holds such names.
                Err(_) => Look::Unknown,
            },
            other => {
                self.visit.walked.skipped.add(other.name(), || self.path.join(entry.name()).ok());
                Look::Nothing
            }
        }
    }

    /// Why an entry is left out, if it is.
    fn left_out(&self, entry: EntryRef<'_>, stat: &FileStat) -> Option<&'static str> {
        let shared = self.visit.shared;
        if self.path.is_root() && entry.name() == VOLUME_DIR.as_bytes() || shared.own.contains(&(stat.device, stat.inode)) {
            return Some("own");
        }
        let known = shared.options.leave_out.iter().find(|known| (known.device, known.inode) == (stat.device, stat.inode));
        if let Some(known) = known {
            return Some(known.kind);
        }
        if !shared.options.cross_mounts && (stat.mount, stat.device) != self.mount && is_other_mount(stat, self.mount) {
            return Some("mount");
        }
        let excluded = !self.rules.is_empty()
            && matches!(stat.kind, FileKind::Regular | FileKind::Directory)
            && self.path.join(entry.name()).is_ok_and(|path| self.rules.excludes(&path, stat.kind == FileKind::Directory));
        excluded.then_some(EXCLUDED)
    }
}

/// By the mount where the kernel tells it; a subvolume has a device number of its own, but is no mount.
fn is_other_mount(stat: &FileStat, (mount, device): (u64, u64)) -> bool {
    if stat.mount != 0 && mount != 0 { stat.mount != mount } else { stat.device != device }
}

fn gone(row: &Row, collector: &mut impl Collector) -> Result<(), IndexError> {
    match row.status {
        FileStatus::Present => collector.sight(Sighting::Gone(row.id)),
        // Missing and offloaded rows are gone already, and quarantined ones are neither present nor missing to anybody else.
        _ => Ok(()),
    }
}
