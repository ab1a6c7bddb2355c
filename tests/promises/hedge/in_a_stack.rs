//! Among other layers.

use std::future::ready;

use http::Method;
use stonework::base::{Attempts, Backoff, Budget, Call, Jitter};
use stonework::hedge::HedgeLayer;
use stonework::retry::{HopLayer, Policy, RetryLayer, RetrySettings, retry as plainly};
use stonework::testing::Step;
use stonework::timeout::{AttemptTimeoutLayer, TimeoutLayer};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use super::{MS, after, fixed, get, status};
use crate::support::{Backend, Content, SECOND, answered, request, timed, with_request_header};

fn retry() -> RetryLayer {
    let backoff = Backoff::constant(SECOND).unwrap().jitter(Jitter::None);
    RetryLayer::from(RetrySettings::new().backoff(backoff))
}

#[tokio::test(start_paused = true)]
async fn a_retry_outside_sees_one_result_and_every_attempt_has_a_number_of_its_own() {
    let backend = Backend::steps([Step::Hang, after(10, 200)]);
    let seen = backend.seen();
    let service = retry().layer(HedgeLayer::from(fixed()).layer(backend));
    let (answer, took) = timed(get(&service)).await;
    let answer = answer.unwrap();
    assert_eq!((took, Attempts::of(answer.extensions())), (110 * MS, Some(2)));
    assert_eq!(seen.take()[1].headers()["stonework-attempt"], "2");
    // Both are slow and fail; then it is tried again.
    let backend = Backend::steps([after(150, 503), after(100, 503), after(10, 200)]);
    let seen = backend.seen();
    let service = retry().layer(HedgeLayer::from(fixed()).layer(backend));
    let (answer, took) = timed(get(&service)).await;
    assert_eq!((took, Attempts::of(answer.unwrap().extensions())), (1_210 * MS, Some(3)));
    let numbers: Vec<_> =
        seen.take().iter().map(|sent| sent.headers().get("stonework-attempt").cloned()).collect();
    assert_eq!(numbers, [None, Some("2".parse().unwrap()), Some("3".parse().unwrap())]);
}

#[tokio::test(start_paused = true)]
async fn what_has_failed_is_left_to_a_retry_outside_so_that_the_two_do_not_multiply() {
    let backend = Backend::script(|_, _| answered(503));
    let seen = backend.seen();
    let service = retry().layer(HedgeLayer::from(fixed()).layer(backend));
    assert_eq!((status(&service).await, seen.gaps()), (503, vec![SECOND; 2]), "three, with its pauses");
    // What it may not repeat, it is not asked to.
    let backend = Backend::script(|_, _| answered(503));
    let (seen, paths) = (backend.seen(), fixed().repeatable_paths(["/"]));
    let service = retry().layer(HedgeLayer::from(paths).layer(backend));
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!((response.status().as_u16(), seen.count()), (503, 2));
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_inside_has_repeated_is_not_sent_again() {
    let backend = Backend::script(|_, _| answered(503));
    let seen = backend.seen();
    let service = HedgeLayer::from(fixed().attempts(5)).layer(retry().layer(backend));
    // Within 2 s the others begin, and a retry inside of them is part of what is repeated already: each is sent once.
    assert_eq!(status(&service).await, 503);
    assert!(seen.count() <= 3 + 4, "{}", seen.count());
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_inside_gave_up_on_is_not_sent_again_when_the_delay_is_over() {
    let quick = Backoff::constant(10 * MS).unwrap().jitter(Jitter::None);
    let backend = Backend::script(|_, _| answered(503));
    let seen = backend.seen();
    let inner = RetryLayer::from(RetrySettings::new().backoff(quick)).layer(backend);
    let (answer, took) = timed(status(&HedgeLayer::from(fixed()).layer(inner))).await;
    assert_eq!((answer, took, seen.count()), (503, 20 * MS, 3));
}

#[tokio::test(start_paused = true)]
async fn what_a_retry_in_another_task_has_repeated_is_not_sent_again() {
    let backend = Backend::script(|_, _| answered(503));
    let (seen, inner) = (backend.seen(), retry().layer(backend));
    let elsewhere = service_fn(move |request: http::Request<Content>| {
        let work = tokio::spawn(inner.clone().oneshot(request));
        async move { work.await.expect("no panic") }
    });
    let answer = HedgeLayer::new().layer(elsewhere).oneshot(request(Method::GET)).await.unwrap();
    assert_eq!((Attempts::of(answer.extensions()), seen.count()), (Some(3), 3));
}

#[tokio::test(start_paused = true)]
async fn that_a_retry_gave_up_on_something_else_does_not_keep_a_failure_from_being_sent_again() {
    let backend = Backend::steps([answered(503), answered(200)]);
    let service = HedgeLayer::new().layer(backend);
    let twice = || Policy::new().attempts(2);
    let handler = async || {
        let _ = plainly(|| ready(Err::<(), _>("gone")), twice()).await;
        Ok::<_, ()>(status(&service).await)
    };
    assert_eq!(plainly(handler, twice()).await, Ok(200));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_asks_for_so_many_attempts_has_them_from_the_outermost_layer_alone() {
    let backend = Backend::script(|_, _| after(150, 200));
    let seen = backend.seen();
    let mut twice = request(Method::GET);
    Call::edit(twice.extensions_mut(), |call| call.attempts(2));
    retry().layer(HedgeLayer::from(fixed()).layer(backend)).oneshot(twice).await.unwrap();
    assert_eq!(seen.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_that_of_the_retry_and_each_request_is_counted_once() {
    let budget = Budget::default();
    let backend = Backend::script(|_, _| after(150, 200));
    let layer = HedgeLayer::from(fixed()).budget(budget.clone());
    let service = retry().budget(budget.clone()).layer(layer.layer(backend));
    for _ in 0..5 {
        status(&service).await;
    }
    assert_eq!(budget.stats().granted, 5);
    let left = budget.available(tokio::time::Instant::now());
    // Ten, a tenth from each of five requests once the first was taken, and the floor of 0.75 s.
    assert!((5.0..=6.3).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn each_attempt_has_a_limit_of_its_own() {
    let backend = Backend::steps([Step::Hang, after(180, 200)]);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(SECOND))
        .layer(HedgeLayer::from(fixed()))
        .layer(AttemptTimeoutLayer::new(200 * MS))
        .service(backend);
    let (answer, took) = timed(status(&service)).await;
    assert_eq!((answer, took), (200, 280 * MS), "the first ran out at 200 ms, and was not the end");
}

#[tokio::test(start_paused = true)]
async fn what_is_a_second_attempt_of_the_hop_before_is_not_sent_twice_here() {
    let backend = Backend::script(|_, _| after(150, 200));
    let seen = backend.seen();
    let client = HedgeLayer::from(fixed()).layer(backend);
    let handler = service_fn(move |_: http::Request<Content>| {
        let client = client.clone();
        async move { client.oneshot(request(Method::GET)).await }
    });
    let server = HopLayer::new().layer(handler);
    let second = with_request_header(request(Method::GET), "stonework-attempt", "2");
    server.clone().oneshot(second).await.unwrap();
    assert_eq!(seen.take().len(), 1);
    server.oneshot(request(Method::GET)).await.unwrap();
    assert_eq!(seen.take().len(), 2);
}
