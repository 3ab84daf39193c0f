//! What people read: help, completions, the manual page, colours, closed pipes, and that nobody is asked without a terminal.

use crate::home::{Home, Setup};
use crate::ran::Ran;
use crate::skip::{missing_program, skipped};
use crate::tree::noise;
use std::fs;
use std::process::{Command, Stdio};

fn pushed() -> Home {
    let home = Home::new(&Setup::usual());
    for name in ["a", "b", "c"] {
        home.write("photos", name, &noise(name, 1000));
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

/// The commands that the help of a command lists.
fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // Further lines of a description are indented deeper.
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.map(|line| line.split_whitespace().next().unwrap().to_owned()).collect()
}

/// Asks for the help of a command and of all below it; returns how many there are.
fn all_help(home: &Home, command: &[&str]) -> usize {
    let short = home.run(&[command, &["-h"]].concat()).expect(0);
    let long = home.run(&[command, &["--help"]].concat()).expect(0);
    for help in [&short, &long] {
        assert!(help.stdout.contains("Usage: lastcopy") && help.stdout.contains("--json"), "{help}");
        assert_eq!(help.stderr, "");
        assert!(help.stdout.lines().all(|line| line.chars().count() <= 100), "a line is too long:\n{help}");
    }
    let below = subcommands(&short.stdout);
    1 + below.iter().map(|name| all_help(home, &[command, &[name]].concat())).sum::<usize>()
}

#[test]
fn every_command_has_help() {
    let home = Home::empty();
    let commands = all_help(&home, &[]);
    assert!(commands > 40, "only {commands} commands were found");
    assert!(!home.path("data").exists() && !home.path("config").exists(), "asking for help made something");
    let version = home.run(&["--version"]).expect(0);
    assert_eq!(version.stdout, format!("lastcopy {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_parse() {
    let home = Home::empty();
    for (shell, program) in [("bash", "bash"), ("zsh", "zsh"), ("fish", "fish")] {
        let script = home.run(&["completions", shell]).expect(0).stdout;
        assert!(script.contains("offload") && script.contains("older-than"), "{shell}");
        assert!(script.contains("progress") && !script.contains("reference"), "{shell}: what is hidden is completed");
        if missing_program(&[program]).is_some() {
            skipped("words::completions_parse", &format!("{program} is not installed"));
            continue;
        }
        let file = home.path(&format!("completions.{shell}"));
        fs::write(&file, script).unwrap();
        let parsed = Command::new(program).arg("-n").arg(&file).output().unwrap();
        assert!(parsed.status.success() && parsed.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&parsed.stderr));
    }
    home.run(&["completions", "csh"]).expect(2);
}

#[test]
fn the_manual_page_is_one() {
    let home = Home::empty();
    let page = home.run(&["man"]).expect(0).stdout;
    assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{}", page.lines().next().unwrap_or_default());
    for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS"] {
        assert!(page.contains(section), "no {section}");
    }
    // Those of the commands, which it names.
    let page = home.run(&["man", "destination", "init"]).expect(0).stdout;
    assert!(page.contains("lastcopy destination init") || page.contains("lastcopy\\-destination\\-init"), "{page}");
    assert!(page.contains("the only command that may"), "{page}");
    home.run(&["man", "destination", "nothing"]).expect(2);
}

/// Colours only where they are wanted: never in a file or a pipe by themselves.
#[test]
fn colours() {
    let home = pushed();
    let run = |arguments: &[&str], no_color: bool| {
        let mut command = home.command(arguments);
        if !no_color {
            command.env_remove("NO_COLOR");
        }
        home.spawn_at(command, arguments, tempfile::tempfile().unwrap()).wait()
    };
    let coloured = |ran: &Ran| ran.stdout.contains('\x1b') || ran.stderr.contains('\x1b');
    for arguments in [&["status"] as &[&str], &["offload", "photos", "nothing"], &["status", "--help"]] {
        assert!(!coloured(&run(arguments, false)), "into a pipe: {arguments:?}");
        assert!(!coloured(&run(&[&["--color", "never"], arguments].concat(), false)), "although never: {arguments:?}");
    }
    for arguments in [&["status"] as &[&str], &["offload", "photos", "nothing"]] {
        assert!(coloured(&run(&[&["--color", "always"], arguments].concat(), false)), "not although always: {arguments:?}");
    }
    let json = run(&["--color", "always", "--json", "status"], false);
    assert!(!json.stdout.contains('\x1b'), "colours in JSON");
}

/// Whoever reads may stop reading: that is no error, and the work is done all the same.
#[test]
fn a_closed_pipe_is_not_a_crash() {
    let home = pushed();
    for (arguments, exit) in [
        (&["status"] as &[&str], 0),
        (&["runs"], 0),
        (&["--json", "runs"], 0),
        (&["db", "schema"], 0),
        (&["man"], 0),
        (&["completions", "bash"], 0),
        (&["--help"], 0),
        (&["explain", "volumes/photos"], 0),
        (&["--json", "offload", "photos", ".", "--yes"], 0),
        (&["restore", "photos"], 0),
    ] {
        let mut child = home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("Broken pipe"), "{arguments:?}: {said}");
    }
    assert_eq!(home.tree("photos").len(), 3, "the offload and the restore were not done");
}

#[test]
fn progress_can_be_turned_off() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    for command in ["index", "sync", "verify"] {
        let ran = home.run(&["--progress", "never", command]).expect(0);
        assert!(!ran.stderr.contains('\r') && !ran.stderr.contains('%'), "{ran}");
        assert!(!ran.stdout.is_empty());
    }
    home.run(&["--progress", "loud", "index"]).expect(2);
}

/// Without a terminal nobody is asked: what deletes or forgets needs `--yes`, says so, and does nothing.
#[test]
fn nobody_is_asked_without_a_terminal() {
    let home = pushed();
    let backup = home.path("backup.db");
    home.run(&["db", "backup", backup.to_str().unwrap()]).expect(0);
    let other = Home::empty();
    let url = home.url("usb");
    let before = home.still();
    for command in [
        &["offload", "photos", "."] as &[&str],
        &["destination", "reset", "usb", "--reason", "r"],
        &["destination", "adopt", "usb", "--reason", "r"],
        &["evidence", "rewind", "photos", "usb", "--to", "0", "--reason", "r"],
        &["db", "restore", backup.to_str().unwrap()],
    ] {
        let json = home.json(command).expect(2);
        assert_eq!(json.error_code(), "usage", "{command:?}");
        assert!(json.error()["hint"].as_str().unwrap().contains("--yes"), "{}", json.ran);
        let ran = home.run(command).expect(2);
        assert!(ran.stderr.contains("--yes"), "{ran}");
    }
    home.assert_still(&before);
    let json = other.json(&["recover", "--from", &url]).expect(2);
    assert!(json.error()["hint"].as_str().unwrap().contains("--yes"), "{}", json.ran);
    assert!(!other.index().exists());
}

/// A time was UTC, and said nothing of it, wherever the person was.
#[test]
fn times_are_the_persons_own() {
    const TEST: &str = "words::times_are_the_persons_own";
    let home = pushed();
    let runs = |zone: &str| {
        let mut command = home.command(&["runs"]);
        command.env("TZ", zone);
        home.spawn_at(command, &["runs"], tempfile::tempfile().unwrap()).wait().expect(0).stdout
    };
    let started = home.json(&["runs"]).expect(0).of("run").next().unwrap()["started"].as_str().unwrap().to_owned();
    assert!(started.ends_with('Z'), "JSON is UTC everywhere: {started}");
    let started: jiff::Timestamp = started.parse().unwrap();
    let shown = |hours| jiff::tz::Offset::constant(hours).to_datetime(started).strftime("%Y-%m-%d %H:%M").to_string();
    let here = runs("UTC");
    assert!(here.contains(&format!("{} UTC ", shown(0))), "{here}");
    let nowhere = runs("No/Where");
    assert!(nowhere.contains(&format!("{} UTC ", shown(0))), "{nowhere}");
    if !std::path::Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        return skipped(TEST, "no time zones are installed");
    }
    let tokyo = runs("Asia/Tokyo");
    assert!(tokyo.contains(&format!("{}  ", shown(9))) && !tokyo.contains("UTC"), "{tokyo}");
}
