//! A person changes a file before every call that a command makes.
//!
//! Races meet at moments that chance chooses; here each of them is met, one at a time: the stepper holds the command before a call, somebody
//! does something to a file that the command is about, and the command goes on. What was written must be somewhere, whatever the command
//! says; what was not touched is judged as ever.

use crate::errors::ended_well;
use crate::home::{Home, Step};
use crate::oracle::{Edited, Expected};
use crate::place::Place;
use crate::sweep::{Finding, Reference, Say, Totals, Workers, chosen, concluded, nth, once_more, references, strided, undisturbed};
use crate::workload::{FINISH, Goal, Second, Workload};
use crate::{ProofError, Result};
use lastcopy_scene::tree::{self, Tree, noise};
use lastcopy_stepper::{Plan, Surroundings};
use rustix::fs::{Mode, OFlags, RenameFlags};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// Puts a new file in the file's place, by a rename; or makes one where there is none.
    Replace,
    /// The same, on a file system without a rename that refuses to replace or that exchanges.
    ReplacePlainly,
    /// Writes into the file, unless somebody has a lease of it.
    Write,
    /// Moves the file away.
    Remove,
    /// Moves the directory above away, and puts a symbolic link to another one there.
    Swap,
}

/// Each edit, with its name on the command line.
pub const EDITS: &[(&str, Edit)] = &[
    ("replace", Edit::Replace),
    ("replace-plainly", Edit::ReplacePlainly),
    ("write", Edit::Write),
    ("remove", Edit::Remove),
    ("swap", Edit::Swap),
];

impl Edit {
    fn name(self) -> &'static str {
        EDITS.iter().find(|(_, edit)| *edit == self).map_or("", |(name, _)| name)
    }

    fn surroundings(self, meanwhile: &(dyn Fn() + Sync)) -> Surroundings<'_> {
        Surroundings { meanwhile, only_plain_renames: self == Self::ReplacePlainly, ..Surroundings::default() }
    }
}

/// How much is tried.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Where the row of points begins.
    pub offset: usize,
    /// Each so many-th of all edits before all calls.
    pub stride: usize,
    /// Whether workloads with a mirror are tried, too. Those with a repository take seconds for each edit, and have to be named.
    pub mirrors: bool,
    /// After each so many-th point, everything is pushed, verified, restored and compared.
    pub finish: usize,
}

impl Extent {
    /// What fits in a minute on two cores.
    pub const QUICK: Self = Self { offset: 0, stride: 29, mirrors: false, finish: 8 };
    /// Everything.
    pub const LONG: Self = Self { offset: 0, stride: 1, mirrors: true, finish: 4 };
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = EDITS.iter().map(|(name, _)| *name).collect();
        let (names, stride, finish) = (names.join(", "), nth(self.stride), nth(self.finish));
        write!(f, "of {names} before each call, each {stride}point; everything restored and compared after each {finish}of them")
    }
}

/// One point.
#[derive(Debug, Clone, Copy)]
pub struct Point {
    /// What runs.
    pub workload: &'static Workload,
    /// What a person does meanwhile.
    pub edit: Edit,
    /// Before this call.
    pub at: u64,
    /// Whether everything is compared at last.
    pub finish: bool,
}

/// What a point came to.
struct Tried {
    wrong: Vec<String>,
    /// Whether the command came so far.
    met: bool,
    /// Whether the person could do anything.
    done: bool,
}

impl Point {
    fn shown(&self) -> String {
        let Self { workload: Workload { name, .. }, edit, at, .. } = self;
        let edit = edit.name();
        format!("{name}, {edit} before call {at}; again: edits --workload {name} --edit {edit} --at {at}")
    }

    fn run(&self, place: &mut Place) -> Result<Tried> {
        let workload = self.workload;
        place.begin(workload)?;
        let (home, expected) = (place.home(), place.expected(workload)?.clone());
        let person = Person::of(home, workload)?;
        let done = Mutex::new(None);
        let meanwhile = || *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(person.does(self.edit));
        let report = home.step_among(&workload.command, Plan::PauseBefore(self.at), self.edit.surroundings(&meanwhile))?;
        let done = match done.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(done) => done.map_err(ProofError::at(&person.path))?,
            None => Done::Nothing,
        };
        let mut wrong = ended_well(&report);
        wrong.extend(person.puts_back(&done)?);
        let expected = person.leaves(expected, &done)?;
        wrong.extend(expected.check(home)?);
        if wrong.is_empty() {
            wrong.extend(later(home, &expected, workload, self.finish)?);
        }
        Ok(Tried { wrong, met: report.paused, done: !matches!(done, Done::Nothing) })
    }
}

/// The next ordinary commands, which may find that a path is not what it was. What must be kept is kept all the time, and what nobody touched
/// ends as if nobody had touched anything.
fn later(home: &Home, expected: &Expected, workload: &Workload, finish: bool) -> Result<Vec<String>> {
    let run = |steps: &[Step]| -> Result<Vec<String>> {
        for step in steps {
            if let Err(ran) = home.run(step)?
                && !matches!(ran.exit, 0 | 1 | 3 | 4)
                // Nothing of that name is there any more.
                && !(ran.exit == 2 && step.line.contains(workload.edited))
            {
                return Ok(vec![format!("`{}` ended with {}: {}", ran.line, ran.exit, ran.said.trim())]);
            }
        }
        Ok(Vec::new())
    };
    let mut wrong = run(workload.recover)?;
    wrong.extend(expected.check(home)?);
    if wrong.is_empty() {
        wrong.extend(expected.check_settled(home)?);
        wrong.extend(match workload.goal {
            Goal::Pushed => expected.check_pushed(home)?,
            Goal::Left => expected.check_left(home)?,
            Goal::Home => expected.check_home(home, false)?,
            Goal::Nothing | Goal::Aside => Vec::new(),
        });
    }
    if wrong.is_empty() && finish {
        wrong.extend(run(FINISH)?);
        wrong.extend(expected.check(home)?);
        wrong.extend(expected.check_home(home, true)?);
        wrong.extend(expected.check_pushed(home)?);
    }
    Ok(wrong)
}

/// What a person did.
enum Done {
    /// There was nothing to do it to, or somebody was in the way.
    Nothing,
    /// Wrote these bytes, over those that were there.
    Written(Vec<u8>),
    /// Moved the file away.
    Removed,
    /// Moved a directory away.
    Swapped,
}

/// Somebody who works beside the command.
struct Person {
    /// The file below the volume.
    file: PathBuf,
    path: PathBuf,
    /// A directory of their own, on the same file system.
    outside: PathBuf,
    new: Vec<u8>,
    /// What is in the directory that takes the place of another one, before the command.
    decoys: Tree,
}

impl Person {
    fn of(home: &Home, workload: &Workload) -> Result<Self> {
        let file = PathBuf::from(workload.edited);
        let (path, outside) = (home.volume().join(&file), home.root().join("outside"));
        fs::create_dir(&outside).map_err(ProofError::at(&outside))?;
        // As long as what is there: only the time tells.
        let size = fs::metadata(&path).map_or(5000, |metadata| metadata.len());
        let new = noise(b"new", usize::try_from(size).unwrap_or(5000));
        tree::write(&outside.join("new"), &new)?;
        let mut person = Self { file, path, outside, new, decoys: Tree::new() };
        if let Some(dir) = person.dir() {
            // What a careless command would take for the volume's: the same files, or free names.
            if dir.exists() {
                tree::copy(&dir, &person.decoy())?;
            } else {
                fs::create_dir(person.decoy()).map_err(ProofError::at(&dir))?;
            }
            person.decoys = tree::read(&person.decoy(), None)?;
        }
        Ok(person)
    }

    /// The directory above the file, if that is not the volume itself.
    fn dir(&self) -> Option<PathBuf> {
        self.file.parent().filter(|dir| !dir.as_os_str().is_empty()).and_then(|_| self.path.parent()).map(Path::to_owned)
    }

    fn decoy(&self) -> PathBuf {
        self.outside.join("decoy")
    }

    fn does(&self, edit: Edit) -> io::Result<Done> {
        let nothing = |done: io::Result<Done>| match done {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => Ok(Done::Nothing),
            done => done,
        };
        nothing(match edit {
            Edit::Replace | Edit::ReplacePlainly => self.replace(),
            Edit::Write => self.write(),
            Edit::Remove => fs::rename(&self.path, self.outside.join("old")).map(|()| Done::Removed),
            Edit::Swap => self.swap(),
        })
    }

    /// The old file is kept outside, to be looked at: opening it now would break a lease.
    fn replace(&self) -> io::Result<Done> {
        let (new, old) = (self.outside.join("new"), self.outside.join("old"));
        let rename = |flags| rustix::fs::renameat_with(rustix::fs::CWD, &new, rustix::fs::CWD, &self.path, flags);
        match rename(RenameFlags::EXCHANGE) {
            Ok(()) => fs::rename(new, old)?,
            Err(rustix::io::Errno::NOENT) => {
                fs::create_dir_all(self.path.parent().unwrap_or(&self.path))?;
                rename(RenameFlags::NOREPLACE)?;
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Done::Written(self.new.clone()))
    }

    fn write(&self) -> io::Result<Done> {
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mut file = File::from(rustix::fs::open(&self.path, flags, Mode::empty())?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        fs::write(self.outside.join("old"), &bytes)?;
        let new = noise(b"written", bytes.len());
        file.write_all_at(&new, 0)?;
        Ok(Done::Written(new))
    }

    fn swap(&self) -> io::Result<Done> {
        let Some(dir) = self.dir() else { return Ok(Done::Nothing) };
        fs::rename(&dir, self.outside.join("dir"))?;
        // Relative: an absolute one would begin at another mount, which is a guard of its own.
        let depth = self.file.components().count() + 1;
        std::os::unix::fs::symlink(Path::new(&"../".repeat(depth)).join("outside/decoy"), &dir)?;
        Ok(Done::Swapped)
    }

    /// Brings a directory back. What lies in the other one must be as it was.
    fn puts_back(&self, done: &Done) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        if let (Done::Swapped, Some(dir)) = (done, self.dir()) {
            let back = fs::remove_file(&dir).and_then(|()| fs::rename(self.outside.join("dir"), &dir));
            back.map_err(ProofError::at(&dir))?;
        }
        if self.dir().is_some() && tree::read(&self.decoy(), None)? != self.decoys {
            wrong.push("another directory, which is not the volume's, was changed".to_owned());
        }
        Ok(wrong)
    }

    /// What must be kept from now on.
    fn leaves(&self, expected: Expected, done: &Done) -> Result<Expected> {
        let written = match done {
            Done::Nothing => return Ok(expected),
            Done::Swapped => return Ok(expected.moved_about(self.file.parent().unwrap_or(&self.file))),
            Done::Written(bytes) => Some(blake3::hash(bytes)),
            Done::Removed => None,
        };
        let old = self.outside.join("old");
        let replaced = if old.exists() { Some(tree::hash_file(&old)?) } else { None };
        Ok(expected.edited(Edited { path: self.file.clone(), replaced, written }))
    }
}

/// Every edit before every call. What is written into a file while rclone reads it arrives torn, is proven to be no content, and goes to the
/// history with the next push: to the oracle, bytes that nobody wrote.
fn points(reference: &Reference, edit: Option<Edit>) -> Vec<Point> {
    let torn = |one: Edit| one == Edit::Write && reference.workload.second != Second::Cas;
    let wanted = |one: &Edit| edit.map_or_else(|| !torn(*one), |edit| edit == *one);
    let edits = EDITS.iter().map(|(_, one)| *one).filter(wanted);
    let before = |edit| {
        let calls = reference.calls.iter();
        calls.map(move |call| Point { workload: reference.workload, edit, at: call.number, finish: false })
    };
    edits.flat_map(before).collect()
}

/// Meets all commands of an extent. `only` names the one workload that is wanted, `edit` the one edit.
pub fn sweep(
    workers: &Workers,
    extent: Extent,
    only: Option<&'static Workload>,
    edit: Option<Edit>,
    say: Say<'_>,
) -> Result<Totals> {
    let wanted = |workload: &Workload| match only {
        Some(only) => only.name == workload.name,
        None => workload.second == Second::Cas || (extent.mirrors && workload.second == Second::Mirror),
    };
    let (workloads, mut totals) = chosen(wanted, say);
    for reference in references(workers, &workloads)? {
        totals += one(workers, extent, &reference, edit, say)?;
    }
    Ok(totals)
}

fn one(workers: &Workers, extent: Extent, reference: &Reference, edit: Option<Edit>, say: Say<'_>) -> Result<Totals> {
    let workload = reference.workload;
    if let Some(totals) = undisturbed(reference, say) {
        return Ok(totals);
    }
    let began = std::time::Instant::now();
    let all = points(reference, edit);
    let mut chosen = strided(all.iter().copied(), extent.stride, extent.offset);
    chosen.iter_mut().step_by(extent.finish).for_each(|point| point.finish = true);
    let tried = workers.spread(&chosen, &|place, point| point.run(place))?;
    let findings = chosen.iter().zip(&tried).filter(|(_, tried)| !tried.wrong.is_empty());
    let findings: Vec<_> = findings.map(|(point, tried)| Finding { point: point.shown(), wrong: tried.wrong.clone() }).collect();
    let met = tried.iter().filter(|tried| tried.met).count();
    let done = tried.iter().filter(|tried| tried.done).count();
    let seconds = began.elapsed().as_secs_f64();
    say(&format!(
        "{}: {} edits; tried {}, of which {met} met the command and {done} changed something, {} wrong, {seconds:.1} s",
        workload.name,
        all.len(),
        chosen.len(),
        findings.len()
    ));
    // Threads may come in another order, and a run end a few calls sooner. Some edits find no file, or a lease; others always work.
    let too_few = (met * 10 < chosen.len() * 9 || (edit.is_none() && done * 4 < chosen.len())).then(|| {
        let wrong = vec![format!("of {} edits, {met} met the command and {done} changed something: too few", chosen.len())];
        Finding { point: workload.name.to_owned(), wrong }
    });
    Ok(concluded(chosen.len(), findings, too_few, say))
}

/// Tries one point again, and says everything about it.
pub fn again(place: &mut Place, point: Point, say: Say<'_>) -> Result<Totals> {
    place.begin(point.workload)?;
    let person = Person::of(place.home(), point.workload)?;
    let meanwhile = || match person.does(point.edit) {
        Ok(Done::Nothing) => say("-- nothing to do"),
        Ok(_) => say("-- done"),
        Err(error) => say(&format!("-- {error}")),
    };
    let plan = Plan::PauseBefore(point.at);
    let report = place.home().step_among(&point.workload.command, plan, point.edit.surroundings(&meanwhile))?;
    report.calls.iter().for_each(|call| say(&call.to_string()));
    say(crate::home::said(&report.stdout, &report.stderr).trim());
    let tried = point.run(place)?;
    Ok(once_more(point.shown(), tried.wrong, say))
}
