//! What a destination cannot have: noted with the push that was told so, and looked up by whoever tells what to do next.

use crate::error::Result;
use crate::output::Fields;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lastcopy_fs::RelPath;
use lastcopy_store::{DestinationId, FileRecord, RunId, Store, VolumeId};
use lastcopy_sync::Named;
use serde_json::Value;
use std::collections::BTreeMap;

/// Where a run's record says which files were excluded.
const KEY: &str = "excluded_first";

/// What the last push of a volume to a destination excluded.
#[derive(Debug, Clone)]
pub(crate) struct Excluded {
    by: RunId,
    count: u64,
    /// The first of them, with the reasons.
    first: BTreeMap<RelPath, String>,
}

impl Excluded {
    /// Nothing, where no push was ever complete.
    pub(crate) fn by_last_push(store: &Store, volume: VolumeId, destination: DestinationId) -> Result<Self> {
        let Some((by, _)) = store.last_push(volume, destination)? else {
            return Ok(Self { by: RunId::from_user(0), count: 0, first: BTreeMap::new() });
        };
        let summary = store.run_record(by)?.summary;
        let summary: Value = summary.and_then(|summary| serde_json::from_str(&summary).ok()).unwrap_or_default();
        let first = summary[KEY].as_array().into_iter().flatten().filter_map(noted).collect();
        Ok(Self { by, count: summary["excluded"].as_u64().unwrap_or_default(), first })
    }

    /// Whether a file was there when the push was made.
    pub(crate) fn had(&self, file: &FileRecord) -> bool {
        file.present_since <= self.by
    }

    /// Why a file was excluded.
    pub(crate) fn reason(&self, path: &RelPath) -> Option<&str> {
        self.first.get(path).map(String::as_str)
    }

    /// How many were excluded beyond those that are known by name.
    pub(crate) fn unnamed(&self) -> u64 {
        self.count.saturating_sub(self.first.len() as u64)
    }
}

/// Adds what was excluded to the record of a push.
pub(crate) fn note(fields: Fields, excluded: &Named) -> Fields {
    let each = |(path, reason): &(RelPath, String)| Fields::new().path(path).with("detail", reason.as_str()).into();
    fields.with(KEY, excluded.first.iter().map(each).collect::<Vec<Value>>())
}

fn noted(line: &Value) -> Option<(RelPath, String)> {
    let bytes = match line["path_bytes"].as_str() {
        Some(bytes) => BASE64.decode(bytes).ok()?,
        None => line["path"].as_str()?.into(),
    };
    Some((RelPath::new(bytes).ok()?, line["detail"].as_str()?.to_owned()))
}
