//! The shipped decisions, asked about the model's state: the offload gate, the verdict on a head, and the comparison of policies.

use super::Machine;
use super::guards::Guard;
use super::state::{Answer, Believed, Index, Mark, PLACES, Receipt, Row, STALE, Terms, Writer};
use lastcopy_fs::{Content, ContentHash, RelPath};
use lastcopy_offload::{Cause, Confirmation, Decision, Known, decide};
use lastcopy_store::{
    AtLeast, Confirm, ContentId, DestinationId, Evidence, FileFacts, FileId, FileRecord, FileStatus, Head, HeadId, HeadVerdict,
    Incarnation, KnownHeads, Method, Policy, ReceiptFacts, ReceiptLevel, RunId, Seen, Timestamp, VolumeId,
};

/// So many milliseconds are one step of an age.
const STEP_MS: i64 = 1000;
const NOW: Timestamp = Timestamp(1_000_000);

/// What a policy asks of the destinations of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// All of them.
    All,
    /// So many of them.
    Some(usize),
}

impl Machine {
    /// A policy, as shipped.
    pub(super) fn policy(places: usize, asks: Asks, terms: Terms) -> Policy {
        let fewer = usize::from(terms == Terms::Weak);
        let id = |place: &usize| destination(*place);
        let (require, at_least) = match asks {
            Asks::All => ((0..places - fewer).collect::<Vec<_>>().iter().map(id).collect(), None),
            Asks::Some(count) => {
                let of = (0..places).collect::<Vec<_>>().iter().map(id).collect();
                (Vec::new(), Some(AtLeast { count: count - fewer, of }))
            }
        };
        Policy { at_least, ..Policy::requiring(require, STEP_MS * i64::from(STALE - 1), Confirm::Quick) }
    }

    fn terms(&self, terms: Terms) -> &Policy {
        match terms {
            Terms::Strict => &self.strict,
            Terms::Weak => &self.weak,
        }
    }

    /// Whether a policy lets something pass that another one stops.
    pub(super) fn is_weaker(&self, terms: Terms, accepted: Terms) -> bool {
        !self.terms(terms).weaker_than(self.terms(accepted)).is_empty()
    }

    /// Which destinations a policy counts, by place.
    pub(super) fn counted(&self, terms: Terms) -> impl Iterator<Item = usize> {
        let counted = self.terms(terms).counted();
        (0..self.bounds.places).filter(move |place| counted.contains(&destination(*place)))
    }

    /// The decision on the path's row, on an index's evidence and what was heard.
    pub(crate) fn decide(&self, index: &Index, row: Row, terms: Terms, answers: &[Answer; PLACES]) -> Decision {
        let counted: Vec<_> = self.counted(terms).collect();
        let evidence: Vec<_> = counted.iter().map(|place| self.evidence(index, row, *place)).collect();
        let heard: Vec<_> = counted.iter().map(|place| confirmation(answers[*place])).collect();
        decide(&facts(row), &evidence, self.terms(terms), &Known { now: NOW, needed: false, confirmations: &heard })
    }

    /// Whether the decision is for deletion.
    pub(super) fn passes(&self, index: &Index, row: Row, terms: Terms, answers: &[Answer; PLACES]) -> bool {
        self.decide(index, row, terms, answers).passes()
    }

    /// Whether an offload that began now would be refused for a cause.
    pub(crate) fn would_refuse(&self, index: &Index, row: Row, terms: Terms, answers: &[Answer; PLACES], cause: Cause) -> bool {
        self.decide(index, row, terms, answers).refusals.iter().any(|refusal| refusal.cause == cause)
    }

    fn evidence(&self, index: &Index, row: Row, place: usize) -> Evidence {
        let believed = &index.at[place];
        let live = believed.live_receipt(row);
        let receipt = match live {
            _ if !self.has(Guard::Receipt) => Some(proven(0)),
            Some(receipt) => {
                Some(ReceiptFacts { level: receipt.level, ..proven(if self.has(Guard::Age) { receipt.age } else { 0 }) })
            }
            None => None,
        };
        Evidence {
            destination: destination(place),
            accepted: believed.accepted.map(incarnation),
            answered: believed.answered.map(incarnation),
            destination_alarm: believed.identity_alarm || believed.rolled_back_alarm,
            content_alarm: believed.content_alarms.contains(row.version.0),
            component: believed.component.filter(|(epoch, _)| *epoch == index.epoch).map(|(_, run)| RunId::from_user(run.into())),
            receipt,
        }
    }

    /// What the head that was found in this node's place says.
    pub(super) fn judge(believed: &Believed, found: Option<Mark>) -> HeadVerdict {
        let known = |mark: Option<Mark>, id| mark.map(|mark| (HeadId::stand_in(id), head(mark)));
        KnownHeads { sealed: known(believed.sealed, 1), announced: known(believed.announced, 2), highest: believed.highest.into() }
            .judge(found.map(head).as_ref())
    }
}

impl Believed {
    /// The receipt that counts, if one does: not lost, and of who was accepted and answers.
    pub(super) fn live_receipt(&self, row: Row) -> Option<Receipt> {
        let known = self.accepted.filter(|accepted| self.answered == Some(*accepted))?;
        self.receipts[row.version.place()].filter(|receipt| !receipt.lost && receipt.incarnation == known)
    }

    /// Whether the row's content lacks a live verified receipt.
    pub(super) fn lacks(&self, row: Row) -> bool {
        self.live_receipt(row).is_none_or(|receipt| receipt.level != ReceiptLevel::Verified)
    }
}

fn destination(place: usize) -> DestinationId {
    DestinationId::stand_in(i64::try_from(place).unwrap_or(i64::MAX))
}

fn incarnation(number: u8) -> Incarnation {
    Incarnation::new(number.to_string())
}

fn proven(age: u8) -> ReceiptFacts {
    let at = Timestamp(NOW.0 - STEP_MS * i64::from(age));
    ReceiptFacts { level: ReceiptLevel::Verified, method: Method::ReadBack, verified_at: Some(at) }
}

fn confirmation(answer: Answer) -> Confirmation {
    match answer {
        Answer::NotAsked => Confirmation::NotAsked,
        Answer::Held => Confirmation::Confirmed,
        Answer::NotHeld => Confirmation::NotHeld(String::new()),
        Answer::Unreachable => Confirmation::Unreachable(String::new()),
    }
}

fn head(mark: Mark) -> Head {
    let mut digest = [0; 32];
    digest[..3].copy_from_slice(&[mark.epoch, mark.sequence, u8::from(mark.writer == Writer::Copy)]);
    Head { sequence: mark.sequence.into(), run: RunId::from_user(mark.sequence.into()), digest, segment_digest: digest }
}

fn facts(row: Row) -> FileFacts {
    let number = i64::from(row.version.0);
    let content = Content { hash: ContentHash([row.version.0; 32]), size: 1 };
    let file = FileRecord {
        id: FileId::spooled(number),
        volume: VolumeId::stand_in(1),
        path: RelPath::root(),
        content_id: ContentId::spooled(number),
        content,
        status: FileStatus::Present,
        seen: Seen { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1, mode: 0o644, racy: false },
        present_since: RunId::from_user(row.present_since.into()),
        status_run: RunId::from_user(row.present_since.into()),
    };
    FileFacts { file, relied_on_by: Vec::new(), alarm: false, frozen: false }
}
