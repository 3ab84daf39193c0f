//! Asking a running rclone: JSON calls and object reads over HTTP on a socket of our own.

use lastcopy_program::{Body, Http, Silent};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::Read;
use std::ops::Range;
use std::time::Duration;

/// What stays as it is in the path of a URL.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Why rclone did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RcError {
    /// What was asked for is not there.
    NotFound(String),
    /// It says why not.
    Refused(String),
    /// It gave no answer: it ended, or hangs.
    Silent(String),
}

impl std::fmt::Display for RcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(text) | Self::Refused(text) | Self::Silent(text) => f.write_str(text),
        }
    }
}

impl From<Silent> for RcError {
    fn from(Silent(text): Silent) -> Self {
        Self::Silent(text)
    }
}

/// The way to a running rclone. All calls block; none may be made on a thread that drives the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Rc(pub(crate) Http);

const NOT_FOUND: u16 = 404;
const PARTIAL_CONTENT: u16 = 206;

impl Rc {
    /// Calls a function that answers soon.
    pub(crate) fn call(&self, function: &str, input: &Value) -> Result<Value, RcError> {
        self.asked(function, input, Some(self.0.patience))
    }

    /// Calls a function that takes as long as it takes: somebody else has to look whether it goes on.
    pub(crate) fn call_long(&self, function: &str, input: &Value) -> Result<Value, RcError> {
        self.asked(function, input, None)
    }

    fn asked(&self, function: &str, input: &Value, limit: Option<Duration>) -> Result<Value, RcError> {
        let mut input = input.clone();
        // Of calls that name no group, rclone keeps the counts of the last thousand only: what was moved would seem to stand still.
        input["_group"] = "lastcopy".into();
        let (status, bytes) = self.0.post(function, input.to_string(), limit)?;
        let answer: Value =
            serde_json::from_slice(&bytes).map_err(|error| RcError::Silent(format!("rclone answers nonsense: {error}")))?;
        if is_success(status) { Ok(answer) } else { Err(refusal(status, answer["error"].as_str().unwrap_or_default())) }
    }

    /// Opens an object for reading, all of it or a range.
    pub(crate) fn read(&self, fs: &str, path: &str, range: Option<Range<u64>>) -> Result<Body, RcError> {
        let path = format!("%5B{}%5D/{}", utf8_percent_encode(fs, KEPT), utf8_percent_encode(path, KEPT));
        let in_part = range.is_some();
        let mut answer = self.0.get(&path, range)?;
        if !is_success(answer.status) {
            let mut text = Vec::new();
            // Without its words, the status tells what it is.
            drop(answer.body.read_to_end(&mut text));
            return Err(refusal(answer.status, String::from_utf8_lossy(&text).trim()));
        }
        if in_part != (answer.status == PARTIAL_CONTENT) {
            return Err(RcError::Refused("rclone sends another part of an object than was asked for".into()));
        }
        Ok(answer.body)
    }
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

fn refusal(status: u16, text: &str) -> RcError {
    // Where a command of rclone's would end, the daemon says that it panicked.
    let text = text.strip_prefix("panic received: fatal error: ").unwrap_or(text);
    if status == NOT_FOUND { RcError::NotFound(text.to_owned()) } else { RcError::Refused(text.to_owned()) }
}
