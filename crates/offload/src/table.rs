//! The offload gate as text: every combination of its locks, put to the decision itself.
//!
//! Nothing here decides. Each row makes facts and evidence in which the named conditions fail, asks [`decide`], and prints the answer,
//! so that a change to the decision is a change to a reviewed file.

use crate::decide::{Cause, Confirmation, Decision, Known, Lock, Refusal, decide};
use lastcopy_fs::{Content, ContentHash, RelPath};
use lastcopy_store::{
    AtLeast, Confirm, ContentId, DestinationId, Evidence, FileFacts, FileId, FileRecord, FileStatus, Incarnation, Method, Policy,
    ReceiptFacts, ReceiptLevel, RunId, Seen, Timestamp, VolumeId,
};
use std::collections::BTreeMap;

const NOW: Timestamp = Timestamp(1_000_000);
const MAX_AGE_MS: i64 = 1000;
/// The run in which the file became present, and the component of a vector that reaches it.
const PRESENT_SINCE: i64 = 7;

/// The whole gate as text, for the snapshot test and `cargo xtask gate`.
///
/// `x` marks a condition that does not hold. A condition on something that is not there (the age of no receipt) has no cause of its
/// own: the lock before it has.
pub fn offload_gate_table() -> String {
    [locks_table(), receipts_table(), ages_table(), own_table(), heard_table(), policies_table()].join("\n")
}

/// The seven locks of one destination: 128 rows.
fn locks_table() -> String {
    let names: Vec<_> = Lock::ALL.into_iter().map(Lock::name).collect();
    let rows = combinations(Lock::ALL.len()).map(|failing| {
        let fails = |lock: Lock| failing[lock as usize];
        let mut evidence = open_evidence(1);
        if fails(Lock::Incarnation) {
            evidence.answered = Some(Incarnation::new("another"));
        }
        evidence.destination_alarm = fails(Lock::Alarm);
        if fails(Lock::Freshness) {
            evidence.component = Some(RunId::from_user(PRESENT_SINCE - 1));
        }
        if fails(Lock::Coverage) {
            evidence.component = None;
        }
        if let Some(receipt) = &mut evidence.receipt {
            if fails(Lock::Method) {
                receipt.level = ReceiptLevel::Stored;
            }
            if fails(Lock::Age) {
                receipt.verified_at = Some(Timestamp(NOW.0 - MAX_AGE_MS - 1));
            }
        }
        if fails(Lock::Receipt) {
            evidence.receipt = None;
        }
        (marks(&failing), verdict(&decide(&facts(), &[evidence], &policy(&[1]), &known(&[]))))
    });
    table("The seven locks of one destination", &names, rows)
}

/// Which receipts count, under a policy that takes read-back and remote-hash.
fn receipts_table() -> String {
    let levels = ReceiptLevel::ALL.iter().flat_map(|level| Method::ALL.iter().map(move |method| (*level, *method)));
    let rows = levels.map(|(level, method)| {
        let receipt = Some(ReceiptFacts { level, method, verified_at: Some(NOW) });
        let evidence = Evidence { receipt, ..open_evidence(1) };
        let decision = decide(&facts(), &[evidence], &policy(&[1]), &known(&[]));
        (vec![level.name().to_owned(), method.name().to_owned()], verdict(&decision))
    });
    table("The receipt, where the policy takes read-back and remote-hash", &["level", "method"], rows)
}

/// The age of the last check.
fn ages_table() -> String {
    let cases = [
        ("unknown", None),
        ("1 ms in the future", Some(-1)),
        ("now", Some(0)),
        ("max_evidence_age", Some(MAX_AGE_MS)),
        ("max_evidence_age and 1 ms", Some(MAX_AGE_MS + 1)),
    ];
    let rows = cases.into_iter().map(|(name, age)| {
        let mut evidence = open_evidence(1);
        evidence.receipt =
            evidence.receipt.map(|receipt| ReceiptFacts { verified_at: age.map(|age| Timestamp(NOW.0 - age)), ..receipt });
        (vec![name.to_owned()], verdict(&decide(&facts(), &[evidence], &policy(&[1]), &known(&[]))))
    });
    table("The age of the last check", &["last checked"], rows)
}

/// What stops a file wherever it is held: 16 rows.
fn own_table() -> String {
    let causes = [Cause::ReliedOn, Cause::Alarm, Cause::Conflict, Cause::Needed];
    let rows = combinations(causes.len()).map(|stopped| {
        let relied_on_by = if stopped[0] { vec!["another node".to_owned()] } else { Vec::new() };
        let file = FileFacts { relied_on_by, alarm: stopped[1], frozen: stopped[2], ..facts() };
        let known = Known { needed: stopped[3], ..known(&[]) };
        (marks(&stopped), verdict(&decide(&file, &[open_evidence(1)], &policy(&[1]), &known)))
    });
    table("The file itself", &causes.map(Cause::name), rows)
}

/// What destinations answer at the moment of deletion, to evidence that passes and to evidence that does not.
fn heard_table() -> String {
    let heard = [
        ("nothing: not asked (`offline`, or before the file is aside)", Confirmation::NotAsked),
        ("held", Confirmation::Confirmed),
        ("no answer", Confirmation::Unreachable(String::new())),
        ("not held", Confirmation::NotHeld(String::new())),
    ];
    let evidence = [("open", open_evidence(1)), ("no-receipt", Evidence { receipt: None, ..open_evidence(1) })];
    let pairs = heard.iter().flat_map(|heard| evidence.iter().map(move |evidence| (heard, evidence)));
    let rows = pairs.map(|((heard, confirmation), (name, evidence))| {
        let confirmations = std::slice::from_ref(confirmation);
        let decision = decide(&facts(), std::slice::from_ref(evidence), &policy(&[1]), &known(confirmations));
        (vec![(*heard).to_owned(), (*name).to_owned()], verdict(&decision))
    });
    table("What the destination answers when it is asked", &["heard", "evidence"], rows)
}

/// What policies require of three destinations, by who of them vouches.
fn policies_table() -> String {
    let of = |count, of: &[i64]| Some(AtLeast { count, of: of.iter().copied().map(DestinationId::stand_in).collect() });
    let label = |id| (DestinationId::stand_in(id), "desk".to_owned());
    let policies = [
        ("require A", policy(&[1])),
        ("require A, B", policy(&[1, 2])),
        ("1 of A, B, C", Policy { at_least: of(1, &[1, 2, 3]), ..policy(&[]) }),
        ("2 of A, B, C", Policy { at_least: of(2, &[1, 2, 3]), ..policy(&[]) }),
        ("require A, 2 of A, B, C", Policy { at_least: of(2, &[1, 2, 3]), ..policy(&[1]) }),
        (
            "2 of A, B, C; A and B in one failure domain",
            Policy { at_least: of(2, &[1, 2, 3]), domains: BTreeMap::from([label(1), label(2)]), ..policy(&[]) },
        ),
        (
            "2 of A, B, C; A and B on one device",
            Policy {
                at_least: of(2, &[1, 2, 3]),
                same_device: vec![(DestinationId::stand_in(1), DestinationId::stand_in(2))],
                ..policy(&[])
            },
        ),
        (
            "2 of A, B; B is unplugged, and may be the disk of A",
            Policy { at_least: of(2, &[1, 2]), unknown_device: vec![DestinationId::stand_in(2)], ..policy(&[]) },
        ),
        (
            "2 of A, B; B is unplugged, both in one failure domain",
            Policy {
                at_least: of(2, &[1, 2]),
                unknown_device: vec![DestinationId::stand_in(2)],
                domains: BTreeMap::from([label(1), label(2)]),
                ..policy(&[])
            },
        ),
        ("nobody", policy(&[])),
        ("0 of A, B, C", Policy { at_least: of(0, &[1, 2, 3]), ..policy(&[]) }),
    ];
    let rows = policies.iter().flat_map(|(name, policy)| {
        combinations(3).map(move |lacks| {
            let evidence = [1, 2, 3].map(|id| {
                let open = open_evidence(id);
                let place = usize::try_from(id).unwrap_or_default();
                if lacks[place - 1] { Evidence { receipt: None, ..open } } else { open }
            });
            let mut cells = vec![(*name).to_owned()];
            cells.extend(marks(&lacks));
            (cells, verdict_by_destination(&decide(&facts(), &evidence, policy, &known(&[]))))
        })
    });
    table("What the policy requires; `x`: no receipt there", &["policy", "A", "B", "C"], rows)
}

/// Every combination of so many conditions, the last one changing first.
fn combinations(conditions: usize) -> impl Iterator<Item = Vec<bool>> {
    (0..1_u32 << conditions).map(move |bits| (0..conditions).rev().map(|place| bits >> place & 1 == 1).collect())
}

fn marks(failing: &[bool]) -> Vec<String> {
    failing.iter().map(|fails| if *fails { "x" } else { "·" }.to_owned()).collect()
}

/// What was decided, where there is one destination.
fn verdict(decision: &Decision) -> String {
    verdict_with(decision, |refusal| refusal.cause.name().to_owned())
}

/// What was decided, and because of which destination.
fn verdict_by_destination(decision: &Decision) -> String {
    verdict_with(decision, |refusal| {
        let cause = refusal.cause.name();
        let letter =
            refusal.destination.and_then(|id| ["A", "B", "C"].into_iter().zip(1..).find(|(_, number)| *number == id.get()));
        letter.map_or_else(|| cause.to_owned(), |(letter, _)| format!("{cause} at {letter}"))
    })
}

fn verdict_with(decision: &Decision, name: impl Fn(&Refusal) -> String) -> String {
    if decision.passes() { "goes".into() } else { decision.refusals.iter().map(name).collect::<Vec<_>>().join(", ") }
}

fn table(title: &str, columns: &[&str], rows: impl Iterator<Item = (Vec<String>, String)>) -> String {
    let mut text = format!("### {title}\n\n| {} | the file |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len() + 1));
    for (cells, verdict) in rows {
        text.push_str(&format!("| {} | {verdict} |\n", cells.join(" | ")));
    }
    text
}

/// A present file of which nothing is wrong.
fn facts() -> FileFacts {
    let content = Content { hash: ContentHash([0; 32]), size: 1 };
    let seen = Seen { size: 1, mtime_ns: 0, ctime_ns: 0, inode: 1, mode: 0o644, racy: false };
    let file = FileRecord {
        id: FileId::spooled(1),
        volume: VolumeId::stand_in(1),
        path: RelPath::root(),
        content_id: ContentId::spooled(1),
        content,
        status: FileStatus::Present,
        seen,
        present_since: RunId::from_user(PRESENT_SINCE),
        status_run: RunId::from_user(PRESENT_SINCE),
    };
    FileFacts { file, relied_on_by: Vec::new(), alarm: false, frozen: false }
}

/// Evidence with which every lock is open.
fn open_evidence(destination: i64) -> Evidence {
    Evidence {
        destination: DestinationId::stand_in(destination),
        accepted: Some(Incarnation::new("accepted")),
        answered: Some(Incarnation::new("accepted")),
        destination_alarm: false,
        content_alarm: false,
        component: Some(RunId::from_user(PRESENT_SINCE)),
        receipt: Some(ReceiptFacts { level: ReceiptLevel::Verified, method: Method::ReadBack, verified_at: Some(NOW) }),
    }
}

fn policy(require: &[i64]) -> Policy {
    Policy {
        methods: vec![Method::ReadBack, Method::RemoteHash],
        ..Policy::requiring(require.iter().copied().map(DestinationId::stand_in).collect(), MAX_AGE_MS, Confirm::Quick)
    }
}

fn known(confirmations: &[Confirmation]) -> Known<'_> {
    Known { now: NOW, needed: false, confirmations }
}
