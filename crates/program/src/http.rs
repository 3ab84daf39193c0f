//! Asking a program that serves HTTP on a socket of our own.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST, RANGE};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixStream;

/// It gave no answer: it ended, or hangs. In words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent(pub String);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The way to a running program. All calls block; none may be made on a thread that drives the runtime.
#[derive(Debug, Clone)]
pub struct Http {
    /// What it is called in errors.
    pub program: &'static str,
    /// Where it listens.
    pub socket: PathBuf,
    /// What it wants to see before it answers.
    pub authorization: Option<String>,
    /// Drives the waiting.
    pub runtime: tokio::runtime::Handle,
    /// For how long it may be silent.
    pub patience: Duration,
    /// Connections over which objects were read to their end, for the next ones; without, each object has one of its own.
    pub idle: Option<Idle>,
}

/// Connections that wait for more to be asked.
#[derive(Clone, Default)]
pub struct Idle(Arc<Mutex<Vec<Connection>>>);

type Connection = SendRequest<Full<Bytes>>;

impl Idle {
    fn all(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that is still open.
    async fn take(&self) -> Option<Connection> {
        loop {
            let mut connection = self.all().pop()?;
            if connection.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connections", self.all().len())
    }
}

/// What was answered, of which the body is still to be read.
pub struct Answer {
    /// The status code of HTTP.
    pub status: u16,
    /// What follows.
    pub body: Body,
}

impl Http {
    /// Sends JSON, and gives the status and the whole answer. `limit` is how long that may take; without, somebody else has to look
    /// whether it goes on.
    pub fn post(&self, path: &str, json: String, limit: Option<Duration>) -> Result<(u16, Vec<u8>), Silent> {
        let request = self.request(Request::post(self.uri(path)).header(CONTENT_TYPE, "application/json"), json.into());
        let asked = async {
            let (response, _connection) = self.send(request?).await?;
            let status = response.status().as_u16();
            let bytes = response.into_body().collect().await.map_err(|error| self.silent(error))?.to_bytes();
            Ok((status, bytes.to_vec()))
        };
        self.runtime.block_on(async {
            match limit {
                None => asked.await,
                Some(limit) => tokio::time::timeout(limit, asked)
                    .await
                    .unwrap_or_else(|_| Err(self.silent(format!("no answer to {path} within {} s", limit.as_secs())))),
            }
        })
    }

    /// Asks for an object, all of it or a range.
    pub fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Answer, Silent> {
        let request = || {
            let mut request = Request::get(self.uri(path));
            if let Some(range) = &range {
                request = request.header(RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
            }
            self.request(request, Bytes::new())
        };
        let asked = async {
            if let Some(idle) = &self.idle
                && let Some(mut connection) = idle.take().await
                // It may be closed just now: then a new one is asked the same.
                && let Ok(response) = connection.send_request(request()?).await
            {
                return Ok((response, connection));
            }
            self.send(request()?).await
        };
        let response = self.runtime.block_on(async { tokio::time::timeout(self.patience, asked).await });
        let (response, connection) =
            response.map_err(|_| Silent(format!("{} did not begin to send an object", self.program)))??;
        let status = response.status().as_u16();
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
        let (runtime, patience) = (self.runtime.clone(), self.patience);
        let back = self.idle.clone().map(|idle| (idle, connection));
        let body = Body { back, program: self.program, body: response.into_body(), length, piece: Bytes::new(), runtime, patience };
        Ok(Answer { status, body })
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}/{path}", self.program)
    }

    fn request(&self, request: hyper::http::request::Builder, body: Bytes) -> Result<Request<Full<Bytes>>, Silent> {
        let mut request = request.header(HOST, self.program);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.body(Full::new(body)).map_err(|error| self.silent(error))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Connection), Silent> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.silent(error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| self.silent(error))?;
        // Its errors reach the one who waits for the answer.
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|error| self.silent(error))?;
        Ok((response, sender))
    }

    fn silent(&self, error: impl fmt::Display) -> Silent {
        Silent(format!("{} ended, or hangs: {error}", self.program))
    }
}

/// An object that is being read. An end before its announced length is an error.
pub struct Body {
    program: &'static str,
    body: Incoming,
    /// Where its connection goes at its end.
    back: Option<(Idle, Connection)>,
    /// Bytes that will come, if that was announced.
    pub length: Option<u64>,
    piece: Bytes,
    runtime: tokio::runtime::Handle,
    patience: Duration,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let next = self.runtime.block_on(async { tokio::time::timeout(self.patience, self.body.frame()).await });
            match next {
                Err(_) => {
                    let text = format!("{} stopped in the middle of an object", self.program);
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                Ok(None) => {
                    if let Some((idle, connection)) = self.back.take() {
                        idle.all().push(connection);
                    }
                    return Ok(0);
                }
                Ok(Some(Err(error))) => return Err(io::Error::other(error)),
                Ok(Some(Ok(frame))) => self.piece = frame.into_data().unwrap_or_default(),
            }
        }
        let count = buffer.len().min(self.piece.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}
