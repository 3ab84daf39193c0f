//! A run begins on an opened volume.

use lastcopy_store::{Index, Run, Store, Volume, VolumeRecord};

fn begin(store: &Store, record: &VolumeRecord) -> Option<Run<Index>> {
    let proven: &Volume = &store.open_volume(&record.name, &record.path, None).ok()?;
    store.begin_index(proven).ok()
}

fn main() {}
