use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{Allowed, Paid, RateLimiter};
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
/// Whoever reserved after one that is dropped keeps their time; its own goes to whoever comes next and wants as much. What time has
/// earned again meanwhile is not given back twice.
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

    /// Whether it was not used in the time that it takes to earn another.
    pub(super) fn has_lapsed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= self.allowed.interval()
    }

    /// Wait until it may be used.
    pub async fn come(&self) {
        if self.wait() > Duration::ZERO {
            sleep_until(self.at).await;
        }
    }

    /// Make use of it.
    #[expect(clippy::must_use_candidate, reason = "to spend it is the point")]
    pub fn spend(mut self) -> Allowed {
        self.spent = true;
        self.allowed
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.spent {
            let core = self.limiter.core();
            core.give_back(&Paid { cost: self.cost, allowed: self.allowed });
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::limit::Quota;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test(start_paused = true)]
    async fn who_has_nothing_to_wait_for_comes_at_once_and_anybody_else_at_the_time() {
        let limiter = RateLimiter::new(Quota::per_second(1)).unwrap();
        // A timer knows only whole milliseconds, and would let one wait for the next.
        tokio::time::advance(MS / 2).await;
        let now = Instant::now();
        let [first, second] = [(); 2].map(|()| limiter.reserve(1, Duration::MAX).unwrap());
        assert_eq!(first.come().now_or_never(), Some(()));
        second.come().await;
        assert!((1_000 * MS..1_002 * MS).contains(&now.elapsed()));
    }
}
