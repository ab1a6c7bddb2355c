//! What a rate limit promises: how much it lets in, and that what it says about coming back is true.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use sfv::{BareItem, List, ListEntry, Parser};
use stonework::base::{
    Asked, ByHost, CircuitState, DO_NOT_RETRY, Delivery, Error, Kind, RateLimited, Refuse,
};
use stonework::breaker::{Breaker, BreakerLayer, BreakerSettings};
use stonework::limit::{Admission, KeyedRateLimiter, Quota, RateLimitLayer, RateLimiter, Reservation};
use stonework::retry::RetryLayer;
use stonework::testing::Strict;
use stonework::timeout::TimeoutLayer;
use tokio::task::JoinSet;
use tokio::time::{Instant, advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt};

use crate::support::{Backend, Broken, Content, SECOND, answered, polled, request, timed, use_up_the_budget};

const MS: Duration = Duration::from_millis(1);

fn backend() -> Backend {
    Backend::script(|_, _| answered(200))
}

fn limiter(quota: Quota) -> RateLimiter {
    RateLimiter::new(quota).expect("a valid quota")
}

fn layer(quota: Quota) -> RateLimitLayer {
    RateLimitLayer::new(quota).expect("a valid quota")
}

fn ask() -> Request<Content> {
    request(Method::GET)
}

/// One that says whose it is, or what it costs.
fn with(name: &'static str, value: impl ToString) -> Request<Content> {
    let mut request = ask();
    request.headers_mut().insert(name, value.to_string().parse().expect("a valid value"));
    request
}

fn header_of<B>(request: &Request<B>, name: &str) -> String {
    request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned()
}

fn user<B>(request: &Request<B>) -> String {
    header_of(request, "user")
}

fn cost<B>(request: &Request<B>) -> u32 {
    header_of(request, "cost").parse().unwrap_or(1)
}

fn is_probe<B>(request: &Request<B>) -> bool {
    request.headers().contains_key("probe")
}

fn seconds(headers: &HeaderMap) -> Duration {
    let text = headers["retry-after"].to_str().unwrap();
    Duration::from_secs(text.parse().expect("whole seconds"))
}

/// The whole numbers that a field says of each limit.
fn standings(headers: &HeaderMap, field: &str) -> HashMap<String, HashMap<String, i64>> {
    let text: Vec<_> = headers.get_all(field).iter().map(|value| value.to_str().unwrap()).collect();
    let list: List = Parser::new(&text.join(", ")).parse().expect("a list");
    let of = |entry: ListEntry| {
        let ListEntry::Item(item) = entry else { panic!("not an item in {text:?}") };
        let BareItem::String(name) = item.bare_item else { panic!("not a string in {text:?}") };
        let number = |value: &BareItem| match value {
            BareItem::Integer(number) => i64::from(*number),
            other => panic!("not a whole number: {other:?}"),
        };
        let all = item.params.iter().map(|(key, value)| (key.as_str().to_owned(), number(value)));
        (name.as_str().to_owned(), all.collect())
    };
    list.into_iter().map(of).collect()
}

// ───────────────────────────────────────────────────────────────────────────── who shares

#[tokio::test(start_paused = true)]
async fn clones_of_a_handle_of_a_layer_and_of_a_service_share_one_limit() {
    let limiter = limiter(Quota::per_minute(4));
    let layer = RateLimitLayer::from(limiter.clone());
    let service = layer.layer(backend());
    let ways = [
        service.clone(),
        service,
        layer.clone().layer(backend()),
        RateLimitLayer::from(limiter.clone()).layer(backend()),
    ];
    for way in ways.clone() {
        way.oneshot(ask()).await.unwrap();
    }
    for way in ways {
        assert!(way.oneshot(ask()).await.unwrap_err().is_overload());
    }
    assert!(limiter.try_take(1).is_err());
    assert_eq!((limiter.refused(), limiter.peek().left()), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn two_limits_share_nothing_though_they_are_made_alike() {
    let quota = Quota::per_minute(1);
    let services = [layer(quota), layer(quota)].map(|layer| layer.layer(backend()));
    for service in &services {
        assert!(service.clone().oneshot(ask()).await.is_ok());
    }
    for service in services {
        assert!(service.oneshot(ask()).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn one_layer_on_two_routers_is_one_limit() {
    let layer = layer(Quota::per_minute(2)).answer();
    let router = || Router::new().route("/", get(|| async { "hello" })).layer(layer.clone());
    let (one, other) = (router(), router());
    let call = |router: &Router| router.clone().oneshot(Request::new(axum::body::Body::empty()));
    assert_eq!(call(&one).await.unwrap().status(), 200);
    assert_eq!(call(&other).await.unwrap().status(), 200);
    assert_eq!(call(&one).await.unwrap().status(), 429);
    assert_eq!(call(&other).await.unwrap().status(), 429);
}

// ───────────────────────────────────────────────────────────────────────────── when to come back

/// Any quota whose amounts are small, so that it is soon used up.
fn any_quota(rng: &mut fastrand::Rng) -> (Quota, u32) {
    let amount = rng.u32(1..=6);
    let per = match rng.u8(0..3) {
        0 => Duration::from_nanos(rng.u64(1..3_000_000_000)),
        1 => Duration::from_millis(rng.u64(1..100_000)),
        _ => Duration::from_secs(rng.u64(1..10_000)),
    };
    let quota = Quota::new(amount, per);
    match rng.u8(0..3) {
        0 => (quota, amount),
        1 => (quota.strict(), amount),
        _ => {
            let burst = rng.u32(1..=6);
            (quota.burst(burst), burst)
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_sleeps_exactly_what_retry_after_says_is_admitted_next() {
    let mut rng = fastrand::Rng::with_seed(6);
    let mut refusals = 0;
    for round in 0..10_000 {
        let (quota, most) = any_quota(&mut rng);
        let mut service = layer(quota).cost(cost).answer().layer(backend());
        for _ in 0..rng.u32(1..=8) {
            let costs = rng.u32(1..=most);
            advance(Duration::from_nanos(rng.u64(0..2_000_000))).await;
            let first = service.ready().await.unwrap().call(with("cost", costs)).await.unwrap();
            if first.status() == StatusCode::OK {
                continue;
            }
            refusals += 1;
            advance(seconds(first.headers())).await;
            let second = service.ready().await.unwrap().call(with("cost", costs)).await.unwrap();
            assert_eq!(second.status(), StatusCode::OK, "round {round}: {quota} for {costs}");
        }
    }
    assert!(refusals > 10_000, "{refusals}");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_an_error_says_is_exact_to_the_nanosecond() {
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 0..2_000 {
        let (quota, most) = any_quota(&mut rng);
        let mut service = layer(quota).cost(cost).layer(backend());
        for _ in 0..rng.u32(1..=8) {
            let costs = rng.u32(1..=most);
            advance(Duration::from_nanos(rng.u64(0..2_000_000))).await;
            let Err(error) = service.ready().await.unwrap().call(with("cost", costs)).await else { continue };
            advance(error.retry_after().unwrap() - Duration::from_nanos(1)).await;
            let early = service.ready().await.unwrap().call(with("cost", costs)).await;
            let left = early.unwrap_err().retry_after();
            assert_eq!(left, Some(Duration::from_nanos(1)), "round {round}: {quota} for {costs}");
            advance(Duration::from_nanos(1)).await;
            let then = service.ready().await.unwrap().call(with("cost", costs)).await;
            assert!(then.is_ok(), "round {round}: {quota} for {costs}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_limits_that_refuse_the_later_time_to_come_back_is_told() {
    for swapped in [false, true] {
        let (short, long) = (Quota::per_second(1), Quota::per_minute(1));
        let (first, second) = if swapped { (long, short) } else { (short, long) };
        let names = ["first", "second"];
        let two = RateLimitLayer::from(RateLimiter::named(names[0], first).unwrap())
            .and(RateLimiter::named(names[1], second).unwrap());
        let service = two.answer().layer(backend());
        assert_eq!(service.clone().oneshot(ask()).await.unwrap().status(), 200);
        let refused = service.clone().oneshot(ask()).await.unwrap();
        assert_eq!(refused.status(), 429);
        sleep(seconds(refused.headers())).await;
        assert_eq!(service.oneshot(ask()).await.unwrap().status(), 200, "swapped: {swapped}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_above_a_limit_sleeps_what_the_limit_says_and_then_succeeds() {
    let backend = backend();
    let seen = backend.seen();
    let service = RetryLayer::new().layer(layer(Quota::new(1, 7 * SECOND)).layer(backend));
    service.clone().oneshot(ask()).await.unwrap();
    let (result, took) = timed(service.oneshot(ask())).await;
    assert_eq!(result.unwrap().status(), 200);
    assert!(took >= 7 * SECOND && took < 8 * SECOND, "{took:?}");
    assert_eq!(seen.count(), 2, "once each time, the second time with its body");
    let last = seen.take().pop().unwrap();
    assert_eq!(last.into_body().collect().await.unwrap().to_bytes(), "content");
}

#[tokio::test(start_paused = true)]
async fn a_breaker_above_a_limit_does_not_count_what_it_refuses() {
    let breaker = Breaker::new(BreakerSettings::new().consecutive_failures(1)).unwrap();
    let limited = layer(Quota::per_hour(1)).layer(backend());
    let service = BreakerLayer::from(breaker.clone()).layer(limited);
    service.clone().oneshot(ask()).await.unwrap();
    for _ in 0..100 {
        assert!(service.clone().oneshot(ask()).await.unwrap_err().is_overload());
    }
    assert_eq!(breaker.state(), CircuitState::Closed);
}

// ───────────────────────────────────────────────────────────────────────────── how much comes in

#[tokio::test(start_paused = true)]
async fn with_a_strict_quota_no_window_ever_holds_more_than_its_amount() {
    let mut rng = fastrand::Rng::with_seed(8);
    for _ in 0..200 {
        let (amount, per) = (rng.usize(1..=8), Duration::from_nanos(rng.u64(1..2_000_000_000)));
        let backend = backend();
        let seen = backend.seen();
        let quota = Quota::new(u32::try_from(amount).unwrap(), per).strict();
        let service = layer(quota).layer(backend);
        let mut refused = 0;
        for _ in 0..60 {
            advance(per.mul_f64(rng.f64() * rng.f64() * 0.5)).await;
            refused += usize::from(service.clone().oneshot(ask()).await.is_err());
        }
        let times = seen.times();
        for (first, next) in times.iter().zip(times.iter().skip(amount)) {
            assert!(*next - *first >= per, "{amount} in {per:?}: {:?}", *next - *first);
        }
        assert_eq!(times.len() + refused, 60);
    }
}

/// Many of them have less patience than the limit, and go away.
#[tokio::test(start_paused = true)]
async fn over_no_stretch_of_time_more_come_in_than_the_burst_and_what_was_earned() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..50 {
        let (amount, burst) = (rng.u32(1..=20), rng.u32(1..=10));
        let backend = backend();
        let seen = backend.seen();
        let service = layer(Quota::per_second(amount).burst(burst)).wait_up_to(SECOND).layer(backend);
        let mut all = JoinSet::new();
        for _ in 0..60 {
            sleep(rng.u32(0..60) * MS).await;
            let (call, patience) = (service.clone().oneshot(ask()).boxed(), rng.u32(0..2_000) * MS);
            all.spawn(async move { drop(tokio::time::timeout(patience, call).await) });
        }
        all.join_all().await;
        let times = seen.times();
        for (from, first) in times.iter().enumerate() {
            for (count, last) in times[from..].iter().enumerate() {
                // Timers are as fine as a millisecond.
                let most = f64::from(burst) + (*last - *first + MS).as_secs_f64() * f64::from(amount);
                assert!(count as f64 + 1.0 <= most, "{amount}/s, {burst}: {} > {most}", count + 1);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_in_one_task_that_never_yields_are_let_in_while_there_is_room() {
    let quotas = [Quota::per_hour(100_000), Quota::per_hour(100_000).strict()];
    for limiter in quotas.map(limiter) {
        let reject = RateLimitLayer::from(limiter.clone());
        let patient = reject.clone().wait_up_to(SECOND);
        let reserving = reject.clone().admission(Admission::Backpressure);
        for layer in [reject, patient, reserving] {
            use_up_the_budget().await;
            let mut service = layer.layer(backend());
            for number in 0..10_000 {
                std::future::poll_fn(|cx| {
                    assert!(service.poll_ready(cx).is_ready(), "{number}");
                    Poll::Ready(())
                })
                .await;
                let mut call = Box::pin(service.call(ask()));
                assert!(matches!(polled(&mut call).await, Poll::Ready(Ok(_))), "{number}");
            }
            assert!(!tokio::task::coop::has_budget_remaining());
            tokio::task::yield_now().await;
        }
        assert_eq!(limiter.refused(), 0);
    }
}

/// Each thread reads the clock, and then another goes first: what is late is not refused for it.
#[tokio::test(start_paused = true)]
async fn who_was_overtaken_on_the_way_is_not_refused_while_there_is_room() {
    for quota in [Quota::per_second(10), Quota::per_second(10).strict()] {
        let limiter = limiter(quota);
        let keyed = KeyedRateLimiter::new(quota).unwrap();
        let (early, late) = (Instant::now(), Instant::now() + Duration::from_nanos(50));
        for now in [late, early, early, late, early] {
            assert!(limiter.try_take_at(now, 1).is_ok(), "{quota}");
            assert!(keyed.try_take_at(now, &"key", 1).is_ok(), "{quota}");
        }
        advance(late - early).await;
        assert_eq!(limiter.peek().left(), 5);
    }
}

// ───────────────────────────────────────────────────────────────────────────── what is said

#[tokio::test(start_paused = true)]
async fn a_refusal_is_429_with_a_problem_that_names_the_limit() {
    let named = RateLimiter::named("per minute", Quota::per_minute(1)).unwrap();
    let service = RateLimitLayer::from(named).answer().layer(backend());
    service.clone().oneshot(ask()).await.unwrap();
    sleep(SECOND / 2).await;
    let refused = service.clone().oneshot(ask()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let headers = refused.headers();
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!(seconds(headers), 60 * SECOND, "59.5 of them, rounded up");
    let policy = standings(headers, "ratelimit-policy");
    assert_eq!((policy["per minute"]["q"], policy["per minute"]["w"]), (1, 60));
    let limit = standings(headers, "ratelimit");
    assert_eq!((limit["per minute"]["r"], limit["per minute"]["t"]), (0, 60));
    let body = refused.into_body().collect().await.unwrap().to_bytes();
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#quota-exceeded");
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"], serde_json::json!(["per minute"]));

    let refused = service.oneshot(request(Method::HEAD)).await.unwrap();
    assert_eq!((refused.status().as_u16(), seconds(refused.headers())), (429, 60 * SECOND));
    assert!(refused.into_body().collect().await.unwrap().to_bytes().is_empty(), "an answer to HEAD");
}

#[tokio::test(start_paused = true)]
async fn every_answer_says_how_things_stand_with_every_limit() {
    let service = RateLimitLayer::from(RateLimiter::named("burst", Quota::per_second(5)).unwrap())
        .and(RateLimiter::named("day", Quota::new(100, 86_400 * SECOND).strict()).unwrap())
        .answer()
        .layer(backend());
    for left in (0..5).rev() {
        let answer = service.clone().oneshot(ask()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let policy = standings(answer.headers(), "ratelimit-policy");
        assert_eq!((policy["burst"]["q"], policy["burst"]["w"]), (5, 1));
        assert_eq!((policy["day"]["q"], policy["day"]["w"]), (100, 86_400));
        let limit = standings(answer.headers(), "ratelimit");
        assert_eq!((limit["burst"]["r"], limit["burst"]["t"]), (left, 1));
        assert_eq!((limit["day"]["r"], limit["day"]["t"]), (95 + left, 86_400));
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_is_published_as_it_was_written_also_where_the_interval_is_no_whole_number_of_nanoseconds() {
    for (quota, q, w) in [
        (Quota::per_second(3), 3, 1),
        (Quota::per_minute(7), 7, 60),
        (Quota::per_hour(7_000), 7_000, 3_600),
        (Quota::per_second(999_999), 999_999, 1),
        (Quota::per_second(3).burst(1), 3, 1),
        (Quota::per_second(600).burst(20), 600, 1),
        (Quota::per_second(100_000).burst(10), 100_000, 1),
        (Quota::per_second(1_000_000_000).burst(10), 1_000_000_000, 1),
        (Quota::per_second(7).strict(), 7, 1),
    ] {
        let answer = layer(quota).answer().layer(backend()).oneshot(ask()).await.unwrap();
        let policy = &standings(answer.headers(), "ratelimit-policy")["default"];
        assert_eq!((policy["q"], policy["w"]), (q, w), "{quota}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_fields_say_is_true_for_any_quota() {
    let mut rng = fastrand::Rng::with_seed(10);
    for _ in 0..500 {
        let (quota, _) = any_quota(&mut rng);
        let limiter = limiter(quota);
        let service = RateLimitLayer::from(limiter.clone()).answer().layer(backend());
        for _ in 0..10 {
            let answer = service.clone().oneshot(ask()).await.unwrap();
            let limit = &standings(answer.headers(), "ratelimit")["default"];
            assert_eq!(limit["r"], i64::from(limiter.peek().left()), "{quota}");
            if answer.status() == StatusCode::OK {
                assert!(Duration::from_secs(limit["t"].try_into().unwrap()) >= limiter.peek().full_in());
            } else {
                assert!(limit["t"] <= i64::try_from(seconds(answer.headers()).as_secs()).unwrap());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_fields_where_nobody_is_to_know() {
    let service = layer(Quota::per_minute(1)).answer().without_fields().layer(backend());
    for status in [200, 429] {
        let answer = service.clone().oneshot(ask()).await.unwrap();
        assert_eq!(answer.status(), status);
        assert!(!answer.headers().contains_key("ratelimit"));
        assert!(!answer.headers().contains_key("ratelimit-policy"));
        assert_eq!(answer.headers().contains_key("retry-after"), status == 429);
    }
    let service = layer(Quota::per_minute(1)).layer(backend());
    assert!(service.oneshot(ask()).await.unwrap().headers().is_empty(), "nor on a client");
}

#[tokio::test(start_paused = true)]
async fn a_grpc_call_is_refused_as_resource_exhausted_and_whoever_waits_what_it_says_is_admitted() {
    let service = layer(Quota::new(1, Duration::from_micros(1_234_567))).answer().layer(backend());
    let call = || with("content-type", "application/grpc");
    service.clone().oneshot(call()).await.unwrap();
    let refused = service.clone().oneshot(call()).await.unwrap();
    assert_eq!(refused.status(), 200);
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(refused.headers()["grpc-retry-pushback-ms"], "1235");
    assert_eq!(standings(refused.headers(), "ratelimit")["default"]["r"], 0);
    advance(1_235 * MS).await;
    assert!(!service.oneshot(call()).await.unwrap().headers().contains_key("grpc-status"));
}

#[derive(Clone)]
struct Teapot;

impl Refuse for Teapot {
    fn refuse(&self, _: Asked, error: &Error) -> Response<Bytes> {
        assert!(error.cause::<RateLimited>().is_some() && error.retry_after().is_some());
        Response::builder().status(StatusCode::IM_A_TEAPOT).body("no".into()).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_ones_own_gets_the_fields_as_well() {
    let service = layer(Quota::per_minute(1)).answer_with(Teapot).layer(backend());
    service.clone().oneshot(ask()).await.unwrap();
    let refused = service.oneshot(ask()).await.unwrap();
    assert_eq!(refused.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(standings(refused.headers(), "ratelimit")["default"]["r"], 0);
    assert_eq!(refused.into_body().collect().await.unwrap().to_bytes(), "no");
}

#[tokio::test(start_paused = true)]
async fn on_a_client_a_refusal_is_an_overload_that_was_not_sent_and_hands_the_request_back() {
    let backend = backend();
    let seen = backend.seen();
    let limited = RateLimiter::named("upstream", Quota::per_minute(1)).unwrap();
    let service = RateLimitLayer::from(limited).layer(backend);
    service.clone().oneshot(ask()).await.unwrap();
    let mut error = service.clone().oneshot(with("user", "ann")).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (Kind::Overload, Delivery::NotSent));
    assert_eq!(error.retry_after(), Some(60 * SECOND));
    let cause = error.cause::<RateLimited>().expect("the cause");
    assert_eq!((cause.policy(), cause.left(), cause.retry_after()), ("upstream", 0, Some(60 * SECOND)));
    let request: Request<Content> = error.take_request().expect("it was not used up");
    assert_eq!(user(&request), "ann");
    assert_eq!(request.into_body().collect().await.unwrap().to_bytes(), "content");
    assert_eq!(seen.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_costs_more_than_there_ever_is_is_told_not_to_come_back() {
    for quota in [Quota::per_second(10), Quota::per_second(10).strict()] {
        for admission in [Admission::Reject, Admission::WaitUpTo(Duration::MAX)] {
            let limited = layer(quota).admission(admission).cost(cost);
            let error = limited.clone().layer(backend()).oneshot(with("cost", 11)).await.unwrap_err();
            assert!(error.is_overload() && error.forbids_retry());
            assert_eq!(error.retry_after(), None);

            let service = limited.answer().layer(backend());
            let refused = service.clone().oneshot(with("cost", 11)).await.unwrap();
            assert_eq!(refused.status(), 429);
            assert!(refused.headers().contains_key(DO_NOT_RETRY));
            assert!(!refused.headers().contains_key("retry-after"));
            let admitted = service.oneshot(with("cost", 10)).await.unwrap();
            assert_eq!(admitted.status(), 200, "nothing was taken for it");
        }
    }
}

// ───────────────────────────────────────────────────────────────────────────── waiting

#[tokio::test(start_paused = true)]
async fn those_who_wait_go_in_the_order_in_which_they_came_each_at_its_time() {
    let backend = backend();
    let seen = backend.seen();
    let limiter = limiter(Quota::per_second(1));
    let service = RateLimitLayer::from(limiter.clone()).wait_up_to(5 * SECOND).layer(backend);
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for number in 0..10 {
        let call = service.clone().oneshot(with("user", number)).boxed();
        all.spawn(async move { (number, timed(call).await) });
        tokio::task::yield_now().await;
    }
    for (number, (result, took)) in all.join_all().await {
        match result {
            Ok(_) => assert_eq!(took, number * SECOND),
            Err(error) => {
                assert!(number > 5 && took == Duration::ZERO, "{number} refused after {took:?}");
                assert_eq!(error.retry_after(), Some(6 * SECOND));
            }
        }
    }
    let times: Vec<_> = seen.times().into_iter().map(|at| at - begun).collect();
    assert_eq!(times, (0..6).map(|number| number * SECOND).collect::<Vec<_>>());
    let order: Vec<_> = seen.take().iter().map(user).collect();
    assert_eq!(order, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(limiter.refused(), 4);
}

#[tokio::test(start_paused = true)]
async fn who_would_be_served_after_the_deadline_is_refused_at_once_and_who_would_not_waits() {
    let quota = Quota::per_second(1);
    for (deadline, waits) in [(2 * SECOND, true), (SECOND - MS, false)] {
        let limited = layer(quota).wait_up_to(60 * SECOND).layer(backend());
        let service = TimeoutLayer::new(deadline).layer(limited);
        service.clone().oneshot(ask()).await.unwrap();
        let (result, took) = timed(service.oneshot(ask())).await;
        if waits {
            assert_eq!((result.unwrap().status().as_u16(), took), (200, SECOND));
        } else {
            let error = result.unwrap_err();
            assert_eq!(took, Duration::ZERO);
            assert!(error.is_overload());
            assert_eq!(error.retry_after(), Some(SECOND), "which is still true");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_goes_away_gives_its_part_back() {
    for quota in [Quota::per_second(1), Quota::per_second(1).strict()] {
        let limiter = limiter(quota);
        let keyed = KeyedRateLimiter::new(quota).unwrap();
        let layer = RateLimitLayer::from(limiter.clone()).and_keyed(keyed.clone(), user);
        let service = layer.wait_up_to(60 * SECOND).layer(backend());
        service.clone().oneshot(ask()).await.unwrap();
        for _ in 0..50 {
            let mut waiter = Box::pin(service.clone().oneshot(ask()));
            assert!(polled(&mut waiter).await.is_pending());
            drop(waiter);
        }
        let ((), took) = timed(async { drop(service.clone().oneshot(ask()).await.unwrap()) }).await;
        assert_eq!(took, SECOND, "nobody waits for those who went away: {quota}");
        assert!(keyed.peek(&String::new()).full_in() <= SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_when_a_waiter_has_gone_takes_its_place_and_not_that_of_those_behind_it() {
    for quota in [Quota::per_second(1).burst(1), Quota::per_second(1).strict()] {
        let limiter = limiter(quota);
        limiter.try_take(1).unwrap();
        let reserve = || limiter.reserve(1, 60 * SECOND).unwrap();
        let (gone, behind) = (reserve(), reserve());
        assert_eq!((gone.wait(), behind.wait()), (SECOND, 2 * SECOND));
        drop(gone);
        let next = [reserve(), reserve()];
        assert_eq!(next.each_ref().map(Reservation::wait), [SECOND, 3 * SECOND], "{quota}");
        drop(next);
        assert_eq!(reserve().wait(), SECOND, "{quota}");
        behind.spend();
    }
}

#[tokio::test(start_paused = true)]
async fn what_costs_nothing_waits_for_nobody_and_leaves_no_place_behind() {
    for quota in [Quota::per_second(1).burst(1), Quota::per_second(1).strict()] {
        let limiter = limiter(quota);
        limiter.try_take(1).unwrap();
        let reserve = |cost, patience| limiter.reserve(cost, patience).unwrap();
        let first = reserve(1, 9 * SECOND);
        let free = reserve(0, Duration::ZERO);
        assert_eq!(free.wait(), Duration::ZERO, "{quota}");
        let last = reserve(1, 9 * SECOND);
        // Whoever was free, left between two that wait, is no place in the queue.
        drop((first, free, last));
        assert_eq!(reserve(1, 9 * SECOND).wait(), SECOND, "{quota}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_costs_nothing_does_not_wait_behind_those_that_do_whoever_goes_away() {
    for quota in [Quota::per_second(1).burst(1), Quota::per_second(1).strict()] {
        let keyed = KeyedRateLimiter::new(quota).unwrap();
        let layer =
            RateLimitLayer::from(limiter(quota)).and_keyed(keyed, user).cost(cost).wait_up_to(60 * SECOND);
        let service = layer.layer(backend());
        let call = |costs: u32| Box::pin(service.clone().oneshot(with("cost", costs)));
        call(1).await.unwrap();
        let mut waiting: Vec<_> = (0..3).map(|_| call(1)).collect();
        for one in &mut waiting {
            assert!(polled(one).await.is_pending());
        }
        let (free, took) = timed(call(0)).await;
        assert_eq!((free.unwrap().status().as_u16(), took), (200, Duration::ZERO), "{quota}");
        // From the first to the last, and a second one that is free between them.
        let mut free = call(0);
        let _ = polled(&mut free).await;
        drop((waiting, free));
        let (next, took) = timed(call(1)).await;
        assert_eq!((next.unwrap().status().as_u16(), took), (200, SECOND), "{quota}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_at_the_very_moment_of_a_place_that_was_left_does_so() {
    let limiter = limiter(Quota::per_second(1).burst(1));
    limiter.try_take(1).unwrap();
    let [first, last] = [(); 2].map(|()| limiter.reserve(1, 9 * SECOND).unwrap());
    drop(first);
    advance(2 * SECOND).await;
    drop(last);
    assert_eq!(limiter.peek().left(), 1);
}

#[tokio::test(start_paused = true)]
async fn where_most_who_wait_give_up_those_who_do_not_are_served_at_the_full_rate() {
    for quota in [Quota::per_second(10).burst(1), Quota::new(1, 100 * MS).strict()] {
        let limiter = limiter(quota);
        let keyed = KeyedRateLimiter::new(quota).unwrap();
        let layer = RateLimitLayer::from(limiter).and_keyed(keyed, user).wait_up_to(5 * SECOND);
        let service = layer.layer(backend());
        let mut all = JoinSet::new();
        // Twenty times as many as can be served come, and wait for a second.
        for _ in 0..2_000 {
            let service = service.clone();
            all.spawn(timeout(SECOND, service.oneshot(ask())));
            sleep(5 * MS).await;
        }
        let answers = all.join_all().await;
        let served = answers.into_iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count();
        // They come for ten seconds, and the last ones wait for one more.
        assert!((105..=111).contains(&served), "{quota}: {served}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_waiter_is_woken_once_and_the_service_is_called_once_for_each() {
    let strict = Strict::new(backend());
    let ledger = strict.ledger();
    let service = layer(Quota::per_second(10).burst(1)).wait_up_to(100 * SECOND).layer(strict);
    let polls = Arc::new(AtomicU32::new(0));
    let mut all = JoinSet::new();
    for _ in 0..100 {
        let (mut call, polls) = (service.clone().oneshot(ask()).boxed(), polls.clone());
        all.spawn(async move {
            std::future::poll_fn(|cx| {
                polls.fetch_add(1, Ordering::Relaxed);
                call.as_mut().poll(cx)
            })
            .await
            .unwrap();
        });
    }
    all.join_all().await;
    // The first of them does not wait.
    assert_eq!(polls.load(Ordering::Relaxed), 199);
    assert_eq!((ledger.calls(), ledger.polls()), (100, 100));
    drop(service);
    ledger.assert_settled();
}

#[tokio::test(start_paused = true)]
async fn patience_without_end_is_possible() {
    for quota in [Quota::per_second(1), Quota::per_second(1).strict()] {
        let service = layer(quota).wait_up_to(Duration::MAX).layer(backend());
        let mut all = JoinSet::new();
        for _ in 0..100 {
            all.spawn(service.clone().oneshot(ask()));
        }
        let (results, took) = timed(all.join_all()).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(took, 99 * SECOND);
    }
}

// ───────────────────────────────────────────────────────────────────────────── backpressure

#[tokio::test(start_paused = true)]
async fn under_backpressure_a_service_is_ready_exactly_when_there_is_room() {
    let service = layer(Quota::per_second(1)).admission(Admission::Backpressure).layer(backend());
    let mut ways: Vec<_> = (0..4).map(|_| service.clone()).collect();
    let begun = Instant::now();
    let mut all = JoinSet::new();
    for mut way in ways.drain(..) {
        all.spawn(async move {
            let ready = way.ready().await.unwrap();
            let at = begun.elapsed();
            ready.call(ask()).await.unwrap();
            (at, begun.elapsed())
        });
    }
    let mut times = all.join_all().await;
    times.sort();
    let expected: Vec<_> = (0..4).map(|number| (number * SECOND, number * SECOND)).collect();
    assert_eq!(times, expected);
}

#[tokio::test(start_paused = true)]
async fn what_readiness_reserved_is_given_back_with_the_service_and_never_cloned() {
    for quota in [Quota::per_second(1), Quota::per_second(1).strict()] {
        let limiter = limiter(quota);
        let layer = RateLimitLayer::from(limiter.clone()).admission(Admission::Backpressure);
        let mut service = layer.layer(backend());
        service.ready().await.unwrap();
        assert_eq!(limiter.peek().left(), 0);
        let mut clone = service.clone();
        let mut waiting = Box::pin(clone.ready());
        assert!(polled(&mut waiting).await.is_pending(), "a clone has nothing reserved");
        drop(waiting);
        drop(clone);
        assert_eq!(limiter.peek().full_in(), SECOND, "what it waited for is back");
        drop(service);
        assert_eq!(limiter.peek().left(), 1, "{quota}");
    }
}

/// Time has earned again what was reserved long ago: giving it back may not earn it twice.
#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_dropped_late_gives_nothing_back_that_time_has_given_back_already() {
    for quota in [Quota::per_second(1).burst(5), Quota::new(5, 5 * SECOND).strict()] {
        let limiter = limiter(quota);
        let layer = RateLimitLayer::from(limiter.clone()).admission(Admission::Backpressure);
        let mut service = layer.layer(backend());
        service.ready().await.unwrap();
        sleep(60 * SECOND).await;
        assert!((0..5).all(|_| limiter.try_take(1).is_ok()));
        drop(service);
        assert!(limiter.try_take(1).is_err(), "five at once are five: {quota}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_not_used_lapses_and_its_call_waits_for_its_turn() {
    for quota in [Quota::new(5, 5 * SECOND), Quota::new(5, 5 * SECOND).strict()] {
        let layer = RateLimitLayer::from(limiter(quota)).admission(Admission::Backpressure);
        let backend = backend();
        let mut ready = Vec::new();
        for _ in 0..5 {
            let mut one = layer.layer(backend.clone());
            one.ready().await.unwrap();
            ready.push(one);
        }
        sleep(60 * SECOND).await;
        for _ in 0..5 {
            layer.layer(backend.clone()).oneshot(ask()).await.unwrap();
        }
        let began = Instant::now();
        let late = ready.iter_mut().map(|one| one.call(ask()));
        futures_util::future::try_join_all(late).await.unwrap();
        assert_eq!((began.elapsed(), backend.seen().count()), (5 * SECOND, 10), "{quota}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_exempt_gives_back_what_readiness_reserved_for_it_and_any_other_uses_it() {
    for quota in [Quota::per_minute(1), Quota::per_minute(1).strict()] {
        let limiter = limiter(quota);
        let layer = RateLimitLayer::from(limiter.clone()).admission(Admission::Backpressure);
        let mut service = layer.except(is_probe).layer(backend());
        service.ready().await.unwrap().call(with("probe", 1)).await.unwrap();
        assert_eq!(limiter.peek().left(), 1, "{quota}");
        service.ready().await.unwrap().call(ask()).await.unwrap();
        assert_eq!(limiter.peek().left(), 0, "{quota}");
        assert!(polled(&mut Box::pin(service.ready())).await.is_pending(), "{quota}");
    }
}

// ───────────────────────────────────────────────────────────────────────────── several limits, costs, keys

#[tokio::test(start_paused = true)]
async fn a_call_takes_of_all_limits_or_of_none() {
    for strict in [false, true] {
        let quota = |amount| {
            let quota = Quota::per_minute(amount);
            if strict { quota.strict() } else { quota }
        };
        let (wide, narrow) = (limiter(quota(100)), limiter(quota(3)));
        let keyed = KeyedRateLimiter::new(quota(50)).unwrap();
        let layer = RateLimitLayer::from(wide.clone()).and_keyed(keyed.clone(), user).and(narrow.clone());
        let service = layer.layer(backend());
        let mut through = 0;
        for _ in 0..10 {
            through += u32::from(service.clone().oneshot(with("user", "ann")).await.is_ok());
        }
        assert_eq!(through, 3);
        assert_eq!((wide.peek().left(), narrow.peek().left()), (97, 0));
        assert_eq!(keyed.peek(&"ann".to_owned()).left(), 47);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_what_it_costs_and_what_costs_nothing_is_free() {
    let limiter = limiter(Quota::per_minute(10));
    let service = RateLimitLayer::from(limiter.clone()).cost(cost).layer(backend());
    let call = |costs: u32| service.clone().oneshot(with("cost", costs));
    call(7).await.unwrap();
    assert_eq!(limiter.peek().left(), 3);
    let error = call(4).await.unwrap_err();
    assert_eq!(error.cause::<RateLimited>().unwrap().left(), 3);
    assert_eq!(error.retry_after(), Some(6 * SECOND), "one more is earned by then");
    call(3).await.unwrap();
    for _ in 0..100 {
        call(0).await.unwrap();
    }
    assert!(call(1).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn who_is_exempt_takes_nothing_and_is_never_refused() {
    let limiter = limiter(Quota::per_minute(1));
    let layer = RateLimitLayer::from(limiter.clone()).except(is_probe).answer();
    let service = layer.layer(backend());
    let probe = || service.clone().oneshot(with("probe", 1));
    assert!(!probe().await.unwrap().headers().contains_key("ratelimit"), "there is nothing to tell");
    assert_eq!(limiter.peek().left(), 1);
    assert_eq!(service.clone().oneshot(ask()).await.unwrap().status(), 200);
    for _ in 0..10 {
        assert_eq!(probe().await.unwrap().status(), 200);
    }
    assert_eq!(service.clone().oneshot(ask()).await.unwrap().status(), 429);
}

#[tokio::test(start_paused = true)]
async fn what_is_exempt_and_what_costs_are_said_of_a_limit_that_is_waited_for_and_told_as_of_any_other() {
    let layer = RateLimitLayer::from(limiter(Quota::per_minute(10).burst(4)));
    let layer = layer.cost(cost).except(is_probe).wait_up_to(60 * SECOND).answer();
    let service = layer.layer(backend());
    let call = |costs: u32| timed(service.clone().oneshot(with("cost", costs)));
    let (first, at_once) = call(3).await;
    let first = first.unwrap();
    assert_eq!((standings(first.headers(), "ratelimit")["default"]["r"], at_once), (1, Duration::ZERO));
    let (second, waited) = call(2).await;
    assert_eq!((second.unwrap().status().as_u16(), waited), (200, 6 * SECOND), "one of the two was there");
    let (probe, waited) = timed(service.clone().oneshot(with("probe", 1))).await;
    assert_eq!((probe.unwrap().status().as_u16(), waited), (200, Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn who_goes_while_it_waits_gives_back_what_its_call_costs_also_where_some_are_exempt() {
    let limiter = limiter(Quota::per_minute(10).burst(4));
    let layer = RateLimitLayer::from(limiter.clone()).cost(cost).except(is_probe).wait_up_to(60 * SECOND);
    let service = layer.layer(backend());
    service.clone().oneshot(with("cost", 4)).await.unwrap();
    let mut waiting = Box::pin(service.oneshot(with("cost", 3)));
    assert!(polled(&mut waiting).await.is_pending());
    assert_eq!(limiter.peek().full_in(), 42 * SECOND);
    drop(waiting);
    assert_eq!(limiter.peek().full_in(), 24 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_client_does_not_touch_another() {
    let limiter = KeyedRateLimiter::new(Quota::per_minute(3)).unwrap();
    let service = RateLimitLayer::keyed(limiter.clone(), user).layer(backend());
    let call = |name: &'static str| service.clone().oneshot(with("user", name));
    for _ in 0..1_000 {
        let _ = call("greedy").await;
    }
    assert_eq!(limiter.refused(), 997);
    for name in ["ann", "bob", "eve"] {
        for _ in 0..3 {
            call(name).await.unwrap();
        }
        assert!(call(name).await.is_err());
    }
    assert_eq!((limiter.len(), limiter.overflowed()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_keys_are_kept_unless_another_number_is_said() {
    let quota = Quota::per_hour(1);
    for (limiter, most) in [
        (KeyedRateLimiter::new(quota).unwrap(), 100_000),
        (KeyedRateLimiter::new(quota).unwrap().max_keys(10), 10),
    ] {
        (0..2 * most).for_each(|key| drop(limiter.try_take(&key, 1)));
        assert_eq!(limiter.len(), most);
        assert!(limiter.overflowed() >= most as u64, "{}", limiter.overflowed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_quota_and_a_name_that_cannot_be_are_refused() {
    let year = 365 * 86_400 * SECOND;
    assert!(RateLimiter::new(Quota::new(1, 10 * year)).is_ok());
    for quota in [
        Quota::new(1, 10 * year + MS),
        Quota::new(1, year).burst(11),
        Quota::new(0, SECOND),
        Quota::new(1, Duration::ZERO),
        Quota::new(1, SECOND).burst(0),
        Quota::new(1, SECOND).burst(1).strict(),
    ] {
        let error = RateLimiter::new(quota).unwrap_err();
        assert_eq!(KeyedRateLimiter::<String>::new(quota).unwrap_err(), error, "{quota}");
        assert_eq!(RateLimitLayer::new(quota).unwrap_err(), error);
    }
    assert_eq!(limiter(Quota::per_second(1)).name(), "default");
    for (name, possible) in [
        ("per client", true),
        (&"x".repeat(64), true),
        (&"x".repeat(65), false),
        ("", false),
        ("\"", false),
        ("\\", false),
        ("a\nb", false),
        ("\u{fc}ber", false),
    ] {
        assert_eq!(RateLimiter::named(name, Quota::per_second(1)).is_ok(), possible, "{name:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_can_limit_what_it_sends_to_each_host() {
    let limiter = KeyedRateLimiter::new(Quota::per_minute(1)).unwrap();
    let service = RateLimitLayer::keyed(limiter, ByHost).layer(backend());
    let to = |uri: &str| {
        let request = Request::get(uri).body(Content::default()).unwrap();
        service.clone().oneshot(request)
    };
    to("http://a.test/").await.unwrap();
    assert!(to("http://user@A.test:80/b").await.is_err(), "the same host");
    to("http://b.test/").await.unwrap();
    to("http://a.test:81/").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn another_quota_holds_from_now_on_for_everyone_and_forgets_nothing() {
    let limiter = limiter(Quota::per_minute(10));
    let keyed = KeyedRateLimiter::new(Quota::per_minute(10)).unwrap();
    let layer = RateLimitLayer::from(limiter.clone()).and_keyed(keyed.clone(), user);
    let service = layer.layer(backend());
    let through = async |most: u32| {
        let mut through = 0;
        for _ in 0..most {
            through += u32::from(service.clone().oneshot(ask()).await.is_ok());
        }
        through
    };
    assert_eq!(through(8).await, 8);
    let (wider, none) = (Quota::per_minute(20), Quota::per_minute(8));
    assert!(limiter.set_quota(wider).is_ok() && keyed.set_quota(wider).is_ok());
    assert_eq!(through(20).await, 12);
    assert!(limiter.set_quota(none).is_ok() && keyed.set_quota(none).is_ok());
    assert_eq!(through(20).await, 0);
    sleep(60 * SECOND).await;
    assert_eq!(through(20).await, 8);
    assert!(limiter.set_quota(Quota::per_second(0)).is_err() && limiter.quota() == none);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_switched_off_is_not_there() {
    let limiter = limiter(Quota::per_minute(1));
    for admission in [Admission::Reject, Admission::WaitUpTo(SECOND), Admission::Backpressure] {
        let layer = RateLimitLayer::from(limiter.clone()).admission(admission).answer().when(false);
        let service = layer.layer(backend());
        for _ in 0..10 {
            let answer = service.clone().oneshot(ask()).await.unwrap();
            assert_eq!(answer.status(), 200);
            assert!(answer.headers().is_empty());
        }
    }
    assert_eq!((limiter.peek().left(), limiter.refused()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_service_is_its_own_and_has_taken_its_part() {
    let limiter = limiter(Quota::per_minute(1));
    let broken = Backend::script(|_, _| stonework::testing::Step::fail("broken"));
    let service = RateLimitLayer::from(limiter.clone()).layer(broken);
    let error = service.clone().oneshot(ask()).await.unwrap_err();
    assert!(!error.is_overload());
    assert_eq!(limiter.peek().left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_for_which_the_service_below_is_never_ready_comes_back_unsent() {
    for late in [false, true] {
        let service = layer(Quota::per_second(10)).layer(Broken { late });
        let mut error = service.oneshot(request(Method::POST)).await.map(drop).unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotSent, "late: {late}");
        let back = error.take_request::<Request<Content>>().expect("it comes back");
        assert_eq!(back.method(), Method::POST, "late: {late}");
    }
}
