//! A child process in a group of its own, that ends with us.

use rustix::io::FdFlags;
use rustix::process::{Pid, Signal, getpid, getppid, kill_process_group, set_parent_process_death_signal};
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long it gets to end by itself.
const FAREWELL: Duration = Duration::from_secs(3);
/// Lines of its log that are kept for errors.
const LAST_LINES: usize = 5;

/// A running child, with all that it starts. Dropped, it is ended.
pub struct Process {
    group: Pid,
    watched: Arc<Watched>,
}

/// A child that was started, with the ends of those pipes that the command asked for.
pub struct Started {
    /// The child.
    pub process: Process,
    /// What it reads.
    pub stdin: Option<ChildStdin>,
    /// What it writes.
    pub stdout: Option<ChildStdout>,
}

/// What the thread that started it sees.
struct Watched {
    /// Nothing while it runs; then how it ended, where that is known.
    ended: Mutex<Option<Option<ExitStatus>>>,
    news: Condvar,
    said: Mutex<Said>,
}

struct Said {
    last: VecDeque<String>,
    heard: Instant,
}

impl Process {
    /// Starts a command in a process group of its own. The kernel ends it when the thread that started it ends, so that thread stays until
    /// then, and a process of ours that is killed leaves no child behind. `words` makes of a line of its stderr what a person shall
    /// read, and may leave it out. What the child starts inherits `keeper`, which so stays open until the last of them ended.
    pub fn start(
        mut command: Command,
        words: impl Fn(String) -> Option<String> + Send + 'static,
        keeper: Option<Arc<OwnedFd>>,
    ) -> io::Result<Started> {
        let parent = getpid();
        command.process_group(0);
        #[expect(
            unsafe_code,
            reason = "prctl(2), getppid(2) and fcntl(2) are all that happens between fork and exec, and touch no memory of ours"
        )]
        unsafe {
            command.pre_exec(move || {
                set_parent_process_death_signal(Some(Signal::KILL))?;
                if let Some(keeper) = &keeper {
                    rustix::io::fcntl_setfd(keeper.as_ref(), FdFlags::empty())?;
                }
                // It may have happened before the kernel was told.
                if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
            });
        }
        let said = Said { last: VecDeque::new(), heard: Instant::now() };
        let watched = Arc::new(Watched { ended: Mutex::default(), news: Condvar::new(), said: Mutex::new(said) });
        let (tell, told) = sync_channel(1);
        let watching = watched.clone();
        std::thread::Builder::new().name("child".into()).spawn(move || match command.spawn() {
            Err(error) => drop(tell.send(Err(error))),
            Ok(child) => watching.watch(child, words, &tell),
        })?;
        told.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
    }

    /// Whether it is gone.
    pub fn has_ended(&self) -> bool {
        lock(&self.watched.ended).is_some()
    }

    /// Waits until it is gone, but no longer than that; how it ended, if it did.
    pub fn wait(&self, limit: Duration) -> Option<Option<ExitStatus>> {
        let ended = lock(&self.watched.ended);
        let waited = self.watched.news.wait_timeout_while(ended, limit, |ended| ended.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// How long ago it said something, if only that it goes on.
    pub fn silent_for(&self) -> Duration {
        lock(&self.watched.said).heard.elapsed()
    }

    /// The last lines of its log.
    pub fn last_words(&self) -> String {
        let last = &lock(&self.watched.said).last;
        if last.is_empty() { "it said nothing".into() } else { Vec::from(last.clone()).join("; ") }
    }

    /// Ends it with all that it started.
    pub fn end(&self) {
        if self.has_ended() {
            return;
        }
        // What is gone already needs no signal.
        _ = kill_process_group(self.group, Signal::TERM);
        if self.wait(FAREWELL).is_none() {
            _ = kill_process_group(self.group, Signal::KILL);
            self.wait(FAREWELL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watched {
    /// Stays with a child until it is gone.
    fn watch(self: Arc<Self>, mut child: Child, words: impl Fn(String) -> Option<String>, tell: &SyncSender<io::Result<Started>>) {
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidData.into());
        let started = group.map(|group| Started { process: Process { group, watched: self.clone() }, stdin, stdout });
        drop(tell.send(started));
        if let Some(stderr) = child.stderr.take() {
            self.listen(stderr, words);
        }
        *lock(&self.ended) = Some(child.wait().ok());
        self.news.notify_all();
    }

    /// Reads its log to the end, and keeps the last lines. What only overwrites its line is progress: a line, too.
    fn listen(&self, stderr: ChildStderr, words: impl Fn(String) -> Option<String>) {
        let mut stderr = BufReader::new(stderr);
        let mut line = Vec::new();
        while let Ok(piece) = stderr.fill_buf() {
            if piece.is_empty() {
                break;
            }
            let count = piece.len();
            for byte in piece {
                if matches!(byte, b'\n' | b'\r') {
                    self.say(&std::mem::take(&mut line), &words);
                } else {
                    line.push(*byte);
                }
            }
            stderr.consume(count);
            lock(&self.said).heard = Instant::now();
        }
        self.say(&line, &words);
    }

    fn say(&self, line: &[u8], words: &impl Fn(String) -> Option<String>) {
        let text = String::from_utf8_lossy(line);
        if text.trim().is_empty() {
            return;
        }
        let Some(text) = words(text.into_owned()) else { return };
        let last = &mut lock(&self.said).last;
        last.push_back(text);
        if last.len() > LAST_LINES {
            last.pop_front();
        }
    }
}
