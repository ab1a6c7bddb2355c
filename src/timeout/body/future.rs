use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::pin_project;
use tokio::time::Instant;

use super::watch::Watch;
use super::{BodyLimits, TimedBody};
use crate::base::Delivery;

/// A call whose response body will be limited. See [`ResponseBodyTimeout`](super::ResponseBodyTimeout).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct BodyTimeoutFuture<F> {
    #[pin]
    answer: F,
    limits: BodyLimits,
    deadline: Option<Instant>,
}

impl<F> BodyTimeoutFuture<F> {
    pub(super) const fn new(answer: F, limits: BodyLimits, deadline: Option<Instant>) -> Self {
        Self { answer, limits, deadline }
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
        Poll::Ready(Ok(response.map(|body| TimedBody::new(body, watch, Delivery::Answered))))
    }
}

impl<F> fmt::Debug for BodyTimeoutFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodyTimeoutFuture").field("limits", &self.limits).finish_non_exhaustive()
    }
}
