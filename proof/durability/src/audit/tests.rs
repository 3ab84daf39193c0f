//! Small traces for each rule: one that is judged clean, and one that is not.

use super::*;
use lastcopy_stepper::Inode;
use std::path::PathBuf;

/// A trace under construction: each call returns before the next one begins, unless `overlap` says otherwise.
struct Trace {
    calls: Vec<Call>,
    clock: u64,
}

const VOLUME: &str = "/home/anna/photos";
const ASIDE: &str = "/home/anna/photos/.lastcopy/offload/7/a";
const LOG: &str = "/home/anna/share/lastcopy/index.db-wal";
const OBJECT: &str = "/home/anna/destinations/usb/objects/aa/aabb";
const OBJECTS: &str = "/home/anna/destinations/usb/objects/aa";

fn areas() -> Areas {
    let root = PathBuf::from("/home/anna");
    Areas::at(root.join("photos"), root.join("destinations"), root.join("share"))
}

/// A file or directory: its number comes from its first name, so that a file keeps it when it is moved.
fn inode(named: &str, kind: FileType) -> Inode {
    let number = named.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
    Inode { device: 1, inode: number, links: 1, size: 1, kind }
}

fn file(named: &str) -> Option<Inode> {
    Some(inode(named, FileType::Regular))
}

fn directory(named: &str) -> Option<Inode> {
    Some(inode(named, FileType::Directory))
}

impl Trace {
    fn new() -> Self {
        Self { calls: Vec::new(), clock: 0 }
    }

    fn call(&mut self, name: &'static str, kind: Kind, targets: &[(&str, Option<Inode>)], flags: u64) -> &mut Call {
        let targets = targets.iter().map(|(path, before)| Target { path: path.into(), before: *before, after: *before }).collect();
        let call = Call {
            number: Some(1),
            thread: 1,
            process: 1,
            name,
            kind,
            targets,
            flags: Some(flags),
            length: None,
            arguments: [0; 6],
            injected: None,
            result: Some(0),
            began: self.clock + 1,
            returned: Some(self.clock + 2),
        };
        self.clock += 2;
        let place = self.calls.len();
        self.calls.push(call);
        &mut self.calls[place]
    }

    /// A write to a file, by the name that decides its number and the path that it has now.
    fn write(mut self, named: &str, path: &str) -> Self {
        self.call("pwrite64", Kind::Change, &[(path, file(named))], 0).length = Some(1);
        self
    }

    fn create(mut self, path: &str) -> Self {
        self.call("openat", Kind::Change, &[(path, None)], libc::O_CREAT as u64).targets[0].after = file(path);
        self
    }

    fn mkdir(mut self, path: &str) -> Self {
        self.call("mkdirat", Kind::Change, &[(path, None)], 0).targets[0].after = directory(path);
        self
    }

    fn rename(mut self, named: &str, from: &str, to: &str) -> Self {
        self.call("renameat2", Kind::Change, &[(from, file(named)), (to, None)], u64::from(libc::RENAME_NOREPLACE));
        self
    }

    fn unlink(mut self, named: &str, path: &str) -> Self {
        self.call("unlinkat", Kind::Change, &[(path, file(named))], 0);
        self
    }

    fn sync(mut self, name: &'static str, path: &str, inode: Option<Inode>) -> Self {
        self.call(name, Kind::Sync, &[(path, inode)], 0);
        self
    }

    fn sync_file(self, named: &str, path: &str) -> Self {
        self.sync("fsync", path, file(named))
    }

    fn sync_dir(self, path: &str) -> Self {
        self.sync("fsync", path, directory(path))
    }

    /// The last call fails.
    fn fails(mut self) -> Self {
        if let Some(call) = self.calls.last_mut() {
            call.result = Some(-i64::from(libc::EEXIST));
        }
        self
    }

    /// The last call begins before the one before it returns.
    fn overlap(mut self) -> Self {
        if let [.., before, last] = self.calls.as_mut_slice() {
            (before.returned, last.began) = (Some(last.began), before.began + 1);
        }
        self
    }

    fn verdict(self) -> Verdict {
        let mut audit = Audit::new(areas());
        audit.follow("x", &self.calls);
        audit.verdict()
    }

    /// What is told of at a deletion, or when the index records; not what is only told of at the end.
    #[track_caller]
    fn finds(self, expected: &[&str]) {
        let verdict = self.verdict();
        let early = verdict.violations.iter().filter(|(_, (moment, _))| !moment.ends_with("ended"));
        let found: Vec<_> = early.map(|(what, _)| what.split(" not durable").next().unwrap_or_default()).collect();
        assert_eq!(found, expected);
    }
}

/// An object that gets its name, with or without having been synced before.
fn stored(synced: bool) -> Trace {
    let trace = Trace::new().create(INCOMING).write(INCOMING, INCOMING);
    let trace = if synced { trace.sync_file(INCOMING, INCOMING) } else { trace };
    trace.rename(INCOMING, INCOMING, OBJECT)
}

const INCOMING: &str = "/home/anna/destinations/usb/incoming/x";
const UNSYNCED_OBJECT: &str = "/home/anna/destinations/usb/objects/aa/aabb: Bytes";
const UNSYNCED_NAME: &str = "/home/anna/destinations/usb/objects/aa/aabb: Made";

#[test]
fn an_object_needs_its_bytes_and_its_name() {
    stored(false).unlink(ASIDE, ASIDE).finds(&[UNSYNCED_OBJECT, UNSYNCED_NAME]);
    stored(true).unlink(ASIDE, ASIDE).finds(&[UNSYNCED_NAME]);
    stored(false).sync_dir(OBJECTS).unlink(ASIDE, ASIDE).finds(&[UNSYNCED_OBJECT]);
    stored(true).sync_dir(OBJECTS).unlink(ASIDE, ASIDE).finds(&[]);
}

#[test]
fn a_file_has_no_name_before_its_bytes_are_durable() {
    stored(false).sync("syncfs", "/", directory("/")).finds(&[UNSYNCED_OBJECT]);
}

#[test]
fn what_makes_durable_and_what_does_not() {
    let unsynced = format!("{LOG}: Bytes");
    for name in ["fdatasync", "fsync", "syncfs", "sync"] {
        Trace::new().write(LOG, LOG).sync(name, LOG, file(LOG)).unlink(ASIDE, ASIDE).finds(&[]);
    }
    Trace::new().write(LOG, LOG).sync("sync_file_range", LOG, file(LOG)).unlink(ASIDE, ASIDE).finds(&[&unsynced]);
    let elsewhere = file("x").map(|inode| Inode { device: 2, ..inode });
    Trace::new().write(LOG, LOG).sync("syncfs", "/x", elsewhere).unlink(ASIDE, ASIDE).finds(&[&unsynced]);
    Trace::new().write(LOG, LOG).sync_file(LOG, LOG).fails().unlink(ASIDE, ASIDE).finds(&[&unsynced]);
}

#[test]
fn a_sync_covers_only_what_returned_before_it_began() {
    let overlapping = Trace::new().write(LOG, LOG).sync_file(LOG, LOG).overlap();
    overlapping.unlink(ASIDE, ASIDE).finds(&[&format!("{LOG}: Bytes")]);
    // Written again after the sync began.
    let again = Trace::new().write(LOG, LOG).sync_file(LOG, LOG).write(LOG, LOG).overlap();
    again.unlink(ASIDE, ASIDE).finds(&[&format!("{LOG}: Bytes")]);
    // A deletion that begins before the sync has returned.
    let hasty = Trace::new().write(LOG, LOG).sync_file(LOG, LOG).unlink(ASIDE, ASIDE).overlap();
    hasty.finds(&[&format!("{LOG}: Bytes")]);
}

#[test]
fn directories_above_the_index_need_their_names() {
    let made = |trace: Trace| trace.mkdir("/home/anna/share").mkdir("/home/anna/share/lastcopy");
    let low = made(Trace::new()).sync_dir("/home/anna/share").unlink(ASIDE, ASIDE);
    low.finds(&["/home/anna/share: Made"]);
    made(Trace::new()).sync_dir("/home/anna/share").sync_dir("/home/anna").unlink(ASIDE, ASIDE).finds(&[]);
}

#[test]
fn a_call_that_failed_changed_nothing() {
    Trace::new().mkdir("/home/anna/share/lastcopy").fails().unlink(ASIDE, ASIDE).finds(&[]);
    let verdict = Trace::new().write(LOG, LOG).unlink(ASIDE, ASIDE).fails().verdict();
    assert_eq!(verdict.deletions, 0);
}

#[test]
fn a_move_is_durable_before_the_index_records_it() {
    let home = format!("{VOLUME}/a");
    let area = "/home/anna/photos/.lastcopy/offload/7";
    let moved = || Trace::new().rename(&home, &home, ASIDE);
    let (away, there) = (format!("{home}: Moved"), format!("{ASIDE}: Made"));
    moved().write(LOG, LOG).finds(&[&there, &away]);
    moved().sync_dir(area).write(LOG, LOG).finds(&[&away]);
    moved().sync_dir(VOLUME).write(LOG, LOG).finds(&[&there]);
    let both = moved().sync_dir(VOLUME).sync_dir(area).write(LOG, LOG).verdict();
    assert_eq!((both.moves, both.records), (1, 1));
    moved().sync_dir(VOLUME).sync_dir(area).write(LOG, LOG).finds(&[]);
}

#[test]
fn a_deletion_is_durable_before_the_index_records_it() {
    let area = "/home/anna/photos/.lastcopy/offload/7";
    Trace::new().unlink(ASIDE, ASIDE).write(LOG, LOG).finds(&[&format!("{ASIDE}: Removed")]);
    Trace::new().unlink(ASIDE, ASIDE).sync_dir(area).write(LOG, LOG).finds(&[]);
}

#[test]
fn a_restored_file_needs_its_bytes_its_times_and_its_name() {
    let incoming = "/home/anna/photos/.lastcopy/incoming/7/x";
    let home = format!("{VOLUME}/a");
    let arrived = |sync: Option<&'static str>| {
        let mut trace = Trace::new().create(incoming).write(incoming, incoming);
        trace.call("utimensat", Kind::Change, &[(incoming, file(incoming))], 0);
        let trace = if let Some(sync) = sync { trace.sync(sync, incoming, file(incoming)) } else { trace };
        trace.rename(incoming, incoming, &home)
    };
    let [bytes, times, name] = ["Bytes", "Attributes", "Made"].map(|what| format!("{home}: {what}"));
    arrived(None).write(LOG, LOG).finds(&[&times, &bytes, &name]);
    arrived(Some("fsync")).write(LOG, LOG).finds(&[&name]);
    arrived(Some("fsync")).sync_dir(VOLUME).write(LOG, LOG).finds(&[]);
    arrived(Some("fdatasync")).sync_dir(VOLUME).write(LOG, LOG).finds(&[&times]);
}

#[test]
fn what_counts_as_a_deletion() {
    let in_place = format!("{VOLUME}/a");
    let deletions = |trace: Trace| trace.verdict().deletions;
    assert_eq!(deletions(Trace::new().unlink("a", &in_place)), 1);
    assert_eq!(deletions(Trace::new().unlink("a", OBJECT)), 1);
    assert_eq!(deletions(Trace::new().write("a", &in_place)), 1);
    assert_eq!(deletions(Trace::new().unlink("a", INCOMING)), 0);
    assert_eq!(deletions(Trace::new().unlink("a", "/home/anna/photos/.lastcopy/incoming/7/x")), 0);
    let over = |flags| {
        let mut trace = Trace::new();
        trace.call("renameat2", Kind::Change, &[("/x", file("x")), (&in_place, file("a"))], flags);
        trace
    };
    assert_eq!(deletions(over(0)), 1);
    assert_eq!(deletions(over(u64::from(libc::RENAME_NOREPLACE))), 0);
    let mut emptied = Trace::new();
    emptied.call("openat", Kind::Change, &[(&in_place, file("a"))], libc::O_TRUNC as u64);
    assert_eq!(deletions(emptied), 1);
}

#[test]
fn what_a_power_cut_may_take() {
    let share = "/home/anna/share/lastcopy";
    for name in ["index.db-shm", "index.db.lock", "index.db.runs/x.lock"] {
        let path = format!("{share}/{name}");
        Trace::new().create(&path).write(&path, &path).unlink(ASIDE, ASIDE).finds(&[]);
    }
    Trace::new().unlink(LOG, LOG).unlink(ASIDE, ASIDE).finds(&[]);
    // A journal that comes back undoes what was committed.
    let journal = format!("{share}/index.db-journal");
    Trace::new().unlink(&journal, &journal).unlink(ASIDE, ASIDE).finds(&[&format!("{journal}: Removed")]);
    // What was never synced and has no name any more is gone anyway.
    let temporary = format!("{share}/x.tmp");
    let gone = Trace::new().create(&temporary).write(&temporary, &temporary).unlink(&temporary, &temporary).sync_dir(share);
    gone.unlink(ASIDE, ASIDE).finds(&[]);
}

#[test]
fn when_a_command_has_ended_everything_is_durable() {
    let pushed = || Trace::new().create(OBJECT).mkdir("/home/anna/destinations/nas");
    let verdict = pushed().verdict();
    let moments: Vec<_> = verdict.violations.values().map(|(moment, _)| moment.as_str()).collect();
    assert_eq!(moments, ["`x` ended", "`x` ended"]);
    assert!(pushed().sync("syncfs", "/", directory("/")).verdict().violations.is_empty());
}
