use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;
use tracing::Span;

use super::SpanFuture;
use super::attributes::{self, About};

/// Does its work in a span. See [`SpanLayer`](super::SpanLayer).
#[derive(Debug)]
pub struct Spanned<S> {
    inner: S,
    about: Option<About>,
}

impl<S> Spanned<S> {
    pub(super) const fn with(inner: S, about: Option<About>) -> Self {
        Self { inner, about }
    }
}

impl<S: Clone> Clone for Spanned<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), about: self.about }
    }
}

impl<S, B, R> Service<Request<B>> for Spanned<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = SpanFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let span = self.about.map_or_else(Span::none, |about| attributes::open(about, &request));
        let entered = span.enter();
        let answer = self.inner.call(request);
        drop(entered);
        SpanFuture::new(answer, span)
    }
}
