//! Progress on a terminal, or as plain lines, or not at all; never on stdout.

use crate::units::Size;
use crate::words::grouped;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lastcopy_fs::Progress;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
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

/// Makes the listener that the options ask for.
pub(crate) fn listener(show: Show) -> std::sync::Arc<dyn Progress> {
    match show {
        Show::Never => std::sync::Arc::new(lastcopy_fs::NoProgress),
        Show::Auto if std::io::stderr().is_terminal() => std::sync::Arc::new(Bar::new()),
        Show::Auto | Show::Plain => std::sync::Arc::new(Plain::new()),
    }
}

/// A bar that appears after a second.
struct Bar {
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
}

impl Progress for Bar {
    fn phase(&self, name: &'static str, files: u64, bytes: u64) {
        self.files.store(0, Ordering::Relaxed);
        self.by_bytes.store(bytes > 0, Ordering::Relaxed);
        let bar = ProgressBar::with_draw_target(Some(if bytes > 0 { bytes } else { files }), ProgressDrawTarget::hidden());
        let template = if bytes > 0 {
            "{prefix} {bar:24} {bytes}/{total_bytes}  {msg}  {bytes_per_sec}  {eta}"
        } else if files > 0 {
            "{prefix} {bar:24} {human_pos}/{human_len} files  {per_sec}  {eta}"
        } else {
            "{prefix} {spinner} {human_pos} files"
        };
        // The templates are constants that a test draws.
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
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
        self.bar().suspend(|| drop(writeln!(std::io::stderr(), "{line}")));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar().finish_and_clear();
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
            let of = |total: u64, text: String| if total > 0 { format!(" of {text}") } else { String::new() };
            let line = format!(
                "{}: {}{} files, {}{}",
                state.phase,
                grouped(state.files),
                of(state.total_files, grouped(state.total_files)),
                Size(state.bytes),
                of(state.total_bytes, Size(state.total_bytes).to_string())
            );
            // There is nowhere to report that to.
            drop(writeln!(std::io::stderr(), "{line}"));
        }
    }

    fn note(&self, line: &str) {
        // There is nowhere to report that to.
        drop(writeln!(std::io::stderr(), "{line}"));
    }
}
