//! That retries do not make a bad hour worse: what they cost, how they know of each other, what they leave behind.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full};
use stonework::base::deadline::carry;
use stonework::base::{
    ATTEMPT, Attempts, Backoff, Budget, BudgetSettings, Call, DO_NOT_RETRY, Delivery, Error, Jitter, Kind,
    Ratio, Skip,
};
use stonework::client::{Client, ClientSettings};
use stonework::retry::{HopLayer, Policy, RetryCosts, RetryLayer, RetrySettings, retry};
use stonework::testing::{Reaction, Recorder, ScriptedServer, Step, in_order, respond};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

#[path = "../../examples/retry_storm_lab/model.rs"]
#[allow(dead_code, reason = "the lab uses more of it")]
mod model;

use self::model::{Storm, returns_in_each_millisecond};
use crate::support::{Backend, Content, SECOND, answer, answered, request, skips, timed, with_header};

fn quick() -> RetrySettings {
    RetrySettings::new().backoff(Backoff::constant(SECOND).unwrap().jitter(Jitter::None))
}

fn tokens(reserve: u32) -> Budget {
    Budget::new(BudgetSettings::default().reserve(reserve).floor_per_second(0).ratio(Ratio::ZERO))
}

fn timed_out() -> Step<Response<Content>, stonework::base::BoxError> {
    Step::fail(Error::new(Kind::Timeout, "too slow"))
}

fn failing() -> Backend {
    Backend::script(|_, _| answered(500))
}

// ─────────────────────────────────────────────────────────────────────────────────────── what a retry costs

/// The token buckets of the AWS SDKs: 500 tokens, and how many retries there are when everything fails. Theirs are
/// refilled by successes and ours by requests, so the tables are compared with the refill left out.
#[tokio::test(start_paused = true)]
async fn five_hundred_tokens_are_as_many_retries_as_in_the_tables_of_the_aws_sdks() {
    let first = RetryCosts::new().failure(5).overload(5).timeout(10);
    let second = RetryCosts::new().failure(14).overload(5).timeout(14);
    for (name, costs, step, retries) in [
        ("standard, failures", first, 500, 100),
        ("standard, timeouts", first, 0, 50),
        ("2.1, failures", second, 500, 35),
        ("2.1, throttling", second, 429, 100),
    ] {
        let backend = Backend::script(move |_, _| if step == 0 { timed_out() } else { answered(step) });
        let seen = backend.seen();
        let budget = tokens(500);
        let layer = RetryLayer::from(quick().costs(costs)).budget(budget.clone());
        let service = layer.layer(backend);
        for _ in 0..300 {
            let _ = service.clone().oneshot(request(Method::GET)).await;
        }
        assert_eq!(seen.count() - 300, retries, "{name}");
        assert_eq!(budget.stats().granted, retries as u64, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_costs_more_than_a_failure_and_what_was_never_sent_costs_nothing() {
    let unsent = || Step::fail(Error::new(Kind::Connect, "refused"));
    for (step, cost) in [
        (answered(500), 1.0),
        (answered(503), 1.0),
        (answered(429), 1.0),
        (timed_out(), 2.0),
        (answered(504), 2.0),
        (unsent(), 0.0),
    ] {
        let budget = tokens(10);
        let backend = Backend::steps([step, answered(200)]);
        let response = RetryLayer::from(quick()).budget(budget.clone()).layer(backend);
        assert_eq!(response.oneshot(request(Method::GET)).await.unwrap().status(), 200);
        assert_eq!(10.0 - budget.available(tokio::time::Instant::now()), cost);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_cancelled_during_its_pause_gives_all_its_tokens_back() {
    let budget = tokens(10);
    let service = RetryLayer::from(quick()).budget(budget.clone()).layer(Backend::steps([timed_out()]));
    let available = || budget.available(tokio::time::Instant::now());
    let mut call = Box::pin(service.oneshot(request(Method::GET)));
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    assert_eq!(available(), 8.0, "charged as soon as it is scheduled");
    drop(call);
    assert_eq!(available(), 10.0);
}

/// The model of the lab, small: a budget for each of ten clients, and every attempt fails by itself.
#[test]
fn at_every_failure_rate_the_load_stays_within_the_budget_and_without_one_it_does_not() {
    let (clients, calls_per_second, seconds) = (10, 10, 20);
    let four = RetrySettings::new().attempts(4);
    let strict = four.clone().budget(BudgetSettings::default().floor_per_second(0));
    for failures in [0.0, 0.05, 0.1, 0.2, 0.5, 1.0] {
        let storm = Storm { clients, calls_per_second, seconds, failures, seed: 7 };
        for (settings, floor) in [(&strict, 0.0), (&four, 1.0)] {
            let outcome = storm.run(settings);
            let bound = outcome.bound(clients, 10.0, floor, 0.1);
            assert!(outcome.load() <= bound, "{failures}: {} of {bound}", outcome.load());
            assert!(failures > 0.05 || outcome.success() >= 0.9996, "{failures}: {}", outcome.success());
        }
        let unplugged = storm.run(&four.clone().without_budget());
        let bound = unplugged.bound(clients, 10.0, 1.0, 0.1);
        assert_eq!(unplugged.load() > bound, failures >= 0.5, "{failures}: {} of {bound}", unplugged.load());
    }
}

#[test]
fn ten_thousand_clients_that_fail_together_do_not_come_back_together() {
    let returns = returns_in_each_millisecond(10_000, &RetrySettings::new());
    assert_eq!(returns.iter().sum::<u32>(), 10_000);
    // A hundred in each of a hundred milliseconds on average.
    assert!(returns.len() <= 101 && returns.iter().all(|&clients| clients <= 150), "{returns:?}");
}

// ─────────────────────────────────────────────────────────────────────────── retries that know of each other

/// A handler with a client of its own, which retries.
fn with_client<S>(
    client: S,
) -> impl Service<Request<Content>, Response = Response<Content>, Error = Infallible> + Clone
where
    S: Service<Request<Content>, Response = Response<Content>, Error = Error> + Clone,
{
    service_fn(move |_: Request<Content>| {
        let client = client.clone();
        async move {
            let outgoing = Request::get("http://other.test/").body(Content::default()).unwrap();
            Ok(client.oneshot(outgoing).await.unwrap_or_else(|_| answer(502)))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_retry_around_a_handler_does_not_begin_again_what_the_handler_gave_up_on() {
    let backend = failing();
    let seen = backend.seen();
    let events = Recorder::new();
    let handler = with_client(RetryLayer::from(quick()).layer(backend));
    let outer = RetryLayer::from(quick()).observer(events.clone()).layer(handler);
    assert_eq!(outer.oneshot(request(Method::GET)).await.unwrap().status(), 500);
    assert_eq!((seen.count(), skips(&events)), (3, vec![Skip::Nested]));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_is_called_again_sends_its_own_requests_once() {
    // The handler's first call succeeds, and it fails for reasons of its own; the second one fails.
    let backend = Backend::script(|call, _| answered(if call == 1 { 200 } else { 500 }));
    let seen = backend.seen();
    let inner = RetryLayer::from(quick()).layer(backend);
    let handler = service_fn(move |_: Request<Content>| {
        let client = inner.clone();
        async move {
            let outgoing = Request::get("http://other.test/").body(Content::default()).unwrap();
            let status = client.oneshot(outgoing).await.unwrap().status();
            Ok::<_, Infallible>(answer(if status == 200 { 503 } else { 500 }))
        }
    });
    let _ = RetryLayer::from(quick()).layer(handler).oneshot(request(Method::GET)).await;
    assert_eq!(seen.count(), 3, "one in each attempt");
}

#[tokio::test(start_paused = true)]
async fn a_plain_operation_around_a_client_does_not_multiply_its_attempts() {
    let backend = Backend::script(|_, _| Step::fail(Error::new(Kind::Transport, "dead")));
    let seen = backend.seen();
    let client = RetryLayer::from(quick()).layer(backend);
    let result = retry(|| client.clone().oneshot(request(Method::GET)), Policy::new().attempts(5)).await;
    assert_eq!((result.unwrap_err().attempts(), seen.count()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_says_its_number_from_the_second_on_in_a_header_of_ones_own_choice() {
    let own = HeaderName::from_static("x-try");
    for (settings, header, kind, expected) in [
        (quick(), ATTEMPT, "text/plain", [None, Some("2"), Some("3")]),
        (quick().attempt_header(own.clone()), own, "text/plain", [None, Some("2"), Some("3")]),
        (quick().without_attempt_header(), ATTEMPT, "text/plain", [None, None, None]),
        (
            quick(),
            HeaderName::from_static("grpc-previous-rpc-attempts"),
            "application/grpc",
            [None, Some("1"), Some("2")],
        ),
    ] {
        let backend = failing();
        let seen = backend.seen();
        let mut outgoing = request(Method::GET);
        outgoing.headers_mut().insert("content-type", kind.parse().unwrap());
        let _ = RetryLayer::from(settings).layer(backend).oneshot(outgoing).await;
        let sent = seen.take();
        let told: Vec<_> =
            sent.iter().map(|r| r.headers().get(&header).map(|v| v.to_str().unwrap())).collect();
        assert_eq!(told, expected, "{header}");
    }
}

fn arriving(header: &'static str, value: &str) -> Request<Content> {
    let mut arriving = request(Method::GET);
    arriving.headers_mut().insert(header, value.parse().unwrap());
    arriving
}

#[tokio::test(start_paused = true)]
async fn behind_a_hop_that_retries_nothing_is_retried_but_what_never_left() {
    for (arriving, calls, next) in [
        (request(Method::GET), 3, None),
        (arriving("stonework-attempt", "1"), 3, None),
        (arriving("stonework-attempt", "2"), 1, Some("2")),
        (arriving("stonework-attempt", "nonsense"), 3, None),
        (arriving("grpc-previous-rpc-attempts", "2"), 1, Some("3")),
    ] {
        let backend = failing();
        let seen = backend.seen();
        let server = HopLayer::new().layer(with_client(RetryLayer::from(quick()).layer(backend)));
        server.oneshot(arriving).await.unwrap();
        let sent = seen.take();
        assert_eq!(sent.len(), calls);
        let told = sent[0].headers().get(ATTEMPT).map(|value| value.to_str().unwrap());
        assert_eq!(told, next, "the hop after the next is told too");
    }

    let unsent = Step::fail(Error::new(Kind::Transport, "gone").with_delivery(Delivery::NotSent));
    let client = RetryLayer::from(quick()).layer(Backend::steps([unsent, answered(200)]));
    let server = HopLayer::new().layer(with_client(client));
    assert_eq!(server.oneshot(arriving("stonework-attempt", "2")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_hop_reads_the_attempt_in_the_header_that_its_callers_write_and_in_no_other() {
    for (header, calls) in [("x-try", 1), ("stonework-attempt", 3)] {
        let backend = failing();
        let seen = backend.seen();
        let handler = with_client(RetryLayer::from(quick()).layer(backend));
        let server = HopLayer::new().header(HeaderName::from_static("x-try")).layer(handler);
        server.oneshot(arriving(header, "2")).await.unwrap();
        assert_eq!(seen.count(), calls, "{header}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hop_that_has_retried_in_vain_says_so_and_nobody_else_does() {
    let advised = |when: &str| Step::Answer(with_header(answer(503), "retry-after", when));
    for (what, backend, marked) in [
        ("it gave up", failing(), true),
        ("it succeeded in the end", Backend::steps([answered(500), answered(200)]), false),
        ("there was nothing to retry", Backend::steps([answered(404)]), false),
        ("it passes on when to come back", Backend::script(move |_, _| advised("7200")), true),
        ("the response says what nobody can read", Backend::script(move |_, _| advised("soon")), true),
    ] {
        let server = HopLayer::new().layer(with_client(RetryLayer::from(quick()).layer(backend)));
        let response = server.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(response.headers().contains_key(DO_NOT_RETRY), marked, "{what}");
    }
    let single = RetryLayer::from(quick().attempts(1)).layer(failing());
    let response = HopLayer::new().layer(with_client(single)).oneshot(request(Method::GET)).await.unwrap();
    assert!(!response.headers().contains_key(DO_NOT_RETRY), "whoever does not retry leaves it to others");
    let off = HopLayer::new().when(false).layer(with_client(RetryLayer::from(quick()).layer(failing())));
    assert!(!off.oneshot(request(Method::GET)).await.unwrap().headers().contains_key(DO_NOT_RETRY));

    let grpc = HopLayer::new().layer(with_client(RetryLayer::from(quick()).layer(failing())));
    let response = grpc.oneshot(arriving("content-type", "application/grpc")).await.unwrap();
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "-1");
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_not_to_be_tried_again_is_not() {
    for step in [
        Step::Answer(with_header(answer(503), "stonework-do-not-retry", "1")),
        Step::fail(Error::new(Kind::Overload, "no").with_delivery(Delivery::NotSent).without_retry()),
    ] {
        let backend = Backend::steps([step]);
        let seen = backend.seen();
        let events = Recorder::new();
        let _ = RetryLayer::from(quick())
            .observer(events.clone())
            .layer(backend)
            .oneshot(request(Method::GET))
            .await;
        assert_eq!((seen.count(), skips(&events)), (1, vec![Skip::Pushback]));
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_work_knows_that_it_is_part_of_a_retry_if_that_is_carried_along() {
    for (carried, calls) in [(true, 1), (false, 3)] {
        let backend = failing();
        let seen = backend.seen();
        let client = RetryLayer::from(quick()).layer(backend);
        let handler = service_fn(move |_: Request<Content>| {
            let call = client.clone().oneshot(request(Method::GET));
            let spawned = if carried { tokio::spawn(carry(call)) } else { tokio::spawn(call) };
            async move { Ok::<_, Infallible>(spawned.await.unwrap().unwrap()) }
        });
        HopLayer::new().layer(handler).oneshot(arriving("stonework-attempt", "2")).await.unwrap();
        assert_eq!(seen.count(), calls, "carried: {carried}");
    }
}

/// A server that passes every request on to the next one, with a client that makes three attempts.
async fn hop(next: String, budget: &Budget) -> String {
    async fn pass_on(State((client, next)): State<(Client, String)>) -> Result<String, StatusCode> {
        let answer = client.get(next.as_str()).send().await.map_err(|_| StatusCode::BAD_GATEWAY)?;
        let answer = answer.error_for_status().map_err(|_| StatusCode::BAD_GATEWAY)?;
        answer.text().await.map_err(|_| StatusCode::BAD_GATEWAY)
    }
    let client = client(budget);
    let router = Router::new().fallback(pass_on).with_state((client, next)).layer(HopLayer::new());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    uri
}

fn client(budget: &Budget) -> Client {
    let backoff = Backoff::constant(SECOND / 100).unwrap();
    let settings = ClientSettings::new().retry(RetrySettings::new().backoff(backoff));
    Client::builder().settings(settings).budget(budget.clone()).build().unwrap()
}

#[tokio::test]
async fn three_hops_with_three_attempts_each_are_three_attempts_at_a_dead_leaf_and_not_27() {
    for leaf in [Reaction::from(respond(503)), Reaction::read_all_then_close()] {
        let dead = ScriptedServer::start(move |_| leaf.clone()).await;
        // With tokens to spare, so that it is not the budgets that hold them back.
        let budgets = [tokens(100), tokens(100), tokens(100)];
        let second = hop(dead.uri("/").to_string(), &budgets[2]).await;
        let first = hop(second, &budgets[1]).await;
        let answer = client(&budgets[0]).get(first).send().await.unwrap();
        assert_eq!(answer.status(), 502);
        assert_eq!(dead.seen().len(), 3);
        let retries: u64 = budgets.iter().map(|budget| budget.stats().granted).sum();
        assert_eq!(retries, 2, "only the hop next to the fault retries");
    }
}

/// A server in a task of its own, with a client that makes three attempts at the next one.
fn spawning_hop<S>(
    name: &'static str,
    next: S,
) -> tower::util::BoxCloneSyncService<Request<Content>, Response<Content>, Infallible>
where
    S: Service<Request<Content>, Response = Response<Content>> + Clone + Send + Sync + 'static,
    S::Error: Into<stonework::base::BoxError>,
    S::Future: Send + 'static,
{
    let client = RetryLayer::from(quick()).without_budget().layer(next);
    let handler = service_fn(move |_: Request<Content>| {
        let client = client.clone();
        async move {
            let get = Request::get(format!("http://{name}/")).body(Content::default()).unwrap();
            Ok::<_, Infallible>(client.oneshot(get).await.map_or_else(
                |_| answer(502),
                |mut response| {
                    response.extensions_mut().clear();
                    response
                },
            ))
        }
    });
    let server = HopLayer::new().layer(handler);
    tower::util::BoxCloneSyncService::new(service_fn(move |request: Request<Content>| {
        let server = server.clone();
        async move { tokio::spawn(server.oneshot(request)).await.unwrap() }
    }))
}

#[tokio::test(start_paused = true)]
async fn hops_that_pass_the_advice_of_the_leaf_on_do_not_multiply_retries_either() {
    for (advice, expected) in [(None, 3), (Some("1"), 3), (Some("soon"), 3)] {
        let leaf = Backend::script(move |_, _| match advice {
            Some(advice) => Step::Answer(with_header(answer(503), "retry-after", advice)),
            None => answered(503),
        });
        let seen = leaf.seen();
        let third = spawning_hop("d.test", leaf);
        let second = spawning_hop("c.test", third);
        let first = spawning_hop("b.test", second);
        first.oneshot(request(Method::GET)).await.unwrap();
        assert_eq!(seen.count(), expected, "{advice:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_attempt_that_hits_another_fault_is_followed_by_the_third() {
    let tries = Arc::new(AtomicU32::new(0));
    let backend = Backend::steps([answered(503), answered(200)]);
    let inner = RetryLayer::from(quick()).layer(backend);
    let noted = Arc::clone(&tries);
    let handler = service_fn(move |_: Request<Content>| {
        let inner = inner.clone();
        let first = noted.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            if first {
                return Ok::<_, Infallible>(answer(503));
            }
            let outgoing = Request::get("http://other.test/").body(Content::default()).unwrap();
            Ok(inner.oneshot(outgoing).await.unwrap())
        }
    });
    let response = RetryLayer::from(quick()).layer(handler).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), tries.load(Ordering::Relaxed)), (200, 3));
}

// ─────────────────────────────────────────────────────────────────── what is left of a response thrown away

#[tokio::test]
async fn the_connection_of_a_response_that_is_thrown_away_is_used_for_the_next_attempt() {
    let page = "x".repeat(40_000);
    let server = ScriptedServer::start(in_order([
        respond(503).body(page.clone()).keep_alive(),
        respond(503).body(page).chunked().keep_alive(),
        respond(200).body("done").keep_alive(),
    ]))
    .await;
    let backoff = Backoff::constant(SECOND / 5).unwrap().jitter(Jitter::None);
    let settings = ClientSettings::new().retry(RetrySettings::new().backoff(backoff));
    let client = Client::builder().settings(settings).build().unwrap();
    let answer = client.get(server.uri("/")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.attempts()), (200, 3));
    assert_eq!(server.connections(), 1);
}

/// A body of frames of 16 KiB, one each tenth of a second, that counts what is read of it and tells when it is dropped.
struct Slow {
    announced: Option<u64>,
    frames: usize,
    timer: Pin<Box<tokio::time::Sleep>>,
    read: Arc<Mutex<Vec<tokio::time::Instant>>>,
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.frames == 0 {
            return Poll::Ready(None);
        }
        std::task::ready!(self.timer.as_mut().poll(cx));
        let now = tokio::time::Instant::now();
        self.timer.as_mut().reset(now + SECOND / 10);
        self.frames -= 1;
        self.read.lock().unwrap().push(now);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![0; 16 * 1024])))))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.announced.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_response_is_read_up_to_a_small_cap_and_never_waited_for() {
    // The pause, the frames of the body, whether its length is known; then how many frames are read.
    for (pause, frames, announced, expected) in [
        (10, 3, true, 3),
        (10, 3, false, 3),
        (2, 3, true, 2),       // the pause is over
        (10, 4, true, 4),      // 64 KiB: just within
        (10, 5, true, 0),      // known to be more
        (10, 1_000, false, 5), // the fifth is over the cap
    ] {
        let read = Arc::new(Mutex::new(Vec::new()));
        let (noted, calls) = (Arc::clone(&read), Arc::new(AtomicU32::new(0)));
        let service = service_fn(move |_: Request<Content>| {
            let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
            let body = Slow {
                announced: announced.then_some(frames as u64 * 16 * 1024),
                frames,
                timer: Box::pin(tokio::time::sleep(SECOND / 10)),
                read: Arc::clone(&noted),
            };
            let status = if first { 503 } else { 200 };
            async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
        });
        let pause = pause * SECOND / 10 + SECOND / 20;
        let backoff = Backoff::constant(pause).unwrap().jitter(Jitter::None);
        let layer = RetryLayer::from(RetrySettings::new().backoff(backoff));
        let (response, took) = timed(layer.layer(service).oneshot(request(Method::GET))).await;
        assert_eq!((response.unwrap().status().as_u16(), took), (200, pause));
        assert_eq!(read.lock().unwrap().len(), expected, "{frames} frames in {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_read_also_when_there_is_no_pause() {
    let read = Arc::new(AtomicU32::new(0));
    let noted = Arc::clone(&read);
    let service = service_fn(move |_: Request<Content>| {
        let first = noted.load(Ordering::Relaxed) == 0;
        let noted = Arc::clone(&noted);
        let body = Full::new(Bytes::from("too early")).map_frame(move |frame| {
            noted.fetch_add(1, Ordering::Relaxed);
            frame
        });
        let status = if first { 425 } else { 200 };
        async move { Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap()) }
    });
    let (response, took) = timed(RetryLayer::new().layer(service).oneshot(request(Method::POST))).await;
    assert_eq!((response.unwrap().status().as_u16(), took), (200, std::time::Duration::ZERO));
    assert_eq!(read.load(Ordering::Relaxed), 1);
}

struct Stalled(#[allow(dead_code, reason = "it is only held")] Arc<()>);
impl Body for Stalled {
    type Data = Bytes;
    type Error = Infallible;
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_come_within_a_second_is_let_go_of_with_its_connection() {
    let held = Arc::new(());
    let noted = Arc::clone(&held);
    let service = service_fn(move |_: Request<Content>| {
        let body = Stalled(Arc::clone(&noted));
        async move {
            Ok::<_, Infallible>(
                Response::builder().status(503).header("retry-after", "50").body(body).unwrap(),
            )
        }
    });
    let call = tokio::spawn(RetryLayer::from(quick()).layer(service).oneshot(request(Method::GET)));
    tokio::time::sleep(10 * SECOND).await;
    // One by this test, one by the service.
    assert_eq!(Arc::strong_count(&held), 2);
    call.abort();
}

// ───────────────────────────────────────────────────────────────────────────── one call that differs

#[tokio::test(start_paused = true)]
async fn a_response_says_how_many_attempts_it_took_if_more_than_one_or_if_asked() {
    let asked = |asked: bool| {
        let mut request = request(Method::GET);
        if asked {
            Call::edit(request.extensions_mut(), Call::tell_attempts);
        }
        request
    };
    for (failures, request, told) in [
        (0, asked(false), None),
        (0, asked(true), Some(1)),
        (2, asked(false), Some(3)),
        (2, asked(true), Some(3)),
    ] {
        let backend = Backend::script(move |call, _| answered(if call <= failures { 500 } else { 200 }));
        let response = RetryLayer::from(quick()).layer(backend).oneshot(request).await.unwrap();
        assert_eq!(Attempts::of(response.extensions()), told, "{failures} failures");
    }
    let gave_up = RetryLayer::from(quick()).layer(failing()).oneshot(asked(false)).await.unwrap();
    assert_eq!(Attempts::of(gave_up.extensions()), Some(3));
}

#[tokio::test]
async fn two_requests_at_once_on_one_client_may_ask_for_different_things() {
    let server = ScriptedServer::start(|_| respond(503).keep_alive()).await;
    let client = client(&Budget::default());
    let once = client.get(server.uri("/once")).attempts(1).send();
    let thrice = client.get(server.uri("/thrice")).attempts(3).send();
    let (once, thrice) = tokio::join!(once, thrice);
    assert_eq!((once.unwrap().attempts(), thrice.unwrap().attempts()), (1, 3));
    let counted = |path| server.seen().iter().filter(|seen| seen.target == path).count();
    assert_eq!((counted("/once"), counted("/thrice")), (1, 3));
    assert!(server.connections() <= 2, "they share a pool");
}

#[tokio::test(start_paused = true)]
async fn options_for_layers_that_are_not_there_change_nothing() {
    let mut odd = request(Method::GET);
    Call::edit(odd.extensions_mut(), |call| call.collect_within(10).tell_attempts().keyed().attempts(2));
    let backend = Backend::steps([answered(200)]);
    let seen = backend.seen();
    let response = backend.oneshot(odd).await.unwrap();
    assert_eq!((response.status().as_u16(), seen.count()), (200, 1));
    assert_eq!(seen.take()[0].headers(), &HeaderMap::new());
}

#[tokio::test(start_paused = true)]
async fn paths_that_may_be_repeated_are_repeated_whatever_the_method_and_no_other() {
    let settings = quick().repeatable_paths(["/shop.Catalogue/*", "/shop.Orders/Get"]);
    for (path, calls) in [
        ("/shop.Catalogue/List", 3),
        ("/shop.Orders/Get", 3),
        ("/shop.Orders/GetAll", 1),
        ("/shop.Orders/Place", 1),
        ("/", 1),
    ] {
        let backend = failing();
        let seen = backend.seen();
        let post = Request::post(path).body(Content::default()).unwrap();
        let _ = RetryLayer::from(settings.clone()).layer(backend).oneshot(post).await;
        assert_eq!(seen.count(), calls, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_only_looks_after_hops_leaves_everything_else_as_it_is() {
    let stack = ServiceBuilder::new().layer(HopLayer::new()).service(Backend::steps([
        Step::Answer(with_header(answer(503), "x-own", "kept")),
        Step::fail("an error of its own"),
    ]));
    let response = stack.clone().oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-own"]), (503, &"kept".parse().unwrap()));
    assert_eq!(response.headers().len(), 1);
    assert_eq!(stack.oneshot(request(Method::GET)).await.unwrap_err().to_string(), "an error of its own");
}
