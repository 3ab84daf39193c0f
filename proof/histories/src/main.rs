//! `lastcopy-histories`: random histories over the real crates, the regressions first.

/// Prints a line on stdout; that nobody reads on is no reason to crash.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        drop(writeln!(std::io::stdout().lock(), $($part)*));
    }};
}

use clap::Parser;
use lastcopy_histories::{Broken, Listener, Quantity, Ran, Soaked, World, missing, parse, regressions, replay, run, soak};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

#[derive(Debug, Parser)]
#[command(about = "Random histories over the real crates, watched by an oracle that shares nothing with the gate")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many histories [default: 20000]
    #[arg(long)]
    histories: Option<u64>,
    /// The long form: so many histories.
    #[arg(long, value_name = "HISTORIES", num_args = 0..=1, default_missing_value = "1000000")]
    long: Option<u64>,
    /// Where the random numbers begin [default: 1; in the long form, another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// The number of the first history.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Histories at a time; they wait for each other, and for the tool, more than they compute.
    #[arg(long)]
    threads: Option<usize>,
    /// Stops after so many findings.
    #[arg(long, default_value_t = 5)]
    enough: usize,
    /// Only the histories in these files.
    #[arg(long, value_name = "FILE")]
    replay: Vec<PathBuf>,
    /// Does not write what is found below the regressions.
    #[arg(long)]
    keep_nothing: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Worlds that go on and on: everything at once, and in the end everything is restored and compared.
    Soak {
        /// For so long; 0 is a short one.
        #[arg(long, default_value_t = 0)]
        minutes: u64,
        /// Where the random numbers begin.
        #[arg(long)]
        seed: Option<u64>,
        /// Worlds at a time.
        #[arg(long, default_value_t = 2)]
        worlds: usize,
    },
}

/// A run that was not asked for fewer carries out so many at least, or has failed.
const AT_LEAST: u64 = 20_000;

/// Fewer operations than this are no soak.
const IDLE: u64 = 50;

/// How long the shortest soak is.
const SHORT: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    // A panic in a history is a finding, and told with it.
    std::panic::set_hook(Box::new(|_| {}));
    let cli = Cli::parse();
    let counted = match &cli.command {
        None => all(&cli),
        Some(Command::Soak { minutes, seed, worlds }) => soak_for(*minutes, seed.unwrap_or_else(own_seed), *worlds),
    };
    let (passed, failed) = counted.unwrap_or_else(|broken| {
        say!("the histories could not be carried out: {broken}");
        (0, 1)
    });
    say!("{passed} passed, {failed} failed, 0 skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Where texts of histories that failed once are kept.
fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

fn own_seed() -> u64 {
    std::process::id().into()
}

/// A directory of our own, in memory where there is such a file system; one that `TMPDIR` names goes first.
fn scratch() -> Result<tempfile::TempDir, Broken> {
    let memory = Path::new("/dev/shm");
    let prefix = tempfile::Builder::new().prefix("lastcopy-histories-").to_owned();
    Ok(match std::env::var_os("TMPDIR") {
        None if memory.is_dir() => prefix.tempdir_in(memory)?,
        _ => prefix.tempdir()?,
    })
}

fn runtime() -> Result<tokio::runtime::Runtime, Broken> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn soak_for(minutes: u64, seed: u64, worlds: usize) -> Result<(u64, u64), Broken> {
    let (base, runtime) = (scratch()?, runtime()?);
    let lasting = if minutes == 0 { SHORT } else { Duration::from_secs(60 * minutes) };
    say!("a soak of {} s in {worlds} worlds from seed {seed}", lasting.as_secs());
    let tell = |soaked: &Soaked| say!("  {} operations, and {} meanwhile", soaked.operations, soaked.meanwhile);
    let soaked = soak(base.path(), lasting, seed, worlds, runtime.handle(), &tell)?;
    soaked.reached.iter().for_each(|(what, count)| say!("  {count:8} × {what}"));
    soaked.found.iter().for_each(|what| say!("FAILED {what}"));
    say!(
        "{} operations, {} meanwhile; {} files are offloaded in the end, {} of them nowhere, because disks lost them",
        soaked.operations,
        soaked.meanwhile,
        soaked.offloaded,
        soaked.lost_by_disks
    );
    // Even the shortest does more; what did nothing proves nothing.
    let idle = soaked.operations < IDLE || soaked.meanwhile == 0 || soaked.compared == 0;
    if idle {
        say!("FAILED it did hardly anything, and compared {} worlds", soaked.compared);
    }
    Ok((soaked.compared, soaked.found.len() as u64 + u64::from(idle)))
}

fn all(cli: &Cli) -> Result<(u64, u64), Broken> {
    let (base, runtime) = (scratch()?, runtime()?);
    let threads = cli.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(4, |cores| 3 * cores.get()));
    let mut counted = replay_kept(cli, base.path(), runtime.handle())?;
    if !cli.replay.is_empty() {
        return Ok(counted);
    }
    // The quick form checks a change: what it finds must be the change's, so it is the same each time.
    let seed = cli.seed.unwrap_or_else(|| if cli.long.is_some() { own_seed() } else { 1 });
    let histories = cli.long.or(cli.histories).unwrap_or(AT_LEAST);
    say!("{histories} histories from seed {seed}, {threads} at a time");
    let begun = Instant::now();
    let told = std::sync::Mutex::new(Instant::now());
    let tell = |done: u64| {
        let mut told = told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.elapsed().as_secs() >= 10 {
            *told = Instant::now();
            say!("  {done} histories, {:.0} each second", done as f64 / begun.elapsed().as_secs_f64());
        }
    };
    let quantity = Quantity { histories, seed, first: cli.first, threads, enough: cli.enough };
    let stuck = |number: u64| {
        say!("FAILED history {number} of seed {seed} does not end\n0 passed, 1 failed, 0 skipped");
        std::process::exit(1);
    };
    let ran = run(base.path(), quantity, runtime.handle(), Listener { done: &tell, stuck: &stuck })?;
    let seconds = begun.elapsed().as_secs_f64();
    say!("{} histories with {} operations in {seconds:.0} s", ran.histories, ran.operations);
    tell_found(cli, seed, &ran);
    counted.0 += ran.histories - ran.found.len() as u64;
    counted.1 += ran.found.len() as u64;
    if cli.histories.is_none() && ran.histories < AT_LEAST && ran.found.is_empty() {
        say!("FAILED {} histories are less than the {AT_LEAST} that there must be", ran.histories);
        counted.1 += 1;
    }
    let (reached, lacking) = tell_reached(&ran, histories);
    Ok((counted.0 + reached, counted.1 + lacking))
}

/// The regressions, or what is asked for.
fn replay_kept(cli: &Cli, base: &Path, runtime: &tokio::runtime::Handle) -> Result<(u64, u64), Broken> {
    let texts = if cli.replay.is_empty() {
        regressions(&kept())?
    } else {
        let read = |path: &PathBuf| {
            let named = |error: String| Broken::Other(format!("{}: {error}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
            Ok((path.clone(), parse(&text).map_err(named)?))
        };
        cli.replay.iter().map(read).collect::<Result<Vec<_>, Broken>>()?
    };
    let world = World::new(&base.join("kept"), runtime.clone())?;
    let (mut passed, mut failed) = (0, 0);
    for (path, ops) in &texts {
        match replay(&world, ops)? {
            None => passed += 1,
            Some(what) => {
                failed += 1;
                say!("FAILED {}: {what}", path.display());
            }
        }
        if !cli.replay.is_empty() {
            world.reached().iter().for_each(|(what, count)| say!("  {count:4} × {what}"));
        }
    }
    say!("{} histories were replayed: {passed} passed, {failed} failed", texts.len());
    Ok((passed, failed))
}

fn tell_found(cli: &Cli, seed: u64, ran: &Ran) {
    for found in &ran.found {
        say!("\nFAILED history {} of seed {seed}: {}", found.number, found.what);
        say!("the smallest that still fails: {}\n{}", found.smallest, found.text);
        let path = kept().join(format!("found-{seed}-{}.txt", found.number));
        if !cli.keep_nothing {
            match std::fs::write(&path, format!("# {}\n{}", found.smallest.replace('\n', " "), found.text)) {
                Ok(()) => say!("written to {}", path.display()),
                Err(error) => say!("{}: {error}", path.display()),
            }
        }
    }
}

/// Situations count one each; a run too short to reach them all asks for none.
fn tell_reached(ran: &Ran, histories: u64) -> (u64, u64) {
    for (what, count) in &ran.reached {
        say!("  {count:8} × {what}");
    }
    if histories < 5000 || !ran.found.is_empty() {
        return (0, 0);
    }
    let lacking = missing(&ran.reached);
    lacking.iter().for_each(|what| say!("FAILED never reached: {what}"));
    let lacking_count = lacking.len() as u64;
    (lastcopy_histories::required().len() as u64 - lacking_count, lacking_count)
}
