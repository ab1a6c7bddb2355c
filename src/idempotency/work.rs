//! A keyed request, from its body to what is written of it.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::time::Instant;
use tower_service::Service;

use super::body::{Gathered, KeyedBody, gather};
use super::core::{Core, Open};
use super::fate::{self, Disposition, End};
use super::{
    Begun, Final, Fingerprint, Held, IdempotencySettings, Record, Scope, Store, StoreAway, WhenAway,
};
use crate::base::body::{Body, BodyTooLarge};
use crate::base::{
    Caught, Deadline, Error, Event, IDEMPOTENCY_REPLAYED, KeyedFault, KeyedRefused, Kind, Panicked, Place,
    Principal, deadline, message, says_grpc, spawn,
};

/// How a keyed request is answered: or why it is not done here.
pub(super) type Reply<B> = Result<Response<KeyedBody<B>>, Error>;

/// What the inner service has to be for that.
pub(super) trait Handler<B>:
    Service<Request<Body>, Response = Response<B>, Error: Send, Future: Send> + Clone + Send + 'static
{
}

impl<S, B> Handler<B> for S where
    S: Service<Request<Body>, Response = Response<B>, Error: Send, Future: Send> + Clone + Send + 'static
{
}

/// A request with a key, and who does it.
pub(super) struct Keyed<S, I> {
    pub(super) core: Arc<Core<S>>,
    pub(super) service: I,
    /// Whether it was made so.
    pub(super) ready: bool,
    pub(super) route: String,
    pub(super) key: String,
}

/// As it is handed on, whole.
struct Whole {
    head: Parts,
    data: Bytes,
    trailers: Option<HeaderMap>,
}

impl Whole {
    fn request(self) -> Request<Body> {
        let body = match self.trailers {
            None => Body::from(self.data),
            Some(trailers) => Body::new(KeyedBody::<Body>::whole(self.data, Some(trailers))),
        };
        Request::from_parts(self.head, body)
    }
}

impl<S: Store, I> Keyed<S, I> {
    pub(super) async fn answer<B>(mut self, request: Request<Body>) -> Result<Reply<B>, I::Error>
    where
        I: Handler<B>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        let (head, body) = request.into_parts();
        let request = match gather(body, self.core.settings.max_request_body).await {
            Gathered::Whole { data, trailers } => Whole { head, data, trailers },
            Gathered::TooLarge { .. } => {
                return Ok(Err(too_large(self.core.settings.max_request_body)));
            }
            Gathered::BrokeOff { error, .. } => return Ok(Err(Error::new(Kind::Body, error))),
        };
        let (scope, fingerprint) = self.identify(&request);
        let claim = self.core.claim(fingerprint);
        let wait_until = Deadline::within(self.core.settings.wait_up_to).instant();
        let mut times = 0;
        loop {
            let place = match self.core.detach.reserve() {
                Ok(place) => place,
                // The places may all be taken by what could not be given back.
                Err(_) if self.core.is_passed_by() => return self.unkeyed(request).await,
                Err(full) => return Ok(Err(full.into())),
            };
            let mut open = Open::asked(&self.core, scope, &claim, place);
            match self.core.begin(scope, &claim).await {
                Ok(Begun::Run { fence }) => {
                    open.won(scope, &claim, fence);
                    return self.run(open, fingerprint, request).await;
                }
                Ok(Begun::InFlight) => {
                    open.over();
                    let left = wait_until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Ok(refuse(&self.core, KeyedFault::InFlight));
                    }
                    // One that was made ready may have taken the place of another, who could be the one to wait for.
                    self.service = self.service.clone();
                    self.ready = false;
                    self.core.look_again(scope, times, left).await;
                    times += 1;
                }
                Ok(begun) => {
                    open.over();
                    return Ok(told(&self.core, begun));
                }
                Err(away) => return self.away(open, away, request).await,
            }
        }
    }

    /// What it belongs to, and what it asks for.
    fn identify(&self, Whole { head, data, .. }: &Whole) -> (Scope, Fingerprint) {
        let who = Principal::of(&head.extensions).and_then(Principal::id);
        let scope = Scope::new(who, &head.method, &self.route, &self.key);
        let chosen = &self.core.settings.fingerprint_headers;
        (scope, Fingerprint::of(&head.method, &head.uri, &head.headers, chosen, data))
    }

    /// The store does not answer. What it was asked may be done all the same, so it is released when that is dropped.
    async fn away<B>(self, open: Open<S>, away: StoreAway, request: Whole) -> Result<Reply<B>, I::Error>
    where
        I: Handler<B>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        drop(open);
        match self.core.settings.when_away {
            WhenAway::Refuse => Ok(away_for_now(&self.core.settings, away)),
            WhenAway::DangerouslyRun => self.unkeyed(request).await,
        }
    }

    /// As if it had no key.
    async fn unkeyed<B>(self, request: Whole) -> Result<Reply<B>, I::Error>
    where
        I: Handler<B>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
    {
        let response = ready_and_call(self.service, self.ready, request.request()).await;
        Ok(Ok(response.map_err(Called::into_inner)?.map(KeyedBody::passed)))
    }

    async fn run<B>(
        self,
        open: Open<S>,
        fingerprint: Fingerprint,
        request: Whole,
    ) -> Result<Reply<B>, I::Error>
    where
        I: Handler<B>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        let Self { core, service, ready, .. } = self;
        let detached = core.detached;
        let work = work(core, service, ready, open, fingerprint, request);
        if !detached {
            return work.await;
        }
        match spawn(work).await {
            Ok(answered) => answered,
            Err(panicked) => Ok(Err(panicked)),
        }
    }
}

/// Does it, keeps the claim meanwhile, and writes what became of it.
async fn work<S, I, B>(
    core: Arc<Core<S>>,
    service: I,
    ready: bool,
    mut open: Open<S>,
    fingerprint: Fingerprint,
    mut request: Whole,
) -> Result<Reply<B>, I::Error>
where
    S: Store,
    I: Handler<B>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    let (claim, unknown) = (*open.claim(), End::unknown(core.settings.after_crash));
    request.head.extensions.insert(claim);
    let handled = Caught(handle(service, ready, request.request(), core.settings.max_response_body));
    let (answered, end) = match while_kept(handled, deadline::detached(core.keep(&claim))).await {
        Ok((answered, end)) => (answered, end.unwrap_or(unknown)),
        Err(panic) => {
            tracing::error!(panic = message(&*panic), "the handler of a keyed request panicked");
            (Ok(Err(Panicked.into())), unknown)
        }
    };
    let answers = matches!(end, End::Finally(Final::Record(_) | Final::TooLarge));
    let held = match open.settle(end.clone()).await {
        // It is written when the store is back, if that is soon.
        Err(StoreAway) => return answered,
        Ok(held) => held,
    };
    let place = open.over();
    let other = match (held, place) {
        // The handler has written it itself, together with what it did, and this is its answer.
        (Held::Ended, _) if answers => None,
        // It has written what it did, and then failed; or somebody else was told that this was lost. All who ask get one answer.
        (Held::Ended | Held::Lost, Some(place)) => {
            look(&core, place, claim.scope(), fingerprint, end, held).await
        }
        _ => None,
    };
    other.map_or(answered, Ok)
}

/// What somebody else would be told, or `None` if it is what was answered here: then nobody else has asked since.
async fn look<S: Store, B: http_body::Body>(
    core: &Arc<Core<S>>,
    place: Place,
    scope: Scope,
    fingerprint: Fingerprint,
    end: End,
    held: Held,
) -> Option<Reply<B>> {
    let claim = core.claim(fingerprint);
    let mut open = Open::asked(core, scope, &claim, place);
    open.done(&end);
    let begun = deadline::detached(core.begin(scope, &claim)).await;
    // A store that was not answered asks once more, and is then told that what it has released itself is lost.
    let released = end == End::Release && matches!(begun, Ok(Begun::Run { .. }));
    if held == Held::Lost && !released {
        core.observe.note(|| Event::KeyedLost {});
    }
    match begun {
        // Nothing is known of it any more, and it is done: that is written once more, and it is not begun again.
        Ok(Begun::Run { fence }) => {
            open.won(scope, &claim, fence);
            if open.settle(end).await.is_ok() {
                open.over();
            }
            None
        }
        Ok(begun) => {
            open.over();
            // It was told that it has ended, by itself.
            if held == Held::Ended && end.is(&begun) {
                return None;
            }
            Some(told(core, begun))
        }
        // There is an end, so whoever comes back is told of it. If it was lost, whoever comes back may find nothing, and have it done again.
        Err(away) => (held == Held::Ended).then(|| away_for_now(&core.settings, away)),
    }
}

/// Why it is not done here.
fn refuse<S, B: http_body::Body>(core: &Core<S>, fault: KeyedFault) -> Reply<B> {
    core.observe.note(|| Event::KeyedRefused { why: fault });
    let refused = KeyedRefused::new(fault);
    Err(match fault {
        KeyedFault::InFlight => refused.again_in(core.settings.retry_after),
        _ => refused.into(),
    })
}

/// What is said of one that is not done here.
fn told<S, B: http_body::Body>(core: &Core<S>, begun: Begun) -> Reply<B> {
    let fault = match begun {
        Begun::Ended(Final::Record(bytes)) => match Record::decode(&bytes) {
            Ok(record) => {
                core.observe.note(|| Event::KeyedReplayed {});
                return Ok(replay(record));
            }
            Err(error) => {
                tracing::warn!(%error, "an answer was kept, and cannot be given again");
                KeyedFault::NotKept
            }
        },
        Begun::Ended(Final::TooLarge) => KeyedFault::NotKept,
        Begun::Ended(Final::Indeterminate) => KeyedFault::Indeterminate,
        Begun::Mismatch => KeyedFault::Mismatch,
        Begun::InFlight | Begun::Run { .. } => KeyedFault::InFlight,
    };
    refuse(core, fault)
}

/// Whoever is away may be back by then.
fn away_for_now<B: http_body::Body>(settings: &IdempotencySettings, away: StoreAway) -> Reply<B> {
    Err(Error::from(away).with_retry_after(settings.retry_after))
}

fn too_large(limit: usize) -> Error {
    Error::new(Kind::Body, BodyTooLarge::of(limit))
}

/// Polls what keeps the claim as long as the work is not done.
async fn while_kept<T>(work: impl Future<Output = T>, keep: impl Future<Output = ()>) -> T {
    let (mut work, mut keep) = (pin!(work), pin!(keep));
    let poll = |cx: &mut Context<'_>| {
        let poll = work.as_mut().poll(cx);
        if poll.is_pending() {
            // It never ends.
            let _ = keep.as_mut().poll(cx);
        }
        poll
    };
    poll_fn(poll).await
}

/// An error of a service, and whether it was called.
enum Called<E> {
    NotReady(E),
    Failed(E),
}

impl<E> Called<E> {
    fn into_inner(self) -> E {
        match self {
            Self::NotReady(error) | Self::Failed(error) => error,
        }
    }
}

async fn ready_and_call<I, B>(
    mut service: I,
    ready: bool,
    request: Request<Body>,
) -> Result<Response<B>, Called<I::Error>>
where
    I: Handler<B>,
{
    if !ready {
        poll_fn(|cx| service.poll_ready(cx)).await.map_err(Called::NotReady)?;
    }
    service.call(request).await.map_err(Called::Failed)
}

/// Calls the service, and takes as much of its answer as is kept. What is to be written, or `None` if nobody knows.
async fn handle<I, B>(
    service: I,
    ready: bool,
    request: Request<Body>,
    most: usize,
) -> (Result<Reply<B>, I::Error>, Option<End>)
where
    I: Handler<B>,
    B: http_body::Body<Data = Bytes>,
{
    let mut response = match ready_and_call(service, ready, request).await {
        Ok(response) => response,
        Err(Called::NotReady(error)) => return (Err(error), Some(End::Release)),
        Err(Called::Failed(error)) => return (Err(error), None),
    };
    let told = response.extensions_mut().remove::<Disposition>();
    let end = match told.or_else(|| fate::of(response.status(), response.headers())) {
        Some(Disposition::Store) => {
            let (response, end) = kept(response, most, told).await;
            return (Ok(Ok(response)), end);
        }
        Some(Disposition::Release) => Some(End::Release),
        Some(Disposition::Indeterminate) => Some(End::Finally(Final::Indeterminate)),
        None => None,
    };
    (Ok(Ok(response.map(KeyedBody::passed))), end)
}

/// An answer, and the record of it, unless its end says that it is none to be kept. What its handler has `told` counts more than that.
async fn kept<B>(
    response: Response<B>,
    most: usize,
    told: Option<Disposition>,
) -> (Response<KeyedBody<B>>, Option<End>)
where
    B: http_body::Body<Data = Bytes>,
{
    let (head, body) = response.into_parts();
    let (body, end) = match gather(body, most).await {
        Gathered::Whole { data, trailers } => {
            let said = trailers.as_ref().filter(|_| told.is_none());
            let end = match said.map(|said| fate::at_the_end(&head.headers, data.is_empty(), said)) {
                Some(None) => None,
                Some(Some(Disposition::Release)) => Some(End::Release),
                _ => {
                    let record = Record::of(&head, data.clone(), trailers.clone());
                    Some(End::Finally(Final::Record(record.encode())))
                }
            };
            (KeyedBody::whole(data, trailers), end)
        }
        Gathered::TooLarge { read, rest } => {
            // What a call of gRPC ends with is known at its end.
            let is_known = told.is_some() || !says_grpc(&head.headers);
            (KeyedBody::goes_on(read, rest), is_known.then_some(End::Finally(Final::TooLarge)))
        }
        Gathered::BrokeOff { read, error } => (KeyedBody::breaks_off(read, error), None),
    };
    (Response::from_parts(head, body), end)
}

/// A kept answer, which says that it is one.
fn replay<B: http_body::Body>(mut record: Record) -> Response<KeyedBody<B>> {
    let trailers = record.take_trailers();
    let mut response = record.response().map(|data| KeyedBody::whole(data, trailers.clone()));
    let headers = response.headers_mut();
    headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    // It was left out of the record, since it is of a hop. Over HTTP/1 trailers are sent only if they were announced.
    for name in trailers.iter().flat_map(HeaderMap::keys) {
        headers.append(header::TRAILER, HeaderValue::from(name.clone()));
    }
    response
}
