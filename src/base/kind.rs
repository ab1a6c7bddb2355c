//! The words that say what went wrong and how far the request got.

use std::error::Error as StdError;
use std::fmt;

/// What went wrong. See [`Error::kind`](super::Error::kind).
///
/// `Kind` is itself an [error](StdError): put one at the end of your own error's [`source`](StdError::source) chain
/// and the layers of this crate treat your error accordingly.
///
/// ```
/// use stonework::base::{Error, Kind};
///
/// #[derive(Debug)]
/// struct DatabaseAsleep;
/// impl std::fmt::Display for DatabaseAsleep {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         f.write_str("the database is asleep")
///     }
/// }
/// impl std::error::Error for DatabaseAsleep {
///     fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
///         Some(&Kind::Overload)
///     }
/// }
///
/// assert!(Error::wrap(DatabaseAsleep).is_overload());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A request or response body could not be read to its end, or was larger than allowed.
    Body,
    /// A circuit breaker refused the call, because too many calls before it failed.
    CircuitOpen,
    /// No connection could be made: name resolution, TCP or TLS failed.
    Connect,
    /// The request cannot be sent as it is; sending it again would fail in the same way.
    Invalid,
    /// A balancer had no endpoint to send the request to: there is none, or none is fit.
    NoEndpoint,
    /// A failure that this crate knows nothing more about.
    Other,
    /// Something refused the call because it has too much to do.
    Overload,
    /// A limit of time ran out.
    Timeout,
    /// A connection broke, or the peer broke the protocol on it.
    Transport,
}

impl Kind {
    /// Every one.
    pub(crate) const ALL: [Self; 9] = [
        Self::Body,
        Self::CircuitOpen,
        Self::Connect,
        Self::Invalid,
        Self::NoEndpoint,
        Self::Other,
        Self::Overload,
        Self::Timeout,
        Self::Transport,
    ];

    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Body => "body",
            Self::CircuitOpen => "circuit_open",
            Self::Connect => "connect",
            Self::Invalid => "invalid",
            Self::NoEndpoint => "no_endpoint",
            Self::Other => "other",
            Self::Overload => "overload",
            Self::Timeout => "timeout",
            Self::Transport => "transport",
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Body => "a body could not be read to its end",
            Self::CircuitOpen => "the circuit is open",
            Self::Connect => "no connection could be made",
            Self::Invalid => "the request cannot be sent as it is",
            Self::NoEndpoint => "no endpoint could be picked",
            Self::Other => "the call failed",
            Self::Overload => "the call was refused because of overload",
            Self::Timeout => "the call ran out of time",
            Self::Transport => "the connection failed",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl StdError for Kind {}

/// How far the request got before the call failed. See [`Error::delivery`](super::Error::delivery).
///
/// Together with the request's [`Safety`](crate::base::Safety) it decides whether the request may be sent again
/// (RFC 9110, section 9.2.2): after `NotSent` and `Refused` any request may; after `Unknown` and `Answered` only one
/// that is idempotent or carries an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "complete: every further shade belongs to one of the four")]
pub enum Delivery {
    /// It never left the process.
    NotSent,
    /// The peer proved that it did not process it: HTTP/2 `REFUSED_STREAM`, a `GOAWAY` that excludes it, status 425.
    Refused,
    /// It may have been received and processed; nobody here can tell.
    Unknown,
    /// It was answered: a response head arrived.
    Answered,
}

impl Delivery {
    /// How far a request got that was sent more than once: what is least certain wins, for "never sent" must be true of
    /// every attempt.
    pub(crate) const fn or_further(self, other: Self) -> Self {
        if self.rank() >= other.rank() { self } else { other }
    }

    const fn rank(self) -> u8 {
        match self {
            Self::NotSent => 0,
            Self::Refused => 1,
            Self::Answered => 2,
            Self::Unknown => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_kinds_is_complete_and_in_order() {
        assert!(Kind::ALL.iter().enumerate().all(|(at, kind)| *kind as usize == at));
        assert_eq!(Kind::ALL.len(), Kind::Transport as usize + 1, "the last one is the last");
    }
}
