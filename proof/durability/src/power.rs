//! Power cuts: a real file system loses what was not made durable, at some call of a run, and the journal is replayed.

use crate::Setting;
use crate::ground::{self, EXT4, Kind, Mounted, XFS};
use crate::home::{BACKED_UP, Home, INDEXED, OFFLOADED, PUSHED};
use crate::oracle::{Goal, Originals};
use crate::report::{Totals, spread};
use anyhow::{Context, Result, anyhow, ensure};
use lastcopy_scene::tree::{self, noise};
use lastcopy_stepper::{Ended, Plan};
use std::fs;
use std::path::{Path, PathBuf};

/// One command, and how its work is brought to an end after a cut.
struct Workload {
    name: &'static str,
    policy: &'static str,
    before: &'static [&'static str],
    /// Whether the index is taken away then.
    index_lost: bool,
    may_leave: bool,
    command: &'static str,
    /// What a person runs next, and what that may end with. What names `{aside}` is only run where files are aside.
    recover: &'static [(&'static str, &'static [i32])],
    goal: Goal,
    /// What the command by itself comes to, if that is something else.
    done: Option<Goal>,
}

/// It says so where it put something back.
const NEXT_INDEX: (&str, &[i32]) = ("index", &[0, 1]);

const BASE: Workload = Workload {
    name: "",
    policy: "",
    before: PUSHED,
    index_lost: false,
    may_leave: true,
    command: "",
    recover: &[],
    goal: Goal::Home,
    done: None,
};

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "push",
        before: INDEXED,
        may_leave: false,
        command: "sync",
        recover: &[NEXT_INDEX, ("sync", &[0])],
        goal: Goal::Pushed,
        ..BASE
    },
    Workload {
        name: "offload",
        command: "offload photos . --yes",
        recover: &[NEXT_INDEX, ("sync", &[0]), ("offload photos . --yes", &[0])],
        goal: Goal::Left,
        ..BASE
    },
    Workload {
        name: "undo",
        policy: "grace = \"1h\"",
        before: OFFLOADED,
        may_leave: false,
        command: "offload --undo {aside}",
        recover: &[NEXT_INDEX, ("offload --undo {aside}", &[0]), ("index", &[0])],
        ..BASE
    },
    Workload {
        name: "restore",
        before: OFFLOADED,
        command: "restore photos",
        recover: &[NEXT_INDEX, ("restore photos", &[0])],
        ..BASE
    },
    Workload {
        name: "recover",
        before: OFFLOADED,
        index_lost: true,
        command: "recover --from file://{destinations}/usb --yes",
        // It refuses once the volume is known again.
        recover: &[
            ("recover --from file://{destinations}/usb --yes", &[0, 1, 3]),
            ("destination adopt nas --yes", &[0]),
            NEXT_INDEX,
            ("restore photos", &[0]),
        ],
        done: Some(Goal::Left),
        ..BASE
    },
    Workload {
        name: "put back",
        before: BACKED_UP,
        index_lost: true,
        may_leave: false,
        command: "db restore {root}/backup.db --yes",
        recover: &[("db restore {root}/backup.db --yes", &[0]), NEXT_INDEX, ("verify --all", &[0]), ("sync", &[0])],
        goal: Goal::Pushed,
        ..BASE
    },
];

/// What is on which file system.
#[derive(Debug, Clone, Copy)]
struct Layout {
    name: &'static str,
    kind: Kind,
    /// Whether index and destinations are on a second one, which is cut at the same time: then no sync of the one helps the other.
    apart: bool,
    /// So many directories with two files each: a few are synced one by one, of many all of their file system is.
    directories: usize,
}

const LAYOUTS: &[Layout] = &[
    Layout { name: "ext4", kind: EXT4, apart: false, directories: 2 },
    Layout { name: "two ext4", kind: EXT4, apart: true, directories: 2 },
    Layout { name: "two ext4, many files", kind: EXT4, apart: true, directories: 12 },
    Layout { name: "xfs", kind: XFS, apart: false, directories: 2 },
    Layout { name: "two xfs, many files", kind: XFS, apart: true, directories: 12 },
];

/// How much is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// At so many calls of each workload, the last cut when the command has ended.
    Cuts(u64),
    /// At every call, and when the command has ended.
    EveryCall,
}

impl Extent {
    /// Before which calls, of so many.
    fn points(self, calls: u64) -> Vec<u64> {
        let last = calls + 1;
        match self {
            Self::Cuts(cuts) if cuts < last => (1..=cuts).map(|cut| cut * last / cuts).collect(),
            _ => (1..=last).collect(),
        }
    }
}

/// A workload on a layout, prepared once in images, from which each cut begins.
struct Bench<'a> {
    workload: &'a Workload,
    layout: Layout,
    dir: PathBuf,
    binary: &'a Path,
    originals: Originals,
    /// Calls of the command when nothing disturbs it.
    calls: u64,
}

/// What of a bench is mounted. The home's second file system is the first one, if there is only one.
struct Live {
    mounted: Vec<Mounted>,
    home: Home,
}

/// One bench's figures.
struct Tried {
    calls: u64,
    cuts: u64,
    killed: u64,
    wrong: Vec<String>,
}

impl Live {
    fn cut(self) -> Result<()> {
        for mounted in &self.mounted {
            mounted.cut().context("the file system cannot be shut down")?;
        }
        self.unmount()
    }

    fn unmount(self) -> Result<()> {
        self.mounted.into_iter().try_for_each(Mounted::unmount)
    }
}

impl<'a> Bench<'a> {
    fn prepare(workload: &'a Workload, layout: Layout, dir: &Path, binary: &'a Path) -> Result<Self> {
        fs::create_dir(dir)?;
        let Workload { may_leave, index_lost, .. } = *workload;
        let originals = Originals { files: tree::Tree::new(), may_leave, may_lack_index: index_lost };
        let mut bench = Self { workload, layout, dir: dir.to_owned(), binary, originals, calls: 0 };
        for name in bench.images() {
            ground::make_image(layout.kind, &bench.image(name, "base"))?;
        }
        let live = bench.mount("base")?;
        live.home.make(workload.policy)?;
        for number in 0..layout.directories * 2 {
            let path = Path::new(&format!("d{}", number / 2)).join(format!("f{number}"));
            let bytes = noise(path.display().to_string().as_bytes(), 700 + 5000 * number);
            tree::write(&live.home.volume().join(&path), &bytes)?;
        }
        bench.originals.files = tree::read(&live.home.volume(), None)?;
        for line in workload.before {
            live.home.run(line, &[0])?;
        }
        if workload.index_lost {
            fs::remove_dir_all(live.home.data()).context("the index is not there")?;
        }
        live.unmount()?;
        bench.fresh()?;
        let live = bench.mount("live")?;
        let report = live.home.step(workload.command, Plan::Count)?;
        ensure!(report.ended == Ended::Exited(0), "`{}` ended with {:?}", workload.command, report.ended);
        bench.calls = report.counted;
        live.unmount()?;
        Ok(bench)
    }

    fn images(&self) -> &'static [&'static str] {
        if self.layout.apart { &["volume", "apart"] } else { &["volume"] }
    }

    fn image(&self, name: &str, state: &str) -> PathBuf {
        self.dir.join(format!("{name}.{state}"))
    }

    /// Images as they were prepared.
    fn fresh(&self) -> Result<()> {
        self.images().iter().try_for_each(|name| ground::copy_image(&self.image(name, "base"), &self.image(name, "live")))
    }

    /// Always on the same directories: an index names paths.
    fn mount(&self, state: &str) -> Result<Live> {
        let mut mounted = Vec::new();
        for name in self.images() {
            mounted.push(Mounted::new(&self.image(name, state), &self.dir.join(name))?);
        }
        let (root, apart) = (self.dir.join("volume"), self.dir.join(self.images()[self.images().len() - 1]));
        Ok(Live { home: Home::new(&root, &apart, self.binary)?, mounted })
    }

    fn cut_all(&self, extent: Extent) -> Result<Tried> {
        let points = extent.points(self.calls);
        let mut tried = Tried { calls: self.calls, cuts: 0, killed: 0, wrong: Vec::new() };
        for at in points {
            let (killed, wrong) = self.cut(at).with_context(|| format!("cut before call {at}"))?;
            tried.cuts += 1;
            tried.killed += u64::from(killed);
            tried.wrong.extend(wrong.into_iter().map(|wrong| format!("cut before call {at} of {}: {wrong}", self.calls)));
        }
        Ok(tried)
    }

    /// One cut. Whether the program was running when it came, and what is wrong after it.
    fn cut(&self, at: u64) -> Result<(bool, Vec<String>)> {
        self.fresh()?;
        let live = self.mount("live")?;
        let report = live.home.step(self.workload.command, Plan::KillBefore(at))?;
        live.cut()?;
        let live = self.mount("live").context("it cannot be mounted any more")?;
        let home = &live.home;
        let mut wrong = self.originals.check(home, &self.dir)?;
        match report.ended {
            Ended::Killed => {}
            // What it said that it did must outlast the cut.
            Ended::Exited(0) => wrong.extend(self.originals.check_goal(self.workload.done.unwrap_or(self.workload.goal), home)?),
            ended => wrong.push(format!("`{}` ended with {ended:?}", self.workload.command)),
        }
        if wrong.is_empty() {
            for (line, exits) in self.workload.recover {
                if line.contains("{aside}") && !home.has_aside() {
                    continue;
                }
                wrong.extend(home.run(line, exits).err().map(|error| format!("{error:#}").replace('\n', "; ")));
            }
            wrong.extend(self.originals.check(home, &self.dir)?);
            wrong.extend(self.originals.check_goal(self.workload.goal, home)?);
        }
        live.unmount()?;
        Ok((report.ended == Ended::Killed, wrong))
    }
}

/// Whether images of a kind can be made, mounted and cut here.
fn possible(kind: Kind, scratch: &Path, may_mount: &Result<(), String>) -> Result<()> {
    may_mount.as_ref().map_err(|why| anyhow!("{why}"))?;
    let image = scratch.join(format!("{}.trial", kind.name));
    ground::make_image(kind, &image)?;
    let mounted = Mounted::new(&image, &scratch.join("trial"))?;
    mounted.cut().context("it cannot be shut down")?;
    mounted.unmount()?;
    Ok(fs::remove_file(image)?)
}

/// What is wrong with cuts themselves: one that lost nothing would find nothing.
fn idle(kind: Kind, scratch: &Path) -> Result<Vec<String>> {
    let (image, dir) = (scratch.join(format!("{}.control", kind.name)), scratch.join("control"));
    ground::make_image(kind, &image)?;
    let mounted = Mounted::new(&image, &dir)?;
    let (synced, unsynced, renamed) = (dir.join("synced"), dir.join("unsynced"), dir.join("renamed"));
    for file in [&synced, &renamed] {
        fs::write(file, "bytes")?;
        fs::File::open(file)?.sync_all()?;
    }
    fs::File::open(&dir)?.sync_all()?;
    fs::write(&unsynced, "bytes")?;
    fs::rename(&renamed, dir.join("elsewhere"))?;
    mounted.cut()?;
    mounted.unmount()?;
    let mounted = Mounted::new(&image, &dir)?;
    let mut wrong = Vec::new();
    if !fs::read(&synced).is_ok_and(|bytes| bytes == b"bytes") {
        wrong.push("a cut took what was synced".into());
    }
    if fs::read(&unsynced).is_ok_and(|bytes| bytes == b"bytes") || !renamed.exists() {
        wrong.push("a cut left what was not synced".into());
    }
    mounted.unmount()?;
    fs::remove_file(image)?;
    Ok(wrong)
}

/// Cuts the power of every workload on every layout.
pub fn cut(setting: &Setting, extent: Extent) -> Result<Totals> {
    let mut totals = Totals::default();
    let memory = PathBuf::from("/dev/shm");
    let images = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let scratch = tempfile::Builder::new().prefix("lastcopy-power-").tempdir_in(images)?;
    let mut layouts: Vec<&Layout> = Vec::new();
    for kind in [EXT4, XFS] {
        match possible(kind, scratch.path(), &setting.may_mount) {
            Ok(()) => {
                totals.tell(
                    &format!("a cut on {} takes what was not synced, and nothing else", kind.name),
                    &idle(kind, scratch.path())?,
                );
                layouts.extend(LAYOUTS.iter().filter(|layout| layout.kind == kind));
            }
            Err(why) => totals.skip(&format!("power cuts on {}", kind.name), &format!("{why:#}")),
        }
    }
    let tasks: Vec<_> = layouts.iter().flat_map(|layout| WORKLOADS.iter().map(move |workload| (**layout, workload))).collect();
    let all = spread(&tasks, &|number, (layout, workload)| {
        let dir = scratch.path().join(number.to_string());
        let tried = Bench::prepare(workload, *layout, &dir, &setting.binary).and_then(|bench| bench.cut_all(extent));
        tried.with_context(|| format!("{} on {}", workload.name, layout.name))
    })?;
    let mut cuts = 0;
    for ((layout, workload), tried) in tasks.iter().zip(all) {
        let Tried { calls, cuts: here, killed, mut wrong } = tried;
        cuts += here;
        let expected = extent.points(calls).len() as u64;
        // Threads may come in another order, and a run end a few calls sooner: then it had ended when the power went.
        if here != expected || killed + 1 + expected / 4 < expected {
            wrong.push(format!("{here} cuts, {killed} of them during the run; {expected} were expected"));
        }
        totals.tell(&format!("{} on {}: {here} cuts, {killed} of them during {calls} calls", workload.name, layout.name), &wrong);
    }
    say!("{cuts} power cuts");
    Ok(totals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_spread_over_all_calls_and_the_last_one_comes_after_the_end() {
        assert_eq!(Extent::Cuts(4).points(99), [25, 50, 75, 100]);
        assert_eq!(Extent::Cuts(9).points(2), [1, 2, 3]);
        assert_eq!(Extent::EveryCall.points(4), [1, 2, 3, 4, 5]);
    }
}
