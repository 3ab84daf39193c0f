//! What a run is to do, and what there is to say of it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What happens at the calls that count. Numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Nothing; the log is what one wants.
    Count,
    /// All processes are killed just before this call is made.
    KillBefore(u64),
    /// The thread that is to make this call waits until [`Surroundings::meanwhile`] is through, and so does every other one that comes to a
    /// call which counts.
    PauseBefore(u64),
    /// Calls are not made and fail instead.
    Fail {
        /// The first of them.
        from: u64,
        /// How many in a row, of all threads: 1 is once, `u64::MAX` from then on.
        calls: u64,
        /// With which error.
        errno: i32,
    },
    /// Calls that write two bytes or more write only half of them. Other calls are made as they are.
    Short {
        /// The first call that may be one of them.
        from: u64,
        /// How many of them: 1 is the next one, `u64::MAX` all from then on.
        calls: u64,
    },
}

/// What goes on around a program.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// What somebody does while the program waits, where the plan says so.
    pub meanwhile: &'a (dyn Fn() + Sync),
    /// Whether file systems are such that have no rename which refuses to replace, and none which exchanges: every call that asks for
    /// that fails with `EINVAL`.
    pub only_plain_renames: bool,
    /// Instead of the calls that change something, those count that read files or names below this directory, as the kernel shows it.
    pub reads_below: Option<&'a Path>,
    /// How long it may take. Then all of it is killed, and [`Ended::Endless`] is said of it.
    pub patience: Duration,
}

/// What a program of this workspace needs under a tracer, a hundred times.
const PATIENCE: Duration = Duration::from_secs(600);

impl Default for Surroundings<'_> {
    fn default() -> Self {
        Self { meanwhile: &|| {}, only_plain_renames: false, reads_below: None, patience: PATIENCE }
    }
}

impl fmt::Debug for Surroundings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").field("only_plain_renames", &self.only_plain_renames).finish_non_exhaustive()
    }
}

/// What a call is to files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It changes names, bytes or attributes.
    Change,
    /// It makes changes durable.
    Sync,
    /// It is only logged, and not counted.
    Note,
    /// It reads bytes or names. Met only where those are what counts.
    Read,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Anything else: a pipe, a socket, a device.
    Other,
}

/// A file as it was at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inode {
    /// Its device.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has. None: it goes when it is closed.
    pub links: u64,
    /// Its size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: FileType,
}

/// A file or name that a call is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its absolute path, as the kernel shows it for a descriptor; where a call names a path, the directory's path and that name, with
    /// symbolic links in the name left as they are.
    pub path: PathBuf,
    /// What was there when the program stopped before the call; of a descriptor, the open file.
    pub before: Option<Inode>,
    /// What was there after the call. Nothing if the call did not return or was not made.
    pub after: Option<Inode>,
}

/// What was done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// It was not made, and failed with this error.
    Errno(i32),
    /// It was made with so many bytes less.
    Short(u64),
}

/// One call, in the order in which they began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its place among those that count.
    pub number: Option<u64>,
    /// The thread that made it.
    pub thread: i32,
    /// The process of that thread: another one than the report's, if it is of a child.
    pub process: i32,
    /// Its name, as in the manual.
    pub name: &'static str,
    /// What it is to files.
    pub kind: Kind,
    /// What it changes or syncs, in the order of its arguments: of a rename, the old name and the new one.
    pub targets: Vec<Target>,
    /// Its flags, where it has any: those of an open, a rename, an unlink.
    pub flags: Option<u64>,
    /// How many bytes it is to write.
    pub length: Option<u64>,
    /// Its arguments as the kernel got them.
    pub arguments: [u64; 6],
    /// What was done to it.
    pub injected: Option<Injected>,
    /// What it returned: below zero an error. Nothing if the program was killed before it returned.
    pub result: Option<i64>,
    /// When it began, and when it returned, counted in calls that began or returned: one that returned before another one began has a
    /// smaller number here.
    pub began: u64,
    /// See `began`.
    pub returned: Option<u64>,
}

impl Call {
    /// Whether it was made and worked.
    pub fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// Whether fewer bytes than it asks for could be written.
    pub fn can_be_short(&self) -> bool {
        self.kind == Kind::Change && self.length.is_some_and(|length| length >= 2)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number {
            Some(number) => write!(f, "#{number} ")?,
            None => write!(f, "#- ")?,
        }
        write!(f, "[{}] {}(", self.thread, self.name)?;
        for (place, target) in self.targets.iter().enumerate() {
            write!(f, "{}{:?}", if place == 0 { "" } else { ", " }, target.path)?;
        }
        self.length.map_or(Ok(()), |length| write!(f, ", {length} bytes"))?;
        self.flags.filter(|flags| *flags != 0).map_or(Ok(()), |flags| write!(f, ", {flags:#o}"))?;
        write!(f, ")")?;
        match self.injected {
            Some(Injected::Errno(_)) => write!(f, ", made to fail")?,
            Some(Injected::Short(less)) => write!(f, ", {less} bytes short")?,
            None => {}
        }
        match self.result {
            Some(result) if result < 0 => {
                let errno = i32::try_from(-result).unwrap_or(0);
                write!(f, " = {}", io::Error::from_raw_os_error(errno))
            }
            Some(result) => write!(f, " = {result}"),
            None => Ok(()),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The program ended with this status.
    Exited(i32),
    /// A signal that was not the plan's ended it.
    Signalled(i32),
    /// The plan killed it.
    Killed,
    /// It made the same calls again and again while they failed, thousands of times, or did not end in time, and was killed.
    Endless,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// The process that was started.
    pub process: i32,
    /// The calls, in the order in which they began. The last one of a run that the plan killed is the one that was not made.
    pub calls: Vec<Call>,
    /// How many of them count.
    pub counted: u64,
    /// How many of them were made to fail, or shortened; not those that fail because of the surroundings.
    pub injected: u64,
    /// Whether it waited for somebody, as the plan said.
    pub paused: bool,
    /// What it wrote on stdout.
    pub stdout: Vec<u8>,
    /// What it wrote on stderr.
    pub stderr: Vec<u8>,
}

impl Report {
    /// The call with a number.
    pub fn call(&self, number: u64) -> Option<&Call> {
        self.calls.iter().find(|call| call.number == Some(number))
    }
}

/// Why a program could not be stepped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// There is no stepper for this system.
    #[error("programs can be stepped on Linux on x86-64 only")]
    Unsupported,
    /// It was not started.
    #[error("cannot be started under the stepper: {0}")]
    Start(#[source] io::Error),
    /// It ended before its first instruction: the program is missing, or cannot be executed.
    #[error("the program cannot be executed")]
    NotExecuted,
    /// The system refused to go on.
    #[error("cannot be traced: {0}")]
    Trace(#[from] io::Error),
}
