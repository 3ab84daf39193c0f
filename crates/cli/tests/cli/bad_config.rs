//! Configurations that cannot be used: each is refused when it is loaded, with file, line, column, a caret and the fix; nothing is made.

use crate::home::Home;
use insta::assert_snapshot;
use std::fs;

/// A configuration with nothing wrong, but that nothing of it exists yet.
const GOOD: &str = r#"
[volumes.photos]
path = "/photos"
sync_to = ["usb"]

[volumes.photos.offload]
require = ["usb"]

[destinations.usb]
kind = "cas"
url = "file:///usb"
"#;

/// What the program says about a configuration: for people as returned, for tools with the code `config` and the way out; and that
/// it made nothing.
#[track_caller]
pub(crate) fn refusal(home: &Home, text: &str) -> String {
    home.write_config(text);
    refusal_of_written(home)
}

#[track_caller]
fn refusal_of_written(home: &Home) -> String {
    let json = home.json(&["index"]).expect(2);
    assert_eq!(json.error_code(), "config");
    let (message, config) = (json.error()["message"].as_str().unwrap(), home.config().display().to_string());
    assert!(message.starts_with(&format!("{config}:")), "the message names no place: {message}");
    assert!(json.error()["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "nothing is said to help");
    for command in [&["status"] as &[&str], &["sync"], &["volume", "list"], &["runs"], &["offload", "photos", ".", "--yes"]] {
        home.run(command).expect(2);
    }
    let ran = home.run(&["index"]).expect(2);
    assert_eq!(ran.stdout, "");
    assert!(!home.path("data").exists(), "an index was made");
    ran.stderr.replace(&home.path("").display().to_string(), "HOME/")
}

/// The same for the usual configuration with something in place of something else.
#[track_caller]
pub(crate) fn refusal_with(what: &str, instead: &str) -> String {
    assert_eq!(GOOD.matches(what).count(), 1, "`{what}` does not say what to replace");
    refusal(&Home::empty(), &GOOD.replace(what, instead))
}

#[test]
fn the_usual_one_is_taken() {
    let home = Home::empty();
    home.write_config(GOOD);
    home.run(&["volume", "list"]).expect(0);
}

#[test]
fn unknown_keys() {
    assert_snapshot!(refusal_with("sync_to", "sync_too"), @r#"
    error: unknown field `sync_too`, expected one of `path`, `sync_to`, `exclude`, `cross_mounts`, `offload`, `hook`
     --> HOME/config/lastcopy/config.toml:4:1
      |
    4 | sync_too = ["usb"]
      | ^^^^^^^^
      |
    help: remove it, or see docs/configuration.md for the keys that there are
    "#);
    assert_snapshot!(refusal_with("[volumes.photos]\n", "[volume.photos]\n"), @r#"
    error: unknown field `volume`, expected one of `node`, `volumes`, `destinations`, `peers`
     --> HOME/config/lastcopy/config.toml:2:2
      |
    2 | [volume.photos]
      |  ^^^^^^
      |
    help: remove it, or see docs/configuration.md for the keys that there are
    "#);
    assert_snapshot!(refusal_with("require = ", "max_age = \"30d\"\nrequire = "), @r#"
    error: unknown field `max_age`, expected one of `require`, `at_least`, `max_evidence_age`, `confirm`, `grace`, `methods`, `any_filesystem`
     --> HOME/config/lastcopy/config.toml:7:1
      |
    7 | max_age = "30d"
      | ^^^^^^^
      |
    help: remove it, or see docs/configuration.md for the keys that there are
    "#);
    assert_snapshot!(refusal_with("url = ", "remotes = "), @r#"
    error: unknown field `remotes`, expected one of `kind`, `url`, `remote`, `rclone`, `verify`, `index_password`, `repository`, `options`, `config_file`, `password`, `program`, `transfers`, `checkers`, `bandwidth`, `stall_timeout`, `failure_domain`
      --> HOME/config/lastcopy/config.toml:11:1
       |
    11 | remotes = "file:///usb"
       | ^^^^^^^
       |
    help: remove it, or see docs/configuration.md for the keys that there are
    "#);
    assert_snapshot!(refusal_with("\n[destinations.usb]", "[volumes.photos.hook]\ncommand = [\"true\"]\nshell = true\n[destinations.usb]"), @r#"
    error: unknown field `shell`, expected `command` or `timeout`
      --> HOME/config/lastcopy/config.toml:10:1
       |
    10 | shell = true
       | ^^^^^
       |
    help: remove it, or see docs/configuration.md for the keys that there are
    "#);
    assert_snapshot!(refusal_with("\n[volumes.photos]\n", "[node]\nnmae = \"laptop\"\n[volumes.photos]\n"), @r#"
    error: unknown field `nmae`, expected `name` or `db`
     --> HOME/config/lastcopy/config.toml:2:1
      |
    2 | nmae = "laptop"
      | ^^^^
      |
    help: remove it, or see docs/configuration.md for the keys that there are
    "#);
}

#[test]
fn wrong_types() {
    assert_snapshot!(refusal_with("sync_to = [\"usb\"]", "sync_to = \"usb\""), @r#"
    error: invalid type: string "usb", expected a sequence
     --> HOME/config/lastcopy/config.toml:4:11
      |
    4 | sync_to = "usb"
      |           ^^^^^
      |
    help: docs/configuration.md says what kind of value belongs here
    "#);
    assert_snapshot!(refusal_with("\"/photos\"", "3"), @r#"
    error: invalid type: integer `3`, expected a string
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = 3
      |        ^
      |
    help: docs/configuration.md says what kind of value belongs here
    "#);
    assert_snapshot!(refusal_with("sync_to", "cross_mounts = \"yes\"\nsync_to"), @r#"
    error: invalid type: string "yes", expected a boolean
     --> HOME/config/lastcopy/config.toml:4:16
      |
    4 | cross_mounts = "yes"
      |                ^^^^^
      |
    help: docs/configuration.md says what kind of value belongs here
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "at_least = { count = -1, of = [\"usb\"] }"), @r#"
    error: invalid value: integer `-1`, expected usize
     --> HOME/config/lastcopy/config.toml:7:22
      |
    7 | at_least = { count = -1, of = ["usb"] }
      |                      ^^
      |
    help: docs/configuration.md shows every section with an example
    "#);
    assert_snapshot!(refusal_with("require = ", "max_evidence_age = 30\nrequire = "), @r#"
    error: invalid type: integer `30`, expected a string
     --> HOME/config/lastcopy/config.toml:7:20
      |
    7 | max_evidence_age = 30
      |                    ^^
      |
    help: docs/configuration.md says what kind of value belongs here
    "#);
    assert_snapshot!(refusal_with("\n[volumes.photos]\n", "volumes = 3\n[volume.photos]\n"), @r#"
    error: cannot extend value of type integer with a dotted key
     --> HOME/config/lastcopy/config.toml:6:2
      |
    6 | [volumes.photos.offload]
      |  ^^^^^^^
      |
    help: docs/configuration.md shows every section with an example
    "#);
}

#[test]
fn missing_values() {
    assert_snapshot!(refusal_with("path = \"/photos\"\n", ""), @r#"
    error: missing field `path`
     --> HOME/config/lastcopy/config.toml:2:1
      |
    2 | [volumes.photos]
      | ^^^^^^^^^^^^^^^^
      |
    help: add it; docs/configuration.md says what it means
    "#);
    assert_snapshot!(refusal_with("\"/photos\"", ""), @r#"
    error: string values must be quoted, expected literal string
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = 
      |        ^
      |
    help: docs/configuration.md shows every section with an example
    "#);
    assert_snapshot!(refusal_with("kind = \"cas\"\n", ""), @r#"
    error: missing field `kind`
     --> HOME/config/lastcopy/config.toml:9:1
      |
    9 | [destinations.usb]
      | ^^^^^^^^^^^^^^^^^^
      |
    help: add it; docs/configuration.md says what it means
    "#);
    assert_snapshot!(refusal_with("url = \"file:///usb\"\n", ""), @r#"
    error: destination `usb` has no `url`
     --> HOME/config/lastcopy/config.toml:9:15
      |
    9 | [destinations.usb]
      |               ^^^
      |
    help: add one, like url = "file:///media/usb/lastcopy"
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "at_least = { count = 1 }"), @r#"
    error: missing field `of`
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | at_least = { count = 1 }
      |            ^^^^^^^^^^^^^
      |
    help: add it; docs/configuration.md says what it means
    "#);
    assert_snapshot!(refusal_with("\n[destinations.usb]", "[volumes.photos.hook]\n[destinations.usb]"), @r#"
    error: missing field `command`
     --> HOME/config/lastcopy/config.toml:8:1
      |
    8 | [volumes.photos.hook]
      | ^^^^^^^^^^^^^^^^^^^^^
      |
    help: add it; docs/configuration.md says what it means
    "#);
    assert_snapshot!(refusal_with("\n[destinations.usb]", "[volumes.photos.hook]\ncommand = []\n[destinations.usb]"), @r#"
    error: the hook's command is empty
     --> HOME/config/lastcopy/config.toml:9:11
      |
    9 | command = []
      |           ^^
      |
    help: name a program and its arguments
    "#);
    assert_snapshot!(refusal_with("\n[volumes.photos]\n", "[node]\nname = \"\"\n[volumes.photos]\n"), @r#"
    error: the node's name is empty
     --> HOME/config/lastcopy/config.toml:2:8
      |
    2 | name = ""
      |        ^^
      |
    help: give it a name, or leave `name` out
    "#);
    assert_snapshot!(refusal_with("[destinations.usb]", "[destinations.usb"), @r#"
    error: unclosed table, expected `]`
     --> HOME/config/lastcopy/config.toml:9:18
      |
    9 | [destinations.usb
      |                  ^
      |
    help: docs/configuration.md shows every section with an example
    "#);
}

#[test]
fn duplicate_names() {
    assert_snapshot!(refusal_with("[destinations.usb]", "[volumes.photos]\npath = \"/other\"\n[destinations.usb]"), @r#"
    error: duplicate key
     --> HOME/config/lastcopy/config.toml:9:10
      |
    9 | [volumes.photos]
      |          ^^^^^^
      |
    help: each name may stand here once
    "#);
    assert_snapshot!(refusal_with("[\"usb\"]\n\n[volumes", "[\"usb\", \"usb\"]\n\n[volumes"), @r#"
    error: `usb` stands here twice
     --> HOME/config/lastcopy/config.toml:4:19
      |
    4 | sync_to = ["usb", "usb"]
      |                   ^^^^^
      |
    help: name each destination once
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "require = [\"usb\", \"usb\"]"), @r#"
    error: `usb` stands here twice
     --> HOME/config/lastcopy/config.toml:7:19
      |
    7 | require = ["usb", "usb"]
      |                   ^^^^^
      |
    help: name each destination once
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "at_least = { count = 1, of = [\"usb\", \"usb\"] }"), @r#"
    error: `usb` stands here twice
     --> HOME/config/lastcopy/config.toml:7:38
      |
    7 | at_least = { count = 1, of = ["usb", "usb"] }
      |                                      ^^^^^
      |
    help: name each destination once
    "#);
}

#[test]
fn names_that_are_none() {
    assert_snapshot!(refusal_with("[destinations.usb]", "[destinations.\"usb/two\"]\nkind = \"cas\"\nurl = \"file:///two\"\n[destinations.usb]"), @r#"
    error: `usb/two` is no name for a destination
     --> HOME/config/lastcopy/config.toml:9:15
      |
    9 | [destinations."usb/two"]
      |               ^^^^^^^^^
      |
    help: use letters, digits, `-`, `_` and `.`, at most 64 of them, not dots alone, and not `.lastcopy`
    "#);
    assert_snapshot!(refusal_with("[destinations.usb]", "[volumes.\"\"]\npath = \"/other\"\n[destinations.usb]"), @r#"
    error: `` is no name for a volume
     --> HOME/config/lastcopy/config.toml:9:10
      |
    9 | [volumes.""]
      |          ^^
      |
    help: use letters, digits, `-`, `_` and `.`, at most 64 of them, not dots alone, and not `.lastcopy`
    "#);
}

/// Destinations of kind `cas` have no secrets: where one would stand, nothing is taken for it, set or not; and no value is a variable.
#[test]
fn secrets_and_variables_stand_where_they_belong() {
    assert_snapshot!(refusal_with("url = ", "password = { env = \"LASTCOPY_UNSET\" }\nurl = "), @r#"
    error: `password` is for destinations of kind `kopia`
      --> HOME/config/lastcopy/config.toml:11:12
       |
    11 | password = { env = "LASTCOPY_UNSET" }
       |            ^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
    help: remove it, or set kind = "kopia"
    "#);
    assert_snapshot!(refusal_with("\"cas\"", "\"peer\""), @r#"
    error: this version of lastcopy has no destinations of kind `peer`
      --> HOME/config/lastcopy/config.toml:10:8
       |
    10 | kind = "peer"
       |        ^^^^^^
       |
    help: use "cas", a content-addressed store in a directory, "mirror", a tree at any place that rclone reaches, or "kopia", a repository of kopia's
    "#);
    assert_snapshot!(refusal_with("\"/photos\"", "\"$LASTCOPY_UNSET/photos\""), @r#"
    error: `$LASTCOPY_UNSET/photos`: the path of a volume is relative
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = "$LASTCOPY_UNSET/photos"
      |        ^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started
    "#);
    assert_snapshot!(refusal_with("\"file:///usb\"", "\"file://${LASTCOPY_UNSET}/usb\""), @r#"
    error: `file://${LASTCOPY_UNSET}/usb` is a relative path
      --> HOME/config/lastcopy/config.toml:11:7
       |
    11 | url = "file://${LASTCOPY_UNSET}/usb"
       |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
       |
    help: write an absolute path after `file://`, like "file:///media/usb/lastcopy"
    "#);
    assert_snapshot!(refusal_with("[destinations.usb]", "[peers.nas]\naddress = \"nas:7443\"\n[destinations.usb]"), @r#"
    error: this version of lastcopy has no peers
     --> HOME/config/lastcopy/config.toml:9:8
      |
    9 | [peers.nas]
      |        ^^^
      |
    help: remove the section; destinations of kind `cas` work today
    "#);
}

#[test]
fn policies_that_can_never_be_satisfied() {
    assert_snapshot!(refusal_with("require = [\"usb\"]", "require = [\"usb\", \"nas\"]"), @r#"
    error: there is no destination `nas`
     --> HOME/config/lastcopy/config.toml:7:19
      |
    7 | require = ["usb", "nas"]
      |                   ^^^^^
      |
    help: add a section [destinations.nas], or correct the name
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "at_least = { count = 2, of = [\"usb\"] }"), @r#"
    error: `at_least` asks for 2, of 1 that can count
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | at_least = { count = 2, of = ["usb"] }
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: name more destinations, in failure domains of their own, or lower the count
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "at_least = { count = 0, of = [\"usb\"] }"), @r#"
    error: `at_least` counts to 0: it asks nobody
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | at_least = { count = 0, of = ["usb"] }
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: give a count of 1 or more, or remove it

    error: the offload policy requires nobody: every file could be deleted
     --> HOME/config/lastcopy/config.toml:6:1
      |
    6 | [volumes.photos.offload]
      | ^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: name at least one destination in `require`, or remove the section
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "require = []"), @r#"
    error: the offload policy requires nobody: every file could be deleted
     --> HOME/config/lastcopy/config.toml:6:1
      |
    6 | [volumes.photos.offload]
      | ^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: name at least one destination in `require`, or remove the section
    "#);
    assert_snapshot!(refusal_with("require = [\"usb\"]", "confirm = \"full\""), @r#"
    error: the offload policy requires nobody: every file could be deleted
     --> HOME/config/lastcopy/config.toml:6:1
      |
    6 | [volumes.photos.offload]
      | ^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: name at least one destination in `require`, or remove the section
    "#);
    assert_snapshot!(refusal_with("sync_to = [\"usb\"]\n", ""), @r#"
    error: nothing pushes this volume to `usb`, so it can never vouch
     --> HOME/config/lastcopy/config.toml:6:12
      |
    6 | require = ["usb"]
      |            ^^^^^
      |
    help: add "usb" to the volume's `sync_to`
    "#);
    assert_snapshot!(refusal_with("require = ", "methods = [\"fingerprint\"]\nrequire = "), @r#"
    error: destinations of kind `cas` prove by reading back, which these methods leave out: no file could ever pass
     --> HOME/config/lastcopy/config.toml:7:11
      |
    7 | methods = ["fingerprint"]
      |           ^^^^^^^^^^^^^^^
      |
    help: add "read-back"
    "#);
    assert_snapshot!(refusal_with("require = ", "methods = []\nrequire = "), @r#"
    error: destinations of kind `cas` prove by reading back, which these methods leave out: no file could ever pass
     --> HOME/config/lastcopy/config.toml:7:11
      |
    7 | methods = []
      |           ^^
      |
    help: add "read-back"
    "#);
    assert_snapshot!(refusal_with("require = ", "methods = [\"presence\", \"read-back\"]\nrequire = "), @r#"
    error: `presence` is no method of proof
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | methods = ["presence", "read-back"]
      |            ^^^^^^^^^^
      |
    help: use "read-back", "remote-hash", "peer" or "fingerprint"
    "#);
}

/// Two destinations that fail together count once, so two of them can never be asked for.
#[test]
fn a_count_that_one_failure_domain_makes_unreachable() {
    let two = GOOD
        .replace("[\"usb\"]\n\n[volumes", "[\"usb\", \"nas\"]\n\n[volumes")
        .replace("require = [\"usb\"]", "at_least = { count = 2, of = [\"usb\", \"nas\"] }");
    let nas = "[destinations.nas]\nkind = \"cas\"\nurl = \"file:///nas\"\n";
    let desk = "failure_domain = \"desk\"\n";
    assert_snapshot!(refusal(&Home::empty(), &format!("{two}{desk}{nas}{desk}")), @r#"
    error: `at_least` asks for 2, of 1 that can count
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | at_least = { count = 2, of = ["usb", "nas"] }
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: name more destinations, in failure domains of their own, or lower the count
    "#);
    let home = Home::empty();
    home.write_config(&format!("{two}{desk}{nas}"));
    home.run(&["volume", "list"]).expect(0);
}

/// Which disk holds a remote's bytes cannot be seen from here: the gate takes all of them for one place, and that for any of the others.
/// The count was called satisfiable, and every offload was refused for ever, with the advice to plug the disk in.
#[test]
fn a_count_of_places_that_nobody_can_tell_apart() {
    let of = |names: &str| {
        GOOD.replace("[\"usb\"]\n\n[volumes", "[\"usb\", \"nas\", \"box\", \"cloud\"]\n\n[volumes")
            .replace("require = [\"usb\"]", &format!("at_least = {{ count = 2, of = [{names}] }}"))
    };
    let remote = |name: &str, more: &str| format!("[destinations.{name}]\nkind = \"mirror\"\nremote = \"{name}:x\"\n{more}\n");
    let nas = "[destinations.nas]\nkind = \"cas\"\nurl = \"file:///nas\"\n";
    let (shelf, desk) = ("failure_domain = \"shelf\"\n", "failure_domain = \"desk\"\n");
    let with = |names: &str, of_box: &str, of_cloud: &str| of(names) + nas + &remote("box", of_box) + &remote("cloud", of_cloud);
    assert_snapshot!(refusal(&Home::empty(), &with("\"box\", \"cloud\"", "", "")), @r#"
    error: `at_least` asks for 2, of 1 that can be told apart: nobody here sees which disk holds `box` and `cloud`
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | at_least = { count = 2, of = ["box", "cloud"] }
      |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: say so with a `failure_domain` for `box` and `cloud`: those with different labels count as apart
    "#);
    for (names, of_box, of_cloud, is_taken) in [
        ("\"box\", \"cloud\"", shelf, "", false),
        ("\"box\", \"cloud\"", shelf, desk, true),
        ("\"usb\", \"cloud\"", "", "", false),
        ("\"usb\", \"cloud\"", "", desk, true),
        ("\"usb\", \"nas\", \"cloud\"", "", "", true),
    ] {
        let (home, text) = (Home::empty(), with(names, of_box, of_cloud));
        if is_taken {
            home.write_config(&text);
            home.run(&["volume", "list"]).expect(0);
        } else {
            assert!(refusal(&home, &text).contains("failure_domain"), "{text}");
        }
    }
}

#[test]
fn values_that_mean_nothing() {
    assert_snapshot!(refusal_with("require = ", "max_evidence_age = \"30 fortnights\"\nrequire = "), @r#"
    error: `30 fortnights` is no age: write a number and a unit, like `90d` or `12h`
     --> HOME/config/lastcopy/config.toml:7:20
      |
    7 | max_evidence_age = "30 fortnights"
      |                    ^^^^^^^^^^^^^^^
      |
    help: for example "30d"
    "#);
    assert_snapshot!(refusal_with("require = ", "max_evidence_age = \"-1d\"\nrequire = "), @r#"
    error: `-1d` is no age: write a number and a unit, like `90d` or `12h`
     --> HOME/config/lastcopy/config.toml:7:20
      |
    7 | max_evidence_age = "-1d"
      |                    ^^^^^
      |
    help: for example "30d"
    "#);
    assert!(
        refusal_with("require = ", "max_evidence_age = \"0s\"\nrequire = ")
            .contains("no evidence is as young as that: no file could ever pass")
    );
    assert_snapshot!(refusal_with("require = ", "grace = \"soon\"\nrequire = "), @r#"
    error: `soon` is no age: write a number and a unit, like `90d` or `12h`
     --> HOME/config/lastcopy/config.toml:7:9
      |
    7 | grace = "soon"
      |         ^^^^^^
      |
    help: for example "30d"
    "#);
    assert_snapshot!(refusal_with("require = ", "confirm = \"never\"\nrequire = "), @r#"
    error: `never` is no confirmation
     --> HOME/config/lastcopy/config.toml:7:11
      |
    7 | confirm = "never"
      |           ^^^^^^^
      |
    help: use "quick", "full" or "offline"
    "#);
    assert_snapshot!(refusal_with("\"cas\"", "\"tape\""), @r#"
    error: there is no destination kind `tape`
      --> HOME/config/lastcopy/config.toml:10:8
       |
    10 | kind = "tape"
       |        ^^^^^^
       |
    help: use "cas"
    "#);
    assert_snapshot!(refusal_with("\"file:///usb\"", "\"s3://bucket/prefix\""), @r#"
    error: `s3://bucket/prefix`: this version of lastcopy stores in local directories only, not by `s3`
      --> HOME/config/lastcopy/config.toml:11:7
       |
    11 | url = "s3://bucket/prefix"
       |       ^^^^^^^^^^^^^^^^^^^^
       |
    help: write an absolute path after `file://`, like "file:///media/usb/lastcopy"
    "#);
    assert_snapshot!(refusal_with("\"file:///usb\"", "\"/usb\""), @r#"
    error: `/usb` is no URL
      --> HOME/config/lastcopy/config.toml:11:7
       |
    11 | url = "/usb"
       |       ^^^^^^
       |
    help: write an absolute path after `file://`, like "file:///media/usb/lastcopy"
    "#);
    assert_snapshot!(refusal_with("[\"usb\"]\n\n[volumes", "[\"nas\"]\n\n[volumes"), @r#"
    error: there is no destination `nas`
     --> HOME/config/lastcopy/config.toml:4:12
      |
    4 | sync_to = ["nas"]
      |            ^^^^^
      |
    help: add a section [destinations.nas], or correct the name

    error: nothing pushes this volume to `usb`, so it can never vouch
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | require = ["usb"]
      |            ^^^^^
      |
    help: add "usb" to the volume's `sync_to`
    "#);
    assert_snapshot!(refusal_with("sync_to", "exclude = [\"*.tmp\", \"[z-a]\"]\nsync_to"), @r#"
    error: `[z-a]`: error parsing glob '[z-a]': invalid range; 'z' > 'a'
     --> HOME/config/lastcopy/config.toml:4:21
      |
    4 | exclude = ["*.tmp", "[z-a]"]
      |                     ^^^^^^^
      |
    help: patterns are in gitignore syntax
    "#);
}

/// Everything that is wrong is said at once, and columns are counted in characters.
#[test]
fn several_things_at_once() {
    let text = GOOD.replace("\"/photos\"", "\"Größe\"").replace("require = [\"usb\"]", "require = [\"Grün\", \"nas\"]");
    assert_snapshot!(refusal(&Home::empty(), &text), @r#"
    error: `Größe`: the path of a volume is relative
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = "Größe"
      |        ^^^^^^^
      |
    help: write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started

    error: there is no destination `Grün`
     --> HOME/config/lastcopy/config.toml:7:12
      |
    7 | require = ["Grün", "nas"]
      |            ^^^^^^
      |
    help: add a section [destinations.Grün], or correct the name

    error: there is no destination `nas`
     --> HOME/config/lastcopy/config.toml:7:20
      |
    7 | require = ["Grün", "nas"]
      |                    ^^^^^
      |
    help: add a section [destinations.nas], or correct the name
    "#);
}

#[test]
fn a_file_that_is_not_there_no_text_or_no_file() {
    let home = Home::empty();
    assert_snapshot!(refusal_of_written(&home), @r#"
    error: there is no configuration file here
     |
     = note: in HOME/config/lastcopy/config.toml
    help: write one with `lastcopy init`, or name yours with --config
    "#);
    home.write_config("");
    fs::write(home.config(), b"[volumes.\xff]\n").unwrap();
    assert_snapshot!(refusal_of_written(&home), @r#"
    error: is not UTF-8
     |
     = note: in HOME/config/lastcopy/config.toml
    help: write it in UTF-8
    "#);
    fs::remove_file(home.config()).unwrap();
    fs::create_dir(home.config()).unwrap();
    assert_snapshot!(refusal_of_written(&home), @r#"
    error: cannot be read: Is a directory (os error 21)
     |
     = note: in HOME/config/lastcopy/config.toml
    help: make it readable, or name another with --config
    "#);
}

#[test]
fn one_named_on_the_command_line_must_be_there() {
    let home = Home::empty();
    home.write_config(GOOD);
    let elsewhere = home.path("elsewhere.toml");
    let json = home.json(&["--config", elsewhere.to_str().unwrap(), "status"]).expect(2);
    assert_eq!(json.error_code(), "config");
    assert!(json.error()["message"].as_str().unwrap().contains(elsewhere.to_str().unwrap()));
}

#[test]
fn init_writes_over_nothing_and_asks_nobody() {
    let home = Home::empty();
    let init = ["init", "--node", "n", "--volume", "photos", "--destination", "usb", "--url", "/usb"];
    let json = home.json(&init).expect(2);
    assert_eq!(json.error_code(), "usage");
    assert!(json.error()["message"].as_str().unwrap().contains("--path"));
    assert!(!home.config().exists());
    home.write_config("# mine\n");
    let json = home.json(&[&init[..], &["--path", "/photos"]].concat()).expect(2);
    assert_eq!(json.error_code(), "config");
    assert_eq!(fs::read(home.config()).unwrap(), b"# mine\n");
    fs::remove_file(home.config()).unwrap();
    home.json(&[&init[..], &["--path", "/photos"]].concat()).expect(0);
    home.json(&["volume", "list"]).expect(0);
}
