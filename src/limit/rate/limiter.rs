use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::log::{Log, Window};
use super::pace::{Denied, Pace, nanos};
use super::{Allowed, InvalidQuota, Policy, Quota, Reservation};
use crate::base::RateLimited;
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// A rate limit: its clones share it, and every layer and service made from one of them is a view of the same limit. Another
/// limit is another `RateLimiter`.
///
/// **Guarantee.** Over any stretch of time `t`, for any interleaving of any number of threads, no more is admitted than
///
/// > `burst + rate · t`
///
/// exactly, in integers; with a [strict](Quota::strict) quota no more than its amount in any window. It is the generic cell
/// rate algorithm in one atomic number: no lock, no task, and nothing that has to run for the quota to be refilled.
///
/// ```
/// use stonework::limit::{Quota, RateLimiter};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = RateLimiter::new(Quota::per_second(10).burst(2))?;
/// assert_eq!(limiter.try_take(1)?.left(), 1);
/// assert_eq!(limiter.try_take(1)?.left(), 0);
///
/// let refused = limiter.try_take(1).unwrap_err();
/// tokio::time::sleep(refused.retry_after().unwrap()).await; // 100 ms; at once in a test
/// limiter.try_take(1)?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    core: Arc<Core>,
}

pub(super) struct Core {
    created: Instant,
    policy: Policy,
    cell: AtomicU64,
    /// Odd while the pace is being changed.
    version: AtomicU64,
    /// Zero where the quota is strict.
    interval: AtomicU64,
    whole: AtomicU64,
    changing: Mutex<Strict>,
    refused: AtomicU64,
}

struct Strict {
    quota: Quota,
    log: Log,
}

impl RateLimiter {
    /// A limit with all of its quota left.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], which names the field.
    pub fn new(quota: Quota) -> Result<Self, InvalidQuota> {
        Self::named(Policy::DEFAULT, quota)
    }

    /// The same with a name, which refusals and the fields `RateLimit` and `RateLimit-Policy` give.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], which names the field.
    pub fn named(name: impl AsRef<str>, quota: Quota) -> Result<Self, InvalidQuota> {
        quota.check()?;
        let pace = Pace::of(&quota);
        let core = Core {
            created: Instant::now(),
            policy: Policy::named(name.as_ref())?,
            cell: AtomicU64::new(0),
            version: AtomicU64::new(0),
            interval: AtomicU64::new(if quota.strict { 0 } else { pace.interval }),
            whole: AtomicU64::new(pace.whole),
            changing: Mutex::new(Strict { quota, log: Log::default() }),
            refused: AtomicU64::new(0),
        };
        Ok(Self { core: Arc::new(core) })
    }

    /// Take `cost` of the quota, now. A cost of 0 is always allowed.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], which says when to come back; nothing is taken.
    pub fn try_take(&self, cost: u32) -> Result<Allowed, RateLimited> {
        self.try_take_at(Instant::now(), cost)
    }

    /// The same with the time given. Times that come out of order are as good as the latest of them.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], which says when to come back; nothing is taken.
    #[inline]
    pub fn try_take_at(&self, now: Instant, cost: u32) -> Result<Allowed, RateLimited> {
        self.core.take(self.core.since(now), cost, 0)
    }

    /// Take `cost` of the quota, now or when there will be enough: at most `patience` from now. Whoever comes first goes first; the
    /// [`Reservation`] says when that is, and gives it back if it is dropped.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], if it would take longer; nothing is taken.
    pub fn reserve(&self, cost: u32, patience: Duration) -> Result<Reservation, RateLimited> {
        let now = Instant::now();
        self.core
            .take(self.core.since(now), cost, nanos(patience))
            .map(|allowed| self.reserved(now, cost, allowed))
    }

    pub(super) fn reserved(&self, now: Instant, cost: u32, allowed: Allowed) -> Reservation {
        Reservation::new(self.clone(), now, cost, allowed)
    }

    /// Wait until `cost` of the quota is there, in the order of arrival, and take it; at most `patience`. Dropping the future gives
    /// it back.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], at once, if it would take longer.
    pub async fn take(&self, cost: u32, patience: Duration) -> Result<Allowed, RateLimited> {
        let reservation = self.reserve(cost, patience)?;
        reservation.come().await;
        Ok(reservation.spend())
    }

    /// How things stand now; nothing is taken.
    #[must_use]
    pub fn peek(&self) -> Allowed {
        let now = self.core.since(Instant::now());
        self.core.peek(now)
    }

    /// The quota in force.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.core.changing().quota
    }

    /// Change the quota from now on, for all clones. As much stays spent as was spent, but no more than the new quota has at most.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], which names the field; the old quota stays.
    pub fn set_quota(&self, quota: Quota) -> Result<(), InvalidQuota> {
        quota.check()?;
        self.core.change(quota, self.core.since(Instant::now()));
        Ok(())
    }

    /// How often it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.core.refused.load(Ordering::Relaxed)
    }

    /// The name it was given; `default`, if none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.core.policy.name()
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.core.policy
    }

    pub(super) fn core(&self) -> &Core {
        &self.core
    }

    /// Whether the two are views of one limit.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl Core {
    #[inline]
    pub(super) fn since(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.created))
    }

    fn changing(&self) -> MutexGuard<'_, Strict> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pace in force; nothing, if the quota is strict.
    #[inline]
    fn pace(&self) -> Option<Pace> {
        loop {
            // Whoever sees a number that is being changed sees here that it is, or was meanwhile.
            let before = self.version.load(Ordering::Acquire);
            let interval = self.interval.load(Ordering::Acquire);
            let whole = self.whole.load(Ordering::Acquire);
            if before % 2 == 0 && before == self.version.load(Ordering::Relaxed) {
                return (interval != 0).then_some(Pace { interval, whole });
            }
            drop(self.changing());
        }
    }

    #[inline]
    pub(super) fn take(&self, now: u64, cost: u32, patience: u64) -> Result<Allowed, RateLimited> {
        loop {
            let Some(pace) = self.pace() else { return self.take_strictly(now, cost, patience) };
            let cell = self.cell.load(Ordering::Relaxed);
            let after = match pace.take(cell, now, cost, patience) {
                Ok(after) => after,
                Err(denied) => return Err(self.refuse(denied, pace.left(cell, now))),
            };
            if self.cell.compare_exchange_weak(cell, after, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(Allowed::paced(pace, after, now));
            }
        }
    }

    #[cold]
    fn take_strictly(&self, now: u64, cost: u32, patience: u64) -> Result<Allowed, RateLimited> {
        let mut strict = self.changing();
        let window = Window::of(&strict.quota);
        let taken = strict.log.take(window, now, cost, patience);
        let left = strict.log.left(window, now);
        match taken {
            Ok(at) => Ok(Allowed::strict(left, strict.log.full_at(window).saturating_sub(now), at - now)),
            Err(denied) => {
                drop(strict);
                Err(self.refuse(denied, left))
            }
        }
    }

    #[cold]
    fn refuse(&self, denied: Denied, left: u32) -> RateLimited {
        self.refused.fetch_add(1, Ordering::Relaxed);
        denied.into_error(&self.policy, left)
    }

    /// What was taken was not made use of. It was to be used at `at`.
    pub(super) fn give_back(&self, at: u64, cost: u32) {
        match self.pace() {
            None => self.changing().log.give_back(at, cost),
            Some(pace) => {
                let back = pace.interval.saturating_mul(u64::from(cost));
                let mut cell = self.cell.load(Ordering::Relaxed);
                while let Err(other) = self.cell.compare_exchange_weak(
                    cell,
                    cell.saturating_sub(back),
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    cell = other;
                }
            }
        }
    }

    fn peek(&self, now: u64) -> Allowed {
        match self.pace() {
            Some(pace) => Allowed::paced(pace, self.cell.load(Ordering::Relaxed), now),
            None => {
                let strict = self.changing();
                let window = Window::of(&strict.quota);
                let full_in = strict.log.full_at(window).saturating_sub(now);
                Allowed::strict(strict.log.left(window, now), full_in, 0)
            }
        }
    }

    fn change(&self, quota: Quota, now: u64) {
        // Whoever changes it holds the lock, so there is one at a time.
        let mut strict = self.changing();
        let before = self.pace();
        let pace = Pace::of(&quota);
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        self.interval.store(if quota.strict { 0 } else { pace.interval }, Ordering::Release);
        self.whole.store(pace.whole, Ordering::Release);
        let (old, window) = (Window::of(&strict.quota), Window::of(&quota));
        let spent_strictly = old.amount - strict.log.left(old, now).min(old.amount);
        let spent = |cell: u64| before.map_or(spent_strictly, |before| before.spent(cell, now));
        let translate = |cell: u64| match before {
            _ if quota.strict => 0,
            Some(before) => before.translate(cell, now, pace),
            None => pace.take(0, now, spent_strictly.min(quota.most()), 0).unwrap_or(0),
        };
        let mut cell = self.cell.load(Ordering::Relaxed);
        while let Err(other) =
            self.cell.compare_exchange_weak(cell, translate(cell), Ordering::Relaxed, Ordering::Relaxed)
        {
            cell = other;
        }
        if before.is_some() {
            strict.log = Log::default();
            let _ = strict.log.take(window, now, spent(cell).min(window.amount), 0);
        }
        strict.quota = quota;
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter")
            .field("name", &self.name())
            .field("quota", &self.quota())
            .field("left", &self.peek().left())
            .finish_non_exhaustive()
    }
}
