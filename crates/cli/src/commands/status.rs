//! `status`: am I safe, and what can I free?

use crate::app::App;
use crate::commands::paths::Paths;
use crate::error::{Exit, Result};
use crate::output::{Fields, coloured};
use crate::units::Size;
use crate::words::{self, files, grouped, plural};
use anstyle::AnsiColor;
use lastcopy_offload::{Known, decide};
use lastcopy_store::{Alarm, FileStatus, Method, Policy, Store, Timestamp, VolumeRecord};

/// How a volume, or a volume at a destination, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Green,
    Amber,
    Red,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Amber => "amber",
            Self::Red => "red",
        }
    }

    fn shown(self) -> String {
        let colour = match self {
            Self::Green => AnsiColor::Green,
            Self::Amber => AnsiColor::Yellow,
            Self::Red => AnsiColor::Red,
        };
        coloured(self.name(), colour)
    }
}

pub(crate) fn run(app: &App, volume: Option<&str>) -> Result<Exit> {
    let config = app.config()?;
    if let Some(name) = volume {
        app.volume_config(name)?;
    }
    // A question makes no index.
    let has_index = app.has_index()?;
    let (alarms, recorded) = match has_index {
        true => (app.store()?.alarms(true)?, app.store()?.volumes()?),
        false => (Vec::new(), Vec::new()),
    };
    let mut elsewhere = None;
    let mut worst = Level::Green;
    for name in config.volumes.keys().filter(|name| volume.is_none_or(|only| only == *name)) {
        let level = match recorded.iter().find(|record| record.name == *name) {
            Some(record) => survey(app, record, &alarms)?,
            None if app.is_from_elsewhere(&config.volumes[name].path)? => {
                elsewhere.get_or_insert(name);
                from_elsewhere(app, name)
            }
            None => not_added(app, name),
        };
        worst = worst.max(level);
    }
    if config.volumes.is_empty() {
        app.output.line("nothing is under care yet: lastcopy volume add NAME PATH");
    }
    if volume.is_none() {
        for record in recorded.iter().filter(|record| !config.volumes.contains_key(&record.name)) {
            worst = worst.max(not_configured(app, record)?);
        }
    }
    if let Some(name) = elsewhere {
        let error = app.known_elsewhere(name, &config.volumes[name].path);
        app.output.warn(&format!("{}; {}", error.message, error.hint.unwrap_or_default()));
    }
    if !alarms.is_empty() {
        // Also one on a destination that no volume is pushed to any more: perhaps it holds what was offloaded.
        worst = Level::Red;
    }
    for alarm in &alarms {
        let what = alarm.destination.as_deref().or(alarm.file.as_ref().map(|(volume, _)| volume.as_str())).unwrap_or("?");
        let content = alarm.content.filter(|_| alarm.destination.is_some() && !app.output.is_json());
        let named = content.map_or(Ok(None), |content| Paths::new(app)?.of(content))?;
        let named = named.map_or_else(String::new, |named| format!("{named}: "));
        app.output.line(&format!("alarm {}: {what}: {}: {named}{}", alarm.id, alarm.kind, alarm.detail));
    }
    let fields = Fields::new().with("level", worst.name()).with("alarms", alarms.len());
    app.output.summary("status", None, if worst == Level::Green { "success" } else { "partial" }, fields);
    Ok(if worst == Level::Green { Exit::Done } else { Exit::Attention })
}

fn not_added(app: &App, name: &str) -> Level {
    let next = format!("lastcopy volume add {name} PATH");
    app.output.line(&format!("{}  {name}: not added yet; next: {next}", Level::Amber.shown()));
    app.output.json("status", &status_fields(name, None, Level::Amber).with("next", next));
    Level::Amber
}

/// Added here, too, what was offloaded from the tree would be unknown.
fn from_elsewhere(app: &App, name: &str) -> Level {
    let next = "lastcopy recover --from URL";
    app.output.line(&format!("{}  {name}: was added to an index that is not here; next: {next}", Level::Red.shown()));
    app.output.json("status", &status_fields(name, None, Level::Red).with("next", next));
    Level::Red
}

/// A volume of the index that the configuration does not name: nobody pushes or verifies it, and its offloaded files are still owed.
fn not_configured(app: &App, record: &VolumeRecord) -> Result<Level> {
    let survey = app.store()?.survey_volume(record.id)?;
    let count = |status| survey.by_status.iter().find(|(found, ..)| *found == status).map_or(0, |(_, files, _)| *files);
    let (offloaded, quarantined) = (count(FileStatus::Offloaded), count(FileStatus::Quarantined));
    let level = if survey.uncovered_offloaded > 0 || survey.file_alarms > 0 {
        Level::Red
    } else if survey.unproven_offloaded > 0 || quarantined > 0 {
        Level::Amber
    } else {
        Level::Green
    };
    let next = (level != Level::Green).then(|| format!("lastcopy volume add {} {}", record.name, record.path.display()));
    app.output.line(&format!(
        "{}  {}: not in the configuration: {} here, {} offloaded{}{}",
        level.shown(),
        record.name,
        files(count(FileStatus::Present)),
        grouped(offloaded),
        some(survey.uncovered_offloaded, "of them at no destination that is known to hold them"),
        some(quarantined, "in quarantine"),
    ));
    if let Some(next) = &next {
        app.output.line(&format!("    next: {next}"));
    }
    let fields = status_fields(&record.name, None, level)
        .with("configured", false)
        .with("covered", 0)
        .with("total", count(FileStatus::Present))
        .with("offloaded", offloaded)
        .with("offloaded_uncovered", survey.uncovered_offloaded)
        .with("offloaded_unproven", survey.unproven_offloaded)
        .with("quarantined", quarantined)
        .with("method", serde_json::Value::Null)
        .with("last_push", serde_json::Value::Null)
        .with("last_verified", serde_json::Value::Null)
        .with("offloadable_files", 0)
        .with("offloadable_bytes", 0)
        .with("next", next);
    app.output.json("status", &fields);
    Ok(level)
}

/// Offloaded files of which nobody checked a copy within the age that the policy allows, at any destination of the configuration.
fn stale_offloaded(app: &App, record: &VolumeRecord, policy: Option<&Policy>) -> Result<u64> {
    let store = app.store()?;
    let configured = &app.config()?.destinations;
    let known = store.destinations()?.into_iter();
    let asked: Vec<_> = known.filter(|known| configured.contains_key(&known.name)).map(|known| known.id).collect();
    Ok(store.stale_offloaded(record.id, &asked, stale_before(store, policy))?)
}

/// What was last checked before this is too old for the policy.
fn stale_before(store: &Store, policy: Option<&Policy>) -> Timestamp {
    let max_age = policy.map_or(30 * 86_400_000, |policy| policy.max_evidence_age_ms);
    Timestamp(store.now().0.saturating_sub(max_age))
}

fn status_fields(volume: &str, destination: Option<&str>, level: Level) -> Fields {
    Fields::new().with("volume", volume).with("destination", destination).with("level", level.name())
}

/// What one destination says, for the volume's line.
struct Pair {
    name: String,
    level: Level,
    line: String,
    fields: Fields,
    next: Option<String>,
    covered: u64,
    /// The weakest by which anything there was proven.
    method: Option<Method>,
    last_push: Option<Timestamp>,
    last_verified: Option<Timestamp>,
}

fn survey(app: &App, record: &VolumeRecord, alarms: &[Alarm]) -> Result<Level> {
    let store = app.store()?;
    let config = app.volume_config(&record.name)?;
    let policy = config.offload.as_ref().map(|policy| app.policy(policy)).transpose()?;
    let weaker = policy.as_ref().map_or_else(|| Ok(Vec::new()), |policy| app.weakenings(record.id, policy))?;
    let (offloadable_files, offloadable_bytes) = match &policy {
        Some(policy) if weaker.is_empty() => offloadable(store, record, policy)?,
        // Under a policy that is weaker than the accepted one, nothing goes.
        _ => (0, 0),
    };
    let survey = store.survey_volume(record.id)?;
    let count =
        |status| survey.by_status.iter().find(|(found, ..)| *found == status).map_or((0, 0), |(_, files, bytes)| (*files, *bytes));
    let (total, bytes) = count(FileStatus::Present);
    let (offloaded, offloaded_bytes) = count(FileStatus::Offloaded);
    let (missing, _) = count(FileStatus::Missing);
    let (quarantined, _) = count(FileStatus::Quarantined);
    let pairs = config
        .sync_to
        .iter()
        .map(|name| pair(app, record, name, policy.as_ref(), alarms, (offloadable_files, offloadable_bytes)))
        .collect::<Result<Vec<_>>>()?;
    let mut level = pairs.iter().map(|pair| pair.level).max().unwrap_or(Level::Amber);
    let mut next = pairs.iter().find(|pair| pair.level == level).and_then(|pair| pair.next.clone());
    if survey.last_index.is_none() {
        level = level.max(Level::Amber);
        next = Some(format!("lastcopy index {}", record.name));
    }
    if config.sync_to.is_empty() {
        next = Some(format!("say in sync_to of [volumes.{}] where it is kept", record.name));
    }
    if !weaker.is_empty() {
        level = level.max(Level::Amber);
        next = Some(format!("lastcopy policy accept {} --reason TEXT", record.name));
    }
    let satisfiable = policy.as_ref().map_or(Ok(()), |policy| app.satisfiable(&record.name, policy));
    if let Err(error) = &satisfiable {
        level = level.max(Level::Amber);
        next = Some("lastcopy config check".into());
        app.output.line(&error.message);
    }
    let stale = stale_offloaded(app, record, policy.as_ref())?;
    if survey.unproven_offloaded > 0 || stale > 0 {
        level = level.max(Level::Amber);
        next = Some("lastcopy verify".into());
    }
    if survey.uncovered_offloaded > 0 {
        level = Level::Red;
        next = Some("lastcopy destination repair DEST, or bring the destination back that holds them".into());
    }
    if survey.file_alarms > 0 {
        level = Level::Red;
        next = Some("lastcopy alarms".into());
    }
    if let Err(error) = app.volume(&record.name) {
        level = level.max(Level::Amber);
        app.output.line(&format!("{}: {}", record.name, error.message));
    }
    if next.is_none() && offloadable_bytes > 0 {
        next = Some(format!("lastcopy offload {} . frees {}", record.name, Size(offloadable_bytes)));
    }
    let covered = pairs.iter().map(|pair| pair.covered).min().unwrap_or(0);
    // A volume is as well kept as where it is kept worst: a destination of which nothing is known leaves nothing to tell.
    let method = pairs.iter().map(|pair| pair.method).collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max());
    let oldest = |of: fn(&Pair) -> Option<Timestamp>| pairs.iter().map(of).min().flatten().map(words::rfc3339);
    app.output.line(&format!(
        "{}  {}: {} here ({}), {} offloaded ({}){}{}",
        level.shown(),
        record.name,
        files(total),
        Size(bytes),
        grouped(offloaded),
        Size(offloaded_bytes),
        some(missing, "missing"),
        some(quarantined, "in quarantine"),
    ));
    for pair in &pairs {
        app.output.line(&format!("    {}  {}: {}", pair.level.shown(), pair.name, pair.line));
    }
    if survey.uncovered_offloaded > 0 {
        app.output.line(&format!(
            "    {} that no destination is known to hold any more",
            plural(survey.uncovered_offloaded, "offloaded file", "offloaded files")
        ));
    }
    if stale > 0 {
        app.output.line(&format!(
            "    {} of which no destination of the configuration showed a copy lately",
            plural(stale, "offloaded file", "offloaded files")
        ));
    }
    if policy.is_some() {
        app.output.line(&format!("    can be freed now: {} ({})", files(offloadable_files), Size(offloadable_bytes)));
    } else {
        app.output.line("    nothing can be freed: there is no offload policy");
    }
    if let Some(next) = &next {
        app.output.line(&format!("    next: {next}"));
    }
    let fields = status_fields(&record.name, None, level)
        .with("covered", covered)
        .with("total", total)
        .with("bytes", bytes)
        .with("offloaded", offloaded)
        .with("offloaded_bytes", offloaded_bytes)
        .with("offloaded_uncovered", survey.uncovered_offloaded)
        .with("offloaded_unproven", survey.unproven_offloaded)
        .with("offloaded_stale", stale)
        .with("missing", missing)
        .with("quarantined", quarantined)
        .with("method", method.map(Method::name))
        .with("last_index", survey.last_index.map(|(_, at)| words::rfc3339(at)))
        .with("last_push", oldest(|pair| pair.last_push))
        .with("last_verified", oldest(|pair| pair.last_verified))
        .with("offloadable_files", offloadable_files)
        .with("offloadable_bytes", offloadable_bytes)
        .with("next", next);
    app.output.json("status", &fields);
    for pair in &pairs {
        app.output.json("status", &pair.fields);
    }
    Ok(level)
}

fn some(count: u64, what: &str) -> String {
    if count > 0 { format!(", {} {what}", grouped(count)) } else { String::new() }
}

/// What the gate would let go now, on evidence alone.
fn offloadable(store: &Store, record: &VolumeRecord, policy: &Policy) -> Result<(u64, u64)> {
    let (mut count, mut bytes) = (0, 0);
    let known = Known { now: store.now(), needed: false, confirmations: &[] };
    store.scan_evidence(record.id, &policy.counted(), &mut |facts, evidence| {
        if decide(facts, evidence, policy, &known).passes() {
            count += 1;
            bytes += facts.file.content.size;
        }
        Ok(())
    })?;
    Ok((count, bytes))
}

fn pair(
    app: &App,
    volume: &VolumeRecord,
    name: &str,
    policy: Option<&Policy>,
    alarms: &[Alarm],
    offloadable: (u64, u64),
) -> Result<Pair> {
    let store = app.store()?;
    let record = app.destination_record(name)?;
    let survey = store.survey_pair(volume.id, record.id, stale_before(store, policy))?;
    let last_push = store.last_push(volume.id, record.id)?.and_then(|(_, at)| at);
    let alarmed = alarms.iter().any(|alarm| alarm.destination.as_deref() == Some(name));
    let trouble = app.missing_secret(name)?;
    let sync = format!("lastcopy sync {} --to {name}", volume.name);
    let (level, next) = if record.incarnation.is_none() {
        (Level::Amber, Some(format!("lastcopy destination init {name}")))
    } else if alarmed {
        (Level::Red, Some("lastcopy alarms".into()))
    } else if trouble.is_some() {
        (Level::Amber, Some("lastcopy config check".into()))
    } else if survey.covered < survey.total {
        (Level::Amber, Some(sync))
    } else if survey.stale > 0 {
        (Level::Amber, Some(format!("lastcopy verify {name}")))
    } else if last_push.is_none() {
        (Level::Amber, Some(sync))
    } else {
        (Level::Green, None)
    };
    let methods: Vec<_> = survey.methods.iter().map(|method| method.name()).collect();
    let method = if methods.is_empty() { None } else { Some(methods.join("+")) };
    let mut line = format!("{} of {} proven", grouped(survey.covered), files(survey.total));
    if let Some(method) = &method {
        line.push_str(&format!(" by {method}"));
    }
    if let Some(at) = survey.verified_since {
        line.push_str(&format!(", all checked since {}", words::local_time(at)));
    }
    if survey.stale > 0 {
        line.push_str(&format!(", {} too long ago, or at a time to come", grouped(survey.stale)));
    }
    if alarmed {
        line.push_str(", an ALARM stands");
    }
    if record.incarnation.is_none() {
        line = "never initialised".into();
    }
    if let Some(trouble) = &trouble {
        line.push_str(&format!("; it cannot be reached: {trouble}"));
    }
    let fields = status_fields(&volume.name, Some(name), level)
        .with("kind", record.kind.name())
        .with("covered", survey.covered)
        .with("total", survey.total)
        .with("stale", survey.stale)
        .with("method", method)
        .with("last_push", last_push.map(words::rfc3339))
        .with("last_verified", survey.verified_since.map(words::rfc3339))
        .with("offloadable_files", offloadable.0)
        .with("offloadable_bytes", offloadable.1)
        .with("trouble", trouble)
        .with("next", next.clone());
    Ok(Pair {
        name: name.to_owned(),
        level,
        line,
        fields,
        next,
        covered: survey.covered,
        method: survey.methods.iter().copied().max(),
        last_push,
        last_verified: survey.verified_since,
    })
}
