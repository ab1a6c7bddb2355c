use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use tower_service::Service;

use super::ResponseFuture;
use super::future::{Given, Limit};
use super::wire::{Said, less_margin};
use crate::base::{Error, Http, InvalidTimeout, Kind, Mode, Peer, TrustedPeers, scope};

/// Answers before the caller gives up. See [`ReceiveDeadlineLayer`](super::ReceiveDeadlineLayer), and the [module](super).
#[derive(Debug)]
pub struct ReceiveDeadline<S, M = Http> {
    inner: S,
    mode: M,
    // Shared, since a service is cloned and moved for each request.
    terms: Arc<Terms>,
}

#[derive(Debug)]
struct Terms {
    header: Option<Said>,
    margin: Duration,
    at_most: Option<Duration>,
    believed: TrustedPeers,
}

impl<S, M> ReceiveDeadline<S, M> {
    pub(super) fn with(
        inner: S,
        header: Option<Said>,
        margin: Duration,
        mode: M,
        at_most: Option<Duration>,
        believed: TrustedPeers,
    ) -> Self {
        Self { inner, mode, terms: Arc::new(Terms { header, margin, at_most, believed }) }
    }
}

impl<S: Clone, M: Clone> Clone for ReceiveDeadline<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), mode: self.mode.clone(), terms: Arc::clone(&self.terms) }
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
        let Self { inner, mode, terms } = self;
        let mode = mode.clone();
        match terms.told(&request) {
            Ok(told) => {
                let limit = told.into_iter().chain(terms.at_most).min();
                let hasty = limit.is_some_and(|limit| terms.is_hasty(told, limit));
                let given = limit.map(|limit| Given::said(scope::now(), limit, hasty));
                ResponseFuture::new(inner, request, |request| Limit { asked: mode.ask(request), mode, given })
            }
            Err(invalid) => {
                let error = Error::new(Kind::Invalid, invalid);
                ResponseFuture::refused(&request, mode, error)
            }
        }
    }
}

/// A caller of whom nothing is known, and who gives less, may have any reason to. It is less than any limit that this crate has for an attempt.
const HASTE: Duration = Duration::from_secs(1);

impl Terms {
    /// Whether it is the caller's word alone that there is so little time, and nobody has said whose word is meant.
    fn is_hasty(&self, told: Option<Duration>, limit: Duration) -> bool {
        told == Some(limit) && limit < HASTE && self.at_most != told && self.believed.is_everybody()
    }

    /// How much time a request leaves.
    fn told<B>(&self, request: &Request<B>) -> Result<Option<Duration>, InvalidTimeout> {
        let header = self.header.as_ref().filter(|_| self.believed.trusts(Peer::of(request.extensions())));
        let Some(header) = header else { return Ok(None) };
        let told = header.of(request.headers()).decode(request.headers())?;
        Ok(told.map(|told| less_margin(told, self.margin)))
    }
}
