use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use stonework::base::HostPort;
use stonework::base::{
    Backoff, BoxError, Budget, BudgetSettings, CircuitState, Classify, ClassifyGrpc, ClassifyHttp, Delivery,
    Error, Event, Jitter, Kind, Observer, Outcome, ProbeEnding, Ratio, Rng,
};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings, Breakers, BreakersLayer, CircuitOpen};
use stonework::limit::{AdaptiveSettings, ConcurrencyLimitLayer, ConcurrencyLimiter};
use stonework::retry::RetryLayer;
use stonework::testing::{Recorder, Scripted, Step};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Backend, Content, NeverReady, SECOND, answer, answered, request, timed, with_header};

const MS: Duration = Duration::from_millis(1);

/// Opens at half of ten calls within 10 s, for exactly 5 s, then 10 s, 20 s, 40 s, 60 s.
fn settings() -> BreakerSettings {
    let open_time = Backoff::exponential(5 * SECOND, 60 * SECOND).unwrap().jitter(Jitter::None);
    BreakerSettings::new().min_calls(10).open_time(open_time)
}

fn breaker(settings: BreakerSettings) -> Breaker {
    Breaker::new(settings).expect("valid settings")
}

/// A backend whose health can be changed.
#[derive(Clone)]
struct Health(Arc<Mutex<Now>>);

#[derive(Clone, Copy)]
enum Now {
    Well,
    /// Answers 500.
    Sick,
    /// Does not answer.
    Hung,
    /// Answers 200 after so long.
    Slow(Duration),
    /// Answers 500 after so long.
    SlowlySick(Duration),
}

impl Health {
    fn backend(now: Now) -> (Self, Backend) {
        let health = Self(Arc::new(Mutex::new(now)));
        let shared = health.clone();
        let backend = Scripted::script(move |_, _| match *shared.0.lock().unwrap() {
            Now::Well => answered(200),
            Now::Sick => answered(500),
            Now::Hung => Step::Hang,
            Now::Slow(after) => Step::AnswerAfter(after, answer(200)),
            Now::SlowlySick(after) => Step::AnswerAfter(after, answer(500)),
        });
        (health, backend)
    }

    fn set(&self, now: Now) {
        *self.0.lock().unwrap() = now;
    }
}

async fn call<S, B>(service: &S) -> Result<Response<B>, Error>
where
    S: Service<Request<Content>, Response = Response<B>, Error = Error> + Clone,
{
    service.clone().oneshot(request(Method::GET)).await
}

async fn calls<S, B>(service: &S, number: usize)
where
    S: Service<Request<Content>, Response = Response<B>, Error = Error> + Clone,
{
    for _ in 0..number {
        let _ = call(service).await;
    }
}

async fn panics(_: Request<Content>) -> Result<Response<Content>, BoxError> {
    panic!("on purpose")
}

/// Make so many plain calls with this outcome.
fn settle(breaker: &Breaker, number: usize, outcome: Outcome) {
    for _ in 0..number {
        breaker.try_acquire().expect("not open").settle(outcome);
    }
}

/// A circuit that has just opened.
fn opened(settings: BreakerSettings) -> Breaker {
    let breaker = breaker(settings);
    settle(&breaker, 10, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open);
    breaker
}

// ───────────────────────────────────────────────────────────────────────────── it opens for the right reasons

#[tokio::test(start_paused = true)]
async fn one_failure_an_hour_never_opens_it() {
    for successes_between in [0, 1, 100] {
        let breaker = breaker(BreakerSettings::new());
        for _hour in 0..7 * 24 {
            settle(&breaker, 1, Outcome::Failure);
            settle(&breaker, successes_between, Outcome::Success);
            advance(3600 * SECOND).await;
        }
        assert_eq!((breaker.state(), breaker.stats().opened()), (CircuitState::Closed, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn settings_as_large_as_can_be_said_are_kept_and_overflow_nothing() {
    // A tenth of it is as many nanoseconds as a word can hold, and one more.
    let long = Duration::new(184_467_440_737, 95_516_160);
    for window in [long, Duration::MAX] {
        let breaker = breaker(settings().window(window));
        for _ in 0..10 {
            settle(&breaker, 1, Outcome::Failure);
            advance(3600 * SECOND).await;
        }
        assert_eq!(breaker.state(), CircuitState::Open, "{window:?}");
    }
    let open_time = Backoff::constant(Duration::MAX).unwrap();
    let most = settings()
        .open_time(open_time)
        .probes(u32::MAX)
        .probe_timeout(Duration::MAX)
        .slow_calls(Duration::MAX, Ratio::ONE)
        .consecutive_failures(u32::MAX);
    let breaker = opened(most);
    assert!(breaker.try_acquire().unwrap_err().retry_after() > Some(10_000 * 3600 * SECOND));
    advance(30 * 365 * 24 * 3600 * SECOND).await;
    let probes: Vec<_> = (0..1_000).map(|_| breaker.try_acquire().unwrap()).collect();
    assert_eq!(breaker.stats().probes(), 1_000);
    drop(probes);
    assert_eq!((breaker.state(), breaker.stats().probes()), (CircuitState::HalfOpen, 0));
}

#[tokio::test(start_paused = true)]
async fn half_of_a_hundred_calls_a_second_open_it_within_one_window() {
    let breaker = breaker(BreakerSettings::new());
    for _ in 0..60 * 100 {
        settle(&breaker, 1, Outcome::Success);
        advance(10 * MS).await;
    }
    let start = Instant::now();
    for number in 0.. {
        let Ok(permit) = breaker.try_acquire() else { break };
        permit.settle(if number % 2 == 0 { Outcome::Failure } else { Outcome::Success });
        advance(10 * MS).await;
        assert!(start.elapsed() <= 10 * SECOND, "{:?}", breaker.stats());
    }
    let opened = start.elapsed();
    assert!(
        opened > 8 * SECOND,
        "half of them failed only when those before had left the window: {opened:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_that_was_well_for_long_opens_it_after_half_a_window_of_failures() {
    for successes in [0_usize, 100, 10_000, 100_000] {
        let breaker = breaker(BreakerSettings::new().window_of_calls(100));
        settle(&breaker, successes, Outcome::Success);
        let mut failures = 0;
        while breaker.state() == CircuitState::Closed {
            settle(&breaker, 1, Outcome::Failure);
            failures += 1;
        }
        let expected = if successes == 0 { 20 } else { 50 };
        assert_eq!(failures, expected, "after {successes} successes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_of_calls_counts_exactly_the_last_ones() {
    // Ten calls, of which never more than four are failures in any ten in a row, and then five.
    let breaker = breaker(BreakerSettings::new().window_of_calls(10).min_calls(10));
    for round in 0..1_000 {
        settle(&breaker, 4, Outcome::Failure);
        settle(&breaker, 6, Outcome::Success);
        assert_eq!(breaker.stats().failures(), 4, "round {round}");
    }
    settle(&breaker, 4, Outcome::Failure);
    assert_eq!((breaker.stats().calls(), breaker.stats().failures()), (10, 4));
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open);
    assert_eq!(breaker.stats().failure_rate(), Some(0.5));
}

#[tokio::test(start_paused = true)]
async fn what_is_older_than_the_window_does_not_count() {
    let breaker = breaker(settings());
    settle(&breaker, 9, Outcome::Failure);
    advance(9 * SECOND).await;
    assert_eq!(breaker.stats().failures(), 9);
    advance(SECOND).await;
    assert_eq!(breaker.stats().calls(), 0);
    settle(&breaker, 9, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Closed);
    // A clock that stood still for years is no surprise either.
    advance(100 * 365 * 24 * 3600 * SECOND).await;
    settle(&breaker, 9, Outcome::Failure);
    assert_eq!((breaker.state(), breaker.stats().calls()), (CircuitState::Closed, 9));
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open);
}

/// Where an adaptive limit has read the clock at the end of the same call, the circuit goes by that, and by no other's.
#[tokio::test(start_paused = true)]
async fn a_call_is_counted_when_it_ended_and_not_when_an_earlier_one_did_whose_limit_read_the_clock() {
    let (_, sick) = Health::backend(Now::SlowlySick(SECOND));
    let limiter = ConcurrencyLimiter::new(AdaptiveSettings::new()).unwrap();
    let [with, without] = [breaker(settings()), breaker(settings())];
    let limited = ConcurrencyLimitLayer::from(limiter).layer(sick.clone());
    let limited = BreakerLayer::from(with.clone()).layer(limited);
    let plain = BreakerLayer::from(without.clone()).layer(sick);
    calls(&limited, 2).await;
    assert_eq!(with.stats().failures(), 2);
    advance(3600 * SECOND).await;
    calls(&plain, 2).await;
    assert_eq!((with.stats().calls(), without.stats().failures()), (0, 2));
    advance(3600 * SECOND).await;
    calls(&limited, 2).await;
    assert_eq!((with.stats().failures(), without.stats().calls()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn successes_that_leave_the_window_open_it_with_the_next_call_whatever_that_is() {
    let breaker = breaker(settings());
    settle(&breaker, 15, Outcome::Success);
    advance(5 * SECOND).await;
    settle(&breaker, 14, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Closed, "14 of 29");
    advance(5 * SECOND).await;
    settle(&breaker, 1, Outcome::Success);
    assert_eq!(breaker.state(), CircuitState::Open, "14 of 15");
}

#[tokio::test(start_paused = true)]
async fn the_last_call_that_was_missing_opens_it_also_if_it_is_a_good_one() {
    for settings in [settings(), settings().window_of_calls(100)] {
        let breaker = breaker(settings);
        settle(&breaker, 9, Outcome::Failure);
        assert_eq!(breaker.stats().failure_rate(), None, "too few to judge");
        settle(&breaker, 1, Outcome::Success);
        assert_eq!((breaker.state(), breaker.stats().failure_rate()), (CircuitState::Open, Some(0.9)));
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_their_callers_gave_up_never_open_it() {
    let breaker = breaker(settings());
    let (_, backend) = Health::backend(Now::Hung);
    let service = BreakerLayer::from(breaker.clone()).layer(backend);
    for _ in 0..100 {
        assert!(timeout(SECOND, call(&service)).await.is_err());
    }
    assert_eq!((breaker.state(), breaker.stats().calls()), (CircuitState::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn statuses_and_errors_count_as_the_classifier_says() {
    for (status, counted, failed) in [
        (200, 1, 0),
        (404, 1, 0),
        (401, 1, 0),
        (408, 1, 0),
        (501, 1, 0),
        (429, 0, 0),
        (500, 1, 1),
        (502, 1, 1),
        (503, 1, 1),
        (504, 1, 1),
    ] {
        let breaker = breaker(settings());
        let backend: Backend = Scripted::script(move |_, _| answered(status));
        let service = BreakerLayer::from(breaker.clone()).layer(backend);
        assert_eq!(call(&service).await.unwrap().status(), status);
        let stats = breaker.stats();
        assert_eq!((stats.calls(), stats.failures()), (counted, failed), "{status}");
    }
    for (kind, counted, failed) in [
        (Kind::Transport, 1, 1),
        (Kind::Connect, 1, 1),
        (Kind::Timeout, 1, 1),
        (Kind::Other, 1, 1),
        (Kind::Overload, 0, 0),
        (Kind::CircuitOpen, 0, 0),
        (Kind::Invalid, 0, 0),
    ] {
        let breaker = breaker(settings());
        let backend: Backend = Scripted::script(move |_, _| Step::fail(Error::new(kind, "x")));
        let service = BreakerLayer::from(breaker.clone()).layer(backend);
        assert_eq!(call(&service).await.unwrap_err().kind(), kind);
        let stats = breaker.stats();
        assert_eq!((stats.calls(), stats.failures()), (counted, failed), "{kind:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_200_that_says_it_failed_counts_as_failed_and_reaches_the_caller_untouched() {
    let judge = |result: Result<&Response<Content>, &Error>| match result {
        Ok(response) if response.headers().contains_key("x-error") => Outcome::Failure,
        other => ClassifyHttp.classify(other),
    };
    let breaker = breaker(settings());
    let answer = with_header(Response::new(Full::from("all of it")), "x-error", "1");
    let backend: Backend = Scripted::script(move |_, _| Step::Answer(answer.clone()));
    let service = BreakerLayer::from(breaker.clone()).classify(judge).layer(backend);
    let response = call(&service).await.unwrap();
    assert_eq!((response.status(), &response.headers()["x-error"]), (StatusCode::OK, &"1".parse().unwrap()));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "all of it");
    assert_eq!(breaker.stats().failures(), 1);
}

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_success_in_between_begins_anew() {
    let breaker = breaker(settings().without_failure_rate().consecutive_failures(5));
    for _ in 0..10 {
        settle(&breaker, 4, Outcome::Failure);
        settle(&breaker, 1, Outcome::Success);
    }
    settle(&breaker, 4, Outcome::Failure);
    // Nothing is said by these.
    settle(&breaker, 3, Outcome::Neutral);
    settle(&breaker, 3, Outcome::Overload);
    assert_eq!(breaker.state(), CircuitState::Closed);
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open);
    let stats = breaker.stats();
    assert_eq!((stats.calls(), stats.failures()), (55, 45), "the last one is among them");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_even_become_ready_opens_it() {
    /// Whose connection cannot be made.
    #[derive(Clone)]
    struct Unreachable;
    impl Service<Request<Content>> for Unreachable {
        type Response = Response<Content>;
        type Error = Error;
        type Future = std::future::Pending<Result<Response<Content>, Error>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Err(Error::new(Kind::Connect, "refused")))
        }

        fn call(&mut self, _: Request<Content>) -> Self::Future {
            panic!("called without being ready")
        }
    }
    let breaker = breaker(settings());
    let service = BreakerLayer::from(breaker.clone()).layer(Unreachable);
    for _ in 0..10 {
        assert!(call(&service).await.unwrap_err().is_connect());
    }
    assert_eq!(breaker.state(), CircuitState::Open);
    assert!(call(&service).await.unwrap_err().is_circuit_open());
}

// ───────────────────────────────────────────────────────────────────────────── slow and hung

#[tokio::test(start_paused = true)]
async fn calls_that_are_slow_until_their_head_open_it_and_long_bodies_do_not() {
    let slow = settings().slow_calls(SECOND, Ratio::percent(50));
    let breaker = breaker(slow.clone());
    let (_, backend) = Health::backend(Now::Slow(SECOND));
    calls(&BreakerLayer::from(breaker.clone()).layer(backend), 10).await;
    let stats = breaker.stats();
    assert_eq!((stats.state(), stats.failures(), stats.slow_calls()), (CircuitState::Open, 0, 10));

    let breaker = self::breaker(slow);
    let service = BreakerLayer::from(breaker.clone()).layer(tower::service_fn(|_: Request<Content>| async {
        let frames = futures_util::stream::unfold(0, |n| async move {
            sleep(30 * SECOND).await;
            (n < 3).then(|| (Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"x"))), n + 1))
        });
        Ok::<_, BoxError>(Response::new(StreamBody::new(Box::pin(frames))))
    }));
    for _ in 0..10 {
        call(&service).await.unwrap().into_body().collect().await.unwrap();
    }
    let stats = breaker.stats();
    assert_eq!((stats.state(), stats.slow_calls()), (CircuitState::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_time_outside_does_not_hide_a_service_that_hangs() {
    // Ours, which the circuit knows of.
    for attempt in [true, false] {
        let breaker = breaker(settings());
        let (_, backend) = Health::backend(Now::Hung);
        let guarded = BreakerLayer::from(breaker.clone()).layer(backend.clone());
        let limited: tower::util::BoxCloneSyncService<_, _, Error> = match attempt {
            true => tower::util::BoxCloneSyncService::new(AttemptTimeoutLayer::new(SECOND).layer(guarded)),
            false => tower::util::BoxCloneSyncService::new(TimeoutLayer::new(SECOND).layer(guarded)),
        };
        for _ in 0..300 {
            assert!(call(&limited).await.is_err());
        }
        assert_eq!(breaker.stats().opened(), 1);
        assert_eq!(backend.seen().count(), 10, "attempt limit: {attempt}");
    }
    // Anybody's, where it is known what is slow.
    let breaker = breaker(settings().slow_calls(SECOND / 2, Ratio::percent(50)));
    let (_, backend) = Health::backend(Now::Hung);
    let service = BreakerLayer::from(breaker.clone()).layer(backend.clone());
    for _ in 0..300 {
        assert!(timeout(SECOND, call(&service)).await.is_err() || breaker.state() != CircuitState::Closed);
    }
    assert_eq!((breaker.stats().slow_calls(), backend.seen().count()), (10, 10));
    // Given up before that, it says nothing.
    let breaker = self::breaker(settings().slow_calls(2 * SECOND, Ratio::percent(50)));
    let service = BreakerLayer::from(breaker.clone()).layer(backend);
    for _ in 0..100 {
        assert!(timeout(SECOND, call(&service)).await.is_err());
    }
    assert_eq!(breaker.stats().calls(), 0);
}

// ───────────────────────────────────────────────────────────────────────────── the answer is used up

/// A body that tells its frames one by one.
fn body(
    frames: Vec<Result<Frame<Bytes>, BoxError>>,
) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin {
    StreamBody::new(futures_util::stream::iter(frames))
}

fn data() -> Result<Frame<Bytes>, BoxError> {
    Ok(Frame::data(Bytes::from_static(b"data")))
}

#[tokio::test(start_paused = true)]
async fn a_call_is_counted_when_its_body_has_ended_and_a_body_that_breaks_off_has_failed() {
    for (frames, read, failures) in [
        (vec![data(), data()], 3, 0),
        (vec![data(), Err("broken off".into())], 2, 1),
        // Who does not read to the end has no complaint.
        (vec![data(), data()], 1, 0),
        (vec![data(), Err("broken off".into())], 1, 0),
    ] {
        let breaker = breaker(settings());
        let frames = Mutex::new(Some(frames));
        let service = BreakerLayer::from(breaker.clone()).layer(tower::service_fn(|_: Request<Content>| {
            let frames = frames.lock().unwrap().take().expect("called once");
            async { Ok::<_, BoxError>(Response::new(body(frames))) }
        }));
        let mut body = service.oneshot(request(Method::GET)).await.unwrap().into_body();
        for _ in 0..read {
            assert_eq!(breaker.stats().calls(), 0, "it goes on");
            let _ = body.frame().await;
        }
        drop(body);
        assert_eq!(
            (breaker.stats().calls(), breaker.stats().failures()),
            (1, failures),
            "{read} frames read"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_is_counted_by_its_trailers() {
    for (status, calls, failures) in [("0", 1, 0), ("14", 1, 1), ("5", 1, 0), ("8", 0, 0), ("1", 0, 0)] {
        let breaker = breaker(settings());
        let layer = BreakerLayer::from(breaker.clone()).classify(ClassifyGrpc);
        let service = layer.layer(tower::service_fn(|_: Request<Content>| {
            let trailers: HeaderMap =
                [("grpc-status".parse().unwrap(), status.parse().unwrap())].into_iter().collect();
            async { Ok::<_, BoxError>(Response::new(body(vec![data(), Ok(Frame::trailers(trailers))]))) }
        }));
        let response = service.oneshot(request(Method::POST)).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], status);
        assert_eq!(
            (breaker.stats().calls(), breaker.stats().failures()),
            (calls, failures),
            "status {status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_of_known_length_is_counted_by_its_trailers_too() {
    for data in ["message", ""] {
        let breaker = breaker(settings());
        let layer = BreakerLayer::from(breaker.clone()).classify(ClassifyGrpc);
        let service = layer.layer(tower::service_fn(move |_: Request<Content>| {
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "14".parse().unwrap())]);
            let body = Full::<Bytes>::from(data).with_trailers(std::future::ready(Some(Ok(trailers))));
            let response = Response::builder().header("content-type", "application/grpc");
            std::future::ready(Ok::<_, BoxError>(
                response.header("content-length", data.len()).body(body).unwrap(),
            ))
        }));
        let response = service.oneshot(request(Method::POST)).await.unwrap();
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "14");
        assert_eq!((breaker.stats().calls(), breaker.stats().failures()), (1, 1), "{data:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_calls_are_over_when_they_return_whatever_they_return() {
    let judge = |result: Result<&String, &Error>| match result {
        Ok(answer) if answer == "bad" => Outcome::Failure,
        Ok(_) => Outcome::Success,
        Err(_) => Outcome::Failure,
    };
    let breaker = breaker(settings());
    let backend: Scripted<String, String> = Scripted::script(|_, asked: &String| Step::Answer(asked.clone()));
    let service = BreakerLayer::from(breaker.clone()).classify(judge).plain().layer(backend);
    for asked in ["good", "bad"] {
        assert_eq!(service.clone().oneshot(asked.to_owned()).await.unwrap(), asked);
    }
    assert_eq!((breaker.stats().calls(), breaker.stats().failures()), (2, 1));
}

// ───────────────────────────────────────────────────────────────────────────── open

#[tokio::test(start_paused = true)]
async fn an_open_circuit_refuses_at_once_hands_the_request_back_and_says_when_to_come_back() {
    let (_, backend) = Health::backend(Now::Sick);
    let breaker = breaker(settings());
    let service = BreakerLayer::from(breaker.clone()).layer(backend.clone());
    calls(&service, 10).await;
    advance(2 * SECOND).await;
    let (refused, took) = timed(service.clone().oneshot(request(Method::POST))).await;
    let mut error = refused.unwrap_err();
    assert_eq!(took, Duration::ZERO);
    assert!(error.is_circuit_open() && !error.is_overload() && !error.is_timeout());
    assert_eq!((error.kind(), error.delivery()), (Kind::CircuitOpen, Delivery::NotSent));
    assert_eq!(error.retry_after(), Some(3 * SECOND));
    assert_eq!(error.cause::<CircuitOpen>().unwrap().retry_after(), Some(3 * SECOND));
    let request: Request<Content> = error.take_request().expect("it was not sent");
    assert_eq!(request.method(), Method::POST);
    assert_eq!(backend.seen().count(), 10, "it never got there");
    assert_eq!(breaker.stats().refused(), 1);
    assert_eq!(breaker.stats().retry_after(), Some(3 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_does_not_wait_for_a_service_that_is_not_ready() {
    let breaker = opened(settings());
    let service = BreakerLayer::from(breaker.clone()).layer(NeverReady);
    let (refused, took) = timed(call(&service)).await;
    assert!(refused.unwrap_err().is_circuit_open());
    assert_eq!(took, Duration::ZERO);
    // Nor is that service called when the time is over in between.
    let mut service = BreakerLayer::from(breaker.clone()).layer(NeverReady);
    let ready =
        Service::<Request<Content>>::poll_ready(&mut service, &mut Context::from_waker(Waker::noop()));
    assert!(ready.is_ready());
    advance(5 * SECOND).await;
    let refused = service.call(request(Method::GET)).await.unwrap_err();
    assert!(refused.is_circuit_open());
    assert_eq!(breaker.stats().refused(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_wait_for_an_open_circuit() {
    let (_, backend) = Health::backend(Now::Sick);
    let breaker = breaker(settings());
    let recorder = Recorder::new();
    let service = RetryLayer::new()
        .observer(recorder.clone())
        .layer(BreakerLayer::from(breaker.clone()).layer(backend.clone()));
    breaker.force_open();
    let (refused, took) = timed(call(&service)).await;
    let error = refused.unwrap_err();
    assert!(error.is_circuit_open() && error.cause::<CircuitOpen>().is_some());
    assert_eq!((took, error.attempts(), error.delivery()), (Duration::ZERO, 0, Delivery::NotSent));
    assert_eq!(backend.seen().count(), 0);

    // One that opens between two attempts: the first was sent.
    let breaker = self::breaker(settings().min_calls(1));
    let budget = Budget::new(BudgetSettings::default());
    let retry = RetryLayer::new().budget(budget.clone());
    let service = retry.layer(BreakerLayer::from(breaker).layer(backend.clone()));
    let error = call(&service).await.unwrap_err();
    let stats = budget.stats();
    assert_eq!((stats.granted, stats.refunded), (1, 1), "what was not sent costs nothing");
    assert!(error.is_circuit_open());
    assert_eq!((error.attempts(), backend.seen().count()), (1, 1));
    assert_eq!(error.delivery(), Delivery::Answered);
}

#[tokio::test(start_paused = true)]
async fn the_open_time_grows_with_each_time_it_opens_again_up_to_its_cap_and_comes_back() {
    let breaker = opened(settings());
    let left = |breaker: &Breaker| breaker.stats().retry_after().unwrap().as_secs();
    let mut times = vec![left(&breaker)];
    for _ in 0..5 {
        advance(breaker.stats().retry_after().unwrap()).await;
        settle(&breaker, 1, Outcome::Failure);
        times.push(left(&breaker));
    }
    assert_eq!(times, [5, 10, 20, 40, 60, 60]);
    // Closed for 60 s, 60 s and 40 s it is back to 20 s.
    advance(60 * SECOND).await;
    settle(&breaker, 1, Outcome::Success);
    advance(160 * SECOND).await;
    settle(&breaker, 10, Outcome::Failure);
    assert_eq!(left(&breaker), 40);
    // Closed for long, it is as at first.
    advance(40 * SECOND).await;
    settle(&breaker, 1, Outcome::Success);
    advance(3600 * SECOND).await;
    settle(&breaker, 10, Outcome::Failure);
    assert_eq!(left(&breaker), 5);
}

#[tokio::test(start_paused = true)]
async fn an_open_time_that_grows_by_chance_comes_back_too() {
    let open_time = Backoff::exponential(5 * SECOND, 3600 * SECOND).unwrap().jitter(Jitter::Decorrelated);
    for seed in 0..50 {
        let breaker = breaker(settings().open_time(open_time)).rng(Rng::seeded(seed));
        settle(&breaker, 10, Outcome::Failure);
        for _ in 0..20 {
            advance(breaker.stats().retry_after().unwrap()).await;
            settle(&breaker, 1, Outcome::Failure);
        }
        advance(breaker.stats().retry_after().unwrap()).await;
        settle(&breaker, 1, Outcome::Success);
        // Closed for longer than all of that.
        advance(30 * 24 * 3600 * SECOND).await;
        settle(&breaker, 10, Outcome::Failure);
        let time = breaker.stats().retry_after().unwrap();
        assert!(time <= 15 * SECOND, "as at first: three times the base at most, and not {time:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_fail_together_do_not_come_back_together() {
    let times: Vec<_> = (0..1_000)
        .map(|seed| {
            let breaker = Breaker::default().rng(Rng::seeded(seed));
            settle(&breaker, 20, Outcome::Failure);
            breaker.stats().retry_after().unwrap()
        })
        .collect();
    assert!(times.iter().all(|time| (2_500 * MS..=5 * SECOND).contains(time)));
    let together =
        |slot: u32| times.iter().filter(|t| (**t - 2_500 * MS).as_millis() as u32 / 100 == slot).count();
    assert!((0..25).all(|slot| (10..90).contains(&together(slot))), "40 of 1000 in each tenth of a second");
}

// ───────────────────────────────────────────────────────────────────────────── half-open

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_at_the_instant_of_half_open_let_exactly_the_probes_through() {
    for probes in [1, 3, 10] {
        for now in [Now::Slow(SECOND), Now::SlowlySick(SECOND), Now::Hung] {
            let (health, backend) = Health::backend(Now::Sick);
            let breaker = breaker(settings().probes(probes));
            let service = BreakerLayer::from(breaker.clone()).layer(backend.clone());
            calls(&service, 10).await;
            health.set(now);
            advance(5 * SECOND).await;
            let mut all = (0..1_000).map(|_| Box::pin(call(&service))).collect::<Vec<_>>();
            let mut refused = 0;
            poll_fn(|cx| {
                refused = all.iter_mut().map(|call| usize::from(call.as_mut().poll(cx).is_ready())).sum();
                Poll::Ready(())
            })
            .await;
            assert_eq!(backend.seen().count(), 10 + probes as usize);
            assert_eq!(refused, 1_000 - probes as usize);
            assert_eq!(breaker.state(), CircuitState::HalfOpen);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_others_probe_is_told_to_come_back_within_a_second() {
    let breaker = opened(settings().probe_timeout(3 * SECOND));
    advance(5 * SECOND).await;
    let _probe = breaker.try_acquire().unwrap();
    for (passes, left) in [(0, 1_000), (1_900, 1_000), (600, 500)] {
        advance(passes * MS).await;
        assert_eq!(breaker.try_acquire().unwrap_err().retry_after(), Some(left * MS));
    }
}

#[tokio::test(start_paused = true)]
async fn recovery_ends_at_a_thousand_calls_at_once_however_many_wait() {
    let breaker = opened(settings());
    advance(5 * SECOND).await;
    let mut rounds = Vec::new();
    while breaker.state() != CircuitState::Closed {
        let round: Vec<_> = std::iter::from_fn(|| breaker.try_acquire().ok()).collect();
        rounds.push(round.len());
        round.into_iter().for_each(|permit| permit.settle(Outcome::Success));
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_goes_away_lets_the_next_call_probe() {
    let breaker = opened(settings());
    advance(5 * SECOND).await;
    for _ in 0..100 {
        let probe = breaker.try_acquire().unwrap();
        assert!(breaker.try_acquire().is_err());
        drop(probe);
    }
    // One that says nothing about the service, too.
    for outcome in [Outcome::Neutral, Outcome::Overload] {
        breaker.try_acquire().unwrap().settle(outcome);
    }
    // And one that panics.
    let service = BreakerLayer::from(breaker.clone()).layer(tower::service_fn(panics));
    assert!(AssertUnwindSafe(service.oneshot(request(Method::GET))).catch_unwind().await.is_err());
    assert_eq!((breaker.state(), breaker.stats().probes()), (CircuitState::HalfOpen, 0));
    // Calls were refused meanwhile, so they come back one round after the other.
    settle(&breaker, 1 + 2, Outcome::Success);
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_result_that_comes_late_changes_nothing() {
    for outcome in [Outcome::Success, Outcome::Failure] {
        let breaker = breaker(settings());
        let late: Vec<_> = (0..60).map(|_| breaker.try_acquire().unwrap()).collect();
        let mut late = late.into_iter();
        let mut twenty_come = || late.by_ref().take(20).for_each(|permit| permit.settle(outcome));
        settle(&breaker, 10, Outcome::Failure);

        twenty_come();
        assert_eq!(breaker.state(), CircuitState::Open);
        advance(5 * SECOND).await;
        let probe = breaker.try_acquire().unwrap();
        twenty_come();
        assert_eq!((breaker.state(), breaker.stats().probes()), (CircuitState::HalfOpen, 1));
        probe.settle(Outcome::Success);
        twenty_come();
        assert_eq!((breaker.state(), breaker.stats().calls()), (CircuitState::Closed, 0), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_an_earlier_half_open_time_changes_nothing() {
    let breaker = opened(settings().probes(2));
    advance(5 * SECOND).await;
    let (slow, hung) = (breaker.try_acquire().unwrap(), breaker.try_acquire().unwrap());
    // Both run out of time, and it opens again, for 10 s.
    advance(10 * SECOND).await;
    assert!(breaker.try_acquire().is_err());
    advance(10 * SECOND).await;
    let probe = breaker.try_acquire().unwrap();
    slow.settle(Outcome::Failure);
    drop(hung);
    assert_eq!((breaker.state(), breaker.stats().probes()), (CircuitState::HalfOpen, 1));
    probe.settle(Outcome::Success);
    settle(&breaker, 1, Outcome::Success);
    assert_eq!(breaker.state(), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_outlives_its_time_has_failed() {
    let (_, backend) = Health::backend(Now::Hung);
    let breaker = opened(settings().probe_timeout(3 * SECOND));
    let service = BreakerLayer::from(breaker.clone()).layer(backend);
    advance(5 * SECOND).await;
    let mut probe = pin!(call(&service));
    assert!(probe.as_mut().now_or_never().is_none());
    advance(3 * SECOND - MS).await;
    assert!(call(&service).await.is_err());
    assert_eq!(breaker.state(), CircuitState::HalfOpen);
    advance(MS).await;
    let refused = call(&service).await.unwrap_err();
    assert_eq!((breaker.state(), refused.retry_after()), (CircuitState::Open, Some(10 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn a_probe_whose_answer_streams_on_is_good_and_holds_nobody_up() {
    let breaker = opened(settings().probe_timeout(3 * SECOND));
    let service = BreakerLayer::from(breaker.clone()).layer(tower::service_fn(|_: Request<Content>| async {
        let never = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        Ok::<_, BoxError>(Response::new(StreamBody::new(never)))
    }));
    advance(5 * SECOND).await;
    let _streaming = call(&service).await.unwrap();
    assert!(call(&service).await.is_err());
    advance(3 * SECOND).await;
    let _streaming_too = call(&service).await.unwrap();
    // Somebody was refused meanwhile, so two at a time.
    assert_eq!(breaker.state(), CircuitState::Recovering);
}

#[tokio::test(start_paused = true)]
async fn slow_probes_open_it_again() {
    let (_, backend) = Health::backend(Now::Slow(2 * SECOND));
    let breaker = opened(settings().slow_calls(SECOND, Ratio::percent(50)));
    let service = BreakerLayer::from(breaker.clone()).layer(backend);
    advance(5 * SECOND).await;
    assert_eq!(call(&service).await.unwrap().status(), 200);
    assert_eq!((breaker.state(), breaker.stats().slow_calls()), (CircuitState::Open, 1));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_was_slow_until_its_head_is_slow_however_long_its_body_goes_on() {
    let recorder = Recorder::new();
    let slow = settings().slow_calls(SECOND, Ratio::percent(50)).probe_timeout(3 * SECOND);
    let breaker = breaker(slow).observer(recorder.clone());
    settle(&breaker, 10, Outcome::Failure);
    let service = BreakerLayer::from(breaker.clone()).layer(tower::service_fn(|_: Request<Content>| async {
        sleep(2 * SECOND).await;
        let never = futures_util::stream::pending::<Result<Frame<Bytes>, BoxError>>();
        Ok::<_, BoxError>(Response::new(StreamBody::new(never)))
    }));
    advance(5 * SECOND).await;
    let _streaming = call(&service).await.unwrap();
    advance(SECOND).await;
    assert!(call(&service).await.unwrap_err().is_circuit_open());
    assert_eq!((breaker.state(), breaker.stats().slow_calls()), (CircuitState::Open, 1));
    let slow = |event: &Event| matches!(event, Event::CircuitProbed { ending: ProbeEnding::Slow, .. });
    assert_eq!(recorder.events().iter().filter(|event| slow(event)).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn traffic_comes_back_as_a_ramp_and_not_as_a_cliff() {
    tokio::task::LocalSet::new().run_until(ramp()).await;
}

async fn ramp() {
    let (health, backend) = Health::backend(Now::Sick);
    let breaker = breaker(settings());
    let service = BreakerLayer::from(breaker.clone()).layer(backend.clone());
    calls(&service, 10).await;
    health.set(Now::Slow(100 * MS));
    advance(5 * SECOND).await;
    // Fifty callers, each of which begins the next call when one has ended or was refused.
    let seen = backend.seen();
    let mut most = Vec::new();
    let callers = (0..50).map(|_| {
        let service = service.clone();
        tokio::task::spawn_local(async move {
            loop {
                if call(&service).await.is_err() {
                    sleep(10 * MS).await;
                }
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    let start = Instant::now();
    while breaker.state() != CircuitState::Closed {
        sleep(MS).await;
        most.push(seen.in_flight());
        assert!(start.elapsed() < 2 * SECOND, "{:?}", breaker.stats());
    }
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    most.dedup();
    let peaks: Vec<_> = [1, 2, 4, 8, 16, 32].into_iter().filter(|peak| most.contains(peak)).collect();
    assert_eq!(peaks, [1, 2, 4, 8, 16, 32], "{most:?}");
    assert!(start.elapsed() > 500 * MS, "one round for each: {:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_service_that_fails_again_while_it_recovers_is_left_alone_again() {
    let breaker = opened(settings());
    advance(5 * SECOND).await;
    let probe = breaker.try_acquire().unwrap();
    assert!(breaker.try_acquire().is_err());
    probe.settle(Outcome::Success);
    assert_eq!(breaker.state(), CircuitState::Recovering);
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Recovering, "one of two, and the round is not over");
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open);
    assert_eq!(breaker.stats().retry_after(), Some(10 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_round_of_the_recovery_is_judged_by_its_own_calls_and_not_by_those_before_it() {
    for share in [80, 100] {
        let breaker = opened(settings().failure_rate(Ratio::percent(share)));
        advance(5 * SECOND).await;
        let probe = breaker.try_acquire().unwrap();
        assert!(breaker.try_acquire().is_err());
        probe.settle(Outcome::Success);
        settle(&breaker, 2, Outcome::Failure);
        assert_eq!(breaker.state(), CircuitState::Open, "two of two failed: {share}%");
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_dies_late_in_its_recovery_is_left_alone_as_soon_as_enough_calls_failed() {
    let breaker = opened(settings());
    advance(5 * SECOND).await;
    // As many callers as an outage leaves waiting.
    for round in [1, 2, 4, 8, 16, 32, 64, 128, 256] {
        let round: Vec<_> = (0..round).map(|_| breaker.try_acquire().unwrap()).collect();
        assert!(breaker.try_acquire().is_err());
        round.into_iter().for_each(|permit| permit.settle(Outcome::Success));
    }
    assert_eq!(breaker.state(), CircuitState::Recovering);
    // It dies, and few are left who call it: it does not take all of a round of 512.
    settle(&breaker, 9, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Recovering);
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open, "half of ten calls is what opens it");
}

// ───────────────────────────────────────────────────────────────────────────── by hand, and to see

#[tokio::test(start_paused = true)]
async fn it_can_be_forced_open_and_closed_and_begun_anew() {
    let breaker = breaker(settings());
    let under_way = breaker.try_acquire().unwrap();
    breaker.force_open();
    advance(3600 * SECOND).await;
    let refused = breaker.try_acquire().unwrap_err();
    assert_eq!((breaker.state(), refused.retry_after()), (CircuitState::ForcedOpen, None));
    under_way.settle(Outcome::Failure);

    breaker.force_closed();
    settle(&breaker, 1_000, Outcome::Failure);
    assert_eq!((breaker.state(), breaker.stats().calls()), (CircuitState::ForcedClosed, 0));

    breaker.reset();
    assert_eq!((breaker.state(), breaker.stats().calls()), (CircuitState::Closed, 0));
    settle(&breaker, 10, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Open);
    breaker.reset();
    settle(&breaker, 9, Outcome::Failure);
    assert_eq!(breaker.state(), CircuitState::Closed, "what was counted before is gone");
    settle(&breaker, 1, Outcome::Failure);
    assert_eq!(breaker.stats().retry_after(), Some(5 * SECOND), "and so is how often it opened");
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_told_of_every_change_and_every_probe() {
    let recorder = Recorder::new();
    let breaker = breaker(settings()).named("orders").observer(recorder.clone());
    settle(&breaker, 10, Outcome::Failure);
    advance(5 * SECOND).await;
    drop(breaker.try_acquire().unwrap());
    settle(&breaker, 1, Outcome::Failure);
    advance(10 * SECOND).await;
    let hung = breaker.try_acquire().unwrap();
    advance(10 * SECOND).await;
    assert!(breaker.try_acquire().is_err());
    drop(hung);
    advance(20 * SECOND).await;
    let probe = breaker.try_acquire().unwrap();
    assert!(breaker.try_acquire().is_err());
    probe.settle(Outcome::Success);
    settle(&breaker, 2, Outcome::Success);
    breaker.force_open();
    let told: Vec<String> = recorder
        .events()
        .iter()
        .map(|event| match event {
            Event::CircuitChanged { circuit, from, to, why, open_for, .. } => {
                assert_eq!(&**circuit, "orders");
                format!("{from} to {to}: {why}{}", open_for.map(|t| format!(", {t:?}")).unwrap_or_default())
            }
            Event::CircuitProbed { ending, .. } => format!("{ending:?}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "closed to open: too many failures, 5s",
            "open to half-open: the open time is over",
            "Abandoned",
            "Failure",
            "half-open to open: the probes failed, 10s",
            "open to half-open: the open time is over",
            "TimedOut",
            "half-open to open: the probes failed, 20s",
            "open to half-open: the open time is over",
            "Success",
            "half-open to recovering: the probes went well",
            "Success",
            "Success",
            "recovering to closed: the probes went well",
            "closed to forced-open: by hand",
        ]
    );
    assert!(
        recorder
            .timeline()
            .starts_with("circuit orders at 0ns: closed, now open for 5s: too many failures\n")
    );
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_ask_the_circuit_and_one_that_panics_leaves_it_in_order() {
    struct Asks(Mutex<Option<Breaker>>, bool);
    impl Observer for Asks {
        fn observe(&self, event: &Event) {
            if let Some(breaker) = &*self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
                assert!(breaker.stats().opened() <= 1 && breaker.try_acquire().is_err());
            }
            assert!(!self.1, "on purpose: {event:?}");
        }
    }
    for panics in [false, true] {
        let asks = Arc::new(Asks(Mutex::new(None), panics));
        let breaker = breaker(settings()).observer(Arc::clone(&asks));
        *asks.0.lock().unwrap() = Some(breaker.clone());
        settle(&breaker, 9, Outcome::Failure);
        let last = AssertUnwindSafe(async { settle(&breaker, 1, Outcome::Failure) });
        assert_eq!(last.catch_unwind().await.is_err(), panics);
        assert_eq!(breaker.state(), CircuitState::Open);
        *asks.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        if !panics {
            advance(5 * SECOND).await;
            settle(&breaker, 1, Outcome::Success);
            assert_eq!(breaker.state(), CircuitState::Closed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_keeps_nobody_waiting_and_takes_no_probe_with_it() {
    struct Panics(CircuitState);
    impl Observer for Panics {
        fn observe(&self, event: &Event) {
            let changed = matches!(event, Event::CircuitChanged { to, .. } if *to == self.0);
            assert!(!changed, "on purpose");
        }
    }
    // When somebody closes the circuit, whoever waits for that goes on.
    let (_, backend) = Health::backend(Now::Well);
    let closes = breaker(settings()).observer(Panics(CircuitState::Closed));
    closes.force_open();
    let service = BreakerLayer::from(closes.clone()).not_ready_when_open().layer(backend);
    let reset = async { assert!(AssertUnwindSafe(async { closes.reset() }).catch_unwind().await.is_err()) };
    let (waited, ()) = tokio::join!(timeout(SECOND, call(&service)), reset);
    assert!(waited.is_ok(), "it is closed, and nobody said so");
    // The call that would have been the probe is not made, so another may be.
    let probed = breaker(settings()).observer(Panics(CircuitState::HalfOpen));
    settle(&probed, 10, Outcome::Failure);
    advance(5 * SECOND).await;
    assert!(AssertUnwindSafe(async { probed.try_acquire() }).catch_unwind().await.is_err());
    assert_eq!((probed.state(), probed.stats().probes()), (CircuitState::HalfOpen, 0));
    assert!(probed.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_circuits_leave_no_task_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for _ in 0..10_000 {
        let (_, backend) = Health::backend(Now::Sick);
        let service = BreakerLayer::from(breaker(settings().min_calls(1))).layer(backend);
        calls(&service, 2).await;
        assert_eq!(tasks(), before);
    }
}

// ───────────────────────────────────────────────────────────────────────────── not ready

#[tokio::test(start_paused = true)]
async fn below_a_balancer_it_is_not_ready_while_open_and_wakes_who_waits() {
    let (health, backend) = Health::backend(Now::Sick);
    let breaker = breaker(settings());
    let service = BreakerLayer::from(breaker.clone()).not_ready_when_open().layer(backend.clone());
    calls(&service, 10).await;
    assert_eq!(breaker.state(), CircuitState::Open);
    health.set(Now::Slow(SECOND));
    let start = Instant::now();
    let one = |service| async move {
        call(&service).await.unwrap();
        start.elapsed()
    };
    let (a, b, c) = (one(service.clone()), one(service.clone()), one(service.clone()));
    // One probes after 5 s. The others are woken when it went well.
    let mut took = <[Duration; 3]>::from(tokio::join!(a, b, c));
    took.sort();
    assert_eq!(took, [6 * SECOND, 7 * SECOND, 7 * SECOND]);
    assert_eq!(backend.seen().count(), 13);
}

#[tokio::test(start_paused = true)]
async fn a_limit_above_ends_a_wait_for_a_circuit_that_is_not_ready() {
    let (_, backend) = Health::backend(Now::Well);
    let breaker = breaker(settings());
    breaker.force_open();
    let service = BreakerLayer::from(breaker.clone()).not_ready_when_open().layer(backend);
    let limited = TimeoutLayer::new(SECOND).layer(service);
    let (late, took) = timed(call(&limited)).await;
    assert!(late.unwrap_err().is_timeout());
    assert_eq!(took, SECOND);
    // One that waits in time goes on when the circuit is closed by hand.
    let by_hand = async {
        sleep(SECOND / 2).await;
        breaker.reset();
    };
    let (waited, ()) = tokio::join!(timed(call(&limited)), by_hand);
    assert_eq!((waited.0.is_ok(), waited.1), (true, SECOND / 2));
}

#[tokio::test(start_paused = true)]
async fn who_waits_while_a_probe_fails_goes_on_when_the_next_open_time_is_over_and_not_later() {
    let (health, backend) = Health::backend(Now::Well);
    let breaker = opened(settings().probe_timeout(60 * SECOND));
    let service = BreakerLayer::from(breaker.clone()).not_ready_when_open().layer(backend);
    health.set(Now::SlowlySick(SECOND));
    let start = Instant::now();
    let probe = async {
        assert_eq!(call(&service).await.unwrap().status(), 500);
        health.set(Now::Well);
    };
    let waits = async {
        sleep(5_500 * MS).await;
        assert_eq!(breaker.state(), CircuitState::HalfOpen);
        call(&service).await.unwrap();
        start.elapsed()
    };
    // It probes from 5 s to 6 s, and is open for 10 s after that.
    assert_eq!(tokio::join!(probe, waits).1, 16 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_until_it_is_ready_come_back_as_a_ramp_too() {
    let (_, backend) = Health::backend(Now::Slow(SECOND));
    let breaker = opened(settings());
    let service = BreakerLayer::from(breaker.clone()).not_ready_when_open().layer(backend.clone());
    advance(5 * SECOND).await;
    let probe = breaker.try_acquire().unwrap();
    // None of them is refused: they are not ready, and do not call.
    let mut all = (0..50)
        .map(|_| Box::pin(ServiceExt::<Request<Content>>::ready_oneshot(service.clone())))
        .collect::<Vec<_>>();
    for waits in &mut all {
        assert!(waits.as_mut().now_or_never().is_none());
    }
    probe.settle(Outcome::Success);
    assert_eq!(breaker.state(), CircuitState::Recovering);
    assert_eq!(breaker.stats().refused(), 0);
}

// ───────────────────────────────────────────────────────────────────────────── as a response

#[tokio::test(start_paused = true)]
async fn on_a_server_a_refusal_is_a_503_that_says_when_to_come_back() {
    let breaker = opened(settings());
    advance(2_500 * MS).await;
    let service =
        BreakerLayer::from(breaker).answer().layer(tower::service_fn(|_: Request<Content>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Empty::<Bytes>::new()))
        }));
    let response = service.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "3", "rounded up");
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("the circuit is open"));
}

#[tokio::test(start_paused = true)]
async fn on_a_server_an_error_passes_untouched_and_is_a_failure() {
    let breaker = breaker(settings());
    let service =
        BreakerLayer::from(breaker.clone()).answer().layer(tower::service_fn(|_: Request<Content>| async {
            Err::<Response<Content>, _>(std::io::Error::other("own error"))
        }));
    let error = service.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(error.to_string(), "own error");
    assert_eq!(breaker.stats().failures(), 1);
}

// ───────────────────────────────────────────────────────────────────────────── one for each host

fn to(uri: &str) -> Request<Content> {
    Request::get(uri).body(Content::default()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn one_sick_host_does_not_open_the_circuit_of_another() {
    let breakers = Breakers::new(settings()).unwrap();
    let backend: Backend = Scripted::script(|_, request: &Request<Content>| match request.uri().host() {
        Some("sick.test") => answered(500),
        _ => answered(200),
    });
    let service = BreakersLayer::from(breakers.clone()).layer(backend.clone());
    for _ in 0..100 {
        let _ = service.clone().oneshot(to("http://sick.test/a")).await;
        assert_eq!(service.clone().oneshot(to("http://well.test/a")).await.unwrap().status(), 200);
    }
    assert_eq!(backend.seen().count(), 110);
    let mut states: Vec<_> =
        breakers.states().into_iter().map(|(key, state)| (key.to_string(), state)).collect();
    states.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        states,
        [("sick.test:80".to_owned(), CircuitState::Open), ("well.test:80".to_owned(), CircuitState::Closed)]
    );
    assert!(service.clone().oneshot(to("http://SICK.test:80/b")).await.is_err(), "the same host");
    assert_eq!(service.oneshot(to("http://sick.test:81/b")).await.unwrap().status(), 500, "another port");
    assert_eq!(breakers.get(&HostPort::of(&to("http://sick.test"))).name(), "sick.test:80");
}

#[tokio::test(start_paused = true)]
async fn an_observer_of_many_circuits_is_told_which_one_it_is_with_the_settings_that_they_had() {
    let recorder = Recorder::new();
    let breakers =
        Breakers::<String>::new(settings().min_calls(3)).unwrap().most(60).observer(recorder.clone());
    settle(&breakers.get(&"well".to_owned()), 2, Outcome::Failure);
    settle(&breakers.get(&"sick".to_owned()), 3, Outcome::Failure);
    let told = recorder.events();
    let [Event::CircuitChanged { circuit, to: CircuitState::Open, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(&**circuit, "sick");
    for number in 0..1_000 {
        let _ = breakers.get(&number.to_string());
    }
    assert!(breakers.len() <= 60, "{}", breakers.len());
}

#[tokio::test(start_paused = true)]
async fn a_million_hosts_stay_within_the_bound_and_one_that_is_used_is_kept() {
    let breakers = Breakers::<HostPort>::new(settings()).unwrap();
    let sick = HostPort::of(&to("http://sick.test"));
    settle(&breakers.get(&sick), 10, Outcome::Failure);
    let forced = HostPort::of(&to("http://forced.test"));
    breakers.get(&forced).force_open();
    for number in 0..1_000_000_u32 {
        let _ = breakers.get(&HostPort::of(&to(&format!("http://host-{number}.test/"))));
        if number % 16 == 0 {
            assert_eq!(breakers.get(&sick).state(), CircuitState::Open, "{number}");
        }
        if number % 10_000 == 0 {
            assert!(breakers.len() <= 1024, "{}", breakers.len());
        }
    }
    assert!(breakers.len() <= 1024);
    assert_eq!(
        breakers.get(&forced).state(),
        CircuitState::ForcedOpen,
        "what was said by hand is not forgotten"
    );
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_nobody_uses_is_forgotten_and_one_that_a_service_holds_is_not() {
    let breakers = Breakers::<String>::new(settings()).unwrap().most(60);
    let held = breakers.get(&"held".to_owned());
    settle(&held, 10, Outcome::Failure);
    settle(&breakers.get(&"left".to_owned()), 10, Outcome::Failure);
    advance(1_201 * SECOND).await;
    let _ = breakers.get(&"another".to_owned());
    assert_eq!(breakers.len(), 2);
    assert_eq!(breakers.get(&"held".to_owned()).stats().opened(), 1);
    assert_eq!(breakers.get(&"left".to_owned()).stats().opened(), 0);
}

#[tokio::test(start_paused = true)]
async fn circuits_that_are_never_to_be_forgotten_may_be_asked_for() {
    let breakers = Breakers::<String>::new(settings()).unwrap().idle(Duration::MAX);
    settle(&breakers.get(&"a".to_owned()), 10, Outcome::Failure);
    advance(10_000 * 3600 * SECOND).await;
    assert_eq!(breakers.get(&"a".to_owned()).stats().opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_circuit_with_a_call_under_way_is_not_forgotten() {
    let breakers = Breakers::<String>::new(settings()).unwrap().most(60);
    let sick = "sick".to_owned();
    settle(&breakers.get(&sick), 10, Outcome::Failure);
    advance(5 * SECOND).await;
    let probe = breakers.get(&sick).try_acquire().unwrap();
    for number in 0..1_000 {
        let _ = breakers.get(&number.to_string());
    }
    assert!(breakers.get(&sick).try_acquire().is_err(), "one probes already");
    probe.settle(Outcome::Failure);
    assert_eq!(breakers.get(&sick).stats().opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn circuits_can_be_told_apart_by_whatever_a_request_has() {
    let breakers = Breakers::<String>::new(settings()).unwrap();
    let tenant = |request: &Request<Content>| request.uri().path().to_owned();
    let (_, backend) = Health::backend(Now::Sick);
    let service = BreakersLayer::keyed(breakers.clone(), tenant).layer(backend);
    for _ in 0..10 {
        let _ = service.clone().oneshot(to("http://a.test/one")).await;
    }
    assert!(service.clone().oneshot(to("http://a.test/one")).await.unwrap_err().is_circuit_open());
    assert_eq!(service.clone().oneshot(to("http://a.test/two")).await.unwrap().status(), 500);
}
