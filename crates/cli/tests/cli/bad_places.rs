//! Places that cannot be used, as far as the configuration tells: they overlap, or say nothing by themselves.

use crate::bad_config::{refusal, refusal_with};
use crate::home::Home;
use insta::assert_snapshot;
use std::fs;
use std::os::unix::fs::symlink;

#[test]
fn overlapping_volumes() {
    let home = Home::empty();
    fs::create_dir_all(home.volume("outer/inner")).unwrap();
    symlink(home.volume("outer"), home.volume("link")).unwrap();
    let two =
        |one: &str, other: &str| format!("[volumes.a]\npath = \"~/volumes/{one}\"\n[volumes.b]\npath = \"~/volumes/{other}\"\n");
    assert_snapshot!(refusal(&home, &two("outer", "outer")), @r#"
    error: volume `b` lies in volume `a`
     --> HOME/config/lastcopy/config.toml:4:8
      |
    4 | path = "~/volumes/outer"
      |        ^^^^^^^^^^^^^^^^^
      |
    help: volumes must not overlap: move one, or give up the inner one
    "#);
    assert_snapshot!(refusal(&home, &two("outer", "outer/inner")), @r#"
    error: volume `b` lies in volume `a`
     --> HOME/config/lastcopy/config.toml:4:8
      |
    4 | path = "~/volumes/outer/inner"
      |        ^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: volumes must not overlap: move one, or give up the inner one
    "#);
    assert_snapshot!(refusal(&home, &two("outer/inner", "outer")), @r#"
    error: volume `a` lies in volume `b`
     --> HOME/config/lastcopy/config.toml:2:8
      |
    2 | path = "~/volumes/outer/inner"
      |        ^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: volumes must not overlap: move one, or give up the inner one
    "#);
    assert_snapshot!(refusal(&home, &two("outer", "link/inner")), @r#"
    error: volume `b` lies in volume `a`
     --> HOME/config/lastcopy/config.toml:4:8
      |
    4 | path = "~/volumes/link/inner"
      |        ^^^^^^^^^^^^^^^^^^^^^^
      |
    help: volumes must not overlap: move one, or give up the inner one
    "#);
    assert_snapshot!(refusal(&home, &two("outer", "link/not/made/yet")), @r#"
    error: volume `b` lies in volume `a`
     --> HOME/config/lastcopy/config.toml:4:8
      |
    4 | path = "~/volumes/link/not/made/yet"
      |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      |
    help: volumes must not overlap: move one, or give up the inner one
    "#);
    // One name may begin like another.
    home.write_config(&two("outer", "outer2"));
    home.run(&["volume", "list"]).expect(0);
}

#[test]
fn a_destination_in_a_volume_and_a_volume_in_a_destination() {
    let home = Home::empty();
    fs::create_dir_all(home.volume("photos/inner")).unwrap();
    symlink(home.volume("photos"), home.destination("link")).unwrap();
    let both = |volume: &str, destination: &str| {
        format!("[volumes.photos]\npath = \"{volume}\"\n[destinations.usb]\nkind = \"cas\"\nurl = \"file://{destination}\"\n")
    };
    assert_snapshot!(refusal(&home, &both("/photos", "/photos/usb")), @r#"
    error: destination `usb` lies in volume `photos`
     --> HOME/config/lastcopy/config.toml:5:7
      |
    5 | url = "file:///photos/usb"
      |       ^^^^^^^^^^^^^^^^^^^^
      |
    help: put it on another disk, or at least outside of the volume
    "#);
    assert_snapshot!(refusal(&home, &both("/photos", "/photos")), @r#"
    error: destination `usb` lies in volume `photos`
     --> HOME/config/lastcopy/config.toml:5:7
      |
    5 | url = "file:///photos"
      |       ^^^^^^^^^^^^^^^^
      |
    help: put it on another disk, or at least outside of the volume
    "#);
    assert_snapshot!(refusal(&home, &both("/usb/photos", "/usb")), @r#"
    error: volume `photos` lies in destination `usb`
     --> HOME/config/lastcopy/config.toml:2:8
      |
    2 | path = "/usb/photos"
      |        ^^^^^^^^^^^^^
      |
    help: put the destination on another disk, or at least outside of the volume
    "#);
    // By another way to the same place, too.
    let link = home.destination("link/usb");
    assert!(
        refusal(&home, &both("~/volumes/photos", link.to_str().unwrap())).contains("destination `usb` lies in volume `photos`")
    );
    let inner = home.volume("photos");
    assert!(
        refusal(&home, &both("~/destinations/link/inner", inner.to_str().unwrap()))
            .contains("volume `photos` lies in destination `usb`")
    );
    home.write_config(&both("/photos", "/photos2"));
    home.run(&["volume", "list"]).expect(0);
}

#[test]
fn relative_paths() {
    assert_snapshot!(refusal_with("\"/photos\"", "\"photos\""), @r#"
    error: `photos`: the path of a volume is relative
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = "photos"
      |        ^^^^^^^^
      |
    help: write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started
    "#);
    assert_snapshot!(refusal_with("\"/photos\"", "\"./photos\""), @r#"
    error: `./photos`: the path of a volume is relative
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = "./photos"
      |        ^^^^^^^^^^
      |
    help: write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started
    "#);
    assert_snapshot!(refusal_with("\"/photos\"", "\"~someone/photos\""), @r#"
    error: `~someone/photos`: the path of a volume is relative
     --> HOME/config/lastcopy/config.toml:3:8
      |
    3 | path = "~someone/photos"
      |        ^^^^^^^^^^^^^^^^^
      |
    help: write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started
    "#);
    assert_snapshot!(refusal_with("\"file:///usb\"", "\"file://usb\""), @r#"
    error: `file://usb` is a relative path
      --> HOME/config/lastcopy/config.toml:11:7
       |
    11 | url = "file://usb"
       |       ^^^^^^^^^^^^
       |
    help: write an absolute path after `file://`, like "file:///media/usb/lastcopy"
    "#);
    assert_snapshot!(refusal_with("\n[volumes.photos]\n", "[node]\ndb = \"index.db\"\n[volumes.photos]\n"), @r#"
    error: `index.db`: the path of the index is relative
     --> HOME/config/lastcopy/config.toml:2:6
      |
    2 | db = "index.db"
      |      ^^^^^^^^^^
      |
    help: write it from `/`, or from `~/`: it must mean the same wherever lastcopy is started
    "#);
}
