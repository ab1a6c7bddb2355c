//! The call itself, readiness included, before anything falls back.

use std::pin::Pin;
use std::task::{Context, Poll};

use http::Request;
use pin_project::pin_project;
use tower_service::Service;

use super::future::is_late;
use crate::base::{BoxError, Delivery, Elapsed, Error, NOBODY, Phase, scope, take};

#[pin_project(project = PrimaryProjection)]
pub(super) enum Primary<S: Service<Request<B>>, B> {
    /// The service said that it is broken.
    Broken { error: Option<S::Error>, request: Option<Request<B>> },
    /// Waits for the service; then calls it, and is `Called`.
    Waiting { service: S, request: Option<Request<B>> },
    /// Waits for the answer.
    Called {
        #[pin]
        answer: S::Future,
    },
}

impl<S: Service<Request<B>> + Clone, B> Primary<S, B> {
    /// Most services are ready at once, and are called here. If this one is not, nobody is to be woken yet: the future takes it along, and asks
    /// it again.
    #[inline]
    pub(super) fn new(service: &mut S, request: Request<B>) -> Self {
        match service.poll_ready(&mut Context::from_waker(NOBODY)) {
            Poll::Ready(Ok(())) => Self::Called { answer: service.call(request) },
            Poll::Ready(Err(error)) => {
                // Readiness that failed is the end of this value; further calls go on with a clone.
                drop(take(service));
                Self::Broken { error: Some(error), request: Some(request) }
            }
            Poll::Pending => Self::Waiting { service: take(service), request: Some(request) },
        }
    }
}

impl<S: Service<Request<B>>, B> Primary<S, B> {
    /// The request, if the service was not called.
    pub(super) fn unsent(self: Pin<&mut Self>) -> Option<Request<B>> {
        match self.project() {
            PrimaryProjection::Broken { request, .. } | PrimaryProjection::Waiting { request, .. } => {
                request.take()
            }
            PrimaryProjection::Called { .. } => None,
        }
    }
}

impl<S, B> Future for Primary<S, B>
where
    S: Service<Request<B>>,
    S::Error: Into<BoxError>,
{
    type Output = Result<S::Response, Error>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.as_mut().project() {
                PrimaryProjection::Broken { error, .. } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(unready(error)));
                }
                PrimaryProjection::Waiting { service, request } => match service.poll_ready(cx) {
                    // Ready too late: nothing is begun that cannot finish.
                    Poll::Ready(Ok(())) if is_late() => return Poll::Ready(Err(not_ready())),
                    Poll::Ready(Ok(())) => {
                        // `Waiting` is left in the very step that takes the request.
                        let request = request.take().expect("a request is handed on once");
                        let answer = service.call(request);
                        self.set(Self::Called { answer });
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(unready(error))),
                    // Whoever limits the call drops this future next; only here is it known that nothing was sent.
                    Poll::Pending if scope::expired() => return Poll::Ready(Err(not_ready())),
                    Poll::Pending => return Poll::Pending,
                },
                PrimaryProjection::Called { answer } => return answer.poll(cx).map_err(Error::wrap),
            }
        }
    }
}

/// The service broke before it was called.
pub(super) fn unready(error: impl Into<BoxError>) -> Error {
    Error::wrap(error).with_delivery(Delivery::NotSent)
}

/// The time ran out before the service was called.
pub(super) fn not_ready() -> Error {
    Error::from(Elapsed::before_deadline(Phase::Readiness)).with_delivery(Delivery::NotSent)
}
