//! Asking a running rclone: JSON calls and object reads over HTTP on a socket of our own.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixStream;

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

/// The way to a running rclone. All calls block; none may be made on a thread that drives the runtime.
#[derive(Debug, Clone)]
pub(crate) struct Rc {
    pub(crate) socket: PathBuf,
    pub(crate) runtime: tokio::runtime::Handle,
    /// For how long it may be silent.
    pub(crate) patience: Duration,
}

impl Rc {
    /// Calls a function that answers soon.
    pub(crate) fn call(&self, function: &str, input: &Value) -> Result<Value, RcError> {
        let answer = async {
            match tokio::time::timeout(self.patience, self.asked(function, input)).await {
                Ok(answer) => answer,
                Err(_) => Err(RcError::Silent(format!("rclone did not answer {function} within {} s", self.patience.as_secs()))),
            }
        };
        self.runtime.block_on(answer)
    }

    /// Calls a function that takes as long as it takes: somebody else has to look whether it goes on.
    pub(crate) fn call_long(&self, function: &str, input: &Value) -> Result<Value, RcError> {
        self.runtime.block_on(self.asked(function, input))
    }

    async fn asked(&self, function: &str, input: &Value) -> Result<Value, RcError> {
        let mut input = input.clone();
        // Of calls that name no group, rclone keeps the counts of the last thousand only: what was moved would seem to stand still.
        input["_group"] = "lastcopy".into();
        let request = Request::post(format!("http://rclone/{function}"))
            .header("Host", "rclone")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(input.to_string())))
            .map_err(silent)?;
        let response = self.send(request).await?;
        let status = response.status();
        let bytes = response.into_body().collect().await.map_err(silent)?.to_bytes();
        let answer: Value =
            serde_json::from_slice(&bytes).map_err(|error| RcError::Silent(format!("rclone answers nonsense: {error}")))?;
        if status.is_success() { Ok(answer) } else { Err(refusal(status, answer["error"].as_str().unwrap_or_default())) }
    }

    /// Opens an object for reading, all of it or a range.
    pub(crate) fn read(&self, fs: &str, path: &str, range: Option<Range<u64>>) -> Result<Object, RcError> {
        let uri = format!("http://rclone/%5B{}%5D/{}", utf8_percent_encode(fs, KEPT), utf8_percent_encode(path, KEPT));
        let mut request = Request::get(uri).header("Host", "rclone");
        if let Some(range) = &range {
            request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let request = request.body(Full::default()).map_err(silent)?;
        let opened = async {
            let response = tokio::time::timeout(self.patience, self.send(request)).await;
            let response = response.map_err(|_| RcError::Silent("rclone did not begin to send an object".into()))??;
            let status = response.status();
            if !status.is_success() {
                let text = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
                return Err(refusal(status, String::from_utf8_lossy(&text).trim()));
            }
            if range.is_some() != (status == StatusCode::PARTIAL_CONTENT) {
                return Err(RcError::Refused("rclone sends another part of an object than was asked for".into()));
            }
            Ok(response)
        };
        let response = self.runtime.block_on(opened)?;
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Object {
            body: response.into_body(),
            length,
            piece: Bytes::new(),
            runtime: self.runtime.clone(),
            patience: self.patience,
        })
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, RcError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(silent)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(silent)?;
        // Its errors reach the one who waits for the answer.
        tokio::spawn(connection);
        sender.send_request(request).await.map_err(silent)
    }
}

fn silent(error: impl std::fmt::Display) -> RcError {
    RcError::Silent(format!("rclone ended, or hangs: {error}"))
}

fn refusal(status: StatusCode, text: &str) -> RcError {
    // Where a command of rclone's would end, the daemon says that it panicked.
    let text = text.strip_prefix("panic received: fatal error: ").unwrap_or(text);
    if status == StatusCode::NOT_FOUND { RcError::NotFound(text.to_owned()) } else { RcError::Refused(text.to_owned()) }
}

/// An object that is being read. An end before its announced length is an error.
pub(crate) struct Object {
    body: Incoming,
    /// Bytes that will come, if that was announced.
    pub(crate) length: Option<u64>,
    piece: Bytes,
    runtime: tokio::runtime::Handle,
    patience: Duration,
}

impl Read for Object {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.runtime.block_on(async { tokio::time::timeout(self.patience, self.body.frame()).await });
            match next {
                Err(_) => return Err(io::Error::new(io::ErrorKind::TimedOut, "rclone stopped in the middle of an object")),
                Ok(None) => return Ok(0),
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(Some(Ok(frame))) => self.piece = frame.into_data().unwrap_or_default(),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
