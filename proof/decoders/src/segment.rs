//! Segments: what a destination says that the paths of a volume became.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lastcopy_store::VOLUME_DIR;
use lastcopy_sync::segment::{Header, Said, read, read_header};
use serde_json::json;

/// From so many lines on it is enough: a small stream may hold millions.
const LINES: usize = 10_000;

/// The bytes of a segment as they are stored, and the lines of one.
pub fn segment(bytes: &[u8]) {
    stored(bytes);
    stored(&zstd::encode_all(bytes, 1).expect("compressed in memory"));
}

fn stored(bytes: &[u8]) {
    let mut said = Vec::new();
    let answer = read(bytes, &mut |line| {
        holds(&line);
        said.push(line);
        if said.len() < LINES { Ok(()) } else { Err("enough".into()) }
    });
    match (&answer, read_header(bytes)) {
        (Ok(header), again) => assert_eq!(again.as_ref(), Ok(header)),
        (Err(why), _) => crate::assert_harmless(why),
    }
    if let Ok(header) = answer {
        written_again(&header, &said);
    }
}

/// What a line may say, whoever wrote it.
pub(crate) fn holds(said: &Said) {
    let Said { path, content, mode, .. } = said;
    assert!(!path.is_root(), "a line names no file");
    let names: Vec<_> = path.components().collect();
    assert!(!names.iter().any(|name| matches!(*name, b"" | b"." | b"..") || name.contains(&0)), "{path} leads out");
    assert!(names[0] != VOLUME_DIR.as_bytes(), "{path} is ours");
    assert!(i64::try_from(content.size).is_ok(), "no file has {} bytes", content.size);
    assert_eq!(mode & !0o7777, 0);
}

/// Lines that say the same, written by other code than the product's, are read as the same.
fn written_again(header: &Header, said: &[Said]) {
    let mut text = serde_json::to_vec(header).expect("what was read can be written");
    for Said { path, content, location, mtime_ns, mode, status, earlier } in said {
        let mut line = json!({
            "blake3": content.hash.to_string(), "size": content.size, "mtime_ns": mtime_ns, "mode": mode, "status": status.name(),
        });
        match std::str::from_utf8(path.as_bytes()) {
            Ok(text) => line["path"] = text.into(),
            Err(_) => line["path_base64"] = BASE64.encode(path.as_bytes()).into(),
        }
        if *earlier {
            line["earlier"] = true.into();
        }
        if !location.0.is_empty() {
            line["location"] = std::str::from_utf8(&location.0).expect("a text in JSON").into();
        }
        text.extend_from_slice(format!("\n{line}").as_bytes());
    }
    text.push(b'\n');
    // Lines have a bound, and mine may be a little longer than those that were read.
    if text.split(|byte| *byte == b'\n').all(|line| line.len() < 60_000) {
        let packed = zstd::encode_all(&text[..], 1).expect("compressed in memory");
        let mut again = Vec::new();
        let answer = read(&packed[..], &mut |line| {
            again.push(line);
            Ok(())
        });
        assert_eq!((answer.as_ref(), &again[..]), (Ok(header), said));
    }
}
