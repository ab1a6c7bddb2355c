use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use tower_service::Service;

use super::bounds::{Sent, Served};
use super::exchange::Exchange;
use super::outgoing::Outgoing;
use super::shared::Shared;
use crate::Body;
use crate::base::{BoxError, NOBODY, Panic, caught};
use crate::health::HealthService;

/// One request through a clone of the service that is made ready for it: at once, in the task of the connection, which has nothing else to
/// do meanwhile.
pub(super) fn answer<S, B>(
    service: S,
    connection: &Arc<Shared>,
    request: Request<Incoming>,
) -> Answering<S, S::Future>
where
    S: Served<B>,
    B: Sent,
{
    let (exchange, request) = Exchange::of(connection, request);
    let begun = |state| Answering { state: Some(state), exchange };
    if let Some(health) = connection.control.probed(&request) {
        return begun(State::Health(Box::pin(health.service().call(request))));
    }
    // Most services are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
    let mut nobody = Context::from_waker(NOBODY);
    let mut waiting = Waiting { service, request: Some(request) };
    begun(match caught(|| (waiting.begin(&mut nobody), waiting)) {
        Ok((Poll::Ready(Ok(answer)), _)) => State::Called(answer),
        Ok((Poll::Ready(Err(error)), _)) => State::Broken(error.into()),
        Ok((Poll::Pending, waiting)) => State::Waiting(Box::new(waiting)),
        Err(panic) => State::Panicked(panic),
    })
}

/// The same once it is polled, in a task that a stream has for itself.
pub(super) fn answer_later<S, B>(
    service: S,
    connection: &Arc<Shared>,
    request: Request<Incoming>,
) -> Answering<S, S::Future>
where
    S: Served<B>,
    B: Sent,
{
    let (exchange, request) = Exchange::of(connection, request);
    let state = match connection.control.probed(&request) {
        Some(health) => State::Health(Box::pin(health.service().call(request))),
        None => State::Waiting(Box::new(Waiting { service, request: Some(request) })),
    };
    Answering { state: Some(state), exchange }
}

/// A request that is being answered.
pub(super) struct Answering<S, F> {
    // Before the rest, so that what is dropped in there is gone when the request is no longer in flight.
    // Nothing, when it was answered.
    state: Option<State<S, F>>,
    exchange: Exchange,
}

enum State<S, F> {
    Health(Called<HealthService>),
    /// Waits for the service; then calls it, and is `Called`.
    Waiting(Box<Waiting<S>>),
    /// The service said that it is broken.
    Broken(BoxError),
    /// In a box: it is large, and hyper moves what it is given.
    Called(Pin<Box<F>>),
    /// In its `call`.
    Panicked(Panic),
}

/// The answer to come, once the service is ready.
type Begun<S> = Poll<Result<Called<S>, <S as Service<Request<Body>>>::Error>>;
type Called<S> = Pin<Box<<S as Service<Request<Body>>>::Future>>;

/// A request, and the service that it is for.
struct Waiting<S> {
    service: S,
    request: Option<Request<Body>>,
}

impl<S: Service<Request<Body>>> Waiting<S> {
    /// Calls the service as soon as it is ready.
    fn begin(&mut self, cx: &mut Context<'_>) -> Begun<S> {
        ready!(self.service.poll_ready(cx))?;
        let request = self.request.take().expect("a request is handed on once");
        Poll::Ready(Ok(Box::pin(self.service.call(request))))
    }
}

impl<S, F, B, E> Future for Answering<S, F>
where
    S: Service<Request<Body>, Future = F, Error = E>,
    F: Future<Output = Result<Response<B>, E>>,
    B: Sent,
    E: Into<BoxError>,
{
    type Output = Result<Response<Outgoing<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { state, exchange } = self.get_mut();
        let mut now = state.take().expect("a future is polled until it is ready");
        let answered = loop {
            // What panics is dropped while it does, so that what it holds can see that.
            now = match now {
                State::Called(mut answer) => match caught(|| (answer.as_mut().poll(cx), answer)) {
                    Ok((Poll::Ready(answered), _)) => break Ok(answered.map_err(Into::into)),
                    Ok((Poll::Pending, answer)) => {
                        *state = Some(State::Called(answer));
                        return Poll::Pending;
                    }
                    Err(panic) => break Err(panic),
                },
                State::Waiting(mut waiting) => match caught(|| (waiting.begin(cx), waiting)) {
                    Ok((Poll::Ready(Ok(answer)), _)) => State::Called(answer),
                    Ok((Poll::Ready(Err(error)), _)) => break Ok(Err(error.into())),
                    Ok((Poll::Pending, waiting)) => {
                        *state = Some(State::Waiting(waiting));
                        return Poll::Pending;
                    }
                    Err(panic) => break Err(panic),
                },
                State::Broken(error) => break Ok(Err(error)),
                State::Panicked(panic) => break Err(panic),
                State::Health(mut answer) => {
                    let Poll::Ready(Ok(response)) = answer.as_mut().poll(cx) else {
                        *state = Some(State::Health(answer));
                        return Poll::Pending;
                    };
                    return Poll::Ready(Ok(exchange.probed(response.map(Body::new))));
                }
            };
        };
        Poll::Ready(match answered {
            Ok(Ok(response)) => Ok(exchange.answered(response)),
            Ok(Err(error)) => {
                exchange.failed();
                Err(error)
            }
            Err(panic) => Ok(exchange.panicked(&*panic)),
        })
    }
}
