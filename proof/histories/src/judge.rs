//! The oracle: after each step it looks at every disk itself, and says what must not be.

use crate::error::Result;
use crate::ledger::{Offloading, Owed, Vouched};
use crate::look::{self, Hash, Tree};
use crate::policy::Asking;
use crate::situations::deletion_under;
use crate::word::{Dest, Terms, Vol, escape};
use crate::world::{State, World};
use lastcopy_store::{ReceiptLevel, RunStatus, Selection, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::atomic::Ordering;

impl World {
    /// Looks at everything. `after` is false within a command: then only what must hold at every moment is looked at.
    pub(crate) fn judge(&self, after: bool) -> Result<()> {
        let mut state = self.state();
        if state.crashed || state.violation.is_some() {
            return Ok(());
        }
        self.judge_disks(&mut state)?;
        for volume in Vol::ALL {
            let tree = look::tree(&self.root(*volume))?;
            judge_volume(&mut state, *volume, &tree, self.clock.load(Ordering::SeqCst));
        }
        if look::fingerprint(&self.base.join("outside"))? != state.outside {
            state.violated("a file outside of the volumes was touched");
        }
        if after && state.violation.is_none() {
            let open = state.open_run.is_some();
            let store = self.store()?;
            judge_index(&mut state, &store, open)?;
        }
        Ok(())
    }

    /// Nothing but what befalls a disk takes anything from it.
    fn judge_disks(&self, state: &mut State) -> Result<()> {
        for disk in Dest::ALL {
            let place = self.live().join("places").join(disk.name());
            let real = state.real[disk].clone();
            // The tool made another one where a disk is missing: that is the one from now on.
            let another = real != place && fs::symlink_metadata(&place).is_ok_and(|stat| stat.is_dir());
            let real = if another { place } else { real };
            let (marker, objects) = (look::marker(&real), look::objects(&real)?);
            objects.iter().filter(|(_, object)| object.intact).for_each(|(hash, object)| {
                state.ledger.sizes.insert(*hash, object.size);
            });
            if another {
                state.real.insert(*disk, real);
                state.ledger.befell(*disk, marker.as_deref(), &objects);
                continue;
            }
            let gone = state.ledger.looked(*disk, marker.as_deref(), &objects);
            if let Some(hash) = gone.first() {
                state.violated(format!("`{}` lost the object {} and nothing had befallen it", disk.name(), look::hex(hash)));
            }
        }
        Ok(())
    }
}

fn judge_volume(state: &mut State, volume: Vol, tree: &Tree, now_ms: i64) {
    judge_kept(state, volume, tree);
    // What lay aside and is home again is not gone: the path was free once more.
    came_back(state, volume, tree, Of::Aside);
    let ids: Vec<u64> = state.ledger.owed.iter().filter(|(_, owed)| owed.volume == volume).map(|(id, _)| *id).collect();
    for id in ids {
        let Some(owed) = state.ledger.owed.get(&id).cloned() else { continue };
        let home = tree.files.get(&owed.path);
        if !owed.loose && home.is_some_and(|home| home.hash == owed.hash) {
            continue;
        }
        let kept = state.ledger.is_kept(&owed);
        let aside = tree.aside.iter().any(|((_, path), found)| *path == owed.path && found.hash == owed.hash);
        if !owed.loose && home.is_some() {
            if !(kept && state.step.in_place.contains(&volume) || aside) {
                let path = escape(&owed.path);
                state.violated(format!("`{path}` in `{}` holds other bytes, and no person wrote them", volume.name()));
            }
            state.ledger.loosen(id);
        }
        if aside {
            *state.reached.entry("a file lay aside").or_default() += 1;
        } else if kept {
            *state.reached.entry("a file was kept").or_default() += 1;
        } else {
            match may_be_gone(state, &owed, now_ms) {
                Ok((terms, vouched)) => {
                    *state.reached.entry(deletion_under(terms)).or_default() += 1;
                    let key = (volume, owed.path.clone(), owed.hash);
                    state.accepted.offloaded.insert(key);
                    state.ledger.gone(id, vouched);
                }
                Err(why) => {
                    let path = escape(&owed.path);
                    state.violated(format!("`{path}` in `{}` ({}) is gone: {why}", volume.name(), look::hex(&owed.hash)));
                }
            }
        }
    }
    came_back(state, volume, tree, Of::Anywhere);
    let aside: BTreeSet<_> = tree.aside.iter().map(|((_, path), found)| (volume, path.clone(), found.hash)).collect();
    state.ledger.aside_since.retain(|key, _| key.0 != volume || aside.contains(key));
    for key in aside {
        state.ledger.aside_since.entry(key).or_insert(state.step.now_ms);
    }
}

/// What was kept for a person stays, as it is.
fn judge_kept(state: &mut State, volume: Vol, tree: &Tree) {
    let before: Vec<_> =
        state.ledger.kept.iter().filter(|((of, _), _)| *of == volume).map(|(key, kept)| (key.clone(), kept.hash)).collect();
    for (key, hash) in before {
        let now = tree.kept.get(&key.1);
        if !now.is_some_and(|now| now.hash == hash || state.ledger.written.contains(&now.inode)) {
            state.violated(format!("what was kept as `{}` is not there any more", escape(&key.1)));
        }
    }
    for (path, found) in &tree.kept {
        state.ledger.keeps(volume, path, *found);
    }
}

/// Where files came back from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    /// They lay aside.
    Aside,
    Anywhere,
}

/// Files that are there, and that no person put there.
fn came_back(state: &mut State, volume: Vol, tree: &Tree, of: Of) {
    for (path, found) in &tree.files {
        let owed = state.ledger.at(volume, path).and_then(|id| state.ledger.owed.get(&id));
        if owed.is_some_and(|owed| owed.hash == found.hash) {
            continue;
        }
        let lay_aside = |owed: &Owed| owed.loose && (owed.volume, &owed.path, owed.hash) == (volume, path, found.hash);
        if of == Of::Aside && !state.ledger.owed.values().any(lay_aside) {
            continue;
        }
        let known = state.ledger.came_back(volume, path, found.hash);
        *state.reached.entry("a file came back").or_default() += 1;
        if !known || !state.step.movers.contains(&volume) {
            state.violated(format!("`{}` in `{}` appeared, and no person ever put it there", escape(path), volume.name()));
        }
    }
}

/// Whether something that is owed may have been deleted in this step: an offload of its volume may, whose destinations held it. Gives
/// under which terms, and those that vouched.
fn may_be_gone(state: &State, owed: &Owed, now_ms: i64) -> std::result::Result<(Terms, Vouched), String> {
    let mut why = "nothing that may delete was begun".to_owned();
    for offloading in state.step.offloads.iter().filter(|offloading| offloading.volume == owed.volume) {
        match passes(state, owed, offloading, now_ms) {
            Ok(vouched) => return Ok((offloading.terms, vouched)),
            Err(refused) => why = refused,
        }
    }
    Err(why)
}

fn passes(state: &State, owed: &Owed, offloading: &Offloading, now_ms: i64) -> std::result::Result<Vouched, String> {
    if let Some(weaker) = &offloading.weaker {
        return Err(format!("the policy was weaker than the one accepted: {weaker}"));
    }
    let since = state.ledger.aside_since.get(&(owed.volume, owed.path.clone(), owed.hash));
    let waited = since.is_some_and(|since| since.saturating_add(offloading.spec.grace_ms) <= now_ms.max(offloading.now_ms));
    if offloading.spec.grace_ms > 0 && !waited {
        return Err("its grace was not over".into());
    }
    for dest in &offloading.spec.require {
        vouches(state, owed, offloading, *dest).map_err(|why| format!("`{}` {why}", dest.name()))?;
    }
    if let Some((least, of)) = &offloading.spec.at_least {
        let answers: Vec<_> = of.iter().map(|dest| (*dest, vouches(state, owed, offloading, *dest))).collect();
        let vouching: Vec<_> = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(dest, _)| *dest).collect();
        if offloading.spec.places(&vouching) < *least {
            return Err(format!("too few of {:?} vouched: {answers:?}", crate::world::names_of(of)));
        }
    }
    let counted = offloading.spec.at_least.iter().flat_map(|(_, of)| of).chain(&offloading.spec.require);
    let vouched = counted.filter(|dest| vouches(state, owed, offloading, **dest).is_ok());
    Ok(vouched.filter_map(|dest| Some((*dest, offloading.accepted.get(dest)?.clone()))).collect())
}

/// Whether a destination held a content when it counted.
fn vouches(state: &State, owed: &Owed, offloading: &Offloading, dest: Dest) -> std::result::Result<(), String> {
    let ledger = &state.ledger;
    let accepted = offloading.accepted.get(&dest).ok_or("was never initialised")?;
    let disk = ledger.disk_of.get(accepted).ok_or("was never seen")?;
    let none = crate::ledger::Disk::default();
    let state_of = ledger.disks.get(disk).unwrap_or(&none);
    if !state_of.held.contains(&owed.hash) {
        let lost = state_of.lost.get(&owed.hash).ok_or("never held it")?;
        if lost.latest_ms < offloading.now_ms.saturating_sub(offloading.spec.age_ms) {
            return Err("had lost it longer ago than evidence counts".into());
        }
        if lost.told && lost.tick < state.step.tick {
            return Err("was known to have lost it".into());
        }
    }
    let asking = offloading.spec.asking;
    if asking == Asking::Offline {
        return Ok(());
    }
    let asked: Vec<_> = state.step.asked.iter().filter(|asked| asked.volume == owed.volume && asked.destination == dest).collect();
    let of_this: Vec<_> = asked.iter().filter(|asked| asked.hash == owed.hash).collect();
    if of_this.is_empty() {
        return Err("was not asked".into());
    }
    let held = |asked: &crate::ledger::Asked| if asking == Asking::Full { asked.intact } else { asked.there || asked.lying };
    match of_this.iter().find(|asked| held(asked)) {
        None => Err("did not hold it when it was asked".into()),
        Some(asked) if !asked.identity => Err("was another repository than the one accepted when it was asked".into()),
        Some(_) => Ok(()),
    }
}

/// What the index says agrees with what was seen.
fn judge_index(state: &mut State, store: &Store, open_run: bool) -> Result<()> {
    let running = store.runs(60)?.iter().filter(|run| run.status == RunStatus::Running).count();
    // A run whose process was killed is closed by whoever begins or looks next.
    if running > usize::from(open_run) && !state.killed && store.running()?.len() > usize::from(open_run) {
        state.violated("a run has no terminal status after its command ended");
    }
    judge_identities(state, store)?;
    if !state.step.proves {
        return Ok(());
    }
    for record in &store.destinations()? {
        let Some(incarnation) = &record.incarnation else { continue };
        let ever = state.ledger.ever.get(incarnation.as_str()).cloned().unwrap_or_default();
        judge_receipts(state, store, record.id, incarnation.as_str(), &ever)?;
        for volume in store.volumes()? {
            let Some(component) = store.own_component(volume.id, record.id)? else { continue };
            let everything = Selection { below: vec![lastcopy_fs::RelPath::root()], ..Selection::default() };
            for file in store.files(&store.select_present(volume.id, &everything)?)? {
                if file.present_since <= component && !ever.contains(&file.content.hash.0) {
                    let (path, name) = (escape(file.path.as_bytes()), &record.name);
                    state.violated(format!("the vector of `{name}` claims `{path}`, and `{name}` never held it"));
                }
            }
        }
    }
    Ok(())
}

/// Who a destination is changes only where a person says so (I9).
fn judge_identities(state: &mut State, store: &Store) -> Result<()> {
    for record in store.destinations()? {
        let Some(dest) = Dest::ALL.iter().copied().find(|dest| dest.name() == record.name) else { continue };
        let (taken, accepted) = (record.incarnation.as_ref().map(|is| is.as_str()), state.accepted.destinations.get(&dest));
        if taken != accepted.map(String::as_str) {
            state.violated(format!("`{}` is taken for {taken:?}, and a person accepted {accepted:?} there", record.name));
        }
    }
    Ok(())
}

/// No receipt says `verified` of what was never there, or not when it was last checked.
fn judge_receipts(
    state: &mut State,
    store: &Store,
    destination: lastcopy_store::DestinationId,
    incarnation: &str,
    ever: &BTreeSet<Hash>,
) -> Result<()> {
    let mut contents = Vec::new();
    store.to_verify(destination, None, lastcopy_store::VerifyOrder::Content, &mut |content, _| {
        contents.push(content);
        Ok(())
    })?;
    let mut receipts = BTreeMap::new();
    for receipt in store.receipts_at(destination, &contents)? {
        if receipt.level == ReceiptLevel::Verified && receipt.lost_at.is_none() {
            receipts.insert(receipt.content.hash.0, receipt.verified_at);
        }
    }
    let step = (state.step.tick, state.step.now_ms);
    for (hash, verified_at) in receipts {
        if !ever.contains(&hash) {
            state.violated(format!("a receipt says that {} was verified, and it was never there", look::hex(&hash)));
        }
        let Some(disk) = state.ledger.disk_of.get(incarnation).and_then(|disk| state.ledger.disks.get(disk)) else { continue };
        let now = verified_at.is_some_and(|at| at.0 == step.1);
        let lost_since = disk.lost.get(&hash).is_some_and(|lost| lost.tick >= step.0);
        if now && !disk.held.contains(&hash) && !lost_since {
            state.violated(format!("{} was verified in this step, and is not there", look::hex(&hash)));
        }
    }
    Ok(())
}
