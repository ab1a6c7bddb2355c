use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::pin_project;
use tokio::time::Instant;

use super::watch::Watch;
use super::{BodyLimits, TimedBody};
use crate::base::{Delivery, says_grpc};

/// A call whose response body will be limited. See [`ResponseBodyTimeoutLayer`](super::ResponseBodyTimeoutLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct BodyTimeoutFuture<F> {
    #[pin]
    answer: F,
    limits: BodyLimits,
    deadline: Option<Instant>,
    answers: bool,
}

impl<F> BodyTimeoutFuture<F> {
    pub(super) const fn new(answer: F, limits: BodyLimits, deadline: Option<Instant>, answers: bool) -> Self {
        Self { answer, limits, deadline, answers }
    }
}

impl<F, B, E> Future for BodyTimeoutFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<TimedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        let watch = Watch::new(this.limits, Instant::now, *this.deadline);
        let with_trailers = *this.answers && says_grpc(response.headers());
        Poll::Ready(Ok(response.map(|body| {
            let body = TimedBody::new(body, watch, Delivery::Answered);
            if with_trailers { body.ending_with_trailers() } else { body }
        })))
    }
}

impl<F> fmt::Debug for BodyTimeoutFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyTimeoutFuture").field("limits", &self.limits).finish_non_exhaustive()
    }
}
