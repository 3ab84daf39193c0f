//! `explain`: every lock of the gate for some files, and what would open it.

use crate::app::App;
use crate::commands::offload::file_fields;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::bold;
use crate::units::Size;
use crate::words;
use lastcopy_offload::{FileOutcome, FileReport, Known, Lock, Locks, decide, locks};
use lastcopy_store::{Evidence, FileFacts, Policy, Selection, Store, Volume};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) fn run(app: &App, paths: &[PathBuf]) -> Result<Exit> {
    let mut below: BTreeMap<String, Vec<lastcopy_fs::RelPath>> = BTreeMap::new();
    for path in paths {
        let (volume, inside) = app.volume_of(path)?;
        below.entry(volume).or_default().push(inside);
    }
    let mut blocked = 0u64;
    for (name, below) in below {
        blocked += explain(app, &name, below)?;
    }
    Ok(if blocked > 0 { Exit::Attention } else { Exit::Done })
}

fn explain(app: &App, name: &str, below: Vec<lastcopy_fs::RelPath>) -> Result<u64> {
    let volume = app.volume(name)?;
    let Some(policy) = volume.configured_policy() else {
        return Err(lastcopy_store::BeginError::NoPolicy { volume: name.to_owned() }.into());
    };
    let store = app.store()?;
    let selected = store.select_present(volume.id(), &Selection { below: below.clone(), ..Selection::default() })?;
    if selected.is_empty() {
        tell_absent(app, store, &volume, &below)?;
        return Ok(0);
    }
    let weaker = app.weakenings(volume.id(), policy)?;
    if !weaker.is_empty() {
        let error = CliError::policy_weaker(name, &weaker);
        app.output.warn(&format!("{}; {}", error.message, error.hint.unwrap_or_default()));
    }
    let names = app.names()?;
    let needed = app.needed()?;
    let mut blocked = u64::from(!weaker.is_empty());
    for page in selected.chunks(1000) {
        for (facts, evidence) in store.evidence(volume.id(), page, &policy.counted())? {
            let stat = volume.root().stat(&facts.file.path).ok().flatten();
            let needed = stat.is_some_and(|stat| needed.contains(&(stat.device, stat.inode)));
            let known = Known { now: store.now(), needed, confirmations: &[] };
            let decision = decide(&facts, &evidence, policy, &known);
            blocked += u64::from(!decision.passes());
            let outcome = if decision.passes() { FileOutcome::WouldOffload } else { FileOutcome::Blocked };
            let report = FileReport {
                path: facts.file.path.clone(),
                content: facts.file.content,
                outcome,
                refusals: decision.refusals,
                detail: None,
            };
            let fields = file_fields(name, &report, &names);
            app.output.json("file", &fields.with("locks", locks_json(&facts, &evidence, policy, store, &names)));
            if !app.output.is_json() {
                tell(app, name, &report, &facts, &evidence, policy, &names);
            }
        }
    }
    Ok(blocked)
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
    let verdict = if report.refusals.is_empty() { "may be offloaded" } else { "stays here" };
    out.line(&bold(&format!("{volume}/{}: {verdict} ({})", report.path, Size(report.content.size))));
    let now = app.store().map_or(lastcopy_store::Timestamp(0), Store::now);
    for evidence in evidence {
        let name = names.get(evidence.destination).unwrap_or("?");
        let state: Locks = locks(facts, evidence, policy, now);
        let marks: Vec<_> = Lock::ALL
            .into_iter()
            .map(|lock| format!("{} {}", if state.is_closed(lock) { "✗" } else { "✓" }, lock.name()))
            .collect();
        let role = if policy.require.contains(&evidence.destination) { "required" } else { "counted" };
        let checked = evidence.receipt.and_then(|receipt| receipt.verified_at.map(|at| (receipt.method, at)));
        let proof = checked.map_or_else(String::new, |(method, at)| format!("; {method}, checked {}", words::local_time(at)));
        out.line(&format!("  {name} ({role}): {}{proof}", marks.join("  ")));
    }
    for refusal in &report.refusals {
        out.line(&format!("  {}: {}", refusal.cause.name(), words::detail(refusal, names)));
        out.line(&format!("      to clear it: {}", words::fix(refusal, names, volume)));
    }
}

/// Files that are not here have no gate; say what they are instead.
fn tell_absent(app: &App, store: &Store, volume: &Volume, below: &[lastcopy_fs::RelPath]) -> Result<()> {
    let mut found = false;
    for path in below {
        if let Some(file) = store.file_at(volume.id(), path)? {
            found = true;
            app.output.line(&format!("{}/{path}: is {} since run {}", volume.name(), file.status, file.status_run));
            let fields = crate::output::Fields::new().with("volume", volume.name()).path(path).with("status", file.status.name());
            app.output.json("file", &fields.with("content", file.content.hash.to_string()).with("size", file.content.size));
        }
    }
    if found {
        return Ok(());
    }
    Err(CliError::new(Code::NotFound, format!("the index knows no present file there in volume `{}`", volume.name()))
        .hint(format!("`lastcopy index {}` records new files", volume.name())))
}
