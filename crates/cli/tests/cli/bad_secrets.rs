//! Destinations whose secrets cannot be had: a lost password file, a program that gives none. They are in nobody else's way.

use crate::home::{Home, Setup};
use crate::kopia::{no_kopia, section};
use crate::tree::{assert_same_tree, read_tree};
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Adds lines to the configuration.
fn configure_more(home: &Home, more: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    home.write_config(&format!("{text}\n{more}"));
}

/// The section of a repository whose password is what a program prints. This one leaves a file where it was asked, and gives nothing.
fn asking(home: &Home) -> String {
    let (at, asked) = (home.destination("kop"), home.path("asked"));
    let command = format!("touch {}; exit 1", asked.display());
    format!(
        "[destinations.kop]\nkind = \"kopia\"\nrepository = \"filesystem\"\noptions = {{ path = {at:?} }}\n\
         password = {{ command = [\"sh\", \"-c\", {command:?}] }}\n"
    )
}

/// Every command that opened a volume connected all destinations of the configuration for the terms of its policy, and ran the program
/// of each password. Where one of them failed, nothing could be restored from a disk that was whole, and no offload be undone.
#[test]
fn one_that_has_nothing_to_do_with_it_is_not_asked() {
    let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\ngrace = \"1h\""));
    for name in ["a", "b"] {
        home.write("photos", name, name.as_bytes());
    }
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let before = home.tree("photos");
    configure_more(&home, &asking(&home));
    let (file, elsewhere) = (home.volume("photos").join("a"), home.path("elsewhere"));
    let file = file.to_str().unwrap();
    for (command, exit) in [
        (&["status"] as &[&str], 0),
        (&["index", "photos"], 0),
        (&["audit", "photos"], 0),
        (&["sync", "photos"], 0),
        (&["verify", "usb"], 0),
        (&["explain", file], 0),
        (&["policy", "show"], 0),
        (&["evidence", "rewind", "photos", "kop", "--to", "0", "--dry-run"], 0),
        (&["offload", "photos", ".", "--dry-run"], 0),
        (&["restore", "photos", "--from", "usb"], 0),
        (&["restore", "photos", "--to", elsewhere.to_str().unwrap()], 0),
        (&["destination", "repair", "usb", "--dry-run"], 0),
    ] {
        home.run(command).expect(exit);
    }
    assert_same_tree(&read_tree(&elsewhere), &before);
    let run = home.json(&["offload", "photos", ".", "--yes"]).expect(0).run().to_string();
    assert!(home.tree("photos").is_empty());
    home.run(&["offload", "--undo", &run]).expect(0);
    assert_same_tree(&home.tree("photos"), &before);
    assert!(!home.path("asked").exists(), "a password was asked for");
    // The one that is needed names what is wrong with it.
    for command in [&["verify", "kop"] as &[&str], &["destination", "init", "kop"], &["restore", "photos", "--from", "kop"]] {
        let error = home.json(command).expect(2).error().clone();
        assert_eq!(error["code"], "config", "{command:?}");
        assert!(error["message"].as_str().unwrap().contains("`password`"), "{command:?}: {error}");
    }
    assert!(home.path("asked").exists());
}

/// A check ended at the first secret that it could not read, and said nothing of the destinations after it.
#[test]
fn a_check_names_each_and_goes_on() {
    let home = Home::new(&Setup::usual().destination("z"));
    configure_more(&home, &asking(&home));
    let lost = home.path("lost");
    let (at, file) = (home.destination("vault"), lost.to_str().unwrap());
    configure_more(
        &home,
        &format!(
            "[destinations.vault]\nkind = \"kopia\"\nrepository = \"filesystem\"\noptions = {{ path = {at:?} }}\n\
             password = {{ file = {file:?} }}\n"
        ),
    );
    let check = home.json(&["config", "check"]).expect(1);
    let problems = |name: &str| {
        let line = check.of("destination").find(|line| line["destination"] == name).unwrap();
        line["problems"].as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(problems("usb").is_empty() && problems("z").is_empty(), "{}", check.ran);
    for (name, says) in [("kop", "sh: exit status: 1"), ("vault", file)] {
        let problems = problems(name);
        assert!(problems.len() == 1 && problems[0].contains("`password`") && problems[0].contains(says), "{problems:?}");
    }
    assert_eq!((check.of("error").count(), check.count("problems")), (0, 2), "{}", check.ran);
    let shown = home.run(&["config", "check"]).expect(1);
    assert_eq!(shown.stdout.matches("problem: ").count(), 2, "{shown}");
}

/// One that holds copies, and whose password file is lost: it is told of by itself, and the others go on.
#[test]
fn one_that_holds_copies_is_left_out() {
    if no_kopia("bad_secrets::one_that_holds_copies_is_left_out") {
        return;
    }
    let home = Home::new(&Setup::usual());
    home.write("photos", "gone", b"gone");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    let both = Setup::usual().volume("photos", &["usb", "vault"]);
    home.configure(&both.policy("photos", "require = [\"usb\", \"vault\"]"));
    configure_more(&home, &section(&home, &home.destination("vault"), "open sesame"));
    fs::create_dir(home.destination("vault")).unwrap();
    home.run(&["destination", "init", "vault"]).expect(0);
    home.write("photos", "here", b"here");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let password = home.path("password");
    fs::remove_file(&password).unwrap();

    let status = home.json(&["status"]).expect(1);
    let line = |name: &str| status.of("status").find(|line| line["destination"] == name).unwrap().clone();
    let trouble = line("vault")["trouble"].as_str().unwrap().to_owned();
    assert!(trouble.contains(password.to_str().unwrap()), "{trouble}");
    assert_eq!((&line("vault")["level"], &line("usb")["level"]), (&"amber".into(), &"green".into()));
    let shown = home.run(&["status"]).expect(1);
    assert!(shown.stdout.lines().any(|line| line.contains("vault: ") && line.contains(&trouble)), "{shown}");

    // Nothing is set aside before the passwords are there.
    let changed = || fs::metadata(home.volume("photos").join("here")).map(|stat| (stat.ctime(), stat.ctime_nsec())).unwrap();
    let before = changed();
    let offload = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((offload.causes("here"), changed()), (vec!["unreachable@vault".to_owned()], before));
    assert!(offload.file("here")["causes"][0]["detail"].as_str().unwrap().contains(password.to_str().unwrap()));
    assert!(home.volume("photos").join("here").exists());

    fs::remove_file(home.object("usb", b"here")).unwrap();
    home.run(&["verify", "usb"]).expect(1);
    let repair = home.run(&["destination", "repair", "usb", "--yes"]).expect(0);
    let restore = home.run(&["restore", "photos"]).expect(0);
    for ran in [repair, restore] {
        assert!(ran.stderr.contains("`vault` is left out") && ran.stderr.contains(password.to_str().unwrap()), "{ran}");
    }
    assert_eq!(fs::read(home.volume("photos").join("gone")).unwrap(), b"gone");
    // Where it is all that there is, that is the error.
    assert_eq!(home.json(&["restore", "photos", "--from", "vault"]).expect(2).error_code(), "config");
}
