//! File systems to stand on: directories of the machine, and images that are mounted for as long as they are needed.

use anyhow::{Context, Result, ensure};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Mounts of this process are its own from here on: whatever ends it, they end with it, and their loop devices too.
///
/// To be called before there are other threads. An error means that nothing can be mounted.
pub fn mounts_of_our_own() -> io::Result<()> {
    let none = std::ptr::null();
    #[expect(unsafe_code, reason = "both take flags; the paths are constants that end with NUL, the other pointers null")]
    // SAFETY: see above.
    let answers = unsafe {
        let own = libc::unshare(libc::CLONE_NEWNS);
        if own == 0 { libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) } else { own }
    };
    if answers == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The name of the file system below a path, of those that are known to lastcopy.
pub(crate) fn name_of(path: &Path) -> Result<Option<&'static str>> {
    let output = Command::new("stat").args(["--file-system", "--format=%t"]).arg(path).output().context("stat")?;
    Ok(match String::from_utf8_lossy(&output.stdout).trim() {
        "ef53" => Some("ext4"),
        "58465342" => Some("xfs"),
        "9123683e" => Some("btrfs"),
        "1021994" => Some("tmpfs"),
        _ => None,
    })
}

/// A kind of file system that images can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The size of an image; none is filled.
    megabytes: u64,
    /// As small as it can be, and quick to make.
    options: &'static [&'static str],
}

pub(crate) const EXT4: Kind = Kind { name: "ext4", megabytes: 64, options: &["-q", "-F", "-E", "lazy_itable_init=1,nodiscard"] };
pub(crate) const XFS: Kind = Kind { name: "xfs", megabytes: 320, options: &["-q", "-f", "-K"] };
pub(crate) const BTRFS: Kind = Kind { name: "btrfs", megabytes: 128, options: &["-q", "-f", "-K"] };

/// Runs a tool that must succeed.
fn tool(name: &str, words: &[&OsStr]) -> Result<()> {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(name).args(words).env("PATH", path).output().with_context(|| format!("{name} cannot be started"))?;
    ensure!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

/// Makes an image with an empty file system in it.
pub(crate) fn make_image(kind: Kind, image: &Path) -> Result<()> {
    File::create(image)?.set_len(kind.megabytes << 20)?;
    let words: Vec<_> = kind.options.iter().map(OsStr::new).chain([image.as_os_str()]).collect();
    tool(&format!("mkfs.{}", kind.name), &words)
}

/// Copies an image, holes and all.
pub(crate) fn copy_image(from: &Path, to: &Path) -> Result<()> {
    tool("cp", &["--sparse=always".as_ref(), from.as_os_str(), to.as_os_str()])
}

/// A mounted image. It is unmounted when this goes, come what may.
#[derive(Debug)]
pub(crate) struct Mounted {
    dir: PathBuf,
    mounted: bool,
}

impl Mounted {
    /// Mounts an image on a directory, which is made.
    pub(crate) fn new(image: &Path, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        tool("mount", &["-o".as_ref(), "loop".as_ref(), image.as_os_str(), dir.as_os_str()])?;
        Ok(Self { dir: dir.to_owned(), mounted: true })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Cuts the power of the file system: from now on nothing reaches the device any more, and what was not made durable is lost.
    pub(crate) fn cut(&self) -> io::Result<()> {
        /// `FS_IOC_SHUTDOWN`, as ext4, xfs and others have it.
        const SHUTDOWN: libc::Ioctl = 0x8004_587d;
        /// The journal is not written out first.
        const NO_LOG_FLUSH: u32 = 2;
        let how = NO_LOG_FLUSH;
        let root = File::open(&self.dir)?;
        #[expect(unsafe_code, reason = "this ioctl reads one 32-bit number")]
        // SAFETY: the number outlives the call.
        let answer = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
        if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Unmounts it now. A program that another thread is just starting holds our descriptors until it is executed, so the first try may
    /// find it in use.
    pub(crate) fn unmount(mut self) -> Result<()> {
        const TRIES: usize = 200;
        let mut unmounted = tool("umount", &[self.dir.as_os_str()]);
        for _ in 1..TRIES {
            if unmounted.is_ok() {
                break;
            }
            unmounted = tool("umount", &[self.dir.as_os_str()]);
        }
        self.mounted = unmounted.is_err();
        unmounted
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.mounted {
            // If it is in use, it goes with its last user.
            drop(tool("umount", &["--lazy".as_ref(), self.dir.as_os_str()]));
        }
    }
}
