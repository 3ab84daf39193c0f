//! What there is: one path of one volume, what the index believes, and two or three destinations.

use lastcopy_store::ReceiptLevel;

/// Destinations at the most; a model may use fewer.
pub(crate) const PLACES: usize = 3;
/// Contents at the most; a model may use fewer.
pub(crate) const VERSIONS: usize = 3;
/// Evidence of this age or more is stale.
pub(crate) const STALE: u8 = 2;

/// A content. Each edit makes a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version(pub(crate) u8);

/// A set of small things.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Set(pub(crate) u64);

impl Set {
    /// Whether the thing of this number is in it.
    pub(crate) fn contains(self, number: u8) -> bool {
        self.0 >> number & 1 == 1
    }

    /// With the thing of this number.
    #[must_use]
    pub(crate) fn with(self, number: u8) -> Self {
        Self(self.0 | 1 << number)
    }

    /// Without the thing of this number.
    #[must_use]
    pub(crate) fn without(self, number: u8) -> Self {
        Self(self.0 & !(1 << number))
    }

    /// How many are in it.
    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether none is.
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries((0..64).filter(|number| self.contains(*number))).finish()
    }
}

/// An inode that has a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct File {
    /// Which inode it is.
    pub(crate) inode: u8,
    /// What it holds.
    pub(crate) version: Version,
    /// Somebody has it open for writing, or mapped so.
    pub(crate) open_for_writing: bool,
}

/// The volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    /// What is at the path.
    pub(crate) path: Option<File>,
    /// What is in quarantine.
    pub(crate) aside: Option<File>,
    /// The inodes in the kept files.
    pub(crate) kept: Set,
}

/// How the path's newest row stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Status {
    /// On the disk.
    Present,
    /// Moved aside.
    Quarantined,
    /// Deleted here on purpose.
    Offloaded,
    /// Gone, reason unknown.
    Missing,
}

/// The path's newest row in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    /// What it holds.
    pub(crate) version: Version,
    /// The run in which it last became present.
    pub(crate) present_since: u8,
    /// How it stands.
    pub(crate) status: Status,
}

/// How far a file is on its way out, as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum IntentState {
    /// Moved aside, or about to be.
    Moving,
    /// Aside for the policy's grace, which is over or not.
    Held {
        /// Whether it is over.
        over: bool,
    },
    /// Confirmed; it may be gone any moment.
    Deleting,
}

/// An intent that is not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Intent {
    /// The inode that was hashed.
    pub(crate) inode: u8,
    /// What it held.
    pub(crate) version: Version,
    /// The life of the index that recorded it.
    pub(crate) epoch: u8,
    /// How far it is.
    pub(crate) state: IntentState,
}

/// A receipt of one content at one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Receipt {
    /// How much it says.
    pub(crate) level: ReceiptLevel,
    /// Who gave it.
    pub(crate) incarnation: u8,
    /// How long ago the bytes were checked, up to [`STALE`].
    pub(crate) age: u8,
    /// It was found not to hold.
    pub(crate) lost: bool,
}

/// Who wrote a head of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Writer {
    /// This index.
    Own,
    /// A copy of it.
    Copy,
}

/// A head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Mark {
    /// The life of the index that wrote it.
    pub(crate) epoch: u8,
    /// The push's place among those that were accepted.
    pub(crate) sequence: u8,
    /// Which of two copies of an index.
    pub(crate) writer: Writer,
}

/// What the index believes of one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Believed {
    /// Who was accepted.
    pub(crate) accepted: Option<u8>,
    /// Who answered last.
    pub(crate) answered: Option<u8>,
    /// An alarm stands: another one answers.
    pub(crate) identity_alarm: bool,
    /// An alarm stands: it went back.
    pub(crate) rolled_back_alarm: bool,
    /// Contents on which an alarm stands there.
    pub(crate) content_alarms: Set,
    /// The newest component: of which epoch, up to which run.
    pub(crate) component: Option<(u8, u8)>,
    /// Receipts, by content.
    pub(crate) receipts: [Option<Receipt>; VERSIONS],
    /// The head that was sealed last, in this epoch.
    pub(crate) sealed: Option<Mark>,
    /// One announced after it.
    pub(crate) announced: Option<Mark>,
    /// The highest sequence ever used, in this epoch.
    pub(crate) highest: u8,
}

/// Which policy is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Terms {
    /// The one that was there first.
    Strict,
    /// One that asks a destination fewer.
    Weak,
}

/// The index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Index {
    /// Which life it is in.
    pub(crate) epoch: u8,
    /// The lives that it knows of.
    pub(crate) known_epochs: Set,
    /// The newest run that can have made something present.
    pub(crate) run: u8,
    /// The newest row of the path.
    pub(crate) row: Option<Row>,
    /// The intent that is open.
    pub(crate) intent: Option<Intent>,
    /// The destinations.
    pub(crate) at: [Believed; PLACES],
    /// The policy accepted last.
    pub(crate) accepted_policy: Option<Terms>,
}

/// What a destination has under a content's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// Nothing.
    Absent,
    /// Other bytes, of the same size.
    Damaged,
    /// The content.
    Good,
}

/// What is really at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Storage {
    /// Its objects, by content.
    pub(crate) objects: [Object; VERSIONS],
    /// The newest head of this node.
    pub(crate) head: Option<Mark>,
    /// Another node pushed to it.
    pub(crate) others_pushed: bool,
}

/// A destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Destination {
    /// Who answers.
    pub(crate) incarnation: u8,
    /// What it has.
    pub(crate) storage: Storage,
    /// A snapshot that its owner made of it.
    pub(crate) snapshot: Option<Storage>,
    /// It is the volume itself, by another way: a share, a bind mount.
    pub(crate) is_the_volume: bool,
    /// For the properties: what a push ever left there, whole.
    pub(crate) ever_held: Set,
}

/// What a destination said when it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    /// Nobody asked it.
    NotAsked,
    /// It is there, with its size.
    Held,
    /// It is not.
    NotHeld,
    /// It could not be asked, or is not who it should be.
    Unreachable,
}

/// What was heard, and, for the properties, what was true when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Heard {
    /// What each destination said.
    pub(crate) answers: [Answer; PLACES],
    /// What each destination held.
    pub(crate) truth: [Set; PLACES],
}

/// What a running offload knows of the file that it has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    /// The inode that was hashed.
    pub(crate) inode: u8,
    /// Its lease still stands.
    pub(crate) leased: bool,
    /// The policy that was configured when the run began.
    pub(crate) terms: Terms,
}

/// What this node is doing. Runs that contradict each other never overlap, so it is one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// Nothing.
    Idle,
    /// A push has recorded its receipts.
    Pushed {
        /// Where.
        place: u8,
        /// The horizon of its snapshot.
        horizon: u8,
    },
    /// A push has written its head.
    Sealed {
        /// Where.
        place: u8,
        /// The horizon of its snapshot.
        horizon: u8,
    },
    /// An offload has passed the gate, and hashed the file.
    Hashed(Open),
    /// It has recorded the intent.
    Intended(Open, Option<Heard>),
    /// It has moved the file aside, and looked at what it moved.
    Aside(Open, Option<Heard>),
    /// It has asked the destinations.
    Confirmed(Open, Heard),
    /// It has decided again, and recorded that deletion begins.
    Deleting(Open, Heard),
    /// It has deleted the file.
    Unlinked,
}

/// Bytes that this node removed: deleted, or written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Removal {
    /// The bytes.
    pub(crate) version: Version,
    /// Which destinations held them, when they were asked last.
    pub(crate) held: Set,
}

/// What cannot change on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Setting {
    /// The policy has a grace.
    pub(crate) grace: bool,
}

/// Everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// What cannot change on the way.
    pub(crate) setting: Setting,
    /// The volume.
    pub(crate) disk: Disk,
    /// The index.
    pub(crate) index: Index,
    /// A copy of the index from earlier.
    pub(crate) backup: Option<Index>,
    /// The newest run that the files beside the index and in the volume remember.
    pub(crate) witness: u8,
    /// The index is behind them.
    pub(crate) behind: bool,
    /// The destinations.
    pub(crate) destinations: [Destination; PLACES],
    /// What runs.
    pub(crate) phase: Phase,
    /// The configured policy.
    pub(crate) configured: Terms,
    /// For the properties: the weakest policy that a person's act, or the loss of what was accepted, allows.
    pub(crate) allowed: Terms,
    /// Contents made so far.
    pub(crate) versions: u8,
    /// Inodes made so far.
    pub(crate) inodes: u8,
    /// Lives of the index so far.
    pub(crate) epochs: u8,
    /// Incarnations of destinations so far.
    pub(crate) incarnations: u8,
    /// The faults that happened.
    pub(crate) faults: Set,
    /// For the properties: contents that were confirmed, and not put back since.
    pub(crate) confirmed: Set,
    /// For the properties: what the last step did.
    pub(crate) events: Set,
    /// For the properties: what the last step removed.
    pub(crate) removed: Option<Removal>,
}

impl Version {
    /// Its place in an array.
    pub(crate) fn place(self) -> usize {
        usize::from(self.0)
    }
}

impl Storage {
    /// Empty.
    pub(crate) const EMPTY: Self = Self { objects: [Object::Absent; VERSIONS], head: None, others_pushed: false };
}

impl Index {
    /// One that was just made.
    pub(crate) fn new(epoch: u8, run: u8) -> Self {
        let known_epochs = Set::default().with(epoch);
        let at = [Believed::default(); PLACES];
        Self { epoch, known_epochs, run, row: None, intent: None, at, accepted_policy: None }
    }

    /// Whether a quarantined file waits for its grace, and this life of the index knows it.
    pub(crate) fn is_waiting(&self) -> bool {
        let held = |intent: Intent| matches!(intent.state, IntentState::Held { .. }) && intent.epoch == self.epoch;
        self.intent.is_some_and(held) && self.row.is_some_and(|row| row.status == Status::Quarantined)
    }
}

impl State {
    /// Initialised destinations, and a file that nobody has looked at yet.
    pub(crate) fn first(setting: Setting, the_volume: Option<usize>) -> Self {
        let file = File { inode: 0, version: Version(0), open_for_writing: false };
        let mut index = Index::new(0, 0);
        let mut number = 0;
        let destinations = [(); PLACES].map(|()| {
            let incarnation = number;
            number += 1;
            let is_the_volume = the_volume == Some(usize::from(incarnation));
            Destination { incarnation, storage: Storage::EMPTY, snapshot: None, is_the_volume, ever_held: Set::default() }
        });
        for (believed, there) in index.at.iter_mut().zip(&destinations) {
            (believed.accepted, believed.answered) = (Some(there.incarnation), Some(there.incarnation));
        }
        Self {
            setting,
            disk: Disk { path: Some(file), aside: None, kept: Set::default() },
            index,
            backup: None,
            witness: 0,
            behind: false,
            destinations,
            phase: Phase::Idle,
            configured: Terms::Strict,
            allowed: Terms::Strict,
            versions: 1,
            inodes: 1,
            epochs: 1,
            incarnations: number,
            faults: Set::default(),
            confirmed: Set::default(),
            events: Set::default(),
            removed: None,
        }
    }

    /// What a destination shows under a content's name.
    pub(crate) fn object(&self, place: usize, version: Version) -> Object {
        let there = &self.destinations[place];
        if !there.is_the_volume {
            return there.storage.objects[version.place()];
        }
        match self.disk.path {
            Some(file) if file.version == version => Object::Good,
            Some(_) => Object::Damaged,
            None => Object::Absent,
        }
    }

    /// The contents that each destination holds, apart from the file itself.
    pub(crate) fn truth(&self) -> [Set; PLACES] {
        self.destinations.map(|there| {
            let good = |number: &u8| !there.is_the_volume && there.storage.objects[usize::from(*number)] == Object::Good;
            (0..self.versions).filter(good).fold(Set::default(), Set::with)
        })
    }
}
