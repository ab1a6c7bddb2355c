use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tower_service::Service;

use super::{Fields, Pass, Seen, Turned};
use crate::base::body::HoldUntil;
use crate::base::{Asked, Delivery, Elapsed, Error, Hold, Phase, scope, take};

/// A call that has to come in first. See the [module](crate::limit).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct GatedFuture<S: Service<Req>, Req, P, T, M> {
    #[pin]
    pub(super) state: State<S, Req, S::Future, S::Error, P, T>,
    pub(super) call: Call<M>,
}

/// What is known of a call from its beginning.
pub(super) struct Call<M> {
    pub(super) asked: Asked,
    pub(super) mode: M,
    pub(super) until_head: bool,
    pub(super) retry_after: Option<Duration>,
    pub(super) fields: Option<Box<Fields>>,
}

#[pin_project(project = StateProjection)]
pub(super) enum State<S, Req, F, E, P, T> {
    Refused {
        error: Option<Error>,
    },
    /// Waits for its turn, then for the service. In a box, since it is rare, and a call is moved as it is.
    Waiting(Pin<Box<Waiting<S, Req, P, T>>>),
    /// The service said that it is broken.
    Broken {
        failed: Option<Box<(E, Req)>>,
    },
    /// Waits for the answer.
    Called {
        // Before the pass, so that what the call holds is free again when another may come in.
        #[pin]
        answer: F,
        pass: Option<P>,
    },
}

/// A request, and the service that it is for.
#[pin_project]
pub(super) struct Waiting<S, Req, P, T> {
    // Before what it is for, so that the place is free again when that is dropped.
    #[pin]
    turn: Option<T>,
    service: S,
    request: Option<Req>,
    /// It is in.
    pass: Option<P>,
}

impl<S: Service<Req> + Clone, Req, P, T, M> GatedFuture<S, Req, P, T, M> {
    #[inline]
    pub(super) const fn called(answer: S::Future, pass: P, call: Call<M>) -> Self {
        Self { state: State::Called { answer, pass: Some(pass) }, call }
    }

    /// It is in, and waits for the service.
    pub(super) fn admitted(inner: &mut S, request: Req, pass: P, call: Call<M>) -> Self {
        Self::later(inner, request, None, Some(pass), call)
    }

    /// The service failed to become ready.
    #[cold]
    pub(super) fn broken(error: S::Error, request: Req, call: Call<M>) -> Self {
        Self { state: State::Broken { failed: Some(Box::new((error, request))) }, call }
    }

    pub(super) fn waiting(inner: &mut S, request: Req, turn: T, call: Call<M>) -> Self {
        Self::later(inner, request, Some(turn), None, call)
    }

    #[cold]
    fn later(inner: &mut S, request: Req, turn: Option<T>, pass: Option<P>, call: Call<M>) -> Self {
        let waiting = Waiting { turn, service: take(inner), request: Some(request), pass };
        Self { state: State::Waiting(Box::pin(waiting)), call }
    }

    pub(super) const fn refused(error: Error, call: Call<M>) -> Self {
        Self { state: State::Refused { error: Some(error) }, call }
    }
}

impl<M> Call<M> {
    /// Of a limit that is switched off: it keeps nothing, says nothing and refuses nothing.
    pub(super) fn off(mode: M) -> Self {
        Self { asked: Asked::default(), mode, until_head: true, retry_after: None, fields: None }
    }

    /// Says how things stand.
    #[inline]
    fn tell<Req, Res, E, P>(&self, response: &mut M::Response)
    where
        M: Hold<Req, Res, E, P>,
    {
        if let Some(fields) = &self.fields {
            self.mode.add(response, |headers| fields.write(headers));
        }
    }

    /// The refusal, as it is told: with the request, where its sender wants it back.
    #[cold]
    pub(super) fn refusal<Req: Send + 'static>(&self, error: Error, request: Req, hands_back: bool) -> Error {
        let error = match (error.retry_after(), self.retry_after) {
            (None, Some(after)) if !error.forbids_retry() => error.with_retry_after(after),
            _ => error,
        };
        // On a server, nobody is there to take it.
        if hands_back { error.with_request(request) } else { error }
    }
}

impl<S, Req, P, T, M> Future for GatedFuture<S, Req, P, T, M>
where
    S: Service<Req>,
    Req: Send + 'static,
    P: Pass,
    T: Future<Output = Turned<P>>,
    M: Hold<Req, S::Response, S::Error, P>,
{
    type Output = Result<M::Response, M::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProjection::Called { answer, pass } => {
                    let answer = answer.poll(cx);
                    if answer.is_pending() {
                        return Poll::Pending;
                    }
                    let mut pass = pass.take().expect("a future is polled until it is ready");
                    let Call { asked, mode, until_head, fields, .. } = &*this.call;
                    // A response is large: it is moved once, from where it was found to where it is handed on.
                    return match answer {
                        Poll::Ready(Ok(response)) => {
                            if P::WATCHES {
                                pass.saw(Seen::in_head(M::head(&response)));
                            }
                            // Nobody needs to know when a body ends for which nothing is kept.
                            let until = if *until_head || !mem::needs_drop::<P>() {
                                HoldUntil::Head
                            } else {
                                mode.until(*asked, &response)
                            };
                            if fields.is_none() {
                                return Poll::Ready(Ok(mode.hold(response, until, pass)));
                            }
                            let mut response = mode.hold(response, until, pass);
                            this.call.tell::<Req, S::Response, S::Error, P>(&mut response);
                            Poll::Ready(Ok(response))
                        }
                        Poll::Ready(Err(error)) => {
                            let error = mode.err(error);
                            if P::WATCHES {
                                pass.saw(Seen::in_error(M::judged(&error)));
                            }
                            Poll::Ready(Err(error))
                        }
                        Poll::Pending => Poll::Pending,
                    };
                }
                StateProjection::Refused { error } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    let mut refused = this.call.mode.end(this.call.asked, error);
                    if let Ok(response) = &mut refused {
                        this.call.tell::<Req, S::Response, S::Error, P>(response);
                    }
                    return Poll::Ready(refused);
                }
                StateProjection::Broken { failed } => {
                    let (error, request) = *failed.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(this.call.mode.unready(error, request)));
                }
                StateProjection::Waiting(waiting) => {
                    let mut waiting = waiting.as_mut().project();
                    if let Some(turn) = waiting.turn.as_mut().as_pin_mut() {
                        let Turned { result, fields } = ready!(turn.poll(cx));
                        if fields.is_some() {
                            this.call.fields = fields;
                        }
                        match result {
                            Ok(pass) => {
                                waiting.turn.set(None);
                                *waiting.pass = Some(pass);
                            }
                            Err(error) => {
                                let request = waiting.request.take().expect("a request waits once");
                                let error = this.call.refusal(error, request, !M::ANSWERS);
                                this.state.set(State::Refused { error: Some(error) });
                                continue;
                            }
                        }
                    }
                    if let Err(error) = ready!(waiting.service.poll_ready(cx)) {
                        let request = waiting.request.take().expect("a request waits once");
                        let error = this.call.mode.unready(error, request);
                        // Now, and not when somebody lets go of this future.
                        if let Some(mut pass) = waiting.pass.take() {
                            pass.saw(Seen::in_error(M::judged(&error)));
                        }
                        return Poll::Ready(Err(error));
                    }
                    // `Waiting` is left in the very step that takes the request.
                    let request = waiting.request.take().expect("a request is handed on once");
                    // Its turn may have come too late: nothing is begun that cannot end in time.
                    if scope::deadline().is_some_and(|at| at <= scope::now()) {
                        drop(waiting.pass.take());
                        let late = Error::from(Elapsed::before_deadline(Phase::Readiness));
                        let late = late.with_delivery(Delivery::NotSent);
                        let error = this.call.refusal(late, request, !M::ANSWERS);
                        this.state.set(State::Refused { error: Some(error) });
                        continue;
                    }
                    let answer = waiting.service.call(request);
                    let pass = waiting.pass.take();
                    this.state.set(State::Called { answer, pass });
                }
            }
        }
    }
}

impl<S: Service<Req>, Req, P, T, M> fmt::Debug for GatedFuture<S, Req, P, T, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Refused { .. } => "GatedFuture(refused)",
            State::Waiting(_) => "GatedFuture(waiting)",
            State::Broken { .. } => "GatedFuture(admitted)",
            State::Called { .. } => "GatedFuture(called)",
        })
    }
}
