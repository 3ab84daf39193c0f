//! `explain`: every lock of the gate for some files, and what would open it.

use crate::app::App;
use crate::commands::each;
use crate::commands::offload::file_fields;
use crate::commands::query::never_indexed;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::{Fields, bold};
use crate::units::Size;
use crate::words::{self, files, files_that};
use lastcopy_fs::{FileKind, FileStat, RelPath};
use lastcopy_offload::{Counts, FileOutcome, FileReport, Known, Lock, Locks, decide, locks};
use lastcopy_store::{
    BeginError, Evidence, FileFacts, FileRecord, FileStatus, Policy, ReceiptFacts, ReceiptLevel, Selection, Store, Volume,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::Path;

pub(crate) fn run(app: &App, paths: &[OsString]) -> Result<Exit> {
    let mut below: BTreeMap<String, BTreeSet<RelPath>> = BTreeMap::new();
    for path in paths {
        let (volume, inside) = app.volume_of(Path::new(path))?;
        below.entry(volume).or_default().insert(inside);
    }
    each(app, below, |(name, below)| {
        let mut counts = Counts::default();
        explain(app, &name, below, &mut counts).inspect_err(|error| {
            app.output.summary("explain", None, error.status(), fields(&name, &counts));
        })
    })
}

fn explain(app: &App, name: &str, below: BTreeSet<RelPath>, counts: &mut Counts) -> Result<Exit> {
    let volume = app.volume(name)?;
    let Some(policy) = volume.configured_policy() else {
        return Err(BeginError::NoPolicy { volume: name.to_owned() }.into());
    };
    let mut explaining =
        Explaining { app, volume: &volume, policy, names: app.names_for(name)?, counts: Counts::default(), untold: below };
    let given = explaining.untold.len();
    let refused = explaining.present()?;
    explaining.absent()?;
    let untold = explaining.untold;
    *counts = explaining.counts;
    if untold.len() == given {
        return Err(unknown(&volume, &untold));
    }
    if !untold.is_empty() {
        app.show(&unknown(&volume, &untold));
        counts.errors += untold.len() as u64;
    }
    // What an offload of these files would answer.
    if let Some(error) = refused {
        return Err(error);
    }
    if counts.selected > 1 {
        let goes = files(counts.offloaded + counts.quarantined);
        app.output.line(&format!("{name}: {goes} may be offloaded, {} here", files_that(counts.blocked, "stays", "stay")));
    }
    if counts.drift > 0 {
        let differ = files_that(counts.drift, "is", "are");
        app.output.line(&format!("{name}: {differ} not what the index says; `lastcopy index {name}` records what is there"));
    }
    let bad = counts.blocked + counts.drift + counts.errors > 0;
    app.output.summary("explain", None, if bad { "partial" } else { "success" }, fields(name, counts));
    Ok(if bad { Exit::Attention } else { Exit::Done })
}

/// As `offload --dry-run` counts them.
fn fields(volume: &str, counts: &Counts) -> Fields {
    crate::commands::offload::counted(Fields::new().with("volume", volume), counts)
}

/// Paths of which nothing is known.
fn unknown(volume: &Volume, paths: &BTreeSet<RelPath>) -> CliError {
    let never = paths.iter().find_map(|path| never_indexed(&volume.path().join(path.as_path())));
    let paths: Vec<_> = paths.iter().map(|path| format!("`{path}`")).collect();
    CliError::new(Code::NotFound, format!("the index knows nothing at {} in volume `{}`", paths.join(", "), volume.name()))
        .hint(never.unwrap_or_else(|| format!("`lastcopy index {}` records new files", volume.name())))
}

/// The files of one volume, told of one after the other.
struct Explaining<'a> {
    app: &'a App,
    volume: &'a Volume,
    policy: &'a Policy,
    names: words::Names,
    counts: Counts,
    /// The given paths at and below which nothing was found yet.
    untold: BTreeSet<RelPath>,
}

impl Explaining<'_> {
    /// Every lock of the files that are here. Returns the refusal where some of them would go, and their policy is weaker than the accepted
    /// one.
    fn present(&mut self) -> Result<Option<CliError>> {
        let store = self.app.store()?;
        let selection = Selection { below: self.untold.iter().cloned().collect(), ..Selection::default() };
        let selected = store.select_present(self.volume.id(), &selection)?;
        if selected.is_empty() {
            return Ok(None);
        }
        let weaker = self.app.weakenings(self.volume.id(), self.policy)?;
        let weaker = (!weaker.is_empty()).then(|| CliError::policy_weaker(self.volume.name(), &weaker, &self.names));
        let mut would_go = false;
        let needed = self.app.needed()?;
        let mut names_gone = HashMap::new();
        for page in selected.chunks(1000) {
            for (facts, evidence) in store.evidence(self.volume.id(), page, &self.policy.counted())? {
                let found = self.volume.root().stat(&facts.file.path);
                let differs = differs(&facts.file, &found);
                let stat = found.ok().flatten();
                let needed = stat.is_some_and(|stat| needed.contains(&(stat.device, stat.inode)));
                let known = Known { now: store.now(), needed, confirmations: &[] };
                let decision = decide(&facts, &evidence, self.policy, &known);
                let (outcome, detail) = match (decision.passes(), differs, &weaker) {
                    (true, Some((outcome, detail)), _) => (outcome, Some(detail)),
                    (true, None, Some(weaker)) => (FileOutcome::Blocked, Some(weaker.message.clone())),
                    (true, None, None) => (FileOutcome::WouldOffload, None),
                    (false, differs, _) => (FileOutcome::Blocked, differs.map(|(_, detail)| detail)),
                };
                would_go |= decision.passes();
                let frees = if outcome == FileOutcome::WouldOffload { would_free(&mut names_gone, stat) } else { 0 };
                self.count(outcome, frees);
                let report = FileReport { outcome, detail, refusals: decision.refusals, ..report(&facts.file) };
                self.tell(store, &report, &facts, &evidence);
                self.found(&facts.file.path);
            }
        }
        Ok(weaker.filter(|_| would_go))
    }

    /// Under a grace, what is moved aside frees nothing yet.
    fn count(&mut self, outcome: FileOutcome, frees: u64) {
        let waits = outcome == FileOutcome::WouldOffload && self.policy.grace_ms > 0;
        *match outcome {
            FileOutcome::WouldOffload if waits => &mut self.counts.quarantined,
            FileOutcome::WouldOffload => &mut self.counts.offloaded,
            FileOutcome::Drift => &mut self.counts.drift,
            FileOutcome::Error => &mut self.counts.errors,
            _ => &mut self.counts.blocked,
        } += 1;
        self.counts.selected += 1;
        self.counts.bytes_freed += if waits { 0 } else { frees };
    }

    fn tell(&self, store: &Store, report: &FileReport, facts: &FileFacts, evidence: &[Evidence]) {
        let fields = file_fields(self.volume.name(), report, &self.names);
        self.app.output.json("file", &fields.with("locks", locks_json(facts, evidence, self.policy, store, &self.names)));
        if !self.app.output.is_json() {
            tell(self.app, self.volume.name(), report, facts, evidence, self.policy, &self.names);
        }
    }

    /// Files that are not here have no gate; says what they are instead, where nothing that is here was named.
    fn absent(&mut self) -> Result<()> {
        if self.untold.is_empty() {
            return Ok(());
        }
        let store = self.app.store()?;
        let below: Vec<_> = self.untold.iter().cloned().collect();
        let absent = [FileStatus::Offloaded, FileStatus::Quarantined, FileStatus::Missing];
        for id in store.select_files(self.volume.id(), &below, &absent)? {
            let file = store.file(id)?;
            let since = format!("is {} since run {}", file.status, file.status_run);
            self.app.output.line(&format!("{}/{}: {since}", self.volume.name(), file.path));
            let outcome = match file.status {
                FileStatus::Offloaded => FileOutcome::Offloaded,
                FileStatus::Quarantined => FileOutcome::Quarantined,
                _ => FileOutcome::Drift,
            };
            let report = FileReport { outcome, detail: Some(since), ..report(&file) };
            let fields = file_fields(self.volume.name(), &report, &self.names);
            self.app.output.json("file", &fields.with("status", file.status.name()));
            self.found(&file.path);
        }
        Ok(())
    }

    /// Something was told of a file, and so of each path at or above it.
    fn found(&mut self, path: &RelPath) {
        let mut at = Some(path.clone());
        while let Some(path) = at.filter(|_| !self.untold.is_empty()) {
            self.untold.remove(&path);
            at = path.split().map(|(parent, _)| parent);
        }
    }
}

fn report(file: &FileRecord) -> FileReport {
    FileReport {
        path: file.path.clone(),
        content: file.content,
        outcome: FileOutcome::Blocked,
        refusals: Vec::new(),
        detail: None,
        freed: 0,
    }
}

/// In what a file on the disk is not what the index says, as far as a look can tell: an offload reads it.
fn differs(file: &FileRecord, found: &io::Result<Option<FileStat>>) -> Option<(FileOutcome, String)> {
    let drift = |text: &str| Some((FileOutcome::Drift, text.to_owned()));
    match found {
        Ok(None) => drift("is gone since it was indexed"),
        Ok(Some(stat)) if stat.kind != FileKind::Regular => drift(&format!("is a {} now", stat.kind.name())),
        Ok(Some(stat)) if (stat.size, stat.mtime_ns) != (file.content.size, file.seen.mtime_ns) => {
            drift("was changed since it was indexed")
        }
        Ok(Some(stat)) if stat.mode != file.seen.mode => drift("has other permissions than when it was indexed"),
        Ok(Some(_)) => None,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => drift("is gone since it was indexed"),
        Err(error) => Some((FileOutcome::Error, format!("cannot be looked at: {error}"))),
    }
}

/// What deleting a file frees, when it is the last name of its bytes that goes.
fn would_free(names_gone: &mut HashMap<(u64, u64), u32>, stat: Option<FileStat>) -> u64 {
    let Some(stat) = stat else { return 0 };
    let gone = names_gone.entry((stat.device, stat.inode)).or_default();
    *gone += 1;
    if *gone >= stat.links { stat.size } else { 0 }
}

fn locks_json(facts: &FileFacts, evidence: &[Evidence], policy: &Policy, store: &Store, names: &words::Names) -> serde_json::Value {
    let each = evidence.iter().map(|evidence| {
        let state = locks(facts, evidence, policy, store.now());
        let open = Lock::ALL.into_iter().map(|lock| (lock.name().to_owned(), (!state.is_closed(lock)).into()));
        let mut line: serde_json::Map<String, serde_json::Value> = open.collect();
        line.insert("destination".into(), names.get(evidence.destination).into());
        serde_json::Value::Object(line)
    });
    each.collect()
}

fn tell(
    app: &App,
    volume: &str,
    report: &FileReport,
    facts: &FileFacts,
    evidence: &[Evidence],
    policy: &Policy,
    names: &words::Names,
) {
    let out = &app.output;
    let verdict = if report.outcome == FileOutcome::WouldOffload { "may be offloaded" } else { "stays here" };
    out.line(&bold(&format!("{volume}/{}: {verdict} ({})", report.path, Size(report.content.size))));
    if let Some(detail) = &report.detail {
        out.line(&format!("  {detail}"));
    }
    let now = app.store().map_or(lastcopy_store::Timestamp(0), Store::now);
    for evidence in evidence {
        let name = names.get(evidence.destination).unwrap_or("?");
        let state: Locks = locks(facts, evidence, policy, now);
        let marks: Vec<_> = Lock::ALL
            .into_iter()
            .map(|lock| format!("{} {}", if state.is_closed(lock) { "✗" } else { open_mark(lock, evidence) }, lock.name()))
            .collect();
        let role = if policy.require.contains(&evidence.destination) { "required" } else { "counted" };
        let checked = proof(evidence).and_then(|receipt| receipt.verified_at.map(|at| (receipt.method, at)));
        let proof = checked.map_or_else(String::new, |(method, at)| format!("; {method}, checked {}", words::local_time(at)));
        out.line(&format!("  {name} ({role}): {}{proof}", marks.join("  ")));
    }
    for refusal in &report.refusals {
        out.line(&format!("  {}: {}", refusal.cause.name(), words::detail(refusal, &report.path, names)));
        out.line(&format!("      to clear it: {}", words::fix(refusal, &report.path, names, volume)));
    }
}

/// What was proven there, and still counts as proven.
fn proof(evidence: &Evidence) -> Option<ReceiptFacts> {
    evidence.receipt.filter(|receipt| receipt.level == ReceiptLevel::Verified)
}

/// A lock that has nothing to judge is not closed, and claims nothing: the one before it is.
fn open_mark(lock: Lock, evidence: &Evidence) -> &'static str {
    let judges = match lock {
        Lock::Freshness => evidence.component.is_some(),
        Lock::Method => evidence.receipt.is_some(),
        Lock::Age => proof(evidence).is_some(),
        Lock::Incarnation | Lock::Alarm | Lock::Coverage | Lock::Receipt => true,
    };
    if judges { "✓" } else { "·" }
}
