//! Looking again at what is held.

use crate::held;
use crate::place::object_of;
use crate::session::{Look, Session, each, lock};
use lastcopy_store::Proven;
use lastcopy_sync::{Context, Depth, DestinationError, HeldItem, VerifySink, WorkList};
use std::sync::{Arc, Mutex};

/// What a check found of one item, if it can be said at once.
enum Checked {
    Proven(Proven),
    Seen,
    Lost(String),
    Unverifiable(String),
    /// It could not be read, in words: that is a loss only if everything else can be.
    Hurt(String),
}

struct Checking<'a> {
    session: &'a Session,
    sink: &'a dyn VerifySink,
    context: &'a Context,
    held: Arc<held::Held>,
    /// Everything has its packs: where nobody asks for more, that is enough.
    by_listing: bool,
}

impl Checking<'_> {
    fn check(&self, item: &HeldItem) -> Result<Checked, DestinationError> {
        let object = match object_of(&item.location) {
            Ok(object) => object,
            Err(reason) => return Ok(Checked::Unverifiable(reason)),
        };
        match self.held.size(object) {
            None if !self.held.is_partial => {
                return Ok(Checked::Lost("no pinned snapshot of this index's volumes holds it any more".into()));
            }
            Some(size) if size != item.content.size => {
                return Ok(Checked::Lost(format!("it has {size} bytes instead of {}", item.content.size)));
            }
            Some(_) if self.by_listing => return Ok(Checked::Seen),
            None | Some(_) => {}
        }
        Ok(match self.session.look(object, item.content, &self.context.cancel, self.context.progress.as_ref())? {
            Look::Proven(proven) => Checked::Proven(proven),
            Look::Other(found) => Checked::Lost(format!("the bytes there hash to {}", found.hash)),
            Look::Absent => Checked::Hurt("its bytes are not there".into()),
            Look::Damaged(reason) => Checked::Hurt(format!("its bytes cannot be read: {reason}")),
        })
    }

    fn answer(&self, item: HeldItem, found: Checked) {
        match found {
            Checked::Proven(proven) => {
                self.context.progress.advance(1, 0);
                self.sink.verified(item, proven);
            }
            Checked::Seen => {
                self.context.progress.advance(1, 0);
                self.sink.seen(item);
            }
            Checked::Lost(detail) | Checked::Hurt(detail) => self.sink.lost(item, detail),
            Checked::Unverifiable(reason) => self.sink.unverifiable(item, reason),
        }
    }

    /// Checks a group. What could not be read is read once more by another server, after the whole repository has answered, and before it does
    /// again: it is lost only if that was possible all the time.
    fn group(&self, group: Vec<HeldItem>) -> Result<(), DestinationError> {
        let hurt = Mutex::new(Vec::new());
        self.all(group, |item, found| match found {
            Checked::Hurt(_) => lock(&hurt).push(item),
            found => self.answer(item, found),
        })?;
        let hurt = std::mem::take(&mut *lock(&hurt));
        if hurt.is_empty() {
            return Ok(());
        }
        if let Err(away) = self.session.answers_anew() {
            hurt.into_iter().for_each(|item| self.answer(item, Checked::Unverifiable(away.clone())));
            return Ok(());
        }
        let again = Mutex::new(Vec::new());
        self.all(hurt, |item, found| lock(&again).push((item, found)))?;
        let still = self.session.answers_still(&self.held.snapshots);
        for (item, found) in std::mem::take(&mut *lock(&again)) {
            match (&still, found) {
                (Err(away), Checked::Hurt(_)) => self.answer(item, Checked::Unverifiable(away.clone())),
                (_, found) => self.answer(item, found),
            }
        }
        Ok(())
    }

    fn all(&self, items: Vec<HeldItem>, then: impl Fn(HeldItem, Checked) + Sync) -> Result<(), DestinationError> {
        each(items, self.session.connections.options.parallel, &self.context.cancel, |item| {
            let found = self.check(&item)?;
            then(item, found);
            Ok(())
        })
    }
}

/// Checks everything of a list. Blocks.
pub(crate) fn verify(
    session: &Session,
    mut held: WorkList<HeldItem>,
    depth: Depth,
    sink: &dyn VerifySink,
    context: &Context,
) -> Result<(), DestinationError> {
    let mut checking = None;
    while let Some(group) = held.blocking_recv() {
        context.cancel.check()?;
        let checking = match &mut checking {
            Some(checking) => checking,
            None => {
                // What was written a moment ago may be seen in memory alone; what is asked for is what the device holds.
                match depth {
                    Depth::Presence => session.connections.sync()?,
                    Depth::Bytes => session.connections.settle()?,
                }
                let held = held::held(session, context)?;
                let by_listing = depth == Depth::Presence && held::has_its_packs(session, &held, &context.cancel)?;
                checking.insert(Checking { session, sink, context, held, by_listing })
            }
        };
        checking.group(group)?;
    }
    Ok(context.cancel.check()?)
}
