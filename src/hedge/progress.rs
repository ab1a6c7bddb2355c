//! Everything about a call but the services and what they are waited for.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::decide::{self, Advice, Course, Ended, Next};
use super::layer::Shared;
use super::plan::Plan;
use super::service::Common;
use crate::base::body::Replay;
use crate::base::nesting::{self, Nesting};
use crate::base::{
    Attempts, Classify, DO_NOT_RETRY, Delivery, Elapsed, Error, Event, Kind, Outcome, Phase, Pushback,
    RetryAfter, Skip, Tried, Withdrawal, scope,
};

/// How far a call has come that may be sent more than once.
pub(super) struct Progress<S, B, C> {
    plan: Plan<B>,
    common: Arc<Common<S, C>>,
    course: Course,
    /// Since when the first attempt is waited for, if it is.
    since: Option<Instant>,
    /// The endpoints that attempts were made with.
    tried: Tried,
    /// Requests handed down, by the retries of layers below too.
    sent: u32,
    /// How far the attempts got that have ended.
    delivery: Delivery,
    /// How many have not.
    under_way: u32,
    /// A retry inside gave up.
    spent: bool,
    /// There is no further attempt since the request body cannot be sent again.
    body_lost: bool,
    /// What the attempt costs that waits for the service, or for a server's pause to end; it goes back if that never begins.
    charge: Option<Withdrawal>,
}

/// What an attempt costs that was begun. It costs nothing if it was not sent.
#[derive(Debug)]
pub(super) struct Charge(Option<Withdrawal>);

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(charge) = self.0.take() {
            charge.spend();
        }
    }
}

/// What the end of an attempt is.
pub(super) enum Settled {
    /// The result of the call.
    Result,
    /// The result if nothing better comes.
    Failure,
    /// The result if nothing else ever came.
    LeastOfAll,
}

/// Whether it is time for another attempt.
pub(super) enum Due {
    Now,
    At(Instant),
    Never,
}

impl<S, B, C> Progress<S, B, C> {
    /// The first attempt begins.
    #[inline]
    pub(super) fn new(plan: Plan<B>, common: Arc<Common<S, C>>) -> Self {
        let shared = &common.shared;
        // A repetition is not a request that fills the budget.
        if let Some(budget) = shared.budget.as_ref().filter(|_| shared.deposits && plan.number == 1) {
            budget.deposit();
        }
        let ceiling = shared.hedge.settings().max_retry_after;
        let course = Course::new(plan.allowed, plan.delay, plan.left_to_retry, ceiling);
        Self {
            plan,
            common,
            course,
            since: None,
            tried: Tried::default(),
            sent: 1,
            delivery: Delivery::NotSent,
            under_way: 1,
            spent: false,
            body_lost: false,
            charge: None,
        }
    }

    fn shared(&self) -> &Shared<C> {
        &self.common.shared
    }

    /// A service for another attempt.
    pub(super) fn service(&self) -> S
    where
        S: Clone,
    {
        self.common.spare.service()
    }

    pub(super) const fn begun(&self) -> u32 {
        self.course.begun()
    }

    /// Do a part of an attempt, which those that were begun before it number.
    #[inline]
    pub(super) fn within<R>(&mut self, before: u32, work: impl FnOnce() -> R) -> R {
        if !self.plan.has_copy() {
            return work();
        }
        let outer = nesting::current();
        let attempt = outer.attempt.max(self.plan.number.saturating_add(before));
        let tried = outer.tried.unwrap_or_default().and(&self.tried);
        let inside = Nesting { attempt, tried: Some(tried), spent: false, ..outer };
        let entered = nesting::enter(inside);
        let result = work();
        let inside = entered.leave();
        self.tried = inside.tried.unwrap_or_default();
        nesting::tell_all_tried(&self.tried);
        if inside.silent {
            nesting::tell_silent();
        }
        if inside.spent {
            self.spent = true;
            nesting::tell_spent();
        }
        result
    }

    /// The first attempt is waited for, if it is.
    #[inline]
    pub(super) fn waits(&mut self) {
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            self.course.waits(now);
        }
    }

    /// The first attempt is over.
    fn note_first(&mut self, answered: bool) {
        if let Some(since) = self.since.take() {
            let now = Instant::now();
            self.shared().hedge.note(now.saturating_duration_since(since), answered, now);
        }
    }

    /// There is no other attempt. Those under way go on.
    pub(super) fn call_off(&mut self, why: Skip) {
        self.charge = None;
        self.body_lost |= why == Skip::Body;
        self.course.stop();
        self.shared().observe.note(|| Event::HedgeSkipped { why });
    }
}

impl<S, B: Replay + 'static, C> Progress<S, B, C> {
    /// When the next attempt begins. Not asked while one waits for the service.
    pub(super) fn due(&mut self, is_alone: bool) -> Due {
        let next = if is_alone && !self.course.goes_on_alone() { Next::Never } else { self.course.next() };
        let at = match next {
            Next::Never => {
                self.charge = None;
                return Due::Never;
            }
            Next::Now => Instant::now(),
            Next::At(at) => at,
        };
        if decide::is_pointless(at, scope::deadline(), self.shared().hedge.typical()) {
            self.call_off(Skip::Deadline);
            return Due::Never;
        }
        // Charged now and not when the pause is over: a thousand calls that fail together must not all find the budget full, and who has
        // none need not wait to hear it.
        if self.course.is_put_off() && !self.is_paid() {
            return Due::Never;
        }
        if next == Next::Now { Due::Now } else { Due::At(at) }
    }

    /// It is time for another attempt. Is there a budget for it?
    pub(super) fn fires(&mut self) -> bool {
        let is_paid = self.is_paid();
        if is_paid {
            self.course.fires(Instant::now());
        }
        is_paid
    }

    /// Whether the next attempt can be made, and is paid by now. From here on the answer of the last one need not be kept.
    fn is_paid(&mut self) -> bool {
        if !self.plan.is_repeatable() {
            self.call_off(Skip::Body);
            return false;
        }
        if let Some(budget) = self.shared().budget.as_ref().filter(|_| self.charge.is_none()) {
            // It adds nothing to the load if nothing was sent before.
            let cost = u32::from(self.under_way > 0 || self.delivery != Delivery::NotSent);
            self.charge = budget.try_withdraw(Instant::now(), cost);
            if self.charge.is_none() {
                self.shared().hedge.note_refused();
                self.call_off(Skip::Budget);
                return false;
            }
        }
        // A server may answer before it has read the request, and read on.
        if self.under_way == 0 && !self.plan.secure() {
            self.call_off(Skip::Body);
            return false;
        }
        true
    }

    /// The service is ready. The request for another attempt, if it is still of use.
    pub(super) fn start(&mut self) -> Option<(Request<B>, Charge)> {
        let now = Instant::now();
        if decide::is_pointless(now, scope::deadline(), self.shared().hedge.typical()) {
            self.call_off(Skip::Deadline);
            return None;
        }
        let attempt = self.plan.number.saturating_add(self.begun() - 1);
        let Some(request) = self.plan.request(attempt, self.shared()) else {
            self.call_off(Skip::Body);
            return None;
        };
        self.sent = self.sent.saturating_add(1);
        self.under_way += 1;
        nesting::tell_hedged();
        self.shared().hedge.note_fired();
        let waited = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.shared().observe.note(|| Event::HedgeFired { attempt, waited });
        Some((request, Charge(self.charge.take())))
    }

    /// The service failed to become ready for another attempt.
    pub(super) fn unready(&mut self) {
        self.charge = None;
        self.sent = self.sent.saturating_add(1);
        self.under_way += 1;
    }

    /// An attempt has ended, before which so many were begun. If this is the result of the call, it is completed in its place. `readying`:
    /// another one waits for the service, until a server says that it is not to come, or not yet.
    #[inline]
    pub(super) fn settle<R>(
        &mut self,
        before: u32,
        charge: Option<Charge>,
        result: &mut Result<Response<R>, Error>,
        readying: &mut bool,
    ) -> Settled
    where
        C: Classify<Response<R>>,
    {
        let outcome = self.shared().classify.classify(result.as_ref());
        if before == 0 {
            self.note_first(outcome == Outcome::Success);
        }
        let ended = self.weigh(outcome, charge, result);
        if decide::wins(&ended) {
            if before > 0 {
                self.shared().hedge.note_won();
                let attempt = self.plan.number.saturating_add(before);
                self.shared().observe.note(|| Event::HedgeWon { attempt });
            }
            self.finish(result);
            return Settled::Result;
        }
        let speaks_of_it = ended.in_progress || !matches!(ended.advice, Advice::None);
        if speaks_of_it && std::mem::take(readying) {
            self.course.take_back();
        }
        if let Some(why) = self.course.failed(&ended, Instant::now()) {
            self.charge = None;
            self.shared().observe.note(|| Event::HedgeSkipped { why });
        }
        if ended.in_progress { Settled::LeastOfAll } else { Settled::Failure }
    }

    fn weigh<R>(
        &mut self,
        outcome: Outcome,
        charge: Option<Charge>,
        result: &Result<Response<R>, Error>,
    ) -> Ended {
        let (delivery, sent) = match result {
            // RFC 8470: "too early" is said by a server that has not processed the request.
            Ok(response) if response.status() == StatusCode::TOO_EARLY => (Delivery::Refused, 1),
            Ok(response) => (Delivery::Answered, Attempts::of(response.extensions()).unwrap_or(1)),
            // What a circuit refused was no attempt.
            Err(error) => {
                let least = u32::from(error.kind() != Kind::CircuitOpen);
                (error.delivery(), error.attempts().max(least))
            }
        };
        self.under_way -= 1;
        self.sent = self.sent.saturating_sub(1).saturating_add(sent);
        self.delivery = self.delivery.or_further(delivery);
        self.spent |= sent > 1;
        if let (Some(mut charge), Delivery::NotSent) = (charge, delivery) {
            // It goes back.
            charge.0 = None;
        }
        let in_progress =
            result.as_ref().is_ok_and(|response| decide::is_in_progress(self.plan.safety, response.status()));
        Ended { outcome, delivery, advice: self.advice(result), in_progress, spent: self.spent }
    }

    fn advice<R>(&self, result: &Result<Response<R>, Error>) -> Advice {
        let asked = match result {
            Ok(response) => match Pushback::of(response.headers()) {
                Some(Pushback::Stop) => return Advice::Stop,
                Some(Pushback::After(delay)) => Some(delay),
                None if response.headers().contains_key(DO_NOT_RETRY) => return Advice::Stop,
                None => RetryAfter::of(response.headers(), self.shared().wall.now()),
            },
            Err(error) if error.forbids_retry() => return Advice::Stop,
            Err(error) => error.retry_after(),
        };
        asked.map_or(Advice::None, Advice::After)
    }

    /// Say in the result of the call how many attempts it took, and how far they got.
    fn finish<R>(&mut self, result: &mut Result<Response<R>, Error>) {
        self.note_first(false);
        self.plan.release();
        self.charge = None;
        // One that a circuit refused counts as none, and those before it were made all the same.
        let is_one = if result.is_ok() { self.sent <= 1 } else { self.begun() <= 1 };
        if is_one {
            if let Err(error) = result {
                self.plan.give_back(error);
            }
            if !self.plan.tells_attempts {
                return;
            }
        }
        if self.under_way > 0 {
            // They are dropped now, and may have been received.
            self.delivery = self.delivery.or_further(Delivery::Unknown);
        }
        match result {
            Ok(response) => Attempts::tell(response.extensions_mut(), self.sent),
            Err(error) => {
                if !is_one {
                    // If it came back it is that of the last attempt, and not as its caller wrote it.
                    drop(error.take_request::<Request<B>>());
                }
                error.sum_up(None::<()>, self.delivery, self.sent);
            }
        }
    }

    /// Nothing is under way any more, and this is the best that there is.
    pub(super) fn end<R>(&mut self, mut result: Result<Response<R>, Error>) -> Result<Response<R>, Error> {
        self.finish(&mut result);
        result
    }

    /// An attempt was to come of which nothing came. As a rule time ran out: whoever limits the call drops it next, and only here is it
    /// known how many attempts there were.
    pub(super) fn without_result<R>(&mut self) -> Result<Response<R>, Error> {
        let mut error: Error = if self.body_lost && self.under_way == 0 {
            Error::new(Kind::Body, "the request body cannot be sent again")
        } else {
            Elapsed::before_deadline(Phase::Response).into()
        };
        // It is that of no attempt, of which there was one at least.
        error.sum_up(None::<()>, self.delivery, self.sent);
        self.end(Err(error))
    }
}

/// A call that is given up says how long the first attempt has taken at the least.
impl<S, B, C> Drop for Progress<S, B, C> {
    fn drop(&mut self) {
        self.note_first(false);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;
    use crate::base::{ClassifyHttp, Observe, Spare, WallClock};
    use crate::hedge::{Hedge, HedgeSettings};

    #[test]
    fn where_there_is_no_copy_those_inside_hear_only_what_those_outside_say() {
        let shared = Arc::new(Shared {
            hedge: Hedge::new(HedgeSettings::new().replay_cap(1)),
            budget: None,
            deposits: true,
            classify: ClassifyHttp,
            observe: Observe::default(),
            wall: WallClock::default(),
            is_on: true,
        });
        let mut request = Request::new(Full::new(Bytes::from("too large")));
        let plan = Plan::of(&mut request, &shared).expect("it is measured");
        let common = Arc::new(Common { shared, spare: Spare::<()>::new() });
        let mut progress = Progress::new(plan, common);
        assert!(progress.within(0, || nesting::current().tried.is_none()));
    }
}
