use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{CollectFuture, Collected};
use crate::base::{BoxError, Call, Error};

/// Answers with the whole body, if that is no larger than a cap. See [`CollectLayer`](super::CollectLayer).
#[derive(Debug)]
pub struct Collect<S> {
    inner: S,
    cap: Option<usize>,
}

impl<S> Collect<S> {
    /// Collect bodies of up to `cap_bytes` that `inner` answers with.
    ///
    /// ```
    /// use stonework::retry::Collect;
    /// use tower::service_fn;
    ///
    /// let inner = service_fn(|_: http::Request<()>| async { Ok::<_, std::io::Error>(http::Response::new(())) });
    /// let service = Collect::new(inner, 64 * 1024);
    /// # let _ = service;
    /// ```
    pub const fn new(inner: S, cap_bytes: usize) -> Self {
        Self::with(inner, Some(cap_bytes))
    }

    pub(super) const fn with(inner: S, cap: Option<usize>) -> Self {
        Self { inner, cap }
    }

    /// The cap for this call, if its answer is to be collected.
    fn cap_for<B>(&self, request: &Request<B>) -> Option<usize> {
        Call::of(request.extensions()).collects_within().or(self.cap).filter(|cap| *cap > 0)
    }
}

impl<S: Clone> Clone for Collect<S> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.cap)
    }
}

impl<S, ReqB, B> Service<Request<ReqB>> for Collect<S>
where
    S: Service<Request<ReqB>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Error: Into<BoxError>> + Unpin,
{
    type Response = Response<Collected<B>>;
    type Error = Error;
    type Future = CollectFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    fn call(&mut self, request: Request<ReqB>) -> Self::Future {
        let cap = self.cap_for(&request);
        let bodiless = matches!(*request.method(), Method::HEAD | Method::CONNECT);
        CollectFuture::new(self.inner.call(request), cap, bodiless)
    }
}
