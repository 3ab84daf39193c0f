//! A local `cas` destination as the conformance suite drives it. The storage is looked at and damaged with plain file calls, by the
//! paths that the format promises.

use crate::faulty::{self, Faulty};
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_sync::Destination;
use lastcopy_sync::conformance::{Fault, Made, Subject, Tamper};
use lastcopy_sync_cas::{Cas, Local};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Local directories.
pub(crate) struct LocalCas;

/// One local directory, with whatever goes wrong in it.
pub(crate) struct MadeCas {
    home: tempfile::TempDir,
    root: PathBuf,
    faulty: Faulty,
    destination: Arc<Cas>,
}

impl Subject for LocalCas {
    fn make(&self) -> Result<Box<dyn Made>, String> {
        Ok(Box::new(MadeCas::new()))
    }

    fn faults(&self) -> Vec<Fault> {
        faulty::FAULTS.to_vec()
    }
}

impl MadeCas {
    pub(crate) fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("store");
        let faulty = Faulty::new(Local::new(&root), &root);
        let destination = Arc::new(Cas::on(Box::new(faulty.clone())));
        Self { home, root, faulty, destination }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the format says that an object lies.
    pub(crate) fn object(&self, content: Content) -> PathBuf {
        object(&self.root, content)
    }

    /// What lies at the place of an object, whatever bytes they are.
    pub(crate) fn bytes_at(&self, content: Content) -> Option<Vec<u8>> {
        match fs::read(self.object(content)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            read => Some(read.unwrap()),
        }
    }

    fn tampered(&self, tamper: Tamper) -> io::Result<()> {
        let kept = self.home.path().join("kept");
        match tamper {
            Tamper::Drop(content) => fs::remove_file(self.object(content)),
            Tamper::Truncate(content) => rewrite(&self.object(content), |bytes| bytes.truncate(bytes.len() - 1)),
            Tamper::Flip(content) => rewrite(&self.object(content), |bytes| bytes[0] ^= 1),
            Tamper::Empty(content) => rewrite(&self.object(content), Vec::clear),
            Tamper::Swap(one, two) => {
                let aside = self.home.path().join("aside");
                fs::rename(self.object(one), &aside)?;
                fs::rename(self.object(two), self.object(one))?;
                fs::rename(aside, self.object(two))
            }
            Tamper::Wipe => {
                fs::remove_dir_all(&self.root)?;
                fs::create_dir(&self.root)
            }
            Tamper::Replace => {
                fs::remove_dir_all(&self.root)?;
                fs::create_dir(&self.root)?;
                let marker =
                    r#"{"format":1,"id":"0123456789abcdef0123456789abcdef","kind":"cas","created":"2000-01-01T00:00:00Z"}"#;
                fs::write(self.root.join(".lastcopy-destination.json"), marker)
            }
            Tamper::Keep => copy_tree(&self.root, &kept),
            Tamper::RollBack => {
                fs::remove_dir_all(&self.root)?;
                copy_tree(&kept, &self.root)
            }
        }
    }
}

impl Made for MadeCas {
    fn destination(&self) -> Arc<dyn Destination> {
        self.destination.clone()
    }

    fn held(&self) -> Result<HashSet<Content>, String> {
        held_in(&self.root).map_err(|error| error.to_string())
    }

    fn tamper(&self, tamper: Tamper) -> Result<(), String> {
        self.tampered(tamper).map_err(|error| format!("{tamper:?}: {error}"))
    }

    fn arm(&self, fault: Option<&'static str>) {
        self.faulty.arm(fault);
    }

    fn struck(&self) -> u64 {
        self.faulty.struck()
    }
}

/// The objects that hold what their names say.
fn held_in(root: &Path) -> io::Result<HashSet<Content>> {
    let mut held = HashSet::new();
    for shard in entries(&root.join("objects"))? {
        for path in entries(&shard)? {
            let content = hash_bytes(&fs::read(&path)?);
            if path == object(root, content) {
                held.insert(content);
            }
        }
    }
    Ok(held)
}

/// What lies in a directory, if there is one.
fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries?.map(|entry| Ok(entry?.path())).collect(),
    }
}

pub(crate) fn object(root: &Path, content: Content) -> PathBuf {
    let name = content.hash.to_string();
    root.join("objects").join(&name[..2]).join(&name)
}

/// Changes the bytes of a stored object, which nobody may write.
pub(crate) fn rewrite(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    change(&mut bytes);
    fs::remove_file(path)?;
    fs::write(path, bytes)
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy_tree(&entry.path(), &to)? } else { fs::copy(entry.path(), &to).map(drop)? }
    }
    Ok(())
}
