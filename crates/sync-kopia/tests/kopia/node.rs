//! A node with a volume that it pushes to a repository.

use crate::context;
use crate::subject::MadeRepository;
use lastcopy_fs::{Content, hash_bytes};
use lastcopy_store::RunStatus;
use lastcopy_sync::conformance::{Liar, Made, Pushing, Rig, Site, gate_is_open};
use lastcopy_sync::{Compact, Destination, Extent, PushReport, Repair, VerifyReport};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub(crate) struct Node {
    pub(crate) rig: Rig,
    pub(crate) site: Site,
    pub(crate) made: Arc<MadeRepository>,
    _runtime: tokio::runtime::Runtime,
}

impl Node {
    pub(crate) fn new() -> Self {
        Self::of(MadeRepository::new())
    }

    pub(crate) fn of(made: MadeRepository) -> Self {
        let (runtime, context) = context();
        let rig = Rig::new(&context).unwrap();
        let made = Arc::new(made);
        let site = rig.site_of(made.clone(), "there").unwrap();
        Self { rig, site, made, _runtime: runtime }
    }

    /// A node whose repository lies in its volume, in a directory of this name.
    pub(crate) fn inside_its_volume(name: &str) -> Self {
        let (runtime, context) = context();
        let rig = Rig::new(&context).unwrap();
        let made = Arc::new(MadeRepository::at(&rig.tree().join(name)));
        let site = rig.site_of(made.clone(), "there").unwrap();
        Self { rig, site, made, _runtime: runtime }
    }

    /// Another node that uses the repository of one: it is adopted, not made.
    pub(crate) fn at(other: &Self) -> Self {
        let (runtime, context) = context();
        let rig = Rig::new(&context).unwrap();
        let made = Arc::new(MadeRepository::beside(&other.made));
        let liar = Arc::new(Liar::new(made.destination()));
        let record = rig.store.register_destination("there", liar.kind()).unwrap();
        lastcopy_sync::adopt(&rig.store, &record, liar.as_ref(), None, "a test says so", &context).unwrap();
        let site = Site { made: made.clone(), liar, id: record.id };
        Self { rig, site, made, _runtime: runtime }
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        self.rig.write(path.as_bytes(), bytes).unwrap();
    }

    /// Indexes and pushes, and looks after it that no more is claimed than is held.
    pub(crate) fn push_as_it_goes(&self) -> Pushing {
        self.rig.index().unwrap();
        self.rig.push(&self.site).unwrap()
    }

    #[track_caller]
    pub(crate) fn push(&self) -> PushReport {
        let Pushing { outcome, status } = self.push_as_it_goes();
        assert_eq!(status, RunStatus::Success, "{outcome:?}");
        outcome.unwrap()
    }

    #[track_caller]
    pub(crate) fn verify(&self, extent: Extent) -> VerifyReport {
        self.rig.verify(&self.site, extent).unwrap().unwrap()
    }

    pub(crate) fn compact(&self) -> Compact<'_> {
        let record = self.rig.record(&self.site).unwrap();
        let (store, destination, context) = (&self.rig.store, self.site.liar.clone(), self.rig.context.clone());
        Compact { store, record, destination, context }
    }

    pub(crate) fn repair(&self) -> Repair<'_> {
        let record = self.rig.record(&self.site).unwrap();
        let (store, destination, context) = (&self.rig.store, self.site.liar.clone(), self.rig.context.clone());
        Repair { store, record, destination, volumes: vec![self.rig.volume.clone()], others: Vec::new(), context }
    }

    pub(crate) fn held(&self, bytes: &[u8]) -> bool {
        self.made.held().unwrap().contains(&hash_bytes(bytes))
    }

    /// Whether the gate is open for a file.
    pub(crate) fn gate(&self, path: &str) -> bool {
        let all = self.rig.evidence(&self.site).unwrap();
        let (facts, evidence) = all.into_iter().find(|(facts, _)| facts.file.path.as_bytes() == path.as_bytes()).unwrap();
        gate_is_open(&facts, &evidence)
    }

    /// Which contents lie in which pack, and where in it they end.
    pub(crate) fn packs(&self) -> BTreeMap<PathBuf, Vec<(Content, u64)>> {
        let mut packs: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for content in self.made.held().unwrap() {
            let (pack, offset, length) = self.made.inside.piece(&self.made.object(content).unwrap()).unwrap();
            packs.entry(pack).or_default().push((content, offset + length));
        }
        packs
    }

    /// The snapshots of the volume's files: their ids, and their pins.
    pub(crate) fn snapshots(&self) -> Vec<(String, Vec<String>)> {
        let all = self.made.inside.json(&["snapshot", "list", &self.source(), "--json", "--incomplete"]).unwrap();
        let all = all.as_array().unwrap().iter().filter(|snapshot| snapshot["source"]["path"] == "/files");
        all.map(|snapshot| {
            let pins = snapshot["pins"].as_array().into_iter().flatten().map(|pin| pin.as_str().unwrap().to_owned());
            (snapshot["id"].as_str().unwrap().to_owned(), pins.collect())
        })
        .collect()
    }

    /// The volume's files, as kopia names them.
    pub(crate) fn source(&self) -> String {
        format!("lastcopy@{}:/files", self.rig.volume.uuid())
    }

    /// As somebody else who uses the repository.
    pub(crate) fn somebody(&self, arguments: &[&str]) {
        self.made.inside.kopia(arguments).unwrap();
    }
}
