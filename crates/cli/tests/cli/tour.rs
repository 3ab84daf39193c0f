//! The main job from end to end, and the harness with it.

use crate::home::{Home, Setup};
use crate::ran::wait_for;
use crate::tree::{assert_same_tree, copy_tree, flip_bit, noise, read_tree, set_mode};
use std::fs;

#[test]
fn index_push_prove_offload_restore() {
    let home = Home::new(&Setup::two_destinations());
    for number in 0..5 {
        home.write("photos", &format!("2024/{number}.jpg"), &noise(&number.to_string(), 3000));
    }
    home.write("photos", "script.sh", b"#!/bin/sh\n");
    set_mode(&home.volume("photos").join("script.sh"), 0o755);
    let before = home.tree("photos");

    assert_eq!(home.json(&["index"]).expect(0).count("added"), 6);
    let sync = home.json(&["sync"]).expect(0);
    assert_eq!(sync.of("summary").count(), 2);
    assert_eq!(sync.count("verified"), 6);
    assert_eq!(home.json(&["verify"]).expect(0).count("verified"), 6);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 6);
    assert_same_tree(&home.tree("photos"), &Default::default());
    assert_eq!(home.json(&["restore", "photos"]).expect(0).count("restored"), 6);
    assert_same_tree(&home.tree("photos"), &before);
}

#[test]
fn a_damaged_copy_lets_no_original_go() {
    let home = Home::new(&Setup::usual());
    let (good, bad) = (noise("good", 2000), noise("bad", 2000));
    home.write("photos", "good", &good);
    home.write("photos", "bad", &bad);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    flip_bit(&home.object("usb", &bad));
    assert_eq!(home.json(&["verify", "usb"]).expect(1).count("lost"), 1);

    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((offload.count("offloaded"), offload.count("blocked")), (1, 1));
    assert_eq!(offload.causes("bad"), ["alarm@usb", "no-receipt@usb"]);
    assert_eq!(fs::read(home.volume("photos").join("bad")).unwrap(), bad);
}

#[test]
fn what_a_killed_push_left_the_next_one_completes() {
    let home = Home::new(&Setup::usual());
    for number in 0..400 {
        home.write("photos", &number.to_string(), &noise(&number.to_string(), 20_000));
    }
    home.run(&["index"]).expect(0);
    let sync = home.spawn(&["sync"]);
    let objects = home.destination("usb").join("objects");
    wait_for("objects appear", || objects.exists() && !read_tree(&objects).is_empty());
    sync.kill().expect_killed();
    assert_eq!(home.json(&["sync"]).expect(0).count("verified"), 400);
}

#[test]
fn a_directory_is_copied_with_everything_in_it() {
    let home = Home::empty();
    home.write("a", "deep/er/file", b"bytes");
    copy_tree(&home.volume("a"), &home.volume("b"));
    assert_same_tree(&home.tree("b"), &home.tree("a"));
}
