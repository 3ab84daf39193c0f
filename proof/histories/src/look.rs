//! How the oracle looks at disks: with plain file calls and BLAKE3, sharing nothing with what decides.

use crate::error::{Result, at};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The digest of some bytes.
pub(crate) type Hash = [u8; 32];

/// Hashes bytes.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    *blake3::hash(bytes).as_bytes()
}

/// The bytes of a content that histories name by its number. Those that are three apart have the same length, up to 100;
/// number 0 is empty.
pub(crate) fn content(number: u8) -> Vec<u8> {
    let length = match number {
        0 => 0,
        1..100 => 6 + usize::from(number % 3) * 5,
        // For a soak.
        _ => 3000 * (1 + usize::from(number % 30)),
    };
    let text = format!("{number:03}|");
    text.bytes().cycle().take(length).collect()
}

/// A regular file that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// What it holds.
    pub(crate) hash: Hash,
    /// Which inode it is.
    pub(crate) inode: u64,
}

/// What lies in a volume, by paths relative to its root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// A person's regular files.
    pub(crate) files: BTreeMap<Vec<u8>, Found>,
    /// What lies aside, by the directory of the run and the path.
    pub(crate) aside: BTreeMap<(Vec<u8>, Vec<u8>), Found>,
    /// What was kept, by the path below the kept files.
    pub(crate) kept: BTreeMap<Vec<u8>, Found>,
}

/// The marker by which a directory is a destination: what lies there is none of a person's files.
const DESTINATION: &str = ".lastcopy-destination.json";

/// Looks at a volume.
pub(crate) fn tree(root: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    below(root, &mut Vec::new(), &mut |path, found| {
        tree.files.insert(path.to_vec(), found);
    })?;
    let own = root.join(".lastcopy");
    below(&own.join("offload"), &mut Vec::new(), &mut |path, found| {
        let cut = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
        let (run, rest) = path.split_at(cut);
        tree.aside.insert((run.to_vec(), rest.get(1..).unwrap_or_default().to_vec()), found);
    })?;
    below(&own.join("kept"), &mut Vec::new(), &mut |path, found| {
        tree.kept.insert(path.to_vec(), found);
    })?;
    Ok(tree)
}

fn below(dir: &Path, prefix: &mut Vec<u8>, each: &mut dyn FnMut(&[u8], Found)) -> Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(at(dir))?,
    };
    for entry in entries {
        let entry = entry.map_err(at(dir))?;
        let name = entry.file_name();
        if prefix.is_empty() && name == ".lastcopy" {
            continue;
        }
        let path = entry.path();
        // Somebody may take it away while we look.
        let Some(kind) = gone_is_none(entry.file_type()).map_err(at(&path))? else { continue };
        let length = prefix.len();
        if !prefix.is_empty() {
            prefix.push(b'/');
        }
        prefix.extend_from_slice(name.as_bytes());
        if kind.is_dir() && fs::symlink_metadata(path.join(DESTINATION)).is_err() {
            below(&path, prefix, each)?;
        } else if kind.is_file()
            && let Some(found) = file(&path)?
        {
            each(prefix, found);
        }
        prefix.truncate(length);
    }
    Ok(())
}

/// Looks at one file; nothing if there is none.
pub(crate) fn file(path: &Path) -> Result<Option<Found>> {
    let Some(stat) = gone_is_none(fs::symlink_metadata(path)).map_err(at(path))? else { return Ok(None) };
    if !stat.is_file() {
        return Ok(None);
    }
    let Some(bytes) = gone_is_none(fs::read(path)).map_err(at(path))? else { return Ok(None) };
    Ok(Some(Found { hash: hash(&bytes), inode: stat.ino() }))
}

fn gone_is_none<T>(answer: io::Result<T>) -> io::Result<Option<T>> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// An object that lies at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Object {
    /// Its length.
    pub(crate) size: u64,
    /// Whether its bytes are those that its name promises.
    pub(crate) intact: bool,
}

/// Every object of a `cas` destination, by its name.
pub(crate) fn objects(root: &Path) -> Result<BTreeMap<Hash, Object>> {
    let mut found = BTreeMap::new();
    below(&root.join("objects"), &mut Vec::new(), &mut |path, object| {
        if let Some(name) = path.rsplit(|byte| *byte == b'/').next().and_then(parse) {
            found.insert(name, object.hash);
        }
    })?;
    found
        .into_iter()
        .map(|(name, hash)| {
            let path = root.join(object_path(&name));
            let size = gone_is_none(fs::symlink_metadata(&path)).map_err(at(&path))?.map_or(0, |stat| stat.len());
            Ok((name, Object { size, intact: hash == name }))
        })
        .collect()
}

/// Looks at one object.
pub(crate) fn object(root: &Path, name: &Hash) -> Result<Option<Object>> {
    let path = root.join(object_path(name));
    let Some(bytes) = gone_is_none(fs::read(&path)).map_err(at(&path))? else { return Ok(None) };
    Ok(Some(Object { size: bytes.len() as u64, intact: hash(&bytes) == *name }))
}

/// Where an object lies below the root of its destination.
pub(crate) fn object_path(name: &Hash) -> String {
    let hex = hex(name);
    format!("objects/{}/{hex}", &hex[..2])
}

/// The id in a destination's marker, if there is a marker.
pub(crate) fn marker(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join(DESTINATION)).ok()?;
    let (_, rest) = text.split_once("\"id\":\"")?;
    rest.split_once('"').map(|(id, _)| id.to_owned())
}

/// A digest as text.
pub(crate) fn hex(hash: &Hash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &[u8]) -> Option<Hash> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 64)?;
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// Paths, each with its inode, when it was written, and its bytes.
pub(crate) type Fingerprint = BTreeMap<Vec<u8>, (u64, i64, Vec<u8>)>;

/// Everything below a directory, with what tells whether it was touched.
pub(crate) fn fingerprint(root: &Path) -> Result<Fingerprint> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in fs::read_dir(&dir).map_err(at(&dir))? {
            let path = entry.map_err(at(&dir))?.path();
            let stat = fs::symlink_metadata(&path).map_err(at(&path))?;
            let bytes = if stat.is_file() { fs::read(&path).map_err(at(&path))? } else { Vec::new() };
            if stat.is_dir() {
                waiting.push(path.clone());
            }
            let touched = if stat.is_dir() { 0 } else { stat.mtime_nsec() };
            found.insert(path.as_os_str().as_bytes().to_vec(), (stat.ino(), touched, bytes));
        }
    }
    Ok(found)
}
