//! What is done with the index as a whole: backed up, put back, cloned, lost and recovered; and runs that do not end by themselves.

use crate::commands::told;
use crate::error::{Broken, Result, at};
use crate::ledger::{Away, Offloaded};
use crate::look;
use crate::op::Op;
use crate::word::{Dest, Vol};
use crate::world::{Accepted, Index, State, World, copy_tree, remove_tree};
use lastcopy_fs::{Dir, RelPath};
use lastcopy_restore::{Recovering, Restoring, Target, recover_receipts, recover_volume, recoverable, wanted_below};
use lastcopy_store::{Outcome, VolumeClaim, restore_index};
use lastcopy_sync::Probe;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl World {
    pub(crate) fn administer(self: &Arc<Self>, op: &Op) -> Result<()> {
        match op {
            Op::RestoreTo { volume } => self.restore_elsewhere(*volume),
            Op::Recover { from } => self.recover(*from),
            Op::AcceptPolicy { volume } => self.accept_policy(*volume),
            Op::Backup => self.backup(),
            Op::RestoreIndex => self.restore_index(),
            Op::PutIndexBack { keep_beside } => self.put_index_back(*keep_beside),
            Op::Clone => self.clone_index(),
            Op::Switch => self.switch(),
            Op::Begin { volume } => self.begin_and_stay(*volume),
            Op::End => {
                let run = self.state().open_run.take();
                if let Some(run) = run
                    && let Err(error) = run.finish(&Outcome::Success, None)
                {
                    self.tell_error(&error.into());
                }
                Ok(())
            }
            Op::Abort => {
                let store = self.store()?;
                for run in store.running()? {
                    drop(told!(self, store.abort_run(run.id)));
                    self.reach("a run was closed by hand");
                }
                Ok(())
            }
            Op::Restart => {
                self.close();
                self.open()
            }
            _ => Ok(()),
        }
    }

    fn backup_file(&self) -> PathBuf {
        self.base.join("saved/backup.db")
    }

    fn backup(&self) -> Result<()> {
        let file = self.backup_file();
        let dir = self.base.join("saved");
        fs::create_dir_all(&dir).map_err(at(&dir))?;
        if file.exists() {
            fs::remove_file(&file).map_err(at(&file))?;
        }
        self.store()?.backup(&file)?;
        let mut state = self.state();
        state.backup = Some(state.accepted.clone());
        Ok(())
    }

    /// `db restore`: refused while anything runs.
    fn restore_index(&self) -> Result<()> {
        let Some(accepted) = self.state().backup.clone() else { return Ok(()) };
        if self.state().open_run.is_some() || !self.store()?.running()?.is_empty() {
            self.reach("a restore of the index was refused");
            return Ok(());
        }
        self.close();
        let (store, news, _aside) = restore_index(self.store_options(), &self.backup_file())?;
        self.put_store(store);
        self.tell_news(Some(&news));
        self.reach("the index was restored from a backup");
        self.put_in_place(accepted);
        Ok(())
    }

    /// By hand, with the tool not running.
    fn put_index_back(&self, keep_beside: bool) -> Result<()> {
        let Some(accepted) = self.state().backup.clone() else { return Ok(()) };
        if self.is_within_a_command()? {
            return Ok(());
        }
        self.close();
        let state = self.state_dir();
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let path = state.join(name);
            if path.exists() {
                fs::remove_file(&path).map_err(at(&path))?;
            }
        }
        if !keep_beside {
            for name in ["index.db.newest-run", "index.db.lock"] {
                let path = state.join(name);
                if path.exists() {
                    fs::remove_file(&path).map_err(at(&path))?;
                }
            }
            remove_tree(&state.join("index.db.runs"))?;
        }
        fs::copy(self.backup_file(), state.join("index.db")).map_err(at(&state))?;
        self.reach("the index was put back by hand");
        self.put_in_place(accepted);
        self.open()?;
        self.close_leftovers()
    }

    /// Another copy of the index is the index now, with all that a person accepted in it.
    fn put_in_place(&self, accepted: Accepted) {
        let mut state = self.state();
        state.accepted = accepted;
        state.index = Index::PutBack;
    }

    /// A copy may hold a run that went on when it was made; without the file of its lock, only a person can say that it is over.
    fn close_leftovers(&self) -> Result<()> {
        let store = self.store()?;
        for run in store.running()? {
            drop(store.abort_run(run.id)?);
        }
        Ok(())
    }

    /// Within a command, the index cannot be taken away: the command has it open.
    fn is_within_a_command(&self) -> Result<bool> {
        let own = self.state().open_run.take();
        drop(own);
        Ok(!self.store()?.running()?.is_empty())
    }

    fn clone_index(&self) -> Result<()> {
        let copy = self.base.join("saved/clone");
        remove_tree(&copy)?;
        fs::create_dir_all(&copy).map_err(at(&copy))?;
        self.store()?.backup(&copy.join("index.db"))?;
        copy_beside(&self.state_dir(), &copy)?;
        let mut state = self.state();
        state.clone = Some(state.accepted.clone());
        drop(state);
        self.reach("the index was cloned");
        Ok(())
    }

    /// The other machine's index becomes the one that is used, and this one becomes the other.
    fn switch(&self) -> Result<()> {
        let copy = self.base.join("saved/clone");
        if self.state().clone.is_none() || self.is_within_a_command()? {
            return Ok(());
        }
        self.close();
        let (here, between) = (self.state_dir(), self.base.join("saved/between"));
        for (from, to) in [(&here, &between), (&copy, &here), (&between, &copy)] {
            fs::rename(from, to).map_err(at(from))?;
        }
        let mut state = self.state();
        let accepted = std::mem::take(&mut state.accepted);
        state.accepted = state.clone.replace(accepted).unwrap_or_default();
        state.index = Index::PutBack;
        drop(state);
        self.reach("somebody went on with the clone");
        self.open()?;
        self.close_leftovers()
    }

    fn begin_and_stay(self: &Arc<Self>, volume: Vol) -> Result<()> {
        if self.state().open_run.is_some() {
            return Ok(());
        }
        let Ok(open) = self.volume(volume) else { return Ok(()) };
        let run = told!(self, self.store()?.begin_index(&open));
        self.began(volume);
        self.state().open_run = Some(run);
        Ok(())
    }

    /// A directory outside of everything.
    pub(crate) fn empty_elsewhere(&self) -> Result<PathBuf> {
        let target = self.base.join("elsewhere");
        remove_tree(&target)?;
        fs::create_dir_all(&target).map_err(at(&target))?;
        Ok(target)
    }

    /// To a directory where another file is in the way of one of them.
    fn restore_elsewhere(self: &Arc<Self>, volume: Vol) -> Result<()> {
        let target = self.empty_elsewhere()?;
        let own = target.join("a.txt");
        fs::write(&own, "a file that was here before").map_err(at(&own))?;
        let before = look::file(&own)?;
        let store = self.store()?;
        let sources = self.all_destinations()?;
        let Some(record) = store.volume_record(volume.name())? else { return Ok(()) };
        let run = told!(self, store.begin_restore(None));
        let wanted = told!(self, wanted_below(&store, record.id, &[RelPath::root()], true));
        let dir = Dir::open(&target).map_err(at(&target))?;
        let restoring =
            Restoring { store: &store, target: Target::Elsewhere(dir), in_place: false, sources, context: self.context() };
        let report = told!(self, restoring.run(run, &wanted, |_| String::new()));
        self.tell_restored(&report);
        if report.restored > 0 {
            self.reach("files were restored elsewhere");
        }
        if look::file(&own)? != before {
            self.state().violated("a restore to elsewhere replaced a file that was there before");
        }
        let found = look::tree(&target)?;
        let mut state = self.state();
        let known: BTreeSet<_> = state.ledger.ever.values().flatten().copied().collect();
        let made_up = found.files.iter().find(|(path, file)| path.as_slice() != b"a.txt" && !known.contains(&file.hash));
        if let Some((path, _)) = made_up {
            let path = crate::word::escape(path);
            state.violated(format!("a restore to elsewhere made up the bytes of `{path}`"));
        }
        Ok(())
    }

    /// The index is lost; a new one is filled from a destination, and takes the volumes over.
    fn recover(self: &Arc<Self>, from: Dest) -> Result<()> {
        if self.is_within_a_command()? {
            return Ok(());
        }
        let (_, way) = self.destination(from, None)?;
        let context = self.context();
        let Ok(Probe::Found(met)) = context.runtime.block_on(way.probe()) else { return Ok(()) };
        let reading = Recovering { destination: way.as_ref(), met: &met, context: &context };
        let found = told!(self, recoverable(reading)).found;
        if found.is_empty() {
            return Ok(());
        }
        self.close();
        let lives = {
            let mut state = self.state();
            state.lives += 1;
            // A process that was killed before this has lost nothing.
            if !state.crashed {
                state.accepted = Accepted::default();
                state.index = state.index.max(Index::Recovered);
            }
            state.lives
        };
        let (here, lost) = (self.state_dir(), self.base.join(format!("saved/lost-{lives}")));
        let saved = self.base.join("saved");
        fs::create_dir_all(&saved).map_err(at(&saved))?;
        fs::rename(&here, &lost).map_err(at(&here))?;
        self.open()?;
        let store = self.store()?;
        let mut recovered = Vec::new();
        for found in &found {
            let name = &found.header.volume_name;
            let Some(volume) = Vol::ALL.iter().copied().find(|volume| volume.name() == name) else { continue };
            let claim = VolumeClaim { take_over: true, id: Some(found.head.place.volume) };
            let (_, run) = told!(self, store.add_volume(name, &self.root(volume), claim));
            told!(self, run.finish(&Outcome::Success, None));
            let Ok(open) = self.volume(volume) else { return Ok(()) };
            let run = told!(self, store.begin_restore(Some(&open)));
            self.began(volume);
            let report = told!(self, recover_volume(run, reading, found));
            if report.files > 0 {
                self.reach("paths were recovered from a destination");
            }
            let mut state = self.state();
            // Faults damage objects, never a segment alone: one that its head names is gone only where everything went meanwhile.
            let disk = state.places[&from];
            let untouched = state.armed[&disk].lying().is_none() && !state.step.emptied.contains(&disk);
            if let Some(damage) = report.damaged.first().filter(|_| untouched) {
                state.violated(format!("a recovery calls damaged what nobody touched: {damage}"));
            }
            drop(state);
            recovered.push((found, report));
        }
        self.adopt(from)?;
        let (record, way) = self.destination(from, None)?;
        let run = told!(self, store.begin_evidence_change(Some(record.id), None));
        told!(self, recover_receipts(run, &record, way.as_ref(), &recovered, &self.context()));
        for found in &found {
            if let Some(volume) = Vol::ALL.iter().copied().find(|volume| volume.name() == found.header.volume_name) {
                self.index(volume, true)?;
            }
        }
        let mut state = self.state();
        // Before this, it is one that was not recovered to the end: a person has to do that again. So it is where segments of a liar, or
        // of a disk that was emptied meanwhile, could not be read.
        if !state.crashed && recovered.iter().all(|(_, report)| report.damaged.is_empty()) {
            state.accepted.offloaded = told_by(&state, from);
        }
        drop(state);
        self.reach("an index was recovered");
        Ok(())
    }
}

/// What a destination can tell of what was offloaded: that of which it vouched itself, as who it is now.
fn told_by(state: &State, from: Dest) -> BTreeSet<Offloaded> {
    let marker = look::marker(&state.real[&state.places[&from]]);
    let vouched = |away: &Away| marker.is_some() && away.vouched.values().any(|who| Some(who) == marker.as_ref());
    state.ledger.offloaded.iter().filter(|(_, away)| vouched(away)).map(|(file, _)| file.clone()).collect()
}

/// What goes with an index, but for the database itself.
fn copy_beside(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let name = entry.file_name();
        let bytes = name.as_encoded_bytes();
        if bytes.ends_with(b".newest-run") {
            fs::copy(entry.path(), to.join(&name)).map_err(at(from))?;
        } else if bytes.ends_with(b".runs") {
            copy_tree(&entry.path(), &to.join(&name))?;
        }
    }
    Ok(())
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::Other(error.to_string())
    }
}
