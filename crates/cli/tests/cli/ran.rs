//! What the program did: its exit status and everything it said, as text or as checked JSON lines; and one that still runs.

use rustix::process::{Pid, Signal};
use serde_json::Value;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// Longer than anything here takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at a condition.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Looks again and again until a condition holds.
#[track_caller]
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) arguments: Vec<String>,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arguments, status, stdout, stderr } = self;
        write!(f, "lastcopy {}\n--- {status}\n--- stdout\n{stdout}--- stderr\n{stderr}---", arguments.join(" "))
    }
}

impl Ran {
    /// The exit status; none after a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// That it ended with this exit status, and did not crash.
    #[track_caller]
    pub(crate) fn expect(self, exit: i32) -> Self {
        assert_eq!(self.code(), Some(exit), "another exit status than {exit}:\n{self}");
        assert!(!self.stderr.contains("panicked at"), "it panicked:\n{self}");
        self
    }

    /// That it was ended by a signal.
    #[track_caller]
    pub(crate) fn expect_killed(self) -> Self {
        assert_eq!(self.status.signal(), Some(Signal::KILL.as_raw()), "was not killed:\n{self}");
        self
    }

    /// Its JSON lines, checked for everything that tools may rely on.
    #[track_caller]
    pub(crate) fn into_json(self) -> Json {
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("`{line}`: {error}:\n{self}"));
        let lines: Vec<_> = self.stdout.lines().map(parse).collect();
        for line in &lines {
            match line["type"].as_str() {
                Some("summary") => {
                    assert_eq!(line["schema"], 1, "{self}");
                    assert!(line["command"].is_string(), "a summary without a command:\n{self}");
                    assert!(line["run"].is_i64() || line["run"].is_null(), "a summary whose run is no id:\n{self}");
                    let known = ["success", "partial", "failed", "refused", "aborted"];
                    assert!(line["status"].as_str().is_some_and(|status| known.contains(&status)), "an unknown status:\n{self}");
                    assert_eq!(line["exit"].as_i64(), self.code().map(i64::from), "the summary tells another exit status:\n{self}");
                }
                Some("error") => {
                    assert!(line["code"].is_string() && line["message"].is_string(), "an error without code or message:\n{self}");
                }
                Some(_) => {}
                None => panic!("a line without a type:\n{self}"),
            }
        }
        let ends_with_summary = lines.last().is_some_and(|line| line["type"] == "summary");
        assert!(ends_with_summary, "the last line is no summary:\n{self}");
        Json { ran: self, lines }
    }
}

/// The JSON lines of a program that ended.
#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) ran: Ran,
    pub(crate) lines: Vec<Value>,
}

impl Json {
    /// That it ended with this exit status.
    #[track_caller]
    pub(crate) fn expect(self, exit: i32) -> Self {
        Self { ran: self.ran.expect(exit), lines: self.lines }
    }

    /// The lines of one type.
    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["type"] == kind)
    }

    /// The last summary.
    #[track_caller]
    pub(crate) fn summary(&self) -> &Value {
        self.of("summary").last().unwrap()
    }

    /// A count of the last summary.
    #[track_caller]
    pub(crate) fn count(&self, field: &str) -> u64 {
        self.summary()[field].as_u64().unwrap_or_else(|| panic!("no count `{field}` in the summary:\n{}", self.ran))
    }

    /// The run of the last summary.
    #[track_caller]
    pub(crate) fn run(&self) -> i64 {
        self.summary()["run"].as_i64().unwrap_or_else(|| panic!("the summary names no run:\n{}", self.ran))
    }

    /// The code of the only error.
    #[track_caller]
    pub(crate) fn error_code(&self) -> &str {
        self.error()["code"].as_str().unwrap()
    }

    /// The only error.
    #[track_caller]
    pub(crate) fn error(&self) -> &Value {
        let errors: Vec<_> = self.of("error").collect();
        assert_eq!(errors.len(), 1, "not one error:\n{}", self.ran);
        errors[0]
    }

    /// What was said of one file.
    #[track_caller]
    pub(crate) fn file(&self, path: &str) -> &Value {
        let mut found = self.of("file").filter(|line| line["path"] == path);
        let file = found.next().unwrap_or_else(|| panic!("nothing was said of `{path}`:\n{}", self.ran));
        assert!(found.next().is_none(), "`{path}` was told of twice:\n{}", self.ran);
        file
    }

    /// The causes that were named for one file: `cause`, or `cause@destination`.
    #[track_caller]
    pub(crate) fn causes(&self, path: &str) -> Vec<String> {
        let causes = self.file(path)["causes"].as_array().unwrap();
        let name = |cause: &Value| match cause["destination"].as_str() {
            Some(destination) => format!("{}@{destination}", cause["cause"].as_str().unwrap()),
            None => cause["cause"].as_str().unwrap().to_owned(),
        };
        causes.iter().map(name).collect()
    }
}

/// A program that still runs. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Background {
    pub(crate) arguments: Vec<String>,
    pub(crate) child: Option<Child>,
    /// Files, so that it never waits for somebody to read.
    pub(crate) stdout: File,
    pub(crate) stderr: File,
}

impl Background {
    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    /// Its process id.
    pub(crate) fn pid(&mut self) -> u32 {
        self.child().id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child().try_wait().unwrap().is_none()
    }

    /// Sends a signal to this process alone.
    pub(crate) fn signal(&mut self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(self.child()), signal).unwrap();
    }

    /// What it wrote to stderr so far.
    pub(crate) fn stderr_so_far(&mut self) -> String {
        read(&mut self.stderr)
    }

    /// Kills it at once, as a power cut would, and says what it did until then.
    #[track_caller]
    pub(crate) fn kill(mut self) -> Ran {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Ran {
        let name = format!("`lastcopy {}` ended", self.arguments.join(" "));
        wait_for(&name, || !self.is_running());
        let status = self.child.take().unwrap().wait().unwrap();
        let (stdout, stderr) = (read(&mut self.stdout), read(&mut self.stderr));
        Ran { arguments: std::mem::take(&mut self.arguments), status, stdout, stderr }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

fn read(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What was shown at a terminal was read there.
    if file.rewind().is_err() {
        return String::new();
    }
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
