use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::bucket::{Bucket, Plan, TooMuch};
use super::holes::Holes;
use super::in_force::{InForce, Version};
use super::pace::{Back, Denied, Pace, nanos};
use super::{Allowed, InvalidQuota, Paid, Policy, Quota, Reservation};
use crate::base::sync::{AtomicU64, Mutex, MutexGuard, Ordering};
use crate::base::{Deadline, RateLimited};

/// A rate limit: its clones share it, and every layer and service made from one of them is a view of the same limit. Another
/// limit is another `RateLimiter`.
///
/// **Guarantee.** Over any stretch of time `t`, for any interleaving of any number of threads, no more is admitted than
///
/// > `burst + rate · t`
///
/// exactly, in integers, but for what is [given back](Reservation) in front of others who wait; with a [strict](Quota::strict) quota no more than its amount in any window. It is the generic cell
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
    in_force: InForce,
    /// When nothing is spent any more, where the quota is a pace. Every change of the quota changes it, too.
    cell: AtomicU64,
    /// Places in the queue that were given up, and whether there are any.
    holes: Mutex<Holes>,
    any_holes: std::sync::atomic::AtomicBool,
    /// What was spent, where it is strict.
    strict: Mutex<Bucket>,
    // Statistics are no part of the guarantee, so the model checker need not explore them.
    refused: std::sync::atomic::AtomicU64,
}

/// Where somebody who is admitted stands in the queue.
enum Turn {
    /// Behind all others: this is to be made of the cell.
    Behind(u64),
    InPlaceOf(u64),
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
        let core = Core {
            created: Instant::now(),
            policy: Policy::named(name.as_ref())?,
            in_force: InForce::new(quota),
            cell: AtomicU64::new(0),
            holes: Mutex::new(Holes::default()),
            any_holes: std::sync::atomic::AtomicBool::new(false),
            strict: Mutex::new(Bucket::default()),
            refused: std::sync::atomic::AtomicU64::new(0),
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

    /// The same with the time given. Times may come out of order; none of them admits more than the latest would.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], which says when to come back; nothing is taken.
    #[inline]
    pub fn try_take_at(&self, now: Instant, cost: u32) -> Result<Allowed, RateLimited> {
        self.core.take(self.core.since(now), cost, 0).map_err(|too_much| too_much.into_error(self.policy()))
    }

    /// Take `cost` of the quota, now or when there will be enough: at most `patience` from now. Whoever comes first goes first; the
    /// [`Reservation`] says when that is, and gives it back if it is dropped.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], if it would take longer; nothing is taken.
    pub fn reserve(&self, cost: u32, patience: Duration) -> Result<Reservation, RateLimited> {
        let now = Instant::now();
        let taken = self.core.take(self.core.since(now), cost, nanos(patience));
        let allowed = taken.map_err(|too_much| too_much.into_error(self.policy()))?;
        Ok(Reservation::new(self.clone(), now, cost, allowed))
    }

    /// Wait until `cost` of the quota is there, in the order of arrival, and take it; until the [deadline](Deadline) in scope, and at most
    /// `patience`. Dropping the future gives it back.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], at once, if it would take longer.
    pub async fn take(&self, cost: u32, patience: Duration) -> Result<Allowed, RateLimited> {
        let left = Deadline::current().map(|deadline| deadline.remaining(Instant::now()));
        let reservation = self.reserve(cost, left.map_or(patience, |left| patience.min(left)))?;
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
        self.core.in_force.quota()
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
        self.core.refused.load(std::sync::atomic::Ordering::Relaxed)
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
    /// More than nothing, so that there are two cells of which nothing is spent: 0 and 1.
    #[inline]
    pub(super) fn since(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.created)).saturating_add(1)
    }

    fn strict(&self) -> MutexGuard<'_, Bucket> {
        self.strict.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn take(&self, now: u64, cost: u32, patience: u64) -> Result<Allowed, TooMuch> {
        loop {
            // Before the plan: a cell that is the same when it is written is of this plan.
            let cell = self.cell.load(Ordering::Acquire);
            let (plan, version) = self.in_force.read();
            let pace = match plan {
                Plan::Paced(pace) => pace,
                Plan::Strict(_) => match self.take_strictly(plan, version, now, cost, patience) {
                    Some(taken) => return taken,
                    None => continue,
                },
            };
            if cost == 0 {
                return Ok(Allowed::free(pace, cell, now));
            }
            let after = match pace.take(cell, now, cost, patience) {
                Ok(after) if patience == 0 => after,
                taken => match self.in_turn(pace, version, taken, now, cost, patience) {
                    Ok(Turn::Behind(after)) => after,
                    Ok(Turn::InPlaceOf(place)) => return Ok(Allowed::paced(pace, place, now)),
                    Err(denied) if self.cell.load(Ordering::Relaxed) == cell => {
                        return Err(self.refused(TooMuch { denied, left: pace.left(cell, now), plan }));
                    }
                    Err(_) => continue,
                },
            };
            if self.cell.compare_exchange_weak(cell, after, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return Ok(Allowed::paced(pace, after, now));
            }
        }
    }

    /// For who is refused, or would wait. Who would have to wait, or to wait for too long, may have the place of somebody who has gone.
    #[cold]
    fn in_turn(
        &self,
        pace: Pace,
        version: Version,
        taken: Result<u64, Denied>,
        now: u64,
        cost: u32,
        patience: u64,
    ) -> Result<Turn, Denied> {
        let has_to_wait = taken.map_or(true, |after| pace.wait(after, now) > 0);
        if has_to_wait && patience > 0 {
            if let Some(place) = self.take_hole(pace, version, now, cost, patience) {
                return Ok(Turn::InPlaceOf(place));
            }
        }
        taken.map(Turn::Behind)
    }

    /// Nothing, if the plan is being changed.
    #[cold]
    fn take_strictly(
        &self,
        plan: Plan,
        version: Version,
        now: u64,
        cost: u32,
        patience: u64,
    ) -> Option<Result<Allowed, TooMuch>> {
        let taken = {
            let mut strict = self.strict();
            self.in_force.is_still(version).then(|| strict.take(plan, now, cost, patience))?
        };
        Some(taken.map_err(|too_much| self.refused(too_much)))
    }

    #[cold]
    fn refused(&self, too_much: TooMuch) -> TooMuch {
        self.refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        too_much
    }

    /// What was taken was not made use of.
    pub(super) fn give_back(&self, paid: &Paid) {
        let now = self.since(Instant::now());
        while !self.gives_back(now, paid) {}
    }

    /// Not, if the plan is being changed.
    fn gives_back(&self, now: u64, paid: &Paid) -> bool {
        let (plan, version) = self.in_force.read();
        let Plan::Paced(pace) = plan else {
            let mut strict = self.strict();
            let is_still = self.in_force.is_still(version);
            if is_still {
                strict.give_back(plan, now, paid);
            }
            return is_still;
        };
        // Under the lock nobody else takes off the cell, and it can only grow.
        let mut holes = self.holes();
        if !self.in_force.is_still(version) {
            return false;
        }
        loop {
            let cell = self.cell.load(Ordering::Relaxed);
            match pace.give_back(cell, now, paid, &holes) {
                Back::Cell(less) => {
                    let swapped =
                        self.cell.compare_exchange(cell, less, Ordering::Relaxed, Ordering::Relaxed);
                    if swapped.is_err() {
                        continue;
                    }
                    holes.end_with(less);
                }
                Back::Hole(place) => holes.leave(place, paid.cost),
                Back::Nothing => {}
            }
            break;
        }
        self.any_holes.store(!holes.is_empty(), std::sync::atomic::Ordering::Relaxed);
        true
    }

    fn holes(&self) -> MutexGuard<'_, Holes> {
        self.holes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of somebody who gave it up, if it is one that can be waited for.
    #[cold]
    fn take_hole(&self, pace: Pace, version: Version, now: u64, cost: u32, patience: u64) -> Option<u64> {
        if !self.any_holes.load(std::sync::atomic::Ordering::Relaxed) {
            return None;
        }
        let turn = now.saturating_add(pace.whole);
        let mut holes = self.holes();
        if self.in_force.is_still(version) {
            holes.take(turn, turn.saturating_add(patience), cost)
        } else {
            None
        }
    }

    fn peek(&self, now: u64) -> Allowed {
        match self.in_force.plan() {
            Plan::Paced(pace) => Allowed::paced(pace, self.cell.load(Ordering::Relaxed), now),
            plan @ Plan::Strict(_) => self.strict().look(plan, now),
        }
    }

    fn change(&self, quota: Quota, now: u64) {
        self.in_force.change(quota, |old, new| {
            // Who gives back by the old quota gives nothing back, and nobody takes a place of it.
            *self.holes() = Holes::default();
            let mut strict = self.strict();
            let mut bucket = Bucket::default();
            self.change_cell(|cell| {
                bucket =
                    if matches!(old, Plan::Paced(_)) { Bucket::spent_until(cell) } else { strict.clone() };
                bucket.translate(old, new, now);
                bucket.full_at
            });
            *strict = bucket;
        });
    }

    /// Whoever has decided by the old plan finds another cell, and decides anew.
    fn change_cell(&self, mut next: impl FnMut(u64) -> u64) {
        let mut next = |cell| match next(cell) {
            // Nothing is spent in either.
            next if next <= 1 => u64::from(cell == 0),
            next => next,
        };
        let mut cell = self.cell.load(Ordering::Relaxed);
        while let Err(other) =
            self.cell.compare_exchange_weak(cell, next(cell), Ordering::Release, Ordering::Relaxed)
        {
            cell = other;
        }
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
