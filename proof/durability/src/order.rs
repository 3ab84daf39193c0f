//! The order audit: workloads over the built program, on each file system there is.

use crate::Setting;
use crate::areas::Areas;
use crate::audit::{Audit, Verdict};
use crate::ground::{self, BTRFS, EXT4, Kind, Mounted, XFS};
use crate::home::{BACKED_UP, DESTINATIONS, Home, INDEXED, OFFLOADED, PUSHED};
use crate::report::{Totals, spread};
use anyhow::{Context, Result, anyhow, bail, ensure};
use lastcopy_scene::installed;
use lastcopy_scene::tree::{self, noise};
use lastcopy_stepper::{Call, Ended, Plan};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A sequence of commands that are followed, and what must be counted in them.
struct Workload {
    name: &'static str,
    /// More lines of the offload policy.
    policy: &'static str,
    /// Whether the second destination is a mirror.
    mirrored: bool,
    files: Files,
    /// What runs before, undisturbed.
    before: &'static [&'static str],
    /// What a person or a disk does then.
    meanwhile: fn(&Home, Files) -> Result<()>,
    /// What is followed before the commands, and does not make durable what it leaves.
    left: Left,
    /// The commands that are followed. Each must succeed.
    lines: &'static [&'static str],
    /// Deletions and moves of a person's files, as multiples of the number of files.
    deletions: u64,
    moves: u64,
}

/// What is followed first. Of what it leaves nobody knows whether it is durable, and the commands that find it must not count on it.
#[derive(Clone, Copy)]
enum Left {
    Nothing,
    /// By a push to the first destination that was killed after the first call of this kind.
    ByKilledSync(fn(&Areas, &Call) -> bool),
    /// By somebody who copied the objects of the second destination to the first one.
    ByHand,
}

/// An object gets its name.
fn names_object(areas: &Areas, call: &Call) -> bool {
    call.name.starts_with("rename") && call.targets.get(1).is_some_and(|to| areas.is_object(&to.path))
}

/// A directory for objects is made.
fn makes_directory(areas: &Areas, call: &Call) -> bool {
    call.name.starts_with("mkdir") && call.targets.first().is_some_and(|made| areas.is_object(&made.path))
}

/// The person's files: so many directories, with two files each.
#[derive(Debug, Clone, Copy)]
struct Files {
    directories: u64,
}

/// Each directory, file and object is synced by itself.
const FEW: Files = Files { directories: 2 };
/// More than are synced one by one: then all of the file system is.
const MANY: Files = Files { directories: 14 };

impl Files {
    fn count(self) -> u64 {
        self.directories * 2
    }

    fn paths(self) -> impl Iterator<Item = PathBuf> {
        (0..self.directories).flat_map(|dir| ["one", "two"].map(|name| Path::new(&format!("d{dir}")).join(name)))
    }

    fn write(self, home: &Home, edition: &str) -> Result<()> {
        for (number, path) in self.paths().enumerate() {
            let bytes = noise(format!("{} {edition}", path.display()).as_bytes(), 500 + 9000 * number);
            tree::write(&home.volume().join(path), &bytes)?;
        }
        Ok(())
    }
}

fn nothing(_: &Home, _: Files) -> Result<()> {
    Ok(())
}

/// A person writes other files where files were.
fn rewritten(home: &Home, files: Files) -> Result<()> {
    files.write(home, "second")
}

/// A disk flips bits in every object of a destination.
fn damaged(home: &Home, _: Files) -> Result<()> {
    let objects = home.destinations().join(DESTINATIONS[0]).join("objects");
    for path in tree::read(&objects, None)?.keys().map(|path| objects.join(path)) {
        let mut bytes = fs::read(&path)?;
        bytes[0] ^= 1;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
        fs::write(&path, bytes)?;
    }
    home.run("verify --all", &[1])
}

/// Somebody takes the objects of a destination away.
fn taken_away(home: &Home, _: Files) -> Result<()> {
    let objects = home.destinations().join(DESTINATIONS[0]).join("objects");
    fs::remove_dir_all(&objects).with_context(|| objects.display().to_string())
}

fn found_lost(home: &Home, files: Files) -> Result<()> {
    taken_away(home, files)?;
    home.run("verify --all", &[1])
}

fn found_lost_in_the_mirror(home: &Home, _: Files) -> Result<()> {
    let dir = home.destinations().join(DESTINATIONS[1]).join("photos/d0");
    fs::remove_dir_all(&dir).with_context(|| dir.display().to_string())?;
    home.run("verify --all", &[1])
}

fn index_lost(home: &Home, _: Files) -> Result<()> {
    fs::remove_dir_all(home.data()).context("the index is not there")
}

const BASE: Workload = Workload {
    name: "",
    policy: "",
    mirrored: false,
    files: FEW,
    before: PUSHED,
    meanwhile: nothing,
    left: Left::Nothing,
    lines: &[],
    deletions: 0,
    moves: 0,
};

const PUSHED_TO_ONE: &[&str] =
    &["volume add photos {root}/photos", "destination init usb", "destination init nas", "index", "sync --to nas"];

/// The directories above the index are made on the way. Once, of several that were missing only the lowest was made durable: a power
/// cut could have taken the whole index, after files had been deleted on its word.
const FROM_NOTHING: &[&str] = &[
    "volume add photos {root}/photos",
    "destination init usb",
    "destination init nas",
    "index",
    "sync",
    "offload photos . --yes",
    "index",
];

const WORKLOADS: &[Workload] = &[
    Workload { name: "push and offload", before: &[], lines: FROM_NOTHING, deletions: 1, moves: 1, ..BASE },
    Workload {
        name: "push again after a kill that left a directory",
        before: INDEXED,
        left: Left::ByKilledSync(makes_directory),
        lines: &["sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "push again after a kill that left an object",
        before: INDEXED,
        left: Left::ByKilledSync(names_object),
        lines: &["sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "push objects that somebody copied there",
        before: PUSHED_TO_ONE,
        left: Left::ByHand,
        lines: &["sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "push many objects that somebody copied there",
        files: MANY,
        before: PUSHED_TO_ONE,
        left: Left::ByHand,
        lines: &["sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    // Nothing is pushed after somebody copied objects back: what is read then may still be in memory alone.
    Workload {
        name: "offload after a verify of objects that somebody copied back",
        meanwhile: found_lost,
        left: Left::ByHand,
        lines: &["verify usb --all", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "offload from objects that somebody copied back",
        meanwhile: taken_away,
        left: Left::ByHand,
        lines: &["offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "push to a mirror and offload",
        mirrored: true,
        before: &[],
        lines: FROM_NOTHING,
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "push again to a mirror and offload",
        mirrored: true,
        meanwhile: rewritten,
        lines: &["index", "sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "offload after a verify of what somebody copied back to a mirror",
        mirrored: true,
        meanwhile: found_lost_in_the_mirror,
        left: Left::ByHand,
        lines: &["verify nas --all", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "restore from a mirror",
        mirrored: true,
        before: OFFLOADED,
        lines: &["restore photos --from nas", "index"],
        moves: 1,
        ..BASE
    },
    Workload { name: "push and offload many", files: MANY, before: &[], lines: FROM_NOTHING, deletions: 1, moves: 1, ..BASE },
    Workload {
        name: "push again and offload",
        meanwhile: rewritten,
        lines: &["index", "sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "offload after a grace",
        policy: "grace = \"1ms\"",
        lines: &["offload photos . --yes", "offload photos --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "undo",
        policy: "grace = \"1h\"",
        lines: &["offload photos . --yes", "offload --undo {aside}", "index"],
        moves: 2,
        ..BASE
    },
    Workload {
        name: "undo many",
        policy: "grace = \"1h\"",
        files: MANY,
        lines: &["offload photos . --yes", "offload --undo {aside}", "index"],
        moves: 2,
        ..BASE
    },
    Workload { name: "restore", before: OFFLOADED, lines: &["restore photos", "index"], moves: 1, ..BASE },
    Workload { name: "restore many", files: MANY, before: OFFLOADED, lines: &["restore photos", "index"], moves: 1, ..BASE },
    Workload {
        name: "restore over other files",
        meanwhile: rewritten,
        lines: &["restore photos . --in-place", "index", "sync", "offload photos . --yes"],
        deletions: 1,
        moves: 3,
        ..BASE
    },
    Workload {
        name: "restore over other files, many",
        files: MANY,
        meanwhile: rewritten,
        lines: &["restore photos . --in-place", "index"],
        moves: 2,
        ..BASE
    },
    Workload {
        name: "recover, restore and offload",
        before: OFFLOADED,
        meanwhile: index_lost,
        lines: &[
            "recover --from file://{destinations}/usb --yes",
            "destination adopt nas --yes",
            "verify --all",
            "restore photos",
            "index",
            "sync",
            "offload photos . --yes",
        ],
        deletions: 1,
        moves: 2,
        ..BASE
    },
    // A copy's journal that came back after a power cut would have undone it: its removal was not made durable once.
    Workload {
        name: "put an older index back and offload",
        lines: &[
            "db backup {data}/backup.db",
            "sync",
            "db restore {data}/backup.db --yes",
            "verify --all",
            "sync",
            "offload photos . --yes",
        ],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "put a lost index back and offload",
        before: BACKED_UP,
        meanwhile: index_lost,
        lines: &["db restore {root}/backup.db --yes", "verify --all", "sync", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "repair and offload",
        meanwhile: damaged,
        lines: &["destination repair usb --yes", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
    Workload {
        name: "repair and offload many",
        files: MANY,
        meanwhile: damaged,
        lines: &["destination repair usb --yes", "offload photos . --yes"],
        deletions: 1,
        moves: 1,
        ..BASE
    },
];

impl Workload {
    /// A home in a directory of its own, with everything that comes before.
    fn prepare(&self, dir: &Path, binary: &Path) -> Result<Home> {
        fs::create_dir(dir)?;
        let mut home = Home::new(dir, dir, binary)?;
        if self.mirrored {
            home = home.with_mirror(&installed("rclone").context("rclone is not installed")?);
        }
        home.make(self.policy)?;
        self.files.write(&home, "first")?;
        for line in self.before {
            home.run(line, &[0])?;
        }
        (self.meanwhile)(&home, self.files)?;
        Ok(home)
    }

    /// A home in which a push was killed after a call, and what that push did. Which number the next call has is seen where the push ends;
    /// threads may come in another order, so it is tried a few times.
    fn killed_sync(&self, dir: &Path, binary: &Path, after: fn(&Areas, &Call) -> bool) -> Result<(Home, Vec<Call>)> {
        const PUSH: &str = "sync --to usb";
        let is_left = |home: &Home, call: &Call| call.succeeded() && after(&Areas::of(home), call);
        for _ in 0..10 {
            let whole = self.prepare(dir, binary)?;
            let report = whole.step(PUSH, Plan::Count)?;
            let number = report.calls.iter().filter(|call| is_left(&whole, call)).find_map(|call| call.number);
            let number = number.context("the push made no such call")?;
            fs::remove_dir_all(dir)?;
            let home = self.prepare(dir, binary)?;
            let mut report = home.step(PUSH, Plan::KillBefore(number + 1))?;
            // The last one was not made.
            report.calls.pop();
            if report.ended == Ended::Killed && report.calls.iter().any(|call| is_left(&home, call)) {
                return Ok((home, report.calls));
            }
            fs::remove_dir_all(dir)?;
        }
        bail!("the push was not killed where it was to be")
    }

    /// Follows the commands in a directory of their own.
    fn follow(&self, dir: &Path, binary: &Path) -> Result<Verdict> {
        let (home, left) = match self.left {
            Left::Nothing => (self.prepare(dir, binary)?, Vec::new()),
            Left::ByKilledSync(after) => self.killed_sync(dir, binary, after)?,
            Left::ByHand => {
                let home = self.prepare(dir, binary)?;
                let left = home.copy_objects()?.calls;
                (home, left)
            }
        };
        let mut audit = Audit::new(Areas::of(&home));
        audit.follow_unjudged(&left);
        for line in self.lines {
            let report = home.step(line, Plan::Count)?;
            if report.ended != Ended::Exited(0) {
                let said = [report.stdout, report.stderr].concat();
                bail!("`{line}` ended with {:?}: {}", report.ended, String::from_utf8_lossy(&said).trim());
            }
            audit.follow(line, &report.calls);
        }
        fs::remove_dir_all(dir)?;
        Ok(audit.verdict())
    }

    /// What is wrong with a verdict.
    fn wrong(&self, verdict: &Verdict) -> Vec<String> {
        let violations = verdict.violations.iter();
        let mut wrong: Vec<_> =
            violations.map(|(what, (moment, times))| format!("{what}; first when {moment}; {times} times")).collect();
        let expected = (self.deletions * self.files.count(), self.moves * self.files.count());
        if (verdict.deletions, verdict.moves) != expected {
            let (deletions, moves) = expected;
            wrong.push(format!("{deletions} deletions and {moves} moves of a person's files were expected"));
        }
        if verdict.syncs == 0 || verdict.records == 0 {
            wrong.push("nothing was synced or recorded at all".to_owned());
        }
        wrong
    }
}

/// A file system to follow workloads on.
struct Ground {
    name: &'static str,
    dir: PathBuf,
    /// It stays mounted as long as this is here.
    _mounted: Option<Mounted>,
}

/// A file system of a kind: the one of a directory, if it is of that kind, or an image, best in memory.
fn ground(kind: Kind, scratch: &Path, images: &Path, may_mount: &Result<(), String>) -> Result<Ground> {
    if ground::name_of(scratch)? == Some(kind.name) {
        return Ok(Ground { name: kind.name, dir: scratch.to_owned(), _mounted: None });
    }
    may_mount.as_ref().map_err(|why| anyhow!("{why}"))?;
    let image = images.join(format!("{}.image", kind.name));
    ground::make_image(kind, &image)?;
    let mounted = Mounted::new(&image, &scratch.join(kind.name))?;
    Ok(Ground { name: kind.name, dir: mounted.dir().to_owned(), _mounted: Some(mounted) })
}

/// Audits every workload, or the one that is wanted, on every file system there is.
pub fn audit(setting: &Setting, only: Option<&str>) -> Result<Totals> {
    let mut totals = Totals::default();
    let workloads: Vec<_> = WORKLOADS.iter().filter(|workload| only.is_none_or(|only| only == workload.name)).collect();
    let names: Vec<_> = WORKLOADS.iter().map(|workload| workload.name).collect();
    ensure!(!workloads.is_empty(), "there is no such workload, but {}", names.join("; "));
    let named = |dir| tempfile::Builder::new().prefix("lastcopy-order-").tempdir_in(dir);
    let scratch = named(std::env::temp_dir())?;
    let memory = PathBuf::from("/dev/shm");
    let memory = if ground::name_of(&memory)? == Some("tmpfs") { Some(named(memory)?) } else { None };
    let images = memory.as_ref().map_or(scratch.path(), TempDir::path);
    let mut grounds = Vec::new();
    for kind in [EXT4, XFS, BTRFS] {
        match ground(kind, scratch.path(), images, &setting.may_mount) {
            Ok(ground) => grounds.push(ground),
            Err(why) => totals.skip(&format!("order on {}", kind.name), &format!("{why:#}")),
        }
    }
    match &memory {
        Some(memory) => grounds.push(Ground { name: "tmpfs", dir: memory.path().to_owned(), _mounted: None }),
        None => totals.skip("order on tmpfs", "/dev/shm is none"),
    }
    let (possible, impossible): (Vec<_>, Vec<_>) =
        workloads.into_iter().partition(|workload| !workload.mirrored || installed("rclone").is_some());
    for workload in impossible {
        totals.skip(workload.name, "rclone is not installed");
    }
    let workloads = possible;
    let tasks: Vec<_> = grounds.iter().flat_map(|ground| workloads.iter().map(move |workload| (ground, *workload))).collect();
    let verdicts = spread(&tasks, &|number, (ground, workload)| {
        let home = ground.dir.join(format!("home-{number}"));
        workload.follow(&home, &setting.binary).with_context(|| format!("{} on {}", workload.name, ground.name))
    })?;
    for ((ground, workload), verdict) in tasks.iter().zip(verdicts) {
        let Verdict { calls, syncs, deletions, moves, records, violations } = &verdict;
        let figures = format!(
            "{} on {}: {calls} calls, {syncs} syncs; judged {deletions} deletions, {moves} moves, {records} writes of the index; \
             {} violations",
            workload.name,
            ground.name,
            violations.len()
        );
        totals.tell(&figures, &workload.wrong(&verdict));
    }
    Ok(totals)
}
