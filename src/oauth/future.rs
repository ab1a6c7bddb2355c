use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response, StatusCode, header};
use pin_project::pin_project;
use tower_service::Service;

use super::source::{Coming, Obtained};
use super::{AccessToken, TokenSource};
use crate::base::body::{Kept, Replay};
use crate::base::{BoxError, Delivery, Elapsed, Error, NOBODY, Phase, scope};

/// A call with a token. See [`BearerLayer`](super::BearerLayer).
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct BearerFuture<S: Service<Request<B>>, B, R> {
    #[pin]
    state: State<B, R, S::Future>,
    service: S,
    /// Nothing of a request that goes without a token.
    plan: Option<Plan<B>>,
}

/// What may become of a request that goes with a token.
struct Plan<B> {
    source: TokenSource,
    /// That which it was sent with.
    token: Option<AccessToken>,
    /// A copy, until it is sent again.
    kept: Option<Kept<B>>,
}

#[pin_project(project = StateProjection)]
enum State<B, R, F> {
    /// Waits for a token; then is `Readying`, or ends.
    Waiting { coming: Coming, request: Option<Request<B>> },
    /// Waits for the service; then calls it, and is `Called`. `answered`: with 401, when it was sent before.
    Readying { request: Option<Request<B>>, answered: bool },
    /// Waits for the answer; then ends, or is `Renewing`.
    Called {
        #[pin]
        answer: F,
    },
    /// Was answered with 401, and waits for another token; then is `Readying`, or ends with that answer.
    Renewing { coming: Coming, answer: Option<Response<R>> },
    /// Is over before it began.
    Over { error: Option<Error> },
}

impl<S, B, R> BearerFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    /// The service was found to be ready.
    pub(super) fn called(mut service: S, request: Request<B>) -> Self {
        let answer = service.call(request);
        Self { state: State::Called { answer }, service, plan: None }
    }

    /// Without a token.
    pub(super) fn bare(service: S, request: Request<B>) -> Self {
        Self::begin(service, request, None)
    }

    /// With this one.
    pub(super) fn with(
        service: S,
        mut request: Request<B>,
        source: &TokenSource,
        token: AccessToken,
        kept: Option<Kept<B>>,
    ) -> Self {
        request.headers_mut().insert(header::AUTHORIZATION, token.header().clone());
        Self::begin(service, request, Some(Plan { source: source.clone(), token: Some(token), kept }))
    }

    /// With that which comes.
    pub(super) fn waiting(
        service: S,
        request: Request<B>,
        source: &TokenSource,
        coming: Coming,
        kept: Option<Kept<B>>,
    ) -> Self {
        let plan = Some(Plan { source: source.clone(), token: None, kept });
        Self { state: State::Waiting { coming, request: Some(request) }, service, plan }
    }

    pub(super) const fn refused(service: S, error: Error) -> Self {
        Self { state: State::Over { error: Some(error) }, service, plan: None }
    }

    fn begin(mut service: S, request: Request<B>, plan: Option<Plan<B>>) -> Self {
        // Most services are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
        let state = match service.poll_ready(&mut Context::from_waker(NOBODY)) {
            Poll::Ready(Ok(())) => State::Called { answer: service.call(request) },
            Poll::Ready(Err(error)) => {
                State::Over { error: Some(unready(error, request, plan.is_some(), false)) }
            }
            Poll::Pending => State::Readying { request: Some(request), answered: false },
        };
        Self { state, service, plan }
    }
}

impl<S, B, R> Future for BearerFuture<S, B, R>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: Into<BoxError>,
    B: Replay + Send + 'static,
{
    type Output = Result<Response<R>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Waiting { coming, request } => {
                    let obtained = match Pin::new(coming).poll(cx) {
                        Poll::Ready(obtained) => obtained,
                        // Whoever limits the call drops this future next; only here is it known that nothing was sent.
                        Poll::Pending if scope::expired() => Err(late()),
                        Poll::Pending => return Poll::Pending,
                    };
                    // `Waiting` is left in the very step that takes the request.
                    let mut request = request.take().expect("a request is handed on once");
                    match obtained {
                        Ok(token) => {
                            request.headers_mut().insert(header::AUTHORIZATION, token.header().clone());
                            if let Some(plan) = this.plan {
                                plan.token = Some(token);
                            }
                            State::Readying { request: Some(request), answered: false }
                        }
                        Err(error) => return Poll::Ready(Err(error.with_request(request))),
                    }
                }
                StateProjection::Readying { request, answered } => {
                    let ready = match this.service.poll_ready(cx) {
                        Poll::Ready(ready) => ready.map_err(Into::into),
                        Poll::Pending if scope::expired() => Err(late().into()),
                        Poll::Pending => return Poll::Pending,
                    };
                    // `Readying` is left in the very step that takes the request.
                    let request = request.take().expect("a request is handed on once");
                    if let Err(error) = ready {
                        return Poll::Ready(Err(unready(error, request, this.plan.is_some(), *answered)));
                    }
                    State::Called { answer: this.service.call(request) }
                }
                StateProjection::Called { answer } => {
                    let answer = match ready!(answer.poll(cx)) {
                        Ok(answer) => answer,
                        Err(error) => {
                            let error = Error::wrap(error);
                            let is_ours = this.plan.is_some();
                            return Poll::Ready(Err(if is_ours { bared::<B>(error) } else { error }));
                        }
                    };
                    if answer.status() != StatusCode::UNAUTHORIZED {
                        return Poll::Ready(Ok(answer));
                    }
                    let renewed = this.plan.as_mut().and_then(Plan::renew);
                    match renewed {
                        None => return Poll::Ready(Ok(answer)),
                        Some(Obtained::Later(coming)) => State::Renewing { coming, answer: Some(answer) },
                        Some(Obtained::Now(result)) => match again(this.plan, result) {
                            Some(request) => {
                                // Before anything else is begun: a page that nobody reads, and its connection.
                                drop(answer);
                                State::Readying { request: Some(request), answered: true }
                            }
                            None => return Poll::Ready(Ok(answer)),
                        },
                    }
                }
                StateProjection::Renewing { coming, answer } => {
                    let request = match Pin::new(coming).poll(cx) {
                        Poll::Ready(result) => again(this.plan, result),
                        // There is an answer, and no time for a better one.
                        Poll::Pending if scope::expired() => None,
                        Poll::Pending => return Poll::Pending,
                    };
                    match request {
                        Some(request) => State::Readying { request: Some(request), answered: true },
                        None => {
                            // `Renewing` ends with the answer that it has.
                            let answer = answer.take().expect("an answer is handed on once");
                            return Poll::Ready(Ok(answer));
                        }
                    }
                }
                StateProjection::Over { error } => {
                    let error = error.take().expect("a future is polled until it is ready");
                    return Poll::Ready(Err(error));
                }
            };
            this.state.set(next);
        }
    }
}

impl<B: Replay> Plan<B> {
    /// Its token was refused. Another one, if the request can be sent again.
    fn renew(&mut self) -> Option<Obtained> {
        if !self.kept.as_ref()?.is_replayable() {
            return None;
        }
        self.source.renew(self.token.as_ref()?)
    }
}

/// The request with another token. Nothing, if that reads the same, or there is none.
fn again<B: Replay>(plan: &mut Option<Plan<B>>, renewed: Result<AccessToken, Error>) -> Option<Request<B>> {
    let Plan { token, kept, .. } = plan.as_mut()?;
    let token = renewed.ok().filter(|new| token.as_ref().is_none_or(|old| old.header() != new.header()))?;
    let mut request = kept.take()?.into_request()?;
    request.headers_mut().insert(header::AUTHORIZATION, token.header().clone());
    Some(request)
}

/// A request that came back unsent has our token in it, which will not be good for ever: whoever sends it again is to find it as it was.
fn bared<B: Send + 'static>(mut error: Error) -> Error {
    if let Some(request) = error.request_mut::<Request<B>>() {
        request.headers_mut().remove(header::AUTHORIZATION);
    }
    error
}

/// The service was never ready for it. Where nothing was sent before, it goes back as its caller wrote it.
fn unready<B: Send + 'static>(
    error: impl Into<BoxError>,
    request: Request<B>,
    is_ours: bool,
    answered: bool,
) -> Error {
    let error = Error::wrap(error);
    if answered {
        return error.with_delivery(Delivery::Answered);
    }
    let error = error.with_delivery(Delivery::NotSent).with_request(request);
    if is_ours { bared::<B>(error) } else { error }
}

/// The deadline passed before anything was sent.
fn late() -> Error {
    Error::from(Elapsed::before_deadline(Phase::Readiness)).with_delivery(Delivery::NotSent)
}

impl<S: Service<Request<B>>, B, R> fmt::Debug for BearerFuture<S, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.state {
            State::Waiting { .. } => "BearerFuture(waiting for a token)",
            State::Readying { .. } => "BearerFuture(waiting for readiness)",
            State::Called { .. } => "BearerFuture(called)",
            State::Renewing { .. } => "BearerFuture(waiting for another token)",
            State::Over { .. } => "BearerFuture(refused)",
        })
    }
}
