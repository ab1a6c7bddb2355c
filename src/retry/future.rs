use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::attempts::Copies;
use super::progress::{Next, Progress};
use crate::base::body::Replay;
use crate::base::drain::{self, Drain};
use crate::base::{Alarm, BoxError, Classify, Deadline, Delivery, Elapsed, Error, Outcome, Phase, scope};

/// The call, with all its attempts. See [`RetryLayer`](super::RetryLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request<B>>, B, C, R> {
    #[pin]
    pub(super) state: State<S, S::Future, R>,
    // Beside what is known of the call, for it is large, and is moved once if it lies here.
    pub(super) copies: Copies<B>,
    pub(super) progress: Progress<S, C>,
}

#[pin_project(project = StateProjection)]
pub(super) enum State<S, F, R> {
    /// Waits for the answer; then ends the call, or is `Pausing`.
    Called {
        #[pin]
        answer: F,
    },
    /// Waits for the instant of the next attempt, if it has not come, and reads what is left of the last response; then
    /// is `Readying`.
    Pausing {
        #[pin]
        alarm: Alarm,
        at: Option<Instant>,
        #[pin]
        drain: Drain<R>,
        drained_by: Instant,
    },
    /// Waits for a service, which no attempt was made with; then is `Called`. One that fails to become ready is an attempt that failed.
    Readying { service: Box<S> },
}

impl<S, B, C, ResBody> Future for ResponseFuture<S, B, C, ResBody>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
    ResBody: Body,
{
    type Output = Result<Response<ResBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (progress, copies) = (this.progress, this.copies);
        loop {
            let (outcome, mut result) = match this.state.as_mut().project() {
                StateProjection::Called { answer } => {
                    let entered = progress.enter(copies);
                    let polled = answer.poll(cx);
                    progress.leave(entered);
                    match polled {
                        Poll::Ready(Ok(response)) => {
                            let outcome = progress.judge(Ok(&response));
                            // A response is large: it is moved once, from where it was found to where it is handed on.
                            if progress.is_done(outcome, &response) {
                                return Poll::Ready(Ok(response));
                            }
                            (outcome, Ok(response))
                        }
                        Poll::Ready(Err(error)) => failed(progress, Error::wrap(error)),
                        // Whoever limits the whole call drops this future next; only here is it known how many attempts
                        // were made and how far they got.
                        Poll::Pending if scope::expired() => {
                            failed(progress, Elapsed::before_deadline(Phase::Response).into())
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
                StateProjection::Pausing { mut alarm, at, mut drain, drained_by } => {
                    drain.as_mut().poll(cx);
                    if let Some(at) = *at {
                        if *drained_by < at && drain.as_mut().is_open() {
                            ready!(alarm.as_mut().poll_until(cx, *drained_by));
                            drain.close();
                        }
                        ready!(alarm.poll_until(cx, at));
                    }
                    this.state.set(State::Readying { service: Box::new(progress.service()) });
                    continue;
                }
                StateProjection::Readying { service } => {
                    match poll_ready(progress, copies, service, cx) {
                        Poll::Ready(Ok(())) => {
                            // The pause, or the wait for readiness, may have ended too late.
                            if Deadline::current()
                                .is_some_and(|deadline| deadline.instant() <= Instant::now())
                            {
                                return Poll::Ready(progress.out_of_time(copies));
                            }
                            let Some(request) = progress.start(copies) else {
                                return Poll::Ready(progress.body_lost(copies));
                            };
                            let entered = progress.enter(copies);
                            let answer = service.call(request);
                            progress.leave(entered);
                            this.state.set(State::Called { answer });
                            continue;
                        }
                        Poll::Ready(Err(error)) => {
                            progress.begin();
                            failed(progress, Error::wrap(error).with_delivery(Delivery::NotSent))
                        }
                        Poll::Pending if scope::expired() => {
                            return Poll::Ready(progress.out_of_time(copies));
                        }
                        Poll::Pending => return Poll::Pending,
                    }
                }
            };
            match progress.settle(outcome, &mut result, copies) {
                Next::Return => return Poll::Ready(result),
                Next::Pause(pause) => {
                    let now = Instant::now();
                    let at = (!pause.is_zero()).then(|| Deadline::after(now, pause).instant());
                    let drain = Drain::of(result.ok().map(Response::into_body));
                    let drained_by = now + drain::LONGEST;
                    this.state.set(State::Pausing { alarm: Alarm::new(), at, drain, drained_by });
                }
            }
        }
    }
}

/// What an error says, and the error.
fn failed<S, C, R>(progress: &Progress<S, C>, error: Error) -> (Outcome, Result<Response<R>, Error>)
where
    C: Classify<Response<R>>,
{
    (progress.judge(Err(&error)), Err(error))
}

/// Whether the service is ready for another attempt.
fn poll_ready<S: Service<Request<B>>, B: Replay, C>(
    progress: &mut Progress<S, C>,
    copies: &Copies<B>,
    service: &mut S,
    cx: &mut Context<'_>,
) -> Poll<Result<(), S::Error>> {
    let entered = progress.enter(copies);
    let ready = service.poll_ready(cx);
    progress.leave(entered);
    ready
}

impl<S: Service<Request<B>>, B, C, R> fmt::Debug for ResponseFuture<S, B, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "called",
            State::Pausing { .. } => "pausing",
            State::Readying { .. } => "waiting for readiness",
        };
        let mut shown = f.debug_struct("ResponseFuture");
        shown.field("state", &state).field("attempts", &self.progress.counted()).finish_non_exhaustive()
    }
}
