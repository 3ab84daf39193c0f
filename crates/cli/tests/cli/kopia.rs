//! Repositories of kopia's, driven as a person would: the whole story, the worst day, and configurations that could never work.

use crate::home::Home;
use crate::skip::{missing_program, skipped};
use crate::tree::{assert_same_tree, read_tree, set_mode};
use std::fs;

pub(crate) fn no_kopia(test: &str) -> bool {
    let missing = missing_program(&["kopia"]).is_some();
    if missing {
        skipped(test, "kopia is not installed");
    }
    missing
}

/// The section of a repository in a directory; its password lies in a file.
pub(crate) fn section(home: &Home, at: &std::path::Path, password: &str) -> String {
    let file = home.path("password");
    fs::write(&file, format!("{password}\n")).unwrap();
    format!(
        "[destinations.vault]\nkind = \"kopia\"\nrepository = \"filesystem\"\noptions = {{ path = {at:?} }}\npassword = {{ file = {file:?} }}\n"
    )
}

#[test]
fn everything_is_offloaded_restored_and_recovered() {
    if no_kopia("kopia::everything_is_offloaded_restored_and_recovered") {
        return;
    }
    let home = configured();
    let (volume, vault) = (home.volume("photos"), home.destination("vault"));
    for number in 0..20 {
        home.write("photos", &format!("trip {}/{number}.jpg", number % 3), format!("picture {number}").as_bytes());
    }
    home.write("photos", "twin.jpg", b"picture 1");
    let before = home.tree("photos");
    home.run(&["volume", "add", "photos", volume.to_str().unwrap()]).expect(0);
    fs::remove_dir(&vault).unwrap();
    let nowhere = home.run(&["destination", "init", "vault"]).expect(3);
    assert!(nowhere.stderr.contains(&format!("`mkdir -p {}`", vault.display())), "{nowhere}");
    fs::create_dir(&vault).unwrap();
    home.run(&["destination", "init", "vault"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let checked = home.json(&["config", "check"]).expect(0);
    let line = checked.lines.iter().find(|line| line["destination"] == "vault").unwrap();
    assert_eq!((line["kind"].as_str(), line["methods"][0].as_str()), (Some("kopia"), Some("read-back")));
    assert!(line["program"].is_string(), "{line}");
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    assert!(home.tree("photos").is_empty());
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["verify", "vault"]).expect(0).count("lost"), 0);
    home.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &before);

    // The worst day: only the repository and its password are left.
    let from = format!("file://{}", vault.display());
    let elsewhere = Home::empty();
    let to = elsewhere.path("recovered");
    let recover = ["recover", "--from", &from, "--to", to.to_str().unwrap(), "--yes"];
    let without = elsewhere.run(&recover).expect(2);
    assert!(without.stderr.contains("its password is not known here"), "{without}");
    assert!(without.stderr.contains("`lastcopy recover --from NAME`"), "{without}");
    let by_name = ["recover", "--from", "vault", "--to", to.to_str().unwrap(), "--yes"];
    let unknown = elsewhere.run(&by_name).expect(2);
    assert!(unknown.stderr.contains("write [destinations.NAME] into the configuration first"), "{unknown}");
    elsewhere.write_config(&section(&elsewhere, &vault, "another word"));
    let wrong = elsewhere.run(&recover);
    assert!(wrong.code() != Some(0) && wrong.stderr.contains("password"), "{wrong}");
    elsewhere.write_config(&section(&elsewhere, &vault, "open sesame"));
    elsewhere.run(&[&recover[..], &["--dry-run"]].concat()).expect(0);
    elsewhere.run(&by_name).expect(0);
    elsewhere.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&read_tree(&to.join("photos")), &before);
}

/// A home whose configuration has a volume, and a repository in a directory, which the volume's policy requires.
fn configured() -> Home {
    let home = Home::empty();
    let (volume, vault) = (home.volume("photos"), home.destination("vault"));
    fs::create_dir_all(&vault).unwrap();
    home.write_config(&format!(
        "[volumes.photos]\npath = {volume:?}\nsync_to = [\"vault\"]\n[volumes.photos.offload]\nrequire = [\"vault\"]\n{}",
        section(&home, &vault, "open sesame")
    ));
    home
}

/// A program that is missing or too old is told apart from a place that cannot do what is asked of it, and it is said where to get one.
#[test]
fn without_the_program_it_says_what_to_install() {
    let home = configured();
    let text = fs::read_to_string(home.config()).unwrap();
    let (old, silent) = (home.path("old-kopia"), home.path("silent-kopia"));
    // The second one knows nothing of the options that are needed.
    for (program, script) in [(&old, "#!/bin/sh\necho '0.19.9 build: x'\n"), (&silent, "#!/bin/sh\nexit 1\n")] {
        fs::write(program, script).unwrap();
        set_mode(program, 0o755);
    }
    let too_old = "tool-too-old";
    for (program, code) in
        [("no-such-kopia", "tool-missing"), (old.to_str().unwrap(), too_old), (silent.to_str().unwrap(), too_old)]
    {
        home.write_config(&format!("{text}program = {program:?}\n"));
        let ran = home.json(&["destination", "init", "vault"]).expect(4);
        assert_eq!(ran.error_code(), code);
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(program) && message.contains("0.20") && message.contains("https://kopia.io"), "{message}");
        assert!(ran.error()["hint"].as_str().unwrap().contains("install"), "{}", ran.ran);
    }
}

/// The same, with two files that are pushed.
fn pushed() -> Home {
    let home = configured();
    let volume = home.volume("photos");
    home.write("photos", "old.jpg", b"an old picture");
    home.write("photos", "edited.jpg", b"first");
    home.run(&["volume", "add", "photos", volume.to_str().unwrap()]).expect(0);
    home.run(&["destination", "init", "vault"]).expect(0);
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

/// What was offloaded lies in an old snapshot alone, beside a version that was replaced since. That one goes when a person says so, and the other
/// is gathered and comes back.
#[test]
fn compact_releases_replaced_versions_and_nothing_else() {
    if no_kopia("kopia::compact_releases_replaced_versions_and_nothing_else") {
        return;
    }
    let home = pushed();
    let nothing = home.json(&["destination", "compact", "vault"]).expect(0);
    assert_eq!(nothing.count("snapshots"), 0);
    home.run(&["offload", "photos", "old.jpg", "--yes"]).expect(0);
    for version in ["second", "third"] {
        home.write("photos", "edited.jpg", version.as_bytes());
        home.run(&["index"]).expect(0);
        home.run(&["sync"]).expect(0);
    }
    let dry = home.json(&["destination", "compact", "vault", "--dry-run"]).expect(0);
    let figures = ["snapshots", "gathered", "gathered_bytes", "freed", "freed_bytes", "kept"].map(|name| dry.count(name));
    assert_eq!(figures, [2, 1, 14, 2, 11, 0]);
    let unasked = home.json(&["destination", "compact", "vault"]);
    assert_eq!(unasked.error_code(), "usage");
    let done = home.json(&["destination", "compact", "vault", "--yes"]).expect(0);
    assert_eq!((done.count("released"), done.count("unproven")), (2, 0));
    let verified = home.json(&["verify", "vault"]).expect(0);
    assert_eq!((verified.count("lost"), verified.count("verified")), (0, 2));
    home.run(&["restore", "photos"]).expect(0);
    assert_eq!(home.tree("photos").len(), 2);
    assert_eq!(fs::read(home.volume("photos").join("old.jpg")).unwrap(), b"an old picture");
}

/// A damaged pack is no place for a last copy; what the volume still has is stored anew, though kopia believes to have it.
#[test]
fn repair_stores_anew_what_is_damaged() {
    if no_kopia("kopia::repair_stores_anew_what_is_damaged") {
        return;
    }
    let home = pushed();
    // By its size, it is the pack of the files, and none of the heads.
    home.write("photos", "large.raw", &(0..400_000u32).flat_map(u32::to_le_bytes).collect::<Vec<_>>());
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let large = |path: &std::path::PathBuf| fs::metadata(path).unwrap().len() > 1_000_000;
    let packs: Vec<_> = walk(&home.destination("vault")).into_iter().filter(large).collect();
    assert_eq!(packs.len(), 1, "{packs:?}");
    fs::remove_file(&packs[0]).unwrap();
    let lost = home.json(&["verify", "vault"]).expect(1);
    assert_eq!(lost.count("lost"), 1);
    assert_ne!(home.run(&["offload", "photos", ".", "--yes"]).code(), Some(0));
    let dry = home.json(&["destination", "repair", "vault", "--dry-run"]).expect(0);
    assert_eq!(dry.count("repairable"), 1);
    let repaired = home.json(&["destination", "repair", "vault", "--yes"]).expect(0);
    assert_eq!((repaired.count("repaired"), repaired.count("beyond")), (1, 0));
    assert_eq!(home.json(&["verify", "vault"]).expect(0).count("lost"), 0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    home.run(&["restore", "photos"]).expect(0);
    assert_eq!(fs::metadata(home.volume("photos").join("large.raw")).unwrap().len(), 1_600_000);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn a_section_that_cannot_work_is_refused() {
    let home = Home::empty();
    let storage = "repository = \"filesystem\"\noptions = { path = \"/r\" }";
    let password = "password = { command = [\"pass\"] }";
    for (lines, says) in [
        (password.to_owned(), "must say where its repository is"),
        (format!("{storage}\nconfig_file = \"/c\"\n{password}"), "must say where its repository is"),
        (storage.to_owned(), "has no `password`"),
        (format!("repository = \"floppy\"\n{password}"), "kopia has no storage `floppy`"),
        (format!("repository = \"filesystem\"\noptions = {{ pth = \"/r\" }}\n{password}"), "no option `pth`"),
        (format!("repository = \"filesystem\"\noptions = {{ path = \"r\" }}\n{password}"), "relative"),
        (format!("{storage}\n{password}\nremote = \"box:x\""), "`remote` is for destinations of kind `mirror`"),
        (format!("{storage}\n{password}\nurl = \"file:///x\""), "`url` is for destinations of kind `cas`"),
        (format!("{storage}\npassword = {{ env = \"LASTCOPY_TEST_UNSET\" }}"), "LASTCOPY_TEST_UNSET"),
    ] {
        home.write_config(&format!("[destinations.vault]\nkind = \"kopia\"\n{lines}\n"));
        let refused = home.json(&["status"]).expect(2);
        assert_eq!(refused.error_code(), "config");
        assert!(refused.error()["message"].as_str().unwrap().contains(says), "{lines}: {refused:?}");
    }
}
