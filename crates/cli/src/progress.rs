//! Progress on a terminal, or as plain lines, or not at all; never on stdout.

use crate::units::Size;
use crate::words::grouped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use lastcopy_fs::Progress;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Work that ends before this shows nothing.
const QUIET: Duration = Duration::from_secs(1);
/// Time between two plain lines.
const EVERY: Duration = Duration::from_secs(10);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Show {
    /// A bar on a terminal, plain lines elsewhere.
    Auto,
    /// Plain lines.
    Plain,
    /// Nothing.
    Never,
}

/// Makes the listener that the options ask for, and the bar that it draws, if it does.
pub(crate) fn listener(show: Show) -> (Arc<dyn Progress>, Option<Arc<Bar>>) {
    match show {
        Show::Never => (Arc::new(lastcopy_fs::NoProgress), None),
        Show::Auto if std::io::stderr().is_terminal() => {
            let bar = Arc::new(Bar::new());
            (bar.clone(), Some(bar))
        }
        Show::Auto | Show::Plain => (Arc::new(Plain::new()), None),
    }
}

/// A bar that appears after a second.
pub(crate) struct Bar {
    bar: Mutex<ProgressBar>,
    files: AtomicU64,
    /// Whether the bar's length is in bytes, not files.
    by_bytes: AtomicBool,
}

impl Bar {
    fn new() -> Self {
        Self { bar: Mutex::new(ProgressBar::hidden()), files: AtomicU64::new(0), by_bytes: AtomicBool::new(false) }
    }

    fn bar(&self) -> ProgressBar {
        self.bar.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does something while no bar is on the terminal, like writing a line there.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        self.bar().suspend(work)
    }

    /// Takes the bar away until the next phase.
    pub(crate) fn clear(&self) {
        self.bar().finish_and_clear();
    }
}

/// What cannot be written into a bar is not in it.
fn put(text: &mut dyn fmt::Write, shown: &dyn fmt::Display) {
    _ = write!(text, "{shown}");
}

/// Sizes as they are printed everywhere else.
fn style(template: &str) -> ProgressStyle {
    // The templates are constants that a test draws.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("done", |state: &ProgressState, text: &mut dyn fmt::Write| put(text, &Size(state.pos())))
        .with_key("all", |state: &ProgressState, text: &mut dyn fmt::Write| put(text, &Size(state.len().unwrap_or_default())))
        .with_key("rate", |state: &ProgressState, text: &mut dyn fmt::Write| {
            put(text, &format_args!("{}/s", Size(state.per_sec() as u64)));
        })
}

impl Progress for Bar {
    fn phase(&self, name: &'static str, files: u64, bytes: u64) {
        self.files.store(0, Ordering::Relaxed);
        self.by_bytes.store(bytes > 0, Ordering::Relaxed);
        let bar = ProgressBar::with_draw_target(Some(if bytes > 0 { bytes } else { files }), ProgressDrawTarget::hidden());
        let template = if bytes > 0 {
            "{prefix} {bar:24} {done}/{all}  {msg}  {rate}  {eta}"
        } else if files > 0 {
            "{prefix} {bar:24} {human_pos}/{human_len} files  {per_sec}  {eta}"
        } else {
            "{prefix} {spinner} {human_pos} files"
        };
        bar.set_style(style(template));
        bar.set_prefix(name);
        let shown = bar.clone();
        std::thread::spawn(move || {
            std::thread::sleep(QUIET);
            if !shown.is_finished() {
                shown.set_draw_target(ProgressDrawTarget::stderr_with_hz(8));
                shown.enable_steady_tick(Duration::from_millis(250));
            }
        });
        let old = std::mem::replace(&mut *self.bar.lock().unwrap_or_else(PoisonError::into_inner), bar);
        old.finish_and_clear();
    }

    fn advance(&self, files: u64, bytes: u64) {
        let bar = self.bar();
        let done = self.files.fetch_add(files, Ordering::Relaxed) + files;
        bar.inc(if self.by_bytes.load(Ordering::Relaxed) { bytes } else { files });
        if files > 0 {
            bar.set_message(format!("{} files", grouped(done)));
        }
    }

    fn note(&self, line: &str) {
        self.aside(|| drop(writeln!(std::io::stderr(), "{line}")));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A line now and then.
struct Plain {
    state: Mutex<State>,
}

struct State {
    phase: &'static str,
    files: u64,
    bytes: u64,
    total_files: u64,
    total_bytes: u64,
    told: Instant,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |total: u64, text: String| if total > 0 { format!(" of {text}") } else { String::new() };
        if !self.phase.is_empty() {
            write!(f, "{}: ", self.phase)?;
        }
        write!(
            f,
            "{}{} files, {}{}",
            grouped(self.files),
            of(self.total_files, grouped(self.total_files)),
            Size(self.bytes),
            of(self.total_bytes, Size(self.total_bytes).to_string())
        )
    }
}

impl Plain {
    fn new() -> Self {
        let state = State { phase: "", files: 0, bytes: 0, total_files: 0, total_bytes: 0, told: Instant::now() };
        Self { state: Mutex::new(state) }
    }
}

impl Progress for Plain {
    fn phase(&self, name: &'static str, files: u64, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { phase: name, files: 0, bytes: 0, total_files: files, total_bytes: bytes, told: Instant::now() };
    }

    fn advance(&self, files: u64, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.files += files;
        state.bytes += bytes;
        if state.told.elapsed() >= EVERY {
            state.told = Instant::now();
            // There is nowhere to report that to.
            drop(writeln!(std::io::stderr(), "{state}"));
        }
    }

    fn note(&self, line: &str) {
        // There is nowhere to report that to.
        drop(writeln!(std::io::stderr(), "{line}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no phase had named began with a colon.
    #[test]
    fn a_line_names_its_phase_if_it_has_one() {
        let mut state = State { phase: "", files: 632, bytes: 2048, total_files: 0, total_bytes: 0, told: Instant::now() };
        assert_eq!(state.to_string(), "632 files, 2KiB");
        (state.phase, state.total_files, state.total_bytes) = ("pushing", 1000, 4096);
        assert_eq!(state.to_string(), "pushing: 632 of 1,000 files, 2KiB of 4KiB");
    }
}
