//! `restore`.

use crate::app::App;
use crate::args::RestoreArgs;
use crate::commands::index::tell_settled;
use crate::commands::quarantine::Quarantine;
use crate::commands::query::never_seen;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use crate::units::Size;
use crate::words::{files, grouped, plural};
use lastcopy_fs::{ContentHash, Dir, RelPath};
use lastcopy_restore::{RestoreReport, Restoring, Target, WantedList, everything_below, wanted_below, wanted_content, wanted_with};
use lastcopy_store::{FileStatus, Outcome, RunId, Volume, VolumeRecord};
use std::path::Path;

pub(crate) fn run(app: &App, args: &RestoreArgs) -> Result<Exit> {
    let result = restore(app, args);
    if let Err(error) = &result {
        let fields = fields(&args.volume, &RestoreReport::default());
        app.output.summary("restore", error.run.map(RunId::get), error.status(), fields);
    }
    result.map_err(|error| CliError { run: None, ..error })
}

fn restore(app: &App, args: &RestoreArgs) -> Result<Exit> {
    let name = &args.volume;
    // Before anything is made: neither an index nor a directory is there for a volume that nobody knows.
    app.require_index()?;
    let record = known_volume(app, name)?;
    let sources = match &args.from {
        Some(from) => vec![app.destination(from)?],
        None => app.sources()?,
    };
    let target = match &args.to {
        Some(to) => Target::Elsewhere(open_target(to)?),
        None => Target::Home(app.volume(name)?),
    };
    let home = match &target {
        Target::Home(volume) => Some(volume.clone()),
        Target::Elsewhere(_) => None,
    };
    let run = app.waiting(|| Ok(app.store()?.begin_restore(home.as_ref())?))?;
    let id = run.id();
    let prepared = (|| -> Result<WantedList> {
        if let Some(volume) = &home {
            tell_settled(app, volume, &lastcopy_offload::settle(&run, volume)?);
        }
        wanted(app, args, &record)
    })();
    let wanted = match prepared {
        Ok(wanted) => wanted,
        Err(error) => {
            run.finish(&Outcome::Failed(error.message.clone()), None)?;
            return Err(CliError { run: Some(id), ..error });
        }
    };
    let restoring = Restoring { store: app.store()?, target, in_place: args.in_place, sources, context: app.context() };
    let report = restoring
        .run(run, &wanted, |report| fields(name, report).to_json())
        .map_err(|error| CliError { run: Some(id), ..CliError::from(error) })?;
    let mut kept = None;
    if let Some(volume) = &home {
        // What was restored stays restored, whatever can be told of it.
        let told = tell_quarantined(app, args, volume).and_then(|()| kept_by(volume, id));
        kept = told.unwrap_or_else(|error| {
            app.output.warn(&error.message);
            None
        });
    }
    Ok(tell(app, args, id, &report, kept.as_deref()))
}

/// What the index knows of a volume. One that is not in the configuration any more can still be restored elsewhere.
fn known_volume(app: &App, name: &str) -> Result<VolumeRecord> {
    if let Some(record) = app.store()?.volume_record(name)? {
        return Ok(record);
    }
    app.volume_config(name)?;
    Err(app.not_added(name))
}

/// The directory to restore to: made if it is missing, and nothing in it is replaced.
fn open_target(to: &Path) -> Result<Dir> {
    let failed = |error: std::io::Error| {
        CliError::new(Code::Io, format!("{}: {error}", to.display())).hint("name a directory that can be written")
    };
    std::fs::create_dir_all(to).map_err(failed)?;
    std::fs::canonicalize(to).and_then(|path| Dir::open(&path)).map_err(failed)
}

/// The paths that are asked for: all of the volume, where none is named.
fn below(app: &App, args: &RestoreArgs, root: &Path) -> Result<Vec<RelPath>> {
    if args.paths.is_empty() {
        return Ok(vec![RelPath::root()]);
    }
    args.paths.iter().map(|path| app.path_in(root, path)).collect()
}

fn wanted(app: &App, args: &RestoreArgs, record: &VolumeRecord) -> Result<WantedList> {
    if let Some(text) = &args.content {
        let hash: ContentHash = text.parse().map_err(|error: lastcopy_fs::ParseHashError| {
            CliError::new(Code::Usage, error.to_string()).hint("`lastcopy query PATH` prints the digests of a path's contents")
        })?;
        if args.to.is_none() {
            let wanted = wanted_with(app.store()?, record.id, hash)?;
            if wanted == WantedList::Files(Vec::new()) {
                if app.store()?.content_by_hash(hash)?.is_none() {
                    return Err(never_seen(hash));
                }
                let text = format!("no offloaded or missing path of volume `{}` holds content {hash}", record.name);
                return Err(CliError::new(Code::NotFound, text).hint("with --to DIR it comes back whatever became of its paths"));
            }
            return Ok(wanted);
        }
        let wanted = wanted_content(app.store()?, hash)?;
        let wanted = wanted.ok_or_else(|| never_seen(hash))?;
        return Ok(WantedList::One(Box::new(wanted)));
    }
    let below = below(app, args, &record.path)?;
    for path in &below {
        if !path.is_root() && app.store()?.count_below(record.id, path)? == 0 {
            return Err(CliError::new(Code::NotFound, format!("the index knows nothing at `{path}` in volume `{}`", record.name))
                .hint("`lastcopy query --offloaded` lists what can come back"));
        }
    }
    let mut wanted = if args.in_place || args.to.is_some() {
        let (everything, left_out) = everything_below(app.store()?, record.id, &below)?;
        tell_left_out(app, &record.name, &left_out);
        everything
    } else {
        wanted_below(app.store()?, record.id, &below, false)?
    };
    // Here, what waits for its grace is a matter of `offload --undo`; anywhere else, it is a file like any other.
    if let (true, WantedList::Files(files)) = (args.to.is_some(), &mut wanted) {
        files.extend(app.store()?.select_files(record.id, &below, &[FileStatus::Quarantined])?);
    }
    Ok(wanted)
}

/// Where what was in the way is now.
fn kept_by(volume: &Volume, run: RunId) -> Result<Option<String>> {
    let kept = format!(".lastcopy/kept/{run}");
    let failed = |error: String| CliError::new(Code::Io, format!("{kept}: {error}"));
    let place = RelPath::new(kept.as_bytes()).map_err(|error| failed(error.to_string()))?;
    let found = volume.root().stat(&place).map_err(|error| failed(error.to_string()))?;
    Ok(found.map(|_| volume.path().join(&kept).display().to_string()))
}

/// What waits for its grace does not come back this way, and is no more at its place than what was deleted.
fn tell_quarantined(app: &App, args: &RestoreArgs, volume: &Volume) -> Result<()> {
    let below = below(app, args, volume.path())?;
    let quarantine = Quarantine::of(app.store()?, volume.id(), |intent| match &args.content {
        Some(content) => content.parse().is_ok_and(|hash: ContentHash| intent.file.content.hash == hash),
        None => below.iter().any(|path| intent.file.path.is_within(path)),
    })?;
    quarantine.lines(volume.name()).iter().for_each(|line| app.output.line(&format!("{}: {line}", volume.name())));
    Ok(())
}

/// Missing files that could not be where later ones are.
fn tell_left_out(app: &App, volume: &str, left_out: &[RelPath]) {
    for path in left_out {
        let why = "a later file is where it would be, or a directory with later files";
        let fields = Fields::new().with("volume", volume).path(path).with("outcome", "left-out").with("detail", why);
        app.output.json("file", &fields);
    }
    if let [first, others @ ..] = left_out {
        let more = if others.is_empty() { String::new() } else { format!(" and {} more", grouped(others.len() as u64)) };
        app.output.warn(&format!(
            "{volume}: `{first}`{more} left out: a later file is where it would be, or a directory with later files; `lastcopy query` \
             tells its digest, and `restore {volume} --content DIGEST --to DIR` brings it back"
        ));
    }
}

fn fields(volume: &str, report: &RestoreReport) -> Fields {
    let from: Vec<_> = report.from.iter().map(String::as_str).collect();
    Fields::new()
        .with("volume", volume)
        .with("from", from.join(","))
        .with("restored", report.restored)
        .with("already", report.already)
        .with("refused", report.refused)
        .with("failed", report.failed)
        .with("lost", report.lost)
        .with("unread", report.unread)
        .with("bytes", report.bytes)
}

fn tell(app: &App, args: &RestoreArgs, run: RunId, report: &RestoreReport, kept: Option<&str>) -> Exit {
    let out = &app.output;
    let name = &args.volume;
    let from: Vec<_> = report.from.iter().map(|from| format!("`{from}`")).collect();
    let from = if from.is_empty() { String::new() } else { format!(" from {}", from.join(", ")) };
    out.line(&format!(
        "{name}: {} ({}) brought back{from}, {} there already, {} in the way of others, {} that did not come back",
        files(report.restored),
        Size(report.bytes),
        grouped(report.already),
        grouped(report.refused),
        grouped(report.failed)
    ));
    if let Some(kept) = kept {
        out.line(&format!("{name}: what was in the way is kept in {kept}"));
    }
    for (path, why) in &report.first {
        let fields = Fields::new().with("volume", name.as_str()).path(path).with("outcome", "error").with("detail", why.as_str());
        out.json("file", &fields);
    }
    for (path, why) in &report.amiss {
        let fields =
            Fields::new().with("volume", name.as_str()).path(path).with("outcome", "restored").with("detail", why.as_str());
        out.json("file", &fields);
    }
    for (path, why) in report.first.iter().chain(&report.amiss).take(10) {
        out.warn(&format!("`{path}`: {why}"));
    }
    if report.refused > 0 && !args.in_place && args.to.is_none() {
        out.note("  `--in-place` replaces what is in the way, and keeps it in .lastcopy/kept");
    }
    if report.lost > 0 {
        out.warn(&format!("{} found lost where they should be", plural(report.lost, "object was", "objects were")));
        out.note("  `lastcopy destination repair DEST` stores again what still exists elsewhere, and so does the next sync");
    }
    let bad = !report.is_whole();
    out.summary("restore", Some(run.get()), if bad { "partial" } else { "success" }, fields(name, report).with("kept", kept));
    if bad { Exit::Attention } else { Exit::Done }
}
