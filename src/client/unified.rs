//! Brings the body of an answer back into one type, so that a classifier and a caller can name it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project::pin_project;
use tower_service::Service;

use super::builder::Judge;
use super::limits::LimitedBody;
use super::transport::Wired;
use crate::base::body::{Body, Held};
use crate::breaker::Judging;
use crate::retry::{Collected, Resumed};
use crate::timeout::TimedBody;

/// Not a map of tower's, whose future is written anew as a whole when it is ready.
#[derive(Debug)]
pub(super) struct Unified<S>(pub(super) S);

impl<S: Clone> Clone for Unified<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A body whose type is forgotten.
pub(super) trait Erase {
    fn erase(self) -> Body;
}

impl Erase for LimitedBody<TimedBody<Wired>> {
    fn erase(self) -> Body {
        Body::new(self)
    }
}

impl Erase for Held<Body, Option<Judging<Judge>>> {
    fn erase(self) -> Body {
        match self.into_free() {
            Ok(body) => body,
            Err(held) => Body::new(held),
        }
    }
}

impl Erase for Held<Body, ()> {
    fn erase(self) -> Body {
        Body::new(self)
    }
}

impl Erase for Collected<Body> {
    fn erase(self) -> Body {
        self.into()
    }
}

impl<S> Erase for Resumed<S, Body, Body>
where
    Self: Into<Body>,
    S: Service<http::Request<Body>>,
{
    fn erase(self) -> Body {
        self.into()
    }
}

impl<S, Req, B> Service<Req> for Unified<S>
where
    S: Service<Req, Response = Response<B>>,
    B: Erase,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = UnifiedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        UnifiedFuture { answer: self.0.call(request) }
    }
}

#[pin_project]
pub(super) struct UnifiedFuture<F> {
    #[pin]
    answer: F,
}

impl<F, B, E> Future for UnifiedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Erase,
{
    type Output = Result<Response<Body>, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(ready!(self.project().answer.poll(cx))?.map(Erase::erase)))
    }
}
