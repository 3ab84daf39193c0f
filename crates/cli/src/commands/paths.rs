//! The paths of a content: a digest alone tells nobody which file is meant.

use crate::app::App;
use crate::error::Result;
use crate::output::Fields;
use crate::words::plural;
use lastcopy_fs::{ContentHash, RelPath};
use lastcopy_store::{FileStatus, Store, VolumeId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Looks paths up in the index.
pub(super) struct Paths<'a> {
    store: &'a Store,
    volumes: BTreeMap<VolumeId, String>,
}

/// Where a content is, or was: one path, and how many more.
pub(super) struct Named {
    volume: String,
    path: RelPath,
    more: u64,
}

impl<'a> Paths<'a> {
    pub(super) fn new(app: &'a App) -> Result<Self> {
        Ok(Self { store: app.store()?, volumes: super::query::volumes(app)? })
    }

    /// Paths that hold other bytes by now count only where no other is left; those that are not here stand first.
    pub(super) fn of(&self, content: ContentHash) -> Result<Option<Named>> {
        let mut files = self.store.files_with_content(content)?;
        if files.iter().any(|file| file.status != FileStatus::Superseded) {
            files.retain(|file| file.status != FileStatus::Superseded);
        }
        let all: BTreeSet<_> = files.iter().map(|file| (file.volume, &file.path)).collect();
        let first = files.iter().min_by_key(|file| (file.status == FileStatus::Present, &file.path));
        Ok(first.map(|file| Named {
            volume: self.volumes.get(&file.volume).map_or("?", String::as_str).to_owned(),
            path: file.path.clone(),
            more: all.len() as u64 - 1,
        }))
    }

    /// A content for people: its digest, and where it is.
    pub(super) fn shown(&self, content: ContentHash) -> Result<String> {
        Ok(self.of(content)?.map_or_else(|| content.to_string(), |named| format!("{content} ({named})")))
    }

    /// A content for programs: one of its paths, where one is known.
    pub(super) fn add(&self, fields: Fields, content: ContentHash) -> Result<Fields> {
        Ok(match self.of(content)? {
            Some(named) => fields.with("volume", named.volume).path(&named.path),
            None => fields,
        })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.volume, self.path)?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {}", plural(more, "more path", "more paths")),
        }
    }
}
