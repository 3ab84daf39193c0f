//! `recover`: a machine from a destination alone.

use crate::app::App;
use crate::args::RecoverArgs;
use crate::commands::index::index_volume;
use crate::config::{add_destination, add_volume, check_name};
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::words::{files, plural};
use lastcopy_fs::{Content, RelPath, escape};
use lastcopy_restore::{Found, RestoreError, recover_volume, recoverable};
use lastcopy_store::{DestinationRecord, FileStatus, Location, Outcome, VolumeClaim};
use lastcopy_sync::{Destination, Probe, adopt};
use lastcopy_sync_cas::Cas;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Contents that share a transaction.
const BATCH: usize = 4096;

pub(crate) fn run(app: &App, args: &RecoverArgs) -> Result<Exit> {
    check_name(&args.name, "destination").map_err(|(message, fix)| CliError::new(Code::Usage, message).hint(fix))?;
    let path = crate::config::local_path(&args.from)
        .map_err(|error| CliError::new(Code::Usage, error).hint("like file:///media/usb/lastcopy"))?;
    let destination: Arc<dyn Destination> = Arc::new(Cas::local(&path));
    let context = app.context();
    match context.runtime.block_on(destination.probe())? {
        Probe::Found(_) => {}
        Probe::Nothing | Probe::NoPlace => {
            return Err(
                CliError::new(Code::NotInitialised, format!("{}: no destination is there", args.from)).hint("is its disk mounted?")
            );
        }
        Probe::CannotTell(reason) => {
            return Err(CliError::new(Code::Unreachable, format!("{}: {reason}", args.from)).hint("is its disk mounted?"));
        }
    }
    let lies_there = recoverable(destination.as_ref(), &context)?;
    for damaged in &lies_there.damaged {
        app.output.warn(&format!("{}: {damaged}", args.from));
    }
    let wanted = |found: &Found| {
        let id = found.head.place.volume.to_string();
        args.volume.is_empty() || args.volume.iter().any(|volume| *volume == found.header.volume_name || *volume == id)
    };
    let found: Vec<_> = lies_there.found.into_iter().filter(wanted).collect();
    if found.is_empty() && args.volume.is_empty() && !lies_there.damaged.is_empty() {
        return Err(RestoreError::Unrecoverable(lies_there.damaged.join("; ")).into());
    }
    if found.is_empty() {
        return Err(CliError::new(Code::NotFound, format!("{}: no such volume lies there", args.from)));
    }
    refuse_ambiguity(&found)?;
    refuse_illegal_names(&found)?;
    let places = found.iter().map(|found| place(app, args, found)).collect::<Result<Vec<_>>>()?;
    for (found, place) in found.iter().zip(&places) {
        app.output.line(&format!(
            "{}: last pushed {} by `{}`, from {}; goes to {}",
            found.header.volume_name,
            escape(found.head.document.written.as_bytes()),
            escape(found.header.node_name.as_bytes()),
            escape(found.header.volume_path.as_bytes()),
            place.display()
        ));
    }
    if args.dry_run {
        app.output.summary("recover", None, "success", Fields::new().with("volumes", found.len()).with("dry_run", true));
        return Ok(Exit::Done);
    }
    app.confirm(&format!("Take over {} from this destination?", plural(found.len() as u64, "volume", "volumes")))?;
    ensure_config(app)?;
    recover(app, args, &destination, &path, &found, &places, !lies_there.damaged.is_empty())
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
    destination: &Arc<dyn Destination>,
    root: &Path,
    found: &[Found],
    places: &[PathBuf],
    attention: bool,
) -> Result<Exit> {
    let name = configured_name(app, root)?.unwrap_or_else(|| args.name.clone());
    let config_path = app.config()?.path.clone();
    if !app.config()?.destinations.contains_key(&name) {
        add_destination(&config_path, &name, &args.from)?;
    }
    for (found, place) in found.iter().zip(places) {
        if !app.config()?.volumes.contains_key(&found.header.volume_name) {
            add_volume(&config_path, &found.header.volume_name, place, std::slice::from_ref(&name))?;
        }
    }
    // The configuration as it is now: nothing of this command has used the index yet.
    let fresh = App::new(
        app.global.clone(),
        crate::output::Output::new(if app.output.is_json() { crate::output::Format::Json } else { crate::output::Format::Human }),
    )?;
    let exit = fill(&fresh, &name, destination, found, places, attention);
    app.output.take_summaries(&fresh.output);
    exit
}

fn configured_name(app: &App, root: &Path) -> Result<Option<String>> {
    let same = |path: &Path| std::fs::canonicalize(path).ok() == std::fs::canonicalize(root).ok();
    Ok(app.config()?.destinations.iter().find(|(_, destination)| same(&destination.path)).map(|(name, _)| name.clone()))
}

fn fill(
    app: &App,
    name: &str,
    destination: &Arc<dyn Destination>,
    found: &[Found],
    places: &[PathBuf],
    mut attention: bool,
) -> Result<Exit> {
    for (found, place) in found.iter().zip(places) {
        attention |= volume(app, destination, found, place)?;
    }
    let record = app.destination(name)?.0;
    app.waiting(|| Ok(adopt(app.store()?, &record, destination.as_ref(), "recovered from it", &app.context())?))?;
    let record = app.destination(name)?.0;
    let contents = receipts(app, &record, destination.as_ref())?;
    app.output.line(&format!("{name}: holds {}, unproven until verified", plural(contents, "content", "contents")));
    for found in found {
        let open = app.volume(&found.header.volume_name)?;
        // What the disk still has is found; what it lacks stays offloaded.
        attention |= index_volume(app, &open, true)? != Exit::Done;
    }
    app.output.note(&format!("  next: `lastcopy verify {name}` proves what it holds, `lastcopy restore VOLUME` brings files back"));
    let fields = Fields::new().with("destination", name).with("volumes", found.len()).with("contents", contents);
    app.output.summary("recover", None, if attention { "partial" } else { "success" }, fields);
    Ok(if attention { Exit::Attention } else { Exit::Done })
}

fn volume(app: &App, destination: &Arc<dyn Destination>, found: &Found, place: &Path) -> Result<bool> {
    let name = &found.header.volume_name;
    // An interrupted recovery goes on where nothing of the volume was seen on this disk yet: what it says again changes nothing.
    let on_disk = [FileStatus::Present, FileStatus::Quarantined];
    if let Some(record) = app.store()?.volume_record(name)?
        && (record.uuid != found.head.place.volume
            || !app.store()?.select_files(record.id, &[RelPath::root()], &on_disk)?.is_empty())
    {
        return Err(CliError::new(Code::Refused, format!("the index knows volume `{name}` already"))
            .hint("recover is for an index that lost it; to bring files back: `lastcopy restore`"));
    }
    std::fs::create_dir_all(place)
        .map_err(|error| CliError::new(Code::Io, format!("{}: {error}", place.display())).hint("say with --to where it goes"))?;
    let claim = VolumeClaim { take_over: true, id: Some(found.head.place.volume) };
    let (_volume, run) = app.waiting(|| Ok(app.store()?.add_volume(name, place, claim)?))?;
    run.finish(&Outcome::Success, None)?;
    let open = app.volume(name)?;
    let run = app.waiting(|| Ok(app.store()?.begin_restore(Some(&open))?))?;
    let report = recover_volume(run, destination.as_ref(), found, &app.context())?;
    app.output.line(&format!(
        "{name}: {} known again, from {}",
        files(report.files),
        plural(report.segments, "segment", "segments")
    ));
    for damaged in &report.damaged {
        app.output.warn(&format!("{name}: {damaged}; paths that it alone named are lost, their contents are not"));
    }
    Ok(!report.damaged.is_empty())
}

/// Receipts, unproven, for every content that the index knows and the destination lists.
fn receipts(app: &App, record: &DestinationRecord, destination: &dyn Destination) -> Result<u64> {
    let run = app.waiting(|| Ok(app.store()?.begin_evidence_change(Some(record.id), None)?))?;
    let context = app.context();
    let answer = context.runtime.block_on(destination.probe())?;
    let Probe::Found(incarnation) = answer else {
        return Err(CliError::new(Code::Unreachable, "the destination went away"));
    };
    let probed = run.probed(record.id, Some(&incarnation))?;
    let mut listed: Vec<(Content, Location)> = Vec::new();
    context.runtime.block_on(destination.list(&mut |content, location| listed.push((content, location))))?;
    let mut known = 0;
    for batch in listed.chunks(BATCH) {
        known += run.record_stored(&probed, batch)?;
    }
    run.finish(&Outcome::Success, None)?;
    Ok(known)
}
