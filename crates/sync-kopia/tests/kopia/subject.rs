//! Repositories as the conformance suite drives them.

use crate::inside::{Inside, Objects, PASSWORD};
use lastcopy_fs::Content;
use lastcopy_sync::Destination;
use lastcopy_sync::conformance::{Made, Subject, Tamper};
use lastcopy_sync_kopia::{Kopia, Options, Storage};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Repositories in directories.
pub(crate) struct Repositories;

/// The same, whose passwords become keys in less time: half of what the shortest command takes goes by with that, and trials run many
/// hundreds.
pub(crate) struct QuickRepositories;

/// kopia, that makes such repositories where it can.
const QUICK: &str = r#"#!/bin/sh
quick=--format-block-key-derivation-algorithm=pbkdf2-sha256-600000
case " $* " in
    *" repository create "*) kopia repository create filesystem $quick --help > /dev/null 2>&1 && exec kopia "$@" $quick;;
esac
exec kopia "$@"
"#;

/// One of them.
pub(crate) struct MadeRepository {
    home: tempfile::TempDir,
    pub(crate) inside: Inside,
    destination: Arc<Kopia>,
    /// What was found in it, and how its files looked then.
    looked: Mutex<(Stats, Objects)>,
}

/// Every file of a directory: inode, size, and the time of its last change, which nobody can set.
type Stats = Vec<(u64, u64, i64, i64)>;

impl Subject for Repositories {
    fn make(&self) -> Result<Box<dyn Made>, String> {
        Ok(Box::new(MadeRepository::new()))
    }

    fn keeps_apart(&self) -> bool {
        false
    }
}

impl Subject for QuickRepositories {
    fn make(&self) -> Result<Box<dyn Made>, String> {
        Ok(Box::new(MadeRepository::quick()))
    }

    fn keeps_apart(&self) -> bool {
        false
    }
}

/// The options for a repository in a directory.
pub(crate) fn options(root: &Path) -> Options {
    let mut options = Options::at(Storage::directory_at(root).unwrap(), PASSWORD);
    options.stall = Duration::from_secs(60);
    options.parallel = 4;
    options
}

impl MadeRepository {
    /// An empty directory for a repository.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// With other options than the default.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("repository");
        Self::made_at(home, root, change)
    }

    fn quick() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (root, program) = (home.path().join("repository"), home.path().join("kopia"));
        fs::write(&program, QUICK).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        Self::made_at(home, root, |options| options.program = program)
    }

    /// In a directory that is somebody else's.
    pub(crate) fn at(root: &Path) -> Self {
        Self::made_at(tempfile::tempdir().unwrap(), root.to_owned(), |_| {})
    }

    fn made_at(home: tempfile::TempDir, root: PathBuf, change: impl FnOnce(&mut Options)) -> Self {
        fs::create_dir(&root).unwrap();
        let mut options = options(&root);
        change(&mut options);
        let inside = Inside::new(root, home.path().join("own"));
        Self { home, inside, destination: Arc::new(Kopia::new(options)), looked: Mutex::default() }
    }

    /// Another destination in the directory of one.
    pub(crate) fn beside(other: &Self) -> Self {
        let home = tempfile::tempdir().unwrap();
        let inside = Inside::new(other.root().to_owned(), home.path().join("own"));
        let destination = Arc::new(Kopia::new(options(other.root())));
        Self { home, inside, destination, looked: Mutex::default() }
    }

    pub(crate) fn kopia(&self) -> &Arc<Kopia> {
        &self.destination
    }

    pub(crate) fn root(&self) -> &Path {
        &self.inside.root
    }

    fn objects(&self) -> io::Result<Objects> {
        let mut looked = self.looked.lock().unwrap();
        let now = stats(self.root())?;
        if looked.0 != now {
            *looked = (now, self.inside.objects()?);
        }
        Ok(looked.1.clone())
    }

    /// Where a content lies.
    pub(crate) fn object(&self, content: Content) -> io::Result<String> {
        let found = self.objects()?.into_iter().find(|(held, _)| *held == content);
        found.map(|(_, object)| object).ok_or_else(|| io::Error::other("it is not held"))
    }

    fn damage(&self, content: Content, change: impl Fn(&mut Vec<u8>)) -> io::Result<()> {
        let (pack, offset, length) = self.inside.piece(&self.object(content)?)?;
        let file = fs::File::options().read(true).write(true).open(pack)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        file.read_exact_at(&mut bytes, offset)?;
        change(&mut bytes);
        file.write_all_at(&bytes, offset)
    }

    pub(crate) fn empty(&self) -> io::Result<()> {
        fs::remove_dir_all(self.root())?;
        fs::create_dir(self.root())
    }

    fn tampered(&self, tamper: Tamper) -> io::Result<()> {
        let kept = self.home.path().join("kept");
        match tamper {
            // In a pack there are the bytes of others, too: nothing can be taken out of it.
            Tamper::Drop(content) | Tamper::Empty(content) => self.damage(content, |bytes| bytes.fill(0)),
            Tamper::Truncate(content) => self.damage(content, |bytes| *bytes.last_mut().unwrap() = !bytes[bytes.len() - 1]),
            Tamper::Flip(content) => self.damage(content, |bytes| bytes[0] ^= 1),
            Tamper::Swap(one, two) => {
                self.damage(one, |bytes| bytes.reverse())?;
                self.damage(two, |bytes| bytes.reverse())
            }
            Tamper::Wipe => self.empty(),
            Tamper::Replace => {
                self.empty()?;
                self.inside.create()
            }
            Tamper::Keep => copy_tree(self.root(), &kept),
            Tamper::RollBack => {
                self.empty()?;
                copy_tree(&kept, self.root())
            }
        }
    }
}

impl Made for MadeRepository {
    fn destination(&self) -> Arc<dyn Destination> {
        self.destination.clone()
    }

    fn held(&self) -> Result<HashSet<Content>, String> {
        let objects = self.objects().map_err(|error| error.to_string())?;
        Ok(objects.into_iter().map(|(content, _)| content).collect())
    }

    fn tamper(&self, tamper: Tamper) -> Result<(), String> {
        self.tampered(tamper).map_err(|error| format!("{tamper:?}: {error}"))
    }
}

fn stats(dir: &Path) -> io::Result<Stats> {
    let (mut stats, mut dirs) = (Stats::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let stat = entry.metadata()?;
            stats.push((stat.ino(), stat.size(), stat.ctime(), stat.ctime_nsec()));
            if stat.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    stats.sort_unstable();
    Ok(stats)
}

pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy_tree(&entry.path(), &to)? } else { fs::copy(entry.path(), &to).map(drop)? }
    }
    Ok(())
}
