//! Every reason for which an offload refuses a file or a volume: its name, its exit status, and the way out that is printed, walked to
//! its end.
//!
//! Not here, because no destination of kind `cas` leads there: `relied-on` and `conflict` (other nodes), and `filesystem`, which needs a
//! mount.

use crate::home::{Home, Setup};
use crate::ran::{Json, wait_for};
use crate::tree::{copy_tree, flip_bit, noise, set_mtime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// A home in which `photos/a` and `photos/b` were pushed to `usb`.
pub(crate) fn pushed() -> Home {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", &content("a"));
    home.write("photos", "b", &content("b"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home
}

pub(crate) fn content(name: &str) -> Vec<u8> {
    noise(name, 4000)
}

pub(crate) fn explain(home: &Home, path: &str) -> Json {
    home.json(&["explain", home.volume("photos").join(path).to_str().unwrap()])
}

/// What was said of each file, as far as a rehearsal can know it.
pub(crate) fn outcomes(json: &Json, held: bool) -> BTreeMap<String, (String, Vec<String>)> {
    let done = if held { "quarantined" } else { "offloaded" };
    let outcome = |file: &Value| match file["outcome"].as_str().unwrap() {
        "would-offload" => done.to_owned(),
        other => other.to_owned(),
    };
    let files = json.of("file").map(|file| file["path"].as_str().unwrap());
    files.map(|path| (path.to_owned(), (outcome(json.file(path)), json.causes(path)))).collect()
}

/// That the gate stops `photos/a` for these causes: `explain` says so, a dry run says so, and so does the real run, which deletes
/// nothing. Returns what it printed as the ways out.
#[track_caller]
pub(crate) fn refused(home: &Home, causes: &[&str]) -> Vec<String> {
    let explained = explain(home, "a").expect(1);
    assert_eq!(explained.causes("a"), causes, "explain says otherwise");
    refused_when_asked(home, causes)
}

/// The same, for what only the moment of deletion shows.
#[track_caller]
fn refused_when_asked(home: &Home, causes: &[&str]) -> Vec<String> {
    let path = home.volume("photos").join("a");
    let before = fs::read(&path).unwrap();
    let offload = &["offload", "photos", "a", "--yes"];
    let rehearsed = home.json(&[offload as &[&str], &["--dry-run"]].concat()).expect(1);
    assert_eq!(rehearsed.causes("a"), causes, "the dry run says otherwise");
    assert_eq!(rehearsed.count("blocked"), 1);
    let real = home.json(offload).expect(1);
    assert_eq!(real.causes("a"), causes);
    assert_eq!(real.file("a")["outcome"], "blocked");
    assert_eq!((real.count("offloaded"), real.count("blocked"), real.count("bytes_freed")), (0, 1, 0));
    assert_eq!(real.summary()["status"], "partial");
    assert_eq!(fs::read(path).unwrap(), before, "a refused file changed");
    // People are told the same.
    let told = home.run(offload).expect(1);
    let mut fixes = Vec::new();
    for cause in real.file("a")["causes"].as_array().unwrap() {
        let (name, fix) = (cause["cause"].as_str().unwrap(), cause["fix"].as_str().unwrap().to_owned());
        assert!(told.stdout.contains(name) && told.stdout.contains(&fix), "`{name}` and `{fix}` are not told:\n{told}");
        fixes.push(fix);
    }
    fixes.dedup();
    fixes
}

/// Runs a command as it was printed.
#[track_caller]
pub(crate) fn follow(home: &Home, fix: &str, exit: i32) -> Json {
    let words: Vec<_> = fix.split_whitespace().collect();
    assert_eq!(words[0], "lastcopy", "`{fix}` is no command");
    assert!(!words.iter().any(|word| word.chars().all(|character| character.is_ascii_uppercase())), "`{fix}` names nothing");
    home.json(&words[1..]).expect(exit)
}

/// That nothing stops `photos/a` any more, and it goes.
#[track_caller]
pub(crate) fn opens(home: &Home) {
    explain(home, "a").expect(0);
    let offload = home.json(&["offload", "photos", "a", "--yes"]).expect(0);
    assert_eq!(offload.file("a")["outcome"], "offloaded");
    assert!(!home.volume("photos").join("a").exists());
}

#[test]
fn identity_of_a_destination_that_was_never_initialised() {
    let home = Home::empty();
    home.configure(&Setup::usual());
    home.write("photos", "a", &content("a"));
    home.run(&["volume", "add", "photos", home.volume("photos").to_str().unwrap()]).expect(0);
    home.run(&["index"]).expect(0);
    let fixes = refused(&home, &["identity@usb", "no-evidence@usb", "no-receipt@usb"]);
    // Each way out leads to the next.
    assert_eq!(fixes, ["lastcopy destination init usb", "lastcopy sync photos --to usb"]);
    follow(&home, &fixes[0], 0);
    follow(&home, &fixes[1], 0);
    opens(&home);
}

#[test]
fn identity_of_a_destination_in_whose_place_another_one_answers() {
    let home = pushed();
    let other = Home::new(&Setup::usual());
    let aside = home.path("aside");
    fs::rename(home.destination("usb"), &aside).unwrap();
    copy_tree(&other.destination("usb"), &home.destination("usb"));
    // Nobody has asked yet; the moment of deletion does.
    let offload = home.json(&["offload", "photos", "a", "--yes"]).expect(1);
    assert_eq!(offload.causes("a"), ["identity@usb", "alarm@usb", "no-receipt@usb", "unreachable@usb"]);
    assert_eq!(home.json(&["sync"]).expect(3).error_code(), "identity-changed");
    let fixes = refused(&home, &["identity@usb", "alarm@usb", "no-receipt@usb"]);
    assert_eq!(fixes, ["lastcopy verify usb", "lastcopy alarms", "lastcopy sync photos --to usb"]);
    let verify = follow(&home, &fixes[0], 3);
    assert_eq!(verify.error_code(), "identity-changed");
    assert!(verify.error()["hint"].as_str().unwrap().contains("lastcopy destination adopt usb"));
    let alarms = follow(&home, &fixes[1], 1);
    let alarm = alarms.of("alarm").next().unwrap();
    assert_eq!((alarm["kind"].as_str(), alarm["fix"].as_str()), (Some("identity-changed"), Some("lastcopy verify usb")));

    // The right one is put back.
    fs::rename(home.destination("usb"), home.path("wrong")).unwrap();
    fs::rename(&aside, home.destination("usb")).unwrap();
    follow(&home, &fixes[0], 0);
    follow(&home, &fixes[1], 0);
    opens(&home);
}

#[test]
fn alarm_about_a_lost_object() {
    let home = pushed();
    fs::remove_file(home.object("usb", &content("a"))).unwrap();
    home.run(&["verify", "usb"]).expect(1);
    let fixes = refused(&home, &["alarm@usb", "no-receipt@usb"]);
    assert_eq!(fixes, ["lastcopy alarms", "lastcopy sync photos --to usb"]);
    let alarms = follow(&home, &fixes[0], 1);
    let alarm = alarms.of("alarm").next().unwrap();
    assert_eq!((alarm["kind"].as_str(), alarm["destination"].as_str()), (Some("lost-object"), Some("usb")));
    // By the file, not by its digest alone.
    assert_eq!((alarm["volume"].as_str(), alarm["path"].as_str()), (Some("photos"), Some("a")));
    home.write("photos", "twin", &content("a"));
    home.run(&["index"]).expect(0);
    let told = home.run(&["verify", "usb"]);
    assert!(told.stdout.contains("0 lost") || told.stderr.contains("(photos/a and 1 more path)"), "{told}");
    for (command, text) in [
        (&["alarms"] as &[&str], "(photos/a and 1 more path)"),
        (&["status"], "photos/a and 1 more path: "),
        (&["destination", "repair", "usb", "--dry-run"], "(photos/a and 1 more path)"),
    ] {
        let told = home.run(command);
        assert!(told.stdout.contains(text) || told.stderr.contains(text), "{told}");
    }
    let repair = follow(&home, &format!("{} --yes", alarm["fix"].as_str().unwrap()), 0);
    assert_eq!(repair.count("repaired"), 1);
    follow(&home, &fixes[0], 0);
    opens(&home);
}

/// A directory on tmpfs, where stores through a mapping move a file's times only once; none where there is none.
fn tmpfs() -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir_in("/dev/shm").ok()?;
    let found = lastcopy_fs::filesystem_of(File::open(dir.path()).unwrap()).unwrap();
    (found == lastcopy_fs::Filesystem::Tmpfs).then_some(dir)
}

/// The first byte of a file, mapped.
struct Mapped(*mut u8);

#[expect(unsafe_code, reason = "a mapping of a file is memory that others may change; nothing here is read through it")]
impl Mapped {
    fn new(path: &std::path::Path) -> Self {
        use std::os::fd::AsRawFd;
        let file = File::options().read(true).write(true).open(path).unwrap();
        let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
        // SAFETY: a new mapping of one byte of an open file, at an address of the kernel's choice.
        let mapping = unsafe { libc::mmap(std::ptr::null_mut(), 1, protection, flags, file.as_raw_fd(), 0) };
        assert_ne!(mapping, libc::MAP_FAILED);
        Self(mapping.cast())
    }

    fn store(&self, byte: u8) {
        // SAFETY: the mapping is one byte long, writable, and stays until it is dropped.
        unsafe { self.0.write_volatile(byte) }
    }
}

#[expect(unsafe_code, reason = "what was mapped is unmapped")]
impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, with this length, and nothing uses it any more.
        unsafe { libc::munmap(self.0.cast(), 1) };
    }
}

/// Bit rot, or a store through a mapping: the bytes change, and neither size nor times do. The proof elsewhere is of other bytes than
/// the ones here, and nobody can tell which ones are meant.
#[test]
fn alarm_about_bytes_that_changed_in_a_file() {
    let Some(volatile) = tmpfs() else {
        return crate::skip::skipped("refusals::alarm_about_bytes_that_changed_in_a_file", "there is no tmpfs");
    };
    let root = fs::canonicalize(volatile.path()).unwrap();
    let home = Home::new(&Setup::usual().volume_at("photos", &root));
    let path = root.join("a");
    crate::tree::write(&path, &content("a"));
    let mapped = Mapped::new(&path);
    // The first store moves the times, those after it do not.
    mapped.store(content("a")[0]);
    // A file that is as young as its reading is read again by every index run, which would find the change.
    wait_for("the file is no longer young", || {
        let changed = fs::metadata(&path).unwrap();
        let changed = Duration::new(changed.ctime().unsigned_abs(), u32::try_from(changed.ctime_nsec()).unwrap());
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() > changed + Duration::from_millis(100)
    });
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    mapped.store(!content("a")[0]);
    drop(mapped);
    let damaged = fs::read(&path).unwrap();
    assert_ne!(damaged, content("a"));
    let index = home.json(&["index"]);
    assert_eq!(index.count("unchanged"), 1, "an index run can tell: this is no test: {}", index.ran);

    // Every byte is hashed again before a deletion.
    let offload = home.json(&["offload", "photos", "a", "--yes"]).expect(1);
    assert_eq!(offload.file("a")["outcome"], "drift");
    assert_eq!(home.json(&["audit", "--deep"]).expect(1).count("damaged"), 1);
    let explained = home.json(&["explain", path.to_str().unwrap()]).expect(1);
    assert_eq!(explained.causes("a"), ["alarm"]);
    for more in [&[] as &[&str], &["--dry-run"]] {
        let refused = home.json(&[&["offload", "photos", "a", "--yes"], more].concat()).expect(1);
        assert_eq!(refused.causes("a"), ["alarm"]);
        assert_eq!(refused.file("a")["causes"][0]["fix"], "lastcopy alarms");
    }
    assert_eq!(fs::read(&path).unwrap(), damaged);
    let alarms = home.json(&["alarms"]).expect(1);
    let alarm = alarms.of("alarm").next().unwrap();
    assert_eq!((alarm["kind"].as_str(), alarm["path"].as_str()), (Some("content-changed"), Some("a")));

    // The indexed bytes come back, the others are kept, and nothing stands in the way any more.
    assert_eq!(alarm["fix"], "lastcopy restore photos a --in-place");
    follow(&home, alarm["fix"].as_str().unwrap(), 0);
    assert_eq!(fs::read(&path).unwrap(), content("a"));
    let kept = crate::tree::read_tree(&root.join(".lastcopy/kept"));
    assert!(kept.values().any(|entry| entry.bytes == damaged), "the damaged bytes were not kept");
    home.json(&["audit", "--deep"]).expect(0);
    home.json(&["alarms"]).expect(0);
    home.json(&["sync"]).expect(0);
    home.json(&["offload", "photos", "a", "--yes"]).expect(0);
    assert!(!path.exists());
}

#[test]
fn no_evidence_before_the_first_push() {
    let home = Home::new(&Setup::usual());
    home.write("photos", "a", &content("a"));
    home.run(&["index"]).expect(0);
    let fixes = refused(&home, &["no-evidence@usb", "no-receipt@usb"]);
    assert_eq!(fixes, ["lastcopy sync photos --to usb"]);
    follow(&home, &fixes[0], 0);
    opens(&home);
}

#[test]
fn behind_where_the_file_is_younger_than_the_last_push() {
    let home = pushed();
    home.write("photos", "a", &content("b"));
    home.run(&["index"]).expect(0);
    let fixes = refused(&home, &["behind@usb"]);
    assert_eq!(fixes, ["lastcopy sync photos --to usb"]);
    follow(&home, &fixes[0], 0);
    opens(&home);
}

#[test]
fn no_receipt_where_a_loss_was_acknowledged() {
    let home = pushed();
    flip_bit(&home.object("usb", &content("a")));
    home.run(&["verify", "usb"]).expect(1);
    let alarms = home.json(&["alarms"]).expect(1);
    let id = alarms.of("alarm").next().unwrap()["id"].to_string();
    // Nobody is there to answer.
    assert_eq!(home.json(&["alarms", "ack", &id]).expect(2).error_code(), "usage");
    home.run(&["alarms", "ack", &id, "--dry-run"]).expect(0);
    assert_eq!(home.json(&["alarms"]).expect(1).count("standing"), 1);
    home.run(&["alarms", "ack", &id, "--yes"]).expect(0);
    let fixes = refused(&home, &["no-receipt@usb"]);
    assert_eq!(fixes, ["lastcopy sync photos --to usb"]);
    follow(&home, &fixes[0], 0);
    opens(&home);
}

#[test]
fn unverified_where_everything_must_be_proven_again() {
    let home = pushed();
    copy_tree(&home.destination("usb"), &home.path("old"));
    home.write("photos", "c", &content("c"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    // An old copy of the destination is put in its place, and taken for what it is.
    fs::rename(home.destination("usb"), home.path("new")).unwrap();
    fs::rename(home.path("old"), home.destination("usb")).unwrap();
    assert_eq!(home.json(&["sync"]).expect(3).error_code(), "rolled-back");
    let fixes = refused(&home, &["alarm@usb", "unverified@usb"]);
    assert_eq!(fixes, ["lastcopy alarms", "lastcopy verify usb"]);
    let alarms = follow(&home, &fixes[0], 1);
    let alarm = alarms.of("alarm").next().unwrap();
    assert_eq!(alarm["kind"], "rolled-back");
    // It asks, and nobody is there.
    follow(&home, alarm["fix"].as_str().unwrap(), 2);
    follow(&home, &format!("{} --yes", alarm["fix"].as_str().unwrap()), 0);
    let fixes = refused(&home, &["no-evidence@usb", "unverified@usb"]);
    assert_eq!(fixes, ["lastcopy sync photos --to usb", "lastcopy verify usb"]);
    // What the old copy lacks is found lost; what it has opens nothing, until it is told there anew what belongs where.
    assert_eq!(follow(&home, &fixes[1], 1).count("lost"), 1);
    assert_eq!(refused(&home, &["no-evidence@usb"]), [&*fixes[0]]);
    follow(&home, &fixes[0], 0);
    opens(&home);
    home.run(&["offload", "photos", "c", "--yes"]).expect(0);
}

#[test]
fn stale_where_the_last_check_is_too_old() {
    let home = pushed();
    home.configure(&Setup::usual().policy("photos", "require = [\"usb\"]\nmax_evidence_age = \"2s\""));
    wait_for("the proof is too old", || explain(&home, "a").ran.code() == Some(1));
    let fixes = refused(&home, &["stale@usb"]);
    assert_eq!(fixes, ["lastcopy verify usb"]);
    // On a busy machine, it may be too old again before anybody looks.
    wait_for("a new proof is in time", || {
        follow(&home, &fixes[0], 0);
        home.json(&["offload", "photos", "a", "--yes"]).ran.code() == Some(0)
    });
}

#[test]
fn unreachable_where_it_cannot_be_told_who_is_there() {
    let home = pushed();
    let (marker, aside) = (home.destination("usb").join(".lastcopy-destination.json"), home.path("marker"));
    fs::rename(&marker, &aside).unwrap();
    explain(&home, "a").expect(0);
    let fixes = refused_when_asked(&home, &["unreachable@usb"]);
    assert_eq!(fixes, ["lastcopy destination probe usb"]);
    let probe = follow(&home, &fixes[0], 4);
    assert_eq!(probe.of("destination").next().unwrap()["answer"], "cannot-tell");
    assert_eq!(home.json(&["sync"]).expect(4).error_code(), "unreachable");
    fs::rename(&aside, &marker).unwrap();
    follow(&home, &fixes[0], 0);
    opens(&home);
}

/// Evidence alone is what `offline` goes by.
#[test]
fn offline_asks_nobody() {
    let home = Home::new(&Setup::usual().policy("photos", "require = [\"usb\"]\nconfirm = \"offline\""));
    home.write("photos", "a", &content("a"));
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let aside = home.path("aside");
    fs::rename(home.destination("usb"), &aside).unwrap();
    let asked = home.json(&["offload", "photos", "a", "--yes", "--confirm"]).expect(1);
    assert_eq!(asked.file("a")["outcome"], "blocked");
    assert!(home.volume("photos").join("a").exists());
    fs::rename(&aside, home.destination("usb")).unwrap();
    home.run(&["verify"]).expect(0);
    fs::rename(home.destination("usb"), &aside).unwrap();
    opens(&home);
}

#[test]
fn not_held_where_the_object_is_gone_at_the_moment_of_deletion() {
    let home = pushed();
    fs::remove_file(home.object("usb", &content("a"))).unwrap();
    explain(&home, "a").expect(0);
    let offload = &["offload", "photos", "a", "--yes"];
    let rehearsed = home.json(&[offload as &[&str], &["--dry-run"]].concat()).expect(1);
    assert_eq!(rehearsed.causes("a"), ["not-held@usb"]);
    // The real run also records the loss: an alarm stands, and the receipt is live no more.
    let real = home.json(offload).expect(1);
    assert_eq!(real.causes("a"), ["alarm@usb", "no-receipt@usb", "not-held@usb"]);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), content("a"));
    let fix = real.file("a")["causes"][2]["fix"].as_str().unwrap();
    assert_eq!(fix, "lastcopy sync photos --to usb");
    follow(&home, fix, 0);
    opens(&home);
}

#[test]
fn not_held_where_the_object_was_cut_short() {
    let home = pushed();
    let object = home.object("usb", &content("a"));
    crate::tree::set_mode(&object, 0o644);
    fs::write(&object, &content("a")[..100]).unwrap();
    let real = home.json(&["offload", "photos", "a", "--yes"]).expect(1);
    assert_eq!(real.causes("a"), ["alarm@usb", "no-receipt@usb", "not-held@usb"]);
    follow(&home, "lastcopy sync photos --to usb", 0);
    opens(&home);
}

/// Size and presence do not tell; `--confirm` and `confirm = "full"` read every byte again.
#[test]
fn not_held_where_every_byte_is_read_again() {
    let home = pushed();
    flip_bit(&home.object("usb", &content("a")));
    let real = home.json(&["offload", "photos", ".", "--yes", "--confirm"]).expect(1);
    assert_eq!(real.causes("a"), ["alarm@usb", "no-receipt@usb", "not-held@usb"]);
    assert_eq!(real.file("b")["outcome"], "offloaded");

    let home = pushed();
    home.configure(&Setup::usual().policy("photos", "require = [\"usb\"]\nconfirm = \"full\""));
    flip_bit(&home.object("usb", &content("a")));
    let real = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(real.causes("a"), ["alarm@usb", "no-receipt@usb", "not-held@usb"]);
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), content("a"));
}

#[test]
fn in_use_while_somebody_has_it_open_for_writing() {
    let home = pushed();
    let open = File::options().append(true).open(home.volume("photos").join("a")).unwrap();
    explain(&home, "a").expect(0);
    let fixes = refused_when_asked(&home, &["in-use"]);
    assert_eq!(fixes, ["close it, then offload again"]);
    drop(open);
    opens(&home);
}

#[test]
fn needed_where_it_is_our_own_configuration() {
    let home = pushed();
    let inside = home.volume("photos").join("config.toml");
    fs::copy(home.config(), &inside).unwrap();
    set_mtime(&inside, SystemTime::now() - Duration::from_secs(3600));
    let with = |arguments: &[&str]| home.json(&[&["--config", inside.to_str().unwrap()], arguments].concat());
    with(&["index"]).expect(0);
    with(&["sync"]).expect(0);
    let explained = with(&["explain", inside.to_str().unwrap()]).expect(1);
    assert_eq!(explained.causes("config.toml"), ["needed"]);
    let offload = &["offload", "photos", ".", "--yes"];
    let rehearsed = with(&[offload as &[&str], &["--dry-run"]].concat()).expect(1);
    assert_eq!(rehearsed.causes("config.toml"), ["needed"]);
    let real = with(offload).expect(1);
    assert_eq!(real.causes("config.toml"), ["needed"]);
    assert_eq!((real.count("offloaded"), real.count("blocked")), (2, 1));
    assert!(inside.exists());
    // Another configuration does not need that one.
    assert_eq!(home.json(offload).expect(0).count("offloaded"), 1);
}

#[test]
fn needed_where_it_is_this_program() {
    let home = pushed();
    let inside = home.volume("photos").join("lastcopy");
    fs::hard_link(env!("CARGO_BIN_EXE_lastcopy"), &inside).unwrap();
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    assert_eq!(home.json(&["explain", inside.to_str().unwrap()]).expect(1).causes("lastcopy"), ["needed"]);
}

/// A hook's program that lies in a volume: offloaded, the hook could never run again. By a link, too.
#[test]
fn needed_where_the_configuration_names_it() {
    let home = pushed();
    let (program, link) = (home.volume("photos").join("a"), home.path("link"));
    std::os::unix::fs::symlink(&program, &link).unwrap();
    for named in [&program, &link] {
        home.configure(&Setup::usual().volume_lines("photos", &format!("hook = {{ command = [{named:?}] }}")));
        let fixes = refused(&home, &["needed"]);
        assert_eq!(fixes, ["leave it here; a key or a program may also move out of the volume"]);
    }
    home.configure(&Setup::usual().volume_lines("photos", "hook = { command = [\"a\"] }"));
    opens(&home);
}

/// Offloaded, it would leave nothing out any more: what it keeps at home was sent away by the next push.
#[test]
fn needed_where_it_says_what_to_leave_out() {
    let home = pushed();
    home.write("photos", ".lastcopyignore", b"private/\n");
    home.write("photos", "private/diary", b"mine");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let offloaded = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(offloaded.causes(".lastcopyignore"), ["needed"]);
    let explained = home.json(&["explain", home.volume("photos").join(".lastcopyignore").to_str().unwrap()]).expect(1);
    assert_eq!(explained.causes(".lastcopyignore"), ["needed"]);
    assert_eq!(offloaded.count("offloaded"), 2);
    assert_eq!(home.json(&["index"]).expect(0).count("added"), 0);
}

/// Keys: what was offloaded would be there, and nobody could read it.
#[test]
fn needed_where_it_is_a_key() {
    let home = pushed();
    let key = home.volume("photos").join("a");
    let (away, accounts) = (home.path("away"), home.path("accounts.json"));
    fs::write(&accounts, format!("{{\n  \"type\": \"sftp\",\n  \"keyfile\": {key:?},\n}}\n")).unwrap();
    let mirror = format!("[destinations.box]\nkind = \"mirror\"\nremote = {away:?}\n");
    let kopia = "[destinations.vault]\nkind = \"kopia\"\n";
    for named in [
        format!("{mirror}index_password = {{ file = {key:?} }}\n"),
        format!("{mirror}index_password = {{ command = [\"cat\", {key:?}] }}\n"),
        // One word for a shell, and where a program looks by itself.
        format!("{mirror}index_password = {{ command = [\"sh\", \"-c\", \"cat '{}'\"] }}\n", key.display()),
        format!(
            "[destinations.box]\nkind = \"mirror\"\nremote = \"far:x\"\nrclone = {{ type = \"sftp\", ssh = \"ssh -i {} me@far\" }}\n",
            key.display()
        ),
        format!("[destinations.box]\nkind = \"mirror\"\nremote = \"far:x\"\nrclone = {{ type = \"sftp\", key-file = {key:?} }}\n"),
        format!("{kopia}repository = \"filesystem\"\noptions = {{ path = {away:?} }}\npassword = {{ file = {key:?} }}\n"),
        format!("{kopia}config_file = {accounts:?}\npassword = {{ command = [\"true\"] }}\n"),
    ] {
        home.configure(&Setup::usual());
        let text = fs::read_to_string(home.config()).unwrap();
        home.write_config(&format!("{text}\n{named}"));
        let fixes = refused(&home, &["needed"]);
        assert_eq!(fixes, ["leave it here; a key or a program may also move out of the volume"], "{named}");
    }
    home.configure(&Setup::usual());
    opens(&home);
}

/// Nobody names the keys of ssh, nor those by which `pass` opens what it keeps.
#[test]
fn needed_where_keys_are_usually_kept() {
    let home = pushed();
    home.write("photos", "keys/deep/id", b"a key");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    let text = fs::read_to_string(home.config()).unwrap();
    let far = "[destinations.box]\nkind = \"mirror\"\nremote = \"far:x\"\nrclone = { type = \"sftp\", host = \"far\" }\n";
    let asks = "index_password = { command = [\"echo\", \"pass\"] }\n";
    for (place, section) in [(".ssh", far.to_owned()), (".password-store", format!("{far}{asks}"))] {
        let link = home.path(place);
        std::os::unix::fs::symlink(home.volume("photos").join("keys"), &link).unwrap();
        home.write_config(&format!("{text}\n{section}"));
        let rehearsed = home.json(&["offload", "photos", ".", "--yes", "--dry-run"]).expect(1);
        assert_eq!(rehearsed.causes("keys/deep/id"), ["needed"], "{place}");
        assert_eq!((rehearsed.count("offloaded"), rehearsed.count("blocked")), (2, 1));
        fs::remove_file(link).unwrap();
    }
    // Also where only a part of the place is somewhere else.
    fs::create_dir(home.path(".ssh")).unwrap();
    std::os::unix::fs::symlink(home.volume("photos").join("keys"), home.path(".ssh").join("of-work")).unwrap();
    home.write_config(&format!("{text}\n{far}"));
    assert_eq!(home.json(&["offload", "photos", ".", "--yes", "--dry-run"]).expect(1).causes("keys/deep/id"), ["needed"]);
    home.write_config(&text);
    assert_eq!(home.json(&["offload", "photos", ".", "--yes"]).expect(0).count("offloaded"), 3);
}

#[test]
fn drift_where_the_file_is_not_what_the_index_says() {
    let home = pushed();
    home.write("photos", "a", b"changed since");
    fs::remove_file(home.volume("photos").join("b")).unwrap();
    let rehearsed = home.json(&["offload", "photos", ".", "--yes", "--dry-run"]).expect(1);
    let real = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!(outcomes(&rehearsed, false), outcomes(&real, false));
    assert_eq!((real.count("drift"), real.count("offloaded")), (2, 0));
    assert_eq!(fs::read(home.volume("photos").join("a")).unwrap(), b"changed since");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    opens(&home);
}
