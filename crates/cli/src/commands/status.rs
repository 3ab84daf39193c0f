//! `status`: am I safe, and what can I free?

mod proofs;

use crate::app::App;
use crate::commands::paths::Paths;
use crate::commands::quarantine::Quarantine;
use crate::error::{Exit, Result};
use crate::excluded::Excluded;
use crate::output::{Fields, coloured};
use crate::units::Size;
use crate::words::{self, files, grouped, plural};
use anstyle::AnsiColor;
use lastcopy_store::{
    Alarm, DestinationRecord, FileStatus, Method, PairSurvey, Policy, Store, Timestamp, VolumeRecord, VolumeSurvey,
};
use proofs::{Away, AwayAt, Here, HereAt, how, missing_but_held};

/// Alarms that are told one by one.
const SHOWN: usize = 20;

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
                from_elsewhere(app, name, recorded.is_empty())
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
    if !app.output.is_json() {
        tell_alarms(app, &alarms)?;
    }
    let fields = Fields::new().with("level", worst.name()).with("alarms", alarms.len());
    app.output.summary("status", None, if worst == Level::Green { "success" } else { "partial" }, fields);
    Ok(if worst == Level::Green { Exit::Done } else { Exit::Attention })
}

/// The alarms, one by one as far as anybody reads them.
fn tell_alarms(app: &App, alarms: &[Alarm]) -> Result<()> {
    if alarms.is_empty() {
        return Ok(());
    }
    let paths = Paths::new(app)?;
    for alarm in alarms.iter().take(SHOWN) {
        let what = alarm.destination.as_deref().or(alarm.file.as_ref().map(|(volume, _)| volume.as_str())).unwrap_or("?");
        let content = alarm.content.filter(|_| alarm.destination.is_some());
        let named = content.map_or(Ok(None), |content| paths.of(content))?;
        let named = named.map_or_else(String::new, |named| format!("{named}: "));
        app.output.line(&format!("alarm {}: {what}: {}: {named}{}", alarm.id, alarm.kind, alarm.detail));
    }
    if let Some(more) = alarms.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        app.output.line(&format!("and {} more: lastcopy alarms", plural(more as u64, "alarm", "alarms")));
    }
    Ok(())
}

fn not_added(app: &App, name: &str) -> Level {
    let next = format!("lastcopy volume add {name} PATH");
    app.output.line(&format!("{}  {name}: not added yet; next: {next}", Level::Amber.shown()));
    app.output.json("status", &status_fields(name, None, Level::Amber).with("next", next));
    Level::Amber
}

/// Added here, too, what was offloaded from the tree would be unknown. Where this machine's index knows other volumes, it is most likely another
/// machine's tree, and nothing is to be done here.
fn from_elsewhere(app: &App, name: &str, nothing_known: bool) -> Level {
    let (level, next) = if nothing_known { (Level::Red, Some("lastcopy recover --from URL")) } else { (Level::Amber, None) };
    let advice = next.map_or_else(String::new, |next| format!("; next: {next}"));
    app.output.line(&format!("{}  {name}: was added to an index that is not here{advice}", level.shown()));
    app.output.json("status", &status_fields(name, None, level).with("next", next));
    level
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
        "{}  {}: not in the configuration: {} here, {} offloaded{}{}{}",
        level.shown(),
        record.name,
        files(count(FileStatus::Present)),
        grouped(offloaded),
        some(survey.uncovered_offloaded, "of them at no destination that is known to hold them"),
        some(survey.unproven_offloaded, "of them proven nowhere"),
        some(quarantined, "in quarantine"),
    ));
    if offloaded > 0 {
        tell_away(app, &Away::look(app.store()?, record.id, None)?, &[])?;
    }
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

/// What is the same for all destinations of a volume.
struct Standing<'a> {
    volume: &'a VolumeRecord,
    alarms: &'a [Alarm],
    here: &'a Here,
    away: &'a Away,
}

/// What one destination says, for the volume's line.
struct Pair {
    name: String,
    level: Level,
    line: String,
    fields: Fields,
    /// What it cannot have.
    excluded: Vec<String>,
    next: Option<String>,
    covered: u64,
    /// The weakest by which anything there was proven.
    method: Option<Method>,
    last_push: Option<Timestamp>,
    last_verified: Option<Timestamp>,
}

fn survey(app: &App, record: &VolumeRecord, alarms: &[Alarm]) -> Result<Level> {
    // An index that finds itself to be an old copy has nothing proven: it is told that first.
    let opened = app.volume(&record.name);
    let store = app.store()?;
    let config = app.volume_config(&record.name)?;
    let policy = config.offload.as_ref().map(|policy| app.policy(policy)).transpose()?;
    let weaker = policy.as_ref().map_or_else(|| Ok(Vec::new()), |policy| app.weakenings(record.id, policy))?;
    let satisfiable = policy.as_ref().map_or(Ok(()), |policy| app.satisfiable(&record.name, policy));
    // Where an offload is refused, nothing goes.
    let in_force = policy.as_ref().filter(|_| weaker.is_empty() && opened.is_ok() && satisfiable.is_ok());
    let survey = store.survey_volume(record.id)?;
    let count =
        |status| survey.by_status.iter().find(|(found, ..)| *found == status).map_or((0, 0), |(_, files, bytes)| (*files, *bytes));
    let (total, bytes) = count(FileStatus::Present);
    let (offloaded, offloaded_bytes) = count(FileStatus::Offloaded);
    let (missing, _) = count(FileStatus::Missing);
    let (quarantined, _) = count(FileStatus::Quarantined);
    let stale_before = stale_before(store, policy.as_ref());
    let at = |name: &String| {
        let destination = app.destination_record(name)?;
        let survey = store.survey_pair(record.id, destination.id, stale_before)?;
        Ok((destination, survey))
    };
    let surveyed = config.sync_to.iter().map(at).collect::<Result<Vec<_>>>()?;
    let unclaimed = surveyed.iter().filter(|(_, pair)| pair.covered < pair.total);
    let unclaimed =
        unclaimed.map(|(at, _)| Ok((at.id, Excluded::by_last_push(store, record.id, at.id)?))).collect::<Result<_>>()?;
    let here = Here::look(store, record.id, in_force, &unclaimed, stale_before)?;
    let away = if offloaded > 0 { Away::look(store, record.id, policy.as_ref())? } else { Away::default() };
    let standing = Standing { volume: record, alarms, here: &here, away: &away };
    let pairs = surveyed.iter().map(|(at, survey)| pair(app, &standing, at, survey)).collect::<Result<Vec<_>>>()?;
    let (offloadable_files, offloadable_bytes) = here.offloadable;
    let quarantine = Quarantine::of(store, record.id, |_| true)?;
    // Of what was deleted on purpose over the years, some is always missing; a tree in which nothing is left is no such thing.
    let emptied = total == 0 && missing > offloaded + quarantined;

    let mut level = pairs.iter().map(|pair| pair.level).max().unwrap_or(Level::Amber);
    let mut next = pairs.iter().filter(|pair| pair.level == level).find_map(|pair| pair.next.clone());
    if survey.last_index.is_none() {
        level = level.max(Level::Amber);
        next = Some(format!("lastcopy index {}", record.name));
    }
    if config.sync_to.is_empty() {
        next = Some("lastcopy config check".into());
    }
    if !weaker.is_empty() {
        level = level.max(Level::Amber);
        next = Some(format!("lastcopy policy accept {} --reason TEXT", record.name));
    }
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
    if away.short > 0 {
        level = level.max(Level::Amber);
        if next.is_none() {
            next = vouch_again(store, &away)?;
        }
    }
    if survey.uncovered_offloaded > 0 {
        level = Level::Red;
        next = Some(repair(app)?);
    }
    if survey.file_alarms > 0 {
        level = Level::Red;
        next = Some("lastcopy alarms".into());
    }
    if let Err(error) = &opened {
        level = level.max(Level::Amber);
        if level < Level::Red {
            next = Some("lastcopy config check".into());
        }
        app.output.line(&format!("{}: {}", record.name, error.message));
    }
    if next.is_none() && quarantine.is_over() && in_force.is_some() {
        next = Some(format!("lastcopy offload {}", record.name));
    }
    if next.is_none() && offloadable_bytes > 0 {
        next = Some(format!("lastcopy offload {} .", record.name));
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
        pair.excluded.iter().for_each(|line| app.output.line(&format!("        {line}")));
    }
    if offloaded > 0 {
        tell_away(app, &away, &config.sync_to)?;
        tell_plan(app, &config.sync_to)?;
        tell_short(app, &survey, &away, stale);
        tell_absent(app, record, &away)?;
    }
    if emptied && !app.output.is_json() {
        app.output.line(&format!(
            "    nothing that was here is left; a destination holds {}: `lastcopy restore {} PATH` brings one back",
            files(missing_but_held(store, record.id)?),
            record.name
        ));
    }
    quarantine.lines(&record.name).iter().for_each(|line| app.output.line(&format!("    {line}")));
    match (&policy, &opened) {
        (_, Err(_)) => app.output.line("    nothing can be freed: the volume cannot be opened"),
        (Some(_), _) => {
            app.output.line(&format!("    can be freed now: {} ({})", files(offloadable_files), Size(offloadable_bytes)));
        }
        (None, _) if away.files > 0 => {
            app.output.line("    there is no offload policy: nothing can be freed, and nothing says where offloaded files must be");
        }
        (None, _) => app.output.line("    nothing can be freed: there is no offload policy"),
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
        .with("offloaded_short", away.short)
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

/// The command that brings back what destinations lost: it names one that was found to have lost something.
fn repair(app: &App) -> Result<String> {
    let store = app.store()?;
    for name in app.config()?.destinations.keys() {
        if store.has_lost(app.destination_record(name)?.id)? {
            return Ok(format!("lastcopy destination repair {name}"));
        }
    }
    Ok("lastcopy verify".into())
}

/// What destinations outside of a volume's plan hold of its offloaded files.
fn tell_away(app: &App, away: &Away, sync_to: &[String]) -> Result<()> {
    let configured = &app.config()?.destinations;
    for record in app.store()?.destinations()?.iter().filter(|record| !sync_to.contains(&record.name)) {
        if let Some(at) = away.at(record.id).filter(|at| at.proofs.proven + at.unproven > 0) {
            let whose = if configured.contains_key(&record.name) { "not in sync_to" } else { "not in the configuration" };
            app.output.line(&format!("    {} ({whose}): {}", record.name, away.words_at(at)));
        }
    }
    Ok(())
}

/// Where a volume is pushed to, if that is one place, and where it is not: after a recovery, nobody knows any more what the plan was.
fn tell_plan(app: &App, sync_to: &[String]) -> Result<()> {
    let others = app.config()?.destinations.keys().filter(|name| !sync_to.contains(name));
    let others = others.map(String::as_str).collect::<Vec<_>>().join(", ");
    match (sync_to, others.is_empty()) {
        ([only], true) => app.output.line(&format!("    pushed to one place only: {only}")),
        ([only], false) => app.output.line(&format!("    pushed to one place only: {only}, not to {others}")),
        (_, false) => app.output.line(&format!("    not pushed to {others}")),
        (_, true) => {}
    }
    Ok(())
}

/// How many offloaded files are kept worse than they should be.
fn tell_short(app: &App, survey: &VolumeSurvey, away: &Away, stale: u64) {
    if survey.uncovered_offloaded > 0 {
        app.output.line(&format!(
            "    {} that no destination is known to hold any more: bring the one back that held them, or repair it",
            plural(survey.uncovered_offloaded, "offloaded file", "offloaded files")
        ));
    }
    if survey.unproven_offloaded > 0 {
        app.output
            .line(&format!("    {} proven nowhere", plural(survey.unproven_offloaded, "offloaded file is", "offloaded files are")));
    }
    if away.short > survey.unproven_offloaded + survey.uncovered_offloaded {
        app.output.line(&format!(
            "    {} not proven where the policy asks",
            plural(away.short, "offloaded file is", "offloaded files are")
        ));
    }
    if stale > 0 {
        app.output.line(&format!(
            "    {} of which no destination of the configuration showed a copy lately",
            plural(stale, "offloaded file", "offloaded files")
        ));
    }
}

/// What no push brings to a destination that the policy asks, because it is not here.
fn tell_absent(app: &App, volume: &VolumeRecord, away: &Away) -> Result<()> {
    for record in app.store()?.destinations()? {
        if let Some(at) = away.at(record.id).filter(|at| at.lacking_absent > 0) {
            let (name, volume) = (&record.name, &volume.name);
            app.output.line(&format!(
                "    {} ({}) that the policy asks for at {name}, not known to be there, and not here to be pushed: \
                 `lastcopy restore {volume} PATH`, then sync and offload again, part by part",
                plural(at.lacking_absent, "offloaded file", "offloaded files"),
                Size(at.lacking_bytes)
            ));
        }
    }
    Ok(())
}

fn pair(app: &App, standing: &Standing<'_>, record: &DestinationRecord, survey: &PairSurvey) -> Result<Pair> {
    let Standing { volume, alarms, here, away } = *standing;
    let (store, name) = (app.store()?, record.name.as_str());
    let last_push = store.last_push(volume.id, record.id)?.and_then(|(_, at)| at);
    let alarmed = alarms.iter().any(|alarm| alarm.destination.as_deref() == Some(name));
    let trouble = app.missing_secret(name)?;
    let sync = format!("lastcopy sync {} --to {name}", volume.name);
    let (here_at, away_at) = (here.at(record.id), away.at(record.id));
    let excluded = here_at.map_or(0, |at| at.excluded);
    let (level, next) = if record.incarnation.is_none() {
        (Level::Amber, Some(format!("lastcopy destination init {name}")))
    } else if alarmed {
        (Level::Red, Some("lastcopy alarms".into()))
    } else if trouble.is_some() {
        (Level::Amber, Some("lastcopy config check".into()))
    } else if survey.covered < survey.total {
        // Another push changes nothing for what it cannot have.
        (Level::Amber, Some(sync).filter(|_| survey.total - survey.covered > excluded))
    } else if survey.stale > 0 {
        (Level::Amber, Some(format!("lastcopy verify {name}")))
    } else if last_push.is_none() {
        (Level::Amber, Some(sync))
    } else if let Some(at) = away_at.filter(|at| at.lacking > 0) {
        (Level::Amber, proves_again(store, record, at)?)
    } else {
        (Level::Green, None)
    };
    let methods: Vec<_> = survey.methods.iter().map(|method| method.name()).collect();
    let method = if methods.is_empty() { None } else { Some(methods.join("+")) };
    // What a push claims is what the gate counts; what is proven besides, the next push finds proven.
    let proven = here_at.map(|at| &at.proofs).filter(|proofs| proofs.proven > survey.covered);
    let mut line = match proven {
        Some(proofs) => format!(
            "{} of {} proven{}, {} of them in a push that is complete",
            grouped(proofs.proven),
            files(survey.total),
            how(proofs.method().as_deref(), proofs.since, proofs.stale),
            grouped(survey.covered)
        ),
        None => format!(
            "{} of {} proven{}",
            grouped(survey.covered),
            files(survey.total),
            how(method.as_deref(), survey.verified_since, survey.stale)
        ),
    };
    if let Some(at) = away_at {
        let words = away.words_at(at);
        line = if survey.total == 0 { words } else { format!("{line}; {words}") };
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
        .with("proven", proven.map_or(survey.covered, |proofs| proofs.proven))
        .with("total", survey.total)
        .with("stale", survey.stale)
        .with("method", method)
        .with("last_push", last_push.map(words::rfc3339))
        .with("last_verified", survey.verified_since.map(words::rfc3339))
        .with("excluded", excluded)
        .with("offloaded_proven", away_at.map_or(0, |at| at.proofs.proven))
        .with("offloaded_stale", away_at.map_or(0, |at| at.proofs.stale))
        .with("offloaded_method", away_at.and_then(|at| at.proofs.method()))
        .with("offloaded_verified", away_at.and_then(|at| at.proofs.since).map(words::rfc3339))
        .with("offloadable_files", here.offloadable.0)
        .with("offloadable_bytes", here.offloadable.1)
        .with("trouble", trouble)
        .with("next", next.clone());
    Ok(Pair {
        name: name.to_owned(),
        level,
        line,
        fields,
        excluded: here_at.map_or_else(Vec::new, |at| excluded_lines(at, &volume.name, name)),
        next,
        covered: survey.covered,
        method: survey.methods.iter().copied().max(),
        last_push,
        last_verified: survey.verified_since,
    })
}

/// Names what a destination cannot have, why, and what helps.
fn excluded_lines(at: &HereAt, volume: &str, destination: &str) -> Vec<String> {
    let excluded = at.excluded;
    if excluded == 0 {
        return Vec::new();
    }
    let mut lines =
        vec![format!("{} excluded; to clear it: {}", files(excluded), words::ways_out_of_exclusion(volume, destination))];
    lines.extend(at.first_excluded.iter().map(|(path, reason)| format!("  `{path}`: {reason}")));
    let more = excluded - at.first_excluded.len() as u64;
    if more > 0 {
        lines.push(format!("  … and {} more", grouped(more)));
    }
    lines
}

/// The command by which a destination comes to vouch for offloaded files again, if one does.
fn proves_again(store: &Store, record: &DestinationRecord, at: &AwayAt) -> Result<Option<String>> {
    let name = &record.name;
    Ok(if at.lacking_absent < at.lacking {
        Some(format!("lastcopy verify {name}"))
    } else if store.has_lost(record.id)? {
        Some(format!("lastcopy destination repair {name}"))
    } else {
        // Nothing but a push brings it there, and a push takes only what is here: what comes back first is for a person to choose.
        None
    })
}

/// The same for the first destination of the index for which there is one, pushed to or not.
fn vouch_again(store: &Store, away: &Away) -> Result<Option<String>> {
    for record in store.destinations()? {
        if let Some(at) = away.at(record.id).filter(|at| at.lacking > 0)
            && let Some(next) = proves_again(store, &record, at)?
        {
            return Ok(Some(next));
        }
    }
    Ok(None)
}
