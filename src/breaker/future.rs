use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::HeaderMap;
use pin_project::pin_project;

use super::{CircuitOpen, Permit};
use crate::base::body::{BodyEnd, Guard};
use crate::base::{Asked, Classify, Error, Hold, Outcome};

/// A call under a circuit. See [`BreakerService`](super::BreakerService).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, Req, C, M> {
    #[pin]
    call: State<F, C>,
    asked: Asked,
    mode: M,
    request: PhantomData<fn(Req)>,
}

#[pin_project(project = StateProjection)]
enum State<F, C> {
    Called {
        // Before the permit, so that what the call holds is free again when another may be made.
        #[pin]
        answer: F,
        judging: Option<Judging<C>>,
    },
    Refused {
        error: Option<Error>,
    },
}

impl<F, Req, C, M> ResponseFuture<F, Req, C, M> {
    #[inline]
    pub(super) const fn called(answer: F, asked: Asked, mode: M, judging: Judging<C>) -> Self {
        Self { call: State::Called { answer, judging: Some(judging) }, asked, mode, request: PhantomData }
    }

    /// The request is handed back with the error.
    #[cold]
    pub(super) fn refused(open: CircuitOpen, request: Req, asked: Asked, mode: M) -> Self
    where
        Req: Send + 'static,
    {
        let error = Error::from(open).with_request(request);
        Self { call: State::Refused { error: Some(error) }, asked, mode, request: PhantomData }
    }
}

impl<F, Req, Res, E, C, M> Future for ResponseFuture<F, Req, C, M>
where
    F: Future<Output = Result<Res, E>>,
    C: Classify<Res>,
    M: Hold<Req, Res, E, Option<Judging<C>>>,
{
    type Output = Result<M::Response, M::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (answer, judging) = match this.call.project() {
            StateProjection::Called { answer, judging } => (answer, judging),
            StateProjection::Refused { error } => {
                let error = error.take().expect("a future is polled until it is ready");
                return Poll::Ready(this.mode.end(*this.asked, error));
            }
        };
        let answer = ready!(answer.poll(cx));
        // A refusal leaves nothing to judge, and neither does a layer that is switched off.
        let mut judging = judging.take();
        Poll::Ready(match answer {
            Ok(response) => {
                let judging = judging.take().and_then(|judging| judging.head(&response));
                Ok(this.mode.hold(*this.asked, response, judging))
            }
            Err(error) => {
                let error = this.mode.err(error);
                if let Some(judging) = judging {
                    judging.failed::<Res>(M::judged(&error));
                }
                Err(error)
            }
        })
    }
}

impl<F, Req, C, M> fmt::Debug for ResponseFuture<F, Req, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Waits in a response body for the end of a call, and tells the circuit how it went. See [`Held`](crate::base::body::Held).
pub struct Judging<C> {
    permit: Permit,
    classify: C,
    outcome: Outcome,
    /// What the trailers say; known for the response's type, which this need not be.
    trailers: fn(&C, &HeaderMap) -> Option<Outcome>,
}

impl<C> Judging<C> {
    #[inline]
    pub(super) fn new<Res>(permit: Permit, classify: C) -> Self
    where
        C: Classify<Res>,
    {
        Self {
            permit,
            classify,
            outcome: Outcome::Success,
            trailers: |classify, trailers| classify.classify_trailers(trailers),
        }
    }

    /// Judge by the head. What is good so far is judged again at the end; nothing that comes could mend what is not.
    #[inline]
    fn head<Res>(mut self, response: &Res) -> Option<Self>
    where
        C: Classify<Res>,
    {
        self.outcome = self.classify.classify(Ok(response));
        if self.outcome == Outcome::Success {
            self.permit.answered();
            return Some(self);
        }
        self.permit.settle(self.outcome);
        None
    }

    /// An error that a classifier cannot read is a failure.
    pub(super) fn failed<Res>(self, error: Option<&Error>)
    where
        C: Classify<Res>,
    {
        let outcome = error.map_or(Outcome::Failure, |error| self.classify.classify(Err(error)));
        self.permit.settle(outcome);
    }
}

impl<C> Guard for Judging<C> {
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(outcome) = (self.trailers)(&self.classify, trailers) {
            self.outcome = outcome;
        }
    }

    fn settle(self, end: BodyEnd) {
        self.permit.settle(match end {
            // Who does not read a good answer to its end has no complaint about the service.
            BodyEnd::Complete | BodyEnd::Abandoned => self.outcome,
            BodyEnd::Failed => Outcome::Failure,
        });
    }
}

impl<C> fmt::Debug for Judging<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
