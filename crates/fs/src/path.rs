//! Paths below a root, as the bytes that the file system holds.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path below a root: components of any bytes but NUL and `/`, joined by `/`, none of them empty, `.` or `..`.
///
/// The empty path is the root itself. Any other legal name of the file system is legal here, UTF-8 or not.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath(Vec<u8>);

/// Why bytes are not a path below a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{path}` is not a path below a root: {reason}")]
pub struct PathError {
    path: String,
    reason: &'static str,
}

impl RelPath {
    /// The root itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks and takes the bytes of a path.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, PathError> {
        let bytes = bytes.into();
        match fault(&bytes) {
            None => Ok(Self(bytes)),
            Some(reason) => Err(PathError { path: escape(&bytes), reason }),
        }
    }

    /// This path with one more component, which must not be empty, `.`, `..`, or hold `/` or NUL.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        if name.is_empty() || name.contains(&b'/') {
            return Err(PathError { path: escape(name), reason: "it is not the name of one file" });
        }
        Ok(self.join_path(&Self::new(name)?))
    }

    /// This path followed by another one.
    pub fn join_path(&self, tail: &Self) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + tail.0.len());
        bytes.extend_from_slice(&self.0);
        if !bytes.is_empty() && !tail.0.is_empty() {
            bytes.push(b'/');
        }
        bytes.extend_from_slice(&tail.0);
        Self(bytes)
    }

    /// The bytes, without a leading or trailing `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For system calls and for joining onto a root path for display.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Whether this is the root itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Directory and last component, unless this is the root.
    pub fn split(&self) -> Option<(RelPath, &[u8])> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self::root(), &self.0[..]),
        })
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
    }

    /// Whether this path is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Self) -> bool {
        ancestor.is_root() || self.0.strip_prefix(&ancestor.0[..]).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }

    /// This path relative to `ancestor`, if it lies within.
    pub fn relative_to(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        let rest = self.0.strip_prefix(&ancestor.0[..])?;
        match rest.first() {
            None => Some(Self::root()),
            Some(b'/') => Some(Self(rest[1..].to_vec())),
            Some(_) => None,
        }
    }
}

fn fault(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return None;
    }
    if bytes.contains(&0) {
        return Some("it holds a NUL byte");
    }
    bytes.split(|byte| *byte == b'/').find_map(|component| match component {
        b"" => Some("it has an empty component"),
        b"." | b".." => Some("it has a `.` or `..` component"),
        _ => None,
    })
}

/// Printable on one line and unambiguous: control characters, backslashes and bytes that are not UTF-8 are escaped. For whatever others
/// wrote, before it is put into a text for people: a terminal obeys control characters.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            if character.is_control() || character == '\\' {
                text.extend(character.escape_default());
            } else {
                text.push(character);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { "" })?;
        f.write_str(&escape(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_stay_below_the_root() {
        for good in [&b""[..], b"a", b"a/b", b"...", b".hidden", b"\xff\n", b"a b/ c"] {
            assert!(RelPath::new(good).is_ok(), "{good:?}");
        }
        for bad in [&b"/"[..], b"/a", b"a/", b"a//b", b".", b"..", b"a/../b", b"a/.", b"a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn joins_and_splits() {
        let path = RelPath::root().join(b"a").and_then(|path| path.join(b"b c")).expect("legal");
        assert_eq!(path.as_bytes(), b"a/b c");
        let (parent, name) = path.split().expect("not the root");
        assert_eq!((parent.as_bytes(), name), (&b"a"[..], &b"b c"[..]));
        assert!(path.is_within(&parent) && !parent.is_within(&path));
        assert!(!RelPath::new("ab").expect("legal").is_within(&parent));
        assert_eq!(path.relative_to(&parent).expect("within").as_bytes(), b"b c");
        assert!(parent.join(b"x/y").is_err() && parent.join(b"..").is_err());
    }

    #[test]
    fn prints_on_one_line() {
        assert_eq!(RelPath::new(&b"a\nb\xff\\"[..]).expect("legal").to_string(), "a\\nb\\xff\\\\");
        assert_eq!(RelPath::root().to_string(), ".");
    }
}
