//! The words for what a circuit breaker does, which its events and whoever reads them share.

use std::fmt;

/// The state of a circuit.
///
/// ```
/// use stonework::base::CircuitState;
///
/// assert!(CircuitState::Closed.lets_all_through());
/// assert_eq!(CircuitState::HalfOpen.to_string(), "half-open");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Every call goes through, and is counted.
    Closed,
    /// No call goes through, until the open time is over.
    Open,
    /// The open time is over; a few calls go through to see whether the service works again.
    HalfOpen,
    /// The first probes went well, and as many calls at once go through as the service has shown that it can serve;
    /// twice as many after each round.
    Recovering,
    /// No call goes through, because somebody said so.
    ForcedOpen,
    /// Every call goes through and none is counted, because somebody said so.
    ForcedClosed,
}

impl CircuitState {
    /// Whether no call is refused.
    #[must_use]
    pub const fn lets_all_through(self) -> bool {
        matches!(self, Self::Closed | Self::ForcedClosed)
    }

    /// One word, for labels.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::Recovering => "recovering",
            Self::ForcedOpen => "forced-open",
            Self::ForcedClosed => "forced-closed",
        }
    }
}

impl fmt::Display for CircuitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a circuit changed its state. See [`Event::CircuitChanged`](super::Event::CircuitChanged).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitReason {
    /// Somebody said so.
    ByHand,
    /// So many calls failed in a row.
    ConsecutiveFailures,
    /// Too large a share of the calls failed.
    FailureRate,
    /// Nobody has called for so long that nothing is known any more.
    Forgotten,
    /// The open time is over.
    OpenTimeOver,
    /// Too many probes failed, or were slow.
    ProbesFailed,
    /// The probes went well.
    ProbesSucceeded,
    /// Too large a share of the calls was slow.
    SlowRate,
}

impl fmt::Display for CircuitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ByHand => "by hand",
            Self::ConsecutiveFailures => "too many failures in a row",
            Self::FailureRate => "too many failures",
            Self::Forgotten => "nobody has called for long",
            Self::OpenTimeOver => "the open time is over",
            Self::ProbesFailed => "the probes failed",
            Self::ProbesSucceeded => "the probes went well",
            Self::SlowRate => "too many slow calls",
        })
    }
}

/// How a probe ended. See [`Event::CircuitProbed`](super::Event::CircuitProbed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProbeEnding {
    /// It was dropped, or says nothing about the service; another call may probe in its place.
    Abandoned,
    /// It failed.
    Failure,
    /// It took longer than a call may take that is not slow.
    Slow,
    /// It went well.
    Success,
    /// It was not over when its time was. It counts as failed.
    TimedOut,
}
