use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::{pin_project, pinned_drop};
use tokio::time::Instant;

use super::bucket::TooMuch;
use super::pace::nanos;
use super::{Allowed, KeyedRateLimiter, Policy, RateLimiter};
use crate::base::{Alarm, Deadline, Error, KeyOf, RateLimited, scope};
use crate::limit::gate::sealed::Sealed;
use crate::limit::gate::{
    Entered, Entry, Except, Fields, Gate, Keyed, Reserved, Slot, Standing, Turned, Wait,
};

/// What limits the rate of requests: a [`RateLimiter`], and what is made from limiters by
/// [`RateLimitLayer`](crate::limit::RateLimitLayer). There is no need for another.
pub trait RateLimit<Req>: Sealed + Clone {
    /// What was taken.
    type Ticket;

    #[doc(hidden)]
    fn take(
        &self,
        request: &Req,
        cost: u32,
        now: Instant,
        patience: u64,
    ) -> Result<Self::Ticket, Refused<'_>>;
    /// It is not made use of.
    #[doc(hidden)]
    fn give_back(&self, ticket: Self::Ticket);
    /// How long it has to wait, in nanoseconds.
    #[doc(hidden)]
    fn wait(ticket: &Self::Ticket) -> u64;
    #[doc(hidden)]
    fn standings<'a>(&'a self, ticket: &Self::Ticket, say: &mut dyn FnMut(Standing<'a>));
    /// The one limit of all requests, if it is that.
    #[doc(hidden)]
    fn of_all(&self) -> Option<&RateLimiter> {
        None
    }
    /// Whether readiness may have reserved for this one.
    #[doc(hidden)]
    fn is_exempt(&self, request: &Req) -> bool {
        let _ = request;
        false
    }
}

/// Which limit refused, and why.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[allow(missing_debug_implementations, reason = "it lives for one step")]
pub struct Refused<'a> {
    policy: &'a Policy,
    too_much: TooMuch,
}

/// What was taken of one limit.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[derive(Clone, Copy, Debug)]
pub struct Paid {
    pub(super) cost: u32,
    pub(super) allowed: Allowed,
}

impl Paid {
    fn standing(self, policy: &Policy) -> Standing<'_> {
        let (amount, per) = self.allowed.policy();
        Standing {
            name: policy.name(),
            amount,
            per,
            left: self.allowed.left(),
            more_in: self.allowed.full_in(),
        }
    }
}

impl Sealed for RateLimiter {}

impl<Req> RateLimit<Req> for RateLimiter {
    type Ticket = Paid;

    #[inline]
    fn take(&self, _: &Req, cost: u32, now: Instant, patience: u64) -> Result<Paid, Refused<'_>> {
        let now = self.core().since(now);
        match self.core().take(now, cost, patience) {
            Ok(allowed) => Ok(Paid { cost, allowed }),
            Err(too_much) => Err(Refused { policy: self.policy(), too_much }),
        }
    }

    fn give_back(&self, paid: Paid) {
        self.core().give_back(&paid);
    }

    #[inline]
    fn wait(paid: &Paid) -> u64 {
        paid.allowed.wait()
    }

    fn standings<'a>(&'a self, paid: &Paid, say: &mut dyn FnMut(Standing<'a>)) {
        say(paid.standing(self.policy()));
    }

    fn of_all(&self) -> Option<&RateLimiter> {
        Some(self)
    }
}

impl<L, F> Sealed for Keyed<L, F> {}

impl<Req, F> RateLimit<Req> for Keyed<KeyedRateLimiter<F::Key>, F>
where
    F: KeyOf<Req> + Clone,
{
    type Ticket = (F::Key, Paid);

    #[inline]
    fn take(
        &self,
        request: &Req,
        cost: u32,
        now: Instant,
        patience: u64,
    ) -> Result<Self::Ticket, Refused<'_>> {
        let (key, now) = (self.key.key_of(request), self.limiter.since(now));
        match self.limiter.take(now, &key, cost, patience) {
            Ok(allowed) => Ok((key, Paid { cost, allowed })),
            Err(too_much) => Err(Refused { policy: self.limiter.policy(), too_much }),
        }
    }

    fn give_back(&self, (key, paid): Self::Ticket) {
        self.limiter.give_back(&key, &paid);
    }

    fn wait((_, paid): &Self::Ticket) -> u64 {
        paid.allowed.wait()
    }

    fn standings<'a>(&'a self, (_, paid): &Self::Ticket, say: &mut dyn FnMut(Standing<'a>)) {
        say(paid.standing(self.limiter.policy()));
    }
}

impl<L, F> Sealed for Except<L, F> {}

impl<Req, L, F> RateLimit<Req> for Except<L, F>
where
    L: RateLimit<Req>,
    F: Fn(&Req) -> bool + Clone,
{
    type Ticket = Option<L::Ticket>;

    fn take(
        &self,
        request: &Req,
        cost: u32,
        now: Instant,
        patience: u64,
    ) -> Result<Self::Ticket, Refused<'_>> {
        if (self.exempt)(request) {
            Ok(None)
        } else {
            self.limit.take(request, cost, now, patience).map(Some)
        }
    }

    fn give_back(&self, ticket: Self::Ticket) {
        if let Some(ticket) = ticket {
            self.limit.give_back(ticket);
        }
    }

    fn wait(ticket: &Self::Ticket) -> u64 {
        ticket.as_ref().map_or(0, L::wait)
    }

    fn standings<'a>(&'a self, ticket: &Self::Ticket, say: &mut dyn FnMut(Standing<'a>)) {
        if let Some(ticket) = ticket {
            self.limit.standings(ticket, say);
        }
    }

    fn of_all(&self) -> Option<&RateLimiter> {
        self.limit.of_all()
    }

    fn is_exempt(&self, request: &Req) -> bool {
        (self.exempt)(request) || self.limit.is_exempt(request)
    }
}

/// Two limits, of which a call takes both or neither. Made by [`and`](crate::limit::RateLimitLayer::and).
#[derive(Clone, Debug)]
pub struct Both<A, B> {
    pub(super) first: A,
    pub(super) second: B,
}

impl<A, B> Sealed for Both<A, B> {}

impl<Req, A: RateLimit<Req>, B: RateLimit<Req>> RateLimit<Req> for Both<A, B> {
    type Ticket = (A::Ticket, B::Ticket);

    fn take(
        &self,
        request: &Req,
        cost: u32,
        now: Instant,
        patience: u64,
    ) -> Result<Self::Ticket, Refused<'_>> {
        // Both are asked in any case: who comes back as told finds enough in both.
        let first = self.first.take(request, cost, now, patience);
        match (first, self.second.take(request, cost, now, patience)) {
            (Ok(first), Ok(second)) => Ok((first, second)),
            (Ok(first), Err(refused)) => {
                self.first.give_back(first);
                Err(refused)
            }
            (Err(refused), Ok(second)) => {
                self.second.give_back(second);
                Err(refused)
            }
            (Err(one), Err(other)) => Err(one.or_longer(other)),
        }
    }

    fn give_back(&self, (first, second): Self::Ticket) {
        self.first.give_back(first);
        self.second.give_back(second);
    }

    fn wait((first, second): &Self::Ticket) -> u64 {
        A::wait(first).max(B::wait(second))
    }

    fn standings<'a>(&'a self, (first, second): &Self::Ticket, say: &mut dyn FnMut(Standing<'a>)) {
        self.first.standings(first, say);
        self.second.standings(second, say);
    }
}

/// A limit of which not every request takes 1. Made by [`cost`](crate::limit::RateLimitLayer::cost).
#[derive(Clone)]
pub struct Costs<L, F> {
    pub(in crate::limit) limit: L,
    pub(in crate::limit) cost: F,
}

impl<L, F> Costs<L, F> {
    pub(in crate::limit) const fn new(limit: L, cost: F) -> Self {
        Self { limit, cost }
    }
}

impl<L, F> Sealed for Costs<L, F> {}

impl<Req, L, F> RateLimit<Req> for Costs<L, F>
where
    L: RateLimit<Req>,
    F: Fn(&Req) -> u32 + Clone,
{
    type Ticket = L::Ticket;

    fn take(&self, request: &Req, _: u32, now: Instant, patience: u64) -> Result<Self::Ticket, Refused<'_>> {
        self.limit.take(request, (self.cost)(request), now, patience)
    }

    fn give_back(&self, ticket: Self::Ticket) {
        self.limit.give_back(ticket);
    }

    fn wait(ticket: &Self::Ticket) -> u64 {
        L::wait(ticket)
    }

    fn standings<'a>(&'a self, ticket: &Self::Ticket, say: &mut dyn FnMut(Standing<'a>)) {
        self.limit.standings(ticket, say);
    }
}

impl<L: fmt::Debug, F> fmt::Debug for Costs<L, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Costs").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Lets calls in at a rate. See [`RateLimitLayer`](crate::limit::RateLimitLayer).
#[derive(Clone, Debug)]
pub struct Rate<L>(pub(super) L);

impl<L> Sealed for Rate<L> {}

impl<L> Rate<L> {
    /// Something is to be said, or to be waited for. Apart, so that where neither is, it is in nobody's way.
    #[inline(never)]
    fn admitted<Req>(
        &self,
        ticket: L::Ticket,
        now: Instant,
        tells: bool,
    ) -> Entered<(), Pin<Box<QuotaTurn<Req, L>>>>
    where
        L: RateLimit<Req>,
    {
        let fields = tells.then(|| fields(&self.0, &ticket));
        let wait = L::wait(&ticket);
        let entry = if wait == 0 {
            Entry::In(())
        } else {
            let at = Deadline::after(now, Duration::from_nanos(wait)).instant();
            Entry::Wait(Box::pin(QuotaTurn {
                limit: self.0.clone(),
                ticket: Some(ticket),
                at,
                alarm: Alarm::new(),
                request: PhantomData,
            }))
        };
        Entered { entry, fields }
    }
}

/// Who would not be served in time is told at once.
#[cold]
fn until_deadline(now: Instant, patience: Duration) -> u64 {
    let left = scope::deadline().map(|deadline| deadline.saturating_duration_since(now));
    nanos(left.map_or(patience, |left| patience.min(left)))
}

impl<Req, L: RateLimit<Req>> Gate<Req> for Rate<L> {
    type Pass = ();
    type Turn = Pin<Box<QuotaTurn<Req, L>>>;

    #[inline]
    fn enter(&self, request: &Req, wait: Wait, tells: bool) -> Entered<(), Self::Turn> {
        let now = scope::now();
        let patience = match wait {
            Wait::InTurn(patience) if !patience.is_zero() => until_deadline(now, patience),
            _ => 0,
        };
        match self.0.take(request, 1, now, patience) {
            Ok(ticket) if !tells && L::wait(&ticket) == 0 => Entered::silently(Entry::In(())),
            Ok(ticket) => self.admitted(ticket, now, tells),
            Err(refused) => refused.into_entered(tells),
        }
    }

    fn poll_reserve(&self, slot: &mut Slot, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limiter) = self.0.of_all() else { return Poll::Ready(()) };
        if let Reserved::Nothing = slot.0 {
            // There is no wait that would be too long.
            let Ok(reservation) = limiter.reserve(1, Duration::MAX) else { return Poll::Ready(()) };
            slot.0 = if reservation.wait() == Duration::ZERO {
                Reserved::Quota(reservation)
            } else {
                Reserved::Ahead(reservation, Box::pin(Alarm::new()))
            };
        }
        if let Reserved::Ahead(reservation, alarm) = &mut slot.0 {
            ready!(alarm.as_mut().poll_until(cx, reservation.at()));
            if let Reserved::Ahead(reservation, _) = std::mem::take(&mut slot.0) {
                slot.0 = Reserved::Quota(reservation);
            }
        }
        Poll::Ready(())
    }

    fn redeem(&self, slot: &mut Slot, request: &Req, tells: bool) -> Entered<(), Self::Turn> {
        let reserved = std::mem::take(&mut slot.0);
        if self.0.is_exempt(request) {
            return Entered::silently(Entry::In(()));
        }
        match (reserved, self.0.of_all()) {
            // It was not used while it was its turn. Used now, it would come on top of what was saved up since.
            (Reserved::Quota(reservation), _) if reservation.has_lapsed(scope::now()) => {
                drop(reservation);
                self.enter(request, Wait::InTurn(Duration::MAX), tells)
            }
            (Reserved::Quota(reservation), Some(limiter)) => {
                let allowed = reservation.spend();
                let standing = || Paid { cost: 1, allowed }.standing(limiter.policy());
                Entered {
                    entry: Entry::In(()),
                    fields: tells.then(|| Fields::of(std::iter::once(standing()))),
                }
            }
            _ => self.enter(request, Wait::Not, tells),
        }
    }
}

#[cold]
pub(in crate::limit) fn fields<Req, L: RateLimit<Req>>(limit: &L, ticket: &L::Ticket) -> Box<Fields> {
    let mut all = Vec::with_capacity(1);
    limit.standings(ticket, &mut |standing| all.push(standing));
    Fields::of(all.into_iter())
}

impl Refused<'_> {
    /// The one that has to be waited for longer.
    fn or_longer(self, other: Self) -> Self {
        if self.too_much.denied >= other.too_much.denied { self } else { other }
    }

    #[cold]
    pub(in crate::limit) fn into_entered<P, T>(self, tells: bool) -> Entered<P, T> {
        let Self { policy, too_much } = self;
        let (amount, per) = too_much.plan.policy();
        let error: RateLimited = too_much.into_error(policy);
        let fields = tells.then(|| {
            // Its `t` is not later than `Retry-After`, as the draft wants it.
            let more_in = error.retry_after().unwrap_or_default();
            let standing = Standing { name: policy.name(), amount, per, left: error.left(), more_in };
            Fields::of(std::iter::once(standing))
        });
        Entered { entry: Entry::Out(Error::from(error)), fields }
    }
}

/// Waits until what was taken may be used. Dropped before, it is given back.
#[allow(unnameable_types, reason = "only those inside handle it")]
#[pin_project(PinnedDrop)]
pub struct QuotaTurn<Req, L: RateLimit<Req>> {
    limit: L,
    ticket: Option<L::Ticket>,
    at: Instant,
    #[pin]
    alarm: Alarm,
    request: PhantomData<fn(Req)>,
}

impl<Req, L: RateLimit<Req>> Future for QuotaTurn<Req, L> {
    type Output = Turned<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        ready!(this.alarm.poll_until(cx, *this.at));
        *this.ticket = None;
        Poll::Ready(Turned::silently(Ok(())))
    }
}

#[pinned_drop]
impl<Req, L: RateLimit<Req>> PinnedDrop for QuotaTurn<Req, L> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        if let Some(ticket) = this.ticket.take() {
            this.limit.give_back(ticket);
        }
    }
}

impl<Req, L: RateLimit<Req>> fmt::Debug for QuotaTurn<Req, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuotaTurn").field("at", &self.at).finish_non_exhaustive()
    }
}
