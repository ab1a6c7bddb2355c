//! The one timer of a call.
//!
//! Limits nest: a whole call, an attempt in it, a pause between attempts. If each had a timer of its own, every call
//! would arm several. So the outermost limit of a task owns the timer, and the limits below ask it, through the call
//! scope, to wake the task at an earlier instant.
//!
//! *Whom may one trust to do that?* Only an owner that is polled with the very same waker. A limit that was handed to
//! `tokio::spawn`, to `FuturesUnordered`, or to anything else that polls with a waker of its own will not be polled
//! because its owner's task woke up, and therefore arms its own timer. It does not matter whether a limit below is
//! still there when the timer fires: a request is asked for anew in every poll and forgotten after it, so one that was
//! dropped (by `select!`, say) costs at most one early wake-up. The trust never goes the other way: an owner that left
//! its deadline to a limit below would sleep for ever if that one were dropped.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use pin_project::pin_project;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

use super::scope::{self, Scope, WakerId};

/// For a look at whether something is ready. One for all, since two no-op wakers need not look the same.
pub(crate) static NOBODY: &Waker = Waker::noop();

/// A limit's share in the one timer of its task. It holds no timer until something is pending.
#[pin_project]
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    #[pin]
    sleep: Option<Sleep>,
}

/// How a limited poll ended.
#[derive(Debug)]
pub(crate) enum Limited<T> {
    Done(T),
    Elapsed,
}

/// A poll of limited work that was begun. Dropped, also by a panic, it ends the scope.
#[must_use = "the scope ends when this is dropped"]
pub(crate) struct Round {
    entered: scope::Entered,
    /// When the owner outside is known to have come to, if there is one that can be trusted.
    outside: Option<Option<Instant>>,
    /// The same of the timer that is one's own.
    reached: Option<Instant>,
}

/// What follows where limited work was polled and is pending.
pub(crate) enum Then {
    /// Whoever is to wake the task will do so.
    Wait,
    /// It is too late.
    Elapsed,
    /// The work is asked once more, now that it is known that this instant has come.
    Again(Instant),
}

impl Alarm {
    pub(crate) const fn new() -> Self {
        Self { sleep: None }
    }

    /// Poll `inner`, with `at` as the deadline in its scope; ready with [`Limited::Elapsed`] once `at` has come.
    ///
    /// The answer goes before the clock: when one late poll finds both ready, the work is done and paid for. The
    /// limits inside go before this one, for the same reason: they know more about what ran out of time.
    #[inline]
    pub(crate) fn poll_limited<T>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        at: Instant,
        mut inner: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<Limited<T>> {
        let mut reached = None;
        loop {
            let round = self.as_mut().begin(cx, at, reached);
            if let Poll::Ready(done) = inner(cx) {
                return Poll::Ready(Limited::Done(done));
            }
            match self.as_mut().pending(cx, at, round) {
                Then::Wait => return Poll::Pending,
                Then::Elapsed => return Poll::Ready(Limited::Elapsed),
                Then::Again(at) => reached = Some(at),
            }
        }
    }

    /// The same in steps, for work whose outcome is large and is not to be moved through a closure. The work is polled
    /// next. If it is ready, that is all; if it is pending, [`pending`](Self::pending) says what follows. Nothing is known
    /// to have been `reached` until that says so: on a path that is ready there is no timer, and a timer that was armed
    /// before is not asked.
    #[inline]
    pub(crate) fn begin(
        mut self: Pin<&mut Self>,
        cx: &Context<'_>,
        at: Instant,
        reached: Option<Instant>,
    ) -> Round {
        let outer = scope::current();
        let waker = WakerId::of(cx);
        let deadline = scope::earlier(outer.deadline, Some(at));
        let whole = scope::earlier(outer.whole, Some(at));
        if outer.owner == Some(waker) {
            self.set(Self::new());
            let entered = scope::enter(Scope { deadline, whole, ..outer });
            return Round { entered, outside: Some(outer.reached), reached };
        }
        let own = Scope { deadline, whole, called_at: None, owner: Some(waker), reached, wanted: None };
        Round { entered: scope::enter(own), outside: None, reached }
    }

    /// What follows in a round whose work is pending.
    #[inline]
    pub(crate) fn pending(mut self: Pin<&mut Self>, cx: &mut Context<'_>, at: Instant, round: Round) -> Then {
        let Round { entered, outside, reached } = round;
        let wanted = entered.leave().wanted;
        let next = wanted.map_or(at, |wanted| wanted.min(at));
        if outside.unwrap_or(reached) >= Some(at) {
            return Then::Elapsed;
        }
        if outside.is_some() {
            scope::want(next);
            return Then::Wait;
        }
        self.as_mut().arm(next);
        if self.as_mut().poll_sleep(cx).is_pending() {
            return Then::Wait;
        }
        // The limits inside are asked again, now that it is known which instant has come: they speak first. A task may
        // be polled long after its timer fired, and then more is over than what it was set to.
        Then::Again(next.max(Instant::now()))
    }

    /// Ready once `at` has come.
    pub(crate) fn poll_until(mut self: Pin<&mut Self>, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let outer = scope::current();
        if outer.owner == Some(WakerId::of(cx)) {
            self.set(Self::new());
            if outer.reached >= Some(at) {
                return Poll::Ready(());
            }
            scope::want(at);
            return Poll::Pending;
        }
        // Who only looks whether it is ready, as a limit above does in its `call`, is not to be woken.
        if cx.waker().will_wake(NOBODY) {
            return if at <= Instant::now() { Poll::Ready(()) } else { Poll::Pending };
        }
        self.as_mut().arm(at);
        self.poll_sleep(cx)
    }

    /// Outside tokio's cooperative budget: a timer would not even look at the clock when other work of the task has
    /// used that up, and if that work does so every time, the limit would never come.
    fn poll_sleep(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().sleep.as_pin_mut() {
            Some(sleep) => pin!(unconstrained(sleep)).poll(cx),
            None => Poll::Pending,
        }
    }

    /// Set the timer to `at`, unless it is set to that already.
    fn arm(self: Pin<&mut Self>, at: Instant) {
        let mut slot = self.project().sleep;
        match slot.as_mut().as_pin_mut() {
            Some(sleep) if sleep.deadline() == at => {}
            Some(sleep) => sleep.reset(at),
            None => slot.set(Some(sleep_until(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_limit_inside_another_shortens_the_time_of_all_that_is_in_it() {
        let soon = Instant::now() + Duration::from_secs(1);
        let late = soon + Duration::from_secs(1);
        let seen = |outer: Instant, inner: Instant| {
            let (mut above, mut below) = (pin!(Alarm::new()), pin!(Alarm::new()));
            let mut cx = Context::from_waker(Waker::noop());
            let polled = above.as_mut().poll_limited(&mut cx, outer, |cx| {
                let all = |_: &mut Context<'_>| Poll::Ready((scope::deadline(), scope::whole()));
                below.as_mut().poll_limited(cx, inner, all)
            });
            match polled {
                Poll::Ready(Limited::Done(Limited::Done(seen))) => seen,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(seen(late, soon), (Some(soon), Some(soon)));
        assert_eq!(seen(soon, late), (Some(soon), Some(soon)));
    }
}
