//! A volume's hook: when it runs, what it is told, and that it can neither hold up nor break anything.

use crate::home::{Home, Setup};
use crate::ran::{Json, wait_for};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A home whose hook is a shell script that runs in the home, with some more lines for its section.
fn hooked(script: &str, lines: &str) -> Home {
    let home = Home::new(&Setup::usual());
    let script = format!("cd '{}'\n{script}", home.path("").display());
    fs::write(home.path("hook.sh"), script).unwrap();
    let hook = format!("[volumes.photos.hook]\ncommand = [\"sh\", {:?}]\n{lines}\n", home.path("hook.sh"));
    home.configure(&Setup::usual().no_policy("photos").volume_lines("photos", &hook));
    home
}

/// Statuses and details of the hook runs, newest first.
fn hook_runs(home: &Home) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let hooks = home.json(&["hooks"]).expect(0);
    hooks.of("hook").map(|hook| (text(&hook["status"]), text(&hook["detail"]))).collect()
}

fn statuses(home: &Home) -> Vec<String> {
    hook_runs(home).into_iter().map(|(status, _)| status).collect()
}

fn index(home: &Home) -> Json {
    home.json(&["index"]).expect(0)
}

#[test]
fn it_runs_after_a_change_and_is_told_of_it() {
    let home = hooked(
        "printf '%s|%s|%s|%s\\n' \"$LASTCOPY_VOLUME\" \"$LASTCOPY_PATH\" \"$LASTCOPY_RUN\" \"$LASTCOPY_CHANGED\" >> told",
        "",
    );
    let told = || fs::read_to_string(home.path("told")).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>();
    let expected = |run: &Json, changed: u64| format!("photos|{}|{}|{changed}", home.volume("photos").display(), run.run());
    index(&home);
    assert!(told().is_empty(), "an empty volume is no change");
    home.write("photos", "a", b"a");
    home.write("photos", "b", b"b");
    let first = index(&home);
    assert_eq!(told(), [expected(&first, 2)]);
    index(&home);
    home.json(&["audit"]).expect(0);
    home.json(&["sync"]).expect(0);
    assert_eq!(told().len(), 1, "nothing had changed");
    home.write("photos", "a", b"changed");
    fs::remove_file(home.volume("photos").join("b")).unwrap();
    let second = index(&home);
    assert_eq!(told()[1], expected(&second, 2));
    // What is refused has changed nothing.
    fs::remove_file(home.volume("photos").join("a")).unwrap();
    home.json(&["index"]).expect(3);
    assert_eq!(told().len(), 2);

    let hooks = home.json(&["hooks"]).expect(0);
    let runs: Vec<_> = hooks.of("hook").map(|hook| (hook["run"].as_i64().unwrap(), hook["status"].as_str().unwrap())).collect();
    assert_eq!(runs, [(second.run(), "success"), (first.run(), "success")]);
    assert!(home.run(&["hooks"]).expect(0).stdout.contains("success"));
}

#[test]
fn its_failure_is_shown_and_breaks_nothing() {
    let home = hooked("echo said by the hook >&2; exit 3", "");
    home.write("photos", "a", b"a");
    let ran = home.run(&["index"]).expect(0);
    assert!(ran.stderr.contains("the hook of volume `photos` failed") && ran.stderr.contains("said by the hook"), "{ran}");
    assert_eq!(ran.stdout.lines().count(), 1, "the hook wrote into the results: {ran}");
    assert_eq!(hook_runs(&home), [("failed".to_owned(), "failed: exit status: 3".to_owned())]);

    let hook = "[volumes.photos.hook]\ncommand = [\"/no/such/program\"]\n";
    home.configure(&Setup::usual().volume_lines("photos", "").no_policy("photos").volume_lines("photos", hook));
    home.write("photos", "b", b"b");
    let ran = home.run(&["index"]).expect(0);
    assert!(ran.stderr.contains("/no/such/program"), "{ran}");
    assert_eq!(statuses(&home), ["failed", "failed"]);
    assert_eq!(index(&home).count("unchanged"), 2);
}

/// It ends, with what it started, when its time is over.
#[test]
fn it_does_not_run_for_ever() {
    let home = hooked("echo $$ > pid; sleep 1000 & echo $! > child; wait", "timeout = \"1s\"");
    home.write("photos", "a", b"a");
    let ran = home.run(&["index"]).expect(0);
    assert!(ran.stderr.contains("took longer than 1s"), "{ran}");
    assert_eq!(statuses(&home), ["timeout"]);
    for file in ["pid", "child"] {
        let pid = fs::read_to_string(home.path(file)).unwrap();
        wait_for("the hook and its child are gone", || is_gone(pid.trim()));
    }
}

/// Whether a process has ended; one that nobody waited for yet has, too.
fn is_gone(pid: &str) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with('Z'))
}

#[test]
fn it_never_runs_twice_at_a_time() {
    let home = hooked("echo begun >> begun; while [ ! -e release ]; do sleep 0.01; done", "");
    home.write("photos", "a", b"a");
    let first = home.spawn(&["index"]);
    wait_for("the hook runs", || home.path("begun").exists());
    // Its run is over: nobody has to wait for the hook.
    home.write("photos", "b", b"b");
    let second = home.run(&["index"]).expect(0);
    assert!(second.stderr.contains("still running"), "{second}");
    assert_eq!(statuses(&home), ["skipped", "running"]);
    home.json(&["sync"]).expect(0);
    fs::write(home.path("release"), b"").unwrap();
    first.wait().expect(0);
    assert_eq!(fs::read_to_string(home.path("begun")).unwrap(), "begun\n");
    assert_eq!(statuses(&home), ["skipped", "success"]);
    home.write("photos", "c", b"c");
    index(&home);
    assert_eq!(statuses(&home), ["success", "skipped", "success"]);
}

/// A hook whose `lastcopy` was killed is found dead by the next one, which runs.
#[test]
fn one_that_was_left_behind_stops_no_other() {
    let home = hooked("echo $$ >> pid; while [ ! -e release ]; do sleep 0.01; done", "");
    home.write("photos", "a", b"a");
    let first = home.spawn(&["index"]);
    wait_for("the hook runs", || fs::read_to_string(home.path("pid")).is_ok_and(|text| text.ends_with('\n')));
    first.kill().expect_killed();
    home.write("photos", "b", b"b");
    let second = home.spawn(&["index"]);
    wait_for("the next hook runs", || fs::read_to_string(home.path("pid")).unwrap().lines().count() == 2);
    fs::write(home.path("release"), b"").unwrap();
    second.wait().expect(0);
    assert_eq!(statuses(&home), ["success", "aborted"]);
}

#[test]
fn an_interrupt_ends_it() {
    let home = hooked("echo $$ > pid; sleep 1000", "");
    home.write("photos", "a", b"a");
    let mut first = home.spawn(&["index"]);
    wait_for("the hook runs", || fs::read_to_string(home.path("pid")).is_ok_and(|text| text.ends_with('\n')));
    first.signal(Signal::INT);
    first.wait();
    assert_eq!(statuses(&home), ["aborted"]);
    let pid = fs::read_to_string(home.path("pid")).unwrap();
    wait_for("the hook is gone", || is_gone(pid.trim()));
    // The run itself was over, and stays what it was.
    assert_eq!(index(&home).count("unchanged"), 1);
}

/// A daemon that a hook leaves behind would hold the locks of runs for ever, if it had inherited their descriptors.
#[test]
fn a_daemon_that_it_leaves_behind_holds_nothing() {
    let home = hooked("ls -l /proc/self/fd > descriptors; sleep 1000 > /dev/null 2>&1 & echo $! > pid", "");
    home.write("photos", "a", b"a");
    index(&home);
    let pid = fs::read_to_string(home.path("pid")).unwrap().trim().to_owned();
    assert!(!is_gone(&pid), "there is no daemon");
    let descriptors = fs::read_to_string(home.path("descriptors")).unwrap();
    assert!(!descriptors.contains("lastcopy") && !descriptors.contains("index.db"), "{descriptors}");
    let daemon = fs::read_dir(Path::new("/proc").join(&pid).join("fd")).unwrap();
    let held: Vec<_> = daemon.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok()).collect();
    assert!(held.iter().all(|path| !path.starts_with(home.path("data"))), "{held:?}");
    home.json(&["sync"]).expect(0);
    home.write("photos", "b", b"b");
    index(&home);
    assert_eq!(statuses(&home), ["success", "success"]);
    for pid in [pid, fs::read_to_string(home.path("pid")).unwrap().trim().to_owned()] {
        kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL).unwrap();
    }
}
