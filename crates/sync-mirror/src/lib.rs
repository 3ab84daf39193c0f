//! `mirror`: a browsable copy of a volume at any place that rclone reaches.
//!
//! rclone moves the bytes; what counts as proven is decided here, by reading every stored byte back, by a BLAKE3 that the far side
//! computes when it is asked, or by another checksum of its own, which is compared with the bytes that were sent. No exit status, and no
//! word of rclone's, is taken for a proof. One rclone process serves one [`Mirror`], however many files it moves: it is asked over a
//! private socket, and dies with this process.
//!
//! ```text
//! <root>/.lastcopy-destination.json                         which repository this is
//! <root>/.lastcopy/volumes/<volume id>/<epoch>/…            heads and segments, as in every kind
//! <root>/.lastcopy/contents/ab/abcdef…                      contents that belong to no path
//! <root>/<volume>/…                                         looks like the volume
//! <root>/<volume>/.lastcopy/owner.json                      whose it is
//! <root>/<volume>/.lastcopy/history/<time>-<random>/…       what was replaced, as it was
//! ```

mod batch;
mod checksums;
mod daemon;
mod layout;
mod mirror;
mod names;
mod prove;
mod push;
mod rc;
mod remote;
pub mod wire;

pub use daemon::{Options, Program, Verify, own_configuration};
pub use mirror::{Mirror, Standing};
