use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::bucket::{Bucket, TooMuch};
use super::in_force::InForce;
use super::pace::nanos;
use super::{Allowed, InvalidQuota, Paid, Policy, Quota};
use crate::base::RateLimited;
use crate::limit::table::{Cell, Table};

/// How many keys are kept, unless something else is said.
const MAX_KEYS: usize = 100_000;

/// A rate limit for each key: a client, a tenant, a user. Its clones share the limits.
///
/// **Guarantee.** For each key, over any stretch of time `t`, no more is admitted than `burst + rate · t`, however many other keys
/// there are. A key of which nothing is spent any more is as good as one that never came, so forgetting it changes nothing: what is
/// kept are the keys that have something spent, at most [`max_keys`](Self::max_keys) of them, and nothing has to sweep them up.
///
/// **More keys than that**, all of them with something spent, share one quota: nobody can get more than theirs by making up keys, nor
/// take anything from those that are kept. Who had to share takes along what all of them have spent when there is a place again.
///
/// ```
/// use stonework::limit::{KeyedRateLimiter, Quota};
///
/// # fn main() -> Result<(), stonework::limit::InvalidQuota> {
/// let limiter = KeyedRateLimiter::new(Quota::per_second(1))?;
/// assert!(limiter.try_take(&"ann", 1).is_ok());
/// assert!(limiter.try_take(&"ann", 1).is_err());
/// assert!(limiter.try_take(&"bob", 1).is_ok());
/// # Ok(()) }
/// ```
pub struct KeyedRateLimiter<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    created: Instant,
    policy: Policy,
    max_keys: usize,
    in_force: InForce,
    table: Table<K, Bucket>,
    /// What those share for which there is no place.
    overflow: Mutex<Bucket>,
    /// When nothing of that is spent any more.
    overflow_until: AtomicU64,
    refused: AtomicU64,
    overflowed: AtomicU64,
}

impl Cell for Bucket {
    type Given = u64;

    #[inline]
    fn is_idle(&self, now: &u64) -> bool {
        self.is_full(*now)
    }
}

impl<K: Hash + Eq + Clone> KeyedRateLimiter<K> {
    /// This quota for each key.
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
        Ok(Self::build(Policy::named(name.as_ref())?, quota, MAX_KEYS))
    }

    fn build(policy: Policy, quota: Quota, max_keys: usize) -> Self {
        let shared = Shared {
            created: Instant::now(),
            policy,
            max_keys,
            in_force: InForce::new(quota),
            table: Table::new(max_keys),
            overflow: Mutex::new(Bucket::default()),
            overflow_until: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            overflowed: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Keep at most so many keys of which something is spent. Default: 100 000, which for addresses are about 6 MB. This is a new
    /// limiter: say it before you use or clone it.
    #[must_use]
    pub fn max_keys(self, keys: usize) -> Self {
        Self::build(self.shared.policy.clone(), self.quota(), keys)
    }

    /// Take `cost` of the quota of this key, now. A cost of 0 is always allowed.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], which says when to come back; nothing is taken.
    pub fn try_take(&self, key: &K, cost: u32) -> Result<Allowed, RateLimited> {
        self.try_take_at(Instant::now(), key, cost)
    }

    /// The same with the time given. Times may come out of order; none of them admits more than the latest would.
    ///
    /// # Errors
    ///
    /// [`RateLimited`], which says when to come back; nothing is taken.
    #[inline]
    pub fn try_take_at(&self, now: Instant, key: &K, cost: u32) -> Result<Allowed, RateLimited> {
        self.take(self.since(now), key, cost, 0).map_err(|too_much| too_much.into_error(self.policy()))
    }

    #[inline]
    pub(super) fn since(&self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.shared.created))
    }

    #[inline]
    pub(super) fn take(&self, now: u64, key: &K, cost: u32, patience: u64) -> Result<Allowed, TooMuch> {
        let shared = &*self.shared;
        let taken = loop {
            // Before any lock is held: it may have to wait for one.
            let (plan, version) = shared.in_force.read();
            // Under the lock of what was spent, which a change of the plan takes: what is decided by an old one is not to be written over it.
            let take = |bucket: &mut Bucket, now| {
                shared.in_force.is_still(version).then(|| bucket.take(plan, now, cost, patience))
            };
            let taken = shared.table.with(key, now, || shared.beginning(now), take);
            let taken = taken.unwrap_or_else(|| {
                let taken = shared.in_overflow(|bucket| take(bucket, now));
                shared.overflowed.fetch_add(u64::from(taken.is_some()), Relaxed);
                taken
            });
            if let Some(taken) = taken {
                break taken;
            }
        };
        taken.map_err(|too_much| shared.refused(too_much))
    }

    /// What was taken was not made use of.
    pub(super) fn give_back(&self, key: &K, paid: &Paid) {
        let shared = &*self.shared;
        let now = self.since(Instant::now());
        loop {
            let (plan, version) = shared.in_force.read();
            let back = |bucket: &mut Bucket| {
                let is_still = shared.in_force.is_still(version);
                if is_still {
                    bucket.give_back(plan, now, paid);
                }
                is_still
            };
            let given = shared.table.with(key, now, || shared.beginning(now), |bucket, _| back(bucket));
            if given.unwrap_or_else(|| shared.in_overflow(back)) {
                return;
            }
        }
    }

    /// How things stand with this key now; nothing is taken.
    #[must_use]
    pub fn peek(&self, key: &K) -> Allowed {
        let (now, plan) = (self.since(Instant::now()), self.shared.in_force.plan());
        let found = self.shared.table.look(key, now, |bucket, now| bucket.look(plan, now));
        found.unwrap_or_else(|| self.shared.beginning(now).look(plan, now))
    }

    /// The quota in force.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.shared.in_force.quota()
    }

    /// Change the quota of all keys from now on, for all clones. As much stays spent as was spent, but no more than the new quota has
    /// at most. It takes as long as there are keys.
    ///
    /// # Errors
    ///
    /// [`InvalidQuota`], which names the field; the old quota stays.
    pub fn set_quota(&self, quota: Quota) -> Result<(), InvalidQuota> {
        quota.check()?;
        let shared = &*self.shared;
        let now = self.since(Instant::now());
        shared.in_force.change(quota, |old, new| {
            shared.table.retain(|_, bucket| {
                bucket.translate(old, new, now);
                !bucket.is_full(now)
            });
            shared.in_overflow(|bucket| bucket.translate(old, new, now));
        });
        Ok(())
    }

    /// How many keys are kept: those of which something is spent, and some that are forgotten when others come.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.table.len()
    }

    /// Whether no key is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K> KeyedRateLimiter<K> {
    /// How often it has refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Relaxed)
    }

    /// How often there was no place for a key, so that it had to share. If that goes on, [more keys](Self::max_keys) are needed, or
    /// somebody makes them up.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.shared.overflowed.load(Relaxed)
    }

    /// The name it was given; `default`, if none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shared.policy.name()
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.shared.policy
    }

    pub(super) fn quota_in_force(&self) -> Quota {
        self.shared.in_force.quota()
    }
}

impl<K> Shared<K> {
    /// A key that comes anew may have been among those that had to share, so it has spent what they have.
    fn beginning(&self, now: u64) -> Bucket {
        if self.overflow_until.load(Relaxed) <= now {
            return Bucket::default();
        }
        self.overflow().clone()
    }

    fn overflow(&self) -> MutexGuard<'_, Bucket> {
        self.overflow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn in_overflow<R>(&self, work: impl FnOnce(&mut Bucket) -> R) -> R {
        let mut bucket = self.overflow();
        let result = work(&mut bucket);
        self.overflow_until.store(bucket.full_at, Relaxed);
        result
    }

    #[cold]
    fn refused(&self, too_much: TooMuch) -> TooMuch {
        self.refused.fetch_add(1, Relaxed);
        too_much
    }
}

impl<K> Clone for KeyedRateLimiter<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("name", &self.name())
            .field("quota", &self.quota_in_force())
            .field("max_keys", &self.shared.max_keys)
            .finish_non_exhaustive()
    }
}
