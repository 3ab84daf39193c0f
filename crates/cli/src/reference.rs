//! Generated references: what the documentation says of the command line, the configuration, the exit codes, the gates and the schema is
//! what the program does.

use crate::app::temporary_dir;
use crate::args::Cli;
use crate::config::reference as configuration;
use crate::error::{CliError, Code, Exit};
use clap::{Arg, Command, CommandFactory, ValueEnum};
use lastcopy_store::{Store, StoreOptions, system_clock};
use std::fmt::Write;

/// Which reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Every command and option.
    Cli,
    /// Every key of the configuration.
    Configuration,
    /// Exit codes and error codes.
    ExitCodes,
    /// Both gate tables.
    Gates,
    /// The schema of an index.
    Schema,
}

/// The text of a reference: SQL for the schema, Markdown for the others.
pub(crate) fn render(which: Which) -> Result<String, CliError> {
    Ok(match which {
        Which::Cli => command_line(),
        Which::Configuration => configuration(),
        Which::ExitCodes => exit_codes(),
        Which::Gates => gates(),
        Which::Schema => schema()?,
    })
}

/// Writing to a string cannot fail.
macro_rules! put {
    ($text:expr, $($part:tt)*) => { _ = writeln!($text, $($part)*) };
}

fn command_line() -> String {
    let mut text = String::from(
        "# Command line reference\n\nGenerated from the program by `cargo xtask references`; do not edit.\n\n\
         Results go to stdout, everything else to stderr. `--json` prints one JSON object per line: see [json.md](json.md).\n\
         Exit statuses are in [exit-codes.md](exit-codes.md).\n",
    );
    let mut root = Cli::command().term_width(0);
    root.build();
    put!(text, "\n## Global options\n");
    root.get_arguments().filter(|arg| arg.is_global_set()).for_each(|arg| put!(text, "{}", argument(arg)));
    root.get_subcommands().for_each(|command| describe(&mut text, command, "lastcopy"));
    text
}

fn describe(text: &mut String, command: &Command, parent: &str) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default();
    if command.get_subcommands().next().is_none() || command.get_arguments().any(|arg| arg.is_positional()) {
        put!(text, "\n## `{name}`\n\n{about}\n");
        let own: Vec<_> = command
            .get_arguments()
            .filter(|arg| !arg.is_global_set() && !matches!(arg.get_id().as_str(), "help" | "version"))
            .collect();
        let usage: Vec<_> = own.iter().map(|arg| usage(arg)).collect();
        put!(text, "```text\n{}\n```\n", std::iter::once(name.clone()).chain(usage).collect::<Vec<_>>().join(" "));
        own.iter().for_each(|arg| put!(text, "{}", argument(arg)));
    }
    command.get_subcommands().for_each(|inner| describe(text, inner, &name));
}

fn value_name(arg: &Arg) -> String {
    let names = arg.get_value_names().map(|names| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
    names.unwrap_or_else(|| arg.get_id().as_str().to_uppercase())
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn usage(arg: &Arg) -> String {
    let many = arg.get_num_args().is_some_and(|range| range.max_values() > 1);
    let text = match arg.get_long() {
        Some(long) if takes_value(arg) => format!("--{long} {}", value_name(arg)),
        Some(long) => format!("--{long}"),
        None => format!("{}{}", value_name(arg), if many { "…" } else { "" }),
    };
    if arg.is_required_set() { text } else { format!("[{text}]") }
}

fn argument(arg: &Arg) -> String {
    let mut head = match arg.get_long() {
        Some(long) if takes_value(arg) => format!("`--{long} {}`", value_name(arg)),
        Some(long) => format!("`--{long}`"),
        None => format!("`{}`", value_name(arg)),
    };
    if let Some(short) = arg.get_short() {
        head = format!("`-{short}`, {head}");
    }
    let help = arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let possible: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    let possible = if takes_value(arg) && !possible.is_empty() { format!(" ({})", possible.join(", ")) } else { String::new() };
    let default: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let default =
        if takes_value(arg) && !default.is_empty() { format!(" [default: {}]", default.join(" ")) } else { String::new() };
    format!("- {head}: {}{possible}{default}", help.replace('\n', " "))
}

fn exit_codes() -> String {
    let mut text = String::from(
        "# Exit codes and error codes\n\nGenerated from the program by `cargo xtask references`; do not edit.\n\n\
         | exit status | means |\n|---|---|\n",
    );
    for (exit, meaning) in [
        (Exit::Done, "Done, nothing needs attention."),
        (
            Exit::Attention,
            "Done, but something needs attention: files blocked by the gate, drift, a partial push, lost objects found, `status` not green.",
        ),
        (Exit::Usage, "The command line or the configuration is wrong."),
        (
            Exit::Refused,
            "Refused by a guard, nothing was changed: a contradicting run is in flight, path or marker disagree, destination not initialised, identity changed, rolled back, policy weakened.",
        ),
        (Exit::Failed, "Failed: I/O, a destination, a child program, a corrupt index, interrupted."),
    ] {
        put!(text, "| {} | {meaning} |", exit.code());
    }
    put!(
        text,
        "\nOver several volumes or destinations: 4 if any failed, else 3 if all were refused, else 1 if any was or needs attention. 2 if each of them was that.\n"
    );
    put!(text, "| error code | exit status | means |\n|---|---|---|");
    for code in Code::ALL {
        put!(text, "| `{}` | {} | {} |", code.name(), code.exit().code(), meaning(code));
    }
    text
}

fn meaning(code: Code) -> &'static str {
    match code {
        Code::Usage => "The command line asks for something that there is not.",
        Code::Config => "The configuration cannot be used; the message says where and why.",
        Code::Busy => "A contradicting run is going on, or the index is locked.",
        Code::PathMismatch => "Configuration and index name different trees for a volume.",
        Code::MarkerMissing => "A volume's tree, or its marker, is not there.",
        Code::MarkerMismatch => "The marker in a tree is that of another volume or node.",
        Code::NotInitialised => "No repository was ever made there, or it is gone.",
        Code::AlreadyInitialised => "A repository is there already, or was made before.",
        Code::IdentityChanged => "Another repository answers, or this index is an old or a second copy.",
        Code::RolledBack => "A destination went back to an earlier state.",
        Code::Unreachable => "A destination cannot be asked.",
        Code::Auth => "A destination refuses access.",
        Code::ToolMissing => "The program that serves a destination, rclone or kopia, is not installed or does not start.",
        Code::ToolTooOld => "The program that serves a destination is older than what is needed.",
        Code::Unsupported => "That cannot be done there, or not by this version.",
        Code::NoPolicy => "The volume has no offload policy.",
        Code::PolicyWeaker => "The configured offload policy is weaker than the accepted one.",
        Code::NotFound => "A named volume, destination, file, content, run or alarm is not known.",
        Code::Corrupt => "The index, or something of ours at a destination, is damaged.",
        Code::Io => "Reading or writing failed.",
        Code::Interrupted => "Stopped on request, or the run was closed by somebody else.",
        Code::Internal => "Something that should not happen.",
        Code::ImplausibleLoss => "A volume is suddenly empty, or has lost most of its files.",
        Code::Declined => "A question was answered with no.",
        Code::Refused => "A guard refused; the message says which.",
    }
}

/// The tables with what their letters mean.
fn gates() -> String {
    format!(
        "# The two gates\n\nGenerated from the code that decides by `cargo xtask references`; do not edit.\n\n\
         ## The run gate: which runs may not go on at the same time\n\n\
         A run that is to begin (row) is refused while another one (column) goes on\n\n\
         - `V`: on the same volume,\n\
         - `D`: on the same destination,\n\
         - `P`: on the same volume and destination,\n\
         - `R`: where the offload's policy requires the other's destination,\n\
         - `·`: never.\n\n\
         {}\n\
         ## The offload gate: when a local copy may go\n\n\
         What each lock of a destination wants; `explain` shows them as open (`✓`), closed (`✗`), or with nothing to judge (`·`).\n\n\
         | lock | open while | what opens it |\n|---|---|---|\n\
         | incarnation | who answered last at the destination is who was accepted there | bring it back; `destination init` or `adopt` |\n\
         | alarm | no alarm stands on the destination, or on the content there | `alarms` |\n\
         | coverage | a push of this volume there was complete | `sync` |\n\
         | freshness | the last complete push there is no older than the file | `sync` |\n\
         | receipt | the destination said that it holds the content, and was not found to have lost it | `sync` |\n\
         | method | that was proven, by a method that the policy accepts | `verify` |\n\
         | age | the last proof is no older than `max_evidence_age`, nor from a time to come | `verify` |\n\n{}",
        lastcopy_store::run_gate_table(),
        lastcopy_offload::offload_gate_table()
    )
}

/// The schema of an index that was just made: all migrations, one after the other.
fn schema() -> Result<String, CliError> {
    let dir = temporary_dir()?;
    let options =
        StoreOptions { path: dir.path().join("index.db"), node_name: "reference".into(), clock: system_clock(), create: true };
    let (store, _) = Store::open(options)?;
    Ok(format!(
        "-- The schema of the index, as `lastcopy db schema` prints it.\n\
         -- Generated from the code by `cargo xtask references`; do not edit.\n\n{}\n",
        store.schema()?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_says_what_the_program_does() {
        for (which, file) in [
            (Which::Cli, "cli.md"),
            (Which::Configuration, "configuration.md"),
            (Which::ExitCodes, "exit-codes.md"),
            (Which::Gates, "gates.md"),
            (Which::Schema, "schema.sql"),
        ] {
            let path = format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"));
            let found = std::fs::read_to_string(&path).expect(&path);
            assert!(found == render(which).expect(file), "docs/{file} is out of date: run `cargo xtask references`");
        }
    }
}
