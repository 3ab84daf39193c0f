//! What kopia stores is what the snapshot says, and no more is claimed: ignore rules, limits, names, and files that it believes unchanged.

use crate::node::Node;
use crate::skip::{no_kopia, skipped};
use crate::subject::MadeRepository;
use lastcopy_store::RunStatus;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, SystemTime};

/// Rules that kopia would follow for its own snapshots are not followed for ours.
#[test]
fn ignore_files_and_policies_of_others_leave_nothing_out() {
    if no_kopia("left_out::ignore_files_and_policies_of_others_leave_nothing_out") {
        return;
    }
    let node = Node::new();
    node.somebody(&["policy", "set", "--global", "--add-ignore=*.jpg", "--max-file-size=1000", "--keep-latest=1"]);
    node.write(".kopiaignore", b"*\n");
    node.write("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55");
    for path in ["a.jpg", "cache/x", "sub/.lastcopy-not", "deep/b"] {
        node.write(path, path.repeat(500).as_bytes());
    }
    let report = node.push();
    assert_eq!((report.verified, report.excluded.count), (6, 0));
    // Heads and segments are files for kopia, too.
    assert!(node.gate("a.jpg") && node.gate("cache/x"));
}

/// A person may limit our own source: what kopia leaves out then is excluded by name, and holds nothing else back.
#[test]
fn what_a_policy_leaves_out_is_excluded_by_name() {
    if no_kopia("left_out::what_a_policy_leaves_out_is_excluded_by_name") {
        return;
    }
    let node = Node::new();
    node.somebody(&["policy", "set", &node.source(), "--max-file-size=1000", "--add-ignore=*.tmp"]);
    node.write("small", b"stored");
    node.write("large", &[7; 5000]);
    node.write("x.tmp", b"ignored");
    let pushing = node.push_as_it_goes();
    assert_eq!(pushing.status, RunStatus::Partial);
    let report = pushing.outcome.unwrap();
    let mut names: Vec<_> =
        report.excluded.first.iter().map(|(path, why)| (path.to_string(), why.contains("left it out"))).collect();
    names.sort();
    assert_eq!(names, [("large".to_owned(), true), ("x.tmp".to_owned(), true)]);
    assert!(node.gate("small") && !node.gate("large") && !node.gate("x.tmp"));
    assert!(!node.held(&[7; 5000]) && node.held(b"stored"));
}

/// kopia takes a file for unchanged by its size, times, mode and owner. It is told to read it again, once the bytes are seen to be others.
#[test]
fn an_edit_that_keeps_size_and_time_is_stored() {
    if no_kopia("left_out::an_edit_that_keeps_size_and_time_is_stored") {
        return;
    }
    let node = Node::new();
    let path = node.rig.tree().join("a");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    for bytes in [b"first", b"other"] {
        node.write("a", bytes);
        fs::File::options().write(true).open(&path).unwrap().set_modified(long_ago).unwrap();
        let report = node.push();
        assert_eq!(report.verified, 1);
        assert!(node.held(bytes) && node.gate("a"));
    }
}

/// kopia writes U+FFFD for what is no UTF-8, so that two names become one: neither is proven by what is listed under it.
#[test]
fn names_that_kopia_cannot_keep_are_excluded() {
    if no_kopia("left_out::names_that_kopia_cannot_keep_are_excluded") {
        return;
    }
    let node = Node::new();
    node.rig.write(b"bad\xff", b"one").unwrap();
    node.rig.write(b"dir\xfe/inside", b"three").unwrap();
    node.rig.write("bad\u{fffd}".as_bytes(), b"two").unwrap();
    node.write("line\nfeed \u{1}", b"kept");
    let pushing = node.push_as_it_goes();
    assert_eq!(pushing.status, RunStatus::Partial);
    let report = pushing.outcome.unwrap();
    assert_eq!((report.excluded.count, report.verified), (3, 1), "{report:?}");
    assert!(node.gate("line\nfeed \u{1}") && !node.gate("bad\u{fffd}"));
}

/// A repository that lies in the volume does not store itself, whatever its name.
#[test]
fn a_repository_in_the_volume_does_not_store_itself() {
    if no_kopia("left_out::a_repository_in_the_volume_does_not_store_itself") {
        return;
    }
    let node = Node::inside_its_volume("re*po [x]");
    node.write("re-po x/a", b"of a directory with a like name");
    node.write("b", b"beside");
    // Unlike the real one, the index of these tests goes into the repository, so all of that is asked for.
    let report = node.push_as_it_goes().outcome.unwrap();
    assert!(report.excluded.first.iter().all(|(path, _)| path.to_string().starts_with("re*po [x]/")), "{report:?}");
    assert!(report.excluded.count > 3);
    assert!(node.held(b"of a directory with a like name") && node.held(b"beside"));
}

/// A repository that was moved into the volume, and is still named as before: by a link, as places of storage often are.
#[test]
fn a_repository_that_came_into_the_volume_does_not_store_itself() {
    if no_kopia("left_out::a_repository_that_came_into_the_volume_does_not_store_itself") {
        return;
    }
    let outside = tempfile::tempdir().unwrap();
    let (disk, way) = (outside.path().join("disk"), outside.path().join("way"));
    fs::create_dir(&disk).unwrap();
    symlink(&disk, &way).unwrap();
    let node = Node::of(MadeRepository::at(&way.join("repository")));
    node.write("a", b"before");
    node.push();
    let inside = node.rig.tree().join("moved");
    fs::rename(&disk, &inside).unwrap();
    fs::remove_file(&way).unwrap();
    symlink(&inside, &way).unwrap();
    node.write("b", b"beside");
    // The index of these tests goes through the repository.
    let report = node.push_as_it_goes().outcome.unwrap();
    assert!(report.excluded.first.iter().all(|(path, _)| path.to_string().starts_with("moved/")), "{report:?}");
    assert!(report.excluded.count > 3);
    assert!(node.held(b"before") && node.held(b"beside"));
}

/// The first push of an empty volume stores a segment and a head, and nothing else: in a repository whose owner leaves out such files, every push
/// failed. The policy that it sets is none about where the repository lies: a directory that is called like that is the volume's.
#[test]
fn rules_of_others_leave_out_no_head() {
    if no_kopia("left_out::rules_of_others_leave_out_no_head") {
        return;
    }
    let node = Node::new();
    node.somebody(&["policy", "set", "--global", "--add-ignore=*.json", "--add-ignore=*.zst"]);
    node.push();
    let path = node.made.root().join("a.json");
    let path = path.strip_prefix("/").unwrap().to_str().unwrap();
    node.write(path, b"in a directory of that name");
    node.push();
    assert!(node.gate(path));
}

/// A file that cannot be read makes kopia fail, after it saved everything else.
#[test]
fn an_unreadable_file_is_excluded_and_holds_nothing_back() {
    const NAME: &str = "left_out::an_unreadable_file_is_excluded_and_holds_nothing_back";
    if no_kopia(NAME) {
        return;
    }
    let node = Node::new();
    node.write("readable", b"bytes");
    node.write("secret", b"nobody's");
    node.rig.index().unwrap();
    let path = node.rig.tree().join("secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if fs::File::open(&path).is_ok() {
        return skipped(NAME, "nothing is forbidden to this user");
    }
    let pushing = node.rig.push(&node.site).unwrap();
    assert_eq!(pushing.status, RunStatus::Partial);
    assert_eq!(pushing.outcome.unwrap().excluded.first[0].0.to_string(), "secret");
    assert!(node.gate("readable") && !node.gate("secret"));
}

/// Between the index and the push, files go and change: each is told of, and nothing is claimed of it.
#[test]
fn files_that_go_or_change_meanwhile_are_told_of() {
    if no_kopia("left_out::files_that_go_or_change_meanwhile_are_told_of") {
        return;
    }
    let node = Node::new();
    for path in ["stays", "goes", "changes", "becomes a directory"] {
        node.write(path, path.as_bytes());
    }
    node.rig.index().unwrap();
    node.rig.remove(b"goes").unwrap();
    node.write("changes", b"to something longer");
    node.rig.remove(b"becomes a directory").unwrap();
    node.write("becomes a directory/inside", b"x");
    let pushing = node.rig.push(&node.site).unwrap();
    assert_eq!(pushing.status, RunStatus::Partial);
    let report = pushing.outcome.unwrap();
    assert_eq!((report.drift.count, report.verified), (3, 1), "{report:?}");
    assert!(node.held(b"stays") && ["goes", "changes"].iter().all(|path| !node.gate(path)));
}

/// Where a name ends as kopia's placeholders do, it stores what the file names instead of the file, or nothing. Neither is taken for the file,
/// nor for the one beside it that the placeholder stands for.
#[test]
fn a_placeholder_of_kopias_is_no_file() {
    if no_kopia("left_out::a_placeholder_of_kopias_is_no_file") {
        return;
    }
    let node = Node::new();
    node.write("b", b"bytes of b");
    node.push();
    let object = node.made.object(lastcopy_fs::hash_bytes(b"bytes of b")).unwrap();
    let stands_for = format!(r#"{{"name":"a","type":"f","mode":"0644","size":10,"obj":"{object}"}}"#);
    node.write("a.kopia-entry", stands_for.as_bytes());
    node.write("broken.kopia-entry", b"no placeholder");
    node.write("c", b"bytes of c");
    let pushing = node.push_as_it_goes();
    let report = pushing.outcome.unwrap();
    let mut names: Vec<_> = report.excluded.first.iter().map(|(path, _)| path.to_string()).collect();
    names.sort();
    assert_eq!(names, ["a.kopia-entry", "broken.kopia-entry"]);
    assert!(node.gate("b") && node.gate("c") && !node.gate("a.kopia-entry"));
    // A directory of such a name leaves kopia no way: it has to be said which it is.
    node.write("sub/dir.kopia-entry/inside", b"inside");
    let pushing = node.push_as_it_goes();
    let said = pushing.outcome.unwrap_err().to_string();
    assert!(pushing.status == RunStatus::Failed && said.contains("`sub/dir.kopia-entry`"), "{said}");
}
