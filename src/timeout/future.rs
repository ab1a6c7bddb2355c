use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::base::{
    Alarm, Asked, Deadline, Delivery, Elapsed, Error, Mode, NOBODY, Phase, Then,
    scope::{self, Hasty},
    take, unready,
};

/// The call, limited as a whole. See the [module](super).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, M> {
    #[pin]
    state: State<S, Req, S::Future, S::Error>,
    #[pin]
    alarm: Alarm,
    limit: Limit<M>,
}

#[pin_project(project = StateProjection)]
enum State<S, Req, F, E> {
    /// Cannot be served as it came.
    Refused { error: Option<Error> },
    /// There was no time at all.
    Spent,
    /// The service said that it is broken.
    Broken { error: Option<E> },
    /// Waits for the service; then calls it, and is `Called`. In a box, since it is rare, and a call is moved as it is.
    Waiting(Box<Waiting<S, Req>>),
    /// Waits for the answer.
    Called {
        #[pin]
        answer: F,
    },
}

/// A request, and the service that it waits for.
struct Waiting<S, Req> {
    service: S,
    request: Option<Req>,
}

impl<S, Req, M> ResponseFuture<S, Req, M>
where
    S: Service<Req> + Clone,
    M: Mode<Req, S::Response, S::Error>,
{
    /// What is known of the limit is asked in here, and not before: a request that is at hand while something else is done is moved
    /// once more.
    #[inline]
    pub(super) fn new(inner: &mut S, request: Req, limit: impl FnOnce(&Req) -> Limit<M>) -> Self {
        let limit = limit(&request);
        let given = limit.given;
        let alarm = Alarm::new();
        if limit.was_spent() {
            return Self { state: State::Spent, alarm, limit };
        }
        // Most services are ready at once. Then the call is made here, where the clock was just read, and by the service in its
        // place, of which nobody needs a copy. If this one is not, nobody is to be woken yet: the future asks it again.
        let mut nobody = Context::from_waker(NOBODY);
        let _haste = given.and_then(Given::haste);
        let _entered = given.map(|Given { start, at, .. }| scope::call(Some(start), Some(at)));
        // Each arm makes the whole future, for the answer is large, and every move of it costs.
        match inner.poll_ready(&mut nobody) {
            Poll::Ready(Ok(())) => {
                Self { state: State::Called { answer: inner.call(request) }, alarm, limit }
            }
            Poll::Ready(Err(error)) => {
                // It is not to be asked again.
                drop(take(inner));
                Self { state: State::Broken { error: Some(error) }, alarm, limit }
            }
            Poll::Pending => {
                let waiting = Waiting { service: take(inner), request: Some(request) };
                Self { state: State::Waiting(Box::new(waiting)), alarm, limit }
            }
        }
    }

    /// A request that cannot be served as it came: nothing is called.
    pub(super) fn refused(request: &Req, mode: M, error: Error) -> Self {
        let limit = Limit { asked: mode.ask(request), mode, given: None };
        Self { state: State::Refused { error: Some(error) }, alarm: Alarm::new(), limit }
    }
}

impl<S, Req, M> Future for ResponseFuture<S, Req, M>
where
    S: Service<Req>,
    M: Mode<Req, S::Response, S::Error>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let at = this.limit.at();
        match this.state.as_mut().project() {
            StateProjection::Refused { error } => {
                let error = error.take().expect("a future is polled until it is ready");
                return Poll::Ready(this.limit.mode.refuse(this.limit.asked, error));
            }
            StateProjection::Spent => return Poll::Ready(this.limit.elapsed(Phase::Readiness)),
            StateProjection::Broken { .. } | StateProjection::Waiting(_) | StateProjection::Called { .. } => {
            }
        }
        let _haste = this.limit.given.and_then(Given::haste);
        let mut reached = None;
        loop {
            let round = at.map(|at| this.alarm.as_mut().begin(cx, at, reached));
            if let StateProjection::Waiting(waiting) = this.state.as_mut().project() {
                match waiting.call(cx, at) {
                    Poll::Ready(Ok(answer)) => this.state.set(State::Called { answer }),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(unready(&this.limit.mode, error))),
                    Poll::Pending => {}
                }
            }
            match this.state.as_mut().project() {
                // An answer is large: it is moved once, from where it was found to where it is handed on.
                StateProjection::Called { answer } => match answer.poll(cx) {
                    Poll::Ready(Ok(response)) => return Poll::Ready(Ok(this.limit.answered(response, at))),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(this.limit.mode.fail(error))),
                    Poll::Pending => {}
                },
                StateProjection::Broken { error } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(unready(&this.limit.mode, error)));
                }
                // The first two were answered above.
                StateProjection::Refused { .. } | StateProjection::Spent | StateProjection::Waiting(_) => {}
            }
            let Some((at, round)) = at.zip(round) else { return Poll::Pending };
            match this.alarm.as_mut().pending(cx, at, round) {
                Then::Wait => return Poll::Pending,
                Then::Again(at) => reached = Some(at),
                Then::Elapsed => {
                    return Poll::Ready(this.limit.elapsed(match *this.state {
                        State::Called { .. } => Phase::Response,
                        _ => Phase::Readiness,
                    }));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req> Waiting<S, Req> {
    /// Call the service once it is ready, and in time.
    fn call(&mut self, cx: &mut Context<'_>, at: Option<Instant>) -> Poll<Result<S::Future, S::Error>> {
        let Self { service, request } = self;
        if let Err(error) = ready!(service.poll_ready(cx)) {
            return Poll::Ready(Err(error));
        }
        // Ready too late: nothing is begun that cannot finish. The timer is about to end the call.
        if at.is_some_and(|at| scope::has_reached(at) || at <= Instant::now()) {
            return Poll::Pending;
        }
        // `Waiting` is left in the very step that takes the request.
        let request = request.take().expect("a request is handed on once");
        let _entered = scope::call(None, at);
        Poll::Ready(Ok(service.call(request)))
    }
}

impl<S: Service<Req>, Req, M> fmt::Debug for ResponseFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("deadline", &self.limit.at()).finish_non_exhaustive()
    }
}

/// What both futures of this module know of their limit.
pub(super) struct Limit<M> {
    pub(super) asked: Asked,
    pub(super) mode: M,
    /// Nothing, if it may take as long as it takes: then no clock was read.
    pub(super) given: Option<Given>,
}

/// Since when a call runs, and until when it may.
#[derive(Clone, Copy)]
pub(super) struct Given {
    pub(super) start: Instant,
    pub(super) at: Instant,
    /// It was asked for by somebody whom nobody knows, and is too little to say anything of whoever is called.
    pub(super) hasty: bool,
}

impl Given {
    /// So long from `start`, within the deadline in scope.
    #[inline]
    pub(super) fn within(start: Instant, limit: Duration) -> Self {
        Self { start, at: Deadline::after(start, limit).in_scope().instant(), hasty: false }
    }

    /// The same, said by somebody whom nobody knows, if it is `hasty`; unless the deadline in scope is earlier, which is somebody else's.
    pub(super) fn said(start: Instant, limit: Duration, hasty: bool) -> Self {
        let given = Self::within(start, limit);
        Self { hasty: hasty && given.at == Deadline::after(start, limit).instant(), ..given }
    }

    /// To be in force while something is called or polled.
    #[inline]
    fn haste(self) -> Option<Hasty> {
        self.hasty.then(|| scope::hasty(self.at))
    }
}

impl<M> Limit<M> {
    /// Whether there was no time at all: then nothing is begun that cannot finish.
    pub(super) fn was_spent(&self) -> bool {
        self.given.is_some_and(|given| given.at <= given.start)
    }

    pub(super) fn at(&self) -> Option<Instant> {
        self.given.map(|given| given.at)
    }

    /// What it answered, with a body that may take until `whole`.
    #[inline]
    pub(super) fn answered<Req, Res, E>(&self, response: Res, whole: Option<Instant>) -> M::Response
    where
        M: Mode<Req, Res, E>,
    {
        self.mode.pass(self.asked, response, whole)
    }

    pub(super) fn elapsed<Req, Res, E>(&self, phase: Phase) -> Result<M::Response, M::Error>
    where
        M: Mode<Req, Res, E>,
    {
        let granted = |given: Given| given.at.saturating_duration_since(given.start);
        let granted = self.given.map(granted).unwrap_or_default();
        let delivery = match phase {
            Phase::Readiness => Delivery::NotSent,
            _ => Delivery::Unknown,
        };
        self.mode.refuse(self.asked, Error::from(Elapsed::new(phase, granted)).with_delivery(delivery))
    }
}
