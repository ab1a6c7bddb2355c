use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::base::{Delivery, Error, Kind};

/// There is no token: why the last attempt to get one failed. It stands in the chain of the [`Error`] of
/// [`TokenSource::token`](super::TokenSource::token), and of requests that were not sent for the want of one. All who waited for one attempt
/// have the same cause.
///
/// | cause | kind of the error |
/// |---|---|
/// | `Failed` | that of the call |
/// | `Refused` | `Invalid` |
/// | `Unavailable` | `Overload` |
/// | `Unreadable`, `GivenUp`, `NotSigned` | `Other` |
///
/// It shows nothing that was sent, and of what came nothing but the status and those words that are in the standard.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoToken {
    /// The call to the server failed.
    #[error("no token could be asked for")]
    #[non_exhaustive]
    Failed {
        /// What the client below said.
        #[source]
        source: CallFailed,
    },
    /// The server refused: asking again will not help before something is changed.
    #[error("the server gives no token: {why}")]
    #[non_exhaustive]
    Refused {
        /// Its words.
        why: Refusal,
    },
    /// The server cannot answer now: 429, or 500 and above.
    #[error("the server gives no token now: status {}", status.as_u16())]
    #[non_exhaustive]
    Unavailable {
        /// The status of its answer.
        status: StatusCode,
    },
    /// The answer cannot be read, or is none that has a token for us.
    #[error("the server's answer has no token that can be used: {what}")]
    #[non_exhaustive]
    Unreadable {
        /// What is wrong with it.
        what: &'static str,
    },
    /// The work ended before there was an answer: its runtime has ended, or the client below has panicked.
    #[error("the request for a token was given up")]
    GivenUp,
    /// The key that proves who we are did not sign.
    #[error("the key did not sign the request for a token")]
    #[non_exhaustive]
    NotSigned {
        /// What it said.
        #[source]
        source: CallFailed,
    },
}

impl NoToken {
    pub(super) fn failed(error: Error) -> Self {
        Self::Failed { source: CallFailed(Arc::new(error)) }
    }

    pub(super) fn not_signed(error: Error) -> Self {
        Self::NotSigned { source: CallFailed(Arc::new(error)) }
    }

    /// For whoever wanted a token; `after`: when it is worth asking again. Nothing of theirs was sent.
    pub(super) fn error(self, after: Duration) -> Error {
        let kind = match &self {
            Self::Failed { source } => source.0.kind(),
            Self::Refused { .. } => Kind::Invalid,
            Self::Unavailable { .. } => Kind::Overload,
            Self::Unreadable { .. } | Self::GivenUp | Self::NotSigned { .. } => Kind::Other,
        };
        Error::new(kind, self).with_delivery(Delivery::NotSent).with_retry_after(after)
    }
}

/// What a server says why it gives no token (RFC 6749, section 5.2), to a [`TokenSource`](super::TokenSource): its status, and the `error` if that is a word of the standard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(super) status: StatusCode,
    pub(super) error: Option<&'static str>,
}

impl Refusal {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.status
    }

    /// `invalid_client`, say. Nothing, if it is no word of the standard: servers write there whatever they like.
    #[must_use]
    pub const fn error(self) -> Option<&'static str> {
        self.error
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status.as_u16())?;
        self.error.map_or(Ok(()), |error| write!(f, ", `{error}`"))
    }
}

/// One [`Error`], shared by all who waited for a [`TokenSource`](super::TokenSource).
#[derive(Clone, Debug)]
pub struct CallFailed(Arc<Error>);

impl fmt::Display for CallFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for CallFailed {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Of the shared one only what it was made from: it is another call than that of whoever reads this.
        self.0.source()
    }
}

/// What a [`TokenSource`](super::TokenSource) or a [`BearerLayer`](super::BearerLayer) cannot be made of. It names the field.
///
/// ```
/// use stonework::base::ClientAuth;
/// use stonework::oauth::{InvalidOauth, TokenSource};
/// # use stonework::base::body::Body;
/// # let client = tower::service_fn(|_: http::Request<Body>| async { Ok::<_, std::io::Error>(http::Response::new(Body::empty())) });
///
/// let made = TokenSource::builder("/token", ClientAuth::basic("orders", "a secret")).build(client);
/// assert_eq!(made.unwrap_err(), InvalidOauth::Address { field: "endpoint" });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidOauth {
    /// It is no address: `https://` (`http://` of an origin, and where that was allowed), a host, and, of an origin, nothing else but a
    /// port.
    #[error("`{field}` is no address that can be used: `https://...`")]
    Address {
        /// The name of the field.
        field: &'static str,
    },
    /// There is nothing in it.
    #[error("`{field}` is empty")]
    Empty {
        /// The name of the field.
        field: &'static str,
    },
    /// It is more than there may be.
    #[error("`{field}` is too large")]
    TooLarge {
        /// The name of the field.
        field: &'static str,
    },
    /// It has a character that it cannot have.
    #[error("`{field}` has a character that it cannot have")]
    Unwritable {
        /// The name of the field.
        field: &'static str,
    },
    /// A parameter has a name that has a meaning of its own.
    #[error("`{field}` names what is set elsewhere")]
    Reserved {
        /// The name of the field.
        field: &'static str,
    },
}
