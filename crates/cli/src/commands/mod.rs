//! The commands: one module for each group.

mod alarms;
mod check;
mod db;
mod destination;
mod evidence;
mod explain;
mod index;
mod init;
mod offload;
mod paths;
mod policy;
mod quarantine;
mod query;
mod recover;
mod restore;
mod runs;
mod standing;
mod status;
mod sync;
mod verify;
mod volume;

pub(crate) use standing::Driven;

use crate::app::{App, WithoutIndex};
use crate::args::{AlarmsCommand, Cli, Command, DbCommand, DestinationCommand, EvidenceCommand, PolicyCommand, VolumeCommand};
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use clap::CommandFactory;
use std::io::Write;

/// The command's name in summaries.
pub(crate) fn name(command: &Command) -> &'static str {
    match command {
        Command::Demo { .. } => "demo",
        Command::Init(_) => "init",
        Command::Config { .. } => "config",
        Command::Volume { .. } => "volume",
        Command::Destination { .. } => "destination",
        Command::Index { .. } => "index",
        Command::Audit { .. } => "audit",
        Command::Sync { .. } => "sync",
        Command::Verify { .. } => "verify",
        Command::Status { .. } => "status",
        Command::Explain { .. } => "explain",
        Command::Offload(_) => "offload",
        Command::Policy { .. } => "policy",
        Command::Restore(_) => "restore",
        Command::Query(_) => "query",
        Command::Evidence { .. } => "evidence",
        Command::Alarms { .. } => "alarms",
        Command::Runs { .. } => "runs",
        Command::Hooks { .. } => "hooks",
        Command::Db { .. } => "db",
        Command::Recover(_) => "recover",
        Command::Completions { .. } => "completions",
        Command::Man { .. } => "man",
        Command::Reference { .. } => "reference",
    }
}

/// What a command does where there is no index.
pub(crate) fn without_index(command: &Command) -> WithoutIndex {
    match command {
        _ if is_question(command) => WithoutIndex::FindsNothing,
        Command::Volume { command: VolumeCommand::Add { .. } } | Command::Recover(_) => WithoutIndex::Makes,
        _ => WithoutIndex::MakesTheFirst,
    }
}

/// Whether a command only asks, or rehearses: it changes nothing here, and so makes no index.
fn is_question(command: &Command) -> bool {
    match command {
        Command::Config { .. }
        | Command::Status { .. }
        | Command::Explain { .. }
        | Command::Query(_)
        | Command::Hooks { .. }
        | Command::Completions { .. }
        | Command::Man { .. }
        | Command::Reference { .. } => true,
        Command::Volume { command } => matches!(command, VolumeCommand::List),
        Command::Destination { command } => match command {
            DestinationCommand::List | DestinationCommand::Probe { .. } | DestinationCommand::Test { .. } => true,
            DestinationCommand::Adopt { dry_run, .. }
            | DestinationCommand::Reset { dry_run, .. }
            | DestinationCommand::Repair { dry_run, .. }
            | DestinationCommand::Compact { dry_run, .. } => *dry_run,
            DestinationCommand::Init { .. } => false,
        },
        Command::Offload(args) => args.dry_run,
        Command::Policy { command } => matches!(command, PolicyCommand::Show { .. }),
        Command::Evidence { command } => match command {
            EvidenceCommand::Show { .. } | EvidenceCommand::Log => true,
            EvidenceCommand::Rewind { dry_run, .. } => *dry_run,
        },
        Command::Alarms { command } => match command {
            None => true,
            Some(AlarmsCommand::Ack { dry_run, .. }) => *dry_run,
        },
        Command::Runs { command, .. } => command.is_none(),
        Command::Db { command } => !matches!(command, DbCommand::Restore { .. }),
        Command::Demo { .. }
        | Command::Init(_)
        | Command::Index { .. }
        | Command::Audit { .. }
        | Command::Sync { .. }
        | Command::Verify { .. }
        | Command::Restore(_)
        | Command::Recover(_) => false,
    }
}

/// Runs a command. What it returns is the exit status; an error has been shown by nobody yet.
pub(crate) fn run(app: &App, command: Command) -> Result<Exit> {
    match command {
        Command::Demo { keep } => crate::demo::run(app, keep),
        Command::Init(args) => init::run(app, args),
        Command::Config { command } => check::run(app, &command),
        Command::Volume { command } => volume::run(app, command),
        Command::Destination { command } => destination::run(app, command),
        Command::Index { volumes, accept_loss } => index::index(app, &volumes, accept_loss),
        Command::Audit { volumes, deep } => index::audit(app, &volumes, deep),
        Command::Sync { volumes, to } => sync::run(app, &volumes, &to),
        Command::Verify { destinations, quick, budget, volume, all: _ } => {
            verify::run(app, &destinations, quick, budget, volume.as_deref())
        }
        Command::Status { volume } => status::run(app, volume.as_deref()),
        Command::Explain { paths } => explain::run(app, &paths),
        Command::Offload(args) => offload::run(app, &args),
        Command::Policy { command } => policy::run(app, command),
        Command::Restore(args) => restore::run(app, &args),
        Command::Query(args) => query::run(app, &args),
        Command::Evidence { command } => evidence::run(app, command),
        Command::Alarms { command } => alarms::run(app, command),
        Command::Runs { id, limit, command } => runs::run(app, id, limit, command),
        Command::Hooks { limit } => runs::hooks(app, limit),
        Command::Db { command } => db::run(app, command),
        Command::Recover(args) => recover::run(app, &args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut shown(), "lastcopy", &mut text);
            print(app, &text)
        }
        Command::Man { command } => {
            let mut text = Vec::new();
            clap_mangen::Man::new(page_of(&command)?).render(&mut text).map_err(broken)?;
            print(app, &text)
        }
        Command::Reference { which } => print(app, crate::reference::render(which)?.as_bytes()),
    }
}

/// The parser without what is hidden: completions show that, too.
fn shown() -> clap::Command {
    let whole = Cli::command();
    let commands: Vec<_> = whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let arguments: Vec<_> = whole.get_arguments().cloned().collect();
    clap::Command::new("lastcopy")
        .version(env!("CARGO_PKG_VERSION"))
        .propagate_version(true)
        .disable_help_subcommand(true)
        .args(arguments)
        .subcommands(commands)
}

/// What a manual page is about: lastcopy, or one of its commands.
fn page_of(words: &[String]) -> Result<clap::Command> {
    let mut whole = Cli::command();
    whole.build();
    words.iter().try_fold(whole, |command, word| {
        command.find_subcommand(word).cloned().ok_or_else(|| {
            CliError::new(Code::Usage, format!("there is no command `{}`", words.join(" ")))
                .hint("`lastcopy --help` shows what there is")
        })
    })
}

/// Prints a whole text on stdout.
fn print(app: &App, text: &[u8]) -> Result<Exit> {
    if app.output.is_json() {
        app.output.json("text", &Fields::new().with("text", String::from_utf8_lossy(text)));
        return Ok(Exit::Done);
    }
    match std::io::stdout().lock().write_all(text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(broken(error)),
        _ => Ok(Exit::Done),
    }
}

fn broken(error: std::io::Error) -> CliError {
    CliError::new(Code::Io, format!("cannot write: {error}"))
}

/// Does something for each of several volumes or destinations: an error of one is shown, and does not stop the others, unless somebody
/// asked to stop.
pub(crate) fn each<T>(app: &App, items: impl IntoIterator<Item = T>, mut work: impl FnMut(T) -> Result<Exit>) -> Result<Exit> {
    let (mut parts, mut shown) = (Vec::new(), String::new());
    for item in items {
        match work(item) {
            Ok(exit) => parts.push(exit),
            Err(error) => {
                parts.push(error.code.exit());
                // An index that stands in the way of all of them is told of once.
                if !error.about_index || error.message != shown {
                    app.show(&error);
                }
                shown.clone_from(&error.message);
                if app.cancel.is_cancelled() {
                    break;
                }
            }
        }
    }
    Ok(Exit::of_parts(&parts))
}
