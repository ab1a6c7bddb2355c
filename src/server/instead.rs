//! What is answered in the place of a service. It stands inside of what names requests and tells of them, so that what they say of an answer is true
//! of the one that the client gets.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::thread::panicking;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use pin_project::pin_project;
use tower_service::Service;

use super::addressed;
use super::arriving::Arrival;
use super::exchange::{asked_of, report};
use super::shutdown::Shutdown;
use crate::Body;
use crate::base::body::{Held, HoldUntil};
use crate::base::{Asked, BodyTooSlow, Error, Kind, Misaddressed, Panic, Panicked, Problem, Refuse, caught};

/// Answers for a service that panics, and says in place of one that could not read a body in time what it was. What does not say whom it is for
/// as it has to does not come to the service.
pub(super) struct Instead<S> {
    inner: S,
}

impl<S> Instead<S> {
    /// Of one that waits for what there is to wait for within its calls.
    pub(super) const fn of(inner: S) -> Self {
        Self { inner }
    }
}

impl<S: Clone> Clone for Instead<S> {
    fn clone(&self) -> Self {
        Self::of(self.inner.clone())
    }
}

impl<S, B> Service<Request<Body>> for Instead<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
{
    type Response = Response<Held<B, ()>>;
    type Error = S::Error;
    type Future = InsteadFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let about = About {
            asked: asked_of(&request),
            // Nobody else is to find it.
            arrival: request.extensions_mut().remove(),
            server: request.extensions().get().cloned(),
        };
        if let Some(how) = addressed::fault(&request) {
            return InsteadFuture { answer: None, over: Some(Over::Misaddressed(how)), about };
        }
        let (answer, over) = match caught(|| self.inner.call(request)) {
            Ok(answer) => (Some(answer), None),
            Err(panic) => (None, Some(Over::Panicked(panic))),
        };
        InsteadFuture { answer, over, about }
    }
}

#[pin_project]
pub(super) struct InsteadFuture<F> {
    #[pin]
    answer: Option<F>,
    /// There is nothing to wait for.
    over: Option<Over>,
    about: About,
}

/// Why a request is answered for as soon as it comes.
enum Over {
    Misaddressed(&'static str),
    /// The call itself has.
    Panicked(Panic),
}

impl<F, B, E> Future for InsteadFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Held<B, ()>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let polled = match this.over.take() {
            None => caught(|| Polled(this.answer).poll(cx)),
            Some(Over::Panicked(panic)) => Err(panic),
            Some(Over::Misaddressed(how)) => return Poll::Ready(Ok(this.about.misaddressed(how))),
        };
        Poll::Ready(Ok(match polled {
            Ok(polled) => this.about.answered(ready!(polled)?),
            Err(panic) => this.about.panicked(&panic),
        }))
    }
}

/// What panics is dropped while it does, so that what it holds can see that.
struct Polled<'a, F>(Pin<&'a mut Option<F>>);

impl<F: Future> Polled<'_, F> {
    fn poll(mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.0.as_mut().as_pin_mut().expect("a future is polled until it is ready").poll(cx)
    }
}

impl<F> Drop for Polled<'_, F> {
    fn drop(&mut self) {
        if panicking() {
            self.0.set(None);
        }
    }
}

/// What is known of a request when its service has it.
struct About {
    asked: Asked,
    /// Nothing, if it has no body.
    arrival: Option<Arrival>,
    server: Option<Shutdown>,
}

impl About {
    fn answered<B>(&self, response: Response<B>) -> Response<Held<B, ()>> {
        // What a handler makes of a body that breaks off is some error of its own; the client is told what it was.
        if is_general(response.status()) && self.arrival.as_ref().is_some_and(Arrival::is_late) {
            return self.refusal(&Error::new(Kind::Body, BodyTooSlow));
        }
        response.map(|body| Held::new(body, (), HoldUntil::Head))
    }

    fn panicked<B>(&self, panic: &Panic) -> Response<Held<B, ()>> {
        if let Some(Shutdown { connection }) = &self.server {
            report(connection, &**panic);
        }
        let mut response = self.refusal(&Error::new(Kind::Other, "the handler panicked"));
        response.extensions_mut().insert(Panicked);
        response
    }

    fn misaddressed<B>(&self, how: &'static str) -> Response<Held<B, ()>> {
        let mut response = self.refusal(&Error::new(Kind::Invalid, Misaddressed(how)));
        response.extensions_mut().insert(Misaddressed(how));
        response
    }

    fn refusal<B>(&self, error: &Error) -> Response<Held<B, ()>> {
        Problem.refuse(self.asked, error).map(|bytes: Bytes| Held::bytes(bytes))
    }
}

/// It says nothing but that something went wrong.
fn is_general(status: StatusCode) -> bool {
    status == StatusCode::BAD_REQUEST || status == StatusCode::INTERNAL_SERVER_ERROR
}
