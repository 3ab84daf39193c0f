//! Surveys: the counts behind "am I safe?", and what is known of contents across volumes.

use crate::db::Cached;
use crate::error::Result;
use crate::files::{self, FileRecord, FileStatus};
use crate::ids::{DestinationId, RunId, Timestamp, VolumeId};
use crate::policy::Method;
use crate::store::{Store, current_epoch};
use crate::vectors;
use lastcopy_fs::{Content, ContentHash};
use rusqlite::named_params;

/// How a volume stands at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairSurvey {
    /// Present files.
    pub total: u64,
    /// Present files that a live verified receipt and the vector cover.
    pub covered: u64,
    /// Those of them whose bytes were last checked before the given time.
    pub stale: u64,
    /// How the covered ones were verified; several where it differs.
    pub methods: Vec<Method>,
    /// When the bytes of the longest unchecked covered file were last checked.
    pub verified_since: Option<Timestamp>,
    /// This node's component of the vector.
    pub component: Option<RunId>,
}

/// How a volume stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VolumeSurvey {
    /// Files and bytes by status.
    pub by_status: Vec<(FileStatus, u64, u64)>,
    /// Offloaded files that no live receipt covers.
    pub uncovered_offloaded: u64,
    /// Offloaded files that only unproven receipts cover.
    pub unproven_offloaded: u64,
    /// Standing alarms on files of this volume.
    pub file_alarms: u64,
    /// The last index run that looked at the whole tree, and when it ended.
    pub last_index: Option<(RunId, Timestamp)>,
}

/// A content that several present files hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The content.
    pub content: Content,
    /// How many files hold it.
    pub files: u64,
}

/// Under which conditions a receipt `r` at destination `d` is live.
const LIVE: &str = "r.lost_at IS NULL AND r.incarnation IS d.incarnation AND r.incarnation IS d.answered";

impl Store {
    /// Surveys a pair. What was last checked before `stale_before` counts as stale.
    pub fn survey_pair(&self, volume: VolumeId, destination: DestinationId, stale_before: Timestamp) -> Result<PairSurvey> {
        self.read(|tx| {
            let (epoch, _) = current_epoch(tx)?;
            let component = vectors::component(tx, volume, destination, epoch)?;
            let total = "SELECT count(*) FROM file WHERE volume = ? AND until_seq IS NULL";
            let mut survey =
                PairSurvey { total: tx.row(total, [volume], |row| row.get(0))?, component, ..PairSurvey::default() };
            // Files in the order of contents, as the receipts are; never the other way round.
            let sql = format!(
                "SELECT r.method, count(*), count(*) FILTER (WHERE r.verified_at < :stale OR r.verified_at > :now), min(r.verified_at)
                 FROM destination d CROSS JOIN file f INDEXED BY file_snapshot CROSS JOIN receipt r
                 WHERE d.id = :destination AND f.volume = :volume AND f.until_seq IS NULL AND f.present_since <= :component
                   AND r.destination = :destination AND r.content = f.content AND r.level = 'verified' AND {LIVE}
                   AND NOT EXISTS (SELECT 1 FROM receipt o WHERE o.destination = r.destination AND o.content = r.content
                        AND o.location <> r.location AND o.level = 'verified' AND o.lost_at IS NULL AND o.incarnation = r.incarnation
                        AND (o.verified_at, o.location) > (r.verified_at, r.location))
                 GROUP BY r.method ORDER BY r.method"
            );
            let mut statement = tx.prepare_cached(&sql)?;
            let mut rows = statement.query(named_params! {
                ":volume": volume, ":destination": destination, ":stale": stale_before, ":now": self.now(),
                ":component": component.unwrap_or(RunId(0)),
            })?;
            while let Some(row) = rows.next()? {
                survey.methods.push(row.get(0)?);
                survey.covered += row.get::<_, u64>(1)?;
                survey.stale += row.get::<_, u64>(2)?;
                let since: Timestamp = row.get(3)?;
                survey.verified_since = Some(survey.verified_since.map_or(since, |other| other.min(since)));
            }
            Ok(survey)
        })
    }

    /// Surveys a volume.
    pub fn survey_volume(&self, volume: VolumeId) -> Result<VolumeSurvey> {
        self.read(|tx| {
            let mut statement =
                tx.prepare_cached("SELECT status, count(*), sum(size) FROM file WHERE volume = ? GROUP BY status ORDER BY status")?;
            let by_status = statement.query_map([volume], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            let by_status = by_status.collect::<rusqlite::Result<_>>()?;
            // From the few destinations to the receipt, by its key; planned the other way round, every receipt is read for every file.
            let without = |level: &str| {
                format!(
                    "SELECT count(*) FROM file f WHERE f.volume = ? AND f.status = 'offloaded' AND NOT EXISTS
                     (SELECT 1 FROM destination d CROSS JOIN receipt r ON r.destination = d.id
                      WHERE r.content = f.content AND {LIVE} {level})"
                )
            };
            let uncovered: u64 = tx.row(&without(""), [volume], |row| row.get(0))?;
            let unverified: u64 = tx.row(&without("AND r.level = 'verified'"), [volume], |row| row.get(0))?;
            let alarms = "SELECT count(*) FROM alarm JOIN file ON file.id = alarm.file
                WHERE alarm.ended_at IS NULL AND file.volume = ?";
            // Adding and moving a volume are index runs that looked at nothing: they have no counts to tell.
            let last = "SELECT id, ended_at FROM run WHERE volume = ? AND kind = 'index' AND status IN ('success', 'partial')
                AND summary IS NOT NULL ORDER BY id DESC LIMIT 1";
            let mut last = tx.prepare_cached(last)?;
            let mut last = last.query([volume])?;
            Ok(VolumeSurvey {
                by_status,
                uncovered_offloaded: uncovered,
                unproven_offloaded: unverified - uncovered,
                file_alarms: tx.row(alarms, [volume], |row| row.get(0))?,
                last_index: last.next()?.map(|row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?))).transpose()?,
            })
        })
    }

    /// How many offloaded files of a volume have a live proof somewhere, and none at these destinations that was checked since
    /// `stale_before`: nobody looked at the copy that counts, or nobody asks any more where it lies.
    pub fn stale_offloaded(&self, volume: VolumeId, asked: &[DestinationId], stale_before: Timestamp) -> Result<u64> {
        let asked: Vec<_> = asked.iter().map(ToString::to_string).collect();
        let held = |where_and_when: &str| {
            format!(
                "EXISTS (SELECT 1 FROM destination d CROSS JOIN receipt r ON r.destination = d.id
                 WHERE r.content = f.content AND {LIVE} AND r.level = 'verified' {where_and_when})"
            )
        };
        let checked = held(&format!("AND d.id IN ({}) AND r.verified_at BETWEEN ?2 AND ?3", asked.join(",")));
        let stale = format!(
            "SELECT count(*) FROM file f WHERE f.volume = ?1 AND f.status = 'offloaded' AND {} AND NOT {checked}",
            held("")
        );
        self.read(|tx| Ok(tx.row(&stale, (volume, stale_before, self.now()), |row| row.get(0))?))
    }

    /// How many offloaded files, of all volumes, have no live receipt but those at this destination; and how many have any there.
    /// What a reset or an adopt leaves without proof.
    pub fn offloaded_depending_on(&self, destination: DestinationId) -> Result<(u64, u64)> {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE NOT EXISTS (SELECT 1 FROM destination d CROSS JOIN receipt r ON r.destination = d.id
                        WHERE d.id <> ?1 AND r.content = f.content AND {LIVE} AND r.level = 'verified')),
                    count(*)
             FROM file f WHERE f.status = 'offloaded' AND EXISTS
                (SELECT 1 FROM receipt r WHERE r.destination = ?1 AND r.content = f.content AND r.lost_at IS NULL)"
        );
        self.read(|tx| Ok(tx.row(&sql, [destination], |row| Ok((row.get(0)?, row.get(1)?)))?))
    }

    /// Contents that more than one present file holds, the largest waste first.
    pub fn duplicates(&self) -> Result<Vec<Duplicate>> {
        self.read(|tx| {
            let mut statement = tx.prepare_cached(
                "SELECT c.blake3, c.size, count(*) AS files FROM file f JOIN content c ON c.id = f.content
                 WHERE f.until_seq IS NULL GROUP BY f.content HAVING count(*) > 1 ORDER BY c.size * (count(*) - 1) DESC, c.blake3",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(Duplicate { content: Content { hash: ContentHash(row.get(0)?), size: row.get(1)? }, files: row.get(2)? })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// The newest rows of all volumes with a status, by volume and path.
    pub fn files_with_status(&self, status: FileStatus) -> Result<Vec<FileRecord>> {
        let sql = format!("{} WHERE f.status = ? ORDER BY f.volume, d.path, f.name", files::RECORD);
        self.read(|tx| files::collect(tx, &sql, [status]))
    }
}
