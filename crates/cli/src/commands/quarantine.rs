//! What offloads hold for their grace, as people are told of it.

use crate::error::Result;
use crate::words::{self, files};
use lastcopy_store::{Intent, IntentState, RunId, Store, Timestamp, VolumeId};
use std::collections::BTreeMap;

/// Files in quarantine, by the offload that holds them.
#[derive(Debug)]
pub(crate) struct Quarantine {
    runs: BTreeMap<RunId, Held>,
    now: Timestamp,
}

#[derive(Debug)]
struct Held {
    files: u64,
    /// When the last of them may go.
    until: Timestamp,
    /// Some may go now.
    over: bool,
    /// An earlier life of the index put them there: nothing deletes them any more.
    of_earlier_life: bool,
}

impl Quarantine {
    /// Those of a volume that are of interest.
    pub(crate) fn of(store: &Store, volume: VolumeId, interests: impl Fn(&Intent) -> bool) -> Result<Self> {
        let mut quarantine = Self { runs: BTreeMap::new(), now: store.now() };
        for intent in store.open_intents(volume)?.iter().filter(|intent| intent.state == IntentState::Held && interests(intent)) {
            let until = intent.held_until.unwrap_or(Timestamp(0));
            let held = quarantine.runs.entry(intent.run).or_insert(Held { files: 0, until, over: false, of_earlier_life: false });
            held.files += 1;
            held.until = until.max(held.until);
            held.over |= intent.current_epoch && until <= quarantine.now;
            held.of_earlier_life |= !intent.current_epoch;
        }
        Ok(quarantine)
    }

    /// How many files the next offloads may still delete.
    pub(crate) fn waiting(&self) -> u64 {
        self.runs.values().filter(|held| !held.of_earlier_life).map(|held| held.files).sum()
    }

    /// Whether an offload deletes some of them now.
    pub(crate) fn is_over(&self) -> bool {
        self.runs.values().any(|held| held.over)
    }

    /// A line for each offload.
    pub(crate) fn lines(&self, volume: &str) -> Vec<String> {
        let line = |(run, held): (&RunId, &Held)| {
            let (what, undo) = (files(held.files), format!("`lastcopy offload --undo {run}` puts them back"));
            if held.of_earlier_life {
                format!(
                    "{what} in quarantine since an earlier life of the index: the next `lastcopy index {volume}` puts them back"
                )
            } else if held.until <= self.now {
                format!("{what} in quarantine, their grace is over: `lastcopy offload {volume}` deletes them, {undo}")
            } else {
                let until = words::local_time(held.until);
                format!("{what} in quarantine until {until}: `lastcopy offload {volume}` deletes them then, {undo}")
            }
        };
        self.runs.iter().map(line).collect()
    }
}
