use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::{pin_project, pinned_drop};
use tracing::Span;

use super::attributes;

/// A call in its span. See [`SpanLayer`](super::SpanLayer).
#[pin_project(PinnedDrop)]
#[must_use = "futures do nothing unless polled"]
pub struct SpanFuture<F> {
    // Nothing, once it has answered. It is dropped in the span.
    #[pin]
    answer: Option<F>,
    span: Span,
}

impl<F> SpanFuture<F> {
    pub(super) const fn new(answer: F, span: Span) -> Self {
        Self { answer: Some(answer), span }
    }
}

impl<F, R, E> Future for SpanFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    E: 'static,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let entered = this.span.enter();
        let answer = this.answer.as_mut().as_pin_mut().expect("a future is polled until it is ready");
        let result = ready!(answer.poll(cx));
        this.answer.set(None);
        drop(entered);
        match &result {
            Ok(response) => attributes::answered(this.span, response.status()),
            Err(error) => attributes::failed(this.span, error),
        }
        Poll::Ready(result)
    }
}

#[pinned_drop]
impl<F> PinnedDrop for SpanFuture<F> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.answer.is_some() {
            let entered = this.span.enter();
            this.answer.set(None);
            drop(entered);
            attributes::dropped(this.span);
        }
    }
}

impl<F> fmt::Debug for SpanFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanFuture").field("span", &self.span.id()).finish_non_exhaustive()
    }
}
