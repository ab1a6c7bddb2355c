use std::fmt;
use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::gate::{Gate, Judge, Started};
use super::{Claims, JwtFuture, Verifier, bearer};
use crate::base::{Error, Http, Mode, TokenFault};

/// Lets requests in whose token is good. See [`JwtLayer`](super::JwtLayer).
pub struct JwtService<S, T = (), M = Http> {
    inner: S,
    gate: Gate<Verifier<T>, M>,
}

impl<S, T, M> JwtService<S, T, M> {
    pub(super) const fn with(inner: S, gate: Gate<Verifier<T>, M>) -> Self {
        Self { inner, gate }
    }
}

impl<S: Clone, T, M: Clone> Clone for JwtService<S, T, M> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.gate.clone())
    }
}

impl<S, B, T, M> Service<Request<B>> for JwtService<S, T, M>
where
    S: Service<Request<B>> + Clone,
    T: Send + Sync + 'static,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = JwtFuture<S, B, Claims<T>, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.gate.poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.gate.call(&mut self.inner, request)
    }
}

impl<T: Send + Sync + 'static> Judge for Verifier<T> {
    type Found = Claims<T>;

    fn start(&self, token: &[u8]) -> Started<Claims<T>> {
        // What is good consists of less than what tokens may consist of: only what is refused is looked at.
        Self::start(self, token, bearer::is_token)
    }

    fn refuse(&self, fault: TokenFault) -> Error {
        Self::refuse(self, fault.into())
    }

    fn leave<B>(request: &mut Request<B>, claims: Claims<T>) {
        request.extensions_mut().insert(claims.principal());
        request.extensions_mut().insert(claims);
    }
}

impl<S: fmt::Debug, T, M> fmt::Debug for JwtService<S, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtService")
            .field("inner", &self.inner)
            .field("verifier", &self.gate.judge)
            .finish_non_exhaustive()
    }
}
