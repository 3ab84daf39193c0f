//! Paths: bytes from a disk, a person or a destination; and how they are shown and written as JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lastcopy::{Fields, printable};
use lastcopy_fs::RelPath;
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// The path of a file in a volume, its parts, and how it is shown.
pub fn path(bytes: &[u8]) {
    shown(&String::from_utf8_lossy(bytes));
    let path = match RelPath::new(bytes) {
        Ok(path) => path,
        Err(error) => {
            assert!(!stays_below(bytes), "{bytes:?} was refused: {error}");
            return crate::assert_harmless(&error.to_string());
        }
    };
    assert!(stays_below(bytes), "{bytes:?} was taken");
    assert_eq!(path.as_bytes(), bytes);
    let built = path.components().try_fold(RelPath::root(), |path, name| path.join(name));
    assert_eq!(built.as_ref(), Ok(&path));
    assert_eq!(path.split().is_none(), path.is_root());
    if let Some((parent, name)) = path.split() {
        assert_eq!(parent.join(name).as_ref(), Ok(&path));
        assert!(path.is_within(&parent) && !parent.is_within(&path));
        assert_eq!(path.relative_to(&parent).as_ref().map(RelPath::as_bytes), Some(name));
    }
    let mut above = Some(path.clone());
    while let Some(ancestor) = above {
        let below = path.relative_to(&ancestor).expect("it lies within its ancestors");
        assert_eq!(ancestor.join_path(&below), path);
        above = ancestor.split().map(|(parent, _)| parent);
    }
    let text = path.to_string();
    crate::assert_harmless(&text);
    if !path.is_root() {
        assert_eq!(unescaped(&text), bytes, "shown as {text}");
    }
    assert_eq!(from_json(&Fields::new().path(&path).to_json()), bytes);
}

/// Another way to say what a path below a root is: only ordinary names, written in the only way.
fn stays_below(bytes: &[u8]) -> bool {
    let ordinary = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.as_bytes().to_vec()),
        _ => None,
    };
    let names: Option<Vec<_>> = Path::new(OsStr::from_bytes(bytes)).components().map(ordinary).collect();
    !bytes.contains(&0) && names.is_some_and(|names| names.join(&b'/') == bytes)
}

/// What a shown path stands for. That it can be told is what makes it unambiguous.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let Some(escape) = rest.strip_prefix('\\') else {
            bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[character.len_utf8()..];
            continue;
        };
        let (kind, after) = escape.split_at(1);
        rest = after;
        match kind {
            "n" => bytes.push(b'\n'),
            "r" => bytes.push(b'\r'),
            "t" => bytes.push(b'\t'),
            "\\" => bytes.push(b'\\'),
            "x" => {
                bytes.push(u8::from_str_radix(&after[..2], 16).expect("two digits"));
                rest = &after[2..];
            }
            "u" => {
                let (digits, after) = after[1..].split_once('}').expect("braces around digits");
                let character = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32).expect("a character");
                bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = after;
            }
            other => assert_eq!(other, "an escape", "in {text}"),
        }
    }
    bytes
}

/// As docs/json.md says: the bytes stand beside the text where that is not all there is.
fn from_json(line: &str) -> Vec<u8> {
    let line: Value = serde_json::from_str(line).expect("JSON");
    match line["path_bytes"].as_str() {
        Some(coded) => BASE64.decode(coded).expect("base64"),
        None => line["path"].as_str().expect("a text").as_bytes().to_vec(),
    }
}

/// Text of others in a line for people: a terminal obeys nothing of it but styles.
fn shown(text: &str) {
    let shown = printable(text);
    let mut plain = shown.clone().into_owned();
    for style in ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m", "\n", "\t"] {
        plain = plain.replace(style, " ");
    }
    crate::assert_harmless(&plain);
    assert_eq!(printable(&shown), shown);
    if !text.chars().any(char::is_control) {
        assert_eq!(shown, text);
    }
}
