//! Server-Sent Events: what a stream says, and what becomes of it when it breaks off.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderName, HeaderValue, Request, Response, Uri};
use http_body::Frame;
use stonework::base::{BoxError, Deadline, Elapsed, Kind, Phase, Rng};
use stonework::client::Client;
use stonework::sse::{EventParser, EventSource, EventSourceSettings, EventTooLarge, NotAStream, ServerEvent};
use stonework::testing::{Reaction, Scripted, ScriptedServer, Step, Strict, in_order, respond};
use stonework::timeout::TimeoutLayer;
use stonework::{Body, Error};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, service_fn};

use crate::support::{SECOND, timed};

const MS: Duration = Duration::from_millis(1);

/// When each request came, and the id that it went on behind.
type Asked = Arc<Mutex<Vec<(Duration, Option<String>)>>>;

/// A server that answers each request by its number, from 0.
fn server<F, A>(
    script: F,
) -> (Asked, impl Service<Request<Body>, Response = Response<Body>, Error = Error> + Clone)
where
    F: Fn(usize, &Request<Body>) -> A + Clone,
    A: Future<Output = Result<Response<Body>, Error>>,
{
    let (asked, start) = (Asked::default(), Instant::now());
    let seen = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Body>| {
        let id = request.headers().get("last-event-id").map(|id| id.to_str().unwrap().to_owned());
        let mut seen = seen.lock().unwrap();
        seen.push((start.elapsed(), id));
        script(seen.len() - 1, &request)
    });
    (asked, service)
}

fn response(status: u16, content_type: &str, body: Body) -> Response<Body> {
    Response::builder().status(status).header("content-type", content_type).body(body).unwrap()
}

async fn says(body: impl Into<Body>) -> Result<Response<Body>, Error> {
    Ok(response(200, "text/event-stream", body.into()))
}

async fn status(status: u16) -> Result<Response<Body>, Error> {
    Ok(response(status, "text/plain", Body::empty()))
}

/// A body that ends with an error.
fn broken(pieces: Vec<Bytes>) -> Body {
    let pieces = pieces.into_iter().map(|piece| Ok::<_, BoxError>(Frame::data(piece)));
    let end = std::iter::once(Err("the connection broke".into()));
    Body::new(http_body_util::StreamBody::new(stream::iter(pieces.chain(end))))
}

/// A body that says this again and again, and never ends.
fn every(pause: Duration, piece: &'static str) -> Body {
    let pieces = stream::repeat(()).then(move |()| async move {
        sleep(pause).await;
        Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))
    });
    Body::new(http_body_util::StreamBody::new(Box::pin(pieces)))
}

fn source<S>(service: S) -> EventSource<S, Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Error> + Clone,
{
    EventSource::new(service, Uri::from_static("http://feed.test/")).rng(Rng::seeded(1))
}

fn told(event: &ServerEvent) -> (&str, &str, &str) {
    (event.name(), event.data(), event.id())
}

async fn data<S>(source: &mut EventSource<S, Body>) -> Option<String>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Error> + Clone,
{
    source.next().await.map(|event| event.expect("an event").into_data())
}

/// The examples of the standard (WHATWG HTML, section 9.2.6) and what it says of them.
#[test]
fn the_examples_of_the_standard_are_read_as_it_says() {
    let read = |stream: &'static str| {
        let (mut parser, mut bytes) = (EventParser::new(1024), Bytes::from(stream));
        let mut all = Vec::new();
        while let Some(event) = parser.read(&mut bytes).unwrap() {
            all.push((event.name().to_owned(), event.data().to_owned(), event.id().to_owned()));
        }
        all
    };
    let message = |data: &str, id: &str| ("message".to_owned(), data.to_owned(), id.to_owned());
    assert_eq!(read("data: YHOO\ndata: +2\ndata: 10\n\n"), [message("YHOO\n+2\n10", "")]);
    let stream =
        ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n";
    assert_eq!(
        read(stream),
        [message("first event", "1"), message("second event", ""), message(" third event", "")]
    );
    assert_eq!(read("data\n\ndata\ndata\n\ndata:"), [message("", ""), message("\n", "")]);
    assert_eq!(read("data:test\n\ndata: test\n\n"), [message("test", ""), message("test", "")]);
    let named =
        read("event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n");
    let names: Vec<_> = named.iter().map(|(name, data, _)| (name.as_str(), data.as_str())).collect();
    assert_eq!(names, [("add", "73857293"), ("remove", "2153"), ("add", "113411")]);
}

#[test]
fn only_digits_are_a_time_to_wait_and_an_id_counts_from_the_end_of_its_event() {
    let mut parser = EventParser::new(1024);
    let mut read = |text: &'static str| {
        parser.read(&mut Bytes::from(text)).unwrap();
        (parser.retry(), parser.last_event_id().to_owned())
    };
    let ms = |ms| Some(Duration::from_millis(ms));
    assert_eq!(read("retry: 70\nid: 1\n"), (ms(70), String::new()));
    assert_eq!(read("retry: +5\nretry: 5s\nretry:\nretry\n"), (ms(70), String::new()));
    assert_eq!(read("\n"), (ms(70), "1".to_owned()), "without data too");
    assert_eq!(read("id: 2\0\n\nretry: 99999999999999999999999\n"), (ms(u64::MAX), "1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_breaks_anywhere_is_gone_on_with_and_nothing_is_lost_or_doubled() {
    const EVENTS: usize = 500;
    let rng = Rng::seeded(7);
    let all: Vec<String> = (1..=EVENTS)
        .map(|n| format!(": beat\r\nid: {n}\r\nevent: n\r\ndata: {n}\r\ndata: ä\r\n\r\n"))
        .collect();
    let cuts = rng.clone();
    let (asked, service) = server(move |_, request| {
        let last =
            request.headers().get("last-event-id").map_or(0, |id| id.to_str().unwrap().parse().unwrap());
        if last == EVENTS {
            return futures_util::future::Either::Left(status(204));
        }
        let mut rest = Bytes::from(all[last..].concat());
        // Somewhere, in the middle of a letter too; the end is as good as an error.
        rest.truncate(usize::try_from(cuts.below(1 + rest.len().min(900) as u64)).unwrap());
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let at = usize::try_from(1 + cuts.below(60)).unwrap();
            pieces.push(rest.split_to(at.min(rest.len())));
        }
        let body = if cuts.below(2) == 0 { broken(pieces) } else { Body::from(pieces.concat()) };
        futures_util::future::Either::Right(says(body))
    });
    let mut source = source(service);
    let mut seen = 0;
    loop {
        // Whoever waits may stop waiting at any time.
        let Ok(next) = timeout(rng.duration_below(2 * SECOND), source.next()).await else { continue };
        let Some(event) = next else { break };
        seen += 1;
        let n = seen.to_string();
        assert_eq!(told(&event.unwrap()), ("n", format!("{n}\nä").as_str(), n.as_str()));
    }
    assert_eq!(seen, EVENTS);
    let asked = asked.lock().unwrap();
    assert!(asked.len() > 30, "it broke off often: {}", asked.len());
    assert_eq!(source.requests(), asked.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn an_event_without_an_id_does_not_lose_the_place() {
    let (asked, service) = server(|at, _| says(if at == 0 { "id: 5\ndata: a\n\n" } else { "data: b\n\n" }));
    let mut source = source(service).after("4");
    for data in ["a", "b", "b"] {
        let event = source.next().await.unwrap().unwrap();
        assert_eq!(told(&event), ("message", data, "5"));
    }
    let ids: Vec<_> = asked.lock().unwrap().iter().map(|(_, id)| id.clone().unwrap()).collect();
    assert_eq!(ids, ["4", "5", "5"]);
}

#[tokio::test(start_paused = true)]
async fn status_204_is_the_end_and_no_error() {
    let (asked, service) =
        server(|at, _| async move { if at == 0 { says("data: a\n\n").await } else { status(204).await } });
    let mut source = source(service);
    assert_eq!(data(&mut source).await.as_deref(), Some("a"));
    for _ in 0..3 {
        assert!(source.next().await.is_none());
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_stream_is_an_error_at_once_and_the_end() {
    for (code, content_type) in [
        (200, "text/plain"),
        (200, "text/event-streams"),
        (200, "application/json; a=text/event-stream"),
        (206, "text/event-stream"),
        (301, "text/event-stream"),
        (404, "text/event-stream"),
        (501, "text/event-stream"),
    ] {
        let answer = move |_, _: &Request<Body>| async move {
            Ok(response(code, content_type, Body::from("data: a\n\n")))
        };
        let (asked, service) = server(answer);
        let mut source = source(service);
        let error = source.next().await.unwrap().unwrap_err();
        assert_eq!(error.cause::<NotAStream>().unwrap().status(), code, "{content_type}");
        assert!(source.next().await.is_none());
        assert_eq!(asked.lock().unwrap().len(), 1);
    }
    for content_type in ["text/event-stream; charset=utf-8", "Text/Event-Stream ;x"] {
        let answer = move |_, _: &Request<Body>| async move {
            Ok(response(200, content_type, Body::from("data: a\n\n")))
        };
        assert_eq!(data(&mut source(server(answer).1)).await.as_deref(), Some("a"), "{content_type}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_later_each_time_and_ten_in_a_row_are_an_error() {
    let (asked, service) = server(|at, _| async move {
        match at {
            3 => says("data: a\n\n").await,
            at if at % 2 == 0 => status(500).await,
            _ => Err(Error::new(Kind::Connect, "nobody is there")),
        }
    });
    let mut source = source(service);
    assert_eq!(data(&mut source).await.as_deref(), Some("a"));
    let error = source.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.attempts()), (Kind::Connect, 10));
    assert!(source.next().await.is_none());

    let asked: Vec<_> = asked.lock().unwrap().iter().map(|(at, _)| *at).collect();
    assert_eq!(asked.len(), 4 + 10, "a stream begins the count anew");
    let pauses: Vec<_> = asked.windows(2).map(|two| two[1] - two[0]).collect();
    // Three seconds, and by chance up to: 6, 12 and 24 more; 3 more after a stream; then from 6 again, up to 30.
    let most = [6, 12, 24, 3, 6, 12, 24, 30, 30, 30, 30, 30, 30];
    for (pause, most) in pauses.iter().zip(most) {
        assert!(*pause >= 3 * SECOND && *pause <= (3 + most) * SECOND + 2 * MS, "{pauses:?}");
    }
    assert!(pauses.iter().max() > Some(&(20 * SECOND)), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn the_server_says_how_long_to_wait() {
    let (asked, service) = server(|at, _| async move {
        match at {
            0 => says("retry: 200\ndata: a\n\n").await,
            1 => {
                let mut busy = status(503).await?;
                busy.headers_mut().insert("retry-after", HeaderValue::from_static("90"));
                Ok(busy)
            }
            _ => says("data: b\n\n").await,
        }
    });
    let mut source = source(service);
    assert_eq!(source.reconnect_after(), 3 * SECOND);
    assert_eq!(data(&mut source).await.as_deref(), Some("a"));
    assert_eq!(source.reconnect_after(), 200 * MS);
    assert_eq!(data(&mut source).await.as_deref(), Some("b"));
    let asked = asked.lock().unwrap();
    let (first, second) = (asked[1].0 - asked[0].0, asked[2].0 - asked[1].0);
    assert!(first >= 200 * MS && first <= 402 * MS, "{first:?}");
    assert!(second >= 90 * SECOND && second <= 91 * SECOND, "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_goes_silent_is_asked_for_again_and_one_that_only_beats_is_not() {
    let (asked, service) = server(|at, _| {
        says(if at == 0 { every(59 * SECOND, ": beat\n\n") } else { every(61 * SECOND, "data: a\n\n") })
    });
    let mut beating = source(service.clone());
    assert!(timeout(3600 * SECOND, beating.next()).await.is_err());
    assert_eq!(asked.lock().unwrap().len(), 1);
    let mut silent = source(service);
    assert!(timeout(300 * SECOND, silent.next()).await.is_err());
    let asked = asked.lock().unwrap();
    assert!(asked.len() >= 5, "{asked:?}");
    let gap = asked[2].0 - asked[1].0;
    assert!(gap >= 63 * SECOND && gap <= 66 * SECOND + 2 * MS, "{gap:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up_in_time() {
    let (_, service) = server(|_, _| std::future::pending());
    let settings = EventSourceSettings::new().idle_timeout(20 * SECOND).attempts(2);
    let mut source = source(service).settings(settings);
    let (error, took) = timed(source.next()).await;
    let error = error.unwrap().unwrap_err();
    assert!(error.is_timeout());
    assert_eq!(error.cause::<Elapsed>().unwrap().phase(), Phase::Response);
    assert!(took >= 43 * SECOND && took < 50 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_is_an_error_and_not_asked_for_again() {
    let (asked, service) =
        server(|_, _| says(every(MS, "data: a line that never comes to the end of its event\n")));
    let mut source = source(service).settings(EventSourceSettings::new().max_event(10_000));
    let error = source.next().await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.cause::<EventTooLarge>().unwrap().limit()), (Kind::Body, 10_000));
    assert!(source.next().await.is_none());
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_id_that_cannot_be_sent_is_an_error_since_events_would_come_twice() {
    let (asked, service) = server(|_, _| says("id: a\u{7}b\ndata: a\n\n"));
    let mut source = source(service);
    assert_eq!(data(&mut source).await.as_deref(), Some("a"));
    let error = source.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_the_call_ends_with_the_head_and_a_deadline_in_scope_is_not_the_streams() {
    let (asked, service) = server(|_, _| {
        assert!(Deadline::current().is_none_or(|at| at.remaining(Instant::now()) > SECOND));
        says(every(SECOND, "data: a\n\n"))
    });
    let mut limited = source(TimeoutLayer::new(2 * SECOND).layer(service));
    for _ in 0..100 {
        assert_eq!(data(&mut limited).await.as_deref(), Some("a"));
    }
    let mut again = source(
        server(|_, _| {
            assert_eq!(Deadline::current(), None);
            says(every(SECOND, "data: a\n\n"))
        })
        .1,
    );
    let work = async { data(&mut again).await };
    assert_eq!(Deadline::within(100 * SECOND).bound(work).await.unwrap().as_deref(), Some("a"));
    assert_eq!(asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn over_sockets_the_client_goes_on_where_the_stream_broke_off() {
    let stream = |text: &str| respond(200).header("content-type", "text/event-stream").body(text.to_owned());
    let server = ScriptedServer::start(in_order([
        stream("retry: 10\n\nid: 1\ndata: a\n\nid: 2\ndata: b, of which nothing is whole\n\n").half(),
        Reaction::read_all_then_close(),
        stream("id: 2\ndata: b\n\n").close(),
        respond(503).keep_alive(),
        stream("id: 3\ndata: c\n\n").chunked().keep_alive(),
        respond(204).keep_alive(),
    ]))
    .await;
    let mut source = EventSource::new(Client::new(), server.uri("/feed"))
        .header(HeaderName::from_static("x-who"), HeaderValue::from_static("me"));
    let mut seen = Vec::new();
    while let Some(event) = source.next().await {
        seen.push(event.unwrap().into_data());
    }
    assert_eq!(seen, ["a", "b", "c"]);
    assert_eq!(source.last_event_id(), "3");
    let requests = server.seen();
    let header = |name: &str| -> Vec<_> {
        requests
            .iter()
            .map(|seen| seen.headers.get(name).map_or("", |value| value.to_str().unwrap()))
            .collect()
    };
    assert_eq!(header("last-event-id"), ["", "1", "1", "2", "2", "3"]);
    for (name, value) in [("accept", "text/event-stream"), ("cache-control", "no-store"), ("x-who", "me")] {
        assert_eq!(header(name), [value; 6], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_is_made_ready_for_each_request_and_a_source_that_is_dropped_leaves_nothing() {
    let script = Scripted::<Request<Body>, _>::script(|call, _| match call {
        1 | 2 => Step::Answer(response(200, "text/event-stream", "data: it\n\n".into())),
        _ => Step::Hang,
    });
    let strict = Strict::new(script).capacity(1).pending_first(2);
    let ledger = strict.ledger();
    let uri = Uri::from_static("http://feed.test/");
    let mut source = EventSource::<_, Body>::new(strict, uri).rng(Rng::seeded(1));
    // Each stream ends after one event.
    for _ in 0..2 {
        let event = source.next().await.expect("no end").expect("no error");
        assert_eq!(event.data(), "it");
    }
    // Longer than any pause between streams, and shorter than an answer is waited for.
    timeout(5 * SECOND, source.next()).await.expect_err("the third hangs");
    assert_eq!((ledger.calls(), ledger.polls(), ledger.in_flight()), (3, 9, 1), "calls, polls, in flight");
    drop(source);
    assert_eq!((ledger.in_flight(), ledger.dropped()), (0, 1), "in flight, dropped");
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_readiness_failed_is_not_asked_again() {
    let script = Scripted::<Request<Body>, _>::steps([Step::Answer(response(
        200,
        "text/event-stream",
        "data: it\n\n".into(),
    ))]);
    let strict =
        Strict::new(script).fail_readiness_at(1, || BoxError::from(Error::new(Kind::Connect, "no route")));
    let ledger = strict.ledger();
    let mut source =
        EventSource::<_, Body>::new(strict, Uri::from_static("http://feed.test/")).rng(Rng::seeded(1));
    assert_eq!(source.next().await.expect("no end").expect("no error").data(), "it");
    drop(source);
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn only_the_silence_counts_in_which_somebody_waits() {
    let service = service_fn(|_: Request<Body>| async {
        Ok::<_, Error>(response(200, "text/event-stream", every(SECOND, "data: a\n\n")))
    });
    let mut events = source(service);
    // Whoever works for longer than a stream may be silent loses nothing of it.
    for _ in 0..5 {
        assert_eq!(data(&mut events).await.as_deref(), Some("a"));
        sleep(61 * SECOND).await;
    }
    assert_eq!(events.requests(), 1);

    let service = service_fn(|_: Request<Body>| async {
        Ok::<_, Error>(response(200, "text/event-stream", every(1000 * SECOND, ": quiet\n")))
    });
    let mut events = source(service);
    // Who looks elsewhere now and then has waited for as long as they did, and no longer.
    for waited in 1..=7 {
        assert!(timeout(10 * SECOND, events.next()).await.is_err());
        assert_eq!(events.requests(), if waited < 7 { 1 } else { 2 }, "after {waited} times 10 s");
        sleep(100 * SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_sent_is_the_end_and_no_connection_is_not() {
    for (kind, requests) in [(Kind::Invalid, 1), (Kind::Connect, 10)] {
        let mut events = source(service_fn(move |_: Request<Body>| async move {
            Err::<Response<Body>, _>(Error::new(kind, "no"))
        }));
        assert_eq!(events.next().await.expect("an error").unwrap_err().kind(), kind);
        assert!(events.next().await.is_none());
        assert_eq!(events.requests(), requests);
    }
}

#[test]
fn limits_with_which_no_event_would_ever_come_are_refused_by_name() {
    for (text, field) in
        [(r#"{"idle_timeout": "0s"}"#, "`idle_timeout`"), (r#"{"max_event": 0}"#, "`max_event`")]
    {
        let refused = serde_json::from_str::<EventSourceSettings>(text).unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
}
