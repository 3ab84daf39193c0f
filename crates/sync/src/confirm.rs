//! The question at the moment of deletion: does a destination hold these bytes now?

use crate::contact::{HeadsOf, contact, identify_again};
use crate::destination::{Context, Depth, Destination, HeldItem, Probe};
use crate::error::{DestinationError, SyncError};
use crate::verify::{Finding, check_held};
use lastcopy_fs::Content;
use lastcopy_store::{DestinationRecord, FileId, IdentityError, Offload, ReceiptLevel, Run, Store, StoreError};

/// What a destination answered about one content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It holds the bytes, as deep as was asked.
    Held,
    /// It does not hold them, and this is why.
    NotHeld(String),
    /// It gave no answer that can be believed.
    Unknown(String),
}

/// One destination that is to be asked on behalf of an offload.
pub struct Asking<'a> {
    /// The index.
    pub store: &'a Store,
    /// The volume whose files are to go.
    pub volume: &'a HeadsOf,
    /// What the index knows of the destination.
    pub record: &'a DestinationRecord,
    /// The destination.
    pub destination: &'a dyn Destination,
    /// Cancellation, progress, and the runtime.
    pub context: &'a Context,
}

impl Asking<'_> {
    /// Asks who it is, then about each content, and then once more who it is: a disk may be unplugged, or another one be plugged in, in
    /// between. What it does not hold is recorded as lost through `run`; without a run, nothing is recorded.
    ///
    /// An error is that it cannot be asked at all, or is not who was accepted.
    pub fn ask(&self, run: Option<&Run<Offload>>, contents: &[(FileId, Content)], depth: Depth) -> Result<Vec<Answer>, SyncError> {
        let probed = match run {
            Some(run) => Some(contact(run, self.record, self.destination, std::slice::from_ref(self.volume), self.context)?),
            None => {
                self.is_accepted(self.context.runtime.block_on(self.destination.probe()))?;
                None
            }
        };
        let items = self.items(contents, depth)?;
        let asked: Vec<_> = items.iter().flatten().cloned().collect();
        let context = self.context.counting_for(self.store, self.record)?;
        let findings = check_held(self.destination, &asked, depth, &context)?;
        match self.still_there(run) {
            Ok(()) => {}
            Err(SyncError::Store(error)) => return Err(error.into()),
            Err(error) => {
                let why = format!("it went away, or was exchanged, while it was asked: {error}");
                return Ok(vec![Answer::Unknown(why); contents.len()]);
            }
        }
        let mut findings = findings.into_iter();
        let mut answers = Vec::with_capacity(contents.len());
        for item in items {
            let Some(item) = item else {
                answers.push(Answer::NotHeld("there is no live receipt for it".into()));
                continue;
            };
            answers.push(match findings.next() {
                Some(Finding::Verified(_) | Finding::Seen) => Answer::Held,
                Some(Finding::Lost(detail)) => {
                    if let (Some(run), Some(probed)) = (run, &probed) {
                        run.lost(probed, item.content_id, &item.location, &detail)?;
                    }
                    Answer::NotHeld(detail)
                }
                Some(Finding::Unverifiable(reason)) => Answer::Unknown(reason),
                None => Answer::Unknown("it gave no answer".into()),
            });
        }
        Ok(answers)
    }

    /// Once more; with a run, another one that answers is recorded, too.
    fn still_there(&self, run: Option<&Run<Offload>>) -> Result<(), SyncError> {
        match run {
            Some(run) => identify_again(run, self.record, self.destination, self.context).map(drop),
            None => self.is_accepted(self.context.runtime.block_on(self.destination.probe_again())),
        }
    }

    /// Whether who answers is who was accepted. Records nothing.
    fn is_accepted(&self, answer: Result<Probe, DestinationError>) -> Result<(), SyncError> {
        match answer? {
            Probe::Found(found) if Some(&found) == self.record.incarnation.as_ref() => Ok(()),
            Probe::Found(answered) => {
                let accepted = self.record.incarnation.clone().ok_or(IdentityError::NeverInitialised)?;
                Err(IdentityError::Changed { accepted, answered }.into())
            }
            Probe::CannotTell(reason) => Err(self.unreachable(reason)),
            Probe::Nothing | Probe::NoPlace => Err(self.unreachable("its marker is not there".into())),
        }
    }

    fn unreachable(&self, reason: String) -> SyncError {
        DestinationError::Unreachable { address: self.destination.capabilities().address, reason }.into()
    }

    /// What is asked about, where a live receipt says that it lies.
    fn items(&self, contents: &[(FileId, Content)], depth: Depth) -> Result<Vec<Option<HeldItem>>, StoreError> {
        let mut items = Vec::with_capacity(contents.len());
        for (file, content) in contents {
            let row = self.store.file(*file)?.content_id;
            // Several places there may hold it: the one that the decision counted is asked.
            let live = self.store.receipts_at(self.record.id, &[row])?.into_iter().filter(|receipt| receipt.lost_at.is_none());
            let held = live.max_by_key(|receipt| (receipt.level == ReceiptLevel::Verified, receipt.verified_at));
            items.push(held.map(|receipt| HeldItem {
                content_id: row,
                content: *content,
                location: receipt.location,
                // Who asks for every byte wants them read, whatever a provider's checksum says.
                fingerprint: receipt.fingerprint.filter(|_| depth == Depth::Presence),
            }));
        }
        Ok(items)
    }
}
