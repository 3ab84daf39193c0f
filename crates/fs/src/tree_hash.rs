//! BLAKE3 of one large file on all cores, with plain reads.
//!
//! BLAKE3 is a binary tree over 1 KiB chunks in which every left subtree is a power of two chunks (BLAKE3 paper, section 2.1), so
//! groups of a power of two chunks can be hashed apart and their chaining values merged.

use crate::cancel::Cancel;
use crate::content::{Content, ContentHash};
use crate::hashing::{PIECE, interrupted};
use crate::progress::Progress;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root};
use rayon::prelude::*;
use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that one core hashes at a time: a power of two chunks.
const GROUP: u64 = 16 << 20;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// Hashes the first `size` bytes; `size` must be more than one group. A shorter file is `UnexpectedEof`.
pub(crate) fn hash_range(file: &File, size: u64, cancel: &Cancel, progress: &dyn Progress) -> io::Result<Content> {
    let values = (0..size.div_ceil(GROUP))
        .into_par_iter()
        .map(|group| group_value(file, group * GROUP, GROUP.min(size - group * GROUP), cancel, progress))
        .collect::<io::Result<Vec<_>>>()?;
    let (left, right) = values.split_at(left_groups(values.len()));
    let root = merge_subtrees_root(&merged(left), &merged(right), Mode::Hash);
    Ok(Content { hash: ContentHash::from(root), size })
}

fn group_value(file: &File, start: u64, len: u64, cancel: &Cancel, progress: &dyn Progress) -> io::Result<ChainingValue> {
    BUFFER.with_borrow_mut(|buffer| {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        let mut done = 0;
        while done < len {
            interrupted(cancel)?;
            let piece = usize::try_from(len - done).unwrap_or(PIECE).min(PIECE);
            file.read_exact_at(&mut buffer[..piece], start + done)?;
            hasher.update(&buffer[..piece]);
            done += piece as u64;
            progress.advance(0, piece as u64);
        }
        Ok(hasher.finalize_non_root())
    })
}

/// How many of `count` groups form the left subtree: the largest power of two below `count`.
fn left_groups(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn merged(values: &[ChainingValue]) -> ChainingValue {
    match values {
        [value] => *value,
        _ => {
            let (left, right) = values.split_at(left_groups(values.len()));
            merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
        }
    }
}
