//! File systems of a test's own: small ones, and read-only ones. Mounting needs privileges that not every machine gives.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Something mounted at a path, until this is dropped.
#[derive(Debug)]
pub(crate) struct Mounted {
    at: PathBuf,
}

/// Why a test that needs a mount was skipped.
pub(crate) const NO_MOUNTS: &str = "mounting is not allowed here";

impl Mounted {
    /// A new, small file system at a directory, made if it is missing.
    pub(crate) fn small(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        Self::mount(at, [OsStr::new("-t"), "tmpfs".as_ref(), "-o".as_ref(), "size=2m".as_ref(), "none".as_ref(), at.as_os_str()])
    }

    /// A directory as it is, but read-only.
    pub(crate) fn read_only(at: &Path) -> Option<Self> {
        let mounted = Self::mount(at, [OsStr::new("--bind"), at.as_os_str(), at.as_os_str()])?;
        run([OsStr::new("-o"), "remount,bind,ro".as_ref(), at.as_os_str()]).then_some(mounted)
    }

    /// Another directory as a place in a cloud would be, by an rclone that sends later what it takes. None where that cannot be mounted.
    pub(crate) fn sends_later(at: &Path, behind: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut command = Command::new("rclone");
        command.arg("mount").args([behind, at]).args(["--vfs-cache-mode", "writes", "--vfs-write-back", "1h", "--daemon"]);
        command.env("RCLONE_CONFIG", "").env("XDG_CACHE_HOME", behind.with_file_name("cache"));
        let mounted = command.stderr(Stdio::null()).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self { at: at.to_owned() })
    }

    fn mount<const N: usize>(at: &Path, arguments: [&OsStr; N]) -> Option<Self> {
        run(arguments).then(|| Self { at: at.to_owned() })
    }
}

fn run<const N: usize>(arguments: [&OsStr; N]) -> bool {
    let mount = Command::new("mount").args(arguments).stderr(Stdio::null()).status();
    mount.is_ok_and(|status| status.success())
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What stays mounted would keep the home's directory from being removed.
        drop(Command::new("umount").arg("-l").arg(&self.at).status());
    }
}

/// Fills what is left of a small file system; removing the file frees it.
pub(crate) fn fill(file: &Path) {
    let mut filling = fs::File::create(file).unwrap();
    for piece in [64 * 1024, 4096, 1] {
        while filling.write_all(&vec![0x55; piece]).is_ok() {}
    }
}
