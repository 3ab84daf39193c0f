//! The enemies: each a process of its own, because a lease or a mapping of the same process would not be somebody else's.
//!
//! An enemy prints `ready`, waits for a line on stdin, attacks until it is through or stdin ends, and prints a line for each attack
//! that it carried out: the number of the file or directory.

use crate::arena::{Arena, DIRECTORIES, FILES, SIZE, content};
use crate::chance::Chance;
use anyhow::{Context, Result};
use clap::ValueEnum;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What an enemy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Enemy {
    /// Renames a new file over the old one.
    RenameOver,
    /// Writes into the file.
    WriteInPlace,
    /// Appends to it.
    Append,
    /// Stores to it through a shared mapping.
    MappedStore,
    /// Moves the directory above away and puts a symbolic link there, to a directory that looks the same.
    SwapDirectory,
    /// Moves the destination's directory away and makes an empty one.
    ReplaceDestination,
}

/// Those that write into files; each has files of its own, so that none destroys what another one wrote.
pub(crate) const WRITERS: [Enemy; 4] = [Enemy::RenameOver, Enemy::WriteInPlace, Enemy::Append, Enemy::MappedStore];

/// The name of what a writer writes.
pub(crate) fn written(seed: u64, number: u64) -> Vec<u8> {
    content(&format!("written {seed} {number}"))
}

/// Attacks, over about so many microseconds.
pub fn attack(enemy: Enemy, root: &Path, seed: u64, spread: u64) -> Result<()> {
    say!("ready");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    std::thread::spawn(move || {
        drop(io::copy(&mut io::stdin().lock(), &mut io::sink()));
        told.store(true, Ordering::Relaxed);
    });
    let arena = Arena::at(root);
    let mut chance = Chance::new(seed ^ ((enemy as u64) << 32));
    let mut targets = targets(enemy);
    chance.shuffle(&mut targets);
    let pause = 2 * spread / targets.len() as u64 + 1;
    for number in targets {
        std::thread::sleep(Duration::from_micros(chance.below(pause)));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let done = match enemy {
            Enemy::SwapDirectory => swap(&arena, number, swapped(spread, &mut chance)),
            Enemy::ReplaceDestination => replace(&arena, number, &mut chance),
            _ => write(enemy, &arena, number, &written(seed, number), &mut chance),
        };
        match done {
            Ok(()) => say!("{number}"),
            // There was nothing to attack, or somebody was in the way.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error).with_context(|| format!("{enemy:?} of {number}")),
        }
    }
    Ok(())
}

/// What an enemy attacks: its share of the files, or directories again and again.
fn targets(enemy: Enemy) -> Vec<u64> {
    match WRITERS.iter().position(|&writer| writer == enemy) {
        Some(position) => (0..FILES).filter(|number| number % WRITERS.len() as u64 == position as u64).collect(),
        None => (0..DIRECTORIES * 4).collect(),
    }
}

fn write(enemy: Enemy, arena: &Arena, number: u64, new: &[u8], chance: &mut Chance) -> io::Result<()> {
    let path = arena.volume().join(Arena::file(number));
    if enemy == Enemy::RenameOver {
        let beside = arena.outside().join(format!("new-{number}"));
        fs::write(&beside, new)?;
        return fs::rename(&beside, &path);
    }
    // Half of the writers wait as long as somebody holds a lease, the others come back later or never.
    let patience = if chance.below(2) == 0 { OFlags::empty() } else { OFlags::NONBLOCK };
    // While files are brought back there may be none to write into, and people do make new ones.
    let make = if arena.root().join("restoring").exists() { OFlags::CREATE } else { OFlags::empty() };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | make | patience;
    let file = File::from(rustix::fs::open(&path, flags, Mode::from(0o644))?);
    match enemy {
        Enemy::WriteInPlace => file.write_all_at(new, 0),
        Enemy::Append => {
            let end = file.metadata()?.len();
            file.write_all_at(new, end)
        }
        _ => {
            if file.metadata()?.len() < SIZE as u64 {
                file.set_len(SIZE as u64)?;
            }
            store(&file, new)
        }
    }
}

/// Stores through a shared mapping; no system call tells anybody.
fn store(file: &File, new: &[u8]) -> io::Result<()> {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    let access = ProtFlags::READ | ProtFlags::WRITE;
    #[expect(unsafe_code, reason = "a new mapping at an address of the kernel's choice, of the length that the file has at least")]
    unsafe {
        let mapping = mmap(std::ptr::null_mut(), SIZE, access, MapFlags::SHARED, file, 0)?;
        // Nobody truncates these files.
        std::ptr::copy_nonoverlapping(new.as_ptr(), mapping.cast(), new.len().min(SIZE));
        munmap(mapping, SIZE)?;
    }
    Ok(())
}

/// How long a directory stays swapped: mostly for a moment, sometimes so long that every step of the program meets the same one.
fn swapped(spread: u64, chance: &mut Chance) -> Duration {
    let most = if chance.below(8) == 0 { spread } else { 3000 };
    Duration::from_micros(chance.below(most))
}

fn swap(arena: &Arena, number: u64, time: Duration) -> io::Result<()> {
    let name = Arena::directory(number % DIRECTORIES);
    // A name for each attack: what stayed away of an earlier one is in nobody's way.
    let (path, away) = (arena.volume().join(&name), arena.outside().join(format!("{name}-{number}")));
    fs::rename(&path, &away)?;
    // Relative: an absolute one would begin at another mount, which is a guard of its own.
    let swapped = std::os::unix::fs::symlink(Path::new("../decoys").join(&name), &path);
    std::thread::sleep(time);
    if swapped.is_ok() {
        fs::remove_file(&path)?;
    }
    // Somebody may have made the directory anew; then the old one stays away.
    match fs::rename(&away, &path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        done => done,
    }
}

fn replace(arena: &Arena, number: u64, chance: &mut Chance) -> io::Result<()> {
    let (path, away) = (arena.destination(), arena.outside().join("disk"));
    fs::rename(&path, &away)?;
    fs::create_dir(&path)?;
    std::thread::sleep(Duration::from_micros(chance.below(5000)));
    // Whatever was written into the wrong directory is kept for the oracle.
    fs::rename(&path, arena.outside().join(format!("foreign-{number}")))?;
    fs::rename(&away, &path)?;
    io::stdout().flush()
}
