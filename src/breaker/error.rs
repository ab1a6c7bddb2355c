use std::time::Duration;

use crate::base::{Error, Kind};

/// A circuit refused a call. It stands at the end of the chain of an [`Error`] of kind [`CircuitOpen`](Kind::CircuitOpen).
///
/// ```
/// use stonework::Error;
/// use stonework::breaker::{Breaker, CircuitOpen};
///
/// let breaker = Breaker::default();
/// breaker.force_open();
/// let refused = breaker.try_acquire().unwrap_err();
/// assert_eq!(refused.retry_after(), None); // nobody knows how long it was forced for
///
/// let error = Error::from(refused);
/// assert!(error.is_circuit_open() && error.cause::<CircuitOpen>().is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many calls before this one failed, so this attempt was not sent")]
pub struct CircuitOpen {
    retry_after: Option<Duration>,
}

impl CircuitOpen {
    pub(super) const fn new(retry_after: Option<Duration>) -> Self {
        Self { retry_after }
    }

    /// How long the circuit stays open; at most a second if it is being probed at this moment, and nothing if it was forced
    /// open.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

/// Not sent, and not to be retried: waiting for the circuit would only make a queue of callers, who then all come at once.
impl From<CircuitOpen> for Error {
    fn from(open: CircuitOpen) -> Self {
        let error = Self::new(Kind::CircuitOpen, open).without_retry();
        match open.retry_after {
            Some(delay) => error.with_retry_after(delay),
            None => error,
        }
    }
}
