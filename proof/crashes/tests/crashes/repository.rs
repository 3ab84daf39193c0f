//! What the oracle sees of a repository of kopia's: each rule is able to fail.

use lastcopy_crashes::home::{DESTINATIONS, Home};
use lastcopy_crashes::oracle::Expected;
use lastcopy_crashes::repository::{self, PASSWORD};
use lastcopy_crashes::workload::Second;
use lastcopy_scene::installed;
use lastcopy_scene::tree::{self, noise};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// Whether there is a kopia to test with; if not, the test is skipped by its name.
fn no_kopia(test: &str) -> bool {
    let missing = installed("kopia").is_none();
    if missing {
        let line = format!("{test}: kopia is not installed\n");
        if let Some(path) = std::env::var_os("LASTCOPY_SKIPPED_TESTS") {
            let mut list = fs::File::options().create(true).append(true).open(path).unwrap();
            list.write_all(line.as_bytes()).unwrap();
        }
        std::io::stderr().write_all(format!("skipped {line}").as_bytes()).unwrap();
    }
    missing
}

/// A home whose second destination is a repository that somebody made.
struct World {
    home: Home,
    temporary: TempDir,
}

impl World {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let home = Home::new(&temporary.path().join("home"), Path::new("no program is needed"));
        home.make("", Second::Kopia).unwrap();
        let world = Self { home, temporary };
        world.kopia(&["repository", "create", "filesystem", "--path", world.root().to_str().unwrap()]);
        world
    }

    fn root(&self) -> PathBuf {
        self.home.destination(DESTINATIONS[1])
    }

    fn kopia(&self, arguments: &[&str]) {
        let own = self.temporary.path().join("somebody");
        let mut command = Command::new("kopia");
        command.arg(format!("--config-file={}", own.join("config").display())).args(arguments);
        command.args(["--no-persist-credentials", "--no-auto-maintenance"]).arg(format!("--log-dir={}", own.display()));
        command.env("KOPIA_PASSWORD", PASSWORD).env("KOPIA_CACHE_DIRECTORY", own.join("cache")).stdin(Stdio::null());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// A snapshot of a directory with one file.
    fn snapshot(&self, bytes: &[u8], source: &str, more: &[&str]) {
        let dir = self.temporary.path().join("tree");
        tree::remove(&dir).unwrap();
        tree::write(&dir.join("file"), bytes).unwrap();
        let source = format!("--override-source={source}");
        self.kopia(&[&["snapshot", "create", dir.to_str().unwrap(), source.as_str()], more].concat());
    }

    fn holds(&self, bytes: &[u8]) -> bool {
        let held = repository::held(&self.home, &self.root()).unwrap();
        held.contents.contains(blake3::hash(bytes).to_hex().as_str())
    }
}

#[test]
fn only_whole_and_pinned_snapshots_of_volumes_count() {
    if no_kopia("repository::only_whole_and_pinned_snapshots_of_volumes_count") {
        return;
    }
    let world = World::new();
    assert!(!world.holds(b"pinned"));
    world.snapshot(b"pinned", "lastcopy@volume:/files", &["--pin=one"]);
    world.snapshot(b"not pinned", "lastcopy@volume:/files", &[]);
    world.snapshot(b"a head", "lastcopy@volume:/epoch/head", &["--pin=two"]);
    assert!(world.holds(b"pinned"));
    assert!(!world.holds(b"not pinned") && !world.holds(b"a head"));
}

#[test]
fn damage_and_strays_are_found() {
    if no_kopia("repository::damage_and_strays_are_found") {
        return;
    }
    let world = World::new();
    let large = noise(b"large", 50_000);
    world.snapshot(&large, "lastcopy@volume:/files", &["--pin=one"]);
    tree::write(&world.home.volume().join("file"), &large).unwrap();
    let originals = tree::read(&world.home.volume(), None).unwrap();
    let expected = Expected::of(&world.home, originals, &|_| false, Second::Kopia).unwrap();
    assert_eq!(expected.check(&world.home).unwrap(), Vec::<String>::new());
    tree::write(&world.root().join("something"), b"of ours").unwrap();
    let wrong = expected.check(&world.home).unwrap();
    assert!(wrong.len() == 1 && wrong[0].contains("something does not belong there"), "{wrong:?}");
    fs::remove_file(world.root().join("something")).unwrap();
    tree::flip_bit(&repository::largest_pack(&world.root()).unwrap()).unwrap();
    let wrong = expected.check(&world.home).unwrap();
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("was intact, and is not any more") && wrong[1].contains("cannot be restored whole"), "{wrong:?}");
    assert_eq!(expected.check_pushed(&world.home).unwrap().len(), 3);
    world.snapshot(b"nobody's", "lastcopy@volume:/contents", &["--pin=two"]);
    let wrong = expected.check(&world.home).unwrap();
    assert!(wrong.iter().any(|wrong| wrong.contains("bytes that nobody wrote")), "{wrong:?}");
}
