//! The circuits and the fallback of the assembled client, against servers that behave badly.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Method, Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use stonework::base::HostPort;
use stonework::base::{
    Backoff, BoxError, Budget, BudgetSettings, CircuitState, Delivery, Error, Jitter, Kind, Ratio, Withdrawal,
};
use stonework::breaker::{Breaker, BreakerSettings, Breakers};
use stonework::client::{Client, ClientBuilder, ClientSettings};
use stonework::retry::{ResumeSettings, RetrySettings};
use stonework::testing::{Reaction, Scripted, ScriptedServer, Step, respond};
use stonework::{Body, fallback};
use tokio::net::TcpListener;
use tower::util::{Oneshot, ServiceFn};
use tower::{ServiceExt, service_fn};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(100);
/// The largest body that is kept.
const CAP: usize = 64 * 1024;

/// Opens at half of four calls, for twenty seconds.
fn circuit() -> BreakerSettings {
    let open_time = Backoff::exponential(LONG, LONG).unwrap().jitter(Jitter::None);
    BreakerSettings::new().min_calls(4).open_time(open_time)
}

fn settings() -> ClientSettings {
    let backoff = Backoff::constant(Duration::from_millis(1)).expect("a valid pause");
    ClientSettings::new()
        .deadline(LONG)
        .attempt_timeout(LONG)
        .retry(RetrySettings::new().backoff(backoff))
        .breaker(circuit())
}

fn client() -> ClientBuilder {
    Client::builder().settings(settings())
}

/// A budget of exactly so many retries.
fn budget(retries: u32) -> Budget {
    Budget::new(BudgetSettings::default().reserve(retries).floor_per_second(0).ratio(Ratio::ZERO))
}

fn is_empty(budget: &Budget) -> bool {
    budget.try_withdraw(tokio::time::Instant::now(), 1).map(Withdrawal::spend).is_none()
}

/// The circuit of the host that `uri` names.
fn of(client: &Client, uri: &Uri) -> Breaker {
    client.breakers().expect("on").get(&HostPort::of(&Request::get(uri).body(()).unwrap()))
}

/// Another service, which keeps the requests that it got.
fn backup() -> Scripted<Request<Body>, Response<Body>> {
    Scripted::script(|_, _| Step::Answer(Response::new(Body::from("from the other"))))
}

/// A body that is a stream of so many pieces of 1 KiB.
fn stream(pieces: usize) -> Body {
    let frames = (0..pieces).map(|_| Ok::<_, BoxError>(Frame::data(Bytes::from(vec![b'x'; 1024]))));
    Body::new(StreamBody::new(futures_util::stream::iter(frames.collect::<Vec<_>>())))
}

/// A service that asks this server, whatever host it is asked for.
fn elsewhere(
    to: &ScriptedServer,
) -> ServiceFn<impl FnMut(Request<Body>) -> Oneshot<Client, Request<Body>> + Clone + Send + Sync + 'static> {
    let (to, client) = (to.uri("/"), Client::new());
    service_fn(move |mut request: Request<Body>| {
        *request.uri_mut() = to.clone();
        client.clone().oneshot(request)
    })
}

async fn nobody() -> Uri {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    format!("http://{}/", listener.local_addr().expect("an address")).parse().expect("a valid URI")
}

// ───────────────────────────────────────────────────────────────────────────── an open circuit

#[tokio::test]
async fn a_call_to_a_host_whose_circuit_is_open_reaches_nobody_and_costs_nothing() {
    let sick = ScriptedServer::start(|_| respond(500).keep_alive()).await;
    let well = ScriptedServer::start(|_| respond(200).keep_alive()).await;
    // Two retries of the first call. That of the second finds the circuit open, which its first attempt has opened: it is not
    // sent, and what it was to cost is given back.
    let budget = budget(2 + 1);
    let client = client().budget(budget.clone()).build().unwrap();
    for _ in 0..2 {
        let _ = client.get(sick.uri("/")).send().await;
    }
    assert_eq!(of(&client, &sick.uri("/")).state(), CircuitState::Open);
    let before = (sick.seen().len(), sick.connections());
    for _ in 0..50 {
        let mut refused =
            client.post(sick.uri("/orders?token=s3cret")).body("an order").send().await.unwrap_err();
        assert_eq!((refused.kind(), refused.delivery()), (Kind::CircuitOpen, Delivery::NotSent));
        assert_eq!(refused.attempts(), 0);
        assert!(refused.retry_after().is_some_and(|left| left > LONG / 2 && left <= LONG), "{refused:?}");
        assert!(refused.is_circuit_open() && !refused.is_timeout());
        assert!(!format!("{refused:?} {refused:#}").contains("s3cret"));
        let back = refused.take_request::<Request<Body>>().expect("it was not sent");
        assert_eq!(back.into_body().collect().await.unwrap().to_bytes(), "an order");
    }
    assert_eq!((sick.seen().len(), sick.connections()), before);
    assert!(!is_empty(&budget) && is_empty(&budget), "no other retry was made");
    assert_eq!(client.get(well.uri("/")).send().await.unwrap().status(), 200);
    assert_eq!(of(&client, &well.uri("/")).state(), CircuitState::Closed);
}

#[tokio::test]
async fn attempts_open_the_circuit_one_by_one_and_none_is_made_once_it_is_open() {
    let server = ScriptedServer::start(|_| respond(500).keep_alive()).await;
    let client = client().build().unwrap();
    assert_eq!(client.get(server.uri("/")).send().await.unwrap().attempts(), 3);
    let second = client.get(server.uri("/")).send().await.unwrap_err();
    assert_eq!((second.kind(), second.attempts()), (Kind::CircuitOpen, 1), "the fourth opened it");
    assert_eq!(server.seen().len(), 4);
}

#[tokio::test]
async fn a_server_that_hangs_opens_its_circuit_through_the_limit_on_attempts() {
    let server = ScriptedServer::silent().await;
    let settings = settings().attempt_timeout(SHORT).retry(RetrySettings::new().attempts(1));
    let client = client().settings(settings).build().unwrap();
    for _ in 0..4 {
        assert!(client.get(server.uri("/")).send().await.unwrap_err().is_timeout());
    }
    assert!(client.get(server.uri("/")).send().await.unwrap_err().is_circuit_open());
}

#[tokio::test]
async fn a_host_where_nobody_listens_opens_its_circuit() {
    let uri = nobody().await;
    let client = client().settings(settings().without_retry()).build().unwrap();
    for _ in 0..4 {
        assert_eq!(client.get(uri.clone()).send().await.unwrap_err().kind(), Kind::Connect);
    }
    assert!(client.get(uri).send().await.unwrap_err().is_circuit_open());
}

#[tokio::test]
async fn bodies_that_break_off_open_the_circuit_and_those_that_nobody_reads_do_not() {
    let server = ScriptedServer::start(|seen| match seen.target.as_str() {
        "/half" => respond(200).body("x".repeat(1 << 16)).half(),
        _ => respond(200).body("x".repeat(1 << 16)).keep_alive(),
    })
    .await;
    let client = client().settings(settings().without_retry()).build().unwrap();
    let circuit = of(&client, &server.uri("/"));
    for dropped in 1..=4 {
        drop(client.get(server.uri("/")).send().await.unwrap());
        assert_eq!((circuit.stats().calls(), circuit.stats().failures()), (dropped, 0));
    }
    for _ in 0..4 {
        assert!(client.get(server.uri("/half")).send().await.unwrap().bytes().await.is_err());
    }
    assert_eq!(circuit.state(), CircuitState::Open);
}

#[tokio::test]
async fn a_probe_whose_caller_goes_away_at_any_point_lets_the_next_call_probe() {
    let server = ScriptedServer::start(|seen| match seen.target.as_str() {
        "/sick" => respond(500).keep_alive(),
        "/hung" => Reaction::new().hang(),
        "/half" => Reaction::new().send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").hang(),
        _ => respond(200).keep_alive(),
    })
    .await;
    let short = Backoff::constant(Duration::from_millis(1)).unwrap();
    let settings = settings().without_retry().breaker(circuit().open_time(short).probes(2));
    let client = client().settings(settings).build().unwrap();
    let circuit = of(&client, &server.uri("/"));
    for _ in 0..4 {
        assert_eq!(client.get(server.uri("/sick")).send().await.unwrap().status(), 500);
    }
    tokio::time::sleep(Duration::from_millis(2)).await;
    // Never polled; polled once; dropped while the server is silent.
    drop(client.get(server.uri("/hung")).send());
    assert!(client.get(server.uri("/hung")).send().now_or_never().is_none());
    for _ in 0..3 {
        let silent = tokio::time::timeout(SHORT / 4, client.get(server.uri("/hung")).send()).await;
        assert!(silent.is_err());
        assert_eq!((circuit.state(), circuit.stats().probes()), (CircuitState::HalfOpen, 0));
    }
    // Dropped half way through a good answer: that is what its head was.
    let mut half = client.get(server.uri("/half")).send().await.unwrap().into_body();
    assert_eq!(circuit.stats().probes(), 1);
    assert!(half.frame().await.is_some());
    drop(half);
    assert_eq!((circuit.stats().probes(), circuit.stats().calls()), (0, 1));
    assert_eq!(client.get(server.uri("/")).send().await.unwrap().status(), 200);
    assert_eq!(circuit.state(), CircuitState::Closed);
}

#[tokio::test]
async fn circuits_are_shared_where_they_are_given_and_off_where_they_are_off() {
    let server = ScriptedServer::start(|_| respond(500).keep_alive()).await;
    let shared = Breakers::new(circuit()).unwrap();
    let build = |settings| client().settings(settings).breakers(shared.clone()).build().unwrap();
    let single = settings().without_retry();
    let (one, other) = (build(single.clone()), build(single.clone()));
    let off = build(single.without_breaker());
    for _ in 0..4 {
        assert_eq!(one.get(server.uri("/")).send().await.unwrap().status(), 500);
    }
    assert!(other.get(server.uri("/")).send().await.unwrap_err().is_circuit_open());
    assert!(off.breakers().is_none());
    assert_eq!(off.get(server.uri("/")).send().await.unwrap().status(), 500);
}

// ───────────────────────────────────────────────────────────────────────────── a fallback

#[tokio::test]
async fn a_value_stands_in_for_a_host_whose_circuit_is_open_and_says_so() {
    let server = ScriptedServer::start(|_| respond(500).keep_alive()).await;
    let client =
        client().fallback_value(|error| Response::new(Body::from(error.to_string()))).build().unwrap();
    of(&client, &server.uri("/")).force_open();
    for large in [Body::empty(), stream(4 * CAP / 1024)] {
        let answer = client.post(server.uri("/")).body(large).send().await.unwrap();
        let stands_for = answer.fallback().expect("marked").error();
        assert_eq!((stands_for.kind(), stands_for.attempts()), (Kind::CircuitOpen, 0));
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().is_empty()), (200, false));
    }
    assert!(server.seen().is_empty());
    // What the host itself answers is not marked, whatever it is.
    of(&client, &server.uri("/")).reset();
    let answer = client.get(server.uri("/")).send().await.unwrap();
    assert!(answer.status() == 500 && answer.fallback().is_none());
}

#[tokio::test]
async fn another_service_gets_a_whole_request_that_an_open_circuit_refused() {
    let server = ScriptedServer::start(|_| respond(200).keep_alive()).await;
    let other = ScriptedServer::start(|_| respond(201).keep_alive()).await;
    let client = client().fallback(elsewhere(&other)).build().unwrap();
    of(&client, &server.uri("/")).force_open();
    // Twice the cap, too: none of it was read.
    for pieces in [1, 2 * CAP / 1024] {
        let answer = client.post(server.uri("/")).body(stream(pieces)).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.fallback().unwrap().error().kind(), Kind::CircuitOpen);
        assert_eq!(other.seen().last().unwrap().body.received, 1024 * pieces as u64);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn another_service_is_asked_only_for_what_may_be_sent_twice_and_can_be() {
    let server = ScriptedServer::start(|_| Reaction::read_all_then_close()).await;
    let other = backup();
    let once = settings().without_breaker().retry(RetrySettings::new().attempts(1));
    let client = client().settings(once).fallback(other.clone()).build().unwrap();
    // It may have been received.
    let error = client.post(server.uri("/")).body("an order").send().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Transport, Delivery::Unknown, 1));
    assert_eq!(other.seen().count(), 0);
    // It has been sent as far as the cap, and more.
    let error = client.put(server.uri("/")).body(stream(2 * CAP / 1024)).send().await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Transport, Delivery::Unknown));
    assert_eq!(other.seen().count(), 0);
    // It may be sent twice, and all of it is still there.
    let answer = client.put(server.uri("/")).body(stream(CAP / 1024)).send().await.unwrap();
    assert_eq!(answer.fallback().unwrap().error().delivery(), Delivery::Unknown);
    let again = other.seen().take().pop().expect("one").into_body().collect().await.unwrap();
    assert_eq!(again.to_bytes().len(), CAP);
}

#[tokio::test]
async fn a_streamed_body_that_was_partly_sent_is_sent_elsewhere_from_its_start() {
    let server = ScriptedServer::start(|_| Reaction::new().read(2_000).reset()).await;
    let other = backup();
    let client = client().settings(settings().without_breaker().without_retry());
    let client = client.fallback(other.clone()).build().unwrap();
    let answer = client.put(server.uri("/")).body(stream(40)).send().await.unwrap();
    assert!(answer.fallback().is_some());
    let again = other.seen().take().pop().expect("one").into_body().collect().await.unwrap();
    assert_eq!(again.to_bytes().len(), 40 * 1024);
}

#[tokio::test]
async fn a_call_that_is_dropped_while_it_falls_back_drops_the_other_service_too() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let uri = nobody().await;
    let other: Scripted<Request<Body>, Response<Body>> = Scripted::script(|_, _| Step::Hang);
    let client = client().fallback(other.clone()).build().unwrap();
    let before = tasks();
    let call = tokio::time::timeout(SHORT, client.get(uri).send()).await;
    assert!(call.is_err());
    assert_eq!((other.seen().count(), other.seen().in_flight()), (1, 0));
    tokio::time::timeout(LONG, async {
        while tasks() > before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("no task is left behind");
}

#[tokio::test]
async fn when_the_other_service_fails_too_both_errors_are_told() {
    let uri = nobody().await;
    let other: Scripted<Request<Body>, Response<Body>> =
        Scripted::script(|_, _| Step::fail(Error::new(Kind::Timeout, "too slow")));
    let client = client().fallback(other.clone()).build().unwrap();
    let error = client.get(uri).send().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Connect);
    let both = error.cause::<fallback::FallbackFailed>().expect("in the chain");
    assert_eq!((both.original().attempts(), both.backup().kind()), (3, Kind::Timeout));
    assert_eq!(other.seen().with(<[_]>::len), 1);
    assert_eq!(other.seen().with(|seen| seen[0].method().clone()), Method::GET);
}

/// A server whose representation is all of this byte, under the same tag as that of all the others. It breaks off half way, and
/// has the rest for those who ask for it.
async fn breaks_off(byte: &'static str) -> ScriptedServer {
    ScriptedServer::start(move |seen| match seen.header("range") {
        None => respond(200).header("etag", "\"1\"").body(byte.repeat(CAP)).half(),
        Some(range) => {
            let from: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
            respond(206)
                .header("etag", "\"1\"")
                .header("content-range", &format!("bytes {from}-{}/{CAP}", CAP - 1))
                .body(byte.repeat(CAP - from))
                .keep_alive()
        }
    })
    .await
}

#[tokio::test]
async fn what_one_service_began_is_never_ended_by_the_other_whatever_their_tags() {
    let (first, other) = (breaks_off("a").await, breaks_off("b").await);
    let build = || {
        let settings = settings().resume(ResumeSettings::new());
        client().settings(settings).fallback(elsewhere(&other)).build().unwrap()
    };
    // The first breaks off, and its circuit is open when the rest is asked for.
    let client = build();
    let circuit = of(&client, &first.uri("/"));
    let answer = client.get(first.uri("/")).send().await.unwrap();
    assert!(answer.fallback().is_none());
    circuit.force_open();
    let Err(error) = answer.bytes().await else { panic!("a half of each") };
    assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered), "{error:#}");
    // The other one stands in and breaks off, and the first is well again when the rest is asked for.
    let answer = client.get(first.uri("/")).send().await.unwrap();
    assert!(answer.fallback().is_some());
    circuit.reset();
    let Err(error) = answer.bytes().await else { panic!("a half of each") };
    assert_eq!((error.kind(), error.delivery()), (Kind::Body, Delivery::Answered), "{error:#}");
    // Of the first alone it is resumed.
    let answer = build().get(first.uri("/")).send().await.unwrap();
    assert!(answer.bytes().await.unwrap() == "a".repeat(CAP));
}
