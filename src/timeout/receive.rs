use std::mem;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tower_service::Service;

use super::ResponseFuture;
use super::wire::{Said, less_margin};
use crate::base::{Deadline, Error, Http, Kind, Mode, Peer, TrustedPeers, scope};

/// Answers before the caller gives up. See [`ReceiveDeadlineLayer`](super::ReceiveDeadlineLayer), and the [module](super).
#[derive(Debug)]
pub struct ReceiveDeadline<S, M = Http> {
    inner: S,
    header: Option<Said>,
    margin: Duration,
    mode: M,
    at_most: Option<Duration>,
    believed: TrustedPeers,
}

impl<S, M> ReceiveDeadline<S, M> {
    pub(super) const fn with(
        inner: S,
        header: Option<Said>,
        margin: Duration,
        mode: M,
        at_most: Option<Duration>,
        believed: TrustedPeers,
    ) -> Self {
        Self { inner, header, margin, mode, at_most, believed }
    }
}

impl<S: Clone, M: Clone> Clone for ReceiveDeadline<S, M> {
    fn clone(&self) -> Self {
        let Self { inner, header, margin, mode, at_most, believed } = self;
        Self::with(inner.clone(), header.clone(), *margin, mode.clone(), *at_most, believed.clone())
    }
}

impl<S, B, M> Service<Request<B>> for ReceiveDeadline<S, M>
where
    S: Service<Request<B>> + Clone,
    M: Mode<Request<B>, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = ResponseFuture<S, Request<B>, M>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        // The wait for the inner service is part of the call, whose deadline is in the request.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let clone = self.inner.clone();
        let service = mem::replace(&mut self.inner, clone);
        let (mode, start) = (self.mode.clone(), scope::now());
        let headers = request.headers();
        let header = self.header.as_ref().filter(|_| self.believed.trusts(Peer::of(request.extensions())));
        match header.map(|header| header.of(headers).decode(headers)).transpose() {
            Ok(told) => {
                let told = told.flatten().map(|told| less_margin(told, self.margin));
                let limit = told.into_iter().chain(self.at_most).min();
                let at = limit.map(|limit| Deadline::after(start, limit).in_scope().instant());
                ResponseFuture::new(service, request, mode, start, at)
            }
            Err(invalid) => {
                let error = Error::new(Kind::Invalid, invalid);
                ResponseFuture::refused(service, request, mode, start, error)
            }
        }
    }
}
