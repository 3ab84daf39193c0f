//! What a snapshot of kopia's holds, path by path, read from its directories.

use crate::server::Unread;
use crate::session::{Session, lock};
use crate::wire::{self, Entry};
use lastcopy_fs::Cancel;
use lastcopy_sync::DestinationError;
use std::sync::{Condvar, Mutex, PoisonError};

/// Reads a directory.
pub(crate) fn directory(session: &Session, object: &str) -> Result<Vec<Entry>, Unread> {
    wire::directory(&session.small(object)?).map_err(Unread::Damaged)
}

/// A walk through the directories of a snapshot.
struct Walk<'a> {
    session: &'a Session,
    cancel: &'a Cancel,
    queue: Mutex<Queue>,
    news: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Directories that are still to be read: path, object.
    open: Vec<(String, String)>,
    /// Threads that read one just now.
    busy: usize,
    error: Option<DestinationError>,
}

/// Reads every directory below a root, several at a time. `enter` says whether a directory is to be read; `each` is given every other
/// entry with the path of its directory, and `unread` what could not be read: path, object, and why.
pub(crate) fn walk(
    session: &Session,
    root: &str,
    cancel: &Cancel,
    enter: &(dyn Fn(&str) -> bool + Sync),
    each: &(dyn Fn(&str, Entry) + Sync),
    unread: &(dyn Fn(&str, &str, String) + Sync),
) -> Result<(), DestinationError> {
    let queue = Mutex::new(Queue { open: vec![(String::new(), root.to_owned())], ..Queue::default() });
    let walk = &Walk { session, cancel, queue, news: Condvar::new() };
    std::thread::scope(|scope| {
        for _ in 0..session.connections.options.parallel.max(1) {
            scope.spawn(move || walk.work(enter, each, unread));
        }
    });
    cancel.check()?;
    lock(&walk.queue).error.take().map_or(Ok(()), Err)
}

impl Walk<'_> {
    fn work(
        &self,
        enter: &(dyn Fn(&str) -> bool + Sync),
        each: &(dyn Fn(&str, Entry) + Sync),
        unread: &(dyn Fn(&str, &str, String) + Sync),
    ) {
        while let Some((path, object)) = self.next() {
            let mut found = Vec::new();
            let outcome = match directory(self.session, &object) {
                Ok(entries) => {
                    for entry in entries {
                        if entry.is_dir() {
                            if enter(&entry.object) {
                                found.push((join(&path, &entry.name), entry.object));
                            }
                        } else {
                            each(&path, entry);
                        }
                    }
                    Ok(())
                }
                Err(Unread::NotThere) => {
                    unread(&path, &object, "it is not there".into());
                    Ok(())
                }
                Err(Unread::Damaged(reason)) => {
                    unread(&path, &object, reason);
                    Ok(())
                }
                Err(Unread::Gone(error)) => Err(error),
            };
            let mut queue = lock(&self.queue);
            queue.busy -= 1;
            queue.open.extend(found);
            if let Err(error) = outcome {
                queue.error.get_or_insert(error);
            }
            drop(queue);
            self.news.notify_all();
        }
    }

    fn next(&self) -> Option<(String, String)> {
        let mut queue = lock(&self.queue);
        loop {
            if queue.error.is_some() || self.cancel.is_cancelled() {
                return None;
            }
            if let Some(next) = queue.open.pop() {
                queue.busy += 1;
                return Some(next);
            }
            if queue.busy == 0 {
                return None;
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") }
}

/// A short digest: of a path, or of the id of an object.
pub(crate) type Key = [u8; 16];

pub(crate) fn key(text: &[u8]) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(text).as_bytes()[..16]);
    key
}

/// Every path of a snapshot, and what kopia stored for it: some 80 bytes for each.
#[derive(Default)]
pub(crate) struct Listing {
    /// Sorted by their keys.
    paths: Vec<Listed>,
    objects: Vec<u8>,
    /// Directories that could not be read, and why.
    unread: Vec<(String, String)>,
}

struct Listed {
    path: Key,
    size: u64,
    begin: u64,
    length: u8,
    is_file: bool,
}

/// What a listing says of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stored<'a> {
    /// Nothing.
    Nothing,
    /// Two of one name, of which nobody can tell which is which.
    Twice,
    /// Something that is no file.
    NoFile,
    /// A file.
    File { object: &'a str, size: u64 },
    /// It would lie in a directory that cannot be read; in words.
    Unread(String),
}

impl Listing {
    /// Reads it from a snapshot's root.
    pub(crate) fn read(session: &Session, root: &str, cancel: &Cancel) -> Result<Self, DestinationError> {
        let listing = Mutex::new(Self::default());
        let each = |dir: &str, entry: Entry| lock(&listing).add(&join(dir, &entry.name), &entry);
        let unread = |dir: &str, _: &str, why: String| lock(&listing).unread.push((dir.to_owned(), why));
        walk(session, root, cancel, &|_| true, &each, &unread)?;
        let mut listing = listing.into_inner().unwrap_or_else(PoisonError::into_inner);
        listing.paths.sort_unstable_by_key(|listed| listed.path);
        Ok(listing)
    }

    fn add(&mut self, path: &str, entry: &Entry) {
        let begin = self.objects.len() as u64;
        self.objects.extend_from_slice(entry.object.as_bytes());
        // Longer ones were refused when the directory was read.
        let length = u8::try_from(entry.object.len()).unwrap_or(0);
        self.paths.push(Listed { path: key(path.as_bytes()), size: entry.size, begin, length, is_file: entry.is_file() });
    }

    /// What is stored for a path.
    pub(crate) fn at(&self, path: &str) -> Stored<'_> {
        let wanted = key(path.as_bytes());
        let first = self.paths.partition_point(|listed| listed.path < wanted);
        let mut found = self.paths[first..].iter().take_while(|listed| listed.path == wanted);
        match (found.next(), found.next()) {
            (Some(_), Some(_)) => Stored::Twice,
            (Some(listed), None) if listed.is_file => {
                let begin = usize::try_from(listed.begin).unwrap_or(usize::MAX);
                let object = self.objects.get(begin..begin.saturating_add(listed.length.into())).unwrap_or_default();
                Stored::File { object: std::str::from_utf8(object).unwrap_or_default(), size: listed.size }
            }
            (Some(_), None) => Stored::NoFile,
            (None, _) => {
                let above = |dir: &str| dir.is_empty() || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
                let unread = self.unread.iter().find(|(dir, _)| above(dir));
                unread.map_or(Stored::Nothing, |(dir, why)| Stored::Unread(format!("the directory `{dir}` there: {why}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(kind: &str, object: &str) -> Entry {
        Entry { name: "x".into(), kind: kind.into(), size: 3, object: object.into() }
    }

    /// kopia writes U+FFFD for each byte that is no UTF-8, so that two names become one.
    #[test]
    fn a_path_that_is_listed_twice_tells_nothing() {
        let mut listing = Listing::default();
        listing.add("a/\u{fffd}", &entry("f", "1"));
        listing.add("a/b", &entry("f", "22"));
        listing.add("a/\u{fffd}", &entry("f", "3"));
        listing.add("link", &entry("s", "4"));
        listing.unread.push(("lost".into(), "why".into()));
        listing.paths.sort_unstable_by_key(|listed| listed.path);
        assert_eq!(listing.at("a/\u{fffd}"), Stored::Twice);
        assert_eq!(listing.at("a/b"), Stored::File { object: "22", size: 3 });
        assert_eq!(listing.at("link"), Stored::NoFile);
        assert_eq!(listing.at("a"), Stored::Nothing);
        assert!(matches!(listing.at("lost/x"), Stored::Unread(_)));
        assert_eq!(listing.at("lostx"), Stored::Nothing);
    }
}
