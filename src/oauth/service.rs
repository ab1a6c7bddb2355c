use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response, header};
use tower_service::Service;

use super::BearerFuture;
use super::layer::Terms;
use super::source::Obtained;
use crate::base::body::{Kept, Replay};
use crate::base::{BoxError, Error, take};

/// Sends requests with a token. See [`BearerLayer`](super::BearerLayer).
pub struct BearerService<S> {
    inner: S,
    terms: Terms,
}

impl<S> BearerService<S> {
    pub(super) const fn with(inner: S, terms: Terms) -> Self {
        Self { inner, terms }
    }
}

impl<S: Clone> Clone for BearerService<S> {
    fn clone(&self) -> Self {
        Self::with(self.inner.clone(), self.terms.clone())
    }
}

impl<S, B, R> Service<Request<B>> for BearerService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
{
    type Response = Response<R>;
    type Error = Error;
    type Future = BearerFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.terms.source.is_some() {
            // Whoever waits for a token is to hold no place below meanwhile: the token may have to come through there.
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx).map_err(Error::wrap)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let service = take(&mut self.inner);
        let Terms { source, origins, replay_cap } = &self.terms;
        let Some(source) = source else { return BearerFuture::called(service, request) };
        let is_meant = origins.iter().any(|origin| origin.has(request.uri()))
            && !request.headers().contains_key(header::AUTHORIZATION);
        if !is_meant {
            return BearerFuture::bare(service, request);
        }
        let kept = match replay_cap {
            Some(cap) if request.body_mut().record(*cap) => Kept::of(&request),
            Some(_) | None => None,
        };
        match source.obtain() {
            Obtained::Now(Ok(token)) => BearerFuture::with(service, request, source, token, kept),
            Obtained::Now(Err(error)) => BearerFuture::refused(service, error.with_request(request)),
            Obtained::Later(coming) => BearerFuture::waiting(service, request, source, coming, kept),
        }
    }
}

/// Shows nothing of the service, which may have secrets of its own.
impl<S> fmt::Debug for BearerService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerService").field("terms", &self.terms).finish_non_exhaustive()
    }
}
