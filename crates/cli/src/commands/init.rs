//! `init`: a commented configuration.

use crate::app::App;
use crate::args::Init;
use crate::config::{Answers, locate, parse, render_template, write_new};
use crate::error::{CliError, Code, Exit, Result};
use crate::output::Fields;
use std::io::IsTerminal;
use std::path::Path;

pub(crate) fn run(app: &App, args: Init) -> Result<Exit> {
    let path = locate(app.global.config.as_deref())?;
    if path.exists() {
        return Err(CliError::new(Code::Config, format!("{} exists already", path.display()))
            .hint("change it by hand, or name another with --config"));
    }
    let answers = Answers {
        node: match args.node {
            Some(node) => node,
            None => ask("This machine's name", Some(host()))?,
        },
        volume: (
            answer(args.volume, "--volume", "The name of the first tree to care for", Some("files"))?,
            absolute(&answer(args.path.map(|path| path.display().to_string()), "--path", "Its directory", None)?)?,
        ),
        destination: (
            answer(args.destination, "--destination", "The name of the first place for copies", Some("usb"))?,
            url(&answer(args.url, "--url", "Its directory, or a file:// URL", None)?)?,
        ),
    };
    let text = render_template(&answers);
    parse(&path, &text)?;
    write_new(&path, &text)?;
    app.output.line(&format!("wrote {}", path.display()));
    app.output.note(&format!("  next: lastcopy volume add {} {}", answers.volume.0, answers.volume.1));
    app.output.note(&format!("        lastcopy destination init {}", answers.destination.0));
    app.output.note("        lastcopy index && lastcopy sync && lastcopy status");
    app.output.summary("init", None, "success", Fields::new().with("file", path.display().to_string()));
    Ok(Exit::Done)
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn answer(given: Option<String>, option: &str, question: &str, default: Option<&str>) -> Result<String> {
    match given {
        Some(given) => Ok(given),
        None if std::io::stdin().is_terminal() => ask(question, default.map(str::to_owned)),
        None => Err(CliError::new(Code::Usage, format!("{option} is missing"))
            .hint("without a terminal to ask on, init takes everything from options")),
    }
}

fn ask(question: &str, default: Option<String>) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Ok(default.unwrap_or_default());
    }
    let mut input = dialoguer::Input::<String>::new().with_prompt(question);
    if let Some(default) = default {
        input = input.default(default);
    }
    input.interact_text().map_err(|error| CliError::new(Code::Io, format!("cannot ask: {error}")))
}

fn absolute(path: &str) -> Result<String> {
    if path.starts_with("~/") || path == "~" {
        return Ok(path.to_owned());
    }
    let absolute = std::path::absolute(Path::new(path)).map_err(|error| CliError::new(Code::Usage, format!("{path}: {error}")))?;
    Ok(absolute.display().to_string())
}

fn url(text: &str) -> Result<String> {
    if text.contains("://") { Ok(text.to_owned()) } else { Ok(format!("file://{}", absolute(text)?)) }
}
