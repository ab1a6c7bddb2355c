use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower_service::Service;

use super::{Manage, Pooled};
use crate::base::body::{BodyEnd, Guard};
use crate::base::{Asked, Error, Hold, NOBODY};

type Answering<M, Req> = <<M as Manage>::Object as Service<Req>>::Future;
type Failing<M, Req> = <<M as Manage>::Object as Service<Req>>::Error;
type Getting<M> = Pin<Box<dyn Future<Output = Result<Pooled<M>, Error>> + Send>>;

/// A call with an object of a pool. See [`PoolService`](super::PoolService).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct PoolFuture<M: Manage<Object: Service<Req>>, Req, Mo> {
    #[pin]
    state: State<M, Req, Answering<M, Req>, Failing<M, Req>>,
    asked: Asked,
    mode: Mo,
}

#[pin_project(project = StateProjection)]
enum State<M: Manage, Req, F, E> {
    Waiting {
        getting: Getting<M>,
        request: Option<Req>,
    },
    /// Waits for the object to be ready.
    Has {
        object: Option<Pooled<M>>,
        request: Option<Req>,
    },
    Broken {
        failed: Option<(E, Req)>,
    },
    Called {
        #[pin]
        answer: F,
        object: Option<Pooled<M>>,
    },
}

impl<M, Req, Mo> PoolFuture<M, Req, Mo>
where
    M: Manage<Object: Service<Req>>,
{
    pub(super) const fn waiting(getting: Getting<M>, request: Req, asked: Asked, mode: Mo) -> Self {
        Self { state: State::Waiting { getting, request: Some(request) }, asked, mode }
    }

    pub(super) fn with(mut object: Pooled<M>, request: Req, asked: Asked, mode: Mo) -> Self {
        // Most are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
        let state = match object.poll_ready(&mut Context::from_waker(NOBODY)) {
            Poll::Ready(Ok(())) => {
                let answer = object.call(request);
                State::Called { answer, object: Some(object) }
            }
            Poll::Ready(Err(error)) => {
                object.discard();
                State::Broken { failed: Some((error, request)) }
            }
            Poll::Pending => State::Has { object: Some(object), request: Some(request) },
        };
        Self { state, asked, mode }
    }
}

impl<M, Req, Mo> Future for PoolFuture<M, Req, Mo>
where
    M: Manage<Object: Service<Req>>,
    Req: Send + 'static,
    Mo: Hold<Req, <M::Object as Service<Req>>::Response, <M::Object as Service<Req>>::Error, InPool<M>>,
{
    type Output = Result<Mo::Response, Mo::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Called { answer, object } => {
                    let answer = ready!(answer.poll(cx));
                    let object = object.take().expect("a future is polled until it is ready");
                    return Poll::Ready(match answer {
                        Ok(response) => {
                            let until = this.mode.until(*this.asked, &response);
                            Ok(this.mode.hold(response, until, InPool(object)))
                        }
                        Err(error) => {
                            object.discard();
                            Err(this.mode.err(error))
                        }
                    });
                }
                StateProjection::Has { object, request } => {
                    let ready =
                        ready!(object.as_mut().expect("it is there until it is called").poll_ready(cx));
                    let mut object = object.take().expect("it is there until it is called");
                    let request = request.take().expect("a request is handed on once");
                    if let Err(error) = ready {
                        object.discard();
                        return Poll::Ready(Err(this.mode.unready(error, request)));
                    }
                    let answer = object.call(request);
                    this.state.set(State::Called { answer, object: Some(object) });
                }
                StateProjection::Waiting { getting, request } => {
                    let got = ready!(getting.as_mut().poll(cx));
                    let request = request.take().expect("a request waits once");
                    match got {
                        Ok(object) => {
                            this.state.set(State::Has { object: Some(object), request: Some(request) })
                        }
                        Err(error) => {
                            let error = if Mo::ANSWERS { error } else { error.with_request(request) };
                            return Poll::Ready(this.mode.end(*this.asked, error));
                        }
                    }
                }
                StateProjection::Broken { failed } => {
                    let (error, request) = failed.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(this.mode.unready(error, request)));
                }
            }
        }
    }
}

impl<M: Manage<Object: Service<Req>>, Req, Mo> fmt::Debug for PoolFuture<M, Req, Mo> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolFuture").finish_non_exhaustive()
    }
}

/// An object that goes back to its pool when a response body has ended. See [`PoolService`](super::PoolService).
pub struct InPool<M: Manage>(Pooled<M>);

impl<M: Manage> Guard for InPool<M> {
    fn settle(self, end: BodyEnd) {
        match end {
            BodyEnd::Complete => self.0.put_back(),
            // Its manager knows whether it is clean.
            BodyEnd::Abandoned => drop(self.0),
            BodyEnd::Failed => self.0.discard(),
        }
    }
}

impl<M: Manage> fmt::Debug for InPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InPool").field(&self.0).finish()
    }
}
