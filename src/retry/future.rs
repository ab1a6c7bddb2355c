use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use pin_project::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use super::attempts::Plan;
use super::layer::Shared;
use super::progress::{Next, Progress};
use crate::base::body::Replay;
use crate::base::{Alarm, BoxError, CallId, Classify, Deadline, Delivery, Elapsed, Error, Phase, scope};

/// The call, with all its attempts. See [`Retry`](super::Retry).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S: Service<Request<B>>, B, C> {
    #[pin]
    state: State<S::Future>,
    service: S,
    progress: Progress<B, C>,
}

#[pin_project(project = StateProjection)]
enum State<F> {
    /// Waits for the answer; then ends the call, or is `Pausing`, or `Readying` when there is no pause.
    Called {
        #[pin]
        answer: F,
    },
    /// Waits for the instant of the next attempt; then is `Readying`.
    Pausing {
        #[pin]
        alarm: Alarm,
        at: Instant,
    },
    /// Waits for the service; then is `Called`. A service that fails to become ready is an attempt that failed.
    Readying,
}

impl<S: Service<Request<B>>, B, C> ResponseFuture<S, B, C> {
    pub(super) fn new(
        service: S,
        answer: S::Future,
        plan: Plan<B>,
        shared: Arc<Shared<C>>,
        call: Option<CallId>,
    ) -> Self {
        let progress = Progress::new(plan, shared, call);
        Self { state: State::Called { answer }, service, progress }
    }
}

impl<S, B, C, ResBody> Future for ResponseFuture<S, B, C>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
    C: Classify<Response<ResBody>>,
{
    type Output = Result<Response<ResBody>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let progress = this.progress;
        loop {
            let result = match this.state.as_mut().project() {
                StateProjection::Called { answer } => match answer.poll(cx) {
                    Poll::Ready(result) => result.map_err(Error::wrap),
                    // Whoever limits the whole call drops this future next; only here is it known how many attempts
                    // were made and how far they got.
                    Poll::Pending if scope::expired() => {
                        Err(Elapsed::before_deadline(Phase::Response).into())
                    }
                    Poll::Pending => return Poll::Pending,
                },
                StateProjection::Pausing { alarm, at } => {
                    ready!(alarm.poll_until(cx, *at));
                    this.state.set(State::Readying);
                    continue;
                }
                StateProjection::Readying => match this.service.poll_ready(cx) {
                    Poll::Ready(Ok(())) => {
                        // The pause, or the wait for readiness, may have ended too late.
                        if Deadline::current().is_some_and(|deadline| deadline.instant() <= Instant::now()) {
                            return Poll::Ready(progress.out_of_time());
                        }
                        let Some(request) = progress.start() else {
                            return Poll::Ready(progress.body_lost());
                        };
                        let answer = this.service.call(request);
                        this.state.set(State::Called { answer });
                        continue;
                    }
                    Poll::Ready(Err(error)) => {
                        // Readiness that failed is the end of this value; a further attempt goes on with a clone.
                        let clone = this.service.clone();
                        *this.service = clone;
                        progress.begin();
                        Err(Error::wrap(error).with_delivery(Delivery::NotSent))
                    }
                    Poll::Pending if scope::expired() => return Poll::Ready(progress.out_of_time()),
                    Poll::Pending => return Poll::Pending,
                },
            };
            match progress.settle(result) {
                Next::Return(result) => return Poll::Ready(result),
                Next::Pause(Duration::ZERO) => this.state.set(State::Readying),
                Next::Pause(pause) => {
                    let at = Deadline::after(Instant::now(), pause).instant();
                    this.state.set(State::Pausing { alarm: Alarm::new(), at });
                }
            }
        }
    }
}

impl<S: Service<Request<B>>, B, C> fmt::Debug for ResponseFuture<S, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "called",
            State::Pausing { .. } => "pausing",
            State::Readying => "waiting for readiness",
        };
        let mut shown = f.debug_struct("ResponseFuture");
        shown.field("state", &state).field("attempts", &self.progress.counted()).finish_non_exhaustive()
    }
}
