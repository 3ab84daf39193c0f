//! Names come back as they were, or are excluded by name; none is stored under another.

use crate::context;
use crate::servers::Place;
use crate::skip::no_rclone;
use crate::subject::MadeMirror;
use lastcopy_store::RunStatus;
use lastcopy_sync::conformance::{Rig, gate_is_open};
use lastcopy_sync::{Context, fetch_one};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Names that some place or other cannot hold, or would hold under another name.
const ODD: [&str; 30] = [
    "a b",
    " before",
    "after ",
    "dot.",
    "..x",
    "x..",
    "a:b",
    "q?*|<>\"",
    "back\\slash",
    "ü",
    "u\u{308}",
    "％41",
    "%41",
    "／",
    "‛",
    "😀",
    "#",
    "[x]",
    "]x[",
    "{y}",
    "~",
    "-rf",
    "CON",
    "a;b&c",
    "'quoted'",
    "$HOME",
    "`id`",
    "line\nbreak",
    "tab\t",
    "Ünï",
];

fn comes_back(place: Place, names: &BTreeSet<String>, context: &Context) -> Result<(), TestCaseError> {
    let rig = Rig::new(context).unwrap();
    let site = rig.site_of(Arc::new(MadeMirror::at(place)), "there").unwrap();
    for (number, name) in names.iter().enumerate() {
        rig.write(format!("dir {number}/{name}").as_bytes(), format!("{number} {name}").as_bytes()).unwrap();
        rig.write(name.as_bytes(), format!("{number} above {name}").as_bytes()).unwrap();
    }
    rig.index().unwrap();
    let pushed = rig.push(&site).unwrap();
    prop_assert!(matches!(pushed.status, RunStatus::Success | RunStatus::Partial), "{:?}", pushed.outcome);
    let report = pushed.outcome.unwrap();
    prop_assert_eq!(report.failed.count, 0, "{:?}", report.failed);
    prop_assert_eq!(report.verified + report.excluded.count, report.files);
    rig.judge(&site).unwrap();
    let excluded: BTreeSet<_> = report.excluded.first.iter().map(|(path, _)| path.clone()).collect();
    for (facts, evidence) in rig.evidence(&site).unwrap() {
        let out = excluded.contains(&facts.file.path);
        prop_assert_eq!(gate_is_open(&facts, &evidence), !out, "{}", facts.file.path);
        if !out {
            let receipt = rig.store.receipts_at(site.id, &[facts.file.content_id]).unwrap().remove(0);
            let arrived = Arc::new(Arrived::default());
            fetch_one(site.liar.as_ref(), receipt.into(), Arc::new(Receiving(arrived.clone())), context).unwrap();
            prop_assert_eq!(arrived.hash(), Some(facts.file.content), "{}", facts.file.path);
        }
    }
    Ok(())
}

/// What came back of one file.
#[derive(Default)]
struct Arrived(std::sync::Mutex<Option<lastcopy_fs::Content>>);

struct Bytes(Vec<u8>, Arc<Arrived>);

impl Arrived {
    fn hash(&self) -> Option<lastcopy_fs::Content> {
        *self.0.lock().unwrap()
    }
}

struct Receiving(Arc<Arrived>);

impl lastcopy_sync::FetchSink for Receiving {
    fn begin(&self, _item: &lastcopy_sync::HeldItem) -> std::io::Result<Box<dyn lastcopy_sync::Arrival>> {
        Ok(Box::new(Bytes(Vec::new(), self.0.clone())))
    }

    fn failed(&self, _item: &lastcopy_sync::HeldItem, _reason: String) {}
}

impl std::io::Write for Bytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl lastcopy_sync::Arrival for Bytes {
    fn finish(self: Box<Self>) {
        *self.1.0.lock().unwrap() = Some(lastcopy_fs::hash_bytes(&self.0));
    }
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    let odd = prop::sample::select(&ODD[..]).prop_map(str::to_owned);
    let any = "[^/\0]{1,12}".prop_filter("no name of a directory entry", |name| name != "." && name != ".." && name != ".lastcopy");
    let name = prop_oneof![odd, any].prop_filter("fits", |name| name.len() < 100);
    prop::collection::btree_set(name, 1..20)
}

fn round_trips(test: &str, place: Place) {
    if no_rclone(test) {
        return;
    }
    let (_runtime, context) = context();
    let all: BTreeSet<String> = ODD.iter().map(|name| (*name).to_owned()).collect();
    comes_back(place, &all, &context).unwrap();
    let config = ProptestConfig { cases: 8, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(names in names())| comes_back(place, &names, &context)?);
}

/// Each of these may be one with its neighbour there, so they are sent one after the other: no two of them may wait for each other.
#[test]
fn many_that_fold_alike() {
    if no_rclone("names::many_that_fold_alike") {
        return;
    }
    let (_runtime, context) = context();
    let all: BTreeSet<String> = (0..100).flat_map(|number| [format!("name {number}"), format!("NAME {number}")]).collect();
    comes_back(Place::Local, &all, &context).unwrap();
}

#[test]
fn in_a_directory() {
    round_trips("names::in_a_directory", Place::Local);
}

#[test]
fn over_sftp() {
    round_trips("names::over_sftp", Place::Sftp);
}

#[test]
fn over_webdav() {
    round_trips("names::over_webdav", Place::Webdav);
}
