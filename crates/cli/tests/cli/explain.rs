//! `explain`: every path that was named is told of, whatever became of it, and every volume by itself.

use crate::home::{Home, Setup};
use crate::ran::Json;

fn explain(home: &Home, paths: &[&str]) -> Json {
    let paths: Vec<_> = paths.iter().map(|path| home.path("volumes").join(path).to_str().unwrap().to_owned()).collect();
    home.json(&[&["explain"], &paths.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat())
}

/// Beside one that was here, paths that were offloaded, missing or unknown were left out without a word.
#[test]
fn each_path_is_told_of() {
    let home = Home::new(&Setup::usual());
    for path in ["a", "b", "c", "gone/x", "gone/y", "lost"] {
        home.write("photos", path, path.as_bytes());
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "gone", "--yes"]).expect(0);
    std::fs::remove_file(home.volume("photos").join("lost")).unwrap();
    home.run(&["index"]).expect(0);
    home.write("photos", "new", b"new");

    let told = explain(&home, &["photos/a", "photos/gone", "photos/lost", "photos/new"]).expect(1);
    for (path, outcome, status) in [
        ("a", "would-offload", None),
        ("gone/x", "offloaded", Some("offloaded")),
        ("gone/y", "offloaded", Some("offloaded")),
        ("lost", "drift", Some("missing")),
    ] {
        let file = told.file(path);
        assert_eq!((file["outcome"].as_str(), file["status"].as_str()), (Some(outcome), status), "{path}");
        assert!(told.causes(path).is_empty(), "{path}");
        assert_eq!(file["detail"].is_string(), status.is_some(), "{path}");
    }
    assert_eq!(told.of("file").count(), 4, "{}", told.ran);
    assert_eq!(told.error_code(), "not-found");
    assert!(told.error()["message"].as_str().unwrap().contains("`new`"), "{}", told.ran);
    let counts = |json: &Json, expected: [u64; 5]| {
        let names = ["selected", "offloaded", "blocked", "errors", "bytes_freed"];
        assert_eq!(names.map(|name| json.count(name)), expected, "{}", json.ran);
        assert_eq!((json.count("quarantined"), json.count("drift")), (0, 0));
    };
    counts(&told, [1, 1, 0, 1, 1]);
    counts(&explain(&home, &["photos"]).expect(0), [3, 3, 0, 0, 3]);
    counts(&explain(&home, &["photos/gone"]).expect(0), [0, 0, 0, 0, 0]);
    let unknown = explain(&home, &["photos/new", "photos/newer"]).expect(2);
    assert_eq!(unknown.error_code(), "not-found");
    assert!(unknown.error()["message"].as_str().unwrap().contains("`new`, `newer`"), "{}", unknown.ran);

    home.write("photos", "a", b"other bytes");
    home.run(&["index"]).expect(0);
    // The new one is known by now, and not pushed either.
    counts(&explain(&home, &["photos"]).expect(1), [4, 2, 2, 0, 2]);
    home.configure(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1h\""));
    let grace = explain(&home, &["photos/b", "photos/c"]).expect(0);
    assert_eq!((grace.count("quarantined"), grace.count("offloaded"), grace.count("bytes_freed")), (2, 0, 0));
}

/// One volume without a policy ended the whole command, and the others were not told of.
#[test]
fn each_volume_is_told_of() {
    let home = Home::new(&Setup::usual().volume("films", &["usb"]));
    for volume in ["films", "photos"] {
        home.write(volume, "a", b"a");
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let told = explain(&home, &["films/a", "photos/a"]).expect(1);
    assert_eq!(told.error_code(), "no-policy");
    assert_eq!(told.file("a")["volume"], "photos");
    let summaries: Vec<_> = told.of("summary").map(|line| (line["volume"].as_str(), line["status"].as_str())).collect();
    assert_eq!(summaries, [(Some("films"), Some("refused")), (Some("photos"), Some("success"))]);
    assert_eq!(explain(&home, &["films/a"]).expect(3).error_code(), "no-policy");
}

/// A file that was gone, or another one, might be offloaded by every lock, and `offload --dry-run` said that it would not be.
#[test]
fn the_disk_has_a_say() {
    let home = Home::new(&Setup::usual());
    for path in ["gone", "changed", "link", "same"] {
        home.write("photos", path, path.as_bytes());
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let path = |name: &str| home.volume("photos").join(name);
    std::fs::remove_file(path("gone")).unwrap();
    home.write("photos", "changed", b"other bytes");
    std::fs::remove_file(path("link")).unwrap();
    std::os::unix::fs::symlink("same", path("link")).unwrap();
    let told = explain(&home, &["photos"]).expect(1);
    let rehearsed = home.json(&["offload", "photos", ".", "--dry-run"]).expect(1);
    for name in ["gone", "changed", "link", "same"] {
        let (told, rehearsed) = (told.file(name), rehearsed.file(name));
        assert_eq!((&told["outcome"], told["causes"].as_array().unwrap().len()), (&rehearsed["outcome"], 0), "{name}");
        assert_eq!(told["detail"].is_string(), name != "same", "{name}");
    }
    for count in ["selected", "offloaded", "blocked", "drift", "errors", "bytes_freed"] {
        assert_eq!(told.count(count), rehearsed.count(count), "{count}");
    }
    let text = home.run(&["explain", "volumes/photos"]).expect(1).stdout;
    assert!(text.contains("photos/gone: stays here") && text.contains("is gone since it was indexed"), "{text}");
    assert!(text.contains("`lastcopy index photos` records what is there"), "{text}");
}

/// The age of a proof that does not exist was ticked.
#[test]
fn what_there_is_nothing_to_judge_of_is_not_ticked() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", b"a");
    home.run(&["index"]).expect(0);
    let text = home.run(&["explain", "volumes/photos/a"]).expect(1).stdout;
    let expected = "usb (required): ✓ incarnation  ✓ alarm  ✗ coverage  · freshness  ✗ receipt  · method  · age\n";
    assert!(text.contains(expected), "{text}");
    // Nor is that of one that counts no more.
    home.run(&["sync"]).expect(0);
    home.run(&["destination", "reset", "usb", "--yes", "--reason", "it fell down"]).expect(0);
    let text = home.run(&["explain", "volumes/photos/a"]).expect(1).stdout;
    assert!(text.contains("✓ receipt  ✗ method  · age\n"), "{text}");
}
