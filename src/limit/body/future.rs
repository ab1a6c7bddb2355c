use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;

use super::limited::Grown;
use super::{LimitedBody, size};
use crate::base::{Asked, BoxError, Delivery, Error, Mode};

/// A call with a limited request body. See [`RequestBodyLimitLayer`](super::RequestBodyLimitLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct RequestLimitFuture<F, B, M> {
    // Nothing, if the body was announced to be too large.
    #[pin]
    answer: Option<F>,
    cap: u64,
    asked: Asked,
    mode: M,
    grown: Option<Grown>,
    request: PhantomData<fn(B)>,
}

impl<F, B, M> RequestLimitFuture<F, B, M> {
    pub(super) const fn refused(cap: u64, asked: Asked, mode: M) -> Self {
        Self { answer: None, cap, asked, mode, grown: None, request: PhantomData }
    }

    pub(super) const fn called(answer: F, cap: u64, asked: Asked, mode: M, grown: Option<Grown>) -> Self {
        Self { answer: Some(answer), cap, asked, mode, grown, request: PhantomData }
    }
}

impl<F, B, R, E, M> Future for RequestLimitFuture<F, B, M>
where
    F: Future<Output = Result<Response<R>, E>>,
    M: Mode<Request<B>, Response<R>, E>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (cap, asked, mode) = (*this.cap, *this.asked, &*this.mode);
        let Some(answer) = this.answer.as_pin_mut() else {
            return Poll::Ready(mode.refuse(asked, size::refusal(cap, Delivery::NotSent)));
        };
        let answer = ready!(answer.poll(cx));
        let grown = this.grown.as_ref().is_some_and(Grown::is_over);
        Poll::Ready(match answer {
            Ok(response) if grown && size::is_complaint(response.status(), response.headers()) => {
                mode.refuse(asked, size::refusal(cap, Delivery::Unknown))
            }
            Err(_) if grown => mode.refuse(asked, size::refusal(cap, Delivery::Unknown)),
            Ok(response) => Ok(mode.pass(asked, response, None)),
            Err(error) => Err(mode.fail(error)),
        })
    }
}

impl<F, B, M> fmt::Debug for RequestLimitFuture<F, B, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestLimitFuture").field("cap", &self.cap).finish_non_exhaustive()
    }
}

/// A call whose response body will be limited. See [`ResponseBodyLimitLayer`](super::ResponseBodyLimitLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseLimitFuture<F> {
    #[pin]
    answer: F,
    cap: u64,
}

impl<F> ResponseLimitFuture<F> {
    pub(super) const fn new(answer: F, cap: u64) -> Self {
        Self { answer, cap }
    }
}

impl<F, B, E> Future for ResponseLimitFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<LimitedBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (response, cap) = (ready!(this.answer.poll(cx)).map_err(Error::wrap)?, *this.cap);
        if size::is_announced_over(cap, &response.body().size_hint()) {
            return Poll::Ready(Err(size::refusal(cap, Delivery::Answered)));
        }
        Poll::Ready(Ok(response.map(|body| LimitedBody::new(body, cap, Delivery::Answered, None))))
    }
}

impl<F> fmt::Debug for ResponseLimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseLimitFuture").field("cap", &self.cap).finish_non_exhaustive()
    }
}
