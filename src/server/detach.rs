use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::base::{Answer, Asked, Detach, Detached, Error, Http, Mode, Plain, Problem, take};

/// Lets a call come to its end when its client has gone: each runs as a task of its own, in a [`Detach`].
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response};
/// use stonework::Body;
/// use stonework::base::Detach;
/// use stonework::server::{DetachLayer, Server};
/// use tower::{ServiceBuilder, service_fn};
///
/// let detach = Detach::new(100);
/// let server = Server::builder().detach(detach.clone()); // which waits for it when it stops
/// let book = service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::from("booked"))) });
/// let service = ServiceBuilder::new().layer(DetachLayer::new(detach).answer()).service(book);
/// # let _ = (server, service);
/// ```
///
/// The call keeps its deadline, which is no longer its end, and its span. When there are as many as there may be, a call is refused before it is
/// made: with an error of kind [`Overload`](crate::base::Kind::Overload), or 503. A panic is an error of kind [`Other`](crate::base::Kind::Other), or
/// 500. *Only the call:* an answer whose client has gone is dropped, and with it what its body would still have done.
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it wraps a service"]
pub struct DetachLayer<M = Http> {
    /// Nothing, if the layer is switched off.
    detach: Option<Detach>,
    mode: M,
}

impl DetachLayer {
    /// Run calls in this.
    pub const fn new(detach: Detach) -> Self {
        Self { detach: Some(detach), mode: Http }
    }
}

impl<M> DetachLayer<M> {
    /// Refuse with a response, a [`Problem`], and leave the inner error type alone: for servers.
    pub fn answer(self) -> DetachLayer<Answer<Problem>> {
        self.answer_with(Problem)
    }

    /// Refuse with a response made by `refuse`. See [`Refuse`](crate::base::Refuse).
    pub fn answer_with<R>(self, refuse: R) -> DetachLayer<Answer<R>> {
        DetachLayer { detach: self.detach, mode: Answer::with(refuse) }
    }

    /// Refuse with an error, whatever the type of the response.
    pub fn plain(self) -> DetachLayer<Plain> {
        DetachLayer { detach: self.detach, mode: Plain }
    }

    /// With `false`, switch the layer off; its type stays the same.
    pub fn when(mut self, on: bool) -> Self {
        if !on {
            self.detach = None;
        }
        self
    }
}

impl<S, M: Clone> Layer<S> for DetachLayer<M> {
    type Service = DetachService<S, M>;

    fn layer(&self, inner: S) -> Self::Service {
        DetachService { inner, detach: self.detach.clone(), mode: self.mode.clone() }
    }
}

/// Lets a call come to its end. See [`DetachLayer`].
#[derive(Debug)]
pub struct DetachService<S, M = Http> {
    inner: S,
    detach: Option<Detach>,
    mode: M,
}

impl<S: Clone, M: Clone> Clone for DetachService<S, M> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), detach: self.detach.clone(), mode: self.mode.clone() }
    }
}

impl<S, Req, M> Service<Req> for DetachService<S, M>
where
    S: Service<Req, Response: Send + 'static, Error: Send + 'static, Future: Send + 'static> + Clone,
    M: Mode<Req, S::Response, S::Error> + Clone,
{
    type Response = M::Response;
    type Error = M::Error;
    type Future = DetachFuture<S, Req, M>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        self.inner.poll_ready(cx).map_err(|error| self.mode.fail(error))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let (asked, mode) = (self.mode.ask(&request), self.mode.clone());
        let state = match self.detach.as_ref().map(Detach::reserve) {
            None => State::Attached { answer: self.inner.call(request) },
            Some(Ok(place)) => State::Detached { answer: place.spawn(self.inner.call(request)) },
            Some(Err(full)) => {
                // What it reserved when it became ready is not kept for a call that may never come.
                drop(take(&mut self.inner));
                State::Refused { error: Some(full.into()) }
            }
        };
        DetachFuture { state, asked, mode }
    }
}

/// A call that comes to its end. See [`DetachLayer`].
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct DetachFuture<S: Service<Req>, Req, M> {
    #[pin]
    state: State<S::Future, S::Response, S::Error>,
    asked: Asked,
    mode: M,
}

#[pin_project(project = StateProjection)]
enum State<F, T, E> {
    Attached {
        #[pin]
        answer: F,
    },
    Detached {
        answer: Detached<Result<T, E>>,
    },
    Refused {
        error: Option<Error>,
    },
}

impl<S, Req, M> Future for DetachFuture<S, Req, M>
where
    S: Service<Req>,
    M: Mode<Req, S::Response, S::Error>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = match this.state.project() {
            StateProjection::Attached { answer } => Ok(ready!(answer.poll(cx))),
            StateProjection::Detached { answer } => ready!(Pin::new(answer).poll(cx)),
            StateProjection::Refused { error } => {
                Err(error.take().expect("a future is polled until it is ready"))
            }
        };
        Poll::Ready(match answer {
            Ok(Ok(response)) => Ok(this.mode.pass(*this.asked, response, None)),
            Ok(Err(error)) => Err(this.mode.fail(error)),
            Err(error) => this.mode.refuse(*this.asked, error),
        })
    }
}

impl<S: Service<Req>, Req, M> fmt::Debug for DetachFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Attached { .. } => "DetachFuture(attached)",
            State::Detached { .. } => "DetachFuture(detached)",
            State::Refused { .. } => "DetachFuture(refused)",
        })
    }
}
