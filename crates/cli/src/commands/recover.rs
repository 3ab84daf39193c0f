//! `recover`: a machine from a destination alone.

use crate::app::{App, WithoutIndex, connect};
use crate::args::RecoverArgs;
use crate::commands::index::index_volume;
use crate::config::{DestinationConfig, add_destination, add_volume, check_name, resolved};
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::words::{files, plural};
use lastcopy_fs::{RelPath, escape};
use lastcopy_restore::{Found, RecoverReport, Recovering, RestoreError, recover_receipts, recover_volume, recoverable};
use lastcopy_store::{
    DESTINATION_MARKER, DestinationKind, DestinationRecord, FileStatus, Incarnation, Outcome, VolumeClaim, VolumeRecord,
};
use lastcopy_sync::{Destination, Probe, adopt};
use lastcopy_sync_cas::Cas;
use lastcopy_sync_kopia::wire::FORMAT_BLOB;
use lastcopy_sync_mirror::{Mirror, Options};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) fn run(app: &App, args: &RecoverArgs) -> Result<Exit> {
    check_name(&args.name, "destination").map_err(|(message, fix)| CliError::new(Code::Usage, message).hint(fix))?;
    let origin = origin(app, &args.from)?;
    let destination = origin.destination.clone();
    let context = app.context();
    let met = match context.runtime.block_on(destination.probe())? {
        Probe::Found(incarnation) => incarnation,
        Probe::Nothing | Probe::NoPlace => {
            return Err(
                CliError::new(Code::NotInitialised, format!("{}: no destination is there", args.from)).hint("is its disk mounted?")
            );
        }
        Probe::CannotTell(reason) => {
            return Err(CliError::new(Code::Unreachable, format!("{}: {reason}", args.from)).hint("is its disk mounted?"));
        }
    };
    let lies_there = recoverable(Recovering { destination: destination.as_ref(), met: &met, context: &context })?;
    for damaged in &lies_there.damaged {
        app.output.warn(&format!("{}: {damaged}", args.from));
    }
    let wanted = |found: &Found| {
        let id = found.head.place.volume.to_string();
        args.volume.is_empty() || args.volume.iter().any(|volume| *volume == found.header.volume_name || *volume == id)
    };
    let names: Vec<_> = lies_there.found.iter().map(|found| format!("`{}`", escape(found.header.volume_name.as_bytes()))).collect();
    let found: Vec<_> = lies_there.found.into_iter().filter(wanted).collect();
    if found.is_empty() && args.volume.is_empty() && !lies_there.damaged.is_empty() {
        return Err(RestoreError::Unrecoverable(lies_there.damaged.join("; ")).into());
    }
    if found.is_empty() {
        let hint =
            if names.is_empty() { "no volume was ever pushed there".into() } else { format!("there are: {}", names.join(", ")) };
        return Err(CliError::new(Code::NotFound, format!("{}: no such volume lies there", args.from)).hint(hint));
    }
    refuse_ambiguity(&found)?;
    refuse_illegal_names(&found)?;
    refuse_another_of_that_name(app, args, &origin)?;
    refuse_another_identity(app, args, &origin, &met)?;
    let taken = found.into_iter().map(|found| Ok((place(app, args, &found)?, found))).collect::<Result<Vec<_>>>()?;
    refuse_overlap(app, &origin, &taken)?;
    let taken = with_news(app, &origin, &met, taken)?;
    for (place, found) in &taken {
        app.output.line(&format!(
            "{}: last pushed {} by `{}`, from {}; goes to {}",
            found.header.volume_name,
            escape(found.head.document.written.as_bytes()),
            escape(found.header.node_name.as_bytes()),
            escape(found.header.volume_path.as_bytes()),
            place.display()
        ));
        let older = found.older.len() as u64;
        if older > 0 {
            let lives = plural(older, "other life of its index", "other lives of its index");
            app.output.line(&format!("  {lives} pushed there, too; what was known to nobody else comes with it"));
        }
    }
    if args.dry_run {
        app.output.summary("recover", None, "success", Fields::new().with("volumes", taken.len()).with("dry_run", true));
        return Ok(Exit::Done);
    }
    app.confirm(&format!("Take over {} from this destination?", plural(taken.len() as u64, "volume", "volumes")))?;
    ensure_config(app)?;
    // An index that nobody could find before may know this name.
    refuse_another_identity(app, args, &origin, &met)?;
    recover(app, args, &origin, &met, &taken, !lies_there.damaged.is_empty())
}

/// The destination that everything comes from.
struct Origin {
    kind: DestinationKind,
    /// As the configuration names it.
    place: String,
    /// Its name in the configuration, if it is there.
    name: Option<String>,
    destination: Arc<dyn Destination>,
    /// Where it lies, if that is a directory here.
    path: Option<PathBuf>,
}

/// A name in the configuration, a URL of a directory, or a place as rclone writes it. What is configured already is reached as it is
/// configured there.
fn origin(app: &App, from: &str) -> Result<Origin> {
    // A machine that lost everything has no configuration, and nothing is wrong with that.
    let configured = |same: &dyn Fn(&DestinationConfig) -> bool| {
        let found = app.config().ok()?.destinations.iter().find(|(_, config)| same(config))?;
        Some((found.0.clone(), found.1.kind()))
    };
    let known = |name: &str, kind: DestinationKind| -> Result<Origin> {
        let config = app.destination_config(name)?;
        let (destination, path) = (connect(config)?, config.path.clone());
        Ok(Origin { kind, place: from.to_owned(), name: Some(name.to_owned()), destination, path })
    };
    if let Ok(config) = app.config()
        && let Some(named) = config.destinations.get(from)
    {
        return known(from, named.kind());
    }
    if let Some((name, kind)) = configured(&|config| config.url == from) {
        return known(&name, kind);
    }
    if !from.contains("://") && from.contains(':') {
        let destination = Arc::new(Mirror::new(Options::at(from)));
        return Ok(Origin { kind: DestinationKind::Mirror, place: from.to_owned(), name: None, destination, path: None });
    }
    let path = crate::config::local_path(from).map_err(|error| {
        // It may have a section in a configuration that cannot be read.
        if let Err(broken) = app.config()
            && app.has_config()
        {
            return broken;
        }
        let error =
            if from.contains("://") { error } else { format!("{error}, and no destination of the configuration is called so") };
        CliError::new(Code::Usage, error).hint(
            "like file:///media/usb/lastcopy, or like cloudbox:backup for a mirror. What takes a password or options, like every \
             repository of kopia's, is named by its section: write [destinations.NAME] into the configuration first, then \
             `lastcopy recover --from NAME`",
        )
    })?;
    let here = std::fs::canonicalize(&path).ok();
    let same = |config: &DestinationConfig| config.path.as_ref().is_some_and(|path| std::fs::canonicalize(path).ok() == here);
    if let Some((name, kind)) = configured(&same) {
        return known(&name, kind);
    }
    if path.join(FORMAT_BLOB).exists() {
        let message = format!("a repository of kopia's is at {}, and its password is not known here", path.display());
        return Err(CliError::new(Code::Config, message).hint(
            "write its section [destinations.NAME] into the configuration first, then `lastcopy recover --from NAME`; docs/kopia.md \
             shows one",
        ));
    }
    Ok(match kind_at(&path) {
        DestinationKind::Mirror => {
            let place = path.display().to_string();
            let destination = Arc::new(Mirror::new(Options::at(place.as_str())));
            Origin { kind: DestinationKind::Mirror, place, name: None, destination, path: Some(path) }
        }
        _ => {
            let destination = Arc::new(Cas::local(&path));
            Origin { kind: DestinationKind::Cas, place: from.to_owned(), name: None, destination, path: Some(path) }
        }
    })
}

/// The kind that the marker in a directory names.
fn kind_at(path: &Path) -> DestinationKind {
    #[derive(serde::Deserialize)]
    struct Marker {
        kind: String,
    }
    let marker = std::fs::read(path.join(DESTINATION_MARKER)).ok();
    let kind = marker.and_then(|bytes| DestinationKind::from_name(&serde_json::from_slice::<Marker>(&bytes).ok()?.kind));
    // Whatever else is there, the store says what is wrong with it.
    kind.unwrap_or(DestinationKind::Cas)
}

/// Two volumes of one name cannot both go by it here. Said before anything is changed.
fn refuse_ambiguity(found: &[Found]) -> Result<()> {
    for (place, one) in found.iter().enumerate() {
        let name = &one.header.volume_name;
        let same: Vec<_> = found[place..].iter().filter(|other| other.header.volume_name == *name).collect();
        if same.len() > 1 {
            let which = |found: &&Found| {
                let (header, id) = (&found.header, found.head.place.volume);
                let (node, path) = (escape(header.node_name.as_bytes()), escape(header.volume_path.as_bytes()));
                format!("{id} (of node `{node}`, from {path})")
            };
            let which: Vec<_> = same.iter().map(which).collect();
            let name = escape(name.as_bytes());
            return Err(CliError::new(Code::Refused, format!("several volumes are called `{name}`: {}", which.join(", ")))
                .hint("choose one by its id: --volume ID; nothing was changed"));
        }
    }
    Ok(())
}

/// A name in the configuration is of one destination. Said before anything is changed.
fn refuse_another_of_that_name(app: &App, args: &RecoverArgs, origin: &Origin) -> Result<()> {
    let taken = app.config().is_ok_and(|config| config.destinations.contains_key(&args.name));
    if taken && origin.name.is_none() {
        let message = format!("the configuration has a destination `{}`, and it is not this one", args.name);
        return Err(CliError::new(Code::Refused, message).hint("nothing was changed; give this one a name of its own: --name NAME"));
    }
    Ok(())
}

/// A name that stands for one repository is not given to another one by the way. Said before anything is changed.
fn refuse_another_identity(app: &App, args: &RecoverArgs, origin: &Origin, met: &Incarnation) -> Result<()> {
    // Also one that the configuration does not have any more: the index still counts on it.
    let name = origin.name.as_deref().unwrap_or(&args.name);
    let Some(record) = record(app, name)? else { return Ok(()) };
    match record.incarnation {
        Some(accepted) if accepted != *met => {
            let message = format!("`{name}` stands for {accepted}, and {met} is there now");
            let hint = match &origin.name {
                Some(_) => format!("if this is the one from now on: `lastcopy destination adopt {name}`, then repeat this"),
                None => "give this one a name of its own: --name NAME".to_owned(),
            };
            Err(CliError::new(Code::IdentityChanged, message).hint(format!("nothing was changed; {hint}")))
        }
        _ => Ok(()),
    }
}

/// What an index that is there already knows of the destination.
fn record(app: &App, name: &str) -> Result<Option<DestinationRecord>> {
    // Without a configuration nobody knows yet where an index would be.
    if app.config().is_ok() && app.has_index()? { Ok(app.store()?.destination_record(name)?) } else { Ok(None) }
}

/// The checks that the configuration makes when it is loaded: once it is written, no command would take it any more.
fn refuse_overlap(app: &App, origin: &Origin, taken: &[(PathBuf, Found)]) -> Result<()> {
    let config = app.config().ok();
    let (mut volumes, mut destinations) = (Vec::new(), Vec::new());
    if let Some(config) = config {
        volumes.extend(config.volumes.iter().map(|(name, volume)| (format!("volume `{name}`"), resolved(&volume.path))));
        let paths = config.destinations.iter().filter_map(|(name, to)| Some((name, to.path.as_ref()?)));
        destinations.extend(paths.map(|(name, path)| (format!("destination `{name}`"), resolved(path))));
    }
    if let (Some(path), None) = (&origin.path, &origin.name) {
        let this = ("this destination".to_owned(), resolved(path));
        refuse_together(&this, &volumes)?;
        destinations.push(this);
    }
    for (place, found) in taken {
        let name = &found.header.volume_name;
        if config.is_none_or(|config| !config.volumes.contains_key(name)) {
            let this = (format!("volume `{name}`"), resolved(place));
            refuse_together(&this, &volumes)?;
            refuse_together(&this, &destinations)?;
            volumes.push(this);
        }
    }
    Ok(())
}

fn refuse_together((what, path): &(String, PathBuf), others: &[(String, PathBuf)]) -> Result<()> {
    let Some((other, there)) = others.iter().find(|(_, there)| path.starts_with(there) || there.starts_with(path)) else {
        return Ok(());
    };
    let message = format!("{what} at {} and {other} at {} would overlap", path.display(), there.display());
    Err(CliError::new(Code::Config, message)
        .hint("nothing was changed; volumes and destinations must lie apart: say with --to where volumes go"))
}

/// The volumes of which an index that is there already has something to learn. Said before anything is changed.
fn with_news(app: &App, origin: &Origin, met: &Incarnation, taken: Vec<(PathBuf, Found)>) -> Result<Vec<(PathBuf, Found)>> {
    if app.config().is_err() || !app.has_index()? {
        return Ok(taken);
    }
    let configured = origin.name.as_deref().map_or(Ok(None), |name| record(app, name))?;
    let record = configured.filter(|record| record.incarnation.as_ref() == Some(met));
    let (mut news, mut known) = (Vec::new(), Vec::new());
    for (place, found) in taken {
        match app.store()?.volume_record(&found.header.volume_name)? {
            Some(volume) => {
                refuse_another_volume(&volume, &found)?;
                let has_news = match &record {
                    Some(record) => found.has_news(app.store()?, &volume, record)?,
                    None => true,
                };
                if has_news { news.push((place, found)) } else { known.push(found.header.volume_name) }
            }
            None => news.push((place, found)),
        }
    }
    if news.is_empty() {
        let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
        return Err(CliError::new(Code::Refused, format!("all that is told there of {} is known already", names.join(", ")))
            .hint("recover is for an index that lost it; to bring files back: `lastcopy restore`"));
    }
    for name in known {
        app.output.note(&format!("{name}: all that is told there is known already"));
    }
    Ok(news)
}

/// One name cannot be two volumes'.
fn refuse_another_volume(known: &VolumeRecord, found: &Found) -> Result<()> {
    let (here, there) = (known.uuid, found.head.place.volume);
    if here == there {
        return Ok(());
    }
    let message = format!("`{}` here is volume {here}, and the one there is volume {there}", known.name);
    Err(CliError::new(Code::Refused, message).hint(
        "nothing was changed; take that one over with a configuration and an index of its own: --config FILE; or choose others with --volume",
    ))
}

/// A name becomes a section of the configuration and a directory. One that no volume can have was written by somebody who wants to be
/// elsewhere. Said before anything is changed.
fn refuse_illegal_names(found: &[Found]) -> Result<()> {
    for Found { header, head, .. } in found {
        if let Err((message, fix)) = check_name(&header.volume_name, "volume") {
            let message = format!("volume {}: {}", head.place.volume, escape(message.as_bytes()));
            return Err(
                CliError::new(Code::Refused, message).hint(format!("nothing was changed; {fix}: choose others with --volume"))
            );
        }
    }
    Ok(())
}

/// A machine that lost everything has no configuration either.
fn ensure_config(app: &App) -> Result<()> {
    let path = crate::config::locate(app.global.config.as_deref())?;
    if !path.exists() {
        crate::config::write_new(&path, "# Written by `lastcopy recover`; docs/configuration.md explains every key.\n")?;
        app.output.note(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// Where a volume goes: as configured, or below the directory given, or where it was.
fn place(app: &App, args: &RecoverArgs, found: &Found) -> Result<PathBuf> {
    let name = &found.header.volume_name;
    if let Ok(config) = app.config()
        && let Some(volume) = config.volumes.get(name)
    {
        return Ok(volume.path.clone());
    }
    let path = match &args.to {
        Some(to) => {
            std::path::absolute(to).map_err(|error| CliError::new(Code::Usage, format!("{}: {error}", to.display())))?.join(name)
        }
        None => PathBuf::from(&found.header.volume_path),
    };
    if path.is_absolute() {
        return Ok(path);
    }
    Err(CliError::new(Code::Usage, format!("volume `{name}` was at no absolute path")).hint("say with --to where it goes"))
}

fn recover(
    app: &App,
    args: &RecoverArgs,
    origin: &Origin,
    met: &Incarnation,
    taken: &[(PathBuf, Found)],
    attention: bool,
) -> Result<Exit> {
    let name = origin.name.clone().unwrap_or_else(|| args.name.clone());
    let config_path = app.config()?.path.clone();
    if !app.config()?.destinations.contains_key(&name) {
        add_destination(&config_path, &name, origin.kind, &origin.place)?;
    }
    for (place, found) in taken {
        if !app.config()?.volumes.contains_key(&found.header.volume_name) {
            add_volume(&config_path, &found.header.volume_name, place, std::slice::from_ref(&name))?;
        }
    }
    // The configuration as it is now: nothing of this command has used the index yet.
    app.output.clear();
    let format = if app.output.is_json() { crate::output::Format::Json } else { crate::output::Format::Human };
    let fresh = App::new(app.global.clone(), crate::output::Output::new(format))?.without_index(WithoutIndex::Makes);
    let exit = fill(&fresh, &name, origin.destination.as_ref(), met, taken, attention);
    app.output.take_summaries(&fresh.output);
    exit
}

fn fill(
    app: &App,
    name: &str,
    destination: &dyn Destination,
    met: &Incarnation,
    taken: &[(PathBuf, Found)],
    mut attention: bool,
) -> Result<Exit> {
    let context = app.context();
    let record = app.destination(name)?.0;
    let from = Recovering { destination, met, context: &context };
    let mut recovered = Vec::new();
    for (place, found) in taken {
        let report = volume(app, from, found, place)?;
        attention |= !report.damaged.is_empty();
        recovered.push((found, report));
    }
    // Whoever is accepted already keeps what is known of it.
    if record.incarnation.as_ref() != Some(met) {
        app.waiting(|| Ok(adopt(app.store()?, &record, destination, Some(met), "recovered from it", &context)?))?;
    }
    let record = app.destination(name)?.0;
    let run = app.waiting(|| Ok(app.store()?.begin_evidence_change(Some(record.id), None)?))?;
    let contents = recover_receipts(run, &record, destination, &recovered, &context)?;
    app.output.line(&format!("{name}: holds {}, unproven until verified", plural(contents, "content", "contents")));
    for (_, found) in taken {
        let open = app.volume(&found.header.volume_name)?;
        // What the disk still has is found; what it lacks stays offloaded. That files of an index which knew them are gone is not ours to accept.
        attention |= match index_volume(app, &open, false) {
            Ok(exit) => exit != Exit::Done,
            Err(error) if error.code == Code::ImplausibleLoss => {
                app.output.warn(&error.message);
                app.output.note(&format!("  {}", error.hint.unwrap_or_default()));
                true
            }
            Err(error) => return Err(error),
        };
        let nowhere = app.store()?.survey_volume(open.id())?.uncovered_offloaded;
        if nowhere > 0 {
            let nowhere = plural(nowhere, "offloaded file", "offloaded files");
            app.output.warn(&format!("{}: {nowhere} that no destination is known to hold", open.name()));
            app.output.note("  `lastcopy recover --from URL` of another destination that was in use tells what that one holds");
        }
    }
    app.output.note(&format!("  next: `lastcopy verify {name}` proves what it holds, `lastcopy restore VOLUME` brings files back"));
    let fields = Fields::new().with("destination", name).with("volumes", taken.len()).with("contents", contents);
    app.output.summary("recover", None, if attention { "partial" } else { "success" }, fields);
    Ok(if attention { Exit::Attention } else { Exit::Done })
}

fn volume(app: &App, from: Recovering<'_>, found: &Found, place: &Path) -> Result<RecoverReport> {
    let name = &found.header.volume_name;
    // Where a second destination has copies of a volume, the index learns of them. Nothing that it saw itself is changed by that.
    let on_disk = [FileStatus::Present, FileStatus::Quarantined];
    if let Some(record) = app.store()?.volume_record(name)? {
        refuse_another_volume(&record, found)?;
        if !app.store()?.select_files(record.id, &[RelPath::root()], &on_disk)?.is_empty() {
            return volume_from(app, from, found);
        }
    }
    std::fs::create_dir_all(place)
        .map_err(|error| CliError::new(Code::Io, format!("{}: {error}", place.display())).hint("say with --to where it goes"))?;
    let claim = VolumeClaim { take_over: true, id: Some(found.head.place.volume) };
    let (_volume, run) = app.waiting(|| Ok(app.store()?.add_volume(name, place, claim)?))?;
    run.finish(&Outcome::Success, None)?;
    volume_from(app, from, found)
}

fn volume_from(app: &App, from: Recovering<'_>, found: &Found) -> Result<RecoverReport> {
    let name = &found.header.volume_name;
    let open = app.volume(name)?;
    let run = app.waiting(|| Ok(app.store()?.begin_restore(Some(&open))?))?;
    let report = recover_volume(run, from, found)?;
    app.output.line(&format!(
        "{name}: {} known again, from {}",
        files(report.files),
        plural(report.segments, "segment", "segments")
    ));
    for damaged in &report.damaged {
        app.output.warn(&format!("{name}: {damaged}; paths that it alone named are lost, their contents are not"));
    }
    Ok(report)
}
