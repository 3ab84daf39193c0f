//! `db check`, `backup`, `restore`, `schema`.

use crate::app::App;
use crate::args::DbCommand;
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use lastcopy_store::{StoreError, check_copy, restore_index};
use std::path::Path;

pub(crate) fn run(app: &App, command: DbCommand) -> Result<Exit> {
    match command {
        DbCommand::Check => check(app),
        DbCommand::Backup { file } => backup(app, &file),
        DbCommand::Restore { file, dry_run } => restore(app, &file, dry_run),
        DbCommand::Schema => {
            app.output.line(&app.store()?.schema()?);
            app.output.json("schema", &Fields::new().with("sql", app.store()?.schema()?));
            Ok(Exit::Done)
        }
    }
}

fn check(app: &App) -> Result<Exit> {
    // Of an index that is not there, nobody can say that nothing is wrong.
    app.require_index()?;
    let wrong = app.store()?.check()?;
    for line in &wrong {
        app.output.line(line);
        app.output.json("problem", &Fields::new().with("detail", line.as_str()));
    }
    let path = app.store()?.path().display().to_string();
    if wrong.is_empty() {
        app.output.line(&format!("{path}: nothing is wrong"));
        app.output.summary("db", None, "success", Fields::new().with("problems", 0));
        return Ok(Exit::Done);
    }
    app.output.summary("db", None, "failed", Fields::new().with("problems", wrong.len()));
    Err(CliError::new(Code::Corrupt, format!("{path}: {} things are wrong", wrong.len())).hint(
        "`lastcopy db restore FILE` puts a backup in its place; `lastcopy recover --from URL` rebuilds it from a destination",
    ))
}

fn backup(app: &App, file: &Path) -> Result<Exit> {
    let file = std::path::absolute(file).map_err(|error| CliError::new(Code::Usage, format!("{}: {error}", file.display())))?;
    if file.exists() {
        return Err(CliError::new(Code::Usage, format!("{} exists already", file.display())).hint("name a new file"));
    }
    app.require_index()?;
    app.store()?.backup(&file)?;
    app.output.line(&format!("wrote {}", file.display()));
    app.output.summary("db", None, "success", Fields::new().with("file", file.display().to_string()));
    Ok(Exit::Done)
}

/// Why a copy cannot take the index's place. It is the copy that is named, not the index.
fn unfit(file: &Path, error: StoreError) -> CliError {
    let error = CliError { about_index: false, ..CliError::from(error) }.about(&file.display().to_string());
    error.hint("name a file that `lastcopy db backup` wrote; nothing was changed")
}

fn restore(app: &App, file: &Path, dry_run: bool) -> Result<Exit> {
    let options = app.store_options()?;
    check_copy(file).map_err(|error| unfit(file, error))?;
    if dry_run {
        app.output.line(&format!("{} is a whole index and would take the place of {}", file.display(), options.path.display()));
        app.output.summary("db", None, "success", Fields::new().with("dry_run", true));
        return Ok(Exit::Done);
    }
    app.confirm(&format!("Put {} in the place of the index at {}?", file.display(), options.path.display()))?;
    let (_store, news, aside) = app.waiting(|| Ok(restore_index(options.clone(), file)?))?;
    app.output.line(&format!("the index is {} now; a new epoch began: {}", file.display(), news.reason));
    if let Some(aside) = &aside {
        app.output.line(&format!("  the index that was there is {}", aside.display()));
    }
    app.output.note(
        "  next: lastcopy index, then lastcopy sync, which proves again what is here, and lastcopy verify: what is offloaded",
    );
    app.output.note(
        "  what was pushed and offloaded after that copy was made, only the destinations know: `lastcopy recover` without an index",
    );
    let fields = Fields::new().with("aside", aside.map(|aside| aside.display().to_string())).with("reason", news.reason);
    app.output.summary("db", None, "success", fields);
    Ok(Exit::Done)
}
