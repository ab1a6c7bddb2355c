use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Allowed, RateLimiter};
use crate::base::Deadline;

/// A part of a quota that is taken ahead of time. Dropped before [`spend`](Self::spend), it is given back.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{Quota, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = RateLimiter::new(Quota::per_second(1))?;
/// limiter.try_take(1)?;
/// let mine = limiter.reserve(1, Duration::from_secs(5))?;
/// assert_eq!(mine.wait(), Duration::from_secs(1));
/// let behind_me = limiter.reserve(1, Duration::from_secs(5))?;
/// assert_eq!(behind_me.wait(), Duration::from_secs(2));
/// drop(behind_me); // and nobody has to wait for it
/// mine.come().await;
/// mine.spend();
/// # Ok(()) }
/// ```
///
/// Whoever reserved after one that is dropped keeps their time; what was given back is there for those who come now. So at the
/// times of those who stayed there can be as many more than the quota as were given back in front of them. One that is dropped
/// later than it might have been used may have been earned again by then: it is given back only if nobody has taken anything since.
#[must_use = "a reservation that is dropped is given back"]
pub struct Reservation {
    limiter: RateLimiter,
    cost: u32,
    /// When it was made.
    since: Instant,
    at: Instant,
    allowed: Allowed,
    spent: bool,
}

impl Reservation {
    pub(super) fn new(limiter: RateLimiter, now: Instant, cost: u32, allowed: Allowed) -> Self {
        let at = Deadline::after(now, Duration::from_nanos(allowed.wait())).instant();
        Self { limiter, cost, since: now, at, allowed, spent: false }
    }

    /// From when on it may be used.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// How long that was from when it was made.
    #[must_use]
    pub fn wait(&self) -> Duration {
        self.at.saturating_duration_since(self.since)
    }

    /// Wait until it may be used.
    pub async fn come(&self) {
        if self.wait() > Duration::ZERO {
            sleep_until(self.at).await;
        }
    }

    /// Make use of it.
    pub fn spend(mut self) -> Allowed {
        self.spent = true;
        self.allowed
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.spent {
            self.limiter.give_back(self.allowed, self.at, self.cost);
        }
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("limiter", &self.limiter.name())
            .field("cost", &self.cost)
            .field("wait", &self.wait())
            .finish_non_exhaustive()
    }
}
