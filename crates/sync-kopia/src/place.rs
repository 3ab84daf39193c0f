//! The names under which things are kept in a repository. They are documented in `docs/formats.md`.

use crate::wire::is_id;
use lastcopy_fs::Id128;
use lastcopy_store::Location;
use lastcopy_sync::segment::Place;

/// Whose snapshots they are, for kopia.
pub(crate) const USER: &str = "lastcopy";
/// How the name of a placeholder of kopia's ends: it stands for an object.
pub(crate) const PLACEHOLDER: &str = ".kopia-entry";
/// Every pin of ours begins with it.
const PIN: &str = "lastcopy-";
/// The file in a snapshot of a head.
pub(crate) const HEAD_FILE: &str = "head.json";
/// The file in a snapshot of a content, where it is one of many.
const FILES: &str = "/files";
const CONTENTS: &str = "/contents";

/// A source of ours, as kopia tells snapshots apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// The volume's files.
    Files(Id128),
    /// Contents that come from no file of the volume.
    Contents(Id128),
    /// The segments of a place.
    Segments(Place),
    /// Its heads.
    Heads(Place),
}

impl Source {
    /// The volume.
    pub(crate) fn volume(self) -> Id128 {
        match self {
            Self::Files(volume) | Self::Contents(volume) => volume,
            Self::Segments(place) | Self::Heads(place) => place.volume,
        }
    }

    /// Its path, for kopia.
    pub(crate) fn path(self) -> String {
        match self {
            Self::Files(_) => FILES.into(),
            Self::Contents(_) => CONTENTS.into(),
            Self::Segments(place) => format!("/{}/segments", place.epoch),
            Self::Heads(place) => format!("/{}/head", place.epoch),
        }
    }

    /// As kopia writes it.
    pub(crate) fn name(self) -> String {
        format!("{}:{}", owner(self.volume()), self.path())
    }

    /// A source by what kopia calls its host and path, if it is one of ours.
    pub(crate) fn read(host: &str, path: &str) -> Option<Self> {
        let volume: Id128 = host.parse().ok()?;
        if path == FILES {
            return Some(Self::Files(volume));
        }
        if path == CONTENTS {
            return Some(Self::Contents(volume));
        }
        let (epoch, what) = path.strip_prefix('/')?.split_once('/')?;
        let place = Place { volume, epoch: epoch.parse().ok()? };
        match what {
            "segments" => Some(Self::Segments(place)),
            "head" => Some(Self::Heads(place)),
            _ => None,
        }
    }
}

/// Whose all sources of a volume are: what a policy is set for.
pub(crate) fn owner(volume: Id128) -> String {
    format!("{USER}@{volume}")
}

/// The object of a receipt. It may come from a segment that anybody wrote.
pub(crate) fn object_of(location: &Location) -> Result<&str, String> {
    let text = std::str::from_utf8(&location.0).ok().filter(|text| is_id(text));
    text.ok_or_else(|| "its place is none in a repository of kopia's".into())
}

/// Whether a pin is one of ours.
pub(crate) fn is_pin(pin: &str) -> bool {
    pin.starts_with(PIN)
}

/// Whether an epoch made a pin.
pub(crate) fn is_pin_of(pin: &str, epoch: Id128) -> bool {
    pin.strip_prefix(PIN).is_some_and(|rest| rest.starts_with(&format!("{epoch}-")))
}

/// The pin of a push. No two have the same.
pub(crate) fn push_pin(epoch: Id128) -> std::io::Result<String> {
    Ok(format!("{PIN}{epoch}-push-{}", Id128::random()?))
}

/// The pin of a segment, by its number.
pub(crate) fn segment_pin(epoch: Id128, sequence: i64) -> String {
    format!("{PIN}{epoch}-segment-{sequence:08}")
}

/// The pin of a head.
pub(crate) fn head_pin(epoch: Id128, sequence: i64) -> String {
    format!("{PIN}{epoch}-head-{sequence:08}")
}

/// The number in a pin that `make` would have made.
pub(crate) fn sequence_of(pin: &str, epoch: Id128, make: fn(Id128, i64) -> String) -> Option<i64> {
    let sequence = pin.rsplit('-').next()?.parse().ok()?;
    (make(epoch, sequence) == pin).then_some(sequence)
}

/// The file in a snapshot of a segment.
pub(crate) fn segment_file(sequence: i64) -> String {
    format!("{sequence:08}.jsonl.zst")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_read_as_it_was_named() {
        let place = Place { volume: Id128([1; 16]), epoch: Id128([2; 16]) };
        for source in [Source::Files(place.volume), Source::Contents(place.volume), Source::Segments(place), Source::Heads(place)] {
            assert_eq!(Source::read(&place.volume.to_string(), &source.path()), Some(source));
        }
        assert_eq!(Source::read("laptop", "/files"), None);
        assert_eq!(Source::read(&place.volume.to_string(), "/home/me"), None);
    }

    #[test]
    fn numbers_of_pins_are_exact() {
        let epoch = Id128([2; 16]);
        assert_eq!(sequence_of(&segment_pin(epoch, 7), epoch, segment_pin), Some(7));
        assert_eq!(sequence_of(&head_pin(epoch, 7), epoch, segment_pin), None);
        assert_eq!(sequence_of(&segment_pin(Id128([3; 16]), 7), epoch, segment_pin), None);
        assert_eq!(sequence_of(&push_pin(epoch).unwrap(), epoch, segment_pin), None);
    }
}
