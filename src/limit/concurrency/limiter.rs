use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use super::core::Core;
use super::waiting::Waiting;
use super::{ConcurrencySettings, InvalidConcurrency, Overloaded, Permit, Queued};
use crate::base::{Deadline, Priority, Rng, scope};

/// A limit on how much is in flight at once: its clones share it, and every layer and service made from one of them is a view of
/// the same limit. Another limit is another `ConcurrencyLimiter`.
///
/// **Guarantee.** At no moment are more [permits](Permit) out than the limit, for any interleaving of any number of threads; a permit
/// that is dropped is free again, or its owner is whoever has waited longest. Nobody overtakes those who wait.
///
/// ```
/// use stonework::limit::ConcurrencyLimiter;
///
/// # fn main() -> Result<(), stonework::limit::InvalidConcurrency> {
/// let limiter = ConcurrencyLimiter::new(2)?;
/// let (one, two) = (limiter.try_acquire(), limiter.clone().try_acquire());
/// assert!(one.is_some() && two.is_some() && limiter.try_acquire().is_none());
/// drop(one);
/// assert!(limiter.try_acquire().is_some());
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimiter {
    core: Arc<Core>,
}

impl ConcurrencyLimiter {
    /// So many at once, or as many as latency allows. As many more may wait, where waiting is allowed at all: see [`ConcurrencySettings`].
    ///
    /// # Errors
    ///
    /// [`InvalidConcurrency`], if it is zero, or the bounds of an adaptive limit are in no order.
    pub fn new(settings: impl Into<ConcurrencySettings>) -> Result<Self, InvalidConcurrency> {
        Self::with_rng(settings, Rng::from_entropy())
    }

    /// The same with chance from there, for simulations that can be repeated: it says when an adaptive limit dips.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_rng(settings: impl Into<ConcurrencySettings>, rng: Rng) -> Result<Self, InvalidConcurrency> {
        let settings = settings.into();
        settings.check()?;
        Ok(Self { core: Arc::new(Core::new(&settings, rng)) })
    }

    pub(super) const fn of(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// A permit, if there is one and nobody waits for it.
    #[inline]
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.core.try_enter().then(|| Permit::entered(Arc::clone(&self.core), false))
    }

    /// Wait for a permit behind all who wait already, until the [deadline](Deadline) in scope and at most `patience`. Dropping the
    /// future gives up the place.
    ///
    /// # Errors
    ///
    /// [`Overloaded`]: at once, if too many wait already; else when the time is over.
    pub async fn acquire(&self, patience: Duration) -> Result<Permit, Overloaded> {
        if let Some(permit) = self.try_acquire() {
            return Ok(permit);
        }
        let mut waiting = self.waiting(false);
        let turn = poll_fn(|cx| waiting.poll(cx));
        match Deadline::within(patience).in_scope().bound(turn).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(self.refuse()),
        }
    }

    /// Whether it [finds out](crate::limit::AdaptiveSettings) by itself how many may be in flight.
    #[must_use]
    pub fn is_adaptive(&self) -> bool {
        self.core.is_adaptive()
    }

    /// A permit, where somebody wants to know how long it takes.
    pub(in crate::limit) fn try_acquire_timed(&self) -> Option<Permit> {
        self.core.try_enter().then(|| Permit::entered(Arc::clone(&self.core), true))
    }

    /// A permit for a call that has not come yet.
    pub(in crate::limit) fn try_reserve(&self) -> Option<Permit> {
        self.core.try_enter().then(|| Permit::reserved(Arc::clone(&self.core)))
    }

    /// Unless so little room is left that it is kept for what matters more.
    pub(in crate::limit) fn try_acquire_batch(&self) -> Option<Permit> {
        self.core.try_enter_batch().then(|| Permit::entered(Arc::clone(&self.core), false))
    }

    /// A place in the queue that never gets old, for a call that is of no use after its deadline.
    pub(in crate::limit) fn queued(&self, priority: Priority) -> Queued {
        let latest = scope::deadline().map(|deadline| {
            // None that cannot finish in time begins.
            deadline.checked_sub(self.core.service_time()).unwrap_or(deadline)
        });
        Queued::new(Arc::clone(&self.core), priority, latest)
    }

    pub(in crate::limit) fn waiting(&self, reserves: bool) -> Waiting {
        Waiting::new(Arc::clone(&self.core), reserves)
    }

    #[cold]
    pub(in crate::limit) fn refuse(&self) -> Overloaded {
        self.core.refuse();
        Overloaded::new(self.limit())
    }

    /// How many may be in flight: of an adaptive limit, just now.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.core.state().limit()
    }

    /// Change how many may be in flight, for all clones. More are let in at once, in the order in which they wait; fewer means that
    /// nobody takes the place of those who leave, until there are few enough. Zero lets nobody in. An adaptive limit changes it
    /// again as soon as it has learnt something.
    pub fn set_limit(&self, limit: usize) {
        self.core.set_limit(limit);
    }

    /// How many are in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.core.state().in_flight()
    }

    /// How many wait.
    #[must_use]
    pub fn waiting_count(&self) -> usize {
        self.core.waiting()
    }

    /// How many may wait: of an adaptive limit, just now.
    #[must_use]
    pub fn longest_queue(&self) -> usize {
        self.core.longest()
    }

    /// How often it has refused, through layers or [`acquire`](Self::acquire).
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.core.refused()
    }

    /// Whether the two are views of one limit.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }
}

impl fmt::Debug for ConcurrencyLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimiter")
            .field("in_flight", &self.in_flight())
            .field("limit", &self.limit())
            .field("waiting", &self.waiting_count())
            .finish_non_exhaustive()
    }
}
