//! Breakers that are no tower layers, as services: the least that a user of theirs would write.

use std::task::{Context, Poll};

use failsafe::futures::CircuitBreaker as _;
use recloser::{AnyError, AsyncRecloser, RecloserFuture};
use tower::Service;

/// A service behind a breaker of failsafe's. The future is made first, and polled only if the breaker lets it.
pub(crate) struct Failsafe<S, P> {
    inner: S,
    breaker: failsafe::StateMachine<P, ()>,
}

impl<S, P> Failsafe<S, P> {
    pub(crate) fn new(inner: S, breaker: failsafe::StateMachine<P, ()>) -> Self {
        Self { inner, breaker }
    }
}

impl<S: Clone, P> Clone for Failsafe<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), breaker: self.breaker.clone() }
    }
}

impl<S, P, R, T, E> Service<R> for Failsafe<S, P>
where
    S: Service<R, Response = T, Error = E>,
    S::Future: Future<Output = Result<T, E>>,
    P: failsafe::FailurePolicy + Send + Sync,
{
    type Response = T;
    type Error = failsafe::Error<E>;
    type Future = failsafe::futures::ResponseFuture<S::Future, P, (), failsafe::Any>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(failsafe::Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}

/// A service behind a breaker of recloser's. The future is made first, and polled only if the breaker lets it.
#[derive(Clone)]
pub(crate) struct Recloser<S> {
    inner: S,
    breaker: AsyncRecloser,
}

impl<S> Recloser<S> {
    pub(crate) fn new(inner: S, breaker: recloser::Recloser) -> Self {
        Self { inner, breaker: AsyncRecloser::from(breaker) }
    }
}

impl<S, R, T, E> Service<R> for Recloser<S>
where
    S: Service<R, Response = T, Error = E>,
    S::Future: Future<Output = Result<T, E>>,
{
    type Response = T;
    type Error = recloser::Error<E>;
    type Future = RecloserFuture<S::Future, AnyError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(recloser::Error::Inner)
    }

    fn call(&mut self, request: R) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}
