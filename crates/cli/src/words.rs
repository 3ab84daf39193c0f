//! Words for people: weakenings, causes with what clears them, times, counts.

use crate::excluded::Excluded;
use lastcopy_fs::RelPath;
use lastcopy_offload::{Cause, Refusal};
use lastcopy_store::{DestinationId, DestinationRecord, Timestamp, Weakening};
use std::collections::BTreeMap;

/// The destinations that the index ever knew, as far as people are told of them.
#[derive(Debug)]
pub(crate) struct Names {
    by_row: BTreeMap<DestinationId, (String, bool)>,
    /// What they cannot have of the volume that is told of.
    excluded: BTreeMap<DestinationId, Excluded>,
}

impl Names {
    pub(crate) fn new(records: Vec<DestinationRecord>) -> Self {
        let named = |record: DestinationRecord| (record.id, (record.name, record.incarnation.is_some()));
        Self { by_row: records.into_iter().map(named).collect(), excluded: BTreeMap::new() }
    }

    pub(crate) fn excluding(self, excluded: BTreeMap<DestinationId, Excluded>) -> Self {
        Self { excluded, ..self }
    }

    /// The name of a destination.
    pub(crate) fn get(&self, id: DestinationId) -> Option<&str> {
        self.by_row.get(&id).map(|(name, _)| name.as_str())
    }

    fn is_initialised(&self, id: Option<DestinationId>) -> bool {
        id.and_then(|id| self.by_row.get(&id)).is_some_and(|(_, initialised)| *initialised)
    }
}

/// Why the destination that lacks a file cannot have it.
pub(crate) fn excluded<'a>(refusal: &Refusal, path: &RelPath, names: &'a Names) -> Option<&'a str> {
    let destination = refusal.destination.filter(|_| refusal.cause == Cause::NoReceipt)?;
    names.excluded.get(&destination)?.reason(path)
}

/// In which way a policy is weaker.
pub(crate) fn weakening(way: &Weakening, names: &Names) -> String {
    let name = |id: &DestinationId| names.get(*id).unwrap_or("?").to_owned();
    match way {
        Weakening::NotRequired(id) => format!("`{}` is no longer required", name(id)),
        Weakening::AtLeast => "`at_least` asks for less".into(),
        Weakening::MaxEvidenceAge => "evidence may be older".into(),
        Weakening::Confirm => "confirmation is weaker".into(),
        Weakening::Grace => "the grace is shorter".into(),
        Weakening::Method(method) => format!("the method {method} is accepted, too"),
        Weakening::AnyFilesystem => "any file system is accepted".into(),
        Weakening::FailureDomain(left, right) => format!("`{}` and `{}` no longer count as one", name(left), name(right)),
    }
}

/// What a refusal says, in a sentence.
pub(crate) fn detail(refusal: &Refusal, path: &RelPath, names: &Names) -> String {
    let at = refusal.destination.and_then(|id| names.get(id)).unwrap_or("a destination");
    if let Some(reason) = excluded(refusal, path, names) {
        return format!("excluded at `{at}`: {reason}");
    }
    let text = match refusal.cause {
        Cause::Identity if names.is_initialised(refusal.destination) => format!("another repository answers at `{at}`"),
        Cause::Identity => format!("`{at}` was never initialised"),
        Cause::Alarm if refusal.destination.is_some() => format!("an alarm stands on `{at}`, or on this content there"),
        Cause::Alarm => "an alarm stands on this file: its bytes changed although nothing else did".into(),
        Cause::NoEvidence if refusal.destination.is_some() => {
            format!("no push told `{at}` which files belong there, or none does any more")
        }
        Cause::NoEvidence => "the policy asks nobody, or counts destinations that fail together".into(),
        Cause::Behind => format!("the last push to `{at}` is older than this file, or left it out"),
        Cause::NoReceipt => format!("`{at}` has no receipt for this content"),
        Cause::Unverified => format!("`{at}` accepted it, but no accepted proof says that it holds these bytes"),
        Cause::Stale => format!("the last check at `{at}` is too old, or its time is not to be trusted"),
        Cause::Unreachable => format!("`{at}` could not be asked"),
        Cause::NotHeld => format!("`{at}` does not hold the bytes any more"),
        Cause::ReliedOn => "another node counts on this copy".into(),
        Cause::Conflict => "the path has two versions, and nobody chose yet".into(),
        Cause::Needed if refusal.heard.is_some() => "this node needs it here".into(),
        Cause::Needed => "this node needs it to reach its destinations".into(),
        Cause::InUse => "somebody has it open for writing".into(),
        Cause::Filesystem => "its file system gives no guarantees to rest a deletion on".into(),
    };
    match &refusal.heard {
        Some(heard) => format!("{text}: {heard}"),
        None => text,
    }
}

/// The command that clears a cause; where none does, what a person can do.
pub(crate) fn fix(refusal: &Refusal, path: &RelPath, names: &Names, volume: &str) -> String {
    let at = refusal.destination.and_then(|id| names.get(id)).unwrap_or("DEST");
    if excluded(refusal, path, names).is_some() {
        return ways_out_of_exclusion(volume, at);
    }
    match refusal.cause {
        // It ends this once the right one is back, and says how to accept the other one.
        Cause::Identity if names.is_initialised(refusal.destination) => format!("lastcopy verify {at}"),
        Cause::Identity => format!("lastcopy destination init {at}"),
        Cause::Alarm => "lastcopy alarms".into(),
        Cause::NoEvidence if refusal.destination.is_none() => {
            "keep one of them on another device; `lastcopy config check` names what shares one".into()
        }
        Cause::NoEvidence | Cause::Behind | Cause::NoReceipt => format!("lastcopy sync {volume} --to {at}"),
        Cause::Unverified | Cause::Stale => format!("lastcopy verify {at}"),
        Cause::Unreachable => format!("lastcopy destination probe {at}"),
        Cause::NotHeld => format!("lastcopy sync {volume} --to {at}"),
        Cause::ReliedOn => "lastcopy peer list".into(),
        Cause::Conflict => "lastcopy conflicts".into(),
        Cause::Needed => "leave it here; a key or a program may also move out of the volume".into(),
        Cause::InUse => "close it, then offload again".into(),
        Cause::Filesystem => format!("set any_filesystem in [volumes.{volume}.offload], or leave it"),
    }
}

/// What helps where a destination cannot have a file: pushing it again as it is does not.
pub(crate) fn ways_out_of_exclusion(volume: &str, destination: &str) -> String {
    format!(
        "rename it, or mend what the reason names, then `lastcopy index {volume}` and `lastcopy sync {volume} --to {destination}`; or leave it out \
         (`exclude` in [volumes.{volume}]), or count on another destination"
    )
}

/// A time as RFC 3339, UTC, for JSON.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    lastcopy_sync::segment::rfc3339(time)
}

/// A time for people, in their time zone. Where that is UTC, or nobody says which it is, it is said to be.
pub(crate) fn local_time(time: Timestamp) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(time.0) else { return "at no time".into() };
    let time = time.to_zoned(jiff::tz::TimeZone::system());
    let zone = if time.offset() == jiff::tz::Offset::UTC { " UTC" } else { "" };
    format!("{}{zone}", time.strftime("%Y-%m-%d %H:%M"))
}

/// `1 file`, `2 files`.
pub(crate) fn files(count: u64) -> String {
    plural(count, "file", "files")
}

/// Files, and what they do: `1 file stays`, `2 files stay`.
pub(crate) fn files_that(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", files(count), if count == 1 { one } else { many })
}

/// A count with its noun.
pub(crate) fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// `1,234,567`.
pub(crate) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}
