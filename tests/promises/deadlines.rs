//! Deadlines on the wire: `timeout::SendDeadlineLayer` and `timeout::ReceiveDeadlineLayer`.
//!
//! Each hop of these tests runs in a task of its own, as behind a connection: nothing but the request's headers gets
//! across, and a caller that goes away takes the task with it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderName, Method, Request, Response};
use http_body_util::BodyExt;
use stonework::Body;
use stonework::base::{
    Backoff, Deadline, Delivery, Detach, Error, HostPort, InvalidTimeout, Jitter, Kind, TimeoutHeader,
    deadline,
};
use stonework::breaker::{Breaker, BreakerLayer, Breakers, BreakersLayer};
use stonework::idempotency::{IdempotencyLayer, IdempotencySettings, MemoryStore};
use stonework::limit::{
    AdaptiveThrottleLayer, Admission, ConcurrencyLimitLayer, LimitedBody, RequestBodyLimitLayer,
};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::server::DetachLayer;
use stonework::testing::{Scripted, Step, Strict};
use stonework::timeout::{AttemptTimeoutLayer, ReceiveDeadlineLayer, SendDeadlineLayer, TimeoutLayer};
use tokio::time::{Instant, sleep};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::support::{Backend, Content, SECOND, answer, answered, request, timed, with_header};

const MS: Duration = Duration::from_millis(1);

fn millis() -> TimeoutHeader {
    TimeoutHeader::Millis(HeaderName::from_static("x-request-timeout-ms"))
}

fn with_timeout(header: &TimeoutHeader, value: &str) -> Request<Content> {
    let mut request = request(Method::GET);
    request.headers_mut().insert(header.name(), value.parse().unwrap());
    request
}

// ───────────────────────────────────────────────────────────────────────────── to send

/// What arrives below the layer, called under this deadline.
async fn sent(layer: SendDeadlineLayer, left: Option<Duration>, request: Request<Content>) -> Option<String> {
    let header = Arc::new(Mutex::new(None));
    let seen = Arc::clone(&header);
    let below = service_fn(move |request: Request<Content>| {
        let mut headers = request.headers().iter().filter(|(name, _)| name.as_str().contains("timeout"));
        *seen.lock().unwrap() = headers.next().map(|(_, value)| value.to_str().unwrap().to_owned());
        assert!(headers.next().is_none(), "one header, once");
        async { Ok::<_, Infallible>(answer(200)) }
    });
    let call = layer.layer(below).oneshot(request);
    let response = match left {
        Some(left) => Deadline::within(left).bound(call).await.expect("in time"),
        None => call.await,
    };
    assert_eq!(response.unwrap().status(), 200);
    header.lock().unwrap().take()
}

#[tokio::test(start_paused = true)]
async fn the_deadline_in_scope_goes_out_as_what_is_left_less_a_margin() {
    for (header, expected) in [(TimeoutHeader::Grpc, "290000u"), (millis(), "290")] {
        let layer = SendDeadlineLayer::new(header);
        let told = sent(layer.clone(), Some(300 * MS), request(Method::GET)).await;
        assert_eq!(told.as_deref(), Some(expected));
        assert_eq!(sent(layer.when(false), Some(300 * MS), request(Method::GET)).await, None);
    }
    let far = SendDeadlineLayer::new(millis()).margin(50 * MS);
    assert_eq!(sent(far, Some(SECOND), request(Method::GET)).await.as_deref(), Some("950"));
}

#[tokio::test(start_paused = true)]
async fn a_margin_never_takes_more_than_a_tenth_of_a_short_deadline() {
    for (left, expected) in [(100, "90"), (50, "45"), (10, "9"), (2, "1")] {
        let told = sent(SendDeadlineLayer::new(millis()), Some(left * MS), request(Method::GET)).await;
        assert_eq!(told.as_deref(), Some(expected), "{left} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn a_header_that_the_caller_wrote_is_shortened_and_never_lengthened() {
    for (header, longer, shorter, ours) in
        [(TimeoutHeader::Grpc, "1S", "20m", "290000u"), (millis(), "1000", "20", "290")]
    {
        for (written, expected) in [(longer, ours), (shorter, shorter), ("soon", ours)] {
            let layer = SendDeadlineLayer::new(header.clone());
            let told = sent(layer, Some(300 * MS), with_timeout(&header, written)).await;
            assert_eq!(told.as_deref(), Some(expected), "{written}");
        }
        // Nothing is known that would be better.
        let told = sent(SendDeadlineLayer::new(header.clone()), None, with_timeout(&header, longer)).await;
        assert_eq!(told.as_deref(), Some(longer));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_back_unsent_says_what_its_caller_wrote() {
    for header in [TimeoutHeader::Grpc, millis()] {
        for written in [&[][..], &["7S"], &["soon"], &["1m"], &["5m", "5m"]] {
            let mut asked = request(Method::GET);
            for value in written {
                asked.headers_mut().append(header.name(), value.parse().unwrap());
            }
            let unreachable = service_fn(|request: Request<Content>| async {
                Err::<Response<Content>, _>(Error::new(Kind::Connect, "refused").with_request(request))
            });
            let client = ServiceBuilder::new()
                .layer(TimeoutLayer::new(50 * MS))
                .layer(SendDeadlineLayer::new(header.clone()))
                .service(unreachable);
            let mut error = client.oneshot(asked).await.unwrap_err();
            let back: Request<Content> = error.take_request().expect("it never left");
            let lines = back.headers().get_all(header.name()).iter();
            assert_eq!(lines.map(|value| value.to_str().unwrap()).collect::<Vec<_>>(), written);
            // With more time than it had, it is told more.
            let told = sent(SendDeadlineLayer::new(header.clone()), Some(SECOND), back).await;
            assert_ne!(told.as_deref(), Some("45"));
            assert_ne!(told.as_deref(), Some("45000u"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_nothing_is_sent_and_detached_work_has_none() {
    let layer = SendDeadlineLayer::new(TimeoutHeader::Grpc);
    assert_eq!(sent(layer.clone(), None, request(Method::GET)).await, None);

    let within = Deadline::within(SECOND);
    let detached = deadline::detached(sent(layer.clone(), None, request(Method::GET)));
    assert_eq!(within.bound(detached).await.expect("in time"), None);
    let attached = within.bound(sent(layer, None, request(Method::GET))).await;
    assert_eq!(attached.expect("in time").as_deref(), Some("990000u"));
}

#[tokio::test(start_paused = true)]
async fn a_spent_deadline_is_not_sent_and_keeps_no_place_below() {
    for (layer, left) in [
        (SendDeadlineLayer::new(TimeoutHeader::Grpc), Duration::ZERO),
        // What the header could only tell as zero is over too.
        (SendDeadlineLayer::new(millis()), MS),
    ] {
        let backend = Strict::new(Backend::script(|_, _| answered(200))).capacity(1);
        let ledger = backend.ledger();
        let mut service = layer.layer(backend);
        let call = async { service.ready().await.unwrap().call(request(Method::GET)).await };
        let error = Deadline::within(left).bound(call).await.expect("no need to wait").unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(
            (error.delivery(), error.to_string().as_str()),
            (Delivery::NotSent, "the call ran out of time")
        );
        assert_eq!((ledger.calls(), ledger.reservations_out()), (0, 0), "calls, reservations");
        assert!(service.ready().await.unwrap().call(request(Method::GET)).await.is_ok(), "the next call");
    }
}

#[tokio::test(start_paused = true)]
async fn what_refuses_in_the_call_keeps_no_place_below() {
    let strict = || {
        let backend = Strict::new(Backend::script(|_, _| answered(200))).capacity(1);
        (backend.ledger(), backend)
    };
    let (ledger, backend) = strict();
    let mut service = AttemptTimeoutLayer::new(SECOND).layer(backend);
    let call = async { service.ready().await.unwrap().call(request(Method::GET)).await };
    let error = Deadline::within(Duration::ZERO).bound(call).await.expect("no need to wait").unwrap_err();
    assert_eq!((error.kind(), ledger.calls(), ledger.reservations_out()), (Kind::Timeout, 0, 0));

    let (ledger, backend) = strict();
    let breaker = Breaker::default();
    let mut service = BreakerLayer::from(breaker.clone()).layer(backend);
    service.ready().await.unwrap();
    assert_eq!(ledger.reservations_out(), 1);
    breaker.force_open();
    let error = service.call(request(Method::GET)).await.unwrap_err();
    assert_eq!((error.kind(), ledger.calls(), ledger.reservations_out()), (Kind::CircuitOpen, 0, 0));

    let (ledger, backend) = strict();
    let breakers = Breakers::default();
    let mut service = BreakersLayer::from(breakers.clone()).layer(backend);
    let own = || request(Method::GET);
    service.ready().await.unwrap().call(own()).await.unwrap();
    breakers.get(&HostPort::of(&own())).force_open();
    let error = service.ready().await.unwrap().call(own()).await.unwrap_err();
    assert_eq!((error.kind(), ledger.calls(), ledger.reservations_out()), (Kind::CircuitOpen, 1, 0));

    let (ledger, backend) = strict();
    let whole = |request: Request<LimitedBody<Content>>| request.map(|_| Content::default());
    let mut service = RequestBodyLimitLayer::new(1).layer(backend.map_request(whole));
    let error = service.ready().await.unwrap().call(own()).await.unwrap_err();
    assert_eq!((error.kind(), ledger.calls(), ledger.reservations_out()), (Kind::Body, 0, 0));

    let (ledger, backend) = strict();
    let full = Detach::new(1);
    let _place = full.spawn(std::future::pending::<()>()).unwrap();
    let mut service = DetachLayer::new(full.clone()).layer(backend);
    let error = service.ready().await.unwrap().call(own()).await.unwrap_err();
    assert_eq!((error.kind(), ledger.calls(), ledger.reservations_out()), (Kind::Overload, 0, 0));

    let busy = Strict::new(Backend::script(|_, _| answered(429))).capacity(1);
    let ledger = busy.ledger();
    let mut service = AdaptiveThrottleLayer::default().layer(busy);
    let mut sent = 0;
    while service.ready().await.unwrap().call(own()).await.is_ok() {
        sent += 1;
        assert!(sent < 1_000, "it is throttled at last");
    }
    assert_eq!((ledger.calls(), ledger.reservations_out()), (sent, 0));

    for key in [None, Some("not a key")] {
        let handler = Scripted::<Request<Body>, Response<Body>, Error>::script(|_, _| Step::Hang);
        let backend = Strict::new(handler).capacity(1);
        let ledger = backend.ledger();
        let settings = IdempotencySettings::new().required(true);
        let layer = IdempotencyLayer::new(MemoryStore::new()).settings(settings).unwrap();
        let mut service = layer.layer(backend);
        let mut keyed = Request::post("/").body(Body::empty()).unwrap();
        let name = HeaderName::from_static("idempotency-key");
        keyed.headers_mut().extend(key.map(|key| (name, key.parse().unwrap())));
        let ready = ServiceExt::<Request<Body>>::ready(&mut service).await.unwrap();
        let refused = ready.call(keyed).await.unwrap();
        assert_eq!(
            (refused.status().as_u16(), ledger.calls(), ledger.reservations_out()),
            (400, 0, 0),
            "{key:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_ran_out_in_a_queue_leaves_it_and_the_next_gets_what_becomes_free() {
    let limit = ConcurrencyLimitLayer::new(1).unwrap().admission(Admission::Backpressure);
    let pause = Backoff::constant(10 * MS).unwrap().jitter(Jitter::None);
    let inner = limit.layer(Backend::script(|_, _| answered(200)));
    let mut holder = inner.clone();
    holder.ready().await.unwrap();
    let retry = RetryLayer::from(RetrySettings::new().backoff(pause));
    let mut service = retry.layer(AttemptTimeoutLayer::new(100 * MS).layer(inner));
    tokio::spawn(async move {
        sleep(150 * MS).await;
        drop(holder);
    });
    let (answer, took) =
        timed(async { service.ready().await.unwrap().call(request(Method::GET)).await }).await;
    assert_eq!((answer.unwrap().status().as_u16(), took), (200, 150 * MS));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_tells_what_is_left_when_it_begins() {
    let backend = Backend::steps([answered(503), Step::Hang, answered(200)]);
    let seen = backend.seen();
    let pause = Backoff::constant(100 * MS).unwrap().jitter(Jitter::None);
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(RetryLayer::from(RetrySettings::new().backoff(pause)))
        .layer(AttemptTimeoutLayer::new(500 * MS))
        .layer(SendDeadlineLayer::new(millis()))
        .service(backend);
    assert!(client.oneshot(with_timeout(&millis(), "5000")).await.is_ok());
    let told: Vec<_> =
        seen.take().iter().map(|request| request.headers()["x-request-timeout-ms"].clone()).collect();
    // Two whole attempts, then what a pause, 500 ms and a pause have left of the second.
    assert_eq!(told, ["490", "490", "290"]);

    let backend = Backend::steps([answered(503), answered(503), answered(200)]);
    let seen = backend.seen();
    let client = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(RetryLayer::from(RetrySettings::new().backoff(pause)))
        .layer(SendDeadlineLayer::new(millis()))
        .service(backend);
    assert!(client.oneshot(request(Method::GET)).await.is_ok());
    let told: Vec<_> =
        seen.take().iter().map(|request| request.headers()["x-request-timeout-ms"].clone()).collect();
    assert_eq!(told, ["990", "890", "790"]);
}

// ───────────────────────────────────────────────────────────────────────────── to receive

#[tokio::test(start_paused = true)]
async fn what_the_caller_has_left_is_in_scope_and_ends_the_call_with_an_answer() {
    for (header, value) in [(TimeoutHeader::Grpc, "250m"), (millis(), "250")] {
        let seen = Arc::new(Mutex::new(None));
        let log = Arc::clone(&seen);
        let handler = service_fn(move |_: Request<Content>| {
            *log.lock().unwrap() = Deadline::current();
            std::future::pending::<Result<Response<Content>, Infallible>>()
        });
        let start = Instant::now();
        let server = ReceiveDeadlineLayer::new(header.clone()).answer().layer(handler);
        let (Ok(response), took) = timed(server.oneshot(with_timeout(&header, value))).await;
        assert_eq!((response.status().as_u16(), took), (504, 250 * MS));
        assert_eq!(seen.lock().unwrap().take(), Some(Deadline::after(start, 250 * MS)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_that_runs_out_of_time_is_answered_deadline_exceeded() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let handler = Backend::script(|_, _| Step::Hang);
        let server = ReceiveDeadlineLayer::new(TimeoutHeader::Grpc).answer().layer(handler);
        let mut call = with_timeout(&TimeoutHeader::Grpc, "1S");
        call.headers_mut().insert("content-type", content_type.parse().unwrap());
        let response = server.oneshot(call).await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["grpc-status"]),
            (200, &"4".parse().unwrap())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_leaves_no_time_is_refused_before_any_work() {
    for (header, value) in [(TimeoutHeader::Grpc, "0m"), (millis(), "0")] {
        let backend = Backend::script(|_, _| answered(200));
        let seen = backend.seen();
        let layer = ReceiveDeadlineLayer::new(header.clone());
        let answering = layer.clone().answer().layer(backend.clone());
        let response = answering.oneshot(with_timeout(&header, value)).await.unwrap();
        assert_eq!(response.status(), 504);
        let error = layer.layer(backend).oneshot(with_timeout(&header, value)).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::NotSent));
        assert_eq!(seen.count(), 0);
    }

    // Whatever the header says, when the deadline in scope has passed.
    let backend = Backend::script(|_, _| answered(200));
    let seen = backend.seen();
    let server = ReceiveDeadlineLayer::new(millis()).layer(backend);
    let late = Deadline::within(Duration::ZERO).bound(server.oneshot(with_timeout(&millis(), "1000"))).await;
    assert_eq!((late.unwrap().unwrap_err().delivery(), seen.count()), (Delivery::NotSent, 0));
}

#[tokio::test(start_paused = true)]
async fn a_header_that_cannot_be_read_is_refused_by_its_name_and_never_ignored() {
    let flawed = ["", "soon", "-5m", "5", "123456789m", "1.5S"];
    for (header, values) in [(TimeoutHeader::Grpc, &flawed[..]), (millis(), &["", "soon", "-5", "5m"][..])] {
        for value in values {
            let backend = Backend::script(|_, _| answered(200));
            let seen = backend.seen();
            let layer = ReceiveDeadlineLayer::new(header.clone());

            let error =
                layer.clone().layer(backend.clone()).oneshot(with_timeout(&header, value)).await.unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert_eq!(error.cause::<InvalidTimeout>().unwrap().header(), header.name());

            let server = layer.answer().layer(backend);
            let response = server.clone().oneshot(with_timeout(&header, value)).await.unwrap();
            assert_eq!(response.status(), 400);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.starts_with(&format!("the header `{}` is invalid", header.name())), "{detail}");

            let mut grpc = with_timeout(&header, value);
            grpc.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
            let response = server.oneshot(grpc).await.unwrap();
            assert_eq!(response.headers()["grpc-status"], "3");
            let message = response.headers()["grpc-message"].to_str().unwrap();
            assert!(message.contains(header.name().as_str()), "{message}");
            assert_eq!(seen.count(), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_header_it_is_as_if_the_layer_were_not_there() {
    for layer in
        [ReceiveDeadlineLayer::new(millis()), ReceiveDeadlineLayer::new(TimeoutHeader::Grpc).when(false)]
    {
        let slow = Backend::steps([Step::AnswerAfter(1_000 * SECOND, answer(200))]);
        let (response, took) =
            timed(layer.layer(slow).oneshot(with_timeout(&TimeoutHeader::Grpc, "1m"))).await;
        assert_eq!((response.unwrap().status().as_u16(), took), (200, 1_000 * SECOND));
    }
}

#[tokio::test(start_paused = true)]
async fn a_maximum_of_the_server_works_inside_and_outside_and_the_earlier_one_ends_the_call() {
    let receive = || ReceiveDeadlineLayer::new(millis()).answer();
    let maximum = || TimeoutLayer::new(200 * MS).answer();
    for (told, expected) in [("100", 100), ("300", 200), ("18446744073709551615", 200)] {
        let hangs = || Backend::script(|_, _| Step::Hang);
        let outside = maximum().layer(receive().layer(hangs()));
        let inside = receive().layer(maximum().layer(hangs()));
        let (response, took) = timed(outside.oneshot(with_timeout(&millis(), told))).await;
        assert_eq!((response.unwrap().status().as_u16(), took), (504, expected * MS), "outside");
        let (response, took) = timed(inside.oneshot(with_timeout(&millis(), told))).await;
        assert_eq!((response.unwrap().status().as_u16(), took), (504, expected * MS), "inside");
    }
}

#[tokio::test(start_paused = true)]
async fn a_margin_of_the_server_answers_before_a_caller_that_told_all_its_time_gives_up() {
    for (told, expected) in [("300", 270), ("1000", 950)] {
        let layer = ReceiveDeadlineLayer::new(millis()).margin(50 * MS).answer();
        let server = layer.layer(Backend::script(|_, _| Step::Hang));
        let (response, took) = timed(server.oneshot(with_timeout(&millis(), told))).await;
        assert_eq!((response.unwrap().status().as_u16(), took), (504, expected * MS));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_time_is_the_handlers_own() {
    let told = with_header(answer(418), "x-own", "yes");
    let server =
        ReceiveDeadlineLayer::new(millis()).layer(Backend::steps([Step::AnswerAfter(100 * MS, told)]));
    let (response, took) = timed(server.oneshot(with_timeout(&millis(), "100"))).await;
    let response = response.unwrap();
    assert_eq!((response.status().as_u16(), took), (418, 100 * MS), "an answer goes before the clock");
    assert_eq!(response.headers()["x-own"], "yes");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_readiness_is_part_of_what_the_caller_granted() {
    let backend = Backend::script(|_, _| answered(200)).stall_ready(1, SECOND);
    let seen = backend.seen();
    let server = ReceiveDeadlineLayer::new(millis()).answer().layer(backend);
    let (response, took) = timed(server.oneshot(with_timeout(&millis(), "100"))).await;
    assert_eq!((response.unwrap().status().as_u16(), took, seen.count()), (504, 100 * MS, 0));
}

// ───────────────────────────────────────────────────────────────────────────── from hop to hop

type Hop = BoxCloneSyncService<Request<Content>, Response<Content>, Error>;

/// A connection: the server's work is in a task of its own, which ends when the caller goes away.
fn connect<S>(server: S) -> Hop
where
    S: Service<Request<Content>, Response = Response<Content>, Error = Error, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
{
    struct Task(tokio::task::JoinHandle<Result<Response<Content>, Error>>);
    impl Drop for Task {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    BoxCloneSyncService::new(service_fn(move |request: Request<Content>| {
        let mut task = Task(tokio::spawn(server.clone().oneshot(request)));
        async move { (&mut task.0).await.expect("no panic") }
    }))
}

/// What is seen at C: its deadline, and when its handler was dropped unfinished.
#[derive(Clone, Default)]
struct AtC {
    deadline: Arc<Mutex<Option<Deadline>>>,
    dropped: Arc<Mutex<Option<Instant>>>,
}

/// B calls C in its handler, as anyone would write it; C never answers.
fn b_over_c(header: &TimeoutHeader) -> (Hop, AtC) {
    struct Dropped(AtC);
    impl Drop for Dropped {
        fn drop(&mut self) {
            *self.0.dropped.lock().unwrap() = Some(Instant::now());
        }
    }
    let at_c = AtC::default();
    let log = at_c.clone();
    let c = service_fn(move |_: Request<Content>| {
        let guard = Dropped(log.clone());
        async move {
            *guard.0.deadline.lock().unwrap() = Deadline::current();
            std::future::pending::<Result<Response<Content>, Error>>().await
        }
    });
    let c = connect(ReceiveDeadlineLayer::new(header.clone()).layer(c));
    let client = SendDeadlineLayer::new(header.clone()).layer(c);
    let b = service_fn(move |_: Request<Content>| client.clone().oneshot(request(Method::GET)));
    (connect(ReceiveDeadlineLayer::new(header.clone()).layer(b)), at_c)
}

#[tokio::test(start_paused = true)]
async fn a_deadline_crosses_two_hops_less_a_margin_at_each() {
    for header in [TimeoutHeader::Grpc, millis()] {
        let (b, at_c) = b_over_c(&header);
        let start = Instant::now();
        let a = ServiceBuilder::new()
            .layer(TimeoutLayer::new(300 * MS))
            .layer(SendDeadlineLayer::new(header))
            .service(b);
        let (result, took) = timed(a.oneshot(request(Method::GET))).await;
        assert!(result.unwrap_err().is_timeout());
        // The hop furthest away gives up first, so that everybody hears of it in time.
        assert_eq!(took, 280 * MS);
        assert_eq!(at_c.deadline.lock().unwrap().take(), Some(Deadline::after(start, 280 * MS)));
        assert_eq!(at_c.dropped.lock().unwrap().take(), Some(start + 280 * MS));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_first_caller_gives_up_the_work_of_the_last_hop_is_dropped() {
    for header in [TimeoutHeader::Grpc, millis()] {
        let (b, at_c) = b_over_c(&header);
        let start = Instant::now();
        let a = ServiceBuilder::new()
            .layer(TimeoutLayer::new(300 * MS))
            .layer(SendDeadlineLayer::new(header))
            .service(b);
        assert!(tokio::time::timeout(100 * MS, a.oneshot(request(Method::GET))).await.is_err());
        sleep(MS).await;
        let dropped = at_c.dropped.lock().unwrap().take().expect("C has been told");
        assert!(dropped <= start + 101 * MS, "{:?} after the call", dropped - start);
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_hop_is_not_called_when_nothing_is_left_for_it() {
    let c = Scripted::<Request<Content>, Response<Content>>::script(|_, _| answered(200));
    let seen = c.seen();
    let client = SendDeadlineLayer::new(millis()).layer(c);
    let b = service_fn(move |_: Request<Content>| {
        let client = client.clone();
        async move {
            // That is all but half a millisecond.
            sleep(100 * MS).await;
            client.oneshot(request(Method::GET)).await
        }
    });
    let b = ReceiveDeadlineLayer::new(TimeoutHeader::Grpc).layer(b);
    let error = b.oneshot(with_timeout(&TimeoutHeader::Grpc, "100500u")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Timeout, Delivery::NotSent));
    assert_eq!(seen.count(), 0);
}
