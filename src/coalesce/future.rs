use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use super::Coalesced;
use super::flight::{Got, Member};
use crate::base::{BoxError, Delivery, Error, Kind};

/// A call, or a part in one. See [`CoalesceLayer`](super::CoalesceLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct CoalesceFuture<S: Service<Request<ReqBody>>, ReqBody, B> {
    #[pin]
    state: State<S, ReqBody, S::Future, B>,
}

#[pin_project(project = StateProjection)]
#[allow(clippy::large_enum_variant, reason = "none is rare")]
enum State<S, ReqBody, F, B> {
    /// Waits for the call that is made for all; then is over, or `Readying`. Who began the call has given it the request.
    Joined { member: Member<B>, own: Option<(S, Request<ReqBody>)> },
    /// Waits for the service; then is `Called`.
    Readying { service: S, request: Option<Request<ReqBody>> },
    /// Waits for an answer of its own.
    Called {
        #[pin]
        answer: F,
    },
}

impl<S: Service<Request<ReqBody>>, ReqBody, B> CoalesceFuture<S, ReqBody, B> {
    pub(super) const fn alone(service: S, request: Request<ReqBody>) -> Self {
        Self { state: State::Readying { service, request: Some(request) } }
    }

    pub(super) const fn joined(member: Member<B>, own: Option<(S, Request<ReqBody>)>) -> Self {
        Self { state: State::Joined { member, own } }
    }
}

impl<S, ReqBody, B> Future for CoalesceFuture<S, ReqBody, B>
where
    S: Service<Request<ReqBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    type Output = Result<Response<Coalesced<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Joined { member, own } => match ready!(member.poll(cx)) {
                    Got::Answer(answer) => return Poll::Ready(answer),
                    Got::Nothing => match own.take() {
                        Some((service, request)) => State::Readying { service, request: Some(request) },
                        // What is for one is for who began it, as long as they are there.
                        None => return Poll::Ready(Err(Error::new(Kind::Other, "the answer was taken"))),
                    },
                },
                StateProjection::Readying { service, request } => {
                    let ready = ready!(service.poll_ready(cx));
                    ready.map_err(|error| Error::wrap(error).with_delivery(Delivery::NotSent))?;
                    let request = request.take().expect("a future is polled until it is ready");
                    State::Called { answer: service.call(request) }
                }
                StateProjection::Called { answer } => {
                    let answer = ready!(answer.poll(cx)).map_err(Error::wrap);
                    let live = |body| Coalesced::live(Bytes::new(), body);
                    return Poll::Ready(answer.map(|answer| answer.map(live)));
                }
            };
            state.set(next);
        }
    }
}

impl<S: Service<Request<ReqBody>>, ReqBody, B> fmt::Debug for CoalesceFuture<S, ReqBody, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Joined { own: Some(_), .. } => "sharing a call",
            State::Joined { own: None, .. } => "calling for all",
            State::Readying { .. } => "waiting for readiness",
            State::Called { .. } => "called",
        };
        f.debug_struct("CoalesceFuture").field("state", &state).finish_non_exhaustive()
    }
}
