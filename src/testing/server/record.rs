use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::sync::Notify;

/// One request as a [`ScriptedServer`](super::ScriptedServer) received it. Its `Display` is one line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SeenRequest {
    /// Which request this is, from 1, over all connections, in the order the heads came.
    pub number: usize,
    /// On which connection it came, from 1, in the order they were accepted.
    pub connection: usize,
    /// Which request of its connection it is, from 1.
    pub on_connection: usize,
    /// The method.
    pub method: Method,
    /// The request target, as sent.
    pub target: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The head, byte for byte, with the empty line at its end.
    pub raw_head: Bytes,
    /// The body so far: nothing yet when the script is asked.
    pub body: SeenBody,
}

/// What was read of a request body: part of a [`SeenRequest`], which a [`ScriptedServer`](super::ScriptedServer) keeps.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SeenBody {
    /// How many bytes were read, without framing.
    pub received: u64,
    /// The first bytes, up to [`KEPT`](Self::KEPT).
    pub kept: Vec<u8>,
    /// The [`Digest`](super::Digest) of all bytes that were read. Zero before the first.
    pub digest: u64,
    /// The trailer fields, once the body is complete.
    pub trailers: HeaderMap,
    /// The body was read to its end.
    pub complete: bool,
}

impl SeenBody {
    /// How many bytes of a body are kept: 64 KiB.
    pub const KEPT: usize = 64 * 1024;

    pub(super) fn keep(&mut self, data: &[u8]) {
        let room = Self::KEPT - self.kept.len();
        self.kept.extend_from_slice(&data[..data.len().min(room)]);
        self.received += data.len() as u64;
    }
}

impl SeenRequest {
    /// The first header field of this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl fmt::Display for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, connection, method, target, body, .. } = self;
        let whole = if body.complete { "" } else { ", incomplete" };
        write!(
            f,
            "{number}: {method} {target} on connection {connection}, {} body bytes{whole}",
            body.received
        )
    }
}

/// Everything the server's tasks write down, and whom to tell.
#[derive(Debug, Default)]
pub(super) struct Record {
    log: Mutex<Log>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) requests: Vec<SeenRequest>,
    pub(super) connections: usize,
    pub(super) open: usize,
    pub(super) peak: usize,
    pub(super) faults: Vec<String>,
}

impl Record {
    /// A script that panicked is part of the test; the assertions after it must still see the rest.
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, write: impl FnOnce(&mut Log) -> T) -> T {
        let result = write(&mut self.log());
        self.changed.notify_waiters();
        result
    }

    pub(super) fn fault(&self, connection: usize, what: &str) {
        self.change(|log| log.faults.push(format!("connection {connection}: {what}")));
    }
}
