//! What is wrong with a configuration, with file, line, column, a caret and the fix.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What is wrong.
    pub(crate) message: String,
    /// Where, in bytes of the file; nowhere if the whole file is meant.
    pub(crate) span: Option<Range<usize>>,
    /// What to do.
    pub(crate) fix: String,
}

impl Problem {
    pub(crate) fn at(span: Range<usize>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { message: message.into(), span: Some(span), fix: fix.into() }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) source: String,
    /// Everything that is wrong.
    pub(crate) problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn new(path: &Path, source: &str, problems: Vec<Problem>) -> Self {
        Self { path: path.to_owned(), source: source.to_owned(), problems }
    }

    /// Line and column of a byte, counted from 1; columns in characters.
    fn place(&self, offset: usize) -> (usize, usize) {
        let before = &self.source[..floor_boundary(&self.source, offset)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }

    /// One line: for JSON, and where there is no terminal to draw on.
    pub fn message(&self) -> String {
        let each = self.problems.iter().map(|problem| match &problem.span {
            Some(span) => {
                let (line, column) = self.place(span.start);
                format!("{}:{line}:{column}: {}", self.path.display(), problem.message)
            }
            None => format!("{}: {}", self.path.display(), problem.message),
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// What to do about it, in one line.
    pub fn fix(&self) -> String {
        let mut fixes: Vec<_> = self.problems.iter().map(|problem| problem.fix.as_str()).collect();
        fixes.dedup();
        fixes.join("; ")
    }

    /// With carets, for people.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let path = self.path.display().to_string();
        let each = self.problems.iter().map(|problem| {
            let title = Level::ERROR.primary_title(&problem.message);
            let group = match &problem.span {
                Some(span) => {
                    let end = floor_boundary(&self.source, span.end.min(self.source.len()));
                    let start = floor_boundary(&self.source, span.start).min(end);
                    let annotation = AnnotationKind::Primary.span(first_line(&self.source, start..end));
                    title.element(Snippet::source(&self.source).path(&path).annotation(annotation))
                }
                None => title.element(Level::NOTE.message(format!("in {path}"))),
            };
            renderer.render(&[group, Group::with_title(Level::HELP.secondary_title(&problem.fix))])
        });
        each.collect::<Vec<_>>().join("\n\n")
    }
}

/// The caret marks the first line of what is wrong: a whole table underlined helps nobody.
fn first_line(source: &str, span: Range<usize>) -> Range<usize> {
    let end = source[span.clone()].find('\n').map_or(span.end, |offset| span.start + offset);
    span.start..end
}

fn floor_boundary(source: &str, offset: usize) -> usize {
    (0..=offset.min(source.len())).rev().find(|offset| source.is_char_boundary(*offset)).unwrap_or(0)
}
