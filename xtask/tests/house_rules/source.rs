//! Rust sources without comments and literals, so that a word in a sentence is not taken for code.

/// The same text with the insides of comments, strings and characters blanked; lines stay where they are.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, code.chars().next_back()).unwrap_or(0);
        let (taken, blank) = if length == 0 { (first.len_utf8(), false) } else { (length, true) };
        let (piece, left) = rest.split_at(taken);
        if blank {
            code.extend(piece.chars().map(|character| if character == '\n' { '\n' } else { ' ' }));
        } else {
            code.push_str(piece);
        }
        rest = left;
    }
    code
}

/// How long the comment or literal is that begins here, if one does.
fn literal(text: &str, before: Option<char>) -> Option<usize> {
    let to_end_of = |end: &str, from: usize| text[from..].find(end).map_or(text.len(), |at| from + at + end.len());
    let in_word = before.is_some_and(|character| character.is_alphanumeric() || character == '_');
    match text.as_bytes() {
        [b'/', b'/', ..] => Some(text.find('\n').unwrap_or(text.len())),
        [b'/', b'*', ..] => Some(to_end_of("*/", 2)),
        [b'"', ..] => Some(quoted(text, b'"')),
        [b'r', b'"' | b'#', ..] if !in_word => {
            let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
            let end = format!("\"{}", "#".repeat(hashes));
            // Otherwise a raw identifier.
            text[1 + hashes..].starts_with('"').then(|| to_end_of(&end, 2 + hashes))
        }
        [b'\'', b'\\', ..] => Some(quoted(text, b'\'')),
        // A character; a lifetime has no quote after its first one.
        [b'\'', ..] => {
            let character = text[1..].chars().next()?;
            text[1 + character.len_utf8()..].starts_with('\'').then_some(2 + character.len_utf8())
        }
        _ => None,
    }
}

/// The length of a literal with escapes.
fn quoted(text: &str, quote: u8) -> usize {
    let mut bytes = text.bytes().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        if byte == b'\\' {
            bytes.next();
        } else if byte == quote {
            return at + 1;
        }
    }
    text.len()
}

/// Where a word stands by itself, as line numbers from 1.
pub(crate) fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let part = |character: char| character.is_alphanumeric() || character == '_';
    let alone = |(at, found): (usize, &str)| {
        let before = !word.starts_with(part) || !text[..at].ends_with(part);
        let after = !word.ends_with(part) || !text[at + found.len()..].starts_with(part);
        (before && after).then(|| 1 + text[..at].matches('\n').count())
    };
    text.match_indices(word).filter_map(alone).collect()
}

#[test]
fn comments_and_literals_are_blank_and_code_stays() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(code_of(text).split_whitespace().collect::<Vec<_>>().join(" "), expected);
    }
    check("a // println!\nb /* x\n y */ c", "a b c");
    check(r#"say("println!(\"x\")", 'x', '\'', b"dbg!") + d"#, "say( , , , b ) + d");
    check("r#\"todo!() \" still\"# r\"a\\\" after &'static str, r#type", "after &'static str, r#type");
    check("for_r\"x\"", "for_r");
    assert_eq!(code_of("a\n\"b\nc\"\nd").lines().count(), 4, "lines stay where they are");
}

#[test]
fn words_are_found_by_themselves() {
    assert_eq!(lines_with("println!(\neprintln!(\n  println!(", "println!"), [1, 3]);
    assert_eq!(lines_with("tokio::spawn mytokio::x", "tokio::"), [1]);
}
