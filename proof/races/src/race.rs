//! Races, one after the other, until there were enough rounds.

use crate::adversary::{Enemy, WRITERS, written};
use crate::arena::{Arena, FILES, Ran, content};
use crate::oracle::Found;
use anyhow::{Context, Result, ensure};
use lastcopy_scene::tree;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Instant, SystemTime};

/// How much to do.
#[derive(Debug)]
pub struct Extent {
    /// Attacks to carry out.
    pub rounds: u64,
    /// Where chance begins.
    pub seed: u64,
    /// Where to race.
    pub dir: Option<PathBuf>,
}

/// What is raced with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Offload,
    Restore,
}

/// What all races came to.
#[derive(Debug, Default)]
struct Figures {
    /// Attacks that were carried out.
    rounds: BTreeMap<(Victim, Enemy), u64>,
    offloaded: u64,
    restored: u64,
    /// Files that lastcopy left alone, or put back, because of an enemy.
    noticed: u64,
    /// The same, by those who came together: nobody can tell which of them a file was put back for.
    noticed_of: BTreeMap<(Victim, &'static [Enemy]), u64>,
    lost: u64,
}

/// Races until there were enough rounds.
pub fn prove(extent: &Extent) -> Result<ExitCode> {
    let memory = Path::new("/dev/shm");
    let parent = extent.dir.clone().unwrap_or_else(|| if memory.is_dir() { memory.into() } else { std::env::temp_dir() });
    let dir = tempfile::Builder::new().prefix("lastcopy-races-").tempdir_in(&parent)?;
    let arena = Arena::new(&fs::canonicalize(dir.path())?)?;
    let mut figures = Figures::default();
    let mut spread = BTreeMap::from([(Victim::Offload, 200_000), (Victim::Restore, 200_000)]);
    let mut races = 0;
    while figures.all() < extent.rounds {
        let enemies: &'static [Enemy] = match races % 6 {
            4 => &[Enemy::SwapDirectory],
            5 => &[Enemy::ReplaceDestination],
            _ => &WRITERS,
        };
        let race = Race { arena: &arena, enemies, seed: extent.seed.wrapping_mul(1_000_003) + races };
        race.run(&mut figures, &mut spread).with_context(|| format!("race {races}, seed {}, {enemies:?}", extent.seed))?;
        races += 1;
        if races % 12 == 0 {
            say!("{races} races, {} rounds, {} lost", figures.all(), figures.lost);
        }
    }
    figures.report(races)
}

impl Figures {
    fn all(&self) -> u64 {
        self.rounds.values().sum()
    }

    fn report(&self, races: u64) -> Result<ExitCode> {
        for ((victim, enemy), rounds) in &self.rounds {
            say!("{victim:?} against {enemy:?}: {rounds} rounds");
        }
        for ((victim, enemies), noticed) in &self.noticed_of {
            say!("{victim:?} against {enemies:?}: {noticed} files left alone or put back");
        }
        let Self { offloaded, restored, noticed, lost, .. } = self;
        say!("{races} races, {} rounds: {offloaded} offloaded, {restored} restored, {noticed} left alone or put back", self.all());
        say!("new data lost: {lost}");
        // Races in which nobody met anybody would prove nothing.
        let enemies = if races < 6 { &WRITERS[..] } else { Enemy::ALL };
        for victim in [Victim::Offload, Victim::Restore] {
            for &enemy in enemies {
                ensure!(self.rounds.get(&(victim, enemy)).is_some_and(|&rounds| rounds > 0), "{enemy:?} never met {victim:?}");
            }
        }
        // A few races may miss each other; the quick form has more.
        for ((victim, enemies), noticed) in self.noticed_of.iter().filter(|_| races >= 48) {
            ensure!(*noticed > 0, "{victim:?} never noticed any of {enemies:?}");
        }
        ensure!(*offloaded > 0 && *restored > 0 && *noticed > 0, "the enemies won or lost every time: the races were none");
        let failed = u64::from(*lost > 0);
        say!("{} passed, {failed} failed, 0 skipped", 1 - failed);
        Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Enemy {
    const ALL: &[Self] =
        &[Self::RenameOver, Self::WriteInPlace, Self::Append, Self::MappedStore, Self::SwapDirectory, Self::ReplaceDestination];
}

struct Race<'a> {
    arena: &'a Arena,
    enemies: &'static [Enemy],
    seed: u64,
}

impl Race<'_> {
    fn run(&self, figures: &mut Figures, spread: &mut BTreeMap<Victim, u64>) -> Result<()> {
        let arena = self.arena;
        for victim in [Victim::Offload, Victim::Restore] {
            self.fill(victim)?;
            arena.run(&["index"])?.expect(&[0])?;
            arena.run(&["sync"])?.expect(&[0])?;
            if victim == Victim::Restore {
                arena.run(&["offload", "tree", "."])?.expect(&[0])?;
                fs::write(arena.root().join("restoring"), "")?;
            }
            let decoys = tree::read(&arena.decoys(), None)?;
            let began = Instant::now();
            let (ran, done) = self.meet(victim, spread[&victim])?;
            spread.insert(victim, u64::try_from(began.elapsed().as_micros())?.clamp(20_000, 2_000_000));
            for (&enemy, attacked) in &done {
                *figures.rounds.entry((victim, enemy)).or_default() += attacked.len() as u64;
            }
            figures.count(victim, self.enemies, &ran)?;
            figures.lost += self.lost(victim, &done)?;
            ensure!(tree::read(&arena.decoys(), None)? == decoys, "{victim:?} changed what is not the volume's");
            self.clear()?;
        }
        Ok(())
    }

    /// New files, no two of which are the same. Decoys are what a careless program would take for them: where files are offloaded,
    /// the same bytes of the same age; where they are brought back, free names.
    fn fill(&self, victim: Victim) -> Result<()> {
        let now = SystemTime::now();
        for number in 0..FILES {
            for dir in [self.arena.volume(), self.arena.decoys()] {
                let path = dir.join(Arena::file(number));
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent)?;
                }
                if dir == self.arena.volume() || victim == Victim::Offload {
                    fs::write(&path, self.original(number))?;
                    File::options().write(true).open(&path)?.set_modified(now)?;
                }
            }
        }
        Ok(())
    }

    fn original(&self, number: u64) -> Vec<u8> {
        content(&format!("original {} {number}", self.seed))
    }

    /// Runs the program among its enemies; returns what each attacked.
    fn meet(&self, victim: Victim, spread: u64) -> Result<(Ran, BTreeMap<Enemy, BTreeSet<u64>>)> {
        let enemies = self.enemies.iter().map(|&enemy| Attacker::start(enemy, self, spread)).collect::<Result<Vec<_>>>()?;
        let program = match victim {
            Victim::Offload => self.arena.start(&["offload", "tree", "."])?,
            Victim::Restore => self.arena.start(&["restore", "tree"])?,
        };
        let enemies = enemies.into_iter().map(Attacker::release).collect::<Result<Vec<_>>>()?;
        let ran = program.wait()?;
        let done = enemies.into_iter().map(Attacker::end).collect::<Result<_>>()?;
        Ok((ran.expect(&[0, 1, 3, 4, 5])?, done))
    }

    /// How much is nowhere that should be somewhere.
    fn lost(&self, victim: Victim, done: &BTreeMap<Enemy, BTreeSet<u64>>) -> Result<u64> {
        let arena = self.arena;
        let (mut here, mut there) = (Found::default(), Found::default());
        here.below(&arena.volume())?;
        here.below(&arena.outside())?;
        there.below(&arena.destination().join("objects"))?;
        let attacked = |number| WRITERS.iter().any(|enemy| done.get(enemy).is_some_and(|numbers| numbers.contains(&number)));
        let mut lost = 0;
        for number in 0..FILES {
            let original = self.original(number);
            let kept = if attacked(number) {
                here.has_part(&written(self.seed, number))
            } else {
                let path = arena.volume().join(Arena::file(number));
                let changed = fs::read(&path).is_ok_and(|bytes| bytes != original);
                !changed && (here.has(&original) || there.has(&original))
            };
            if !kept {
                lost += 1;
                say!("LOST by {victim:?} among {:?}, seed {}: file {number}", self.enemies, self.seed);
            }
        }
        Ok(lost)
    }

    /// A person looks at what was kept, and puts everything in order.
    fn clear(&self) -> Result<()> {
        let arena = self.arena;
        arena.run(&["index"])?.expect(&[0, 1])?;
        let mut left = Found::default();
        left.below(&arena.volume().join(".lastcopy/offload"))?;
        ensure!(left.is_empty(), "files stayed in the quarantine: {left:?}");
        for dir in [arena.volume().join(".lastcopy/kept"), arena.outside(), arena.decoys()] {
            if dir.exists() {
                fs::remove_dir_all(&dir)?;
            }
        }
        fs::create_dir(arena.outside())?;
        if arena.root().join("restoring").exists() {
            fs::remove_file(arena.root().join("restoring"))?;
        }
        Ok(())
    }
}

impl Figures {
    fn count(&mut self, victim: Victim, enemies: &'static [Enemy], ran: &Ran) -> Result<()> {
        let noticed = match victim {
            Victim::Offload => {
                self.offloaded += ran.count("offloaded")?;
                ran.count("drift")? + ran.count("blocked")?
            }
            Victim::Restore => {
                self.restored += ran.count("restored")?;
                ran.count("refused")? + ran.count("failed")?
            }
        };
        self.noticed += noticed;
        *self.noticed_of.entry((victim, enemies)).or_default() += noticed;
        Ok(())
    }
}

/// An enemy at work.
struct Attacker {
    enemy: Enemy,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Attacker {
    /// Starts it, and waits until it is ready.
    fn start(enemy: Enemy, race: &Race<'_>, spread: u64) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let name = clap::ValueEnum::to_possible_value(&enemy).context("an enemy without a name")?;
        command.args(["adversary", name.get_name()]).arg(race.arena.root());
        command.args([race.seed.to_string(), spread.to_string()]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut said = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        ensure!(line == "ready\n", "an enemy said {line:?}");
        Ok(Self { enemy, child, said })
    }

    fn release(mut self) -> Result<Self> {
        self.child.stdin.as_mut().context("no stdin")?.write_all(b"go\n")?;
        Ok(self)
    }

    /// Tells it to stop, and returns what it attacked. What it says fits into a pipe, so it never waits for a reader.
    fn end(mut self) -> Result<(Enemy, BTreeSet<u64>)> {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.said.read_to_string(&mut text)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{:?} ended with {status}", self.enemy);
        let numbers = text.lines().map(|line| line.parse().with_context(|| line.to_owned())).collect::<Result<_>>()?;
        Ok((self.enemy, numbers))
    }
}
