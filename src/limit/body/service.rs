use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::limited::Grown;
use super::size;
use super::{LimitedBody, RequestLimitFuture, ResponseLimitFuture};
use crate::base::{BoxError, Delivery, Error, Http, Mode, take};

/// Limits the size of request bodies. See [`RequestBodyLimitLayer`](super::RequestBodyLimitLayer).
#[derive(Debug)]
pub struct RequestBodyLimit<S, M = Http> {
    inner: S,
    cap: u64,
    mode: M,
}

/// Limits the size of response bodies. See [`ResponseBodyLimitLayer`](super::ResponseBodyLimitLayer).
#[derive(Debug)]
pub struct ResponseBodyLimit<S> {
    inner: S,
    cap: u64,
}

impl<S, M> RequestBodyLimit<S, M> {
    pub(super) const fn with(inner: S, cap: u64, mode: M) -> Self {
        Self { inner, cap, mode }
    }
}

impl<S> ResponseBodyLimit<S> {
    /// Allow responses of `inner` so many bytes.
    ///
    /// ```
    /// use stonework::limit::ResponseBodyLimit;
    /// use tower::service_fn;
    ///
    /// let inner = service_fn(|_: http::Request<()>| async { Ok::<_, std::io::Error>(http::Response::new(())) });
    /// let service = ResponseBodyLimit::new(inner, 1024 * 1024);
    /// # let _ = service;
    /// ```
    pub const fn new(inner: S, bytes: u64) -> Self {
        Self { inner, cap: bytes }
    }
}

impl<S: Clone, M: Clone> Clone for RequestBodyLimit<S, M> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.cap, self.mode.clone())
    }
}

impl<S: Clone> Clone for ResponseBodyLimit<S> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.cap)
    }
}

impl<S, B, R, M> Service<Request<B>> for RequestBodyLimit<S, M>
where
    S: Service<Request<LimitedBody<B>>, Response = Response<R>> + Clone,
    B: Body,
    M: Mode<Request<B>, Response<R>, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = RequestLimitFuture<S::Future, B, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.mode.fail(error))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (asked, mode) = (self.mode.ask(&request), self.mode.clone());
        let hint = request.body().size_hint();
        if size::is_announced_over(self.cap, &hint) {
            // What it reserved when it became ready is not kept for a call that may never come.
            drop(take(&mut self.inner));
            return RequestLimitFuture::refused(self.cap, asked, mode);
        }
        // A body whose size is known cannot grow, and one without a limit cannot grow over it: nothing to remember.
        let may_grow = self.cap < u64::MAX && !size::is_announced_within(self.cap, &hint);
        let grown = may_grow.then(Grown::default);
        let (cap, watched) = (self.cap, grown.clone());
        let request = request.map(|body| LimitedBody::new(body, cap, Delivery::Unknown, watched));
        RequestLimitFuture::called(self.inner.call(request), cap, asked, mode, grown)
    }
}

impl<S, Req, B> Service<Req> for ResponseBodyLimit<S>
where
    S: Service<Req, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<LimitedBody<B>>;
    type Error = Error;
    type Future = ResponseLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseLimitFuture::new(self.inner.call(request), self.cap)
    }
}
