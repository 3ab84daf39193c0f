//! The end of a history: everything is mended, and what was offloaded comes back.

use crate::error::{Result, at};
use crate::ledger::{Away, Offloaded};
use crate::look::{self, Hash};
use crate::op::Op;
use crate::word::{Dest, Vol, escape};
use crate::world::{Index, World};
use lastcopy_fs::{ContentHash, Dir, RelPath};
use lastcopy_restore::{Restoring, Target, WantedList, wanted_content};
use std::sync::Arc;

impl World {
    /// Mends what is broken, restores both volumes, and looks whether everything came back that could. Gives what did not.
    pub(crate) fn finish(self: &Arc<Self>) -> Result<Option<String>> {
        let mut mended: Vec<Op> = vec![Op::Close, Op::End, Op::Abort];
        mended.extend(Dest::ALL.iter().flat_map(|at| [Op::Honest { at: *at }, Op::Plug { at: *at }]));
        mended.extend(Vol::ALL.iter().map(|volume| Op::Index { volume: *volume, accept_loss: true }));
        for op in mended {
            if let Some(what) = self.step(&op, Vec::new())? {
                return Ok(Some(format!("in the end, `{op}`: {what}")));
            }
        }
        for volume in Vol::ALL {
            let op = Op::Restore { volume: *volume, in_place: false };
            if let Some(what) = self.step(&op, Vec::new())? {
                return Ok(Some(format!("in the end, `{op}`: {what}")));
            }
        }
        let store = self.store()?;
        if let Some(wrong) = store.check()?.first() {
            return Ok(Some(format!("the index is not sound in the end: {wrong}")));
        }
        self.all_is_back()
    }

    /// Whatever was offloaded and can be given by somebody who vouched for it is back, or comes back as it is documented. What was
    /// offloaded is what the oracle saw: a file that the index forgot is not back.
    fn all_is_back(self: &Arc<Self>) -> Result<Option<String>> {
        let offloaded = self.state().ledger.offloaded.clone();
        for (file, away) in &offloaded {
            // One that is asked for by its name may have brought others.
            if !self.state().ledger.offloaded.contains_key(file) {
                continue;
            }
            let Some(dest) = self.can_give(file, away)? else { continue };
            let came = match self.owed_by(file, away) {
                By::Volume => false,
                By::Name => self.comes_by_name(file)?,
                By::NameOrContent => self.comes_by_name(file)? || self.comes_by_content(file.2)?,
                By::Content => self.comes_by_content(file.2)?,
                By::Nothing => true,
            };
            if let Some(what) = self.state().violation.clone() {
                return Ok(Some(format!("in the end, as something was asked for by itself: {what}")));
            }
            if !came {
                let (volume, path, name) = (file.0.name(), escape(&file.1), dest.name());
                return Ok(Some(format!("`{path}` in `{volume}` was offloaded, lies at `{name}`, and did not come back")));
            }
        }
        Ok(None)
    }

    /// A destination that vouched for a file when it was deleted, is still the one that did, and holds its bytes.
    fn can_give(&self, (_, _, hash): &Offloaded, away: &Away) -> Result<Option<Dest>> {
        for (dest, who) in &away.vouched {
            let address = self.address(*dest);
            let accepted = self.state().accepted.destinations.get(dest) == Some(who);
            let there = look::marker(&address).as_ref() == Some(who);
            if accepted && there && look::object(&address, hash)?.is_some_and(|object| object.intact) {
                return Ok(Some(*dest));
            }
        }
        Ok(None)
    }

    /// By which command a file has to come back.
    fn owed_by(&self, file: &Offloaded, away: &Away) -> By {
        let state = self.state();
        if !state.accepted.offloaded.contains(file) {
            // Documented: an index that was put back does not know what another copy of it offloaded since, and one that was recovered
            // knows what its destination can tell.
            return By::Nothing;
        }
        drop(state);
        // What a person put in its place, or above it, stays; and what replaced it once is what the path holds by its name.
        if away.overtaken || self.is_taken(file) {
            return By::Content;
        }
        match self.state().index {
            Index::First => By::Volume,
            // What it recovered is offloaded or missing; that is brought back when it is named.
            Index::Recovered => By::Name,
            // Documented: an older index may take it for missing, and of several the last one's word on a path counts.
            Index::PutBack => By::NameOrContent,
        }
    }

    fn is_taken(&self, (volume, path, _): &Offloaded) -> bool {
        let (root, path) = (self.root(*volume), self.file(*volume, path));
        let mut above = path.ancestors().take_while(|above| **above != root);
        above.any(|above| std::fs::symlink_metadata(above).is_ok_and(|stat| above == path || !stat.is_dir()))
    }

    /// `restore VOLUME PATH`.
    fn comes_by_name(self: &Arc<Self>, (volume, path, hash): &Offloaded) -> Result<bool> {
        let Ok(named) = RelPath::new(path.clone()) else { return Ok(false) };
        self.begin_step();
        self.restore(*volume, &[named], false)?;
        let came = look::file(&self.file(*volume, path))?.is_some_and(|found| found.hash == *hash);
        self.judge(true)?;
        Ok(came)
    }

    /// `restore --content HASH --to DIR`.
    fn comes_by_content(self: &Arc<Self>, hash: Hash) -> Result<bool> {
        self.begin_step();
        let target = self.empty_elsewhere()?;
        let store = self.store()?;
        let Ok(Some(wanted)) = wanted_content(&store, ContentHash(hash)) else { return Ok(false) };
        let Ok(run) = store.begin_restore(None) else { return Ok(false) };
        let dir = Dir::open(&target).map_err(at(&target))?;
        let sources = self.all_destinations()?;
        let restoring =
            Restoring { store: &store, target: Target::Elsewhere(dir), in_place: false, sources, context: self.context() };
        let report = restoring.run(run, &WantedList::One(Box::new(wanted)), |_| String::new());
        let came = report.is_ok() && look::tree(&target)?.files.values().any(|found| found.hash == hash);
        self.judge(true)?;
        Ok(came)
    }
}

/// By which command a file that was offloaded has to come back.
enum By {
    /// `restore VOLUME`, which was done.
    Volume,
    /// `restore VOLUME PATH`.
    Name,
    /// That, or `restore --content`.
    NameOrContent,
    /// `restore --content`.
    Content,
    /// It has not to.
    Nothing,
}
