use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH};
use http::{Request, Response};
use pin_project::pin_project;
use tower_service::Service;

use super::body::Decoded;
use super::codings::{ACCEPTED, done_to, is_asked_for};
use crate::base::body::Body;

/// Asks for encoded answers, and decodes them.
pub(crate) struct Decode<S> {
    inner: S,
    on: bool,
}

impl<S> Decode<S> {
    pub(crate) const fn new(inner: S, on: bool) -> Self {
        Self { inner, on }
    }
}

impl<S: Clone> Clone for Decode<S> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), on: self.on }
    }
}

impl<S> fmt::Debug for Decode<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decode").field("on", &self.on).finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for Decode<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Decoding<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Decoding<S::Future> {
        let asked = self.on && is_asked_for(request.method(), request.headers());
        if asked {
            request.headers_mut().insert(ACCEPT_ENCODING, ACCEPTED);
        }
        Decoding { answer: self.inner.call(request), asked }
    }
}

/// A call whose answer is decoded.
#[pin_project]
pub(crate) struct Decoding<F> {
    #[pin]
    answer: F,
    /// The answer was asked for in this way. What nobody asked for is for the caller.
    asked: bool,
}

impl<F, E> Future for Decoding<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        Poll::Ready(Ok(if *this.asked { decoded(response) } else { response }))
    }
}

fn decoded(mut response: Response<Body>) -> Response<Body> {
    let codings = done_to(&response);
    if codings.is_empty() {
        return response;
    }
    // They speak of what came, not of what is handed out.
    response.headers_mut().remove(CONTENT_ENCODING);
    response.headers_mut().remove(CONTENT_LENGTH);
    response.map(|body| Body::new(Decoded::of(&codings, body)))
}
