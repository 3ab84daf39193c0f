//! Child programs, with the time that they took and the memory that they needed.

use crate::cargo::line;
use anyhow::{Context, Result, ensure};
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Between two looks at what a program holds.
const LOOK: Duration = Duration::from_millis(5);

/// What a program needed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    pub(crate) seconds: f64,
    /// The most memory that it held at once. A child begins with what this program holds, so less than that is never seen.
    pub(crate) peak_mib: f64,
}

/// A program that is told nothing and whose output nobody wants.
pub(crate) fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs a program that has to succeed.
pub(crate) fn timed(command: &mut Command) -> Result<Ran> {
    let mut errors = tempfile::tempfile()?;
    command.stderr(errors.try_clone()?);
    let began = Instant::now();
    let child = command.spawn().with_context(|| format!("cannot run {}", line(command)))?;
    let (status, peak_mib) = wait(child.id()).with_context(|| line(command))?;
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        let mut text = String::new();
        std::io::Seek::rewind(&mut errors)?;
        errors.read_to_string(&mut text)?;
        ensure!(false, "{} ended with {status}:\n{text}", line(command));
    }
    Ok(Ran { seconds, peak_mib })
}

/// Runs a program that has to succeed, and watches what it holds itself: what [`timed`] says of memory counts whatever it starts, too.
pub(crate) fn timed_alone(command: &mut Command) -> Result<Ran> {
    let began = Instant::now();
    let mut child = command.stderr(Stdio::null()).spawn().with_context(|| format!("cannot run {}", line(command)))?;
    let status = format!("/proc/{}/status", child.id());
    let mut peak_mib: f64 = 0.0;
    let ended = loop {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        peak_mib = peak_mib.max(kib.unwrap_or(0.0) / 1024.0);
        if let Some(ended) = child.try_wait()? {
            break ended;
        }
        std::thread::sleep(LOOK);
    };
    ensure!(ended.success(), "{} ended with {ended}", line(command));
    Ok(Ran { seconds: began.elapsed().as_secs_f64(), peak_mib })
}

/// Waits for one child, as the standard library does, but also asks what it needed.
fn wait(child: u32) -> Result<(ExitStatus, f64)> {
    let child = libc::pid_t::try_from(child)?;
    let mut status = 0;
    #[expect(unsafe_code, reason = "a structure of integers, for which all zeros is a value")]
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        #[expect(unsafe_code, reason = "wait4(2) writes to the two places that it is given, and both outlive the call")]
        let waited = unsafe { libc::wait4(child, &raw mut status, 0, &raw mut usage) };
        if waited == child {
            return Ok((ExitStatus::from_raw(status), usage.ru_maxrss as f64 / 1024.0));
        }
        let error = std::io::Error::last_os_error();
        ensure!(error.kind() == std::io::ErrorKind::Interrupted, "cannot wait for a child: {error}");
    }
}
