//! Spans of time and sizes, as people write them.

use lastcopy::{Age, Size};

/// A span of time, and a size.
pub fn unit(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(age) = text.parse::<Age>() {
        assert!(age.ms >= 0, "{text:?} is before it began: {age:?}");
        assert_eq!(age.to_string().parse(), Ok(age), "{text:?} is shown as {age}");
    }
    if let Ok(size) = text.parse::<Size>() {
        let shown = size.to_string();
        // Rounded to tenths of a PiB, the largest are no longer sizes.
        if size.0 > u64::MAX - (1 << 49) {
            return;
        }
        let again = shown.parse::<Size>().expect("what is shown can be read");
        // One decimal is shown: half a tenth of at least one.
        assert!(size.0.abs_diff(again.0) <= size.0 / 20, "{text:?} is shown as {shown}");
        assert_eq!(again.to_string().parse(), Ok(again), "{text:?} is shown as {shown}");
    }
}
