//! Changing the configuration file in place, keeping a person's comments and layout.

use super::diagnostic::{ConfigError, Problem};
use lastcopy_store::DestinationKind;
use std::io;
use std::path::Path;
use toml_edit::{DocumentMut, Item, Table, value};

fn wrong(path: &Path, error: impl std::fmt::Display) -> ConfigError {
    let problem = Problem {
        message: format!("cannot be changed: {error}"),
        span: None,
        fix: "make it writable, or change it by hand".into(),
    };
    ConfigError::new(path, "", vec![problem])
}

fn change(path: &Path, edit: impl FnOnce(&mut DocumentMut) -> io::Result<()>) -> Result<(), ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(path, error)),
    };
    let text = changed(&text, edit).map_err(|error| wrong(path, error))?;
    write(path, &text).map_err(|error| wrong(path, error))
}

fn changed(text: &str, edit: impl FnOnce(&mut DocumentMut) -> io::Result<()>) -> io::Result<String> {
    let mut document: DocumentMut = text.parse().map_err(io::Error::other)?;
    edit(&mut document)?;
    Ok(document.to_string())
}

/// Writes the file whole or not at all, and keeps its mode.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let path = if path.exists() { std::fs::canonicalize(path)? } else { path.to_owned() };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)?;
    let mut temporary = tempfile::NamedTempFile::new_in(parent)?;
    io::Write::write_all(&mut temporary, text.as_bytes())?;
    if let Ok(metadata) = std::fs::metadata(&path) {
        temporary.as_file().set_permissions(metadata.permissions())?;
    }
    temporary.as_file().sync_all()?;
    temporary.persist(&path).map_err(|error| error.error)?;
    std::fs::File::open(parent)?.sync_all()
}

fn section<'a>(document: &'a mut DocumentMut, outer: &str, name: &str) -> io::Result<&'a mut Table> {
    let not_a_table = || io::Error::other(format!("`{outer}` is not a table"));
    let outer_table = document.entry(outer).or_insert_with(|| {
        let mut table = Table::new();
        table.set_implicit(true);
        Item::Table(table)
    });
    let outer_table = outer_table.as_table_mut().ok_or_else(not_a_table)?;
    outer_table.entry(name).or_insert_with(toml_edit::table).as_table_mut().ok_or_else(not_a_table)
}

fn text_of(path: &Path) -> io::Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{} is not UTF-8, as everything in TOML is", path.display()))
    })
}

/// The text of a configuration with a volume more, that is pushed to some destinations.
pub fn with_volume(text: &str, name: &str, path: &Path, sync_to: &[String]) -> io::Result<String> {
    changed(text, |document| put_volume(document, name, path, sync_to))
}

fn put_volume(document: &mut DocumentMut, name: &str, path: &Path, sync_to: &[String]) -> io::Result<()> {
    let volume = section(document, "volumes", name)?;
    volume["path"] = value(text_of(path)?);
    if !sync_to.is_empty() {
        volume["sync_to"] = value(sync_to.iter().collect::<toml_edit::Array>());
    }
    Ok(())
}

/// The text of a configuration with a content-addressed destination more.
pub fn with_destination(text: &str, name: &str, url: &str) -> io::Result<String> {
    changed(text, |document| put_destination(document, name, DestinationKind::Cas, url))
}

fn put_destination(document: &mut DocumentMut, name: &str, kind: DestinationKind, place: &str) -> io::Result<()> {
    let destination = section(document, "destinations", name)?;
    destination["kind"] = value(kind.name());
    let key = if kind == DestinationKind::Mirror { "remote" } else { "url" };
    destination[key] = value(place);
    Ok(())
}

/// Adds a volume that is pushed to some destinations.
pub(crate) fn add_volume(config: &Path, name: &str, path: &Path, sync_to: &[String]) -> Result<(), ConfigError> {
    change(config, |document| put_volume(document, name, path, sync_to))
}

/// Lets a volume be where it was moved to.
pub(crate) fn set_volume_path(config: &Path, name: &str, path: &Path) -> Result<(), ConfigError> {
    change(config, |document| put_volume(document, name, path, &[]))
}

/// Adds a destination of a kind at a place.
pub(crate) fn add_destination(config: &Path, name: &str, kind: DestinationKind, place: &str) -> Result<(), ConfigError> {
    change(config, |document| put_destination(document, name, kind, place))
}

/// For `init`: writes a new file, never over another.
pub(crate) fn write_new(path: &Path, text: &str) -> Result<(), ConfigError> {
    if path.exists() {
        return Err(wrong(path, "it exists already"));
    }
    write(path, text).map_err(|error| wrong(path, error))
}
