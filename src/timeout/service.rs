use std::task::{Context, Poll};
use std::time::Duration;

use tower_service::Service;

use super::ResponseFuture;
use super::future::{Given, Limit};
use crate::base::{Http, Mode, scope};

/// Answers within the limit, or fails. See the [module](super).
#[derive(Debug)]
pub struct Timeout<S, M = Http> {
    inner: S,
    limit: Option<Duration>,
    mode: M,
}

impl<S> Timeout<S> {
    /// Allow each call to `inner` so long, readiness included.
    ///
    /// ```
    /// use std::time::Duration;
    /// use stonework::timeout::Timeout;
    /// use tower::service_fn;
    ///
    /// let inner = service_fn(|text: String| async { Ok::<_, std::io::Error>(text) });
    /// let service = Timeout::new(inner, Duration::from_secs(10));
    /// # let _ = service;
    /// ```
    pub const fn new(inner: S, limit: Duration) -> Self {
        Self { inner, limit: Some(limit), mode: Http }
    }
}

impl<S, M> Timeout<S, M> {
    pub(super) const fn with(inner: S, limit: Option<Duration>, mode: M) -> Self {
        Self { inner, limit, mode }
    }
}

impl<S: Clone, M: Clone> Clone for Timeout<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), limit: self.limit, mode: self.mode.clone() }
    }
}

impl<S, Req, M> Service<Req> for Timeout<S, M>
where
    S: Service<Req> + Clone,
    M: Mode<Req, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = ResponseFuture<S, Req, M>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        // No call exists yet whose clock could run; the wait for the inner service is part of the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(&mut self.inner, request, |request| {
            let given = self.limit.map(|limit| Given::within(scope::now(), limit));
            Limit { asked: self.mode.ask(request), mode: self.mode.clone(), given }
        })
    }
}
