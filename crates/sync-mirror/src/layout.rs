//! Where things lie in a mirror. All names are relative to its root.

use lastcopy_fs::{ContentHash, Id128, RelPath};
use lastcopy_store::{Location, VOLUME_DIR};
use lastcopy_sync::segment::{Place, rfc3339};
use std::time::{SystemTime, UNIX_EPOCH};

/// The marker object at the root: which repository this is.
pub(crate) const MARKER: &str = ".lastcopy-destination.json";
/// Version of the layout.
pub(crate) const FORMAT: u32 = 1;
/// The name of this kind in the marker.
pub(crate) const KIND: &str = "mirror";

/// Where heads and segments lie.
pub(crate) const VOLUMES: &str = ".lastcopy/volumes";
/// Where rclone's `crypt` has its root, below which the same names are, if they are encrypted.
pub(crate) const SEALED: &str = ".lastcopy/index";
pub(crate) const SEGMENTS: &str = "segments";
pub(crate) const HEAD: &str = "head.json";
/// Where contents lie that belong to no path.
const CONTENTS: &str = ".lastcopy/contents";

/// The owner object of a volume's part.
pub(crate) fn owner(volume: &str) -> String {
    format!("{volume}/{VOLUME_DIR}/owner.json")
}

/// The directory of one epoch's pushes of a volume.
pub(crate) fn place(at: &Place) -> String {
    format!("{VOLUMES}/{}/{}", at.volume, at.epoch)
}

/// The file name of a segment: its number, padded so that names sort as numbers do.
pub(crate) fn segment_name(sequence: i64) -> String {
    format!("{sequence:08}.jsonl.zst")
}

/// The number of a segment by its file name, if it is the one that this number has.
pub(crate) fn segment_number(name: &str) -> Option<i64> {
    let number = name.split('.').next()?.parse().ok()?;
    (segment_name(number) == name).then_some(number)
}

/// Where a content lies that belongs to no path.
pub(crate) fn content_path(hash: ContentHash) -> String {
    format!("{CONTENTS}/{:02x}/{hash}", hash.0[0])
}

/// A location of a receipt as a path of the mirror. It may come from a segment that anybody wrote.
pub(crate) fn path_of(location: &Location) -> Result<&str, String> {
    let text = std::str::from_utf8(&location.0).map_err(|_| "its place has a name that is no UTF-8".to_owned())?;
    let path = RelPath::new(text).map_err(|error| format!("its place is none in a mirror: {error}"))?;
    if path.is_root() { Err("its place is not known".into()) } else { Ok(text) }
}

/// Whether a directory holds only what lastcopy keeps for itself: no contents of files.
pub(crate) fn is_bookkeeping(path: &str) -> bool {
    path == VOLUMES || path == SEALED
}

/// Whether an object is one that lastcopy keeps for itself.
pub(crate) fn is_own(path: &str) -> bool {
    path == MARKER || path.strip_suffix("/.lastcopy/owner.json").is_some_and(|volume| !volume.contains('/'))
}

/// Where one push puts what it replaces. Never shared between two.
#[derive(Debug, Clone)]
pub(crate) struct History(String);

impl History {
    /// Named by the time and a random number: for people, and for nobody else.
    pub(crate) fn new() -> std::io::Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0));
        let time = rfc3339(lastcopy_store::Timestamp(now)).replace([':', '.'], "-");
        Ok(Self(format!("{time}-{}", &Id128::random()?.to_string()[..8])))
    }

    /// Where what lies at a path goes.
    pub(crate) fn of(&self, path: &str) -> String {
        match path.split_once('/') {
            Some((volume, rest)) if volume != VOLUME_DIR => format!("{volume}/{VOLUME_DIR}/history/{}/{rest}", self.0),
            _ => format!("{VOLUME_DIR}/history/{}/{path}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_replaced_stays_in_its_part() {
        let history = History("now-1".into());
        assert_eq!(history.of("photos/trip/one.jpg"), "photos/.lastcopy/history/now-1/trip/one.jpg");
        assert_eq!(history.of(".lastcopy/contents/ab/abcd"), ".lastcopy/history/now-1/.lastcopy/contents/ab/abcd");
    }

    #[test]
    fn places_lead_nowhere_else() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/"] {
            assert!(path_of(&Location(bad.as_bytes().to_vec())).is_err(), "{bad}");
        }
        assert!(path_of(&Location(vec![b'a', 0xff])).is_err());
        assert_eq!(path_of(&Location(b"photos/a b".to_vec())), Ok("photos/a b"));
    }

    #[test]
    fn numbers_of_segments_are_exact() {
        assert_eq!(segment_number(&segment_name(7)), Some(7));
        for other in ["7.jsonl.zst", "00000007.jsonl.zst.partial", "x.jsonl.zst", ""] {
            assert_eq!(segment_number(other), None, "{other}");
        }
    }
}
