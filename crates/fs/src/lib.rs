//! Linux file access for a program that must not lose a file.
//!
//! This crate owns how bytes on a local disk are reached, hashed, moved and made durable: paths as bytes, directories as
//! descriptors, `openat2` without symlinks, renames that replace nothing, read leases, and the syncs that make a change survive a
//! power cut. It knows nothing of volumes, runs or destinations, and it never follows a symlink below a directory that it was given.
//!
//! It is separate because the index, the offload, the restore and the local destinations need the same few operations, and each of
//! them is a way to lose data when it is written twice with a small difference.

mod cancel;
mod content;
mod dir;
mod disk;
mod filesystem;
mod hashing;
mod lease;
mod lock;
mod mount;
mod path;
mod progress;
mod random;
mod stat;
mod tree_hash;
mod write;

pub use cancel::{Cancel, Cancelled};
pub use content::{Content, ContentHash, ParseHashError};
pub use dir::{Dir, Entries, EntryRef, Mounts, lies_in};
pub use disk::disk_of;
pub use filesystem::{Filesystem, filesystem_of};
pub use hashing::{HashBuffer, HashingReader, hash_bytes};
pub use lease::{LeaseError, LeasedFile};
pub use lock::{LockFile, LockState, try_lock};
pub use mount::{require_stored_when_synced, sync_stored};
pub use path::{PathError, RelPath, escape};
pub use progress::{Counting, NoProgress, Progress};
pub use random::{Id128, ParseIdError};
pub use stat::{FileKind, FileStat, file_clock_ns};
pub use write::{DirSync, drop_from_cache, replace_file, start_writeback, sync_everything, sync_filesystem};
