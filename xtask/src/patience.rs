//! Tests that hang are ended, so that a run says which, and goes on with the others.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// How long a run of tests may print nothing. Building everything, and the longest program of the harness, take half of it.
const SILENCE: Duration = Duration::from_secs(20 * 60);

/// Ends whatever a process started when it printed nothing for too long. Looks until `printed` is closed.
pub(crate) fn watch(process: u32, printed: &Receiver<()>) {
    loop {
        match printed.recv_timeout(SILENCE) {
            Ok(()) => {}
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                say!("error: nothing was printed for {} min: what runs is ended", SILENCE.as_secs() / 60);
                // Not the process itself: cargo goes on with the next tests.
                end_descendants(process);
            }
        }
    }
}

/// Ends a child and whatever it started.
pub(crate) fn end(child: &mut Child) -> std::io::Result<()> {
    end_descendants(child.id());
    child.kill()?;
    child.wait().map(drop)
}

/// Each is stopped first, and looked for again until there is none left that runs: one that was just about to start another would leave it
/// behind, without a parent by which it could be found.
fn end_descendants(process: u32) {
    let mut stopped = HashSet::new();
    loop {
        let running: Vec<_> = descendants(process).into_iter().filter(|descendant| !stopped.contains(descendant)).collect();
        if running.is_empty() {
            break;
        }
        running.iter().for_each(|descendant| signal(*descendant, Signal::STOP));
        stopped.extend(running);
    }
    stopped.into_iter().for_each(|descendant| signal(descendant, Signal::KILL));
}

fn signal(process: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // It fails if the process is gone, which is what is wanted.
        kill_process(pid, signal).ok();
    }
}

fn descendants(process: u32) -> Vec<u32> {
    let children = children_by_parent();
    let mut found = vec![process];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        found.extend(children.get(parent).into_iter().flatten());
        next += 1;
    }
    found.split_off(1)
}

fn children_by_parent() -> HashMap<u32, Vec<u32>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        if let Some(parent) = parent_of(&entry.path()) {
            children.entry(parent).or_default().push(process);
        }
    }
    children
}

/// The fourth field of `stat`; the second one, a name in parentheses, may hold anything.
fn parent_of(directory: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(directory.join("stat")).ok()?;
    text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    #[test]
    fn grandchildren_are_ended_too() {
        // One of them may be about to start the next one: then that was left behind once, and held the pipe.
        for _ in 0..30 {
            let mut shell = Command::new("sh");
            shell.args(["-c", "sh -c 'echo begun; sleep 1000; :' & wait"]).stdout(Stdio::piped());
            let mut child = shell.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            assert_eq!(lines.next().unwrap().unwrap(), "begun");
            end(&mut child).unwrap();
            // The end of the pipe: nobody holds it any more.
            assert!(lines.next().is_none());
        }
    }
}
