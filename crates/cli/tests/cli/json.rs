//! `--json`: every command writes JSON lines and nothing else on stdout, with the fields that tools rely on.

use crate::home::{Home, Setup};
use crate::ran::Json;
use crate::tree::{flip_bit, noise};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A name that is not UTF-8, as bytes, as JSON shows it, and in base64.
const RAW: (&[u8], &str, &str) = (b"raw \xff\xfe", "raw \u{fffd}\u{fffd}", "cmF3IP/+");

/// That a line has fields of some types, written `name:type`; a type that ends with `?` may be null.
#[track_caller]
fn assert_fields(line: &Value, fields: &str) {
    for field in fields.split_whitespace() {
        let (name, kind) = field.split_once(':').unwrap();
        let value = line.get(name).unwrap_or_else(|| panic!("no field `{name}` in {line}"));
        let (kind, optional) = kind.strip_suffix('?').map_or((kind, false), |kind| (kind, true));
        let fits = match kind {
            _ if optional && value.is_null() => true,
            "text" => value.is_string(),
            "time" => value.as_str().is_some_and(is_time),
            "hash" => value.as_str().is_some_and(|text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit())),
            "count" => value.is_u64(),
            "flag" => value.is_boolean(),
            "list" => value.is_array(),
            "runs" => value.as_object().is_some_and(|runs| runs.values().all(Value::is_u64)),
            "object" => value.is_object(),
            other => panic!("no type `{other}`"),
        };
        assert!(fits, "`{name}` is no {kind} in {line}");
    }
}

/// RFC 3339, UTC.
fn is_time(text: &str) -> bool {
    let shape: String = text.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
    let fraction = shape.strip_prefix("0000-00-00T00:00:00").and_then(|rest| rest.strip_suffix('Z'));
    fraction.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') && rest[1..].bytes().all(|digit| digit == b'0'))
}

#[track_caller]
fn assert_summary(json: &Json, fields: &str) {
    assert!(json.of("summary").count() > 0);
    for summary in json.of("summary") {
        assert_fields(summary, "command:text status:text exit:count run:count? schema:count");
        assert_fields(summary, fields);
    }
}

#[track_caller]
fn assert_lines(json: &Json, kind: &str, fields: &str) {
    assert!(json.of(kind).count() > 0, "no line of type `{kind}`:\n{}", json.ran);
    json.of(kind).for_each(|line| assert_fields(line, fields));
}

/// A home in which there is something of everything to tell of: an odd name, twins, a proven file, a damaged copy and so an alarm, a
/// file that was offloaded, one that is missing, a hook that ran.
fn eventful() -> Home {
    let home = Home::new(&Setup::usual().volume_lines("photos", "hook = { command = [\"true\"] }"));
    for name in ["a", "b", "twin 1", "twin 2", "gone", "offloaded", "damaged"] {
        home.write("photos", name, &noise(name.trim_end_matches(|c: char| c.is_ascii_digit()), 1000));
    }
    crate::tree::write(&home.volume("photos").join(OsStr::from_bytes(RAW.0)), b"raw");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "offloaded", "--yes"]).expect(0);
    std::fs::remove_file(home.volume("photos").join("gone")).unwrap();
    home.run(&["index"]).expect(0);
    flip_bit(&home.object("usb", &noise("damaged", 1000)));
    home.run(&["verify"]).expect(1);
    home
}

#[test]
fn what_changes_something() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"bytes");
    crate::tree::write(&home.volume("photos").join(OsStr::from_bytes(RAW.0)), b"raw");

    let index = home.json(&["index"]).expect(0);
    assert_summary(
        &index,
        "volume:text files:count added:count changed:count reappeared:count missing:count unchanged:count unstable:count
         skipped:count errors:count bytes_hashed:count excluded:count skipped_kinds:object",
    );
    let audit = home.json(&["audit", "--deep"]).expect(0);
    assert_summary(
        &audit,
        "volume:text files:count added:count changed:count missing:count unchanged:count damaged:count unstable:count
         skipped:count errors:count bytes_hashed:count",
    );
    let sync = home.json(&["sync"]).expect(0);
    assert_summary(
        &sync,
        "volume:text destination:text kind:text planned:count stored:count already:count verified:count drift:count
         excluded:count failed:count bytes:count advanced:flag horizon:runs vector:runs",
    );
    assert_eq!(sync.summary()["vector"]["node"], sync.summary()["horizon"]["node"]);
    let verify = home.json(&["verify"]).expect(0);
    assert_summary(&verify, "destination:text checked:count verified:count lost:count unverifiable:count bytes_read:count");

    let file = "volume:text path:text content:hash size:count outcome:text causes:list";
    let explain = home.json(&["explain", home.volume("photos").to_str().unwrap()]).expect(0);
    assert_lines(&explain, "file", file);
    let offload_summary = "volume:text selected:count offloaded:count quarantined:count blocked:count drift:count errors:count
        bytes_freed:count dry_run:flag";
    let rehearsed = home.json(&["offload", "photos", ".", "--dry-run"]).expect(0);
    assert_summary(&rehearsed, offload_summary);
    assert_lines(&rehearsed, "file", file);
    assert_eq!(rehearsed.file(RAW.1)["path_bytes"], RAW.2);
    assert_eq!(rehearsed.file("a")["path_bytes"], Value::Null);
    assert_eq!(rehearsed.file("a")["outcome"], "would-offload");
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(0);
    assert_summary(&offload, offload_summary);
    assert_lines(&offload, "file", file);
    assert_eq!(offload.file(RAW.1)["path_bytes"], RAW.2);
    let restore = home.json(&["restore", "photos"]).expect(0);
    assert_summary(&restore, "volume:text from:text restored:count already:count refused:count bytes:count");
    // What is refused says the same, and why.
    let blocked = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_lines(&blocked, "file", file);
    for cause in blocked.of("file").flat_map(|line| line["causes"].as_array().unwrap()) {
        assert_fields(cause, "destination:text? cause:text detail:text fix:text");
    }
}

#[test]
fn what_is_asked() {
    let home = eventful();
    let status = home.json(&["status"]).expect(1);
    assert_lines(
        &status,
        "status",
        "volume:text destination:text? level:text covered:count total:count method:text? last_push:time? last_verified:time?
         offloadable_files:count offloadable_bytes:count next:text?",
    );
    assert_eq!(status.of("status").count(), 2, "one for the volume, one for it at the destination");
    let run = "id:count kind:text volume:text? destination:text? status:text started:time ended:time? error:text? owner:text";
    let runs = home.json(&["runs"]).expect(0);
    assert_lines(&runs, "run", run);
    let newest = runs.of("run").next().unwrap()["id"].to_string();
    assert_lines(&home.json(&["runs", &newest]).expect(0), "run", run);
    let hooks = home.json(&["hooks"]).expect(0);
    assert_lines(&hooks, "hook", "id:count run:count volume:text status:text started:time ended:time? detail:text?");
    let alarms = home.json(&["alarms"]).expect(1);
    assert_lines(
        &alarms,
        "alarm",
        "id:count kind:text destination:text? content:hash? volume:text path:text detail:text raised:time run:count fix:text",
    );
    let evidence = home.json(&["evidence", "show"]).expect(0);
    assert_lines(
        &evidence,
        "evidence",
        "volume:text destination:text generation:count vector:runs verified:count stored:count lost:count",
    );
    let log = home.json(&["evidence", "log"]).expect(0);
    assert_lines(&log, "evidence", "at:time event:text volume:text? destination:text? run:count? before:count? after:count?");
    let file = "volume:text path:text content:hash size:count status:text present_since:count";
    let copy = "content:hash destination:text state:text level:text method:text verified_at:time? checked_at:time lost_at:time?";
    let query = home.json(&["query", home.volume("photos").join("a").to_str().unwrap()]).expect(0);
    assert_lines(&query, "file", file);
    assert_lines(&query, "copy", copy);
    let hash = query.of("file").next().unwrap()["content"].as_str().unwrap().to_owned();
    assert_lines(&home.json(&["query", &hash]).expect(0), "copy", copy);
    for (which, count) in [("--duplicates", 2), ("--missing", 1), ("--offloaded", 1)] {
        let listed = home.json(&["query", which]).expect(0);
        assert_lines(&listed, "file", file);
        assert_eq!(listed.of("file").count(), count, "{which}");
    }
    assert_lines(&home.json(&["volume", "list"]).expect(0), "volume", "volume:text path:text id:text present:count state:text");
    assert_lines(
        &home.json(&["destination", "list"]).expect(0),
        "destination",
        "destination:text kind:text url:text? initialised:flag",
    );
    assert_lines(
        &home.json(&["destination", "probe", "usb"]).expect(0),
        "destination",
        "answer:text incarnation:text? accepted:flag",
    );
    assert_lines(&home.json(&["config", "check"]), "volume", "volume:text path:text problems:list");
    assert_lines(
        &home.json(&["policy", "show"]).expect(0),
        "policy",
        "volume:text configured:object? accepted:object? weaker:list",
    );
    assert_lines(&home.json(&["db", "schema"]).expect(0), "schema", "sql:text");
    assert_summary(&home.json(&["db", "check"]).expect(0), "problems:count");
    assert_lines(&home.json(&["destination", "test", "usb"]).expect(0), "check", "name:text passed:flag");
    for command in [&["completions", "bash"] as &[&str], &["man"]] {
        assert_lines(&home.json(command).expect(0), "text", "text:text");
    }
}

/// The rest of the commands, each of which must at least keep to the form; [`Json`] checks it.
#[test]
fn every_other_command_keeps_to_the_form() {
    let home = eventful();
    let (backup, url) = (home.path("backup.db"), home.url("usb"));
    let backup = backup.to_str().unwrap();
    let alarm = home.json(&["alarms"]).of("alarm").next().unwrap()["id"].to_string();
    for (command, exit) in [
        (&["db", "backup", backup] as &[&str], 0),
        (&["db", "restore", backup, "--dry-run"], 0),
        (&["destination", "repair", "usb", "--dry-run"], 0),
        (&["destination", "reset", "usb", "--dry-run"], 0),
        (&["destination", "adopt", "usb", "--dry-run"], 0),
        (&["destination", "compact", "usb"], 3),
        (&["destination", "init", "usb"], 0),
        (&["evidence", "rewind", "photos", "usb", "--to", "0", "--dry-run"], 0),
        (&["policy", "accept", "photos", "--reason", "r"], 0),
        (&["volume", "move", "photos", home.volume("photos").to_str().unwrap()], 0),
        (&["recover", "--from", &url, "--dry-run"], 3),
        (&["alarms", "ack", &alarm, "--dry-run"], 0),
        (&["alarms", "ack", &alarm, "--yes"], 0),
        (&["destination", "repair", "usb", "--yes"], 0),
        (&["evidence", "rewind", "photos", "usb", "--to", "0", "--reason", "r", "--yes"], 0),
        (&["destination", "reset", "usb", "--reason", "r", "--yes"], 0),
        (&["destination", "adopt", "usb", "--reason", "r", "--yes"], 0),
        (&["db", "restore", backup, "--yes"], 0),
        (&["runs", "abort", "1"], 3),
    ] {
        let json = home.json(command);
        assert_eq!(json.ran.code(), Some(exit), "{}", json.ran);
        assert_summary(&json, "");
        assert_eq!(json.summary()["command"], command[0]);
    }
}

/// How many were listed stands in the summary, so that nobody has to count lines.
#[test]
fn a_listing_tells_how_many() {
    let home = eventful();
    for (command, kind, field) in [
        (&["runs"] as &[&str], "run", "runs"),
        (&["hooks"], "hook", "hooks"),
        (&["volume", "list"], "volume", "volumes"),
        (&["destination", "list"], "destination", "destinations"),
        (&["evidence", "show"], "evidence", "vectors"),
        (&["evidence", "log"], "evidence", "events"),
    ] {
        let listed = home.json(command).expect(0);
        let count = listed.of(kind).count() as u64;
        assert!(count > 0);
        assert_eq!(listed.count(field), count, "{}", listed.ran);
    }
}

/// A line that cannot be parsed: only the first of the lines that say what is wrong was told, and it ended with a colon.
#[test]
fn a_line_that_is_none_is_told_whole() {
    let home = Home::empty();
    for (line, command, message, hint) in [
        (
            &["offload"] as &[&str],
            "offload",
            "the following required arguments were not provided: <VOLUME>",
            "`lastcopy offload --help` shows what there is",
        ),
        (
            &["volume", "add"],
            "volume",
            "the following required arguments were not provided: <NAME>, <PATH>",
            "`lastcopy volume --help` shows what there is",
        ),
        (&["volume"], "volume", "`lastcopy volume` does nothing by itself", "`lastcopy volume --help` shows what there is"),
        (
            &["indexx", "photos"],
            "",
            "unrecognized subcommand 'indexx'",
            "a similar subcommand exists: 'index'; `lastcopy --help` shows what there is",
        ),
        (
            &["--yes", "verify", "--budget", "much"],
            "verify",
            "invalid value 'much' for '--budget <SIZE>': ",
            "`lastcopy verify --help` shows what there is",
        ),
    ] {
        let json = home.json(line).expect(2);
        assert_eq!(json.summary()["command"], command, "{}", json.ran);
        assert_eq!(json.error_code(), "usage");
        let said = json.error()["message"].as_str().unwrap();
        assert!(said == message || message.ends_with(": ") && said.starts_with(message), "{}", json.ran);
        assert_eq!(json.error()["hint"], hint, "{}", json.ran);
    }
}

/// An error is a line of its own, before the summaries.
#[test]
fn errors() {
    let home = eventful();
    for (command, exit, code) in [
        (&["nonsense"] as &[&str], 2, "usage"),
        (&[], 2, "usage"),
        (&["index", "--nonsense"], 2, "usage"),
        (&["verify", "--budget", "much"], 2, "usage"),
        (&["index", "music"], 2, "not-found"),
        (&["offload", "photos", "--yes"], 2, "usage"),
        (&["destination", "compact", "usb"], 3, "unsupported"),
        (&["runs", "9999"], 2, "not-found"),
    ] {
        let json = home.json(command).expect(exit);
        assert_eq!(json.error_code(), code);
        assert_lines(&json, "error", "code:text message:text hint:text");
        let place = |kind: &str| json.lines.iter().position(|line| line["type"] == kind).unwrap();
        assert!(place("error") < place("summary"), "{}", json.ran);
        assert_eq!(json.ran.stderr, "", "an error was told twice");
    }
}
