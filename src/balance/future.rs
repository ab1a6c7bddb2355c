use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::core::Core;
use super::endpoint::Endpoint;
use super::flight::{Flight, InUse};
use super::set::NotPicked;
use crate::base::body::HoldUntil;
use crate::base::{
    Alarm, Anchor, Asked, BoxError, Classify, Deadline, Delivery, Elapsed, Error, Hold, Kind, NOBODY,
    Outcome, Phase, Tried, nesting, scope,
};

/// A call to one of several endpoints. See [`Balancer`](super::Balancer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct BalancerFuture<S: Service<Req> + Clone + Send + Sync + 'static, Req, C, M> {
    #[pin]
    state: State<S, Req, S::Future>,
    call: Call<S>,
    classify: Option<C>,
    asked: Asked,
    mode: M,
}

/// What a call knows, whichever endpoint it is at.
struct Call<S> {
    /// Not the core itself, whose references all threads would count in one place.
    anchor: Arc<Anchor<Core<S>>>,
    key: Option<u64>,
    /// Those that gave the request back.
    failed: Tried,
    failovers: u32,
    /// How long it waits for an endpoint in all, once it has begun to.
    waits_until: Option<Instant>,
}

#[pin_project(project = StateProjection)]
#[allow(clippy::large_enum_variant, reason = "the largest is the one that every call is in")]
enum State<S: Clone + Send + Sync + 'static, Req, F> {
    /// Waits for an endpoint; then is `Readying`, `Called`, or ends.
    Waiting {
        waiting: Pin<Box<dyn Future<Output = ()> + Send>>,
        until: Instant,
        #[pin]
        alarm: Alarm,
        request: Option<Req>,
    },
    /// Waits for one of two endpoints to be ready; then is `Called`.
    Readying { first: Option<Candidate<S>>, second: Second<S>, request: Option<Req> },
    /// Waits for the answer; then ends, or begins anew at another endpoint.
    Called {
        // Before the flight, so that what the call holds is free again when that is over.
        #[pin]
        answer: F,
        flight: Option<Flight<S>>,
    },
    /// It could not even begin.
    Failed { error: Option<Error> },
}

/// An endpoint that may get the call, once it is ready.
struct Candidate<S: Clone + Send + Sync + 'static> {
    service: S,
    flight: Flight<S>,
}

/// The endpoint to ask while the first is busy.
enum Second<S: Clone + Send + Sync + 'static> {
    Unasked,
    NoOther,
    Asked(Candidate<S>),
}

impl<S: Clone + Send + Sync + 'static> Candidate<S> {
    fn new(endpoint: Arc<Endpoint<S>>, now: Instant) -> Self {
        // The endpoint's own stays as it is: what a clone reserves while it becomes ready ends with the clone.
        Self { service: endpoint.service.clone(), flight: Flight::begin(endpoint, now) }
    }
}

/// What becomes of a request that came back unsent.
enum Returned<Req> {
    ToAnother(Req),
    ToItsCaller(Error),
}

impl<S: Clone + Send + Sync + 'static> Call<S> {
    fn core(&self) -> &Arc<Core<S>> {
        self.anchor.core()
    }

    /// Pick an endpoint and call it, if it is ready.
    fn begin<Req>(&mut self, mut request: Req, cx: &mut Context<'_>) -> State<S, Req, S::Future>
    where
        S: Service<Req, Error: Into<BoxError>>,
        Req: Send + 'static,
    {
        loop {
            let now = scope::now();
            let endpoint = match self.core().pick(now, self.key, &self.failed) {
                Ok(endpoint) => endpoint,
                Err(why) => return self.nobody(request, now, why),
            };
            let mut candidate = Candidate::new(endpoint, now);
            match candidate.service.poll_ready(cx) {
                Poll::Ready(Ok(())) => return candidate.call(request),
                Poll::Pending => {
                    let (first, request) = (Some(candidate), Some(request));
                    return State::Readying { first, second: Second::Unasked, request };
                }
                Poll::Ready(Err(error)) => {
                    match self.unready(Error::wrap(error), request, candidate.flight) {
                        Returned::ToAnother(returned) => request = returned,
                        Returned::ToItsCaller(error) => return State::Failed { error: Some(error) },
                    }
                }
            }
        }
    }

    /// There is nobody to pick.
    fn nobody<Req, F>(&mut self, request: Req, now: Instant, why: NotPicked) -> State<S, Req, F>
    where
        Req: Send + 'static,
    {
        self.core().revive();
        let (error, may_change) = self.core().nobody();
        match self.core().settings.wait_for_endpoint {
            Some(wait) if may_change && why == NotPicked::Nobody => {
                let core = Arc::clone(self.core());
                let until = || Deadline::after(now, wait).in_scope().instant();
                State::Waiting {
                    waiting: Box::pin(async move { core.wait().await }),
                    until: *self.waits_until.get_or_insert_with(until),
                    alarm: Alarm::new(),
                    request: Some(request),
                }
            }
            _ => State::Failed { error: Some(error.with_request(request)) },
        }
    }

    /// An endpoint failed to become ready: nothing was sent.
    fn unready<Req: Send + 'static>(
        &mut self,
        error: Error,
        request: Req,
        mut flight: Flight<S>,
    ) -> Returned<Req> {
        // Whatever it says, it has no connection that could be used.
        flight.unsent(Kind::Connect, self.core(), Instant::now());
        self.go_on(error, request, &flight)
    }

    /// One of two failed to become ready, and the other one is still busy: whether a third is asked.
    fn instead_of(&mut self, mut failed: Candidate<S>, error: Error, busy: &Candidate<S>) -> Second<S> {
        failed.flight.unsent(Kind::Connect, self.core(), Instant::now());
        self.failed.add(failed.flight.endpoint().number);
        let mut passed_over = self.failed;
        passed_over.add(busy.flight.endpoint().number);
        if self.may_fail_over(&passed_over) {
            self.fail_over(failed.flight.endpoint(), error.kind());
            Second::Unasked
        } else {
            Second::NoOther
        }
    }

    /// The endpoint to ask while this one is busy.
    fn another_than(&self, busy: &Candidate<S>) -> Second<S> {
        let mut passed_over = self.failed;
        passed_over.add(busy.flight.endpoint().number);
        let now = Instant::now();
        let picked = self.core().pick(now, self.key, &passed_over);
        picked.map_or(Second::NoOther, |endpoint| Second::Asked(Candidate::new(endpoint, now)))
    }

    /// Whether a request that came back unsent goes to another endpoint.
    fn go_on<Req: Send + 'static>(
        &mut self,
        error: Error,
        request: Req,
        flight: &Flight<S>,
    ) -> Returned<Req> {
        let endpoint = flight.endpoint();
        self.failed.add(endpoint.number);
        if self.may_fail_over(&self.failed) {
            self.fail_over(endpoint, error.kind());
            Returned::ToAnother(request)
        } else {
            Returned::ToItsCaller(error.with_request(request))
        }
    }

    /// Whether one may be asked that is none of these.
    fn may_fail_over(&self, passed_over: &Tried) -> bool {
        // Those that are forgotten would be asked again.
        let most = self.core().settings.failovers.min(Tried::MOST as u32 - 1);
        self.failovers < most && !is_late() && self.core().has_other(passed_over)
    }

    fn fail_over(&mut self, from: &Endpoint<S>, kind: Kind) {
        self.failovers += 1;
        self.core().tell_failover(from, kind);
    }
}

impl<S: Clone + Send + Sync + 'static> Candidate<S> {
    /// It is ready.
    fn call<Req>(mut self, request: Req) -> State<S, Req, S::Future>
    where
        S: Service<Req>,
    {
        self.flight.sent();
        nesting::tell_tried(self.flight.endpoint().number);
        let answer = self.service.call(request);
        State::Called { answer, flight: Some(self.flight) }
    }
}

impl<S, Req, C, M> BalancerFuture<S, Req, C, M>
where
    S: Service<Req, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    Req: Send + 'static,
{
    pub(super) fn new(
        anchor: Arc<Anchor<Core<S>>>,
        key: Option<u64>,
        (classify, mode): (C, M),
        asked: Asked,
        request: Req,
    ) -> Self {
        let (failed, failovers, waits_until) = (Tried::default(), 0, None);
        let mut call = Call { anchor, key, failed, failovers, waits_until };
        // Most are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
        let state = call.begin(request, &mut Context::from_waker(NOBODY));
        Self { state, call, classify: Some(classify), asked, mode }
    }
}

impl<S, Req, C, M> Future for BalancerFuture<S, Req, C, M>
where
    S: Service<Req, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
    Req: Send + 'static,
    C: Classify<S::Response>,
    M: Hold<Req, S::Response, S::Error, Option<InUse<S, C>>, Error = Error>,
{
    type Output = Result<M::Response, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let call = this.call;
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Called { answer, flight } => {
                    let answer = ready!(answer.poll(cx));
                    let flight = flight.take().expect("a future is polled until it is ready");
                    let classify = this.classify.as_ref().expect("a future is polled until it is ready");
                    let error = match answer {
                        Ok(response) => {
                            let until = this.mode.until(*this.asked, &response);
                            let outcome = classify.classify(Ok(&response));
                            let held = answered(flight, outcome, until, call.core(), this.classify.take());
                            return Poll::Ready(Ok(this.mode.hold(response, until, held)));
                        }
                        Err(error) => this.mode.err(error),
                    };
                    match call.failed(error, flight, |error| classify.classify(Err(error))) {
                        Returned::ToAnother(request) => {
                            // What the call held goes home before another is asked.
                            this.state.set(State::Failed { error: None });
                            call.begin(request, cx)
                        }
                        Returned::ToItsCaller(error) => return Poll::Ready(Err(error)),
                    }
                }
                StateProjection::Readying { first, second, request } => {
                    let polled = poll_either(call, first, second, cx);
                    // Whoever limits the call drops this future next; only here is it known that nothing was sent.
                    if polled.is_pending() && !scope::expired() {
                        return Poll::Pending;
                    }
                    let request = request.take().expect("a request is handed on once");
                    match polled {
                        Poll::Pending => not_ready(request),
                        Poll::Ready((_, Ok(()))) if is_late() => not_ready(request),
                        Poll::Ready((candidate, Ok(()))) => candidate.call(request),
                        Poll::Ready((candidate, Err(error))) => {
                            match call.unready(Error::wrap(error), request, candidate.flight) {
                                Returned::ToAnother(request) => call.begin(request, cx),
                                Returned::ToItsCaller(error) => return Poll::Ready(Err(error)),
                            }
                        }
                    }
                }
                StateProjection::Waiting { waiting, until, alarm, request } => {
                    let is_over = waiting.as_mut().poll(cx).is_ready();
                    if !is_over {
                        ready!(alarm.poll_until(cx, *until));
                    }
                    let request = request.take().expect("a request waits once");
                    let (error, _) = call.core().nobody();
                    if !is_over || !call.core().has_other(&call.failed) {
                        return Poll::Ready(Err(error.with_request(request)));
                    }
                    call.begin(request, cx)
                }
                StateProjection::Failed { error } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(error));
                }
            };
            this.state.set(next);
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Call<S> {
    /// The call ended with an error.
    fn failed<Req: Send + 'static>(
        &mut self,
        mut error: Error,
        mut flight: Flight<S>,
        judge: impl FnOnce(&Error) -> Outcome,
    ) -> Returned<Req> {
        let now = Instant::now();
        let kind = error.kind();
        let unsent = error.delivery() == Delivery::NotSent;
        // What cannot be sent as it is cannot be sent elsewhere.
        let request = if unsent && kind != Kind::Invalid { error.take_request::<Req>() } else { None };
        let was_late = unsent && was_connecting(&error);
        if unsent && !was_late {
            flight.unsent(kind, self.core(), now);
        } else {
            // As a call that is dropped when its deadline has passed: who set that called it too long.
            let outcome = if was_late { Outcome::Failure } else { judge(&error) };
            flight.ended(outcome, self.core(), now);
            flight.record(outcome, Some(self.core()));
        }
        self.core().sweep(now);
        match request {
            Some(request) => self.go_on(error, request, &flight),
            None => Returned::ToItsCaller(error),
        }
    }
}

/// Whether the time ran out while it was being connected to.
fn was_connecting(error: &Error) -> bool {
    let connects =
        |phase| matches!(phase, Phase::Resolve | Phase::Connect | Phase::Proxy | Phase::Tls | Phase::Preface);
    error.kind() == Kind::Timeout && error.cause::<Elapsed>().is_some_and(|late| connects(late.phase()))
}

/// The head of the answer is here. What is held until its body ends?
fn answered<S, C, Res>(
    mut flight: Flight<S>,
    outcome: Outcome,
    until: HoldUntil,
    core: &Arc<Core<S>>,
    classify: Option<C>,
) -> Option<InUse<S, C>>
where
    S: Clone + Send + Sync + 'static,
    C: Classify<Res>,
{
    let now = Instant::now();
    flight.ended(outcome, core, now);
    flight.proves_it(core);
    core.sweep(now);
    match classify {
        // The end may say otherwise.
        Some(classify) if outcome == Outcome::Success && until != HoldUntil::Head => {
            Some(InUse::good::<Res>(flight, classify))
        }
        _ => {
            flight.record(outcome, Some(core));
            (until != HoldUntil::Head).then(|| InUse::judged(flight))
        }
    }
}

type Ready<S, E> = (Candidate<S>, Result<(), E>);

/// Whichever of two is ready first. The other one is let go, and with it what it has reserved. If one fails, the other keeps its place.
fn poll_either<S, Req>(
    call: &mut Call<S>,
    first: &mut Option<Candidate<S>>,
    second: &mut Second<S>,
    cx: &mut Context<'_>,
) -> Poll<Ready<S, S::Error>>
where
    S: Service<Req, Error: Into<BoxError>> + Clone + Send + Sync + 'static,
{
    loop {
        let asked = first.as_mut().expect("it is there until one is ready");
        if let Poll::Ready(ready) = asked.service.poll_ready(cx) {
            let asked = first.take().expect("it is there until one is ready");
            match (ready, std::mem::replace(second, Second::NoOther)) {
                (Err(error), Second::Asked(other)) => {
                    *second = call.instead_of(asked, Error::wrap(error), &other);
                    *first = Some(other);
                    continue;
                }
                (ready, _) => return Poll::Ready((asked, ready)),
            }
        }
        if let Second::Unasked = second {
            *second = call.another_than(asked);
        }
        let Second::Asked(other) = second else { return Poll::Pending };
        let ready = ready!(other.service.poll_ready(cx));
        let Second::Asked(other) = std::mem::replace(second, Second::NoOther) else { return Poll::Pending };
        match ready {
            Ok(()) => {
                *first = None;
                return Poll::Ready((other, Ok(())));
            }
            Err(error) => *second = call.instead_of(other, Error::wrap(error), asked),
        }
    }
}

/// The time ran out before anybody was ready.
fn not_ready<S, Req, F>(request: Req) -> State<S, Req, F>
where
    S: Clone + Send + Sync + 'static,
    Req: Send + 'static,
{
    let late = Error::from(Elapsed::before_deadline(Phase::Readiness)).with_delivery(Delivery::NotSent);
    State::Failed { error: Some(late.with_request(request)) }
}

/// Whether the deadline in scope has passed: then nothing is begun.
fn is_late() -> bool {
    Deadline::current().is_some_and(|deadline| deadline.instant() <= Instant::now())
}

impl<S, Req, C, M> fmt::Debug for BalancerFuture<S, Req, C, M>
where
    S: Service<Req> + Clone + Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting { .. } => "waiting for an endpoint",
            State::Readying { .. } => "waiting for readiness",
            State::Called { .. } => "called",
            State::Failed { .. } => "failed",
        };
        f.debug_struct("BalancerFuture").field("state", &state).finish_non_exhaustive()
    }
}
