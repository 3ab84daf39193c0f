//! A destination that means harm, from what it says to what lies on the disk: nothing outside of the volume, and none of our own files in
//! it, is touched whatever its segments say.

use crate::arena::{context, directory, index_below, tree};
use lastcopy_fs::{Dir, RelPath, hash_bytes};
use lastcopy_restore::{Recoverable, Recovering, Restoring, Target, recover_volume, recoverable, wanted_below};
use lastcopy_store::{DestinationKind, DestinationRecord, Outcome, Store, VOLUME_DIR, Volume, VolumeClaim};
use lastcopy_sync::{Destination, Probe};
use lastcopy_sync_cas::Cas;
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

const VOLUME: &str = "11111111111111111111111111111111";
const EPOCH: &str = "22222222222222222222222222222222";
const NODE: &str = "33333333333333333333333333333333";

/// The lines of a segment, and in the first line what its head says of its number.
///
/// `@` stands for the digest of the one object that is there, so that what is named can also be brought back.
pub fn recovery(bytes: &[u8]) {
    let temp = directory();
    let place = |name: &str| temp.path().join(name);
    for name in ["outside", "tree", "elsewhere", "destination/objects/00"] {
        std::fs::create_dir_all(place(name)).expect("a new directory");
    }
    std::fs::write(place("outside/precious"), "precious").expect("a new file");
    write_destination(&place("destination"), bytes);
    let others = |path: &Path| ["outside", "destination"].map(|name| tree(&path.join(name)));
    let before = others(temp.path());

    let cas: Arc<dyn Destination> = Arc::new(Cas::local(&place("destination")));
    let context = context();
    let Ok(Probe::Found(met)) = context.runtime.block_on(cas.probe()) else { unreachable!("its marker is not made up") };
    let from = Recovering { destination: cas.as_ref(), met: &met, context: &context };
    let Recoverable { found, damaged } = recoverable(from).expect("the destination can be read");
    damaged.iter().for_each(|why| crate::assert_harmless(why));
    for found in &found {
        let store = index_below(&place("state"));
        let record = store.register_destination("hostile", DestinationKind::Cas).expect("a new destination");
        lastcopy_sync::adopt(&store, &record, cas.as_ref(), None, "recovered from it", &context).expect("it answers");
        let claim = VolumeClaim { take_over: true, id: Some(found.head.place.volume) };
        let (volume, run) = store.add_volume("tree", &place("tree"), claim).expect("a new volume");
        run.finish(&Outcome::Success, None).expect("a run that ends");
        let marker = std::fs::read(place("tree/.lastcopy/volume.toml")).expect("a marker");

        let run = store.begin_restore(Some(&volume)).expect("nothing else runs");
        let report = recover_volume(run, from, found).expect("a line that cannot be recorded is damage");
        report.damaged.iter().for_each(|why| crate::assert_harmless(why));
        stored(&store, &record, cas.as_ref());
        bring_back(&store, &volume, Target::Elsewhere(Dir::open(&place("elsewhere")).expect("a directory")), &cas);
        bring_back(&store, &volume, Target::Home(volume.clone()), &cas);

        assert_eq!(std::fs::read(place("tree/.lastcopy/volume.toml")).ok(), Some(marker), "the marker is another one");
        volume.prove_again().expect("the volume is what it was");
        for entry in std::fs::read_dir(place("tree").join(VOLUME_DIR)).expect("our own directory") {
            let name = entry.expect("an entry").file_name();
            let ours = ["volume.toml", "newest-run.json", "incoming", "kept"];
            assert!(ours.iter().any(|own| name == *own), "{name:?} came to lie among our own files");
        }
        assert!(!place("elsewhere").join(VOLUME_DIR).exists(), "our own directory came to lie in somebody else's");
        assert!(store.check().expect("the index can be read").is_empty());
    }
    assert!(others(temp.path()) == before, "something outside of the volume changed");
    let names = std::fs::read_dir(temp.path()).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let known = ["outside", "tree", "elsewhere", "destination", "state"];
    names.for_each(|name| assert!(known.iter().any(|known| name == *known), "{name:?} was made"));
}

fn write_destination(root: &Path, bytes: &[u8]) {
    let object = hash_bytes(b"hostile").hash.to_string();
    let dir = root.join(format!("volumes/{VOLUME}/{EPOCH}"));
    let fan = root.join("objects").join(&object[..2]);
    for dir in [&dir.join("segments"), &fan] {
        std::fs::create_dir_all(dir).expect("a new directory");
    }
    std::fs::write(fan.join(&object), "hostile").expect("a new file");
    let marker = json!({"format": 1, "id": NODE, "kind": "cas", "created": "2026-11-21T00:00:00Z"});
    std::fs::write(root.join(lastcopy_store::DESTINATION_MARKER), marker.to_string()).expect("a new file");

    let text: Vec<_> = bytes.split(|byte| *byte == b'@').collect();
    let text = text.join(object.as_bytes());
    let (number, lines) = text.split_at(text.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    let sequence: i64 = std::str::from_utf8(number).ok().and_then(|number| number.trim().parse().ok()).unwrap_or(1);
    let segment = zstd::encode_all(lines, 1).expect("compressed in memory");
    let head = json!({
        "format": 1, "volume": VOLUME, "node": NODE, "epoch": EPOCH, "run": 1, "sequence": sequence, "previous": null,
        "segment": {"sequence": sequence, "digest": hash_bytes(&segment).hash.to_string()}, "written": "2026-11-21T00:00:00Z",
    });
    std::fs::write(dir.join("segments/00000001.jsonl.zst"), segment).expect("a new file");
    std::fs::write(dir.join("head.json"), head.to_string()).expect("a new file");
}

/// Receipts for all that lies there, as `recover` records them.
fn stored(store: &Store, record: &DestinationRecord, cas: &dyn Destination) {
    let record = store.destination(record.id).expect("it was registered");
    let run = store.begin_evidence_change(Some(record.id), None).expect("nothing else runs");
    let probed = run.probed(record.id, record.incarnation.as_ref()).expect("it was adopted");
    let mut listed = Vec::new();
    context().runtime.block_on(cas.list(&mut |content, location| listed.push((content, location)))).expect("a list");
    run.record_stored(&probed, &listed).expect("receipts");
    run.finish(&Outcome::Success, None).expect("a run that ends");
}

/// Everything that the destination named, in the place of whatever is there.
fn bring_back(store: &Store, volume: &Volume, target: Target, cas: &Arc<dyn Destination>) {
    let wanted = wanted_below(store, volume.id(), &[RelPath::root()], true).expect("a list");
    let home = matches!(target, Target::Home(_)).then_some(volume);
    let run = store.begin_restore(home).expect("nothing else runs");
    let record = store.destination_record("hostile").ok().flatten().expect("it was registered");
    let sources = vec![(record, cas.clone())];
    let restoring = Restoring { store, target, in_place: true, sources, context: context() };
    // A file that cannot come back is reported; only what is done to others matters here.
    restoring.run(run, &wanted, |_| String::new()).expect("a restore that ends");
}
