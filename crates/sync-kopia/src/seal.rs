//! Segments and heads: each is a snapshot of one file, from stdin, pinned, and read back before it counts.

use crate::listing::directory;
use crate::place::{HEAD_FILE, Source, head_pin, segment_file, segment_pin, sequence_of};
use crate::program::{Input, Watch, flag};
use crate::server::Unread;
use crate::session::Session;
use crate::snapshot::Snapshots;
use crate::wire::Snapshot;
use lastcopy_fs::Id128;
use lastcopy_sync::segment::{DamagedHead, Place, PlacedHead, digest_of, hex, parse_head};
use lastcopy_sync::{Context, DestinationError};
use std::fs::File;
use std::io::{self, Seek};

/// More heads than these are too many.
const HEADS: usize = 16;

/// How a pin is made of a number.
type Pin = fn(Id128, i64) -> String;

/// The whole snapshots of a source with a number in their pin, greatest first.
fn numbered(session: &Session, source: Source, epoch: Id128, pin: Pin) -> Result<Vec<(i64, Snapshot)>, DestinationError> {
    let snapshots = session.server()?.snapshots(source)?.into_iter().filter(Snapshot::is_whole);
    let number = |snapshot: &Snapshot| snapshot.pins().iter().find_map(|name| sequence_of(name, epoch, pin));
    let mut numbered: Vec<_> = snapshots.filter_map(|snapshot| Some((number(&snapshot)?, snapshot))).collect();
    // Of two with the same number, the newest is first: kopia lists them by their age.
    numbered.reverse();
    numbered.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
    Ok(numbered)
}

fn address(session: &Session, source: Source) -> String {
    format!("{}, {}", session.connections.options.storage.address(), source.name())
}

fn unread(address: &str, what: &str, why: Unread) -> DestinationError {
    let damaged = |detail| DestinationError::Damaged { what: what.into(), address: address.to_owned(), detail };
    match why {
        Unread::Gone(error) => error,
        Unread::NotThere => damaged("it is not there".into()),
        Unread::Damaged(detail) => damaged(detail),
    }
}

/// The object of the one file in a snapshot.
fn only_file(session: &Session, snapshot: &Snapshot, name: &str) -> Result<String, Unread> {
    let entries = directory(session, &snapshot.root)?;
    let found = entries.into_iter().find(|entry| entry.is_file() && entry.name == name);
    found.map(|entry| entry.object).ok_or(Unread::NotThere)
}

/// An object as a file of our own.
fn fetched(session: &Session, object: &str) -> Result<File, Unread> {
    let local = |error: io::Error| Unread::Gone(DestinationError::Io { address: "a temporary file".into(), source: error });
    let mut file = tempfile::tempfile().map_err(local)?;
    session.copy(object, &mut file)?;
    file.rewind().map_err(local).map(|()| file)
}

/// Stores one file under a pin, and reads it back.
fn store(session: &Session, source: Source, name: &str, pin: &str, mut file: File, watch: &Watch) -> Result<(), DestinationError> {
    let (address, what) = (address(session, source), "what was just written");
    let local = |source| DestinationError::Io { address: "a temporary file".into(), source };
    let expected = digest_of(&mut file).map_err(local)?;
    file.rewind().map_err(local)?;
    let finished = session.write(Input::File(file), watch, |command| {
        // The directory is only a name: what is stored comes from stdin.
        command
            .args(["--progress", "snapshot", "create", "/lastcopy"])
            .arg(flag("stdin-file", name))
            .arg(flag("override-source", source.name()));
        command.arg(flag("pin", pin)).arg("--no-send-snapshot-report");
    })?;
    session.settle()?;
    let snapshots = session.server()?.snapshots(source)?;
    let made = snapshots.iter().rev().find(|snapshot| snapshot.is_whole() && snapshot.pins().iter().any(|name| name == pin));
    let made = made.ok_or_else(|| session.connections.meaning(&format!("kopia made no snapshot: {}", finished.words)))?;
    let read = only_file(session, made, name).and_then(|object| fetched(session, &object));
    let mut read = read.map_err(|why| unread(&address, what, why))?;
    let found = digest_of(&mut read).map_err(local)?;
    if found == expected {
        return Ok(());
    }
    let detail = format!("it hashes to {} instead of {}", hex(&found), hex(&expected));
    Err(DestinationError::Damaged { what: what.into(), address, detail })
}

/// Stores a segment where none of its number is, then the head.
pub(crate) fn seal(
    session: &Session,
    at: Place,
    sequence: i64,
    segment: File,
    head: &[u8],
    context: &Context,
) -> Result<(), DestinationError> {
    let watch = &Watch::of(context);
    let source = Source::Segments(at);
    if segments(session, at)?.contains(&sequence) {
        let reason = "a segment of this number is there already".into();
        return Err(DestinationError::Occupied { address: address(session, source), reason });
    }
    let snapshots = Snapshots { session, epoch: at.epoch, context };
    // A push that had nothing to send set none; and for kopia a head is a file like others, which rules of others may leave out.
    snapshots.cut_off_contents(at.volume)?;
    store(session, source, &segment_file(sequence), &segment_pin(at.epoch, sequence), segment, watch)?;
    let local = |source| DestinationError::Io { address: "a temporary file".into(), source };
    let mut file = tempfile::tempfile().map_err(local)?;
    io::Write::write_all(&mut file, head).map_err(local)?;
    store(session, Source::Heads(at), HEAD_FILE, &head_pin(at.epoch, sequence), file, watch)?;
    // The newest was read back just now: that older ones stay where they are is no failure.
    if let Err(error) = release_heads(&snapshots, at) {
        context.progress.note(&format!("older heads there were not removed: {error}"));
    }
    Ok(())
}

/// Now and then, deletes all heads of a place but the newest two: otherwise each push would leave one for ever.
fn release_heads(snapshots: &Snapshots<'_>, at: Place) -> Result<(), DestinationError> {
    let heads = numbered(snapshots.session, Source::Heads(at), at.epoch, head_pin)?;
    if heads.len() <= HEADS {
        return Ok(());
    }
    snapshots.delete(&heads.iter().skip(2).map(|(_, snapshot)| snapshot).collect::<Vec<_>>())
}

/// The numbers of the segments of a place.
pub(crate) fn segments(session: &Session, at: Place) -> Result<Vec<i64>, DestinationError> {
    let found = numbered(session, Source::Segments(at), at.epoch, segment_pin)?;
    let mut numbers: Vec<_> = found.into_iter().map(|(number, _)| number).collect();
    numbers.dedup();
    Ok(numbers)
}

/// A segment's bytes.
pub(crate) fn segment(session: &Session, at: Place, sequence: i64) -> Result<File, DestinationError> {
    let source = Source::Segments(at);
    let address = address(session, source);
    let found = numbered(session, source, at.epoch, segment_pin)?.into_iter().find(|(number, _)| *number == sequence);
    let what = format!("segment {sequence}");
    let (_, snapshot) = found.ok_or_else(|| unread(&address, &what, Unread::NotThere))?;
    let object = only_file(session, &snapshot, &segment_file(sequence));
    object.and_then(|object| fetched(session, &object)).map_err(|why| unread(&address, &what, why))
}

/// The head of each place, of one volume or of all.
pub(crate) fn heads(session: &Session, volume: Option<Id128>) -> Result<Vec<PlacedHead>, DestinationError> {
    let mut found = Vec::new();
    for source in session.server()?.sources(volume)? {
        if let Source::Heads(place) = source {
            found.extend(head(session, place)?);
        }
    }
    Ok(found)
}

/// The newest head of a place that can be read; if none can, why the newest cannot. Whoever is stopped while it stores one leaves half of one,
/// which hides nothing.
fn head(session: &Session, place: Place) -> Result<Option<PlacedHead>, DestinationError> {
    let mut damaged = None;
    for (_, snapshot) in numbered(session, Source::Heads(place), place.epoch, head_pin)? {
        let read = only_file(session, &snapshot, HEAD_FILE).and_then(|object| session.small(&object));
        let parsed = match read {
            Ok(bytes) => parse_head(place, &bytes),
            Err(Unread::Gone(error)) => return Err(error),
            Err(Unread::NotThere) => Err("it is not there".into()),
            Err(Unread::Damaged(reason)) => Err(reason),
        };
        match parsed {
            Ok(head) => return Ok(Some(Ok(head))),
            Err(reason) => drop(damaged.get_or_insert(DamagedHead { place, reason })),
        }
    }
    Ok(damaged.map(Err))
}
