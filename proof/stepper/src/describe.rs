//! What a stopped thread is about to do, in words: paths, flags and lengths instead of registers.

use crate::calls::{Length, OPEN_CHANGES, Place, Shape};
use crate::report::{Call, FileType, Inode, Kind, Target};
use libc::{pid_t, user_regs_struct};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

const PAGE: u64 = 4096;
const LONGEST_PATH: usize = 4096;
/// Linux takes no longer list of buffers.
const MOST_BUFFERS: u64 = 1024;

/// Where to look for a target again, after the call.
#[derive(Debug, Clone)]
pub(crate) enum Look {
    /// An open file, as the system shows it.
    Open(PathBuf),
    /// A name.
    Name(PathBuf),
}

impl Look {
    pub(crate) fn now(&self) -> Option<Inode> {
        let found = match self {
            Self::Open(link) => fs::metadata(link),
            Self::Name(path) => fs::symlink_metadata(path),
        };
        found.ok().map(|metadata| inode(&metadata))
    }
}

fn inode(metadata: &Metadata) -> Inode {
    let kind = match metadata.mode() & libc::S_IFMT {
        libc::S_IFREG => FileType::Regular,
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        _ => FileType::Other,
    };
    Inode { device: metadata.dev(), inode: metadata.ino(), links: metadata.nlink(), size: metadata.size(), kind }
}

/// The arguments of a system call, in order.
pub(crate) fn arguments(registers: &user_regs_struct) -> [u64; 6] {
    [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9]
}

/// A call as it is about to be made, and where to look at its targets again; nothing if it is not about files at all.
pub(crate) fn describe(thread: pid_t, shape: &Shape, registers: &user_regs_struct) -> Option<(Call, Vec<Look>)> {
    let arguments = arguments(registers);
    let mut flags = shape.flags.map(|place| arguments[place]);
    if shape.number == libc::SYS_openat2 {
        let how = read_words(thread, arguments[2], 1).ok()?;
        if how[0] & u64::from(OPEN_CHANGES) == 0 {
            return None;
        }
        flags = Some(how[0]);
    }
    let mut targets = Vec::new();
    let mut looks = Vec::new();
    for place in shape.places {
        // A pointer to nowhere: the call will fail, and change nothing.
        let (path, look) = resolve(thread, *place, &arguments).ok()?;
        let before = look.now();
        targets.push(Target { path, before, after: None });
        looks.push(look);
    }
    if !targets.iter().all(is_file) {
        return None;
    }
    let length = match shape.length {
        Length::None => None,
        Length::Argument(place) => Some(arguments[place]),
        Length::Vector(_) => Some(buffers(thread, &arguments).ok()?.iter().map(|(_, length)| length).sum()),
    };
    let (name, kind) = (shape.name, shape.kind);
    let number = None;
    let call = Call {
        number,
        thread,
        process: process_of(thread),
        name,
        kind,
        targets,
        flags,
        length,
        arguments,
        injected: None,
        result: None,
        began: 0,
        returned: None,
    };
    debug_assert!(kind != Kind::Note || call.length.is_none());
    Some((call, looks))
}

/// The process of a thread that stands still.
fn process_of(thread: pid_t) -> pid_t {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let process = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    process.unwrap_or(thread)
}

/// Whether that is a file of a file system that keeps files, or could become one.
fn is_file(target: &Target) -> bool {
    let kept = !["/proc", "/sys"].iter().any(|system| target.path.starts_with(system));
    let in_memory = target.path.as_os_str().as_encoded_bytes().starts_with(b"/memfd:");
    kept && !in_memory && target.before.is_none_or(|inode| inode.kind != FileType::Other)
}

fn resolve(thread: pid_t, place: Place, arguments: &[u64; 6]) -> io::Result<(PathBuf, Look)> {
    let (directory, name) = match place {
        Place::Fd(place) => return open_file(thread, descriptor(arguments[place])),
        Place::Path(place) => (libc::AT_FDCWD, read_path(thread, arguments[place])?),
        // A null path is the directory itself, for some calls.
        Place::At(place, path) => (descriptor(arguments[place]), read_path(thread, arguments[path]).unwrap_or_default()),
    };
    if name.as_os_str().is_empty() {
        return open_file(thread, directory);
    }
    let path = if name.is_absolute() {
        name
    } else {
        let from = if directory == libc::AT_FDCWD { "cwd".to_owned() } else { format!("fd/{directory}") };
        fs::read_link(format!("/proc/{thread}/{from}"))?.join(name)
    };
    Ok((path.clone(), Look::Name(path)))
}

/// The kernel takes the lower half of the register.
fn descriptor(argument: u64) -> i32 {
    argument as u32 as i32
}

fn open_file(thread: pid_t, descriptor: i32) -> io::Result<(PathBuf, Look)> {
    let link = PathBuf::from(format!("/proc/{thread}/fd/{descriptor}"));
    Ok((fs::read_link(&link)?, Look::Open(link)))
}

fn memory(thread: pid_t) -> io::Result<File> {
    File::open(Path::new("/proc").join(thread.to_string()).join("mem"))
}

/// A path from a thread's memory: up to its NUL, page by page, for the page behind it may not be there.
fn read_path(thread: pid_t, address: u64) -> io::Result<PathBuf> {
    let memory = memory(thread)?;
    let mut path = Vec::new();
    let mut at = address;
    while path.len() < LONGEST_PATH {
        let mut page = vec![0; usize::try_from(PAGE - at % PAGE).map_err(io::Error::other)?];
        memory.read_exact_at(&mut page, at)?;
        if let Some(end) = page.iter().position(|byte| *byte == 0) {
            path.extend_from_slice(&page[..end]);
            return Ok(PathBuf::from(OsString::from_vec(path)));
        }
        at += page.len() as u64;
        path.append(&mut page);
    }
    Err(io::ErrorKind::InvalidFilename.into())
}

fn read_words(thread: pid_t, address: u64, count: u64) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; usize::try_from(count * 8).map_err(io::Error::other)?];
    memory(thread)?.read_exact_at(&mut bytes, address)?;
    let (words, _) = bytes.as_chunks::<8>();
    Ok(words.iter().map(|word| u64::from_le_bytes(*word)).collect())
}

/// The buffers of a call that takes a list of them, as addresses and lengths.
pub(crate) fn buffers(thread: pid_t, arguments: &[u64; 6]) -> io::Result<Vec<(u64, u64)>> {
    let words = read_words(thread, arguments[1], arguments[2].min(MOST_BUFFERS) * 2)?;
    let (pairs, _) = words.as_chunks::<2>();
    Ok(pairs.iter().map(|[address, length]| (*address, *length)).collect())
}
