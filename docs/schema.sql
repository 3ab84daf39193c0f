-- The schema of the index, as `lastcopy db schema` prints it.
-- Generated from the code by `cargo xtask references`; do not edit.

CREATE TRIGGER alarm_ends_once BEFORE UPDATE ON alarm WHEN OLD.ended_at IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'the alarm has ended'); END;
CREATE TRIGGER alarm_stays BEFORE DELETE ON alarm BEGIN SELECT RAISE(ABORT, 'alarms are never deleted'); END;
CREATE TRIGGER content_keeps BEFORE UPDATE ON content BEGIN SELECT RAISE(ABORT, 'contents are append-only'); END;
CREATE TRIGGER content_stays BEFORE DELETE ON content BEGIN SELECT RAISE(ABORT, 'contents are append-only'); END;
CREATE TRIGGER directory_keeps BEFORE UPDATE ON directory BEGIN SELECT RAISE(ABORT, 'directories are append-only'); END;
CREATE TRIGGER directory_stays BEFORE DELETE ON directory BEGIN SELECT RAISE(ABORT, 'directories are append-only'); END;
CREATE TRIGGER epoch_keeps BEFORE UPDATE ON epoch BEGIN SELECT RAISE(ABORT, 'epochs are append-only'); END;
CREATE TRIGGER epoch_stays BEFORE DELETE ON epoch BEGIN SELECT RAISE(ABORT, 'epochs are append-only'); END;
CREATE TRIGGER evidence_log_keeps BEFORE UPDATE ON evidence_log
BEGIN SELECT RAISE(ABORT, 'the evidence log is append-only'); END;
CREATE TRIGGER evidence_log_stays BEFORE DELETE ON evidence_log
BEGIN SELECT RAISE(ABORT, 'the evidence log is append-only'); END;
CREATE TRIGGER exclusion_keeps BEFORE UPDATE ON exclusion BEGIN SELECT RAISE(ABORT, 'exclusions are append-only'); END;
CREATE TRIGGER exclusion_stays BEFORE DELETE ON exclusion BEGIN SELECT RAISE(ABORT, 'exclusions are append-only'); END;
CREATE TRIGGER file_history_stays BEFORE UPDATE ON file WHEN OLD.status = 'superseded' AND NEW.status <> 'superseded'
BEGIN SELECT RAISE(ABORT, 'a superseded row stays superseded'); END;
CREATE TRIGGER file_interval_stays BEFORE UPDATE ON file WHEN OLD.until_seq IS NOT NULL AND NEW.until_seq IS NOT OLD.until_seq
    AND NOT (OLD.status = 'quarantined' AND NEW.status = 'present' AND NEW.status_run = OLD.status_run)
BEGIN SELECT RAISE(ABORT, 'what a snapshot says does not change'); END;
CREATE TRIGGER file_says_one_thing BEFORE UPDATE ON file WHEN
    NEW.volume <> OLD.volume OR NEW.directory <> OLD.directory OR NEW.name <> OLD.name OR NEW.content <> OLD.content
    OR NEW.size <> OLD.size OR NEW.mtime_ns <> OLD.mtime_ns OR NEW.mode <> OLD.mode OR NEW.since_seq <> OLD.since_seq
    OR NEW.present_since <> OLD.present_since
BEGIN SELECT RAISE(ABORT, 'a file row is an observation; another one needs another row'); END;
CREATE TRIGGER file_stays BEFORE DELETE ON file BEGIN SELECT RAISE(ABORT, 'file history stays'); END;
CREATE TRIGGER head_stays BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'heads are forgotten, never deleted'); END;
CREATE TRIGGER hook_run_first_terminal_status_stays BEFORE UPDATE ON hook_run WHEN OLD.status <> 'running'
BEGIN SELECT RAISE(ABORT, 'the hook run has ended; its first terminal status stays'); END;
CREATE TRIGGER hook_run_stays BEFORE DELETE ON hook_run BEGIN SELECT RAISE(ABORT, 'hook runs are never pruned'); END;
CREATE TRIGGER intent_settles_once BEFORE UPDATE ON intent WHEN OLD.state IN ('offloaded', 'put-back', 'kept', 'missing')
BEGIN SELECT RAISE(ABORT, 'the intent is settled'); END;
CREATE TRIGGER intent_stays BEFORE DELETE ON intent BEGIN SELECT RAISE(ABORT, 'intents are kept'); END;
CREATE TRIGGER policy_keeps BEFORE UPDATE ON policy BEGIN SELECT RAISE(ABORT, 'accepted policies are append-only'); END;
CREATE TRIGGER policy_stays BEFORE DELETE ON policy BEGIN SELECT RAISE(ABORT, 'accepted policies are append-only'); END;
CREATE TRIGGER receipt_stays BEFORE DELETE ON receipt BEGIN SELECT RAISE(ABORT, 'receipts are lost, never deleted'); END;
CREATE TRIGGER run_first_terminal_status_stays BEFORE UPDATE ON run WHEN OLD.status <> 'running' AND (
    NEW.status IS NOT OLD.status OR NEW.ended_at IS NOT OLD.ended_at OR NEW.error IS NOT OLD.error
    OR NEW.summary IS NOT OLD.summary OR NEW.kind IS NOT OLD.kind OR NEW.volume IS NOT OLD.volume
    OR NEW.destination IS NOT OLD.destination OR NEW.started_at IS NOT OLD.started_at)
BEGIN SELECT RAISE(ABORT, 'the run has ended; its first terminal status stays'); END;
CREATE TRIGGER run_stays BEFORE DELETE ON run BEGIN SELECT RAISE(ABORT, 'runs are never pruned'); END;
CREATE TRIGGER snapshot_horizon_keeps BEFORE UPDATE ON snapshot_horizon
BEGIN SELECT RAISE(ABORT, 'snapshots are immutable'); END;
CREATE TRIGGER snapshot_horizon_stays BEFORE DELETE ON snapshot_horizon
BEGIN SELECT RAISE(ABORT, 'snapshots are immutable'); END;
CREATE TRIGGER snapshot_keeps BEFORE UPDATE ON snapshot BEGIN SELECT RAISE(ABORT, 'snapshots are immutable'); END;
CREATE TRIGGER snapshot_stays BEFORE DELETE ON snapshot BEGIN SELECT RAISE(ABORT, 'snapshots are immutable'); END;
CREATE TRIGGER volume_stays BEFORE DELETE ON volume BEGIN SELECT RAISE(ABORT, 'volumes are never deleted'); END;
CREATE TABLE alarm (
    id INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('content-changed', 'lost-object', 'identity-changed', 'rolled-back')),
    destination INTEGER REFERENCES destination (id),
    content INTEGER REFERENCES content (id),
    file INTEGER REFERENCES file (id),
    detail TEXT NOT NULL,
    raised_at INTEGER NOT NULL,
    raised_by INTEGER NOT NULL REFERENCES run (id),
    ended_at INTEGER,
    ended_by INTEGER REFERENCES run (id),
    -- a person's word; NULL where a later run proved the opposite
    acknowledged TEXT
) STRICT;
CREATE TABLE conflict (
    id INTEGER PRIMARY KEY,
    volume INTEGER NOT NULL REFERENCES volume (id),
    path BLOB NOT NULL,
    raised_by INTEGER NOT NULL REFERENCES run (id),
    resolved_by INTEGER REFERENCES run (id)
) STRICT;
CREATE TABLE content (
    id INTEGER PRIMARY KEY,
    blake3 BLOB NOT NULL UNIQUE CHECK (length(blake3) = 32),
    size INTEGER NOT NULL CHECK (size >= 0)
) STRICT;
CREATE TABLE destination (
    id INTEGER PRIMARY KEY,
    -- recorded before it is written there, so that an init that was cut short can be repeated
    uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('cas', 'mirror', 'kopia', 'peer')),
    -- who was accepted by init or adopt, and who answered last; the gate wants both to be one
    incarnation TEXT,
    answered TEXT,
    generation INTEGER NOT NULL DEFAULT 0,
    registered_at INTEGER NOT NULL
) STRICT;
CREATE TABLE directory (
    id INTEGER PRIMARY KEY,
    volume INTEGER NOT NULL REFERENCES volume (id),
    path BLOB NOT NULL,
    UNIQUE (volume, path)
) STRICT;
CREATE TABLE epoch (
    id INTEGER PRIMARY KEY,
    uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    node INTEGER NOT NULL REFERENCES node (id),
    began_at INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;
CREATE TABLE evidence_log (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    run INTEGER REFERENCES run (id),
    event TEXT NOT NULL CHECK (event IN ('advance', 'rewind', 'reset', 'adopt', 'init', 'epoch', 'rollback', 'repair')),
    volume INTEGER REFERENCES volume (id),
    destination INTEGER REFERENCES destination (id),
    epoch INTEGER REFERENCES epoch (id),
    before INTEGER,
    after INTEGER,
    generation INTEGER,
    reason TEXT,
    detail TEXT
) STRICT;
CREATE TABLE exclusion (
    run INTEGER NOT NULL REFERENCES snapshot (run),
    file INTEGER NOT NULL REFERENCES file (id),
    reason TEXT NOT NULL,
    PRIMARY KEY (run, file)
) STRICT, WITHOUT ROWID;
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    volume INTEGER NOT NULL REFERENCES volume (id),
    directory INTEGER NOT NULL REFERENCES directory (id),
    name BLOB NOT NULL CHECK (length(name) > 0),
    content INTEGER NOT NULL REFERENCES content (id),
    -- of the content, kept here so that a walk needs no second lookup
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    mode INTEGER NOT NULL,
    -- as last seen, to tell an unchanged file; no part of what the row says
    ctime_ns INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    racy INTEGER NOT NULL CHECK (racy IN (0, 1)),
    status TEXT NOT NULL CHECK (status IN ('present', 'quarantined', 'missing', 'superseded', 'offloaded')),
    -- the run in which the path last became present with this content
    present_since INTEGER NOT NULL REFERENCES run (id),
    status_run INTEGER NOT NULL REFERENCES run (id),
    since_seq INTEGER NOT NULL,
    until_seq INTEGER CHECK ((until_seq IS NULL) = (status = 'present')),
    changed_seq INTEGER NOT NULL
) STRICT;
CREATE TABLE head (
    id INTEGER PRIMARY KEY,
    destination INTEGER NOT NULL REFERENCES destination (id),
    volume INTEGER NOT NULL REFERENCES volume (id),
    epoch INTEGER NOT NULL REFERENCES epoch (id),
    sequence INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES run (id),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    -- the sequence number and digest of the segment that it names
    segment_digest BLOB NOT NULL CHECK (length(segment_digest) = 32),
    -- the instant whose files all sealed segments together say
    seq INTEGER NOT NULL,
    sealed INTEGER NOT NULL CHECK (sealed IN (0, 1)),
    -- set by reset, adopt and rollback: segments begin anew after it
    forgotten INTEGER NOT NULL DEFAULT 0 CHECK (forgotten IN (0, 1)),
    UNIQUE (destination, volume, epoch, sequence)
) STRICT;
CREATE TABLE hook_run (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (id),
    volume INTEGER NOT NULL REFERENCES volume (id),
    status TEXT NOT NULL CHECK (status IN ('running', 'success', 'failed', 'timeout', 'skipped', 'aborted')),
    started_at INTEGER NOT NULL,
    ended_at INTEGER,
    detail TEXT,
    liveness TEXT NOT NULL
) STRICT;
CREATE TABLE horizon (
    volume INTEGER NOT NULL REFERENCES volume (id),
    epoch INTEGER NOT NULL REFERENCES epoch (id),
    component INTEGER NOT NULL,
    PRIMARY KEY (volume, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE intent (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (id),
    file INTEGER NOT NULL REFERENCES file (id),
    path BLOB NOT NULL,
    device INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    -- the receipts that were counted, for the audit trail
    receipts TEXT NOT NULL,
    -- moving: aside or about to be; held: aside for the policy's grace; deleting: confirmed, may be gone; the others are settled
    state TEXT NOT NULL CHECK (state IN ('moving', 'held', 'deleting', 'offloaded', 'put-back', 'kept', 'missing')),
    held_until INTEGER CHECK (state <> 'held' OR held_until IS NOT NULL),
    settled_by INTEGER REFERENCES run (id)
) STRICT;
CREATE TABLE node (
    id INTEGER PRIMARY KEY,
    uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    name TEXT NOT NULL,
    is_self INTEGER NOT NULL CHECK (is_self IN (0, 1))
) STRICT;
CREATE TABLE policy (
    id INTEGER PRIMARY KEY,
    volume INTEGER NOT NULL REFERENCES volume (id),
    terms TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,
    -- NULL where a run took a stricter one by itself
    reason TEXT
) STRICT;
CREATE TABLE receipt (
    destination INTEGER NOT NULL REFERENCES destination (id),
    content INTEGER NOT NULL REFERENCES content (id),
    -- where in the destination; empty is the content's own address
    location BLOB NOT NULL,
    level TEXT NOT NULL CHECK (level IN ('stored', 'verified')),
    method TEXT NOT NULL CHECK (method IN ('read-back', 'remote-hash', 'peer', 'fingerprint', 'presence')),
    incarnation TEXT NOT NULL,
    -- what the provider's checksum was, where the method needs it
    fingerprint TEXT,
    -- when the bytes, or a fingerprint bound to them, were last checked
    verified_at INTEGER CHECK (level = 'stored' OR verified_at IS NOT NULL),
    -- when it was last looked at by any means
    checked_at INTEGER NOT NULL,
    lost_at INTEGER,
    -- the node that proved it; NULL is this one
    source INTEGER REFERENCES node (id),
    run INTEGER NOT NULL REFERENCES run (id), moved_to BLOB,
    PRIMARY KEY (destination, content, location)
) STRICT, WITHOUT ROWID;
CREATE TABLE reliance (
    volume INTEGER NOT NULL REFERENCES volume (id),
    node INTEGER NOT NULL REFERENCES node (id),
    given_at INTEGER NOT NULL,
    PRIMARY KEY (volume, node)
) STRICT, WITHOUT ROWID;
CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL REFERENCES epoch (id),
    kind TEXT NOT NULL CHECK (kind IN
        ('index', 'audit', 'sync', 'receive', 'verify', 'restore', 'offload', 'evidence-change')),
    volume INTEGER REFERENCES volume (id),
    destination INTEGER REFERENCES destination (id),
    status TEXT NOT NULL CHECK (status IN ('running', 'success', 'partial', 'failed', 'refused', 'aborted')),
    started_at INTEGER NOT NULL,
    ended_at INTEGER CHECK ((ended_at IS NULL) = (status = 'running')),
    -- for people; decides nothing
    owner TEXT NOT NULL,
    -- name of the lock file that lives as long as the run; decides whether it still does
    liveness TEXT NOT NULL,
    error TEXT,
    summary TEXT,
    blocked_by INTEGER REFERENCES run (id),
    attempts INTEGER NOT NULL DEFAULT 1
) STRICT;
CREATE TABLE run_requires (
    run INTEGER NOT NULL REFERENCES run (id),
    destination INTEGER NOT NULL REFERENCES destination (id),
    PRIMARY KEY (run, destination)
) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot (
    run INTEGER PRIMARY KEY REFERENCES run (id),
    volume INTEGER NOT NULL REFERENCES volume (id),
    destination INTEGER NOT NULL REFERENCES destination (id),
    seq INTEGER NOT NULL
) STRICT;
CREATE TABLE snapshot_horizon (
    run INTEGER NOT NULL REFERENCES snapshot (run),
    epoch INTEGER NOT NULL REFERENCES epoch (id),
    component INTEGER NOT NULL,
    PRIMARY KEY (run, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL CHECK (seq >= 0),
    -- run ids go on above this: the newest one that any witness of an earlier life of this index had seen
    run_floor INTEGER NOT NULL CHECK (run_floor >= 0)
) STRICT;
CREATE TABLE vector (
    volume INTEGER NOT NULL REFERENCES volume (id),
    destination INTEGER NOT NULL REFERENCES destination (id),
    epoch INTEGER NOT NULL REFERENCES epoch (id),
    component INTEGER NOT NULL,
    advanced_by INTEGER NOT NULL REFERENCES run (id),
    PRIMARY KEY (volume, destination, epoch)
) STRICT, WITHOUT ROWID;
CREATE TABLE volume (
    id INTEGER PRIMARY KEY,
    uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),
    name TEXT NOT NULL UNIQUE,
    path BLOB NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;
CREATE TABLE withheld (
    head INTEGER NOT NULL REFERENCES head (id),
    file INTEGER NOT NULL REFERENCES file (id),
    PRIMARY KEY (head, file)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX alarm_standing
    ON alarm (kind, ifnull(destination, 0), ifnull(content, 0), ifnull(file, 0)) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX conflict_standing ON conflict (volume, path) WHERE resolved_by IS NULL;
CREATE INDEX file_changed ON file (volume, changed_seq);
CREATE INDEX file_gone ON file (volume, status) WHERE status IN ('quarantined', 'missing', 'offloaded');
CREATE UNIQUE INDEX file_path ON file (directory, name) WHERE status <> 'superseded';
CREATE INDEX file_snapshot ON file (volume, content, since_seq, until_seq, present_since);
CREATE INDEX file_superseded ON file (directory, name, content) WHERE status = 'superseded';
CREATE INDEX intent_open ON intent (state) WHERE state IN ('moving', 'held', 'deleting');
CREATE UNIQUE INDEX intent_path ON intent (run, path);
CREATE UNIQUE INDEX node_self ON node (is_self) WHERE is_self = 1;
CREATE INDEX receipt_place ON receipt (destination, location) WHERE length(location) > 0;
CREATE INDEX run_running ON run (status) WHERE status = 'running';
CREATE INDEX run_volume ON run (volume, kind);
