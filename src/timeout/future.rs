use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::base::{Alarm, Asked, Delivery, Elapsed, Error, Limited, Mode, NOBODY, Phase, scope};

/// The call, limited as a whole. See the [module](super).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Req>, Req, M> {
    #[pin]
    state: State<S, Req, S::Future, S::Error>,
    #[pin]
    alarm: Alarm,
    limit: Limit<M>,
    refused: Option<Error>,
}

#[pin_project(project = StateProjection)]
enum State<S, Req, F, E> {
    /// The service said that it is broken.
    Broken { error: Option<E> },
    /// Waits for the service; then calls it, and is `Called`.
    Waiting { service: S, request: Option<Req> },
    /// Waits for the answer.
    Called {
        #[pin]
        answer: F,
    },
}

impl<S: Service<Req>, Req, M> ResponseFuture<S, Req, M>
where
    M: Mode<Req, S::Response, S::Error>,
{
    #[inline]
    pub(super) fn new(mut service: S, request: Req, mode: M, start: Instant, at: Option<Instant>) -> Self {
        let limit = Limit { asked: mode.ask(&request), mode, start, at };
        if limit.was_spent() {
            return Self {
                state: State::Waiting { service, request: Some(request) },
                alarm: Alarm::new(),
                limit,
                refused: None,
            };
        }
        // Most services are ready at once. Then the call is made here, where the clock was just read. If this one is not,
        // nobody is to be woken yet: the future asks it again.
        let mut nobody = Context::from_waker(NOBODY);
        let _entered = scope::call(Some(start), at);
        // Each arm makes the whole future, for the answer is large, and every move of it costs.
        let alarm = Alarm::new();
        match service.poll_ready(&mut nobody) {
            Poll::Ready(Ok(())) => {
                let answer = service.call(request);
                Self { state: State::Called { answer }, alarm, limit, refused: None }
            }
            Poll::Ready(Err(error)) => {
                Self { state: State::Broken { error: Some(error) }, alarm, limit, refused: None }
            }
            Poll::Pending => {
                let state = State::Waiting { service, request: Some(request) };
                Self { state, alarm, limit, refused: None }
            }
        }
    }

    /// A request that cannot be served as it came: nothing is called.
    pub(super) fn refused(service: S, request: Req, mode: M, start: Instant, error: Error) -> Self {
        let limit = Limit { asked: mode.ask(&request), mode, start, at: None };
        let state = State::Waiting { service, request: Some(request) };
        Self { state, alarm: Alarm::new(), limit, refused: Some(error) }
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
        let at = this.limit.at;
        if let Some(error) = this.refused.take() {
            return Poll::Ready(this.limit.mode.refuse(this.limit.asked, error));
        }
        if this.limit.was_spent() && matches!(*this.state, State::Waiting { .. }) {
            return Poll::Ready(this.limit.elapsed(Phase::Readiness));
        }
        let mut inner = |cx: &mut Context<'_>| loop {
            match this.state.as_mut().project() {
                StateProjection::Broken { error } => {
                    return Poll::Ready(Err(error.take().expect("a future is polled until it is ready")));
                }
                StateProjection::Waiting { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(error));
                    }
                    // Ready too late: nothing is begun that cannot finish. The timer is about to end the call.
                    if at.is_some_and(|at| scope::has_reached(at) || at <= Instant::now()) {
                        return Poll::Pending;
                    }
                    // `Waiting` is left in the very step that takes the request.
                    let request = request.take().expect("a request is handed on once");
                    let entered = scope::call(None, at);
                    let answer = service.call(request);
                    drop(entered);
                    this.state.set(State::Called { answer });
                }
                StateProjection::Called { answer } => return answer.poll(cx),
            }
        };
        let limited = match at {
            Some(at) => ready!(this.alarm.poll_limited(cx, at, inner)),
            None => Limited::Done(ready!(inner(cx))),
        };
        Poll::Ready(match limited {
            Limited::Done(answer) => this.limit.pass(answer),
            Limited::Elapsed => this.limit.elapsed(match *this.state {
                State::Broken { .. } | State::Waiting { .. } => Phase::Readiness,
                State::Called { .. } => Phase::Response,
            }),
        })
    }
}

impl<S: Service<Req>, Req, M> fmt::Debug for ResponseFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("deadline", &self.limit.at).finish_non_exhaustive()
    }
}

/// What both futures of this module know of their limit.
pub(super) struct Limit<M> {
    pub(super) asked: Asked,
    pub(super) mode: M,
    pub(super) start: Instant,
    pub(super) at: Option<Instant>,
}

impl<M> Limit<M> {
    /// Whether there was no time at all: then nothing is begun that cannot finish.
    pub(super) fn was_spent(&self) -> bool {
        self.at.is_some_and(|at| at <= self.start)
    }

    pub(super) fn pass<Req, Res, E>(&self, answer: Result<Res, E>) -> Result<M::Response, M::Error>
    where
        M: Mode<Req, Res, E>,
    {
        match answer {
            Ok(response) => Ok(self.mode.pass(self.asked, response, self.at)),
            Err(error) => Err(self.mode.fail(error)),
        }
    }

    pub(super) fn elapsed<Req, Res, E>(&self, phase: Phase) -> Result<M::Response, M::Error>
    where
        M: Mode<Req, Res, E>,
    {
        let granted = self.at.map(|at| at.saturating_duration_since(self.start)).unwrap_or_default();
        let delivery = match phase {
            Phase::Readiness => Delivery::NotSent,
            _ => Delivery::Unknown,
        };
        self.mode.refuse(self.asked, Error::from(Elapsed::new(phase, granted)).with_delivery(delivery))
    }
}
