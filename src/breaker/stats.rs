use std::time::Duration;

use super::verdict::Counted;
use crate::base::CircuitState;

/// What a circuit knows at one moment. See [`Breaker::stats`](super::Breaker::stats).
///
/// ```
/// use stonework::base::{CircuitState, Outcome};
/// use stonework::breaker::{Breaker, BreakerSettings};
///
/// let breaker = Breaker::new(BreakerSettings::new().min_calls(3))?;
/// for outcome in [Outcome::Success, Outcome::Failure] {
///     breaker.try_acquire().expect("closed").settle(outcome);
/// }
/// let stats = breaker.stats();
/// assert_eq!((stats.calls(), stats.failures(), stats.failure_rate()), (2, 1, None)); // too few to judge
///
/// breaker.try_acquire().expect("closed").settle(Outcome::Failure);
/// assert!(breaker.try_acquire().is_err());
/// let stats = breaker.stats();
/// assert_eq!((stats.state(), stats.opened(), stats.refused()), (CircuitState::Open, 1, 1));
/// assert_eq!(stats.failure_rate(), Some(2.0 / 3.0)); // as it was when it opened
/// # Ok::<(), stonework::breaker::InvalidBreaker>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BreakerStats {
    pub(super) state: CircuitState,
    pub(super) counted: Counted,
    pub(super) is_judged: bool,
    pub(super) opened: u64,
    pub(super) probes: usize,
    pub(super) refused: u64,
    pub(super) retry_after: Option<Duration>,
}

impl BreakerStats {
    /// The state.
    #[must_use]
    pub const fn state(&self) -> CircuitState {
        self.state
    }

    /// Calls that are counted: in the window while it is closed; when it opened, while it is open; and of probes, while it is
    /// probed.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.counted.calls
    }

    /// Those of them that failed.
    #[must_use]
    pub const fn failures(&self) -> u64 {
        self.counted.failures
    }

    /// Those of them that were slow, whether they failed or not.
    #[must_use]
    pub const fn slow_calls(&self) -> u64 {
        self.counted.slow
    }

    /// The share that failed, from 0 to 1; nothing if these are too few calls to judge.
    #[must_use]
    pub fn failure_rate(&self) -> Option<f64> {
        self.share(self.counted.failures)
    }

    /// The share that was slow, from 0 to 1; nothing if these are too few calls to judge.
    #[must_use]
    pub fn slow_rate(&self) -> Option<f64> {
        self.share(self.counted.slow)
    }

    fn share(&self, part: u64) -> Option<f64> {
        self.is_judged.then(|| part as f64 / self.counted.calls as f64)
    }

    /// How often it has opened by itself.
    #[must_use]
    pub const fn opened(&self) -> u64 {
        self.opened
    }

    /// Probes that are under way.
    #[must_use]
    pub const fn probes(&self) -> usize {
        self.probes
    }

    /// Calls that were refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// How long it stays open, if it is.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}
