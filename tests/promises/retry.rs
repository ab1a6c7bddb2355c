use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use stonework::Body;
use stonework::base::body::ReplayBody;
use stonework::base::{
    Attempts, Backoff, BoxError, Budget, BudgetSettings, Call, Classify, ClassifyHttp, Delivery, Ending,
    Error, Event, Jitter, KeyFormat, Kind, Outcome, Ratio, Rng, Skip, WallClock,
};
use stonework::retry::{Policy, RetryLayer, RetrySettings, retry};
use stonework::testing::{Recorder, Step};
use stonework::timeout::TimeoutLayer;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{
    Backend, Content, Counted, SECOND, answer, answered, delays, request, skips, timed, with_header,
};

fn broken(delivery: Delivery) -> Step<Response<Content>, stonework::base::BoxError> {
    Step::fail(Error::new(Kind::Transport, "the line is dead").with_delivery(delivery))
}

fn busy(retry_after: &str) -> Step<Response<Content>, stonework::base::BoxError> {
    Step::Answer(with_header(answer(503), "retry-after", retry_after))
}

fn watched() -> (RetryLayer, Recorder) {
    let events = Recorder::new();
    (RetryLayer::new().observer(events.clone()), events)
}

#[tokio::test(start_paused = true)]
async fn a_post_without_a_key_is_never_repeated_once_it_may_have_been_received() {
    for step in [broken(Delivery::Unknown), answered(500), answered(503), answered(429), busy("0")] {
        for method in [Method::POST, Method::PATCH] {
            let mut step = Some(match &step {
                Step::Answer(response) => Step::Answer(response.clone()),
                _ => broken(Delivery::Unknown),
            });
            let backend = Backend::script(move |_, _| step.take().unwrap_or_else(|| answered(200)));
            let seen = backend.seen();
            let (layer, events) = watched();
            let _ = layer.layer(backend).oneshot(request(method)).await;
            assert_eq!(seen.count(), 1);
            assert_eq!(skips(&events), [Skip::Unsafe]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_post_that_never_left_or_was_refused_unprocessed_is_sent_again() {
    for step in [broken(Delivery::NotSent), broken(Delivery::Refused), answered(425)] {
        let backend = Backend::steps([step, answered(200)]);
        let seen = backend.seen();
        let (layer, events) = watched();
        let (response, took) = timed(layer.layer(backend).oneshot(request(Method::POST))).await;
        assert_eq!(response.unwrap().status(), 200);
        assert_eq!(took, Duration::ZERO, "such a replay waits for nothing");
        assert_eq!((seen.count(), skips(&events)), (2, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn no_replay_comes_before_the_retry_after_of_the_server_not_even_a_harmless_one() {
    let early = || Step::Answer(with_header(answer(425), "retry-after", "5"));
    let (result, took) = timed(
        RetryLayer::new().layer(Backend::steps([early(), answered(200)])).oneshot(request(Method::POST)),
    )
    .await;
    assert_eq!(result.unwrap().status(), 200);
    assert!(took >= 5 * SECOND, "{took:?}");

    let (layer, events) = watched();
    let backend = Backend::script(move |_, _| early());
    let seen = backend.seen();
    layer.layer(backend).oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((seen.count(), skips(&events)), (3, vec![Skip::Attempts]), "it counts as any other");
}

#[tokio::test(start_paused = true)]
async fn only_one_replay_is_immediate_and_the_rest_wait_and_count() {
    let backend = Backend::script(|_, _| broken(Delivery::NotSent));
    let (layer, events) = watched();
    let error = layer.layer(backend).oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!(delays(&events)[0], Duration::ZERO);
    assert_eq!(delays(&events).len(), 3, "one for free and two that count");
    assert_eq!((error.attempts(), error.delivery()), (4, Delivery::NotSent));
    assert_eq!(skips(&events), [Skip::Attempts]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_cannot_be_made_is_tried_again_after_a_pause() {
    let refused = || Step::fail(Error::new(Kind::Connect, "refused"));
    let backend = Backend::steps([refused(), answered(200)]);
    let (layer, events) = watched();
    let layer = layer.rng(Rng::seeded(1));
    assert!(layer.layer(backend).oneshot(request(Method::POST)).await.is_ok());
    assert!(delays(&events)[0] > Duration::ZERO, "no storm of connects");
}

#[tokio::test(start_paused = true)]
async fn a_key_makes_a_post_repeatable_and_stays_the_same_byte_for_byte() {
    for key in ["\"8e03978e-40d5\"", "bare~key", "x"] {
        let backend = Backend::steps([broken(Delivery::Unknown), answered(500), answered(200)]);
        let seen = backend.seen();
        let mut keyed = request(Method::POST);
        keyed.headers_mut().insert("idempotency-key", key.parse().unwrap());
        assert_eq!(RetryLayer::new().layer(backend).oneshot(keyed).await.unwrap().status(), 200);
        let keys: Vec<_> =
            seen.take().iter().map(|request| request.headers()["idempotency-key"].clone()).collect();
        assert_eq!(keys, [key; 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_or_doubled_key_protects_nothing_and_the_request_still_goes_out_once() {
    let too_long = "k".repeat(256);
    for keys in [vec![""], vec!["with space"], vec![too_long.as_str()], vec!["one", "two"]] {
        let backend = Backend::script(|_, _| broken(Delivery::Unknown));
        let seen = backend.seen();
        let mut odd = request(Method::POST);
        for key in &keys {
            odd.headers_mut().append("idempotency-key", key.parse().unwrap());
        }
        RetryLayer::new().layer(backend).oneshot(odd).await.unwrap_err();
        let sent = seen.take();
        assert_eq!(sent.len(), 1);
        let values: Vec<_> = sent[0].headers().get_all("idempotency-key").iter().collect();
        assert_eq!(values, keys, "what the caller wrote is sent as it is");
    }
}

#[tokio::test(start_paused = true)]
async fn a_generated_key_is_quoted_by_default_bare_by_setting_and_new_for_each_call() {
    let mut all = Vec::new();
    for (format, quoted) in [(KeyFormat::Quoted, true), (KeyFormat::Bare, false)] {
        for _ in 0..2 {
            let backend = Backend::steps([broken(Delivery::Unknown), answered(200)]);
            let seen = backend.seen();
            let layer = RetryLayer::from(RetrySettings::new().key_format(format));
            let mut post = request(Method::POST);
            Call::edit(post.extensions_mut(), Call::keyed);
            layer.layer(backend).oneshot(post).await.unwrap();
            let keys: Vec<_> = seen
                .take()
                .iter()
                .map(|sent| sent.headers()["idempotency-key"].to_str().unwrap().to_owned())
                .collect();
            assert_eq!(keys[0], keys[1], "stable across attempts");
            assert_eq!(keys[0].starts_with('"') && keys[0].ends_with('"'), quoted);
            all.extend(keys.into_iter().take(1));
        }
    }
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}

#[tokio::test(start_paused = true)]
async fn every_idempotent_method_is_repeated_and_no_other() {
    for (method, times) in [
        (Method::GET, 3),
        (Method::HEAD, 3),
        (Method::OPTIONS, 3),
        (Method::TRACE, 3),
        (Method::PUT, 3),
        (Method::DELETE, 3),
        (Method::POST, 1),
        (Method::PATCH, 1),
        (Method::CONNECT, 1),
        (Method::from_bytes(b"BREW").unwrap(), 1),
    ] {
        let backend = Backend::script(|_, _| answered(500));
        let seen = backend.seen();
        RetryLayer::new().layer(backend).oneshot(request(method.clone())).await.unwrap();
        assert_eq!(seen.count(), times, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_request_may_ask_for_less_or_dangerously_for_more() {
    let count = async |edit: fn(Call) -> Call, method| {
        let backend = Backend::script(|_, _| answered(500));
        let seen = backend.seen();
        let mut edited = request(method);
        Call::edit(edited.extensions_mut(), edit);
        RetryLayer::new().layer(backend).oneshot(edited).await.unwrap();
        seen.count()
    };
    assert_eq!(count(Call::never_retry, Method::GET).await, 1);
    assert_eq!(count(|call| call.attempts(2), Method::GET).await, 2);
    assert_eq!(
        count(|call| call.attempts(99), Method::GET).await,
        3,
        "it cannot raise what the layer allows"
    );
    assert_eq!(count(Call::dangerously_assume_idempotent, Method::POST).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_wants_one_attempt_gets_one_whatever_happens_and_the_events_say_it_was_asked() {
    for step in [answered(503), answered(425), broken(Delivery::NotSent), broken(Delivery::Unknown)] {
        let backend = Backend::steps([step, answered(200)]);
        let seen = backend.seen();
        let (layer, events) = watched();
        let mut once = request(Method::POST);
        Call::edit(once.extensions_mut(), Call::never_retry);
        let _ = layer.layer(backend).oneshot(once).await;
        assert_eq!((seen.count(), skips(&events)), (1, vec![Skip::Never]));
    }
}

#[tokio::test(start_paused = true)]
async fn the_attempt_number_is_readable_below_and_attempt_one_inserts_nothing() {
    let backend = Backend::script(|_, _| answered(500));
    let seen = backend.seen();
    RetryLayer::new().layer(backend).oneshot(request(Method::GET)).await.unwrap();
    let sent = seen.take();
    assert!(sent[0].extensions().is_empty());
    let attempts: Vec<_> = sent.iter().map(|request| Call::of(request.extensions()).attempt()).collect();
    assert_eq!(attempts, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_response_says_how_many_attempts_there_were_if_there_were_several_or_it_was_asked() {
    for (first, asks, told) in [(200, false, None), (200, true, Some(1)), (503, false, Some(2))] {
        let mut outgoing = request(Method::GET);
        if asks {
            Call::edit(outgoing.extensions_mut(), Call::tell_attempts);
        }
        let backend = Backend::steps([answered(first), answered(200)]);
        let response = watched().0.layer(backend).oneshot(outgoing).await.unwrap();
        assert_eq!(Attempts::of(response.extensions()), told, "{first}, {asks}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_under_way_shows_how_many_attempts_it_has_made() {
    let mut service = RetryLayer::new().layer(Backend::steps([answered(503), Step::Hang]));
    let mut call = Box::pin(service.ready().await.unwrap().call(request(Method::GET)));
    assert!(format!("{call:?}").contains("attempts: 1"), "{call:?}");
    assert!(tokio::time::timeout(60 * SECOND, &mut call).await.is_err());
    assert!(format!("{call:?}").contains("attempts: 2"), "{call:?}");
}

#[tokio::test(start_paused = true)]
async fn the_last_answer_is_returned_as_it_came() {
    let backend = Backend::steps([answered(500), broken(Delivery::Unknown), busy("0")]);
    let response = RetryLayer::new().layer(backend).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(
        (response.status(), response.headers()["retry-after"].as_bytes()),
        (StatusCode::SERVICE_UNAVAILABLE, &b"0"[..])
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_tells_how_many_attempts_were_made_and_the_furthest_any_of_them_got() {
    let refused = || Step::fail(Error::new(Kind::Connect, "refused"));
    let backend = Backend::steps([broken(Delivery::Unknown), refused(), refused()]);
    let error = RetryLayer::new().layer(backend).oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts(), error.delivery()), (Kind::Connect, 3, Delivery::Unknown));
}

#[tokio::test(start_paused = true)]
async fn retry_after_in_seconds_is_waited_for_and_jittered_upwards_only() {
    for _ in 0..20 {
        let backend = Backend::steps([busy("7"), answered(200)]);
        let (result, took) = timed(RetryLayer::new().layer(backend).oneshot(request(Method::GET))).await;
        assert_eq!(result.unwrap().status(), 200);
        let jitter = Duration::from_millis(100);
        // Tokio's timer counts milliseconds, and rounds up.
        assert!((7 * SECOND..=7 * SECOND + jitter + Duration::from_millis(1)).contains(&took), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_as_a_date_is_waited_for_in_all_three_forms() {
    // Sun, 06 Nov 1994 08:49:37 GMT is 784 111 777 s after the epoch.
    let wall = WallClock::fixed_at(SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777 - 7));
    for date in
        ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
    {
        let backend = Backend::steps([busy(date), answered(200)]);
        let wall = wall.clone();
        let start = wall.now();
        let layer = RetryLayer::new().wall_clock(wall.clone());
        assert_eq!(layer.layer(backend).oneshot(request(Method::GET)).await.unwrap().status(), 200);
        let waited = wall.now().duration_since(start).unwrap();
        // The first date is 7 s ahead; when the others are read it has passed, and they wait for the jitter alone.
        let ahead = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let asked = ahead.duration_since(start).unwrap_or_default();
        assert!(waited >= asked && waited <= asked + Duration::from_millis(101), "{date}: {waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_ceiling_fails_at_once_and_says_how_long() {
    let (layer, events) = watched();
    let backend = Backend::steps([busy("3600")]);
    let (result, took) = timed(layer.layer(backend).oneshot(request(Method::GET))).await;
    let response = result.unwrap();
    assert_eq!((took, response.headers()["retry-after"].as_bytes()), (Duration::ZERO, &b"3600"[..]));
    assert_eq!(skips(&events), [Skip::RetryAfter]);

    let (layer, events) = watched();
    let full = Error::new(Kind::Overload, "full").with_retry_after(Duration::from_secs(3600));
    let error =
        layer.layer(Backend::steps([Step::fail(full)])).oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!(
        (error.retry_after(), skips(&events)),
        (Some(Duration::from_secs(3600)), vec![Skip::RetryAfter])
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_that_makes_no_sense_falls_back_to_the_backoff() {
    for garbage in ["", "soon", "-1", "1.5", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"]
    {
        let backend = Backend::steps([busy(garbage), answered(200)]);
        let (result, took) = timed(RetryLayer::new().layer(backend).oneshot(request(Method::GET))).await;
        assert_eq!(result.unwrap().status(), 200);
        assert!(took <= Duration::from_millis(101), "{garbage}: {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn grpc_pushback_is_obeyed() {
    let pushback = |value: &str| Step::Answer(with_header(answer(503), "grpc-retry-pushback-ms", value));
    let (layer, events) = watched();
    let stopped = Backend::steps([pushback("-1")]);
    layer.layer(stopped).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(skips(&events), [Skip::Pushback]);

    // After it, the pauses grow from the start again (gRFC A6).
    let doubling = Backoff::exponential(SECOND, 100 * SECOND).unwrap().jitter(Jitter::None);
    let (layer, events) =
        (RetryLayer::from(RetrySettings::new().attempts(5).backoff(doubling)), Recorder::new());
    let told = Backend::steps([answered(503), answered(503), pushback("5000"), answered(503), answered(200)]);
    layer.observer(events.clone()).layer(told).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(delays(&events), [1, 2, 5 + 1, 1].map(Duration::from_secs));

    let delayed = Backend::steps([pushback("2000"), answered(200)]);
    let (result, took) = timed(RetryLayer::new().layer(delayed).oneshot(request(Method::GET))).await;
    assert!(result.unwrap().status() == 200 && took >= 2 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn clients_that_fail_together_do_not_come_back_together() {
    let settings = RetrySettings::new()
        .backoff(Backoff::exponential(10 * SECOND, 10 * SECOND).unwrap())
        .without_budget();
    let (layer, events) = (RetryLayer::from(settings), Recorder::new());
    let layer = layer.observer(events.clone());
    let backend = Backend::script(|_, _| answered(500));
    let service = layer.layer(backend);
    for _ in 0..1_000 {
        let mut once = request(Method::GET);
        Call::edit(once.extensions_mut(), |call| call.attempts(2));
        service.clone().oneshot(once).await.unwrap();
    }
    let mut first: Vec<_> = delays(&events);
    assert_eq!(first.len(), 1_000);
    first.sort();
    first.dedup();
    assert!(first.len() > 990, "{} distinct delays", first.len());
    let early = first.iter().filter(|delay| **delay < 5 * SECOND).count();
    assert!((400..600).contains(&early), "{early} of 1000 in the first half of the window");
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_no_more_than_the_budget() {
    let settings = BudgetSettings::default().reserve(10).floor_per_second(1).ratio(Ratio::percent(10));
    let layer = RetryLayer::new().budget(Budget::new(settings));
    let events = Recorder::new();
    let layer = layer.observer(events.clone());
    let backend = Backend::script(|_, _| answered(500));
    let seen = backend.seen();
    let calls: Vec<_> =
        (0..1_000).map(|_| layer.layer(backend.clone()).oneshot(request(Method::GET))).collect();
    let (answers, took) = timed(futures_util::future::join_all(calls)).await;
    assert!(
        answers.iter().all(|answer| answer.as_ref().unwrap().status() == 500),
        "the last answer is returned"
    );
    let retries = seen.count() - 1_000;
    let allowed = 10 + took.as_secs() as usize + 1 + 100;
    assert!(retries > 50 && retries <= allowed, "{retries} retries, {allowed} allowed");
    assert!(skips(&events).contains(&Skip::Budget));
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_all_attempts_are_made() {
    let backend = Backend::script(|_, _| answered(500));
    let seen = backend.seen();
    let service = RetryLayer::new().without_budget().layer(backend);
    for _ in 0..100 {
        service.clone().oneshot(request(Method::GET)).await.unwrap();
    }
    assert_eq!(seen.count(), 300, "this is what the budget is for");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_cancelled_in_its_pause_goes_back_to_the_budget() {
    let budget = Budget::new(BudgetSettings::default().reserve(1).floor_per_second(0).ratio(Ratio::ZERO));
    let backend = Backend::script(|_, _| busy("30"));
    let layer = RetryLayer::new().budget(budget.clone());
    for _ in 0..3 {
        let call = layer.layer(backend.clone()).oneshot(request(Method::GET));
        assert!(tokio::time::timeout(SECOND, call).await.is_err(), "it waits, so the budget had one to give");
    }
    assert_eq!(budget.stats().refunded, 3);
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_is_cancelled_once_it_was_sent_has_cost_what_it_costs() {
    let budget = Budget::new(BudgetSettings::default().reserve(1).floor_per_second(0).ratio(Ratio::ZERO));
    let backend = Backend::steps([answered(503), Step::Hang]);
    let call = RetryLayer::new().budget(budget.clone()).layer(backend).oneshot(request(Method::GET));
    assert!(tokio::time::timeout(60 * SECOND, call).await.is_err());
    let stats = budget.stats();
    assert_eq!((stats.granted, stats.refunded), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_one_budget() {
    let layer = RetryLayer::from(
        RetrySettings::new()
            .budget(BudgetSettings::default().reserve(3).floor_per_second(0).ratio(Ratio::ZERO)),
    );
    let backend = Backend::script(|_, _| answered(500));
    let seen = backend.seen();
    for _ in 0..5 {
        layer.clone().layer(backend.clone()).oneshot(request(Method::GET)).await.unwrap();
    }
    assert_eq!(seen.count(), 5 + 3);
}

#[tokio::test(start_paused = true)]
async fn of_retries_in_one_stack_that_share_a_budget_only_the_outermost_fills_it() {
    let budget = Budget::new(BudgetSettings::default().reserve(10).floor_per_second(0));
    let now = tokio::time::Instant::now();
    budget.try_withdraw(now, 5).expect("there are ten").spend();
    let before = budget.available(now);
    let layer = RetryLayer::new().budget(budget.clone());
    let service = layer.layer(layer.layer(Backend::script(|_, _| answered(200))));
    for _ in 0..10 {
        service.clone().oneshot(request(Method::GET)).await.unwrap();
    }
    let earned = budget.available(now) - before;
    assert!((earned - 1.0).abs() < 1e-6, "a tenth for each: {earned}");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_again_is_an_attempt_that_failed() {
    let backend = Backend::steps([answered(500), answered(200)]).fail_ready(2, "not now".into());
    let seen = backend.seen();
    let (layer, events) = watched();
    let response = layer.layer(backend).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((response.status().as_u16(), seen.count()), (200, 2));
    assert_eq!(delays(&events).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_not_repeated_clones_no_service_and_each_further_attempt_one() {
    let failures = [answered(200), answered(200), answered(503), answered(503), answered(200), answered(200)];
    let (inner, clones) = Counted::of(Backend::steps(failures));
    let mut service = RetryLayer::new().layer(inner);
    let mut after = Vec::new();
    for _ in 0..3 {
        service.ready().await.unwrap().call(request(Method::GET)).await.unwrap();
        after.push(clones.load(Relaxed));
    }
    // The first call keeps one, of which the two attempts of the third call are made with clones.
    assert_eq!(after, [1, 1, 3]);
    // It is kept for all clones of the service.
    service.clone().oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(clones.load(Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn an_own_classifier_decides_and_the_answer_stays_as_it_was() {
    let in_band = |result: Result<&Response<Content>, &Error>| match result {
        Ok(response) if response.headers().contains_key("x-error") => Outcome::Failure,
        other => ClassifyHttp.classify(other),
    };
    let backend = Backend::script(|_, _| Step::Answer(with_header(answer(200), "x-error", "quota")));
    let seen = backend.seen();
    let response =
        RetryLayer::new().classify(in_band).layer(backend).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((seen.count(), response.status().as_u16()), (3, 200));
    assert_eq!(response.headers()["x-error"], "quota");
}

fn streamed(
    frames: Vec<Bytes>,
) -> Request<ReplayBody<impl http_body::Body<Data = Bytes, Error = std::io::Error>>> {
    let frames = futures_util::stream::iter(frames.into_iter().map(|data| Ok(Frame::data(data))));
    Request::put("/").body(ReplayBody::new(StreamBody::new(frames))).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_body_within_the_cap_is_sent_again_and_one_beyond_it_is_sent_once_and_is_no_error() {
    let cap = 64 * 1024;
    for (size, times) in [(0, 3), (1, 3), (cap, 3), (cap + 1, 1), (10 * cap, 1)] {
        let frames: Vec<_> = vec![7u8; size].chunks(1_000).map(Bytes::copy_from_slice).collect();
        let received = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&received);
        let backend = tower::service_fn(move |request: Request<ReplayBody<_>>| {
            let log = Arc::clone(&log);
            async move {
                let body: http_body_util::Collected<Bytes> = request.into_body().collect().await.unwrap();
                log.lock().unwrap().push(body.to_bytes());
                Ok::<_, std::io::Error>(answer(503))
            }
        });
        let (layer, events) = watched();
        let response = layer.layer(backend).oneshot(streamed(frames)).await.expect("never an error");
        assert_eq!(response.status(), 503);
        let received = received.lock().unwrap();
        assert_eq!(received.len(), times, "{size} bytes");
        assert!(received.iter().all(|bytes| bytes.len() == size && bytes.iter().all(|byte| *byte == 7)));
        assert_eq!(skips(&events), [if times == 1 { Skip::Body } else { Skip::Attempts }]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_still_reading_the_body_cannot_spoil_the_next_one() {
    // The server answers 503 after the first frame, and something goes on reading the rest, past the cap, during the
    // pause: hyper's connection task does that.
    let frames: Vec<_> = (0..100).map(|_| Bytes::from(vec![1u8; 1_000])).collect();
    let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = Arc::clone(&sizes);
    let backend = tower::service_fn(move |request: Request<ReplayBody<_>>| {
        let log = Arc::clone(&log);
        async move {
            let mut body = request.into_body();
            if log.lock().unwrap().is_empty() {
                log.lock().unwrap().push(1_000);
                body.frame().await.unwrap().unwrap();
                let rest = BodyExt::collect(body);
                tokio::spawn(async move {
                    rest.await.map(|rest: http_body_util::Collected<Bytes>| rest.to_bytes().len())
                });
                return Ok::<_, std::io::Error>(answer(503));
            }
            let body: http_body_util::Collected<Bytes> = body.collect().await.unwrap();
            log.lock().unwrap().push(body.to_bytes().len());
            Ok(answer(200))
        }
    });
    let frames_sent = streamed(frames);
    let response = RetryLayer::new().layer(backend).oneshot(frames_sent).await.expect("no error");
    assert_eq!(response.status(), 200);
    assert_eq!(*sizes.lock().unwrap(), [1_000, 100_000]);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_to_read_the_body_after_it_failed_cannot_spoil_the_next_one() {
    // Nothing of the body was sent when the answer came: HTTP/2 had no window for it.
    let frames: Vec<_> = (0..100).map(|_| Bytes::from(vec![1u8; 1_000])).collect();
    for nested in [false, true] {
        let sizes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let log = Arc::clone(&sizes);
        let backend = tower::service_fn(move |request: Request<ReplayBody<_>>| {
            let log = Arc::clone(&log);
            async move {
                let body = request.into_body();
                if log.lock().unwrap().is_empty() {
                    log.lock().unwrap().push(0);
                    let rest = BodyExt::collect(body);
                    tokio::spawn(async move {
                        tokio::task::yield_now().await;
                        rest.await.map(|rest: http_body_util::Collected<Bytes>| rest.to_bytes().len())
                    });
                    return Ok::<_, std::io::Error>(answer(503));
                }
                let body: http_body_util::Collected<Bytes> = body.collect().await.unwrap();
                log.lock().unwrap().push(body.to_bytes().len());
                Ok(answer(200))
            }
        });
        let sent = streamed(frames.clone());
        let response = if nested {
            RetryLayer::new().layer(RetryLayer::new().layer(backend)).oneshot(sent).await
        } else {
            RetryLayer::new().layer(backend).oneshot(sent).await
        };
        assert_eq!(response.expect("no error").status(), 200);
        assert_eq!(*sizes.lock().unwrap(), [0, 100_000]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_came_back_unsent_is_sent_again_without_a_copy() {
    // A body known to be beyond the cap, so that there is no copy: only the request itself can go out again.
    let large = Request::put("/").body(Content::from(vec![1u8; 100_000])).unwrap();
    let backend = Backend::steps([Step::fail("not this time")]);
    let seen = backend.seen();
    // Hands the first request back, as a transport does that could not connect.
    let mut first = true;
    let handing_back = tower::service_fn(move |request: Request<Content>| {
        let first = std::mem::replace(&mut first, false);
        let backend = backend.clone();
        async move {
            if first {
                return Err(Error::new(Kind::Connect, "refused").with_request(request));
            }
            backend.oneshot(request).await.map_err(Error::wrap)
        }
    });
    let shared = tower::buffer::Buffer::new(handing_back, 1);
    let (layer, events) = watched();
    let error = layer.layer(shared).oneshot(large).await.unwrap_err();
    // The second failure did not hand it back, so that is the end.
    assert_eq!((error.attempts(), error.delivery()), (2, Delivery::Unknown));
    assert_eq!(skips(&events), [Skip::Body]);
    assert_eq!(seen.take()[0].body().clone().into_inner().unwrap().len(), 100_000);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_no_request_is_retried_by_the_same_rules() {
    let mut tries = 0;
    let failing = retry(
        || {
            tries += 1;
            async { Err::<(), _>("no") }
        },
        Policy::new().attempts(4),
    );
    assert_eq!(failing.await, Err("no"));
    assert_eq!(tries, 4);

    let policy = Policy::new()
        .attempts(9)
        .schedule(Backoff::constant(SECOND).unwrap().jitter(Jitter::None))
        .when(|error: &u32| *error < 3);
    let mut tries = 0;
    let picky = retry(
        || {
            tries += 1;
            let tries = tries;
            async move { Err::<(), u32>(tries) }
        },
        policy,
    );
    assert_eq!(timed(picky).await, (Err(3), 2 * SECOND));

    let mut tries = 0;
    let limited = stonework::Deadline::within(SECOND / 2).bound(retry(
        || {
            tries += 1;
            async { Err::<(), _>("no") }
        },
        Policy::new().schedule(Backoff::constant(SECOND).unwrap().jitter(Jitter::None)),
    ));
    assert_eq!(timed(limited).await, (Ok(Err("no")), Duration::ZERO));
    assert_eq!(tries, 1, "no pause begins that outlasts the deadline");
}

#[tokio::test(start_paused = true)]
async fn an_outer_retry_counts_the_attempts_of_one_that_it_could_not_see() {
    // Tower's buffer calls from a task of its own: the inner retry cannot know that it is inside another.
    let backend = Backend::script(|_, _| broken(Delivery::Unknown));
    let seen = backend.seen();
    let (outer, events) = watched();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(60 * SECOND))
        .layer(outer)
        .buffer(1)
        .layer(RetryLayer::from(RetrySettings::new().attempts(4)))
        .service(backend);
    let error = stack.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!((error.attempts(), seen.count()), (4, 4), "the outer one does not begin again");
    assert_eq!(told(&events), ["+1", "-1", "!1 Nested"]);
}

#[tokio::test(start_paused = true)]
async fn full_bodies_are_forwarded_unchanged() {
    let backend = tower::service_fn(|request: Request<Full<Bytes>>| async move {
        Ok::<_, std::convert::Infallible>(Response::new(request.into_body()))
    });
    let mut service = RetryLayer::new().layer(backend);
    let response = service.ready().await.unwrap().call(request(Method::POST)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "content");
}

/// What was told of each attempt, in order: `+1` started, `-1` ended, `~2` scheduled, `!1` skipped and why.
fn told(events: &Recorder) -> Vec<String> {
    let tell = |event: &Event| match event {
        Event::AttemptStarted { attempt, .. } => format!("+{attempt}"),
        Event::AttemptEnded { attempt, .. } => format!("-{attempt}"),
        Event::RetryScheduled { attempt, .. } => format!("~{attempt}"),
        Event::RetrySkipped { attempt, why, .. } => format!("!{attempt} {why:?}"),
        other => format!("{other:?}"),
    };
    events.events().iter().map(tell).collect()
}

#[tokio::test(start_paused = true)]
async fn an_attempt_or_a_wait_that_the_deadline_ends_is_told_to_the_end_and_why_nothing_follows() {
    let hangs = Backend::steps([Step::Hang]);
    let second_hangs = Backend::steps([answered(500), Step::Hang]);
    let second_never_ready = Backend::steps([answered(500), answered(200)]).stall_ready(2, 1_000 * SECOND);
    let unsafe_hangs = Backend::steps([Step::Hang]);
    for (backend, method, expected) in [
        (hangs, Method::GET, vec!["+1", "-1", "!1 Deadline"]),
        (second_hangs, Method::GET, vec!["+1", "-1", "~2", "+2", "-2", "!2 Deadline"]),
        (second_never_ready, Method::GET, vec!["+1", "-1", "~2", "!1 Deadline"]),
        (unsafe_hangs, Method::POST, vec!["+1", "-1", "!1 Unsafe"]),
    ] {
        let (layer, events) = watched();
        let stack = ServiceBuilder::new().layer(TimeoutLayer::new(3 * SECOND)).layer(layer).service(backend);
        let error = stack.oneshot(request(method)).await.unwrap_err();
        assert!(error.is_timeout());
        assert_eq!(told(&events), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_retries_in_one_stack_the_outer_one_acts() {
    let backend = Backend::script(|_, _| broken(Delivery::Unknown));
    let seen = backend.seen();
    let (outer, outer_events) = watched();
    let (inner, inner_events) = watched();
    let stack = ServiceBuilder::new().layer(outer).layer(inner).service(backend);
    let error = stack.oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!((error.attempts(), seen.count()), (3, 3));
    assert_eq!(told(&outer_events), ["+1", "-1", "~2", "+2", "-2", "~3", "+3", "-3", "!3 Attempts"]);
    assert_eq!(skips(&inner_events), [Skip::Nested; 3]);
}

#[tokio::test(start_paused = true)]
async fn no_further_attempt_begins_once_the_deadline_has_passed() {
    // The service becomes ready again just when the time is over.
    let again = Backend::steps([broken(Delivery::Refused), answered(200)]).stall_ready(2, 3 * SECOND);
    let seen_again = again.seen();
    let budget = Budget::default();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(3 * SECOND))
        .layer(RetryLayer::new().budget(budget.clone()))
        .service(again);
    let error = stack.oneshot(request(Method::POST)).await.unwrap_err();
    assert_eq!((seen_again.count(), error.delivery()), (1, Delivery::Refused));
    assert!(error.is_timeout());

    // A pause whose task is polled far too late: it is over, and so is the time.
    let late = Backend::steps([busy("1"), answered(200)]);
    let seen_late = late.seen();
    let events = Recorder::new();
    let layer = RetryLayer::new().budget(budget.clone()).observer(events.clone());
    let stack = ServiceBuilder::new().layer(TimeoutLayer::new(3 * SECOND)).layer(layer).service(late);
    let mut call = std::pin::pin!(stack.oneshot(request(Method::GET)));
    let mut poll = || call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(poll().is_pending());
    tokio::time::advance(10 * SECOND).await;
    let mut result = poll();
    if result.is_pending() {
        result = poll();
    }
    assert!(matches!(result, std::task::Poll::Ready(Err(error)) if error.is_timeout()));
    assert_eq!(seen_late.count(), 1);
    assert_eq!(told(&events), ["+1", "-1", "~2", "!1 Deadline"]);
    let stats = budget.stats();
    assert_eq!((stats.granted, stats.refunded), (1, 1), "what never began costs nothing");
}

#[tokio::test(start_paused = true)]
async fn a_layer_that_makes_one_attempt_makes_one_and_says_so() {
    for step in [answered(503), answered(425), broken(Delivery::NotSent), broken(Delivery::Unknown)] {
        let backend = Backend::steps([step, answered(200)]);
        let seen = backend.seen();
        let events = Recorder::new();
        let layer = RetryLayer::from(RetrySettings::new().attempts(1)).observer(events.clone());
        let _ = layer.layer(backend).oneshot(request(Method::GET)).await;
        assert_eq!((seen.count(), skips(&events)), (1, vec![Skip::Attempts]));
    }
    // Not even what came back unsent goes out again.
    let handing_back = tower::service_fn(|request: Request<Content>| async {
        Err::<Response<Content>, _>(Error::new(Kind::Transport, "closed").with_request(request))
    });
    let events = Recorder::new();
    let layer = RetryLayer::from(RetrySettings::new().attempts(1)).observer(events.clone());
    let mut error = layer.layer(handing_back).oneshot(request(Method::GET)).await.unwrap_err();
    assert_eq!((error.attempts(), skips(&events)), (1, vec![Skip::Attempts]));
    assert!(error.take_request::<Request<Content>>().is_some(), "it is the caller's again");
}

#[tokio::test(start_paused = true)]
async fn the_attempts_a_request_asks_for_hold_across_all_layers() {
    let backend = Backend::script(|_, _| answered(500));
    let seen = backend.seen();
    let stack = ServiceBuilder::new().layer(RetryLayer::new()).layer(RetryLayer::new()).service(backend);
    let mut twice = request(Method::GET);
    Call::edit(twice.extensions_mut(), |call| call.attempts(2));
    stack.oneshot(twice).await.unwrap();
    assert_eq!(seen.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_is_the_callers_again_when_all_attempts_are_used() {
    for attempts in [None, Some(2)] {
        let handing_back = tower::service_fn(|request: Request<Content>| async {
            Err::<Response<Content>, _>(Error::new(Kind::Connect, "refused").with_request(request))
        });
        let large = Content::from(vec![1u8; 100_000]);
        for (content, is_copied) in [(Content::from("small"), true), (large, false)] {
            let mut request = Request::post("/").header("stonework-attempt", "4").body(content).unwrap();
            if let Some(attempts) = attempts {
                Call::edit(request.extensions_mut(), |call| call.attempts(attempts));
            }
            let mut error = RetryLayer::new().layer(handing_back).oneshot(request.clone()).await.unwrap_err();
            assert_eq!((error.attempts(), error.delivery()), (attempts.unwrap_or(3), Delivery::NotSent));
            let returned = error.take_request::<Request<Content>>().expect("it comes back");
            assert_eq!(returned.body().clone().into_inner(), request.body().clone().into_inner());
            // Its caller's own, where there is a copy as it was.
            assert_eq!(returned.headers().contains_key("stonework-attempt"), is_copied);
            let returned = RetryLayer::new().layer(handing_back).oneshot(returned).await.unwrap_err();
            assert_eq!(returned.attempts(), attempts.unwrap_or(3), "and means what it meant");
        }
    }
}

type Readiness = Poll<Result<(), BoxError>>;

/// Hands the first request back as one that could not be sent, and collects the others. How ready it is, each time, is in the list.
#[derive(Clone)]
struct Unsteady {
    readiness: Arc<Mutex<VecDeque<Readiness>>>,
    calls: Arc<AtomicUsize>,
}

impl Unsteady {
    fn new(readiness: impl IntoIterator<Item = Readiness>) -> Self {
        Self { readiness: Arc::new(Mutex::new(readiness.into_iter().collect())), calls: Arc::default() }
    }
}

impl Service<Request<Body>> for Unsteady {
    type Response = Response<Content>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Readiness {
        self.readiness.lock().unwrap().pop_front().unwrap_or(Poll::Pending)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let is_first = self.calls.fetch_add(1, Relaxed) == 0;
        Box::pin(async move {
            if is_first {
                return Err(Error::new(Kind::Connect, "refused").with_request(request).into());
            }
            Ok(Response::new(Full::from(request.into_body().collect().await?.to_bytes())))
        })
    }
}

const READY: Readiness = Poll::Ready(Ok(()));

/// A body of so many bytes, as a stream that can be read once.
fn stream_of(size: usize) -> Body {
    let frames = futures_util::stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from(vec![1; size])))]);
    Body::new(StreamBody::new(frames))
}

async fn size_of_returned(mut error: Error) -> usize {
    let returned = error.take_request::<Request<Body>>().expect("it comes back");
    returned.into_body().collect().await.expect("it is whole").to_bytes().len()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_is_whole_when_its_time_ends_before_the_next_attempt_begins() {
    let backend = Unsteady::new([READY]);
    let stack = ServiceBuilder::new().layer(TimeoutLayer::new(SECOND)).layer(RetryLayer::new());
    let put = Request::put("/").body(stream_of(1_000)).unwrap();
    let error = stack.service(backend).oneshot(put).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Timeout, Delivery::NotSent, 1));
    assert_eq!(size_of_returned(error).await, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_is_kept_while_the_service_fails_to_become_ready() {
    let unready = || Poll::Ready(Err(Error::new(Kind::Connect, "away").into()));
    // The larger one is beyond the cap, so there is no copy of it.
    let (small, large) = (|| stream_of(1_000), || Body::from(vec![1; 100_000]));
    for (body, size) in [(small as fn() -> Body, 1_000), (large, 100_000)] {
        let put = || Request::put("/").body(body()).unwrap();
        let backend = Unsteady::new([READY, unready(), READY]);
        let response = RetryLayer::new().layer(backend).oneshot(put()).await.unwrap();
        assert_eq!(Attempts::of(response.extensions()), Some(3));
        assert_eq!(response.into_body().into_inner().unwrap().len(), size);

        let backend = Unsteady::new([READY, unready(), unready()]);
        let error = RetryLayer::new().layer(backend).oneshot(put()).await.unwrap_err();
        assert_eq!((error.delivery(), error.attempts()), (Delivery::NotSent, 3));
        assert_eq!(size_of_returned(error).await, size, "and it is the caller's in the end");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_with_its_call_is_told_to_its_end_and_judges_nobody() {
    let (layer, events) = watched();
    let call = layer.layer(Backend::steps([Step::Hang])).oneshot(request(Method::GET));
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    let events = events.events();
    let Some(Event::AttemptEnded { ending, outcome, delivery, elapsed, attempt: 1, .. }) = events.last()
    else {
        panic!("{events:?}")
    };
    assert_eq!((ending, outcome, delivery), (&Ending::Dropped, &Outcome::Neutral, &Delivery::Unknown));
    assert_eq!(*elapsed, SECOND);

    // Dropped in a pause, there is no attempt to end.
    let (layer, events) = watched();
    let call = layer.layer(Backend::steps([busy("30")])).oneshot(request(Method::GET));
    assert!(tokio::time::timeout(SECOND, call).await.is_err());
    assert!(matches!(events.events().last(), Some(Event::RetryScheduled { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_fails_for_want_of_another_exchange_does_not_make_its_request_unsent() {
    // A client of one's own that wraps what the body fails with, as hyper does.
    #[derive(Debug)]
    struct Wrapped(stonework::base::BoxError);
    impl std::fmt::Display for Wrapped {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("the request body failed")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&*self.0)
        }
    }
    let frames = || {
        let elsewhere = Error::new(Kind::Connect, "the other server is gone");
        futures_util::stream::iter([Ok(Frame::data(Bytes::from("half"))), Err(elsewhere)])
    };
    let client = tower::service_fn(|request: Request<ReplayBody<_>>| async move {
        let body: Result<http_body_util::Collected<Bytes>, _> = request.into_body().collect().await;
        body.map(|_| answer(200)).map_err(Wrapped)
    });
    for recorded in [true, false] {
        let settings = RetrySettings::new().replay_cap(if recorded { 65_536 } else { 0 });
        let request = Request::post("/").body(ReplayBody::new(StreamBody::new(frames()))).unwrap();
        let error = RetryLayer::from(settings).layer(client).oneshot(request).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery(), error.attempts()), (Kind::Body, Delivery::Unknown, 1));
    }
}
