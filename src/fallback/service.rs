use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use super::layer::Shared;
use super::primary::Primary;
use super::{Backup, FallbackFuture, Value, ValueFuture};
use crate::base::body::Replay;
use crate::base::{BoxError, Error};

/// Asks something else when a call has failed. See the [module](super).
#[derive(Debug)]
pub struct FallbackService<S, F> {
    inner: S,
    // Nothing, if the layer is off.
    shared: Option<Arc<Shared<F>>>,
}

impl<S, F> FallbackService<S, F> {
    pub(super) const fn with(inner: S, shared: Option<Arc<Shared<F>>>) -> Self {
        Self { inner, shared }
    }
}

impl<S: Clone, F> Clone for FallbackService<S, F> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: self.shared.clone() }
    }
}

impl<S, T, B, R> Service<Request<B>> for FallbackService<S, Backup<T>>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    T: Service<Request<B>, Response = Response<R>> + Clone,
    T::Error: Into<BoxError>,
    B: Replay + Send + 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = FallbackFuture<S, T, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // What is waited for depends on how the call goes, so all of it is waited for in the call.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        FallbackFuture::new(&mut self.inner, request, self.shared.clone())
    }
}

impl<S, V, B, R> Service<Request<B>> for FallbackService<S, Value<V>>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    V: Fn(&Error) -> Response<R>,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = ValueFuture<S, V, B>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ValueFuture::new(Primary::new(&mut self.inner, request), self.shared.clone())
    }
}
