//! What befalls disks, destinations, the configuration and the clock, behind the tool's back.

use crate::error::{Result, at};
use crate::look::{self, Hash, content, hash, object_path};
use crate::op::Op;
use crate::word::Dest;
use crate::world::{State, World, copy_tree, remove_tree};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

const MARKER: &str = ".lastcopy-destination.json";

/// The marker of a repository that nobody here ever made; another one on each disk.
fn stranger(disk: Dest) -> String {
    let id = look::hex(&hash(disk.name().as_bytes()));
    format!("{{\"format\":1,\"id\":\"{}\",\"kind\":\"cas\",\"created\":\"2023-11-14T22:13:20Z\"}}\n", &id[..32])
}

impl World {
    /// Does what befalls; says whether it was something of this kind.
    pub(crate) fn befall(&self, op: &Op) -> Result<bool> {
        let mut state = self.state();
        if state.crashed {
            return Ok(true);
        }
        let mut done = true;
        match op {
            Op::Fail { at: dest, call, for_ever } => {
                let armed = &state.armed[dest];
                armed.for_ever.store(*for_ever, Ordering::SeqCst);
                armed.calls.store(i64::from((*call).max(1)), Ordering::SeqCst);
            }
            Op::Lie { at: dest, in_what } => {
                *state.armed[dest].lie.lock().unwrap_or_else(PoisonError::into_inner) = Some(*in_what);
            }
            Op::Store { at: dest, how } => {
                *state.armed[dest].storing.lock().unwrap_or_else(PoisonError::into_inner) = Some(*how);
            }
            Op::Honest { at: dest } => state.armed[dest].disarm(),
            Op::Lose { at: dest, content } => done = to_object(&mut state, *dest, *content, |path, _| fs::remove_file(path))?,
            Op::Flip { at: dest, content } => {
                done = to_object(&mut state, *dest, *content, |path, mut bytes| {
                    bytes.iter_mut().take(1).for_each(|first| *first ^= 1);
                    anew(path, &bytes)
                })?;
            }
            Op::Shorten { at: dest, content } => {
                done = to_object(&mut state, *dest, *content, |path, mut bytes| {
                    bytes.pop();
                    anew(path, &bytes)
                })?;
            }
            Op::Exchange { at: dest, content: number } => {
                // Three further on has the same length.
                let other = content(number.saturating_add(3));
                done = to_object(&mut state, *dest, *number, |path, _| anew(path, &other))?;
            }
            Op::Wipe { at: dest } => self.to_disk(&mut state, *dest, |_| Ok(()))?,
            Op::Swap { at: dest } => {
                self.to_disk(&mut state, *dest, |root| fs::write(root.join(MARKER), stranger(*dest)).map_err(at(root)))?;
            }
            Op::Unplug { at: dest } => done = self.unplug(&mut state, *dest)?,
            Op::Plug { at: dest } => done = self.plug(&mut state, *dest)?,
            Op::Keep { at: dest } => {
                let copy = self.kept_copy(*dest);
                remove_tree(&copy)?;
                copy_tree(&state.real[dest], &copy)?;
            }
            Op::RollBack { at: dest } => {
                let copy = self.kept_copy(*dest);
                done = copy.exists();
                if done {
                    self.to_disk(&mut state, *dest, |root| copy_tree(&copy, root))?;
                }
            }
            Op::MoveInto { at: dest, volume } => {
                self.plug(&mut state, *dest)?;
                let into = self.root(*volume).join(format!("backup-{}", dest.name()));
                let place = self.place(*dest);
                done = fs::symlink_metadata(place.join(MARKER)).is_ok();
                if done {
                    fs::rename(&place, &into).map_err(at(&place))?;
                    std::os::unix::fs::symlink(&into, &place).map_err(at(&place))?;
                    state.real.insert(*dest, into);
                }
            }
            Op::SwapPlaces { at: dest, with } => {
                let (one, other) = (state.places[dest], state.places[with]);
                done = one != other;
                state.places.insert(*dest, other);
                state.places.insert(*with, one);
            }
            Op::Policy { volume, terms } => {
                state.terms.insert(*volume, *terms);
            }
            Op::Clock { by } => {
                let now = self.clock.fetch_add(*by, Ordering::SeqCst).saturating_add(*by);
                state.ledger.latest_ms = state.ledger.latest_ms.max(now);
            }
            _ => return Ok(false),
        }
        if done {
            state.reach(op.done());
        }
        Ok(true)
    }

    /// Everything goes from a disk, and something else comes; the ledger notes what is lost by it. The tool may be writing there
    /// meanwhile: what was there for a moment only was there, too.
    fn to_disk(&self, state: &mut State, disk: Dest, comes: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let root = state.real[&disk].clone();
        look_before(state, disk, &root)?;
        state.step.emptied.insert(disk);
        let gone = self.base.join("saved/gone");
        remove_tree(&gone)?;
        if root.exists() {
            take(&root, &gone)?;
            state.ledger.was_there(disk, look::marker(&gone).as_deref(), &look::objects(&gone)?);
            comes(&root)?;
        }
        note(state, disk, &root)
    }

    /// Where a disk is plugged in.
    fn place(&self, disk: Dest) -> PathBuf {
        self.live().join("places").join(disk.name())
    }

    fn kept_copy(&self, disk: Dest) -> PathBuf {
        self.base.join("saved").join(format!("copy-{}", disk.name()))
    }

    fn unplug(&self, state: &mut State, disk: Dest) -> Result<bool> {
        let away = self.live().join("unplugged").join(disk.name());
        let place = self.place(disk);
        let done = state.real[&disk] == place && place.exists();
        if done {
            fs::rename(&place, &away).map_err(at(&place))?;
            state.real.insert(disk, away);
        }
        Ok(done)
    }

    /// The disk is where it belongs, whatever was done with it.
    fn plug(&self, state: &mut State, disk: Dest) -> Result<bool> {
        let (place, real) = (self.place(disk), state.real[&disk].clone());
        if real == place {
            return Ok(false);
        }
        if fs::symlink_metadata(&place).is_ok_and(|stat| stat.is_symlink()) {
            fs::remove_file(&place).map_err(at(&place))?;
        } else if place.exists() {
            // Somebody made another one there meanwhile: that one goes.
            remove_tree(&place)?;
        }
        if real.exists() {
            fs::rename(&real, &place).map_err(at(&real))?;
        }
        state.real.insert(disk, place);
        Ok(true)
    }
}

/// What came there within the same command was there, too.
fn look_before(state: &mut State, disk: Dest, root: &Path) -> Result<()> {
    let (marker, objects) = (look::marker(root), look::objects(root)?);
    if let Some(hash) = state.ledger.looked(disk, marker.as_deref(), &objects).first() {
        state.violated(format!("`{}` lost the object {} and nothing had befallen it", disk.name(), look::hex(hash)));
    }
    Ok(())
}

fn note(state: &mut State, disk: Dest, root: &Path) -> Result<()> {
    let (marker, objects) = (look::marker(root), look::objects(root)?);
    state.ledger.befell(disk, marker.as_deref(), &objects);
    Ok(())
}

/// Something happens to the object of a content, if there is one.
fn to_object(state: &mut State, disk: Dest, number: u8, act: impl FnOnce(&Path, Vec<u8>) -> std::io::Result<()>) -> Result<bool> {
    let name: Hash = hash(&content(number));
    let root = state.real[&disk].clone();
    let path = root.join(object_path(&name));
    let Ok(bytes) = fs::read(&path) else { return Ok(false) };
    look_before(state, disk, &root)?;
    act(&path, bytes).map_err(at(&path))?;
    note(state, disk, &root).map(|()| true)
}

/// Other bytes under a name; never through an inode that somebody may have by another name.
fn anew(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    fs::remove_file(path)?;
    fs::write(path, bytes)
}

/// Takes everything that is in a directory to another one, file by file: none goes that does not come there.
fn take(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type().map_err(at(&path))?.is_dir() {
            while let Err(error) = {
                take(&path, &target)?;
                fs::remove_dir(&path)
            } {
                // The tool put something there a moment ago.
                if error.kind() != ErrorKind::DirectoryNotEmpty {
                    return Err(at(&path)(error));
                }
            }
        } else {
            match fs::rename(&path, &target) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                done => done.map_err(at(&path))?,
            }
        }
    }
    Ok(())
}
