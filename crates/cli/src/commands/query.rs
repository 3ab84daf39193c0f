//! `query`: what is known of a content or a path.

use crate::app::App;
use crate::args::QueryArgs;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::{Fields, bold};
use crate::units::Size;
use crate::words::{files, grouped, local_time, rfc3339};
use lastcopy_fs::{Content, ContentHash};
use lastcopy_store::{ContentId, FileRecord, FileStatus, ReceiptLevel, VolumeId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub(crate) fn run(app: &App, args: &QueryArgs) -> Result<Exit> {
    if args.duplicates {
        return duplicates(app);
    }
    if args.missing {
        return with_status(app, FileStatus::Missing);
    }
    if args.offloaded {
        return with_status(app, FileStatus::Offloaded);
    }
    // The parser wants one of the four.
    let what = args.what.clone().unwrap_or_default();
    if let Some(hash) = what.to_str().and_then(|text| text.parse::<ContentHash>().ok()) {
        return by_hash(app, hash);
    }
    by_path(app, Path::new(&what))
}

pub(super) fn volumes(app: &App) -> Result<BTreeMap<VolumeId, String>> {
    Ok(app.store()?.volumes()?.into_iter().map(|volume| (volume.id, volume.name)).collect())
}

fn by_hash(app: &App, hash: ContentHash) -> Result<Exit> {
    let Some((id, content)) = app.store()?.content_by_hash(hash)? else {
        return Err(never_seen(hash));
    };
    let volumes = volumes(app)?;
    app.output.line(&bold(&format!("{hash} ({})", Size(content.size))));
    for file in app.store()?.files_with_content(hash)? {
        tell_file(app, &volumes, &file);
    }
    tell_copies(app, id, content)?;
    Ok(Exit::Done)
}

pub(super) fn never_seen(hash: ContentHash) -> CliError {
    CliError::new(Code::NotFound, format!("the index never saw content {hash}"))
        .hint("`lastcopy query PATH` prints the digests of a path's contents")
}

fn by_path(app: &App, path: &Path) -> Result<Exit> {
    let (name, inside) = app.volume_of(path)?;
    let Some(record) = app.store()?.volume_record(&name)? else {
        return Err(app.not_added(&name));
    };
    let history = app.store()?.file_history(record.id, &inside)?;
    if history.is_empty() && (inside.is_root() || app.store()?.count_below(record.id, &inside)? > 0) {
        return Err(CliError::new(Code::Usage, format!("{} is a directory", path.display()))
            .hint("name a file in it; `lastcopy explain PATH` tells of all of them"));
    }
    if history.is_empty() {
        let hint = never_indexed(path).unwrap_or_else(|| format!("`lastcopy index {name}` records new files"));
        return Err(CliError::new(Code::NotFound, format!("the index never saw `{inside}` in volume `{name}`")).hint(hint));
    }
    let volumes = volumes(app)?;
    let mut told = BTreeSet::new();
    for file in history {
        tell_file(app, &volumes, &file);
        if told.insert(file.content_id) {
            tell_copies(app, file.content_id, file.content)?;
        }
    }
    Ok(Exit::Done)
}

/// Why no index will ever know a path.
pub(super) fn never_indexed(path: &Path) -> Option<String> {
    let kind = path.symlink_metadata().ok()?.file_type();
    let what = match (kind.is_symlink(), kind.is_file() || kind.is_dir()) {
        (true, _) => "a symbolic link",
        (false, false) => "a special file",
        (false, true) => return None,
    };
    Some(format!("{} is {what}: only files are under care, and it stays as it is", path.display()))
}

fn tell_file(app: &App, volumes: &BTreeMap<VolumeId, String>, file: &FileRecord) {
    let volume = volumes.get(&file.volume).map_or("?", String::as_str);
    app.output.line(&format!(
        "{volume}/{}: {} since run {}, {} ({})",
        file.path,
        file.status,
        file.status_run,
        file.content.hash,
        Size(file.content.size)
    ));
    let fields = Fields::new()
        .with("volume", volume)
        .path(&file.path)
        .with("content", file.content.hash.to_string())
        .with("size", file.content.size)
        .with("status", file.status.name())
        .with("present_since", file.present_since.get())
        .with("status_run", file.status_run.get())
        .with("mtime", rfc3339(lastcopy_store::Timestamp(file.seen.mtime_ns.div_euclid(1_000_000))));
    app.output.json("file", &fields);
}

fn tell_copies(app: &App, id: ContentId, content: Content) -> Result<()> {
    let names = app.names()?;
    let receipts = app.store()?.receipts_of(id)?;
    if receipts.is_empty() {
        app.output.line("    at no destination");
    }
    for receipt in receipts {
        let at = names.get(receipt.destination).unwrap_or("?");
        let state = match (receipt.lost_at, receipt.level) {
            (Some(_), _) => "lost",
            (None, ReceiptLevel::Verified) => "verified",
            (None, ReceiptLevel::Stored) => "unproven",
        };
        let checked = receipt.verified_at.map_or_else(|| "never checked".to_owned(), |at| format!("checked {}", local_time(at)));
        app.output.line(&format!("    at {at}: {state} by {}, {checked}", receipt.method));
        let fields = Fields::new()
            .with("content", content.hash.to_string())
            .with("destination", at)
            .with("state", state)
            .with("level", receipt.level.name())
            .with("method", receipt.method.name())
            .with("verified_at", receipt.verified_at.map(rfc3339))
            .with("checked_at", rfc3339(receipt.checked_at))
            .with("lost_at", receipt.lost_at.map(rfc3339));
        app.output.json("copy", &fields);
    }
    Ok(())
}

fn duplicates(app: &App) -> Result<Exit> {
    let volumes = volumes(app)?;
    let (mut contents, mut wasted) = (0u64, 0u64);
    for duplicate in app.store()?.duplicates()? {
        contents += 1;
        wasted += duplicate.content.size * (duplicate.files - 1);
        app.output.line(&format!("{} ({}), {}:", duplicate.content.hash, Size(duplicate.content.size), files(duplicate.files)));
        let holders = app.store()?.files_with_content(duplicate.content.hash)?;
        for file in holders.iter().filter(|file| file.status == FileStatus::Present) {
            if app.output.is_json() {
                tell_file(app, &volumes, file);
            } else {
                app.output.line(&format!("    {}/{}", volumes.get(&file.volume).map_or("?", String::as_str), file.path));
            }
        }
    }
    app.output.line(&format!("{} held more than once; {} in the further copies", grouped(contents), Size(wasted)));
    let fields = Fields::new().with("contents", contents).with("bytes", wasted);
    app.output.summary("query", None, "success", fields);
    Ok(Exit::Done)
}

fn with_status(app: &App, status: FileStatus) -> Result<Exit> {
    let volumes = volumes(app)?;
    let found = app.store()?.files_with_status(status)?;
    for file in &found {
        if app.output.is_json() {
            tell_file(app, &volumes, file);
        } else {
            let volume = volumes.get(&file.volume).map_or("?", String::as_str);
            app.output.line(&format!("{volume}/{}  {}", file.path, Size(file.content.size)));
        }
    }
    let bytes: u64 = found.iter().map(|file| file.content.size).sum();
    app.output.line(&format!("{} {status} ({})", files(found.len() as u64), Size(bytes)));
    app.output.summary("query", None, "success", Fields::new().with("files", found.len()).with("bytes", bytes));
    Ok(Exit::Done)
}
