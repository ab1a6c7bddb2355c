use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::watch::Watch;
use super::{BodyLimits, BodyTimeoutFuture, TimedBody};
use crate::base::{Delivery, scope};

/// Limits the time that response bodies take. See [`ResponseBodyTimeoutLayer`](super::ResponseBodyTimeoutLayer).
#[derive(Debug)]
pub struct ResponseBodyTimeout<S> {
    inner: S,
    limits: BodyLimits,
    answers: bool,
}

/// Limits the time that request bodies take. See [`RequestBodyTimeoutLayer`](super::RequestBodyTimeoutLayer).
#[derive(Debug)]
pub struct RequestBodyTimeout<S> {
    inner: S,
    limits: BodyLimits,
}

impl<S> ResponseBodyTimeout<S> {
    /// Limit the bodies of the responses of `inner`.
    ///
    /// ```
    /// use stonework::timeout::{BodyLimits, ResponseBodyTimeout};
    /// use tower::service_fn;
    ///
    /// let inner = service_fn(|_: http::Request<()>| async { Ok::<_, std::io::Error>(http::Response::new(())) });
    /// let service = ResponseBodyTimeout::new(inner, BodyLimits::new());
    /// # let _ = service;
    /// ```
    pub const fn new(inner: S, limits: BodyLimits) -> Self {
        Self { inner, limits, answers: false }
    }

    /// See [`ResponseBodyTimeoutLayer::answer`](super::ResponseBodyTimeoutLayer::answer).
    #[must_use]
    pub fn answer(self) -> Self {
        Self { answers: true, ..self }
    }
}

impl<S> RequestBodyTimeout<S> {
    /// Limit the bodies of the requests to `inner`.
    ///
    /// ```
    /// use stonework::timeout::{BodyLimits, RequestBodyTimeout};
    /// use tower::service_fn;
    ///
    /// let inner = service_fn(|_: http::Request<()>| async { Ok::<_, std::io::Error>(http::Response::new(())) });
    /// let service = RequestBodyTimeout::new(inner, BodyLimits::new());
    /// # let _ = service;
    /// ```
    pub const fn new(inner: S, limits: BodyLimits) -> Self {
        Self { inner, limits }
    }
}

impl<S: Clone> Clone for ResponseBodyTimeout<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limits: self.limits, answers: self.answers }
    }
}

impl<S: Clone> Clone for RequestBodyTimeout<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limits: self.limits }
    }
}

impl<S, Req, B> Service<Req> for ResponseBodyTimeout<S>
where
    S: Service<Req, Response = Response<B>>,
{
    type Response = Response<TimedBody<B>>;
    type Error = S::Error;
    type Future = BodyTimeoutFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let deadline = scope::current().whole;
        BodyTimeoutFuture::new(self.inner.call(request), self.limits, deadline, self.answers)
    }
}

impl<S, B> Service<Request<B>> for RequestBodyTimeout<S>
where
    S: Service<Request<TimedBody<B>>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let watch = Watch::new(&self.limits, scope::now, scope::current().whole);
        self.inner.call(request.map(|body| TimedBody::new(body, watch, Delivery::Unknown)))
    }
}
