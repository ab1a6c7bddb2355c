//! Everything about a call but the service and what it is waiting for.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::attempts::{Copies, Plan};
use super::layer::Shared;
use super::service::Common;
use super::verdict::{self, Advice, Facts, Verdict};
use crate::base::body::Replay;
use crate::base::nesting::Nesting;
use crate::base::{
    Attempts, CallId, Classify, DO_NOT_RETRY, Deadline, Delays, Delivery, Elapsed, Ending, Error, Event,
    Kind, Outcome, Phase, Pushback, RetryAfter, Skip, Tried, Withdrawal, nesting, scope,
};

/// How far a call has come.
pub(super) struct Progress<S, C> {
    plan: Plan,
    under_way: UnderWay<S, C>,
    /// Attempts that count against the limit.
    counted: u32,
    /// Requests handed down, by the retries of layers below too.
    sent: u32,
    /// Whether a retry inside gave up.
    spent_inside: bool,
    /// How often the attempt in progress was sent beside itself, since it was slow: that repeats no failure.
    hedged: u32,
    /// Whether its time ran out on a connection that had been kept.
    silent: bool,
    /// The endpoints that its attempts were made with.
    tried: Tried,
    /// How far the earlier attempts got.
    delivery: Delivery,
    /// Whether an attempt was repeated at once already.
    replayed_at_once: bool,
    /// Whether the attempt to come counts.
    counts: bool,
    delays: Option<Box<dyn Delays>>,
    /// What the attempt to come costs; it goes back to the budget if that never begins.
    charge: Option<Withdrawal>,
    /// What the attempt in progress costs; it goes back if a circuit did not let it be sent.
    spending: Option<Withdrawal>,
}

/// The attempt in progress, as far as others are told of it.
pub(super) struct UnderWay<S, C> {
    common: Arc<Common<S, C>>,
    call: Option<CallId>,
    /// When it started, if there is one and anybody wants to know.
    started: Option<Instant>,
    /// Its number, or that of the last one: one more than had been sent when it began.
    attempt: u32,
}

/// What to do once an attempt has ended.
pub(super) enum Next {
    Return,
    /// Wait so long, with nothing to do but to read what is left of the response.
    Pause(Duration),
}

impl<S, C> UnderWay<S, C> {
    /// The first attempt begins.
    #[inline]
    pub(super) fn first(common: Arc<Common<S, C>>, plan: &Plan) -> Self {
        let call = common.shared.begin(plan.role);
        Self { common, call, started: call.map(|_| scope::now()), attempt: 1 }
    }

    fn shared(&self) -> &Shared<C> {
        &self.common.shared
    }

    /// Another one begins.
    fn begin(&mut self, attempt: u32) {
        self.attempt = attempt;
        self.started = self.call.map(|_| Instant::now());
        self.shared().observe.tell(self.call, |call| Event::AttemptStarted { call, attempt });
    }

    /// Tell its end, if there is one and anybody listens.
    fn end(&mut self, ending: Ending, outcome: Outcome, delivery: Delivery) {
        let Some(started) = self.started.take() else { return };
        let attempt = self.attempt;
        self.shared().observe.tell(self.call, |call| {
            let elapsed = started.elapsed();
            Event::AttemptEnded { call, attempt, ending, outcome, delivery, elapsed }
        });
    }
}

impl<S, C> Drop for UnderWay<S, C> {
    fn drop(&mut self) {
        // The caller went away: that says nothing about the service.
        self.end(Ending::Dropped, Outcome::Neutral, Delivery::Unknown);
    }
}

impl<S, C> Progress<S, C> {
    /// The first attempt has begun, and this was found then.
    #[inline]
    pub(super) fn first(plan: Plan, under_way: UnderWay<S, C>, found: Option<Nesting>) -> Self {
        let found = found.unwrap_or(Nesting::part_of(1));
        Self {
            plan,
            under_way,
            counted: 1,
            sent: 0,
            spent_inside: found.spent,
            hedged: found.hedged,
            silent: found.silent,
            tried: found.tried.unwrap_or_default(),
            delivery: Delivery::NotSent,
            replayed_at_once: false,
            counts: true,
            delays: None,
            charge: None,
            spending: None,
        }
    }

    /// The service for another attempt.
    pub(super) fn service(&self) -> S
    where
        S: Clone,
    {
        self.under_way.common.spare.service()
    }

    pub(super) fn counted(&self) -> u32 {
        self.counted
    }

    /// Begin a part of the attempt in progress.
    #[inline]
    pub(super) fn enter<B>(&self, copies: &Copies<B>) -> Option<nesting::Entered> {
        self.plan.enter(copies, self.under_way.attempt, self.tried)
    }

    /// End it.
    #[inline]
    pub(super) fn leave(&mut self, entered: Option<nesting::Entered>) {
        let Some(inside) = entered.map(nesting::Entered::leave) else { return };
        self.spent_inside |= inside.spent;
        self.hedged = self.hedged.saturating_add(inside.hedged);
        self.silent |= inside.silent;
        self.tried = inside.tried.unwrap_or_default();
    }

    /// The attempt in progress is over, or its caller has gone: it costs what it costs, if it was sent.
    fn pay(&mut self, sent: bool) {
        match self.spending.take() {
            Some(charge) if sent => charge.spend(),
            // It goes back.
            Some(_) | None => {}
        }
    }
}

impl<S, C> Drop for Progress<S, C> {
    fn drop(&mut self) {
        self.pay(true);
    }
}

impl<S, C> Progress<S, C> {
    pub(super) fn judge<ResBody>(&self, result: Result<&Response<ResBody>, &Error>) -> Outcome
    where
        C: Classify<Response<ResBody>>,
    {
        self.under_way.shared().classify.classify(result)
    }

    /// Whether this is what nearly all calls are: one attempt, answered well, and nobody wants to know.
    #[inline]
    pub(super) fn is_done<ResBody>(&self, outcome: Outcome, response: &Response<ResBody>) -> bool {
        let is_untold = self.under_way.started.is_none() && !self.plan.tells_attempts;
        let is_first = self.sent == 0 && is_untold && response.extensions().is_empty();
        let status = response.status();
        let is_plain = status != StatusCode::TOO_EARLY && status != StatusCode::CONFLICT;
        is_first && !outcome.is_retryable() && is_plain
    }

    /// An attempt has ended. What follows? If it is the last, the result is completed in its place: a response is large,
    /// and is not moved about.
    pub(super) fn settle<B: Replay + Send + 'static, ResBody>(
        &mut self,
        outcome: Outcome,
        result: &mut Result<Response<ResBody>, Error>,
        copies: &mut Copies<B>,
    ) -> Next {
        let delivery = match result {
            // RFC 8470: "too early" is said by a server that has not processed the request.
            Ok(response) if response.status() == StatusCode::TOO_EARLY => Delivery::Refused,
            Ok(_) => Delivery::Answered,
            Err(error) => error.delivery(),
        };
        let (ending, innocent, sent) = match result {
            Ok(response) => {
                (Ending::Status(response.status()), true, Attempts::of(response.extensions()).unwrap_or(1))
            }
            Err(error) => {
                // What a circuit refused was no attempt.
                let least = u32::from(error.kind() != Kind::CircuitOpen);
                (Ending::Error(error.kind()), error.kind() == Kind::Transport, error.attempts().max(least))
            }
        };
        self.pay(sent > 0);
        self.sent = self.sent.saturating_add(sent);
        self.spent_inside |= sent > mem::take(&mut self.hedged).saturating_add(1);
        self.delivery = self.delivery.or_further(delivery);
        self.under_way.end(ending, outcome, delivery);

        // To the classifier, which judges the service, it is none: the one that is being done may come to a good end.
        let outcome = match result {
            Ok(response)
                if verdict::is_under_way(response.status(), response.headers()) && copies.are_keyed() =>
            {
                Outcome::Overload
            }
            _ => outcome,
        };
        copies.learn(result.as_mut().err(), mem::take(&mut self.silent));
        let facts = Facts {
            outcome,
            delivery,
            safety: self.plan.safety,
            role: self.plan.role,
            spent: self.spent_inside,
            attempts: self.counted,
            allowed: self.plan.allowed,
            single: self.plan.is_single(),
            innocent: innocent && !self.replayed_at_once,
            repeatable: copies.is_repeatable(),
        };
        let verdict = match verdict::judge(&facts) {
            // Not before the server said, harmless or not.
            Verdict::AtOnce if self.advice(result) != Advice::None => {
                verdict::judge(&Facts { innocent: false, ..facts })
            }
            verdict => verdict,
        };
        let decided = match verdict {
            Verdict::Done => {
                self.finish(result, copies);
                return Next::Return;
            }
            Verdict::Skip(skip) => Err(skip),
            Verdict::AtOnce => self.at_once(),
            Verdict::Again => {
                let timed_out = match result {
                    Ok(response) => verdict::says_too_late(response.status(), response.headers()),
                    Err(error) => error.is_timeout(),
                };
                let cost =
                    verdict::cost(&self.under_way.shared().settings.costs, outcome, delivery, timed_out);
                self.again(self.advice(result), cost)
            }
        };
        let decided = decided.and_then(|pause| if copies.secure() { Ok(pause) } else { Err(Skip::Body) });
        match decided {
            Ok(pause) => {
                let attempt = self.sent.saturating_add(1);
                let delay = pause;
                self.under_way
                    .common
                    .shared
                    .observe
                    .tell(self.under_way.call, |call| Event::RetryScheduled { call, attempt, delay });
                Next::Pause(pause)
            }
            Err(why) => {
                self.give_up(why);
                self.finish(result, copies);
                Next::Return
            }
        }
    }

    fn at_once(&mut self) -> Result<Duration, Skip> {
        let left = Deadline::current().map(|deadline| deadline.remaining(Instant::now()));
        let none = verdict::pause(Duration::ZERO, Advice::None, Duration::ZERO, left)?;
        self.replayed_at_once = true;
        self.counts = false;
        Ok(none)
    }

    fn again(&mut self, advice: Advice, cost: u32) -> Result<Duration, Skip> {
        let shared = &self.under_way.shared();
        let restarts = matches!(advice, Advice::Restart(_));
        if restarts {
            self.delays = None;
        }
        let delays = self.delays.get_or_insert_with(|| shared.schedule.start());
        let scheduled = delays.next(&shared.rng).ok_or(Skip::Schedule)?;
        if restarts {
            // That delay only spreads those who were all told the same.
            self.delays = None;
        }
        let now = Instant::now();
        let left = Deadline::current().map(|deadline| deadline.remaining(now));
        let pause = verdict::pause(scheduled, advice, shared.settings.max_retry_after, left)?;
        // Charged now and not when the pause is over: a thousand calls that fail together must not all find the budget
        // full.
        if let Some(budget) = &shared.budget {
            self.charge = Some(budget.try_withdraw(now, cost).ok_or(Skip::Budget)?);
        }
        self.counts = true;
        Ok(pause)
    }

    fn advice<ResBody>(&self, result: &Result<Response<ResBody>, Error>) -> Advice {
        let asked = match result {
            Ok(response) => match Pushback::of(response.headers()) {
                Some(Pushback::Stop) => return Advice::Stop,
                Some(Pushback::After(delay)) => return Advice::Restart(delay),
                None if response.headers().contains_key(DO_NOT_RETRY) => return Advice::Stop,
                None => RetryAfter::of(response.headers(), self.under_way.shared().wall.now()),
            },
            Err(error) if error.forbids_retry() => return Advice::Stop,
            Err(error) => error.retry_after(),
        };
        asked.map_or(Advice::None, Advice::After)
    }

    /// The request of the next attempt, which begins.
    pub(super) fn start<B: Replay>(&mut self, copies: &mut Copies<B>) -> Option<Request<B>> {
        let attempt = self.sent.saturating_add(1);
        let request = copies.next(&self.plan, attempt, &self.under_way.shared().settings)?;
        self.begin();
        Some(request)
    }

    /// What was scheduled is being done: it counts, and it costs.
    pub(super) fn begin(&mut self) {
        self.spending = self.charge.take();
        if self.counts {
            self.counted = self.counted.saturating_add(1);
        }
        let attempt = self.sent.saturating_add(1);
        self.under_way.begin(attempt);
    }

    /// Say in the result of the call how many attempts it took, and how far they got.
    fn finish<B, R>(&self, result: &mut Result<Response<R>, Error>, copies: &mut Copies<B>)
    where
        B: Replay + Send + 'static,
    {
        match result {
            Ok(response) if self.sent > 1 || self.plan.tells_attempts => {
                Attempts::tell(response.extensions_mut(), self.sent);
            }
            Ok(_) => {}
            Err(error) => {
                let returned =
                    copies.give_back(&self.plan, self.under_way.attempt, &self.under_way.shared().settings);
                error.sum_up(returned, self.delivery, self.sent);
            }
        }
    }

    /// There is no other attempt. The charge goes back, whoever listens is told, and so is a retry further out.
    fn give_up(&mut self, why: Skip) {
        self.charge = None;
        let attempt = self.under_way.attempt;
        self.under_way.shared().observe.tell(self.under_way.call, |call| Event::RetrySkipped {
            call,
            attempt,
            why,
        });
        if verdict::is_spent(self.plan.role, why, self.counted, self.spent_inside) {
            nesting::tell_spent();
        }
    }

    /// The time ran out before the attempt that was scheduled could begin.
    pub(super) fn out_of_time<B, R>(&mut self, copies: &mut Copies<B>) -> Result<Response<R>, Error>
    where
        B: Replay + Send + 'static,
    {
        self.called_off(copies, Skip::Deadline, Elapsed::before_deadline(Phase::Readiness).into())
    }

    /// The copy was there when the retry was scheduled, and is not now: its source failed in between.
    pub(super) fn body_lost<B, R>(&mut self, copies: &mut Copies<B>) -> Result<Response<R>, Error>
    where
        B: Replay + Send + 'static,
    {
        self.called_off(copies, Skip::Body, Error::new(Kind::Body, "the request body cannot be sent again"))
    }

    fn called_off<B, R>(
        &mut self,
        copies: &mut Copies<B>,
        why: Skip,
        error: Error,
    ) -> Result<Response<R>, Error>
    where
        B: Replay + Send + 'static,
    {
        self.give_up(why);
        let mut result = Err(error);
        self.finish(&mut result, copies);
        result
    }
}
