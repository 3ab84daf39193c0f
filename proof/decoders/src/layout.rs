//! Names and markers in the directory of a `cas` destination, whoever put them there.

use crate::arena::{context, directory, tree};
use lastcopy_fs::RelPath;
use lastcopy_sync::{Destination, Probe};
use lastcopy_sync_cas::Cas;
use std::collections::BTreeSet;
use std::path::Path;

/// The bytes of the destination's marker, then names of files below its root, each after a NUL. Every file holds its own name.
pub fn layout(bytes: &[u8]) {
    let temp = directory();
    let root = temp.path().join("destination");
    std::fs::create_dir(&root).expect("a new directory");
    let mut parts = bytes.split(|byte| *byte == 0);
    let marker = parts.next().unwrap_or_default();
    std::fs::write(root.join(lastcopy_store::DESTINATION_MARKER), marker).expect("a new file");
    parts.take(100).filter_map(|name| RelPath::new(name).ok()).for_each(|name| put(&root, &name));

    let before = tree(temp.path());
    let (cas, runtime) = (Cas::local(&root), context().runtime);
    let answer = runtime.block_on(cas.probe()).expect("the directory can be read");
    let mut listed = BTreeSet::new();
    let listing = runtime.block_on(cas.list(&mut |content, location| {
        assert!(location.0.is_empty());
        assert!(listed.insert((content.hash.to_string(), content.size)), "{content:?} is listed twice");
    }));
    match answer {
        Probe::Found(incarnation) => {
            // Keys that nobody knows are ignored, with whatever they hold.
            assert!(marker.windows(incarnation.as_str().len()).any(|text| text == incarnation.as_str().as_bytes()));
            if listing.is_ok() {
                assert_eq!(listed, objects(&root));
            }
            if let Ok(heads) = runtime.block_on(cas.places()) {
                assert!(heads.iter().all(Result::is_err), "a file that holds its own name is a head: {heads:?}");
            }
        }
        Probe::CannotTell(why) => {
            crate::assert_harmless(&why);
            listing.expect_err("what cannot be told is not looked into");
        }
        Probe::Nothing | Probe::NoPlace => unreachable!("a marker is there"),
    }
    assert!(tree(temp.path()) == before, "looking changed something");
}

/// What cannot be made (a file where a directory is, a name that is too long) is left out.
fn put(root: &Path, name: &RelPath) {
    let path = root.join(name.as_path());
    if name.as_bytes().len() < 1000 && path.parent().is_some_and(|parent| std::fs::create_dir_all(parent).is_ok()) && !path.exists()
    {
        drop(std::fs::write(path, name.as_bytes()));
    }
}

/// What docs/formats.md calls objects, found in another way.
fn objects(root: &Path) -> BTreeSet<(String, u64)> {
    let named = |path: &Path| {
        let text = path.strip_prefix(root.join("objects")).ok()?.to_str()?;
        let (fan, digest) = text.split_once('/')?;
        let digits = digest.len() == 64 && digest.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        (digits && fan.len() == 2 && digest.starts_with(fan)).then(|| digest.to_owned())
    };
    let size = |path: &Path| std::fs::symlink_metadata(path).map(|metadata| metadata.len());
    tree(root).keys().filter_map(|path| Some((named(path)?, size(path).ok()?))).collect()
}
