//! kopias that break or lie: a stand-in that starts the real one, or something else altogether. In none of these a receipt is verified
//! that should not be, and no vector moves.

use crate::context;
use crate::node::Node;
use crate::skip::no_kopia;
use crate::subject::{MadeRepository, options};
use lastcopy_store::RunStatus;
use lastcopy_sync::conformance::Pushing;
use lastcopy_sync::{Destination, DestinationError, Probe};
use lastcopy_sync_kopia::{Kopia, Options};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The stand-in: started as kopia is, it does what the file `how` beside it says, or what the real one does.
const STAND_IN: &str = r#"#!/bin/sh
dir=$(dirname "$0"); how=$(cat "$dir/how")
case "$*" in *--help*|--version) exec kopia "$@";; esac
what=other
case " $* " in
    *" --stdin-file="*) what=seal;;
    *" snapshot create "*) what=create;;
    *" server start "*) what=server;;
    *" repository status "*) what=status;;
esac
case " $* " in
    *" snapshot create "*|*" policy set "*) { echo "$what"; ls -l /proc/$$/fd; echo; } >> "$dir/inherited";;
esac
# The whole tree somewhere else, changed.
elsewhere() {
    for argument; do
        case "$argument" in */volume) rm -rf "$dir/tree"; cp -a "$argument" "$dir/tree";; esac
    done
    "$1"
    shift
    for argument; do
        shift
        case "$argument" in */volume) set -- "$@" "$dir/tree";; *) set -- "$@" "$argument";; esac
    done
    exec kopia "$@"
}
spoil() { printf B | dd of="$dir/tree/second" conv=notrunc status=none; }
lose() { rm "$dir/tree/second"; }
case "$how: $what" in
    "does nothing: create"|"seals nothing: seal") exit 0;;
    "prints a snapshot, and fails: create") echo '{"id":"0123","rootEntry":{"obj":"k0123"}}'; exit 1;;
    "fails after it saved: create") kopia "$@"; exit 1;;
    "leaves a child: create") setsid sleep 1000 3> "$dir/alive" & echo $! > "$dir/ready"; wait;;
    "stops early: create") exec kopia "$@" --upload-limit-mb=1;;
    "hangs: create"|"hangs when it serves: server") exec sleep 1000;;
    "dies midway: create"|"dies when it seals: seal") kill -9 $$;;
    "fills the disk: create") echo "unable to write pack: no space left on device" >&2; exit 1;;
    "stores other bytes: create") elsewhere spoil "$@";;
    "leaves a file out: create") elsewhere lose "$@";;
    "seals half: seal") head -c 10 | exec kopia "$@";;
    "serves with another password: server") KOPIA_PASSWORD=another exec kopia "$@";;
    "never serves: server") echo "no such thing" >&2; exit 3;;
    "prints garbage: status") echo "<html>certainly</html>"; exit 0;;
    "is another one: status") echo '{"uniqueIDHex":"00112233"}'; exit 0;;
esac
exec kopia "$@"
"#;

/// A stand-in that knows no kopia: it says what it is told to.
const ALONE: &str = r#"#!/bin/sh
dir=$(dirname "$0")
case "$*" in *--help*) exit $(cat "$dir/features");; --version) cat "$dir/version";; esac
for argument; do
    case "$argument" in --config-file=*) : > "${argument#--config-file=}";; esac
done
case "$*" in *"repository connect"*) cat "$dir/complains" >&2; exit $(cat "$dir/exit");; esac
case "$*" in *"repository status"*) cat "$dir/says"; cat "$dir/complains" >&2; exit $(cat "$dir/exit");; esac
"#;

/// A program that is started as kopia is.
pub(crate) fn program(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("stand-in");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// A node whose repository is served by a stand-in. One file is pushed already, and another one waits.
fn served() -> (Node, tempfile::TempDir) {
    let programs = tempfile::tempdir().unwrap();
    (served_by(programs.path()), programs)
}

/// The same, by a stand-in in a directory.
pub(crate) fn served_by(programs: &Path) -> Node {
    let stand_in = program(programs, STAND_IN);
    fs::write(programs.join("how"), "honest").unwrap();
    let node = Node::of(MadeRepository::with(|options| {
        options.program = stand_in;
        options.stall = Duration::from_secs(12);
    }));
    node.write("first", b"bytes of the first");
    node.push();
    node.write("second", b"bytes of the second");
    node
}

/// A push that meets this ends so, and says that; afterwards all is well with the next one.
fn breaks(test: &str, how: &str, expected: RunStatus, says: &str) {
    if no_kopia(test) {
        return;
    }
    let (node, programs) = served();
    let before = node.rig.store.own_component(node.rig.volume.id(), node.site.id).unwrap();
    fs::write(programs.path().join("how"), how).unwrap();
    let Pushing { outcome, status } = node.push_as_it_goes();
    assert_eq!(status, expected, "{how}: {outcome:?}");
    let said = match &outcome {
        Ok(report) => format!("{:?} {:?}", report.failed.first, report.excluded.first),
        Err(error) => error.to_string(),
    };
    assert!(said.contains(says), "{how}: {said}");
    let after = node.rig.store.own_component(node.rig.volume.id(), node.site.id).unwrap();
    // What was excluded holds nothing back.
    assert!(before == after || how == "leaves a file out", "{how}: the vector moved");
    assert!(!node.gate("second"), "{how}: the gate is open");
    fs::write(programs.path().join("how"), "honest").unwrap();
    node.push();
    assert!(node.gate("second") && node.held(b"bytes of the second"));
}

#[test]
fn it_does_nothing_and_says_that_all_is_well() {
    breaks("broken::it_does_nothing_and_says_that_all_is_well", "does nothing", RunStatus::Failed, "made no snapshot");
}

#[test]
fn it_prints_a_snapshot_that_is_not_there() {
    breaks("broken::it_prints_a_snapshot_that_is_not_there", "prints a snapshot, and fails", RunStatus::Failed, "made no snapshot");
}

/// As it does where a file cannot be read: what was saved is looked at all the same.
#[test]
fn it_fails_after_it_saved_everything() {
    const NAME: &str = "broken::it_fails_after_it_saved_everything";
    if no_kopia(NAME) {
        return;
    }
    let (node, programs) = served();
    fs::write(programs.path().join("how"), "fails after it saved").unwrap();
    node.push();
    assert!(node.gate("second"));
}

#[test]
fn it_hangs() {
    breaks("broken::it_hangs", "hangs", RunStatus::Failed, "no sign of life");
}

#[test]
fn it_dies_midway() {
    breaks("broken::it_dies_midway", "dies midway", RunStatus::Failed, "made no snapshot");
}

#[test]
fn it_fills_the_disk() {
    breaks("broken::it_fills_the_disk", "fills the disk", RunStatus::Failed, "no space left");
}

#[test]
fn it_stores_other_bytes() {
    breaks("broken::it_stores_other_bytes", "stores other bytes", RunStatus::Partial, "the bytes there hash to");
}

#[test]
fn it_leaves_a_file_out() {
    breaks("broken::it_leaves_a_file_out", "leaves a file out", RunStatus::Partial, "left it out");
}

/// As it does when it is asked to stop: it ends well, and leaves an incomplete snapshot that is pinned. Nothing is claimed by it, and it is
/// removed once a whole one came after it.
#[test]
fn it_stops_early_and_says_that_all_is_well() {
    if no_kopia("broken::it_stops_early_and_says_that_all_is_well") {
        return;
    }
    let (node, programs) = served();
    for number in 0..4 {
        let mut bytes = vec![0; 2 << 20];
        blake3::Hasher::new().update(&[number]).finalize_xof().fill(&mut bytes);
        node.write(&format!("large {number}"), &bytes);
    }
    fs::write(programs.path().join("how"), "stops early").unwrap();
    let Pushing { outcome, status } = node.push_as_it_goes();
    assert!(status == RunStatus::Failed && outcome.unwrap_err().to_string().contains("incomplete"));
    assert_eq!(node.snapshots().len(), 2);
    fs::write(programs.path().join("how"), "honest").unwrap();
    node.push();
    let left = node.made.inside.json(&["snapshot", "list", &node.source(), "--json", "--incomplete"]).unwrap();
    let left = left.as_array().unwrap().iter().filter(|snapshot| !snapshot["incomplete"].is_null());
    assert_eq!(left.count(), 0);
    assert!(node.gate("large 3"));
}

#[test]
fn it_seals_nothing() {
    breaks("broken::it_seals_nothing", "seals nothing", RunStatus::Failed, "made no snapshot");
}

#[test]
fn it_seals_half() {
    breaks("broken::it_seals_half", "seals half", RunStatus::Failed, "damaged");
}

#[test]
fn it_dies_when_it_seals() {
    breaks("broken::it_dies_when_it_seals", "dies when it seals", RunStatus::Failed, "made no snapshot");
}

#[test]
fn it_never_serves() {
    breaks("broken::it_never_serves", "never serves", RunStatus::Failed, "no such thing");
}

/// Such a server stays, and tries again for ever.
#[test]
fn it_cannot_open_what_it_is_to_serve() {
    let test = "broken::it_cannot_open_what_it_is_to_serve";
    breaks(test, "serves with another password", RunStatus::Failed, "cannot open the repository");
}

#[test]
fn it_hangs_when_it_serves() {
    breaks("broken::it_hangs_when_it_serves", "hangs when it serves", RunStatus::Failed, "did not start");
}

#[test]
fn it_prints_garbage() {
    breaks("broken::it_prints_garbage", "prints garbage", RunStatus::Failed, "in other words");
}

#[test]
fn it_says_that_it_is_another_one() {
    breaks("broken::it_says_that_it_is_another_one", "is another one", RunStatus::Failed, "something else");
}

/// Whatever writes there holds the lock of its run: should it outlive us, the run counts as running until it ends.
#[test]
fn whatever_writes_inherits_the_lock_of_its_run() {
    if no_kopia("broken::whatever_writes_inherits_the_lock_of_its_run") {
        return;
    }
    let (node, programs) = served();
    node.push();
    let inherited = fs::read_to_string(programs.path().join("inherited")).unwrap();
    let commands: Vec<_> = inherited.split("\n\n").filter(|command| !command.trim().is_empty()).collect();
    // Two pushes: a policy, and for each the files, a segment and a head.
    assert_eq!(commands.len(), 7, "{inherited}");
    for command in commands {
        assert!(command.contains(".lock"), "{command}");
    }
}

/// A place that looks like a repository, and a stand-in that answers for it.
struct Alone {
    root: tempfile::TempDir,
    programs: tempfile::TempDir,
}

impl Alone {
    fn new() -> Self {
        let (root, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(root.path().join("kopia.repository.f"), r#"{"uniqueID":"ABEiMw=="}"#).unwrap();
        let alone = Self { root, programs };
        alone.answers(0, "", "");
        alone.has_features(0);
        alone.is_version("v0-unofficial build: -");
        program(alone.programs.path(), ALONE);
        alone
    }

    fn answers(&self, exit: u8, says: &str, complains: &str) {
        for (name, text) in [("exit", exit.to_string().as_str()), ("says", says), ("complains", complains)] {
            fs::write(self.programs.path().join(name), text).unwrap();
        }
    }

    fn is_version(&self, version: &str) {
        fs::write(self.programs.path().join("version"), version).unwrap();
    }

    fn has_features(&self, exit: u8) {
        fs::write(self.programs.path().join("features"), exit.to_string()).unwrap();
    }

    fn probe(&self) -> Result<Probe, DestinationError> {
        let (runtime, _context) = context();
        let options = Options { program: self.programs.path().join("stand-in"), ..options(self.root.path()) };
        let kopia = Kopia::new(options);
        let answer = runtime.block_on(kopia.probe());
        // A connection that was made just now tells as much as an answer does; one that is older is asked.
        if answer.is_ok() { runtime.block_on(kopia.probe()) } else { answer }
    }
}

#[test]
fn answers_are_read_as_they_are_meant() {
    let alone = Alone::new();
    alone.answers(0, r#"{"uniqueIDHex":"00112233","more":1}"#, "a warning");
    assert!(matches!(alone.probe(), Ok(Probe::Found(found)) if found.as_str() == "00112233"));
    for (exit, says, complains, why) in [
        (0, "", "", "other words"),
        (0, "{", "", "other words"),
        (0, r#"{"uniqueIDHex":""}"#, "", "other words"),
        (0, r#"{"uniqueIDHex":"../x"}"#, "", "other words"),
        (0, r#"{"uniqueIDHex":"00112234"}"#, "", "something else"),
        (
            1,
            r#"{"uniqueIDHex":"00112233"}"#,
            "unable to open: repository not initialized in the provided storage",
            "not initialized",
        ),
        (1, "", "dial tcp: connection refused", "refused"),
    ] {
        alone.answers(exit, says, complains);
        let answer = alone.probe();
        assert!(matches!(&answer, Ok(Probe::CannotTell(reason)) if reason.contains(why)), "{says}: {answer:?}");
    }
    alone.answers(1, "", "unable to create format manager: invalid repository password");
    assert!(matches!(alone.probe(), Err(DestinationError::Auth { .. })));
}

/// Releases are told by their number; a build of somebody's own by what it can do.
#[test]
fn one_that_is_too_old_is_refused() {
    let alone = Alone::new();
    alone.answers(0, r#"{"uniqueIDHex":"00112233"}"#, "");
    for version in ["0.20.0 build: x", "v0.23.1", "1.0.0", "v0-unofficial build: -", ""] {
        alone.is_version(version);
        assert!(matches!(alone.probe(), Ok(Probe::Found(_))), "{version}");
    }
    for version in ["0.19.9 build: x", "v0.3.0"] {
        alone.is_version(version);
        let answer = alone.probe();
        assert!(matches!(&answer, Err(DestinationError::ToolTooOld(why)) if why.contains("0.20 or newer")), "{answer:?}");
    }
}

#[test]
fn one_that_lacks_what_is_needed_is_refused() {
    let alone = Alone::new();
    alone.has_features(1);
    let answer = alone.probe();
    assert!(matches!(&answer, Err(DestinationError::ToolTooOld(why)) if why.contains("0.20 or newer")), "{answer:?}");
    fs::remove_file(alone.programs.path().join("stand-in")).unwrap();
    let answer = alone.probe();
    assert!(matches!(&answer, Err(DestinationError::ToolMissing(why)) if why.contains("not installed")), "{answer:?}");
}
