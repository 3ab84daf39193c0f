//! Bringing bytes back, and telling what there is.

use crate::held;
use crate::place::object_of;
use crate::server::Unread;
use crate::session::{Session, each, lock};
use lastcopy_fs::{Cancel, Content, Counting, HashingReader, NoProgress};
use lastcopy_store::Location;
use lastcopy_sync::{Context, DestinationError, FetchSink, HeldItem, WorkList};
use std::collections::BTreeSet;
use std::io;
use std::sync::Mutex;

/// Brings everything of a list. Blocks.
pub(crate) fn fetch(
    session: &Session,
    mut wanted: WorkList<HeldItem>,
    sink: &dyn FetchSink,
    context: &Context,
) -> Result<(), DestinationError> {
    while let Some(group) = wanted.blocking_recv() {
        context.cancel.check()?;
        each(group, session.connections.options.parallel, &context.cancel, |item| {
            if let Err(reason) = receive(session, &item, sink, context)? {
                sink.failed(&item, reason);
            }
            Ok(())
        })?;
    }
    Ok(context.cancel.check()?)
}

/// Brings one content; why it does not come, in words.
fn receive(
    session: &Session,
    item: &HeldItem,
    sink: &dyn FetchSink,
    context: &Context,
) -> Result<Result<(), String>, DestinationError> {
    let object = match object_of(&item.location) {
        Ok(object) => object,
        Err(reason) => return Ok(Err(reason)),
    };
    let body = match session.server()?.read(object) {
        Ok(body) => body,
        Err(Unread::NotThere) => return Ok(Err("its bytes are not there".into())),
        Err(Unread::Damaged(reason)) => return Ok(Err(reason)),
        Err(Unread::Gone(error)) => return Err(error),
    };
    if body.length != Some(item.content.size) {
        return Ok(Err("its place holds something of another size".into()));
    }
    let mut arrival = match sink.begin(item) {
        Ok(arrival) => arrival,
        Err(error) => return Ok(Err(error.to_string())),
    };
    let mut body = HashingReader::new(Counting { from: body, cancel: &context.cancel, progress: &NoProgress });
    let copied = io::copy(&mut body, &mut arrival);
    context.cancel.check()?;
    Ok(match copied {
        Ok(_) if body.content() == item.content => {
            arrival.finish();
            Ok(())
        }
        Ok(_) => Err(format!("the bytes there hash to {}", body.content().hash)),
        Err(error) => Err(error.to_string()),
    })
}

/// Every object of a file that is held is read to tell what it is: kopia knows no BLAKE3. Other nodes' snapshots are gone through, too: a
/// restore may bring bytes from wherever they lie, and what is listed opens nothing before a verify counts it.
pub(crate) fn list(session: &Session, give: &tokio::sync::mpsc::Sender<(Content, Location)>) -> Result<(), DestinationError> {
    let cancel = Cancel::new();
    let objects = Mutex::new(BTreeSet::new());
    let snapshots = held::holding(session, &|_| true)?;
    held::objects(session, &snapshots, &cancel, &|object, _| {
        lock(&objects).insert(object.to_owned());
    })?;
    let objects: Vec<_> = std::mem::take(&mut *lock(&objects)).into_iter().collect();
    each(objects, session.connections.options.parallel, &cancel, |object| {
        let read = || {
            let server = session.server().map_err(Unread::Gone)?;
            let mut body = HashingReader::new(server.read(&object)?);
            io::copy(&mut body, &mut io::sink()).map_err(|error| server.unread(&error.to_string()))?;
            Ok(body.content())
        };
        match read() {
            // Nobody listens any more: then nobody misses it.
            Ok(content) => drop(give.blocking_send((content, Location(object.into_bytes())))),
            Err(Unread::Gone(error)) => return Err(error),
            Err(Unread::NotThere | Unread::Damaged(_)) => {}
        }
        Ok(())
    })
}
