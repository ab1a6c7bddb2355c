use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;

use crate::base::Kind;

/// The answer is no stream of events: it has another status than 200, or another content type than `text/event-stream`. Find it with
/// [`Error::cause`](crate::Error::cause). See [`EventSource`](super::EventSource).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAStream {
    status: StatusCode,
}

impl NotAStream {
    pub(super) const fn new(status: StatusCode) -> Self {
        Self { status }
    }

    /// The status of the answer; 200 if it is its content type that is wrong.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for NotAStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            StatusCode::OK => f.write_str("the content type of the answer is not text/event-stream"),
            status => write!(f, "the server answered {} and not with a stream of events", status.as_u16()),
        }
    }
}

impl StdError for NotAStream {}

/// An event has more bytes than [it may have](super::EventSourceSettings::max_event). Find it with [`Error::cause`](crate::Error::cause).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTooLarge {
    limit: usize,
}

impl EventTooLarge {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit }
    }

    /// How many it may have.
    #[must_use]
    pub const fn limit(&self) -> usize {
        self.limit
    }
}

impl fmt::Display for EventTooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an event has more than {} bytes; `max_event` says how many it may have", self.limit)
    }
}

impl StdError for EventTooLarge {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&Kind::Body)
    }
}
