//! Somebody else writes to the same store, at the worst moment: a push whose run a person closed, another node's, or a person.

use crate::subject::{object, rewrite};
use lastcopy_fs::{Cancel, Content, HashBuffer, Id128, NoProgress, Progress, hash_bytes};
use lastcopy_store::ProofError;
use lastcopy_sync::segment::Place;
use lastcopy_sync_cas::{Local, Medium};
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;

const PLACE: Place = Place { volume: Id128([1; 16]), epoch: Id128([2; 16]) };

/// An empty store.
fn store() -> (tempfile::TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    Local::new(&root).create_root().unwrap();
    (home, root)
}

fn put(medium: &dyn Medium, bytes: &[u8]) -> io::Result<Content> {
    let content = hash_bytes(bytes);
    let staged = medium.stage(PLACE, content, &mut &bytes[..])?;
    medium.publish(&[staged]).map(|()| content)
}

fn is_proven(medium: &dyn Medium, content: Content) -> bool {
    medium.prove(content, &mut HashBuffer::new(), &Cancel::new(), &NoProgress).is_ok()
}

/// Bytes of a source that somebody edits while it is read, with something that happens in their midst.
struct Edited<F: FnMut()> {
    bytes: Vec<u8>,
    at: usize,
    midway: F,
}

impl<F: FnMut()> Read for Edited<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let half = self.bytes.len() / 2;
        if self.at == half {
            (self.midway)();
            self.bytes[half..].fill(b'x');
        }
        let end = if self.at < half { half } else { self.bytes.len() };
        let count = (&self.bytes[self.at..end]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}

/// A push was stopped in the midst of a large file, and a person closed its run. The next push went on from its part, published and proved it,
/// and then the first one went on: it wrote what the file held by now into the object itself.
#[test]
fn a_part_that_somebody_still_writes_is_not_gone_on_from() {
    // From 64 MiB on, parts are gone on from.
    let bytes = vec![b'a'; 65 << 20];
    let (content, (_home, root)) = (hash_bytes(&bytes), store());
    let (stopped, next) = (Local::new(&root), Local::new(&root));
    let midway = || {
        put(&next, &bytes).unwrap();
    };
    let staged = stopped.stage(PLACE, content, &mut Edited { bytes: bytes.clone(), at: 0, midway }).unwrap();
    assert!(is_proven(&next, content), "the object was written to after it had been proven");
    // Nor does it take the next one's part for its own.
    let other = next.stage(PLACE, content, &mut &bytes[..]).unwrap();
    assert!(stopped.publish(&[staged]).is_err());
    next.publish(&[other]).unwrap();
    assert!(is_proven(&next, content));
}

/// A part that was left by a push that is gone is gone on from.
#[test]
fn a_part_that_nobody_writes_is_gone_on_from() {
    let bytes = vec![b'a'; 65 << 20];
    let (content, (_home, root)) = (hash_bytes(&bytes), store());
    let half = &bytes[..bytes.len() / 2];
    let mut breaks = half.chain(Breaks);
    Local::new(&root).stage(PLACE, content, &mut breaks).unwrap_err();
    let part = root.join("incoming").join(PLACE.volume.to_string()).join(PLACE.epoch.to_string()).join(content.hash.to_string());
    assert_eq!(fs::metadata(&part).unwrap().len(), half.len() as u64);
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&part).unwrap());
    put(&Local::new(&root), &bytes).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(object(&root, content)).unwrap()), inode);
}

struct Breaks;

impl Read for Breaks {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the source broke"))
    }
}

/// One push found an object damaged, and another one put the right one in its place before the first moved it aside.
#[test]
fn the_right_object_is_not_moved_aside() {
    let (_home, root) = store();
    let medium = Local::new(&root);
    let content = put(&medium, b"bytes").unwrap();
    medium.set_aside(content.hash).unwrap();
    assert!(is_proven(&medium, content));
    rewrite(&object(&root, content), |bytes| bytes[0] ^= 1).unwrap();
    medium.set_aside(content.hash).unwrap();
    assert!(!object(&root, content).exists());
    assert_eq!(fs::read_dir(root.join("damaged")).unwrap().count(), 1);
}

/// Something that happens once, while an object is read.
struct Midway<F: FnOnce() + Send>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> Progress for Midway<F> {
    fn phase(&self, _name: &'static str, _files: u64, _bytes: u64) {}
    fn advance(&self, _files: u64, _bytes: u64) {
        if let Some(midway) = self.0.lock().unwrap().take() {
            midway();
        }
    }
    fn note(&self, _line: &str) {}
}

/// An object was taken away while it was read, which takes an hour for a large one. What was read is not there any more.
#[test]
fn what_is_taken_away_while_it_is_read_is_not_proven() {
    let (_home, root) = store();
    let medium = Local::new(&root);
    let content = put(&medium, b"bytes").unwrap();
    let taken = object(&root, content);
    let midway = Midway(Mutex::new(Some(|| fs::rename(&taken, root.join("taken")).unwrap())));
    let proof = medium.prove(content, &mut HashBuffer::new(), &Cancel::new(), &midway);
    assert!(matches!(proof, Err(ProofError::Io(error)) if error.kind() == io::ErrorKind::NotFound));
    // Who puts it back in that time has it there.
    fs::rename(root.join("taken"), &taken).unwrap();
    let midway = Midway(Mutex::new(Some(|| {
        fs::copy(&taken, root.join("copy")).unwrap();
        fs::rename(root.join("copy"), &taken).unwrap();
    })));
    assert!(medium.prove(content, &mut HashBuffer::new(), &Cancel::new(), &midway).is_ok());
}
