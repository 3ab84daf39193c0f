//! Directories of our own for sockets, configurations and secrets.

use std::io;
use std::path::PathBuf;

/// Socket paths are short.
const LONGEST_DIR: usize = 70;

/// A directory that nobody else can look into, for as long as it is held: in memory where there is such a place, so that no secret comes to
/// lie on a disk. Sockets can lie in it.
pub fn private_dir(prefix: &str) -> io::Result<tempfile::TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.as_os_str().len() <= LONGEST_DIR);
    let builder = || tempfile::Builder::new().prefix(prefix).to_owned();
    for dir in runtime.into_iter().chain([PathBuf::from("/dev/shm")]) {
        if let Ok(made) = builder().tempdir_in(dir) {
            return Ok(made);
        }
    }
    let dir = Some(std::env::temp_dir()).filter(|dir| dir.as_os_str().len() <= LONGEST_DIR);
    builder().tempdir_in(dir.unwrap_or_else(|| PathBuf::from("/tmp")))
}
