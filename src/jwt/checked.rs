use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower_service::Service;

use crate::base::{Asked, Error, Mode, NOBODY, take, unready};

/// A call whose sender was asked what they may do. See [`RequireLayer`](super::RequireLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CheckedFuture<S: Service<Req>, Req, M> {
    #[pin]
    state: State<S, Req, S::Future, S::Error>,
    asked: Asked,
    mode: M,
}

#[pin_project(project = StateProjection)]
enum State<S, Req, F, E> {
    /// May come in, and waits for the service; then calls it, and is `Called`.
    Admitted {
        service: S,
        request: Option<Req>,
    },
    /// The service said that it is broken.
    Broken {
        error: Option<E>,
    },
    /// Waits for the answer.
    Called {
        #[pin]
        answer: F,
    },
    Refused {
        error: Option<Error>,
    },
}

impl<S: Service<Req>, Req, M> CheckedFuture<S, Req, M> {
    pub(super) fn admitted(inner: &mut S, request: Req, asked: Asked, mode: M) -> Self
    where
        S: Clone,
    {
        // Most services are ready at once, and are called where they lie. If this one is not, nobody is to be woken yet: the future asks it
        // again.
        match inner.poll_ready(&mut Context::from_waker(NOBODY)) {
            Poll::Ready(Ok(())) => Self::called(inner.call(request), asked, mode),
            Poll::Ready(Err(error)) => {
                // It is not to be asked again.
                drop(take(inner));
                Self { state: State::Broken { error: Some(error) }, asked, mode }
            }
            Poll::Pending => {
                let state = State::Admitted { service: take(inner), request: Some(request) };
                Self { state, asked, mode }
            }
        }
    }

    /// Of a service that was found to be ready.
    pub(super) const fn called(answer: S::Future, asked: Asked, mode: M) -> Self {
        Self { state: State::Called { answer }, asked, mode }
    }

    pub(super) const fn refused(error: Error, asked: Asked, mode: M) -> Self {
        Self { state: State::Refused { error: Some(error) }, asked, mode }
    }
}

impl<S, Req, M> Future for CheckedFuture<S, Req, M>
where
    S: Service<Req>,
    M: Mode<Req, S::Response, S::Error>,
{
    type Output = Result<M::Response, M::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Called { answer } => {
                    return Poll::Ready(match ready!(answer.poll(cx)) {
                        Ok(response) => Ok(this.mode.pass(*this.asked, response, None)),
                        Err(error) => Err(this.mode.fail(error)),
                    });
                }
                StateProjection::Admitted { service, request } => {
                    if let Err(error) = ready!(service.poll_ready(cx)) {
                        return Poll::Ready(Err(unready(this.mode, error)));
                    }
                    // `Admitted` is left in the very step that takes the request.
                    let request = request.take().expect("a request is handed on once");
                    let answer = service.call(request);
                    this.state.set(State::Called { answer });
                }
                StateProjection::Broken { error } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(unready(this.mode, error)));
                }
                StateProjection::Refused { error } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    return Poll::Ready(this.mode.refuse(*this.asked, error));
                }
            }
        }
    }
}

impl<S: Service<Req>, Req, M> fmt::Debug for CheckedFuture<S, Req, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Admitted { .. } | State::Broken { .. } => "CheckedFuture(admitted)",
            State::Called { .. } => "CheckedFuture(called)",
            State::Refused { .. } => "CheckedFuture(refused)",
        })
    }
}
