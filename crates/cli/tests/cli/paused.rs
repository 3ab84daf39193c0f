//! A program that is stopped in the middle of a run, so that others meet a run in flight for as long as a test likes.

use crate::home::Home;
use crate::ran::{Background, Json, Ran, wait_for};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A program that stands still in a run.
#[derive(Debug)]
pub(crate) struct Paused {
    background: Background,
    /// The run.
    pub(crate) run: i64,
}

impl Home {
    /// Starts the program, and stops it while it is in a run of some kind, but in no transaction: others can use the index.
    #[track_caller]
    pub(crate) fn paused(&self, arguments: &[&str], kind: &str) -> Paused {
        let before = self.run_locks();
        // One that was killed is still called running, until the next one begins.
        let earlier = self.newest_run().map(|run| run["id"].clone());
        let mut background = self.spawn(arguments);
        loop {
            wait_for("a run begins", || self.run_locks().difference(&before).next().is_some() || !background.is_running());
            assert!(background.is_running(), "ended before it could be stopped:\n{}", background.wait());
            background.signal(Signal::STOP);
            wait_for("every thread stands still", || all_threads_stopped(background.pid()));
            if !self.writes_index(background.pid())
                && let Some(run) = self.newest_run()
                && (Some(&run["id"]) != earlier.as_ref() && run["kind"] == kind && run["status"] == "running")
            {
                return Paused { background, run: run["id"].as_i64().unwrap() };
            }
            background.signal(Signal::CONT);
        }
    }

    /// The lock files by which runs show that they live.
    fn run_locks(&self) -> BTreeSet<PathBuf> {
        let entries = fs::read_dir(self.beside_index(".runs"));
        entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }

    /// A file that goes with the index.
    pub(crate) fn beside_index(&self, suffix: &str) -> PathBuf {
        let mut name = self.index().into_os_string();
        name.push(suffix);
        name.into()
    }

    /// Whether a process holds a lock that keeps others from writing to the index.
    fn writes_index(&self, pid: u32) -> bool {
        let Ok(shared) = fs::metadata(self.beside_index("-shm")) else { return false };
        let (pid, inode) = (pid.to_string(), format!(":{}", shared.ino()));
        let locks = fs::read_to_string("/proc/locks").unwrap();
        locks.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words[1] == "POSIX" && words[3] == "WRITE" && words[4] == pid && words[5].ends_with(&inode)
        })
    }

    fn newest_run(&self) -> Option<Value> {
        let runs = self.json(&["runs"]).expect(0);
        runs.of("run").next().cloned()
    }
}

impl Paused {
    /// Lets it go on, and waits for its end.
    #[track_caller]
    pub(crate) fn resume(self) -> Ran {
        self.go_on().wait()
    }

    /// Lets it go on.
    pub(crate) fn go_on(mut self) -> Background {
        self.background.signal(Signal::CONT);
        self.background
    }

    /// The same, with its JSON lines.
    #[track_caller]
    pub(crate) fn resume_json(self) -> Json {
        self.resume().into_json()
    }

    /// Sends a signal, which arrives when it goes on.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.background.signal(signal);
    }

    /// Kills it where it stands.
    #[track_caller]
    pub(crate) fn kill(self) -> Ran {
        self.background.kill()
    }
}

fn all_threads_stopped(pid: u32) -> bool {
    let tasks = Path::new("/proc").join(pid.to_string()).join("task");
    fs::read_dir(tasks).unwrap().all(|task| {
        // The state follows the name, which is in parentheses. A thread that just ended has no file any more.
        let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('T'))
    })
}
