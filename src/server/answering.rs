use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::Incoming;
use tower_service::Service;

use super::addressed;
use super::bounds::{Sent, Served};
use super::exchange::Exchange;
use super::outgoing::Outgoing;
use super::shared::Shared;
use crate::Body;
use crate::base::{BoxError, NOBODY, OldAt, Panic, caught_with};
use crate::health::{Health, HealthService};

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
    let begun = |state| Answering { state, exchange };
    if let Some(health) = connection.control.probed(&request) {
        return begun(State::probed(health, connection, request));
    }
    // Most services are ready at once. If this one is not, nobody is to be woken yet: the future asks it again.
    let mut nobody = Context::from_waker(NOBODY);
    let mut waiting = Some(Waiting { service, request: Some(request) });
    begun(match caught_with(&mut waiting, |waiting| waiting.begin(&mut nobody)) {
        Ok(Poll::Ready(Ok(answer))) => State::Called(Some(answer)),
        Ok(Poll::Ready(Err(error))) => State::Broken(Some(error.into())),
        Ok(Poll::Pending) => State::Waiting(waiting.map(Box::new)),
        Err(panic) => State::Panicked(Some(panic)),
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
        Some(health) => State::probed(health, connection, request),
        None => State::Waiting(Some(Box::new(Waiting { service, request: Some(request) }))),
    };
    Answering { state, exchange }
}

/// A request that is being answered.
pub(super) struct Answering<S, F> {
    // Before the rest, so that what is dropped in there is gone when the request is no longer in flight.
    state: State<S, F>,
    exchange: Exchange,
}

/// Each holds nothing when the request was answered.
enum State<S, F> {
    Health(Called<HealthService>),
    /// Waits for the service; then calls it, and is `Called`.
    Waiting(Option<Box<Waiting<S>>>),
    /// The service said that it is broken.
    Broken(Option<BoxError>),
    /// In a box: it is large, and hyper moves what it is given.
    Called(Option<Pin<Box<F>>>),
    /// In its `call`.
    Panicked(Option<Panic>),
    /// A probe that does not say whom it is for as it has to. Other requests are told so where they are known by a name.
    Misaddressed(&'static str),
}

impl<S, F> State<S, F> {
    fn probed(health: &Health, connection: &Shared, mut request: Request<Body>) -> Self {
        if let Some(how) = addressed::fault(&request) {
            return Self::Misaddressed(how);
        }
        if let Some(at) = connection.old_at {
            request.extensions_mut().insert(OldAt(at));
        }
        Self::Health(Box::pin(health.service().call(request)))
    }
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
        const ONCE: &str = "a future is polled until it is ready";
        let Self { state, exchange } = self.get_mut();
        let answered = loop {
            match state {
                State::Called(place) => match caught_with(place, |answer| answer.as_mut().poll(cx)) {
                    Ok(Poll::Ready(answered)) => {
                        *place = None;
                        break answered.map_err(Into::into);
                    }
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(panic) => return Poll::Ready(Ok(exchange.panicked(&*panic))),
                },
                State::Waiting(place) => match caught_with(place, |waiting| waiting.begin(cx)) {
                    Ok(Poll::Ready(Ok(answer))) => *state = State::Called(Some(answer)),
                    Ok(Poll::Ready(Err(error))) => *state = State::Broken(Some(error.into())),
                    Ok(Poll::Pending) => return Poll::Pending,
                    Err(panic) => *state = State::Panicked(Some(panic)),
                },
                State::Broken(error) => break Err(error.take().expect(ONCE)),
                State::Panicked(panic) => {
                    let panic = panic.take().expect(ONCE);
                    return Poll::Ready(Ok(exchange.panicked(&*panic)));
                }
                State::Misaddressed(how) => return Poll::Ready(Ok(exchange.misaddressed(how))),
                State::Health(answer) => {
                    let response = ready!(answer.as_mut().poll(cx)).unwrap_or_else(|never| match never {});
                    return Poll::Ready(Ok(exchange.probed(response.map(Body::new))));
                }
            }
        };
        Poll::Ready(match answered {
            Ok(response) => Ok(exchange.answered(response)),
            Err(error) => {
                exchange.failed();
                Err(error)
            }
        })
    }
}
