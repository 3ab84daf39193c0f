//! The program at a terminal, with somebody there to answer.

use crate::home::{Home, Setup};
use crate::ran::{Ran, wait_for};
use crate::tree::assert_same_tree;
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;

/// Runs the program with a terminal as stdin and stderr. Once it has asked `question`, `answer` is typed.
#[track_caller]
fn at_terminal(home: &Home, arguments: &[&str], question: &str, answer: &str) -> (Ran, String) {
    watched(home, arguments, question, |person| person.write_all(answer.as_bytes()).unwrap())
}

/// The same; once something is shown, something is done.
#[track_caller]
fn watched(home: &Home, arguments: &[&str], awaited: &str, act: impl FnOnce(&mut File)) -> (Ran, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let terminal = File::options().read(true).write(true).open(std::ffi::OsStr::from_bytes(name.to_bytes())).unwrap();
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK).unwrap();
    let mut person = File::from(master);

    let mut command = home.command(arguments);
    command.stdin(terminal.try_clone().unwrap()).env("TERM", "xterm");
    let mut running = home.spawn_at(command, arguments, terminal.try_clone().unwrap());
    let mut shown = Vec::new();
    let mut look = |shown: &mut Vec<u8>| {
        let mut bytes = [0; 4096];
        while let Ok(count) = person.read(&mut bytes) {
            shown.extend_from_slice(&bytes[..count]);
            if count == 0 {
                break;
            }
        }
        String::from_utf8_lossy(shown).contains(awaited)
    };
    wait_for(&format!("it shows `{awaited}`"), || look(&mut shown) || !running.is_running());
    act(&mut person);
    let ran = running.wait();
    // The terminal is still open here, so that what was written last can be read.
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = person.read(&mut bytes) {
        shown.extend_from_slice(&bytes[..count]);
    }
    drop(terminal);
    (ran, String::from_utf8_lossy(&shown).into_owned())
}

#[test]
fn an_offload_asks_before_it_deletes() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let before = home.tree("photos");
    let offload = &["offload", "photos", "."];
    let (declined, shown) = at_terminal(&home, offload, "Delete 1 file (5B)", "n");
    declined.expect(3);
    assert!(shown.contains("nothing was changed"), "{shown}");
    assert_same_tree(&home.tree("photos"), &before);
    // Return alone is no yes.
    let (declined, _) = at_terminal(&home, offload, "Delete 1 file (5B)", "\r");
    declined.expect(3);
    assert_same_tree(&home.tree("photos"), &before);
    let (done, shown) = at_terminal(&home, offload, "Delete 1 file (5B)", "y");
    let done = done.expect(0);
    assert!(done.stdout.contains("1 file deleted"), "{done}\n{shown}");
    assert!(home.tree("photos").is_empty());
}

#[test]
fn a_reset_asks_for_a_reason_and_then_for_a_yes() {
    let home = Home::new(&Setup::usual());
    let (done, shown) = at_terminal(&home, &["destination", "reset", "usb"], "Reason", "it fell down\ry");
    done.expect(0);
    assert!(shown.contains("Take all evidence of `usb` for unproven?"), "{shown}");
    let log = home.json(&["evidence", "log"]).expect(0);
    let reset = log.of("evidence").find(|entry| entry["event"] == "reset").unwrap();
    assert_eq!(reset["reason"], "it fell down");
}

/// With files in quarantine whose grace was over, "Delete 1 file?" deleted those as well; and under a grace, the one file was not
/// deleted at all.
#[test]
fn an_offload_names_what_goes_now_and_what_waits() {
    let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1ms\""));
    home.write("photos", "a", b"bytes");
    home.write("photos", "b", b"other bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let (done, _) = at_terminal(&home, &["offload", "photos", "a"], "Move 1 file (5B) aside for 1ms in volume `photos`", "y");
    done.expect(0);
    wait_for("the grace is over", || home.json(&["offload", "photos", "--dry-run"]).count("offloaded") == 1);
    let question = "Delete 1 file (5B) in quarantine of volume `photos` here, and move 1 file (11B) aside for 1ms?";
    let (done, shown) = at_terminal(&home, &["offload", "photos", "b"], question, "y");
    assert!(shown.contains(question), "{shown}");
    let done = done.expect(0);
    assert!(done.stdout.contains("1 file deleted") && done.stdout.contains("1 file waits in quarantine"), "{done}");
}

/// An acknowledged rollback forgets what was remembered of the destination's pushes: that was done without a question.
#[test]
fn an_acknowledgement_asks_before_it_forgets() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    std::fs::remove_file(home.object("usb", b"bytes")).unwrap();
    home.run(&["verify"]).expect(1);
    let (declined, _) = at_terminal(&home, &["alarms", "ack", "1"], "Acknowledge alarm 1?", "n");
    declined.expect(3);
    home.run(&["alarms"]).expect(1);
    let (done, _) = at_terminal(&home, &["alarms", "ack", "1"], "Acknowledge alarm 1?", "y");
    done.expect(0);
    home.run(&["alarms"]).expect(0);
}

/// What was told while a bar was on the terminal stood behind it, and the bar went only afterwards.
#[test]
fn a_bar_is_taken_away_before_anything_is_told() {
    let home = Home::empty();
    let gate = home.path("gate");
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let script = format!("read line < '{}'; exit 1", gate.display());
    home.configure(&Setup::usual().volume_lines("photos", &format!("hook = {{ command = [\"sh\", \"-c\", {script:?}] }}")));
    home.write("photos", "a", b"bytes");
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    // The hook waits, so that the bar comes.
    let (ran, shown) = watched(&home, &["index"], "hashing", |_| std::fs::write(&gate, "go\n").unwrap());
    ran.expect(0);
    assert!(shown.contains("5B/5B"), "{shown:?}");
    let (before, _) = shown.split_once("warning").unwrap();
    assert!(before.ends_with("\r\u{1b}[2K") || before.ends_with('\n'), "{shown:?}");
}
