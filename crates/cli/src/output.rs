//! Where results go: lines for people or one JSON object per line, on stdout; everything else on stderr. A closed pipe is no crash.

use crate::error::{CliError, Exit};
use crate::progress::Bar;
use anstyle::{AnsiColor, Style};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use lastcopy_fs::RelPath;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Human,
    Json,
}

/// Version of the JSON lines; documented in docs/json.md. Fields may be added within a version, never changed or removed.
pub(crate) const JSON_SCHEMA: u32 = 1;

/// Writes results, and remembers whether anybody still reads.
pub(crate) struct Output {
    format: Format,
    /// The bar that is on the terminal meanwhile.
    bar: Option<Arc<Bar>>,
    /// Summaries wait for the end, because each tells the exit status of the whole command.
    summaries: Mutex<Vec<Map<String, Value>>>,
}

/// Fields of a JSON line, in order of writing.
#[derive(Debug, Clone, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_owned(), value.into());
        self
    }

    /// A path: as text, and where it is not UTF-8, its bytes beside it.
    pub fn path(self, path: &RelPath) -> Self {
        self.named_path("path", path.as_bytes())
    }

    pub(crate) fn named_path(self, key: &str, bytes: &[u8]) -> Self {
        let fields = self.with(key, String::from_utf8_lossy(bytes));
        match std::str::from_utf8(bytes) {
            Ok(_) => fields,
            Err(_) => fields.with(&format!("{key}_bytes"), BASE64.encode(bytes)),
        }
    }

    /// As text, for the audit trail.
    pub fn to_json(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }
}

impl From<Fields> for Value {
    fn from(fields: Fields) -> Self {
        Self::Object(fields.0)
    }
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, bar: None, summaries: Mutex::default() }
    }

    /// Beside a bar, which no line runs into.
    pub(crate) fn beside(self, bar: Option<Arc<Bar>>) -> Self {
        Self { bar, ..self }
    }

    /// Takes the bar away: somebody else writes to the terminal now.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.clear();
        }
    }

    /// Writes a result. Where somebody else than the terminal takes those, the bar may stay where it is.
    fn write_out(&self, work: impl FnOnce()) {
        if io::stdout().is_terminal() { self.write(work) } else { work() }
    }

    fn write(&self, work: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.aside(work),
            None => work(),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A result line of some type.
    pub(crate) fn json(&self, kind: &str, fields: &Fields) {
        if self.is_json() {
            let mut line = Map::new();
            line.insert("type".into(), kind.into());
            line.extend(fields.0.clone());
            self.write_out(|| write_json(line));
        }
    }

    /// A line for people.
    pub(crate) fn line(&self, text: &str) {
        if !self.is_json() {
            self.write_out(|| write_line(&printable(text)));
        }
    }

    /// A line for people that is not a result.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_json() {
            self.write(|| write_stderr(&printable(text)));
        }
    }

    /// A warning; also beside JSON, because it is not a result.
    pub(crate) fn warn(&self, text: &str) {
        let style = Style::new().fg_color(Some(AnsiColor::Yellow.into())).bold();
        self.write(|| write_stderr(&format!("{style}warning{style:#}: {}", printable(text))));
    }

    /// The summary of one part of the command. Kept until its end.
    pub(crate) fn summary(&self, command: &str, run: Option<i64>, status: &str, fields: Fields) {
        let mut line = Map::new();
        line.insert("type".into(), "summary".into());
        line.insert("schema".into(), JSON_SCHEMA.into());
        line.insert("command".into(), command.into());
        line.insert("run".into(), run.into());
        line.insert("status".into(), status.into());
        line.insert("exit".into(), Value::Null);
        line.extend(fields.0);
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Takes over the summaries of another output.
    pub(crate) fn take_summaries(&self, other: &Self) {
        let summaries = std::mem::take(&mut *other.summaries.lock().unwrap_or_else(PoisonError::into_inner));
        self.summaries.lock().unwrap_or_else(PoisonError::into_inner).extend(summaries);
    }

    /// An error, for people with a hint, or as a JSON line.
    pub(crate) fn error(&self, error: &CliError) {
        if self.is_json() {
            let mut fields = Fields::new().with("code", error.code.name()).with("message", error.message.as_str());
            if let Some(hint) = &error.hint {
                fields = fields.with("hint", hint.as_str());
            }
            self.json("error", &fields);
            return;
        }
        if let Some(drawing) = &error.drawing {
            self.write(|| write_stderr(&drawing.render(true)));
            return;
        }
        let style = Style::new().fg_color(Some(AnsiColor::Red.into())).bold();
        self.write(|| {
            write_stderr(&format!("{style}error{style:#}: {}", printable(&error.message)));
            if let Some(hint) = &error.hint {
                write_stderr(&format!("  {}", printable(hint)));
            }
        });
    }

    /// The end: every summary, with the exit status of the whole command. There is always one.
    pub(crate) fn finish(&self, command: &str, exit: Exit) {
        let mut summaries = std::mem::take(&mut *self.summaries.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.is_json() {
            return;
        }
        if summaries.is_empty() {
            let status = match exit {
                Exit::Done => "success",
                Exit::Attention => "partial",
                Exit::Refused => "refused",
                Exit::Usage | Exit::Failed => "failed",
            };
            self.summary(command, None, status, Fields::new());
            summaries = std::mem::take(&mut *self.summaries.lock().unwrap_or_else(PoisonError::into_inner));
        }
        for mut line in summaries {
            line.insert("exit".into(), exit.code().into());
            self.write_out(|| write_json(line));
        }
    }
}

/// Not by way of the stream that takes colours away: it takes control characters for some, and paths may hold any.
fn write_json(line: Map<String, Value>) {
    written(writeln!(io::stdout().lock(), "{}", Value::Object(line)));
}

/// What is safe to show: a destination, a marker or a file's name may hold characters that a terminal obeys. Those are escaped, but
/// for line breaks, tabs, and the styles that this module itself sets.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let style = STYLES.iter().find_map(|style| rest.strip_prefix(style).map(|after| (*style, after)));
        if let Some((style, after)) = style {
            shown.push_str(style);
            rest = after;
            continue;
        }
        if is_obeyed(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
        rest = &rest[character.len_utf8()..];
    }
    shown.into()
}

/// Bold, the colours of [`coloured`], and the end of both.
const STYLES: [&str; 5] = ["\x1b[0m", "\x1b[1m", "\x1b[31m", "\x1b[32m", "\x1b[33m"];

fn is_obeyed(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

fn write_line(text: &str) {
    written(writeln!(anstream::stdout().lock(), "{text}"));
}

fn written(answer: io::Result<()>) {
    // A closed pipe: whoever read has read enough. The work goes on; its result is in the exit status.
    if let Err(error) = answer
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        write_stderr(&format!("cannot write results: {error}"));
    }
}

fn write_stderr(text: &str) {
    // There is nowhere to report that to.
    drop(writeln!(anstream::stderr().lock(), "{text}"));
}

/// For people: bold.
pub(crate) fn bold(text: &str) -> String {
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}

/// For people: coloured.
pub(crate) fn coloured(text: &str, colour: AnsiColor) -> String {
    let style = Style::new().fg_color(Some(colour.into()));
    format!("{style}{text}{style:#}")
}
