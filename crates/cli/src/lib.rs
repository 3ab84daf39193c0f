//! lastcopy: free a disk without ever losing a file.
//!
//! This crate stitches the libraries together: it reads the configuration and the command line, opens what a command needs, and prints
//! what it found. It alone sees the terminal, and it decides nothing about anybody's files.
//!
//! It is a library for one reason: what it reads of a person's hand, and what it shows of others' names, is handed to the reliability
//! harness as it is. The program is [`main`].

mod app;
mod args;
mod commands;
mod config;
mod demo;
mod elsewhere;
mod error;
mod excluded;
mod hook;
mod needed;
mod output;
mod progress;
mod reference;
mod units;
mod words;

pub use crate::config::{Config, ConfigError, parse as parse_config, with_destination, with_volume};
pub use crate::output::{Fields, printable};
pub use crate::units::{Age, Size, UnitError};

use crate::app::App;
use crate::args::{Cli, Color};
use crate::error::{CliError, Code, Exit};
use crate::output::{Format, Output};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::ffi::OsString;
use std::process::ExitCode;

/// The program, with the arguments of this process.
pub fn main() -> ExitCode {
    raise_file_limit();
    let exit = match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(error) => usage(&error),
    };
    ExitCode::from(exit.code())
}

fn run(cli: Cli) -> Exit {
    match cli.global.color {
        Color::Auto => {}
        Color::Always => anstream::ColorChoice::Always.write_global(),
        Color::Never => anstream::ColorChoice::Never.write_global(),
    }
    let output = Output::new(if cli.global.json { Format::Json } else { Format::Human });
    let name = commands::name(&cli.command);
    let app = match App::new(cli.global, output) {
        Ok(app) => app.without_index(commands::without_index(&cli.command)),
        Err(error) => {
            let output = Output::new(Format::Human);
            output.error(&error);
            return error.code.exit();
        }
    };
    let exit = match commands::run(&app, cli.command) {
        Ok(exit) => exit,
        Err(error) => {
            app.show(&error);
            if let Some(run) = error.run {
                app.output.summary(name, Some(run.get()), error.status(), output::Fields::new());
            }
            error.code.exit()
        }
    };
    app.output.finish(name, exit);
    exit
}

/// A command line that is none, or one that only asks for help.
fn usage(error: &clap::Error) -> Exit {
    let json = std::env::args_os().any(|arg| arg == "--json");
    if !error.use_stderr() {
        // Help or version; a closed pipe is no crash.
        drop(error.print());
        return Exit::Done;
    }
    if json {
        let output = Output::new(Format::Json);
        let command = first_command(std::env::args_os().skip(1));
        output.error(&unparsable(error, &command));
        output.finish(&command, Exit::Usage);
    } else {
        drop(error.print());
    }
    Exit::Usage
}

/// The first word that is a command, of a line that need not be one.
fn first_command(words: impl Iterator<Item = OsString>) -> String {
    let known = Cli::command();
    let mut names = words.filter_map(|word| known.find_subcommand(word).map(|command| command.get_name().to_owned()));
    names.next().unwrap_or_default()
}

/// What the parser says to people in several lines, in one: what is wrong, with all that is missing; what might be meant as the hint.
fn unparsable(error: &clap::Error, command: &str) -> CliError {
    let help = ["`lastcopy", command, "--help` shows what there is"].map(str::trim).into_iter().filter(|word| !word.is_empty());
    let help = help.collect::<Vec<_>>().join(" ");
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        // It renders the whole help instead of an error.
        let what = ["`lastcopy", command].join(" ");
        return CliError::new(Code::Usage, format!("{}` does nothing by itself", what.trim_end())).hint(help);
    }
    let text = error.render().to_string();
    let said =
        text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"));
    let (tips, said): (Vec<_>, Vec<_>) = said.filter(|line| !line.is_empty()).partition(|line| line.starts_with("tip: "));
    let (first, rest) = said.split_first().map_or(("", &[][..]), |(first, rest)| (*first, rest));
    let message = [first.trim_start_matches("error: "), &rest.join(", ")].join(" ");
    let tips = tips.iter().map(|tip| format!("{}; ", tip.trim_start_matches("tip: "))).collect::<String>();
    CliError::new(Code::Usage, message.trim_end()).hint(format!("{tips}{help}"))
}

/// A batch of an offload holds some hundred files open; the usual soft limit is 1024.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(65_536, |maximum| maximum.min(65_536));
    if limit.current.is_none_or(|current| current < wanted) {
        // Without it, large batches fail with a clear error.
        _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
}
