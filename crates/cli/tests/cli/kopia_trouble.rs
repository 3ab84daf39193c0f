//! Repositories of kopia's in trouble: programs that are killed at any moment, a disk that fills, and others who use the same repository.
//! After each, the test asks a kopia of its own what is there; nothing of lastcopy's is asked.

use crate::home::Home;
use crate::kopia::{no_kopia, section};
use crate::mounts::{Mounted, NO_MOUNTS, fill};
use crate::ran::{Background, wait_for};
use crate::skip::skipped;
use crate::tree::{Tree, assert_same_tree, digest, noise};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const PASSWORD: &str = "open sesame";
/// With it, the moments are chosen as they were in another run.
const SEED: &str = "LASTCOPY_TEST_SEED";

/// Somebody who has kopia, and the password.
struct Somebody {
    own: PathBuf,
}

impl Somebody {
    fn new(home: &Home, vault: &Path) -> Self {
        let own = home.path("somebody");
        fs::create_dir_all(&own).unwrap();
        let connection = serde_json::json!({
            "storage": { "type": "filesystem", "config": { "path": vault, "dirShards": null } },
            "caching": {},
            "hostname": "somebody",
            "username": "else",
            "formatBlobCacheDuration": -1,
        });
        fs::write(own.join("config"), connection.to_string()).unwrap();
        Self { own }
    }

    #[track_caller]
    fn kopia(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("kopia");
        command.arg(format!("--config-file={}", self.own.join("config").display()));
        command.arg(format!("--log-dir={}", self.own.join("log").display()));
        command.args(["--no-persist-credentials", "--no-auto-maintenance", "--file-log-level=warning"]).args(arguments);
        command.env("KOPIA_PASSWORD", PASSWORD).env("KOPIA_CHECK_FOR_UPDATES", "false").env("HOME", &self.own);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Digests of everything that whole and pinned snapshots of volumes give back.
    #[track_caller]
    fn held(&self) -> BTreeSet<String> {
        let listed = self.kopia(&["snapshot", "list", "--all", "--json"]).stdout;
        let snapshots: serde_json::Value = serde_json::from_slice(&listed).unwrap();
        let counts = |snapshot: &&serde_json::Value| {
            let of_contents = ["/files", "/contents"].iter().any(|path| snapshot["source"]["path"] == *path);
            of_contents && snapshot["pins"].is_array() && snapshot["incomplete"].is_null()
        };
        let snapshots = snapshots.as_array().unwrap().iter().filter(counts);
        let roots: BTreeSet<_> = snapshots.map(|snapshot| snapshot["rootEntry"]["obj"].as_str().unwrap()).collect();
        let (mut held, restored) = (BTreeSet::new(), self.own.join("restored"));
        for root in roots {
            self.kopia(&["snapshot", "restore", "--no-progress", root, restored.to_str().unwrap()]);
            held.extend(crate::tree::read_tree(&restored).values().map(|entry| digest(&entry.bytes)));
            fs::remove_dir_all(&restored).unwrap();
        }
        held
    }

    /// That whatever left the volume is held.
    #[track_caller]
    fn holds_what_left(&self, home: &Home, all: &Tree) {
        let (held, here) = (self.held(), home.tree("photos"));
        for (path, entry) in all {
            match here.get(path) {
                Some(found) => assert!(found.bytes == entry.bytes, "{} changed", path.display()),
                None => assert!(held.contains(&digest(&entry.bytes)), "{} is lost", path.display()),
            }
        }
    }
}

/// A home with a volume `photos` that may be offloaded to a repository, which is made, or adopted, below a directory.
fn home_with(vault: &Path, joins: bool) -> Home {
    let home = Home::empty();
    let volume = home.volume("photos");
    fs::create_dir_all(&volume).unwrap();
    home.write_config(&format!(
        "[volumes.photos]\npath = {volume:?}\nsync_to = [\"vault\"]\n[volumes.photos.offload]\nrequire = [\"vault\"]\n{}",
        section(&home, vault, PASSWORD)
    ));
    home.run(&["volume", "add", "photos", volume.to_str().unwrap()]).expect(0);
    if joins {
        home.run(&["destination", "adopt", "vault", "--yes"]).expect(0);
    } else {
        fs::create_dir_all(vault).unwrap();
        home.run(&["destination", "init", "vault"]).expect(0);
    }
    home
}

/// Writes some files, none like another, and gives them.
fn write_some(home: &Home, name: &str) {
    for number in 0..6 {
        let size = [10, 3_000, 400_000][number % 3];
        home.write("photos", &format!("{name}/{number}"), &noise(&format!("{name} {number}"), size));
    }
}

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whom {
    Lastcopy,
    Kopia,
    Both,
}

/// Random numbers, from a seed that is told.
struct Random(u64);

impl Random {
    fn new(test: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = std::env::var(SEED).ok().and_then(|seed| seed.parse().ok()).unwrap_or(u64::from(now.subsec_nanos()));
        std::io::stderr().write_all(format!("{test}: {SEED}={seed}\n").as_bytes()).unwrap();
        Self(seed)
    }

    /// Less than a bound.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        let bytes = lastcopy_fs::hash_bytes(&self.0.to_le_bytes()).hash.0;
        u64::from_le_bytes(bytes[..8].try_into().unwrap()) % bound.max(1)
    }
}

/// The processes that a process started, and theirs.
fn children(process: i32) -> Vec<i32> {
    let mut found = Vec::new();
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    for thread in threads {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            found.push(child);
            found.extend(self::children(child));
        }
    }
    found
}

fn kill(process: i32) {
    // It may have ended by itself.
    let _ended = kill_process(Pid::from_raw(process).unwrap(), Signal::KILL);
}

/// Whether a process does nothing any more; whoever has to look after it may be late.
fn is_over(process: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
}

/// Kills at a moment. Says whether there was anybody.
fn kill_after(push: &mut Background, moment: Duration, whom: Whom) -> bool {
    let parent = i32::try_from(push.pid()).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < moment && push.is_running() {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Between two of its commands, no kopia runs.
    let mut kopias = children(parent);
    while whom != Whom::Lastcopy && kopias.is_empty() && push.is_running() {
        kopias = children(parent);
    }
    if !push.is_running() {
        return false;
    }
    if whom != Whom::Kopia {
        kill(parent);
    }
    if whom != Whom::Lastcopy {
        kopias.iter().copied().for_each(kill);
    }
    wait_for("kopia ends, too", || whom == Whom::Kopia || kopias.iter().all(|kopia| is_over(*kopia)));
    true
}

/// Pushes are killed, one after the other. What is gone from the volume is always in the repository, and the next push goes on.
fn killed(test: &str, whom: Whom) {
    const ROUNDS: usize = 3;
    const MOST: usize = 12;
    if no_kopia(test) {
        return;
    }
    let mut random = Random::new(test);
    let vault = tempfile::tempdir().unwrap();
    let home = home_with(vault.path(), false);
    let somebody = Somebody::new(&home, vault.path());
    write_some(&home, "first");
    let mut all = home.tree("photos");
    home.run(&["index"]).expect(0);
    let begun = Instant::now();
    home.run(&["sync"]).expect(0);
    let mut whole = begun.elapsed();
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    let mut anybody = 0;
    let mut round = 0;
    while round < ROUNDS || anybody == 0 && round < MOST {
        write_some(&home, &format!("round {round}"));
        all.extend(home.tree("photos"));
        home.run(&["index"]).expect(0);
        let mut push = home.spawn(&["sync"]);
        let moment = Duration::from_micros(random.below(u64::try_from(whole.as_micros()).unwrap()));
        let there_was = kill_after(&mut push, moment, whom);
        anybody += usize::from(there_was);
        let ended = push.wait();
        assert!(!ended.stderr.contains("panicked"), "{ended}");
        // Whatever the gate lets go now is there.
        let offload = home.run(&["offload", "photos", ".", "--yes"]);
        assert!(offload.code().is_some_and(|code| code < 2), "after {moment:?}: {offload}\n{ended}");
        somebody.holds_what_left(&home, &all);
        home.run(&["sync"]).expect(0);
        home.run(&["offload", "photos", ".", "--yes"]);
        assert!(home.tree("photos").is_empty(), "after {moment:?} of {whole:?}, not everything could be offloaded:\n{ended}");
        somebody.holds_what_left(&home, &all);
        // It was quicker than the first one.
        whole = if there_was { whole } else { whole / 2 };
        round += 1;
    }
    assert!(anybody > 0, "all pushes ended before they could be killed");
    assert_eq!(home.json(&["verify", "vault", "--all"]).expect(0).count("lost"), 0);
    home.run(&["restore", "photos"]).expect(0);
    assert_same_tree(&home.tree("photos"), &all);
}

#[test]
fn lastcopy_is_killed_at_any_moment() {
    killed("kopia_trouble::lastcopy_is_killed_at_any_moment", Whom::Lastcopy);
}

#[test]
fn kopia_is_killed_at_any_moment() {
    killed("kopia_trouble::kopia_is_killed_at_any_moment", Whom::Kopia);
}

#[test]
fn both_are_killed_at_any_moment() {
    killed("kopia_trouble::both_are_killed_at_any_moment", Whom::Both);
}

/// A disk that fills while a repository on it is written to: the push says so, nothing of it counts, and what was there before comes back.
/// Once there is room, the next one goes on.
#[test]
fn a_disk_that_fills() {
    const NAME: &str = "kopia_trouble::a_disk_that_fills";
    if no_kopia(NAME) {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let Some(_small) = Mounted::small(disk.path()) else { return skipped(NAME, NO_MOUNTS) };
    let vault = disk.path().join("vault");
    let home = home_with(&vault, false);
    let somebody = Somebody::new(&home, &vault);
    home.write("photos", "old/a", &noise("a", 30_000));
    home.write("photos", "old/b", &noise("b", 500));
    let mut all = home.tree("photos");
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", "old", "--yes"]).expect(0);
    for number in 0..8 {
        home.write("photos", &format!("new/{number}"), &noise(&format!("new {number}"), 60_000));
    }
    all.extend(home.tree("photos"));
    home.run(&["index"]).expect(0);
    // Room for the first blobs of a push, and not for all.
    let filling = disk.path().join("filling");
    fill(&filling);
    fs::File::options().write(true).open(&filling).unwrap().set_len(fs::metadata(&filling).unwrap().len() - (200 << 10)).unwrap();
    let push = home.json(&["sync"]).expect(4);
    let message = push.error()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("space") || message.contains("full"), "{message}");
    assert_eq!(push.summary()["advanced"], false);
    let json = home.json(&["offload", "photos", ".", "--yes"]).expect(1);
    assert_eq!((json.count("offloaded"), json.count("blocked")), (0, 8));
    somebody.holds_what_left(&home, &all);
    // What was proven before still is, and comes back from a disk without room.
    home.run(&["restore", "photos", "old/a"]).expect(0);
    fs::remove_file(home.volume("photos").join("old/a")).unwrap();
    fs::remove_file(filling).unwrap();
    home.run(&["index"]).expect(0);
    home.run(&["sync"]).expect(0);
    home.run(&["offload", "photos", ".", "--yes"]).expect(0);
    assert!(home.tree("photos").is_empty());
    somebody.holds_what_left(&home, &all);
    assert_eq!(home.json(&["verify", "vault", "--all"]).expect(0).count("lost"), 0);
    home.run(&["restore", "photos", "new"]).expect(0);
    let new = all.iter().filter(|(path, _)| path.starts_with("new")).map(|(path, entry)| (path.clone(), entry.clone())).collect();
    assert_same_tree(&home.tree("photos"), &new);
}

/// Two machines with volumes of one name push to one repository, also at the same time, and somebody runs kopia's full maintenance in
/// between, without its safety too: each gets everything of its own back, and nothing is told to be lost.
#[test]
fn two_nodes_and_somebody_who_tidies_up() {
    if no_kopia("kopia_trouble::two_nodes_and_somebody_who_tidies_up") {
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let vault = disk.path().join("vault");
    let homes = [home_with(&vault, false), home_with(&vault, true)];
    let somebody = Somebody::new(&homes[0], &vault);
    somebody.kopia(&["maintenance", "set", "--owner=me"]);
    let mut all = [Tree::new(), Tree::new()];
    for (round, safety) in [(0, "full"), (1, "none")] {
        for (number, home) in homes.iter().enumerate() {
            write_some(home, &format!("node {number} round {round}"));
            // The same at both: kopia keeps it once.
            home.write("photos", &format!("shared {round}"), &noise(&format!("shared {round}"), 5_000));
            all[number].extend(home.tree("photos"));
            home.run(&["index"]).expect(0);
        }
        let pushes: Vec<_> = homes.iter().map(|home| home.spawn(&["sync"])).collect();
        pushes.into_iter().for_each(|push| drop(push.wait().expect(0)));
        somebody.kopia(&["maintenance", "run", "--full", &format!("--safety={safety}")]);
        // What one lets go is in no newer snapshot of its own; the other one goes on with what is there.
        homes[round].run(&["offload", "photos", ".", "--yes"]).expect(0);
        homes[round].run(&["sync"]).expect(0);
        somebody.kopia(&["maintenance", "run", "--full", &format!("--safety={safety}")]);
        for (home, all) in homes.iter().zip(&all) {
            somebody.holds_what_left(home, all);
        }
    }
    for (home, all) in homes.iter().zip(&all) {
        assert_eq!(home.json(&["verify", "vault", "--all"]).expect(0).count("lost"), 0);
        home.run(&["restore", "photos"]).expect(0);
        assert_same_tree(&home.tree("photos"), all);
        assert!(home.json(&["alarms"]).expect(0).of("alarm").next().is_none());
    }
}
