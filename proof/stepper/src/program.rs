//! Whether a program can be executed, asked before it is tried.
//!
//! Once the filter is in force and before the tracer is told, the calls that stop have nobody to answer them. A process that could not be
//! executed then cannot even say so, and whoever waits for its word waits for ever.

use crate::report::StepError;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What files begin with that the kernel executes.
const MAGIC: [&[u8]; 2] = [b"\x7fELF", b"#!"];

pub(crate) fn can_be_executed(command: &Command) -> Result<(), StepError> {
    let program = Path::new(command.get_program());
    let here = command.get_current_dir().unwrap_or(Path::new("."));
    let candidates: Vec<PathBuf> = if program.components().count() > 1 || program.is_absolute() {
        vec![here.join(program)]
    } else {
        let given =
            command.get_envs().find(|(name, _)| *name == OsStr::new("PATH")).and_then(|(_, value)| value.map(OsStr::to_owned));
        let path = given.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
        std::env::split_paths(&path).map(|dir| dir.join(program)).collect()
    };
    if candidates.iter().any(|file| is_executable(file)) { Ok(()) } else { Err(StepError::NotExecuted) }
}

fn is_executable(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let executable = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0);
    let mut begin = [0; 4];
    executable && file.read(&mut begin).is_ok() && MAGIC.iter().any(|magic| begin.starts_with(magic))
}
