use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::Instant;

use super::waiting::Waiting;
use super::{ConcurrencyLimiter, KeyedConcurrencyLimiter, Overloaded, Permit, Prioritized, Queued};
use crate::base::{Alarm, Deadline, KeyOf, Priority, scope};
use crate::limit::gate::sealed::Sealed;
use crate::limit::gate::{Entered, Entry, Except, Gate, Keyed, Reserved, Slot, Turned, Wait};

/// What limits how many requests are in flight: a [`ConcurrencyLimiter`], and what is made from limiters by
/// [`ConcurrencyLimitLayer`](crate::limit::ConcurrencyLimitLayer). There is no need for another.
pub trait ConcurrencyLimit<Req>: Sealed {
    /// Do something with the limiter of this request, if it has one.
    #[doc(hidden)]
    fn with<R>(&self, request: &Req, work: impl FnOnce(&ConcurrencyLimiter) -> R) -> Option<R>;
    /// The one limiter of all requests, if it is that.
    #[doc(hidden)]
    fn of_all(&self) -> Option<&ConcurrencyLimiter> {
        None
    }
    /// How much this request matters.
    #[doc(hidden)]
    fn priority(&self, request: &Req) -> Priority {
        let _ = request;
        Priority::Interactive
    }
    /// Whether readiness may have reserved for this one in vain.
    #[doc(hidden)]
    fn is_exempt(&self, request: &Req) -> bool {
        let _ = request;
        false
    }
}

impl Sealed for ConcurrencyLimiter {}

impl<Req> ConcurrencyLimit<Req> for ConcurrencyLimiter {
    #[inline]
    fn with<R>(&self, _: &Req, work: impl FnOnce(&ConcurrencyLimiter) -> R) -> Option<R> {
        Some(work(self))
    }

    fn of_all(&self) -> Option<&ConcurrencyLimiter> {
        Some(self)
    }
}

impl<Req, F: KeyOf<Req>> ConcurrencyLimit<Req> for Keyed<KeyedConcurrencyLimiter<F::Key>, F> {
    fn with<R>(&self, request: &Req, work: impl FnOnce(&ConcurrencyLimiter) -> R) -> Option<R> {
        Some(work(&self.limiter.get(&self.key.key_of(request))))
    }
}

impl<Req, L, F> ConcurrencyLimit<Req> for Except<L, F>
where
    L: ConcurrencyLimit<Req>,
    F: Fn(&Req) -> bool,
{
    fn with<R>(&self, request: &Req, work: impl FnOnce(&ConcurrencyLimiter) -> R) -> Option<R> {
        if (self.exempt)(request) { None } else { self.limit.with(request, work) }
    }

    fn of_all(&self) -> Option<&ConcurrencyLimiter> {
        self.limit.of_all()
    }

    fn priority(&self, request: &Req) -> Priority {
        self.limit.priority(request)
    }

    fn is_exempt(&self, request: &Req) -> bool {
        (self.exempt)(request) || self.limit.is_exempt(request)
    }
}

impl<Req, L, F> ConcurrencyLimit<Req> for Prioritized<L, F>
where
    L: ConcurrencyLimit<Req>,
    F: Fn(&Req) -> Priority,
{
    fn with<R>(&self, request: &Req, work: impl FnOnce(&ConcurrencyLimiter) -> R) -> Option<R> {
        self.limit.with(request, work)
    }

    fn of_all(&self) -> Option<&ConcurrencyLimiter> {
        self.limit.of_all()
    }

    fn priority(&self, request: &Req) -> Priority {
        (self.priority)(request)
    }

    fn is_exempt(&self, request: &Req) -> bool {
        // What is never refused needs no permit.
        self.limit.is_exempt(request) || (self.priority)(request) == Priority::Health
    }
}

impl<L, F> Sealed for Prioritized<L, F> {}

/// Lets so many calls in at once. See [`ConcurrencyLimitLayer`](crate::limit::ConcurrencyLimitLayer).
#[derive(Clone, Debug)]
pub struct Concurrency<L>(pub(super) L);

impl<L> Sealed for Concurrency<L> {}

impl<Req, L: ConcurrencyLimit<Req>> Gate<Req> for Concurrency<L> {
    type Pass = Option<Permit>;
    type Turn = Pin<Box<PermitTurn>>;

    #[inline]
    fn enter(&self, request: &Req, wait: Wait, _: bool) -> Entered<Option<Permit>, Self::Turn> {
        let priority = self.0.priority(request);
        if priority == Priority::Health {
            return Entered::silently(Entry::In(None));
        }
        let entry = self.0.with(request, |limiter| {
            let permit = match (wait, priority) {
                (Wait::Not, Priority::Batch) => limiter.try_acquire_batch(),
                (Wait::InQueue, _) => limiter.try_acquire_timed(),
                _ => limiter.try_acquire(),
            };
            match (permit, wait) {
                (Some(permit), _) => Entry::In(Some(permit)),
                (None, Wait::InTurn(patience)) if patience > Duration::ZERO => {
                    Entry::Wait(Box::pin(PermitTurn::new(limiter, patience)))
                }
                (None, Wait::InQueue) => Entry::Wait(Box::pin(PermitTurn::queued(limiter, priority))),
                (None, _) => Entry::Out(limiter.refuse().into()),
            }
        });
        Entered::silently(entry.unwrap_or(Entry::In(None)))
    }

    fn poll_reserve(&self, slot: &mut Slot, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limiter) = self.0.of_all() else { return Poll::Ready(()) };
        if let Reserved::Nothing = slot.0 {
            slot.0 = match limiter.try_reserve() {
                Some(permit) => Reserved::Permit(permit),
                None => Reserved::Place(limiter.waiting(true)),
            };
        }
        if let Reserved::Place(waiting) = &mut slot.0 {
            // It cannot be refused.
            if let Ok(permit) = ready!(waiting.poll(cx)) {
                slot.0 = Reserved::Permit(permit);
            }
        }
        Poll::Ready(())
    }

    fn redeem(&self, slot: &mut Slot, request: &Req, tells: bool) -> Entered<Option<Permit>, Self::Turn> {
        match std::mem::take(&mut slot.0) {
            Reserved::Permit(_) if self.0.is_exempt(request) => Entered::silently(Entry::In(None)),
            Reserved::Permit(permit) => Entered::silently(Entry::In(Some(permit.redeem()))),
            _ => self.enter(request, Wait::Not, tells),
        }
    }
}

/// Waits for a permit, but not too long.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[pin_project]
pub struct PermitTurn {
    limiter: ConcurrencyLimiter,
    place: Place,
    #[pin]
    alarm: Alarm,
}

enum Place {
    InTurn(Waiting, Instant),
    InQueue(Queued),
}

impl PermitTurn {
    fn new(limiter: &ConcurrencyLimiter, patience: Duration) -> Self {
        let until = Deadline::after(scope::now(), patience).in_scope().instant();
        Self::at(limiter, Place::InTurn(limiter.waiting(false), until))
    }

    fn queued(limiter: &ConcurrencyLimiter, priority: Priority) -> Self {
        Self::at(limiter, Place::InQueue(limiter.queued(priority)))
    }

    fn at(limiter: &ConcurrencyLimiter, place: Place) -> Self {
        Self { limiter: limiter.clone(), place, alarm: Alarm::new() }
    }
}

impl Place {
    /// The permit, if it is its turn; nothing, if it waits in vain.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Permit>> {
        match self {
            Self::InTurn(waiting, _) => waiting.poll(cx).map(Result::ok),
            Self::InQueue(queued) => queued.poll(cx).map(Result::ok),
        }
    }

    /// Until when it waits, once it does.
    fn until(&self) -> Option<Instant> {
        match self {
            Self::InTurn(_, until) => Some(*until),
            Self::InQueue(queued) => queued.until(),
        }
    }
}

impl Future for PermitTurn {
    type Output = Turned<Option<Permit>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match this.place.poll(cx) {
            Poll::Ready(Some(permit)) => return Poll::Ready(Turned::silently(Ok(Some(permit)))),
            Poll::Ready(None) => {}
            Poll::Pending => {
                let until = this.place.until().expect("who waits knows until when");
                ready!(this.alarm.poll_until(cx, until));
            }
        }
        let refused: Overloaded = this.limiter.refuse();
        Poll::Ready(Turned::silently(Err(refused.into())))
    }
}

impl fmt::Debug for PermitTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitTurn").field("until", &self.place.until()).finish_non_exhaustive()
    }
}
