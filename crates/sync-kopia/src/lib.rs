//! `kopia`: a volume in a repository of kopia's, with evidence that counts only what was read back out of it.
//!
//! kopia owns the repository; its command line, and the proof, are owned here. What it stored is looked up in the listing of the snapshot
//! that it made, file by file; each object is read through a second connection that has no cache, and hashed with BLAKE3. No exit status,
//! and no word of kopia's, is taken for a proof, and nothing of anybody else's in the repository is touched.
//!
//! ```text
//! lastcopy@<volume id>:/files               the volume, one pinned snapshot for each push
//! lastcopy@<volume id>:/contents            contents that come from no file of the volume
//! lastcopy@<volume id>:/<epoch>/segments    segments, as in every kind, one file in each snapshot
//! lastcopy@<volume id>:/<epoch>/head        heads
//! ```

mod compact;
mod connection;
mod fetch;
mod held;
mod kopia;
mod listing;
mod options;
mod place;
mod program;
mod push;
mod repair;
mod retention;
mod seal;
mod server;
mod session;
mod snapshot;
mod storage;
mod verify;
pub mod wire;

pub use kopia::{Kopia, Standing};
pub use options::Options;
pub use storage::{Storage, StorageError};
