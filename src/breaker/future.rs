use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::HeaderMap;
use pin_project::pin_project;

use super::permit::Place;
use super::{CircuitOpen, Permit};
use crate::base::body::{BodyEnd, Guard, HoldUntil};
use crate::base::{Asked, Classify, Error, Hold, Outcome, scope};

/// A call under a circuit. See [`BreakerLayer`](super::BreakerLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, Req, C, M> {
    #[pin]
    pub(super) call: State<F, C>,
    pub(super) asked: Asked,
    pub(super) mode: M,
    pub(super) request: PhantomData<fn(Req)>,
}

#[pin_project(project = StateProjection)]
pub(super) enum State<F, C> {
    Called {
        // Before the permit, so that what the call holds is free again when another may be made.
        #[pin]
        answer: F,
        permit: Permit,
        /// Until there is something to judge.
        classify: Option<C>,
    },
    Refused {
        error: Option<Error>,
    },
}

impl<F, Req, C, M> ResponseFuture<F, Req, C, M> {
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
        let (answer, permit, classify) = match this.call.project() {
            StateProjection::Called { answer, permit, classify } => (answer, permit, classify),
            StateProjection::Refused { error } => {
                let error = error.take().expect("a future is polled until it is ready");
                return Poll::Ready(this.mode.end(*this.asked, error));
            }
        };
        scope::forget_end();
        let answer = answer.poll(cx);
        if answer.is_pending() {
            return Poll::Pending;
        }
        let classify = classify.take().expect("a future is polled until it is ready");
        // A response is large: it is moved once, from where it was found to where it is handed on.
        match answer {
            Poll::Ready(Ok(response)) => {
                let outcome = classify.classify(Ok(&response));
                let until = this.mode.until(*this.asked, &response);
                // Nothing that comes could mend what is bad already.
                let judging = if outcome != Outcome::Success || until == HoldUntil::Head {
                    permit.settle_here(outcome, scope::ended_at());
                    None
                } else {
                    permit.answered(scope::ended_at()).map(|place| Judging::new(place, classify))
                };
                Poll::Ready(Ok(this.mode.hold(response, until, judging)))
            }
            Poll::Ready(Err(error)) => {
                let error = this.mode.err(error);
                settle_error(permit, &classify, M::judged(&error));
                Poll::Ready(Err(error))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// An error that a classifier cannot read is a failure.
pub(super) fn settle_error<Res, C: Classify<Res>>(permit: &mut Permit, classify: &C, error: Option<&Error>) {
    let outcome = error.map_or(Outcome::Failure, |error| classify.classify(Err(error)));
    permit.settle_here(outcome, None);
}

impl<F, Req, C, M> fmt::Debug for ResponseFuture<F, Req, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Waits in a response body for the end of a call, and tells the circuit how it went. See [`Held`](crate::base::body::Held).
pub struct Judging<C> {
    place: Place,
    classify: C,
    /// What the trailers say; known for the response's type, which this need not be.
    trailers: fn(&C, &HeaderMap) -> Option<Outcome>,
    outcome: Outcome,
    slow: bool,
}

impl<C> Judging<C> {
    /// The head is good; it is judged again by the trailers, if there are any.
    fn new<Res>((place, slow): (Place, bool), classify: C) -> Self
    where
        C: Classify<Res>,
    {
        let trailers = |classify: &C, trailers: &_| classify.classify_trailers(trailers);
        Self { place, classify, trailers, outcome: Outcome::Success, slow }
    }
}

impl<C> Guard for Judging<C> {
    fn trailers(&mut self, trailers: &HeaderMap) {
        if let Some(outcome) = (self.trailers)(&self.classify, trailers) {
            self.outcome = outcome;
        }
    }

    fn settle(self, end: BodyEnd) {
        let outcome = match end {
            // Who does not read a good answer to its end has no complaint about the service.
            BodyEnd::Complete | BodyEnd::Abandoned => self.outcome,
            BodyEnd::Failed if scope::was_hasty() => Outcome::Neutral,
            BodyEnd::Failed => Outcome::Failure,
        };
        self.place.settle(outcome, self.slow, None);
    }
}

impl<C> fmt::Debug for Judging<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judging").field("outcome", &self.outcome).finish_non_exhaustive()
    }
}
