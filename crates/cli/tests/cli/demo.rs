//! The demo: the whole story on a generated tree.

use crate::home::Home;
use crate::ran::Ran;
use std::fs;

/// What is in the directory for temporary files.
fn temporary(home: &Home) -> Vec<String> {
    fs::read_dir(home.path("tmp")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// That every step was told, in order.
#[track_caller]
fn assert_story(ran: &Ran) {
    let steps: Vec<_> = ran.stdout.lines().filter_map(|line| line.split_once(". ")).collect();
    let numbers: Vec<_> = steps.iter().filter_map(|(number, _)| number.trim().parse::<usize>().ok()).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<_>>(), "{ran}");
    assert!(steps.iter().all(|(_, text)| !text.is_empty()));
    let told = |number: usize| steps[number - 1].1;
    for (number, words) in [(5, "refused"), (7, "attack"), (9, "refuses"), (10, "repair"), (11, "deleted"), (13, "compared")] {
        assert!(told(number).contains(words), "step {number} tells of something else: {}", told(number));
    }
    assert_eq!(ran.stderr, "");
}

#[test]
fn it_tells_the_whole_story_and_leaves_nothing() {
    let home = Home::empty();
    assert_story(&home.run(&["demo"]).expect(0));
    assert_eq!(temporary(&home), [""; 0]);
    for place in ["config", "data", "state", "cache"] {
        assert!(!home.path(place).exists(), "the demo made {place}");
    }
}

#[test]
fn it_is_kept_on_request() {
    let home = Home::empty();
    let ran = home.run(&["demo", "--keep"]).expect(0);
    assert_story(&ran);
    let left = temporary(&home);
    assert_eq!(left.len(), 1, "{left:?}");
    let config = home.path("tmp").join(&left[0]).join("config.toml");
    assert!(ran.stdout.contains(config.to_str().unwrap()), "{ran}");
    let config = config.to_str().unwrap();
    home.json(&["--config", config, "db", "check"]).expect(0);
    assert_eq!(home.json(&["--config", config, "index"]).expect(0).count("missing"), 0);
}

#[test]
fn it_can_be_told_to_a_program() {
    let home = Home::empty();
    let json = home.json(&["demo"]).expect(0);
    let numbers: Vec<_> = json.of("step").map(|step| step["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=13).collect::<Vec<_>>());
    assert_eq!(json.lines.len(), 14, "{}", json.ran);
}

/// Somebody with a configuration, and even an index, of their own.
#[test]
fn it_touches_nothing_of_the_persons() {
    let home = Home::empty();
    home.write_config("this is not even TOML");
    home.run(&["demo"]).expect(0);
    assert_eq!(fs::read_to_string(home.config()).unwrap(), "this is not even TOML");
    assert!(!home.index().exists());
    assert_eq!(temporary(&home), [""; 0]);
}
