use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::{Sent, Throttled};
use crate::base::{BoxError, Classify, Error};

/// A call that is counted. See [`AdaptiveThrottleLayer`](super::AdaptiveThrottleLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ThrottledFuture<F, C> {
    #[pin]
    state: State<F, C>,
}

#[pin_project(project = StateProjection)]
enum State<F, C> {
    Called {
        #[pin]
        answer: F,
        sent: Sent,
        classify: C,
    },
    Throttled {
        error: Option<Error>,
    },
}

impl<F, C> ThrottledFuture<F, C> {
    #[inline]
    pub(super) const fn called(answer: F, sent: Sent, classify: C) -> Self {
        Self { state: State::Called { answer, sent, classify } }
    }

    /// The request is handed back with the error.
    #[cold]
    pub(super) fn throttled<Req: Send + 'static>(throttled: Throttled, request: Req) -> Self {
        let error = Error::from(throttled).with_request(request);
        Self { state: State::Throttled { error: Some(error) } }
    }
}

impl<F, Res, E, C> Future for ThrottledFuture<F, C>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    C: Classify<Res>,
{
    type Output = Result<Res, Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Called { answer, sent, classify } => {
                let answer = ready!(answer.poll(cx)).map_err(Error::wrap);
                let error = answer.as_ref().err().map(|error| (error.kind(), error.delivery()));
                sent.settle_here(classify.classify(answer.as_ref()), error);
                Poll::Ready(answer)
            }
            StateProjection::Throttled { error } => {
                Poll::Ready(Err(error.take().expect("a future is polled until it is ready")))
            }
        }
    }
}

impl<F, C> fmt::Debug for ThrottledFuture<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Called { .. } => "ThrottledFuture(called)",
            State::Throttled { .. } => "ThrottledFuture(throttled)",
        })
    }
}
