//! Runs: alive while their lock is held, closed once, and silent afterwards.

use crate::support::{Node, observe};
use lastcopy_fs::{Id128, LockFile};
use lastcopy_store::{BeginError, HookStatus, Outcome, RunId, RunStatus, Store, StoreError, Volume};
use std::process::{Command, Stdio};

/// The row and the lock of a run whose owner is another process.
fn other_process(node: &Node, volume: &Volume) -> (RunId, LockFile) {
    let name = format!("{}.lock", Id128::random().unwrap());
    let lock = LockFile::create(&node.path("state/index.db.runs").join(&name)).unwrap();
    let raw = node.raw();
    raw.execute(
        "INSERT INTO run (epoch, kind, volume, status, started_at, owner, liveness)
         VALUES ((SELECT max(id) FROM epoch), 'index', ?, 'running', 0, 'another process', ?)",
        (volume.id(), name),
    )
    .unwrap();
    (RunId::from_user(raw.last_insert_rowid()), lock)
}

fn status(store: &Store, run: RunId) -> RunStatus {
    store.run_record(run).unwrap().status
}

#[track_caller]
fn assert_blocked(store: &Store, volume: &Volume, blocking: RunId) {
    match store.begin_index(volume) {
        Err(BeginError::Blocked { by, .. }) => assert_eq!(by.id, blocking),
        other => panic!("{other:?}"),
    }
}

/// A process that dies drops its lock: then, and only then, the next begin closes its run.
#[test]
fn a_run_whose_process_died_is_reaped_by_the_next_begin() {
    let node = Node::new();
    let volume = node.volume("photos");
    let (dead, lock) = other_process(&node, &volume);
    assert_blocked(&node.store, &volume, dead);
    assert_eq!(status(&node.store, dead), RunStatus::Running);
    drop(lock);
    let begun = node.store.begin_index(&volume).unwrap();
    assert_eq!(status(&node.store, dead), RunStatus::Aborted);
    drop(begun);
}

/// An upload that outlives its parent still counts as running: the child that transfers has inherited the lock.
#[test]
fn a_child_that_inherited_the_lock_keeps_the_run_alive() {
    let node = Node::new();
    let volume = node.volume("photos");
    let (orphan, lock) = other_process(&node, &volume);
    let inherited = std::os::fd::AsFd::as_fd(&lock).try_clone_to_owned().unwrap();
    // It lives until its standard input ends.
    let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::from(inherited)).spawn().unwrap();
    drop(lock);
    assert_blocked(&node.store, &volume, orphan);
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(node.store.begin_index(&volume).is_ok());
    assert_eq!(status(&node.store, orphan), RunStatus::Aborted);
}

/// A run of this very process blocks another opener of the index, too, however long it takes and whatever its times say.
#[test]
fn a_live_run_is_never_taken_for_dead() {
    let node = Node::new();
    let volume = node.volume("photos");
    let run = node.store.begin_index(&volume).unwrap();
    let (other, _) = node.again();
    node.pass(400 * 24 * 3600 * 1000);
    assert_blocked(&other, &volume, run.id());
    assert_eq!(other.running().unwrap().len(), 1);
    run.still_running().unwrap();
    run.finish(&Outcome::Success, None).unwrap();
    assert!(other.begin_index(&volume).is_ok());
}

/// In an experiment a lock file that was deleted under a live owner was taken for free. A file that is missing proves nothing: only a
/// person's word closes such a run.
#[test]
fn a_lock_file_that_was_deleted_proves_nothing() {
    let node = Node::new();
    let volume = node.volume("photos");
    let run = node.store.begin_index(&volume).unwrap();
    for entry in std::fs::read_dir(node.path("state/index.db.runs")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let (other, _) = node.again();
    assert_blocked(&other, &volume, run.id());
    assert_eq!(other.abort_run(run.id()).unwrap().status, RunStatus::Aborted);
    assert!(other.begin_index(&volume).is_ok());
    assert!(matches!(run.still_running(), Err(StoreError::RunEnded { .. })));
}

/// A run that was closed from outside, even wrongly, can do no harm: nothing that it says is recorded any more.
#[test]
fn a_run_that_was_closed_records_nothing() {
    let node = Node::new();
    let volume = node.volume("photos");
    node.index(&volume, &[("a", "one")]);
    let run = node.store.begin_index(&volume).unwrap();
    observe(&run, &[("b", "two")]);
    let (other, _) = node.again();
    other.abort_run(run.id()).unwrap();

    let ended = |result: Result<(), StoreError>| match result {
        Err(StoreError::RunEnded { run: ended, status }) => assert_eq!((ended, status.as_str()), (run.id(), "aborted")),
        other => panic!("{other:?}"),
    };
    let a = node.store.file_at(volume.id(), &crate::support::rel("a")).unwrap().unwrap();
    ended(run.observe(&[]).map(drop));
    ended(run.unstable(&[a.id]));
    let id = run.id();
    match run.finish_index(&[a.id], &Outcome::Success, Some("all is well")) {
        Err(StoreError::RunEnded { .. }) => {}
        other => panic!("{other:?}"),
    }
    let record = node.store.run_record(id).unwrap();
    assert_eq!((record.status, record.summary), (RunStatus::Aborted, None));
    assert_eq!(node.store.count_present(volume.id()).unwrap(), 2, "what was recorded before stays, and nothing went missing");
}

/// An earlier system let whoever came second overwrite how a run had ended: a push that was found dead and closed came back to life as
/// a success.
#[test]
fn the_first_terminal_status_stays() {
    let node = Node::new();
    let volume = node.volume("photos");
    for (outcome, expected) in [
        (Outcome::Success, RunStatus::Success),
        (Outcome::Partial("two files".into()), RunStatus::Partial),
        (Outcome::Failed("no disk".into()), RunStatus::Failed),
        (Outcome::Refused("too much is gone".into()), RunStatus::Refused),
        (Outcome::Aborted, RunStatus::Aborted),
    ] {
        let run = node.store.begin_index(&volume).unwrap();
        let id = run.id();
        run.finish(&outcome, Some("counts")).unwrap();
        let first = node.store.run_record(id).unwrap();
        assert_eq!((first.status, first.summary.as_deref()), (expected, Some("counts")));
        match node.store.abort_run(id) {
            Err(StoreError::Refused(why)) => assert!(why.contains(expected.name()), "{why}"),
            other => panic!("{other:?}"),
        }
        for change in
            ["status = 'running', ended_at = NULL", "status = 'success', ended_at = 7", "error = 'else'", "summary = 'else'"]
        {
            let sql = format!("UPDATE run SET {change} WHERE id = {id}");
            let error = node.raw().execute(&sql, []).unwrap_err().to_string();
            assert!(error.contains("first terminal status stays"), "{change}: {error}");
        }
        assert_eq!(node.store.run_record(id).unwrap(), first);
    }
}

/// Dropped on the way out of an error, a run is closed; its lock is gone with it.
#[test]
fn a_run_that_is_dropped_is_aborted() {
    let node = Node::new();
    let volume = node.volume("photos");
    let run = node.store.begin_audit(&volume).unwrap();
    let id = run.id();
    drop(run);
    let record = node.store.run_record(id).unwrap();
    assert_eq!((record.status, record.error.as_deref()), (RunStatus::Aborted, Some("interrupted")));
    assert_eq!(std::fs::read_dir(node.path("state/index.db.runs")).unwrap().count(), 0);
}

/// Two runs of one hook at a time would trample each other: the second attempt is recorded as skipped.
#[test]
fn a_hook_runs_once_at_a_time_and_ends_once() {
    let node = Node::new();
    let volume = node.volume("photos");
    let run = node.index(&volume, &[("a", "one")]);
    let first = node.store.begin_hook(run, volume.id()).unwrap().unwrap();
    assert!(node.store.begin_hook(run, volume.id()).unwrap().is_none());
    let (other, _) = node.again();
    assert!(other.begin_hook(run, volume.id()).unwrap().is_none());
    first.finish(HookStatus::Failed, "exit status 3").unwrap();

    let second = node.store.begin_hook(run, volume.id()).unwrap().unwrap();
    second.finish(HookStatus::Success, "").unwrap();
    let statuses: Vec<_> = node.store.hook_runs(10).unwrap().iter().map(|hook| hook.status).collect();
    assert_eq!(statuses, [HookStatus::Success, HookStatus::Skipped, HookStatus::Skipped, HookStatus::Failed]);
    let error = node.raw().execute("UPDATE hook_run SET status = 'success'", []).unwrap_err().to_string();
    assert!(error.contains("first terminal status stays"), "{error}");
}

/// A hook whose waiting process seemed dead was closed as aborted; when that process comes back after all, its word is too late.
#[test]
fn a_hook_run_that_was_closed_stays_closed() {
    let node = Node::new();
    let volume = node.volume("photos");
    let run = node.index(&volume, &[("a", "one")]);
    let late = node.store.begin_hook(run, volume.id()).unwrap().unwrap();
    for entry in std::fs::read_dir(node.path("state/index.db.runs")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let second = node.store.begin_hook(run, volume.id()).unwrap().unwrap();
    assert!(matches!(late.finish(HookStatus::Success, "done"), Err(StoreError::Refused(_))));
    second.finish(HookStatus::Timeout, "").unwrap();
    let statuses: Vec<_> = node.store.hook_runs(10).unwrap().iter().map(|hook| hook.status).collect();
    assert_eq!(statuses, [HookStatus::Timeout, HookStatus::Aborted]);
}
