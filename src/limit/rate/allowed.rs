use std::fmt;
use std::time::Duration;

use super::bucket::Plan;
use super::log::Window;
use super::pace::Pace;

/// How things stand with a rate limit after a call was admitted, or where somebody looked.
///
/// ```
/// use std::time::Duration;
/// use stonework::limit::{Quota, RateLimiter};
///
/// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
/// let limiter = RateLimiter::new(Quota::per_minute(60))?;
/// let allowed = limiter.try_take(20).expect("there are sixty");
/// assert_eq!(allowed.left(), 40);
/// assert_eq!(allowed.full_in(), Duration::from_secs(20));
/// # Ok(()) }
/// ```
// What it shows is worked out when somebody asks: a division takes longer than the decision.
#[derive(Clone, Copy)]
pub struct Allowed {
    how: How,
}

#[derive(Clone, Copy)]
enum How {
    Paced { pace: Pace, cell: u64, now: u64, free: bool },
    Strict { window: Window, left: u32, full_in: u64, at: u64, wait: u64 },
}

impl Allowed {
    #[inline]
    pub(super) const fn paced(pace: Pace, cell: u64, now: u64) -> Self {
        Self { how: How::Paced { pace, cell, now, free: false } }
    }

    /// What costs nothing waits for nobody.
    pub(super) const fn free(pace: Pace, cell: u64, now: u64) -> Self {
        Self { how: How::Paced { pace, cell, now, free: true } }
    }

    pub(super) const fn strict(window: Window, left: u32, full_in: u64, at: u64, wait: u64) -> Self {
        Self { how: How::Strict { window, left, full_in, at, wait } }
    }

    /// When it is to be used, as a window remembers it.
    pub(super) const fn at(&self) -> u64 {
        match self.how {
            How::Paced { .. } => 0,
            How::Strict { at, .. } => at,
        }
    }

    /// By which pace it was taken, and what that made of the cell; nothing, if nothing was.
    pub(super) const fn by_pace(&self) -> Option<(Pace, u64)> {
        match self.how {
            How::Paced { pace, cell, free: false, .. } => Some((pace, cell)),
            How::Paced { .. } | How::Strict { .. } => None,
        }
    }

    /// How much more could have been taken at once.
    #[must_use]
    pub fn left(&self) -> u32 {
        match self.how {
            How::Paced { pace, cell, now, .. } => pace.left(cell, now),
            How::Strict { left, .. } => left,
        }
    }

    /// When all of the quota is there again, if nobody takes of it.
    #[must_use]
    pub const fn full_in(&self) -> Duration {
        Duration::from_nanos(match self.how {
            How::Paced { cell, now, .. } => cell.saturating_sub(now),
            How::Strict { full_in, .. } => full_in,
        })
    }

    /// The limit as it is published.
    pub(super) fn policy(&self) -> (u32, Duration) {
        match self.how {
            How::Paced { pace, .. } => Plan::Paced(pace).policy(),
            How::Strict { window, .. } => Plan::Strict(window).policy(),
        }
    }

    /// How long it takes to earn one, on average.
    pub(super) fn interval(&self) -> Duration {
        match self.how {
            How::Paced { pace, .. } => Duration::from_nanos(pace.interval),
            How::Strict { window, .. } => {
                Duration::from_nanos(window.length / u64::from(window.amount.max(1)))
            }
        }
    }

    /// How long whoever took it had to wait: zero, but for a [`Reservation`](super::Reservation).
    #[inline]
    pub(super) fn wait(&self) -> u64 {
        match self.how {
            How::Paced { free: true, .. } => 0,
            How::Paced { pace, cell, now, .. } => pace.wait(cell, now),
            How::Strict { wait, .. } => wait,
        }
    }
}

impl fmt::Debug for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Allowed").field("left", &self.left()).field("full_in", &self.full_in()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_window_one_is_earned_on_average_in_its_part_of_the_time() {
        let of = |amount| Allowed::strict(Window { amount, length: 100 }, 0, 0, 0, 0).interval().as_nanos();
        assert_eq!([1, 3, 4, 100].map(of), [100, 33, 25, 1]);
    }
}
