//! A volume's hook: runs when an index run changed something, never twice at a time, and not for ever.

use crate::app::App;
use crate::config::HookConfig;
use crate::error::Result;
use lastcopy_store::{HookStatus, RunId, Volume};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How often a running hook is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the hook and waits for it. Its failure is recorded and warned about; it changes nothing about the index run.
///
/// The hook inherits no descriptor of ours: a daemon that it leaves behind would hold the run's lock for ever.
pub(crate) fn run(app: &App, hook: &HookConfig, volume: &Volume, run: RunId, changed: u64) -> Result<()> {
    let Some(hook_run) = app.store()?.begin_hook(run, volume.id())? else {
        app.output.warn(&format!("the hook of volume `{}` is still running; it was not started again", volume.name()));
        return Ok(());
    };
    let (status, detail) = execute(app, hook, volume, run, changed);
    hook_run.finish(status, &detail)?;
    if status != HookStatus::Success {
        app.output.warn(&format!("the hook of volume `{}` {detail}", volume.name()));
    }
    Ok(())
}

fn execute(app: &App, hook: &HookConfig, volume: &Volume, run: RunId, changed: u64) -> (HookStatus, String) {
    // The configuration refuses an empty command.
    let Some((program, arguments)) = hook.command.split_first() else { return (HookStatus::Failed, "is empty".into()) };
    let spawned = Command::new(program)
        .args(arguments)
        .env("LASTCOPY_VOLUME", volume.name())
        .env("LASTCOPY_PATH", volume.path())
        .env("LASTCOPY_RUN", run.to_string())
        .env("LASTCOPY_CHANGED", changed.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .process_group(0)
        .spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => return (HookStatus::Failed, format!("could not be started: {program}: {error}")),
    };
    let until = Instant::now() + Duration::from_millis(u64::try_from(hook.timeout.ms).unwrap_or(u64::MAX));
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return (HookStatus::Success, "succeeded".into()),
            Ok(Some(status)) => return (HookStatus::Failed, format!("failed: {status}")),
            Ok(None) if Instant::now() >= until || app.cancel.is_cancelled() => break,
            Ok(None) => std::thread::sleep(LOOK),
            Err(error) => return (HookStatus::Failed, format!("could not be waited for: {error}")),
        }
    }
    end_group(&mut child);
    if app.cancel.is_cancelled() {
        (HookStatus::Aborted, "was interrupted".into())
    } else {
        (HookStatus::Timeout, format!("took longer than {}", hook.timeout))
    }
}

/// Ends the hook with all that it started in its process group.
fn end_group(child: &mut std::process::Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        // What is gone already needs no signal.
        _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    drop(child.wait());
}
