//! What is bound comes of a receipt.

use lastcopy_fs::Content;
use lastcopy_store::{BoundChecksum, Checksum, Receipt};

fn bound(receipt: &Receipt, content: Content, checksum: Checksum) -> (Option<BoundChecksum>, Content) {
    (receipt.fingerprint.filter(|bound| bound.checksum() == checksum), content)
}

fn main() {}
