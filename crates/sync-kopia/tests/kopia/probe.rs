//! Who is there: what is told apart, and that nothing is made by asking.

use crate::broken::program;
use crate::context;
use crate::inside::Inside;
use crate::node::Node;
use crate::skip::{no_kopia, skipped};
use crate::subject::{MadeRepository, copy_tree, options};
use lastcopy_store::{AlarmKind, RunStatus};
use lastcopy_sync::{Destination, DestinationError, Probe};
use lastcopy_sync_kopia::{Kopia, Options, Storage};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

fn probe(kopia: &Kopia) -> Result<Probe, DestinationError> {
    let (runtime, _context) = context();
    runtime.block_on(kopia.probe())
}

#[track_caller]
fn cannot_tell(answer: Result<Probe, DestinationError>, why: &str) {
    assert!(matches!(&answer, Ok(Probe::CannotTell(reason)) if reason.contains(why)), "{answer:?}");
}

fn entries(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// A repository that somebody made, and its directory.
fn somebodys() -> MadeRepository {
    let made = MadeRepository::new();
    made.inside.create().unwrap();
    made
}

#[test]
fn an_empty_directory_is_nothing_and_stays_empty() {
    if no_kopia("probe::an_empty_directory_is_nothing_and_stays_empty") {
        return;
    }
    let made = MadeRepository::new();
    assert_eq!(probe(made.kopia()).unwrap(), Probe::Nothing);
    assert_eq!(entries(made.root()), Vec::<String>::new());
}

/// A disk that is not mounted, with its mount point gone, or there and empty once it was accepted: nothing is made in its place.
#[test]
fn a_missing_directory_is_not_made() {
    if no_kopia("probe::a_missing_directory_is_not_made") {
        return;
    }
    let made = MadeRepository::new();
    fs::remove_dir(made.root()).unwrap();
    cannot_tell(probe(made.kopia()), "mounted");
    assert!(!made.root().exists());
}

#[test]
fn what_is_no_repository_is_not_touched() {
    if no_kopia("probe::what_is_no_repository_is_not_touched") {
        return;
    }
    let made = MadeRepository::new();
    fs::write(made.root().join("letter.txt"), "dear").unwrap();
    cannot_tell(probe(made.kopia()), "other files");
    assert_eq!(entries(made.root()), ["letter.txt"]);
    fs::write(made.root().join("kopia.repository.f"), "torn").unwrap();
    cannot_tell(probe(made.kopia()), "damaged");
}

#[test]
fn another_password_is_told_from_another_repository() {
    if no_kopia("probe::another_password_is_told_from_another_repository") {
        return;
    }
    let made = somebodys();
    let wrong = Kopia::new(Options { password: "another".into(), ..options(made.root()) });
    let answer = probe(&wrong);
    assert!(matches!(&answer, Err(DestinationError::Auth { reason, .. }) if reason.contains("password")), "{answer:?}");
    assert!(matches!(probe(made.kopia()), Ok(Probe::Found(_))));
}

#[test]
fn a_copy_has_the_same_identity_and_another_repository_another() {
    if no_kopia("probe::a_copy_has_the_same_identity_and_another_repository_another") {
        return;
    }
    let (one, other) = (somebodys(), somebodys());
    let found = probe(one.kopia()).unwrap();
    assert_ne!(found, probe(other.kopia()).unwrap());
    // The same object, asked again, sees what is there now.
    one.empty().unwrap();
    copy_tree(other.root(), one.root()).unwrap();
    assert_eq!(probe(one.kopia()).unwrap(), probe(other.kopia()).unwrap());
}

#[test]
fn a_directory_that_may_not_be_read_is_not_empty() {
    const NAME: &str = "probe::a_directory_that_may_not_be_read_is_not_empty";
    if no_kopia(NAME) {
        return;
    }
    let made = somebodys();
    fs::set_permissions(made.root(), fs::Permissions::from_mode(0o0)).unwrap();
    if fs::read_dir(made.root()).is_ok() {
        return skipped(NAME, "nothing is forbidden to this user");
    }
    let answer = probe(made.kopia());
    fs::set_permissions(made.root(), fs::Permissions::from_mode(0o700)).unwrap();
    cannot_tell(answer, "ermission");
}

/// The same path, another repository: refused, with an alarm, and nothing is pushed to it.
#[test]
fn a_repository_that_was_made_anew_at_the_same_path_is_refused() {
    if no_kopia("probe::a_repository_that_was_made_anew_at_the_same_path_is_refused") {
        return;
    }
    let node = Node::new();
    node.write("a", b"bytes");
    node.push();
    node.made.empty().unwrap();
    node.made.inside.create().unwrap();
    node.write("b", b"more");
    assert_eq!(node.push_as_it_goes().status, RunStatus::Refused);
    let alarms: Vec<_> = node.rig.alarms().unwrap().iter().map(|alarm| alarm.kind).collect();
    assert_eq!(alarms, [AlarmKind::IdentityChanged]);
    assert!(!node.gate("a") && node.snapshots().is_empty());
}

/// A disk that went away leaves an empty directory: no repository is made in it, whoever pushes.
#[test]
fn nothing_is_pushed_into_an_emptied_directory() {
    if no_kopia("probe::nothing_is_pushed_into_an_emptied_directory") {
        return;
    }
    let node = Node::new();
    node.write("a", b"bytes");
    node.push();
    node.made.empty().unwrap();
    node.write("b", b"more");
    assert_eq!(node.push_as_it_goes().status, RunStatus::Refused);
    assert!(node.rig.init(&node.site).is_err());
    assert_eq!(entries(node.made.root()), Vec::<String>::new());
}

/// A person's own connection says where the repository is; it is read, and left as it was.
#[test]
fn a_configuration_file_of_a_persons_is_only_read() {
    if no_kopia("probe::a_configuration_file_of_a_persons_is_only_read") {
        return;
    }
    let made = somebodys();
    let file = made.root().parent().unwrap().join("own/writer");
    let before = fs::read(&file).unwrap();
    let kopia = Kopia::new(Options { storage: Storage::of_file(file.clone()), ..options(made.root()) });
    assert_eq!(probe(&kopia).unwrap(), probe(made.kopia()).unwrap());
    assert_eq!(kopia.capabilities().address, made.root().display().to_string());
    assert_eq!(fs::read(&file).unwrap(), before);
    drop(Inside::new(made.root().to_owned(), made.root().parent().unwrap().join("other")));
}

/// A person's own connection may have rclone keep a cache on this machine. What that gives back proves nothing: such a one is refused, and says why.
#[test]
fn a_connection_with_a_cache_of_rclones_is_refused() {
    if no_kopia("probe::a_connection_with_a_cache_of_rclones_is_refused") {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("repository.config");
    let arguments = ["--vfs-cache-mode", "full"];
    let storage = serde_json::json!({ "type": "rclone", "config": { "remotePath": home.path(), "rcloneArgs": arguments } });
    fs::write(&file, serde_json::json!({ "storage": storage }).to_string()).unwrap();
    let answer = probe(&Kopia::new(Options { storage: Storage::of_file(file), ..options(home.path()) }));
    assert!(matches!(&answer, Err(DestinationError::Unsupported(why)) if why.contains("--vfs-cache-mode")), "{answer:?}");
}

/// Starts kopia, and keeps what it was told and what lies beside its configuration by then.
const ONLOOKER: &str = r#"#!/bin/sh
dir=$(dirname "$0")
echo "$*" >> "$dir/arguments"
for argument; do
    case "$argument" in --config-file=*) find "$(dirname "${argument#*=}")" -type f -exec cat {} + >> "$dir/files";; esac
done
exec kopia "$@"
"#;

/// Passwords lie in nobody's sight: not among the arguments of a program, which everybody on a machine may read, and in no file of ours.
#[test]
fn the_password_is_written_nowhere() {
    if no_kopia("probe::the_password_is_written_nowhere") {
        return;
    }
    // As it is, and as kopia keeps one beside a configuration unless it is told not to.
    let (password, kept) = ("correct horse battery staple", "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==");
    let made = MadeRepository::new();
    let onlooker = tempfile::tempdir().unwrap();
    let program = program(onlooker.path(), ONLOOKER);
    let kopia = Kopia::new(Options { password: password.into(), program, ..options(made.root()) });
    let (runtime, context) = context();
    let results = lastcopy_sync::conformance::alone(&(std::sync::Arc::new(kopia.clone()) as _), &context);
    assert!(results.iter().all(|result| result.outcome.is_ok()), "{results:?}");
    // It looks at what was there before it began; so once more at the end.
    assert!(runtime.block_on(kopia.probe()).is_ok());
    let (arguments, files) = (onlooker.path().join("arguments"), onlooker.path().join("files"));
    let holds = |file: &Path, what: &str| fs::read(file).unwrap().windows(what.len()).any(|part| part == what.as_bytes());
    let address = made.root().to_str().unwrap();
    assert!(holds(&arguments, "snapshot create") && holds(&files, address), "nothing was looked at");
    assert!(!holds(&arguments, password) && !holds(&files, password) && !holds(&files, kept));
}

/// A configuration of kopia's has the secrets of its storage in clear. All of them lie in one directory, in memory where there is such a place,
/// into which nobody else can look; those of writers lay among temporary files once, and stayed there after a kill.
#[test]
fn configurations_lie_in_one_private_directory() {
    if no_kopia("probe::configurations_lie_in_one_private_directory") {
        return;
    }
    let onlooker = tempfile::tempdir().unwrap();
    let program = program(onlooker.path(), ONLOOKER);
    let node = Node::of(MadeRepository::with(|options| options.program = program));
    node.write("a", b"bytes");
    node.push();
    let arguments = fs::read_to_string(onlooker.path().join("arguments")).unwrap();
    let given = |name: &str| -> Vec<PathBuf> {
        arguments.split_whitespace().filter_map(|argument| argument.strip_prefix(name)).map(PathBuf::from).collect()
    };
    let (configs, caches) = (given("--config-file="), given("--cache-directory="));
    let private = |path: &Path| {
        let is_private = |dir: &&Path| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("lastcopy-kopia-"));
        path.ancestors().find(is_private).map(Path::to_owned)
    };
    let reader = private(configs.iter().find(|config| config.ends_with("reader.config")).unwrap()).unwrap();
    assert_eq!(fs::metadata(&reader).unwrap().permissions().mode() & 0o777, 0o700);
    assert!(configs.iter().all(|config| private(config).as_ref() == Some(&reader)), "{configs:?}");
    // A cache may be too large for memory.
    assert!(!caches.is_empty() && caches.iter().all(|cache| private(cache).is_none()), "{caches:?}");
}
