//! A tree of everything that a file's name, bytes, mode and time may be.

use crate::home::Home;
use crate::tree::{noise, set_mode, set_mtime, write};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// Names that a program may trip over.
pub(crate) fn odd_names() -> Vec<PathBuf> {
    let longest = "n".repeat(255);
    let longest_unicode = "ü".repeat(127);
    let names: Vec<&[u8]> = vec![
        b"not utf-8 \xff\xfe.raw",
        b"\x80",
        b"latin-1 Gr\xfc\xdfe",
        b"half a surrogate \xed\xa0\x80",
        b"a newline\nin the middle",
        b"newlines at the end\n\n",
        b"\n",
        b"a tab\tand a return\r",
        b" leading and trailing space ",
        b"--help",
        b"-",
        b"$HOME `id` $(id) ${x}",
        b"quotes ' \" and \\ backslashes \\n",
        b"*?[a-z]!",
        b"%s%n%00",
        b"#comment",
        b"~",
        b"...",
        b".hidden",
        b"a,\"mtime_ns\":1,",
        b"\x01\x1b[31mred\x7f",
        "Grüße 🌍".as_bytes(),
        "e\u{301} and é".as_bytes(),
        "\u{202e}right to left".as_bytes(),
        longest.as_bytes(),
        longest_unicode.as_bytes(),
    ];
    names.into_iter().map(|name| PathBuf::from(OsStr::from_bytes(name))).collect()
}

/// A path longer than most programs expect, of names of 255 bytes that are not UTF-8.
pub(crate) fn deep_path() -> PathBuf {
    let mut path = PathBuf::new();
    for number in 0..8 {
        path.push(OsStr::from_bytes(&[&[0xff, b'0' + number], [b'd'; 253].as_slice()].concat()));
    }
    path.join("file")
}

impl Home {
    /// Writes the tree into a volume.
    pub(crate) fn write_odd_tree(&self, volume: &str) {
        let root = self.volume(volume);
        for (number, name) in odd_names().iter().enumerate() {
            write(&root.join(name), &noise(&number.to_string(), number * 100));
            write(&root.join("in a directory").join(name).join(name), name.as_os_str().as_bytes());
        }
        write(&root.join(deep_path()), b"deep");
        write(&root.join("empty"), b"");
        write(&root.join("twin 1"), b"the same bytes");
        write(&root.join("twin 2"), b"the same bytes");
        write(&root.join("large"), &noise("large", 300_000));
        for mode in [0o000, 0o400, 0o600, 0o644, 0o755, 0o777, 0o1644, 0o2755, 0o4755] {
            let path = root.join(format!("mode {mode:o}"));
            write(&path, format!("{mode:o}").as_bytes());
            set_mode(&path, mode);
        }
        let at = |name: &str, time| {
            write(&root.join(name), name.as_bytes());
            set_mtime(&root.join(name), time);
        };
        at("of 1970", UNIX_EPOCH);
        at("of the first nanosecond", UNIX_EPOCH + Duration::from_nanos(1));
        at("before 1970", UNIX_EPOCH - Duration::new(86_400 * 365, 250_000_001));
        at("just before 1970", UNIX_EPOCH - Duration::from_nanos(1));
        at("with nanoseconds", UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789));
        at("of 2100", UNIX_EPOCH + Duration::new(4_102_444_800, 999_999_999));
    }
}

/// How the program names a path in JSON: as text, and where that is not all, its bytes in base64.
pub(crate) fn in_json(path: &Path) -> (String, Option<String>) {
    use base64::Engine;
    let bytes = path.as_os_str().as_bytes();
    let coded = std::str::from_utf8(bytes).is_err().then(|| base64::engine::general_purpose::STANDARD.encode(bytes));
    (String::from_utf8_lossy(bytes).into_owned(), coded)
}
