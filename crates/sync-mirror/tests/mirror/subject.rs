//! Mirrors as the conformance suite drives them. What they hold is looked at and damaged with plain file calls: beneath whatever server
//! stands before it, or in a checkout.

use crate::checkout::Checkout;
use crate::servers::{Place, Served, Server};
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_sync::Destination;
use lastcopy_sync::conformance::{Fault, Made, Subject, Tamper};
use lastcopy_sync_mirror::{Mirror, Options};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Mirrors at one sort of place.
pub(crate) struct Mirrors {
    pub(crate) place: Place,
}

/// One mirror, and what it holds.
pub(crate) struct MadeMirror {
    home: tempfile::TempDir,
    checkout: Checkout,
    destination: Arc<Mirror>,
    _server: Option<Server>,
}

impl Subject for Mirrors {
    fn make(&self) -> Result<Box<dyn Made>, String> {
        Ok(Box::new(MadeMirror::at(self.place)))
    }

    fn faults(&self) -> Vec<Fault> {
        Vec::new()
    }
}

impl MadeMirror {
    pub(crate) fn at(place: Place) -> Self {
        Self::with(place, |_| {})
    }

    /// With other options than the default.
    pub(crate) fn with(place: Place, change: impl FnOnce(&mut Options)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("beneath");
        fs::create_dir(&dir).unwrap();
        let Served { server, mut options, beneath } = place.serve(&dir);
        change(&mut options);
        let checkout = Checkout::new(home.path(), beneath, &options);
        Self { checkout, home, destination: Arc::new(Mirror::new(options)), _server: server }
    }

    /// Where its files are, as far as they lie in a directory of this machine.
    pub(crate) fn root(&self) -> &Path {
        self.checkout.tree()
    }

    pub(crate) fn mirror(&self) -> &Arc<Mirror> {
        &self.destination
    }

    /// The files that hold a content.
    fn files_with(&self, content: Content) -> Vec<PathBuf> {
        files(self.root()).into_iter().filter(|path| fs::read(path).is_ok_and(|bytes| hash_bytes(&bytes) == content)).collect()
    }

    fn rewrite(&self, content: Content, change: impl Fn(&mut Vec<u8>)) -> io::Result<()> {
        self.files_with(content).iter().try_for_each(|path| {
            let mut bytes = fs::read(path)?;
            change(&mut bytes);
            fs::write(path, bytes)
        })
    }

    fn tampered(&self, tamper: Tamper) -> io::Result<()> {
        let kept = self.home.path().join("kept");
        match tamper {
            Tamper::Drop(content) => self.files_with(content).iter().try_for_each(fs::remove_file),
            Tamper::Truncate(content) => self.rewrite(content, |bytes| bytes.truncate(bytes.len() - 1)),
            Tamper::Flip(content) => self.rewrite(content, |bytes| bytes[0] ^= 1),
            Tamper::Empty(content) => self.rewrite(content, Vec::clear),
            Tamper::Swap(one, two) => {
                let (ones, twos) = (self.files_with(one), self.files_with(two));
                let (first, second) = (fs::read(&ones[0])?, fs::read(&twos[0])?);
                ones.iter().try_for_each(|path| fs::write(path, &second))?;
                twos.iter().try_for_each(|path| fs::write(path, &first))
            }
            Tamper::Wipe => self.empty(),
            Tamper::Replace => {
                self.empty()?;
                let marker =
                    r#"{"format":1,"id":"0123456789abcdef0123456789abcdef","kind":"mirror","created":"2000-01-01T00:00:00Z"}"#;
                fs::write(self.root().join(".lastcopy-destination.json"), marker)
            }
            Tamper::Keep => copy_tree(self.root(), &kept),
            Tamper::RollBack => {
                self.empty()?;
                copy_tree(&kept, self.root())
            }
        }
    }

    fn empty(&self) -> io::Result<()> {
        fs::remove_dir_all(self.root())?;
        fs::create_dir(self.root())
    }
}

impl Made for MadeMirror {
    fn destination(&self) -> Arc<dyn Destination> {
        self.destination.clone()
    }

    fn held(&self) -> Result<HashSet<Content>, String> {
        let held =
            self.checkout.look().and_then(|()| files(self.root()).iter().map(|path| Ok(hash_bytes(&fs::read(path)?))).collect());
        held.map_err(|error| error.to_string())
    }

    fn tamper(&self, tamper: Tamper) -> Result<(), String> {
        let tampered = self.checkout.look().and_then(|()| self.tampered(tamper)).and_then(|()| self.checkout.put_back());
        tampered.map_err(|error| format!("{tamper:?}: {error}"))
    }
}

/// Every file of the mirror but lastcopy's own.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let (mut found, mut dirs) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.map_while(Result::ok) {
            let path = entry.path();
            match path.is_dir() {
                true if ![".lastcopy/volumes", ".lastcopy/index"].iter().any(|own| path.ends_with(own)) => dirs.push(path),
                false if path != root.join(".lastcopy-destination.json") => found.push(path),
                _ => {}
            }
        }
    }
    found.sort();
    found
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
