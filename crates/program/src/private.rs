//! Directories of our own for sockets, configurations and secrets.

use std::io;
use std::path::PathBuf;

/// Socket paths are short.
const LONGEST_DIR: usize = 70;

/// A directory that nobody else can look into, for as long as it is held. Sockets can lie in it.
pub fn private_dir(prefix: &str) -> io::Result<tempfile::TempDir> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let dir = runtime.unwrap_or_else(std::env::temp_dir);
    let dir = if dir.as_os_str().len() > LONGEST_DIR { PathBuf::from("/tmp") } else { dir };
    tempfile::Builder::new().prefix(prefix).tempdir_in(dir)
}
