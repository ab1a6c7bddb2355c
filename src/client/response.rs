use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use serde::de::DeserializeOwned;

use super::Redirected;
use super::unreadable::{NotJson, NotText, Status};
use crate::base::body::Body;
use crate::base::{Attempts, Classify, ClassifyHttp, Delivery, Error, Kind, Outcome, RetryAfter, WallClock};
use crate::fallback::Fallback;

/// A response whose head has arrived; its body is read by one of the methods that consume it.
///
/// *The deadline of the call does not cover the body* unless the client's
/// [`BodyLimits`](crate::timeout::BodyLimits::until_deadline) say so; by default the server may be silent for 30 s at a time.
///
/// ```
/// use stonework::client::Client;
/// use stonework::testing::{ScriptedServer, respond};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), stonework::Error> {
/// let server = ScriptedServer::start(|_| respond(200).body("[1, 2, 3]")).await;
/// let answer = Client::new().get(server.uri("/")).send().await?;
/// assert_eq!(answer.status(), 200);
/// assert_eq!(answer.json::<Vec<u32>>().await?, [1, 2, 3]);
/// # Ok(()) }
/// ```
pub struct Response {
    inner: http::Response<Body>,
    limit: usize,
    wall: WallClock,
}

impl Response {
    pub(super) const fn new(inner: http::Response<Body>, limit: usize, wall: WallClock) -> Self {
        Self { inner, limit, wall }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The version that the server answered with.
    #[must_use]
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// The header fields.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// How many redirects were followed and where to, if any were.
    #[must_use]
    pub fn redirected(&self) -> Option<&Redirected> {
        Redirected::of(&self.inner)
    }

    /// How many attempts it took, counted from 1; 1 too if nothing counted. Where redirects were followed, it is the last
    /// request that took so many.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        Attempts::of(self.inner.extensions()).unwrap_or(1)
    }

    /// Whether this is the answer of a [fallback](super::ClientBuilder::fallback), and what the call failed with.
    #[must_use]
    pub fn fallback(&self) -> Option<&Fallback> {
        Fallback::of(&self.inner)
    }

    /// How long the server asked to be left alone (RFC 9110, section 10.2.3).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        RetryAfter::of(self.headers(), self.wall.now())
    }

    /// This response, unless its status is 4xx or 5xx.
    ///
    /// # Errors
    ///
    /// An [`Error`] whose source is the [`Status`], with what the server said about [coming back](Error::retry_after).
    /// It is of [`Kind::Overload`] for 429, and for 503 with a `Retry-After`; otherwise of [`Kind::Other`]. The body
    /// is dropped; look at [`status`](Self::status) first if it is wanted.
    pub fn error_for_status(self) -> Result<Self, Error> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return Ok(self);
        }
        let kind = match ClassifyHttp.classify(Ok(&self.inner)) {
            Outcome::Overload => Kind::Overload,
            _ => Kind::Other,
        };
        let error = answered(self.attempts(), kind, Status::new(status));
        Err(match self.retry_after() {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        })
    }

    /// The whole body, without trailers.
    ///
    /// # Errors
    ///
    /// Of [`Kind::Body`]: it is [larger](crate::base::body::BodyTooLarge) than
    /// [`max_response_body`](super::ClientSettings::max_response_body), which is noticed before it is in memory, or it
    /// ended too early.
    ///
    /// # Cancellation
    ///
    /// Dropping the future drops what was read, and closes the connection unless the end of the body had arrived.
    pub async fn bytes(self) -> Result<Bytes, Error> {
        let attempts = self.attempts();
        self.inner.into_body().collect_up_to(self.limit).await.map_err(|error| {
            match error.downcast::<Error>() {
                // A limit of time inside the body says more than this could.
                Ok(ours) => ours.with_delivery(Delivery::Answered).with_attempts(attempts),
                Err(foreign) => answered(attempts, Kind::Body, foreign),
            }
        })
    }

    /// The whole body as text, which has to be UTF-8 whatever `content-type` says.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`NotText`].
    pub async fn text(self) -> Result<String, Error> {
        let attempts = self.attempts();
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into())
            .map_err(|error| answered(attempts, Kind::Body, NotText::new(error.utf8_error().valid_up_to())))
    }

    /// The whole body as a value read from JSON. Neither the status nor `content-type` is looked at.
    ///
    /// # Errors
    ///
    /// As [`bytes`](Self::bytes), and [`NotJson`].
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let attempts = self.attempts();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| answered(attempts, Kind::Body, NotJson::of(&error)))
    }

    /// The body, to be streamed. Nothing limits its size.
    #[must_use]
    pub fn into_body(self) -> Body {
        self.inner.into_body()
    }

    /// Head and body.
    #[must_use]
    pub fn into_http(self) -> http::Response<Body> {
        self.inner
    }
}

fn answered(attempts: u32, kind: Kind, source: impl Into<crate::base::BoxError>) -> Error {
    Error::new(kind, source).with_delivery(Delivery::Answered).with_attempts(attempts)
}

/// Shows the status, the version and the size of the body. Headers carry secrets.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("version", &self.version())
            .field("body", self.inner.body())
            .finish_non_exhaustive()
    }
}
