//! Where tower has the same layer, a caller cannot tell the two apart; where ours differ on purpose, the difference is
//! pinned down here.

use std::fmt::Debug;
use std::future::{Future, Ready, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use proptest::prelude::*;
use stonework::Error;
use stonework::base::{BoxError, Delays, Delivery, Elapsed, Phase, Rng, Schedule};
use stonework::limit::{Admission, ConcurrencyLimitLayer};
use stonework::retry::{RetryLayer, RetrySettings};
use stonework::testing::{Ledger, Scripted, Step, Strict};
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tokio::time::Instant;
use tower::limit::ConcurrencyLimitLayer as TowerConcurrencyLimitLayer;
use tower::retry::{Policy, Retry};
use tower::timeout::TimeoutLayer as TowerTimeoutLayer;
use tower::{Layer, Service, ServiceExt};

const MS: Duration = Duration::from_millis(1);

type Bottom = Strict<Scripted<String, String>>;

/// What the service does with every call.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer(u32),
    Fail(u32),
    Hang,
    FailReadiness,
}

#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// Makes it ready, calls it, waits.
    Once,
    /// The same twice, with one value.
    Twice,
    /// Two clones at a time, the second cloned while the first is ready.
    Together,
    /// Gives up after so many milliseconds.
    GivesUp(u32),
    /// Is ready for so many milliseconds before it calls.
    Dawdles(u32),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    Answer(String),
    Error(String),
    Timeout,
    GaveUp,
}

#[derive(Debug, PartialEq, Eq)]
struct Observation {
    ended: Vec<(Ended, Duration)>,
    calls: u64,
    answered: u64,
    dropped: u64,
}

fn bottom(does: Does) -> Bottom {
    let strict = Strict::new(Scripted::script(move |_, _| match does {
        Does::Answer(ms) => Step::AnswerAfter(ms * MS, "answer".to_owned()),
        Does::Fail(ms) => Step::FailAfter(ms * MS, "broken".into()),
        Does::Hang | Does::FailReadiness => Step::Hang,
    }));
    match does {
        Does::FailReadiness => strict.fail_readiness_at(1, || BoxError::from("broken")),
        _ => strict,
    }
}

fn ended(result: Result<String, impl Into<BoxError>>) -> Ended {
    let error: BoxError = match result {
        Ok(answer) => return Ended::Answer(answer),
        Err(error) => error.into(),
    };
    if error.is::<tower::timeout::error::Elapsed>() {
        return Ended::Timeout;
    }
    match Error::wrap(error) {
        error if error.is_timeout() => Ended::Timeout,
        error => {
            let mut deepest: &dyn std::error::Error = &error;
            while let Some(source) = deepest.source() {
                deepest = source;
            }
            Ended::Error(deepest.to_string())
        }
    }
}

async fn once<S>(service: &mut S, pause: Duration) -> (Ended, Duration)
where
    S: Service<String, Response = String, Error: Into<BoxError>>,
{
    let start = Instant::now();
    let result = match service.ready().await {
        Ok(ready) => {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            ready.call("request".to_owned()).await
        }
        Err(error) => Err(error),
    };
    (ended(result), start.elapsed())
}

async fn observe<S>(mut service: S, ledger: Ledger, pattern: Pattern) -> Observation
where
    S: Service<String, Response = String, Error: Into<BoxError>> + Clone,
{
    let none = Duration::ZERO;
    let ended = match pattern {
        Pattern::Once => vec![once(&mut service, none).await],
        Pattern::Dawdles(ms) => vec![once(&mut service, ms * MS).await],
        Pattern::Twice => {
            let first = once(&mut service, none).await;
            // Readiness that failed is the end of a value.
            service = service.clone();
            vec![first, once(&mut service, none).await]
        }
        Pattern::Together => {
            let mut other = service.clone();
            let (one, two) = tokio::join!(once(&mut service, none), once(&mut other, none));
            vec![one, two]
        }
        Pattern::GivesUp(ms) => {
            let patient = tokio::time::timeout(ms * MS, once(&mut service, none)).await;
            vec![patient.unwrap_or((Ended::GaveUp, ms * MS))]
        }
    };
    drop(service);
    ledger.assert_settled();
    Observation { ended, calls: ledger.calls(), answered: ledger.answered(), dropped: ledger.dropped() }
}

/// Runs it with the clock paused, and not for ever.
fn virtually<T>(work: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let patience = Duration::from_secs(3600);
    runtime.block_on(async { tokio::time::timeout(patience, work).await.expect("it never ended") })
}

fn through<L, F>(layer: L, does: Does, run: impl FnOnce(L::Service, Ledger) -> F) -> F
where
    L: Layer<Bottom>,
{
    let bottom = bottom(does);
    let ledger = bottom.ledger();
    run(layer.layer(bottom), ledger)
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        4 => (0_u32..30).prop_map(Does::Answer),
        4 => (0_u32..30).prop_map(Does::Fail),
        1 => Just(Does::Hang),
        1 => Just(Does::FailReadiness),
    ]
}

fn pattern() -> impl Strategy<Value = Pattern> {
    prop_oneof![
        Just(Pattern::Once),
        Just(Pattern::Twice),
        Just(Pattern::Together),
        // One that gives up in the very millisecond of an answer sees either.
        (100_u32..130).prop_map(Pattern::GivesUp),
        (0_u32..8).prop_map(|ms| Pattern::GivesUp(4 * ms + 1)),
        (0_u32..30).prop_map(Pattern::Dawdles),
    ]
}

proptest! {
    #[test]
    fn where_readiness_is_immediate_both_limits_do_what_towers_timeout_does(
        does in does(), pattern in pattern(), limit in 1_u32..30,
    ) {
        let limit = limit * MS;
        let tower = virtually(async {
            through(TowerTimeoutLayer::new(limit), does, |s, l| observe(s, l, pattern)).await
        });
        let attempt = virtually(async {
            through(AttemptTimeoutLayer::new(limit), does, |s, l| observe(s, l, pattern)).await
        });
        let call = virtually(async {
            through(TimeoutLayer::new(limit), does, |s, l| observe(s, l, pattern)).await
        });
        prop_assert_eq!(&tower, &attempt, "one attempt");
        // It tells in the call that readiness failed, and so after the pause between the two.
        if !matches!((does, pattern), (Does::FailReadiness, Pattern::Dawdles(_))) {
            prop_assert_eq!(&tower, &call, "the whole call");
        }
    }
}

/// Neither does a call hang, nor is one made of a second service after the first was never ready.
fn ends((does, pattern): &(Does, Pattern)) -> bool {
    match pattern {
        Pattern::GivesUp(_) => true,
        Pattern::Together | Pattern::Twice => !matches!(does, Does::Hang | Does::FailReadiness),
        Pattern::Once | Pattern::Dawdles(_) => !matches!(does, Does::Hang),
    }
}

proptest! {
    #[test]
    fn a_limit_on_calls_in_flight_that_holds_back_readiness_does_what_towers_does(
        (does, pattern) in (does(), pattern()).prop_filter("what never ends has no limit here", ends),
        limit in 1_usize..4,
    ) {
        let tower = TowerConcurrencyLimitLayer::new(limit);
        let ours = ConcurrencyLimitLayer::new(limit).expect("more than none");
        let ours = ours.admission(Admission::Backpressure).plain();
        let by_tower = virtually(async { through(tower, does, |s, l| observe(s, l, pattern)).await });
        let by_us = virtually(async { through(ours, does, |s, l| observe(s, l, pattern)).await });
        prop_assert_eq!(by_tower, by_us);
    }
}

/// A service that is ready after five seconds and answers three seconds later.
fn slow_to_be_ready() -> Scripted<String, String> {
    let second = 1_000 * MS;
    Scripted::script(move |_, _| Step::AnswerAfter(3 * second, "answer".to_owned()))
        .stall_ready(1, 5 * second)
}

#[test]
fn readiness_counts_which_it_does_not_with_tower() {
    let limit = 6_000 * MS;
    let tower = TowerTimeoutLayer::new(limit);
    let (by_tower, by_attempt, by_call) = (
        virtually(async { once(&mut tower.layer(slow_to_be_ready()), Duration::ZERO).await }),
        virtually(async {
            once(&mut AttemptTimeoutLayer::new(limit).layer(slow_to_be_ready()), Duration::ZERO).await
        }),
        virtually(async {
            once(&mut TimeoutLayer::new(limit).layer(slow_to_be_ready()), Duration::ZERO).await
        }),
    );
    assert_eq!(by_tower, (Ended::Answer("answer".to_owned()), 8_000 * MS), "the wait is not limited");
    assert_eq!(by_attempt, (Ended::Timeout, limit));
    assert_eq!(by_call, (Ended::Timeout, limit));
}

#[test]
fn a_wait_for_readiness_that_ran_out_says_so_and_sends_nothing() {
    virtually(async {
        let bottom = slow_to_be_ready();
        let (seen, limit) = (bottom.seen(), 2_000 * MS);
        let by_attempt =
            AttemptTimeoutLayer::new(limit).layer(bottom.clone()).oneshot("request".to_owned()).await;
        let by_call = TimeoutLayer::new(limit).layer(bottom).oneshot("request".to_owned()).await;
        for error in [by_attempt.unwrap_err(), by_call.unwrap_err()] {
            assert_eq!(error.cause::<Elapsed>().map(Elapsed::phase), Some(Phase::Readiness));
            assert_eq!(error.delivery(), Delivery::NotSent);
        }
        assert_eq!(seen.count(), 0);
    });
}

#[test]
fn the_limit_on_the_whole_call_is_always_ready_and_tells_in_the_call_that_readiness_failed() {
    virtually(async {
        let pending = |result: std::task::Poll<_>| result.is_pending();
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let limit = 1_000 * MS;
        assert!(pending(
            TowerTimeoutLayer::new(limit).layer(slow_to_be_ready()).poll_ready(&mut cx).map(drop)
        ));
        let mut attempt = AttemptTimeoutLayer::new(limit).layer(slow_to_be_ready());
        assert!(pending(attempt.poll_ready(&mut cx).map(drop)));
        let mut call = TimeoutLayer::new(limit).layer(slow_to_be_ready());
        assert!(!pending(call.poll_ready(&mut cx).map(drop)));

        let mut call = TimeoutLayer::new(limit).layer(bottom(Does::FailReadiness));
        let error = call.ready().await.expect("always ready").call("request".to_owned()).await.unwrap_err();
        assert_eq!(ended(Err(error)), Ended::Error("broken".to_owned()));
    });
}

#[test]
fn a_limit_of_nothing_begins_nothing_where_tower_lets_an_immediate_answer_pass() {
    let none = Duration::ZERO;
    let run = |observation: Observation| (observation.ended[0].0.clone(), observation.calls);
    let does = Does::Answer(0);
    let tower = virtually(async {
        through(TowerTimeoutLayer::new(none), does, |s, l| observe(s, l, Pattern::Once)).await
    });
    let attempt = virtually(async {
        through(AttemptTimeoutLayer::new(none), does, |s, l| observe(s, l, Pattern::Once)).await
    });
    let call = virtually(async {
        through(TimeoutLayer::new(none), does, |s, l| observe(s, l, Pattern::Once)).await
    });
    assert_eq!(run(tower), (Ended::Answer("answer".to_owned()), 1));
    assert_eq!(run(attempt), (Ended::Timeout, 0));
    assert_eq!(run(call), (Ended::Timeout, 0));
}

type HttpRequest = Request<Full<Bytes>>;
type HttpResponse = Response<Full<Bytes>>;

/// What one needs to write for tower's retry to do what ours does, pauses and budget left out.
#[derive(Clone)]
struct Fixed {
    left: u32,
}

impl Policy<HttpRequest, HttpResponse, BoxError> for Fixed {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut HttpRequest,
        result: &mut Result<HttpResponse, BoxError>,
    ) -> Option<Ready<()>> {
        let failed = match result {
            Ok(response) if response.status() == StatusCode::NOT_IMPLEMENTED => false,
            Ok(response) if response.status() == StatusCode::TOO_MANY_REQUESTS => true,
            Ok(response) => response.status().is_server_error(),
            Err(_) => true,
        };
        let again = failed && request.method().is_idempotent() && self.left > 0;
        self.left -= u32::from(again);
        again.then(|| ready(()))
    }

    fn clone_request(&mut self, request: &HttpRequest) -> Option<HttpRequest> {
        Some(request.clone())
    }
}

#[derive(Clone, Copy, Debug)]
struct NoPause;

impl Schedule for NoPause {
    fn start(&self) -> Box<dyn Delays> {
        Box::new(Self)
    }
}

impl Delays for NoPause {
    fn next(&mut self, _: &Rng) -> Option<Duration> {
        Some(Duration::ZERO)
    }
}

/// A status, or an error.
type Fate = Option<u16>;

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let statuses = vec![200, 204, 304, 400, 404, 408, 409, 413, 429, 500, 501, 502, 503, 504];
    prop::collection::vec(prop::option::weighted(0.8, prop::sample::select(statuses)), 6)
}

/// Status or error, calls, polls of readiness, and what was sent.
type Repeated = (Result<StatusCode, String>, u64, u64, Vec<(Method, Bytes)>);

async fn repeat<S>(
    fates: &[Fate],
    method: &Method,
    wrap: impl FnOnce(Strict<Scripted<HttpRequest, HttpResponse>>) -> S,
) -> Repeated
where
    S: Service<HttpRequest, Response = HttpResponse, Error: Into<BoxError> + Debug> + Clone,
{
    let fates = fates.to_vec();
    let bottom = Scripted::script(move |call, _| match fates[(call - 1) % fates.len()] {
        Some(status) => {
            Step::Answer(Response::builder().status(status).body(Full::default()).expect("a response"))
        }
        None => Step::fail("broken"),
    });
    let (seen, strict) = (bottom.seen(), Strict::new(bottom).pending_first(1));
    let ledger = strict.ledger();
    let request = Request::builder().method(method).body(Full::from("content")).expect("a request");
    let result = match wrap(strict).oneshot(request).await {
        Ok(response) => Ok(response.status()),
        Err(error) => match ended(Err::<String, _>(error)) {
            Ended::Error(text) => Err(text),
            other => Err(format!("{other:?}")),
        },
    };
    let mut sent = Vec::new();
    for request in seen.take() {
        let (head, body) = request.into_parts();
        let body = http_body_util::BodyExt::collect(body).await.expect("never fails").to_bytes();
        sent.push((head.method, body));
    }
    ledger.assert_settled();
    (result, ledger.calls(), ledger.polls(), sent)
}

proptest! {
    #[test]
    fn retry_without_pauses_and_budget_sends_and_returns_what_towers_retry_does(
        fates in fates(),
        attempts in 1_u32..6,
        method in prop::sample::select(vec![Method::GET, Method::PUT, Method::DELETE, Method::POST, Method::PATCH]),
    ) {
        let ours = RetryLayer::from(RetrySettings::new().attempts(attempts)).schedule(NoPause).without_budget();
        let by_tower =
            virtually(repeat(&fates, &method, |inner| Retry::new(Fixed { left: attempts - 1 }, inner)));
        let by_us = virtually(repeat(&fates, &method, |inner| ours.layer(inner)));
        prop_assert_eq!(by_tower, by_us);
    }
}

#[test]
fn too_early_is_repeated_once_for_any_method_where_towers_policy_has_to_be_told() {
    let fates = [Some(425), Some(200)];
    let layer = RetryLayer::new();
    let by_us = virtually(repeat(&fates, &Method::POST, |inner| layer.layer(inner)));
    let by_tower = virtually(repeat(&fates, &Method::POST, |inner| Retry::new(Fixed { left: 2 }, inner)));
    assert_eq!((by_us.0, by_us.1), (Ok(StatusCode::OK), 2));
    assert_eq!((by_tower.0, by_tower.1), (Ok(StatusCode::TOO_EARLY), 1));
}
