//! The run gate: every cell of the table, against runs that really begin.

use crate::support::{Node, counting, requiring};
use lastcopy_fs::{Id128, LockFile};
use lastcopy_store::{
    Activity, BeginError, DestinationKind, DestinationRecord, RunId, RunRecord, RunStatus, Scope, Volume, gate, run_gate_table,
};
use std::collections::BTreeMap;

/// A node with two volumes, and two destinations of each kind. The first volume's policy requires the first cas, the second one's
/// counts the second: a policy requires what it counts, too.
struct World {
    node: Node,
    volumes: [Volume; 2],
    destinations: BTreeMap<DestinationKind, [DestinationRecord; 2]>,
}

/// A run as it is asked for: what, on which volume, with which destination.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    activity: Activity,
    volume: Option<usize>,
    destination: Option<(DestinationKind, usize)>,
}

impl World {
    fn new() -> Self {
        let node = Node::new();
        let destinations: BTreeMap<_, _> = DestinationKind::ALL
            .iter()
            .map(|kind| (*kind, ["1", "2"].map(|number| node.registered(&format!("{kind} {number}"), *kind))))
            .collect();
        let cas = &destinations[&DestinationKind::Cas];
        let policies = [requiring(&[&cas[0]]), counting(1, &[&cas[1]])];
        let volumes = ["first", "second"].map(|name| node.volume(name));
        let volumes = [0, 1].map(|place| node.under_policy(volumes[place].name(), &policies[place]));
        Self { node, volumes, destinations }
    }

    fn destination(&self, wanted: Wanted) -> Option<&DestinationRecord> {
        wanted.destination.map(|(kind, place)| &self.destinations[&kind][place])
    }

    /// Begins what is wanted, and hands its keeper over.
    fn begin(&self, wanted: Wanted) -> Result<Box<dyn Holds>, BeginError> {
        let store = &self.node.store;
        let volume = wanted.volume.map(|place| &self.volumes[place]);
        let destination = self.destination(wanted);
        Ok(match wanted.activity {
            Activity::Index => Box::new(store.begin_index(volume.unwrap())?),
            Activity::Audit => Box::new(store.begin_audit(volume.unwrap())?),
            Activity::Sync(_) => Box::new(store.begin_sync(volume.unwrap(), destination.unwrap())?.0),
            Activity::Verify => Box::new(store.begin_verify(destination.unwrap().id, volume)?),
            Activity::Restore => Box::new(store.begin_restore(volume)?),
            Activity::Offload => Box::new(store.begin_offload(volume.unwrap())?),
            Activity::EvidenceChange => Box::new(store.begin_evidence_change(destination.map(|record| record.id), volume)?),
            Activity::Receive => Box::new(self.receive(volume.unwrap())),
        })
    }

    /// Nothing begins this kind of run yet; but one that a newer program began must be heeded.
    fn receive(&self, volume: &Volume) -> Receiving {
        let name = format!("{}.lock", Id128::random().unwrap());
        let lock = LockFile::create(&self.node.temp.path().join("state/index.db.runs").join(&name)).unwrap();
        let raw = self.node.raw();
        raw.execute(
            "INSERT INTO run (epoch, kind, volume, status, started_at, owner, liveness)
             VALUES ((SELECT max(id) FROM epoch), 'receive', ?, 'running', 0, 'a newer program', ?)",
            (volume.id(), name),
        )
        .unwrap();
        Receiving { id: RunId::from_user(raw.last_insert_rowid()), _lock: lock }
    }
}

/// Keeps a run alive.
trait Holds {
    fn id(&self) -> RunId;
}

impl<K: lastcopy_store::Kind> Holds for lastcopy_store::Run<K> {
    fn id(&self) -> RunId {
        lastcopy_store::Run::id(self)
    }
}

struct Receiving {
    id: RunId,
    _lock: LockFile,
}

impl Holds for Receiving {
    fn id(&self) -> RunId {
        self.id
    }
}

/// Every way to ask for an activity: each volume or none where that may be, each destination of the kinds that matter.
fn ways(activity: Activity, kinds: &[DestinationKind]) -> Vec<Wanted> {
    let volumes: &[Option<usize>] = match activity {
        Activity::Verify | Activity::Restore => &[Some(0), Some(1), None],
        Activity::EvidenceChange => &[None],
        _ => &[Some(0), Some(1)],
    };
    let kinds = match activity {
        Activity::Sync(kind) => &[kind],
        _ => kinds,
    };
    let with_destination = matches!(activity, Activity::Sync(_) | Activity::Verify | Activity::EvidenceChange);
    let destinations: Vec<_> =
        if with_destination { kinds.iter().flat_map(|kind| [Some((*kind, 0)), Some((*kind, 1))]).collect() } else { vec![None] };
    let pairs = volumes.iter().flat_map(|volume| destinations.iter().map(move |destination| (*volume, *destination)));
    pairs.map(|(volume, destination)| Wanted { activity, volume, destination }).collect()
}

/// What the letters of the table mean, in words of the model.
fn contradict(begin: Wanted, running: Wanted) -> bool {
    let same_volume = begin.volume.is_some() && begin.volume == running.volume;
    let same_destination = begin.destination.is_some() && begin.destination == running.destination;
    // A policy of each volume names the cas of its own number.
    let names = |offload: Wanted, other: Wanted| {
        offload.activity == Activity::Offload && other.destination == Some((DestinationKind::Cas, offload.volume.unwrap()))
    };
    match gate(begin.activity, running.activity) {
        Scope::Never => false,
        Scope::Volume => same_volume,
        Scope::Destination => same_destination,
        Scope::Pair => same_destination && (same_volume || begin.volume.is_none() || running.volume.is_none()),
        Scope::Required => names(begin, running) || names(running, begin),
    }
}

fn kind_of(activity: Activity) -> DestinationKind {
    if let Activity::Sync(kind) = activity { kind } else { DestinationKind::Cas }
}

/// Every row of the table asked for against every column running, on the same and on another volume, with the same and with another
/// destination. What is refused is recorded with the run in its way; what is not, begins.
#[test]
fn every_cell_refuses_exactly_what_it_says() {
    let world = World::new();
    let mut cells = 0;
    let mut refusals = 0;
    for running in Activity::ALL {
        for begin in Activity::ALL {
            // Nothing begins a receive.
            if begin == Activity::Receive {
                continue;
            }
            cells += 1;
            let kind = match begin {
                Activity::Sync(kind) => kind,
                _ => kind_of(running),
            };
            let first = |wanted: &Wanted| wanted.volume != Some(1) && wanted.destination.is_none_or(|(_, place)| place == 0);
            for running in ways(running, &[kind]).into_iter().filter(first) {
                let holder = world.begin(running).unwrap();
                for begin in ways(begin, &[kind]) {
                    refusals += usize::from(check(&world, begin, running, holder.id()));
                }
                end(&world, holder);
            }
        }
    }
    assert_eq!(cells, Activity::ALL.len() * (Activity::ALL.len() - 1));
    assert!(refusals > 100, "only {refusals} refusals");
}

/// Asks for one run while another one is going on. Says whether it was refused.
#[track_caller]
fn check(world: &World, begin: Wanted, running: Wanted, by_id: RunId) -> bool {
    let expected = contradict(begin, running);
    match world.begin(begin) {
        Ok(_begun) => assert!(!expected, "{begin:?} began during {running:?}"),
        Err(BeginError::Blocked { wanted, by, refused }) => {
            assert!(expected, "{begin:?} was refused during {running:?}");
            assert_eq!((wanted, by.id, by.status), (begin.activity.kind(), by_id, RunStatus::Running));
            let record = world.node.store.run_record(refused).unwrap();
            assert_eq!(
                (record.kind, record.status, record.blocked_by, record.attempts),
                (begin.activity.kind(), RunStatus::Refused, Some(by_id), 1)
            );
            assert_eq!(record.volume.as_deref(), begin.volume.map(|place| world.volumes[place].name()));
            assert_eq!(record.destination.as_deref(), world.destination(begin).map(|record| record.name.as_str()));
            assert!(record.ended.is_some());
        }
        Err(other) => panic!("{begin:?} during {running:?}: {other}"),
    }
    expected
}

/// Ends a run, also one that nothing in this program began.
fn end(world: &World, holder: Box<dyn Holds>) {
    let id = holder.id();
    drop(holder);
    assert_eq!(world.node.store.running().unwrap(), [], "run {id} should be over");
}

/// A cadence that is refused again and again for the same reason leaves one row, with a count; another reason, or something that
/// happened in between, begins another row.
#[test]
fn a_repeated_refusal_is_counted() {
    let world = World::new();
    let store = &world.node.store;
    let volume = &world.volumes[0];
    let audit = Wanted { activity: Activity::Audit, volume: Some(0), destination: None };
    let first = store.begin_index(volume).unwrap();
    for expected in 1..=3 {
        assert_eq!(refused(&world, audit).attempts, expected);
    }
    let row = refused(&world, audit);
    assert_eq!((row.attempts, row.blocked_by), (4, Some(first.id())));
    drop(first);

    let second = store.begin_index(volume).unwrap();
    let other = refused(&world, audit);
    assert_eq!((other.attempts, other.blocked_by), (1, Some(second.id())), "another run is in the way");
    assert_ne!(other.id, row.id);
    drop(second);
    drop(store.begin_audit(volume).unwrap());

    let third = store.begin_index(volume).unwrap();
    assert_eq!(refused(&world, audit).attempts, 1, "it had begun in between");
    assert_eq!(refused(&world, audit).attempts, 2);
    drop(third);
}

fn refused(world: &World, wanted: Wanted) -> RunRecord {
    match world.begin(wanted) {
        Err(BeginError::Blocked { refused, .. }) => world.node.store.run_record(refused).unwrap(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{wanted:?} began"),
    }
}

/// Nothing else is written by a begin that is refused.
#[test]
fn a_refused_begin_leaves_one_row_and_nothing_else() {
    let world = World::new();
    let running = world.node.store.begin_restore(Some(&world.volumes[0])).unwrap();
    let before = counts(&world.node);
    let cas = &world.destinations[&DestinationKind::Cas][0];
    assert!(world.node.store.begin_sync(&world.volumes[0], cas).is_err());
    let after = counts(&world.node);
    let expected: Vec<_> = before.iter().map(|(name, rows)| (name.clone(), rows + i64::from(name == "run"))).collect();
    assert_eq!(after, expected);
    let locks = std::fs::read_dir(world.node.path("state/index.db.runs")).unwrap().count();
    assert_eq!(locks, 1, "its lock is gone with it, that of run {} is not", running.id());
}

fn counts(node: &Node) -> Vec<(String, i64)> {
    let raw = node.raw();
    let mut tables = raw.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    let names: Vec<String> = tables.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let count = |name: &String| raw.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0)).unwrap();
    names.iter().map(|name| (name.clone(), count(name))).collect()
}

/// Two processes that ask at the same moment: one begins, one is refused.
#[test]
fn of_two_that_begin_at_once_one_is_refused() {
    let world = World::new();
    for _ in 0..20 {
        let (other, _) = world.node.again();
        let line = std::sync::Barrier::new(2);
        let begin = |store: &lastcopy_store::Store| {
            line.wait();
            let begun = store.begin_index(&world.volumes[0]);
            // Neither ends before both have asked.
            line.wait();
            begun.is_ok()
        };
        let begun = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| begin(&other));
            [begin(&world.node.store), theirs.join().unwrap()]
        });
        assert_ne!(begun[0], begun[1], "one of two begins");
    }
}

/// The printed table and the data behind it are one.
#[test]
fn the_printed_table_has_every_cell() {
    let table = run_gate_table();
    assert_eq!(table.lines().count(), Activity::ALL.len() + 2);
    for (row, line) in Activity::ALL.into_iter().zip(table.lines().skip(2)) {
        let cells: Vec<_> = line.split('|').map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!(cells.len(), Activity::ALL.len() + 1);
        assert_eq!(cells[0], row.label());
    }
}
