//! The workloads: each one command of the program over a state that was prepared, and what must come of it.

use crate::home::{Home, Step};
use crate::repository;
use crate::{ProofError, Result};
use lastcopy_scene::tree::{self, Tree, noise, path_of};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What must be true once a workload's work is done, besides what must always be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// Nothing more.
    Nothing,
    /// Every destination holds every content.
    Pushed,
    /// The files that leave have left.
    Left,
    /// Every file is in its place, with its bytes.
    Home,
    /// Every file is aside.
    Aside,
}

/// What the second destination of a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Second {
    /// A content-addressed store, as the first one.
    Cas,
    /// A mirror in a directory, written by rclone: a child that is stopped, killed and made to fail like its parent.
    Mirror,
    /// A repository of kopia's in a directory; so is kopia.
    Kopia,
}

impl Second {
    /// The program that writes it, if another one does.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Self::Cas => None,
            Self::Mirror => Some("rclone"),
            Self::Kopia => Some("kopia"),
        }
    }
}

/// A workload.
#[derive(Debug)]
pub struct Workload {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub about: &'static str,
    /// What `nas` is.
    pub second: Second,
    /// More lines of the offload policy.
    pub policy: &'static str,
    /// Brings the home to where the command begins.
    pub prepare: fn(&mut Preparing<'_>) -> Result<()>,
    /// Which files destinations alone may hold from then on.
    pub leaving: fn(&Path) -> bool,
    /// Whether destinations may forget what nobody wants to keep.
    pub releases: bool,
    /// What runs undisturbed before the command, each time: what depends on inodes, which a copy does not keep.
    pub lead: &'static [Step],
    /// The command that is killed, or made to fail.
    pub command: Step,
    /// The file that a person changes meanwhile, where that is tried.
    pub edited: &'static str,
    /// Files of the home that must be there all the time.
    pub stays: &'static [&'static str],
    /// A file of the home that must be a whole index whenever it exists.
    pub whole: Option<&'static str>,
    /// What a person runs next. It brings the work to its end, wherever the command was cut short, and if it was not.
    pub recover: &'static [Step],
    /// What is true after that.
    pub goal: Goal,
    /// What shows that the command did its work, if it said that it did.
    pub shown_by: &'static [Step],
    /// What must be true then.
    pub done: Goal,
    /// How many calls change something, at least: about four fifths of what was counted when this was written.
    pub fewest: Fewest,
}

/// At least so many calls change something in a workload's command.
#[derive(Debug, Clone, Copy)]
pub struct Fewest {
    /// Of the program itself.
    pub own: usize,
    /// Of the programs that it starts, but for those to their own connections, logs and caches.
    pub of_child: usize,
}

impl Fewest {
    /// Of all of them.
    pub fn all(self) -> usize {
        self.own + self.of_child
    }
}

/// After every workload, at points where there is time: everything is proven and comes back as it was.
pub const FINISH: &[Step] =
    &[zero("index"), zero("sync"), zero("verify --all"), zero("restore photos"), zero("index"), zero("db check"), zero("alarms")];

const fn step(line: &'static str, exits: &'static [i32]) -> Step {
    Step { line, exits }
}

const fn zero(line: &'static str) -> Step {
    step(line, &[0])
}

/// The next index run says so where it put something back.
const NEXT_INDEX: Step = step("index", &[0, 1]);

/// The one file of the workload that offloads one: longer than a single read or write.
const ONE: &str = "big.bin";

fn nothing(_: &Path) -> bool {
    false
}

fn everything(_: &Path) -> bool {
    true
}

/// A home that is being prepared.
#[derive(Debug)]
pub struct Preparing<'a> {
    /// Where.
    pub home: &'a Home,
    /// What must be kept.
    pub originals: Tree,
    /// Other bytes at these paths that must be kept, too, though not in their places.
    pub besides: Vec<(PathBuf, blake3::Hash)>,
}

impl Preparing<'_> {
    fn run(&self, line: &'static str, exit: i32) -> Result<()> {
        let words = self.home.lines(&step(line, &[]))?.remove(0);
        let ran = self.home.run_words(&words)?;
        if ran.exit == exit {
            Ok(())
        } else {
            Err(ProofError::Preparation(format!("`{}` ended with {}: {}", ran.line, ran.exit, ran.said)))
        }
    }

    fn write(&self, path: &[u8], bytes: &[u8]) -> Result<()> {
        Ok(tree::write(&self.home.volume().join(path_of(path)), bytes)?)
    }

    /// What is in the volume now is to be kept.
    fn keep(&mut self) -> Result<()> {
        self.originals.extend(tree::read(&self.home.volume(), Some(".lastcopy"))?);
        Ok(())
    }

    /// Where a destination holds a file that is in its place.
    fn object(&self, destination: &str, path: &str) -> Result<std::path::PathBuf> {
        let name = tree::hash_file(&self.home.volume().join(path))?.to_hex().to_string();
        Ok(self.home.destination(destination).join("objects").join(&name[..2]).join(name))
    }
}

/// Puts the files that were written under care, with destinations that hold nothing yet.
fn under_care(preparing: &mut Preparing<'_>) -> Result<()> {
    preparing.run("volume add photos {home}/volumes/photos", 0)?;
    preparing.run("destination init usb", 0)?;
    preparing.run("destination init nas", 0)?;
    preparing.keep()
}

/// Files of every sort, under care, with destinations that hold nothing yet.
fn fresh(preparing: &mut Preparing<'_>) -> Result<()> {
    preparing.write(b"a.txt", &noise(b"a", 1000))?;
    preparing.write(ONE.as_bytes(), &noise(b"big", 200_000))?;
    preparing.write(b"2019/b", &noise(b"b", 5000))?;
    preparing.write(b"2019/again", &noise(b"a", 1000))?;
    preparing.write(b"2019/holiday/c", &noise(b"c", 70_000))?;
    preparing.write(b"odd \n\xff/\xc3\xbc\t'\"", &noise(b"odd", 700))?;
    preparing.write(b"empty", b"")?;
    for (path, mode) in [("a.txt", 0o640), ("2019/b", 0o751)] {
        let path = preparing.home.volume().join(path);
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(ProofError::at(&path))?;
    }
    under_care(preparing)
}

/// Files whose names other programs can keep, under care.
fn plain(preparing: &mut Preparing<'_>) -> Result<()> {
    preparing.write(b"a.txt", &noise(b"a", 1000))?;
    preparing.write(ONE.as_bytes(), &noise(b"big", 200_000))?;
    preparing.write(b"2019/again", &noise(b"a", 1000))?;
    under_care(preparing)?;
    preparing.run("index", 0)
}

/// Pushed to the first destination already: what happens there is killed elsewhere.
fn plain_at_the_other(preparing: &mut Preparing<'_>) -> Result<()> {
    plain(preparing)?;
    preparing.run("sync --to usb", 0)
}

fn plain_edited_at_the_other(preparing: &mut Preparing<'_>) -> Result<()> {
    plain_edited(preparing)?;
    preparing.run("sync --to usb", 0)
}

fn plain_pushed(preparing: &mut Preparing<'_>) -> Result<()> {
    plain(preparing)?;
    preparing.run("sync", 0)
}

/// Pushed, and then replaced by a person: in a mirror, the old version has to make room.
fn plain_edited(preparing: &mut Preparing<'_>) -> Result<()> {
    plain_pushed(preparing)?;
    preparing.originals.clear();
    preparing.write(b"a.txt", &noise(b"a changed", 1000))?;
    preparing.write(b"2019/again", &noise(b"big", 200_000))?;
    preparing.keep()?;
    preparing.run("index", 0)
}

/// Pushed to a repository, where the pack with the largest file's bytes rots then.
fn plain_damaged(preparing: &mut Preparing<'_>) -> Result<()> {
    plain_pushed(preparing)?;
    Ok(tree::flip_bit(&repository::largest_pack(&preparing.home.destination("nas"))?)?)
}

fn plain_edited_offloaded(preparing: &mut Preparing<'_>) -> Result<()> {
    plain_edited(preparing)?;
    preparing.run("sync", 0)?;
    preparing.run("offload photos . --yes", 0)?;
    preparing.run("sync", 0)
}

fn plain_found_damaged(preparing: &mut Preparing<'_>) -> Result<()> {
    plain_damaged(preparing)?;
    preparing.run("verify --all", 1)
}

fn plain_offloaded(preparing: &mut Preparing<'_>) -> Result<()> {
    plain_pushed(preparing)?;
    preparing.run("offload photos . --yes", 0)?;
    preparing.run("sync", 0)
}

fn indexed(preparing: &mut Preparing<'_>) -> Result<()> {
    fresh(preparing)?;
    preparing.run("index", 0)
}

fn pushed(preparing: &mut Preparing<'_>) -> Result<()> {
    indexed(preparing)?;
    preparing.run("sync", 0)
}

/// Pushed, then changed, added to, moved about and deleted from by a person.
fn edited(preparing: &mut Preparing<'_>) -> Result<()> {
    pushed(preparing)?;
    preparing.originals.clear();
    preparing.write(b"a.txt", &noise(b"a changed", 1000))?;
    preparing.write(b"new/file", &noise(b"new", 3000))?;
    let volume = preparing.home.volume();
    let moved = fs::rename(volume.join("2019/holiday"), volume.join("2020"));
    moved.and_then(|()| fs::remove_file(volume.join("empty"))).map_err(ProofError::at(&volume))?;
    preparing.keep()
}

/// Pushed, and then an object rots at one destination.
fn damaged(preparing: &mut Preparing<'_>) -> Result<()> {
    pushed(preparing)?;
    tree::flip_bit(&preparing.object("usb", ONE)?)?;
    Ok(tree::flip_bit(&preparing.object("usb", "2019/b")?)?)
}

fn found_damaged(preparing: &mut Preparing<'_>) -> Result<()> {
    damaged(preparing)?;
    preparing.run("verify --all", 1)
}

fn offloaded(preparing: &mut Preparing<'_>) -> Result<()> {
    pushed(preparing)?;
    preparing.run("offload photos . --yes", 0)?;
    preparing.run("sync", 0)
}

fn partly_offloaded(preparing: &mut Preparing<'_>) -> Result<()> {
    pushed(preparing)?;
    preparing.run("offload photos 2019 --yes", 0)?;
    preparing.run("sync", 0)
}

/// Where the index lies in a home.
const INDEX: &str = "data/lastcopy/index.db";
const WRITTEN_OVER: [&str; 2] = ["a.txt", "2019/b"];

/// Pushed, and then changed by a person who wants the old bytes back.
fn written_over(preparing: &mut Preparing<'_>) -> Result<()> {
    pushed(preparing)?;
    for path in WRITTEN_OVER {
        let mistake = noise(path.as_bytes(), 1000);
        preparing.write(path.as_bytes(), &mistake)?;
        preparing.besides.push((path.into(), blake3::hash(&mistake)));
    }
    Ok(())
}

/// A machine whose index is gone; its configuration and what was not offloaded are still there.
fn index_lost(preparing: &mut Preparing<'_>) -> Result<()> {
    partly_offloaded(preparing)?;
    Ok(tree::remove(&preparing.home.data())?)
}

/// An index that has moved on since it was backed up.
fn backed_up(preparing: &mut Preparing<'_>) -> Result<()> {
    pushed(preparing)?;
    preparing.run("db backup {home}/backup.db", 0)?;
    preparing.run("offload photos 2019 --yes", 0)?;
    preparing.run("sync", 0)
}

const BASE: Workload = Workload {
    name: "",
    about: "",
    second: Second::Cas,
    policy: "",
    prepare: pushed,
    leaving: nothing,
    releases: false,
    lead: &[],
    command: zero("index"),
    edited: "2019/b",
    stays: &[INDEX],
    whole: None,
    recover: &[],
    goal: Goal::Pushed,
    shown_by: &[],
    done: Goal::Nothing,
    // Each says its own.
    fewest: Fewest { own: usize::MAX, of_child: 0 },
};

/// Of files whose names other programs can keep.
const PLAIN: Workload = Workload { edited: "2019/again", ..BASE };

/// Every workload, the shortest names for those that matter most.
pub const WORKLOADS: &[Workload] = &[
    Workload {
        name: "offload-one",
        about: "one file is offloaded",
        leaving: |path| path == Path::new(ONE),
        command: zero("offload photos big.bin --yes"),
        edited: ONE,
        // Nothing left to offload is no such path.
        recover: &[NEXT_INDEX, zero("sync"), step("offload photos big.bin --yes", &[0, 2])],
        goal: Goal::Left,
        done: Goal::Left,
        fewest: Fewest { own: 86, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "offload",
        about: "all files, in several directories, are offloaded",
        leaving: everything,
        command: zero("offload photos . --yes"),
        recover: &[NEXT_INDEX, zero("sync"), zero("offload photos . --yes")],
        goal: Goal::Left,
        done: Goal::Left,
        fewest: Fewest { own: 108, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "grace",
        about: "all files are set aside for a grace",
        policy: "grace = \"1h\"",
        command: zero("offload photos . --yes"),
        recover: &[NEXT_INDEX, zero("offload --undo {aside}"), zero("index")],
        goal: Goal::Home,
        done: Goal::Aside,
        fewest: Fewest { own: 90, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "undo",
        about: "files that are aside for a grace are put back",
        policy: "grace = \"1h\"",
        lead: &[zero("offload photos . --yes")],
        command: zero("offload --undo {aside}"),
        recover: &[NEXT_INDEX, zero("offload --undo {aside}"), zero("index")],
        goal: Goal::Home,
        done: Goal::Home,
        fewest: Fewest { own: 146, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "grace-over",
        about: "files whose grace is over are deleted",
        policy: "grace = \"1ms\"",
        leaving: everything,
        lead: &[zero("offload photos . --yes")],
        command: zero("offload photos --yes"),
        recover: &[NEXT_INDEX, zero("sync"), zero("offload photos . --yes"), step("offload photos --yes", &[0, 2])],
        goal: Goal::Left,
        done: Goal::Left,
        fewest: Fewest { own: 78, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "restore",
        about: "offloaded files come back",
        prepare: offloaded,
        leaving: everything,
        command: zero("restore photos"),
        recover: &[NEXT_INDEX, zero("restore photos")],
        goal: Goal::Home,
        done: Goal::Home,
        fewest: Fewest { own: 86, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "restore-in-place",
        about: "files that a person changed get their old bytes back, and the new ones are kept",
        prepare: written_over,
        // A program that looks for a file finds one version of it.
        stays: &[INDEX, "volumes/photos/a.txt", "volumes/photos/2019/b"],
        leaving: |path| WRITTEN_OVER.iter().any(|one| path == Path::new(one)),
        command: zero("restore photos a.txt 2019/b --in-place"),
        recover: &[zero("restore photos a.txt 2019/b --in-place"), NEXT_INDEX],
        goal: Goal::Nothing,
        done: Goal::Home,
        fewest: Fewest { own: 72, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "index",
        about: "a volume is indexed for the first time",
        prepare: fresh,
        recover: &[zero("index"), zero("sync")],
        shown_by: &[zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 67, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "index-again",
        about: "a volume is indexed after edits",
        prepare: edited,
        recover: &[zero("index"), zero("sync")],
        shown_by: &[zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 73, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "push",
        about: "a volume is pushed to two destinations",
        prepare: indexed,
        command: zero("sync"),
        recover: &[zero("index"), zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 178, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "push-damaged",
        about: "a push replaces objects that were found damaged",
        prepare: found_damaged,
        command: zero("sync"),
        recover: &[zero("index"), zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 92, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "verify",
        about: "a verification finds damaged objects",
        prepare: damaged,
        command: step("verify --all", &[1]),
        recover: &[zero("index"), step("verify --all", &[0, 1]), zero("sync")],
        fewest: Fewest { own: 80, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "recover",
        about: "an index that was lost is rebuilt from a destination",
        prepare: index_lost,
        stays: &[],
        leaving: |path| path.starts_with("2019"),
        command: zero("recover --from file://{home}/destinations/usb --yes"),
        // It refuses once the volume is known again.
        recover: &[
            step("recover --from file://{home}/destinations/usb --yes", &[0, 1, 3]),
            step("destination adopt nas --yes", &[0]),
            NEXT_INDEX,
            zero("verify --all"),
            zero("sync"),
            zero("restore photos"),
        ],
        goal: Goal::Home,
        shown_by: &[zero("restore photos")],
        done: Goal::Home,
        fewest: Fewest { own: 343, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "db-backup",
        about: "the index is copied to a file",
        command: zero("db backup {home}/backup.db"),
        whole: Some("backup.db"),
        recover: &[zero("index"), zero("sync")],
        fewest: Fewest { own: 65, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "db-restore",
        about: "an older copy takes the index's place",
        prepare: backed_up,
        leaving: |path| path.starts_with("2019"),
        command: zero("db restore {home}/backup.db --yes"),
        recover: &[
            zero("db restore {home}/backup.db --yes"),
            NEXT_INDEX,
            zero("verify --all"),
            zero("sync"),
            zero("restore photos 2019/b 2019/again 2019/holiday/c"),
            zero("index"),
            zero("sync"),
        ],
        goal: Goal::Home,
        shown_by: &[zero("db check")],
        done: Goal::Nothing,
        fewest: Fewest { own: 101, of_child: 0 },
        ..BASE
    },
    Workload {
        name: "mirror-push",
        about: "a volume is pushed to a mirror, too",
        second: Second::Mirror,
        prepare: plain,
        command: zero("sync"),
        recover: &[NEXT_INDEX, zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 141, of_child: 42 },
        ..PLAIN
    },
    Workload {
        name: "mirror-replace",
        about: "old versions make room in a mirror",
        second: Second::Mirror,
        prepare: plain_edited,
        command: zero("sync"),
        recover: &[NEXT_INDEX, zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 136, of_child: 32 },
        ..PLAIN
    },
    Workload {
        name: "mirror-offload",
        about: "files are offloaded that a mirror holds, too",
        second: Second::Mirror,
        prepare: plain_pushed,
        leaving: everything,
        command: zero("offload photos . --yes"),
        recover: &[NEXT_INDEX, zero("sync"), zero("offload photos . --yes")],
        goal: Goal::Left,
        done: Goal::Left,
        fewest: Fewest { own: 96, of_child: 2 },
        ..PLAIN
    },
    Workload {
        name: "mirror-restore",
        about: "files come back from a mirror alone",
        second: Second::Mirror,
        prepare: plain_offloaded,
        leaving: everything,
        command: zero("restore photos --from nas"),
        recover: &[NEXT_INDEX, zero("restore photos --from nas")],
        goal: Goal::Home,
        done: Goal::Home,
        fewest: Fewest { own: 75, of_child: 2 },
        ..PLAIN
    },
    Workload {
        name: "kopia-push",
        about: "a volume is pushed to a repository of kopia's",
        second: Second::Kopia,
        prepare: plain_at_the_other,
        command: zero("sync --to nas"),
        recover: &[NEXT_INDEX, zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 66, of_child: 83 },
        ..PLAIN
    },
    Workload {
        name: "kopia-changed",
        about: "a changed volume is pushed to a repository that holds the old versions",
        second: Second::Kopia,
        prepare: plain_edited_at_the_other,
        command: zero("sync --to nas"),
        recover: &[NEXT_INDEX, zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 63, of_child: 64 },
        ..PLAIN
    },
    Workload {
        name: "kopia-verify",
        about: "a verification finds a pack of a repository damaged",
        second: Second::Kopia,
        prepare: plain_damaged,
        command: step("verify --all nas", &[1]),
        // Pushing heals nothing that kopia believes to hold; and what is lost there must not be deleted here.
        recover: &[
            NEXT_INDEX,
            step("verify --all", &[1]),
            step("sync", &[1]),
            step("offload photos big.bin --yes", &[1]),
            zero("destination repair nas --yes"),
            zero("sync"),
        ],
        goal: Goal::Pushed,
        done: Goal::Home,
        fewest: Fewest { own: 51, of_child: 0 },
        ..PLAIN
    },
    Workload {
        name: "kopia-repair",
        about: "a repository whose pack was found damaged is repaired",
        second: Second::Kopia,
        prepare: plain_found_damaged,
        command: zero("destination repair nas --yes"),
        recover: &[NEXT_INDEX, step("verify --all", &[0, 1]), zero("destination repair nas --yes"), zero("sync")],
        goal: Goal::Pushed,
        shown_by: &[zero("sync")],
        done: Goal::Pushed,
        fewest: Fewest { own: 52, of_child: 82 },
        ..PLAIN
    },
    Workload {
        name: "kopia-compact",
        about: "what was offloaded is gathered from older snapshots, which are released with the replaced versions in them",
        second: Second::Kopia,
        prepare: plain_edited_offloaded,
        leaving: everything,
        releases: true,
        command: zero("destination compact nas --yes"),
        recover: &[NEXT_INDEX, zero("destination compact nas --yes"), zero("restore photos --from nas")],
        goal: Goal::Home,
        shown_by: &[zero("restore photos --from nas")],
        done: Goal::Home,
        fewest: Fewest { own: 44, of_child: 16 },
        ..PLAIN
    },
    Workload {
        name: "kopia-offload",
        about: "files are offloaded that a repository holds, too",
        second: Second::Kopia,
        prepare: plain_pushed,
        leaving: everything,
        command: zero("offload photos . --yes"),
        recover: &[NEXT_INDEX, zero("sync"), zero("offload photos . --yes")],
        goal: Goal::Left,
        done: Goal::Left,
        fewest: Fewest { own: 93, of_child: 0 },
        ..PLAIN
    },
    Workload {
        name: "kopia-restore",
        about: "files come back from a repository alone",
        second: Second::Kopia,
        prepare: plain_offloaded,
        leaving: everything,
        command: zero("restore photos --from nas"),
        recover: &[NEXT_INDEX, zero("restore photos --from nas")],
        goal: Goal::Home,
        done: Goal::Home,
        fewest: Fewest { own: 90, of_child: 0 },
        ..PLAIN
    },
];

/// The workload of a name.
pub fn named(name: &str) -> Option<&'static Workload> {
    WORKLOADS.iter().find(|workload| workload.name == name)
}
