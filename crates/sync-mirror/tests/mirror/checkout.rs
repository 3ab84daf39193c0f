//! What a mirror holds, as plain files: they are looked at, and damaged, with plain file calls.

use lastcopy_sync_mirror::Options;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// What lies beneath a mirror.
#[derive(Debug)]
pub(crate) enum Beneath {
    /// The files themselves, in this directory.
    Files(PathBuf),
    /// What rclone made of them, in this directory.
    Wrapped(PathBuf),
    /// Objects of a server that tells the MD5 of each.
    Hashed,
}

/// The plain files: those beneath themselves, or copies that an rclone of the test's own brings from there, and back.
pub(crate) struct Checkout {
    tree: PathBuf,
    beneath: Beneath,
    options: Options,
    /// How it looked beneath when the files were last brought from there.
    looked: Mutex<Stats>,
}

/// Every entry of a directory: inode, size, and the time of its last change, which nobody can set.
type Stats = Vec<(u64, u64, i64, i64)>;

/// rclone's exit status where nothing is.
const NOTHING_THERE: i32 = 3;

impl Checkout {
    /// Of what lies beneath a mirror with these options. There is room for the copies in `home`.
    pub(crate) fn new(home: &Path, beneath: Beneath, options: &Options) -> Self {
        let tree = if let Beneath::Files(root) = &beneath { root.clone() } else { home.join("checkout") };
        Self { tree, beneath, options: options.clone(), looked: Mutex::default() }
    }

    /// Where the files are.
    pub(crate) fn tree(&self) -> &Path {
        &self.tree
    }

    /// Makes the files what is there.
    pub(crate) fn look(&self) -> io::Result<()> {
        let mut looked = self.looked.lock().unwrap();
        let now = match &self.beneath {
            Beneath::Files(_) => return Ok(()),
            Beneath::Wrapped(dir) => stats(dir)?,
            Beneath::Hashed => Stats::new(),
        };
        // Only of a directory it is known without rclone that nothing changed.
        if !now.is_empty() && *looked == now {
            return Ok(());
        }
        if self.sync(self.options.remote.as_ref(), self.tree.as_ref())? == NOTHING_THERE {
            // rclone made the directory, and left in it what was there before.
            fs::remove_dir_all(&self.tree)?;
            fs::create_dir(&self.tree)?;
        }
        *looked = now;
        Ok(())
    }

    /// Makes what is there what the files are.
    pub(crate) fn put_back(&self) -> io::Result<()> {
        if let Beneath::Files(_) = self.beneath {
            return Ok(());
        }
        match self.sync(self.tree.as_ref(), self.options.remote.as_ref())? {
            0 => Ok(()),
            status => Err(io::Error::other(format!("rclone found nothing to bring back: it ended with {status}"))),
        }
    }

    /// An ordinary rclone, with the settings of the mirror. Its exit status, if that says that it went well or that nothing was there.
    fn sync(&self, from: &OsStr, to: &OsStr) -> io::Result<i32> {
        // Where there are no hashes, all is copied: what rclone would compare is no proof that two files are the same.
        let compare = if matches!(self.beneath, Beneath::Hashed) { "--checksum" } else { "--ignore-times" };
        let mut command = Command::new("rclone");
        command.args([
            "sync",
            "--config",
            "/dev/null",
            compare,
            "--fast-list",
            "--retries",
            "1",
            "--timeout",
            "30s",
            "--max-duration",
            "2m",
        ]);
        command.arg(from).arg(to).stdin(Stdio::null());
        command
            .envs(self.options.settings.iter().map(|(name, value)| (format!("RCLONE_CONFIG_FAR_{}", name.to_uppercase()), value)));
        let output = command.output()?;
        match output.status.code() {
            Some(status @ (0 | NOTHING_THERE)) => Ok(status),
            _ => Err(io::Error::other(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr)))),
        }
    }
}

fn stats(dir: &Path) -> io::Result<Stats> {
    let (mut stats, mut dirs) = (Stats::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let stat = entry.metadata()?;
            stats.push((stat.ino(), stat.size(), stat.ctime(), stat.ctime_nsec()));
            if stat.is_dir() {
                dirs.push(entry.path());
            }
        }
    }
    stats.sort_unstable();
    Ok(stats)
}
