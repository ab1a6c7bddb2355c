use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRAILER, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::Reaction;

/// A response that a [`ScriptedServer`](super::ScriptedServer) sends. [`respond`] makes one.
///
/// `content-length` is added by itself, unless the headers already say how the body ends. As RFC 9110 §6.4.1 asks, no
/// body follows an answer to HEAD, a 1xx, a 204 or a 304.
///
/// ```
/// use stonework::testing::{Reaction, respond};
///
/// let busy = respond(503).header("retry-after", "1").body("busy");
/// let stays_open: Reaction = busy.clone().into();
/// let goes: Reaction = busy.close();
/// # drop((stays_open, goes));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a reply is sent only as part of a `Reaction`"]
pub struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    /// `Some` sends the body in chunks, with these trailers behind it.
    trailers: Option<HeaderMap>,
}

/// A response with this status, no headers of its own and no body. See [`Reply`] for what to make of it.
///
/// # Panics
///
/// If `status` is not between 100 and 999.
pub fn respond(status: u16) -> Reply {
    let status = StatusCode::from_u16(status).unwrap_or_else(|_| panic!("{status} is no HTTP status"));
    Reply { status, headers: HeaderMap::new(), body: Bytes::new(), trailers: None }
}

impl Reply {
    /// Adds a header; one of the same name stays.
    ///
    /// # Panics
    ///
    /// If the name or the value is not valid.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let (name, value) = pair(name, value);
        self.headers.append(name, value);
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body as one chunk instead of with a length.
    pub fn chunked(mut self) -> Self {
        self.trailers.get_or_insert_default();
        self
    }

    /// Adds a trailer; the body is then sent [chunked](Self::chunked).
    ///
    /// # Panics
    ///
    /// If the name or the value is not valid.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        let (name, value) = pair(name, value);
        self.trailers.get_or_insert_default().append(name, value);
        self
    }

    /// Reads the whole request, answers, and waits for the next request. The same as `into()`.
    pub fn keep_alive(self) -> Reaction {
        self.into()
    }

    /// Reads the whole request, answers with `connection: close`, and closes.
    pub fn close(self) -> Reaction {
        self.header("connection", "close").keep_alive().close()
    }

    /// Reads the whole request, answers as if the connection stayed open, and closes at once: the peer that closes
    /// an idle connection just as it is used again.
    pub fn close_unannounced(self) -> Reaction {
        self.keep_alive().close()
    }

    /// Reads the whole request, promises the whole body, sends the first half of it (rounded down), and closes.
    ///
    /// # Panics
    ///
    /// If the body is empty: half of nothing would be a whole response.
    pub fn half(self) -> Reaction {
        assert!(!self.body.is_empty(), "half a response needs a body: call `.body(…)` first");
        Reaction::new().read_body().half_reply(self).close()
    }

    /// The bytes on the wire, and where among them the body starts.
    pub(super) fn render(&self, method: &Method) -> (Bytes, usize) {
        let mut headers = self.headers.clone();
        let sized = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
        let informational = self.status.is_informational();
        if let Some(trailers) = &self.trailers {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            for name in trailers.keys() {
                headers.append(TRAILER, name.clone().into());
            }
        } else if !sized && !informational && self.status != StatusCode::NO_CONTENT {
            headers.insert(CONTENT_LENGTH, self.body.len().into());
        }

        let reason = self.status.canonical_reason().unwrap_or("Scripted");
        let mut wire = BytesMut::new();
        wire.put_slice(format!("HTTP/1.1 {} {reason}\r\n", self.status.as_str()).as_bytes());
        put_headers(&mut wire, &headers);
        let body_starts = wire.len();

        let bodiless = matches!(self.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if method == Method::HEAD || informational || bodiless {
            return (wire.freeze(), body_starts);
        }
        match &self.trailers {
            None => wire.put_slice(&self.body),
            Some(trailers) => {
                if !self.body.is_empty() {
                    wire.put_slice(format!("{:x}\r\n", self.body.len()).as_bytes());
                    wire.put_slice(&self.body);
                    wire.put_slice(b"\r\n");
                }
                wire.put_slice(b"0\r\n");
                put_headers(&mut wire, trailers);
            }
        }
        (wire.freeze(), body_starts)
    }
}

fn pair(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    let bad = || -> ! { panic!("not a valid header: {name:?}: {value:?}") };
    (name.parse().unwrap_or_else(|_| bad()), value.parse().unwrap_or_else(|_| bad()))
}

fn put_headers(wire: &mut BytesMut, headers: &HeaderMap) {
    for (name, value) in headers {
        wire.put_slice(name.as_ref());
        wire.put_slice(b": ");
        wire.put_slice(value.as_bytes());
        wire.put_slice(b"\r\n");
    }
    wire.put_slice(b"\r\n");
}
