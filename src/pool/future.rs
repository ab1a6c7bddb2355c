use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::StatusCode;
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
                            let head = Mo::head(&response);
                            let is_taken = head.is_some_and(|(status, _)| switches(status, *this.asked));
                            Ok(this.mode.hold(response, until, InPool { object, is_taken }))
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

/// Whether the connection speaks another protocol from here on (RFC 9110, sections 9.3.6 and 15.2.2).
fn switches(status: StatusCode, asked: Asked) -> bool {
    status == StatusCode::SWITCHING_PROTOCOLS || asked.connect && status.is_success()
}

/// An object that goes back to its pool when a response body has ended. See [`PoolService`](super::PoolService).
pub struct InPool<M: Manage> {
    object: Pooled<M>,
    /// It is of no use to another caller.
    is_taken: bool,
}

impl<M: Manage> Guard for InPool<M> {
    fn settle(self, end: BodyEnd) {
        match end {
            _ if self.is_taken => self.object.discard(),
            BodyEnd::Complete => self.object.put_back(),
            // Its manager knows whether it is clean.
            BodyEnd::Abandoned => drop(self.object),
            BodyEnd::Failed => self.object.discard(),
        }
    }
}

impl<M: Manage> fmt::Debug for InPool<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InPool").field(&self.object).finish()
    }
}
