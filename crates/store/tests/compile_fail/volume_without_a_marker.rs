//! What the index records of a volume is no proof that its tree is there: only an opened volume is, whose marker was read (I5).
//! Its companion in `compile_pass` differs in nothing but that.

use lastcopy_store::{Index, Run, Store, Volume, VolumeRecord};

fn begin(store: &Store, record: &VolumeRecord) -> Option<Run<Index>> {
    let _proven: Option<&Volume> = None;
    store.begin_index(record).ok()
}

fn main() {}
