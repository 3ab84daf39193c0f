//! Removing from kopia's index what it believes to have and cannot read: otherwise the same bytes would never be stored again. Only what
//! lost contents and unreadable directories need, and only what could not be read twice while the repository answered.

use crate::held::holding;
use crate::listing::walk;
use crate::place::object_of;
use crate::program::{Input, Watch};
use crate::server::Unread;
use crate::session::{Session, each, lock};
use crate::wire;
use lastcopy_fs::Id128;
use lastcopy_sync::{Context, DestinationError, HeldItem};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};

/// Contents of kopia's that are named in one command.
const AT_A_TIME: usize = 500;
/// How deep lists of parts are believed to be.
const DEEPEST: usize = 8;

/// Says how many contents of kopia's it removed. Blocks.
pub(crate) fn make_way(
    session: &Session,
    lost: &[HeldItem],
    volumes: &[Id128],
    context: &Context,
) -> Result<u64, DestinationError> {
    let snapshots = holding(session, &|_| true)?;
    let mut objects: BTreeSet<_> = lost.iter().filter_map(|item| object_of(&item.location).ok().map(str::to_owned)).collect();
    objects.extend(unreadable_directories(session, volumes, context)?);
    let mut dead = BTreeSet::new();
    for object in &objects {
        context.cancel.check()?;
        dead.extend(dead_contents(session, object, context)?);
    }
    if dead.is_empty() {
        return Ok(0);
    }
    // What cannot be read while the repository is away is not dead; nor is what one server alone cannot read.
    let away = |why: String| session.connections.meaning(&why);
    session.answers_anew().map_err(away)?;
    let mut surely = dead_among(session, dead, context)?;
    session.answers_still(&snapshots).map_err(away)?;
    context.cancel.check()?;
    surely.retain(|content| is_content(content));
    for some in surely.iter().collect::<Vec<_>>().chunks(AT_A_TIME) {
        let deleted = session.write(Input::Nothing, &Watch::of(context), |command| {
            command.args(["content", "delete", "--dangerous-commands=enabled"]).args(some);
        })?;
        deleted.well(&session.connections.options.storage.address())?;
    }
    // What was listed before lists what is not there any more.
    *lock(&session.files) = None;
    session.settle()?;
    Ok(surely.len() as u64)
}

/// Of snapshots of these volumes: a new one would take them for stored, too. Others' are nothing that this node could store again.
fn unreadable_directories(session: &Session, volumes: &[Id128], context: &Context) -> Result<BTreeSet<String>, DestinationError> {
    let (entered, unread) = (Mutex::new(HashSet::new()), Mutex::new(BTreeSet::new()));
    let enter = |object: &str| lock(&entered).insert(object.to_owned());
    for snapshot in holding(session, &|volume| volumes.contains(&volume))? {
        if enter(&snapshot.root) {
            walk(session, &snapshot.root, &context.cancel, &enter, &|_, _| {}, &|_, object, _| {
                lock(&unread).insert(object.to_owned());
            })?;
        }
    }
    Ok(unread.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The contents of kopia's that an object needs, and that cannot be read. Below a list of parts that cannot be read, nothing is known.
fn dead_contents(session: &Session, object: &str, context: &Context) -> Result<BTreeSet<String>, DestinationError> {
    let mut open = BTreeMap::from([(object.to_owned(), 0)]);
    let mut leaves = BTreeSet::new();
    while let Some((object, depth)) = open.pop_first() {
        let Some(list) = object.strip_prefix('I').filter(|_| depth < DEEPEST) else {
            leaves.insert(object.trim_start_matches('Z').to_owned());
            continue;
        };
        match session.small(list) {
            Ok(bytes) => {
                open.extend(wire::parts(&bytes).into_iter().flatten().map(|part| (part, depth + 1)));
                // The list may have parts itself.
                open.insert(list.to_owned(), depth + 1);
            }
            Err(Unread::Gone(error)) => return Err(error),
            Err(_) => {
                open.insert(list.to_owned(), depth + 1);
            }
        }
    }
    dead_among(session, leaves, context)
}

/// Those that cannot be read to their end.
fn dead_among(session: &Session, contents: BTreeSet<String>, context: &Context) -> Result<BTreeSet<String>, DestinationError> {
    let dead = Mutex::new(BTreeSet::new());
    each(contents.into_iter().collect(), session.connections.options.parallel, &context.cancel, |content| {
        match session.copy(&content, &mut io::sink()) {
            Ok(()) => {}
            Err(Unread::Gone(error)) => return Err(error),
            Err(Unread::NotThere | Unread::Damaged(_)) => drop(lock(&dead).insert(content)),
        }
        Ok(())
    })?;
    Ok(dead.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The id of one content of kopia's: a letter, perhaps, and a digest.
fn is_content(text: &str) -> bool {
    let digest = text.strip_prefix(|letter: char| ('g'..='z').contains(&letter)).unwrap_or(text);
    digest.len() >= 32 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_contents_are_removed() {
        assert!(is_content(&"a1".repeat(16)) && is_content(&format!("k{}", "0f".repeat(16))));
        for other in ["", "k", "Ixab", &format!("I{}", "0f".repeat(16)), "--all", &"zz".repeat(16)] {
            assert!(!is_content(other), "{other}");
        }
    }
}
