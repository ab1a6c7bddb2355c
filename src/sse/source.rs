use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::header::{ACCEPT, CACHE_CONTROL};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, Uri};
use tokio::time::Instant;
use tower_service::Service;

use super::answer::{self, Meaning};
use super::pause::pause;
use super::{EventParser, EventSourceSettings, EventTooLarge, NotAStream, ServerEvent};
use crate::base::body::Body;
use crate::base::{
    Alarm, BoxError, Call, Deadline, Delivery, Elapsed, Error, Kind, Phase, RetryAfter, Rng, WallClock, scope,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A stream of events that is asked for again when it breaks off. See the [module](super).
#[must_use = "nothing is asked for until `next`"]
pub struct EventSource<S: Service<Request<Body>>, B> {
    /// Each request goes through a clone of it.
    service: S,
    uri: Uri,
    headers: HeaderMap,
    settings: EventSourceSettings,
    parser: EventParser,
    state: State<S, S::Future, B>,
    alarm: Pin<Box<Alarm>>,
    /// When it is too late for whatever is waited for.
    until: Instant,
    /// Since when nobody has waited.
    unheard: Option<Instant>,
    /// Attempts in a row that brought no stream.
    failures: u32,
    asked: u64,
    rng: Rng,
    wall: WallClock,
}

enum State<S, F, B> {
    Pausing,
    Readying(S),
    Asking(Pin<Box<F>>),
    Reading { body: Pin<Box<B>>, piece: Bytes },
    Over,
}

impl<S, B> EventSource<S, B>
where
    S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Error: Into<BoxError>>,
{
    /// Of what is there. Nothing is asked for before the first [`next`](Self::next).
    pub fn new(service: S, uri: Uri) -> Self {
        let settings = EventSourceSettings::new();
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("text/event-stream")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ]);
        Self {
            service,
            uri,
            headers,
            parser: EventParser::new(settings.max_event),
            settings,
            // Which is over.
            state: State::Pausing,
            alarm: Box::pin(Alarm::new()),
            until: Instant::now(),
            unheard: None,
            failures: 0,
            asked: 0,
            rng: Rng::from_entropy(),
            wall: WallClock::default(),
        }
    }

    /// Behave like this. Default: [`EventSourceSettings::new`]. To be called first: an id that was set is kept, but nothing else that was read.
    pub fn settings(mut self, settings: EventSourceSettings) -> Self {
        let id = self.parser.last_event_id().to_owned();
        self.parser = EventParser::new(settings.max_event);
        self.parser.go_on_after(id);
        self.settings = settings;
        self
    }

    /// Send this field with each request, in place of one with that name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Begin behind the event with this id, which was the last one of a stream that was read earlier. Default: where the server begins.
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.parser.go_on_after(id.into());
        self
    }

    /// Where chance comes from. Default: [`Rng::from_entropy`].
    pub fn rng(mut self, rng: Rng) -> Self {
        self.rng = rng;
        self
    }

    /// The id of the last event that was whole and had one: what to [go on behind](Self::after), in another process too.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// How long a pause is at least: what the server said with `retry:`, or
    /// [`reconnect_after`](EventSourceSettings::reconnect_after).
    #[must_use]
    pub fn reconnect_after(&self) -> Duration {
        self.parser.retry().unwrap_or(self.settings.reconnect_after)
    }

    /// How many requests were made, the first included.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.asked
    }

    /// The next event; `None` after the end, which comes when the server says it with status 204, and after an error.
    ///
    /// # Errors
    ///
    /// What cannot be mended by asking again: the [module](super) has a table. It is told once, and is the end.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime with timers.
    ///
    /// # Cancellation
    ///
    /// The future may be dropped at any time, in `select!` for instance: what it has begun is gone on with by the next one. While nobody
    /// waits for an event, nothing is read, a server that sends more is held back, and silence is of no account.
    pub async fn next(&mut self) -> Option<Result<ServerEvent, Error>> {
        let waits = Waits(self);
        poll_fn(|cx| waits.0.poll_next(cx)).await
    }

    /// The same as a poll, for streams of one's own. A poll that is pending is taken to be waited for until the next one.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ServerEvent, Error>>> {
        if let Some(since) = self.unheard.take().filter(|_| !matches!(self.state, State::Pausing)) {
            self.until = Deadline::after(self.until, since.elapsed()).instant();
        }
        // A stream outlives the call that asks for it, so no deadline of that call is its own.
        let polled = scope::poll(None, || self.poll_outliving(cx));
        if polled.is_ready() {
            self.rest_unheard();
        }
        polled
    }

    fn poll_outliving(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<ServerEvent, Error>>> {
        loop {
            let broken = match ready!(self.poll_limited(cx)) {
                Ok(None) => continue,
                Ok(Some(event)) => return Poll::Ready(Some(Ok(event))),
                Err(broken) => broken,
            };
            match broken {
                Broken::Later(error) => {
                    self.failures = self.failures.saturating_add(1);
                    if self.settings.attempts.is_some_and(|most| self.failures >= most) {
                        self.state = State::Over;
                        return Poll::Ready(Some(Err(error.with_attempts(self.failures))));
                    }
                    tracing::debug!(%error, failures = self.failures, "no stream of events; asking again later");
                    self.rest(error.retry_after());
                }
                Broken::Stream(error) => {
                    tracing::debug!(
                        error = error.map(tracing::field::display),
                        "a stream of events ended; asking for the rest"
                    );
                    self.rest(None);
                }
                Broken::Never(error) => {
                    self.state = State::Over;
                    return Poll::Ready(Some(Err(error)));
                }
                Broken::Over => {
                    self.state = State::Over;
                    return Poll::Ready(None);
                }
            }
        }
    }

    /// A step, unless it takes too long.
    fn poll_limited(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<ServerEvent>, Broken>> {
        if let Poll::Ready(done) = self.poll_step(cx) {
            return Poll::Ready(done);
        }
        ready!(self.alarm.as_mut().poll_until(cx, self.until));
        let silence = |phase| Error::from(Elapsed::new(phase, self.settings.idle_timeout));
        let broken = match &self.state {
            State::Pausing => {
                self.state = State::Readying(self.service.clone());
                self.hear();
                return Poll::Ready(Ok(None));
            }
            State::Readying(_) => Broken::Later(silence(Phase::Readiness).with_delivery(Delivery::NotSent)),
            State::Asking(_) => Broken::Later(silence(Phase::Response)),
            State::Reading { .. } => Broken::Stream(Some(silence(Phase::BodyIdle))),
            State::Over => Broken::Over,
        };
        Poll::Ready(Err(broken))
    }

    fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<ServerEvent>, Broken>> {
        match &mut self.state {
            State::Over => Poll::Ready(Err(Broken::Over)),
            State::Pausing => Poll::Pending,
            State::Readying(service) => {
                // One that fails has come to its end, and so has what it reserved: the next attempt has another.
                ready!(service.poll_ready(cx)).map_err(|error| judged(Error::wrap(error)))?;
                let request = request(&self.uri, &self.headers, &self.parser).map_err(Broken::Never)?;
                self.state = State::Asking(Box::pin(service.call(request)));
                self.asked += 1;
                self.hear();
                self.parser.begin_again();
                Poll::Ready(Ok(None))
            }
            State::Asking(answer) => {
                let answer = ready!(answer.as_mut().poll(cx)).map_err(|error| judged(Error::wrap(error)))?;
                Poll::Ready(self.answered(answer).map(|()| None))
            }
            State::Reading { body, piece } => {
                if let Some(event) = self.parser.read(piece).map_err(too_large)? {
                    return Poll::Ready(Ok(Some(event)));
                }
                match ready!(body.as_mut().poll_frame(cx)) {
                    Some(Ok(frame)) => {
                        if let Ok(mut data) = frame.into_data() {
                            *piece = data.copy_to_bytes(data.remaining());
                        }
                        self.hear();
                        Poll::Ready(Ok(None))
                    }
                    Some(Err(error)) => Poll::Ready(Err(Broken::Stream(Some(Error::wrap(error))))),
                    None => Poll::Ready(Err(Broken::Stream(None))),
                }
            }
        }
    }

    fn answered(&mut self, response: Response<B>) -> Result<(), Broken> {
        let error =
            |kind| Error::new(kind, NotAStream::new(response.status())).with_delivery(Delivery::Answered);
        match answer::of_response(&response) {
            Meaning::Over => Err(Broken::Over),
            Meaning::Never => Err(Broken::Never(error(Kind::Other))),
            Meaning::Later => {
                let error = error(Kind::Other);
                Err(Broken::Later(match RetryAfter::of(response.headers(), self.wall.now()) {
                    Some(after) => error.with_retry_after(after),
                    None => error,
                }))
            }
            Meaning::Stream => {
                self.failures = 0;
                self.hear();
                self.state = State::Reading { body: Box::pin(response.into_body()), piece: Bytes::new() };
                Ok(())
            }
        }
    }

    /// Ask again, after a pause.
    fn rest(&mut self, retry_after: Option<Duration>) {
        let pause = pause(self.reconnect_after(), self.failures, self.settings.max_backoff, &self.rng);
        self.until = Deadline::within(pause.max(retry_after.unwrap_or_default())).instant();
        self.state = State::Pausing;
    }

    /// Something was heard, or is waited for from now on.
    fn hear(&mut self) {
        self.until = Deadline::within(self.settings.idle_timeout).instant();
    }
}

/// Asks for what comes behind the last event.
fn request(uri: &Uri, headers: &HeaderMap, parser: &EventParser) -> Result<Request<Body>, Error> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = uri.clone();
    *request.headers_mut() = headers.clone();
    let id = parser.last_event_id();
    if !id.is_empty() {
        // One that cannot be said is not left out: the stream would begin anew, and its events come twice.
        let id = HeaderValue::from_bytes(id.as_bytes()).map_err(|error| Error::new(Kind::Invalid, error))?;
        request.headers_mut().insert(LAST_EVENT_ID, id);
    }
    // A stream has no end that one could wait for.
    Call::edit(request.extensions_mut(), |call| call.collect_within(0));
    Ok(request)
}

/// Somebody waits for the next event, until this is dropped.
struct Waits<'a, S: Service<Request<Body>>, B>(&'a mut EventSource<S, B>);

impl<S: Service<Request<Body>>, B> Drop for Waits<'_, S, B> {
    fn drop(&mut self) {
        self.0.rest_unheard();
    }
}

impl<S: Service<Request<Body>>, B> EventSource<S, B> {
    /// Nobody waits: what the server says meanwhile, or does not say, is not heard, and is no silence.
    fn rest_unheard(&mut self) {
        self.unheard.get_or_insert_with(Instant::now);
    }
}

/// Why there is no event.
enum Broken {
    /// There was a stream; what it ended with, if not well.
    Stream(Option<Error>),
    /// There was none, but there may be one.
    Later(Error),
    Never(Error),
    Over,
}

fn judged(error: Error) -> Broken {
    match answer::of_error(&error) {
        Meaning::Never => Broken::Never(error),
        _ => Broken::Later(error),
    }
}

fn too_large(error: EventTooLarge) -> Broken {
    Broken::Never(Error::new(Kind::Body, error).with_delivery(Delivery::Answered))
}

/// Shows where it stands. URI and headers carry secrets.
impl<S: Service<Request<Body>>, B> fmt::Debug for EventSource<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Pausing => "pausing",
            State::Readying(_) => "waiting for readiness",
            State::Asking(_) => "asking",
            State::Reading { .. } => "reading",
            State::Over => "over",
        };
        let mut shown = f.debug_struct("EventSource");
        shown.field("state", &state).field("failures", &self.failures).field("requests", &self.asked);
        shown.field("settings", &self.settings).finish_non_exhaustive()
    }
}
