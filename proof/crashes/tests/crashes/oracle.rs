//! What the oracle finds, and what it leaves alone.

use lastcopy_crashes::home::{DESTINATIONS, Home};
use lastcopy_crashes::oracle::{Edited, Expected};
use lastcopy_crashes::workload::Second;
use lastcopy_scene::tree;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const STAYS: &[u8] = b"stays";
const LEAVES: &[u8] = b"leaves";

/// A volume with `dir/stays` and `leaves`; destinations hold both. The second may be offloaded.
struct World {
    home: Home,
    expected: Expected,
    _temporary: TempDir,
}

impl World {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let home = Home::new(&temporary.path().join("home"), Path::new("no program is needed"));
        home.make("", Second::Cas).unwrap();
        tree::write(&home.volume().join("dir/stays"), STAYS).unwrap();
        tree::write(&home.volume().join("leaves"), LEAVES).unwrap();
        for destination in DESTINATIONS {
            for bytes in [STAYS, LEAVES] {
                tree::write(&object(&home, destination, bytes), bytes).unwrap();
            }
        }
        let originals = tree::read(&home.volume(), None).unwrap();
        let expected = Expected::of(&home, originals, &|path| path == Path::new("leaves"), Second::Cas).unwrap();
        Self { home, expected, _temporary: temporary }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.home.volume().join(path)
    }

    fn move_to(&self, from: &str, to: &str) {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn object(&self, destination: &str, bytes: &[u8]) -> PathBuf {
        object(&self.home, destination, bytes)
    }

    /// What is found after the world was changed.
    #[track_caller]
    fn check(&self, expected: &[&str]) {
        let wrong = self.expected.check(&self.home).unwrap();
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for (wrong, expected) in wrong.iter().zip(expected) {
            assert!(wrong.contains(expected), "{wrong}");
        }
    }
}

fn object(home: &Home, destination: &str, bytes: &[u8]) -> PathBuf {
    let name = blake3::hash(bytes).to_hex().to_string();
    home.destination(destination).join("objects").join(&name[..2]).join(name)
}

#[test]
fn what_may_be_is_no_finding() {
    let world = World::new();
    world.check(&[]);
    world.move_to("dir/stays", ".lastcopy/offload/12/dir/stays");
    world.check(&[]);
    world.move_to(".lastcopy/offload/12/dir/stays", ".lastcopy/kept/12/dir/stays");
    fs::remove_file(world.path("leaves")).unwrap();
    for litter in ["incoming/x/y/half", "damaged/old", "volumes/v/e/head.json", ".lastcopy-destination.json.1.tmp"] {
        tree::write(&world.home.destination("usb").join(litter), b"ours").unwrap();
    }
    world.check(&[]);
}

#[test]
fn a_file_that_is_gone_is_found_unless_everybody_holds_it() {
    let world = World::new();
    fs::remove_file(world.path("dir/stays")).unwrap();
    world.check(&["dir/stays: its content is lost"]);
    let world = World::new();
    fs::remove_file(world.path("leaves")).unwrap();
    fs::remove_file(world.object("nas", LEAVES)).unwrap();
    world.check(&["leaves: its content is lost", "nas: object"]);
}

#[test]
fn bytes_that_nobody_wrote_are_found() {
    let world = World::new();
    fs::write(world.path("leaves"), b"torn").unwrap();
    world.check(&["leaves: holds bytes that nobody wrote there"]);
    let world = World::new();
    fs::write(world.path("dir/new"), STAYS).unwrap();
    world.check(&["dir/new: holds bytes that nobody wrote there"]);
    let world = World::new();
    tree::write(&world.path(".lastcopy/offload/3/leaves"), STAYS).unwrap();
    world.check(&["leaves: is aside or kept with bytes that were never there"]);
}

/// A person wrote over one file, and made another one where one was set aside.
#[test]
fn what_a_person_did_meanwhile_is_expected() {
    let (new, more) = (b"new".as_slice(), b"more".as_slice());
    let mut world = World::new();
    fs::write(world.path("dir/stays"), new).unwrap();
    world.check(&["dir/stays: its content is lost", "dir/stays: holds bytes that nobody wrote there"]);
    let edited = |path: &str, replaced: Option<&[u8]>, written: &[u8]| Edited {
        path: path.into(),
        replaced: replaced.map(blake3::hash),
        written: Some(blake3::hash(written)),
    };
    world.expected = world.expected.clone().edited(edited("dir/stays", Some(STAYS), new));
    world.check(&[]);
    world.move_to("dir/stays", ".lastcopy/kept/12/dir/stays");
    world.check(&[]);
    assert!(world.expected.check_settled(&world.home).unwrap().is_empty(), "it may stay there");
    // What was given up may be brought back.
    fs::write(world.path("dir/stays"), STAYS).unwrap();
    world.check(&[]);
    fs::remove_file(world.path(".lastcopy/kept/12/dir/stays")).unwrap();
    world.check(&["dir/stays: its content is lost"]);
    // Where nothing was replaced, both must be kept.
    let mut world = World::new();
    world.move_to("dir/stays", ".lastcopy/offload/12/dir/stays");
    fs::write(world.path("dir/stays"), more).unwrap();
    world.expected = world.expected.clone().edited(edited("dir/stays", None, more));
    world.check(&[]);
    fs::remove_file(world.path(".lastcopy/offload/12/dir/stays")).unwrap();
    world.check(&["dir/stays: its content is lost"]);
}

#[test]
fn a_destination_that_breaks_is_found() {
    let world = World::new();
    tree::flip_bit(&world.object("usb", STAYS)).unwrap();
    world.check(&["was intact, and is not any more", "does not hash to its name"]);
    assert_eq!(world.expected.check_pushed(&world.home).unwrap().len(), 2);
    let world = World::new();
    let object = world.object("usb", STAYS);
    fs::rename(&object, object.with_file_name("elsewhere")).unwrap();
    world.check(&["was intact, and is not any more", "object elsewhere does not hash to its name"]);
    let world = World::new();
    fs::write(world.home.destination("usb").join("stray"), b"").unwrap();
    world.check(&["usb: stray does not belong there"]);
}

/// What the index takes for proven has to be there, at any moment; and the index has to be one.
#[test]
fn what_the_index_claims_is_looked_for() {
    let world = World::new();
    let index = world.home.index();
    fs::create_dir_all(index.parent().unwrap()).unwrap();
    let open = || rusqlite::Connection::open(&index).unwrap();
    let tables = "CREATE TABLE destination (id INTEGER PRIMARY KEY, name, kind, incarnation);
        CREATE TABLE content (id INTEGER PRIMARY KEY, blake3);
        CREATE TABLE receipt (destination, content, level, lost_at, incarnation);
        INSERT INTO destination VALUES (1, 'usb', 'cas', 'who'), (2, 'nas', 'mirror', 'who');";
    open().execute_batch(tables).unwrap();
    let claim = |number: i64, destination: i64, bytes: &[u8]| {
        let insert = "INSERT INTO content VALUES (?, ?)";
        open().execute(insert, (number, blake3::hash(bytes).as_bytes())).unwrap();
        open().execute("INSERT INTO receipt VALUES (?, ?, 'verified', NULL, 'who')", (destination, number)).unwrap();
    };
    claim(1, 1, STAYS);
    claim(2, 2, b"a mirror has no objects");
    world.check(&[]);
    claim(3, 1, b"never sent");
    world.check(&["for proven at usb, where it is not"]);
    for weaker in ["lost_at = 1", "lost_at = NULL, level = 'stored'", "level = 'verified', incarnation = 'another'"] {
        open().execute_batch(&format!("UPDATE receipt SET {weaker} WHERE content = 3")).unwrap();
        world.check(&[]);
    }
    let whole = fs::read(&index).unwrap();
    fs::write(&index, [&whole[..whole.len() - 4096], &[7; 4096]].concat()).unwrap();
    world.check(&["the index cannot be believed"]);
}

#[test]
fn each_goal_can_be_missed() {
    let world = World::new();
    let (home, expected) = (&world.home, &world.expected);
    assert!(expected.check_home(home, true).unwrap().is_empty());
    assert!(expected.check_pushed(home).unwrap().is_empty());
    assert_eq!(expected.check_left(home).unwrap().len(), 1);
    assert_eq!(expected.check_aside(home).unwrap().len(), 4);
    world.move_to("leaves", ".lastcopy/offload/1/leaves");
    assert!(expected.check_left(home).unwrap().is_empty());
    assert_eq!(expected.check_settled(home).unwrap().len(), 1);
    assert_eq!(expected.check_home(home, false).unwrap().len(), 1);
    fs::remove_file(world.object("usb", LEAVES)).unwrap();
    assert_eq!(expected.check_pushed(home).unwrap().len(), 1);
    // The same bytes with other times: at home, but not as it was.
    world.move_to(".lastcopy/offload/1/leaves", "leaves");
    fs::write(world.path("leaves"), LEAVES).unwrap();
    assert!(expected.check_home(home, false).unwrap().is_empty());
    assert_eq!(expected.check_home(home, true).unwrap().len(), 1);
    assert!(expected.check_settled(home).unwrap().is_empty());
}
