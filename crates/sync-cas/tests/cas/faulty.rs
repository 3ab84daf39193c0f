//! A medium that lies or fails beneath a `cas` destination while a push goes on.

use crate::subject::{object, rewrite};
use lastcopy_fs::{Cancel, Content, ContentHash, HashBuffer, Progress};
use lastcopy_store::{Proof, ProofError, ReadBack};
use lastcopy_sync::conformance::{Cure, Fault};
use lastcopy_sync::segment::Place;
use lastcopy_sync_cas::{Local, Medium, ScratchRemoval, Staged};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Every fault, by name.
pub(crate) const FAULTS: &[Fault] = &[
    healed("drops an object that it published"),
    healed("drops every object that it published"),
    healed("publishes nothing, and says that it did"),
    healed("cuts an object that it published"),
    healed("changes a bit of an object that it published"),
    healed("changes a bit of every object that it published"),
    healed("empties every object that it published"),
    healed("exchanges the bytes of objects that it published"),
    healed("has no space left after the first object"),
    healed("has no space left to publish"),
    healed("cannot make objects durable"),
    healed("cannot read back"),
    healed("reads back too little"),
    healed("reads back another object"),
    healed("misreads an object once"),
    healed("cannot look for objects"),
    healed("is read-only"),
    healed("cannot move damaged objects aside"),
    healed("stores a damaged segment"),
    healed("has no space left for a segment"),
    healed("cannot write the head"),
    healed("cannot clean up"),
    healed("cannot read its marker"),
    healed("has a damaged marker"),
    healed("cannot list heads"),
    Fault { name: "does not write the head, and says that it did", cure: Cure::Acknowledge },
];

const fn healed(name: &'static str) -> Fault {
    Fault { name, cure: Cure::Push }
}

/// A local directory, with one fault at a time.
#[derive(Clone)]
pub(crate) struct Faulty {
    honest: Arc<dyn Medium>,
    root: PathBuf,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    fault: Option<&'static str>,
    struck: u64,
    /// How often what the fault is about happened.
    seen: u64,
}

fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}

fn full() -> io::Error {
    io::ErrorKind::StorageFull.into()
}

fn read_only() -> io::Error {
    io::ErrorKind::ReadOnlyFilesystem.into()
}

impl Faulty {
    pub(crate) fn new(honest: Local, root: &Path) -> Self {
        Self { honest: Arc::new(honest), root: root.to_owned(), state: Arc::default() }
    }

    pub(crate) fn arm(&self, fault: Option<&'static str>) {
        assert!(fault.is_none_or(|name| FAULTS.iter().any(|fault| fault.name == name)), "there is no such fault");
        *self.state.lock().unwrap() = State { fault, ..State::default() };
    }

    pub(crate) fn struck(&self) -> u64 {
        self.state.lock().unwrap().struck
    }

    /// Whether this is the fault, and it strikes now.
    fn strikes(&self, name: &str) -> bool {
        self.strikes_from(name, 1)
    }

    /// Whether this is the fault, and it happens for the `from`th time or later.
    fn strikes_from(&self, name: &str, from: u64) -> bool {
        let mut state = self.state.lock().unwrap();
        if state.fault != Some(name) {
            return false;
        }
        state.seen += 1;
        let strikes = state.seen >= from;
        state.struck += u64::from(strikes);
        strikes
    }

    /// Whether this is the fault, and it did not strike yet.
    fn strikes_once(&self, name: &str) -> bool {
        self.struck() == 0 && self.strikes(name)
    }

    fn fails(&self, name: &str, error: fn() -> io::Error) -> io::Result<()> {
        if self.strikes(name) { Err(error()) } else { Ok(()) }
    }

    fn writes(&self) -> io::Result<()> {
        self.fails("is read-only", read_only)
    }

    /// Damages what was published, after it was.
    fn damage(&self, staged: &[Staged]) -> io::Result<()> {
        let published: Vec<_> = staged
            .iter()
            .filter(|staged| staged.is_new() && staged.content.size > 0)
            .map(|staged| object(&self.root, staged.content))
            .collect();
        let Some(first) = published.first() else { return Ok(()) };
        if self.strikes_once("drops an object that it published") {
            fs::remove_file(first)?;
        }
        if self.strikes("drops every object that it published") {
            published.iter().try_for_each(fs::remove_file)?;
        }
        if self.strikes_once("cuts an object that it published") {
            rewrite(first, |bytes| bytes.truncate(bytes.len() - 1))?;
        }
        if self.strikes_once("changes a bit of an object that it published") {
            rewrite(first, |bytes| bytes[0] ^= 0x10)?;
        }
        if self.strikes("changes a bit of every object that it published") {
            published.iter().try_for_each(|path| rewrite(path, |bytes| bytes[0] ^= 0x10))?;
        }
        if self.strikes("empties every object that it published") {
            published.iter().try_for_each(|path| rewrite(path, Vec::clear))?;
        }
        if let [one, two, ..] = &published[..]
            && self.strikes("exchanges the bytes of objects that it published")
        {
            let aside = self.root.with_file_name("aside");
            fs::rename(one, &aside)?;
            fs::rename(two, one)?;
            fs::rename(aside, two)?;
        }
        Ok(())
    }
}

impl Medium for Faulty {
    fn address(&self) -> String {
        self.honest.address()
    }

    fn look_again(&self) -> Arc<dyn Medium> {
        Arc::new(Self { honest: self.honest.look_again(), ..self.clone() })
    }

    fn contains(&self, path: &Path) -> io::Result<bool> {
        self.honest.contains(path)
    }

    fn is_empty(&self) -> io::Result<Option<bool>> {
        self.honest.is_empty()
    }

    fn create_root(&self) -> io::Result<()> {
        self.writes()?;
        self.honest.create_root()
    }

    fn read_small(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        if !path.contains('/') {
            self.fails("cannot read its marker", broken)?;
            if self.strikes("has a damaged marker") {
                return Ok(Some(b"{\"format\":1,".to_vec()));
            }
        }
        self.honest.read_small(path)
    }

    fn create_small(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.writes()?;
        self.honest.create_small(path, bytes)
    }

    fn replace_small(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.writes()?;
        self.fails("cannot write the head", broken)?;
        if self.strikes("does not write the head, and says that it did") {
            return Ok(());
        }
        self.honest.replace_small(path, bytes)
    }

    fn create_file(&self, path: &str, bytes: &mut dyn Read) -> io::Result<[u8; 32]> {
        self.writes()?;
        self.fails("has no space left for a segment", full)?;
        if self.strikes("stores a damaged segment") {
            let mut segment = Vec::new();
            bytes.read_to_end(&mut segment)?;
            segment.iter_mut().take(1).for_each(|byte| *byte ^= 1);
            return self.honest.create_file(path, &mut &segment[..]);
        }
        self.honest.create_file(path, bytes)
    }

    fn open_file(&self, path: &str) -> io::Result<File> {
        self.honest.open_file(path)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.fails("cannot list heads", broken)?;
        self.honest.list(path)
    }

    fn object_size(&self, hash: ContentHash) -> io::Result<Option<u64>> {
        self.fails("cannot look for objects", broken)?;
        self.honest.object_size(hash)
    }

    fn stage(&self, place: Place, content: Content, bytes: &mut dyn Read) -> io::Result<Staged> {
        self.writes()?;
        if self.strikes_from("has no space left after the first object", 2) {
            // Some of it was written before that was noticed.
            let mut some = bytes.take(content.size / 2);
            drop(self.honest.stage(place, content, &mut some)?);
            return Err(full());
        }
        self.honest.stage(place, content, bytes)
    }

    fn discard(&self, staged: Staged) {
        self.honest.discard(staged);
    }

    fn publish(&self, staged: &[Staged]) -> io::Result<()> {
        self.writes()?;
        self.fails("has no space left to publish", full)?;
        self.fails("cannot make objects durable", broken)?;
        if self.strikes("publishes nothing, and says that it did") {
            return Ok(());
        }
        self.honest.publish(staged)?;
        self.damage(staged)
    }

    fn settle(&self) -> io::Result<()> {
        self.fails("cannot make objects durable", broken)?;
        self.honest.settle()
    }

    fn prove(
        &self,
        content: Content,
        buffer: &mut HashBuffer,
        cancel: &Cancel,
        progress: &dyn Progress,
    ) -> Result<Proof<ReadBack>, ProofError> {
        self.fails("cannot read back", broken)?;
        if content.size > 0 && self.strikes("reads back too little") {
            let stored = File::open(object(&self.root, content))?;
            return Proof::read_stream(content, stored.take(content.size - 1));
        }
        if self.strikes_once("misreads an object once") {
            return Proof::read_stream(content, &b"another object"[..]);
        }
        if self.strikes("reads back another object") {
            return Proof::read_stream(content, &b"another object"[..]);
        }
        if content.size > 1000 && self.strikes("cannot move damaged objects aside") {
            return Proof::read_stream(content, io::empty());
        }
        self.honest.prove(content, buffer, cancel, progress)
    }

    fn copy_out(&self, hash: ContentHash, to: &mut dyn Write, cancel: &Cancel) -> io::Result<()> {
        self.honest.copy_out(hash, to, cancel)
    }

    fn set_aside(&self, hash: ContentHash) -> io::Result<()> {
        self.writes()?;
        self.fails("cannot move damaged objects aside", broken)?;
        self.honest.set_aside(hash)
    }

    fn sweep(&self, place: Place) -> io::Result<()> {
        self.fails("cannot clean up", broken)?;
        self.honest.sweep(place)
    }

    fn objects(&self, each: &mut dyn FnMut(Content)) -> io::Result<()> {
        self.honest.objects(each)
    }

    fn scratch(&self) -> io::Result<(Box<dyn Medium>, ScratchRemoval)> {
        self.honest.scratch()
    }
}
